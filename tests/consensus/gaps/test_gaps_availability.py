"""Leaders that are unseated or missed for no good reason: rows A1 to A8, A13, A14
and A16."""

from pathlib import Path
from typing import Any

import pytest

from raftstate.core.ports import Answer as Told
from raftstate.core.ports import ChangeKind, LeadershipTransferred, Unavailable
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import RequestVote
from tests.consensus.gaps import ours, stock
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import StockCluster, StockNode

Cluster = StockCluster | OurCluster


def term(cluster: Cluster, member: str) -> int:
    """The term that a member is in."""
    if isinstance(cluster, StockCluster):
        return int(cluster.nodes[member].raftCurrentTerm)
    return cluster.nodes[member].engine.term


def wind(cluster: Cluster, *members: str) -> None:
    """Election timers run from now on; those of some members fire in a second."""
    cluster.calm = False
    for member in members or cluster.up():
        if isinstance(cluster, StockCluster):
            stock.put(cluster.nodes[member], "raftElectionDeadline", cluster.clock.now + 1.0)
        else:
            ours.put(cluster.nodes[member], "raftElectionDeadline", cluster.now + 1.0)


def times_deposed(cluster: Cluster, seconds: float) -> int:
    """How often a leader stops to lead while time passes."""
    deposed = 0
    for _ in range(round(seconds / 0.05)):
        led = set(cluster.leaders())
        cluster.tick(0.05)
        deposed += len(led - set(cluster.leaders()))
    return deposed


def kinds(cluster: OurCluster, since: int, sender: str) -> set[str]:
    """What kinds of messages a member of ours sent since so many had been sent."""
    return {str(m.WhichOneof("message")) for s, _, m in cluster.log[since:] if s == sender}


# --- A1: nobody asks first -----------------------------------------------------


def test_a01_a_follower_that_hears_nobody_does_not_unseat_a_healthy_leader() -> None:
    """
    Without a pre-vote, a half-deaf follower raises the term again and again, and each time
    the healthy leader is unseated.
    """

    def go_half_deaf(cluster: Cluster) -> tuple[int, int]:
        cluster.elect("a")
        before = term(cluster, "a")
        wind(cluster)
        cluster.cut("a", "c", both=False)
        cluster.cut("b", "c", both=False)
        deposed = times_deposed(cluster, 30.0)
        return deposed, max(term(cluster, member) for member in "ab") - before

    deposed, terms = go_half_deaf(StockCluster(calm=True))
    assert deposed > 5
    assert terms > 5

    cluster = OurCluster()
    assert go_half_deaf(cluster) == (0, 0)
    assert cluster.role("a") == "leader"
    answer = cluster.write("a", "served")
    cluster.run(1.0, until=lambda: answer.succeeded)


# --- A2: a pause is taken for silence -------------------------------------------


def test_a02_a_pause_is_no_reason_to_campaign_while_heartbeats_wait_unread() -> None:
    """
    Timers are looked at before the inbox, so a member that was paused campaigns against a
    leader whose heartbeats lie unread in front of it.
    """

    def pause(cluster: Cluster) -> int:
        cluster.elect("a")
        cluster.hold("a", "c")
        wind(cluster)
        for _ in range(20):
            cluster.tick(0.1, only="ab")
        return len(cluster.links[("a", "c")])

    theirs = StockCluster(calm=True)
    assert pause(theirs) >= 10
    theirs.beat("c")  # its sockets would be read at the end of this tick
    assert theirs.role("c") == "candidate"
    theirs.pump()
    assert theirs.role("a") == "follower"

    cluster = OurCluster()
    assert pause(cluster) >= 10
    before = len(cluster.log)
    for message in cluster.links[("a", "c")]:  # the driver polls its sockets before a step
        cluster.nodes["c"].receive(cluster.copy(message))
    cluster.links[("a", "c")].clear()
    cluster.beat("c")
    cluster.pump()
    assert kinds(cluster, before, "c") == {"append_reply"}
    assert (cluster.role("a"), cluster.role("c")) == ("leader", "follower")


# --- A3: a leader's own timer ---------------------------------------------------


