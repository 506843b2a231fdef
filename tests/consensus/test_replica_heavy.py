"""Commands that remove much: one to an entry, and one at a time."""

from __future__ import annotations

from itertools import pairwise

from raftstate.core.heavy import is_heavy
from raftstate.core.types import Index
from raftstate.v1.kv_service_pb2 import DeleteRangeRequest
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry
from tests.consensus.bench import Table

CLEAR = Command(delete_range=DeleteRangeRequest())


def opening(number: int) -> Command:
    """A light command."""
    return Command(open_session=OpenSessionRequest(session_id=f"s{number}"))


def test_a_heavy_command_is_the_last_of_its_entry() -> None:
    """
    Twenty that wait together are twenty entries, with what is light before them.
    """
    table = Table()
    leader = table.elect()
    first = Index(leader.status().last_index + 1)
    for number in range(20):
        leader.propose(opening(number), f"light {number}")
        leader.propose(CLEAR, f"heavy {number}")
    table.run(0.5)
    entries = [LogEntry.FromString(one.data[1:]) for one in leader._log.read(first, 1 << 30)]

    assert [len(one.commands) for one in entries[:20]] == [2] * 20
    assert all(is_heavy(one.commands[1], leader._state.store) for one in entries[:20])


def test_heavy_entries_are_applied_one_at_a_time() -> None:
    """
    A member that is behind looks up from its work after each of them, and no sooner than
    it has to where they are light.
    """
    table = Table()
    leader = table.elect()
    for number in range(20):
        leader.propose(CLEAR, f"heavy {number}")
    marks = {member: [one.status().applied_index] for member, one in table.replicas.items()}
    for _ in range(300):
        table.turn()
        for member, one in table.replicas.items():
            marks[member].append(one.status().applied_index)

    for places in marks.values():
        assert places[-1] - places[0] >= 20
        assert max(later - earlier for earlier, later in pairwise(places)) == 1
