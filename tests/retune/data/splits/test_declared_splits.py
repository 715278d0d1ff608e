"""Splits that the source declares are kept exactly, however they are declared and whatever is drawn beside them."""

import json
import random
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from example_stores import chat, make_store
from hypothesis import given, settings
from hypothesis import strategies as st
from split_keys import AskedRow, make_keys

from retune.config import DataConfig, SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.training_files import write_splits
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Keys
from retune.data.splits.origins import describe_splits, find_origins
from retune.data.splits.split import assign, split_examples
from retune.errors import DataError, SourceError

METHODS = (SplitMethod.STABLE, SplitMethod.RANDOM, SplitMethod.GROUP)
CONFIGS = st.builds(
    lambda method, validation, test, seed: SplitConfig(
        method=method,
        validation=validation,
        test=test,
        seed=seed,
        column="group" if method is SplitMethod.GROUP else None,
    ),
    st.sampled_from(METHODS),
    st.sampled_from([0.0, 0.1, 0.4, 3.0]),
    st.sampled_from([0.0, 0.1, 0.4, 3.0]),
    st.integers(0, 1000),
)
# By question, so that the declared splits never overlap: what is declared for it, or 0.
DECLARED = st.dictionaries(st.integers(0, 60), st.sampled_from([0, TRAIN, VALIDATION, TEST]), min_size=1)


def keys_of(declared: dict[int, int], seed: int, *, shuffled_by: int = 0) -> tuple[list[AskedRow], Keys]:
    rows = [AskedRow(question, group=f"{question % 7}") for question in declared for _ in range(2)]
    random.Random(shuffled_by).shuffle(rows)
    keys = make_keys(rows, seed)
    splits = np.array([declared[row.question] for row in rows], np.uint8)
    return rows, Keys(keys.prompts, keys.groups, keys.strata, splits)


def by_question(rows: list[AskedRow], splits: npt.NDArray[Any]) -> dict[int, int]:
    return {row.question: split_index for row, split_index in zip(rows, splits.tolist(), strict=True)}


@settings(deadline=None)  # the first call imports scikit-learn, which takes seconds
@given(DECLARED, CONFIGS)
def test_declared_splits_are_kept_exactly(declared: dict[int, int], config: SplitConfig) -> None:
    rows, keys = keys_of(declared, config.seed)
    assigned = by_question(rows, assign(keys, config))
    held_out = {
        question: split_index for question, split_index in declared.items() if split_index in (VALIDATION, TEST)
    }
    for split_index in set(held_out.values()):
        wanted = {question for question, said in held_out.items() if said == split_index}
        assert {question for question, found in assigned.items() if found == split_index} == wanted
    if len(set(held_out.values())) == 2:
        # Nothing is left to be drawn.
        assert assigned == {question: said or TRAIN for question, said in declared.items()}


@settings(deadline=None)
@given(DECLARED, DECLARED, CONFIGS, st.integers(0, 99))
def test_declared_splits_never_change_sides_as_data_grows(
    declared: dict[int, int], more: dict[int, int], config: SplitConfig, order: int
) -> None:
    if config.method is SplitMethod.RANDOM:
        config = SplitConfig(validation=config.validation, test=config.test, seed=config.seed)
    grown = more | declared
    rows, keys = keys_of(declared, config.seed)
    before = by_question(rows, assign(keys, config))
    rows, keys = keys_of(grown, config.seed, shuffled_by=order)
    after = by_question(rows, assign(keys, config))
    for question, split_index in before.items():
        if declared[question] in (VALIDATION, TEST):
            assert after[question] == split_index
        elif split_index == TRAIN:
            assert after[question] == TRAIN


