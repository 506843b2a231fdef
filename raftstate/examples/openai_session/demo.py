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

import argparse
import asyncio
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

from raftstate.adapters.openai_agents import RaftSession
from raftstate.adapters.records import Owner
from raftstate.errors import Fenced, RaftStateError
from raftstate.examples.langgraph_takeover.bank import Bank
from raftstate.examples.openai_session.clerk import question
from raftstate.examples.openai_session.worker import SESSION
from raftstate.localcluster import LocalCluster, LocalClusterError
from raftstate.v1.common_pb2 import FencingToken

T = TypeVar("T")
Line = dict[str, Any]

GOOD, BAD, USAGE = 0, 1, 2
# A conversation takes seconds; a part of it that takes this long hangs.
PART_S: Final = 90.0
QUESTIONS: Final = 6
QUESTIONS_MAX: Final = 200
POLL_S: Final = 0.02


class NotAsPlanned(Exception):
    """Something did not happen, or not in time."""


class Worker:
    """A process that converses."""

    def __init__(self, name: str, endpoints: str, agent: str, folder: Path, count: int) -> None:
        self.name = name
        self._said = folder / f"{name}.out"
        self._errors = folder / f"{name}.err"
        command = [
            *(sys.executable, "-m", "raftstate.examples.openai_session.worker"),
            *("--endpoints", endpoints, "--agent", agent),
            *("--folder", str(folder), "--questions", str(count)),
        ]
        with self._said.open("wb") as out, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
            )

    def wait(self, event: str) -> Line:
        """Wait for a line of a kind. Raises NotAsPlanned."""
        return self.until(lambda: self._last(event), f"it says {event!r}")

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait for something while the process does well. Raises NotAsPlanned."""
        end = time.monotonic() + PART_S
        while (found := condition()) is None:
            if self.process.poll() not in (None, 0):
                tail = self._errors.read_text()[-2000:]
                raise NotAsPlanned(f"{self.name} ended with {self.process.poll()}: {tail}")
            if time.monotonic() > end:
                raise NotAsPlanned(f"{self.name}, within {PART_S:.0f} s: not so that {what}")
            time.sleep(POLL_S)
        return found

    def ended(self) -> list[Any]:
        """Wait for the end; the whole conversation. Raises NotAsPlanned."""
        items: list[Any] = self.wait("ended")["items"]
        self.until(lambda: True if self.process.poll() == 0 else None, "the process ends")
        return items

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def _last(self, event: str) -> Line | None:
        whole = self._said.read_text().split("\n")[:-1]
        lines: list[Line] = [json.loads(line) for line in whole]
        return next((line for line in reversed(lines) if line["event"] == event), None)


class Demo:
    """One run. `run` gives the figures, and everything that is wrong."""

    def __init__(
        self,
        endpoints: str,
        cluster: LocalCluster | None,
        folder: Path,
        count: int,
        tell: Callable[[str], None],
    ) -> None:
        self._endpoints = endpoints
        self._cluster = cluster
        self._folder = folder
        self._count = count
        self._tell = tell
        self._workers: list[Worker] = []
        self._run = secrets.token_hex(4)

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """Do it all. Raises NotAsPlanned."""
        try:
            self._tell(f"a worker that nobody disturbs answers {self._count} questions")
            calm = self._start("worker", "undisturbed").ended()
            return self._disturbed(calm)
        finally:
            for worker in self._workers:
                worker.kill()

    def _start(self, name: str, kind: str) -> Worker:
        folder = self._folder / kind
        folder.mkdir(exist_ok=True)
        worker = Worker(name, self._endpoints, f"{kind}-{self._run}", folder, self._count)
        self._workers.append(worker)
        return worker

    def _disturbed(self, calm: list[Any]) -> tuple[dict[str, Any], list[str]]:
        middle = self._count // 2
        bill = question(middle).split()[-1]
        folder = self._folder / "disturbed"
        folder.mkdir()
        bank = Bank(folder)
        bank.hold(bill)
        first = self._start("first", "disturbed")
        owned = first.wait("owned")
        second = self._start("second", "disturbed")
        second.wait("waiting")

        def held() -> bool | None:
            return any(one["bill"] == bill for one in bank.payments()) or None

        first.until(held, f"{bill} is paid")
        self._tell(f"the bank has paid {bill}, and has not answered")
        first.kill()
        killed_at = time.time()
        self._tell("killed: the worker, in the middle of its tool call")
        leader = self._kill_leader()
        taken = second.wait("owned")
        bank.release()
        takeover_s = taken["at"] - killed_at
        self._tell(f"the standby owns the agent {takeover_s:.2f} s later")
        back = second.wait("taken_back")["items"]
        begins = second.wait("begins")
        self._tell(
            f"it found {begins['items']} items and {begins['answered']} answers; took back"
            f" {back} items of a turn without an answer"
        )
        token = FencingToken(epoch=owned["epoch"], revision=owned["revision"])
        stale = asyncio.run(self._stale(Owner(f"disturbed-{self._run}", token)))
        self._tell(f"an item under the dead worker's token: {stale}")
        items = second.ended()
        paid = Counter(one["bill"] for one in bank.payments())
        wanted = [question(number).split()[-1] for number in range(self._count)]
        figures = {
            "same_items": items == calm,
            "items": len(items),
            "questions": self._count,
            "answered_before_kill": begins["answered"],
            "taken_back": back,
            "open_effects": taken["open"],
            "leader_killed": leader,
            "takeover_s": round(takeover_s, 3),
            "stale_write": stale,
            "payments": sum(paid.values()),
            "missing": sum(not paid[one] for one in wanted),
            "doubled": sum(times > 1 for times in paid.values()),
        }
        wrong = list(_wrong(figures, middle, calm, items))
        return figures | {"wrong": wrong}, wrong

    def _kill_leader(self) -> str | None:
        if self._cluster is None:
            return None
        leader = self._cluster.wait_leader()
        self._cluster.kill(leader)
        self._tell(f"killed: {leader}, the leader")
        return leader

    async def _stale(self, stale: Owner) -> str:
        """What the store says to who owned the agent once."""
        session = RaftSession(self._endpoints, SESSION, name=stale.agent_id, owner=stale)
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
        prog="openai_session",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--endpoints", help="a cluster that runs; else one of three is started")
    parser.add_argument(
        "--questions", type=int, default=QUESTIONS, help=f"2 to {QUESTIONS_MAX}"
    )
    parser.add_argument("--json", action="store_true", help="the figures as one line")
    given = parser.parse_args(arguments)
    if not 2 <= given.questions <= QUESTIONS_MAX:
        print(f"openai_session: --questions is 2 to {QUESTIONS_MAX}", file=sys.stderr)
        return USAGE
    out = sys.stderr if given.json else sys.stdout
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.2f} s  {text}", file=out, flush=True)

    try:
        with (
            tempfile.TemporaryDirectory(prefix="raftstate-openai-") as scratch,
            _running(given.endpoints, Path(scratch)) as (endpoints, cluster),
        ):
            demo = Demo(endpoints, cluster, Path(scratch), given.questions, tell)
            figures, wrong = demo.run()
    except (NotAsPlanned, LocalClusterError, RaftStateError) as error:
        print(f"openai_session: {error}", file=sys.stderr)
        return BAD
    for complaint in wrong:
        print(f"openai_session: {complaint}", file=sys.stderr)
    tell(
        f"{figures['items']} items, {figures['payments']} payments for"
        f" {figures['questions']} bills; the conversation is"
        f" {'the same as' if figures['same_items'] else 'NOT the same as'} undisturbed"
    )
    if given.json:
        print(json.dumps(figures))
    return BAD if wrong else GOOD
