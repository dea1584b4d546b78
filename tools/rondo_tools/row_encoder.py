"""From raw rows to token ids and weights: parse, normalise, check, render, encode, mask."""

import json
from typing import NamedTuple

import numpy as np

from rondo_tools import probe
from rondo_tools.chat_template import ChatTemplate, leaves_out
from rondo_tools.conversation import checked
from rondo_tools.formats import RowFault, to_messages
from rondo_tools.mask import token_weights
from rondo_tools.tokenized_file import Example
from rondo_tools.tokenizer_folder import (
    encoder,
    load,
    special_pattern,
    special_tokens,
    vocab_size,
)
from rondo_tools.words import of_turns


class Encoded(NamedTuple):
    """What became of a row."""

    examples: tuple = ()
    left_out: bool = False  # the template left out part of an answer
    fault: tuple | None = None  # (reason, message)


class RowEncoder:
    """Built once in the parent process; workers inherit it."""

    def __init__(self, tokenizer_folder, template, format_name, columns):
        tokenizer = load(tokenizer_folder)
        self._format = format_name
        self._columns = columns
        self._template = ChatTemplate(template, tokenizer)
        self._encoder = encoder(tokenizer)
        self._special = special_tokens(tokenizer)
        self._control_tokens = special_pattern(tokenizer)
        self._stop = probe.end_of_turn(self._template, self._special)
        self._bos_id = tokenizer.bos_token_id
        self._vocab_size = vocab_size(tokenizer)

    def probe(self):
        probe.check(self._template, self._encoder, self._special, self._stop, self._bos_id)

    def attributes(self):
        return {"vocab_size": self._vocab_size, "end_of_turn_id": self._special[self._stop]}

    def encode(self, rows):
        """Per row an Encoded: examples, or the fault that it is rejected for."""
        prepared = [self._prepare(row) for row in rows]
        texts = [item[0] for item in prepared if not isinstance(item, RowFault)]
        encodings = iter(self._encoder.encode_batch(texts, add_special_tokens=False))
        return [
            _faulty(item) if isinstance(item, RowFault) else _masked(next(encodings), *item[1:])
            for item in prepared
        ]

    def _prepare(self, row):
        try:
            messages = to_messages(parse(row), self._format, self._columns)
            conversation = checked(messages, self._control_tokens)
            text, spans = self._template.answers(conversation, self._stop)
            words = of_turns((m["role"], m["content"]) for m in conversation)
            return text, spans, words, leaves_out(conversation, text, spans)
        except RowFault as fault:
            return fault


def parse(row):
    """The JSON value of a row; RowFault if it is none."""
    try:
        return json.loads(row.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowFault("not UTF-8", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise RowFault("not JSON", str(error)) from error


def _faulty(fault):
    return Encoded(fault=(fault.reason, str(fault)))


def _masked(encoding, spans, words, left_out):
    try:
        weights = token_weights(encoding.offsets, spans)
    except RowFault as fault:
        return _faulty(fault)
    tokens = np.asarray(encoding.ids, "<i4").tobytes()
    return Encoded((Example(tokens, weights, words),), left_out)
