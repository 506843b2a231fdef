"""A process that runs the graph, or stands by until it may.

    python -m raftstate.examples.langgraph_takeover.worker --endpoints A,B,C \
        --agent ID --folder DIR --bills N

It waits until it owns the agent; then its saver and its memory write under the agent's
fence, the graph goes on where the last checkpoint is, and what was left open at the bank
is found out. It says what happens, one JSON object a line. The exit status is 0 when the
graph has ended, and 3 when the ownership was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

import raftstate
from raftstate.adapters.langgraph import RaftSaver, RaftStore
from raftstate.errors import Fenced, OwnershipLost
from raftstate.examples.langgraph_takeover.bank import Bank
from raftstate.examples.langgraph_takeover.graph import build, plain, request

GOOD, LOST = 0, 3
# Long enough to outlive an election between two renewals, on a busy machine as well.
TTL_S: Final = 3.0
TIMEOUT_S: Final = 60.0
# Two supersteps a payment and more: LangGraph's own limit is for graphs that do not end.
STEPS_A_BILL: Final = 6


def say(event: str, **what: Any) -> None:
    """One line for whoever listens."""
    print(json.dumps({"event": event, "at": time.time(), **what}), flush=True)


async def work(endpoints: str, agent_id: str, folder: Path, bills: int) -> None:
    """Own the agent, and run its graph to the end."""
    async with raftstate.connect(endpoints, timeout=TIMEOUT_S) as store:
        say("waiting")
        async with store.own(agent_id, wait=True, ttl=TTL_S) as agent:
            say(
                "owned",
                epoch=agent.token.epoch,
                revision=agent.token.revision,
                open=[effect.effect_id for effect in agent.open_effects],
            )
            async with (
                RaftSaver(endpoints, name=agent_id, owner=agent) as saver,
                RaftStore(endpoints, name=agent_id, owner=agent) as memory,
            ):
                graph = build(agent, Bank(folder)).compile(checkpointer=saver, store=memory)
                await run(graph, bills)
                say("memory", items=await remembered(memory))


async def run(graph: Any, bills: int) -> None:
    """From the last checkpoint, if there is one, to the end."""
    config: RunnableConfig = {
        "configurable": {"thread_id": "bills"},
        "recursion_limit": STEPS_A_BILL * bills + 10,
    }
    before = await graph.aget_state(config)
    say("begins", at_node=list(before.next), paid=len(before.values.get("paid", [])))
    if before.next or not before.values:
        # Sync: a checkpoint is stored before the next node begins.
        given = None if before.values else request(bills)
        async for update in graph.astream(
            given, config, stream_mode="updates", durability="sync"
        ):
            say("ran", node=next(iter(update)))
    after = await graph.aget_state(config)
    say("ended", state=plain(after.values), steps=after.metadata["step"])


async def remembered(memory: RaftStore) -> dict[str, Any]:
    """What the long-term memory holds."""
    found = await memory.asearch(("vendors",), limit=100)
    return {one.key: one.value for one in sorted(found, key=lambda one: one.key)}


def main(arguments: list[str] | None = None) -> int:
    """Be a worker. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker", description=str(__doc__).splitlines()[0])
    parser.add_argument("--endpoints", required=True)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bills", type=int, required=True)
    given = parser.parse_args(arguments)
    try:
        asyncio.run(work(given.endpoints, given.agent, given.folder, given.bills))
    except (OwnershipLost, Fenced) as error:
        say("lost", why=str(error))
        return LOST
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
