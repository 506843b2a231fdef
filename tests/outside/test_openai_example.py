"""The example of the OpenAI Agents SDK, run as a user runs it; and what the README shows of it,
and of another SDK that has sessions."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from agents import Agent
from agents.testing import ScriptedModel, assistant_message
from claude_agent_sdk import project_key_for_directory

import raftstate
from raftstate.adapters.openai_agents import RaftSession
from raftstate.localcluster import LocalCluster

ROOT = Path(__file__).parents[2]


def printed(adapter: str) -> dict[str, Any]:
    """What the README's example of an adapter defines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    [example] = [block for block in blocks if f"raftstate.adapters.{adapter} " in block]
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # it is ours
    return names


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


@pytest.mark.slow
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


def test_the_readmes_session(endpoints: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The README's example runs as printed: a second run goes on from the first, in a fenced
    session.
    """
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    answer = printed("openai_agents")["answer"]
    model = ScriptedModel([[assistant_message("good day")], [assistant_message("goodbye")]])
    clerk = Agent(name="clerk", model=model)

    async def run() -> None:
        async with raftstate.connect(endpoints, timeout=60.0) as store:
            assert await answer(store, endpoints, clerk, "hello") == "good day"
            assert await answer(store, endpoints, clerk, "bye") == "goodbye"
        async with RaftSession(endpoints, "customer-42") as session:
            items: list[Any] = list(await session.get_items())
        assert [one["content"] for one in items if one["role"] == "user"] == ["hello", "bye"]
        assert len(items) == 4

    asyncio.run(run())
    assert len(model.calls[1].input) == 3


def test_the_readmes_session_store(
    endpoints: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The README's example runs as printed: a local session is brought in, once.
    """
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    bring = printed("claude")["bring"]
    project = tmp_path / "project"
    project.mkdir()
    session = str(uuid.uuid4())
    line = {
        "type": "user",
        "uuid": str(uuid.uuid4()),
        "parentUuid": None,
        "sessionId": session,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "message": {"role": "user", "content": "hello"},
    }
    path = tmp_path / "projects" / project_key_for_directory(str(project)) / f"{session}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(line) + "\n")
    for _ in range(2):
        [info] = asyncio.run(bring(endpoints, session, str(project)))
        assert (info.session_id, info.first_prompt) == (session, "hello")
