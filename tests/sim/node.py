"""One simulated member: the real replica, on a simulated disk, clock and network.

A `SimNode` is the machine; the process on it comes and goes. What the machine's rpc
layer would do with a client's request is done here too, in its simplest form: propose
it, or take a read point and read, and answer.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

from raftstate.consensus.config import Dismissed
from raftstate.consensus.membership import is_rejoining
from raftstate.consensus.replica import Replica, ReplicaConfig
from raftstate.core import history, kv_queries, queries
from raftstate.core.ports import (
    Answer,
    ChangeKind,
    ChangeRefused,
    KeepAliveResult,
    LeadershipTransferred,
    MemberChange,
    NodeStatus,
    Reader,
    ReadPoint,
    StorageError,
    Unavailable,
)
from raftstate.core.types import MemberId
from raftstate.v1.agent_service_pb2 import Agent, FenceQuery, TakeoverBundle
from raftstate.v1.kv_service_pb2 import TxnResult
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import Envelope, SnapshotManifest
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim import invariants
from tests.sim.checks import Checks
from tests.sim.disk import LogImage, Opened, SimDisk, SimLog, SimulatedCrash
from tests.sim.network import InFlight, Link, Network


class Granted(NamedTuple):
    """The answer to an acquisition: the outcome, and what a successor needs."""

    outcome: Outcome
    bundle: TakeoverBundle


class Completed(NamedTuple):
    """The answer to a transaction: the outcome, and what its reads saw; None if that is
    forgotten."""

    outcome: Outcome
    result: TxnResult | None


class Sight(NamedTuple):
    """The answer to a look at the state: what was made of it, and its revision."""

    value: Any
    revision: int


class AgentRead(NamedTuple):
    """The answer to a read of an agent: None if there is none."""

    agent: Agent | None
    revision: int


Told = (
    Outcome
    | Granted
    | Completed
    | Sight
    | AgentRead
    | KeepAliveResult
    | Unavailable
    | Configuration
    | ChangeRefused
    | LeadershipTransferred
)
# A look is something to make of the state: at a read point, or of what a member has.
Look = Callable[[Reader], Any]
Kind = Literal[
    "mutate",
    "read",
    "stale",
    "look",
    "look_stale",
    "keep_session",
    "keep_ownership",
    "keep_lease",
    "change",
    "transfer",
]
Body = Command | FenceQuery | str | int | MemberChange | Look | None


@dataclass(slots=True, eq=False)
class Request:
    """What a client asks of one member, once. `number` stands in for an address, so
    that no run depends on where an object lies in memory."""

    number: int
    kind: Kind
    body: Body
    answer: Callable[[Told], None]
    answered: bool = False

    def __hash__(self) -> int:
        return self.number


@dataclass(slots=True)
class Clock:
    """A member's monotonic clock: at its own rate, from its own zero."""

    rate: float
    zero: float

    def local(self, now: float) -> float:
        """What the clock shows at a moment."""
        return self.zero + self.rate * now

    def moment(self, local: float) -> float:
        """When the clock shows that."""
        return (local - self.zero) / self.rate


class Surroundings(Protocol):
    """What a node needs of the world around it."""

    checks: Checks
    network: Network

    @property
    def now(self) -> float: ...

    def after(self, seconds: float, action: Callable[[], None]) -> None: ...

    def trace(self, *facts: object) -> None: ...

    def stopped(self, node: SimNode) -> None: ...


def may_lose_a_disk(members: Collection[SimNode], voters: int) -> bool:
    """Whether a disk may be lost now. Only while everybody is settled: before that, a
    second loss could be the loss of a majority, which nothing survives. And only while
    there are so many voters: two need each other."""
    settled = all(one.durable.hard_state.settled for one in members)
    running = [one.status.configuration for one in members if one.is_up]
    return settled and all(len(invariants.voters_of(one)) >= voters for one in running)


