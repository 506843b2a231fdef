"""Many blocks that wait for ownerships, and for long: they hold up nobody."""

from __future__ import annotations

import asyncio
import sys
import time

import grpc
import pytest

from raftstate.client.session import WINDOW
from raftstate.client.store import Store
from raftstate.errors import RaftStateError
from tests.client.books import Outside, stores
from tests.client.scripted import (
    LIMIT_S,
    Drop,
    Refuse,
    Silence,
    asynchronous,
    members,
    store_of,
    until,
)


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


DISK_FULL = Refuse("DISK_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED)


@asynchronous
async def test_who_cannot_have_a_session_asks_with_pauses() -> None:
    """
    The leader's disk is full, and says so at once: those that wait do not ask all the time.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.office = DISK_FULL
        waiting = asyncio.create_task(store.own("a", wait=True).__aenter__())
        await asyncio.sleep(2.0)
        asked = member.asked.count("open")
        waiting.cancel()
        await asyncio.wait({waiting})

    assert 2 <= asked < 60


@asynchronous
@pytest.mark.parametrize("wait", [False, True])
async def test_entering_does_not_outlast_its_deadline(wait: bool) -> None:
    """
    It was granted at the second attempt, so that only a renewal could tell since when, and
    none is answered.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.script.extend([Drop(), None])
        member.renew = Silence()
        began = time.monotonic()
        with pytest.raises(RaftStateError):
            async with asyncio.timeout(15), store.own("a", ttl=8.0, timeout=1.0, wait=wait):
                pass

    assert time.monotonic() - began < 5.0


@asynchronous
async def test_who_stands_by_leaves_a_leader_that_hangs() -> None:
    """
    Its event loop stands still, and its machine answers pings: who only stands in line there
    would never know. Whoever keeps the session alive finds out who leads now, and tells.
    """
    hung = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.client.hung", "30"), stdout=asyncio.subprocess.PIPE
    )
    assert hung.stdout is not None
    try:
        address = (await hung.stdout.readline()).decode().strip()
        async with members(1) as (other,), store_of(address, other) as store:
            waiting = asyncio.create_task(store.own("a", wait=True, ttl=5.0).__aenter__())
            assert (await hung.stdout.readline()).strip() == b"hangs"
            handle = await asyncio.wait_for(waiting, 20.0)
            assert handle.agent_id == "a"
            assert "acquire" in other.asked
    finally:
        hung.kill()
        await hung.wait()
