"""Workers: they finish what others began to undo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import raftstate
from raftstate.client.store import Store
from raftstate.errors import Closed
from raftstate.v1.effect_service_pb2 import (
    SAGA_STATE_COMPENSATED,
    SAGA_STATE_COMPENSATING,
    SAGA_STATE_STUCK,
    SagaState,
)
from raftstate.v1.rollback_service_pb2 import (
    ROLLBACK_STATE_BLOCKED,
    ROLLBACK_STATE_FINISHED,
    ClaimCompensationsRequest,
    RollbackState,
)
from tests.client.books import SOON, Outside, stores
from tests.client.scripted import LIMIT_S, asynchronous, until


@asynccontextmanager
async def working(
    store: Store,
    registry: raftstate.Registry | None = None,
    *,
    poll: float = 60.0,
    idle: float = 60.0,
) -> AsyncIterator[raftstate.Worker]:
    """A worker at work; it ends in order. By default only a watch tells it of work."""
    worker = raftstate.Worker(store, registry, poll=poll, claim_idle=idle, backoff=SOON)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, LIMIT_S / 4)


async def given_up(store: Store, out: Outside, saga_id: str, *names: str) -> None:
    """A saga that was given up, and that its process does not undo."""
    async with store.own(f"of/{saga_id}") as agent:
        saga = store.saga(saga_id, agent=agent)
        await saga.__aenter__()
        for name in names:
            await saga.step(name, do=out.do, undo="undo")
        await store.abort_saga(saga_id, agent=agent, reason="a test")


async def saga_is(store: Store, saga_id: str, state: SagaState) -> None:
    await reached(lambda: _saga(store, saga_id), state)


async def rollback_is(store: Store, rollback_id: str, state: RollbackState) -> None:
    await reached(lambda: _rollback(store, rollback_id), state)


async def _saga(store: Store, saga_id: str) -> int:
    return (await store.get_saga(saga_id)).state


async def _rollback(store: Store, rollback_id: str) -> int:
    return (await store.get_rollback(rollback_id)).state


async def reached(state_now: Callable[[], Awaitable[int]], state: int) -> None:
    """Wait until something is in a state, but not for ever."""
    async with asyncio.timeout(LIMIT_S / 2):
        while await state_now() != state:  # noqa: ASYNC110  # other people's state
            await asyncio.sleep(0.01)


@asynchronous
async def test_what_was_begun_before_and_after_is_finished() -> None:
    """
    Sagas that wait when the worker comes, and those that are given up later.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (store, other)):
        await given_up(store, out, "before", "one", "two")
        async with working(other) as worker:
            await saga_is(store, "before", SAGA_STATE_COMPENSATED)
            await given_up(store, out, "after", "three")
            await saga_is(store, "after", SAGA_STATE_COMPENSATED)
            await until(lambda: worker.finished == 2, "it has counted both")

    assert out.log[2:4] == ["undid two", "undid one"]
    assert out.log[4:] == ["did three", "undid three"]


@asynchronous
async def test_a_poll_finds_what_the_watch_did_not_tell() -> None:
    """
    A validator that broke is asked again, without anything having changed in the store.
    """
    out = Outside()
    broken = [OSError("no disk")]

    @out.registry.validator("v")
    def validator(restored: raftstate.Restored) -> bool:
        if broken:
            raise broken.pop()
        return bool(restored.state == {"n": 1})

    async with stores(2, out.registry) as (_, (store, other)):
        await store.put_validator("v", required_in_rollbacks=True)
        async with store.own("a") as agent:
            await agent.checkpoint({"n": 1})
            async with agent.step() as step:
                await step.effect("one", do=out.do, undo="undo")
        begun = await store.start_rollback("a", raftstate.to_checkpoint(1))
        async with working(other, poll=0.05):
            await rollback_is(store, begun.rollback_id, ROLLBACK_STATE_FINISHED)
        async with store.own("a") as agent:
            assert agent.restore() == {"n": 1}

    assert out.log == ["did one", "undid one"]
    assert broken == []


