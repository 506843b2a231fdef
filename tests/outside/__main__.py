"""Runs the suites of others, each as its own pytest, and says how each went.

    scripts/conformance                    those that `scripts/check` runs
    scripts/conformance --full             all of them, with what is marked slow
    scripts/conformance --suite langgraph  all of this one; may be given again
    scripts/conformance --jobs 1           one at a time; 2 unless told otherwise
    scripts/conformance --json             the result as one line of JSON; the rest to stderr
    scripts/conformance --out DIR          leaves what each suite said and its report there,
                                           as text and as JUnit's XML

The exit status is 0 only if every suite ran, had tests, and failed none.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
# How long a suite that is interrupted may take to stop what it has started.
_STOP_S: Final = 60


class Suite(NamedTuple):
    """A suite: the files that run it, whether it takes minutes, how long it may take (s)."""

    files: tuple[str, ...]
    slow: bool = False
    limit_s: int = 600


SUITES: Final = {
    "langgraph": Suite(("test_langgraph.py",)),
    "langgraph_delta": Suite(("test_langgraph_delta.py",)),
    "langgraph_ownership": Suite(("test_langgraph_ownership.py",)),
    "langgraph_saver": Suite(
        ("test_langgraph_saver.py", "test_langgraph_removed.py"), slow=True, limit_s=900
    ),
    "langgraph_under_kills": Suite(("test_langgraph_under_kills.py",), slow=True, limit_s=900),
    "langgraph_own": Suite(("test_langgraph_own.py",), slow=True, limit_s=1_800),
    "langgraph_store": Suite(("test_langgraph_store.py",)),
    "langgraph_store_published": Suite(
        ("test_langgraph_store_published.py",), slow=True, limit_s=900
    ),
    "eventsourcing": Suite(("test_eventsourcing.py",)),
    "eventsourcing_own": Suite(("test_eventsourcing_own.py",), slow=True),
    "eventsourcing_dcb": Suite(
        ("test_eventsourcing_dcb.py", "test_eventsourcing_dcb_reads.py"), slow=True
    ),
    "openai": Suite(("test_openai.py",)),
    "openai_own": Suite(("test_openai_own.py",), slow=True, limit_s=900),
    "claude": Suite(("test_claude.py",)),
    "mcp": Suite(("test_mcp.py",)),
    "pybreaker": Suite(("test_pybreaker.py",)),
    "queues": Suite(("test_queues.py",), slow=True),
    "types": Suite(("test_types.py",)),
    "examples": Suite(
        ("test_examples.py", "test_openai_example.py", "test_langgraph_docstrings.py")
    ),
}


class Result(NamedTuple):
    """How many tests a suite had, and how they ended."""

    passed: int
    failed: int
    total: int
    skipped: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it ran, and nothing failed."""
        return self.passed > 0 and not self.failed

    def summary(self) -> dict[str, int]:
        """What the JSON says."""
        said = {"passed": self.passed, "failed": self.failed, "total": self.total}
        return said | ({"skipped": self.skipped} if self.skipped else {})


def counted(report: Path, seconds: float) -> Result:
    """A result, from JUnit's XML. A report that is not there, or not whole, is a failure."""
    try:
        tree = ET.parse(report)  # written by our own pytest just now
    except (OSError, ET.ParseError):
        return Result(0, 1, 1, 0, seconds)
    cases = list(tree.iter("testcase"))
    # A test may have an error beside a failure: at its end, say.
    failed = sum(
        any(one.find(kind) is not None for kind in ("failure", "error")) for one in cases
    )
    skipped = sum(one.find("skipped") is not None for one in cases)
    return Result(len(cases) - failed - skipped, failed, len(cases), skipped, seconds)


def run(name: str, suite: Suite, out: Path, *, slow: bool) -> Result:
    """Run one suite, with its slow tests or without; what it says is in NAME.log."""
    report = out / f"{name}.xml"
    began = time.monotonic()
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"),
        # It is there for the published tests, which run in processes of their own: for
        # which one test of ours may wait for minutes.
        *("-p", "no:asyncio", "-o", f"faulthandler_timeout={suite.limit_s}"),
        *(str(HERE / file) for file in suite.files),
        *(f"--junitxml={report}", "-m", "" if slow else "not slow"),
    ]
    with (out / f"{name}.log").open("w") as log:
        status = _ended(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log), suite)
    result = counted(report, time.monotonic() - began)
    if status and not result.failed:  # it ended badly, whatever its tests said
        return result._replace(failed=1, total=result.total + 1)
    return result


def _ended(process: subprocess.Popen[bytes], suite: Suite) -> int:
    """The exit status of a suite, which is interrupted when its time is over: so that it
    stops the cluster that it has started."""
    try:
        return process.wait(suite.limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return 1


def run_all(names: Sequence[str], out: Path, jobs: int, *, slow: bool) -> dict[str, Result]:
    """Run suites, so many at a time. Each one's words are shown, whole, when it has ended."""

    def one(name: str) -> Result:
        result = run(name, SUITES[name], out, slow=slow)
        said = (out / f"{name}.log").read_text()
        print(f"\n== {name}\n{said}", file=sys.stderr, flush=True)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites that are asked for. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/conformance",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--suite", action="append", choices=list(SUITES), metavar="NAME", help=", ".join(SUITES)
    )
    parser.add_argument("--full", action="store_true", help="also those that take minutes")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where each report is left")
    options = parser.parse_args(arguments)

    chosen = options.suite or [
        name for name, suite in SUITES.items() if options.full or not suite.slow
    ]
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        slow = options.full or bool(options.suite)
        results = run_all(list(dict.fromkeys(chosen)), out.resolve(), options.jobs, slow=slow)
    if options.json:
        print(json.dumps({name: result.summary() for name, result in results.items()}))
    else:
        for name, one in results.items():
            print(
                f"{name:<22} {'ok' if one.good else 'FAILED':<6} {one.passed:>4} of"
                f" {one.total} passed, {one.skipped} skipped, {one.seconds:.0f} s"
            )
    return 0 if all(result.good for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
