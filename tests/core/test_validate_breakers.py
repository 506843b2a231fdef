"""Each limit of breakers and incidents, at the limit and one beyond it."""

from __future__ import annotations

import math

import pytest
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.core.validate import violations
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
    TripPlan,
)
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    Evidence,
    GetIncidentRequest,
    ListIncidentsRequest,
    ReportSymptomRequest,
    ResolveIncidentRequest,
)
from tests.core.limit_table import RID, Limit, number, text

ID = "a" * limits.AGENT_ID_CHARS_MAX
INCIDENT = "0123456789abcdef"
DAY_MS = 86_400_000


def put(**fields: object) -> Message:
    """A configuration by count that is fine but for what is given."""
    wanted = {"count_window": 1_000, "failure_rate": 0.5, **fields}
    config = BreakerConfig(**wanted)  # type: ignore[arg-type]
    return PutBreakerRequest(request_id=RID, name="b", config=config)


def timed(**fields: object) -> Message:
    """The same, by time."""
    return put(**{"count_window": 0, "time_window_ms": 1_000, **fields})


def slow(**fields: object) -> Message:
    """The same, for calls that are slow."""
    return put(**{"slow_rate": 0.5, "slow_call_ms": 1_000, **fields})


def plan(**fields: object) -> Message:
    """The same, with something to do when it trips."""
    return put(on_trip=TripPlan(**fields))  # type: ignore[arg-type]


def ids(count: int) -> list[str]:
    """So many agents' ids."""
    return [f"a{each}" for each in range(count)]


def fail_over(agents: list[str]) -> Message:
    return plan(action="TRIP_ACTION_FAIL_OVER", agent_ids=agents)


def roll_back(**fields: object) -> Message:
    wanted = {"agent_ids": ["a"], **fields}
    return plan(action="TRIP_ACTION_ROLLBACK", **wanted)


def reported(**fields: object) -> Message:
    wanted = {"name": "b", "generation": 1, "calls": 5, **fields}
    return ReportOutcomesRequest(request_id=RID, **wanted)  # type: ignore[arg-type]


def by_hand(kind: type[Message], **fields: object) -> Message:
    return kind(**{"request_id": RID, "name": "b", **fields})


def symptom(**fields: object) -> Message:
    wanted = {"symptom": 6, "summary": "odd", **fields}
    return ReportSymptomRequest(request_id=RID, **wanted)  # type: ignore[arg-type]


def evidence(**fields: str) -> Message:
    return symptom(evidence=[Evidence(**{"kind": "text", **fields})])


def annotate(**fields: object) -> Message:
    wanted = {"incident_id": INCIDENT, "by": "ann", "text": "seen", **fields}
    return AnnotateIncidentRequest(request_id=RID, **wanted)  # type: ignore[arg-type]


def resolve(**fields: object) -> Message:
    wanted = {"incident_id": INCIDENT, **fields}
    return ResolveIncidentRequest(request_id=RID, **wanted)  # type: ignore[arg-type]


