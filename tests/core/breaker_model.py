"""Breakers and incidents as one would explain them: every call in a list, nothing clever.

Written from the API's words, and sharing nothing with the machine. What a breaker's window
holds is found by going through all calls that were ever reported to it since it last
began to count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple


class Refused(Exception):
    """The model says no, and why."""


class Setting(NamedTuple):
    """A breaker's configuration, with what its zeros mean filled in."""

    last_calls: int
    window_ms: int
    failure: float
    slow: float
    least: int
    reporters: int
    open_ms: int
    factor: float
    most_ms: int
    probes: int
    successes: int
    timeout_ms: int
    action: str
    agents: tuple[str, ...]


class Call(NamedTuple):
    """One call: in which report, when that came, whose it was, and what came of it."""

    report: int
    at: int
    by: str
    failed: bool
    slow: bool
    bad_report: bool


class ModelPermit(NamedTuple):
    """Who may probe, and since when."""

    number: int
    by: str
    at: int


@dataclass
class ModelBreaker:
    """One breaker."""

    setting: Setting
    state: str = "CLOSED"
    generation: int = 1
    calls: list[Call] = field(default_factory=list)
    reports: int = 0
    permits: list[ModelPermit] = field(default_factory=list)
    successes: int = 0
    openings: int = 0
    until: int = 0
    degraded: bool = False
    incident: int = 0
    # When the window was looked at last: only a report does that.
    looked: int = 0

    def counted(self) -> list[Call]:
        """The calls that are in the window."""
        if self.setting.last_calls:
            return self._last_calls()
        tenth = self.setting.window_ms // 10
        # A call goes with the tenth of the window that it came in.
        return [
            call
            for call in self.calls
            if (call.at // tenth + 1) * tenth > self.looked - self.setting.window_ms
        ]

    def _last_calls(self) -> list[Call]:
        """Whole reports, from the newest back, until there are enough calls."""
        found: list[Call] = []
        for number in sorted({call.report for call in self.calls}, reverse=True):
            if len(found) >= self.setting.last_calls:
                break
            found = [call for call in self.calls if call.report == number] + found
        return found

    def reporters(self) -> list[str]:
        """Who has reported something bad."""
        return sorted({call.by for call in self.counted() if call.bad_report})

    def too_much(self) -> bool:
        """Whether what was counted trips it."""
        calls, setting = self.counted(), self.setting
        if len(calls) < setting.least or len(self.reporters()) < setting.reporters:
            return False
        failed = sum(call.failed for call in calls) / len(calls)
        slow = sum(call.slow for call in calls) / len(calls)
        return bool(
            (setting.failure and failed >= setting.failure)
            or (setting.slow and slow >= setting.slow)
        )


@dataclass
class ModelIncident:
    """One incident."""

    about: tuple[str, ...]
    detected: int
    breaker: str = ""
    evidence: int = 0
    notes: int = 0
    fenced: int = 0
    restored: int = 0
    resumed: int = 0
    resolved: int = 0
    open: bool = True


class BreakerModel:
    """Breakers, incidents, and who owns which agent."""

    def __init__(self) -> None:
        self.breakers: dict[str, ModelBreaker] = {}
        # The generations that breakers had when they were removed.
        self.removed = [0]
        self.incidents: list[ModelIncident] = []
        # agent -> its owner's session, and the incident of its loss.
        self.owners: dict[str, str] = {}
        self.losses: dict[str, int] = {}
        self.retired: set[str] = set()
        self.now = 0

    # --- incidents -----------------------------------------------------------

    def incident(self, number: int) -> ModelIncident:
        """The so manieth."""
        if not 1 <= number <= len(self.incidents):
            raise Refused("INCIDENT_NOT_FOUND")
        return self.incidents[number - 1]

    def opened(self, about: tuple[str, ...], evidence: int, breaker: str = "") -> int:
        """Open one."""
        made = ModelIncident(about, self.now, breaker, evidence)
        self.incidents.append(made)
        return len(self.incidents)

    def close(self, number: int) -> None:
        """Resolve one that is open."""
        incident = self.incidents[number - 1]
        if incident.open:
            incident.open, incident.resolved = False, self.now

    def over(self, number: int) -> None:
        """What it was about goes on."""
        incident = self.incidents[number - 1]
        incident.resumed = incident.resumed or self.now
        self.close(number)

    def annotate(self, number: int) -> None:
        """Add a note."""
        self.incident(number).notes += 1

    def resolve(self, number: int) -> None:
        """Close one by hand."""
        if not self.incident(number).open:
            raise Refused("PLAN_STATE")
        self.close(number)

    # --- agents --------------------------------------------------------------

    def acquire(self, agent: str, by: str, force: bool) -> None:
        """Own an agent."""
        if agent in self.retired:
            raise Refused("AGENT_STATE")
        if not force and self.owners.get(agent, by) != by:
            raise Refused("OWNED")
        self.owners[agent] = by
        if agent in self.losses:
            incident = self.incidents[self.losses[agent] - 1]
            incident.restored = incident.restored or self.now

    def lose(self, agent: str) -> None:
        """Its owner goes away."""
        del self.owners[agent]
        known = self.losses.get(agent, 0)
        if known and self.incidents[known - 1].open:
            self.incidents[known - 1].evidence += 1
            return
        self.losses[agent] = self.opened((agent,), 1)
        self.incidents[-1].fenced = self.now

    def step(self, agent: str, by: str) -> None:
        """Its owner writes."""
        if self.owners.get(agent) != by:
            raise Refused("NOT_OWNER")
        if agent in self.losses:
            self.over(self.losses.pop(agent))

    def retire(self, agent: str) -> None:
        """End an agent for good."""
        if agent in self.retired:
            raise Refused("AGENT_STATE")
        self.retired.add(agent)
        self.owners.pop(agent, None)
        if agent in self.losses:
            self.close(self.losses.pop(agent))

    def end_session(self, session: str, lost: bool) -> None:
        """A session goes with what it owns and may do."""
        for agent in sorted(each for each, owner in self.owners.items() if owner == session):
            if lost:
                self.lose(agent)
            else:
                del self.owners[agent]
        for breaker in self.breakers.values():
            breaker.permits = [each for each in breaker.permits if each.by != session]

    # --- breakers ------------------------------------------------------------

    def get(self, name: str) -> ModelBreaker:
        """One breaker."""
        if name not in self.breakers:
            raise Refused("BREAKER_NOT_FOUND")
        return self.breakers[name]

    def put(self, name: str, setting: Setting) -> None:
        """Make one, or change what it goes by."""
        if name not in self.breakers:
            self.breakers[name] = ModelBreaker(setting, generation=1 + max(self.removed))
            return
        breaker = self.breakers[name]
        if breaker.setting == setting:
            return
        breaker.setting = setting
        breaker.generation += 1
        breaker.calls, breaker.permits, breaker.successes = [], [], 0

    def delete(self, name: str) -> None:
        """Remove one."""
        breaker = self.get(name)
        if breaker.incident:
            self.over(breaker.incident)
        self.removed.append(breaker.generation)
        del self.breakers[name]

    def _enter(self, breaker: ModelBreaker, state: str) -> None:
        breaker.state = state
        breaker.generation += 1
        breaker.permits, breaker.successes = [], 0

    def _begin_anew(self, breaker: ModelBreaker, state: str) -> None:
        self._enter(breaker, state)
        breaker.calls, breaker.openings, breaker.until = [], 0, 0
        breaker.degraded = False
        if breaker.incident:
            self.over(breaker.incident)

    def _shut(self, breaker: ModelBreaker) -> None:
        setting = breaker.setting
        long = min(setting.open_ms * setting.factor**breaker.openings, setting.most_ms)
        self._enter(breaker, "OPEN")
        breaker.openings += 1
        breaker.until = self.now + math.floor(long)

    def permit(self, name: str, by: str, revision: int) -> int:
        """Ask for one call; the number of its permit, if it needs one."""
        breaker = self.get(name)
        if breaker.state in ("CLOSED", "FORCED_CLOSED"):
            return 0
        if breaker.state == "FORCED_OPEN":
            raise Refused("BREAKER_OPEN")
        if breaker.state == "OPEN":
            if self.now < breaker.until:
                raise Refused("BREAKER_OPEN")
            self._enter(breaker, "HALF_OPEN")
        if len(breaker.permits) == breaker.setting.probes:
            oldest = min(breaker.permits, key=lambda each: each.number)
            if self.now - oldest.at < breaker.setting.timeout_ms:
                raise Refused("BREAKER_OPEN")
            breaker.permits.remove(oldest)
        breaker.permits.append(ModelPermit(revision, by, self.now))
        return revision

    def report(
        self, name: str, by: str, generation: int, calls: int, failed: int, slow: int
    ) -> bool:
        """Take what came of calls; whether it counts."""
        breaker = self.get(name)
        if generation != breaker.generation:
            return False
        if breaker.state not in ("CLOSED", "FORCED_CLOSED"):
            return False
        breaker.reports += 1
        breaker.looked = self.now
        breaker.calls += [
            Call(breaker.reports, self.now, by, at < failed, at < slow, bool(failed or slow))
            for at in range(calls)
        ]
        if breaker.state == "CLOSED" and breaker.too_much():
            self._shut(breaker)
            self._trip(name, breaker)
        return True

    def _trip(self, name: str, breaker: ModelBreaker) -> None:
        agents = breaker.setting.agents
        breaker.incident = self.opened(agents, 2, name)
        if breaker.setting.action == "DEGRADE":
            breaker.degraded = True
        for agent in agents:
            self.incidents[-1].evidence += 1
            if self.owners.pop(agent, None) is not None:
                self.incidents[-1].fenced = self.now

    def probed(
        self, name: str, by: str, number: int, generation: int, failed: bool, slow: bool
    ) -> bool:
        """Take what a probe found; whether it counts."""
        breaker = self.get(name)
        mine = [each for each in breaker.permits if (each.number, each.by) == (number, by)]
        if generation != breaker.generation or not mine:
            return False
        breaker.permits.remove(mine[0])
        if failed or (slow and breaker.setting.slow):
            self._shut(breaker)
            if breaker.incident and self.incidents[breaker.incident - 1].open:
                self.incidents[breaker.incident - 1].evidence += 1
        else:
            breaker.successes += 1
            if breaker.successes == breaker.setting.successes:
                self._begin_anew(breaker, "CLOSED")
        return True

    def force_open(self, name: str) -> None:
        """Nobody calls."""
        breaker = self.get(name)
        self._enter(breaker, "FORCED_OPEN")
        breaker.calls, breaker.until = [], 0

    def force_close(self, name: str) -> None:
        """Everybody calls."""
        self._begin_anew(self.get(name), "FORCED_CLOSED")

    def reset(self, name: str) -> None:
        """Begin anew."""
        self._begin_anew(self.get(name), "CLOSED")
