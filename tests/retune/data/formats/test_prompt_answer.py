from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_source import Choose, MakeSource, Read

from retune.config import SplitConfig
from retune.data.example.example import Example, SplitKeys
from retune.data.formats.row_format import TwoTextColumns
from retune.data.formats.templates import Template
from retune.data.problems.problems import Finding
from retune.errors import SourceError

NAMED = {"user_column": "text", "assistant_column": "category"}


def contents(example: Example) -> list[Any]:
    return [message["content"] for message in example.body["messages"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        (3, "3"),
        (2.5, "2.5"),
        (float("nan"), None),
        (True, "true"),
        (None, None),
        ({"intent": "café", "n": 1}, '{"intent": "café", "n": 1}'),
        (["a", None, date(2026, 1, 2)], '["a", null, "2026-01-02"]'),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3), "2026-01-02 03:00:00"),  # noqa: DTZ001  (a database's timestamp without zone)
        (Decimal("1.50"), "1.50"),
        ("café".encode(), "café"),
    ],
)
def test_every_value_becomes_text(make_source: MakeSource, read: Read, value: Any, text: str | None) -> None:
    [example] = read(make_source([{"text": "q", "category": value}]), **NAMED)
    assert contents(example) == ["q", text]


def test_bytes_that_are_no_text_are_a_finding_of_their_row(make_source: MakeSource, read: Read) -> None:
    first, second = read(make_source([{"text": "q", "category": b"\xff"}, {"text": "p", "category": "b"}]), **NAMED)
    assert first.body == {}
    assert first.findings == (Finding("not_utf8", "column category: expected text, found bytes that are not UTF-8."),)
    assert contents(second) == ["p", "b"]


def test_rows_that_could_not_be_read_keep_their_findings_and_numbers(make_source: MakeSource, read: Read) -> None:
    broken = Finding("not_json", "what was found")
    examples = read(make_source([{"text": "q", "category": "a"}, broken]), **NAMED)
    assert [example.number for example in examples] == [1, 2]
    assert examples[1].findings == (broken,)


def test_the_system_prompt_stands_first(make_source: MakeSource, read: Read) -> None:
    [example] = read(make_source([{"text": "q", "category": "a"}]), system="Name {{it}}.", **NAMED)
    assert example.body["messages"][0] == {"role": "system", "content": "Name {{it}}."}


def test_a_blank_system_prompt_is_none(make_source: MakeSource, read: Read) -> None:
    [example] = read(make_source([{"text": "q", "category": "a"}]), system=" ", **NAMED)
    assert contents(example) == ["q", "a"]


ROWS = ({"subject": "Late", "body": "Where?", "n": 3, "label": "delay"},)


def read_one(
    make_source: Callable[..., Any], read: Callable[..., Any], user: str, row: dict[str, Any] = ROWS[0], **settings: Any
) -> list[Any]:
    [example] = read(make_source([row]), user_template=user, assistant_column="label", **settings)
    return contents(example)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{subject}: {body}", "Late: Where?"),
        ("{{{n}}} {{n}}", "{3} {n}"),
        ("{body}{body}", "Where?Where?"),
    ],
)
def test_columns_are_put_together(make_source: MakeSource, read: Read, template: str, text: str) -> None:
    assert read_one(make_source, read, template) == [text, "delay"]


def test_names_of_columns_are_taken_whole(make_source: MakeSource, read: Read) -> None:
    row = {"a.b": "dotted", "a[0]": "indexed", "a b": "spaced", "label": "x"}
    assert read_one(make_source, read, "{a.b} {a[0]} {a b}", row) == ["dotted indexed spaced", "x"]


def test_a_missing_cell_is_empty_unless_all_are_missing(make_source: MakeSource, read: Read) -> None:
    assert read_one(make_source, read, "{subject}: {body}", {**ROWS[0], "body": None})[0] == "Late: "
    row = {"subject": None, "body": None, "label": "x"}
    assert read_one(make_source, read, "{subject}: {body}", row) == [None, "x"]


