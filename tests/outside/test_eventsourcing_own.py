"""What the library's own cases for recorders leave out: many processes, large and many
events, owners, leaders that die, and whole applications."""

from __future__ import annotations

import asyncio
import collections
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactory,
    IntegrityError,
    InterfaceError,
    OperationalError,
    StoredEvent,
    Tracking,
)
from eventsourcing.popo import POPOProcessRecorder
from eventsourcing.system import (
    Follower,
    Leader,
    ProcessApplication,
    SingleThreadedRunner,
    System,
)

from raftstate.adapters.eventsourcing import (
    RaftAggregateRecorder,
    RaftApplicationRecorder,
    RaftFactory,
    RaftProcessRecorder,
)
from raftstate.adapters.eventsourcing.reading import Numbered
from raftstate.adapters.records import Owner
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import Fenced, InvalidRequest, NoQuorum
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import kills

Opened = Callable[..., RaftProcessRecorder]
NOWHERE = "127.0.0.1:1"
# In another process: so many calls that insert two events each.
INSERTS = """
import sys, uuid
from eventsourcing.persistence import StoredEvent
from raftstate.adapters.eventsourcing import RaftApplicationRecorder
endpoints, name, count = sys.argv[1:]
recorder = RaftApplicationRecorder(endpoints, name=name)
for _ in range(int(count)):
    one = uuid.uuid4()
    print(*recorder.insert_events([StoredEvent(one, v, "t", b"s") for v in (1, 2)]))
recorder.close()
"""


@pytest.fixture
def opened(endpoints: str, name: str) -> Iterator[Opened]:
    """Recorders of the test's own events, each as another process would have it."""
    made: list[RaftProcessRecorder] = []

    def open_one(**options: Any) -> RaftProcessRecorder:
        made.append(RaftProcessRecorder(endpoints, **{"name": name, **options}))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def events(
    originator: UUID | str, first: int, last: int, topic: str = "t", state: bytes = b"s"
) -> list[StoredEvent]:
    """Versions in a row."""
    return [StoredEvent(originator, one, topic, state) for one in range(first, last + 1)]


def versions(found: Sequence[StoredEvent]) -> list[int]:
    """Of events."""
    return [one.originator_version for one in found]


# --- against the library's own, in memory ------------------------------------


def ordered(recorder: POPOProcessRecorder, *args: Any, **kwargs: Any) -> list[StoredEvent]:
    """What the library's recorder has, by version: it has it as it was inserted."""
    wanted, limit = kwargs.pop("desc", False), kwargs.pop("limit", None)
    found = sorted(
        recorder.select_events(*args, **kwargs), key=lambda one: one.originator_version
    )
    return (found[::-1] if wanted else found)[:limit]


@pytest.mark.parametrize("seed", range(4))
def test_it_does_what_the_library_does_in_memory(opened: Opened, seed: int) -> None:
    """Whatever is inserted, by two processes in turns, is inserted or refused by both, and
    every selection has the same."""
    rng = random.Random(seed)
    ours, model = [opened(), opened()], POPOProcessRecorder()
    originators: list[UUID | str] = [UUID(int=rng.getrandbits(128)), "a", "a\x00\u00fc", ""]
    refused = inserted = 0
    for _ in range(150):
        batch: list[StoredEvent] = []
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            first = rng.choice([0, 1, *(rng.randrange(40) for _ in range(6))])
            last = first + rng.choice([0, 0, 1, 4])
            batch += events(rng.choice(originators), first, last, rng.choice("tu"))
        tracking = Tracking("up", rng.randrange(60)) if rng.random() < 0.2 else None
        recorder = rng.choice(ours)
        try:
            expected = model.insert_events(batch, tracking=tracking)
        except IntegrityError:
            refused += 1
            with pytest.raises(IntegrityError):
                recorder.insert_events(batch, tracking=tracking)
        else:
            inserted += bool(batch)
            assert recorder.insert_events(batch, tracking=tracking) == expected
        one = rng.choice(originators)
        how: dict[str, Any] = {
            "gt": rng.choice([None, rng.randrange(45)]),
            "lte": rng.choice([None, rng.randrange(45)]),
            "desc": rng.random() < 0.5,
            "limit": rng.choice([None, 1, 3]),
        }
        assert recorder.select_events(one, **how) == ordered(model, one, **how)
        start, stop = (
            rng.choice([None, rng.randrange(200)]),
            rng.choice([None, rng.randrange(200)]),
        )
        where: dict[str, Any] = {
            "stop": stop,
            "topics": rng.choice([(), ("t",), ("t", "u"), ("v",)]),
        }
        limit, inclusive = rng.choice([1, 7, 500]), rng.random() < 0.5
        assert recorder.select_notifications(
            start, limit, **where, inclusive_of_start=inclusive
        ) == model.select_notifications(start, limit, **where, inclusive_of_start=inclusive)
        assert recorder.max_notification_id() == model.max_notification_id()
        assert recorder.max_tracking_id("up") == model.max_tracking_id("up")
    assert refused > 10
    assert inserted > 10


