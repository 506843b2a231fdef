# ruff: noqa: N802  # the names of calls are those of the API
"""Reads that share a stream: how they are batched, and what becomes of them if it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from raftstate.client.options import BATCH_QUERIES
from raftstate.client.queries import IN_FLIGHT
from raftstate.errors import (
    AgentNotFound,
    Closed,
    ClusterMismatch,
    InvalidRequest,
    NoQuorum,
    Overloaded,
    RaftStateError,
)
from raftstate.v1.agent_service_pb2 import Agent, GetAgentResponse
from raftstate.v1.read_service_pb2 import QueryResult, ReadResponse
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
from tests.rpc.harness import Bench


class Reading(Member):
    """A member that takes queries; what it does with each is for a test to say."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []
        self.sizes: list[int] = []
        self.streams = 0
        self.alone = 0
        self.slow = 0.0
        self.answer: Callable[[str], Action] = lambda _agent_id: None

    async def GetAgent(self, request: Any, context: Any) -> GetAgentResponse:
        self.alone += 1
        return await super().GetAgent(request, context)

    async def Read(self, requests: Any, context: Any) -> AsyncIterator[ReadResponse]:
        self.streams += 1
        async for request in requests:
            self.sizes.append(len(request.queries))
            response = ReadResponse()
            for nonce, query in enumerate(request.queries, request.first_nonce):
                agent_id = query.get_agent.agent_id
                self.queries.append(agent_id)
                action = self.answer(agent_id)
                if isinstance(action, Refuse):
                    raw = action.status().SerializeToString()
                    response.results.append(QueryResult(nonce=nonce, error=raw))
                elif action is None:
                    answer = GetAgentResponse(
                        header=self.header(), agent=Agent(agent_id=agent_id)
                    )
                    response.results.append(QueryResult(nonce=nonce, get_agent=answer))
                else:
                    await self.act(action if isinstance(action, Drop) else None, context)
            await asyncio.sleep(self.slow)
            if response.results:
                yield response


def one_of(count: int) -> Any:
    """So many members that take queries."""
    return members(count, kind=Reading)


def only_calls(served: Bench) -> None:
    """From now on count calls, and not what comes in batches."""
    served.server._frontend.observe = lambda *_: None
    served.calls.clear()


@asynchronous
async def test_concurrent_reads_share_batches_and_rounds() -> None:
    """
    Two hundred reads of a turn of the loop are few messages and few rounds, and no calls.
    """
    async with stores(1) as (served, (store,)):
        await store.keys.put("k", "v")
        await store.keys.get("k")
        only_calls(served)
        rounds = served.fake.read_points
        found = await asyncio.gather(*(store.keys.get("k") for _ in range(200)))
        rounds = served.fake.read_points - rounds

    assert {one.value for one in found if one is not None} == {b"v"}
    assert len(found) == 200
    assert rounds <= 3
    assert {name for name, _ in served.calls if "Service/Get" in name} == set()


@asynchronous
async def test_a_batch_is_bounded_and_so_is_what_is_on_its_way() -> None:
    """
    The rest waits in the client, and goes when there are answers.
    """
    async with one_of(1) as (member,), store_of(member, attempt=9.0) as store:
        held: asyncio.Event = asyncio.Event()
        member.answer = lambda _: None if held.is_set() else Silence()
        tasks = {
            f"a{n}": asyncio.create_task(store.get_agent(f"a{n}"))
            for n in range(IN_FLIGHT + 500)
        }
        await until(lambda: len(member.queries) == IN_FLIGHT, "as many are asked as may be")
        await asyncio.sleep(0.05)
        assert len(member.queries) == IN_FLIGHT
        assert max(member.sizes) == BATCH_QUERIES
        held.set()
        for name in member.queries:
            tasks.pop(name).cancel()
        await asyncio.wait(tasks.values(), timeout=5.0)

    assert [one.result().agent_id for one in tasks.values()] == list(tasks)
    assert len(tasks) == 500


@asynchronous
async def test_an_agent_that_is_read_much_holds_up_no_other() -> None:
    """
    Of what waits, each agent's has its turn.
    """
    async with one_of(1) as (member,), store_of(member) as store:
        await store.get_agent("first")
        many = [store.get_agent("many") for _ in range(3_000)]
        await asyncio.gather(*many, store.get_agent("few"))

    assert member.queries.index("few") <= 2


