"""The log: what a follower keeps of it, and what may count as committed.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

from pathlib import Path

from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import AppendEntries, AppendReply, Envelope, InstallSnapshot
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import Message, StockCluster, get

A, B = MemberId("a"), MemberId("b")


# --- S1 ------------------------------------------------------------------------


def test_s01_a_snapshot_commits_nothing_that_it_did_not_verify_stock(tmp_path: Path) -> None:
    """
    The commit index rises over a log that nobody compared, so a deposed leader reports
    success for a write of its own that exists nowhere else.
    """
    cluster = StockCluster(journals=tmp_path, conf={"logCompactionBatchSize": 64}, calm=True)
    cluster.elect("a")
    cluster.isolate("a")
    lost = cluster.write("a", "lost")
    cluster.ticks(2)
    cluster.elect("b")
    for number in range(20):
        cluster.write("b", f"k{number}")
    cluster.ticks(4)
    cluster.nodes["b"].forceLogCompaction()
    cluster.ticks(3)
    assert not lost.done

    cluster.heal()
    cluster.hold("b", "a")
    for _ in range(2):  # the probe that is rejected, then the first pieces of a snapshot
        cluster.tick(0.2, only="b")
        cluster.deliver("b", "a", 1)
        cluster.pump()
        cluster.beat("a")

    assert lost.succeeded
    cluster.release("b", "a")
    cluster.ticks(6)
    assert cluster.holders("lost") == []


def test_s01_a_snapshot_commits_nothing_that_it_did_not_verify() -> None:
    """The same with ours: the deposed leader says that it does not know."""
    cluster = OurCluster(compact_entries=10, chunk_bytes=64)
    cluster.elect("a")
    cluster.isolate("a")
    lost = cluster.write("a", "lost")
    cluster.ticks(2)
    cluster.elect("b")
    for number in range(20):
        cluster.write("b", f"k{number}")
        cluster.tick()
    cluster.ticks(8)
    assert cluster.nodes["b"].status().first_index > cluster.end("a") + 1

    cluster.heal()
    cluster.hold("b", "a")
    while "install_snapshot" not in cluster.waiting("b", "a"):
        cluster.tick(0.2, only="b")
        cluster.deliver("b", "a", 1)
        cluster.pump()
    cluster.deliver("b", "a")
    # What it holds is not what was committed there, however far the leader is.
    cluster.inject("b", "a", heartbeat_at_the_start(cluster))
    cluster.beat("a")
    assert lost.reasons == [("OUTCOME_UNKNOWN", False)]
    assert not cluster.has("a", "lost")

    cluster.release("b", "a")
    cluster.run(5.0, until=cluster.agree)
    assert cluster.holders("lost") == []
    assert cluster.holders("k19") == ["a", "b", "c"]


def heartbeat_at_the_start(cluster: OurCluster) -> Envelope:
    """A heartbeat of b that proves nothing but the beginning of a's log equal, and says
    that all of it is committed."""
    log = cluster.nodes["a"].engine.log
    beat = AppendEntries(
        prev_index=log.base.position.index,
        prev_term=log.base.position.term,
        commit_index=log.last.index,
    )
    return cluster.message("b", "a", append_entries=beat)


# --- S2 ------------------------------------------------------------------------


def test_s02_a_late_message_removes_no_acknowledged_entry_stock() -> None:
    """
    AppendEntries removes all entries behind its own, matching ones included: one that is
    late takes back what was acknowledged, and the new entries there are never applied.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.isolate("c")
    cluster.write("a", "first")
    cluster.beat("a")
    cluster.tick(only="")
    cluster.clock.now += 0.11
    cluster.beat("a")
    late = cluster.links[("a", "b")].pop()
    assert late["entries"]
    cluster.ticks(3)
    answers = [cluster.write("a", f"w{number}") for number in range(3)]
    cluster.ticks(5)
    assert all(answer.succeeded for answer in answers)

    cluster.crash("a")
    cluster.inject("a", "b", late)
    cluster.heal("b", "c")
    cluster.elect("b")
    cluster.write("b", "after")
    cluster.ticks(5)

    assert "w0" not in cluster.nodes["c"].data
    assert cluster.nodes["b"].data != cluster.nodes["c"].data


def test_s02_a_late_message_removes_no_acknowledged_entry() -> None:
    """The same with ours: entries that match stay, and the writes survive the leader."""
    cluster = OurCluster()
    cluster.elect("a")
    cluster.isolate("c")
    cluster.hold("a", "b")
    cluster.write("a", "first")
    cluster.beat("a")
    (late,) = [e for e in cluster.links[("a", "b")] if e.append_entries.entries]
    cluster.release("a", "b")
    answers = [cluster.write("a", f"w{number}") for number in range(3)]
    cluster.ticks(5)
    assert all(answer.succeeded for answer in answers)

    cluster.crash("a")
    before = cluster.entries("b")
    cluster.inject("a", "b", late)
    assert cluster.entries("b") == before
    cluster.heal("b", "c")
    cluster.elect("b")
    after = cluster.write("b", "after")
    cluster.ticks(5)

    assert after.succeeded
    for key in ("first", "w0", "w1", "w2", "after"):
        assert cluster.holders(key) == ["b", "c"]
    assert cluster.agree()


