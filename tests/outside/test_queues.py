"""Callers of adapters who queue behind each other: each is told within its own timeout."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.dcb.api import DCBEvent
from eventsourcing.persistence import OperationalError, StoredEvent
from langgraph.store.base import PutOp
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCNotification

from raftstate.adapters.eventsourcing import RaftApplicationRecorder, RaftDCBRecorder
from raftstate.adapters.langgraph import RaftStore
from raftstate.adapters.mcp import RaftEventStore
from raftstate.client import Store
from raftstate.errors import NoQuorum, OutcomeUnknown

# A caller that writes, by its number; and what closes what it writes to.
Caller = tuple[Callable[[int], object], Callable[[], None]]
CALLERS = 6


class Lost(Exception):
    """An event was not kept."""


def keep(store: RaftEventStore, stream: str) -> str:
    """Keep an event of a stream; its id."""
    event = JSONRPCNotification(jsonrpc="2.0", method="note")
    kept = asyncio.run(store.store_event(stream, event))
    if kept.endswith(".lost"):
        raise Lost
    return kept


def events(endpoints: str, name: str, timeout: float) -> Caller:
    """Of one originator: no two go together."""
    log = RaftApplicationRecorder(endpoints, name=name, timeout=timeout)
    one = UUID(int=7)
    return lambda at: log.insert_events([StoredEvent(one, at, "t", b"")]), log.close


def boundaries(endpoints: str, name: str, timeout: float) -> Caller:
    """With so many tags that no two go together."""
    log = RaftDCBRecorder(endpoints, name=name, timeout=timeout)
    tags = [str(tag) for tag in range(60)]
    return lambda _: log.append([DCBEvent("t", b"", tags)]), log.close


def memory(endpoints: str, name: str, timeout: float) -> Caller:
    """With so many items that no two go together."""
    store = RaftStore(endpoints, name=name, timeout=timeout)
    return (
        lambda at: store.batch([PutOp(("a",), f"{at}-{n}", {"x": 1}) for n in range(10)]),
        store.close,
    )


def stream(endpoints: str, name: str, timeout: float) -> Caller:
    """Of one stream."""
    store = RaftEventStore(endpoints, name=name, timeout=timeout)
    return lambda _: keep(store, "7"), store.close


ADAPTERS = pytest.mark.parametrize("opened", [events, boundaries, memory, stream])


class Door:
    """A port before a cluster that is shut until it is opened."""

    def __init__(self, endpoints: str) -> None:
        host, _, port = endpoints.split(",", maxsplit=1)[0].rpartition(":")
        self._behind = host, int(port)
        self._sockets = [socket.socket()]
        self._sockets[0].bind(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._sockets[0].getsockname()[1]}"

    def open(self) -> None:
        """Let everybody through."""
        self._sockets[0].listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """For good."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._sockets[0].accept()
                there = socket.create_connection(self._behind)
                self._sockets += (here, there)
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def door(endpoints: str) -> Iterator[Door]:
    """A door to the cluster; shut."""
    made = Door(endpoints)
    yield made
    made.close()


def longest(
    call: Callable[[int], object], apart: float = 0.0
) -> tuple[float, list[BaseException | None]]:
    """How long the slowest of several callers took, each so much later than the one before,
    and what each was told."""
    took: list[float] = []

    def one(at: int) -> BaseException | None:
        time.sleep((at - 1) * apart)
        begun = time.monotonic()
        try:
            call(at)
        except (OperationalError, NoQuorum, OutcomeUnknown, Lost) as error:
            return error.__cause__ if isinstance(error, OperationalError) else error
        finally:
            took.append(time.monotonic() - begun)
        return None

    with ThreadPoolExecutor(CALLERS) as pool:
        told = list(pool.map(one, range(1, CALLERS + 1)))
    return max(took), told


@ADAPTERS
def test_who_queues_is_told_in_time(
    door: Door, name: str, opened: Callable[[str, str, float], Caller]
) -> None:
    """However many are before it; and that nothing was sent."""
    call, close = opened(door.endpoint, name, 1.0)
    took, told = longest(call)
    close()
    assert took < 2.5
    for one in told:
        assert isinstance(one, NoQuorum | Lost)
        assert isinstance(one, Lost) or one.definite


@ADAPTERS
def test_who_queues_is_served_when_the_store_is_back(
    door: Door, name: str, opened: Callable[[str, str, float], Caller]
) -> None:
    """The first has waited in vain; those behind it have time left."""
    call, close = opened(door.endpoint, name, 3.0)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call, CALLERS + 1)
        time.sleep(2.0)
        back = threading.Timer(1.3, door.open)
        back.start()
        took, told = longest(call)
        with pytest.raises((OperationalError, NoQuorum, Lost)):
            first.result()
    close()
    assert told == [None] * CALLERS
    assert took < 3.5


def together(endpoints: str, name: str, timeout: float) -> Caller:
    """Of one originator each: they share a transaction."""
    log = RaftApplicationRecorder(endpoints, name=name, timeout=timeout)
    return lambda at: log.insert_events([StoredEvent(UUID(int=at), 1, "t", b"")]), log.close


def together_in_memory(endpoints: str, name: str, timeout: float) -> Caller:
    """An item each: they share a transaction."""
    store = RaftStore(endpoints, name=name, timeout=timeout)
    return lambda at: store.batch([PutOp(("a",), str(at), {"x": 1})]), store.close


@pytest.mark.parametrize("opened", [together, together_in_memory])
def test_who_shares_a_transaction_is_told_in_its_own_time(
    endpoints: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[[str, str, float], Caller],
) -> None:
    """Not in that of who came last; who may have been sent hears that nobody knows."""

    async def silent(_: Store, *, timeout: float = 2.0, **__: Any) -> Any:
        await asyncio.sleep(timeout)
        raise OutcomeUnknown("no answer", definite=False)

    call, close = opened(endpoints, name, 2.0)
    call(CALLERS + 1)
    monkeypatch.setattr(Store, "txn", silent)
    # All but the first share the second transaction.
    took, told = longest(call, apart=0.3)
    close()
    assert took < 2.2
    assert all(isinstance(one, OutcomeUnknown) for one in told)


def test_an_event_behind_one_that_is_lost_says_so(door: Door, name: str) -> None:
    """It waited for its turn while that one was lost: from before, nobody goes on."""
    store = RaftEventStore(door.endpoint, name=name, timeout=3.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(keep, store, "7")
        time.sleep(2.0)
        second = pool.submit(keep, store, "7")
        time.sleep(1.3)
        door.open()
        with pytest.raises(Lost):
            first.result()
        kept = second.result()
    assert not store._shelf._streams[store._under("7")].lost
    later = keep(store, "7")

    async def take(event: EventMessage) -> None:
        assert event.event_id == later

    assert asyncio.run(store.replay_events_after(kept, take)) == "7"
    link = store._shelf.access.run(
        lambda opened: store._shelf.page(opened, store._under("7"), 0)
    ).records[0]
    assert link.data[:8] == bytes(8)
    store.close()


def test_who_waits_for_a_lease_is_told_in_time(
    endpoints: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams of one store share one."""

    async def late(_: Store, ttl: float, *, timeout: float = 1.0) -> Any:
        await asyncio.sleep(timeout)
        raise NoQuorum(f"no lease for {ttl} seconds", definite=True)

    monkeypatch.setattr(Store, "grant_lease", late)
    store = RaftEventStore(endpoints, name=name, timeout=1.0)
    took, told = longest(lambda at: keep(store, str(at)))
    store.close()
    assert took < 2.5
    assert all(isinstance(one, Lost) for one in told)
