"""Schedules: what has to happen, step by step, for a bug to show.

Each is a story that ends in a violated invariant if its bug is planted, and well if not.
A schedule waits for what it needs; if that does not come to be it says so, and counts
as no proof of anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raftstate.core.ports import ChangeKind, MemberChange
from tests.sim.mutants.stage import NotSetUp, Stage, calm, match
from tests.sim.node import SimNode

Schedule = Callable[[], None]


def figure_8() -> None:
    """
    Figure 8 of the paper: an entry of an older term on a majority is not yet safe.

    S1 leads and gives an entry to S2 only. S5 is elected by the others, writes its own
    first entry, and gives it to nobody. S1 or S2 leads again, gives the old entry to S3,
    and is cut off before anything of its new term is there. S5 comes back and is elected.
    """
    # One entry a message, one message at a time: the old entry arrives alone.
    with Stage(5, append_bytes_max=1, window=1) as stage:
        s1 = stage.in_office()
        stage.level()
        s2, *rest = stage.others(s1)
        stage.part([s1, s2], rest)
        stage.write(s1)
        stage.until(lambda: s2.log.last == s1.log.last)
        old = s1.log.last

        s5 = stage.elected(rest)
        s3, s4 = (node for node in rest if node is not s5)
        stage.part([s5], [s3, s4])

        stage.join([s1, s2, s3])
        again = stage.elected([s1, s2])
        stage.until(lambda: match(again, s3) == old.index)
        stage.part([again], [s3])
        stage.part([s1, s2], [s3])
        if s3.log.last != old or s5.log.last.index != old.index:
            raise NotSetUp(f"{s3.log.last} and {s5.log.last} are not two entries at {old}")

        stage.join([s3, s4, s5])
        stage.in_office([s5])
        stage.finish()


def an_entry_that_is_sent_again() -> None:
    """
    A follower has acknowledged three entries; its answers are held back. The connection to
    it breaks, so that the leader sends the first of them again. Then the answers arrive: by
    them, and with nobody else's, the leader commits all three.
    """
    # One entry a message, so that the first comes again without the others.
    with Stage(3, append_bytes_max=1) as stage:
        a = stage.in_office()
        stage.level()
        b, c = stage.others(a)
        stage.part([c], [a, b])
        stage.hold(b, a)
        for _ in range(3):
            stage.write(a)
        last = a.log.last
        stage.until(lambda: b.durable.last == last)

        stage.cut(a, b)
        stage.go(0.01)
        stage.join([a, b])
        stage.go(0.05)
        if match(a, b) == last.index:
            raise NotSetUp("the leader knows already that the follower has it all")
        stage.let_go(b, a)
        stage.until(lambda: a.status.commit_index == last.index)
        stage.finish()


def an_ack_from_an_earlier_office() -> None:
    """
    An acknowledgement is held back until its leader has lost office and won it again.

    A leads with B alone, and B acknowledges five entries; the link from B to A holds the
    answers back. The others elect a leader, which overwrites those entries in A's log, not
    in B's. A is elected again and writes other entries in their place, of which only one
    more member hears. Now the old answers arrive.
    """
    with Stage(5) as stage:
        a = stage.in_office()
        stage.level()
        b, *rest = stage.others(a)
        stage.hold(b, a)
        stage.part([a, b], rest)
        for _ in range(5):
            stage.write(a)
        lost = a.log.last
        stage.until(lambda: b.log.last == lost and b.durable.last == lost)

        c = stage.in_office(rest)
        d, e = (node for node in rest if node is not c)
        stage.join([a, c, d, e])
        stage.until(lambda: a.log.last == c.log.last == d.log.last == e.log.last)
        if a.log.last.index >= lost.index:
            raise NotSetUp(f"{a.log.last} does not leave room below {lost}")

        # D and E stand still for a moment, so that A is the first to ask for votes.
        stage.part([c], [a, d, e])
        for node in (d, e):
            node.pause(2.0)
        stage.until(lambda: stage.leader([a]) is a)
        stage.part([a], [e])
        while a.log.last.index < lost.index:
            stage.write(a)
        stage.let_go(b, a)
        stage.go(0.1)
        stage.finish()


def a_candidate_that_lacks_an_entry() -> None:
    """
    A member of three is cut off while the others commit an entry. Then the leader is cut
    off, the third stands still for a moment, and the one that lacks the entry is the first
    to ask it for its vote.
    """
    with Stage(3) as stage:
        a = stage.in_office()
        stage.level()
        b, c = stage.others(a)
        stage.part([c], [a, b])
        stage.write(a)
        stage.until(lambda: b.durable.last == a.log.last)
        stage.until(lambda: a.status.commit_index == a.log.last.index)

        stage.part([a], [b])
        b.pause(1.0)
        stage.join([b, c])
        stage.in_office([b, c])
        stage.finish()


def a_vote_that_arrives_twice() -> None:
    """
    Two members of five are cut off, and whatever one tells the other arrives twice.

    The three elect a leader. The two must not: one of them votes for itself, and has one
    other vote, two times.
    """
    with Stage(5) as stage:
        first = stage.in_office()
        stage.level()
        second, *rest = stage.others(first)
        stage.double(first, second)
        stage.double(second, first)
        stage.part([first, second], rest)
        stage.in_office(rest)
        stage.go(5.0)
        stage.finish()


def a_read_at_a_deposed_leader() -> None:
    """
    A leader is cut off, and another is elected and writes. The first does not know yet,
    and is asked for what was written.
    """
    with Stage(3, election_max_s=3.0) as stage:
        old = stage.in_office()
        stage.step(old)
        others = stage.others(old)
        stage.part([old], others)
        stage.step(stage.in_office(others, within_s=3.0))
        still_leads(old)
        stage.read(old)
        stage.go(0.1)
        stage.finish()


def a_keep_alive_at_a_deposed_leader() -> None:
    """
    A leader is cut off, and another is elected, which gives every session its full time.
    A client goes on to keep its session alive at the first, which does not know yet.
    """
    habits = replace(calm(3).habits, session_ttl_ms=1000)
    with Stage(3, election_max_s=3.0, habits=habits) as stage:
        old = stage.in_office()
        stage.keep(old)
        stage.go(0.5)
        others = stage.others(old)
        stage.part([old], others)
        new = stage.in_office(others, within_s=3.0)
        stage.go(0.5)
        still_leads(old)
        revision = new.status.revision
        stage.until(lambda: new.status.revision > revision)  # the session has expired
        stage.finish()


def an_answer_from_before_the_read() -> None:
    """
    The answer to a probe is held back; meanwhile another leader is elected and writes.

    A read at the first leader, begun after that write, may not join the round of which
    this answer is: it was true when it left.
    """
    with Stage(3, election_max_s=3.0) as stage:
        a = stage.in_office()
        stage.step(a)
        b, c = stage.others(a)
        stage.hold(b, a)
        stage.hold(c, a)
        stage.read(a)
        stage.go(0.02)  # the probes arrive, and are answered
        stage.cut(a, b)
        stage.cut(a, c)

        new = stage.in_office([b, c], within_s=3.0)
        other = b if new is c else c
        stage.cut(new, a)
        stage.step(new)
        still_leads(a)
        stage.read(a)
        stage.go(0.01)
        stage.let_go(other, a)
        stage.go(0.1)
        stage.finish()


def a_quarantined_node_meets_a_deposed_leader() -> None:
    """
    A leader is cut off, and another is elected and writes. A member that had followed both
    loses its disk, comes back, and hears of the deposed leader only, which does not know
    that it is.
    """
    with Stage(3, election_max_s=3.0) as stage:
        old = stage.in_office()
        stage.level()
        others = stage.others(old)
        stage.part([old], others)
        new = stage.in_office(others, within_s=3.0)
        (forgetful,) = (node for node in others if node is not new)
        stage.write(new)
        stage.until(lambda: len({node.log.last for node in others}) == 1)
        stage.go(0.05)

        stage.part([new], [forgetful])
        forgetful.crash(power=True)
        forgetful.disk.wipe()
        forgetful.start()
        stage.join([old, forgetful])
        still_leads(old)
        for _ in range(10):
            stage.write(old)
            stage.go(0.05)
        stage.finish()


def a_removed_member_that_does_not_know() -> None:
    """
    A member of four stands still and is cut off while the others remove it, and then hears
    of one of them only, which hears of nobody else.

    These two are no majority, neither of the old four nor of the new three: they must not
    elect a leader, whose log would lack what the other two have committed since.
    """
    with Stage(4) as stage:
        a = stage.in_office()
        stage.level()
        b, c, d = stage.others(a)
        stage.part([d], [a, b, c])
        d.pause(60.0)
        stage.change(a, MemberChange(ChangeKind.REMOVE, d.member_id))
        stage.until(lambda: len({n.status.applied_index for n in (a, b, c)}) == 1)

        stage.part([b], [a, c])
        stage.write(a)
        stage.until(lambda: c.status.commit_index == a.log.last.index)
        stage.join([b, d])
        stage.go(1.5)  # B has asked for votes, more than once
        stage.rouse(d)
        stage.go(0.2)
        stage.finish()


def two_grants_in_one_entry() -> None:
    """
    A session asks for one agent several times at once: whoever holds it may ask again, and
    gets another token each time, also when all are in one entry of the log.
    """
    with Stage(3, turn_s=0.005) as stage:
        leader = stage.in_office()
        before = leader.log.last.index
        stage.acquire_at_once(leader, times=6)
        if leader.log.last.index > before + 5:
            raise NotSetUp("no two of them were in one entry")
        stage.finish()


def still_leads(node: SimNode) -> None:
    """A deposed leader is of interest for as long as it does not know that it is one."""
    if node.status.role != "leader":
        raise NotSetUp("the first leader knows that it is deposed")


SCHEDULES: tuple[Schedule, ...] = (
    figure_8,
    an_entry_that_is_sent_again,
    an_ack_from_an_earlier_office,
    a_candidate_that_lacks_an_entry,
    a_vote_that_arrives_twice,
    a_read_at_a_deposed_leader,
    a_keep_alive_at_a_deposed_leader,
    an_answer_from_before_the_read,
    two_grants_in_one_entry,
    a_quarantined_node_meets_a_deposed_leader,
    a_removed_member_that_does_not_know,
)


def find(name: str) -> Schedule:
    """A schedule by its name."""
    return {one.__name__: one for one in SCHEDULES}[name]
