"""The worker: finishes what others began to undo.

It watches sagas and rollbacks, claims what nobody has claimed, carries it out with the
functions that are registered, lets the validators speak, and finishes. Several of them side
by side share the work: what one has claimed the others leave alone, until it is gone.

    async with raftstate.connect(endpoints) as store:
        await raftstate.Worker(store).run()

From a shell: `raftstate worker --module my.compensations`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raftstate.client import clock
from raftstate.client.clock import now
from raftstate.client.compensating import (
    ROLLBACK_PLAN,
    SAGA_PLAN,
    WAITING,
    Backoff,
    Carrier,
)
from raftstate.client.recovering import Recovery
from raftstate.client.registry import Registry
from raftstate.errors import (
    Closed,
    Fenced,
    Owned,
    PlanNotFound,
    RaftStateError,
    RollbackNotFound,
    SagaNotFound,
)
from raftstate.v1.effect_service_pb2 import (
    COMPENSATION_STATE_PENDING,
    SAGA_STATE_COMPENSATING,
    CompensationItem,
    Saga,
)
from raftstate.v1.rollback_service_pb2 import (
    ROLLBACK_STATE_COMPENSATING,
    ROLLBACK_STATE_READY,
    ROLLBACK_STATE_VALIDATING,
    Rollback,
)

if TYPE_CHECKING:
    from raftstate.client.store import Store

logger: logging.Logger = logging.getLogger("raftstate.worker")

_WORK: Final = ("saga", "rollback")
_ROLLBACK_WORK: Final = (
    ROLLBACK_STATE_COMPENSATING,
    ROLLBACK_STATE_VALIDATING,
    ROLLBACK_STATE_READY,
)
# A claim whose holder does nothing for so long, though it could, is taken from it: it
# lacks what the next item takes, or hangs.
_IDLE_S: Final = 3.0


@dataclass(slots=True)
class _Seen:
    """What a plan of somebody else's looked like, and since when."""

    mark: tuple[int, int, int, int]
    since: float


