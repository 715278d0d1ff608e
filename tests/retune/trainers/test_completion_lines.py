from pathlib import Path

import pytest
from trainings import finished, train, write_rows

from retune.errors import TrainerError
from retune.trainers.conditional_lm.messages import Turn, read_rows
from retune.trainers.conditional_lm.tokenizer import AnswerTokenizer
from retune.trainers.registry import default_trainer

LINES = [{"prompt": f"{colour} ->", "completion": f" {colour}ish\n\n###"} for colour in ("red", "green", "blue")] * 8


def test_prompt_and_completion_are_read_to_the_letter(tmp_path: Path) -> None:
    (row,) = read_rows(write_rows(tmp_path / "a.jsonl", [{"prompt": " hello ->\n", "completion": " yes\n"}]))
    (answer,) = row.answers
    assert (answer.conversation, answer.text) == ((Turn("user", " hello ->\n"),), " yes\n")
    assert not row.is_chat


@pytest.mark.parametrize(
    "line", [{"prompt": "a"}, {"prompt": 1, "completion": "b"}, {"prompt": "a", "completion": None}]
)
def test_lines_without_both_texts_are_named(tmp_path: Path, line: dict[str, object]) -> None:
    with pytest.raises(TrainerError, match='line 1: expected an object with "messages", or with the texts'):
        read_rows(write_rows(tmp_path / "a.jsonl", [line]))


def test_completions_are_learned_with_their_spaces_and_their_stop_sequence(tmp_path: Path) -> None:
    end = finished(train(write_rows(tmp_path / "a.jsonl", LINES), tmp_path / "job", batch_size=1, n_epochs=5))
    model = default_trainer().load(end.directory)
    for line in LINES[:3]:
        assert model.complete(line["prompt"], temperature=0).content == line["completion"]
        cut = model.complete(line["prompt"], temperature=0, stop=["\n\n###"])
        assert cut.content == line["completion"].removesuffix("\n\n###")


def test_trained_tokens_are_those_of_the_prompts_and_the_completions(tmp_path: Path) -> None:
    end = finished(train(write_rows(tmp_path / "a.jsonl", LINES), tmp_path / "job", n_epochs=2))
    tokenizer = AnswerTokenizer.learn(line["completion"] for line in LINES)
    tokens = sum(len(tokenizer.encode(line["prompt"])) + len(tokenizer.encode(line["completion"])) for line in LINES)
    assert end.trained_tokens == 2 * tokens
