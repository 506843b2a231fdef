"""An event store for MCP servers: clients go on where their stream broke.

    manager = RaftSessionManager(server, RaftEventStore("127.0.0.1:7411,127.0.0.1:7412"))

An extra: `pip install "raftstate[mcp]"`.

What a server sends is kept by stream, in order, for a bounded time and up to a bounded
number, and is given again after the last event that a client has seen. It may be another
process that gives it. Each event says which one came before it: should one that a client has
not seen be kept no longer, nothing is replayed, rather than something with a gap.

An event that cannot be kept, because it is too large or the store cannot be reached, reaches
a client that listens all the same, and is logged: the library would send nothing more in the
whole session if it were told. Nobody can go on from before such an event, nor from it.

The library names the streams of a session by the numbers of its requests, and tells an event
store nothing of the session: two sessions that share one would find each other's messages
under the same number. So each session needs a store of its own, `store.session(id)`; a
`RaftSessionManager` gives one to each that it makes.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, cast

try:
    from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.types import JSONRPCMessage, jsonrpc_message_adapter
except ImportError as _error:
    raise ImportError('this adapter needs mcp: pip install "raftstate[mcp]"') from _error

from raftstate.adapters import records
from raftstate.adapters.keys import key
from raftstate.adapters.portals import TIMEOUT_S, Access
from raftstate.client import Store, txn
from raftstate.client.clock import now
from raftstate.client.options import positive
from raftstate.client.portal import Portal
from raftstate.client.reading import Seen
from raftstate.errors import (
    Closed,
    Compacted,
    InvalidRequest,
    LeaseNotFound,
    NoQuorum,
    RaftStateError,
    TooMany,
)

ROOT: Final = "~mcp"
# A lease has at most 1,000 keys, and 16 MiB: these are for half of them.
_LEASE_KEYS: Final = 500
_LEASE_BYTES: Final = 8 << 20
MESSAGE_BYTES_MAX: Final = _LEASE_BYTES
# A lease lives for half a second to a day, a quarter of which goes for handing out.
KEEP_FOR_MIN: Final = 0.5
KEEP_FOR_MAX: Final = 69_000.0
# What is read at once of what is replayed.
_PAGE: Final = 50
_PAGE_BYTES: Final = 1 << 20
# Streams whose last number this process remembers.
_REMEMBERED: Final = 1024
_ATTEMPTS: Final = 3
# What a step of a call has at least, in seconds.
_LEFT_MIN: Final = 0.01

_NUMBER: Final = struct.Struct(">Q")
# What came before an event, if nobody can go on from there. No event has this number.
_NONE: Final = 0
# In the place of the number of one that is not kept.
_LOST: Final = "lost"
_HEAD: Final = key("head")
_EVENT: Final = key("event")

_log = logging.getLogger(__name__)


class _Lease(NamedTuple):
    """What events are put under, and what it may take yet."""

    lease_id: int
    until: float
    keys: int
    bytes: int


class _Head(NamedTuple):
    """The number of a stream's last event. Of a stream that is new, or forgotten, it is one
    that no event of it ever had."""

    last: int
    exists: bool


class _Page(NamedTuple):
    """Some events, and what this process knows of the stream."""

    records: list[records.Record]
    last: int
    lost: bool


class _Stream:
    """A stream as this process knows it."""

    def __init__(self, *, lost: bool) -> None:
        self.head: _Head | None = None
        # The last event that this process put, the one process of the session: if the store
        # has forgotten the stream since, there was none after it.
        self.last = _NONE
        # How many events there may have been after what is kept, which were not.
        self.losses = int(lost)
        self.lock = asyncio.Lock()

    @property
    def lost(self) -> bool:
        """Whether nobody can go on from before what is kept next."""
        return self.losses > 0


class _Shelf:
    """What all sessions of a store share. Everything runs on the portal's thread."""

    def __init__(
        self, access: Access, name: str, keep: int, keep_for: float, timeout: float
    ) -> None:
        self.access = access
        self.name = name
        self.keep = keep
        self.keep_for = keep_for
        self._timeout = timeout
        self._streams: OrderedDict[bytes, _Stream] = OrderedDict()
        # Until when one that is not remembered may have lost events after such as are kept.
        self._lost_until = 0.0
        self._lease: _Lease | None = None
        self._leasing = asyncio.Lock()

    async def append(self, store: Store, under: bytes, data: bytes) -> int:
        """Put an event behind the others of a stream; its number. What has data and is not
        kept is lost. Raises NoQuorum (definite) if its turn does not come in time,
        InvalidRequest (definite) for what is too large, and what `records.write` does."""
        until = time.monotonic() + self._timeout
        stream = self._stream(under)
        try:
            async with _turn(stream.lock, until):
                if len(data) > MESSAGE_BYTES_MAX:  # in its turn: others are before it
                    raise _wrong(
                        "message",
                        f"a message has {len(data)} bytes; at most {MESSAGE_BYTES_MAX} are"
                        " kept",
                    )
                return await self._append(store, stream, under, data, until)
        except RaftStateError:
            if data:  # at once: the one behind it has to say so
                self._stream(under).losses += 1
            raise

    async def _append(
        self, store: Store, stream: _Stream, under: bytes, data: bytes, until: float
    ) -> int:
        refused = 0
        while True:
            head = stream.head or await _head(store, under, _left(until))
            number = head.last + 1
            before = head.last if head.exists else stream.last
            losses = stream.losses
            link = _NUMBER.pack(_NONE if losses else before)
            stream.head = None
            lease = await self._leased(store, len(data), until)
            when = (
                txn.equal(under + _HEAD, value=_NUMBER.pack(head.last))
                if head.exists
                else txn.missing(under + _HEAD)
            )
            try:
                written = await records.write(
                    store,
                    {_event(under, number): link + data},
                    [_event(under, number - self.keep)] if number > self.keep else [],
                    when=[when],
                    extra=[txn.put(under + _HEAD, _NUMBER.pack(number), lease=lease)],
                    lease=lease,
                    timeout=_left(until),
                )
            except (LeaseNotFound, TooMany):
                # This process was held up for long; or there is more than was reckoned.
                self._lease = None
                refused += 1
                if refused == _ATTEMPTS:
                    raise
                continue
            if written:
                stream.head = _Head(number, exists=True)
                stream.last = number
                stream.losses -= losses  # those meanwhile come after it
                return number

    async def page(self, store: Store, under: bytes, first: int) -> _Page:
        """Some events of a stream, from a number on."""
        found = await _page(store, under, first)
        stream = self._streams.get(under)
        if stream is None:
            return _Page(found, _NONE, self._may_have_lost)
        return _Page(found, stream.last, stream.lost)

    async def forget(self, store: Store, prefix: bytes) -> None:
        """Remove the streams that begin so."""
        await records.remove(store, prefix)
        for under in [one for one in self._streams if one.startswith(prefix)]:
            del self._streams[under]

    @property
    def _may_have_lost(self) -> bool:
        return now() < self._lost_until

    def _stream(self, under: bytes) -> _Stream:
        stream = self._streams.setdefault(under, _Stream(lost=self._may_have_lost))
        self._streams.move_to_end(under)
        while len(self._streams) > _REMEMBERED:
            oldest = next(iter(self._streams))
            if self._streams[oldest].lock.locked():
                break
            if self._streams.pop(oldest).lost:
                self._lost_until = now() + 2 * self.keep_for
        return stream

    async def _leased(self, store: Store, size: int, until: float) -> int:
        """A lease that stands for at least as long as events are kept."""
        keys = 2 + size // records.PART_BYTES + 1
        async with _turn(self._leasing, until):
            lease = self._lease
            if lease is None or now() > lease.until or lease.keys < keys or lease.bytes < size:
                asked = now()
                granted = await store.grant_lease(self.keep_for * 1.25, timeout=_left(until))
                lease = _Lease(
                    granted.lease_id, asked + self.keep_for / 4, _LEASE_KEYS, _LEASE_BYTES
                )
            self._lease = lease._replace(keys=lease.keys - keys, bytes=lease.bytes - size)
            return lease.lease_id