@asynchronous
async def test_a_read_fails_alone() -> None:
    """
    With the error of its own call, at once; others of its batch are answered.
    """
    async with one_of(1) as (member,), store_of(member) as store:
        missing = Refuse("AGENT_NOT_FOUND", grpc.StatusCode.NOT_FOUND)
        member.answer = lambda agent_id: missing if agent_id == "b" else None
        found = await asyncio.gather(
            *(store.get_agent(name) for name in "abc"), return_exceptions=True
        )

    assert [type(one) for one in found] == [Agent, AgentNotFound, Agent]
    assert member.streams == 1
    assert member.alone == 0


@asynchronous
async def test_a_leader_that_is_named_is_asked() -> None:
    """
    All of a batch follow the hint, once each.
    """
    async with one_of(2) as (first, second), store_of(first, second) as store:
        first.answer = lambda _: not_leader(second.address)
        await asyncio.gather(*(store.get_agent(f"a{n}") for n in range(20)))

    assert len(first.queries) == len(second.queries) == 20


@pytest.mark.parametrize("failure", [Drop(), UNKNOWN, not_leader()])
@asynchronous
async def test_a_read_is_asked_again_elsewhere(failure: Action) -> None:
    """
    When the stream breaks, or a member cannot answer.
    """
    async with one_of(2) as (first, second), store_of(first, second) as store:
        first.answer = lambda _: failure
        found = await asyncio.gather(*(store.get_agent(f"a{n}") for n in range(20)))

    assert [one.agent_id for one in found] == [f"a{n}" for n in range(20)]
    assert len(second.queries) == 20


@asynchronous
async def test_a_silent_stream_is_left() -> None:
    """
    A member that says nothing is left for another one; and when it is asked again, on
    another stream.
    """
    async with one_of(2) as (first, second), store_of(first, second, attempt=QUICK_S) as store:
        first.answer = second.answer = lambda _: Silence()
        with pytest.raises(NoQuorum) as caught:
            await store.get_agent("a", timeout=4 * QUICK_S)
        first.answer = second.answer = lambda _: None
        await store.get_agent("b")

    assert caught.value.definite
    assert first.streams + second.streams >= 3


@asynchronous
async def test_a_lively_stream_is_not_left_for_one_read() -> None:
    """
    What is not answered is asked again on the same stream.
    """
    async with one_of(1) as (member,), store_of(member, attempt=QUICK_S) as store:
        lost = iter([Silence()])
        member.answer = lambda agent_id: next(lost, None) if agent_id == "lost" else None
        waits = asyncio.create_task(store.get_agent("lost"))
        while not waits.done():
            await store.get_agent("other")
            await asyncio.sleep(0.01)

    assert member.queries.count("lost") == 2
    assert member.streams == 1


@asynchronous
async def test_who_waits_for_room_is_not_taken_for_unanswered() -> None:
    """
    An attempt's time counts from when a read leaves: each is asked once, at one member.
    """
    count = 3 * IN_FLIGHT
    known = {"attempt": 2.0, "timeout": 15.0}
    async with one_of(2) as (first, second), store_of(first, second, **known) as store:
        await store.get_agent("first")
        first.slow = 0.4
        await asyncio.gather(*(store.get_agent("a") for _ in range(count)))

    assert len(first.queries) == count + 1
    assert second.queries == []


@asynchronous
async def test_who_finds_no_room_in_time_is_told_so() -> None:
    """
    That says nothing against the member, which is asked on.
    """
    async with one_of(2) as (first, second), store_of(first, second, attempt=9.0) as store:
        await store.get_agent("first")
        first.answer = lambda _: Silence()
        many = [
            asyncio.create_task(store.get_agent("a", timeout=5.0)) for _ in range(IN_FLIGHT)
        ]
        await until(lambda: len(first.queries) > IN_FLIGHT, "they are on their way")
        with pytest.raises(Overloaded) as caught:
            await store.get_agent("b", timeout=0.1)
        for one in many:
            one.cancel()
        await asyncio.wait(many)
        first.answer = lambda _: None
        await store.get_agent("c")

    assert caught.value.definite
    assert first.queries[-1] == "c"
    assert second.queries == []


