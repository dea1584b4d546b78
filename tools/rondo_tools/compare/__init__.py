"""Comparisons of rondo with other trainers on this machine."""
