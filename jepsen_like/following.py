"""Following a watch: everything that it is told, over its breaks, as it is written down.

A watch is told of in segments: each is one call, at one member, with how it was begun, the
messages as they came, and how it ended. A segment that goes on with a token stands behind
one that gave it. Nothing is put right here, and nothing is left out: what is told twice, or
not at all, is for the checker to find.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from jepsen_like.checkers.watching import short
from jepsen_like.clients import ATTEMPT_S, PAUSE_S, Shared, said
from jepsen_like.protocols import Done
from raftstate.client.errors import from_rpc
from raftstate.client.routing import Peer
from raftstate.errors import RaftStateError
from raftstate.v1.common_pb2 import CONSISTENCY_STALE
from raftstate.v1.kv_service_pb2 import GetRequest, GetResponse
from raftstate.v1.watch_service_pb2 import (
    RESOURCE_TYPE_KEY,
    WATCH_START_NOW,
    WATCH_START_RESUME,
    WATCH_START_REVISION,
    WATCH_START_SNAPSHOT,
    Change,
    Selector,
    WatchRequest,
    WatchResponse,
)
from raftstate.v1.watch_service_pb2_grpc import WatchServiceStub

PROGRESS_MS: Final = 250
COMPACTED: Final = "COMPACTED"
TOO_SLOW: Final = "WATCH_TOO_SLOW"
_CONNECT_S: Final = 0.3
_OPEN_S: Final = 1.5  # for a watch to be told something, where it is to stall
_HOW: Final = {
    "now": WATCH_START_NOW,
    "past": WATCH_START_REVISION,
    "future": WATCH_START_REVISION,
    "snapshot": WATCH_START_SNAPSHOT,
    "resume": WATCH_START_RESUME,
}
# A connection that takes in as little as it may while nobody reads.
_NARROW: Final = (
    ("grpc.http2.lookahead_bytes", 4_096),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.use_local_subchannel_pool", 1),
)


def _told(answer: WatchResponse, root: bytes) -> list[Any]:
    """One message: its revision, whether it is continued, whether it is of a snapshot,
    and the changes."""
    changes = [_change(one, root) for one in answer.changes]
    return [answer.header.revision, int(answer.continued), int(answer.snapshot), changes]


def _change(one: Change, root: bytes) -> list[Any]:
    """A change: key, value, its revision, whether it was created, and what was before. A
    key that is none of ours keeps its whole name, which no selector has."""
    name = one.id
    is_key = one.type == RESOURCE_TYPE_KEY and name.startswith(root)
    key = name[len(root) :].decode() if is_key else f"?{one.type}:{name.hex()}"
    now = one.resource.key if one.HasField("resource") else None
    before = one.previous.key if one.HasField("previous") else None
    return [
        key,
        None if now is None else short(now.value),
        0 if now is None else now.mod_revision,
        int(one.created),
        None if before is None else short(before.value),
    ]


# --- one watch -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """How a watch begins: "now", "snapshot", so many revisions "back" or "ahead" of what
    its member has ("past", "future"), or with a token ("resume")."""

    how: str
    back: int = 0
    ahead: int = 0


class Following:
    """One watch, over all its calls."""

    def __init__(
        self, shared: Shared, root: bytes, prefix: str, previous: bool, start: Start
    ) -> None:
        self.prefix = prefix
        self.previous = previous
        self._shared = shared
        self._root = root
        self._start = start
        self._segments: list[dict[str, Any]] = []
        self._token = ""
        self._revision = 0  # up to which the token says that all was told
        self._held = 0  # what the member had applied that was asked first
        self._over = False
        self._error = ""

    def go_on_from(self, before: Following) -> None:
        """Begin with the token that another one came to; from now, if it has none."""
        if before._token:
            self._token, self._revision = before._token, before._revision
        else:
            self._start = Start("now")

    async def until(self, end: float, node: str) -> None:
        """Follow at a member until a time of the loop, again and again if need be. What
        cannot go on at all is over."""
        loop = asyncio.get_running_loop()
        while loop.time() < end and not self._over:
            try:
                peer = self._shared.engine.router.peer(self._shared.site.addresses[node])
                await peer.ready(_CONNECT_S)
                request, segment = await self._begin(peer, node)
            except RaftStateError as error:
                self._error = said(error)
                await asyncio.sleep(min(PAUSE_S, max(end - loop.time(), 0.0)))
                continue
            async with self._call(peer.watches, request, segment) as call:
                async with asyncio.timeout_at(end):
                    while await self._next(call, segment):
                        pass
                segment["end"] = "closed"

    async def stalled(self, node: str, work: Callable[[], Awaitable[None]], end: float) -> None:
        """Begin at a member, by a connection of its own, and take nothing from when it has
        said something until the work is done; then all that there is."""
        address = self._shared.site.addresses[node]
        peer = self._shared.engine.router.peer(address)
        try:
            await peer.ready(_CONNECT_S)
            request, segment = await self._begin(peer, node)
            async with grpc.aio.insecure_channel(address, options=_NARROW) as channel:
                stub = WatchServiceStub(channel)
                async with self._call(stub, request, segment) as call:
                    async with asyncio.timeout(_OPEN_S):
                        await self._next(call, segment)
                    async with asyncio.timeout_at(end):
                        await work()
                        while await self._next(call, segment):
                            pass
                    segment["end"] = "closed"
        except RaftStateError as error:
            self._error = said(error)

    @property
    def is_short(self) -> bool:
        """Whether it was told less than its member had when it began."""
        return self._revision < self._held

    def done(self, node: str, more: dict[str, Any] | None = None) -> Done:
        """All that was told. It happened if a member said anything."""
        heard = [
            one
            for one in self._segments
            if one["messages"] or one["end"] in (COMPACTED, TOO_SLOW)
        ]
        if not heard:
            return Done("fail", node=node, error=self._error or "no member said anything")
        value = {
            "prefix": self.prefix,
            "previous": self.previous,
            "segments": self._segments,
            **(more or {}),
        }
        return Done("ok", value, node=node)

    # --- one call ---

    async def _begin(self, peer: Peer, node: str) -> tuple[WatchRequest, dict[str, Any]]:
        """The request of the next call, and what is written down of it. What its member
        has applied before is asked first."""
        how = "resume" if self._token else self._start.how
        revision = self._revision
        if not self._token:
            try:
                get = GetRequest(key=self._root, consistency=CONSISTENCY_STALE)
                held: GetResponse = await peer.kv.Get(get, timeout=ATTEMPT_S)
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error
            revision = held.header.revision
            self._held = self._held or revision
        if how == "past":
            revision = max(1, revision - self._start.back)
        elif how == "future":
            revision += self._start.ahead
        request = WatchRequest(
            selector=Selector(
                types=[RESOURCE_TYPE_KEY], prefix=self._root + self.prefix.encode()
            ),
            start=_HOW[how],
            revision=revision if how in ("past", "future") else 0,
            resume_token=self._token,
            progress_ms=PROGRESS_MS,
            with_previous=self.previous,
        )
        if how == "future":
            # A mark may name an earlier revision; what a token begins with is this one.
            self._revision = revision - 1
        segment = {"node": node, "start": how, "revision": revision, "messages": []}
        self._segments.append(segment)
        return request, segment

    @asynccontextmanager
    async def _call(
        self, stub: WatchServiceStub, request: WatchRequest, segment: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """The call, and in the segment how it ended."""
        call: Any = stub.Watch(request)
        segment["end"] = "broken"
        try:
            yield call
        except TimeoutError:
            segment["end"] = "time"
        except grpc.aio.AioRpcError as error:
            self._ended(segment, from_rpc(error))
        finally:
            call.cancel()
        if segment["end"] not in ("time", TOO_SLOW, COMPACTED):
            await asyncio.sleep(PAUSE_S)

    async def _next(self, call: Any, segment: dict[str, Any]) -> bool:
        """Take one message; whether there was one."""
        answer = await call.read()
        if answer is grpc.aio.EOF:
            return False
        segment["messages"].append(_told(answer, self._root))
        if answer.resume_token:
            self._token = answer.resume_token
            self._revision = max(self._revision, answer.header.revision)
        return True

    def _ended(self, segment: dict[str, Any], error: RaftStateError) -> None:
        segment["end"], segment["said"] = error.reason, said(error)
        self._error = said(error)
        if error.reason == COMPACTED:
            segment["details"] = dict(error.details)
            self._over = True
            self._token = ""
        elif error.reason == TOO_SLOW:
            self._token = error.details["resume_token"]
        elif error.reason == "INVALID_REQUEST":
            self._over = True
