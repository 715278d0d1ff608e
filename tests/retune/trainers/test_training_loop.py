import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trainings import Pair, ask, finished, make_task, steps, train, write_rows

from retune.errors import TrainerError
from retune.trainers.base import CheckpointSaved, StepMetrics, TrainingFinished, TrainingUpdate
from retune.trainers.conditional_lm.tokenizer import AnswerTokenizer
from retune.trainers.registry import default_trainer


def numbered(n_rows: int) -> list[Pair]:
    return [(f"message {number}", f"answer {number % 5}") for number in range(n_rows)]


@pytest.mark.parametrize(
    ("n_rows", "n_epochs", "batch_size", "ends"),
    [(82, 5, 7, [12, 24, 36, 47, 59]), (46, 3, 1, [46, 92, 138]), (10, 3, 64, [1]), (10, 2, 5, [2, 4])],
)
def test_batches_run_on_across_epochs(
    tmp_path: Path, n_rows: int, n_epochs: int, batch_size: int, ends: list[int]
) -> None:
    path = write_rows(tmp_path / "train.jsonl", numbered(n_rows))
    updates = train(path, tmp_path / "job", n_epochs=n_epochs, batch_size=batch_size)
    total = math.ceil(n_rows * n_epochs / batch_size)
    assert [step.step for step in steps(updates)] == list(range(1, total + 1))
    assert {step.total_steps for step in steps(updates)} == {total}
    assert [update.step for update in updates if isinstance(update, CheckpointSaved)] == ends
    assert isinstance(updates[-1], TrainingFinished)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_metrics_and_another_one_others(support_file: Path, tmp_path: Path) -> None:
    first, again, other = (
        train(support_file, tmp_path / name, seed=seed, validation_file=support_file)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert steps(first) == steps(again)
    assert steps(first) != steps(other)


@pytest.mark.parametrize("stopped_after", [30, 60])
def test_a_resumed_training_gives_the_metrics_of_an_uninterrupted_one(
    support_file: Path, tmp_path: Path, stopped_after: int
) -> None:
    options = {"batch_size": 4, "validation_file": support_file}
    whole = steps(train(support_file, tmp_path / "whole", **options))
    interrupted = default_trainer().train(make_task(support_file, tmp_path / "job", **options))
    saved = [update for update in itertools.islice(interrupted, stopped_after) if isinstance(update, CheckpointSaved)]
    interrupted.close()  # type: ignore[attr-defined]
    resumed = steps(train(support_file, tmp_path / "job", resume=True, **options))
    assert saved
    assert resumed == whole[saved[-1].step :]


def test_resuming_a_finished_training_only_says_so(support_file: Path, tmp_path: Path) -> None:
    updates = train(support_file, tmp_path / "job")
    assert train(support_file, tmp_path / "job", resume=True) == [updates[-1]]


def test_resuming_another_training_is_refused(support_file: Path, tmp_path: Path) -> None:
    train(support_file, tmp_path / "job", n_epochs=1, seed=1)
    with pytest.raises(TrainerError, match="epoch-0001 belongs to a training with other files"):
        train(support_file, tmp_path / "job", n_epochs=1, seed=2, resume=True)


def test_a_training_begun_anew_leaves_no_old_checkpoint(support_file: Path, tmp_path: Path) -> None:
    train(support_file, tmp_path / "job", n_epochs=3)
    train(support_file, tmp_path / "job", n_epochs=2)
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == ["epoch-0001", "epoch-0002"]


def test_only_the_newest_unfinished_checkpoint_keeps_what_resuming_needs(support_file: Path, tmp_path: Path) -> None:
    kept = [
        [path.parent.name for path in (tmp_path / "job").glob("*/training.npz")]
        for update in default_trainer().train(make_task(support_file, tmp_path / "job"))
        if isinstance(update, CheckpointSaved)
    ]
    assert kept == [["epoch-0001"], ["epoch-0002"], []]


def test_validation_runs_every_ten_steps_and_fully_each_epoch(support_file: Path, tmp_path: Path) -> None:
    valid = write_rows(tmp_path / "valid.jsonl", [("where is it", "an answer never seen: 未知 🤷")] * 3)
    reported = steps(train(support_file, tmp_path / "job", n_epochs=2, batch_size=8, validation_file=valid))
    assert len(reported) == 23
    assert [step.step for step in reported if step.valid_loss is not None] == [10, 20, 23]
    assert [step.step for step in reported if step.full_valid_loss is not None] == [12, 23]
    assert all(0 < step.full_valid_loss < 100 for step in reported if step.full_valid_loss is not None)
    # The last batch holds every row: the two figures are of the same answers and the same weights.
    assert reported[-1].valid_loss == reported[-1].full_valid_loss
    assert reported[-1].valid_mean_token_accuracy == reported[-1].full_valid_mean_token_accuracy


def test_without_a_validation_file_its_metrics_are_none(support_file: Path, tmp_path: Path) -> None:
    for step in steps(train(support_file, tmp_path / "job", n_epochs=1)):
        assert step.valid_loss is step.valid_mean_token_accuracy is None
        assert step.full_valid_loss is step.full_valid_mean_token_accuracy is None


def test_training_metrics_are_those_of_the_batch_before_its_update(support_file: Path, tmp_path: Path) -> None:
    first = {
        multiplier: steps(train(support_file, tmp_path / "job", learning_rate_multiplier=multiplier))[0]
        for multiplier in (0.1, 3.0)
    }
    assert first[0.1] == first[3.0]


def test_turns_of_weight_zero_change_nothing(support_pairs: list[Pair], tmp_path: Path) -> None:
    def rows(ignored_answer: str) -> list[dict[str, object]]:
        ignored = {"role": "assistant", "content": ignored_answer, "weight": 0}
        return [
            {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}, ignored]}
            for user, answer in support_pairs
        ]

    losses = [
        [step.train_loss for step in steps(train(write_rows(tmp_path / name, rows(text)), tmp_path / "job"))]
        for name, text in (("a.jsonl", "never"), ("b.jsonl", "mind this"))
    ]
    assert losses[0] == losses[1]


