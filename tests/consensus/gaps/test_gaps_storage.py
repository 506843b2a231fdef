"""Storage: what is left after a crash, and what is made of it.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

import mmap
import os
import random
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysyncobj.journal
import pytest
from pysyncobj.journal import FileJournal

from raftstate.core.ports import Base, Entry, Identity, StorageError
from raftstate.core.types import ORIGIN, Index, MemberId, Position, Term
from raftstate.storage.environment import DATA
from raftstate.storage.lmdb_log import COMMITTED, LmdbLog
from tests.consensus.gaps.images import PAGE, flip, page
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import StockCluster
from tests.sim.disk import SimulatedCrash
from tests.storage.member import copy_folder

MEMBER = MemberId("n1")
IDENTITY = Identity("cluster", 1, MEMBER, "disk")
MAP_BYTES = 16 << 20


def command(number: int) -> bytes:
    """About 200 bytes that tell which they are."""
    return b"\0" + b"%05d" % number * 40


def make_log(folder: Path) -> LmdbLog:
    """A new log on real files."""
    LmdbLog.create(folder, IDENTITY, map_bytes=MAP_BYTES)
    return open_log(folder)


def open_log(folder: Path) -> LmdbLog:
    """A log on real files, as a new process finds it."""
    return LmdbLog(folder, cluster_id="cluster", member_id=MEMBER, map_bytes=MAP_BYTES)


def fill(log: LmdbLog, first: int, last: int, term: int = 1) -> None:
    """Append and commit entries first..last."""
    for index in range(first, last + 1):
        log.append(Entry(Index(index), Term(term), command(index + 1000 * (term - 1))))
    log.commit()


def contents(log: LmdbLog) -> list[Entry]:
    """All entries behind the base."""
    return log.read(Index(log.base.position.index + 1), 1 << 30)


# --- S5 ------------------------------------------------------------------------


def test_s05_what_is_acknowledged_is_on_disk_stock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing is ever synced: not entries, not votes, not dumps. After a power loss of the
    rack there is no telling what is left; at worst, nothing.
    """
    synced: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        return lambda *_: synced.update([name])

    class Mapping(mmap.mmap):
        def flush(self, *args: Any) -> None:
            synced["msync"] += 1

    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, name, count(name))
    monkeypatch.setattr(pysyncobj.journal.mmap, "mmap", Mapping)
    cluster = StockCluster(journals=tmp_path, calm=True)
    cluster.elect("a")
    answers = [cluster.write("a", f"k{number}") for number in range(50)]
    cluster.ticks(5)
    cluster.nodes["a"].forceLogCompaction()
    cluster.ticks(3)
    assert all(answer.succeeded for answer in answers)
    assert synced == {}

    for member in "abc":
        cluster.crash(member)
    for file in tmp_path.iterdir():
        file.unlink()  # which is how much of each was synced
    for member in "abc":
        cluster.start(member)
    cluster.elect("a")
    assert cluster.holders("k0") == []


def test_s05_what_is_acknowledged_is_on_disk(tmp_path: Path) -> None:
    """
    The same with ours: nothing is acknowledged before the log's commit has returned, and
    a commit returns when it is synced.
    """
    cluster = OurCluster(compact_entries=20)
    cluster.elect("a")
    answers = []
    for number in range(50):
        answers.append(cluster.write("a", f"k{number}"))
        while not answers[-1].done:
            cluster.tick(0.01)
    # A follower whose power goes while it syncs has not acknowledged.
    cluster.hold("b", "a")
    cluster.hold("a", "b")
    cluster.write("a", "late")
    cluster.beat("a")
    cluster.disks["b"].trap = ("log.before", SimulatedCrash())
    with pytest.raises(SimulatedCrash):
        cluster.deliver("a", "b")
    assert "append_reply" not in cluster.waiting("b", "a")
    cluster.release("b", "a")
    cluster.release("a", "b")
    for member in "abc":
        cluster.crash(member, power=True)
    for member in "abc":
        cluster.start(member)
    cluster.elect("c")
    cluster.run(5.0, until=cluster.agree)
    assert all(answer.succeeded for answer in answers)
    assert all(cluster.holders(f"k{number}") == ["a", "b", "c"] for number in range(50))

    log = make_log(tmp_path / "log")
    flags = log._env.flags()
    assert flags["sync"] and flags["metasync"]
    assert not flags["writemap"] and not flags["map_async"]
    log.close()


