"""Where to send: the members known, the one believed to lead, and a connection to each.

The leader is found by asking. A member that does not lead names the one that does;
without such a hint, and after silence, the next endpoint is asked. Nothing here
waits for an answer: who sends decides what a failure means (errors.py) and tells
the router, so that everybody goes the same way afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio

from raftstate.client import forks
from raftstate.client.errors import unreachable
from raftstate.client.options import BACKOFF_MAX_S, BACKOFF_MIN_S, Options
from raftstate.client.queries import Queries
from raftstate.errors import (
    ClusterMismatch,
    NoQuorum,
    NotLeader,
    Quarantined,
    RaftStateError,
)
from raftstate.v1.agent_service_pb2_grpc import AgentServiceStub
from raftstate.v1.breaker_service_pb2_grpc import BreakerServiceStub
from raftstate.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceStub
from raftstate.v1.common_pb2 import ResponseHeader
from raftstate.v1.effect_service_pb2_grpc import EffectServiceStub
from raftstate.v1.event_service_pb2_grpc import EventServiceStub
from raftstate.v1.kv_service_pb2_grpc import KvServiceStub
from raftstate.v1.lease_service_pb2_grpc import LeaseServiceStub
from raftstate.v1.read_service_pb2_grpc import ReadServiceStub
from raftstate.v1.recovery_service_pb2_grpc import RecoveryServiceStub
from raftstate.v1.replay_service_pb2_grpc import ReplayServiceStub
from raftstate.v1.rollback_service_pb2_grpc import RollbackServiceStub
from raftstate.v1.session_service_pb2_grpc import SessionServiceStub
from raftstate.v1.step_service_pb2_grpc import StepServiceStub
from raftstate.v1.watch_service_pb2_grpc import WatchServiceStub

# A cluster has nine members at most.
LEARNED_MAX = 32
# Another member may do at once what these say that this one does not.
_ELSEWHERE: Final = (NotLeader, NoQuorum, Quarantined)
_FAILED: Final = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class Peer:
    """One member: its channel and the services on it."""

    def __init__(self, address: str, options: Options) -> None:
        self.address = address
        forks.opened(self)
        self.channel: Any = _channel(address, options)
        self.sessions: SessionServiceStub = SessionServiceStub(self.channel)
        self.agents: AgentServiceStub = AgentServiceStub(self.channel)
        self.steps: StepServiceStub = StepServiceStub(self.channel)
        self.events: EventServiceStub = EventServiceStub(self.channel)
        self.checkpoints: CheckpointServiceStub = CheckpointServiceStub(self.channel)
        self.cluster: ClusterServiceStub = ClusterServiceStub(self.channel)
        self.kv: KvServiceStub = KvServiceStub(self.channel)
        self.leases: LeaseServiceStub = LeaseServiceStub(self.channel)
        self.watches: WatchServiceStub = WatchServiceStub(self.channel)
        self.effects: EffectServiceStub = EffectServiceStub(self.channel)
        self.rollbacks: RollbackServiceStub = RollbackServiceStub(self.channel)
        self.breakers: BreakerServiceStub = BreakerServiceStub(self.channel)
        self.replays: ReplayServiceStub = ReplayServiceStub(self.channel)
        self.recovery: RecoveryServiceStub = RecoveryServiceStub(self.channel)
        reads: Any = ReadServiceStub(self.channel)
        self.queries: Queries = Queries(address, reads.Read, options.attempt)
        self._connecting: asyncio.Task[bool] | None = None

    async def ready(self, patience: float) -> None:
        """Return once connected; raise NoQuorum (definite) if that is not so soon.

        What fails here was never sent, which is why it is asked before each attempt.
        """
        if self.connected:
            return
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        # Not read again after the wait: whoever woke up before us may have begun another.
        connecting = self._connecting
        done, _ = await asyncio.wait({connecting}, timeout=max(patience, 0.0))
        if not done or not connecting.result():
            raise unreachable(self.address)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; begins to make one if there is none."""
        state = self.channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY

    async def _connect(self) -> bool:
        # Shared by all who wait, and never cancelled by one of them: a watch on a
        # channel's state cannot be taken back.
        while True:
            state = self.channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return True
            if state in _FAILED:
                return False
            await self.channel.wait_for_state_change(state)

    async def close(self) -> None:
        """Close the channel, and with it every call on it."""
        await self.queries.close()
        await self.channel.close()
        if self._connecting is not None:
            await asyncio.wait({self._connecting})


class Known(NamedTuple):
    """What one router can tell another: of the cluster, who is in it, whom to ask."""

    cluster_id: str
    epoch: int
    learned: tuple[str, ...]
    target: str


