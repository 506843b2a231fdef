"""The simulator can fail: each planted bug is found, by the check that is meant for it.

Every bug is planted by replacing a part while a run lasts (see `tests/sim/mutants`); the
product has no switch for it. Here each is looked for where it is known to show, and the
same run without it must be clean. `scripts/simulate --mutants` searches from scratch.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from raftstate.consensus import adapter, feeding, following, read_index, replica, rules
from raftstate.consensus.adapter import Engine
from raftstate.core import (
    breakers,
    compensations,
    effects,
    history,
    items,
    leases,
    ledger,
    retention,
    rollback_commands,
    rollbacks,
    sessions,
    streams,
    sweep,
    trips,
    txn,
    undoing,
    undone,
)
from tests.sim import invariants
from tests.sim.__main__ import main
from tests.sim.mutants import catalogue, example_outsider, schedules
from tests.sim.mutants.catalogue import Mutant
from tests.sim.mutants.running import Job, Verdict, run
from tests.sim.mutants.seam import DoesNotApply, Patch

# What must be among the mutants, whatever else is.
PROMISED = {
    "accept-acks-of-an-older-term",
    "acknowledge-a-keep-alive-without-a-quorum",
    "apply-an-entry-twice-after-restart",
    "commit-an-older-term-by-counting",
    "count-the-leader-before-its-own-sync",
    "count-votes-per-message",
    "cut-the-log-before-the-snapshot-is-durable",
    "forget-the-session-table-in-the-snapshot",
    "join-a-round-under-way",
    "let-a-quarantined-node-vote",
    "let-a-removed-member-vote",
    "read-without-the-quorum-round",
    "reset-the-revision-on-snapshot",
    "share-a-token-within-an-entry",
    "skip-the-sync-before-an-ack",
    "truncate-always",
    # of the whole store
    "collect-a-chunk-in-use",
    "end-a-lease-that-was-touched",
    "look-for-no-event-ids",
    "lose-a-row-of-changes",
    "prune-a-pinned-checkpoint",
    "read-a-range-of-the-past-as-it-is-now",
    "sweep-one-revision-too-much",
    "undo-only-the-first-change",
    "write-although-a-compare-failed",
    # of effects, sagas, rollbacks and breakers
    "give-a-later-item-its-turn",
    "list-what-is-undone-again",
    "roll-back-without-a-new-token",
    "show-what-is-undone-as-live",
    "take-over-and-forget-what-was-dispatched",
    "take-the-word-of-any-claim",
    "trip-without-the-rollback",
    "undo-the-oldest-first",
}
# Options of the simulator change, and with them what a seed does: then these are tried.
ELSEWHERE = 40


@cache
def without(job: Job) -> Verdict:
    """A run with nothing planted; many mutants share one."""
    return run(job._replace(bug=""))


def search(mutant: Mutant) -> Verdict:
    """The first run that finds a mutant, or the last that was tried."""
    planted = Job(mutant.name, schedule=mutant.schedule or "", store=mutant.store)
    verdict = run(planted) if mutant.schedule else Verdict(planted)
    if mutant.known is None or not verdict.clean:
        return verdict
    planted = planted._replace(schedule="")
    for seed in chain([mutant.known], range(1, ELSEWHERE)):
        verdict = run(planted._replace(seed=seed))
        if not verdict.clean:
            break
    return verdict


@pytest.mark.parametrize("mutant", catalogue.mutants(), ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """
    Found by an invariant that is meant for it, and by that alone: the same run is clean
    without the bug.
    """
    verdict = search(mutant)

    assert not verdict.broken, verdict.report
    assert verdict.invariant in mutant.expects, verdict.report or "nothing found it"
    assert without(verdict.job).clean, without(verdict.job).report


def test_what_was_promised_is_planted() -> None:
    """Every bug that the simulator has to find is among the mutants, each with a story."""
    planted = {mutant.name: mutant.story for mutant in catalogue.mutants()}

    assert set(planted) >= PROMISED
    assert all(planted.values())


def test_every_schedule_is_of_a_mutant() -> None:
    """A schedule has a name, a story, and a mutant that it shows."""
    used = {mutant.schedule for mutant in catalogue.mutants()} - {None}

    assert used == {one.__name__ for one in schedules.SCHEDULES}
    assert all(one.__doc__ for one in schedules.SCHEDULES)


class Mistake(Exception):
    """What ends a run before its time."""


def fail_with(mutant: Mutant) -> None:
    """Plant a bug, and fail."""
    with Patch() as patch:
        mutant.plant(patch)
        assert patch.count, f"{mutant.name} replaces nothing"
        raise Mistake


def test_a_bug_is_planted_for_as_long_as_its_run() -> None:
    """After a run, also one that failed, every part is as it was."""
    modules = [rules, read_index, adapter, following, feeding, replica, invariants, sessions]
    modules += [history, leases, retention, streams, sweep, txn, breakers, compensations]
    modules += [effects, items, ledger, rollback_commands, rollbacks, trips, undoing, undone]
    found = [vars(one) for module in modules for one in (module, *classes(module))]
    before = [dict(one) for one in found]

    for mutant in catalogue.mutants():
        with pytest.raises(Mistake):
            fail_with(mutant)

    assert [dict(one) for one in found] == before


def classes(module: ModuleType) -> list[type]:
    """The classes that a module defines."""
    every = [one for one in vars(module).values() if isinstance(one, type)]
    return [one for one in every if one.__module__ == module.__name__]


@pytest.mark.parametrize(
    ("owner", "name", "complaint"),
    [
        (rules, "no_such_rule", "has no no_such_rule"),
        (rules, "majority", r"rules.majority\(voters"),
        (Engine, "commit_index", r"Engine.commit_index\(self\)"),
    ],
    ids=["gone", "takes something else", "a property"],
)
def test_a_patch_that_does_not_fit_says_so(owner: object, name: str, complaint: str) -> None:
    """What a mutant replaces is there, and takes what the replacement takes."""
    with Patch() as patch, pytest.raises(DoesNotApply, match=complaint):
        patch.replace(owner, name, lambda something: something)


def outsider(folder: Path, body: str) -> str:
    """A file with a bug, as somebody else would write it."""
    path = folder / "bug.py"
    path.write_text(f"from raftstate.consensus import rules\n\ndef plant(patch):\n    {body}\n")
    return str(path)


def last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command says to machines."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_an_outsider_can_plant_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """
    `--mutant FILE` finds it, and says by what and after how many seeds.
    """
    path = example_outsider.__file__
    status = main(["--mutant", path, "--seeds", "20", "--jobs", "1", "--json"])

    told = last_line(capsys)
    (found,) = told["mutants"]
    assert (status, told["caught"], told["planted"]) == (0, 1, 1)
    assert found["name"] == path and found["caught"] and 1 <= found["seeds"] <= 20
    assert found["invariant"] in ("durable_on_a_quorum", "one_leader_a_term")


def test_what_is_no_bug_is_not_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A change that changes nothing is missed, and the exit status says so.
    """
    path = outsider(
        tmp_path, 'patch.replace(rules, "majority", lambda voters: voters // 2 + 1)'
    )
    status = main(["--mutant", path, "--seeds", "2", "--jobs", "1", "--json"])

    told = last_line(capsys)
    assert (status, told["caught"], told["planted"]) == (1, 0, 1)
    assert [(one["seeds"], one["control"]) for one in told["mutants"]] == [(2, "not run")]


@pytest.mark.parametrize(
    "body",
    [
        'patch.replace(rules, "gone", lambda: None)',
        "pass",
        'patch.replace(rules, "majority", lambda voters: voters // 0)',
    ],
    ids=["does not apply", "replaces nothing", "fails by itself"],
)
def test_a_mutant_that_does_not_work_is_not_caught(tmp_path: Path, body: str) -> None:
    """A mutant that ends a run by its own mistake shows nothing about the simulator."""
    verdict = run(Job(outsider(tmp_path, body), seed=1))

    assert verdict.broken and not verdict.invariant


def test_one_mutant_can_be_looked_at_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """
    By its schedule, if it has one: no seeds then, and the schedule's name.
    """
    status = main(["--mutant", "count-votes-per-message", "--jobs", "1", "--json"])

    (found,) = last_line(capsys)["mutants"]
    assert status == 0
    assert found["schedule"] == "a_vote_that_arrives_twice" and found["seeds"] == 0
