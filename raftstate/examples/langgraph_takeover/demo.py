"""A LangGraph graph whose process and whose leader are killed in mid-run.

    python -m raftstate.examples.langgraph_takeover [--json] [--bills N] [--endpoints A,B,C]

Three nodes and, first, one worker process that nobody disturbs: a graph with a fake model
that pays bills at a bank, one tool call after another. Then the same again with a standby
beside it. When the bank has paid a bill in the middle and has not answered yet, the worker
is killed with SIGKILL, and the leader of the cluster right after it. The standby takes the
agent over, goes on from the last checkpoint, and asks the bank about the payment that was
left open.

At the end the two states have to be the same, message by message, and so the long-term
memories; every bill has to be paid once; and what is written under the dead worker's token
has to be refused. With `--endpoints`, another cluster is used, and no leader is killed.

With `--json` the last line of standard output is one object with the figures; progress goes
to standard error. The exit status is 0 if all is well, 1 if not, 2 for wrong usage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from raftstate.adapters.langgraph import RaftSaver, RaftStore
from raftstate.adapters.records import Owner
from raftstate.errors import Fenced
from raftstate.examples.langgraph_takeover.graph import bills
from raftstate.examples.takeover import demo
from raftstate.examples.takeover.workers import Worker


class GraphDemo(demo.Demo):
    """One run, whose workers run the graph."""

    example = "langgraph_takeover"
    does = "pays"
    counted = "bills"
    usual = 8

    def disturbed(self, calm: Worker) -> demo.Outcome:
        """Kill a worker between payment and answer, and compare its standby's graph with the
        undisturbed one. Raises NotAsPlanned."""
        middle = bills(self.count)[self.count // 2]["bill"]
        first, second = self.held_up(middle)
        paid = len(self.bank.payments())
        self.tell(f"the bank has paid {paid} bills, and has not answered for {middle}")
        taken = self.taken_over(first, second)
        self.tell(
            f"the standby owns the agent {taken.seconds:.2f} s later, under token"
            f" {_told(taken.owner)} for {_told(taken.stale)};"
            f" left open: {', '.join(taken.open_effects)}"
        )
        refused = self._refused(taken.stale)
        for what, how in refused.items():
            self.tell(f"{what} under the dead worker's token: {how}")
        second.ended()
        begins = second.wait("begins")
        self.tell(
            f"it went on at {', '.join(begins['at_node'])} with {begins['paid']} bills booked,"
            " and has ended"
        )
        figures, wrong = self._compared(calm, second)
        figures |= {
            "killed_at": "pay",
            "leader_killed": taken.leader_killed,
            "open_effects": taken.open_effects,
            "resumed_at": begins["at_node"],
            "takeover_s": round(taken.seconds, 3),
            "stale_writes": refused,
        }
        if begins["at_node"] != ["pay"]:
            wrong.append(f"it went on at {begins['at_node']}, not where the first was killed")
        if len(taken.open_effects) != 1:
            wrong.append(f"{len(taken.open_effects)} effects were left open, not one")
        wrong += [
            f"{what} under the dead worker's token was not refused"
            for what, how in refused.items()
            if how != "FENCED"
        ]
        return figures, wrong

    @staticmethod
    def summary(figures: dict[str, Any]) -> str:
        """The figures in one sentence."""
        return (
            f"{figures['payments']} payments for {figures['bills']} bills,"
            f" {figures['doubled']} doubled, {figures['missing']} missing; the state is"
            f" {'NOT the same' if figures['wrong'] else 'the same'} as in the undisturbed run"
        )

    def _refused(self, stale: Owner) -> dict[str, str]:
        """What the store says to who owned the agent once."""
        config: Any = {"configurable": {"thread_id": "bills", "checkpoint_ns": ""}}
        said: dict[str, str] = {}
        with (
            RaftSaver(self.endpoints, name=stale.agent_id, owner=stale) as saver,
            RaftStore(self.endpoints, name=stale.agent_id, owner=stale) as memory,
        ):
            writes: dict[str, Callable[[], Any]] = {
                "a checkpoint": lambda: saver.put(config, empty_checkpoint(), {}, {}),
                "an item of memory": lambda: memory.put(("vendors",), "aurora", {"cents": 0}),
            }
            for what, write in writes.items():
                try:
                    write()
                    said[what] = "written"
                except Fenced as error:
                    said[what] = error.reason
        return said

    def _compared(self, calm: Worker, second: Worker) -> demo.Outcome:
        wrong: list[str] = []
        ends = [worker.wait("ended") for worker in (calm, second)]
        memories = [worker.wait("memory")["items"] for worker in (calm, second)]
        for name in sorted({*ends[0]["state"], *ends[1]["state"]}):
            one, other = (end["state"].get(name) for end in ends)
            if one != other:
                wrong.append(f"the states differ in {name!r}: {one!r} and {other!r}")
        if ends[0]["steps"] != ends[1]["steps"]:
            wrong.append(f"one took {ends[0]['steps']} steps, the other {ends[1]['steps']}")
        if memories[0] != memories[1]:
            wrong.append(f"the memories differ: {memories[0]!r} and {memories[1]!r}")
        paid = Counter(one["bill"] for one in self.bank.payments())
        wanted = [one["bill"] for one in bills(self.count)]
        missing = [bill for bill in wanted if not paid[bill]]
        doubled = [bill for bill, times in paid.items() if times > 1]
        wrong += [f"{bill} was never paid" for bill in missing]
        wrong += [f"{bill} was paid {paid[bill]} times" for bill in doubled]
        figures = {
            "same_state": ends[0] | {"at": 0} == ends[1] | {"at": 0},
            "same_memory": memories[0] == memories[1],
            "messages": len(ends[1]["state"]["messages"]),
            "steps": ends[1]["steps"],
            "bills": self.count,
            "payments": sum(paid.values()),
            "missing": len(missing),
            "doubled": len(doubled),
        }
        return figures, wrong


def _told(owner: Owner) -> str:
    return f"{owner.token.epoch}/{owner.token.revision}"
