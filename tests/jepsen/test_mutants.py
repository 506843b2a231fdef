"""The planted faults: each can still be planted, and what catches them has a say."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.mutants import catalogue, node, running
from jepsen_like.mutants.catalogue import Mutant
from jepsen_like.nemesis.catalogue import EVIDENCE
from jepsen_like.protocols import Record, Validity, Verdict
from jepsen_like.run import CannotRun, Results, Settings
from jepsen_like.workloads.catalogue import WORKLOADS
from raftstate.consensus import rules
from tests.jepsen.test_ownership_workload import story, told

LIMIT_S = 60


def plant(name: str) -> "subprocess.Popen[str]":
    """A process that plants a fault, says what it replaced, and ends."""
    return subprocess.Popen(
        [sys.executable, "-m", node.MODULE, name, "--check"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_every_fault_can_be_planted_in_the_product_of_today() -> None:
    """
    Each fault of the catalogue replaces parts that are there, in a process of its own.
    """
    processes = {mutant.name: plant(mutant.name) for mutant in catalogue.MUTANTS}
    said = {name: process.communicate(timeout=LIMIT_S) for name, process in processes.items()}

    assert {name: error for name, (_, error) in said.items()} == dict.fromkeys(processes, "")
    for name, (line, _) in said.items():
        told = json.loads(line)
        assert told["name"] == name
        assert told["replaced"]


def test_a_fault_that_is_not_known_ends_the_process() -> None:
    """
    Nothing runs under a name that plants nothing: not even the sound product.
    """
    process = plant("no-such-fault")
    output, error = process.communicate(timeout=LIMIT_S)

    assert (process.returncode, output) == (node.EXIT_UNFIT, "")
    assert "no-such-fault does not apply" in error


def test_catalogue_and_node_know_the_same_faults() -> None:
    """
    What can be planted is in the catalogue, with workloads and faults that there are, and
    the other way round.
    """
    assert [mutant.name for mutant in catalogue.MUTANTS] == list(node.PLANTS)
    for mutant in catalogue.MUTANTS:
        assert mutant.breaks
        assert mutant.expects
        assert set(mutant.plan.workloads) <= set(WORKLOADS)
        assert {planned.fault.kind for planned in mutant.plan.schedule} <= set(EVIDENCE)


# --- the guard ---------------------------------------------------------------


def test_what_is_gone_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fault whose place in the product is gone does not apply, and says so.
    """
    monkeypatch.delattr(rules, "leader_commit")

    with pytest.raises(node.DoesNotApply, match="leader_commit"):
        node.plant("ack-before-quorum")


def test_what_has_changed_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fault whose place takes other parameters than it did does not apply.
    """
    monkeypatch.setattr(rules, "leader_commit", lambda mine, current: mine)

    with pytest.raises(node.DoesNotApply, match="is not as it was"):
        node.plant("ack-before-quorum")


def test_a_data_attribute_is_not_replaced_by_a_function() -> None:
    """
    Only what is called can be replaced.
    """
    with pytest.raises(node.DoesNotApply, match="no function"):
        node.Patch().replace(node, "MODULE", lambda: None)


def test_children_are_of_the_same_build() -> None:
    """
    The product's own modules are started with the fault, and other programs as they are.
    """
    module = [sys.executable, "-m", "raftstate.storage.verify", "folder"]

    assert node.as_planted("x", module) == [
        *(sys.executable, "-m", node.MODULE, "x"),
        *("-m", "raftstate.storage.verify", "folder"),
    ]
    assert node.as_planted("x", ["cp", "-a", "b"]) == ["cp", "-a", "b"]


# --- what counts as caught ---------------------------------------------------


class Scripted:
    """Runs of which the verdicts are known beforehand: those with something planted, one
    after another, and those without."""

    def __init__(self, *planted: dict[str, Validity], sound: Validity = "valid") -> None:
        self.asked: list[Settings] = []
        self._planted = list(planted)
        self._sound = sound

    async def conduct(self, settings: Settings, say: running.Say) -> Results:
        """See `run.conduct`."""
        self.asked.append(settings)
        settings.folder.mkdir()
        found = self._planted.pop(0) if settings.mutant else {"states": self._sound}
        if "cannot" in found:
            raise CannotRun("there is no compiler")
        verdicts = [Verdict(name, said, f"{name} said so") for name, said in found.items()]
        record = Record((), (), (), 0, {}, (), (), ())
        return Results({"verdict": found.get("states", "invalid")}, verdicts, record)

    def run(self, *names: str) -> dict[str, Any]:
        """What is told of these mutants."""
        return asyncio.run(running.run_all(names, lambda _: None, self.conduct))


def expected(name: str) -> Mutant:
    return running.find([name])[0]


@pytest.fixture(autouse=True)
def _here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of runs lies in the test's own folder."""
    folder = tmp_path_factory.mktemp("runs")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_a_fault_is_caught_by_a_verdict_that_was_named() -> None:
    """
    The named verdict is invalid with it, nothing is without it: under the same plan, seed
    and load, which differ in nothing but the fault.
    """
    runs = Scripted({"exactly-once:once": "invalid", "vacuity": "unknown"})
    found = runs.run("repeat-retries")

    assert (found["planted"], found["caught"]) == (1, 1)
    (one,) = found["mutants"]
    assert (one["caught"], one["by"], one["tries"]) == (True, ("exactly-once:once",), 1)
    assert one["complaint"] == "exactly-once:once said so"
    planted, sound = runs.asked
    assert (planted.mutant, sound.mutant) == ("repeat-retries", "")
    assert replace(planted, mutant="", folder=sound.folder) == sound


