"""Rollbacks after others that were given up, and effects that are done once more."""

from __future__ import annotations

import pytest

from raftstate.core import keys, limits, rollback_queries
from raftstate.v1.recovery_service_pb2 import Incident, PutValidatorRequest, Symptom
from raftstate.v1.rollback_service_pb2 import PlanRollbackRequest
from raftstate.v1.store_pb2 import Command, Refusal
from tests.core import breaker_story, rollback_story
from tests.core import effect_story as say
from tests.core.bench import reason
from tests.core.rollback_story import target
from tests.core.test_rollbacks import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def planned(rig: Rig, words: str) -> list[str]:
    """The effects that a rollback would undo, in order."""
    return [each.effect_id for each in rig.plan(words).effects]


def give_up(rig: Rig, words: str) -> None:
    """Start a rollback, undo nothing, give it up, and let the agent go on."""
    rollback = rig.start(words)
    rig.done(rollback_story.abort(rig.bench, "w", rollback))
    rig.done(rig.bench.resume("w", "a"))
    rig.own("a")


def test_what_an_aborted_saga_was_to_undo_outlives_the_rollback_that_took_it_over(
    rig: Rig,
) -> None:
    """
    The effect is older than the checkpoint. Its saga was given up after it, then a rollback
    took it over, and was given up too: the next one undoes it still.
    """
    rig.done(say.begin_saga(rig.bench, "s", "trip", "a", rig.fence))
    rig.act("old undo=u saga=trip")
    rig.step("1", data="1")
    rig.done(say.abort_saga(rig.bench, "s", "trip", "a", rig.fence))
    assert planned(rig, "a:checkpoint:1") == ["old"]

    give_up(rig, "a:checkpoint:1")
    assert planned(rig, "a:checkpoint:1") == ["old"]
    rollback = rig.start("a:checkpoint:1")
    plan = f"rollback/{rollback}"
    claimed = rig.bench.one(say.claim(rig.bench, "w", plan)).claim_compensations
    rig.done(say.undone(rig.bench, "w", plan, claimed.claim.fence, claimed.item.position))
    rig.done(rollback_story.finish(rig.bench, "w", rollback))
    assert planned(rig, "a:checkpoint:1") == []


def test_what_a_given_up_rollback_has_left_is_undone_by_any_later_one(rig: Rig) -> None:
    """
    Also by one to a state that came after it, which knows nothing of that effect; but not by
    one that goes back to where it belongs, nor once its owner has done it again.
    """
    rig.step("1", data="1")
    rig.act("left undo=u")
    rig.act("lost undo=u", done="unknown")
    rig.step("2", data="2")
    give_up(rig, "a:checkpoint:1")
    rig.act("new undo=u")
    rig.step("3", data="3")

    assert planned(rig, "a:checkpoint:1") == ["lost", "new", "left"]
    assert planned(rig, "a:checkpoint:4") == ["lost", "left"]
    assert planned(rig, f"a:revision:{rig.now}") == ["lost", "left"]
    assert planned(rig, "a:checkpoint:2") == ["new"]
    rig.done(say.dispatch(rig.bench, "s", "a", rig.fence, "lost"))
    done = say.closing("lost committed")
    rig.done(say.complete(rig.bench, "s", "a", rig.fence, done))
    rig.step("4", data="4")
    assert planned(rig, "a:checkpoint:5") == ["left"]


def test_what_was_to_stay_is_asked_about_again_when_it_is_done_again(rig: Rig) -> None:
    """A decision is about what was done until then."""
    rig.step("1", data="1")
    rig.act("x undo=u", done="unknown")
    rollback = rig.start("a:checkpoint:1")
    plan = f"rollback/{rollback}"
    claimed = rig.bench.one(say.claim(rig.bench, "w", plan)).claim_compensations
    fence = claimed.claim.fence
    rig.done(say.undone(rig.bench, "w", plan, fence, 1, "for_good"))
    rig.done(say.decide(rig.bench, "w", plan, 1, "proceed", "ann"))
    rig.done(rollback_story.finish(rig.bench, "w", rollback))
    rig.own("a")
    assert planned(rig, "a:checkpoint:1") == []

    rig.done(say.dispatch(rig.bench, "s", "a", rig.fence, "x"))
    assert planned(rig, "a:checkpoint:1") == ["x"]
    done = say.closing("x committed")
    rig.done(say.complete(rig.bench, "s", "a", rig.fence, done))
    assert planned(rig, "a:checkpoint:1") == ["x"]


