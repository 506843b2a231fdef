"""Many watches at once: whoever is behind or slow costs itself, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from raftstate.rpc.errors import Failure
from raftstate.rpc.frontend import WatchLimits
from raftstate.rpc.hub import SENT_PER_TURN
from raftstate.rpc.turns import Turns
from raftstate.v1.watch_service_pb2 import ResourceType, Selector
from tests.rpc.test_watch import in_virtual_time, member
from tests.rpc.watching import Stream

KEYS = Selector(types=[ResourceType.RESOURCE_TYPE_KEY])


async def most_in_a_turn(counted: Callable[[], int], done: Awaitable[object]) -> int:
    """By how much something grew, at most, in one turn of the loop."""
    work = asyncio.ensure_future(done)
    most, last = 0, counted()
    while not work.done():
        await asyncio.sleep(0)
        most, last = max(most, counted() - last), counted()
    await work
    return most


@in_virtual_time
async def test_turns_are_given_in_order_so_many_at_a_time() -> None:
    """
    Who has gone away takes none.
    """
    turns, came = Turns(2), []

    async def take(number: int) -> None:
        await turns.ask()
        came.append(number)

    takers = [asyncio.ensure_future(take(number)) for number in range(9)]
    takers[3].cancel()
    assert await most_in_a_turn(lambda: len(came), asyncio.wait(takers)) == 2
    assert came == [0, 1, 2, 4, 5, 6, 7, 8]
    assert turns.ask().done(), "nobody waits, and one has to"


@pytest.mark.parametrize("start", ["WATCH_START_REVISION", "WATCH_START_SNAPSHOT"])
@in_virtual_time
async def test_watches_that_are_behind_read_one_after_the_other(start: str) -> None:
    """
    Forty come at once, as after a member has started again: in one turn of the loop one
    of them reads a slice.
    """
    served = member(WatchLimits(slice_rows=5), puts=60)
    revision = 2 if start == "WATCH_START_REVISION" else 0
    streams = [served.watch(KEYS, start=start, revision=revision) for _ in range(40)]

    async def read(stream: Stream) -> None:
        told = await stream.told()
        while told is not None and told.revision < served.revision:
            told = await stream.told()

    for stream in streams:
        assert await stream.message()
    reading = asyncio.gather(*map(read, streams))
    assert await most_in_a_turn(lambda: served.state.views, reading) <= 4
    for stream in streams:
        await stream.end()


@in_virtual_time
async def test_a_change_that_all_want_is_sent_in_many_turns() -> None:
    """
    A hundred watch one key: in between others are served.
    """
    served = member()
    streams = [served.watch(KEYS) for _ in range(100)]
    for stream in streams:
        assert await stream.told()
    sent = [0]

    async def read(stream: Stream) -> None:
        for _ in range(3):
            assert await stream.message() is not None
            sent[0] += 1

    reading = asyncio.gather(*map(read, streams))
    await asyncio.sleep(0.01)
    served.write(*(served.put(b"k") for _ in range(3)))
    assert await most_in_a_turn(lambda: sent[0], reading) == SENT_PER_TURN
    for stream in streams:
        await stream.end()


@in_virtual_time
async def test_a_progress_mark_waits_for_its_turn_too() -> None:
    """
    A thousand that want one each tenth of a second do not keep the others waiting. What
    changes meanwhile is told before it.
    """
    served = member()
    stream = served.watch(KEYS, progress_ms=100)
    assert await stream.told()
    turns = served.service._hub.sending = Turns(0)
    assert await stream.message(1.0) is None
    served.write(served.put(b"k"))
    turns._each = 1
    turns._renew()
    (told,) = await stream.until(served.revision)
    assert told.changes
    await stream.end()


@in_virtual_time
async def test_those_that_are_behind_and_slow_are_given_up_before_the_others() -> None:
    """
    Five that go on from the past take nothing of what they read: there is too much of it,
    so some of them are told that they are too slow. One that keeps up notices nothing.
    """
    served = member(WatchLimits(queued_bytes=50_000, slice_bytes=20_000))
    served.write(*(served.put(b"k%d" % at, b"v" * 1_000) for at in range(30)))
    quick = served.watch(KEYS)
    assert await quick.told()
    slow = [served.watch(KEYS, start="WATCH_START_REVISION", revision=2) for _ in range(5)]
    for stream in slow:
        assert await stream.told()
        assert await stream.told()
    assert served.service._hub._account.size <= 50_000
    for _ in range(3):
        served.write(served.put(b"new", b"v" * 1_000))
        await quick.until(served.revision)
    reasons = []
    for stream in slow:
        try:
            await stream.until(served.revision)
        except Failure as failure:
            reasons.append(failure.reason)
        await stream.end()
    assert reasons == ["WATCH_TOO_SLOW"] * 3
    await quick.end()


@in_virtual_time
async def test_what_many_wait_for_counts_once() -> None:
    """
    A hundred who are not slow all want the same large value, more than may wait if each
    had it for itself: all get it.
    """
    served = member(WatchLimits(queued_bytes=50_000))
    streams = [served.watch(KEYS) for _ in range(100)]
    for stream in streams:
        assert await stream.told()
        assert await stream.message(0.01) is None
    for _ in range(3):
        served.write(served.put(b"k", b"v" * 10_000))
        await asyncio.gather(*(stream.until(served.revision) for stream in streams))
    served.write(served.put(b"k", b"v" * 10_000))
    await asyncio.sleep(0.01)
    assert 10_000 < served.service._hub._account.size < 11_000
    for stream in streams:
        await stream.end()
    assert served.service._hub._account.size == 0


@pytest.mark.parametrize("reason", ["QUARANTINED", "NO_QUORUM"])
@in_virtual_time
async def test_a_watch_that_need_say_nothing_finds_out_too(reason: str) -> None:
    """
    It may be silent for ten minutes; that its member may tell nothing it hears at once,
    and that nobody leads, after some seconds.
    """
    served = member()
    stream = served.watch(KEYS, progress_ms=600_000)
    assert await stream.told()
    began = asyncio.get_running_loop().time()
    if reason == "QUARANTINED":
        served.consensus.quarantined = True
    else:
        served.consensus.leader = None
    assert (await stream.failure()).reason == reason
    assert asyncio.get_running_loop().time() - began < 5.0


@in_virtual_time
async def test_a_snapshot_of_a_state_that_is_lost_does_not_wait_for_ever() -> None:
    """
    The state is being rebuilt while a snapshot is sent: it says that it goes on, until
    nobody leads, or the server stops.
    """
    for stops in (False, True):
        served = member(WatchLimits(slice_rows=2))
        early = served.bench.store.copy()
        served.write(*(served.put(b"k%d" % at) for at in range(9)))
        stream = served.watch(KEYS, start="WATCH_START_SNAPSHOT", progress_ms=600_000)
        assert await stream.message()
        served.show(early)
        assert await stream.message(0.2) is None
        if stops:
            served.frontend.close()
            with pytest.raises(StopAsyncIteration):
                await stream.message()
        else:
            served.consensus.leader = None
            assert (await stream.failure()).reason == "NO_QUORUM"


@in_virtual_time
async def test_a_failure_that_many_watches_share_does_not_grow_with_them() -> None:
    """
    Each raises it in its own call, and what it holds is the same for all.
    """
    served = member()
    streams = [served.watch(KEYS) for _ in range(20)]
    for stream in streams:
        assert await stream.told()
    served.consensus.quarantined = True
    served.write(served.put(b"k"))
    depths = []
    for stream in streams:
        trace = (await stream.failure()).__traceback__
        depths.append(0)
        while trace is not None:
            depths[-1], trace = depths[-1] + 1, trace.tb_next
    assert len(set(depths)) == 1
