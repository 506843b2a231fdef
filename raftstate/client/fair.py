"""Whose turn it is among many who want to send: a lane for each agent, and the lanes in turn.

So an agent with ten thousand mutations to send holds up another agent's by one of its own,
whenever there is room for one more.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def about(request: Any) -> str:
    """The agent that a request is about; empty if it is about none, or about several."""
    agent_id: str = getattr(request, "agent_id", "")
    return agent_id


class Lanes(Generic[T]):
    """Items in lanes. Those of a lane stay in their order; the lanes take turns."""

    def __init__(self, over: Callable[[T], bool], order: Callable[[T], int] | None = None):
        """`over`: whether nobody wants an item any more, so that it is passed over.
        `order`: where an item stands in its lane; without it, behind the others."""
        self._over = over
        self._order = order
        # In the order of their turns. None is empty.
        self._lanes: dict[str, deque[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def put(self, name: str, item: T) -> None:
        """Add an item to a lane: behind those that come before it, whenever it was added."""
        lane = self._lanes.setdefault(name, deque())
        if self._order is None or not lane or self._order(lane[-1]) < self._order(item):
            lane.append(item)
        else:
            insort(lane, item, key=self._order)

    def first(self, ready: Callable[[T], bool] = lambda _item: True) -> T | None:
        """The item whose turn it is: the first of the next lane of which the first item is
        ready. None: there is none."""
        for _ in range(len(self._lanes)):
            name, lane = next(iter(self._lanes.items()))
            while lane and self._over(lane[0]):
                lane.popleft()
            if lane and ready(lane[0]):
                return lane[0]
            del self._lanes[name]
            if lane:
                self._lanes[name] = lane
        return None

    def take(self) -> T:
        """Take out the item that `first` has found: another lane's turn comes next."""
        name, lane = next(iter(self._lanes.items()))
        item = lane.popleft()
        del self._lanes[name]
        if lane:
            self._lanes[name] = lane
        return item

    def heads(self) -> Iterator[T]:
        """The first item of each lane."""
        return (lane[0] for lane in self._lanes.values())

    def clear(self) -> list[T]:
        """Take everything out."""
        items = [item for lane in self._lanes.values() for item in lane]
        self._lanes.clear()
        return items
