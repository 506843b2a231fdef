"""The examples that need frameworks, run as a user runs them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pybreaker
import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import IntegrityError
from langgraph.graph import END, START, StateGraph
from mcp.server import Server
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCNotification

import raftstate
from raftstate.adapters.mcp import RaftSessionManager
from raftstate.examples.takeover.bank import Bank
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


@pytest.mark.slow
def test_langgraph_takeover_on_another_cluster(cluster: LocalCluster) -> None:
    """On a cluster that runs already, only the worker is killed."""
    status, figures, told = takeover("--bills", "2", "--endpoints", cluster.endpoints)

    assert status == 0, told
    assert figures["leader_killed"] is None
    assert figures["same_state"]
    assert figures["payments"] == 2


@pytest.mark.parametrize(
    "example", ["langgraph_takeover", pytest.param("openai_session", marks=pytest.mark.slow)]
)
def test_who_ends_an_example_ends_all_of_it(example: str, tmp_path: Path) -> None:
    """
    On SIGTERM in mid-run, as of a time limit: neither the nodes nor the workers stay, and no
    folder does.
    """
    command = [sys.executable, "-m", f"raftstate.examples.{example}", "--json"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stderr is not None
            assert "nobody disturbs" in running.stderr.readline()
            began = of_a_folder(tmp_path)
            running.terminate()
            status = running.wait(30)
            told = running.stderr.read()
        finally:
            running.kill()
            stayed = of_a_folder(tmp_path)
            for pid in stayed:
                os.kill(pid, signal.SIGKILL)

    assert status == 128 + signal.SIGTERM, told
    assert len(began) >= 3  # the nodes
    assert stayed == []
    assert list(tmp_path.iterdir()) == []


def of_a_folder(folder: Path) -> list[int]:
    """The processes whose command line names a folder."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(line[0]) for line in lines if str(folder) in line[-1]]


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


def readmes_example(adapter: str) -> dict[str, Any]:
    """What the README's example of an adapter defines, as printed."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    [example] = [block for block in blocks if f"raftstate.adapters.{adapter}" in block]
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # it is ours
    return names


def test_the_readmes_example(endpoints: str) -> None:
    """What fails in the middle goes on from there."""
    names = readmes_example("langgraph")
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


def test_the_readmes_example_of_eventsourcing(endpoints: str) -> None:
    """Another process finds what one has saved."""
    names = readmes_example("eventsourcing")
    application, boundaries = names["application"], names["boundaries"]
    one, other = application(endpoints), application(endpoints)
    saved = Aggregate()
    one.save(saved)
    assert other.repository.get(saved.id) == saved
    assert [note.originator_id for note in other.notification_log.select(1, 9)] == [saved.id]
    one.close()
    other.close()
    with boundaries(endpoints) as one, boundaries(endpoints) as other:
        nothing = DCBAppendCondition()
        assert one.recorder.append([DCBEvent("t", b"", ["a"])], nothing) == 1
        with pytest.raises(IntegrityError):
            other.recorder.append([DCBEvent("t", b"", ["a"])], nothing)


def test_the_readmes_example_of_pybreaker(endpoints: str) -> None:
    """What one process sees fail opens the breaker of another."""
    payments = readmes_example("pybreaker")["payments"]
    one, other = payments(endpoints), payments(endpoints)
    for count in range(1, 6):
        with pytest.raises(pybreaker.CircuitBreakerError if count == 5 else ValueError):
            one.call(int, "no number")
        assert other.fail_counter == count
    with pytest.raises(pybreaker.CircuitBreakerError):
        other.call(str)
    for breaker in (one, other):
        breaker._state_storage.close()


def test_the_readmes_example_of_mcp(endpoints: str) -> None:
    """The sessions of its server have an event store each."""
    server = Server("README")
    assert readmes_example("mcp")["app"](server, endpoints).routes
    manager = server.session_manager
    assert isinstance(manager, RaftSessionManager)

    async def story() -> None:
        one, other = manager.event_store, manager.event_store
        assert one is not None
        assert other is not None
        first = await one.store_event("1", None)
        last = await one.store_event("1", JSONRPCNotification(jsonrpc="2.0", method="m"))
        sent: list[str | None] = []

        async def send(event: EventMessage) -> None:
            sent.append(event.event_id)

        assert await one.replay_events_after(first, send) == "1"
        assert await other.replay_events_after(first, send) is None
        assert sent == [last]

    asyncio.run(story())
