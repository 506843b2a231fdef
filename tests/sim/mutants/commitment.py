"""The log: what is removed from it, and what in it counts as committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from raftstate.consensus import rules
from raftstate.consensus.adapter import Engine
from raftstate.consensus.following import Following
from raftstate.consensus.rules import Match, Mismatch, TermAt
from raftstate.core.ports import Entry
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.v1.peer_pb2 import AppendReply, Envelope
from tests.sim import invariants
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


def _truncate(patch: Patch) -> None:
    real = rules.judge_append

    def judge_append(
        base: Position,
        last: Position,
        term_at: TermAt,
        prev: Position,
        entries: Sequence[Entry],
    ) -> Mismatch | Match:
        judged = real(base, last, term_at, prev, entries)
        if not isinstance(judged, Match) or not entries:
            return judged
        kept = [entry for entry in entries if entry.index > base.index]
        if not kept or kept[0].index > last.index:
            return judged
        return Match(kept[0].index, kept, judged.verified)

    def take_unchecked(self: Following, match: Match) -> None:
        if match.truncate is not None:
            self._journal.deleteEntriesFrom(match.truncate - self._log.base.position.index)
        for entry in match.append:
            self._journal.add(entry.data, entry.index, entry.term)

    patch.replace(rules, "judge_append", judge_append)
    patch.replace(Following, "_take", take_unchecked)


@mutant(expects="removed_on_conflict_only", known=7, schedule="an_entry_that_is_sent_again")
def truncate_always(patch: Patch) -> None:
    """A follower removes everything behind the entry before a message's, conflict or not:
    a message sent again takes back what was acknowledged since. The product would notice
    some of it, so its own check goes too."""
    _truncate(patch)


@mutant(
    expects="durable_on_a_quorum committed_is_kept leader_completeness",
    schedule="an_entry_that_is_sent_again",
)
def truncate_always_unseen(patch: Patch) -> None:
    """The same, with nobody looking at why entries go: found by what it loses. A leader
    sends nothing again that it knows to be there, so there is a schedule."""
    _truncate(patch)
    patch.silence(invariants, "removed_on_conflict_only")


@mutant(expects="durable_on_a_quorum", schedule="an_ack_from_an_earlier_office")
def accept_acks_of_an_older_term(patch: Patch) -> None:
    """A leader takes an acknowledgement from its earlier time in office as one of now.
    Five members, a link that holds an answer back over two elections, and entries that
    are overwritten meanwhile must all meet, so there is a schedule."""

    def on_append_reply(
        self: Engine, peer: MemberId, envelope: Envelope, m: AppendReply
    ) -> None:
        if self._feeding is not None:
            self._feeding.on_append_reply(peer, envelope.disk_id, m)

    patch.replace(Engine, "_on_append_reply", on_append_reply)


@mutant(
    expects="committed_is_kept leader_completeness committed_is_the_same",
    schedule="figure_8",
)
def commit_an_older_term_by_counting(patch: Patch) -> None:
    """A leader commits whatever a majority holds, also entries of earlier terms. A new
    leader's own entry follows the older ones closely, so there is a schedule: figure 8
    of the paper."""

    def leader_commit(
        mine: Index,
        current: Term,
        durable: Mapping[MemberId, Index],
        voters: Collection[MemberId],
        term_at: TermAt,
        *,
        everybody: bool = False,
    ) -> Index:
        held = sorted((durable.get(voter, Index(0)) for voter in voters), reverse=True)
        counted = held[-1] if everybody else held[rules.majority(len(voters)) - 1]
        return max(mine, counted)

    patch.replace(rules, "leader_commit", leader_commit)


@mutant(expects="durable_on_a_quorum", known=1)
def commit_without_a_majority(patch: Patch) -> None:
    """A leader calls committed what anybody holds. Found when it does."""

    def leader_commit(
        mine: Index,
        current: Term,
        durable: Mapping[MemberId, Index],
        voters: Collection[MemberId],
        term_at: TermAt,
        *,
        everybody: bool = False,
    ) -> Index:
        held = max(durable.values())
        return held if held > mine and term_at(held) == current else mine

    patch.replace(rules, "leader_commit", leader_commit)
