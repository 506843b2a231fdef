"""A store that any thread and any event loop may use.

A `Store` belongs to the event loop that entered it. A portal enters one on a thread of its
own, which all portals of a process share, and carries calls there and results back: for
programs without an event loop, for those that begin a new one every time, and for
frameworks that call from wherever they please.

    with Portal("127.0.0.1:7411") as portal:
        portal.run(lambda store: store.keys.put("a", b"1"))
        await portal.arun(lambda store: store.keys.get("a"))

The thread is a daemon: what is open when the interpreter ends is closed then, within a
bounded time.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from raftstate.client import forks
from raftstate.client.loops import LoopThread, on_loop_thread
from raftstate.client.store import Store, connect
from raftstate.errors import Closed

T = TypeVar("T")

_shared: LoopThread | None = None
_shared_lock = threading.Lock()
_open: set[Portal] = set()


def shared_thread() -> LoopThread:
    """The process' one thread for portals; a forked process begins its own."""
    global _shared  # noqa: PLW0603  # one a process is what it is for
    with _shared_lock:
        if _shared is None:
            _shared = LoopThread("raftstate-io")
        return _shared


def _after_fork() -> None:
    """What a fork copies is a thread that does not run, and perhaps a lock that is held."""
    global _shared, _shared_lock
    forks.keep((_shared, list(_open)))
    _shared, _shared_lock = None, threading.Lock()
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    for portal in list(_open):
        portal.close()
    if _shared is not None:
        _shared.end()


class Portal:
    """A store on the shared thread. Opened by its first call, or `with`; closed by `close`
    or the end of the block. Any thread and any event loop may use it."""

    def __init__(self, endpoints: str | Iterable[str], **options: Any) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`.

        Raises InvalidRequest (definite) if one makes no sense."""
        self._pid = os.getpid()
        self._store = connect(endpoints, **options)
        self._lock = threading.RLock()  # a handler of signals may close it
        self._thread: LoopThread | None = None
        self._closed = False
        self._closing: concurrent.futures.Future[None] | None = None

    def run(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What `work(store)` comes to; this thread waits. Raises what it raises, and Closed
        (definite)."""
        return self._ready().run(work(self._store))

    async def arun(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What `work(store)` comes to; the caller's event loop goes on. Raises what it
        raises, and Closed (definite)."""
        return await self._ready().arun(work(self._store))

    def open(self) -> Self:
        """Open it now rather than with the first call. Raises Closed (definite)."""
        self._ready()
        return self

    def close(self) -> None:
        """Close the store: see `Store.close`. Closing twice is harmless; so is closing a
        copy of it in a forked process, which leaves the original alone."""
        closing = self._begin_closing()
        if closing is not None and not on_loop_thread():
            closing.result()

    async def aclose(self) -> None:
        """As `close`; the caller's event loop goes on."""
        closing = self._begin_closing()
        if closing is not None:
            await asyncio.shield(asyncio.wrap_future(closing))

    @property
    def store(self) -> Store:
        """The store itself, which only its thread may use."""
        return self._store

    @property
    def running(self) -> LoopThread | None:
        """The store's thread, if the store is open."""
        return self._thread

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def thread(self) -> LoopThread:
        """The store's thread, with the store open on it. Raises Closed (definite)."""
        return self._ready()

    def _ready(self) -> LoopThread:
        if os.getpid() != self._pid:
            raise forks.forked(self._pid)
        with self._lock:
            if self._closed:
                raise Closed("the store was closed", definite=True)
            if self._thread is None:
                # First of all, so that what an interrupt leaves half open is closed as well.
                thread = self._thread = shared_thread()
                _open.add(self)
                try:
                    thread.run(self._store.__aenter__())
                except Exception:
                    self._thread = None
                    _open.discard(self)
                    raise
            return self._thread

    def _begin_closing(self) -> concurrent.futures.Future[None] | None:
        """Have the store closed, which an interrupt of whoever waits does not stop; None if
        there is nothing to close."""
        if os.getpid() != self._pid:
            return None
        with self._lock:
            if self._closing is None and self._thread is not None:
                self._closing = self._thread.submit(self._store.close())
                self._closing.add_done_callback(lambda _: _open.discard(self))
            self._thread, self._closed = None, True
            return self._closing

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
