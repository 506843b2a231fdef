"""Verdicts: what validators say of a checkpoint, or of a state that was restored."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.recovery_service_pb2 import (
    ReportValidationRequest,
    ReportValidationResponse,
)
from raftstate.v1.store_pb2 import Refusal


def report_validation(
    context: Context, request: ReportValidationRequest
) -> ReportValidationResponse | Refusal:
    """To be written."""
    raise NotImplementedError
