"""Reading lists to their end at hosts that page well, badly, or not at all."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import openai
from openai.pagination import AsyncCursorPage

from retune.errors import UnexpectedAnswerError

_MOST_PAGES = 200
_MOST_READINGS = 4
# No host is known to cap its pages below this, so a shorter page is a whole list.
_SMALLEST_CAP = 20
_USUAL_CAPS = frozenset({20, 25, 30, 50, 100, 200, 250, 500, 1000, 5000, 10_000})
_LARGEST_LIMIT = 10_000
_PAST_THE_END = (400, 404, 416, 422)


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=_HasId)
Page = AsyncCursorPage[Item]
Fetch = Callable[[str | None, int | None], Awaitable[Page[Item]]]
"""Gets the page after an id (None: the first), of at most so many items (None: as many as the host likes)."""


@dataclass(slots=True)
class Listing(Generic[Item]):
    """What was read of a list.

    Attributes:
        items: Each once, in the order in which they came.
        problem: Why there may be more than was read; None where the list was read to its end.
    """

    items: list[Item]
    problem: str | None = None


def page_of(after: str | None, limit: int | None) -> dict[str, Any]:
    """The SDK's arguments for one page."""
    return {"after": openai.omit if after is None else after, "limit": openai.omit if limit is None else limit}


async def read_list(fetch: "Fetch[Item]", *, limit: int | None = 100, most: int | None = None) -> Listing[Item]:
    """Read a list to its end.

    Only the provider says where the end is: an empty page, or `has_more: false`, which for a long page is verified by
    asking once more. Repeated items are dropped, and end nothing. A list of several pages can shift while it is read,
    so it is read again until a reading brings nothing new. Where the cursor is ignored, larger pages are asked for.

    Args:
        fetch: Gets one page.
        limit: Items a page; None leaves it to the host.
        most: Stop after this many items.

    Raises:
        UnexpectedAnswerError: What answers is not a list.
        openai.OpenAIError: A request failed.
    """
    found: dict[str, Item] = {}
    for _ in range(_MOST_READINGS):
        known = len(found)
        pages, problem = await _read_once(fetch, limit, most, found)
        if pages == 1 or len(found) == known or (most is not None and len(found) >= most):
            break
    else:
        problem = problem or "it never stopped changing while it was read"
    items = list(found.values())
    return Listing(items if most is None else items[:most], problem)


async def _read_once(
    fetch: "Fetch[Item]", limit: int | None, most: int | None, found: dict[str, Item]
) -> tuple[int, str | None]:
    """Read all pages into `found`; their number, and why the end was not reached."""
    seen: set[str] = set()
    cursors: set[str] = set()
    after: str | None = None
    was_last = False
    for number in range(1, _MOST_PAGES + 1):
        try:
            page = await _fetch(fetch, after, limit)
        except openai.APIStatusError as error:
            if was_last and error.status_code in _PAST_THE_END:
                return number - 1, None
            raise
        is_news = any(item.id not in seen for item in page.data or ())
        for item in page.data or ():
            seen.add(item.id)
            found[item.id] = item
        if not page.data or (most is not None and len(found) >= most):
            return number, None
        was_last = page.has_more is False
        if was_last and len(page.data) < _SMALLEST_CAP:
            return number, None
        if was_last and not is_news:
            # The same page twice: the cursor is ignored, and "nothing more" may have meant this page.
            await _read_in_larger_pages(fetch, limit, len(page.data), found)
            return number, None
        after = page.data[-1].id
        if after in cursors:
            return number, await _read_in_larger_pages(fetch, limit, len(page.data), found)
        cursors.add(after)
    return _MOST_PAGES, f"it has more than {_MOST_PAGES} pages"


async def _read_in_larger_pages(
    fetch: "Fetch[Item]", limit: int | None, page_size: int, found: dict[str, Item]
) -> str | None:
    """Read on where the host gives the same page whatever is asked for; why the end was not reached."""
    size = page_size
    asked = limit or _SMALLEST_CAP
    while size in _USUAL_CAPS and asked < _LARGEST_LIMIT:
        asked = min(asked * 10, _LARGEST_LIMIT)
        page = await _fetch(fetch, None, asked)
        data = page.data or []
        found.update({item.id: item for item in data})
        if len(data) <= size:
            break
        size = len(data)
    # A page of an odd size that a larger limit does not change is everything there is.
    if size not in _USUAL_CAPS:
        return None
    return f"the provider gives the same {size} items whatever page it is asked for"


async def _fetch(fetch: "Fetch[Item]", after: str | None, limit: int | None) -> "Page[Item]":
    page = await fetch(after, limit)
    if not hasattr(page, "data"):
        raise UnexpectedAnswerError("What answers is not the API: a list was expected.", hint="Check the address.")
    return page
