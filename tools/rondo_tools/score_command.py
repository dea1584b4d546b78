"""tools/score: exact match of completions against references, as JSON on standard output."""

import argparse
import json
import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from pathlib import Path

from rondo_tools import jsonl
from rondo_tools.errors import UserError

DEFAULT_PATTERN = r"####\s*(.+)"
_MOST_DIGITS = 50  # before or behind the point; a number beyond that is taken as text
_EXACT = Context(prec=200, traps=[InvalidOperation, Overflow, Inexact])


def normalised(text):
    """Text without surrounding space and full stop; a number without $ and thousands commas,
    in its shortest form (1,234.50 = 1234.5)."""
    text = text.strip().removesuffix(".").strip()
    number = text.replace("$", "").replace(",", "").strip()
    try:
        value = Decimal(number).normalize(_EXACT)
    except ArithmeticError:
        return text
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS:
        return text
    return f"{value:f}"


def extracted(text, pattern):
    """What the last match of the pattern holds in its first group (else the whole match)."""
    last = None
    for last in pattern.finditer(text):
        pass
    if last is None:
        return None
    return last.group(1) if pattern.groups else last.group(0)


def _given(completion, pattern):
    """The completion's answer; None if it has none."""
    if pattern is None:
        return completion.strip()
    answer = extracted(completion, pattern)
    return None if answer is None else normalised(answer)


def _wanted(reference, pattern):
    """The reference's answer; a reference without the pattern is the answer itself."""
    if pattern is None:
        return reference.strip()
    answer = extracted(reference, pattern)
    return normalised(reference if answer is None else answer)


def _check_files(options):
    """UserError where the completions would be compared with themselves."""
    completions, references = (
        Path(path).resolve() for path in (options.completions, options.references)
    )
    if options.field == "completion" and completions == references:
        raise UserError(
            f"{options.completions}: its field 'completion' is what the model wrote, not the "
            f"references. Give the rows with the right answers with --references, or "
            f"--field reference (where tools/decode keeps a row's own completion)."
        )


def _check(completions, references, options):
    if len(completions) != len(references):
        raise UserError(
            f"{options.completions}: {len(completions)} completions, but {options.references} "
            f"holds {len(references)} references. They are matched by their order."
        )
    for number, (completion, reference) in enumerate(zip(completions, references, strict=True)):
        for row, field, path in (
            (completion, "completion", options.completions),
            (reference, options.field, options.references),
        ):
            if not isinstance(row.get(field), (str, int, float)):
                raise UserError(f"{path}: row {number + 1} has no text in the field {field!r}.")
        ids = completion.get("id"), reference.get("id")
        if reference.get("id") is not None and ids[0] != ids[1]:
            raise UserError(
                f"{options.completions}: row {number + 1} has id {ids[0]!r}, the reference has "
                f"{ids[1]!r}. Both files must be in the same order."
            )


def _share(counts):
    counts["share"] = counts["correct"] / counts["examples"] if counts["examples"] else 0.0
    return counts


def score(completions, references, pattern, field):
    """Counts and shares, in all and per family where the references name one."""
    total = {"examples": 0, "correct": 0, "without_answer": 0, "unfinished": 0}
    families = {}
    for completion, reference in zip(completions, references, strict=True):
        given = _given(completion["completion"], pattern)
        hit = given is not None and given == _wanted(str(reference[field]), pattern)
        total["examples"] += 1
        total["correct"] += hit
        total["without_answer"] += given is None
        total["unfinished"] += not completion.get("finished", True)
        if "family" in reference:
            name = str(reference["family"])
            family = families.setdefault(name, {"examples": 0, "correct": 0})
            family["examples"] += 1
            family["correct"] += hit
    result = _share(total)
    if families:
        result["families"] = {name: _share(counts) for name, counts in families.items()}
    return result


def main(arguments):
    parser = argparse.ArgumentParser(prog="score", description=__doc__)
    parser.add_argument("--completions", required=True, metavar="FILE", help="of tools/decode")
    parser.add_argument(
        "--references",
        metavar="FILE",
        help="in the same order (default: the completions' own rows)",
    )
    parser.add_argument("--field", default="answer", help="of the references (default answer)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--pattern",
        default=DEFAULT_PATTERN,
        help=r"the answer stands in the last match's first group (default '####\s*(.+)')",
    )
    how.add_argument("--exact", action="store_true", help="compare the whole text")
    options = parser.parse_args(arguments)
    try:
        pattern = None if options.exact else re.compile(options.pattern)
    except re.error as error:
        raise UserError(f"--pattern {options.pattern!r}: {error}.") from error
    options.references = options.references or options.completions
    _check_files(options)
    completions, references = jsonl.read(options.completions), jsonl.read(options.references)
    _check(completions, references, options)
    print(json.dumps(score(completions, references, pattern, options.field), indent=2))
    return 0