@asynchronous
async def test_another_finishes_what_one_that_died_was_at() -> None:
    """
    The worker is gone in the middle of an undoing: the other goes on with the very item,
    under the very key, and in the very order.
    """
    out = Outside()
    async with stores(3, out.registry) as (served, (store, first, second)):
        await given_up(store, out, "s", "one", "two", "three")
        out.hanging = asyncio.Event()
        dying = asyncio.create_task(raftstate.Worker(first, backoff=SOON).run())
        await until(lambda: len(out.asked) == 4, "it is at the first item")
        session = first._engine.sessions.current
        assert session is not None
        dying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dying
        async with working(second):
            out.hanging.set()
            await asyncio.sleep(0.1)
            state = (await store.get_saga("s")).state
            served.fake.expire_session(session.session_id)
            await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert state == SAGA_STATE_COMPENSATING
    assert out.asked[3:5] == ["undo three of/s#s/three:undo"] * 2
    assert out.log[3:] == ["undid three", "undid two", "undid one"]


@asynchronous
async def test_workers_side_by_side_do_everything_once() -> None:
    """
    Three of them and many sagas: each is undone in order, and none of its items twice.
    """
    out = Outside()
    names = [f"s{number}" for number in range(12)]
    async with (
        stores(4, out.registry) as (_, (store, *others)),
        working(others[0], poll=0.05),
        working(others[1], poll=0.05),
        working(others[2], poll=0.05),
    ):
        for name in names:
            await given_up(store, out, name, f"{name}-1", f"{name}-2")
        for name in names:
            await saga_is(store, name, SAGA_STATE_COMPENSATED)

    for name in names:
        mine = [one for one in out.log if one.split()[1].startswith(f"{name}-")]
        assert mine == [
            *(f"did {name}-1", f"did {name}-2"),
            *(f"undid {name}-2", f"undid {name}-1"),
        ]
    assert len([one for one in out.asked if one.startswith("undo")]) == 24


@asynchronous
async def test_a_worker_leaves_alone_what_it_does_not_know() -> None:
    """
    It claims nothing that it could not carry out; one that knows finishes it, also where
    the first has done its part and still has the claim.
    """
    out, knows = Outside(), Outside()
    some = raftstate.Registry()
    some.compensation("undo")(out.undo)
    knows.registry.compensation("other")(knows.undo)
    async with stores(3, out.registry) as (_, (store, first, second)):
        async with store.own("a") as agent:
            saga = store.saga("s", agent=agent)
            await saga.__aenter__()
            await saga.step("one", do=out.do, undo="other")
            await saga.step("two", do=out.do, undo="undo")
            await store.abort_saga("s", agent=agent)
        async with working(first, some, poll=0.05):
            await until(lambda: "undid two" in out.log, "it has done its part")
            async with working(second, knows.registry, poll=0.05, idle=0.1):
                await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert out.log == ["did one", "did two", "undid two"]
    assert knows.log == ["undid one"]


@asynchronous
async def test_who_is_at_work_is_left_alone() -> None:
    """
    An attempt may take its time: nobody takes the claim from who makes it.
    """
    out = Outside()
    async with stores(3, out.registry) as (_, (store, first, second)):
        await given_up(store, out, "s", "one", "two")
        out.hanging = asyncio.Event()
        async with working(first):
            await until(lambda: len(out.asked) == 3, "it is at the first item")
            async with working(second, poll=0.02, idle=0.05):
                await asyncio.sleep(0.4)
                out.hanging.set()
                await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert out.asked[2:] == ["undo two of/s#s/two:undo", "undo one of/s#s/one:undo"]


