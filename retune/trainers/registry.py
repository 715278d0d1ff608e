"""Which trainers there are."""

from retune.trainers.base import Trainer


def default_trainer() -> Trainer:
    """The trainer that the server uses unless told otherwise."""
    from retune.trainers.conditional_lm.trainer import ConditionalLanguageModelTrainer  # noqa: PLC0415 - NumPy loads only when a trainer is asked for

    return ConditionalLanguageModelTrainer()