class Worker:
    """Finishes sagas that were given up, and rollbacks, until it is stopped.

    `registry` is what it knows how to undo and to validate, by default all that is
    registered in this process. It does up to `parallel` plans at once. Beside what it is
    told by a watch, it looks at everything every `poll` seconds. `claim_idle` is how long
    somebody else's claim may lie idle before it is taken over.

    When a worker dies, the leader sees its connection break, and another goes on at once.
    When the leader dies at the same moment, another goes on when the session of the dead
    one has ended: the `session_ttl` of its store after a new leader is there."""

    def __init__(
        self,
        store: Store,
        registry: Registry | None = None,
        *,
        holder: str | None = None,
        parallel: int = 8,
        poll: float = 5.0,
        claim_idle: float = _IDLE_S,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._holder = holder
        self._poll = poll
        self._idle = claim_idle
        self._backoff = backoff or Backoff()
        self._slots = asyncio.Semaphore(parallel)
        self._stop = asyncio.Event()
        self._carrier: Carrier | None = None
        self._working: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        # Plans under way of which a watch has told that nothing is left to do.
        self._over: set[str] = set()
        # Of plans under way only: what is over is forgotten.
        self._failures: dict[str, int] = {}
        self._seen: dict[str, _Seen] = {}
        self._said: dict[str, str] = {}
        self._timers: dict[str, clock.Timer] = {}
        self._begin: Callable[[str], None] = lambda _: None
        # How many plans it has finished, for those who watch it.
        self.finished: int = 0

    def stop(self) -> None:
        """Begin nothing new; `run` returns when what is under way has come to a point where
        another can go on. From within the event loop.

        >>> worker = raftstate.Worker(store)
        >>> worker.stop()
        >>> await worker.run()
        """
        self._stop.set()
        if self._carrier is not None:
            self._carrier.stop()

    async def run(self) -> None:
        """Work until `stop` is called. It survives changes of leader and members that fail:
        what cannot be done now is tried again. Raises Closed (definite) if the store is
        closed meanwhile; what is cancelled is left to others.

        >>> worker, undone = raftstate.Worker(store), []
        >>> @raftstate.compensation("worker-unbook")
        ... async def unbook(call):
        ...     undone.append(call.args)
        ...     worker.stop()
        >>> async with store.own("worker/run") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        ...     _ = await agent.effect(
        ...         "book", "flight", effect_id="book", undo=unbook, do=lambda call: None
        ...     )
        >>> _ = await store.start_rollback("worker/run", raftstate.to_checkpoint(good))
        >>> await worker.run()
        >>> undone
        ['flight']
        """
        engine = self._store._engine
        registry = self._registry or engine.options.registry
        self._carrier = Carrier(
            engine, registry=registry, holder=self._holder, backoff=self._backoff
        )
        recovery = Recovery(engine, self._carrier, registry)
        if self._stop.is_set():
            return
        try:
            async with asyncio.TaskGroup() as group:
                self._begin = lambda plan_id: self._take(group, recovery, plan_id)
                lookers = [
                    group.create_task(self._looking(self._told)),
                    group.create_task(self._looking(self._polled)),
                ]
                await self._stop.wait()
                for looker in lookers:
                    looker.cancel()
        except* Closed as closed:
            raise closed.exceptions[0] from None
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    # --- finding work ---

    async def _looking(self, look: Callable[[], AsyncIterator[str]]) -> None:
        """Take on what one way of looking for work finds, for as long as it runs."""
        failures = 0
        while True:
            try:
                async for plan_id in look():
                    failures = 0
                    self._begin(plan_id)
                failures = 0
            except Closed:
                raise
            except RaftStateError as error:
                failures += 1
                logger.warning("cannot look for work: %s", error)
            if failures:
                await asyncio.sleep(self._backoff.after(failures))

    async def _told(self) -> AsyncIterator[str]:
        """Plans that there are, and then those that change."""
        async with self._store.watch(types=_WORK, snapshot=True) as watch:
            async for batch in watch:
                for change in batch.changes:
                    plan_id, wanted = _plan(change.resource)
                    if wanted:
                        self._over.discard(plan_id)
                        yield plan_id
                    elif plan_id in self._working:  # with what it had read before
                        self._over.add(plan_id)
                    else:
                        self._forget(plan_id)

    async def _polled(self) -> AsyncIterator[str]:
        """All plans, every now and then."""
        await asyncio.sleep(self._poll)
        async for saga in self._store.list_sagas(states=["compensating"]):
            yield SAGA_PLAN + saga.saga_id
        states = ["compensating", "validating", "ready"]
        async for rollback in self._store.list_rollbacks(states=states):
            yield ROLLBACK_PLAN + rollback.rollback_id

    def _take(self, group: asyncio.TaskGroup, recovery: Recovery, plan_id: str) -> None:
        """Work on a plan, unless that is done already: then look at it again after."""
        if self._stop.is_set():
            return
        if plan_id in self._working:
            self._again.add(plan_id)
            return
        work = self._work(recovery, plan_id)
        self._working[plan_id] = task = group.create_task(work)
        task.add_done_callback(lambda ended: self._done(plan_id, ended))

    def _done(self, plan_id: str, ended: asyncio.Task[None]) -> None:
        del self._working[plan_id]
        if plan_id in self._over:
            self._over.discard(plan_id)
            self._forget(plan_id)
        if plan_id in self._again and not ended.cancelled() and ended.exception() is None:
            self._again.discard(plan_id)
            self._begin(plan_id)

    def _later(self, plan_id: str, seconds: float) -> None:
        """Look at a plan again, should nothing be told of it before."""
        if (timer := self._timers.pop(plan_id, None)) is not None:
            timer.cancel()
        self._timers[plan_id] = clock.call_later(seconds, lambda: self._begin(plan_id))

    def _forget(self, plan_id: str) -> None:
        """There is nothing to do about a plan any more."""
        for known in (self._failures, self._seen, self._said):
            known.pop(plan_id, None)
        if (timer := self._timers.pop(plan_id, None)) is not None:
            timer.cancel()

    # --- doing it ---

    async def _work(self, recovery: Recovery, plan_id: str) -> None:
        """Do what can be done about one plan now."""
        async with self._slots:
            if self._stop.is_set():
                return
            try:
                if plan_id.startswith(SAGA_PLAN):
                    await self._saga(plan_id)
                else:
                    await self._rollback(recovery, plan_id.removeprefix(ROLLBACK_PLAN))
                self._failures.pop(plan_id, None)
                return
            except (Owned, Fenced):
                self._failures.pop(plan_id, None)
                return  # somebody else is at it
            except (SagaNotFound, RollbackNotFound, PlanNotFound):
                self._forget(plan_id)
                return
            except Closed:
                raise
            except Exception:  # what user code raises, too: others must not suffer from it
                failures = self._failures[plan_id] = self._failures.get(plan_id, 0) + 1
                logger.exception("%s: tried again later", plan_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.after(failures)):
                await self._stop.wait()
        self._again.add(plan_id)

    async def _saga(self, plan_id: str) -> None:
        saga = await self._store.get_saga(plan_id.removeprefix(SAGA_PLAN))
        if saga.state != SAGA_STATE_COMPENSATING:
            self._forget(plan_id)
        elif await self._carry(plan_id, saga):
            self._forget(plan_id)
            self.finished += 1

    async def _rollback(self, recovery: Recovery, rollback_id: str) -> None:
        while not self._stop.is_set():
            plan_id, rollback = ROLLBACK_PLAN + rollback_id, await recovery.read(rollback_id)
            if rollback.state not in _ROLLBACK_WORK:
                self._forget(plan_id)
                return
            if rollback.state == ROLLBACK_STATE_COMPENSATING:
                if not await self._carry(plan_id, rollback):
                    return
            elif not await self._unless_stopped(recovery.go_on(rollback, float("inf"))):
                if not self._stop.is_set():
                    self._tell(plan_id, recovery.missing(rollback))
                return
            self.finished += rollback.state == ROLLBACK_STATE_READY

    async def _unless_stopped(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Do what another can do anew, as validators do, and leave it off if it is told to
        stop: whether it was done."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.done() and task.result()
        finally:
            task.cancel()
            stop.cancel()

    async def _carry(self, plan_id: str, record: Saga | Rollback) -> bool:
        """Undo what there is to undo, unless somebody else is at it: whether all is."""
        force = await self._may_force(plan_id, record)
        if force is None:
            return False
        assert self._carrier is not None
        carried = await self._carrier.carry(plan_id, force=force)
        self._tell(plan_id, carried.missing)
        return carried.done

    def _tell(self, plan_id: str, missing: str) -> None:
        """Say, once, what it lacks for a plan."""
        if missing and self._said.get(plan_id) != missing:
            self._said[plan_id] = missing
            logger.warning("%s: nothing is registered here as %r", plan_id, missing)

    # --- what others have claimed ---

    async def _may_force(self, plan_id: str, record: Saga | Rollback) -> bool | None:
        """Whether a plan's claim is taken by force: False if nobody else has it, None if it
        is to be left alone."""
        undoing, engine = record.undoing, self._store._engine
        session = engine.sessions.current
        ours = session is not None and undoing.claim.session_id == session.session_id
        if ours or not undoing.HasField("claim"):
            self._seen.pop(plan_id, None)
            return False
        assert self._carrier is not None
        item = (await self._carrier.read(plan_id)).next
        if item is None or item.state in WAITING:
            return None
        if missing := await self._carrier.missing(item):
            self._tell(plan_id, missing)
            return None
        mark = (item.position, item.state, item.failures, undoing.newest_claim.revision)
        seen = self._seen.get(plan_id)
        if seen is None or seen.mark != mark:
            seen = self._seen[plan_id] = _Seen(mark, now())
        left = seen.since + await self._patience(item) - now()
        if left > 0:
            self._later(plan_id, left)
            return None
        del self._seen[plan_id]
        logger.warning("%s: the claim of %s lies idle", plan_id, undoing.claim.holder)
        return True

    async def _patience(self, item: CompensationItem) -> float:
        """How long a holder may take over an item before it is left behind."""
        if item.state == COMPENSATION_STATE_PENDING and item.failures == 0:
            return self._idle
        effect = await self._store.get_effect(item.agent_id, item.effect_id)
        attempt = effect.compensation.timeout_ms / 1000
        return self._idle + attempt + self._backoff.longest_s


def _plan(resource: Any) -> tuple[str, bool]:
    """The plan that a saga or rollback has, and whether there is something to do about
    it."""
    if resource.HasField("saga"):
        saga = resource.saga
        return SAGA_PLAN + saga.saga_id, saga.state == SAGA_STATE_COMPENSATING
    rollback = resource.rollback
    return ROLLBACK_PLAN + rollback.rollback_id, rollback.state in _ROLLBACK_WORK
