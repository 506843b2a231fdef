"""Membership: who is in the cluster, as of when, and on which disk.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

import gzip
import pickle
from dataclasses import replace
from pathlib import Path

from raftstate.core.ports import ChangeKind, ChangeRefused
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from tests.consensus.gaps import ours
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import Answer, StockCluster, StockNode, get


def add(cluster: StockCluster, leader: str, member: str) -> Answer:
    """Ask a stock node to add a member."""
    answer = Answer()
    cluster.nodes[leader].addNodeToCluster(StockNode(member), callback=answer)
    return answer


def members(cluster: StockCluster, member: str) -> list[str]:
    """Whom a stock node takes for a member, itself included."""
    node = cluster.nodes[member]
    return sorted({other.id for other in node.otherNodes} | {member})


def grow(cluster: OurCluster, leader: str, member: str) -> None:
    """Add a member of ours, and promote it when it has caught up."""
    cluster.join(member)
    added = cluster.change(leader, ChangeKind.ADD, member)
    cluster.run(2.0, until=lambda: added.done)
    answers: list[ours.Answer] = []

    def is_promoted() -> bool:
        if not answers or answers[-1].done:
            answers.append(cluster.change(leader, ChangeKind.PROMOTE, member))
        told = [result for answer in answers for result in answer.results]
        return any(isinstance(result, Configuration) for result in told)

    cluster.run(5.0, until=is_promoted)


# --- S21 -----------------------------------------------------------------------


def test_s21_one_change_at_a_time_stock() -> None:
    """
    Nothing keeps a second change from beginning before the first is committed: two that
    do make disjoint majorities, and both acknowledge.
    """
    cluster = StockCluster(conf={"dynamicMembershipChange": True}, calm=True)
    cluster.elect("a")
    cluster.isolate("a")
    add(cluster, "a", "d")
    add(cluster, "a", "e")
    cluster.tick()
    assert members(cluster, "a") == ["a", "b", "c", "d", "e"]

    cluster.ids += ["d", "e"]
    for member in "de":
        cluster.start(member)
        for other in "bc":
            cluster.cut(member, other)
    cluster.ticks(6)
    answers = [cluster.write("a", "x", "a")]
    cluster.ticks(5)
    cluster.elect("b")
    answers.append(cluster.write("b", "x", "b"))
    cluster.ticks(5)

    assert all(answer.succeeded for answer in answers)
    assert cluster.nodes["a"].data != cluster.nodes["b"].data


def test_s21_one_change_at_a_time() -> None:
    """
    The same with ours: the second change is refused while the first is not committed, and
    whoever was added has no vote yet.
    """
    cluster = OurCluster()
    cluster.elect("a")
    cluster.isolate("a")
    first = cluster.change("a", ChangeKind.ADD, "d")
    cluster.beat("a")
    second = cluster.change("a", ChangeKind.ADD, "e")
    cluster.beat("a")
    (refused,) = second.results
    assert isinstance(refused, ChangeRefused)
    assert refused.reason == "CONFLICT"
    assert not first.done

    for member in "de":
        cluster.join(member)
        for other in "bc":
            cluster.cut(member, other)
    lost = cluster.write("a", "x")
    cluster.ticks(5)
    assert not cluster.has("a", "x")
    cluster.elect("b")
    kept = cluster.write("b", "y")
    cluster.ticks(5)

    assert kept.succeeded
    assert not lost.succeeded
    cluster.heal()
    cluster.run(5.0, until=lambda: cluster.holders("y")[:3] == ["a", "b", "c"])
    assert cluster.voters("a") == ["a", "b", "c"]
    assert cluster.holders("x") == []


# --- S22 -----------------------------------------------------------------------


def test_s22_a_restart_goes_by_the_newest_configuration_in_the_log_stock(
    tmp_path: Path,
) -> None:
    """
    A node that restarts goes by its command line and what it has applied, not by its log:
    two of five elect a leader, three of five another, and both acknowledge.
    """
    cluster = StockCluster(
        journals=tmp_path,
        conf={"dynamicMembershipChange": True, "appendEntriesPeriod": 0.02},
        calm=True,
    )
    cluster.elect("a")
    seconds = get(cluster.nodes["a"], "numOneSecondDumps")
    while get(cluster.nodes["a"], "numOneSecondDumps") == seconds:
        cluster.tick(0.021)  # the commit index was just stored, and will not be for a second
    for member in "de":
        answer = add(cluster, "a", member)
        cluster.tick(0.021)
        cluster.ids.append(member)
        cluster.start(member)
        cluster.run(0.2, until=lambda answer=answer: answer.done, turn=0.021)  # type: ignore[misc]
        assert answer.succeeded
    assert members(cluster, "a") == ["a", "b", "c", "d", "e"]
    for member in "ab":
        cluster.crash(member)
    for member in "ab":
        cluster.start(member, others=[other for other in "abc" if other != member])
    assert members(cluster, "a") == ["a", "b", "c"]

    for member in "ab":
        for other in "cde":
            cluster.cut(member, other)
    answers = [cluster.write("a", "x", "a")]
    cluster.campaign("a")
    cluster.deliver("a", "b")
    cluster.deliver("b", "a")
    cluster.hold("b", "a")
    cluster.ticks(2)
    cluster.campaign("c")
    cluster.pump()
    assert cluster.leaders() == ["c", "a"]
    assert cluster.nodes["a"].raftCurrentTerm == cluster.nodes["c"].raftCurrentTerm
    answers.append(cluster.write("c", "x", "c"))
    cluster.release("b", "a")
    cluster.ticks(5)

    assert all(answer.succeeded for answer in answers)


def test_s22_a_restart_goes_by_the_newest_configuration_in_the_log() -> None:
    """
    The same with ours: what the log says is in force before anything of it is applied, and
    two of five elect nobody.
    """
    cluster = OurCluster()
    cluster.elect("a")
    for member in "de":
        grow(cluster, "a", member)
    cluster.ticks(2)
    for member in "ab":
        cluster.crash(member, power=True)
    for member in "ab":
        cluster.start(member)
        assert cluster.nodes[member].engine.applied_index == 0
        assert cluster.voters(member) == ["a", "b", "c", "d", "e"]

    for member in "ab":
        for other in "cde":
            cluster.cut(member, other)
    cluster.campaign("a")
    cluster.pump()
    assert cluster.role("a") == "candidate"
    refused = cluster.write("a", "x")
    cluster.campaign("c")
    cluster.pump()
    assert cluster.leaders() == ["c"]
    kept = cluster.write("c", "y")
    cluster.ticks(5)

    assert kept.succeeded
    assert refused.reasons == [("NO_QUORUM", True)]
    cluster.heal()
    cluster.run(5.0, until=lambda: len(cluster.holders("y")) == 5)


# --- S23 -----------------------------------------------------------------------


def test_s23_a_snapshot_holds_the_configuration_of_its_own_index_stock(tmp_path: Path) -> None:
    """
    A dump lists the members of the moment, not of its index: one whose addition was never
    committed is a member again after each restart.
    """
    cluster = StockCluster(journals=tmp_path, conf={"dynamicMembershipChange": True}, calm=True)
    cluster.elect("a")
    for number in range(5):
        cluster.write("a", f"k{number}")
    cluster.ticks(5)
    cluster.isolate("a")
    answer = add(cluster, "a", "d")
    cluster.tick()
    cluster.nodes["a"].forceLogCompaction()
    cluster.ticks(3)
    with gzip.open(tmp_path / "a.dump") as dump:
        listed = sorted(node.id for node in pickle.load(dump)[3])
    assert not answer.done
    assert listed == ["a", "b", "c", "d"]

    cluster.elect("b")
    cluster.heal()
    cluster.ticks(5)
    assert cluster.entries("a")[-1] == cluster.entries("b")[-1]
    assert members(cluster, "a") == ["a", "b", "c"]  # it was rolled back
    cluster.crash("a")
    cluster.start("a")
    cluster.ticks(5)

    assert members(cluster, "a") == ["a", "b", "c", "d"]
    assert members(cluster, "b") == ["a", "b", "c"]


def test_s23_a_snapshot_holds_the_configuration_of_its_own_index() -> None:
    """
    The same with ours: a snapshot is of the state, and the configuration stands in it as
    applied; what was rolled back is gone, after a restart too.
    """
    cluster = OurCluster(compact_entries=8, election_max_s=30.0)
    cluster.elect("a")
    for number in range(7):
        cluster.write("a", f"k{number}")
        cluster.tick(0.02)
    cluster.isolate("a")
    cluster.disks["a"].copy_s = 0.5
    leader = cluster.nodes["a"]
    taken = leader.status().snapshots_taken
    answer = cluster.change("a", ChangeKind.ADD, "d")
    cluster.beat("a")
    assert leader.engine.membership.names(MemberId("d"))
    # The log has not grown enough by itself: let the next tick take a snapshot.
    compaction = leader.engine._compaction
    compaction._config = replace(compaction._config, compact_entries=1)
    cluster.run(3.0, until=lambda: leader.status().snapshots_taken > taken)
    file = cluster.disks["a"].snapshots[leader.engine.log.base.snapshot]
    assert not answer.done
    assert [member.member_id for member in file.manifest.configuration.members] == list("abc")

    cluster.elect("b")
    cluster.heal()
    cluster.run(5.0, until=cluster.agree)
    assert not leader.engine.membership.names(MemberId("d"))
    cluster.crash("a", power=True)
    restarted = cluster.start("a")

    assert not restarted.engine.membership.names(MemberId("d"))
    cluster.run(5.0, until=cluster.agree)
    assert cluster.voters("a") == ["a", "b", "c"]
    assert cluster.disks["a"].rebuilds > 0


# --- S24 -----------------------------------------------------------------------


def test_s24_an_empty_disk_has_no_vote_stock() -> None:
    """
    A node that lost its disk is a voter at once, under its old name: it elects a leader
    without what it had acknowledged.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.isolate("c")
    answer = cluster.write("a", "x")
    cluster.ticks(4)
    assert answer.succeeded

    cluster.crash("b")
    cluster.start("b")  # on an empty disk
    cluster.crash("a")
    cluster.heal("b", "c")
    cluster.elect("c")

    assert cluster.holders("x") == []


