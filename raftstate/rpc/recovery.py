"""RecoveryService: what recovery goes by."""

from __future__ import annotations

from typing import Any

from raftstate.core import breaker_queries, checkpoint_queries
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    AnnotateIncidentResponse,
    GetIncidentRequest,
    GetIncidentResponse,
    ListIncidentsRequest,
    ListIncidentsResponse,
    ListValidatorsRequest,
    ListValidatorsResponse,
    PutValidatorRequest,
    PutValidatorResponse,
    ReportSymptomRequest,
    ReportSymptomResponse,
    ReportValidationRequest,
    ReportValidationResponse,
    ResolveIncidentRequest,
    ResolveIncidentResponse,
)
from raftstate.v1.recovery_service_pb2_grpc import RecoveryServiceServicer


class Recovery(RecoveryServiceServicer):
    """Who may say that a state is good, and what went wrong."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def PutValidator(
        self, request: PutValidatorRequest, context: Any
    ) -> PutValidatorResponse:
        return await self._frontend.mutate(request, PutValidatorResponse)

    async def ListValidators(
        self, request: ListValidatorsRequest, context: Any
    ) -> ListValidatorsResponse:
        page = await self._frontend.page(request)
        after, limit = page.after_text, page.size + 1
        found, header = await self._frontend.look(
            page.at, lambda reader: checkpoint_queries.list_validators(reader, after, limit)
        )
        response = ListValidatorsResponse(header=header, validators=found[: page.size])
        if len(found) > page.size:
            last = found[page.size - 1].name
            response.next_page_token = page.next_token(header, last)
        return response

    async def ReportValidation(
        self, request: ReportValidationRequest, context: Any
    ) -> ReportValidationResponse:
        return await self._frontend.mutate(request, ReportValidationResponse)

    # --- incidents ---------------------------------------------------------------

    async def ReportSymptom(
        self, request: ReportSymptomRequest, context: Any
    ) -> ReportSymptomResponse:
        return await self._frontend.mutate(request, ReportSymptomResponse)

    async def AnnotateIncident(
        self, request: AnnotateIncidentRequest, context: Any
    ) -> AnnotateIncidentResponse:
        return await self._frontend.mutate(request, AnnotateIncidentResponse)

    async def ResolveIncident(
        self, request: ResolveIncidentRequest, context: Any
    ) -> ResolveIncidentResponse:
        return await self._frontend.mutate(request, ResolveIncidentResponse)

    async def GetIncident(
        self, request: GetIncidentRequest, context: Any
    ) -> GetIncidentResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            incident = breaker_queries.get_incident(reader, request.incident_id)
        if incident is None:
            raise not_found("incident", request.incident_id)
        return GetIncidentResponse(header=header, incident=incident)

    async def ListIncidents(
        self, request: ListIncidentsRequest, context: Any
    ) -> ListIncidentsResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: breaker_queries.list_incidents(
                reader, page.after_text, page.size, request
            ),
        )
        response = ListIncidentsResponse(header=header, incidents=found.incidents)
        if found.next_after:
            response.next_page_token = page.next_token(header, found.next_after)
        return response
