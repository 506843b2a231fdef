"""Compensations: what is to be undone, in a frozen order, one after the other."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompleteCompensationRequest,
    CompleteCompensationResponse,
    DecideCompensationRequest,
    DecideCompensationResponse,
)
from raftstate.v1.store_pb2 import Refusal


def claim_compensations(
    context: Context, request: ClaimCompensationsRequest
) -> ClaimCompensationsResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def complete_compensation(
    context: Context, request: CompleteCompensationRequest
) -> CompleteCompensationResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def decide_compensation(
    context: Context, request: DecideCompensationRequest
) -> DecideCompensationResponse | Refusal:
    """To be written."""
    raise NotImplementedError
