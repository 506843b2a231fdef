"""Incidents where the stories in `tests/testdata` do not reach: bounds, and odd corners."""

from __future__ import annotations

import pytest

from raftstate.core import breaker_queries, incidents, limits
from raftstate.core.history import PastReader
from raftstate.core.types import Index
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.recovery_service_pb2 import Evidence, Incident, ListIncidentsRequest
from raftstate.v1.rollback_service_pb2 import (
    AgentTarget,
    FinishRollbackRequest,
    StartRollbackRequest,
    Target,
)
from raftstate.v1.store_pb2 import Command, LogEntry
from tests.core.bench import TERM, Bench, expire_ownership, expire_session, reason
from tests.core.breaker_story import annotate, close_incident, incident_id, symptom


@pytest.fixture
def bench() -> Bench:
    """A bench with a session."""
    made = Bench()
    made.open("s")
    return made


def read(bench: Bench, number: int) -> Incident:
    """Read an incident that is kept."""
    found = breaker_queries.get_incident(bench.store, incident_id(number))
    assert found is not None
    return found


def lose(bench: Bench, agent: str, at: int = 0) -> FencingToken:
    """Acquire an agent, and have the ownership expire."""
    fence = bench.granted(bench.acquire("s", agent))
    touched = bench.agent(agent).owner.touched_revision
    assert reason(bench.one(expire_ownership(agent, fence, touched), at=at)) == ""
    return fence


def reported(bench: Bench, count: int) -> None:
    """Open incidents by hand."""
    for number in range(count):
        assert reason(bench.one(symptom(bench, "s", f"odd {number}"))) == ""


# --- bounds ------------------------------------------------------------------


def test_what_has_no_room_as_evidence_is_counted(bench: Bench) -> None:
    """
    An agent that is lost a hundred times without a step in between: the oldest evidence
    stays, and the last place says how much more there was.
    """
    for _ in range(100):
        lose(bench, "a")

    evidence = read(bench, 1).evidence

    assert len(evidence) == limits.INCIDENT_EVIDENCE_MAX
    assert evidence[0].detail.startswith("owned under")
    assert all(each.kind == "agent" for each in evidence[:-1])
    assert (evidence[-1].ref, evidence[-1].detail) == ("more", "37")
    assert incidents.counts(bench.store).opened == 1


def test_notes_have_a_bound(bench: Bench) -> None:
    """
    Sixty-four of them, and then no more.
    """
    reported(bench, 1)
    for number in range(limits.INCIDENT_NOTES_MAX):
        assert reason(bench.one(annotate(bench, "s", 1, "ann", f"{number}"))) == ""

    refused = bench.one(annotate(bench, "s", 1, "ann", "one more"))

    assert reason(refused) == "TOO_MANY"
    assert refused.refusal.limit == limits.INCIDENT_NOTES_MAX
    assert [each.text for each in read(bench, 1).notes] == [f"{each}" for each in range(64)]


def test_of_the_resolved_ones_the_newest_are_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The one that was resolved first goes first, whichever was opened first. Open ones stay.
    """
    monkeypatch.setattr(limits, "INCIDENTS_RESOLVED_KEPT", 3)
    reported(bench, 7)

    for number in (6, 2, 5, 1, 4):
        assert reason(bench.one(close_incident(bench, "s", number))) == ""

    page = breaker_queries.list_incidents(bench.store, "", 100)
    assert [int(each.incident_id, 16) for each in page.incidents] == [1, 3, 4, 5, 7]
    assert incidents.counts(bench.store) == (7, 5)
    assert len(list(bench.store.scan(b"N", b"O"))) == 3
    assert reason(bench.one(close_incident(bench, "s", 6))) == "INCIDENT_NOT_FOUND"
    # What is no longer kept can be read as it was.
    past = PastReader(bench.store, bench.machine.revision - 3)
    assert breaker_queries.get_incident(past, incident_id(2)) is not None


def test_a_step_needs_no_incident_that_is_no_longer_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A person resolved the loss of an owner, and it was removed, before a successor came.
    """
    monkeypatch.setattr(limits, "INCIDENTS_RESOLVED_KEPT", 1)
    lose(bench, "a")
    reported(bench, 1)
    for number in (1, 2):
        bench.one(close_incident(bench, "s", number))
    assert breaker_queries.get_incident(bench.store, incident_id(1)) is None

    fence = bench.granted(bench.acquire("s", "a"))
    outcome = bench.one(bench.step("s", "a", fence))

    assert reason(outcome) == ""
    assert bench.agent("a").incident_id == ""
    # Lost once more, it is another incident.
    lose(bench, "a")
    assert bench.agent("a").incident_id == incident_id(3)


