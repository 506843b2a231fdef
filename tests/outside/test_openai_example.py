"""The example of the OpenAI Agents SDK, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from raftstate.localcluster import LocalCluster

ROOT = Path(__file__).parents[2]


def converse(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """The example's exit status, its figures, and what it told."""
    ended = subprocess.run(
        [sys.executable, "-m", "raftstate.examples.openai_session", "--json", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = ended.stdout.splitlines()
    return ended.returncode, json.loads(lines[-1]) if lines else {}, ended.stderr


def test_a_conversation_is_killed_and_goes_on() -> None:
    """
    The worker is killed in the middle of a tool call, and the leader with it; the items are
    those of a conversation that nobody disturbed, and every bill is paid once.
    """
    status, figures, told = converse("--questions", "4")

    assert status == 0, told
    assert figures["same_items"]
    assert (figures["items"], figures["questions"]) == (16, 4)
    assert (figures["payments"], figures["doubled"], figures["missing"]) == (4, 0, 0)
    assert figures["answered_before_kill"] == 2
    assert figures["taken_back"] >= 1
    assert figures["open_effects"] == ["pay/bill-2"]
    assert figures["leader_killed"] in {"n1", "n2", "n3"}
    assert figures["stale_write"] == "FENCED"
    assert figures["wrong"] == []


def test_on_another_cluster_only_the_worker_is_killed(cluster: LocalCluster) -> None:
    """
    On a cluster that runs already, the rest is the same.
    """
    status, figures, told = converse("--questions", "2", "--endpoints", cluster.endpoints)

    assert status == 0, told
    assert figures["leader_killed"] is None
    assert figures["same_items"]


def test_wrong_usage() -> None:
    """
    A number of questions that makes no sense is said to be one.
    """
    status, _, told = converse("--questions", "1")
    assert status == 2
    assert "--questions is 2 to" in told
