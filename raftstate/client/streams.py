"""Streams of events: appending to them, reading them, and trusting what was read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Unpack

from raftstate.client import reading, values
from raftstate.client.engine import Engine
from raftstate.client.reading import How, Way
from raftstate.client.routing import Peer
from raftstate.errors import InvalidRequest
from raftstate.v1.common_pb2 import CONSISTENCY_AT_REVISION, FencingToken
from raftstate.v1.event_service_pb2 import (
    EXPECTED_ANY,
    EXPECTED_EXACT,
    EXPECTED_EXISTS,
    EXPECTED_NONE,
    AppendEventsRequest,
    AppendEventsResponse,
    Event,
    Expected,
    ExportAuditRequest,
    ExportAuditResponse,
    GetStreamRequest,
    NewEvent,
    ReadAllRequest,
    ReadAllResponse,
    ReadEventsRequest,
    StreamAppend,
    StreamInfo,
    TruncateBeforeRequest,
    VerifyChainRequest,
    VerifyChainResponse,
)

# The servers' limit for one call.
VERIFIED_MAX: Final = 100_000

# Where a stream has to be for an append: its newest seq, or one of these words.
Where = int | Literal["any", "none", "exists"]

_WORDS: Final[Mapping[str, Expected]] = {
    "any": EXPECTED_ANY,
    "none": EXPECTED_NONE,
    "exists": EXPECTED_EXISTS,
}


@dataclass(frozen=True, slots=True)
class Append:
    """What to append to one of several streams, for `Store.append_many`; of what there is
    to say of each see `Store.append`.

    >>> both = [
    ...     raftstate.Append("append/orders", [raftstate.event("ordered")], expected="none"),
    ...     raftstate.Append("append/bills", [raftstate.event("billed")]),
    ... ]
    >>> done = await store.append_many(both)
    >>> [one.last_seq for one in done.appended]
    [1, 1]
    """

    stream_id: str
    events: Iterable[NewEvent]
    expected: Where = "any"
    fence: FencingToken | None = None

    def message(self) -> StreamAppend:
        """It as the API has it. Raises InvalidRequest (definite)."""
        made = StreamAppend(stream_id=self.stream_id, events=self.events, fence=self.fence)
        if isinstance(self.expected, str):
            if self.expected not in _WORDS:
                raise _unexpected(self.expected)
            made.expected = _WORDS[self.expected]
        else:
            if not 0 <= self.expected < 1 << 64:
                raise _unexpected(self.expected)
            made.expected = EXPECTED_EXACT
            made.expected_seq = self.expected
        return made


def _unexpected(given: Where) -> InvalidRequest:
    return InvalidRequest(
        f"expected is {given!r}; it may be a seq, 'any', 'none' or 'exists'",
        definite=True,
        details={"field": "expected"},
    )


def event(
    kind: str,
    data: Any = None,
    *,
    event_id: str = "",
    causation_id: str = "",
    correlation_id: str = "",
) -> NewEvent:
    """An event to append. `data` is written as JSON, bytes as they are.

    An `event_id` is there once in its stream, until that event is truncated: appending
    the same events under the same ids again changes nothing and is answered as the first
    time. Raises TypeError or ValueError for what JSON cannot hold.

    >>> paid = raftstate.event("paid", {"amount": 3}, event_id="order-7")
    >>> _ = await store.append("event/paid", [paid])
    >>> [raftstate.decode(one) async for one in store.read_events("event/paid")]
    [{'amount': 3}]
    """
    encoded, content_type = values.encode(data)
    return NewEvent(
        type=kind,
        data=encoded,
        content_type=content_type,
        causation_id=causation_id,
        correlation_id=correlation_id,
        event_id=event_id,
    )


class Streams:
    """The part of a `Store` that is about events."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    # --- writing ---

    async def append(
        self,
        stream_id: str,
        events: Iterable[NewEvent],
        *,
        expected: Where = "any",
        fence: FencingToken | None = None,
        timeout: float | None = None,
    ) -> AppendEventsResponse:
        """Append events, as `raftstate.event` makes them, to one stream: 128 at most.

        `expected` says where the stream has to be: its newest seq, `"none"` (no event yet),
        `"exists"`, or `"any"`. An agent's stream needs the `fence` of who owns it.

        Raises Conflict (definite): the stream is somewhere else, details say where;
        EventIdReused, Fenced, NotOwner, AgentState (definite); and what every mutation
        raises.

        >>> opened = raftstate.event("opened", {"by": "Ann"})
        >>> done = await store.append("streams/append", [opened], expected="none")
        >>> done.appended[0].last_seq
        1
        >>> await store.append("streams/append", [opened], expected="none")
        Traceback (most recent call last):
        raftstate.errors.Conflict: ...
        """
        one = Append(stream_id, events, expected, fence)
        return await self.append_many([one], timeout=timeout)

    async def append_many(
        self, appends: Iterable[Append], *, timeout: float | None = None
    ) -> AppendEventsResponse:
        """Append to several streams, 8 at most, 128 events at most together, all or
        nothing, at one revision. See `append`.

        >>> moved = [raftstate.event("moved", 5)]
        >>> done = await store.append_many(
        ...     [
        ...         raftstate.Append("streams/many/from", moved),
        ...         raftstate.Append("streams/many/to", moved),
        ...     ]
        ... )
        >>> [one.last_seq for one in done.appended]
        [1, 1]
        """
        request = AppendEventsRequest(appends=[one.message() for one in appends])
        answer: AppendEventsResponse = await self._engine.mutate(
            "append_events", request, timeout
        )
        return answer

    async def truncate_before(
        self,
        stream_id: str,
        seq: int,
        *,
        checkpoint_id: int = 0,
        projection: str = "",
        timeout: float | None = None,
    ) -> int:
        """Remove the events before `seq` for good; the first seq that is left.

        Of an agent's stream, only what the checkpoint named covers; of a free one, only
        what the projection named has passed. Raises NotCovered, StreamNotFound,
        CheckpointNotFound, ProjectionNotFound (definite), and what every mutation raises.

        >>> events = [raftstate.event("old"), raftstate.event("new")]
        >>> done = await store.append("streams/truncate", events)
        >>> await store.save_projection("streams/reader", done.first_position)
        >>> await store.truncate_before("streams/truncate", 2, projection="streams/reader")
        2
        """
        request = TruncateBeforeRequest(
            stream_id=stream_id,
            before_seq=seq,
            checkpoint_id=checkpoint_id,
            projection=projection,
        )
        answer = await self._engine.mutate("truncate_before", request, timeout)
        first: int = answer.first_seq
        return first

    # --- reading ---

    async def read_events(
        self,
        stream_id: str,
        *,
        from_seq: int = 0,
        max_events: int = 0,
        backwards: bool = False,
        **how: Unpack[How],
    ) -> AsyncIterator[Event]:
        """A stream's events in order, from the first there is up to the newest, or
        `backwards` from the newest; `max_events` zero is all.

        Goes on at another member if one fails, without a gap. `timeout` is how long it may
        take until more events come, in seconds. `raftstate.decode(event)` is what was put
        in. Raises StreamNotFound, Compacted (definite): what was asked for is truncated;
        and what every read does.

        >>> events = [raftstate.event("added", 1), raftstate.event("added", 2)]
        >>> _ = await store.append("streams/read", events)
        >>> [raftstate.decode(event) async for event in store.read_events("streams/read")]
        [1, 2]
        """
        place = max(from_seq, 0)
        left = max_events

        def begin(peer: Peer, asked: Way) -> Any:
            return peer.events.ReadEvents(
                asked.fill(
                    ReadEventsRequest(
                        stream_id=stream_id,
                        from_seq=place,
                        max_events=max(left, 0),
                        backwards=backwards,
                    )
                )
            )

        async for answer in reading.stream(self._engine, begin, how):
            for found in answer.events:
                place = found.seq - 1 if backwards else found.seq + 1
                left -= 1
                yield found
                if not left or not place:
                    return

    async def read_all(
        self,
        *,
        from_position: int = 0,
        max_events: int = 0,
        prefix: str = "",
        backwards: bool = False,
        **how: Unpack[How],
    ) -> AsyncIterator[Event]:
        """The events of all streams whose id begins with `prefix`, in the order of the log.
        Otherwise as `read_events`; what was truncated is passed over.

        >>> for stream_id in ("streams/all/a", "streams/all/b"):
        ...     _ = await store.append(stream_id, [raftstate.event("opened")])
        >>> [event.stream_id async for event in store.read_all(prefix="streams/all/")]
        ['streams/all/a', 'streams/all/b']
        """
        left = max_events
        async for answer in batches(
            self._engine,
            from_position=from_position,
            max_events=max_events,
            prefix=prefix,
            backwards=backwards,
            how=how,
        ):
            for found in answer.events:
                left -= 1
                yield found
                if not left:
                    return

    async def get_stream(self, stream_id: str, **how: Unpack[How]) -> StreamInfo:
        """How long a stream is, what of it can be read, and the hashes that chain it.
        Raises StreamNotFound (definite) if it never had an event, and what every read does.

        >>> events = [raftstate.event("a"), raftstate.event("b")]
        >>> _ = await store.append("streams/get", events)
        >>> info = await store.get_stream("streams/get")
        >>> info.first_seq, info.last_seq
        (1, 2)
        """
        request = GetStreamRequest(stream_id=stream_id)
        answer = await reading.read_as(
            self._engine, lambda peer: peer.events.GetStream, request, how
        )
        info: StreamInfo = answer.stream
        return info

    async def verify_chain(
        self, stream_id: str, *, from_seq: int = 0, max_events: int = 0, **how: Unpack[How]
    ) -> VerifyChainResponse:
        """Let a member compute a stream's hashes anew, all of them or `max_events`.

        `intact` says whether they are what they should be; if not, `broken_seq` is the
        first that is not. Raises StreamNotFound, Compacted (definite), and what every read
        does. `timeout` is that of 100,000 events, in seconds.

        >>> events = [raftstate.event("a"), raftstate.event("b")]
        >>> _ = await store.append("streams/verify", events)
        >>> found = await store.verify_chain("streams/verify")
        >>> found.intact, found.last_seq
        (True, 2)
        """
        first, left = 0, max_events
        while True:
            request = VerifyChainRequest(
                stream_id=stream_id, from_seq=from_seq, max_events=min(left, VERIFIED_MAX)
            )
            answer: VerifyChainResponse = await reading.read_as(
                self._engine, lambda peer: peer.events.VerifyChain, request, how
            )
            first = first or answer.first_seq
            done = answer.last_seq + 1 - answer.first_seq
            if not answer.intact or not answer.next_seq or left == done:
                answer.first_seq = first
                return answer
            from_seq = answer.next_seq
            left -= done if left else 0

    async def export_audit(
        self, prefix: str = "", **how: Unpack[How]
    ) -> AsyncIterator[ExportAuditResponse]:
        """All that is needed to verify streams without a server, at one revision: first the
        streams, then their events, then the end. See `raftstate audit`.

        Goes on at another member if one fails: what comes again is left out. `timeout` is
        how long it may take until more comes, in seconds. Raises Compacted (definite)
        should the revision be forgotten meanwhile, and what every read does.

        >>> _ = await store.append("streams/audit", [raftstate.event("opened")])
        >>> async for part in store.export_audit("streams/audit"):
        ...     print(len(part.streams), len(part.events), part.HasField("end"))
        1 0 False
        0 1 False
        0 0 True
        """
        came = passed = pinned = 0

        def begin(peer: Peer, asked: Way) -> Any:
            nonlocal passed
            passed = 0
            if pinned:
                asked = Way(CONSISTENCY_AT_REVISION, pinned)
            return peer.events.ExportAudit(asked.fill(ExportAuditRequest(prefix=prefix)))

        async for answer in reading.stream(self._engine, begin, how, pins=True):
            pinned = answer.header.revision or pinned
            known, passed = came - passed, passed + len(answer.streams) + len(answer.events)
            del answer.streams[:known], answer.events[:known]
            came = max(came, passed)
            if answer.streams or answer.events or answer.HasField("end"):
                yield answer


async def batches(
    engine: Engine,
    *,
    from_position: int,
    max_events: int = 0,
    prefix: str = "",
    backwards: bool = False,
    how: How,
) -> AsyncIterator[ReadAllResponse]:
    """The answers of `read_all`, each of which says where to go on, also if it holds no
    event."""
    place = max(from_position, 0)
    left = max_events

    def begin(peer: Peer, asked: Way) -> Any:
        return peer.events.ReadAll(
            asked.fill(
                ReadAllRequest(
                    from_position=place,
                    max_events=max(left, 0),
                    prefix=prefix,
                    backwards=backwards,
                )
            )
        )

    async for answer in reading.stream(engine, begin, how):
        place = answer.next_position or (0 if backwards else place)
        left -= len(answer.events)
        yield answer
        if (max_events and left <= 0) or (backwards and not place):
            return
