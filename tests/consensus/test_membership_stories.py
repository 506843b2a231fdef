"""Stories of members that come, go and come back while others are away.

Each is one that went wrong once, or that was thought of while looking for such: what is
left of them is that nobody is told to go whom the cluster still needs, that whoever is
needed can be elected, and that who was removed hears of it in the end.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

from raftstate.consensus.replica import Replica
from raftstate.core import queries
from raftstate.core.ports import ChangeKind, ChangeRefused, MemberChange
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.store_pb2 import Outcome
from tests.consensus.bench import MEMBERS, Table

D, E = MemberId("d"), MemberId("e")
# Long enough for any election, and for anything that waits for several of them.
LONG_S = 20.0


def voters(replica: Replica) -> set[str]:
    """Who votes, by the configuration in force at a member."""
    configuration = replica.status().configuration
    return {member.member_id for member in configuration.members if not member.learner}


def agreed(table: Table, expected: Collection[str]) -> bool:
    """Whether just these run, and all have them for voters, and have applied that."""
    for replica in table.replicas.values():
        applied = queries.configuration(replica._state.store)
        if applied is None or applied != replica.status().configuration:
            return False
    return all(
        voters(r) == set(expected) == set(table.replicas) for r in table.replicas.values()
    )


def grown(*newcomers: MemberId) -> tuple[Table, Replica]:
    """A cluster of three and some more voters, and its leader."""
    table = Table()
    table.elect()
    for newcomer in newcomers:
        table.grow(newcomer)
    table.run(0.3)
    return table, table.elect()


def others(table: Table, *known: MemberId) -> list[MemberId]:
    """Who runs beside these."""
    return [member for member in table.replicas if member not in known]


def changed(table: Table, kind: ChangeKind, member: MemberId) -> None:
    """Change the membership, which is not refused."""
    answer = table.change(kind, member)
    assert isinstance(answer, Configuration), answer


def promoted(table: Table, member: MemberId) -> None:
    """Make a learner a voter once it has caught up."""
    table.until(lambda: isinstance(table.change(ChangeKind.PROMOTE, member), Configuration))


def written(table: Table, replica: Replica, name: str) -> None:
    """Write something, which is acknowledged."""
    table.write(replica, name)
    table.until(lambda: name in table.answers)
    assert isinstance(table.answers[name], Outcome), table.answers[name]


def removal_begun(table: Table, member: MemberId) -> None:
    """The leader, cut off or not, has appended the entry that removes somebody."""
    leader = table.elect()
    leader.change_members(MemberChange(ChangeKind.REMOVE, member), ("removal", member))
    table.turn()
    assert member not in voters(leader)


# --- what is not committed -------------------------------------------------------------


def test_what_was_rolled_back_splits_nobody() -> None:
    """
    A leader that is cut off removes one of two; the entry is never committed. Were that
    configuration still in force there after a snapshot took the place of the log, one
    more removal would let it commit all alone, beside the leader of the two others.

    Method: the deposed leader is brought up to date with a snapshot, leads again, is cut
    off again, and is asked to remove the other of the two and to write.
    """
    table = Table(compact_entries=10, keep_entries=0)
    old = table.elect()
    me = old.config.member_id
    near, far = others(table, me)
    table.isolate(me)
    removal_begun(table, near)
    table.until(lambda: table.leader() not in (None, old))
    new = table.elect()
    for number in range(40):
        written(table, new, f"w{number}")
    table.heal()
    table.until(lambda: old.status().snapshots_installed > 0)
    assert voters(old) == set(MEMBERS)

    table.move(me)
    table.isolate(me)
    old.change_members(MemberChange(ChangeKind.REMOVE, far), "alone")
    table.write(old, "written alone")
    table.until(lambda: table.leader() not in (None, old))
    written(table, table.elect(), "written by two")
    table.run(1.0)

    assert not isinstance(table.answers.get("alone"), Configuration)
    assert not isinstance(table.answers.get("written alone"), Outcome)


def test_nobody_is_told_to_go_by_a_removal_that_is_not_committed() -> None:
    """
    A voter of every committed configuration ends for good, and the cluster needs it.

    Method: a leader with one follower out of four removes it; what the follower asks
    then, since nobody feeds it any more, reaches that leader only.
    """
    table, leader = grown(D, E)
    me = leader.config.member_id
    near, *far = others(table, me)
    table.part([me, near], far)
    removal_begun(table, near)
    table.run(3.0)
    assert near not in table.gone

    table.heal()
    table.until(lambda: agreed(table, {*MEMBERS, D, E}))
    assert not table.gone


@pytest.mark.parametrize("more", [(), (D,)], ids=["two", "four"])
def test_a_leader_that_is_leaving_is_elected_when_it_is_needed(
    more: tuple[MemberId, ...],
) -> None:
    """
    Who holds the entry that removes it, not committed, may have the longest log of a
    majority: if it would not stand, nobody could win (dissertation, 4.2.2).

    Method: two voters, or four of which one is down; the leader is cut off with its own
    removal, is deposed, and meets the others again. Then the removal is committed.
    """
    table, leader = grown(*more)
    me = leader.config.member_id
    dead = others(table, me)[-1]
    if more:
        table.kill(dead)
    else:
        changed(table, ChangeKind.REMOVE, dead)
        table.until(lambda: dead in table.gone)
    table.run(1.0)
    assert table.elect() is leader
    expected = voters(leader) - {me}
    table.isolate(me)
    removal_begun(table, me)
    table.until(lambda: leader.status().role != "leader")

    table.heal()
    table.until(lambda: me in table.gone, LONG_S)
    assert "removed" in table.gone[me]
    written(table, table.elect(), "after")
    if more:
        table.restart(dead)
    table.until(lambda: agreed(table, expected))


# --- data folders that were replaced -----------------------------------------------------


def replaced_behind_the_back(table: Table) -> tuple[MemberId, MemberId, MemberId]:
    """One of five is away while the folder of another is replaced as it should be: the
    member is removed, and added anew. The leader, that member, and who was away."""
    me = table.elect().config.member_id
    renewed, away = others(table, me)[:2]
    table.isolate(away)
    table.kill(renewed)
    table.run(1.0)
    changed(table, ChangeKind.REMOVE, renewed)
    table.run(0.2)
    table.join(renewed, "another")
    changed(table, ChangeKind.ADD, renewed)
    promoted(table, renewed)
    table.run(0.5)
    return me, renewed, away


def test_who_was_away_follows_a_leader_on_a_folder_that_is_new_to_it() -> None:
    """
    The folder that it knows for that member is the one of before: what the leader says
    must be obeyed all the same, or it is never told of the other.

    Method: the renewed member leads when the one that was away comes back; then two of
    five go, and neither of the three that are left can be spared.
    """
    table, _ = grown(D, E)
    me, renewed, away = replaced_behind_the_back(table)
    leader = table.move(renewed)

    table.heal()
    follower = table.replicas[away]
    table.until(lambda: follower.status().leader == renewed)
    table.until(lambda: agreed(table, {*MEMBERS, D, E}))

    for member in [*others(table, me, renewed, away)[:1], me]:
        table.kill(member)
    written(table, leader, "by three of five")
    assert not table.gone


def test_who_was_away_elects_a_member_on_a_folder_that_is_new_to_it() -> None:
    """
    Two voters of three that are up, settled and connected elect a leader.

    Method: the other two of five are removed meanwhile, and the leader dies in the very
    moment when the one that was away comes back: only the renewed member has all that is
    committed, and only the one that was away can vote for it.
    """
    table, _ = grown(D, E)
    me, renewed, away = replaced_behind_the_back(table)
    for member in others(table, me, renewed, away):
        changed(table, ChangeKind.REMOVE, member)
        table.until(lambda member=member: member in table.gone)  # type: ignore[misc]
    table.kill(me)
    table.heal()

    table.until(lambda: table.leader() is not None, LONG_S)
    assert table.elect().config.member_id == renewed
    table.restart(me)
    table.until(lambda: agreed(table, {me, renewed, away}))


def test_a_folder_that_is_replaced_while_a_cluster_is_founded_is_the_one_it_knows() -> None:
    """
    Nobody has promised anything yet, so the empty folder is as good as the one before. A
    first entry that names the other would stand for ever, and its member be refused.

    Method: a follower that has voted, and has not acknowledged the first entry, comes back
    on another folder, while the first leader runs on.
    """
    table = Table()
    table.until(lambda: any(r.engine.leads for r in table.replicas.values()))
    leader = next(r for r in table.replicas.values() if r.engine.leads)
    assert leader.engine.founding
    swapped = others(table, leader.config.member_id)[0]
    table.kill(swapped)
    table.replace_disk(swapped, "second")
    table.run(1.0)
    table.restart(swapped)

    table.until(lambda: agreed(table, MEMBERS), LONG_S)
    assert not table.gone
    (known,) = (
        member.disk_id
        for member in table.elect().status().configuration.members
        if member.member_id == swapped
    )
    assert known == "second"
    table.until(lambda: not table.elect().engine.founding)


def test_a_voter_of_the_past_kills_no_new_folder() -> None:
    """
    Who is cut off does not know that a member was removed, to be added anew: it must not
    send away the folder that the others are about to let in.

    Method: it hears of the new folder, and of nobody else, for longer than any election.
    """
    table, leader = grown(D, E)
    me = leader.config.member_id
    renewed, stale = others(table, me)[:2]
    table.kill(renewed)
    table.run(1.0)
    table.isolate(stale)
    changed(table, ChangeKind.REMOVE, renewed)
    table.run(1.0)
    table.join(renewed, "another")
    table.run(5.0)
    assert renewed not in table.gone

    changed(table, ChangeKind.ADD, renewed)
    promoted(table, renewed)
    table.heal()
    table.until(lambda: agreed(table, {*MEMBERS, D, E}))


# --- the same member again ---------------------------------------------------------------


def removed_and_added_again(table: Table, *, led: bool) -> MemberId:
    """A follower that is down, or the leader, is removed, and added again a while later;
    its process has ended."""
    table.elect()
    table.grow(D)
    table.run(0.3)
    leader = table.elect().config.member_id
    again = leader if led else others(table, leader)[0]
    if not led:
        table.kill(again)
        table.run(1.0)
    changed(table, ChangeKind.REMOVE, again)
    for number in range(20):
        written(table, table.elect(), f"w{number}")
    assert (again in table.gone) is led
    changed(table, ChangeKind.ADD, again)
    table.run(0.3)
    return again


def test_who_is_added_again_on_its_old_folder_stays() -> None:
    """
    It learns of its removal when the log says already that it is a member again: that
    removal is no reason to go.

    Method: it was down from before the removal until after the addition, and is sent both
    in one message.
    """
    table = Table()
    again = removed_and_added_again(table, led=False)

    table.restart(again)
    promoted(table, again)

    assert not table.gone
    table.until(lambda: agreed(table, {*MEMBERS, D}))


@pytest.mark.parametrize("led", [False, True], ids=["a follower", "the leader"])
def test_who_has_applied_its_removal_comes_back_on_an_empty_folder(led: bool) -> None:
    """
    A folder in which the cluster has removed its member is done with, and says so at every
    start; on an empty one the member comes back under its name.

    Method: a leader is removed, or a follower that was down hears of its removal long
    before it hears that it was added again.
    """
    table = Table(append_bytes_max=200)
    again = removed_and_added_again(table, led=led)
    if not led:
        table.restart(again)
        table.until(lambda: again in table.gone)
    assert "removed" in table.gone[again]
    table.restart(again)
    table.until(lambda: again in table.gone)
    assert "empty folder" in table.gone[again]

    table.replace_disk(again, "another")
    table.restart(again, join=True)
    table.run(0.3)
    promoted(table, again)

    assert not table.gone
    table.until(lambda: agreed(table, {*MEMBERS, D}))


def test_nobody_is_told_to_go_by_a_removal_of_long_ago() -> None:
    """
    A leader that applies its log again comes past removals of members that are back.

    Method: a member was replaced under its name, and all machines lose their power and
    their states at once: whoever leads then has everything to apply.
    """
    table, leader = grown(D)
    again = others(table, leader.config.member_id)[0]
    changed(table, ChangeKind.REMOVE, again)
    table.until(lambda: again in table.gone)
    table.join(again, "another")
    changed(table, ChangeKind.ADD, again)
    table.run(0.3)
    promoted(table, again)
    table.gone.clear()
    table.run(0.3)

    everybody = list(table.replicas)
    for member in everybody:
        table.kill(member, power=True)
    for member in everybody:
        table.restart(member)
    table.until(lambda: agreed(table, {*MEMBERS, D}), LONG_S)
    table.run(1.0)

    assert not table.gone


def test_a_removal_that_is_applied_late_is_not_of_the_folder_that_waits() -> None:
    """
    A new leader commits and applies a removal of before its time, and tells the member:
    meanwhile another folder waits under that name, and is not meant.

    Method: the leader dies as soon as it has answered, before the others know that the
    removal is committed.
    """
    table, leader = grown(D)
    me = leader.config.member_id
    renewed = others(table, me)[0]
    table.kill(renewed)
    table.run(1.0)
    changed(table, ChangeKind.REMOVE, renewed)
    table.kill(me)
    table.join(renewed, "another")
    written(table, table.elect(), "after")
    table.run(1.0)
    assert renewed not in table.gone

    table.restart(me)
    changed(table, ChangeKind.ADD, renewed)
    table.run(0.3)
    promoted(table, renewed)
    table.until(lambda: agreed(table, {*MEMBERS, D}))


def test_nobody_is_told_to_go_by_a_leader_that_does_not_know_yet_what_is_committed() -> None:
    """
    The configuration that a new leader knows to be committed may be an old one, by which
    a voter is on another folder than it is.

    Method: a member was replaced under its name, all lose their power and begin from an
    older snapshot, and that member finds damage and begins anew; it reaches a leader that
    cannot commit anything yet.
    """
    table = Table(compact_entries=20, keep_entries=0)
    table.elect()
    table.grow(D)
    for number in range(25):
        written(table, table.elect(), f"w{number}")
    table.run(0.5)
    again = others(table, table.elect().config.member_id)[0]
    changed(table, ChangeKind.REMOVE, again)
    removed_at = table.elect().engine.membership.index
    table.until(lambda: again in table.gone)
    table.join(again, "another")
    changed(table, ChangeKind.ADD, again)
    table.run(0.3)
    promoted(table, again)
    table.run(0.3)
    everybody = list(table.replicas)
    for member in everybody:
        table.kill(member, power=True)
    rest = [member for member in everybody if member != again]
    for member in rest:
        table.restart(member)
        assert 0 < table.replicas[member].status().applied_index < removed_at
    table.until(lambda: any(r.engine.leads for r in table.replicas.values()))
    (me,) = (m for m in rest if table.replicas[m].engine.leads)
    table.cut = {(member, me) for member in rest}
    table.lose_disk(again)
    table.run(0.2)
    assert again not in table.gone

    table.heal()
    table.until(lambda: agreed(table, {*MEMBERS, D}))


def test_a_learner_is_promoted_on_the_folder_that_it_is_on() -> None:
    """
    A vote is bound to a folder: not to one that the learner had before it came back.

    Method: it has caught up, and starts on an empty folder; it is promoted at once, before
    the leader has heard of that.
    """
    table = Table()
    table.join(D)
    changed(table, ChangeKind.ADD, D)
    table.until(lambda: table.replicas[D]._log.hard_state.settled)
    table.run(0.3)
    table.kill(D)
    table.run(0.05)
    table.join(D, "another")
    promoted(table, D)

    table.until(lambda: agreed(table, {*MEMBERS, D}))
    assert not table.gone


@pytest.mark.parametrize("kind", ["voter", "learner", "rejoining"])
def test_who_was_removed_while_it_was_down_is_told_when_it_starts(kind: str) -> None:
    """
    Nobody feeds it any more, so it has to ask; a learner and a member whose folder was
    found damaged as well, though neither could be elected.

    Method: it is removed long before it starts, and nobody dials it for news.
    """
    table, leader = grown(D)
    gone = others(table, leader.config.member_id)[0]
    if kind == "learner":
        gone = E
        table.join(gone)
        changed(table, ChangeKind.ADD, gone)
        table.run(1.0)
    table.kill(gone)
    if kind == "rejoining":
        table.disks[gone].wipe()
    table.run(1.0)
    changed(table, ChangeKind.REMOVE, gone)
    table.run(1.0)
    term = table.elect().status().term

    table.restart(gone, join=kind == "learner")
    table.until(lambda: gone in table.gone, LONG_S)

    assert "not a member" in table.gone[gone]
    assert table.elect().status().term == term


def test_a_removed_leader_that_crashed_is_told_when_it_comes_back() -> None:
    """
    Its log ends with its removal, which it does not know to be committed.

    Method: it is killed when the entry is durable at itself and on its way to the others,
    who commit it.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    removal_begun(table, me)
    table.kill(me)
    table.until(lambda: agreed(table, set(MEMBERS) - {me}), LONG_S)
    term = table.elect().status().term

    table.restart(me)
    table.until(lambda: me in table.gone, LONG_S)
    assert table.elect().status().term == term


