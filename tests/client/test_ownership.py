# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Owning an agent, and losing it in every way there is."""

import asyncio
import time
from contextlib import suppress

import pytest

from raftstate.client.clock import now
from raftstate.client.own import Own
from raftstate.client.ownership import AgentHandle
from raftstate.client.store import Store
from raftstate.errors import (
    Closed,
    Conflict,
    Fenced,
    OutcomeForgotten,
    OutcomeUnknown,
    Owned,
    OwnershipLost,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import Event
from tests.client.scripted import (
    FENCED,
    Drop,
    Refuse,
    Silence,
    asynchronous,
    members,
    not_leader,
    store_of,
    until,
)

CONFLICT = Refuse("CONFLICT", metadata={"current_step": "8"})
TTL = 0.4


def _own(store: Store) -> Own:
    return store.own("a", ttl=TTL)


async def forever() -> None:
    await asyncio.Event().wait()


@asynchronous
async def test_steps_expect_the_head_that_the_handle_knows() -> None:
    """
    Each step is committed on the head of the one before; the handle keeps up.
    """
    async with members(1) as (member,), store_of(member) as store, store.own("a") as agent:
        for _ in range(3):
            async with agent.step() as step:
                step.event("e", {"n": 1})
            assert step.committed
            assert step.head == agent.head

    assert member.expected == [0, 1, 2]
    assert member.asked == ["open", "acquire", "release", "close"]


@asynchronous
async def test_an_exception_in_a_step_commits_nothing() -> None:
    """
    The step is not sent, and the exception goes on.
    """
    async with members(1) as (member,), store_of(member) as store, store.own("a") as agent:
        with pytest.raises(ZeroDivisionError):
            async with agent.step() as step:
                step.event("e")
                1 / 0  # noqa: B018
        async with agent.step() as after:
            after.event("e")

    assert not step.committed
    assert member.expected == [0]


@asynchronous
async def test_one_step_at_a_time() -> None:
    """
    A step inside a step of the same agent is a mistake that is told at once.
    """
    async with members(1) as (member,), store_of(member) as store, _own(store) as agent:
        first, second = agent.step(), agent.step()
        async with first:
            with pytest.raises(RuntimeError, match="already open"):
                await second.__aenter__()


@asynchronous
async def test_renewals_keep_the_block_alive() -> None:
    """
    A block outlives many times its ttl while renewals are acknowledged.
    """
    async with members(1) as (member,), store_of(member) as store, _own(store) as agent:
        await until(lambda: member.renewals >= 8, "it was renewed eight times")
        assert agent.time_left > 0
        assert not agent.lost


@asynchronous
async def test_the_block_is_cancelled_before_the_time_runs_out() -> None:
    """
    Without an acknowledged renewal the block ends before the ttl is over, counted from
    when the last acknowledged request was sent.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.renew = Silence()
        with pytest.raises(OwnershipLost, match="time ran out") as caught:
            async with store.own("a", ttl=TTL):
                with suppress(asyncio.CancelledError):
                    await forever()
                cancelled = now()
                raise asyncio.CancelledError

    assert cancelled < member.acquired_at + TTL
    assert caught.value.definite
    assert caught.value.details["current_holder"] == "me"


@asynchronous
async def test_the_block_survives_a_change_of_leader() -> None:
    """
    Renewals move to the new leader in time.
    """
    async with members(2) as (old, new), store_of(old, new) as store, _own(store) as agent:
        await until(lambda: old.renewals >= 2, "it was renewed")
        old.office = not_leader(new.address)
        await until(lambda: new.renewals >= 4, "it was renewed elsewhere")
        assert not agent.lost


@asynchronous
async def test_a_renewal_that_is_refused_ends_the_block_at_once() -> None:
    """
    held=false cancels the block, and the error says who owns the agent now.
    """
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(OwnershipLost, match="now owned by other") as caught:
            async with store.own("a", ttl=60.0) as agent:
                member.held = False
                member.newest_fence = FencingToken(epoch=1, revision=9)
                member.holder = "other"
                store._engine.renewals.start(agent)  # which renews at once
                await forever()

    assert caught.value.details["reason"] == "FENCED"
    assert caught.value.details["current_fence"].endswith("9")


@asynchronous
async def test_a_fenced_step_ends_the_block() -> None:
    """
    The step raises what the store said; the block ends as OwnershipLost because of it.
    """
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a") as agent:
                member.script.append(FENCED)
                async with agent.step() as step:
                    step.event("e")

    assert isinstance(caught.value.__cause__, Fenced)
    assert caught.value.details["reason"] == "FENCED"
    assert caught.value.details["current_holder"] == "other"
    assert not step.committed
    assert "release" not in member.asked


@asynchronous
async def test_a_fenced_step_that_is_caught_still_ends_the_block() -> None:
    """
    Who catches Fenced may say so, but works no more: the next wait is cancelled.
    """
    seen = []
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a") as agent:
                member.script.append(FENCED)
                try:
                    async with agent.step() as step:
                        step.event("e")
                except Fenced as error:
                    seen.append(error.definite)
                await forever()

    assert seen == [True]
    assert isinstance(caught.value.__cause__, Fenced)


@asynchronous
async def test_a_conflict_does_not_end_the_block() -> None:
    """
    Another head than expected is the caller's business; the ownership stands.
    """
    async with members(1) as (member,), store_of(member) as store, store.own("a") as agent:
        member.script.append(CONFLICT)
        with pytest.raises(Conflict) as caught:
            async with agent.step() as step:
                step.event("e")
        assert not agent.lost

    assert caught.value.details["current_step"] == "8"


@asynchronous
async def test_a_commit_under_way_is_settled_by_the_store() -> None:
    """
    A process that wakes up late with a step on its way hears the store's refusal: the
    local clock does not cut that short.
    """
    async with members(1) as (member,), store_of(member, attempt=5.0) as store:
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=TTL) as agent:
                member.renew = Silence()
                member.script.append(FENCED)
                async with agent.step() as step:
                    step.event("e")
                    time.sleep(TTL)  # noqa: ASYNC251  # as if the process were stopped

    assert isinstance(caught.value.__cause__, Fenced)
    assert not step.committed


@asynchronous
async def test_a_step_after_the_time_has_run_out_is_refused_here() -> None:
    """
    It is not sent; the error is definite and says who owns the agent now.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.newest_fence = FencingToken(epoch=1, revision=9)
        member.holder = "other"
        refused = []
        with pytest.raises(OwnershipLost):
            async with store.own("a", ttl=TTL) as agent:
                time.sleep(TTL)  # noqa: ASYNC251  # as if the process were stopped
                try:
                    async with agent.step() as step:
                        step.event("e")
                except OwnershipLost as error:
                    refused.append(error)
                    raise

    assert refused[0].definite
    assert refused[0].details["reason"] == "FENCED"
    assert refused[0].details["current_holder"] == "other"
    assert member.expected == []


@asynchronous
async def test_whatever_leaves_a_step_open_leaves_the_loss_open() -> None:
    """
    An answer that was forgotten is no answer either.
    """
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=TTL) as agent:
                member.script.append(Refuse("OUTCOME_FORGOTTEN", definite=False))
                with suppress(OutcomeForgotten):
                    async with agent.step() as step:
                        step.event("e")
                member.held = False
                await forever()

    assert not caught.value.definite


