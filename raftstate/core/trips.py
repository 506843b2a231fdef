"""What a breaker's trip does beside opening it: in the same command, or not at all.

There is always an incident. The rest is what the breaker was told to do, and what cannot
be done is said in the incident: a trip is never refused because of it.
"""

from __future__ import annotations

from raftstate.core import (
    agents,
    checkpoint_queries,
    incidents,
    limits,
    planning,
    rollback_commands,
)
from raftstate.core.context import Context
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle
from raftstate.v1.breaker_service_pb2 import Breaker, TripAction
from raftstate.v1.recovery_service_pb2 import Classification, Evidence, Incident, Symptom
from raftstate.v1.rollback_service_pb2 import AgentTarget, BarrierPolicy, Target
from raftstate.v1.store_pb2 import Refusal


def tripped(context: Context, breaker: Breaker, error: str) -> None:
    """Open the incident of a breaker that has just tripped, and do what it was told."""
    plan, name = breaker.config.on_trip, breaker.name
    evidence = [Evidence(kind="breaker", ref=name, detail=breaker.reason)]
    if error:
        evidence.append(Evidence(kind="text", ref="last error", detail=error))
    incident = incidents.open_incident(
        context,
        Symptom.SYMPTOM_BREAKER_TRIPPED,
        classification=Classification.CLASSIFICATION_DEPENDENCY_OPEN,
        agent_ids=_concerned(context, breaker),
        summary=f"breaker {name} tripped: {breaker.reason}",
        evidence=evidence,
        breaker=name,
    )
    breaker.incident_id, breaker.rollback_id = incident.incident_id, ""
    if plan.action == TripAction.TRIP_ACTION_DEGRADE:
        breaker.degraded = True
    elif plan.action == TripAction.TRIP_ACTION_FAIL_OVER:
        _fail_over(context, breaker, incident)
    elif plan.action == TripAction.TRIP_ACTION_ROLLBACK:
        _roll_back(context, breaker, incident)


def closed(context: Context, breaker: Breaker, resolution: str) -> None:
    """Calls are made again: that ends the incident of the trip, unless a rollback was to
    come of it. Then the rollback ends it, or a person, if there is none."""
    incident = incidents.load(context.store, breaker.incident_id)
    plan = breaker.config.on_trip
    if incident is not None and plan.action != TripAction.TRIP_ACTION_ROLLBACK:
        incidents.over(context, incident, resolution)


def _concerned(context: Context, breaker: Breaker) -> list[str]:
    """Whom the trip is about."""
    plan = breaker.config.on_trip
    group = checkpoint_queries.get_group(context.store, plan.group_id)
    if group is not None:
        return sorted(member.agent_id for member in group.members)
    return list(plan.agent_ids)


def _fail_over(context: Context, breaker: Breaker, incident: Incident) -> None:
    """End the ownerships of some agents, so that others may take over."""
    ended = False
    for agent_id in breaker.config.on_trip.agent_ids:
        agent = agents.load(context.store, agent_id)
        if agent is None or agent.lifecycle != Lifecycle.LIFECYCLE_ACTIVE:
            said = f"left alone: {_where(agent)}"
        else:
            epoch, revision = token_key(agent.owner.fence)
            holder = agent.owner.holder or "somebody"
            said = f"ended the ownership under {epoch}/{revision} of {holder}"
            agents.vacate(context, agent)
            agents.save(context, agent)
            ended = True
        incidents.add_evidence(context, incident, "agent", agent_id, said)
    if ended:
        incidents.stamp(context, incident.incident_id, "fenced_ms")


def _roll_back(context: Context, breaker: Breaker, incident: Incident) -> None:
    """Start a rollback of all agents that can be rolled back, if there are any."""
    plan = breaker.config.on_trip
    group = checkpoint_queries.get_group(context.store, plan.group_id)
    if group is None:
        wanted = [
            AgentTarget(agent_id=agent_id, target=Target(known_good=True))
            for agent_id in plan.agent_ids
        ]
    else:
        wanted = [
            AgentTarget(agent_id=one.agent_id, target=Target(checkpoint_id=one.checkpoint_id))
            for one in group.members
        ]
    targets = [each for each in wanted if _can_go_back(context, incident, each)]
    group_id = plan.group_id
    if group is not None and len(targets) < len(wanted):
        # The others go back to their checkpoints of the group, without those left alone.
        group_id = ""
    if not targets and not group_id:
        return
    started = rollback_commands.start(
        context,
        rollback_commands.Spec(
            agents=[] if group_id else targets,
            group_id=group_id,
            on_barrier=plan.on_barrier or BarrierPolicy.BARRIER_POLICY_ASK,
            validators=tuple(plan.validators),
            reason=f"breaker {breaker.name} tripped: {breaker.reason}"[
                : limits.PEOPLE_CHARS_MAX
            ],
            started_by=f"breaker {breaker.name}",
            incident_id=incident.incident_id,
        ),
    )
    if isinstance(started, Refusal):
        said = f"no rollback was started: {started.message}"
        incidents.add_evidence(context, incident, "breaker", breaker.name, said)
    else:
        breaker.rollback_id = started.rollback_id


def _can_go_back(context: Context, incident: Incident, wanted: AgentTarget) -> bool:
    """Whether an agent may be rolled back; if not, the incident says why, and the others
    are rolled back without it."""
    agent = agents.load(context.store, wanted.agent_id)
    if agent is None or agent.lifecycle not in agents.OPEN_STATES:
        why = _where(agent)
    elif (refusal := planning.refuse_agent(context.store, wanted)) is not None:
        why = refusal.message
    else:
        return True
    incidents.add_evidence(context, incident, "agent", wanted.agent_id, f"left alone: {why}")
    return False


def _where(agent: Agent | None) -> str:
    if agent is None:
        return "there is no such agent"
    return f"it is {Lifecycle.Name(agent.lifecycle).removeprefix('LIFECYCLE_').lower()}"
