"""Checks of a template that need no data: does training with it make sense at all?

A small conversation is rendered, encoded and masked. Faults are errors of the whole job and show
the conversation with the trained parts between >> and <<.
"""

from itertools import pairwise

from rondo_tools.errors import UserError
from rondo_tools.formats import RowFault
from rondo_tools.mask import token_weights

_ANSWER = "It is four."
_ANOTHER = "Give another with --template (in a run's configuration: sources.NAME.template)."
_PROBE = [
    {"role": "user", "content": "What is two plus two?"},
    {"role": "assistant", "content": _ANSWER},
]
_SECOND = [
    {"role": "user", "content": "And three plus three?"},
    {"role": "assistant", "content": "That makes six."},
]


def marked(text, spans):
    """The text with >> before and << after each trained span."""
    pieces, position = [], 0
    for begin, end in spans:
        pieces += [text[position:begin], ">>", text[begin:end], "<<"]
        position = end
    return "".join(pieces) + text[position:]


def _fault(what, text, spans, way_out):
    raise UserError(
        f"the chat template cannot be trained with: {what}. {way_out}\n"
        f"Rendered (>>trained<<):\n{marked(text, spans)}"
    )


def end_of_turn(template, special):
    """The text of the control token that ends an answer: the first behind the probe's answer."""
    try:
        text, spans = template.render(_PROBE)
    except RowFault as fault:
        raise UserError(f"the chat template refuses a plain question and answer: {fault}") from None
    if _ANSWER not in text:
        _fault("it leaves out the answer", text, spans, _ANOTHER)
    behind = text.index(_ANSWER) + len(_ANSWER)
    found = [(text.find(token, behind), -len(token), token) for token in special]
    found = sorted(item for item in found if item[0] >= 0)
    if not found:
        _fault(
            "no control token follows the answer, so the model would never learn to stop",
            text, spans, "End each assistant turn in the template with the end-of-turn token.",
        )  # fmt: skip
    return found[0][2]


def check(template, encoder, special, stop, bos_id):
    """UserError unless prompt, answer and end-of-turn token are cut and trained as they should."""
    for messages in (_PROBE, _PROBE + _SECOND):
        try:
            text, spans = template.answers(messages, stop)
        except RowFault as fault:
            if messages is _PROBE:
                text, spans = template.render(messages)
                _fault(str(fault), text, spans, "Mark answers with {% generation %}.")
            continue  # a template may refuse a second turn; rows with one are then rejected
        _check_spans(template, messages, text, spans, special, stop)
        _check_tokens(template, encoder, messages, text, spans, bos_id)


def _check_spans(template, messages, text, spans, special, stop):
    for message in messages:
        if message["role"] != "assistant":
            continue
        begin = text.find(message["content"])
        span = next((span for span in spans if span[0] <= begin < span[1]), None)
        if span is None:
            _fault("an answer is not trained", text, spans, "Put it into {% generation %}.")
        behind = text.index(stop, begin) + len(stop)
        if span[1] < behind:
            _fault(
                f"the end-of-turn token {stop} would not be trained, so the model would never "
                f"learn to stop",
                text, spans, "Move it before {% endgeneration %}.",
            )  # fmt: skip
        if any(token in text[span[0] : begin] for token in special):
            _fault(
                "the header of the assistant's turn would be trained",
                text, spans,
                "Make the template write that header when add_generation_prompt is set, or mark "
                "answers with {% generation %}.",
            )  # fmt: skip
    if "user" in {m["role"] for m in messages} and any(
        begin <= text.find(message["content"]) < end
        for message in messages
        if message["role"] == "user"
        for begin, end in spans
    ):
        _fault("a question would be trained", text, spans, "Correct {% generation %}.")


def _check_tokens(template, encoder, messages, text, spans, bos_id):
    encoding = encoder.encode(text, add_special_tokens=False)
    try:
        weights = token_weights(encoding.offsets, spans)
    except RowFault as fault:
        _fault(str(fault), text, spans, "Let the prompt end where a token ends.")
    doubled = any(left == right == bos_id for left, right in pairwise(encoding.ids))
    if bos_id is not None and doubled:
        _fault("the beginning-of-text token is doubled", text, spans, "Remove one of the two.")
    prompt, _ = template.render(messages[:1], add_generation_prompt=True)
    prompt_ids = encoder.encode(prompt, add_special_tokens=False).ids
    length = weights.index(1)
    if prompt_ids != encoding.ids[:length]:
        _fault(
            "the prompt alone (add_generation_prompt) gives other tokens than in front of its "
            "answer, so generation would not start where training did",
            text, spans,
            f"Prompt alone:\n{prompt}",
        )  # fmt: skip
