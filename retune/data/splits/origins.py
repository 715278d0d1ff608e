"""Where each split comes from: the source declares it, or it was drawn."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Splits, with_groups

_DECLARED = "declared by "
_DEFAULTS = SplitConfig()


def find_origins(store: ExampleStore, config: SplitConfig, splits: Splits) -> dict[str, str]:
    """Say of each split where it comes from, in words.

    Args:
        store: The examples.
        config: How they were assigned.
        splits: Where each is; 0 for those that count for nothing.

    Returns:
        By split: "declared by file names", "drawn from train, stable"; where nothing is declared, "stable". A split
        that is neither is left out.
    """
    declared = np.where(splits > 0, store.column("side"), 0)
    if config.method is not SplitMethod.COLUMN and not (declared > TRAIN).any():
        return dict.fromkeys(SPLITS[1:], _drawn_by(store, config))
    column = store.facts.split_column or config.column
    by = {SPLITS[split]: _declared_by(store, column, declared == split) for split in (TRAIN, VALIDATION, TEST)}
    origins = {name: _DECLARED + " and ".join(reasons) for name, reasons in by.items() if reasons}
    if ((splits > 0) & (declared == 0)).any():
        # What nothing is said of is trained on, or drawn from.
        origins["train"] = f"{origins['train']}, and the rest" if "train" in origins else "the rest"
    if config.method is not SplitMethod.COLUMN:
        for name in ("validation", "test"):
            share = getattr(config, name)
            if name not in origins and share:
                origins[name] = f"drawn from train, {_drawn_by(store, config)}"
            elif share not in (0, getattr(_DEFAULTS, name)):
                origins[name] += f"; --{name} {share:g} draws nothing"
    return origins


def describe_splits(sizes: Mapping[str, int], origins: Mapping[str, str], item: str = "{name} {size:,}") -> str:
    """The sizes and where they come from, in one line.

    Args:
        sizes: Number of examples by split.
        origins: As `find_origins` gives them.
        item: How a split and its size are written.
    """
    items = {name: item.format(name=name, size=size) for name, size in sizes.items()}
    if len(set(origins.values())) == 1:
        return f"{', '.join(items.values())} ({next(iter(origins.values()))})"
    return ", ".join(f"{text} ({origins[name]})" if name in origins else text for name, text in items.items())


def _drawn_by(store: ExampleStore, config: SplitConfig) -> str:
    assigned = with_groups(store, config)
    return str(config.method) if assigned is config else f"{config.method} by {assigned.column}"


def _declared_by(store: ExampleStore, column: str | None, chosen: npt.NDArray[np.bool_]) -> list[str]:
    """What declares the split of some examples, in words."""
    files = store.facts.files
    places = np.unique(store.column("file")[chosen]).tolist()
    return list(dict.fromkeys(files[place].split_by or f"column {column}" for place in places))
