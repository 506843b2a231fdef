"""One state machine, its log, and an outside world; and what parties do to them by turns.

A party is a generator. It yields a `Command`, and is sent what came of it; or a `Call` to
the outside, and is sent what that said; or `IDLE`, when it can do nothing now. Each of
these is one action of the run. After an action that was chosen a party dies, or stops to
go on when everything is over, or the store starts anew from a snapshot and its log.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal

from jepsen_like.outside import Books, Said
from raftstate.core import keys
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.types import Index, Term
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect, Saga
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.recovery_service_pb2 import Incident
from raftstate.v1.rollback_service_pb2 import Rollback
from raftstate.v1.store_pb2 import Command, ExpireSession, LogEntry, Outcome, SessionTouch

EPOCH = 1
TERM = Term(1)
ENTRY_MS = 10
# Turns between the end of a party and the end of its session, and the most turns of a run.
NOTICED_AFTER = 4
TURNS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Call:
    """A call to the outside."""

    make: Callable[[Books], Said]


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing can be done now."""


IDLE = Idle()
Action = Command | Call | Idle
Script = Generator[Action, Any, None]
How = Literal["kill", "pause", "restart"]


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens after an action: a party, by its role, is hit; or the store, as
    "store"."""

    after: int
    role: str
    how: How


class Store:
    """A member: what it holds, and the log that it can be made of again."""

    def __init__(self) -> None:
        self.map = MemoryStore()
        self.machine = StateMachine(self.map, EPOCH)
        self.log: list[LogEntry] = []
        self.kept: tuple[int, MemoryStore] = (0, MemoryStore())
        self._read: dict[str, tuple[int, list[Any]]] = {}

    def commit(self, command: Command) -> Outcome:
        """One log entry of one command."""
        at = ENTRY_MS * (len(self.log) + 1)
        self.log.append(LogEntry(log_time_ms=at, commands=[command]))
        return self.machine.apply(Index(len(self.log)), TERM, self.log[-1]).outcomes[0]

    def snapshot(self) -> None:
        """Keep a copy of what is there, to start from."""
        self.kept = len(self.log), self.map.copy()

    def restart(self) -> None:
        """Start anew from the copy that was kept, and the log behind it."""
        before = dict(self.map.items())
        first, kept = self.kept
        self.map = kept.copy()
        self.machine = StateMachine(self.map, EPOCH)
        for place in range(first, len(self.log)):
            self.machine.apply(Index(place + 1), TERM, self.log[place])
        assert dict(self.map.items()) == before, "a member is another after it started anew"

    # --- reading ---

    def _rows(self, table: str, record: Any) -> list[Any]:
        """A table's records; they are read again only when there is a new entry."""
        at, rows = self._read.get(table, (-1, []))
        if at != len(self.log):
            span = table.encode(), bytes([ord(table) + 1])
            rows = [record.FromString(raw) for _, raw in self.map.scan(*span)]
            self._read[table] = len(self.log), rows
        return rows

    def agent(self, agent_id: str) -> Agent | None:
        """An agent."""
        raw = self.map.get(keys.agent(agent_id))
        return None if raw is None else Agent.FromString(raw)

    def agents(self) -> list[Agent]:
        """All agents."""
        return self._rows("a", Agent)

    def effects(self, agent_id: str = "") -> list[Effect]:
        """All effects, or an agent's, in the order in which they were prepared."""
        return [one for one in self._rows("E", Effect) if agent_id in ("", one.agent_id)]

    def effect(self, agent_id: str, number: int) -> Effect:
        """One effect."""
        return Effect.FromString(self.map.get(keys.effect(agent_id, number)) or b"")

    def sagas(self) -> list[Saga]:
        """All sagas."""
        return self._rows("A", Saga)

    def rollbacks(self) -> list[Rollback]:
        """All rollbacks."""
        return self._rows("R", Rollback)

    def items(self, plan_id: str = "") -> list[CompensationItem]:
        """All items, or a plan's, in order."""
        rows = self._rows("K", CompensationItem)
        return [one for one in rows if plan_id in ("", one.plan_id)]

    def incidents(self) -> list[Incident]:
        """All incidents."""
        return self._rows("I", Incident)

    def checkpoint(self, agent_id: str, number: int) -> Checkpoint | None:
        """A checkpoint's record."""
        raw = self.map.get(keys.checkpoint(agent_id, number))
        return None if raw is None else Checkpoint.FromString(raw)

    def breaker(self, name: str) -> Breaker | None:
        """A breaker."""
        raw = self.map.get(keys.breaker(name))
        return None if raw is None else Breaker.FromString(raw)

    def event(self, agent_id: str, seq: int) -> Event:
        """An event."""
        return Event.FromString(self.map.get(keys.event(agent_id, seq)) or b"")

    def has_group(self, group_id: str) -> bool:
        """Whether there is a group checkpoint."""
        return self.map.get(keys.group(group_id)) is not None

    def touched(self, session_id: str) -> int | None:
        """The revision of a session's newest command; None if it has ended."""
        raw = self.map.get(keys.session_touch(session_id))
        return None if raw is None else SessionTouch.FromString(raw).touched_revision


