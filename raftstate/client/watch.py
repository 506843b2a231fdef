"""Watching what changes, for as long as somebody asks for more.

A `Watch` goes on by itself. When its stream breaks, because a member died, lost touch or
was stopped, it goes on at another one behind the last batch it gave: nothing is missed and
nothing comes twice. What cannot be gone on with is raised, as `Compacted` is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc.aio

from raftstate.client import values
from raftstate.client.calls import cancelled, remaining, too_late
from raftstate.client.engine import Engine
from raftstate.client.errors import Ledger, from_rpc, unanswered
from raftstate.client.options import milliseconds, positive
from raftstate.errors import (
    Compacted,
    Corrupt,
    InvalidRequest,
    RaftStateError,
    TooMany,
    WatchTooSlow,
)
from raftstate.v1.watch_service_pb2 import (
    WATCH_START_NOW,
    WATCH_START_RESUME,
    WATCH_START_REVISION,
    WATCH_START_SNAPSHOT,
    Change,
    ResourceType,
    Selector,
    WatchRequest,
    WatchResponse,
)

# A member says something at least so often; one that is silent for longer is left.
_PROGRESS_S: Final = 1.0
_SILENCE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """What one revision changed, whole; or what there was at one, if `snapshot`; or, with
    neither, the word that nothing else has changed up to a revision.

    `token` goes on after this batch: `store.watch(..., token=batch.token)`, with the same
    selector, in any process.

    >>> async with store.watch(prefix="watch-batch/") as watch:
    ...     _ = await store.keys.put("watch-batch/a", b"1")
    ...     async for batch in watch:
    ...         print(len(batch.changes), batch.snapshot)
    ...         break
    1 False
    """

    revision: int
    changes: list[Change]
    token: str
    snapshot: bool = False

    @property
    def progress(self) -> bool:
        """Whether it only says how far the watch has come."""
        return not self.changes and not self.snapshot


class Watch:
    """A watch under way: `async for batch in watch`. Made by `Store.watch`.

    In a block, `async with store.watch(...) as watch`, it begins with the block: what is
    written after that is surely told. Otherwise it begins when the first batch is asked
    for. One task at a time may ask."""

    def __init__(
        self,
        engine: Engine,
        request: WatchRequest,
        *,
        progress: bool,
        raise_too_slow: bool,
        timeout: float | None,
        endpoint: str | None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._progress = progress
        self._raise_too_slow = raise_too_slow
        self._timeout = timeout
        self._fixed = endpoint
        self._address = endpoint or engine.options.rng.choice(engine.router.endpoints)
        self._silence_s = max(_SILENCE_S, 3 * request.progress_ms / 1_000)
        if timeout is None:  # a member that has nothing to say must not look like none
            self._timeout = max(engine.options.timeout, self._silence_s)
        self._call: Any = None
        self._first: WatchBatch | None = None
        self._revision = 0
        self._deadline = 0.0  # moved by whatever is said
        self._closed = False

    # --- for the caller ---

    @property
    def token(self) -> str:
        """Goes on after the last batch that was given, or word of progress that was
        not. Empty: nothing has come yet."""
        return self._request.resume_token

    async def __aenter__(self) -> Self:
        try:
            self._first = await self._next()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._closed:
            batch, self._first = self._first, None
            try:
                batch = batch or await self._next()
            except RaftStateError:
                self.end()
                raise
            if self._progress or not batch.progress:
                return batch
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch. Doing so twice is harmless.

        >>> watch = store.watch(types=["key"], prefix="watch/aclose", snapshot=True)
        >>> async for batch in watch:
        ...     print(batch.snapshot, batch.changes)
        ...     await watch.aclose()
        True []
        """
        self.end()

    def end(self) -> None:
        """End the watch, from wherever: who waits for more is told that there is no more.

        >>> watch = store.watch(types=["key"], prefix="watch/end", snapshot=True)
        >>> async for batch in watch:
        ...     print(batch.snapshot, batch.changes)
        ...     watch.end()
        True []
        """
        self._closed = True
        self._let_go()

    # --- how ---

    async def _next(self) -> WatchBatch:
        """The next batch, from whichever member gives it."""
        self._deadline = self._engine.deadline(self._timeout)
        ledger = Ledger(changes=False, again=(TooMany,))
        while True:
            self._check()
            try:
                return self._taken(await self._attempt())
            except RaftStateError as error:
                self._let_go()
                if not self._goes_on(error):
                    await self._failed(ledger, error)
            except asyncio.CancelledError:
                # The call is gone with whatever was under way; the token is not.
                self._let_go()
                if not cancelled():
                    self._check()
                raise

    def _check(self) -> None:
        """Raise what ends a watch that was closed, or whose store was."""
        if self._closed:
            raise StopAsyncIteration
        self._engine.check()

    async def _attempt(self) -> WatchBatch:
        """The next batch from the member that it is at."""
        address = self._address
        if self._call is None:
            peer = self._engine.router.peer(address)
            await peer.ready(min(self._engine.router.attempt, remaining(self._deadline)))
            self._check()
            self._call = peer.watches.Watch(self._request)
        changes: list[Change] = []
        while True:
            answer = await self._read(address)
            self._engine.router.observe(answer.header)
            changes.extend(answer.changes)
            self._deadline = self._engine.deadline(self._timeout)  # of silence
            if not answer.continued:
                return WatchBatch(
                    answer.header.revision, changes, answer.resume_token, answer.snapshot
                )

    async def _read(self, address: str) -> WatchResponse:
        self._check()
        patience = min(self._silence_s, max(remaining(self._deadline), 0.0))
        try:
            async with asyncio.timeout(patience):
                answer = await self._call.read()
        except TimeoutError as error:
            raise unanswered(address, f"no word in {patience:.1f} s") from error
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        if answer is grpc.aio.EOF:
            raise unanswered(address, "the member is stopping")
        found: WatchResponse = answer
        return found

    def _taken(self, batch: WatchBatch) -> WatchBatch:
        """Note how far it has come; from here on it goes on behind that."""
        if batch.revision < self._revision or (
            batch.changes and not batch.snapshot and batch.revision == self._revision
        ):
            raise Corrupt(
                f"{self._address} told of revision {batch.revision} after {self._revision}",
                definite=True,
            )
        self._revision = batch.revision
        self._resume(batch.token)
        return batch

    def _resume(self, token: str) -> None:
        self._request.start = WATCH_START_RESUME
        self._request.resume_token = token
        self._request.revision = 0

    def _goes_on(self, error: RaftStateError) -> bool:
        """Whether it goes on at once where it is."""
        if isinstance(error, WatchTooSlow) and not self._raise_too_slow:
            if token := error.details.get("resume_token"):
                self._resume(token)
            return True
        return False

    async def _failed(self, ledger: Ledger, error: RaftStateError) -> None:
        """Settle, or go to another member and wait for the right moment."""
        router = self._engine.router
        router.heed(error)
        begun = self._request.start != WATCH_START_SNAPSHOT
        if isinstance(error, Compacted) and not begun:
            ledger.failures += 1  # the snapshot took too long: nothing was given of it
            ledger.last = error
        elif (final := ledger.failed(error)) is not None:
            raise final
        if self._fixed is None:
            endpoints = router.endpoints
            at = endpoints.index(self._address) if self._address in endpoints else -1
            self._address = endpoints[(at + 1) % len(endpoints)]
        pause = router.backoff(ledger.failures) if ledger.failures > 1 else 0.0
        if too_late(self._deadline, pause):
            raise ledger.overdue()
        await asyncio.sleep(pause)

    def _let_go(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


class Watching:
    """The part of a `Store` that tells what changes."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    def watch(
        self,
        *,
        types: Iterable[str | int] = (),
        prefix: str | bytes = b"",
        key: str | bytes | None = None,
        labels: Mapping[str, str] | None = None,
        revision: int | None = None,
        token: str | None = None,
        snapshot: bool = False,
        with_previous: bool = False,
        progress: bool = False,
        progress_every: float = _PROGRESS_S,
        raise_too_slow: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> Watch:
        """What changes, a revision at a time, in order, each once, none missing:
        `async for batch in store.watch(...)`.

        What: `types` ("key", "agent", "event" and so on; none is all), whose id begins with
        `prefix` or is `key`, and which have all `labels`, now or before the change. Since
        when: now, or from `revision` on, which may be to come; or after the batch that a
        `token` came with; or with `snapshot` first all that there is, as one batch, and
        then what changes after it. `with_previous` adds what there was before each change,
        `progress` gives word every `progress_every` seconds of silence, 0.1 to 600.

        Any member serves a watch, and may be behind the leader; `endpoint` is the one to
        ask and no other. When that breaks, the watch goes on elsewhere by itself. A caller
        that is too slow for what comes is served again from where it is, unless
        `raise_too_slow`; it may then meet Compacted.

        Raises, all definite as a watch changes nothing: Compacted if changes that should
        come next are forgotten (`details["oldest_revision"]` is the first to be had);
        WatchTooSlow if asked to (with `details["resume_token"]`); TooMany if every member
        serves as many watches as it may; NoQuorum when no member has said anything for
        `timeout` seconds, by default the store's, or three times `progress_every` if that
        is more; InvalidRequest.

        >>> async with store.watch(types=["key"], prefix="watch/watch/") as watch:
        ...     _ = await store.keys.put("watch/watch/a", b"1")
        ...     async for batch in watch:
        ...         print([(one.id, one.resource.key.value) for one in batch.changes])
        ...         break
        [(b'watch/watch/a', b'1')]
        """
        request = WatchRequest(
            selector=Selector(
                types=[_type(one) for one in types],
                prefix=_bytes(prefix if key is None else key),
                exact=key is not None,
                labels=values.labels(labels),
            ),
            start=_start(revision, token, snapshot),
            revision=revision or 0,
            resume_token=token or "",
            progress_ms=milliseconds(positive("progress_every", progress_every)),
            with_previous=with_previous,
        )
        return Watch(
            self._engine,
            request,
            progress=progress,
            raise_too_slow=raise_too_slow,
            timeout=timeout,
            endpoint=endpoint,
        )


def _bytes(given: str | bytes) -> bytes:
    return given.encode() if isinstance(given, str) else given


def _type(given: str | int) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return ResourceType.Value(f"RESOURCE_TYPE_{given.upper()}")
    except ValueError:
        names = [one.name for one in ResourceType.DESCRIPTOR.values if one.number]
        raise InvalidRequest(
            f"{given!r} is no type of resource",
            definite=True,
            details={
                "field": "types",
                "limit": ", ".join(one.removeprefix("RESOURCE_TYPE_").lower() for one in names),
            },
        ) from None


def _start(revision: int | None, token: str | None, snapshot: bool) -> Any:
    ways = {
        WATCH_START_REVISION: revision is not None,
        WATCH_START_RESUME: token is not None,
        WATCH_START_SNAPSHOT: snapshot,
    }
    chosen = [start for start, asked in ways.items() if asked]
    if len(chosen) > 1:
        raise InvalidRequest(
            "a watch begins at a revision, behind a token or with a snapshot",
            definite=True,
            details={"field": "start", "limit": "one of revision, token, snapshot"},
        )
    return chosen[0] if chosen else WATCH_START_NOW
