"""What makes a function a step of a flow: retries, caching, and one timed line in the flow run's log."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast

from prefect import Task, get_run_logger
from prefect.cache_policies import CacheKeyFnPolicy, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.tasks import TaskOptions
from pydantic_core import to_jsonable_python

from retune.provider.errors import is_transient, one_line, retry_after_seconds

# Part of every cache key. Raised when what tasks pass on is stored in another form, or under another module.
_VALUES_FORMAT = 2


class Outcome(Protocol):
    """What a step returns."""

    @property
    def summary(self) -> str:
        """One line for people, with the step's figures."""
        ...


P = ParamSpec("P")
R = TypeVar("R", bound=Outcome)

# The flow run's id, and the seconds of its steps by their names.
_durations: ContextVar[tuple[str, dict[str, float]]] = ContextVar("durations")


class Step(Task[P, Coroutine[Any, Any, R]]):
    """A task whose end is one line in the log of the flow run that called it.

    The line's record carries `step`, `seconds` and `summary`. It is logged by the flow, not by the task, so that a
    cached step is logged too.

    Attributes:
        step_name: What logs and reports call the step.
    """

    step_name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task, as `prefect.Task.__call__` does; a state, or what is called outside a flow, is not logged."""
        call = super().__call__(*args, **kwargs)
        return call if kwargs.get("return_state") or FlowRunContext.get() is None else self._logged(call)

    async def _logged(self, call: Awaitable[R]) -> R:
        start = time.perf_counter()
        outcome = await call
        seconds = time.perf_counter() - start
        durations = step_durations()
        durations[self.step_name] = round(durations.get(self.step_name, 0.0) + seconds, 3)
        extra = {"step": self.step_name, "seconds": seconds, "summary": outcome.summary}
        get_run_logger().info("%s: %s", self.step_name, outcome.summary, extra=extra)
        return outcome


def step(
    name: str, /, **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """Make an async function a Prefect task that is a step of a flow.

    Args:
        name: What logs and reports call the step. Steps of one name add up, as the uploads of two files.
        options: Options of `prefect.task`.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        made = Step(function, **options)
        made.step_name = name
        return made

    return decorate


def step_durations() -> dict[str, float]:
    """Wall time in seconds of each finished step of this flow run by its name, in the order they finished."""
    context = FlowRunContext.get()
    flow_run_id = str(context.flow_run.id) if context and context.flow_run else ""
    known = _durations.get(("", {}))
    if known[0] != flow_run_id or not flow_run_id:
        known = (flow_run_id, {})
        _durations.set(known)
    return known[1]


A = TypeVar("A")
B = TypeVar("B")


async def finish_both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Run steps side by side. Where one fails, the other finishes before the error is raised.

    Raises:
        BaseException: The error of the first one, or else of the second one.
    """
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    for outcome in (one, other):
        if isinstance(outcome, BaseException):
            raise outcome
    return cast("tuple[A, B]", (one, other))


def by_content(*, exclude: tuple[str, ...] = ()) -> CachePolicy:
    """Cache by the task's name, Retune's version, and what its inputs hold.

    Inputs are content hashes, settings, and a `Run`, whose `directory_id` changes when its directory is made anew: a
    result is found again by any later flow run on the same data, but never after its run's directory was deleted. Where
    single files are missing, `retune.run.exclusive` says so.

    Args:
        exclude: Inputs that don't change the result, such as the address of a server that moves between ports.
    """

    def key(context: TaskRunContext, inputs: dict[str, object]) -> str:
        material = {
            "task": context.task.name,
            "version": version("retune"),
            "values_format": _VALUES_FORMAT,
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
    get_run_logger().warning("%s: %s Trying again soon.", task.name, one_line(error), extra={"user_facing": True})
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
