"""Trips that take a whole group of agents back, or nobody."""

from __future__ import annotations

from raftstate.core import breaker_queries, incidents, rollbacks, stream_queries
from raftstate.v1.agent_service_pb2 import Lifecycle
from raftstate.v1.breaker_service_pb2 import BreakerConfig, TripAction, TripPlan
from raftstate.v1.checkpoint_service_pb2 import (
    NewCheckpoint,
    NewGroupMember,
    PutGroupCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core import effect_story as say
from tests.core.bench import Bench, event, reason
from tests.core.breaker_story import put_breaker, report

PLAN = TripPlan(action=TripAction.TRIP_ACTION_ROLLBACK, group_id="well")
CONFIG = BreakerConfig(count_window=2, failure_rate=1.0, minimum_calls=2, on_trip=PLAN)


class Office:
    """Two agents, which were well when a group was saved and have each done something
    since; and a breaker whose trip takes the group back."""

    def __init__(self) -> None:
        self.bench = bench = Bench()
        self.fences: dict[str, FencingToken] = {}
        bench.open("s")
        for name in ("a", "b"):
            self.fences[name] = bench.granted(bench.acquire("s", name))
            saved = NewCheckpoint(data=b"well")
            self.done(bench.step("s", name, self.fences[name], event("e"), checkpoint=saved))
        request = PutGroupCheckpointRequest(request_id=bench.request_id("s"), group_id="well")
        request.members.extend(NewGroupMember(agent_id=name) for name in ("b", "a"))
        self.done(Command(put_group_checkpoint=request))
        for name in ("a", "b"):
            effect = say.new_effect(f"book-{name} undo=u dispatch=yes")
            self.done(say.prepare(bench, "s", name, self.fences[name], effect))
            closing = say.closing(f"book-{name} committed")
            ill = NewCheckpoint(data=b"ill")
            step = bench.step(
                "s", name, self.fences[name], event("e"), checkpoint=ill, closings=[closing]
            )
            self.done(step)
        self.done(put_breaker(bench, "s", "cars", CONFIG))

    def done(self, command: Command) -> None:
        assert not reason(self.bench.one(command))

    def trip(self) -> Outcome:
        return self.bench.one(report(self.bench, "s", "cars", 1, 2, 2), at=1_000)

    def lifecycles(self) -> list[str]:
        found = (self.bench.agent(name).lifecycle for name in self.fences)
        return [Lifecycle.Name(one).removeprefix("LIFECYCLE_") for one in found]


def test_a_trip_takes_all_of_a_group_back_at_one_revision() -> None:
    """
    Both agents are fenced and where the group was saved, their effects are in one list, the
    newest first; the breaker, the incident and the rollback name each other.
    """
    office = Office()
    store = office.bench.store

    said = office.trip().report_outcomes
    rollback = rollbacks.load(store, said.rollback_id)
    incident = incidents.load(store, said.incident_id)
    breaker = breaker_queries.get_breaker(store, "cars")
    late = [
        reason(office.bench.one(office.bench.step("s", name, fence)))
        for name, fence in office.fences.items()
    ]

    assert rollback is not None
    assert incident is not None
    assert breaker is not None
    assert [one.agent_id for one in rollback.agents] == ["a", "b"]
    assert {one.fence.revision for one in rollback.agents} == {rollback.started_revision}
    assert [(one.checkpoint_id, one.first_undone_seq) for one in rollback.agents] == [
        (1, 2)
    ] * 2
    assert rollback.group_id == "well"
    assert rollback.undoing.open == 2
    undone = stream_queries.read_events(store, "b", 1, 10, 1 << 20)
    stream_queries.show_undone(store, undone)
    assert [one.undone_by for one in undone] == ["", rollback.rollback_id]
    assert office.lifecycles() == ["RECOVERING"] * 2
    assert late == ["AGENT_STATE"] * 2
    assert list(incident.agent_ids) == ["a", "b"]
    assert (incident.rollback_id, rollback.incident_id) == (
        rollback.rollback_id,
        incident.incident_id,
    )
    assert (breaker.rollback_id, breaker.incident_id) == (
        rollback.rollback_id,
        incident.incident_id,
    )


def test_what_a_trip_cannot_start_the_incident_says() -> None:
    """
    The group is taken back already: the trip opens the breaker all the same, and its
    incident stays open.
    """
    office = Office()
    bench = office.bench
    first = office.trip().report_outcomes
    office.done(put_breaker(bench, "s", "more", CONFIG))

    again = bench.one(report(bench, "s", "more", 1, 2, 2), at=2_000).report_outcomes
    incident = incidents.load(bench.store, again.incident_id)

    assert first.rollback_id
    assert not again.rollback_id
    assert incident is not None
    assert incident.open
    assert [each.detail for each in incident.evidence[-2:]] == [
        "left alone: it is recovering"
    ] * 2
    assert bench.agent("a").rollback_id == first.rollback_id


def test_who_was_halted_by_a_person_stays_halted() -> None:
    """
    A trip does not undo what a person did: the other one goes back to the group without it.
    """
    office = Office()
    bench = office.bench
    office.done(bench.halt("s", "b"))

    said = office.trip().report_outcomes
    rollback = rollbacks.load(bench.store, said.rollback_id)
    incident = incidents.load(bench.store, said.incident_id)

    assert office.lifecycles() == ["RECOVERING", "HALTED"]
    assert not bench.agent("b").rollback_id
    assert rollback is not None
    assert [(one.agent_id, one.checkpoint_id) for one in rollback.agents] == [("a", 1)]
    assert incident is not None
    assert ("b", "left alone: it is halted") in {
        (each.ref, each.detail) for each in incident.evidence
    }
