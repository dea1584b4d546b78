"""What the options of the comparisons have in common."""

import os
from pathlib import Path

from rondo_tools.environment import REPOSITORY
from rondo_tools.errors import UserError


def positive(text):
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def add_binary(parser):
    """--binary, which `binary_of` looks at."""
    parser.add_argument(
        "--binary", type=Path, default=REPOSITORY / "build" / "release" / "rondo", metavar="FILE"
    )


def binary_of(options):
    binary = options.binary.resolve()
    if not os.access(binary, os.X_OK):
        raise UserError(f"{binary} is not there or not a program: run launch/build.")
    return binary