# --- S6 ------------------------------------------------------------------------


def test_s06_what_a_power_loss_leaves_is_recognised_stock(tmp_path: Path) -> None:
    """
    A journal has no checksum, and its pages are written in any order: it does not start,
    or deleted entries of an old term are back in silence, or a command is another one.
    """
    path = tmp_path / "journal"
    journal = FileJournal(str(path))
    for index in range(1, 61):
        journal.add(command(index), index, 1)
    journal.flush()
    old = path.read_bytes()
    journal.deleteEntriesFrom(30)
    for index in range(31, 61):
        journal.add(command(1000 + index), index, 2)
    journal._destroy()
    new = path.read_bytes()

    path.write_bytes(new[:PAGE] + old[PAGE:])  # of all pages only the first was written
    journal = FileJournal(str(path))
    assert [term for _, _, term in journal[:]] == [1] * 60
    journal._destroy()

    path.write_bytes(new[:PAGE] + bytes(len(new) - PAGE))
    assert "unpack requires" in fault_of(path)

    path.write_bytes(flip(new, new.index(command(3)) + 9))
    journal = FileJournal(str(path))
    assert journal[2][0] != command(3)
    journal._destroy()


def fault_of(path: Path) -> str:
    """Why a journal does not start; the file that it leaves open goes with the exception."""
    try:
        FileJournal(str(path))
    except struct.error as error:
        return str(error)
    return ""


def test_s06_what_a_power_loss_leaves_is_recognised(tmp_path: Path) -> None:
    """
    The same with ours: an interrupted commit leaves the log as it was, whatever pages of
    it were written; a flipped bit, pages lost behind a finished commit, or a finished
    commit that is missing as a whole, are noticed.
    """
    folder = tmp_path / "log"
    path, mark = folder / DATA, folder / COMMITTED
    log = make_log(folder)
    fill(log, 1, 60)
    before, old, mark_before = contents(log), path.read_bytes(), mark.read_bytes()
    log.truncate(Index(31))
    fill(log, 31, 60, term=2)
    after, new, mark_after = contents(log), path.read_bytes(), mark.read_bytes()
    log.close()

    def found(image: bytes, marked: bytes) -> list[Entry] | None:
        path.write_bytes(image)
        mark.write_bytes(marked)  # opening commits as well, and moves it
        try:
            opened = open_log(folder)
        except StorageError:
            return None
        try:
            return contents(opened)
        except StorageError:
            return None
        finally:
            opened.close()

    assert found(new, mark_after) == after
    assert found(new, mark_before) == after  # the mark itself is not synced
    assert found(old, mark_before) == before
    assert found(old, mark_after) is None  # the mark says that a commit had returned
    # LMDB writes its first two pages last, and only when all else is synced.
    rng = random.Random(6)
    pages = [at for at in range(2 * PAGE, len(new), PAGE) if page(old, at) != page(new, at)]
    assert len(pages) > 5
    for _ in range(30):
        image = new
        for at in rng.sample(pages, rng.randrange(len(pages) + 1)):
            image = image[:at] + page(old, at).ljust(PAGE, b"\0") + image[at + PAGE :]
        assert found(old[: 2 * PAGE] + image[2 * PAGE :], mark_before) == before
    lost = old + bytes(len(new) - len(old))
    assert found(new[: 2 * PAGE] + lost[2 * PAGE :], mark_before) is None
    for index in (1, 30, 31, 60):
        data = after[index - 1].data
        assert found(new.replace(data, flip(data, 9)), mark_before) is None


# --- S7 (see test_gaps_elections.py too) ------------------------------------------


def test_s07_a_vote_that_cannot_be_read_is_not_taken_for_none_stock(tmp_path: Path) -> None:
    """A term and vote that cannot be read are taken for none, without a word."""
    path = tmp_path / "journal"
    journal = FileJournal(str(path))
    journal.setCurrentTerm(7, "a")
    journal._destroy()
    meta = Path(f"{path}.meta")
    meta.write_bytes(meta.read_bytes()[:-3])

    journal = FileJournal(str(path))

    assert (journal.getCurrentTerm(), journal.getVotedForNodeId()) == (0, None)
    journal._destroy()


