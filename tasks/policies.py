"""When a step is tried again, and when it is not done again at all."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, TypedDict

from prefect import Task, get_run_logger
from prefect.cache_policies import CacheKeyFnPolicy, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from pydantic_core import to_jsonable_python

from retune.provider.errors import is_transient, one_line, retry_after_seconds


def by_content(*, exclude: tuple[str, ...] = ()) -> CachePolicy:
    """Cache by the task's name, Retune's version, and what its inputs hold.

    Inputs are content hashes, settings, and a `Run`, whose `directory_id` changes when its directory is made anew: a
    result is found again by any later flow run on the same data, but never after its run's directory was deleted. Where
    single files are missing, `retune.run.exclusive` says so.

    Args:
        exclude: Inputs that don't change the result, such as the address of a server that moves between ports.
    """

    def key(context: TaskRunContext, inputs: dict[str, Any]) -> str:
        material = {
            "task": context.task.name,
            "version": version("retune"),
            "inputs": {name: value for name, value in inputs.items() if name not in exclude},
        }
        return hashlib.sha256(json.dumps(to_jsonable_python(material), sort_keys=True).encode()).hexdigest()

    return CacheKeyFnPolicy(cache_key_fn=key)


async def retry_transient(task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Retry only what passes by itself, and not before the moment that the server named.

    See `retune.provider.errors.is_transient`; Prefect's own delay comes on top.
    """
    error = state.data
    if not isinstance(error, BaseException) or not is_transient(error):
        return False
    get_run_logger().warning("%s: %s Trying again soon.", task.name, one_line(error), extra={"for_people": True})
    await asyncio.sleep(retry_after_seconds(error) or 0)
    return True


class Persisted(TypedDict):
    """Options of a task whose result is kept as JSON."""

    persist_result: bool
    result_serializer: str


class Retried(TypedDict):
    """Options of a task that is tried again."""

    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], Awaitable[bool]]


PERSISTED = Persisted(persist_result=True, result_serializer="json")


def retried(*delays_seconds: float) -> Retried:
    """Retry transient failures after each of these delays, jittered by half of it."""
    return Retried(
        retries=len(delays_seconds),
        retry_delay_seconds=list(delays_seconds),
        retry_jitter_factor=0.5,
        retry_condition_fn=retry_transient,
    )
