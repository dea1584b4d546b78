"""Writes and reads files of format rondo.tokenized version 2 (docs/formats/tokenized.md).

The writer spools token data to disk, because contiguous datasets need their size at creation; the
file appears under its name only when it is complete (temporary name, fsync, rename).
"""

import contextlib
import json
import os
import tempfile
from array import array
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import xxhash

from rondo_tools.errors import UserError

FORMAT = "rondo.tokenized"
VERSION = 2
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


class Example(NamedTuple):
    """One tokenised example, as bytes."""

    tokens: bytes  # int32 ids
    codes: bytes  # one per token, into `table`; the weight of the token as a prediction target
    words: bytes  # rondo_tools.words
    table: tuple = (0.0, 1.0)  # weights by code; 0.0 first
    tags: tuple = ()  # texts


class Writer:
    """Collects examples in order, then publishes one file. Use as a context manager."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._tokens = self._spool()
            self._weights = self._spool()
            self._words = self._spool()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error}.") from error
        self.offsets = array("q", [0])
        self.word_offsets = array("q", [0])
        self.tag_offsets = array("q", [0])
        self.example_ids = array("Q")
        self.prompt_lengths = array("q")
        self.tags = array("H")
        self.files = array("H")  # by example: number of its source file
        self.rows = array("q")
        self.trainable = 0
        self._code_of = {0.0: 0, 1.0: 1}  # weight: its code in the file
        self._tag_code = {}

    def _spool(self):
        return tempfile.TemporaryFile(dir=self.path.parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._tokens.close()
        self._weights.close()
        self._words.close()

    def add(self, example, file, row):
        """One Example; `file` is the number of its source file and `row` its number there."""
        codes = self._own_codes(example)
        digest = xxhash.xxh3_64(example.tokens + codes)
        digest.update(len(self.rows).to_bytes(8, "little"))
        self._tokens.write(example.tokens)
        self._weights.write(codes)
        self._words.write(example.words)
        self.offsets.append(self.offsets[-1] + len(codes))
        self.word_offsets.append(self.word_offsets[-1] + len(example.words))
        self.example_ids.append(digest.intdigest())
        self.prompt_lengths.append(len(codes) - len(codes.lstrip(b"\0")))
        self.tags.extend(self._number_of_tag(tag) for tag in example.tags)
        self.tag_offsets.append(len(self.tags))
        self.files.append(file)
        self.rows.append(row)
        self.trainable += len(codes) - codes.count(0)

    def _own_codes(self, example):
        for weight in example.table:
            if weight not in self._code_of:
                if len(self._code_of) == 256:
                    raise UserError(f"{self.path}: more than 256 different weights; round them.")
                self._code_of[weight] = len(self._code_of)
        own = bytes(self._code_of[weight] for weight in example.table)
        if own == bytes(range(len(own))):
            return example.codes
        return example.codes.translate(own + bytes(256 - len(own)))

    def _number_of_tag(self, tag):
        if tag not in self._tag_code and len(self._tag_code) == 65536:
            raise UserError(f"{self.path}: more than 65536 different tags.")
        return self._tag_code.setdefault(tag, len(self._tag_code))

    def publish(self, attributes):
        if len(set(self.example_ids)) != len(self.example_ids):
            raise RuntimeError(f"{self.path}: two examples have the same 64-bit id")
        with new_file(self.path) as file:
            tags = json.dumps(list(self._tag_code))
            head = {"format": FORMAT, "version": VERSION, "tag_names": tags}
            write_attributes(file, head | attributes)
            self._write_datasets(file)

    def _write_datasets(self, file):
        for name, spool, kind, total in (
            ("tokens", self._tokens, np.dtype("<i4"), self.offsets[-1]),
            ("weights", self._weights, np.dtype("u1"), self.offsets[-1]),
            ("words", self._words, np.dtype("u1"), self.word_offsets[-1]),
        ):
            dataset = file.create_dataset(name, (total,), kind)
            spool.seek(0)
            for begin in range(0, total, _COPY_ELEMENTS):
                count = min(_COPY_ELEMENTS, total - begin)
                block = spool.read(count * kind.itemsize)
                dataset[begin : begin + count] = np.frombuffer(block, kind)
        for name, values, kind in (
            ("weight_table", list(self._code_of), "<f4"),
            ("offsets", self.offsets, "<i8"),
            ("word_offsets", self.word_offsets, "<i8"),
            ("example_id", self.example_ids, "<u8"),
            ("prompt_length", self.prompt_lengths, "<i8"),
            ("file", self.files, "<u2"),
            ("row", self.rows, "<i8"),
            ("tag_offsets", self.tag_offsets, "<i8"),
            ("tags", self.tags, "<u2"),
        ):
            file.create_dataset(name, data=np.asarray(values, kind))


@contextlib.contextmanager
def new_file(path):
    """An HDF5 file to be written, which gets its name when it is complete: it is there after a
    power cut or not at all, and nothing is left of it after an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}.") from error
    os.close(handle)
    try:
        with h5py.File(temporary, "w", libver=("earliest", "v110")) as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        os.unlink(temporary)
        raise


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
