"""Metric curves made ready for drawing: smoothed, thinned, and the best checkpoint found on them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from retune.training_lines.keys import JsonMapping

_FEWEST_POINTS_TO_SMOOTH = 20
_MOST_POINTS = 1_500
# What decides, in order: full validation is measured on the most data, training loss on data the model has seen.
_JUDGES = ("full_valid_loss", "valid_loss", "train_loss")

Floats = npt.NDArray[np.float64]


class BestCheckpoint(BaseModel):
    """The checkpoint with the lowest loss, and by which loss.

    Attributes:
        model: Name to call it by.
        step: The step it was saved at.
        metric: `full_valid_loss`, else `valid_loss`, else `train_loss`.
        value: That loss, in nats a token.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    step: int
    metric: str
    value: float


def best_checkpoint(table: pd.DataFrame, checkpoints: Sequence[Mapping[str, object]]) -> BestCheckpoint | None:
    """Find the checkpoint with the lowest full validation loss, else validation loss, else training loss.

    The loss that decides is the first of the three that any checkpoint's step has; of equals the earlier one wins.
    None where no checkpoint has any.

    Args:
        table: Metrics as in `TrainingMetrics.table`.
        checkpoints: As the API gives them.
    """
    names = {step: checkpoint.get("fine_tuned_model_checkpoint") for step, checkpoint in _by_step(checkpoints).items()}
    at_checkpoints = table[table["step"].isin(names)]
    for metric in _JUDGES:
        if metric in table.columns and at_checkpoints[metric].notna().any():
            row = int(np.nanargmin(at_checkpoints[metric].to_numpy()))
            step = int(at_checkpoints["step"].iloc[row])
            value = float(at_checkpoints[metric].iloc[row])
            return BestCheckpoint(model=names[step] or f"step {step}", step=step, metric=metric, value=value)
    return None


def checkpoint_steps(checkpoints: Sequence[Mapping[str, object]]) -> list[int]:
    """The steps that checkpoints were saved at, ascending."""
    return sorted(_by_step(checkpoints))


def _by_step(checkpoints: Sequence[JsonMapping]) -> dict[int, JsonMapping]:
    # Any field of the API's objects may be null.
    return {int(step): one for one in checkpoints if (step := one.get("step_number")) is not None}


def smoothing_window(n_points: int) -> int:
    """Points that the smoothed line takes the mean of: an odd number about a thirtieth of all, 1 for short curves."""
    return 1 if n_points < _FEWEST_POINTS_TO_SMOOTH else max(3, n_points // 30 | 1)


def smooth(values: Floats, window: int) -> Floats:
    """Centred moving mean; towards the ends the window narrows, so the curve keeps its length and does not lag."""
    smoothed: Floats = pd.Series(values).rolling(window, center=True, min_periods=1).mean().to_numpy()
    return smoothed


def thin(steps: Floats, values: Floats, most_points: int = _MOST_POINTS) -> tuple[Floats, Floats]:
    """Keep at most so many points, the lowest and the highest of every stretch among them, so no spike is lost."""
    if len(steps) <= most_points:
        return steps, values
    stretches = np.array_split(np.arange(len(steps)), most_points // 2)
    kept = {0, len(steps) - 1}
    for stretch in stretches[1:-1]:
        kept.update((int(stretch[values[stretch].argmin()]), int(stretch[values[stretch].argmax()])))
    chosen = np.array(sorted(kept))
    return steps[chosen], values[chosen]
