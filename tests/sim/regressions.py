"""Seeds that found something once: a list in a text file, replayed by every check.

A line is a seed with the options it ran under, and the code that it was found in:

    0x443 nodes=5 seconds=60 found=d590313

`nodes` is missing where the seed draws them; `store=no` keeps the clients of the whole
store away, as they were when the oldest of these were found. What follows a `#` is a
story for people. What a seed draws changes with the options of the simulator, so a line
proves something only while these stay; the story says what to look for after that.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).with_name("regressions.txt")
ROOT = Path(__file__).parents[2]
SECONDS = 60.0


class Case(NamedTuple):
    """A seed, and what it runs under: the number of nodes if it is not drawn, and whether
    clients of the whole store take part."""

    seed: int
    nodes: int | None = None
    seconds: float = SECONDS
    store: bool = True

    def __str__(self) -> str:
        nodes = f" nodes={self.nodes}" if self.nodes is not None else ""
        store = "" if self.store else " store=no"
        return f"{self.seed:#x}{nodes} seconds={self.seconds:g}{store}"


def load(path: Path = LIST) -> list[Case]:
    """Every case of a list, once, in its order."""
    cases: dict[Case, None] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            options = dict(word.split("=", 1) for word in words[1:])
            nodes = int(options["nodes"]) if "nodes" in options else None
            seconds = float(options.get("seconds", SECONDS))
            store = {"yes": True, "no": False}[options.get("store", "yes")]
            case = Case(int(words[0], 0), nodes, seconds, store)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {line!r} is no case") from error
        cases[case] = None
    return list(cases)


def append(case: Case, what: str, path: Path = LIST) -> None:
    """Add a case that failed, unless it is there."""
    if case not in load(path):
        with path.open("a") as file:
            file.write(f"{case} found={code_version()}  # {what[:200]}\n")


def code_version() -> str:
    """Which code runs: a commit, with a + if the tree differs; outside a clone a hash of
    the sources."""
    commit = _git("rev-parse", "--short", "HEAD")
    if commit:
        return commit + ("+" if _git("status", "--porcelain", "raftstate", "tests/sim") else "")
    sources = hashlib.blake2b(digest_size=6)
    for folder in ("raftstate", "tests/sim"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            sources.update(path.read_bytes())
    return f"sources-{sources.hexdigest()}"


def _git(*words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
