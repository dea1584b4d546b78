"""Words of an evaluation set's questions: source files -> one rondo.evaluation file
(docs/formats/evaluation.md), against which `rondo pack` checks what is trained on."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rondo_tools import jsonl, sources
from rondo_tools.errors import UserError
from rondo_tools.formats import SHAREGPT_ROLES
from rondo_tools.hashing import settings_hash
from rondo_tools.tokenized_file import new_file, read_attributes, write_attributes
from rondo_tools.words import of_turns

FORMAT = "rondo.evaluation"
VERSION = 1
_RULES = 1  # raised when the same input gives other words
_COLUMNS = (("prompt",), ("question",), ("instruction", "input"), ("turns",))


@dataclass
class EvaluationSet:
    """What to read, and where to put it."""

    name: str
    inputs: list  # paths of existing files
    out: str
    text: list = field(default_factory=list)  # columns; empty: recognised

    def identity(self):
        """The attributes by which an existing file is known to be fresh."""
        return {
            "settings_hash": settings_hash({"rules": _RULES, "text": self.text}),
            "source_files": json.dumps(sources.describe(self.inputs)),
        }

    def is_fresh(self):
        found = read_attributes(self.out) or {}
        wanted = {"format": FORMAT, "version": VERSION, **self.identity()}
        return all(found.get(name) == value for name, value in wanted.items())


def _texts(value, place):
    """The texts of a column: one, or a list of them, one for each turn."""
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{place}: is neither a text nor a list of texts.")
    return texts


def _turns_of_messages(row):
    """Texts of the users' turns, of rows in the form of messages or of ShareGPT; None of others."""
    for column, role, text in (("messages", "role", "content"), ("conversations", "from", "value")):
        if isinstance(row.get(column), list):
            turns = [turn for turn in row[column] if isinstance(turn, dict)]
            users = [t for t in turns if SHAREGPT_ROLES.get(t.get(role)) == "user"]
            return [turn[text] for turn in users if isinstance(turn.get(text), str)]
    return None


def questions(row, columns, place):
    """Texts of the user's turns of a row. UserError where there are none."""
    if not columns:
        found = _turns_of_messages(row)
        if found is not None:
            return found
        known = [names for names in _COLUMNS if row.get(names[0])]
        if not known:
            raise UserError(
                f"{place}: no column of questions is recognised; found: {', '.join(row)}. Name it "
                f"by `text` (clean.evaluation_sets.NAME.text)."
            )
        columns = [name for name in known[0] if row.get(name)]
        if len(columns) > 1:  # an instruction and its input are one turn
            return ["\n\n".join(_texts(row[name], place)[0] for name in columns)]
    missing = [name for name in columns if row.get(name) is None]
    if missing:
        raise UserError(f"{place}: has no column {missing[0]!r}; found: {', '.join(row)}.")
    return [text for name in columns for text in _texts(row[name], f"{place}: {name}")]


def prepare(job):
    """Writes the file; returns the number of instances."""
    words, offsets, files, rows = bytearray(), [0], [], []
    for number, path in enumerate(job.inputs):
        for line, row in jsonl.read_numbered(path):
            texts = questions(row, job.text, f"{path}:{line}")
            words += of_turns(("user", text) for text in texts)
            offsets.append(len(words))
            files.append(number)
            rows.append(line)
    if not rows:
        raise UserError(f"{job.inputs[0]}: holds no question.")
    _write(job, bytes(words), offsets, files, rows)
    return len(rows)


def _write(job, words, offsets, files, rows):
    with new_file(Path(job.out)) as file:
        counts = json.dumps({"instances": len(rows)})
        write_attributes(
            file, {"format": FORMAT, "version": VERSION, "counts": counts} | job.identity()
        )
        for name, values, kind in (
            ("words", np.frombuffer(words, "u1"), "u1"),
            ("word_offsets", offsets, "<i8"),
            ("file", files, "<u2"),
            ("row", rows, "<i8"),
        ):
            file.create_dataset(name, data=np.asarray(values, kind))
