"""A world in which only a script does harm.

The same members, network, disks and checks as in a random run, with calm options and no
nemesis: what goes wrong is written down, step by step. Members have roles, not names:
who wins an election plays the winner's part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Generator
from dataclasses import replace
from typing import Any
from unittest import mock

from raftstate.core.ports import MemberChange
from raftstate.core.types import Index, MemberId
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command
from tests.sim import world
from tests.sim.clients import ReadingClient, Worker
from tests.sim.network import Delays, InFlight, Link
from tests.sim.node import Request, SimNode, Told
from tests.sim.options import Options, draw
from tests.sim.tasks import Task, Wait

HOLD_S = 0.005


class NotSetUp(Exception):
    """A script could not bring about what it is about: it proves nothing."""


def calm(nodes: int) -> Options:
    """Options without faults, losses or anything slow."""
    drawn = draw(random.Random(0), nodes, world.SECONDS)
    habits = replace(
        drawn.habits, agents=1, workers=0, readers=0, operator=False, timeout_s=2.0,
        patience_s=20.0, session_ttl_ms=60_000, ownership_ttl_ms=60_000, renews=False,
        twice=0.0, loss=0.0, delay_s=0.0005,
    )  # fmt: skip
    return replace(
        drawn, delays=Delays(0.001, 0.0015, 1e8, 0.02, 0.001), heartbeat_s=0.05,
        election_min_s=0.3, election_max_s=0.6, drift=0.0, entry_bytes_max=1 << 20,
        append_bytes_max=1 << 20, window=8, queue_max=10_000, compact_entries=1_000,
        keep_entries=0, turn_s=0.0, commit_s=0.0, copy_s=0.01, copy_fails=0.0,
        habits=habits, faults=(),
    )  # fmt: skip


class Stage(world.World):
    """A world for one script. Use it as a context, like any world."""

    def __init__(self, nodes: int, *, seed: int = 1, **options: Any) -> None:
        wanted = replace(calm(nodes), **options)
        with mock.patch.object(world, "draw", return_value=wanted):
            super().__init__(seed, nodes=nodes)
        self._doubled: set[tuple[MemberId, MemberId]] = set()
        self._held: set[tuple[MemberId, MemberId]] = set()
        self._keepers: list[Worker] = []
        self._requests = 1_000_000
        for node in self.nodes.values():
            self.after(0.0, node.start)

    @property
    def reproduce(self) -> str:
        """A script is run by its mutant."""
        return "./scripts/simulate --mutants"

    # -- time --

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self._run_until(self.now + seconds)

    def until(self, condition: Callable[[], object], within_s: float = 10.0) -> None:
        """Let time pass until something is so, and not a moment more."""
        if not condition() and not self._run_until(
            self.now + within_s, lambda: bool(condition())
        ):
            raise NotSetUp(f"did not come to be within {within_s} s")

    # -- who is who --

    def leader(self, among: Collection[SimNode] = ()) -> SimNode | None:
        """Who leads the latest term, in office or not."""
        leading = [
            node
            for node in among or self.nodes.values()
            if node.is_up and node.status.role == "leader"
        ]
        return max(leading, key=lambda node: node.status.term, default=None)

    def elected(self, among: Collection[SimNode] = (), within_s: float = 10.0) -> SimNode:
        """Wait until one of these leads; who it is."""
        self.until(lambda: self.leader(among) is not None, within_s)
        found = self.leader(among)
        assert found is not None
        return found

    def in_office(self, among: Collection[SimNode] = (), within_s: float = 10.0) -> SimNode:
        """Wait until one of these leads and serves; who it is."""

        def serves() -> bool:
            found = self.leader(among)
            return found is not None and found.status.ready

        self.until(serves, within_s)
        return self.elected(among)

    def others(self, *these: SimNode) -> list[SimNode]:
        """Everybody else."""
        return [node for node in self.nodes.values() if node not in these]

    def level(self) -> None:
        """Wait until everybody holds, and has committed, the same."""
        self.until(
            lambda: len({(n.log.last, n.status.commit_index) for n in self.nodes.values()}) == 1
        )

    # -- links --

    def cut(self, source: SimNode, target: SimNode) -> None:
        """Nothing from one gets to the other."""
        self.network.cut(self.network.link(source.member_id, target.member_id))

    def part(self, group: Collection[SimNode], from_: Collection[SimNode]) -> None:
        """Two groups do not hear each other."""
        for one in group:
            for other in from_:
                self.cut(one, other)
                self.cut(other, one)

    def join(self, group: Collection[SimNode]) -> None:
        """All links within a group carry again."""
        for one in group:
            for other in group:
                if one is not other:
                    self.network.mend(self.network.link(one.member_id, other.member_id))

    def hold(self, source: SimNode, target: SimNode) -> None:
        """A link keeps everything back, and loses nothing, until it is let go."""
        self._held.add((source.member_id, target.member_id))
        self._keep_holding(source.member_id, target.member_id)

    def let_go(self, source: SimNode, target: SimNode) -> None:
        """What was kept back arrives."""
        self._held.discard((source.member_id, target.member_id))
        self.go(4 * HOLD_S)

    def _keep_holding(self, source: MemberId, target: MemberId) -> None:
        if (source, target) in self._held:
            self.network.stall(self.network.link(source, target), 2 * HOLD_S)
            self.after(HOLD_S, lambda: self._keep_holding(source, target))

    def double(self, source: SimNode, target: SimNode) -> None:
        """What arrives on a link arrives twice."""
        self._doubled.add((source.member_id, target.member_id))

    def arrived(self, link: Link, message: InFlight) -> None:
        """See `network.Ends`."""
        super().arrived(link, message)
        if (link.source, link.target) in self._doubled:
            super().arrived(link, message)

    def stopped(self, node: SimNode) -> None:
        """A process ended, and the script says when it starts again."""
        self.network.stopped(node.member_id)

    # -- clients --

    def rouse(self, node: SimNode) -> None:
        """Let a member that stands still go on."""
        node.paused_until = self.now
        node.wake(0.0)

    def write(self, node: SimNode) -> None:
        """Let a leader append one entry more."""
        self._requests += 1
        number, before = self._requests, node.log.last.index
        opening = OpenSessionRequest(session_id=f"session/{number}", ttl_ms=60_000)
        node.serve(Request(number, "mutate", Command(open_session=opening), lambda told: None))
        self.until(lambda: node.log.last.index > before)

    def change(self, node: SimNode, change: MemberChange) -> None:
        """Ask a leader for another membership, and wait until that is committed."""
        self._requests += 1
        told = list[Told]()
        node.serve(Request(self._requests, "change", change, told.append))
        self.until(lambda: told)
        if not isinstance(told[0], Configuration):
            raise NotSetUp(f"{change} was answered {told[0]}")

    def step(self, node: SimNode, within_s: float = 10.0) -> None:
        """A worker of its own owns the agent, commits one step, and lets go."""
        worker = Worker(self.fleet, 0)
        worker.guess = node.member_id
        self.until_done(self._step(worker), within_s)

    def _step(self, worker: Worker) -> Generator[Wait, None, None]:
        opened = yield from worker.open_session()
        granted = None
        while opened and granted is None:
            granted = yield from worker.acquire()
        if granted is not None:
            fence = granted.outcome.acquire_ownership.ownership.fence
            yield from worker.step(fence, None)
            yield from worker.release(fence)

    def keep(self, node: SimNode) -> None:
        """A client opens a session at a member, and keeps it alive there."""
        client = Worker(self.fleet, 0)
        client.guess = node.member_id
        self.until_done(client.open_session())
        self.fleet.spawn(client.keep_alive())
        self._keepers.append(client)

    def acquire_at_once(self, node: SimNode, times: int) -> None:
        """One client asks for one agent several times at the same moment."""
        client = Worker(self.fleet, 0)
        client.guess = node.member_id
        self.until_done(client.open_session())
        tasks = [self.fleet.spawn(client.acquire()) for _ in range(times)]
        self.until(lambda: all(task.done for task in tasks))

    def read(self, node: SimNode) -> Task:
        """A client asks a member for the agent, and judges what it is told."""
        client = ReadingClient(self.fleet)
        client.guess, client.sticks = node.member_id, True
        return self.fleet.spawn(client.read_head("agent/0"))

    def until_done(self, script: Generator[Wait, None, Any], within_s: float = 10.0) -> None:
        """Run a client's script to its end."""
        task = self.fleet.spawn(script)
        self.until(lambda: task.done, within_s)

    # -- the end --

    def finish(self) -> None:
        """Heal everything; the cluster must come to rest, and hold what it said."""
        self._held.clear()
        self._doubled.clear()
        for client in self._keepers:
            client.session_over = True
        self.settle()
        self.judge()


def match(leader: SimNode, follower: SimNode) -> Index:
    """How far a leader knows that a follower's log is like its own."""
    for peer in leader.status.peers:
        if peer.member_id == follower.member_id:
            return peer.match_index
    return Index(0)
