# ruff: noqa: N802  # the names of calls are those of the API
"""Finding the leader, and going on when it is gone."""

import asyncio
import socket
import time
from collections import deque
from typing import Any

import pytest

from raftstate.client.options import Options, parse_endpoints
from raftstate.client.routing import Peer, Router
from raftstate.errors import (
    AgentExists,
    ClusterMismatch,
    InvalidRequest,
    NoQuorum,
    NotLeader,
)
from raftstate.v1.agent_service_pb2 import Agent, ListAgentsResponse
from raftstate.v1.event_service_pb2 import Event
from tests.client.scripted import (
    Drop,
    Member,
    Refuse,
    Silence,
    asynchronous,
    members,
    not_leader,
    store_of,
)


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynchronous
async def test_a_hint_is_followed() -> None:
    """
    A member that names the leader is asked once; everything after goes to the leader.
    """
    async with members(2) as (follower, leader):
        follower.office = not_leader(leader.address)
        async with store_of(follower) as store:
            await store.create_agent("a")
            await store.create_agent("b")

    assert len(leader.ids) == 2
    assert follower.ids == []  # the session was opened first, and found the way
    assert follower.asked == ["open"]


@asynchronous
async def test_without_a_hint_the_next_endpoint_is_asked() -> None:
    """
    Members that know nothing are left for the next one, round and round.
    """
    async with members(3) as (first, second, third):
        first.office = second.office = not_leader()
        async with store_of(first, second, third) as store:
            await store.create_agent("a")

    assert len(third.ids) == 1


@asynchronous
async def test_a_dead_member_costs_nothing() -> None:
    """
    A connection that is refused is a definite failure, at once left for the next member.
    """
    nobody = (closed_port(), closed_port())
    async with members(1) as (leader,), store_of(*nobody, leader, timeout=2.0) as store:
        await store.create_agent("a")

    assert len(leader.ids) == 1


@asynchronous
async def test_a_hint_to_nowhere_is_survived() -> None:
    """
    If the named leader cannot be reached, the endpoints are asked again.
    """
    async with members(2) as (lost, leader):
        lost.office = not_leader(closed_port())
        async with store_of(lost, leader) as store:
            await store.create_agent("a")

    assert len(leader.ids) == 1


@asynchronous
async def test_a_leader_that_steps_down_is_left_in_the_middle() -> None:
    """
    A mutation refused by a deposed leader is sent to the new one under the same id.
    """
    async with members(2) as (old, new), store_of(old, new) as store:
        await store.create_agent("a")
        old.always = not_leader(new.address)
        await store.create_agent("b")

    assert [one.sequence for one in new.ids] == [2]
    assert [one.sequence for one in old.ids] == [1, 2]


@asynchronous
async def test_nobody_leads_until_the_deadline() -> None:
    """
    Attempts that were all definite make a definite error.
    """
    async with members(1) as (follower,), store_of(follower) as store:
        await store.create_agent("a")
        follower.office = not_leader()
        with pytest.raises(NotLeader) as caught:
            await store.create_agent("b", timeout=0.3)

    assert caught.value.definite
    assert len({one.sequence for one in follower.ids[1:]}) == 1
    assert len(follower.ids) > 3


@asynchronous
async def test_many_wait_for_a_member_that_is_not_there() -> None:
    """
    Each of them is told that it cannot be reached, also if another has begun to try again.

    Method: several tasks wait for one connection that fails, and try again at once.
    """
    peer = Peer(closed_port(), Options(("h:1",)))

    async def try_twice() -> None:
        for _ in range(2):
            with pytest.raises(NoQuorum, match="cannot connect"):
                await peer.ready(5.0)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(try_twice())
    await peer.close()


@asynchronous
async def test_nobody_is_there() -> None:
    """
    A cluster that cannot be reached is NoQuorum: definite, and retryable.
    """
    async with store_of(closed_port()) as store:
        with pytest.raises(NoQuorum, match="cannot connect") as caught:
            await store.create_agent("a", timeout=0.3)

    assert caught.value.definite
    assert caught.value.retryable


@asynchronous
async def test_refusals_are_not_retried() -> None:
    """
    What the log decided is the answer: one attempt, with the server's details.
    """
    async with members(1) as (leader,):
        leader.script.append(Refuse("AGENT_EXISTS", metadata={"revision": "7"}))
        async with store_of(leader) as store:
            with pytest.raises(AgentExists) as caught:
                await store.create_agent("a")

    assert caught.value.definite
    assert caught.value.details == {"revision": "7"}
    assert len(leader.ids) == 1


