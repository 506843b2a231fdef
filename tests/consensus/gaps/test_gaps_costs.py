"""Work that grows where it need not, and waiting that nobody asked for: rows P1 to P4.

What is counted is work (entries, messages, ticks), never seconds.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pysyncobj.config import SERIALIZER_STATE
from pysyncobj.journal import FileJournal, MemoryJournal

from raftstate.core.ports import Answer as Told
from raftstate.core.ports import Base, Entry
from raftstate.core.types import Index, Position, Term
from raftstate.storage import lmdb_log
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, Outcome
from tests.consensus.gaps import ours, stock
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import StockCluster
from tests.storage.member import Member, log_entry


class CountingJournal(MemoryJournal):  # type: ignore[misc]  # pysyncobj is untyped
    """Counts the entries that slices hand out."""

    def __init__(self, entries: list[Any]) -> None:
        super().__init__()
        self.sliced = 0
        for entry in entries:
            self.add(*entry)

    def __getitem__(self, item: Any) -> Any:
        found = super().__getitem__(item)
        if isinstance(item, slice):
            self.sliced += len(found)
        return found


def counting_reads(cluster: OurCluster, member: str) -> list[int]:
    """Count the entries that each read of a member's log hands out."""
    log = cluster.nodes[member].engine.log
    read, counts = log.read, list[int]()

    def counted(first: Index, bytes_max: int) -> list[Entry]:
        found = read(first, bytes_max)
        counts.append(len(found))
        return found

    log.read = counted  # type: ignore[method-assign]
    return counts


def fill(cluster: StockCluster | OurCluster, count: int, width: int = 50) -> None:
    """Write so many entries at a, one each."""
    for number in range(count):
        cluster.write("a", f"{number:04}-".ljust(width, "v"))
        cluster.tick(0.001)


# --- P1: work ---------------------------------------------------------------------


def test_p01_a_batch_costs_what_is_in_it() -> None:
    """
    Each batch slices the whole rest of the log to take a few entries: what a follower lacks
    costs its square.
    """
    count = 300
    theirs = StockCluster("ab", conf={"appendEntriesBatchSizeBytes": 300}, calm=True)
    node = theirs.elect("a")
    theirs.disconnect("a", "b")
    fill(theirs, count)
    journal = CountingJournal(stock.get(node, "raftLog")[:])
    stock.put(node, "raftLog", journal)
    theirs.connect("a", "b")
    theirs.tick()
    assert theirs.end("b") == theirs.end("a")
    assert journal.sliced > 20 * count

    cluster = OurCluster(append_bytes_max=300)
    cluster.elect("a")
    cluster.isolate("c")
    fill(cluster, count)
    counts = counting_reads(cluster, "a")
    cluster.heal()
    cluster.run(20.0, until=cluster.agree)
    assert count <= sum(counts) < 2 * count
    assert max(counts) < 10


def test_p01_a_tick_applies_a_bounded_amount() -> None:
    """
    All that is committed is applied in one tick, whatever it is: no heartbeat leaves, and
    none is read, until it is done.
    """
    count = 2000
    theirs = StockCluster("ab", calm=True)
    theirs.elect("a")
    for number in range(count):
        theirs.write("a", f"k{number}")
    theirs.ticks(2)
    before = theirs.nodes["b"].raftLastApplied
    theirs.hold("a", "b")
    theirs.ticks(2)
    theirs.deliver("a", "b")
    theirs.beat("b")
    assert theirs.nodes["b"].raftLastApplied - before >= count

    cluster = OurCluster()
    cluster.elect("a")
    cluster.isolate("c")
    for _ in range(40):
        write_at_once(cluster, 100)
        cluster.tick(0.01)
    late = cluster.nodes["c"].engine
    largest = max(len(entry.data) for entry in entries_of(cluster, "a"))
    assert largest > 5000
    applied: list[int] = [late.applied_index]
    cluster.heal()
    step = cluster.step

    def stepping(member: str) -> None:
        step(member)
        if member == "c":
            applied.append(late.applied_index)

    cluster.step = stepping  # type: ignore[method-assign]
    cluster.run(10.0, until=cluster.agree)
    sizes = {entry.index: len(entry.data) for entry in entries_of(cluster, "c")}
    limit = late.config.apply_bytes_max
    assert sum(sizes.values()) > 2 * limit
    for earlier, later in itertools.pairwise(applied):
        assert sum(sizes[Index(index)] for index in range(earlier + 1, later + 1)) <= limit


