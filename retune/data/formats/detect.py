"""Chooses the format of a source's rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from retune.config import DataConfig, ExampleShape, SplitConfig, SplitMethod
from retune.data.example.example import Method
from retune.data.formats.build import NEEDS, FormatBuilder
from retune.data.formats.column_names import MESSAGES, check_columns, find_column, listed_columns
from retune.data.formats.late_keys import find_named_keys, named_columns
from retune.data.formats.likely_columns import unknown_columns
from retune.data.formats.numbered_turns import find_numbered_turns
from retune.data.formats.row_format import ColumnFormat, RowFormat
from retune.data.formats.split_columns import SplitColumns, split_columns_among
from retune.data.sources.blocks import Source
from retune.errors import SourceError
from retune.training_lines.keys import JsonMapping

_UNKNOWN = "unknown: none of the first lines can be read"


def choose_format(source: Source, data: DataConfig, split: SplitConfig, method: Method | None) -> RowFormat:
    """Go by what the user named, else by the columns and the first rows.

    Args:
        source: The source, opened.
        data: What the user named.
        split: Its columns are read with every row.
        method: What the examples are to train; None for whatever the format can train.

    Raises:
        SourceError: A named column is not there, or nothing fits; it says which columns there are.
    """
    find_named_keys(source, named_columns(data, split))
    rows = source.first_rows()
    builder = FormatBuilder(source, data, _split_columns(source, data, split, rows), rows)
    row_format = _named(builder, method) or _detected(builder, method)
    row_format.known = frozenset(source.all_columns)
    check_columns(source, (*row_format.needed, *row_format.split.wanted), builder.flags)
    if method is not None and row_format.method != method:
        raise _other_method(builder, method)
    if not data.ignore_splits and row_format.split.declared_split is None:
        row_format.watched = tuple(
            name for name in split_columns_among(source.all_columns) if not row_format.uses(name)
        )
    return row_format


def _split_columns(source: Source, data: DataConfig, split: SplitConfig, rows: Sequence[JsonMapping]) -> SplitColumns:
    """The columns that the split goes by: those that the settings name, and one that says train, validation or test."""
    named = SplitColumns.of(split)
    if split.method is SplitMethod.STABLE:
        # What is said later in a conversation must not move it to another side.
        named = replace(named, group=next(iter(source.grouped_by), None))
    if data.ignore_splits:
        return named
    used = {data.user_column, data.assistant_column, data.messages_column, *named.names}
    return named.with_found(source.all_columns, rows, {name for name in used if name is not None})


def _other_method(builder: FormatBuilder, wanted: Method) -> SourceError:
    """The error for a method that nothing in the source fits, with the methods that something does."""
    row_format = _named(builder, None) or _detected(builder, None)
    methods = [row_format.method]
    if row_format.method == "supervised" and builder.data.shape is ExampleShape.AUTO:
        # Whatever has a question can be an item for a grader.
        methods.append("reinforcement")
    return SourceError(
        f"{builder.source.name} holds {row_format.title}: that can train the method {' or '.join(methods)}, not "
        f"{wanted}. "
        f"The method {wanted} needs {NEEDS[wanted]}. Its columns are: {listed_columns(builder.source.columns)}.",
        hint=f"`retune check --method {methods[0]}` checks it for that. If it is meant otherwise, name the columns or "
        "--shape, or add what is missing.",
    )


def _named(builder: FormatBuilder, method: Method | None) -> ColumnFormat | None:
    """The format that the user named, or that the named columns mean; None if nothing is named."""
    kind = builder.data.shape
    if kind is ExampleShape.AUTO:
        if builder.names_columns:
            kind = ExampleShape.COLUMNS
        elif builder.data.messages_column != MESSAGES:
            return _conversations_or_items(builder, method)
        else:
            return None
    if builder.names_columns and kind in (ExampleShape.PREFERENCE, ExampleShape.MESSAGES):
        raise SourceError(
            f"The shape {kind} takes no user and assistant columns.", hint="Leave out either these or the shape."
        )
    if kind is ExampleShape.PREFERENCE:
        return builder.preferences()
    if kind is ExampleShape.REINFORCEMENT or method == "reinforcement":
        return builder.reinforcement()
    if kind is ExampleShape.MESSAGES:
        return builder.conversations()
    return builder.completions() if kind is ExampleShape.COMPLETION else builder.columns()


class _Candidate(NamedTuple):
    """A format that the columns allow, and the columns that say so."""

    method: Method
    columns: tuple[str, ...]
    build: Callable[[], ColumnFormat]


def _detected(builder: FormatBuilder, method: Method | None) -> ColumnFormat:
    """The format that most of the first rows fit."""
    if not builder.source.columns:
        # Not one of the first lines can be read; the checks say so of each.
        row_format = builder.conversations()
        return replace(row_format, title=_UNKNOWN, method=method or row_format.method)
    if method == "reinforcement":
        return builder.reinforcement()
    candidates = list(_candidates(builder, method))
    if not candidates:
        raise builder.lacks(method) if method == "dpo" else unknown_columns(builder.source, builder.rows)
    fitting = [candidate for candidate in candidates if method in (None, candidate.method)] or candidates
    best = max(fitting, key=lambda candidate: _count_filled(builder, candidate.columns))
    return best.build()


def _candidates(builder: FormatBuilder, method: Method | None) -> Iterator[_Candidate]:
    """Every format that the names of the columns allow, the most telling first."""
    columns = builder.source.columns
    if builder.preference is not None:
        yield _Candidate("dpo", builder.preference.columns, builder.preferences)
    if builder.log is not None:
        request, answer = builder.log
        yield _Candidate("supervised", (request, answer), lambda: builder.logs(request, answer))
    if builder.conversation_column is not None:
        yield _Candidate("supervised", (builder.conversation_column,), lambda: _conversations_or_items(builder, method))
    prompt, completion = find_column(columns, "prompt"), find_column(columns, "completion")
    if prompt is not None and completion is not None:
        yield _Candidate("supervised", (prompt, completion), builder.completions)
    if builder.pair is not None:
        yield _Candidate("supervised", (*builder.pair.user.columns, *builder.pair.assistant.columns), builder.columns)
    elif builder.conversation_column is None and (turns := find_numbered_turns(columns)) is not None:
        yield _Candidate("supervised", turns[0], lambda: builder.numbered_turns(turns))
    elif builder.conversation_column is None and builder.any_conversations is not None:
        yield _Candidate("supervised", (builder.any_conversations,), builder.conversations)


def _conversations_or_items(builder: FormatBuilder, method: Method | None) -> ColumnFormat:
    is_item = method == "reinforcement" or (method is None and builder.are_items())
    return builder.reinforcement() if is_item else builder.conversations()


def _count_filled(builder: FormatBuilder, columns: tuple[str, ...]) -> int:
    """How many of the first rows have something in all of these columns."""
    return sum(all(values.get(column) not in (None, "") for column in columns) for values in builder.rows)
