"""WatchService: streams of changes, from any member.

A watch lives in its call. It takes what the hub, or its own reading while it is behind,
has put into its queue, and sends it no faster than the client takes it. What happens to
it ends it with a failure, never with a gap: the changes that come next are forgotten, its
client is too slow, the member is in quarantine. When the server stops, the stream just
ends, and the client goes on at another member.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from raftstate.core import changes
from raftstate.core.changes import Cursor, Filter
from raftstate.core.history import PastReader
from raftstate.core.limits import PROGRESS_MS_DEFAULT
from raftstate.core.ports import Unavailable
from raftstate.rpc.errors import Failure
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.hub import Hub, demand_kept
from raftstate.rpc.tokens import Progress, Tokens
from raftstate.rpc.watcher import Message, Overrun, Watcher
from raftstate.v1.watch_service_pb2 import (
    DESCRIPTOR,
    Change,
    WatchRequest,
    WatchResponse,
    WatchStart,
)

# Who knows no leader for so long is cut off, and what it shows stands still.
LEADERLESS_S = 3.0


class Watches:
    """What changes, as it changes. The answers come encoded: see `add_to_server`."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._hub = Hub(frontend)

    def Watch(self, request: WatchRequest, context: Any) -> AsyncGenerator[bytes]:
        self._frontend.check(request)
        return _Stream(self._frontend, self._hub, request).answers()


def add_to_server(service: Watches, server: Any) -> None:
    """What the generated function does, but for answers that come as bytes: one change
    is encoded once for all who are told of it."""
    (described,) = DESCRIPTOR.services_by_name.values()
    handler = grpc.unary_stream_rpc_method_handler(
        service.Watch, request_deserializer=WatchRequest.FromString
    )
    methods = grpc.method_handlers_generic_handler(described.full_name, {"Watch": handler})
    server.add_generic_rpc_handlers((methods,))


class _Stream:
    """One call."""

    def __init__(self, frontend: Frontend, hub: Hub, request: WatchRequest) -> None:
        self._frontend = frontend
        self._hub = hub
        self._request = request
        self._wanted = Filter(request.selector)
        self._silence_s = (request.progress_ms or PROGRESS_MS_DEFAULT) / 1_000
        status = frontend.consensus.status()
        self._tokens = Tokens(status.cluster_id, status.cluster_epoch, self._wanted.canonical())
        self._clock = asyncio.get_running_loop().time
        self._spoke = self._clock()
        self._leaderless_since: float | None = None

    async def answers(self) -> AsyncGenerator[bytes]:
        """All that is said, from the first to the last. Raises Failure."""
        progress = self._beginning()
        watcher = self._hub.open(self._wanted, self._request.with_previous, progress)
        try:
            if self._request.start == WatchStart.WATCH_START_SNAPSHOT:
                async for answer in self._snapshot(progress.position):
                    self._spoke = self._clock()
                    yield answer
            else:
                yield self._mark(watcher)
            async for answer in self._follow(watcher):
                self._spoke = self._clock()
                yield answer
        except Overrun:
            raise self._too_slow(watcher) from None
        finally:
            self._hub.leave(watcher)

    def _beginning(self) -> Progress:
        """What is taken as told already. Raises Failure."""
        with self._frontend.view() as (reader, header):
            newest = header.revision
            if self._request.start == WatchStart.WATCH_START_RESUME:
                progress = self._tokens.read(self._request.resume_token)
            elif self._request.start == WatchStart.WATCH_START_REVISION:
                first = self._request.revision
                progress = Progress(first - 1, min(first - 1, newest))
            else:
                progress = Progress(newest, newest)
            demand_kept(reader, progress.position)
        return progress

    # --- what changes --------------------------------------------------------------

    async def _follow(self, watcher: Watcher) -> AsyncGenerator[bytes]:
        """Changes and progress marks, until the server stops. Raises Failure, Overrun."""
        while not self._frontend.closing:
            message = watcher.take()
            if message is not None:
                yield self._encoded(message, watcher)
            elif not watcher.joined and self._hub.read_on(watcher):
                # Others have their turn, whether or not there was anything to send.
                await asyncio.sleep(0)
            elif not watcher.waiting:
                await watcher.wait(self._patience(watcher))
            if not self._patience(watcher) and not watcher.waiting and not watcher.failed:
                yield self._mark(watcher)

    def _patience(self, watcher: Watcher) -> float:
        """How long nothing need be said yet. Between the parts of one revision nothing
        else may be."""
        if watcher.torn:
            return self._silence_s
        return max(self._spoke + self._silence_s - self._clock(), 0.0)

    def _encoded(self, message: Message, watcher: Watcher) -> bytes:
        if message.continued:
            end = WatchResponse(continued=True)
        else:
            watcher.reached = max(watcher.reached, message.revision)
            token = self._tokens.write(Progress(message.revision, message.revision))
            end = WatchResponse(resume_token=token)
        return b"".join((message.head, *message.pieces, end.SerializeToString()))

    def _mark(self, watcher: Watcher) -> bytes:
        """A progress mark: nothing more has changed, and we are still sound."""
        self._frontend.demand_sound()
        self._demand_led()
        progress = self._hub.progress(watcher)
        watcher.told = progress.position
        return WatchResponse(
            header=self._frontend.header(progress.reached, 0),
            resume_token=self._tokens.write(progress),
        ).SerializeToString()

    def _demand_led(self) -> None:
        """Raise Failure if this member seems to be cut off: another may know more."""
        if self._frontend.consensus.status().leader is not None:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = self._clock()
        elif self._clock() >= self._leaderless_since + LEADERLESS_S:
            raise self._frontend.unavailable(Unavailable("NO_QUORUM", definite=True))

    def _too_slow(self, watcher: Watcher) -> Failure:
        progress = Progress(watcher.told, min(watcher.reached, watcher.told))
        words = f"the client was too slow: changes after revision {watcher.told} are dropped"
        metadata = {"resume_token": self._tokens.write(progress)}
        return Failure("WATCH_TOO_SLOW", words, definite=True, metadata=metadata)

    # --- what there is ---------------------------------------------------------------

    async def _snapshot(self, revision: int) -> AsyncGenerator[bytes]:
        """All that the selector names at a revision, in slices. Raises Failure."""
        limits = self._frontend.limits.watches
        cursor: Cursor | None = Cursor()
        while cursor is not None and not self._frontend.closing:
            found: list[Change] = []
            with self._frontend.view() as (reader, header):
                lost = header.revision < revision  # the state is being rebuilt
                if not lost:
                    demand_kept(reader, revision)
                    past = PastReader(reader, revision)
                    found, cursor = changes.snapshot(
                        past, self._wanted, cursor, limits.slice_rows, limits.slice_bytes
                    )
            if found or cursor is None or self._clock() >= self._spoke + self._silence_s:
                yield self._part(revision, found, last=cursor is None)
            if lost:
                await self._frontend.bridge.revisions.reach(revision)
            await asyncio.sleep(0)

    def _part(self, revision: int, found: list[Change], *, last: bool) -> bytes:
        answer = WatchResponse(
            header=self._frontend.header(revision, 0), changes=found, snapshot=True
        )
        if last:
            answer.resume_token = self._tokens.write(Progress(revision, revision))
        else:
            answer.continued = True
        return answer.SerializeToString()