class RaftEventStore(EventStore):
    """What a server sent, by session and stream."""

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        *,
        name: str = "default",
        keep: int = 1000,
        keep_for: float = 3600.0,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`endpoints`, `timeout` and `options` are those of `raftstate.connect`; or an open
        `Portal`, without options. `name` keeps users of one cluster apart. Of each stream the
        last `keep` events are kept, and each for at least `keep_for` seconds unless newer
        ones displace it; soon after that it goes.

        Raises InvalidRequest (definite) if an argument makes no sense."""
        if keep < 1:
            raise _wrong("keep", f"keep is {keep}; it must be at least 1")
        if not KEEP_FOR_MIN <= positive("keep_for", keep_for) <= KEEP_FOR_MAX:
            raise _wrong(
                "keep_for",
                f"keep_for is {keep_for} seconds; it must be {KEEP_FOR_MIN} to {KEEP_FOR_MAX}",
            )
        self._shelf = _Shelf(
            Access(endpoints, options, timeout),
            name,
            keep,
            keep_for,
            positive("timeout", timeout),
        )
        self._session = ""

    def session(self, session_id: str) -> RaftEventStore:
        """A store for one session, which sees nothing of others. It shares the connections of
        this one, which is to be closed after it."""
        made = copy.copy(self)
        made._session = session_id
        return made

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event; its id. Ids of a stream sort in the order of its events.

        A message beyond 8 MiB, and one for which the store cannot be reached within the
        timeout, is not kept: that is logged, and its id is one that nothing is replayed
        after. Raises Closed (definite); and without a message, what `Store.txn` does."""
        data = b""
        if message is not None:
            data = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        under, shelf = self._under(stream_id), self._shelf
        try:
            number = await shelf.access.arun(lambda store: shelf.append(store, under, data))
        except Closed:
            raise
        except RaftStateError:
            if message is None:  # the library answers with an error, and goes on
                raise
            _log.exception("an event of stream %r is not kept", stream_id)
            return f"{_base64(stream_id)}.{_LOST}"
        return _id(stream_id, number)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what came after an event of a stream, in order; the stream's id. None, and
        nothing is sent, if the one after it is not kept, or it is not known of any.

        Raises Compacted (definite) if events are forgotten while others are being sent, and
        what `Keys.range` does."""
        told = _told(last_event_id)
        if told is None:
            return None
        stream_id, seen = told
        under, shelf = self._under(stream_id), self._shelf
        first = last = seen
        known, sent = False, False
        while True:
            page = await shelf.access.arun(lambda store: shelf.page(store, under, first))  # noqa: B023  # awaited
            for record in page.records:
                number = _number(record.key)
                known = known or number == seen
                if number == seen:
                    continue
                if _NUMBER.unpack_from(record.data)[0] != last:
                    if sent:
                        raise _gap(stream_id)
                    return None
                last = number
                if data := record.data[_NUMBER.size :]:
                    message = jsonrpc_message_adapter.validate_json(data)
                    await send_callback(EventMessage(message, _id(stream_id, number)))
                    sent = True
            if not page.records:
                break
            first = last + 1
        if page.lost:
            if sent:
                raise _gap(stream_id)
            return None
        return stream_id if known or last > seen or page.last == seen else None

    async def forget(self) -> None:
        """Remove what this store's session has; of one that is for no session, everything
        under its name. It may be called again. Raises what `Keys.delete_prefix` does."""
        parts = (ROOT, self._shelf.name, *([self._session] if self._session else []))
        await self._shelf.access.arun(lambda store: self._shelf.forget(store, key(*parts)))

    def close(self) -> None:
        """Close the connections, unless a portal was given. Doing so twice is harmless."""
        self._shelf.access.close()

    async def aclose(self) -> None:
        """As `close`; the caller's event loop goes on."""
        await self._shelf.access.aclose()

    def _under(self, stream_id: str) -> bytes:
        return key(ROOT, self._shelf.name, self._session, stream_id)


