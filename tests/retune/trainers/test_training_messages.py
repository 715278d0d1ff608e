from pathlib import Path
from typing import Any

import pytest
from trainings import write_rows

from retune.errors import TrainerError
from retune.trainers.conditional_lm.messages import Turn, read_rows, text_of

USER = {"role": "user", "content": "hello"}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def answers(path: Path, *messages: dict[str, Any]) -> list[str]:
    return [answer.text for row in read_rows(write_rows(path, [{"messages": messages}])) for answer in row.answers]


def test_every_assistant_turn_is_learned_with_what_was_said_before(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    path = write_rows(tmp_path / "a.jsonl", [{"messages": [system, USER, assistant("one"), USER, assistant("two")]}])
    (row,) = read_rows(path)
    first, second = row.answers
    assert (first.text, first.conversation) == ("one", (Turn("system", "Be brief."), Turn("user", "hello")))
    assert (second.text, len(second.conversation)) == ("two", 4)


def test_turns_of_weight_zero_and_without_text_are_not_learned(tmp_path: Path) -> None:
    messages = [assistant("no", weight=0), assistant(None, tool_calls=[]), assistant("yes", weight=1), assistant("")]
    assert answers(tmp_path / "a.jsonl", USER, *messages) == ["yes", ""]


def test_rows_without_an_answer_to_learn_are_left_out(tmp_path: Path) -> None:
    skipped = {"messages": [USER, assistant("no", weight=0)]}
    path = write_rows(tmp_path / "a.jsonl", [skipped, ("hello", "yes"), skipped])
    assert [row.answers[0].text for row in read_rows(path)] == ["yes"]


def test_a_file_with_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"a\.jsonl: expected assistant messages"):
        answers(tmp_path / "a.jsonl", USER, assistant("no", weight=0))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", 'line 2: expected an object with "messages", or with "prompt" and "completion"'),
        ('{"messages": ["hi"]}', 'line 2: expected an object with a list "messages"'),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [("hello", "hi")])
    path.write_text(path.read_text() + line)
    with pytest.raises(TrainerError, match=complaint):
        read_rows(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"Can't read gone\.jsonl"):
        read_rows(tmp_path / "gone.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(TrainerError, match="not UTF-8"):
        read_rows(tmp_path / "latin.jsonl")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("plain", "plain"),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}, {"text": "b"}], "a\nb"),
        ("half \ud83d a pair", "half \ufffd a pair"),
        (3, ""),
    ],
)
def test_message_content_becomes_text(content: Any, text: str) -> None:
    assert text_of(content) == text
