"""Time as the library sees it; tests give it a clock of their own."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from, and how it is waited for."""

    def now(self) -> float:
        """Unix time in seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
