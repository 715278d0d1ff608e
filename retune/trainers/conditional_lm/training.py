"""The training loop."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from retune.errors import TrainerError
from retune.trainers.base import CheckpointSaved, StepMetrics, TrainingFinished, TrainingTask, TrainingUpdate
from retune.trainers.conditional_lm.checkpoint import epoch_directory
from retune.trainers.conditional_lm.dataset import EncodedRow, make_batch
from retune.trainers.conditional_lm.network import Parameters, Score, score, score_and_gradients
from retune.trainers.conditional_lm.run import Run, start

_STEPS_BETWEEN_VALIDATIONS = 10
_VALIDATION_ROWS = 32


def train(task: TrainingTask) -> Iterator[TrainingUpdate]:
    """Train; see `retune.trainers.base.Trainer.train`."""
    run = start(task)
    for step in range(run.model.facts.step + 1, run.total_steps + 1):
        epoch = run.epochs_done(step)
        ends_epoch = epoch > run.model.facts.epoch
        yield _take_step(run, step, ends_epoch=ends_epoch)
        if ends_epoch:
            yield CheckpointSaved(step=step, epoch=epoch, directory=run.checkpoint(step=step, epoch=epoch))
    facts = run.model.facts
    yield TrainingFinished(trained_tokens=facts.trained_tokens, directory=epoch_directory(task.directory, facts.epoch))


def _take_step(run: Run, step: int, *, ends_epoch: bool) -> StepMetrics:
    parameters = run.model.parameters
    with np.errstate(over="ignore", invalid="ignore"):  # _require_finite reports what these would
        before, gradients = score_and_gradients(parameters, make_batch(run.rows_of_step(step)))
        run.optimizer.update(parameters, gradients, _learning_rate(run, step))
        valid = _score(parameters, _validation_batch(run, step))
        full = _score(parameters, run.validation_rows if ends_epoch else [])
    _require_finite((before, valid, full), f"step {step} of {run.total_steps}")
    return StepMetrics(
        step=step,
        total_steps=run.total_steps,
        train_loss=before.mean_loss,
        train_mean_token_accuracy=before.accuracy,
        valid_loss=valid.mean_loss if valid else None,
        valid_mean_token_accuracy=valid.accuracy if valid else None,
        full_valid_loss=full.mean_loss if full else None,
        full_valid_mean_token_accuracy=full.accuracy if full else None,
    )


def _learning_rate(run: Run, step: int) -> float:
    """Falls in a straight line from the multiplier at the first step to almost nothing at the last."""
    return run.task.hyperparameters.learning_rate_multiplier * (1 - (step - 1) / run.total_steps)


def _require_finite(scores: Iterable[Score | None], where: str) -> None:
    if not all(math.isfinite(score.loss) for score in scores if score):
        raise TrainerError(
            f"The training has diverged: at {where} the loss is no longer a finite number.",
            hint="Train again with a smaller learning_rate_multiplier.",
        )


def _validation_batch(run: Run, step: int) -> Sequence[EncodedRow]:
    """Every tenth step and at the last one the next few validation rows, round and round; else none."""
    rows = run.validation_rows
    if not rows or (step % _STEPS_BETWEEN_VALIDATIONS and step != run.total_steps):
        return []
    first = step // _STEPS_BETWEEN_VALIDATIONS * _VALIDATION_ROWS
    return [rows[(first + index) % len(rows)] for index in range(min(_VALIDATION_ROWS, len(rows)))]


def _score(parameters: Parameters, rows: Sequence[EncodedRow]) -> Score | None:
    if not rows:
        return None
    batches = (make_batch(rows[first : first + _VALIDATION_ROWS]) for first in range(0, len(rows), _VALIDATION_ROWS))
    return sum((score(parameters, batch) for batch in batches), Score())
