"""Many blocks that wait for ownerships, and for long: they hold up nobody."""

from __future__ import annotations

import asyncio

from raftstate.client.session import WINDOW
from raftstate.client.store import Store
from tests.client.books import Outside, stores
from tests.client.scripted import LIMIT_S, asynchronous, members, store_of, until


@asynchronous
async def test_more_wait_than_ids_are_kept_for() -> None:
    """
    Each asks once, and stands in line: nobody has to ask anew to make room for others.
    """
    count = WINDOW // 2 + 20
    async with members(1) as (member,), store_of(member) as store:
        member.grant_after = asyncio.Event()
        waiting = [
            asyncio.create_task(store.own(f"a{number}", wait=True).__aenter__())
            for number in range(count)
        ]
        await until(lambda: member.asked.count("acquire") >= count, "all wait")
        await store.create_agent("x")
        await store.create_agent("y")

        assert member.asked.count("acquire") == count
        assert max(one.sequence for one in member.ids) == count + 2
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


@asynchronous
async def test_who_has_waited_for_long_is_granted_what_is_free() -> None:
    """
    Its id was given back, so that the servers have forgotten it: it asks under another.
    """
    async with stores(2, Outside().registry) as (_, (owner, standby)):
        agent = owner.own("a")
        await agent.__aenter__()
        waiting = asyncio.create_task(standby.own("a", wait=True).__aenter__())
        await until(lambda: _unfinished(standby) == 1, "it waits")
        session = standby._engine.sessions.current
        assert session is not None
        for _ in range(WINDOW // 2 + 1):
            session.finish(await session.begin(float("inf")))
        await until(lambda: _unfinished(standby) == 0, "its id was given back")
        await standby.keys.put("k", b"1")  # which tells the servers

        await agent.__aexit__(None, None, None)
        handle = await asyncio.wait_for(waiting, LIMIT_S / 2)

        assert not handle.lost


def _unfinished(store: Store) -> int:
    session = store._engine.sessions.current
    return len(session._unfinished) if session is not None else 0


@asynchronous
async def test_a_session_that_ends_ends_long_waits_as_well() -> None:
    """
    Under the next session they ask again.
    """
    async with stores(2, Outside().registry) as (served, (owner, standby)):
        agent = owner.own("a")
        await agent.__aenter__()
        waiting = asyncio.create_task(standby.own("a", wait=True).__aenter__())
        await until(lambda: _unfinished(standby) == 1, "it waits")
        session = standby._engine.sessions.current
        assert session is not None
        for _ in range(WINDOW // 2 + 1):
            session.finish(await session.begin(float("inf")))
        await until(lambda: _unfinished(standby) == 0, "its id was given back")

        served.fake.expire_session(session.session_id)
        standby._engine.sessions.expired(session)
        await until(lambda: standby._engine.sessions.current is not None, "it goes on")
        await agent.__aexit__(None, None, None)
        handle = await asyncio.wait_for(waiting, LIMIT_S / 2)

        assert handle.session is not session
