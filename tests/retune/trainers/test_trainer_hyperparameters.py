import pytest

from retune.trainers.base import Hyperparameters, RequestedHyperparameters
from retune.trainers.registry import default_trainer


@pytest.mark.parametrize(
    ("n_examples", "n_epochs", "batch_size"),
    [(1, 25, 1), (10, 10, 1), (33, 3, 1), (100, 3, 1), (101, 3, 1), (8333, 3, 17), (10_003, 2, 20), (200_000, 1, 256)],
)
def test_auto_follows_the_rules_of_the_jobs_on_record(n_examples: int, n_epochs: int, batch_size: int) -> None:
    resolved = default_trainer().resolve_hyperparameters(RequestedHyperparameters(), n_examples=n_examples)
    assert resolved == Hyperparameters(n_epochs=n_epochs, batch_size=batch_size, learning_rate_multiplier=1.0)


def test_explicit_hyperparameters_are_unchanged() -> None:
    requested = RequestedHyperparameters(n_epochs=7, batch_size=9, learning_rate_multiplier=0.3)
    resolved = default_trainer().resolve_hyperparameters(requested, n_examples=10)
    assert resolved == Hyperparameters(n_epochs=7, batch_size=9, learning_rate_multiplier=0.3)


def test_usual_base_models_are_aliases() -> None:
    trainer = default_trainer()
    assert trainer.base_model == "baseline-text"
    assert {"gpt-4o-mini-2024-07-18", "gpt-4.1-nano", "gpt-3.5-turbo-0125"} <= set(trainer.aliases)
    assert len(set(trainer.aliases)) == len(trainer.aliases)
