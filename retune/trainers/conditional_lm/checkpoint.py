"""Checkpoint directories: what a model needs to answer, and what a training needs to go on.

    epoch-0003/
      model.json      vocabulary, known answers, facts of the training
      model.npz       weights in half precision; embeddings of those buckets alone that training data had
      training.npz    weights in full precision and the optimizer's state; only while the training is running

Nothing in them is unpickled.
"""

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from retune.errors import TrainerError
from retune.files import atomic_write, write_bytes
from retune.private_files import make_private_directory
from retune.trainers.conditional_lm.features import N_BUCKETS, FeatureWeights
from retune.trainers.conditional_lm.network import BAG_SIZE, Parameters
from retune.trainers.conditional_lm.optimizer import Optimizer
from retune.trainers.conditional_lm.tokenizer import AnswerTokenizer

_MODEL_JSON, _MODEL_NPZ, _TRAINING_NPZ = "model.json", "model.npz", "training.npz"
_EPOCHS = "epoch-[0-9][0-9][0-9][0-9]"

_Arrays = dict[str, NDArray[Any]]
_Expected = dict[str, tuple[DTypeLike, tuple[int, ...]]]
_Count = Annotated[int, Field(ge=0)]


class Facts(BaseModel):
    """What a checkpoint says about itself.

    Attributes:
        pieces: The tokenizer's pieces.
        known_answers: Answers that decoding is held to, or None where it is free.
        calls_tools: Whether there were tool calls among the answers.
        longest_answer: Tokens of the longest answer seen in training, its end included.
        n_documents: Conversations behind the document counts.
        step: Steps taken when it was written.
        epoch: Epochs finished when it was written.
        trained_tokens: Tokens of the whole training, as billed.
        fingerprint: Hash of data, hyperparameters and seed: a training is only resumed as what it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["retune-conditional-lm-1"] = "retune-conditional-lm-1"
    pieces: tuple[str, ...]
    known_answers: Annotated[tuple[str, ...], Field(min_length=1)] | None
    calls_tools: bool = False
    longest_answer: Annotated[int, Field(ge=1)]
    n_documents: _Count
    step: _Count
    epoch: _Count
    trained_tokens: _Count
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory."""

    facts: Facts
    tokenizer: AnswerTokenizer
    feature_weights: FeatureWeights
    parameters: Parameters


def epoch_directory(directory: Path, epoch: int) -> Path:
    """Where the checkpoint of an epoch goes."""
    return directory / f"epoch-{epoch:04d}"


def newest_epoch(directory: Path) -> Path | None:
    """The newest complete checkpoint in a training's directory."""
    return max(directory.glob(_EPOCHS), default=None)


def clear(directory: Path) -> None:
    """Remove the checkpoints of an earlier training from a training's directory."""
    for path in directory.glob(_EPOCHS):
        shutil.rmtree(path)


def save(checkpoint: Checkpoint, optimizer: Optimizer | None, directory: Path) -> None:
    """Write a checkpoint under a temporary name and rename it to `directory`.

    Args:
        checkpoint: The model.
        optimizer: Its optimizer's state, or None after the last epoch, when there is nothing to go on with.
        directory: The checkpoint's directory; must not exist.

    Raises:
        TrainerError: The weights are too large for half precision: the training has diverged.
    """
    temporary = directory.with_name(f".{directory.name}.partial")
    if temporary.exists():
        shutil.rmtree(temporary)
    make_private_directory(temporary)
    _write_arrays(temporary / _MODEL_NPZ, _model_arrays(checkpoint))
    if optimizer is not None:
        _write_arrays(temporary / _TRAINING_NPZ, _training_arrays(checkpoint.parameters, optimizer))
    write_bytes(temporary / _MODEL_JSON, checkpoint.facts.model_dump_json().encode())
    temporary.rename(directory)


def drop_training_state(directory: Path) -> None:
    """Remove what only a resumed training would need."""
    (directory / _TRAINING_NPZ).unlink(missing_ok=True)


