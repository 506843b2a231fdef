"""What the store says at the end, written down as lines of evidence.

Everything is read through the SDK, with linearizable reads: the agent's events and its
ledger, the rollback with its items, the incidents, the breaker and the checkpoints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import raftstate
from raftstate.client.values import decode
from raftstate.examples.census.evidence import Journal, Line, write_json
from raftstate.examples.travel.record import AGENT_ID, BREAKER
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle
from raftstate.v1.breaker_service_pb2 import Breaker, BreakerState, TripAction
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    CompensationItem,
    CompensationState,
    Effect,
    EffectClass,
    EffectState,
)
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.recovery_service_pb2 import Classification, Incident, Symptom
from raftstate.v1.rollback_service_pb2 import Rollback, RollbackState


class Names(Protocol):
    """An enum of the API."""

    def Name(self, number: Any) -> str:  # noqa: N802 - as the generated code has it
        """The name of a number."""


def short(names: Names, number: int, prefix: str) -> str:
    """The name of an enum's value, without what all names of the enum begin with."""
    return names.Name(number).removeprefix(prefix)


def pair(token: FencingToken) -> list[int]:
    """A fencing token as JSON has it, which compares as tokens do."""
    return [token.epoch, token.revision]


def event_fields(event: Event) -> Line:
    """A stored event."""
    return {
        "stream_id": event.stream_id,
        "seq": event.seq,
        "position": event.position,
        "revision": event.revision,
        "step": event.step,
        "type": event.type,
        "content_type": event.content_type,
        "data": event.data.decode(),
        "causation_id": event.causation_id,
        "correlation_id": event.correlation_id,
        "log_time_ms": event.log_time_ms,
        "event_id": event.event_id,
        "state_hash": event.state_hash.hex(),
        "hash": event.hash.hex(),
        "undone_by": event.undone_by,
    }


def effect_fields(effect: Effect) -> Line:
    """An effect of the ledger."""
    args = json.loads(effect.arguments)
    return {
        "agent_id": effect.agent_id,
        "effect_id": effect.effect_id,
        "number": effect.number,
        "state": short(EffectState, effect.state, "EFFECT_STATE_"),
        "effect_class": short(EffectClass, effect.effect_class, "EFFECT_CLASS_"),
        "action": effect.action,
        "leg": args["leg"],
        "trip": args["trip"],
        "key": effect.idempotency_key,
        "undo": effect.compensation.action,
        "undo_key": effect.compensation.idempotency_key,
        "leaves_tombstone": effect.compensation.leaves_tombstone,
        "fence": pair(effect.fence),
        "step": effect.step,
        "dispatches": effect.dispatches,
        "prepared_revision": effect.prepared_revision,
        "dispatched_revision": effect.dispatched_revision,
        "settled_revision": effect.settled_revision,
        "compensated_revision": effect.compensated_revision,
        "plan_id": effect.plan_id,
        "error": effect.error,
    }


def rollback_fields(rollback: Rollback) -> Line:
    """A rollback of one agent."""
    one = rollback.agents[0]
    return {
        "rollback_id": rollback.rollback_id,
        "state": short(RollbackState, rollback.state, "ROLLBACK_STATE_"),
        "reason": rollback.reason,
        "started_by": rollback.started_by,
        "incident_id": rollback.incident_id,
        "plan_id": rollback.undoing.plan_id,
        "total": rollback.undoing.total,
        "open": rollback.undoing.open,
        "newest_claim": pair(rollback.undoing.newest_claim),
        "validators": {said.validator: said.passed for said in rollback.validators},
        "started_revision": rollback.started_revision,
        "started_ms": rollback.started_log_time_ms,
        "compensated_ms": rollback.compensated_log_time_ms,
        "validated_ms": rollback.validated_log_time_ms,
        "ended_ms": rollback.ended_log_time_ms,
        "agent_id": one.agent_id,
        "checkpoint_id": one.checkpoint_id,
        "restored_checkpoint_id": one.restored_checkpoint_id,
        "first_undone_seq": one.first_undone_seq,
        "last_undone_seq": one.last_undone_seq,
        "kept_revision": one.kept_revision,
        "former_fence": pair(one.former_fence),
        "former_holder": one.former_holder,
        "fence": pair(one.fence),
    }


def item_fields(item: CompensationItem) -> Line:
    """One thing that the rollback had to undo."""
    return {
        "position": item.position,
        "effect_id": item.effect_id,
        "number": item.effect_number,
        "state": short(CompensationState, item.state, "COMPENSATION_STATE_"),
        "claims": item.claims,
        "failures": item.failures,
        "claimed_under": pair(item.claimed_under),
        "settled_revision": item.settled_revision,
    }


