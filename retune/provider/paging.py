"""Reading lists to their end, and no further."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol, TypeVar


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=_HasId)


async def each_once(pages: AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Yield every item of an auto-paging list once.

    A host that says `has_more` and ignores `after` would have the SDK ask for the first page for ever; the first item
    that comes a second time ends the reading.
    """
    seen: set[str] = set()
    async for item in pages:
        if item.id in seen:
            return
        seen.add(item.id)
        yield item
