"""What rollbacks are meant to do, said as plainly as possible: lists, and searches of them.

A state is a row of words: one for each event that it reflects, which is its seq, and one
for each checkpoint that was taken on the way to it. A full checkpoint holds all of them, a
delta those since its base; so whoever restores reads off what came to pass, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

State = tuple[str, ...]
OPEN = ("DISPATCHED", "UNKNOWN")
SETTLED = ("COMPENSATED", "NOT_NEEDED", "WAIVED", "MOVED")


@dataclass
class Event:
    """An event, and the rollback that undid it last."""

    seq: int
    revision: int
    undone_by: str = ""


@dataclass
class Saved:
    """A checkpoint; `left` says that a rollback has left it behind."""

    number: int
    revision: int
    event_seq: int
    state: State
    base: int = 0
    good: bool = False
    left: bool = False
    restored_from: int = 0
    # Effects that were settled up to then belong to it.
    settled: int = 0


@dataclass
class Effect:
    """An effect of an agent."""

    agent: str
    name: str
    number: int
    kind: str
    state: str
    dispatched: int = 0
    settled: int = 0
    waived: bool = False
    # A rollback that was given up left it so; the revision that one started at.
    owed: int = 0

    def age(self) -> tuple[int, int, int, str]:
        """Sorts as they are undone."""
        since = self.dispatched if self.state in OPEN else self.settled
        return (self.state not in OPEN, -since, -self.number, self.agent)


@dataclass
class Agent:
    """An agent, and all that it ever wrote."""

    name: str
    lifecycle: str = "IDLE"
    rollback: int = 0
    head: int = 0
    # The first event that can be read.
    first: int = 1
    events: list[Event] = field(default_factory=list)
    saved: dict[int, Saved] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)

    def live(self, after: int, before: int) -> State:
        """The words of the events between two that nobody has undone."""
        return tuple(
            str(each.seq)
            for each in self.events
            if after < each.seq < before and not each.undone_by
        )

    @property
    def state(self) -> State:
        """What a successor restores."""
        newest = self.saved.get(self.head)
        if newest is None:
            return self.live(0, len(self.events) + 1)
        return newest.state + self.live(newest.event_seq, len(self.events) + 1)

    def effect(self, number: int) -> Effect:
        """One of its effects."""
        return self.effects[number - 1]

    def lose_owner(self, revision: int) -> None:
        """Nobody knows what came of what was dispatched."""
        for each in self.effects:
            if each.state == "DISPATCHED":
                each.state, each.settled = "UNKNOWN", revision


class Goal(NamedTuple):
    """Where an agent goes back to."""

    agent: Agent
    target: Saved
    kept_seq: int
    kept_revision: int

    @property
    def state(self) -> State:
        """What is restored."""
        last = self.kept_seq + 1
        return self.target.state + self.agent.live(self.target.event_seq, last)

    def undo(self) -> list[Effect]:
        """The effects that do not stay."""
        return [
            each
            for each in self.agent.effects
            if each.kind != "READ_ONLY"
            and not each.waived
            and each.state in (*OPEN, "COMMITTED", "RECONCILED")
            and (
                not each.settled
                or each.settled > self.kept_revision
                or (each.owed and (not self.target.left or self.target.revision >= each.owed))
            )
        ]


def resolve(agent: Agent, kind: str, value: int) -> Goal | None:
    """Where a target is; None: there is none."""
    live = sorted((one.number, one) for one in agent.saved.values() if not one.left)
    if kind == "checkpoint_id":
        found = agent.saved.get(value)
        return None if found is None else Goal(agent, found, found.event_seq, found.settled)
    if kind == "known_good":
        good = [one for _, one in live if one.good]
        return Goal(agent, good[-1], good[-1].event_seq, good[-1].settled) if good else None
    if kind == "before_event_seq":
        if not 1 <= value <= len(agent.events) or agent.events[value - 1].undone_by:
            return None
        revision, kept = agent.events[value - 1].revision - 1, value - 1
    else:
        revision = value
        kept = sum(1 for each in agent.events if each.revision <= revision)
    before = [one for _, one in live if one.revision <= revision]
    if not before:
        return None
    target = before[-1]
    kept_events = [
        each.revision
        for each in agent.events
        if target.event_seq < each.seq <= kept and not each.undone_by
    ]
    settled = max([target.settled, *kept_events])
    if kind == "revision":
        settled = revision
    return Goal(agent, target, max(kept, target.event_seq), settled)


def find(agent: Agent, kind: str, value: int) -> Goal | str:
    """Where a target is, or the reason why it is none. What was truncated is no target, and
    nothing that has to stay may be missing."""
    if agent.lifecycle not in ("IDLE", "ACTIVE", "HALTED"):
        return "AGENT_STATE"
    goal = resolve(agent, kind, value)
    if goal is None or (kind == "before_event_seq" and value < agent.first):
        return "CHECKPOINT_NOT_FOUND"
    if kind == "revision" and goal.kept_seq < agent.first - 1:
        goal = goal._replace(kept_seq=agent.first - 1)
    if agent.live(goal.target.event_seq, min(agent.first, goal.kept_seq + 1)):
        return "CHECKPOINT_NOT_FOUND"
    return goal


def take_back(goal: Goal, revision: int, rollback: str) -> None:
    """What the start of a rollback does to an agent, but for what it undoes outside."""
    agent, target = goal.agent, goal.target
    for each in agent.effects:
        if each.state == "PREPARED":
            each.state, each.settled = "FAILED_BEFORE_EFFECT", revision
    agent.lose_owner(revision)
    for event in agent.events[goal.kept_seq :]:
        event.undone_by = rollback
    for one in agent.saved.values():
        one.left = one.left or one.number > target.number
    agent.head += 1
    agent.saved[agent.head] = Saved(
        agent.head,
        revision,
        target.event_seq,
        target.state,
        base=target.base,
        restored_from=target.number,
        settled=goal.kept_revision,
    )


LIFECYCLES = {
    "COMPENSATING": "RECOVERING",
    "BLOCKED": "RECOVERING",
    "VALIDATING": "VALIDATING",
    "READY": "VALIDATING",
    "FINISHED": "IDLE",
    "ABORTED": "HALTED",
}


class Plan:
    """A rollback under way or over, as the model sees it."""

    def __init__(self, goals: list[Goal], undo: list[Effect], barrier: str) -> None:
        self.agents = [goal.agent for goal in goals]
        self.effects = undo
        self.states = ["PENDING"] * len(undo)
        self.reconcile = [
            each.kind == "RECONCILABLE" and each.state == "UNKNOWN" for each in undo
        ]
        self.failures = [0] * len(undo)
        for at, each in enumerate(undo):
            if each.kind == "IRREVERSIBLE":
                each.waived = barrier == "PROCEED"
                self.states[at] = "WAIVED" if each.waived else "BARRIER"
        self.votes: dict[str, bool] = {}
        self.over = ""

    def end(self, over: str, started: int) -> None:
        """It is over. What it has not undone, because it was given up, the next one has to."""
        self.over = over
        for each, state in zip(self.effects, self.states, strict=True):
            if state not in SETTLED:
                each.owed = started

    @property
    def turn(self) -> int:
        """Whose turn it is; as many as there are: nobody's."""
        found = (at for at, state in enumerate(self.states) if state not in SETTLED)
        return next(found, len(self.states))

    @property
    def state(self) -> str:
        if self.over:
            return self.over
        if self.turn < len(self.states):
            stuck = self.states[self.turn] in ("STUCK", "BARRIER")
            return "BLOCKED" if stuck else "COMPENSATING"
        yes = all(self.votes.get(agent.name) for agent in self.agents)
        return "READY" if yes else "VALIDATING"
