"""The command line and judging: what goes in, what is said, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jepsen_like import cli, judge
from jepsen_like import folder as folders
from jepsen_like.checkers import harness
from jepsen_like.checkers.vacuity import Limits
from jepsen_like.history import NEMESIS, Event
from jepsen_like.nemesis.catalogue import NAMES
from jepsen_like.protocols import Record, Verdict
from jepsen_like.workloads.catalogue import WORKLOADS
from tests.jepsen import forge

HEALTHY = """INFO  jepsen.util - 0\t:invoke\t:write\t1
INFO  jepsen.util - 0\t:ok\t:write\t1
INFO  jepsen.util - 1\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:ok\t:read\t1
"""


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.main, args)


# --- check -------------------------------------------------------------------


def test_logs_of_jepsen_are_judged_one_line_a_file(tmp_path: Path) -> None:
    """
    Each file's name and its verdict; what is no history is unknown, and its line is named.
    """
    texts = {
        "good.log": HEALTHY,
        "bad.log": HEALTHY.replace(":ok\t:read\t1", ":ok\t:read\t2"),
        "odd.log": "INFO  jepsen.util - 0\t:ok\t:write\t1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in texts]

    found = run("check", "--format", "jepsen-log", *paths)

    assert found.stdout.splitlines() == [
        f"{paths[0]} valid",
        f"{paths[1]} invalid",
        f"{paths[2]} unknown",
    ]
    assert "line 1" in found.stderr
    assert found.exit_code == cli.NOT_VALID
    assert run("check", "--format", "jepsen-log", paths[0]).exit_code == cli.VALID


def test_a_run_is_judged_again_from_its_folder(tmp_path: Path) -> None:
    """
    The folder, or the history in it: the same verdict, and a lost write is found in both.
    """
    forge.write(tmp_path, forge.Plan(seconds=40.0, faults=3, stale=True))

    for path in (tmp_path, tmp_path / folders.HISTORY):
        found = run("check", str(path))
        told = json.loads(found.stdout.splitlines()[-1])
        assert told["workloads"]["register"] == "invalid"
        assert told["valid"] is False
        assert found.exit_code == cli.NOT_VALID
        assert "stale read" in found.stderr


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """
    One line says what is missing, whatever was asked for.
    """
    for command in ("check", "report"):
        found = run(command, str(tmp_path))
        assert found.exit_code == 1
        assert found.stderr.startswith("Error: ")
        assert "run.json" in found.stderr


# --- run, list, report ---------------------------------------------------------


def test_list_names_everything() -> None:
    """
    Workloads, nemeses, and the profiles with their times.
    """
    said = run("list").stdout
    assert all(name in said for name in (*WORKLOADS, *NAMES, "ci", "soak", "release"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--workload", "sett"), "there is no sett; there are register, set"),
        (("--nemesis", "kill,typo"), "there is no typo"),
        (("--nodes", "10"), "10 is not in the range"),
        (("--time", "0"), "0.0 is not in the range"),
        (("--endpoints", "127.0.0.1:1"), "nobody answers"),
    ],
)
def test_what_cannot_be_run_is_refused(
    tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    """
    The message names what is wrong, the status is that of wrong usage, nothing is started.
    """
    found = run("run", "--out", str(tmp_path / "run"), *args)
    assert said in found.stderr
    assert found.exit_code == cli.USAGE


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """
    A run never writes over another.
    """
    (tmp_path / "something").touch()
    found = run("run", "--out", str(tmp_path), "--workload", "set", "--nemesis", "none")
    assert "is not empty" in found.stderr
    assert found.exit_code == cli.USAGE


def test_a_report_is_written_beside_the_run(tmp_path: Path) -> None:
    """
    The command says where.
    """
    forge.write(tmp_path, forge.Plan(seconds=20.0, faults=2))
    found = run("report", str(tmp_path))
    assert Path(found.stdout.strip()) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


# --- judging -------------------------------------------------------------------


def verdict(
    name: str, validity: Any, complaints: tuple[str, ...] = (), **figures: Any
) -> Verdict:
    return Verdict(name, validity, "", complaints, figures)


def small() -> Record:
    """Two operations of one workload and one fault."""
    events = [
        Event(0, 0.0, "invoke", 0, "set", "add", "0", {"id": "a"}),
        Event(1, 0.1, "ok", 0, "set", "add", "0", {"position": 1}),
        Event(2, 0.2, "invoke", NEMESIS, "nemesis", "kill-one", "begin", {"seconds": 1}),
        Event(3, 0.3, "info", NEMESIS, "nemesis", "kill-one", "begin"),
        Event(4, 0.4, "invoke", 0, "set", "add", "0", {"id": "b"}),
        Event(5, 0.5, "info", 0, "set", "add", "0"),
    ]
    return Record(("n1",), ("set",), ("kill",), 7, {}, events, (), ())


def test_the_summary_is_what_scripts_read() -> None:
    """
    Counts, verdicts by workload, faults by kind; valid only if everything is.
    """
    found = judge.summary(
        small(), [verdict("set:full", "valid", lost=0), verdict("states", "valid")]
    )
    assert found == {
        "valid": True,
        "verdict": "valid",
        "workloads": {"set": "valid"},
        "cluster": "valid",
        "ops": 2,
        "ok": 1,
        "fail": 0,
        "info": 1,
        "faults": {"kill-one": 1},
        "left_out": [],
        "lost": 0,
        "anomalies": 0,
        "seed": 7,
    }


@pytest.mark.parametrize("validity", ["unknown", "invalid"])
def test_one_verdict_that_is_no_pass_is_enough(validity: str) -> None:
    """
    Unknown is no pass, and invalid outweighs it; what was lost is counted.
    """
    found = judge.summary(
        small(),
        [
            verdict("set:full", validity, ("lost: a", "lost: b"), lost=2),
            verdict("set:other", "unknown"),
            verdict("states", "valid"),
        ],
    )
    assert found["valid"] is False
    assert found["verdict"] == found["workloads"]["set"] == validity
    assert found["lost"] == 2
    assert found["anomalies"] == (2 if validity == "invalid" else 0)
    assert found["cluster"] == "valid"


def test_a_run_of_nothing_is_not_valid() -> None:
    """
    An empty history passes no checker that has something to look for.
    """
    empty = replace(small(), events=[])
    found = judge.summary(empty, judge.judge(empty))
    assert found["valid"] is False
    assert found["workloads"] == {"set": "unknown"}


def test_a_cluster_of_somebody_else_is_not_asked_for_its_logs() -> None:
    """
    Its processes cannot be seen; of ours the logs are demanded.
    """
    ours, theirs = small(), replace(small(), remote=True)
    assert "logs" in {one.name for one in judge.judge(ours)}
    assert "logs" not in {one.name for one in judge.judge(theirs)}


def test_a_run_that_the_harness_did_not_finish_is_unknown() -> None:
    """
    Whatever went wrong with the harness is named, and is no pass.
    """
    fine = {
        "complete": True,
        "unopened": {},
        "raised": 0,
        "deaf": 0,
        "nemesis_errors": 0,
        "errors": {"set/add fail: Conflict": 2, "nemesis/kill info: RemoteError": 1},
        "defects": {"set/add: KeyError: 'x' (set.py:7)": 2},
        "ops": 5,
        "opened": 1,
    }
    assert harness.check(replace(small(), tally=fine)).validity == "valid"
    for wrong, said in (
        ({}, "nobody noted"),
        ({**fine, "complete": False}, "did not come to its end"),
        ({**fine, "unopened": {"set/1": "refused"}}, "set/1 had no open client"),
        ({**fine, "raised": 2}, "(set.py:7)"),
        ({**fine, "deaf": 1}, "did not end when they were told"),
        ({**fine, "nemesis_errors": 1}, "failed {'nemesis/kill info: RemoteError': 1}"),
    ):
        found = harness.check(replace(small(), tally=wrong))
        assert found.validity == "unknown"
        assert said in found.complaints[0]


def test_a_part_of_the_load_has_to_do_a_part_of_the_work() -> None:
    """
    What is asked of a run goes down with the load, and never up.
    """
    every, usual = tuple(WORKLOADS), Limits()
    assert cli.limits_of(every, 1.0) == usual
    assert cli.limits_of(every, 3.0) == usual
    half = cli.limits_of(every, 0.5)
    assert half.rate_min == usual.rate_min / 2
    assert half.concurrent_min == usual.concurrent_min // 2
    assert 0 < cli.limits_of(("ownership",), 1.0).rate_min < 5
