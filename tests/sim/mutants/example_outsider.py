"""A bug as somebody else would plant it: scripts/simulate --mutant FILE."""

from __future__ import annotations

from raftstate.consensus import rules
from tests.sim.mutants.seam import Patch


def plant(patch: Patch) -> None:
    """Half of the voters, rounded down, decide."""

    def majority(voters: int) -> int:
        return voters // 2

    patch.replace(rules, "majority", majority)
