# Generated from raftstate/client/streams.py by scripts/generate. Not to be edited.

"""Streams of events: appending to them, reading them, and trusting what was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Unpack, cast

from raftstate.client import streams as face
from raftstate.client.reading import How
from raftstate.client.streams import Append, Where
from raftstate.sync.running import Face, listed
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import (
    AppendEventsResponse,
    Event,
    ExportAuditResponse,
    NewEvent,
    StreamInfo,
    VerifyChainResponse,
)


class Streams(Face, of=face.Streams):
    """The part of a `Store` that is about events."""

    @property
    def _it(self) -> face.Streams:
        return cast(face.Streams, self._object)

    def append(
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
        >>> done = store.append("streams/append", [opened], expected="none")
        >>> done.appended[0].last_seq
        1
        >>> store.append("streams/append", [opened], expected="none")
        Traceback (most recent call last):
        raftstate.errors.Conflict: ...
        """
        return self._do(
            self._it.append(
                stream_id, listed(events), expected=expected, fence=fence, timeout=timeout
            )
        )

    def append_many(
        self, appends: Iterable[Append], *, timeout: float | None = None
    ) -> AppendEventsResponse:
        """Append to several streams, 8 at most, 128 events at most together, all or
        nothing, at one revision. See `append`.

        >>> moved = [raftstate.event("moved", 5)]
        >>> done = store.append_many(
        ...     [
        ...         raftstate.Append("streams/many/from", moved),
        ...         raftstate.Append("streams/many/to", moved),
        ...     ]
        ... )
        >>> [one.last_seq for one in done.appended]
        [1, 1]
        """
        return self._do(self._it.append_many(listed(appends), timeout=timeout))

    def truncate_before(
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
        >>> done = store.append("streams/truncate", events)
        >>> store.save_projection("streams/reader", done.first_position)
        >>> store.truncate_before("streams/truncate", 2, projection="streams/reader")
        2
        """
        return self._do(
            self._it.truncate_before(
                stream_id,
                seq,
                checkpoint_id=checkpoint_id,
                projection=projection,
                timeout=timeout,
            )
        )

    def read_events(
        self,
        stream_id: str,
        *,
        from_seq: int = 0,
        max_events: int = 0,
        backwards: bool = False,
        **how: Unpack[How],
    ) -> Iterator[Event]:
        """A stream's events in order, from the first there is up to the newest, or
        `backwards` from the newest; `max_events` zero is all.

        Goes on at another member if one fails, without a gap. `timeout` is how long it may
        take until more events come, in seconds. `raftstate.decode(event)` is what was put
        in. Raises StreamNotFound, Compacted (definite): what was asked for is truncated;
        and what every read does.

        >>> events = [raftstate.event("added", 1), raftstate.event("added", 2)]
        >>> _ = store.append("streams/read", events)
        >>> [raftstate.decode(event) for event in store.read_events("streams/read")]
        [1, 2]
        """
        return self._running.each(
            self._it.read_events(
                stream_id, from_seq=from_seq, max_events=max_events, backwards=backwards, **how
            )
        )

    def read_all(
        self,
        *,
        from_position: int = 0,
        max_events: int = 0,
        prefix: str = "",
        backwards: bool = False,
        **how: Unpack[How],
    ) -> Iterator[Event]:
        """The events of all streams whose id begins with `prefix`, in the order of the log.
        Otherwise as `read_events`; what was truncated is passed over.

        >>> for stream_id in ("streams/all/a", "streams/all/b"):
        ...     _ = store.append(stream_id, [raftstate.event("opened")])
        >>> [event.stream_id for event in store.read_all(prefix="streams/all/")]
        ['streams/all/a', 'streams/all/b']
        """
        return self._running.each(
            self._it.read_all(
                from_position=from_position,
                max_events=max_events,
                prefix=prefix,
                backwards=backwards,
                **how,
            )
        )

    def get_stream(self, stream_id: str, **how: Unpack[How]) -> StreamInfo:
        """How long a stream is, what of it can be read, and the hashes that chain it.
        Raises StreamNotFound (definite) if it never had an event, and what every read does.

        >>> events = [raftstate.event("a"), raftstate.event("b")]
        >>> _ = store.append("streams/get", events)
        >>> info = store.get_stream("streams/get")
        >>> info.first_seq, info.last_seq
        (1, 2)
        """
        return self._do(self._it.get_stream(stream_id, **how))

    def verify_chain(
        self, stream_id: str, *, from_seq: int = 0, max_events: int = 0, **how: Unpack[How]
    ) -> VerifyChainResponse:
        """Let a member compute a stream's hashes anew, all of them or `max_events`.

        `intact` says whether they are what they should be; if not, `broken_seq` is the
        first that is not. Raises StreamNotFound, Compacted (definite), and what every read
        does. `timeout` is that of 100,000 events, in seconds.

        >>> events = [raftstate.event("a"), raftstate.event("b")]
        >>> _ = store.append("streams/verify", events)
        >>> found = store.verify_chain("streams/verify")
        >>> found.intact, found.last_seq
        (True, 2)
        """
        return self._do(
            self._it.verify_chain(stream_id, from_seq=from_seq, max_events=max_events, **how)
        )

    def export_audit(
        self, prefix: str = "", **how: Unpack[How]
    ) -> Iterator[ExportAuditResponse]:
        """All that is needed to verify streams without a server, at one revision: first the
        streams, then their events, then the end. See `raftstate audit`.

        Goes on at another member if one fails: what comes again is left out. `timeout` is
        how long it may take until more comes, in seconds. Raises Compacted (definite)
        should the revision be forgotten meanwhile, and what every read does.

        >>> _ = store.append("streams/audit", [raftstate.event("opened")])
        >>> for part in store.export_audit("streams/audit"):
        ...     print(len(part.streams), len(part.events), part.HasField("end"))
        1 0 False
        0 1 False
        0 0 True
        """
        return self._running.each(self._it.export_audit(prefix, **how))
