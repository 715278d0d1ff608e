"""A provider that bills, with the habits that a test asks for."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from billing_account import Habits
from billing_machines import Scene
from billing_provider import Provider, billing_provider

SetUp = Callable[..., Scene]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with billing_provider() as provider:
        yield provider


@pytest.fixture
async def scene(provider: Provider, tmp_path: Path) -> AsyncIterator[SetUp]:
    made: list[Scene] = []

    def set_up(**habits: object) -> Scene:
        made.append(Scene(provider, Habits(**habits), tmp_path))  # type: ignore[arg-type]
        return made[-1]

    yield set_up
    for each in made:
        await each.http.aclose()
