import shlex
from collections.abc import Callable
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.data.example.example import Example
from retune.data.formats.cells import python_literal, structure_in
from retune.data.formats.column_names import field_value
from retune.data.formats.row_format import ColumnFormat
from retune.data.problems.problems import Finding
from retune.errors import SourceError


def answers(examples: list[Example]) -> list[str]:
    assert [example.findings for example in examples] == [()] * len(examples)
    return [example.body["messages"][-1]["content"] for example in examples]


ROW: dict[str, Any] = {"translation": {"en": "dog", "de": "Hund"}, "answers": {"text": ["six", "6"]}}


@pytest.mark.parametrize("row", [ROW, {name: str(value) for name, value in ROW.items()}])
def test_path_selects_a_nested_field(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    row: dict[str, Any],
) -> None:
    source = make_source([row])
    named = {"user_column": "translation.en", "assistant_template": "{answers.text.1}: {translation.de}"}
    assert answers(read(source, **named, system="From {translation.en}.")) == ["6: Hund"]
    shape = choose(source, **named)
    assert shape.title == "columns translation.en → answers.text.1, translation.de (by templates)"
    assert isinstance(shape, ColumnFormat)
    assert shape.uses("translation")


def test_a_column_with_a_dot_in_its_name_comes_first() -> None:
    row = {"a": {"b": {"c": 1}}, "a.b": {"c": 2}, "a.b.c": 3}
    assert field_value(row, "a.b.c") == 3
    assert field_value({"a": row["a"], "a.b": row["a.b"]}, "a.b.c") == 2
    assert field_value({"a": row["a"]}, "a.b.c") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("translation.fr", 'no field "translation.fr": translation has no fr. It has: en, de.'),
        ("translation.en.x", "translation.en has no x. It holds no fields, but text or numbers."),
        ("answers.text.9", "answers.text has no 9. It holds lists: answers.text.0 is the first of each."),
        ("translatoin.en", 'has no column "translatoin.en". Its columns are: translation, answers.'),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_there(
    make_source: MakeSource, choose: Choose, name: str, message: str
) -> None:
    source = make_source([ROW])
    for named in ({"user_column": name}, {"user_template": f"{{{name}}}"}):
        with pytest.raises(SourceError) as caught:
            choose(source, **named, assistant_column="translation.de")
        assert message in str(caught.value)


def test_a_row_without_the_field_has_nothing_to_learn(make_source: MakeSource, read: Read) -> None:
    rows = [ROW, {**ROW, "translation": {"en": "cat"}}]
    [_, example] = read(make_source(rows), user_column="translation.en", assistant_column="translation.de")
    assert example.body["messages"][1]["content"] is None


@pytest.mark.parametrize("write", [lambda label: [label], lambda label: f'["{label}"]', lambda label: f"['{label}']"])
def test_lists_of_one_text_are_that_text(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    write: Callable[..., Any],
) -> None:
    rows = [{"text": "q", "label": write(label)} for label in ("repair", "sale")]
    assert answers(read(make_source(rows))) == ["repair", "sale"]
    assert choose(make_source(rows)).title == "columns text → label (the one text of each list) (by their names)"


def test_a_longer_list_after_them_is_named_and_a_template_reads_all(make_source: MakeSource, read: Read) -> None:
    rows = [{"text": "q", "label": ["a"]}] * 101 + [{"text": "q", "label": ["a", "b"]}]
    *_, odd = read(make_source(rows))
    message = (
        'column label: expected a list of one text, as the first rows have; found ["a", "b"]. '
        "Every list is read as JSON by: --user-column text --assistant-template '{label}'"
    )
    assert odd.findings == (Finding("not_one_text", message),)
    template = {"user_column": "text", "assistant_template": "{label}"}
    assert answers(read(make_source(rows), **template))[-2:] == ['["a"]', '["a", "b"]']


@pytest.mark.parametrize(
    ("row", "named", "flags"),
    [
        ({"my text": "q"}, {"user_column": "my text"}, "--user-column 'my text'"),
        ({"a": "p", "b": "q"}, {"user_template": "{a}; {b}"}, "--user-template '{a}; {b}'"),
        ({"instruction": "Sort.", "input": "wool"}, {}, "--user-template '{instruction} {input}'"),
    ],
)
def test_an_empty_list_names_what_reads_it_with_the_same_question(
    make_source: MakeSource,
    read: Read,
    row: dict[str, str],
    named: dict[str, str],
    flags: str,
) -> None:
    rows = [{**row, "output": ["yarn"]}, {**row, "output": []}]
    named = {**named, "assistant_column": "output"} if named else {}
    _, empty = read(make_source(rows), **named)
    [finding] = empty.findings
    assert finding.message.endswith(
        f"found []. Every list is read as JSON by: {flags} --assistant-template '{{output}}'"
    )
    keys = [word.strip("-").replace("-", "_") for word in shlex.split(finding.message.split("by: ")[1])]
    followed = dict(zip(keys[::2], shlex.split(finding.message.split("by: ")[1])[1::2], strict=True))
    assert answers(read(make_source(rows), **followed)) == ['["yarn"]', "[]"]


@pytest.mark.parametrize("lists", [[["a", "b"], []], [["a", "b"], ["c"]], ["['a', 'b']", "[]"]])
def test_other_lists_are_json_and_said_so(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    lists: list[Any],
) -> None:
    rows = [{"text": "q", "labels": labels} for labels in lists]
    assert answers(read(make_source(rows)))[0] == '["a", "b"]'
    shape = choose(make_source(rows))
    assert shape.title == "columns text → labels (lists as JSON) (by their names)"
    [remark] = shape.remarks
    assert remark.message == 'column labels holds lists, which are read as JSON text, such as ["a", "b"].'


def test_json_that_is_written_as_text_is_meant(make_source: MakeSource, read: Read, choose: Choose) -> None:
    rows = [{"text": "q", "label": '{"b":1, "a":2}'}]
    assert answers(read(make_source(rows))) == ['{"b":1, "a":2}']
    shape = choose(make_source(rows))
    assert (shape.title, shape.remarks) == ("columns text → label (objects as JSON) (by their names)", ())


def test_words_in_brackets_are_words(make_source: MakeSource, read: Read, choose: Choose) -> None:
    rows = [{"text": "[sic] q", "label": "[none]"}, {"text": "['q']", "label": "x"}]
    assert answers(read(make_source(rows))) == ["[none]", "x"]
    assert choose(make_source(rows)).title == "columns text → label (by their names)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[{'a': None, 'b': (1, True)}]", [{"a": None, "b": [1, True]}]),
        (r"['\d']", ["\\d"]),
        ("__import__('os')", None),
        ("[print(1)]", None),
        ("{1, 2}", None),
        ("[" * 5000, None),
        ("['" + "a" * (1 << 20) + "']", None),
        ("['a' 'b'", None),
    ],
)
def test_python_is_read_and_never_run(text: str, found: list[Any] | None) -> None:
    assert python_literal(text) == found
    assert structure_in(text) == found


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ([0, 1, 1, 0], "0, 1"),
        ([2, 0, 1, 2, 1, 0], "0, 1, 2"),
        ([1, 2, 3, 4], None),
        ([True, False] * 2, None),
        (["0"] * 4, None),
    ],
)
def test_numbers_in_place_of_labels_are_named(
    make_source: MakeSource, choose: Choose, labels: list[Any], numbers: str | None
) -> None:
    remarks = choose(make_source([{"text": "t", "label": label} for label in labels])).remarks
    expected = f"column label holds the numbers {numbers}, which are learned as they stand."
    assert remarks == (() if numbers is None else (Finding("numbered_labels", expected),))
