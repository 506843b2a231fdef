"""What one client knows of one breaker, and what it has counted. Nothing here waits.

What is known was true at some moment, by a word of the watch or by an answer; it is acted
on for at most `TRUSTED_S` after that. Counts belong to a generation of the breaker: what
was begun in an earlier one counts for nothing, here as at the servers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from raftstate.errors import BreakerNotFound, BreakerOpen
from raftstate.v1.breaker_service_pb2 import (
    BREAKER_STATE_CLOSED,
    BREAKER_STATE_FORCED_CLOSED,
    BREAKER_STATE_FORCED_OPEN,
    BREAKER_STATE_HALF_OPEN,
    BREAKER_STATE_OPEN,
    AcquirePermitResponse,
    Breaker,
    BreakerState,
    ReportOutcomesRequest,
    ReportOutcomesResponse,
)

# How long a breaker is believed to be what it was when that was last confirmed. A watch
# says something every second, so that only one that has broken is silent for so long.
TRUSTED_S: Final = 3.0
# After a refusal that names no time, nobody here asks for so long.
HOLD_S: Final = 0.1
# What one report may hold.
REPORTED_MAX: Final = 1_000_000
ERROR_CHARS: Final = 255

_PASSING: Final = (BREAKER_STATE_CLOSED, BREAKER_STATE_FORCED_CLOSED)


class Verdict(Enum):
    """What a call has to do first."""

    PASS = auto()
    REFUSE = auto()
    # The breaker may let one through: a server has to say so.
    PERMIT = auto()
    # Nobody here knows what the breaker is now.
    ASK = auto()


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that was let through: when, in which generation, as which probe (0: none)."""

    began: float
    generation: int
    permit_id: int = 0


@dataclass(slots=True)
class Tally:
    """Calls, and how they ended."""

    calls: int = 0
    failures: int = 0
    slow: int = 0
    error: str = ""

    def add(self, other: Tally) -> None:
        """These as well."""
        self.calls += other.calls
        self.failures += other.failures
        self.slow += other.slow
        self.error = other.error or self.error

    def report(self, name: str, generation: int, permit_id: int = 0) -> ReportOutcomesRequest:
        """It, as the servers are told."""
        return ReportOutcomesRequest(
            name=name,
            generation=generation,
            calls=self.calls,
            failures=self.failures,
            slow=self.slow,
            permit_id=permit_id,
            error=self.error,
        )


