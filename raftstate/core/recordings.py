"""Recorded values: what a run drew from outside itself."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.replay_service_pb2 import (
    RecordValueRequest,
    RecordValueResponse,
)
from raftstate.v1.store_pb2 import Refusal


def record_value(
    context: Context, request: RecordValueRequest
) -> RecordValueResponse | Refusal:
    """To be written."""
    raise NotImplementedError
