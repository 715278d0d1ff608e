"""Cells that hold a whole conversation: as messages, as pairs of question and answer, or as texts in turn."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from retune.data.formats.cells import UnusableCellError, cell_text, messages_in, parsed_cell
from retune.data.formats.column_names import MESSAGES, listed_columns, near_key
from retune.data.formats.foreign_messages import api_messages, is_foreign_message, is_sharegpt_message, read_turn
from retune.data.formats.known_columns import find_system
from retune.data.formats.role_names import plain_name, words
from retune.data.formats.transcripts import read_open_transcript, read_transcript, transcript_title
from retune.data.problems.problems import Finding
from retune.training_lines.keys import INSTRUCTION_ROLES, JsonMapping, JsonObject

# `turns` holds the questions alone in some data sets.
_IN_TURN = set(words("messages conversations conversation dialogue dialog dialogs chat data 对话 会話"))
_LEAST_TURNS = 2
_JSON = ("{", "[{")
_WRITINGS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("ShareGPT", is_sharegpt_message),
    ("roles and contents made into the API's", is_foreign_message),
    ("pairs of question and answer", lambda item: read_turn(item) is not None),
)


def read_conversation(values: JsonMapping, column: str) -> tuple[JsonObject, Any]:
    """The conversation in a cell, and what stands beside it in there.

    Returns:
        Settings such as tools, where the cell holds a whole example; and the messages, of whatever kind they are.

    Raises:
        UnusableCellError: The cell is missing or isn't JSON.
    """
    beside, found = written_conversation(values, column)
    if not isinstance(found, list):
        return beside, found
    messages = api_messages(_spoken_in_turn(found, column), with_pairs=True)
    system = find_system(list(beside))
    if system is None or (messages and isinstance(messages[0], dict) and messages[0].get("role") in INSTRUCTION_ROLES):
        return beside, messages
    said = cell_text(beside.pop(system), system)
    return beside, [{"role": "system", "content": said}, *messages] if said and said.strip() else messages


def written_conversation(values: JsonMapping, column: str) -> tuple[JsonObject, Any]:
    """The same with the messages as they are written.

    Raises:
        UnusableCellError: The cell is missing or isn't JSON.
    """
    cell = values.get(column)
    if cell is None:
        near = near_key(column, values) if column not in values else None
        advice = f' Is "{near}" meant to be "{column}"?' if near else ""
        filled = listed_columns([name for name, value in values.items() if value is not None])
        message = f"expected a list of messages in {column}, found none; there is: {filled}.{advice}"
        # Without the key, the line is another kind of example, and not an empty one.
        kind = "other_shape" if column not in values and filled else "missing_messages"
        raise UnusableCellError(Finding(kind, message))
    if (
        isinstance(cell, str)
        and not cell.lstrip().startswith(_JSON)
        and (transcript := read_transcript(cell)) is not None
    ):
        return {}, transcript
    found = parsed_cell(cell, column, kind="cell_not_messages", expected="a JSON list of messages")
    if isinstance(found, dict) and MESSAGES in found:
        return {key: value for key, value in found.items() if key != MESSAGES}, found[MESSAGES]
    return {}, found


def read_prompt(values: JsonMapping, column: str, template: str | None) -> tuple[list[Any], list[Finding]]:
    """The messages of a prompt, without the marks of the chat template that the first rows have around theirs.

    Raises:
        UnusableCellError: It is a list of something else than messages, or bytes that are not UTF-8.
    """
    cell = values.get(column)
    if template is None:
        return messages_in(cell, "user", column), []
    if isinstance(cell, str) and (messages := read_open_transcript(cell)) is not None:
        return messages, []
    message = f"{column} does not have the marks of {template}, as most do; it is learned as it stands."
    return messages_in(cell, "user", column), [Finding("separator_missing", message)]


def conversations_in(
    rows: Sequence[JsonMapping], column: str, *, with_pairs: bool = True
) -> Iterator[list[JsonObject]]:
    """The conversations among some rows, as the API has them.

    Args:
        rows: The rows.
        column: Where they are looked for.
        with_pairs: Objects of a question and its answer count as well; a column of any name may hold such.
    """
    for found in _written(rows, column):
        is_turn = any(isinstance(item, dict) and read_turn(item) is not None for item in found)
        messages = [] if is_turn and not with_pairs else api_messages(_spoken_in_turn(found, column), with_pairs=True)
        if all(isinstance(message, dict) for message in messages) and (messages or not found):
            yield messages


def hold_conversations(rows: Sequence[JsonMapping], column: str) -> bool:
    """Whether all filled cells of a column are conversations of two messages and more, whatever its name."""
    n_filled = sum(values.get(column) not in (None, "") for values in rows)
    found = list(conversations_in(rows, column, with_pairs=False))
    return (
        len(found) == n_filled
        and all(len(messages) > 1 and all("role" in message for message in messages) for messages in found)
        and any(messages[-1]["role"] == "assistant" for messages in found)
    )


def some_message(rows: Sequence[JsonMapping], column: str, are: Callable[[object], bool]) -> bool:
    """Whether a message of one of these rows, as it is written, fits."""
    return any(any(map(are, found)) for found in _written(rows, column))


def written_title(rows: Sequence[JsonMapping], column: str) -> str:
    """How the conversations of some rows are written, to add to a title; nothing where as the API has them."""
    texts = (row[column] for row in rows if isinstance(row.get(column), str))
    if (template := next((title for text in texts if (title := transcript_title(text))), None)) is not None:
        return f" (texts with the marks of {template})"
    for title, are in _WRITINGS:
        if some_message(rows, column, are):
            return f" ({title})"
    return (
        " (texts in turn, the user first)"
        if any(are_in_turn(found, column) for found in _written(rows, column))
        else ""
    )


def are_in_turn(found: Any, column: str) -> bool:
    """Whether a cell is a list of texts that people take turns with, by the column's name."""
    is_list = isinstance(found, list) and len(found) >= _LEAST_TURNS
    return is_list and plain_name(column) in _IN_TURN and all(isinstance(text, str) for text in found)


def _written(rows: Sequence[JsonMapping], column: str) -> Iterator[list[Any]]:
    for values in rows:
        try:
            _, found = written_conversation(values, column)
        except UnusableCellError:
            continue
        if isinstance(found, list):
            yield found


def _spoken_in_turn(found: list[object], column: str) -> list[Any]:
    if not are_in_turn(found, column):
        return found
    return [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(found)]
