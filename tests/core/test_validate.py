"""Each limit, at the limit and one beyond it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.core.parts import Violation
from raftstate.core.validate import _RULES, violations
from raftstate.v1 import (
    agent_service_pb2,
    breaker_service_pb2,
    checkpoint_service_pb2,
    cluster_service_pb2,
    effect_service_pb2,
    event_service_pb2,
    kv_service_pb2,
    lease_service_pb2,
    read_service_pb2,
    recovery_service_pb2,
    replay_service_pb2,
    rollback_service_pb2,
    session_service_pb2,
    step_service_pb2,
    watch_service_pb2,
)
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    CheckFenceRequest,
    CreateAgentRequest,
    FenceQuery,
    GetAgentRequest,
    HaltAgentRequest,
    ListAgentsRequest,
    ReleaseOwnershipRequest,
    RenewOwnershipRequest,
    ResumeAgentRequest,
    RetireAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    GetCheckpointRequest,
    ListCheckpointsRequest,
    NewCheckpoint,
)
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    ListMembersRequest,
    PromoteMemberRequest,
    RemoveMemberRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.event_service_pb2 import (
    GetStreamRequest,
    NewEvent,
    ReadAllRequest,
    ReadEventsRequest,
)
from raftstate.v1.read_service_pb2 import Query, ReadRequest
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from raftstate.v1.store_pb2 import Command, ExpireOwnership, ExpireSession
from tests.core.limit_table import RID, Limit, number, text

FENCE = FencingToken(epoch=1, revision=1)


def labels(count: int) -> list[Label]:
    return [Label(name=str(each)) for each in range(count)]


def step(**fields: object) -> Message:
    return CommitStepRequest(request_id=RID, agent_id="a", fence=FENCE, **fields)  # type: ignore[arg-type]


def step_event(**fields: str) -> Message:
    return step(events=[NewEvent(**{"type": "t", **fields})])  # type: ignore[arg-type]


def update(**fields: object) -> Message:
    return UpdateAgentRequest(request_id=RID, agent_id="a", **fields)  # type: ignore[arg-type]


def acquire(**fields: object) -> Message:
    return AcquireOwnershipRequest(request_id=RID, **{"agent_id": "a", **fields})  # type: ignore[arg-type]


def numbered(**fields: int | str) -> Message:
    whole = {"session_id": "s", "sequence": 1, "opened_revision": 1, **fields}
    return ResumeAgentRequest(request_id=RequestId(**whole), agent_id="a")  # type: ignore[arg-type]


def sized(size: int) -> Message:
    """A step of exactly so many bytes."""
    request = CommitStepRequest(request_id=RID, agent_id="a", fence=FENCE)
    request.events.add(type="t", data=bytes(1 << 20))
    request.events.add(type="t", data=bytes(1 << 15))
    request.events[1].data += bytes(size - request.ByteSize() - 1)  # a longer length field
    request.events[1].data += bytes(size - request.ByteSize())
    assert request.ByteSize() == size
    return request


def open_session(**fields: object) -> Message:
    return OpenSessionRequest(**{"session_id": "s", **fields})  # type: ignore[arg-type]


def add(**fields: object) -> Message:
    whole = {"member_id": "n", "raft_address": "h:1", "client_address": "h:2", **fields}
    return AddMemberRequest(**whole)  # type: ignore[arg-type]


def halt(**fields: object) -> Message:
    return HaltAgentRequest(request_id=RID, agent_id="a", **fields)  # type: ignore[arg-type]


def checkpoint(**fields: object) -> Message:
    return step(checkpoint=NewCheckpoint(**fields))  # type: ignore[arg-type]


def label(**fields: str) -> Message:
    return update(labels=[Label(**{"name": "n", **fields})])


def fences(count: int) -> Message:
    return CheckFenceRequest(fences=[FenceQuery(agent_id="a", fence=FENCE)] * count)


def fenced(kind: Callable[..., Message], fence: FencingToken | None, **rest: object) -> Message:
    return kind(agent_id="a", fence=fence, **rest)


def checkpoints(page_size: int) -> Message:
    return ListCheckpointsRequest(agent_id="a", page_size=page_size)


AGENT_ID_BEYOND = "a" * (limits.AGENT_ID_CHARS_MAX + 1)
TABLE = [
    # sessions
    number("ttl_ms", 1_000, 999, "ttl_ms", open_session),
    number("ttl_ms", 3_600_000, 3_600_001, "ttl_ms", open_session),
    number("ttl_ms", 0, -1, "ttl_ms", open_session),
    text("client", 255, "client", open_session),
    Limit(lambda v: open_session(session_id=v), "s" * 64, "s" * 65, "session_id"),
    Limit(lambda v: open_session(session_id=v), "aZ09._-", "a b", "session_id"),
    Limit(lambda v: open_session(session_id=v), ".", "", "session_id"),
    Limit(lambda v: CloseSessionRequest(session_id=v), "s", "s\n", "session_id"),
    Limit(lambda v: KeepAliveRequest(session_id=v), "s", "s/t", "session_id"),
    Limit(lambda v: ExpireSession(session_id=v), "s", "", "session_id"),
    # request ids
    number("sequence", 1, 0, "request_id.sequence", numbered),
    number("sequence", 1_024, 1_025, "request_id.sequence", numbered),
    Limit(
        lambda v: numbered(sequence=v, lowest_unfinished=7),
        7 + 1_023,
        7 + 1_024,
        "request_id.sequence",
    ),
    number("opened_revision", 1, 0, "request_id.opened_revision", numbered),
    Limit(lambda v: numbered(session_id=v), "s", "", "request_id.session_id"),
    # agents
    Limit(lambda v: acquire(agent_id=v), "a" * 200, AGENT_ID_BEYOND, "agent_id"),
    Limit(lambda v: acquire(agent_id=v), "a/b.c_d-e", "/a", "agent_id"),
    Limit(lambda v: acquire(agent_id=v), "0", "", "agent_id"),
    Limit(lambda v: acquire(agent_id=v), "a", "a\n", "agent_id"),
    Limit(lambda v: acquire(agent_id=v), "e", "é", "agent_id"),
    Limit(lambda v: update(labels=labels(v)), 32, 33, "labels"),
    Limit(lambda v: CreateAgentRequest(request_id=RID, agent_id=v), "a", "", "agent_id"),
    Limit(lambda v: RetireAgentRequest(request_id=RID, agent_id=v), "a", "", "agent_id"),
    Limit(lambda v: ResumeAgentRequest(request_id=RID, agent_id=v), "a", "", "agent_id"),
    Limit(lambda v: GetAgentRequest(agent_id=v), "a", "", "agent_id"),
    Limit(lambda v: GetCheckpointRequest(agent_id=v), "a", "", "agent_id"),
    Limit(lambda v: ListCheckpointsRequest(agent_id=v), "a", "", "agent_id"),
    text("name", 63, "labels[0].name", label),
    Limit(lambda v: label(name=v), "n", "", "labels[0].name"),
    text("value", 255, "labels[0].value", label),
    Limit(
        lambda v: update(labels=[Label(name="n"), Label(name=v)]), "m", "n", "labels[1].name"
    ),
    text("reason", 255, "reason", halt),
    # members
    Limit(lambda v: add(member_id=v), "n" * 64, "n" * 65, "member_id"),
    Limit(lambda v: add(member_id=v), "0aZ._-", "-a", "member_id"),
    Limit(lambda v: add(member_id=v), "n", "", "member_id"),
    Limit(lambda v: add(member_id=v), "n", "n/1", "member_id"),
    Limit(lambda v: add(raft_address=v), "a.b-c_d:1", "a.b-c_d", "raft_address"),
    Limit(lambda v: add(raft_address=v), "h:65535", "h:65536", "raft_address"),
    Limit(lambda v: add(raft_address=v), "h:1", "h:0", "raft_address"),
    Limit(lambda v: add(raft_address=v), "[::1]:1", "::1:1", "raft_address"),
    Limit(
        lambda v: add(client_address=v), "h" * 298 + ":1", "h" * 299 + ":1", "client_address"
    ),
    Limit(lambda v: add(client_address=v), "h:1", "", "client_address"),
    Limit(lambda v: add(client_address=v), "h:1", "é:1", "client_address"),
    Limit(lambda v: PromoteMemberRequest(member_id=v), "n", "", "member_id"),
    Limit(lambda v: RemoveMemberRequest(member_id=v), "n", "", "member_id"),
    Limit(lambda v: TransferLeadershipRequest(to_member_id=v), "", " ", "to_member_id"),
    number("consistency", 2, 3, "consistency", ListMembersRequest),
    # ownership
    number("ttl_ms", 200, 199, "ttl_ms", acquire),
    number("ttl_ms", 3_600_000, 3_600_001, "ttl_ms", acquire),
    number("ttl_ms", 0, -1, "ttl_ms", acquire),
    number("mode", 3, 4, "mode", acquire),
    number("mode", 0, -1, "mode", acquire),
    text("holder", 255, "holder", acquire),
    *(
        Limit(partial(fenced, kind, request_id=RID), FENCE, None, "fence")
        for kind in (ReleaseOwnershipRequest, CommitStepRequest)
    ),
    *(
        Limit(partial(fenced, kind), FENCE, None, "fence")
        for kind in (RenewOwnershipRequest, FenceQuery, ExpireOwnership)
    ),
    Limit(fences, 1, 0, "fences"),
    Limit(fences, 128, 129, "fences"),
    Limit(
        lambda v: CheckFenceRequest(fences=[FenceQuery(agent_id=v)]),
        "a",
        "",
        "fences[0].agent_id",
    ),
    # steps
    Limit(lambda v: step(events=[NewEvent(type="t")] * v), 128, 129, "events"),
    Limit(lambda v: step_event(type=v), "t", "", "events[0].type"),
    text("type", 128, "events[0].type", step_event),
    text("content_type", 128, "events[0].content_type", step_event),
    text("causation_id", 128, "events[0].causation_id", step_event),
    text("correlation_id", 128, "events[0].correlation_id", step_event),
    Limit(lambda v: checkpoint(data=bytes(v)), 1 << 20, (1 << 20) + 1, "checkpoint.data"),
    text("content_type", 128, "checkpoint.content_type", checkpoint),
    Limit(lambda v: checkpoint(labels=labels(v)), 32, 33, "checkpoint.labels"),
    Limit(sized, 3 << 19, (3 << 19) + 1, ""),
    Limit(lambda v: SubmitRequest(mutations=[Mutation()] * v), 1_000, 1_001, "mutations"),
    Limit(lambda v: ReadRequest(queries=[Query()] * v), 1_000, 1_001, "queries"),
    # reads
    Limit(lambda v: ListAgentsRequest(prefix=v), "a" * 200, AGENT_ID_BEYOND, "prefix"),
    Limit(lambda v: ReadEventsRequest(stream_id=v), "a", "", "stream_id"),
    Limit(lambda v: GetStreamRequest(stream_id=v), "a", "a b", "stream_id"),
    Limit(lambda v: ReadAllRequest(consistency=v), 2, 5, "consistency"),
    Limit(lambda v: GetAgentRequest(agent_id="a", consistency=v), 0, -1, "consistency"),
    *(
        number("page_size", 1_000, 1_001, "page_size", kind)
        for kind in (ListSessionsRequest, ListAgentsRequest)
    ),
    text("page_token", 1_024, "page_token", ListSessionsRequest),
    Limit(checkpoints, 1_000, 1_001, "page_size"),
]


NAMED = [
    pytest.param(limit, id=f"{at}-{limit.field or 'request'}") for at, limit in enumerate(TABLE)
]


@pytest.mark.parametrize("limit", NAMED)
def test_a_limit_holds_exactly(limit: Limit) -> None:
    """
    At the limit all is well; one beyond it, exactly that field is named.
    """
    limit.check()


@pytest.mark.parametrize("wrap", [Command, Mutation])
def test_a_wrapped_request_is_judged_as_itself(
    wrap: type[Command | Mutation],
) -> None:
    """
    A command or mutation breaks the limits that its body breaks, and must have one.
    """
    bad = ResumeAgentRequest(agent_id="")

    assert violations(wrap(resume_agent=bad)) == violations(bad)
    assert [each.field for each in violations(wrap())] == ["body"]


def test_every_violation_is_told() -> None:
    """
    A request that breaks several limits is told of each, the request id's first.
    """
    found = violations(HaltAgentRequest(reason="r" * 256))

    assert [each.field for each in found] == [
        "request_id.session_id",
        "request_id.opened_revision",
        "request_id.sequence",
        "agent_id",
        "reason",
    ]


def test_what_is_too_large_says_so() -> None:
    """
    Size has a reason of its own; other limits do not claim it.
    """
    whole, part = violations(sized((3 << 19) + 1)), violations(checkpoint(data=bytes(1048577)))
    other = violations(checkpoint(content_type="t" * 129))

    assert [each.too_large for each in whole + part + other] == [True, True, False]
    assert str(part[0]) == "checkpoint.data: has 1048577 bytes (limit: 1048576 bytes)"


def test_a_long_bad_id_is_told_in_short() -> None:
    """
    What is said of a request stays small whatever the request holds.
    """
    (found,) = violations(GetAgentRequest(agent_id="é" * 100_000))

    assert found == Violation(
        "agent_id",
        f"{'é' * 40!r}... of 100000 characters is no agent id",
        "[a-zA-Z0-9][a-zA-Z0-9._/-]{0,199}",
    )


def test_every_request_has_a_rule() -> None:
    """
    Nothing that a client or a leader can send is unknown to the rules.
    """
    files = (
        *(agent_service_pb2, checkpoint_service_pb2, cluster_service_pb2),
        *(event_service_pb2, kv_service_pb2, lease_service_pb2, recovery_service_pb2),
        *(read_service_pb2, session_service_pb2, step_service_pb2, watch_service_pb2),
        *(breaker_service_pb2, effect_service_pb2, replay_service_pb2, rollback_service_pb2),
    )
    requests = {
        name
        for file in files
        for name in file.DESCRIPTOR.message_types_by_name
        if name.endswith("Request")
    }
    expiries = {"ExpireSession", "ExpireOwnership", "ExpireLease"}
    chores = {"TrimHistory", "CollectChunks", "Sweep"}

    ruled = {kind.DESCRIPTOR.name for kind in _RULES}
    assert ruled == requests | expiries | chores | {"FenceQuery"}
