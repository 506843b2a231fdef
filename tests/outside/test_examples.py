"""The examples that need LangGraph, run as a user runs them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

import raftstate
from raftstate.examples.langgraph_takeover.bank import Bank
from raftstate.localcluster import LocalCluster

ROOT = Path(__file__).parents[2]


def takeover(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """The example's exit status, its figures, and what it told."""
    command = [sys.executable, "-m", "raftstate.examples.langgraph_takeover", "--json"]
    ended = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = ended.stdout.splitlines()
    return ended.returncode, json.loads(lines[-1]) if lines else {}, ended.stderr


def test_langgraph_takeover() -> None:
    """
    The worker is killed in the middle of a payment, and the leader with it; the graph ends
    in the state of a run that nobody disturbed, and every bill is paid once.
    """
    status, figures, told = takeover("--bills", "6")

    assert status == 0, told
    assert figures["same_state"]
    assert figures["same_memory"]
    assert (figures["payments"], figures["doubled"], figures["missing"]) == (6, 0, 0)
    assert figures["killed_at"] == "pay"
    assert figures["resumed_at"] == ["pay"]
    assert figures["open_effects"] == ["pay/call-4"]
    assert figures["leader_killed"] in {"n1", "n2", "n3"}
    assert set(figures["stale_writes"].values()) == {"FENCED"}
    assert figures["wrong"] == []


def test_langgraph_takeover_on_another_cluster(cluster: LocalCluster) -> None:
    """On a cluster that runs already, only the worker is killed."""
    status, figures, told = takeover("--bills", "2", "--endpoints", cluster.endpoints)

    assert status == 0, told
    assert figures["leader_killed"] is None
    assert figures["same_state"]
    assert figures["payments"] == 2


def test_wrong_usage() -> None:
    """A number of bills that makes no sense is said to be one."""
    status, _, told = takeover("--bills", "1")
    assert status == 2
    assert "--bills is 2 to" in told


def test_the_bank_pays_as_often_as_it_is_told(tmp_path: Path) -> None:
    """The outside world of the example would show what was done twice."""
    bank = Bank(tmp_path)
    assert bank.find("k") is None
    assert bank.pay("k", "bill-1", 5) == bank.pay("k", "bill-1", 5) == "paid-bill-1"
    assert len(bank.payments()) == 2
    assert bank.find("k") == "paid-bill-1"


class Count(TypedDict):
    """The state of a graph that counts."""

    done: list[str]


def test_the_readmes_example(endpoints: str) -> None:
    """The README's example runs as printed: what fails in the middle goes on from there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    [example] = [block for block in blocks if "raftstate.adapters.langgraph" in block]
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # it is ours
    falls = [True, False]

    def first(state: Count) -> Count:
        return {"done": [*state["done"], "first"]}

    def second(state: Count) -> Count:
        if falls.pop(0):
            raise OSError("the worker dies here")
        return {"done": [*state["done"], "second"]}

    builder = StateGraph(Count)
    builder.add_node("first", first)
    builder.add_node("second", second)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    builder.add_edge("second", END)

    async def both() -> Any:
        async with raftstate.connect(endpoints, timeout=60.0) as store:
            with pytest.raises(OSError, match="dies here"):
                await names["run"](store, endpoints, builder, {"done": ["given"]})
            return await names["run"](store, endpoints, builder, {"done": ["not this"]})

    assert asyncio.run(both()) == {"done": ["given", "first", "second"]}
