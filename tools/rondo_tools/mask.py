"""From weighted character spans to per-token weights.

Text is encoded once, whole; a token belongs to an answer when its characters do. A token that
reaches over the edge of an answer makes the mask unsound: at generation the prompt would be cut
into other tokens than the ones trained on.
"""

from bisect import bisect_left

from rondo_tools.row_fault import RowFault


def token_weights(encoding, spans):
    """(one code per token, the weight of each code). `encoding` is a tokenizers.Encoding; `spans`
    are chat_template.Span of its text. Code 0 is weight 0, code 1 weight 1.

    The first token of an example is never a prediction target.
    """
    codes, table = bytearray(len(encoding)), [0.0, 1.0]
    for begin, end, weight in spans:
        if weight not in table:
            table.append(weight)
            if len(table) > 256:
                raise RowFault("wrong weight", "more than 254 different weights in a row")
        first, last = _token_at(encoding, begin), _token_at(encoding, end)
        codes[first:last] = bytes([table.index(weight)]) * (last - first)
    if codes:
        codes[0] = 0
    if not any(codes):
        raise RowFault("no trainable token", "the template marks none")
    return bytes(codes), tuple(table)


def _token_at(encoding, edge):
    """The first token that begins at this character or behind it; RowFault where the one before
    reaches over it."""
    # Almost always a token begins there; then the offsets of all need not be made into a list.
    token = encoding.char_to_token(edge)
    if token is not None and encoding.token_to_chars(token)[0] == edge:
        before = encoding.token_to_chars(token - 1) if token > 0 else None
        if before is None or (before[0] < edge and before[1] <= edge):
            return token
    if token is None and len(encoding) > 0:
        begin, end = encoding.token_to_chars(len(encoding) - 1)
        if begin < edge and end <= edge:
            return len(encoding)
    offsets = encoding.offsets
    token = bisect_left(offsets, (edge, -1))
    if token > 0 and offsets[token - 1][1] > edge:
        raise RowFault(
            "mask is unsound",
            f"a token reaches over the edge of an answer (characters {offsets[token - 1][0]} to "
            f"{offsets[token - 1][1]}, edge {edge})",
        )
    return token
