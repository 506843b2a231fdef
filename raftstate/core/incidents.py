"""Incidents: what went wrong, and what was done about it.

One is opened in the command in which something went wrong, so there is none without its
cause, and no cause without one. Its times are log times, noted once each in the command
that did the thing; so how long a recovery took is in the log, and comes out the same
however often it is computed.

An agent whose owner went away has an incident until its successor has done a step. That
one resolves itself, and so does a breaker's when it is closed. Others wait for a person,
or for the rollback that they belong to.

Of the resolved ones the newest are kept. `N` numbers them as they come, so that the one
that has to go is found at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from raftstate.core import keys, limits
from raftstate.core.context import Context, refuse, refuse_many, refuse_subject
from raftstate.core.ports import Reader
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    AnnotateIncidentResponse,
    Classification,
    Evidence,
    Incident,
    IncidentNote,
    ReportSymptomRequest,
    ReportSymptomResponse,
    ResolveIncidentRequest,
    ResolveIncidentResponse,
    Symptom,
)
from raftstate.v1.store_pb2 import Reason, Refusal

_COUNTS = struct.Struct(">QQ")


class IncidentCounts(NamedTuple):
    """How many incidents were ever opened, and how many resolved."""

    opened: int = 0
    resolved: int = 0


def counts(reader: Reader) -> IncidentCounts:
    """How many incidents there were."""
    raw = reader.get(keys.INCIDENTS)
    return IncidentCounts() if raw is None else IncidentCounts(*_COUNTS.unpack(raw))


def load(reader: Reader, incident_id: str) -> Incident | None:
    """An incident; None for one that never was, or is no longer kept."""
    raw = reader.get(keys.incident(incident_id)) if incident_id else None
    return None if raw is None else Incident.FromString(raw)


def save(context: Context, incident: Incident) -> None:
    """Write an incident back."""
    key = keys.incident(incident.incident_id)
    context.store.put(key, incident.SerializeToString(deterministic=True))


# --- what other commands say of them -----------------------------------------


def open_incident(
    context: Context,
    symptom: Symptom,
    *,
    classification: Classification = Classification.CLASSIFICATION_UNKNOWN,
    agent_ids: Iterable[str] = (),
    summary: str = "",
    evidence: Iterable[Evidence] = (),
    rollback_id: str = "",
    saga_id: str = "",
    breaker: str = "",
    fenced: bool = False,
) -> Incident:
    """Open an incident, and save it. `fenced`: who it is about writes no more."""
    before = counts(context.store)
    incident = Incident(
        incident_id=f"{before.opened + 1:016x}",
        symptom=symptom,
        classification=classification,
        agent_ids=list(agent_ids)[: limits.INCIDENT_AGENTS_MAX],
        summary=summary[: limits.INCIDENT_SUMMARY_CHARS_MAX],
        rollback_id=rollback_id,
        saga_id=saga_id,
        breaker=breaker,
        detected_ms=context.log_time_ms,
        opened_revision=context.revision,
        opened_wall_time_ms=context.wall_time_ms,
        open=True,
    )
    for each in evidence:
        _add(incident, each)
    if fenced:
        _stamp(context, incident, "fenced_ms")
    _count(context, before._replace(opened=before.opened + 1))
    save(context, incident)
    return incident


def add_evidence(
    context: Context, incident: Incident, kind: str, ref: str, detail: str = ""
) -> None:
    """Note one more thing that shows what happened. The oldest stay; those for which there
    is no room are counted."""
    _add(incident, Evidence(kind=kind, ref=ref, detail=detail))
    save(context, incident)


def stamp(context: Context, incident_id: str, *names: str) -> None:
    """Set times of an incident to now, each the first time only. One that is no longer
    kept needs none."""
    incident = load(context.store, incident_id)
    if incident is not None:
        _stamp(context, incident, *names)
        save(context, incident)


def over(context: Context, incident: Incident, resolution: str) -> None:
    """What an incident was about goes on again. That closes it, unless a rollback belongs
    to it, which does so when it ends."""
    _stamp(context, incident, "resumed_ms")
    save(context, incident)
    if not incident.rollback_id:
        resolve(context, incident, resolution)


def resolve(context: Context, incident: Incident, resolution: str) -> None:
    """Close an incident, unless it is closed, and let the oldest closed one go."""
    if not incident.open:
        return
    incident.open = False
    incident.resolution = resolution[: limits.PEOPLE_CHARS_MAX]
    incident.resolved_revision = context.revision
    _stamp(context, incident, "resolved_ms")
    save(context, incident)
    before = counts(context.store)
    place = before.resolved + 1
    context.store.put(keys.resolved(place), incident.incident_id.encode())
    _count(context, before._replace(resolved=place))
    if place > limits.INCIDENTS_RESOLVED_KEPT:
        oldest = keys.resolved(place - limits.INCIDENTS_RESOLVED_KEPT)
        gone = context.store.get(oldest)
        assert gone is not None, "resolved incidents are numbered without a gap"
        context.store.delete(keys.incident(gone.decode()))
        context.store.delete(oldest)


# --- the loss of an owner ----------------------------------------------------


def owner_lost(context: Context, agent: Agent) -> None:
    """An owner went away without giving its agent back: call it before the agent is
    vacated, and save the agent after. From here on the former owner writes no more.

    Lost again before its successor did a step, it is the same incident still.
    """
    epoch, revision = token_key(agent.owner.fence)
    detail = f"owned under {epoch}/{revision} by {agent.owner.holder or 'somebody'}"
    known = load(context.store, agent.incident_id)
    if known is not None and known.open:
        add_evidence(context, known, "agent", agent.agent_id, f"lost again: {detail}")
        return
    incident = open_incident(
        context,
        Symptom.SYMPTOM_OWNERSHIP_LOST,
        classification=Classification.CLASSIFICATION_OWNER_LOST,
        agent_ids=[agent.agent_id],
        summary=f"the owner of agent {agent.agent_id} went away",
        evidence=[Evidence(kind="agent", ref=agent.agent_id, detail=detail)],
        fenced=True,
    )
    agent.incident_id = incident.incident_id


def acquired(context: Context, agent: Agent) -> None:
    """An agent has an owner again, which has all that is needed to go on."""
    if agent.incident_id:
        stamp(context, agent.incident_id, "restored_ms")


def resumed(context: Context, agent: Agent) -> None:
    """An agent's owner has written: with that, what its predecessor's loss opened is over.
    The caller saves the agent."""
    incident = load(context.store, agent.incident_id)
    agent.incident_id = ""
    if incident is not None:
        over(context, incident, "its successor goes on")


def retired(context: Context, agent: Agent) -> None:
    """Nobody will write for an agent again, so its loss waits for nobody. The caller saves
    the agent."""
    incident = load(context.store, agent.incident_id)
    agent.incident_id = ""
    if incident is not None:
        resolve(context, incident, "the agent was retired")


# --- what people and programs say --------------------------------------------


def report_symptom(
    context: Context, request: ReportSymptomRequest
) -> ReportSymptomResponse | Refusal:
    """Open an incident because somebody says so."""
    for agent_id in request.agent_ids:
        if context.store.get(keys.agent(agent_id)) is None:
            message = f"there is no agent {agent_id}"
            return refuse_subject(Reason.REASON_AGENT_NOT_FOUND, message, agent_id)
    incident = open_incident(
        context,
        request.symptom,
        classification=request.classification or Classification.CLASSIFICATION_UNKNOWN,
        agent_ids=request.agent_ids,
        summary=request.summary,
        evidence=request.evidence,
    )
    return ReportSymptomResponse(incident_id=incident.incident_id)


def annotate_incident(
    context: Context, request: AnnotateIncidentRequest
) -> AnnotateIncidentResponse | Refusal:
    """Add a note, also to one that is resolved."""
    incident = load(context.store, request.incident_id)
    if incident is None:
        return missing(request.incident_id)
    if len(incident.notes) >= limits.INCIDENT_NOTES_MAX:
        message = f"incident {incident.incident_id} has {len(incident.notes)} notes"
        return refuse_many(message, limits.INCIDENT_NOTES_MAX, "text")
    note = IncidentNote(
        by=request.by,
        text=request.text,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
    )
    incident.notes.append(note)
    if request.classification:
        incident.classification = request.classification
    save(context, incident)
    return AnnotateIncidentResponse()


def resolve_incident(
    context: Context, request: ResolveIncidentRequest
) -> ResolveIncidentResponse | Refusal:
    """Close an incident by hand. What it is about goes on as it did."""
    incident = load(context.store, request.incident_id)
    if incident is None:
        return missing(request.incident_id)
    if not incident.open:
        message = f"incident {incident.incident_id} is resolved"
        refusal = refuse(Reason.REASON_PLAN_STATE, message)
        refusal.current_state = "RESOLVED"
        return refusal
    resolve(context, incident, request.resolution)
    return ResolveIncidentResponse()


def missing(incident_id: str) -> Refusal:
    """The refusal for an incident that does not exist, or no longer."""
    message = f"there is no incident {incident_id}"
    return refuse_subject(Reason.REASON_INCIDENT_NOT_FOUND, message, incident_id)


# --- how it is written -------------------------------------------------------


def _add(incident: Incident, evidence: Evidence) -> None:
    room = limits.INCIDENT_EVIDENCE_MAX - len(incident.evidence)
    if room > 1:
        new = incident.evidence.add(kind=evidence.kind)
        new.ref = evidence.ref[: limits.EVIDENCE_REF_CHARS_MAX]
        new.detail = evidence.detail[: limits.PEOPLE_CHARS_MAX]
        return
    # The last place counts what no longer had one.
    if room == 1:
        incident.evidence.add(kind="text", ref="more", detail="0")
    last = incident.evidence[-1]
    last.detail = str(int(last.detail) + 1)


def _stamp(context: Context, incident: Incident, *names: str) -> None:
    for name in names:
        if not getattr(incident, name):
            setattr(incident, name, context.log_time_ms)


def _count(context: Context, after: IncidentCounts) -> None:
    context.store.put(keys.INCIDENTS, _COUNTS.pack(*after))
