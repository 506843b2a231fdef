"""Batching, and streams that break with mutations in flight."""

import asyncio

import pytest

from raftstate.client.calls import deadline_in
from raftstate.client.session import WINDOW, Session
from raftstate.errors import Closed, OutcomeUnknown, Overloaded
from raftstate.v1.common_pb2 import RequestId
from tests.client.scripted import QUICK_S, Drop, Silence, asynchronous, members, store_of, until


def ids(found: list[RequestId]) -> list[int]:
    return [one.sequence for one in found]


@asynchronous
async def test_concurrent_callers_share_batches() -> None:
    """
    What fifty tasks ask in one turn of the loop leaves in very few messages.
    """
    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("first")
        member.batches.clear()
        await asyncio.gather(*(store.create_agent(f"a{number}") for number in range(50)))

    assert sum(member.batches) == 50
    assert len(member.batches) <= 3
    assert sorted(ids(member.ids)) == list(range(1, 52))


@asynchronous
async def test_a_batch_is_bounded() -> None:
    """
    No batch holds more than 1 MiB, unless a single mutation does; none is lost.
    """
    labels = {"x": "y" * 300_000}
    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("first")
        member.batches.clear()
        await asyncio.gather(
            *(store.create_agent(f"a{number}", labels=labels) for number in range(10))
        )

    assert sum(member.batches) == 10
    assert max(member.batches) == 3


@asynchronous
async def test_a_broken_stream_is_sent_again_under_the_same_ids() -> None:
    """
    Everything in flight on a stream that breaks is retried on the next one, and
    answered, under the ids that it had.
    """
    async with members(2) as (first, second), store_of(first, second) as store:
        await store.create_agent("first")
        first.always = Drop()
        agents = await asyncio.gather(*(store.create_agent(f"a{n}") for n in range(20)))

    assert [agent.agent_id for agent in agents] == [f"a{n}" for n in range(20)]
    assert sorted(ids(second.ids)) == list(range(2, 22))
    assert {one.session_id for one in second.ids} == {first.ids[0].session_id}


@asynchronous
async def test_a_silent_stream_is_left() -> None:
    """
    A member that takes a batch and says nothing is left for another one.
    """
    async with members(2) as (first, second), store_of(first, second, attempt=QUICK_S) as store:
        await store.create_agent("first")
        first.always = Silence()
        await asyncio.gather(*(store.create_agent(f"a{n}") for n in range(5)))

    assert sorted(ids(second.ids)) == [2, 3, 4, 5, 6]


@asynchronous
async def test_one_lost_mutation_does_not_break_a_lively_stream() -> None:
    """
    While others are answered, the stream is good; the lost one is sent again in the end.
    """
    async with members(1) as (member,), store_of(member, attempt=QUICK_S) as store:
        await store.create_agent("first")
        member.script.append(Silence())
        lost = asyncio.create_task(store.create_agent("lost"))
        await until(lambda: len(member.ids) == 2, "it was sent")
        while not lost.done():
            await store.create_agent("other")
            await asyncio.sleep(0.01)

    assert ids(member.ids).count(2) >= 2


@asynchronous
async def test_the_lowest_unfinished_request_is_told() -> None:
    """
    It stays at the oldest request that somebody waits for, and then catches up.
    """
    async with members(1) as (member,), store_of(member, attempt=5.0) as store:
        await store.create_agent("first")
        member.script.append(Silence())
        slow = asyncio.create_task(store.create_agent("slow", timeout=0.5))
        await until(lambda: len(member.ids) == 2, "it was sent")
        for name in "bcd":
            await store.create_agent(name)
        with pytest.raises(OutcomeUnknown):
            await slow
        await store.create_agent("last")

    told = {one.sequence: one.lowest_unfinished for one in member.ids}
    assert told == {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 6}


@asynchronous
async def test_the_window_of_a_session() -> None:
    """
    A full window makes requests wait, and a long one is told to make room in time.
    """
    session = Session("s", 3, 10.0, 0.0)
    oldest = await session.begin(deadline_in(1))
    aged = asyncio.create_task(session.aged(oldest))
    await asyncio.sleep(0)
    for _ in range(WINDOW - 1):
        session.finish(await session.begin(deadline_in(1)))
    await asyncio.wait_for(aged, 1)
    with pytest.raises(Overloaded) as caught:
        await session.begin(deadline_in(0.01))
    waiting = asyncio.create_task(session.begin(deadline_in(5)))
    await asyncio.sleep(0)
    session.finish(oldest)

    assert caught.value.definite
    assert (await waiting).sequence == WINDOW + 1
    assert session.lowest_unfinished == WINDOW + 1


@asynchronous
async def test_closing_answers_everybody() -> None:
    """
    What was in flight is unknown; what is asked afterwards is definitely not done.
    """
    async with members(1) as (member,):
        async with store_of(member, attempt=5.0) as store:
            await store.create_agent("first")
            member.script.append(Silence())
            task = asyncio.create_task(store.create_agent("a"))
            await until(lambda: len(member.ids) == 2, "it was sent")
        with pytest.raises(OutcomeUnknown):
            await task
        with pytest.raises(Closed) as caught:
            await store.create_agent("b")

    assert caught.value.definite
    assert member.asked == ["open", "close"]
    assert member.streams_ended_in_order == 1
