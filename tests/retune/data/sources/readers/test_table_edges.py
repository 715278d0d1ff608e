"""Headers of two rows, and totals at the end: in sheets and in text they are read as people mean them, and said."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workbooks import Cell, sheet_xml, write_workbook

from retune.cli.app import app
from retune.config import DataConfig
from retune.data.sources.blocks import Source
from retune.data.sources.open import open_source
from retune.errors import SourceError

Open = Callable[[Sequence[Sequence[Cell]]], Source]
PAIRS: list[tuple[Cell, ...]] = [
    (1, "Where is my parcel?", "It left our house on Monday.", 4),
    (2, "Can I change the address?", "Yes, until it is on its way.", 5),
    (3, "Thanks a lot for your help!", "You are welcome, any time.", 5),
]
NAMES: list[Cell] = ["no", "question", "answer", "stars"]


def written_as_csv(rows: Sequence[Sequence[Cell]]) -> str:
    cells = [["" if cell is None else f'"{cell}"' if isinstance(cell, str) else str(cell) for cell in r] for r in rows]
    return "".join(",".join(row) + "\n" for row in cells)


@pytest.fixture(params=["csv", "csv that is read row by row", "xlsx"])
def open_table(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens rows as a table, which each reader reads as people see them."""

    def opened(rows: Sequence[Sequence[Cell]]) -> Source:
        path = tmp_path / f"table.{request.param.split()[0]}"
        if path.suffix == ".xlsx":
            write_workbook(path, {"S": sheet_xml([list(row) for row in rows])})
        else:
            text = written_as_csv(rows)
            path.write_text(text if request.param == "csv" else text.replace(",", ", "))
        return open_source(DataConfig(source=str(path)))

    return opened


def numbers(source: Source) -> list[int]:
    return [row.number for block in source.blocks() for row in block.rows()]


def said(source: Source, kind: str) -> list[str]:
    list(source.blocks())
    return [note.finding.message for note in source.notes() if note.finding.kind == kind]


def test_the_lower_row_names_the_columns_below_the_groups_of_the_upper_one(open_table: Open) -> None:
    source = open_table([["no", "Conversation", None, "Rating"], [None, "question", "answer", "stars"], *PAIRS])
    assert source.columns == ("no", "question", "answer", "stars")
    assert numbers(source) == [3, 4, 5]
    assert (
        "the header has two rows: row 1 groups the columns (no, Conversation, Rating), and row 2 names them."
        in said(source, "layout")
    )


def test_names_that_the_lower_row_repeats_follow_their_groups(open_table: Open) -> None:
    rows = [("Ann", pair[1], "Bob", pair[2]) for pair in PAIRS]
    names: list[Cell] = ["name", "text"]
    source = open_table([["Customer", None, "Agent", None], names * 2, *rows])
    assert source.columns == ("Customer / name", "Customer / text", "Agent / name", "Agent / text")
    assert numbers(source) == [3, 4, 5]
    assert any("are called by both (Customer / name, Customer / text" in text for text in said(source, "layout"))


def test_groups_may_be_written_over_each_of_their_columns(open_table: Open) -> None:
    source = open_table([["meta", "chat", "chat", "meta"], NAMES, *PAIRS])
    assert source.columns == tuple(NAMES)
    assert numbers(source) == [3, 4, 5]


def test_an_index_without_a_name_may_stand_to_the_left_as_pandas_writes_it(open_table: Open) -> None:
    source = open_table([[None, "chat", "chat", "meta"], [None, "question", "answer", "stars"], *PAIRS])
    assert source.columns == ("column 1", "question", "answer", "stars")
    assert numbers(source) == [3, 4, 5]


def test_a_title_may_stand_above_both(open_table: Open) -> None:
    groups: list[Cell] = ["Case", None, "Reply", None]
    title: list[Cell] = ["Export of May", None, None, None]
    source = open_table([title, groups, NAMES, *PAIRS, PAIRS[0]])
    assert source.columns == tuple(NAMES)
    assert numbers(source) == [4, 5, 6, 7]


def test_both_rows_are_left_out_where_they_come_again(open_table: Open) -> None:
    groups: list[Cell] = ["Case", None, "Reply", None]
    source = open_table([groups, NAMES, *PAIRS, groups, NAMES, *PAIRS])
    assert numbers(source) == [3, 4, 5, 8, 9, 10]


