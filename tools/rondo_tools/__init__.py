"""Shared code of the Python tools: one module per idea, a module `<tool>_command` per tool."""
