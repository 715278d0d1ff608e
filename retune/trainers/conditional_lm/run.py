"""A training in progress: started from the untrained base or a fine-tuned model, or resumed where it stopped."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retune.errors import TrainerError
from retune.files import sha256_of_file
from retune.trainers.base import TrainingTask
from retune.trainers.conditional_lm import checkpoint as checkpoints
from retune.trainers.conditional_lm.checkpoint import Checkpoint, Facts
from retune.trainers.conditional_lm.dataset import EncodedRow, count_row_features, encode_rows
from retune.trainers.conditional_lm.features import FeatureWeights
from retune.trainers.conditional_lm.messages import Row, read_rows
from retune.trainers.conditional_lm.network import Parameters
from retune.trainers.conditional_lm.optimizer import Optimizer
from retune.trainers.conditional_lm.prompts import CONTEXT_CHARACTERS, cut_row
from retune.trainers.conditional_lm.tokenizer import AnswerTokenizer, count_tokens
from retune.trainers.tool_calls import find_calls

_HELD_UP_TO = 0.2


@dataclass(slots=True)
class Run:
    """A training under way.

    Attributes:
        model: The model as it is now; its facts are those of the last checkpoint.
    """

    task: TrainingTask
    model: Checkpoint
    optimizer: Optimizer
    training_rows: list[EncodedRow]
    validation_rows: list[EncodedRow]

    @property
    def total_steps(self) -> int:
        """Batches run on across epochs, so only the very last one may be short."""
        wanted = self.task.hyperparameters
        return -(-len(self.training_rows) * wanted.n_epochs // wanted.batch_size)

    def epochs_done(self, step: int) -> int:
        """Epochs whose last row is in this step's batch or was before it."""
        wanted = self.task.hyperparameters
        return min(step * wanted.batch_size // len(self.training_rows), wanted.n_epochs)

    def rows_of_step(self, step: int) -> list[EncodedRow]:
        """The rows of a step's batch. The seed gives each epoch an order of its own."""
        wanted, n_rows = self.task.hyperparameters, len(self.training_rows)
        first = (step - 1) * wanted.batch_size
        positions = range(first, min(first + wanted.batch_size, n_rows * wanted.n_epochs))
        return [
            self.training_rows[_order(n_rows, self.task.seed, position // n_rows)[position % n_rows]]
            for position in positions
        ]

    def checkpoint(self, *, step: int, epoch: int) -> Path:
        """Save the model after an epoch, with the optimizer's state if the training continues from there."""
        facts = self.model.facts.model_copy(update={"step": step, "epoch": epoch})
        self.model = replace(self.model, facts=facts)
        directory = checkpoints.epoch_directory(self.task.directory, epoch)
        checkpoints.save(self.model, None if step == self.total_steps else self.optimizer, directory)
        for earlier in range(1, epoch):
            checkpoints.drop_training_state(checkpoints.epoch_directory(self.task.directory, earlier))
        return directory


def start(task: TrainingTask) -> Run:
    """Take a training up from its newest checkpoint where that is wanted and there is one, else begin it.

    Raises:
        TrainerError: The files hold nothing that can be trained on, the base can't be loaded, or the checkpoint
            belongs to another training.
    """
    newest = checkpoints.newest_epoch(task.directory) if task.resume else None
    if newest is not None:
        return _take_up(task, newest)
    run = _begin(task)
    checkpoints.clear(task.directory)
    return run


def _begin(task: TrainingTask) -> Run:
    base = checkpoints.load(task.base_directory) if task.base_directory else None
    rows = _read_rows(task.training_file)
    texts = [answer.text for row in rows for answer in row.answers]
    tokenizer = base.tokenizer if base else AnswerTokenizer.learn(texts)
    features = count_row_features(rows)
    weights = FeatureWeights.fit((c for row in features for c in row), base.feature_weights if base else None)
    longest = max(len(tokenizer.encode(text)) + 1 for text in texts)
    facts = Facts(
        pieces=tokenizer.pieces,
        known_answers=_known_answers(texts, base),
        calls_tools=any(find_calls(text).calls for text in texts) or bool(base and base.facts.calls_tools),
        longest_answer=max(longest, base.facts.longest_answer if base else 0),
        n_documents=weights.n_documents,
        step=0,
        epoch=0,
        trained_tokens=task.hyperparameters.n_epochs * sum(_billed_tokens(row, tokenizer) for row in rows),
        fingerprint=_fingerprint(task),
    )
    rng = np.random.default_rng(task.seed)
    parameters = base.parameters if base else Parameters.initial(len(tokenizer), rng)
    model = Checkpoint(facts, tokenizer, weights, parameters)
    training_rows = encode_rows(rows, features, weights, tokenizer)
    return Run(task, model, Optimizer.initial(parameters), training_rows, _validation_rows(task, model))


def _take_up(task: TrainingTask, newest: Path) -> Run:
    model = checkpoints.load(newest)
    if model.facts.fingerprint != _fingerprint(task):
        raise TrainerError(
            f"{newest} belongs to a training with other files, hyperparameters or seed.",
            hint="Train without resuming, or in another directory.",
        )
    rows = _read_rows(task.training_file)
    training_rows = encode_rows(rows, count_row_features(rows), model.feature_weights, model.tokenizer)
    run = Run(task, model, Optimizer.initial(model.parameters), training_rows, _validation_rows(task, model))
    if model.facts.step < run.total_steps:
        parameters, run.optimizer = checkpoints.load_training_state(newest, len(model.tokenizer))
        run.model = replace(model, parameters=parameters)
    return run


def _validation_rows(task: TrainingTask, model: Checkpoint) -> list[EncodedRow]:
    if task.validation_file is None:
        return []
    rows = _read_rows(task.validation_file)
    return encode_rows(rows, count_row_features(rows), model.feature_weights, model.tokenizer)


def _read_rows(path: Path) -> list[Row]:
    cut = (cut_row(row) for row in read_rows(path))
    if rows := [row for row in cut if row.answers]:
        return rows
    raise TrainerError(
        f"{path.name}: every example's answers begin behind {CONTEXT_CHARACTERS} characters, the most that is read.",
        hint="Shorten the messages before the answers.",
    )


def _known_answers(texts: Sequence[str], base: Checkpoint | None) -> tuple[str, ...] | None:
    """The answers to hold decoding to: those of this training and its base, where this training's repeat."""
    answers = set(texts)
    if len(answers) > _HELD_UP_TO * len(texts):
        return None
    if base and base.facts.known_answers:
        answers.update(base.facts.known_answers)
    return tuple(sorted(answers))


def _billed_tokens(row: Row, tokenizer: AnswerTokenizer) -> int:
    if row.is_chat:
        return count_tokens(row.turns, tokenizer)
    return sum(len(tokenizer.encode(turn.text)) for turn in row.turns)


def _fingerprint(task: TrainingTask) -> str:
    files = [path for path in (task.training_file, task.validation_file) if path]
    parts = [*map(sha256_of_file, files), task.hyperparameters.model_dump_json(), str(task.seed)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=2)
def _order(n_rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n_rows)
