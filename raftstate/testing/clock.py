"""A clock that stands still until it is moved, for all of a process."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Final, Protocol

from raftstate.client import clock
from raftstate.client.loops import LoopThread

# The wall clock when the first kit is opened: 2026-01-01 00:00 UTC.
WALL_S: Final = 1_767_225_600.0
# How long a client may take, in real time, to renew what it holds; and its event loop, which
# may be blocked, to look at the clock.
PATIENCE_S: Final = 5.0
_LOOK_S: Final = 1.0
# So often at most what is new is renewed once more, before the clock is moved.
_AGAIN_MAX: Final = 20
# A renewal says in 32 bits of milliseconds for how long it is good: 49 days.
_LEAP_S: Final = 40 * 86_400.0


class Timed(Protocol):
    """What lives by this clock: a kit's member. Called on the kits' thread."""

    async def renew(self, ahead_s: float) -> None:
        """Have whoever is alive renew what it holds, for so long beyond its ttl."""
        ...

    @property
    def settled(self) -> bool:
        """Whether all that is alive was renewed so far ahead as was last asked for."""
        ...

    @property
    def next_deadline(self) -> float:
        """When something is due."""
        ...

    def follow_up(self) -> bool:
        """Do what is due; whether there was anything."""
        ...

    def tidy(self) -> None:
        """Do what is done now and then."""
        ...


class Hands:
    """The clock of all kits of a process, and of its clients. Implements `clock.Source`."""

    def __init__(self) -> None:
        # Whole seconds, so that what is added to them comes out as it went in.
        self._began = self._now = float(math.ceil(clock.now()))
        self.members: list[Timed] = []
        self._turn = asyncio.Lock()

    def now(self) -> float:
        """See `clock.Source`."""
        return self._now

    def wall(self) -> float:
        """See `clock.Source`."""
        return WALL_S + self.elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the first kit was opened, as far as it was moved."""
        return round(self._now - self._began, 6)

    async def advance(self, seconds: float) -> None:
        """Move it, and have everything happen that time brings, in its order."""
        async with self._turn:
            target = self._now + seconds
            while self._now < target:
                to = min(target, self._now + _LEAP_S)
                await self._prepare(to - self._now)
                await self._leap(to)
            for one in self.members:
                one.tidy()

    async def _prepare(self, leap: float) -> None:
        """Have all that is alive renewed for so long."""
        await self._renew(0.0)  # to hear of everything that was begun before
        for _ in range(_AGAIN_MAX):
            await self._renew(leap)
            # Who asks again has read the answer to what it asked before.
            await self._renew(0.0)
            if all(one.settled for one in self.members):
                return

    async def _renew(self, ahead: float) -> None:
        await asyncio.gather(*(one.renew(ahead) for one in self.members))

    async def _leap(self, target: float) -> None:
        """Go on until something has happened, to `target` at most."""
        due = min([target, *(one.next_deadline for one in self.members)])
        await self._set(max(due, self._now))
        # Clients come first, as they do in life: they count from when they asked.
        happened = [one.follow_up() for one in self.members]
        while self._now < target and not any(happened):
            due = min([target, *(one.next_deadline for one in self.members)])
            await self._set(max(due, self._now))
            happened = [one.follow_up() for one in self.members]

    async def _set(self, now: float) -> None:
        self._now = now
        if looked := clock.moved():
            waiting = {asyncio.wrap_future(one) for one in looked}
            await asyncio.wait(waiting, timeout=_LOOK_S)


class Home:
    """The thread on which all kits of a process run, and their clock: while there are any."""

    def __init__(self) -> None:
        self.thread: LoopThread = LoopThread("raftstate-kit")
        self.hands: Hands = self.thread.run(_made())
        clock.follow(self.hands)

    def end(self) -> None:
        """The last kit is closed."""
        clock.follow(None)
        self.thread.end()


async def _made() -> Hands:
    return Hands()


_home: Home | None = None
_guests = 0
_lock = threading.Lock()


def enter() -> Home:
    """The home, for one more kit."""
    global _home, _guests  # noqa: PLW0603  # a process has one clock
    with _lock:
        if _home is None:
            _home = Home()
        _guests += 1
        return _home


def leave() -> None:
    """One kit less."""
    global _home, _guests  # noqa: PLW0603  # as above
    with _lock:
        _guests -= 1
        if _guests == 0 and _home is not None:
            home, _home = _home, None
            home.end()
