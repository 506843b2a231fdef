"""What a leader proposes of its own accord, and when it leaves the log alone."""

from __future__ import annotations

import pytest

from raftstate.core import history, keys, limits
from raftstate.core.upkeep import BUSY_S, IDLE_S, SWEEP_ROWS, Upkeep
from raftstate.v1.kv_service_pb2 import CompactRequest
from raftstate.v1.store_pb2 import Command
from tests.core.bench import Bench
from tests.core.key_story import put

KEEP, CHUNK_S = 100, 60.0


class Leader:
    """A machine, and what its leader's upkeep proposes, which is applied at once."""

    def __init__(self, keep: int = KEEP) -> None:
        self.bench = Bench()
        self.bench.open("s")
        self.upkeep = Upkeep(keep, CHUNK_S)
        self.upkeep.begin(0.0)
        self.now = 0.0

    def put(self, count: int) -> None:
        """So many commands, each of which changes a key."""
        for at in range(count):
            command = put(self.bench, "s", b"k", b"%d" % at)
            command.put.request_id.lowest_unfinished = command.put.request_id.sequence
            assert self.bench.one(command).WhichOneof("result") == "put"

    def due(self, log_time_ms: int = 0) -> list[Command]:
        """What is proposed at the time of the next look."""
        self.now = max(self.now, self.upkeep.next_deadline)
        return self.upkeep.due(self.bench.store, self.now, log_time_ms)

    def names(self, log_time_ms: int = 0) -> list[str]:
        return [str(each.WhichOneof("body")) for each in self.due(log_time_ms)]

    def settle(self) -> int:
        """Apply what is proposed until nothing is; how many commands that took."""
        taken = 0
        while commands := self.due():
            self.bench.apply(*commands)
            taken += len(commands)
            assert taken < 10_000, "it never ends"
        return taken


@pytest.fixture
def leader() -> Leader:
    """A leader that keeps a hundred revisions."""
    return Leader()


def test_an_idle_store_is_left_alone(leader: Leader) -> None:
    """
    Nothing is proposed, and the next look is a second away.
    """
    leader.put(50)
    for at in range(5):
        assert leader.due() == []
        assert leader.upkeep.next_deadline == at * IDLE_S + IDLE_S


def test_history_is_trimmed_when_it_is_a_tenth_too_long(leader: Leader) -> None:
    """
    To what is kept, not less; and not before.
    """
    leader.put(109)
    assert leader.bench.machine.revision == 110
    assert leader.due() == []
    leader.put(1)

    (command,) = leader.due()

    assert command.trim_history.revision == 11
    leader.bench.one(command)
    assert history.read_mark(leader.bench.store).oldest == 11


@pytest.mark.parametrize("keep", [1, 2, 10, 100])
def test_upkeep_comes_to_an_end(keep: int) -> None:
    """
    What it proposes does not bring on more: then the log stands still, and the rows of
    what was forgotten are gone.
    """
    leader = Leader(keep)
    leader.put(400)
    assert 0 < leader.settle() < 20

    assert leader.due() == []
    mark = history.read_mark(leader.bench.store)
    assert not mark.has_work
    assert leader.bench.machine.revision - mark.oldest >= keep
    told = [key for key, _ in leader.bench.store.scan(*keys.changes_between(0, mark.oldest))]
    assert told == []


def test_nothing_is_trimmed_where_everything_is_kept() -> None:
    """
    Zero is never.
    """
    leader = Leader(keep=0)
    leader.put(400)
    assert leader.due() == []


def test_what_was_given_up_is_swept_ten_times_a_second() -> None:
    """
    While there is work, and then no more.
    """
    leader = Leader(keep=0)
    leader.put(800)
    before = len(leader.bench.store)
    request = CompactRequest(request_id=leader.bench.request_id("s"), revision=801)
    request.request_id.lowest_unfinished = request.request_id.sequence
    leader.bench.one(Command(compact=request))

    (command,) = leader.due()
    assert command.sweep.rows == SWEEP_ROWS
    assert leader.upkeep.next_deadline == leader.now + BUSY_S
    leader.bench.one(command)
    after = before - len(leader.bench.store)
    assert SWEEP_ROWS <= after <= SWEEP_ROWS + 3 * limits.SWEEP_ROWS_EXTRA
    assert leader.settle() > 0
    assert leader.names() == []


def test_nothing_is_proposed_twice_before_it_is_applied(leader: Leader) -> None:
    """
    A leader without a quorum looks on, and its log does not grow; a new office begins
    anew.
    """
    leader.put(200)
    assert leader.names() == ["trim_history"]
    assert leader.names() == leader.names() == []
    leader.upkeep.begin(leader.now)
    assert leader.names() == ["trim_history"]
    leader.put(1)
    assert leader.names() == ["trim_history"]


def test_chunks_unused_for_long_are_collected(leader: Leader) -> None:
    """
    By log time, when the one that has been unused longest has had its time.
    """
    leader.bench.store.put(keys.unused_chunk(5_000, "a", bytes(32)), b"")
    assert leader.due(0) == []
    assert leader.due(65_000) == []

    (command,) = leader.due(65_001)

    assert command.collect_chunks.unused_since_ms == 5_001
    assert command.collect_chunks.limit == 100


def test_a_look_is_no_more_often_than_it_is_due(leader: Leader) -> None:
    """
    In between, nothing is read.
    """
    assert leader.due() == []
    leader.put(300)
    early = leader.upkeep.next_deadline - 0.001
    assert leader.upkeep.due(leader.bench.store, early, 0) == []
    assert leader.names() == ["trim_history"]
