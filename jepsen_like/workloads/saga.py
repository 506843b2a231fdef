"""Sagas: several things are done outside, and all of them stay or all of them are undone.

Travellers own an agent each, and run sagas of a few steps. A step may fail, and then the
saga is aborted; a traveller may die after any call, and who comes next gives up what it
left. Undoers carry out compensations, one after the other, and die as well. A traveller
that is stopped between its dispatch and its call wakes up when others have gone on, and
calls all the same.

What is done and undone stands in the books of an outside (see `outside`), in this process:
they answer after a while, as another process would. In the end every saga has to be over,
and the books have to say the same as the store.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from jepsen_like import generator as gen
from jepsen_like.checkers import sagas
from jepsen_like.clients import PAUSE_S, TIMEOUT_S, Shared, ended, telling
from jepsen_like.outside import Books, Said, Way
from jepsen_like.protocols import Done, Generator, Op, Record, Site, Verdict, Workload
from jepsen_like.workloads.asking import ask_all
from raftstate.client.calls import deadline_in
from raftstate.client.ownership import AgentHandle
from raftstate.client.routing import Peer
from raftstate.errors import RaftStateError
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import rollback_service_pb2 as rollbacks
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    Compensation,
    CompleteEffectRequest,
    Effect,
    EffectClosing,
    EndSagaRequest,
    GetSagaRequest,
    ListEffectsRequest,
    ListSagasRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
    Saga,
)
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompleteCompensationRequest,
    DecideCompensationRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest

NAME: Final = "saga"
TRAVELLERS: Final = 3
UNDOERS: Final = 3
RATE: Final = 5.0
LIMIT_S: Final = 25.0
STEPS: Final = (3, 6)
FAILS: Final = 0.2
DIES: Final = 0.15
STALLS: Final = 0.05
STALL_S: Final = (1.0, 4.0)
OUTSIDE_S: Final = (0.0, 0.02)
CALLS_MAX: Final = 20
_UNDOING: Final = (effects.SAGA_STATE_COMPENSATING, effects.SAGA_STATE_STUCK)
_CLASSES: Final[Mapping[str, effects.EffectClass]] = {
    "keyed": effects.EFFECT_CLASS_IDEMPOTENT,
    "asked": effects.EFFECT_CLASS_RECONCILABLE,
}


# --- what to do ----------------------------------------------------------------


def operation(thread: str, draws: random.Random, count: int) -> Op:
    """The operation of that number of one thread."""
    number = int(thread.rpartition("/")[2])
    dies = draws.randint(1, CALLS_MAX) if draws.random() < DIES else None
    if number >= TRAVELLERS:
        fails = [draws.random() < FAILS for _ in range(8)]
        force = draws.random() < 0.1
        which = gen.part(draws)
        undo = {"which": which, "dies": dies, "fails": fails, "force": force}
        return Op(NAME, "undo", value=undo)
    steps = [
        {
            "way": draws.choice(("keyed", "keyed", "asked")),
            "fails": draws.random() < FAILS,
            "alone": draws.random() < 0.5,
        }
        for _ in range(draws.randint(*STEPS))
    ]
    stalls = draws.randrange(len(steps)) if draws.random() < STALLS else None
    value = {
        "id": f"s{number}-{count}",
        "steps": steps,
        "dies": dies,
        "stalls": stalls,
        "for": round(draws.uniform(*STALL_S), 2),
    }
    return Op(NAME, "saga", value=value)


def operations(seed: int) -> Generator:
    """Operations for ever; what a thread does depends on the seed and on its name."""
    return gen.PerThread(lambda name: gen.Draw(f"{seed}:{name}", partial(operation, name)))


def final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """Finish whatever is left, from what the store says alone; then tell all there is."""
    drain, listing = Op(NAME, "drain", value={}), Op(NAME, "list", value={})
    return gen.Then(ask_all(drain), ask_all(listing))


# --- doing it ------------------------------------------------------------------


class Killed(Exception):
    """A client has died, and says no more."""


@dataclass
class Outside:
    """What stands beside the clients: the books, and who was stopped and will wake up."""

    books: Books = field(default_factory=Books)
    stopped: set[asyncio.Task[None]] = field(default_factory=set)

    def note(self) -> dict[str, Any]:
        """The journal, for JSON."""
        return self.books.note()

    def processes(self) -> list[int]:
        """Nobody is in a process of his own."""
        return []

    def ripe(self) -> bool:
        """See `processes`."""
        return False

    async def act(self, key: str, way: Way, by: str) -> Said:
        """Do it, somewhere between the question and the answer."""
        await self.travel()
        said = self.books.act(key, way, by, _now())
        await self.travel()
        return said

    async def travel(self) -> None:
        """The way there, or back."""
        await asyncio.sleep(random.uniform(*OUTSIDE_S))  # no secret

    def late(self, seconds: float, key: str, way: Way, by: str) -> None:
        """Somebody who is stopped wakes up after so long, and acts."""

        async def act() -> None:
            await asyncio.sleep(seconds)
            self.books.act(key, way, by, _now())

        task = asyncio.create_task(act())
        self.stopped.add(task)
        task.add_done_callback(self.stopped.discard)


def _now() -> float:
    return round(asyncio.get_running_loop().time(), 4)


class SagaClient:
    """One process: a session of its own, which it may leave without a word."""

    def __init__(self, site: Site, number: int, outside: Outside) -> None:
        self._shared = Shared(site, NAME)
        self._outside = outside
        self._who = f"{NAME}/{number}"
        self._agent_id = self._shared.agent(str(number))
        self._root = f"{site.prefix}/{NAME}/"
        self._number = number
        self._settled = False
        self._calls_left: int | None = None

    async def open(self) -> None:
        """Connect."""
        await self._shared.open(self)

    async def close(self) -> None:
        """Leave."""
        await self._shared.close(self)

    async def invoke(self, op: Op) -> Done:
        """One operation."""
        self._calls_left = op.value.get("dies")
        told: dict[str, Any] = {}
        try:
            match op.f:
                case "saga":
                    return await self._saga(op.value, told)
                case "undo":
                    return await self._undo(op.value, told)
                case "drain":
                    return await self._drain(told)
                case "list":
                    return await self._list()
        except Killed:
            await self._shared.vanish(self)
            await self._shared.open(self)
            self._settled = False
            return Done("info", told | {"died": True})
        except RaftStateError as error:
            self._settled = False
            failed = ended(error, changes=op.f in ("saga", "undo"))
            # Of what is done in many calls nobody knows how far it went.
            unknown = op.f in ("saga", "undo") and bool(told)
            return Done("info" if unknown else "fail", told, error=failed.error)
        raise ValueError(f"a saga does not know {op}")

    async def _mutate(self, kind: str, request: Any, handle: AgentHandle | None = None) -> Any:
        """One mutation, under an ownership or not; then perhaps the end."""
        deadline = deadline_in(TIMEOUT_S)
        if handle is None:
            answer = await self._shared.engine.mutate(kind, request, TIMEOUT_S)
        else:
            request.agent_id = self._agent_id
            request.fence.CopyFrom(handle.token)
            with telling(handle):
                answer = await self._shared.engine.mutate_in(
                    handle.session, kind, request, deadline
                )
        self._live_on()
        return answer

    def _live_on(self) -> None:
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left <= 0:
                raise Killed

    # --- travellers ---

    async def _own(self) -> AgentHandle:
        """Own the agent; give up what somebody else has left of it."""
        handle = await self._shared.own(self._agent_id, deadline_in(TIMEOUT_S))
        if not self._settled:
            prefix = f"{self._root}{self._number}/"
            for saga in await self._sagas(effects.SAGA_STATE_RUNNING, prefix=prefix):
                request = AbortSagaRequest(saga_id=saga.saga_id, reason="left")
                await self._mutate("abort_saga", request, handle)
            self._settled = True
        return handle

    async def _saga(self, asked: Mapping[str, Any], told: dict[str, Any]) -> Done:
        handle = await self._own()
        saga_id = f"{self._root}{self._number}/{asked['id']}"
        told |= {"saga": saga_id, "steps": 0}
        self._settled = False  # until this one is over
        await self._mutate("begin_saga", BeginSagaRequest(saga_id=saga_id), handle)
        state = effects.SAGA_STATE_RUNNING
        for place, step in enumerate(asked["steps"]):
            stalls = asked["for"] if asked["stalls"] == place else None
            if not await self._step(handle, saga_id, place, step, stalls):
                abort = AbortSagaRequest(saga_id=saga_id, reason=f"step {place} failed")
                answer = await self._mutate("abort_saga", abort, handle)
                state = answer.state
                break
            told["steps"] += 1
        else:
            answer = await self._mutate("end_saga", EndSagaRequest(saga_id=saga_id), handle)
            state = answer.state
        self._settled = True
        told["state"] = _state(state)
        return Done("ok", told, answer.header.revision, answer.header.member_id)

    async def _step(
        self,
        handle: AgentHandle,
        saga_id: str,
        place: int,
        step: Mapping[str, Any],
        stalls: float | None,
    ) -> bool:
        """One step; whether it was done."""
        name, way = f"{saga_id.rpartition('/')[2]}:{place}", step["way"]
        new = NewEffect(
            effect_id=name,
            action="book",
            effect_class=_CLASSES[way],
            saga_id=saga_id,
            compensation=Compensation(action="cancel", leaves_tombstone=way == "keyed"),
            reconcile_action="look",
            dispatch=True,
        )
        prepared = await self._mutate(
            "prepare_effect", PrepareEffectRequest(effect=new), handle
        )
        outcome = effects.EFFECT_OUTCOME_FAILED_BEFORE_EFFECT
        if stalls is not None:
            self._outside.late(stalls, prepared.idempotency_key, way, self._who)
            raise Killed
        if not step["fails"]:
            said = await self._outside.act(prepared.idempotency_key, way, self._who)
            self._live_on()
            if said != "refused":
                outcome = effects.EFFECT_OUTCOME_COMMITTED
        closing = EffectClosing(effect_id=name, outcome=outcome)
        if step["alone"]:
            request = CompleteEffectRequest(closing=closing)
            await self._mutate("complete_effect", request, handle)
        else:
            event = NewEvent(type=NAME, data=name.encode())
            commit = CommitStepRequest(events=[event], closings=[closing])
            await self._mutate("commit_step", commit, handle)
        return outcome == effects.EFFECT_OUTCOME_COMMITTED

    # --- undoers ---

    async def _undo(self, asked: Mapping[str, Any], told: dict[str, Any]) -> Done:
        found = await self._sagas(*_UNDOING)
        if not found:
            await asyncio.sleep(PAUSE_S)
            return Done("ok", {"undone": 0})
        saga_id = found[int(asked["which"] * len(found))].saga_id
        told |= {"saga": saga_id, "undone": 0}
        for fails in asked["fails"]:
            if not await self._undo_one(saga_id, fails=fails, force=asked["force"]):
                break
            told["undone"] += not fails
        return Done("ok", told)

    async def _undo_one(self, saga_id: str, *, fails: bool, force: bool) -> bool:
        """Claim the next item of a saga, and do about it what is to be done; whether there
        may be more."""
        plan_id = f"saga/{saga_id}"
        request = ClaimCompensationsRequest(plan_id=plan_id, holder=self._who, force=force)
        try:
            claimed: ClaimCompensationsResponse = await self._mutate(
                "claim_compensations", request
            )
        except RaftStateError as error:
            if error.reason in ("PLAN_STATE", "OWNED"):
                return False
            raise
        if not claimed.HasField("item"):
            decide = DecideCompensationRequest(
                plan_id=plan_id,
                position=claimed.undoing.next_position,
                decision=rollbacks.DECISION_RETRY,
                decided_by=self._who,
            )
            await self._mutate("decide_compensation", decide)
            return True
        key = claimed.effect.idempotency_key
        if claimed.item.reconcile_first:
            await self._reconcile(claimed, key)
        else:
            await self._compensate(claimed, key, fails)
        return True

    async def _reconcile(self, claimed: ClaimCompensationsResponse, key: str) -> None:
        await self._outside.travel()
        said = self._outside.books.ask(key, self._who, _now())
        self._live_on()
        request = ReconcileEffectRequest(
            agent_id=claimed.item.agent_id,
            effect_id=claimed.item.effect_id,
            fence=claimed.claim.fence,
            plan_id=claimed.item.plan_id,
            found=effects.FOUND_DONE if said == "done" else effects.FOUND_NOT_DONE,
        )
        await self._mutate("reconcile_effect", request)

    async def _compensate(
        self, claimed: ClaimCompensationsResponse, key: str, fails: bool
    ) -> None:
        outcome = rollbacks.COMPENSATION_OUTCOME_FAILED
        plan_id, way = claimed.item.plan_id, _way(claimed.effect)
        if not fails:
            under = claimed.effect.compensation.idempotency_key
            await self._outside.travel()
            self._outside.books.undo(key, way, under, plan_id, self._who, _now())
            self._live_on()
            outcome = rollbacks.COMPENSATION_OUTCOME_DONE
        request = CompleteCompensationRequest(
            plan_id=plan_id,
            fence=claimed.claim.fence,
            position=claimed.item.position,
            outcome=outcome,
            error="not now" if fails else "",
        )
        await self._mutate("complete_compensation", request)

    # --- the end ---

    async def _drain(self, told: dict[str, Any]) -> Done:
        """Abort what nobody runs any more, and undo all that is to be undone."""
        for saga in await self._sagas(effects.SAGA_STATE_RUNNING):
            handle = await self._shared.own(saga.agent_id, deadline_in(TIMEOUT_S))
            request = AbortSagaRequest(
                saga_id=saga.saga_id, agent_id=saga.agent_id, fence=handle.token
            )
            with telling(handle):
                await self._shared.engine.mutate_in(
                    handle.session, "abort_saga", request, deadline_in(TIMEOUT_S)
                )
        for saga in await self._sagas(*_UNDOING):
            while await self._undo_one(saga.saga_id, fails=False, force=True):
                continue
        left = await self._sagas(effects.SAGA_STATE_RUNNING, *_UNDOING)
        told["left"] = [saga.saga_id for saga in left]
        return Done("fail" if left else "ok", told)

    async def _list(self) -> Done:
        """Every saga, with its effects and what was to be undone of it."""
        return Done("ok", {"sagas": [await self._shown(one) for one in await self._sagas()]})

    async def _shown(self, saga: Saga) -> dict[str, Any]:
        request = GetSagaRequest(saga_id=saga.saga_id)
        found = await self._shared.ask(partial(_get_saga, request))
        own = await self._effects(saga)
        keys_of = {one.number: one.idempotency_key for one in own}
        items = [
            {
                "position": item.position,
                "key": keys_of[item.effect_number],
                "state": _item_state(item.state),
            }
            for item in found.items
        ]
        state = _state(found.saga.state)
        told = [_told(one) for one in own]
        return {"saga": saga.saga_id, "state": state, "effects": told, "items": items}

    async def _sagas(self, *states: effects.SagaState, prefix: str = "") -> list[Saga]:
        """All sagas of the run, or those of an agent, in some states."""
        request = ListSagasRequest(prefix=prefix or self._root, states=states, page_size=1_000)
        found: list[Saga] = []
        while True:
            asked = ListSagasRequest()
            asked.CopyFrom(request)
            page = await self._shared.ask(partial(_list_sagas, asked))
            found.extend(page.sagas)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def _effects(self, saga: Saga) -> list[Effect]:
        request = ListEffectsRequest(
            agent_id=saga.agent_id, saga_id=saga.saga_id, page_size=1_000
        )
        found: list[Effect] = []
        while True:
            asked = ListEffectsRequest()
            asked.CopyFrom(request)
            page = await self._shared.ask(partial(_list_effects, asked))
            found.extend(page.effects)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


async def _get_saga(request: GetSagaRequest, peer: Peer, patience: float) -> Any:
    return await peer.effects.GetSaga(request, timeout=patience)


async def _list_sagas(request: ListSagasRequest, peer: Peer, patience: float) -> Any:
    return await peer.effects.ListSagas(request, timeout=patience)


async def _list_effects(request: ListEffectsRequest, peer: Peer, patience: float) -> Any:
    return await peer.effects.ListEffects(request, timeout=patience)


def _way(effect: Effect) -> Way:
    keyed = effect.effect_class == effects.EFFECT_CLASS_IDEMPOTENT
    return "keyed" if keyed else "asked"


def _state(state: effects.SagaState) -> str:
    return effects.SagaState.Name(state).removeprefix("SAGA_STATE_")


def _item_state(state: effects.CompensationState) -> str:
    return effects.CompensationState.Name(state).removeprefix("COMPENSATION_STATE_")


def _told(effect: Effect) -> dict[str, Any]:
    state = effects.EffectState.Name(effect.state).removeprefix("EFFECT_STATE_")
    if effect.state == effects.EFFECT_STATE_RECONCILED:
        state += "_" + effects.Found.Name(effect.found).removeprefix("FOUND_")
    return {
        "agent": effect.agent_id,
        "effect": effect.effect_id,
        "key": effect.idempotency_key,
        "state": state,
    }


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Every saga against the books of the outside."""
    return [sagas.check(record, NAME)]


def workload() -> Workload:
    """The promise: a saga is done, or undone; nothing is in between, and nothing twice."""
    outsides: dict[str, Outside] = {}

    def client(site: Site, number: int) -> SagaClient:
        return SagaClient(site, number, outsides.setdefault(site.prefix, Outside()))

    @asynccontextmanager
    async def setting(site: Site) -> AsyncIterator[Outside]:
        outside = outsides.setdefault(site.prefix, Outside())
        yield outside
        for task in list(outside.stopped):
            task.cancel()

    return Workload(
        name=NAME,
        threads=TRAVELLERS + UNDOERS,
        rate=RATE,
        client=client,
        generator=operations,
        final=final,
        check=check,
        setting=setting,
        limit_s=LIMIT_S,
    )
