"""Read data that has changed, and count the examples that were not there when it was announced last."""

import asyncio
import threading

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from retune.config import RetrainConfig
from retune.data.watching.config import CountMethod, WatchConfig
from retune.data.watching.examples import count_new, read_hashes, read_known, write_hashes
from retune.data.watching.memory import Counted, WatchMemory, count_by_rows, judge, judge_count
from retune.data.watching.place import WatchPlace
from retune.data.watching.sight import Sight, look
from retune.errors import EmptySourceError, SourceError
from tasks.watch_memory import recall, remember
from tasks.watch_values import Look


@task(cache_policy=NO_CACHE, persist_result=False)
async def count_new_examples(config: RetrainConfig, watch: WatchConfig, sight: Sight) -> Look:
    """Count new examples by their content, or by the watermark where the settings say so.

    Data that changed while it was read was not complete: it settles anew.

    Raises:
        SourceError: The source can't be read.
        RunDirectoryError: Retune's home directory can't be written.
    """
    memory = await recall(config)
    if watch.count is CountMethod.ROWS:
        counted: Counted | None = count_by_rows(memory, sight)
    else:
        counted, sight = await _read(config, watch, sight, memory)
    latest = await recall(config)
    # What another worker announced meanwhile, on a machine with another home, was not counted against.
    is_valid = counted is not None and latest.announced == memory.announced
    verdict = judge_count(latest, counted, watch) if counted and is_valid else judge(latest, sight, watch)
    await remember(config, verdict.memory)
    return Look.of(sight, verdict)


async def _read(
    config: RetrainConfig, watch: WatchConfig, sight: Sight, memory: WatchMemory
) -> tuple[Counted | None, Sight]:
    """Count, and look again: nothing is counted where the data is not what it was before."""
    try:
        counted = await _count(config, sight, memory)
    except EmptySourceError:
        return Counted(fingerprint=sight.fingerprint, n_examples=0, n_new=0), sight
    except SourceError:
        after = await asyncio.to_thread(look, config.data, watch)
        if after.fingerprint == sight.fingerprint:
            raise
        return None, after
    # What comes from one query is whole already, and would be as slow to look at as to read.
    after = await asyncio.to_thread(look, config.data, watch) if sight.is_cheap else sight
    return (counted if after.fingerprint == sight.fingerprint else None), after


async def _count(config: RetrainConfig, sight: Sight, memory: WatchMemory) -> Counted:
    place = WatchPlace(config)
    known = await asyncio.to_thread(read_known, place.known) if memory.announced else None
    if memory.announced and known is None:
        get_run_logger().warning(
            "%s is missing or damaged: all examples count as new. Do all workers share RETUNE_HOME?", place.known
        )
    stopped = threading.Event()

    def go_on() -> None:
        if stopped.is_set():
            raise _CountingStoppedError

    try:
        found = await asyncio.to_thread(read_hashes, config, go_on)
    finally:
        # A thread can't be cancelled, and the process would wait for it.
        stopped.set()
    await asyncio.to_thread(write_hashes, place.counted, found.hashes)
    return Counted(fingerprint=sight.fingerprint, n_examples=found.n_examples, n_new=count_new(found.hashes, known))


class _CountingStoppedError(Exception):
    """Nobody waits for the count any more."""
