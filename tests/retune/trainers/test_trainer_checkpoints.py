import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import ask, finished, train

from retune.errors import TrainerError
from retune.trainers.registry import default_trainer


@pytest.fixture(scope="module")
def saved(support_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(train(support_file, tmp_path_factory.mktemp("job"), n_epochs=1)).directory


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "epoch-0001"))


def change_facts(directory: Path, **changes: Any) -> None:
    path = directory / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_arrays(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with np.load(directory / "model.npz") as archive:
        arrays: dict[str, Any] = dict(archive)
    change(arrays)
    np.savez(directory / "model.npz", **arrays)


def write_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


def test_a_copied_checkpoint_answers_as_the_model_did(saved: Path, copy: Path) -> None:
    texts = ["please refund my order", "荷物が届きません!", "登录不了", ""]
    original, copied = default_trainer().load(saved), default_trainer().load(copy)
    assert [ask(original, text) for text in texts] == [ask(copied, text) for text in texts]


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda directory: (directory / "model.json").unlink(),
        lambda directory: (directory / "model.npz").unlink(),
        lambda directory: (directory / "model.json").write_text("{"),
        lambda directory: (directory / "model.json").write_text("[" * 100_000),
        lambda directory: (directory / "model.json").write_bytes(b"\xff\xfe\x00"),
        lambda directory: (directory / "model.npz").write_bytes(b""),
        lambda directory: (directory / "model.npz").write_bytes(b"not an archive"),
        lambda directory: (directory / "model.npz").write_bytes((directory / "model.npz").read_bytes()[:5000]),
        lambda directory: (directory / "model.npz").write_bytes(pickle.dumps({"features": 1})),
        lambda directory: write_array(directory / "model.npz"),
        lambda directory: change_facts(directory, format="another-trainer-1"),
        lambda directory: change_facts(directory, unknown=1),
        lambda directory: change_facts(directory, pieces=["same", "same"]),
        lambda directory: change_facts(directory, pieces=["half \ud83d"]),
        lambda directory: change_facts(directory, pieces=["one", "too", "few"]),
        lambda directory: change_facts(directory, known_answers=[]),
        lambda directory: change_facts(directory, longest_answer=0),
        lambda directory: change_arrays(directory, lambda arrays: arrays.pop("tokens")),
        lambda directory: change_arrays(directory, lambda arrays: arrays.update(extra=np.zeros(1))),
        lambda directory: change_arrays(directory, lambda arrays: arrays.update(buckets=arrays["buckets"] * 1.5)),
        lambda directory: change_arrays(directory, lambda arrays: arrays.update(buckets=arrays["buckets"][:-1])),
        lambda directory: change_arrays(directory, lambda arrays: arrays.update(document_counts=np.uint32(1))),
        lambda directory: change_arrays(directory, lambda arrays: arrays["output_bias"].fill(np.nan)),
        lambda directory: change_arrays(
            directory, lambda arrays: arrays.update(tokens=np.array([{"an": "object"}], dtype=object))
        ),
    ],
)
def test_damaged_and_foreign_directories_are_refused(copy: Path, damage: Callable[[Path], Any]) -> None:
    damage(copy)
    with pytest.raises(TrainerError, match="epoch-0001/model") as caught:
        default_trainer().load(copy)
    assert "train the model again" in (caught.value.hint or "")


def test_nothing_in_a_checkpoint_is_unpickled(copy: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    change_arrays(copy, lambda arrays: arrays.update(tokens=np.array([Trap()], dtype=object)))
    with pytest.raises(TrainerError):
        default_trainer().load(copy)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn"])
def test_a_training_whose_state_is_damaged_cannot_be_resumed(
    support_file: Path, tmp_path: Path, content: bytes | None
) -> None:
    train(support_file, tmp_path / "other", n_epochs=2)
    state = tmp_path / "other" / "epoch-0001" / "training.npz"
    assert not state.exists()
    if content is not None:
        state.write_bytes(content)
    shutil.rmtree(tmp_path / "other" / "epoch-0002")
    with pytest.raises(TrainerError, match=r"training\.npz"):
        train(support_file, tmp_path / "other", n_epochs=2, resume=True)


def test_incomplete_checkpoint_is_ignored(support_file: Path, tmp_path: Path) -> None:
    partial = tmp_path / "job" / ".epoch-0001.partial"
    partial.mkdir(parents=True)
    (partial / "model.json").write_text("{")
    updates = train(support_file, tmp_path / "job", n_epochs=1, resume=True)
    assert finished(updates).directory == tmp_path / "job" / "epoch-0001"
    assert not partial.exists()


def test_a_checkpoint_is_small(saved: Path) -> None:
    assert sum(path.stat().st_size for path in saved.iterdir()) < 1_000_000
