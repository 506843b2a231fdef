"""Batching, and streams that break with mutations in flight."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import raftstate
from raftstate.client import submit
from raftstate.client.calls import deadline_in
from raftstate.client.options import BATCH_MUTATIONS, FLYING_BYTES, FLYING_MUTATIONS
from raftstate.client.session import WINDOW, Session
from raftstate.errors import Closed, OutcomeUnknown, Overloaded, RaftStateError
from raftstate.v1.common_pb2 import RequestId
from tests.client.scripted import (
    QUICK_S,
    UNKNOWN,
    Action,
    Drop,
    Member,
    Refuse,
    Silence,
    asynchronous,
    members,
    not_leader,
    store_of,
    until,
)
from tests.client.test_end_to_end import stores

OVERLOADED = Refuse("OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED)


class Named(Member):
    """A member that notes which agents the mutations are about."""

    def __init__(self) -> None:
        super().__init__()
        self.agents: list[str] = []

    def _note(self, mutation: Any) -> Action:
        self.agents.append(mutation.create_agent.agent_id)
        return super()._note(mutation)


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
async def test_no_more_is_in_flight_than_may_be() -> None:
    """
    What is beyond that was never sent when its deadline passes: it surely did not happen.
    What was sent is unknown.
    """
    more = FLYING_MUTATIONS + 30
    async with members(1) as (member,), store_of(member, attempt=9.0) as store:
        await store.create_agent("first")
        member.always = Silence()
        tasks = [
            asyncio.create_task(store.create_agent(f"a{n}", timeout=1.5)) for n in range(more)
        ]
        await asyncio.wait(tasks)

    found = Counter(type(task.exception()) for task in tasks)
    assert found == {OutcomeUnknown: FLYING_MUTATIONS, Overloaded: 30}
    assert all(isinstance(one.exception(), RaftStateError) for one in tasks)
    assert [one.exception().definite for one in tasks] == [  # type: ignore[union-attr]
        isinstance(one.exception(), Overloaded) for one in tasks
    ]
    assert len(member.ids) == 1 + FLYING_MUTATIONS


@asynchronous
async def test_no_more_bytes_are_in_flight_than_may_be() -> None:
    """
    But one mutation always may.
    """
    labels = {"x": "y" * 300_000}
    fit = FLYING_BYTES // 300_000
    async with members(1) as (member,), store_of(member, attempt=2.0) as store:
        await store.create_agent("first")
        member.script.extend([Silence()] * fit)
        tasks = [
            asyncio.create_task(store.create_agent(f"a{n}", labels=labels, timeout=1.5))
            for n in range(fit + 2)
        ]
        await asyncio.wait(tasks)
        assert len(member.ids) == 1 + fit
        huge = {"x": "y" * 1_500_000}
        await store.create_agent("huge", labels=huge)

    found = Counter(type(task.exception()) for task in tasks)
    assert found == {OutcomeUnknown: fit, Overloaded: 2}


@asynchronous
async def test_an_agent_with_much_to_do_holds_up_no_other() -> None:
    """
    Of ten thousand mutations of one agent no more than a batch comes before one of another
    agent, however many are waiting.
    """
    async with members(1, kind=Named) as (member,), store_of(member, timeout=60.0) as store:
        await store.create_agent("first")
        busy = [asyncio.create_task(store.create_agent("busy")) for _ in range(10_000)]
        await until(lambda: len(member.ids) > 100, "some were sent")
        before = len(member.agents)
        await store.create_agent("other")
        behind = member.agents.index("other") - before
        for task in busy:
            task.cancel()
        await asyncio.wait(busy)

    # A batch, and the turn of the busy one in the batch after it.
    assert behind <= BATCH_MUTATIONS + 1


@asynchronous
async def test_lanes_take_turns_on_the_stream() -> None:
    """
    What agents ask at once leaves in turn: an agent's only one is not behind another's
    hundredth.
    """
    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("first")
        many = [store.create_agent("many") for _ in range(100)]
        few = [store.create_agent(f"few{n}") for n in range(3)]
        await asyncio.gather(*many, *few)

    # Ids are given in the order of asking: the last three are those of the few.
    order = ids(member.ids)[1:]
    assert [order.index(one) for one in (102, 103, 104)] == [1, 2, 3]


@pytest.mark.parametrize("failure", [Drop(), not_leader(), UNKNOWN])
@asynchronous
async def test_an_agents_mutations_keep_their_order(failure: Action) -> None:
    """
    Whatever becomes of the first attempts: on the member that does them they come in the
    order in which they were asked for.
    """
    async with members(2) as (first, second), store_of(first, second) as store:
        await store.create_agent("first")
        lanes = store._engine.submitter._lanes
        if failure is UNKNOWN:
            first.script.extend([failure] * 30)
        else:
            first.always = failure
        early = [asyncio.create_task(store.create_agent("a")) for _ in range(30)]
        await until(lambda: len(first.ids) > 1 and lanes, "they were sent in vain")
        late = [asyncio.create_task(store.create_agent("a")) for _ in range(30)]
        await asyncio.gather(*early, *late)
        done = first if failure is UNKNOWN else second

    last = {one: place for place, one in enumerate(ids(done.ids))}
    order = sorted(last, key=lambda one: last[one])
    assert [one for one in order if one > 1] == list(range(2, 62))


@asynchronous
async def test_what_comes_back_goes_before_what_waited_behind_it() -> None:
    """
    A mutation that was refused while another of its agent had no room yet.
    """
    labels = {"x": "y" * (FLYING_BYTES // 2 + 1_000)}
    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("first")
        member.script.append(OVERLOADED)
        await asyncio.gather(*(store.create_agent("a", labels=labels) for _ in range(3)))

    assert ids(member.ids) == [1, 2, 2, 3, 4]


@asynchronous
async def test_who_waits_before_it_tries_again_is_not_overtaken() -> None:
    """
    By its own agent's; another agent's does not wait for it. And it does wait.
    """
    async with members(1, kind=Named) as (member,), store_of(member) as store:
        await store.create_agent("first")
        member.always = OVERLOADED
        early = asyncio.create_task(store.create_agent("a"))
        await asyncio.sleep(0.5)
        lanes = store._engine.submitter._lanes
        await until(lambda: lanes, "it waits before it tries again")
        tried = len(member.ids) - 1
        member.always = None
        pause = next(iter(lanes.heads())).not_before
        late = asyncio.create_task(store.create_agent("a"))
        await store.create_agent("b")
        now = asyncio.get_running_loop().time()
        in_time = now < pause
        await asyncio.gather(early, late)

    assert 3 <= tried <= 40
    order = ids(member.ids)[1 + tried :]
    # The third was asked for last: by a task that had yet to begin.
    assert order.index(2) < order.index(4)
    assert order.index(3) == 0 or not in_time


@asynchronous
async def test_whose_time_comes_just_after_the_look_is_tried_at_once() -> None:
    """
    The moment passes between the look at who is due and the alarm that is set for it: on
    a busy machine that is no rare thing, and nothing else may ever come to wake the sender.
    """

    def just_missed(pending: Any) -> bool:
        loop = asyncio.get_running_loop()
        if pending.not_before <= loop.time():
            return True
        while loop.time() <= pending.not_before:
            time.sleep(0.001)
        return False

    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("first")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(submit, "_is_due", just_missed)
            member.script += [OVERLOADED] * 5
            await asyncio.wait_for(store.create_agent("a"), 5.0)

    assert ids(member.ids) == [1, 2, 2, 2, 2, 2, 2]


@asynchronous
async def test_a_window_is_shared_by_lanes() -> None:
    """
    Who waits for the window gets a place when its lane's turn comes; one who has gone
    takes none, and leaves its place to others.
    """
    session = Session("s", 3, 10.0, 0.0)
    taken = [await session.begin(deadline_in(1), "a") for _ in range(WINDOW)]
    waiting = [asyncio.create_task(session.begin(deadline_in(9), "a")) for _ in range(50)]
    await asyncio.sleep(0)
    other = asyncio.create_task(session.begin(deadline_in(9), "b"))
    await asyncio.sleep(0)
    for one in taken[:2]:
        session.finish(one)
    waiting[0].cancel()  # it has been given a place, and does not know
    waiting[1].cancel()
    await asyncio.wait([other, waiting[2]])

    assert other.result().sequence in (WINDOW + 1, WINDOW + 2)
    assert waiting[2].result().sequence in (WINDOW + 1, WINDOW + 2)
    assert not waiting[3].done()
    for task in waiting:
        task.cancel()


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


@asynccontextmanager
async def link(endpoint: str, bytes_s: int) -> AsyncIterator[str]:
    """A way to a member on which so many bytes a second go up."""
    host, port = endpoint.rsplit(":", 1)
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_s: int
    ) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while data := await reader.read(8_192):
                await asyncio.sleep(len(data) / bytes_s if bytes_s else 0.0)
                writer.write(data)
                await writer.drain()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port), limit=16_384)
        tasks.add(asyncio.create_task(pipe(reader, back, bytes_s)))
        tasks.add(asyncio.create_task(pipe(there, writer, 0)))

    server = await asyncio.start_server(join, "127.0.0.1", 0, limit=16_384)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@asynchronous
@pytest.mark.parametrize("bytes_s", [700_000, 300_000])
async def test_what_is_large_goes_over_a_slow_link(bytes_s: int) -> None:
    """
    It takes longer than the patience with one attempt, and is not sent anew all the time.
    """
    async with (
        stores(1) as (served, _),
        link(f"127.0.0.1:{served.port}", bytes_s) as endpoint,
        raftstate.connect(endpoint, timeout=30.0) as store,
    ):
        await store.keys.put("small", b"")
        await store.keys.put("large", bytes(1_000_000))
