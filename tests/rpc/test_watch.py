"""Watches, one thing after the other: what ends them, what holds them up, how many."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from raftstate.core.changes import Filter
from raftstate.rpc.errors import Failure
from raftstate.rpc.frontend import WatchLimits
from raftstate.rpc.hub import Hub
from raftstate.rpc.tokens import Progress, Tokens
from raftstate.v1.common_pb2 import Label
from raftstate.v1.event_service_pb2 import AppendEventsRequest, StreamAppend
from raftstate.v1.kv_service_pb2 import PutRequest
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command
from raftstate.v1.watch_service_pb2 import ResourceType, Selector, WatchRequest, WatchResponse
from tests.core.bench import event, open_session
from tests.jepsen.virtual import VirtualLoop
from tests.rpc.harness import bench
from tests.rpc.watching import Member, Stream, Told

KEYS = Selector(types=[ResourceType.RESOURCE_TYPE_KEY])
TINY = WatchLimits(slice_rows=3, message_bytes=200, queue_changes=8, queue_bytes=2_000)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine function, on a loop where waiting takes no time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*arguments, **named))

    return run


def member(limits: WatchLimits | None = None, puts: int = 0) -> Member:
    """A member with a session, and with so many keys put after that."""
    made = Member(limits)
    made.write(open_session("s"))
    made.write(*(made.put(b"k%d" % at) for at in range(puts)))
    return made


async def turns(count: int) -> None:
    """Let everybody do a little."""
    for _ in range(count):
        await asyncio.sleep(0)


async def all_until(stream: Stream, last: int) -> list[int]:
    """The revisions of the changes that are told up to one."""
    return [told.revision for told in await stream.until(last) if told.changes]


# --- clients that are slow -----------------------------------------------------


@in_virtual_time
async def test_a_slow_client_is_told_so_and_nobody_else_notices() -> None:
    """
    One client takes nothing while forty keys are put: it is told so, with a token from
    which nothing is missed. Another one on the same hub gets every change meanwhile.
    """
    served = member(TINY)
    slow, quick = served.watch(KEYS), served.watch(KEYS)
    assert await slow.told() and await quick.told()
    served.write(served.put(b"first"))
    assert [told.revision for told in (await slow.told(), await quick.told()) if told] == [2, 2]
    seen: list[int] = []
    for at in range(40):
        served.write(served.put(b"k%d" % at))
        seen += await all_until(quick, served.revision)
    assert seen == list(range(3, 43))
    failure = await slow.failure()
    assert failure.reason == "WATCH_TOO_SLOW"
    assert failure.definite
    token = failure.metadata["resume_token"]
    again = served.watch(KEYS, start="WATCH_START_RESUME", resume_token=token)
    assert await all_until(again, 42) == list(range(3, 43))
    for stream in (slow, quick, again):
        await stream.end()


@in_virtual_time
async def test_what_waits_for_all_clients_together_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Ten clients take nothing, of which one wants the large values: it has the most waiting
    when there is too much, and it alone is given up.
    """
    served = member(WatchLimits(queued_bytes=50_000))
    sizes: list[int] = []
    finish = Hub._finish

    def measured(hub: Hub, revision: int) -> None:
        finish(hub, revision)
        sizes.append(hub._account.size)

    monkeypatch.setattr(Hub, "_finish", measured)
    small = [served.watch(Selector(prefix=b"small")) for _ in range(9)]
    large = served.watch(Selector(prefix=b"large"))
    for stream in (*small, large):
        assert await stream.told()
        assert await stream.message(0.01) is None
    assert served.frontend.watch_load() == (10, 0)
    for _ in range(30):
        served.write(served.put(b"small", b"v" * 100), served.put(b"large", b"v" * 2_000))
        await turns(3)
    assert 25_000 < max(sizes) <= 50_000
    assert served.frontend.watch_load() == (10, sizes[-1])
    assert (await large.failure()).reason == "WATCH_TOO_SLOW"
    for stream in small:
        assert len(await all_until(stream, served.revision - 1)) == 30
        await stream.end()
    await large.end()
    assert served.frontend.watch_load() == (0, 0)


# --- what is forgotten -----------------------------------------------------------


