"""The network between members: directed links that keep order and lose by connection.

A link behaves as the product's transport does over TCP. Messages arrive in the order
sent, each after a delay drawn for it. A link that is cut, or whose end stops, loses
what is in flight; its sender hears of that a little later, and dials again when it can.
A reconnected link is another session: nothing of an older one is delivered. A stalled
link loses nothing and delivers late.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope


class Timer(Protocol):
    """Virtual time."""

    @property
    def now(self) -> float:
        """Simulated seconds since the start."""
        ...

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        ...


class Ends(Protocol):
    """The members, as the network sees them."""

    def is_up(self, member_id: MemberId) -> bool:
        """Whether the process runs."""
        ...

    def arrived(self, link: Link, message: InFlight) -> None:
        """A message reached the process at the link's end."""
        ...

    def connected(self, link: Link) -> None:
        """The process at the link's start can send."""
        ...

    def disconnected(self, link: Link) -> None:
        """The process at the link's start noticed that it cannot send."""
        ...


class InFlight(NamedTuple):
    """One message on its way."""

    arrives: float
    session: int
    data: bytes


@dataclass(slots=True)
class Delays:
    """How slow a network is; each message draws between the two."""

    low_s: float
    high_s: float
    bytes_per_s: float
    redial_s: float
    notice_s: float


@dataclass(slots=True)
class Link:
    """One direction between two members."""

    source: MemberId
    target: MemberId
    cut: bool = False
    open: bool = False  # the sender has a connection, as far as it knows
    unnoticed: bool = False  # it broke, and the sender does not know yet
    dialling: bool = False
    session: int = 0
    sequence: int = 0
    busy_until: float = 0.0
    last_arrival: float = 0.0
    stalled_until: float = 0.0
    lost_after: float = 0.0  # nothing of this session arrives later than this
    queue: deque[InFlight] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """Source and target, for traces."""
        return f"{self.source}>{self.target}"


class Network:
    """Every link between the members."""

    def __init__(
        self,
        members: tuple[MemberId, ...],
        *,
        timer: Timer,
        ends: Ends,
        rng: random.Random,
        delays: Delays,
    ) -> None:
        self.delays = delays
        self.dropped = 0
        self._timer = timer
        self._ends = ends
        self._rng = rng
        self._links = {
            (source, target): Link(source, target)
            for source in members
            for target in members
            if source != target
        }

    def add(self, member: MemberId) -> None:
        """A new machine, linked to all there are."""
        there = {end for pair in self._links for end in pair}
        for other in sorted(there - {member}):
            self._links.setdefault((member, other), Link(member, other))
            self._links.setdefault((other, member), Link(other, member))

    @property
    def links(self) -> list[Link]:
        """All links, in a fixed order."""
        return list(self._links.values())

    def link(self, source: MemberId, target: MemberId) -> Link:
        """The link from one member to another."""
        return self._links[source, target]

    # -- messages --

    def send(self, source: MemberId, envelope: Envelope, at: float) -> None:
        """Put a message on its link at time `at`, which is now or a little later."""
        link = self._links[source, MemberId(envelope.to_member)]
        link.sequence += 1
        envelope.session, envelope.sequence = link.session, link.sequence
        data = envelope.SerializeToString(deterministic=True)
        departs = max(link.busy_until, at) + len(data) / self.delays.bytes_per_s
        arrives = departs + self._rng.uniform(self.delays.low_s, self.delays.high_s)
        link.busy_until = departs
        link.last_arrival = max(link.last_arrival, arrives)
        link.queue.append(InFlight(link.last_arrival, link.session, data))
        if len(link.queue) == 1:
            self._pump_at(link, link.last_arrival)

    def _pump_at(self, link: Link, when: float) -> None:
        delay = max(when, link.stalled_until) - self._timer.now
        session = link.session
        self._timer.after(max(0.0, delay), lambda: self._pump(link, session))

    def _pump(self, link: Link, session: int) -> None:
        """Deliver what is due. One pump runs for a session while its queue holds anything."""
        if session != link.session:
            return
        now = self._timer.now
        while link.queue and now >= max(link.queue[0].arrives, link.stalled_until):
            message = link.queue.popleft()
            if self._survives(link, message):
                self._ends.arrived(link, message)
            else:
                self.dropped += 1
        if link.queue:
            self._pump_at(link, link.queue[0].arrives)

    def _survives(self, link: Link, message: InFlight) -> bool:
        return (
            message.session == link.session
            and self._timer.now <= link.lost_after
            and self._ends.is_up(link.target)
        )

    # -- faults --

    def cut(self, link: Link) -> None:
        """Break a link; what is in flight is lost."""
        if not link.cut:
            link.cut = True
            self._break(link, self._timer.now)

    def mend(self, link: Link) -> None:
        """Let a link work again."""
        link.cut = False
        self._dial(link)

    def stall(self, link: Link, seconds: float) -> None:
        """Hold everything back for a while, and lose nothing."""
        link.stalled_until = self._timer.now + seconds

    def heal(self) -> None:
        """Mend every link."""
        for link in self.links:
            link.stalled_until = 0.0
            self.mend(link)

    def started(self, member_id: MemberId) -> None:
        """A process began to listen, and to dial."""
        for link in self.links:
            if member_id in (link.source, link.target):
                self._dial(link)

    def stopped(self, member_id: MemberId) -> None:
        """A process ended. What it had sent may still arrive, for a moment."""
        for link in self.links:
            if link.source == member_id:
                wire = self._rng.uniform(0.0, self.delays.high_s)
                self._break(link, self._timer.now + wire)
            elif link.target == member_id:
                self._break(link, self._timer.now)

    def _break(self, link: Link, lost_after: float) -> None:
        link.lost_after = min(link.lost_after, lost_after)
        if not link.open:
            return
        link.open = False
        session = link.session
        link.unnoticed = self._ends.is_up(link.source)
        if link.unnoticed:
            notice = self._rng.uniform(0.0, self.delays.notice_s)
            self._timer.after(notice, lambda: self._notice(link, session))

    def _notice(self, link: Link, session: int) -> None:
        if link.session == session and self._tell_broken(link):
            self._dial(link)

    def _tell_broken(self, link: Link) -> bool:
        """Let the sender know, once."""
        told = link.unnoticed and self._ends.is_up(link.source)
        link.unnoticed = False
        if told:
            self._ends.disconnected(link)
        return told

    def _dial(self, link: Link) -> None:
        if link.dialling or link.open or not self._can_dial(link):
            return
        link.dialling = True
        delay = self._rng.uniform(self.delays.redial_s / 10, self.delays.redial_s)
        self._timer.after(delay, lambda: self._connect(link))

    def _connect(self, link: Link) -> None:
        link.dialling = False
        if link.open or not self._can_dial(link):
            return
        self._tell_broken(link)
        self.dropped += len(link.queue)
        link.queue.clear()
        link.open = True
        link.session += 1
        link.sequence = 0
        link.busy_until = link.last_arrival = self._timer.now
        link.lost_after = float("inf")
        self._ends.connected(link)

    def _can_dial(self, link: Link) -> bool:
        return not link.cut and self._ends.is_up(link.source) and self._ends.is_up(link.target)
