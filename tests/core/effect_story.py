"""What golden stories say of effects, sagas and compensations, besides `story`:

    prepare A by=S fence=R effect=NEW            dispatch A by=S fence=R id=E
    complete A by=S fence=R done=CLOSING
    step A by=S fence=R [done=CLOSING]... [effect=NEW]...
    reconcile A by=S fence=R id=E found=done|not_done [plan=P] [result=X]
    saga G by=S of=A fence=R [mode=choreographed] [labels=k:v]
    end-saga G by=S of=A fence=R                 abort-saga G by=S of=A fence=R [reason=X]
    claim P by=S [force=yes]
    undone P by=S fence=R item=N [as=failed|for_good] [error=X] [result=X]
    decide P by=S item=N as=retry|by_hand|proceed|escalate who=X [why=X]

NEW is "ID [class=C] [undo=X] [tombstone=no] [ask=X] [policy=P] [saga=G] [attempts=N]
[key=K] [dispatch=yes]", of class idempotent if it does not say. A CLOSING is "ID
committed|failed|unknown [result=X] [error=X]". And the reads

    effects A       the ledger, in order of number
    open-work A     what a successor is told: open effects, and sagas
    sagas           show-saga G      one, with its items
    items P         what a plan undoes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from raftstate.core import effect_queries
from raftstate.core.types import token_key
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    Compensation,
    CompensationItem,
    CompensationState,
    CompleteEffectRequest,
    DispatchEffectRequest,
    Effect,
    EffectClass,
    EffectClosing,
    EffectState,
    EndSagaRequest,
    Found,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
    Saga,
    SagaMode,
    SagaState,
    Undoing,
)
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    CompleteCompensationRequest,
    DecideCompensationRequest,
)
from raftstate.v1.store_pb2 import Command
from tests.core.bench import Bench
from tests.core.stream_story import Shown

if TYPE_CHECKING:
    from tests.core.story import Line

MANY = 1 << 20
OUTCOMES = {"committed": "COMMITTED", "failed": "FAILED_BEFORE_EFFECT", "unknown": "UNKNOWN"}
ENDS = {"done": "DONE", "failed": "FAILED", "for_good": "FAILED_FOR_GOOD"}
DECISIONS = {"by_hand": "DONE_BY_HAND"}

# --- commands ----------------------------------------------------------------


def new_effect(text: str) -> NewEffect:
    """An effect from its words."""
    name, *words = text.split()
    said = dict(word.split("=", 1) for word in words)
    policy = said.pop("policy", "unspecified").upper()
    new = NewEffect(
        effect_id=name,
        action=said.pop("action", f"do-{name}"),
        effect_class=f"EFFECT_CLASS_{said.pop('class', 'idempotent').upper()}",
        idempotency_key=said.pop("key", ""),
        reconcile_action=said.pop("ask", ""),
        saga_id=said.pop("saga", ""),
        on_unknown=f"UNKNOWN_POLICY_{policy}",
        dispatch=said.pop("dispatch", "") == "yes",
    )
    if undo := said.pop("undo", ""):
        new.compensation.CopyFrom(
            Compensation(
                action=undo,
                leaves_tombstone=said.pop("tombstone", "yes") == "yes",
                attempts=int(said.pop("attempts", "0")),
            )
        )
    assert not said, f"an effect does not know {sorted(said)}"
    return new


def closing(text: str) -> EffectClosing:
    """A closing from its words."""
    name, outcome, *words = text.split()
    said = dict(word.split("=", 1) for word in words)
    return EffectClosing(
        effect_id=name,
        outcome=f"EFFECT_OUTCOME_{OUTCOMES[outcome]}",
        result=said.pop("result", "").encode(),
        error=said.pop("error", ""),
    )


def prepare(
    bench: Bench, by: str, agent: str, fence: FencingToken, new: NewEffect | None
) -> Command:
    """Enter an effect."""
    request_id = bench.request_id(by)
    return Command(
        prepare_effect=PrepareEffectRequest(
            request_id=request_id, agent_id=agent, fence=fence, effect=new
        )
    )


def dispatch(bench: Bench, by: str, agent: str, fence: FencingToken, effect: str) -> Command:
    """Dispatch an effect."""
    request_id = bench.request_id(by)
    return Command(
        dispatch_effect=DispatchEffectRequest(
            request_id=request_id, agent_id=agent, fence=fence, effect_id=effect
        )
    )


def complete(
    bench: Bench, by: str, agent: str, fence: FencingToken, done: EffectClosing
) -> Command:
    """Say what came of an effect."""
    request_id = bench.request_id(by)
    return Command(
        complete_effect=CompleteEffectRequest(
            request_id=request_id, agent_id=agent, fence=fence, closing=done
        )
    )


def reconcile(
    bench: Bench,
    by: str,
    agent: str,
    fence: FencingToken,
    effect: str,
    found: str,
    plan: str = "",
    result: str = "",
) -> Command:
    """Say what the outside said of an effect."""
    return Command(
        reconcile_effect=ReconcileEffectRequest(
            request_id=bench.request_id(by),
            agent_id=agent,
            fence=fence,
            effect_id=effect,
            plan_id=plan,
            found=f"FOUND_{found.upper()}",
            result=result.encode(),
        )
    )


def begin_saga(
    bench: Bench, by: str, saga: str, agent: str, fence: FencingToken, mode: str = ""
) -> Command:
    """Begin a saga."""
    request = BeginSagaRequest(
        request_id=bench.request_id(by),
        saga_id=saga,
        agent_id=agent,
        fence=fence,
        mode=f"SAGA_MODE_{mode.upper() or 'UNSPECIFIED'}",
    )
    return Command(begin_saga=request)


def _saga(bench: Bench, line: Line, by: str) -> Command:
    mode = line.text("mode")
    command = begin_saga(bench, by, line.name, line.text("of"), line.fence(), mode)
    command.begin_saga.labels.extend(line.labels())
    return command


def end_saga(bench: Bench, by: str, saga: str, agent: str, fence: FencingToken) -> Command:
    """End a saga."""
    request_id = bench.request_id(by)
    return Command(
        end_saga=EndSagaRequest(
            request_id=request_id, saga_id=saga, agent_id=agent, fence=fence
        )
    )


def abort_saga(
    bench: Bench, by: str, saga: str, agent: str, fence: FencingToken, why: str = ""
) -> Command:
    """Give a saga up."""
    request_id = bench.request_id(by)
    return Command(
        abort_saga=AbortSagaRequest(
            request_id=request_id, saga_id=saga, agent_id=agent, fence=fence, reason=why
        )
    )


def claim(bench: Bench, by: str, plan: str, force: bool = False) -> Command:
    """Claim what is to be undone."""
    request_id = bench.request_id(by)
    return Command(
        claim_compensations=ClaimCompensationsRequest(
            request_id=request_id, plan_id=plan, holder=by, force=force
        )
    )


def undone(
    bench: Bench,
    by: str,
    plan: str,
    fence: FencingToken,
    item: int,
    outcome: str = "done",
    error: str = "",
    result: str = "",
) -> Command:
    """Say what came of an item."""
    return Command(
        complete_compensation=CompleteCompensationRequest(
            request_id=bench.request_id(by),
            plan_id=plan,
            fence=fence,
            position=item,
            outcome=f"COMPENSATION_OUTCOME_{ENDS[outcome]}",
            error=error,
            result=result.encode(),
        )
    )


def decide(
    bench: Bench, by: str, plan: str, item: int, decision: str, who: str = "", why: str = ""
) -> Command:
    """Decide about an item."""
    return Command(
        decide_compensation=DecideCompensationRequest(
            request_id=bench.request_id(by),
            plan_id=plan,
            position=item,
            decision=f"DECISION_{DECISIONS.get(decision, decision.upper())}",
            decided_by=who,
            why=why,
        )
    )


MUTATIONS: dict[str, Callable[[Bench, Line, str], Command]] = {
    "prepare": lambda bench, line, by: prepare(
        bench, by, line.name, line.fence(), new_effect(line.text("effect"))
    ),
    "dispatch": lambda bench, line, by: dispatch(
        bench, by, line.name, line.fence(), line.text("id")
    ),
    "complete": lambda bench, line, by: complete(
        bench, by, line.name, line.fence(), closing(line.text("done"))
    ),
    "reconcile": lambda bench, line, by: reconcile(
        bench,
        by,
        line.name,
        line.fence(),
        line.text("id"),
        line.text("found"),
        line.text("plan"),
        line.text("result"),
    ),
    "saga": _saga,
    "end-saga": lambda bench, line, by: end_saga(
        bench, by, line.name, line.text("of"), line.fence()
    ),
    "abort-saga": lambda bench, line, by: abort_saga(
        bench, by, line.name, line.text("of"), line.fence(), line.text("reason")
    ),
    "claim": lambda bench, line, by: claim(bench, by, line.name, line.text("force") == "yes"),
    "undone": lambda bench, line, by: undone(
        bench,
        by,
        line.name,
        line.fence(),
        line.number("item"),
        line.text("as", "done"),
        line.text("error"),
        line.text("result"),
    ),
    "decide": lambda bench, line, by: decide(
        bench,
        by,
        line.name,
        line.number("item"),
        line.text("as"),
        line.text("who"),
        line.text("why"),
    ),
}

# --- what was said -----------------------------------------------------------


def token(fence: FencingToken) -> str:
    epoch, revision = token_key(fence)
    return f"{epoch}/{revision}"


def state(value: EffectState) -> str:
    return EffectState.Name(value).removeprefix("EFFECT_STATE_")


def saga_state(value: SagaState) -> str:
    return SagaState.Name(value).removeprefix("SAGA_STATE_")


def item_state(value: CompensationState) -> str:
    return CompensationState.Name(value).removeprefix("COMPENSATION_STATE_")


def show_undoing(undoing: Undoing) -> str:
    """How far a plan has come."""
    words = f"{undoing.plan_id} open={undoing.open}/{undoing.total}"
    if undoing.stuck:
        words += f" stuck={undoing.stuck}"
    if undoing.next_position:
        words += f" next={undoing.next_position}"
    if undoing.HasField("claim"):
        words += f" claim={token(undoing.claim.fence)} of {undoing.claim.holder}"
    return words


def show_item(item: CompensationItem) -> str:
    """One item."""
    words = f"{item.position}. {item.agent_id}#{item.effect_number} {item.effect_id}"
    words += f" {item_state(item.state)}"
    if item.reconcile_first:
        words += " reconcile-first"
    if item.claims:
        words += f" claims={item.claims} under={token(item.claimed_under)}"
    if item.failures:
        words += f" failures={item.failures}"
    if item.settled_revision:
        words += f" settled={item.settled_revision}"
    for name in ("error", "decided_by", "decision", "moved_to"):
        if value := getattr(item, name):
            words += f" {name}={value}"
    return words + (f" result={item.result.decode()}" if item.result else "")


def _show_claim(said: Any) -> str:
    words = f"claim {token(said.claim.fence)} of {said.claim.holder}"
    words += f" {show_undoing(said.undoing)}"
    return f"{words}: {show_item(said.item)}" if said.HasField("item") else f"{words}: nothing"


SAID: dict[str, Callable[[Any], str]] = {
    "prepare_effect": lambda said: (
        f"effect {said.number} {state(said.state)} key={said.idempotency_key}"
        + (" existed" if said.existed else "")
    ),
    "dispatch_effect": lambda said: (
        f"dispatched key={said.idempotency_key} dispatches={said.dispatches}"
    ),
    "complete_effect": lambda said: state(said.state),
    "reconcile_effect": lambda said: state(said.state),
    "begin_saga": lambda said: "saga begun",
    "end_saga": lambda said: f"saga {saga_state(said.state)}",
    "abort_saga": lambda said: f"saga {saga_state(said.state)} {show_undoing(said.undoing)}",
    "claim_compensations": _show_claim,
    "complete_compensation": lambda said: (
        f"item {item_state(said.state)} {show_undoing(said.undoing)}"
    ),
    "decide_compensation": lambda said: (
        f"item {item_state(said.state)} {show_undoing(said.undoing)}"
    ),
}


def show_effect(each: Effect) -> str:
    """One effect."""
    kind = EffectClass.Name(each.effect_class).removeprefix("EFFECT_CLASS_")
    words = f"{each.number}. {each.effect_id} {state(each.state)} {kind}"
    if each.found:
        words += f" found={Found.Name(each.found).removeprefix('FOUND_')}"
    words += f" step={each.step} fence={token(each.fence)} prepared={each.prepared_revision}"
    if each.dispatches:
        words += f" dispatched={each.dispatched_revision} x{each.dispatches}"
    if each.settled_revision:
        words += f" settled={each.settled_revision}"
    if each.compensated_revision:
        words += f" compensated={each.compensated_revision}"
    if each.saga_id:
        words += f" saga={each.saga_id}"
    if each.plan_id:
        words += f" plan={each.plan_id}:{each.plan_position}"
    if each.error:
        words += f" error={each.error}"
    return words + (f" result={each.result.decode()}" if each.result else "")


def show_saga(each: Saga) -> str:
    """One saga."""
    mode = SagaMode.Name(each.mode).removeprefix("SAGA_MODE_")
    words = f"{each.saga_id} of {each.agent_id} {mode} {saga_state(each.state)}"
    words += f" effects={each.effects} open={each.open_effects} begun={each.begun_revision}"
    if each.ended_revision:
        words += f" ended={each.ended_revision}"
    for name in ("reason", "incident_id"):
        if value := getattr(each, name):
            words += f" {name}={value}"
    return f"{words} [{show_undoing(each.undoing)}]" if each.HasField("undoing") else words


# --- reads -------------------------------------------------------------------


def _read_open(shown: Shown, name: str) -> Iterator[str]:
    found, more = effect_queries.open_effects(shown.store, name, MANY)
    assert not more
    yield from map(show_effect, found)
    yield from map(show_saga, effect_queries.open_sagas(shown.store, name))


def _read_saga(shown: Shown, name: str) -> Iterator[str]:
    saga = effect_queries.get_saga(shown.store, name)
    if saga is not None:
        yield show_saga(saga)
        yield from map(show_item, effect_queries.items(shown.store, f"saga/{name}", MANY))


READS: dict[str, Callable[[Shown, str], Iterator[str]]] = {
    "effects": lambda shown, name: map(
        show_effect, effect_queries.list_effects(shown.store, name, 0, MANY).effects
    ),
    "open-work": _read_open,
    "show-saga": _read_saga,
    "sagas": lambda shown, name: map(
        show_saga, effect_queries.list_sagas(shown.store, name, "", MANY).sagas
    ),
    "items": lambda shown, name: map(show_item, effect_queries.items(shown.store, name, MANY)),
}
