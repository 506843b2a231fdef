"""Sessions: a client's identity, under which every mutation happens at most once.

A mutation carries a request id: which session, and which of the session's
requests. The first time it is applied, the outcome is remembered under that id,
refusals too; every later time, the memory answers. So a client that does not
know what became of a request sends it again, to anyone, as often as it likes.

The memory is bounded from both sides. The client says with each request which
outcomes it still waits for; those below are forgotten. And a sequence may run
at most a window ahead of that. What is remembered of one request is a hash of
what was asked, which tells a retry from another request under the same id, and
an outcome of at most 4 KiB.

Every command that names a live session touches it: an expiry proposed by a
leader that had not seen that command is then ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from raftstate.core import breakers, compensations, keys, limits, ownership
from raftstate.core.context import Context, refuse
from raftstate.core.ports import Reader
from raftstate.core.validate import request_id_violations
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    CloseSessionResponse,
    OpenSessionRequest,
    OpenSessionResponse,
    Session,
)
from raftstate.v1.store_pb2 import (
    Done,
    ExpireSession,
    Outcome,
    OutcomeRecord,
    Reason,
    Refusal,
    SessionTouch,
)

# What could make an outcome larger than the record may be: the labels of the
# agent that these answer with.
_WITH_LABELS = (
    "create_agent",
    "update_agent",
    "retire_agent",
    "halt_agent",
    "resume_agent",
    "fork_agent",
)


class SessionRecord(NamedTuple):
    """A live session: what readers see of it, and what each of its commands changes."""

    session: Session
    touch: SessionTouch

    @property
    def touched_revision(self) -> int:
        """The revision of its newest command."""
        return self.touch.touched_revision

    @property
    def forgotten_below(self) -> int:
        """Outcomes of lower sequences are gone."""
        return self.touch.forgotten_below


def load(reader: Reader, session_id: str) -> SessionRecord | None:
    """A live session's record."""
    raw = reader.get(keys.session(session_id))
    if raw is None:
        return None
    touch = reader.get(keys.session_touch(session_id))
    assert touch is not None, f"session {session_id} has no touch"
    return SessionRecord(Session.FromString(raw), SessionTouch.FromString(touch))


# --- the life of a session ---------------------------------------------------


def open_session(
    context: Context, request: OpenSessionRequest
) -> OpenSessionResponse | Refusal:
    """Make a session, or answer as the first time if it is there already."""
    context.sessions.add(request.session_id)
    ttl_ms = request.ttl_ms or limits.SESSION_TTL_MS_DEFAULT
    record = load(context.store, request.session_id)
    if record is None:
        session = Session(
            session_id=request.session_id,
            ttl_ms=ttl_ms,
            client=request.client,
            opened_revision=context.revision,
        )
        record = SessionRecord(session, SessionTouch(forgotten_below=1))
        key = keys.session(request.session_id)
        context.store.put(key, session.SerializeToString(deterministic=True))
    elif record.session.ttl_ms != ttl_ms:
        message = f"session {request.session_id} is open with ttl_ms {record.session.ttl_ms}"
        return refuse(Reason.REASON_REQUEST_ID_REUSED, message, field="ttl_ms")
    record.touch.touched_revision = context.revision
    _save_touch(context, record)
    return OpenSessionResponse(session=record.session)


def close_session(context: Context, request: CloseSessionRequest) -> CloseSessionResponse:
    """End a session. One that is gone already is closed."""
    context.sessions.add(request.session_id)
    record = load(context.store, request.session_id)
    wanted = request.opened_revision
    if record is not None and wanted in (0, record.session.opened_revision):
        _end(context, request.session_id, lost=False)
    return CloseSessionResponse()


def expire_session(context: Context, request: ExpireSession) -> Done | Refusal:
    """End a session, unless it was heard of since the leader looked."""
    context.sessions.add(request.session_id)
    record = load(context.store, request.session_id)
    if record is None or record.touched_revision != request.touched_revision:
        message = f"session {request.session_id} has moved since revision"
        return refuse(Reason.REASON_EXPIRY_OVERTAKEN, f"{message} {request.touched_revision}")
    _end(context, request.session_id, lost=True)
    return Done()