def test_s02_a_range_that_is_sent_twice_loses_nothing_stock() -> None:
    """
    Links in order are not enough: two rejections under way make the leader send a range
    twice, and the first batch of the second time removes what was acknowledged.
    """
    cluster = StockCluster(conf={"appendEntriesBatchSizeBytes": 300}, calm=True)
    cluster.elect("a")
    cluster.isolate("c")
    answers = [cluster.write("a", f"w{number}", "v" * 100) for number in range(8)]
    cluster.beat("a")
    cluster.hold("a", "b")
    cluster.hold("b", "a")
    cluster.tick(only="a")
    cluster.links[("a", "b")].clear()  # the connection broke, and is there again
    cluster.tick(only="a")
    cluster.tick(only="a")
    cluster.deliver("a", "b")
    cluster.deliver("b", "a", 1)
    cluster.tick(only="a")
    once = len(cluster.links[("a", "b")])
    cluster.deliver("b", "a", 1)
    cluster.tick(only="a")
    cluster.deliver("a", "b", once)
    cluster.deliver("b", "a")
    cluster.clock.now += 0.01
    cluster.beat("a")
    assert all(answer.succeeded for answer in answers)

    cluster.deliver("a", "b", 1)
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")

    assert cluster.holders("w7") == []


def test_s02_a_range_that_is_sent_twice_loses_nothing() -> None:
    """The same with ours: two rejections, and everything that follows from them in order."""
    cluster = OurCluster(append_bytes_max=40)
    cluster.elect("a")
    cluster.isolate("c")
    cluster.hold("a", "b")
    cluster.hold("b", "a")
    answers = []
    for number in range(8):
        answers.append(cluster.write("a", f"w{number}"))
        cluster.beat("a")
    cluster.links[("a", "b")].clear()
    cluster.tick(only="a")
    cluster.tick(only="a")
    cluster.deliver("a", "b")
    assert [e.append_reply.success for e in cluster.links[("b", "a")]] == [False, False]
    cluster.deliver("b", "a", 1)
    sent = len(cluster.log)
    for _ in range(2):
        cluster.deliver("b", "a", 1)
        cluster.tick(only="a")
    while not all(answer.done for answer in answers):
        cluster.deliver("a", "b")
        cluster.deliver("b", "a")
    assert all(answer.succeeded for answer in answers)

    # All of it comes a second time, in order, and the leader dies in the middle.
    again = [
        message for sender, peer, message in cluster.log[sent:] if (sender, peer) == (A, B)
    ]
    assert len([message for message in again if message.append_entries.entries]) > 1
    for message in again[:-1]:
        cluster.inject("a", "b", message)
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")

    assert all(cluster.holders(f"w{number}") == ["b", "c"] for number in range(8))


