# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""The SDK against the real services and the real state machine, in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import raftstate
from raftstate.client.store import Store
from raftstate.errors import (
    AgentExists,
    AgentNotFound,
    AgentState,
    Conflict,
    Fenced,
    InvalidRequest,
    NotOwner,
    OutcomeUnknown,
    Owned,
    OwnershipLost,
)
from raftstate.v1.agent_service_pb2 import LIFECYCLE_HALTED, LIFECYCLE_IDLE, LIFECYCLE_RETIRED
from raftstate.v1.cluster_service_pb2 import ROLE_LEADER
from tests.client.scripted import asynchronous, until
from tests.rpc.harness import Bench, bench


@asynccontextmanager
async def stores(count: int) -> AsyncIterator[tuple[Bench, list[Store]]]:
    """A served state machine and so many clients of it."""
    async with bench() as served:
        opened = [
            raftstate.connect(f"127.0.0.1:{served.port}", client_name=f"client {number}")
            for number in range(count)
        ]
        for store in opened:
            await store.__aenter__()
        try:
            yield served, opened
        finally:
            for store in opened:
                await store.close()


@asynchronous
async def test_a_successor_goes_on_where_its_predecessor_stopped() -> None:
    """
    Checkpoint and events since come with the ownership; the token grows; nothing is
    lost or doubled.
    """
    async with stores(2) as (_, (first, second)):
        async with first.own("census", holder="one") as agent:
            assert agent.restore(default={"done": 0}) == {"done": 0}
            for number in range(1, 8):
                async with agent.step() as step:
                    step.event("counted", {"n": number})
                    if number == 5:
                        step.checkpoint({"done": 5}, labels={"why": "five"})
            token = agent.token_text
        async with second.own("census", wait=True) as agent:
            state = agent.restore(
                default={"done": 0},
                fold=lambda state, event: {"done": raftstate.decode(event)["n"]},
            )
            assert agent.restore() == {"done": 5}
            assert agent.head.step == 7
            assert agent.token_text > token
            assert await second.check_fence("census", agent.token)
        found = [raftstate.decode(event)["n"] async for event in second.read_events("census")]
        some = [e.seq async for e in second.read_events("census", from_seq=3, max_events=2)]
        everything = [event.position async for event in second.read_all()]
        checkpoints = [one async for one in first.list_checkpoints("census")]
        newest = await first.get_checkpoint("census")
        stream = await first.get_stream("census", stale=True)

    assert state == {"done": 7}
    assert found == everything == list(range(1, 8))
    assert some == [3, 4]
    assert [one.checkpoint_id for one in checkpoints] == [1]
    assert raftstate.decode(newest) == {"done": 5}
    assert [(label.name, label.value) for label in newest.labels] == [("why", "five")]
    assert stream.last_seq == 7


@asynchronous
async def test_a_standby_takes_over_when_the_owner_leaves() -> None:
    """
    Who waits gets the agent at the moment when its owner's block ends.
    """
    async with stores(2) as (served, (first, second)):

        async def stand_by() -> int:
            async with second.own("a", wait=True) as agent:
                return agent.head.step

        async with first.own("a") as agent:
            task = asyncio.create_task(stand_by())
            await until(lambda: served.fake.waiting, "the standby waits")
            async with agent.step() as step:
                step.event("e")

        assert await task == 1


@asynchronous
@pytest.mark.parametrize("wait", [True, False])
async def test_two_tasks_of_one_store_take_turns_or_are_refused(wait: bool) -> None:
    """
    Both are of one session, which the store grants an agent again: they do not fence
    each other. With `wait` the second works after the first, without it is refused.
    """
    log: list[str] = []

    async def work(store: Store, name: str) -> None:
        try:
            async with store.own("a", wait=wait) as agent:
                log.append(f"{name} in")
                await agent.confirmed(5)
                async with agent.step() as step:
                    step.event("e")
                log.append(f"{name} out")
        except Owned:
            log.append(f"{name} refused")

    async with stores(1) as (_, (store,)), asyncio.TaskGroup() as group:
        group.create_task(work(store, "one"))
        group.create_task(work(store, "two"))

    if wait:
        assert log == ["one in", "one out", "two in", "two out"]
    else:
        assert log == ["two refused", "one in", "one out"]


@asynchronous
async def test_a_forced_takeover_fences_the_owner() -> None:
    """
    The old owner's step on its way is refused and leaves no trace; its block ends.
    """
    async with stores(2) as (_, (old, new)):
        with pytest.raises(OwnershipLost) as caught:
            async with old.own("a", ttl=60.0) as agent:
                await agent.confirmed(5)
                async with agent.step() as step:
                    step.event("before")
                async with agent.step() as late:
                    late.event("late")
                    taken = new.own("a", force=True, holder="the new one")
                    async with taken as successor, successor.step() as step:
                        step.event("after")
        events = [event.type async for event in new.read_events("a")]

    assert isinstance(caught.value.__cause__, Fenced)
    assert caught.value.details["reason"] == "FENCED"
    assert caught.value.definite
    assert not late.committed
    assert events == ["before", "after"]


@asynchronous
async def test_an_owned_agent_is_not_given_away() -> None:
    """
    Without wait or force the claim is refused, and says who owns it.
    """
    async with stores(2) as (_, (first, second)), first.own("a", holder="me"):
        with pytest.raises(Owned) as caught:
            async with second.own("a"):
                pass

    assert caught.value.details["current_holder"] == "me"


