# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Sagas, through the SDK, the services and the state machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import raftstate
from raftstate.client import compensating
from raftstate.client.compensating import Backoff, Carrier
from raftstate.client.store import Store
from raftstate.errors import Conflict, Fenced, Owned, OwnershipLost, SagaAborted, SagaExists
from raftstate.v1.effect_service_pb2 import (
    COMPENSATION_STATE_COMPENSATED,
    COMPENSATION_STATE_NOT_NEEDED,
    COMPENSATION_STATE_STUCK,
    SAGA_STATE_COMPENSATED,
    SAGA_STATE_COMPENSATING,
    SAGA_STATE_COMPLETED,
    SAGA_STATE_RUNNING,
    SAGA_STATE_STUCK,
)
from tests.client.books import SOON, Outside, stores
from tests.client.scripted import asynchronous, until


class Broken(Exception):
    pass


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compensating, "Backoff", lambda: SOON)


async def trip(store: Store, out: Outside, *, fails: bool = True, undo: Any = "undo") -> None:
    """A saga of three steps, of which the last may fail."""

    async def no_car(call: raftstate.EffectCall) -> None:
        raise raftstate.NotDone("no cars left")

    async with store.own("a") as agent, store.saga("trip/1", agent=agent) as saga:
        await saga.step("flight", "AF1", do=out.do, undo=undo)
        await saga.step("hotel", {"nights": 2}, do=out.do, undo=undo)
        await saga.step("car", do=no_car if fails else out.do, undo=undo)


@asynchronous
async def test_a_saga_that_ends_well_is_completed() -> None:
    """
    Nothing is undone; its id is taken from then on.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await trip(store, out, fails=False)
        saga = await store.get_saga("trip/1")
        with pytest.raises(SagaExists):
            await trip(store, out)

    assert saga.state == SAGA_STATE_COMPLETED
    assert out.log == ["did flight", "did hotel", "did car"]


@asynchronous
async def test_a_saga_that_fails_is_undone_newest_first() -> None:
    """
    The exception goes on, and what was done is undone in reverse, each under its one key.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(raftstate.NotDone, match="no cars left") as caught:
            await trip(store, out)
        saga = await store.get_saga("trip/1")
        items = await store.saga_items("trip/1")
        some = [one.saga_id async for one in store.list_sagas("trip/", states=["compensated"])]

    assert saga.state == SAGA_STATE_COMPENSATED
    assert saga.reason == "NotDone: no cars left"
    assert some == ["trip/1"]
    assert out.log == ["did flight", "did hotel", "undid hotel", "undid flight"]
    assert out.asked[2:] == [
        "undo hotel a#trip/1/hotel:undo",
        "undo flight a#trip/1/flight:undo",
    ]
    assert [one.state for one in items] == [COMPENSATION_STATE_COMPENSATED] * 2
    assert not hasattr(caught.value, "__notes__")


@asynchronous
async def test_parallel_steps_are_undone_in_reverse_of_how_they_ended() -> None:
    """
    What was done last is undone first, whatever was begun first.
    """
    out = Outside()
    second_done = asyncio.Event()

    async def slow(call: raftstate.EffectCall) -> Any:
        await second_done.wait()
        return await out.do(call)

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(Broken):
            async with store.saga("s", agent=agent) as saga:
                first = asyncio.create_task(saga.step("first", do=slow, undo="undo"))
                await saga.step("second", do=out.do, undo="undo")
                second_done.set()
                await first
                raise Broken

    assert out.log == ["did second", "did first", "undid first", "undid second"]