@asynchronous
async def test_one_who_hangs_is_left_behind() -> None:
    """
    A live client has claimed an item and does nothing, for longer than an attempt may
    take: another goes on.
    """
    out = Outside()
    async with stores(3, out.registry) as (_, (store, first, second)):
        async with store.own("a") as agent:
            saga = store.saga("s", agent=agent)
            await saga.__aenter__()
            await saga.step("one", do=out.do, undo="undo", undo_timeout=0.05)
            await store.abort_saga("s", agent=agent)
        claim = ClaimCompensationsRequest(plan_id="saga/s", holder="who hangs")
        await first._engine.mutate("claim_compensations", claim, None)
        async with working(second, poll=0.02, idle=0.1):
            await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert out.log == ["did one", "undid one"]


@asynchronous
async def test_what_is_stuck_waits_for_a_person_and_goes_on_then() -> None:
    """
    The worker does nothing about it, and goes on as soon as it is decided.
    """
    out = Outside()
    out.failing = [raftstate.FailedForGood("closed")]
    async with stores(2, out.registry) as (_, (store, other)), working(other):
        await given_up(store, out, "s", "one", "two")
        await saga_is(store, "s", SAGA_STATE_STUCK)
        asked = len(out.asked)
        await asyncio.sleep(0.1)
        assert len(out.asked) == asked
        await store.decide("saga/s", 1, "done_by_hand", by="ann")
        await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert out.log == ["did one", "did two", "undid one"]


@asynchronous
async def test_a_barrier_is_asked_about_and_then_finished() -> None:
    """
    A rollback that stops at what cannot be undone is finished by the worker once somebody
    has decided.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (store, other)), working(other):
        async with store.own("a") as agent:
            await agent.checkpoint({"n": 1})
            async with agent.step() as step:
                await step.effect("one", do=out.do, undo="undo")
                await step.effect("mail", do=out.do, kind="irreversible")
        begun = await store.start_rollback("a", raftstate.to_checkpoint(1), on_barrier="ask")
        await rollback_is(store, begun.rollback_id, ROLLBACK_STATE_BLOCKED)
        await store.decide(f"rollback/{begun.rollback_id}", 1, "proceed")
        await rollback_is(store, begun.rollback_id, ROLLBACK_STATE_FINISHED)

    assert out.log == ["did one", "did mail", "undid one"]


@asynchronous
async def test_it_stops_in_order() -> None:
    """
    It begins nothing new, what it is at is ended and noted, and another could go on.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (store, other)):
        await given_up(store, out, "s", "one", "two")
        out.hanging = asyncio.Event()
        worker = raftstate.Worker(other, backoff=SOON)
        task = asyncio.create_task(worker.run())
        await until(lambda: len(out.asked) == 3, "it is at the first item")
        worker.stop()
        await asyncio.sleep(0.02)
        assert not task.done()
        out.hanging.set()
        await task
        saga = await store.get_saga("s")

    assert out.log == ["did one", "did two", "undid two"]
    assert saga.state == SAGA_STATE_COMPENSATING
    assert saga.undoing.open == 1


@asynchronous
async def test_it_survives_a_store_that_is_away_for_a_while() -> None:
    """
    No leader for a while, in the middle of an undoing and of the watch: it goes on.
    """
    out = Outside()
    async with stores(2, out.registry, timeout=0.3) as (served, (store, other)):
        await given_up(store, out, "s", "one", "two", "three")
        out.hanging = asyncio.Event()
        async with working(other):
            await until(lambda: len(out.asked) == 4, "it is at the first item")
            served.fake.fail("NO_QUORUM", definite=True)
            out.hanging.set()
            await asyncio.sleep(0.5)
            served.fake.failing = None
            await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert out.log[3:] == ["undid three", "undid two", "undid one"]


@asynchronous
async def test_a_store_that_is_closed_ends_it() -> None:
    """
    Closed, which is definite.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        task = asyncio.create_task(raftstate.Worker(store, poll=0.01).run())
        await asyncio.sleep(0.1)
        await store.close()
        with pytest.raises(Closed):
            await task
