"""Streams and projections through the SDK, against the real state machine."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

import raftstate
from raftstate import Append, txn
from raftstate.client.store import Store
from raftstate.client.streams import Where
from raftstate.errors import (
    Compacted,
    Conflict,
    EventIdReused,
    Fenced,
    InvalidRequest,
    NotCovered,
    NotOwner,
    ProjectionNotFound,
    StreamNotFound,
)
from raftstate.v1.event_service_pb2 import (
    AuditEnd,
    Event,
    ExportAuditResponse,
    NewEvent,
    ReadAllResponse,
    ReadEventsResponse,
    StreamInfo,
)
from raftstate.v1.kv_service_pb2 import TxnOp
from tests.client.scripted import Drop, Member, asynchronous, members, store_of, until
from tests.client.test_end_to_end import stores
from tests.rpc.harness import Bench


def numbered(numbers: Iterable[int]) -> list[NewEvent]:
    """Events with these numbers in them, which are their ids too."""
    return [raftstate.event("n", number, event_id=f"e{number}") for number in numbers]


async def some(store: Store, stream_id: str, count: int) -> None:
    """Append so many events."""
    await store.append(stream_id, numbered(range(1, count + 1)))


@asynchronous
async def test_an_append_says_where_the_stream_has_to_be() -> None:
    """
    Appends go on if the stream is where they expect it, and are refused with where it is.
    """
    async with stores(1) as (_, (store,)):
        with pytest.raises(Conflict):
            await store.append("s", numbered([1]), expected="exists")
        first = await store.append("s", numbered([1, 2]), expected="none")
        exact = await store.append("s", numbered([3]), expected=2)
        await store.append("s", numbered([4]), expected="exists")
        with pytest.raises(Conflict) as refused:
            await store.append("s", numbered([5]), expected=3)
        with pytest.raises(Conflict):
            await store.append("s", numbered([5]), expected="none")
        wrong: list[Any] = ["never", -1]
        for where in wrong:
            with pytest.raises(InvalidRequest):
                await store.append("s", numbered([5]), expected=where)
        found = [raftstate.decode(event) async for event in store.read_events("s")]
        info = await store.get_stream("s")

    assert (first.appended[0].first_seq, first.appended[0].last_seq) == (1, 2)
    assert exact.appended[0].last_seq == 3
    assert refused.value.definite
    assert refused.value.details["current_seq"] == "4"
    assert found == [1, 2, 3, 4]
    assert (info.first_seq, info.last_seq, info.agent) == (1, 4, False)


@asynchronous
async def test_an_append_under_the_same_ids_is_made_once() -> None:
    """
    Ids that are there already answer as the first time, whatever is expected; one that
    names another event is refused.
    """
    async with stores(2) as (_, (store, other)):
        first = await store.append("s", numbered([1, 2]), expected="none")
        again = await other.append("s", numbered([1, 2]), expected="none")
        with pytest.raises(EventIdReused):
            await store.append("s", [raftstate.event("n", "else", event_id="e1")])

    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.appended == first.appended


@asynchronous
async def test_several_streams_are_appended_to_together() -> None:
    """
    All of an append of several streams happens or none; an agent's own needs its fence.
    """
    async with stores(1) as (_, (store,)), store.own("agent") as agent:
        where: Where = "any"
        both = [Append("a", numbered([1]), where), Append("b", numbered([1]), "exists")]
        with pytest.raises(Conflict):
            await store.append_many(both)
        with pytest.raises(StreamNotFound):
            await store.get_stream("a")
        done = await store.append_many(
            [Append("a", numbered([1])), Append("agent", numbered([1]), fence=agent.token)]
        )
        with pytest.raises((Fenced, NotOwner, InvalidRequest)):
            await store.append("agent", numbered([2]))
        order = [(one.stream_id, one.position) async for one in store.read_all()]

    assert order == [("a", 1), ("agent", 2)]
    assert done.first_position == 1


@asynchronous
async def test_streams_are_read_from_both_ends() -> None:
    """
    Forwards and backwards, from anywhere, so many; all streams together by category.
    """
    async with stores(1) as (_, (store,)):
        await some(store, "x/a", 5)
        await some(store, "y", 2)
        await some(store, "x/b", 2)

        async def seqs(**how: Any) -> list[int]:
            return [one.seq async for one in store.read_events("x/a", **how)]

        async def places(**how: Any) -> list[int]:
            return [one.position async for one in store.read_all(**how)]

        assert await seqs() == [1, 2, 3, 4, 5]
        assert await seqs(backwards=True) == [5, 4, 3, 2, 1]
        assert await seqs(from_seq=3, backwards=True) == [3, 2, 1]
        assert await seqs(from_seq=2, max_events=2) == [2, 3]
        assert await seqs(from_seq=4, max_events=2, backwards=True) == [4, 3]
        assert await seqs(from_seq=6) == []
        assert await places() == list(range(1, 10))
        assert await places(backwards=True, max_events=3) == [9, 8, 7]
        assert await places(prefix="x/") == [1, 2, 3, 4, 5, 8, 9]
        assert await places(prefix="x/", from_position=5, max_events=2) == [5, 8]
        assert await places(prefix="x/", backwards=True) == [9, 8, 5, 4, 3, 2, 1]
        assert await places(prefix="none") == []
        checked = await store.verify_chain("x/a")
        part = await store.verify_chain("x/a", from_seq=2, max_events=2)

    assert (checked.intact, checked.first_seq, checked.last_seq) == (True, 1, 5)
    assert (part.intact, part.first_seq, part.last_seq) == (True, 2, 3)


@asynchronous
async def test_what_is_truncated_is_gone_and_only_that() -> None:
    """
    Only what a projection has passed, or a checkpoint covers, can be truncated; reading it
    afterwards is an error, reading from the first there is goes on.
    """
    async with stores(1) as (_, (store,)):
        await some(store, "s", 5)
        await store.save_projection("p", 3)
        with pytest.raises(NotCovered):
            await store.truncate_before("s", 5, projection="p")
        first = await store.truncate_before("s", 4, projection="p")
        left = [one.seq async for one in store.read_events("s")]
        with pytest.raises(Compacted):
            [one async for one in store.read_events("s", from_seq=1)]
        info = await store.get_stream("s")
        checked = await store.verify_chain("s")
        everything = [one.position async for one in store.read_all()]

    assert (first, left, everything) == (4, [4, 5], [4, 5])
    assert (info.first_seq, info.last_seq) == (4, 5)
    assert info.base_hash
    assert checked.intact


# --- what breaks and goes on -------------------------------------------------


class Streaming(Member):
    """A member that reads backwards too, and breaks after so many events, once."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = [2, 3]
        self.stored = [Event(stream_id="s", seq=n, position=n) for n in range(1, 8)]

    def _wanted(self, first: int, most: int, backwards: bool) -> list[Event]:
        if backwards:
            found = [one for one in reversed(self.stored) if one.seq <= (first or 99)]
        else:
            found = [one for one in self.stored if one.seq >= first]
        return found[: most or None]

    async def ReadEvents(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(f"{request.from_seq}+{request.max_events}")
        found = self._wanted(request.from_seq, request.max_events, request.backwards)
        async for event in self._breaking(found, context):
            yield ReadEventsResponse(header=self.header(), events=[event])

    async def ReadAll(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(f"{request.from_position}+{request.max_events}")
        found = self._wanted(request.from_position, request.max_events, request.backwards)
        async for event in self._breaking(found, context):
            next_one = event.position + (-1 if request.backwards else 1)
            yield ReadAllResponse(header=self.header(), events=[event], next_position=next_one)

    async def _breaking(self, found: list[Event], context: Any) -> Any:
        until_break = self.breaks.pop(0) if self.breaks else None
        for sent, event in enumerate(found):
            if sent == until_break:
                await self.act(Drop(), context)
            yield event
        if until_break == len(found):
            await self.act(Drop(), context)


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("most", [0, 5])
@asynchronous
async def test_a_read_that_breaks_goes_on(everything: bool, backwards: bool, most: int) -> None:
    """
    Whatever breaks in between, each event comes once and in order, and no more of them
    than were wanted; also where the end breaks.
    """
    async with members(1, kind=Streaming) as (member,), store_of(member) as store:
        if everything:
            found = [
                one.seq async for one in store.read_all(max_events=most, backwards=backwards)
            ]
        else:
            found = [
                one.seq
                async for one in store.read_events("s", max_events=most, backwards=backwards)
            ]
        member.breaks = [7]
        again = [one.seq async for one in store.read_events("s", backwards=True)]

    order = [7, 6, 5, 4, 3, 2, 1] if backwards else [1, 2, 3, 4, 5, 6, 7]
    assert found == order[: most or None]
    assert again == [7, 6, 5, 4, 3, 2, 1]


class Exporting(Member):
    """A member whose export breaks after so many messages, and which cuts it otherwise
    each time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = [1, 4]
        self.revisions: list[int] = []

    async def ExportAudit(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.revisions.append(request.revision)
        size = 2 + len(self.breaks)
        streams = [StreamInfo(stream_id=f"s{n}") for n in range(5)]
        events = [Event(stream_id="s0", seq=n) for n in range(9)]
        header = self.header()
        header.revision = 7
        messages = [
            ExportAuditResponse(header=header, streams=streams[at : at + size])
            for at in range(0, 5, size)
        ]
        messages += [
            ExportAuditResponse(header=header, events=events[at : at + size])
            for at in range(0, 9, size)
        ]
        stop = self.breaks.pop(0) if self.breaks else 99
        for sent, message in enumerate(messages):
            if sent == stop:
                await self.act(Drop(), context)
            yield message
        yield ExportAuditResponse(header=header, end=AuditEnd(streams=5, events=9))


@asynchronous
async def test_an_export_that_breaks_goes_on() -> None:
    """
    At the revision that it began with, without a gap and with nothing twice.
    """
    async with members(1, kind=Exporting) as (member,), store_of(member) as store:
        answers = [one async for one in store.export_audit()]

    assert [info.stream_id for one in answers for info in one.streams] == [
        f"s{n}" for n in range(5)
    ]
    assert [event.seq for one in answers for event in one.events] == list(range(9))
    assert [one.HasField("end") for one in answers].count(True) == 1
    assert member.revisions == [0, 7, 7]


# --- projections -------------------------------------------------------------


@asynchronous
async def test_a_projection_goes_on_behind_what_it_saved() -> None:
    """
    Its handler sees each event of its category in order; the next run under the name goes
    on behind the saved position, also over events that are not its own.
    """
    seen: list[int] = []

    async def note(event: Event) -> None:
        seen.append(event.position)

    async with stores(1) as (_, (store,)):
        with pytest.raises(ProjectionNotFound):
            await store.get_projection("p")
        await some(store, "a/1", 3)
        await some(store, "b", 3)
        first = await store.projection("p", note, prefix="a/").catch_up()
        passed = await store.get_projection("p")
        await some(store, "a/2", 2)
        second = await store.projection("p", note, prefix="a/").catch_up()
        saved = await store.get_projection("p")
        listed = [one.name async for one in store.list_projections()]
        await store.delete_projection("p")
        with pytest.raises(ProjectionNotFound):
            await store.delete_projection("p")

    assert (first, second, listed, passed.position) == (3, 2, ["p"], 6)
    assert seen == [1, 2, 3, 7, 8]
    assert saved.position == 8


@asynchronous
async def test_a_projection_saves_as_often_as_it_is_told() -> None:
    """
    Every so many events and at the end: what a crash lets come again is bounded.
    """
    saved = []

    async with stores(1) as (served, (store,)):
        await some(store, "s", 10)
        served.fake.proposed.clear()
        await store.projection("p", lambda _: None, save_events=4).catch_up()
        for command in served.fake.proposed:
            if command.HasField("save_projection"):
                request = command.save_projection
                saved.append((request.expected_position, request.position))

    assert saved == [(0, 4), (4, 8), (8, 10)]


@asynchronous
async def test_a_handler_that_fails_loses_nothing() -> None:
    """
    What came before the failure is saved, and the event that failed comes again.
    """
    seen: list[int] = []
    broken = True

    def note(event: Event) -> None:
        if event.seq == 3 and broken:
            raise ValueError("three")
        seen.append(event.seq)

    async with stores(1) as (_, (store,)):
        await some(store, "s", 4)
        projection = store.projection("p", note)
        with pytest.raises(ValueError, match="three"):
            await projection.catch_up()
        saved = await store.get_projection("p")
        broken = False
        await projection.catch_up()

    assert saved.position == 2
    assert seen == [1, 2, 3, 4]


def _saves(served: Bench) -> bool:
    """Whether what was proposed last is to save a position."""
    return served.fake.proposed[-1].HasField("save_projection")


@asynchronous
async def test_a_consumer_that_is_stopped_twice_may_begin_again() -> None:
    """
    The second time amid saving, of which it does not know then whether that happened: where
    it is, the store says.
    """
    seen: list[int] = []
    async with stores(1) as (served, (store,)):
        await some(store, "s", 3)
        proceed = asyncio.Event()

        async def note(event: Event) -> None:
            if event.seq == 3:
                await proceed.wait()
            seen.append(event.seq)

        projection = store.projection("p", note)
        running = asyncio.create_task(projection.catch_up())
        await until(lambda: seen == [1, 2], "it has come to the third")
        served.fake.holding = True
        running.cancel()
        await until(lambda: _saves(served), "it saves")
        running.cancel()
        await asyncio.wait({running})
        served.fake.let_go()
        proceed.set()
        again = await projection.catch_up()

    assert (again, seen) == (1, [1, 2, 3])


@asynchronous
async def test_only_one_consumer_of_a_name_goes_on() -> None:
    """
    A second consumer that began at the same place is refused when it saves, and the first
    goes on; the second may begin again, behind what the first has saved.
    """
    async with stores(2) as (_, (store, other)):
        await some(store, "s", 3)
        began, proceed = asyncio.Event(), asyncio.Event()

        async def slowly(_: Event) -> None:
            began.set()
            await proceed.wait()

        late = other.projection("p", slowly)
        second = asyncio.create_task(late.catch_up())
        await began.wait()
        first = store.projection("p", lambda _: None)
        await first.catch_up()
        proceed.set()
        with pytest.raises(Conflict) as refused:
            await second
        await some(store, "t", 1)
        await first.catch_up()
        again = await late.catch_up()
        saved = await store.get_projection("p")

    assert refused.value.definite
    assert (saved.position, again) == (4, 0)


@asynchronous
async def test_a_running_projection_follows_the_log() -> None:
    """
    `run` deals with what comes, too, until it is cancelled, and then has saved.
    """
    seen: list[int] = []
    all_there = asyncio.Event()

    def note(event: Event) -> None:
        seen.append(event.seq)
        if len(seen) == 3:
            all_there.set()

    async with stores(1) as (_, (store,)):
        await some(store, "s", 2)
        running = asyncio.create_task(store.projection("p", note, poll=0.01).run())
        await store.append("s", numbered([3]))
        async with asyncio.timeout(5):
            await all_there.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        saved = await store.get_projection("p")

    assert seen == [1, 2, 3]
    assert saved.position == 3


@pytest.mark.parametrize("batch", [1, 3])
@asynchronous
async def test_a_read_model_meets_each_event_once(batch: int) -> None:
    """
    What follows from events is written in one transaction with the position, so that a
    consumer that is cut down at any commit, and starts again, counts each event once.
    """
    async with stores(1) as (_, (store,)):
        await some(store, "s", 7)
        engine = store._engine
        mutate, cuts = engine.mutate, 0

        async def count(events: list[Event]) -> list[TxnOp]:
            known = await store.keys.get("sum")
            total = int(known.value) if known else 0
            return [txn.put("sum", str(total + sum(raftstate.decode(e) for e in events)))]

        async def cut_down(kind: str, request: Any, timeout: float | None) -> Any:
            await mutate(kind, request, timeout)
            raise _KilledError

        engine.mutate = cut_down  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises(_KilledError):
                await store.read_model("m", count, batch=batch).catch_up()
            cuts += 1
        engine.mutate = mutate  # type: ignore[method-assign]
        await store.read_model("m", count, batch=batch).catch_up()
        found = await store.keys.get("sum")
        saved = await store.get_projection("m")

    assert cuts == 2
    assert found is not None
    assert int(found.value) == sum(range(1, 8))
    assert saved.position == 7


@asynchronous
async def test_two_read_models_of_one_name_do_not_write_over_each_other() -> None:
    """
    The one that comes too late is refused whole: neither its keys nor its position count.
    """
    async with stores(2) as (_, (store, other)):
        await some(store, "s", 2)
        behind = other.read_model("m", lambda events: [txn.put("who", "behind")], batch=2)
        ahead = store.read_model("m", lambda events: [txn.put("who", "ahead")], batch=2)
        # Both have begun at the same place.
        behind._saved = ahead._saved = 0
        await ahead.catch_up()
        with pytest.raises(Conflict):
            await behind.catch_up()
        found = await store.keys.get("who")

    assert found is not None
    assert (found.value, found.version) == (b"ahead", 1)


class _KilledError(BaseException):
    """The process ends here."""