def test_s02b_a_late_message_during_a_dump_stock() -> None:
    """
    A log that was cut below the index of a dump under way is emptied by that dump, and
    every message raises from then on.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.write("a", "first")
    cluster.beat("a")
    cluster.clock.now += 0.11
    cluster.beat("a")
    late = cluster.links[("a", "b")].pop()
    cluster.ticks(3)
    for number in range(10):
        cluster.write("a", f"w{number}")
    cluster.ticks(5)
    cluster.nodes["b"].forceLogCompaction()
    cluster.beat("b")  # the dump is there; the log is cut in the next tick
    cluster.inject("a", "b", late)
    cluster.beat("b")
    assert len(get(cluster.nodes["b"], "raftLog")) == 0

    cluster.swallow = True
    cluster.ticks(5)

    raised = [type(error) for member, error in cluster.errors if member == "b"]
    assert raised.count(IndexError) >= 5


def test_s02b_a_late_message_during_a_dump() -> None:
    """The same with ours: the log keeps its end, and the cut takes only what it may."""
    cluster = OurCluster(compact_entries=8)
    cluster.elect("a")
    cluster.disks["b"].copy_s = 1.0
    cluster.hold("a", "b")
    cluster.write("a", "first")
    cluster.beat("a")
    (late,) = [e for e in cluster.links[("a", "b")] if e.append_entries.entries]
    cluster.release("a", "b")
    for number in range(10):
        cluster.write("a", f"w{number}")
        cluster.tick(0.02)
    assert cluster.nodes["b"].engine._compaction._copying
    cluster.inject("a", "b", late)

    cluster.run(5.0, until=lambda: cluster.nodes["b"].status().snapshots_taken)
    answer = cluster.write("a", "after")
    cluster.ticks(4)

    assert answer.succeeded
    assert cluster.end("b") == cluster.end("a")
    assert cluster.nodes["b"].status().first_index > late.append_entries.prev_index
    assert cluster.agree()


# --- S3 ------------------------------------------------------------------------


def test_s03_an_acknowledgement_of_an_earlier_term_commits_nothing_stock() -> None:
    """
    An acknowledgement names no term: one for entries that were since replaced raises the
    match index of another time in office, and a write is acknowledged with 2 copies of 5.
    """
    cluster = StockCluster("abcde", calm=True)
    cluster.elect("a")
    for other in "cde":
        cluster.cut("a", other)
    cluster.hold("b", "a")
    for number in range(3):
        cluster.write("a", f"early{number}")
    cluster.ticks(2)
    cluster.heal()
    cluster.elect("c")  # it overwrites them everywhere, b included
    cluster.cut("a", "b", both=False)
    cluster.cut("a", "c")
    cluster.campaign("a")
    cluster.pump()
    cluster.cut("a", "e")
    answer = cluster.write("a", "important")
    cluster.ticks(2)
    assert not answer.done

    cluster.deliver("b", "a")
    cluster.clock.now += 0.01
    cluster.beat("a")

    assert answer.succeeded
    cluster.crash("a")
    cluster.crash("d")
    cluster.elect("e")
    assert cluster.holders("important") == []


def test_s03_an_acknowledgement_of_an_earlier_term_commits_nothing() -> None:
    """The same with ours: what was acknowledged in another term is dropped."""
    cluster = OurCluster("abcde")
    cluster.elect("a")
    for other in "cde":
        cluster.cut("a", other)
    cluster.hold("b", "a")
    for number in range(5):
        cluster.write("a", f"early{number}")
        cluster.beat("a")
    cluster.ticks(2)
    cluster.heal()
    cluster.elect("c")
    cluster.cut("a", "b", both=False)
    cluster.cut("a", "c")
    cluster.campaign("a")
    cluster.pump()
    assert cluster.role("a") == "leader"
    cluster.cut("a", "e")
    answer = cluster.write("a", "important")
    cluster.ticks(2)
    early = [e.append_reply for e in cluster.links[("b", "a")] if e.append_reply.success]
    assert max(reply.match_index for reply in early) >= cluster.end("a")

    cluster.deliver("b", "a")
    cluster.beat("a")

    assert not answer.done
    assert cluster.nodes["a"].engine.match_index(B) == 0
    cluster.heal()
    cluster.release("b", "a")
    cluster.run(3.0, until=lambda: answer.done)
    assert answer.succeeded
    cluster.run(3.0, until=lambda: len(cluster.holders("important")) == 5)


# --- S13 -----------------------------------------------------------------------


def test_s13_an_old_snapshot_takes_nothing_back_stock(tmp_path: Path) -> None:
    """
    A snapshot replaces log and state even where it is older than both: a late rejection
    makes the leader send one, and acknowledged writes are gone.
    """
    cluster = StockCluster(
        journals=tmp_path, conf={"appendEntriesBatchSizeBytes": 40}, calm=True
    )
    cluster.elect("a")
    cluster.isolate("c")
    for number in range(10):
        cluster.write("a", f"old{number}")
    cluster.ticks(4)
    cluster.nodes["a"].forceLogCompaction()
    cluster.ticks(3)
    answers = [cluster.write("a", f"new{number}") for number in range(5)]
    cluster.ticks(4)
    assert all(answer.succeeded for answer in answers)
    applied = cluster.nodes["b"].raftLastApplied

    late: Message = {
        "type": "next_node_idx",
        "next_node_idx": 3,
        "reset": True,
        "success": False,
    }
    cluster.inject("b", "a", late)
    cluster.hold("a", "b")
    cluster.clock.now += 0.11
    cluster.beat("a")
    link = cluster.links[("a", "b")]
    cluster.deliver("a", "b", sum("serialized" in message for message in link))

    assert cluster.nodes["b"].raftLastApplied < applied
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")
    assert cluster.holders("new4") == []


def test_s13_an_old_snapshot_takes_nothing_back() -> None:
    """The same with ours: the late rejection is ignored, and so is the old snapshot."""
    cluster = OurCluster(compact_entries=8)
    cluster.elect("a")
    cluster.isolate("c")
    for number in range(10):
        cluster.write("a", f"old{number}")
        cluster.tick()
    leader = cluster.nodes["a"]
    cluster.run(3.0, until=lambda: leader.status().snapshots_taken)
    answers = [cluster.write("a", f"new{number}") for number in range(5)]
    cluster.ticks(4)
    assert all(answer.succeeded for answer in answers)
    before, entries = cluster.nodes["b"].status(), cluster.entries("b")

    late = AppendReply(prev_index=3, next_index=3, success=False, settled=True)
    cluster.inject("b", "a", cluster.message("b", "a", append_reply=late))
    cluster.ticks(2)
    snapshot = leader.engine.log.base.snapshot
    disk = cluster.disks["a"].snapshots[snapshot]
    piece = InstallSnapshot(manifest=disk.manifest, offset=0, data=disk.data)
    cluster.inject("a", "b", cluster.message("a", "b", install_snapshot=piece))
    cluster.ticks(4)

    assert cluster.nodes["b"].status().snapshots_installed == 0
    assert cluster.nodes["b"].status().applied_index >= before.applied_index
    assert cluster.entries("b")[-len(entries) :] == entries
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("b")
    assert cluster.holders("new4") == ["b", "c"]
