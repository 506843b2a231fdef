"""Administrators: they add, promote, replace and remove members while all else goes on.

Each plan is a script in virtual time that does what an administrator would: start a
machine, ask the leader for the change, ask again while there is no answer, and go on to
the next step only when the one before is known to be done.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Protocol

from raftstate.core.ports import ChangeKind, LeadershipTransferred, MemberChange
from raftstate.core.types import MemberId
from raftstate.v1.membership_pb2 import Configuration
from tests.sim import invariants
from tests.sim.node import Body, Kind, Request, SimNode, Told
from tests.sim.tasks import Script, Wait

# How often a step is tried before the plan is given up.
ATTEMPTS = 60
PAUSE_S = 0.3
ANSWER_S = 2.0
MACHINES_MAX = 9


class Site(Protocol):
    """Where the machines stand: the world."""

    nodes: dict[MemberId, SimNode]
    checks: invariants.Checks

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
            plans += [self._grow(), self._replace()] if room and voters < 6 else []
            plans += [self._shrink()] if voters > 2 else []
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
        """One less: whoever it is, the leader included."""
        yield from self._change(ChangeKind.REMOVE, self._somebody())

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

    def _change(self, kind: ChangeKind, member: MemberId) -> Script:
        """Ask until it is done; say whether it is."""
        wanted = MemberChange(kind, member, f"{member}:1", f"{member}:2")
        for _ in range(ATTEMPTS):
            if self.closing:
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