# --- many writers ------------------------------------------------------------


def test_processes_share_one_order_without_gaps(
    opened: Opened, endpoints: str, name: str
) -> None:
    """Three processes insert at the same time. Each call has numbers in a row, together they
    have all of them, and who reads meanwhile sees a beginning of the order each time."""
    argv = [sys.executable, "-c", INSERTS, endpoints, name, "25"]
    running = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    reader, over = opened(), threading.Event()

    def read() -> int:
        seen, reads = 0, 0
        while not over.is_set():
            found = [one.id for one in reader.select_notifications(None, 1000)]
            assert found == list(range(1, len(found) + 1))
            assert len(found) >= seen
            seen, reads = len(found), reads + 1
        return reads

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        said = [process.communicate(timeout=120) for process in running]
        over.set()
        assert reading.result() > 5
    assert [process.returncode for process in running] == [0, 0, 0], said
    pairs = [tuple(map(int, line.split())) for out, _ in said for line in out.splitlines()]
    assert all(second == first + 1 for first, second in pairs)
    assert sorted(sum(pairs, ())) == list(range(1, 151))
    assert reader.max_notification_id() == 150


def test_writers_take_turns(opened: Opened) -> None:
    """Nobody is kept out by others who write all the time."""
    over = threading.Event()
    recorders = [opened(), opened()]
    counts = [0, 0, 0, 0]

    def insert(at: int) -> None:
        while not over.is_set():
            counts[at] += 1
            recorders[at % 2].insert_events(events(f"w{at}", counts[at], counts[at]))

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(insert, at) for at in range(4)]
        until = time.monotonic() + 60
        while time.monotonic() < until and (sum(counts) < 200 or min(counts) < 9):
            time.sleep(0.02)
        over.set()
        for one in writing:
            one.result()
    assert min(counts) >= 9
    assert min(counts) * 20 > max(counts), counts


def test_of_those_who_insert_the_same_version_one_does(opened: Opened) -> None:
    """Threads of one process and of several: the others are told, and have inserted nothing,
    nor disturbed those who share their transaction."""
    recorders = [opened() for _ in range(3)]
    one = uuid4()
    barrier = threading.Barrier(12)

    def insert(at: int) -> bool:
        barrier.wait(30)
        mine = events(one, 1, 2, state=str(at).encode()) if at % 2 else events(uuid4(), 1, 1)
        try:
            recorders[at % 3].insert_events(mine)
        except IntegrityError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(insert, range(12)))
    assert sum(done[1::2]) == 1
    assert all(done[::2])
    assert [one.state for one in recorders[0].select_events(one)] == [
        str(done.index(True, 1) if done[1] else 1 + 2 * done[1::2].index(True)).encode()
    ] * 2
    assert recorders[0].max_notification_id() == 8


def test_events_and_their_origin_appear_together_or_not_at_all(opened: Opened) -> None:
    """Of two processes that deal with the same notification one does."""
    one, two = opened(), opened()
    assert one.insert_events(events("a", 1, 1), tracking=Tracking("up", 5)) == [1]
    for again in (Tracking("up", 5), Tracking("up", 4)):
        with pytest.raises(IntegrityError, match="not ahead"):
            two.insert_events(events("b", 1, 1), tracking=again)
    with pytest.raises(IntegrityError, match="recorded"):
        two.insert_events(events("a", 1, 1), tracking=Tracking("up", 6))
    assert two.max_tracking_id("up") == 5
    assert two.select_events("b") == []
    assert two.insert_events(events("b", 1, 1), tracking=Tracking("up", 6)) == [2]
    assert one.insert_events(events("b", 2, 2), tracking=Tracking("up", 7)) == [3]
    one.insert_tracking(Tracking("down", 0))
    assert two.max_tracking_id("down") == 0


# --- sizes -------------------------------------------------------------------


