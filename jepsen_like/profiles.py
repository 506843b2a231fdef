"""Named runs: how long, how many nodes, and what is asked of the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Profile:
    """`time_s` is how long faults come and go; starting, healing, the final reads and the
    verdicts come on top. With `pairs`, a second fault of another family may begin while
    one is under way. `without` are workloads that come only by name."""

    time_s: float
    what_for: str
    pairs: bool = False
    without: frozenset[str] = frozenset()


PROFILES: Final[Mapping[str, Profile]] = {
    # Ten workloads at once are more than two cores carry: each of them starves then.
    "ci": Profile(
        140.0,
        "three minutes in all; every kind of fault about once",
        without=frozenset({"saga", "rollback"}),
    ),
    "soak": Profile(840.0, "fifteen minutes in all; two faults at once", pairs=True),
    "release": Profile(3_420.0, "an hour in all; two faults at once", pairs=True),
}
