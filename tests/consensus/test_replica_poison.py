"""An entry that cannot be applied: everybody stops there, and goes on once it is skipped."""

import traceback
from typing import Any

import pytest

from raftstate.consensus.replica import Replica
from raftstate.core import machine, queries
from raftstate.core.poison import PoisonEntry, entry_digest
from raftstate.core.types import Index, MemberId
from raftstate.v1.store_pb2 import Outcome
from tests.consensus.bench import MEMBERS, Table

CRASHES_MAX = 60


@pytest.fixture(autouse=True)
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply raises for a session with one name, after it has written something."""
    open_session = machine._PLAIN["open_session"]

    def opening(context: Any, request: Any) -> Any:
        if request.session_id == "poison":
            context.store.put(b"half", b"done")
            raise RuntimeError("a bug in apply")
        return open_session(context, request)

    monkeypatch.setitem(machine._PLAIN, "open_session", opening)


def next_crash(table: Table) -> tuple[MemberId, PoisonEntry]:
    """Let time pass until an entry stops a member; its process is gone then."""
    with pytest.raises(PoisonEntry) as raised:
        table.run(20.0)
    stopped = {
        owner.config.member_id
        for frame, _ in traceback.walk_tb(raised.value.__traceback__)
        if isinstance(owner := frame.f_locals.get("self"), Replica)
    }
    (member,) = stopped
    table.disks[member].crash(lose_unsynced=False)
    table.paused.add(member)
    return member, raised.value


def start_again(table: Table, *members: MemberId) -> None:
    """What a supervisor does with members that stopped."""
    for member in members:
        table.paused.discard(member)
        table.restart(member)


def crash_everybody(table: Table) -> Index:
    """Let members stop and start again until each has stopped at the entry; its index."""
    indexes = set()
    crashed: set[MemberId] = set()
    for _ in range(CRASHES_MAX):
        member, error = next_crash(table)
        crashed.add(member)
        words = str(error).split()
        assert words[0] == "entry"
        indexes.add(Index(int(words[1])))
        if crashed == set(MEMBERS):
            break
        if len(table.paused) > 1:
            start_again(table, *table.paused)
    assert crashed == set(MEMBERS), crashed
    (index,) = indexes
    for member in set(MEMBERS) - table.paused:
        table.disks[member].crash(lose_unsynced=False)
        table.paused.add(member)
    return index


def poisoned() -> tuple[Table, Index]:
    """A cluster in which every member has stopped at one entry, and which one it is."""
    table = Table()
    leader = table.elect()
    table.write(leader, "before")
    table.until(lambda: "before" in table.answers)
    table.write(leader, "poison")
    return table, crash_everybody(table)


def digest_on(table: Table, member: MemberId, index: Index) -> bytes:
    """What the record of a member that does not run would say."""
    (entry,) = [e for e in table.disks[member].durable.entries if e.index == index]
    return entry_digest(entry)


def test_everybody_stops_at_the_entry_and_goes_on_when_it_is_skipped() -> None:
    """
    A raising command stops all members, with its index; skipped on all, it has no effect.

    Method: start the members again until each has stopped, record the skip on each from
    its own log, then write, and compare what they hold.
    """
    table, index = poisoned()
    assert len({digest_on(table, member, index) for member in MEMBERS}) == 1

    for member in MEMBERS:
        table.skipped[member] = {index: digest_on(table, member, index)}
    start_again(table, *MEMBERS)
    leader = table.elect()
    table.write(leader, "after")
    table.until(lambda: "after" in table.answers)

    assert isinstance(table.answers["after"], Outcome)
    assert "poison" not in table.answers or not isinstance(table.answers["poison"], Outcome)
    table.until(
        lambda: (
            len({replica.status().applied_index for replica in table.replicas.values()}) == 1
        )
    )
    hashes = {replica.status().state_hash for replica in table.replicas.values()}
    assert len(hashes) == 1
    for replica in table.replicas.values():
        store = replica._state.store
        assert store.get(b"half") is None
        assert queries.get_session(store, "before") and queries.get_session(store, "after")
        assert queries.get_session(store, "poison") is None


def test_a_skip_of_another_entry_at_the_index_does_not_count() -> None:
    """The digest guards that what is passed over is what the operator looked at."""
    table, index = poisoned()

    for member in MEMBERS:
        table.skipped[member] = {index: bytes(32)}
    start_again(table, *MEMBERS)

    _, error = next_crash(table)
    assert f"entry {index} of term" in str(error)


def test_a_skip_holds_when_the_state_is_rebuilt_from_the_log() -> None:
    """
    The state of a member is lost after the skip: its log is applied anew, without the entry.
    """
    table, index = poisoned()
    for member in MEMBERS:
        table.skipped[member] = {index: digest_on(table, member, index)}
    start_again(table, *MEMBERS)
    table.write(table.elect(), "after")
    table.until(lambda: "after" in table.answers)

    victim = MEMBERS[0]
    rebuilds = table.disks[victim].rebuilds
    table.disks[victim].crash(lose_unsynced=True)
    table.restart(victim)
    table.elect()
    table.until(
        lambda: len({replica.status().state_hash for replica in table.replicas.values()}) == 1
    )

    assert table.disks[victim].rebuilds == rebuilds + 1
    assert queries.get_session(table.replicas[victim]._state.store, "after")


def test_who_gets_a_snapshot_from_behind_the_entry_needs_no_record() -> None:
    """
    A member that was away while the entry was passed over is brought past it.

    Method: the others pass over it, and cut their logs behind it, before it comes back.
    """
    table = Table(compact_entries=10, keep_entries=2)
    leader = table.elect()
    away = next(member for member in MEMBERS if member != leader.config.member_id)
    others = [member for member in MEMBERS if member != away]
    table.isolate(away)
    table.write(leader, "poison")
    member, error = next_crash(table)
    index = Index(int(str(error).split()[1]))
    for other in others:
        table.skipped[other] = {index: digest_on(table, member, index)}
        table.disks[other].crash(lose_unsynced=False)
    start_again(table, *others)
    leader = table.elect()
    for number in range(30):
        table.write(leader, f"s{number}")
        table.until(lambda ticket=f"s{number}": ticket in table.answers)  # type: ignore[misc]
    table.until(
        lambda: all(table.replicas[other].status().first_index > index for other in others)
    )

    table.heal()
    late = table.replicas[away]
    table.until(lambda: late.status().applied_index == leader.status().applied_index)

    assert late.status().snapshots_installed >= 1
    assert late.status().state_hash == leader.status().state_hash
