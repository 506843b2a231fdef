"""A member whose state differs from that of most others finds out, and stops."""

from __future__ import annotations

from functools import partial

import pytest

from raftstate.consensus.replica import Replica
from raftstate.core import keys
from raftstate.core.ports import ChangeKind, Damage, Unavailable
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.session_service_pb2 import CloseSessionRequest
from raftstate.v1.store_pb2 import Command, Outcome
from tests.consensus.bench import MEMBERS, Table


def write_many(table: Table, first: int, count: int) -> None:
    """So many writes, one after the other."""
    for number in range(first, first + count):
        leader = table.elect()
        table.write(leader, f"s{number}")
        table.until(lambda number=number: f"s{number}" in table.answers)  # type: ignore[misc]


def rot(replica: Replica) -> None:
    """What a bit that flipped in memory leaves: another state, under another hash."""
    store = replica._state.store
    raw = bytearray(store.get(keys.APPLIED) or b"")
    raw[-1] ^= 1
    store.put(keys.APPLIED, bytes(raw))


def test_a_follower_that_differs_is_told_and_stops() -> None:
    """
    At the next index that all note, the leader sees it; the others go on.
    """
    table = Table()
    write_many(table, 0, 3)
    leader = table.elect()
    wrong = next(m for m in MEMBERS if m != leader.config.member_id)
    rot(table.replicas[wrong])

    with pytest.raises(Damage, match="most others"):
        write_many(table, 3, 200)

    del table.replicas[wrong]
    write_many(table, 300, 70)
    assert table.elect() is leader


def test_a_leader_that_differs_finds_that_out_itself() -> None:
    """The others outvote it: it may not answer from such a state any longer."""
    table = Table()
    write_many(table, 0, 3)
    leader = table.elect()
    rot(leader)

    with pytest.raises(Damage):
        write_many(table, 3, 200)


def test_a_learner_that_differs_is_told_too() -> None:
    """It is compared like everybody, and decides nothing."""
    table = Table()
    learner = MemberId("d")
    table.join(learner)
    assert isinstance(table.change(ChangeKind.ADD, learner), Configuration)
    write_many(table, 0, 3)
    table.until(lambda: table.replicas[learner].status().revision >= 3)
    rot(table.replicas[learner])

    with pytest.raises(Damage):
        write_many(table, 3, 200)


def test_sound_members_never_accuse_each_other() -> None:
    """Through many marks, and a change of leader."""
    table = Table()
    write_many(table, 0, 100)
    leader = table.elect()
    leader.transfer_leadership(None, "moved")
    table.until(lambda: "moved" in table.answers)
    write_many(table, 100, 100)
    assert not table.elect().status().alarms


# --- room on the disk ---------------------------------------------------------------


def test_what_grows_is_refused_while_most_disks_are_nearly_full() -> None:
    """
    What makes room is not; and it is over when there is room again.

    Method: every member says that it is low; then none does.
    """
    low = dict.fromkeys(MEMBERS, False)
    table = Table()
    for member, replica in table.replicas.items():
        replica._space_low = partial(low.__getitem__, member)
    write_many(table, 0, 1)
    low.update(dict.fromkeys(MEMBERS, True))
    table.run(0.2)
    leader = table.elect()

    table.write(leader, "grows")
    leader.propose(Command(close_session=CloseSessionRequest(session_id="s0")), "shrinks")
    table.until(lambda: {"grows", "shrinks"} <= set(table.answers))

    refused = table.answers["grows"]
    assert isinstance(refused, Unavailable)
    assert (refused.reason, refused.definite) == ("DISK_FULL", True)
    assert isinstance(table.answers["shrinks"], Outcome)
    assert "DISK_FULL" in dict(leader.status().alarms)

    low.update(dict.fromkeys(MEMBERS, False))
    table.run(0.2)
    table.write(table.elect(), "again")
    table.until(lambda: "again" in table.answers)
    assert isinstance(table.answers["again"], Outcome)


def test_a_leader_that_is_low_lets_another_lead() -> None:
    """One full disk does not stop the cluster."""
    table = Table()
    old = table.elect()
    old._space_low = lambda: True

    table.until(lambda: (new := table.leader()) is not None and new is not old)

    write_many(table, 0, 1)
    assert isinstance(table.answers["s0"], Outcome)
    assert "DISK_FULL" in dict(old.status().alarms)
