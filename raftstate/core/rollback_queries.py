"""Reads of rollbacks: what one would do now, what one does, and which there were.

As in `queries`, an id that cannot be one names nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from raftstate.core import keys, limits, pages, planning, rollbacks
from raftstate.core.ports import Reader
from raftstate.v1.effect_service_pb2 import CompensationItem
from raftstate.v1.rollback_service_pb2 import (
    AgentTarget,
    PlanRollbackRequest,
    PlanRollbackResponse,
    Rollback,
    RollbackState,
)
from raftstate.v1.store_pb2 import Refusal


class RollbackPage(NamedTuple):
    """Some rollbacks of a list, in order of id. What follows has ids behind `next_after`;
    empty: nothing follows."""

    rollbacks: list[Rollback]
    next_after: str


def plan_rollback(
    reader: Reader, request: PlanRollbackRequest
) -> PlanRollbackResponse | Refusal:
    """What StartRollback would do now, without validators beside those that always have to
    say yes; or why it would not."""
    plan = planning.plan(reader, request.agents, request.group_id, ())
    if isinstance(plan, Refusal):
        return plan
    shown = plan.effects[: limits.ITEMS_SHOWN_MAX]
    return PlanRollbackResponse(
        agents=planning.rolled_back(plan),
        effects=[planning.planned(effect) for effect in shown],
        effects_total=len(plan.effects),
        barriers=len(plan.barriers),
        events_undone=sum(planning.count_undone(reader, goal) for goal in plan.goals),
        validators=plan.required,
        targets=[
            AgentTarget(agent_id=goal.agent.agent_id, target=goal.target) for goal in plan.goals
        ],
        digest=planning.digest(plan),
    )


def get_rollback(reader: Reader, rollback_id: str) -> Rollback | None:
    """One rollback."""
    found = limits.NUMBERED_ID.fullmatch(rollback_id)
    return rollbacks.load(reader, rollback_id) if found else None


def items_of(reader: Reader, plan_id: str) -> list[CompensationItem]:
    """The items of a plan that are shown with it, in the order in which they are undone."""
    if len(plan_id) > limits.PLAN_ID_CHARS_MAX:
        return []
    found = islice(reader.scan(*keys.items(plan_id, 1)), limits.ITEMS_SHOWN_MAX)
    return [CompensationItem.FromString(raw) for _, raw in found]


def list_rollbacks(
    reader: Reader,
    after: str,
    limit: int,
    states: Collection[RollbackState] = (),
    scanned_max: int = limits.SCANNED_PER_PAGE_MAX,
) -> RollbackPage:
    """Up to `limit` rollbacks with ids behind `after`, in one of some states (none: in
    any), by id. It looks at no more than `scanned_max`, and about `pages.PAGE_BYTES`, so
    what it gives may be less, and nothing, before the end."""
    found: list[Rollback] = []
    last, scanned, size = after, 0, 0
    for _, raw in reader.scan(*keys.rollbacks(after)):
        if len(found) == limit or scanned == scanned_max or size > pages.PAGE_BYTES:
            return RollbackPage(found, last)
        rollback = Rollback.FromString(raw)
        last, scanned, size = rollback.rollback_id, scanned + 1, size + len(raw)
        if not states or rollback.state in states:
            found.append(rollback)
    return RollbackPage(found, "")