def incident_fields(incident: Incident) -> Line:
    """An incident."""
    return {
        "incident_id": incident.incident_id,
        "symptom": short(Symptom, incident.symptom, "SYMPTOM_"),
        "classification": short(Classification, incident.classification, "CLASSIFICATION_"),
        "summary": incident.summary,
        "agent_ids": list(incident.agent_ids),
        "rollback_id": incident.rollback_id,
        "breaker": incident.breaker,
        "evidence": [[one.kind, one.ref, one.detail] for one in incident.evidence],
        "detected_ms": incident.detected_ms,
        "fenced_ms": incident.fenced_ms,
        "restored_ms": incident.restored_ms,
        "compensated_ms": incident.compensated_ms,
        "validated_ms": incident.validated_ms,
        "resumed_ms": incident.resumed_ms,
        "resolved_ms": incident.resolved_ms,
        "opened_revision": incident.opened_revision,
        "open": incident.open,
        "resolution": incident.resolution,
    }


def breaker_fields(breaker: Breaker) -> Line:
    """A breaker."""
    return {
        "name": breaker.name,
        "state": short(BreakerState, breaker.state, "BREAKER_STATE_"),
        "generation": breaker.generation,
        "changed_revision": breaker.changed_revision,
        "reason": breaker.reason,
        "incident_id": breaker.incident_id,
        "rollback_id": breaker.rollback_id,
        "on_trip": short(TripAction, breaker.config.on_trip.action, "TRIP_ACTION_"),
    }


def agent_fields(agent: Agent) -> Line:
    """The agent, as it was left."""
    return {
        "agent_id": agent.agent_id,
        "lifecycle": short(Lifecycle, agent.lifecycle, "LIFECYCLE_"),
        "rollback_id": agent.rollback_id,
        "step": agent.head.step,
        "event_seq": agent.head.event_seq,
        "checkpoint_id": agent.head.checkpoint_id,
        "newest_fence": pair(agent.newest_fence),
        "effects": agent.effects,
        "open_effects": agent.open_effects,
    }


def checkpoint_fields(checkpoint: Checkpoint) -> Line:
    """A checkpoint of the agent, with what it holds."""
    return {
        "checkpoint_id": checkpoint.checkpoint_id,
        "step": checkpoint.step,
        "event_seq": checkpoint.event_seq,
        "revision": checkpoint.revision,
        "known_good": checkpoint.known_good,
        "restored_from": checkpoint.restored_from,
        "rollback_id": checkpoint.rollback_id,
        "state": decode(checkpoint),
    }


async def effect_state(store: raftstate.Store, effect_id: str) -> str:
    """The state of one effect in the ledger."""
    effect = await store.get_effect(AGENT_ID, effect_id)
    return short(EffectState, effect.state, "EFFECT_STATE_")


async def export(store: raftstate.Store, out: Path) -> None:
    """Write everything down: `events.jsonl`, `ledger.jsonl`, `recovery.jsonl` and
    `stream.json`."""
    with Journal(out / "events.jsonl") as journal:
        async for event in store.read_events(AGENT_ID):
            journal.write("event", **event_fields(event))
    stream = await store.get_stream(AGENT_ID)
    end = {"last_seq": stream.last_seq, "last_hash": stream.last_hash.hex()}
    write_json(out / "stream.json", end)
    with Journal(out / "ledger.jsonl") as journal:
        async for effect in store.list_effects(AGENT_ID):
            journal.write("effect", **effect_fields(effect))
    with Journal(out / "recovery.jsonl") as journal:
        await _recovery(store, journal)


async def _recovery(store: raftstate.Store, journal: Journal) -> None:
    async for rollback in store.list_rollbacks():
        journal.write("rollback", **rollback_fields(rollback))
        for item in await store.rollback_items(rollback.rollback_id):
            journal.write("item", **item_fields(item))
    async for incident in store.list_incidents():
        journal.write("incident", **incident_fields(incident))
    journal.write("breaker", **breaker_fields(await store.get_breaker(BREAKER)))
    journal.write("agent", **agent_fields(await store.get_agent(AGENT_ID)))
    ids = [one.checkpoint_id async for one in store.list_checkpoints(AGENT_ID)]
    for checkpoint_id in sorted(ids):
        checkpoint = await store.get_checkpoint(AGENT_ID, checkpoint_id)
        journal.write("checkpoint", **checkpoint_fields(checkpoint))
