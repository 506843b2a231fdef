"""EventService: slices, ends, what was truncated, and the export for an audit.

What happens between two slices is made to happen: the calls are run by hand, without a
socket, so that nothing is sent ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from typing import Any

import pytest
from google.protobuf.message import Message

from raftstate.client.audit import event_hash
from raftstate.core import keys, stream_queries
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.errors import Failure
from raftstate.rpc.events import Events
from raftstate.rpc.frontend import Frontend, Limits, command_of
from raftstate.v1.common_pb2 import (
    CONSISTENCY_AT_REVISION,
    CONSISTENCY_STALE,
    RequestId,
)
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    Event,
    ExportAuditRequest,
    ExportAuditResponse,
    GetStreamRequest,
    ListProjectionsRequest,
    NewEvent,
    ReadAllRequest,
    ReadEventsRequest,
    SaveProjectionRequest,
    StreamAppend,
    TruncateBeforeRequest,
    VerifyChainRequest,
)
from raftstate.v1.kv_service_pb2 import CompactRequest
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, Outcome, Sweep
from tests.rpc.fake import FakeConsensus, MemoryState
from tests.rpc.harness import ADDRESSES, bench, refused

SMALL = Limits(slice_events=4, slice_bytes=4_096, slice_rows=8)


class Member:
    """The service over a fake, called as grpc would."""

    def __init__(self, limits: Limits) -> None:
        bridge = Bridge(asyncio.get_running_loop())
        self.state = MemoryState()
        announce = bridge.revisions.announce
        self.fake = FakeConsensus(bridge.deliver, self.state, announce)
        frontend = Frontend(self.fake, self.state, bridge, ADDRESSES, limits, "")
        self.service = Events(frontend)
        self.sequence = 0
        self.fake.apply(Command(open_session=OpenSessionRequest(session_id="s")))

    def do(self, request: Any) -> Outcome:
        """Apply a mutation that is not refused."""
        self.sequence += 1
        request_id = RequestId(session_id="s", sequence=self.sequence, opened_revision=1)
        request.request_id.CopyFrom(request_id)
        outcome = self.fake.apply(command_of(request))
        assert not outcome.HasField("refusal"), outcome
        return outcome

    def append(self, stream_id: str, count: int, size: int = 1) -> int:
        """Append so many events; the revision."""
        events = [NewEvent(type="t", data=bytes(size)) for _ in range(count)]
        append = StreamAppend(stream_id=stream_id, events=events)
        return self.do(AppendEventsRequest(appends=[append])).revision

    def truncate(self, stream_id: str, before: int) -> None:
        """Truncate a free stream, and remove the rows."""
        newest = self.fake.machine.revision
        self.do(SaveProjectionRequest(name="all", position=self.positions))
        self.do(TruncateBeforeRequest(stream_id=stream_id, before_seq=before, projection="all"))
        assert self.fake.machine.revision == newest + 2
        self.fake.apply(Command(sweep=Sweep(rows=1_000)))

    def compact(self) -> None:
        """Forget all but the newest revision."""
        self.do(CompactRequest(revision=self.fake.machine.revision + 1))

    @property
    def positions(self) -> int:
        return stream_queries.last_position(self.state.store)


def told(story: Callable[[Member], Awaitable[None]], limits: Limits = SMALL) -> None:
    """Run a story, but not for ever."""

    async def tell() -> None:
        async with asyncio.timeout(10):
            await story(Member(limits))

    asyncio.run(tell())


async def all_of(call: AsyncIterator[Any]) -> list[Any]:
    found = []
    async for response in call:
        found.append(response)
        assert len(found) < 1_000, "it does not end"
    return found


async def failure_of(call: Awaitable[Any]) -> Failure:
    with pytest.raises(Failure) as caught:
        await call
    return caught.value


def seqs(responses: list[Any]) -> list[list[int]]:
    return [[event.seq for event in response.events] for response in responses]


# --- one stream --------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({}, [[3, 4, 5, 6], [7, 8, 9]]),
        ({"from_seq": 5, "max_events": 2}, [[5, 6]]),
        ({"from_seq": 3}, [[3, 4, 5, 6], [7, 8, 9]]),
        ({"from_seq": 10}, [[]]),
        ({"from_seq": 1 << 63}, [[]]),
        ({"max_events": (1 << 64) - 1}, [[3, 4, 5, 6], [7, 8, 9]]),
        ({"backwards": True}, [[9, 8, 7, 6], [5, 4, 3]]),
        ({"backwards": True, "max_events": 3}, [[9, 8, 7]]),
        ({"backwards": True, "from_seq": 4}, [[4, 3]]),
        ({"backwards": True, "from_seq": 3, "max_events": 5}, [[3]]),
        ({"backwards": True, "from_seq": 99, "max_events": 1}, [[9]]),
    ],
)
def test_which_events_a_read_is_about(fields: dict[str, Any], want: list[list[int]]) -> None:
    """
    Of a stream of nine, the first two of which are gone, in slices of four.
    """

    async def story(member: Member) -> None:
        member.append("f", 9)
        member.truncate("f", 3)
        request = ReadEventsRequest(stream_id="f", **fields)
        assert seqs(await all_of(member.service.ReadEvents(request, None))) == want

    told(story)


@pytest.mark.parametrize("fields", [{"from_seq": 2}, {"from_seq": 2, "backwards": True}])
@pytest.mark.parametrize("call", ["ReadEvents", "VerifyChain"])
def test_what_is_truncated_cannot_be_read(call: str, fields: dict[str, Any]) -> None:
    """
    The failure names the oldest event that can.
    """

    async def story() -> None:
        async with bench() as b:
            await b.open()
            events = [NewEvent(type="t") for _ in range(4)]
            append = StreamAppend(stream_id="f", events=events)
            await b.events.AppendEvents(
                AppendEventsRequest(request_id=b.request_id(), appends=[append])
            )
            await b.events.SaveProjection(
                SaveProjectionRequest(request_id=b.request_id(), name="p", position=4)
            )
            await b.events.TruncateBefore(
                TruncateBeforeRequest(
                    request_id=b.request_id(), stream_id="f", before_seq=3, projection="p"
                )
            )
            if call == "ReadEvents":
                asked: Message = ReadEventsRequest(stream_id="f", **fields)
                said = await refused(anext(aiter(b.events.ReadEvents(asked))))
            else:
                asked = VerifyChainRequest(stream_id="f", from_seq=fields["from_seq"])
                said = await refused(b.events.VerifyChain(asked))
            assert (said.code, said.reason) == ("OUT_OF_RANGE", "COMPACTED")
            assert said.definite
            assert said.metadata == {"subject": "f", "oldest_seq": "3"}

    asyncio.run(story())


@pytest.mark.parametrize("backwards", [False, True])
def test_a_stream_that_is_truncated_while_it_is_read_is_no_gap(backwards: bool) -> None:
    """
    The reader gets a failure in the place of what it has not had.
    """

    async def story(member: Member) -> None:
        member.append("f", 9)
        request = ReadEventsRequest(stream_id="f", backwards=backwards)
        call = aiter(member.service.ReadEvents(request, None))
        first = await anext(call)
        member.truncate("f", 7)

        failure = await failure_of(anext(call))

        assert seqs([first]) == ([[9, 8, 7, 6]] if backwards else [[1, 2, 3, 4]])
        assert (failure.reason, failure.metadata["oldest_seq"]) == ("COMPACTED", "7")

    told(story)


@pytest.mark.parametrize(
    "request_of",
    [
        ReadAllRequest(consistency=CONSISTENCY_STALE),
        ReadAllRequest(consistency=CONSISTENCY_STALE, backwards=True),
        ReadAllRequest(consistency=CONSISTENCY_AT_REVISION, revision=4),
        ReadEventsRequest(stream_id="f", consistency=CONSISTENCY_STALE),
        ReadEventsRequest(stream_id="f", consistency=CONSISTENCY_AT_REVISION, revision=4),
        ExportAuditRequest(consistency=CONSISTENCY_STALE),
    ],
    ids=["all", "all backwards", "all then", "one", "one then", "export"],
)
def test_a_state_that_is_made_anew_while_it_is_read_is_no_gap(request_of: Any) -> None:
    """
    It shows less than it did: that is neither the end, nor to come.
    """

    async def story(member: Member) -> None:
        member.append("f", 3)
        early = member.state.store.copy()
        for _ in range(2):
            member.append("f", 3)
        method = type(request_of).__name__.removesuffix("Request")
        call = aiter(getattr(member.service, method)(request_of, None))
        await anext(call)
        member.state.store = early

        failure = await failure_of(all_of(call))

        assert (failure.reason, failure.definite) == ("NO_QUORUM", True)

    told(story)


def test_a_read_ends_where_the_end_was_when_it_began() -> None:
    """
    What is appended meanwhile is not in it.
    """

    async def story(member: Member) -> None:
        member.append("f", 6)
        call = aiter(member.service.ReadEvents(ReadEventsRequest(stream_id="f"), None))
        order = aiter(member.service.ReadAll(ReadAllRequest(), None))
        found, ordered = [await anext(call)], [await anext(order)]
        member.append("f", 6)
        assert seqs(found + await all_of(call)) == [[1, 2, 3, 4], [5, 6]]
        ordered += await all_of(order)
        assert seqs(ordered) == [[1, 2, 3, 4], [5, 6]]
        assert ordered[-1].next_position == 7

    told(story)


def test_a_stream_is_told_from_none() -> None:
    """
    NOT_FOUND for one that never had an event; an agent's is empty before its first.
    """

    async def story() -> None:
        async with bench() as b:
            await b.open()
            await b.own("a")
            empty = await anext(aiter(b.events.ReadEvents(ReadEventsRequest(stream_id="a"))))
            assert list(empty.events) == []
            chain = await b.events.VerifyChain(VerifyChainRequest(stream_id="a"))
            assert (chain.intact, chain.first_seq, chain.next_seq) == (True, 0, 0)
            calls = [
                b.events.GetStream(GetStreamRequest(stream_id="a")),
                b.events.GetStream(GetStreamRequest(stream_id="f")),
                b.events.VerifyChain(VerifyChainRequest(stream_id="f")),
                anext(aiter(b.events.ReadEvents(ReadEventsRequest(stream_id="f")))),
            ]
            for call in calls:
                said = await refused(call)
                assert (said.code, said.reason) == ("NOT_FOUND", "STREAM_NOT_FOUND")
                assert said.definite

    asyncio.run(story())


def test_the_past_is_read_as_it_was() -> None:
    """
    Streams and the order of all events end where they did, also for who lists streams.
    """

    async def story(member: Member) -> None:
        then = member.append("f", 3)
        member.append("g", 2)
        now = member.append("f", 3)
        past: dict[str, Any] = {"consistency": CONSISTENCY_AT_REVISION, "revision": then}
        service = member.service

        read = await all_of(service.ReadEvents(ReadEventsRequest(stream_id="f", **past), None))
        order = await all_of(service.ReadAll(ReadAllRequest(**past), None))
        back = await all_of(service.ReadAll(ReadAllRequest(backwards=True, **past), None))
        info = await service.GetStream(GetStreamRequest(stream_id="f", **past), None)
        chain = await service.VerifyChain(VerifyChainRequest(stream_id="f", **past), None)
        audit = await all_of(service.ExportAudit(ExportAuditRequest(**past), None))
        newest = await service.GetStream(GetStreamRequest(stream_id="f"), None)

        assert seqs(read) == seqs(order) == [[1, 2, 3]]
        assert seqs(back) == [[3, 2, 1]]
        assert info.last_seq == info.stream.last_seq == chain.last_seq == 3
        assert info.last_hash == read[0].events[-1].hash == chain.last_hash
        assert (audit[-1].end.streams, audit[-1].end.events) == (1, 3)
        everything = [*read, *order, *back, info, chain, *audit]
        assert {response.header.revision for response in everything} == {then}
        assert (newest.last_seq, newest.header.revision) == (6, now)

    told(story)


# --- the order of all streams ------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_a_rare_prefix_is_looked_for_in_slices_that_say_how_far_they_are(
    backwards: bool,
) -> None:
    """
    Messages without events come in between, each with the place to go on from.
    """

    async def story(member: Member) -> None:
        member.append("rare", 1)
        member.append("f", 30)
        member.append("rare", 1)
        views = member.state.views
        request = ReadAllRequest(prefix="rare", backwards=backwards)
        call = member.service.ReadAll(request, None)

        responses = await all_of(call)

        found = [event.seq for response in responses for event in response.events]
        assert found == ([2, 1] if backwards else [1, 2])
        places = [response.next_position for response in responses]
        assert places == ([24, 16, 8, 0] if backwards else [9, 17, 25, 33])
        assert member.state.views - views == 1 + len(places)
        # Anybody may go on from any of these places.
        for place in places[:-1]:
            asked = ReadAllRequest(prefix="rare", backwards=backwards, from_position=place)
            rest = await all_of(member.service.ReadAll(asked, None))
            assert seqs(rest)[-1] == ([1] if backwards else [2])

    told(story)


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({}, ([1, 2, 5, 6, 7], 8)),
        ({"from_position": 3}, ([5, 6, 7], 8)),
        ({"from_position": 8}, ([], 8)),
        ({"from_position": 99}, ([], 99)),
        ({"max_events": 3}, ([1, 2, 5], 6)),
        ({"backwards": True}, ([7, 6, 5, 2, 1], 0)),
        ({"backwards": True, "from_position": 4}, ([2, 1], 0)),
        ({"backwards": True, "from_position": 99, "max_events": 4}, ([7, 6, 5, 2], 1)),
        ({"prefix": "f"}, ([1, 2], 8)),
        ({"prefix": "nobody"}, ([], 8)),
        ({"prefix": "g", "max_events": 1}, ([5], 6)),
    ],
)
def test_what_was_truncated_is_passed_over(
    fields: dict[str, Any], want: tuple[list[int], int]
) -> None:
    """
    Positions stay what they are, in both directions.
    """

    async def story(member: Member) -> None:
        member.append("f", 2)
        member.append("g", 5)
        member.truncate("g", 3)
        responses = await all_of(member.service.ReadAll(ReadAllRequest(**fields), None))
        found = [event.position for response in responses for event in response.events]
        assert (found, responses[-1].next_position) == want

    told(story)


# --- the chain ---------------------------------------------------------------


def test_a_long_chain_is_verified_while_others_are_served() -> None:
    """
    A view a slice, and the loop's turn in between; more than it may, it leaves to the
    next call.
    """

    async def story(member: Member) -> None:
        for _ in range(5):
            member.append("f", 100)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(other())
        views = member.state.views
        whole = await member.service.VerifyChain(VerifyChainRequest(stream_id="f"), None)
        assert member.state.views - views >= 125
        assert turns >= 125
        task.cancel()
        request = VerifyChainRequest(stream_id="f", from_seq=11, max_events=10)
        part = await member.service.VerifyChain(request, None)

        assert (whole.intact, whole.first_seq, whole.last_seq) == (True, 1, 500)
        assert (whole.next_seq, whole.broken_seq) == (0, 0)
        assert (part.intact, part.first_seq, part.last_seq, part.next_seq) == (True, 11, 20, 21)
        info = await member.service.GetStream(GetStreamRequest(stream_id="f"), None)
        assert whole.last_hash == info.last_hash != part.last_hash

    told(story)


def test_a_broken_chain_is_said_to_be() -> None:
    """
    Where it is broken, and where to go on behind that; it is no failure.
    """

    async def story(member: Member) -> None:
        member.append("f", 20)
        key = keys.event("f", 7)
        event = Event.FromString(member.state.store.get(key) or b"")
        event.data = b"other"
        member.state.store.put(key, event.SerializeToString())

        broken = await member.service.VerifyChain(VerifyChainRequest(stream_id="f"), None)
        request = VerifyChainRequest(stream_id="f", from_seq=broken.next_seq)
        rest = await member.service.VerifyChain(request, None)

        assert (broken.intact, broken.broken_seq, broken.next_seq) == (False, 7, 8)
        assert (rest.intact, rest.first_seq, rest.last_seq) == (True, 8, 20)

    told(story)


# --- the audit ---------------------------------------------------------------


def judged(responses: list[ExportAuditResponse]) -> list[str]:
    """Verify an export as one does who has nothing else; the streams in it."""
    *body, last = responses
    assert last.HasField("end") and not last.streams and not last.events
    assert not any(response.HasField("end") for response in body)
    kinds = ["s" if response.streams else "e" for response in body]
    assert kinds == sorted(kinds, reverse=True), "streams come before events"
    streams = [info for response in body for info in response.streams]
    events = [event for response in body for event in response.events]
    head = blake2b(digest_size=32)
    for info in streams:
        for part in (info.stream_id.encode(), info.last_hash):
            head.update(len(part).to_bytes(8, "big") + part)
        mine = [event for event in events if event.stream_id == info.stream_id]
        assert [event.seq for event in mine] == [*range(info.first_seq, info.last_seq + 1)]
        previous = info.base_hash
        for event in mine:
            assert event.hash == event_hash(previous, event)
            previous = event.hash
        assert previous == info.last_hash
    assert (last.end.streams, last.end.events) == (len(streams), len(events))
    assert last.end.head == head.digest()
    assert len({response.header.revision for response in responses}) == 1
    return [info.stream_id for info in streams]


def test_an_export_can_be_verified_without_a_server() -> None:
    """
    Of one revision, whatever is written meanwhile, also of streams without a beginning.
    """

    async def story(member: Member) -> None:
        for name, count in (("f/2", 9), ("f/1", 3), ("g", 6), ("f/3", 1)):
            member.append(name, count)
        member.truncate("f/2", 8)
        member.truncate("f/3", 2)

        export = aiter(member.service.ExportAudit(ExportAuditRequest(), None))
        responses = [await anext(export)]
        async for response in export:
            member.append("f/1", 2)
            member.append(f"new{len(responses)}", 1)
            responses.append(response)
        part = await all_of(member.service.ExportAudit(ExportAuditRequest(prefix="f/"), None))
        none = await all_of(member.service.ExportAudit(ExportAuditRequest(prefix="x"), None))

        assert judged(responses) == ["f/1", "f/2", "f/3", "g"]
        assert max(len(response.events) for response in responses) == SMALL.slice_events
        assert judged(part) == ["f/1", "f/2", "f/3"]
        assert judged(none) == []

    told(story)


def test_an_export_of_much_comes_in_messages_of_bounded_size() -> None:
    """
    By count and by bytes, and of more streams than one look at them shows.
    """

    async def story(member: Member) -> None:
        for number in range(30):
            member.append(f"f{number:02}", 2, size=1_500)
        responses = await all_of(member.service.ExportAudit(ExportAuditRequest(), None))
        assert len(judged(responses)) == 30
        assert max(response.ByteSize() for response in responses) < 6_000

    told(story)


def test_an_export_that_cannot_be_whole_fails() -> None:
    """
    Truncated or compacted since its revision or meanwhile: there is no end to it.
    """

    async def story(member: Member) -> None:
        then = member.append("f", 9)
        request = ExportAuditRequest(consistency=CONSISTENCY_STALE)
        export = aiter(member.service.ExportAudit(request, None))
        assert (await anext(export)).streams
        assert seqs([await anext(export)]) == [[1, 2, 3, 4]]
        member.truncate("f", 7)
        truncated = await failure_of(anext(export))
        past = ExportAuditRequest(consistency=CONSISTENCY_AT_REVISION, revision=then)
        late = await failure_of(anext(aiter(member.service.ExportAudit(past, None))))
        export = aiter(member.service.ExportAudit(request, None))
        assert (await anext(export)).streams
        member.compact()
        compacted = await failure_of(anext(export))

        for failure in (truncated, late):
            assert (failure.reason, failure.metadata["oldest_seq"]) == ("COMPACTED", "7")
        assert compacted.reason == "COMPACTED"
        assert int(compacted.metadata["oldest_revision"]) == member.fake.machine.revision

    told(story)


# --- projections -------------------------------------------------------------


def test_pages_of_projections_are_of_one_revision() -> None:
    """
    What is saved between two pages is not on the second one.
    """

    async def story(member: Member) -> None:
        member.append("f", 3)
        for name in ("p1", "p2", "p3"):
            member.do(SaveProjectionRequest(name=name, position=1))
        request = ListProjectionsRequest(page_size=2)
        first = await member.service.ListProjections(request, None)
        for name in ("p3", "p4"):
            member.do(SaveProjectionRequest(name=name, position=3))
        request.page_token = first.next_page_token
        rest = await member.service.ListProjections(request, None)

        found = [(one.name, one.position) for one in (*first.projections, *rest.projections)]
        assert found == [("p1", 1), ("p2", 1), ("p3", 1)]
        assert rest.header.revision == first.header.revision
        assert rest.next_page_token == ""

    told(story)


def test_refusals_say_where_things_are() -> None:
    """
    What a client needs to go on is in the failure's metadata.
    """

    async def story() -> None:
        async with bench() as b:
            await b.open()

            async def append(**fields: Any) -> Any:
                one = StreamAppend(stream_id="f", events=[NewEvent(type="t")], **fields)
                request = AppendEventsRequest(request_id=b.request_id(), appends=[one])
                return await b.events.AppendEvents(request)

            await append()
            conflict = await refused(append(expected="EXPECTED_NONE"))
            assert (conflict.code, conflict.reason) == ("ABORTED", "CONFLICT")
            assert conflict.metadata["current_seq"] == "1"
            assert conflict.metadata["subject"] == "f"
            other = await refused(
                b.events.SaveProjection(
                    SaveProjectionRequest(
                        request_id=b.request_id(), name="p", position=1, expected_position=1
                    )
                )
            )
            assert (other.code, other.reason) == ("ABORTED", "CONFLICT")
            assert other.metadata["current_position"] == "0"

    asyncio.run(story())
