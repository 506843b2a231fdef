"""The agent's state: what is booked, and what comes next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from raftstate.examples.travel.plan import LEGS

BOOKED, CALLED_OFF = "booked", "called-off"

Booking = dict[str, Any]


@dataclass(slots=True)
class Itinerary:
    """Every booking so far, in order: its trip, its leg, and the key it was made under."""

    booked: list[Booking] = field(default_factory=list)
    called_off: bool = False

    @property
    def trips(self) -> int:
        """How many trips are complete: all but at most one that have a booking."""
        return len(self.booked) // len(LEGS)

    @property
    def missing(self) -> list[str]:
        """The legs that the next trip still lacks."""
        have = {one["leg"] for one in self.booked if one["trip"] == self.trips}
        return [leg for leg in LEGS if leg not in have]

    def after(self, kind: str, data: dict[str, Any]) -> Itinerary:
        """The state after an event of a kind."""
        if kind == CALLED_OFF:
            return Itinerary([*self.booked], called_off=True)
        return Itinerary([*self.booked, booking(data)], self.called_off)

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def booking(data: dict[str, Any]) -> Booking:
    """What the state keeps of a `booked` event."""
    return {name: data[name] for name in ("trip", "leg", "key")}