def test_large_events_are_inserted_whole(opened: Opened) -> None:
    """Also more of them at once than a request holds."""
    recorder, reader = opened(), opened()
    large = events("a", 1, 1, state=random.Random(1).randbytes(5 << 20))
    many = events("b", 1, 900, state=b"x" * 5_000)
    assert recorder.insert_events(large + many) == list(range(1, 902))
    assert recorder.insert_events(events("a", 2, 2)) == [902]
    assert reader.select_events("a") == large + events("a", 2, 2)
    assert reader.select_events("b", gt=898) == many[-2:]
    assert [one.id for one in reader.select_notifications(900, 10)] == [900, 901, 902]


def test_an_aggregate_with_many_versions_is_read_in_order(opened: Opened) -> None:
    """Inserted one by one: more runs than are fetched at once, or than a page has."""
    recorder = opened()
    for version in range(1, 131):
        recorder.insert_events(events("a", version, version))
    reader = opened()
    assert versions(reader.select_events("a")) == list(range(1, 131))
    assert versions(reader.select_events("a", desc=True)) == list(range(130, 0, -1))
    assert versions(reader.select_events("a", gt=100, lte=102)) == [101, 102]
    assert versions(reader.select_events("a", lte=50, desc=True, limit=2)) == [50, 49]


def test_as_many_aggregates_as_a_transaction_holds_are_inserted_at_once(
    opened: Opened,
) -> None:
    """And no more: the error names what there may be, and nothing is inserted."""
    recorder = opened()
    for turn in range(2):  # the second time it knows where the log ends
        fitting = [one for _ in range(38) for one in events(uuid4(), 1, 2)]
        tracking = Tracking("up", turn)
        assert recorder.insert_events(fitting, tracking=tracking) is not None
    with pytest.raises(DataError, match="at most 114") as caught:
        recorder.insert_events([one for _ in range(39) for one in events(uuid4(), 1, 1)])
    cause = caught.value.__cause__
    assert isinstance(cause, InvalidRequest)
    assert cause.details == {"field": "stored_events", "limit": "114"}
    assert recorder.max_notification_id() == 152


@pytest.mark.parametrize("wrong", [-1, 1 << 63])
def test_numbers_that_do_not_fit_are_refused(opened: Opened, wrong: int) -> None:
    """And nothing is inserted."""
    recorder = opened()
    with pytest.raises(DataError, match="originator_version"):
        recorder.insert_events([*events("a", 1, 1), *events("a", wrong, wrong)])
    with pytest.raises(DataError, match="notification_id"):
        recorder.insert_tracking(Tracking("up", wrong))
    assert recorder.max_notification_id() is None


def test_names_applications_and_purposes_are_kept_apart(endpoints: str, name: str) -> None:
    """The same aggregate may be in all of them."""
    with Portal(endpoints) as portal:
        recorders = [
            RaftApplicationRecorder(portal, name=name),
            RaftApplicationRecorder(portal, name=f"{name}-2"),
            RaftApplicationRecorder(portal, name=name, application="a"),
            RaftAggregateRecorder(portal, name=name, purpose="snapshots"),
        ]
        for at, recorder in enumerate(recorders):
            recorder.insert_events(events("a", 1, 1, state=str(at).encode()))
        for at, recorder in enumerate(recorders):
            [found] = recorder.select_events("a")
            assert found.state == str(at).encode()


# --- subscriptions -----------------------------------------------------------


def test_a_subscription_tells_what_others_insert(opened: Opened, cluster: LocalCluster) -> None:
    """Each event once, in order, though leaders die."""
    reader, writer = opened(), opened()
    writer.insert_events(events("a", 1, 3))
    count = 3
    with ThreadPoolExecutor(1) as pool, reader.subscribe(gt=1) as subscription:
        with kills(cluster, 1.0) as killing:
            while killing.count < 2 and count < 5_000:
                count += 1
                writer.insert_events(events("a", count, count))
        for expected in range(2, count + 1):
            assert pool.submit(next, subscription).result(timeout=30).id == expected


def test_a_subscription_wakes_at_once(opened: Opened) -> None:
    """Who waits is woken by the watch, not by asking again and again."""
    reader, writer = opened(), opened()
    with ThreadPoolExecutor(1) as pool, reader.subscribe(topics=["t"]) as subscription:
        for version in range(1, 6):
            waiting = pool.submit(next, subscription)
            writer.insert_events(events("a", version, version, topic="u"))
            writer.insert_events(events("b", version, version, topic="t"))
            found = waiting.result(timeout=10)
            assert (found.originator_id, found.originator_version) == ("b", version)


