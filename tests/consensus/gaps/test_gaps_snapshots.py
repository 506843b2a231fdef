"""Snapshots: taken, sent, installed and loaded.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from raftstate.core.types import ORIGIN, MemberId
from raftstate.storage.environment import DATA
from tests.consensus.gaps.images import PAGE, flip
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import KeyValue, StockCluster, get
from tests.sim.disk import SimulatedCrash
from tests.storage.member import Member, copy_folder

# --- S10 -----------------------------------------------------------------------


def test_s10_a_kill_between_dump_and_cut_loses_nothing_stock(tmp_path: Path) -> None:
    """
    A dump that is newer than the journal's beginning empties the journal at the next
    start: a kill right after the dump loses what was acknowledged since.
    """
    cluster = StockCluster(journals=tmp_path, calm=True)
    cluster.elect("a")
    answers = [cluster.write("a", f"k{number}") for number in range(10)]
    cluster.ticks(5)
    cluster.isolate("c")
    cluster.nodes["b"].forceLogCompaction()
    cluster.beat("b")  # the dump is in place; the journal is cut in the next tick
    answers += [cluster.write("a", f"k{number}") for number in range(10, 20)]
    for _ in range(3):
        cluster.tick(only="a")
    assert all(answer.succeeded for answer in answers)

    cluster.crash("b")
    cluster.start("b")
    cluster.beat("b")
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")

    assert "k19" not in cluster.nodes["b"].data
    assert "k19" not in cluster.nodes["c"].data


@pytest.mark.parametrize("place", ["log.before", "log.after"])
def test_s10_a_kill_between_dump_and_cut_loses_nothing(place: str) -> None:
    """The same with ours: the log is whole until a commit cuts it, snapshot or not."""
    cluster = OurCluster(compact_entries=8)
    cluster.elect("a")
    cluster.disks["b"].copy_s = 3.0
    answers = [cluster.write("a", f"k{number}") for number in range(10)]
    cluster.tick()
    for number in range(10, 20):
        answers.append(cluster.write("a", f"k{number}"))
        cluster.tick(0.02)
    cluster.isolate("c")
    answers.append(cluster.write("a", "k20"))
    cluster.ticks(3)
    assert all(answer.succeeded for answer in answers)
    end = cluster.end("b")
    assert not cluster.disks["b"].snapshots
    cluster.advance(5.0)
    assert cluster.disks["b"].snapshots

    cluster.disks["b"].trap = (place, SimulatedCrash())
    with pytest.raises(SimulatedCrash):
        cluster.beat("b")
    cluster.crash("b")
    cluster.start("b")
    assert cluster.end("b") == end
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")

    assert cluster.agree()
    assert all(cluster.holders(f"k{number}") == ["b", "c"] for number in range(21))


def test_s10_files_between_snapshot_and_cut_lose_nothing(tmp_path: Path) -> None:
    """The same on real files: pictures of the folder at each step open with everything."""
    member = Member(tmp_path / "data")
    member.write(10)
    manifest = member.snapshot()
    member.write(10)
    copy_folder(member.data_dir, tmp_path / "named")
    member.cut(manifest)
    copy_folder(member.data_dir, tmp_path / "cut")
    member.close()

    for picture in ("named", "cut"):
        for boot in ("this-boot", "another-boot"):
            copied = copy_folder(tmp_path / picture, tmp_path / f"{picture}, {boot}")
            opened = Member(copied, boot_id=boot)
            opened.check()
            assert opened.log.last.index == 20
            opened.close()


# --- S11 -----------------------------------------------------------------------


def test_s11_nobody_runs_on_a_state_that_was_not_loaded_stock(tmp_path: Path) -> None:
    """
    A dump that cannot be loaded is logged and forgotten: the node votes, leads, shows an
    empty state, applies nothing ever again, and answers nobody.
    """
    cluster = StockCluster(journals=tmp_path, calm=True)
    cluster.elect("a")
    for number in range(30):
        cluster.write("a", f"k{number}")
    cluster.ticks(5)
    for node in cluster.nodes.values():
        node.forceLogCompaction()
    cluster.ticks(4)
    for member in "abc":
        cluster.crash(member)
        os.truncate(tmp_path / f"{member}.dump", 20)
    for member in "abc":
        cluster.start(member)
    cluster.elect("a")
    answer = cluster.write("a", "x")
    cluster.ticks(10)

    assert cluster.role("a") == "leader"
    assert cluster.nodes["a"].data == {}
    assert not answer.done


@pytest.mark.parametrize("damage", ["flipped", "cut short", "missing"])
def test_s11_nobody_runs_on_a_state_that_was_not_loaded(tmp_path: Path, damage: str) -> None:
    """
    The same with ours: where state and snapshot are gone, the member begins anew, in
    quarantine, and what it had is set aside.
    """
    member = Member(tmp_path / "data")
    member.write(30)
    member.cut(member.snapshot())
    member.close()
    shutil.rmtree(tmp_path / "data" / "state-1")
    (folder,) = (tmp_path / "data" / "snapshots").glob("snap-*")
    image = folder / DATA
    if damage == "flipped":
        image.write_bytes(flip(image.read_bytes(), 3 * PAGE))
    elif damage == "cut short":
        os.truncate(image, PAGE)
    else:
        shutil.rmtree(folder)

    member = Member(tmp_path / "data")

    assert "snapshot" in member.storage.quarantined
    assert member.log.last == ORIGIN
    assert member.log.identity.disk_id.endswith(".1")
    assert not member.log.hard_state.settled
    assert (tmp_path / "data" / "damaged-1").is_dir()
    member.close()


# --- S12 -----------------------------------------------------------------------


def test_s12_a_snapshot_with_a_hole_is_not_installed_stock(tmp_path: Path) -> None:
    """
    Pieces of a snapshot have no offset, and one that cannot be loaded is acknowledged
    with the end of the old log: a write is acknowledged with 2 copies of 5, and lost.
    """
    cluster = StockCluster(
        "abcde", journals=tmp_path, conf={"logCompactionBatchSize": 256}, calm=True
    )
    cluster.elect("a")
    cluster.isolate("a")
    cluster.heal("a", "b")
    for number in range(60):
        cluster.write("a", f"early{number}")
    cluster.ticks(3)
    cluster.isolate("b")
    cluster.elect("c")
    rng = random.Random(12)
    for number in range(30):
        cluster.write("c", f"k{number}", rng.randbytes(100))
    cluster.ticks(4)
    cluster.nodes["c"].forceLogCompaction()
    cluster.ticks(3)
    cluster.heal("b", "c")
    cluster.hold("c", "b")
    link = cluster.links[("c", "b")]
    while not any("serialized" in message for message in link):
        cluster.tick(0.2, only="c")
        if not any("serialized" in message for message in link):
            cluster.deliver("c", "b")
            cluster.pump()
    del link[1]  # one piece went down with the old connection
    cluster.deliver("c", "b")
    cluster.pump()
    matches = {
        node.id: match for node, match in get(cluster.nodes["c"], "raftMatchIndex").items()
    }
    assert matches["b"] > cluster.end("c")

    for other in "abe":
        cluster.cut("c", other)
    answer = cluster.write("c", "important")
    cluster.ticks(3)
    assert answer.succeeded
    cluster.crash("c")
    cluster.crash("d")
    cluster.heal()
    cluster.elect("e")
    assert cluster.holders("important") == []


@pytest.mark.parametrize("fault", ["lost", "flipped"])
def test_s12_a_snapshot_with_a_hole_is_not_installed(fault: str) -> None:
    """
    The same with ours: a piece at another offset changes nothing, and what does not verify
    is thrown away; only what is installed is acknowledged, and the good state stays.
    """
    cluster = OurCluster("abcde", compact_entries=10, chunk_bytes=256)
    cluster.elect("a")
    cluster.isolate("a")
    cluster.heal("a", "b")
    for number in range(60):
        cluster.write("a", f"early{number}")
        cluster.beat("a")
        cluster.pump()
    cluster.isolate("b")
    cluster.elect("c")
    for number in range(30):
        cluster.write("c", f"k{number}")
        cluster.tick()
    cluster.run(5.0, until=lambda: cluster.nodes["c"].status().first_index > 20)
    cluster.heal("b", "c")
    cluster.hold("c", "b")
    state = cluster.nodes["b"].status().state_hash
    pieces = 0
    for _ in range(200):
        cluster.tick(0.05, only="c")
        link = cluster.links[("c", "b")]
        if link and link[0].HasField("install_snapshot"):
            pieces += 1
            if pieces == 2:
                if fault == "lost":
                    link.popleft()
                else:
                    data = link[0].install_snapshot.data
                    link[0].install_snapshot.data = flip(data, 7)
                break
        cluster.deliver("c", "b", 1)
        cluster.pump()
    assert pieces == 2
    for other in "ade":
        cluster.cut("c", other)
    cluster.write("c", "important")
    for _ in range(3):
        cluster.deliver("c", "b")
        cluster.pump()
        cluster.tick(0.05, only="bc")
    assert cluster.nodes["c"].engine.match_index(MemberId("b")) == 0
    assert cluster.nodes["b"].status().state_hash == state

    cluster.heal()
    cluster.release("c", "b")
    cluster.run(20.0, until=lambda: cluster.agree() and len(cluster.holders("k29")) == 5)
    assert cluster.nodes["b"].status().snapshots_installed > 0


# --- S14 -----------------------------------------------------------------------


def test_s14_a_compacted_log_has_its_snapshot_on_disk_stock(tmp_path: Path) -> None:
    """
    With a journal and no name for a dump, the snapshot is in memory only, and the journal
    is cut all the same: after a restart everything is gone.
    """
    cluster = StockCluster("a", journals=tmp_path, conf={"fullDumpFile": None})
    cluster.run(5.0, until=cluster.leader)
    answers = [cluster.write("a", f"k{number}") for number in range(10)]
    cluster.ticks(4)
    assert all(answer.succeeded for answer in answers)
    cluster.nodes["a"].forceLogCompaction()
    cluster.ticks(12)
    cluster.crash("a")
    cluster.start("a")
    cluster.run(5.0, until=cluster.leader)
    cluster.ticks(4)

    assert cluster.nodes["a"].data == {}


def test_s14_a_compacted_log_has_its_snapshot_on_disk(tmp_path: Path) -> None:
    """
    The same with ours: a log is cut only to a base that names a durable snapshot, so a
    state that is lost with its machine's power is made again.
    """
    cluster = OurCluster(compact_entries=8)
    cluster.elect("a")
    for number in range(20):
        cluster.write("a", f"k{number}")
        cluster.tick()
    cluster.ticks(4)
    for member in "abc":
        base = cluster.nodes[member].engine.log.base
        assert base.position.index > 0
        assert base.snapshot in cluster.disks[member].snapshots
        cluster.crash(member, power=True)
    for member in "abc":
        cluster.start(member)
    cluster.elect("a")
    assert all(cluster.holders(f"k{number}") == ["a", "b", "c"] for number in range(20))

    one = Member(tmp_path / "data")
    one.write(20)
    one.cut(one.snapshot())
    one.close()
    shutil.rmtree(tmp_path / "data" / "state-1")
    one = Member(tmp_path / "data")
    one.check()
    assert one.log.last.index == 20
    one.close()


# --- S20 -----------------------------------------------------------------------


class Gate:
    """What takes as long to write into a dump as the pipe, if there is one, is silent."""

    pipe: int | None = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        if self.pipe is not None:
            os.read(self.pipe, 1)
        return Gate, ()


class Slow(KeyValue):
    """Has such a thing in its state."""

    def __init__(self, *args: Any, **conf: Any) -> None:
        KeyValue.__init__(self, *args, **conf)
        self.slow = Gate()


def test_s20_an_older_copy_does_not_replace_a_newer_one_stock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A child that writes a dump is not stopped by a snapshot that is installed meanwhile:
    its older dump takes the place of the newer, and the next start clears the journal.
    """
    cluster = StockCluster(journals=tmp_path, make=Slow, calm=True)
    cluster.crash("b")
    cluster.start("b", useFork=True)
    cluster.elect("a")
    for number in range(10):
        cluster.write("a", f"old{number}")
    cluster.ticks(4)
    slow, go_on = os.pipe()
    monkeypatch.setattr(Gate, "pipe", slow)
    cluster.nodes["b"].forceLogCompaction()
    cluster.beat("b")  # its child begins
    monkeypatch.undo()
    child = get(cluster.nodes["b"], "serializer")._Serializer__pid
    cluster.isolate("b")
    for number in range(10):
        cluster.write("a", f"new{number}")
    cluster.ticks(4)
    cluster.nodes["a"].forceLogCompaction()
    cluster.ticks(3)
    cluster.heal()
    cluster.ticks(6)
    assert "new9" in cluster.nodes["b"].data
    cluster.isolate("c")
    answers = [cluster.write("a", f"last{number}") for number in range(5)]
    cluster.ticks(4)
    assert all(answer.succeeded for answer in answers)

    os.write(go_on, b"1")
    assert os.waitpid(child, 0) == (child, 0)
    os.close(slow)
    os.close(go_on)
    cluster.crash("b")
    cluster.start("b")
    cluster.beat("b")
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("c")
    assert cluster.holders("last4") == []


