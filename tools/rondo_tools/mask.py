"""From character spans to per-token weights.

Text is encoded once, whole; a token belongs to an answer when its characters do. A token that
reaches over the edge of an answer makes the mask unsound: at generation the prompt would be cut
into other tokens than the ones trained on.
"""

from bisect import bisect_left

from rondo_tools.formats import RowFault


def token_weights(offsets, spans):
    """One byte per token: 1 = trained. `offsets` are (begin, end) characters in order.

    The first token of an example is never a prediction target.
    """
    weights = bytearray(len(offsets))
    for begin, end in spans:
        first = bisect_left(offsets, (begin, -1))
        last = bisect_left(offsets, (end, -1))
        for edge, index in ((begin, first), (end, last)):
            if index > 0 and offsets[index - 1][1] > edge:
                raise RowFault(
                    "mask is unsound",
                    f"a token reaches over the edge of an answer (characters "
                    f"{offsets[index - 1][0]} to {offsets[index - 1][1]}, edge {edge})",
                )
        weights[first:last] = b"\x01" * (last - first)
    if weights:
        weights[0] = 0
    if not any(weights):
        raise RowFault("no trainable token", "the template marks none")
    return bytes(weights)