def test_a_long_text_of_the_store_is_cut(bench: Bench) -> None:
    """
    A holder's name may be as long as all that is said of him.
    """
    fence = bench.granted(bench.acquire("s", "a" * 200, holder="é" * 255))

    bench.one(expire_ownership("a" * 200, fence, fence.revision))

    (evidence,) = read(bench, 1).evidence
    assert len(evidence.detail) == limits.PEOPLE_CHARS_MAX
    assert len(read(bench, 1).summary) <= limits.INCIDENT_SUMMARY_CHARS_MAX


def test_the_largest_report_is_taken(bench: Bench) -> None:
    """
    Every list full, every text as long as it may be.
    """
    agents = [f"{number:0200}" for number in range(limits.INCIDENT_AGENTS_MAX)]
    for agent in agents:
        bench.one(bench.create("s", agent))
    evidence = [Evidence(kind="text", ref="é" * 300, detail="é" * 255)] * 32

    outcome = bench.one(symptom(bench, "s", "é" * 300, agents, evidence))

    assert reason(outcome) == ""
    assert list(read(bench, 1).evidence) == evidence


# --- whose they are ----------------------------------------------------------


def test_who_has_no_incident_pays_for_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A step of an agent that nothing happened to looks at no incident.
    """
    fence = bench.granted(bench.acquire("s", "a"))

    def never(*_: object) -> None:
        raise AssertionError("an incident was looked for")

    monkeypatch.setattr(incidents, "load", never)

    assert reason(bench.one(bench.step("s", "a", fence))) == ""


def test_what_a_person_resolved_stays_as_he_said(bench: Bench) -> None:
    """
    The agent goes on after somebody has closed its incident: that is noted, and it is not
    closed once more.
    """
    lose(bench, "a", at=1_000)
    bench.one(close_incident(bench, "s", 1, "known trouble"), at=2_000)

    fence = bench.granted(bench.acquire("s", "a"))
    bench.one(bench.step("s", "a", fence), at=3_000)

    found = read(bench, 1)
    assert (found.resolution, found.resolved_ms) == ("known trouble", 2_000)
    assert found.resumed_ms == 3_000
    assert incidents.counts(bench.store) == (1, 1)


def test_another_loss_after_it_was_resolved_is_another(bench: Bench) -> None:
    """
    Nothing is added to what a person has closed, even if the agent never went on.
    """
    lose(bench, "a")
    bench.one(close_incident(bench, "s", 1))

    lose(bench, "a")

    assert len(read(bench, 1).evidence) == 1
    assert read(bench, 2).open
    assert bench.agent("a").incident_id == incident_id(2)


def test_a_refused_step_resumes_nothing(bench: Bench) -> None:
    """
    A successor that is wrong about the head has not gone on yet.
    """
    lose(bench, "a")
    fence = bench.granted(bench.acquire("s", "a"))

    refused = bench.one(bench.step("s", "a", fence, expect=7))

    assert reason(refused) == "CONFLICT"
    assert read(bench, 1).open
    assert bench.agent("a").incident_id == incident_id(1)


def test_an_expiry_that_was_overtaken_opens_nothing(bench: Bench) -> None:
    """
    The leader was wrong: the owner was heard of since, and so was its session.
    """
    fence = bench.granted(bench.acquire("s", "a"))
    touched = bench.agent("a").owner.touched_revision
    bench.one(bench.step("s", "a", fence))

    assert reason(bench.one(expire_ownership("a", fence, touched))) == "EXPIRY_OVERTAKEN"
    assert reason(bench.one(expire_session("s", touched))) == "EXPIRY_OVERTAKEN"

    assert incidents.counts(bench.store).opened == 0


def test_a_session_that_owned_nothing_is_no_loss(bench: Bench) -> None:
    """
    Nobody waits for what a client without agents did.
    """
    bench.one(expire_session("s", bench.touched("s")))

    assert incidents.counts(bench.store).opened == 0


def test_what_a_rollback_belongs_to_ends_with_the_rollback(bench: Bench) -> None:
    """
    An agent is lost, and because of that another is rolled back. The first goes on, but
    the incident is open until the rollback is over.
    """
    fence = bench.granted(bench.acquire("s", "b"))
    saved = NewCheckpoint(data=b"good")
    bench.one(bench.step("s", "b", fence, checkpoint=saved))
    lose(bench, "a", at=1_000)
    target = AgentTarget(agent_id="b", target=Target(checkpoint_id=1))
    start = StartRollbackRequest(
        request_id=bench.request_id("s"), agents=[target], incident_id=incident_id(1)
    )
    started = bench.one(Command(start_rollback=start), at=2_000)
    assert reason(started) == ""

    successor = bench.granted(bench.acquire("s", "a"))
    bench.one(bench.step("s", "a", successor), at=3_000)

    assert bench.agent("a").incident_id == ""
    assert read(bench, 1).open
    assert read(bench, 1).rollback_id == started.start_rollback.rollback_id

    finish = FinishRollbackRequest(
        request_id=bench.request_id("s"), rollback_id=read(bench, 1).rollback_id
    )
    assert reason(bench.one(Command(finish_rollback=finish), at=4_000)) == ""
    assert not read(bench, 1).open
    assert (read(bench, 1).resumed_ms, read(bench, 1).resolved_ms) == (3_000, 4_000)


def test_the_wall_clock_is_a_label(bench: Bench) -> None:
    """
    It is written down with the incident, for reports.
    """
    command = symptom(bench, "s", "odd")
    entry = LogEntry(log_time_ms=5, wall_time_ms=1_700_000_000_000, commands=[command])
    bench.machine.apply(Index(len(bench.log) + 1), TERM, entry)

    assert read(bench, 1).opened_wall_time_ms == 1_700_000_000_000
    assert read(bench, 1).detected_ms == 5


# --- lists -------------------------------------------------------------------


def test_a_filtered_list_looks_at_a_bounded_number(bench: Bench) -> None:
    """
    A page ends where enough was looked at, with nothing in it if need be; whoever follows
    the pages finds all.
    """
    reported(bench, 10)
    for number in range(1, 10):
        bench.one(close_incident(bench, "s", number))
    wanted = ListIncidentsRequest(only_open=True)

    first = breaker_queries.list_incidents(bench.store, "", 5, wanted, scanned_max=4)
    found, after, pages = list(first.incidents), first.next_after, 1
    while after:
        page = breaker_queries.list_incidents(bench.store, after, 5, wanted, scanned_max=4)
        found += page.incidents
        after, pages = page.next_after, pages + 1

    assert first.incidents == []
    assert [int(each.incident_id, 16) for each in found] == [10]
    assert pages == 3


def test_a_list_pages_without_overlap(bench: Bench) -> None:
    """
    Three at a time, in the order of their opening, and an end that says so.
    """
    reported(bench, 7)

    first = breaker_queries.list_incidents(bench.store, "", 3)
    second = breaker_queries.list_incidents(bench.store, first.next_after, 3)
    third = breaker_queries.list_incidents(bench.store, second.next_after, 3)

    shown = [*first.incidents, *second.incidents, *third.incidents]
    assert [int(each.incident_id, 16) for each in shown] == [*range(1, 8)]
    assert third.next_after == ""


def test_ids_sort_as_they_were_opened() -> None:
    """
    Hexadecimal digits of one width sort as the numbers do.
    """
    ids = [incident_id(number) for number in (1, 9, 10, 15, 16, 255, 256, 1 << 40)]

    assert ids == sorted(ids)
    assert all(limits.NUMBERED_ID.fullmatch(each) for each in ids)


def test_what_cannot_be_an_id_names_nothing(bench: Bench) -> None:
    """
    Reads answer that there is none, and do not fail.
    """
    reported(bench, 1)

    for name in ("", "1", "0" * 15, "0" * 15 + "G", "\0" * 16, "0" * 17):
        assert breaker_queries.get_incident(bench.store, name) is None
