"""Dynamic consistency boundaries: conditions that many writers append under, owners, errors,
and a whole application of the library's."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBRecorder,
)
from eventsourcing.dcb.application import DCBApplication
from eventsourcing.dcb.domain import Decision, EnduringObject, InitialDecision, Tagged
from eventsourcing.dcb.persistence import DCBMapper
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from eventsourcing.domain import event
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from eventsourcing.utils import get_topic, resolve_topic

from raftstate.adapters import records
from raftstate.adapters.eventsourcing import (
    RaftDCBRecorder,
    RaftFactory,
)
from raftstate.adapters.eventsourcing.dcb import _condition
from raftstate.adapters.eventsourcing.dcb_log import Event, packed
from raftstate.adapters.eventsourcing.log import Beaten, Taken
from raftstate.adapters.records import Owner
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import Conflict, Fenced, NoQuorum, OutcomeUnknown
from raftstate.localcluster import LocalCluster
from tests.outside.boundaries import LONG, Opened, kept, opening, positions, some, tagged
from tests.outside.conftest import kills

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def opened(endpoints: str, name: str) -> Iterator[Opened]:
    """Recorders of the test's own events, each as another process would have it."""
    with opening(endpoints, name) as open_one:
        yield open_one


# --- against the library's own, in memory ------------------------------------

TYPES = ["t", "u", "", LONG]
TAGS = ["a", "b", "c", "", "a\x00", "a\x01", "\ud800", LONG, LONG + "y"]


