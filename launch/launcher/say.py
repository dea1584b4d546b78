"""What launch/run tells: sentences on standard error, and exit codes."""

import contextlib
import os
import sys

EXIT_USER = 2
EXIT_SYSTEM = 3
EXIT_REQUEUE = 75
EXIT_COMMANDS = 79
OWN_EXIT_CODES = (0, 2, 3, 70, 75, 79, 93)


def say(text):
    # Unbuffered, since signal handlers speak too; a reader that is gone must not end the ranks.
    with contextlib.suppress(OSError):
        os.write(2, os.fsencode(f"run: {text}\n"))


def fail(text, code=EXIT_USER):
    say(text)
    sys.exit(code)
