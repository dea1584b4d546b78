"""Rows that are tokenised already: `input_ids`, and which of them are trained.

Trained are the tokens whose `labels` are not -100, or whose `weights` are above 0, or whose mask
(`assistant_masks`, `completion_mask`, `loss_mask`) is 1; several of them must agree on all.
"""

import math
from numbers import Real

import numpy as np

from rondo_tools.formats import MASKS, rename, tags_of
from rondo_tools.loss_weight import loss_weight
from rondo_tools.row_fault import RowFault
from rondo_tools.tokenized_file import Example
from rondo_tools.words import of_turns

IGNORED = -100


def _numbers(row, name, length=None):
    value = row.get(name)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    good = isinstance(value, list) and all(
        isinstance(v, Real) and not isinstance(v, bool) and -math.inf < v < math.inf for v in value
    )
    if not good:
        raise RowFault("wrong type", f"{name} is not a list of numbers")
    if length is not None and len(value) != length:
        raise RowFault("wrong length", f"{name} has {len(value)} entries, input_ids {length}")
    return value


def _weights(row, ids):
    """By token; RowFault where the row's ways of saying it contradict each other."""
    found = {}
    if row.get("labels") is not None:
        labels = _numbers(row, "labels", len(ids))
        other = [i for i, label in enumerate(labels) if label not in (IGNORED, ids[i])]
        if other:
            raise RowFault(
                "wrong labels",
                f"labels[{other[0]}] is {labels[other[0]]}, expected {IGNORED} or input_ids there "
                f"({ids[other[0]]}); labels are not shifted",
            )
        found["labels"] = [float(label != IGNORED) for label in labels]
    for name in MASKS:
        if row.get(name) is not None:
            mask = _numbers(row, name, len(ids))
            if not set(mask) <= {0, 1}:
                raise RowFault("wrong weight", f"{name} holds something other than 0 and 1")
            found[name] = [float(value) for value in mask]
    weights = [1.0] * len(ids)
    for values in found.values():
        weights = [a * b for a, b in zip(weights, values, strict=True)]
    if row.get("weights") is not None:
        given = [loss_weight(value) for value in _numbers(row, "weights", len(ids))]
        weights = [a * b for a, b in zip(weights, given, strict=True)]
    elif not found:
        raise RowFault(
            "column missing", f"no labels, weights or mask ({', '.join(MASKS)}) beside input_ids"
        )
    return weights


def _words(ids, weights, tokenizer):
    """Trained stretches are the assistant's, the others the user's."""
    turns, begin = [], 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or (weights[end] > 0) != (weights[begin] > 0):
            text = tokenizer.decode(ids[begin:end], skip_special_tokens=True)
            turns.append(("assistant" if weights[begin] > 0 else "user", text))
            begin = end
    return of_turns(turns)


def example(row, columns, tokenizer, vocab):
    """The Example of a row. `vocab`: ids that the tokenizer has. The first token is never a
    prediction target."""
    if not isinstance(row, dict):
        raise RowFault("not an object", f"the row is {type(row).__name__}")
    row = rename(row, columns)
    ids = _numbers(row, "input_ids")
    wrong = [
        i for i, token in enumerate(ids) if not (isinstance(token, int) and 0 <= token < vocab)
    ]
    if wrong:
        raise RowFault(
            "unknown token",
            f"input_ids[{wrong[0]}] is {ids[wrong[0]]}, the tokenizer has ids 0 to {vocab - 1}",
        )
    weights = _weights(row, ids)
    if not any(weights[1:]):
        raise RowFault("no trainable token", "every token has weight 0")
    weights[0] = 0.0
    table = [0.0, 1.0, *sorted(set(weights) - {0.0, 1.0})]
    if len(table) > 256:
        raise RowFault("wrong weight", "more than 254 different weights in a row")
    codes = bytes(table.index(weight) for weight in weights)
    tokens = np.asarray(ids, "<i4").tobytes()
    return Example(tokens, codes, _words(ids, weights, tokenizer), tuple(table), tags_of(row))
