"""Circuit breakers that everybody shares."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    AcquirePermitResponse,
    DeleteBreakerRequest,
    DeleteBreakerResponse,
    ForceCloseRequest,
    ForceCloseResponse,
    ForceOpenRequest,
    ForceOpenResponse,
    PutBreakerRequest,
    PutBreakerResponse,
    ReportOutcomesRequest,
    ReportOutcomesResponse,
    ResetRequest,
    ResetResponse,
)
from raftstate.v1.store_pb2 import Refusal


def put_breaker(context: Context, request: PutBreakerRequest) -> PutBreakerResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def delete_breaker(
    context: Context, request: DeleteBreakerRequest
) -> DeleteBreakerResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def acquire_permit(
    context: Context, request: AcquirePermitRequest
) -> AcquirePermitResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def report_outcomes(
    context: Context, request: ReportOutcomesRequest
) -> ReportOutcomesResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def force_open(context: Context, request: ForceOpenRequest) -> ForceOpenResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def force_close(context: Context, request: ForceCloseRequest) -> ForceCloseResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def reset(context: Context, request: ResetRequest) -> ResetResponse | Refusal:
    """To be written."""
    raise NotImplementedError