# --- what a leader may be asked ------------------------------------------------------------


def test_who_was_not_heard_in_this_office_does_not_count_as_healthy() -> None:
    """
    A leader that was elected a moment ago has heard from whoever voted for it; others may
    be long dead. A removal that would leave it with these stops the cluster.

    Method: one of three is dead; a new leader is asked at once to remove the other that
    is alive.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    alive, dead = others(table, me)
    table.kill(dead)
    table.run(1.0)

    new = table.move(alive)
    new.change_members(MemberChange(ChangeKind.REMOVE, me), "removal")
    table.until(lambda: "removal" in table.answers)

    refused = table.answers["removal"]
    assert isinstance(refused, ChangeRefused), refused
    assert refused.reason == "UNHEALTHY"
    written(table, table.elect(), "after")


@pytest.mark.parametrize("target", ["itself", "a learner", "nobody"])
def test_leadership_cannot_go_to_whom_it_cannot_go(target: str) -> None:
    """
    The answer is definite and comes at once, and nothing that is written waits for it.
    """
    table = Table()
    leader = table.elect()
    table.join(D)
    changed(table, ChangeKind.ADD, D)
    table.until(lambda: leader.engine.match_index(D) == leader.status().last_index)
    members = {"itself": leader.config.member_id, "a learner": D, "nobody": MemberId("z")}

    leader.transfer_leadership(members[target], "moved")
    table.write(leader, "meanwhile")
    table.turn()

    refused = table.answers["moved"]
    assert isinstance(refused, ChangeRefused)
    assert refused.reason == "NOT_FOUND"
    took = table.until(lambda: "meanwhile" in table.answers)
    assert isinstance(table.answers["meanwhile"], Outcome)
    assert took < leader.config.heartbeat_s
    assert table.elect() is leader
