"""A process that runs the graph, or stands by until it may.

    python -m raftstate.examples.langgraph_takeover.worker --endpoints A,B,C \
        --agent ID --folder DIR --bills N

It waits until it owns the agent; then its saver and its memory write under the agent's
fence, the graph goes on where the last checkpoint is, and what was left open at the bank
is found out. It says what happens, one JSON object a line. The exit status is 0 when the
graph has ended, and 3 when the ownership was lost.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

import raftstate
from raftstate.adapters.langgraph import RaftSaver, RaftStore
from raftstate.examples.langgraph_takeover.graph import build, plain, request
from raftstate.examples.takeover.bank import Bank
from raftstate.examples.takeover.standby import Task, main, say

# Two supersteps a payment and more: LangGraph's own limit is for graphs that do not end.
STEPS_A_BILL: Final = 6


async def work(agent: raftstate.AgentHandle, task: Task) -> None:
    """Run the agent's graph to the end."""
    async with (
        RaftSaver(task.endpoints, name=task.agent_id, owner=agent) as saver,
        RaftStore(task.endpoints, name=task.agent_id, owner=agent) as memory,
    ):
        graph = build(agent, Bank(task.folder)).compile(checkpointer=saver, store=memory)
        await run(graph, task.count)
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


if __name__ == "__main__":
    sys.exit(main(work, "bills", __doc__))
