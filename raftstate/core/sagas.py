"""Sagas: groups of effects that are undone together."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    AbortSagaResponse,
    BeginSagaRequest,
    BeginSagaResponse,
    EndSagaRequest,
    EndSagaResponse,
)
from raftstate.v1.store_pb2 import Refusal


def begin_saga(context: Context, request: BeginSagaRequest) -> BeginSagaResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def end_saga(context: Context, request: EndSagaRequest) -> EndSagaResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def abort_saga(context: Context, request: AbortSagaRequest) -> AbortSagaResponse | Refusal:
    """To be written."""
    raise NotImplementedError
