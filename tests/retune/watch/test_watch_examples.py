"""New examples are told from known ones by what is in them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.config import RetrainConfig
from retune.config_file import parse_config
from retune.errors import EmptySourceError
from retune.watch.example_hashes import count_new, read_hashes, read_known, write_hashes
from retune.watch.files import WatchFiles, watch_key

ROWS = [(f"question {number}", f"answer {number % 3}") for number in range(50)]


def configuration(source: Path, **settings: object) -> RetrainConfig:
    data = {"source": str(source), "user_column": "q", "assistant_column": "a"}
    return parse_config({"data": data, **settings})


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("q", "a"), *rows])
    return path


def new(tmp_path: Path, before: list[tuple[str, str]], after: list[tuple[str, str]]) -> int:
    known = read_hashes(configuration(write_csv(tmp_path / "before.csv", before))).hashes
    return count_new(read_hashes(configuration(write_csv(tmp_path / "after.csv", after))).hashes, known)


@pytest.mark.parametrize(
    ("after", "n_new"),
    [
        (ROWS, 0),
        (ROWS[::-1], 0),
        (ROWS[:10], 0),
        ([*ROWS, ROWS[0]], 0),
        ([*ROWS, ("one", "more"), ("one", "more")], 1),
        ([("question 0", "another answer"), *ROWS[1:]], 1),
        ([("another question", "answer 0"), *ROWS[1:]], 1),
        ([(answer, question) for question, answer in ROWS], 50),
    ],
)
def test_new_examples_are_counted(tmp_path: Path, after: list[tuple[str, str]], n_new: int) -> None:
    assert new(tmp_path, ROWS, after) == n_new


def test_same_examples_in_another_format_are_not_new(tmp_path: Path) -> None:
    known = read_hashes(configuration(write_csv(tmp_path / "data.csv", ROWS)))
    lines = tmp_path / "data.jsonl"
    lines.write_text("".join(json.dumps({"a": answer, "q": question}) + "\n" for question, answer in ROWS))
    again = read_hashes(configuration(lines))
    assert again.n_examples == known.n_examples == len(ROWS)
    assert np.array_equal(again.hashes, known.hashes)


def test_rows_of_which_no_example_can_be_made_do_not_count(tmp_path: Path) -> None:
    found = read_hashes(configuration(write_csv(tmp_path / "data.csv", [*ROWS, ("question", ""), ROWS[0]])))
    assert (found.n_examples, len(found.hashes)) == (len(ROWS) + 1, len(ROWS))


def test_a_header_alone_is_empty(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError):
        read_hashes(configuration(write_csv(tmp_path / "data.csv", [])))


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_hashes(configuration(write_csv(tmp_path / "data.csv", ROWS)), stop)


_NUMBERS = st.sets(st.integers(0, 2**64 - 1), max_size=20)


@given(_NUMBERS, _NUMBERS)
def test_new_is_what_is_not_known(found: set[int], known: set[int]) -> None:
    hashes, before = (np.array(sorted(numbers), np.uint64) for numbers in (found, known))
    assert count_new(hashes, before) == len(found - known)
    assert count_new(hashes, None) == len(found)


def test_damaged_file_of_known_examples_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "watch" / "known.npy"
    hashes = np.array([1, 2, 2**63], np.uint64)
    assert read_known(path) is None
    write_hashes(path, hashes)
    assert np.array_equal(read_known(path), hashes)  # type: ignore[arg-type]
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:60], b"x" * 200, content[:-8] + bytes(8)):
        path.write_bytes(damaged)
        assert read_known(path) is None


def test_what_changes_no_model_makes_no_other_watch(tmp_path: Path) -> None:
    key = watch_key(configuration(tmp_path))
    assert watch_key(configuration(tmp_path, evaluation={"concurrency": 2})) == key
    assert watch_key(configuration(tmp_path, training={"max_cost_usd": 3.0})) == key
    assert watch_key(configuration(tmp_path, training={"model": "gpt-4.1-nano-2025-04-14"})) != key
    assert watch_key(configuration(tmp_path, split={"seed": 1})) != key
    assert watch_key(configuration(tmp_path / "other")) != key


def test_one_process_looks_at_a_time(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with WatchFiles(config).exclusive() as first, WatchFiles(config).exclusive() as second:
        assert (first, second) == (True, False)
        with WatchFiles(configuration(tmp_path / "other")).exclusive() as other:
            assert other
    with WatchFiles(config).exclusive() as again:
        assert again


def test_examples_of_the_test_split_s_file_count(tmp_path: Path) -> None:
    source, held_out = write_csv(tmp_path / "data.csv", ROWS[:40]), write_csv(tmp_path / "held.csv", ROWS[40:])
    config = configuration(source)
    with_test = config.model_copy(update={"data": config.data.model_copy(update={"test_source": str(held_out)})})
    assert read_hashes(with_test).n_examples == len(ROWS)
    assert watch_key(with_test) != watch_key(config)
