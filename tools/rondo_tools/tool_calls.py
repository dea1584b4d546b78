"""Tools and calls of them, in the one form that chat templates take.

A call is {"type": "function", "function": {"name", "arguments": object}}, with its "id" where it
has one. Files bring arguments as text just as often; rendered as they are, a template would write
them as a JSON string inside JSON, so texts are parsed first.
"""

import json

from rondo_tools.row_fault import RowFault


def _parsed(value, what):
    """An object or list that may be given as its JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RowFault("not a tool call", f"{what} is not JSON: {error}") from error


def tools_of(value):
    """A list of tools as templates take them; None where there is none."""
    if not value:
        return None
    tools = _parsed(value, "tools")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise RowFault("wrong type", "tools is not a list of objects")
    tools = [t if "function" in t else {"type": "function", "function": t} for t in tools]
    if not all(isinstance(tool["function"], dict) for tool in tools):
        raise RowFault("wrong type", "a tool's function is not an object")
    return tools or None


def _call(value):
    if not isinstance(value, dict):
        raise RowFault("not a tool call", f"a call is {type(value).__name__}, expected an object")
    function = value.get("function", value)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowFault("not a tool call", "a call has no function name")
    arguments = _parsed(function.get("arguments", function.get("parameters", {})), "arguments")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise RowFault(
            "not a tool call", f"arguments is {type(arguments).__name__}, expected an object"
        )
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": value["id"], **call} if isinstance(value.get("id"), str) else call


def calls_of(value):
    """A list of calls; None where there is none. `value`: a list, a call, or their JSON text."""
    if not value:
        return None
    value = _parsed(value, "a function call")
    return [_call(call) for call in (value if isinstance(value, list) else [value])]
