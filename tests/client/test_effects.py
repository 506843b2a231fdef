# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Effects, through the SDK, the services and the state machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import raftstate
from raftstate.errors import (
    EffectExists,
    EffectTooLate,
    OwnershipLost,
)
from raftstate.v1.effect_service_pb2 import (
    EFFECT_STATE_COMMITTED,
    EFFECT_STATE_DISPATCHED,
    EFFECT_STATE_FAILED_BEFORE_EFFECT,
)
from tests.client.books import Broken, Outside, states, stores
from tests.client.scripted import asynchronous, until


@asynchronous
async def test_an_effect_is_committed_with_its_step() -> None:
    """
    How it is undone is in the ledger while it is done; its result with the step.
    """
    out = Outside()
    seen: list[Any] = []

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:

        async def do(call: raftstate.EffectCall) -> Any:
            seen.append(await store.get_effect("a", call.effect_id))
            assert 0 < call.time_left <= 5.0
            return await out.do(call)

        async with agent.step() as step:
            args = {"to": "Rome"}
            result = await step.effect("book", args, do=do, undo=out.undo)
            step.event("booked")
            before = await store.get_effect("a", "1/book/1")
        after = await store.get_effect("a", "1/book/1")

    (entered,) = seen
    assert result == {"n": 1}
    assert entered.state == before.state == EFFECT_STATE_DISPATCHED
    assert entered.compensation.action == "undo"
    assert raftstate.client.acts.json_or_bytes(
        entered.compensation.arguments, entered.compensation.content_type
    ) == {"to": "Rome"}
    assert after.state == EFFECT_STATE_COMMITTED
    assert after.step == 1
    assert out.keys == ["a#1/book/1"]


@asynchronous
async def test_a_step_that_is_done_again_acts_once() -> None:
    """
    The step fails after its effect: what came of it is noted, and the next attempt is
    given the same result without acting.
    """
    out = Outside()
    result, noted = None, {}
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        for attempt in range(3):
            try:
                async with agent.step() as step:
                    result = await step.effect("book", 1, do=out.do, undo="undo")
                    if attempt < 2:
                        raise Broken
            except Broken:
                noted = await states(store)

    assert result == {"n": 1}
    assert noted == {"1/book/1": "COMMITTED"}
    assert out.asked == ["do book"]


