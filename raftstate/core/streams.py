"""Streams: events that are appended, also to several streams at once, and truncated.

Agents and free streams share their ids. An agent's stream ends where its head is, and
only its owner appends to it. A free stream has a record of its own, and anybody
appends. Of an agent's stream there is a record once its beginning was truncated.

An append that names ids is made once: sent again it is answered as the first time. To
truncate moves a mark, at once; the rows go bit by bit, see `sweep`.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import (
    agents,
    checkpoint_queries,
    events,
    incidents,
    keys,
    ownership,
    sweep,
    undone,
)
from raftstate.core.context import Context, refuse, refuse_state, refuse_subject
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    AppendEventsResponse,
    Event,
    Expected,
    NewEvent,
    Projection,
    StreamAppend,
    StreamAppended,
    StreamInfo,
    TruncateBeforeRequest,
    TruncateBeforeResponse,
)
from raftstate.v1.store_pb2 import Reason, Refusal


class _Target(NamedTuple):
    """A stream that is appended to: its agent, or its record, or neither yet."""

    append: StreamAppend
    agent: Agent | None
    row: StreamInfo | None

    @property
    def last_seq(self) -> int:
        """How many events there ever were."""
        if self.agent is not None:
            return self.agent.head.event_seq
        return self.row.last_seq if self.row is not None else 0


# --- appending ---------------------------------------------------------------


def append_events(
    context: Context, request: AppendEventsRequest
) -> AppendEventsResponse | Refusal:
    """Append to every stream named, or to none."""
    targets = [_target(context, append) for append in request.appends]
    for at, target in enumerate(targets):
        if (refusal := _check_shape(target, f"appends[{at}]")) is not None:
            return refusal
    known = _known(context, targets)
    if known is not None:
        return known
    session_id = request.request_id.session_id
    for target in targets:
        refusal = _check_owner(target, session_id) or _check_expected(target)
        if refusal is not None:
            return refusal
    first_position = context.last_position + 1
    appended = [_append(context, target) for target in targets]
    return AppendEventsResponse(appended=appended, first_position=first_position)


def _target(context: Context, append: StreamAppend) -> _Target:
    agent = agents.load(context.store, append.stream_id)
    row = events.stream_row(context.store, append.stream_id) if agent is None else None
    return _Target(append, agent, row)


def _check_shape(target: _Target, place: str) -> Refusal | None:
    """A fence, and hashes of a state, are for agents' streams, and a fence only for them."""
    stream_id = target.append.stream_id
    fenced = target.append.HasField("fence")
    if fenced != (target.agent is not None):
        message = (
            f"{stream_id} is no agent's stream: it has no fence"
            if fenced
            else f"{stream_id} is an agent's stream: a fence is required"
        )
        return refuse(Reason.REASON_INVALID_REQUEST, message, field=f"{place}.fence")
    if target.agent is not None:
        return None
    for at, event in enumerate(target.append.events):
        if event.state_hash:
            field = f"{place}.events[{at}].state_hash"
            message = f"{stream_id} is no agent's stream: there is no state to hash"
            return refuse(Reason.REASON_INVALID_REQUEST, message, field=field)
    return None


def _check_owner(target: _Target, session_id: str) -> Refusal | None:
    """Only who owns an agent at work appends to its stream."""
    if target.agent is None:
        return None
    if target.agent.lifecycle not in agents.OPEN_STATES:
        refusal: Refusal | None = refuse_state(target.agent, "written")
    else:
        refusal = ownership.check_fence(target.agent, target.append.fence, session_id)
    if refusal is not None:
        refusal.subject = target.append.stream_id
    return refusal


def _check_expected(target: _Target) -> Refusal | None:
    """The stream has to be where the append expects it."""
    append, last_seq = target.append, target.last_seq
    match append.expected:
        case Expected.EXPECTED_NONE:
            fits, wanted = last_seq == 0, "without events"
        case Expected.EXPECTED_EXISTS:
            fits, wanted = last_seq > 0, "with an event"
        case Expected.EXPECTED_EXACT:
            fits, wanted = last_seq == append.expected_seq, f"at seq {append.expected_seq}"
        case _:
            return None
    if fits:
        return None
    message = f"stream {append.stream_id} is at seq {last_seq}, not {wanted}"
    refusal = refuse_subject(Reason.REASON_CONFLICT, message, append.stream_id)
    refusal.current_seq = last_seq
    return refusal


