"""Raft's rules as plain functions of plain values.

Read this beside the paper (Ongaro and Ousterhout, "In Search of an Understandable
Consensus Algorithm", extended version) and the dissertation (Ongaro, 2014). Nothing
here knows PySyncObj, a clock, a disk or a socket; `adapter.py` asks these functions
and carries out what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from raftstate.core.ports import Entry, HardState
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.v1.peer_pb2 import RequestVote

TermAt = Callable[[Index], Term | None]


def majority(voters: int) -> int:
    """How many of so many voters decide."""
    return voters // 2 + 1


def is_quorum(voters: Collection[MemberId], agreed: Collection[MemberId]) -> bool:
    """Whether those who agreed, strangers not counted, are a majority of the voters."""
    return len(set(voters) & set(agreed)) >= majority(len(voters))


# --- elections ---------------------------------------------------------------


@dataclass(slots=True)
class Campaign:
    """Votes, one a voter, for one term; a pre-vote asks without raising the term."""

    term: Term
    pre: bool
    # voters, and the disks that they voted from
    votes: dict[MemberId, str] = field(default_factory=dict)


def up_to_date(candidate: Position, mine: Position) -> bool:
    """Whether a candidate's log is at least as complete as mine (paper, 5.4.1)."""
    return (candidate.term, candidate.index) >= (mine.term, mine.index)


def grants_vote(
    mine: HardState, term: Term, candidate: MemberId, its_last: Position, my_last: Position
) -> bool:
    """Whether to vote, in `term`, which is my current term (paper, figure 2).

    The same candidate gets the same answer again, since a reply may be lost.
    """
    if term != mine.term:
        return False
    free = mine.vote is None or mine.vote == candidate
    return free and up_to_date(its_last, my_last)


def grants_pre_vote(
    my_term: Term, campaign_term: Term, its_last: Position, my_last: Position, *, led: bool
) -> bool:
    """Whether I would vote, if asked (dissertation, 9.6). `led`: I heard from a
    leader within the shortest election timeout, or lead myself."""
    return campaign_term > my_term and up_to_date(its_last, my_last) and not led


def may_elect(*, settled: bool, candidate_settled: bool) -> bool:
    """Whether a member may vote for a candidate at all.

    Who lost its disk and came back under its name has forgotten what it acknowledged:
    its vote could elect a leader that lacks it. So until it is settled it votes only
    for candidates that are not either, and those need everybody's vote, which they only
    get where nobody holds anything: in a new cluster.
    """
    return settled or not candidate_settled


def grants(
    mine: HardState,
    my_last: Position,
    term: Term,
    candidate: MemberId,
    request: RequestVote,
    *,
    led: bool,
) -> bool:
    """Whether to vote as asked, in `term`, the term of the request."""
    its_last = Position(Index(request.last_index), Term(request.last_term))
    if not may_elect(settled=mine.settled, candidate_settled=request.settled):
        return False
    if request.pre_vote:
        campaign_term = Term(request.campaign_term)
        return grants_pre_vote(mine.term, campaign_term, its_last, my_last, led=led)
    return grants_vote(mine, term, candidate, its_last, my_last)


def vote_request(
    last: Position, campaign_term: Term, *, settled: bool, pre: bool, transfer: bool
) -> RequestVote:
    """What a candidate asks of every voter."""
    return RequestVote(
        last_index=last.index,
        last_term=last.term,
        pre_vote=pre,
        campaign_term=campaign_term,
        transfer=transfer,
        settled=settled,
    )


def wins(voters: Collection[MemberId], votes: Collection[MemberId], *, settled: bool) -> bool:
    """Whether a candidate has the votes that it needs (see `may_elect`)."""
    return is_quorum(voters, votes) if settled else set(voters) <= set(votes)


# --- log matching ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The follower's log does not hold the entry before the new ones.

    `next_index` is where the leader should go on: not past our end, and not inside
    a term of which our entries conflict (paper, end of 5.3).
    """

    next_index: Index


@dataclass(frozen=True, slots=True)
class Match:
    """The follower's log matches up to `verified`, once it has done what is said:
    remove entries from `truncate` on, if that is set, then add `append`.

    `verified` is the last index that this message proved equal to the leader's. An
    entry beyond it may be of another term: neither acknowledged nor committed.
    """

    truncate: Index | None
    append: Sequence[Entry]
    verified: Index


def judge_append(
    base: Position,
    last: Position,
    term_at: TermAt,
    prev: Position,
    entries: Sequence[Entry],
) -> Mismatch | Match:
    """What a follower does about AppendEntries (paper, figure 2, steps 2 to 4).

    Only a conflicting entry removes anything: a message that is old, or comes twice,
    must not take back what was acknowledged since.
    """
    if prev.index > last.index:
        return Mismatch(Index(last.index + 1))
    if prev.index < base.index:
        # All up to the base is committed, hence equal: begin behind it.
        verified = Index(prev.index + len(entries))
        if verified <= base.index:
            return Match(None, (), verified)
        entries = entries[base.index - prev.index :]
        prev = base
    mine = term_at(prev.index)
    if mine != prev.term:
        assert mine is not None, f"no term at {prev.index} inside the log"
        return Mismatch(_first_of_term(base, term_at, prev.index, mine))
    for position, entry in enumerate(entries):
        mine = term_at(entry.index)
        if mine is None:
            return Match(None, entries[position:], entries[-1].index)
        if mine != entry.term:
            return Match(entry.index, entries[position:], entries[-1].index)
    return Match(None, (), Index(prev.index + len(entries)))


def _first_of_term(base: Position, term_at: TermAt, index: Index, term: Term) -> Index:
    """The first index of the run of `term` that `index` is in."""
    while index - 1 > base.index and term_at(Index(index - 1)) == term:
        index = Index(index - 1)
    return index


# --- commitment --------------------------------------------------------------


def follower_commit(mine: Index, leader_commit: Index, verified: Index) -> Index:
    """A follower commits what the leader committed, as far as this message proved
    the logs equal, and never goes back (paper, figure 2, step 5)."""
    return max(mine, min(leader_commit, verified))


def leader_commit(
    mine: Index,
    current: Term,
    durable: Mapping[MemberId, Index],
    voters: Collection[MemberId],
    term_at: TermAt,
    *,
    everybody: bool = False,
) -> Index:
    """The highest index that is durable on a quorum (or on everybody, in a new cluster)
    and of the leader's own term.

    An entry of an earlier term is never committed by counting (paper, 5.4.2);
    `durable` holds the leader's own log too, as far as it is synced.
    """
    held = sorted((durable.get(voter, Index(0)) for voter in voters), reverse=True)
    candidate = held[-1] if everybody else held[majority(len(voters)) - 1]
    if candidate > mine and term_at(candidate) == current:
        return candidate
    return mine


def has_quorum_contact(
    heard: Mapping[MemberId, float], voters: Collection[MemberId], me: MemberId, since: float
) -> bool:
    """Whether a quorum, myself included, was heard from since then: a leader without
    it steps down (dissertation, 6.2)."""
    recent = {voter for voter in voters if voter == me or heard.get(voter, since) > since}
    return is_quorum(voters, recent)


# --- snapshots ---------------------------------------------------------------


def wants_snapshot(commit_index: Index, snapshot: Position) -> bool:
    """Whether a snapshot from the leader brings anything: never one from behind what
    is committed here, or the state would go backwards (paper, section 7)."""
    return snapshot.index > commit_index
