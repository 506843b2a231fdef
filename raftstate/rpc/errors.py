"""What goes wrong, as google.rpc.Status.

Every failure carries an ErrorInfo of domain `raftstate` with the reason and, in its
metadata, `definite`: "true" if the command was not applied and never will be. The
other details say what a client can act on: who leads, which fence is current, which
field breaks which limit.

A failure that nobody foresaw is indefinite: that is always safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, RetryInfo
from google.rpc.status_pb2 import Status

from raftstate.core.parts import Violation
from raftstate.core.ports import ChangeRefused, Unavailable
from raftstate.core.types import token_text
from raftstate.errors import DOMAIN
from raftstate.v1.agent_service_pb2 import Lifecycle
from raftstate.v1.store_pb2 import Outcome, Reason, Refusal

DETAILS_KEY = "grpc-status-details-bin"

# HTTP/2 peers accept about 8 KiB of headers, and all of this travels in a trailer.
_MESSAGE_MAX = 400
_VIOLATIONS_MAX = 16

_CODES = {
    "AGENT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "AGENT_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "AGENT_STATE": grpc.StatusCode.FAILED_PRECONDITION,
    "OWNED": grpc.StatusCode.FAILED_PRECONDITION,
    "NOT_OWNER": grpc.StatusCode.FAILED_PRECONDITION,
    "FENCED": grpc.StatusCode.FAILED_PRECONDITION,
    "CONFLICT": grpc.StatusCode.ABORTED,
    "SESSION_EXPIRED": grpc.StatusCode.FAILED_PRECONDITION,
    "REQUEST_ID_REUSED": grpc.StatusCode.ALREADY_EXISTS,
    "OUTCOME_FORGOTTEN": grpc.StatusCode.FAILED_PRECONDITION,
    "EXPIRY_OVERTAKEN": grpc.StatusCode.ABORTED,
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "REQUEST_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "NOT_LEADER": grpc.StatusCode.UNAVAILABLE,
    "NO_QUORUM": grpc.StatusCode.UNAVAILABLE,
    "OUTCOME_UNKNOWN": grpc.StatusCode.UNAVAILABLE,
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "QUARANTINED": grpc.StatusCode.UNAVAILABLE,
    "DISK_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "NOT_CAUGHT_UP": grpc.StatusCode.FAILED_PRECONDITION,
    "UNHEALTHY": grpc.StatusCode.FAILED_PRECONDITION,
    "LAST_VOTER": grpc.StatusCode.FAILED_PRECONDITION,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "TOO_MANY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "STREAM_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "STREAM_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "EVENT_ID_REUSED": grpc.StatusCode.ALREADY_EXISTS,
    "NOT_COVERED": grpc.StatusCode.FAILED_PRECONDITION,
    "PROJECTION_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "CHECKPOINT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "CHUNK_MISSING": grpc.StatusCode.FAILED_PRECONDITION,
    "CHAIN_TOO_LONG": grpc.StatusCode.FAILED_PRECONDITION,
    "VALIDATOR_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "GROUP_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "GROUP_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "LEASE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "LEASE_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "EFFECT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "EFFECT_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "COMPENSATION_REQUIRED": grpc.StatusCode.INVALID_ARGUMENT,
    "SAGA_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "SAGA_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "ROLLBACK_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ROLLBACK_BARRIER": grpc.StatusCode.FAILED_PRECONDITION,
    "PLAN_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "PLAN_STATE": grpc.StatusCode.FAILED_PRECONDITION,
    "BREAKER_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "BREAKER_OPEN": grpc.StatusCode.UNAVAILABLE,
    "INCIDENT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "COMPACTED": grpc.StatusCode.OUT_OF_RANGE,
    "FUTURE_REVISION": grpc.StatusCode.OUT_OF_RANGE,
    "NOT_COMPARABLE": grpc.StatusCode.FAILED_PRECONDITION,
    "WATCH_TOO_SLOW": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "CORRUPT": grpc.StatusCode.DATA_LOSS,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}

# How long a client should let pass before it asks again.
_RETRY_MS = {
    "NOT_LEADER": 10,
    "NO_QUORUM": 100,
    "OUTCOME_UNKNOWN": 50,
    "OVERLOADED": 50,
    "OWNED": 200,
    "QUARANTINED": 10,
    "DISK_FULL": 5_000,
    "NOT_CAUGHT_UP": 200,
    "UNHEALTHY": 1_000,
}


class Failure(Exception):
    """A call that fails, with all that its client is told."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        definite: bool,
        metadata: Mapping[str, str] | None = None,
        details: Iterable[Message] = (),
        retry_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = (
            message if len(message) <= _MESSAGE_MAX else message[:_MESSAGE_MAX] + "..."
        )
        self.definite = definite
        self.metadata = dict(metadata or {})
        self.details = list(details)
        # After how long a client should ask again; None: that is not for it to decide.
        self.retry_ms = _RETRY_MS.get(reason) if retry_ms is None else retry_ms

    @property
    def code(self) -> grpc.StatusCode:
        """The status code of the table in the API's documentation."""
        return _CODES[self.reason]

    def status(self) -> Status:
        """The whole failure as one message."""
        info = ErrorInfo(domain=DOMAIN, reason=self.reason, metadata=self.metadata)
        info.metadata["definite"] = "true" if self.definite else "false"
        details: list[Message] = [info, *self.details]
        if self.retry_ms is not None:
            delay = Duration()
            delay.FromMilliseconds(self.retry_ms)
            details.append(RetryInfo(retry_delay=delay))
        return Status(
            code=self.code.value[0], message=self.message, details=map(_packed, details)
        )


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def invalid(violations: Iterable[Violation]) -> Failure:
    """The request breaks rules that need no state to check.

    One rule about size makes the whole failure REQUEST_TOO_LARGE, and comes first.
    """
    found = sorted(violations, key=lambda one: not one.too_large)[:_VIOLATIONS_MAX]
    first = found[0]
    reason = "REQUEST_TOO_LARGE" if first.too_large else "INVALID_REQUEST"
    bad = BadRequest(
        field_violations=[
            BadRequest.FieldViolation(field=one.field, description=str(one)[:_MESSAGE_MAX])
            for one in found
        ]
    )
    metadata = {"field": first.field or "request", "limit": first.limit}
    return Failure(reason, str(first), definite=True, metadata=metadata, details=[bad])


