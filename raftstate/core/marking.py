"""Marks."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.checkpoint_service_pb2 import (
    MarkValidRequest,
    MarkValidResponse,
    TagCheckpointRequest,
    TagCheckpointResponse,
)
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest, PutValidatorResponse
from raftstate.v1.store_pb2 import Refusal


def tag_checkpoint(
    context: Context, request: TagCheckpointRequest
) -> TagCheckpointResponse | Refusal:
    """To come."""
    raise NotImplementedError


def mark_valid(context: Context, request: MarkValidRequest) -> MarkValidResponse | Refusal:
    """To come."""
    raise NotImplementedError


def put_validator(
    context: Context, request: PutValidatorRequest
) -> PutValidatorResponse | Refusal:
    """To come."""
    raise NotImplementedError
