"""Elections and office: who leads, who votes, and what a leader may say.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

from pathlib import Path

import pytest

from raftstate.consensus.config import RaftViolation
from raftstate.core.ports import ReadPoint
from raftstate.v1.peer_pb2 import AppendEntries, AppendReply, RequestVote, VoteReply
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import StockCluster

# --- S4 ------------------------------------------------------------------------


def test_s04_a_deposed_leader_is_told_stock() -> None:
    """
    What comes from an earlier term is ignored without an answer: a deposed leader goes on
    for 30 s although a follower hears each of its heartbeats.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.cut("b", "a", both=False)
    cluster.cut("c", "a", both=False)
    cluster.elect("b")
    cluster.heal("a", "c")
    sent = len(cluster.log)

    led = cluster.run(60.0, until=lambda: cluster.role("a") != "leader", turn=0.5)

    assert led > 20
    heard = [link for *link, _ in cluster.log[sent:] if link == ["a", "c"]]
    answered = [link for *link, _ in cluster.log[sent:] if link == ["c", "a"]]
    assert len(heard) > 20
    assert answered == []


def test_s04_a_deposed_leader_is_told() -> None:
    """The same with ours: the first answer carries the later term, and ends its office."""
    cluster = OurCluster()
    cluster.elect("a")
    cluster.cut("b", "a", both=False)
    cluster.cut("c", "a", both=False)
    # Its requests do not reach a: they were lost with everything else on the way there.
    cluster.elect("b", settle=2)
    assert cluster.leaders() == ["a", "b"]
    cluster.heal("a", "c")

    led = cluster.run(1.0, until=lambda: cluster.role("a") != "leader")

    assert led <= 0.15  # a heartbeat and its answer, not a timeout
    assert cluster.nodes["a"].engine.term == cluster.nodes["b"].engine.term


# --- S7 ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_s07_nobody_votes_twice_in_a_term_stock(kind: str, tmp_path: Path) -> None:
    """
    The default journal forgets the vote, and one in files takes a record that it cannot
    read for none: a voter that restarts votes again, and two lead one term.
    """
    cluster = StockCluster(journals=tmp_path if kind == "files" else None, calm=True)
    cluster.cut("a", "c")
    cluster.hold("b", "a")
    cluster.campaign("a")
    cluster.pump()
    given = list(cluster.links[("b", "a")])
    cluster.crash("b")
    if kind == "files":
        (tmp_path / "b.journal.meta").write_bytes(b"")  # renamed in time, written too late
    cluster.start("b")
    cluster.links[("b", "a")].extend(given)
    cluster.campaign("c")
    cluster.pump()

    cluster.deliver("b", "a")

    assert cluster.leaders() == ["a", "c"]
    assert cluster.nodes["a"].raftCurrentTerm == cluster.nodes["c"].raftCurrentTerm


@pytest.mark.parametrize("power", [False, True])
def test_s07_nobody_votes_twice_in_a_term(power: bool) -> None:
    """The same with ours: no vote leaves before it is durable, so none is forgotten.
    (A record that cannot be read: see test_gaps_storage.)"""
    cluster = OurCluster()
    cluster.elect("b")
    cluster.cut("a", "c")
    cluster.hold("b", "a")
    cluster.campaign("a")
    cluster.pump()
    given = list(cluster.links[("b", "a")])
    assert any(message.vote_reply.granted for message in given)
    cluster.crash("b", power=power)
    cluster.start("b")
    cluster.links[("b", "a")].extend(given)
    while cluster.nodes["c"].engine.term < cluster.nodes["a"].engine.term:
        cluster.campaign("c")  # in the same term in the end
    cluster.pump()
    assert cluster.role("c") == "candidate"

    cluster.deliver("b", "a")

    assert cluster.leaders() == ["a"]


# --- S8 ------------------------------------------------------------------------


def test_s08_a_voter_counts_once_stock() -> None:
    """
    Votes are counted by message: one that comes twice elects with 2 of 5, and the others
    elect a second leader of the same term.
    """
    cluster = StockCluster("abcde", calm=True)
    for other in "cde":
        cluster.cut("a", other)
    cluster.hold("b", "a")
    cluster.campaign("a")
    cluster.pump()
    link = cluster.links[("b", "a")]
    link.append(link[0])
    cluster.deliver("b", "a")
    cluster.campaign("c")
    cluster.pump()

    assert cluster.leaders() == ["a", "c"]
    assert cluster.nodes["a"].raftCurrentTerm == cluster.nodes["c"].raftCurrentTerm