@asynchronous
async def test_a_loss_with_a_step_in_doubt_is_not_definite() -> None:
    """
    If the last step may have been committed, the error of the block says so.
    """
    async with members(1) as (member,), store_of(member, attempt=5.0) as store:
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=TTL) as agent:
                member.renew = member.always = Silence()
                with suppress(OutcomeUnknown):
                    async with agent.step(timeout=0.1) as step:
                        step.event("e")
                await forever()

    assert not caught.value.definite


# --- cancellation ------------------------------------------------------------


@asynchronous
async def test_an_outside_cancellation_is_not_swallowed() -> None:
    """
    A task that is cancelled from outside ends as cancelled, and gives the agent back.
    """
    async with members(1) as (member,), store_of(member) as store:
        inside = asyncio.Event()

        async def work() -> None:
            async with store.own("a"):
                inside.set()
                await forever()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        await asyncio.wait({task})

    assert task.cancelled()
    assert "release" in member.asked


@asynchronous
@pytest.mark.parametrize("later", [False, True])
async def test_both_cancellations_end_as_cancelled(later: bool) -> None:
    """
    When the ownership is lost and somebody cancels the task too, in the same turn or
    while it finds out who owns the agent now, the cancellation wins.
    """
    async with members(1) as (member,), store_of(member) as store:
        inside = asyncio.Event()

        async def work() -> None:
            async with store.own("a"):
                inside.set()
                await forever()

        task = asyncio.create_task(work())
        await inside.wait()
        member.office = Silence()
        [handle] = store._engine.owned
        assert isinstance(handle, AgentHandle)
        handle.lose("for the test")
        await until(lambda: handle.cancelled, "the block was cancelled")
        if later:
            await until(lambda: not store._engine.owned, "the block ends")
        task.cancel()
        await asyncio.wait({task})

    assert task.cancelled()


