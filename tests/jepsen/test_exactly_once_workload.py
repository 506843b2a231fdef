"""The exactly-once workload: its verdict with a wrong planted for each way to be wrong, and
a short run against real members."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from jepsen_like.generator import ask
from jepsen_like.history import Event, Type
from jepsen_like.protocols import Context, Done, LoggedEvent, Op, Record, Site, Verdict
from jepsen_like.workloads import exactly_once
from jepsen_like.workloads.exactly_once import NAME, SENDS_MAX
from raftstate.client import connect
from raftstate.localcluster import LocalCluster

THREADS = tuple(f"{NAME}/{number}" for number in range(3))


def first(count: int, seed: int) -> list[Op]:
    """The first requests of all threads."""
    generator = exactly_once.requests(seed)
    ops = []
    for _ in range(count):
        answer, _ = ask(generator, Context(0.0, THREADS, frozenset(THREADS)))
        assert isinstance(answer, tuple)
        ops.append(answer[0])
        generator = answer[1]
    return ops


def test_the_same_seed_is_the_same_requests() -> None:
    """
    What is sent to whom and when depends on the seed alone, and covers all there is.
    """
    found = first(300, 5)

    assert found == first(300, 5) != first(300, 6)
    assert len({op.value["id"] for op in found}) == 300
    assert {len(op.value["sends"]) for op in found} == set(range(1, SENDS_MAX + 1))
    assert {op.value["later"] for op in found} == {"", "same", "other", "old"}
    cancels = {send["cancel"] is None for op in found for send in op.value["sends"]}
    assert cancels == {True, False}
    members = {send["member"] % 3 for op in found for send in op.value["sends"]}
    assert members == {0, 1, 2}


# --- the verdict ---------------------------------------------------------------


def place(number: int) -> dict[str, Any]:
    """Where the step of that number is."""
    return {"step": number, "position": number, "revision": 10 + number}


@dataclass
class Story:
    """A run of one thread. Tests change what one of those who were there says."""

    ops: list[tuple[str, Type, Any, int]] = field(default_factory=list)
    log: list[LoggedEvent] = field(default_factory=list)

    def record(self) -> Record:
        """What is left of it."""
        events: list[Event] = []
        for process, (number, kind, value, revision) in enumerate(self.ops):
            for type_, what, at in (("invoke", {"id": number}, 0), (kind, value, revision)):
                index = len(events)
                events.append(
                    Event(
                        *(index, index, type_, process, NAME, "request", "0"),  # type: ignore[arg-type]
                        value=what,
                        revision=at,
                    )
                )
        return Record(("n1",), (NAME,), (), 1, {}, events, (), self.log)

    def judged(self) -> Verdict:
        """The verdict."""
        [verdict] = exactly_once.check(self.record())
        return verdict


def told(number: int, later: dict[str, Any] | None = None) -> dict[str, Any]:
    counts = {"token": [1, 5], "sent": 3, "cancelled": 1, "told": 2, "answers": [place(number)]}
    found = counts | {"step": number, "position": number}
    return found if later is None else found | {"later": later}


def logged(number: str, at: int, token: int = 5) -> LoggedEvent:
    data = json.dumps({"id": number, "token": [1, token]})
    return LoggedEvent(f"p/{NAME}/0", at, at, 10 + at, at, NAME, data)


def story() -> Story:
    """As it should be: acknowledged, refused and unknown requests, and what followed."""
    other = {"sent": "other", "refused": "REQUEST_ID_REUSED"}
    old = {"sent": "old", "id": "e1", "first": place(1), "refused": "OUTCOME_FORGOTTEN"}
    refused = {
        "token": [1, 5],
        "sent": 1,
        "cancelled": 0,
        "told": 1,
        "answers": [{"refused": "FENCED"}],
    }
    return Story(
        ops=[
            ("e1", "ok", told(1, other), 11),
            ("e2", "ok", told(2, old), 12),
            ("e3", "fail", refused, 0),
            ("e4", "info", {"id": "e4"}, 0),
            ("e5", "info", {"id": "e5"}, 0),
        ],
        log=[logged("e1", 1), logged("e2", 2), logged("e4", 3)],
    )


def test_a_story_as_it_should_be_is_valid() -> None:
    """
    With the figures that the verdict rests on.
    """
    verdict = story().judged()

    assert (verdict.name, verdict.validity) == ("exactly-once:once", "valid")
    assert verdict.figures["acknowledged"] == verdict.figures["answered_again"] == 2
    assert (verdict.figures["unknown"], verdict.figures["unknown_happened"]) == (2, 1)
    assert (verdict.figures["sent"], verdict.figures["cancelled"]) == (7, 2)
    assert verdict.figures["later"] == {
        "old": 1,
        "old refused": 1,
        "other": 1,
        "other refused": 1,
    }


def value_of(one: Story, number: int) -> dict[str, Any]:
    value: dict[str, Any] = one.ops[number][2]
    return value


def lost(one: Story) -> None:
    one.log = [logged("e2", 1)]


def done_twice(one: Story) -> None:
    one.log.append(logged("e1", 4))


def unknown_done_twice(one: Story) -> None:
    one.log.append(logged("e4", 4))


def resurrected(one: Story) -> None:
    one.log.append(logged("e3", 4))


def moved(one: Story) -> None:
    value_of(one, 0)["step"] = 4


def two_answers(one: Story) -> None:
    value_of(one, 0)["answers"].append(place(3))


def answered_and_refused(one: Story) -> None:
    value_of(one, 0)["answers"].append({"refused": "FENCED"})


def forgotten_too_soon(one: Story) -> None:
    value_of(one, 2)["answers"][0] = {"refused": "OUTCOME_FORGOTTEN"}


def another_request_answered(one: Story) -> None:
    value_of(one, 0)["later"] = {"sent": "other", "answer": place(1)}


def another_request_done(one: Story) -> None:
    one.log.append(logged("e1!", 4))


def another_request_judged(one: Story) -> None:
    value_of(one, 0)["later"]["refused"] = "FENCED"


def old_request_done_again(one: Story) -> None:
    later = value_of(one, 1)["later"]
    del later["refused"]
    later["answer"] = place(3)


def old_request_judged_again(one: Story) -> None:
    value_of(one, 1)["later"]["refused"] = "FENCED"


def written_in_the_past(one: Story) -> None:
    one.log[2] = logged("e4", 3, token=4)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("lost", lost),
        ("double", done_twice),
        ("double", unknown_done_twice),
        ("resurrected", resurrected),
        ("moved", moved),
        ("answers", two_answers),
        ("answers", answered_and_refused),
        ("forgotten", forgotten_too_soon),
        ("reused", another_request_answered),
        ("stranger", another_request_done),
        ("again", another_request_judged),
        ("again", old_request_done_again),
        ("again", old_request_judged_again),
        ("fence", written_in_the_past),
    ],
)
def test_each_way_to_be_wrong_is_seen(name: str, plant: Callable[[Story], None]) -> None:
    """
    One thing is wrong, and the verdict names it.
    """
    one = story()
    plant(one)
    verdict = one.judged()

    assert verdict.validity == "invalid"
    assert any(complaint.startswith(f"{name}: ") for complaint in verdict.complaints), verdict


def test_an_old_request_may_be_told_what_it_was_told() -> None:
    """
    A member need not forget as soon as it may; and it may not be reached.
    """
    one = story()
    later = value_of(one, 1)["later"]
    later["refused"] = "OUTCOME_UNKNOWN"
    assert one.judged().validity == "valid"
    del later["refused"]
    later["answer"] = place(1)

    assert one.judged().validity == "valid"


def test_a_run_that_shows_nothing_is_unknown() -> None:
    """
    Nobody was answered; nobody was answered twice; the log was not read.
    """
    nobody, once, unread = Story(log=story().log[:0]), story(), story()
    for number in (0, 1):
        value_of(once, number)["told"] = 1
    unread.log = []

    assert [one.judged().validity for one in (nobody, once, unread)] == ["unknown"] * 3
    assert "more than once" in once.judged().summary


# --- the real thing ------------------------------------------------------------


async def done_by(site: Site, ops: list[Op]) -> tuple[list[Done], list[LoggedEvent]]:
    """Each thread's requests one after the other, then the log."""

    async def thread(name: str) -> list[Done]:
        client = exactly_once.workload().client(site, int(name.rpartition("/")[2]))
        await client.open()
        try:
            return [await client.invoke(op) for op in ops if op.thread == name]
        finally:
            await client.close()

    async with asyncio.timeout(60):
        done = await asyncio.gather(*map(thread, THREADS))
        async with connect(site.endpoints) as store:
            log = [
                LoggedEvent(
                    *(one.stream_id, one.seq, one.position, one.revision, one.step, one.type),
                    one.data.decode(),
                )
                async for one in store.read_all()
            ]
    return [one for each in done for one in each], log


