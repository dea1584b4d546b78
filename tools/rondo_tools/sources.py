"""Source files: from globs to numbered rows.

A source file is JSONL or one JSON array, either of them also gzipped (.gz). A row is the bytes of
one line, or of one element of the array; its number counts from 1 (the line, or the element).
"""

import glob
import gzip
import json
import zlib
from pathlib import Path

from rondo_tools.errors import UserError
from rondo_tools.hashing import file_hash

LFS_POINTER = b"version https://git-lfs"
_GZIP_MAGIC = b"\x1f\x8b"


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
        raise UserError(f"{path}: is empty; expected JSONL or a JSON array.")


def _open(path):
    with open(path, "rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    if str(path).endswith(".gz") and not compressed:
        raise UserError(f"{path}: ends in .gz but is not gzip data. Rename or fetch it again.")
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def _array_rows(path, text):
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: starts with '[' but is not a JSON array: {error}. Expected JSONL or an array."
        ) from error
    for number, element in enumerate(elements, start=1):
        yield number, json.dumps(element).encode("ascii")


def rows(path):
    """Yields (number, bytes) of every row; blank lines are no rows."""
    try:
        with _open(path) as file:
            number, line = 1, file.readline().removeprefix(b"\xef\xbb\xbf")
            while line and not line.strip():
                number, line = number + 1, file.readline()
            if line.lstrip()[:1] == b"[":
                yield from _array_rows(path, line + file.read())
                return
            while line:
                if stripped := line.strip():
                    yield number, stripped
                number, line = number + 1, file.readline()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is damaged gzip data ({error}). Fetch it again.") from error


def all_rows(paths):
    """Yields (path, number, bytes) over all files."""
    for path in paths:
        for number, row in rows(path):
            yield path, number, row
