"""Checks of tools, of calls, and of their answers."""

from collections.abc import Iterator, Mapping, Sequence

from retune.data.problems.problems import Finding
from retune.data.text.jsonl import parse_json
from retune.redaction.masking import listed, shown
from retune.training_lines.keys import FUNCTION_NAME, FUNCTION_NAME_RULE, JsonMapping

_MOST_TOOLS = 128


def check_tools(body: JsonMapping) -> Iterator[Finding]:
    """Check the tools that an example declares, in today's way (`tools`) and in the old one (`functions`)."""
    tools = body.get("tools")
    if isinstance(tools, list):
        yield from _check_count(tools, "tools")
        for number, tool in enumerate(tools, start=1):
            yield from _check_tool(tool, f"tool {number}")
    elif tools is not None:
        yield Finding("bad_tools", f"expected tools as a list, found {shown(tools)}.")
    functions = body.get("functions")
    if isinstance(functions, list):
        yield from _check_count(functions, "functions")
        for number, function in enumerate(functions, start=1):
            yield from _check_function(function, f"function {number}")
    elif functions is not None:
        yield Finding("bad_tools", f"expected functions as a list, found {shown(functions)}.")
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        yield Finding("bad_tools", f"expected parallel_tool_calls as true or false, found {shown(parallel)}.")


def check_calls(messages: Sequence[JsonMapping], body: JsonMapping) -> Iterator[Finding]:
    """Check the calls in a conversation: their shape, that each is answered, and that every answer has a call.

    The calls of the last message need no answer: they are what is to be learned.

    Args:
        messages: The conversation.
        body: What declares its tools.
    """
    waiting: dict[str, str] = {}
    for number, message in enumerate(messages, start=1):
        role, where = message.get("role"), f"message {number} ({message.get('role')})"
        if role == "tool":
            yield from _check_answer(message, waiting, where)
            continue
        yield from _unanswered(waiting)
        waiting = {}
        if role == "assistant":
            yield from check_call_shapes(message, where)
            waiting = {call["id"]: where for call in _sound_calls(message)}
    if messages[-1].get("role") == "tool":
        yield from _unanswered(waiting)
    yield from _check_declared(messages, body)


def check_call_shapes(message: JsonMapping, where: str) -> Iterator[Finding]:
    """Check the calls of one assistant message.

    Args:
        message: The message.
        where: What people call it.
    """
    calls = message.get("tool_calls")
    if calls is not None and (not isinstance(calls, list) or not calls):
        yield Finding("bad_tool_call", f"{where}: expected tool_calls as a list of calls, found {shown(calls)}.")
    for number, call in enumerate(calls if isinstance(calls, list) else (), start=1):
        yield from _check_call(call, f"{where}, call {number}")
    ids = [call["id"] for call in _sound_calls(message)]
    for twice in sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        yield Finding("bad_tool_call", f"{where}: two calls have the id {shown(twice)}.")
    function_call = message.get("function_call")
    if function_call is not None:
        yield from _check_called(function_call, f"{where}, function_call")


def _check_count(tools: Sequence[object], name: str) -> Iterator[Finding]:
    if len(tools) > _MOST_TOOLS:
        yield Finding("bad_tools", f"{len(tools)} {name}; at most {_MOST_TOOLS} are taken.")


def _check_tool(tool: object, where: str) -> Iterator[Finding]:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        yield Finding("bad_tools", f'{where}: expected {{"type": "function", "function": …}}, found {shown(tool)}.')
    else:
        yield from _check_function(tool.get("function"), where)


def _check_function(function: object, where: str) -> Iterator[Finding]:
    if not isinstance(function, dict):
        yield Finding("bad_tools", f"{where}: expected a function as an object, found {shown(function)}.")
        return
    name = function.get("name")
    if not _is_name(name):
        yield Finding("bad_tools", f"{where}: expected a name of {FUNCTION_NAME_RULE}; found {shown(name)}.")
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        yield Finding("bad_tools", f"{where}: expected a description as text, found {shown(description)}.")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        yield Finding("bad_tools", f"{where}: expected parameters as a JSON Schema object, found {shown(parameters)}.")


def _check_call(call: object, where: str) -> Iterator[Finding]:
    if not isinstance(call, dict) or call.get("type") != "function":
        expected = '{"id": …, "type": "function", "function": …}'
        yield Finding("bad_tool_call", f"{where}: expected {expected}, found {shown(call)}.")
        return
    if not isinstance(call.get("id"), str) or not call["id"]:
        yield Finding("bad_tool_call", f"{where}: expected an id as text, found {shown(call.get('id'))}.")
    yield from _check_called(call.get("function"), where)


def _check_called(called: object, where: str) -> Iterator[Finding]:
    if not isinstance(called, dict):
        found = shown(called)
        yield Finding("bad_tool_call", f'{where}: expected {{"name": …, "arguments": …}}, found {found}.')
        return
    if not _is_name(called.get("name")):
        found = shown(called.get("name"))
        yield Finding("bad_tool_call", f"{where}: expected a name of {FUNCTION_NAME_RULE}; found {found}.")
    arguments = called.get("arguments")
    if not isinstance(arguments, str):
        yield Finding("bad_tool_call", f"{where}: expected arguments as a string of JSON, found {shown(arguments)}.")
        return
    try:
        parse_json(arguments)
    except ValueError as error:
        yield Finding("bad_tool_call", f"{where}: the arguments are not JSON ({error}): {shown(arguments)}.")


def _check_answer(message: JsonMapping, waiting: dict[str, str], where: str) -> Iterator[Finding]:
    call = message.get("tool_call_id")
    if not isinstance(call, str) or call not in waiting:
        calls = f"calls that wait for an answer: {listed([shown(id_) for id_ in waiting])}"
        found = "no tool_call_id" if call is None else f"the tool_call_id {shown(call)}"
        yield Finding("unknown_tool_call_id", f"{where}: {found}; {calls}.")
    else:
        del waiting[call]


def _unanswered(waiting: Mapping[str, str]) -> Iterator[Finding]:
    for call, where in waiting.items():
        yield Finding("unanswered_tool_call", f"{where}: no tool message answers the call {shown(call)}.")


def _check_declared(messages: Sequence[JsonMapping], body: JsonMapping) -> Iterator[Finding]:
    declared = _declared(body)
    called: dict[str, None] = {}
    for message in messages:
        if message.get("role") == "assistant":
            called.update(dict.fromkeys(_called_names(message)))
    for name in called:
        if name not in declared:
            text = f"{shown(name)} is called, but not declared; declared: {listed(sorted(declared))}."
            yield Finding("unknown_tool", text)


def _declared(body: JsonMapping) -> set[str]:
    tools, functions = body.get("tools"), body.get("functions")
    found = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    found += functions if isinstance(functions, list) else []
    return {one["name"] for one in found if isinstance(one, dict) and isinstance(one.get("name"), str)}


def _called_names(message: JsonMapping) -> Iterator[str]:
    calls = message.get("tool_calls")
    found = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    for called in (*found, message.get("function_call")):
        if isinstance(called, dict) and isinstance(called.get("name"), str):
            yield called["name"]


def _sound_calls(message: JsonMapping) -> list[JsonMapping]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return []
    return [call for call in calls if isinstance(call, dict) and isinstance(call.get("id"), str) and call["id"]]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and FUNCTION_NAME.fullmatch(name) is not None
