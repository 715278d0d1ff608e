"""Finding columns by their names, and errors that say which columns there are."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from retune.data.formats.fields import find_root
from retune.data.sources.blocks import Source
from retune.errors import SourceError

MESSAGES = "messages"
_MOST_COLUMNS_SHOWN = 30


def check_columns(source: Source, names: Iterable[str], flags: Mapping[str, str]) -> None:
    """Do nothing if every file of a source has each of the columns once.

    Args:
        source: The source.
        names: The columns that are read.
        flags: Of columns that the user named, the flag that names them: "--user-column".

    Raises:
        SourceError: A column is missing or there twice; it names the file, its columns and the closest name.
    """
    wanted = list(dict.fromkeys(names))
    # A file none of whose first lines can be read has no columns; the checks name its lines one by one.
    for file in [file for file in source.files if file.columns]:
        where = source.name if len(source.files) == 1 else file.name
        for field in wanted:
            columns = source.columns_of(file)
            name = find_root(field, columns)
            if name not in columns:
                error = no_column(where, name, columns)
                raise error if file is source.files[0] else _unlike_the_first(error, name, source, flags)
            if file.columns.count(name) > 1:
                raise SourceError(f'{where} has more than one column "{name}".', hint="Give each its own name.")


def _unlike_the_first(error: SourceError, name: str, source: Source, flags: Mapping[str, str]) -> SourceError:
    """The error for a file of many, with what asks for the column, and what to do about it."""
    asked = f"{flags[name]} names it" if name in flags else "the names of the columns there say what is read"
    return SourceError(
        f"{error.message} {source.files[0].name} has it, and {asked}.",
        hint=f"{f'{error.hint} ' if error.hint else ''}Give all files the same columns, or leave this one out: a "
        "pattern in quotes names some files of a folder.",
    )


def near_key(name: str, keys: Iterable[str]) -> str | None:
    """The key that most likely is this one misspelt; None if there is none."""
    by_lower_case = {key.lower(): key for key in keys}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[near[0]] if near else None


def no_column(where: str, name: str, columns: Sequence[str]) -> SourceError:
    """The error for a column that is not there, with the closest name."""
    by_lower_case = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f'Did you mean "{by_lower_case[near[0]]}"?' if near else None
    return SourceError(f'{where} has no column "{name}". Its columns are: {listed(columns)}.', hint=hint)


def listed(columns: Sequence[str]) -> str:
    """Names of columns for a message, the first 30 of them."""
    shown = ", ".join(columns[:_MOST_COLUMNS_SHOWN])
    more = len(columns) - _MOST_COLUMNS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "(none)"


def find_column(columns: Sequence[str], name: str) -> str | None:
    """The column of that name, whatever its case; None if there is none, or several."""
    found = [column for column in columns if column.strip().lower() == name]
    return found[0] if len(found) == 1 else None
