"""Raft's rules beside the paper: each test names the sentence that it checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.consensus import rules
from raftstate.core.ports import Entry, HardState
from raftstate.core.types import Index, MemberId, Position, Term

A, B, C = MemberId("a"), MemberId("b"), MemberId("c")


def at(index: int, term: int) -> Position:
    """A position, without the ceremony."""
    return Position(Index(index), Term(term))


class Terms:
    """A log as the terms of its entries, on a base."""

    def __init__(self, *terms: int, base: Position | None = None) -> None:
        self.base = base or at(0, 0)
        self.terms = list(terms)

    @property
    def last(self) -> Position:
        """The newest entry."""
        if not self.terms:
            return self.base
        return at(self.base.index + len(self.terms), self.terms[-1])

    def term_at(self, index: Index) -> Term | None:
        """As `Log.term_at`."""
        if index == self.base.index:
            return self.base.term
        offset = index - self.base.index - 1
        return Term(self.terms[offset]) if 0 <= offset < len(self.terms) else None

    def entries(self, first: int) -> list[Entry]:
        """The entries from an index on."""
        start = first - self.base.index - 1
        return [
            Entry(Index(first + offset), Term(term), b"")
            for offset, term in enumerate(self.terms[start:])
        ]

    def judge(self, prev: Position, entries: list[Entry]) -> rules.Match | rules.Mismatch:
        """What this log's owner does about a message."""
        return rules.judge_append(self.base, self.last, self.term_at, prev, entries)

    def take(self, prev: Position, entries: list[Entry]) -> rules.Match | rules.Mismatch:
        """As `judge`, and do it."""
        judged = self.judge(prev, entries)
        if isinstance(judged, rules.Match):
            if judged.truncate is not None:
                del self.terms[judged.truncate - self.base.index - 1 :]
            self.terms += [entry.term for entry in judged.append]
        return judged


@pytest.mark.parametrize(
    ("mine", "its", "granted"),
    [
        (at(5, 2), at(1, 3), True),  # a later last term wins, however short the log
        (at(1, 3), at(5, 2), False),
        (at(5, 2), at(5, 2), True),
        (at(5, 2), at(4, 2), False),  # same term: the longer log wins
    ],
)
def test_votes_go_to_logs_that_are_at_least_as_complete(
    mine: Position, its: Position, granted: bool
) -> None:
    """Paper, 5.4.1."""
    hard = HardState(Term(4), None)

    assert rules.grants_vote(hard, Term(4), A, its, mine) is granted


def test_one_vote_a_term_and_the_same_answer_again() -> None:
    """Paper, figure 2: votedFor is null or candidateId."""
    voted = HardState(Term(4), A)

    assert rules.grants_vote(voted, Term(4), A, at(1, 1), at(1, 1))
    assert not rules.grants_vote(voted, Term(4), B, at(9, 3), at(1, 1))
    assert not rules.grants_vote(voted, Term(3), A, at(1, 1), at(1, 1))


def test_no_pre_vote_while_there_is_a_leader() -> None:
    """Dissertation, 9.6 with 4.2.3: a member that hears a leader helps nobody unseat it."""
    asked = (Term(4), Term(5), at(2, 2), at(2, 2))

    assert rules.grants_pre_vote(*asked, led=False)
    assert not rules.grants_pre_vote(*asked, led=True)
    assert not rules.grants_pre_vote(Term(5), Term(5), at(2, 2), at(2, 2), led=False)


def test_an_old_message_takes_nothing_back() -> None:
    """
    Paper, figure 2, step 3: only a conflict removes entries.

    Method: a log of three entries hears again the message that brought the first.
    """
    log = Terms(1, 1, 1)

    judged = log.judge(at(0, 0), [Entry(Index(1), Term(1), b"")])

    assert judged == rules.Match(None, (), Index(1))  # and acknowledges only what it saw


def test_a_conflict_removes_it_and_all_after_it() -> None:
    """Paper, figure 2, step 3."""
    log = Terms(1, 2, 2, 2)

    judged = log.take(at(1, 1), [Entry(Index(2), Term(3), b"")])

    assert judged == rules.Match(Index(2), [Entry(Index(2), Term(3), b"")], Index(2))
    assert log.terms == [1, 3]


