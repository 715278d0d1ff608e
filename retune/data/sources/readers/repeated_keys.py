"""Keys that occur twice in one JSON object: parsers keep the last value, and report nothing."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from retune.data.problems.problems import Finding
from retune.data.problems.rules import RULES
from retune.data.sources.blocks import Row
from retune.redaction.masking import masked
from retune.training_lines.keys import JsonObject

ESCAPED_QUOTE = "\\u0022"
_MOST_FINDINGS = 3
_MOST_SHOWN, _LONGEST_PLACE = 40, 200


class _Repeated(NamedTuple):
    """A key that occurs more than once in an object.

    Attributes:
        key: It.
        place: Where the object is: "messages.2"; empty for the whole row.
        values: What it holds each time, at least two.
    """

    key: str
    place: str
    values: list[Any]

    @property
    def loses_objects(self) -> bool:
        """Whether whole messages or the like are lost."""
        lost = (value for value in self.values[:-1] if value != self.values[-1])
        return not self.place and any(isinstance(value, list) and any(map(_is_object, value)) for value in lost)

    def finding(self) -> Finding:
        shown = masked(self.key, 0, _MOST_SHOWN)
        where = f" in {masked(self.place, 0, _MOST_SHOWN)}" if self.place else ""
        times = "twice" if len(self.values) == 2 else f"{len(self.values)} times"
        repeated = f'the key "{shown}" occurs {times}{where}'
        if self.loses_objects:
            return Finding("repeated_list", f"{repeated}, each time with a list of objects.")
        are_equal = all(value == self.values[0] for value in self.values)
        return Finding(
            "repeated_key", f"{repeated}, {'with equal values' if are_equal else 'and only its last value is read'}."
        )


class _Members(tuple[tuple[str, Any], ...]):
    """An object as it is written."""

    __slots__ = ()


_NESTED = (_Members, list)
_DECODER = json.JSONDecoder(object_pairs_hook=_Members)


def find_repeated_keys(value: object, n_quotes: int, text: Callable[[], str]) -> tuple[Finding, ...]:
    """Find the keys that occur twice in an object.

    Every member that a parser drops has two quotes at the least, and every quote of a text is a quote or an escape. So
    where the value, written again, has as many quotes as its text has quotes and escapes, none was dropped; only other
    texts are parsed a second time.

    Args:
        value: What a parser made of the text.
        n_quotes: How many quotes are in the text, and escapes `ESCAPED_QUOTE`.
        text: The text, for where it is needed.

    Returns:
        `repeated_list` for each key whose lost value is a list of objects, such as a conversation, and `repeated_key`
        for the others; at most three.
    """
    try:
        if orjson.dumps(value).count(b'"') == n_quotes:
            return ()
    except orjson.JSONEncodeError:
        pass  # It has a number of more than 64 bits, or half of a surrogate pair.
    try:
        members = _DECODER.decode(text())
    except (ValueError, RecursionError) as error:
        return (Finding("repeated_key", f"a key may occur twice: the row can't be parsed again ({error})."),)
    found = [repeated for repeated, _ in zip(_repeated(members), range(_MOST_FINDINGS), strict=False)]
    return tuple(repeated.finding() for repeated in found)


def row_of(number: int, value: JsonObject, n_quotes: int, text: Callable[[], str]) -> Row:
    """An object as a row, with what is to be said of its repeated keys; see `find_repeated_keys`."""
    found = find_repeated_keys(value, n_quotes, text)
    is_readable = all(RULES[finding.kind].level != "error" for finding in found)
    return Row(number, value, remarks=found) if is_readable else Row(number, {}, found)


def _repeated(value: Any) -> Iterator[_Repeated]:
    """Whatever is repeated, level by level: rows may be nested as deeply as Python can parse."""
    level = [(value, "")]
    while level:
        deeper: list[tuple[Any, str]] = []
        for inner, place in level:
            if isinstance(inner, _Members):
                values: dict[str, list[Any]] = {}
                for key, member in inner:
                    values.setdefault(key, []).append(member)
                yield from (_Repeated(key, place, each) for key, each in values.items() if len(each) > 1)
                deeper += [(member, _below(place, key)) for key, member in inner if isinstance(member, _NESTED)]
            else:
                items = enumerate(inner, start=1)
                deeper += [(item, _below(place, str(n))) for n, item in items if isinstance(item, _NESTED)]
        level = deeper


def _below(place: str, step: str) -> str:
    return f"{place}.{step}"[-_LONGEST_PLACE:] if place else step


def _is_object(value: object) -> bool:
    return isinstance(value, _Members)