def _end(context: Context, session_id: str, *, lost: bool) -> None:
    """A session goes with all it owns and all it remembers. `lost`: nobody closed it."""
    ownership.end_all_of(context, session_id, lost=lost)
    compensations.end_claims_of(context, session_id)
    breakers.end_permits_of(context, session_id)
    context.store.delete_span(keys.outcomes(session_id))
    context.store.delete(keys.session_touch(session_id))
    context.store.delete(keys.session(session_id))


def _save_touch(context: Context, record: SessionRecord) -> None:
    key = keys.session_touch(record.session.session_id)
    context.store.put(key, record.touch.SerializeToString(deterministic=True))


# --- exactly once ------------------------------------------------------------


def once(
    context: Context, name: str, number: int, request: Any, run: Callable[[], Any]
) -> Outcome:
    """The outcome of a mutation: remembered, or made by `run` and remembered.

    `name` and `number` are the field that the request is in a `Command`.
    """
    request_id = request.request_id
    if found := request_id_violations(request_id):
        # It names no request of a session, so there is nothing to remember it by.
        message = str(found[0])
        return _refused(context, Reason.REASON_INVALID_REQUEST, message, found[0].field)

    record = load(context.store, request_id.session_id)
    if record is None or record.session.opened_revision != request_id.opened_revision:
        message = f"session {request_id.session_id} has ended"
        return _refused(context, Reason.REASON_SESSION_EXPIRED, message)
    context.sessions.add(request_id.session_id)
    record.touch.touched_revision = context.revision
    _forget(context, record, request_id.lowest_unfinished)
    _save_touch(context, record)

    if request_id.sequence < record.forgotten_below:
        message = f"the outcome of request {request_id.sequence} is forgotten"
        return _refused(context, Reason.REASON_OUTCOME_FORGOTTEN, message)
    key = keys.outcome(request_id.session_id, request_id.sequence)
    asked = payload_hash(number, request)
    if (raw := context.store.get(key)) is not None:
        remembered = OutcomeRecord.FromString(raw)
        if remembered.payload_hash == asked:
            return remembered.outcome
        message = f"request {request_id.sequence} was another request before"
        return _refused(context, Reason.REASON_REQUEST_ID_REUSED, message)

    made = OutcomeRecord(payload_hash=asked, outcome=outcome_of(context, name, run()))
    context.store.replace(key, None, _bounded(made))
    # As it is remembered: a retry is told the very same.
    return made.outcome


def outcome_of(context: Context, name: str, result: Any) -> Outcome:
    """What a handler returned, as the outcome of the current command."""
    if isinstance(result, Refusal):
        name = "refusal"
    elif isinstance(result, Done):
        name = "done"
    return Outcome(revision=context.revision, raft_index=context.raft_index, **{name: result})


def payload_hash(number: int, request: Any) -> bytes:
    """What tells a retry from another request: a hash of all but the request id."""
    payload = type(request)()
    payload.CopyFrom(request)
    payload.ClearField("request_id")
    data = number.to_bytes(4, "big") + payload.SerializeToString(deterministic=True)
    return blake2b(data, digest_size=16).digest()


def _refused(context: Context, reason: Reason, message: str, field: str = "") -> Outcome:
    return outcome_of(context, "refusal", refuse(reason, message, field=field))


def _forget(context: Context, record: SessionRecord, lowest_unfinished: int) -> None:
    """Drop what the client has the answers to. It may not take that back."""
    if lowest_unfinished > record.forgotten_below:
        session_id = record.session.session_id
        context.store.delete_span(keys.outcomes_below(session_id, lowest_unfinished))
        record.touch.forgotten_below = lowest_unfinished


def _bounded(record: OutcomeRecord) -> bytes:
    """An outcome as it is remembered: whole, or without labels, which it then loses, if
    that is too much."""
    data = record.SerializeToString(deterministic=True)
    if len(data) > limits.OUTCOME_BYTES_MAX:
        result = record.outcome.WhichOneof("result")
        assert result in _WITH_LABELS, f"an outcome {result} of {len(data)} bytes"
        getattr(record.outcome, result).agent.ClearField("labels")
        data = record.SerializeToString(deterministic=True)
    assert len(data) <= limits.OUTCOME_BYTES_MAX, f"an outcome of {len(data)} bytes"
    return data
