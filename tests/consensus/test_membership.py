"""Members come and go, one at a time, and no two majorities ever miss each other."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from raftstate.consensus import membership
from raftstate.consensus.membership import Learner, change, founding
from raftstate.consensus.replica import Replica
from raftstate.core import queries
from raftstate.core.ports import ChangeKind, ChangeRefused, LeadershipTransferred, MemberChange
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import AppendEntries, Dismissal, Envelope, RequestVote
from raftstate.v1.store_pb2 import Outcome
from tests.consensus.bench import MEMBERS, Table

D, E = MemberId("d"), MemberId("e")


def voters(replica: Replica) -> set[str]:
    """Who votes, by the configuration in force at a member."""
    configuration = replica.status().configuration
    return {member.member_id for member in configuration.members if not member.learner}


def agreed(table: Table, expected: Collection[str]) -> bool:
    """Whether everybody who is there has the same voters in its state."""
    for replica in table.replicas.values():
        applied = queries.configuration(replica._state.store)
        if applied is None or voters(replica) != set(expected):
            return False
        if {m.member_id for m in applied.members if not m.learner} != set(expected):
            return False
    return True


def test_the_first_entry_names_everybody_and_their_disks() -> None:
    """A new cluster's configuration is in its log, so that later ones can follow it."""
    table = Table()
    leader = table.elect()

    found = queries.configuration(leader._state.store)
    assert found is not None
    assert [(m.member_id, m.disk_id) for m in found.members] == [
        ("a", "disk-a"),
        ("b", "disk-b"),
        ("c", "disk-c"),
    ]
    assert found.cluster_key == f"disk-{leader.config.member_id}"


def test_three_become_five_and_three_again() -> None:
    """
    Each new member catches up as a learner before it votes; all agree at every stage.

    Method: grow by two, then remove the two that were there first, whoever leads.
    """
    table = Table()
    table.write(table.elect(), "before")
    table.grow(D)
    table.grow(E)
    table.until(lambda: agreed(table, {"a", "b", "c", "d", "e"}))

    for member in MEMBERS[:2]:
        assert isinstance(table.change(ChangeKind.REMOVE, member), Configuration)
        table.until(lambda member=member: member in table.gone)  # type: ignore[misc]
    table.until(lambda: agreed(table, {"c", "d", "e"}))

    leader = table.elect()
    table.write(leader, "after")
    table.until(lambda: "after" in table.answers)
    for replica in table.replicas.values():
        table.until(lambda r=replica: queries.get_session(r._state.store, "after"))  # type: ignore[misc]
        assert queries.get_session(replica._state.store, "before")


def test_a_learner_counts_for_nothing() -> None:
    """
    Neither for commitment nor for elections: it has promised nothing yet.

    Method: a learner has everything; with one voter of three and the learner left,
    nothing is committed and nobody is elected.
    """
    table = Table()
    leader = table.elect()
    table.join(D)
    assert isinstance(table.change(ChangeKind.ADD, D), Configuration)
    table.until(lambda: leader.engine.match_index(D) == leader.status().last_index)
    me = leader.config.member_id
    table.paused = {member for member in MEMBERS if member != me}

    table.write(leader, "lonely")
    table.until(lambda: leader.status().role != "leader")
    table.run(3.0)

    assert table.leader() is None
    assert not isinstance(table.answers["lonely"], Outcome)
    assert table.replicas[D].status().role == "follower"


def test_a_lone_voter_speaks_of_no_term_that_it_may_forget() -> None:
    """
    It has won its election before anything is durable: what its learner is sent must wait.

    Method: the cluster shrinks to one voter and a learner, and the voter starts again;
    the table looks at the disk whenever a message leaves.
    """
    table = Table()
    table.join(D)
    assert isinstance(table.change(ChangeKind.ADD, D), Configuration)
    for member in MEMBERS[1:]:
        assert isinstance(table.change(ChangeKind.REMOVE, member), Configuration)
        table.until(lambda member=member: member in table.gone)  # type: ignore[misc]
    (alone,) = set(MEMBERS[:1])
    table.disks[alone].crash(lose_unsynced=True)
    table.restart(alone)

    table.write(table.elect(), "alone")
    table.until(lambda: "alone" in table.answers)
    table.until(lambda: queries.get_session(table.replicas[D]._state.store, "alone"))


def test_a_learner_that_lags_is_not_promoted() -> None:
    """A voter that lacks the log would hold up every commit that needs it."""
    table = Table()
    leader = table.elect()
    assert isinstance(table.change(ChangeKind.ADD, D), Configuration)

    refused = table.change(ChangeKind.PROMOTE, D)

    assert isinstance(refused, ChangeRefused)
    assert refused.reason == "NOT_CAUGHT_UP"
    assert voters(leader) == set(MEMBERS)