@asynchronous
async def test_a_timeout_around_the_block_is_a_timeout() -> None:
    """
    asyncio.timeout outside of the block works as ever, also after a loss inside.
    """
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), store.own("a"):
                await forever()
        member.renew = Silence()
        async with asyncio.timeout(5) as outer:
            with pytest.raises(OwnershipLost):
                async with store.own("b", ttl=TTL):
                    await forever()
            await asyncio.sleep(0)  # no cancellation is left over

    assert not outer.expired()


@asynchronous
async def test_a_task_group_inside_the_block_is_cancelled_too() -> None:
    """
    Whatever the block has started ends with it.
    """
    ended = []

    async def child() -> None:
        try:
            await forever()
        finally:
            ended.append(True)

    async with members(1) as (member,), store_of(member) as store:
        member.renew = Silence()
        with pytest.raises(OwnershipLost):
            async with store.own("a", ttl=TTL), asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())

    assert ended == [True, True]


@asynchronous
async def test_other_errors_of_the_block_pass() -> None:
    """
    An error of the block's own is not covered up by a loss.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.renew = Silence()
        with pytest.raises(ZeroDivisionError):
            async with store.own("a", ttl=TTL):
                try:
                    await forever()
                finally:
                    1 / 0  # noqa: B018


# --- acquiring ---------------------------------------------------------------


@asynchronous
async def test_waiting_outlives_the_leader() -> None:
    """
    A standby asks again, under the same id, when the member it waits at goes away.
    """
    async with members(2) as (old, new), store_of(old, new) as store:
        old.script.append(Drop())
        async with store.own("a", wait=True):
            pass

    # Both members answer as leaders do, so that either may be told of the release.
    *asked, released = sorted(one.sequence for one in old.ids + new.ids)
    assert len(asked) >= 2
    assert set(asked) == {1}
    assert released == 2


@asynchronous
async def test_a_waiting_standby_moves_with_the_leadership() -> None:
    """
    A standby whose member falls silent follows as soon as another is known to lead.
    """
    async with members(2) as (old, new), store_of(old, new) as store:
        await store.create_agent("x")
        old.script.append(Silence())

        async def stand_by() -> None:
            async with store.own("a", wait=True):
                pass

        task = asyncio.create_task(stand_by())
        await until(lambda: "acquire" in old.asked, "it waits")
        old.office = not_leader(new.address)
        await store.create_agent("y")
        await task

    assert "acquire" in new.asked


@asynchronous
async def test_a_waited_grant_counts_from_a_renewal() -> None:
    """
    Nobody knows when a waiting request was granted, so the handle is given out only
    when a renewal sent after the grant was acknowledged.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.grant_after = asyncio.Event()
        task = asyncio.create_task(store.own("a", wait=True, ttl=TTL).__aenter__())
        await until(lambda: "acquire" in member.asked, "it waits")
        await asyncio.sleep(TTL)
        member.grant_after.set()
        agent = await task

        assert member.renewals >= 1
        assert 0 < agent.time_left <= TTL


