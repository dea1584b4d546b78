"""Writes and reads files of format rondo.tokenized version 1 (docs/formats/tokenized.md).

The writer spools token data to disk, because contiguous datasets need their size at creation; the
file appears under its name only when it is complete (temporary name, fsync, rename).
"""

import os
import tempfile
from array import array
from pathlib import Path

import h5py
import numpy as np
import xxhash

from rondo_tools.errors import UserError

FORMAT = "rondo.tokenized"
VERSION = 1
WEIGHT_TABLE = (0.0, 1.0)
_FIXED_TEXT_BYTES = 60_000
_COPY_ELEMENTS = 1 << 22


def write_attributes(file, attributes):
    """Texts as UTF-8, of fixed length where an object header can hold them; integers as int64."""
    for name, value in attributes.items():
        if isinstance(value, str):
            text = value.encode("utf-8")
            length = max(1, len(text)) if len(text) <= _FIXED_TEXT_BYTES else None
            file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8", length))
        else:
            file.attrs.create(name, np.int64(value))


def read_attributes(path):
    """{name: text or int} of the root group; None where the file is missing or not HDF5."""
    try:
        with h5py.File(path, "r") as file:
            return {
                name: value.decode("utf-8") if isinstance(value, bytes) else _plain(value)
                for name, value in file.attrs.items()
            }
    except OSError:
        return None


def _plain(value):
    return int(value) if isinstance(value, np.integer) else value


class Writer:
    """Collects examples in order, then publishes one file. Use as a context manager."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._tokens = self._spool()
            self._weights = self._spool()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error}.") from error
        self.offsets = array("q", [0])
        self.example_ids = array("Q")
        self.prompt_lengths = array("q")
        self.trainable = 0

    def _spool(self):
        return tempfile.TemporaryFile(dir=self.path.parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._tokens.close()
        self._weights.close()

    def add(self, tokens, weights):
        """One example: int32 token ids and one weight code per token, both as bytes."""
        ordinal = len(self.prompt_lengths)
        digest = xxhash.xxh3_64(tokens + weights)
        digest.update(ordinal.to_bytes(8, "little"))
        self._tokens.write(tokens)
        self._weights.write(weights)
        self.offsets.append(self.offsets[-1] + len(weights))
        self.example_ids.append(digest.intdigest())
        self.prompt_lengths.append(weights.index(1))
        self.trainable += len(weights) - weights.count(0)

    def publish(self, attributes):
        if len(set(self.example_ids)) != len(self.example_ids):
            raise RuntimeError(f"{self.path}: two examples have the same 64-bit id")
        handle, temporary = tempfile.mkstemp(
            prefix=f".{self.path.name}.", suffix=".tmp", dir=self.path.parent
        )
        os.close(handle)
        try:
            with h5py.File(temporary, "w", libver=("earliest", "v110")) as file:
                write_attributes(file, {"format": FORMAT, "version": VERSION, **attributes})
                self._write_datasets(file)
            self._make_durable(temporary)
        except BaseException:
            os.unlink(temporary)
            raise

    def _write_datasets(self, file):
        total = self.offsets[-1]
        for name, spool, kind in (
            ("tokens", self._tokens, np.dtype("<i4")),
            ("weights", self._weights, np.dtype("u1")),
        ):
            dataset = file.create_dataset(name, (total,), kind)
            spool.seek(0)
            for begin in range(0, total, _COPY_ELEMENTS):
                count = min(_COPY_ELEMENTS, total - begin)
                block = spool.read(count * kind.itemsize)
                dataset[begin : begin + count] = np.frombuffer(block, kind)
        file["weight_table"] = np.asarray(WEIGHT_TABLE, "<f4")
        file["offsets"] = np.asarray(self.offsets, "<i8")
        file["example_id"] = np.asarray(self.example_ids, "<u8")
        file["prompt_length"] = np.asarray(self.prompt_lengths, "<i8")

    def _make_durable(self, temporary):
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        _sync(temporary)
        os.replace(temporary, self.path)
        _sync(self.path.parent)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