@asynchronous
async def test_who_refuses_is_asked_next_too() -> None:
    """
    A leader that refuses leads still: nothing that comes next is taken to another member.
    """
    async with members(2) as (leader, other):
        other.always = other.office = not_leader(leader.address)
        leader.script.append(Refuse("CONFLICT"))
        async with store_of(leader, other) as store:
            await store.remove_member("n9")

    assert leader.asked == ["remove n9"] * 2
    assert other.asked == []


@asynchronous
async def test_another_cluster_is_refused() -> None:
    """
    An answer from a cluster with another id is an error, and not a definite one.
    """
    async with members(2) as (ours, theirs):
        theirs.cluster_id = "other"
        async with store_of(ours, theirs) as store:
            await store.create_agent("a")
            ours.office = not_leader(theirs.address)
            with pytest.raises(ClusterMismatch, match="other") as caught:
                await store.create_agent("b")

    assert not caught.value.definite


@asynchronous
async def test_an_older_epoch_is_refused() -> None:
    """
    A higher epoch is accepted, and from then on nothing below it.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.epoch = 2
        await store.status()
        member.epoch = 1
        with pytest.raises(ClusterMismatch, match="epoch 1"):
            await store.status()


@asynchronous
async def test_a_broken_read_goes_on_without_a_gap() -> None:
    """
    A reading stream that breaks is continued after the last event that came.
    """
    async with members(2) as (first, second):
        for member in (first, second):
            member.events = [Event(seq=seq) for seq in range(1, 6)]
        first.break_reads_after = 2
        async with store_of(first, second) as store:
            found = [event.seq async for event in store.read_events("a")]

    assert found == [1, 2, 3, 4, 5]
    assert second.asked == ["read from 3"]


@asynchronous
async def test_a_reading_stream_keeps_its_deadline() -> None:
    """
    However long a member may otherwise be silent.
    """
    async with members(1) as (one,), store_of(one) as store:
        one.office = Silence()
        began = time.monotonic()
        with pytest.raises(NoQuorum) as caught:
            await anext(store.read_events("a", timeout=0.2))
        took = time.monotonic() - began

    assert caught.value.definite
    assert took < 1.5


class Lister(Member):
    """A member that lists agents, one a page, and then breaks if it is told to."""

    async def ListAgents(self, request: Any, context: Any) -> ListAgentsResponse:
        await self.act(self.next_action(), context)
        agent = Agent(agent_id=self.address)
        token = "" if request.page_token else "more"
        return ListAgentsResponse(header=self.header(), agents=[agent], next_page_token=token)


@asynchronous
async def test_who_has_a_page_is_not_taken_for_the_leader() -> None:
    """
    Any member has the revision that a list goes on with; only of its first page is it said
    that it comes from a leader.
    """
    async with members(2, kind=Lister) as (one, other), store_of(one, other) as store:
        one.script = deque([None, Drop()])
        pages = [agent.agent_id async for agent in store.list_agents()]
        leader = store._engine.router.leader

    assert pages == [one.address, other.address]
    assert leader == one.address


@asynchronous
async def test_status_asks_the_member_that_is_named() -> None:
    """
    `status(endpoint)` asks that member only; it need not lead, nor be an endpoint.
    """
    async with members(2) as (first, second):
        second.office = not_leader()
        async with store_of(first) as store:
            status = await store.status(second.address)
            with pytest.raises(NoQuorum):
                await store.status(closed_port(), timeout=0.2)

    assert status.header.member_id == second.address


@pytest.mark.parametrize("given", ["", " , ", "host", "host:", ":1", "h:0", "h:65536", "h:x"])
def test_endpoints_that_make_no_sense(given: str) -> None:
    """
    What is not host:port is refused, by a message that names it.
    """
    with pytest.raises(InvalidRequest, match="endpoint"):
        parse_endpoints(given)


def test_endpoints_in_any_form() -> None:
    """
    A string with commas or a list; doubles are dropped, the order stays.
    """
    assert parse_endpoints("b:2, a:1,b:2") == ("b:2", "a:1")
    assert parse_endpoints(["[::1]:7"]) == ("[::1]:7",)


@asynchronous
async def test_a_leader_that_failed_is_nowhere_to_go() -> None:
    """
    Who waits in line at another member stays there while the leader of old is only
    remembered, and leaves once somebody answers as leader.
    """
    router = Router(Options(endpoints=parse_endpoints("a:1,b:1,c:1")))
    router.confirm("a:1")
    router.follow("a:1", NoQuorum("it has stopped", definite=True))

    moved = asyncio.create_task(router.moved_from("b:1"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asyncio.shield(moved)
    router.confirm("a:1")  # it leads again

    async with asyncio.timeout(5):
        await moved
    await router.close()
