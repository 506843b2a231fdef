"""However a program ends, nothing is left over and nothing is said."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.client.served import served

ROOT = Path(__file__).parents[2]
# All that an end may take, a slow machine and the start of an interpreter included.
LIMIT_S = 30.0


def left(how: str) -> dict[str, Any]:
    """What a program says that ends so: see leaving.py. It says nothing else."""
    with served() as endpoint:
        began = time.monotonic()
        ran = subprocess.run(
            [
                *(sys.executable, "-W", "error"),
                *("-m", "tests.client.leaving", how, endpoint),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=2 * LIMIT_S,
            check=False,
        )
        took = time.monotonic() - began
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert took < LIMIT_S
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_nothing_is_left_of_stores_that_were_closed() -> None:
    """
    No task and no socket more after many than after one; of the threads, the one.
    """
    assert left("again_and_again") == {"more": 0, "tasks": [], "threads": ["raftstate-alive"]}


def test_a_store_is_closed_by_who_is_cancelled() -> None:
    """
    To its end, and the task is cancelled still.
    """
    assert left("cancelled") == {"cancelled": True, "closed": [True]}


@pytest.mark.parametrize("how", ["interrupted", "left_open", "exits", "portal"])
def test_a_program_that_just_ends_ends_at_once_and_in_silence(how: str) -> None:
    """
    An interrupt, an exit in the middle of a block, a store and a portal left open.
    """
    assert left(how) == {}
