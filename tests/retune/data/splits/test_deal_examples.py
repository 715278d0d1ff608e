import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_stores import chat, make_store
from split_keys import AskedRow, make_keys, rows_by_split

from retune.config import DataConfig, SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.splits.keys import TEST, TRAIN, VALIDATION
from retune.data.splits.origins import find_origins
from retune.data.splits.split import assign, split_examples
from retune.errors import DataError

BY_CHANCE = "Examples go by their hashes: in small data their shares come out by chance."
CONTENT_METHODS = (SplitMethod.STABLE, SplitMethod.RANDOM, SplitMethod.GROUP)


def config_of(method: SplitMethod, **settings: Any) -> SplitConfig:
    takes_column = method in (SplitMethod.GROUP, SplitMethod.COLUMN)
    return SplitConfig(method=method, column="key" if takes_column else None, **settings)


def numbered(count: int) -> list[dict[str, Any]]:
    return [chat(f"question {number}", "a") for number in range(count)]


def store_of(directory: Path, bodies: list[dict[str, Any]], config: SplitConfig, **more: Any) -> ExampleStore:
    return make_store(directory / "store", bodies, split=config, **more)


@pytest.mark.parametrize(
    ("config", "validation", "test"),
    [
        (SplitConfig(), [0, 2, 15, 26, 28], [1, 16, 17]),
        (SplitConfig(seed=0), [2], [0, 26]),
        (SplitConfig(validation=4, test=3), [2, 15, 26, 28], [1, 16, 17]),
        (
            config_of(SplitMethod.GROUP, validation=0.2, test=0.2),
            [0, 1, 2, 3, 4, 5],
            [9, 10, 11, 15, 16, 17, 24, 25, 26],
        ),
        (SplitConfig(method=SplitMethod.RANDOM), [1, 5, 16], [15, 23, 27]),
        (SplitConfig(method=SplitMethod.RANDOM, stratify=True), [2, 3, 16], [7, 8, 25]),
    ],
    ids=["stable", "another seed", "counts", "group", "random", "stratified"],
)
def test_sides_are_these_for_all_time(config: SplitConfig, validation: list[int], test: list[int]) -> None:
    """Written down once: another version of the library must not assign last year's test examples to training."""
    rows = [AskedRow(number, "ab"[number % 2], str(number // 3)) for number in range(30)]
    splits = assign(make_keys(rows, config.seed, is_stratified=config.stratify), config)
    assert rows_by_split(splits)[1:] == (validation, test)


def test_examples_of_a_store_are_dealt_as_their_keys_are(tmp_path: Path) -> None:
    store = store_of(tmp_path, numbered(30), SplitConfig())
    assert rows_by_split(split_examples(store, SplitConfig()))[1:] == ([0, 2, 15, 26, 28], [1, 16, 17])
    assert np.array_equal(split_examples(store, SplitConfig()), store.column("part"))


def test_examples_read_for_another_seed_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, numbered(30), SplitConfig(seed=1))
    with pytest.raises(ValueError, match="read for a split with the seed 1, not 42"):
        split_examples(store, SplitConfig())


def test_stable_validation_does_not_move_the_test_split() -> None:
    keys = make_keys([AskedRow(number) for number in range(200)], 42)
    assigned = [rows_by_split(assign(keys, SplitConfig(validation=fraction))) for fraction in (0.0, 0.1, 0.3)]
    assert assigned[0][2] == assigned[1][2] == assigned[2][2]
    assert set(assigned[1][1]) < set(assigned[2][1])


def test_sizes_follow_the_fractions() -> None:
    keys = make_keys([AskedRow(number) for number in range(5000)], 42)
    stable = np.bincount(assign(keys, SplitConfig(validation=0.1, test=0.2)))
    assert stable[VALIDATION] == pytest.approx(500, abs=100)
    assert stable[TEST] == pytest.approx(1000, abs=130)


@pytest.mark.parametrize("method", CONTENT_METHODS)
def test_counts_are_kept_where_nothing_asks_the_same(method: SplitMethod) -> None:
    keys = make_keys([AskedRow(number) for number in range(500)], 42)
    assigned = assign(keys, config_of(method, validation=33, test=71))
    assert np.bincount(assigned).tolist() == [0, 396, 33, 71]


def test_a_count_takes_whole_questions_until_it_is_reached() -> None:
    rows = [AskedRow(number // 7) for number in range(700)]
    sizes = np.bincount(assign(make_keys(rows, 42), SplitConfig(validation=1, test=50)))
    assert sizes.tolist() == [0, 700 - 7 - 56, 7, 56]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("method", CONTENT_METHODS)
def test_small_data_still_fills_every_split(method: SplitMethod, seed: int) -> None:
    keys = make_keys([AskedRow(number) for number in range(16)], seed)
    sizes = np.bincount(assign(keys, config_of(method, validation=0.001, test=0.001, seed=seed)))
    assert sizes.tolist() == [0, 14, 1, 1]


@pytest.mark.parametrize("method", SplitMethod)
def test_nothing_held_out_means_everything_is_trained_on(tmp_path: Path, method: SplitMethod) -> None:
    config = config_of(method, validation=0, test=0)
    store = store_of(tmp_path, numbered(10), config)
    assert split_examples(store, config).tolist() == [TRAIN] * 10


@pytest.mark.parametrize(
    ("questions", "config", "figures", "way_out"),
    [
        (
            range(11),
            SplitConfig(method=SplitMethod.RANDOM, validation=1, test=1),
            "11 examples leave 9 for training, 1 for validation and 1 for testing",
            "Use --validation 0, or add examples.",
        ),
        (
            range(10),
            SplitConfig(method=SplitMethod.RANDOM),
            "10 examples leave 8 for training, 1 for validation and 1 for testing",
            "Use --validation 0 --test 0, or add examples.",
        ),
        (
            range(9),
            SplitConfig(validation=0, test=0),
            "9 examples leave 9 for training, 0 for validation and 0 for testing",
            "Add examples.",
        ),
        (
            range(0),
            SplitConfig(),
            "0 examples leave 0 for training, 0 for validation and 0 for testing",
            "Add examples.",
        ),
        (
            [0] * 40,
            SplitConfig(validation=0),
            "40 examples (1 different conversation) leave 0 for training, 0 for validation and 40 for testing",
            f"{BY_CHANCE} Use --test 0, or add examples.",
        ),
    ],
    ids=["validation is too much", "both are too much", "nine", "none", "one question"],
)
def test_too_few_left_for_training_is_said_in_figures(
    tmp_path: Path, questions: list[int] | range, config: SplitConfig, figures: str, way_out: str
) -> None:
    store = store_of(tmp_path, [chat(f"question {number}", "a") for number in questions], config)
    with pytest.raises(DataError) as caught:
        split_examples(store, config)
    assert str(caught.value) == f"{figures}; training needs at least 10. {way_out}"


def test_unsound_examples_count_for_nothing_and_go_to_train(tmp_path: Path) -> None:
    broken = {"messages": [{"role": "user", "content": "no answer"}]}
    bodies = [body for good in numbered(30) for body in (good, broken)]
    splits = split_examples(store_of(tmp_path, bodies, SplitConfig()), SplitConfig())
    assert rows_by_split(splits[::2])[1:] == ([0, 2, 15, 26, 28], [1, 16, 17])
    assert set(splits[1::2].tolist()) == {TRAIN}


def test_usable_examples_are_counted(tmp_path: Path) -> None:
    broken = {"messages": [{"role": "user", "content": "no answer"}]}
    config = SplitConfig(validation=0, test=0)
    with pytest.raises(DataError, match=r"^9 usable examples leave 9 for training"):
        split_examples(store_of(tmp_path, [*numbered(9), broken], config), config)


def test_a_column_says_the_side(tmp_path: Path) -> None:
    config = config_of(SplitMethod.COLUMN)
    said = ["train"] * 10 + ["validation", "test", "test"] + [None]
    splits = split_examples(store_of(tmp_path, numbered(14), config, splits=said), config)
    assert [SPLITS[split_index] for split_index in splits.tolist()] == [*said[:-1], "train"]


def test_a_column_that_contradicts_itself_is_refused_with_places(tmp_path: Path) -> None:
    config = config_of(SplitMethod.COLUMN)
    bodies = [*numbered(20), chat("question 0", "b"), chat("question 1", "a"), *numbered(5)]
    said = [*["train"] * 20, "test", "train", *["validation"] * 5]
    with pytest.raises(DataError) as caught:
        split_examples(store_of(tmp_path, bodies, config, splits=said), config)
    assert caught.value.message == (
        "The splits of the source overlap; the same question is in two of them: row 22 (test) and row 2 (train); "
        "row 24 (validation) and row 2 (train); row 25 (validation) and row 3 (train); and 3 more."
    )


def test_too_few_training_rows_in_a_split_column_are_refused(tmp_path: Path) -> None:
    config = config_of(SplitMethod.COLUMN)
    said = ["train"] * 5 + ["test"] * 10
    with pytest.raises(DataError, match=r"15 examples leave 5 for training.*Name train in more rows"):
        split_examples(store_of(tmp_path, numbered(15), config, splits=said), config)


def test_groups_joined_by_a_question_stay_together() -> None:
    rows = [AskedRow(number, group=f"group {number // 4}") for number in range(400)]
    # A chain: each of the first 40 groups asks a question of the next one too.
    rows += [AskedRow(4 * number + 4, group=f"group {number}") for number in range(40)]
    splits = assign(make_keys(rows, 42), config_of(SplitMethod.GROUP, validation=0.3, test=0.3))
    assert set(splits[:164].tolist()) == {TRAIN}
    assert set(splits.tolist()) == {TRAIN, VALIDATION, TEST}


def test_rows_without_a_group_are_dealt_one_by_one() -> None:
    rows = [AskedRow(number, group=("", None)[number % 2]) for number in range(300)]
    grouped = assign(make_keys(rows, 42), config_of(SplitMethod.GROUP))
    assert np.array_equal(grouped, assign(make_keys(rows, 42), SplitConfig()))


def test_banking77_splits_near_the_fractions(tmp_path: Path, banking77: Path) -> None:
    with banking77.open(encoding="utf-8", newline="") as stream:
        bodies = [chat(row["text"], row["category"]) for row in csv.DictReader(stream)]
    store = make_store(tmp_path / "store", bodies, checks=False, counts_tokens=False)
    _, train, validation, test = np.bincount(split_examples(store, SplitConfig())).tolist()
    assert train == pytest.approx(8000, abs=150)
    assert {validation, test} <= set(range(900, 1100))


def test_small_data_gets_advice_on_split_flags(tmp_path: Path) -> None:
    questions = next(
        rows
        for start in range(1000)
        if (assign(make_keys(rows := [AskedRow(start + n) for n in range(12)], 42), SplitConfig()) == TRAIN).sum() == 8
    )
    store = store_of(tmp_path, [chat(f"question {row.question}", "a") for row in questions], SplitConfig())
    with pytest.raises(DataError, match=f"leave 8 for training.* {BY_CHANCE}") as caught:
        split_examples(store, SplitConfig())
    flags = re.findall(r"--(\w+) 0", str(caught.value.hint))
    assert flags
    splits = split_examples(store, SplitConfig.model_validate(dict.fromkeys(flags, 0)))
    assert (splits == TRAIN).sum() >= 10


def test_hint_names_only_requested_splits(tmp_path: Path) -> None:
    config = SplitConfig(validation=0, test=3)
    with pytest.raises(DataError) as caught:
        split_examples(store_of(tmp_path, numbered(11), config), config)
    assert caught.value.hint == "Use --test 0, or add examples."


def test_split_left_empty_by_groups_is_reported(tmp_path: Path) -> None:
    config = config_of(SplitMethod.GROUP, validation=0, test=0.001)
    bodies = [chat(f"question {number // 2}", "ab"[number % 2]) for number in range(40)]
    # A ring: each group asks a question of the next one.
    groups = [str((number + 1) // 2 % 20) for number in range(40)]
    notes: list[str] = []
    splits = split_examples(store_of(tmp_path, bodies, config, groups=groups), config, on_note=notes.append)
    assert set(splits.tolist()) == {TRAIN}
    [note] = notes
    assert note == (
        "nothing is held out for test: the groups that would fall there ask the same questions as other groups, and "
        "stay with them."
    )


def test_empty_group_column_is_reported(tmp_path: Path) -> None:
    config = config_of(SplitMethod.GROUP)
    notes: list[str] = []
    split_examples(store_of(tmp_path, numbered(40), config), config, on_note=notes.append)
    assert notes == ["the column key is empty in every row; examples were dealt one by one."]


def test_a_conversation_that_grows_keeps_its_side(tmp_path: Path) -> None:
    def splits_of(n_turns: int) -> list[int]:
        rows = [
            {"ticket_id": ticket, "role": role, "content": f"{role} {ticket} {turn}"}
            for ticket in range(60)
            for turn in range(n_turns)
            for role in ("user", "assistant")
        ]
        path = tmp_path / f"{n_turns}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = LoadOptions("baseline-text", counts_tokens=False, processes=1)
        store = load_examples(DataConfig(source=str(path)), SplitConfig(), options, tmp_path / f"store {n_turns}")
        splits = split_examples(store, SplitConfig())
        assert set(find_origins(store, SplitConfig(), splits).values()) == {"stable by ticket_id"}
        found: list[int] = splits.tolist()
        return found

    first, *others = (splits_of(n_turns) for n_turns in (1, 2, 5))
    assert others == [first, first]
    assert set(first) == {TRAIN, VALIDATION, TEST}
