"""Source files: from globs to numbered rows.

A source file is JSONL or one JSON array, either of them also gzipped (.gz), or Parquet. A row is
the bytes of one line or of one element of the array, or the object of one row of Parquet; its
number counts from 1 (the line, or the element).
"""

import glob
import gzip
import json
import zlib
from pathlib import Path

from rondo_tools import json_array
from rondo_tools.errors import UserError
from rondo_tools.hashing import file_hash

LFS_POINTER = b"version https://git-lfs"
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"


def expand(patterns):
    """Paths of existing files, in the order given, each pattern's matches sorted by name. A file
    that is found twice is an error: its rows would count twice."""
    paths, by_file = [], {}
    for pattern in patterns:
        exists = Path(pattern).exists()
        found = [str(pattern)] if exists else sorted(glob.glob(str(pattern), recursive=True))
        if not found:
            raise UserError(f"{pattern}: no such file. Give an existing file or a matching glob.")
        paths += found
        for path in found:
            _check_once(path, pattern, by_file)
    for path in paths:
        _check(path)
    return paths


def _check_once(path, pattern, by_file):
    """`by_file`: {the file itself: path and pattern by which it was found first}."""
    file = Path(path).resolve()
    if file in by_file:
        found, by = by_file[file]
        same = "" if found == path else f" (as {found})"
        raise UserError(
            f"{path}: is given twice, by {by}{same} and by {pattern}. Leave one of them out."
        )
    by_file[file] = (path, pattern)


def describe(paths):
    """What identifies the files' contents: [{"path", "bytes", "xxh3"}]."""
    return [
        {"path": str(path), "bytes": Path(path).stat().st_size, "xxh3": file_hash(path)}
        for path in paths
    ]


def _check(path):
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder. Give a file or a glob such as {path}/*.jsonl.")
    with open(path, "rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise UserError(
            f"{path}: is a Git LFS pointer, not the data itself. Fetch it with `git lfs pull`."
        )
    if not head:
        raise UserError(f"{path}: is empty; expected JSONL, a JSON array or Parquet.")


def _open(path):
    with open(path, "rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    if str(path).endswith(".gz") and not compressed:
        raise UserError(f"{path}: ends in .gz but is not gzip data. Rename or fetch it again.")
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def _array_rows(path, file, head):
    try:
        yield from json_array.elements(file, head)
    except ValueError as error:
        raise UserError(
            f"{path}: starts with '[' but is not a JSON array: {error}. Expected JSONL or an array."
        ) from error


def _without_nulls(value):
    """Columnar files fill up what an object lacks with nulls; they are taken out again."""
    if isinstance(value, dict):
        return {key: _without_nulls(v) for key, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _parquet_rows(path):
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _without_nulls(row)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: is damaged Parquet ({error}). Fetch it again.") from error


def _text_rows(path):
    try:
        with _open(path) as file:
            number, line = 1, file.readline().removeprefix(b"\xef\xbb\xbf")
            while line and not line.strip():
                number, line = number + 1, file.readline()
            if line.lstrip()[:1] == b"[":
                yield from _array_rows(path, file, line.lstrip())
                return
            while line:
                if stripped := line.strip():
                    yield number, stripped
                number, line = number + 1, file.readline()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is damaged gzip data ({error}). Fetch it again.") from error


def rows(path):
    """Yields (number, row) of every row; blank lines are no rows."""
    before = _state(path)
    with open(path, "rb") as file:
        is_parquet = file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    yield from _parquet_rows(path) if is_parquet else _text_rows(path)
    if _state(path) != before:
        raise UserError(f"{path}: changed while it was read. Start again when it is complete.")


def _state(path):
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def all_rows(paths):
    """Yields (path, number, row) over all files."""
    for path in paths:
        for number, row in rows(path):
            yield path, number, row


def value_of(row):
    """The JSON value of a row; ValueError where it is none."""
    return row if isinstance(row, dict) else json.loads(row)
