"""What has been written stays there after a power cut."""

import os


def sync(path):
    """Of a file its contents, of a folder the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
