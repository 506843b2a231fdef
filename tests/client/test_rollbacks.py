# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Rollbacks, through the SDK, the services and the state machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import raftstate
from raftstate.client import compensating
from raftstate.client.store import Store
from raftstate.errors import (
    AgentState,
    CheckpointNotFound,
    Conflict,
    InvalidRequest,
    OwnershipLost,
    RollbackBarrier,
)
from raftstate.v1.effect_service_pb2 import (
    COMPENSATION_STATE_BARRIER,
    COMPENSATION_STATE_COMPENSATED,
    COMPENSATION_STATE_WAIVED,
)
from raftstate.v1.rollback_service_pb2 import (
    ROLLBACK_STATE_ABORTED,
    ROLLBACK_STATE_BLOCKED,
    ROLLBACK_STATE_FINISHED,
    ROLLBACK_STATE_VALIDATING,
)
from tests.client.books import SOON, Outside, stores
from tests.client.scripted import asynchronous, until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compensating, "Backoff", lambda: SOON)


async def worked(store: Store, out: Outside, agent_id: str = "a", **mail: Any) -> None:
    """Three steps with an event, a checkpoint and an effect each; perhaps a mail."""
    async with store.own(agent_id) as agent:
        for number in (1, 2, 3):
            async with agent.step() as step:
                await step.effect(f"book-{number}", number, do=out.do, undo="undo")
                if number == 3 and mail:
                    await step.effect("mail", do=out.do, **mail)
                step.event("booked", number)
                step.checkpoint({"done": number})


@asynchronous
async def test_a_rollback_undoes_validates_and_finishes() -> None:
    """
    The agent is at its checkpoint again, what it did since is undone newest first, the
    validator is shown the restored state, and the agent may be owned again.
    """
    out = Outside()
    shown: list[raftstate.Restored] = []

    @out.registry.validator("sane")
    async def sane(restored: raftstate.Restored) -> bool:
        shown.append(restored)
        return bool(restored.state == {"done": 1})

    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out)
        await store.put_validator("sane")
        target = raftstate.to_checkpoint(1)
        plan = await store.plan_rollback("a", target)
        done = await store.rollback("a", plan=plan, validators=["sane"], reason="a test")
        items = await store.rollback_items(done.rollback_id)
        listed = [one.rollback_id async for one in store.list_rollbacks(["finished"])]
        async with store.own("a") as agent:
            state = agent.restore()
            since = agent.events_since
            async with agent.step() as step:
                step.event("went on")
        events = [(one.seq, one.undone_by) async for one in store.read_events("a")]

    assert [one.effect_id for one in plan.effects] == ["3/book-3/1", "2/book-2/1"]
    assert plan.events_undone == 2
    assert done.state == ROLLBACK_STATE_FINISHED
    assert done.reason == "a test"
    assert [(one.validator, one.passed) for one in done.validators] == [("sane", True)]
    assert [one.agent_id for one in shown] == ["a"]
    assert shown[0].events == []
    assert [one.state for one in items] == [COMPENSATION_STATE_COMPENSATED] * 2
    assert listed == [done.rollback_id]
    assert out.log[3:] == ["undid book-3", "undid book-2"]
    assert (state, since) == ({"done": 1}, [])
    undone = done.rollback_id
    assert events == [(1, ""), (2, undone), (3, undone), (4, "")]


