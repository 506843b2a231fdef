"""Each limit of requests about rollbacks, at the limit and one beyond it."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from raftstate.v1.recovery_service_pb2 import ReportValidationRequest
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    FinishRollbackRequest,
    GetRollbackRequest,
    ListRollbacksRequest,
    PlanRollbackRequest,
    StartRollbackRequest,
    Target,
)
from tests.core.limit_table import RID, Limit, number, text

ID = "a" * 200
HASH = bytes(32)
NUMBERED = "0123456789abcdef"
GOOD = Target(known_good=True)


def to(name: str = "a", **target: object) -> AgentTarget:
    return AgentTarget(agent_id=name, target=Target(**(target or {"known_good": True})))  # type: ignore[arg-type]


def some(count: int) -> list[AgentTarget]:
    return [to(f"a{at}") for at in range(count)]


def plan(**fields: object) -> Message:
    return PlanRollbackRequest(**{"agents": [to()], **fields})  # type: ignore[arg-type]


def start(**fields: object) -> Message:
    whole: dict[str, object] = {"request_id": RID, "agents": [to()], **fields}
    return StartRollbackRequest(**whole)  # type: ignore[arg-type]


def abort(**fields: object) -> Message:
    whole: dict[str, object] = {"request_id": RID, "rollback_id": NUMBERED, **fields}
    return AbortRollbackRequest(**whole)  # type: ignore[arg-type]


def finish(**fields: object) -> Message:
    whole: dict[str, object] = {"request_id": RID, "rollback_id": NUMBERED, **fields}
    return FinishRollbackRequest(**whole)  # type: ignore[arg-type]


def listed(**fields: object) -> Message:
    return ListRollbacksRequest(**fields)  # type: ignore[arg-type]


def report(**fields: object) -> Message:
    whole: dict[str, object] = {"request_id": RID, "validator": "v", "agent_id": "a", **fields}
    return ReportValidationRequest(**whole)  # type: ignore[arg-type]


def of_checkpoint(**fields: object) -> Message:
    return report(**{"checkpoint_id": 1, "content_hash": HASH, **fields})


def of_rollback(**fields: object) -> Message:
    return report(**{"rollback_id": NUMBERED, **fields})


TABLE = [
    # whose rollback, and where to
    *(
        limit
        for make in (plan, start)
        for limit in (
            Limit(lambda v, make=make: make(agents=some(v)), 32, 33, "agents"),
            Limit(lambda v, make=make: make(agents=some(v)), 1, 0, "agents"),
            Limit(
                lambda v, make=make: make(agents=[to(), to(v)]), "b", "a", "agents[1].agent_id"
            ),
            Limit(
                lambda v, make=make: make(agents=[to(v)]), ID, ID + "a", "agents[0].agent_id"
            ),
            Limit(
                lambda v, make=make: make(agents=[AgentTarget(agent_id="a", target=v)]),
                GOOD,
                None,
                "agents[0].target",
            ),
            *(
                Limit(
                    lambda v, make=make, kind=kind: make(agents=[to(**{kind: v})]),
                    most,
                    0,
                    f"agents[0].target.{kind}",
                )
                for kind, most in (
                    ("checkpoint_id", 1 << 63),
                    ("known_good", True),
                    ("before_event_seq", (1 << 64) - 1),
                    ("revision", (1 << 64) - 1),
                )
            ),
            Limit(lambda v, make=make: make(group_id="g", agents=v), [], some(1), "agents"),
            Limit(lambda v, make=make: make(agents=[], group_id=v), ID, ID + "a", "group_id"),
        )
    ),
    Limit(lambda v: plan(agents=[to(log_time_ms=v)]), 1, 0, "agents[0].target.log_time_ms"),
    Limit(
        lambda v: start(agents=[to("a", **{v: 1})]),
        "revision",
        "log_time_ms",
        "agents[0].target.log_time_ms",
    ),
    Limit(lambda v: plan(consistency=v, revision=7), 3, 4, "consistency"),
    # the start
    number("on_barrier", 3, 4, "on_barrier", start),
    number("on_barrier", 0, -1, "on_barrier", start),
    Limit(lambda v: start(validators=[f"v{at}" for at in range(v)]), 16, 17, "validators"),
    Limit(lambda v: start(validators=["v", v]), "w", "v", "validators"),
    Limit(lambda v: start(validators=["v", v]), ID, "", "validators[1]"),
    text("reason", 255, "reason", start),
    text("started_by", 255, "started_by", start),
    Limit(lambda v: start(expected_digest=v), HASH, HASH + b"x", "expected_digest"),
    Limit(lambda v: start(expected_digest=v), b"", b"x", "expected_digest"),
    Limit(lambda v: start(incident_id=v), NUMBERED, NUMBERED + "0", "incident_id"),
    Limit(lambda v: start(incident_id=v), "", NUMBERED.upper(), "incident_id"),
    # the end, and reads
    *(
        Limit(lambda v, kind=kind: kind(rollback_id=v), NUMBERED, beyond, "rollback_id")
        for kind in (finish, abort, GetRollbackRequest)
        for beyond in ("", NUMBERED[1:], "rollback/" + NUMBERED)
    ),
    text("reason", 255, "reason", abort),
    Limit(lambda v: listed(states=[1, v]), 6, 7, "states[1]"),
    Limit(lambda v: listed(states=[1] * v), 6, 7, "states"),
    number("page_size", 1_000, 1_001, "page_size", ListRollbacksRequest),
    text("page_token", 1_024, "page_token", ListRollbacksRequest),
    # verdicts
    *(
        limit
        for make in (of_checkpoint, of_rollback)
        for limit in (
            Limit(lambda v, make=make: make(validator=v), ID, "", "validator"),
            Limit(lambda v, make=make: make(agent_id=v), ID, "", "agent_id"),
            text("evidence", 255, "evidence", make),
        )
    ),
    Limit(lambda v: of_checkpoint(content_hash=v), HASH, b"", "content_hash"),
    Limit(lambda v: report(checkpoint_id=v, content_hash=HASH), 1, 0, "checkpoint_id"),
    Limit(lambda v: of_rollback(checkpoint_id=v), 0, 1, "checkpoint_id"),
    Limit(lambda v: of_rollback(content_hash=v), b"", HASH, "checkpoint_id"),
    Limit(lambda v: of_rollback(rollback_id=v), NUMBERED, "x" * 16, "rollback_id"),
]
NAMED = [pytest.param(limit, id=f"{at}-{limit.field}") for at, limit in enumerate(TABLE)]


@pytest.mark.parametrize("limit", NAMED)
def test_a_limit_holds_exactly(limit: Limit) -> None:
    """
    At the limit all is well; one beyond it, exactly that field is named.
    """
    limit.check()
