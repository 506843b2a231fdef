"""The invariants themselves: what they let pass, and what they do not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from jepsen_like.checkers.fencing import Fact
from jepsen_like.checkers.history import Operation
from raftstate.core.ports import Base, Entry, HardState, Identity
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.v1.peer_pb2 import (
    AppendReply,
    Envelope,
    RequestVote,
    SnapshotManifest,
    VoteReply,
)
from tests.sim import invariants
from tests.sim.checks import Checks
from tests.sim.disk import LogImage, SimLog
from tests.sim.invariants import Committed, Violation


@dataclass
class Still:
    """A member that does nothing, with a durable log of two entries in term 3."""

    member_id: MemberId = MemberId("n1")
    durable: LogImage = field(
        default_factory=lambda: LogImage(
            HardState(Term(3), MemberId("n2")),
            entries=[Entry(Index(1), Term(1), b"a"), Entry(Index(2), Term(3), b"b")],
        )
    )

    forgotten: LogImage | None = None
    quarantined: bool = False

    @property
    def log(self) -> SimLog:
        raise NotImplementedError

    def manifest(self, name: str) -> SnapshotManifest | None:
        raise NotImplementedError


def test_a_quarantined_member_may_not_vote() -> None:
    """Not even for whom it has voted durably: it has forgotten what it promised before."""
    vote = Envelope(term=3, to_member="n2", vote_reply=VoteReply(granted=True))
    invariants.justified(Still(), vote)
    with pytest.raises(Violation, match="quarantine"):
        invariants.justified(Still(quarantined=True), vote)


def acknowledges(index: int, term: int) -> Envelope:
    return Envelope(term=term, append_reply=AppendReply(success=True, match_index=index))


@pytest.mark.parametrize(
    "envelope",
    [
        acknowledges(2, term=3),
        # Of a leader deposed since: the leader of term 3 removed entries 3 to 9.
        acknowledges(9, term=2),
        Envelope(term=3, to_member="n2", vote_reply=VoteReply(granted=True)),
        # A vote of an earlier term says nothing about the present one.
        Envelope(term=2, to_member="n3", vote_reply=VoteReply(granted=True)),
        Envelope(term=3, to_member="n3", vote_reply=VoteReply(granted=True, pre_vote=True)),
        Envelope(term=3, to_member="n3", request_vote=RequestVote(pre_vote=True)),
    ],
    ids=["ack", "late ack", "vote", "late vote", "pre-vote", "ask for pre-votes"],
)
def test_a_message_that_the_disk_bears_out_may_leave(envelope: Envelope) -> None:
    """What it says is durable, or is of an earlier term."""
    invariants.justified(Still(), envelope)


@pytest.mark.parametrize(
    "envelope",
    [
        acknowledges(3, term=3),
        acknowledges(2, term=4),
        Envelope(term=3, to_member="n3", vote_reply=VoteReply(granted=True)),
        Envelope(term=3, to_member="n3", request_vote=RequestVote()),
    ],
    ids=["entry", "term", "vote for another", "campaign"],
)
def test_a_message_that_runs_ahead_of_the_disk_may_not(envelope: Envelope) -> None:
    """An entry, a term or a vote in it is not durable."""
    with pytest.raises(Violation):
        invariants.justified(Still(), envelope)


# --- logs and snapshots ------------------------------------------------------


class Bare:
    """A log that says whose it is and in which term, and nothing more."""

    def __init__(self, term: int) -> None:
        self.identity = Identity("c", 1, MemberId("n1"), "d")
        self.hard_state = HardState(Term(term), None)


def test_a_leader_that_removes_entries_is_found() -> None:
    """
    In its own term; as a follower of a later leader it may.
    """
    checks = Checks(1, {})
    checks.leaders[Term(3)] = MemberId("n1")

    invariants.leader_append_only(checks, cast("SimLog", Bare(4)), Index(7))
    with pytest.raises(Violation, match="n1 leads in term 3, and removes"):
        invariants.leader_append_only(checks, cast("SimLog", Bare(3)), Index(7))


COMMITTED = [Committed(Position(Index(n), Term(1)), b"", n, bytes([n])) for n in range(1, 10)]
FITS = SnapshotManifest(name="snap", index=7, term=1, revision=7, state_hash=b"\x07")


@dataclass
class Stored(Still):
    """A member with one snapshot."""

    stored: SnapshotManifest | None = None

    def manifest(self, name: str) -> SnapshotManifest | None:
        return self.stored


def snapshot_fits(manifest: SnapshotManifest | None, index: int, term: int = 1) -> None:
    checks = Checks(1, {})
    checks.committed = COMMITTED
    base = Base(Position(Index(index), Term(term)), "snap")
    invariants.snapshot_is_of_the_log(checks, Stored(stored=manifest), base)


def test_a_log_that_begins_behind_a_snapshot_of_what_is_committed_passes() -> None:
    """
    At its index, or before it with a tail that was kept.
    """
    snapshot_fits(FITS, 7)
    snapshot_fits(FITS, 3)
    snapshot_fits(None, 0, term=0)


@pytest.mark.parametrize(
    ("manifest", "index", "term", "why"),
    [
        (None, 7, 1, "has no snapshot snap"),
        (FITS, 8, 1, "does not cover"),
        (FITS, 7, 2, "not committed"),
        (FITS, 12, 1, "not committed"),
        (SnapshotManifest(name="s", index=12, term=1), 7, 1, "ahead of all"),
        (SnapshotManifest(name="s", index=7, term=1, revision=0), 7, 1, "is not the state"),
        (
            SnapshotManifest(name="s", index=7, term=1, revision=7, state_hash=b"\x08"),
            *(7, 1, "is not the state"),
        ),
        (
            SnapshotManifest(name="s", index=7, term=2, revision=7, state_hash=b"\x07"),
            *(7, 1, "is not the state"),
        ),
    ],
    ids=["missing", "short", "term", "far", "ahead", "revision", "hash", "other term"],
)
def test_a_snapshot_that_is_not_of_the_log_is_found(
    manifest: SnapshotManifest | None, index: int, term: int, why: str
) -> None:
    """
    Missing, too short, ahead of what is committed, or of another state.
    """
    with pytest.raises(Violation, match=why):
        snapshot_fits(manifest, index, term)


# --- what clients saw --------------------------------------------------------


def test_a_history_without_an_explanation_is_found() -> None:
    """
    A register that is read as it was before; an agent's steps begin at 0.
    """
    step = Operation("p#1", "cas", "head of a", (0, 1), "ok", True, 0.0, 1.0)
    fresh = Operation("q#1", "read", "head of a", None, "ok", 1, 2.0, 3.0)
    stale = replace(fresh, result=0)

    invariants.registers_are_linearizable([step, fresh])
    with pytest.raises(Violation, match="head of a: illegal"):
        invariants.registers_are_linearizable([step, stale])


def test_two_owners_at_once_are_found() -> None:
    """
    A write under the older of two grants.
    """
    old = Fact("grant", "a", "s", (1, 3), 3)
    new = Fact("grant", "a", "t", (1, 5), 5)

    invariants.grants_fence([old, new])
    with pytest.raises(Violation, match="stale: write a by s"):
        invariants.grants_fence([old, new, Fact("write", "a", "s", (1, 3), 6)])
