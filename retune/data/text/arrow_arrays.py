"""Arrow arrays of NumPy's and Python's values, made of their bytes.

`pyarrow.array` and whatever takes Python's values would import pandas, where it is installed, to see whether they are
its own: half a second and 35 MB in each process that describes examples.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_WINDOW = 1 << 17

Number = TypeVar("Number", bound=np.generic)


def mask_array(mask: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """A mask for Arrow's `filter`."""
    bits = np.packbits(mask, bitorder="little")
    array = pa.BooleanArray.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(bits.data)])
    return cast("pa.BooleanArray", array)  # the stubs give the base class here


def text_array(texts: Sequence[str]) -> pa.StringArray:
    """Texts as `pa.string()`. UTF-8 has no lone surrogates: three replacement characters stand for each."""
    return utf8_array([_encode(text) for text in texts])


def utf8_array(encoded: Sequence[bytes]) -> pa.StringArray:
    """Texts that are UTF-8 already, which is not looked at, as `pa.string()`."""
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(offsets.astype(np.int32).data), pa.py_buffer(b"".join(encoded))
    )


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass").decode(errors="replace").encode()


def text_scalar(text: str) -> pa.StringScalar:
    """A text to compare with or to put between others."""
    return text_array([text])[0]


def index_array(indices: npt.NDArray[np.int64]) -> pa.Int64Array:
    """Indices for Arrow's `take`."""
    content = pa.py_buffer(np.ascontiguousarray(indices, np.int64).data)
    array = pa.Int64Array.from_buffers(pa.int64(), len(indices), [None, content])
    return cast("pa.Int64Array", array)  # the stubs give the base class here


def buffer_numbers(buffer: pa.Buffer | None, dtype: type[Number]) -> npt.NDArray[Number]:
    """The numbers in the memory of an array; none where it has no memory."""
    return np.frombuffer(memoryview(buffer or b""), dtype)


def text_bytes(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The memory that holds the bytes of texts, and maybe of others before and after them."""
    return buffer_numbers(texts.buffers()[2], np.uint8)


def fill_nulls(texts: pa.StringArray, text: str) -> pa.StringArray:
    """The texts, and `text` where one is null."""
    filled = pc.fill_null(texts, text_scalar(text))
    return cast("pa.StringArray", filled)  # the stubs don't say that the type stays


def as_texts(column: "pa.Array[Any]") -> pa.StringArray:
    """A column of text, of whichever of Arrow's types, as `pa.string()`."""
    return cast("pa.StringArray", column.cast(pa.string()))  # the stubs give the base class here


def different_texts(texts: pa.StringArray) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """Each different text once, and for each of the texts (no nulls) its index there."""
    encoded = texts.dictionary_encode()
    start = encoded.indices.offset
    places = buffer_numbers(encoded.indices.buffers()[1], np.int32)[start : start + len(texts)]
    # The stubs don't say that a dictionary of texts holds texts.
    return cast("pa.StringArray", encoded.dictionary), places


def listed(texts: pa.StringArray) -> list[str]:
    """Texts (no nulls) as Python has them."""
    return cast("list[str]", texts.to_pylist())  # None stands for nulls alone


def listed_bytes(texts: pa.StringArray) -> list[bytes]:
    """Texts (no nulls) as Python's bytes."""
    return cast("list[bytes]", texts.cast(pa.binary()).to_pylist())  # None stands for nulls alone


def true_places(flags: pa.BooleanArray) -> npt.NDArray[np.int64]:
    """Where a mask of Arrow's is true."""
    places = pc.indices_nonzero(flags)
    content = memoryview(places.buffers()[1] or b"")
    return np.frombuffer(content, np.uint64, len(places), places.offset * 8).astype(np.int64)


def count_byte(content: bytes | pa.Buffer, letter: int, end: int = -1) -> int:
    """How often a byte stands before `end`: three times as fast as `bytes.count`, where it stands often.

    It is counted in windows that fit into the processor's cache.
    """
    letters = np.frombuffer(memoryview(content), np.uint8, end)
    return sum(
        int(np.count_nonzero(letters[place : place + _WINDOW] == letter)) for place in range(0, len(letters), _WINDOW)
    )


def byte_lengths(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    """How many bytes each text has."""
    return np.diff(text_offsets(texts))


def text_offsets(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    """Where in the bytes of all texts (no nulls, at least one) each begins, and after them where the last one ends."""
    return buffer_numbers(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