@asynchronous
async def test_an_effect_of_another_content_is_not_taken_for_the_same() -> None:
    """
    A step that is done again with other arguments is refused: nothing is done.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        for args in (1, 2):
            with pytest.raises(Broken if args == 1 else EffectExists):
                async with agent.step() as step:
                    await step.effect("book", args, do=out.do, undo="undo")
                    raise Broken

    assert out.asked == ["do book"]


@asynchronous
async def test_what_was_not_done_is_done_anew() -> None:
    """
    NotDone is noted as such. The step that is done again does another effect, under
    another key.
    """
    out = Outside()

    def refused(call: raftstate.EffectCall) -> None:
        raise raftstate.NotDone("sold out")

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(raftstate.NotDone):
            async with agent.step() as step:
                await step.effect("book", do=refused, undo="undo", key="k")
        failed = await states(store)
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo", key="k")
        after = await states(store)

    assert failed == {"1/book/1": "FAILED_BEFORE_EFFECT"}
    assert after == {"1/book/1": "FAILED_BEFORE_EFFECT", "1/book/1~2": "COMMITTED"}
    assert out.keys == ["k~2"]


@asynchronous
@pytest.mark.parametrize("threaded", [False, True])
async def test_it_is_too_late_to_begin(threaded: bool) -> None:
    """
    The time counts from when the dispatch was sent. Is it over, the effect is not done,
    the ledger says so, and so does the error: definite.
    """
    out = Outside()
    acted: list[str] = []

    async def act(call: raftstate.EffectCall) -> None:
        acted.append(call.key)

    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        with pytest.raises(EffectTooLate) as caught:
            async with agent.step() as step:
                served.fake.holding = True
                do = (lambda call: acted.append(call.key)) if threaded else act
                effect = step.effect("book", do=do, undo="undo", begin_by=0.05)
                task = asyncio.create_task(effect)
                await until(lambda: served.fake.held, "it is dispatched")
                await asyncio.sleep(0.06)
                served.fake.let_go()
                await task
        after = await store.get_effect("a", "1/book/1")

    assert caught.value.definite
    assert after.state == EFFECT_STATE_FAILED_BEFORE_EFFECT
    assert acted == []


@asynchronous
async def test_who_may_not_own_any_more_does_not_begin() -> None:
    """
    An owner whose time has run out since it sent the dispatch does not act. Its block ends
    as one that has lost the agent, because of that.
    """
    out = Outside()
    async with stores(1, out.registry) as (served, (store,)):
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=60.0) as agent:
                await agent.confirmed(5)
                async with agent.step() as step:
                    served.fake.holding = True
                    task = asyncio.create_task(step.effect("book", do=out.do, undo="undo"))
                    await until(lambda: served.fake.held, "it is dispatched")
                    agent._valid_until = 0.0
                    served.fake.let_go()
                    await task

    assert out.asked == []
    assert isinstance(caught.value.__cause__, EffectTooLate)


@asynchronous
async def test_a_function_prepares_and_asks_again() -> None:
    """
    `call.check()` within the function tells that it became too late meanwhile: nothing was
    done.
    """
    out = Outside()

    async def slow(call: raftstate.EffectCall) -> None:
        await asyncio.sleep(call.time_left + 0.01)
        call.check()
        out.log.append("acted")

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(EffectTooLate):
            async with agent.step() as step:
                await step.effect("book", do=slow, undo="undo", begin_by=0.1)
        after = await states(store)

    assert out.log == []
    assert after == {"1/book/1": "FAILED_BEFORE_EFFECT"}


@asynchronous
async def test_a_cancelled_effect_is_unknown() -> None:
    """
    Who cancels an effect in the middle does not know: the ledger says that.
    """
    out = Outside()
    acting = asyncio.Event()

    async def hangs(call: raftstate.EffectCall) -> None:
        acting.set()
        await asyncio.Event().wait()

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        step = agent.step()
        await step.__aenter__()
        task = asyncio.create_task(step.effect("book", do=hangs, undo="undo"))
        await acting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        after = await states(store)

    assert after == {"1/book/1": "UNKNOWN"}


@asynchronous
async def test_a_result_that_cannot_be_kept_is_an_error_each_time() -> None:
    """
    It was done, and is not done again; whoever asks for it is told the same.
    """
    out = Outside()
    acted: list[str] = []

    def odd(call: raftstate.EffectCall) -> object:
        acted.append(call.key)
        return object()

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        for _ in range(2):
            with pytest.raises(TypeError, match="cannot be kept"):
                async with agent.step() as step:
                    await step.effect("book", do=odd, undo="undo")
        after = await states(store)

    assert acted == ["a#1/book/1"]
    assert after == {"1/book/1": "COMMITTED"}


@asynchronous
async def test_how_it_is_undone_has_to_be_said() -> None:
    """
    Without `undo` and `kind`, with a function that has no name, or a word that there is
    not: ValueError, and nothing is entered.
    """
    out = Outside()

    async def nameless(call: raftstate.UndoCall) -> None:
        raise AssertionError(call)

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            with pytest.raises(ValueError, match="how it is undone"):
                await step.effect("book", do=out.do)
            with pytest.raises(ValueError, match="no name"):
                await step.effect("book", do=out.do, undo=nameless)
            with pytest.raises(TypeError, match="no option udno"):
                await step.effect("book", do=out.do, udno="undo")  # type: ignore[call-arg]
            with pytest.raises(ValueError, match="none of"):
                await step.effect("book", do=out.do, kind="harmless")
            read = await step.effect(
                "look", do=lambda call: call.args, args=3, kind="read_only"
            )
        after = await states(store)
        with pytest.raises(RuntimeError, match="block"):
            await step.effect("book", do=out.do, undo="undo")

    assert read == 3
    assert after == {"1/look/1": "COMMITTED"}
    assert out.asked == []


@asynchronous
async def test_what_an_effect_depends_on_is_kept_before_it_is_done() -> None:
    """
    Values drawn before an effect travel with its dispatch: a step that is done again by a
    successor draws the same ones.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (first, second)):
        drawn = []
        for store in (first, second):
            with pytest.raises(Broken):
                async with store.own("a") as agent, agent.step() as step:
                    drawn.append(step.uuid())
                    await step.effect("book", str(drawn[-1]), do=out.do, undo="undo")
                    raise Broken

    assert drawn[0] == drawn[1]
    assert out.asked == ["do book"]


@asynchronous
async def test_an_effect_is_prepared_with_one_step_and_done_by_another() -> None:
    """
    It is committed with its step, found by a successor, and done once.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (first, second)):
        with pytest.raises(Broken):
            async with first.own("a") as agent, agent.step() as step:
                step.prepare("book", 0, undo="undo")
                raise Broken
        async with first.own("a") as agent, agent.step() as step:
            effect_id = step.prepare("book", 1, undo="undo", key="k")
            step.event("decided")
        prepared = await states(first)
        async with second.own("a") as agent:
            left = [one.effect_id for one in agent.open_effects]
            async with agent.step() as step:
                with pytest.raises(EffectExists):
                    await step.effect("book", 2, do=out.do, undo="undo", effect_id=effect_id)
                result = await step.effect(
                    "book", 1, do=out.do, undo="undo", key="k", effect_id=effect_id
                )
        after = await states(second)

    assert prepared == {effect_id: "PREPARED"}
    assert left == [effect_id]
    assert result == {"n": 1}
    assert after == {effect_id: "COMMITTED"}
    assert out.keys == ["k"]


@asynchronous
async def test_a_successor_is_told_of_more_than_a_bundle_holds() -> None:
    """
    All effects that are open, in order, however long they are.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (first, second)):
        async with first.own("a") as agent:
            for _ in range(4):
                async with agent.step() as step:
                    for _ in range(5):
                        step.prepare("book", "x" * 60_000, undo="undo")
        async with second.own("a") as agent:
            numbers = [one.number for one in agent.open_effects]
            more = agent.bundle.more_effects

    assert more
    assert numbers == list(range(1, 21))


@asynchronous
async def test_many_effects_of_one_step() -> None:
    """
    Concurrent ones of the same action have ids of their own; what does not fit into the
    step's request is noted at once.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step, asyncio.TaskGroup() as group:
            for number in range(140):
                group.create_task(
                    step.effect("a book!", number, do=out.do, undo="undo"),
                )
        after = await states(store)

    assert len(after) == 140
    assert set(after.values()) == {"COMMITTED"}
    assert "1/a-book-/140" in after
    assert len(set(out.keys)) == 140
