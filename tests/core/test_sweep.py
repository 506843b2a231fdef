"""What was given up goes bit by bit: by rows, and by bytes where rows are large."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftstate.core import history, limits
from raftstate.core.hashing import full_hash
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    NewEvent,
    SaveProjectionRequest,
    StreamAppend,
    TruncateBeforeRequest,
)
from raftstate.v1.kv_service_pb2 import TxnBody, TxnOp, TxnPut, TxnRequest
from raftstate.v1.store_pb2 import Command, Sweep, TrimHistory
from tests.core.bench import Bench, reason
from tests.core.key_story import put

LARGE = bytes(1 << 20)
COUNT = 20
# In one entry: so much, and what is one row more.
MOST = limits.SWEEP_BYTES_MAX + (1 << 20) + 1_000


@pytest.fixture
def bench() -> Bench:
    """A machine with session "s"."""
    made = Bench()
    made.open("s")
    return made


def size(bench: Bench) -> int:
    return sum(len(key) + len(value) for key, value in bench.store.items())


def replaced(bench: Bench) -> list[Command]:
    """There is much history; how to forget it."""
    for _ in range(COUNT):
        bench.one(put(bench, "s", b"k", LARGE))
        bench.one(put(bench, "s", b"k", b""))
    return [Command(trim_history=TrimHistory(revision=bench.machine.revision))]


def appended(bench: Bench) -> list[Command]:
    """There is a stream of large events; how to truncate it."""
    request_id = bench.request_id
    for _ in range(COUNT):
        append = StreamAppend(stream_id="t", events=[NewEvent(type="e", data=LARGE)])
        request = AppendEventsRequest(request_id=request_id("s"), appends=[append])
        assert reason(bench.one(Command(append_events=request))) == ""
    passed = SaveProjectionRequest(request_id=request_id("s"), name="p", position=COUNT)
    bench.one(Command(save_projection=passed))
    truncation = TruncateBeforeRequest(
        request_id=request_id("s"), stream_id="t", before_seq=COUNT + 1, projection="p"
    )
    return [Command(truncate_before=truncation)]


@pytest.mark.parametrize("given_up", [replaced, appended])
def test_large_rows_go_a_few_at_a_time(
    bench: Bench, given_up: Callable[[Bench], list[Command]]
) -> None:
    """
    A sweep that may remove hundreds of rows removes what one entry may in bytes; so do
    all commands of an entry together. Then the rest goes, and all of it does.
    """
    commands = [*given_up(bench), Command(sweep=Sweep(rows=500))]
    before = size(bench)
    assert before > COUNT * len(LARGE)

    outcomes = bench.apply(*commands)

    assert [reason(each) for each in outcomes] == ["", ""]
    first = size(bench)
    assert limits.SWEEP_BYTES_MAX <= before - first <= MOST
    bench.apply(*[Command(sweep=Sweep(rows=500))] * 50)
    assert limits.SWEEP_BYTES_MAX <= first - size(bench) <= MOST
    for _ in range(COUNT):
        bench.one(Command(sweep=Sweep(rows=500)))
    assert size(bench) < len(LARGE)
    assert not history.read_mark(bench.store).has_work
    assert bench.machine.state_hash == full_hash(bench.store)


def test_the_commands_of_an_entry_do_not_each_remove_a_large_revision(bench: Bench) -> None:
    """
    A revision goes whole, however many rows it has; what that is too much, the commands
    that follow in the entry do not remove.
    """
    for at in range(COUNT):
        puts = [TxnOp(put=TxnPut(key=b"%03d" % each, value=b"%d" % at)) for each in range(100)]
        request = TxnRequest(request_id=bench.request_id("s"), txn=TxnBody(success=puts))
        assert reason(bench.one(Command(txn=request))) == ""
    small = [put(bench, "s", b"k", b"%d" % at) for at in range(40)]
    rows = len(bench.store)

    # Each adds a key, or what it had, and what changed; and its outcome.
    bench.apply(Command(trim_history=TrimHistory(revision=bench.machine.revision)), *small)

    removed = rows + 3 * len(small) + 1 - len(bench.store)
    most = len(small) * (1 + limits.SWEEP_ROWS_EXTRA)
    assert most - 101 <= removed <= most + 101


def test_every_entry_removes_something(bench: Bench) -> None:
    """
    However large that is, so that what is given up does not pile up.
    """
    (trim,) = replaced(bench)
    bench.one(trim)
    entries = 0
    while history.read_mark(bench.store).has_work:
        bench.one(Command(sweep=Sweep(rows=1)))
        entries += 1
    assert entries <= 2 * COUNT + 2
