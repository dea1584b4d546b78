"""The rules that a conversation obeys before it may be rendered."""

from rondo_tools.formats import RowFault

_TOOL_FIELDS = ("tool_calls", "function_call", "tool_call_id")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


def _content(message):
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(part, str) for part in parts) or set(kinds) - {"text"}:
            raise RowFault("wrong type", "content has parts that are not text")
        content = "".join(parts)
    if not isinstance(content, str):
        found = "missing" if content is None else type(content).__name__
        raise RowFault("wrong type", f"content is {found}, expected text")
    try:
        content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowFault("not valid Unicode", str(error)) from error
    return content


def _check_message(message):
    if not isinstance(message, dict):
        raise RowFault("wrong type", f"a message is {type(message).__name__}, expected an object")
    role = message.get("role")
    if role == "tool" or any(message.get(field) for field in _TOOL_FIELDS):
        raise RowFault("tool calls are not supported")
    if role not in ("system", "user", "assistant"):
        raise RowFault("wrong role", f"{role!r}, expected system, user or assistant")
    if any(message.get(field) for field in _REASONING_FIELDS):
        raise RowFault("reasoning fields are not supported")
    if message.get("weight") not in (None, 1):
        raise RowFault("weights per message are not supported", f"weight {message['weight']}")
    content = _content(message)
    if not content.strip() and role != "system":
        raise RowFault("empty answer" if role == "assistant" else f"empty {role} turn")
    return {"role": role, "content": content}


def checked(messages, control_tokens):
    """The conversation with plain text contents: [system] (user assistant)+.

    `control_tokens` is a compiled pattern of the tokenizer's special tokens, which must not occur
    inside a content: rendered, they would begin or end turns.
    """
    conversation = [_check_message(message) for message in messages]
    conversation = [m for m in conversation if m["content"].strip()]  # a system turn may be empty
    turns = conversation[1:] if conversation[:1] and _is_system(conversation[0]) else conversation
    if not any(message["role"] == "assistant" for message in turns):
        raise RowFault("no trainable token", "the conversation has no assistant turn")
    for number, message in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if message["role"] == expected:
            continue
        if _is_system(message):
            raise RowFault("wrong role", "a system turn that is not the first")
        if number == 0:
            raise RowFault("wrong role", "the first turn is the assistant's")
        raise RowFault(f"two {message['role']} turns running", f"turns {number} and {number + 1}")
    if turns[-1]["role"] != "assistant":
        raise RowFault("last turn is not the assistant's")
    for message in conversation:
        if control_tokens and (found := control_tokens.search(message["content"])):
            raise RowFault("control token in the text", found.group(0))
    return conversation


def _is_system(message):
    return message["role"] == "system"
