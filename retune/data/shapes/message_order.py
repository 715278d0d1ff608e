"""What messages are put in order by: times in the ways that programs write them, and running numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

_TIME = re.compile(
    r"(\d{1,4})[./\-](\d{1,2})[./\-](\d{1,4})(?:[,\sT]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?)?"
)
_MOST_SECONDS, _MOST_MILLISECONDS = 1e11, 1e14
_LAST_MONTH = 12


@dataclass(frozen=True, slots=True)
class Order:
    """A column that puts messages in order.

    Attributes:
        column: The column.
        is_time: It holds times, so that pauses can be told.
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


def find_order(column: str, rows: Sequence[Mapping[str, Any]], *, is_time: bool) -> Order | None:
    """How the column puts rows in order; None where most of its cells can't be read, or leave the day in doubt."""
    values = [row.get(column) for row in rows if row.get(column) not in (None, "")]
    day_first = _is_day_first(values) if is_time else True
    if day_first is None or not values:
        return None
    order = Order(column, is_time, day_first)
    places = [order.place(value) for value in values]
    return order if sum(place is not None for place in places) * 2 > len(places) else None


def count_pauses(order: Order, rows: Sequence[Mapping[str, Any]], seconds: float) -> int:
    """How often so much time passes between one row and the next in time."""
    places = sorted(place for row in rows if (place := order.place(row.get(order.column))) is not None)
    return sum(later - earlier > seconds for earlier, later in pairwise(places))


def _is_day_first(values: Sequence[Any]) -> bool | None:
    """Whether dates such as 3/4/2025 have the day first; None where nothing tells."""
    matches = [match for value in values if isinstance(value, str) and (match := _TIME.match(value.strip()))]
    slashed = [match for match in matches if "/" in match[0].split(":")[0] and len(match[1]) < 3]
    if any(int(match[1]) > _LAST_MONTH for match in slashed) or not slashed:
        return True
    return False if any(int(match[2]) > _LAST_MONTH for match in slashed) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) != float("inf") else None  # noqa: PLR0124 - NaN is not itself


def _seconds(value: Any, *, day_first: bool) -> float | None:
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
