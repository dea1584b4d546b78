"""What a program says while it works, on which nothing depends."""

import os
import sys


def mute(stream):
    """Nothing that is printed to it arrives any more, and nothing fails for it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text, stream=None):
    """Prints a line. Where it is not taken (a log on a full disk, a reader that is gone) no more is
    printed to that stream, and the work goes on."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:
        mute(stream)
