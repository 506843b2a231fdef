"""What goes wrong, and what the client is told about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from raftstate.core.types import token_text
from raftstate.rpc.paging import page_token
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_FORCE,
    ACQUIRE_MODE_WAIT,
    AcquireOwnershipRequest,
    CheckFenceRequest,
    CreateAgentRequest,
    GetAgentRequest,
    HaltAgentRequest,
    ListAgentsRequest,
    RenewOwnershipRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    GetCheckpointRequest,
    GetGroupCheckpointRequest,
    ListCheckpointsRequest,
    NewCheckpoint,
)
from raftstate.v1.common_pb2 import Consistency, FencingToken, RequestId
from raftstate.v1.event_service_pb2 import (
    GetProjectionRequest,
    GetStreamRequest,
    NewEvent,
    ReadAllRequest,
    ReadEventsRequest,
)
from raftstate.v1.lease_service_pb2 import TimeToLiveRequest
from raftstate.v1.session_service_pb2 import (
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from tests.rpc.harness import Bench, Refused, all_of, bench, decode, refused, rest_of, until

Call = Callable[[Bench], Awaitable[Any]]
ANY_FENCE = FencingToken(epoch=7, revision=1)


def told(call: Call) -> Refused:
    """What a client with an open session is told when it makes this call."""

    async def ask() -> Refused:
        async with bench() as b:
            await b.open()
            return await refused(call(b))

    return asyncio.run(ask())


def commit(b: Bench, **changes: Any) -> Awaitable[Any]:
    fields: dict[str, Any] = {"request_id": b.request_id(), "agent_id": "a", "fence": ANY_FENCE}
    call: Awaitable[Any] = b.steps.CommitStep(CommitStepRequest(**(fields | changes)))
    return call


# --- requests that no state could make right -----------------------------------------

INVALID: dict[str, tuple[Call, str, str]] = {
    "empty agent id": (
        lambda b: b.agents.GetAgent(GetAgentRequest()),
        "agent_id",
        "0,199",
    ),
    "agent id over the limit": (
        lambda b: b.agents.GetAgent(GetAgentRequest(agent_id="x" * 201)),
        "agent_id",
        "0,199",
    ),
    "agent id of a mutation over the limit": (
        lambda b: b.agents.CreateAgent(
            CreateAgentRequest(request_id=b.request_id(), agent_id="x" * 100_000)
        ),
        "agent_id",
        "0,199",
    ),
    "empty session id": (
        lambda b: b.sessions.OpenSession(OpenSessionRequest()),
        "session_id",
        "1,64",
    ),
    "negative ttl of a session": (
        lambda b: b.sessions.OpenSession(OpenSessionRequest(session_id="x", ttl_ms=-1)),
        "ttl_ms",
        "1000 to 3600000",
    ),
    "negative ttl of an ownership": (
        lambda b: b.agents.AcquireOwnership(
            AcquireOwnershipRequest(request_id=b.request_id(), agent_id="a", ttl_ms=-5)
        ),
        "ttl_ms",
        "200 to 3600000",
    ),
    "no request id": (
        lambda b: b.agents.CreateAgent(CreateAgentRequest(agent_id="a")),
        "request_id.session_id",
        "1,64",
    ),
    "no fence": (lambda b: commit(b, fence=None), "fence", "token"),
    "too many events": (
        lambda b: commit(b, events=[NewEvent(type="x")] * 129),
        "events",
        "128",
    ),
    "no fences": (lambda b: b.agents.CheckFence(CheckFenceRequest()), "fences", "1 to 128"),
    "unknown consistency": (
        lambda b: b.agents.GetAgent(
            GetAgentRequest(agent_id="a", consistency=9)  # type: ignore[arg-type]
        ),
        "consistency",
        "0 to 4",
    ),
    "page too large": (
        lambda b: b.agents.ListAgents(ListAgentsRequest(page_size=1_001)),
        "page_size",
        "1000",
    ),
    "empty stream id": (
        lambda b: all_of(b.events.ReadEvents(ReadEventsRequest())),
        "stream_id",
        "0,199",
    ),
    "keep-alive of no session": (
        lambda b: all_of(b.sessions.KeepAlive(iter([KeepAliveRequest()]))),
        "session_id",
        "1,64",
    ),
    "renewal without a fence": (
        lambda b: all_of(b.agents.RenewOwnership(iter([RenewOwnershipRequest(agent_id="a")]))),
        "fence",
        "token",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_request_is_refused_before_anything_is_proposed(name: str) -> None:
    """
    The field and the limit are named, and the failure is definite.
    """
    call, field, limit = INVALID[name]

    found = told(call)

    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert found.definite
    assert found.metadata["field"] == field
    assert limit in found.metadata["limit"]
    (bad,) = found.details
    assert bad.field_violations[0].field == field  # type: ignore[attr-defined]


def test_an_oversized_request_is_ours_to_refuse() -> None:
    """
    1.5 MiB is the limit, the answer names it, and nothing is proposed.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            proposed = len(b.fake.proposed)
            events = [NewEvent(type="x", data=bytes(100_000))] * 16
            found = await refused(commit(b, events=events))
            assert (found.code, found.reason) == ("INVALID_ARGUMENT", "REQUEST_TOO_LARGE")
            assert found.definite
            assert str(3 << 19) in found.metadata["limit"]
            assert str(3 << 19) in found.message
            large = NewCheckpoint(data=bytes((1 << 20) + 1))
            found = await refused(commit(b, checkpoint=large))
            assert found.reason == "REQUEST_TOO_LARGE"
            assert found.metadata["field"] == "checkpoint.data"
            assert str(1 << 20) in found.metadata["limit"]
            assert len(b.fake.proposed) == proposed

    asyncio.run(tell())


