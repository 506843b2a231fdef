"""Streams."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    AppendEventsResponse,
    TruncateBeforeRequest,
    TruncateBeforeResponse,
)
from raftstate.v1.store_pb2 import Refusal


def append_events(
    context: Context, request: AppendEventsRequest
) -> AppendEventsResponse | Refusal:
    """To come."""
    raise NotImplementedError


def truncate_before(
    context: Context, request: TruncateBeforeRequest
) -> TruncateBeforeResponse | Refusal:
    """To come."""
    raise NotImplementedError
