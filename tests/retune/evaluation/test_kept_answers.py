"""Answers that are kept in a file, so that a rerun asks only for what is missing."""

import json
from pathlib import Path

import openai
import pytest
from chat_host import Host, completion, failure, questions

from retune.errors import (
    RunDirectoryError,
)
from retune.evaluation.answers import answer_examples

# --- answers on disk ---------------------------------------------------------------------------------------------


async def test_a_rerun_asks_only_for_what_is_missing(
    host: Host,
    client: openai.AsyncOpenAI,
    tmp_path: Path,
) -> None:
    path = tmp_path / "run" / "answers.jsonl"
    host.behave = lambda body, _attempt: (
        failure(400, "flagged") if "question 2" in str(body) else completion("第一回\u2028x")
    )
    first = await answer_examples(client, "m", questions(5), answers_path=path)
    host.behave = lambda _body, _attempt: completion("second")
    host.requests.clear()

    second = await answer_examples(client, "m", questions(6), answers_path=path)

    assert sorted(host.asked()) == ["question 2", "question 5"]
    assert [second[i] for i in (0, 1, 3, 4)] == [first[i] for i in (0, 1, 3, 4)]
    assert (second[2].content, second[5].content) == ("second", "second")


async def test_other_models_and_settings_are_asked_anew(host: Host, client: openai.AsyncOpenAI, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for model, max_tokens, seed in [("m", 9, 1), ("n", 9, 1), ("m", 8, 1), ("m", 9, None), ("m", 9, 1)]:
        await answer_examples(client, model, questions(2), answers_path=path, max_tokens=max_tokens, seed=seed)

    assert len(host.requests) == 8


async def test_a_kept_answer_is_put_to_the_example_that_asks_now(
    host: Host, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    path = tmp_path / "answers.jsonl"
    await answer_examples(client, "m", questions(1), answers_path=path)
    moved = questions(1)[0].model_copy(update={"index": 9, "expected": "now this"})

    answers = await answer_examples(client, "m", [moved], answers_path=path)

    assert (answers[0].index, answers[0].expected, answers[0].content) == (9, "now this", "answer to question 0")
    assert len(host.requests) == 1


@pytest.mark.parametrize("kept_bytes_of_the_last_line", [1, 30, -1])
async def test_a_torn_last_line_is_asked_again(
    host: Host, client: openai.AsyncOpenAI, tmp_path: Path, kept_bytes_of_the_last_line: int
) -> None:
    path = tmp_path / "answers.jsonl"
    await answer_examples(client, "m", questions(3), answers_path=path, concurrency=1)
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:kept_bytes_of_the_last_line])
    host.requests.clear()

    for _ in range(2):
        answers = await answer_examples(client, "m", questions(3), answers_path=path)

    assert [answer.content for answer in answers] == [f"answer to question {i}" for i in range(3)]
    assert host.asked() == ["question 2"]
    assert all(json.loads(line)["model"] == "m" for line in path.read_bytes().splitlines())


async def test_an_answers_file_of_something_else_is_refused(
    host: Host, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"messages": []}\n')

    with pytest.raises(RunDirectoryError, match=r"answers.jsonl, line 1: .*Delete the file"):
        await answer_examples(client, "m", questions(1), answers_path=path)

    assert path.read_text() == '{"messages": []}\n'
    assert host.requests == []


async def test_an_answers_file_that_cannot_be_written(client: openai.AsyncOpenAI, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RunDirectoryError, match="Can't write the answers"):
        await answer_examples(client, "m", questions(1), answers_path=tmp_path / "file" / "answers.jsonl")
