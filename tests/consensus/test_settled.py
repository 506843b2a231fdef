"""Members on new disks: nobody is elected by who forgot what it had acknowledged."""

from raftstate.core import queries
from raftstate.core.ports import Unavailable
from raftstate.v1.store_pb2 import Outcome
from tests.consensus.bench import MEMBERS, Table


def test_an_acknowledged_write_survives_the_loss_of_one_disk() -> None:
    """
    Who lost its disk does not help to elect a leader that lacks what it acknowledged.

    Method: leader and one follower acknowledge a write that the third does not have; the
    follower loses its disk and comes back empty, and the leader is away.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    wiped, behind = (m for m in MEMBERS if m != me)
    table.isolate(behind)
    table.write(leader, "acknowledged")
    table.until(lambda: "acknowledged" in table.answers)
    assert isinstance(table.answers["acknowledged"], Outcome)

    # The disk of one member is replaced, and the leader's process goes away.
    table.paused |= {me}
    table.lose_disk(wiped)
    table.cut.clear()
    table.run(2.0)
    assert table.leader() is None, "elected without the only member that has the write"

    table.paused = set()
    leader = table.elect()
    table.until(
        lambda: all(
            queries.get_session(replica._state.store, "acknowledged")
            for replica in table.replicas.values()
        )
    )
    assert not leader.engine.alarms


def test_a_new_cluster_needs_everybody_for_its_first_leader() -> None:
    """Two empty members cannot tell a new cluster from one whose third holds everything."""
    table = Table()
    table.paused = {MEMBERS[2]}
    table.run(3.0)
    assert table.leader() is None

    table.paused = set()
    table.elect()


def test_a_new_cluster_serves_once_everybody_is_settled() -> None:
    """
    Or else the others could elect nobody if its first leader went away at once.

    Method: one member does not hear the leader from the moment it is elected.
    """
    table = Table()
    table.until(lambda: any(r.status().role == "leader" for r in table.replicas.values()))
    (founder,) = [r for r in table.replicas.values() if r.status().role == "leader"]
    me = founder.config.member_id
    deaf = next(member for member in MEMBERS if member != me)
    table.cut = {(me, deaf)}
    table.write(founder, "early")
    table.run(0.2)
    assert not founder.status().ready
    assert isinstance(table.answers["early"], Unavailable)
    assert table.answers["early"].definite

    table.heal()
    leader = table.elect()
    table.paused = {leader.config.member_id}
    table.until(lambda: table.leader() is not None)


def test_a_follower_on_another_disk_is_fed_from_the_start() -> None:
    """Under the same leader: what the former disk had acknowledged counts no more."""
    table = Table()
    leader = table.elect()
    for name in ("one", "two"):
        table.write(leader, name)
        table.until(lambda name=name: name in table.answers)  # type: ignore[misc]
    member = next(m for m in MEMBERS if m != leader.config.member_id)
    table.lose_disk(member)

    fresh = table.replicas[member]
    table.until(lambda: fresh.status().applied_index == leader.status().applied_index)

    assert leader.status().role == "leader"
    assert fresh.status().state_hash == leader.status().state_hash


def test_an_older_copy_of_a_folder_raises_an_alarm() -> None:
    """The leader that has a follower's later acknowledgement notices that it is gone."""
    table = Table()
    leader = table.elect()
    member = next(m for m in MEMBERS if m != leader.config.member_id)
    disk = table.disks[member]
    older = disk.durable.copy()
    table.write(leader, "s")
    table.until(lambda: "s" in table.answers)
    table.until(lambda: table.replicas[member].status().revision == 1)
    assert leader.status().alarms == ()

    disk.crash(lose_unsynced=True)
    disk.durable = older
    table.restart(member)

    table.until(lambda: leader.status().alarms)
    ((name, message),) = leader.status().alarms
    assert name == "PEER_LOST_LOG"
    assert f"{member} acknowledged index 2" in message


def test_who_forgot_a_later_term_does_not_help_a_deposed_leader_to_commit() -> None:
    """
    A member on a new disk counts for nothing until settled members have confirmed its leader.

    Method: a leader is paused and replaced; a follower of both loses its disk, and then
    hears only the old leader, which does not know yet that it is deposed.
    """
    table = Table()
    old = table.elect()
    me = old.config.member_id
    table.paused = {me}
    table.until(lambda: table.leader() is not None)
    new = table.leader()
    assert new is not None
    forgetful = next(m for m in MEMBERS if m not in (me, new.config.member_id))
    table.write(new, "kept")
    table.until(lambda: "kept" in table.answers)

    old._inbox.clear()
    table.isolate(new.config.member_id)
    table.lose_disk(forgetful)
    table.paused = set()
    feeding = old.engine._feeding
    assert feeding is not None
    for progress in feeding.progress.values():
        progress.heard = table.now  # the pause was shorter than it takes to notice
    before = old.status().commit_index
    table.write(old, "lost")
    old.read_point("stale")
    table.run(1.5)

    assert old.status().commit_index == before
    assert isinstance(table.answers["lost"], Unavailable)
    assert isinstance(table.answers["stale"], Unavailable)
