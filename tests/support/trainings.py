"""Training files, tasks and whole trainings for the tests of trainers."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from retune.trainers.base import (
    Hyperparameters,
    LanguageModel,
    StepMetrics,
    TrainingFinished,
    TrainingTask,
    TrainingUpdate,
)
from retune.trainers.registry import default_trainer

Pair = tuple[str, str]


def write_rows(path: Path, examples: Iterable[Pair | dict[str, Any]]) -> Path:
    """Write pairs of user and assistant text, or whole rows, as chat JSONL."""
    rows = [_row(*example) if isinstance(example, tuple) else example for example in examples]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_task(training_file: Path, directory: Path, **changes: Any) -> TrainingTask:
    """A task of three epochs in batches of four; changes go to the hyperparameter or field of their name."""
    numbers: dict[str, Any] = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}
    numbers |= {name: changes.pop(name) for name in list(changes) if name in Hyperparameters.model_fields}
    values: dict[str, Any] = {"directory": directory, "seed": 7, **changes}
    return TrainingTask(training_file=training_file, hyperparameters=Hyperparameters(**numbers), **values)


def train(training_file: Path, directory: Path, **changes: Any) -> list[TrainingUpdate]:
    """Train the default trainer to the end."""
    return list(default_trainer().train(make_task(training_file, directory, **changes)))


def trained_model(training_file: Path, directory: Path, **changes: Any) -> LanguageModel:
    """Train the default trainer and load the model that comes out."""
    return default_trainer().load(finished(train(training_file, directory, **changes)).directory)


def steps(updates: Iterable[TrainingUpdate]) -> list[StepMetrics]:
    """The steps among a training's updates."""
    return [update for update in updates if isinstance(update, StepMetrics)]


def finished(updates: Iterable[TrainingUpdate]) -> TrainingFinished:
    """The end of a training."""
    return next(update for update in updates if isinstance(update, TrainingFinished))


def ask(model: LanguageModel, text: str, **options: Any) -> str:
    """The model's answer to one user message, the likeliest unless told otherwise."""
    return model.complete([{"role": "user", "content": text}], **{"temperature": 0.0, **options}).content


def _row(user: str, assistant: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}
