"""What the server asks of a trainer.

A trainer trains in a process of its own: it is given one `TrainingTask`, reports step by step, and leaves one
directory per checkpoint. Later, in the server's process, it loads such a directory and answers with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field


class RequestedHyperparameters(BaseModel):
    """Hyperparameters as a client asks for them: a number, or `auto` for the trainer's choice.

    The bounds are those of the published API document.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_epochs: Literal["auto"] | int = Field("auto")
    batch_size: Literal["auto"] | int = Field("auto")
    learning_rate_multiplier: Literal["auto"] | float = Field("auto")


class Hyperparameters(BaseModel):
    """Hyperparameters as numbers, the way a job shows them once it runs."""

    model_config = ConfigDict(frozen=True)

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float


class TrainingTask(BaseModel):
    """All that one training needs; travels to the training process as JSON.

    Attributes:
        training_file: Chat JSONL, already validated by the server.
        validation_file: The same, or None.
        directory: Where checkpoints go: `directory/epoch-0001/`, … each complete once it appears under its name.
        base_directory: Checkpoint directory to start from (a fine-tuned model), or None for the untrained base.
        hyperparameters: Resolved numbers.
        seed: The same seed, data and hyperparameters give the same metrics.
        resume: Take up from the newest `epoch-*` in `directory`, where there is one.
    """

    training_file: Path
    validation_file: Path | None = None
    directory: Path
    base_directory: Path | None = None
    hyperparameters: Hyperparameters
    seed: int
    resume: bool = False


class StepMetrics(BaseModel):
    """What one optimizer step reports.

    Attributes:
        train_loss: Mean cross-entropy (nats a token) of the step's batch before its update.
        train_mean_token_accuracy: Fraction of the batch's target tokens whose arg-max was right.
        valid_loss: The same of a validation batch, on the steps where one was evaluated.
        full_valid_loss: The same over the whole validation file, at each epoch's end.
    """

    kind: Literal["step"] = "step"
    step: int
    total_steps: int
    train_loss: float
    train_mean_token_accuracy: float
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class CheckpointSaved(BaseModel):
    """A checkpoint directory is complete on disk."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    epoch: int
    directory: Path


class TrainingFinished(BaseModel):
    """Training is over.

    Attributes:
        trained_tokens: Billed the way the API bills: n_epochs × Σ examples (1 + Σ messages (3 + tokens(role) +
            tokens(content))), in the trainer's own tokens.
        directory: The final checkpoint's directory.
    """

    kind: Literal["finished"] = "finished"
    trained_tokens: int
    directory: Path


TrainingUpdate = StepMetrics | CheckpointSaved | TrainingFinished


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        finish_reason: `stop`: the model ended its turn or met a stop sequence; `length`: it ran out of tokens.
        prompt_tokens: Tokens of the conversation, by the trainer's tokenizer.
        completion_tokens: Tokens of the answer, its end-of-turn included when the model said it.
    """

    content: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class ChatModel(Protocol):
    """A loaded model. Safe to call from several threads at once."""

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> Completion:
        """Answer a conversation. The stop sequence itself is not part of the answer."""
        ...


class Trainer(Protocol):
    """One way to train.

    Attributes:
        name: Name of the trainer, shown to operators.
        base_model: The base model's own name.
        aliases: Other base model names that existing code asks for and that this trainer stands in for.
    """

    name: str
    base_model: str
    aliases: Sequence[str]

    def resolve_hyperparameters(self, requested: RequestedHyperparameters, *, n_examples: int) -> Hyperparameters:
        """Turn every `auto` into a number."""
        ...

    def train(self, task: TrainingTask) -> Iterator[TrainingUpdate]:
        """Train, yielding every step, every checkpoint and at last `TrainingFinished`.

        Raises:
            TrainerError: The files hold nothing that can be trained on, or the base can't be loaded.
        """
        ...

    def load(self, directory: Path | None) -> ChatModel:
        """Load a checkpoint directory, or the untrained base where it is None.

        Raises:
            TrainerError: The directory holds no checkpoint that this trainer can read.
        """
        ...
