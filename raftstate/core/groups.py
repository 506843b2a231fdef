"""Groups."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.checkpoint_service_pb2 import (
    DeleteGroupCheckpointRequest,
    DeleteGroupCheckpointResponse,
    PutGroupCheckpointRequest,
    PutGroupCheckpointResponse,
)
from raftstate.v1.store_pb2 import Refusal


def put_group_checkpoint(
    context: Context, request: PutGroupCheckpointRequest
) -> PutGroupCheckpointResponse | Refusal:
    """To come."""
    raise NotImplementedError


def delete_group_checkpoint(
    context: Context, request: DeleteGroupCheckpointRequest
) -> DeleteGroupCheckpointResponse | Refusal:
    """To come."""
    raise NotImplementedError
