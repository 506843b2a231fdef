"""Incidents: what went wrong, and what was done about it."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    AnnotateIncidentResponse,
    ReportSymptomRequest,
    ReportSymptomResponse,
    ResolveIncidentRequest,
    ResolveIncidentResponse,
)
from raftstate.v1.store_pb2 import Refusal


def report_symptom(
    context: Context, request: ReportSymptomRequest
) -> ReportSymptomResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def annotate_incident(
    context: Context, request: AnnotateIncidentRequest
) -> AnnotateIncidentResponse | Refusal:
    """To be written."""
    raise NotImplementedError


def resolve_incident(
    context: Context, request: ResolveIncidentRequest
) -> ResolveIncidentResponse | Refusal:
    """To be written."""
    raise NotImplementedError
