"""The gradients are written by hand: each is held against the slope of the loss itself."""

from dataclasses import fields

import numpy as np
import pytest

from retune.trainers.conditional_lm.network import (
    BAG_SIZE,
    CONTEXT_TOKENS,
    Batch,
    Gradients,
    Parameters,
    score,
    score_and_gradients,
)

VOCABULARY = 12


def small_batch(rng: np.random.Generator) -> Batch:
    return Batch(
        buckets=np.array([3, 17, 40_000], np.uint16),
        weights=rng.random((2, 3), np.float32),
        answer_of=np.array([0, 0, 0, 1, 1], np.int32),
        contexts=rng.integers(0, VOCABULARY + 1, (5, CONTEXT_TOKENS), np.int32),
        targets=rng.integers(0, VOCABULARY, 5, np.int32),
    )


def dense(gradients: Gradients, parameters: Parameters) -> dict[str, np.ndarray]:
    """Gradients in the shapes of the parameters."""
    all_rows = {name: np.zeros_like(getattr(parameters, name)) for name in ("features", "tokens")}
    all_rows["features"][gradients.feature_rows] = gradients.features
    all_rows["tokens"][gradients.token_rows] = gradients.tokens
    names = [field.name for field in fields(Parameters)]
    return {name: all_rows[name] if name in all_rows else getattr(gradients, name) for name in names}


@pytest.mark.parametrize("positions_at_once", [1024, 2])
@pytest.mark.parametrize("name", [field.name for field in fields(Parameters)])
def test_gradients_are_the_slope_of_the_loss(name: str, positions_at_once: int) -> None:
    rng = np.random.default_rng(5)
    batch, parameters = small_batch(rng), Parameters.initial(VOCABULARY, rng)
    _, gradients = score_and_gradients(parameters, batch, positions_at_once)
    gradient = dense(gradients, parameters)[name]
    direction = gradient / np.linalg.norm(gradient)

    def loss_at(distance: float) -> float:
        moved = Parameters(**{field.name: getattr(parameters, field.name).copy() for field in fields(Parameters)})
        setattr(moved, name, getattr(moved, name) + np.float32(distance) * direction)
        return score(moved, batch, positions_at_once).mean_loss

    slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02
    assert slope == pytest.approx(float(np.linalg.norm(gradient)), rel=0.01)


def test_log_probabilities_are_a_distribution() -> None:
    rng = np.random.default_rng(1)
    parameters = Parameters.initial(VOCABULARY, rng)
    bags = rng.standard_normal((4, BAG_SIZE), np.float32) * 100
    contexts = np.full((4, CONTEXT_TOKENS), parameters.no_token, np.int32)
    rows = parameters.log_probabilities(bags, contexts)
    assert np.isfinite(rows).all()
    assert np.exp(rows).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
