"""What surrounds the rows of a table that people wrote: a header, perhaps of two rows, and totals below."""

import re
from collections.abc import Sequence

from retune.redaction.masking import masked

MOST_TOTALS = 3
"""So many rows at the end of a table may be totals."""

_SENTENCE = re.compile(r"(\S+\s+){3,}\S+|.{8,}[.!?。！？…]\s*$|[^\x00-\x7f]{10,}", re.DOTALL)
_NUMBER = re.compile(r"\s*[-+]?[\d.,]*\d\s*%?\s*")
_ENDS_IN_STOP = re.compile(r"[.!?。！？…]\s*$")
_MOST_SHOWN, _LONGEST_NAME = 40, 60
_LEAST_GROUPS = _LEAST_CONTRASTS = 2
_SHARE_OF_TEXTS = 0.5

_TOTALS = (
    *("total", "totals", "grand total", "subtotal", "sub-total", "sum", "sums", "average", "avg", "mean"),
    *("summe", "gesamt", "gesamtsumme", "insgesamt", "zwischensumme", "durchschnitt", "mittelwert"),
    *("total général", "somme", "moyenne", "total general", "suma", "promedio", "soma", "média", "totale", "media"),
    *("totaal", "gemiddelde", "totalt", "summa", "razem", "итого", "всего", "toplam"),
    *("合計", "総計", "総合計", "小計", "平均", "合计", "总计", "總計", "小计", "总和", "평균", "합계", "총계"),
)
_TOTAL = re.compile(rf"({'|'.join(map(re.escape, _TOTALS))})\s*[:：=]?", re.IGNORECASE)
_AMOUNT = re.compile(r"=.*|[-+]?[$€£¥₩]?\s*[-+]?\d[\d.,'\s\u00a0]*(%|[$€£¥₩円元원]|[A-Z]{3})?")


def is_text(cell: str) -> bool:
    """Whether a cell is what rows hold, a sentence or a number, and hardly the name of a column."""
    return bool(_SENTENCE.search(cell) or _NUMBER.fullmatch(cell))


