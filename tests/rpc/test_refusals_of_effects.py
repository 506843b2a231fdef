"""What a client is told where effects, rollbacks and breakers refuse it, and what comes
beside a claim, or a grant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.rpc.error_details_pb2 import PreconditionFailure, RetryInfo

from raftstate.core import effect_queries
from raftstate.core.limits import (
    BUNDLE_BYTES_MAX,
    CHECKPOINT_BYTES_MAX,
    EFFECT_BYTES_MAX,
    REQUEST_BYTES_MAX,
)
from raftstate.rpc.errors import Failure
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    ForceOpenRequest,
    GetBreakerRequest,
)
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.effect_service_pb2 import (
    EffectClass,
    EndSagaRequest,
    Found,
    GetEffectRequest,
    GetSagaRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
)
from raftstate.v1.event_service_pb2 import AppendEventsRequest, NewEvent, StreamAppend
from raftstate.v1.recovery_service_pb2 import GetIncidentRequest
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    FinishRollbackRequest,
    GetRollbackRequest,
    PlanRollbackRequest,
    StartRollbackRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from tests.rpc import documented
from tests.rpc.harness import Bench, Refused, refused, rest_of, run
from tests.rpc.reads_of_effects import resolve
from tests.rpc.stories_of_breakers import put, record, report, reported
from tests.rpc.stories_of_effects import (
    IRREVERSIBLE,
    begin,
    claim,
    complete,
    done_since,
    prepare,
    start,
    to_checkpoint,
)

IDEMPOTENT = EffectClass.EFFECT_CLASS_IDEMPOTENT


def subjects(found: Refused) -> list[str]:
    """What a precondition's failure is said to be about."""
    return [
        violation.subject
        for detail in found.details
        if isinstance(detail, PreconditionFailure)
        for violation in detail.violations
    ]


def retry_ms(found: Refused) -> int | None:
    """After how long a client is told to ask again."""
    for detail in found.details:
        if isinstance(detail, RetryInfo):
            return int(detail.retry_delay.ToMilliseconds())
    return None


# --- breakers ------------------------------------------------------------------------


async def ask(b: Bench) -> Refused:
    request = AcquirePermitRequest(request_id=b.request_id(), name="cars")
    return await refused(b.breakers.AcquirePermit(request))


def test_an_open_breaker_says_until_when() -> None:
    """
    In log time, with the log time of the answer, and how long that is: definite, so that
    nobody wonders whether the call was made.
    """

    async def story(b: Bench) -> None:
        await put(b)
        await report(b, failures=2)

        found = await ask(b)

        assert (found.code, found.reason, found.definite) == (
            "UNAVAILABLE",
            "BREAKER_OPEN",
            True,
        )
        assert found.metadata["current_state"] == "OPEN"
        until, now = (int(found.metadata[one]) for one in ("open_until_ms", "log_time_ms"))
        breaker = (await b.breakers.GetBreaker(GetBreakerRequest(name="cars"))).breaker
        assert until == breaker.open_until_ms > now
        assert retry_ms(found) == until - now

    run(story)


def test_a_breaker_that_was_forced_open_says_no_time() -> None:
    """
    A person has to close it: to ask again by itself helps nobody.
    """

    async def story(b: Bench) -> None:
        await put(b)
        await b.breakers.ForceOpen(ForceOpenRequest(request_id=b.request_id(), name="cars"))

        found = await ask(b)

        assert found.metadata["current_state"] == "FORCED_OPEN"
        assert "open_until_ms" not in found.metadata
        assert retry_ms(found) is None

    run(story)


# --- states --------------------------------------------------------------------------


def test_an_effect_in_another_state_is_a_conflict() -> None:
    """
    ABORTED, and the state that it is in.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await prepare(b, fence)
        await complete(b, fence)

        found = await refused(complete(b, fence))

        assert (found.code, found.reason, found.definite) == ("ABORTED", "CONFLICT", True)
        assert found.metadata["current_state"] == "COMMITTED"

    run(story)


def test_who_asks_the_outside_for_a_plan_is_told_what_is_wrong_with_that() -> None:
    """
    There is no such plan, or nothing of it to undo: as the call's documentation says.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await begin(b, fence)
        await prepare(b, fence, saga_id="trip/1")
        may = documented.of_call("EffectService.ReconcileEffect")
        for plan_id, reason in (("saga/no", "PLAN_NOT_FOUND"), ("saga/trip/1", "PLAN_STATE")):
            request = ReconcileEffectRequest(
                request_id=b.request_id(),
                agent_id="a",
                effect_id="e",
                fence=fence,
                plan_id=plan_id,
                found=Found.FOUND_DONE,
            )

            found = await refused(b.effects.ReconcileEffect(request))

            assert found.reason == reason
            assert found.reason in may.reasons and found.code in may.codes

    run(story)


