"""The schedule of faults: from the seed and nothing else."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import cast

import pytest

from jepsen_like.nemesis.catalogue import NAMES, packages
from jepsen_like.nemesis.schedule import Planned, owners, plan
from jepsen_like.profiles import PROFILES
from jepsen_like.protocols import Control, Package

EVERY = tuple(packages(cast(Control, None), tuple).values())


def schedule(seed: int, seconds: float, pairs: bool = False) -> tuple[Planned, ...]:
    return plan(EVERY, seed, seconds, pairs)


@pytest.mark.parametrize("pairs", [False, True])
def test_same_seed_same_schedule(pairs: bool) -> None:
    """
    Drawn twice it is the same, whatever else was drawn in between; another seed's differs.
    """
    first = schedule(7, 140, pairs)
    random.random()
    assert schedule(7, 140, pairs) == first
    assert schedule(8, 140, pairs) != first


@pytest.mark.parametrize("seed", range(20))
def test_the_shortest_profile_has_room_for_every_kind(seed: int) -> None:
    """
    Every kind of fault of every family comes at least once in the profile for CI.
    """
    found = Counter(one.fault.kind for one in schedule(seed, PROFILES["ci"].time_s))
    assert set(found) == set(owners(EVERY))


@pytest.mark.parametrize("seed", range(20))
def test_faults_of_one_lane_do_not_overlap_and_none_outlasts_the_phase(seed: int) -> None:
    """
    Each begins a gap after the one before it has ended.
    """
    planned = schedule(seed, 140)
    ends = [one.at + one.fault.seconds for one in planned]
    assert all(later.at - end > 1.4 for end, later in zip(ends[:-1], planned[1:], strict=True))
    assert ends[-1] <= 140


def test_pairs_are_faults_at_one_time() -> None:
    """
    With pairs something else begins while a fault is there, and they stay in order.
    """
    planned = schedule(3, 300, pairs=True)
    assert list(planned) == sorted(planned, key=lambda one: one.at)
    overlaps = [
        (one, other)
        for one, other in pairwise(planned)
        if other.at < one.at + one.fault.seconds
    ]
    assert len(overlaps) > 10


def test_every_package_has_kinds_of_its_own() -> None:
    """
    No kind belongs to two packages: who proves it would be a matter of luck.
    """
    kinds = [kind for package in EVERY for kind in package.kinds]
    assert len(set(kinds)) == len(kinds)
    assert {package.name for package in EVERY} == set(NAMES)


def test_no_packages_no_faults() -> None:
    """
    A run without nemeses has an empty schedule.
    """
    none: tuple[Package, ...] = ()
    assert plan(none, 1, 100) == ()
