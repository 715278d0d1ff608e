"""Opening a pickled pandas table without running anybody's code.

A pickle is a program: it names any function of any module and calls it. This reader hands out the names below and
no others, compared exactly, dotted names included. They are what pandas (1.5 to 3), NumPy and PyArrow write for a
table, and none of them runs code that its arguments hold, imports a module or reads a file. Names that would take
raw bytes for objects are replaced by checked ones. A forged file may still crash compiled code of these libraries.
"""

import importlib
import io
import math
import pickle
import re
import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from retune.data.problems.problems import Finding
from retune.data.sources.blocks import SAMPLE_ROWS, Row
from retune.data.sources.bounds import check_columns
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.pickled_values import VALUE_BYTES, Room
from retune.errors import SourceError

_ALLOWED: dict[str, tuple[str, ...]] = {
    "builtins": ("complex", "frozenset", "set", "slice"),
    "collections": ("OrderedDict",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "numpy._core.multiarray": ("scalar",),
    "numpy._core.numeric": ("_frombuffer",),
    "pandas": (
        *("ArrowDtype", "BooleanDtype", "Categorical", "CategoricalDtype", "DataFrame", "DatetimeIndex"),
        *("DatetimeTZDtype", "Float32Dtype", "Float64Dtype", "Index", "Int8Dtype", "Int16Dtype", "Int32Dtype"),
        *("Int64Dtype", "MultiIndex", "NA", "RangeIndex", "Series", "StringDtype"),
    ),
    "pandas.arrays": (
        *("ArrowExtensionArray", "ArrowStringArray", "BooleanArray", "DatetimeArray", "FloatingArray"),
        *("IntegerArray", "StringArray", "TimedeltaArray"),
    ),
    "pandas._libs.arrays": ("__pyx_unpickle_NDArrayBacked",),
    "pandas._libs.internals": ("_unpickle_block",),
    "pandas._libs.missing": ("NA",),
    "pandas._libs.tslibs.nattype": ("_nat_unpickle",),
    "pandas._libs.tslibs.timedeltas": ("_timedelta_unpickle",),
    "pandas._libs.tslibs.timestamps": ("_unpickle_timestamp",),
    "pandas.core.arrays.arrow.array": ("ArrowExtensionArray",),
    "pandas.core.arrays.boolean": ("BooleanArray", "BooleanDtype"),
    "pandas.core.arrays.categorical": ("Categorical",),
    "pandas.core.arrays.datetimes": ("DatetimeArray",),
    "pandas.core.arrays.floating": ("Float32Dtype", "Float64Dtype", "FloatingArray"),
    "pandas.core.arrays.integer": ("Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype", "IntegerArray"),
    "pandas.core.arrays.string_": ("StringArray", "StringDtype"),
    "pandas.core.arrays.string_arrow": ("ArrowStringArray",),
    "pandas.core.arrays.timedeltas": ("TimedeltaArray",),
    "pandas.core.dtypes.dtypes": ("ArrowDtype", "CategoricalDtype", "DatetimeTZDtype"),
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.indexes.base": ("Index", "_new_Index"),
    "pandas.core.indexes.datetimes": ("DatetimeIndex", "_new_DatetimeIndex"),
    "pandas.core.indexes.multi": ("MultiIndex",),
    "pandas.core.indexes.range": ("RangeIndex",),
    "pandas.core.internals.managers": ("BlockManager", "SingleBlockManager"),
    "pandas.core.series": ("Series",),
    "pyarrow.lib": ("py_buffer", "type_for_alias"),
}

# Numbers, booleans, text, times and Python objects. A dtype with fields could pass raw bytes off as objects.
_PLAIN_DTYPE = re.compile(r"[<>=|]?[?bBhHiIlLqQefdFDgGOSUMm]\d*(\[[a-z]+\])?")

_NUMPY_1 = "numpy.core."  # called numpy._core since NumPy 2
_USE_PARQUET = "Save the table as Parquet where the file was made: df.to_parquet(…)."
_OF_PYTHON_2 = {"copy_reg", "__builtin__"}
_WRITE_ANEW = (
    "Write it again as Parquet with a current pandas: pd.read_pickle(…).to_parquet(…). Or, if you made this file "
    "yourself, use --trust-pickle: a pickle is a program."
)
_TRUST = "If you made this file yourself, use --trust-pickle; else save the table as Parquet: df.to_parquet(…)."
_CELLS_AT_ONCE = 100_000

# What a pickle's own instructions take that are a byte or two long, in bytes; all others take about what they hold.
_SET_BYTES = 256
_CALL_BYTES = 256


def read_pickled_rows(location: Location, *, trust: bool) -> tuple[list[str], Iterator[tuple[Row, int]]]:
    """Read a pickled `pandas.DataFrame`, or a list of dicts, of pickle protocol 3 or newer.

    Args:
        location: The file.
        trust: Let the pickle name and run whatever it wants, as `pandas.read_pickle` does.

    Returns:
        The names of the columns, of dicts the keys of the first 100; and the rows, numbered from 1, with the values as
        plain Python objects, None where one is missing, each row with its size in bytes, or about.

    Raises:
        SourceError: The pickle asks for a name that no table needs, is damaged, or holds something else.
    """
    bounds = location.bounds
    with location.open() as stream:
        content = stream.read(bounds.pickle_bytes + 1)
    if len(content) > bounds.pickle_bytes:
        raise bounds.pickle_too_large(location.name)
    try:
        value = _trusted(content) if trust else _TableUnpickler(content, location).load()
        del content
        if isinstance(value, pd.DataFrame):
            check_columns(len(value.columns), location.name)
            return [str(name) for name in value.columns], _table_rows(value, location)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to lead to
        raise _explain(error, location.name) from error
    if isinstance(value, list) and value and isinstance(value[0], dict):
        first = (item for item in value[:SAMPLE_ROWS] if isinstance(item, dict))
        return list(dict.fromkeys(str(key) for item in first for key in item)), _object_rows(value, location)
    raise SourceError(
        f"{location.name} holds {type(value).__name__}; expected a pandas DataFrame or a list of dicts.",
        hint=_USE_PARQUET,
    )


def _trusted(content: bytes) -> object:
    return pd.read_pickle(io.BytesIO(content), compression=None)  # noqa: S301  (the user said so)


def _explain(error: Exception, name: str) -> SourceError:
    if isinstance(error, SourceError):
        return error
    return SourceError(f"{name} can't be read as a pickled table: {type(error).__name__}: {error}.", hint=_USE_PARQUET)


def _table_rows(table: pd.DataFrame, location: Location) -> Iterator[tuple[Row, int]]:
    """The rows, each with its size in bytes, or about."""
    names = [str(column) for column in table.columns]
    at_once = max(1, _CELLS_AT_ONCE // max(1, len(names)))
    for start in range(0, len(table), at_once):
        part = table.iloc[start : start + at_once]
        try:
            columns = [_values(part.iloc[:, place]) for place in range(len(names))]
            for number, values in enumerate(zip(*columns, strict=True), start=start + 1):
                room = Room(location, number)
                row = {name: room.plain(value) for name, value in zip(names, values, strict=True)}
                yield Row(number, row), room.taken
        except Exception as error:  # as above: what a forged table holds shows when it is read
            raise _explain(error, location.name) from error


def _object_rows(objects: list[Any], location: Location) -> Iterator[tuple[Row, int]]:
    for number, value in enumerate(objects, start=1):
        room = Room(location, number)
        if isinstance(value, dict):
            yield Row(number, room.plain(value)), room.taken
        else:
            finding = Finding("not_json", f"expected a dict, found {type(value).__name__}.")
            yield Row(number, {}, (finding,)), room.taken


def _values(column: "pd.Series[Any]") -> list[object]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        # Looked up here, where a code out of range is an error; compiled code would trust it.
        categories = list(column.cat.categories)
        return [categories[code] if code >= 0 else None for code in column.cat.codes]
    return [value if there else None for value, there in zip(column, column.notna(), strict=True)]


class _TableUnpickler(pickle._Unpickler):  # noqa: SLF001  (pickle's own in Python: the one in C can't watch BUILD)
    dispatch = dict(pickle._Unpickler.dispatch)  # noqa: RUF012, SLF001  (of its base's type)

    def __init__(self, content: bytes, location: Location) -> None:
        super().__init__(io.BytesIO(content))
        self._name = location.name
        self._location = location
        self._size = self._taken = len(content)

    def find_class(self, module: str, name: str) -> object:
        """Answer with what is on the list; refuse all else."""
        known = module.replace(_NUMPY_1, "numpy._core.", 1) if module.startswith(_NUMPY_1) else module
        if (known, name) in _BOUNDED:
            return partial(_BOUNDED[known, name], self._size)
        if (known, name) in _CHECKED:
            return _CHECKED[known, name]
        if module in _OF_PYTHON_2:
            raise SourceError(f"{self._name} is a pickle of Python 2, or of an old protocol.", hint=_WRITE_ANEW)
        if name not in _ALLOWED.get(known, ()):
            raise SourceError(
                f"{self._name} asks for {module}.{name}, which is not part of a table and could run code; refused.",
                hint=_TRUST,
            )
        return getattr(importlib.import_module(known), name)

    def load_build(self) -> None:
        """Set an object's state, unless compiled code would take that state on trust."""
        target, state = self.stack[-2:]  # type: ignore[attr-defined]  # typeshed leaves out what pickle keeps its work in
        self._take(_weight(state))
        fault = _find_fault(target, state)
        if fault:
            raise SourceError(f"{self._name} {fault}; refused.", hint=_TRUST)
        super().load_build()  # type: ignore[misc]  # as above

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]  # typed for the base class

    def load_bytearray8(self) -> None:
        """Read bytes whose number is written before them; room for all would be made before they are read."""
        (size,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]  # as above
        self.append(bytearray(self.read(min(size, self._size))))  # type: ignore[attr-defined]  # as above

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8  # type: ignore[assignment]  # as above

    def _take(self, n_bytes: int) -> None:
        self._taken += n_bytes
        if self._taken > self._location.bounds.pickle_bytes:
            raise self._location.bounds.pickle_too_large(self._name)


def _costing(load: Any, n_bytes: int) -> Any:
    def load_and_count(unpickler: Any) -> None:
        unpickler._take(n_bytes)  # noqa: SLF001  (of the class below which this stands)
        load(unpickler)

    return load_and_count


def _weighing(load: Any) -> Any:
    """A call copies what it is given, which a pickle may name again and again in a few bytes."""

    def load_and_count(unpickler: Any) -> None:
        unpickler._take(_CALL_BYTES + _weight(unpickler.stack[-1]))  # noqa: SLF001  (as above)
        load(unpickler)
        made = unpickler.stack[-1]
        # An index of numbers that follow each other takes no room; what is made of it does.
        if isinstance(made, pd.RangeIndex) and len(made) > unpickler._size:  # noqa: SLF001  (as above)
            raise TypeError(f"unexpected index of {len(made):,} rows in a pickle of {unpickler._size:,} bytes")  # noqa: SLF001

    return load_and_count


def _weight(value: Any, depth: int = 3) -> int:
    """About how much a copy of a value takes."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    try:
        size = len(value)
    except Exception:  # noqa: BLE001  (classes have none, and half-made objects raise whatever they miss)
        return 0
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    return VALUE_BYTES * size + (sum(_weight(item, depth - 1) for item in inner) if depth else 0)


for _opcode, _bytes in (
    *((_opcode, VALUE_BYTES) for _opcode in (pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.LIST, pickle.DICT)),
    *((_opcode, VALUE_BYTES) for _opcode in (pickle.MARK, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)),
    *((_opcode, _SET_BYTES) for _opcode in (pickle.EMPTY_SET, pickle.FROZENSET)),
):
    _TableUnpickler.dispatch[_opcode[0]] = _costing(_TableUnpickler.dispatch[_opcode[0]], _bytes)
for _opcode in (pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX):
    _TableUnpickler.dispatch[_opcode[0]] = _weighing(_TableUnpickler.dispatch[_opcode[0]])


def _find_fault(target: Any, state: Any) -> str | None:
    if callable(target):
        return f"tries to change {target!r}"
    if isinstance(target, np.dtype) and not _is_numpys_own(state, target):
        return f"holds a forged {target!r}"
    if isinstance(target, np.ndarray):
        _, shape, _, _, values = state
        if isinstance(values, list) and len(values) != math.prod(shape):
            return f"holds an array of shape {shape} with {len(values)} values"
    return None


def _is_numpys_own(state: Any, dtype: np.dtype[Any]) -> bool:
    """Whether NumPy itself writes this state for the dtype, in the state's byte order and unit of time."""
    if dtype.kind in "mM":
        unit, count = state[8][1][:2]
        dtype = np.dtype(f"{dtype.kind}8[{count}{unit.decode()}]")
    own: Any = dtype.newbyteorder(state[1]).__reduce__()[2]
    # Beside the unit stands a mapping of notes: empty in older versions of NumPy, None in newer ones.
    return bool(state[:8] == own[:8] and [part[1] for part in state[8:]] == [part[1] for part in own[8:]])


class _ArrayClass:
    """Stands for `numpy.ndarray`, which a pickle only ever names: called, it would read any memory as objects."""


def _plain_dtype(spec: str, align: bool = False, copy: bool = True) -> np.dtype[Any]:
    if not isinstance(spec, str) or not _PLAIN_DTYPE.fullmatch(spec):
        raise TypeError(f"unexpected dtype {spec!r}")
    return np.dtype(spec, align=align, copy=copy)


def _empty_array(subtype: object, shape: object, typecode: object) -> np.ndarray[Any, Any]:
    if subtype is not _ArrayClass:
        raise TypeError(f"unexpected array type {subtype!r}; shape {shape!r}, type {typecode!r}")
    return np.empty(0, dtype="b")


def _bounded_bytearray(most: int, *arguments: Any) -> bytearray:
    if arguments and isinstance(arguments[0], int) and arguments[0] > most:
        raise TypeError(f"unexpected bytearray of {arguments[0]:,} bytes")
    return bytearray(*arguments)


def _bounded_arrow_array(most: int, data: Any) -> Any:
    if data[1] > most:
        raise TypeError(f"unexpected array of {data[1]:,} values in a pickle of {most:,} bytes")
    return _checked_arrow_array(data)


def _checked_arrow_array(data: Any) -> Any:
    dtype, length, null_count, offset, buffers, children, dictionary = data
    if children or dictionary is not None:
        raise TypeError(f"unexpected nested array of {dtype}")
    array = pa.Array.from_buffers(dtype, length, buffers, null_count, offset)
    array.validate(full=True)
    return array


_CHECKED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _plain_dtype,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("pandas._libs.tslibs.nattype", "__nat_unpickle"): lambda *_: pd.NaT,
}
_BOUNDED: dict[tuple[str, str], Any] = {
    ("builtins", "bytearray"): _bounded_bytearray,
    ("pyarrow.lib", "_restore_array"): _bounded_arrow_array,
}
"""Called with the size of the whole pickle first: what it makes has no more values than that has bytes."""