class LogClock:
    """Log time, as far as it can be told here: it goes on as this process' clock does.

    What a watch or a read tells of was done in the past, so that it may only set the clock
    forward; the refusal of a command says what the time is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead = -math.inf

    @property
    def now_ms(self) -> float:
        """Minus infinity if nobody has said anything yet."""
        return self._ahead + self._clock() * 1000

    def at_least(self, log_time_ms: int) -> None:
        """It is this late, or later."""
        self._ahead = max(self._ahead, log_time_ms - self._clock() * 1000)

    def set(self, log_time_ms: int) -> None:
        """It is this late."""
        self._ahead = log_time_ms - self._clock() * 1000


class Circuit:
    """One breaker, as this client sees it."""

    def __init__(self, name: str, clock: Callable[[], float], log: LogClock) -> None:
        self.name = name
        self._clock = clock
        self._log = log
        self.record: Breaker | None = None
        self.as_of: int = 0  # the revision at which it was `record`
        self.confirmed: float = -math.inf  # when that was said by an answer
        self.probing: int = 0  # permits asked for or held here
        self._hold_until = -math.inf
        self._ignored: frozenset[str] = frozenset()
        self._tally = Tally()
        self._spare: list[AcquirePermitResponse] = []

    # --- what is known ---

    @property
    def generation(self) -> int:
        """That of the breaker as it is known; 0 before anything is."""
        return self.record.generation if self.record is not None else 0

    @property
    def counted(self) -> int:
        """Calls that nobody was told of yet."""
        return self._tally.calls

    def told(self, record: Breaker | None, revision: int) -> None:
        """The breaker was this at a revision; None: there was none."""
        if revision < self.as_of:
            return
        if record is None or record.generation != self.generation:
            self._tally = Tally()
            self._hold_until = -math.inf
        self.record = record
        self.as_of = revision
        if record is not None:
            self._ignored = frozenset(record.config.ignored_errors)
            self._log.at_least(record.changed_log_time_ms)

    def answered(
        self, record: Breaker | None, revision: int, log_time_ms: int, sent: float
    ) -> None:
        """What a server said when it was asked. It read the time of the newest command, which
        may be long ago: the clock must not be set back to that."""
        self._log.at_least(log_time_ms)
        self.told(record, revision)
        self.confirmed = max(self.confirmed, sent)

    def permitted(self, answer: AcquirePermitResponse, sent: float) -> None:
        """A permit was given, or none is needed."""
        if self.record is None or answer.header.revision < self.as_of:
            return
        if answer.state != self.record.state or answer.generation != self.record.generation:
            record = Breaker()
            record.CopyFrom(self.record)
            record.state, record.generation = answer.state, answer.generation
            self.told(record, answer.header.revision)
        self.confirmed = max(self.confirmed, sent)

    def leave_spare(self, answer: AcquirePermitResponse) -> None:
        """A permit came that nobody waits for."""
        self._spare.append(answer)

    def take_spare(self) -> AcquirePermitResponse | None:
        """A permit that somebody left, if it still counts."""
        while self._spare:
            spare = self._spare.pop()
            if spare.generation == self.generation:
                return spare
            self.probing -= 1
        return None

    def refused(self, error: BreakerOpen) -> None:
        """No permit was given: nobody asks again before that can have changed."""
        if "log_time_ms" in error.details:
            self._log.set(int(error.details["log_time_ms"]))
        # Half open, others may be done with it long before their time is over.
        opened = error.details.get("current_state") == "OPEN"
        wait = error.retry_after if opened else None
        self._hold_until = self._clock() + max(wait or 0.0, HOLD_S)

    def reported(self, answer: ReportOutcomesResponse) -> None:
        """A report was taken; perhaps the breaker is another one since."""
        if answer.header.revision >= self.as_of and answer.generation != self.generation:
            self.confirmed = -math.inf
            self.as_of = answer.header.revision

    # --- whether a call may be made ---

    def verdict(self, *, heard: float, asked: bool = False) -> Verdict:
        """What a call has to do. `heard`: when the watch confirmed what is known;
        `asked`: a server has just said it."""
        record, now = self.record, self._clock()
        fresh = now - max(heard, self.confirmed) < TRUSTED_S
        if record is None or not (fresh or asked):
            return Verdict.ASK
        if record.state in _PASSING:
            return Verdict.PASS
        if record.state == BREAKER_STATE_FORCED_OPEN or now < self._hold_until:
            return Verdict.REFUSE
        if record.state == BREAKER_STATE_OPEN and self._log.now_ms < record.open_until_ms:
            # Without log time, nobody knows how long that is.
            unknown = math.isinf(self._log.now_ms) and not asked
            return Verdict.ASK if unknown else Verdict.REFUSE
        probes = max(record.config.probes, 1)
        full = self.probing - len(self._spare) >= probes
        return Verdict.REFUSE if full or self._all_out(record, probes) else Verdict.PERMIT

    def _all_out(self, record: Breaker, probes: int) -> bool:
        """Whether others have all permits, as the watch tells: then asking is in vain, and
        each question would be a command."""
        if self._spare or len(record.permits) < probes:
            return False
        over_ms = record.permits[0].given_log_time_ms + record.config.probe_timeout_ms
        return -math.inf < self._log.now_ms < over_ms

    def refusal(self) -> BreakerOpen:
        """The error for a call that is not let through."""
        assert self.record is not None
        state = BreakerState.Name(self.record.state).removeprefix("BREAKER_STATE_")
        details = {"breaker": self.name, "current_state": state}
        why = self.record.reason or "nobody said why"
        message = f"breaker {self.name} is {state}: {why}"
        if self.record.state == BREAKER_STATE_OPEN and not math.isinf(self._log.now_ms):
            log_ms = round(self._log.now_ms)
            left_ms = max(self.record.open_until_ms - log_ms, 0)
            held_ms = max(self._hold_until - self._clock(), 0.0) * 1000
            details["log_time_ms"] = str(log_ms)
            details["open_until_ms"] = str(log_ms + round(max(left_ms, held_ms)))
            message += f"; until {details['open_until_ms']}, log time is {log_ms}"
        elif self.record.state == BREAKER_STATE_HALF_OPEN:
            message += "; others are trying it"
        return BreakerOpen(message, definite=True, details=details)

    def gone(self) -> BreakerNotFound:
        """The error for a call through a breaker that was removed."""
        message = f"there is no breaker {self.name}"
        return BreakerNotFound(message, definite=True, details={"breaker": self.name})

    def ticket(self, permit: AcquirePermitResponse | None = None) -> Ticket:
        """For a call that begins now."""
        if permit is None:
            return Ticket(self._clock(), self.generation)
        return Ticket(self._clock(), permit.generation, permit.permit_id)

    # --- what came of it ---

    def outcome(self, ticket: Ticket, error: BaseException | None) -> Tally | None:
        """How a call ended that ends now; None if that counts neither way.

        What is no `Exception` (being cancelled) says nothing about who was called, unless
        it took too long already. Of a probe something has to be said: one that somebody
        stopped has not shown that all is well."""
        seconds = self._clock() - ticket.began
        config = self.record.config if self.record is not None else None
        limit_ms = config.slow_call_ms if config is not None else 0
        slow = bool(limit_ms) and seconds * 1000 > limit_ms
        probe = ticket.permit_id > 0
        if error is None or self._ignores(error):
            counts, failed = error is None or probe, False
        elif isinstance(error, Exception):
            counts, failed = True, True
        else:
            counts, failed = slow or probe, probe
        if not counts:
            return None
        text = f"{type(error).__name__}: {error}"[:ERROR_CHARS] if failed else ""
        return Tally(1, int(failed), int(slow), text)

    def _ignores(self, error: BaseException) -> bool:
        return bool(self._ignored) and any(
            kind.__name__ in self._ignored or class_name(kind) in self._ignored
            for kind in type(error).__mro__
        )

    def count(self, ticket: Ticket, seen: Tally) -> bool:
        """Count a call that was no probe; whether that is worth an immediate report."""
        if ticket.generation != self.generation:
            return False
        self._tally.add(seen)
        return bool(seen.failures or seen.slow) and self.due

    @property
    def due(self) -> bool:
        """Whether what was counted here could trip it, with what it was known to hold."""
        record = self.record
        if record is None or record.state != BREAKER_STATE_CLOSED:
            return False
        config, tally = record.config, self._tally
        calls = record.counts.calls + tally.calls
        if config.count_window:
            calls = min(calls, config.count_window)
        if not tally.calls or calls < max(config.minimum_calls, 1):
            return False
        return any(
            here and rate > 0 and known + here >= rate * calls
            for rate, known, here in (
                (config.failure_rate, record.counts.failures, tally.failures),
                (config.slow_rate, record.counts.slow, tally.slow),
            )
        )

    def take(self) -> tuple[Tally, int]:
        """What to report now, and of which generation."""
        taken, self._tally = self._tally, Tally()
        if (more := taken.calls - REPORTED_MAX) > 0:
            rest = Tally(more, min(taken.failures, more), min(taken.slow, more), taken.error)
            taken = Tally(
                REPORTED_MAX,
                taken.failures - rest.failures,
                taken.slow - rest.slow,
                taken.error,
            )
            self._tally = rest
        return taken, self.generation

    def give_back(self, tally: Tally, generation: int) -> None:
        """A report was surely not taken: count it again."""
        if generation == self.generation:
            tally.add(self._tally)
            self._tally = tally


def class_name(kind: type) -> str:
    """A class with its module, as `ignored_errors` may name it."""
    return f"{kind.__module__}.{kind.__qualname__}"
