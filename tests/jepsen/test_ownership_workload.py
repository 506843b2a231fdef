"""The ownership workload: its resource, its verdicts with a wrong planted for each, and a
client that is stopped for longer than it owns anything."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from jepsen_like import resource
from jepsen_like.generator import InOrder, ask
from jepsen_like.history import NEMESIS, Event, Type
from jepsen_like.protocols import Context, Done, LoggedEvent, Op, Record, Site, Verdict
from jepsen_like.resource import Entry, Outside, Resource, Writer
from jepsen_like.workloads import ownership
from jepsen_like.workloads.ownership import TTL_S
from raftstate.client import connect
from raftstate.localcluster import LocalCluster

# --- the resource --------------------------------------------------------------


def test_a_register_takes_nothing_under_a_lower_token() -> None:
    """
    Neither a write nor a read that is meant to come before one; and it is journalled.
    """
    outside = Resource()
    first = outside.ask("open", "a", "h1", (1, 5))
    outside.ask("write", "a", "h1", (1, 5), first.value + 1)
    second = outside.ask("open", "a", "h2", (1, 9))
    refused = [
        outside.ask("write", "a", "h1", (1, 5), 7),
        outside.ask("open", "a", "h1", (1, 8)),
    ]
    outside.ask("write", "a", "h2", (1, 9), second.value + 1)
    restored = outside.ask("open", "a", "h3", (2, 1))

    assert (first.value, second.value, restored.value) == (0, 1, 2)
    assert [(entry.accepted, entry.highest) for entry in refused] == [(False, (1, 9))] * 2
    assert [entry.accepted for entry in outside.journal] == [True] * 3 + [False] * 2 + [
        True
    ] * 2
    assert outside.ask("open", "b", "h1", (1, 1)).accepted


def test_a_counter_without_a_guard_takes_everything() -> None:
    """
    Two who read before either writes lose an update, whatever their tokens are.
    """
    outside = Resource()
    read = [outside.ask("get", "a", hold, (1, place)) for place, hold in enumerate(("h", "i"))]
    for entry in reversed(read):
        assert outside.ask("put", "a", entry.hold, entry.token, entry.value + 1).accepted

    assert outside.ask("get", "a", "j", (0, 0)).value == 1


def test_the_resource_answers_at_its_socket(tmp_path: Path) -> None:
    """
    In a folder whose name is longer than a socket's may be; it knows who is connected, and
    what they are at.
    """
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()

    async def scene() -> None:
        async with resource.serve(folder) as outside:
            with await asyncio.to_thread(Outside, folder) as mine:

                def ask(do: resource.Do, value: int = 0) -> Entry:
                    return mine.ask(do, "a", "h", (1, 2), value)

                assert (await asyncio.to_thread(ask, "write", 3)).accepted
                read = await asyncio.to_thread(ask, "open")
                assert read.value == 3
                assert outside.writers == [Writer(os.getpid(), "a")]
                await asyncio.to_thread(ask, "get")
                assert outside.writers == [Writer(os.getpid(), "a", amid=True)]
                await asyncio.to_thread(mine.want, "b")
                assert outside.writers == [Writer(os.getpid(), "b", waits=True)]
                assert outside.processes() == [os.getpid()]
            assert resource.entry_of(outside.note()["journal"][1]) == read
            async with asyncio.timeout(10):
                while outside.processes():  # noqa: ASYNC110  # there is no event to wait for
                    await asyncio.sleep(0.01)
        assert not list(folder.iterdir())

    asyncio.run(scene())


def test_whoever_would_be_overtaken_is_stopped() -> None:
    """
    Who is amid an update of what another one waits for; or else who is amid one; or else
    anybody.
    """
    idle, waits = Writer(11), Writer(12, "a", waits=True)
    amid, other = Writer(13, "a", amid=True), Writer(14, "b", amid=True)

    assert Resource(writers=[idle, waits, other, amid]).processes() == [13]
    assert Resource(writers=[idle, waits, other]).processes() == [14]
    assert Resource(writers=[idle, waits, other, amid]).ripe()
    assert not Resource(writers=[idle, waits, other]).ripe()
    assert Resource(writers=[idle, waits]).processes() == [11, 12]


# --- the generator -------------------------------------------------------------


def test_the_same_seed_is_the_same_holds() -> None:
    """
    What threads are given depends on the seed alone, and no two holds have one id.
    """
    threads = tuple(f"ownership/{number}" for number in range(3))

    def first(count: int, seed: int) -> list[Op]:
        generator = ownership.holds(seed)
        ops = []
        for _ in range(count):
            answer, _ = ask(generator, Context(0.0, threads, frozenset(threads)))
            assert isinstance(answer, tuple)
            ops.append(answer[0])
            generator = answer[1]
        return ops

    found = first(60, 5)

    assert found == first(60, 5) != first(60, 6)
    assert len({op.value["id"] for op in found}) == 60
    assert {op.key for op in found} == set(ownership.KEYS)
    assert {op.value["wait_s"] > 0 for op in found} == {True, False}
    assert all(0.1 <= op.value["hold_s"] <= 4 for op in found)


def test_in_the_end_every_agent_is_owned_once_more() -> None:
    """
    So that a cluster which no longer grants anything is seen.
    """
    last = ownership.last_holds(5, ("n1",))

    assert isinstance(last, InOrder)
    assert [op.key for op in last.ops] == list(ownership.KEYS)


# --- verdicts ------------------------------------------------------------------


@dataclass
class Story:
    """A run of two holds of one agent, of which the first is stopped for too long. Tests
    change what one of those who were there says."""

    holds: list[dict[str, Any]] = field(default_factory=list)
    log: list[LoggedEvent] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    stops: int = 1

    def record(self) -> Record:
        """What is left of it."""
        events: list[Event] = []

        def note(kind: Type, process: int, workload: str, f: str, key: str, value: Any) -> None:
            at = float(len(events))
            events.append(Event(len(events), at, kind, process, workload, f, key, value))

        for process, hold in enumerate(self.holds):
            note("invoke", process, "ownership", "hold", "a", {"id": hold["id"]})
        for _ in range(self.stops):
            note("info", NEMESIS, "nemesis", "pause-clients", "begin", {"pids": [1]})
        for process, hold in enumerate(self.holds):
            note(hold["type"], process, "ownership", "hold", "a", hold["value"])
        journal = {"journal": [asdict(entry) for entry in self.journal]}
        return Record(
            nodes=("n1",),
            workloads=("ownership",),
            nemeses=("pause",),
            seed=1,
            phases={},
            events=events,
            samples=(),
            log=self.log,
            notes={"ownership": journal},
        )

    def judged(self) -> dict[str, Verdict]:
        """The verdicts, by the last part of their names."""
        verdicts = ownership.check(self.record())
        return {verdict.name.rpartition(":")[2]: verdict for verdict in verdicts}


def told(token: int, *facts: Mapping[str, Any]) -> dict[str, Any]:
    grant = {"fact": "grant", "revision": token}
    return {"token": [1, token], "silent_s": 0.0, "facts": [grant, *facts]}


def step(number: str, revision: int, place: int) -> dict[str, Any]:
    return {"fact": "step", "id": number, "revision": revision, "step": place}


def write(value: int, fact: str = "write") -> dict[str, Any]:
    return {"fact": fact, "value": value}


def logged(number: str, revision: int, token: int, seq: int, key: str = "a") -> LoggedEvent:
    data = f'{{"id":"{number}","token":[1,{token}]}}'
    stream = f"p/ownership/{key}"
    return LoggedEvent(stream, seq, seq, revision, seq, "ownership", data)


def asked(*lines: tuple[float, resource.Do, str, int, int]) -> list[Entry]:
    """What an honest resource answers: at, do, hold, token, value."""
    outside = Resource()
    return [
        replace(outside.ask(do, "a", hold, (1, token), value), at=at)
        for at, do, hold, token, value in lines
    ]


def story() -> Story:
    """As it should be: x is granted at 10, falls silent, and y is granted at 20; what x
    does after that is refused, and only the counter suffers."""
    refused = {"fact": "step-refused", "id": "x.2", "reason": "FENCED"}
    lost = {"fact": "lost", "why": "OWNERSHIP_LOST"}
    outside = [write(1), write(2, "write-refused")]
    end = {"fact": "end", "revision": 22}
    return Story(
        holds=[
            {
                "id": "x",
                "type": "ok",
                "value": told(10, step("x.1", 12, 1), refused, lost, *outside),
            },
            {"id": "y", "type": "ok", "value": told(20, step("y.1", 21, 2), end, write(2))},
        ],
        log=[logged("x.1", 12, 10, 1), logged("y.1", 21, 20, 2)],
        journal=asked(
            (0.0, "open", "x", 10, 0),
            (0.0, "get", "x", 10, 0),
            (0.1, "put", "x", 10, 1),
            (0.1, "write", "x", 10, 1),
            (0.2, "open", "x", 10, 0),
            (0.2, "get", "x", 10, 0),
            (2.5, "open", "y", 20, 0),
            (2.5, "get", "y", 20, 0),
            (2.6, "put", "y", 20, 2),
            (2.6, "write", "y", 20, 2),
            (3.7, "put", "x", 10, 2),
            (3.7, "write", "x", 10, 2),
        ),
    )


def test_a_story_as_it_should_be_is_valid() -> None:
    """
    All three verdicts, with the figures that they rest on.
    """
    judged = story().judged()

    assert {name: one.validity for name, one in judged.items()} == dict.fromkeys(
        ("fencing", "resource", "control"), "valid"
    )
    assert judged["fencing"].figures == {
        "holds": 2,
        "owned": 2,
        "given_back": 1,
        "steps": 2,
        "steps_refused": 1,
        "steps_unknown": 0,
        "lost": 0,
    }
    assert judged["resource"].figures == {"writes": 2, "refused": 1, "unproven": 0}
    assert judged["control"].figures == {
        "updates": 3,
        "updates_lost": 1,
        "stops": 1,
        "silent_holds": 1,
    }


def facts_of(told_story: Story, hold: int) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = told_story.holds[hold]["value"]["facts"]
    return facts


def granted_twice(one: Story) -> None:
    one.holds.append({"id": "z", "type": "ok", "value": told(15)})
    facts_of(one, 0).append({"fact": "end", "revision": 17})


def written_after_the_end(one: Story) -> None:
    facts_of(one, 1)[2]["revision"] = 20.5


def token_falls(one: Story) -> None:
    one.holds[1]["value"] = told(20)
    one.holds[1]["value"]["token"] = [1, 9]
    one.log.pop()


def written_when_fenced(one: Story) -> None:
    one.log.append(logged("x.3", 25, 10, 3))


def step_is_lost(one: Story) -> None:
    del one.log[0]


def step_is_elsewhere(one: Story) -> None:
    facts_of(one, 0)[1]["revision"] = 13


def step_has_another_number(one: Story) -> None:
    facts_of(one, 0)[1]["step"] = 2


def hold_failed(one: Story) -> None:
    one.holds[1] = {"id": "y", "type": "fail", "value": {"id": "y"}}


def stream_has_a_gap(one: Story) -> None:
    one.log[1] = replace(one.log[1], seq=3)


def step_is_no_text(one: Story) -> None:
    one.log.append(replace(logged("x.9", 25, 20, 3), data="??"))


def step_without_a_token(one: Story) -> None:
    one.log.append(replace(logged("x.9", 25, 20, 3), data='{"id":"x.9","token":[1]}'))


def step_in_the_stream_of_another(one: Story) -> None:
    one.log[1] = replace(one.log[1], stream="p/set/a", seq=1)


def step_is_back(one: Story) -> None:
    one.log.insert(1, logged("x.2", 13, 10, 2))


def step_is_twice(one: Story) -> None:
    one.log.insert(1, logged("x.1", 13, 10, 2))


def step_of_nobody(one: Story) -> None:
    one.log.append(logged("q.1", 21.5, 20, 3))  # type: ignore[arg-type]


def step_under_the_token_of_another(one: Story) -> None:
    one.log[1] = logged("x.9", 21, 20, 2)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("stale", granted_twice),
        ("ended", written_after_the_end),
        ("token", token_falls),
        ("stale", written_when_fenced),
        ("lost", step_is_lost),
        ("moved", step_is_elsewhere),
        ("moved", step_has_another_number),
        ("resurrected", hold_failed),
        ("gap", stream_has_a_gap),
        ("garbled", step_is_no_text),
        ("garbled", step_without_a_token),
        ("stranger", step_in_the_stream_of_another),
        ("resurrected", step_is_back),
        ("double", step_is_twice),
        ("stranger", step_of_nobody),
        ("stranger", step_under_the_token_of_another),
    ],
)
def test_a_store_that_does_not_fence_is_seen(name: str, plant: Callable[[Story], None]) -> None:
    """
    One thing is wrong in what the store did, and the verdict names it.
    """
    one = story()
    plant(one)
    verdict = one.judged()["fencing"]

    assert verdict.validity == "invalid"
    assert any(complaint.startswith(f"{name}: ") for complaint in verdict.complaints), verdict


def test_lost_steps_are_counted() -> None:
    """
    The summary of a run adds them up.
    """
    one = story()
    step_is_lost(one)

    assert one.judged()["fencing"].figures["lost"] == 1


def test_without_a_log_or_a_grant_nothing_is_known_of_the_store() -> None:
    """
    Neither is a pass.
    """
    unread, idle = story(), Story(log=story().log)
    unread.log = []

    assert unread.judged()["fencing"].validity == "unknown"
    assert "not read" in unread.judged()["fencing"].summary
    assert [one.validity for one in Story().judged().values()] == ["unknown"] * 3
    assert idle.judged()["resource"].validity == "unknown"


def test_a_grant_that_nobody_was_told_of_is_no_wrong() -> None:
    """
    A hold whose end is not known may have been granted; what it wrote proves it.
    """
    one = story()
    one.holds[1] = {"id": "y", "type": "info", "value": {"id": "y"}}
    judged = one.judged()

    assert {verdict.validity for verdict in judged.values()} == {"valid"}
    one.log.pop()
    assert one.judged()["resource"].figures["unproven"] == 1


def changed(one: Story, place: int, **fields: Any) -> None:
    one.journal[place] = replace(one.journal[place], **fields)


def stale_write_taken(one: Story) -> None:
    changed(one, -1, accepted=True)


def refused_for_no_reason(one: Story) -> None:
    changed(one, 9, accepted=False)


def guarded_update_lost(one: Story) -> None:
    changed(one, 9, value=1)


def write_under_a_token_of_nobody(one: Story) -> None:
    one.journal.append(replace(one.journal[9], token=(1, 30), highest=(1, 30), value=3))


def write_under_the_token_of_another(one: Story) -> None:
    one.journal.append(replace(one.journal[9], hold="x", value=3))


def write_is_lost(one: Story) -> None:
    del one.journal[9]


def refusal_is_lost(one: Story) -> None:
    del one.journal[-1]


def journal_is_empty(one: Story) -> None:
    one.journal.clear()


def told_of_another_value(one: Story) -> None:
    facts_of(one, 1)[-1]["value"] = 3


def told_of_one_write_twice(one: Story) -> None:
    facts_of(one, 1).append(write(2))


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("lost", write_is_lost),
        ("lost", refusal_is_lost),
        ("lost", journal_is_empty),
        ("lost", told_of_another_value),
        ("lost", told_of_one_write_twice),
        ("token", stale_write_taken),
        ("token", refused_for_no_reason),
        ("update", guarded_update_lost),
        ("stranger", write_under_a_token_of_nobody),
        ("stranger", write_under_the_token_of_another),
    ],
)
def test_a_resource_that_does_not_guard_is_seen(
    name: str, plant: Callable[[Story], None]
) -> None:
    """
    One thing is wrong in what the resource took, and the verdict names it.
    """
    one = story()
    plant(one)
    verdict = one.judged()["resource"]

    assert verdict.validity == "invalid"
    assert any(complaint.startswith(f"{name}: ") for complaint in verdict.complaints), verdict


def test_without_a_journal_nothing_is_known_of_the_resource() -> None:
    """
    That nobody kept it is no fault of the resource.
    """
    [_, guarded, _] = ownership.check(replace(story().record(), notes={}))

    assert guarded.validity == "unknown"


def without_loss(one: Story) -> list[Entry]:
    """The journal, had x been stopped when it did not hurt."""
    return [entry for entry in one.journal if not (entry.hold == "x" and entry.at > 0.1)]


@pytest.mark.parametrize(
    ("stops", "validity", "words"),
    [(1, "unknown", "lost no update"), (0, "valid", "no client was ever stopped")],
)
def test_a_control_that_loses_nothing(stops: int, validity: str, words: str) -> None:
    """
    If clients were stopped, then in vain: the run shows nothing. If none was, that is as
    it should be, and said.
    """
    one = story()
    one.journal, one.stops = without_loss(one), stops
    verdict = one.judged()["control"]

    assert verdict.validity == validity
    assert words in verdict.summary
    assert verdict.figures["updates_lost"] == 0


def test_a_control_that_loses_nothing_though_a_client_was_silent() -> None:
    """
    Whoever stopped it: it was put to the test, and showed nothing.
    """
    one = story()
    one.stops = 0
    one.journal = [entry for entry in one.journal if entry.hold == "x"]
    verdict = one.judged()["control"]

    assert verdict.validity == "unknown"
    assert verdict.figures["silent_holds"] == 1


def test_a_stop_that_failed_is_none() -> None:
    """
    The nemesis could not do it, and said so.
    """
    one = story()
    one.journal = without_loss(one)
    record = one.record()
    events = [
        replace(event, error="no client") if event.f == "pause-clients" else event
        for event in record.events
    ]

    assert ownership.check(replace(record, events=events))[2].validity == "valid"


# --- the real thing ------------------------------------------------------------


def hold_op(number: str, hold_s: float, pace: float) -> Op:
    value = {"id": number, "agent": "a", "hold_s": hold_s, "pace": pace, "wait_s": 15.0}
    return Op("ownership", "hold", "a", value)


def kinds(done: Done) -> list[str]:
    return [fact["fact"] for fact in done.value["facts"]]


async def stopped_and_overtaken(site: Site, outside: Resource, workload: Any) -> list[Done]:
    """One client is stopped in the middle of a round, and goes on after another one has
    owned the agent."""
    slow, quick = (workload.client(site, thread) for thread in range(2))
    await asyncio.gather(slow.open(), quick.open())

    def done_by(hold: str) -> Sequence[resource.Do]:
        return [entry.do for entry in outside.journal if entry.hold == hold]

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)

    first = asyncio.create_task(slow.invoke(hold_op("x", 2.0, 0.8)))
    await until(lambda: done_by("x")[-2:] == ["open", "get"] and "write" in done_by("x"))
    [stopped] = outside.processes()
    os.kill(stopped, signal.SIGSTOP)
    silent = time.monotonic() + TTL_S
    second = await quick.invoke(hold_op("y", 0.1, 0.1))
    await until(lambda: time.monotonic() > silent)
    os.kill(stopped, signal.SIGCONT)
    return [await first, second]


async def logged_by(site: Site) -> list[LoggedEvent]:
    async with connect(site.endpoints) as store:
        return [
            LoggedEvent(
                *(one.stream_id, one.seq, one.position, one.revision, one.step, one.type),
                one.data.decode(),
            )
            async for one in store.read_all()
        ]


def history_of(done: Iterable[Done]) -> list[Event]:
    events: list[Event] = []
    ops = [(process, hold_op(number, 0, 0)) for process, number in enumerate("xy")]
    for process, op in ops:
        at = len(events)
        events.append(Event(at, at, "invoke", process, "ownership", "hold", "a", op.value))
    for process, end in enumerate(done):
        at = len(events)
        events.append(Event(at, at, end.type, process, "ownership", "hold", "a", end.value))
    return events


@pytest.mark.live
def test_a_client_that_was_stopped_writes_nothing_under_its_token(tmp_path: Path) -> None:
    """
    The store refuses its step and the resource its value; the counter without a guard
    loses an update, and the verdicts are valid.
    """
    workload = ownership.workload()
    assert workload.setting is not None
    overrides = {"snapshot": {"log_entries": 100, "keep_entries": 20}}
    with LocalCluster.create(tmp_path / "c", nodes=3, overrides=overrides) as cluster:
        addresses = {member.id: member.api for member in cluster.members.values()}
        site = Site(addresses, "p", 1, tmp_path)

        async def scene() -> Record:
            assert workload.setting is not None
            async with asyncio.timeout(60), workload.setting(site) as outside:
                assert isinstance(outside, Resource)
                done = await stopped_and_overtaken(site, outside, workload)
                log = await logged_by(site)
            # Its program and the SDK find out at the same time.
            assert sorted(kinds(done[0])[-3:]) == ["lost", "step-refused", "write-refused"]
            assert "FENCED" in [fact.get("reason") for fact in done[0].value["facts"]]
            assert done[0].value["silent_s"] > TTL_S / 2
            assert kinds(done[1])[-1] == "end"
            return replace(
                Story().record(),
                events=history_of(done),
                log=log,
                notes={"ownership": outside.note()},
            )

        record = asyncio.run(scene())
    fencing, guarded, control = ownership.check(record)

    assert (fencing.validity, guarded.validity, control.validity) == ("valid",) * 3
    assert fencing.figures["steps_refused"] == 1
    assert guarded.figures["refused"] == 1
    assert control.figures["updates_lost"] >= 1
    assert control.figures["silent_holds"] == 1
