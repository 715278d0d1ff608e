"""What a cached result is found again by, told from the keys that Prefect is given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retune.config import ProviderConfig, SplitConfig
from retune.run import Run
from tasks.runtime.steps import by_content
from tasks.runtime.values import SplitData, StoredExamples

RUN = Run(key="k", directory=Path("runs/k"), directory_id="d")


def key(task: str = "split_data", *, exclude: tuple[str, ...] = (), **inputs: Any) -> str | None:
    context: Any = SimpleNamespace(task=SimpleNamespace(name=task))
    return by_content(exclude=exclude).compute_key(context, inputs, {})


def test_the_same_inputs_have_the_same_key() -> None:
    assert key(run=RUN, split=SplitConfig()) == key(run=RUN.model_copy(), split=SplitConfig(seed=42))


@pytest.mark.parametrize(
    "other",
    [
        {"task": "write_jsonl", "run": RUN, "split": SplitConfig()},
        {"run": RUN, "split": SplitConfig(seed=43)},
        {"run": RUN.model_copy(update={"key": "other"}), "split": SplitConfig()},
        {"run": RUN.model_copy(update={"directory_id": "made anew"}), "split": SplitConfig()},
    ],
    ids=["another task", "another setting", "other data", "a directory made anew"],
)
def test_changed_inputs_change_the_cache_key(other: dict[str, Any]) -> None:
    assert key(**other) != key(run=RUN, split=SplitConfig())


def test_a_server_that_moved_to_another_port_is_the_same() -> None:
    here, there = (ProviderConfig(base_url=f"http://127.0.0.1:{port}/v1") for port in (1111, 2222))
    assert key(exclude=("provider",), run=RUN, provider=here) == key(exclude=("provider",), run=RUN, provider=there)
    assert key(run=RUN, provider=here) != key(run=RUN, provider=there)


def test_the_split_of_a_run_begun_by_an_earlier_version_is_found() -> None:
    examples = StoredExamples(directory=Path("runs/k/examples"), content_sha256="c", places_sha256="p", n_examples=3)
    split = SplitData(
        run=RUN, examples=examples, splits=Path("runs/k/sides.npy"), origins={}, train=1, validation=1, test=1
    )
    stored = split.model_dump(mode="json")
    stored["sides"] = stored.pop("splits")
    assert SplitData.model_validate(stored) == split
