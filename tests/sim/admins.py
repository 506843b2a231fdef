"""Administrators: they add, promote, replace and remove members while all else goes on.

Each plan is a script in virtual time that does what an administrator would: start a
machine, ask the leader for the change, ask again while there is no answer, and go on to
the next step only when the one before is known to be done.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Literal, Protocol

from raftstate.core.ports import ChangeKind, LeadershipTransferred, MemberChange
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from tests.sim.checks import Checks
from tests.sim.node import Body, Kind, Request, SimNode, Told, may_lose_a_disk
from tests.sim.tasks import Script, Wait

# How often a step is tried before the plan is given up.
ATTEMPTS = 60
PAUSE_S = 0.3
# How often it is looked whether a member that was removed has gone.
TELLING = 20
ANSWER_S = 2.0
MACHINES_MAX = 9


class Site(Protocol):
    """Where the machines stand: the world."""

    nodes: dict[MemberId, SimNode]
    checks: Checks

    @property
    def voters_min(self) -> int: ...

    def new_machine(self) -> SimNode: ...

    def members(self) -> list[SimNode]: ...


class Admin:
    """One administrator, who has one plan at a time. `closing` ends what is under way."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.closing = False
        self._site = site
        self._rng = rng
        self._busy = False
        self._asked = 0

    def plan(self) -> Script:
        """Something to do, drawn from what makes sense now."""
        if self._busy:
            return
        self._busy = True
        try:
            voters = len(self._site.checks.voters)
            room = len(self._site.nodes) < MACHINES_MAX
            plans = [self._move()]
            plans += [self._grow(), self._replace(), self._try()] if room and voters < 6 else []
            plans += [self._shrink()] if voters > 2 else []
            plans += [self._renew()] * 2 if voters > self._site.voters_min else []
            plans += [self._return()] if voters > self._site.voters_min else []
            plans += [self._rehire(node) for node in self._gone()[:1] if voters < 6]
            yield from self._rng.choice(plans)
        finally:
            self._busy = False

    def _grow(self) -> Script:
        """One more: a learner first, a voter once it has caught up."""
        newcomer = self._site.new_machine()
        newcomer.start()
        added = yield from self._change(ChangeKind.ADD, newcomer.member_id)
        if added:
            yield from self._change(ChangeKind.PROMOTE, newcomer.member_id)

    def _shrink(self) -> Script:
        """One less: whoever it is, the leader included, and learners too."""
        yield from self._change(
            ChangeKind.REMOVE, self._rng.choice(sorted(self._site.checks.named))
        )

    def _try(self) -> Script:
        """One comes to learn, and goes without ever having had a vote."""
        newcomer = self._site.new_machine()
        newcomer.start()
        added = yield from self._change(ChangeKind.ADD, newcomer.member_id)
        if added:
            yield Wait(self._rng.uniform(0.0, 2.0))
            yield from self._change(ChangeKind.REMOVE, newcomer.member_id)

    def _renew(self) -> Script:
        """A voter loses its folder for good, and is replaced under its own name.

        Sometimes its process is started on the new folder before that, as if nothing had
        happened: then it is told to go, and nothing comes of it.
        """
        node = self._site.nodes[self._somebody()]
        if not may_lose_a_disk({*self._site.members(), node}, self._site.voters_min + 1):
            return
        node.lose_folder()
        if self._rng.random() < 0.4:
            node.come_back(join=False)
            yield from self._until_it_is_told(node)
        removed = yield from self._change(ChangeKind.REMOVE, node.member_id, insist=True)
        node.retire()
        if removed:
            yield from self._hire(node, on="another folder")
            self.counts["renewals"] += 1

    def _return(self) -> Script:
        """A member is removed, and comes back: on the folder that it had, or another."""
        node = self._site.nodes[self._somebody()]
        removed = yield from self._change(ChangeKind.REMOVE, node.member_id)
        if removed:
            yield from self._until_it_is_told(node)
            yield from self._rehire(node)

    def _rehire(self, node: SimNode) -> Script:
        """Somebody who was removed comes back, perhaps long after."""
        node.retire()
        if self._rng.random() < 0.3:
            node.lose_folder()
            yield from self._hire(node, on="another folder")
        else:
            yield from self._hire(node, on="its old folder")

    def _hire(
        self, node: SimNode, *, on: Literal["another folder", "its old folder"]
    ) -> Script:
        """Let in a member whose process has ended. From the moment that it was added it
        has to stay: nobody starts it again who was told to go. Only on its old folder it
        may find that it was removed, and needs another."""
        if on == "another folder":
            node.come_back(join=True)
            added = yield from self._change(ChangeKind.ADD, node.member_id, insist=True)
        else:
            added = yield from self._change(ChangeKind.ADD, node.member_id, insist=True)
            node.come_back(join=False)
            yield from self._until_it_is_back(node)
            if added and node.retired:
                node.lose_folder()
                node.come_back(join=True)
        if added:
            yield from self._change(ChangeKind.PROMOTE, node.member_id)

    def _until_it_is_told(self, node: SimNode) -> Script:
        """Wait until a member has gone, or for long enough."""
        for _ in range(TELLING):
            if self.closing or (node.retired and not node.is_up):
                return
            yield Wait(self._rng.uniform(0.2, 1.0) * PAUSE_S)

    def _until_it_is_back(self, node: SimNode) -> Script:
        """Wait until a member has applied that it was added, or has gone."""
        added = self._site.checks.configurations[-1].index
        while not (node.retired or (node.is_up and node.status.applied_index >= added)):
            yield Wait(PAUSE_S)

    def _gone(self) -> list[SimNode]:
        """The machines that were told to go."""
        nodes = [self._site.nodes[member] for member in sorted(self._site.nodes)]
        return [n for n in nodes if n.retired and n.member_id not in self._site.checks.named]

    def _replace(self) -> Script:
        """One goes, and another comes."""
        leaving = self._somebody()
        yield from self._grow()
        yield from self._change(ChangeKind.REMOVE, leaving)

    def _move(self) -> Script:
        """Somebody else shall lead."""
        self.counts["moves"] += 1
        yield from self._ask("transfer", self._rng.choice((None, self._somebody())))

    def _somebody(self) -> MemberId:
        return self._rng.choice(sorted(self._site.checks.voters))

    def _change(self, kind: ChangeKind, member: MemberId, *, insist: bool = False) -> Script:
        """Ask until it is done; say whether it is. Who insists does so to the end of the
        run: a change that is begun must not be left open there."""
        wanted = MemberChange(kind, member, f"{member}:1", f"{member}:2")
        for _ in range(ATTEMPTS * 20 if insist else ATTEMPTS):
            if self.closing and not insist:
                return False
            told = yield from self._ask("change", wanted)
            if isinstance(told, Configuration):
                self.counts[kind.value] += 1
                return True
            yield Wait(self._rng.uniform(0.2, 1.0) * PAUSE_S)
        return False

    def _ask(self, kind: Kind, body: Body) -> Script:
        """Ask whoever seems to lead; what was told, if anything was in time."""
        up = [node for node in self._site.members() if node.is_up]
        leading = [node for node in up if node.status.role == "leader"]
        if not up:
            yield Wait(PAUSE_S)
            return None
        node = self._rng.choice(leading or up)
        self._asked += 1
        wait = Wait(ANSWER_S)
        told: list[Told] = []

        def answer(value: Told) -> None:
            told.append(value)
            wait.give(value)

        request = Request(-self._asked, kind, body, answer)
        node.serve(request)
        yield wait
        if not told:
            node.cancel(request)
            return None
        if isinstance(told[0], LeadershipTransferred):
            self.counts["moved"] += 1
        return told[0]