def test_s20_an_older_copy_does_not_replace_a_newer_one() -> None:
    """The same with ours: a copy that an install has overtaken is thrown away."""
    cluster = OurCluster(compact_entries=8)
    cluster.elect("a")
    cluster.disks["b"].copy_s = 3.0
    for number in range(10):
        cluster.write("a", f"old{number}")
        cluster.tick(0.02)
    assert cluster.nodes["b"].engine._compaction._copying
    cluster.isolate("b")
    for number in range(20):
        cluster.write("a", f"new{number}")
        cluster.tick(0.02)
    cluster.run(1.0, until=lambda: cluster.nodes["a"].status().first_index > 20)
    # What came from the leader is verified long before the own copy is done.
    cluster.disks["b"].copy_s = 0.05
    cluster.heal()
    follower = cluster.nodes["b"]
    cluster.run(1.5, until=lambda: follower.status().snapshots_installed == 1)
    assert follower.engine._compaction._copying
    installed = follower.engine.log.base
    cluster.isolate("c")
    answers = [cluster.write("a", f"last{number}") for number in range(5)]
    cluster.ticks(4)
    assert all(answer.succeeded for answer in answers)
    cluster.run(6.0, until=lambda: not follower.engine._compaction._copying)

    assert follower.engine.log.base == installed
    cluster.crash("b", power=True)
    cluster.start("b")
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")
    assert cluster.agree()
    for key in ("old9", "new19", "last4"):
        assert cluster.holders(key) == ["b", "c"]