def _append(context: Context, target: _Target) -> StreamAppended:
    stream_id, new = target.append.stream_id, target.append.events
    first_seq = target.last_seq + 1
    agent = target.agent
    if agent is not None:
        head = agent.head
        events.append(context, stream_id, head, new)
        agent.owner.touched_revision = context.revision
        if agent.incident_id:
            incidents.resumed(context, agent)
        agents.save(context, agent)
    else:
        row = target.row or StreamInfo(stream_id=stream_id, first_seq=1)
        head = StepHead(event_seq=row.last_seq, event_hash=row.last_hash)
        events.append(context, stream_id, head, new)
        row.last_seq, row.last_hash = head.event_seq, head.event_hash
        _save(context, row)
    return StreamAppended(
        first_seq=first_seq, last_seq=head.event_seq, last_hash=head.event_hash
    )


def _save(context: Context, row: StreamInfo) -> None:
    key = keys.stream(row.stream_id)
    context.store.put(key, row.SerializeToString(deterministic=True))


# --- what was appended before ------------------------------------------------


def _known(context: Context, targets: list[_Target]) -> AppendEventsResponse | Refusal | None:
    """The answer if the events are there already, or some of them are; None if all are new."""
    known = [
        events.known_seqs(context.store, each.append.stream_id, each.append.events)
        for each in targets
    ]
    for target in targets:
        refusal = events.check_different(target.append.stream_id, target.append.events)
        if refusal is not None:
            return refusal
    if not any(map(any, known)):
        return None
    appended = []
    first_position = 0
    for target, seqs in zip(targets, known, strict=True):
        found = _same(context, target.append, seqs)
        if isinstance(found, Refusal):
            return found
        first_position = first_position or found[0].position
        last = found[-1]
        appended.append(
            StreamAppended(first_seq=found[0].seq, last_seq=last.seq, last_hash=last.hash)
        )
    return AppendEventsResponse(
        appended=appended, first_position=first_position, duplicate=True
    )


def _same(context: Context, append: StreamAppend, seqs: list[int]) -> list[Event] | Refusal:
    """The stored events that an append has written, or why it cannot be that append."""
    found = []
    for at, (new, seq) in enumerate(zip(append.events, seqs, strict=True)):
        if seq == 0 or seq != seqs[0] + at:
            return _half_known(append, seqs)
        stored = _load(context, append.stream_id, seq)
        if not _equal(new, stored):
            return events.refuse_reused(append.stream_id, new.event_id)
        found.append(stored)
    return found


def _half_known(append: StreamAppend, seqs: list[int]) -> Refusal:
    named = [event.event_id for event, seq in zip(append.events, seqs, strict=True) if seq]
    if named:
        return events.refuse_reused(append.stream_id, named[0])
    message = (
        f"stream {append.stream_id} has none of these events, while another stream has its own"
    )
    return refuse_subject(Reason.REASON_EVENT_ID_REUSED, message, append.stream_id)


def _equal(new: NewEvent, stored: Event) -> bool:
    """Whether an event is the one that is stored under its id."""
    return (new.type, new.content_type, new.data) == (
        stored.type,
        stored.content_type,
        stored.data,
    )


def _load(context: Context, stream_id: str, seq: int) -> Event:
    raw = context.store.get(keys.event(stream_id, seq))
    assert raw is not None, f"{stream_id}: event {seq} is missing"
    return Event.FromString(raw)


# --- truncation --------------------------------------------------------------


