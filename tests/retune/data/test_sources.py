import json
import os
import subprocess
import sys
from datetime import date

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retune.config import DataConfig, SourceFormat
from retune.data.examples import expected_answer
from retune.data.sources import load_examples
from retune.errors import SourceError

QUESTIONS = ["Where is my card?", "カードはどこですか？"]
ANSWERS = ["card_arrival", "カード"]
CHATS = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True)
]


def load(path, **settings):
    return load_examples(DataConfig(path=path, **settings))


def load_pairs(path, **settings):
    return load(path, user_column="text", assistant_column="category", **settings)


def pairs(loaded):
    return [(example.body["messages"][-2]["content"], expected_answer(example)) for example in loaded.examples]


@pytest.fixture
def table_files(tmp_path):
    """The same table in every format."""
    frame = pd.DataFrame({"id": [1, 2], "text": QUESTIONS, "category": ANSWERS})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";", encoding="utf-8-sig")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_pickle(tmp_path / "t.pkl")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "source_format", "first_location"),
    [
        ("t.csv", "csv", "row 2"),
        ("t.tsv", "csv", "row 2"),
        ("semicolons.csv", "csv", "row 2"),
        ("t.jsonl", "jsonl", "line 1"),
        ("t.parquet", "parquet", "row 1"),
        ("t.pkl", "pickle", "row 1"),
    ],
)
def test_every_format_gives_the_same_examples(table_files, name, source_format, first_location):
    loaded = load_pairs(table_files / name, system="Name the intent.")
    assert [example.body["messages"] for example in loaded.examples] == [
        [{"role": "system", "content": "Name the intent."}, *chat] for chat in CHATS
    ]
    assert loaded.examples[0].location == first_location
    facts = loaded.facts
    assert (facts.format, facts.rows, facts.columns) == (source_format, 2, ["id", "text", "category"])
    assert facts.bytes == (table_files / name).stat().st_size


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "pkl"])
def test_every_format_may_hold_ready_conversations(tmp_path, ending):
    path = tmp_path / f"chats.{ending}"
    frame = pd.DataFrame({"messages": CHATS})
    {
        "csv": lambda: pd.DataFrame({"messages": map(json.dumps, CHATS)}).to_csv(path, index=False),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
        "pkl": lambda: frame.to_pickle(path),
    }[ending]()
    assert [example.body for example in load(path).examples] == [{"messages": chat} for chat in CHATS]


def test_a_line_of_chat_jsonl_is_taken_as_it_is(tmp_path):
    body = {"tools": [], "messages": CHATS[0], "parallel_tool_calls": False, "id": 7}
    (tmp_path / "x.jsonl").write_text(json.dumps(body))
    [example] = load(tmp_path / "x.jsonl").examples
    assert list(example.body.items()) == list(body.items())


def test_conversations_may_stand_in_another_column(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({"id": 7, "turns": CHATS[0]}))
    [example] = load(tmp_path / "x.jsonl", messages_column="turns").examples
    assert example.body == {"messages": CHATS[0]}


def test_a_conversation_keeps_its_own_system_message(tmp_path):
    own = [{"role": "developer", "content": "Be kind."}, *CHATS[0]]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"messages": messages}) for messages in (own, CHATS[1])))
    first, second = load(tmp_path / "x.jsonl", system="Be brief.").examples
    assert first.body["messages"] == own
    assert second.body["messages"] == [{"role": "system", "content": "Be brief."}, *CHATS[1]]


