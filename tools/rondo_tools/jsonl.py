"""JSONL files of objects, read whole, and written under a temporary name first."""

import json
import os
from pathlib import Path

from rondo_tools import sources
from rondo_tools.errors import UserError


def read(path):
    """A list of all objects; UserError names the line that is none."""
    return [value for _, value in read_numbered(path)]


def read_numbered(path):
    """[(line, object)] of all objects, the line as tools/tokenize counts it."""
    objects = []
    for _, number, row in sources.all_rows(sources.expand([path])):
        try:
            value = sources.value_of(row)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: is not JSON: {error}.") from error
        if not isinstance(value, dict):
            raise UserError(f"{path}:{number}: is {type(value).__name__}, expected an object.")
        objects.append((number, value))
    return objects


def write(path, objects):
    write_lines(path, (json.dumps(value, ensure_ascii=False).encode() for value in objects))


def write_lines(path, lines):
    """`lines`: JSON as bytes, without line ends."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.writelines(line + b"\n" for line in lines)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
