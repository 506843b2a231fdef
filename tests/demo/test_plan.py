"""The plan: what a seed decides, and what no seed may do."""

from __future__ import annotations

import random

import pytest

from raftstate.examples.census.plan import AGENT_KILL, KINDS, LEADER_KILL, PAUSE, draw

_RNG = random.Random(7)
SIZES = [_RNG.randint(100, 200_000) for _ in range(1_790)]
SEEDS = range(200)


def test_the_same_seed_draws_the_same_plan() -> None:
    """
    Otherwise no seed means anything; and seeds differ, or there is no point in them.
    """
    assert draw(42, SIZES) == draw(42, SIZES)
    assert len({draw(seed, SIZES).strikes for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("files", [60, 80, 600, 1_790])
def test_every_plan_has_every_strike_in_order_and_within_the_run(files: int) -> None:
    """
    Three agents, two leaders, one pause; counts grow; the end is left in peace.
    """
    for seed in SEEDS:
        strikes = draw(seed, SIZES[:files]).strikes
        counts = [strike.at for strike in strikes]
        assert sorted(strike.kind for strike in strikes) == sorted(KINDS)
        assert counts == sorted(set(counts))
        assert counts[0] > 0 and counts[-1] < files * 0.9
        assert [strike.number for strike in strikes] == list(range(len(KINDS)))


def test_the_second_leader_leaves_the_first_time_to_fall_behind_and_come_back() -> None:
    """
    Between two leaders lie another strike and more entries than the log keeps, twice.
    """
    for seed in SEEDS:
        plan = draw(seed, SIZES)
        first, second = (strike for strike in plan.strikes if strike.kind == LEADER_KILL)
        assert second.number > first.number + 1
        assert second.at - first.at > 2 * plan.log_entries + plan.keep_entries


def test_the_pause_falls_on_a_large_file() -> None:
    """
    The file that is next when the agent freezes is one of the three largest nearby.
    """
    for seed in SEEDS:
        (pause,) = (s for s in draw(seed, SIZES).strikes if s.kind == PAUSE)
        assert SIZES[pause.at] > 100_000


def test_kinds_come_in_every_place() -> None:
    """
    The seed decides on the order too: any kind may be first, and last.
    """
    plans = [draw(seed, SIZES).strikes for seed in SEEDS]
    for place in (0, -1):
        assert {plan[place].kind for plan in plans} == {AGENT_KILL, LEADER_KILL, PAUSE}


def test_too_few_files_are_refused() -> None:
    """
    Strikes that fall on each other would prove nothing.
    """
    with pytest.raises(ValueError, match="at least 60"):
        draw(1, SIZES[:59])
