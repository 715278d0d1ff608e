"""Everything that is written to the terminal."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
_WIDER_THAN_ANY_ROW = 10_000

# What a terminal obeys instead of showing it, what turns a line's direction round, and what UTF-8 has not.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def visible(text: str) -> str:
    r"""Text from data, with escapes such as `\\x1b` in the place of characters that a terminal would obey."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def show_error(message: str, hint: str | None) -> None:
    """One clear message on stderr, and what to do next."""
    err.print(Text.assemble(("Error: ", "bold red"), visible(message)))
    if hint:
        err.print(Text.assemble(("→ ", "bold"), visible(hint)))


def print_line(text: str) -> None:
    """One line, as it is."""
    out.print(text, markup=False)


def print_piece(text: str) -> None:
    """A piece of a line that is still being written."""
    out.print(text, markup=False, end="")


def print_quietly(text: str) -> None:
    """A line that is not the command's result: on stderr, dimmed."""
    err.print(Text(text, style="dim"))


def read_line(prompt: str) -> str | None:
    """Ask for a line; None at the end of the input."""
    try:
        return err.input(Text(prompt, style="bold"))
    except EOFError:
        return None


def print_json(value: object, indent: int | None = 2) -> None:
    """JSON for machines: never wrapped, never coloured."""
    out.file.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without frames, each row one line however long: ids that are cut off or folded can't be copied."""
    if not rows:
        print_quietly("Nothing there yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console(highlight=False, width=_WIDER_THAN_ANY_ROW).print(table, crop=False)


def print_unfolded(table: Table, *, to: Console = out) -> None:
    """A table, folded where a terminal is too narrow; elsewhere each row one line, with nothing after its last word."""
    if to.is_terminal:
        to.print(table, soft_wrap=False)
        return
    wide = Console(file=io.StringIO(), highlight=False, width=_WIDER_THAN_ANY_ROW)
    with wide.capture() as captured:
        wide.print(table, crop=False)
    for line in captured.get().splitlines():
        to.print(Text(line.rstrip()), soft_wrap=True)


def print_fields(fields: Mapping[str, object], *, to: Console = out, width: int = 0) -> None:
    """Names and values below each other; empty values are left out."""
    width = max(width, *map(len, fields))
    for name, value in fields.items():
        if value not in {None, ""}:
            to.print(Text.assemble((f"{name:<{width}}  ", "dim"), str(value)))


def as_local_time(unix_seconds: int) -> str:
    """A moment in the local time zone."""
    return datetime.fromtimestamp(unix_seconds, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