def test_one_change_at_a_time() -> None:
    """
    Two changes under way could make two majorities that share nobody (dissertation, 4.1).

    Method: the leader is cut off, so that its first change cannot be committed.
    """
    table = Table()
    leader = table.elect()
    table.isolate(leader.config.member_id)
    for member in (D, E):
        leader.change_members(MemberChange(ChangeKind.ADD, member, "r", "c"), member)
    table.turn()

    second = table.answers[E]
    assert isinstance(second, ChangeRefused)
    assert second.reason == "CONFLICT"
    assert D not in table.answers


def test_no_change_before_an_entry_of_the_own_term() -> None:
    """
    A leader that has committed nothing of its own may not know the change that was
    committed last (the correction of 2015 to the dissertation's algorithm).
    """
    table = Table()
    first = table.elect()
    table.paused = {first.config.member_id}
    # The new leader is elected, and what it sends to the other is lost.
    table.until(lambda: any(r.engine.leads for r in table.replicas.values() if r is not first))
    (second,) = [r for r in table.replicas.values() if r.engine.leads and r is not first]
    table.isolate(second.config.member_id)
    second.change_members(MemberChange(ChangeKind.REMOVE, first.config.member_id), "early")
    table.turn()

    assert "early" in table.answers
    assert not isinstance(table.answers["early"], Configuration)
    assert voters(second) == set(MEMBERS)


def test_what_was_not_committed_is_rolled_back() -> None:
    """
    A configuration is in force where it is appended, and goes with the entry.

    Method: a leader that is cut off adds a member; another leader's log wins.
    """
    table = Table()
    old = table.elect()
    me = old.config.member_id
    table.isolate(me)
    old.change_members(MemberChange(ChangeKind.ADD, D, "r", "c"), "lost")
    table.turn()
    assert old.engine.membership.names(D)

    table.until(lambda: (new := table.leader()) is not None and new is not old)
    table.heal()
    table.until(lambda: not old.engine.membership.names(D))
    table.until(lambda: agreed(table, set(MEMBERS)))


def test_a_snapshot_ends_what_was_never_committed_before_it() -> None:
    """
    What a deposed leader had appended is not in force behind a snapshot of others.

    Method: a leader that is cut off adds a member; the others go on, and compact their
    logs past that entry, so that it is brought up to date with a snapshot.
    """
    table = Table(compact_entries=5, keep_entries=0)
    old = table.elect()
    table.isolate(old.config.member_id)
    old.change_members(MemberChange(ChangeKind.ADD, D, "r", "c"), "lost")
    table.turn()
    table.until(lambda: (new := table.leader()) is not None and new is not old)
    for number in range(20):
        table.write(table.elect(), f"s{number}")
        table.until(lambda number=number: f"s{number}" in table.answers)  # type: ignore[misc]

    table.heal()
    table.until(lambda: old.status().snapshots_installed > 0)

    assert not old.engine.membership.names(D)
    table.until(lambda: agreed(table, MEMBERS))


def test_a_leader_that_is_removed_leads_until_that_is_committed() -> None:
    """
    Then it goes, and another leads long before an election timeout has passed.

    Method: the answer comes, and the others elect a leader among themselves.
    """
    table = Table()
    old = table.elect()
    me = old.config.member_id

    assert isinstance(table.change(ChangeKind.REMOVE, me), Configuration)
    took = table.until(lambda: table.leader() is not None and me in table.gone)

    assert took < old.config.election_min_s / 2
    assert "removed" in table.gone[me]
    table.until(lambda: agreed(table, set(MEMBERS) - {me}))


def test_a_leader_that_is_removed_sends_nobody_who_counts_for_nothing() -> None:
    """
    A member that begins anew is no successor, however short the log is.

    Method: in a young cluster the only other voter that is up has just lost its folder,
    when the entry that removes the leader is applied.
    """
    table = Table()
    table.grow(D)
    leader = table.elect()
    me = leader.config.member_id
    near = next(m for m in table.replicas if m != me)
    leader.change_members(MemberChange(ChangeKind.REMOVE, me), "removal")
    table.turn()
    table.lose_disk(near)
    table.until(lambda: me in table.gone)

    table.until(lambda: agreed(table, set(table.replicas)))


