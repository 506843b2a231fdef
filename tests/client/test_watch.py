# ruff: noqa: N802  # the names of calls are those of the API
"""Watches of the SDK: against members that do what they are told, and real services."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Self

import grpc
import pytest

import raftstate
from raftstate.client import calls
from raftstate.client.watch import Watch, WatchBatch
from raftstate.core.types import Revision
from raftstate.errors import (
    Closed,
    ClusterMismatch,
    Compacted,
    Corrupt,
    InvalidRequest,
    NoQuorum,
    TooMany,
    WatchTooSlow,
)
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.server import RpcServer, Settings
from raftstate.v1.kv_service_pb2 import KeyValue
from raftstate.v1.watch_service_pb2 import (
    Change,
    Resource,
    ResourceType,
    WatchRequest,
    WatchResponse,
    WatchStart,
)
from tests.client.scripted import (
    Drop,
    Member,
    Refuse,
    Silence,
    asynchronous,
    members,
    store_of,
    until,
)
from tests.rpc.fake import FakeConsensus, MemoryState

KEY = ResourceType.RESOURCE_TYPE_KEY
SLOW = Refuse(
    "WATCH_TOO_SLOW", grpc.StatusCode.RESOURCE_EXHAUSTED, {"resume_token": "behind 9"}
)
COMPACTED = Refuse("COMPACTED", grpc.StatusCode.OUT_OF_RANGE, {"oldest_revision": "40"})
FULL = Refuse("TOO_MANY", grpc.StatusCode.RESOURCE_EXHAUSTED, {"limit": "1"})


class Teller(Member):
    """A member that answers each watch with the next of its stories, and then nothing. A
    number in one is how many seconds it pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.stories: deque[list[Any]] = deque()
        self.watches: list[WatchRequest] = []

    def tell(self, *story: Any) -> None:
        """What the next watch is told."""
        self.stories.append([*story])

    async def Watch(self, request: WatchRequest, context: Any) -> AsyncIterator[WatchResponse]:
        self.watches.append(request)
        for each in self.stories.popleft() if self.stories else [Silence()]:
            if isinstance(each, WatchResponse):
                each.header.MergeFrom(self.header())
                yield each
            elif isinstance(each, float):
                await asyncio.sleep(each)
            else:
                await self.act(each, context)

    @property
    def starts(self) -> list[tuple[str, str]]:
        """How each watch was to begin."""
        return [
            (WatchStart.Name(one.start).removeprefix("WATCH_START_"), one.resume_token)
            for one in self.watches
        ]


def said(revision: int, *keys: bytes, more: bool = False, snapshot: bool = False) -> Any:
    """A message of a watch."""
    answer = WatchResponse(continued=more, snapshot=snapshot)
    answer.header.revision = revision
    answer.resume_token = "" if more else f"behind {revision}"
    for key in keys:
        resource = Resource(key=KeyValue(key=key))
        answer.changes.append(Change(type=KEY, id=key, resource=resource))
    return answer


async def take(watch: Watch, count: int) -> list[tuple[int, list[bytes]]]:
    """So many batches."""
    found = []
    for _ in range(count):
        batch = await anext(watch)
        found.append((batch.revision, [change.id for change in batch.changes]))
    return found


# --- members that do as they are told ----------------------------------------------


@asynchronous
async def test_a_broken_watch_goes_on_behind_what_it_gave() -> None:
    """
    Parts of a revision that broke off are thrown away; what comes again comes whole. A
    stream that ends without a failure is gone on with as well.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        one.tell(said(5), said(6, b"a"), said(7, b"b", more=True), Drop())
        one.tell(said(7, b"b", more=True), said(7, b"c"))
        one.tell(said(7), said(8, b"d"), Silence())
        watch = store.watch(types=["key"])
        assert await take(watch, 3) == [(6, [b"a"]), (7, [b"b", b"c"]), (8, [b"d"])]
        assert one.starts == [("NOW", ""), ("RESUME", "behind 6"), ("RESUME", "behind 7")]
        assert watch.token == "behind 8"
        await watch.aclose()
        assert [batch async for batch in watch] == []


@asynchronous
async def test_what_a_caller_asks_for_is_what_is_sent() -> None:
    """
    Names of types, an exact key, labels in order of name; and how it is to begin.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        for _ in range(3):
            one.tell(said(5, b"a"))
        await take(store.watch(types=["agent", KEY], key="a", labels={"y": "2", "x": "1"}), 1)
        await take(store.watch(prefix=b"\xff", revision=3, with_previous=True), 1)
        await take(store.watch(token="t", progress_every=0.25), 1)
        first, second, third = one.watches
        assert list(first.selector.types) == [ResourceType.RESOURCE_TYPE_AGENT, KEY]
        assert (first.selector.prefix, first.selector.exact) == (b"a", True)
        assert [label.name for label in first.selector.labels] == ["x", "y"]
        assert (second.selector.prefix, second.selector.exact) == (b"\xff", False)
        assert (second.revision, second.with_previous) == (3, True)
        assert (third.resume_token, third.progress_ms) == ("t", 250)
        with pytest.raises(InvalidRequest, match="no type"):
            store.watch(types=["kee"])
        with pytest.raises(InvalidRequest, match="begins"):
            store.watch(token="t", snapshot=True)


