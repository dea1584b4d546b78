"""The lane: what runs out of a bundle on the target machine (tools/gpu-lane made it).

Needs Python's standard library alone. Imports nothing of rondo_tools but errors and say, and of
launch/ the environment of Open MPI."""