@asynchronous
async def test_steps_are_told_apart_by_name() -> None:
    """
    The same action again is another step, unless it is asked for by the same name; names
    that an id cannot hold are as good.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        async with store.saga("s", agent=agent) as saga:
            for _ in range(2):
                await saga.step("book", do=out.do, undo="undo")
                await saga.step("pay", do=out.do, undo="undo", name="the fee")
            await saga.step("x" * 120, do=out.do, undo="undo")
        names = [one.effect_id async for one in store.list_effects("a", saga_id="s")]

    assert len(out.log) == 4
    assert names[0] == "s/book"
    assert names[1].startswith("the-fee/")
    assert names[2] == "s/book-2"
    assert names[3].startswith("x" * 80 + "/")


@asynchronous
async def test_other_agents_take_part_in_a_choreographed_saga() -> None:
    """
    What they did is undone with it, newest first, whoever did it.
    """
    out = Outside()
    async with (
        stores(2, out.registry) as (_, (first, second)),
        first.own("a") as one,
        second.own("b") as other,
    ):
        with pytest.raises(Broken):
            async with first.saga("s", agent=one, choreographed=True) as saga:
                await saga.step("one", do=out.do, undo="undo")
                async with other.step() as step:
                    await step.effect("two", do=out.do, undo="undo", saga="s")
                await saga.step("three", do=out.do, undo="undo")
                raise Broken

    assert out.log[3:] == ["undid three", "undid two", "undid one"]


@asynchronous
async def test_what_fails_for_a_passing_reason_is_tried_again_under_one_key() -> None:
    """
    With a pause that grows, until it succeeds; then the next one.
    """
    out = Outside()
    out.failing = [Broken("busy"), TimeoutError("slow"), Broken("busy")]
    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(raftstate.NotDone):
            await trip(store, out)
        items = await store.saga_items("trip/1")

    assert out.asked[2:6] == ["undo hotel a#trip/1/hotel:undo"] * 4
    assert out.log[2:] == ["undid hotel", "undid flight"]
    assert [one.failures for one in items] == [3, 0]


def test_pauses_grow_and_are_jittered() -> None:
    """
    Each is between half of and the whole of a span that doubles, up to the longest.
    """
    backoff = Backoff(first_s=1.0, longest_s=10.0)

    for failures, whole in [(1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (5_000, 10.0)]:
        found = {backoff.after(failures) for _ in range(20)}
        assert all(whole / 2 <= one <= whole for one in found)
        assert len(found) > 1


@asynchronous
@pytest.mark.parametrize("attempts", [1, 10])
async def test_what_fails_for_good_is_stuck_until_a_person_decides(attempts: int) -> None:
    """
    At once for FailedForGood, or after as many attempts as it has. What is behind it is not
    undone before. Once it is decided, anybody goes on.
    """
    out = Outside()
    out.failing = [Broken("no") if attempts == 1 else raftstate.FailedForGood("no")]
    undo = raftstate.Undo("undo", attempts=attempts)
    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(raftstate.NotDone) as caught:
            await trip(store, out, undo=undo)
        saga = await store.get_saga("trip/1")
        items = await store.saga_items("trip/1")
        before = list(out.log)
        decided = await store.decide("saga/trip/1", 1, "retry", why="they are open again")
        carried = await Carrier(store._engine).carry("saga/trip/1")
        after = await store.get_saga("trip/1")

    assert saga.state == SAGA_STATE_STUCK
    assert saga.incident_id
    assert items[0].state == COMPENSATION_STATE_STUCK
    assert "waits for a person" in caught.value.__notes__[0]
    assert before == ["did flight", "did hotel"]
    assert decided.undoing.stuck == 0
    assert carried.done
    assert after.state == SAGA_STATE_COMPENSATED
    assert out.log[2:] == ["undid hotel", "undid flight"]


@asynchronous
async def test_an_attempt_has_its_time() -> None:
    """
    An undoing that hangs has failed when its time is over.
    """
    out = Outside()
    out.hanging = asyncio.Event()
    undo = raftstate.Undo("undo", timeout=0.03, attempts=2)
    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(raftstate.NotDone):
            await trip(store, out, undo=undo)
        items = await store.saga_items("trip/1")

    assert items[0].state == COMPENSATION_STATE_STUCK
    assert items[0].error == "no answer in 0.03 s"


@asynchronous
async def test_what_is_not_known_here_is_left_to_others() -> None:
    """
    The exception says so, the saga waits, and nobody's claim is in the way of a worker
    that knows.
    """
    out, knows = Outside(), Outside()
    out.registry = raftstate.Registry()
    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(raftstate.NotDone) as caught:
            await trip(store, out)
        saga = await store.get_saga("trip/1")
        carried = await Carrier(store._engine, registry=knows.registry).carry("saga/trip/1")

    assert "nothing is registered here as 'undo'" in caught.value.__notes__[0]
    assert saga.state == SAGA_STATE_COMPENSATING
    assert not saga.undoing.HasField("claim")
    assert carried.done
    assert knows.log == ["undid hotel", "undid flight"]


@asynchronous
async def test_a_saga_that_is_cancelled_is_undone() -> None:
    """
    A cancellation in the middle loses no compensation.
    """
    out = Outside()
    inside = asyncio.Event()

    async def hangs(call: raftstate.EffectCall) -> None:
        inside.set()
        await asyncio.Event().wait()

    async def work(store: Store) -> None:
        async with store.own("a") as agent, store.saga("s", agent=agent) as saga:
            await saga.step("one", do=out.do, undo="undo")
            await saga.step("two", do=hangs, undo="undo")

    async with stores(1, out.registry) as (_, (store,)):
        task = asyncio.create_task(work(store))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        saga = await store.get_saga("s")

    assert saga.state == SAGA_STATE_COMPENSATED
    assert out.log == ["did one", "undid two", "undid one"]


@asynchronous
async def test_a_successor_goes_on_with_a_saga() -> None:
    """
    The owner is gone: its saga runs on, and the successor's steps find what was done.
    """
    out = Outside()
    inside = asyncio.Event()

    async def work(store: Store) -> None:
        async with store.own("a") as agent, store.saga("s", agent=agent) as saga:
            await saga.step("one", do=out.do, undo="undo")
            inside.set()
            await asyncio.Event().wait()

    async with stores(2, out.registry) as (served, (first, second)):
        task = asyncio.create_task(work(first))
        await inside.wait()
        session = first._engine.sessions.current
        assert session is not None
        served.fake.expire_session(session.session_id)
        async with second.own("a") as agent:
            open_sagas = [(one.saga_id, one.state) for one in agent.open_sagas]
            async with second.saga("s", agent=agent) as saga:
                result = await saga.step("one", do=out.do, undo="undo")
                await saga.step("two", do=out.do, undo="undo")
            resumed = saga.resumed
        task.cancel()
        with pytest.raises((asyncio.CancelledError, OwnershipLost)):
            await task
        ended = await second.get_saga("s")

    assert open_sagas == [("s", SAGA_STATE_RUNNING)]
    assert resumed
    assert result == {"n": 1}
    assert out.log == ["did one", "did two"]
    assert ended.state == SAGA_STATE_COMPLETED


@asynchronous
async def test_a_saga_that_was_given_up_is_not_gone_on_with() -> None:
    """
    SagaAborted, which is definite: no step was done.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(raftstate.NotDone):
            await trip(store, out)
        with pytest.raises(SagaAborted) as caught:
            await trip(store, out)

    assert caught.value.definite
    assert caught.value.details["current_state"] == "COMPENSATED"


