"""A dumb model of effects, sagas and what is undone: dicts, lists, no thought of speed.

It is written from the API's words, not from the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field

OPEN = {"PREPARED", "DISPATCHED", "UNKNOWN"}
OPEN_ITEMS = {"PENDING", "CLAIMED", "STUCK", "BARRIER"}
Key = tuple[str, str]


class Refused(Exception):
    """Something that is refused, and why."""


@dataclass(frozen=True)
class Kind:
    """What a client says of an effect when it enters it."""

    cls: str
    tombstone: bool = False
    ask: bool = False
    attempts: int = 10

    @property
    def words(self) -> str:
        """As a story says it."""
        said = f"class={self.cls.lower()}"
        if self.cls in ("IDEMPOTENT", "RECONCILABLE"):
            said += f" undo=u tombstone={'yes' if self.tombstone else 'no'}"
            said += f" attempts={self.attempts}"
        return said + (" ask=q" if self.ask else "")


KINDS = [
    Kind("READ_ONLY"),
    Kind("IDEMPOTENT", tombstone=True, attempts=2),
    Kind("IDEMPOTENT", ask=True, attempts=1),
    Kind("RECONCILABLE", ask=True, attempts=2),
    Kind("RECONCILABLE", tombstone=True, ask=True, attempts=2),
    Kind("IRREVERSIBLE"),
]


@dataclass
class ModelEffect:
    kind: Kind
    number: int
    saga: str
    state: str = "PREPARED"
    dispatched: int = 0
    again: bool = False
    settled: int = 0
    found: str = ""
    plan: str = ""

    @property
    def done(self) -> bool:
        """Whether it is known to have happened, and is not undone."""
        known = self.state == "COMMITTED" or (self.state, self.found) == ("RECONCILED", "DONE")
        return known and self.kind.cls != "READ_ONLY"

    @property
    def maybe(self) -> bool:
        """Whether it may have happened, and is not undone."""
        unsure = self.state in ("DISPATCHED", "UNKNOWN") and self.kind.cls != "READ_ONLY"
        return self.done or unsure


@dataclass
class ModelItem:
    effect: Key
    state: str = "PENDING"
    failures: int = 0
    ask_first: bool = False
    under: int = 0


@dataclass
class ModelPlan:
    items: list[ModelItem]
    holder: str = ""
    token: int = 0

    @property
    def turn(self) -> int:
        """The position of the first open item; zero: none is."""
        for at, item in enumerate(self.items, 1):
            if item.state in OPEN_ITEMS:
                return at
        return 0

    def release(self) -> None:
        """Nobody has the claim any more."""
        self.holder = ""
        for item in self.items:
            if item.state == "CLAIMED":
                item.state = "PENDING"


@dataclass
class ModelSaga:
    agent: str
    shared: bool
    state: str = "RUNNING"


@dataclass
class EffectModel:
    """What there is now."""

    owners: dict[str, tuple[str, int]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    effects: dict[Key, ModelEffect] = field(default_factory=dict)
    sagas: dict[str, ModelSaga] = field(default_factory=dict)
    plans: dict[str, ModelPlan] = field(default_factory=dict)

    def copy(self) -> EffectModel:
        return deepcopy(self)

    # --- who may -------------------------------------------------------------

    def fenced(self, agent: str, by: str, token: int) -> None:
        """Refuse one who does not own an agent under a token."""
        if agent not in self.newest:
            raise Refused("AGENT_NOT_FOUND")
        if token < self.newest[agent]:
            raise Refused("FENCED")
        if token > self.newest[agent] or self.owners.get(agent) != (by, token):
            raise Refused("NOT_OWNER")

    def acquire(self, revision: int, agent: str, by: str) -> None:
        self.owners[agent] = (by, revision)
        self.newest[agent] = revision
        for (whose, _), effect in self.effects.items():
            if whose == agent and effect.state == "DISPATCHED":
                effect.state, effect.settled = "UNKNOWN", revision

    def end_session(self, session: str) -> None:
        self.owners = {a: owner for a, owner in self.owners.items() if owner[0] != session}
        for plan in self.plans.values():
            if plan.holder == session:
                plan.release()

    # --- effects -------------------------------------------------------------

    def check_new(self, agent: str, name: str, saga: str) -> None:
        if (agent, name) in self.effects:
            raise Refused("EFFECT_EXISTS")
        if saga and saga not in self.sagas:
            raise Refused("SAGA_NOT_FOUND")
        if saga and self.sagas[saga].state != "RUNNING":
            raise Refused("PLAN_STATE")
        if saga and not self.sagas[saga].shared and self.sagas[saga].agent != agent:
            raise Refused("INVALID_REQUEST")

    def enter(
        self, revision: int, agent: str, name: str, kind: Kind, saga: str, go: bool
    ) -> None:
        number = sum(1 for whose, _ in self.effects if whose == agent) + 1
        effect = self.effects[(agent, name)] = ModelEffect(kind, number, saga)
        if go:
            effect.state, effect.dispatched = "DISPATCHED", revision

    def get(self, agent: str, name: str) -> ModelEffect:
        if (agent, name) not in self.effects:
            raise Refused("EFFECT_NOT_FOUND")
        return self.effects[(agent, name)]

    def item_of(self, key: Key) -> tuple[ModelPlan, ModelItem] | None:
        """The open item that an effect is in."""
        for plan in self.plans.values():
            for item in plan.items:
                if item.effect == key and item.state in OPEN_ITEMS:
                    return plan, item
        return None

    def dispatch(self, revision: int, agent: str, name: str) -> None:
        effect = self.get(agent, name)
        again = effect.state == "UNKNOWN" and effect.kind.cls in ("READ_ONLY", "IDEMPOTENT")
        if effect.state != "PREPARED" and not again:
            raise Refused("CONFLICT")
        if self.item_of((agent, name)):
            raise Refused("CONFLICT")
        effect.again = again and effect.kind.cls != "READ_ONLY"
        effect.state, effect.dispatched, effect.settled = "DISPATCHED", revision, 0

    def check_close(self, agent: str, name: str, outcome: str) -> ModelEffect:
        effect = self.get(agent, name)
        early = effect.state == "PREPARED" and outcome == "FAILED_BEFORE_EFFECT"
        if effect.state != "DISPATCHED" and not early:
            raise Refused("CONFLICT")
        if outcome == "FAILED_BEFORE_EFFECT" and effect.again:
            raise Refused("CONFLICT")
        return effect

    def close(self, revision: int, agent: str, name: str, outcome: str) -> None:
        effect = self.check_close(agent, name, outcome)
        effect.state, effect.settled = outcome, revision

    def reconcile(self, revision: int, agent: str, name: str, found: str, plan: str) -> None:
        effect = self.get(agent, name)
        open_in = self.item_of((agent, name))
        if plan and (not open_in or effect.plan != plan):
            raise Refused("CONFLICT")
        if effect.state != "UNKNOWN":
            raise Refused("CONFLICT")
        effect.state, effect.settled, effect.found = "RECONCILED", revision, found
        if open_in:
            item = open_in[1]
            item.ask_first = False
            if found == "NOT_DONE":
                item.state = "NOT_NEEDED"
            self.settle_sagas()

    # --- sagas ---------------------------------------------------------------

    def of_saga(self, saga: str) -> Iterable[tuple[Key, ModelEffect]]:
        return [(key, each) for key, each in self.effects.items() if each.saga == saga]

    def running(self, saga: str) -> ModelSaga:
        if saga not in self.sagas:
            raise Refused("SAGA_NOT_FOUND")
        if self.sagas[saga].state != "RUNNING":
            raise Refused("CONFLICT")
        return self.sagas[saga]

    def begin(self, saga: str, agent: str, shared: bool) -> None:
        if saga in self.sagas:
            raise Refused("SAGA_EXISTS")
        self.sagas[saga] = ModelSaga(agent, shared)

    def end(self, saga: str, agent: str) -> None:
        found = self.running(saga)
        if found.agent != agent:
            raise Refused("INVALID_REQUEST")
        if any(each.state in OPEN for _, each in self.of_saga(saga)):
            raise Refused("CONFLICT")
        found.state = "COMPLETED"

    def abort(self, revision: int, saga: str, agent: str) -> None:
        found = self.running(saga)
        takes_part = any(whose == agent for (whose, _), _ in self.of_saga(saga))
        if found.agent != agent and not (found.shared and takes_part):
            raise Refused("INVALID_REQUEST")
        for _, each in self.of_saga(saga):
            if each.state == "PREPARED":
                each.state, each.settled = "FAILED_BEFORE_EFFECT", revision
            elif each.state == "DISPATCHED":
                each.state, each.settled = "UNKNOWN", revision
        wanted = [pair for pair in self.of_saga(saga) if pair[1].maybe]
        unsure = [pair for pair in wanted if pair[1].state == "UNKNOWN"]
        sure = [pair for pair in wanted if pair[1].state != "UNKNOWN"]
        unsure.sort(key=lambda pair: (pair[1].dispatched, pair[1].number), reverse=True)
        sure.sort(key=lambda pair: (pair[1].settled, pair[1].number), reverse=True)
        items = []
        for key, each in unsure + sure:
            item = ModelItem(key)
            if each.kind.cls == "IRREVERSIBLE":
                item.state = "BARRIER"
            else:
                item.ask_first = each.state == "UNKNOWN" and not each.kind.tombstone
            items.append(item)
            each.plan = f"saga/{saga}"
        self.plans[f"saga/{saga}"] = ModelPlan(items)
        found.state = "COMPENSATING"
        self.settle_sagas()

    def settle_sagas(self) -> None:
        """Every saga that is undone stands where its items say."""
        for name, saga in self.sagas.items():
            if saga.state not in ("COMPENSATING", "STUCK"):
                continue
            plan = self.plans[f"saga/{name}"]
            if not plan.turn:
                saga.state = "COMPENSATED"
                plan.release()
            else:
                waits = plan.items[plan.turn - 1].state in ("STUCK", "BARRIER")
                saga.state = "STUCK" if waits else "COMPENSATING"

    # --- compensations -------------------------------------------------------

    def live(self, name: str) -> ModelPlan:
        saga = self.sagas.get(name.removeprefix("saga/"))
        if saga is None:
            raise Refused("PLAN_NOT_FOUND")
        if saga.state not in ("COMPENSATING", "STUCK"):
            raise Refused("PLAN_STATE")
        return self.plans[name]

    def claim(self, revision: int, name: str, by: str, force: bool) -> tuple[int, int]:
        """The token, and the position of the item that is claimed; zero: none."""
        plan = self.live(name)
        if plan.holder not in ("", by):
            if not force:
                raise Refused("OWNED")
            plan.release()
        if not plan.holder:
            plan.holder, plan.token = by, revision
        item = plan.items[plan.turn - 1]
        if item.state in ("STUCK", "BARRIER"):
            return plan.token, 0
        item.state, item.under = "CLAIMED", plan.token
        return plan.token, plan.turn

    def claimed(self, name: str, by: str, token: int) -> ModelPlan:
        plan = self.live(name)
        if token < plan.token:
            raise Refused("FENCED")
        if token > plan.token or plan.holder != by:
            raise Refused("NOT_OWNER")
        return plan

    def finish(self, name: str, by: str, token: int, position: int, outcome: str) -> str:
        plan = self.claimed(name, by, token)
        if position != plan.turn:
            raise Refused("CONFLICT")
        item = plan.items[position - 1]
        if (item.state, item.under) != ("CLAIMED", token):
            raise Refused("CONFLICT")
        effect = self.effects[item.effect]
        if outcome == "done":
            if item.ask_first:
                raise Refused("CONFLICT")
            effect.state = item.state = "COMPENSATED"
        else:
            item.failures += 1
            for_good = outcome == "for_good" or item.failures >= effect.kind.attempts
            item.state = "STUCK" if for_good else "PENDING"
        self.settle_sagas()
        return item.state

    def decide(self, name: str, position: int, decision: str) -> str:
        plan = self.live(name)
        if position > len(plan.items):
            raise Refused("CONFLICT")
        item = plan.items[position - 1]
        if item.state not in ("STUCK", "BARRIER"):
            raise Refused("CONFLICT")
        if decision == "retry":
            if item.state == "BARRIER":
                raise Refused("CONFLICT")
            item.state, item.failures = "PENDING", 0
        elif decision == "by_hand":
            item.state = self.effects[item.effect].state = "COMPENSATED"
        elif decision == "proceed":
            item.state = "WAIVED"
        self.settle_sagas()
        return item.state
