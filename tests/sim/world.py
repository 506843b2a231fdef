"""A whole cluster with its clients, in one thread, on virtual time, from one seed.

The world is a heap of things to do at moments; doing one may plan others. Nothing
waits and nothing ticks, so an idle second costs next to nothing. Every draw comes from
generators that descend from the seed, and whatever happens goes into a digest: the
same seed is the same run, byte for byte.

A run has two phases. In the first, faults strike while clients work, and everything in
`invariants` is asserted after every step of every member. Then all is healed, and the
cluster must converge, answer everybody and take a new write within a bound; what the
members hold is compared with what the clients were told.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from types import TracebackType
from typing import Self

from raftstate.consensus.membership import folder_of
from raftstate.core.ports import Identity
from raftstate.core.types import MemberId
from tests.sim import invariants, regressions
from tests.sim.admins import Admin
from tests.sim.checks import Checks
from tests.sim.clients import Fleet, Prober
from tests.sim.disk import SimDisk
from tests.sim.faults import PARTITIONS, Nemesis, Scripted, Strike, told
from tests.sim.network import InFlight, Link, Network
from tests.sim.node import Clock, SimNode
from tests.sim.options import FAULTS, Options, draw
from tests.sim.registers import Registers
from tests.sim.store.habits import draw_store
from tests.sim.store.traffic import Traffic

EPOCH = 1
SETTLE_S = 30.0
SECONDS = regressions.SECONDS
PLANS_MAX = 50_000_000  # a run that wants more does not come to its end


class World:
    """One simulated cluster and its clock. Use it as a context: what is raised inside
    says how to see it again."""

    def __init__(
        self,
        seed: int,
        *,
        nodes: int | None = None,
        seconds: float = SECONDS,
        store: bool = True,
        story: Sequence[Strike] | None = None,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.digest = hashlib.blake2b(digest_size=16)
        self.listen: Callable[[str], None] | None = None
        self.settled_s = 0.0
        self._forced_nodes = nodes
        self._has_store = store
        self._story = story
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self.options: Options = draw(self._rng("options"), nodes, seconds)
        if store:
            drawn = draw_store(self._rng("store"))
            self.options = replace(self.options, store=drawn)
        members = tuple(MemberId(f"n{number}") for number in range(1, self.options.nodes + 1))
        self.network = Network(
            members,
            timer=self,
            ends=self,
            rng=self._rng("network"),
            delays=self.options.delays,
        )
        self.nodes: dict[MemberId, SimNode] = {}
        self.checks = Checks(EPOCH, {})
        for member_id in members:
            self.nodes[member_id] = self._machine(member_id, members)
        self.checks.members = self.nodes
        self.checks.voters, self.checks.named = set(members), set(members)
        self.admin = Admin(self, self._rng("admin"))
        self.fleet = Fleet(self, self.options.habits, self._rng("clients"))
        self.registers = Registers(self.fleet)
        self.store = Traffic(self.fleet, self.options.store)
        self.checks.on_expiry = self.fleet.judge_expiry
        if story is None:
            self.nemesis = Nemesis(self, self._rng("faults"))
        else:
            self.nemesis = Scripted(self, story)

    def _rng(self, branch: str) -> random.Random:
        """A generator of its own for each part, so that one does not disturb another."""
        return random.Random(f"{self.seed:#x}/{branch}")

    def _machine(self, member_id: MemberId, members: tuple[MemberId, ...]) -> SimNode:
        rng = self._rng(f"machine/{member_id}")
        disk = SimDisk(
            Identity("sim", EPOCH, member_id, f"disk-{member_id}"),
            after=self.after,
            rng=rng,
            watch=self.checks,
        )
        disk.commit_s = self.options.commit_s
        disk.tears = self.options.tears
        disk.copy_s = self.options.copy_s
        disk.copy_fails = self.options.copy_fails
        clock = Clock(1.0 + rng.uniform(-1, 1) * self.options.drift, rng.uniform(0.0, 1e5))
        config = self.options.replica(member_id, members)
        node = SimNode(self, config, disk, clock, rng, self.options.turn_s)
        node.voters_min = self.voters_min
        return node

    @property
    def voters_min(self) -> int:
        """How many voters administrators leave at least. Two need each other: nothing
        survives the loss of one of their disks."""
        return 3 if "wipe" in self.options.faults else 2

    def new_machine(self) -> SimNode:
        """One more machine, on which nothing runs yet."""
        member_id = MemberId(f"n{len(self.nodes) + 1}")
        self.network.add(member_id)
        node = self.nodes[member_id] = self._machine(member_id, ())
        return node

    def members(self) -> list[SimNode]:
        """The machines that are members, as far as is committed."""
        return [self.nodes[member] for member in sorted(self.checks.named)]

    # -- as a context --

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"seed {self.seed:#x}, t={self.now:.3f}s, {self.options}")
            if self._story is not None:
                error.add_note(told(self._story))
            error.add_note(f"reproduce: {self.reproduce}")

    @property
    def reproduce(self) -> str:
        """The command that runs this again; for a story the Python that does."""
        if self._story is not None:
            return (
                f"World({self.seed:#x}, nodes={self._forced_nodes}, "
                f"seconds={self.options.seconds:g}, store={self._has_store}, "
                f"story={list(self._story)}).run()"
            )
        nodes = f" --nodes {self._forced_nodes}" if self._forced_nodes else ""
        usual = self.options.seconds == SECONDS
        seconds = "" if usual else f" --seconds {self.options.seconds:g}"
        store = "" if self._has_store else " --no-store"
        return f"./scripts/simulate --seed {self.seed:#x}{nodes}{seconds}{store}"

    # -- time --

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later; what is planned first for one moment is done first."""
        assert seconds >= 0.0, f"{seconds} s ago is past"
        self._planned += 1
        if self._planned > PLANS_MAX:
            raise NotConverged(f"{PLANS_MAX} things were done, and time stands at {self.now}")
        heappush(self._heap, (self.now + seconds, self._planned, action))

    def trace(self, *facts: object) -> None:
        """Note what happens: into the digest, and to whoever listens."""
        self.digest.update(repr((self.now, facts)).encode())
        if self.listen is not None:
            words = [fact.hex() if isinstance(fact, bytes) else str(fact) for fact in facts]
            self.listen(f"{self.now:10.4f} {' '.join(word[:64] for word in words)}")

    def _run_until(self, moment: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let time go on to a moment, or until something is so."""
        while self._heap and self._heap[0][0] <= moment:
            self.now, _, action = heappop(self._heap)
            action()
            if done():
                return True
        self.now = moment
        return done()

    # -- a run --

    def run(self) -> None:
        """Both phases."""
        self.endure()
        self.settle()
        self.judge()

    def endure(self) -> None:
        """Faults and clients; safety all the time."""
        for node in self.nodes.values():
            self.after(0.0, node.start)
        self.fleet.begin()
        self.registers.begin(self.options.habits.clerks)
        self.store.begin()
        self.nemesis.begin()
        self._run_until(self.options.seconds)

    def settle(self) -> None:
        """Heal; then everything must come to rest within the bound."""
        self.trace("heal")
        began = self.now
        self.nemesis.heal()
        self.fleet.close()
        self.admin.closing = True
        prober = Prober(self.fleet)
        self.fleet.spawn(prober.probe())
        while not self._at_rest():
            if self.now >= began + SETTLE_S:
                raise NotConverged(self._restlessness())
            self._run_until(self.now + 0.1)
        self.settled_s = self.now - began

    def _at_rest(self) -> bool:
        return (
            self.fleet.idle
            and all(node.is_up or self._was_replaced(node) for node in self.members())
            and not any(node.unanswered for node in self.nodes.values())
            and invariants.converged(node.status for node in self.members() if node.is_up)
            and self.store.is_swept
        )

    def _was_replaced(self, node: SimNode) -> bool:
        """Whether a member was told to go since it lost the folder that its vote is bound
        to, just when it was promoted: it is for an administrator to replace it."""
        pinned = {
            member.member_id: member.disk_id
            for member in self.checks.configurations[-1].members
        }[node.member_id]
        mine = folder_of(node.disk.identity.disk_id)
        return node.retired and bool(pinned) and pinned != mine

    def _restlessness(self) -> str:
        nodes = [
            f"{node.member_id}: {node.status.role} term {node.status.term} "
            f"applied {node.status.applied_index} of {node.status.last_index}, "
            f"owes {len(node.unanswered)}"
            if node.is_up
            else f"{node.member_id}: down"
            for node in self.members()
        ]
        busy = sum(not task.done for task in self.fleet.tasks)
        left = "" if self.store.is_swept else "; garbage is left"
        return f"not at rest {SETTLE_S} s after the heal: {busy} clients busy; {nodes}{left}"

    def judge(self) -> None:
        """Compare what the members hold with what the clients were told."""
        for node in (one for one in self.members() if one.is_up):
            invariants.state_hash_is_of_the_state(node.member_id, node.reader())
            places = self.checks.chronicle.places
            invariants.acknowledged_once(self.fleet.ops, node.member_id, node.reader(), places)
        self.store.judge(node for node in self.members() if node.is_up)
        invariants.grants_fence(self.fleet.facts)
        invariants.registers_are_linearizable(self.fleet.history.history())

    def numbers(self) -> dict[str, float]:
        """How much was done and checked."""
        return {
            "simulated_s": self.now,
            "settle_s": self.settled_s,
            "acked": self.fleet.acked + self.registers.acked,
            "reads_checked": self.fleet.reads,
            "operations": len(self.fleet.history),
            "stale_refused": self.fleet.refused_stale,
            "steps": sum(node.steps for node in self.nodes.values()),
        }

    def events(self) -> dict[str, int]:
        """What happened, so that a test can see that it did."""
        counts = self.nemesis.counts
        return {
            "crashes": counts["crashes"],
            "elections": self.checks.elections,
            "membership_changes": self.checks.membership_changes,
            "faults": sum(counts[kind] for kind in FAULTS),
            "partitions": sum(counts[kind] for kind in PARTITIONS),
            "pauses": counts["pause"],
            "power_losses": counts["power_losses"],
            "renewals": self.admin.counts["renewals"],
            "retries": self.fleet.retried,
            "snapshot_installs": self.checks.installs,
            "snapshots": self.checks.snapshots,
            "state_rebuilds": sum(node.disk.rebuilds for node in self.nodes.values()),
            "takeovers": self.checks.takeovers,
            "torn_tails": sum(node.disk.torn_tails for node in self.nodes.values()),
            "truncations": self.checks.truncations,
            "wipes": counts["wipes"],
            "worker_kills": self.fleet.worker_kills,
            **self.store.events(),
        }

    # -- what network and nodes ask --

    def is_up(self, member_id: MemberId) -> bool:
        """See `network.Ends`."""
        return self.nodes[member_id].is_up

    def arrived(self, link: Link, message: InFlight) -> None:
        """See `network.Ends`."""
        self.nodes[link.target].arrived(link, message)

    def connected(self, link: Link) -> None:
        """See `network.Ends`."""
        self.nodes[link.source].connected(link)

    def disconnected(self, link: Link) -> None:
        """See `network.Ends`."""
        self.nodes[link.source].disconnected(link)

    def stopped(self, node: SimNode) -> None:
        """A process ended."""
        self.network.stopped(node.member_id)
        self.nemesis.stopped(node)


class NotConverged(AssertionError):
    """The cluster did not come to rest within the bound after all was healed."""
