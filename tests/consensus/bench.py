"""Three replicas on a table: simulated disks, a clock and links that a test works by hand."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from raftstate.consensus.config import Dismissed
from raftstate.consensus.replica import Replica, ReplicaConfig
from raftstate.core.ports import Answer, ChangeKind, Identity, MemberChange
from raftstate.core.types import Index, MemberId
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import Envelope
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command
from tests.sim.disk import SimDisk

A, B, C = (MemberId(name) for name in "abc")
MEMBERS = (A, B, C)
TURN_S = 0.002
DELAY_S = 0.001


class Table:
    """A cluster in one thread. `cut` holds directed links that lose everything."""

    def __init__(self, **config: Any) -> None:
        self.now = 0.0
        self.cut: set[tuple[MemberId, MemberId]] = set()
        self.paused: set[MemberId] = set()
        self.sent: list[tuple[MemberId, MemberId, Envelope]] = []
        self.answers: dict[object, Answer] = {}
        self.skipped: dict[MemberId, dict[Index, bytes]] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._config = config
        self.gone: dict[MemberId, str] = {}
        self.disks = {member: self._disk(member, f"disk-{member}") for member in MEMBERS}
        self.replicas = {member: self._start(member) for member in MEMBERS}
        for one in MEMBERS:
            for other in MEMBERS:
                if one != other:
                    self.replicas[one].peer_connected(other)

    def _disk(self, member: MemberId, disk_id: str) -> SimDisk:
        return SimDisk(
            Identity("test", 1, member, disk_id), after=self.after, rng=random.Random(member)
        )

    def _start(self, member: MemberId, *, join: bool = False) -> Replica:
        opened = self.disks[member].open(lambda: None)
        return Replica(
            ReplicaConfig(member, () if join else MEMBERS, join=join, **self._config),
            log=opened.log,
            state=opened.state,
            snapshots=opened.snapshots,
            rng=random.Random(member),
            now=self.now,
            send=lambda peer, envelope: self._send(member, peer, envelope),
            deliver=self._deliver,
            skipped=self.skipped.get(member, {}),
        )

    def _send(self, sender: MemberId, peer: MemberId, envelope: Envelope) -> None:
        copy = Envelope.FromString(envelope.SerializeToString())
        held = self.disks[sender].durable.hard_state
        assert envelope.term <= held.term, f"{sender} speaks in a term that it may forget"
        self.sent.append((sender, peer, copy))
        if (sender, peer) not in self.cut:
            self.after(DELAY_S, lambda: self._arrive(peer, copy))

    def _arrive(self, peer: MemberId, envelope: Envelope) -> None:
        if peer in self.replicas:
            self.replicas[peer].receive(envelope)

    def _deliver(self, batch: list[tuple[object, Answer]]) -> None:
        for ticket, answer in batch:
            assert ticket not in self.answers, f"{ticket} is answered twice"
            self.answers[ticket] = answer

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Do something later in simulated time."""
        heapq.heappush(self._later, (self.now + delay, next(self._order), call))

    def turn(self) -> None:
        """A little time passes; everybody who is not paused takes a step."""
        self.now += TURN_S
        while self._later and self._later[0][0] <= self.now:
            heapq.heappop(self._later)[2]()
        for member, replica in list(self.replicas.items()):
            if member not in self.paused:
                self._step(member, replica)

    def _step(self, member: MemberId, replica: Replica) -> None:
        try:
            replica.step(self.now)
        except Dismissed as dismissed:
            self.gone[member] = dismissed.reason
            del self.replicas[member]
            self.disks[member].close()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now < until:
            self.turn()

    def until(self, condition: Callable[[], object], within_s: float = 5.0) -> float:
        """Let time pass until something holds; how long it took."""
        began = self.now
        while not condition():
            assert self.now < began + within_s, "it never came to hold"
            self.turn()
        return self.now - began

    def elect(self) -> Replica:
        """Wait for a leader in office; the one of the latest term."""
        self.until(lambda: self.leader() is not None)
        found = self.leader()
        assert found is not None
        return found

    def leader(self) -> Replica | None:
        """Who leads the latest term and is ready, among those not paused."""
        ready = [
            replica
            for member, replica in self.replicas.items()
            if member not in self.paused
            and replica.status().role == "leader"
            and replica.status().ready
        ]
        return max(ready, key=lambda replica: replica.status().term, default=None)

    def join(self, member: MemberId, disk_id: str = "") -> None:
        """A process starts on an empty disk that waits to be let in."""
        self.disks[member] = self._disk(member, disk_id or f"disk-{member}")
        self.replicas[member] = self._start(member, join=True)
        self._connect(member)

    def lose_disk(self, member: MemberId) -> None:
        """A member's process ends, and it comes back on a folder begun anew: damage was
        found in it."""
        self.disks[member].crash(lose_unsynced=True)
        self.disks[member].wipe()
        self.restart(member)

    def kill(self, member: MemberId, *, power: bool = False) -> None:
        """A member's process is killed, and with `power` its machine loses its power."""
        del self.replicas[member]
        self.disks[member].crash(lose_unsynced=power)

    def replace_disk(self, member: MemberId, disk_id: str) -> None:
        """A member that is down has another disk in its machine, an empty one."""
        self.disks[member] = self._disk(member, disk_id)

    def restart(self, member: MemberId, *, join: bool = False) -> None:
        """A member whose process has ended starts again, and is connected."""
        self.gone.pop(member, None)
        self.replicas[member] = self._start(member, join=join or member not in MEMBERS)
        self._connect(member)

    def _connect(self, member: MemberId) -> None:
        for other, replica in self.replicas.items():
            if other != member:
                self.replicas[member].peer_connected(other)
                replica.peer_disconnected(member)
                replica.peer_connected(member)

    def change(self, kind: ChangeKind, member: MemberId) -> Answer:
        """Ask the leader for a change of membership, and wait for what it says."""
        ticket = ("change", kind, member, self.now)
        change = MemberChange(kind, member, f"{member}:1", f"{member}:2")
        self.elect().change_members(change, ticket)
        self.until(lambda: ticket in self.answers)
        return self.answers[ticket]

    def grow(self, member: MemberId) -> None:
        """Add a member on an empty disk: a learner first, a voter once it caught up."""
        self.join(member)
        assert isinstance(self.change(ChangeKind.ADD, member), Configuration)

        def promoted() -> bool:
            return isinstance(self.change(ChangeKind.PROMOTE, member), Configuration)

        self.until(promoted)

    def move(self, to: MemberId) -> Replica:
        """Let somebody lead, if it does not yet, and wait until it is in office."""
        leader = self.elect()
        if leader.config.member_id != to:
            leader.transfer_leadership(to, ticket := ("move", to, self.now))
            self.until(lambda: ticket in self.answers)
            self.until(lambda: self.elect().config.member_id == to)
        return self.replicas[to]

    def isolate(self, member: MemberId) -> None:
        """Cut every link from and to a member."""
        self.part([member], [other for other in self.replicas if other != member])

    def part(self, ones: Iterable[MemberId], others: Iterable[MemberId]) -> None:
        """Cut every link between two groups."""
        for one, other in itertools.product(ones, others):
            self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        """All links carry again; both ends notice that they were broken."""
        for sender, peer in sorted(self.cut):
            if sender in self.replicas:
                self.replicas[sender].peer_disconnected(peer)
                self.replicas[sender].peer_connected(peer)
        self.cut.clear()

    def write(self, replica: Replica, name: str) -> None:
        """Propose to open a session; its name is the ticket."""
        replica.propose(Command(open_session=OpenSessionRequest(session_id=name)), name)