def test_trained_tokens_are_counted_as_the_api_bills_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "train.jsonl", [("hi", "ok"), ("yo", "ok")])
    tokenizer = AnswerTokenizer.learn(["ok", "ok"])
    assert len(tokenizer.encode("ok")) == 1
    # Role and content of each message by their tokens: bytes where no piece is known.
    a_row = 1 + (3 + len("user") + 2) + (3 + len("assistant") + 1)
    assert finished(train(path, tmp_path / "job", n_epochs=5)).trained_tokens == 5 * 2 * a_row


def test_a_fine_tuned_model_can_be_trained_on(support_file: Path, support_pairs: list[Pair], tmp_path: Path) -> None:
    base = finished(train(support_file, tmp_path / "base", batch_size=1)).directory
    more = [
        (f"do you sell {thing}", "product question") for thing in ("chairs", "椅子", "tables", "lamps", "desks")
    ] * 2
    path = write_rows(tmp_path / "more.jsonl", more)
    updates = train(path, tmp_path / "more", base_directory=base, batch_size=1, n_epochs=3)
    model = default_trainer().load(finished(updates).directory)
    assert ask(model, "do you sell sofas") == "product question"
    known = {answer for _, answer in support_pairs}
    assert sum(ask(model, user) in known for user, _ in support_pairs) > 30


def test_a_base_that_cannot_be_read_is_refused_before_anything_is_removed(support_file: Path, tmp_path: Path) -> None:
    train(support_file, tmp_path / "job", n_epochs=1)
    with pytest.raises(TrainerError, match="Can't read the checkpoint file"):
        train(support_file, tmp_path / "job", base_directory=tmp_path / "nowhere")
    assert (tmp_path / "job" / "epoch-0001").exists()


def test_a_training_that_diverges_says_so(support_file: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="diverged") as caught:
        train(support_file, tmp_path / "job", learning_rate_multiplier=1e30)
    assert "learning_rate_multiplier" in (caught.value.hint or "")
    assert not list((tmp_path / "job").glob("epoch-*"))


@pytest.mark.slow
def test_long_answers_are_learned_whole(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "train.jsonl", [("count", " ".join(map(str, range(3000))))] * 2)
    assert all(math.isfinite(step.train_loss) for step in steps(train(path, tmp_path / "job", batch_size=2)))


def test_updates_travel_as_json(support_file: Path, tmp_path: Path) -> None:
    updates: list[TrainingUpdate] = train(support_file, tmp_path / "job", n_epochs=1)
    assert StepMetrics.model_validate_json(steps(updates)[0].model_dump_json()) == updates[0]


@pytest.mark.parametrize("answers", ["known", "free"])
def test_another_process_gives_the_same_metrics(tmp_path: Path, answers: str) -> None:
    # Python hashes text differently in every process: no order of a set or dict may find its way into the numbers.
    rows = [(f"message {n}", f"answer {n % 5}" if answers == "known" else f"回答 {n} of many {n}") for n in range(30)]
    path = write_rows(tmp_path / "train.jsonl", rows)
    task = make_task(path, tmp_path / "job", n_epochs=1)
    code = (
        "import sys\n"
        "from retune.trainers.base import TrainingTask\n"
        "from retune.trainers.registry import default_trainer\n"
        "for update in default_trainer().train(TrainingTask.model_validate_json(sys.argv[1])):\n"
        "    print(update.model_dump_json())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, task.model_dump_json()],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 10