def test_a_subscription_looks_at_each_event_once(opened: Opened) -> None:
    """Though none of them has one of its topics: or each event to come would cost as much
    as all of those before it."""
    reader, writer = opened(), opened()
    writer.insert_events(events("a", 1, 300, topic="u"))
    looked: collections.Counter[int] = collections.Counter()
    numbered = reader._log.numbered

    async def counted(*where: Any, **how: Any) -> AsyncGenerator[Numbered, None]:
        async for one in numbered(*where, **how):
            looked[one.number] += 1
            yield one

    reader._log.numbered = counted  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool, reader.subscribe(gt=0, topics=["t"]) as subscription:
        for version in range(301, 306):
            waiting = pool.submit(next, subscription)
            writer.insert_events(events("a", version, version, topic="u"))
            writer.insert_events(events("b", version, version, topic="t"))
            assert waiting.result(timeout=30).originator_version == version
    assert looked.total() >= 310
    assert max(looked.values()) <= 2, "once, or once more as the first that is too new"


def test_a_subscription_ends_with_its_store(endpoints: str, name: str) -> None:
    """Who waits is told, rather than left waiting."""
    recorder = RaftApplicationRecorder(endpoints, name=name)
    subscription = recorder.subscribe()
    with ThreadPoolExecutor(1) as pool, subscription:
        waiting = pool.submit(next, subscription)
        recorder.close()
        with pytest.raises(InterfaceError, match="closed"):
            waiting.result(timeout=30)
    with pytest.raises(InterfaceError):
        recorder.subscribe()


# --- errors ------------------------------------------------------------------


def test_a_superseded_owner_writes_nothing(opened: Opened, endpoints: str, name: str) -> None:
    """Its events are refused, and its positions; the new owner's are not."""

    async def acquired(store: Store) -> Owner:
        async with store.own(name, force=True) as agent:
            # The token outlives the block: what counts is who owns the agent by then.
            return Owner(agent.agent_id, agent.token)

    with Portal(endpoints) as portal:
        recorder = opened(owner=portal.run(acquired))
        attempts: list[Callable[[], object]] = [
            lambda: recorder.insert_events(events("a", 1, 1)),
            lambda: recorder.insert_events(events("b", 1, 1, state=b"x" * (2 << 20))),
            lambda: recorder.insert_tracking(Tracking("up", 1)),
        ]
        for attempt in attempts:
            with pytest.raises(OperationalError) as caught:
                attempt()
            assert isinstance(caught.value.__cause__, Fenced)
            assert caught.value.__cause__.definite
        assert recorder.max_notification_id() is None
        assert recorder.max_tracking_id("up") is None

        async def owning(store: Store) -> Sequence[int] | None:
            async with store.own(name) as agent:
                new = opened(owner=agent)
                return await asyncio.to_thread(new.insert_events, events("a", 1, 1))

        assert portal.run(owning) == [1]


def test_without_a_quorum_the_error_says_so(name: str) -> None:
    """In the library's words, with ours as the cause."""
    recorder = RaftApplicationRecorder(NOWHERE, name=name, timeout=0.3)
    for attempt in (
        lambda: recorder.insert_events(events("a", 1, 1)),
        lambda: recorder.select_events("a"),
        recorder.max_notification_id,
        recorder.subscribe,
    ):
        with pytest.raises(OperationalError) as caught:
            attempt()
        assert isinstance(caught.value.__cause__, NoQuorum)
        assert caught.value.__cause__.definite
    recorder.close()
    with pytest.raises(InterfaceError):
        recorder.select_events("a")


def test_events_outlive_leaders(opened: Opened, cluster: LocalCluster) -> None:
    """While leaders die, writers of two processes lose nothing and insert nothing twice."""
    recorders = [opened(), opened()]
    over = threading.Event()

    def insert(at: int) -> int:
        count = 0
        while not over.is_set() and count < 3_000:
            count += 1
            assert recorders[at % 2].insert_events(events(f"w{at}", count, count))
        return count

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(insert, at) for at in range(4)]
        with kills(cluster, 1.0) as killing:
            while killing.count < 2 and not any(one.done() for one in writing):
                threading.Event().wait(0.05)
        over.set()
        counts = [one.result() for one in writing]
    assert recorders[0].max_notification_id() == sum(counts)
    for at, count in enumerate(counts):
        assert versions(recorders[1].select_events(f"w{at}")) == list(range(1, count + 1))