class TestCells:
    def test_csv_text_stays_text(self, tmp_path):
        rows = 'text,category\nNA,null\n007,1.50\n true ,\n"a, ""b""\nc",None\n'
        (tmp_path / "t.csv").write_text(rows)
        assert pairs(load_pairs(tmp_path / "t.csv")) == [
            ("NA", "null"),
            ("007", "1.50"),
            (" true ", ""),
            ('a, "b"\nc', "None"),
        ]

    def test_csv_rows_are_numbered_as_a_spreadsheet_does(self, tmp_path):
        (tmp_path / "t.csv").write_text('text,category\r\n"a\r\nb",c\r\n\r\n,\r\nd,e\r\n')
        assert [example.location for example in load_pairs(tmp_path / "t.csv").examples] == ["row 2", "row 5"]

    def test_csv_cells_may_be_long(self, tmp_path):
        long = "word " * 50_000
        (tmp_path / "t.csv").write_text(f"text,category\n{long},a\n")
        assert pairs(load_pairs(tmp_path / "t.csv")) == [(long, "a")]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (3, "3"),
            (2.5, "2.5"),
            (True, "true"),
            (None, None),
            ({"intent": "café", "n": 1}, '{"intent": "café", "n": 1}'),
            (["a", None], '["a", null]'),
        ],
    )
    def test_json_values_become_text(self, tmp_path, value, text):
        (tmp_path / "t.jsonl").write_text(json.dumps({"text": "q", "category": value}))
        [example] = load_pairs(tmp_path / "t.jsonl").examples
        assert example.body["messages"][-1]["content"] == text

    @pytest.mark.parametrize("ending", ["parquet", "pkl"])
    @pytest.mark.parametrize(
        ("values", "texts"),
        [
            ([1, 2], ["1", "2"]),
            ([1.5, None], ["1.5", None]),
            (pd.array([1, None], dtype="Int64"), ["1", None]),
            ([True, False], ["true", "false"]),
            (pd.Categorical(["b", "a"]), ["b", "a"]),
            (["a", None], ["a", None]),
            ([date(2026, 1, 2), None], ["2026-01-02", None]),
            ([b"caf\xc3\xa9", b""], ["café", ""]),
        ],
        ids=["int", "float", "Int64", "bool", "category", "missing", "date", "bytes"],
    )
    def test_typed_values_become_text(self, tmp_path, ending, values, texts):
        frame = pd.DataFrame({"text": ["p", "q"], "category": values})
        path = tmp_path / f"t.{ending}"
        frame.to_parquet(path) if ending == "parquet" else frame.to_pickle(path)
        assert [example.body["messages"][-1]["content"] for example in load_pairs(path).examples] == texts

    def test_bytes_that_are_no_text_are_refused(self, tmp_path):
        pq.write_table(pa.table({"text": ["p", "q"], "category": [b"a", b"\xff"]}), tmp_path / "t.parquet")
        with pytest.raises(SourceError, match=r"t\.parquet, row 2: expected text, found bytes that are not UTF-8"):
            load_pairs(tmp_path / "t.parquet")

    def test_fields_that_only_other_rows_have_are_left_out(self, tmp_path):
        called = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}
        table = pa.table({"messages": [CHATS[0], [CHATS[0][0], called]]})
        pq.write_table(table, tmp_path / "t.parquet")
        assert [example.body["messages"] for example in load(tmp_path / "t.parquet").examples] == [
            CHATS[0],
            [CHATS[0][0], called],
        ]


class TestColumns:
    def test_a_misspelt_column_is_set_right(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data.csv").write_text("text,category\na,b\n")
        with pytest.raises(SourceError) as caught:
            load("data.csv", user_column="text", assistant_column="categori")
        assert str(caught.value) == (
            'data.csv has no column "categori". Its columns are: text, category. Did you mean "category"?'
        )

    @pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "pkl"])
    def test_every_format_names_its_columns(self, table_files, ending):
        with pytest.raises(SourceError, match=r'no column "Text"\. Its columns are: id, text, category\. .*"text"\?'):
            load(table_files / f"t.{ending}", user_column="Text", assistant_column="category")

    def test_no_near_column_means_no_guess(self, table_files):
        with pytest.raises(SourceError, match=r"category\.$"):
            load(table_files / "t.csv", user_column="text", assistant_column="xyz")

    def test_unnamed_columns_are_shown_with_how_to_name_them(self, table_files):
        with pytest.raises(SourceError, match=r"the columns: id, text, category\..*--user-column id --assistant-col"):
            load(table_files / "t.csv")

    def test_a_missing_messages_column_is_named(self, table_files):
        with pytest.raises(SourceError, match='no column "turns"'):
            load(table_files / "t.csv", messages_column="turns")

    @pytest.mark.parametrize("ending", ["csv", "parquet", "pkl"])
    def test_a_column_that_is_there_twice_is_refused(self, tmp_path, ending):
        path = tmp_path / f"t.{ending}"
        frame = pd.DataFrame([["a", "b", "c"]], columns=["text", "category", "text"])
        {
            "csv": lambda: frame.to_csv(path, index=False),
            "parquet": lambda: pq.write_table(
                pa.Table.from_arrays([["a"], ["b"], ["c"]], frame.columns.tolist()), path
            ),
            "pkl": lambda: frame.to_pickle(path),
        }[ending]()
        with pytest.raises(SourceError, match='more than one column "text"'):
            load_pairs(path)

    def test_a_hundred_columns_are_not_all_shown(self, tmp_path):
        (tmp_path / "t.csv").write_text(",".join(f"c{n}" for n in range(100)))
        with pytest.raises(SourceError, match=r"c29 and 70 more\."):
            load_pairs(tmp_path / "t.csv")


class TestBrokenFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.csv", b"", r"t\.csv is empty\."),
            ("t.csv", b"\n \n,,\n", r"t\.csv is empty: it has no row with anything in it"),
            ("t.jsonl", b"\n\n", r"t\.jsonl is empty: it has no line"),
            ("t.csv", b"text,category\na,b\ncaf\xe9,b\n", r"t\.csv, line 3: not UTF-8 \(the byte 0xe9\)\. Save"),
            ("t.csv", "text,category".encode("utf-16"), r"t\.csv is UTF-16; expected UTF-8"),
            ("t.csv", b'text,category\n"a\nb",c\nd,e,f\n', r"t\.csv, row 3 \(line 4\) has 3 cells, but .* 2 columns"),
            ("t.csv", b"text,category\na\n", r"t\.csv, row 2 \(line 2\) has 1 cell,"),
            ("t.csv", b'text,category\na,b\n"c,d\ne,f\n', r"row 3 \(from line 3\): not valid CSV \(unexpected end"),
            ("t.csv", b'text,category\n"a" b,c\n', r"row 2 \(from line 2\): not valid CSV"),
            ("t.parquet", b"text,category\na,b\n", r"t\.parquet can't be read as Parquet: "),
            ("t.jsonl", b"text,category\na,b\n", r"t\.jsonl, line 1, column 1: not valid JSON"),
            ("t.jsonl", b'[{"messages": []}]', r"t\.jsonl, line 1: .* the start of a JSON array"),
            ("t.xlsx", b"PK", r"Can't tell the format of .*t\.xlsx by its name; known endings are \.csv, "),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=message):
            load_pairs(tmp_path / name)

    def test_a_messages_cell_that_is_no_json_is_named(self, tmp_path):
        (tmp_path / "t.csv").write_text('messages\n"[]"\n"[{"\n')
        with pytest.raises(SourceError, match=r"t\.csv, row 3, column messages: expected a JSON list of messages"):
            load(tmp_path / "t.csv")

    def test_the_format_may_be_said_where_the_name_does_not(self, table_files):
        path = (table_files / "t.csv").rename(table_files / "t.txt")
        assert len(load_pairs(path, format=SourceFormat.CSV).examples) == 2


class TestMissingFiles:
    def test_near_names_are_offered(self, table_files):
        with pytest.raises(SourceError, match=r"There is no file .*t\.cvs\. Did you mean t\.csv or "):
            load_pairs(table_files / "t.cvs")

    def test_otherwise_what_there_is(self, table_files):
        with pytest.raises(SourceError, match=r"Data files there: semicolons\.csv, t\.csv, t\.jsonl, t\.par"):
            load_pairs(table_files / "absent")

    def test_a_missing_directory_is_named(self, tmp_path):
        with pytest.raises(SourceError, match=r"There is no directory .*absent either"):
            load_pairs(tmp_path / "absent" / "t.csv")

    def test_a_directory_is_no_file(self, table_files):
        with pytest.raises(SourceError, match=r"is a directory; expected a file\. Data files there: "):
            load_pairs(table_files)

    def test_a_pipe_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "t.csv")
        with pytest.raises(SourceError, match="is not a regular file"):
            load_pairs(tmp_path / "t.csv")

    def test_a_name_too_long_for_the_system_is_explained(self, tmp_path):
        with pytest.raises(SourceError, match=r"Can't read .*File name too long"):
            load_pairs(tmp_path / ("x" * 300 + ".csv"))


def test_banking77_loads(banking77):
    loaded = load_pairs(banking77)
    assert loaded.facts.rows == len(loaded.examples) == 10_003
    assert pairs(loaded)[0] == ("I am still waiting on my card?", "card_arrival")
    assert len({answer for _, answer in pairs(loaded)}) == 77


def test_reading_a_csv_imports_no_heavy_library(table_files):
    script = (
        "import sys; from retune.config import DataConfig; from retune.data.sources import load_examples; "
        "load_examples(DataConfig(path=sys.argv[1], user_column='text', assistant_column='category')); "
        "print({'pandas', 'pyarrow', 'numpy', 'sklearn', 'bpe_openai'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, table_files / "t.csv"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"
