"""The nemesis: what goes wrong, when, for how long; all of it drawn.

Every fault undoes itself after a while, and `heal` undoes what is left. Faults
overlap. Now and then one is aimed at the leader, which is where most bugs live.

`Scripted` does what a story says instead: a list of strikes, each in plain words.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from raftstate.core.ports import StorageError
from raftstate.core.types import MemberId
from tests.sim.admins import Admin
from tests.sim.clients import Fleet
from tests.sim.disk import SimulatedCrash
from tests.sim.network import Link, Network
from tests.sim.node import SimNode, may_lose_a_disk
from tests.sim.options import FAULTS, Options

TRAPS = (
    "log.before",
    "log.written",
    "log.after",
    "state.before",
    "state.after",
    "adopt.before",
    "adopt.after",
)
PARTITIONS = ("split", "isolate", "depose", "one_way")


class Patient(Protocol):
    """What the nemesis works on: the world."""

    options: Options
    nodes: dict[MemberId, SimNode]
    network: Network
    fleet: Fleet
    admin: Admin

    def members(self) -> list[SimNode]: ...

    @property
    def now(self) -> float: ...

    def after(self, seconds: float, action: Callable[[], None]) -> None: ...

    def trace(self, *facts: object) -> None: ...


class Nemesis:
    """Does harm until it is told to heal."""

    def __init__(self, world: Patient, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._world = world
        self._rng = rng
        self._active = True
        self._kinds = world.options.faults
        self._weights = [FAULTS[kind] for kind in self._kinds]

    def begin(self) -> None:
        """Plan the first fault, early enough for every run to have one."""
        self._world.after(self._rng.uniform(1.0, 3.0), self._strike)

    def heal(self) -> None:
        """Stop, and undo everything."""
        self._active = False
        self._world.network.heal()
        for node in self._nodes():
            node.disk.trap = None
            node.disk.commit_s = min(node.disk.commit_s, self._world.options.commit_s)
            node.disk.spike_s = 0.0
            node.disk.copy_fails = 0.0
            node.paused_until = 0.0
            node.wake(0.0)
            node.start()

    def stopped(self, node: SimNode) -> None:
        """A member is down, for whatever reason: it comes back in a while."""
        node.restart_due += 1
        due = node.restart_due
        away_s = self._away_s() if self._active else 0.05
        self._world.after(away_s, lambda: self._restart(node, due))

    def _away_s(self) -> float:
        """How long a member that went down stays so."""
        return self._rng.uniform(0.02, 2 * self._world.options.fault_len_s)

    def _restart(self, node: SimNode, due: int) -> None:
        if node.restart_due == due:
            node.start()

    # -- drawing --

    def _strike(self) -> None:
        if not self._active:
            return
        kind = self._rng.choices(self._kinds, self._weights)[0]
        self._inflict(kind, self._rng.uniform(0.1, 2 * self._world.options.fault_len_s))
        gap = self._rng.expovariate(1.0 / self._world.options.fault_gap_s)
        self._world.after(min(gap, 10.0), self._strike)

    def _inflict(self, kind: str, seconds: float) -> None:
        self.counts[kind] += 1
        self._world.trace("fault", kind)
        getattr(self, f"_{kind}")(seconds)

    def _nodes(self) -> list[SimNode]:
        """The machines that are in use, members or not (yet)."""
        return [node for node in self._world.nodes.values() if not node.retired]

    def _victim(self) -> SimNode:
        """The leader, more often than not; otherwise anybody."""
        leaders = [
            node for node in self._nodes() if node.is_up and node.status.role == "leader"
        ]
        if leaders and self._rng.random() < 0.65:
            return self._rng.choice(leaders)
        return self._rng.choice(self._nodes())

    # -- the network --

    def _cut(self, links: list[Link], seconds: float) -> None:
        network = self._world.network
        for link in links:
            network.cut(link)

        def mend() -> None:
            for link in links:
                network.mend(link)

        self._world.after(seconds, mend)

    def _cut_between(self, group: set[MemberId], seconds: float) -> None:
        """Cut a group off from everybody else."""
        links = self._world.network.links
        apart = [link for link in links if (link.source in group) != (link.target in group)]
        self._cut(apart, seconds)

    def _split(self, seconds: float) -> None:
        """Two groups that do not hear each other."""
        members = [node.member_id for node in self._nodes()]
        self._rng.shuffle(members)
        self._cut_between(set(members[: self._rng.randint(1, len(members) - 1)]), seconds)

    def _isolate(self, seconds: float) -> None:
        """One member that nobody hears, and that hears nobody."""
        victim = self._victim().member_id
        links = self._world.network.links
        self._cut([link for link in links if victim in (link.source, link.target)], seconds)

    def _depose(self, seconds: float) -> None:
        """The leader with less than half, for long enough that the others elect another:
        for a while there are two, and the old one must answer nothing."""
        leader = self._victim().member_id
        others = [n.member_id for n in self._nodes() if n.member_id != leader]
        self._rng.shuffle(others)
        far = set(others[self._rng.randint(0, max(0, len(others) // 2 - 1)) :])
        self._cut_between(far, seconds + 2 * self._world.options.election_max_s)

    def _one_way(self, seconds: float) -> None:
        """Links that work in one direction only."""
        victim = self._victim().member_id
        links = self._world.network.links
        pick = self._rng.randrange(3)
        if pick == 0:
            chosen = [link for link in links if link.source == victim]
        elif pick == 1:
            chosen = [link for link in links if link.target == victim]
        else:
            chosen = self._rng.sample(links, self._rng.randint(1, len(links) // 2))
        self._cut(chosen, seconds)

    def _stall(self, seconds: float) -> None:
        """Links that hold everything back, then deliver all of it."""
        links = self._world.network.links
        for link in self._rng.sample(links, self._rng.randint(1, len(links))):
            self._world.network.stall(link, min(seconds, 3.0))

    # -- processes and machines --

    def _crash(self, seconds: float) -> None:
        """One process gets a kill -9."""
        self._down(self._victim(), power=False)

    def _power(self, seconds: float) -> None:
        """One machine loses its power."""
        self._down(self._victim(), power=True)

    def _down(self, node: SimNode, *, power: bool) -> None:
        if node.is_up:
            self.counts["power_losses" if power else "crashes"] += 1
            node.crash(power=power)

    def _wipe(self, seconds: float) -> None:
        """One member loses its disk, and comes back under its name on an empty one.

        At the worst moment: just under half of the others are kept behind, somebody who
        was not loses its disk, and then these meet without whoever is ahead. Together
        they are a majority, and none of them holds what was committed last.
        """
        leader = self._victim()
        others = [node for node in self._nodes() if node is not leader]
        self._rng.shuffle(others)
        half = len(others) // 2
        behind = {node.member_id for node in others[:half]}
        self._cut_between(behind, seconds)
        meeting = behind | {others[half].member_id}
        apart_s = self._rng.uniform(1, 3) * self._world.options.election_max_s

        def lose() -> None:
            if self._active and self._lose_disk(others[half]):
                self._cut_between(meeting, apart_s)

        self._world.after(seconds, lose)

    def _lose_disk(self, node: SimNode) -> bool:
        """One member loses its disk, if that can be survived."""
        if not may_lose_a_disk({*self._world.members(), node}, 3):
            return False
        self._down(node, power=True)
        node.disk.wipe()
        self.counts["wipes"] += 1
        self._world.after(self._rng.uniform(0.0, 0.2), node.start)
        return True

    def _blackout(self, seconds: float) -> None:
        """Every machine loses its power, within 50 ms."""
        self._all_down(power=True)

    def _kill_all(self, seconds: float) -> None:
        """Every process is killed, within 50 ms."""
        self._all_down(power=False)

    def _all_down(self, *, power: bool) -> None:
        for node in self._nodes():
            delay = self._rng.uniform(0.0, 0.05)
            self._world.after(delay, lambda node=node: self._down(node, power=power))  # type: ignore[misc]

    def _trap(self, seconds: float) -> None:
        """The next time a process reaches a chosen place, it ends there."""
        node = self._victim()
        if node.is_up:
            node.disk.trap = (self._rng.choice(TRAPS), SimulatedCrash())

    def _disk_error(self, seconds: float) -> None:
        """A write or a sync fails: the process must stop, and release nothing."""
        node = self._victim()
        if node.is_up:
            point = self._rng.choice(("log.before", "log.written", "state.before"))
            node.disk.trap = (point, StorageError("the disk says no"))

    def _orderly(self, seconds: float) -> None:
        """A process is stopped as an operator would: it hands over, then goes."""
        node = self._victim()
        if node.is_up:
            node.put(lambda replica: replica.hand_over())
            self._world.after(self._rng.uniform(0.0, 0.3), node.stop)

    def _pause(self, seconds: float) -> None:
        """A process stands still."""
        self._victim().pause(min(seconds, 4.0))

    def _slow_disk(self, seconds: float) -> None:
        """Commits take long on one member."""
        disk, usual = self._victim().disk, self._world.options.commit_s
        disk.commit_s = self._rng.choice((0.01, 0.05, 0.3))

        def recover() -> None:
            disk.commit_s = usual

        self._world.after(seconds, recover)

    def _stuck_disk(self, seconds: float) -> None:
        """One commit takes very long, as when a device is reset or a queue is full."""
        self._victim().disk.spike_s = self._rng.uniform(0.5, 3.0)

    # -- administrators and clients --

    def _membership(self, seconds: float) -> None:
        """Somebody joins, leaves, is replaced or leads."""
        self._world.fleet.spawn(self._world.admin.plan())

    def _kill_worker(self, seconds: float) -> None:
        """An agent process is killed."""
        self._world.fleet.kill_one()


# --- stories -----------------------------------------------------------------


class Strike(NamedTuple):
    """One fault of a story. The victim is a member, or whoever leads then."""

    at_s: float
    kind: str
    victim: str
    seconds: float

    def words(self) -> str:
        """What happens, for people."""
        return f"at {self.at_s:g} s: {WORDS[self.kind].format(self.victim, self.seconds)}"


# What each kind of fault does to its victim {0}, for {1} seconds.
WORDS = {
    "split": "the cluster splits in two groups for {1:g} s",
    "isolate": "{0} is cut off from everybody for {1:g} s",
    "depose": "{0} keeps less than half of the others for {1:g} s and two elections",
    "one_way": "links work in one direction only, some of {0}'s, for {1:g} s",
    "stall": "links hold everything back for {1:g} s",
    "crash": "{0} is killed, and is back after {1:g} s",
    "trap": "{0} ends in the middle of a step, and is back after {1:g} s",
    "power": "{0} loses its power, and is back after {1:g} s",
    "wipe": "somebody beside {0} loses its disk, while others were kept behind for {1:g} s",
    "blackout": "everybody loses power, and is back after {1:g} s",
    "kill_all": "everybody is killed, and is back after {1:g} s",
    "pause": "{0} stands still for {1:g} s",
    "slow_disk": "{0} has a slow disk for {1:g} s",
    "stuck_disk": "one commit of {0} takes seconds",
    "disk_error": "a write or a sync of {0} fails; it is back after {1:g} s",
    "orderly": "{0} is stopped in an orderly way, and is back after {1:g} s",
    "kill_worker": "an agent process is killed",
    "membership": "an administrator changes who is in the cluster",
}


def told(story: Sequence[Strike]) -> str:
    """A story in words, one line a strike."""
    in_order = sorted(story, key=lambda strike: strike.at_s)
    return "\n".join(["the story:", *(f"  {strike.words()}" for strike in in_order)])


class Scripted(Nemesis):
    """Does what a story says, and nothing else.

    What a strike leaves open is drawn from the strike itself, so that it does the same
    in a story from which others were taken out.
    """

    def __init__(self, world: Patient, story: Sequence[Strike]) -> None:
        super().__init__(world, random.Random(0))
        self._story = story
        self._now: Strike | None = None

    def begin(self) -> None:
        """Plan every strike."""
        for strike in self._story:
            self._world.after(strike.at_s, lambda strike=strike: self._do(strike))  # type: ignore[misc]

    def _do(self, strike: Strike) -> None:
        if self._active:
            self._now = strike
            self._rng = random.Random(repr(strike))
            self._inflict(strike.kind, strike.seconds)

    def _away_s(self) -> float:
        return self._now.seconds if self._now is not None else 0.05

    def _victim(self) -> SimNode:
        nodes = self._nodes()
        assert self._now is not None, "nothing strikes outside a story"
        if self._now.victim == "the leader":
            leaders = [node for node in nodes if node.is_up and node.status.role == "leader"]
            return max(leaders, key=lambda node: node.status.term, default=nodes[0])
        return self._world.nodes[MemberId(self._now.victim)]
