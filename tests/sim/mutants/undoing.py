"""Effects, sagas, rollbacks and breakers: what is lost, done twice, or not fenced."""

from __future__ import annotations

from collections.abc import Iterator

from raftstate.core import (
    agents,
    breakers,
    compensations,
    effects,
    incidents,
    items,
    keys,
    ledger,
    planning,
    rollback_commands,
    rollbacks,
    trips,
    undoing,
    undone,
)
from raftstate.core.context import Context
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect, Undoing
from raftstate.v1.recovery_service_pb2 import Incident
from raftstate.v1.rollback_service_pb2 import (
    Rollback,
    RollbackState,
    RolledBack,
)
from raftstate.v1.store_pb2 import Refusal
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="nothing_is_dispatched_before_its_owner", known=3, store=True)
def take_over_and_forget_what_was_dispatched(patch: Patch) -> None:
    """A new grant leaves what the former owner had dispatched as it is: nobody knows that
    nobody knows what came of it."""

    def takeover(context: Context, agent: Agent) -> None:
        return None

    patch.replace(effects, "takeover", takeover)


@mutant(expects="plan_is_newest_first", known=3, store=True)
def undo_the_oldest_first(patch: Patch) -> None:
    """What was done first is undone first."""
    real = effects.undo_order

    def undo_order(effect: Effect) -> tuple[int, int, int, str]:
        unsure, since, number, agent_id = real(effect)
        return unsure, -since, -number, agent_id

    patch.replace(effects, "undo_order", undo_order)


@mutant(expects="item_has_its_turn tables_agree", known=3, store=True)
def give_a_later_item_its_turn(patch: Patch) -> None:
    """Of a plan's open items the last one is carried out, and not the first."""

    def next_open(reader: Reader, undoing: Undoing) -> CompensationItem | None:
        rows = reader.scan(*keys.items(undoing.plan_id, 1))
        found = [CompensationItem.FromString(raw) for _, raw in rows]
        still = [item for item in found if item.state in items.OPEN]
        if still:
            undoing.next_position = still[-1].position
        return still[-1] if still else None

    def from_the_first(reader: Reader, undoing: Undoing, first: int) -> int:
        return real(reader, undoing, 1)

    real = items._next_open
    patch.replace(items, "first_open", next_open)
    patch.replace(items, "_next_open", from_the_first)


@mutant(expects="completion_is_claimed", known=13, store=True)
def take_the_word_of_any_claim(patch: Patch) -> None:
    """Whoever has claimed a plan once may say what came of its items, also when another
    has claimed it since."""

    def check_claim(undoing: Undoing, fence: FencingToken, session_id: str) -> Refusal | None:
        return None

    patch.replace(undoing, "_check_claim", check_claim)


@mutant(expects="plan_is_newest_first tables_agree", known=4, store=True)
def list_what_is_undone_again(patch: Patch) -> None:
    """An effect that is compensated still counts as done: the next rollback undoes it
    again."""
    real = ledger.was_done

    def was_done(effect: Effect) -> bool:
        return real(effect) or effect.state == ledger.COMPENSATED

    patch.replace(ledger, "was_done", was_done)


@mutant(expects="effect_moves_as_drawn outside_is_as_told", known=3, store=True)
def undo_under_another_key_each_time(patch: Patch) -> None:
    """The key of an undoing is another one for each plan that lists it."""
    real = compensations.freeze

    def freeze(*args: object, **kwargs: object) -> Undoing:
        made: Undoing = real(*args, **kwargs)  # type: ignore[arg-type]
        context = args[0]
        assert isinstance(context, Context), "the first argument is the context"
        for _, raw in list(context.store.scan(*keys.items(made.plan_id, 1))):
            item = CompensationItem.FromString(raw)
            effect = effects.named(context.store, item.agent_id, item.effect_number)
            effect.compensation.idempotency_key = f"{made.plan_id}/{item.position}"
            effects.save(context, effect)
        return made

    patch.replace(compensations, "freeze", freeze)


@mutant(expects="nothing_is_forgotten", known=7, store=True)
def undo_only_what_is_known_to_be_done(patch: Patch) -> None:
    """A rollback leaves out what may have been done and is not known to be."""
    real = effects.to_undo

    def to_undo(reader: Reader, agent: Agent, kept_revision: int) -> list[Effect]:
        found = real(reader, agent, kept_revision)
        return [effect for effect in found if ledger.was_done(effect)]

    patch.replace(effects, "to_undo", to_undo)


@mutant(expects="rollback_fences rollback_takes_the_token", known=4, store=True)
def roll_back_without_a_new_token(patch: Patch) -> None:
    """The start of a rollback ends the ownership, and leaves its token the newest."""
    real = rollback_commands._take_back

    def take_back(
        context: Context, goal: planning.Goal, said: RolledBack, rollback_id: str
    ) -> None:
        former = FencingToken()
        former.CopyFrom(goal.agent.newest_fence)
        real(context, goal, said, rollback_id)
        goal.agent.newest_fence.CopyFrom(former)
        agents.save(context, goal.agent)
        said.fence.CopyFrom(former)

    patch.replace(rollback_commands, "_take_back", take_back)


@mutant(expects="bundle_is_live", known=7, store=True)
def show_what_is_undone_as_live(patch: Patch) -> None:
    """A successor is given the events that a rollback has undone with the others."""

    def live(reader: Reader, agent_id: str, first: int, last: int) -> Iterator[undone.Segment]:
        if first <= last:
            yield undone.Segment(first, last)

    patch.replace(undone, "live", live)


@mutant(expects="rollback_leaves_nothing tables_agree", known=4, store=True)
def finish_before_all_is_undone(patch: Patch) -> None:
    """A rollback is finished whenever somebody says so."""

    def state_of(reader: Reader, rollback: Rollback) -> RollbackState:
        return RollbackState.ROLLBACK_STATE_READY

    patch.replace(rollbacks, "_state", state_of)


@mutant(expects="trip_does_what_it_should", known=13, store=True)
def trip_without_the_rollback(patch: Patch) -> None:
    """A breaker trips, opens its incident, and leaves the rollback to somebody else."""

    def roll_back(context: Context, breaker: Breaker, incident: Incident) -> None:
        incidents.add_evidence(context, incident, "breaker", breaker.name, "to be rolled back")

    patch.replace(trips, "_roll_back", roll_back)


@mutant(expects="tables_agree", known=16, store=True)
def keep_a_claim_beyond_its_session(patch: Patch) -> None:
    """The claim of a session that has ended stays: nobody else finishes the plan."""

    def end_claims_of(context: Context, session_id: str) -> None:
        context.store.delete_span(keys.claimed_by(session_id))

    patch.replace(compensations, "end_claims_of", end_claims_of)


@mutant(expects="tables_agree", known=4, store=True)
def keep_a_permit_beyond_its_session(patch: Patch) -> None:
    """The permit of a session that has ended stays, and takes a probe's place."""

    def end_permits_of(context: Context, session_id: str) -> None:
        context.store.delete_span(keys.permitted_to(session_id))

    patch.replace(breakers, "end_permits_of", end_permits_of)
