import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import example_lines

from retune.server.training.validation import (
    InvalidFileError,
    ValidationStopped,
    check_training_file,
    check_validation_file,
)

USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "hello"}
GO_ON = threading.Event()


def problem_of(path: Path, example: Any) -> str:
    line = example if isinstance(example, str) else json.dumps(example)
    path.write_text(f"{example_lines(10).decode()}{line}\n", encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, GO_ON)
    assert (caught.value.code, caught.value.param) == ("invalid_training_file", "training_file")
    prefix = "The job failed due to an invalid training file. Invalid file format: line 11: "
    assert caught.value.message.startswith(prefix)
    return caught.value.message.removeprefix(prefix)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ([USER, ASSISTANT], "expected a JSON object, found a list"),
        ({}, "expected the key 'messages', found an empty object"),
        ({"prompt": "a", "completion": "b"}, "the old prompt and completion format"),
        ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "the preference format"),
        ({"messages": []}, "at least one message"),
        ({"messages": "hi"}, "found a string"),
        ({"messages": [USER]}, "no message from the assistant"),
        ({"messages": [USER, "hello"]}, "messages[1]: expected an object, found a string"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "found 'bot'"),
        ({"messages": [USER, {"role": "assistant"}]}, "'content' must be text, found null"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "messages[1]: 'content' is empty"),
        ({"messages": [USER, {**ASSISTANT, "mood": "good"}]}, "unknown key 'mood'"),
        ({"messages": [USER, {**ASSISTANT, "weight": 2}]}, "'weight' must be 0 or 1"),
        ({"messages": [{**USER, "weight": 1}, ASSISTANT]}, "on user"),
        ({"messages": [USER, ASSISTANT], "label": 1}, "unknown key 'label'"),
        ({"messages": [USER, ASSISTANT], "tools": [{}]}, "'tools' can't be learned"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]}, "'tool_calls' can't be learned"),
        ({"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "1"}]}, "can't be learned"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}, "found 'image_url'"),
        ({"messages": [{"role": "user", "content": []}, ASSISTANT]}, "'content' is empty"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, example: Any, words: str):
    assert words in problem_of(tmp_path / "train.jsonl", example)


def test_good_files_are_counted_blank_lines_and_byte_order_mark_aside(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, {**ASSISTANT, "weight": 0}]}
    lines = [*example_lines(10).decode().splitlines(), "", json.dumps(parts), "  "]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())

    assert check_training_file(path, GO_ON) == 11


def test_a_validation_file_needs_one_example(tmp_path: Path):
    path = tmp_path / "validation.jsonl"
    path.write_bytes(example_lines(1))
    check_validation_file(path, GO_ON)
    path.write_bytes(b"\n")

    with pytest.raises(InvalidFileError, match="it holds no examples") as caught:
        check_validation_file(path, GO_ON)
    assert (caught.value.code, caught.value.param) == ("invalid_validation_file", "validation_file")


def test_a_server_that_stops_is_not_kept_waiting(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(example_lines(10))
    stopping = threading.Event()
    stopping.set()

    with pytest.raises(ValidationStopped):
        check_training_file(path, stopping)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]) | json_values, "content": json_values},
    optional={"weight": json_values, "tool_calls": json_values, "name": json_values},
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"messages": st.lists(messages | json_values, max_size=3) | json_values}) | json_values,
        min_size=1,
        max_size=2,
    )
)
def test_no_json_at_all_makes_it_stumble(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]):
    path = tmp_path_factory.mktemp("any") / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, GO_ON)

    assert caught.value.code in {"invalid_training_file", "invalid_n_examples"}
