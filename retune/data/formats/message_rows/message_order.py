"""What messages are ordered by: times in the notations of many programs, and running numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from retune.errors import SourceError
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping

_TIME = re.compile(
    r"(\d{1,4})[./\-](\d{1,2})[./\-](\d{1,4})(?:[,\sT]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?)?"
)
_HOUR = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:([AaPp])\.?[Mm]\.?)?")
_MOST_SECONDS, _MOST_MILLISECONDS = 1e11, 1e14
_LAST_MONTH = 12
_WRITE = "Write its cells as 2025-03-01 10:30:00."
_ASKED = "Say which: --day-first or --month-first; or write its cells as 2025-03-01 10:30:00."


@dataclass(frozen=True, slots=True)
class Order:
    """A column that puts messages in order.

    Attributes:
        column: The column.
        is_time: It holds times, so that pauses can be measured.
        day_first: Of dates such as 3/4/2025, whether the day comes first.
    """

    column: str
    is_time: bool
    day_first: bool = True

    def place(self, value: Any) -> float | None:
        """Seconds since 1970, or the number; None where the cell says neither."""
        number = _number(value)
        if not self.is_time:
            return number
        if number is None:
            return _seconds(value, day_first=self.day_first)
        size = abs(number)
        return number if size < _MOST_SECONDS else number / (1e3 if size < _MOST_MILLISECONDS else 1e6)


@dataclass(slots=True)
class Direction:
    """Which way times run from one row to the next, as rows are passed by.

    Attributes:
        n_ties: How many rows have the same time as the one before, which is of the same conversation.
    """

    n_ties: int = 0
    _within: int = 0
    _overall: int = 0
    _last: tuple[Any, float] | None = None

    def pass_by(self, conversation: object, place: float | None) -> None:
        """Take note of the next row."""
        if place is None:
            return
        if self._last is not None:
            step = (place > self._last[1]) - (place < self._last[1])
            self._overall += step
            if conversation == self._last[0]:
                self._within += step
                self.n_ties += not step
        self._last = conversation, place

    @property
    def is_newest_first(self) -> bool:
        """Whether times mostly fall: within conversations, or where they say nothing there, from row to row."""
        return (self._within or self._overall) < 0


@dataclass(frozen=True, slots=True)
class UnreadTimes:
    """A column that bears a time's name, and puts nothing in order.

    Attributes:
        column: The column.
        says: What its cells are like, for people.
        is_open: They are dates that leave open whether the day or the month comes first.
        is_newest_first: By what can be read of them, the rows stand in the wrong order.
    """

    column: str
    says: str
    is_open: bool
    is_newest_first: bool

    def error(self) -> SourceError:
        """What to raise where the order of the rows can't stand for that of the times."""
        return SourceError(
            f"{self.says}. The rows stand newest first by it, so that answers would be learned before their questions.",
            hint=_ASKED if self.is_open else f"{_WRITE} Another column can be named by --time-column.",
        )


def find_unread(column: str, rows: Sequence[JsonMapping], conversation: str | None) -> UnreadTimes | None:
    """Why `find_order` finds no times in the column; None where nothing stands there.

    Args:
        column: The column.
        rows: The first rows.
        conversation: The column that tells conversations apart.
    """
    values = [row[column] for row in rows if row.get(column) not in (None, "")]
    if not values:
        return None
    is_open = _is_day_first(values) is None
    readings = [Order(column, True, day_first).place for day_first in (True, False)] if is_open else [_time_of_day]
    directions = [Direction() for _ in readings]
    for row in rows:
        for direction, place in zip(directions, readings, strict=True):
            direction.pass_by(row.get(conversation or ""), place(row.get(column)))
    doubt = "which leaves open whether the day or the month comes first" if is_open else "which can't be read as a time"
    if not is_open and any(_time_of_day(value) is not None for value in values):
        doubt = "a time without its day"
    says = f"{column} holds {shown(values[0])}, {doubt}"
    return UnreadTimes(column, says, is_open, any(direction.is_newest_first for direction in directions))


