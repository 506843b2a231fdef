"""What a read has shown: of which revision, and of whom."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import raftstate
from raftstate import Seen
from raftstate.client.keys import Keys
from raftstate.client.reading import How
from raftstate.client.store import Store
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores

READS: dict[str, Callable[[Store, dict[str, Any]], Any]] = {
    "get": lambda store, how: store.keys.get("k", **how),
    "range": lambda store, how: store.keys.range(**how),
    "get_agent": lambda store, how: store.get_agent("a", **how),
    "list_agents": lambda store, how: store.list_agents(**how),
    "sessions": lambda store, how: store.sessions(**how),
    "list_leases": lambda store, how: store.list_leases(**how),
    "get_stream": lambda store, how: store.get_stream("a", **how),
    "read_events": lambda store, how: store.read_events("a", **how),
    "read_all": lambda store, how: store.read_all(**how),
    "verify_chain": lambda store, how: store.verify_chain("a", **how),
    "export_audit": lambda store, how: store.export_audit(**how),
    "get_projection": lambda store, how: store.get_projection("p", **how),
    "list_projections": lambda store, how: store.list_projections(**how),
    "get_checkpoint": lambda store, how: store.get_checkpoint("a", **how),
    "list_checkpoints": lambda store, how: store.list_checkpoints("a", **how),
    "diff_checkpoints": lambda store, how: store.diff_checkpoints("a", 1, 2, **how),
    "get_group": lambda store, how: store.get_group("g", **how),
    "list_groups": lambda store, how: store.list_groups(**how),
    "list_validators": lambda store, how: store.list_validators(**how),
}


async def fill(store: Store) -> int:
    """Something of every kind; the revision at which it was all there."""
    await store.keys.put("k", "v")
    async with store.own("a") as agent:
        for number in range(2):
            async with agent.step() as step:
                step.event("counted", number)
            await agent.checkpoint({"n": number})
        await store.put_group("g", [await agent.group_member({"n": 2})])
    await store.projection("p", lambda _: None).catch_up()
    return (await store.keys.put("k", "w")).header.revision


async def ask(read: Callable[[Store, dict[str, Any]], Any], store: Store, how: Any) -> None:
    """Read it, to the end."""
    reading = read(store, how)
    if isinstance(reading, AsyncIterator):
        async for _ in reading:
            pass
    else:
        await reading


def test_every_read_that_says_how_is_here() -> None:
    """
    A read that is added is tried below, or this fails.
    """
    takes_how = {
        name
        for owner in (Store, Keys)
        for name, member in inspect.getmembers(owner, inspect.isfunction)
        if "how" in inspect.signature(member).parameters
    }

    assert takes_how == set(READS)


@pytest.mark.parametrize("name", READS)
@asynchronous
async def test_a_read_tells_its_revision(name: str) -> None:
    """
    Of whichever member: stale, at least or at a revision, and the newest.
    """
    async with stores(1) as (_, (store,)):
        whole = await fill(store)
        newest = (await store.keys.put("more", "1")).header.revision
        found = []
        for how in (How(), How(stale=True), How(at_least=whole), How(at=whole)):
            seen = Seen()
            await ask(READS[name], store, {**how, "seen": seen})
            found.append((seen.revision, bool(seen.member_id)))

    assert found == [(newest, True)] * 3 + [(whole, True)]


@asynchronous
async def test_nothing_seen_is_nothing() -> None:
    """
    A read that fails has shown nothing.
    """
    seen = Seen()
    async with stores(1) as (_, (store,)):
        with pytest.raises(raftstate.RaftStateError):
            await store.get_agent("nobody", stale=True, seen=seen)

    assert repr(seen) == "Seen(revision=0, member_id='')"