def test_a_removed_leader_does_not_count_itself() -> None:
    """
    The entry that removes it is committed by a majority of the others alone.

    Method: it is in the leader's log and in that of one of the two others, which would be
    two of three; it is not committed before the second has it too.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    near, far = (member for member in MEMBERS if member != me)
    table.cut = {(me, far)}
    leader.change_members(MemberChange(ChangeKind.REMOVE, me), "removal")
    table.turn()
    index = leader.engine.membership.index
    table.until(lambda: leader.engine.match_index(near) >= index)
    table.run(leader.config.heartbeat_s)

    assert "removal" not in table.answers
    assert leader.status().commit_index < index

    table.heal()
    table.until(lambda: "removal" in table.answers)
    assert isinstance(table.answers["removal"], Configuration)


def test_a_change_that_would_stop_the_cluster_is_refused() -> None:
    """Raft would let it happen; nobody would want it."""
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    alive, dead = (member for member in MEMBERS if member != me)
    table.paused = {dead}
    table.run(1.0)

    refused = table.change(ChangeKind.REMOVE, alive)

    assert isinstance(refused, ChangeRefused)
    assert refused.reason == "UNHEALTHY"
    assert isinstance(table.change(ChangeKind.REMOVE, dead), Configuration)


def test_an_empty_disk_under_an_old_id_is_refused() -> None:
    """
    It has promised nothing of what the voter of that name has promised.

    Method: a member starts anew with a folder that nobody knows; it is told to go, the
    others raise an alarm, and it comes in as a learner once it was removed.
    """
    table = Table()
    leader = table.elect()
    lost = next(m for m in MEMBERS if m != leader.config.member_id)
    table.disks[lost].crash(lose_unsynced=True)
    table.disks[lost] = table._disk(lost, "another")
    table.restart(lost)

    table.until(lambda: lost in table.gone)
    assert "another data folder" in table.gone[lost]
    assert "PEER_LOST_DISK" in dict(leader.status().alarms)
    assert voters(leader) == set(MEMBERS)

    assert isinstance(table.change(ChangeKind.REMOVE, lost), Configuration)
    table.run(0.1)
    table.join(lost, "another")
    assert isinstance(table.change(ChangeKind.ADD, lost), Configuration)
    table.until(lambda: isinstance(table.change(ChangeKind.PROMOTE, lost), Configuration))
    table.until(lambda: agreed(table, set(MEMBERS)))


def test_a_member_that_was_away_follows_a_leader_it_has_never_heard_of() -> None:
    """
    It votes for it too, if need be (dissertation, 4.1): its own configuration is old.

    Method: two members join while one is away; the leader goes, and one of the new leads.
    """
    table = Table()
    leader = table.elect()
    away = next(m for m in MEMBERS if m != leader.config.member_id)
    table.isolate(away)
    table.grow(D)
    table.isolate(away)
    leader = table.elect()
    leader.transfer_leadership(D, "moved")
    table.until(lambda: "moved" in table.answers)
    assert table.answers["moved"] == LeadershipTransferred(D)

    table.heal()
    table.until(lambda: table.replicas[away].status().leader == D)
    table.until(lambda: agreed(table, {*MEMBERS, D}))


def test_a_removed_member_that_missed_it_is_told_and_disturbs_nobody() -> None:
    """
    It asks for votes; nobody's term moves, and the answer is that it is no member.
    """
    table = Table()
    leader = table.elect()
    away = next(m for m in MEMBERS if m != leader.config.member_id)
    table.isolate(away)
    assert isinstance(table.change(ChangeKind.REMOVE, away), Configuration)
    term = leader.status().term
    table.run(2.0)
    assert away not in table.gone

    table.heal()
    table.until(lambda: away in table.gone)

    assert leader.status().role == "leader"
    assert leader.status().term == term


def test_who_is_being_added_waits_until_it_is() -> None:
    """
    A leader that begins to add somebody, and loses office, leaves a newcomer that others
    do not know. It is not told to go: the next leader may add it.

    Method: the newcomer is fed by a leader that nobody else hears.
    """
    table = Table()
    old = table.elect()
    me = old.config.member_id
    table.join(D)
    table.cut = {(me, other) for other in MEMBERS if other != me}
    old.change_members(MemberChange(ChangeKind.ADD, D, "d:1", "d:2"), "lost")
    table.until(lambda: table.replicas[D].engine.membership.names(D))
    table.until(lambda: (new := table.leader()) is not None and new is not old)
    table.heal()
    # What is committed now is newer than all that the newcomer has seen.
    assert isinstance(table.change(ChangeKind.ADD, E), Configuration)
    table.run(2.0)
    assert D not in table.gone

    assert isinstance(table.change(ChangeKind.ADD, D), Configuration)
    table.until(lambda: isinstance(table.change(ChangeKind.PROMOTE, D), Configuration))


def test_a_dismissal_of_the_past_is_not_obeyed() -> None:
    """Who knows less than this member cannot know that it was removed."""
    table = Table()
    leader = table.elect()
    index = leader.status().configuration.index
    envelope = Envelope(
        from_member="b",
        disk_id="disk-b",
        dismissal=Dismissal(configuration_index=index - 1, reason="old news"),
    )
    leader.receive(envelope)
    table.run(0.1)

    assert not table.gone


@pytest.mark.parametrize("key", ["", "disk-of-another-cluster"])
def test_a_stranger_deposes_nobody(key: str) -> None:
    """
    A cluster that was founded elsewhere under the same name is another cluster.

    Method: entries and vote requests of a much later term arrive from somebody without
    this cluster's key.
    """
    table = Table()
    leader = table.elect()
    term, last = leader.status().term, leader.status().last_index
    for message in (
        Envelope(append_entries=AppendEntries(prev_index=0, commit_index=0)),
        Envelope(request_vote=RequestVote(last_index=10**6, last_term=90, campaign_term=99)),
    ):
        message.from_member, message.term, message.disk_id = "stranger", 99, "elsewhere"
        message.cluster_key = key
        for replica in table.replicas.values():
            copy = Envelope()
            copy.CopyFrom(message)
            replica.receive(copy)
    table.run(1.0)

    assert leader.status().role == "leader"
    assert (leader.status().term, leader.status().last_index) == (term, last)


def test_leadership_goes_where_it_is_sent() -> None:
    """And who asked is told who leads."""
    table = Table()
    leader = table.elect()
    target = max(m for m in MEMBERS if m != leader.config.member_id)

    leader.transfer_leadership(target, "moved")
    table.until(lambda: "moved" in table.answers)

    assert table.answers["moved"] == LeadershipTransferred(target)
    assert table.elect().config.member_id == target


def test_a_member_restarts_with_the_newest_configuration_in_its_log() -> None:
    """
    Not with that of its file, nor with what it had applied (S22 of the catalogue).

    Method: a member grows the cluster and is cut off with the entry uncommitted.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    table.isolate(me)
    leader.change_members(MemberChange(ChangeKind.ADD, D, "r", "c"), "pending")
    table.turn()
    table.disks[me].crash(lose_unsynced=False)
    table.restart(me)

    assert table.replicas[me].engine.membership.names(D)


