"""Earlier turns of a conversation in a column of their own: `history`."""

from collections.abc import Iterable, Sequence

from retune.data.formats.cells import UnusableCellError, cell_text, structure_in
from retune.data.formats.foreign_messages import api_messages, is_foreign_message, read_turn
from retune.data.problems.problems import Finding
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping, JsonObject

_PAIR = 2


def read_turns(values: JsonMapping, column: str) -> list[JsonObject]:
    """The messages of a cell: of a list of pairs of question and answer, or of messages; empty where it holds nothing.

    Raises:
        UnusableCellError: It holds something else.
    """
    value = values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    found = structure_in(value)
    messages = [_read_turn(turn, column) for turn in found] if isinstance(found, list) else [None]
    if any(turn is None for turn in messages):
        message = f"column {column}: expected pairs of question and answer, or messages; found {shown(value)}."
        raise UnusableCellError(Finding("cell_not_messages", message))
    return api_messages([message for turn in messages if turn for message in turn])


def hold_turns(rows: Sequence[JsonMapping], column: str) -> bool:
    """Whether the cells of a column are earlier turns, wherever the first rows have any."""
    try:
        turns = [read_turns(row, column) for row in rows]
    except UnusableCellError:
        return False
    return any(turns)


def find_turns(rows: Sequence[JsonMapping], columns: Iterable[str]) -> str | None:
    """The only one of these columns that holds earlier turns; None if there is none, or several."""
    found = [column for column in columns if hold_turns(rows, column)]
    return found[0] if len(found) == 1 else None


def _read_turn(turn: object, column: str) -> list[JsonObject] | None:
    if isinstance(turn, list) and len(turn) == _PAIR and not any(isinstance(text, list | dict) for text in turn):
        return _pair(turn[0], turn[1], column)
    if not isinstance(turn, dict):
        return None
    if is_foreign_message(turn) or "role" in turn:
        return [turn]
    pair = read_turn(turn)
    return None if pair is None else _pair(*pair, column)


def _pair(question: object, answer: object, column: str) -> list[JsonObject]:
    texts = (("user", cell_text(question, column)), ("assistant", cell_text(answer, column)))
    return [{"role": role, "content": text} for role, text in texts if text]
