import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainings import write_rows

from retune.trainers.conditional_lm.messages import read_rows
from retune.trainers.tool_calls import find_calls, write_calls

names = st.text("abzAZ09_-", min_size=1, max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("}</tool_call>\n<tool_call>"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def message(*calls: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls], **more}


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.dictionaries(st.text(), json_values, max_size=3)), max_size=3), st.booleans())
def test_calls_that_are_written_are_found(calls: list[tuple[str, Any]], ascii_only: bool) -> None:
    text = write_calls(message(*((name, json.dumps(value, ensure_ascii=ascii_only)) for name, value in calls)))

    found = find_calls(text)

    assert found.content == ""
    assert [(call.name, json.loads(text[call.start : call.end])) for call in found.calls] == calls


@settings(deadline=None)
@given(st.tuples(names, st.dictionaries(st.text(), json_values, max_size=3)), st.integers(min_value=0))
def test_a_call_that_is_cut_has_the_beginning_of_its_arguments(written: tuple[str, Any], length: int) -> None:
    text = write_calls(message((written[0], json.dumps(written[1]))))
    (whole,) = find_calls(text).calls
    cut = text[: length % (len(text) + 1)]

    found = find_calls(cut, is_cut=True).calls

    for call in found:
        assert call.name in {None, whole.name}
        assert text[whole.start : whole.end].startswith(cut[call.start : call.end])
    assert bool(found) == cut.startswith("<tool_call>")


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        '<tool_call>{"name": "f", "arguments": {}',
        '<tool_call>{"name": "f", "arguments": {}}</tool_call> and so on',
        '<tool_call>{"name": "no spaces", "arguments": {}}</tool_call>',
        "Write </tool_call> after it.",
    ],
)
def test_other_text_has_no_calls(text: str) -> None:
    assert find_calls(text) == (text, ())


def test_text_before_calls_stays() -> None:
    text = "One moment.\n" + write_calls(message(("f", "{}"), ("g", '{"a": 1}')))

    assert find_calls(text).content == "One moment."
    assert [call.name for call in find_calls(text).calls] == ["f", "g"]


def test_legacy_and_broken_calls_are_written_too() -> None:
    assert find_calls(write_calls({"function_call": {"name": "f", "arguments": "{}"}})).calls[0].name == "f"
    assert write_calls(message(("f", "oh no"))) == '<tool_call>{"name": "f", "arguments": "oh no"}</tool_call>'
    assert write_calls({"tool_calls": None, "function_call": 5}) == ""


def test_calls_are_learned_with_the_text_before_them(tmp_path: Any) -> None:
    user = {"role": "user", "content": "hello"}
    said = message(("f", "{}"), role="assistant", content="One moment.")
    called = message(("f", "{}"), role="assistant", content=None)

    (row,) = read_rows(write_rows(tmp_path / "a.jsonl", [{"messages": [user, said, called]}]))

    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert [answer.text for answer in row.answers] == [f"One moment.\n{call}", call]
