"""Clients of plain registers: they write, read and compare, and remember everything.

A register is an agent's labels. Everybody may replace them (`write`), read them
(`read`), and make the agent if it is not there (`cas` of nothing). Each register is used
for a while and then left for a new one, so that the comparison is raced for again and
again, and each history stays short enough to be judged as a whole: see
`invariants.registers_are_linearizable`.
"""

from __future__ import annotations

from typing import Any

from jepsen_like.checkers.history import Outcome as Ending
from raftstate.v1.agent_service_pb2 import (
    Agent,
    CreateAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.common_pb2 import Label, RequestId
from raftstate.v1.store_pb2 import Command, Reason
from tests.sim import invariants
from tests.sim.clients import MUTE, Client, Fleet
from tests.sim.node import AgentRead
from tests.sim.tasks import Script

LABEL = "value"


class Registers:
    """What the clerks of a world share: which register is in use."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.acked = 0
        self.made: dict[str, None] = {}  # registers that somebody knows to be there
        self._uses_left = 0
        self._count = 0

    def begin(self, clerks: int) -> None:
        """Start so many clerks."""
        for _ in range(clerks):
            self.fleet.spawn(Clerk(self).life())

    def name(self) -> str:
        """The register to use now."""
        if self._uses_left == 0:
            self._count += 1
            self._uses_left = self.fleet.rng.choice((6, 20, 60))
        self._uses_left -= 1
        return f"register/{self._count}"


class Clerk(Client):
    """Somebody who writes registers and reads them. Some stick to a member until it
    sends them away, as some readers do."""

    def __init__(self, registers: Registers) -> None:
        super().__init__(registers.fleet, "clerk")
        self.registers = registers
        self.sticks = self.rng.random() < 0.5
        self.written = 0

    def life(self) -> Script:
        """From the first session to the end of the run."""
        while not self.fleet.closing:
            opened = yield from self.open_session()
            if not opened:
                continue
            self.fleet.spawn(self.keep_alive())
            while not self.session_over and not self.fleet.closing:
                yield from self.sleep(self.rng.expovariate(1.0 / (2 * self.habits.think_s)))
                yield from self.use(self.registers.name())
            self.session_over = True

    def use(self, name: str) -> Script:
        """One operation."""
        draw = self.rng.random()
        if draw < 0.5:
            yield from self.read(name)
        elif name not in self.registers.made or draw > 0.95:
            yield from self.make(name)
        else:
            yield from self.write(name)

    def read(self, name: str) -> Script:
        """Read it, linearizably."""
        asked = self.ask_register("read", name, None)
        told, _ = yield from self.call("read", name)
        if isinstance(told, AgentRead):
            self.told(asked, "ok", value_of(told.agent))
            self.fleet.reads += 1
        else:
            self.told(asked, "fail")

    def make(self, name: str) -> Script:
        """Set it if it is not there."""
        labels = [Label(name=LABEL, value=self.value())]
        asked = self.ask_register("cas", name, (None, labels[0].value))

        def fill(request_id: RequestId) -> Command:
            request = CreateAgentRequest(request_id=request_id, agent_id=name, labels=labels)
            return Command(create_agent=request)

        outcome, definite, _ = yield from self.mutate(fill)
        if outcome is None or outcome.refusal.reason in MUTE:
            self.told(asked, "fail" if definite else "info")
            return
        there = outcome.refusal.reason == Reason.REASON_AGENT_EXISTS
        assert there or outcome.HasField("create_agent"), f"{name} answered {outcome}"
        self.told(asked, "ok", not there)
        self.registers.acked += not there
        self.registers.made[name] = None

    def write(self, name: str) -> Script:
        """Set it, whatever it holds."""
        labels = [Label(name=LABEL, value=self.value())]
        asked = self.ask_register("write", name, labels[0].value)

        def fill(request_id: RequestId) -> Command:
            request = UpdateAgentRequest(request_id=request_id, agent_id=name, labels=labels)
            return Command(update_agent=request)

        outcome, definite, _ = yield from self.mutate(fill)
        if outcome is None or outcome.refusal.reason in MUTE:
            self.told(asked, "fail" if definite else "info")
            return
        invariants.must(
            outcome.HasField("update_agent"),
            f"{name} was there before somebody wrote to it, and then {outcome}",
        )
        self.told(asked, "ok")
        self.registers.acked += 1

    def told(self, asked: int, ending: Ending, result: Any = None) -> None:
        """Note how an operation ended."""
        self.fleet.history.complete(asked, ending, self.place.now, result)

    def value(self) -> str:
        """A value that nobody else writes."""
        self.written += 1
        return f"{self.name}/{self.written}"


def value_of(agent: Agent | None) -> str | None:
    """What a register holds."""
    return None if agent is None else agent.labels[0].value
