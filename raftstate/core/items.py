"""Items: the effects that a plan of compensations undoes, one row each, in a frozen order.

A plan's own record holds an `Undoing`, which counts them. What is done here changes it in
place; who has it saves it.
"""

from __future__ import annotations

from collections.abc import Iterator

from raftstate.core import keys
from raftstate.core.context import Context
from raftstate.core.ports import Reader
from raftstate.v1.effect_service_pb2 import CompensationItem, CompensationState, Undoing

PENDING = CompensationState.COMPENSATION_STATE_PENDING
CLAIMED = CompensationState.COMPENSATION_STATE_CLAIMED
COMPENSATED = CompensationState.COMPENSATION_STATE_COMPENSATED
NOT_NEEDED = CompensationState.COMPENSATION_STATE_NOT_NEEDED
STUCK = CompensationState.COMPENSATION_STATE_STUCK
BARRIER = CompensationState.COMPENSATION_STATE_BARRIER
WAIVED = CompensationState.COMPENSATION_STATE_WAIVED
MOVED = CompensationState.COMPENSATION_STATE_MOVED

# A person has to decide.
WAITING = frozenset({STUCK, BARRIER})
OPEN = frozenset({PENDING, CLAIMED, STUCK, BARRIER})


def load(reader: Reader, plan_id: str, position: int) -> CompensationItem | None:
    """One item of a plan."""
    raw = reader.get(keys.item(plan_id, position))
    return None if raw is None else CompensationItem.FromString(raw)


def save(context: Context, item: CompensationItem) -> None:
    """Write an item back."""
    raw = item.SerializeToString(deterministic=True)
    context.store.put(keys.item(item.plan_id, item.position), raw)


def first_open(reader: Reader, undoing: Undoing) -> CompensationItem | None:
    """The item whose turn it is; None: all are settled."""
    if not undoing.next_position:
        return None
    item = load(reader, undoing.plan_id, undoing.next_position)
    assert item is not None and item.state in OPEN, f"{undoing.plan_id} points nowhere"
    return item


def blocked(reader: Reader, undoing: Undoing) -> bool:
    """Whether a plan goes on only when a person has decided."""
    item = first_open(reader, undoing)
    return item is not None and item.state in WAITING


def any_moved(reader: Reader, undoing: Undoing) -> bool:
    """Whether another plan has taken over any item."""
    found = reader.scan(*keys.items(undoing.plan_id, 1))
    return any(CompensationItem.FromString(raw).state == MOVED for _, raw in found)


def open_of(reader: Reader, undoing: Undoing) -> Iterator[CompensationItem]:
    """A plan's open items, in order."""
    if not undoing.open:
        return
    for _, raw in reader.scan(*keys.items(undoing.plan_id, undoing.next_position)):
        item = CompensationItem.FromString(raw)
        if item.state in OPEN:
            yield item


def settle(
    context: Context, undoing: Undoing, item: CompensationItem, state: CompensationState
) -> None:
    """Nothing more is done about an item, and the turn goes to the next open one."""
    assert item.state in OPEN and state not in OPEN, f"{item.plan_id} {item.position}"
    undoing.open -= 1
    undoing.stuck -= item.state in WAITING
    item.state = state
    item.settled_revision = context.revision
    item.settled_log_time_ms = context.log_time_ms
    save(context, item)
    if item.position == undoing.next_position:
        undoing.next_position = _next_open(context.store, undoing, item.position + 1)


def stick(context: Context, undoing: Undoing, item: CompensationItem) -> None:
    """An item waits for a person."""
    undoing.stuck += item.state not in WAITING
    item.state = STUCK
    save(context, item)


def retry(context: Context, undoing: Undoing, item: CompensationItem) -> None:
    """An item that waited for a person is tried again, as if for the first time."""
    undoing.stuck -= item.state in WAITING
    item.state, item.failures = PENDING, 0
    save(context, item)


def _next_open(reader: Reader, undoing: Undoing, first: int) -> int:
    """The first open item from a place on; zero: none is. What is passed over is settled,
    and is never looked at again."""
    if not undoing.open:
        return 0
    for key, raw in reader.scan(*keys.items(undoing.plan_id, first)):
        if CompensationItem.FromString(raw).state in OPEN:
            return keys.to_number(key)
    raise AssertionError(f"{undoing.plan_id}: {undoing.open} are open, none is there")


def end_claim(context: Context, undoing: Undoing) -> None:
    """Nobody has a plan's claim any more, and nobody is at the item that was claimed."""
    if not undoing.HasField("claim"):
        return
    context.store.delete(keys.claimed(undoing.claim.session_id, undoing.plan_id))
    undoing.ClearField("claim")
    item = first_open(context.store, undoing)
    if item is not None and item.state == CLAIMED:
        item.state = PENDING
        save(context, item)