@in_virtual_time
async def test_a_compacted_start_names_the_oldest_revision_that_can_be_asked_for() -> None:
    """
    And that one can be asked for.
    """
    served = member(puts=9)
    served.write(served.compact(6))
    failure = await served.watch(start="WATCH_START_REVISION", revision=6).failure()
    assert failure.reason == "COMPACTED"
    assert failure.metadata["oldest_revision"] == "7"
    stream = served.watch(KEYS, start="WATCH_START_REVISION", revision=7)
    assert await all_until(stream, 10) == [7, 8, 9, 10]
    await stream.end()


@in_virtual_time
async def test_compaction_overtakes_a_watch_that_reads_by_itself() -> None:
    """
    It has read a little of what there is when the rest is forgotten: it says so, and
    tells nothing that comes after.
    """
    served = member(TINY, puts=40)
    stream = served.watch(KEYS, start="WATCH_START_REVISION", revision=1)
    first = [await stream.told() for _ in range(3)]
    assert [told.revision for told in first if told] == [0, 2, 3]
    served.write(served.compact(20), *(served.put(b"more") for _ in range(9)))
    failure = await stream.failure()
    assert (failure.reason, failure.metadata["oldest_revision"]) == ("COMPACTED", "21")
    await stream.end()


@in_virtual_time
@pytest.mark.parametrize("oldest", [4, 5, 8])
async def test_compaction_overtakes_watches_of_the_hub(oldest: int) -> None:
    """
    What the hub was to read next is forgotten by the time that it looks: those to whom it
    mattered fail. One that begins later goes on.
    """
    served = member(puts=3)
    near = served.watch(KEYS)
    far = served.watch(KEYS, start="WATCH_START_REVISION", revision=12)
    for stream in (near, far):
        assert await stream.told()
        assert await stream.message(0.01) is None
    puts = [served.put(b"k%d" % at) for at in range(5)]
    served.write(*puts, served.compact(oldest), show=False)
    served.show()
    if oldest == 4:
        assert await all_until(near, 9) == [5, 6, 7, 8, 9]
    else:
        failure = await near.failure()
        assert failure.reason == "COMPACTED"
        assert failure.metadata["oldest_revision"] == str(oldest + 1)
    served.write(*(served.put(b"later%d" % at) for at in range(3)))
    assert await all_until(far, served.revision) == [12, 13]
    for stream in (near, far):
        await stream.end()


@in_virtual_time
async def test_compaction_overtakes_a_snapshot() -> None:
    """
    Half of it is told, and the rest cannot be any more.
    """
    served = member(TINY, puts=30)
    stream = served.watch(KEYS, start="WATCH_START_SNAPSHOT")
    part = await stream.message()
    served.write(served.put(b"k"), served.compact(served.revision + 1))
    assert part is not None
    assert part.continued
    assert (await stream.failure()).reason == "COMPACTED"
    assert not stream.whole, "all of it is told"
    await stream.end()


# --- where it begins ---------------------------------------------------------------


@in_virtual_time
async def test_a_start_in_the_future_waits_for_it() -> None:
    """
    Marks say how far the store is meanwhile; the token of one still waits.
    """
    served = member(puts=3)
    stream = served.watch(
        KEYS, start="WATCH_START_REVISION", revision=8, progress_ms=100, with_previous=True
    )
    marks = [await stream.told() for _ in range(2)]
    served.write(served.put(b"five"))
    marks.append(await stream.told())
    assert [(told.revision, told.changes) for told in marks if told] == [
        (4, []),
        (4, []),
        (5, []),
    ]
    assert marks[-1] is not None
    await stream.end()
    stream = served.watch(KEYS, start="WATCH_START_RESUME", resume_token=marks[-1].token)
    served.write(*(served.put(b"k%d" % at) for at in range(5)))
    assert await all_until(stream, served.revision) == [8, 9, 10]
    await stream.end()


@in_virtual_time
async def test_a_snapshot_is_of_one_revision_while_writes_go_on() -> None:
    """
    Keys and events come, change and go between its slices: it shows none of that, and
    what follows shows all of it.
    """
    served = member(TINY, puts=20)
    append(served, 4)
    begin = served.revision
    stream = served.watch(start="WATCH_START_SNAPSHOT")
    parts: list[WatchResponse] = []
    while not parts or parts[-1].continued:
        message = await stream.message()
        assert message is not None
        assert message.snapshot
        parts.append(message)
        served.write(served.put(b"k19", b"new"), served.put(b"new"), served.delete(b"k3"))
        append(served, 1)
    assert len(parts) > 5
    found = [change for part in parts for change in part.changes]
    found.sort(key=lambda one: (one.type, one.id, one.number))
    assert {part.header.revision for part in parts} == {begin}
    assert found == served.there(Selector(), begin)
    everything = Selector()
    told = [one for one in await stream.until(served.revision) if one.changes]
    assert [(one.revision, one.changes) for one in told] == served.expected(
        everything, begin + 1, served.revision, with_previous=False
    )
    await stream.end()


