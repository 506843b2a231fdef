"""What a request may hold: every limit that `limits` names, field by field.

`rpc` asks before it proposes, so that a client learns at once and the log stays
clean. The machine asks again, because what is in a log must never be able to
make it fail: there, a violation is a refusal like any other.

Zero means the default where the API says so, and is fine here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from raftstate.core import (
    limits,
    parts,
    rules_breakers,
    rules_checkpoints,
    rules_effects,
    rules_events,
    rules_keys,
    rules_replay,
    rules_rollbacks,
)
from raftstate.core.parts import Violation
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    CheckFenceRequest,
    CreateAgentRequest,
    FenceQuery,
    ForkAgentRequest,
    GetAgentRequest,
    HaltAgentRequest,
    ListAgentsRequest,
    ReleaseOwnershipRequest,
    RenewOwnershipRequest,
    ResumeAgentRequest,
    RetireAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    GetLimitsRequest,
    ListMembersRequest,
    PromoteMemberRequest,
    RemoveMemberRequest,
    StatusRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.read_service_pb2 import Query, ReadRequest
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.step_service_pb2 import Mutation, SubmitRequest
from raftstate.v1.store_pb2 import (
    Command,
    ExpireOwnership,
    ExpireSession,
    Sweep,
    TrimHistory,
)


def violations(message: Message) -> list[Violation]:
    """Every limit that a request, or a command made of one, breaks.

    A `SubmitRequest` or `ReadRequest` is judged as a batch; each `Mutation` or `Query` in
    it by itself, so that a bad one fails alone.
    """
    if isinstance(message, Mutation | Command | Query):
        body = message.WhichOneof("body")
        if body is None:
            kinds = "queries" if isinstance(message, Query) else "mutations"
            return [Violation("body", "is required", f"one of the {kinds}")]
        return violations(getattr(message, body))
    if isinstance(message, RequestId):
        return request_id_violations(message)
    found = payload_violations(message)
    if "request_id" in message.DESCRIPTOR.fields_by_name:
        return request_id_violations(message.request_id) + found  # type: ignore[attr-defined]
    return found


def payload_violations(message: Message) -> list[Violation]:
    """As `violations`, but for the request id."""
    found = list(_RULES[type(message)](message))
    if (size := message.ByteSize()) > limits.REQUEST_BYTES_MAX:
        found.append(parts.too_large("", size, limits.REQUEST_BYTES_MAX))
    return found


def request_id_violations(request_id: RequestId) -> list[Violation]:
    """What is wrong with a request id, read for itself."""
    found: list[Violation] = []
    if not limits.SESSION_ID.fullmatch(request_id.session_id):
        found.append(parts.bad_session_id("request_id.session_id", request_id.session_id))
    if request_id.opened_revision == 0:
        found.append(
            Violation("request_id.opened_revision", "is required", "OpenSession's answer")
        )
    sequence, lowest = request_id.sequence, request_id.lowest_unfinished or 1
    if sequence == 0:
        found.append(Violation("request_id.sequence", "is required", "1 or more"))
    elif sequence >= lowest + limits.WINDOW:
        words = f"is {sequence}, too far above lowest_unfinished {lowest}"
        window = f"less than lowest_unfinished + {limits.WINDOW}"
        found.append(Violation("request_id.sequence", words, window))
    return found


# --- one rule a request ------------------------------------------------------


def _open_session(message: OpenSessionRequest) -> Iterator[Violation]:
    yield from parts.session_id(message.session_id)
    yield from parts.ttl(message.ttl_ms, limits.SESSION_TTL_MS_MIN, limits.SESSION_TTL_MS_MAX)
    yield from parts.people("client", message.client)


def _labelled_agent(message: CreateAgentRequest | UpdateAgentRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.labels(message.labels)
    for field in ("rpo_target_ms", "rto_target_ms"):
        if (value := getattr(message, field)) > limits.TARGET_MS_MAX:
            yield Violation(field, f"is {value}", f"{limits.TARGET_MS_MAX}")


def _halt(message: HaltAgentRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.people("reason", message.reason)


def _acquire(message: AcquireOwnershipRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.enum("mode", message.mode, 3)
    yield from parts.ttl(
        message.ttl_ms, limits.OWNERSHIP_TTL_MS_MIN, limits.OWNERSHIP_TTL_MS_MAX
    )
    yield from parts.people("holder", message.holder)


def _fenced(message: Any) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)


def _check_fence(message: CheckFenceRequest) -> Iterator[Violation]:
    if not 1 <= len(message.fences) <= limits.FENCES_PER_CHECK_MAX:
        span = f"1 to {limits.FENCES_PER_CHECK_MAX}"
        yield Violation("fences", f"has {len(message.fences)} fences", span)
        return
    for at, query in enumerate(message.fences):
        yield from parts.agent_id(query.agent_id, f"fences[{at}].agent_id")


def _submit(message: SubmitRequest) -> Iterator[Violation]:
    if len(message.mutations) > limits.MUTATIONS_PER_BATCH_MAX:
        words = f"has {len(message.mutations)} mutations"
        yield Violation("mutations", words, str(limits.MUTATIONS_PER_BATCH_MAX))


def _read(message: ReadRequest) -> Iterator[Violation]:
    if len(message.queries) > limits.QUERIES_PER_BATCH_MAX:
        words = f"has {len(message.queries)} queries"
        yield Violation("queries", words, str(limits.QUERIES_PER_BATCH_MAX))


def _list_agents(message: ListAgentsRequest) -> Iterator[Violation]:
    yield from parts.words("prefix", message.prefix, limits.AGENT_ID_CHARS_MAX)
    yield from parts.page(message)


def _agent_read(message: GetAgentRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.consistency(message)


def _add_member(message: AddMemberRequest) -> Iterator[Violation]:
    yield from parts.member_id(message.member_id)
    yield from parts.address("raft_address", message.raft_address)
    yield from parts.address("client_address", message.client_address)


def _named_member(message: PromoteMemberRequest | RemoveMemberRequest) -> Iterator[Violation]:
    return parts.member_id(message.member_id)


def _transfer(message: TransferLeadershipRequest) -> Iterator[Violation]:
    if message.to_member_id:
        yield from parts.member_id(message.to_member_id, "to_member_id")


def _named_session(message: Any) -> Iterator[Violation]:
    return parts.session_id(message.session_id)


def _named_agent(message: Any) -> Iterator[Violation]:
    return parts.agent_id(message.agent_id)


def _current(message: ListMembersRequest) -> Iterator[Violation]:
    # Who is a member is no part of the state that revisions count.
    return parts.enum("consistency", message.consistency, 2)


def _fork(message: ForkAgentRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.source_agent_id, "source_agent_id")
    yield from parts.agent_id(message.agent_id)
    yield from parts.labels(message.labels)


def _nothing(_message: Any) -> Iterator[Violation]:
    return iter(())


_RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    OpenSessionRequest: _open_session,
    CloseSessionRequest: _named_session,
    KeepAliveRequest: _named_session,
    ListSessionsRequest: parts.page,
    CreateAgentRequest: _labelled_agent,
    UpdateAgentRequest: _labelled_agent,
    RetireAgentRequest: _named_agent,
    HaltAgentRequest: _halt,
    ResumeAgentRequest: _named_agent,
    GetAgentRequest: _agent_read,
    ListAgentsRequest: _list_agents,
    AcquireOwnershipRequest: _acquire,
    ReleaseOwnershipRequest: _fenced,
    RenewOwnershipRequest: _fenced,
    FenceQuery: _fenced,
    CheckFenceRequest: _check_fence,
    SubmitRequest: _submit,
    ReadRequest: _read,
    StatusRequest: _nothing,
    ListMembersRequest: _current,
    GetLimitsRequest: _nothing,
    AddMemberRequest: _add_member,
    PromoteMemberRequest: _named_member,
    RemoveMemberRequest: _named_member,
    TransferLeadershipRequest: _transfer,
    ExpireSession: _named_session,
    ExpireOwnership: _fenced,
    ForkAgentRequest: _fork,
    TrimHistory: _nothing,
    Sweep: _nothing,
    **rules_events.RULES,
    **rules_breakers.RULES,
    **rules_checkpoints.RULES,
    **rules_effects.RULES,
    **rules_keys.RULES,
    **rules_replay.RULES,
    **rules_rollbacks.RULES,
}
