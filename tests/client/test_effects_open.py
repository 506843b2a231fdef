# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Effects of which it was left open whether they were done, and steps that are done again."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import raftstate
from raftstate.client import effects
from raftstate.client.store import Store
from raftstate.errors import (
    EffectTooLate,
    EffectUnknown,
    OutcomeUnknown,
    OwnershipLost,
)
from raftstate.v1.effect_service_pb2 import (
    EFFECT_STATE_COMMITTED,
    EFFECT_STATE_UNKNOWN,
)
from tests.client.books import Broken, Outside, states, stores
from tests.client.scripted import asynchronous, until


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came of an effect is not noted for long where nobody answers."""
    monkeypatch.setattr(effects, "NOTE_S", 0.1)


@asynchronous
async def test_an_idempotent_effect_is_repeated_under_its_key() -> None:
    """
    What raised in the middle is UNKNOWN; the step that is done again does it again, and
    the outside sees one key.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        await out.do(call)
        raise Broken

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(Broken):
            async with agent.step() as step:
                await step.effect("book", do=breaks, undo="undo")
        unknown = await states(store)
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo")
        after = await store.get_effect("a", "1/book/1")

    assert unknown == {"1/book/1": "UNKNOWN"}
    assert after.state == EFFECT_STATE_COMMITTED
    assert after.dispatches == 2
    assert out.keys == ["a#1/book/1"] * 2
    assert out.log == ["did book"]


@asynchronous
@pytest.mark.parametrize("happened", [True, False])
async def test_a_reconcilable_effect_is_asked_about(happened: bool) -> None:
    """
    Of what is UNKNOWN the outside is asked. What happened is not done again; what did not
    is done anew.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        if happened:
            await out.do(call)
        raise Broken

    result = None
    how: Any = {"kind": "reconcilable", "undo": "undo", "reconcile": out.ask}
    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(Broken):
            async with agent.step() as step:
                await step.effect("pay", do=breaks, **how)
        for _ in range(2):  # what was found is kept
            with pytest.raises(Broken):
                async with agent.step() as step:
                    result = await step.effect("pay", do=out.do, **how)
                    raise Broken
        after = await states(store)

    assert result == {"n": 1}
    assert out.log == ["did pay"]
    assert out.asked.count("ask pay") == 1
    found = {"1/pay/1": "RECONCILED"}
    assert after == (found if happened else found | {"1/pay/1~2": "COMMITTED"})


@asynchronous
async def test_a_reconciler_that_does_not_know_leaves_it_open() -> None:
    """
    Then, and without one, nothing is done: EffectUnknown, which is not definite.
    """
    out = Outside()

    @out.registry.reconciler("clueless")
    def clueless(call: raftstate.EffectCall) -> None:
        raise Broken("timed out")

    async def breaks(call: raftstate.EffectCall) -> None:
        raise Broken

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        for name in ("clueless", "nobody"):
            how: Any = {"kind": "reconcilable", "undo": "undo", "reconcile": name}
            with pytest.raises(Broken):
                async with agent.step() as step:
                    await step.effect(name, do=breaks, **how)
            with pytest.raises(EffectUnknown) as caught:
                async with agent.step() as step:
                    await step.effect(name, do=out.do, **how)
            assert not caught.value.definite
        after = await states(store)

    assert after == {"1/clueless/1": "UNKNOWN", "1/nobody/1": "UNKNOWN"}
    assert out.asked == []


@asynchronous
async def test_an_irreversible_effect_that_is_unknown_asks_a_person_once() -> None:
    """
    It is not repeated: there is one incident, however often the step is tried.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        raise Broken

    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        with pytest.raises(Broken):
            async with agent.step() as step:
                await step.effect("mail", do=breaks, kind="irreversible")
        incidents = set()
        for _ in range(2):
            with pytest.raises(EffectUnknown) as caught:
                async with agent.step() as step:
                    await step.effect("mail", do=out.do, kind="irreversible")
            incidents.add(caught.value.details["incident_id"])
        reported = [one for one in served.fake.proposed if one.HasField("report_symptom")]

    assert len(incidents) == len(reported) == 1
    assert out.asked == []


@asynchronous
async def test_one_who_takes_over_repeats_under_the_same_key() -> None:
    """
    The owner is gone in the middle of its effect: the successor finds it UNKNOWN, and its
    step does it again under the same key.
    """
    out = Outside()
    acting = asyncio.Event()

    async def hangs(call: raftstate.EffectCall) -> None:
        await out.do(call)
        acting.set()
        await asyncio.Event().wait()

    async def first_owner(store: Store) -> None:
        async with store.own("a") as agent, agent.step() as step:
            await step.effect("book", 7, do=hangs, undo="undo")

    async with stores(2, out.registry) as (served, (first, second)):
        task = asyncio.create_task(first_owner(first))
        await acting.wait()
        session = first._engine.sessions.current
        assert session is not None
        served.fake.expire_session(session.session_id)
        async with second.own("a") as agent:
            left = [(one.effect_id, one.state) for one in agent.open_effects]
            async with agent.step() as step:
                await step.effect("book", 7, do=out.do, undo="undo")
        after = await states(second)
        task.cancel()
        with pytest.raises((OwnershipLost, asyncio.CancelledError)):
            await task

    assert left == [("1/book/1", EFFECT_STATE_UNKNOWN)]
    assert after == {"1/book/1": "COMMITTED"}
    assert out.keys == ["a#1/book/1"] * 2
    assert out.log == ["did book"]