def test_a_message_beyond_what_grpc_receives_leaves_the_server_alive() -> None:
    """
    Above 4 MiB grpc itself refuses, as documented: without our details, but its message
    names the limit. It goes on serving.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await commit(b, events=[NewEvent(type="x", data=bytes(5 << 20))])
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert str(4 << 20) in (caught.value.details() or "")
            assert not caught.value.trailing_metadata()
            await b.own("a")

    asyncio.run(tell())


PAGED: dict[str, Callable[[Bench, str], Awaitable[Any]]] = {
    "sessions": lambda b, token: b.sessions.ListSessions(ListSessionsRequest(page_token=token)),
    "agents": lambda b, token: b.agents.ListAgents(ListAgentsRequest(page_token=token)),
    "checkpoints": lambda b, token: b.checkpoints.ListCheckpoints(
        ListCheckpointsRequest(agent_id="a", page_token=token)
    ),
}


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.parametrize(
    "token", ["garbage", "é", "AAAA", "====", "x" * 300, page_token(b"another list", 1, b"s1")]
)
def test_a_page_token_that_the_list_did_not_give(name: str, token: str) -> None:
    """
    Garbage, and the token of another list, are errors that name page_token.
    """
    found = told(lambda b: PAGED[name](b, token))

    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert found.metadata["field"] == "page_token"


# --- requests that the state refuses -------------------------------------------------

UNKNOWN: dict[str, Call] = {
    "get": lambda b: b.agents.GetAgent(GetAgentRequest(agent_id="nobody")),
    "halt": lambda b: b.agents.HaltAgent(
        HaltAgentRequest(request_id=b.request_id(), agent_id="nobody")
    ),
    "acquire": lambda b: b.agents.AcquireOwnership(
        AcquireOwnershipRequest(request_id=b.request_id(), agent_id="nobody")
    ),
    "commit": lambda b: commit(b, agent_id="nobody"),
    "checkpoint": lambda b: all_of(
        b.checkpoints.GetCheckpoint(GetCheckpointRequest(agent_id="nobody"))
    ),
    "checkpoints": lambda b: b.checkpoints.ListCheckpoints(
        ListCheckpointsRequest(agent_id="nobody")
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_agent(name: str) -> None:
    """
    NOT_FOUND, definite, and the message names the agent.
    """
    found = told(UNKNOWN[name])

    assert (found.code, found.reason) == ("NOT_FOUND", "AGENT_NOT_FOUND")
    assert found.definite
    assert "nobody" in found.message


ABSENT: dict[str, tuple[Call, str]] = {
    "stream": (
        lambda b: b.events.GetStream(GetStreamRequest(stream_id="nobody")),
        "STREAM_NOT_FOUND",
    ),
    "events": (
        lambda b: all_of(b.events.ReadEvents(ReadEventsRequest(stream_id="nobody"))),
        "STREAM_NOT_FOUND",
    ),
    "group": (
        lambda b: b.checkpoints.GetGroupCheckpoint(
            GetGroupCheckpointRequest(group_id="nobody")
        ),
        "GROUP_NOT_FOUND",
    ),
    "lease": (
        lambda b: b.leases.TimeToLive(TimeToLiveRequest(lease_id=77)),
        "LEASE_NOT_FOUND",
    ),
    "projection": (
        lambda b: b.events.GetProjection(GetProjectionRequest(name="nobody")),
        "PROJECTION_NOT_FOUND",
    ),
}


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_absent_is_named(name: str) -> None:
    """
    NOT_FOUND, definite, with the reason of its kind.
    """
    call, reason = ABSENT[name]
    found = told(call)

    assert (found.code, found.reason, found.definite) == ("NOT_FOUND", reason, True)
    assert found.metadata["subject"] in ("nobody", "77")


def test_an_agent_without_that_checkpoint() -> None:
    """
    NOT_FOUND, with another reason than for an agent that does not exist.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await b.own("a")
            for wanted in ({}, {"checkpoint_id": 5}, {"tag": "x"}):
                request = GetCheckpointRequest(agent_id="a", **wanted)
                found = await refused(all_of(b.checkpoints.GetCheckpoint(request)))
                assert (found.code, found.reason) == ("NOT_FOUND", "CHECKPOINT_NOT_FOUND")
                assert found.definite

    asyncio.run(tell())