class RaftSessionManager(StreamableHTTPSessionManager):
    """A session manager whose sessions have an event store each."""

    def __init__(self, app: Any, event_store: RaftEventStore, **options: Any) -> None:
        """`options` are those of `StreamableHTTPSessionManager`."""
        self._events = event_store
        super().__init__(app, event_store, **options)

    @classmethod
    def adopt(
        cls, manager: StreamableHTTPSessionManager, event_store: RaftEventStore
    ) -> RaftSessionManager:
        """Change a manager that the library made into one of these; the sessions that it
        makes from now on have an event store each. For servers that make their own:

            app = server.streamable_http_app(event_store=store)
            RaftSessionManager.adopt(server.session_manager, store)
        """
        vars(manager).pop("event_store", None)
        manager.__class__ = cls
        adopted: Any = manager
        adopted._events = event_store
        return cast(RaftSessionManager, manager)

    @property
    def event_store(self) -> EventStore | None:
        """The event store of the next session."""
        return self._events.session(secrets.token_hex(16))

    @event_store.setter
    def event_store(self, given: EventStore | None) -> None:
        if given is not self._events:
            raise TypeError("the event store of a session manager stays what it is")


# --- inside ------------------------------------------------------------------


@asynccontextmanager
async def _turn(lock: asyncio.Lock, until: float) -> AsyncGenerator[None]:
    """One at a time. Raises NoQuorum (definite) if that does not begin in time."""
    try:
        async with asyncio.timeout(max(until - time.monotonic(), 0.0)):
            await lock.acquire()
    except TimeoutError as error:
        raise NoQuorum("what came before it did not end", definite=True) from error
    try:
        yield
    finally:
        lock.release()