@asynchronous
async def test_a_plan_that_is_not_true_any_more_is_refused() -> None:
    """
    What was planned is what is done, or nothing: definite.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out)
        plan = await store.plan_rollback("a", raftstate.before_event(2))
        async with store.own("a") as agent, agent.step() as step:
            step.event("another")
        with pytest.raises(Conflict) as caught:
            await store.start_rollback(plan=plan)
        agent_now = await store.get_agent("a")

    assert caught.value.definite
    assert not agent_now.rollback_id


@asynchronous
async def test_the_state_before_an_event_is_shown_with_the_events_that_count() -> None:
    """
    Where a checkpoint is older than the target, a validator and the next owner see the
    events between, and none that is undone.
    """
    out = Outside()
    shown: list[raftstate.Restored] = []

    @out.registry.validator("sane")
    def sane(restored: raftstate.Restored) -> bool:
        shown.append(restored)
        return True

    async with stores(1, out.registry) as (_, (store,)):
        async with store.own("a") as agent:
            for number in range(1, 6):
                async with agent.step() as step:
                    step.event("counted", number)
                    if number == 2:
                        step.checkpoint({"n": 2})
        await store.put_validator("sane")
        await store.rollback("a", raftstate.before_event(5), validators=["sane"])
        async with store.own("a") as agent:
            since = [one.seq for one in agent.events_since]
            for number in (6, 7):
                async with agent.step() as step:
                    step.event("counted", number)
        await store.rollback("a", raftstate.before_event(7), validators=["sane"])

    assert [one.state for one in shown] == [{"n": 2}] * 2
    counted = [[raftstate.decode(one) for one in each.events] for each in shown]
    assert counted == [[3, 4], [3, 4, 6]]
    assert since == [3, 4]


@asynchronous
async def test_an_owner_takes_its_agent_back() -> None:
    """
    The block goes on, though it owns the agent no more; a step is refused, and the agent
    can be owned anew.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out)
        async with store.own("a") as agent:
            async with agent.step() as step:
                await step.effect("more", do=out.do, undo="undo")
            done = await agent.rollback(raftstate.to_checkpoint(2), reason="bad answer")
            assert agent.lost
            await asyncio.sleep(0.05)  # nobody cancels the block
        with pytest.raises(OwnershipLost):
            async with store.own("a") as agent:
                done = await agent.rollback(raftstate.to_checkpoint(2))
                async with agent.step() as step:
                    step.event("too late")
        async with store.own("a") as agent:
            state = agent.restore()

    assert done.state == ROLLBACK_STATE_FINISHED
    assert state == {"done": 2}
    assert out.log[3:] == ["did more", "undid more", "undid book-3"]


@asynchronous
async def test_a_refused_rollback_leaves_the_owner_in_peace() -> None:
    """
    There is no known good checkpoint: definite, and the agent is owned as before.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out)
        async with store.own("a") as agent:
            with pytest.raises(CheckpointNotFound) as caught:
                await agent.rollback()
            async with agent.step() as step:
                step.event("went on")

    assert caught.value.definite
    assert step.committed


@asynchronous
async def test_the_old_owner_is_fenced_from_the_start_on() -> None:
    """
    Its block ends, and its step leaves no trace.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (first, second)):
        await worked(first, out)
        with pytest.raises(OwnershipLost):
            async with first.own("a", ttl=60.0) as agent:
                await agent.confirmed(5)
                begun = await second.start_rollback("a", raftstate.to_checkpoint(1))
                async with agent.step() as step:
                    step.event("late")
        with pytest.raises(AgentState):
            async with second.own("a"):
                pass
        done = await second.resume_rollback(begun.rollback_id)
        events = [one.seq async for one in second.read_events("a")]

    assert done.state == ROLLBACK_STATE_FINISHED
    assert events == [1, 2, 3]