# --- whole applications ------------------------------------------------------


class Dog(Aggregate):
    """Learns."""

    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name
        self.tricks: list[str] = []

    @event("TrickAdded")
    def learn(self, trick: str) -> None:
        """One more."""
        self.tricks.append(trick)


class School(Application[UUID]):
    """Keeps dogs, with a snapshot every two events."""

    is_snapshotting_enabled = True

    def register(self, name: str) -> UUID:
        """A new dog."""
        dog = Dog(name)
        self.save(dog)
        return dog.id

    def teach(self, dog_id: UUID, trick: str) -> None:
        """A dog learns."""
        dog: Dog = self.repository.get(dog_id)
        dog.learn(trick)
        self.save(dog)


class Counter(Aggregate):
    """Counts."""

    @event("Started")
    def __init__(self) -> None:
        self.count = 0

    @event("Counted")
    def add(self) -> None:
        """One more."""
        self.count += 1


class Counters(ProcessApplication[UUID]):
    """Counts the dogs of a school."""

    def policy(self, domain_event: Any, processing_event: Any) -> None:
        """One counter for each dog."""
        if isinstance(domain_event, Aggregate.Created):
            counter = Counter()
            counter.add()
            processing_event.collect_events(counter)


def environment(endpoints: str, name: str) -> dict[str, str]:
    """How applications are told to keep their events in the store."""
    return {
        "PERSISTENCE_MODULE": "raftstate.adapters.eventsourcing",
        "RAFTSTATE_ENDPOINTS": endpoints,
        "RAFTSTATE_NAME": name,
    }


def test_an_application_keeps_its_aggregates(endpoints: str, name: str) -> None:
    """Another process has them, with snapshots, and may not save what is out of date."""
    one = School(env=environment(endpoints, name))
    dog_id = one.register("Fido")
    for trick in ("roll", "sit", "beg"):
        one.teach(dog_id, trick)
    one.take_snapshot(dog_id)
    two = School(env=environment(endpoints, name))
    mine: Dog = one.repository.get(dog_id)
    theirs: Dog = two.repository.get(dog_id)
    assert theirs.tricks == ["roll", "sit", "beg"]
    assert two.snapshots is not None
    assert len(list(two.snapshots.get(dog_id))) == 1
    mine.learn("jump")
    theirs.learn("fetch")
    one.save(mine)
    with pytest.raises(IntegrityError):
        two.save(theirs)
    again: Dog = two.repository.get(dog_id)
    assert again.tricks == ["roll", "sit", "beg", "jump"]
    assert [item.id for item in two.notification_log.select(1, 10)] == [1, 2, 3, 4, 5]
    one.close()
    two.close()


def test_a_system_of_applications_deals_with_each_event_once(endpoints: str, name: str) -> None:
    """Also after it was stopped and started."""
    for dogs in (2, 3):
        system = System(pipes=[[School, Counters]])
        with SingleThreadedRunner[UUID](system, environment(endpoints, name)) as runner:
            school, counters = runner.get(School), runner.get(Counters)
            school.register(f"dog {dogs}")
            if dogs == 2:
                school.register("first")
            assert counters.recorder.max_tracking_id("School") == dogs
            assert counters.recorder.max_notification_id() == 2 * dogs
            assert isinstance(counters, Follower)
            assert isinstance(school, Leader)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"RAFTSTATE_ENDPOINTS": ""}, "RAFTSTATE_ENDPOINTS"),
        ({"RAFTSTATE_TIMEOUT": "soon"}, "RAFTSTATE_TIMEOUT is 'soon'"),
        ({"RAFTSTATE_TLS_CA": "ca.pem"}, "RAFTSTATE_TLS_CERT"),
    ],
)
def test_an_environment_that_makes_no_sense_is_named(
    wrong: dict[str, str], message: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(OSError, match=message):
        RaftFactory({**environment(NOWHERE, "x"), **wrong})
    with pytest.raises(InvalidRequest, match="nowhere"):
        RaftFactory(environment("nowhere", "x"))


def test_a_recorder_of_another_kind_is_refused() -> None:
    """A topic has to name one of ours."""
    env = environment(NOWHERE, "x") | {"PROCESS_RECORDER_TOPIC": "builtins:dict"}
    factory = InfrastructureFactory[Any].construct(env)
    with pytest.raises(TypeError, match="RaftProcessRecorder"):
        factory.process_recorder()
    factory.close()