@in_virtual_time
async def test_a_snapshot_of_nothing_is_a_snapshot() -> None:
    """
    The client learns that there is nothing, and what comes then.
    """
    served = member()
    stream = served.watch(KEYS, start="WATCH_START_SNAPSHOT")
    told = await stream.told()
    assert told == Told(1, [], told.token if told else "", snapshot=True)
    served.write(served.put(b"k"))
    assert await all_until(stream, 2) == [2]
    await stream.end()


def append(served: Member, count: int) -> None:
    """Append to a free stream."""
    events = [event("e") for _ in range(count)]
    request = AppendEventsRequest(
        request_id=served.bench.request_id("s"),
        appends=[StreamAppend(stream_id="stream", events=events)],
    )
    served.write(Command(append_events=request))


@in_virtual_time
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("selector", "another selector"),
        ("cluster", "another cluster"),
        ("epoch", "of epoch 7"),
        ("cut", "not a token"),
        ("words", "not a token"),
        ("far", "not a token"),
    ],
)
async def test_a_token_that_does_not_belong_is_refused(change: str, words: str) -> None:
    """
    Of another selector, another cluster, an earlier epoch; and what is none at all.
    """
    served = member()
    stream = served.watch(KEYS)
    told = await stream.told()
    assert told is not None
    token, selector = told.token, KEYS
    if change == "selector":
        selector = Selector(types=KEYS.types, labels=[Label(name="x")])
    elif change == "cluster":
        served.consensus.cluster = ("other", 7)
    elif change == "epoch":
        served.consensus.cluster = ("test", 8)
    elif change == "cut":
        token = token[:-5] + token[-4:]
    elif change == "far":
        far = Progress((1 << 64) - 1, 1)
        token = Tokens("test", 7, Filter(KEYS).canonical()).write(far)
    else:
        token = "what is this"
    again = served.watch(selector, start="WATCH_START_RESUME", resume_token=token)
    failure = await again.failure()
    assert (failure.reason, failure.metadata["field"]) == ("INVALID_REQUEST", "resume_token")
    assert words in str(failure)
    await stream.end()


@in_virtual_time
async def test_a_token_belongs_to_what_is_selected_not_to_how_that_is_said() -> None:
    """
    The order of types and labels does not matter.
    """
    served = member()
    labels = [Label(name="x", value="1"), Label(name="y", value="2")]
    agents, checkpoints = (
        ResourceType.RESOURCE_TYPE_AGENT,
        ResourceType.RESOURCE_TYPE_CHECKPOINT,
    )
    stream = served.watch(Selector(types=[agents, checkpoints], labels=labels))
    told = await stream.told()
    assert told is not None
    other = Selector(types=[checkpoints, agents, agents], labels=labels[::-1])
    again = served.watch(other, start="WATCH_START_RESUME", resume_token=told.token)
    assert await again.told()
    await stream.end()
    await again.end()


# --- large revisions ---------------------------------------------------------------


@in_virtual_time
async def test_a_large_revision_comes_in_messages_that_are_not() -> None:
    """
    One transaction of a hundred keys: each message keeps the bound but for the change
    that is larger by itself; caught up or behind, it is the same.
    """
    served = member(WatchLimits(message_bytes=5_000, queue_bytes=1 << 20))
    joined = served.watch(KEYS)
    assert await joined.told()
    assert await joined.message(0.01) is None
    served.write(served.put_and_delete(*(b"k%03d" % at for at in range(99)), b"l" * 400))
    served.write(served.put(b"large", b"v" * 9_000), served.put(b"small"))
    behind = served.watch(KEYS, start="WATCH_START_REVISION", revision=1)
    told = [one for one in await joined.until(4) if one.changes]
    assert [(one.revision, len(one.changes)) for one in told] == [(2, 100), (3, 1), (4, 1)]
    assert [one for one in await behind.until(4) if one.changes] == told
    for stream in (joined, behind):
        over = [size for size in stream.sizes if size > 5_200]
        assert len(stream.sizes) > 4
        assert [9_000 < size < 9_500 for size in over] == [True]
        await stream.end()


