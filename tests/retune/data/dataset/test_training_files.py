import codecs
import hashlib
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from example_stores import chat, make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import SplitConfig
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.training_files import require_unchanged, write_splits
from retune.data.splits.split import split_examples
from retune.data.text.jsonl import FileFacts
from retune.errors import RunDirectoryError

GOLDEN = Path(__file__).parents[1] / "golden"
BODIES = [chat(f"Wie lautet Frage {number}? \u2028 „{'ä' * 200}“ 😀", f"Antwort\n{number}") for number in range(60)]


@pytest.fixture
def store(tmp_path: Path) -> ExampleStore:
    return make_store(tmp_path / "store", BODIES)


def splits_of(*names: str) -> npt.NDArray[Any]:
    return np.array([SPLITS.index(name) for name in names], np.uint8)


def alternating() -> npt.NDArray[Any]:
    return splits_of(*(SPLITS[1 + number % 3] for number in range(len(BODIES))))


def lines_of(split_index: str, splits: npt.NDArray[Any]) -> list[dict[str, Any]]:
    return [body for body, here in zip(BODIES, splits.tolist(), strict=True) if SPLITS[here] == split_index]


def check_facts(files: dict[str, FileFacts]) -> None:
    for name, facts in files.items():
        content = facts.path.read_bytes()
        assert facts.path.name == f"{name}.jsonl"
        assert (facts.bytes, facts.examples) == (len(content), content.count(b"\n"))
        assert facts.sha256 == hashlib.sha256(content).hexdigest()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("is_split_as_stored", [True, False])
def test_every_example_is_in_its_file_in_the_order_of_the_source(
    store: ExampleStore, tmp_path: Path, is_split_as_stored: bool
) -> None:
    splits = split_examples(store, SplitConfig()) if is_split_as_stored else alternating()
    files = write_splits(store, splits, tmp_path / "run")
    assert list(files) == ["train", "validation", "test"]
    check_facts(files)
    for name, facts in files.items():
        # At LF alone: JSON strings may hold other line ends.
        lines = facts.path.read_bytes().removesuffix(b"\n").split(b"\n")
        assert [json.loads(line) for line in lines] == lines_of(name, splits)


def test_bytes_are_those_of_the_golden_file(tmp_path: Path) -> None:
    content = (GOLDEN / "chat.jsonl").read_bytes()
    bodies = [json.loads(line) for line in content.splitlines()]
    store = make_store(tmp_path / "store", bodies, split=SplitConfig(validation=0, test=0))
    linked = write_splits(store, splits_of("train", "train"), tmp_path / "linked")
    with_bom = write_splits(store, splits_of("train", "train"), tmp_path / "marked", with_bom=True)
    assert linked["train"].path.read_bytes() == content
    assert with_bom["train"].path.read_bytes() == codecs.BOM_UTF8 + content


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.text(min_size=1), st.sampled_from(SPLITS[1:])), min_size=1, max_size=8), st.booleans())
def test_the_same_input_gives_the_same_bytes_and_both_ways_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], with_bom: bool
) -> None:
    directory = tmp_path_factory.mktemp("splits")
    bodies = [chat(text, text) for text, _ in rows]
    splits = splits_of(*(split_index for _, split_index in rows))
    contents = []
    # The first store keeps its lines apart by the stable split, the second has them all in one part.
    for name, split in (("a", SplitConfig(validation=0.4, test=0.4)), ("b", SplitConfig(validation=0, test=0))):
        store = make_store(directory / name, bodies, split=split)
        files = write_splits(store, splits, directory / f"{name} split", with_bom=with_bom)
        check_facts(files)
        contents.append({split_index: facts.path.read_bytes() for split_index, facts in files.items()})
    assert contents[0] == contents[1]
    assert contents[0].keys() == {split_index for _, split_index in rows}


def test_a_byte_order_mark_is_for_the_provider_alone(store: ExampleStore, tmp_path: Path) -> None:
    files = write_splits(store, alternating(), tmp_path / "run", with_bom=True)
    check_facts(files)
    starts = {name: facts.path.read_bytes().startswith(codecs.BOM_UTF8) for name, facts in files.items()}
    assert starts == {"train": True, "validation": True, "test": False}


