"""What is drawn from the seed: how many trips, and where things happen to them."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

TRIPS = 20
LEGS = ("flight", "hotel", "car")  # the order in which a trip is booked


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Trips are numbered from 0."""

    seed: int
    trips: int
    # known_good: so many trips are in the checkpoint that a validator will vouch for.
    known_good: int
    # stop_trip: in the hotel leg of this trip, or of a later one where it was missed, the
    # active agent is stopped.
    stop_trip: int
    # kill_at: the worker dies while it undoes this one, counted from 1.
    kill_at: int

    @property
    def name(self) -> str:
        """Which demo the plan is of."""
        return "travel"

    def to_dict(self) -> dict[str, Any]:
        """For `plan.json`."""
        return {"demo": self.name, **asdict(self)}


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(f"travel/{seed}")
    known_good = chance.randint(2, 3)
    stop_trip = known_good + chance.randint(4, 5)
    return Plan(
        seed=seed,
        trips=TRIPS,
        known_good=known_good,
        stop_trip=stop_trip,
        kill_at=chance.randint(3, 6),
    )
