"""What will be killed, and when: drawn from a seed, before anything runs.

Six strikes: three agents die, two leaders die, one agent freezes. Each falls at a
count of files done. They are spread over the run so that each finds the cluster
whole again; what follows on what is left to the seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

AGENT_KILL = "agent_kill"
LEADER_KILL = "leader_kill"
PAUSE = "pause"
KINDS = [AGENT_KILL, AGENT_KILL, AGENT_KILL, LEADER_KILL, LEADER_KILL, PAUSE]

FILES_MIN = 60  # fewer leave no room between the strikes
FIRST, LAST = 0.06, 0.88  # the part of the run in which strikes fall
SPREAD = 0.6  # of its slot: what is left is the least distance to the next


@dataclass(frozen=True, slots=True)
class Strike:
    """One planned event: it falls as soon as `at` files are done."""

    number: int
    kind: str
    at: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the seed decides, and what follows from the number of files."""

    seed: int
    files: int
    strikes: tuple[Strike, ...]
    log_entries: int
    keep_entries: int

    def to_dict(self) -> dict[str, Any]:
        """As `plan.json` holds it."""
        return {**asdict(self), "strikes": [asdict(strike) for strike in self.strikes]}


def draw(seed: int, sizes: Sequence[int]) -> Plan:
    """The plan of a seed for files of these sizes; the same arguments, the same plan.

    The log is cut often enough that a leader which stays down falls behind its
    beginning well before the next leader is killed.
    """
    files = len(sizes)
    if files < FILES_MIN:
        raise ValueError(f"{files} files are too few: a census takes at least {FILES_MIN}")
    rng = random.Random(seed)
    kinds = _order(rng)
    slot = files * (LAST - FIRST) / len(kinds)
    strikes = []
    for number, kind in enumerate(kinds):
        start = int(files * FIRST + number * slot)
        window = range(start, start + max(1, int(slot * SPREAD)))
        at = _during_long_work(rng, window, sizes) if kind == PAUSE else rng.choice(window)
        strikes.append(Strike(number, kind, at))
    return Plan(
        seed=seed,
        files=files,
        strikes=tuple(strikes),
        log_entries=max(8, files // 16),
        keep_entries=max(4, files // 80),
    )


def _order(rng: random.Random) -> list[str]:
    """Which strike follows which: never two leaders in a row, since the first needs
    time to fall behind and come back."""
    kinds = list(KINDS)
    while True:
        rng.shuffle(kinds)
        first = kinds.index(LEADER_KILL)
        if kinds[first + 1 :].index(LEADER_KILL) > 0:
            return kinds


def _during_long_work(rng: random.Random, window: range, sizes: Sequence[int]) -> int:
    """A count at which one of the window's largest files is next, so that the agent
    freezes in the middle of a step, and not between two."""
    return rng.choice(sorted(window, key=lambda index: -sizes[index])[:3])
