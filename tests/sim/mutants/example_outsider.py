"""A bug as somebody else would plant it: scripts/simulate --mutant FILE."""

from __future__ import annotations

from raftstate.consensus import rules
from raftstate.core.types import Position
from tests.sim.mutants.seam import Patch


def plant(patch: Patch) -> None:
    """Voters compare how long logs are, and not of which term they end."""

    def up_to_date(candidate: Position, mine: Position) -> bool:
        return candidate.index >= mine.index

    patch.replace(rules, "up_to_date", up_to_date)
