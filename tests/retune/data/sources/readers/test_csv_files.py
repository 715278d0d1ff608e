"""CSV: both readers give the same rows, and every odd row says what is odd."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retune.config import SourceFormat
from retune.data.sources.blocks import ArrowBlock, Row, RowsBlock
from retune.data.sources.bounds import Bounds
from retune.data.sources.files.byte_stream import ByteStream
from retune.data.sources.files.locations import find_files
from retune.data.sources.readers.csv_files import CsvReader
from retune.data.sources.readers.csv_rows import CsvRows
from retune.errors import SourceError

CELLS = st.text(st.sampled_from('ab,;\t"\n\r é\ufeff\u2028\x00'), max_size=6)
ODD_CSV = st.binary(max_size=60) | st.text(st.sampled_from('ab,,"""\n\n\r é\ufeff'), max_size=80).map(str.encode)


def write(directory: Path, content: bytes | str, name: str = "t.csv") -> Path:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def open_csv(path: Path, **options: Any) -> CsvReader:
    [location] = find_files(str(path), SourceFormat.AUTO)
    return CsvReader(location, SourceFormat.TSV if path.suffix == ".tsv" else SourceFormat.CSV, **options)


def read(path: Path, **options: Any) -> list[Row]:
    return [row for block in open_csv(path, **options).blocks(0) for row in block.rows()]


def read_strictly(path: Path) -> list[Row]:
    """With the strict reader alone."""
    [location] = find_files(str(path), SourceFormat.CSV)
    with ByteStream(location, "CSV") as stream:
        rows = CsvRows(stream, str(path), Bounds(), None)
        columns = open_csv(path).columns
        rows.read_header()
        return list(rows.read(columns))


def outcome(reading: Callable[[], list[Row]]) -> list[Row] | str:
    try:
        return reading()
    except SourceError as error:
        return str(error)


@settings(deadline=None, max_examples=300)
@given(ODD_CSV, st.integers(1, 40))
@example(b'a,b\n"c""d",e\n\n,\n"f\r\ng",h\n"i" j,k\nl,m', 12)
@example(b'a,b\r\n"c,d\r\ne,f', 4)
@example(b"a\n\n\xef\xbb\xbfb\n\xef\xbb\xbfc\n", 2)
@example(b"a,b\rc,d\r\r\n\ne,f", 3)
@example(b'a,b\nx"y,z\n"p"",q\n', 5)
@example(b'a\r"a"', 4)
@example(b"a\nb\na", 4)
@example(b'"a\nb",c\nd,e\n"a\nb",c\n', 40)
@example(b'a,b\n"c\n\xff\r\n""d""\ne\r\n",f" \n', 4)
def test_both_readers_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, block_bytes: int
) -> None:
    path = write(tmp_path_factory.mktemp("csv"), content or b"\n")
    strictly = outcome(lambda: read_strictly(path))
    assert outcome(lambda: read(path, block_bytes=block_bytes)) == strictly
    assert outcome(lambda: read(path)) == strictly


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([",", ";", "\t"]),
    st.integers(1, 60),
)
def test_what_the_standard_library_writes_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    line_end: str,
    delimiter: str,
    block_bytes: int,
) -> None:
    text = io.StringIO()
    # Without QUOTE_ALL it would leave line ends other than its own unquoted.
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("question", "answer"), *rows])
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue())
    kept = [(number, row) for number, row in enumerate(rows, start=2) if any(cell.strip() for cell in row)]
    reader = open_csv(path, block_bytes=block_bytes)
    blocks = list(reader.blocks(0))
    found = [(row.number, (row.values["question"], row.values["answer"])) for block in blocks for row in block.rows()]
    assert found == kept
    assert sum(block.source_bytes for block in blocks) == path.stat().st_size


@pytest.mark.parametrize("block_bytes", [20, 40, 60, 80, 1000])
def test_a_total_is_left_out_wherever_blocks_end(tmp_path: Path, block_bytes: int) -> None:
    rows = "".join(f"Where is order {number}?,On its way\n" for number in range(4))
    path = write(tmp_path, f"question,answer\n{rows}\nTotal,\nAverage,\n")
    reader = open_csv(path, block_bytes=block_bytes)
    blocks = list(reader.blocks(0))
    assert [row.number for block in blocks for row in block.rows()] == [2, 3, 4, 5]
    assert [note.kind for note in reader.notes.totals] == ["total_row"]
    assert sum(block.source_bytes for block in blocks) == path.stat().st_size


