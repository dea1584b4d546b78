"""Renders conversations with a Jinja chat template and says which characters are answers.

Answers are found in one of two ways. A template with {% generation %} marks names them itself. For
any other template the text up to an answer is rendered with the generation prompt; it must be a
prefix of the whole text, the answer begins where it ends and reaches through the first end-of-turn
token behind it. Where this does not hold the mask is unsound and the row is refused.
"""

import re
from itertools import pairwise

from rondo_tools.errors import UserError
from rondo_tools.formats import RowFault

_MARK = re.compile(r"\{%-?\+?\s*generation\s*[-+]?%\}")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")


def leaves_out(messages, text, spans):
    """True where a trained span holds less than its answer, such as without the thoughts of an
    earlier turn. Space around an answer does not count."""
    answers = [m["content"].strip() for m in messages if m["role"] == "assistant"]
    trained = [text[begin:end] for begin, end in spans]
    if len(trained) != len(answers):  # marks may cut an answer into pieces
        trained = ["".join(trained)] * len(answers)
    return any(answer not in held for answer, held in zip(answers, trained, strict=True))


class ChatTemplate:
    def __init__(self, text, tokenizer):
        self.text = text
        self.has_marks = bool(_MARK.search(text))
        names = {name: getattr(tokenizer, name, None) for name in _TOKENS}
        self._tokens = {name: str(token) for name, token in names.items() if token is not None}

    def render(self, messages, add_generation_prompt=False):
        """(text, marked character spans). RowFault with the template's own words if it refuses."""
        import jinja2
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, spans = render_jinja_template(
                [messages],
                chat_template=self.text,
                return_assistant_tokens_mask=self.has_marks,
                add_generation_prompt=add_generation_prompt,
                **self._tokens,
            )
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"the chat template is not valid Jinja: {error}") from error
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise RowFault("refused by the chat template", str(error)) from error
        return texts[0], [tuple(span) for span in spans[0]] if self.has_marks else []

    def answers(self, messages, end_of_turn):
        """(text, character spans of all answers, each with its end-of-turn token)."""
        text, spans = self.render(messages)
        if not self.has_marks:
            spans = [
                self._answer(text, messages, number, end_of_turn)
                for number, message in enumerate(messages)
                if message["role"] == "assistant"
            ]
        spans = [span for span in spans if span[0] < span[1]]
        if any(left[1] > right[0] for left, right in pairwise(spans)):
            raise RowFault("mask is unsound", "the answers overlap in the rendered text")
        return text, spans

    def _answer(self, text, messages, number, end_of_turn):
        prompt, _ = self.render(messages[:number], add_generation_prompt=True)
        if not text.startswith(prompt):
            raise RowFault(
                "mask is unsound",
                f"the prompt of turn {number + 1} is not a prefix of the rendered conversation",
            )
        end = text.find(end_of_turn, len(prompt))
        if end < 0:
            raise RowFault("mask is unsound", f"no {end_of_turn} behind turn {number + 1}")
        return len(prompt), end + len(end_of_turn)
