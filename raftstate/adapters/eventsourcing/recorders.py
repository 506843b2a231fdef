"""The recorders of the `eventsourcing` library, on logs in the store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    Notification,
    OperationalError,
    ProcessRecorder,
    StoredEvent,
    Tracking,
    TrackingRecorder,
)

from raftstate.adapters.eventsourcing.log import Log, Position, Taken
from raftstate.adapters.eventsourcing.reading import NUMBER_MAX, Entry
from raftstate.adapters.eventsourcing.subscription import RaftSubscription
from raftstate.adapters.keys import Part
from raftstate.adapters.portals import TIMEOUT_S, Access
from raftstate.adapters.records import Damaged, Owner, Owning, owner_of
from raftstate.client import Store
from raftstate.client.options import positive
from raftstate.client.portal import Portal
from raftstate.errors import Closed, InvalidRequest, RaftStateError

T = TypeVar("T")

ROOT: Final = "~eventsourcing"


class RaftRecorder:
    """What all recorders have: where they keep what they keep.

    Errors are the library's own, each caused by one of `raftstate.errors` whose `definite`
    says whether what was asked for surely did not happen: IntegrityError (what is there
    already, not ahead, or not allowed; definite), DataError (a limit; definite),
    InterfaceError (closed; definite), InternalError (damaged data), OperationalError (all
    others: no quorum in time, a fenced owner, an outcome that is unknown)."""

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        *,
        name: str = "default",
        application: str = "",
        purpose: str = "events",
        owner: Owning | None = None,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`, or an open `Portal`;
        `timeout` is for each call, in seconds, all its attempts included. `name` keeps users
        of one cluster apart, `application` their applications, `purpose` what one of those
        records. With an `owner`, an agent's handle, writes are refused once the agent has
        another: OperationalError, caused by Fenced (definite).

        Raises InvalidRequest (definite) if an argument makes no sense."""
        self._access = Access(endpoints, options, timeout)

        under = ROOT, name, application, purpose
        self._keep(under, owner_of(owner), positive("timeout", timeout))

    def _keep(self, under: tuple[Part, ...], owner: Owner | None, timeout: float) -> None:
        self._log = Log(*under, owner=owner, timeout=timeout)

    def close(self) -> None:
        """Close the connections, unless a portal was given. Doing so twice is harmless."""
        self._access.close()

    def _run(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        with in_their_words():
            return self._access.run(work)


class RaftAggregateRecorder(RaftRecorder, AggregateRecorder):
    """Events by aggregate; used for snapshots."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Insert all of these events or none of them. They may be of at most 38 aggregates.
        Raises IntegrityError, DataError (definite), and what `RaftRecorder` says."""
        self._insert(stored_events, **kwargs)
        return None

    def _insert(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> list[int]:
        tracking: Tracking | None = kwargs.get("tracking")
        entries = [_entry(one) for one in stored_events]
        position = None if tracking is None else _position(tracking)
        if not entries and position is None:
            return []
        return self._run(lambda store: self._log.insert(store, entries, position))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of an aggregate whose versions are greater than `gt` and at most `lte`,
        in order, at most `limit`. Linearizable. See `RaftRecorder` for what it raises."""
        low = 0 if gt is None else gt + 1
        high = NUMBER_MAX if lte is None else lte

        async def select(store: Store) -> list[StoredEvent]:
            selected: list[StoredEvent] = []
            if limit is not None and limit <= 0:
                return selected
            found = self._log.of(store, str(originator_id), low, high, backwards=desc)
            async with aclosing(found):
                async for entry in found:
                    selected.append(StoredEvent(**_fields(entry)))
                    if len(selected) == limit:
                        break
            return selected

        return self._run(select)


class RaftApplicationRecorder(RaftAggregateRecorder, ApplicationRecorder):
    """Events by aggregate, and all of an application in one order, numbered from 1 without a
    gap. Any number of processes may insert; what appears to any reader is a beginning of
    that order."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """See `RaftAggregateRecorder`. Returns the numbers of the events, in a row."""
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events in the application's order, from `start` to `stop`, at most `limit`, with
        one of these topics if there are any. Linearizable. See `RaftRecorder` for what it
        raises."""
        first = 1 if start is None else start + (not inclusive_of_start)
        last = NUMBER_MAX if stop is None else stop
        wanted = frozenset(topics)

        async def select(store: Store) -> list[Notification]:
            selected: list[Notification] = []
            if limit <= 0 or last < max(first, 1):
                return selected
            page = 0 if wanted else min(limit, 100)
            found = self._log.numbered(store, max(first, 1), page_size=page)
            async with aclosing(found):
                async for number, entry in found:
                    if number > last:
                        break
                    if not wanted or entry.topic in wanted:
                        selected.append(Notification(id=number, **_fields(entry)))
                    if len(selected) == limit or number == last:
                        break
            return selected

        return self._run(select)

    def max_notification_id(self) -> int | None:
        """The number of the last event, or None. Linearizable. See `RaftRecorder` for what
        it raises."""
        return self._run(self._log.last) or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> RaftSubscription[RaftApplicationRecorder]:
        """Events as they are recorded, by whomever, from the first after `gt` on. See
        `RaftRecorder` for what it raises, and iterating too."""
        with in_their_words():
            return RaftSubscription(self, self._access, self._log.head_key, gt, topics)


class RaftTrackingRecorder(RaftRecorder, TrackingRecorder):
    """How far the events of other applications are dealt with."""

    def insert_tracking(self, tracking: Tracking) -> None:
        """Note it. Raises IntegrityError (definite) if it is not ahead of what was noted,
        and what `RaftRecorder` says."""
        position = _position(tracking)
        self._run(lambda store: self._log.insert(store, [], position))

    def max_tracking_id(self, application_name: str) -> int | None:
        """How far they are, or None. Linearizable. See `RaftRecorder` for what it raises."""
        return self._run(lambda store: self._log.tracked(store, application_name))


class RaftProcessRecorder(RaftTrackingRecorder, RaftApplicationRecorder, ProcessRecorder):
    """Both: events are inserted together with the position that they come from, at one
    revision, `insert_events(events, tracking=...)`: each is dealt with exactly once."""


# --- inside ------------------------------------------------------------------


@contextmanager
def in_their_words() -> Iterator[None]:
    """Raises what the library calls it."""
    try:
        yield
    except Taken as error:
        raise IntegrityError(str(error)) from error
    except InvalidRequest as error:
        raise DataError(str(error)) from error
    except Closed as error:
        raise InterfaceError(str(error)) from error
    except Damaged as error:
        raise InternalError(str(error)) from error
    except RaftStateError as error:
        raise OperationalError(str(error)) from error


def _entry(event: StoredEvent) -> Entry:
    version = _checked("originator_version", event.originator_version)
    originator = event.originator_id
    is_uuid = isinstance(originator, UUID)
    return Entry(str(originator), is_uuid, version, event.topic, bytes(event.state))


def _position(tracking: Tracking) -> Position:
    number = _checked("notification_id", tracking.notification_id)
    return Position(tracking.application_name, number)


def _checked(field: str, number: int) -> int:
    if not 0 <= number <= NUMBER_MAX:
        raise DataError(f"{field} is {number}; it must be 0 to {NUMBER_MAX}")
    return number


def _fields(entry: Entry) -> dict[str, Any]:
    return {
        "originator_id": UUID(entry.originator) if entry.uuid else entry.originator,
        "originator_version": entry.version,
        "topic": entry.topic,
        "state": entry.state,
    }
