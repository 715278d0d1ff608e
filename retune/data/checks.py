"""Finding everything that is wrong with the examples, in one pass, before anything is uploaded."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from retune.data.examples import (
    MINIMUM_EXAMPLES,
    Example,
    canonical_json,
    content_hash,
    expected_answer,
    prompt_messages,
)
from retune.data.problems import RULES, CheckReport, Problem, grouped

__all__ = ["EXAMPLE_KEYS", "MESSAGE_KEYS", "ROLES", "CheckReport", "Problem", "check_examples"]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MESSAGE_KEYS = ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal")
EXAMPLE_KEYS = ("messages", "tools", "parallel_tool_calls", "functions")

_EVERYWHERE = "all examples"
_MOST_CHARACTERS_SHOWN = 60


def check_examples(examples: Sequence[Example], *, minimum_examples: int = MINIMUM_EXAMPLES) -> CheckReport:
    """Check the structure of every example, and the examples against each other.

    The rules are those of the published validator for chat training files, with the roles and keys that came after
    it. Examples whose structure is broken are not compared with others.

    Args:
        examples: All examples of the source.
        minimum_examples: How many the provider asks for at the least.
    """
    problems: list[Problem] = []
    sound: list[Example] = []
    for example in examples:
        found = list(_check_structure(example))
        problems += found
        if not any(problem.level == "error" for problem in found):
            sound.append(example)
    problems += _check_size(len(examples), minimum_examples)
    problems += _check_against_each_other(sound)
    return CheckReport(n_examples=len(examples), problems=grouped(problems))


def _problem(kind: str, location: str, message: str) -> Problem:
    rule = RULES[kind]
    return Problem(kind=kind, level=rule.level, location=location, message=message, hint=rule.hint)


def _check_structure(example: Example) -> Iterator[Problem]:
    body, location = example.body, example.location
    for key in [key for key in body if key not in EXAMPLE_KEYS]:
        message = f"unknown key {_shown(key)} beside the messages; allowed: {', '.join(EXAMPLE_KEYS)}."
        yield _problem("unknown_example_key", location, message)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        found = "none" if messages is None else _shown(messages)
        yield _problem("missing_messages", location, f"expected a list of messages, found {found}.")
        return
    for number, message in enumerate(messages, start=1):
        yield from _check_message(message, number, location)
    roles = [message.get("role") for message in messages if isinstance(message, dict)]
    if "assistant" not in roles:
        yield _problem("no_assistant_message", location, f"no message is the assistant's; roles: {_shown(roles)}.")
    elif roles[-1] != "assistant":
        message = f"the last message is of the role {_shown(roles[-1])}; expected assistant."
        yield _problem("last_message_not_assistant", location, message)


def _check_message(message: Any, number: int, location: str) -> Iterator[Problem]:
    if not isinstance(message, dict):
        yield _problem(
            "message_not_object", location, f"message {number}: expected an object, found {_shown(message)}."
        )
        return
    role = message.get("role")
    if role not in ROLES:
        found = f"unknown role {_shown(role)}" if "role" in message else "no role"
        yield _problem("unknown_role", location, f"message {number}: {found}; allowed: {', '.join(ROLES)}.")
    for key in [key for key in message if key not in MESSAGE_KEYS]:
        text = f"message {number}: unknown key {_shown(key)}; allowed: {', '.join(MESSAGE_KEYS)}."
        yield _problem("unknown_key", location, text)
    where = f"message {number} ({role})" if role in ROLES else f"message {number}"
    yield from _check_content(message, where, location)


def _check_content(message: dict[str, Any], where: str, location: str) -> Iterator[Problem]:
    content = message.get("content")
    says_otherwise = any(message.get(key) for key in ("tool_calls", "function_call", "refusal"))
    if content is None:
        if not says_otherwise:
            yield _problem("missing_content", location, f"{where}: no content; expected text.")
    elif isinstance(content, str):
        if not content.strip() and not says_otherwise:
            yield _problem("empty_content", location, f"{where}: the content is {_shown(content)}; expected text.")
    elif not _is_content_parts(content):
        text = f"{where}: expected text or a list of content parts, found {_shown(content)}."
        yield _problem("content_not_text", location, text)


def _is_content_parts(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and all(isinstance(part, dict) for part in content)


def _check_size(found: int, minimum: int) -> Iterator[Problem]:
    if found < minimum:
        message = f"found {found}, but fine-tuning needs at least {minimum}."
        yield _problem("too_few_examples", _EVERYWHERE, message)


def _check_against_each_other(examples: Iterable[Example]) -> Iterator[Problem]:
    first_with_body: dict[str, Example] = {}
    first_with_prompt: dict[bytes, Example] = {}
    answers: set[str] = set()
    count = 0
    for count, example in enumerate(examples, start=1):  # noqa: B007  (the last number is the number of examples)
        answers.add(expected_answer(example))
        twin = first_with_body.setdefault(content_hash(example.body), example)
        asked_before = first_with_prompt.setdefault(canonical_json(prompt_messages(example)), example)
        if twin is not example:
            yield _problem("duplicate_example", example.location, f"the same as {twin.location}.")
        elif expected_answer(example) != expected_answer(asked_before):
            yield _problem("conflicting_answers", example.location, _conflict(example, asked_before))
    if count > 1 and len(answers) == 1:
        message = f"all {count} answers are {_shown(answers.pop())}."
        yield _problem("same_answer_everywhere", _EVERYWHERE, message)


def _conflict(example: Example, earlier: Example) -> str:
    answer, earlier_answer = _shown(expected_answer(example)), _shown(expected_answer(earlier))
    return f"asks the same as {earlier.location}, but answers {answer} and not {earlier_answer}."


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    # A report travels as UTF-8, which has no lone surrogates.
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _MOST_CHARACTERS_SHOWN else f"{text[: _MOST_CHARACTERS_SHOWN - 1]}…"
