"""Workbooks: what people see in the cells is what is read, and a hostile one takes no more than the limit."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workbooks import DATE, DATE_TIME, FIVE_DIGITS, TIME, Cell, sheet_xml, write_workbook

from retune.config import DataConfig, LimitsConfig, SourceFormat
from retune.data.sources.blocks import Row, Source
from retune.data.sources.open import open_source
from retune.errors import EmptySourceError, SourceError

TABLE: list[list[Cell]] = [
    ["question", "answer"],
    ["Where is my card?", "On its way."],
    ["カードは？", "発送済みです。"],
]
BLANK: list[Cell] = [None, " "]
TITLE: list[Cell] = ["Tickets of May"]
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def open_book(path: Path, **settings: Any) -> Source:
    return open_source(DataConfig(source=str(path), **settings))


def read(source: Source) -> list[Row]:
    return [row for block in source.blocks() for row in block.rows()]


def layout(source: Source) -> list[str]:
    list(source.blocks())
    return [note.finding.message for note in source.notes() if note.finding.kind == "layout"]


@pytest.fixture
def book(tmp_path: Path) -> Callable[..., Path]:
    return lambda sheets, **more: write_workbook(tmp_path / "book.xlsx", sheets, **more)


def test_cells_with_errors_are_empty_and_said(book: Callable[..., Path]) -> None:
    rows: list[list[Cell]] = [["question", "answer"], ["a", "#N/A"], ["#REF!", "b"]]
    source = open_book(book({"S": sheet_xml(rows)}))
    assert [list(row.values.values()) for row in read(source)] == [["a", ""], ["", "b"]]
    [finding] = [note.finding for note in source.notes()]
    assert finding.kind == "not_a_value"
    assert finding.message.startswith("cell B2 holds an error (#N/A), or more: 2 in all")


def test_formulas_without_a_value_are_said(book: Callable[..., Path]) -> None:
    sheet = sheet_xml([["question", "answer"], ["a", 1], ["b", 2]]).replace("<v>2</v>", "<f>B2*2</f><v></v>")
    source = open_book(book({"S": sheet}))
    assert [row.values["answer"] for row in read(source)] == ["1", ""]
    [finding] = [note.finding for note in source.notes()]
    assert finding.message.startswith("cell B3 holds a formula that was never computed: 1 in all")


def test_formula_with_a_value_is_read(book: Callable[..., Path]) -> None:
    sheet = sheet_xml([["question", "answer"], ["a", 1]]).replace("<v>1</v>", "<f>2-1</f><v>1</v>")
    source = open_book(book({"S": sheet}))
    assert [row.values["answer"] for row in read(source)] == ["1"]
    assert source.notes() == []


def test_a_header_among_the_rows_is_left_out_and_said(book: Callable[..., Path]) -> None:
    source = open_book(book({"S": sheet_xml([*TABLE, TABLE[0], TABLE[1]])}))
    assert [row.number for row in read(source)] == [2, 3, 5]
    assert layout(source) == ["the header comes again in row 4, which is left out."]


def test_each_is_the_text_that_people_see(book: Callable[..., Path]) -> None:
    cells: list[Cell] = [
        (45000, DATE),
        (45000.5, DATE_TIME),
        (0.25, TIME),
        42,
        2.5,
        12345678901,
        True,
        "a\n b",
        (7, FIVE_DIGITS),
    ]
    names = [f"c{place}" for place in range(len(cells))]
    header: list[Cell] = [*names]
    source = open_book(book({"S": sheet_xml([header, cells])}))
    texts = ["2023-03-15", "2023-03-15 12:00:00", "06:00:00", "42", "2.5", "12345678901", "TRUE", "a\n b", "7"]
    assert read(source) == [Row(2, dict(zip(names, texts, strict=True)))]
    assert (source.files[0].format, source.files[0].unit) == (SourceFormat.EXCEL, "row")


def test_rows_are_numbered_as_the_spreadsheet_does_and_empty_ones_left_out(book: Callable[..., Path]) -> None:
    source = open_book(book({"S": sheet_xml([TABLE[0], BLANK, BLANK, TABLE[1], TABLE[2][:1]])}))
    assert [(row.number, row.values["answer"]) for row in read(source)] == [(4, "On its way."), (5, "")]
    assert source.sample() == read(source)


def test_a_table_may_start_anywhere(book: Callable[..., Path]) -> None:
    rows: list[list[Cell]] = [[None, None, *row] for row in TABLE]
    source = open_book(book({"S": sheet_xml(rows, first=7)}))
    assert read(source)[0] == Row(8, {"question": "Where is my card?", "answer": "On its way."})


def test_a_row_that_is_wider_than_the_header_is_a_finding(book: Callable[..., Path]) -> None:
    wide: list[Cell] = ["a", "b", "c"]
    rows = [*TABLE, *[TABLE[1]] * 30, wide]
    assert read(open_book(book({"S": sheet_xml(rows)})))[-1].findings[0].kind == "row_width"


def test_a_title_and_empty_rows_above_it_are_passed_over_and_that_is_said(book: Callable[..., Path]) -> None:
    source = open_book(book({"S": sheet_xml([TITLE, BLANK, *TABLE], first=2, merged="A2:B2")}))
    assert read(source)[0] == Row(5, {"question": "Where is my card?", "answer": "On its way."})
    assert layout(source) == ['row 2 stands above the header and is not read ("Tickets of May").']


def test_merged_cells_leave_columns_without_a_name_and_that_is_said(book: Callable[..., Path]) -> None:
    rows: list[list[Cell]] = [["question", "answer", None], ["Where?", "Here.", "x"]]
    source = open_book(book({"S": sheet_xml(rows, merged="B1:C1")}))
    assert source.columns == ("question", "answer", "column 3")
    assert layout(source) == [
        "columns without a name in the header are called by their place (column 3): cells of the header are merged."
    ]


SHEETS = ("Cover", "Tickets", "Old", "Secret")


@pytest.fixture
def path(book: Callable[..., Path]) -> Path:
    rows: tuple[list[list[Cell]], ...] = ([], TABLE, [*TABLE, ["Why?", "Because."]], TABLE)
    contents = {name: sheet_xml(content) for name, content in zip(SHEETS, rows, strict=True)}
    return book(contents, hidden=["Secret"])


def test_the_first_with_anything_in_it_is_read_and_the_others_are_named(path: Path) -> None:
    source = open_book(path)
    assert len(read(source)) == 2
    assert layout(source) == ['the sheet "Tickets" is read.']
    [other] = source.unread()
    assert (other.name, other.may_hold_examples) == (f'{path}, sheet "Old"', True)
    assert "has 4 rows" in other.reason
    assert "--sheet 'Old' reads it" in other.reason


@pytest.mark.parametrize(("sheet", "rows"), [("Old", 3), ("Secret", 2)])
def test_another_is_read_by_its_name(path: Path, sheet: str, rows: int) -> None:
    assert len(read(open_book(path, sheet=sheet))) == rows


def test_missing_sheet_is_refused_with_the_names_of_others(path: Path) -> None:
    with pytest.raises(SourceError, match=r'has no sheet "May"; it has "Cover", "Tickets", "Old"\.'):
        open_book(path, sheet="May")
    with pytest.raises(EmptySourceError, match='its sheet "Cover" has nothing in it'):
        open_book(path, sheet="Cover")


def test_a_sheet_of_a_table_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("question,answer\na,b\n")
    with pytest.raises(SourceError, match="--sheet is for workbooks"):
        open_book(tmp_path / "t.csv", sheet="May")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xls", b"<html><table></table></html>", "not a spreadsheet by its first bytes, but HTML"),
        ("t.xls", b"question\tanswer\na\tb\n", "not a spreadsheet by its first bytes, but text. Rename it to end in "),
        ("t.xlsx", b"PK\x03\x04" + bytes(200), "can't be read as a spreadsheet"),
        ("t.ods", b"\x00\x01\x02", "can't be read as a spreadsheet"),
    ],
)
def test_invalid_workbook_is_refused_with_its_real_format(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        open_book(tmp_path / name)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_a_workbook_by_another_name_says_how_to_read_it(book: Callable[..., Path], tmp_path: Path, name: str) -> None:
    path = book({"S": sheet_xml(TABLE)}).rename(tmp_path / name)
    with pytest.raises(SourceError, match=r"rename it to end in \.xlsx or use --format excel"):
        open_book(path)
    assert len(read(open_book(path, format=SourceFormat.EXCEL))) == 2


LIMITS = LimitsConfig(max_pickle_mb=64)


def refuse(path: Path, message: str, **limits: Any) -> None:
    with pytest.raises(SourceError, match=message):
        read(open_book(path, limits=LIMITS.model_copy(update=limits)))


def test_a_cell_in_the_farthest_corner(book: Callable[..., Path]) -> None:
    cells = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    path = book({"S": f'<worksheet xmlns="{_MAIN}"><sheetData>{cells}</sheetData></worksheet>'})
    refuse(path, r"takes more than 64 MB of memory.*raise data.limits.max_pickle_mb")


def test_parts_that_unpack_to_many_times_their_size(book: Callable[..., Path]) -> None:
    path = book({"S": sheet_xml(TABLE) + " " * 80_000_000})
    refuse(path, "unpacks to more than 200 times its size")


def test_forged_workbook_size_is_refused(book: Callable[..., Path]) -> None:
    path = book({"S": sheet_xml([*TABLE, ["x" * 90_000_000]])})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    refuse(path, "takes more than 64 MB|can't be read as a spreadsheet", max_unpacked_ratio=1e6)


def test_shared_text_of_many_cells_is_refused(book: Callable[..., Path]) -> None:
    text = f'<sst xmlns="{_MAIN}"><si><t>{"x" * 100_000}</t></si></sst>'
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, 5000))
    sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    refuse(book({"S": sheet}, sharedStrings=text), "takes more than 64 MB of memory")


def test_a_row_that_is_too_long(book: Callable[..., Path]) -> None:
    path = book({"S": sheet_xml([["question", "answer"], ["x" * 9_000_000, "y"]])})
    refuse(path, "is longer than 4 MB", max_row_mb=4, max_pickle_mb=256, max_unpacked_ratio=1e6)


def test_zip_without_a_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    refuse(path, "can't be read as a spreadsheet")
