"""Clients of effects: travellers own agents, and book outside what has to be undone.

The outside is `Common.books`. A traveller acts there as the SDK does: once the store has
said that the effect is DISPATCHED, and never before. He may die at any point, or be stopped
for longer than his session lasts, and then act as if no time had passed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from jepsen_like.outside import Said, Way
from raftstate.core import effect_queries, keys, queries
from raftstate.core.ports import Reader
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import recovery_service_pb2 as recovery
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest, TakeoverBundle
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    Compensation,
    CompleteEffectRequest,
    DispatchEffectRequest,
    Effect,
    EffectClosing,
    EndSagaRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
)
from raftstate.v1.event_service_pb2 import AppendEventsRequest, NewEvent, StreamAppend
from raftstate.v1.recording_pb2 import RECORDING_KIND_RANDOM, NewRecording
from raftstate.v1.recovery_service_pb2 import Evidence, ReportSymptomRequest
from raftstate.v1.replay_service_pb2 import RecordValueRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import Command, Outcome, UndoneRange
from tests.sim.store import undoing_judged as judging
from tests.sim.store.client import StoreClient
from tests.sim.tasks import Script, Wait

AGENTS = 2
PREFIX = "trip/"
READ = effects.EFFECT_CLASS_READ_ONLY
KEYED = effects.EFFECT_CLASS_IDEMPOTENT
ASKED = effects.EFFECT_CLASS_RECONCILABLE
FOREVER = effects.EFFECT_CLASS_IRREVERSIBLE
CLASSES = {READ: 1, KEYED: 8, ASKED: 5, FOREVER: 1}
WAYS: dict[int, Way] = {READ: "plain", KEYED: "keyed", ASKED: "asked", FOREVER: "plain"}
OUTSIDE_S = (0.001, 0.2)  # how long a call to the outside takes, one way
Action = Callable[[], Script]


class Outsider(StoreClient):
    """Somebody who calls the outside."""

    def outside(self, call: Callable[[], Said]) -> Generator[Wait, None, Said]:
        """One call; it is carried out somewhere between now and the answer."""
        yield Wait(self.rng.uniform(*OUTSIDE_S))
        said = call()
        self.common.counts["outside_calls"] += 1
        self.common.counts["late_originals"] += said == "refused"
        yield Wait(self.rng.uniform(*OUTSIDE_S))
        return said

    def ask_outside(self, effect: Effect) -> Generator[Wait, None, Said]:
        """Ask whether an effect happened."""
        books, key = self.common.books, effect.idempotency_key
        return (yield from self.outside(lambda: books.ask(key, self.name)))


class Gone(Exception):
    """A client is dead, or is no owner any more: what it is at is over."""


class Traveller(Outsider):
    """One who owns an agent, if nobody else does, and books."""

    kind = "traveller"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.agent_id = f"{PREFIX}{self.rng.randrange(AGENTS)}"
        self.fence: FencingToken | None = None
        self.dies = 0.03
        self.actions: dict[Action, int] = {
            self.step: 6,
            self.append: 2,
            self.record: 2,
            self.book: 8,
            self.travel: 4,
            self.read: 3,
        }

    def act(self) -> Script:
        """Acquire, and settle what the one before has left; then do some of all that."""
        try:
            if self.fence is None:
                yield from self.take_over()
            for _ in range(self.rng.randint(1, 3)):
                if self.fence is None or self.session_over or self.fleet.closing:
                    break
                (action,) = self.rng.choices(list(self.actions), list(self.actions.values()))
                yield from action()
        except Gone:
            self.fence = None
        if self.session_over:
            self.fence = None

    # -- dying, and being stopped --

    def danger(self) -> Script:
        """A point at which one may die, or be stopped for longer than one's session lasts:
        a stopped one knows nothing of that."""
        if self.rng.random() < self.dies:
            self.session_over = True
            raise Gone
        if self.rng.random() < self.dies:
            self.session_over = True  # so nobody keeps it alive
            yield Wait(self.habits.session_ttl_ms / 1000 * self.rng.uniform(0.5, 4.0))
            self.common.counts["stopped"] += 1

    def own(self, command: Command) -> Generator[Wait, None, Outcome]:
        """Do what only an owner may, or be one no more."""
        outcome, _ = yield from self.do(command)
        if outcome is None:
            raise Gone
        if outcome.HasField("refusal"):
            self.common.counts["travellers_refused"] += 1
            raise Gone
        return outcome

    # -- taking over --

    def take_over(self) -> Script:
        """Acquire, in some way; then what policy says of what is open."""
        force = self.rng.random() < 0.2
        request = AcquireOwnershipRequest(
            agent_id=self.agent_id,
            mode=agents.ACQUIRE_MODE_FORCE if force else agents.ACQUIRE_MODE_IF_FREE,
            ttl_ms=60_000,
            holder=self.name,
            create=True,
        )
        outcome, _ = yield from self.do(Command(acquire_ownership=request))
        if outcome is None or not outcome.HasField("acquire_ownership"):
            raise Gone
        self.fence = outcome.acquire_ownership.ownership.fence
        sight = yield from self.look(self.bundle)
        if sight is None or sight.value is None:
            raise Gone
        bundle: TakeoverBundle = sight.value
        for saga in bundle.open_sagas:
            if saga.state == effects.SAGA_STATE_RUNNING and self.rng.random() < 0.8:
                yield from self.abort(saga.saga_id)
        for effect in bundle.open_effects:
            if not effect.plan_id:
                yield from self.settle(effect)

    def bundle(self, reader: Reader) -> TakeoverBundle | None:
        """What a successor is told; none of it is undone."""
        found = queries.takeover_bundle(reader, self.agent_id)
        if found is not None:
            judging.bundle_is_live(found, undone_events(reader, self.agent_id))
            rows = reader.scan(*keys.effects(self.agent_id, 0))
            every = [Effect.FromString(raw) for _, raw in rows]
            judging.bundle_shows_what_is_open(found, every)
        return found

    def settle(self, effect: Effect) -> Script:
        """What its policy says."""
        name = effect.effect_id
        if effect.state == effects.EFFECT_STATE_PREPARED:
            yield from self.close(name, effects.EFFECT_OUTCOME_FAILED_BEFORE_EFFECT)
        elif effect.state != effects.EFFECT_STATE_UNKNOWN:
            return
        elif effect.on_unknown == effects.UNKNOWN_POLICY_REPEAT:
            again = DispatchEffectRequest(
                agent_id=self.agent_id, fence=self.fence, effect_id=name
            )
            yield from self.own(Command(dispatch_effect=again))
            yield from self.finish(effect)
        elif effect.on_unknown == effects.UNKNOWN_POLICY_RECONCILE:
            said = yield from self.ask_outside(effect)
            found = effects.FOUND_DONE if said == "done" else effects.FOUND_NOT_DONE
            yield from self.danger()
            request = ReconcileEffectRequest(
                agent_id=self.agent_id, fence=self.fence, effect_id=name, found=found
            )
            yield from self.own(Command(reconcile_effect=request))
        else:
            shown = Evidence(kind="effect", ref=f"{self.agent_id}#{name}")
            symptom = ReportSymptomRequest(
                symptom=recovery.SYMPTOM_EFFECT_UNKNOWN, summary=name, evidence=[shown]
            )
            yield from self.own(Command(report_symptom=symptom))

    # -- steps --

    def step(self, closing: EffectClosing | None = None) -> Script:
        """A step: perhaps events, a checkpoint, a recording, the end of an effect."""
        request = CommitStepRequest(agent_id=self.agent_id, fence=self.fence)
        if self.rng.random() < 0.8:
            request.events.append(NewEvent(type="moved", data=self.unique()))
        if self.rng.random() < 0.3:
            request.checkpoint.CopyFrom(NewCheckpoint(data=self.unique()))
        if self.rng.random() < 0.2:
            request.recordings.append(self.drawn())
        if closing is not None:
            request.closings.append(closing)
        yield from self.own(Command(commit_step=request))
        self.common.counts["travelled"] += 1

    def append(self) -> Script:
        """Append outside of a step."""
        event = NewEvent(type="moved", data=self.unique())
        part = StreamAppend(stream_id=self.agent_id, fence=self.fence, events=[event])
        yield from self.own(Command(append_events=AppendEventsRequest(appends=[part])))

    def drawn(self) -> NewRecording:
        """A value that was drawn."""
        key = f"draw-{self.rng.randrange(4)}"
        return NewRecording(kind=RECORDING_KIND_RANDOM, key=key, data=self.unique())

    def record(self) -> Script:
        """Keep a value of the step that is under way; the first one stays."""
        request = RecordValueRequest(
            agent_id=self.agent_id, fence=self.fence, recording=self.drawn()
        )
        yield from self.own(Command(record_value=request))
        self.common.counts["recorded"] += 1

    # -- effects --

    def book(self, saga_id: str = "") -> Script:
        """One effect, to its end or to one's own."""
        known = yield from self.prepare(saga_id)
        yield from self.finish(known)

    def prepare(self, saga_id: str = "") -> Generator[Wait, None, Effect]:
        """Enter an effect into the ledger, and dispatch it."""
        (chosen,) = self.rng.choices(list(CLASSES), list(CLASSES.values()))
        self.made += 1
        name = f"{self.name}:{self.made}"
        new = NewEffect(
            effect_id=name,
            action="book",
            effect_class=chosen,
            saga_id=saga_id,
            dispatch=self.rng.random() < 0.6,
        )
        if chosen in (KEYED, ASKED):
            leaves = chosen == KEYED
            new.compensation.CopyFrom(
                Compensation(action="cancel", attempts=2, leaves_tombstone=leaves)
            )
        if chosen == ASKED:
            new.reconcile_action = "look"
        request = PrepareEffectRequest(agent_id=self.agent_id, fence=self.fence, effect=new)
        outcome = yield from self.own(Command(prepare_effect=request))
        self.common.counts["effects"] += 1
        yield from self.danger()
        if not new.dispatch:
            dispatch = DispatchEffectRequest(
                agent_id=self.agent_id, fence=self.fence, effect_id=name
            )
            yield from self.own(Command(dispatch_effect=dispatch))
        key = outcome.prepare_effect.idempotency_key
        return Effect(effect_id=name, idempotency_key=key, effect_class=chosen)

    def finish(self, effect: Effect) -> Script:
        """Act, and say what came of it. Whoever is stopped in between acts late."""
        outcome = effects.EFFECT_OUTCOME_FAILED_BEFORE_EFFECT
        yield from self.danger()
        key, way, books = effect.idempotency_key, WAYS[effect.effect_class], self.common.books
        if self.rng.random() < 0.9 or effect.dispatches:
            said: Said = "done"
            if effect.effect_class != READ:
                said = yield from self.outside(lambda: books.act(key, way, self.name))
            if said != "refused":
                outcome = effects.EFFECT_OUTCOME_COMMITTED
            if self.rng.random() < 0.1:  # the answer was lost
                outcome = effects.EFFECT_OUTCOME_UNKNOWN
        yield from self.danger()
        if self.rng.random() < 0.5:
            yield from self.step(EffectClosing(effect_id=effect.effect_id, outcome=outcome))
        else:
            yield from self.close(effect.effect_id, outcome)

    def close(self, effect_id: str, outcome: effects.EffectOutcome) -> Script:
        """Say what came of an effect."""
        closing = EffectClosing(effect_id=effect_id, outcome=outcome)
        request = CompleteEffectRequest(
            agent_id=self.agent_id, fence=self.fence, closing=closing
        )
        yield from self.own(Command(complete_effect=request))

    # -- sagas --

    def travel(self) -> Script:
        """A saga of a few effects, some of them at once; ended, or aborted."""
        self.made += 1
        saga_id = f"{self.name}/{self.made}"
        request = BeginSagaRequest(saga_id=saga_id, agent_id=self.agent_id, fence=self.fence)
        yield from self.own(Command(begin_saga=request))
        self.common.counts["sagas"] += 1
        for _ in range(self.rng.randint(1, 3)):
            if self.rng.random() < 0.3:
                pair = [(yield from self.prepare(saga_id)), (yield from self.prepare(saga_id))]
                self.rng.shuffle(pair)
                for one in pair:
                    yield from self.finish(one)
            else:
                yield from self.book(saga_id)
        if self.rng.random() < 0.5:
            end = EndSagaRequest(saga_id=saga_id, agent_id=self.agent_id, fence=self.fence)
            yield from self.own(Command(end_saga=end))
        else:
            yield from self.abort(saga_id)

    def abort(self, saga_id: str) -> Script:
        """Give a saga up. That its effects are undone is for others to see to."""
        request = AbortSagaRequest(saga_id=saga_id, agent_id=self.agent_id, fence=self.fence)
        yield from self.own(Command(abort_saga=request))

    # -- reading --

    def read(self) -> Script:
        """The ledger of the agent, its bundle and its events, at some member or another."""
        agent_id = self.agent_id

        def look(reader: Reader) -> int:
            page = effect_queries.list_effects(
                reader, agent_id, 0, 1 << 20, scanned_max=1 << 20
            )
            stored = [
                Effect.FromString(raw) for _, raw in reader.scan(*keys.effects(agent_id, 0))
            ]
            judging.ledger_reads_back(agent_id, page.effects, stored)
            return len(stored)

        way = self.rng.randrange(4)
        if way == 3:
            yield from self.glance(self.bundle)
        else:
            yield from (self.look, self.glance, self.look_at)[way](look)


def undone_events(reader: Reader, agent_id: str) -> set[int]:
    """Which of an agent's events are undone."""
    found: set[int] = set()
    for _, raw in reader.scan(*keys.undone_ranges_from(agent_id, 0)):
        span = UndoneRange.FromString(raw)
        found.update(range(span.first_seq, span.last_seq + 1))
    return found
