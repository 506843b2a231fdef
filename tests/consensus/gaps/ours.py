"""Our replicas on the same table as the stock class: see `stock.py`.

    cluster = OurCluster("abc")
    cluster.elect("a")
    answer = cluster.write("a", "key")
    cluster.run(1.0, until=lambda: answer.done)

A cluster is founded when it is made: somebody leads, and everybody is settled. Timers are
those of the stock class (heartbeats of 0.1 s, elections from 0.4 s on), so that a script's
seconds mean the same to both. A write opens a session whose id is the key.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from raftstate.consensus.config import Dismissed
from raftstate.consensus.replica import COMMANDS, Replica, ReplicaConfig
from raftstate.core import limits, queries
from raftstate.core.ports import Answer as Told
from raftstate.core.ports import ChangeKind, Identity, MemberChange, Unavailable
from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry, Outcome
from tests.consensus.gaps.links import Links
from tests.sim.disk import SimDisk

CAMPAIGNS_MAX = 5


class Answer:
    """What a caller of ours is told."""

    def __init__(self) -> None:
        self.results: list[Told] = []

    @property
    def done(self) -> bool:
        """Whether anything was answered."""
        return bool(self.results)

    @property
    def succeeded(self) -> bool:
        """Whether the caller was told, once, that its command was carried out."""
        return [type(told) for told in self.results] == [Outcome]

    @property
    def reasons(self) -> list[tuple[str, bool]]:
        """The refusals: why, and whether it is certain that nothing will happen."""
        return [
            (told.reason, told.definite)
            for told in self.results
            if isinstance(told, Unavailable)
        ]


class OurCluster(Links[Envelope]):
    """Replicas on simulated disks. `config` goes to ReplicaConfig."""

    def __init__(self, ids: Iterable[str] = "abc", **config: Any) -> None:
        super().__init__()
        self.ids = list(ids)
        self.now = 0.0
        self.calm = False
        self.nodes: dict[str, Replica] = {}
        self.gone: dict[str, str] = {}  # who was told to go, and ended, and why
        self._config = {
            "heartbeat_s": 0.1,
            "election_min_s": 0.4,
            "election_max_s": 1.4,
            "keep_entries": 1,
            **config,
        }
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.disks = {member: self._disk(member, f"disk-{member}") for member in self.ids}
        self._founders = tuple(MemberId(member) for member in self.ids)
        for member in self.ids:
            self.start(member)
        self._found()

    def _found(self) -> None:
        """Let the new cluster find its first leader and settle everybody."""

        def founded() -> bool:
            return any(node.status().ready for node in self.leading()) and all(
                node.engine.log.hard_state.settled for node in self.nodes.values()
            )

        self.run(30.0, until=founded)
        self.calm = True

    # --- members ----------------------------------------------------------------

    def _disk(self, member: str, disk_id: str) -> SimDisk:
        identity = Identity("test", 1, MemberId(member), disk_id)
        return SimDisk(identity, after=self._after, rng=random.Random(member))

    def join(self, member: str) -> Replica:
        """Start a member that is not in the cluster, on an empty disk; it waits."""
        self.ids.append(member)
        self.disks[member] = self._disk(member, f"disk-{member}")
        return self.start(member)

    def lose_disk(self, member: str) -> None:
        """A member that is down gets an empty disk."""
        self.disks[member] = self._disk(member, f"another-disk-{member}")

    def start(self, member: str) -> Replica:
        """Start a member, or start it again on what its disk holds."""
        opened = self.disks[member].open(lambda: None)
        founder = member in self._founders
        self.nodes[member] = Replica(
            ReplicaConfig(
                MemberId(member),
                self._founders if founder else (),
                join=not founder,
                **self._config,
            ),
            log=opened.log,
            state=opened.state,
            snapshots=opened.snapshots,
            rng=random.Random(member),
            now=self.now,
            send=lambda peer, envelope: self.post(member, peer, envelope),
            deliver=_deliver,
        )
        for other in self.up():
            if other != member:
                self.nodes[member].peer_connected(MemberId(other))
                self.nodes[other].peer_connected(MemberId(member))
        return self.nodes[member]

    def crash(self, member: str, *, power: bool = False) -> None:
        """The process ends, or its machine loses power: also what was never synced is
        lost then. What is on the links is lost, and the others are told."""
        self.disks[member].crash(lose_unsynced=power)
        del self.nodes[member]
        self.lose(member)
        for node in self.nodes.values():
            node.peer_disconnected(MemberId(member))

    def _after(self, delay: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.now + delay, next(self._order), call))

    # --- what links and clock ask -----------------------------------------------

    def copy(self, message: Envelope) -> Envelope:
        """A message as it comes out of a socket."""
        return Envelope.FromString(message.SerializeToString())

    def receive(self, sender: str, peer: str, message: Envelope) -> None:
        """Let a member take in a message, which takes a step; nothing if it is down."""
        if peer not in self.nodes:
            return
        node = self.nodes[peer]
        # As the transport does with a sender that no configuration names.
        if node.engine.membership.names(MemberId(sender)) or node.admits(message):
            node.receive(message)
            self.step(peer)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        while self._later and self._later[0][0] <= self.now:
            heapq.heappop(self._later)[2]()

    def up(self) -> list[str]:
        """Members whose process runs."""
        return list(self.nodes)

    def step(self, member: str) -> None:
        """One step of a member."""
        node = self.nodes[member]
        if self.calm:
            put(node, "raftElectionDeadline", float("inf"))
        try:
            node.step(self.now)
        except Dismissed as dismissed:
            self.gone[member] = dismissed.reason
            self.crash(member)

    # --- elections --------------------------------------------------------------

    def campaign(self, member: str) -> None:
        """A member runs, as one whose leader asked for it: its requests are on the links."""
        self.nodes[member].engine.now = self.now
        self.nodes[member].engine._run(transfer=True)
        self.step(member)

    def elect(self, member: str, settle: int = 4) -> Replica:
        """A member runs and wins, unless it leads already; then `settle` ticks. It may
        need several terms to get past one that others have seen."""
        for _ in range(CAMPAIGNS_MAX):
            if self.role(member) != "leader":
                self.campaign(member)
                self.pump()
        assert self.role(member) == "leader", f"{member} is {self.role(member)}"
        self.ticks(settle)
        return self.nodes[member]

    def role(self, member: str) -> str:
        """follower, candidate or leader, as the member believes."""
        return self.nodes[member].engine.role

    def leaders(self) -> list[str]:
        """Everybody who believes to lead."""
        return [member for member in self.nodes if self.role(member) == "leader"]

    def leading(self) -> list[Replica]:
        """The replicas of `leaders`."""
        return [self.nodes[member] for member in self.leaders()]

    # --- membership -----------------------------------------------------------------

    def change(self, leader: str, kind: ChangeKind, member: str) -> Answer:
        """Ask a member for a change of membership; what it answers."""
        answer = Answer()
        change = MemberChange(kind, MemberId(member), f"{member}:1", f"{member}:2")
        self.nodes[leader].change_members(change, answer)
        return answer

    def voters(self, member: str) -> list[str]:
        """The voters of the configuration in force at a member."""
        return sorted(self.nodes[member].engine.membership.voters)

    # --- messages -----------------------------------------------------------------

    def message(self, sender: str, peer: str, term: int | None = None, **kind: Any) -> Envelope:
        """A message as the sender would send it: of a stranger too if the term is given,
        who knows the name of the cluster and not the key that its members have."""
        node = self.nodes.get(sender)
        if term is None:
            assert node is not None, f"a stranger's message needs a term: {sender}"
            term = node.engine.term
        return Envelope(
            cluster_id="test",
            cluster_epoch=1,
            cluster_key=node.engine.membership.cluster_key if node is not None else "",
            from_member=sender,
            to_member=peer,
            disk_id=f"disk-{sender}",
            term=term,
            **kind,
        )

    def waiting(self, sender: str, peer: str) -> list[str]:
        """The kinds of the messages on a link."""
        return [str(e.WhichOneof("message")) for e in self.links[(sender, peer)]]

    # --- commands and what became of them -----------------------------------------

    def write(self, member: str, key: str) -> Answer:
        """Ask a member to open a session, which outlives the test; what it answers."""
        answer = Answer()
        opening = OpenSessionRequest(session_id=key, ttl_ms=limits.SESSION_TTL_MS_MAX)
        self.nodes[member].propose(Command(open_session=opening), answer)
        return answer

    def read(self, member: str) -> Answer:
        """Ask a member where a linearizable read may be answered."""
        answer = Answer()
        self.nodes[member].read_point(answer)
        return answer

    def entries(self, member: str) -> list[tuple[int, int, list[str]]]:
        """A member's log behind its base: (index, term, sessions that are opened)."""
        log = self.nodes[member].engine.log
        first = type(log.last.index)(log.base.position.index + 1)
        return [(e.index, e.term, _sessions(e.data)) for e in log.read(first, 1 << 30)]

    def end(self, member: str) -> int:
        """The last index in a member's log."""
        return self.nodes[member].engine.log.last.index

    def has(self, member: str, key: str) -> bool:
        """Whether a member's state holds a key."""
        with self.nodes[member]._state.view() as reader:
            return queries.get_session(reader, key) is not None

    def holders(self, key: str) -> list[str]:
        """Whose state holds a key."""
        return [member for member in sorted(self.nodes) if self.has(member, key)]

    def agree(self) -> bool:
        """Whether all members that run hold the same state, at the same index."""
        marks = {(n.status().applied_index, n.status().state_hash) for n in self.nodes.values()}
        return len(marks) == 1


def put(node: Replica, name: str, value: Any) -> None:
    """Set an attribute that the engine has from PySyncObj."""
    setattr(node.engine, f"_SyncObj__{name}", value)


def _deliver(batch: list[tuple[object, Told]]) -> None:
    for ticket, told in batch:
        assert isinstance(ticket, Answer), ticket
        ticket.results.append(told)


def _sessions(data: bytes) -> list[str]:
    if data[:1] != COMMANDS:
        return []
    entry = LogEntry.FromString(data[1:])
    return [command.open_session.session_id for command in entry.commands]