class Router:
    """Who leads, as far as this client knows."""

    def __init__(self, options: Options) -> None:
        self._options = options
        # Members that the cluster named, and that were not given as endpoints.
        self._learned: tuple[str, ...] = ()
        self._peers: dict[str, Peer] = {}
        self._next = 0
        self._target = options.endpoints[0]
        self._leader: str | None = None
        # Whether it has failed since: it leads as far as is known, and may be no more.
        self._doubtful = False
        self._moved: asyncio.Future[None] | None = None
        # Told of every member that turns out to lead.
        self.told: Callable[[str], object] = lambda _address: None
        self.closed: bool = False
        self._unreachable: set[str] = set()
        self._cluster_id = ""
        self._epoch = 0

    @property
    def attempt(self) -> float:
        """How many seconds one attempt gets."""
        return self._options.attempt

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Whom to ask in turn: those given, then whoever else is a member by now."""
        return self._options.endpoints + self._learned

    def learn(self, addresses: Iterable[str]) -> None:
        """Take note of where the members are. Those given stay: an address may have its
        reason (a proxy, say), and members that have gone may come back."""
        found = dict.fromkeys(one for one in addresses if one)
        if found:
            known = set(self._options.endpoints)
            self._learned = tuple(one for one in found if one not in known)[:LEARNED_MAX]

    def known(self) -> Known:
        """What this router knows, for another one."""
        return Known(self._cluster_id, self._epoch, self._learned, self._target)

    def take(self, known: Known) -> None:
        """Learn from another router of the same store. Whom to ask is of interest only to
        one that has no leader yet; what it has seen of the cluster itself stays."""
        self._cluster_id = self._cluster_id or known.cluster_id
        if known.cluster_id == self._cluster_id:
            self._epoch = max(self._epoch, known.epoch)
        if known.learned:
            self._learned = known.learned
        if self._leader is None:
            self._target = known.target

    def heed(self, error: RaftStateError) -> None:
        """Take note of what a failure tells of the members."""
        if members := error.details.get("members"):
            self.learn(members.split(","))

    @property
    def target(self) -> str:
        """The address to try next."""
        return self._target

    @property
    def leader(self) -> str | None:
        """The member that answered last as a leader does."""
        return self._leader

    def peer(self, address: str) -> Peer:
        """The member at `address`; its connection is made when it is needed."""
        peer = self._peers.get(address)
        if peer is None:
            try:
                peer = Peer(address, self._options)
            except OSError as error:
                if not self._peers:
                    raise  # the first one: whoever asks is told which file is not there
                raise NoQuorum(
                    f"cannot connect to {address}: {error}", definite=True
                ) from error
            self._peers[address] = peer
        return peer

    def confirm(self, address: str) -> None:
        """`address` answered what only a leader answers."""
        if address == self._leader and not self._doubtful:
            return
        self._leader = self._target = address
        self._doubtful = False
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None
        self.told(address)

    def led_by(self, address: str) -> None:
        """Another router of the same store had such an answer."""
        if address != self._leader:
            self.confirm(address)

    def follow(self, address: str, error: RaftStateError) -> None:
        """An attempt at `address` failed: go where it points, or to the next endpoint.

        The target stays if somebody else's failure has already moved it, and where a
        member has said itself what came of it."""
        self.heed(error)
        if address == self._leader and not _answers(error):
            self._doubtful = True
        if address != self._target or _answers(error):
            return
        if error.details.get("unreachable") == address:
            self._unreachable.add(address)
        if error.hint and error.hint != address and self._worth_asking(error.hint):
            self._target = error.hint
            return
        endpoints = self.endpoints
        if address in endpoints:
            self._next = endpoints.index(address) + 1
        for skipped in range(len(endpoints)):
            self._target = endpoints[(self._next + skipped) % len(endpoints)]
            if self._target != address and self._worth_asking(self._target):
                break
        self._next = endpoints.index(self._target) + 1

    def _worth_asking(self, address: str) -> bool:
        """Whether a member can be reached, as far as is known. Followers go on naming a
        leader that has died until they have another one."""
        if address in self._unreachable and self.peer(address).connected:
            self._unreachable.discard(address)
        return address not in self._unreachable

    async def moved_from(self, address: str) -> None:
        """Return once another member than `address` has answered as leader, and has not
        failed since."""
        while self._leader in (None, address) or self._doubtful:
            if self._moved is None:
                self._moved = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._moved)

    def observe(self, header: ResponseHeader) -> None:
        """Check that an answer is from the cluster and epoch seen so far.

        Raises ClusterMismatch: not definite, as what was asked may have happened
        there."""
        if header.cluster_id == self._cluster_id and header.cluster_epoch == self._epoch:
            return
        if self._cluster_id and header.cluster_id != self._cluster_id:
            raise ClusterMismatch(
                f"an answer came from cluster {header.cluster_id!r} (member"
                f" {header.member_id!r}); this client talks to {self._cluster_id!r}",
                definite=False,
                details={"expected": self._cluster_id, "found": header.cluster_id},
            )
        if header.cluster_epoch < self._epoch:
            raise ClusterMismatch(
                f"member {header.member_id!r} answered from epoch {header.cluster_epoch};"
                f" epoch {self._epoch} has been seen",
                definite=False,
                details={"expected": str(self._epoch), "found": str(header.cluster_epoch)},
            )
        self._cluster_id = header.cluster_id
        self._epoch = header.cluster_epoch

    def backoff(self, failures: int) -> float:
        """How long to wait before the next attempt, after so many failed."""
        # Slowly growing: an election takes about half a second, and doubling would on
        # average sleep through half as much again.
        longest = BACKOFF_MIN_S * 1.3 ** min(failures, 20)
        return self._options.rng.uniform(0.5, 1.0) * min(longest, BACKOFF_MAX_S)

    async def close(self) -> None:
        """Close every connection. Calls under way on them end as cancelled."""
        self.closed = True
        for peer in self._peers.values():
            await peer.close()


def _answers(error: RaftStateError) -> bool:
    """Whether a member said itself what came of it, rather than that it cannot."""
    known = type(error) is not RaftStateError  # gRPC's own words, and those of tomorrow
    return error.definite and known and not isinstance(error, _ELSEWHERE)


def _channel(address: str, options: Options) -> Any:
    if options.tls is None:
        return grpc.aio.insecure_channel(address, options=options.channel_options)
    return grpc.aio.secure_channel(
        address, options.tls.credentials(), options=options.channel_options
    )
