"""Checks of a template that need no data: does training with it make sense at all?

Small conversations are rendered, encoded and masked. Faults are errors of the whole job and show
the conversation with the trained parts between >> and <<.
"""

from itertools import pairwise

from rondo_tools.conversation import Conversation
from rondo_tools.errors import UserError
from rondo_tools.mask import token_weights
from rondo_tools.row_fault import RowFault

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
_PLACE = "Springfield"
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
_CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": _PLACE}}}
_TOOL_PROBE = [
    {"role": "user", "content": "How is the weather?"},
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
]


def _conversation(messages, tools=None):
    return Conversation(messages, [float(m["role"] == "assistant") for m in messages], tools)


def marked(text, spans):
    """The text with >> before and << after each trained span."""
    pieces, position = [], 0
    for begin, end, *_ in spans:
        pieces += [text[position:begin], ">>", text[begin:end], "<<"]
        position = end
    return "".join(pieces) + text[position:]


def _fault(what, text, spans, way_out):
    raise UserError(
        f"the chat template cannot be trained with: {what}. {way_out}\n"
        f"Rendered (>>trained<<):\n{marked(text, spans)}"
    )


def _first_control_token(text, behind, special):
    """The control token that comes first from character `behind` on; None without one."""
    found = [(text.find(token, behind), -len(token), token) for token in special]
    found = sorted(item for item in found if item[0] >= 0)
    return found[0][2] if found else None


def ends_of_turns(template, special):
    """Texts of the control tokens that end an assistant's turn: that of an answer, and where it is
    another one that of a call of a tool."""
    try:
        text, spans = template.render(_PROBE)
    except RowFault as fault:
        raise UserError(f"the chat template refuses a plain question and answer: {fault}") from None
    if _ANSWER not in text:
        _fault("it leaves out the answer", text, spans, _ANOTHER)
    end = _first_control_token(text, text.index(_ANSWER) + len(_ANSWER), special)
    if end is None:
        _fault(
            "no control token follows the answer, so the model would never learn to stop",
            text, spans, "End each assistant turn in the template with the end-of-turn token.",
        )  # fmt: skip
    return (end, *(e for e in _end_of_call(template, special) if e != end))


def _end_of_call(template, special):
    """None, or the one that ends a call of a tool, where the template writes such calls."""
    try:
        text, _ = template.render(_TOOL_PROBE, [_TOOL])
    except RowFault:
        return ()
    end = _PLACE in text and _first_control_token(text, text.rindex(_PLACE), special)
    return (end,) if end else ()


def check(template, encoder, special, bos_id, multi_turn):
    """UserError unless prompt, answer and end-of-turn token are cut and trained as they should.
    Returns remarks for the user, a line each."""
    _check_conversation(template, encoder, special, bos_id, _conversation(_PROBE), _PROBE)
    remarks = _inserted_system(template)
    two = _conversation(_PROBE + _SECOND)
    try:
        if multi_turn != "split":
            _check_conversation(template, encoder, special, bos_id, two, _PROBE + _SECOND)
    except RowFault as fault:
        # A template may refuse a second turn; rows with one are then rejected.
        if fault.reason == "mask is unsound":
            remarks += _not_whole(str(fault), multi_turn)
    if multi_turn != "split" and _drops_thoughts(template):
        way = "multi_turn is whole, so they are not trained"
        if multi_turn == "auto":
            way = "rows that have such are cut into one example per answer"
        remarks.append(f"the chat template leaves out the thoughts of earlier turns; {way}")
    return remarks


def _not_whole(fault, multi_turn):
    if multi_turn == "whole":
        raise UserError(
            f"the chat template cannot be trained with several answers at once ({fault}). Set "
            f"multi_turn to auto or split (--multi-turn; in a run's configuration "
            f"sources.NAME.multi_turn): one example per answer."
        )
    return [f"rows with several answers are cut into one example per answer ({fault})"]


def _inserted_system(template):
    """What the template puts before the first user's text by itself, where it is words."""
    text, _ = template.render(_PROBE[:1])
    before = text[: text.find(_PROBE[0]["content"])].strip()
    if sum(word.isalpha() for word in before.split()) < 3:
        return []
    return [f"where a row has no system turn the chat template inserts one by itself: {before!r}"]


def _drops_thoughts(template):
    thought = "Two and two are four things."
    first = {**_PROBE[1], "reasoning_content": thought}
    try:
        last_text, _ = template.render([_PROBE[0], first])
        text, _ = template.render([_PROBE[0], first, *_SECOND])
    except RowFault:
        return False
    return thought in last_text and thought not in text


def _check_conversation(template, encoder, special, bos_id, conversation, messages):
    try:
        text, spans = template.answers(conversation)
    except RowFault as fault:
        if messages is not _PROBE:
            raise
        text, spans = template.render(messages)
        _fault(str(fault), text, spans, "Mark answers with {% generation %}.")
    _check_spans(template, messages, text, spans, special)
    _check_tokens(template, encoder, messages, text, spans, bos_id)


def _check_spans(template, messages, text, spans, special):
    stop = template.ends[0]
    for message in messages:
        if message["role"] != "assistant":
            continue
        begin = text.find(message["content"])
        span = next((span for span in spans if span.begin <= begin < span.end), None)
        if span is None:
            _fault("an answer is not trained", text, spans, "Put it into {% generation %}.")
        behind = text.index(stop, begin) + len(stop)
        if span.end < behind:
            _fault(
                f"the end-of-turn token {stop} would not be trained, so the model would never "
                f"learn to stop",
                text, spans, "Move it before {% endgeneration %}.",
            )  # fmt: skip
        if any(token in text[span.begin : begin] for token in special):
            _fault(
                "the header of the assistant's turn would be trained",
                text, spans,
                "Make the template write that header when add_generation_prompt is set, or mark "
                "answers with {% generation %}.",
            )  # fmt: skip
    if any(
        span.begin <= text.find(message["content"]) < span.end
        for message in messages
        if message["role"] == "user"
        for span in spans
    ):
        _fault("a question would be trained", text, spans, "Correct {% generation %}.")


def _check_tokens(template, encoder, messages, text, spans, bos_id):
    (encoding,) = encoder.encode([text])
    ids = encoding.ids.tolist()
    try:
        codes, _ = token_weights(encoding, spans)
    except RowFault as fault:
        _fault(str(fault), text, spans, "Let the prompt end where a token ends.")
    doubled = any(left == right == bos_id for left, right in pairwise(ids))
    if bos_id is not None and doubled:
        _fault("the beginning-of-text token is doubled", text, spans, "Remove one of the two.")
    prompt, _ = template.render(messages[:1], add_generation_prompt=True)
    prompt_ids = encoder.ids(prompt)
    length = len(codes) - len(codes.lstrip(b"\0"))
    if prompt_ids != ids[:length]:
        _fault(
            "the prompt alone (add_generation_prompt) gives other tokens than in front of its "
            "answer, so generation would not start where training did",
            text, spans,
            f"Prompt alone:\n{prompt}",
        )  # fmt: skip