def test_an_open_effect_keeps_a_saga_from_its_end() -> None:
    """
    ABORTED as well.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await begin(b, fence)
        await prepare(b, fence, saga_id="trip/1")
        request = EndSagaRequest(
            request_id=b.request_id(), saga_id="trip/1", agent_id="a", fence=fence
        )

        found = await refused(b.effects.EndSaga(request))

        assert (found.code, found.reason) == ("ABORTED", "CONFLICT")

    run(story)


def test_a_rollback_that_is_not_so_far_is_named_with_its_state() -> None:
    """
    FAILED_PRECONDITION, about the rollback.
    """

    async def story(b: Bench) -> None:
        await done_since(b, "one")
        begun = await start(b)
        request = FinishRollbackRequest(
            request_id=b.request_id(), rollback_id=begun.rollback_id
        )

        found = await refused(b.rollbacks.FinishRollback(request))

        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "PLAN_STATE")
        assert found.metadata["current_state"] == "COMPENSATING"
        assert [begun.rollback_id in one for one in subjects(found)] == [True]

    run(story)


def test_an_incident_is_resolved_once() -> None:
    """
    PLAN_STATE, about the incident.
    """

    async def story(b: Bench) -> None:
        incident_id = await reported(b)
        await resolve(b, incident_id)

        found = await refused(resolve(b, incident_id))

        assert found.reason == "PLAN_STATE"
        assert subjects(found) == [f"incident/{incident_id}"]

    run(story)


def test_a_barrier_is_named() -> None:
    """
    Which effect of which agent cannot be undone; a plan counts it, and does not refuse.
    """

    async def story(b: Bench) -> None:
        fence = await done_since(b, "one")
        await prepare(b, fence, "letter", effect_class=IRREVERSIBLE)
        await complete(b, fence, "letter")

        found = await refused(start(b))
        plan = await b.rollbacks.PlanRollback(PlanRollbackRequest(agents=to_checkpoint()))

        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "ROLLBACK_BARRIER")
        assert found.metadata["subject"] == "a#letter"
        assert subjects(found) == ["a#letter"]
        assert plan.barriers == 1

    run(story)


def test_a_plan_is_refused_as_its_start_would_be() -> None:
    """
    The same code, reason and details, for a target that is not there, an agent that is not,
    and a past that there is no acting in.
    """

    async def story(b: Bench) -> None:
        await done_since(b)
        for targets in (to_checkpoint(9), to_checkpoint(1, "nobody")):
            plan = await refused(b.rollbacks.PlanRollback(PlanRollbackRequest(agents=targets)))
            request = StartRollbackRequest(request_id=b.request_id(), agents=targets)
            begun = await refused(b.rollbacks.StartRollback(request))
            for said in (plan, begun):
                for name in ("revision", "raft_index"):
                    del said.metadata[name]
            assert plan == begun
            assert plan.code == "NOT_FOUND"
        past = PlanRollbackRequest(
            agents=to_checkpoint(),
            consistency=Consistency.CONSISTENCY_AT_REVISION,
            revision=b.fake.machine.revision,
        )
        found = await refused(b.rollbacks.PlanRollback(past))
        assert (found.reason, found.metadata["field"]) == ("INVALID_REQUEST", "consistency")

    run(story)


def test_an_effect_says_how_it_is_undone() -> None:
    """
    COMPENSATION_REQUIRED, which is the caller's mistake.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        effect = NewEffect(effect_id="e", action="charge", effect_class=IDEMPOTENT)
        request = PrepareEffectRequest(
            request_id=b.request_id(), agent_id="a", fence=fence, effect=effect
        )

        found = await refused(b.effects.PrepareEffect(request))

        assert (found.code, found.reason, found.definite) == (
            "INVALID_ARGUMENT",
            "COMPENSATION_REQUIRED",
            True,
        )

    run(story)


def test_only_an_agents_events_tell_of_a_state() -> None:
    """
    A free stream has no state whose hash there could be.
    """

    async def story(b: Bench) -> None:
        event = NewEvent(type="e", state_hash=b"h" * 32)
        append = StreamAppend(stream_id="free", events=[NewEvent(type="e"), event])
        request = AppendEventsRequest(request_id=b.request_id(), appends=[append])

        found = await refused(b.events.AppendEvents(request))

        assert (found.reason, found.metadata["field"]) == (
            "INVALID_REQUEST",
            "appends[0].events[1].state_hash",
        )

    run(story)


