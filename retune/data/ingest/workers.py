"""Describing blocks in several processes, in order, with few of them in memory at a time."""

import base64
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from retune.data.dataset.columns import AnalyzedBlock
from retune.data.ingest import spool
from retune.data.ingest.analyze import analyze_block
from retune.data.ingest.fork_server import answer_path, block_path
from retune.data.ingest.plan import Plan
from retune.data.sources.blocks import Block
from retune.errors import DataError

# Starting processes takes about a second; this much is analyzed in less.
BLOCKS_WITHOUT_PROCESSES = 4
_MOST_PROCESSES = 8

# As files, 64 MB: enough to read on while the processes start.
_BLOCKS_AHEAD = 16

# glibc hands the memory of large arrays back and asks for it again with every block: a quarter of the time. Arrow's
# own allocator beside it would keep what the other could use. Threads of a linear algebra library would not survive
# the fork, and nothing here needs them.
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # It ends without tidying up: the system does that.
    "PYTHONWARNINGS": "ignore:resource_tracker",
}


class WorkerPool:
    """Processes that analyze blocks; started when there is enough for them to do. A context manager.

    Args:
        directory: Where blocks lie on their way from process to process; it is made, and removed at the end.
        encoding: Tokenizer that will be needed; None for none.
        processes: How many to use; 1 for this one alone. By default one for each core, up to eight.
    """

    def __init__(self, directory: Path, *, encoding: str | None = None, processes: int | None = None) -> None:
        self._directory = directory
        self._encoding = encoding
        self._count = processes or min(_available_cores(), _MOST_PROCESSES)
        self._server: _ForkServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start the processes, so that they are ready when blocks come.

        Raises:
            RunDirectoryError: The directory can't be written.
        """
        if self._server is not None or self._count == 1:
            return
        spool.make_directory(self._directory)
        # Not from the current directory: people keep data there, and may have named it as a module is named.
        command = [sys.executable, "-P", "-m", "retune.data.ingest.fork_server", str(self._directory), str(self._count)]
        if self._encoding is not None:
            command.append(self._encoding)
        modules = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": modules}
        with _without_interrupts():
            self._server = _ForkServer(command, environment)

    def analyze(self, blocks: Iterator[Block], plan: Plan) -> Iterator[AnalyzedBlock]:
        """Analyze every block, in order.

        Args:
            blocks: Read only as fast as they are analyzed.
            plan: What to find out.

        Raises:
            DataError: A process was killed.
            RunDirectoryError: The directory can't be written.
            SourceError: The source can't be read on.
        """
        if self._server is None:
            first = list(islice(blocks, BLOCKS_WITHOUT_PROCESSES + 1))
            is_large = len(first) > BLOCKS_WITHOUT_PROCESSES
            blocks = chain(first, blocks)
            # What was read ahead is megabytes.
            del first
            if is_large:
                self.start()
        if self._server is None:
            return (analyze_block(block, plan) for block in blocks)
        return self._analyze_elsewhere(self._server, blocks, plan)

    def _analyze_elsewhere(self, server: "_ForkServer", blocks: Iterator[Block], plan: Plan) -> Iterator[AnalyzedBlock]:
        under_way: deque[int] = deque()
        for number, block in enumerate(blocks):
            spool.dump((block, plan), block_path(self._directory, number))
            del block
            server.send(number)
            under_way.append(number)
            if len(under_way) >= self._count + _BLOCKS_AHEAD:
                yield self._take_answer(server, under_way.popleft())
        while under_way:
            yield self._take_answer(server, under_way.popleft())

    def _take_answer(self, server: "_ForkServer", number: int) -> AnalyzedBlock:
        server.wait_for(number)
        analyzed: AnalyzedBlock = spool.load(answer_path(self._directory, number))
        return analyzed


class _ForkServer:
    """The process that has blocks analyzed; see `retune.data.ingest.fork_server`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (this program's own module)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._numbers = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._analyzed: set[int] = set()

    def send(self, number: int) -> None:
        with _explaining_lost_processes():
            self._numbers.write(b"%d\n" % number)
            self._numbers.flush()

    def wait_for(self, number: int) -> None:
        while number not in self._analyzed:
            with _explaining_lost_processes():
                self._analyzed.add(self._next_answer())
        self._analyzed.remove(number)

    def _next_answer(self) -> int:
        line = self._answers.readline()
        if not line:
            raise BrokenPipeError
        number, error = line.split(b" ")
        if error.strip():
            raise pickle.loads(base64.b64decode(error))  # noqa: S301  (of a process of ours)
        return int(number)

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._numbers.close()
        self._process.wait()
        self._answers.close()


@contextmanager
def _explaining_lost_processes() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, BrokenProcessPool) as error:
        raise DataError(
            "A process that was reading the data was ended from outside, most likely for want of memory.",
            hint="Free some memory and run again; nothing was written.",
        ) from error


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in here never see Ctrl-C: it is for this one, which ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _available_cores() -> int:
    # Only Linux knows which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
