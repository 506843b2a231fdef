"""What keeps a store alive runs on a thread of its own.

An agent's program may block its event loop: a long computation, a library that waits. Its
session, its ownerships and its leases are renewed meanwhile by a thread that does nothing
else, which all stores of a process share; each store has its own connections on it. What
an answer means is carried back to the store's loop, and time counts at once: both sides
read the same `valid_until`, which only the thread moves.

A program that hangs must not own for ever. The thread looks whether the store's loop still
turns; one that has not for `stall_limit` seconds is renewed no more until it does. One that
was closed under its store is let go at once.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from raftstate.client import clock, forks
from raftstate.client.beats import Beat, Beats
from raftstate.client.loops import LoopThread, call_soon
from raftstate.client.options import CLOSE_S, Options
from raftstate.client.routing import Known, Peer, Router
from raftstate.errors import RaftStateError

# How often the thread looks whether a store's loop turns, at most.
_LOOK_S: Final = 1.0

_thread: LoopThread | None = None
_lock = threading.Lock()


def alive_thread() -> LoopThread:
    """The process' one thread that keeps things alive; a forked process begins its own."""
    global _thread  # noqa: PLW0603  # one a process is what it is for
    with _lock:
        if _thread is None:
            _thread = LoopThread("raftstate-alive")
        return _thread


def _after_fork() -> None:
    global _thread, _lock  # neither the thread nor the lock's owner is here
    forks.keep(_thread)
    _thread, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    if _thread is not None:
        _thread.end()


class Alive:
    """All that keeps one store alive. Made, used and closed in the store's event loop;
    what begins with `on_thread` runs on the thread."""

    def __init__(self, options: Options, router: Router) -> None:
        """`router` is the store's, from which the thread's own one learns where to turn."""
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._store_router = router
        self._router = Router(options)
        # Who only waits, for an ownership, asks nobody: this thread finds out who leads.
        self._router.told = lambda address: self.across(router.led_by, address)
        self._thread: LoopThread | None = None
        self._kinds: list[Beats] = []
        self._closed = False
        # Of the pulse, on the thread.
        self._pulse: asyncio.Task[None] | None = None
        self._asked_at: float | None = None
        self._may_beat = asyncio.Event()
        self._may_beat.set()
        self._ending: asyncio.Task[None] | None = None

    @property
    def stalled(self) -> bool:
        """Whether nothing is renewed, because the store's loop has not turned."""
        return not self._may_beat.is_set()

    def beating(
        self,
        open_stream: Callable[[Peer], Any],
        refused: Callable[[RaftStateError], Callable[[], object] | None] | None = None,
    ) -> Beating:
        """Things of one kind to keep alive. `refused` hears, on the thread, of every failure
        of the stream; what it returns is called in the store's loop."""

        def heard(error: RaftStateError) -> None:
            if refused is not None and (then := refused(error)) is not None:
                self.across(then)

        beats = Beats(
            self._router, open_stream, heard, across=self.across, may_beat=self._may_beat
        )
        return Beating(self, beats)

    @property
    def here(self) -> bool:
        """Whether it is the store's loop that runs what asks."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def across(self, what: Callable[..., object], *arguments: Any) -> bool:
        """From any thread: have the store's loop call something. False: it is closed."""
        return call_soon(self._loop, what, *arguments)

    def tell(self, what: Callable[..., object], *arguments: Any) -> None:
        """From the store's loop: have the thread call something, in the order of asking."""
        if self._thread is not None:
            self._thread.call(what, *arguments)

    def start(self, beats: Beats, beat: Beat) -> None:
        """Keep `beat` going from now on, on the thread."""
        if self._closed:
            return
        if self._thread is None:
            self._thread = alive_thread()
        self.tell(self._on_thread_start, beats, beat, self._store_router.known())

    def learn(self) -> None:
        """The store has learnt who is a member: tell the thread."""
        self.tell(self._router.take, self._store_router.known())

    async def close_beats(self, beats: Beats) -> None:
        """Stop all of one kind; their stream ends in order."""
        if self._thread is not None:
            await self._thread.arun(self._on_thread_close(beats))

    async def close(self) -> None:
        """End everything, within a bounded time."""
        self._closed = True
        if self._thread is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * CLOSE_S):
                    await self._thread.arun(self._on_thread_end())

    # --- on the thread ---

    def _on_thread_start(self, beats: Beats, beat: Beat, known: Known) -> None:
        self._router.take(known)
        if beats not in self._kinds:
            self._kinds.append(beats)
        if self._pulse is None:
            self._pulse = asyncio.create_task(self._look())
        beats.start(beat)

    async def _on_thread_close(self, beats: Beats) -> None:
        if beats in self._kinds:
            self._kinds.remove(beats)
        await beats.close()

    async def _on_thread_end(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
        await asyncio.gather(*(beats.close() for beats in self._kinds))
        await self._router.close()

    async def _look(self) -> None:
        """Ask the store's loop, again and again, whether it turns."""
        time = asyncio.get_running_loop().time
        limit = self._options.stall_limit
        while not self._loop.is_closed():
            if self._asked_at is None:
                self._asked_at = time()
                self.across(self._turned)
            elif time() - self._asked_at > limit:
                self._may_beat.clear()
            await asyncio.sleep(min(_LOOK_S, limit / 4))
        clock.forget(self._loop)
        # Nobody will close this store any more. The task is cancelled by what it begins.
        self._ending = asyncio.create_task(self._on_thread_end())

    def _turned(self) -> None:
        """In the store's loop, which turns."""
        self.tell(self._on_thread_turned)

    def _on_thread_turned(self) -> None:
        self._asked_at = None
        self._may_beat.set()


class Beating:
    """Things of one kind to keep alive: see `Beats`. This is the store's side."""

    def __init__(self, alive: Alive, beats: Beats) -> None:
        self._alive = alive
        self._beats = beats

    def start(self, beat: Beat) -> None:
        """Keep `beat` going, from now on. Its first request leaves at once."""
        self._alive.start(self._beats, beat)

    def stop(self, beat: Beat) -> None:
        """Send nothing more for `beat`. The stream ends in order with its last one."""
        self._alive.tell(self._beats.stop, beat)

    async def close(self) -> None:
        """Stop everything; the stream ends in order."""
        await self._alive.close_beats(self._beats)
