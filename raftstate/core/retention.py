"""Retention."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.checkpoint_service_pb2 import (
    PruneCheckpointsRequest,
    PruneCheckpointsResponse,
)
from raftstate.v1.store_pb2 import Refusal


def prune_checkpoints(
    context: Context, request: PruneCheckpointsRequest
) -> PruneCheckpointsResponse | Refusal:
    """To come."""
    raise NotImplementedError