@dataclass
class Party:
    """Somebody with a role in a run: who plays it now."""

    role: str
    begin: Callable[[Store, str], Script]  # given the store, and a name for the session
    lives: int = 0
    script: Script | None = None
    told: Any = None
    over: bool = False
    gone_at: int | None = None  # the turn in which it was hit

    @property
    def session_id(self) -> str:
        """The name of the session of who plays it now."""
        return f"{self.role}-{self.lives}"

    def start(self, store: Store) -> None:
        """Somebody begins to play it."""
        self.lives += 1
        self.script, self.told, self.over = self.begin(store, self.session_id), None, False
        self.gone_at = None


@dataclass
class Run:
    """Parties that take turns, one action a turn, until nobody can do anything more."""

    parties: list[Party]
    strike: Strike | None = None
    store: Store = field(default_factory=Store)
    books: Books = field(default_factory=Books)
    actions: list[tuple[str, str]] = field(default_factory=list)  # role, and what
    stopped: list[tuple[Party, str, Script, Any]] = field(default_factory=list)
    turn: int = 0
    struck: bool = False

    def play(self) -> None:
        """From the beginning to the end."""
        for party in self.parties:
            party.start(self.store)
        self._settle()
        for party, session_id, script, told in self.stopped:
            self._go_on(party.role, session_id, script, told)
        self.stopped.clear()
        self._settle()

    def _settle(self) -> None:
        """Take turns until a whole round brings nothing."""
        while True:
            busy = [self._take_turn(party) for party in self.parties]
            self.turn += 1
            assert self.turn < TURNS_MAX, f"no end: {self.actions[-12:]}"
            if not any(busy):
                return

    def _take_turn(self, party: Party) -> bool:
        """Let a party do one thing; say whether anything happened, or is going to."""
        if party.gone_at is not None:
            if self.turn - party.gone_at >= NOTICED_AFTER:
                self._expire(party.session_id)
                party.start(self.store)
            return True
        if party.over or party.script is None:
            return False
        try:
            action = party.script.send(party.told)
        except StopIteration:
            party.over, party.script = True, None
            return True
        if isinstance(action, Idle):
            party.told = None
            return False
        party.told = self._do(party.role, action)
        return True

    def _do(self, role: str, action: Command | Call) -> Any:
        """One action, and what was planned to happen after it."""
        if isinstance(action, Call):
            told: Any = action.make(self.books)
            what = f"outside: {told}"
        else:
            told = self.store.commit(action)
            kind = str(action.WhichOneof("body"))
            what = f"{kind} {told.refusal.message}".strip()
        self.actions.append((role, what))
        if len(self.actions) % 7 == 0:
            self.store.snapshot()
        if self.strike is not None and len(self.actions) == self.strike.after:
            self._hit(self.strike, role, action, told)
        return told

    def _hit(self, strike: Strike, role: str, action: Command | Call, told: Any) -> None:
        if strike.role == "store":
            self.struck = True
            self.store.restart()
            if isinstance(action, Command):
                again = self.store.commit(action)  # its client has not heard the answer
                assert again == told or "session" in str(action.WhichOneof("body"))
            return
        for party in self.parties:
            if party.role == strike.role and party.script is not None and party.gone_at is None:
                self.struck = True
                self._remove(party, strike.how, told if role == strike.role else party.told)

    def _remove(self, party: Party, how: How, told: Any) -> None:
        assert party.script is not None
        if how == "pause":
            self.stopped.append((party, party.session_id, party.script, told))
        else:
            party.script.close()
        party.script, party.told = None, None
        party.gone_at = self.turn

    def _expire(self, session_id: str) -> None:
        """The leader ends the session of somebody who is not heard of any more."""
        touched = self.store.touched(session_id)
        if touched is not None:
            body = ExpireSession(session_id=session_id, touched_revision=touched)
            self.store.commit(Command(expire_session=body))
            self.actions.append(("leader", "expire_session"))

    def _go_on(self, role: str, session_id: str, script: Script, told: Any) -> None:
        """Somebody who was stopped wakes up, and does not know that time has passed. What
        it waits for in vain it gives up."""
        try:
            for _ in range(TURNS_MAX):
                action = script.send(told)
                if isinstance(action, Idle):
                    return
                told = self._do(role, action)
        except StopIteration:
            return
        raise AssertionError(f"{role} goes on for ever as {session_id}")
