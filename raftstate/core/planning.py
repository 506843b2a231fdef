"""What a rollback would do: to which checkpoint, which events and which effects go.

Both who only asks and who starts one find it here, by the same reads. Nothing is searched
for row by row: revisions and log times grow along an agent's events, and along its
checkpoints, so a place among them is found by halves. What rollbacks have left behind is
stepped over a branch at a time, and not for ever.

A target that lies on such a branch is none, unless it is a checkpoint that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

from raftstate.core import (
    agents,
    checkpoint_queries,
    checkpoints,
    compensations,
    effects,
    events,
    items,
    keys,
    ledger,
    limits,
    rollbacks,
    sagas,
    undone,
)
from raftstate.core.context import refuse, refuse_many, refuse_state, refuse_subject
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.effect_service_pb2 import Effect, EffectState
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.recovery_service_pb2 import Validator
from raftstate.v1.rollback_service_pb2 import (
    AgentTarget,
    PlannedEffect,
    PlanRollbackResponse,
    Rollback,
    RolledBack,
    Target,
    ValidatorReport,
)
from raftstate.v1.store_pb2 import Reason, Refusal

# How often a search steps over what a rollback has left behind.
LOOKS_MAX = 256
# What names a revision beyond it means that one, at which no cluster ever is.
_REVISION_MAX = (1 << 63) - 1
# Where a rollback may begin.
_ALLOWED = (
    Lifecycle.LIFECYCLE_IDLE,
    Lifecycle.LIFECYCLE_ACTIVE,
    Lifecycle.LIFECYCLE_HALTED,
)


class Goal(NamedTuple):
    """One agent, and where it would be taken back to.

    Events up to `kept_seq` stay, those of earlier rollbacks excepted, and so does what was
    settled up to `kept_revision`. `target` names no time."""

    agent: Agent
    target: Target
    checkpoint: Checkpoint
    kept_seq: int
    kept_revision: int

    @property
    def undone(self) -> undone.Segment | None:
        """The events that would be undone; None: there are none after the target."""
        last = self.agent.head.event_seq
        return undone.Segment(self.kept_seq + 1, last) if self.kept_seq < last else None


class Plan(NamedTuple):
    """All that a rollback would do, in the order in which it would."""

    goals: list[Goal]
    effects: list[Effect]
    validators: list[ValidatorReport]
    # Those of them that always have to say yes, each once, in order.
    required: list[str]

    @property
    def barriers(self) -> list[Effect]:
        """The effects that cannot be undone."""
        return [each for each in self.effects if compensations.barrier(each)]


def plan(
    reader: Reader, wanted: Iterable[AgentTarget], group_id: str, validators: Iterable[str]
) -> Plan | Refusal:
    """What a rollback of these agents, or of a group, would do now, or why there is none."""
    targets = _targets(reader, list(wanted), group_id)
    if isinstance(targets, Refusal):
        return targets
    goals = []
    for each in sorted(targets, key=lambda one: one.agent_id):
        goal = _goal(reader, each)
        if isinstance(goal, Refusal):
            goal.subject = each.agent_id
            return goal
        goals.append(goal)
    refusal = _refuse_size(reader, goals)
    if refusal is not None:
        return refusal
    reports = _reports(reader, [goal.agent.agent_id for goal in goals], list(validators))
    if isinstance(reports, Refusal):
        return reports
    undo = effects_of(reader, goals)
    if len(undo) > limits.PLAN_ITEMS_MAX:
        return _refuse_effects()
    required = {each.name for each, _ in reports if each.required_in_rollbacks}
    said = [report for _, report in reports]
    return Plan(goals, undo, said, sorted(required))


def refuse_agent(reader: Reader, wanted: AgentTarget) -> Refusal | None:
    """Why there is nowhere to take one agent back to; None if there is."""
    goal = _goal(reader, wanted)
    return goal if isinstance(goal, Refusal) else None


def effects_of(reader: Reader, goals: Iterable[Goal]) -> list[Effect]:
    """The effects to be undone of all agents together, newest first: before all others
    those of which it is not known whether they happened. What somebody has decided to leave
    as it is, in an earlier plan, is not asked about again."""
    wanted: list[Effect] = []
    for goal in goals:
        found = effects.to_undo(reader, goal.agent, goal.kept_revision)
        wanted += found
        wanted += _left_over(reader, goal, {each.number for each in found})
    asked = (each for each in wanted if not compensations.is_waived(reader, each))
    return sorted(asked, key=effects.undo_order)


def _left_over(reader: Reader, goal: Goal, known: set[int]) -> Iterator[Effect]:
    """What rollbacks of an agent that were given up have not undone, however old it is, but
    for effects that are known: the state that they restored, and all that came of it, knows
    nothing of them."""
    agent_id, target = goal.agent.agent_id, goal.checkpoint
    is_live = undone.branch(reader, agent_id, target.checkpoint_id) is None
    for rollback in _given_up(reader, agent_id):
        is_later = is_live or target.revision >= rollback.started_revision
        for item in items.open_of(reader, rollback.undoing):
            if item.agent_id != agent_id or item.effect_number in known:
                continue
            effect = effects.named(reader, agent_id, item.effect_number)
            # What its owner has done, or found out, since then is the owner's.
            newest = max(effect.dispatched_revision, effect.settled_revision)
            if newest > rollback.ended_revision or not ledger.may_be_done(effect):
                continue
            if is_later or _was_aborted(reader, effect.saga_id):
                yield effect


def _given_up(reader: Reader, agent_id: str) -> Iterator[Rollback]:
    """The rollbacks of an agent that were given up, and have items that are open."""
    for mark, _ in reader.scan(*keys.given_up_of(agent_id)):
        rollback = rollbacks.load(reader, keys.given_up_id(mark))
        assert rollback is not None, f"a mark of no rollback: {mark!r}"
        yield rollback


def _was_aborted(reader: Reader, saga_id: str) -> bool:
    saga = sagas.load(reader, saga_id) if saga_id else None
    return saga is not None and saga.state not in (sagas.RUNNING, sagas.COMPLETED)


def rolled_back(plan: Plan) -> list[RolledBack]:
    """What is said of each agent, but for what only the start knows."""
    said = []
    for goal in plan.goals:
        agent = goal.agent
        own = [each for each in plan.effects if each.agent_id == agent.agent_id]
        gone = goal.undone or undone.Segment(0, 0)
        each = RolledBack(
            agent_id=agent.agent_id,
            checkpoint_id=goal.checkpoint.checkpoint_id,
            first_undone_seq=gone.first,
            last_undone_seq=gone.last,
            kept_revision=goal.kept_revision,
            effects=len(own),
            barriers=sum(map(compensations.barrier, own)),
        )
        if agent.HasField("newest_fence"):
            each.former_fence.CopyFrom(agent.newest_fence)
        if agent.HasField("owner"):
            each.former_holder = agent.owner.holder
        said.append(each)
    return said


def planned(effect: Effect) -> PlannedEffect:
    """How a plan shows an effect."""
    barrier = compensations.barrier(effect)
    return PlannedEffect(
        agent_id=effect.agent_id,
        effect_id=effect.effect_id,
        action=effect.action,
        state=effect.state,
        effect_class=effect.effect_class,
        barrier=barrier,
        reconcile_first=not barrier and compensations.reconcile_first(effect),
        compensation=effect.compensation.action,
    )


def digest(plan: Plan) -> bytes:
    """What two plans share that do the same: targets, what goes and what stays, effects in
    their order, barriers, and validators that always have to say yes. Not who owns an agent,
    nor whether an effect that may have happened was dispatched a moment ago or is UNKNOWN
    already: to undo them is the same."""
    said = PlanRollbackResponse(validators=plan.required)
    for each in rolled_back(plan):
        each.ClearField("former_fence")
        each.ClearField("former_holder")
        said.agents.append(each)
    for effect in plan.effects:
        each_effect = planned(effect)
        if each_effect.state == EffectState.EFFECT_STATE_DISPATCHED:
            each_effect.state = EffectState.EFFECT_STATE_UNKNOWN
        said.effects.append(each_effect)
    return blake2b(said.SerializeToString(deterministic=True), digest_size=32).digest()


def count_undone(reader: Reader, goal: Goal) -> int:
    """How many events would be undone that are not undone already."""
    gone = goal.undone
    if gone is None:
        return 0
    live = undone.live(reader, goal.agent.agent_id, gone.first, gone.last)
    return sum(each.last - each.first + 1 for each in live)


def kept_step(reader: Reader, goal: Goal) -> int:
    """The last step that stays: that of the last event that does, or of the target."""
    agent, first = goal.agent, goal.checkpoint.event_seq + 1
    step = goal.checkpoint.step
    for kept in undone.live(reader, agent.agent_id, first, goal.kept_seq):
        newest = _event(reader, agent, kept.last)
        assert newest is not None, f"{agent.agent_id}: event {kept.last} is missing"
        step = max(step, newest.step)
    return step


# --- who and where to --------------------------------------------------------


def _targets(
    reader: Reader, wanted: list[AgentTarget], group_id: str
) -> list[AgentTarget] | Refusal:
    if not group_id:
        return wanted
    group = checkpoint_queries.get_group(reader, group_id)
    if group is None:
        return refuse(Reason.REASON_GROUP_NOT_FOUND, f"there is no group {group_id}")
    return [
        AgentTarget(agent_id=each.agent_id, target=Target(checkpoint_id=each.checkpoint_id))
        for each in group.members
    ]


def _goal(reader: Reader, wanted: AgentTarget) -> Goal | Refusal:
    agent = agents.load(reader, wanted.agent_id)
    if agent is None:
        return agents.missing(wanted.agent_id)
    if agent.rollback_id or agent.lifecycle not in _ALLOWED:
        return refuse_state(agent, "rolled back")
    return _RESOLVERS[wanted.target.WhichOneof("to")](reader, agent, wanted.target)


def _to_checkpoint(reader: Reader, agent: Agent, target: Target) -> Goal | Refusal:
    found = checkpoint_queries.load(reader, agent.agent_id, target.checkpoint_id)
    if found is None:
        return checkpoints.missing(agent.agent_id, target.checkpoint_id)
    return Goal(agent, target, found, found.event_seq, _settled_with(reader, found))


def _to_known_good(reader: Reader, agent: Agent, target: Target) -> Goal | Refusal:
    for span in (keys.kept_good_of(agent.agent_id), keys.spare_good_of(agent.agent_id)):
        for key, _ in islice(reader.scan_back(*span), LOOKS_MAX):
            found = checkpoint_queries.load(reader, agent.agent_id, keys.to_number(key))
            assert found is not None, f"an index entry for nothing: {key!r}"
            if undone.branch(reader, agent.agent_id, found.checkpoint_id) is None:
                return Goal(agent, target, found, found.event_seq, _settled_with(reader, found))
    return _no_target(agent, "no checkpoint that is known good")


def _to_before_event(reader: Reader, agent: Agent, target: Target) -> Goal | Refusal:
    seq = target.before_event_seq
    event = _event(reader, agent, seq)
    if event is None:
        return _no_target(agent, f"no event {seq}")
    by = undone.undone_by(reader, agent.agent_id, seq)
    if by:
        return _no_target(agent, f"no event {seq} any more: rollback {by} has undone it")
    # Whatever was saved in this revision reflects all its events, and this one with them.
    return _in_between(reader, agent, target, event.revision - 1, seq - 1)


def _to_revision(reader: Reader, agent: Agent, target: Target) -> Goal | Refusal:
    revision = min(target.revision, _REVISION_MAX)
    kept_seq = _last_seq(reader, agent, lambda event: event.revision <= revision)
    goal = _in_between(reader, agent, target, revision, kept_seq)
    # Also what was settled since the last event stays, if it was by then.
    return goal if isinstance(goal, Refusal) else goal._replace(kept_revision=revision)


def _to_log_time(reader: Reader, agent: Agent, target: Target) -> Goal | Refusal:
    """A time is that of the newest thing that an agent did by then."""
    at_ms = target.log_time_ms
    seq = _last_seq(reader, agent, lambda event: event.log_time_ms <= at_ms)
    event = _event(reader, agent, seq)
    saved = _newest(reader, agent, lambda each: each.log_time_ms <= at_ms)
    revision = max(
        0 if event is None else event.revision,
        0 if saved is None else saved.revision,
        _settled_by(reader, agent, at_ms),
    )
    if not revision:
        return _no_target(agent, f"nothing at log time {at_ms}")
    return _to_revision(reader, agent, Target(revision=revision))


_RESOLVERS: dict[str | None, Callable[[Reader, Agent, Target], Goal | Refusal]] = {
    "checkpoint_id": _to_checkpoint,
    "known_good": _to_known_good,
    "before_event_seq": _to_before_event,
    "revision": _to_revision,
    "log_time_ms": _to_log_time,
}


def _in_between(
    reader: Reader, agent: Agent, target: Target, revision: int, kept_seq: int
) -> Goal | Refusal:
    """A goal among the events: from the newest checkpoint of a revision or before it, with
    the events since then up to one, those excepted that are undone already."""
    found = _newest_live(reader, agent, revision)
    if found is None:
        return _no_target(agent, f"no checkpoint of revision {revision} or before")
    kept_seq = max(kept_seq, found.event_seq)
    kept_revision = _settled_with(reader, found)
    oldest = _oldest_seq(reader, agent)
    for kept in undone.live(reader, agent.agent_id, found.event_seq + 1, kept_seq):
        if kept.first < oldest:
            return _no_target(agent, f"no event {kept.first} any more")
        newest = _event(reader, agent, kept.last)
        assert newest is not None, f"{agent.agent_id}: event {kept.last} is missing"
        kept_revision = max(kept_revision, newest.revision)
    return Goal(agent, target, found, kept_seq, kept_revision)


def _no_target(agent: Agent, what: str) -> Refusal:
    message = f"agent {agent.agent_id} has {what}"
    return refuse(Reason.REASON_CHECKPOINT_NOT_FOUND, message)


def _settled_with(reader: Reader, checkpoint: Checkpoint) -> int:
    """Up to which revision effects belong to the state that a checkpoint holds: its own,
    or, of a copy, what the rollback kept that made it. Whatever that rollback was to undo
    and did not is no part of the state."""
    if not checkpoint.rollback_id:
        return checkpoint.revision
    rollback = rollbacks.load(reader, checkpoint.rollback_id)
    assert rollback is not None, f"no rollback {checkpoint.rollback_id}"
    kept = {each.agent_id: each.kept_revision for each in rollback.agents}
    return kept[checkpoint.agent_id]


# --- searches ----------------------------------------------------------------


def _oldest_seq(reader: Reader, agent: Agent) -> int:
    row = events.stream_row(reader, agent.agent_id)
    return 1 if row is None else row.first_seq


def _event(reader: Reader, agent: Agent, seq: int) -> Event | None:
    """An event that can be read."""
    if not _oldest_seq(reader, agent) <= seq <= agent.head.event_seq:
        return None
    raw = reader.get(keys.event(agent.agent_id, seq))
    assert raw is not None, f"{agent.agent_id}: event {seq} is missing"
    return Event.FromString(raw)


def _last_seq(reader: Reader, agent: Agent, early: Callable[[Event], bool]) -> int:
    """The last event that is early, as are all before it; those that were truncated are."""
    low, high = _oldest_seq(reader, agent) - 1, agent.head.event_seq
    while low < high:
        middle = (low + high + 1) // 2
        event = _event(reader, agent, middle)
        assert event is not None, f"{agent.agent_id}: event {middle} is missing"
        low, high = (middle, high) if early(event) else (low, middle - 1)
    return low


def _newest(
    reader: Reader, agent: Agent, early: Callable[[Checkpoint], bool]
) -> Checkpoint | None:
    """The newest checkpoint that is early, as are all before it. Some ids are gone."""
    found = None
    low, high = 0, agent.head.checkpoint_id
    while low < high:
        middle = (low + high + 1) // 2
        checkpoint = _newest_up_to(reader, agent, middle)
        if checkpoint is None or early(checkpoint):
            found, low = checkpoint or found, middle
        else:
            high = checkpoint.checkpoint_id - 1
    return found


def _newest_up_to(reader: Reader, agent: Agent, checkpoint_id: int) -> Checkpoint | None:
    """The newest checkpoint with an id or a smaller one."""
    span = keys.checkpoints(agent.agent_id, checkpoint_id + 1)
    row = next(iter(reader.scan_back(*span)), None)
    return None if row is None else Checkpoint.FromString(row[1])


def _newest_live(reader: Reader, agent: Agent, revision: int) -> Checkpoint | None:
    """The newest checkpoint of a revision or before it that no rollback has left behind."""
    found = _newest(reader, agent, lambda each: each.revision <= revision)
    for _ in range(LOOKS_MAX):
        if found is None:
            return None
        gone = undone.branch(reader, agent.agent_id, found.checkpoint_id)
        if gone is None:
            return found
        found = _newest_up_to(reader, agent, gone.first_seq - 1)
    return None


def _settled_by(reader: Reader, agent: Agent, at_ms: int) -> int:
    """The revision of the newest effect that was settled at a log time or before it, of
    the newest few."""
    marks = reader.scan_back(*keys.done_effects(agent.agent_id, 0))
    for mark, _ in islice(marks, LOOKS_MAX):
        raw = reader.get(keys.effect(agent.agent_id, keys.to_number(mark)))
        assert raw is not None, f"a mark of no effect: {mark!r}"
        effect = Effect.FromString(raw)
        if effect.changed_log_time_ms <= at_ms:
            return effect.settled_revision
    return 0


# --- what else there is to it ------------------------------------------------


def _refuse_size(reader: Reader, goals: list[Goal]) -> Refusal | None:
    """Why this would be too much to look through for one command; None if it would not."""
    most = limits.PLAN_ITEMS_MAX
    left, other = most, 0
    for goal in goals:
        marks = reader.scan(*keys.done_effects(goal.agent.agent_id, goal.kept_revision))
        left -= sum(1 for _ in islice(marks, left + 1))
        left -= goal.agent.open_effects
        other += _in_other_plans(reader, goal)
        if left < 0 or other > most:
            return _refuse_effects()
    named, most = sum(goal.checkpoint.chunk_count for goal in goals), limits.COPIED_CHUNKS_MAX
    return refuse_many(f"there are {named} chunks", most, "agents") if named > most else None


def _refuse_effects() -> Refusal:
    most = limits.PLAN_ITEMS_MAX
    return refuse_many(f"more than {most} effects are to be undone", most, "agents")


def _in_other_plans(reader: Reader, goal: Goal) -> int:
    """How many effects may have to be taken over from sagas and rollbacks that were given
    up, and how many there are in sagas that this gives up."""
    agent_id = goal.agent.agent_id
    count = sum(each.undoing.open for each in _given_up(reader, agent_id))
    for mark, _ in reader.scan(*keys.open_sagas(agent_id)):
        saga = sagas.load(reader, keys.open_saga_id(mark))
        assert saga is not None, f"a mark of no saga: {mark!r}"
        if saga.state != sagas.RUNNING:
            count += saga.undoing.open
        elif saga.begun_revision > goal.kept_revision:
            count += saga.effects
    return count


def _reports(
    reader: Reader, agent_ids: list[str], asked: list[str]
) -> list[tuple[Validator, ValidatorReport]] | Refusal:
    """What has to be said of each agent, and by whom of those that may judge it: those that
    are asked, and those that always have to."""
    registered = [Validator.FromString(raw) for _, raw in reader.scan(*keys.validators(""))]
    for name in asked:
        mine = [each.agent_prefix for each in registered if each.name == name]
        if not mine or not any(each.startswith(mine[0]) for each in agent_ids):
            message = f"no validator {name} is registered for any of the agents"
            return refuse_subject(Reason.REASON_VALIDATOR_NOT_FOUND, message, name)
    return [
        (each, ValidatorReport(validator=each.name, agent_id=agent_id))
        for agent_id in agent_ids
        for each in registered
        if each.required_in_rollbacks or each.name in asked
        if agent_id.startswith(each.agent_prefix)
    ]
