"""What a request may hold: every limit that `limits` names, field by field.

`rpc` asks before it proposes, so that a client learns at once and the log stays
clean. The machine asks again, because what is in a log must never be able to
make it fail: there, a violation is a refusal like any other.

Zero means the default where the API says so, and is fine here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from raftstate.core import limits
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
    StatusRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import Label, RequestId
from raftstate.v1.event_service_pb2 import (
    GetStreamRequest,
    NewEvent,
    ReadAllRequest,
    ReadEventsRequest,
)
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from raftstate.v1.store_pb2 import Command, ExpireOwnership, ExpireSession


class Violation(NamedTuple):
    """One field that breaks one limit. The field is empty for the whole request.

    `too_large` says that the request is REQUEST_TOO_LARGE rather than wrong."""

    field: str
    description: str
    limit: str
    too_large: bool = False

    def __str__(self) -> str:
        return f"{self.field or 'request'}: {self.description} (limit: {self.limit})"


def violations(message: Message) -> list[Violation]:
    """Every limit that a request, or a command made of one, breaks.

    A `SubmitRequest` is judged as a batch; each `Mutation` in it by itself, so
    that one bad mutation fails alone.
    """
    if isinstance(message, Mutation | Command):
        body = message.WhichOneof("body")
        if body is None:
            return [Violation("body", "is required", "one of the mutations")]
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
        found.append(_too_large("", size, limits.REQUEST_BYTES_MAX))
    return found


def request_id_violations(request_id: RequestId) -> list[Violation]:
    """What is wrong with a request id, read for itself."""
    found: list[Violation] = []
    if not limits.SESSION_ID.fullmatch(request_id.session_id):
        found.append(_bad_session_id("request_id.session_id", request_id.session_id))
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


# --- parts -------------------------------------------------------------------


def _bad_session_id(field: str, value: str) -> Violation:
    words = f"{_shown(value)} is no session id"
    return Violation(field, words, f"[a-zA-Z0-9._-]{{1,{limits.SESSION_ID_CHARS_MAX}}}")


def _bad_agent_id(field: str, value: str) -> Violation:
    words = f"{_shown(value)} is no agent id"
    most = limits.AGENT_ID_CHARS_MAX
    return Violation(field, words, f"[a-zA-Z0-9][a-zA-Z0-9._/-]{{0,{most - 1}}}")


def _member_id(value: str, field: str = "member_id") -> Iterator[Violation]:
    if not limits.MEMBER_ID.fullmatch(value):
        most = limits.MEMBER_ID_CHARS_MAX
        words = f"{_shown(value)} is no member id"
        yield Violation(field, words, f"[a-zA-Z0-9][a-zA-Z0-9._-]{{0,{most - 1}}}")


def _address(field: str, value: str) -> Iterator[Violation]:
    found = limits.ADDRESS.fullmatch(value) if len(value) <= limits.ADDRESS_CHARS_MAX else None
    if found is None or not 1 <= int(found[1]) <= 65_535:
        words = f"{_shown(value)} is no address"
        most = f"port 1 to 65535, {limits.ADDRESS_CHARS_MAX} characters"
        yield Violation(field, words, f"host:port or [ipv6]:port, {most}")


def _shown(value: str) -> str:
    if not value:
        return "the empty text"
    return repr(value) if len(value) <= 40 else f"{value[:40]!r}... of {len(value)} characters"


def _too_large(field: str, size: int, most: int) -> Violation:
    return Violation(field, f"has {size} bytes", f"{most} bytes", too_large=True)


def _session_id(value: str, field: str = "session_id") -> Iterator[Violation]:
    if not limits.SESSION_ID.fullmatch(value):
        yield _bad_session_id(field, value)


def _agent_id(value: str, field: str = "agent_id") -> Iterator[Violation]:
    if not limits.AGENT_ID.fullmatch(value):
        yield _bad_agent_id(field, value)


def _words(field: str, value: str, most: int, least: int = 0) -> Iterator[Violation]:
    if not least <= len(value) <= most:
        span = f"{least} to {most} characters" if least else f"{most} characters"
        yield Violation(field, f"has {len(value)} characters", span)


def _people(field: str, value: str) -> Iterator[Violation]:
    return _words(field, value, limits.PEOPLE_CHARS_MAX)


def _labels(labels: Sequence[Label], field: str = "labels") -> Iterator[Violation]:
    if len(labels) > limits.LABELS_MAX:
        yield Violation(field, f"has {len(labels)} labels", f"{limits.LABELS_MAX} labels")
        return
    seen = set()
    for at, label in enumerate(labels):
        place = f"{field}[{at}]"
        yield from _words(f"{place}.name", label.name, limits.LABEL_NAME_CHARS_MAX, 1)
        yield from _words(f"{place}.value", label.value, limits.LABEL_VALUE_CHARS_MAX)
        if label.name in seen:
            words = f"{_shown(label.name)} is there twice"
            yield Violation(f"{place}.name", words, "each name once")
        seen.add(label.name)


def _ttl(value: int, least: int, most: int) -> Iterator[Violation]:
    if value != 0 and not least <= value <= most:
        yield Violation("ttl_ms", f"is {value}", f"{least} to {most}, or 0 for the default")


def _enum(field: str, value: int, most: int) -> Iterator[Violation]:
    if not 0 <= value <= most:
        yield Violation(field, f"{value} is not known", f"0 to {most}")


def _consistency(message: Any) -> Iterator[Violation]:
    return _enum("consistency", message.consistency, 2)


def _page(message: Any) -> Iterator[Violation]:
    if message.page_size > limits.PAGE_SIZE_MAX:
        yield Violation("page_size", f"is {message.page_size}", str(limits.PAGE_SIZE_MAX))
    yield from _words("page_token", message.page_token, limits.PAGE_TOKEN_CHARS_MAX)
    yield from _consistency(message)


def _fence(message: Any) -> Iterator[Violation]:
    if not message.HasField("fence"):
        yield Violation("fence", "is required", "the token of an ownership")


def _event(event: NewEvent, place: str) -> Iterator[Violation]:
    most = limits.EVENT_WORD_CHARS_MAX
    yield from _words(f"{place}.type", event.type, most, 1)
    yield from _words(f"{place}.content_type", event.content_type, most)
    yield from _words(f"{place}.causation_id", event.causation_id, most)
    yield from _words(f"{place}.correlation_id", event.correlation_id, most)


def _event_is_fine(event: NewEvent) -> bool:
    """The common case of `_event`, without a generator for each field."""
    most = limits.EVENT_WORD_CHARS_MAX
    return (
        0 < len(event.type) <= most
        and len(event.content_type) <= most
        and len(event.causation_id) <= most
        and len(event.correlation_id) <= most
    )


def _checkpoint(checkpoint: NewCheckpoint) -> Iterator[Violation]:
    if (size := len(checkpoint.data)) > limits.CHECKPOINT_BYTES_MAX:
        yield _too_large("checkpoint.data", size, limits.CHECKPOINT_BYTES_MAX)
    most = limits.EVENT_WORD_CHARS_MAX
    yield from _words("checkpoint.content_type", checkpoint.content_type, most)
    yield from _labels(checkpoint.labels, "checkpoint.labels")


# --- one rule a request ------------------------------------------------------


def _open_session(message: OpenSessionRequest) -> Iterator[Violation]:
    yield from _session_id(message.session_id)
    yield from _ttl(message.ttl_ms, limits.SESSION_TTL_MS_MIN, limits.SESSION_TTL_MS_MAX)
    yield from _people("client", message.client)


def _labelled_agent(message: CreateAgentRequest | UpdateAgentRequest) -> Iterator[Violation]:
    yield from _agent_id(message.agent_id)
    yield from _labels(message.labels)


def _halt(message: HaltAgentRequest) -> Iterator[Violation]:
    yield from _agent_id(message.agent_id)
    yield from _people("reason", message.reason)


def _acquire(message: AcquireOwnershipRequest) -> Iterator[Violation]:
    yield from _agent_id(message.agent_id)
    yield from _enum("mode", message.mode, 3)
    yield from _ttl(message.ttl_ms, limits.OWNERSHIP_TTL_MS_MIN, limits.OWNERSHIP_TTL_MS_MAX)
    yield from _people("holder", message.holder)


def _fenced(message: Any) -> Iterator[Violation]:
    yield from _agent_id(message.agent_id)
    yield from _fence(message)


def _commit_step(message: CommitStepRequest) -> Iterator[Violation]:
    yield from _fenced(message)
    if (count := len(message.events)) > limits.EVENTS_PER_STEP_MAX:
        yield Violation("events", f"has {count} events", str(limits.EVENTS_PER_STEP_MAX))
        return
    for at, event in enumerate(message.events):
        if not _event_is_fine(event):
            yield from _event(event, f"events[{at}]")
    if message.HasField("checkpoint"):
        yield from _checkpoint(message.checkpoint)


def _check_fence(message: CheckFenceRequest) -> Iterator[Violation]:
    if not 1 <= len(message.fences) <= limits.FENCES_PER_CHECK_MAX:
        span = f"1 to {limits.FENCES_PER_CHECK_MAX}"
        yield Violation("fences", f"has {len(message.fences)} fences", span)
        return
    for at, query in enumerate(message.fences):
        yield from _agent_id(query.agent_id, f"fences[{at}].agent_id")


def _submit(message: SubmitRequest) -> Iterator[Violation]:
    if len(message.mutations) > limits.MUTATIONS_PER_BATCH_MAX:
        words = f"has {len(message.mutations)} mutations"
        yield Violation("mutations", words, str(limits.MUTATIONS_PER_BATCH_MAX))


def _list_agents(message: ListAgentsRequest) -> Iterator[Violation]:
    yield from _words("prefix", message.prefix, limits.AGENT_ID_CHARS_MAX)
    yield from _page(message)


def _list_checkpoints(message: ListCheckpointsRequest) -> Iterator[Violation]:
    yield from _agent_id(message.agent_id)
    yield from _page(message)


def _agent_read(message: GetAgentRequest | GetCheckpointRequest) -> Iterator[Violation]:
    yield from _agent_id(message.agent_id)
    yield from _consistency(message)


def _stream_read(message: ReadEventsRequest | GetStreamRequest) -> Iterator[Violation]:
    yield from _agent_id(message.stream_id, "stream_id")
    yield from _consistency(message)


def _add_member(message: AddMemberRequest) -> Iterator[Violation]:
    yield from _member_id(message.member_id)
    yield from _address("raft_address", message.raft_address)
    yield from _address("client_address", message.client_address)


def _named_member(message: PromoteMemberRequest | RemoveMemberRequest) -> Iterator[Violation]:
    return _member_id(message.member_id)


def _transfer(message: TransferLeadershipRequest) -> Iterator[Violation]:
    if message.to_member_id:
        yield from _member_id(message.to_member_id, "to_member_id")


def _named_session(message: Any) -> Iterator[Violation]:
    return _session_id(message.session_id)


def _named_agent(message: Any) -> Iterator[Violation]:
    return _agent_id(message.agent_id)


def _nothing(_message: Any) -> Iterator[Violation]:
    return iter(())


_RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    OpenSessionRequest: _open_session,
    CloseSessionRequest: _named_session,
    KeepAliveRequest: _named_session,
    ListSessionsRequest: _page,
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
    CommitStepRequest: _commit_step,
    SubmitRequest: _submit,
    ReadEventsRequest: _stream_read,
    ReadAllRequest: _consistency,
    GetStreamRequest: _stream_read,
    GetCheckpointRequest: _agent_read,
    ListCheckpointsRequest: _list_checkpoints,
    StatusRequest: _nothing,
    ListMembersRequest: _consistency,
    AddMemberRequest: _add_member,
    PromoteMemberRequest: _named_member,
    RemoveMemberRequest: _named_member,
    TransferLeadershipRequest: _transfer,
    ExpireSession: _named_session,
    ExpireOwnership: _fenced,
}