class SimNode:
    """One machine of the cluster."""

    def __init__(
        self,
        world: Surroundings,
        config: ReplicaConfig,
        disk: SimDisk,
        clock: Clock,
        rng: random.Random,
        turn_s: float,
    ) -> None:
        self.world = world
        self.config = config
        self.turn_s = turn_s
        self.disk = disk
        self.clock = clock
        self.rng = rng
        self.replica: Replica | None = None
        # The cluster has told it to go, or it was removed: it does not start again, unless
        # an administrator lets it come back.
        self.retired = False
        self.paused_until = 0.0
        self.restart_due = 0  # counts planned starts, so that only the last one counts
        self.steps = 0
        self.voters_min = 2
        self._opened: Opened | None = None
        self._inbox: deque[Callable[[Replica], object]] = deque()
        self._waiting: dict[Request, None] = {}
        self._delivered: list[tuple[Request, Answer]] = []
        self._busy_until = 0.0
        self._step_at = float("inf")

    @property
    def member_id(self) -> MemberId:
        """Which member this is."""
        return self.config.member_id

    @property
    def is_up(self) -> bool:
        """Whether the process runs, paused or not."""
        return self.replica is not None

    @property
    def log(self) -> SimLog:
        """The log of the process that runs."""
        assert self._opened is not None, f"{self.member_id} is down"
        return self._opened.log

    @property
    def durable(self) -> LogImage:
        """The log as the disk holds it."""
        return self.disk.durable

    @property
    def forgotten(self) -> LogImage | None:
        """The log of a disk that was lost, while the member is not settled since."""
        return None if self.durable.hard_state.settled else self.disk.lost

    @property
    def quarantined(self) -> bool:
        """Whether it has begun anew after damage, and is not settled since."""
        rejoining = is_rejoining(self.disk.identity.disk_id)
        return rejoining and not self.durable.hard_state.settled

    def manifest(self, name: str) -> SnapshotManifest | None:
        """What a snapshot on this machine's disk says it is."""
        file = self.disk.snapshots.get(name)
        return None if file is None else file.manifest

    @property
    def status(self) -> NodeStatus:
        """The status of the process that runs."""
        assert self.replica is not None, f"{self.member_id} is down"
        return self.replica.status()

    def reader(self) -> Reader:
        """The committed state, for checks after the end."""
        assert self._opened is not None, f"{self.member_id} is down"
        with self._opened.state.view() as reader:
            return reader

    @property
    def unanswered(self) -> list[Request]:
        """Requests that this process still owes an answer."""
        return list(self._waiting)

    # -- life and death --

    def start(self) -> None:
        """Start the process, if it does not run."""
        if self.replica is not None or self.retired:
            return
        self.world.trace("start", self.member_id)
        self._opened = self.disk.open(lambda: self.wake(0.0))
        self.world.checks.started(self.member_id)
        process = self.disk.incarnation
        self._busy_until = self.world.now
        self.replica = Replica(
            self.config,
            log=self._opened.log,
            state=self._opened.state,
            snapshots=self._opened.snapshots,
            rng=random.Random(self.rng.getrandbits(64)),
            now=self.clock.local(self.world.now),
            send=self._send,
            deliver=lambda answers: self._deliver(process, answers),
        )
        self.world.network.started(self.member_id)
        self.wake(0.0)

    def crash(self, *, power: bool) -> None:
        """End the process at once; with `power`, the machine too."""
        self._end()
        self.disk.crash(lose_unsynced=power)
        if power:
            self.clock.zero = self.rng.uniform(0.0, 1e5)

    def stop(self) -> None:
        """An orderly stop."""
        if self.replica is not None:
            self._end()
            self.disk.close()

    def retire(self) -> None:
        """End the process; nothing starts it but `come_back`."""
        self.retired = True
        self.stop()

    def lose_folder(self) -> None:
        """The machine breaks. Its folder is lost for good, and the next one is empty."""
        self.retired = True
        self.crash(power=True)
        self.disk.wipe(renewed=True)

    def come_back(self, *, join: bool) -> None:
        """Start the process again, whatever it was told: as one that waits to be let in,
        or with the configuration file that it has always had."""
        self.retired = False
        if join:
            self.config = replace(self.config, members=(), join=True)
        self.start()

    def pause(self, seconds: float) -> None:
        """Stand still for a while; messages pile up."""
        self.paused_until = max(self.paused_until, self.world.now + seconds)
        self.world.after(seconds, lambda: self.wake(0.0))

    def _end(self) -> None:
        if self.replica is None:
            return
        self.world.trace("end", self.member_id)
        self.replica = None
        self._opened = None
        self._inbox.clear()
        self._delivered.clear()
        self.paused_until = 0.0
        waiting, self._waiting = self._waiting, {}
        reset = Unavailable("CONNECTION_RESET", definite=False)
        for request in waiting:
            request.answer(reset)
        self.world.stopped(self)

    # -- steps --

    def put(self, arrival: Callable[[Replica], object]) -> None:
        """Let the process find something when it next looks."""
        self._inbox.append(arrival)
        self.wake(self.turn_s)

    def wake(self, seconds: float) -> None:
        """Plan a step after so long, or when the process is free again."""
        now = self.world.now
        due = max(now + seconds, self._busy_until, self.paused_until)
        if self.replica is not None and due < self._step_at:
            self._step_at = due
            self.world.after(due - now, lambda: self._step_if(due))

    def _step_if(self, due: float) -> None:
        if due != self._step_at:
            return  # planned again, earlier or later
        self._step_at = float("inf")
        if self.replica is None or self.retired:
            return
        if self.world.now < self.paused_until:
            self.wake(0.0)
        else:
            self._step(self.replica)

    def _step(self, replica: Replica) -> None:
        self.steps += 1
        self.disk.spent_s = 0.0
        local = self.clock.local(self.world.now)
        trapped = self.disk.trap is not None
        try:
            while self._inbox:
                self._inbox.popleft()(replica)
            replica.step(local)
        except Dismissed as dismissed:
            self.world.trace("dismissed", self.member_id, dismissed.reason)
            self.retired = True
        except (SimulatedCrash, StorageError):
            if not trapped or self.disk.trap is not None:
                raise  # nobody planned this one
        if trapped and self.disk.trap is None:  # also if something swallowed it
            self.world.trace("trapped", self.member_id)
            self.crash(power=self.rng.random() < 0.5)
            return
        self._busy_until = self.world.now + self.disk.spent_s
        status = replica.status()
        self.world.trace(
            "step", self.member_id, status.role, status.term, status.commit_index,
            status.applied_index, status.last_index, status.state_hash,
        )  # fmt: skip
        self.world.checks.after_step(self, status, self.world.now)
        self._tell_delivered()
        if self.retired:
            self.world.after(self.disk.spent_s, self.stop)
            return
        idle_s = 0.0
        if not replica.has_work:
            idle_s = self.clock.moment(replica.wake_at) - self.world.now
        self.wake(self.disk.spent_s + max(0.0002, idle_s))

    def _send(self, peer: MemberId, envelope: Envelope) -> None:
        assert envelope.to_member == peer, f"{envelope.to_member} is not {peer}"
        invariants.justified(self, envelope)
        self.world.network.send(self.member_id, envelope, self.world.now + self.disk.spent_s)

    # -- the network's view --

    def arrived(self, link: Link, message: InFlight) -> None:
        """A message is in the socket's buffer."""

        def receive(replica: Replica) -> None:
            if link.session == message.session:  # otherwise: of an older connection
                self.world.trace("receive", link.name, message.data)
                envelope = Envelope.FromString(message.data)
                known = replica.engine.membership.names(link.source)
                if known or replica.admits(envelope):
                    replica.receive(envelope)

        self.put(receive)

    def connected(self, link: Link) -> None:
        """The transport can send on a link."""
        self.put(lambda replica: replica.peer_connected(link.target))

    def disconnected(self, link: Link) -> None:
        """The transport noticed that it cannot."""
        self.put(lambda replica: replica.peer_disconnected(link.target))

    # -- the rpc layer --

    def serve(self, request: Request) -> None:
        """A client's request has arrived."""
        if self.replica is None:
            request.answer(Unavailable("CONNECTION_REFUSED", definite=True))
            return
        self._waiting[request] = None
        self.put(lambda replica: self._take(replica, request))

    def cancel(self, request: Request) -> None:
        """The client hung up."""
        if request in self._waiting:
            del self._waiting[request]
            self.put(lambda replica: replica.abandon(request))

    def session_broken(self, session_id: str) -> None:
        """A session's stream failed at the transport."""
        if self.replica is not None:
            self.put(lambda replica: replica.session_broken(session_id))

    def _take(self, replica: Replica, request: Request) -> None:
        body = request.body
        if request.kind == "mutate":
            assert isinstance(body, Command)
            replica.propose(body, request)
        elif request.kind in ("read", "look"):
            replica.read_point(request)
        elif request.kind in ("stale", "look_stale"):
            self._answer(request, self._shown(request))
        elif request.kind == "change":
            assert isinstance(body, MemberChange)
            voters = invariants.voters_of(replica.status().configuration)
            leaving = voters & {body.member_id} if body.kind is ChangeKind.REMOVE else ()
            if leaving and len(voters) <= self.voters_min:
                self._answer(request, ChangeRefused("TOO_FEW", "no administrator would"))
            else:
                replica.change_members(body, request)
        elif request.kind == "transfer":
            replica.transfer_leadership(MemberId(str(body)) if body else None, request)
        elif request.kind == "keep_session":
            replica.keep_session(str(body), request)
        elif request.kind == "keep_lease":
            assert isinstance(body, int)
            replica.keep_lease(body, request)
        else:
            assert isinstance(body, FenceQuery)
            replica.keep_ownership(body, request)

    def _deliver(self, process: int, answers: list[tuple[object, Answer]]) -> None:
        """Note answers; they leave once the step is over and the oracle knows of it."""
        assert process == self.disk.incarnation, "an answer from a process that is gone"
        for ticket, answer in answers:
            assert isinstance(ticket, Request)
            self._delivered.append((ticket, answer))

    def _tell_delivered(self) -> None:
        delivered, self._delivered = self._delivered, []
        for request, answer in delivered:
            invariants.answered_once(request.number, again=request.answered)
            request.answered = True
            if isinstance(answer, ReadPoint):
                self._answer(request, self._shown(request))
            elif isinstance(answer, Outcome):
                self._tell(request, answer)
            else:
                self._answer(request, answer)

    def _tell(self, request: Request, outcome: Outcome) -> None:
        """An outcome leaves: by now it is committed, and the log says the same."""
        invariants.told_what_happened(self.world.checks, outcome)
        if outcome.HasField("acquire_ownership"):
            assert self._opened is not None and isinstance(request.body, Command)
            with self._opened.state.view() as reader:
                agent_id = request.body.acquire_ownership.agent_id
                bundle = queries.takeover_bundle(reader, agent_id)
            assert bundle is not None, f"{agent_id} was granted, and is not there"
            self._answer(request, Granted(outcome, bundle))
        elif outcome.HasField("txn"):
            self._answer(request, self._completed(request, outcome))
        else:
            self._answer(request, outcome)

    def _completed(self, request: Request, outcome: Outcome) -> Completed:
        """A transaction's outcome, with what its reads saw just before it."""
        assert self._opened is not None and isinstance(request.body, Command)
        result = TxnResult()
        result.CopyFrom(outcome.txn.txn)
        with self._opened.state.view() as reader:
            if outcome.revision - 1 < history.read_mark(reader).oldest:
                return Completed(outcome, None)
            before = history.PastReader(reader, outcome.revision - 1)
            body = request.body.txn.txn
            kv_queries.fill_reads(before, body, result)
        return Completed(outcome, result)

    def _shown(self, request: Request) -> Told:
        if not callable(request.body):
            return self._read(str(request.body))
        assert self._opened is not None
        with self._opened.state.view() as reader:
            return Sight(request.body(reader), queries.revision(reader))

    def _read(self, agent_id: str) -> AgentRead:
        assert self._opened is not None
        with self._opened.state.view() as reader:
            found = AgentRead(queries.get_agent(reader, agent_id), queries.revision(reader))
        step = found.agent.head.step if found.agent is not None else 0
        invariants.read_is_a_prefix(self.world.checks, agent_id, step, found.revision)
        return found

    def _answer(self, request: Request, told: Told) -> None:
        """Let an answer leave once the step under way is over, if the process lives."""
        if request not in self._waiting:
            return
        process = self.disk.incarnation

        def leave() -> None:
            if request in self._waiting and process == self.disk.incarnation:
                del self._waiting[request]
                request.answer(told)

        if self.disk.spent_s:
            self.world.after(self.disk.spent_s, leave)
        else:
            leave()
