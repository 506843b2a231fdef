"""Effects: the ledger of what agents did to the outside world."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.effect_service_pb2 import (
    CompleteEffectRequest,
    CompleteEffectResponse,
    DispatchEffectRequest,
    DispatchEffectResponse,
    PrepareEffectRequest,
    PrepareEffectResponse,
    ReconcileEffectRequest,
    ReconcileEffectResponse,
)
from raftstate.v1.store_pb2 import Refusal


def prepare_effect(
    context: Context, request: PrepareEffectRequest
) -> PrepareEffectResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def dispatch_effect(
    context: Context, request: DispatchEffectRequest
) -> DispatchEffectResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def complete_effect(
    context: Context, request: CompleteEffectRequest
) -> CompleteEffectResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def reconcile_effect(
    context: Context, request: ReconcileEffectRequest
) -> ReconcileEffectResponse | Refusal:
    """To be written."""
    raise NotImplementedError
