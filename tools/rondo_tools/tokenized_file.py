"""Writes and reads files of format rondo.tokenized version 2 (docs/formats/tokenized.md).

The writer spools its data to disk, because contiguous datasets need their size at creation; the
file appears under its name only when it is complete (temporary name, fsync, rename).
"""

import contextlib
import json
import os
import re
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import xxhash

from rondo_tools.durable import sync
from rondo_tools.errors import UserError
from rondo_tools.spool import Spool

FORMAT = "rondo.tokenized"
VERSION = 2
_FIXED_TEXT_BYTES = 60_000
_ERRNO = re.compile(r"errno = (\d+)")  # in what HDF5 says when a write fails
_COPY_BYTES = 1 << 24
_COPY_RECORDS = 1 << 18


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


_COLUMNS = {"tokens": "<i4", "weights": "u1", "words": "u1", "tags": "<u2"}
# Of each example; offsets are those of its end.
_FIELDS = {
    "offsets": "<i8",
    "word_offsets": "<i8",
    "tag_offsets": "<i8",
    "prompt_length": "<i8",
    "row": "<i8",
    "example_id": "<u8",
    "file": "<u2",
}
_RECORD = struct.Struct("<qqqqqQH")
_RECORDS = "records"
_REJECTED = "rejected"  # JSON lines, not published


class Writer:
    """Collects examples in order, then publishes one file. Use as a context manager.

    `work`: a text that says what is collected. When an earlier process collected the same and was
    killed, it goes on where that saved last: `saved` is then what it gave to save(), else None.
    """

    def __init__(self, path, work):
        self.path = Path(path)
        folder = self.path.with_name(f".{self.path.name}.partial")
        try:
            self._spool = Spool(folder, [*_COLUMNS, _RECORDS, _REJECTED], work)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error}.") from error
        own = self._spool.state or {"trainable": 0, "weights": [0.0, 1.0], "tags": [], "job": None}
        self.saved = own["job"]
        self.trainable = own["trainable"]
        self._code_of = {weight: code for code, weight in enumerate(own["weights"])}
        self._tag_code = {tag: code for code, tag in enumerate(own["tags"])}
        self.examples = self._spool.size(_RECORDS) // _RECORD.size

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        stopped = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        self._spool.close(keep=stopped and self._spool.is_saved)

    @property
    def tokens(self):
        return self._spool.size("weights")

    def add(self, example, file, row):
        """One Example; `file` is the number of its source file and `row` its number there."""
        codes = self._own_codes(example)
        digest = xxhash.xxh3_64(example.tokens + codes)
        digest.update(self.examples.to_bytes(8, "little"))
        append = self._spool.append
        for tag in example.tags:
            append("tags", self._number_of_tag(tag).to_bytes(2, "little"))
        record = _RECORD.pack(
            append("weights", codes),
            append("words", example.words),
            self._spool.size("tags") // 2,
            len(codes) - len(codes.lstrip(b"\0")),
            row,
            digest.intdigest(),
            file,
        )
        append("tokens", example.tokens)
        append(_RECORDS, record)
        self.examples += 1
        self.trainable += len(codes) - codes.count(0)

    def reject(self, file, line, reason):
        line = {"file": file, "line": line, "reason": reason}
        text = json.dumps(line, ensure_ascii=False) + "\n"
        self._spool.append(_REJECTED, text.encode("utf-8", "surrogateescape"))

    def rejected(self):
        """Yields the JSON lines of all rows that were rejected, as bytes; when no more come."""
        rest = b""
        for block in self._spool.blocks(_REJECTED, _COPY_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines

    def save(self, job):
        """A later process can go on from here; `job` is a JSON value for it."""
        own = {"trainable": self.trainable, "weights": list(self._code_of)}
        self._spool.save(own | {"tags": list(self._tag_code), "job": job})

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
        with new_file(self.path) as file:
            tags = json.dumps(list(self._tag_code))
            head = {"format": FORMAT, "version": VERSION, "tag_names": tags}
            write_attributes(file, head | attributes)
            file.create_dataset("weight_table", data=np.asarray(list(self._code_of), "<f4"))
            for name, kind in _COLUMNS.items():
                self._write_column(file, name, np.dtype(kind))
            self._write_fields(file)
            if len(np.unique(file["example_id"][:])) != self.examples:
                raise RuntimeError(f"{self.path}: two examples have the same 64-bit id")

    def _write_column(self, file, name, kind):
        dataset = file.create_dataset(name, (self._spool.size(name) // kind.itemsize,), kind)
        at = 0
        for block in self._spool.blocks(name, _COPY_BYTES):
            values = np.frombuffer(block, kind)
            dataset[at : at + len(values)] = values
            at += len(values)

    def _write_fields(self, file):
        records = np.dtype(list(_FIELDS.items()))
        first = {name: int(name.endswith("offsets")) for name in _FIELDS}  # offsets begin with 0
        for name, kind in _FIELDS.items():
            file.create_dataset(name, (self.examples + first[name],), kind)
            if first[name]:
                file[name][0] = 0
        at = 0
        for block in self._spool.blocks(_RECORDS, _RECORD.size * _COPY_RECORDS):
            values = np.frombuffer(block, records)
            for name in _FIELDS:
                begin = at + first[name]
                file[name][begin : begin + len(values)] = values[name]
            at += len(values)


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
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException as error:
        os.unlink(temporary)
        if found := _ERRNO.search(str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        raise