def test_s08_a_voter_counts_once() -> None:
    """The same with ours: the second copy of a vote changes nothing."""
    cluster = OurCluster("abcde")
    cluster.elect("e")
    for other in "cde":
        cluster.cut("a", other)
    cluster.hold("b", "a")
    cluster.campaign("a")
    cluster.pump()
    link = cluster.links[("b", "a")]
    (vote,) = [message for message in link if message.vote_reply.granted]
    link.extend([vote, vote])
    cluster.deliver("b", "a")
    assert cluster.role("a") == "candidate"
    cluster.campaign("c")
    cluster.pump()

    assert cluster.role("c") == "leader"
    assert "a" not in cluster.leaders()


def test_s08_a_stranger_has_no_vote_stock() -> None:
    """Nobody asks whether a voter is a member: the vote of a stranger elects."""
    cluster = StockCluster(calm=True)
    cluster.isolate("a")
    cluster.campaign("a")

    cluster.inject("z", "a", {"type": "response_vote", "term": 1})

    assert cluster.role("a") == "leader"


def test_s08_a_stranger_has_no_vote() -> None:
    """The same with ours: strangers are not listened to."""
    cluster = OurCluster()
    cluster.elect("b")
    cluster.isolate("a")
    cluster.campaign("a")
    term = cluster.nodes["a"].engine.term

    vote = VoteReply(granted=True, campaign_term=term)
    cluster.inject("z", "a", cluster.message("z", "a", term=term, vote_reply=vote))
    assert cluster.role("a") == "candidate"

    # Of a member it would have been enough.
    cluster.inject("c", "a", cluster.message("c", "a", term=term, vote_reply=vote))
    assert cluster.role("a") == "leader"


# --- S25 -----------------------------------------------------------------------


def test_s25_a_leader_that_is_cut_off_answers_no_read_stock() -> None:
    """
    There is no linearizable read, and the only thing to ask is `_isLeader`: a leader that
    is cut off says yes, and shows what was overwritten, for 30 s.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.write("a", "x", "old")
    cluster.ticks(4)
    cluster.isolate("a")
    cluster.elect("b")
    cluster.write("b", "x", "new")
    cluster.ticks(4)
    assert cluster.nodes["b"].data["x"] == "new"

    stale = cluster.run(60.0, until=lambda: not cluster.nodes["a"]._isLeader(), turn=0.5)

    assert stale > 25
    assert cluster.nodes["a"].data["x"] == "old"


def test_s25_a_leader_that_is_cut_off_answers_no_read() -> None:
    """
    The same with ours: a read waits for a quorum that was asked after it came, so it is
    refused in the end; and within two election timeouts the leader leads no more.
    """
    cluster = OurCluster()
    cluster.elect("a")
    before = cluster.read("a")
    cluster.run(1.0, until=lambda: before.done)
    assert isinstance(before.results[0], ReadPoint)
    cluster.isolate("a")
    cluster.elect("b", settle=2)
    cluster.write("b", "new")
    read = cluster.read("a")
    cluster.ticks(2)
    assert cluster.leaders() == ["a", "b"]
    assert cluster.holders("new") == ["b", "c"]
    assert not read.done

    led = cluster.run(5.0, until=lambda: cluster.role("a") != "leader")

    assert led <= 2 * cluster.nodes["a"].config.election_max_s
    cluster.beat("a")
    assert read.reasons == [("NO_QUORUM", True)]
    after = cluster.read("b")
    cluster.run(1.0, until=lambda: after.done)
    assert isinstance(after.results[0], ReadPoint)


# --- S26 -----------------------------------------------------------------------


def test_s26_a_new_leader_is_not_ready_before_its_first_entry_stock(tmp_path: Path) -> None:
    """
    A leader is ready before an entry of its own term is committed: after a restart of
    everybody it shows an empty state although a write was acknowledged.
    """
    cluster = StockCluster(journals=tmp_path, calm=True)
    cluster.elect("a")
    answer = cluster.write("a", "x")
    cluster.ticks(5)
    assert answer.succeeded
    for member in "abc":
        cluster.crash(member)
    for member in "abc":
        cluster.start(member)
    cluster.hold("a", "b")
    cluster.hold("a", "c")
    cluster.campaign("a")
    cluster.deliver("a", "b", 1)
    cluster.pump()
    cluster.tick(0.01)

    assert cluster.role("a") == "leader"
    assert cluster.nodes["a"].isReady()
    assert cluster.nodes["a"].data == {}


def test_s26_a_new_leader_is_not_ready_before_its_first_entry() -> None:
    """
    The same with ours: until then it says that it is not ready, and refuses to read;
    afterwards the write is there.
    """
    cluster = OurCluster()
    cluster.elect("a")
    answer = cluster.write("a", "x")
    cluster.ticks(5)
    assert answer.succeeded
    for member in "abc":
        cluster.crash(member, power=True)
    for member in "abc":
        cluster.start(member)
    cluster.hold("a", "b")
    cluster.hold("a", "c")
    cluster.campaign("a")
    cluster.deliver("a", "b", 1)
    cluster.pump()
    cluster.tick(0.01)
    early = cluster.read("a")
    cluster.tick(0.01)

    assert cluster.role("a") == "leader"
    assert not cluster.nodes["a"].status().ready
    assert early.reasons == [("NO_QUORUM", True)]

    cluster.release("a", "b")
    cluster.release("a", "c")
    cluster.run(2.0, until=lambda: cluster.nodes["a"].status().ready)
    assert cluster.has("a", "x")


# --- S28 -----------------------------------------------------------------------


def test_s28_a_stranger_is_not_obeyed_stock() -> None:
    """
    Messages of somebody who is no member are obeyed: one deposes the leader, another
    removes a follower's log.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.write("a", "x")
    cluster.ticks(4)
    ask = {"type": "request_vote", "term": 99, "last_log_index": 0, "last_log_term": 0}
    lead = {
        "type": "append_entries",
        "term": 100,
        "commit_index": 99,
        "entries": [],
        "prevLogIdx": 1,
        "prevLogTerm": 0,
    }

    cluster.inject("z", "a", ask)
    cluster.inject("z", "b", lead)

    assert cluster.role("a") == "follower"
    assert cluster.nodes["a"].raftCurrentTerm == 99
    assert cluster.end("b") == 1


