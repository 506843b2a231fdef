"""The whole cluster, in one thread, on virtual time, under faults.

`RAFTSTATE_SEED=0x2a` runs that seed instead of fresh ones.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from collections import Counter

import pytest

from tests.sim import regressions
from tests.sim.__main__ import main
from tests.sim.invariants import Violation
from tests.sim.regressions import Case
from tests.sim.runs import Run, run_all
from tests.sim.world import World

FRESH = 10


def fresh_seeds() -> list[int]:
    """The seed asked for, or so many that nobody has tried."""
    if chosen := os.environ.get("RAFTSTATE_SEED"):
        return [int(chosen, 0)]
    # Workers of one run, if there are several, must draw the same.
    rng = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex())
    return [rng.getrandbits(32) for _ in range(FRESH)]


PINNED = regressions.load()
# What takes several clients that not every seed has: together they are common. That each
# of them is there at all, `test_undoing.py` sees in a world that is full of them.
RARE = frozenset(
    {
        *("store_group_rollbacks", "store_late_originals", "store_trips", "store_trips_back"),
        *("store_rollbacks", "store_rollbacks_finished", "store_rollbacks_aborted"),
        *("store_decided", "store_reconciled", "store_compensated", "store_probes"),
    }
)
FRESH_CASES = [Case(seed) for seed in fresh_seeds()]
CASES = PINNED + FRESH_CASES


@pytest.fixture(scope="module")
def runs() -> dict[Case, Run]:
    """All cases, on all cores."""
    return dict(run_all(CASES, min(2, os.cpu_count() or 1)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_faults_break_nothing_and_healing_fixes_everything(
    runs: dict[Case, Run], case: Case
) -> None:
    """
    Safety under faults, then liveness after them: for fresh seeds, and again for every
    seed of `regressions.txt`.

    Method: draw a cluster, its clients and its faults from the seed; check every
    invariant after every step of every member; heal; demand convergence within a
    bound; then compare what members hold with what clients were told, and judge what
    clients were told by itself.
    """
    assert not runs[case].wrong, runs[case].report


def test_the_runs_were_worth_something(runs: dict[Case, Run]) -> None:
    """
    What should be rare in production was common here: otherwise a pass means nothing.
    """
    if len(FRESH_CASES) < FRESH:
        pytest.skip("a chosen seed proves only itself")
    events: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for run in runs.values():
        events.update(run.events)
        numbers.update(run.numbers)

    assert all(run.events["faults"] >= 1 for run in runs.values())
    assert all(run.numbers["simulated_s"] >= 60 for run in runs.values())
    rare = sum(count for name, count in events.items() if name in RARE)
    common = {name: count for name, count in events.items() if name not in RARE}
    # The least common come some five times in so many fresh seeds; seeds differ.
    assert min(common.values()) >= 1, events
    assert rare >= 20, events
    assert numbers["acked"] >= 1_000
    assert numbers["reads_checked"] >= 1_000
    assert numbers["operations"] >= 5_000
    assert numbers["stale_refused"] >= 10


def digest(seed: int) -> str:
    """What happened in a short run, event by event."""
    with World(seed, seconds=15.0) as world:
        world.run()
    return world.digest.hexdigest()


def test_the_same_seed_is_the_same_run() -> None:
    """
    Every event, in order, byte for byte. Without this, no seed means anything.
    """
    assert digest(0x2A) == digest(0x2A)
    assert digest(0x2A) != digest(0x2B)


def test_the_same_seed_is_the_same_run_however_strings_hash() -> None:
    """
    Another process, and another hash of every string: still the same run.
    """
    command = [sys.executable, "-m", "tests.sim", "--seed", "0x2a", "--seconds", "15"]
    printed = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        .stdout.split("digest ")[1]
        .split()[0]
        for hash_seed in ("1", "2")
    }

    assert printed == {digest(0x2A)}


def test_a_failure_says_how_to_see_it_again() -> None:
    """
    Whatever is raised in a world carries the seed, the options and the command.
    """

    def fail() -> None:
        with World(0x2A, nodes=5) as world:
            world.now = 1.5
            raise Violation("planted")

    with pytest.raises(Violation) as caught:
        fail()
    notes = "\n".join(caught.value.__notes__)
    assert "seed 0x2a, t=1.500s, Options(nodes=5" in notes
    assert "reproduce: ./scripts/simulate --seed 0x2a --nodes 5" in notes


def test_the_command_line_tells_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    """
    One JSON object on the last line, and status 0 for a clean run.
    """
    status = main(["--seed", "0x2a", "--seconds", "15", "--json"])

    last = capsys.readouterr().out.splitlines()[-1]
    assert status == 0
    assert '"seeds": 1, "violations": 0, "not_converged": 0' in last


def test_what_went_wrong_is_found_under_the_same_options() -> None:
    """
    Also if the run was shorter than usual: the command says so.
    """
    world = World(0x2A, nodes=3, seconds=15.0)

    assert world.reproduce == "./scripts/simulate --seed 0x2a --nodes 3 --seconds 15"
