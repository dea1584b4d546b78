"""A conversation, and the rules that it obeys before it may be rendered.

Turns are [system] user (assistant (tool+ assistant)* user)*; whatever follows the last assistant's
turn is kept without weight.
"""

import json
from dataclasses import dataclass

from rondo_tools.loss_weight import loss_weight
from rondo_tools.row_fault import RowFault
from rondo_tools.tool_calls import calls_of, tools_of

ROLES = ("system", "user", "assistant", "tool")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_SHOWN_FIELDS = ("name", "tool_call_id")


@dataclass
class Conversation:
    """`messages` as templates take them; `weights` beside them: that of each assistant's turn as a
    target of training, 0 for all others."""

    messages: list
    weights: list
    tools: list | None = None


def _content(message):
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(part, str) for part in parts) or set(kinds) - {"text"}:
            raise RowFault("wrong type", "content has parts that are not text")
        content = "".join(parts)
    if message.get("role") in ("tool", "function") and isinstance(content, dict):
        content = json.dumps(content, ensure_ascii=False)
    if content is not None and not isinstance(content, str):
        raise RowFault("wrong type", f"content is {type(content).__name__}, expected text")
    return content


def _weight(message):
    """Of an assistant's turn: `weight`, a number, or `train`/`loss`, yes or no; 1 without them."""
    weight = message.get("weight")
    for flag in ("train", "loss"):
        if weight is None and message.get(flag) is not None:
            if not isinstance(message[flag], bool):
                raise RowFault("wrong type", f"{flag} is {message[flag]!r}, expected true or false")
            weight = float(message[flag])
    return 1.0 if weight is None else loss_weight(weight)


def _reasoning(message):
    texts = {message[field] for field in _REASONING_FIELDS if message.get(field)}
    if not all(isinstance(text, str) for text in texts) or len(texts) > 1:
        raise RowFault("wrong type", "the reasoning is not one text")
    return next(iter(texts), None)


def _checked_message(message):
    """(message as templates take it, weight)"""
    if not isinstance(message, dict):
        raise RowFault("wrong type", f"a message is {type(message).__name__}, expected an object")
    role = message.get("role")
    role = {"developer": "system", "function": "tool"}.get(role, role)
    if role not in ROLES:
        raise RowFault("wrong role", f"{role!r}, expected {', '.join(ROLES[:-1])} or {ROLES[-1]}")
    content = _content(message)
    calls = calls_of(message.get("tool_calls") or message.get("function_call"))
    if calls and role != "assistant":
        raise RowFault("wrong role", f"a {role} turn calls a tool")
    reasoning = _reasoning(message)
    if content is None and not calls and role != "system":
        raise RowFault("wrong type", "content is missing, expected text")
    if role in ("user", "assistant") and not (content or "").strip() and not calls:
        raise RowFault("empty answer" if role == "assistant" else "empty user turn")
    result = {"role": role, "content": content or ""}
    shown = {field: message[field] for field in _SHOWN_FIELDS if message.get(field)}
    for field, value in shown.items():
        if not isinstance(value, str):
            raise RowFault("wrong type", f"{field} is {type(value).__name__}, expected text")
    result |= shown
    if calls:
        result["tool_calls"] = calls
    if reasoning:
        result["reasoning_content"] = reasoning
    return result, _weight(message) if role == "assistant" else 0.0


def _joined(pairs):
    """An assistant's text and its own tool call, which some files tell apart, as one turn."""
    result = []
    for message, weight in pairs:
        before = result[-1][0] if result else {}
        if (
            message["role"] == before.get("role") == "assistant"
            and message.get("tool_calls")
            and not message["content"]
            and not before.get("tool_calls")
        ):
            result[-1] = (
                {**before, "tool_calls": message["tool_calls"]},
                max(result[-1][1], weight),
            )
        else:
            result.append((message, weight))
    return result


def _check_order(turns):
    """`turns`: messages behind the system's."""
    before = None
    for number, message in enumerate(turns):
        role, last = message["role"], before["role"] if before else None
        if role == "system":
            raise RowFault("wrong role", "a system turn that is not the first")
        if last is None and role != "user":
            raise RowFault("wrong role", f"the first turn is the {role}'s, expected the user's")
        if role == last and role != "tool":
            raise RowFault(f"two {role} turns running", f"turns {number} and {number + 1}")
        asked = last == "tool" or (last == "assistant" and "tool_calls" in before)
        if role == "tool" and not asked:
            raise RowFault("wrong role", f"turn {number + 1} answers no tool call")
        if role == "user" and asked:
            raise RowFault("wrong role", f"turn {number + 1}: a user's turn follows a {last}'s")
        before = message


def _check_texts(conversation, control_tokens):
    """Control tokens inside of a text would, rendered, begin or end turns."""
    texts = [json.dumps(conversation.tools, ensure_ascii=False)] if conversation.tools else []
    for message in conversation.messages:
        texts += [message.get(field) or "" for field in ("content", "reasoning_content")]
        texts += [message[field] for field in _SHOWN_FIELDS if field in message]
        if "tool_calls" in message:
            texts.append(json.dumps(message["tool_calls"], ensure_ascii=False))
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RowFault("not valid Unicode", str(error)) from error
        if control_tokens and (found := control_tokens.search(text)):
            raise RowFault("control token in the text", found.group(0))


def checked(messages, tools, control_tokens, train_on="all"):
    """The Conversation that a row's messages are.

    `control_tokens` is a compiled pattern of the tokenizer's special tokens. `train_on`: "all" of
    the assistant's turns, or the "last" one alone.
    """
    pairs = _joined([_checked_message(message) for message in messages])
    pairs = [pair for pair in pairs if pair[0]["role"] != "system" or pair[0]["content"].strip()]
    conversation = Conversation([m for m, _ in pairs], [w for _, w in pairs], tools_of(tools))
    _check_texts(conversation, control_tokens)
    turns = conversation.messages
    _check_order(turns[1:] if turns[:1] and turns[0]["role"] == "system" else turns)
    answers = [n for n, message in enumerate(turns) if message["role"] == "assistant"]
    if not answers:
        raise RowFault("no trainable token", "the conversation has no assistant turn")
    if train_on == "last":
        for number in answers[:-1]:
            conversation.weights[number] = 0.0
    if not any(conversation.weights):
        raise RowFault("no trainable token", "every assistant turn has weight 0")
    return conversation