def invalid_field(field: str, description: str, limit: str) -> Failure:
    """One field is wrong, in a way that only this layer can see."""
    return invalid([Violation(field, description, limit)])


def unreadable(reason: str) -> Failure:
    """The bytes are not the message that the call takes."""
    return Failure(
        "INVALID_REQUEST",
        f"request: {reason}",
        definite=True,
        metadata={"field": "request"},
    )


def not_found(what: str, name: str) -> Failure:
    """There is no such agent, stream, checkpoint, projection, group, lease or whatever."""
    own = f"{what.upper()}_NOT_FOUND"
    return Failure(
        own if own in _CODES else "NOT_FOUND",
        f"there is no {what} {name!r}",
        definite=True,
        metadata={"subject": name},
    )


def compacted(revision: int, oldest: int) -> Failure:
    """What the store was at that revision is forgotten."""
    return Failure(
        "COMPACTED",
        f"revision {revision} is compacted: the oldest that can be read is {oldest}",
        definite=True,
        metadata={"oldest_revision": str(oldest)},
    )


def truncated(stream_id: str, oldest: int) -> Failure:
    """Events that were asked for are not there any more."""
    return Failure(
        "COMPACTED",
        f"stream {stream_id} is truncated: the oldest event that can be read is {oldest}",
        definite=True,
        metadata={"subject": stream_id, "oldest_seq": str(oldest)},
    )


def pruned(name: str, revision: int) -> Failure:
    """A checkpoint is gone that was there at that revision."""
    return Failure(
        "COMPACTED",
        f"checkpoint {name} has been pruned since revision {revision}",
        definite=True,
        metadata={"subject": name, "revision": str(revision)},
    )


def future_revision(revision: int, newest: int) -> Failure:
    """The store has not come so far."""
    return Failure(
        "FUTURE_REVISION",
        f"revision {revision} is not reached: it is {newest}",
        definite=True,
        metadata={"revision": str(newest)},
    )


def too_many(message: str, limit: int) -> Failure:
    """There would be more of something than this member puts up with."""
    return Failure("TOO_MANY", message, definite=True, metadata={"limit": str(limit)})


def not_comparable(message: str, field: str) -> Failure:
    """A checkpoint's content cannot be compared with another's."""
    detail = _precondition("NOT_COMPARABLE", field, message)
    metadata = {"field": field}
    return Failure(
        "NOT_COMPARABLE", message, definite=True, metadata=metadata, details=[detail]
    )


def reads_lost(revision: int) -> Failure:
    """A transaction was done, and what its reads saw is compacted."""
    message = f"it was done at revision {revision}, and what its reads saw is compacted"
    return Failure(
        "OUTCOME_FORGOTTEN",
        message,
        definite=False,
        metadata={"revision": str(revision)},
        details=[_precondition("OUTCOME_FORGOTTEN", f"revision/{revision}", message)],
    )


def session_expired(session_id: str) -> Failure:
    """The session has ended, or never was."""
    message = f"there is no live session {session_id!r}"
    return Failure(
        "SESSION_EXPIRED",
        message,
        definite=True,
        metadata={"session_id": session_id},
        details=[_precondition("SESSION_EXPIRED", f"session/{session_id}", message)],
    )


def unavailable(
    answer: Unavailable, leader: str | None, addresses: Mapping[str, str]
) -> Failure:
    """Consensus did not carry out the call; `leader` is who leads, if known. `addresses`
    are those of the members, for clients that know none of them any more."""
    metadata = dict(answer.details)
    metadata["members"] = ",".join(sorted(filter(None, addresses.values())))
    address = addresses.get(leader or "", "")
    if leader is not None:
        metadata["leader"] = leader
        metadata["leader_address"] = address
    reason = answer.reason if answer.reason in _CODES else "OUTCOME_UNKNOWN"
    message = _UNAVAILABLE_TEXT.get(reason, str(answer))
    if reason == "NOT_LEADER" and leader is not None and address:
        message += f"; {leader} at {address} does"
    return Failure(reason, message, definite=answer.definite, metadata=metadata)