@asynchronous
async def test_a_saga_with_an_open_effect_cannot_end() -> None:
    """
    A step that left open what came of it: the end is refused, and definite.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        raise Broken

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(Conflict):
            async with store.saga("s", agent=agent) as saga:
                with pytest.raises(Broken):
                    await saga.step("one", do=breaks, undo="undo")
        saga_now = await store.get_saga("s")

    assert saga_now.state == SAGA_STATE_RUNNING


@asynchronous
@pytest.mark.parametrize("happened", [True, False])
async def test_it_is_asked_first_where_undoing_blindly_is_not_safe(happened: bool) -> None:
    """
    An UNKNOWN effect whose undoing leaves no tombstone: undone if the outside says that it
    happened, and not needed if it did not.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        if happened:
            await out.do(call)
        raise Broken

    undo = raftstate.Undo("undo", leaves_tombstone=False)
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(Broken):
            async with store.saga("s", agent=agent) as saga:
                await saga.step("one", do=out.do, undo="undo")
                await saga.step("pay", do=breaks, undo=undo, reconcile="ask")
        items = await store.saga_items("s")

    ended = COMPENSATION_STATE_COMPENSATED if happened else COMPENSATION_STATE_NOT_NEEDED
    assert [one.state for one in items] == [ended, COMPENSATION_STATE_COMPENSATED]
    assert out.asked.count("ask pay") == 1
    assert ("undid pay" in out.log) == happened
    assert out.log[-1] == "undid one"


@asynchronous
async def test_a_claim_is_not_taken_from_somebody_at_work() -> None:
    """
    Another client is refused, until the first is gone; by force, the first is fenced and
    can settle nothing.
    """
    await taken_by_force(late=False)


