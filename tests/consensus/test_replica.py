"""Replicas together: what leaves when, who leads, and what callers are told."""

from typing import Any

import pytest

from raftstate.core.ports import KeepAliveResult, ReadPoint, Unavailable
from raftstate.core.types import MemberId
from raftstate.v1.store_pb2 import Outcome
from tests.consensus.bench import MEMBERS, Table

GATED = {"append_reply", "vote_reply", "request_vote"}


def followers(table: Table, leader: MemberId) -> list[MemberId]:
    """Everybody else."""
    return [member for member in MEMBERS if member != leader]


def failed(answer: object) -> tuple[str, bool]:
    """The reason of a refusal, and whether it is definite."""
    assert isinstance(answer, Unavailable), answer
    return answer.reason, answer.definite


def test_nothing_that_reflects_the_disk_leaves_before_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The tick contract: acknowledgements, votes and answers follow the log's commit.

    Method: note what was sent and answered when each commit of a log begins, and that
    nothing of the step had left by then that speaks of the log, term or vote.
    """
    table = Table()
    early: list[Any] = []
    for replica in table.replicas.values():
        log = replica._log
        commit, step = log.commit, replica.step
        began: dict[str, tuple[int, int]] = {}

        def stepping(now: float, step: Any = step, began: Any = began) -> None:
            began["at"] = (len(table.sent), len(table.answers))
            step(now)

        def committing(commit: Any = commit, began: Any = began) -> None:
            sent, answered = began["at"]
            kinds = {e.WhichOneof("message") for _, _, e in table.sent[sent:]}
            early.extend(kinds & GATED)
            early.extend(list(table.answers)[answered:])
            commit()

        monkeypatch.setattr(replica, "step", stepping)
        monkeypatch.setattr(log, "commit", committing)

    leader = table.elect()
    table.write(leader, "s")
    table.until(lambda: "s" in table.answers)

    kinds = {envelope.WhichOneof("message") for _, _, envelope in table.sent}
    assert kinds >= {*GATED, "append_entries"}
    assert early == []


def test_a_write_is_answered_by_its_outcome_and_seen_by_a_read() -> None:
    """The whole path: propose, commit, apply, answer, read."""
    table = Table()
    leader = table.elect()

    table.write(leader, "s")
    table.until(lambda: "s" in table.answers)
    leader.read_point("read")
    table.until(lambda: "read" in table.answers)

    outcome, point = table.answers["s"], table.answers["read"]
    assert isinstance(outcome, Outcome)
    assert isinstance(point, ReadPoint)
    assert outcome.open_session.session.session_id == "s"
    assert point.index >= outcome.raft_index


def test_a_follower_sends_callers_to_the_leader() -> None:
    """Nothing is forwarded: the refusal is definite and names who leads."""
    table = Table()
    leader = table.elect().config.member_id
    follower = table.replicas[followers(table, leader)[0]]

    table.write(follower, "write")
    follower.read_point("read")
    follower.keep_session("s", "keep")
    table.run(0.1)

    for ticket in ("write", "read", "keep"):
        answer = table.answers[ticket]
        assert failed(answer) == ("NOT_LEADER", True)
        assert isinstance(answer, Unavailable)
        assert answer.leader == leader


def test_a_leader_that_is_cut_off_steps_down_and_says_so() -> None:
    """
    Check-quorum: within two election timeouts it leads no more. What it had proposed is
    unknown, what it had not is definite, and reads are refused, not answered.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    table.isolate(me)
    table.write(leader, "lost")
    leader.read_point("read")

    took = table.until(lambda: leader.status().role == "follower")
    table.write(leader, "late")
    table.run(0.1)

    assert took <= 2 * leader.config.election_max_s
    assert failed(table.answers["lost"]) == ("OUTCOME_UNKNOWN", False)
    assert failed(table.answers["read"]) == ("NO_QUORUM", True)
    assert failed(table.answers["late"]) == ("NO_QUORUM", True)


def test_what_a_deposed_leader_had_proposed_is_removed() -> None:
    """
    The others go on, and the old leader's tail gives way to theirs.

    Method: the old leader is cut off with an entry of its own, and healed later.
    """
    table = Table()
    old = table.elect()
    table.isolate(old.config.member_id)
    table.write(old, "lost")
    table.until(lambda: (new := table.leader()) is not None and new is not old)
    found = table.leader()
    assert found is not None
    new = found
    table.write(new, "kept")
    table.until(lambda: "kept" in table.answers)

    table.heal()
    table.until(lambda: old.status().commit_index == new.status().commit_index)

    assert old.engine.counters.truncations == 1
    assert isinstance(table.answers["kept"], Outcome)
    table.until(lambda: len({r.status().state_hash for r in table.replicas.values()}) == 1)