def test_a03_a_leader_that_lost_its_quorum_comes_back_quietly() -> None:
    """
    A leader's election deadline is from before it led: once it has fallen back it campaigns
    at once and for ever, and when it is heard again it unseats whoever leads.
    """

    def lose_ears(cluster: Cluster) -> int:
        cluster.elect("a")
        before = term(cluster, "a")
        wind(cluster)
        cluster.cut("b", "a", both=False)
        cluster.cut("c", "a", both=False)
        cluster.run(45.0)
        return term(cluster, "a") - before

    theirs = StockCluster(calm=True)
    assert lose_ears(theirs) > 3
    theirs.heal()
    highest = term(theirs, "a")
    theirs.run(5.0, until=lambda: theirs.leader() is not None)
    assert min(term(theirs, member) for member in theirs.leaders()) >= highest

    cluster = OurCluster()
    assert lose_ears(cluster) == 0
    (leader,) = cluster.leaders()
    led_in = term(cluster, leader)
    assert leader != "a"
    cluster.heal()
    assert times_deposed(cluster, 5.0) == 0
    assert {term(cluster, member) for member in "abc"} == {led_in}
    assert cluster.nodes["a"].engine.leader == leader


# --- A4: long work counts as silence ----------------------------------------------


def test_a04_installing_a_snapshot_for_long_is_no_silence(tmp_path: Path) -> None:
    """
    The election timer is set before a snapshot is loaded, not after: whoever loads for long
    campaigns right afterwards.
    """
    slow_s = 5.0

    theirs = StockCluster(journals=tmp_path, calm=True)
    theirs.elect("a")
    theirs.isolate("c")
    for number in range(10):
        theirs.write("a", f"k{number}")
    theirs.ticks(4)
    theirs.nodes["a"].forceLogCompaction()
    theirs.ticks(3)
    serializer = stock.get(theirs.nodes["c"], "serializer")
    load = serializer.deserialize

    def load_slowly() -> Any:
        theirs.clock.now += slow_s
        return load()

    serializer.deserialize = load_slowly
    theirs.heal()
    theirs.calm = False
    theirs.run(5.0, until=lambda: theirs.nodes["c"].data)
    theirs.hold("a", "c")
    theirs.tick(0.05, only="c")
    assert theirs.role("c") != "follower"
    assert theirs.role("a") == "follower"

    cluster = OurCluster(compact_entries=10, keep_entries=5)
    cluster.elect("a")
    cluster.isolate("c")
    for number in range(30):
        cluster.write("a", f"k{number}")
        cluster.tick()
    cluster.run(5.0, until=lambda: cluster.nodes["a"].status().first_index > 10)
    late = cluster.nodes["c"]
    adopt = late._snapshots.adopt

    def adopt_slowly(name: str) -> None:
        adopt(name)
        cluster.advance(slow_s)
        cluster.hold("a", "c")  # the next tick comes before the next heartbeat

    late._snapshots.adopt = adopt_slowly  # type: ignore[method-assign]
    cluster.heal()
    wind(cluster)
    before = len(cluster.log)
    cluster.run(5.0, until=lambda: late.status().snapshots_installed)
    cluster.tick(0.05, only="c")
    assert "request_vote" not in kinds(cluster, before, "c")
    cluster.release("a", "c")
    cluster.run(5.0, until=cluster.agree)
    assert cluster.role("a") == "leader"


# --- A5, A7: finding where two logs part ----------------------------------------


def diverge(cluster: Cluster, tail: int, ahead: int) -> None:
    """Three leaders: a is cut off with entries of its own, b writes others, and c takes
    a's log, when a is back, to be as long as its own."""
    cluster.elect("a")
    cluster.isolate("a")
    for number in range(tail):
        cluster.write("a", f"old{number}")
        cluster.tick(0.01)
    cluster.elect("b")
    for number in range(ahead):
        cluster.write("b", f"k{number}-" + "v" * 50)
        cluster.tick(0.01)
    cluster.ticks(4)
    cluster.elect("c")
    cluster.heal()


def test_a05_a_follower_with_another_tail_catches_up() -> None:
    """
    A follower whose tail conflicts and that lacks more than one batch never catches up: the
    batches behind the one that it refused make it ask from its log's end again.
    """
    theirs = StockCluster(conf={"appendEntriesBatchSizeBytes": 300}, calm=True)
    diverge(theirs, tail=5, ahead=12)
    theirs.ticks(1000)  # 110 s
    applied = {member: node.raftLastApplied for member, node in theirs.nodes.items()}
    assert applied["a"] < 5 < 12 < applied["b"]

    cluster = OurCluster(append_bytes_max=300)
    diverge(cluster, tail=5, ahead=12)
    assert not cluster.agree()
    cluster.run(5.0, until=cluster.agree)
    assert cluster.holders("old4") == []
    assert cluster.nodes["a"].engine.counters.truncations == 1


