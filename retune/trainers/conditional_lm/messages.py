"""JSONL in, conversations and the answers to learn out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retune.errors import TrainerError
from retune.trainers.base import Prompt
from retune.trainers.tool_calls import write_calls


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, reduced to what this trainer can read: who speaks, and the text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to learn: the conversation before it, and its text."""

    conversation: tuple[Turn, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the training file.

    Attributes:
        turns: All its turns; of a prompt and completion line, the prompt as the user's and the completion.
        answers: Those among them that are trained on.
        is_chat: Whether it is a conversation.
    """

    turns: tuple[Turn, ...]
    answers: tuple[Answer, ...]
    is_chat: bool = True


def text_of(content: object) -> str:
    """The text of a message's `content`: a string, a list of parts (text parts count), or null."""
    if isinstance(content, str):
        return _well_formed(content)
    if isinstance(content, Sequence):
        return _well_formed("\n".join(_texts_of_parts(content)))
    return ""


def turns_of(prompt: Prompt) -> tuple[Turn, ...]:
    """Reduce chat messages to turns; a bare prompt is what the user says."""
    if isinstance(prompt, str):
        return (Turn("user", _well_formed(prompt)),)
    return tuple(_turn(message) for message in prompt)


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a JSONL file that hold at least one answer to learn.

    Raises:
        TrainerError: The file can't be read, a line is neither a chat example nor a prompt with its completion, or no
            row holds an answer to learn.
    """
    rows = [row for row in _rows(path) if row.answers]
    if not rows:
        raise TrainerError(
            f"{path.name}: expected assistant messages to learn, found none.",
            hint='Give at least one assistant message with text and without "weight": 0.',
        )
    return rows


def _rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _row(line, f"{path.name}, line {number}")
    except OSError as error:
        raise TrainerError(f"Can't read {path.name}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise TrainerError(f"{path.name} is not UTF-8: {error.reason} at byte {error.start}.") from None


def _row(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise TrainerError(f"{where}: not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise TrainerError(f'{where}: expected an object with "messages", or with "prompt" and "completion".')
    if "messages" not in value:
        return _completion_row(value, where)
    messages = value["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise TrainerError(f'{where}: expected an object with a list "messages" of objects.')
    turns = turns_of(messages)
    answers = [
        Answer(turns[:position], turns[position].text)
        for position, message in enumerate(messages)
        if _is_trained_on(message)
    ]
    return Row(turns, tuple(answers))


def _completion_row(value: Mapping[str, object], where: str) -> Row:
    prompt, completion = value.get("prompt"), value.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise TrainerError(f'{where}: expected an object with "messages", or with the texts "prompt" and "completion".')
    turns = turns_of(prompt)
    # Nothing is stripped: the space that a completion begins with, and its stop sequence, are learned as they are.
    text = _well_formed(completion)
    return Row((*turns, Turn("assistant", text)), (Answer(turns, text),), is_chat=False)


def _turn(message: Mapping[str, object]) -> Turn:
    content, calls = text_of(message.get("content")), _well_formed(write_calls(message))
    return Turn(_well_formed(str(message.get("role"))), "\n".join(filter(None, (content, calls))))


def _is_trained_on(message: Mapping[str, object]) -> bool:
    says_something = message.get("content") is not None or bool(write_calls(message))
    return message.get("role") == "assistant" and message.get("weight") != 0 and says_something


def _texts_of_parts(parts: Sequence[object]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]


def _well_formed(text: str) -> str:
    # JSON can hold half of a surrogate pair, which no UTF-8 file or answer can.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
