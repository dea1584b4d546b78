"""From a row of any supported format to messages [{"role", "content", ...}].

A format is a function row -> messages and the columns by which it is recognised. Columns may be
renamed by a map {canonical name: name in the file}.
"""

from rondo_tools.errors import UserError
from rondo_tools.row_fault import RowFault

SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "tool": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
_CALLS = ("function_call", "tool_call")
MASKS = ("assistant_masks", "completion_mask", "loss_mask")
_TURN_FLAGS = ("weight", "train", "loss")


def _text(row, name, required=True):
    value = row.get(name)
    if value is None:
        if required:
            raise RowFault("column missing", f"no {name!r}")
        return ""
    if not isinstance(value, str):
        raise RowFault("wrong type", f"{name} is {type(value).__name__}, expected text")
    return value


def _system(row):
    text = _text(row, "system", required=False)
    return [{"role": "system", "content": text}] if text.strip() else []


def _list(row, name):
    value = row.get(name)
    if not isinstance(value, list):
        found = "missing" if value is None else type(value).__name__
        raise RowFault("wrong type", f"{name} is {found}, expected a list of messages")
    return value


def _messages(row):
    return _system(row) + _list(row, "messages")


def _sharegpt(row):
    messages = _system(row)
    for turn in _list(row, "conversations"):
        if not isinstance(turn, dict):
            raise RowFault("wrong type", f"a turn is {type(turn).__name__}, expected an object")
        role = turn.get("from")
        if role not in SHAREGPT_ROLES:
            raise RowFault(
                "wrong role",
                f"from {role!r}, expected human, gpt, system, function_call or observation",
            )
        message = {"role": SHAREGPT_ROLES[role], "content": turn.get("value")}
        if role in _CALLS:
            message = {"role": "assistant", "content": None, "tool_calls": turn.get("value")}
        messages.append(message | {flag: turn[flag] for flag in _TURN_FLAGS if flag in turn})
    return messages


def _alpaca(row):
    messages = _system(row)
    for pair in row.get("history") or []:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise RowFault("wrong type", "history holds something that is not [question, answer]")
        messages.append({"role": "user", "content": pair[0]})
        messages.append({"role": "assistant", "content": pair[1]})
    parts = [_text(row, "instruction"), _text(row, "input", required=False)]
    question = "\n\n".join(part for part in parts if part.strip())
    messages.append({"role": "user", "content": question})
    messages.append({"role": "assistant", "content": _text(row, "output")})
    return messages


def _prompt_completion(row):
    messages = _system(row)
    for name, role in (("prompt", "user"), ("completion", "assistant")):
        if isinstance(row.get(name), list):
            messages += row[name]
        else:
            messages.append({"role": role, "content": _text(row, name)})
    return messages


# name: (function, columns that must be there, columns that may be there)
FORMATS = {
    "messages": (_messages, ("messages",), ("system",)),
    "sharegpt": (_sharegpt, ("conversations",), ("system",)),
    "prompt_completion": (_prompt_completion, ("prompt", "completion"), ("system",)),
    "tokens": (None, ("input_ids",), ("labels", "weights", *MASKS)),
    "alpaca": (_alpaca, ("instruction", "output"), ("input", "system", "history")),
}


def rename(row, columns):
    """The row under canonical names; a column taken by the map is no longer there by its own."""
    if not columns:
        return row
    renamed = {name: value for name, value in row.items() if name not in columns}
    renamed.update({name: row[column] for name, column in columns.items() if column in row})
    return renamed


def check_columns(columns):
    known = sorted({name for _, must, may in FORMATS.values() for name in must + may})
    for name in columns:
        if name not in known:
            raise UserError(f"columns: unknown name {name!r}. Known: {', '.join(known)}.")


def recognise(sample, columns, place):
    """The name of the first format that knows all names of the map and for which one row of the
    sample has all columns."""
    for row in sample:
        renamed = rename(row, columns)
        for name, (_, must, may) in FORMATS.items():
            if set(columns) <= set(must + may) and set(must) <= set(renamed):
                return name
    names = ", ".join(sample[0]) if sample and sample[0] else "none"
    mapped = f" after the column map {columns}" if columns else ""
    raise UserError(
        f"{place}: the format is not recognised; columns found: {names}. Expected{mapped} one of: "
        + "; ".join(f"{name} ({', '.join(must)})" for name, (_, must, _) in FORMATS.items())
        + ". Give --columns, such as prompt=question,completion=answer (in a run's configuration: "
        "sources.NAME.columns)."
    )


def to_messages(row, format_name, columns):
    """(messages, tools) of a row, as its file has them; nothing of them is checked yet."""
    if not isinstance(row, dict):
        raise RowFault("not an object", f"the row is {type(row).__name__}")
    return FORMATS[format_name][0](rename(row, columns)), row.get("tools") or row.get("functions")


def tags_of(row):
    """Texts of the column `tags`: a text or a list of them."""
    tags = row.get("tags")
    tags = [tags] if isinstance(tags, str) else tags or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise RowFault("wrong type", "tags is neither a text nor a list of texts")
    return tuple(dict.fromkeys(tags))