_UNAVAILABLE_TEXT = {
    "NOT_LEADER": "this member does not lead; nothing was proposed",
    "NO_QUORUM": "no leader is known, or no quorum answers; nothing was proposed",
    "OVERLOADED": "the queue of proposals is full; nothing was proposed",
    "QUARANTINED": "this member's data is damaged: it serves nobody until it is mended",
    "DISK_FULL": "the disk is nearly full: what makes the state grow is refused",
    "OUTCOME_UNKNOWN": "it may have happened, or may yet; send the same request id again",
}


def change_refused(answer: ChangeRefused, subject: str) -> Failure:
    """A change of membership that was not made, and never will be."""
    reason = answer.reason if answer.reason in _CODES else "CONFLICT"
    details: list[Message] = []
    if _CODES[reason] is grpc.StatusCode.FAILED_PRECONDITION:
        details.append(_precondition(reason, f"member/{subject}", answer.message))
    metadata = {"subject": subject}
    return Failure(reason, answer.message, definite=True, metadata=metadata, details=details)


def refused(outcome: Outcome, subject: str) -> Failure:
    """The command was applied and changed nothing: the refusal says why.

    All are definite but one: a forgotten outcome means that the same request was
    answered before, so it may well have happened then.
    """
    refusal = outcome.refusal
    reason = Reason.Name(refusal.reason).removeprefix("REASON_")
    if reason not in _CODES:
        reason = "INTERNAL"
    details: list[Message] = []
    if _CODES[reason] is grpc.StatusCode.FAILED_PRECONDITION:
        details.append(_precondition(reason, refusal.subject or subject, refusal.message))
    if refusal.field:
        violation = BadRequest.FieldViolation(field=refusal.field, description=refusal.message)
        details.append(BadRequest(field_violations=[violation]))
    metadata = _refusal_metadata(refusal)
    metadata["revision"] = str(outcome.revision)
    metadata["raft_index"] = str(outcome.raft_index)
    definite = reason not in ("OUTCOME_FORGOTTEN", "INTERNAL")
    return Failure(
        reason,
        refusal.message or reason,
        definite=definite,
        metadata=metadata,
        details=details,
        retry_ms=_time_left(refusal) if reason == "BREAKER_OPEN" else None,
    )


def _time_left(refusal: Refusal) -> int | None:
    """For how long a breaker is open yet; None: until a person closes it, or for as long as
    others try."""
    if not refusal.open_until_ms:
        return None
    return max(1, refusal.open_until_ms - refusal.log_time_ms)


_NUMBERS = ("current_revision", "oldest_revision", "limit", "open_until_ms", "log_time_ms")


def _refusal_metadata(refusal: Refusal) -> dict[str, str]:
    """What the refusal speaks of, as text: only what is set."""
    metadata = {}
    if refusal.HasField("current_fence"):
        metadata["current_fence"] = token_text(refusal.current_fence)
    if refusal.current_holder:
        metadata["current_holder"] = refusal.current_holder
    if refusal.HasField("current_head"):
        head = refusal.current_head
        metadata["current_step"] = str(head.step)
        metadata["current_event_seq"] = str(head.event_seq)
        metadata["current_checkpoint_id"] = str(head.checkpoint_id)
    if refusal.lifecycle:
        metadata["lifecycle"] = Lifecycle.Name(refusal.lifecycle)
    for name in ("field", "subject", "current_state"):
        if text := getattr(refusal, name):
            metadata[name] = text
    for name in ("current_seq", "current_position"):
        if refusal.HasField(name):
            metadata[name] = str(getattr(refusal, name))
    for name in _NUMBERS:
        if number := getattr(refusal, name):
            metadata[name] = str(number)
    if refusal.chunk_hash:
        metadata["chunk_hash"] = refusal.chunk_hash.hex()
    return metadata


def _precondition(kind: str, subject: str, description: str) -> PreconditionFailure:
    violation = PreconditionFailure.Violation(
        type=kind, subject=subject, description=description[:_MESSAGE_MAX]
    )
    return PreconditionFailure(violations=[violation])


def corrupt(message: str) -> Failure:
    """This member found damage in what it stores, and what came of the call is open."""
    return Failure("CORRUPT", message, definite=False)


def damaged(name: str, expected: bytes, found: bytes) -> Failure:
    """A checkpoint's data is not what was saved; no hash is found of what is missing. A
    call that reads has changed nothing."""
    return Failure(
        "CORRUPT",
        f"the data of checkpoint {name} is not what was saved",
        definite=True,
        metadata={"subject": name, "expected_hash": expected.hex(), "found_hash": found.hex()},
    )


def internal(method: str) -> Failure:
    """A bug of ours. The cause is in the node's log, not in the answer."""
    return Failure("INTERNAL", f"{method} failed; the node's log says why", definite=False)