@settings(deadline=None, max_examples=10)
@given(st.lists(st.sampled_from(["", "train", "validation", "test"]), max_size=40), CONFIGS)
def test_nothing_that_is_declared_for_test_is_in_the_training_file(
    tmp_path_factory: pytest.TempPathFactory, declared: list[str], config: SplitConfig
) -> None:
    directory = tmp_path_factory.mktemp("run")
    # So many that no draw leaves too few to train on.
    declared = [*declared, *["train"] * 120]
    bodies = [chat(f"{said} {number}", "a") for number, said in enumerate(declared)]
    groups = [f"{number % 60}" for number in range(len(declared))]
    store = make_store(
        directory / "examples",
        bodies,
        splits=[said or None for said in declared],
        groups=groups,
        split=config,
        checks=False,
        counts_tokens=False,
    )
    files = write_splits(store, split_examples(store, config), directory)
    asked = {
        name: [json.loads(line)["messages"][0]["content"] for line in file.path.read_text().splitlines()]
        for name, file in files.items()
    }
    assert not [question for question in asked["train"] if question.startswith(("test", "validation"))]
    if "test" in declared:
        assert asked["test"] == [f"test {number}" for number, said in enumerate(declared) if said == "test"]


def load(
    tmp_path: Path, source: Path, split: SplitConfig | None = None, **data: Any
) -> tuple[dict[str, int], str, ExampleStore]:
    split = split or SplitConfig()
    options = LoadOptions(model="baseline-text", processes=1)
    store = load_examples(DataConfig(source=str(source), **data), split, options, tmp_path / "store")
    splits = split_examples(store, split)
    sizes = dict(zip(SPLITS[1:], np.bincount(splits, minlength=4)[1:].tolist(), strict=True))
    return sizes, describe_splits(sizes, find_origins(store, split, splits)), store


def questions(prefix: str, count: int) -> list[tuple[str, str]]:
    return [(f"{prefix} {number}?", f"answer {number}") for number in range(count)]


def write_jsonl(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(chat(question, answer)) + "\n" for question, answer in rows))


def write_csv(path: Path, rows: list[Any], header: str = "question,answer") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")


@pytest.mark.parametrize("write", [write_jsonl, write_csv])
@pytest.mark.parametrize("names", [("train.{}", "dev.{}", "test.{}"), ("train/1.{}", "valid/1.{}", "test/1.{}")])
def test_files_that_are_named_for_splits(
    tmp_path: Path, write: Callable[..., Any], names: tuple[str, str, str]
) -> None:
    ending = "csv" if write is write_csv else "jsonl"
    for name, count in zip(names, (30, 4, 6), strict=True):
        write(tmp_path / "data" / name.format(ending), questions(name, count))
    sizes, line, store = load(tmp_path, tmp_path / "data")
    assert line == "train 30, validation 4, test 6 (declared by file names)"
    assert sizes == {"train": 30, "validation": 4, "test": 6}
    assert {file.split for file in store.facts.files} == {"train", "validation", "test"}


def test_validation_is_drawn_from_train_where_only_train_and_test_are_there(tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "train-00000-of-00001.csv", questions("a", 60))
    write_csv(tmp_path / "data" / "test-00000-of-00001.csv", questions("b", 20))
    sizes, line, _ = load(tmp_path, tmp_path / "data" / "*.csv")
    assert sizes["test"] == 20
    assert 0 < sizes["validation"] < 20
    assert f"validation {sizes['validation']} (drawn from train, stable)" in line


@pytest.mark.parametrize("column", ["split", "Split", "dataset_split"])
def test_a_column_that_says_the_split_is_found(tmp_path: Path, column: str) -> None:
    rows = [(*row, "TRAIN") for row in questions("a", 30)] + [(*row, "Test") for row in questions("b", 5)]
    rows += [("a row of no split?", "an answer", "")]
    write_csv(tmp_path / "data.csv", rows, header=f"question,answer,{column}")
    sizes, line, _ = load(tmp_path, tmp_path / "data.csv", SplitConfig(validation=0))
    assert sizes == {"train": 31, "validation": 0, "test": 5}
    assert line == (
        f"train 31 (declared by column {column}, and the rest), validation 0, test 5 (declared by column {column})"
    )