@asynchronous
async def test_a_session_that_expires_takes_the_ownership_along() -> None:
    """
    The next step says so, the block ends, and the store works on under a new session.
    """
    async with stores(1) as (served, (store,)):
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a") as agent:
                session = agent.session.session_id
                served.fake.expire_session(session)
                async with agent.step() as step:
                    step.event("e")
        async with store.own("a") as agent:
            assert agent.session.session_id != session
            assert agent.head.step == 0

    assert caught.value.details["reason"] in {"NOT_OWNER", "SESSION_EXPIRED"}


@asynchronous
async def test_an_outcome_that_the_server_lost_is_found_again() -> None:
    """
    OUTCOME_UNKNOWN is asked again under the same id, and answered with what happened:
    one event, not two.
    """
    async with stores(1) as (served, (store,)):
        async with store.own("a") as agent:
            served.fake.forgetful = True
            task = asyncio.create_task(_one_step(agent))
            await until(lambda: served.fake.proposed[-1].HasField("commit_step"), "a try")
            served.fake.forgetful = False
            await task
        events = [event.seq async for event in store.read_events("a")]

    assert events == [1]


async def _one_step(agent: raftstate.AgentHandle) -> None:
    async with agent.step() as step:
        step.event("once")


@asynchronous
async def test_after_an_unknown_step_the_next_one_conflicts_if_it_happened() -> None:
    """
    The handle's head is what it knows; the store refuses to write beside the truth.
    """
    async with stores(1) as (served, (store,)), store.own("a") as agent:
        served.fake.forgetful = True
        with pytest.raises(OutcomeUnknown):
            async with agent.step(timeout=0.2) as step:
                step.event("perhaps")
        served.fake.forgetful = False
        with pytest.raises(Conflict) as caught:
            async with agent.step() as step:
                step.event("again")

    assert caught.value.details["current_step"] == "1"


@asynchronous
async def test_the_life_of_an_agent() -> None:
    """
    Create, label, halt, resume, retire; each refusal by its own name.
    """
    async with stores(1) as (_, (store,)):
        await store.create_agent("a/1", labels={"team": "x"})
        await store.create_agent("b")
        with pytest.raises(AgentExists):
            await store.create_agent("b")
        updated = await store.update_agent("a/1", labels={"team": "y"})
        with pytest.raises(OwnershipLost, match=r"halted|ended"):
            async with store.own("b") as agent:
                halted = await store.halt_agent("b", reason="for a test")
                async with agent.step() as step:
                    step.event("e")
        with pytest.raises(AgentState):
            async with store.own("b"):
                pass
        resumed = await store.resume_agent("b")
        retired = await store.retire_agent("b")
        with pytest.raises(AgentNotFound):
            await store.get_agent("nobody")
        with pytest.raises(AgentNotFound):
            async with store.own("nobody", create=False):
                pass
        with pytest.raises(InvalidRequest) as caught:
            await store.create_agent("no spaces")
        everybody = [agent.agent_id async for agent in store.list_agents()]
        some = [agent.agent_id async for agent in store.list_agents("a/")]
        agent_b = await store.get_agent("b", stale=True)

    assert updated.labels[0].value == "y"
    assert halted.lifecycle == LIFECYCLE_HALTED
    assert resumed.lifecycle == LIFECYCLE_IDLE
    assert retired.lifecycle == agent_b.lifecycle == LIFECYCLE_RETIRED
    assert caught.value.details["field"] == "agent_id"
    assert everybody == ["a/1", "b"]
    assert some == ["a/1"]


@asynchronous
async def test_many_agents_at_once() -> None:
    """
    Fifty agents of one store step concurrently, each in its own order.
    """

    async def work(store: Store, name: str) -> None:
        async with store.own(name) as agent:
            for number in range(10):
                async with agent.step() as step:
                    step.event("e", number)

    async with stores(1) as (_, (store,)):
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(work(store, f"agent-{number}"))
        heads = [agent.head.step async for agent in store.list_agents()]
        found = [raftstate.decode(event) async for event in store.read_events("agent-7")]
        total = [event.position async for event in store.read_all()]

    assert heads == [10] * 50
    assert found == list(range(10))
    assert total == list(range(1, 501))


@asynchronous
async def test_sessions_and_status_are_seen_and_closed_in_order() -> None:
    """
    The session is named after its client, and gone when the store is closed; no stream
    of it counts as broken.
    """
    async with stores(2) as (served, (first, second)):
        await first.create_agent("a")
        async with second.own("b"):
            names = sorted([session.client async for session in first.sessions()])
            status = await first.status()
        await second.close()
        after = [session.client async for session in first.sessions()]

    assert names == ["client 0", "client 1"]
    assert after == ["client 0"]
    assert status.role == ROLE_LEADER
    assert served.fake.broken == []


@asynchronous
async def test_a_fence_of_the_past_is_not_current() -> None:
    """
    CheckFence tells tokens apart, for resources outside of the store.
    """
    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            old = agent.token
            assert await store.check_fence("a", old)
        async with store.own("a") as agent:
            assert await store.check_fences([("a", old), ("a", agent.token)]) == [False, True]


@asynchronous
async def test_an_ownership_that_ended_is_not_owner() -> None:
    """
    A step under a grant that ended, without a newer one, is NotOwner and ends the block.
    """
    async with stores(1) as (_, (store,)):
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=60.0) as agent:
                await agent.confirmed(5)
                await store.halt_agent("a")
                await store.resume_agent("a")
                async with agent.step() as step:
                    step.event("e")

    assert isinstance(caught.value.__cause__, NotOwner)
    assert caught.value.details["reason"] == "NOT_OWNER"
