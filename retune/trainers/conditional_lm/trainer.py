"""The trainer that the server uses unless told otherwise."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from retune.trainers.base import Hyperparameters, LanguageModel, RequestedHyperparameters, TrainingTask, TrainingUpdate
from retune.trainers.conditional_lm import checkpoint, prompts, training
from retune.trainers.conditional_lm.model import TrainedModel, UntrainedModel
from retune.training_lines.keys import COMPLETION_MODELS


class ConditionalLanguageModelTrainer:
    """Trains a small conditional language model: a classical baseline that needs no GPU, account or network."""

    name: str = "conditional-lm"
    base_model: str = "baseline-text"
    aliases: Sequence[str] = (
        "gpt-4.1",
        "gpt-4.1-2025-04-14",
        "gpt-4.1-mini",
        "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-nano",
        "gpt-4.1-nano-2025-04-14",
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-4o-2024-11-20",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "gpt-3.5-turbo",
        "gpt-3.5-turbo-0125",
        "gpt-3.5-turbo-1106",
        "gpt-3.5-turbo-0613",
        # The same as Azure names them.
        "gpt-35-turbo",
        "gpt-35-turbo-0125",
        "gpt-35-turbo-1106",
        "gpt-35-turbo-0613",
        *COMPLETION_MODELS,
    )
    completion_models: Sequence[str] = COMPLETION_MODELS
    context_tokens: int = prompts.CONTEXT_TOKENS
    context_characters: int = prompts.CONTEXT_CHARACTERS

    def resolve_hyperparameters(self, requested: RequestedHyperparameters, *, n_examples: int) -> Hyperparameters:
        """Turn every `auto` into a number, by the rules that OpenAI has published or was seen to use."""
        return Hyperparameters(
            n_epochs=_auto_epochs(n_examples) if requested.n_epochs == "auto" else requested.n_epochs,
            batch_size=_auto_batch_size(n_examples) if requested.batch_size == "auto" else requested.batch_size,
            learning_rate_multiplier=(
                1.0 if requested.learning_rate_multiplier == "auto" else requested.learning_rate_multiplier
            ),
        )

    def train(self, task: TrainingTask) -> Iterator[TrainingUpdate]:
        """Train; see `retune.trainers.base.Trainer.train`."""
        return training.train(task)

    def load(self, directory: Path | None) -> LanguageModel:
        """Load a checkpoint; see `retune.trainers.base.Trainer.load`."""
        return UntrainedModel() if directory is None else TrainedModel(checkpoint.load(directory))


def _auto_epochs(n_examples: int) -> int:
    # The rule of OpenAI's cookbook (Chat_finetuning_data_prep); it fits the jobs on record.
    if n_examples * 3 < 100:
        return min(25, 100 // max(1, n_examples))
    if n_examples * 3 > 25_000:
        return max(1, 25_000 // n_examples)
    return 3


def _auto_batch_size(n_examples: int) -> int:
    # "~0.2 % of the examples, capped at 256", as the API documented for its first fine-tunes.
    return max(1, min(256, round(n_examples * 0.002)))
