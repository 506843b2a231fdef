"""The client's own clock: what ownership is counted by.

It goes on while the process is stopped and while the machine sleeps, so that a
process that wakes up late sees that it is late.

`raftstate.testing` has it stand still, and moves it by hand. So who waits for a moment of
this clock waits with `call_later` or `wait`, which are told of such moves.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from typing import Final, Protocol

# Turns of a loop until a task that is cancelled by a call of a timer knows of it.
_TURNS: Final = 5
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Source(Protocol):
    """What tells the time, in seconds."""

    def now(self) -> float:
        """Since some fixed moment; it never goes back."""
        ...

    def wall(self) -> float:
        """Since 1970, as people count."""
        ...


class _System:
    """The system's time. A clock that was moved by hand left it so many seconds ahead."""

    ahead = 0.0

    def now(self) -> float:
        return time.clock_gettime(_CLOCK) + self.ahead

    def wall(self) -> float:
        return time.time()


_SYSTEM: Final = _System()
_source: Source = _SYSTEM
_timers: set[Timer] = set()


def now() -> float:
    """Seconds since some fixed moment. Only differences mean anything."""
    return _source.now()


def wall() -> float:
    """Seconds since 1970."""
    return _source.wall()


def follow(source: Source | None) -> None:
    """Tell the time by `source`; None: by the system again, from where the clock is. Never
    goes back: who believes that it owns something would believe it for too long."""
    global _source  # noqa: PLW0603  # a process has one clock
    at = now()
    if source is not None:
        _source = source
        return
    _source = _SYSTEM
    _SYSTEM.ahead += max(at - now(), 0.0)


def moved() -> list[concurrent.futures.Future[None]]:
    """The clock was moved by hand: have everybody who waits look at it. Each future is done
    when one of them has. From any thread."""
    return [looked for timer in list(_timers) if (looked := timer.look_soon()) is not None]


def forget(loop: asyncio.AbstractEventLoop) -> None:
    """A loop was closed, and what waited in it with it."""
    for timer in list(_timers):
        if timer.loop is loop:
            _timers.discard(timer)


class Timer:
    """A call at a moment of this clock, in the running loop; see `call_later`."""

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._at = now() + seconds
        self._call = call
        self._handle = self.loop.call_later(max(seconds, 0.0), self._look)
        _timers.add(self)

    def cancel(self) -> None:
        """Do not call. In the loop only."""
        self._handle.cancel()
        _timers.discard(self)

    def look_soon(self) -> concurrent.futures.Future[None] | None:
        """Look at the clock in a moment, rather than when it was planned; done when that has
        happened, and what it led to at once. None: the loop is closed."""
        looked: concurrent.futures.Future[None] = concurrent.futures.Future()

        def settle(turns: int) -> None:
            if turns:
                self.loop.call_soon(settle, turns - 1)
            else:
                looked.set_result(None)

        def look() -> None:
            try:
                if self in _timers:
                    self._look()
            finally:
                settle(_TURNS)

        try:
            self.loop.call_soon_threadsafe(look)
        except RuntimeError:
            if not self.loop.is_closed():
                raise
            _timers.discard(self)
            return None
        return looked

    def _look(self) -> None:
        self._handle.cancel()
        left = self._at - now()
        if left > 0:
            self._handle = self.loop.call_later(left, self._look)
            return
        _timers.discard(self)
        self._call()


def call_later(seconds: float, call: Callable[[], object]) -> Timer:
    """Have the running loop call something once so many seconds have passed on this clock."""
    return Timer(seconds, call)


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set, or so many seconds have passed on this clock; whether it is
    set."""
    over = asyncio.Event()
    timer = call_later(seconds, over.set)
    tasks = {asyncio.ensure_future(one.wait()) for one in (event, over)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return event.is_set()
    finally:
        timer.cancel()
        for task in tasks:
            task.cancel()
