"""Tables of text as programs really write them: found, read right, and said."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from retune.cli.app import app
from retune.config import DataConfig
from retune.data.sources.blocks import Source
from retune.data.sources.open import open_source
from retune.errors import SourceError

PAIRS = [("Where is it?", "Here, at last."), ("Who, me?", 'He said "yes".'), ("Why?", "Because; so.")]


def open_table(tmp_path: Path, content: str, name: str = "t.csv", **settings: Any) -> Source:
    (tmp_path / name).write_bytes(content.encode())
    return open_source(DataConfig(source=str(tmp_path / name), **settings))


def read(source: Source) -> list[tuple[int, str, str]]:
    return [(row.number, *row.values.values()) for block in source.blocks() for row in block.rows()]


def findings(source: Source) -> dict[str, str]:
    read(source)
    return {note.finding.kind: note.finding.message for note in source.notes()}


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("mark", [";", ",", "\t", "|"])
@pytest.mark.parametrize("line", ["sep={}\r\n", "\ufeffSEP={}\n", '"sep={}"\n'])
def test_separator_line_sets_the_separator(tmp_path: Path, mark: str, line: str) -> None:
    rows = "".join(f"{quoted(one)}{mark}{quoted(other)}\n" for one, other in PAIRS)
    source = open_table(tmp_path, f"{line.format(mark)}question{mark}answer\n{rows}")
    assert source.columns == ("question", "answer")
    assert read(source) == [(number, *pair) for number, pair in enumerate(PAIRS, start=2)]
    assert "names what separates the cells" in findings(source)["layout"]


def test_decimal_commas_stay_numbers(tmp_path: Path) -> None:
    source = open_table(tmp_path, "sep=;\ntext;price\nA, B;1,5\nC;2,75\n")
    assert read(source) == [(2, "A, B", "1,5"), (3, "C", "2,75")]
    assert read(open_table(tmp_path, "text;price\nA, B;1,5\nC;2,75\n")) == [(2, "A, B", "1,5"), (3, "C", "2,75")]


def test_quotes_after_a_space_are_not_text(tmp_path: Path) -> None:
    rows = "".join(f"{quoted(one)}, {quoted(other)}\n" for one, other in PAIRS)
    source = open_table(tmp_path, "question, answer\n" + rows)
    assert source.columns == ("question", "answer")
    assert read(source) == [(number, *pair) for number, pair in enumerate(PAIRS, start=2)]
    assert "a space stands after each separator" in findings(source)["layout"]


def test_names_and_texts_lose_it_where_all_have_it(tmp_path: Path) -> None:
    assert open_table(tmp_path, "question, answer\nWhere?, Here.\n").columns == ("question", "answer")


def test_spaces_of_prose_stay(tmp_path: Path) -> None:
    source = open_table(tmp_path, "question,answer\nWhere?, Here.\nWho?,You.\n")
    assert read(source) == [(2, "Where?", " Here."), (3, "Who?", "You.")]
    assert findings(source) == {}


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_quotes_are_text_where_cells_are_written_without_any(tmp_path: Path, name: str) -> None:
    lines = ['"Wow" she said\tfirst', '5" pipe\tsecond', '"open\tthird', 'plain\t"fourth"']
    source = open_table(tmp_path, "text\tlabel\n" + "\n".join(lines) + "\n", name)
    assert read(source) == [(number, *line.split("\t")) for number, line in enumerate(lines, start=2)]
    assert "quotes are letters like any other" in findings(source)["layout"]


def test_cells_in_quotes_are_read_as_programs_write_them(tmp_path: Path) -> None:
    rows = [('a\tb "c"', "first"), ("two\nlines", "second")]
    content = "text\tlabel\n" + "".join(f"{quoted(text)}\t{label}\n" for text, label in rows)
    source = open_table(tmp_path, content, "t.tsv")
    assert [row[1:] for row in read(source)] == rows
    assert findings(source) == {}


def test_many_rows_beyond_the_first_are_read_alike(tmp_path: Path) -> None:
    lines = [f'"{number} is "odd\tlabel {number % 7}' for number in range(9_000)]
    source = open_table(tmp_path, "text\tlabel\r\n" + "\r\n".join(lines) + "\r\n", "t.tsv")
    assert read(source) == [(number, *line.split("\t")) for number, line in enumerate(lines, start=2)]


LABELLED = [
    ("Where is my card?", "card"),
    ("Who took my card?", "card"),
    ("What does it cost?", "fee"),
    ("Why?", "fee"),
]
PROSE = [(f"How do I open the box number {n}?", f"Turn the handle {n} times.") for n in range(5)]
FORM = [("2026-03-01", "It rattles when I open it."), ("2026-03-02", "Nothing at all.")]


def table(rows: list[tuple[str, str]], header: tuple[str, str] | None = None) -> str:
    return "".join(f"{quoted(one)},{quoted(other)}\n" for one, other in ([header] if header else []) + rows)


@pytest.mark.parametrize("rows", [LABELLED, PROSE])
def test_a_first_row_that_is_an_example_is_doubted(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    source = open_table(tmp_path, table(rows))
    assert "the first row may be an example" in findings(source)["header_missing"]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (("question", "answer"), LABELLED),
        (("Your question", "Our answer"), PROSE),
        (("Timestamp", "What is wrong with your new machine?"), FORM),
        (("質問", "回答"), PROSE),
        (("card", "fee"), PROSE),
    ],
)
def test_names_of_columns_are_not(tmp_path: Path, header: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    assert findings(open_table(tmp_path, table(rows, header))) == {}
    # A header that comes again in the midst is none of the examples.
    assert "header_missing" not in findings(open_table(tmp_path, table([*rows, header, *rows], header)))


def test_no_header_makes_the_first_row_an_example(tmp_path: Path) -> None:
    source = open_table(tmp_path, table(LABELLED), no_header=True)
    assert source.columns == ("column 1", "column 2")
    assert read(source) == [(number, *row) for number, row in enumerate(LABELLED, start=1)]
    assert findings(source) == {}


def test_repeated_header_cell_suggests_no_header(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'more than one column "card".*--no-header'):
        open_table(tmp_path, "card,card\nfee,card\n")


def test_what_check_says_leads_on_to_examples(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table(PROSE * 4))
    runner = CliRunner()
    refused = runner.invoke(app, ["check", str(path)]).exception
    assert isinstance(refused, SourceError)
    assert "--no-header" in str(refused.hint)
    arguments = ["check", str(path), "--no-header", "--user-column", "column 1", "--assistant-column", "column 2"]
    checked = runner.invoke(app, [*arguments, "--json"])
    assert json.loads(checked.stdout)["n_examples"] == 20
    assert "--no-header" in runner.invoke(app, arguments).stdout.split("Train on it:")[-1]


@pytest.mark.parametrize("above", ["# from the help desk\n# in May\n", "Tickets of May,\n,\n", "Tickets of May\n\n"])
@pytest.mark.parametrize("mark", [",", ";"])
def test_titles_and_comments_are_left_out_and_said(tmp_path: Path, above: str, mark: str) -> None:
    rows = "".join(f"{quoted(one)}{mark}{quoted(other)}\n" for one, other in PAIRS)
    source = open_table(tmp_path, f"{above.replace(',', mark)}question{mark}answer\n{rows}")
    assert source.columns == ("question", "answer")
    assert [row[1:] for row in read(source)] == PAIRS
    assert "above the header" in findings(source)["layout"]


@pytest.mark.parametrize("header", ["text", "question,answer"])
def test_a_header_narrower_than_its_rows_is_not_a_title(tmp_path: Path, header: str) -> None:
    source = open_table(tmp_path, f"{header}\n" + "a,b,c\nd,e,f\ng,h,i\nj,k,l\n")
    assert source.columns == tuple(header.split(","))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_header_among_the_rows_is_left_out_and_said(tmp_path: Path, end: str) -> None:
    table = end.join(["question,answer", *(f"question {n},answer {n}" for n in range(5)), ""])
    source = open_table(tmp_path, table * 3)
    rows = read(source)
    assert [row[1] for row in rows] == [f"question {n}" for n in range(5)] * 3
    assert [row[0] for row in rows] == [*range(2, 7), *range(8, 13), *range(14, 19)]
    assert findings(source)["layout"] == ("the header comes again in 2 rows (the first: row 7), which are left out.")