@pytest.mark.parametrize("with_bom", [True, False])
def test_an_empty_split_gets_no_file_and_loses_its_old_one(tmp_path: Path, with_bom: bool) -> None:
    split = SplitConfig(validation=0, test=0)
    store = make_store(tmp_path / "store", BODIES, split=split)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/test.jsonl").write_text("of an earlier attempt\n")
    files = write_splits(store, split_examples(store, split), tmp_path / "run", with_bom=with_bom)
    assert list(files) == ["train"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["train.jsonl"]


def test_writing_again_changes_nothing(store: ExampleStore, tmp_path: Path) -> None:
    splits = split_examples(store, SplitConfig())
    first = write_splits(store, splits, tmp_path / "run")
    contents = {name: facts.path.read_bytes() for name, facts in first.items()}
    assert write_splits(store, splits, tmp_path / "run") == first
    assert {name: facts.path.read_bytes() for name, facts in first.items()} == contents
    assert len(list((tmp_path / "run").iterdir())) == 3
    assert [json.loads(line) for line in store.lines()] == BODIES


def test_a_disk_that_fills_leaves_the_old_files_whole(store: ExampleStore, tmp_path: Path) -> None:
    old = write_splits(store, splits_of(*["test"] * 20, *["validation"] * 20, *["train"] * 20), tmp_path / "run")
    contents = {name: facts.path.read_bytes() for name, facts in old.items()}
    # Fewer validation examples than fill a buffer: only the training file finds the disk full, and maybe last.
    splits = splits_of(*["train"] * 57, "validation", "test", "test")
    with (
        largest_file(8192),
        pytest.raises(RunDirectoryError, match=r"Can't write .*run: File too large\. Make room"),
    ):
        write_splits(store, splits, tmp_path / "run")
    assert {name: facts.path.read_bytes() for name, facts in old.items()} == contents
    assert len(list((tmp_path / "run").iterdir())) == 3


def test_no_file_gets_its_name_before_all_are_whole(store: ExampleStore, tmp_path: Path) -> None:
    """What is left in the training file's buffer at the end is just too much; the others have long been written."""
    old = write_splits(store, splits_of(*["test"] * 20, *["validation"] * 20, *["train"] * 20), tmp_path / "run")
    contents = {name: facts.path.read_bytes() for name, facts in old.items()}
    splits = splits_of(*["train"] * 56, *["validation"] * 2, *["test"] * 2)
    size = sum(len(line) for line in list(store.lines())[:56])
    with largest_file(size - 1), pytest.raises(RunDirectoryError):
        write_splits(store, splits, tmp_path / "run")
    assert {name: facts.path.read_bytes() for name, facts in old.items()} == contents


def test_a_directory_that_is_a_file_is_explained(store: ExampleStore, tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(RunDirectoryError, match=r"Can't write .*run"):
        write_splits(store, alternating(), tmp_path / "run")


def test_a_file_in_the_way_leaves_nothing_behind(store: ExampleStore, tmp_path: Path) -> None:
    (tmp_path / "run/train.jsonl").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match="Is a directory"):
        write_splits(store, split_examples(store, SplitConfig()), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["train.jsonl"]


def test_the_store_is_not_written_over(store: ExampleStore) -> None:
    with pytest.raises(ValueError, match="write the splits to another"):
        write_splits(store, alternating(), store.directory)


def test_where_files_can_not_be_linked_they_are_copied(tmp_path: Path) -> None:
    other_disk = Path("/dev/shm")  # noqa: S108 - another file system is the point
    if not other_disk.is_dir() or other_disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    directory = other_disk / f"retune-{tmp_path.name}-{id(tmp_path)}"
    try:
        store = make_store(tmp_path / "store", BODIES)
        splits = split_examples(store, SplitConfig())
        files = write_splits(store, splits, directory)
        check_facts(files)
        assert len(list(directory.iterdir())) == 3
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


def test_copies_get_their_names_once_all_are_whole(
    store: ExampleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_to_link)
    old = write_splits(store, splits_of(*["test"] * 20, *["validation"] * 20, *["train"] * 20), tmp_path / "run")
    contents = {name: facts.path.read_bytes() for name, facts in old.items()}
    store.facts.parts["test"].path.unlink()
    with pytest.raises(RunDirectoryError, match="No such file"):
        write_splits(store, store.column("part"), tmp_path / "run")
    assert {name: facts.path.read_bytes() for name, facts in old.items()} == contents
    assert len(list((tmp_path / "run").iterdir())) == 3


def refuse_to_link(*_: Path) -> None:
    raise PermissionError


def test_a_file_that_was_changed_is_not_sent(store: ExampleStore, tmp_path: Path) -> None:
    facts = write_splits(store, alternating(), tmp_path / "run")["train"]
    require_unchanged(facts)
    content = facts.path.read_bytes()
    for changed in (content[:-1], content.replace(b"0", b"1")):
        facts.path.write_bytes(changed)
        with pytest.raises(RunDirectoryError, match=r"train\.jsonl was changed since it was written"):
            require_unchanged(facts)
    facts.path.unlink()
    with pytest.raises(RunDirectoryError, match="is missing"):
        require_unchanged(facts)
