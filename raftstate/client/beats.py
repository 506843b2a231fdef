"""Keeps things alive over one stream to the leader: a session, or many ownerships.

Each thing has a beat: a request, sent at an interval, that the leader answers after
a quorum has confirmed it. Time counts from when an answered request was sent, never
from when the answer came. A stream that falls silent is left for another member.

All of this runs on the keep-alive thread (alive.py), whatever the store's loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from raftstate.client.clock import now
from raftstate.client.errors import Ledger, from_rpc, unanswered
from raftstate.client.routing import Peer, Router
from raftstate.errors import NoQuorum, RaftStateError

# How long a member may take to notice that a stream has ended in order.
_END_S = 0.5
# An ownership may be short: do not sleep through it between attempts.
_BACKOFF_S = 0.1


class Beat(Protocol):
    """One thing to keep alive. Its methods are called on the keep-alive thread."""

    @property
    def interval(self) -> float:
        """Seconds between requests."""
        ...

    def request(self, nonce: int) -> Any:
        """The message to send."""
        ...

    def acknowledged(self, sent: float, answer: Any) -> Callable[[], object] | None:
        """An answer came to the request that was sent at `sent`. What is returned is called
        in the store's own loop."""
        ...


class Beats:
    """The beats of one kind, and the stream that they share."""

    def __init__(
        self,
        router: Router,
        open_stream: Callable[[Peer], Any],
        refused: Callable[[RaftStateError], None],
        *,
        across: Callable[[Callable[[], object]], object],
        may_beat: asyncio.Event,
    ) -> None:
        """`refused` hears of every failure of the stream. `across` has the store's loop
        call something; while `may_beat` is not set nothing is sent."""
        self._router = router
        self._open = open_stream
        self._refused = refused
        self._across = across
        self._may_beat = may_beat
        self._due: dict[Beat, float] = {}
        self._sent: dict[int, tuple[Beat, float]] = {}
        self._nonce = 0
        self._ledger = Ledger(changes=False)  # since the last answer
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._retired: set[asyncio.Task[None]] = set()

    def start(self, beat: Beat) -> None:
        """Keep `beat` going, from now on. Its first request leaves at once."""
        self._due[beat] = now()
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def stop(self, beat: Beat) -> None:
        """Send nothing more for `beat`. The stream ends in order with its last one."""
        self._due.pop(beat, None)
        self._wake.set()

    async def close(self) -> None:
        """Stop everything; the stream ends in order."""
        self._due.clear()
        self._wake.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._retired:
            await asyncio.wait(self._retired, timeout=_END_S)
        for task in self._retired:
            task.cancel()

    async def _run(self) -> None:
        while True:
            while not self._due:
                self._wake.clear()
                await self._wake.wait()
            await self._may_beat.wait()
            address = self._router.target
            try:
                await self._converse(address)
            # Whatever it is: all that is owned depends on this loop's going on.
            except Exception as failure:  # noqa: BLE001
                error = failure
                if not isinstance(error, RaftStateError):
                    error = unanswered(address, f"{type(failure).__name__}: {failure}")
                self._ledger.failed(error)
                self._router.follow(address, error)
                self._refused(error)
                if not self._ledger.points_on(error):
                    pause = self._router.backoff(self._ledger.failures)
                    await asyncio.sleep(min(pause, _BACKOFF_S))

    async def _converse(self, address: str) -> None:
        """One stream, for as long as it works. Returns when no beat is left."""
        peer = self._router.peer(address)
        await peer.ready(self._patience())
        call = self._open(peer)
        # What an older stream has answered, and nobody has read yet, counts all the same.
        sent = self._sent = {}
        for beat in self._due:
            self._due[beat] = 0.0
        reader = asyncio.create_task(self._read(call, address, sent))
        writer = asyncio.create_task(self._write(call, address))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            first = writer if writer.done() and not reader.done() else reader
            if first.cancelled():  # the call was, by the channel being closed
                raise unanswered(address, "the stream was cancelled")
            first.result()
        finally:
            writer.cancel()
            self._retire(call, reader)
            await asyncio.wait({writer})

    def _retire(self, call: Any, reader: asyncio.Task[None]) -> None:
        """End a stream in order: to break it would be to say that this process died."""
        task = asyncio.create_task(_end(call, reader))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _write(self, call: Any, address: str) -> None:
        while self._due:
            await self._may_beat.wait()
            self._wake.clear()
            patience = self._patience()
            for beat, due in list(self._due.items()):
                if due <= now():
                    await self._send(call, beat, address, patience)
            overdue = self._oldest() + patience
            if overdue <= now():
                raise unanswered(address, f"no answer in {patience:.3g} s")
            moment = min([overdue, *self._due.values()])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(moment - now(), 0.0)):
                    await self._wake.wait()

    def _oldest(self) -> float:
        """When the oldest request that still waits for its answer was sent."""
        waiting = (sent for beat, sent in self._sent.values() if beat in self._due)
        return min(waiting, default=float("inf"))

    async def _send(self, call: Any, beat: Beat, address: str, patience: float) -> None:
        self._nonce += 1
        sent = now()
        self._sent[self._nonce] = (beat, sent)
        if beat in self._due:
            self._due[beat] = sent + beat.interval
        try:
            async with asyncio.timeout(patience):
                await call.write(beat.request(self._nonce))
        except TimeoutError as error:
            raise unanswered(address, "it takes nothing more") from error
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.InvalidStateError as error:
            raise unanswered(address, "the stream ended") from error

    async def _read(self, call: Any, address: str, sent: dict[int, tuple[Beat, float]]) -> None:
        while True:
            try:
                answer = await call.read()
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error
            if answer is grpc.aio.EOF:
                raise NoQuorum(f"{address} ended the stream", definite=True)
            self._router.observe(answer.header)
            self._router.confirm(address)
            if self._ledger.failures:
                self._ledger = Ledger(changes=False)
            beat, at = sent.pop(answer.nonce, (None, 0.0))
            if beat is not None and beat in self._due:
                then = beat.acknowledged(at, answer)
                if then is not None:
                    self._across(then)

    def _patience(self) -> float:
        return min([self._router.attempt, *(beat.interval for beat in self._due)])


async def _end(call: Any, reader: asyncio.Task[None]) -> None:
    """Half-close, give the member a moment to finish, then let go."""
    with contextlib.suppress(
        TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError
    ):
        async with asyncio.timeout(_END_S):
            await call.done_writing()
            await asyncio.wait({reader})
    call.cancel()
    reader.cancel()
    await asyncio.wait({reader})
    if not reader.cancelled():
        reader.exception()  # seen, or of no interest any more
