r"""A process that converses, or stands by until it may.

    python -m raftstate.examples.openai_session.worker --endpoints A,B,C \
        --agent ID --folder DIR --questions N

It waits until it owns the agent; its session then writes under the agent's fence. What a
predecessor left of a turn that was not answered is taken back, and the conversation goes on
from there. It says what happens, one JSON object a line. The exit status is 0 when all
questions are answered, and 3 when the ownership was lost.
"""

from __future__ import annotations

import sys
from typing import Final

from agents import RunConfig, Runner

import raftstate
from raftstate.adapters.openai_agents import RaftSession
from raftstate.examples.openai_session.clerk import answered, clerk, is_answer, plain, question
from raftstate.examples.takeover.bank import Bank
from raftstate.examples.takeover.standby import Task, main, say

SESSION: Final = "desk"
QUIET: Final = RunConfig(tracing_disabled=True)


async def work(agent: raftstate.AgentHandle, task: Task) -> None:
    """Hold the agent's conversation to the end."""
    async with RaftSession(task.endpoints, SESSION, name=task.agent_id, owner=agent) as session:
        await taken_back(session)
        one = clerk(agent, Bank(task.folder))
        for number in range(answered(await session.get_items()), task.count):
            text = question(number)
            result = await Runner.run(one, text, session=session, run_config=QUIET)
            say("answered", number=number, text=str(result.final_output))
        say("ended", items=plain(await session.get_items()))


async def taken_back(session: RaftSession) -> None:
    """Take back what belongs to no answer: its question is asked again."""
    items = await session.get_items()
    say("begins", items=len(items), answered=answered(items))
    back = 0
    while items and not is_answer(items.pop()):
        await session.pop_item()
        back += 1
    say("taken_back", items=back)


if __name__ == "__main__":
    sys.exit(main(work, "questions", __doc__))
