"""The process from which those that describe blocks are forked: what is slow to load is loaded once, and shared.

python -P -m retune.data.ingest.fork_server DIRECTORY PROCESSES [ENCODING]

It reads numbers of blocks, a line each, has them described, and writes each number again when its answer lies in the
directory; with the error, pickled and in base64, where there is none. It ends with its input, and so with whoever
started it, and takes its processes with it.
"""

import base64
import gc
import multiprocessing
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path

from retune.data.cost.tokens import token_counter
from retune.data.ingest import spool
from retune.data.ingest.analyze import analyze_block
from retune.data.near_duplicates.keys import load_minhash
from retune.errors import RetuneError

_SECONDS_BETWEEN_LOOKS = 0.5


def block_path(directory: Path, number: int) -> Path:
    """Where a block lies, with the plan."""
    return directory / str(number)


def answer_path(directory: Path, number: int) -> Path:
    """Where what was found out about a block lies."""
    return directory / f"{number}.described"


def serve(directory: Path, processes: int, encoding: str | None) -> None:
    """Analyze blocks for as long as numbers come.

    Args:
        directory: Where blocks and answers lie.
        processes: How many to use.
        encoding: Tokenizer that will be needed.
    """
    if encoding is not None:
        token_counter(encoding)
    load_minhash()
    # What all have in common stays in common: collecting garbage would write to its pages.
    gc.collect()
    gc.freeze()
    answers = os.dup(sys.stdout.fileno())
    # Elsewhere than on Linux, system libraries don't survive a fork.
    forks = sys.platform == "linux"
    context = multiprocessing.get_context("fork" if forks else "spawn")
    inherited = [sys.stdin.fileno(), sys.stdout.fileno(), *([answers] if forks else [])]
    executor = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_leave_the_host, initargs=(os.getpid(), inherited)
    )
    for line in sys.stdin:
        number = int(line)
        executor.submit(_analyze, directory, number).add_done_callback(partial(_answer, answers, number))
    _end(0)


def _analyze(directory: Path, number: int) -> None:
    try:
        block, plan = spool.load(block_path(directory, number))
        spool.dump(analyze_block(block, plan), answer_path(directory, number))
    except RetuneError:
        raise
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        raise


def _answer(answers: int, number: int, future: Future[None]) -> None:
    error = future.exception()
    what = b"" if error is None else base64.b64encode(pickle.dumps(error))
    try:
        with open(answers, "wb", closefd=False) as stream:
            stream.write(b"%d %s\n" % (number, what))
    except BrokenPipeError:
        _end(1)


def _end(status: int) -> None:
    """End at once, and with all processes: nobody waits for what they are at."""
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    os._exit(status)


def _leave_the_host(host: int, inherited: Sequence[int]) -> None:
    """Let go of the host's pipes, or their readers would wait for this process; and end soon after the host."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in inherited:
        os.dup2(nothing, descriptor)
    threading.Thread(target=_watch, args=(host,), name="host watch", daemon=True).start()


def _watch(host: int) -> None:
    while os.getppid() == host:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
