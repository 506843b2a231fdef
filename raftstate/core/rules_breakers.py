"""What requests about breakers and incidents may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits, parts
from raftstate.core.parts import Violation
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    BreakerConfig,
    DeleteBreakerRequest,
    ForceCloseRequest,
    ForceOpenRequest,
    GetBreakerRequest,
    ListBreakersRequest,
    PutBreakerRequest,
    ReportOutcomesRequest,
    ResetRequest,
    TripAction,
    TripPlan,
)
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    Evidence,
    GetIncidentRequest,
    ListIncidentsRequest,
    ReportSymptomRequest,
    ResolveIncidentRequest,
    Symptom,
)

_CLASSIFICATION_MAX = 14
# What people and programs may say; the others are the store's own.
_REPORTED = (
    Symptom.SYMPTOM_DIVERGED,
    Symptom.SYMPTOM_REPORTED,
    Symptom.SYMPTOM_EFFECT_UNKNOWN,
)
EVIDENCE_KINDS = frozenset(
    (
        "agent",
        "checkpoint",
        "event",
        "effect",
        "saga",
        "rollback",
        "breaker",
        "validator",
        "revision",
        "text",
    )
)

# --- breakers ----------------------------------------------------------------


def _put_breaker(message: PutBreakerRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.name, "name")
    if not message.HasField("config"):
        yield Violation("config", "is required", "when it trips, and what then")
        return
    config = message.config
    yield from _window(config)
    yield from _rates(config)
    yield from _numbers(config)
    yield from _ignored(config.ignored_errors)
    yield from _trip_plan(config.on_trip)


def _window(config: BreakerConfig) -> Iterator[Violation]:
    """A window by count or by time, and never both."""
    if bool(config.count_window) == bool(config.time_window_ms):
        said = "is there with count_window" if config.count_window else "is required"
        yield Violation("config.time_window_ms", said, "either it or count_window")
    elif config.count_window:
        most = limits.BREAKER_CALLS_MAX
        yield from _between("config.count_window", config.count_window, 1, most)
    else:
        least, most = limits.BREAKER_TIME_MS_MIN, limits.BREAKER_TIME_MS_MAX
        yield from _between("config.time_window_ms", config.time_window_ms, least, most)


def _rates(config: BreakerConfig) -> Iterator[Violation]:
    for field in ("failure_rate", "slow_rate"):
        yield from _real(f"config.{field}", getattr(config, field), 0.0, 1.0)
    if config.failure_rate == 0 and config.slow_rate == 0:
        yield Violation("config.failure_rate", "is required", "either it or slow_rate")
    if config.slow_rate != 0 and not config.slow_call_ms:
        yield Violation("config.slow_call_ms", "is required", "with slow_rate")
    most = limits.BREAKER_TIME_MS_MAX
    yield from _between("config.slow_call_ms", config.slow_call_ms, 0, most)


def _numbers(config: BreakerConfig) -> Iterator[Violation]:
    calls = config.count_window or limits.BREAKER_CALLS_MAX
    for field, most in (
        ("minimum_calls", min(calls, limits.BREAKER_CALLS_MAX)),
        ("minimum_reporters", limits.BREAKER_REPORTERS_MAX),
        ("open_ms", limits.BREAKER_TIME_MS_MAX),
        ("open_max_ms", limits.BREAKER_TIME_MS_MAX),
        ("probes", limits.BREAKER_PROBES_MAX),
        ("successes", limits.BREAKER_SUCCESSES_MAX),
        ("probe_timeout_ms", limits.BREAKER_PROBE_MS_MAX),
    ):
        yield from _between(f"config.{field}", getattr(config, field), 0, most)
    if config.open_factor != 0:
        most_factor = limits.BREAKER_FACTOR_MAX
        yield from _real("config.open_factor", config.open_factor, 1.0, most_factor)
    open_ms = config.open_ms or limits.BREAKER_OPEN_MS_DEFAULT
    if config.open_max_ms and config.open_max_ms < open_ms:
        span = f"{open_ms} (open_ms) or more, or 0 for ten times that"
        yield Violation("config.open_max_ms", f"is {config.open_max_ms}", span)


def _ignored(names: Sequence[str]) -> Iterator[Violation]:
    field, most = "config.ignored_errors", limits.BREAKER_IGNORED_MAX
    if len(names) > most:
        yield Violation(field, f"has {len(names)} names", f"{most} names")
        return
    for at, name in enumerate(names):
        yield from parts.words(f"{field}[{at}]", name, limits.EVENT_WORD_CHARS_MAX, 1)


def _trip_plan(plan: TripPlan) -> Iterator[Violation]:
    """What a trip does, and to whom: what an action has no use for is a mistake."""
    place, action = "config.on_trip", plan.action
    yield from parts.enum(f"{place}.action", action, 4)
    yield from parts.enum(f"{place}.on_barrier", plan.on_barrier, 3)
    yield from _agents(f"{place}.agent_ids", plan.agent_ids, limits.ROLLBACK_AGENTS_MAX)
    most = limits.ROLLBACK_VALIDATORS_MAX
    if len(plan.validators) > most:
        said = f"has {len(plan.validators)} names"
        yield Violation(f"{place}.validators", said, f"{most} names")
    else:
        for at, name in enumerate(plan.validators):
            yield from parts.agent_id(name, f"{place}.validators[{at}]")
    if action == TripAction.TRIP_ACTION_ROLLBACK:
        yield from _rolled_back(plan)
        return
    for field in ("group_id", "validators", "on_barrier"):
        if getattr(plan, field):
            yield Violation(f"{place}.{field}", "is given", "only with ROLLBACK")
    if action == TripAction.TRIP_ACTION_FAIL_OVER:
        if not plan.agent_ids:
            yield Violation(f"{place}.agent_ids", "is empty", "1 or more, with FAIL_OVER")
    elif plan.agent_ids:
        span = "only with FAIL_OVER and ROLLBACK"
        yield Violation(f"{place}.agent_ids", f"has {len(plan.agent_ids)} ids", span)


def _rolled_back(plan: TripPlan) -> Iterator[Violation]:
    if plan.group_id:
        yield from parts.agent_id(plan.group_id, "config.on_trip.group_id")
    if bool(plan.group_id) == bool(plan.agent_ids):
        said = "is there with agent_ids" if plan.group_id else "is required"
        yield Violation("config.on_trip.group_id", said, "either it or agent_ids")


def _named(message: Any) -> Iterator[Violation]:
    return parts.agent_id(message.name, "name")


def _get_breaker(message: GetBreakerRequest) -> Iterator[Violation]:
    yield from _named(message)
    yield from parts.consistency(message)


def _list_breakers(message: ListBreakersRequest) -> Iterator[Violation]:
    yield from parts.words("prefix", message.prefix, limits.AGENT_ID_CHARS_MAX)
    yield from parts.page(message)


def _report_outcomes(message: ReportOutcomesRequest) -> Iterator[Violation]:
    yield from _named(message)
    if not message.generation:
        yield Violation("generation", "is required", "that of the breaker when they were made")
    yield from _between("calls", message.calls, 1, limits.BREAKER_REPORTED_MAX)
    for field in ("failures", "slow"):
        yield from _between(field, getattr(message, field), 0, message.calls)
    if message.permit_id and message.calls != 1:
        yield Violation("calls", f"is {message.calls}", "1, with a permit_id")
    yield from parts.people("error", message.error)


def _by_hand(
    message: ForceOpenRequest | ForceCloseRequest | ResetRequest,
) -> Iterator[Violation]:
    yield from _named(message)
    yield from parts.people("reason", message.reason)


# --- incidents ---------------------------------------------------------------


def _report_symptom(message: ReportSymptomRequest) -> Iterator[Violation]:
    if message.symptom not in _REPORTED:
        span = "DIVERGED, REPORTED or EFFECT_UNKNOWN"
        yield Violation("symptom", f"{message.symptom} is not for clients", span)
    yield from parts.enum("classification", message.classification, _CLASSIFICATION_MAX)
    yield from _agents("agent_ids", message.agent_ids, limits.INCIDENT_AGENTS_MAX)
    yield from parts.words("summary", message.summary, limits.INCIDENT_SUMMARY_CHARS_MAX, 1)
    most = limits.EVIDENCE_PER_REPORT_MAX
    if len(message.evidence) > most:
        yield Violation("evidence", f"has {len(message.evidence)} pieces", f"{most} pieces")
        return
    for at, each in enumerate(message.evidence):
        yield from _evidence(each, f"evidence[{at}]")


def _evidence(evidence: Evidence, place: str) -> Iterator[Violation]:
    if evidence.kind not in EVIDENCE_KINDS:
        said = f"{parts.shown(evidence.kind)} is not known"
        yield Violation(f"{place}.kind", said, ", ".join(sorted(EVIDENCE_KINDS)))
    yield from parts.words(f"{place}.ref", evidence.ref, limits.EVIDENCE_REF_CHARS_MAX)
    yield from parts.people(f"{place}.detail", evidence.detail)


def _incident(message: Any) -> Iterator[Violation]:
    if not limits.NUMBERED_ID.fullmatch(message.incident_id):
        said = f"{parts.shown(message.incident_id)} is no incident id"
        yield Violation("incident_id", said, "16 hexadecimal digits")


def _get_incident(message: GetIncidentRequest) -> Iterator[Violation]:
    yield from _incident(message)
    yield from parts.consistency(message)


def _list_incidents(message: ListIncidentsRequest) -> Iterator[Violation]:
    if message.agent_id:
        yield from parts.agent_id(message.agent_id)
    yield from parts.page(message)


def _annotate_incident(message: AnnotateIncidentRequest) -> Iterator[Violation]:
    yield from _incident(message)
    yield from parts.words("by", message.by, limits.PEOPLE_CHARS_MAX, 1)
    yield from parts.words("text", message.text, limits.INCIDENT_NOTE_CHARS_MAX, 1)
    yield from parts.enum("classification", message.classification, _CLASSIFICATION_MAX)


def _resolve_incident(message: ResolveIncidentRequest) -> Iterator[Violation]:
    yield from _incident(message)
    yield from parts.people("resolution", message.resolution)


# --- what they are made of ---------------------------------------------------


def _between(field: str, value: int, least: int, most: int) -> Iterator[Violation]:
    if not least <= value <= most:
        yield Violation(field, f"is {value}", f"{least} to {most}")


def _real(field: str, value: float, least: float, most: float) -> Iterator[Violation]:
    """A number with a point. One that is none, or has no end, is in no range."""
    if not least <= value <= most:
        yield Violation(field, f"is {value}", f"{least:g} to {most:g}")


def _agents(field: str, ids: Sequence[str], most: int) -> Iterator[Violation]:
    """Agents' ids, each once."""
    if len(ids) > most:
        yield Violation(field, f"has {len(ids)} ids", f"{most} ids")
        return
    seen = set()
    for at, agent_id in enumerate(ids):
        yield from parts.agent_id(agent_id, f"{field}[{at}]")
        if agent_id in seen:
            said = f"{parts.shown(agent_id)} is there twice"
            yield Violation(f"{field}[{at}]", said, "each agent once")
        seen.add(agent_id)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    PutBreakerRequest: _put_breaker,
    DeleteBreakerRequest: _named,
    GetBreakerRequest: _get_breaker,
    ListBreakersRequest: _list_breakers,
    AcquirePermitRequest: _named,
    ReportOutcomesRequest: _report_outcomes,
    ForceOpenRequest: _by_hand,
    ForceCloseRequest: _by_hand,
    ResetRequest: _by_hand,
    ReportSymptomRequest: _report_symptom,
    GetIncidentRequest: _get_incident,
    ListIncidentsRequest: _list_incidents,
    AnnotateIncidentRequest: _annotate_incident,
    ResolveIncidentRequest: _resolve_incident,
}
