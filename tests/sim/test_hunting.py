"""The hunt: what it counts, what it prints, and what it remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sim import __main__ as command
from tests.sim import regressions
from tests.sim.regressions import Case
from tests.sim.runs import RARE, Run, Summary, run_all


def test_a_list_of_cases_says_what_each_runs_under(tmp_path: Path) -> None:
    """
    Options, stories and empty lines; a case that stands there twice runs once.
    """
    path = tmp_path / "list.txt"
    path.write_text(
        "# a story\n\n0x1 seconds=60\n17 nodes=5 seconds=15 found=abc # short\n0x1\n"
    )

    assert regressions.load(path) == [Case(1), Case(17, 5, 15.0)]


@pytest.mark.parametrize("line", ["seed", "0x1 nodes", "0x1 nodes=three"])
def test_a_line_that_is_no_case_is_an_error(tmp_path: Path, line: str) -> None:
    """
    A seed that was skipped would look as if it had passed.
    """
    path = tmp_path / "list.txt"
    path.write_text(f"0x1\n{line}\n")

    with pytest.raises(ValueError, match=r"list\.txt, line 2"):
        regressions.load(path)


def test_a_case_is_appended_once_with_the_code_it_was_found_in(tmp_path: Path) -> None:
    """
    What is read back is the same case.
    """
    path = tmp_path / "list.txt"
    path.write_text("0x1\n")
    case = Case(0x2A, 5, 15.0)

    regressions.append(case, "violation: two leaders", path)
    regressions.append(case, "violation: two leaders", path)

    assert regressions.load(path) == [Case(1), case]
    (line,) = path.read_text().splitlines()[1:]
    assert line == (
        f"0x2a nodes=5 seconds=15 found={regressions.code_version()}  # violation: two leaders"
    )


def failing(case: Case) -> Run:
    report = "Traceback\ntests.sim.invariants.Violation: two leaders\nseed, options"
    return Run(case.seed, "violation", report, {"simulated_s": 61.0}, {"elections": 3})


def test_a_hunt_remembers_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The seed, its options, and the first line of what is wrong; status 1.
    """
    path = tmp_path / "list.txt"
    path.write_text("")
    remembered: list[tuple[Case, str]] = []
    monkeypatch.setattr(
        regressions, "append", lambda case, what: remembered.append((case, what))
    )
    monkeypatch.setattr(
        command, "run_all", lambda cases, jobs: [(Case(7, 5), failing(Case(7, 5)))]
    )

    status = command.main(["--minutes", "0.001", "--nodes", "5", "--json"])

    shown = capsys.readouterr().out
    assert status == 1
    assert remembered == [
        (Case(7, 5), "violation: tests.sim.invariants.Violation: two leaders")
    ]
    assert "1 seeds, 1 WRONG" in shown
    assert "seeds a minute" in shown
    assert json.loads(shown.splitlines()[-1])["failed_seeds"] == ["0x7"]


def test_fresh_seeds_without_a_hunt_are_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The tree stays as it is.
    """
    monkeypatch.setattr(command, "run_all", lambda cases, jobs: [(Case(7), failing(Case(7)))])
    monkeypatch.setattr(regressions, "append", lambda *_: pytest.fail("remembered"))

    assert command.main(["--seeds", "1"]) == 1


def test_the_last_line_tells_machines_what_happened() -> None:
    """
    The promised keys, in numbers, whatever else is there.
    """
    summary = Summary()
    for _, run in run_all([Case(1, 3, 12.0)], jobs=1):
        summary.add(run)

    told = json.loads(summary.as_json())

    promised = ["seeds", "violations", "not_converged", "simulated_s", "acked"]
    assert list(told)[:6] == [*promised, "reads_checked"]
    assert set(RARE) <= set(told["events"])
    assert (told["seeds"], told["violations"], told["not_converged"]) == (1, 0, 0)
    assert told["simulated_s"] >= 12
    assert all(isinstance(count, int) for count in told["events"].values())
