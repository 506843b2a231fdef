"""When which fault begins and ends: drawn from a seed before the run, and from nothing else.

Every kind comes once, in an order that the seed draws, and then again in another order,
for as long as there is time. So a run that is long enough has seen all of them, and two
runs with one seed have the same schedule.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jepsen_like.protocols import Fault, Package

# Between the end of one fault, when the cluster serves again, and the beginning of the next.
GAP_S: Final = (1.5, 2.5)
# Families that never wait for the cluster, and signal no node: they can go beside others.
BESIDE: Final = frozenset({"partition", "clock", "pause-clients"})


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: when it begins, in seconds since the faults' phase began. One that takes
    longer than was drawn delays those after it. `beside` is whether it goes its own way,
    beside other faults."""

    at: float
    fault: Fault
    beside: bool = False


def plan(
    packages: Sequence[Package], seed: int, seconds: float, pairs: bool = False
) -> tuple[Planned, ...]:
    """The faults of a phase of so many seconds, in the order in which they begin. None ends
    after it; the first begins after one gap, so that there is something to compare with.

    With `pairs`, harm to links, clocks and clients comes and goes beside harm to nodes,
    on its own schedule, so that two faults are often there at once."""
    if not pairs:
        return _lane(packages, random.Random(f"{seed}:schedule"), seconds)
    lanes = (
        _lane(
            [package for package in packages if (package.name in BESIDE) is beside],
            random.Random(f"{seed}:schedule:{beside}"),
            seconds,
            beside,
        )
        for beside in (False, True)
    )
    return tuple(sorted((one for lane in lanes for one in lane), key=lambda one: one.at))


def _lane(
    packages: Sequence[Package], draws: random.Random, seconds: float, beside: bool = False
) -> tuple[Planned, ...]:
    """One fault after another."""
    planned: list[Planned] = []
    at = draws.uniform(*GAP_S)
    for package, kind in _kinds(packages, draws):
        fault = package.draw(kind, draws)
        if at + fault.seconds > seconds:
            break
        planned.append(Planned(round(at, 3), fault, beside))
        at += fault.seconds + draws.uniform(*GAP_S)
    return tuple(planned)


def owners(packages: Sequence[Package]) -> Mapping[str, Package]:
    """The package of each kind of fault."""
    return {kind: package for package in packages for kind in package.kinds}


def _kinds(packages: Sequence[Package], draws: random.Random) -> Iterator[tuple[Package, str]]:
    """All kinds in a drawn order, again and again; never the same one twice in a row."""
    kinds = [(package, kind) for package in packages for kind in package.kinds]
    last: str | None = None
    while kinds:
        draws.shuffle(kinds)
        if len(kinds) > 1 and kinds[0][1] == last:
            kinds.append(kinds.pop(0))
        yield from kinds
        last = kinds[-1][1]
