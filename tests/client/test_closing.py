# ruff: noqa: N802  # the names of calls are those of the API
"""A store that is closed while it is used: whoever waits is told so, and is not cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from raftstate.client.options import FLYING_MUTATIONS
from raftstate.client.session import WINDOW
from raftstate.client.store import Store
from raftstate.errors import (
    Closed,
    NoQuorum,
    OutcomeUnknown,
    OwnershipLost,
    SessionExpired,
)
from raftstate.v1.event_service_pb2 import ReadEventsResponse
from raftstate.v1.session_service_pb2 import CloseSessionResponse
from raftstate.v1.watch_service_pb2 import WatchResponse
from tests.client.scripted import Member, Silence, asynchronous, members, store_of, until
from tests.client.test_end_to_end import stores


class Mute(Member):
    """A member that counts who asks it, and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.office = Silence()
        self.heard = 0

    async def act(self, action: Any, context: Any) -> None:
        self.heard += isinstance(action, Silence)
        await super().act(action, context)

    async def ReadEvents(self, request: Any, context: Any) -> AsyncIterator[ReadEventsResponse]:
        await self.act(self.office, context)
        yield ReadEventsResponse()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[WatchResponse]:
        await self.act(self.office, context)
        yield WatchResponse()


async def write(store: Store) -> None:
    await store.create_agent("a")


async def read(store: Store) -> None:
    await store.get_agent("a")


async def read_on(store: Store) -> None:
    async for _ in store.read_events("a"):
        pass


async def watch(store: Store) -> None:
    await anext(store.watch())


@asynchronous
@pytest.mark.parametrize("use", [write, read, read_on, watch])
async def test_closing_tells_whoever_waits(use: Callable[[Store], Awaitable[None]]) -> None:
    """
    `Closed`, whatever they wait for: a task that nobody has cancelled does not end as if it
    had been, for then its task group would think that all is well.
    """
    async with members(1, kind=Mute) as [one]:
        store = store_of(one, attempt=5.0)
        await store.__aenter__()
        user: asyncio.Task[None] = asyncio.ensure_future(use(store))
        await until(lambda: one.heard, "the member was asked")
        await store.close()
        await asyncio.wait({user})

    assert not user.cancelled()
    assert isinstance(user.exception(), Closed)


@asynchronous
async def test_who_is_cancelled_while_the_store_closes_is_cancelled() -> None:
    """
    Both at once: that the store was closed does not swallow what the task was told.
    """
    async with members(1, kind=Mute) as [one]:
        store = store_of(one, attempt=5.0)
        await store.__aenter__()
        user = asyncio.create_task(read_on(store))
        await until(lambda: one.heard, "the member was asked")
        store._engine.router.closed = True
        user.cancel()
        await asyncio.wait({user})
        await store.close()

    assert user.cancelled()


@asynchronous
async def test_closing_goes_on_when_nobody_waits_for_it() -> None:
    """
    Who closes and is cancelled leaves nothing behind, above all no connection that is kept
    alive; who closes a second time waits for that.
    """
    async with members(1) as [one]:
        store = store_of(one)
        await store.__aenter__()
        await store.create_agent("a")
        router = store._engine.router
        one.office = Silence()
        closing = asyncio.create_task(store.close())
        await until(lambda: "close" in one.asked, "the session is to end")
        closing.cancel()
        await asyncio.wait({closing})
        assert closing.cancelled()
        await store.close()
        assert router.closed
        left = [task for task in asyncio.all_tasks() if "raftstate/client" in repr(task)]

    assert left == []


class Slow(Member):
    """A member that takes its time to close a session."""

    def __init__(self) -> None:
        super().__init__()
        self.proceed = asyncio.Event()

    async def CloseSession(self, request: Any, context: Any) -> CloseSessionResponse:
        self.asked.append("closing")
        await self.proceed.wait()
        return await super().CloseSession(request, context)


@asynchronous
async def test_what_is_granted_while_the_store_closes_is_not_given_out() -> None:
    """
    The session is gone, and the ownership with it: the block does not begin, and nothing
    goes on renewing it.
    """
    entered = False
    async with members(1, kind=Slow) as [one]:
        one.grant_after = asyncio.Event()
        store = store_of(one, attempt=5.0)
        await store.__aenter__()

        async def work() -> None:
            nonlocal entered
            async with store.own("a"):
                entered = True

        user = asyncio.create_task(work())
        await until(lambda: "acquire" in one.asked, "it was asked for")
        closing = asyncio.create_task(store.close())
        await until(lambda: "closing" in one.asked, "the session is to end")
        one.grant_after.set()
        await asyncio.wait({user})
        one.proceed.set()
        await closing
        left = [task for task in asyncio.all_tasks() if "raftstate/client" in repr(task)]

    assert isinstance(user.exception(), OwnershipLost)
    assert (entered, left) == (False, [])


@asynchronous
async def test_a_lease_that_is_granted_while_the_store_closes_may_stand() -> None:
    """
    Nobody keeps it alive any more, so the block does not begin.
    """
    async with stores(1) as (served, (store,)):
        await store.keys.put("k", "v")  # the session is open
        engine = store._engine
        served.fake.holding = True
        entering = asyncio.ensure_future(store.lease(60).__aenter__())
        await until(lambda: served.fake.proposed[-1].HasField("grant"), "it was granted")
        engine.closed = True
        served.fake.let_go()
        await asyncio.wait({entering})
        engine.closed = False

    assert isinstance(entering.exception(), OutcomeUnknown)


@asynchronous
async def test_no_session_is_opened_by_a_store_that_was_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A request whose session ended while the store was closed is not sent under another.
    """
    async with members(1) as [one], store_of(one) as store:
        await store.create_agent("a")
        engine = store._engine
        session = engine.sessions.current
        assert session is not None

        async def ended(*_: Any) -> None:
            assert not engine.closed
            engine.closed = True
            engine.sessions.expired(session)
            raise SessionExpired("it ended", definite=True)

        with monkeypatch.context() as patch:
            patch.setattr(engine, "mutate_in", ended)
            with pytest.raises(Closed):
                await store.create_agent("b")
        engine.closed = False

    assert one.asked.count("open") == 1


@asynchronous
async def test_nothing_is_sent_by_a_store_that_was_closed() -> None:
    """
    What waited for others to be settled, and was never sent, did surely not happen.
    """
    async with members(1) as [one]:
        one.always = Silence()
        store = store_of(one, attempt=5.0)
        await store.__aenter__()
        users = [
            asyncio.create_task(store.create_agent(f"a{number}"))
            for number in range(WINDOW + 2)
        ]
        await until(lambda: len(one.ids) == FLYING_MUTATIONS, "as much was sent as may be")
        await store.close()
        await asyncio.wait(users)

    found = [type(user.exception()) for user in users]
    waited = WINDOW + 2 - FLYING_MUTATIONS
    assert found == [OutcomeUnknown] * FLYING_MUTATIONS + [Closed] * waited
    assert len(one.ids) == FLYING_MUTATIONS


@asynchronous
async def test_all_who_wait_for_a_session_that_cannot_be_opened_are_told() -> None:
    """
    One who asks again at once, as they all hear of it, takes nothing from the others.
    """

    async def insist(store: Store) -> None:
        for _ in range(3):
            with suppress(NoQuorum):
                await store.create_agent("a")

    async with store_of("127.0.0.1:1", timeout=0.2) as store:
        users = [asyncio.create_task(insist(store)) for _ in range(4)]
        await asyncio.wait(users)

    assert [user.exception() for user in users] == [None] * 4
