import json
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from example_stores import chat, make_store

from retune.config import SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.writer import ExampleWriter
from retune.data.problems.problems import everywhere
from retune.data.splits.fractions import likely_splits
from retune.errors import RunDirectoryError

BODIES = [chat(f"Question {number}?", "yes" if number % 3 else "no") for number in range(200)]


@pytest.fixture
def store(tmp_path: Path) -> ExampleStore:
    return make_store(tmp_path / "store", BODIES)


def test_lines_come_in_the_order_of_the_source_though_they_are_kept_apart(store: ExampleStore) -> None:
    assert [json.loads(line) for line in store.lines()] == BODIES
    assert len({int(part) for part in store.column("part")}) == 3


def test_single_lines_are_found(store: ExampleStore) -> None:
    lines = list(store.lines())
    wanted = np.array([150, 3, 3, 199, 0])
    assert list(store.read_lines(wanted)) == [lines[index] for index in wanted]


def test_parts_say_what_is_in_them(store: ExampleStore) -> None:
    import hashlib

    for split_index, part in store.facts.parts.items():
        content = part.path.read_bytes()
        assert (part.bytes, part.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert part.examples == content.count(b"\n") == (store.column("part") == SPLITS.index(split_index)).sum()


def test_a_store_can_be_moved(store: ExampleStore, tmp_path: Path) -> None:
    lines = list(store.lines())
    shutil.move(store.directory, tmp_path / "elsewhere")
    moved = ExampleStore(tmp_path / "elsewhere")
    assert list(moved.lines()) == lines
    assert moved.facts.parts["train"].path.exists()


def test_incomplete_store_is_not_opened(store: ExampleStore) -> None:
    (store.directory / "facts.json").unlink()
    with pytest.raises(FileNotFoundError):
        ExampleStore(store.directory)


def test_the_hash_is_of_the_examples_in_their_order_and_of_nothing_else(store: ExampleStore, tmp_path: Path) -> None:
    same = make_store(tmp_path / "same", BODIES, file_names=("a.csv", "b.csv"), checks=False, counts_tokens=False)
    turned = make_store(tmp_path / "turned", BODIES[::-1])
    changed = make_store(tmp_path / "changed", [*BODIES[:-1], chat("Question 199?", "maybe")])
    assert same.facts.sha256 == store.facts.sha256
    assert len({store.facts.sha256, turned.facts.sha256, changed.facts.sha256}) == 3


def test_labels_are_counted_while_they_may_be_labels(store: ExampleStore, tmp_path: Path) -> None:
    assert store.facts.labels == {"yes": 133, "no": 67}
    many = make_store(tmp_path / "many", [chat(f"{number}?", f"answer {number}") for number in range(1_100)])
    assert many.facts.labels is None


def test_locations_name_the_file_where_there_are_several(store: ExampleStore, tmp_path: Path) -> None:
    assert store.locations(np.array([0, 5])) == [("row 2", "tickets.csv", 2), ("row 7", "tickets.csv", 7)]
    several = make_store(tmp_path / "several", BODIES, file_names=("a.csv", "b.csv"))
    assert several.locations(np.array([100])) == [("b.csv, row 2", "b.csv", 2)]


def test_a_directory_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunDirectoryError, match=r"Can't write .*file"):
        make_store(tmp_path / "file", BODIES)


def test_only_the_stable_split_by_fractions_is_known_beforehand() -> None:
    prompts = np.array([0, 2**62, 2**63, 2**64 - 1], np.uint64)
    nothing = np.zeros(4, np.uint8)

    def likely(split: SplitConfig, declared: npt.NDArray[Any] = nothing) -> list[str]:
        return [SPLITS[split_index] for split_index in likely_splits(prompts, declared, split)]

    assert likely(SplitConfig()) == ["test", "train", "train", "validation"]
    assert set(likely(SplitConfig(validation=5, test=5))) == {"train"}
    assert set(likely(SplitConfig(method=SplitMethod.RANDOM))) == {"train"}
    declared = np.array([SPLITS.index(split_index) for split_index in ("train", "test", "", "")], np.uint8)
    assert likely(SplitConfig(), declared) == ["train", "test", "train", "validation"]


@pytest.mark.parametrize("version", [None, 1])
def test_a_store_of_another_version_is_not_read(store: ExampleStore, version: int | None) -> None:
    path = store.directory / "facts.json"
    facts = json.loads(path.read_text()) | {"version": version}
    path.write_text(json.dumps({key: value for key, value in facts.items() if value is not None}))
    with pytest.raises(ValueError, match="version"):
        ExampleStore(store.directory)


@pytest.mark.parametrize(
    "body",
    [
        chat("Question 0? ", "no"),
        chat("Question\r\n0?", "no"),
        chat("Question 0?", "no "),
        chat("Question 0?", "no", system="Be brief."),
    ],
)
def test_the_hash_notices_every_byte_that_is_trained_on(
    store: ExampleStore, tmp_path: Path, body: dict[str, Any]
) -> None:
    assert make_store(tmp_path / "other", [body, *BODIES[1:]]).facts.sha256 != store.facts.sha256


def test_a_full_disk_at_the_very_end_is_named(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = ExampleWriter(tmp_path / "store")
    # What is so small stays in a buffer until the file is closed.
    writer.add_problems([everywhere("same_answer_everywhere", "x" * 100)])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        with pytest.raises(RunDirectoryError, match=r"Can't write .*store: File too large"):
            writer.__exit__(None, None, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_system_prompt_and_stray_white_space_move_nothing(store: ExampleStore, tmp_path: Path) -> None:
    bodies = [chat(f"\t Question {number}?\r\n", "no", system=f"v{number % 2}") for number in range(len(BODIES))]
    other = make_store(tmp_path / "other", bodies)
    assert other.column("prompt").tolist() == store.column("prompt").tolist()
    assert other.column("part").tolist() == store.column("part").tolist()
    assert len(set(other.column("instructions").tolist())) == 2
    assert set(store.column("instructions").tolist()) == set(store.column("rest").tolist()) == {0}
    assert 0 not in other.column("rest")


def test_instructions_that_ask_alone_are_the_prompt(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "a"}
    bodies = [{"messages": [{"role": "system", "content": text}, answer]} for text in ("x", "y")]
    store = make_store(tmp_path / "alone", bodies)
    assert len(set(store.column("prompt").tolist())) == 2
    assert store.column("instructions").tolist() == [0, 0]


def test_an_empty_cell_is_a_missing_one_to_a_split(tmp_path: Path) -> None:
    store = make_store(tmp_path / "groups", BODIES[:3], groups=["", None, "x"])
    assert [bool(value) for value in store.column("group")] == [False, False, True]
