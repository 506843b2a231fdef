"""Every call of the API once, on its happy path, against the real machine.

The table is complete: a call that is added to the API and not to the table fails
`test_the_table_has_every_call`.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from raftstate.core import limits
from raftstate.core.ports import ChangeKind, MemberChange
from raftstate.core.types import MemberId
from raftstate.rpc.server import service_names
from raftstate.v1 import agent_service_pb2
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    CheckFenceRequest,
    CreateAgentRequest,
    FenceQuery,
    GetAgentRequest,
    HaltAgentRequest,
    Lifecycle,
    ListAgentsRequest,
    ReleaseOwnershipRequest,
    RenewOwnershipRequest,
    ResumeAgentRequest,
    RetireAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    NewCheckpoint,
)
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    GetLimitsRequest,
    ListMembersRequest,
    PromoteMemberRequest,
    RemoveMemberRequest,
    Role,
    StatusRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import Consistency, FencingToken, Label
from raftstate.v1.event_service_pb2 import (
    NewEvent,
)
from raftstate.v1.read_service_pb2 import Query, ReadRequest
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from tests.rpc import (
    stories_of_breakers,
    stories_of_checkpoints,
    stories_of_effects,
    stories_of_events,
    stories_of_keys,
)
from tests.rpc.fake import EPOCH
from tests.rpc.harness import Bench, bench, decode, rest_of, services
from tests.rpc.stories_of_keys import Story


async def create(b: Bench, agent_id: str = "a") -> None:
    await b.agents.CreateAgent(CreateAgentRequest(request_id=b.request_id(), agent_id=agent_id))


async def step(b: Bench, fence: FencingToken, data: bytes = b"") -> None:
    """One step of agent `a` with two events, and a checkpoint of `data`."""
    await b.steps.CommitStep(
        CommitStepRequest(
            request_id=b.request_id(),
            agent_id="a",
            fence=fence,
            events=[NewEvent(type="one"), NewEvent(type="two", data=b"2")],
            checkpoint=NewCheckpoint(data=data) if data else None,
        )
    )


# --- sessions ------------------------------------------------------------------------


async def open_session(b: Bench) -> None:
    request = OpenSessionRequest(session_id="x", ttl_ms=2_000, client="me")
    response = await b.sessions.OpenSession(request)
    assert response.session.ttl_ms == 2_000
    assert response.session.opened_revision == response.header.revision
    assert response.header.cluster_id == "test"
    assert response.header.cluster_epoch == EPOCH
    assert response.header.member_id == "n1"
    assert response.header.term == 3


async def keep_alive(b: Bench) -> None:
    call = b.sessions.KeepAlive()
    for nonce in (5, 6):
        await call.write(KeepAliveRequest(session_id="s1", nonce=nonce))
        response = await call.read()
        assert response.nonce == nonce
        assert response.ttl_ms == 10_000
        assert response.header.revision == b.fake.machine.revision
    await call.done_writing()
    assert await rest_of(call) == []
    assert b.fake.broken == []


async def close_session(b: Bench) -> None:
    response = await b.sessions.CloseSession(CloseSessionRequest(session_id="s1"))
    assert response.header.revision == b.fake.machine.revision
    listed = await b.sessions.ListSessions(ListSessionsRequest())
    assert list(listed.sessions) == []


async def list_sessions(b: Bench) -> None:
    for name in ("s2", "s3"):
        await b.sessions.OpenSession(OpenSessionRequest(session_id=name))
    page = await b.sessions.ListSessions(ListSessionsRequest(page_size=2))
    assert [one.session_id for one in page.sessions] == ["s1", "s2"]
    rest = await b.sessions.ListSessions(
        ListSessionsRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [one.session_id for one in rest.sessions] == ["s3"]
    assert rest.next_page_token == ""


# --- agents --------------------------------------------------------------------------


async def create_agent(b: Bench) -> None:
    request = CreateAgentRequest(
        request_id=b.request_id(), agent_id="a/b", labels=[Label(name="k", value="v")]
    )
    response = await b.agents.CreateAgent(request)
    assert response.agent.labels[0].value == "v"
    assert response.agent.lifecycle == Lifecycle.LIFECYCLE_IDLE
    again = await b.agents.CreateAgent(request)
    assert again.agent == response.agent
    assert again.header.revision == response.header.revision


async def get_agent(b: Bench) -> None:
    await create(b)
    rounds = b.fake.read_points
    response = await b.agents.GetAgent(GetAgentRequest(agent_id="a"))
    assert response.agent.agent_id == "a"
    assert response.header.revision == b.fake.machine.revision
    assert response.header.raft_index == b.fake.machine.applied.index
    assert b.fake.read_points == rounds + 1
    stale = GetAgentRequest(agent_id="a", consistency=Consistency.CONSISTENCY_STALE)
    assert (await b.agents.GetAgent(stale)).agent == response.agent
    assert b.fake.read_points == rounds + 1


async def update_agent(b: Bench) -> None:
    await create(b)
    request = UpdateAgentRequest(
        request_id=b.request_id(), agent_id="a", labels=[Label(name="n")]
    )
    response = await b.agents.UpdateAgent(request)
    assert [label.name for label in response.agent.labels] == ["n"]


async def list_agents(b: Bench) -> None:
    for name in ("a/1", "a/2", "a/3", "b"):
        await create(b, name)
    found, token = [], ""
    while True:
        request = ListAgentsRequest(prefix="a/", page_size=2, page_token=token)
        page = await b.agents.ListAgents(request)
        found += [agent.agent_id for agent in page.agents]
        token = page.next_page_token
        if not token:
            break
    assert found == ["a/1", "a/2", "a/3"]


async def retire_agent(b: Bench) -> None:
    await create(b)
    request = RetireAgentRequest(request_id=b.request_id(), agent_id="a")
    response = await b.agents.RetireAgent(request)
    assert response.agent.lifecycle == Lifecycle.LIFECYCLE_RETIRED


async def acquire_ownership(b: Bench) -> None:
    fence = await b.own("a")
    await step(b, fence, data=b"state")
    await step(b, fence)
    request = AcquireOwnershipRequest(
        request_id=b.request_id(), agent_id="a", mode=agent_service_pb2.ACQUIRE_MODE_FORCE
    )
    response = await b.agents.AcquireOwnership(request)
    assert response.ownership.fence.revision == response.header.revision > fence.revision
    assert response.ownership.ttl_ms == 5_000
    assert response.bundle.agent.head.step == 2
    assert response.bundle.checkpoint.data == b"state"
    assert [event.seq for event in response.bundle.events] == [3, 4]
    assert not response.bundle.more_events


async def renew_ownership(b: Bench) -> None:
    fence = await b.own("a")
    call = b.agents.RenewOwnership()
    await call.write(RenewOwnershipRequest(agent_id="a", fence=fence, nonce=1))
    kept = await call.read()
    assert (kept.agent_id, kept.nonce, kept.held, kept.ttl_ms) == ("a", 1, True, 5_000)
    await b.agents.ReleaseOwnership(
        ReleaseOwnershipRequest(request_id=b.request_id(), agent_id="a", fence=fence)
    )
    await call.write(RenewOwnershipRequest(agent_id="a", fence=fence, nonce=2))
    lost = await call.read()
    assert (lost.nonce, lost.held, lost.ttl_ms) == (2, False, 0)
    await call.done_writing()
    assert await rest_of(call) == []


async def release_ownership(b: Bench) -> None:
    fence = await b.own("a")
    request = ReleaseOwnershipRequest(request_id=b.request_id(), agent_id="a", fence=fence)
    response = await b.agents.ReleaseOwnership(request)
    assert response.header.revision > fence.revision
    found = await b.agents.GetAgent(GetAgentRequest(agent_id="a"))
    assert not found.agent.HasField("owner")


async def halt_agent(b: Bench) -> None:
    await create(b)
    request = HaltAgentRequest(request_id=b.request_id(), agent_id="a", reason="lunch")
    response = await b.agents.HaltAgent(request)
    assert response.agent.lifecycle == Lifecycle.LIFECYCLE_HALTED


async def resume_agent(b: Bench) -> None:
    await halt_agent(b)
    request = ResumeAgentRequest(request_id=b.request_id(), agent_id="a")
    response = await b.agents.ResumeAgent(request)
    assert response.agent.lifecycle == Lifecycle.LIFECYCLE_IDLE


async def check_fence(b: Bench) -> None:
    fence = await b.own("a")
    older = FencingToken(epoch=fence.epoch, revision=fence.revision - 1)
    request = CheckFenceRequest(
        fences=[
            FenceQuery(agent_id="a", fence=fence),
            FenceQuery(agent_id="a", fence=older),
            FenceQuery(agent_id="nobody", fence=fence),
        ]
    )
    response = await b.agents.CheckFence(request)
    assert list(response.current) == [True, False, False]


# --- steps ---------------------------------------------------------------------------


async def commit_step(b: Bench) -> None:
    fence = await b.own("a")
    request = CommitStepRequest(
        request_id=b.request_id(),
        agent_id="a",
        fence=fence,
        expected_step=0,
        events=[NewEvent(type="done", data=b"x")],
    )
    response = await b.steps.CommitStep(request)
    assert (response.head.step, response.head.event_seq) == (1, 1)
    assert response.first_position == 1
    assert response.header.revision == b.fake.machine.revision


async def submit(b: Bench) -> None:
    acquire = AcquireOwnershipRequest(request_id=b.request_id(), agent_id="a", create=True)
    call = b.steps.Submit()
    await call.write(
        SubmitRequest(first_nonce=9, mutations=[Mutation(acquire_ownership=acquire)])
    )
    (granted,) = (await call.read()).results
    assert granted.nonce == 9
    assert granted.acquire_ownership.bundle.agent.agent_id == "a"
    fence = granted.acquire_ownership.ownership.fence
    steps = [
        CommitStepRequest(request_id=b.request_id(), agent_id="a", fence=fence)
        for _ in range(3)
    ]
    mutations = [Mutation(commit_step=one) for one in steps]
    await call.write(SubmitRequest(first_nonce=10, mutations=mutations))
    await call.done_writing()
    results = [result for response in await rest_of(call) for result in response.results]
    assert [(one.nonce, one.commit_step.head.step) for one in results] == [
        (10, 1),
        (11, 2),
        (12, 3),
    ]
    assert all(one.commit_step.header.member_id == "n1" for one in results)


# --- reads together ------------------------------------------------------------------


async def read(b: Bench) -> None:
    await create(b)
    rounds = b.fake.read_points
    call = b.reads.Read()
    queries = [
        Query(get_agent=GetAgentRequest(agent_id="a")),
        Query(get_agent=GetAgentRequest(agent_id="nobody")),
        Query(get_limits=GetLimitsRequest()),
        Query(list_agents=ListAgentsRequest()),
    ]
    await call.write(ReadRequest(first_nonce=7, queries=queries))
    await call.done_writing()
    found = {
        result.nonce: result for response in await rest_of(call) for result in response.results
    }
    assert sorted(found) == [7, 8, 9, 10]
    assert found[7].get_agent == await b.agents.GetAgent(GetAgentRequest(agent_id="a"))
    assert decode(found[8].error).reason == "AGENT_NOT_FOUND"
    assert found[9].get_limits.limits
    assert [one.agent_id for one in found[10].list_agents.agents] == ["a"]
    assert b.fake.read_points == rounds + 2, "one for the batch, and one for the other call"


# --- the cluster ---------------------------------------------------------------------


async def status(b: Bench) -> None:
    response = await b.cluster.Status(StatusRequest())
    assert response.role == Role.ROLE_LEADER
    assert (response.leader_id, response.leader_address) == ("n1", "127.0.0.1:7411")
    assert [one.member_id for one in response.members] == ["n1", "n2"]
    assert response.members[1].raft_address == "127.0.0.1:7512"
    assert response.members[1].connected
    assert response.alarms[0].name == "PEER_REFUSED"
    assert response.state_hash == b.fake.machine.state_hash
    assert response.version
    assert abs(response.wall_time_ms / 1_000 - time.time()) < 60
    b.fake.found()
    assert (await b.cluster.Status(StatusRequest())).leader_address == "n1:2"
    b.fake.depose(None)
    alone = await b.cluster.Status(StatusRequest())
    assert (alone.role, alone.leader_id) == (Role.ROLE_FOLLOWER, "")


async def get_limits(b: Bench) -> None:
    response = await b.cluster.GetLimits(GetLimitsRequest())
    assert response.header.member_id == "n1"
    assert {limit.name: limit.value for limit in response.limits} == limits.TOLD


async def add_member(b: Bench) -> None:
    b.fake.found()
    request = AddMemberRequest(
        member_id="n3", raft_address="10.0.0.3:1", client_address="[::1]:2"
    )
    response = await b.cluster.AddMember(request)
    assert [(one.member_id, one.learner) for one in response.members] == [
        ("n1", False),
        ("n2", False),
        ("n3", True),
    ]
    assert response.members[2].raft_address == "10.0.0.3:1"
    assert response.header.raft_index == 5
    assert b.fake.changes == [
        MemberChange(ChangeKind.ADD, MemberId("n3"), "10.0.0.3:1", "[::1]:2")
    ]


async def list_members(b: Bench) -> None:
    before = await b.cluster.ListMembers(ListMembersRequest())
    assert [one.client_address for one in before.members] == [
        "127.0.0.1:7411",
        "127.0.0.1:7412",
    ]
    assert before.configuration_index == 0
    await add_member(b)
    rounds = b.fake.read_points
    listed = await b.cluster.ListMembers(ListMembersRequest())
    assert [one.client_address for one in listed.members] == ["n1:2", "n2:2", "[::1]:2"]
    assert [one.connected for one in listed.members] == [True, True, False]
    assert listed.configuration_index == 5
    assert b.fake.read_points == rounds + 1
    stale = ListMembersRequest(consistency=Consistency.CONSISTENCY_STALE)
    assert (await b.cluster.ListMembers(stale)).members == listed.members
    assert b.fake.read_points == rounds + 1


async def promote_member(b: Bench) -> None:
    await add_member(b)
    response = await b.cluster.PromoteMember(PromoteMemberRequest(member_id="n3"))
    assert [one.learner for one in response.members] == [False, False, False]
    assert b.fake.changes[1] == MemberChange(ChangeKind.PROMOTE, MemberId("n3"))


async def remove_member(b: Bench) -> None:
    await add_member(b)
    response = await b.cluster.RemoveMember(RemoveMemberRequest(member_id="n1"))
    assert [one.member_id for one in response.members] == ["n2", "n3"]
    assert b.fake.changes[1] == MemberChange(ChangeKind.REMOVE, MemberId("n1"))


async def transfer_leadership(b: Bench) -> None:
    named = await b.cluster.TransferLeadership(TransferLeadershipRequest(to_member_id="n9"))
    most_advanced = await b.cluster.TransferLeadership(TransferLeadershipRequest())
    assert (named.leader_id, most_advanced.leader_id) == ("n9", "n2")
    assert b.fake.transfers == ["n9", None]


STORIES: dict[str, Story] = {
    "SessionService.OpenSession": open_session,
    "SessionService.KeepAlive": keep_alive,
    "SessionService.CloseSession": close_session,
    "SessionService.ListSessions": list_sessions,
    "AgentService.CreateAgent": create_agent,
    "AgentService.GetAgent": get_agent,
    "AgentService.UpdateAgent": update_agent,
    "AgentService.ListAgents": list_agents,
    "AgentService.RetireAgent": retire_agent,
    "AgentService.AcquireOwnership": acquire_ownership,
    "AgentService.RenewOwnership": renew_ownership,
    "AgentService.ReleaseOwnership": release_ownership,
    "AgentService.HaltAgent": halt_agent,
    "AgentService.ResumeAgent": resume_agent,
    "AgentService.CheckFence": check_fence,
    "StepService.CommitStep": commit_step,
    "StepService.Submit": submit,
    "ReadService.Read": read,
    "ClusterService.Status": status,
    "ClusterService.GetLimits": get_limits,
    "ClusterService.ListMembers": list_members,
    "ClusterService.AddMember": add_member,
    "ClusterService.PromoteMember": promote_member,
    "ClusterService.RemoveMember": remove_member,
    "ClusterService.TransferLeadership": transfer_leadership,
    **stories_of_checkpoints.STORIES,
    **stories_of_events.STORIES,
    **stories_of_keys.STORIES,
    **stories_of_effects.STORIES,
    **stories_of_breakers.STORIES,
}


@pytest.mark.parametrize("name", STORIES)
def test_the_happy_path(name: str) -> None:
    """
    The call does what its service says, and is counted as OK.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await STORIES[name](b)
            assert (f"/raftstate.v1.{name.replace('.', '/')}", "OK") in b.calls

    asyncio.run(tell())


def test_the_table_has_every_call() -> None:
    """
    Every call in the API's descriptors has a story, and every service is served.
    """
    calls = {
        f"{service.name}.{method.name}" for service in services() for method in service.methods
    }
    assert calls == set(STORIES)
    assert {service.full_name for service in services()} == set(service_names())