def random_query(rng: random.Random) -> DCBQuery:
    """Mostly of few items, with few types and tags."""
    return DCBQuery(
        [
            DCBQueryItem(
                rng.sample(TYPES, rng.choice([0, 0, 1, 2])),
                rng.sample(TAGS, rng.choice([0, 1, 1, 2, 3])),
            )
            for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_does_what_the_library_does_in_memory(opened: Opened, seed: int) -> None:
    """Whatever is appended, by two processes in turns, is appended or refused by both, and
    every read has the same."""
    rng = random.Random(seed)
    ours, model = [opened(), opened()], InMemoryDCBRecorder()
    refused = appended = 0
    for _ in range(120):
        batch = [
            DCBEvent(rng.choice(TYPES), rng.randbytes(3), rng.sample(TAGS, rng.randrange(4)))
            for _ in range(rng.choice([1, 1, 2, 5]))
        ]
        if rng.random() < 0.1:
            batch[0].tags += [f"many {at}" for at in range(130)]
        last = model.read().head or 0
        condition = None
        if rng.random() < 0.8:
            near = max(0, last - rng.randrange(6))
            after = rng.choice([None, 0, last, last + 2, near, 1 << 70])
            condition = DCBAppendCondition(random_query(rng), after)
        recorder = rng.choice(ours)
        try:
            expected = model.append(batch, condition)
        except IntegrityError:
            refused += 1
            with pytest.raises(IntegrityError):
                recorder.append(batch, condition)
        else:
            appended += 1
            assert recorder.append(batch, condition) == expected
        how: dict[str, Any] = {
            "after": rng.choice([None, 0, rng.randrange(last + 5)]),
            "limit": rng.choice([None, None, 0, 1, 3, 50]),
        }
        query = rng.choice([None, random_query(rng), random_query(rng)])
        one, other = rng.choice(ours).read(query, **how), model.read(query, **how)
        assert one.head == other.head
        assert list(one) == list(other)
    assert list(ours[0].read()) == list(model.read())
    assert refused > 10
    assert appended > 10


# --- conditions --------------------------------------------------------------


@pytest.mark.parametrize("portals", [8, 2, 1])
def test_of_those_who_take_a_name_one_has_it(opened: Opened, portals: int) -> None:
    """Eight threads, which share recorders or have their own, register the same names, each
    if nobody has it. Each is registered once; positions have no gaps."""
    recorders = [opened() for _ in range(portals)]
    names = [f"name {at}" for at in range(12)]
    barrier = threading.Barrier(8)

    def register(at: int) -> list[tuple[str, int]]:
        recorder, mine = recorders[at % portals], list[tuple[str, int]]()
        for one in names:
            barrier.wait(30)
            condition = DCBAppendCondition(tagged(one))
            try:
                # The last of them has the name: a condition is for all of an append.
                position = recorder.append([some("other"), some(one)], condition)
            except IntegrityError:
                continue
            mine.append((one, position))
        return mine

    with ThreadPoolExecutor(8) as pool:
        won = sorted(itertools.chain.from_iterable(pool.map(register, range(8))))
    assert sorted(one for one, _ in won) == sorted(names)
    assert sorted(position for _, position in won) == list(range(2, 25, 2))
    found = opened().read()
    assert found.head == 24
    assert positions(found) == list(range(1, 25))
    assert [positions(recorders[0].read(tagged(one))) for one, _ in won] == [
        [position] for _, position in won
    ]


def count_up(recorder: DCBRecorder, counter: str, until: Callable[[], bool]) -> int:
    """Add one, if nobody has since it was read, again and again; how often that went."""
    done = 0
    while not until():
        found = recorder.read(tagged(counter))
        values = [int(one.event.data) for one in found]
        following = str(max(values, default=0) + 1).encode()
        condition = DCBAppendCondition(tagged(counter), found.head)
        try:
            recorder.append([some(counter, data=following)], condition)
        except IntegrityError:
            continue
        done += 1
    return done


@pytest.mark.parametrize("portals", [8, 2])
def test_no_increment_is_lost(opened: Opened, portals: int) -> None:
    """Eight threads count on two counters, each by what it has read. Nobody counts on what
    another has changed since."""
    recorders = [opened() for _ in range(portals)]
    rounds = itertools.count()

    def count(at: int) -> int:
        return count_up(recorders[at % portals], f"c{at % 2}", lambda: next(rounds) > 250)

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(count, range(8)))
    reader = opened()
    for counter in (0, 1):
        values = [int(one.event.data) for one in reader.read(tagged(f"c{counter}"))]
        assert values == list(range(1, sum(done[counter::2]) + 1))
        assert len(values) > 10
    assert positions(reader.read()) == list(range(1, sum(done) + 1))


def test_counters_outlive_leaders(opened: Opened, cluster: LocalCluster) -> None:
    """While leaders die, nothing is lost, and nothing is appended twice."""
    recorders = [opened(), opened()]
    over = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        counting = [
            pool.submit(count_up, recorders[at % 2], f"c{at // 2}", over.is_set)
            for at in range(4)
        ]
        try:
            with kills(cluster, 1.0) as killing:
                while killing.count < 2 and not any(one.done() for one in counting):
                    threading.Event().wait(0.05)
        finally:
            over.set()
        done = [one.result() for one in counting]
    for counter in (0, 1):
        values = [int(one.event.data) for one in opened().read(tagged(f"c{counter}"))]
        assert values == list(range(1, done[2 * counter] + done[2 * counter + 1] + 1))


def test_of_one_transaction_the_later_is_held_against_the_earlier(opened: Opened) -> None:
    """Those who share one are told as if they had come one after the other, and nobody is
    disturbed by those who are refused."""
    recorder = opened()
    recorder.append([some("before")])
    wanted: list[tuple[DCBEvent, DCBAppendCondition | None]] = [
        (some("a"), None),
        (some("b"), DCBAppendCondition(tagged("a"))),  # is there by then
        (some("c"), DCBAppendCondition(tagged("b"))),  # is not
        (some("d"), DCBAppendCondition(tagged("a"), after=2)),
        (some("e"), DCBAppendCondition(tagged("before"))),
        (some("f"), DCBAppendCondition(DCBQuery(), after=900)),
    ]

    async def together(store: Store) -> list[object]:
        calls = []
        for one, condition in wanted:
            given = [Event(one.type, one.data, tuple(one.tags))]
            calls.append(
                recorder._dcb.append(store, given, packed(given), _condition(condition))
            )
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = recorder._access.run(together)
    told = [one if isinstance(one, int) else type(one) for one in outcomes]
    assert told == [2, Taken, 3, 4, Taken, 5]
    tags = [one.event.tags for one in recorder.read()]
    assert tags == [["before"], ["a"], ["c"], ["d"], ["f"]]


def test_who_is_always_beaten_is_told(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the timeout; nothing was written."""
    recorder, other = opened(timeout=0.5), opened()
    do = recorder._dcb._do

    async def late(store: Store, *args: Any) -> Beaten | None:
        await asyncio.to_thread(other.append, [some()])
        return await do(store, *args)

    monkeypatch.setattr(recorder._dcb, "_do", late)
    why: BaseException | None = None
    while not isinstance(why, Conflict):
        with pytest.raises(OperationalError) as caught:
            recorder.append([some("mine")])
        why = caught.value.__cause__
        # Its time may also be over while it waits for an answer: then it cannot know.
        assert isinstance(why, Conflict | OutcomeUnknown)
    assert why.definite
    assert "in a row" in str(why)
    assert positions(other.read(tagged("mine"))) == []


@pytest.mark.parametrize("more", [0, 130])
def test_what_comes_between_a_look_and_the_write_is_looked_at(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """A condition holds when it is looked at, and another process then writes what it
    forbids: refused. What was sent before is removed."""
    recorder, other = opened(), opened()
    do = recorder._dcb._do

    async def late(store: Store, *args: Any) -> Beaten | None:
        monkeypatch.undo()
        await asyncio.to_thread(other.append, [some("taken", *map(str, range(more)))])
        return await do(store, *args)

    monkeypatch.setattr(recorder._dcb, "_do", late)
    with pytest.raises(IntegrityError, match="position 1 "):
        recorder.append(
            [some("taken", data=bytes(1 << 20))], DCBAppendCondition(tagged("taken"))
        )
    assert positions(other.read()) == [1]
    assert kept(recorder) == 0


def test_who_is_beaten_by_what_does_not_matter_looks_at_nothing(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the transaction that was refused has shown is enough."""
    recorder, other = opened(), opened()
    do, searches = recorder._dcb._do, itertools.count()

    async def late(store: Store, *args: Any) -> Beaten | None:
        monkeypatch.setattr(recorder._dcb, "_do", do)
        await asyncio.to_thread(other.append, [some("b", kind="u")])
        monkeypatch.setattr(recorder._dcb, "index", lambda *_: next(searches))
        return await do(store, *args)

    condition = DCBAppendCondition(
        DCBQuery([DCBQueryItem(["u"], ["a"]), DCBQueryItem(["v", "w"])])
    )
    monkeypatch.setattr(recorder._dcb, "_do", late)
    assert recorder.append([some("a")], condition) == 2
    assert next(searches) == 0


def test_without_events_nothing_is_appended(opened: Opened) -> None:
    """The library's recorders say the same."""
    for recorder in (opened(), InMemoryDCBRecorder()):
        with pytest.raises(ProgrammingError):
            recorder.append([])
        assert recorder.read().head is None


# --- errors ------------------------------------------------------------------


def test_a_superseded_owner_appends_nothing(
    opened: Opened, endpoints: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new owner does; what the former has sent by then is removed."""

    async def acquired(store: Store) -> Owner:
        async with store.own(name, force=True) as agent:
            # The token outlives the block: what counts is who owns the agent by then.
            return Owner(agent.agent_id, agent.token)

    with Portal(endpoints) as portal:
        recorder = opened(owner=portal.run(acquired))
        for data in (b"", bytes(2 << 20)):
            for condition in (None, DCBAppendCondition(tagged("a"))):
                with pytest.raises(OperationalError) as caught:
                    recorder.append([some("a", data=data)], condition)
                assert isinstance(caught.value.__cause__, Fenced)
                assert caught.value.__cause__.definite

        async def sent(*_: Any, **__: Any) -> bool:
            return await write(*_, **{**__, "owner": None})

        write = records.write
        monkeypatch.setattr(records, "write", sent)
        with pytest.raises(OperationalError):
            recorder.append([some("a", data=bytes(2 << 20))])
        assert kept(recorder) == 0
        assert recorder.read().head is None

        async def owning(store: Store) -> int:
            async with store.own(name) as agent:
                return await asyncio.to_thread(opened(owner=agent).append, [some("a")])

        assert portal.run(owning) == 1


def test_an_outcome_that_is_unknown_is_said(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next append does not take for granted what it was."""
    recorder = opened()
    recorder.append([some()])
    do = recorder._dcb._do

    async def lost(*args: Any) -> Beaten | None:
        await do(*args)
        raise OutcomeUnknown("no answer", definite=False)

    monkeypatch.setattr(recorder._dcb, "_do", lost)
    with pytest.raises(OperationalError) as caught:
        recorder.append([some("a")])
    assert isinstance(caught.value.__cause__, OutcomeUnknown)
    assert not caught.value.__cause__.definite
    monkeypatch.undo()
    with pytest.raises(IntegrityError):
        recorder.append([some()], DCBAppendCondition(tagged("a")))
    assert recorder.append([some()]) == 3


def test_without_a_quorum_the_error_says_so(name: str) -> None:
    """In the library's words, with ours as the cause."""
    recorder = RaftDCBRecorder(NOWHERE, name=name, timeout=0.3)
    for attempt in (
        lambda: recorder.append([some()]),
        lambda: recorder.append([some()], DCBAppendCondition()),
        recorder.read,
        lambda: recorder.read(limit=1),
        recorder.subscribe,
    ):
        with pytest.raises(OperationalError) as caught:
            attempt()
        assert isinstance(caught.value.__cause__, NoQuorum)
        assert caught.value.__cause__.definite
    recorder.close()
    with pytest.raises(InterfaceError):
        recorder.read()


# --- a whole application -----------------------------------------------------


class Registered(InitialDecision):
    """A course is offered."""

    def __init__(self, originator_topic: str, course_id: str, places: int) -> None:
        self.originator_topic = originator_topic
        self.course_id = course_id
        self.places = places


class Joined(Decision):
    """A student takes a place."""

    def __init__(self, student: str) -> None:
        self.student = student


class Course(EnduringObject[Decision]):
    """Has places."""

    @event(Registered)
    def __init__(self, places: int) -> None:
        self.places = places
        self.students: list[str] = []

    @event(Joined)
    def join(self, student: str) -> None:
        """One more."""
        self.students.append(student)


class Mapper(DCBMapper[Decision]):
    """Decisions as JSON."""

    def to_dcb_event(self, event: Tagged[Decision]) -> DCBEvent:
        """As it is recorded."""
        data = json.dumps(event.decision.as_dict()).encode()
        return DCBEvent(get_topic(type(event.decision)), data, event.tags)

    def to_domain_event(self, event: DCBEvent) -> Tagged[Decision]:
        """As it was."""
        return Tagged(event.tags, resolve_topic(event.type)(**json.loads(event.data)))


class Courses(DCBApplication):
    """Offers courses."""


def test_an_application_keeps_its_boundaries(endpoints: str, name: str) -> None:
    """Of two processes that give the last place away one does."""
    env = {
        "PERSISTENCE_MODULE": "raftstate.adapters.eventsourcing",
        "RAFTSTATE_ENDPOINTS": endpoints,
        "RAFTSTATE_NAME": name,
        "MAPPER_TOPIC": get_topic(Mapper),
    }
    with Courses(env) as one, Courses(env) as two:
        assert isinstance(one.factory, RaftFactory)
        course = Course(places=1)
        one.repository.save(course)
        mine, theirs = (each.repository.get(course.id) for each in (one, two))
        assert isinstance(mine, Course)
        assert isinstance(theirs, Course)
        mine.join("Ann")
        theirs.join("Bob")
        one.repository.save(mine)
        with pytest.raises(IntegrityError):
            two.repository.save(theirs)
        again = two.repository.get(course.id)
        assert isinstance(again, Course)
        assert (again.places, again.students) == (1, ["Ann"])
        kinds = [one.event.type for one in two.recorder.read()]
        assert kinds == [get_topic(Registered), get_topic(Joined)]
