"""Who may vote, for whom, and how votes are counted."""

from __future__ import annotations

from collections.abc import Collection

from raftstate.consensus import rules
from raftstate.consensus.adapter import Engine
from raftstate.core.ports import HardState
from raftstate.core.types import MemberId, Position, Term
from tests.sim import invariants
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="one_leader_a_term", schedule="a_vote_that_arrives_twice")
def count_votes_per_message(patch: Patch) -> None:
    """A candidate counts granted votes, not voters. Connections deliver nothing twice, so
    no random run shows it: in the schedule every message of one link arrives twice."""
    real = Engine._count_vote

    def count_vote(self: Engine, voter: MemberId, disk_id: str) -> None:
        assert self._campaign is not None, "a vote without a campaign"
        votes = self._campaign.votes
        if voter in votes:
            votes[MemberId(f"{voter}, vote {len(votes)}")] = disk_id
        real(self, voter, disk_id)

    def wins(
        voters: Collection[MemberId], votes: Collection[MemberId], *, settled: bool
    ) -> bool:
        return len(votes) >= (rules.majority(len(voters)) if settled else len(voters))

    patch.replace(Engine, "_count_vote", count_vote)
    patch.replace(rules, "wins", wins)


@mutant(
    expects="one_leader_a_term leader_completeness committed_is_kept",
    known=6,
    schedule="a_candidate_that_lacks_an_entry",
)
def vote_for_everybody(patch: Patch) -> None:
    """Members vote for whoever asks, and nobody looks at their disks: two leaders in a
    term, or one that lacks what was committed."""

    def grants_vote(
        mine: HardState, term: Term, candidate: MemberId, its_last: Position, my_last: Position
    ) -> bool:
        return True

    def grants_pre_vote(
        my_term: Term, campaign_term: Term, its_last: Position, my_last: Position, *, led: bool
    ) -> bool:
        return True

    patch.replace(rules, "grants_vote", grants_vote)
    patch.replace(rules, "grants_pre_vote", grants_pre_vote)
    patch.silence(invariants, "justified", "votes_once", "elected_by_voters")


@mutant(expects="converged", known=1)
def never_campaign(patch: Patch) -> None:
    """Nobody asks for votes: nothing unsafe ever happens, and the bound on liveness
    finds it."""

    def canvass(self: Engine, *, pre: bool, transfer: bool) -> None:
        return None

    patch.replace(Engine, "_canvass", canvass)
