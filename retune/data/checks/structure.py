"""Finding what is wrong with one example by itself.

What passes without an error can be relied on by everything that comes after: messages are objects with a known role,
content is text or content parts, calls and tools have the shape that the API gives them.
"""

from collections.abc import Iterator

from retune.config import ProviderKind
from retune.data.checks.messages import check_keys, check_messages
from retune.data.checks.preferences import check_preference, check_reinforcement
from retune.data.checks.server_limits import check_server_limits
from retune.data.checks.tool_calls import check_tools
from retune.data.example.example import Method, is_completion
from retune.data.problems.problems import Finding
from retune.data.problems.rules import RULES
from retune.redaction.masking import listed, shown
from retune.training_lines.keys import (
    COMPLETION_KEYS,
    EXAMPLE_KEYS,
    PREFERENCE_KEYS,
    JsonMapping,
    JsonObject,
    holds_nothing,
    without_empty_keys,
)

_PLACES_OF_MESSAGES = ("messages", *PREFERENCE_KEYS[1:])
_PLACES = {*_PLACES_OF_MESSAGES, "input", *COMPLETION_KEYS}
_PLAIN_KEYS, _SHORTEST = 2, 2
# Python's own limit is about a thousand calls, wherever it is met.
_MOST_LEVELS = 100


def check_structure(
    body: JsonMapping, method: Method, provider: ProviderKind, *, completes_prompts: bool = False
) -> Iterator[Finding]:
    """Check one example by itself.

    The rules are those of the published validator for chat training files, with the roles, keys and content parts
    that came after it, and those of the guides to vision, tools, preferences and reinforcement. Keys that hold nothing
    count as absent: SDKs write out what is not there.

    Args:
        body: The JSON object of its line.
        method: What it is to train.
        provider: Whose limits it must keep.
        completes_prompts: The model learns prompts and their completions, and no conversations.
    """
    is_chat = not (completes_prompts and method == "supervised")
    if method == "supervised" and is_chat and _is_plain(body):
        return
    if not _is_within(body, _MOST_LEVELS):
        yield Finding("nested_too_deeply", f"objects and lists in each other, more than {_MOST_LEVELS} levels deep.")
        return
    body = _without_empty_keys(body, method)
    if not is_chat:
        yield from _check_completion(body)
    elif method == "dpo":
        yield from check_preference(body, provider)
    elif method == "reinforcement":
        yield from check_reinforcement(body, provider)
    else:
        yield from _check_supervised(body, provider)


def _is_plain(body: JsonMapping) -> bool:
    """Whether nothing can be wrong: plain text, turn by turn. Most examples are that, and most data is large."""
    messages = body.get("messages")
    if len(body) != 1 or not isinstance(messages, list):
        return False
    roles = [message.get("role") for message in messages if isinstance(message, dict) and len(message) == _PLAIN_KEYS]
    return roles == plain_roles(len(messages)) and all(_is_filled(message.get("content")) for message in messages)


def plain_roles(n_messages: int) -> list[str] | None:
    """Roles of a plain conversation: a system prompt or none, then user and assistant in turn; None if too short."""
    if n_messages < _SHORTEST:
        return None
    return ["system"] * (n_messages % _SHORTEST) + ["user", "assistant"] * (n_messages // _SHORTEST)


def _is_filled(content: object) -> bool:
    return isinstance(content, str) and content != "" and not content.isspace()


def _check_supervised(body: JsonMapping, provider: ProviderKind) -> Iterator[Finding]:
    other = _made_for_something_else(body)
    if other is not None:
        yield other
        return
    has_errors = False
    for finding in _check_chat(body, provider):
        has_errors = has_errors or RULES[finding.kind].level == "error"
        yield finding
    if provider == "retune" and not has_errors:
        yield from check_server_limits({key: value for key, value in body.items() if key in EXAMPLE_KEYS})


def _check_chat(body: JsonMapping, provider: ProviderKind) -> Iterator[Finding]:
    yield from check_keys(body, EXAMPLE_KEYS)
    yield from check_tools(body)
    yield from check_messages(body.get("messages"), body, provider)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return
    answers = [message for message in messages if isinstance(message, dict) and message.get("role") == "assistant"]
    last = messages[-1].get("role") if isinstance(messages[-1], dict) else None
    if not answers:
        roles = [message.get("role") for message in messages if isinstance(message, dict)]
        yield Finding("no_assistant_message", f"no message is the assistant's; roles: {shown(roles)}.")
    elif all(message.get("weight") == 0 for message in answers):
        yield Finding("nothing_to_learn", "all assistant messages have the weight 0; at least one must have 1.")
    elif last != "assistant":
        yield Finding(
            "last_message_not_assistant", f"the last message is of the role {shown(last)}; expected assistant."
        )


def _check_completion(body: JsonMapping) -> Iterator[Finding]:
    """Check a prompt, which may be empty, and its completion."""
    if not is_completion(body):
        found = f"found {'a conversation' if 'messages' in body else listed(list(body))}"
        yield Finding("wrong_model", f"{found}; this model completes prompts: it learns a prompt and its completion.")
        return
    yield from check_keys(body, COMPLETION_KEYS)
    for key in COMPLETION_KEYS:
        if not isinstance(body[key], str):
            kind = "missing_content" if body[key] is None else "content_not_text"
            yield Finding(kind, f"{key}: expected text, found {shown(body[key])}.")
    if body["completion"] == "":
        yield Finding("empty_content", 'completion: the text is ""; expected what the model should write.')


def _without_empty_keys(body: JsonMapping, method: Method) -> JsonObject:
    """The example without keys that hold nothing; of an item for reinforcement, those that are its grader's stay."""
    droppable = {"tools"} if method == "reinforcement" else body.keys() - _PLACES
    kept = {key: value for key, value in body.items() if key not in droppable or not holds_nothing(value)}
    for key in _PLACES_OF_MESSAGES if method != "reinforcement" else _PLACES_OF_MESSAGES[:1]:
        if isinstance(kept.get(key), list):
            kept[key] = [without_empty_keys(message) if isinstance(message, dict) else message for message in kept[key]]
    if method == "dpo" and isinstance(kept.get("input"), dict):
        kept["input"] = _without_empty_keys(kept["input"], "supervised")
    return kept


def _made_for_something_else(body: JsonMapping) -> Finding | None:
    if "messages" in body:
        return None
    if any(key in body for key in PREFERENCE_KEYS[1:]):
        message = "a preference pair, which the method dpo learns from; supervised training expects messages."
    elif is_completion(body):
        message = "a prompt and its completion; supervised training of chat models expects messages."
    else:
        return None
    return Finding("wrong_method", f"found {message}")


def _is_within(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return levels > 0 and all(_is_within(inner, levels - 1) for inner in value if isinstance(inner, dict | list))