def _left(until: float) -> float:
    """Seconds until some moment."""
    return max(until - time.monotonic(), _LEFT_MIN)


async def _head(store: Store, under: bytes, timeout: float) -> _Head:
    seen = Seen()
    found = await store.keys.get(under + _HEAD, seen=seen, timeout=timeout)
    if found is not None:
        return _Head(_NUMBER.unpack(found.value)[0], exists=True)
    # Every event took a revision at least, so none ever had so high a number.
    return _Head(seen.revision, exists=False)


async def _page(store: Store, under: bytes, first: int) -> list[records.Record]:
    """Some events, from a number on."""
    found: list[records.Record] = []
    size = 0
    end = under + _EVENT + b"\xff"
    async for record in records.scan(
        store, start=_event(under, first), end=end, page_size=_PAGE
    ):
        found.append(record)
        size += len(record.data)
        if len(found) > _PAGE or (len(found) > 1 and size > _PAGE_BYTES):
            break
    return found


def _event(under: bytes, number: int) -> bytes:
    return under + key("event", number)


def _number(event: bytes) -> int:
    """Of an event's key, which ends with it as 16 digits, and the end of a part."""
    return int(event[-17:-1], 16)


def _gap(stream_id: str) -> Compacted:
    return Compacted(
        f"events of stream {stream_id} are not kept that come after those replayed",
        definite=True,
    )


def _id(stream_id: str, number: int) -> str:
    """What goes into a header, whatever the stream is called."""
    return f"{_base64(stream_id)}.{number:016x}"


def _base64(stream_id: str) -> str:
    return base64.urlsafe_b64encode(stream_id.encode("utf-8", "surrogatepass")).decode()


def _told(event_id: str) -> tuple[str, int] | None:
    """The stream and the number of an id; None if it is none of ours. A client sends it."""
    written, dot, number = event_id.rpartition(".")
    if not dot or len(number) != 16:
        return None
    try:
        stream_id = base64.b64decode(written, b"-_", validate=True)
        told = stream_id.decode("utf-8", "surrogatepass"), int(number, 16)
    except ValueError:
        return None
    return told if _id(*told) == event_id else None


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": field})
