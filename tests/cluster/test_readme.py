"""The README's agent is a program: it runs as printed, against a real cluster.

The other examples are in `tests/test_readme.py`.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

import raftstate
from raftstate.localcluster import LocalCluster

pytestmark = pytest.mark.live

README = Path(__file__).parents[2] / "README.md"


def agent_of_the_readme() -> str:
    """The first Python block of the README, without the line that runs it."""
    block, *_ = re.findall(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
    )
    program, started = re.subn(r"^asyncio\.run\(.*\n", "", block, flags=re.MULTILINE)
    assert started == 1
    return str(program)


def test_the_agent_of_the_readme_runs_and_goes_on(cluster: LocalCluster) -> None:
    """
    It does its work once, and a second run with more items does only what is new.

    Method: run it with three items, then with five; read the events.
    """
    namespace: dict[str, Any] = {}
    exec(compile(agent_of_the_readme(), "README.md", "exec"), namespace)
    endpoints = cluster.endpoints

    asyncio.run(namespace["main"](endpoints, ["a", "b", "c"]))
    asyncio.run(namespace["main"](endpoints, ["a", "b", "c", "d", "e"]))

    async def charged() -> list[str]:
        async with raftstate.connect(endpoints) as store:
            events = store.read_events("billing/nightly")
            return [json.loads(event.data)["item"] async for event in events]

    assert asyncio.run(charged()) == ["a", "b", "c", "d", "e"]


def test_the_agent_of_the_readme_has_fifteen_lines() -> None:
    """As promised there, blank lines not counted."""
    block = agent_of_the_readme()
    lines = [line for line in block.splitlines() if line.strip()]

    assert len(lines) + 1 <= 15