@asynchronous
async def test_a_block_begins_with_its_watch_and_marks_are_given_if_asked_for() -> None:
    """
    Entering waits for the first word. Marks move the token, whether or not they are given.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        one.tell(said(5), said(9), said(10, b"a"), Silence())
        async with store.watch() as watch:
            assert watch.token == "behind 5"
            assert await take(watch, 1) == [(10, [b"a"])]
        one.tell(said(5), said(9), said(10, b"a"), Silence())
        async with store.watch(progress=True) as watch:
            batches = [await anext(watch) for _ in range(3)]
        assert [(one.revision, one.progress) for one in batches] == [
            (5, True),
            (9, True),
            (10, False),
        ]
        assert batches[1] == WatchBatch(9, [], "behind 9")


@asynchronous
async def test_a_watch_that_somebody_else_closes_just_ends() -> None:
    """
    Who waits for the next batch is told that there is none, and is not cancelled; nothing
    more is asked of a member, wherever the watch was.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        one.tell(said(5), said(6, b"a", more=True), Silence())
        watch = store.watch()
        waiting = asyncio.create_task(take(watch, 1))
        await until(lambda: watch.token, "it has begun")
        await watch.aclose()
        await asyncio.wait({waiting})
        one.tell(Drop())
        retrying = store.watch()
        one.office = Silence()
        away = asyncio.create_task(take(retrying, 1))
        await until(lambda: len(one.watches) > 1, "it was asked")
        await retrying.aclose()
        await asyncio.wait({away})
        asked = len(one.watches)
        await asyncio.sleep(0.05)

    for task in (waiting, away):
        assert isinstance(task.exception(), StopAsyncIteration)
    assert len(one.watches) == asked


@asynchronous
async def test_a_member_with_nothing_to_say_is_waited_for() -> None:
    """
    Word that is asked for seldom may come later than the store's timeout, and yet in time.
    """
    async with members(1, kind=Teller) as [one], store_of(one, timeout=0.2) as store:
        one.tell(said(5), 0.5, said(6, b"a"))
        watch = store.watch(progress_every=1)
        assert await take(watch, 1) == [(6, [b"a"])]
        one.tell(Silence())
        with pytest.raises(NoQuorum):
            await take(store.watch(timeout=0.2), 1)


@asynchronous
async def test_a_slow_caller_is_served_again_or_told() -> None:
    """
    By default it goes on from the token that came with the failure; if it asked for it, the
    failure is raised, and the watch has ended.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        one.tell(said(5), SLOW)
        one.tell(said(10, b"a"))
        assert await take(store.watch(), 1) == [(10, [b"a"])]
        assert one.starts == [("NOW", ""), ("RESUME", "behind 9")]
        one.tell(said(5), SLOW)
        watch = store.watch(raise_too_slow=True)
        with pytest.raises(WatchTooSlow) as caught:
            await anext(watch)
        assert caught.value.details["resume_token"] == "behind 9"
        assert [batch async for batch in watch] == []


@asynchronous
async def test_compaction_is_raised_but_for_a_snapshot_that_has_not_come() -> None:
    """
    A snapshot that took too long is begun anew, since nothing of it was given.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        one.tell(said(5, b"a", snapshot=True, more=True), COMPACTED)
        one.tell(said(7, b"b", snapshot=True), COMPACTED)
        watch = store.watch(snapshot=True)
        batch = await anext(watch)
        assert (batch.revision, batch.snapshot, len(batch.changes)) == (7, True, 1)
        with pytest.raises(Compacted) as caught:
            await anext(watch)
        assert caught.value.details["oldest_revision"] == "40"
        assert [start for start, _ in one.starts] == ["SNAPSHOT", "SNAPSHOT"]


@asynchronous
async def test_a_member_that_serves_too_many_watches_is_left_for_another() -> None:
    """
    Only when all of them do is it an error.
    """
    async with members(2, kind=Teller) as [one, two], store_of(one, two) as store:
        for _ in range(200):
            one.tell(FULL)
        two.tell(said(5, b"a"))
        assert await take(store.watch(), 1) == [(5, [b"a"])]
        with pytest.raises(TooMany):
            await anext(store.watch(endpoint=one.address, timeout=0.3))


