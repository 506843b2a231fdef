"""What a leader knows of a follower, and the rounds of its reads."""

from raftstate.consensus.progress import Mode, Progress
from raftstate.consensus.read_index import ReadRounds
from raftstate.core.types import Index, MemberId

A, B, C = MemberId("a"), MemberId("b"), MemberId("c")


def replicating(match: int) -> Progress:
    """A follower that is known to match so far."""
    progress = Progress(next=Index(match + 1))
    progress.accepted(Index(match))
    return progress


def test_a_probe_is_answered_before_the_next_leaves() -> None:
    """Until it is known where the logs part, one message is out at a time."""
    progress = Progress(next=Index(5))

    assert progress.may_send(8)
    progress.sent_entries(Index(7))
    assert not progress.may_send(8)
    progress.accepted(Index(7))
    assert progress.mode is Mode.REPLICATE
    assert (progress.match, progress.next) == (7, 8)


def test_the_window_bounds_what_is_in_flight() -> None:
    """A slow follower costs a bounded number of batches."""
    progress = replicating(1)
    progress.sent_entries(Index(2))
    progress.sent_entries(Index(3))

    assert not progress.may_send(2)
    progress.accepted(Index(2))
    assert progress.may_send(2)


def test_late_rejections_undo_nothing() -> None:
    """
    A rejection goes back only if it answers the newest probe, and never behind `match`.

    Method: probe at 9, step back to 5, then hear the rejection of a probe at 9 again.
    """
    progress = Progress(next=Index(10))
    progress.rejected(Index(9), Index(5))
    assert progress.next == 5
    progress.rejected(Index(9), Index(2))
    assert progress.next == 5
    progress.accepted(Index(4))
    progress.rejected(Index(3), Index(1))
    assert progress.mode is Mode.REPLICATE
    progress.rejected(Index(6), Index(1))
    assert (progress.mode, progress.next) == (Mode.PROBE, 5)


def test_a_broken_link_forgets_what_was_in_flight() -> None:
    """What was sent and not acknowledged is sent again; a first probe stays where it is."""
    progress = replicating(3)
    progress.sent_entries(Index(9))

    progress.disconnected()

    assert (progress.mode, progress.next) == (Mode.PROBE, 4)
    fresh = Progress(next=Index(10))
    fresh.disconnected()
    assert fresh.next == 10


def test_what_is_on_a_link_is_not_forgotten_with_its_snapshot() -> None:
    """A newer snapshot waits like the next piece of the former one, whose answers, too, say
    that the link has room again. A break of the link empties it."""
    progress = Progress(next=Index(1))
    progress.begin_snapshot("old")
    progress.waiting, progress.unanswered = True, 2

    progress.begin_snapshot("new")
    assert (progress.waiting, progress.unanswered) == (True, 2)
    progress.heard_of_former_snapshot()
    assert progress.waiting
    progress.heard_of_former_snapshot()
    assert not progress.waiting

    progress.waiting, progress.unanswered = True, 2
    progress.disconnected()
    assert (progress.waiting, progress.unanswered) == (False, 0)


def test_a_read_does_not_join_a_round_under_way() -> None:
    """
    Dissertation, 6.4: the confirmation must begin after the read did.

    Method: a read arrives while probes are out; their answers serve only the first.
    """
    rounds: ReadRounds[str] = ReadRounds(A, (A, B, C))
    rounds.add("first", Index(3))
    number = rounds.begin()
    assert number is not None
    rounds.add("second", Index(3))

    assert rounds.begin() is None
    rounds.agree(B, number)

    assert rounds.ready(Index(3)) == ["first"]
    assert rounds.begin() == number + 1
    rounds.agree(C, number)  # late, of the round before
    assert rounds.ready(Index(3)) == []
    rounds.agree(C, number + 1)
    assert rounds.ready(Index(3)) == ["second"]


def test_a_read_waits_for_what_was_committed_when_it_came() -> None:
    """A quorum's word is not enough: the noted index must be applied."""
    rounds: ReadRounds[str] = ReadRounds(A, (A, B, C))
    rounds.add("read", Index(7))
    number = rounds.begin()
    assert number is not None
    rounds.agree(B, number)

    assert rounds.ready(Index(6)) == []
    assert rounds.ready(Index(7)) == ["read"]
    assert rounds.idle()


def test_strangers_and_repeats_make_no_quorum() -> None:
    """Five voters need three, and one that answers twice is one."""
    voters = tuple(MemberId(name) for name in "abcde")
    rounds: ReadRounds[str] = ReadRounds(A, voters)
    rounds.add("read", Index(0))
    number = rounds.begin()
    assert number is not None

    for member in (B, B, MemberId("z")):
        rounds.agree(member, number)

    assert rounds.ready(Index(0)) == []
    assert rounds.drop() == ["read"]