@asynchronous
async def test_what_cannot_be_undone_stops_and_asks() -> None:
    """
    An irreversible effect refuses the rollback, or blocks it until a person decides.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out, kind="irreversible")
        target = raftstate.to_checkpoint(1)
        with pytest.raises(RollbackBarrier):
            await store.rollback("a", target)
        blocked = await store.rollback("a", target, on_barrier="ask")
        items = await store.rollback_items(blocked.rollback_id)
        plan_id = f"rollback/{blocked.rollback_id}"
        await store.decide(plan_id, 1, "proceed", by="ann", why="it was only a mail")
        done = await store.resume_rollback(blocked.rollback_id)
        after = await store.rollback_items(blocked.rollback_id)

    assert blocked.state == ROLLBACK_STATE_BLOCKED
    assert items[0].state == COMPENSATION_STATE_BARRIER
    assert done.state == ROLLBACK_STATE_FINISHED
    assert after[0].state == COMPENSATION_STATE_WAIVED
    assert after[0].decided_by == "ann"
    assert out.log[4:] == ["undid book-3", "undid book-2"]


@asynchronous
async def test_a_validator_is_asked_about_every_agent() -> None:
    """
    Of a rollback of two agents it says yes twice, each time of what it was shown.
    """
    out = Outside()
    shown: list[tuple[str, object]] = []

    @out.registry.validator("sane")
    def sane(restored: raftstate.Restored) -> bool:
        shown.append((restored.agent_id, restored.state))
        return True

    async with stores(1, out.registry) as (_, (store,)):
        for name in ("a", "b"):
            async with store.own(name) as agent, agent.step() as step:
                step.checkpoint({"of": name})
        await store.put_validator("sane", required_in_rollbacks=True)
        done = await store.rollback(["a", "b"], raftstate.to_checkpoint(1), timeout=10)

    assert done.state == ROLLBACK_STATE_FINISHED
    assert shown == [("a", {"of": "a"}), ("b", {"of": "b"})]
    assert [(one.agent_id, one.passed) for one in done.validators] == [("a", True), ("b", True)]


@asynchronous
async def test_a_validator_that_says_no_keeps_the_agent_back() -> None:
    """
    The rollback stays VALIDATING with an incident; aborting it halts the agent.
    """
    out = Outside()

    @out.registry.validator("strict")
    def strict(restored: raftstate.Restored) -> bool:
        assert restored.state is None, "there must be nothing"
        return True

    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out)
        await store.put_validator("strict")
        target = raftstate.to_checkpoint(1)
        found = await store.rollback("a", target, validators=["strict"])
        again = await store.resume_rollback(found.rollback_id)
        await store.abort_rollback(found.rollback_id, reason="by hand")
        aborted = await store.get_rollback(found.rollback_id)

    assert found.state == again.state == ROLLBACK_STATE_VALIDATING
    assert not found.validators[0].passed
    assert found.validators[0].evidence.startswith("there must be nothing")
    assert aborted.state == ROLLBACK_STATE_ABORTED


@asynchronous
async def test_a_validator_that_breaks_says_nothing() -> None:
    """
    What it raises goes to who asked; the rollback waits for it to speak.
    """
    out = Outside()
    broken = [OSError("no disk")]

    @out.registry.validator("v")
    def validator(restored: raftstate.Restored) -> bool:
        if broken:
            raise broken.pop()
        return True

    async with stores(1, out.registry) as (_, (store,)):
        await worked(store, out)
        await store.put_validator("v")
        begun = await store.start_rollback("a", raftstate.to_checkpoint(1), validators=["v"])
        with pytest.raises(OSError, match="no disk"):
            await store.resume_rollback(begun.rollback_id)
        between = await store.get_rollback(begun.rollback_id)
        done = await store.resume_rollback(begun.rollback_id)

    assert between.state == ROLLBACK_STATE_VALIDATING
    assert not between.validators[0].HasField("passed")
    assert done.state == ROLLBACK_STATE_FINISHED


@asynchronous
async def test_several_agents_go_back_together() -> None:
    """
    A target for each, or a group: one rollback, one order, each agent at its checkpoint.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        for agent_id in ("a", "b"):
            await worked(store, out, agent_id)
        targets = {"a": raftstate.to_checkpoint(2), "b": raftstate.to_checkpoint(1)}
        done = await store.rollback(targets)
        await store.put_group("g", ["a", "b"])
        grouped = await store.rollback(group="g")
        states = []
        for agent_id in ("a", "b"):
            async with store.own(agent_id) as agent:
                states.append(agent.restore())

    assert {one.agent_id: one.checkpoint_id for one in done.agents} == {"a": 2, "b": 1}
    assert out.log[6:] == ["undid book-3", "undid book-2", "undid book-3"]
    assert grouped.group_id == "g"
    assert grouped.state == ROLLBACK_STATE_FINISHED
    assert states == [{"done": 2}, {"done": 1}]


@asynchronous
async def test_who_started_it_waits_for_who_carries_it_out() -> None:
    """
    Another client has claimed the compensations: this one waits for it, and then finishes.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (first, second)):
        await worked(first, out)
        begun = await first.start_rollback("a", raftstate.to_checkpoint(1))
        out.hanging = asyncio.Event()
        one = asyncio.create_task(first.resume_rollback(begun.rollback_id))
        await until(lambda: len(out.asked) == 4, "the first is at it")
        other = asyncio.create_task(second.resume_rollback(begun.rollback_id))
        await asyncio.sleep(0.1)
        assert not other.done()
        out.hanging.set()
        both = await asyncio.gather(one, other)

    assert [each.state for each in both] == [ROLLBACK_STATE_FINISHED] * 2
    assert len(out.asked) == 5


@asynchronous
async def test_a_rollback_has_agents_and_targets() -> None:
    """
    What makes no sense is refused before anything is sent.
    """
    out = Outside()
    target = raftstate.known_good()
    async with stores(1, out.registry) as (served, (store,)):
        for arguments in (("a",), ((), target), ({"a": target}, target)):
            with pytest.raises(ValueError, match=r"target"):
                await store.plan_rollback(*arguments)
        with pytest.raises(ValueError, match="group"):
            await store.start_rollback("a", target, group="g")
        with pytest.raises(InvalidRequest, match="none of refuse, ask, proceed"):
            await store.start_rollback("a", target, on_barrier="jump")
        proposed = list(served.fake.proposed)

    assert proposed == []
