"""Rollbacks: agents taken back to a state that can be trusted."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AbortRollbackResponse,
    FinishRollbackRequest,
    FinishRollbackResponse,
    StartRollbackRequest,
    StartRollbackResponse,
)
from raftstate.v1.store_pb2 import Refusal


def start_rollback(
    context: Context, request: StartRollbackRequest
) -> StartRollbackResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def finish_rollback(
    context: Context, request: FinishRollbackRequest
) -> FinishRollbackResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def abort_rollback(
    context: Context, request: AbortRollbackRequest
) -> AbortRollbackResponse | Refusal:
    """To be written."""
    raise NotImplementedError
