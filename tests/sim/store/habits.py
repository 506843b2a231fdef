"""What a seed decides about the clients of the store: who takes part, and how they go on."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class StoreHabits:
    """How many there are of each kind, and how far the knobs are turned."""

    listers: int = 0  # who append to lists in transactions
    bankers: int = 0  # who move money, write groups of keys, and read both
    holders: int = 0  # who hold leases
    authors: int = 0  # who append to free streams
    projectors: int = 0  # who follow all streams, and save how far they are
    archivists: int = 0  # who own agents, and save checkpoints
    travellers: int = 0  # who own agents that act outside
    undoers: int = 0  # who carry out compensations
    medics: int = 0  # who start rollbacks
    callers: int = 0  # who report to breakers
    compactor: bool = False  # somebody forgets history, and repeats the leader's chores
    watch_s: float = 0.0  # how often somebody looks at what changed at each member
    pace_s: float = 1.0
    lease_ttl_ms: int = 1000
    history_keep: int = 0  # revisions that the leader's upkeep leaves; zero: all
    chunk_grace_ms: int = 900_000  # how long an unused chunk stays

    @property
    def anybody(self) -> bool:
        """Whether anybody takes part."""
        clients = self.listers + self.bankers + self.holders + self.authors
        clients += self.projectors + self.archivists + self.travellers + self.callers
        return bool(clients or self.compactor)


NOBODY = StoreHabits()


def draw_store(rng: random.Random) -> StoreHabits:
    """Draw everything. Each kind is away in about half of all runs, so that a run shows
    what a few of them do at length."""

    def some(*numbers: int) -> int:
        chosen = rng.choice(numbers)
        return chosen if rng.random() < 0.5 else 0

    drawn = StoreHabits(
        listers=some(1, 2, 3),
        bankers=some(1, 2),
        holders=some(1, 2, 3),
        authors=some(1, 2),
        projectors=some(1, 2),
        archivists=some(1, 2),
        compactor=rng.random() < 0.4,
        watch_s=rng.choice((0.2, 1.0, 5.0)),
        pace_s=rng.choice((0.3, 0.6, 1.2)),
        lease_ttl_ms=rng.choice((500, 1000, 3000)),
        history_keep=rng.choice((0, 0, 20, 100, 400)),
        chunk_grace_ms=rng.choice((0, 1000, 900_000)),
    )
    if rng.random() < 0.5:
        return drawn
    return replace(
        drawn,
        travellers=rng.choice((1, 2, 3, 4)),
        undoers=rng.choice((1, 2, 3)),
        medics=rng.choice((0, 1, 1, 2)),
        callers=rng.choice((0, 1, 2)),
    )
