"""What keeps a store's breakers true: one watch, questions where it does not reach, reports.

The watch is begun with the first breaker that is used, over all that the names in use have
in common, and goes on by itself where it broke. Reports leave every `REPORT_S`, or at once
when what failed here could trip the breaker, but that not more often than every `REPORT_S`
either; one at a time for each of them. While one is not answered by anybody, the watch is
not believed: it may be at a member that is cut off from the others. When the store is
closed, what was counted and not yet told is told first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final

from raftstate.client import reading
from raftstate.client.calls import deadline_in
from raftstate.client.circuits import TRUSTED_S, Circuit, LogClock, Ticket, Verdict
from raftstate.client.clock import now
from raftstate.client.engine import Engine
from raftstate.client.options import CLOSE_S
from raftstate.client.watch import Watch, WatchBatch
from raftstate.errors import (
    BreakerNotFound,
    BreakerOpen,
    Closed,
    RaftStateError,
)
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    AcquirePermitResponse,
    GetBreakerRequest,
    ReportOutcomesRequest,
)
from raftstate.v1.watch_service_pb2 import (
    RESOURCE_TYPE_BREAKER,
    WATCH_START_SNAPSHOT,
    Selector,
    WatchRequest,
)

# How long what was counted may wait.
REPORT_S: Final = 0.2
# How long a report may take. What surely was not taken is counted again.
_REPORTING_S: Final = TRUSTED_S
_PROGRESS_MS: Final = 1_000


class Board:
    """All breakers that one store uses."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = now) -> None:
        self._engine = engine
        self._clock = clock
        self._log = LogClock(clock)
        self._circuits: dict[str, Circuit] = {}
        # By breaker, and by how long whoever asks is ready to wait.
        self._asking: dict[tuple[str, float | None], asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._hurried: dict[str, float] = {}  # when a report left at once
        self._reporting: dict[str, asyncio.Task[None]] = {}
        self._permits: set[asyncio.Task[AcquirePermitResponse]] = set()
        self._probes: set[asyncio.Task[RaftStateError | None]] = set()
        self._watch: Watch | None = None
        self._following: asyncio.Task[None] | None = None
        self._selected = Selector()
        self._heard_at = -math.inf
        self._heard_revision = 0
        self._in_doubt = False  # nobody answered the newest report
        engine.partings.append(self.flush)

    def circuit(self, name: str) -> Circuit:
        """A breaker of that name, known here from now on."""
        found = self._circuits.get(name)
        if found is None:
            found = self._circuits[name] = Circuit(name, self._clock, self._log)
        return found

    # --- before a call ---

    async def admit(self, circuit: Circuit, timeout: float | None) -> Ticket:
        """Let a call through, or raise BreakerOpen (definite), BreakerNotFound
        (definite), and what asking a server raises."""
        self._engine.check()
        verdict = circuit.verdict(heard=self._heard(circuit))
        if verdict is Verdict.ASK:
            await self._ask(circuit, timeout)
            verdict = circuit.verdict(heard=self._heard(circuit), asked=True)
            if verdict is Verdict.ASK:  # the watch told of its end before we came to it
                raise circuit.gone()
        if verdict is Verdict.PASS:
            return circuit.ticket()
        if verdict is Verdict.PERMIT:
            return await self._permit(circuit, timeout)
        raise circuit.refusal()

    async def _ask(self, circuit: Circuit, timeout: float | None) -> None:
        """Read what the breaker is; callers that come meanwhile, and are as patient, wait
        for the same."""
        asked = (circuit.name, timeout)
        task = self._asking.get(asked)
        if task is None or task.done():
            task = asyncio.create_task(self._read(circuit, timeout))
            self._asking[asked] = task
            task.add_done_callback(_seen)
        await asyncio.shield(task)

    async def _read(self, circuit: Circuit, timeout: float | None) -> None:
        sent = self._clock()
        try:
            answer = await reading.read(
                self._engine,
                lambda peer: peer.breakers.GetBreaker,
                GetBreakerRequest(name=circuit.name),
                timeout=timeout,
            )
        except BreakerNotFound:
            circuit.told(None, circuit.as_of)
            raise
        self._in_doubt = False
        circuit.answered(answer.breaker, answer.header.revision, answer.log_time_ms, sent)
        self._follow(circuit)

    async def _permit(self, circuit: Circuit, timeout: float | None) -> Ticket:
        """The right to try: asked for, or left by a call that did not wait for it."""
        if (spare := circuit.take_spare()) is not None:
            return circuit.ticket(spare)
        circuit.probing += 1
        task = asyncio.create_task(self._acquire(circuit, timeout))
        self._permits.add(task)
        task.add_done_callback(self._permits.discard)
        try:
            return circuit.ticket(await asyncio.shield(task))
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: _leave(circuit, done))
            raise

    async def _acquire(self, circuit: Circuit, timeout: float | None) -> AcquirePermitResponse:
        sent, permit_id = self._clock(), 0
        try:
            request = AcquirePermitRequest(name=circuit.name)
            answer: AcquirePermitResponse = await self._engine.mutate(
                "acquire_permit", request, timeout
            )
            circuit.permitted(answer, sent)
            permit_id = answer.permit_id
        except BreakerOpen as error:
            circuit.refused(error)
            raise
        finally:
            if not permit_id:
                circuit.probing -= 1
        return answer

    # --- after a call ---

    def ended(self, circuit: Circuit, ticket: Ticket, error: BaseException | None) -> None:
        """A call has come to its end: count it."""
        seen = circuit.outcome(ticket, error)
        if ticket.permit_id:
            circuit.probing -= 1
            assert seen is not None
            request = seen.report(circuit.name, ticket.generation, ticket.permit_id)
            task = asyncio.create_task(self._tell(circuit, request))
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)
        elif seen is not None:
            urgent = circuit.count(ticket, seen)
            if circuit.counted:
                self._later(circuit, urgent=urgent)

    def _later(self, circuit: Circuit, *, urgent: bool) -> None:
        """Report after a while, or at once; what is under way is waited for.

        That it could trip may go on being so: what is known here is not all there is. So
        only the first of several reports that are urgent does not wait."""
        name = circuit.name
        if self._engine.closed or name in self._reporting:
            return
        since = self._clock() - self._hurried.get(name, -math.inf)
        hurry = urgent and since >= REPORT_S
        timer = self._timers.get(name)
        if timer is not None:
            if not hurry:
                return
            timer.cancel()
        loop = asyncio.get_running_loop()
        seconds = 0.0 if hurry else REPORT_S
        self._timers[name] = loop.call_later(seconds, self._report_soon, circuit)
        if hurry:
            self._hurried[name] = self._clock()

    def _report_soon(self, circuit: Circuit) -> None:
        del self._timers[circuit.name]
        task = asyncio.create_task(self._report(circuit))
        self._reporting[circuit.name] = task
        task.add_done_callback(lambda _: self._reported(circuit))

    def _reported(self, circuit: Circuit) -> None:
        del self._reporting[circuit.name]
        if circuit.counted:
            self._later(circuit, urgent=circuit.due)

    async def _report(self, circuit: Circuit) -> None:
        tally, generation = circuit.take()
        if not tally.calls:
            return
        error = await self._tell(circuit, tally.report(circuit.name, generation))
        if error is not None and error.definite and error.retryable:
            circuit.give_back(tally, generation)

    async def _tell(
        self, circuit: Circuit, request: ReportOutcomesRequest
    ) -> RaftStateError | None:
        """Send a report; what it failed of. Nobody waits for it, so that nobody is told:
        what may have been counted is not counted twice, and a permit whose report is lost
        ends after its time."""
        engine = self._engine
        try:
            if engine.closed:
                deadline = deadline_in(CLOSE_S)
                answer = await engine.part_with("report_outcomes", request, deadline)
            else:
                answer = await engine.mutate("report_outcomes", request, _REPORTING_S)
        except BreakerNotFound as error:
            circuit.told(None, circuit.as_of)
            return error
        except RaftStateError as error:
            self._in_doubt = error.retryable or not error.definite
            return error
        self._in_doubt = False
        circuit.reported(answer)
        return None

    async def flush(self) -> None:
        """Tell what was counted: when the store is closed."""
        if self._watch is not None:
            await self._watch.aclose()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        under_way: set[asyncio.Task[Any]] = {
            *self._reporting.values(),
            *self._probes,
            *self._asking.values(),
            *self._permits,
        }
        if under_way:
            await asyncio.wait(under_way)
        circuits = [one for one in self._circuits.values() if one.counted]
        await asyncio.gather(*(self._report(circuit) for circuit in circuits))

    # --- the watch ---

    def _heard(self, circuit: Circuit) -> float:
        """When the watch last confirmed what is known of a breaker."""
        behind = self._in_doubt or self._heard_revision < circuit.as_of
        return -math.inf if behind or not self._covers(circuit.name) else self._heard_at

    def _covers(self, name: str) -> bool:
        prefix, raw = self._selected.prefix, name.encode()
        return raw == prefix if self._selected.exact else raw.startswith(prefix)

    def _follow(self, circuit: Circuit) -> None:
        """See to it that the watch tells of a breaker."""
        if self._engine.closed:
            return
        if self._following is None or self._following.done():
            self._select()
            self._following = self._engine.spawn(self._listen())
        elif not self._covers(circuit.name):
            self._select()
            self._heard_at = -math.inf
            if self._watch is not None:
                self._watch.end()

    def _select(self) -> None:
        known = [one.name for one in self._circuits.values() if one.record is not None]
        first, last = min(known), max(known)
        alike = sum(
            1 for _ in takewhile(lambda two: two[0] == two[1], zip(first, last, strict=False))
        )
        self._selected = Selector(
            types=[RESOURCE_TYPE_BREAKER], prefix=first[:alike].encode(), exact=len(known) == 1
        )

    async def _listen(self) -> None:
        """Follow the breakers, at whichever member, for as long as the client runs. A watch
        goes on by itself where it broke; one that cannot begins with all that there is."""
        failures = 0
        while True:
            selected = self._selected
            watch = self._watch = self._begin(selected)
            try:
                async for batch in watch:
                    if selected != self._selected:
                        break
                    failures = 0
                    self._take(batch)
            except Closed:
                return
            except RaftStateError:
                failures += 1
            finally:
                await watch.aclose()
            if failures:
                await asyncio.sleep(self._engine.router.backoff(failures))

    def _begin(self, selected: Selector) -> Watch:
        request = WatchRequest(
            selector=selected, start=WATCH_START_SNAPSHOT, progress_ms=_PROGRESS_MS
        )
        return Watch(
            self._engine,
            request,
            progress=True,
            raise_too_slow=False,
            timeout=None,
            endpoint=None,
        )

    def _take(self, batch: WatchBatch) -> None:
        """Learn what changed; and that what did not is still so."""
        found = {change.id: change for change in batch.changes}
        for circuit in self._circuits.values():
            change = found.get(circuit.name.encode())
            if change is not None and change.HasField("resource"):
                circuit.told(change.resource.breaker, batch.revision)
            elif change is not None or (batch.snapshot and self._covers(circuit.name)):
                circuit.told(None, batch.revision)
        self._heard_at, self._heard_revision = self._clock(), batch.revision


def _leave(circuit: Circuit, task: asyncio.Task[AcquirePermitResponse]) -> None:
    """Nobody waits for a permit any more: it is the next call's. Otherwise nobody could
    try until its time is over."""
    if not task.cancelled() and task.exception() is None and task.result().permit_id:
        circuit.leave_spare(task.result())


def _seen(task: asyncio.Task[None]) -> None:
    """Whoever asked may have left: a failure that nobody fetches is no news."""
    if not task.cancelled():
        task.exception()