@asynchronous
async def test_a_watch_is_not_begun_right_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It would only hide what the last one said.
    """
    monkeypatch.setattr(calls, "_ATTEMPT_MIN_S", 60.0)
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        for _ in range(3):
            one.tell(FULL)
        with pytest.raises(TooMany):
            await anext(store.watch(timeout=5.0))

        assert len(one.starts) == 1


@asynchronous
async def test_an_abandoned_wait_loses_nothing() -> None:
    """
    A caller that waits with a time limit asks again, and gets all of it.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        one.tell(said(5), said(6, b"a", more=True), Silence())
        one.tell(said(6, b"a", more=True), said(6, b"b"))
        watch = store.watch()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0.2)
        assert await take(watch, 1) == [(6, [b"a", b"b"])]
        assert one.starts == [("NOW", ""), ("RESUME", "behind 5")]


@asynchronous
async def test_a_watch_never_goes_back() -> None:
    """
    Not in revisions, and not to another cluster.
    """
    async with members(1, kind=Teller) as [one], store_of(one) as store:
        for story in ([said(6, b"a"), said(6, b"b")], [said(6), said(5)]):
            one.tell(*story)
            with pytest.raises(Corrupt):
                await take(store.watch(progress=True), 2)
        one.tell(said(6, b"a"), Drop())
        one.tell(said(7, b"b"))
        watch = store.watch()
        assert await take(watch, 1) == [(6, [b"a"])]
        one.cluster_id = "other"
        with pytest.raises(ClusterMismatch):
            await take(watch, 1)


@asynchronous
async def test_nobody_answers_or_the_store_is_closed() -> None:
    """
    NoQuorum after the time that was given; Closed at once.
    """
    async with members(1, kind=Teller) as [one]:
        async with store_of(one) as store:
            with pytest.raises(NoQuorum):
                await anext(store.watch(timeout=0.2))
            watch = store.watch()
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
        with pytest.raises(Closed):
            await waiting


# --- real services ------------------------------------------------------------------


class Servers:
    """Several servers over one state machine, in one loop."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.bridges = [Bridge(asyncio.get_running_loop()) for _ in range(3)]
        # Only the last one's clients write.
        self.fake = FakeConsensus(self.bridges[-1].deliver, self.state, self._announce)
        self.running: list[RpcServer] = []
        self.addresses: list[str] = []

    def _announce(self, revision: Revision) -> None:
        for bridge in self.bridges:
            bridge.revisions.announce(revision)

    async def __aenter__(self) -> Self:
        for bridge in self.bridges:
            server = RpcServer(self.fake, self.state, bridge, Settings())
            self.addresses.append(f"127.0.0.1:{server.bind('127.0.0.1:0')}")
            await server.start()
            self.running.append(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.running:
            await server.stop(0)

    async def restart(self, at: int, *, in_order: bool) -> None:
        """End one of them, and have another in its place."""
        if in_order:
            self.running[at].close()
        await self.running[at].stop(0)
        self.running[at] = RpcServer(self.fake, self.state, self.bridges[at], Settings())
        self.running[at].bind(self.addresses[at])
        await self.running[at].start()


@asynchronous
async def test_a_watch_survives_the_end_of_its_members() -> None:
    """
    The watch is thrown out of one server after the other, in order and not, while a key is
    put: it tells of every put, once and in order.
    """
    told: list[tuple[int, bytes, bytes]] = []

    async def follow(watch: Watch) -> None:
        async for batch in watch:
            [change] = batch.changes
            value, before = change.resource.key.value, change.previous.key.value
            told.append((batch.revision, before, value))
            if value == b"59":
                return

    # A server that stops waits for calls that end; here they are those of all three.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raftstate.rpc.server.ENDING_S", 0.1)
        async with (
            Servers() as servers,
            raftstate.connect(servers.addresses[2]) as writer,
            raftstate.connect(servers.addresses[:2]) as store,
            store.watch(types=["key"], prefix="k", with_previous=True) as watch,
        ):
            following = asyncio.create_task(follow(watch))
            for number in range(60):
                await writer.keys.put("k", b"%d" % number)
                if number in (20, 40):
                    at = servers.addresses.index(watch._address)
                    await servers.restart(at, in_order=number == 20)
            await following
    assert [value for _, _, value in told] == [b"%d" % number for number in range(60)]
    assert [before for _, before, _ in told] == [b"", *(value for _, _, value in told[:-1])]
    revisions = [revision for revision, _, _ in told]
    assert revisions == sorted(set(revisions))


class Slow(Member):
    """Says its snapshot part by part."""

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[WatchResponse]:
        for left in reversed(range(15)):
            await asyncio.sleep(0.1)
            token = "" if left else "t"
            yield WatchResponse(
                header=self.header(), snapshot=True, continued=bool(left), resume_token=token
            )
        await asyncio.Event().wait()


@asynchronous
async def test_a_snapshot_may_take_longer_than_silence() -> None:
    """
    The timeout is for how long nothing is said, not for the whole of it.
    """
    async with (
        members(1, kind=Slow) as (member,),
        store_of(member) as store,
        store.watch(snapshot=True, timeout=0.5) as watch,
    ):
        batch = await anext(aiter(watch))

    assert batch.snapshot