def test_a_member_that_was_away_does_not_unseat_the_leader() -> None:
    """
    Pre-vote and stickiness: a member that heard nothing for long comes back quietly.
    """
    table = Table()
    leader = table.elect()
    away = followers(table, leader.config.member_id)[0]
    term = leader.status().term
    table.isolate(away)
    table.run(5.0)

    table.heal()
    table.run(1.0)

    assert leader.status().role == "leader"
    assert leader.status().term == term
    assert table.replicas[away].status().leader == leader.config.member_id


def test_a_leader_that_cannot_be_heard_is_replaced() -> None:
    """One direction is enough to lose office: it hears everybody, nobody hears it."""
    table = Table()
    old = table.elect()
    me = old.config.member_id
    table.cut = {(me, other) for other in followers(table, me)}

    table.until(lambda: (new := table.leader()) is not None and new is not old)

    assert old.status().role == "follower"


def test_office_is_handed_over_on_request() -> None:
    """TimeoutNow: a successor leads long before any election timeout."""
    table = Table()
    leader = table.elect()

    leader.hand_over()
    took = table.until(lambda: leader.status().role != "leader")
    table.until(lambda: (new := table.leader()) is not None and new is not leader)

    assert took < leader.config.election_min_s / 2


def test_a_keep_alive_needs_a_quorum() -> None:
    """
    A leader that is cut off acknowledges none, though it does not know yet.
    """
    table = Table()
    leader = table.elect()
    table.write(leader, "s")
    table.until(lambda: "s" in table.answers)
    leader.keep_session("s", "kept")
    table.until(lambda: "kept" in table.answers)
    assert table.answers["kept"] == KeepAliveResult(10_000)

    table.isolate(leader.config.member_id)
    leader.keep_session("s", "unheard")
    table.run(leader.config.election_max_s / 2)
    assert "unheard" not in table.answers
    table.until(lambda: "unheard" in table.answers)

    assert failed(table.answers["unheard"]) == ("NO_QUORUM", True)


def test_a_pause_is_not_taken_for_silence() -> None:
    """
    A member that slept longer than any timeout waits for a heartbeat before it canvasses.

    Method: what came while it slept is lost, as with a connection that broke meanwhile.
    """
    table = Table()
    leader = table.elect()
    sleeper = followers(table, leader.config.member_id)[0]
    table.paused = {sleeper}
    table.run(3.0)
    table.replicas[sleeper]._inbox.clear()
    slept = len(table.sent)

    table.paused = set()
    table.run(1.0)

    canvassed = [
        envelope
        for sender, _, envelope in table.sent[slept:]
        if sender == sleeper and envelope.HasField("request_vote")
    ]
    assert canvassed == []
    assert leader.status().role == "leader"


def test_a_member_that_hears_no_leader_unseats_nobody() -> None:
    """
    Stickiness: who hears the leader helps nobody to replace it (dissertation, 4.2.3).

    Method: one follower is deaf towards the leader, and canvasses again and again.
    """
    table = Table()
    leader = table.elect()
    me, term = leader.config.member_id, leader.status().term
    deaf = followers(table, me)[0]
    table.cut = {(me, deaf)}

    table.run(5.0)

    asked = [e for sender, _, e in table.sent if sender == deaf and e.HasField("request_vote")]
    assert len(asked) > 10
    assert (leader.status().role, leader.status().term) == ("leader", term)


def test_a_leader_that_does_not_know_what_is_committed_refuses_reads() -> None:
    """
    Before an entry of its own term is applied, a new leader answers no read (6.4).
    """
    table = Table()
    table.until(lambda: any(r.status().role == "leader" for r in table.replicas.values()))
    (fresh,) = [r for r in table.replicas.values() if r.status().role == "leader"]
    assert not fresh.status().ready

    fresh.read_point("early")
    table.run(1.0)

    assert fresh.status().ready
    assert failed(table.answers["early"]) == ("NO_QUORUM", True)


def test_a_follower_that_is_far_behind_comes_back_by_snapshot() -> None:
    """The log is cut meanwhile; the snapshot comes in many pieces and becomes its state."""
    table = Table(compact_entries=10, keep_entries=5, chunk_bytes=256)
    leader = table.elect()
    away = followers(table, leader.config.member_id)[0]
    table.isolate(away)
    for number in range(40):
        table.write(leader, f"s{number}")
        table.until(lambda ticket=f"s{number}": ticket in table.answers)  # type: ignore[misc]
    table.until(lambda: leader.status().first_index > 20)

    table.heal()
    late = table.replicas[away]
    table.until(lambda: late.status().applied_index == leader.status().applied_index)

    assert late.status().snapshots_installed >= 1
    assert late.status().state_hash == leader.status().state_hash


def test_a_full_queue_refuses_at_once() -> None:
    """More than the queue holds is refused, definitely; the rest is carried out."""
    table = Table(queue_max=3)
    leader = table.elect()
    for number in range(5):
        table.write(leader, f"s{number}")
    table.until(lambda: len(table.answers) == 5)

    refused = [t for t, answer in table.answers.items() if isinstance(answer, Unavailable)]
    assert refused == ["s3", "s4"]
    assert failed(table.answers["s3"]) == ("OVERLOADED", True)
