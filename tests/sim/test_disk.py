"""The simulated disk keeps what was made durable, and loses the rest when it should."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from raftstate.core import queries
from raftstate.core.machine import StateMachine
from raftstate.core.ports import (
    Base,
    Entry,
    HardState,
    Identity,
    SnapshotFailed,
    StorageError,
    WrongStore,
)
from raftstate.core.types import ORIGIN, Index, MemberId, Position, Term
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry
from tests.sim.disk import Opened, SimDisk, SimulatedCrash


class Bench:
    """A disk, and a clock that a test moves by hand."""

    def __init__(self) -> None:
        self.planned: list[Callable[[], None]] = []
        self.woken = 0
        self.disk = SimDisk(
            Identity("c", 1, MemberId("n1"), "d"),
            after=lambda seconds, action: self.planned.append(action),
            rng=random.Random(1),
        )

    def open(self) -> Opened:
        return self.disk.open(self.wake)

    def wake(self) -> None:
        self.woken += 1

    def let_time_go_by(self) -> None:
        planned, self.planned = self.planned, []
        for action in planned:
            action()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def entry(index: int, term: int = 1) -> Entry:
    return Entry(Index(index), Term(term), b"\x00entry %d" % index)


def fill(opened: Opened, last: int) -> None:
    """Append and apply entries with one command each, up to `last`."""
    machine = StateMachine(opened.state.store, 1)
    for index in range(opened.log.last.index + 1, last + 1):
        opened.log.append(entry(index))
        command = Command(open_session=OpenSessionRequest(session_id=f"s{index}"))
        machine.apply(Index(index), Term(1), LogEntry(commands=[command]))
    opened.log.commit()
    opened.state.commit()


def applied(opened: Opened) -> int:
    with opened.state.view() as reader:
        return queries.applied(reader).index


def take_snapshot(bench: Bench, opened: Opened) -> str:
    """Copy the state, and cut the log behind it."""
    opened.snapshots.start_copy(Term(1))
    assert opened.snapshots.poll_copy() is None
    bench.let_time_go_by()
    manifest = opened.snapshots.poll_copy()
    assert manifest is not None and not isinstance(manifest, SnapshotFailed)
    opened.log.cut(Base(Position(Index(manifest.index), Term(1)), manifest.name))
    opened.log.commit()
    return manifest.name


@pytest.mark.parametrize("power", [False, True])
def test_a_commit_of_the_log_survives_and_nothing_else_does(bench: Bench, power: bool) -> None:
    """
    Committed entries and votes are there after a crash of either kind; later ones not.
    """
    log = bench.open().log
    log.append(entry(1))
    log.set_hard_state(HardState(Term(1), MemberId("n2")))
    log.commit()
    log.append(entry(2))
    log.set_hard_state(HardState(Term(2), None))
    bench.disk.crash(lose_unsynced=power)

    log = bench.open().log

    assert log.last == Position(Index(1), Term(1))
    assert log.hard_state == HardState(Term(1), MemberId("n2"))
    assert log.incarnation == 2


@pytest.mark.parametrize("power", [False, True])
def test_the_state_survives_a_kill_and_is_rebuilt_after_a_power_loss(
    bench: Bench, power: bool
) -> None:
    """
    It is never synced: only another boot id, or its absence, tells the two apart.
    """
    opened = bench.open()
    fill(opened, 3)
    name = take_snapshot(bench, opened)
    fill(opened, 5)
    bench.disk.crash(lose_unsynced=power)

    opened = bench.open()

    assert applied(opened) == (3 if power else 5)
    assert bench.disk.rebuilds == int(power)
    assert opened.log.base.snapshot == name


def test_a_clean_stop_syncs_the_state(bench: Bench) -> None:
    """
    After an orderly stop even a power loss costs nothing.
    """
    fill(bench.open(), 3)
    bench.disk.close()
    bench.disk.crash(lose_unsynced=True)

    assert applied(bench.open()) == 3


def test_a_state_that_is_not_of_the_log_is_rebuilt(bench: Bench) -> None:
    """
    A crash between the log's new base and the state's swap: the base decides.
    """
    leader = Bench()
    source = leader.open()
    fill(source, 9)
    source.snapshots.start_copy(Term(1))
    leader.let_time_go_by()
    manifest = source.snapshots.poll_copy()
    assert manifest is not None and not isinstance(manifest, SnapshotFailed)
    opened = bench.open()
    fill(opened, 2)
    data = source.snapshots.read(manifest.name, 0, manifest.size_bytes)
    half = len(data) // 2
    assert opened.snapshots.stage(manifest, 0, data[:half]) == half
    assert opened.snapshots.stage(manifest, 5, b"another offset") == half
    assert opened.snapshots.stage(manifest, half, data[half:]) == len(data)
    bench.let_time_go_by()
    assert opened.snapshots.poll_staged() == manifest
    opened.log.reset(Base(Position(Index(9), Term(1)), manifest.name))
    opened.log.commit()
    bench.disk.crash(lose_unsynced=False)

    opened = bench.open()

    assert applied(opened) == 9
    assert opened.log.last == Position(Index(9), Term(1))


def test_a_missing_snapshot_stops_the_start(bench: Bench) -> None:
    """
    There is nothing to rebuild from: refuse, and say what is missing.
    """
    opened = bench.open()
    fill(opened, 3)
    name = take_snapshot(bench, opened)
    opened.snapshots.retain(set())
    bench.disk.crash(lose_unsynced=True)

    with pytest.raises(StorageError, match=name):
        bench.open()


def test_what_was_staged_wrongly_is_thrown_away(bench: Bench) -> None:
    """
    A piece that was damaged on the way fails the whole, and nothing is replaced.
    """
    opened = bench.open()
    fill(opened, 3)
    name = take_snapshot(bench, opened)
    manifest = opened.snapshots.manifest(name)
    assert manifest is not None
    twin = Bench()
    other = twin.open()
    other.snapshots.stage(manifest, 0, bytes(manifest.size_bytes))
    twin.let_time_go_by()

    assert isinstance(other.snapshots.poll_staged(), SnapshotFailed)
    assert other.snapshots.manifest(name) is None
    assert other.snapshots.stage(manifest, 7, b"x") == 0


def test_a_crash_ends_a_copy_under_way(bench: Bench) -> None:
    """
    Its result never comes, and wakes nobody.
    """
    opened = bench.open()
    fill(opened, 3)
    opened.snapshots.start_copy(Term(1))
    bench.disk.crash(lose_unsynced=False)
    bench.open()
    bench.let_time_go_by()

    assert bench.woken == 0
    assert not bench.disk.snapshots


def test_views_show_the_last_commit(bench: Bench) -> None:
    """
    A reader sees nothing of a transaction under way, in either order of scan.
    """
    opened = bench.open()
    store = opened.state.store
    store.put(b"a", b"1")
    store.put(b"b", b"1")
    opened.state.commit()
    store.put(b"a", b"2")
    store.put(b"c", b"2")
    store.delete(b"b")

    with opened.state.view() as reader:
        assert reader.get(b"a") == b"1"
        assert list(reader.scan(b"a", b"z")) == [(b"a", b"1"), (b"b", b"1")]
        assert list(reader.scan_back(b"a", b"z")) == [(b"b", b"1"), (b"a", b"1")]
    bench.disk.crash(lose_unsynced=False)
    assert list(bench.disk.state.store.items()) == [(b"a", b"1"), (b"b", b"1")]


def test_a_trap_stops_the_process_at_its_place(bench: Bench) -> None:
    """
    Before the log's commit nothing is durable; after it everything is.
    """
    for point, last in (("log.before", 0), ("log.after", 1)):
        log = bench.open().log
        log.append(entry(1))
        bench.disk.trap = (point, SimulatedCrash())
        with pytest.raises(SimulatedCrash):
            log.commit()
        bench.disk.crash(lose_unsynced=True)
        assert bench.disk.durable.last.index == last


def test_a_folder_of_somebody_else_is_refused(bench: Bench) -> None:
    """
    Neither another cluster nor another member may use it.
    """
    bench.disk.check_identity("c", MemberId("n1"))
    with pytest.raises(WrongStore, match="n1"):
        bench.disk.check_identity("c", MemberId("n2"))
    with pytest.raises(WrongStore, match="'c'"):
        bench.disk.check_identity("d", MemberId("n1"))
    assert bench.open().log.base == Base(ORIGIN, "")


# --- what a power loss or a failed sync leaves of a commit under way ---------


def interrupted(seed: int, *, tears: bool, error: BaseException, power: bool) -> list[int]:
    """The log after a commit of four entries, over one of two, that was interrupted
    between the write and the sync."""
    bench = Bench()
    bench.disk.rng.seed(seed)
    bench.disk.tears = tears
    log = bench.open().log
    for index in (1, 2):
        log.append(entry(index))
    log.commit()
    for index in (3, 4, 5, 6):
        log.append(entry(index))
    bench.disk.trap = ("log.written", error)
    with pytest.raises(type(error)):
        log.commit()
    bench.disk.crash(lose_unsynced=power)
    log = bench.open().log
    assert [one.index for one in log.read(Index(1), 1 << 20)] == list(
        range(1, log.last.index + 1)
    )
    return list(range(1, log.last.index + 1))


@pytest.mark.parametrize(("tears", "ends"), [(True, {2, 3, 4, 5, 6}), (False, {2, 6})])
def test_a_power_loss_keeps_the_first_records_of_a_commit_under_way(
    tears: bool, ends: set[int]
) -> None:
    """
    What was synced before is always there. Of the rest all or nothing, or, of a log that
    tears, any first part.
    """
    found = {
        interrupted(seed, tears=tears, error=SimulatedCrash(), power=True)[-1]
        for seed in range(60)
    }

    assert found == ends


def test_a_kill_between_write_and_sync_loses_nothing() -> None:
    """
    The kernel has it, and the next process syncs before it says anything.
    """
    found = interrupted(1, tears=True, error=SimulatedCrash(), power=False)

    assert found[-1] == 6


def test_after_a_failed_sync_anything_of_it_may_be_there() -> None:
    """
    Also without a power loss: the kernel may have dropped what it could not write.
    """
    found = {
        interrupted(seed, tears=True, error=StorageError("no"), power=False)[-1]
        for seed in range(60)
    }

    assert found == {2, 3, 4, 5, 6}


def test_a_torn_commit_is_counted(bench: Bench) -> None:
    """
    So that a run says how many there were.
    """
    bench.disk.rng.seed(0)
    log = bench.open().log
    log.append(entry(1))
    bench.disk.trap = ("log.written", SimulatedCrash())
    with pytest.raises(SimulatedCrash):
        log.commit()
    bench.disk.crash(lose_unsynced=True)

    assert bench.disk.torn_tails == (0 if bench.disk.durable.last.index else 1)


def test_a_spike_slows_one_commit_down(bench: Bench) -> None:
    """
    The next one, and only if there is something to commit.
    """
    bench.disk.commit_s, bench.disk.spike_s = 0.25, 2.0
    log = bench.open().log
    log.commit()
    spent = []
    for index in (1, 2):
        bench.disk.spent_s = 0.0
        log.append(entry(index))
        log.commit()
        spent.append(bench.disk.spent_s)

    assert spent == [2.25, 0.25]
