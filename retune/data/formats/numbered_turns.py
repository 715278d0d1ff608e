"""Conversations with numbered columns: `question_1`, `answer_1`, `question_2`, `answer_2`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retune.data.formats.cells import cell_text
from retune.data.formats.column_names import MESSAGES
from retune.data.formats.known_columns import names_of
from retune.data.formats.role_names import plain_name, role_of
from retune.data.formats.row_format import ColumnFormat
from retune.data.formats.settings import settings_beside
from retune.data.problems.problems import Finding
from retune.training_lines.keys import JsonMapping, JsonObject

Turns = tuple[tuple[str, str], ...]
"""Of each turn, in order, the column of the question and that of the answer."""

_NUMBERED = re.compile(r"(\D*)(\d{1,3})(\D*)")
_FEWEST = 2


@dataclass
class NumberedTurnsFormat(ColumnFormat):
    """A conversation in every row, as long as its cells are filled.

    Attributes:
        turns: The columns of each turn.
    """

    turns: Turns

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (*(column for turn in self.turns for column in turn), *self.system.columns)

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """The turns of which something is filled, each a question and its answer."""
        self.check_keys(values, self.turns[0])
        messages: list[JsonObject] = []
        for place, turn in enumerate(self.turns):
            asked, answered = (cell_text(values.get(column), column) for column in turn)
            if place == 0 or (asked and asked.strip()) or (answered and answered.strip()):
                messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        framed, findings = self.framed(messages, values)
        return {MESSAGES: framed, **settings_beside(values, self.settings)}, findings


def find_numbered_turns(columns: Sequence[str]) -> Turns | None:
    """The columns of at least two turns, which the names number; None where they are not there, or in doubt."""
    found: dict[int, dict[str, list[str]]] = {}
    for column in columns:
        match = _NUMBERED.fullmatch(column.strip())
        side = None if match is None else _side(match[1] + match[3])
        if match is not None and side is not None:
            found.setdefault(int(match[2]), {}).setdefault(side, []).append(column)
    turns = [found[number] for number in sorted(found)]
    sides = [{side: len(names) for side, names in turn.items()} for turn in turns]
    are_whole = all(counts == {"user": 1, "assistant": 1} for counts in sides)
    if len(turns) < _FEWEST or not are_whole:
        return None
    return tuple((turn["user"][0], turn["assistant"][0]) for turn in turns)


def _side(name: str) -> str | None:
    """Whose words a column holds, by its name without the number."""
    plain = plain_name(name).removeprefix("turn").removesuffix("turn")
    if (role := role_of(plain)) in ("user", "assistant"):
        return role
    if plain == "q" or names_of([plain], are_answers=False):
        return "user"
    return "assistant" if plain == "a" or names_of([plain], are_answers=True) else None