def doubt_header(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Why the first row may be no header but an example; None where it looks like names.

    Args:
        header: Its cells.
        rows: The first ones below it.
    """
    rows = [row for row in rows if len(row) == len(header) and list(row) != list(header)]
    for place, cell in enumerate(header):
        again = sum(row[place] == cell for row in rows)
        if cell.strip() and again:
            return f"{_shown(cell)} comes again in {again:,} of the first rows below it"
    filled = [cell for cell in header if cell.strip()]
    if rows and filled and all(map(is_text, filled)):
        # A form's questions may be the header of its answers; these have their own kind of text below them.
        stops = sum(bool(_ENDS_IN_STOP.search(cell)) for cell in filled)
        if stops or any(_NUMBER.fullmatch(cell) for cell in filled):
            return f"{_shown(filled[0])} is not the name of a column but text"
    return None


def join_header(
    upper: Sequence[str], lower: Sequence[str], below: Sequence[Sequence[str]], *, is_merged: bool = False
) -> list[str] | None:
    """The names that two rows give the columns, where the upper one groups them and the lower one names them.

    Where the lower row has no name, the upper row's is taken; names that the lower row repeats follow their group's:
    "Customer / text".

    Args:
        upper: The cells of the first row.
        lower: Those of the next.
        below: The first rows below both.
        is_merged: Cells of the upper row are known to be merged.

    Returns:
        A name for each column; None where the lower row may as well be an example.
    """
    below = [row for row in below if list(row) not in (list(upper), list(lower))]
    width = max(map(len, (upper, lower, *below)))
    upper, lower, *below = (_padded(row, width) for row in (upper, lower, *below))
    groups = _groups(upper)
    spanned = [place for place in range(1, width) if groups[place] and groups[place] == groups[place - 1]]
    in_groups = {*spanned, *(place - 1 for place in spanned)}
    if not spanned or not below or len(set(filter(None, upper))) < _LEAST_GROUPS:
        return None
    # To the left of all names may stand an index, which has none.
    if not all(lower[place] for place in range(width) if place in in_groups or (groups[place] and not upper[place])):
        return None
    named = [place for place in range(width) if lower[place]]
    if not all(map(_is_name, filter(None, lower))) or any(row[n] == lower[n] for row in below for n in named):
        return None
    contrasts = sum(_is_column_of_texts([row[place] for row in below]) for place in named)
    is_clear = is_merged or len(named) < width or len(spanned) > 1 or contrasts >= _LEAST_CONTRASTS
    if not contrasts or not is_clear:
        return None
    repeated = {name for name in lower if lower.count(name) > 1}
    return [
        (f"{group} / {name}" if group and name in repeated else name) or own
        for own, group, name in zip(upper, groups, lower, strict=True)
    ]


def _groups(upper: Sequence[str]) -> list[str]:
    """Of each column the name in the upper row that stands over it: its own, or the next to the left."""
    groups = list[str]()
    for name in upper:
        groups.append(name or (groups[-1] if groups else ""))
    return groups


def _padded(row: Sequence[str], width: int) -> list[str]:
    return [*(cell.strip() for cell in row), *[""] * (width - len(row))]


def _is_name(cell: str) -> bool:
    return len(cell) <= _LONGEST_NAME and not is_text(cell) and not _ENDS_IN_STOP.search(cell)


def _is_column_of_texts(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return len(filled) > 1 and sum(map(is_text, filled)) >= _SHARE_OF_TEXTS * len(filled)


def describe_two_headers(rows: Sequence[tuple[int, Sequence[str]]], names: Sequence[str]) -> list[str]:
    """What is said of a header of two rows.

    Args:
        rows: Their numbers and cells, of as many as there are.
        names: What the columns are called.
    """
    if len(rows) < 2:
        return []
    (first, upper), (second, lower) = rows
    groups = masked(", ".join(dict.fromkeys(filter(str.strip, upper))), 0, 60)
    joined = [name for name in names if name not in lower and " / " in name]
    repeats = f"; those that it repeats are called by both ({masked(', '.join(joined), 0, 80)})" if joined else ""
    return [f"the header has two rows: row {first} groups the columns ({groups}), and row {second} names them{repeats}"]


def count_totals(rows: Sequence[Sequence[str]]) -> tuple[int, bool]:
    """How many of the last rows are totals of those above them.

    Args:
        rows: The last of a table that have anything in them.

    Returns:
        Their number, and whether they are certainly no examples: they lack what the row above them has, or hold
        numbers where it holds text.
    """
    n_totals = 0
    while n_totals < min(MOST_TOTALS, len(rows) - 1) and _is_total(rows[-1 - n_totals]):
        n_totals += 1
    if not n_totals:
        return 0, False
    above = rows[-1 - n_totals]
    return n_totals, all(_is_unlike(row, above) for row in rows[-n_totals:])


def describe_totals(numbers: Sequence[int], title: str, *, are_left_out: bool) -> str:
    """What is said of totals at the end of a table.

    Args:
        numbers: Theirs.
        title: What the first of them is called in the table.
        are_left_out: They are not read as examples.
    """
    is_one = len(numbers) == 1
    rows = f"row {numbers[0]}" if is_one else f"rows {numbers[0]} to {numbers[-1]}"
    cause = f"({_shown(title)}, with only numbers and empty cells beside it)"
    if are_left_out:
        return f"{rows} at the end of the table {'is a total' if is_one else 'are totals'} {cause} and left out."
    total, read = ("a total", "it is") if is_one else ("totals", "they are")
    return f"{rows} at the end of the table may be {total} {cause}; {read} read as any other row."


def _is_total(row: Sequence[str]) -> bool:
    first, *others = [cell.strip() for cell in row if cell.strip()] or [""]
    return bool(_TOTAL.fullmatch(first)) and all(map(_AMOUNT.fullmatch, others))


def _is_unlike(row: Sequence[str], above: Sequence[str]) -> bool:
    """Whether a total lacks what a row has, or has a number where that has none."""
    title = next(place for place, cell in enumerate(row) if cell.strip())
    return any(
        other and place != title and not (cell and _AMOUNT.fullmatch(other))
        for place, (cell, other) in enumerate(zip(_padded(row, len(above)), _padded(above, len(row)), strict=True))
    )


def _shown(cell: str) -> str:
    text = masked(cell.strip(), 0, _MOST_SHOWN)
    return f"“{text}…”" if len(cell.strip()) > _MOST_SHOWN else f"“{text}”"
