# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Effects at the edges: two tasks at one, many attempts, and what is noted when at last."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import raftstate
from raftstate.client.effects import AgentEffects
from raftstate.errors import (
    EffectExists,
    EffectUnknown,
    NoQuorum,
    OutcomeUnknown,
    OwnershipLost,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import EFFECT_STATE_RECONCILED, EffectClosing
from tests.client.books import Broken, Outside, states, stores
from tests.client.scripted import asynchronous


@asynchronous
async def test_two_tasks_that_ask_for_one_effect_do_it_once() -> None:
    """
    The second is told that it is being done; nothing is said of it beside the first.
    """
    out, go_on = Outside(), asyncio.Event()

    async def slow(call: raftstate.EffectCall) -> Any:
        await go_on.wait()
        return await out.do(call)

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        both = [
            asyncio.create_task(agent.effect("book", effect_id="x", do=slow, undo="undo"))
            for _ in range(2)
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        between = await states(store)
        go_on.set()
        found = await asyncio.gather(*both, return_exceptions=True)
        after = await states(store)

    assert between == {"x": "DISPATCHED"}
    assert after == {"x": "COMMITTED"}
    assert found[0] == {"n": 1}
    assert isinstance(found[1], EffectUnknown)
    assert out.asked == ["do book"]


@asynchronous
async def test_a_step_that_asks_twice_is_given_the_same() -> None:
    """
    What came of the first is not in the ledger before the step is committed: it is not done
    again for that.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            found = [
                await step.effect("book", effect_id="x", do=out.do, undo="undo")
                for _ in range(2)
            ]
            with pytest.raises(EffectExists):
                await step.effect("book", "other", effect_id="x", do=out.do, undo="undo")
        after = await states(store)

    assert found == [{"n": 1}] * 2
    assert out.asked == ["do book"]
    assert after == {"x": "COMMITTED"}


@asynchronous
async def test_an_effect_that_fails_often_is_tried_as_fast_as_at_first() -> None:
    """
    An owner does not ask anew about every attempt that is over.
    """
    out, tries = Outside(), 12

    async def busy(call: raftstate.EffectCall) -> None:
        raise raftstate.NotDone("not now")

    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        for _ in range(tries):
            with pytest.raises(raftstate.NotDone):
                async with agent.step() as step:
                    await step.effect("book", do=busy, undo="undo")
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo")
        asked = [one for one in served.fake.proposed if one.HasField("prepare_effect")]
        after = await states(store)

    assert len(asked) <= 2 * tries + 1
    assert list(after.values()) == ["FAILED_BEFORE_EFFECT"] * tries + ["COMMITTED"]
    assert f"1/book/1~{tries + 1}" in after


@asynchronous
async def test_what_is_settled_is_in_doubt_no_more() -> None:
    """
    A step whose outcome was unknown cannot be committed once another was: what comes after
    it is noted as ever.
    """
    out = Outside()
    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        with pytest.raises(OutcomeUnknown):
            async with agent.step(timeout=0.2) as step:
                step.event("first")
                served.fake.fail("OUTCOME_UNKNOWN", definite=False)
        served.fake.failing = None
        assert agent.in_doubt
        async with agent.step() as step:
            step.event("second")
        assert not agent.in_doubt
        with pytest.raises(Broken):
            async with agent.step() as step:
                await step.effect("book", do=out.do, undo="undo")
                raise Broken
        after = await states(store)

    assert after == {"2/book/1": "COMMITTED"}


@asynchronous
async def test_what_could_not_be_noted_is_noted_at_the_end_of_the_block() -> None:
    """
    It was done while nobody took note of it: a successor finds it done all the same.
    """
    out = Outside()
    async with stores(1, out.registry) as (served, (store,)):

        async def meanwhile(call: raftstate.EffectCall) -> Any:
            served.fake.fail("NO_QUORUM", definite=True)
            return await out.do(call)

        async with store.own("a") as agent:
            with pytest.raises(EffectUnknown):
                await agent.effect(
                    "book", effect_id="x", do=meanwhile, undo="undo", timeout=0.2
                )
            served.fake.failing = None
        async with store.own("a") as agent:
            left = agent.open_effects
        after = await states(store)

    assert left == []
    assert after == {"x": "COMMITTED"}


@asynchronous
async def test_a_block_that_has_ended_is_not_cancelled() -> None:
    """
    The ownership ends while the store is told, in vain, what came of an effect: the block
    had ended before that.
    """
    out = Outside()
    async with stores(1, out.registry) as (served, (store,)):

        async def meanwhile(call: raftstate.EffectCall) -> Any:
            served.fake.fail("NO_QUORUM", definite=True)
            return await out.do(call)

        async with store.own("a", ttl=0.6) as agent:
            with pytest.raises(EffectUnknown):
                await agent.effect(
                    "book", effect_id="x", do=meanwhile, undo="undo", timeout=0.1
                )
        served.fake.failing = None
        task = asyncio.current_task()

    assert agent.lost
    assert task is not None
    assert task.cancelling() == 0


@asynchronous
async def test_one_who_wakes_up_too_late_has_lost_the_agent() -> None:
    """
    The agent was taken away while the process stood still: the block says so, though what
    it learnt first is that it was too late to begin.
    """
    out = Outside()

    async def sleeps(call: raftstate.EffectCall) -> None:
        agent._valid_until = 0.0
        agent._watch_clock()
        call.check()

    async with stores(1, out.registry) as (_, (store,)):
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a") as agent, agent.step() as step:
                await step.effect("book", do=sleeps, undo="undo")

    assert caught.value.definite


@asynchronous
async def test_what_was_found_to_have_happened_need_not_be_kept() -> None:
    """
    The reconciler gives what the ledger cannot hold: it is known to have happened, and who
    asks for its result is told that there is none, each time.
    """
    out, asked = Outside(), 0

    async def breaks(call: raftstate.EffectCall) -> None:
        raise Broken

    @out.registry.reconciler("wordy")
    def wordy(call: raftstate.EffectCall) -> str:
        nonlocal asked
        asked += 1
        return "x" * (65 << 10)

    how: Any = {"kind": "reconcilable", "undo": "undo", "reconcile": "wordy"}
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        for error in (Broken, TypeError, TypeError):
            with pytest.raises(error):
                async with agent.step() as step:
                    await step.effect("pay", do=breaks, **how)
        found = await store.get_effect("a", "1/pay/1")

    assert found.state == EFFECT_STATE_RECONCILED
    assert asked == 1


@asynchronous
async def test_an_error_that_is_no_text_is_noted_too() -> None:
    """
    What the operating system calls a file need not be UTF-8.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        raise OSError("no file b\udcff")

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(OSError, match="no file"):
            async with agent.step() as step:
                await step.effect("book", do=breaks, undo="undo")
        after = await store.get_effect("a", "1/book/1")

    assert after.error == "OSError: no file b?"


@asynchronous
async def test_a_function_that_gets_no_thread_was_not_begun() -> None:
    """
    The machine is out of threads: nothing was done, and it can be done later.
    """
    out = Outside()

    def never(call: raftstate.EffectCall) -> None:
        raise AssertionError(call)

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with (
            pytest.raises(RuntimeError, match="new thread"),
            pytest.MonkeyPatch.context() as patch,
        ):
            async with agent.step() as step:
                patch.setattr(threading.Thread, "start", full)
                await step.effect("book", do=never, undo="undo")
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo")
        after = await states(store)

    assert after == {"1/book/1": "FAILED_BEFORE_EFFECT", "1/book/1~2": "COMMITTED"}


class Noting(AgentEffects):
    """An agent of which another task notes everything at the first chance."""

    agent_id = "a"
    token = FencingToken(epoch=1, revision=1)
    time_left = 1.0
    lost = False
    in_doubt = False

    def __init__(self, *names: str) -> None:
        self.closings = {name: EffectClosing(effect_id=name) for name in names}
        self.wrote: list[str] = []

    async def write(self, kind: str, request: Any, timeout: float | None = None) -> Any:
        """Refuse what was said already."""
        self.wrote.append(request.closing.effect_id)
        self.closings.pop("y", None)
        raise NoQuorum("not now", definite=True)


@asynchronous
async def test_two_tasks_may_note_what_came_of_effects() -> None:
    """
    What another has noted in between is no more to be noted.
    """
    agent = Noting("x", "y", "z")

    await agent.note_closings()

    assert agent.wrote == ["x", "z"]
    assert list(agent.closings) == ["x", "z"]
