"""The examples of a source as one number each, by which new ones are told from known ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retune.config import RetrainConfig
from retune.data.cost.tokens import encoding_for
from retune.data.dataset.columns import CONTENT_COLUMNS, Column
from retune.data.formats.detect import choose_format
from retune.data.formats.late_keys import LateRows
from retune.data.formats.message_rows.source import put_together
from retune.data.ingest.analyze import analyze_block
from retune.data.ingest.plan import Plan
from retune.data.sources.blocks import Source
from retune.data.sources.open import open_source
from retune.files import atomic_write, writing

Hashes = npt.NDArray[np.uint64]
"""One hash for each different example, in ascending order."""


@dataclass(frozen=True, slots=True)
class ExampleHashes:
    """What examples a source holds.

    Attributes:
        n_examples: How many, those that repeat another one too; without rows of which no example can be made.
        hashes: Of their content: what a training reads of them.
    """

    n_examples: int
    hashes: Hashes


def read_hashes(config: RetrainConfig, on_block: Callable[[], None] = lambda: None) -> ExampleHashes:
    """Read a source and hash every example.

    Memory is eight bytes an example and a few megabytes more.

    Args:
        config: What would be trained; its data section says how rows become examples.
        on_block: Called now and then; it may raise, to stop the reading.

    Raises:
        SourceError: The source can't be read.
    """
    source = put_together(open_source(config.data), config.data)
    plan = _plan_for(source, config)
    every, late = _hash_all(source, plan, on_block)
    late.add_to(source)
    better = _plan_for(source, config) if late else plan
    if better.row_format.reads != plan.row_format.reads:
        every, _ = _hash_all(source, better, on_block)
    return ExampleHashes(len(every), np.unique(every))


def _plan_for(source: Source, config: RetrainConfig) -> Plan:
    return Plan(
        files=tuple(source.files),
        row_format=choose_format(source, config.data, config.split, config.training.method),
        method=config.training.method,
        provider="openai",
        encoding=encoding_for(config.training.model),
        split=config.split,
        checks=False,
        counts_tokens=False,
    )


def _hash_all(source: Source, plan: Plan, on_block: Callable[[], None]) -> tuple[Hashes, LateRows]:
    """The hashes of all examples, and rows that have what the shape was chosen without knowing of."""
    found: list[Hashes] = []
    late = LateRows()
    for block in source.blocks():
        analyzed = analyze_block(block, plan)
        late.add(analyzed.late)
        found.append(_combined(analyzed.columns, analyzed.columns["sound"].astype(bool)))
        on_block()
    return np.concatenate(found) if found else np.zeros(0, np.uint64), late


def count_new(hashes: Hashes, known: Hashes | None) -> int:
    """How many different examples are not among the known ones; all of them where none are known."""
    if known is None or not len(known):
        return len(hashes)
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return int(np.count_nonzero(known[places] != hashes))


def write_hashes(path: Path, hashes: Hashes) -> None:
    """Write hashes to a file, atomically: eight bytes each.

    Raises:
        RunDirectoryError: It can't be written.
    """
    with writing(path), atomic_write(path) as stream:
        np.save(stream, hashes.astype("<u8", copy=False), allow_pickle=False)


def read_known(path: Path) -> Hashes | None:
    """Read what `write_hashes` wrote; None where it is missing or damaged."""
    try:
        with path.open("rb") as stream:
            hashes = np.load(stream, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    is_sound = isinstance(hashes, np.ndarray) and hashes.dtype == np.dtype("<u8") and hashes.ndim == 1
    return hashes.astype(np.uint64, copy=False) if is_sound and bool(np.all(hashes[1:] > hashes[:-1])) else None


def _combined(columns: dict[str, Column], sound: npt.NDArray[np.bool_]) -> Hashes:
    """One hash of several, by the finalizer of SplitMix64 (Steele, Lea and Flood, 2014); overflow is meant."""
    so_far: Hashes = np.full(int(sound.sum()), 0x9E3779B97F4A7C15, np.uint64)
    for name in CONTENT_COLUMNS:
        so_far = (so_far * np.uint64(3)) ^ columns[name][sound].astype(np.uint64, copy=False)
        so_far = (so_far ^ (so_far >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        so_far = (so_far ^ (so_far >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        so_far = so_far ^ (so_far >> np.uint64(31))
    return so_far