@asynchronous
async def test_one_without_patience_breaks_nothing_off() -> None:
    """
    Who does not wait for as long as the way there takes is alone in not being answered.
    """
    async with one_of(1) as (member,), store_of(member) as store:
        await store.get_agent("first")
        member.slow = 0.3
        patient = asyncio.create_task(store.get_agent("patient"))
        for number in range(5):
            with pytest.raises(NoQuorum):
                await store.get_agent(f"hasty {number}", timeout=0.02)
        await patient

    assert member.queries.count("patient") == 1
    assert member.streams == 1


@asynchronous
async def test_a_deadline_is_kept() -> None:
    """
    Also while nothing is answered, and nothing is asked after it.
    """
    async with one_of(1) as (member,), store_of(member, attempt=9.0) as store:
        member.answer = lambda _: Silence()
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoQuorum):
            await store.get_agent("a", timeout=0.2)
        took = asyncio.get_running_loop().time() - began

    assert 0.1 < took < 2.0
    assert member.queries == ["a"]


@asynchronous
async def test_who_leaves_takes_nobody_along() -> None:
    """
    A caller that is cancelled, before or after its query was sent, is alone in that.
    """
    async with one_of(1) as (member,), store_of(member, attempt=9.0) as store:
        member.answer = lambda agent_id: Silence() if agent_id == "silent" else None
        await store.get_agent("first")
        unsent = asyncio.create_task(store.get_agent("unsent"))
        silent = asyncio.create_task(store.get_agent("silent"))
        other = asyncio.create_task(store.get_agent("other"))
        await asyncio.sleep(0)
        unsent.cancel()
        await until(lambda: "silent" in member.queries, "it was sent")
        silent.cancel()
        await asyncio.wait([unsent, silent])
        assert (await other).agent_id == "other"
        assert (await store.get_agent("last")).agent_id == "last"

    assert member.streams == 1
    assert "unsent" not in member.queries


@asynchronous
async def test_a_member_that_knows_no_queries_is_asked_in_calls() -> None:
    """
    All that had been asked together is asked alone, and nothing is lost.
    """
    async with members(1) as (member,), store_of(member) as store:
        found = await asyncio.gather(*(store.get_agent(f"a{n}") for n in range(20)))
        again = await store.get_agent("b")

    assert [one.agent_id for one in found] == [f"a{n}" for n in range(20)]
    assert again.agent_id == "b"


@asynchronous
async def test_an_answer_from_another_cluster_is_refused() -> None:
    """
    Each caller is told.
    """
    async with one_of(1) as (member,), store_of(member) as store:
        await store.get_agent("a")
        member.cluster_id = "other"
        found = await asyncio.gather(
            *(store.get_agent(f"a{n}") for n in range(3)), return_exceptions=True
        )

    assert [type(one) for one in found] == [ClusterMismatch] * 3


@asynchronous
async def test_closing_answers_everybody() -> None:
    """
    Those whose query was sent, and those whose was not.
    """
    async with one_of(1) as (member,):
        store = store_of(member, attempt=9.0)
        await store.__aenter__()
        member.answer = lambda _: Silence()
        users = [asyncio.create_task(store.get_agent("a")) for _ in range(IN_FLIGHT + 5)]
        await until(lambda: len(member.queries) == IN_FLIGHT, "as many as may be")
        await store.close()
        await asyncio.wait(users)

    assert {type(user.exception()) for user in users} == {Closed}
    assert all(isinstance(one.exception(), RaftStateError) for one in users)


@asynchronous
async def test_a_query_that_would_fill_a_batch_goes_by_itself() -> None:
    """
    And fails by itself.
    """
    async with stores(1) as (served, (store,)):
        only_calls(served)
        with pytest.raises(InvalidRequest) as caught:
            await store.keys.get("k" * 300_000)
        assert ("/raftstate.v1.KvService/Get", "INVALID_ARGUMENT") in served.calls
        assert await store.keys.get("k") is None

    assert caught.value.details["field"] == "key"
