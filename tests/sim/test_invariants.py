"""The invariants themselves: what they let pass, and what they do not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from raftstate.core.ports import Entry, HardState
from raftstate.core.types import Index, MemberId, Term
from raftstate.v1.peer_pb2 import (
    AppendReply,
    Envelope,
    RequestVote,
    SnapshotManifest,
    VoteReply,
)
from tests.sim import invariants
from tests.sim.disk import LogImage, SimLog
from tests.sim.invariants import Violation


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

    @property
    def log(self) -> SimLog:
        raise NotImplementedError

    def manifest(self, name: str) -> SnapshotManifest | None:
        raise NotImplementedError


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
