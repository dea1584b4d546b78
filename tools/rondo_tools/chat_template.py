"""Renders conversations with a Jinja chat template and says which characters are answers.

Answers are found in one of two ways. A template with {% generation %} marks names them itself. For
any other template the text up to an answer is rendered with the generation prompt; it must be a
prefix of the whole text, the answer begins where it ends and reaches through the first end-of-turn
token behind it. Where this does not hold the mask is unsound, and the row is refused or cut into
one example per answer.
"""

import datetime
import re
from itertools import pairwise
from typing import NamedTuple

from rondo_tools.errors import UserError
from rondo_tools.row_fault import RowFault

_MARK = re.compile(r"\{%-?\+?\s*generation\s*[-+]?%\}")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")
# What templates that ask for the date are told, so that the same rows give the same tokens on any
# day: that of the examples in Llama 3's own documentation.
PINNED_DATE = datetime.datetime(2024, 7, 26)


class Span(NamedTuple):
    """Characters [begin, end) of a rendered text that are trained with a weight."""

    begin: int
    end: int
    weight: float = 1.0


def _answers(messages):
    return [number for number, message in enumerate(messages) if message["role"] == "assistant"]


def leaves_out(messages, text, spans):
    """True where what is trained of the assistant's `messages` holds less than they say, such as
    without the thoughts of an earlier turn. Space around a text does not count."""
    trained, end = [], -1
    for span in spans:
        if span.begin == end:  # its end-of-turn token, of another weight
            trained[-1] += text[span.begin : span.end]
        else:
            trained.append(text[span.begin : span.end])
        end = span.end
    if len(trained) != len(messages):  # marks may cut an answer into pieces
        trained = ["".join(trained)] * len(messages)
    return any(
        said.strip() not in held
        for message, held in zip(messages, trained, strict=True)
        for said in (message["content"], message.get("reasoning_content") or "")
    )


class ChatTemplate:
    """`ends`: texts of the control tokens that end an assistant's turn; set once they are known."""

    def __init__(self, text, tokenizer):
        import jinja2
        from transformers.utils import chat_template_utils

        self.text = text
        self.has_marks = bool(_MARK.search(text))
        self.ends = ()
        names = {name: getattr(tokenizer, name, None) for name in _TOKENS}
        self._tokens = {name: str(token) for name, token in names.items() if token is not None}
        try:
            self._compiled = chat_template_utils._compile_jinja_template(text)
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"the chat template is not valid Jinja: {error}") from error
        self._compiled.globals["strftime_now"] = PINNED_DATE.strftime
        self._render_marked = chat_template_utils._render_with_assistant_indices

    def render(self, messages, tools=None, add_generation_prompt=False):
        """(text, marked character spans). RowFault with the template's own words if it refuses."""
        import jinja2

        given = {
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self._tokens,
        }
        try:
            if not self.has_marks:
                return self._compiled.render(**given), []
            text, spans = self._render_marked(compiled_template=self._compiled, **given)
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            raise RowFault("refused by the chat template", str(error)) from error
        return text, [Span(*span) for span in spans if span[0] < span[1]]

    def _rendered(self, messages, tools):
        """The same of a conversation of a row, in which nothing about tools may get lost."""
        text, spans = self.render(messages, tools)
        called = [call["function"] for m in messages for call in m.get("tool_calls", ())]
        # Templates may write a result in another form, but not without its longest word.
        words = [re.findall(r"[A-Za-z0-9]+", m["content"]) for m in messages if m["role"] == "tool"]
        results = [max(found, key=len) for found in words if found]
        offered = [tool["function"] for tool in tools or ()]
        for what, wanted in (
            ("tools", [function.get("name") for function in offered]),
            ("calls of tools", [function["name"] for function in called]),
            ("results of tools", results),
        ):
            if any(isinstance(part, str) and part not in text for part in wanted):
                raise RowFault(f"the chat template leaves out {what}")
        return text, spans

    def answers(self, conversation, end_weight=1.0):
        """(text, Spans of all answers that have weight, each with its end-of-turn token).
        `end_weight`: of that token, times the answer's own."""
        messages, tools = conversation.messages, conversation.tools
        text, spans = self._rendered(messages, tools)
        numbers = _answers(messages)
        if not self.has_marks:
            spans = [self._answer(text, messages, tools, number) for number in numbers]
        if any(left.end > right.begin for left, right in pairwise(spans)):
            raise RowFault("mask is unsound", "the answers overlap in the rendered text")
        weights = self._weights_of(spans, [conversation.weights[number] for number in numbers])
        return text, self._weighted(text, spans, weights, end_weight)

    def answer(self, conversation, number, end_weight=1.0):
        """The same of the conversation up to the assistant's turn `number`, that turn alone being
        trained: sound where earlier turns are rendered in another way once others follow."""
        messages, tools = conversation.messages[: number + 1], conversation.tools
        text, spans = self._rendered(messages, tools)
        if not self.has_marks:
            spans = [self._answer(text, messages, tools, number)]
        elif len(spans) != len(_answers(messages)):
            raise RowFault("mask is unsound", "the template marks other spans than its answers")
        weights = [conversation.weights[number]]
        return text, self._weighted(text, spans[-1:], weights, end_weight)

    def _answer(self, text, messages, tools, number):
        prompt, _ = self.render(messages[:number], tools, add_generation_prompt=True)
        if not text.startswith(prompt):
            raise RowFault(
                "mask is unsound",
                f"the prompt of turn {number + 1} is not a prefix of the rendered conversation",
            )
        found = [(text.find(end, len(prompt)), end) for end in self.ends]
        found = [(at, end) for at, end in found if at >= 0]
        if not found:
            raise RowFault(
                "mask is unsound", f"no {' or '.join(self.ends)} behind turn {number + 1}"
            )
        at, end = min(found)
        return Span(len(prompt), at + len(end))

    @staticmethod
    def _weights_of(spans, weights):
        """By span; marks may cut an answer into pieces, which then must weigh alike."""
        if len(spans) == len(weights):
            return weights
        if len(set(weights)) > 1:
            raise RowFault(
                "mask is unsound",
                f"{len(weights)} answers of different weights, but the template marks {len(spans)}",
            )
        return weights[:1] * len(spans)

    def _weighted(self, text, spans, weights, end_weight):
        result = []
        for span, weight in zip(spans, weights, strict=True):
            if weight == 0:
                continue
            cut = span.end
            if end_weight != 1.0:
                ends = [(text.rfind(end, span.begin, span.end), end) for end in self.ends]
                at, end = max(ends, default=(-1, ""))
                if at >= 0:
                    cut = at
                    result.append(Span(at, at + len(end), weight * end_weight))
            result.append(Span(span.begin, cut, weight))
        return sorted(span for span in result if span.weight > 0 and span.begin < span.end)
