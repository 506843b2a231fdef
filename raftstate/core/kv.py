"""Keys."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.kv_service_pb2 import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    DeleteRequest,
    DeleteResponse,
    PutRequest,
    PutResponse,
)
from raftstate.v1.store_pb2 import Refusal


def put(context: Context, request: PutRequest) -> PutResponse | Refusal:
    """To come."""
    raise NotImplementedError


def delete(context: Context, request: DeleteRequest) -> DeleteResponse | Refusal:
    """To come."""
    raise NotImplementedError


def delete_range(
    context: Context, request: DeleteRangeRequest
) -> DeleteRangeResponse | Refusal:
    """To come."""
    raise NotImplementedError
