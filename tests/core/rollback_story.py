"""What golden stories say of rollbacks, besides `story`:

    start-rollback by=S to=A:TARGET...|group=G [barrier=ask|proceed] [validator=V]...
                   [reason=X] [who=X] [incident=N] [planned=yes]
    finish-rollback R by=S           abort-rollback R by=S [reason=X]
    judge V by=S agent=A rollback=R|id=N [verdict=bad] [evidence=X]

TARGET is checkpoint:N, known-good, before:SEQ, revision:N or time:MS. A rollback goes by
the revision that it was started at, and its plan is rollback/ and its id. `planned` names
the digest of what PlanRollback says now. And the reads

    plan A:TARGET,...|group:G        what StartRollback would do
    rollback R                       one, with its items        rollbacks [STATE]
    restored A                       what a successor restores
    ranges A                         what rollbacks have undone, and left behind
    history A                        all events, and what has undone them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from raftstate.core import checkpoint_queries, keys, queries, rollback_queries, stream_queries
from raftstate.core.ports import Reader
from raftstate.v1.recovery_service_pb2 import ReportValidationRequest
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    FinishRollbackRequest,
    PlanRollbackRequest,
    PlanRollbackResponse,
    Rollback,
    RollbackState,
    RolledBack,
    StartRollbackRequest,
)
from raftstate.v1.store_pb2 import Command, Refusal, UndoneRange
from tests.core.bench import Bench
from tests.core.effect_story import show_item, show_undoing, token
from tests.core.stream_story import Shown

if TYPE_CHECKING:
    from tests.core.story import Line

MANY = 1 << 20
KINDS = {
    "checkpoint": "checkpoint_id",
    "known-good": "known_good",
    "before": "before_event_seq",
    "revision": "revision",
    "time": "log_time_ms",
}


def rollback_id(number: int | str) -> str:
    """The id of the rollback that a revision started."""
    return f"{int(number):016x}"


def target(text: str) -> AgentTarget:
    """An agent and where to, from its words."""
    name, kind, *value = text.split(":")
    return to(name, KINDS[kind], int(value[0]) if value else 1)


def to(name: str, kind: str, value: int) -> AgentTarget:
    """An agent and where to."""
    found = AgentTarget(agent_id=name)
    setattr(found.target, kind, value)
    return found


# --- commands ----------------------------------------------------------------


def start(bench: Bench, by: str, agents: list[AgentTarget], **more: Any) -> Command:
    """Start a rollback."""
    request_id = bench.request_id(by)
    request = StartRollbackRequest(request_id=request_id, agents=agents, **more)
    return Command(start_rollback=request)


def finish(bench: Bench, by: str, rollback: str) -> Command:
    """Finish a rollback."""
    request_id = bench.request_id(by)
    request = FinishRollbackRequest(request_id=request_id, rollback_id=rollback)
    return Command(finish_rollback=request)


def abort(bench: Bench, by: str, rollback: str, why: str = "") -> Command:
    """Give a rollback up."""
    request_id = bench.request_id(by)
    request = AbortRollbackRequest(request_id=request_id, rollback_id=rollback, reason=why)
    return Command(abort_rollback=request)


def judge(bench: Bench, by: str, validator: str, agent: str, **more: Any) -> Command:
    """Say what a validator found."""
    request = ReportValidationRequest(
        request_id=bench.request_id(by), validator=validator, agent_id=agent, **more
    )
    return Command(report_validation=request)


def _start(bench: Bench, line: Line, by: str) -> Command:
    targets = [target(each) for each in line.all("to")]
    digest = b""
    if line.text("planned"):
        plan = _planned(bench.store, targets, line.text("group"))
        assert isinstance(plan, PlanRollbackResponse)
        digest = plan.digest
    incident = line.text("incident")
    return start(
        bench,
        by,
        targets,
        group_id=line.text("group"),
        on_barrier=f"BARRIER_POLICY_{line.text('barrier', 'unspecified').upper()}",
        validators=line.all("validator"),
        reason=line.text("reason"),
        started_by=line.text("who"),
        incident_id=rollback_id(incident) if incident else "",
        expected_digest=digest,
    )


def _judge(bench: Bench, line: Line, by: str) -> Command:
    name, number, rollback = line.text("agent"), line.number("id"), line.text("rollback")
    found = checkpoint_queries.load(bench.store, name, number)
    return judge(
        bench,
        by,
        line.name,
        name,
        checkpoint_id=number,
        content_hash=found.content_hash if found else b"",
        rollback_id=rollback_id(rollback) if rollback else "",
        passed=line.text("verdict") != "bad",
        evidence=line.text("evidence"),
    )


MUTATIONS: dict[str, Callable[[Bench, Line, str], Command]] = {
    "start-rollback": _start,
    "finish-rollback": lambda bench, line, by: finish(bench, by, rollback_id(line.name)),
    "abort-rollback": lambda bench, line, by: abort(
        bench, by, rollback_id(line.name), line.text("reason")
    ),
    "judge": _judge,
}

# --- what was said -----------------------------------------------------------


def _short(numbered: str) -> str:
    """A rollback or an incident, by the number that its id is."""
    return str(int(numbered, 16)) if numbered else "none"


def state(value: RollbackState) -> str:
    """The state of a rollback."""
    return RollbackState.Name(value).removeprefix("ROLLBACK_STATE_")


def _show_judged(said: Any) -> str:
    words = f"judged known_good={said.known_good}"
    return f"{words} incident={_short(said.incident_id)}" if said.incident_id else words


SAID: dict[str, Callable[[Any], str]] = {
    "start_rollback": lambda said: (
        f"rollback {_short(said.rollback_id)} {state(said.state)}"
        f" {show_undoing(said.undoing)} incident={_short(said.incident_id)}"
    ),
    "finish_rollback": lambda _: "finished",
    "abort_rollback": lambda _: "aborted",
    "report_validation": _show_judged,
}

# --- reads -------------------------------------------------------------------


def _planned(
    reader: Reader, targets: list[AgentTarget], group: str
) -> PlanRollbackResponse | Refusal:
    request = PlanRollbackRequest(agents=targets, group_id=group)
    return rollback_queries.plan_rollback(reader, request)


def _taken(one: RolledBack) -> str:
    words = f"{one.agent_id} to checkpoint {one.checkpoint_id}"
    if one.restored_checkpoint_id:
        words += f" restored as {one.restored_checkpoint_id}"
    if one.first_undone_seq:
        words += f" undone {one.first_undone_seq}-{one.last_undone_seq}"
    words += f" kept-revision={one.kept_revision}"
    if one.effects:
        words += f" effects={one.effects} barriers={one.barriers}"
    if one.HasField("former_fence"):
        words += f" from {token(one.former_fence)}"
    if one.former_holder:
        words += f" of {one.former_holder}"
    return f"{words} fence={token(one.fence)}" if one.HasField("fence") else words


def show_plan(plan: PlanRollbackResponse | Refusal) -> Iterator[str]:
    """What a plan says, or why there is none."""
    if isinstance(plan, Refusal):
        yield f"refused: {plan.message} [subject {plan.subject}]"
        return
    yield from map(_taken, plan.agents)
    for each in plan.targets:
        kind = each.target.WhichOneof("to")
        yield f"target {each.agent_id} {kind}={getattr(each.target, kind or '')}"
    for at, effect in enumerate(plan.effects, 1):
        words = f"{at}. {effect.agent_id} {effect.effect_id} {effect.compensation or '-'}"
        words += " barrier" if effect.barrier else ""
        yield words + (" reconcile-first" if effect.reconcile_first else "")
    yield (
        f"events={plan.events_undone} effects={plan.effects_total} barriers={plan.barriers}"
        f" validators={','.join(plan.validators) or '-'}"
    )


def _verdicts(rollback: Rollback) -> Iterator[str]:
    for each in rollback.validators:
        said = ("yes" if each.passed else "no") if each.HasField("passed") else "not yet"
        evidence = f": {each.evidence}" if each.evidence else ""
        yield f"{each.validator} of {each.agent_id} says {said}{evidence}"


def _head(one: Rollback) -> str:
    words = f"rollback {_short(one.rollback_id)} {state(one.state)}"
    words += f" started={one.started_log_time_ms}"
    for name in ("compensated", "validated", "ended"):
        if at := getattr(one, f"{name}_log_time_ms"):
            words += f" {name}={at}"
    words += f" incident={_short(one.incident_id)}"
    for label, text in (("of", one.group_id), ("by", one.started_by), ("for", one.reason)):
        words += f" {label} {text!r}" if text else ""
    return f"{words} ended for {one.ended_reason!r}" if one.ended_reason else words


def _rollback(shown: Shown, number: str) -> Iterator[str]:
    one = rollback_queries.get_rollback(shown.store, rollback_id(number))
    if one is None:
        return
    yield _head(one)
    yield from map(_taken, one.agents)
    yield show_undoing(one.undoing)
    yield from map(show_item, rollback_queries.items_of(shown.store, one.undoing.plan_id))
    yield from _verdicts(one)


def _rollbacks(shown: Shown, wanted: str) -> Iterator[str]:
    states = [getattr(RollbackState, f"ROLLBACK_STATE_{wanted}")] if wanted else []
    found = rollback_queries.list_rollbacks(shown.store, "", MANY, states)
    return map(_head, found.rollbacks)


def restored(reader: Reader, name: str) -> tuple[str, ...]:
    """The words of what a successor restores: the data of the newest checkpoint with all
    that it is built on, and the events after it that it is told."""
    bundle = queries.takeover_bundle(reader, name)
    assert bundle is not None and not bundle.more_events
    words: list[str] = []
    if bundle.HasField("checkpoint"):
        for part in checkpoint_queries.chain(reader, bundle.checkpoint):
            data = checkpoint_queries.read_data(reader, part)
            assert data is not None, f"checkpoint {part.checkpoint_id} has no data"
            words += data.decode().split()
    return (*words, *(each.data.decode() for each in bundle.events))


def _ranges(shown: Shown, name: str) -> Iterator[str]:
    tables = (("events", keys.undone_ranges_from), ("checkpoints", keys.left_behind_from))
    for what, span in tables:
        for _, raw in shown.store.scan(*span(name, 0)):
            one = UndoneRange.FromString(raw)
            by = _short(one.rollback_id)
            yield f"{what} {one.first_seq}-{one.last_seq} by rollback {by}"


def _history(shown: Shown, name: str) -> Iterator[str]:
    events = stream_queries.read_events(shown.store, name, 1, MANY, MANY)
    stream_queries.show_undone(shown.store, events)
    for each in events:
        by = f" undone by {_short(each.undone_by)}" if each.undone_by else ""
        yield f"{each.seq} {each.type}:{each.data.decode()}{by}"


def _plan(shown: Shown, wanted: str) -> Iterator[str]:
    if wanted.startswith("group:"):
        return show_plan(_planned(shown.store, [], wanted.removeprefix("group:")))
    return show_plan(_planned(shown.store, list(map(target, wanted.split(","))), ""))


READS: dict[str, Callable[[Shown, str], Iterator[str]]] = {
    "plan": _plan,
    "rollback": _rollback,
    "rollbacks": _rollbacks,
    "restored": lambda shown, name: iter([" ".join(restored(shown.store, name))]),
    "ranges": _ranges,
    "history": _history,
}
