"""The course of a run: a worker that nobody disturbs, and then one that is killed.

When the bank has paid a bill in the middle and has not answered yet, the worker is killed
with SIGKILL, and the leader of the cluster right after it; a standby takes the agent over.
An example says what its worker is, and what has to be true at the end.
"""

from __future__ import annotations

import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from raftstate.adapters.records import Owner
from raftstate.examples.takeover.bank import Bank
from raftstate.examples.takeover.workers import Line, Worker
from raftstate.localcluster import LocalCluster
from raftstate.localcluster.process import signals_deferred
from raftstate.v1.common_pb2 import FencingToken

# The figures of a run, and everything that is wrong.
Outcome = tuple[dict[str, Any], list[str]]


class Takeover(NamedTuple):
    """How the standby came to own the agent."""

    stale: Owner
    """What the dead worker owned it under."""
    owner: Owner
    open_effects: list[str]
    leader_killed: str | None
    seconds: float
    """From the worker's death on."""


class Demo(ABC):
    """One run. `run` gives the figures, and everything that is wrong."""

    example: ClassVar[str]
    """The package that the worker is in; the name of the program as well."""
    does: ClassVar[str]
    """What a worker does with `counted`."""
    counted: ClassVar[str]
    """What there is a number of, as the option says it."""
    usual: ClassVar[int]

    def __init__(
        self,
        endpoints: str,
        cluster: LocalCluster | None,
        folder: Path,
        count: int,
        tell: Callable[[str], None],
    ) -> None:
        self.endpoints = endpoints
        self.count = count
        self.tell = tell
        self.bank = Bank(folder / "disturbed")
        self._cluster = cluster
        self._folder = folder
        self._workers: list[Worker] = []
        self._run = secrets.token_hex(4)

    def run(self) -> Outcome:
        """Do it all. Raises NotAsPlanned."""
        try:
            self.tell(f"a worker that nobody disturbs {self.does} {self.count} {self.counted}")
            calm = self._start("worker", "undisturbed")
            calm.ended()
            figures, wrong = self.disturbed(calm)
        finally:
            for worker in self._workers:
                worker.kill()
        return figures | {"wrong": wrong}, wrong

    @abstractmethod
    def disturbed(self, calm: Worker) -> Outcome:
        """Kill a worker by `held_up` and `taken_over`, and compare what its standby makes of
        it with what the undisturbed one did. Raises NotAsPlanned."""

    @staticmethod
    @abstractmethod
    def summary(figures: dict[str, Any]) -> str:
        """The figures in one sentence."""

    def held_up(self, bill: str) -> tuple[Worker, Worker]:
        """A worker whose bill the bank has paid, and does not answer for; and its standby.
        Raises NotAsPlanned."""
        (self._folder / "disturbed").mkdir()
        self.bank.hold(bill)
        first = self._start("first", "disturbed")
        first.wait("owned")
        second = self._start("second", "disturbed")
        second.wait("waiting")

        def held() -> bool | None:
            return any(one["bill"] == bill for one in self.bank.payments()) or None

        first.until(held, f"{bill} is paid")
        return first, second

    def taken_over(self, first: Worker, second: Worker) -> Takeover:
        """Kill the worker, and the leader; wait until the standby owns the agent, and let the
        bank answer. Raises NotAsPlanned."""
        first.kill()
        killed_at = time.time()
        self.tell("killed: the worker, in the middle of its tool call")
        leader = self._kill_leader()
        owned = second.wait("owned")
        self.bank.release()
        return Takeover(
            self._owner(first.wait("owned")),
            self._owner(owned),
            owned["open"],
            leader,
            owned["at"] - killed_at,
        )

    def _start(self, name: str, kind: str) -> Worker:
        folder = self._folder / kind
        folder.mkdir(exist_ok=True)
        command = [
            *(sys.executable, "-m", f"raftstate.examples.{self.example}.worker"),
            *("--endpoints", self.endpoints, "--agent", self._agent(kind)),
            *("--folder", str(folder), f"--{self.counted}", str(self.count)),
        ]
        with signals_deferred():
            worker = Worker(name, command, folder)
            self._workers.append(worker)
        return worker

    def _agent(self, kind: str) -> str:
        return f"{kind}-{self._run}"

    def _owner(self, owned: Line) -> Owner:
        token = FencingToken(epoch=owned["epoch"], revision=owned["revision"])
        return Owner(self._agent("disturbed"), token)

    def _kill_leader(self) -> str | None:
        if self._cluster is None:
            return None
        leader = self._cluster.wait_leader()
        self._cluster.kill(leader)
        self.tell(f"killed: {leader}, the leader")
        return leader