@in_virtual_time
@pytest.mark.parametrize("seen", [1, 2])
async def test_a_watch_that_comes_amid_a_revision_is_told_it_whole(seen: int) -> None:
    """
    The hub has told of a part of a revision when the state begins again before it, and
    another watch comes: neither is told any of it twice, and no mark comes between the
    parts.
    """
    served = member(TINY, puts=4)
    first = served.watch(KEYS, progress_ms=100)
    assert await first.told()
    assert await first.message(0.01) is None
    # Two commands are refused and change nothing; the next changes much.
    served.write(*(served.compact(99) for _ in range(seen)), show=False)
    before = served.bench.store.copy()
    served.write(*(served.compact(99) for _ in range(2 - seen)), show=False)
    served.write(served.put_and_delete(*(b"k%d" % at for at in range(20))))
    part = await first.message()
    assert part is not None
    served.show(before)
    second = served.watch(KEYS, progress_ms=100)
    parts = [part]
    while (message := await first.message(1.0)) is not None:
        parts.append(message)
    # It waits to join.
    marks = [await second.told(), await second.told()]
    assert [told.revision for told in marks if told] == [5 + seen, 5 + seen]
    served.show()
    while parts[-1].continued:
        message = await first.message()
        assert message is not None
        parts.append(message)
    assert {part.header.revision for part in parts} == {8}
    assert all(part.changes for part in parts), "a mark amid a revision"
    found = [change.id for part in parts for change in part.changes]
    assert sorted(found) == sorted(b"k%d" % at for at in range(20))
    told = [one for one in await second.until(8) if one.changes]
    assert [(one.revision, len(one.changes)) for one in told] == [(8, 20)]
    for stream in (first, second):
        await stream.end()


# --- a member that is behind -------------------------------------------------------


@in_virtual_time
async def test_a_state_that_begins_again_tells_nothing_twice() -> None:
    """
    Watches go on behind what they were told, once the state is there again; one that
    begins meanwhile is told what it has not seen.
    """
    served = member(puts=10)
    before = served.bench.store.copy()
    served.write(*(served.put(b"later%d" % at) for at in range(10)))
    old = served.watch(KEYS, start="WATCH_START_REVISION", revision=1, progress_ms=100)
    assert await all_until(old, 21) == list(range(2, 22))
    served.show(before)
    new = served.watch(KEYS, progress_ms=100)
    begin = await new.told()
    mark = await old.told()
    assert begin is not None
    assert mark is not None
    assert (begin.revision, mark.revision) == (11, 21)
    assert await new.told()
    assert await new.message(0.01) is None, "it does not wait to join"
    clock = asyncio.get_running_loop().time
    shown = clock()
    served.write(served.put(b"last"))
    assert await all_until(old, 22) == [22]
    assert await all_until(new, 22) == list(range(12, 23))
    assert clock() == shown, "somebody was not woken"
    for stream in (old, new):
        await stream.end()


@in_virtual_time
async def test_a_state_begins_again_while_a_watch_reads_a_revision_by_itself() -> None:
    """
    It has read a part of the revision that is not there any more. It does not join the
    hub before it has read all of it.
    """
    served = member(TINY, puts=4)
    before = served.bench.store.copy()
    served.write(served.put_and_delete(*(b"k%d" % at for at in range(20))))
    stream = served.watch(KEYS, start="WATCH_START_REVISION", revision=6, progress_ms=100)
    other = served.watch(KEYS)
    assert await stream.told()
    assert await other.told()
    parts = [await stream.message()]
    served.show(before)
    assert await other.message(0.01) is None
    while (message := await stream.message(0.5)) is not None:
        parts.append(message)
    served.write(served.put(b"last"))
    while (message := await stream.message(0.01)) is not None:
        parts.append(message)
    found = [(part.header.revision, one.id) for part in parts if part for one in part.changes]
    assert sorted(found) == [*sorted((6, b"k%d" % at) for at in range(20)), (7, b"last")]
    for one in (stream, other):
        await one.end()


@in_virtual_time
async def test_a_snapshot_of_a_leader_is_gone_through_as_any_history() -> None:
    """
    A member that was far behind shows a state that was installed: its watches go on with
    the history in it.
    """
    served = member(puts=5)
    stream = served.watch(KEYS)
    assert await stream.told()
    served.write(*(served.put(b"k%d" % at) for at in range(100)), show=False)
    served.show(served.bench.store.copy())
    assert await all_until(stream, 106) == list(range(7, 107))
    await stream.end()


# --- ends --------------------------------------------------------------------------