def test_a_column_beside_messages_says_the_split_and_stays_out_of_the_line(tmp_path: Path) -> None:
    rows = [{**chat(f"q {number}", "a"), "split": "test" if number < 4 else "train"} for number in range(20)]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes, _, store = load(tmp_path, tmp_path / "chat.jsonl", SplitConfig(validation=0))
    assert sizes == {"train": 16, "validation": 0, "test": 4}
    assert not any(b'"split"' in line for line in store.lines())


def test_a_column_of_other_words_says_nothing(tmp_path: Path) -> None:
    rows = [(*row, "pea") for row in questions("a", 30)]
    write_csv(tmp_path / "soups.csv", rows, header="question,answer,split")
    assert load(tmp_path, tmp_path / "soups.csv")[1].endswith("(stable)")


def test_an_unknown_word_among_splits_is_an_error_of_its_row(tmp_path: Path) -> None:
    rows = [(*row, "train") for row in questions("a", 30)] + [("b?", "b", "extra"), ("c?", "c", "test")]
    write_csv(tmp_path / "data.csv", rows, header="question,answer,split")
    _, _, store = load(tmp_path, tmp_path / "data.csv")
    [group] = [group for group in store.facts.problem_groups if group.level == "error"]
    assert (group.kind, group.first[0].location) == ("unknown_split", "row 32")
    assert group.first[0].message == 'column split: expected train, validation or test, found "extra".'
    assert "--ignore-splits" in group.hint


def test_settings_name_files_for_each_split(tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "a.csv", questions("a", 30))
    write_csv(tmp_path / "data" / "held.csv", questions("b", 6))
    write_jsonl(tmp_path / "watch.jsonl", questions("c", 3))
    named: dict[str, Any] = {
        "validation_source": str(tmp_path / "watch.jsonl"),
        "test_source": str(tmp_path / "data" / "held.csv"),
    }
    # Files of another format are read in the shape of the first.
    write_csv(tmp_path / "watch.csv", questions("c", 3))
    named["validation_source"] = str(tmp_path / "watch.csv")
    sizes, line, store = load(tmp_path, tmp_path / "data", **named)
    assert sizes == {"train": 30, "validation": 3, "test": 6}
    assert "test 6 (declared by data.test_source)" in line
    assert [file.split for file in store.facts.files] == [None, "validation", "test"]


def test_split_files_without_training_data_are_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", questions("a", 30))
    source = tmp_path / "a.csv"
    with pytest.raises(SourceError, match="nothing is left to train on"):
        load(tmp_path, source, test_source=str(source))
    write_csv(tmp_path / "b.csv", questions("b", 30))
    with pytest.raises(SourceError, match=r"b\.csv is named by data\.validation_source and by data\.test_source"):
        load(tmp_path, source, test_source=str(tmp_path / "b.csv"), validation_source=str(tmp_path / "b.csv"))
    write_csv(tmp_path / "both" / "train.csv", questions("c", 3))
    write_csv(tmp_path / "both" / "test.csv", questions("d", 3))
    with pytest.raises(SourceError, match=r"declares splits of its own \(test, train\)"):
        load(tmp_path, source, test_source=str(tmp_path / "both"))


def test_splits_that_overlap_are_refused_with_the_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "train.csv", questions("a", 30))
    write_csv(tmp_path / "data" / "test.csv", [*questions("b", 5), ("a 3?", "answer 3")])
    with pytest.raises(DataError, match=r"overlap.*train\.csv, row 5 \(train\).*test\.csv, row 7 \(test\)"):
        load(tmp_path, tmp_path / "data")


def test_a_row_that_says_another_split_than_its_file_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "train.csv", [(*row, "train") for row in questions("a", 30)], "question,answer,split")
    rows = [(*row, "test") for row in questions("b", 5)] + [("c?", "c", "train"), ("d?", "d", "other")]
    write_csv(tmp_path / "data" / "test.csv", rows, "question,answer,split")
    _, _, store = load(tmp_path, tmp_path / "data")
    [group] = [group for group in store.facts.problem_groups if group.level == "error"]
    assert (group.kind, group.count) == ("split_of_file", 1)
    assert group.first[0].message == "the row says train, and its file is for test."