@asynchronous
async def test_a_grant_that_is_never_confirmed_is_not_given_out() -> None:
    """
    A waited grant whose renewal is not acknowledged within its ttl is given back.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.renew = Silence()
        own = store.own("a", wait=True, ttl=TTL, timeout=1.0)
        task = asyncio.create_task(own.__aenter__())
        await until(lambda: "release" in member.asked, "it was given back")
        member.renew = None
        agent = await task

        assert not agent.lost
        assert member.asked.count("acquire") == 2


@asynchronous
async def test_who_waits_and_is_refused_asks_again() -> None:
    """
    A request that waits may be proposed too early: it is refused, and would be for ever
    under its id. It is made again under new ones.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.script.extend([Refuse("OWNED"), Refuse("OWNED")])
        async with store.own("a", wait=True):
            pass

    assert member.asked == ["open", *["acquire"] * 3, "release", "close"]
    assert [one.sequence for one in member.ids] == [1, 2, 3, 4]


@asynchronous
async def test_who_waits_and_is_always_refused_is_told_at_the_deadline() -> None:
    """
    Owned, definite, with the owner, after more than one try.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.always = Refuse("OWNED", metadata={"current_holder": "other"})
        with pytest.raises(Owned) as caught:
            async with store.own("a", wait=True, timeout=0.2):
                pass

    assert caught.value.definite
    assert caught.value.details["current_holder"] == "other"
    sequences = [one.sequence for one in member.ids]
    assert len(sequences) > 1
    assert sequences == list(range(1, len(sequences) + 1))


@asynchronous
async def test_a_refused_claim() -> None:
    """
    Owned is told with the owner, and nothing is held afterwards.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.script.append(Refuse("OWNED", metadata={"current_holder": "other"}))
        with pytest.raises(Owned) as caught:
            async with store.own("a"):
                pass

        assert caught.value.details["current_holder"] == "other"
        assert not store._engine.owned


@asynchronous
async def test_the_rest_of_the_events_is_fetched_on_entry() -> None:
    """
    What did not fit into the takeover bundle is there before the block begins.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.events = [
            Event(seq=seq, content_type="application/json", data=b"1") for seq in (1, 2, 3)
        ]
        member.more_events = True
        async with store.own("a") as agent:
            found = [event.seq for event in agent.events_since]
            total = agent.restore(0, fold=lambda state, event: state + event.seq)

    assert found == [1, 2, 3]
    assert total == 6


@asynchronous
async def test_undone_events_are_left_out_and_read_once() -> None:
    """
    What a rollback has undone is no part of the state. A stream that breaks among such
    events goes on behind them, and ends also where all the rest is undone.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.events = [
            Event(seq=seq, content_type="application/json", data=b"1", undone_by=by)
            for seq, by in enumerate(["", "7", "", "8", "8", "8", "8"], 1)
        ]
        member.more_events = True
        member.break_reads_after = 2
        async with asyncio.timeout(5), store.own("a") as agent:
            found = [event.seq for event in agent.events_since]

    assert found == [1, 3]
    reads = [one for one in member.asked if "read" in one]
    assert reads == [f"read from {seq}" for seq in (1, 3, 5, 7)]


@asynchronous
async def test_closing_the_store_ends_its_blocks() -> None:
    """
    A block in another task ends as OwnershipLost; nothing is left running.
    """
    async with members(1) as (member,):
        store = store_of(member)
        inside = asyncio.Event()

        async def work() -> None:
            async with store.own("a"):
                inside.set()
                await forever()

        async with store:
            task = asyncio.create_task(work())
            await inside.wait()
        with pytest.raises(OwnershipLost, match="closed"):
            await task
        with pytest.raises(Closed):
            store.own("b")


@asynchronous
async def test_closing_the_store_ends_those_who_wait() -> None:
    """
    A standby in another task ends with an error, not as if it had been cancelled.
    """
    async with members(1) as (member,):
        store = store_of(member)

        async def stand_by() -> None:
            async with store.own("a", wait=True):
                await forever()

        async with store:
            member.grant_after = asyncio.Event()
            task = asyncio.create_task(stand_by())
            await until(lambda: "acquire" in member.asked, "it waits")
        with pytest.raises(OutcomeUnknown, match="closed"):
            await task
