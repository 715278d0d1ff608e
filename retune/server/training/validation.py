"""Checks of training files, made after a job was accepted: every line must be a chat example that can be learned."""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MIN_TRAINING_EXAMPLES = 10

_ROLES = ("system", "developer", "user", "assistant")
_MESSAGE_KEYS = {"role", "content", "name", "weight"}
_EXAMPLE_KEYS = {"messages", "parallel_tool_calls"}
_TOOL_KEYS = ("tools", "functions", "tool_calls", "function_call", "tool_call_id")


class InvalidFileError(Exception):
    """A training or validation file can't be used.

    Args:
        code: `invalid_training_file`, `invalid_validation_file` or `invalid_n_examples`.
        message: Why, naming the line.
        param: `training_file` or `validation_file`.
    """

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class ValidationStopped(Exception):  # noqa: N818  # no error: the server was asked to stop
    """The server stops before the file was read to its end."""


def check_training_file(path: Path, stopping: threading.Event) -> int:
    """Check a training file and count its examples.

    Raises:
        InvalidFileError: A line is wrong, or there are fewer than ten.
        ValidationStopped: `stopping` was set.
    """
    count = _check_file(path, "training", stopping)
    if count < MIN_TRAINING_EXAMPLES:
        raise InvalidFileError(
            "invalid_n_examples",
            f"Training file has {count} example(s), but must have at least {MIN_TRAINING_EXAMPLES} examples",
            "training_file",
        )
    return count


def check_validation_file(path: Path, stopping: threading.Event) -> None:
    """Check a validation file.

    Raises:
        InvalidFileError: A line is wrong, or there is none.
        ValidationStopped: `stopping` was set.
    """
    if _check_file(path, "validation", stopping) == 0:
        raise _invalid("validation", "it holds no examples")


def _check_file(path: Path, kind: str, stopping: threading.Event) -> int:
    count = 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if stopping.is_set():
                    raise ValidationStopped
                if line.strip():
                    problem = _problem_of_line(line)
                    if problem:
                        raise _invalid(kind, f"line {number}: {problem}")
                    count += 1
    except UnicodeDecodeError:
        raise _invalid(kind, "it is not UTF-8 text") from None
    except OSError as error:
        raise _invalid(kind, f"the server can't read it ({error.strerror})") from error
    return count


def _invalid(kind: str, reason: str) -> InvalidFileError:
    message = f"The job failed due to an invalid {kind} file. Invalid file format: {reason}."
    return InvalidFileError(f"invalid_{kind}_file", message, f"{kind}_file")


def _problem_of_line(line: str) -> str | None:
    try:
        example = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"expected a JSON object, but this is not valid JSON ({error})"
    if not isinstance(example, dict):
        return f"expected a JSON object, found {_name_of(example)}"
    return _problem_of_example(example)


def _problem_of_example(example: Mapping[str, Any]) -> str | None:
    if "messages" not in example:
        return f"expected the key 'messages', found {_keys(example)}{_format_hint(example)}"
    if tools := _tool_key(example):
        return f"'{tools}' can't be learned: this server trains on text alone"
    if unknown := sorted(example.keys() - _EXAMPLE_KEYS - set(_TOOL_KEYS)):
        return f"unknown key '{unknown[0]}' beside 'messages'"
    messages = example["messages"]
    if not isinstance(messages, list) or not messages:
        return f"'messages' must be a list of at least one message, found {_name_of(messages)}"
    return _problem_of_messages(messages)


def _problem_of_messages(messages: Sequence[Any]) -> str | None:
    for index, message in enumerate(messages):
        problem = _problem_of_message(message)
        if problem:
            return f"messages[{index}]: {problem}"
    if not any(message["role"] == "assistant" for message in messages):
        return "there is no message from the assistant to learn"
    return None


def _problem_of_message(message: Any) -> str | None:
    if not isinstance(message, dict):
        return f"expected an object, found {_name_of(message)}"
    role = message.get("role")
    if tools := _tool_key(message) or (role if role in ("tool", "function") else None):  # a role may be unhashable
        return f"'{tools}' can't be learned: this server trains on text alone"
    if role not in _ROLES:
        return f"'role' must be one of {', '.join(_ROLES)}, found {role!r}"
    if unknown := sorted(message.keys() - _MESSAGE_KEYS - set(_TOOL_KEYS)):
        return f"unknown key '{unknown[0]}'"
    if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1)):
        return f"'weight' must be 0 or 1, on an assistant message; found {message['weight']!r} on {role}"
    return _problem_of_content(message.get("content"))


def _problem_of_content(content: Any) -> str | None:
    if isinstance(content, str):
        return None if content.strip() else "'content' is empty"
    if not isinstance(content, list):
        return f"'content' must be text, found {_name_of(content)}"
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            return f"'content' may have parts of the type 'text' alone, found {kind or _name_of(part)!r}"
    return None if any(part["text"].strip() for part in content) else "'content' is empty"


def _tool_key(value: Mapping[str, Any]) -> str | None:
    return next((key for key in _TOOL_KEYS if value.get(key)), None)


def _format_hint(example: Mapping[str, Any]) -> str:
    if "prompt" in example and "completion" in example:
        return " (the old prompt and completion format; this server takes chat messages)"
    if "preferred_output" in example:
        return " (the preference format; the job's method is 'supervised')"
    return ""


def _keys(value: Mapping[str, Any]) -> str:
    return ", ".join(f"'{key}'" for key in list(value)[:5]) or "an empty object"


def _name_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
