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

import argparse
import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from langgraph.checkpoint.base import empty_checkpoint

from raftstate.adapters.langgraph import RaftSaver, RaftStore
from raftstate.adapters.records import Owner
from raftstate.errors import Fenced, RaftStateError
from raftstate.examples.langgraph_takeover.bank import Bank
from raftstate.examples.langgraph_takeover.graph import bills
from raftstate.localcluster import LocalCluster, LocalClusterError
from raftstate.v1.common_pb2 import FencingToken

T = TypeVar("T")
Line = dict[str, Any]

GOOD, BAD, USAGE = 0, 1, 2
# A run takes seconds; a part of it that takes this long hangs.
PART_S: Final = 90.0
BILLS: Final = 8
BILLS_MAX: Final = 200
POLL_S: Final = 0.02


class NotAsPlanned(Exception):
    """Something did not happen, or not in time."""


class Worker:
    """A process that runs the graph."""

    def __init__(self, name: str, endpoints: str, agent: str, folder: Path, count: int) -> None:
        self.name = name
        self._said = folder / f"{name}.out"
        self._errors = folder / f"{name}.err"
        command = [
            *(sys.executable, "-m", "raftstate.examples.langgraph_takeover.worker"),
            *("--endpoints", endpoints, "--agent", agent),
            *("--folder", str(folder), "--bills", str(count)),
        ]
        with self._said.open("wb") as out, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
            )

    def lines(self) -> list[Line]:
        """All that it has said."""
        whole = self._said.read_text().split("\n")[:-1]
        return [json.loads(line) for line in whole]

    def said(self, event: str) -> Line | None:
        """The last line of a kind."""
        return next((line for line in reversed(self.lines()) if line["event"] == event), None)

    def wait(self, event: str) -> Line:
        """Wait for a line. Raises NotAsPlanned."""
        return self.until(lambda: self.said(event), f"it says {event!r}")

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait for something while the process lives. Raises NotAsPlanned."""
        return until(condition, f"{self.name}: {what}", self._check)

    def _check(self) -> None:
        status = self.process.poll()
        if status not in (None, 0):
            tail = self._errors.read_text()[-2000:]
            raise NotAsPlanned(f"{self.name} ended with {status}: {tail}")

    def ended(self) -> Line:
        """Wait until the graph has ended, and the process with it. Raises NotAsPlanned."""
        line = self.wait("ended")
        self.until(lambda: True if self.process.poll() == 0 else None, "the process ends")
        return line

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


def until(
    condition: Callable[[], T | None], what: str, check: Callable[[], None] = lambda: None
) -> T:
    """Wait, with a bound, until something is. Raises NotAsPlanned."""
    end = time.monotonic() + PART_S
    while (found := condition()) is None:
        check()
        if time.monotonic() > end:
            raise NotAsPlanned(f"within {PART_S:.0f} s it did not come to this: {what}")
        time.sleep(POLL_S)
    return found


class Demo:
    """One run. `run` gives the figures, and everything that is wrong."""

    def __init__(
        self, endpoints: str, cluster: LocalCluster | None, folder: Path, count: int, tell: Any
    ) -> None:
        self._endpoints = endpoints
        self._cluster = cluster
        self._folder = folder
        self._count = count
        self._tell = tell
        self._workers: list[Worker] = []
        self._run = secrets.token_hex(4)

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """Do it all."""
        try:
            calm = self._undisturbed()
            return self._disturbed(calm)
        finally:
            for worker in self._workers:
                worker.kill()

    def _start(self, name: str, kind: str) -> Worker:
        folder = self._folder / kind
        folder.mkdir(exist_ok=True)
        agent = f"{kind}-{self._run}"
        worker = Worker(name, self._endpoints, agent, folder, self._count)
        self._workers.append(worker)
        return worker

    def _undisturbed(self) -> Worker:
        self._tell(f"a worker that nobody disturbs pays {self._count} bills")
        worker = self._start("worker", "undisturbed")
        worker.ended()
        return worker

    def _disturbed(self, calm: Worker) -> tuple[dict[str, Any], list[str]]:
        first = self._start("first", "disturbed")
        bank = Bank(self._folder / "disturbed")
        middle = bills(self._count)[self._count // 2]["bill"]
        bank.hold(middle)
        owned = first.wait("owned")
        second = self._start("second", "disturbed")
        second.wait("waiting")

        def held() -> bool | None:
            return any(one["bill"] == middle for one in bank.payments()) or None

        first.until(held, f"{middle} is paid")
        paid = len(bank.payments())
        self._tell(f"the bank has paid {paid} bills, and has not answered for {middle}")
        first.kill()
        killed_at = time.time()
        self._tell("killed: the worker, in the middle of its tool call")
        leader = self._kill_leader()
        taken = second.wait("owned")
        bank.release()
        takeover_s = taken["at"] - killed_at
        self._tell(
            f"the standby owns the agent {takeover_s:.2f} s later, under token"
            f" {_told(taken)} for {_told(owned)}; left open: {', '.join(taken['open'])}"
        )
        refused = self._refused(Owner(f"disturbed-{self._run}", _token(owned)))
        for what, how in refused.items():
            self._tell(f"{what} under the dead worker's token: {how}")
        second.ended()
        begins = second.wait("begins")
        self._tell(
            f"it went on at {', '.join(begins['at_node'])} with {begins['paid']} bills booked,"
            " and has ended"
        )
        figures, wrong = self._compared(calm, second, bank)
        figures |= {
            "killed_at": "pay",
            "leader_killed": leader,
            "open_effects": taken["open"],
            "resumed_at": begins["at_node"],
            "takeover_s": round(takeover_s, 3),
            "stale_writes": refused,
        }
        if begins["at_node"] != ["pay"]:
            wrong.append(f"it went on at {begins['at_node']}, not where the first was killed")
        if len(taken["open"]) != 1:
            wrong.append(f"{len(taken['open'])} effects were left open, not one")
        wrong += [
            f"{what} under the dead worker's token was not refused"
            for what, how in refused.items()
            if how != "FENCED"
        ]
        return figures | {"wrong": wrong}, wrong

    def _kill_leader(self) -> str | None:
        if self._cluster is None:
            return None
        leader = self._cluster.wait_leader()
        self._cluster.kill(leader)
        self._tell(f"killed: {leader}, the leader")
        return leader

    def _refused(self, stale: Owner) -> dict[str, str]:
        """What the store says to who owned the agent once."""
        config: Any = {"configurable": {"thread_id": "bills", "checkpoint_ns": ""}}
        said: dict[str, str] = {}
        with (
            RaftSaver(self._endpoints, name=stale.agent_id, owner=stale) as saver,
            RaftStore(self._endpoints, name=stale.agent_id, owner=stale) as memory,
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

    def _compared(
        self, calm: Worker, second: Worker, bank: Bank
    ) -> tuple[dict[str, Any], list[str]]:
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
        paid = Counter(one["bill"] for one in bank.payments())
        wanted = [one["bill"] for one in bills(self._count)]
        missing = [bill for bill in wanted if not paid[bill]]
        doubled = [bill for bill, times in paid.items() if times > 1]
        wrong += [f"{bill} was never paid" for bill in missing]
        wrong += [f"{bill} was paid {paid[bill]} times" for bill in doubled]
        figures = {
            "same_state": ends[0] | {"at": 0} == ends[1] | {"at": 0},
            "same_memory": memories[0] == memories[1],
            "messages": len(ends[1]["state"]["messages"]),
            "steps": ends[1]["steps"],
            "bills": self._count,
            "payments": sum(paid.values()),
            "missing": len(missing),
            "doubled": len(doubled),
        }
        return figures, wrong


def _told(owned: Line) -> str:
    return f"{owned['epoch']}/{owned['revision']}"


def _token(owned: Line) -> FencingToken:
    return FencingToken(epoch=owned["epoch"], revision=owned["revision"])


@contextlib.contextmanager
def _running(endpoints: str | None, folder: Path) -> Iterator[tuple[str, LocalCluster | None]]:
    if endpoints is not None:
        yield endpoints, None
        return
    with LocalCluster.create(folder / "cluster", nodes=3) as cluster:
        cluster.wait_leader()
        yield cluster.endpoints, cluster


def main(arguments: list[str] | None = None) -> int:
    """Run the demo, and say how it went. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="langgraph_takeover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--endpoints", help="a cluster that runs; else one of three is started")
    parser.add_argument("--bills", type=int, default=BILLS, help=f"2 to {BILLS_MAX}")
    parser.add_argument("--json", action="store_true", help="the figures as one line")
    given = parser.parse_args(arguments)
    if not 2 <= given.bills <= BILLS_MAX:
        print(f"langgraph_takeover: --bills is 2 to {BILLS_MAX}", file=sys.stderr)
        return USAGE
    out = sys.stderr if given.json else sys.stdout

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.2f} s  {text}", file=out, flush=True)

    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="raftstate-langgraph-") as scratch,
            _running(given.endpoints, Path(scratch)) as (endpoints, cluster),
        ):
            demo = Demo(endpoints, cluster, Path(scratch), given.bills, tell)
            figures, wrong = demo.run()
    except (NotAsPlanned, LocalClusterError, RaftStateError) as error:
        print(f"langgraph_takeover: {error}", file=sys.stderr)
        return BAD
    for complaint in wrong:
        print(f"langgraph_takeover: {complaint}", file=sys.stderr)
    tell(
        f"{figures['payments']} payments for {figures['bills']} bills,"
        f" {figures['doubled']} doubled, {figures['missing']} missing; the state is"
        f" {'the same' if not wrong else 'NOT the same'} as in the undisturbed run"
    )
    if given.json:
        print(json.dumps(figures))
    return BAD if wrong else GOOD
