import gzip
import os
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from retune.config import DataConfig, SourceFormat
from retune.data.sources.files.locations import find_files
from retune.data.sources.open import open_source
from retune.data.sources.readers.safe_unpickler import read_pickled_rows
from retune.errors import SourceError

PANDAS_2 = Path(__file__).parents[2] / "golden" / "pandas-2.2.pkl"
"""Written by pandas 2.2.3 with NumPy 1.26, which call their insides by other names."""


class Calls:
    """Pickles as a call of `function` with `arguments`, which the reader would make."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def read_pickled_columns(path: Path, trust: bool = False) -> list[Any]:
    [location] = find_files(str(path), SourceFormat.PICKLE)
    names, rows = read_pickled_rows(location, trust=trust)
    values = [list(row.values.values()) for row, _ in rows]
    return [(name, [row[place] for row in values]) for place, name in enumerate(names)]


def write(path: Path, value: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def named(module: str, name: str) -> bytes:
    """A pickle that does nothing but ask for a name, the way protocol 4 does."""
    module_code, name_code = (pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode() for text in (module, name))
    return pickle.PROTO + b"\x04" + module_code + name_code + pickle.STACK_GLOBAL + pickle.STOP


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_wants_to_run_a_command_is_refused_and_nothing_runs(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    path = write(tmp_path / "t.pkl", Calls(os.system, f"touch {trace}"), protocol)

    with pytest.raises(SourceError, match=r"asks for posix\.system, .* could run code; refused.*--trust-pickle"):
        open_source(DataConfig(source=str(path)))
    assert not trace.exists()

    pickle.loads(path.read_bytes())  # noqa: S301  (this very test wrote it)
    assert trace.exists(), "the pickle is harmless, so this test proves nothing"


def test_a_command_inside_a_real_table_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = write(tmp_path / "t.pkl", pd.DataFrame({"text": ["a", Calls(os.system, f"touch {trace}")]}))
    with pytest.raises(SourceError, match=r"posix\.system"):
        read_pickled_columns(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("builtins", "open"),
        ("builtins", "type"),
        ("importlib", "import_module"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("subprocess", "Popen"),
        ("codecs", "lookup"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "vectorize"),
        ("numpy.testing", "rundocs"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.f2py", "compile"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy._core.records", "recarray"),
        ("pandas", "eval"),
        ("pandas", "read_pickle"),
        ("pandas", "DataFrame.query"),
        ("pandas", "io.common.os.system"),
        ("pandas.core.computation.eval", "eval"),
        ("pandas.core.frame", "DataFrame.eval"),
        ("pandas.io.common", "os.system"),
        ("pyarrow.lib", "foreign_buffer"),
        ("pyarrow", "OSFile"),
        ("retune.files", "write_bytes"),
    ],
)
def test_only_the_names_of_a_table_are_given_out(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "t.pkl"
    path.write_bytes(named(module, name))
    with pytest.raises(SourceError, match=re.escape(f"asks for {module}.{name}, ")):
        read_pickled_columns(path)


def test_a_class_can_not_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    change = (None, {"to_csv": "mine"})
    state = pickle.dumps(change, protocol=4)[2:-1]
    path.write_bytes(named("pandas", "DataFrame")[:-1] + state + pickle.BUILD + pickle.STOP)
    with pytest.raises(SourceError, match=r"tries to change .*DataFrame.*; refused"):
        read_pickled_columns(path)
    assert callable(pd.DataFrame.to_csv)


@pytest.mark.parametrize(
    "forged",
    [
        Calls(np.ndarray, (1,), np.dtype("O"), bytearray(8)),
        Calls(np.dtype, [("a", "O")]),
        Calls(np.dtype, "V8"),
        np.zeros(2, dtype=[("a", "i4")]),
        np.rec.array([(1,)], dtype=[("a", "i4")]),
    ],
    ids=["array over raw memory", "object fields", "void", "structured array", "record array"],
)
def test_raw_memory_is_not_taken_for_objects(tmp_path: Path, forged: Any) -> None:
    with pytest.raises(SourceError):
        read_pickled_columns(write(tmp_path / "t.pkl", forged))


def test_a_dtype_can_not_be_forged_through_its_state(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    dtype = pickle.dumps(np.dtype("S8"), protocol=4)
    [build] = [place for code, _, place in pickletools.genops(dtype) if code.name == "BUILD"]
    state = pickle.dumps((3, "|", None, ("a",), {"a": ("O", 0)}, 8, 1, 0), protocol=4)[2:-1]
    path.write_bytes(dtype[:build] + pickle.POP + state + pickle.BUILD + pickle.STOP)
    with pytest.raises(SourceError, match=r"holds a forged dtype.*; refused"):
        read_pickled_columns(path)


def test_forged_arrow_offsets_are_found(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": pd.array(["abcd", "efgh"], dtype="string[pyarrow]")})
    content = pickle.dumps(table)
    offsets = np.array([0, 4, 8], dtype="int64").tobytes()
    assert offsets in content
    path = tmp_path / "t.pkl"
    path.write_bytes(content.replace(offsets, np.array([0, 4, 1 << 40], dtype="int64").tobytes()))
    with pytest.raises(SourceError, match=r"can't be read as a pickled table: ArrowInvalid"):
        read_pickled_columns(path)


def test_forged_categories_are_found(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    table = pd.DataFrame({"c": pd.Categorical(["a", "b", "b", "a", "b"])})
    content = pickle.dumps(table)
    assert bytes([0, 1, 1, 0, 1]) in content
    path.write_bytes(content.replace(bytes([0, 1, 1, 0, 1]), bytes([0, 1, 99, 0, 1])))
    with pytest.raises(SourceError, match="IndexError"):
        read_pickled_columns(path)


@pytest.mark.parametrize("content", [b"text,category\n", b"\x80\x04.", b"\x1f\x8b"], ids=repr)
def test_invalid_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.pkl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="can't be read as a pickled table: "):
        read_pickled_columns(path)


def test_every_way_to_cut_a_pickle_off_is_explained(tmp_path: Path) -> None:
    content = pickle.dumps(pd.DataFrame({"text": ["a", "b"], "n": [1.0, None]}))
    for length in range(1, len(content), 7):
        path = tmp_path / "t.pkl"
        path.write_bytes(content[:length])
        with pytest.raises(SourceError):
            read_pickled_columns(path)


@pytest.mark.parametrize("value", [[], ["a"], {"text": ["a"]}, pd.Series(["a"]), None], ids=repr)
@pytest.mark.parametrize("trust", [False, True])
def test_pickle_of_another_type_is_refused(tmp_path: Path, value: Any, trust: bool) -> None:
    name = type(value).__name__
    with pytest.raises(SourceError, match=rf"holds {name}; expected a pandas DataFrame or a list of dicts\..*Parquet"):
        read_pickled_columns(write(tmp_path / "t.pkl", value), trust)


@pytest.mark.parametrize("trust", [False, True])
def test_a_list_of_dicts_is_read(tmp_path: Path, trust: bool) -> None:
    value = [{"messages": [{"role": "user"}], "n": np.int64(1)}, "a", {"n": None, "label": "b"}]
    [location] = find_files(str(write(tmp_path / "t.pkl", value)), SourceFormat.PICKLE)
    columns, rows = read_pickled_rows(location, trust=trust)
    first, second, third = (row for row, _ in rows)
    assert columns == ["messages", "n", "label"]
    assert (first.number, first.values) == (1, {"messages": [{"role": "user"}], "n": 1})
    assert (second.number, second.values, second.findings[0].message) == (2, {}, "expected a dict, found str.")
    assert (third.number, third.values) == (3, {"n": None, "label": "b"})


def test_a_trusted_pickle_may_run_what_it_wants(tmp_path: Path) -> None:
    path = write(tmp_path / "t.pkl", Calls(pd.DataFrame.from_records, [("a", 1)], None, None, ["text", "n"]))
    with pytest.raises(SourceError, match=r"refused.*--trust-pickle"):
        read_pickled_columns(path)
    assert read_pickled_columns(path, trust=True) == [("text", ["a"]), ("n", [1])]


def test_a_trusted_pickle_that_is_damaged_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    path.write_bytes(pickle.dumps(pd.DataFrame({"text": ["a"]}))[:-20])
    with pytest.raises(SourceError, match="can't be read as a pickled table: "):
        read_pickled_columns(path, trust=True)


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: pa.compress(content, "zstd", asbytes=True)])
def test_packed_pickles_are_read(tmp_path: Path, pack: Callable[..., Any]) -> None:
    path = tmp_path / "t.pkl.gz"
    path.write_bytes(pack(pickle.dumps(pd.DataFrame({"text": ["a"]}))))
    assert read_pickled_columns(path) == [("text", ["a"])]


def test_rows_are_numbered_through_a_long_table(tmp_path: Path) -> None:
    [location] = find_files(str(write(tmp_path / "t.pkl", pd.DataFrame({"n": range(25_000)}))), SourceFormat.PICKLE)
    _, rows = read_pickled_rows(location, trust=False)
    assert all(row.number == row.values["n"] + 1 for row, _ in rows)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_tables_of_many_types_are_read(tmp_path: Path, protocol: int) -> None:
    columns = {
        "str": ["a", None],
        "object": pd.Series(["a", {"b": np.array([1, 2])}], dtype=object),
        "int": [1, 2],
        "float": [1.5, float("nan")],
        "bool": [True, False],
        "Int64": pd.array([1, None], dtype="Int64"),
        "string": pd.array(["a", None], dtype="string"),
        "pyarrow": pd.array(["a", None], dtype="string[pyarrow]"),
        "category": pd.Categorical(["a", None]),
        "datetime": pd.Series(pd.to_datetime(["2026-01-01", "NaT"])),
        "utc": pd.Series(pd.to_datetime(["2026-01-01", "NaT"], utc=True)),
        "timedelta": pd.to_timedelta([1, None], unit="s"),
    }
    path = write(tmp_path / "t.pkl", pd.DataFrame(columns)[lambda table: table["int"] > 0], protocol)
    assert dict(read_pickled_columns(path)) == {
        "str": ["a", None],
        "object": ["a", {"b": [1, 2]}],
        "int": [1, 2],
        "float": [1.5, None],
        "bool": [True, False],
        "Int64": [1, None],
        "string": ["a", None],
        "pyarrow": ["a", None],
        "category": ["a", None],
        "datetime": [pd.Timestamp("2026-01-01"), None],
        "utc": [pd.Timestamp("2026-01-01", tz="UTC"), None],
        "timedelta": [pd.Timedelta(seconds=1), None],
    }


@pytest.mark.parametrize("table", [pd.DataFrame({"text": []}), pd.concat([pd.DataFrame({"text": ["a"]})] * 3)])
def test_empty_and_joined_tables_are_read(tmp_path: Path, table: pd.DataFrame) -> None:
    path = write(tmp_path / "t.pkl", table)
    assert read_pickled_columns(path) == [("text", table["text"].tolist())]


def test_tables_of_pandas_2_are_read() -> None:
    assert read_pickled_columns(PANDAS_2) == [
        ("text", ["Where is my card?", "カードはどこですか？"]),
        ("category", ["card_arrival", "カード"]),
        ("n", [1, None]),
    ]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_an_old_protocol_is_refused_with_the_ways_to_read_it(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "t.pkl"
    path.write_bytes(pickle.dumps(pd.DataFrame({"a": ["x"]}), protocol=protocol))
    [location] = find_files(str(path), SourceFormat.PICKLE)
    with pytest.raises(SourceError, match=r"Python 2, or of an old protocol.*to_parquet.*--trust-pickle"):
        read_pickled_rows(location, trust=False)
    assert read_pickled_rows(location, trust=True)[0] == ["a"]
