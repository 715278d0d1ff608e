"""Batches of a table on their way into blocks: their size in memory, and small slices of them."""

import json
from collections.abc import Iterator
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from retune.data.sources.blocks import BLOCK_BYTES
from retune.data.sources.files.locations import Location
from retune.data.text.arrow_arrays import as_texts

BYTES_A_VALUE = 8
"""Of a number, a text's length or a place in a list."""

MOST_BATCH_BYTES = 128 << 20
"""So much may be decoded at once."""

MOST_ROWS_AT_ONCE = 8
"""So many of the largest rows that are allowed may be unpacked at once, where that can't be done in parts."""

_LISTS = (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray, pa.ListViewArray, pa.LargeListViewArray)


def slices(batch: pa.RecordBatch, location: Location) -> Iterator[pa.RecordBatch]:
    """Slices of about `BLOCK_BYTES`, or of one row.

    Raises:
        SourceError: A row is larger than the bounds allow.
    """
    if len(batch) <= 1 or weight(batch) <= BLOCK_BYTES:
        if len(batch) == 1 and weight(batch) > location.bounds.row_bytes:
            raise location.bounds.row_too_large(f"{location.name}: a row")
        yield batch
        return
    n_slices = max(2, min(len(batch), weight(batch) // BLOCK_BYTES))
    length = -(-len(batch) // n_slices)
    for start in range(0, len(batch), length):
        yield from slices(batch.slice(start, length), location)


def decoded(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """Columns of categories and of views are columns of text, as far as examples are concerned."""
    if pa.types.is_string_view(column.type):
        return as_texts(column)
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def weight(values: "pa.RecordBatch | pa.Array[Any]") -> int:
    """About how many bytes values take; elements of lists as Python has them, which Arrow may have in a bit or none."""
    if isinstance(values, pa.RecordBatch):
        return sum(map(weight, values.columns))
    if isinstance(values, pa.StructArray):
        return sum(map(weight, values.flatten()))
    if isinstance(values, _LISTS):
        inner = values.flatten()
        return BYTES_A_VALUE * (len(values) + len(inner)) + weight(inner)
    return int(values.nbytes)


class LabelNames:
    """The names of labels that Hugging Face's `ClassLabel` columns hold as numbers; they stand in the table's metadata.

    Args:
        names: By the column's name.
    """

    def __init__(self, names: dict[str, list[str]]) -> None:
        self._names = names

    @classmethod
    def of(cls, schema: pa.Schema) -> Self:
        """Those that a table's metadata has."""
        try:
            features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
            labels = {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            labels = {}
        return cls(
            {
                name: names
                for name, names in labels.items()
                if isinstance(names, list)
                and all(isinstance(item, str) for item in names)
                and name in schema.names
                and pa.types.is_integer(schema.field(name).type)
            }
        )

    def notes(self) -> list[str]:
        """What was done, for people."""
        return [
            f'the numbers in the column "{name}" are read as the labels that they stand for' for name in self._names
        ]

    def named(self, column: str, values: "pa.Array[Any]") -> "pa.Array[Any]":
        """The column's values with the names in their place; -1, which stands for a missing label, is null.

        Raises:
            pa.ArrowException: A number stands for no label.
        """
        names = self._names.get(column)
        if names is None:
            return values
        known = pc.if_else(pc.equal(values, pa.scalar(-1)), pa.scalar(None, values.type), values)
        return pa.array(names, pa.string()).take(known)
