"""The recorder of applications whose consistency boundaries are dynamic."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.dcb.persistence import DCBListenNotifySubscription
from eventsourcing.persistence import ProgrammingError, ShutDown

from raftstate.adapters.eventsourcing.dcb_log import (
    Condition,
    DCBLog,
    Event,
    Item,
    Positioned,
    Query,
    Search,
    packed,
)
from raftstate.adapters.eventsourcing.recorders import RaftRecorder, in_their_words
from raftstate.adapters.eventsourcing.subscription import Woken
from raftstate.adapters.keys import Part
from raftstate.adapters.portals import Access
from raftstate.adapters.records import Owner
from raftstate.client import Store


class RaftDCBRecorder(RaftRecorder, DCBRecorder):
    """Events with types and tags in one order, at positions from 1 on without a gap. Any
    number of processes may append, each under a condition on what is there: no two of them
    both append what the other's condition forbids.

    Arguments and errors are those of `RaftRecorder`."""

    def _keep(self, under: tuple[Part, ...], owner: Owner | None, timeout: float) -> None:
        self._dcb = DCBLog(*under, "dcb", owner=owner, timeout=timeout)

    def read(
        self,
        query: DCBQuery | None = None,
        *,
        after: int | None = None,
        limit: int | None = None,
    ) -> RaftDCBReadResponse:
        """The events that match, after a position, in order, at most `limit`; all as of one
        revision. Linearizable. Without a limit they are fetched as one iterates. See
        `RaftRecorder` for what it raises, and iterating too."""
        if limit is None:
            return self._run(lambda store: self._begun(store, _query(query), after or 0))
        events, _ = self._selected(query, after or 0, limit)
        return RaftDCBReadResponse(events, events[-1].position if events else None)

    async def _begun(self, store: Store, query: Query, after: int) -> RaftDCBReadResponse:
        head = await self._dcb.last(store)
        search = Search(self._dcb, query, after, head)
        found = await search.page(store)

        def more() -> list[DCBSequencedEvent] | None:
            if search.over:
                return None
            return [_sequenced(one) for one in self._run(search.page)]

        return RaftDCBReadResponse([_sequenced(one) for one in found], head or None, more)

    def _selected(
        self, query: DCBQuery | None, after: int, limit: int
    ) -> tuple[list[DCBSequencedEvent], int]:
        """At most so many events that match, and up to where there are no others."""
        wanted = _query(query)

        async def select(store: Store) -> tuple[list[DCBSequencedEvent], int]:
            selected: list[DCBSequencedEvent] = []
            if limit <= 0:
                return selected, after
            search = Search(self._dcb, wanted, after, await self._dcb.last(store))
            while not search.over:
                selected += [_sequenced(one) for one in await search.page(store)]
                if len(selected) >= limit:
                    return selected[:limit], selected[limit - 1].position
            return selected, search.position

        return self._run(select)

    def append(
        self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None
    ) -> int:
        """Append all of these events or none of them; the position of the last. With a
        condition, none if there is an event after its position that matches its query:
        IntegrityError (definite). Raises ProgrammingError without any events, DataError
        (definite) for more than 256 MiB, and what `RaftRecorder` says."""
        if not events:
            raise ProgrammingError("there has to be an event to append")
        # Taken as they are now: what the caller changes afterwards does not matter.
        given = [Event(one.type, bytes(one.data), tuple(one.tags)) for one in events]
        under = _condition(condition)
        with in_their_words():
            data = packed(given)
        return self._run(lambda store: self._dcb.append(store, given, data, under))

    def subscribe(
        self, query: DCBQuery | None = None, *, after: int | None = None
    ) -> RaftDCBSubscription:
        """Events that match as they are appended, by whomever, from the first after a
        position on. See `RaftRecorder` for what it raises, and iterating too."""
        with in_their_words():
            return RaftDCBSubscription(self, self._access, self._dcb.head_key, query, after)


class RaftDCBReadResponse(DCBReadResponse):
    """Made by `RaftDCBRecorder.read`; for one thread at a time."""

    def __init__(
        self,
        events: Sequence[DCBSequencedEvent],
        head: int | None,
        more: Callable[[], list[DCBSequencedEvent] | None] | None = None,
    ) -> None:
        self._events = deque(events)
        self._head = head
        self._more = more

    @property
    def head(self) -> int | None:
        """The position of the last event in the log as it was read, or with a limit of the
        last one returned; None if there is none."""
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        """The next event. Raises what `RaftRecorder` says; it may be called again then."""
        while not self._events and self._more is not None:
            found = self._more()
            if found is None:
                self._more = None
            else:
                self._events.extend(found)
        if not self._events:
            raise StopIteration
        return self._events.popleft()


class RaftDCBSubscription(DCBListenNotifySubscription[RaftDCBRecorder], Woken):
    """Made by `RaftDCBRecorder.subscribe`."""

    def __init__(
        self,
        recorder: RaftDCBRecorder,
        access: Access,
        head: bytes,
        query: DCBQuery | None,
        after: int | None,
    ) -> None:
        super().__init__(recorder=recorder, query=query, after=after)
        self._watch_head(access, head)

    def stop(self) -> None:
        """End it; an iteration that waits ends too."""
        super().stop()
        self._stop_watching()

    def _pull(self) -> None:
        """As the library's, but that what does not match is looked at once, and not again
        with each event to come."""
        while not self._has_been_stopped:
            self._has_been_notified.clear()
            found, looked_at = self._recorder._selected(
                self._query, self._last_position, self.select_limit
            )
            if found:
                try:
                    self._events_queue.put(found)
                except ShutDown:
                    break
            self._last_position = max(self._last_position, looked_at)
            if len(found) < self.select_limit:
                break


# --- inside ------------------------------------------------------------------


def _query(query: DCBQuery | None) -> Query:
    items = [] if query is None else query.items
    return Query(tuple(Item(frozenset(one.types), frozenset(one.tags)) for one in items))


def _condition(condition: DCBAppendCondition | None) -> Condition | None:
    if condition is None:
        return None
    return Condition(_query(condition.fail_if_events_match), condition.after or 0)


def _sequenced(found: Positioned) -> DCBSequencedEvent:
    position, (kind, data, tags) = found
    return DCBSequencedEvent(DCBEvent(kind, data, list(tags)), position)
