"""How far the state that views show has come, for those on the loop who wait for it.

The raft thread announces a revision after the commit that made it visible; several
announcements that come close together wake the loop once.
"""

from __future__ import annotations

import asyncio
import threading
from heapq import heappop, heappush

from raftstate.core.types import Revision


class Revisions:
    """The newest revision that views show. Made for one loop, on which all but
    `announce` is called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._announced: Revision | None = None
        # Who waits for each revision, and all of these, the lowest first. One that nobody
        # waits for any more may stand there, as long as these are not most of them.
        self._waiters: dict[int, set[asyncio.Future[None]]] = {}
        self._awaited: list[int] = []
        self._listeners: set[asyncio.Event] = set()
        self.current = Revision(0)

    def announce(self, revision: Revision) -> None:
        """Views show this revision now; called on the raft thread, returns at once.

        It may be lower than one before: a state that was rebuilt begins behind."""
        with self._lock:
            asleep = self._announced is None
            self._announced = revision
        if asleep:
            try:
                self._loop.call_soon_threadsafe(self._note)
            except RuntimeError:
                if not self._loop.is_closed():
                    raise

    def _note(self) -> None:
        with self._lock:
            revision, self._announced = self._announced, None
        assert revision is not None
        self.current = revision
        while self._awaited and self._awaited[0] <= revision:
            for waiter in self._waiters.pop(heappop(self._awaited), ()):
                if not waiter.done():
                    waiter.set_result(None)
        for listener in self._listeners:
            listener.set()

    async def reach(self, revision: int) -> None:
        """Wait until views show a revision; whoever waits no longer is cancelled."""
        if self.current >= revision:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        if revision not in self._waiters:
            self._waiters[revision] = set()
            heappush(self._awaited, revision)
        self._waiters[revision].add(waiter)
        try:
            await waiter
        finally:
            self._forget(revision, waiter)

    def _forget(self, revision: int, waiter: asyncio.Future[None]) -> None:
        """Leave nothing of a waiter that was cancelled."""
        if revision not in self._waiters:
            return
        self._waiters[revision].discard(waiter)
        if not self._waiters[revision]:
            del self._waiters[revision]
            if len(self._awaited) > 2 * len(self._waiters) + 16:
                self._awaited = sorted(self._waiters)

    @property
    def waiting(self) -> int:
        """How many wait for a revision."""
        return sum(map(len, self._waiters.values()))

    def listen(self, listener: asyncio.Event) -> None:
        """Set an event whenever the revision moves, until `leave`."""
        self._listeners.add(listener)

    def leave(self, listener: asyncio.Event) -> None:
        """Stop that."""
        self._listeners.discard(listener)
