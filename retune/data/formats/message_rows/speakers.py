"""Who speaks in a table with one message a row, as roles of the API."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from retune.data.formats.cells import cell_text
from retune.data.formats.column_names import field_value
from retune.data.formats.role_names import plain_name, role_of, words
from retune.errors import SourceError
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping

Kind = Literal["words", "flag", "turns", "named", "filled"]

_ASSISTANT_IF_TRUE = words(
    "issender fromme isfromme isme isbot isagent isassistant isai isoutgoing isoutbound outgoing isstaff isoperator "
    "fromagent frombot isself issend"
)
_ASSISTANT_IF_FALSE = words(
    "inbound incoming isinbound isincoming isuser iscustomer ishuman isclient fromuser fromcustomer isvisitor"
)
_TRUE, _FALSE = {"1", "true", "t", "yes", "y", "1.0", "是"}, {"0", "false", "f", "no", "n", "0.0", "否"}
_MOST_SHOWN = 8
# So much of what a column says in the first rows has to be known words.
_KNOWN_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Speakers:
    """What a column says of who speaks.

    Attributes:
        column: The column.
        kind: `words`: known ones, such as customer and agent. `flag`: true and false, or 1 and 0. `turns`: numbers or
            letters of people; whoever speaks first is the user. `named`: the user said which are the assistant.
            `filled`: the name of a bot, where one speaks.
        assistants: Of `flag`, the texts that mean the assistant; of `named`, those that the user gave.
        others: Of `flag`, the texts that mean the user.
    """

    column: str
    kind: Kind
    assistants: frozenset[str] = field(default_factory=frozenset)
    others: frozenset[str] = field(default_factory=frozenset)

    @property
    def title(self) -> str:
        """What people call it."""
        if self.kind == "flag":
            return f"{self.column} ({'true' if self.assistants == frozenset(_TRUE) else 'false'}: the assistant)"
        if self.kind == "filled":
            return f"{self.column} (where it is filled: the assistant)"
        if self.kind == "named":
            return f"{self.column} ({', '.join(sorted(self.assistants))}: the assistant)"
        return self.column

    def role(self, value: Any, first: str | None) -> str | None:
        """The role that a cell stands for; None where it is not known.

        Args:
            value: The cell.
            first: What the column says of whoever spoke first in this conversation; None at its start.
        """
        said = said_in(value, self.column)
        if said is None:
            return "user" if self.kind == "filled" else None
        known = role_of(said)
        if self.kind == "words":
            return known
        if self.kind == "flag":
            return "assistant" if said in self.assistants else "user" if said in self.others else None
        if known in ("system", "tool") and said not in self.assistants:
            return known
        is_assistant = said in self.assistants if self.kind == "named" else first not in (None, said)
        return "assistant" if is_assistant or self.kind == "filled" else "user"

    def speak_in(self, rows: Iterable[JsonMapping]) -> bool:
        """Whether one of the assistants is named in these rows."""
        return any(said_in(field_value(row, self.column), self.column) in self.assistants for row in rows)


def said_in(value: object, column: str) -> str | None:
    """What a cell says, as a text to compare; None where it says nothing."""
    text = cell_text(value, column)
    return text.strip().casefold() or None if text is not None else None


def named_speakers(column: str, assistant_role: str, rows: Iterable[JsonMapping]) -> Speakers:
    """Speakers of whom the user said which are the assistant; the whole text where a cell says just that."""
    whole = assistant_role.strip().casefold()
    names = [name.strip() for name in whole.split(",") if name.strip()]
    is_one = any(said_in(field_value(row, column), column) == whole for row in rows)
    return Speakers(column, "named", frozenset([whole] if is_one else names))


def find_speakers(column: str, rows: Sequence[JsonMapping], *, one_is_enough: bool = False) -> Speakers | None:
    """What a column says of who speaks; None where it doesn't tell user and assistant apart.

    Args:
        column: The column.
        rows: The first rows.
        one_is_enough: They may all be of one speaker, as where rows are sorted by something else.
    """
    said = [text for row in rows if (text := said_in(field_value(row, column), column)) is not None]
    values = set(said)
    if not values:
        return None
    roles = [role_of(text) for text in said]
    sides = {"user", "assistant"} & set(roles)
    if len(sides) > (0 if one_is_enough else 1) and sum(map(bool, roles)) >= _KNOWN_SHARE * len(roles):
        return Speakers(column, "words")
    name = plain_name(column.rsplit(".", 1)[-1])
    if len(values) == 2 and values <= _TRUE | _FALSE and name in (*_ASSISTANT_IF_TRUE, *_ASSISTANT_IF_FALSE):
        true, false = frozenset(_TRUE), frozenset(_FALSE)
        return Speakers(column, "flag", *((true, false) if name in _ASSISTANT_IF_TRUE else (false, true)))
    are_places = all(
        text.isdigit() or _without_kind(text).isdigit() or len(_without_kind(text)) == 1 for text in values
    )
    return Speakers(column, "turns") if len(values) > 1 and are_places and name.startswith("speaker") else None


def find_bots(column: str, rows: Sequence[JsonMapping]) -> Speakers | None:
    """A column that names the bot wherever one speaks; None where it always does, or never."""
    filled = [said_in(row.get(column), column) is not None for row in rows]
    return Speakers(column, "filled") if any(filled) and not all(filled) else None


def is_flag_name(column: str) -> bool:
    """Whether a column's name says that it tells by true and false who speaks."""
    return plain_name(column.rsplit(".", 1)[-1]) in (*_ASSISTANT_IF_TRUE, *_ASSISTANT_IF_FALSE)


def values_shown(column: str, rows: Iterable[JsonMapping]) -> str:
    """The different things that a column says, for a message; the first few."""
    values = list(dict.fromkeys(cell_text(field_value(row, column), column) for row in rows))
    texts = [shown(value) for value in values if value is not None]
    more = f" and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return ", ".join(texts[:_MOST_SHOWN]) + more


def unknown_assistant(
    source: str, rows: Sequence[JsonMapping], role: str, conversation: str | None, text: str
) -> SourceError:
    """The error where nothing says which of those who speak is the assistant.

    Args:
        source: What people call it.
        rows: The first rows.
        role: The column that says who speaks.
        conversation: The column that says which conversation a row belongs to; None where there is none.
        text: The column with what is said.
    """
    tells = f"{role} says" if conversation is None else f"{conversation} names the conversation, {role}"
    return SourceError(
        f"{source} has a message a row: {tells} who speaks, {text} what is said. "
        f"Which of those who speak is the assistant? {role} says: {values_shown(role, rows)}.",
        hint="Name the assistant with --assistant-role, and several with commas between them; if another column says "
        "who speaks, name it with --role-column.",
    )


def _without_kind(text: str) -> str:
    """What is left of "speaker a" and "speaker_a": "a"."""
    return plain_name(text).removeprefix("speaker").removeprefix("person")