def test_s28_a_stranger_is_not_obeyed() -> None:
    """The same with ours: nothing of it is looked at."""
    cluster = OurCluster()
    cluster.elect("a")
    answer = cluster.write("a", "x")
    cluster.ticks(4)
    assert answer.succeeded
    before = {member: node.status() for member, node in cluster.nodes.items()}
    ask = RequestVote(
        campaign_term=99, last_index=99, last_term=99, transfer=True, settled=True
    )
    lead = AppendEntries(prev_index=0, prev_term=0, commit_index=99)

    cluster.inject("z", "a", cluster.message("z", "a", term=99, request_vote=ask))
    cluster.inject("z", "b", cluster.message("z", "b", term=100, append_entries=lead))
    acknowledge = AppendReply(success=True, match_index=99, settled=True)
    cluster.inject("z", "a", cluster.message("z", "a", term=101, append_reply=acknowledge))
    vote = VoteReply(granted=True, campaign_term=102)
    cluster.inject("z", "a", cluster.message("z", "a", term=102, vote_reply=vote))

    assert {member: node.status() for member, node in cluster.nodes.items()} == before
    assert cluster.role("a") == "leader"


# --- S30 -----------------------------------------------------------------------


def test_s30_two_leaders_of_one_term_are_noticed_stock() -> None:
    """
    A leader that hears of another leader of its own term follows it in silence, and so
    hides that an election was broken.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    term = cluster.nodes["a"].raftCurrentTerm
    impossible = {
        "type": "append_entries",
        "term": term,
        "commit_index": 0,
        "entries": [],
        "prevLogIdx": cluster.end("a"),
        "prevLogTerm": term,
    }

    cluster.inject("b", "a", impossible)

    assert cluster.role("a") == "follower"
    assert cluster.nodes["a"]._getLeader().id == "b"


def test_s30_two_leaders_of_one_term_are_noticed() -> None:
    """The same with ours: the process stops, and says what it saw."""
    cluster = OurCluster()
    cluster.elect("a")
    term = cluster.nodes["a"].engine.term
    impossible = AppendEntries(prev_index=cluster.end("a"), prev_term=term)

    with pytest.raises(RaftViolation, match=rf"b leads term {term}, and so do I"):
        cluster.inject(
            "b", "a", cluster.message("b", "a", term=term, append_entries=impossible)
        )
