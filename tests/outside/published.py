"""The tests that others publish with their releases: fetched when they are needed, pinned,
and run where ours takes the place of what they were written for.

A release's source archive holds its tests; what is installed does not. Archives lie beside
the environment that runs this, and are fetched again only if they are not there.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
SOURCES: Final = Path(sys.prefix) / "src"

# What each archive has to be.
ARCHIVES: Final = {
    "langgraph": (
        "1.2.22",
        "32700dc34b5cf9ebb397258c2e56392f017d4dbc51c9591339225c3c1b7b5126",
    ),
    "langgraph-checkpoint": (
        "4.3.2",
        "fcab8468c7e965d7055e2a35c253d73a145624ef4728b150ca7c361f4afca286",
    ),
    "langgraph-checkpoint-sqlite": (
        "3.1.2",
        "4e3f376fa6f192d6ad2a1a4643b039986f1593552ef870e9e45281575de6fbf2",
    ),
    "openai-agents": (
        "0.24.0",
        "4b4b285f4fed81fdf1b4ac426a9101658d9cd29b4fb1aaeee18f639b77e704e3",
    ),
}
_FETCH_S: Final = 120


class Unavailable(Exception):
    """An archive could not be had."""


def folder(name: str) -> Path:
    """Where a release's sources are, fetched if need be. Raises Unavailable."""
    version, digest = ARCHIVES[name]
    found = SOURCES / f"{name.replace('-', '_')}-{version}"
    if found.is_dir():
        return found
    SOURCES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SOURCES) as scratch:
        archive = _fetched(f"{name}=={version}", Path(scratch))
        actual = hashlib.sha256(archive.read_bytes()).hexdigest()
        if actual != digest:
            raise Unavailable(f"{archive.name} is {actual}, and should be {digest}")
        with tarfile.open(archive) as opened:
            opened.extractall(scratch, filter="data")
        unpacked = Path(scratch) / found.name
        try:
            unpacked.rename(found)
        except OSError:
            if not found.is_dir():  # nobody else was first
                raise
    return found


def _fetched(requirement: str, where: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary", ":all:", "--dest", str(where), requirement),
    ]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{requirement} was not fetched within {_FETCH_S} s") from error
    archives = list(where.glob("*.tar.gz"))
    if ended.returncode or len(archives) != 1:
        raise Unavailable(f"{requirement} could not be fetched: {ended.stderr.strip()[-500:]}")
    return archives[0]


class Outcome(NamedTuple):
    """How one test ended: passed, failed or skipped, and what it said."""

    how: str
    text: str


class Suite(NamedTuple):
    """Published tests and the plugin that puts ours into place: `plugin.py` in a folder
    beside this file. `tests` are files or node ids; `without` are not run; `options` are
    further ones of pytest."""

    release: str
    plugin: str
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()
    limit_s: int = 600
    options: tuple[str, ...] = ()

    def collected(self, environment: Mapping[str, str] | None = None) -> list[str]:
        """The ids of the tests. Raises Unavailable; RuntimeError if they cannot be read."""
        ended = self._pytest(["--collect-only", "-q"], environment or {})
        ids = [line for line in ended.stdout.splitlines() if "::" in line]
        if ended.returncode or not ids:
            raise RuntimeError(f"{ended.stdout}\n{ended.stderr}")
        return ids

    def run(
        self, environment: Mapping[str, str], chosen: Iterable[str] = ()
    ) -> dict[str, Outcome]:
        """Run all tests, or the chosen ones, in a process of their own: how each ended."""
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.xml"
            asked = [f"--junitxml={report}", "-o", "junit_family=xunit1"]
            ended = self._pytest([*asked, "--tb=short"], environment, chosen)
            if not report.exists():
                raise RuntimeError(f"{ended.stdout}\n{ended.stderr}")
            return dict(_outcomes(report))

    def _pytest(
        self, options: list[str], environment: Mapping[str, str], chosen: Iterable[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        path = [str(HERE / self.plugin), str(ROOT), os.environ.get("PYTHONPATH", "")]
        command = [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "plugin"),
            *("-c", str(HERE / "published.ini"), "--rootdir", "."),
            *options,
            *self.options,
            *(f"--deselect={one}" for one in self.without),
            *(tuple(chosen) or self.tests),
        ]
        began = time.monotonic()
        try:
            return subprocess.run(
                command,
                cwd=folder(self.release),
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, path)),
                    **environment,
                },
                capture_output=True,
                text=True,
                timeout=self.limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            took = time.monotonic() - began
            raise RuntimeError(f"{self.release}: not done after {took:.0f} s") from error


def _outcomes(report: Path) -> Iterable[tuple[str, Outcome]]:
    for case in ET.parse(report).iter("testcase"):  # written by our own pytest just now
        # pytest names the class "tests.test_store.TestIt" where the id has "::TestIt".
        file = case.get("file", "")
        inner = case.get("classname", "")[len(file.removesuffix(".py")) + 1 :]
        name = "::".join(part for part in (file, inner, case.get("name", "")) if part)
        bad = [one for kind in ("failure", "error") for one in case.findall(kind)]
        skipped = case.find("skipped")
        if bad:
            yield name, Outcome("failed", "\n".join(one.text or "" for one in bad))
        elif skipped is not None:
            yield name, Outcome("skipped", skipped.get("message", ""))
        else:
            yield name, Outcome("passed", "")
