"""Links that a test works by hand: one queue for each direction between two members."""

from __future__ import annotations

import collections
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

DELIVERIES_MAX = 20_000
TURN_S = 0.05

Link = tuple[str, str]
M = TypeVar("M")


class Links(ABC, Generic[M]):
    """A cluster's members as far as the network and the clock are concerned.

    `links[(a, b)]` holds what is on its way from a to b, oldest first, and may be
    rearranged freely. A link carries by itself in `pump` unless it is held; a link that is
    cut loses everything.
    """

    ids: list[str]
    calm: bool

    def __init__(self) -> None:
        self.links: dict[Link, collections.deque[M]] = collections.defaultdict(
            collections.deque
        )
        self.log: list[tuple[str, str, M]] = []  # all that was ever sent, in order
        self.errors: list[tuple[str, Exception]] = []  # what came out of members if `swallow`
        self.swallow = False
        self._held: set[Link] = set()
        self._lossy: set[Link] = set()

    # --- what a cluster adds ----------------------------------------------------

    @abstractmethod
    def copy(self, message: M) -> M:
        """A message as it comes out of a socket."""

    @abstractmethod
    def receive(self, sender: str, peer: str, message: M) -> None:
        """Let a member take in a message; nothing happens if it is down."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def up(self) -> list[str]:
        """Members whose process runs."""

    @abstractmethod
    def step(self, member: str) -> None:
        """One tick of a member."""

    # --- links ------------------------------------------------------------------

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """A link carries nothing from now on, and nobody is told."""
        for link in ((one, other), (other, one)) if both else ((one, other),):
            self._lossy.add(link)
            self.links[link].clear()

    def isolate(self, member: str) -> None:
        """Cut all links from and to one member."""
        for other in self.ids:
            if other != member:
                self.cut(member, other)

    def heal(self, one: str | None = None, other: str | None = None) -> None:
        """All links carry again; or all of one member; or those between two."""
        wanted = {name for name in (one, other) if name is not None}
        self._lossy = {link for link in self._lossy if not wanted <= set(link)}

    def hold(self, one: str, other: str, *, both: bool = False) -> None:
        """What is sent on a link waits in `links` until it is released or delivered."""
        self._held |= {(one, other), (other, one)} if both else {(one, other)}

    def release(self, one: str, other: str, *, both: bool = False) -> None:
        """The link carries by itself again, beginning with what waits."""
        self._held -= {(one, other), (other, one)} if both else {(one, other)}

    def post(self, sender: str, peer: str, message: M) -> None:
        """Put a copy of a message on a link."""
        copy = self.copy(message)
        self.log.append((sender, peer, copy))
        if (sender, peer) not in self._lossy:
            self.links[(sender, peer)].append(copy)

    def deliver(self, sender: str, peer: str, count: int = DELIVERIES_MAX) -> int:
        """Hand over the oldest messages of a link, so many at most; how many it was."""
        link, done = self.links[(sender, peer)], 0
        while link and done < count:
            self.inject(sender, peer, link.popleft())
            done += 1
        return done

    def inject(self, sender: str, peer: str, message: M) -> None:
        """Hand a message to a member as if a sender, member or not, had just sent it."""
        copy = self.copy(message)
        self.guard(peer, lambda: self.receive(sender, peer, copy))

    def pump(self) -> None:
        """Deliver, link by link, until nothing moves but what is held."""
        for _ in range(DELIVERIES_MAX):
            ready = [link for link in sorted(self.links) if self._ready(link)]
            if not ready:
                return
            for link in ready:
                self.deliver(*link, count=1)
        raise AssertionError("the messages never end")

    def _ready(self, link: Link) -> bool:
        return bool(self.links[link]) and link not in self._held

    def lose(self, member: str) -> None:
        """What is on its way to and from a member is gone."""
        for link in [link for link in self.links if member in link]:
            self.links[link].clear()

    def guard(self, member: str, call: Callable[[], None]) -> None:
        """Do something to a member, and keep what it raises if `swallow`."""
        try:
            call()
        except Exception as error:
            if not self.swallow:
                raise
            self.errors.append((member, error))

    # --- time -------------------------------------------------------------------

    def tick(self, seconds: float = 0.11, only: Iterable[str] | None = None) -> None:
        """Time passes, each member (or only some) takes one tick, then messages move."""
        self.advance(seconds)
        self.beat(*(self.up() if only is None else only))
        self.pump()

    def ticks(self, count: int) -> None:
        """So many ticks of everybody."""
        for _ in range(count):
            self.tick()

    def beat(self, *members: str) -> None:
        """One tick of some members, and nothing else: no time, no message."""
        for member in members:
            self.guard(member, lambda member=member: self.step(member))  # type: ignore[misc]

    def run(
        self, seconds: float, until: Callable[[], object] | None = None, turn: float = TURN_S
    ) -> float:
        """Time passes in turns, until something holds if that is given (and it must come
        to hold); how long it took."""
        passed = 0.0
        while passed < seconds and not (until is not None and until()):
            self.tick(turn)
            passed += turn
        assert until is None or until(), f"it did not come to hold within {seconds} s"
        return passed
