"""Who counts: members only, and none that has forgotten what it said."""

from __future__ import annotations

from collections.abc import Collection
from weakref import WeakKeyDictionary

from raftstate.consensus import rules
from raftstate.consensus.adapter import Engine
from raftstate.consensus.feeding import Feeding
from raftstate.consensus.membership import Membership
from raftstate.core.types import Index, MemberId
from tests.sim import invariants
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


def _quarantine_nobody(patch: Patch) -> None:
    def quarantined(self: Engine) -> bool:
        return False

    def may_elect(*, settled: bool, candidate_settled: bool) -> bool:
        return True

    patch.replace(Engine, "quarantined", quarantined)
    patch.replace(rules, "may_elect", may_elect)


@mutant(expects="quarantined_is_silent", known=1)
def let_a_quarantined_node_vote(patch: Patch) -> None:
    """A member that found damage and began its log anew votes at once, though it has
    forgotten what it acknowledged. Found when its vote leaves."""
    _quarantine_nobody(patch)


@mutant(expects="one_leader_a_term leader_completeness log_matching committed_is_kept", known=2)
def let_a_quarantined_node_vote_unheard(patch: Patch) -> None:
    """The same, with nobody looking at what it sends: found by what it forgot, a leader
    that lacks what was committed."""
    _quarantine_nobody(patch)
    patch.silence(invariants, "quarantined_is_silent")


@mutant(
    expects="committed_is_the_same leader_completeness log_matching durable_on_a_quorum",
    schedule="a_quarantined_node_meets_a_deposed_leader",
)
def let_a_quarantined_node_count(patch: Patch) -> None:
    """What such a member acknowledges counts at once, for whoever leads it: a deposed
    leader commits with it. Too rare for random runs: everything must meet within one
    election timeout."""

    def matches(self: Feeding) -> dict[MemberId, Index]:
        return {peer: progress.match for peer, progress in self.progress.items()}

    patch.replace(Feeding, "matches", matches)


@mutant(
    expects="elected_by_voters one_leader_a_term leader_completeness",
    schedule="a_removed_member_that_does_not_know",
)
def let_a_removed_member_vote(patch: Patch) -> None:
    """A candidate asks everybody who ever was a voter in its log, and counts whoever says
    yes. A member that was removed, and was cut off when it was, still says yes."""
    note = Membership._note_current
    ever: WeakKeyDictionary[Membership, set[MemberId]] = WeakKeyDictionary()

    def note_current(self: Membership) -> None:
        note(self)
        ever.setdefault(self, set()).update(self.voters)

    def other_voters(self: Membership) -> list[MemberId]:
        return sorted(ever[self] - {self._me})

    def wins(
        voters: Collection[MemberId], votes: Collection[MemberId], *, settled: bool
    ) -> bool:
        return len(votes) >= (rules.majority(len(voters)) if settled else len(voters))

    patch.replace(Membership, "_note_current", note_current)
    patch.replace(Membership, "other_voters", other_voters)
    patch.replace(rules, "wins", wins)