@asynchronous
async def test_whose_plan_another_has_ended_is_told_that_all_is_done() -> None:
    """
    The claim was taken by force, and what was left undone, before the first has come to an
    end: there is nothing to settle any more, which is no failure.
    """
    await taken_by_force(late=True)


async def taken_by_force(*, late: bool) -> None:
    out = Outside()
    async with stores(3, out.registry) as (_, (store, second, third)):
        async with store.own("a") as agent:
            async with agent.step() as step:
                await step.effect("one", do=out.do, undo="undo")
            saga = store.saga("s", agent=agent)
            await saga.__aenter__()
            await saga.step("two", do=out.do, undo="undo")
            await store.abort_saga("s", agent=agent, reason="a test")
        out.hanging = first_goes_on = asyncio.Event()
        task = asyncio.create_task(Carrier(second._engine).carry("saga/s"))
        await until(lambda: "undo two a#s/two:undo" in out.asked, "it is at it")
        with pytest.raises(Owned):
            await Carrier(third._engine).carry("saga/s")
        out.hanging = asyncio.Event()
        forced = asyncio.create_task(Carrier(third._engine).carry("saga/s", force=True))
        await until(lambda: len(out.asked) == 4, "the third is at it too")
        if late:
            out.hanging.set()
            carried = await forced
            first_goes_on.set()
            assert (await task).done
        else:
            first_goes_on.set()
            with pytest.raises(Fenced):
                await task
            out.hanging.set()
            carried = await forced

    assert carried.done
    assert out.log == ["did one", "did two", "undid two"]


@asynchronous
async def test_two_tasks_of_one_client_take_turns() -> None:
    """
    To the store they are one: so the second waits, and finds that all is undone.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        async with store.own("a") as agent:
            saga = store.saga("s", agent=agent)
            await saga.__aenter__()
            await saga.step("two", do=out.do, undo="undo")
            await store.abort_saga("s", agent=agent)
        carrier = Carrier(store._engine)
        both = await asyncio.gather(*(carrier.carry("saga/s") for _ in range(2)))

    assert all(one.done for one in both)
    assert out.asked == ["do two", "undo two a#s/two:undo"]


@asynchronous
async def test_a_store_that_is_away_does_not_hold_up_the_exception() -> None:
    """
    What is not undone yet is said with it, and is for a worker.
    """
    out = Outside()

    async with stores(1, out.registry, timeout=0.2) as (served, (store,)):

        async def leave(call: raftstate.UndoCall) -> None:
            served.fake.fail("NO_QUORUM", definite=True)

        out.registry.compensation("leave")(leave)
        with pytest.raises(Broken) as caught:
            async with store.own("a") as agent, store.saga("s", agent=agent) as saga:
                await saga.step("one", do=out.do, undo="undo")
                await saga.step("two", do=out.do, undo="leave")
                raise Broken
        served.fake.failing = None
        out.registry = raftstate.Registry()
        out.registry.compensation("undo")(out.undo)
        out.registry.compensation("leave")(out.undo)
        carried = await Carrier(store._engine, registry=out.registry).carry("saga/s")

    assert "not undone yet" in caught.value.__notes__[0]
    assert carried.done
    assert out.log == ["did one", "did two", "undid two", "undid one"]


@asynchronous
async def test_an_answer_that_is_lost_is_found_again() -> None:
    """
    The store does not answer for a while in the middle: what is undone is undone once in
    effect, and all of it.
    """
    out = Outside()
    async with stores(1, out.registry, timeout=0.3) as (served, (store,)):
        async with store.own("a") as agent:
            saga = store.saga("s", agent=agent)
            await saga.__aenter__()
            for name in ("one", "two", "three"):
                await saga.step(name, do=out.do, undo="undo")
            await store.abort_saga("s", agent=agent)
        out.hanging = asyncio.Event()
        task = asyncio.create_task(Carrier(store._engine, backoff=SOON).carry("saga/s"))
        await until(lambda: len(out.asked) == 4, "it is at the first")
        served.fake.forgetful = True
        out.hanging.set()
        await until(lambda: served.fake.proposed[-1].HasField("complete_compensation"), "said")
        await asyncio.sleep(0.4)
        served.fake.forgetful = False
        carried = await task
        ended = await store.get_saga("s")

    assert carried.done
    assert ended.state == SAGA_STATE_COMPENSATED
    assert out.log[3:] == ["undid three", "undid two", "undid one"]
