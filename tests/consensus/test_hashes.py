"""Comparing what members hold: who is told to quarantine, and who never is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.consensus.hashes import EVERY, KEPT, Comparison, Marks, Verdict
from raftstate.core.machine import MACHINE_VERSION
from raftstate.core.types import Index, MemberId, Revision
from raftstate.v1.peer_pb2 import HashMark

N1, N2, N3, N4, N5 = (MemberId(f"n{number}") for number in range(1, 6))
THREE = (N1, N2, N3)
FIVE = (N1, N2, N3, N4, N5)
GOOD, BAD, WORSE = b"g" * 16, b"b" * 16, b"w" * 16


def mark(
    state_hash: bytes = GOOD,
    *,
    index: int = EVERY,
    revision: int = 10,
    version: int = MACHINE_VERSION,
) -> HashMark:
    """A mark as members send it."""
    return HashMark(
        index=index, revision=revision, state_hash=state_hash, machine_version=version
    )


def judged(
    reports: dict[MemberId, HashMark],
    voters: tuple[MemberId, ...] = THREE,
    out: tuple[MemberId, ...] = (),
) -> Verdict | None:
    """The verdict on what members reported about one index."""
    comparison = Comparison()
    for member, one in reports.items():
        assert comparison.add(member, one)
    return comparison.verdict(EVERY, voters, out)


# --- marks ---------------------------------------------------------------------


def test_the_newest_marks_are_kept() -> None:
    """
    The newest is what is told; the older ones are there to be compared with.
    """
    marks = Marks()
    assert marks.newest() is None
    for step in range(1, KEPT + 3):
        assert marks.due(Index(step * EVERY))
        marks.note(Index(step * EVERY), Revision(step), bytes([step]) * 16)
    assert not marks.due(Index(EVERY + 1))

    newest = marks.newest()
    assert newest is not None
    assert (newest.index, newest.revision) == ((KEPT + 2) * EVERY, KEPT + 2)
    assert newest.machine_version == MACHINE_VERSION
    assert marks.contradicts(mark(BAD, index=2 * EVERY, revision=2)) is None
    own = marks.contradicts(mark(BAD, index=3 * EVERY, revision=3))
    assert own is not None
    assert own.state_hash == b"\x03" * 16


@pytest.mark.parametrize(
    "theirs",
    [
        mark(GOOD),
        mark(BAD, revision=11),
        mark(BAD, version=MACHINE_VERSION + 1),
        mark(BAD, index=2 * EVERY),
    ],
    ids=["the same", "another revision", "another version", "an index not noted"],
)
def test_a_member_is_contradicted_by_equal_things_only(theirs: HashMark) -> None:
    """
    Whatever it is told: it looks at its own marks.
    """
    marks = Marks()
    marks.note(Index(EVERY), Revision(10), GOOD)
    assert marks.contradicts(mark(BAD)) is not None
    assert marks.contradicts(theirs) is None


# --- verdicts --------------------------------------------------------------------


def test_nobody_is_wrong_where_all_agree() -> None:
    """
    Or where too few have spoken.
    """
    assert judged({}) is None
    assert judged({N1: mark()}) is None
    assert judged({N1: mark(), N2: mark()}) is None
    assert judged({N1: mark(), N2: mark(), N3: mark()}) is None
    assert judged({N1: mark(), N2: mark(BAD)}) is None


def test_a_minority_is_told_what_most_hold() -> None:
    """
    The leader itself may be in it.
    """
    assert judged({N1: mark(), N2: mark(), N3: mark(BAD)}) == Verdict(mark(), (N3,), "")
    assert judged({N1: mark(BAD), N2: mark(), N3: mark()}) == Verdict(mark(), (N1,), "")
    five = {N1: mark(), N2: mark(BAD), N3: mark(), N4: mark(WORSE), N5: mark()}
    assert judged(five, FIVE) == Verdict(mark(), (N2, N4), "")


def test_without_a_majority_there_is_an_alarm_and_nothing_else() -> None:
    """
    Three members, three states: whoever was told to begin anew might be the one that is
    right.
    """
    verdict = judged({N1: mark(), N2: mark(BAD), N3: mark(WORSE)})
    assert verdict is not None
    assert (verdict.agreed, verdict.told) == (None, ())
    assert f"index {EVERY}" in verdict.alarm
    two = judged({N1: mark(), N2: mark(BAD)}, (N1, N2))
    assert two is not None
    assert (two.told, bool(two.alarm)) == ((), True)


def test_another_version_is_not_compared() -> None:
    """
    While members are upgraded one after another their states may differ.
    """
    older = mark(BAD, version=MACHINE_VERSION + 1)
    assert judged({N1: mark(), N2: mark(), N3: older}) is None


def test_another_revision_at_one_index_is_a_puzzle() -> None:
    """
    It cannot be, and so it is no ground to throw anything away.
    """
    verdict = judged({N1: mark(), N2: mark(), N3: mark(BAD, revision=11)})
    assert verdict is not None
    assert verdict.told == ()
    assert "n3" in verdict.alarm


def test_a_learner_is_judged_and_does_not_judge() -> None:
    """
    Its word is no voter's. That it differs it must be told before it is one.
    """
    learner = N4
    assert judged({N1: mark(), N2: mark(BAD), learner: mark()}) is None
    assert judged({N1: mark(), N2: mark(), learner: mark(BAD)}) == Verdict(
        mark(), (learner,), ""
    )


def test_who_is_out_is_not_asked_and_not_spared() -> None:
    """
    With one member of three out, both others are needed: neither is told.
    """
    assert judged({N1: mark(), N2: mark(), N3: mark(BAD)}, out=(N3,)) is None
    verdict = judged({N1: mark(), N2: mark(BAD)}, out=(N3,))
    assert verdict is not None
    assert (verdict.told, bool(verdict.alarm)) == ((), True)
    five = {N1: mark(), N2: mark(), N3: mark(), N4: mark(BAD)}
    assert judged(five, FIVE, out=(N5,)) == Verdict(mark(), (N4,), "")


def test_who_began_anew_may_speak_again() -> None:
    """
    Old marks of its past are forgotten, and it no longer counts as lost.
    """
    comparison = Comparison()
    for member, one in ((N1, mark()), (N2, mark()), (N3, mark(BAD))):
        comparison.add(member, one)
    assert comparison.verdict(EVERY, THREE) == Verdict(mark(), (N3,), "")
    comparison.add(N2, mark(BAD, index=2 * EVERY))
    comparison.add(N1, mark(index=2 * EVERY))
    assert comparison.verdict(2 * EVERY, THREE) is None
    comparison.add(N3, mark(index=2 * EVERY))
    kept_back = comparison.verdict(2 * EVERY, THREE)
    assert kept_back is not None
    assert (kept_back.told, bool(kept_back.alarm)) == ((), True)

    comparison.forget(N3)
    assert comparison.verdict(EVERY, THREE) is None
    assert comparison.add(N3, mark(index=2 * EVERY))
    assert not comparison.add(N3, mark(index=2 * EVERY))
    found = comparison.verdict(2 * EVERY, THREE)
    assert found is not None
    assert found.told == (N2,)


def test_old_indexes_are_dropped() -> None:
    """
    However many there are, what is kept is bounded; what is too old is no news.
    """
    comparison = Comparison()
    for step in range(2, KEPT + 2):
        assert comparison.add(N1, mark(index=step * EVERY))
    assert not comparison.add(N2, mark(BAD, index=EVERY))
    assert comparison.verdict(EVERY, THREE) is None


REPORTS = st.lists(
    st.tuples(
        st.sampled_from(FIVE),
        st.integers(1, 3),
        st.sampled_from([GOOD, BAD, WORSE]),
    ),
    max_size=30,
)


@given(
    reports=REPORTS,
    size=st.sampled_from([1, 2, 3, 4, 5]),
    out=st.sets(st.sampled_from(FIVE), max_size=2),
)
def test_never_more_than_a_minority_is_lost(
    reports: list[tuple[MemberId, int, bytes]], size: int, out: set[MemberId]
) -> None:
    """
    Whatever is reported, in whatever order: those told and those out leave a majority,
    unless those out alone did not; and each was told by a majority's hash.
    """
    voters = FIVE[:size]
    comparison = Comparison()
    newest: dict[tuple[int, MemberId], bytes] = {}
    told: set[MemberId] = set()
    for member, step, state_hash in reports:
        comparison.add(member, mark(state_hash, index=step * EVERY))
        newest[step, member] = state_hash
        verdict = comparison.verdict(step * EVERY, voters, out)
        if verdict is None:
            continue
        told |= set(verdict.told)
        if verdict.told:
            assert verdict.agreed is not None
            holding = Counter(newest.get((step, voter)) for voter in set(voters) - out)
            assert 2 * holding[verdict.agreed.state_hash] > size
            assert all(newest[step, one] != verdict.agreed.state_hash for one in verdict.told)
    lost = (told | out) & set(voters)
    assert not told & out
    assert told & set(voters) == set() or 2 * (size - len(lost)) > size
