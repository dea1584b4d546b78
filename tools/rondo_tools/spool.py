"""Columns of bytes that grow on disk, for a job that goes on where it was killed.

They lie in a folder of their own. Now and then all of them are saved together with what the job
knows; whoever opens the folder for the same work gets that back, and what was written behind it is
cut off.
"""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path

from rondo_tools.durable import sync
from rondo_tools.errors import UserError

_STATE = "state.json"
_BUFFER_BYTES = 1 << 20


class Spool:
    """`work`: a text that says which work it is; `state` is what an earlier process that did the
    same has saved last, else None. UserError where another process is at it."""

    def __init__(self, folder, columns, work):
        self._folder = Path(folder)
        self._work = work
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder / "lock")
        if self._lock is None:
            raise UserError(
                f"{self._folder}: another process is writing there. Wait for it, or stop it."
            )
        saved = self._saved(columns)
        self.state = saved["state"] if saved else None
        if not saved:  # before anything else is written: it must never be taken for other work's
            (self._folder / _STATE).unlink(missing_ok=True)
            sync(self._folder)
        self._sizes = {name: saved["sizes"][name] if saved else 0 for name in columns}
        self._files = {}
        for name, size in self._sizes.items():
            file = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o666)
            self._files[name] = file
            os.ftruncate(file, size)
            os.lseek(file, size, os.SEEK_SET)
        self._buffers = {name: bytearray() for name in columns}
        self.is_saved = saved is not None

    def _saved(self, columns):
        try:
            saved = json.loads((self._folder / _STATE).read_text(encoding="utf-8"))
            whole = saved["work"] == self._work and all(
                (self._folder / name).stat().st_size >= saved["sizes"][name] for name in columns
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return saved if whole else None

    def append(self, name, data):
        """Bytes of the column with these."""
        buffer = self._buffers[name]
        buffer += data
        size = self._sizes[name] = self._sizes[name] + len(data)
        if len(buffer) >= _BUFFER_BYTES:
            self._flush(name)
        return size

    def size(self, name):
        """Bytes of a column."""
        return self._sizes[name]

    def _flush(self, name):
        rest = memoryview(bytes(self._buffers[name]))
        try:
            while rest:
                rest = rest[os.write(self._files[name], rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error
        self._buffers[name].clear()

    def save(self, state):
        """All that was appended is there after a kill or a power cut, and `state` with it."""
        for name, file in self._files.items():
            self._flush(name)
            os.fsync(file)
        temporary = self._folder / f"{_STATE}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"work": self._work, "sizes": self._sizes, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._folder / _STATE)
        self.is_saved = True

    def blocks(self, name, most):
        """Yields the bytes of a column, at most so many at once."""
        self._flush(name)
        at = 0
        while block := os.pread(self._files[name], most, at):
            at += len(block)
            yield block

    def close(self, keep):
        """Unless it is kept for a later process, the folder is removed."""
        for file in self._files.values():
            os.close(file)
        if not keep:
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _locked(path):
    """A descriptor of the locked file; None where another process keeps it. Of a process that was
    killed, the workers keep it a moment longer."""
    for _ in range(50):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:
            return lock  # a file system without locks
        else:
            # Whoever had it may have removed the folder meanwhile.
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        os.close(lock)
        time.sleep(0.1)
    return None
