"""Leases."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    GrantResponse,
    RevokeRequest,
    RevokeResponse,
)
from raftstate.v1.store_pb2 import Done, ExpireLease, Refusal


def grant(context: Context, request: GrantRequest) -> GrantResponse | Refusal:
    """To come."""
    raise NotImplementedError


def revoke(context: Context, request: RevokeRequest) -> RevokeResponse | Refusal:
    """To come."""
    raise NotImplementedError


def expire(context: Context, request: ExpireLease) -> Done | Refusal:
    """To come."""
    raise NotImplementedError