def test_s24_an_empty_disk_has_no_vote() -> None:
    """
    The same with ours: a disk that the cluster does not know is told to go, and nobody is
    elected without the write; its member comes in again as a new one.
    """
    cluster = OurCluster()
    cluster.elect("a")
    cluster.isolate("c")
    answer = cluster.write("a", "x")
    cluster.ticks(4)
    assert answer.succeeded

    cluster.crash("b", power=True)
    cluster.lose_disk("b")
    cluster.start("b")
    cluster.crash("a", power=True)
    cluster.heal()
    for _ in range(3):
        cluster.campaign("c")
        cluster.pump()
        assert cluster.leaders() == []
        cluster.tick()

    cluster.start("a")
    cluster.elect("a")
    for _ in range(20):
        cluster.tick()
    assert "b" in cluster.gone
    assert cluster.holders("x") == ["a", "c"]
    removed = cluster.change("a", ChangeKind.REMOVE, "b")
    cluster.run(2.0, until=lambda: removed.done)
    assert isinstance(removed.results[0], Configuration)


def test_s24_an_empty_member_holds_nobody_up_stock() -> None:
    """A new member counts for a majority before it has anything: one more down, and
    nothing is committed."""
    cluster = StockCluster(conf={"dynamicMembershipChange": True}, calm=True)
    cluster.elect("a")
    added = add(cluster, "a", "d")
    cluster.ticks(4)
    assert added.succeeded
    cluster.isolate("c")
    answer = cluster.write("a", "x")
    cluster.ticks(20)

    assert not answer.done


def test_s24_an_empty_member_holds_nobody_up() -> None:
    """The same with ours: it is a learner, and counts for nothing until it has caught up."""
    cluster = OurCluster()
    cluster.elect("a")
    added = cluster.change("a", ChangeKind.ADD, "d")
    cluster.ticks(4)
    assert isinstance(added.results[0], Configuration)
    promoted = cluster.change("a", ChangeKind.PROMOTE, "d")
    cluster.ticks(4)
    (refused,) = promoted.results
    assert isinstance(refused, ChangeRefused)
    assert refused.reason == "NOT_CAUGHT_UP"
    cluster.isolate("c")
    answer = cluster.write("a", "x")
    cluster.ticks(4)

    assert answer.succeeded
    assert cluster.voters("a") == ["a", "b", "c"]
