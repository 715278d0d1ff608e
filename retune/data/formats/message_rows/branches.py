"""Trees of messages: of several answers to the same message, one is followed."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar

Node = TypeVar("Node")


class Place(NamedTuple):
    """Where a message stands in its tree.

    Attributes:
        id: The message; None where it has no name, so that nothing answers it.
        parent: What it answers; None for the first.
        role: Who speaks.
        rank: People's judgement, the best is the lowest; None where there is none.
    """

    id: Hashable | None
    parent: Hashable | None
    role: str | None
    rank: float | None = None


def one_branch(nodes: Sequence[Node], place: Callable[[Node], Place]) -> list[Node]:
    """From the first message down, each time to one answer.

    That is one of another role where there are any, as the same speaker replies to itself only to continue; of these
    the best by rank; of these the first.

    Args:
        nodes: The messages of a tree, in their order.
        place: Tells where each stands.
    """
    if not nodes:
        return []
    places = [place(node) for node in nodes]
    known = {item.id for item in places if item.id is not None}
    children: dict[Hashable, list[int]] = {}
    for index, item in enumerate(places):
        if item.parent is not None and item.parent in known:
            children.setdefault(item.parent, []).append(index)
    roots = (index for index, item in enumerate(places) if item.parent is None or item.parent not in known)
    current: int | None = next(roots, 0)
    path: list[int] = []
    seen: set[int] = set()
    while current is not None and current not in seen:
        seen.add(current)
        path.append(current)
        here = places[current]
        below = children.get(here.id, []) if here.id is not None else []
        current = min(below, key=lambda index: _preference(places[index], here.role, index), default=None)
    return [nodes[index] for index in path]


def _preference(item: Place, role_before: str | None, index: int) -> tuple[bool, float, int]:
    return item.role == role_before, float("inf") if item.rank is None else item.rank, index
