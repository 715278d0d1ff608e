"""A list is read to its end, or it is said that it was not."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from retune.provider.paging import read_list


class Host:
    """Pages as a host may give them."""

    def __init__(self, n: int, cap: int, overlap: int, has_more: str, honours_cursor: bool) -> None:
        self.items = [SimpleNamespace(id=f"item-{number}") for number in range(n)]
        self.cap, self.overlap, self.has_more, self.honours_cursor = cap, overlap, has_more, honours_cursor

    async def fetch(self, after: str | None, limit: int | None) -> Any:
        size = min(limit or self.cap, self.cap)
        start = 0
        if after and self.honours_cursor:
            place = int(after.removeprefix("item-")) + 1
            start = place if place >= len(self.items) else max(place - self.overlap, 0)
        is_more = start + size < len(self.items)
        said = {"right": is_more, "missing": None, "true": True, "false": False}[self.has_more]
        return SimpleNamespace(data=self.items[start : start + size], has_more=said)


@given(
    n=st.integers(0, 350),
    cap=st.sampled_from([20, 50, 100, 1000]),
    overlap=st.integers(0, 3),
    has_more=st.sampled_from(["right", "missing", "true", "false"]),
    honours_cursor=st.booleans(),
)
async def test_incomplete_listing_is_reported(
    n: int, cap: int, overlap: int, has_more: str, honours_cursor: bool
) -> None:
    host = Host(n, cap, overlap, has_more, honours_cursor)
    listing = await read_list(host.fetch)
    # A host that says that there is nothing more, twice, and ignores the cursor, can't be seen through.
    is_lying = has_more == "false" and not honours_cursor and n > cap
    if listing.problem is None and not is_lying:
        assert [item.id for item in listing.items] == [item.id for item in host.items]
    if honours_cursor:
        assert listing.problem is None


async def test_no_more_is_read_than_is_asked_for() -> None:
    listing = await read_list(Host(300, 100, 0, "right", True).fetch, limit=30, most=45)
    assert [item.id for item in listing.items] == [f"item-{number}" for number in range(45)]
