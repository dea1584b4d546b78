"""Texts to token ids, and which token begins at a character.

Where tokens are pieces of the text's bytes (byte-level BPE), the lengths of the tokens say where
each begins, and the tokenizer need not work out offsets, which costs it a quarter of its time. The
lengths must sum to that of the text; where they do not, and for all other tokenizers, its offsets
are asked for.
"""

import json
import unicodedata
from bisect import bisect_left

import numpy as np

from rondo_tools.row_fault import RowFault


class Encoder:
    def __init__(self, tokenizer):
        """`tokenizer`: of transformers."""
        from tokenizers import Tokenizer

        description = json.loads(tokenizer.backend_tokenizer.to_str())
        description["truncation"] = None
        description["padding"] = None
        if "dropout" in description["model"]:
            description["model"]["dropout"] = None  # the same text has the same tokens
        # Byte-level post-processors may trim white space off the offsets (never off the tokens);
        # then a token that reaches over the edge of an answer would not be seen.
        _keep_white_space(description.get("post_processor"))
        self.tokenizer = Tokenizer.from_str(json.dumps(description))
        self._lengths = _byte_lengths(description)
        self._normalizes = description.get("normalizer") is not None

    def encode(self, texts):
        """A ByBytes or ByOffsets for each text; no special tokens are added."""
        if self._lengths is None:
            return list(
                map(ByOffsets, self.tokenizer.encode_batch(texts, add_special_tokens=False))
            )
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [self._by_bytes(t, e.ids) for t, e in zip(texts, encodings, strict=True)]

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _by_bytes(self, text, ids):
        ids = np.asarray(ids, "<i4")
        ends = self._lengths[ids].cumsum()
        size = len(text) if text.isascii() else len(text.encode("utf-8"))
        same = not self._normalizes or text.isascii() or unicodedata.is_normalized("NFC", text)
        if not same or not len(ids) or ends[-1] != size:
            return self._by_offsets(text)
        return ByBytes(text, ids, ends, self._by_offsets)

    def _by_offsets(self, text):
        return ByOffsets(self.tokenizer.encode(text, add_special_tokens=False))


class ByBytes:
    """`ids`: int32 [tokens]; `ends`: the byte of the text where each token ends."""

    def __init__(self, text, ids, ends, by_offsets):
        self.ids = ids
        self._text, self._ends, self._by_offsets = text, ends, by_offsets

    def token_at(self, edge):
        """The first token that begins at this character or behind it; RowFault where the one before
        reaches over it."""
        if edge == 0:
            return 0
        text = self._text
        at = edge if text.isascii() else len(text[:edge].encode("utf-8"))
        token = int(self._ends.searchsorted(at))
        if token < len(self._ends) and self._ends[token] == at:
            return token + 1
        return self._by_offsets(text).token_at(edge)


class ByOffsets:
    """`encoding`: a tokenizers.Encoding."""

    def __init__(self, encoding):
        self.ids = np.asarray(encoding.ids, "<i4")
        self._encoding = encoding

    def token_at(self, edge):
        """As ByBytes."""
        encoding = self._encoding
        # Almost always a token begins there; then the offsets of all need not be made into a list.
        token = encoding.char_to_token(edge)
        if token is not None and encoding.token_to_chars(token)[0] == edge:
            before = encoding.token_to_chars(token - 1) if token > 0 else None
            if before is None or (before[0] < edge and before[1] <= edge):
                return token
        offsets = encoding.offsets
        token = bisect_left(offsets, (edge, -1))
        if token > 0 and offsets[token - 1][1] > edge:
            raise RowFault(
                "mask is unsound",
                f"a token reaches over the edge of an answer (characters {offsets[token - 1][0]} "
                f"to {offsets[token - 1][1]}, edge {edge})",
            )
        return token


def _keep_white_space(node):
    if isinstance(node, dict):
        if "trim_offsets" in node:
            node["trim_offsets"] = False
        for value in node.values():
            _keep_white_space(value)
    elif isinstance(node, list):
        for value in node:
            _keep_white_space(value)


def _knows_all_bytes(vocab):
    """Else a token stands for what is unknown, of any length."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = range(256, 256 + 256 - len(plain))  # byte-level BPE writes the other bytes as these
    return all(chr(code) in vocab for code in (*plain, *others))


def _byte_lengths(description):
    """int64 [ids]: bytes of the text that each token stands for; None where that cannot be said
    without the text. `description`: tokenizer.json."""
    model, normalizer = description["model"], description.get("normalizer")
    before = description.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    parts = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if (
        model.get("type") != "BPE"
        or any(model.get(part) for part in parts)
        or (normalizer is not None and normalizer.get("type") != "NFC")
        or len(byte_level) != 1
        or byte_level[0].get("add_prefix_space")
        or (model.get("unk_token") is not None and not _knows_all_bytes(model["vocab"]))
    ):
        return None
    length = {number: len(text) for text, number in model["vocab"].items()}  # a character a byte
    added = {t["id"]: len(t["content"].encode("utf-8")) for t in description["added_tokens"]}
    length |= added
    table = np.zeros(1 + max(length), np.int64)
    for number, size in length.items():
        table[number] = size
    return table
