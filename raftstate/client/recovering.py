"""Seeing a rollback through: what is undone, what validators say, and its end.

Whoever started a rollback does this, and so does every worker; several at once are in each
other's way no further than that one of them carries out the compensations while the others
wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from raftstate.client import acts, reading, values
from raftstate.client.acts import Restored
from raftstate.client.calls import remaining
from raftstate.client.checkpoints import assemble
from raftstate.client.chunks import download
from raftstate.client.compensating import ROLLBACK_PLAN, Carrier
from raftstate.client.engine import Engine
from raftstate.client.reading import Way
from raftstate.client.registry import Registry
from raftstate.client.watch import Watch
from raftstate.errors import Fenced, Owned, PlanState
from raftstate.v1.checkpoint_service_pb2 import GetCheckpointRequest
from raftstate.v1.common_pb2 import CONSISTENCY_LINEARIZABLE
from raftstate.v1.event_service_pb2 import Event, ReadEventsRequest
from raftstate.v1.recovery_service_pb2 import (
    ReportValidationRequest,
)
from raftstate.v1.rollback_service_pb2 import (
    ROLLBACK_STATE_ABORTED,
    ROLLBACK_STATE_COMPENSATING,
    ROLLBACK_STATE_FINISHED,
    ROLLBACK_STATE_READY,
    ROLLBACK_STATE_VALIDATING,
    FinishRollbackRequest,
    GetRollbackRequest,
    Rollback,
    RolledBack,
    ValidatorReport,
)
from raftstate.v1.watch_service_pb2 import (
    WATCH_START_NOW,
    ResourceType,
    Selector,
    WatchRequest,
)

ENDED: Final = (ROLLBACK_STATE_FINISHED, ROLLBACK_STATE_ABORTED)
# How often what another worker does is looked at, should nothing be heard of it.
_LOOK_S: Final = 5.0
_PROGRESS_MS: Final = 1_000


class Recovery:
    """Sees rollbacks through, as far as that can be done here."""

    def __init__(self, engine: Engine, carrier: Carrier, registry: Registry) -> None:
        self._engine = engine
        self._carrier = carrier
        self._registry = registry

    async def see_through(self, rollback_id: str, deadline: float) -> Rollback:
        """A rollback as it is when nothing more can be done here: FINISHED or ABORTED;
        BLOCKED, if a person has to decide; VALIDATING, if a validator said no, or is not
        registered here. What somebody else does is waited for, until the deadline.

        Raises what `Carrier.carry` and a validator do."""
        async with _watched(self._engine, rollback_id) as watch:
            while True:
                rollback = await self.read(rollback_id)
                if rollback.state in ENDED:
                    return rollback
                try:
                    if not await self.go_on(rollback, deadline):
                        return await self.read(rollback_id)
                except (Owned, Fenced):
                    seconds = min(remaining(deadline), _LOOK_S)
                    if seconds <= 0:
                        raise
                    await _look(watch, seconds)

    async def go_on(self, rollback: Rollback, deadline: float) -> bool:
        """Do what a rollback needs next: whether that was done. Raises Owned, Fenced
        (definite) if somebody else is at it."""
        if rollback.state == ROLLBACK_STATE_COMPENSATING:
            plan_id = ROLLBACK_PLAN + rollback.rollback_id
            carried = await self._carrier.carry(plan_id, deadline=deadline)
            return carried.done
        if rollback.state == ROLLBACK_STATE_VALIDATING:
            return await self.validate(rollback)
        if rollback.state == ROLLBACK_STATE_READY:
            with contextlib.suppress(PlanState):  # somebody else was faster
                request = FinishRollbackRequest(rollback_id=rollback.rollback_id)
                await self._engine.mutate("finish_rollback", request, None)
            return True
        return False

    async def read(self, rollback_id: str) -> Rollback:
        """A rollback as it is now. Raises RollbackNotFound (definite)."""
        request = GetRollbackRequest(rollback_id=rollback_id)
        answer = await reading.read(
            self._engine, lambda peer: peer.rollbacks.GetRollback, request, timeout=None
        )
        rollback: Rollback = answer.rollback
        return rollback

    # --- validators ---

    def missing(self, rollback: Rollback) -> str:
        """The name of a validator that has not spoken, and is not registered here; empty:
        there is none."""
        for report in rollback.validators:
            known = self._registry.find("validator", report.validator)
            if not report.HasField("passed") and known is None:
                return report.validator
        return ""

    async def validate(self, rollback: Rollback) -> bool:
        """Let the validators speak that have not, and are registered here: whether one
        did, and none said no."""
        spoke = False
        for report in rollback.validators:
            validator = self._registry.find("validator", report.validator)
            if report.HasField("passed"):
                if not report.passed:
                    return False
            elif validator is not None:
                spoke = True
                if not await self._judge(rollback, report, validator):
                    return False
        return spoke

    async def _judge(self, rollback: Rollback, report: ValidatorReport, validator: Any) -> bool:
        """What a validator says of the one agent that it is asked about."""
        (one,) = (each for each in rollback.agents if each.agent_id == report.agent_id)
        passed, evidence = await _verdict(validator, await self._restored(rollback, one))
        request = ReportValidationRequest(
            validator=report.validator,
            agent_id=report.agent_id,
            rollback_id=rollback.rollback_id,
            passed=passed,
            evidence=acts.short(evidence),
        )
        with contextlib.suppress(PlanState):  # it has ended meanwhile
            await self._engine.mutate("report_validation", request, None)
        return passed

    async def _restored(self, rollback: Rollback, one: RolledBack) -> Restored:
        state, seq = None, 0
        if one.restored_checkpoint_id:
            request = GetCheckpointRequest(
                agent_id=one.agent_id,
                checkpoint_id=one.restored_checkpoint_id,
                with_chain=True,
            )
            way = Way(CONSISTENCY_LINEARIZABLE)
            checkpoint = await assemble(await download(self._engine, request, way))
            state, seq = values.decode(checkpoint), checkpoint.event_seq
        # What was undone ends with the newest event: nobody has written since.
        last = one.first_undone_seq - 1 if one.first_undone_seq else 0
        events = await self._events(one.agent_id, seq + 1, last)
        return Restored(one.agent_id, state, events, rollback)

    async def _events(self, agent_id: str, first: int, last: int) -> list[Event]:
        """An agent's events from `first` to `last`, or the newest, that no rollback has
        undone."""
        if last and last < first:
            return []
        found: list[Event] = []
        place = first

        def begin(peer: Any, way: Way) -> Any:
            request = ReadEventsRequest(
                stream_id=agent_id, from_seq=place, max_events=last + 1 - place if last else 0
            )
            return peer.events.ReadEvents(way.fill(request))

        async for answer in reading.stream(self._engine, begin, {}):
            for event in answer.events:
                place = event.seq + 1
                if not event.undone_by:
                    found.append(event)
            if last and place > last:
                break
        return found


async def _verdict(validator: Any, restored: Restored) -> tuple[bool, str]:
    """What a validator says, and why not."""
    try:
        said = await acts.run(validator, restored)
    except AssertionError as error:
        return False, str(error) or "an assertion failed"
    if not isinstance(said, bool):
        raise TypeError(f"a validator gives True or False, not {said!r}")
    return said, "" if said else "it said no"


def _watched(engine: Engine, rollback_id: str) -> Watch:
    """What changes of a rollback, from now on."""
    request = WatchRequest(
        selector=Selector(
            types=[ResourceType.RESOURCE_TYPE_ROLLBACK],
            prefix=rollback_id.encode(),
            exact=True,
        ),
        start=WATCH_START_NOW,
        progress_ms=_PROGRESS_MS,
    )
    return Watch(
        engine,
        request,
        progress=False,
        raise_too_slow=False,
        timeout=None,
        endpoint=None,
    )


async def _look(watch: Watch, seconds: float) -> None:
    """Wait until something has changed, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await anext(watch)