@in_virtual_time
async def test_a_member_serves_so_many_watches_and_no_more() -> None:
    """
    One that ends makes room.
    """
    served = member(WatchLimits(streams=2))
    streams = [served.watch(), served.watch()]
    for stream in streams:
        assert await stream.told()
    failure = await served.watch().failure()
    assert (failure.reason, failure.metadata["limit"]) == ("TOO_MANY", "2")
    await streams[0].end()
    third = served.watch()
    assert await third.told()
    for stream in (third, streams[1]):
        await stream.end()


@in_virtual_time
async def test_what_a_watch_leaves_is_nothing() -> None:
    """
    When the last one has gone nobody reads, and nothing waits.
    """
    served = member(puts=3)
    streams = [
        served.watch(selector, start="WATCH_START_REVISION", revision=2)
        for selector in (KEYS, Selector(prefix=b"k", exact=True), Selector(prefix=b"k1"))
    ]
    for stream in streams:
        assert await stream.message()
        assert await stream.message(0.01) is not None or stream is streams[1]
    served.write(served.put(b"k1"))
    await turns(5)
    for stream in streams:
        await stream.end()
    hub = served.service._hub
    assert not hub._watchers
    assert not hub._account.size
    assert not hub._index.watchers
    assert not any(hub._index._prefixes.values())
    assert not any(hub._index._exact.values())
    assert hub._task is None


@in_virtual_time
async def test_a_member_in_quarantine_serves_no_watch() -> None:
    """
    Those that it has find out with the next change, or the next mark.
    """
    served = member()
    stream, idle = served.watch(KEYS), served.watch(Selector(prefix=b"else"))
    assert await stream.told()
    assert await idle.told()
    assert await stream.message(0.01) is None
    served.consensus.quarantined = True
    served.write(served.put(b"k"))
    for one in (stream, idle):
        assert (await one.failure()).reason == "QUARANTINED"
    with pytest.raises(Failure, match="damaged"):
        served.watch()


@in_virtual_time
async def test_a_member_that_is_cut_off_says_so() -> None:
    """
    It has known no leader for some seconds: its watches end, so that their clients go to
    a member that may know more.
    """
    served = member()
    stream = served.watch(KEYS, progress_ms=500)
    served.consensus.leader = None
    failure = await stream.failure()
    assert (failure.reason, failure.definite) == ("NO_QUORUM", True)
    assert 6 <= len(stream.sizes) <= 8


@in_virtual_time
async def test_a_member_that_stops_ends_its_watches_in_order() -> None:
    """
    Without a failure: the client goes on at another member.
    """
    served = member()
    streams = [served.watch(KEYS), served.watch(KEYS, start="WATCH_START_SNAPSHOT")]
    for stream in streams:
        assert await stream.told()
        assert await stream.message(0.01) is None
    served.frontend.close()
    for stream in streams:
        with pytest.raises(StopAsyncIteration):
            await stream.message()


# --- a thousand --------------------------------------------------------------------


def test_a_thousand_watchers_on_one_node() -> None:
    """
    Over the wire, each with a prefix of its own: each gets its own three changes and no
    other, and the member reads each change once.
    """

    async def main() -> None:
        async with asyncio.timeout(30), bench() as served:
            await served.sessions.OpenSession(OpenSessionRequest(session_id="s1"))
            served.opened_revision = 1
            got: Counter[int] = Counter()
            started: asyncio.Semaphore = asyncio.Semaphore(0)

            async def watch(number: int) -> None:
                prefix = b"job/%04d/" % number
                call = served.watches.Watch(
                    WatchRequest(selector=Selector(prefix=prefix), progress_ms=60_000)
                )
                await call.read()
                started.release()
                while got[number] < 3:
                    answer = await call.read()
                    (change,) = answer.changes
                    assert change.id == prefix + b"%d" % got[number]
                    got[number] += 1
                call.cancel()

            async with asyncio.TaskGroup() as group:
                for number in range(1_000):
                    group.create_task(watch(number))
                for _ in range(1_000):
                    await started.acquire()
                views = served.fake.state.views
                for step in range(3):
                    for number in range(1_000):
                        key = b"job/%04d/%d" % (number, step)
                        put = PutRequest(request_id=served.request_id(), key=key)
                        served.fake.apply(Command(put=put))
                    await asyncio.sleep(0)
            assert sum(got.values()) == 3_000
            assert served.fake.state.views - views < 1_000

    asyncio.run(main())
