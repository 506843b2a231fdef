"""Breakers through the SDK, against the real services and the real state machine."""

import asyncio
from typing import Any

import pytest

import raftstate
from raftstate import BreakerHandle
from raftstate.client.board import REPORT_S
from raftstate.client.store import Store
from raftstate.errors import BreakerNotFound, BreakerOpen, InvalidRequest
from raftstate.v1.breaker_service_pb2 import BreakerState
from raftstate.v1.recovery_service_pb2 import SYMPTOM_BREAKER_TRIPPED, GetIncidentRequest
from tests.client.scripted import asynchronous, until
from tests.client.test_end_to_end import stores
from tests.rpc.harness import Bench


class Down(Exception):
    """Whoever is called does not answer."""


async def down() -> None:
    """A call of whoever does not answer."""
    raise Down


async def put(store: Store, **more: Any) -> None:
    """A breaker that trips when two of four calls have failed, for 40 ms of log time."""
    settings: Any = {"failure_rate": 0.5, "minimum_calls": 4, "open_ms": 40, **more}
    await store.put_breaker("car/rates", count_window=10, **settings)


async def trip(handle: BreakerHandle) -> None:
    """Fail until it is open here."""
    for _ in range(4):
        with pytest.raises(Down):
            await handle.call(down)
    await until(lambda: handle.state != "closed", "the trip is told")


async def recover(handle: BreakerHandle) -> int:
    """Call until a probe is let through and goes well; how often that was refused."""
    refused = 0
    while True:
        try:
            await handle.call(int)
        except BreakerOpen as error:
            refused += 1
            # As callers do: not before it can be of use.
            await asyncio.sleep(min(error.retry_after or 0.05, 0.05))
        else:
            return refused


async def incident_of(bench: Bench, store: Store) -> Any:
    """The incident of the breaker's newest trip."""
    found = await store.get_breaker("car/rates")
    request = GetIncidentRequest(incident_id=found.incident_id)
    return (await bench.recovery.GetIncident(request)).incident


@asynchronous
async def test_a_trip_is_everybodys_and_so_is_its_end() -> None:
    """
    One client's failures stop the other's calls; a probe of either closes it for both,
    and the incident is resolved by then.
    """
    async with stores(2) as (bench, (one, other)):
        await put(one, on_trip="degrade")
        mine, theirs = one.breaker("car/rates"), other.breaker("car/rates")
        await theirs.call(int)
        await trip(mine)
        tripped = await incident_of(bench, one)
        await until(lambda: theirs.state == "open", "the other knows of it")
        degraded = theirs.degraded
        with pytest.raises(BreakerOpen):
            await theirs.call(pytest.fail, "it was called")
        instead = await theirs.call(pytest.fail, fallback=lambda: "instead")
        await recover(theirs)
        await until(lambda: mine.state == theirs.state == "closed", "it is closed for both")
        await mine.call(int)
        closed = await incident_of(bench, one)

    assert tripped.symptom == SYMPTOM_BREAKER_TRIPPED
    assert tripped.breaker == "car/rates"
    assert tripped.open
    assert degraded
    assert instead == "instead"
    assert not mine.degraded
    assert not closed.open


@asynchronous
async def test_a_probe_that_fails_opens_it_for_longer() -> None:
    """
    And the next one that goes well closes it all the same.
    """
    async with stores(1) as (_, (store,)):
        await put(store, open_factor=3.0)
        handle = store.breaker("car/rates")
        await trip(handle)
        first = await store.get_breaker("car/rates")
        while True:
            try:
                await handle.call(down)
            except Down:
                break
            except BreakerOpen as error:
                await asyncio.sleep(min(error.retry_after or 0.05, 0.05))
        await until(
            lambda: (
                handle._circuit.generation > first.generation + 1 and handle.state == "open"
            ),
            "it is open again",
        )
        second = await store.get_breaker("car/rates")
        await recover(handle)
        await until(lambda: handle.state == "closed", "it is closed")

    assert (first.in_a_row, second.in_a_row) == (1, 2)
    assert second.open_until_ms - second.changed_log_time_ms == 120


@asynchronous
async def test_several_reporters_are_needed_if_it_says_so() -> None:
    """
    One client alone does not trip it, however much fails there.
    """
    async with stores(2) as (_, (one, other)):
        await put(one, minimum_reporters=2)
        for _ in range(8):
            with pytest.raises(Down):
                await one.breaker("car/rates").call(down)
        await asyncio.sleep(2 * REPORT_S)
        alone = await one.get_breaker("car/rates")
        with pytest.raises(Down):
            await other.breaker("car/rates").call(down)
        await until(lambda: one.breaker("car/rates").state == "open", "both trip it")

    assert BreakerState.Name(alone.state) == "BREAKER_STATE_CLOSED"
    assert alone.counts.failures == 8


@asynchronous
async def test_a_person_decides() -> None:
    """
    Forced open nothing is called, forced closed everything is, until it is reset.
    """
    async with stores(1) as (_, (store,)):
        await put(store)
        handle = store.breaker("car/rates")
        await handle.call(int)
        await store.force_open("car/rates", reason="they asked us to")
        await until(lambda: handle.state == "forced_open", "it is told")
        with pytest.raises(BreakerOpen, match="they asked us to") as refused:
            await handle.call(pytest.fail, "it was called")
        await store.force_close("car/rates")
        await until(lambda: handle.state == "forced_closed", "it is told")
        for _ in range(6):
            with pytest.raises(Down):
                await handle.call(down)
        await store.reset_breaker("car/rates")
        await until(lambda: handle.state == "closed", "it is told")
        names = [one.name async for one in store.list_breakers("car/")]
        await store.delete_breaker("car/rates")
        await until(lambda: handle.state == "unknown", "it is told")
        with pytest.raises(BreakerNotFound):
            await handle.call(int)
        with pytest.raises(InvalidRequest):
            await store.put_breaker("car/rates", count_window=5)

    assert refused.value.retry_after is None
    assert names == ["car/rates"]


@asynchronous
async def test_putting_the_same_breaker_again_changes_nothing() -> None:
    """
    So that everybody who uses one may put it when he begins.
    """
    async with stores(1) as (_, (store,)):
        await put(store)
        handle = store.breaker("car/rates")
        await trip(handle)
        before = await store.get_breaker("car/rates")
        await put(store)
        after = await store.get_breaker("car/rates", at_least=1)

    assert after == before


@asynchronous
async def test_a_trip_starts_the_rollback_in_the_same_command() -> None:
    """
    The agent is fenced at the revision of the report that tripped the breaker.
    """
    async with stores(2) as (_, (one, other)):
        async with one.own("booker") as agent:
            async with agent.step() as step:
                step.event("began")
                step.checkpoint({"n": 1})
            await other.put_validator("total")
            checkpoint = await other.get_checkpoint("booker")
            await other.mark_valid(checkpoint, "total")
            async with agent.step() as step:
                step.event("wrong")
        await put(other, on_trip="rollback", agents=["booker"], on_barrier="proceed")
        await trip(other.breaker("car/rates"))
        tripped = await other.get_breaker("car/rates")
        rolled = await other.get_agent("booker")
        undone = [
            raftstate.decode(event) is None and bool(event.undone_by)
            async for event in other.read_events("booker")
        ]

    assert tripped.rollback_id
    assert rolled.rollback_id == tripped.rollback_id
    assert rolled.newest_fence.revision == tripped.changed_revision
    assert undone == [False, True]