def load(directory: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        TrainerError: There is none, it is damaged, or another program wrote it.
    """
    facts = _read_facts(directory / _MODEL_JSON)
    try:
        tokenizer = AnswerTokenizer(facts.pieces)
    except ValueError as error:
        raise _unreadable(directory / _MODEL_JSON, error) from None
    path = directory / _MODEL_NPZ
    arrays = _read_arrays(path)
    _check(arrays, _expected_of_model(len(tokenizer), n_rows=np.size(arrays.get("document_counts", ()))), path)
    buckets = arrays.pop("buckets")
    counts = np.zeros(N_BUCKETS, np.uint32)
    counts[buckets] = arrays.pop("document_counts")
    features = np.zeros((N_BUCKETS, BAG_SIZE), np.float32)
    features[buckets] = arrays.pop("features")
    dense = {name: array.astype(np.float32) for name, array in arrays.items()}
    weights = FeatureWeights(facts.n_documents, counts)
    return Checkpoint(facts, tokenizer, weights, Parameters(features=features, **dense))


def load_training_state(directory: Path, vocabulary: int) -> tuple[Parameters, Optimizer]:
    """Read full-precision parameters and the optimizer's state.

    Raises:
        TrainerError: They are missing or damaged.
    """
    path = directory / _TRAINING_NPZ
    arrays = _read_arrays(path)
    _check(arrays, _expected_of_training(vocabulary), path)
    parameters = {field.name: arrays[f"parameters.{field.name}"] for field in fields(Parameters)}
    state: dict[str, Any] = {field.name: arrays[f"optimizer.{field.name}"] for field in fields(Optimizer)}
    return Parameters(**parameters), Optimizer(**{**state, "steps": int(state["steps"])})


def _model_arrays(checkpoint: Checkpoint) -> _Arrays:
    counts = checkpoint.feature_weights.document_counts
    buckets = np.flatnonzero(counts).astype(np.uint16)
    arrays = {field.name: getattr(checkpoint.parameters, field.name) for field in fields(Parameters)}
    arrays["features"] = arrays["features"][buckets]
    with np.errstate(over="ignore"):
        halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    if not all(np.isfinite(array).all() for array in halves.values()):
        raise TrainerError(
            "The training has diverged: weights went beyond 65,504.",
            hint="Train again with a smaller learning_rate_multiplier.",
        )
    return {"buckets": buckets, "document_counts": counts[buckets], **halves}


def _expected_of_model(vocabulary: int, *, n_rows: int) -> _Expected:
    halves: _Expected = {name: (np.float16, shape) for name, shape in Parameters.shapes(vocabulary).items()}
    return {
        **halves,
        "buckets": (np.uint16, (n_rows,)),
        "document_counts": (np.uint32, (n_rows,)),
        "features": (np.float16, (n_rows, BAG_SIZE)),
    }


def _training_arrays(parameters: Parameters, optimizer: Optimizer) -> _Arrays:
    state = {f"optimizer.{field.name}": np.asarray(getattr(optimizer, field.name)) for field in fields(Optimizer)}
    return {f"parameters.{field.name}": getattr(parameters, field.name) for field in fields(Parameters)} | state


def _expected_of_training(vocabulary: int) -> _Expected:
    shapes = Parameters.shapes(vocabulary)
    weights: _Expected = {f"parameters.{name}": (np.float32, shape) for name, shape in shapes.items()}
    state: _Expected = {f"optimizer.{name}": (np.float32, shape) for name, shape in shapes.items()}
    return weights | state | {"optimizer.features": (np.float32, (BAG_SIZE,)), "optimizer.steps": (np.int64, ())}


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with atomic_write(path) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _read_facts(path: Path) -> Facts:
    try:
        return Facts.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _read_arrays(path: Path) -> _Arrays:
    try:
        # NumPy leaves a file open that it opened itself and then could not read.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise _unreadable(path, "it is not an archive")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None


def _check(arrays: _Arrays, expected: _Expected, path: Path) -> None:
    for name in expected.keys() | arrays.keys():
        found = (arrays[name].dtype, arrays[name].shape) if name in arrays else None
        wanted = (np.dtype(expected[name][0]), expected[name][1]) if name in expected else None
        if found != wanted:
            raise _unreadable(path, f"{name}: expected {wanted}, found {found}")
        if not np.isfinite(arrays[name]).all():
            raise _unreadable(path, f"{name} holds numbers that are not finite")


def _unreadable(path: Path, reason: object) -> TrainerError:
    return TrainerError(
        f"Can't read the checkpoint file {path}: {reason or type(reason).__name__}.",
        hint="It is missing, damaged, or was not written by this trainer; train the model again.",
    )
