"""Reads of effects, sagas and what is to be undone of them.

As in `queries`, an id that cannot be one names nothing, and never raises; and of what has a
past (effects, sagas, items) any reader shows what was at its revision. Indices have none:
what goes by them is said to.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from raftstate.core import effects, keys, ledger, limits, pages, sagas
from raftstate.core.ports import Reader
from raftstate.v1.effect_service_pb2 import (
    CompensationItem,
    Effect,
    EffectState,
    Saga,
    SagaState,
)

# An answer of items stays below what clients receive by default (4 MiB).
ITEMS_BYTES_MAX = 2 << 20
_NUMBER_MAX = (1 << 64) - 1


class EffectPage(NamedTuple):
    """Some effects of a list, in order. What follows has numbers above `next_after`; zero:
    nothing follows."""

    effects: list[Effect]
    next_after: int


class SagaPage(NamedTuple):
    """Some sagas of a list, by id. What follows has ids behind `next_after`; empty: nothing
    follows."""

    sagas: list[Saga]
    next_after: str


def get_effect(reader: Reader, agent_id: str, effect_id: str) -> Effect | None:
    """The effect of an agent that has an id. Which number an id has, never changes, so of
    the past this is right too: an effect that was not there then is not found."""
    if not (limits.AGENT_ID.fullmatch(agent_id) and limits.EFFECT_ID.fullmatch(effect_id)):
        return None
    raw = reader.get(keys.effect_named(agent_id, effect_id))
    return None if raw is None else effects.load(reader, agent_id, keys.to_number(raw))


def list_effects(
    reader: Reader,
    agent_id: str,
    after: int,
    limit: int,
    states: Collection[EffectState] = (),
    saga_id: str = "",
    scanned_max: int = limits.SCANNED_PER_PAGE_MAX,
) -> EffectPage:
    """Up to `limit` of an agent's effects with numbers above `after`, in one of the states
    (none: all) and of the saga (empty: all). It looks at no more than `scanned_max`, and
    about `pages.PAGE_BYTES`, so what it gives may be less, and nothing, before the end."""
    if not limits.AGENT_ID.fullmatch(agent_id):
        return EffectPage([], 0)
    found: list[Effect] = []
    last = scanned = size = 0
    first = min(after + 1, _NUMBER_MAX)
    for _, raw in reader.scan(*keys.effects(agent_id, first)):
        if len(found) == limit or scanned == scanned_max or size > pages.PAGE_BYTES:
            return EffectPage(found, last)
        effect = Effect.FromString(raw)
        last, scanned, size = effect.number, scanned + 1, size + len(raw)
        if (not states or effect.state in states) and saga_id in ("", effect.saga_id):
            found.append(effect)
    return EffectPage(found, 0)


def get_saga(reader: Reader, saga_id: str) -> Saga | None:
    """One saga."""
    return sagas.load(reader, saga_id) if limits.AGENT_ID.fullmatch(saga_id) else None


def list_sagas(
    reader: Reader,
    prefix: str,
    after: str,
    limit: int,
    states: Collection[SagaState] = (),
    scanned_max: int = limits.SCANNED_PER_PAGE_MAX,
) -> SagaPage:
    """Up to `limit` sagas whose id starts with `prefix`, behind `after`, in one of the
    states (none: all), by id; bounded as `list_effects`."""
    if len(prefix) > limits.AGENT_ID_CHARS_MAX:
        return SagaPage([], "")
    found: list[Saga] = []
    last, scanned, size = "", 0, 0
    for _, raw in reader.scan(*keys.sagas(prefix, after)):
        if len(found) == limit or scanned == scanned_max or size > pages.PAGE_BYTES:
            return SagaPage(found, last)
        saga = Saga.FromString(raw)
        last, scanned, size = saga.saga_id, scanned + 1, size + len(raw)
        if not states or saga.state in states:
            found.append(saga)
    return SagaPage(found, "")


def items(
    reader: Reader, plan_id: str, limit: int = limits.ITEMS_SHOWN_MAX, turn: int = 0
) -> list[CompensationItem]:
    """The first items of a plan, up to `limit`, and to about `ITEMS_BYTES_MAX`; and the one
    whose `turn` it is, wherever it is. Their results are left out once those have had
    `pages.PAGE_BYTES`."""
    if len(plan_id) > limits.PLAN_ID_CHARS_MAX:
        return []
    found: list[CompensationItem] = []
    size = results = 0
    for _, raw in reader.scan(*keys.items(plan_id, 1)):
        if len(found) == limit or size > ITEMS_BYTES_MAX:
            break
        item = CompensationItem.FromString(raw)
        results += len(item.result)
        if results > pages.PAGE_BYTES:
            item.ClearField("result")
        size += item.ByteSize()
        found.append(item)
    if found and turn > found[-1].position:
        raw_item = reader.get(keys.item(plan_id, turn))
        assert raw_item is not None, f"{plan_id} points nowhere"
        found.append(CompensationItem.FromString(raw_item))
    return found


# --- what a successor is told -------------------------------------------------


def open_effects(reader: Reader, agent_id: str, bytes_max: int) -> tuple[list[Effect], bool]:
    """An agent's effects that are PREPARED or UNKNOWN, in order of number, those that fit
    into `bytes_max`, and whether there are more. Of the past it does not tell."""
    found: list[Effect] = []
    size = 0
    for effect in effects.open_of(reader, agent_id):
        if effect.state == ledger.DISPATCHED:
            continue
        size += effect.ByteSize()
        if size > bytes_max:
            return found, True
        found.append(effect)
    return found, False


def open_sagas(
    reader: Reader, agent_id: str, limit: int = limits.SAGAS_PER_BUNDLE_MAX
) -> list[Saga]:
    """Up to `limit` sagas that an agent began and that have not ended, by id; fewer where
    they are more than `pages.PAGE_BYTES`. Of the past it does not tell."""
    found: list[Saga] = []
    size = 0
    for mark, _ in reader.scan(*keys.open_sagas(agent_id)):
        if len(found) == limit or size > pages.PAGE_BYTES:
            break
        saga = sagas.load(reader, keys.open_saga_id(mark))
        assert saga is not None, f"a mark of no saga: {mark!r}"
        size += saga.ByteSize()
        found.append(saga)
    return found
