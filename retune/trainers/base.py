"""What the server asks of a trainer.

A trainer trains in a process of its own: it is given one `TrainingTask`, reports step by step, and leaves one
directory per checkpoint. Later, in the server's process, it loads such a directory and answers with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from retune.training_lines.keys import JsonMapping


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
        training_file: JSONL, already validated by the server: chat lines, or prompt and completion lines. Assistant
            messages may have tool calls; tool declarations are not trained on.
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
            tokens(content))), in the trainer's own tokens; of prompt and completion lines, n_epochs × Σ examples
            (tokens(prompt) + tokens(completion)).
        directory: The final checkpoint's directory.
    """

    kind: Literal["finished"] = "finished"
    trained_tokens: int
    directory: Path


TrainingUpdate = StepMetrics | CheckpointSaved | TrainingFinished


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token and how likely it was.

    Attributes:
        content: Its bytes, which may be a part of a character; None where it has none: the end of the turn.
        logprob: Natural logarithm of its probability.
    """

    content: bytes | None
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer, how likely it was, and what else was likely in its place.

    Attributes:
        content: Its bytes; of a token that a stop sequence cut, those before the cut.
        alternatives: The likeliest tokens in its place, the likeliest first, itself among them where it is one.
    """

    content: bytes
    logprob: float
    alternatives: tuple[LikelyToken, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        finish_reason: `stop`: the model ended its turn or met a stop sequence; `length`: it ran out of tokens.
        prompt_tokens: Tokens of the conversation, by the trainer's tokenizer.
        completion_tokens: Tokens of the answer, its end-of-turn included when the model said it.
        tokens: The content token by token, as bytes: joined, they are its UTF-8.
        logprobs: The same tokens with their probabilities, where they were asked for.
        is_refusal: The model says why it gives no answer that the caller accepts.
    """

    content: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    tokens: tuple[bytes, ...]
    logprobs: tuple[TokenLogprob, ...] | None = None
    is_refusal: bool = False


# The messages of a conversation; or, for a completion model, the text that it continues.
Prompt = str | Sequence[JsonMapping]


class PromptTooLongError(ValueError):
    """A prompt does not fit into the model's context.

    Args:
        n_tokens: The prompt's tokens, or a lower bound of them.
        context_tokens: The most that a prompt may have.
    """

    def __init__(self, n_tokens: int, context_tokens: int) -> None:
        super().__init__(n_tokens, context_tokens)
        self.n_tokens = n_tokens
        self.context_tokens = context_tokens


class LanguageModel(Protocol):
    """A loaded model. Safe to call from several threads at once.

    Attributes:
        calls_tools: Whether it has learned tool calls, and so can choose by itself between them and text. It writes
            them as `retune.trainers.tool_calls` has it.
    """

    calls_tools: bool

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        top_logprobs: int | None = None,
        accepts: Callable[[str], bool] | None = None,
    ) -> Completion:
        """Answer a conversation, or go on from a prompt. The stop sequence itself is not part of the answer.

        Args:
            prompt: What to answer.
            max_tokens: The longest answer; None for the model's own limit.
            stop: Texts to end before.
            seed: The same seed draws the same answer again; None for chance.
            temperature: 0 for the likeliest answer.
            top_p: Draw from the likeliest tokens alone that hold this much of the probability.
            frequency_penalty: Taken off the logit of a token for each time that the answer has it already.
            presence_penalty: Taken off once where the answer has the token already.
            top_logprobs: Tell each token's log-probability, with so many alternatives; None for neither.
            accepts: Which answers are wanted. A model that chooses among whole answers chooses among these, where it
                has any; from others, and from answers cut short, the caller may still get one that is not wanted.
                Hashable, and equal to another only if both accept the same. Whatever it raises comes through.

        Raises:
            PromptTooLongError: The prompt does not fit into the model's context; little of it was looked at.
            InterruptedWorkError: A `retune.trainers.interruption.checkpoint` said that nobody waits for the answer.
        """
        ...


class Trainer(Protocol):
    """One way to train.

    Attributes:
        name: Name of the trainer, shown to operators.
        base_model: The base model's own name.
        aliases: Other base model names that existing code asks for and that this trainer stands in for.
        completion_models: Those among all of its base model names that complete prompts; the others chat.
        context_tokens: The longest prompt of its models. A longer training example is cut at its end.
        context_characters: The most characters that such a prompt has.
    """

    name: str
    base_model: str
    aliases: Sequence[str]
    completion_models: Sequence[str]
    context_tokens: int
    context_characters: int

    def resolve_hyperparameters(self, requested: RequestedHyperparameters, *, n_examples: int) -> Hyperparameters:
        """Turn every `auto` into a number."""
        ...

    def train(self, task: TrainingTask) -> Iterator[TrainingUpdate]:
        """Train, yielding every step, every checkpoint and at last `TrainingFinished`.

        Raises:
            TrainerError: The files hold nothing that can be trained on, or the base can't be loaded.
        """
        ...

    def load(self, directory: Path | None) -> LanguageModel:
        """Load a checkpoint directory, or the untrained base where it is None.

        Raises:
            TrainerError: The directory holds no checkpoint that this trainer can read.
        """
        ...
