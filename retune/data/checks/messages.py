"""Checks of the messages of a conversation."""

import difflib
from collections.abc import Iterable, Iterator, Sequence

from retune.config import ProviderKind
from retune.data.checks.content_parts import check_image_count, check_parts
from retune.data.checks.tool_calls import check_calls
from retune.data.problems.problems import Finding
from retune.data.problems.rules import RULES
from retune.redaction.masking import listed, shown
from retune.training_lines.keys import INSTRUCTION_ROLES, MAY_BE_EMPTY, MESSAGE_KEYS, ROLES, JsonMapping, is_blank

# What only one role can have.
_ROLE_OF_KEY = {
    "tool_calls": "assistant",
    "function_call": "assistant",
    "refusal": "assistant",
    "tool_call_id": "tool",
}

# Keys beside the messages that say something, by their names.
_TELLING = {
    *("system", "instruction", "instructions", "context", "history", "input", "output", "prompt", "completion"),
    *("answer", "response", "weight", "split", "role", "content", "message", "tool", "tool_calls", "function"),
}
_NEAR = 0.8


def check_messages(
    messages: object, body: JsonMapping, provider: ProviderKind, *, is_text_only: bool = False
) -> Iterator[Finding]:
    """Check a conversation, whatever it is for.

    Args:
        messages: What stands in the place of its list of messages.
        body: What declares its tools.
        provider: Whose limits it must keep.
        is_text_only: Images are not allowed.
    """
    if not isinstance(messages, list) or not messages:
        found = "none" if messages is None else shown(messages)
        yield Finding("missing_messages", f"expected a list of messages, found {found}.")
        return
    is_sound = True
    for number, message in enumerate(messages, start=1):
        for finding in check_message(message, f"message {number}", is_text_only=is_text_only):
            is_sound = is_sound and RULES[finding.kind].level != "error"
            yield finding
    if all(isinstance(message, dict) for message in messages):
        yield from check_calls(messages, body)
        yield from check_image_count(messages, provider)
    if is_sound:
        yield from _check_order(messages)


def check_message(message: object, where: str, *, is_text_only: bool = False) -> Iterator[Finding]:
    """Check one message by itself.

    Args:
        message: The message.
        where: What people call it, without its role: "message 2".
        is_text_only: Images are not allowed.
    """
    if not isinstance(message, dict):
        yield Finding("message_not_object", f"{where}: expected an object, found {shown(message)}.")
        return
    role = message.get("role")
    if role not in ROLES:
        found = f"unknown role {shown(role)}" if "role" in message else "no role"
        yield Finding("unknown_role", f"{where}: {found}; allowed: {listed(ROLES)}.")
    for key in [key for key in message if key not in MESSAGE_KEYS]:
        yield Finding("unknown_key", f"{where}: unknown key {shown(key)}; allowed: {listed(MESSAGE_KEYS)}.")
    where = f"{where} ({role})" if role in ROLES else where
    yield from _check_settings(message, where)
    yield from _check_content(message, where, is_text_only=is_text_only)


def check_keys(found: Iterable[str], allowed: tuple[str, ...], where: str = "") -> Iterator[Finding]:
    """Name the keys that are left out of a training file; with a warning those that seem to say something.

    Args:
        found: The keys of an example, or of its input.
        allowed: Those that the API knows.
        where: Where they stand, if not at the top.
    """
    for key in [key for key in found if key not in allowed]:
        name = key.lower()
        says_something = name in _TELLING or bool(difflib.get_close_matches(name, allowed, 1, _NEAR))
        text = f"the key {shown(key)}{where} is left out: a line of the training file has {listed(allowed)} there."
        yield Finding("unknown_example_key" if says_something else "key_left_out", text)


def check_plain_content(content: str | None, where: str) -> Finding:
    """Say of content that is missing or blank what is wrong with it."""
    return next(_check_content({"content": content}, where, is_text_only=False))


def _check_settings(message: JsonMapping, where: str) -> Iterator[Finding]:
    role = message.get("role")
    for key, owner in _ROLE_OF_KEY.items():
        if role in ROLES and role != owner and message.get(key) is not None:
            yield Finding("unknown_key", f"{where}: only messages of the role {owner} have {key}.")
    if "weight" in message:
        weight = message["weight"]
        if role != "assistant" and role in ROLES:
            yield Finding("bad_weight", f"{where}: only assistant messages have a weight; found {shown(weight)}.")
        elif isinstance(weight, bool) or weight not in (0, 1):
            yield Finding("bad_weight", f"{where}: expected a weight of 0 or 1, found {shown(weight)}.")
    name = message.get("name")
    if name is not None and not (isinstance(name, str) and name.strip()):
        yield Finding("bad_name", f"{where}: expected a name as text, found {shown(name)}.")
    elif name is None and role == "function":
        yield Finding("bad_name", f"{where}: no name; expected that of the function which answers.")


def _check_content(message: JsonMapping, where: str, *, is_text_only: bool) -> Iterator[Finding]:
    content, role = message.get("content"), message.get("role")
    refusal = message.get("refusal")
    if refusal is not None and not isinstance(refusal, str):
        yield Finding("content_not_text", f"{where}: expected a refusal as text, found {shown(refusal)}.")
    says_otherwise = any(message.get(key) for key in ("tool_calls", "function_call", "refusal"))
    if role in INSTRUCTION_ROLES and is_blank(content):
        yield Finding("empty_system", f"{where}: the content is {shown(content)}, and says nothing.")
    elif content is None:
        if not says_otherwise and role != "function":
            yield Finding("missing_content", f"{where}: no content; expected text.")
    elif isinstance(content, str):
        if not content.strip() and not says_otherwise and role not in MAY_BE_EMPTY:
            yield Finding("empty_content", f"{where}: the content is {shown(content)}; expected text.")
    elif not isinstance(content, list) or not content:
        text = f"{where}: expected text or a list of content parts, found {shown(content)}."
        yield Finding("content_not_text", text)
    else:
        yield from check_parts(
            content, role, where, is_text_only=is_text_only, may_be_empty=says_otherwise or role in MAY_BE_EMPTY
        )


def _check_order(messages: Sequence[JsonMapping]) -> Iterator[Finding]:
    """What is allowed and seldom meant."""
    roles = [message.get("role") for message in messages]
    if "user" not in roles:
        yield Finding("no_user_message", f"no message is the user's; roles: {shown(roles)}.")
    first_other = next((number for number, role in enumerate(roles) if role not in INSTRUCTION_ROLES), len(roles))
    late = next(
        (number for number, role in enumerate(roles) if role in INSTRUCTION_ROLES and number > first_other), None
    )
    if late is not None:
        text = (
            f"message {late + 1} ({roles[late]}): comes after message {first_other + 1} ({shown(roles[first_other])})."
        )
        yield Finding("system_not_first", text)