def write_at_once(cluster: OurCluster, count: int) -> None:
    """Ask a for many sessions in one tick: they become one entry."""
    for number in range(count):
        opening = OpenSessionRequest(session_id=f"{cluster.now:.3f}-{number}", client="c" * 60)
        cluster.nodes["a"].propose(Command(open_session=opening), ours.Answer())


def entries_of(cluster: OurCluster, member: str) -> list[Entry]:
    """All entries in a member's log."""
    return cluster.nodes[member].engine.log.read(Index(1), 1 << 30)


def test_p01_cutting_the_log_does_not_write_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    To drop the beginning of the journal all the rest is written again, entry by entry.
    """
    count, keep = 200, 150
    written: list[int] = []
    add = FileJournal.add

    def counted(journal: Any, command: bytes, index: int, term: int) -> None:
        written.append(index)
        add(journal, command, index, term)

    journal = FileJournal(str(tmp_path / "journal"))
    for index in range(1, count + 1):
        journal.add(b"x", index, 1)
    monkeypatch.setattr(FileJournal, "add", counted)
    journal.deleteEntriesTo(count - keep)
    journal._destroy()
    assert len(written) == keep

    puts: list[bytes] = []
    put = lmdb_log._put
    member = Member(tmp_path / "ours")
    member.write(count, at_a_time=50)
    name = member.snapshot().name

    def counted_put(txn: Any, database: Any, name: bytes, record: Any) -> None:
        puts.append(name)
        put(txn, database, name, record)

    monkeypatch.setattr(lmdb_log, "_put", counted_put)
    member.log.cut(Base(Position(Index(count - keep), Term(1)), name))
    member.log.commit()
    assert puts == [b"base"]
    assert len(member.log.read(Index(count - keep + 1), 1 << 30)) == keep
    member.close()


# --- P2: waiting --------------------------------------------------------------------


def test_p02_a_command_leaves_in_the_tick_that_takes_it_up() -> None:
    """
    A command waits in the leader's log until the next heartbeat is due, and the followers
    hear that it is committed a heartbeat later.
    """

    def ticks_until(cluster: StockCluster | OurCluster, done: Callable[[], object]) -> int:
        for ticks in range(1, 100):
            cluster.advance(0.01)
            cluster.beat("a")
            if done():
                return ticks
        raise AssertionError("it never left")

    theirs = StockCluster(calm=True)
    theirs.elect("a")
    theirs.tick()  # a heartbeat has just left
    before = len(theirs.log)
    theirs.write("a", "k")
    took = ticks_until(theirs, lambda: any(m.get("entries") for _, _, m in theirs.log[before:]))
    assert took >= 9

    cluster = OurCluster()
    cluster.elect("a")
    cluster.tick()
    before = len(cluster.log)
    answer = cluster.write("a", "k")
    took = ticks_until(
        cluster, lambda: [m for _, _, m in cluster.log[before:] if m.append_entries.entries]
    )
    assert took == 1
    cluster.pump()  # one round trip, and no time has passed
    cluster.beat("a")
    assert answer.succeeded


# --- P3: dumps ------------------------------------------------------------------------


def test_p03_the_log_is_not_cut_without_a_snapshot(tmp_path: Path) -> None:
    """
    With a serializer that reports later, the dump is renamed before it is written, the error
    is swallowed, and the log is cut although there is no dump.
    """
    state = [SERIALIZER_STATE.NOT_SERIALIZING]
    conf = {
        "fullDumpFile": str(tmp_path / "dump"),
        "serializer": lambda _name, _data: None,  # it has only begun
        "deserializer": lambda _name: None,
        "serializeChecker": lambda: state[0],
    }
    theirs = StockCluster("a", conf=conf, calm=True)
    node = theirs.elect("a")
    fill(theirs, 5)
    theirs.ticks(3)
    node.forceLogCompaction()
    theirs.tick()
    before = theirs.entries("a")[0][0]
    state[0] = SERIALIZER_STATE.SUCCESS
    theirs.tick()
    assert theirs.entries("a")[0][0] > before
    assert not (tmp_path / "dump").exists()

    cluster = OurCluster(compact_entries=10, keep_entries=2)
    cluster.elect("a")
    base = cluster.nodes["a"].engine.log.base
    for disk in cluster.disks.values():
        disk.copy_fails = 1.0
    fill(cluster, 40)
    cluster.run(1.0)
    assert cluster.nodes["a"].engine.log.base == base
    assert "SNAPSHOT_FAILED" in dict(cluster.nodes["a"].status().alarms)
    for disk in cluster.disks.values():
        disk.copy_fails = 0.0
    cluster.run(60.0, until=lambda: cluster.nodes["a"].engine.log.base != base, turn=0.1)
    assert cluster.nodes["a"].engine.log.base.snapshot in cluster.disks["a"].snapshots
    assert "SNAPSHOT_FAILED" not in dict(cluster.nodes["a"].status().alarms)


def test_p03_no_process_with_threads_is_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A dump is written by a fork of the whole process, threads and locks as they happen to be.
    (That it may deadlock is not waited for: what is asserted is the fork.)
    """
    forks: list[str] = []

    def no_fork() -> int:
        forks.append("forked")
        raise OSError("no fork here")

    monkeypatch.setattr(os, "fork", no_fork)
    conf = {"fullDumpFile": str(tmp_path / "dump"), "useFork": True}
    theirs = StockCluster("a", conf=conf, calm=True)
    node = theirs.elect("a")
    fill(theirs, 5)
    theirs.ticks(3)
    node.forceLogCompaction()
    with pytest.raises(OSError, match="no fork here"):
        theirs.tick()
    assert forks == ["forked"]

    member = Member(tmp_path / "ours")
    member.write(20)
    manifest = member.snapshot()
    member.cut(manifest)
    assert member.log.base.position.index == 20
    member.write(1)
    assert member.log.read(Index(21), 1)[0] == log_entry(21)
    member.close()
    assert forks == ["forked"]


# --- P4: callbacks under a lock ----------------------------------------------------------


def test_p04_a_callback_may_ask_for_more() -> None:
    """
    Tick callbacks run under a lock that is not reentrant: one that adds or removes a
    callback waits for itself. (What is asserted is that it would wait.)
    """
    theirs = StockCluster("a", calm=True)
    node = theirs.elect("a")
    lock = stock.get(node, "onTickCallbacksLock")
    free: list[bool] = []
    node.addOnTickCallback(lambda: free.append(lock.acquire(blocking=False)))
    theirs.tick()
    assert free == [False]

    cluster = OurCluster("a")
    cluster.elect("a")
    first, second = ours.Answer(), ours.Answer()
    replica = cluster.nodes["a"]

    def deliver(batch: list[tuple[object, Told]]) -> None:
        for ticket, told in batch:
            assert isinstance(ticket, ours.Answer)
            ticket.results.append(told)
            if ticket is first:
                opening = OpenSessionRequest(session_id="second")
                replica.propose(Command(open_session=opening), second)

    replica._deliver = deliver
    replica.propose(Command(open_session=OpenSessionRequest(session_id="first")), first)
    cluster.run(1.0, until=lambda: second.succeeded)
    assert isinstance(first.results[0], Outcome)