@asynchronous
async def test_what_still_runs_in_a_thread_is_not_done_beside_it() -> None:
    """
    A thread cannot be cancelled: while it is at it, the effect is not repeated.
    """
    out = Outside()
    acting, go_on = threading.Event(), threading.Event()

    def blocks(call: raftstate.EffectCall) -> None:
        out.log.append(f"began {call.action}")
        acting.set()
        go_on.wait(10)

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        try:
            with pytest.raises(TimeoutError):
                async with agent.step() as step, asyncio.timeout(0.05):
                    await step.effect("book", do=blocks, undo="undo")
            assert acting.is_set()
            with pytest.raises(EffectUnknown, match="still does it"):
                async with agent.step() as step:
                    await step.effect("book", do=out.do, undo="undo")
        finally:
            go_on.set()
        await until(lambda: not agent.acting, "the thread has ended")
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo")

    assert out.log == ["began book", "did book"]


@asynchronous
async def test_a_step_in_doubt_is_settled_by_who_does_it_again() -> None:
    """
    The step's outcome is unknown and it was not committed: the effect is known here, and
    not done again.
    """
    out = Outside()
    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        with pytest.raises(OutcomeUnknown):
            async with agent.step(timeout=0.2) as step:
                await step.effect("book", do=out.do, undo="undo")
                served.fake.fail("OUTCOME_UNKNOWN", definite=False)
        served.fake.failing = None
        between = await states(store)
        async with agent.step() as step:
            result = await step.effect("book", do=out.do, undo="undo")

    assert between == {"1/book/1": "DISPATCHED"}
    assert result == {"n": 1}
    assert out.asked == ["do book"]


@asynchronous
async def test_what_was_never_begun_is_not_asked_about(quickly: None) -> None:
    """
    The dispatch of an irreversible effect was not answered, and so nothing was done: the
    step that is done again does it, and nobody is asked.
    """
    out = Outside()
    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        served.fake.forgetful = True
        with pytest.raises(OutcomeUnknown):
            async with agent.step() as step:
                await step.effect("mail", do=out.do, kind="irreversible", timeout=0.2)
        served.fake.forgetful = False
        async with agent.step() as step:
            await step.effect("mail", do=out.do, kind="irreversible")
        after = await states(store)

    assert out.log == ["did mail"]
    assert after == {"1/mail/1": "FAILED_BEFORE_EFFECT", "1/mail/1~2": "COMMITTED"}


@asynchronous
async def test_what_is_being_done_is_not_said_to_have_failed() -> None:
    """
    An attempt that was never begun is forgotten once another one is: nothing is said of it
    meanwhile.
    """
    out = Outside()
    acting, go_on = asyncio.Event(), asyncio.Event()

    async def slow(call: raftstate.EffectCall) -> None:
        acting.set()
        await go_on.wait()

    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        served.fake.fail("OUTCOME_UNKNOWN", definite=False)
        with pytest.raises(OutcomeUnknown):
            await agent.effect("book", effect_id="x", do=slow, undo="undo", timeout=0.2)
        served.fake.failing = None
        assert not acting.is_set()
        task = asyncio.create_task(agent.effect("book", effect_id="x", do=slow, undo="undo"))
        await acting.wait()
        await agent.note_closings()
        between = await states(store)
        go_on.set()
        await task
        after = await states(store)

    assert between == {"x": "DISPATCHED"}
    assert after == {"x": "COMMITTED"}


@asynchronous
async def test_a_repetition_in_doubt_stays_unknown(quickly: None) -> None:
    """
    The second dispatch was not answered: what the first one did is as unknown as before,
    and is repeated under the same key.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        await out.do(call)
        raise Broken

    async with stores(1, out.registry) as (served, (store,)), store.own("a") as agent:
        with pytest.raises(Broken):
            async with agent.step() as step:
                await step.effect("book", do=breaks, undo="undo")
        served.fake.forgetful = True
        with pytest.raises(OutcomeUnknown):
            async with agent.step() as step:
                await step.effect("book", do=out.do, undo="undo", timeout=0.2)
        served.fake.forgetful = False
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo")
        after = await states(store)

    assert out.keys == ["a#1/book/1"] * 2
    assert after == {"1/book/1": "COMMITTED"}


@asynchronous
@pytest.mark.parametrize("late", [False, True])
async def test_a_repetition_that_was_not_done_leaves_it_open(late: bool) -> None:
    """
    The first attempt may have done it. That the second did not, or came too late, says
    nothing about the first.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        await out.do(call)
        raise Broken

    async def refuses(call: raftstate.EffectCall) -> None:
        if late:
            await asyncio.sleep(call.time_left + 0.01)
            call.check()
        raise raftstate.NotDone("not now")

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        found = []
        for do, error in ((breaks, Broken), (refuses, (raftstate.NotDone, EffectTooLate))):
            with pytest.raises(error):
                async with agent.step() as step:
                    await step.effect("book", do=do, undo="undo", begin_by=0.3)
            found.append(await states(store))
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo", begin_by=0.3)

    assert found == [{"1/book/1": "UNKNOWN"}] * 2
    assert out.log == ["did book"]
