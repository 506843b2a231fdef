"""A conversation of the OpenAI Agents SDK whose process and whose leader are killed.

    python -m raftstate.examples.openai_session [--json] [--questions N] [--endpoints A,B,C]

Three nodes and, first, one worker process that nobody disturbs: the SDK's runner, with a fake
model and a tool that pays bills at a bank, and its history in a `RaftSession`. Then the same
again with a standby beside it. When the bank has paid a bill in the middle and has not
answered yet, the worker is killed with SIGKILL, and the leader of the cluster right after it.
The standby takes the agent over, takes back the turn that was not answered, asks the bank
about the payment that was left open, and goes on.

At the end the two conversations have to be the same, item by item; every bill has to be paid
once; and what is added under the dead worker's token has to be refused. With `--endpoints`,
another cluster is used, and no leader is killed.

With `--json` the last line of standard output is one object with the figures; progress goes to
standard error. The exit status is 0 if all is well, 1 if not, 2 for wrong usage.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

from raftstate.adapters.openai_agents import RaftSession
from raftstate.adapters.records import Owner
from raftstate.errors import Fenced
from raftstate.examples.openai_session.clerk import question
from raftstate.examples.openai_session.worker import SESSION
from raftstate.examples.takeover import demo
from raftstate.examples.takeover.workers import Worker


class SessionDemo(demo.Demo):
    """One run, whose workers converse."""

    example = "openai_session"
    does = "answers"
    counted = "questions"
    usual = 6

    def disturbed(self, calm: Worker) -> demo.Outcome:
        """Kill a worker between payment and answer, and compare its standby's conversation
        with the undisturbed one. Raises NotAsPlanned."""
        middle = self.count // 2
        bill = question(middle).split()[-1]
        first, second = self.held_up(bill)
        self.tell(f"the bank has paid {bill}, and has not answered")
        taken = self.taken_over(first, second)
        self.tell(f"the standby owns the agent {taken.seconds:.2f} s later")
        back = second.wait("taken_back")["items"]
        begins = second.wait("begins")
        self.tell(
            f"it found {begins['items']} items and {begins['answered']} answers; took back"
            f" {back} items of a turn without an answer"
        )
        stale = asyncio.run(self._stale(taken.stale))
        self.tell(f"an item under the dead worker's token: {stale}")
        items, undisturbed = second.ended()["items"], calm.wait("ended")["items"]
        paid = Counter(one["bill"] for one in self.bank.payments())
        wanted = [question(number).split()[-1] for number in range(self.count)]
        figures = {
            "same_items": items == undisturbed,
            "items": len(items),
            "questions": self.count,
            "answered_before_kill": begins["answered"],
            "taken_back": back,
            "open_effects": taken.open_effects,
            "leader_killed": taken.leader_killed,
            "takeover_s": round(taken.seconds, 3),
            "stale_write": stale,
            "payments": sum(paid.values()),
            "missing": sum(not paid[one] for one in wanted),
            "doubled": sum(times > 1 for times in paid.values()),
        }
        return figures, list(_wrong(figures, middle, undisturbed, items))

    @staticmethod
    def summary(figures: dict[str, Any]) -> str:
        """The figures in one sentence."""
        return (
            f"{figures['items']} items, {figures['payments']} payments for"
            f" {figures['questions']} bills; the conversation is"
            f" {'the same as' if figures['same_items'] else 'NOT the same as'} undisturbed"
        )

    async def _stale(self, stale: Owner) -> str:
        """What the store says to who owned the agent once."""
        session = RaftSession(self.endpoints, SESSION, name=stale.agent_id, owner=stale)
        async with session:
            try:
                await session.add_items([{"role": "user", "content": "from the dead"}])
            except Fenced as error:
                return error.reason
            return "written"


def _wrong(
    figures: dict[str, Any], middle: int, calm: list[Any], items: list[Any]
) -> Iterator[str]:
    for number, (one, other) in enumerate(zip(calm, items, strict=False)):
        if one != other:
            yield f"item {number} is {other!r}, and was {one!r} undisturbed"
    if len(calm) != len(items):
        yield f"there are {len(items)} items, and were {len(calm)} undisturbed"
    if figures["answered_before_kill"] != middle:
        yield f"it went on after {figures['answered_before_kill']} answers, not {middle}"
    if len(figures["open_effects"]) != 1:
        yield f"{len(figures['open_effects'])} effects were left open, not one"
    if figures["stale_write"] != "FENCED":
        yield "an item under the dead worker's token was not refused"
    if figures["missing"] or figures["doubled"]:
        yield f"{figures['missing']} bills were not paid, {figures['doubled']} more than once"