def test_a_stale_fence() -> None:
    """
    The past does not write: FENCED, with the fence and the owner that are current.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            old = await b.own("a")
            force = AcquireOwnershipRequest(
                request_id=b.request_id(), agent_id="a", mode=ACQUIRE_MODE_FORCE, holder="next"
            )
            new = (await b.agents.AcquireOwnership(force)).ownership.fence
            found = await refused(commit(b, fence=old))
            assert (found.code, found.reason) == ("FAILED_PRECONDITION", "FENCED")
            assert found.definite
            assert found.metadata["current_fence"] == token_text(new)
            assert found.metadata["current_holder"] == "next"
            (precondition,) = found.details
            assert precondition.violations[0].subject == "agent/a"  # type: ignore[attr-defined]
            assert (await commit(b, fence=new)).head.step == 1

    asyncio.run(tell())


def test_a_wrong_expected_head() -> None:
    """
    CONFLICT says which step is current, and nothing was written.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            fence = await b.own("a")
            await commit(b, fence=fence, events=[NewEvent(type="x")])
            found = await refused(commit(b, fence=fence, expected_step=0))
            assert (found.code, found.reason) == ("ABORTED", "CONFLICT")
            assert found.definite
            assert found.metadata["current_step"] == "1"
            assert found.metadata["current_event_seq"] == "1"
            agent = (await b.agents.GetAgent(GetAgentRequest(agent_id="a"))).agent
            assert agent.head.step == 1

    asyncio.run(tell())


