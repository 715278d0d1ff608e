"""Checks of preference pairs (DPO) and of items for reinforcement fine-tuning."""

from collections.abc import Iterator

from retune.config import ProviderKind
from retune.data.checks.messages import check_keys, check_message, check_messages
from retune.data.checks.tool_calls import check_call_shapes, check_tools
from retune.data.problems.problems import Finding
from retune.redaction.masking import shown
from retune.training_lines.keys import INPUT_KEYS, PREFERENCE_KEYS, JsonMapping

_OLD_KEYS = {"preferred_completion": "preferred_output", "non_preferred_completion": "non_preferred_output"}
_MAY_END = ("user", "tool")


def check_preference(body: JsonMapping, provider: ProviderKind) -> Iterator[Finding]:
    """Check one line of a preference file: `{"input": {"messages": […]}, "preferred_output": […], …}`.

    Rules of the guide and of the published schema: text alone, one assistant message for each output, and a
    conversation that waits for it.
    """
    if "messages" in body:
        text = "found messages, which supervised and reinforcement training learn from; dpo expects them under input."
        yield Finding("wrong_method", text)
        return
    yield from check_keys([key for key in body if key not in _OLD_KEYS], PREFERENCE_KEYS)
    for old, new in _OLD_KEYS.items():
        if old in body:
            yield Finding("bad_preference", f"found {old}, the former name of {new}; rename it.")
    given = body.get("input")
    if isinstance(given, dict):
        yield from _check_input(given, provider)
    else:
        yield Finding("bad_preference", f'expected input as {{"messages": […]}}, found {_found(given)}.')
    for key in PREFERENCE_KEYS[1:]:
        if _OLD_KEYS.keys().isdisjoint(body):
            yield from _check_output(body.get(key), key)
    if _same(body.get("preferred_output"), body.get("non_preferred_output")):
        yield Finding("same_preference", f"both answers are {shown(_said(body['preferred_output']))}.")


def _check_input(given: JsonMapping, provider: ProviderKind) -> Iterator[Finding]:
    yield from check_keys(given, INPUT_KEYS, " in input")
    yield from check_tools(given)
    messages = given.get("messages")
    yield from check_messages(messages, given, provider, is_text_only=True)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") not in _MAY_END:
        text = f"the last message of input is of the role {shown(last.get('role'))}; expected user or tool."
        yield Finding("prompt_ends_with_answer", text)


def _check_output(output: object, key: str) -> Iterator[Finding]:
    if not isinstance(output, list) or len(output) != 1:
        found = f"{len(output)} messages" if isinstance(output, list) and output else _found(output)
        yield Finding("bad_preference", f"expected {key} as a list of one assistant message, found {found}.")
        return
    message = output[0]
    yield from check_message(message, f"{key}, message 1", is_text_only=True)
    if isinstance(message, dict):
        if message.get("role") != "assistant":
            found = shown(message.get("role"))
            yield Finding("bad_preference", f"{key}: expected a message of the role assistant, found {found}.")
        else:
            yield from check_call_shapes(message, key)


def _same(preferred: object, other: object) -> bool:
    return bool(preferred) and isinstance(preferred, list) and _trimmed(preferred) == _trimmed(other)


def _trimmed(value: object) -> object:
    """The same without white space at the ends of texts."""
    if isinstance(value, dict):
        return {key: _trimmed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    return value.strip() if isinstance(value, str) else value


def _said(output: list[object]) -> object:
    return output[0].get("content", output[0]) if isinstance(output[0], dict) else output[0]


def _found(value: object) -> str:
    return "none" if value is None else shown(value)


RESERVED_KEYS = ("messages", "tools")


def check_reinforcement(body: JsonMapping, provider: ProviderKind) -> Iterator[Finding]:
    """Check one line of a reinforcement file: a conversation, and beside it whatever its grader needs.

    Rules of the guide and of the published schema: `messages` and `tools` are the only reserved keys, and the last
    message is the user's, because the answer is sampled.
    """
    # Other keys are the grader's, whatever they are called.
    yield from check_tools({key: body[key] for key in RESERVED_KEYS if key in body})
    messages = body.get("messages")
    yield from check_messages(messages, body, provider)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") != "user":
        text = f"the last message is of the role {shown(last.get('role'))}; expected user, for the answer is sampled."
        yield Finding("prompt_ends_with_answer", text)
    if body.keys() <= set(RESERVED_KEYS):
        yield Finding("missing_grader_fields", "nothing but the messages; the grader has only the answer.")
