from typing import Any

import pytest

from retune.data.sources.split_names import (
    flag_named,
    is_split_column,
    split_named,
    split_named_alone,
    split_of_key,
    splits_of_files,
)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train", "train"),
        ("TRAINING", "train"),
        (" Dev ", "validation"),
        ("eval", "validation"),
        ("Test set", "test"),
        ("hold-out", "test"),
        ("測試", "test"),
        ("extra", None),
        ("", None),
        ("1", None),
    ],
)
def test_cells_and_keys_name_a_split_in_many_ways(text: str, split: str | None) -> None:
    assert split_named(text) == split


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("train", "train"),
        ("Test_data", "test"),
        ("test_hard", "test"),
        ("questions", None),
        ("train_test", None),
        ("", None),
    ],
)
def test_keys_of_a_document_may_say_more_than_the_split(key: str, split: str | None) -> None:
    assert split_of_key(key) == split


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["train.csv", "valid.csv", "test.csv"], ["train", "validation", "test"]),
        (["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], ["train", "test"]),
        (["train-00000-of-00002-a09b74b3ef9c3b56.parquet", "dev-00000-of-00001.parquet"], ["train", "validation"]),
        (["train/part-1.jsonl.gz", "test/part-1.jsonl.gz"], ["train", "test"]),
        (["shop_prepared_train.jsonl", "shop_prepared_valid.jsonl"], ["train", "validation"]),
        (["train_sft.parquet", "test_sft.parquet"], ["train", "test"]),
        (["trainset.tsv", "testset.tsv"], ["train", "test"]),
        (["tickets.csv", "tickets_test.csv"], [None, "test"]),
        (["january.csv", "february.csv", "test.csv"], [None, None, "test"]),
        (["train.csv", "test_hard.csv", "test_easy.csv"], ["train", "test", "test"]),
        (["train.csv", "held-out.csv"], ["train", "test"]),
        (["tickets.csv", "tickets_hold_out.csv"], [None, "test"]),
        (["contest.csv", "tests.csv"], [None, "test"]),
        (["train.csv", "evals.csv"], ["train", "validation"]),
    ],
)
def test_files_that_are_named_for_their_split(paths: list[str], splits: list[Any]) -> None:
    assert splits_of_files(paths) == splits


@pytest.mark.parametrize(
    "paths",
    [
        ["train.jsonl"],
        ["test.jsonl"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["test1.csv", "test2.csv"],
        ["test_drive.csv", "trains.csv"],
        ["train_test.csv", "other.csv"],
        ["january.csv", "february.csv"],
        ["1.csv", "2.csv"],
    ],
)
def test_names_shared_by_all_files_declare_no_split(paths: list[str]) -> None:
    assert splits_of_files(paths) == [None] * len(paths)


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["test.jsonl"], "test"),
        (["valid.csv"], "validation"),
        (["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"], "test"),
        (["tickets_test.csv.gz"], "test"),
        (["train.jsonl"], None),
        (["test.jsonl", "more.jsonl"], None),
        (["latest.csv"], None),
        (["contest.csv"], None),
    ],
)
def test_what_is_named_for_one_split_alone(names: list[str], split: str | None) -> None:
    assert split_named_alone(names) == split


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["bikes_train_v2.jsonl", "bikes_test_v2.jsonl"], ["train", "test"]),
        (["a.train.en.csv", "a.dev.en.csv", "a.test.en.csv"], ["train", "validation", "test"]),
        (["bikes_train_v2.jsonl", "cars_test_v2.jsonl"], [None, None]),
        (["how_to_test_bikes.csv", "how_to_ride_bikes.csv"], [None, None]),
        (["bikes_test_v1.jsonl", "bikes_test_v2.jsonl"], [None, None]),
    ],
)
def test_a_word_in_the_midst_of_a_name_counts_where_files_differ_in_it(paths: list[str], splits: list[Any]) -> None:
    assert splits_of_files(paths) == splits


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *(
            (name, True)
            for name in ("split", "Data Split", "train_test", "trainOrTest", "train/valid/test", "set_type")
        ),
        *((name, False) for name in ("dataset", "fold", "test", "split_ticket", "is_test", "settings", "")),
    ],
)
def test_columns_that_say_the_split_by_their_names(name: str, is_one: bool) -> None:
    assert is_split_column(name) == is_one


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("is_test", ("test", True)),
        ("isTrain", ("train", True)),
        ("in_validation_set", ("validation", True)),
        ("held-out", ("test", True)),
        ("test", ("test", False)),
        ("is_valid", ("validation", False)),
        ("question", None),
        ("split", None),
        ("train_test", None),
        ("", None),
    ],
)
def test_columns_of_yes_and_no_ask_for_a_split_by_their_names(name: str, flag: tuple[str, bool] | None) -> None:
    assert flag_named(name) == flag