def find_order(
    column: str, rows: Sequence[JsonMapping], *, is_time: bool, day_first: bool | None = None
) -> Order | None:
    """How the column puts rows in order; None where most of its cells can't be read, or leave the day in doubt."""
    values = [row.get(column) for row in rows if row.get(column) not in (None, "")]
    if day_first is None:
        day_first = _is_day_first(values) if is_time else True
    if day_first is None or not values:
        return None
    order = Order(column, is_time, day_first)
    places = [order.place(value) for value in values]
    return order if sum(place is not None for place in places) * 2 > len(places) else None


def unreadable(column: str, rows: Sequence[JsonMapping]) -> SourceError:
    """The error for a column that the user named, and that puts nothing in order."""
    unread = find_unread(column, rows, None)
    return SourceError(
        f'The cells of the column "{column}" can\'t be read as times or numbers{f": {unread.says}" if unread else ""}.',
        hint=_ASKED if unread is not None and unread.is_open else _WRITE,
    )


def count_pauses(order: Order, rows: Sequence[JsonMapping], seconds: float) -> int:
    """How often so much time passes between one row and the next in time."""
    places = sorted(place for row in rows if (place := order.place(row.get(order.column))) is not None)
    return sum(later - earlier > seconds for earlier, later in pairwise(places))


def plain_number(value: object) -> str | None:
    """The name of a message as a text that is the same for 7 and 7.0, as tables with gaps in a column have it."""
    if value is None or value == "":
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text.removesuffix(".0")


def _is_day_first(values: Sequence[object]) -> bool | None:
    """Whether dates such as 3/4/2025 have the day first; None where nothing tells. With points it always does."""
    matches = [match for value in values if isinstance(value, str) and (match := _TIME.match(value.strip()))]
    slashed = [match for match in matches if match[0][len(match[1])] in "/-" and len(match[1]) < 3]
    if any(int(match[1]) > _LAST_MONTH for match in slashed) or not slashed:
        return True
    return False if any(int(match[2]) > _LAST_MONTH for match in slashed) else None


def _time_of_day(value: object) -> float | None:
    match = _HOUR.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    hour = int(match[1]) % 12 + (12 if match[4] in "Pp" else 0) if match[4] else int(match[1])
    return 3600.0 * hour + 60 * int(match[2]) + int(match[3] or 0)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) != float("inf") else None  # noqa: PLR0124 - NaN is not itself


def _seconds(value: object, *, day_first: bool) -> float | None:
    if isinstance(value, datetime):
        return _timestamp(value)
    if isinstance(value, date):
        return _timestamp(datetime(value.year, value.month, value.day, tzinfo=UTC))
    if not isinstance(value, str):
        return None
    text = value.strip()
    for read in (datetime.fromisoformat, _twitter_time):
        try:
            return _timestamp(read(text))
        except ValueError:
            continue
    match = _TIME.match(text)
    return None if match is None else _of_match(match, day_first=day_first)


def _twitter_time(text: str) -> datetime:
    return datetime.strptime(text, "%a %b %d %H:%M:%S %z %Y")


def _of_match(match: re.Match[str], *, day_first: bool) -> float | None:
    first, second, third = (int(part) for part in match.groups()[:3])
    if len(match[1]) > 2:
        year, month, day = first, second, third
    else:
        year, month, day = third, *((second, first) if day_first else (first, second))
    hour, minute, second_of = (int(part or 0) for part in match.groups()[3:6])
    if match[7]:
        hour = hour % 12 + (12 if match[7] in "Pp" else 0)
    try:
        return _timestamp(datetime(year + (2000 if year < 100 else 0), month, day, hour, minute, second_of, tzinfo=UTC))
    except ValueError:
        return None


def _timestamp(moment: datetime) -> float:
    # Times without a zone are of one place, so only their distances matter.
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
