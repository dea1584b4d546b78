"""tools/make_tasks: <family>.train.jsonl and <family>.heldout.jsonl of the four task families; and
with --check the proof, from the questions in such files, that no problem is on both sides.

A problem is held out when the hash of its canonical form says so; which side a problem stands on
does not depend on seed, counts or order, so no problem is ever on both.
"""

import argparse
import hashlib
from pathlib import Path
from random import Random

from rondo_tools import jsonl
from rondo_tools.errors import UserError
from rondo_tools.tasks import FAMILIES, key_of

_HELDOUT_ONE_IN = 10
_TRIES_IN_VAIN = 10_000  # draws without a new problem before giving up


def is_heldout(family, key):
    digest = hashlib.sha256(f"{family}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _HELDOUT_ONE_IN == 0


def problems(family, count, heldout, seed):
    """`count` different questions of one side."""
    random = Random(f"{seed} {family} {heldout}")
    found, in_vain = {}, 0
    while len(found) < count and in_vain < _TRIES_IN_VAIN:
        problem = FAMILIES[family](random)
        new = is_heldout(family, problem.key) == heldout and problem.question not in found
        in_vain = 0 if new else in_vain + 1
        if new:
            found[problem.question] = problem
    if len(found) < count:
        side = "held-out" if heldout else "train"
        raise UserError(
            f"{family}: only {len(found)} different {side} problems exist or were found, {count} "
            f"were asked for. Ask for fewer."
        )
    return list(found.values())


def _row(family, part, number, problem):
    return {
        "id": f"{family}-{part}-{number}",
        "family": family,
        "messages": [
            {"role": "user", "content": problem.question},
            {"role": "assistant", "content": problem.completion()},
        ],
        "answer": problem.answer,
    }


def _keys(family, path):
    """{canonical form: id of the last row that asks it} of a file."""
    keys = {}
    for number, row in enumerate(jsonl.read(path), start=1):
        try:
            question = row["messages"][0]["content"]
            key = key_of(family, question)
        except (KeyError, IndexError, TypeError):
            question = key = None
        if key is None:
            raise UserError(
                f"{path}: row {number} asks {question!r}, which is no problem of the family "
                f"{family}. --check takes a folder made by tools/make_tasks."
            )
        keys[key] = row.get("id", f"row {number}")
    return keys


def check(folder):
    """UserError when a held-out problem is among the trained ones, in whatever wording."""
    shared = []
    for family in FAMILIES:
        trained = _keys(family, folder / f"{family}.train.jsonl")
        heldout = _keys(family, folder / f"{family}.heldout.jsonl")
        both = sorted(trained.keys() & heldout.keys())
        shared += [f"{heldout[key]} is {trained[key]} ({key})" for key in both]
        print(
            f"{family}: {len(trained)} problems in train, {len(heldout)} in heldout, "
            f"{len(both)} in both"
        )
    if shared:
        raise UserError(
            f"{folder}: {len(shared)} held-out problems are trained on too: "
            + "; ".join(shared[:5])
            + (" ..." if len(shared) > 5 else "")
            + ". Make the tasks again with tools/make_tasks, and train afresh."
        )


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="make_tasks",
        description="Generates instruction tasks with checkable answers in four families: "
        + ", ".join(FAMILIES)
        + ". Each completion ends with '#### ' and the answer.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FOLDER", help="where to write them")
    what.add_argument(
        "--check",
        metavar="FOLDER",
        help="of files made earlier: is no held-out problem, in whatever wording, in train?",
    )
    parser.add_argument("--train", type=int, default=6000, help="examples per family (6000)")
    parser.add_argument("--heldout", type=int, default=200, help="examples per family (200)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.check:
        check(Path(options.check))
        return 0
    folder = Path(options.out)
    for family in FAMILIES:
        for part, count in (("train", options.train), ("heldout", options.heldout)):
            found = problems(family, count, part == "heldout", options.seed)
            rows = [_row(family, part, n, problem) for n, problem in enumerate(found)]
            jsonl.write(folder / f"{family}.{part}.jsonl", rows)
            print(f"{folder / family}.{part}.jsonl: {count} examples")
    return 0
