"""Projections: consumers of all streams, and how far each has come.

What a consumer makes of events, and its position after them, belong together: it saves
the position in a transaction with the rest (`txn`), or by itself where what it makes is
elsewhere. Whoever expects another position than the saved one is a second consumer
under the same name, and is refused.
"""

from __future__ import annotations

from raftstate.core import keys
from raftstate.core.context import Context, refuse, refuse_subject
from raftstate.core.ports import Reader
from raftstate.v1.event_service_pb2 import (
    DeleteProjectionRequest,
    DeleteProjectionResponse,
    Projection,
    SaveProjectionRequest,
    SaveProjectionResponse,
)
from raftstate.v1.store_pb2 import Reason, Refusal


def load(reader: Reader, name: str) -> Projection | None:
    """A projection's record."""
    raw = reader.get(keys.projection(name))
    return None if raw is None else Projection.FromString(raw)


def save(context: Context, request: SaveProjectionRequest) -> SaveProjectionResponse | Refusal:
    """Note how far a projection has come."""
    expected = request.expected_position if request.HasField("expected_position") else None
    refusal = save_position(context, request.name, request.position, expected)
    return SaveProjectionResponse() if refusal is None else refusal


def save_position(
    context: Context, name: str, position: int, expected: int | None
) -> Refusal | None:
    """Note a position; or why not, and then nothing has changed."""
    refusal = check_position(context, name, position, expected)
    if refusal is None:
        record = Projection(
            name=name,
            position=position,
            saved_revision=context.revision,
            log_time_ms=context.log_time_ms,
        )
        context.store.put(keys.projection(name), record.SerializeToString(deterministic=True))
    return refusal


def check_position(
    context: Context,
    name: str,
    position: int,
    expected: int | None,
    current: int | None = None,
) -> Refusal | None:
    """Why a position cannot be noted; None if it can. A projection that is not there is
    at zero. Without an expectation a projection may also go back. `current` is where it
    is, if the command that asks has moved it."""
    if position > context.last_position:
        message = f"position {position} is beyond the last event, {context.last_position}"
        return refuse(Reason.REASON_INVALID_REQUEST, message, field="position")
    if expected is None:
        return None
    if current is None:
        saved = load(context.store, name)
        current = 0 if saved is None else saved.position
    if expected == current:
        return None
    message = f"projection {name} is at {current}, not {expected}"
    refusal = refuse_subject(Reason.REASON_CONFLICT, message, name)
    refusal.current_position = current
    return refusal


def delete(
    context: Context, request: DeleteProjectionRequest
) -> DeleteProjectionResponse | Refusal:
    """Forget a projection."""
    if not context.store.delete(keys.projection(request.name)):
        message = f"there is no projection {request.name}"
        return refuse_subject(Reason.REASON_PROJECTION_NOT_FOUND, message, request.name)
    return DeleteProjectionResponse()