def test_declared_splits_can_be_ignored(tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "train.csv", [(*row, "train") for row in questions("a", 30)], "question,answer,split")
    write_csv(tmp_path / "data" / "test.csv", [(*row, "test") for row in questions("b", 30)], "question,answer,split")
    sizes, line, _ = load(tmp_path, tmp_path / "data", ignore_splits=True)
    assert line.endswith("(stable)")
    assert sizes["train"] > 30


def test_groups_separated_by_declared_splits_are_reported(tmp_path: Path) -> None:
    config = SplitConfig(method="group", column="shop", validation=0)
    splits = ["train"] * 20 + ["test"] * 5
    groups = [f"shop {number % 20}" for number in range(25)]
    store = make_store(tmp_path, [chat(f"{n}", "a") for n in range(25)], splits=splits, groups=groups, split=config)
    notes: list[str] = []
    split_examples(store, config, on_note=notes.append)
    [note] = notes
    assert note.startswith("5 examples are in another split than the first one of the same group")


def test_too_few_declared_training_examples_are_reported(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat(f"{n}", "a") for n in range(30)], splits=["train"] * 5 + ["test"] * 25)
    with pytest.raises(DataError, match="leave 5 for training") as caught:
        split_examples(store, SplitConfig(validation=0))
    assert str(caught.value.hint).startswith("Move examples from the validation and test splits")


def test_keys_of_a_json_document_are_splits(tmp_path: Path) -> None:
    document = {
        key: [{"question": question, "answer": answer} for question, answer in questions(key, count)]
        for key, count in (("train", 20), ("dev", 3), ("test", 4))
    }
    (tmp_path / "all.json").write_text(json.dumps(document))
    _, line, _ = load(tmp_path, tmp_path / "all.json")
    assert line == "train 20, validation 3, test 4 (declared by keys of the document)"
    document["test"][0] = document["train"][1]
    (tmp_path / "all.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"all\.json, test, row 1 \(test\) and .*all\.json, train, row 2 \(train\)"):
        load(tmp_path / "again", tmp_path / "all.json")


@pytest.mark.parametrize(
    ("header", "cells", "sizes"),
    [
        ("is_test", {"a": ("0",), "b": ("1",)}, {"train": 30, "validation": 0, "test": 5}),
        ("is_train", {"a": ("True",), "b": ("False",)}, {"train": 30, "validation": 0, "test": 5}),
        ("is_train,is_test", {"a": ("yes", "no"), "b": ("no", "no")}, {"train": 30, "validation": 5, "test": 0}),
        ("split,is_test", {"a": ("", "0"), "b": ("test", "1")}, {"train": 30, "validation": 0, "test": 5}),
    ],
)
def test_columns_of_yes_and_no_say_the_split(
    tmp_path: Path, header: str, cells: dict[str, Any], sizes: dict[str, int]
) -> None:
    rows = [(*row, *cells["a"]) for row in questions("a", 30)] + [(*row, *cells["b"]) for row in questions("b", 5)]
    write_csv(tmp_path / "data.csv", rows, header=f"question,answer,{header}")

    found, line, store = load(tmp_path, tmp_path / "data.csv", SplitConfig(validation=0, test=0))

    assert found == sizes
    assert f"(declared by column {header.replace(',', ' and ')})" in line
    assert store.facts.unused == []


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("is_test,is_train", ("1", "1"), "the columns is_test and is_train contradict each other"),
        ("split,is_test", ("test", "0"), "the columns split and is_test contradict each other"),
        ("is_train,is_test,is_val", ("0", "0", "0"), "say that it is for no split at all"),
    ],
)
def test_columns_that_contradict_each_other_about_the_split_are_an_error(
    tmp_path: Path, header: str, cells: tuple[str, ...], message: str
) -> None:
    train = ["train" if name == "split" else str(int(name == "is_train")) for name in header.split(",")]
    rows = [(*row, *train) for row in questions("a", 30)] + [("odd?", "an answer", *cells)]
    write_csv(tmp_path / "data.csv", rows, header=f"question,answer,{header}")

    _, _, store = load(tmp_path, tmp_path / "data.csv")

    [group] = [group for group in store.facts.problem_groups if group.level == "error"]
    assert (group.kind, group.count, group.first[0].location) == ("unknown_split", 1, "row 32")
    assert message in group.first[0].message