@pytest.mark.parametrize(
    "rows",
    [
        [["question", "answer", None], *[pair[1:] for pair in PAIRS]],
        [["no", "question", "answer", None], *PAIRS],
        [["question", "answer", None], ["Hi", "Hello", "x"], ["Bye", "See you", "y"], ["Where?", "Here", "z"]],
        [[None, "question", "answer", "stars"], *PAIRS],
        [["text", "label", None], ["Hi", "greeting", "x"], ["Where is it?", "greeting", "y"], ["Bye", "x", "y"]],
    ],
)
def test_an_example_below_a_column_without_a_name_stays_one(open_table: Open, rows: list[Sequence[Cell]]) -> None:
    source = open_table(rows)
    assert numbers(source)[0] == 2
    assert any(name.startswith("column ") for name in source.columns)


def test_merged_cells_are_proof_enough_with_few_texts(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [["Chat", None, "Source"], ["asked", "said", "file"], ["Hi", "Hello to you all", "a"]]
    path = tmp_path / "t.xlsx"
    rows.append(["Where?", "Over there, I think.", "b"])
    write_workbook(path, {"S": sheet_xml(rows, merged="A1:B1")})
    assert open_source(DataConfig(source=str(path))).columns == ("asked", "said", "file")
    write_workbook(path, {"S": sheet_xml(rows)})
    assert open_source(DataConfig(source=str(path))).columns == ("Chat", "column 2", "Source")


def test_what_the_hint_names_can_be_followed(tmp_path: Path) -> None:
    rows: list[Sequence[Cell]] = [("Ann", pair[1], "Bob", pair[2]) for pair in PAIRS * 5]
    path = tmp_path / "t.csv"
    path.write_text(written_as_csv([["Customer", None, "Agent", None], ["name", "text"] * 2, *rows]))
    refused = CliRunner().invoke(app, ["check", str(path)])
    hint = "--user-column 'Customer / text' --assistant-column 'Agent / text'"
    assert isinstance(refused.exception, SourceError)
    assert hint in str(refused.exception)
    followed = ["--user-column", "Customer / text", "--assistant-column", "Agent / text"]
    assert "15 examples" in CliRunner().invoke(app, ["check", str(path), *followed]).output


@pytest.mark.parametrize(
    "total",
    [
        ["Total", None, None, 14],
        ["Total:", None, None, "14,00 €"],
        [None, "Grand total", None, 14],
        ["合計", None, None, 14],
        ["Summe", 3, 3, 14],
        ["SUM", None, None, "=SUM(D2:D4)"],
        ["Итого", None, None, None],
    ],
)
def test_a_row_that_sums_up_the_table_is_left_out_and_said(open_table: Open, total: list[Cell]) -> None:
    source = open_table([NAMES, *PAIRS, total])
    assert numbers(source) == [2, 3, 4]
    [message] = said(source, "total_row")
    assert message.startswith("row 5 at the end of the table is a total (“")
    assert message.endswith("and left out.")
    assert len(source.sample()) == 3


def test_several_after_each_other_are_left_out_with_blank_rows_around(open_table: Open) -> None:
    blank: list[Cell] = [None] * 4
    rows = [NAMES, *PAIRS, blank, ["Total", None, None, 14], ["Average", None, None, 4.7], *[blank] * 200]
    source = open_table(rows)
    assert numbers(source) == [2, 3, 4]
    [message] = said(source, "total_row")
    assert message.startswith("rows 6 to 7 at the end of the table are totals (“Total”, with")


def test_short_text_with_a_number_like_all_rows_is_an_example(open_table: Open) -> None:
    rows: list[Sequence[Cell]] = [["text", "stars"], ["Bad", 1], ["Great", 5], ["Total", 2]]
    source = open_table(rows)
    assert numbers(source) == [2, 3, 4]
    assert said(source, "total_row") == []
    [message] = said(source, "total_row_read")
    assert "row 4 at the end of the table may be a total" in message
    assert message.endswith("it is read as any other row.")


@pytest.mark.parametrize(
    "last", [[4, "Total", "What do you mean by that?", 4], ["Total", "Why?", "So.", 3], ["Totally", None, None, 14]]
)
def test_other_rows_with_the_word_are_examples(open_table: Open, last: list[Cell]) -> None:
    source = open_table([NAMES, *PAIRS, last])
    assert numbers(source) == [2, 3, 4, 5]
    assert said(source, "total_row") == []


def test_total_in_the_middle_stays_a_row(open_table: Open) -> None:
    source = open_table([NAMES, *PAIRS, ["Total", None, None, 14], PAIRS[0]])
    assert numbers(source) == [2, 3, 4, 5, 6]
    assert said(source, "total_row") == []
