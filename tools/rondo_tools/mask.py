"""From weighted character spans to per-token weights.

Text is encoded once, whole; a token belongs to an answer when its characters do. A token that
reaches over the edge of an answer makes the mask unsound: at generation the prompt would be cut
into other tokens than the ones trained on.
"""

from rondo_tools.row_fault import RowFault


def token_weights(encoding, spans):
    """(one code per token, the weight of each code). `encoding` is what an encoder.Encoder gives;
    `spans` are chat_template.Span of its text. Code 0 is weight 0, code 1 weight 1.

    The first token of an example is never a prediction target.
    """
    codes, table = bytearray(len(encoding.ids)), [0.0, 1.0]
    for begin, end, weight in spans:
        if weight not in table:
            table.append(weight)
            if len(table) > 256:
                raise RowFault("wrong weight", "more than 254 different weights in a row")
        first, last = encoding.token_at(begin), encoding.token_at(end)
        codes[first:last] = bytes([table.index(weight)]) * (last - first)
    if codes:
        codes[0] = 0
    if not any(codes):
        raise RowFault("no trainable token", "the template marks none")
    return bytes(codes), tuple(table)
