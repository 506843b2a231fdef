"""Processes and stores: a forked one is told that it has none, and nothing hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.client.served import served

ROOT = Path(__file__).parents[2]


def told(how: str) -> dict[str, Any]:
    """What the program says: see forking.py."""
    with served() as endpoint:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.client.forking", how, endpoint],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90.0,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_forked_process_is_told_and_hurts_nobody() -> None:
    """
    Every call of what it has from its parent is Closed, definite; so is a store of its own,
    which gRPC could not serve, instead of hanging or crashing. It ends in order, and the
    parent owns on.
    """
    found = told("fork")

    assert found["exits"] == [0] * 6
    assert found["odd"] == {}
    assert found["calls"] > 90
    assert "cannot be used in process" in found["portal"]
    for which in ("store", "new portal"):
        assert "multiprocessing.get_context('spawn')" in found[which]
    assert found["parent"] is True


def test_processes_that_were_forked_before_or_are_spawned_have_their_own() -> None:
    """
    Nothing of the parent's is in their way.
    """
    found = told("others")

    assert found == {"exits": [0, 0], "found": ["early", "spawned"]}
