"""What requests about rollbacks may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits, parts
from raftstate.core.checkpoint_queries import HASH_BYTES
from raftstate.core.parts import Violation
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.recovery_service_pb2 import ReportValidationRequest
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    BarrierPolicy,
    FinishRollbackRequest,
    GetRollbackRequest,
    ListRollbacksRequest,
    PlanRollbackRequest,
    RollbackState,
    StartRollbackRequest,
    Target,
)

# --- parts -------------------------------------------------------------------


def _agents(
    message: PlanRollbackRequest | StartRollbackRequest, *, times: bool
) -> Iterator[Violation]:
    """Whose rollback it is, and where to; `times`: a log time is a target."""
    if message.group_id:
        yield from parts.agent_id(message.group_id, "group_id")
        if message.agents:
            yield Violation("agents", "come with a group_id", "either agents or group_id")
        return
    if not 1 <= len(message.agents) <= limits.ROLLBACK_AGENTS_MAX:
        span = f"1 to {limits.ROLLBACK_AGENTS_MAX}, or a group_id"
        yield Violation("agents", f"has {len(message.agents)} agents", span)
        return
    for at, each in enumerate(message.agents):
        yield from parts.agent_id(each.agent_id, f"agents[{at}].agent_id")
        yield from _target(each.target, f"agents[{at}].target", times=times)
    yield from _each_once(message.agents)


def _each_once(agents: Sequence[AgentTarget]) -> Iterator[Violation]:
    seen = set()
    for at, each in enumerate(agents):
        if each.agent_id in seen:
            said = f"{parts.shown(each.agent_id)} is there twice"
            yield Violation(f"agents[{at}].agent_id", said, "each agent once")
        seen.add(each.agent_id)


def _target(target: Target, place: str, *, times: bool) -> Iterator[Violation]:
    kind = target.WhichOneof("to")
    if kind is None:
        yield Violation(place, "is required", "one kind of target")
    elif not getattr(target, kind):
        yield Violation(f"{place}.{kind}", f"is {getattr(target, kind)}", "1 or more, or true")
    elif kind == "log_time_ms" and not times:
        span = "a revision, which PlanRollback says"
        yield Violation(f"{place}.{kind}", "is no target of a start", span)


def _names(names: Sequence[str], field: str) -> Iterator[Violation]:
    if len(names) > limits.ROLLBACK_VALIDATORS_MAX:
        yield Violation(field, f"has {len(names)} names", str(limits.ROLLBACK_VALIDATORS_MAX))
        return
    for at, name in enumerate(names):
        yield from parts.agent_id(name, f"{field}[{at}]")
    if len(set(names)) < len(names):
        yield Violation(field, "has a name twice", "each name once")


def _numbered(value: str, field: str) -> Iterator[Violation]:
    if not limits.NUMBERED_ID.fullmatch(value):
        words = f"{parts.shown(value)} is no {field}"
        yield Violation(field, words, "16 hexadecimal digits")


def _hash(field: str, value: bytes) -> Iterator[Violation]:
    if len(value) != HASH_BYTES:
        yield Violation(field, f"has {len(value)} bytes", f"{HASH_BYTES} bytes")


# --- one rule a request ------------------------------------------------------


def _plan(message: PlanRollbackRequest) -> Iterator[Violation]:
    yield from _agents(message, times=True)
    yield from parts.consistency(message)
    if message.consistency == Consistency.CONSISTENCY_AT_REVISION:
        yield Violation("consistency", "is AT_REVISION", "what would be done now")


def _start(message: StartRollbackRequest) -> Iterator[Violation]:
    yield from _agents(message, times=False)
    yield from parts.enum("on_barrier", message.on_barrier, max(BarrierPolicy.values()))
    yield from _names(message.validators, "validators")
    yield from parts.people("reason", message.reason)
    yield from parts.people("started_by", message.started_by)
    if message.expected_digest:
        yield from _hash("expected_digest", message.expected_digest)
    if message.incident_id:
        yield from _numbered(message.incident_id, "incident_id")


def _ended(message: FinishRollbackRequest) -> Iterator[Violation]:
    return _numbered(message.rollback_id, "rollback_id")


def _abort(message: AbortRollbackRequest) -> Iterator[Violation]:
    yield from _numbered(message.rollback_id, "rollback_id")
    yield from parts.people("reason", message.reason)


def _get(message: GetRollbackRequest) -> Iterator[Violation]:
    yield from _numbered(message.rollback_id, "rollback_id")
    yield from parts.consistency(message)


def _list(message: ListRollbacksRequest) -> Iterator[Violation]:
    most = max(RollbackState.values())
    if len(message.states) > most:
        yield Violation("states", f"has {len(message.states)} states", str(most))
    else:
        for at, state in enumerate(message.states):
            yield from parts.enum(f"states[{at}]", state, most)
    yield from parts.page(message)


def _report(message: ReportValidationRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.validator, "validator")
    yield from parts.agent_id(message.agent_id)
    yield from parts.people("evidence", message.evidence)
    if message.rollback_id:
        yield from _numbered(message.rollback_id, "rollback_id")
        if message.checkpoint_id or message.content_hash:
            span = "either a checkpoint or a rollback_id"
            yield Violation("checkpoint_id", "comes with a rollback_id", span)
    elif not message.checkpoint_id:
        yield Violation("checkpoint_id", "is required", "1 or more, or a rollback_id")
    else:
        yield from _hash("content_hash", message.content_hash)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    PlanRollbackRequest: _plan,
    StartRollbackRequest: _start,
    FinishRollbackRequest: _ended,
    AbortRollbackRequest: _abort,
    GetRollbackRequest: _get,
    ListRollbacksRequest: _list,
    ReportValidationRequest: _report,
}