def unused_message(store: ExampleStore) -> str:
    [group] = [group for group in store.facts.problem_groups if group.kind == "unused_column"]
    return group.first[0].message


def test_an_empty_cell_of_a_named_column_is_not_an_error(tmp_path: Path) -> None:
    rows = [(*row, "") for row in questions("a", 30)] + [(*row, "test") for row in questions("b", 5)]
    write_csv(tmp_path / "data.csv", rows, header="question,answer,part")
    sizes, _, store = load(tmp_path, tmp_path / "data.csv", SplitConfig(method=SplitMethod.COLUMN, column="part"))
    assert sizes == {"train": 30, "validation": 0, "test": 5}
    assert "unknown_split" not in {group.kind for group in store.facts.problem_groups}


@pytest.mark.parametrize(
    ("name", "cells", "split", "advice"),
    [
        ("fold", ["0", "1", "2", "3", "4"], SplitMethod.GROUP, "--split group --split-column fold"),
        ("phase", ["train", "dev"], SplitMethod.COLUMN, "--split column --split-column phase"),
        ("is_valid", ["0", "1"], SplitMethod.COLUMN, "--split column --split-column is_valid"),
    ],
)
def test_advice_on_a_column_that_may_say_the_split_works(
    tmp_path: Path, name: str, cells: list[str], split: SplitMethod, advice: str
) -> None:
    rows = [(*row, cells[place % len(cells)]) for place, row in enumerate(questions("a", 60))]
    write_csv(tmp_path / "data.csv", rows, header=f"question,answer,{name}")

    _, _, store = load(tmp_path / "first", tmp_path / "data.csv")
    _, _, followed = load(tmp_path, tmp_path / "data.csv", SplitConfig(method=split, column=name))

    assert advice in unused_message(store)
    assert not [group for group in followed.facts.problem_groups if group.level == "error"]


def test_a_split_column_with_numbers_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    rows = [(*row, "2" if place > 25 else "0") for place, row in enumerate(questions("a", 30))]
    write_csv(tmp_path / "data.csv", rows, header="question,answer,split")
    _, _, store = load(tmp_path, tmp_path / "data.csv")
    assert 'don\'t say train, validation or test, but "0", "2"' in unused_message(store)


@pytest.mark.parametrize("name", ["train_test.jsonl", "test results.jsonl"])
def test_a_file_whose_name_may_say_a_split_is_named_with_what_holds_it_out(tmp_path: Path, name: str) -> None:
    write_jsonl(tmp_path / "data" / "latest.jsonl", questions("a", 30))
    write_jsonl(tmp_path / "data" / name, questions("b", 10))

    _, _, store = load(tmp_path / "first", tmp_path / "data")
    held_out = str(tmp_path / "data" / name)
    sizes, _, _ = load(tmp_path, tmp_path / "data", SplitConfig(validation=0), test_source=held_out)
    _, _, quiet = load(tmp_path / "quiet", tmp_path / "data", ignore_splits=True)

    [group] = [group for group in store.facts.problem_groups if group.kind == "split_name_unused"]
    assert f"--test-data {shlex.quote(held_out)}" in group.first[0].message
    assert sizes == {"train": 30, "validation": 0, "test": 10}
    assert "split_name_unused" not in {group.kind for group in quiet.facts.problem_groups}
