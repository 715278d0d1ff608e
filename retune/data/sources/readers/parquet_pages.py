"""What the pages of a Parquet file will take, from their headers, before any of them is unpacked.

The file's own summary says it too, and a forged one says something else; what is unpacked are the pages.

Headers are Thrift's compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
and https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_HEAD_BYTES, _MOST_HEADER_BYTES = 1 << 10, 16 << 20
_DICTIONARY_PAGE = 2
_LENGTH_BYTES = 4
_BYTES_A_VALUE = 8  # of a number, a text's length or a place in a list


@dataclass(slots=True)
class ColumnPages:
    """The pages of one column in one row group.

    Attributes:
        n_values: How many values they hold; of lists, their elements.
        unpacked_bytes: What all of them unpack to.
        largest_bytes: What the largest one unpacks to.
        dictionary: Where the page of the dictionary lies, packed, and the bytes that it unpacks to; None without one.
    """

    n_values: int = 0
    unpacked_bytes: int = 0
    largest_bytes: int = 0
    dictionary: tuple[int, int, int] | None = None

    @property
    def decoded_bytes(self) -> int:
        """At least so much is in memory once all are decoded."""
        return max(self.unpacked_bytes, self.n_values * _BYTES_A_VALUE)


def read_pages(stream: BinaryIO, column: pq.ColumnChunkMetaData) -> ColumnPages:
    """Read the headers of a column's pages.

    Raises:
        ValueError: One is damaged.
    """
    pages = ColumnPages()
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    end = start + column.total_compressed_size
    while start < end:
        header, size = _read_header(stream, start)
        kind, unpacked, packed = header.get(1, 0), header.get(2, 0), header.get(3, 0)
        if packed < 0 or unpacked < 0:
            raise ValueError(f"a page at {start:,} has a size below zero")
        if kind == _DICTIONARY_PAGE:
            pages.dictionary = (start + size, packed, unpacked)
        else:
            pages.n_values += next((header[part].get(1, 0) for part in (5, 8) if part in header), 0)
        pages.unpacked_bytes += unpacked
        pages.largest_bytes = max(pages.largest_bytes, unpacked)
        start += size + packed
    return pages


def longest_text(stream: BinaryIO, column: pq.ColumnChunkMetaData, pages: ColumnPages) -> int:
    """The length in bytes of the longest text in the dictionary.

    Raises:
        ValueError: It is damaged.
    """
    assert pages.dictionary is not None  # noqa: S101  (the caller looked)
    place, packed, unpacked = pages.dictionary
    stream.seek(place)
    content: Any = stream.read(packed)
    if column.compression != "UNCOMPRESSED":
        name = _CODECS.get(column.compression, column.compression.lower())
        codec = pa.Codec(name)  # type: ignore[arg-type]  # it refuses names that it doesn't know
        content = codec.decompress(content, unpacked, asbytes=True)
    longest = at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + _LENGTH_BYTES], "little")
        longest = max(longest, length)
        at += _LENGTH_BYTES + length
    return longest


_CODECS = {"LZ4": "lz4_raw"}


def _read_header(stream: BinaryIO, start: int) -> tuple[dict[int, Any], int]:
    size = _HEAD_BYTES
    while True:
        stream.seek(start)
        content = stream.read(size)
        try:
            return _struct(content, 0)
        except IndexError:
            # Statistics may hold whole texts.
            if len(content) < size or size >= _MOST_HEADER_BYTES:
                raise ValueError(f"the header of a page at {start:,} is damaged") from None
            size *= 16


def _struct(content: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The whole numbers and structs in a struct by their fields, and where it ends."""
    fields: dict[int, Any] = {}
    field = 0
    while kind := content[at]:
        at += 1
        if kind >> 4:
            field += kind >> 4
        else:
            field, at = _number(content, at)
        kind &= 15
        if kind <= 2:  # true and false
            continue
        if kind in (4, 5, 6):  # whole numbers
            fields[field], at = _number(content, at)
        elif kind == 12:
            fields[field], at = _struct(content, at)
        elif kind == 8:
            length, at = _varint(content, at)
            at += length
        else:
            raise ValueError(f"a page's header has a field of the unexpected kind {kind}")
    return fields, at + 1


def _number(content: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
