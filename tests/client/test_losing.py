# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""A block that loses its ownership ends at once, whatever it waits in, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from raftstate.client.clock import now
from raftstate.client.ownership import AgentHandle
from raftstate.client.store import Store
from raftstate.errors import OwnershipLost
from tests.client.scripted import Member, asynchronous, members, store_of, until
from tests.client.test_end_to_end import stores

# Far more than it takes, and far less than the ttl.
SOON_S = 5.0
TTL = 60.0


async def forever() -> None:
    await asyncio.Event().wait()


def lose(member: Member, store: Store, agent: AgentHandle) -> None:
    """The next renewal, which leaves at once, is told that it is over."""
    member.held = False
    store._engine.renewals.start(agent)


@asynccontextmanager
async def losing() -> AsyncIterator[tuple[Member, Store]]:
    """A member and a client of it."""
    async with members(1) as (member,), store_of(member) as store:
        yield member, store


async def in_a_gather(agent: AgentHandle) -> None:
    await asyncio.gather(forever(), forever(), return_exceptions=True)


async def in_a_group(agent: AgentHandle) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(forever())
        tasks.create_task(forever())


async def in_a_shield(agent: AgentHandle) -> None:
    inner = asyncio.create_task(forever())
    try:
        await asyncio.shield(inner)
    finally:
        assert not inner.cancelled()
        inner.cancel()


async def in_a_timeout(agent: AgentHandle) -> None:
    async with asyncio.timeout(TTL):
        await forever()


async def in_a_step(agent: AgentHandle) -> None:
    async with agent.step() as step:
        step.event("never")
        await forever()


async def in_a_thread(agent: AgentHandle) -> None:
    """The thread itself cannot be cancelled; it asks."""

    def work() -> None:
        with suppress(OwnershipLost):
            while True:
                agent.check()

    await asyncio.to_thread(work)


@asynchronous
@pytest.mark.parametrize(
    "wait", [forever, in_a_gather, in_a_group, in_a_shield, in_a_timeout, in_a_step]
)
async def test_the_loss_ends_whatever_the_block_waits_in(
    wait: Callable[..., Awaitable[None]],
) -> None:
    """
    At once, long before its time would have been over; and as OwnershipLost alone. The task
    goes on as one that nobody has cancelled.
    """
    async with losing() as (member, store):
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=TTL) as agent:
                lose(member, store, agent)
                began = now()
                await (wait() if wait is forever else wait(agent))
        took = now() - began
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    assert took < SOON_S
    assert caught.value.definite
    assert member.expected == []


@asynchronous
async def test_a_block_that_swallows_its_cancellation_is_told_at_its_end() -> None:
    """
    Whatever it did then, it did not do as an owner.
    """
    async with losing() as (member, store):
        with pytest.raises(OwnershipLost):
            async with store.own("a", ttl=TTL) as agent:
                lose(member, store, agent)
                with suppress(asyncio.CancelledError):
                    await forever()
                assert agent.lost
                await asyncio.sleep(0.01)


@asynchronous
async def test_tasks_of_the_block_that_meet_the_loss_make_one_error() -> None:
    """
    What a task group brings of it is not a group to those outside.
    """
    async with losing() as (member, store):
        with pytest.raises(OwnershipLost) as caught:
            async with store.own("a", ttl=TTL) as agent:

                async def step() -> None:
                    try:
                        await forever()
                    finally:
                        await agent.step().__aenter__()

                lose(member, store, agent)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(step())
                    tasks.create_task(forever())

    assert isinstance(caught.value.__cause__, BaseExceptionGroup)


@asynchronous
async def test_what_else_goes_wrong_is_not_hidden() -> None:
    """
    An error of the block's own, in a group or alone, is what leaves it.
    """
    async with losing() as (member, store):
        with pytest.raises(ExceptionGroup) as caught:
            async with store.own("a", ttl=TTL) as agent:

                async def fail() -> None:
                    try:
                        await forever()
                    finally:
                        raise KeyError("mine")

                lose(member, store, agent)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(fail())
        with pytest.raises(KeyError, match="mine"):
            member.held = True
            async with store.own("a", ttl=TTL) as agent:
                lose(member, store, agent)
                try:
                    await forever()
                finally:
                    raise KeyError("mine")

    assert caught.value.subgroup(KeyError) is not None


@asynchronous
async def test_who_is_cancelled_by_others_too_is_cancelled() -> None:
    """
    The loss does not swallow what somebody else told the task.
    """
    async with losing() as (member, store):

        async def own() -> None:
            async with store.own("a", ttl=TTL) as agent:
                lose(member, store, agent)
                try:
                    await forever()
                finally:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()

        user = asyncio.create_task(own())
        await asyncio.wait({user})

    assert user.cancelled()


@asynchronous
async def test_others_can_wait_for_the_loss() -> None:
    """
    Tasks beside the block, and threads, which nobody can cancel.
    """
    async with losing() as (member, store):
        with pytest.raises(OwnershipLost):
            async with store.own("a", ttl=TTL) as agent:
                assert not await agent.wait_lost(0.02)
                agent.check()
                waiting = asyncio.create_task(agent.wait_lost())
                thread = asyncio.create_task(in_a_thread(agent))
                lose(member, store, agent)
                await forever()
        assert await waiting
        await until(thread.done, "the thread has seen it")


@asynchronous
async def test_who_waits_for_the_loss_is_told_of_the_end() -> None:
    """
    The block has ended well, and the ownership is given back: a thread that waited for its
    loss would otherwise wait for ever, and its program not end.
    """
    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            beside = asyncio.create_task(agent.wait_lost())
            await asyncio.sleep(0)
        assert await asyncio.wait_for(beside, 5.0)
        assert await agent.wait_lost()
