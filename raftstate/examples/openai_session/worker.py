r"""A process that converses, or stands by until it may.

    python -m raftstate.examples.openai_session.worker --endpoints A,B,C \
        --agent ID --folder DIR --questions N

It waits until it owns the agent; its session then writes under the agent's fence. What a
predecessor left of a turn that was not answered is taken back, and the conversation goes on
from there. It says what happens, one JSON object a line. The exit status is 0 when all
questions are answered, and 3 when the ownership was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from agents import RunConfig, Runner

import raftstate
from raftstate.adapters.openai_agents import RaftSession
from raftstate.errors import Fenced, OwnershipLost
from raftstate.examples.langgraph_takeover.bank import Bank
from raftstate.examples.openai_session.clerk import answered, clerk, is_answer, plain, question

GOOD, LOST = 0, 3
SESSION: Final = "desk"
# Long enough to outlive an election between two renewals, on a busy machine as well.
TTL_S: Final = 3.0
TIMEOUT_S: Final = 60.0
QUIET: Final = RunConfig(tracing_disabled=True)


def say(event: str, **what: Any) -> None:
    """One line for whoever listens."""
    print(json.dumps({"event": event, "at": time.time(), **what}), flush=True)


async def work(endpoints: str, agent_id: str, folder: Path, questions: int) -> None:
    """Own the agent, and hold its conversation to the end."""
    async with raftstate.connect(endpoints, timeout=TIMEOUT_S) as store:
        say("waiting")
        async with store.own(agent_id, wait=True, ttl=TTL_S) as agent:
            say(
                "owned",
                epoch=agent.token.epoch,
                revision=agent.token.revision,
                open=[effect.effect_id for effect in agent.open_effects],
            )
            async with RaftSession(endpoints, SESSION, name=agent_id, owner=agent) as session:
                await taken_back(session)
                one = clerk(agent, Bank(folder))
                for number in range(answered(await session.get_items()), questions):
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


def main(arguments: list[str] | None = None) -> int:
    """Be a worker. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker", description=str(__doc__).splitlines()[0])
    parser.add_argument("--endpoints", required=True)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--questions", type=int, required=True)
    given = parser.parse_args(arguments)
    try:
        asyncio.run(work(given.endpoints, given.agent, given.folder, given.questions))
    except (OwnershipLost, Fenced) as error:
        say("lost", why=str(error))
        return LOST
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
