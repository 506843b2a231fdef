"""Changes of membership that are refused, hints that lead to new members, and quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from raftstate.core.ports import ChangeRefused
from raftstate.rpc.errors import Failure
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    CreateAgentRequest,
    GetAgentRequest,
)
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    ListMembersRequest,
    PromoteMemberRequest,
    RemoveMemberRequest,
    StatusRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.event_service_pb2 import ReadAllRequest
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.step_service_pb2 import Mutation, SubmitRequest
from tests.rpc.harness import Bench, Refused, bench, decode, refused

Call = Callable[[Bench], Awaitable[Any]]

ADD = AddMemberRequest(member_id="n3", raft_address="n3:1", client_address="n3:2")
STALE = Consistency.CONSISTENCY_STALE


def told(call: Call, prepare: Callable[[Bench], None] = lambda _: None) -> Refused:
    """What a client is told when it makes this call of a cluster of two."""

    async def ask() -> Refused:
        async with bench() as b:
            await b.open()
            b.fake.found()
            prepare(b)
            return await refused(call(b))

    return asyncio.run(ask())


REFUSALS = {
    "CONFLICT": ("ABORTED", lambda b: b.cluster.AddMember(ADD)),
    "NOT_CAUGHT_UP": (
        "FAILED_PRECONDITION",
        lambda b: b.cluster.PromoteMember(PromoteMemberRequest(member_id="n3")),
    ),
    "UNHEALTHY": (
        "FAILED_PRECONDITION",
        lambda b: b.cluster.RemoveMember(RemoveMemberRequest(member_id="n3")),
    ),
    "NOT_FOUND": (
        "NOT_FOUND",
        lambda b: b.cluster.TransferLeadership(TransferLeadershipRequest(to_member_id="n3")),
    ),
    "LAST_VOTER": (
        "FAILED_PRECONDITION",
        lambda b: b.cluster.RemoveMember(RemoveMemberRequest(member_id="n3")),
    ),
    "TOO_MANY": ("RESOURCE_EXHAUSTED", lambda b: b.cluster.AddMember(ADD)),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_change_that_is_refused_did_not_happen(reason: str) -> None:
    """
    Each reason has its code, names the member, and is definite.
    """
    code, call = REFUSALS[reason]

    def refusing(b: Bench) -> None:
        b.fake.refusing = ChangeRefused(reason, "because")

    answer = told(call, refusing)

    assert (answer.code, answer.reason, answer.definite) == (code, reason, True)
    assert (answer.message, answer.metadata["subject"]) == ("because", "n3")


def test_a_change_whose_outcome_is_unknown_says_so() -> None:
    """
    A leader that was deposed meanwhile cannot tell: that is not definite.
    """

    def losing(b: Bench) -> None:
        b.fake.fail("OUTCOME_UNKNOWN", definite=False)

    answer = told(lambda b: b.cluster.AddMember(ADD), losing)

    assert (answer.reason, answer.definite) == ("OUTCOME_UNKNOWN", False)


@pytest.mark.parametrize("name", ["raft_address", "client_address"])
def test_two_members_at_one_address_are_refused(name: str) -> None:
    """
    An address of another member is a slip: nothing is proposed, and the field is named.
    """
    request = AddMemberRequest()
    request.CopyFrom(ADD)
    setattr(request, name, "n2:1" if name == "raft_address" else "n2:2")

    answer = told(lambda b: b.cluster.AddMember(request))

    assert (answer.reason, answer.definite) == ("INVALID_REQUEST", True)
    assert answer.metadata["field"] == name
    assert "member n2" in answer.message


def test_a_hint_names_a_leader_that_joined_later() -> None:
    """
    The address comes from the configuration, not from the file that the node began with.
    """

    def depose(b: Bench) -> None:
        assert b.fake.members is not None
        b.fake.members["n7"] = type(b.fake.members["n1"])(member_id="n7", client_address="n7:2")
        b.fake.depose("n7")

    answer = told(
        lambda b: b.agents.CreateAgent(
            CreateAgentRequest(request_id=b.request_id(), agent_id="a")
        ),
        depose,
    )

    assert answer.metadata["leader_address"] == "n7:2"
    assert "n7 at n7:2 does" in answer.message
    assert answer.metadata["members"] == "n1:2,n2:2,n7:2"


# --- quarantine ----------------------------------------------------------------------


async def submit(b: Bench) -> Any:
    """A mutation on a stream, as if it were a call of its own."""
    call = b.steps.Submit()
    create = CreateAgentRequest(request_id=b.request_id(), agent_id="a")
    await call.write(SubmitRequest(first_nonce=1, mutations=[Mutation(create_agent=create)]))
    (result,) = (await call.read()).results
    call.cancel()
    return decode(result.error)


CALLS: dict[str, Call] = {
    "stale read": lambda b: b.agents.GetAgent(GetAgentRequest(agent_id="a", consistency=STALE)),
    "linearizable read": lambda b: b.agents.GetAgent(GetAgentRequest(agent_id="a")),
    "stale stream": lambda b: b.events.ReadAll(ReadAllRequest(consistency=STALE)).read(),
    "stale members": lambda b: b.cluster.ListMembers(ListMembersRequest(consistency=STALE)),
    "mutation": lambda b: b.agents.CreateAgent(
        CreateAgentRequest(request_id=b.request_id(), agent_id="a")
    ),
    "waiting": lambda b: b.agents.AcquireOwnership(
        AcquireOwnershipRequest(request_id=b.request_id(), agent_id="a", create=True)
    ),
    "session": lambda b: b.sessions.OpenSession(OpenSessionRequest(session_id="x")),
    "change of members": lambda b: b.cluster.AddMember(ADD),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_member_in_quarantine_serves_nobody(name: str) -> None:
    """
    Everything is refused before it is proposed or read, and says who leads.
    """

    def quarantine(b: Bench) -> None:
        b.fake.quarantined = True
        b.fake.leader = type(b.fake.status().member_id)("n2")

    answer = told(CALLS[name], quarantine)

    assert (answer.code, answer.reason) == ("UNAVAILABLE", "QUARANTINED")
    assert answer.definite
    assert answer.metadata["leader_address"] == "n2:2"


def test_a_member_in_quarantine_refuses_what_a_stream_brings() -> None:
    """
    Each mutation of a Submit is answered for itself; nothing is proposed.
    """

    async def ask() -> None:
        async with bench() as b:
            await b.open()
            proposed = len(b.fake.proposed)
            b.fake.quarantined = True
            answer = await submit(b)
            assert (answer.reason, answer.definite) == ("QUARANTINED", True)
            assert len(b.fake.proposed) == proposed

    asyncio.run(ask())


def test_a_grant_whose_bundle_cannot_be_trusted_is_in_doubt() -> None:
    """
    Damage that is found between the grant and the look at the agent's state: what was
    granted was granted, so the client is told to ask again.
    """

    async def ask() -> None:
        async with bench() as b:
            await b.open()
            b.fake.holding = True
            request = AcquireOwnershipRequest(
                request_id=b.request_id(), agent_id="a", create=True
            )
            call = asyncio.ensure_future(refused(b.agents.AcquireOwnership(request)))
            while not b.fake.held:  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.005)
            b.fake.quarantined = True
            b.fake.let_go()
            answer = await call
            assert (answer.reason, answer.definite) == ("OUTCOME_UNKNOWN", False)

    asyncio.run(ask())


def test_a_member_in_quarantine_says_how_it_is() -> None:
    """
    Status is answered, and health says NOT_SERVING to every name.
    """

    async def ask() -> None:
        async with bench() as b:
            b.fake.quarantined = True
            status = await b.cluster.Status(StatusRequest())
            assert status.header.member_id == "n1"
            health: Any = health_pb2_grpc.HealthStub(b.channel)
            listed = await health.List(health_pb2.HealthListRequest())
            assert {one.status for one in listed.statuses.values()} == {
                health_pb2.HealthCheckResponse.NOT_SERVING
            }

    asyncio.run(ask())


def test_a_disk_that_is_nearly_full_is_told() -> None:
    """
    What grows the state is refused as RESOURCE_EXHAUSTED, definite, with a word on when.
    """

    def fill(b: Bench) -> None:
        b.fake.fail("DISK_FULL", definite=True)

    answer = told(CALLS["mutation"], fill)

    assert (answer.code, answer.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert answer.definite
    assert [type(one).__name__ for one in answer.details] == ["RetryInfo"]


def test_every_reason_has_a_code() -> None:
    """
    A reason of tomorrow's engine is a conflict rather than a bug of ours.
    """

    def refusing(b: Bench) -> None:
        b.fake.refusing = ChangeRefused("TOMORROW", "because")

    assert told(lambda b: b.cluster.AddMember(ADD), refusing).reason == "CONFLICT"
    assert Failure("TOO_MANY", "x", definite=True).code.name == "RESOURCE_EXHAUSTED"
