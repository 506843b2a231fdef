"""Incidents: records of what went wrong, and of what was done about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Unpack

from raftstate.client import reading
from raftstate.client.engine import Engine
from raftstate.client.reading import How
from raftstate.errors import InvalidRequest
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    Classification,
    Evidence,
    GetIncidentRequest,
    Incident,
    ListIncidentsRequest,
    ReportSymptomRequest,
    ReportValidationRequest,
    ResolveIncidentRequest,
    Symptom,
)

Shown = tuple[str, str] | tuple[str, str, str] | Evidence


class Incidents:
    """The part of a `Store` that is about incidents, and what validators report."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    async def report_symptom(
        self,
        summary: str,
        *,
        symptom: str = "reported",
        classification: str = "",
        agents: Iterable[str] = (),
        evidence: Iterable[Shown] = (),
        timeout: float | None = None,
    ) -> str:
        """Open an incident; its id. `symptom` is "reported", "diverged" or
        "effect_unknown"; `classification` one of the taxonomy ("permanent_tool",
        "bad_output" and so on), unknown if not given; each piece of `evidence` a kind, what
        it names, and perhaps more about it: `("event", "billing/nightly#7")`.

        Raises AgentNotFound (definite), and what every mutation raises.

        >>> incident_id = await store.report_symptom(
        ...     "the totals are wrong", evidence=[("event", "billing/nightly#7")]
        ... )
        >>> (await store.get_incident(incident_id)).evidence[0].ref
        'billing/nightly#7'
        """
        request = ReportSymptomRequest(
            summary=summary,
            symptom=word(Symptom, "SYMPTOM_", "symptom", symptom),
            agent_ids=agents,
            evidence=map(_evidence, evidence),
        )
        if classification:
            request.classification = _classification(classification)
        answer = await self._engine.mutate("report_symptom", request, timeout)
        incident_id: str = answer.incident_id
        return incident_id

    async def get_incident(self, incident_id: str, **how: Unpack[How]) -> Incident:
        """One incident. Raises IncidentNotFound (definite), and what every read does.

        >>> incident_id = await store.report_symptom("the totals are wrong")
        >>> (await store.get_incident(incident_id)).summary
        'the totals are wrong'
        """
        request = GetIncidentRequest(incident_id=incident_id)
        answer = await reading.read_as(
            self._engine, lambda peer: peer.recovery.GetIncident, request, how
        )
        incident: Incident = answer.incident
        return incident

    async def list_incidents(
        self, *, only_open: bool = False, agent_id: str = "", **how: Unpack[How]
    ) -> AsyncIterator[Incident]:
        """Incidents in the order of their opening; only those that are open, or about one
        agent, if asked for. All are read at one revision. Raises Compacted (definite) should
        that be forgotten meanwhile, and what every read does.

        >>> _ = await store.create_agent("incidents/list")
        >>> _ = await store.report_symptom("the totals are wrong", agents=["incidents/list"])
        >>> [one.summary async for one in store.list_incidents(agent_id="incidents/list")]
        ['the totals are wrong']
        """
        request = ListIncidentsRequest(only_open=only_open, agent_id=agent_id)
        async for page in reading.pages(
            self._engine, lambda peer: peer.recovery.ListIncidents, request, how
        ):
            for incident in page.incidents:
                yield incident

    async def annotate_incident(
        self,
        incident_id: str,
        text: str,
        *,
        by: str = "",
        classification: str = "",
        timeout: float | None = None,
    ) -> None:
        """Add a note, and classify it anew if asked to. `by` is this client if not given.
        Raises IncidentNotFound, TooMany (definite), and what every mutation raises.

        >>> incident_id = await store.report_symptom("the totals are wrong")
        >>> await store.annotate_incident(incident_id, "since Monday")
        >>> (await store.get_incident(incident_id)).notes[0].text
        'since Monday'
        """
        request = AnnotateIncidentRequest(
            incident_id=incident_id, by=by or self._engine.options.client_name, text=text
        )
        if classification:
            request.classification = _classification(classification)
        await self._engine.mutate("annotate_incident", request, timeout)

    async def resolve_incident(
        self, incident_id: str, *, resolution: str = "", timeout: float | None = None
    ) -> None:
        """Close an incident. Raises IncidentNotFound, PlanState (definite): it is closed;
        and what every mutation raises.

        >>> incident_id = await store.report_symptom("the totals are wrong")
        >>> await store.resolve_incident(incident_id, resolution="they were right")
        >>> (await store.get_incident(incident_id)).open
        False
        """
        request = ResolveIncidentRequest(incident_id=incident_id, resolution=resolution)
        await self._engine.mutate("resolve_incident", request, timeout)

    async def report_validation(
        self,
        rollback_id: str,
        agent_id: str,
        validator: str,
        *,
        passed: bool,
        evidence: str = "",
        timeout: float | None = None,
    ) -> None:
        """Say what a validator found of the state that a rollback has restored. (Of a
        checkpoint: `mark_valid`.) Raises RollbackNotFound, AgentNotFound,
        ValidatorNotFound, PlanState (definite): compensations are open, it has ended, or
        does not ask that validator; and what every mutation raises.

        >>> await store.put_validator("totals-are-right")
        >>> async with store.own("incidents/validated") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> to, asked = raftstate.to_checkpoint(good), ["totals-are-right"]
        >>> begun = await store.start_rollback("incidents/validated", to, validators=asked)
        >>> await store.report_validation(
        ...     begun.rollback_id, "incidents/validated", "totals-are-right", passed=True
        ... )
        >>> await store.finish_rollback(begun.rollback_id)
        """
        request = ReportValidationRequest(
            rollback_id=rollback_id,
            agent_id=agent_id,
            validator=validator,
            passed=passed,
            evidence=evidence,
        )
        await self._engine.mutate("report_validation", request, timeout)


def word(kinds: Any, prefix: str, field: str, given: str) -> Any:
    """A word of the API, as callers spell it. Raises InvalidRequest (definite)."""
    words = [name.removeprefix(prefix).lower() for name in kinds.keys()[1:]]
    if given.lower() not in words:
        raise InvalidRequest(
            f"{given!r} is none of {', '.join(words)}",
            definite=True,
            details={"field": field, "limit": ", ".join(words)},
        )
    return kinds.Value(prefix + given.upper())


def _classification(given: str) -> Any:
    return word(Classification, "CLASSIFICATION_", "classification", given)


def _evidence(given: Shown) -> Evidence:
    if isinstance(given, Evidence):
        return given
    kind, ref, *more = given
    return Evidence(kind=kind, ref=ref, detail="".join(more))
