"""Threads that run an event loop: one for portals, one that keeps things alive."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from raftstate.client import forks
from raftstate.client.options import CLOSE_S

T = TypeVar("T")

# All that is closed at an exit is bounded; this only keeps a defect from hanging it.
_EXIT_S: Final = 4 * CLOSE_S


_here: Final = threading.local()


def on_loop_thread() -> bool:
    """Whether it is one of these threads that asks, which must not wait for anything. What
    is collected as garbage may be collected there."""
    return getattr(_here, "loop", False)


class LoopThread:
    """A thread that runs an event loop, begun at once. It is a daemon."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_heard)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _here.loop = True
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    @property
    def here(self) -> bool:
        """Whether it is this very thread that asks."""
        return threading.current_thread() is self._thread

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin `work` on the thread. Cancelling the future cancels the work.

        Raises Closed (definite) in a process that was forked from the thread's."""
        if os.getpid() != self._pid:
            work.close()
            raise forks.forked(self._pid)
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, what: Callable[..., object], *arguments: Any) -> bool:
        """Have the thread call something, soon. False: it has ended, and never will."""
        return call_soon(self.loop, what, *arguments)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out `work` on the thread, and wait for its end. An interrupt (Ctrl-C) that
        comes meanwhile cancels it. Raises RuntimeError on the thread itself, which would
        wait for itself."""
        if self.here:
            work.close()
            raise RuntimeError("a blocking call on the thread that would have to answer it")
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out `work` on the thread; the caller's event loop goes on meanwhile.
        Cancelling the caller cancels the work."""
        return await asyncio.wrap_future(self.submit(work))

    def end(self) -> None:
        """Stop the loop, and wait for the thread."""
        if call_soon(self.loop, self.loop.stop):
            self._thread.join(_EXIT_S)


def _heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of what goes wrong in a loop, all but this: gRPC had something for a loop that has been
    closed, and any loop may be the one that comes upon it. Nobody waits for it."""
    closed = str(context.get("exception")) == "Event loop is closed"
    if not (closed and "_handle_events" in repr(context.get("handle"))):
        loop.default_exception_handler(context)


def call_soon(
    loop: asyncio.AbstractEventLoop, what: Callable[..., object], *arguments: Any
) -> bool:
    """Have another thread's loop call something, soon. False: it is closed, and never
    will."""
    try:
        loop.call_soon_threadsafe(what, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True
