# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Takeovers of a small agent, as its author would test them: nothing here takes real time."""

from __future__ import annotations

import asyncio

import pytest

from raftstate import testing
from raftstate.errors import OutcomeUnknown, OwnershipLost
from tests.client.scripted import asynchronous, until
from tests.testing_kit.billing import AGENT, charged, work

ITEMS = ["a", "b", "c", "d"]


@asynchronous
async def test_a_standby_goes_on_where_an_owner_was_cut_off() -> None:
    """
    The owner finds out by its own clock, before the other owns; every item is there once.
    """
    told: list[str] = []
    owners: list[int] = []
    stuck = asyncio.Event()

    async with testing.served() as kit, kit.connect() as first, kit.connect() as second:

        async def owner() -> None:
            async with first.own(AGENT) as agent:
                async with agent.step() as step:
                    step.event("charged", {"item": "a"})
                    step.checkpoint({"done": 1})
                stuck.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    told.append("the owner has lost it")
                    owners.append(len(kit.log("acquire_ownership")))

        owning = asyncio.create_task(owner())
        await stuck.wait()
        waiting = asyncio.create_task(
            work(second, ITEMS, lambda item: told.append(f"charges {item}"))
        )
        await until(lambda: kit.log("open_session")[1:], "the standby is there")
        await kit.advance(3600.0)
        assert not owning.done()  # whoever is alive keeps it, however long that is
        kit.cut_off(first)
        await kit.advance(4.0)
        assert not told
        await kit.advance(1.0)
        with pytest.raises(OwnershipLost) as lost:
            await owning
        await waiting
        found = await charged(second)
        kit.mend(first)

    assert told == ["the owner has lost it", "charges b", "charges c", "charges d"]
    assert owners == [1]
    assert found == ITEMS
    assert lost.value.definite


@asynchronous
async def test_an_answer_that_was_lost_is_no_second_charge() -> None:
    """
    The step was committed and nobody told the agent: the next run goes on behind it.
    """
    done: list[str] = []
    async with testing.served() as kit, kit.connect() as first, kit.connect() as second:
        fault = kit.lose_answer(applied=True, kind="commit_step", agent_id=AGENT)
        with pytest.raises(OutcomeUnknown) as unknown:
            await work(first, ITEMS, done.append)
        [step] = fault.met
        await kit.kill(first)
        await kit.advance(1.0)
        await work(second, ITEMS, done.append)
        found = await charged(second)

    assert not unknown.value.definite
    assert step.agent_id == AGENT
    assert found == done == ITEMS


@asynchronous
async def test_a_step_that_was_lost_on_its_way_is_done_again() -> None:
    """
    It was not committed, so the agent does it again; when it arrives late after all, it is
    refused, for it is of the past.
    """
    done: list[str] = []
    async with testing.served() as kit, kit.connect() as first, kit.connect() as second:
        fault = kit.lose_answer(applied=False, kind="commit_step")
        with pytest.raises(OutcomeUnknown):
            await work(first, ITEMS, done.append)
        await kit.kill(first)
        await kit.advance(1.0)
        await work(second, ITEMS, done.append)
        late = fault.arrive()
        found = await charged(second)

    assert late == ["SESSION_EXPIRED"]
    assert found == ITEMS
    assert done == ["a", *ITEMS]


@asynchronous
async def test_an_owner_that_was_taken_over_is_cancelled() -> None:
    """
    It is told at once, also inside a long wait; the error says to whom it was lost.
    """
    async with testing.served() as kit, kit.connect() as store:

        async def owner() -> None:
            async with store.own(AGENT):
                await asyncio.Event().wait()

        owning = asyncio.create_task(owner())
        await until(lambda: kit.log("acquire_ownership"), "it is owned")
        token = await kit.take_over(AGENT, holder="n2:1234")
        with pytest.raises(OwnershipLost) as lost:
            await owning
        [granted, _] = kit.log("acquire_ownership")
        old = granted.outcome.acquire_ownership.ownership.fence
        assert not await store.check_fence(AGENT, old)
        assert await store.check_fence(AGENT, token)
        await kit.give_back(AGENT)
        async with store.own(AGENT) as agent:
            assert agent.token.revision > token.revision

    assert lost.value.details["current_holder"] == "n2:1234"


@asynchronous
async def test_an_owner_that_nobody_told_is_refused_when_it_writes() -> None:
    """
    Its step changes nothing, and the reason is in the log.
    """
    async with testing.served() as kit, kit.connect(client_name="old") as store:
        with pytest.raises(OwnershipLost) as lost:
            async with store.own(AGENT) as agent:
                await kit.take_over(AGENT, told=False)
                assert not agent.lost
                async with agent.step() as step:
                    step.event("charged", {"item": "a"})
        [refused] = kit.log("commit_step", AGENT)
        found = await charged(store)

    assert (refused.refusal, refused.client) == ("FENCED", "old")
    assert lost.value.definite
    assert found == []


@asynchronous
async def test_a_killed_owner_makes_room_after_its_grace() -> None:
    """
    A connection that broke is noticed: the store does not wait for the whole ttl.
    """
    async with testing.served() as kit, kit.connect() as first, kit.connect() as second:

        async def owner() -> None:
            async with first.own(AGENT, ttl=60.0):
                await asyncio.Event().wait()

        owning = asyncio.create_task(owner())
        await until(lambda: kit.log("acquire_ownership"), "it is owned")
        waiting = asyncio.create_task(work(second, ITEMS, lambda _item: None))
        await kit.kill(first)
        await kit.advance(0.2)
        assert not kit.log("expire_session")
        await kit.advance(0.2)
        await waiting
        owning.cancel()
        await asyncio.wait({owning})
        found = await charged(second)

    assert found == ITEMS
