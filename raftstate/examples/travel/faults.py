"""How a service lets its callers down: late, not at all, or after having acted.

Everything is drawn from the seed and the number of the request, so that a run has as
many of each as the next one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

NOTHING: Final = ""
BUSY: Final = "busy"  # 503, and nothing was done
LOST: Final = "lost"  # done, and the caller hears nothing

BOOKINGS_PERIOD: Final = 6
CANCELS_PERIOD: Final = 5
LATENCY_S: Final = (0.005, 0.03)


@dataclass(slots=True)
class Faults:
    """What happens to the requests of one service."""

    seed: int
    service: str
    down: bool = False
    _bookings: int = 0
    _cancels: int = 0

    def booking(self) -> str:
        """What becomes of the next booking."""
        self._bookings += 1
        fault = self._drawn("book", self._bookings, BOOKINGS_PERIOD)
        return BUSY if self.down else fault

    def cancel(self) -> str:
        """What becomes of the next cancellation: these go on while bookings are down."""
        self._cancels += 1
        return self._drawn("cancel", self._cancels, CANCELS_PERIOD)

    def latency(self) -> float:
        """How long the next request takes, in seconds."""
        return random.Random(
            f"{self.service}/{self.seed}/{self._bookings + self._cancels}"
        ).uniform(*LATENCY_S)

    def _drawn(self, kind: str, number: int, period: int) -> str:
        """One of each in every period, at places that the seed says."""
        turn, place = divmod(number - 1, period)
        chance = random.Random(f"{self.service}/{self.seed}/{kind}/{turn}")
        busy, lost = chance.sample(range(period), 2)
        return {busy: BUSY, lost: LOST}.get(place, NOTHING)
