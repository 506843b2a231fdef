"""What the plan says happens to the cluster and the crew, and that it really did.

Each strike is a generator that the run advances a few hundred times a second, while
the work goes on: it yields until what it waits for is true, and fails if that takes
too long. Everything it does is written down, with what the system said of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from raftstate.examples.census.crew import Crew, Worker
from raftstate.examples.census.evidence import Journal
from raftstate.examples.census.plan import AGENT_KILL, LEADER_KILL, Plan, Strike
from raftstate.examples.census.view import View
from raftstate.examples.census.watch import Watch
from raftstate.localcluster import LocalCluster

PATIENCE_S = 45.0
SUCCESSOR_STEPS = 5
LONG_WORK_BYTES = 40_000  # parsing takes several times as long as it takes us to notice

Going = Generator[None, None, None]


class NotAsPlanned(Exception):
    """A planned event did not happen, or not as it was planned."""


@dataclass(slots=True)
class Strikes:
    """Carries out a plan."""

    plan: Plan
    sizes: list[int]
    cluster: LocalCluster
    crew: Crew
    watch: Watch
    kills: Journal
    view: View
    _left: list[Strike] = field(init=False)
    _current: Going | None = field(init=False, default=None)
    _returning: list[Going] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._left = list(self.plan.strikes)

    @property
    def over(self) -> bool:
        """Everything happened, and who was killed is back."""
        return not (self.striking or self._returning)

    @property
    def striking(self) -> bool:
        """A strike is under way, or still to come."""
        return bool(self._left or self._current)

    def advance(self) -> None:
        """Go on with what is under way; begin what is due."""
        self._returning = [going for going in self._returning if _goes_on(going)]
        if self._current is not None and not _goes_on(self._current):
            self._current = None
        if self._current is None and self._left and self.crew.files_done >= self._left[0].at:
            self._current = self._begin(self._left.pop(0))

    def missed(self) -> str:
        """What can no longer happen, for all files are done."""
        return ", ".join(f"{strike.kind} at {strike.at} files" for strike in self._left)

    def _begin(self, strike: Strike) -> Going:
        if strike.kind == AGENT_KILL:
            return self._kill_agent(strike)
        if strike.kind == LEADER_KILL:
            return self._kill_leader(strike)
        return self._pause(strike)

    # --- an agent dies -----------------------------------------------------------

    def _kill_agent(self, strike: Strike) -> Going:
        yield from until("one active and one standby", self._paired)
        worker = self.crew.active
        assert worker is not None
        done = self.crew.files_done
        at, done_at, status = self.crew.kill(worker)
        self.crew.hire()
        self._note("kill", strike, "agent", worker, "SIGKILL", (at, done_at, status), done)
        self.view.progress.agent_kills += 1
        self.view.tell(f"killed {worker.name} (pid {worker.pid}), the active agent")
        yield from until("the standby took over", lambda: self._took_over(worker))

    def _paired(self) -> bool:
        return self.crew.active is not None and self.crew.standby is not None

    def _took_over(self, former: Worker) -> bool:
        active = self.crew.active
        return (
            active is not None
            and active.token > former.token
            and any(line["kind"] == "step" for line in active.lines)
        )

    # --- an agent freezes ----------------------------------------------------------

    def _pause(self, strike: Strike) -> Going:
        """Stop the active agent inside a step, until its successor has written; then let
        it go on. What it then tries is its next ordinary step."""
        worker = yield from self._stop_inside_a_step(strike)
        self.crew.hire()
        self.view.tell(f"stopped {worker.name} (pid {worker.pid}) in the middle of a step")
        yield from until("a successor wrote", lambda: self._successor_wrote(worker))
        done = self.crew.files_done
        times = self.crew.resume(worker)
        self._note("resume", strike, "agent", worker, "SIGCONT", times, done)
        self.view.tell(f"resumed {worker.name}, which does not know what it missed")
        yield from until("the resumed agent was refused and left", lambda: worker.gone)

    def _stop_inside_a_step(self, strike: Strike) -> Generator[None, None, Worker]:
        """A stop that came too late, when the commit was already on its way, is undone at
        once, well within the time to live, and tried again on another large file."""
        while True:
            yield from until("an active agent inside a step", lambda: self._deep(strike))
            worker = self.crew.active
            assert worker is not None
            done = self.crew.files_done
            times = self.crew.stop(worker)
            self.crew.poll()
            held = worker.at == "begun"
            self._note("stop", strike, "agent", worker, "SIGSTOP", times, done, held=held)
            if held:
                return worker
            times = self.crew.resume(worker)
            self._note("resume", strike, "agent", worker, "SIGCONT", times, done)
            self.view.tell(f"missed {worker.name} inside its step; trying again")
            yield from until("the agent went on", partial(_went_on, worker, len(worker.lines)))

    def _deep(self, strike: Strike) -> bool:
        active = self.crew.active
        if active is None or self.crew.standby is None or active.at != "begun":
            return False
        index = active.lines[-1]["index"]
        return bool(
            index == strike.at or (index > strike.at and self.sizes[index] >= LONG_WORK_BYTES)
        )

    def _successor_wrote(self, stopped: Worker) -> bool:
        active = self.crew.active
        return (
            active is not None
            and active.token > stopped.token
            and sum(line["kind"] == "step" for line in active.lines) >= SUCCESSOR_STEPS
        )

    # --- a leader dies ---------------------------------------------------------------

    def _kill_leader(self, strike: Strike) -> Going:
        yield from until("every member is up", lambda: not self._returning)
        yield from until("a member leads", lambda: bool(self.watch.leader))
        # Asked once more just before: that it led is the last that is heard of it.
        said = self.watch.sample()
        leader = self.watch.leader
        if not leader:
            raise NotAsPlanned(f"nobody leads at {self.crew.files_done} files: {sorted(said)}")
        done = self.crew.files_done
        sent = self.cluster.kill(leader)
        self.kills.write(
            "kill",
            at=sent.monotonic_s,
            strike=strike.number,
            role="leader",
            target=leader,
            pid=sent.pid,
            signal=sent.signal,
            files_done=done,
            done_at=time.monotonic(),
            wait_status=f"killed by {sent.signal}" if sent.returncode == -9 else "unknown",
        )
        self.view.progress.leader_kills += 1
        self.view.tell(f"killed {leader} (pid {sent.pid}), the leader")
        first = self.view.progress.leader_kills == 1
        self._returning.append(self._bring_back(leader, strike, fall_behind=first))
        yield from until("another leader", lambda: self.watch.leader not in {"", leader})

    def _bring_back(self, name: str, strike: Strike, *, fall_behind: bool) -> Going:
        """Restart a killed leader. One stays down until nobody holds the entries that it
        would need next, so that only a snapshot can bring it back."""
        yield from until("another leader", lambda: self.watch.leader not in {"", name})
        # No entry beyond this one was ever agreed on with the dead leader.
        end = int(self.watch.latest[self.watch.leader]["last_index"])
        if fall_behind:
            self.view.tell(f"{name} stays down until the log is cut past entry {end}")
            yield from until(
                f"the log was cut past entry {end}", lambda: self._all_cut_past(end, name)
            )
        pid = self.cluster.start_node(name, wait=False)
        self.kills.write("restart", strike=strike.number, target=name, pid=pid)
        self.view.tell(f"restarted {name} (pid {pid})")
        yield from until(f"{name} caught up", lambda: self._caught_up(name, pid))
        if fall_behind:
            yield from until(f"{name} installed a snapshot", lambda: self._installed(name, pid))
        self.view.tell(f"{name} is back{' by snapshot install' if fall_behind else ''}")

    def _all_cut_past(self, end: int, but: str) -> bool:
        others = [line for name, line in self._said().items() if name != but]
        return bool(others) and all(line["first_index"] > end + 1 for line in others)

    def _caught_up(self, name: str, pid: int) -> bool:
        said = self._said()
        own, leader = said.get(name), said.get(self.watch.leader)
        return (
            own is not None
            and leader is not None
            and own["pid"] == pid
            and own["applied_index"] >= leader["first_index"]
            and own["leader"] == leader["member"]
        )

    def _installed(self, name: str, pid: int) -> bool:
        own = self._said().get(name)
        return own is not None and own["pid"] == pid and own["snapshots_installed"] > 0

    def _said(self) -> dict[str, dict[str, Any]]:
        return dict(self.watch.latest)

    # --- what is written down -----------------------------------------------------------

    def _note(
        self,
        kind: str,
        strike: Strike,
        role: str,
        worker: Worker,
        signal: str,
        times: tuple[float, float, str],
        done: int,
        **more: Any,
    ) -> None:
        at, done_at, status = times
        self.kills.write(
            kind,
            at=at,
            strike=strike.number,
            role=role,
            target=worker.name,
            pid=worker.pid,
            signal=signal,
            files_done=done,
            done_at=done_at,
            wait_status=status,
            **more,
        )


def until(what: str, condition: Callable[[], bool], patience: float = PATIENCE_S) -> Going:
    """Yield until a condition is true. Raises NotAsPlanned if it is not in time."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise NotAsPlanned(f"not within {patience:g} s: {what}")
        yield


def _went_on(worker: Worker, lines: int) -> bool:
    return worker.gone or len(worker.lines) > lines


def _goes_on(going: Going) -> bool:
    """Advance it; whether there is more to come."""
    try:
        next(going)
    except StopIteration:
        return False
    return True
