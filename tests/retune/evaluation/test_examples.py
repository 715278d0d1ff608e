"""From the test split's file to questions."""

import json
from pathlib import Path
from typing import Any

import pytest

from retune.errors import SourceError
from retune.evaluation.examples import example_from_messages, read_examples

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "質問\u2028?"}
ASSISTANT = {"role": "assistant", "content": "答え", "weight": 1}


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def conversation(*messages: dict[str, Any]) -> str:
    return json.dumps({"messages": messages}, ensure_ascii=False)


def test_the_last_assistant_message_is_expected_and_the_rest_is_asked() -> None:
    example = example_from_messages(3, [SYSTEM, USER, ASSISTANT, USER, {"role": "assistant", "content": "last"}, USER])

    assert example is not None
    assert example.index == 3
    assert example.expected == "last"
    # `weight` is for training alone; asked with it, the API would refuse.
    assert example.prompt == [SYSTEM, USER, {"role": "assistant", "content": "答え"}, USER]


@pytest.mark.parametrize("answer", [{"role": "assistant", "content": None, "tool_calls": []}, USER])
def test_examples_without_a_text_to_expect_are_left_out(tmp_path: Path, answer: dict[str, Any]) -> None:
    path = write_lines(tmp_path / "test.jsonl", conversation(USER, answer), "", conversation(USER, ASSISTANT))

    (example,) = read_examples(path)

    assert (example.index, example.expected) == (1, "答え")


def test_a_prompt_and_its_completion_are_asked_as_such(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "test.jsonl", '{"prompt": "", "completion": " yes\\n"}')

    (example,) = read_examples(path)

    assert (example.prompt, example.expected) == ([{"role": "user", "content": ""}], " yes\n")
    assert example.completes


def test_completions_are_expected_without_the_sequence_that_ends_them_all(tmp_path: Path) -> None:
    lines = [f'{{"prompt": "{n}?\\n\\n###\\n\\n", "completion": " answer {n} END"}}' for n in range(3)]
    examples = read_examples(write_lines(tmp_path / "test.jsonl", *lines))

    assert [example.stop for example in examples] == [" END"] * 3
    assert [example.expected for example in examples] == [" answer 0", " answer 1", " answer 2"]


def test_what_stands_within_a_completion_too_does_not_stop_one(tmp_path: Path) -> None:
    lines = [f'{{"prompt": "{n}?", "completion": "first\\nthen {n}\\n"}}' for n in range(3)]
    examples = read_examples(write_lines(tmp_path / "test.jsonl", *lines))

    assert [(example.stop, example.expected) for example in examples] == [
        (None, f"first\nthen {n}\n") for n in range(3)
    ]


def test_example_limit_takes_the_first_examples(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "test.jsonl", *[conversation(USER, ASSISTANT)] * 5)

    assert [example.index for example in read_examples(path, limit=2)] == [0, 1]
    assert len(read_examples(path)) == 5


def test_first_example_excludes_the_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(conversation(USER, ASSISTANT), encoding="utf-8-sig")

    assert [example.expected for example in read_examples(path)] == ["答え"]


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"prompt": "x"}', '{"messages": ["x"]}', '{"messages": null}'])
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str) -> None:
    path = write_lines(tmp_path / "test.jsonl", conversation(USER, ASSISTANT), line)

    with pytest.raises(SourceError, match=r"test\.jsonl, line 2: expected"):
        read_examples(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Can't read the test split .*nowhere\.jsonl"):
        read_examples(tmp_path / "nowhere.jsonl")
