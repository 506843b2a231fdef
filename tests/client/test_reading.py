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
    "get_effect": lambda store, how: store.get_effect("a", "e", **how),
    "list_effects": lambda store, how: store.list_effects("a", **how),
    "get_saga": lambda store, how: store.get_saga("s", **how),
    "saga_items": lambda store, how: store.saga_items("s", **how),
    "list_sagas": lambda store, how: store.list_sagas(**how),
    "plan_rollback": lambda store, how: store.plan_rollback(
        "a", raftstate.to_checkpoint(1), **how
    ),
    "get_rollback": lambda store, how: store.get_rollback(ROLLBACKS[-1], **how),
    "rollback_items": lambda store, how: store.rollback_items(ROLLBACKS[-1], **how),
    "list_rollbacks": lambda store, how: store.list_rollbacks(**how),
    "get_incident": lambda store, how: store.get_incident(f"{1:016x}", **how),
    "list_incidents": lambda store, how: store.list_incidents(**how),
    "get_breaker": lambda store, how: store.get_breaker("b", **how),
    "list_breakers": lambda store, how: store.list_breakers(**how),
    "get_recorded": lambda store, how: store.get_recorded("a", **how),
    "verify_replay": lambda store, how: store.verify_replay("a", "append", **how),
}
# What is asked of now only: a plan says what would be done.
NOW = {"plan_rollback"}
# The rollbacks that `fill` has carried out: their ids are revisions.
ROLLBACKS: list[str] = []


async def fill(store: Store) -> int:
    """Something of every kind; the revision at which it was all there."""
    await store.keys.put("k", "v")
    async with store.own("a") as agent:
        for number in range(2):
            async with agent.step() as step:
                step.event("counted", number)
            await agent.checkpoint([*range(number + 1)])
        await store.put_group("g", [await agent.group_member([0, 1])])
        await agent.effect("look", effect_id="e", do=str, kind="read_only")
        async with store.saga("s", agent=agent):
            pass
    async with store.own("undone") as agent:
        await agent.checkpoint([])
    undone = await store.rollback("undone", raftstate.to_checkpoint(1))
    ROLLBACKS.append(undone.rollback_id)
    await store.put_breaker("b", count_window=10, failure_rate=0.5)
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
        if "how" in inspect.signature(member).parameters and not name.startswith("_")
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
        past = [] if name in NOW else [How(at=whole)]
        for how in (How(), How(stale=True), How(at_least=whole), *past):
            seen = Seen()
            await ask(READS[name], store, {**how, "seen": seen})
            found.append((seen.revision, bool(seen.member_id)))

    assert found == [(newest, True)] * 3 + [(whole, True)] * len(past)


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
