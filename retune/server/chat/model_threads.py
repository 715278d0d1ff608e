"""The threads that models compute in: few, and none of those that the rest of the API answers from."""

import os
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

# More threads than cores answer nothing sooner: they only take the interpreter's lock from each other.
_THREADS = max(2, os.cpu_count() or 1)
_limiter: RunVar[CapacityLimiter] = RunVar("model_threads")


async def in_model_thread(work: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
    """Run `work` in one of the threads; however many wait for one, other requests don't."""
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(work, *arguments, limiter=limiter)