def test_an_agent_that_exists_is_owned_or_halted() -> None:
    """
    AGENT_EXISTS, OWNED and AGENT_STATE have the codes that the API documents.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await b.own("a")
            create = CreateAgentRequest(request_id=b.request_id(), agent_id="a")
            exists = await refused(b.agents.CreateAgent(create))
            assert (exists.code, exists.reason) == ("ALREADY_EXISTS", "AGENT_EXISTS")
            await b.open("s2")
            acquire = AcquireOwnershipRequest(request_id=b.request_id("s2"), agent_id="a")
            owned = await refused(b.agents.AcquireOwnership(acquire))
            assert (owned.code, owned.reason) == ("FAILED_PRECONDITION", "OWNED")
            assert owned.metadata["current_holder"] == "bench"
            halt = HaltAgentRequest(request_id=b.request_id("s2"), agent_id="a")
            await b.agents.HaltAgent(halt)
            acquire = AcquireOwnershipRequest(request_id=b.request_id("s2"), agent_id="a")
            halted = await refused(b.agents.AcquireOwnership(acquire))
            assert (halted.code, halted.reason) == ("FAILED_PRECONDITION", "AGENT_STATE")
            assert halted.metadata["lifecycle"] == "LIFECYCLE_HALTED"
            assert exists.definite
            assert owned.definite
            assert halted.definite

    asyncio.run(tell())


def test_a_request_id_that_comes_again() -> None:
    """
    With another payload REQUEST_ID_REUSED; after it was forgotten OUTCOME_FORGOTTEN,
    which alone among refusals is indefinite: it may have happened the first time.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            first = b.request_id()
            await b.agents.CreateAgent(CreateAgentRequest(request_id=first, agent_id="a"))
            reused = await refused(
                b.agents.CreateAgent(CreateAgentRequest(request_id=first, agent_id="b"))
            )
            assert (reused.code, reused.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
            assert reused.definite
            await b.agents.CreateAgent(
                CreateAgentRequest(request_id=b.request_id(), agent_id="c")
            )
            forgotten = await refused(
                b.agents.CreateAgent(CreateAgentRequest(request_id=first, agent_id="a"))
            )
            assert forgotten.reason == "OUTCOME_FORGOTTEN"
            assert not forgotten.definite

    asyncio.run(tell())


def test_a_session_that_has_ended() -> None:
    """
    SESSION_EXPIRED for mutations and for keep-alives.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            b.fake.expire_session("s1")
            found = await refused(
                b.agents.CreateAgent(
                    CreateAgentRequest(request_id=b.request_id(), agent_id="a")
                )
            )
            assert (found.code, found.reason) == ("FAILED_PRECONDITION", "SESSION_EXPIRED")
            kept = b.sessions.KeepAlive(iter([KeepAliveRequest(session_id="s1")]))
            found = await refused(all_of(kept))
            assert (found.code, found.reason) == ("FAILED_PRECONDITION", "SESSION_EXPIRED")
            assert found.metadata["session_id"] == "s1"
            assert b.fake.broken == []

    asyncio.run(tell())


# --- what consensus cannot do --------------------------------------------------------

UNAVAILABLE = {
    "NOT_LEADER": ("UNAVAILABLE", True),
    "NO_QUORUM": ("UNAVAILABLE", True),
    "OVERLOADED": ("RESOURCE_EXHAUSTED", True),
    "OUTCOME_UNKNOWN": ("UNAVAILABLE", False),
}
EVERYWHERE: dict[str, Call] = {
    "mutation": commit,
    "read": lambda b: b.agents.GetAgent(GetAgentRequest(agent_id="a")),
    "stream": lambda b: all_of(b.events.ReadAll(ReadAllRequest())),
    "keep-alive": lambda b: all_of(
        b.sessions.KeepAlive(iter([KeepAliveRequest(session_id="s1")]))
    ),
    "renewal": lambda b: all_of(
        b.agents.RenewOwnership(iter([RenewOwnershipRequest(agent_id="a", fence=ANY_FENCE)]))
    ),
}


@pytest.mark.parametrize("reason", UNAVAILABLE)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_consensus_cannot_do_says_whether_it_happened(name: str, reason: str) -> None:
    """
    The code, the flag, a hint where to go, and when to try again.
    """
    code, definite = UNAVAILABLE[reason]

    async def ask() -> Refused:
        async with bench() as b:
            await b.open()
            b.fake.fail(reason, definite=definite, leader="n2")
            return await refused(EVERYWHERE[name](b))

    found = asyncio.run(ask())

    assert (found.code, found.reason, found.definite) == (code, reason, definite)
    assert found.metadata["leader"] == "n2"
    assert found.metadata["leader_address"] == "127.0.0.1:7412"
    assert found.details[-1].DESCRIPTOR.name == "RetryInfo"


def test_a_stale_read_needs_no_leader() -> None:
    """
    A member without a leader answers STALE reads, and no others.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await b.own("a")
            b.fake.depose(None)
            stale = GetAgentRequest(agent_id="a", consistency=Consistency.CONSISTENCY_STALE)
            assert (await b.agents.GetAgent(stale)).agent.agent_id == "a"
            found = await refused(b.agents.GetAgent(GetAgentRequest(agent_id="a")))
            assert found.reason == "NOT_LEADER"
            assert "leader" not in found.metadata

    asyncio.run(tell())


# --- many at once --------------------------------------------------------------------


def test_one_bad_mutation_of_a_batch_fails_alone() -> None:
    """
    Submit answers an empty mutation, an invalid one, a refused one and good ones, each
    as its own call would have been.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            mutations = [
                Mutation(
                    create_agent=CreateAgentRequest(request_id=b.request_id(), agent_id=one)
                )
                for one in ("a", "", "a", "b")
            ]
            call = b.steps.Submit(
                iter([SubmitRequest(first_nonce=1, mutations=[*mutations, Mutation()])])
            )
            results = {
                one.nonce: one for response in await all_of(call) for one in response.results
            }
            assert results[1].create_agent.agent.agent_id == "a"
            assert results[4].create_agent.agent.agent_id == "b"
            assert decode(results[2].error).metadata["field"] == "agent_id"
            assert decode(results[3].error).reason == "AGENT_EXISTS"
            assert decode(results[5].error).metadata["field"] == "body"

    asyncio.run(tell())


def test_submit_at_a_member_that_does_not_lead_answers_each_mutation() -> None:
    """
    NOT_LEADER comes as a mutation's answer, with the address to go to; the stream goes on.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            b.fake.depose("n2")
            call = b.steps.Submit()
            create = CreateAgentRequest(request_id=b.request_id(), agent_id="a")
            for nonce in (1, 2):
                mutations = [Mutation(create_agent=create)]
                await call.write(SubmitRequest(first_nonce=nonce, mutations=mutations))
                (result,) = (await call.read()).results
                found = decode(result.error)
                assert (result.nonce, found.reason) == (nonce, "NOT_LEADER")
                assert found.metadata["leader_address"] == "127.0.0.1:7412"
                assert found.definite
            await call.done_writing()

    asyncio.run(tell())


def test_a_batch_of_too_many_bytes_is_refused_whole() -> None:
    """
    Every mutation of it gets the answer, nothing is proposed, the stream goes on.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            fence = await b.own("a")
            proposed = len(b.fake.proposed)
            big = [
                Mutation(
                    commit_step=CommitStepRequest(
                        request_id=b.request_id(),
                        agent_id="a",
                        fence=fence,
                        events=[NewEvent(type="x", data=bytes(400_000))],
                    )
                )
                for _ in range(4)
            ]
            call = b.steps.Submit()
            await call.write(SubmitRequest(first_nonce=1, mutations=big))
            first = await call.read()
            assert [decode(one.error).reason for one in first.results] == [
                "REQUEST_TOO_LARGE"
            ] * 4
            assert len(b.fake.proposed) == proposed
            await call.write(SubmitRequest(first_nonce=2_000, mutations=big[:1]))
            second = await call.read()
            assert second.results[0].commit_step.head.step == 1
            await call.done_writing()
            assert await rest_of(call) == []

    asyncio.run(tell())


def test_an_unknown_outcome_is_settled_by_the_same_request_id() -> None:
    """
    The answer was lost after the step was applied; asking again gives the first one.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            fence = await b.own("a")
            request = CommitStepRequest(
                request_id=b.request_id(), agent_id="a", fence=fence, expected_step=0
            )
            b.fake.forgetful = True
            found = await refused(b.steps.CommitStep(request))
            assert (found.reason, found.definite) == ("OUTCOME_UNKNOWN", False)
            b.fake.forgetful = False
            assert (await b.steps.CommitStep(request)).head.step == 1

    asyncio.run(tell())


def test_a_cancelled_call_leaves_its_proposal_alone() -> None:
    """
    The client goes while the answer is under way: the step is applied all the same, and
    its late answer disturbs nobody.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            fence = await b.own("a")
            b.fake.holding = True
            request = CommitStepRequest(request_id=b.request_id(), agent_id="a", fence=fence)
            call = b.steps.CommitStep(request)
            await until(lambda: b.fake.held, "it is applied")
            call.cancel()
            method = "/raftstate.v1.StepService/CommitStep"
            await until(lambda: (method, "CANCELLED") in b.calls, "the server has noticed")
            assert b.fake.abandoned == []
            b.fake.let_go()
            assert (await b.steps.CommitStep(request)).head.step == 1

    asyncio.run(tell())


def test_a_bug_is_an_indefinite_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is told as INTERNAL, may have happened, and is logged here."""

    async def tell() -> None:
        async with bench() as b:
            await b.open()

            def fail(*_: Any) -> None:
                raise ZeroDivisionError("a secret")

            monkeypatch.setattr(b.fake, "propose", fail)
            found = await refused(commit(b))
            assert (found.code, found.reason, found.definite) == ("INTERNAL", "INTERNAL", False)
            assert "secret" not in found.message

    asyncio.run(tell())


def test_a_waiter_that_goes_away_is_taken_out_of_the_queue() -> None:
    """
    WAIT holds the call; a cancelled one abandons its place, the next gets the agent.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await b.own("a")
            owner, opened, wait = b.request_id(), b.opened_revision, ACQUIRE_MODE_WAIT
            await b.open("s2")
            first, second = (
                b.agents.AcquireOwnership(
                    AcquireOwnershipRequest(request_id=one, agent_id="a", mode=wait)
                )
                for one in (b.request_id("s2"), b.request_id("s2"))
            )
            await until(lambda: len(b.fake.waiting) == 2, "both wait")
            first.cancel()
            await until(lambda: b.fake.abandoned, "the waiter is abandoned")
            assert len(b.fake.waiting) == 1
            owner = RequestId(session_id="s1", sequence=owner.sequence, opened_revision=opened)
            await b.agents.HaltAgent(HaltAgentRequest(request_id=owner, agent_id="a"))
            found = await refused(second)
            assert found.reason == "AGENT_STATE"

    asyncio.run(tell())