def test_csv_cells_stay_text(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,category\nNA,null\n007,1.50\n true ,\n"a, ""b""\nc",None\n')
    assert [tuple(row.values.values()) for row in read(path)] == [
        ("NA", "null"),
        ("007", "1.50"),
        (" true ", ""),
        ('a, "b"\nc', "None"),
    ]


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    path = write(tmp_path, '\r\ntext,category\r\n"a\r\nb",c\r\n\r\n,\r\nd,e\r\n')
    assert [row.number for row in read(path)] == [3, 6]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_byte_order_mark_is_skipped(tmp_path: Path, mark: bytes) -> None:
    assert open_csv(write(tmp_path, mark + b"text,category\na,b\n")).columns == ("text", "category")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("text;category", ("text", "category")),
        ("text\tcategory", ("text", "category")),
        ("text", ("text",)),
        ('"text; long, very";category', ("text; long, very", "category")),
        ("a,b;c", ("a", "b;c")),
        ("text,,", ("text", "column 2", "column 3")),
    ],
)
def test_header_decides_the_separator(tmp_path: Path, header: str, columns: tuple[str, ...]) -> None:
    assert open_csv(write(tmp_path, f"{header}\n")).columns == columns


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ("question (text, raw);answer\nQ;A\nR;B\n", {"question (text, raw)": "Q", "answer": "A"}),
        ("question (a; b),answer\nQ,A\nR,B\n", {"question (a; b)": "Q", "answer": "A"}),
        ('a, b\tc\n"Q\n1"\tA\nR, S, T\tB\n', {"a, b": "Q\n1", "c": "A"}),
        # Where no mark divides all rows alike, the header has the word, and the odd row is said.
        ("a,b;c\nd,e\nf\n", {"a": "d", "b;c": "e"}),
    ],
)
def test_delimiter_is_the_one_that_splits_all_rows_evenly(tmp_path: Path, content: str, first: dict[str, str]) -> None:
    assert read(write(tmp_path, content))[0].values == first


def test_row_longer_than_the_sample_is_not_counted(tmp_path: Path) -> None:
    content = "a, b;c\n" + "q;a\n" * 3 + '"' + "x;\n" * 40_000 + '";a\n'
    assert open_csv(write(tmp_path, content)).columns == ("a, b", "c")


def test_cells_between_bars_are_read_where_nothing_else_separates_them(tmp_path: Path) -> None:
    assert read(write(tmp_path, "question|answer\nq|a\n")) == [Row(2, {"question": "q", "answer": "a"})]
    assert open_csv(write(tmp_path, "a|b\nc\n")).columns == ("a|b",)


def test_tsv_is_separated_by_tabs_whatever_the_header_holds(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\tc\nd,e\tf\n", "t.tsv")
    assert [row.values for row in read(path)] == [{"a,b": "d,e", "c": "f"}]


def test_a_cell_may_be_larger_than_a_block(tmp_path: Path) -> None:
    long = "word, " * 1_000_000
    path = write(tmp_path, f'text,category\nq,a\n"{long}",b\nr,c\n')
    rows = read(path)
    assert [(row.number, len(row.values["text"])) for row in rows] == [(2, 1), (3, len(long)), (4, 1)]


def test_a_table_that_is_regular_is_arrows(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + '"c ""d""",e\n\nf,g\n' * 1_000)
    blocks = list(open_csv(path, block_bytes=4_000).blocks(0))
    assert {type(block) for block in blocks} == {ArrowBlock}
    assert len(blocks) > 3


def test_arrow_continues_after_a_malformed_row(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "c,d\n" * 100 + "e\n" + "f,g\n" * 1_000)
    kinds = [type(block) for block in open_csv(path, block_bytes=500).blocks(0)]
    assert kinds.count(RowsBlock) == 1
    assert kinds[-1] is ArrowBlock


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (b"c,d,e", "row_width", "3 cells, but the header names 2 columns."),
        (b"c", "row_width", "1 cell, but the header names 2 columns."),
        (b"caf\xe9,b", "not_utf8", "the byte 0xe9 is not UTF-8 (line 4)."),
        (b'"caf\n\xe9",b', "not_utf8", "the byte 0xe9 is not UTF-8 (line 5)."),
        (b'"c" d,e', "bad_quotes", "text stands right after a closing quote (line 4)."),
        (b'"c\nd" e,f', "bad_quotes", "text stands right after a closing quote (lines 4 to 5)."),
    ],
)
def test_malformed_csv_row_is_reported_and_reading_continues(
    tmp_path: Path, row: bytes, kind: str, message: str
) -> None:
    path = write(tmp_path, b'text,category\n"a\nb",c\n' + row + b"\nf,g\n")
    first, odd, last = read(path)
    assert first == Row(2, {"text": "a\nb", "category": "c"})
    assert (odd.number, odd.values) == (3, {})
    assert [tuple(finding) for finding in odd.findings] == [(kind, message)]
    assert last == Row(4, {"text": "f", "category": "g"})