@pytest.mark.parametrize("said", ["valid", "unknown"])
def test_what_nobody_expected_does_not_catch(said: Validity) -> None:
    """
    A fault is missed if the named verdict does not say invalid, whatever others say; each
    try has another seed.
    """
    runs = Scripted(*[{"exactly-once:once": said, "logs": "invalid"}] * running.TRIES)
    found = runs.run("repeat-retries")

    assert found["caught"] == 0
    assert found["mutants"][0]["tries"] == running.TRIES == len(runs.asked)
    assert len({settings.seed for settings in runs.asked}) == running.TRIES


def test_a_fault_may_be_caught_at_the_second_try() -> None:
    """
    And then the control has the seed of that try.
    """
    runs = Scripted({"states": "valid"}, {"exactly-once:once": "invalid"})
    found = runs.run("repeat-retries")

    assert (found["caught"], found["mutants"][0]["tries"]) == (1, 2)
    assert runs.asked[-1].seed == runs.asked[-2].seed != runs.asked[0].seed


def test_what_complains_without_the_fault_catches_nothing() -> None:
    """
    If the run without the fault is invalid too, nothing was shown.
    """
    runs = Scripted({"exactly-once:once": "invalid"}, sound="invalid")
    found = runs.run("repeat-retries")

    assert found["caught"] == 0
    assert found["mutants"][0]["control"] == "invalid"


def test_a_plan_is_run_once_without_a_fault() -> None:
    """
    Faults that share a plan and a seed share the run in which nothing is planted.
    """
    caught: dict[str, Validity] = {"ownership:fencing": "invalid"}
    runs = Scripted(caught, caught)

    assert runs.run("ignore-fences", "reset-counter")["caught"] == 2
    assert [settings.mutant for settings in runs.asked] == [
        "ignore-fences",
        "",
        "reset-counter",
    ]


def test_what_cannot_be_run_is_not_caught() -> None:
    """
    A fault whose plan this machine cannot carry out is told, and counts as missed.
    """
    found = Scripted({"cannot": "invalid"}).run("skip-syncs")

    assert found["caught"] == 0
    assert found["mutants"][0]["complaint"] == "not run: there is no compiler"


def test_an_unknown_name_is_refused() -> None:
    """
    Nothing is run then.
    """
    with pytest.raises(running.NoSuchMutant, match="repeat-retries"):
        Scripted().run("repeat-retrys")


# --- what the lease by the wall clock is caught by -----------------------------


def refused(reason: str, left_s: float) -> Sequence[str]:
    """The complaints about a step that was refused so early."""
    planned = story()
    fact = {"fact": "step-refused", "id": "x.2", "reason": reason, "left_s": left_s}
    planned.holds[0]["value"] = told(10, planned.holds[0]["value"]["facts"][1], fact)
    return planned.judged()["fencing"].complaints


def test_an_ownership_that_ends_before_its_time_is_a_complaint() -> None:
    """
    Who could still count on the ownership by the own clock must not be refused for its end;
    who could not, or lost the whole session, may.
    """
    for reason in ("FENCED", "NOT_OWNER"):
        (complaint,) = refused(reason, 0.7)
        assert complaint.startswith("early: step x.2")
        assert refused(reason, -0.1) == ()
    assert refused("SESSION_EXPIRED", 0.7) == ()


# --- live --------------------------------------------------------------------


@pytest.mark.live
@pytest.mark.slow
def test_a_planted_fault_is_caught_in_a_live_cluster() -> None:
    """
    A member that carries out retries again is caught by the log; without it all is well.
    """
    found = asyncio.run(running.run_all(["repeat-retries"], print))

    assert (found["planted"], found["caught"]) == (1, 1), found
    assert found["mutants"][0]["control"] == "valid"
