"""Stories: fault schedules that Hypothesis writes, and shortens until they are plain.

Random runs find what is rare by their number; a story says why. A failure prints the
shortest story that Hypothesis finds, in words and as Python to run it again.
"""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from tests.sim import disk, invariants
from tests.sim.faults import WORDS, Strike, told
from tests.sim.options import FAULTS
from tests.sim.runs import Run, run_world
from tests.sim.world import World

NODES = 3
SECONDS = 8.0
STRIKES_MAX = 5
SEARCH_S = 60.0


def strikes() -> st.SearchStrategy[Strike]:
    """One fault. The plain ones come first: to those Hypothesis shortens."""
    return st.builds(
        Strike,
        at_s=st.integers(1, 5).map(float),
        kind=st.sampled_from(sorted(WORDS, key=lambda kind: (kind not in PLAIN, kind))),
        victim=st.sampled_from(["the leader", *(f"n{n}" for n in range(1, NODES + 1))]),
        seconds=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    )


PLAIN = {"crash", "power", "isolate", "pause"}
STORIES = st.lists(strikes(), max_size=STRIKES_MAX, unique_by=lambda one: one.at_s)


def run_story(seed: int, story: list[Strike], seconds: float = SECONDS) -> Run:
    """One world in which just that happens."""
    return run_world(World(seed, nodes=NODES, seconds=seconds, story=story))


@settings(max_examples=max(1, settings.default.max_examples // 8) if settings.default else 12)
@given(seed=st.integers(0, 1 << 16), story=STORIES)
def test_no_story_ends_badly(seed: int, story: list[Strike]) -> None:
    """
    Whatever happens in whatever order: safety throughout, then convergence.
    """
    run = run_story(seed, story)

    assert not run.wrong, run.report


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_every_kind_of_fault_can_be_told(kind: str) -> None:
    """
    It has words, it happens when the story says, and nothing else does.
    """
    story = [Strike(3.0, kind, "the leader", 1.0)]
    world = World(7, nodes=NODES, seconds=6.0, story=story)
    world.run()

    assert told(story).splitlines()[1].startswith("  at 3 s: ")
    assert world.nemesis.counts[kind] == 1
    assert sum(world.nemesis.counts[other] for other in FAULTS) == 1


def test_a_story_is_the_same_run_every_time() -> None:
    """
    Byte for byte; another one is another run.
    """
    story = [Strike(2.0, "power", "the leader", 1.0), Strike(4.0, "split", "n1", 2.0)]
    digests: Counter[str] = Counter()
    for told_so_far in (story, story, story[:1]):
        world = World(7, nodes=NODES, seconds=6.0, story=told_so_far)
        world.run()
        digests[world.digest.hexdigest()] += 1

    assert sorted(digests.values()) == [1, 2]


def test_a_failure_tells_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One line a fault, in the order of time, and the Python that runs it again.
    """
    plant_lying_disk(monkeypatch)
    story = [Strike(5.0, "blackout", "the leader", 1.0), Strike(2.0, "pause", "n2", 0.5)]

    run = run_story(LYING_SEED, story)

    assert run.wrong
    assert (
        "the story:\n"
        "  at 2 s: n2 stands still for 0.5 s\n"
        "  at 5 s: everybody loses power, and is back after 1 s\n"
    ) in run.report
    again = run.report.split("reproduce: ")[1].strip()
    assert again.endswith(".run()")
    world = eval(again.removesuffix(".run()"), {"World": World, "Strike": Strike})
    assert run_world(world).report.split("\nseed ")[0] == run.report.split("\nseed ")[0]


LYING_SEED = 11


def plant_lying_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that says it has synced, and has not: only the kernel has the log, and a
    power loss takes all of it since the newest base. The checks that look at the disk
    are turned off, so that only what is lost can give it away."""
    sync = disk.SimDisk.sync_log

    def lie(self: disk.SimDisk, log: disk.SimLog) -> None:
        if log.base != self.durable.base:
            sync(self, log)

    monkeypatch.setattr(disk.SimDisk, "sync_log", lie)
    for check in ("justified", "durable_on_a_quorum", "votes_once", "elected_by_voters"):
        monkeypatch.setattr(invariants, check, lambda *_: None)


def test_a_planted_bug_is_told_in_three_faults_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Hypothesis finds a story that gives the lying disk away, and shortens it to the
    faults that matter, each as plain as it can be: somebody loses power.
    """
    plant_lying_disk(monkeypatch)
    deadline = time.monotonic() + SEARCH_S

    def goes_wrong(story: list[Strike]) -> bool:
        out_of_time = time.monotonic() > deadline
        return not out_of_time and bool(run_story(LYING_SEED, story).wrong)

    story = find(
        STORIES,
        goes_wrong,
        settings=settings(
            max_examples=60,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
        random=random.Random(1),
    )

    assert 1 <= len(story) <= 3, told(story)
    assert {strike.kind for strike in story} & {"power", "blackout", "trap"}, told(story)
    monkeypatch.undo()
    assert not run_story(LYING_SEED, story).wrong, "the same story without the bug is clean"