# --- the changes themselves --------------------------------------------------------

FOUNDING = founding({MemberId(m): (f"{m}:1", f"{m}:2") for m in "abc"})
HEARD = {MemberId(m) for m in "abc"}


def test_what_is_so_already_changes_nothing() -> None:
    """A client that asks again after it got no answer is told the same."""
    for wanted in (
        MemberChange(ChangeKind.ADD, MemberId("a"), "a:1", "a:2"),
        MemberChange(ChangeKind.PROMOTE, MemberId("a")),
        MemberChange(ChangeKind.REMOVE, MemberId("z")),
    ):
        assert change(FOUNDING, wanted, follower=None, heard=HEARD) is None


def test_what_cannot_be_is_refused_by_name() -> None:
    """Each refusal says why, and the configuration stays as it is."""
    lone = founding({MemberId("a"): ("", "")})
    many = founding({MemberId(f"m{n}"): ("", "") for n in range(membership.MEMBERS_MAX)})
    cases = [
        (FOUNDING, MemberChange(ChangeKind.ADD, MemberId("a"), "x:1", "x:2"), "CONFLICT"),
        (FOUNDING, MemberChange(ChangeKind.PROMOTE, D), "NOT_FOUND"),
        (lone, MemberChange(ChangeKind.REMOVE, MemberId("a")), "LAST_VOTER"),
        (many, MemberChange(ChangeKind.ADD, D, "d:1", "d:2"), "TOO_MANY"),
    ]
    for configuration, wanted, reason in cases:
        refused = change(configuration, wanted, follower=None, heard=HEARD)
        assert isinstance(refused, ChangeRefused)
        assert refused.reason == reason


def test_a_promoted_voter_is_bound_to_the_disk_it_answered_from() -> None:
    """The number that a folder begun anew has behind its name is left out."""
    wanted = MemberChange(ChangeKind.ADD, D, "d:1", "d:2")
    grown = change(FOUNDING, wanted, follower=None, heard=HEARD)
    assert isinstance(grown, Configuration)

    promoted = change(
        grown,
        MemberChange(ChangeKind.PROMOTE, D),
        follower=Learner("disk-d.2", 3),
        heard={*HEARD, D},
    )

    assert isinstance(promoted, Configuration)
    (voter,) = [m for m in promoted.members if m.member_id == D]
    assert (voter.learner, voter.disk_id) == (False, "disk-d")
