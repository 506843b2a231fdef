"""What tests of dynamic consistency boundaries share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from eventsourcing.dcb.api import DCBEvent, DCBQuery, DCBQueryItem, DCBReadResponse

from raftstate.adapters.eventsourcing import RaftDCBRecorder
from raftstate.client import Store

Opened = Callable[..., RaftDCBRecorder]
LONG = "x" * 10_000


@contextmanager
def opening(endpoints: str, name: str) -> Iterator[Opened]:
    """Recorders under this name, each as another process would have it."""
    made: list[RaftDCBRecorder] = []

    def open_one(**options: Any) -> RaftDCBRecorder:
        made.append(RaftDCBRecorder(endpoints, **{"name": name, **options}))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def some(*tags: str, kind: str = "t", data: bytes = b"") -> DCBEvent:
    """An event."""
    return DCBEvent(kind, data, list(tags))


def tagged(*tags: str) -> DCBQuery:
    """Events with all of these."""
    return DCBQuery([DCBQueryItem(tags=list(tags))])


def positions(found: DCBReadResponse) -> list[int]:
    """Of events."""
    return [one.position for one in found]


def kept(recorder: RaftDCBRecorder) -> int:
    """How many keys there are under what was sent before."""

    async def count(store: Store) -> int:
        under = recorder._dcb._key("data")
        return len([one async for one in store.keys.range(prefix=under, keys_only=True)])

    return recorder._access.run(count)
