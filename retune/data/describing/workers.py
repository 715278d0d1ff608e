"""Describing blocks in several processes, in order, with few of them in memory at a time."""

import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from retune.data.blocks import Block
from retune.data.describing import spool
from retune.data.describing.describe import describe_block
from retune.data.describing.described import Described
from retune.data.describing.plan import Plan
from retune.errors import DataError

if TYPE_CHECKING:
    from concurrent.futures import Executor

# Starting processes takes about a second; so much is described in less.
_BLOCKS_WITHOUT_PROCESSES = 4
_MOST_PROCESSES = 8
_SECONDS_BETWEEN_LOOKS = 0.5

# glibc hands the memory of large arrays back and asks for it again with every block: a quarter of the time. Arrow's
# own allocator beside it would keep what the other could use.
_ALLOCATION = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def describe_blocks(
    blocks: Iterator[Block], plan: Plan, directory: Path, *, processes: int | None = None
) -> Iterator[Described]:
    """Describe every block, in order.

    Args:
        blocks: Read only as fast as they are described.
        plan: What to find out.
        directory: Where blocks lie on their way from process to process; it is made, and removed at the end.
        processes: How many to use; 1 for this one alone. By default one for each core, up to eight.

    Raises:
        DataError: A process was killed.
        RunDirectoryError: The directory can't be written.
        SourceError: The source can't be read on.
    """
    count = processes or min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    first = list(islice(blocks, _BLOCKS_WITHOUT_PROCESSES + 1))
    if count == 1 or len(first) <= _BLOCKS_WITHOUT_PROCESSES:
        yield from (describe_block(block, plan) for block in chain(first, blocks))
        return
    # Unlike the standard library's, its processes don't import the program's main module again: a script without an
    # `if __name__ == "__main__"` is not run twice.
    from loky import ProcessPoolExecutor  # noqa: PLC0415  (slow to import, and small data never needs it)

    executor: Executor = ProcessPoolExecutor(
        max_workers=count, env=_ALLOCATION, initializer=_end_with_parent, initargs=(os.getpid(),)
    )
    try:
        spool.make_directory(directory)
        yield from _describe_in(executor, directory, chain(first, blocks), plan, most_under_way=count + 1)
    except BrokenProcessPool as error:
        raise DataError(
            "A process that was reading the data was ended from outside, most likely for want of memory.",
            hint="Free some memory and run again; nothing was written.",
        ) from error
    finally:
        executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]  # loky's own argument
        shutil.rmtree(directory, ignore_errors=True)


def _describe_in(
    executor: "Executor", directory: Path, blocks: Iterator[Block], plan: Plan, *, most_under_way: int
) -> Iterator[Described]:
    under_way: deque[Future[Path]] = deque()
    for number, block in enumerate(blocks):
        path = directory / str(number)
        spool.dump((block, plan), path)
        del block
        with _without_interrupts():
            under_way.append(executor.submit(_describe_spooled, path))
        if len(under_way) >= most_under_way:
            yield spool.load(under_way.popleft().result())
    while under_way:
        yield spool.load(under_way.popleft().result())


def _end_with_parent(parent: int) -> None:
    """Let this process end soon after the one that started it, however that one ends.

    loky's processes wait for work for good. Linux could send a signal, but does so when the starting thread ends.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in here never see Ctrl-C: it is for this one, which ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _describe_spooled(path: Path) -> Path:
    block, plan = spool.load(path)
    answer = path.with_suffix(".described")
    spool.dump(describe_block(block, plan), answer)
    return answer