def test_a07_where_two_logs_part_is_found_a_term_at_a_time() -> None:
    """
    A conflicting tail is walked back one entry a round trip. (The walk is seen only where
    everything fits into one batch: with more, row A5 comes first.)
    """
    tail = 40
    theirs = StockCluster(calm=True)
    diverge(theirs, tail=tail, ahead=tail)
    before = len(theirs.log)
    theirs.run(30.0, until=lambda: theirs.entries("a") == theirs.entries("c"))
    resets = [m for s, _, m in theirs.log[before:] if s == "a" and m["type"] == "next_node_idx"]
    assert sum(m["reset"] for m in resets) >= tail - 2

    cluster = OurCluster()
    diverge(cluster, tail=tail, ahead=tail)
    before = len(cluster.log)
    cluster.run(30.0, until=cluster.agree)
    refused = [
        m
        for s, _, m in cluster.log[before:]
        if s == "a" and m.HasField("append_reply") and not m.append_reply.success
    ]
    # Of an earlier term, past the end, and inside the tail.
    assert len(refused) <= 3


# --- A6: nothing to send ----------------------------------------------------------


def test_a06_a_follower_that_cannot_be_fed_costs_next_to_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    While a snapshot is not there to be sent, one tick of the leader sends thousands of
    empty messages, and lasts a whole heartbeat.
    """
    caplog.set_level("CRITICAL", "pysyncobj")  # it would say so thousands of times
    theirs = StockCluster(journals=tmp_path, calm=True)
    theirs.elect("a")
    theirs.isolate("c")
    for number in range(20):
        theirs.write("a", f"k{number}")
    theirs.ticks(5)
    theirs.nodes["a"].forceLogCompaction()
    theirs.ticks(3)
    (tmp_path / "a.dump").unlink()  # as long as it is being written it is missing too
    theirs.heal()
    stock.get(theirs.nodes["a"], "raftNextIndex")[StockNode("c")] = 3
    theirs.clock.now += 0.2
    before, began = len(theirs.log), theirs.clock.now
    theirs.clock.step = 25e-6  # what a message costs, more or less
    theirs.beat("a")
    theirs.clock.step = 0.0
    empty = [m for _, peer, m in theirs.log[before:] if peer == "c" and "serialized" in m]
    assert len(empty) > 1000
    assert theirs.clock.now - began > 0.09

    cluster = OurCluster(compact_entries=10, keep_entries=5, chunk_bytes=64)
    cluster.elect("a")
    cluster.isolate("c")
    for number in range(30):
        cluster.write("a", f"k{number}")
        cluster.tick()
    cluster.run(5.0, until=lambda: cluster.nodes["a"].status().first_index > 10)
    cluster.heal()
    begun = len(cluster.log)
    cluster.run(5.0, until=lambda: "install_snapshot" in kinds(cluster, begun, "a"))
    cluster.hold("c", "a")  # whatever it asks for, the leader does not hear it
    before = len(cluster.log)
    for _ in range(100):
        cluster.tick(0.01)
    sent = [m for _, peer, m in cluster.log[before:] if peer == "c"]
    assert 1 <= sum(m.HasField("install_snapshot") for m in sent) <= 5
    assert len(sent) <= 20  # a heartbeat every 0.1 s
    cluster.release("c", "a")
    cluster.run(10.0, until=cluster.agree)


# --- A8: votes that are lost --------------------------------------------------------


def test_a08_a_vote_is_given_again_and_a_refusal_is_said() -> None:
    """
    A vote whose reply was lost is not repeated, and a refusal is silence: a lost message
    costs a whole term.
    """

    def lose_vote(cluster: Any) -> Any:
        cluster.elect("a")
        cluster.campaign("b")
        (request,) = cluster.links[("b", "c")]
        cluster.deliver("b", "c")
        lost = len(cluster.links[("c", "b")])
        cluster.links[("c", "b")].clear()
        cluster.inject("b", "c", request)
        assert lost == 1
        return request

    theirs = StockCluster(calm=True)
    request = lose_vote(theirs)
    assert not theirs.links[("c", "b")]
    theirs.inject("b", "c", {**request, "term": request["term"] + 1, "last_log_index": 1})
    assert not theirs.links[("c", "b")]

    cluster = OurCluster()
    lose_vote(cluster)
    (again,) = cluster.links[("c", "b")]
    assert again.vote_reply.granted
    cluster.pump()
    assert cluster.role("b") == "leader"
    behind = RequestVote(last_index=1, last_term=1, transfer=True, settled=True)
    cluster.hold("c", "b")
    cluster.inject(
        "b",
        "c",
        cluster.message("b", "c", term=term(cluster, "b") + 1, request_vote=behind),
    )
    replies = [m for m in cluster.links[("c", "b")] if m.HasField("vote_reply")]
    assert [m.vote_reply.granted for m in replies] == [False]


# --- A13: handing over -----------------------------------------------------------


def test_a13_a_transfer_is_answered_by_its_outcome() -> None:
    """
    A transfer is called done when its message leaves: if that is lost nothing happens, nobody
    is told, and the leader takes writes all the while, which a successor discards.
    """
    theirs = StockCluster(calm=True)
    theirs.elect("a")
    transfer = stock.Answer()
    theirs.nodes["a"].transferLeadership(StockNode("b"), callback=transfer)
    theirs.links[("a", "b")].clear()
    theirs.ticks(100)
    assert transfer.succeeded
    assert theirs.role("a") == "leader"
    # ... and if it is not lost, what the leader took meanwhile is discarded.
    theirs.nodes["a"].transferLeadership(StockNode("b"))
    taken = theirs.write("a", "taken")
    theirs.beat("a")
    theirs.pump()
    theirs.calm = False
    theirs.beat("b")
    theirs.pump()
    theirs.ticks(6)
    assert theirs.leader() == "b"
    assert taken.results == [(None, "DISCARDED")]

    cluster = OurCluster()
    cluster.elect("a")
    cluster.cut("a", "b", both=False)
    in_vain = transfer_to(cluster, "b")
    refused = cluster.write("a", "not-now")
    cluster.run(3.0, until=lambda: in_vain.done)
    assert [type(told) for told in in_vain.results] == [Unavailable]
    assert all(definite for _, definite in refused.reasons)
    assert refused.done and not refused.succeeded
    cluster.heal()
    served = cluster.write("a", "served")  # it leads on
    cluster.run(3.0, until=lambda: served.succeeded)

    cluster.run(3.0, until=cluster.agree)
    done = transfer_to(cluster, "b")
    refused = cluster.write("a", "not-now")
    cluster.run(3.0, until=lambda: done.done)
    assert done.results == [LeadershipTransferred(MemberId("b"))]
    assert cluster.leaders() == ["b"]
    assert refused.done and not refused.succeeded
    assert all(definite for _, definite in refused.reasons)
    assert cluster.holders("not-now") == []


def transfer_to(cluster: OurCluster, member: str) -> ours.Answer:
    """Ask a for the leadership to go to another; what it answers."""
    answer = ours.Answer()
    cluster.nodes["a"].transfer_leadership(MemberId(member), answer)
    return answer


# --- A14: who is removed -----------------------------------------------------------


def test_a14_who_is_removed_is_told_and_disturbs_nobody() -> None:
    """
    A node that is removed is never told: it goes on to campaign, and its last answer, which
    the leader no longer expects, raises out of the leader's tick.
    """
    theirs = StockCluster(conf={"dynamicMembershipChange": True}, calm=True)
    theirs.elect("a")
    theirs.swallow = True
    theirs.nodes["a"].removeNodeFromCluster(StockNode("c"))
    theirs.hold("c", "a")
    theirs.tick()
    theirs.tick()
    theirs.release("c", "a")
    theirs.ticks(3)
    assert [(who, type(error)) for who, error in theirs.errors[:1]] == [("a", KeyError)]
    assert "membership" not in [meaning for _, _, meaning in theirs.entries("c")]
    assert {other.id for other in theirs.nodes["c"].otherNodes} == {"a", "b"}
    before = term(theirs, "c")
    wind(theirs, "c")
    theirs.run(20.0)
    assert term(theirs, "c") > before + 3

    cluster = OurCluster()
    cluster.elect("a")
    cluster.hold("c", "a")  # its last answers come late
    removed = cluster.change("a", ChangeKind.REMOVE, "c")
    cluster.run(3.0, until=lambda: removed.done and cluster.gone)
    assert [type(told) for told in removed.results] == [Configuration]
    assert list(cluster.gone) == ["c"]
    late = [m for s, _, m in cluster.log if s == "c" and m.HasField("append_reply")][-1]
    assert late.append_reply.success
    cluster.inject("c", "a", late)
    kept = cluster.write("a", "kept")
    cluster.run(3.0, until=lambda: kept.succeeded)


def test_a14_who_was_away_when_it_was_removed_is_told_when_it_comes_back() -> None:
    """
    A node that was cut off while it was removed comes back as a candidate, and unseats the
    leader of a cluster that it is not in.
    """
    theirs = StockCluster(conf={"dynamicMembershipChange": True}, calm=True)
    theirs.elect("a")
    theirs.isolate("c")
    removed_there = stock.Answer()
    theirs.nodes["a"].removeNodeFromCluster(StockNode("c"), callback=removed_there)
    theirs.ticks(5)
    assert removed_there.succeeded
    theirs.heal()
    before = term(theirs, "a")
    wind(theirs, "c")
    assert times_deposed(theirs, 10.0) > 0
    assert term(theirs, "a") > before

    cluster = OurCluster()
    cluster.elect("a")
    cluster.isolate("c")
    removed = cluster.change("a", ChangeKind.REMOVE, "c")
    cluster.run(3.0, until=lambda: removed.done)
    assert [type(told) for told in removed.results] == [Configuration]
    cluster.heal()
    before = term(cluster, "a")
    wind(cluster)
    assert times_deposed(cluster, 5.0) == 0
    assert list(cluster.gone) == ["c"]
    assert (cluster.role("a"), term(cluster, "a")) == ("leader", before)


def test_a14_a_leader_can_remove_itself() -> None:
    """
    A leader refuses to be removed: somebody else has to be made the leader first, by a
    transfer that promises nothing.
    """
    theirs = StockCluster(conf={"dynamicMembershipChange": True}, calm=True)
    theirs.elect("a")
    refused = stock.Answer()
    theirs.nodes["a"].removeNodeFromCluster(StockNode("a"), callback=refused)
    theirs.ticks(3)
    assert refused.results == [(None, "REQUEST_DENIED")]

    cluster = OurCluster()
    cluster.elect("a")
    removed = cluster.change("a", ChangeKind.REMOVE, "a")
    cluster.run(3.0, until=lambda: cluster.gone)
    assert [type(told) for told in removed.results] == [Configuration]
    assert list(cluster.gone) == ["a"]
    wind(cluster)
    cluster.run(3.0, until=cluster.leaders)
    (leader,) = cluster.leaders()
    kept = cluster.write(leader, "kept")
    cluster.run(3.0, until=lambda: kept.succeeded)
    cluster.run(3.0, until=cluster.agree)
    assert sorted(cluster.holders("kept")) == ["b", "c"]


# --- A16: callers that raise --------------------------------------------------------


def test_a16_a_caller_that_raises_does_not_keep_a_member_from_the_new_leader() -> None:
    """
    A callback that raises is called before the new leader is noted: the follower refuses
    every message of that leader with the callback's exception, for ever.
    """
    theirs = StockCluster(calm=True)
    theirs.elect("a")
    theirs.isolate("a")
    theirs.swallow = True
    theirs.nodes["b"].set("x", 1, callback=_raise)  # forwarded, and waits for a's answer
    theirs.beat("b")
    theirs.campaign("c")
    theirs.pump()
    theirs.write("c", "never")
    theirs.ticks(20)
    assert len(theirs.errors) > 10
    assert theirs.holders("never") == []

    cluster = OurCluster()
    cluster.elect("a")
    cluster.isolate("a")
    cluster.swallow = True
    cluster.write("a", "pending")
    cluster.tick()
    cluster.elect("c")
    kept = cluster.write("c", "kept")
    cluster.run(3.0, until=lambda: kept.succeeded)
    told: list[tuple[str | None, int]] = []

    def refuse_batch(_batch: list[tuple[object, Told]]) -> None:
        durable = cluster.disks["a"].durable.hard_state.term
        told.append((cluster.nodes["a"].engine.leader, durable))
        raise RuntimeError("the future was cancelled")

    cluster.nodes["a"]._deliver = refuse_batch
    cluster.heal()
    cluster.run(3.0, until=lambda: cluster.errors)
    # Callers come last: by then it had obeyed the new leader, and that was durable.
    assert told[0] == ("c", term(cluster, "c"))
    cluster.crash("a")  # an exception out of a step ends the process
    cluster.start("a")
    cluster.run(3.0, until=cluster.agree)
    assert sorted(cluster.holders("kept")) == ["a", "b", "c"]


def _raise(_result: object, _error: object) -> None:
    raise RuntimeError("the future was cancelled")