def test_the_answer_may_be_a_template_too(make_source: MakeSource, read: Read, choose: Choose) -> None:
    source = make_source(list(ROWS))
    named = {"user_column": "body", "assistant_template": "{label} ({n})"}
    [example] = read(source, **named)
    assert contents(example) == ["Where?", "delay (3)"]
    assert choose(source, **named).title == "columns body → label, n (by templates)"


def test_the_system_prompt_is_one_where_it_names_a_column(make_source: MakeSource, read: Read, choose: Choose) -> None:
    source = make_source(list(ROWS))
    named = {"user_column": "body", "assistant_column": "label", "system": "About {subject}, as {{json}}."}
    [example] = read(source, **named)
    assert contents(example)[0] == "About Late, as {json}."
    shape = choose(source, **named)
    assert shape.title == "columns body → label, system prompt with subject"
    assert shape.two_text_columns is None


def test_a_system_prompt_of_a_missing_cell_alone_is_left_out(make_source: MakeSource, read: Read) -> None:
    rows = [{"text": "q", "category": "a", "s": said} for said in ("Be kind.", None, "")]
    examples = read(make_source(rows), system="{s}", **NAMED)
    assert [contents(example)[:-2] for example in examples] == [["Be kind."], [], []]


@given(
    parts=st.lists(st.tuples(st.text(), st.sampled_from(["a", "b.c", "d e"]))),
    values=st.lists(st.text(), min_size=3, max_size=3),
)
def test_any_words_may_stand_between(parts: list[tuple[str, str]], values: list[str]) -> None:
    row = dict(zip(["a", "b.c", "d e"], values, strict=True))
    written = "".join(f"{words.replace('{', '{{').replace('}', '}}')}{{{name}}}" for words, name in parts)
    assert Template.parse(written, "user_template").text(row) == "".join(words + row[name] for words, name in parts)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{subject", r"user_template '\{subject' is not well-formed \(.*\)\. Write \{column\} for"),
        ("subject}", "not well-formed"),
        ("{}: {body}", "has braces that name no column"),
        ("{n:>5}", "expected the name of a column alone between braces, found 'n' with '>5'"),
        ("{n!r}", "found 'n' with 'r'"),
        ("Hello", "names no column: every row would read the same"),
        ("{bodi}", r'data has no column "bodi"\. Its columns are: .*\. Did you mean "body"\?'),
        ("{subject.__class__}", r'no field "subject.__class__": subject has no __class__\. It holds no fields'),
    ],
)
def test_anything_but_names_of_columns_is_refused(
    make_source: MakeSource, read: Read, template: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_one(make_source, read, template)


def test_two_text_columns_have_a_fast_path(make_source: MakeSource, choose: Choose) -> None:
    shape = choose(make_source([{"text": "q", "category": "a"}]), system="Be brief.", **NAMED)
    assert shape.two_text_columns == TwoTextColumns("text", "category", "Be brief.")
    assert shape.title == "columns text → category"
    assert shape.method == "supervised"


@pytest.mark.parametrize(
    ("split", "named"),
    [
        (SplitConfig(method="group", column="id"), NAMED),
        (SplitConfig(method="random", stratify_column="id"), NAMED),
        (SplitConfig(), {"user_template": "{text}", "assistant_column": "category"}),
    ],
)
def test_formats_that_need_more_have_no_fast_path(
    make_source: MakeSource, choose: Choose, split: SplitConfig, named: dict[str, str]
) -> None:
    shape = choose(make_source([{"text": "q", "category": "a", "id": 1}]), split=split, **named)
    assert shape.two_text_columns is None


def split_keys_of(
    make_source: Callable[..., Any], read: Callable[..., Any], values: list[Any], split: SplitConfig
) -> list[Any]:
    rows = [{"text": "q", "category": "a", "s": value} for value in values]
    return [(example.keys, example.findings) for example in read(make_source(rows), split=split, **NAMED)]


def test_the_column_says_the_side(make_source: MakeSource, read: Read) -> None:
    said = ["train", "TRAIN", " Training ", "validation", "valid", "Val", "dev", "eval", "test"]
    found = split_keys_of(make_source, read, said, SplitConfig(method="column", column="s"))
    assert [keys.declared_split for keys, _ in found] == [*["train"] * 3, *["validation"] * 5, "test"]
    assert not any(findings for _, findings in found)


@pytest.mark.parametrize(("value", "shown"), [("extra", '"extra"'), (3, '"3"')])
def test_any_other_value_is_a_finding(make_source: MakeSource, read: Read, value: int | str, shown: str) -> None:
    [(keys, findings)] = split_keys_of(make_source, read, [value], SplitConfig(method="column", column="s"))
    assert keys == SplitKeys()
    message = f"column s: expected train, validation or test, found {shown}."
    assert findings == (Finding("unknown_split", message),)


@pytest.mark.parametrize("value", [None, "", " "])
def test_empty_split_cell_assigns_no_split(make_source: MakeSource, read: Read, value: str | None) -> None:
    assert split_keys_of(make_source, read, [value], SplitConfig(method="column", column="s")) == [(SplitKeys(), ())]


def test_groups_and_strata_are_kept_as_text(make_source: MakeSource, read: Read) -> None:
    [(keys, _)] = split_keys_of(make_source, read, [7], SplitConfig(method="group", column="s"))
    assert keys == SplitKeys(group="7")
    [(keys, _)] = split_keys_of(make_source, read, ["x"], SplitConfig(method="random", stratify_column="s"))
    assert keys == SplitKeys(stratum="x")


def test_missing_split_column_names_the_nearest_one(make_source: MakeSource, choose: Choose) -> None:
    split = SplitConfig(method="group", column="customers")
    with pytest.raises(SourceError, match=r'no column "customers".* Did you mean "customer"\?'):
        choose(make_source([{"text": "q", "category": "a", "customer": 1}]), split=split, **NAMED)


def test_a_misspelt_column_is_set_right(make_source: MakeSource, choose: Choose) -> None:
    with pytest.raises(SourceError) as caught:
        choose(make_source([{"text": "q", "category": "a"}]), user_column="text", assistant_column="Categori")
    assert str(caught.value) == (
        'data has no column "Categori". Its columns are: text, category. Did you mean "category"?'
    )


def test_no_near_column_means_no_guess(make_source: MakeSource, choose: Choose) -> None:
    with pytest.raises(SourceError, match=r"category\.$"):
        choose(make_source([{"text": "q", "category": "a"}]), user_column="text", assistant_column="xyz")


def test_column_must_be_in_every_file(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"text": "q", "category": "a"}], [{"text": "q", "label": "a"}])
    with pytest.raises(SourceError, match=r'^1\.jsonl has no column "category"\. Its columns are: text, label\.'):
        choose(source, **NAMED)


def test_a_file_without_one_readable_line_is_left_to_the_checks(make_source: MakeSource, read: Read) -> None:
    source = make_source([{"text": "q", "category": "a"}], [Finding("not_json", "no object")])
    assert [len(example.findings) for example in read(source, **NAMED)] == [0, 1]


def test_a_column_that_is_there_twice_is_refused(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"text": "q", "category": "a"}], columns=("text", "category", "text"))
    with pytest.raises(SourceError, match='more than one column "text"'):
        choose(source, **NAMED)


def test_a_hundred_columns_are_not_all_shown(make_source: MakeSource, choose: Choose) -> None:
    with pytest.raises(SourceError, match=r"c29 and 70 more\."):
        choose(make_source([{f"c{number}": "x" for number in range(100)}]), **NAMED)
