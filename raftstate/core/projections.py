"""Projections."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.event_service_pb2 import (
    DeleteProjectionRequest,
    DeleteProjectionResponse,
    SaveProjectionRequest,
    SaveProjectionResponse,
)
from raftstate.v1.store_pb2 import Refusal


def save(context: Context, request: SaveProjectionRequest) -> SaveProjectionResponse | Refusal:
    """To come."""
    raise NotImplementedError


def delete(
    context: Context, request: DeleteProjectionRequest
) -> DeleteProjectionResponse | Refusal:
    """To come."""
    raise NotImplementedError