@pytest.mark.parametrize("record", [b"", b"\0\0\0\0", b"\x01\x02\x03\x04\x08\x07"])
def test_s07_a_vote_that_cannot_be_read_is_not_taken_for_none(
    tmp_path: Path, record: bytes
) -> None:
    """The same with ours: such a folder is refused."""
    log = make_log(tmp_path / "log")
    log.set_hard_state(log.hard_state._replace(term=Term(7), vote=MemberId("a")))
    log.commit()
    with log._writing() as txn:
        txn.put(b"hard_state", record, db=log._meta)
    log.commit()
    log.close()

    with pytest.raises(StorageError, match="hard_state"):
        open_log(tmp_path / "log")


# --- S9 ------------------------------------------------------------------------


class Killed(Exception):
    """The process ends here."""


def test_s09_a_kill_during_compaction_loses_nothing_stock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Compaction empties the journal and adds what is kept, one by one: a kill in the middle
    loses the end, acknowledged as it is.
    """
    path = tmp_path / "journal"
    journal = FileJournal(str(path))
    for index in range(1, 201):
        journal.add(command(index), index, 1)
    real, left = FileJournal.add, iter(range(20))

    def add(self: FileJournal, *entry: Any) -> None:
        if next(left, None) is None:
            raise Killed
        real(self, *entry)

    monkeypatch.setattr(FileJournal, "add", add)
    with pytest.raises(Killed):
        journal.deleteEntriesTo(100)
    monkeypatch.undo()
    journal._destroy()

    journal = FileJournal(str(path))

    assert [index for _, index, _ in journal[:]] == list(range(101, 121))
    journal._destroy()


@pytest.mark.parametrize("moment", ["before the commit", "in the sweep", "after the commit"])
def test_s09_a_kill_during_compaction_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The same with ours: a cut is one transaction, and what it leaves is swept later."""
    log = make_log(tmp_path / "log")
    fill(log, 1, 200)
    before = contents(log)
    log.cut(Base(Position(Index(100), Term(1)), "snapshot"))
    if moment == "in the sweep":
        delete_some_and_die(log, monkeypatch)
        with pytest.raises(Killed):
            log.commit()
    elif moment == "after the commit":
        log.commit()
    copy_folder(tmp_path / "log", tmp_path / "left")
    log.close()

    log = open_log(tmp_path / "left")

    cut = moment == "after the commit"
    assert log.base.position == (Position(Index(100), Term(1)) if cut else ORIGIN)
    assert contents(log) == (before[100:] if cut else before)
    log.close()


def delete_some_and_die(log: LmdbLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next sweep of a log end in its middle."""

    def sweep(txn: Any) -> None:
        with txn.cursor(log._entries) as cursor:
            assert cursor.first()
            for _ in range(50):
                cursor.delete()
        raise Killed

    monkeypatch.setattr(log, "_sweep", sweep)


# --- S19 -----------------------------------------------------------------------


def test_s19_a_commit_index_is_not_older_than_its_log_stock(tmp_path: Path) -> None:
    """
    The commit index is stored beside the log and believed without it: after a power loss
    that took the end of the log, a leader that reaches nobody acknowledges.
    """
    cluster = StockCluster(journals=tmp_path, calm=True)
    cluster.elect("a")
    for member in "abc":
        cluster.crash(member)
        journal = FileJournal(str(tmp_path / f"{member}.journal"))
        journal.deleteEntriesFrom(1)
        journal.setRaftCommitIndex(50)
        journal.setCurrentTerm(1, None)
        journal._destroy()
    for member in "abc":
        cluster.start(member)
    cluster.campaign("a")
    cluster.pump()
    cluster.isolate("a")
    answer = cluster.write("a", "x")
    cluster.ticks(3)

    assert answer.succeeded
    assert cluster.end("a") < 50


def test_s19_a_commit_index_is_not_older_than_its_log() -> None:
    """
    The same with ours: no commit index is stored, and a state that is ahead of its log is
    not believed.
    """
    cluster = OurCluster()
    cluster.elect("a")
    for number in range(30):
        cluster.write("a", f"k{number}")
        cluster.tick()
    for member in "abc":
        cluster.crash(member)
        cluster.disks[member].durable.truncate(Index(20))
    for member in "abc":
        cluster.start(member)
        assert cluster.nodes[member].engine.commit_index <= 19
    cluster.campaign("a")
    cluster.pump()
    cluster.isolate("a")
    answer = cluster.write("a", "x")
    cluster.ticks(3)

    assert cluster.role("a") == "leader"
    assert not answer.done
    cluster.heal()
    cluster.run(5.0, until=lambda: answer.done)
    assert answer.succeeded
