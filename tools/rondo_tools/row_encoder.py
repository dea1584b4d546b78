"""From raw rows to token ids and weights: parse, normalise, check, render, encode, mask."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from rondo_tools import probe, sources, token_rows
from rondo_tools.chat_template import ChatTemplate, leaves_out
from rondo_tools.conversation import checked
from rondo_tools.encoder import Encoder
from rondo_tools.formats import tags_of, to_messages
from rondo_tools.mask import token_weights
from rondo_tools.row_fault import RowFault
from rondo_tools.tokenized_file import Example
from rondo_tools.tokenizer_folder import (
    load,
    special_pattern,
    special_tokens,
    vocab_size,
)
from rondo_tools.words import of_turns

TRAIN_ON = ("all", "last")
MULTI_TURN = ("auto", "whole", "split")


@dataclass(frozen=True)
class Rules:
    """How rows become examples."""

    format: str
    columns: dict
    train_on: str = "all"  # of the assistant's turns, or the last one alone
    multi_turn: str = "auto"  # whole conversations, or split: one example per assistant's turn
    end_of_turn_weight: float = 1.0


class Encoded(NamedTuple):
    """What became of a row."""

    examples: tuple = ()
    left_out: bool = False  # the template left out part of an answer
    split: bool = False  # into one example per answer, because whole it could not be trained
    fault: tuple | None = None  # (reason, message)


class _Part(NamedTuple):
    """An example before it is encoded."""

    text: str
    spans: list
    words: bytes


class _Prepared(NamedTuple):
    parts: list
    tags: tuple
    left_out: bool
    split: bool


def _spoken(message):
    """The text of a turn by which examples are compared."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    said = [message["content"], message.get("reasoning_content") or ""]
    return " ".join(said + [f"{c['name']} {json.dumps(c['arguments'])}" for c in calls])


def _words(messages):
    return of_turns((message["role"], _spoken(message)) for message in messages)


class RowEncoder:
    """Built once in the parent process; workers inherit it."""

    def __init__(self, tokenizer_folder, template, rules):
        tokenizer = load(tokenizer_folder)
        self._rules = rules
        self._encoder = Encoder(tokenizer)
        self._special = special_tokens(tokenizer)
        self._vocab_size = vocab_size(tokenizer)
        self._tokenizer = tokenizer
        if rules.format == "tokens":
            self._end = None
            return
        self._template = ChatTemplate(template, tokenizer)
        self._control_tokens = special_pattern(tokenizer)
        self._template.ends = probe.ends_of_turns(self._template, self._special)
        self._end = self._special[self._template.ends[0]]
        self._bos_id = tokenizer.bos_token_id

    def probe(self):
        """UserError when training with this template and tokenizer makes no sense; else remarks for
        the user, a line each."""
        if self._rules.format == "tokens":
            return []
        return probe.check(
            self._template, self._encoder, self._special, self._bos_id, self._rules.multi_turn
        )

    def attributes(self):
        end = -1 if self._end is None else self._end
        return {"vocab_size": self._vocab_size, "end_of_turn_id": end}

    @property
    def tokenizer(self):
        """The `tokenizers.Tokenizer` that texts are encoded by."""
        return self._encoder.tokenizer

    def texts(self, rows):
        """What is encoded of the rows that are not rejected."""
        prepared = map(self._prepare, rows)
        return [p.text for item in prepared if isinstance(item, _Prepared) for p in item.parts]

    def encode(self, rows):
        """Per row an Encoded: examples, or the fault that it is rejected for."""
        if self._rules.format == "tokens":
            return [self._given(row) for row in rows]
        prepared = [self._prepare(row) for row in rows]
        texts = [p.text for item in prepared if isinstance(item, _Prepared) for p in item.parts]
        encodings = iter(self._encoder.encode(texts))
        return [
            _encoded(item, [next(encodings) for _ in item.parts])
            if isinstance(item, _Prepared)
            else _faulty(item)
            for item in prepared
        ]

    def _given(self, row):
        """A row that is tokenised already."""
        try:
            example = token_rows.example(
                parse(row), self._rules.columns, self._tokenizer, self._vocab_size
            )
            return Encoded((example,))
        except RowFault as fault:
            return _faulty(fault)

    def _prepare(self, row):
        """A _Prepared, or the RowFault."""
        rules = self._rules
        try:
            parsed = parse(row)
            messages, tools = to_messages(parsed, rules.format, rules.columns)
            conversation = checked(messages, tools, self._control_tokens, rules.train_on)
            tags = tags_of(parsed)
            if rules.multi_turn != "split":
                whole = self._whole(conversation)
                if whole is not None:
                    return whole._replace(tags=tags)
            return _Prepared(self._split(conversation), tags, False, True)
        except RowFault as fault:
            return fault

    def _whole(self, conversation):
        """None where it has to be split instead."""
        may_split = self._rules.multi_turn == "auto" and sum(map(bool, conversation.weights)) > 1
        try:
            text, spans = self._template.answers(conversation, self._rules.end_of_turn_weight)
        except RowFault as fault:
            if may_split and fault.reason == "mask is unsound":
                return None
            raise
        messages = conversation.messages
        weighty = [m for m, w in zip(messages, conversation.weights, strict=True) if w > 0]
        left_out = leaves_out(weighty, text, spans)
        if left_out and may_split:
            return None
        return _Prepared([_Part(text, spans, _words(messages))], (), left_out, False)

    def _split(self, conversation):
        parts = []
        for number, weight in enumerate(conversation.weights):
            if weight > 0:
                text, spans = self._template.answer(
                    conversation, number, self._rules.end_of_turn_weight
                )
                parts.append(_Part(text, spans, _words(conversation.messages[: number + 1])))
        return parts


def parse(row):
    """The JSON value of a row; RowFault if it is none."""
    try:
        return sources.value_of(row)
    except UnicodeDecodeError as error:
        raise RowFault("not UTF-8", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise RowFault("not JSON", str(error)) from error


def _faulty(fault):
    return Encoded(fault=(fault.reason, str(fault)))


def _encoded(prepared, encodings):
    examples = []
    try:
        for part, encoding in zip(prepared.parts, encodings, strict=True):
            codes, table = token_weights(encoding, part.spans)
            ids = encoding.ids.tobytes()
            examples.append(Example(ids, codes, part.words, table, prepared.tags))
    except RowFault as fault:
        return _faulty(fault)
    return Encoded(tuple(examples), prepared.left_out, prepared.split)