@pytest.mark.live
@pytest.mark.slow  # every check has a run with this in it
def test_requests_to_real_members(tmp_path: Path) -> None:
    """
    Sent many times and to anybody, cancelled, reused and old: each happened once, and what
    must be refused was refused.
    """
    drawn = first(60, 5)
    ops = [op for name in THREADS for op in drawn if op.thread == name]
    with LocalCluster.create(tmp_path / "c", nodes=3) as cluster:
        site = Site({one.id: one.api for one in cluster.members.values()}, "p", 1, tmp_path)
        done, log = asyncio.run(done_by(site, ops))
    one = Story(log=log)
    for op, end in zip(ops, done, strict=True):
        one.ops.append((op.value["id"], end.type, end.value, end.revision))
    record = one.record()
    keys = {op.value["id"]: op.key for op in ops}
    ids = [event.value["id"] for event in record.events if event.type == "invoke"]
    events = [replace(event, key=keys[ids[event.process]]) for event in record.events]
    [verdict] = exactly_once.check(replace(record, events=events))
    figures = verdict.figures

    assert verdict.validity == "valid", verdict
    assert figures["acknowledged"] >= 55
    assert figures["sent"] > figures["acknowledged"] + figures["cancelled"] > 55
    refused = {
        (value["later"]["sent"], value["later"]["refused"])
        for end in done
        if "refused" in (value := end.value).get("later", {})
    }
    assert refused == {("other", "REQUEST_ID_REUSED"), ("old", "OUTCOME_FORGOTTEN")}
