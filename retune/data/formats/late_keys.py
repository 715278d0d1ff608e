"""Keys that only later rows of a source have, so that its first rows don't show them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from retune.config import DataConfig, SplitConfig
from retune.data.formats.column_names import MESSAGES, find_root
from retune.data.formats.split_columns import says_split
from retune.data.formats.templates import names_in_system, names_in_template
from retune.data.sources.blocks import Block, Source
from retune.training_lines.keys import JsonMapping

_MOST_ROWS_OF_A_KEY = 3
_MOST_KEYS = 1000
# A block is a few megabytes or one larger row: more of them would be kept for as long as a source is.
_MOST_BLOCKS = 16


class LateRow(NamedTuple):
    """A row that has keys, or says a split, as none of the first rows does.

    Attributes:
        values: The row.
        keys: What is new in it.
    """

    values: JsonMapping
    keys: Sequence[str]


def some_of_each(rows: Iterable[tuple[JsonMapping, Sequence[str]]]) -> list[LateRow]:
    """Of rows with their new keys the first few of each key."""
    counts: Counter[str] = Counter()
    kept = []
    for values, keys in rows:
        if any(counts[key] < _MOST_ROWS_OF_A_KEY for key in keys):
            counts.update(keys)
            kept.append(LateRow(values, keys))
    return kept


class LateRows:
    """Collects late rows of a whole source: few of each key."""

    def __init__(self) -> None:
        self._rows: list[LateRow] = []
        self._counts: Counter[str] = Counter()
        self._n_blocks = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> list[str]:
        """What is new in them, each once."""
        return list(self._counts)

    def add(self, rows: Iterable[LateRow]) -> None:
        """Take what is new of one block's rows."""
        if self._n_blocks == _MOST_BLOCKS or len(self._counts) >= _MOST_KEYS:
            return
        kept = [row for row in rows if any(self._counts[key] < _MOST_ROWS_OF_A_KEY for key in row.keys)]
        for row in kept:
            self._counts.update(row.keys)
        self._rows += kept
        self._n_blocks += bool(kept)

    def add_to(self, source: Source) -> None:
        """Let a source know of them."""
        known = {column for file in source.files for column in file.columns}
        source.late_keys = tuple(dict.fromkeys([*source.late_keys, *(key for key in self.keys if key not in known)]))
        source.late_rows = [*source.late_rows, *(row.values for row in self._rows)]


def rows_that_say_splits(block: Block, columns: Sequence[str]) -> list[LateRow]:
    """For each of these columns the first row of a block that names a split there, if there is one.

    Args:
        block: The rows.
        columns: Those that the block's file has.
    """
    texts = block.text_columns(columns)
    if texts is not None and not any(
        says_split([{"cell": cell} for cell in column.unique().to_pylist()], "cell") for column in texts.columns
    ):
        return []
    found: dict[str, JsonMapping] = {}

    def take(_number: int, values: Any) -> bool:
        for column in columns if isinstance(values, dict) else ():
            if column not in found and says_split([values], column):
                found[column] = values
        return True

    block.rows_left(take)
    return [LateRow(row, (column,)) for column, row in found.items()]


def named_columns(data: DataConfig, split: SplitConfig) -> list[str]:
    """The columns, and fields of columns, that the settings name, by themselves or in templates."""
    messages = None if data.messages_column == MESSAGES else data.messages_column
    named = (data.user_column, data.assistant_column, messages, split.column, split.stratify_column)
    return [
        *(name for name in named if name is not None),
        *names_in_template(data.user_template),
        *names_in_template(data.assistant_template),
        *names_in_system(data.system),
    ]


def find_named_keys(source: Source, names: Iterable[str]) -> None:
    """Look for columns that the settings name in the later rows of JSON, where the first rows lack them.

    Only then is the source read for it, up to the row that has the last of them.

    Args:
        source: The source; it learns of what is found.
        names: The columns, or fields of them.

    Raises:
        SourceError: The source can't be read.
    """
    known = set(source.all_columns)
    missing = {name for name in names if find_root(name, known) not in known}
    if not missing or not any(source.has_any_keys(file) for file in source.files):
        return
    late = LateRows()
    for block in source.blocks():
        if source.has_any_keys(source.files[block.file]):
            late.add(some_of_each(_rows_with(block, missing - set(late.keys), known)))
            if all(find_root(name, late.keys) in late.keys for name in missing):
                break
    late.add_to(source)


def _rows_with(block: Block, names: Collection[str], known: Collection[str]) -> list[LateRow]:
    """The rows of a block that have the keys which names ask for, with these keys."""
    found: list[LateRow] = []

    def take(_number: int, values: Any) -> bool:
        others = values.keys() - known if isinstance(values, dict) else ()
        if keys := [key for key in others if _is_asked_for(key, names)]:
            found.append(LateRow(values, keys))
        return True

    block.rows_left(take)
    return found


def _is_asked_for(key: str, names: Iterable[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for name in names)