def test_a_quote_inside_a_cell_is_a_letter(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,category\n5" screen,tv\na "b",c\n')
    assert [row.values["text"] for row in read(path)] == ['5" screen', 'a "b"']


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    reader = open_csv(write(tmp_path, 'text,category\n"a\nb",b\n"c,d\ne,f\n'))
    rows: list[Row] = []
    with pytest.raises(SourceError, match=r"t\.csv, row 3 \(from line 4\): a quote is opened and never closed"):
        rows.extend(row for block in reader.blocks(0) for row in block.rows())
    assert [row.number for row in rows] == [2]


def test_a_row_without_end_is_given_up(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,category\na,b\n"' + ("c" * 1023 + "\n") * (65 << 10))
    with pytest.raises(SourceError, match=r"t\.csv, row 3 is longer than 32 MB\. A quote may have been left open"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n,,\n", r"t\.csv is empty: it has no row with anything in it"),
        (b"\xef\xbb\xbf", r"t\.csv is empty: it has no row with anything in it"),
        ("text,category".encode("utf-16"), r"t\.csv is UTF-16; expected UTF-8\. Save"),
        ("text,category".encode("utf-16-le"), r"t\.csv is UTF-16; expected UTF-8\. Save"),
        (b"caf\xe9,b\n", r"t\.csv, row 1: the byte 0xe9 is not UTF-8 \(line 1\)\. Save the file as UTF-8"),
        (b'"a" b,c\n', r"t\.csv, row 1: text stands right after a closing quote"),
        (b'"a,c\n', r"t\.csv, row 1 \(from line 1\): a quote is opened and never closed"),
        (b"text,category,text\n", r't\.csv has more than one column "text"\. Give each its own name'),
        (b"PAR1\x15\x04", r"t\.csv is a Parquet file by its first bytes; expected CSV\. .*--format parquet"),
        (b"\x89PNG\r\n\x1a\n", r"t\.csv is an image by its first bytes; expected CSV"),
        (b"PK\x03\x04", r"t\.csv is a spreadsheet or a ZIP archive by its first bytes"),
        (b"SQLite format 3\x00", r"t\.csv is a SQLite database .*sqlite:///"),
    ],
)
def test_invalid_csv_is_refused_with_its_position(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_csv(write(tmp_path, content))


@pytest.mark.parametrize("change", [b"more,rows\n", b""])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: bytes) -> None:
    path = write(tmp_path, "text,category\na,b\nc,d\n")
    reader = open_csv(path)
    path.write_bytes(b"text,category\na,b\n" + change)
    with pytest.raises(SourceError, match=r"t\.csv changed while it was read\. Read it once it is complete"):
        list(reader.blocks(0))


def test_a_header_that_changes_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "text,category\na,b\n")
    reader = open_csv(path)
    path.write_text("text,cotegary\na,b\n")
    with pytest.raises(SourceError, match="changed while it was read"):
        list(reader.blocks(0))


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "text,category\na,b\n")
    reader = open_csv(path)
    path.unlink()
    with pytest.raises(SourceError, match=r"Can't read .*t\.csv: No such file"):
        list(reader.blocks(0))


@pytest.mark.parametrize(
    ("content", "has_mark", "line_ends"),
    [
        ("a,b\nc,d\n", False, 0),
        ("\ufeffa,b\r\nc,d\r\n", True, 2),
        ('a,b\r\n"c\r\nd",e\r\n', False, 2),
        ('a,b\n"c\r\nd",e\n', False, 0),
        ("a,b\r\nc\r\nd,e\r\n\r\n", False, 4),
        ("a,b\rc,d\r", False, 0),
        ("a,b\nc,d\r\ne,f\n", False, 1),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1_000])
def test_marks_and_line_ends_are_counted(
    tmp_path: Path, content: str, has_mark: bool, line_ends: int, block_bytes: int
) -> None:
    reader = open_csv(write(tmp_path, content), block_bytes=block_bytes)
    list(reader.blocks(0))
    assert (reader.notes.has_byte_order_mark, reader.notes.windows_line_ends) == (has_mark, line_ends)
