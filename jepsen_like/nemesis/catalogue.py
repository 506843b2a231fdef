"""All packages, by name, and what proves the faults of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, cast

from jepsen_like.nemesis import clock, laggard, partitions, power, processes
from jepsen_like.protocols import Control, Package, Window

# The process ids of clients that run in processes of their own.
Pids = Callable[[], Sequence[int]]


def packages(
    control: Control, pids: Pids, ripe: Callable[[], bool] = lambda: True
) -> dict[str, Package]:
    """Every package, by name, for one cluster. `ripe` is whether to stop these clients now
    could do harm."""
    every: Sequence[Package] = (
        processes.Kill(control),
        processes.Pause(control),
        processes.PauseClients(pids, ripe),
        processes.Restart(control),
        partitions.Partition(control),
        laggard.Laggard(control),
        power.Power(control),
        clock.Clock(control),
    )
    return {package.name: package for package in every}


# What faults are and what proves them are pure: no cluster is asked.
_ALL: Final = packages(cast(Control, None), tuple)
NAMES: Final = tuple(_ALL)
EVIDENCE: Final[Mapping[str, Callable[[Window], str | None]]] = {
    kind: package.evidence for package in _ALL.values() for kind in package.kinds
}


def packages_of(kinds: Iterable[str]) -> tuple[str, ...]:
    """The names of the packages that have these kinds of faults. Raises KeyError for a
    kind that none has."""
    owner = {kind: name for name, package in _ALL.items() for kind in package.kinds}
    return tuple(dict.fromkeys(owner[kind] for kind in kinds))