NAMED_REQUESTS = (
    DeleteBreakerRequest,
    AcquirePermitRequest,
    ForceOpenRequest,
    ForceCloseRequest,
    ResetRequest,
)
TABLE = [
    # --- breakers: windows and rates
    Limit(lambda v: by_hand(PutBreakerRequest, **v), {"config": put().config}, {}, "config"),  # type: ignore[attr-defined]
    number("count_window", 100_000, 100_001, "config.count_window", put),
    number("time_window_ms", 1_000, 999, "config.time_window_ms", timed),
    number("time_window_ms", DAY_MS, DAY_MS + 1, "config.time_window_ms", timed),
    number("time_window_ms", 0, 1_000, "config.time_window_ms", put),
    number("count_window", 1, 0, "config.time_window_ms", put),
    Limit(lambda v: put(failure_rate=v), 1.0, math.nextafter(1, 2), "config.failure_rate"),
    Limit(lambda v: put(failure_rate=v), 5e-324, -5e-324, "config.failure_rate"),
    Limit(lambda v: put(failure_rate=v), 0.1, math.nan, "config.failure_rate"),
    Limit(lambda v: put(failure_rate=v), 0.1, math.inf, "config.failure_rate"),
    Limit(lambda v: put(failure_rate=v), 0.1, -math.inf, "config.failure_rate"),
    Limit(lambda v: put(failure_rate=v), 0.1, 0.0, "config.failure_rate"),
    Limit(lambda v: slow(slow_rate=v), 1.0, 1.0000001, "config.slow_rate"),
    Limit(lambda v: slow(slow_rate=v), 0.0, math.nan, "config.slow_rate"),
    Limit(lambda v: slow(slow_rate=v), 0.0, -1.0, "config.slow_rate"),
    number("slow_call_ms", 1, 0, "config.slow_call_ms", slow),
    number("slow_call_ms", DAY_MS, DAY_MS + 1, "config.slow_call_ms", slow),
    # --- breakers: numbers
    number("minimum_calls", 1_000, 1_001, "config.minimum_calls", put),
    number("minimum_calls", 100_000, 100_001, "config.minimum_calls", timed),
    number("minimum_reporters", 64, 65, "config.minimum_reporters", put),
    number("open_ms", DAY_MS, DAY_MS + 1, "config.open_ms", put),
    Limit(lambda v: put(open_factor=v), 1.0, 0.999, "config.open_factor"),
    Limit(lambda v: put(open_factor=v), 100.0, 100.0001, "config.open_factor"),
    Limit(lambda v: put(open_factor=v), 0.0, math.nan, "config.open_factor"),
    Limit(lambda v: put(open_factor=v), -0.0, math.inf, "config.open_factor"),
    number("open_max_ms", DAY_MS, DAY_MS + 1, "config.open_max_ms", put),
    number("open_max_ms", 10_000, 9_999, "config.open_max_ms", put),
    Limit(lambda v: put(open_ms=50, open_max_ms=v), 50, 49, "config.open_max_ms"),
    number("probes", 100, 101, "config.probes", put),
    number("successes", 1_000, 1_001, "config.successes", put),
    number("probe_timeout_ms", 3_600_000, 3_600_001, "config.probe_timeout_ms", put),
    Limit(lambda v: put(ignored_errors=v), ["e"] * 64, ["e"] * 65, "config.ignored_errors"),
    Limit(lambda v: put(ignored_errors=["e", v]), "e", "", "config.ignored_errors[1]"),
    Limit(lambda v: put(ignored_errors=[v]), "é" * 128, "é" * 129, "config.ignored_errors[0]"),
    # --- breakers: what a trip does
    number("action", 0, 5, "config.on_trip.action", plan),
    number("on_barrier", 3, 4, "config.on_trip.on_barrier", roll_back),
    Limit(fail_over, ids(32), ids(33), "config.on_trip.agent_ids"),
    Limit(fail_over, ["a"], [], "config.on_trip.agent_ids"),
    Limit(fail_over, ["a", "b"], ["a", "a"], "config.on_trip.agent_ids[1]"),
    Limit(fail_over, [ID], [ID + "a"], "config.on_trip.agent_ids[0]"),
    Limit(lambda v: plan(agent_ids=v), [], ["a"], "config.on_trip.agent_ids"),
    Limit(lambda v: plan(group_id=v), "", "g", "config.on_trip.group_id"),
    Limit(lambda v: plan(validators=v), [], ["v"], "config.on_trip.validators"),
    Limit(lambda v: plan(on_barrier=v), 0, 2, "config.on_trip.on_barrier"),
    Limit(lambda v: roll_back(validators=v), ids(16), ids(17), "config.on_trip.validators"),
    Limit(lambda v: roll_back(validators=v), ["v"], ["-"], "config.on_trip.validators[0]"),
    Limit(lambda v: roll_back(group_id=v), "", "g", "config.on_trip.group_id"),
    Limit(lambda v: roll_back(agent_ids=v), ["a"], [], "config.on_trip.group_id"),
    Limit(
        lambda v: roll_back(agent_ids=[], group_id=v), ID, ID + "a", "config.on_trip.group_id"
    ),
    # --- breakers: the rest
    *(
        Limit(lambda v, kind=kind: by_hand(kind, name=v), ID, ID + "a", "name")
        for kind in (*NAMED_REQUESTS,)
    ),
    Limit(lambda v: GetBreakerRequest(name=v), ID, "", "name"),
    Limit(lambda v: GetBreakerRequest(name="b", revision=v), 0, 1, "revision"),
    text("prefix", 200, "prefix", ListBreakersRequest),
    number("page_size", 1_000, 1_001, "page_size", ListBreakersRequest),
    text("page_token", 1_024, "page_token", ListBreakersRequest),
    *(
        Limit(
            lambda v, kind=kind: by_hand(kind, reason=v),
            "é" * 255,
            "é" * 256,
            "reason",
        )
        for kind in (ForceOpenRequest, ForceCloseRequest, ResetRequest)
    ),
    number("generation", 1, 0, "generation", reported),
    number("calls", 1_000_000, 1_000_001, "calls", reported),
    number("calls", 1, 0, "calls", reported),
    number("failures", 5, 6, "failures", reported),
    number("slow", 5, 6, "slow", reported),
    Limit(lambda v: reported(permit_id=9, calls=v), 1, 2, "calls"),
    text("error", 255, "error", reported),
    # --- incidents
    *(number("symptom", each, other, "symptom", symptom) for each, other in ((4, 0), (6, 5))),
    *(number("symptom", 8, other, "symptom", symptom) for other in (1, 2, 3, 7, 9)),
    number("classification", 14, 15, "classification", symptom),
    number("classification", 0, -1, "classification", symptom),
    Limit(lambda v: symptom(agent_ids=v), ids(32), ids(33), "agent_ids"),
    Limit(lambda v: symptom(agent_ids=v), ["a", "b"], ["b", "b"], "agent_ids[1]"),
    Limit(lambda v: symptom(agent_ids=v), [ID], [""], "agent_ids[0]"),
    text("summary", 300, "summary", symptom),
    Limit(lambda v: symptom(summary=v), "s", "", "summary"),
    Limit(
        lambda v: symptom(evidence=[Evidence(kind="text")] * v),
        32,
        33,
        "evidence",
    ),
    Limit(lambda v: evidence(kind=v), "validator", "gossip", "evidence[0].kind"),
    text("ref", 300, "evidence[0].ref", evidence),
    text("detail", 255, "evidence[0].detail", evidence),
    Limit(lambda v: GetIncidentRequest(incident_id=v), INCIDENT, "1", "incident_id"),
    Limit(lambda v: GetIncidentRequest(incident_id=v), INCIDENT, "A" * 16, "incident_id"),
    Limit(lambda v: annotate(incident_id=v), INCIDENT, INCIDENT + "0", "incident_id"),
    Limit(lambda v: resolve(incident_id=v), INCIDENT, "", "incident_id"),
    Limit(lambda v: ListIncidentsRequest(agent_id=v), "", "-", "agent_id"),
    number("page_size", 1_000, 1_001, "page_size", ListIncidentsRequest),
    text("by", 255, "by", annotate),
    Limit(lambda v: annotate(by=v), "a", "", "by"),
    text("text", 1_000, "text", annotate),
    Limit(lambda v: annotate(text=v), "a", "", "text"),
    number("classification", 14, 15, "classification", annotate),
    text("resolution", 255, "resolution", resolve),
]
NAMED = [pytest.param(limit, id=f"{at}-{limit.field}") for at, limit in enumerate(TABLE)]


@pytest.mark.parametrize("limit", NAMED)
def test_a_limit_holds_exactly(limit: Limit) -> None:
    """
    At the limit all is well; one beyond it, exactly that field is named.
    """
    limit.check()


def test_every_kind_of_evidence_may_be_reported() -> None:
    """
    Those that the API names.
    """
    kinds = "agent checkpoint event effect saga rollback breaker validator revision text"

    for kind in kinds.split():
        assert violations(evidence(kind=kind)) == []