@pytest.mark.parametrize("aborted", [False, True])
def test_what_sagas_have_to_undo_counts_for_the_size_of_a_rollback(
    rig: Rig, aborted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is looked through by the one command that starts the rollback."""
    rig.step("1", data="1")
    rig.own("b")
    other = rig.fence
    rig.own("a")
    begun = say.begin_saga(rig.bench, "s", "trip", "a", rig.fence, "choreographed")
    rig.done(begun)
    for name in ("x", "y", "z"):
        new = say.new_effect(f"{name} undo=u saga=trip dispatch=yes")
        rig.done(say.prepare(rig.bench, "s", "b", other, new))
    if aborted:
        rig.done(say.abort_saga(rig.bench, "s", "trip", "a", rig.fence))
    request = PlanRollbackRequest(agents=[target("a:checkpoint:1")])
    assert not isinstance(rollback_queries.plan_rollback(rig.bench.store, request), Refusal)
    monkeypatch.setattr(limits, "PLAN_ITEMS_MAX", 2)
    outcome = rig.bench.one(rollback_story.start(rig.bench, "w", list(request.agents)))
    assert reason(outcome) == "TOO_MANY"


def open_incidents(rig: Rig) -> list[Incident]:
    found = rig.bench.store.scan(*keys.incidents(""))
    return [one for one in (Incident.FromString(raw) for _, raw in found) if one.open]


def test_what_goes_wrong_after_the_incident_was_resolved_is_a_new_incident(rig: Rig) -> None:
    """It is found among the open ones, belongs to the rollback, and ends with it."""
    request_id = rig.bench.request_id("w")
    rig.done(Command(put_validator=PutValidatorRequest(request_id=request_id, name="v")))
    rig.step("1", data="1")
    rig.act("x undo=u")
    rollback = rig.start("a:checkpoint:1", validators=["v"])
    plan = f"rollback/{rollback}"
    rig.done(breaker_story.close_incident(rig.bench, "w", 1))
    claimed = rig.bench.one(say.claim(rig.bench, "w", plan)).claim_compensations
    fence = claimed.claim.fence
    rig.done(say.undone(rig.bench, "w", plan, fence, 1, "for_good", error="gone"))
    (stuck,) = open_incidents(rig)
    assert (stuck.symptom, stuck.rollback_id) == (Symptom.SYMPTOM_STUCK, rollback)
    assert [each.detail for each in stuck.evidence] == ["x: gone"]

    rig.done(breaker_story.close_incident(rig.bench, "w", 2))
    rig.done(say.decide(rig.bench, "w", plan, 1, "by_hand", "ann"))
    judge = rollback_story.judge(rig.bench, "w", "v", "a", rollback_id=rollback, passed=False)
    said = rig.bench.one(judge).report_validation
    (bad,) = open_incidents(rig)
    assert bad.incident_id == said.incident_id
    assert bad.symptom == Symptom.SYMPTOM_VALIDATION_FAILED
    rig.done(rollback_story.judge(rig.bench, "w", "v", "a", rollback_id=rollback, passed=True))
    rig.done(rollback_story.finish(rig.bench, "w", rollback))
    assert open_incidents(rig) == []


def test_a_session_has_no_more_claims_than_end_with_it_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not by force. The ones that it has it may ask for again."""
    for saga in ("g", "h"):
        rig.done(say.begin_saga(rig.bench, "s", saga, "a", rig.fence))
        rig.act(f"of-{saga} undo=u saga={saga}")
        rig.done(say.abort_saga(rig.bench, "s", saga, "a", rig.fence))
    monkeypatch.setattr(limits, "CLAIMS_PER_SESSION_MAX", 1)
    rig.done(say.claim(rig.bench, "w", "saga/g"))
    rig.done(say.claim(rig.bench, "s", "saga/h"))
    before = rig.bench.one(say.claim(rig.bench, "s", "saga/h")).claim_compensations
    for force in (False, True):
        refused = rig.bench.one(say.claim(rig.bench, "w", "saga/h", force))
        assert reason(refused) == ("TOO_MANY" if force else "OWNED")
    after = rig.bench.one(say.claim(rig.bench, "s", "saga/h")).claim_compensations
    assert after == before
    rig.done(say.claim(rig.bench, "w", "saga/g"))