# --- what is not there ---------------------------------------------------------------

ABSENT: dict[str, tuple[Callable[[Bench], Awaitable[Any]], str]] = {
    "effect": (
        lambda b: b.effects.GetEffect(GetEffectRequest(agent_id="a", effect_id="e")),
        "a#e",
    ),
    "saga": (lambda b: b.effects.GetSaga(GetSagaRequest(saga_id="s")), "s"),
    "rollback": (
        lambda b: b.rollbacks.GetRollback(GetRollbackRequest(rollback_id="0" * 16)),
        "0" * 16,
    ),
    "breaker": (lambda b: b.breakers.GetBreaker(GetBreakerRequest(name="b")), "b"),
    "incident": (
        lambda b: b.recovery.GetIncident(GetIncidentRequest(incident_id="0" * 16)),
        "0" * 16,
    ),
}


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_absent_is_named(name: str) -> None:
    """
    NOT_FOUND, definite, with the reason of its kind.
    """
    read, subject = ABSENT[name]

    async def story(b: Bench) -> None:
        found = await refused(read(b))
        assert (found.code, found.reason, found.definite) == (
            "NOT_FOUND",
            f"{name.upper()}_NOT_FOUND",
            True,
        )
        assert found.metadata["subject"] == subject

    run(story)


# --- beside a claim, or a grant ---------------------------------------------------------


def test_what_a_successor_is_told_is_no_more_than_clients_receive() -> None:
    """
    Also where each part of it is as large as it may be: what does not fit, it is told to
    read.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        sizes = {"checkpoint": CHECKPOINT_BYTES_MAX, "event": REQUEST_BYTES_MAX - 1_000}
        for new in (
            {"checkpoint": NewCheckpoint(data=bytes(sizes["checkpoint"]))},
            {"events": [NewEvent(type="t", data=bytes(sizes["event"]))]},
        ):
            await b.steps.CommitStep(
                CommitStepRequest(request_id=b.request_id(), agent_id="a", fence=fence, **new)
            )
        for number in range(12):
            await prepare(b, fence, f"e{number}", arguments=bytes(EFFECT_BYTES_MAX))
        await record(b, fence, "one", bytes(500_000))
        await record(b, fence, "two", bytes(sizes["event"]))

        request = AcquireOwnershipRequest(request_id=b.request_id(), agent_id="a")
        answer = await b.agents.AcquireOwnership(request)

        told = answer.bundle
        # And one answer of a stream with it, which ends once it has 512 KiB.
        assert told.ByteSize() <= BUNDLE_BYTES_MAX < (4 << 20) - (512 << 10)
        assert (len(told.checkpoint.data), len(told.events[0].data)) == tuple(sizes.values())
        assert 0 < len(told.open_effects) < 12
        assert told.more_effects and told.more_recordings

    run(story)


def test_a_claim_on_a_stream_comes_with_its_effect() -> None:
    """
    As by itself; and the effect is what it is now, also when the claim is asked for again.
    """

    async def story(b: Bench) -> None:
        await done_since(b, "one")
        begun = await start(b)
        request = ClaimCompensationsRequest(
            request_id=b.request_id(), plan_id=begun.undoing.plan_id
        )
        call = b.steps.Submit()
        batch = [Mutation(claim_compensations=request)] * 2
        await call.write(SubmitRequest(mutations=batch))
        await call.done_writing()
        results = [one for answer in await rest_of(call) for one in answer.results]

        assert [one.claim_compensations.effect.effect_id for one in results] == ["one"] * 2
        assert results[0].claim_compensations == results[1].claim_compensations

    run(story)


def test_a_claim_whose_effect_cannot_be_read_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It was made: so it is nothing that has not happened.
    """

    async def story(b: Bench) -> None:
        await done_since(b, "one")
        begun = await start(b)

        def fails(*_: object) -> None:
            raise Failure("QUARANTINED", "damaged", definite=True)

        with monkeypatch.context() as patched:
            patched.setattr(effect_queries, "get_effect", fails)
            found = await refused(claim(b, begun.undoing.plan_id))
        again = await claim(b, begun.undoing.plan_id)

        assert (found.reason, found.definite) == ("OUTCOME_UNKNOWN", False)
        assert (again.item.claims, again.effect.effect_id) == (1, "one")

    run(story)