def test_a_gap_is_refused_with_the_own_end() -> None:
    """Paper, 5.3: no entry without the one before it."""
    assert Terms(1, 1).judge(at(5, 1), []) == rules.Mismatch(Index(3))


def test_a_conflicting_term_is_skipped_whole() -> None:
    """Paper, end of 5.3: one round trip a conflicting term, not one an entry."""
    assert Terms(1, 2, 2, 2).judge(at(4, 3), []) == rules.Mismatch(Index(2))


def test_entries_behind_the_base_count_as_equal() -> None:
    """What the base covers is committed; a message may reach across it."""
    log = Terms(3, base=at(10, 2))

    assert log.judge(at(4, 1), []) == rules.Match(None, (), Index(4))
    reaching = [Entry(Index(i), Term(2 if i < 11 else 3), b"") for i in range(9, 13)]
    judged = log.judge(at(8, 2), reaching)
    assert judged == rules.Match(None, [reaching[-1]], Index(12))


def test_a_follower_commits_only_what_the_message_verified() -> None:
    """Paper, figure 2, step 5: min(leaderCommit, index of last new entry)."""
    assert rules.follower_commit(Index(2), Index(9), Index(4)) == 4
    assert rules.follower_commit(Index(5), Index(9), Index(4)) == 5


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    """Paper, 5.4.2 and figure 8."""
    log = Terms(1, 2, 4)
    held = {A: Index(3), B: Index(2), C: Index(2)}

    assert rules.leader_commit(Index(1), Term(4), held, (A, B, C), log.term_at) == 1
    held[B] = Index(3)
    assert rules.leader_commit(Index(1), Term(4), held, (A, B, C), log.term_at) == 3


def test_strangers_do_not_count() -> None:
    """Votes and acknowledgements are counted over members, once each."""
    assert not rules.is_quorum((A, B, C), [A, A, MemberId("x"), MemberId("y")])
    assert rules.is_quorum((A, B, C), [A, C])


def test_a_leader_without_contact_has_no_quorum() -> None:
    """Dissertation, 6.2: itself and one of two others is enough, itself alone is not."""
    voters = (A, B, C)

    assert rules.has_quorum_contact({B: 5.0, C: 1.0}, voters, A, since=4.0)
    assert not rules.has_quorum_contact({B: 4.0, C: 1.0}, voters, A, since=4.0)


def test_a_snapshot_never_takes_the_state_back() -> None:
    """Paper, section 7."""
    assert not rules.wants_snapshot(Index(7), at(7, 2))
    assert rules.wants_snapshot(Index(7), at(8, 2))


TERMS = st.lists(st.integers(1, 4), max_size=8).map(sorted)


@given(leader=TERMS, follower=TERMS, data=st.data())
def test_a_message_makes_the_logs_equal_as_far_as_it_says(
    leader: list[int], follower: list[int], data: st.DataObject
) -> None:
    """
    Log matching (paper, 5.3): what is acknowledged is equal, and what was equal stays.

    Method: any two logs that obey the log matching property; any message of the leader's.
    """
    shared = next(
        (n for n, (a, b) in enumerate(zip(leader, follower, strict=False)) if a != b),
        min(len(leader), len(follower)),
    )
    # Terms after the point where the logs part come from different leaders.
    follower = follower[:shared] + [t + 10 for t in follower[shared:]]
    theirs, mine = Terms(*leader), Terms(*follower)
    prev = data.draw(st.integers(0, len(leader)))
    count = data.draw(st.integers(0, len(leader) - prev))
    prev_position = at(prev, theirs.term_at(Index(prev)) or 0)

    judged = mine.take(prev_position, theirs.entries(prev + 1)[:count])

    if isinstance(judged, rules.Match):
        assert judged.verified == prev + count
        assert mine.terms[: judged.verified] == leader[: judged.verified]
        assert len(mine.terms) >= judged.verified
    else:
        assert judged.next_index <= prev
        assert mine.terms == follower
    assert mine.terms[: min(shared, len(mine.terms))] == leader[:shared][: len(mine.terms)]
