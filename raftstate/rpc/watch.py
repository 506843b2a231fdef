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
from contextlib import suppress
from typing import Any

import grpc

from raftstate.core import changes
from raftstate.core.changes import Cursor, Filter
from raftstate.core.history import PastReader
from raftstate.core.limits import PROGRESS_MS_DEFAULT
from raftstate.rpc.errors import Failure
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.hub import LOOK_EVERY_S, Budget, Hub, demand_kept
from raftstate.rpc.tokens import Progress, Tokens
from raftstate.rpc.watcher import Message, Overrun, Watcher
from raftstate.v1.watch_service_pb2 import (
    DESCRIPTOR,
    Change,
    WatchRequest,
    WatchResponse,
    WatchStart,
)


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

    async def answers(self) -> AsyncGenerator[bytes]:
        """All that is said, from the first to the last. Raises Failure."""
        progress = self._beginning()
        watcher = self._hub.open(self._wanted, self._request.with_previous, progress)
        try:
            if self._request.start == WatchStart.WATCH_START_SNAPSHOT:
                async for answer in self._snapshot(watcher, progress.position):
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
        turn: asyncio.Future[None] | None = None
        may_read = True
        while not self._frontend.closing:
            if watcher.waiting:
                await self._hub.sending.ask()
            message = watcher.take()
            if message is not None:
                yield self._encoded(message, watcher)
            elif watcher.joined or not may_read:
                # Who could not join tries again when woken, or from time to time.
                await watcher.wait(self._patience(watcher))
                may_read = True
            else:
                turn = turn or self._hub.reading.ask()
                if await _has_come(turn, self._patience(watcher)):
                    turn, may_read = None, self._hub.read_on(watcher)
            if not self._patience(watcher) and self._is_quiet(watcher):
                await self._hub.sending.ask()
                if self._is_quiet(watcher):
                    yield self._mark(watcher)

    @staticmethod
    def _is_quiet(watcher: Watcher) -> bool:
        return not watcher.waiting and not watcher.failed

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
        pieces = [piece.data for piece in message.pieces]
        return b"".join((message.head, *pieces, end.SerializeToString()))

    def _mark(self, watcher: Watcher) -> bytes:
        """A progress mark: nothing more has changed, and we are still sound."""
        self._frontend.demand_sound()
        progress = self._hub.progress(watcher)
        watcher.told = progress.position
        return WatchResponse(
            header=self._frontend.header(progress.reached, 0),
            resume_token=self._tokens.write(progress),
        ).SerializeToString()

    def _too_slow(self, watcher: Watcher) -> Failure:
        progress = Progress(watcher.told, min(watcher.reached, watcher.told))
        words = f"the client was too slow: changes after revision {watcher.told} are dropped"
        metadata = {"resume_token": self._tokens.write(progress)}
        return Failure("WATCH_TOO_SLOW", words, definite=True, metadata=metadata)

    # --- what there is ---------------------------------------------------------------

    async def _snapshot(self, watcher: Watcher, revision: int) -> AsyncGenerator[bytes]:
        """All that the selector names at a revision, in slices. Raises Failure."""
        cursor: Cursor | None = Cursor()
        turn: asyncio.Future[None] | None = None
        while cursor is not None and not self._frontend.closing:
            watcher.demand()
            found: list[Change] = []
            turn = turn or self._hub.reading.ask()
            if await _has_come(turn, self._patience(watcher)):
                turn = None
                found, cursor = self._slice(revision, cursor)
                if not found and cursor is not None:
                    await self._catch_up(revision)
            if found or cursor is None or not self._patience(watcher):
                yield self._part(revision, found, last=cursor is None)

    def _slice(self, revision: int, cursor: Cursor) -> changes.Slice:
        """What comes behind a cursor; nothing where the state is being rebuilt, and is not
        there yet. Raises Failure."""
        with self._frontend.view() as (reader, header):
            if header.revision < revision:
                return changes.Slice([], cursor)
            demand_kept(reader, revision)
            budget = Budget(self._frontend.limits.watches)
            past = PastReader(reader, revision)
            return changes.snapshot(past, self._wanted, cursor, budget.spend)

    async def _catch_up(self, revision: int) -> None:
        """Wait until views show a revision, but not for long: there is more to look at."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._frontend.bridge.revisions.reach(revision)

    def _part(self, revision: int, found: list[Change], *, last: bool) -> bytes:
        answer = WatchResponse(
            header=self._frontend.header(revision, 0), changes=found, snapshot=True
        )
        if last:
            answer.resume_token = self._tokens.write(Progress(revision, revision))
        else:
            answer.continued = True
        return answer.SerializeToString()


async def _has_come(turn: asyncio.Future[None], seconds: float) -> bool:
    """Whether it is our turn before so much time has passed."""
    if not turn.done():
        await asyncio.wait({turn}, timeout=seconds)
    return turn.done()
