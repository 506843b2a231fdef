"""Faults that wait for a call to happen to, and what was committed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from raftstate import errors
from raftstate.core.ports import Unavailable
from raftstate.v1.store_pb2 import Command, Outcome, Reason

READ: Final = "read"
# What a client sends under a request id, by the name of its command; and linearizable reads.
KINDS: Final = frozenset(
    {READ}
    | {
        one.name
        for one in Command.DESCRIPTOR.fields
        if one.message_type and "request_id" in one.message_type.fields_by_name
    }
)
# All that is ever committed.
_LOGGED: Final = frozenset(one.name for one in Command.DESCRIPTOR.oneofs_by_name["body"].fields)
# Errors that say that nothing happened, and that a member answers with.
_NOT_FROM_A_MEMBER: Final = frozenset(
    {
        "OWNERSHIP_LOST",
        "EFFECT_UNKNOWN",
        "EFFECT_TOO_LATE",
        "SAGA_ABORTED",
        "REPLAY_DIVERGED",
        "CORRUPT",
        "CLOSED",
        "CLUSTER_MISMATCH",
        "WATCH_TOO_SLOW",
        "UNKNOWN",
    }
)
_RETRIED: Final = (
    errors.NotLeader,
    errors.NoQuorum,
    errors.Overloaded,
    errors.Quarantined,
)


@dataclass(frozen=True, slots=True)
class Committed:
    """One command of the log, and what came of it.

    `kind` is the command's name ("put", "commit_step", ...), `request` the message that
    asked for it. `refusal` is the reason why it changed nothing, as the errors name it
    ("FENCED", "CONFLICT"); empty: it was done. `client` is the name of the client, empty
    for what the store did by itself. Times are in milliseconds of log time."""

    revision: int
    log_time_ms: int
    kind: str
    request: Any
    refusal: str
    outcome: Outcome
    client: str

    @property
    def agent_id(self) -> str:
        """The agent that it was about, if it was about one."""
        return str(getattr(self.request, "agent_id", ""))


def refusal_of(outcome: Outcome) -> str:
    """The reason of a refusal, as the errors name it; empty for everything else."""
    if outcome.WhichOneof("result") != "refusal":
        return ""
    return Reason.Name(outcome.refusal.reason).removeprefix("REASON_")


class Way(enum.Enum):
    """What a fault does to a call."""

    FAIL = "fail"
    LOSE = "lose"
    HOLD = "hold"


@dataclass(eq=False, slots=True)
class Aim:
    """Which calls a fault is for: a kind, an agent, a client's connection; None: any."""

    kind: str | None
    agent_id: str | None
    link: object | None

    def takes(self, kind: str, agent_id: str, link: object | None) -> bool:
        """Whether this is such a call."""
        return (
            self.kind in (None, kind)
            and self.agent_id in (None, agent_id)
            and self.link in (None, link)
        )


@dataclass(eq=False)
class Fault:
    """Waits for a call. Made by `Kit.fail`, `Kit.lose_answer` and `Kit.hold`."""

    way: Way
    aim: Aim
    times: int
    answer: Unavailable
    applied: bool
    run: Callable[[Callable[[], Any]], Any] = field(repr=False)
    carry_out: Callable[[Command], Outcome] = field(repr=False)
    answers: Callable[[object, Any], None] = field(repr=False)
    met_commands: dict[object, Command] = field(default_factory=dict, repr=False)
    held: list[tuple[object, Callable[[], Any]]] = field(default_factory=list, repr=False)
    over: bool = field(default=False, repr=False)
    first: concurrent.futures.Future[None] = field(
        default_factory=concurrent.futures.Future, repr=False
    )

    @property
    def met(self) -> list[Any]:
        """The requests that it has happened to so far, each once, in order."""
        found = list(self.met_commands.values())
        return [getattr(one, name) for one in found if (name := one.WhichOneof("body"))]

    def wait(self, timeout: float = 10.0) -> None:
        """Return once it has happened to a call. Raises TimeoutError after so many seconds
        of real time."""
        self.first.result(timeout)

    async def reached(self, timeout: float = 10.0) -> None:
        """As `wait`; the caller's event loop goes on."""
        async with asyncio.timeout(timeout):
            await asyncio.shield(asyncio.wrap_future(self.first))

    def cancel(self) -> None:
        """Happen to nothing any more. What is held is let go."""
        self.run(self.end)

    def release(self) -> None:
        """Let go of what is held: it is carried out now, unless it was before, and
        answered. Later calls are not held."""
        self.cancel()

    def arrive(self) -> list[str]:
        """Carry out now what was lost before it was applied, as a request that was long on
        its way; for each the reason why it changed nothing, or an empty text."""
        found: list[str] = self.run(self._arrive)
        return found

    # --- on the kit's thread ---

    def meet(self, call: object, command: Command) -> bool:
        """A call that it is for has come: whether it happens to it."""
        if self.over or (call not in self.met_commands and not self.times):
            return False
        if call not in self.met_commands:
            self.times -= 1
            self.met_commands[call] = command
        return True

    def told(self) -> None:
        """Let those know who wait for it."""
        if not self.first.done():
            self.first.set_result(None)

    def end(self) -> None:
        """As `cancel`."""
        self.over = True
        held, self.held = self.held, []
        for ticket, answer in held:
            self.answers(ticket, answer())

    def _arrive(self) -> list[str]:
        if self.way is not Way.LOSE or self.applied:
            raise ValueError("only what was lost before it was applied can arrive late")
        late, self.met_commands = self.met_commands, {}
        self.over = True
        return [refusal_of(self.carry_out(command)) for command in late.values()]


def checked_kind(kind: str | None, *, reads: bool) -> str | None:
    """The kind of call, if there is one of that name. Raises ValueError."""
    known = KINDS if reads else KINDS - {READ}
    if kind is not None and kind not in known:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(sorted(known))}")
    return kind


def checked_logged(kind: str | None) -> str | None:
    """The kind of command, if there is one of that name. Raises ValueError."""
    if kind is not None and kind not in _LOGGED:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(sorted(_LOGGED))}")
    return kind


def checked_times(times: int) -> int:
    """How many calls. Raises ValueError."""
    if times < 1:
        raise ValueError(f"times is {times}; it must be at least 1")
    return times


def failure(error: type[errors.RaftStateError]) -> Unavailable:
    """What a member answers for a client to raise `error`. Raises ValueError for one that
    no member answers with, or that leaves open what happened, or is no error of the store."""
    given: object = error
    if not (isinstance(given, type) and issubclass(given, errors.RaftStateError)):
        raise ValueError(f"error is {error!r}; it must be a class of raftstate.errors")
    reason = error.reason
    if issubclass(error, errors.OutcomeUnknown | errors.OutcomeForgotten):
        raise ValueError(f"{error.__name__} leaves open what happened: use `lose_answer`")
    if issubclass(error, errors.SessionExpired):
        raise ValueError("use `expire_session`: the store has to know of it too")
    if reason in _NOT_FROM_A_MEMBER:
        raise ValueError(f"{error.__name__} is no answer of the store to a call")
    details = {"retry": "never"} if issubclass(error, _RETRIED) else None
    return Unavailable(reason, definite=True, details=details)
