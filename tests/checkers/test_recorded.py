"""Histories that were recorded elsewhere, each with a verdict that is known.

They are no part of the project: `../shared/data/etcd-register-histories`, beside it, has
them and says where they are from. Without them this is skipped.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from jepsen_like import formats

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "etcd-register-histories"
SECONDS_MAX = 120.0

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"{FOLDER.name} is not beside the project"
)


def test_every_recorded_verdict_is_found() -> None:
    """
    Fifty histories of a register under faults, ten of them good: all as is known, and
    soon enough.
    """
    known = json.loads((FOLDER / "verdicts.json").read_text())

    began = time.monotonic()
    found = {name: formats.judge(FOLDER / name) for name in known}

    assert time.monotonic() - began < SECONDS_MAX
    assert len(known) >= 50
    assert found == {name: "valid" if good else "invalid" for name, good in known.items()}
