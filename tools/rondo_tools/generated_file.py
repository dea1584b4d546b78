"""Reads files of format rondo.generated version 1: completions as token ids."""

from dataclasses import dataclass

import h5py

from rondo_tools.errors import UserError
from rondo_tools.tokenized_file import read_attributes

FORMAT = "rondo.generated"
VERSION = 1


@dataclass
class Completion:
    example_id: int
    tokens: list
    finished: bool  # ended by the end-of-turn token, not by the length limit


def _check_format(file, path):
    found = file.attrs.get("format", b"")
    found = found.decode("utf-8") if isinstance(found, bytes) else str(found)
    version = int(file.attrs.get("version", 0))
    if (found, version) != (FORMAT, VERSION):
        raise UserError(
            f"{path}: is {found or 'of no format'} version {version}, expected {FORMAT} version "
            f"{VERSION}, as `rondo generate` writes it."
        )


def prompts_of(path):
    """Path of the tokenised file, as it was given to `rondo generate`; "" where none is named."""
    return str((read_attributes(path) or {}).get("prompts", ""))


def read(path):
    """All completions in the order of the prompts."""
    try:
        with h5py.File(path, "r") as file:
            _check_format(file, path)
            names = ("tokens", "offsets", "example_id", "finished")
            tokens, offsets, ids, finished = (file[name][:] for name in names)
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as {FORMAT}: {error}.") from error
    count = len(offsets) - 1
    in_order = count >= 0 and offsets[0] == 0 and offsets[-1] == len(tokens)
    if not in_order or (offsets[1:] < offsets[:-1]).any() or {len(ids), len(finished)} != {count}:
        raise UserError(f"{path}: offsets and lengths do not agree; the file is damaged.")
    return [
        Completion(int(ids[i]), tokens[offsets[i] : offsets[i + 1]].tolist(), bool(finished[i]))
        for i in range(count)
    ]
