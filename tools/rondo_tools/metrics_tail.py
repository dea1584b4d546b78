"""Reads metrics.jsonl while a run writes it."""

import json
from pathlib import Path


class MetricsTail:
    """Gives every complete line once. A half-written last line waits for the next poll.

    A resumed run shortens the file to what its checkpoint knew and goes on from there; then the
    line read last is no longer where it was, and everything is given again (`restarted`).
    """

    def __init__(self, path):
        self.path = Path(path)
        self._offset = 0
        self._last = b""

    def poll(self):
        """(restarted, objects of the new complete lines)."""
        try:
            with open(self.path, "rb") as file:
                restarted = not self._unchanged(file)
                if restarted:
                    self._offset, self._last = 0, b""
                file.seek(self._offset)
                block = file.read()
        except FileNotFoundError:
            return False, []
        complete = block[: block.rfind(b"\n") + 1]
        lines = complete.splitlines(keepends=True)
        self._offset += len(complete)
        if lines:
            self._last = lines[-1]
        return restarted, [entry for entry in map(_parsed, lines) if entry is not None]

    def _unchanged(self, file):
        file.seek(self._offset - len(self._last))
        return file.read(len(self._last)) == self._last


def _parsed(line):
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