def truncate_before(
    context: Context, request: TruncateBeforeRequest
) -> TruncateBeforeResponse | Refusal:
    """Give up the oldest events of a stream, if something stands for them."""
    stream_id, before = request.stream_id, request.before_seq
    agent = agents.load(context.store, stream_id)
    row = events.stream_row(context.store, stream_id)
    if agent is not None and agent.head.event_seq:
        row = row or StreamInfo(stream_id=stream_id, first_seq=1, agent=True)
        last_seq = agent.head.event_seq
        refusal = _check_checkpoint(context, request)
    elif row is not None and agent is None:
        last_seq = row.last_seq
        refusal = _check_projection(context, request, row)
    else:
        message = f"there is no stream {stream_id}"
        return refuse_subject(Reason.REASON_STREAM_NOT_FOUND, message, stream_id)
    if refusal is not None:
        return refusal
    if before > row.first_seq:
        if before > last_seq + 1:
            return _uncovered(f"stream {stream_id} ends at seq {last_seq}", "before_seq")
        given_up = row.first_seq
        newest = _load(context, stream_id, before - 1)
        row.base_hash = newest.hash
        row.first_seq = before
        _save(context, row)
        sweep.give_up_events(context, stream_id, given_up, before - 1)
        if agent is not None:
            _give_up_recordings(context, newest, last_seq)
    return TruncateBeforeResponse(first_seq=row.first_seq)


def _give_up_recordings(context: Context, newest: Event, last_seq: int) -> None:
    """What was recorded in steps up to that of the newest event that was given up goes with
    it. A step that has events left keeps it all."""
    step = newest.step
    if newest.seq < last_seq and _load(context, newest.stream_id, newest.seq + 1).step == step:
        step -= 1
    sweep.give_up_recordings(context, newest.stream_id, step)


def _check_checkpoint(context: Context, request: TruncateBeforeRequest) -> Refusal | None:
    """An agent's events may go if a checkpoint of its reflects them."""
    if request.projection or not request.checkpoint_id:
        field = "projection" if request.projection else "checkpoint_id"
        message = f"{request.stream_id} is an agent's stream: a checkpoint is required"
        return refuse(Reason.REASON_INVALID_REQUEST, message, field=field)
    key = keys.checkpoint(request.stream_id, request.checkpoint_id)
    raw = context.store.get(key)
    if raw is None:
        message = f"agent {request.stream_id} has no checkpoint {request.checkpoint_id}"
        return refuse(Reason.REASON_CHECKPOINT_NOT_FOUND, message, field="checkpoint_id")
    if (covered := Checkpoint.FromString(raw).event_seq) + 1 < request.before_seq:
        message = f"checkpoint {request.checkpoint_id} reflects events up to seq {covered}"
        return _uncovered(message, "checkpoint_id")
    return _check_newest(context, request)


def _check_newest(context: Context, request: TruncateBeforeRequest) -> Refusal | None:
    """A successor begins with the newest checkpoint: what it needs beside that stays. Only
    a rollback, whose copy stands at an older event, makes that differ from any other."""
    newest = checkpoint_queries.get_checkpoint(context.store, request.stream_id)
    assert newest is not None, f"agent {request.stream_id} has an older checkpoint"
    first, last = newest.event_seq + 1, request.before_seq - 1
    for needed in undone.live(context.store, request.stream_id, first, last):
        message = f"the newest checkpoint does not reflect event {needed.first}"
        return _uncovered(message, "before_seq")
    return None


def _check_projection(
    context: Context, request: TruncateBeforeRequest, row: StreamInfo
) -> Refusal | None:
    """A free stream's events may go if a projection has passed them."""
    if request.checkpoint_id or not request.projection:
        field = "checkpoint_id" if request.checkpoint_id else "projection"
        message = f"{request.stream_id} is no agent's stream: a projection is required"
        return refuse(Reason.REASON_INVALID_REQUEST, message, field=field)
    raw = context.store.get(keys.projection(request.projection))
    if raw is None:
        message = f"there is no projection {request.projection}"
        return refuse_subject(Reason.REASON_PROJECTION_NOT_FOUND, message, request.projection)
    newest = min(request.before_seq - 1, row.last_seq)
    if newest < row.first_seq:
        return None  # there is nothing to be given up
    needed = _load(context, request.stream_id, newest).position
    if (position := Projection.FromString(raw).position) < needed:
        message = (
            f"projection {request.projection} is at {position}, event {newest} at {needed}"
        )
        refusal = _uncovered(message, "projection")
        refusal.current_position = position
        return refusal
    return None


def _uncovered(message: str, field: str) -> Refusal:
    return refuse(Reason.REASON_NOT_COVERED, message, field=field)
