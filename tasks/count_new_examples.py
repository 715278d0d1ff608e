"""Read data that has changed, and count the examples that were not there when it was announced last."""

import asyncio
import threading

from prefect import get_run_logger
from prefect.cache_policies import NO_CACHE

from retune.config import RetrainConfig
from retune.errors import EmptySourceError, SourceError
from retune.watch.config import CountMethod, WatchConfig
from retune.watch.example_hashes import count_new, read_hashes, read_known, write_hashes
from retune.watch.files import WatchFiles
from retune.watch.snapshot import SourceSnapshot, take_snapshot
from retune.watch.state import Counted, WatchState, count_by_rows, decide, decide_by_count
from tasks.runtime.steps import step
from tasks.runtime.watch_state import WatchResult, load_state, save_state


@step("count", cache_policy=NO_CACHE, persist_result=False)
async def count_new_examples(config: RetrainConfig, watch: WatchConfig, snapshot: SourceSnapshot) -> WatchResult:
    """Count new examples by their content, or by the watermark where the settings say so.

    Data that changed while it was read was not complete: it settles anew.

    Raises:
        SourceError: The source can't be read.
        RunDirectoryError: Retune's home directory can't be written.
    """
    state = await load_state(config)
    if watch.count is CountMethod.ROWS:
        counted: Counted | None = count_by_rows(state, snapshot)
    else:
        counted, snapshot = await _read(config, watch, snapshot, state)
    latest = await load_state(config)
    # What another worker announced meanwhile, on a machine with another home, was not counted against.
    is_valid = counted is not None and latest.announced == state.announced
    decision = decide_by_count(latest, counted, watch) if counted and is_valid else decide(latest, snapshot, watch)
    await save_state(config, decision.state)
    return WatchResult.of(snapshot, decision)


async def _read(
    config: RetrainConfig, watch: WatchConfig, snapshot: SourceSnapshot, state: WatchState
) -> tuple[Counted | None, SourceSnapshot]:
    """Count, then compare snapshots: data that changed meanwhile is not counted."""
    try:
        counted = await _count(config, snapshot, state)
    except EmptySourceError:
        return Counted(fingerprint=snapshot.fingerprint, n_examples=0, n_new=0), snapshot
    except SourceError:
        after = await asyncio.to_thread(take_snapshot, config.data, watch)
        if after.fingerprint == snapshot.fingerprint:
            raise
        return None, after
    # What comes from one query is whole already, and a second snapshot would be as slow as reading.
    after = await asyncio.to_thread(take_snapshot, config.data, watch) if snapshot.is_cheap else snapshot
    return (counted if after.fingerprint == snapshot.fingerprint else None), after


async def _count(config: RetrainConfig, snapshot: SourceSnapshot, state: WatchState) -> Counted:
    place = WatchFiles(config)
    known = await asyncio.to_thread(read_known, place.known) if state.announced else None
    if state.announced and known is None:
        get_run_logger().warning(
            "%s is missing or damaged: all examples count as new. Do all workers share RETUNE_HOME?", place.known
        )
    stopped = threading.Event()

    def raise_if_stopped() -> None:
        if stopped.is_set():
            raise _CountingStoppedError

    try:
        found = await asyncio.to_thread(read_hashes, config, raise_if_stopped)
    finally:
        # A thread can't be cancelled, and the process would wait for it.
        stopped.set()
    await asyncio.to_thread(write_hashes, place.counted, found.hashes)
    return Counted(fingerprint=snapshot.fingerprint, n_examples=found.n_examples, n_new=count_new(found.hashes, known))


class _CountingStoppedError(Exception):
    """The count is not needed any more."""
