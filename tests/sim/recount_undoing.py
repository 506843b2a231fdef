"""Effects, sagas, plans, rollbacks, breakers and incidents, counted anew: see `recount`."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from typing import Any

from raftstate.core import keys
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1 import breaker_service_pb2 as breakers
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import rollback_service_pb2 as rollbacks
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect, Undoing
from raftstate.v1.recording_pb2 import Recording
from tests.sim.tables import Complaints, Numbered, Tables, differ

OPEN_EFFECTS = (
    effects.EFFECT_STATE_PREPARED,
    effects.EFFECT_STATE_DISPATCHED,
    effects.EFFECT_STATE_UNKNOWN,
)
OPEN_SAGAS = (
    effects.SAGA_STATE_RUNNING,
    effects.SAGA_STATE_COMPENSATING,
    effects.SAGA_STATE_STUCK,
)
UNDER_WAY = (
    rollbacks.ROLLBACK_STATE_COMPENSATING,
    rollbacks.ROLLBACK_STATE_BLOCKED,
    rollbacks.ROLLBACK_STATE_VALIDATING,
    rollbacks.ROLLBACK_STATE_READY,
)
WAITING = (effects.COMPENSATION_STATE_STUCK, effects.COMPENSATION_STATE_BARRIER)
OPEN_ITEMS = (
    effects.COMPENSATION_STATE_PENDING,
    effects.COMPENSATION_STATE_CLAIMED,
    *WAITING,
)


def was_done(effect: Effect) -> bool:
    """Whether an effect is known to have changed something that is not undone."""
    if effect.effect_class == effects.EFFECT_CLASS_READ_ONLY:
        return False
    found = effect.state == effects.EFFECT_STATE_RECONCILED
    return effect.state == effects.EFFECT_STATE_COMMITTED or (
        found and effect.found == effects.FOUND_DONE
    )


# --- effects and sagas -------------------------------------------------------------


def _effects(tables: Tables) -> Complaints:
    """Each agent's effects are numbered without a gap, and marked by what they are."""
    named, is_open, done = {}, set(), set()
    counted: Counter[str] = Counter()
    for (agent_id, number), effect in tables.effects.items():
        if (effect.agent_id, effect.number) != (agent_id, number):
            yield f"effect {number} of {agent_id} says it is another"
        counted[agent_id] += 1
        named[agent_id, effect.effect_id.encode()] = keys.number(number)
        if effect.state in OPEN_EFFECTS:
            is_open.add((agent_id, number))
        if was_done(effect):
            at = keys.number(effect.settled_revision) + keys.number(number)
            done.add((agent_id, at))
    yield from differ("ids of effects", set(named.items()), set(tables.by_two("F").items()))
    yield from differ("open effects", is_open, set(tables.by_number("O")))
    yield from differ("done effects", done, set(tables.by_two("D")))
    opened = Counter(agent_id for agent_id, _ in is_open)
    for agent_id, agent in tables.agents.items():
        if (agent.effects, agent.open_effects) != (counted[agent_id], opened[agent_id]):
            yield (
                f"{agent_id}: {agent.effects} effects, {agent.open_effects} open, and not "
                f"{counted[agent_id]}, {opened[agent_id]}"
            )


def _sagas(tables: Tables) -> Complaints:
    """A saga's effects are marked and counted; one that has not ended is marked."""
    members = {
        (effect.saga_id, agent_id, number)
        for (agent_id, number), effect in tables.effects.items()
        if effect.saga_id
    }
    marked = set()
    for row in tables.rows("J"):
        agent_id, number = keys.saga_effect_named(b"J" + row)
        marked.add((row[: row.index(b"\0")].decode(), agent_id, number))
    yield from differ("effects of sagas", members, marked)
    begun = {
        (saga.agent_id, saga_id.encode())
        for saga_id, saga in tables.sagas.items()
        if saga.state in OPEN_SAGAS
    }
    yield from differ("open sagas", begun, set(tables.by_two("T")))
    total = Counter(saga_id for saga_id, _, _ in members)
    opened = Counter(
        saga_id
        for saga_id, agent_id, number in members
        if tables.effects[agent_id, number].state in OPEN_EFFECTS
    )
    for saga_id, saga in tables.sagas.items():
        if (saga.effects, saga.open_effects) != (total[saga_id], opened[saga_id]):
            yield (
                f"saga {saga_id}: {saga.effects} effects, {saga.open_effects} open, and not "
                f"{total[saga_id]}, {opened[saga_id]}"
            )


# --- plans -------------------------------------------------------------------------


def _undoings(tables: Tables) -> dict[str, Undoing]:
    plans = {f"saga/{i}": one for i, one in tables.sagas.items() if one.HasField("undoing")}
    every: dict[str, Any] = {f"rollback/{i}": one for i, one in tables.rollbacks.items()}
    return {plan_id: one.undoing for plan_id, one in (plans | every).items()}


def _plans(tables: Tables) -> Complaints:
    """Each plan counts its items, and knows whose turn it is; everything before is settled,
    and nobody is at anything else."""
    items: dict[str, list[CompensationItem]] = defaultdict(list)
    for (plan_id, position), item in sorted(tables.items.items()):
        if (item.plan_id, item.position) != (plan_id, position):
            yield f"item {position} of {plan_id} says it is another"
        items[plan_id].append(item)
    undoings = _undoings(tables)
    yield from differ(
        "plans", set(items), {name for name, one in undoings.items() if one.total}
    )
    for plan_id, undoing in undoings.items():
        mine = items[plan_id]
        if [item.position for item in mine] != list(range(1, len(mine) + 1)):
            yield f"{plan_id}: its items are not numbered from 1"
        left = [item.position for item in mine if item.state in OPEN_ITEMS]
        stuck = sum(item.state in WAITING for item in mine)
        counted = (len(mine), len(left), stuck, left[0] if left else 0)
        noted = (undoing.total, undoing.open, undoing.stuck, undoing.next_position)
        if counted != noted:
            yield f"{plan_id}: total, open, stuck, next: {noted}, and not {counted}"
        at = [i.position for i in mine if i.state == effects.COMPENSATION_STATE_CLAIMED]
        if at and (at != left[:1] or not undoing.HasField("claim")):
            yield f"{plan_id}: {at} are claimed, {left[:1]} is next, by {undoing.claim}"
    yield from _items(tables, items)


def _items(tables: Tables, items: dict[str, list[CompensationItem]]) -> Complaints:
    """An effect is in one open item at most, and compensated if an item says so."""
    is_open: Counter[Numbered] = Counter()
    undone: Counter[Numbered] = Counter()
    for item in (one for plan in items.values() for one in plan):
        place = (item.agent_id, item.effect_number)
        effect = tables.effects.get(place)
        if effect is None or effect.effect_id != item.effect_id:
            yield f"{item.plan_id}: item {item.position} is of no effect"
            continue
        is_open[place] += item.state in OPEN_ITEMS
        undone[place] += item.state == effects.COMPENSATION_STATE_COMPENSATED
        if item.state in OPEN_ITEMS and effect.plan_id != item.plan_id:
            yield f"{place} waits in {item.plan_id}, and says {effect.plan_id}"
    for place, effect in tables.effects.items():
        if is_open[place] > 1:
            yield f"{place} is in {is_open[place]} plans at once"
        if undone[place] != (effect.state == effects.EFFECT_STATE_COMPENSATED):
            yield f"{place} is {effect.state}, and {undone[place]} items undid it"


def _claims(tables: Tables) -> Complaints:
    """A claim is of a session that lives, under a token that is the newest, and marked."""
    sessions, claimed = tables.by_id("s"), set()
    for plan_id, undoing in _undoings(tables).items():
        claim, newest = undoing.claim, undoing.newest_claim
        if not undoing.HasField("claim"):
            continue
        claimed.add((claim.session_id, plan_id.encode()))
        if claim.session_id not in sessions:
            yield f"{plan_id} is claimed by {claim.session_id}, which has ended"
        if claim.fence != newest:
            yield f"{plan_id} is claimed under {claim.fence}; the newest is {newest}"
    yield from differ("claims", claimed, set(tables.by_two("C")))


# --- rollbacks ---------------------------------------------------------------------


def _rollbacks(tables: Tables) -> Complaints:
    """An agent is being rolled back by the one rollback that it names, and by no other."""
    under_way = {
        one.agent_id: rollback_id
        for rollback_id, rollback in tables.rollbacks.items()
        if rollback.state in UNDER_WAY
        for one in rollback.agents
    }
    named = {agent_id: a.rollback_id for agent_id, a in tables.agents.items() if a.rollback_id}
    yield from differ("agents in rollbacks", set(under_way.items()), set(named.items()))
    given_up = {
        (one.agent_id, rollback_id.encode())
        for rollback_id, rollback in tables.rollbacks.items()
        if rollback.state == rollbacks.ROLLBACK_STATE_ABORTED and rollback.undoing.open
        for one in rollback.agents
    }
    yield from differ("rollbacks given up", given_up, set(tables.by_two("X")))
    busy = (agents.LIFECYCLE_RECOVERING, agents.LIFECYCLE_VALIDATING)
    for agent_id, agent in tables.agents.items():
        if (agent.lifecycle in busy) != bool(agent.rollback_id):
            yield f"{agent_id} is {agent.lifecycle}, in rollback {agent.rollback_id!r}"
        if agent.rollback_id and agent.HasField("owner"):
            yield f"{agent_id} is owned by {agent.owner.session_id} while it is rolled back"
    for rollback_id, rollback in tables.rollbacks.items():
        done = (rollbacks.ROLLBACK_STATE_READY, rollbacks.ROLLBACK_STATE_FINISHED)
        if rollback.state in done and rollback.undoing.open:
            yield f"{rollback_id} is {rollback.state}, {rollback.undoing.open} items are open"


def _left_behind(tables: Tables) -> Complaints:
    """Which events, and which checkpoints, each rollback left behind: the newest that went
    back behind one of them says so of it."""
    gone: dict[str, dict[Numbered, str]] = {"U": {}, "L": {}}
    for rollback_id, rollback in sorted(tables.rollbacks.items()):
        for one in rollback.agents:
            last = one.last_undone_seq
            spans = {
                "U": range(one.first_undone_seq, last + 1) if last else (),
                "L": range(one.checkpoint_id + 1, one.restored_checkpoint_id),
            }
            for table, span in spans.items():
                gone[table].update({(one.agent_id, n): rollback_id for n in span})
    for table, what in (("U", "undone events"), ("L", "checkpoints left behind")):
        noted: dict[Numbered, str] = {}
        for (agent_id, first), span in tables.by_number(table).items():
            for number in range(first, span.last_seq + 1):
                if (agent_id, number) in noted:
                    yield f"{agent_id}: {number} of the {what} twice"
                noted[agent_id, number] = span.rollback_id
            if span.first_seq != first:
                yield f"{agent_id}: {what} from {first} say {span.first_seq}"
        yield from differ(what, set(gone[table].items()), set(noted.items()))


def _recordings(tables: Tables) -> Complaints:
    """A value is of a step that was committed, or of the one that is under way; of the
    newest step with any it is counted how many there are, and how large."""
    found: dict[str, list[Recording]] = defaultdict(list)
    tallies: dict[str, tuple[int, ...]] = {}
    for row, raw in tables.rows("V").items():
        name, _, rest = row.partition(b"\0")
        agent_id = name.decode()
        if rest == keys.number(0):
            tallies[agent_id] = struct.unpack(">QQQ", raw)
            continue
        recording = Recording.FromString(raw)
        found[agent_id].append(recording)
        place = keys.number(recording.step) + recording.key.encode()
        if (recording.agent_id, place) != (agent_id, rest):
            yield f"recording {rest!r} of {agent_id} says it is another"
        agent = tables.agents.get(agent_id)
        if agent is None or not 0 < recording.step <= agent.head.step + 1:
            yield f"recording {rest!r} of {agent_id} is of a step that is to come"
    for agent_id, agent in tables.agents.items():
        step = agent.head.step + 1
        now = [len(value.data) for value in found[agent_id] if value.step == step]
        noted = tallies.get(agent_id, (0, 0, 0))
        if (step, len(now), sum(now)) != (noted if noted[0] == step else (step, 0, 0)):
            yield f"{agent_id}: {noted} is recorded, and not {len(now)} values in step {step}"


# --- breakers and incidents --------------------------------------------------------


def _breakers(tables: Tables) -> Complaints:
    """A breaker shows what is in its window, and its permits are of sessions that live."""
    windows, sessions = tables.by_id("W"), tables.by_id("s")
    known = tables.by_id("B")
    permits = set()
    for name, breaker in known.items():
        window = windows.pop(name, None)
        buckets = list(window.buckets) if window is not None else []
        counts = breakers.BreakerCounts(
            calls=sum(one.calls for one in buckets),
            failures=sum(one.failures for one in buckets),
            slow=sum(one.slow for one in buckets),
            reporters=sorted({who for one in buckets for who in one.reporters})[:64],
        )
        behind = window is not None and window.behind
        closed = breaker.state == breakers.BREAKER_STATE_CLOSED
        if closed and breaker.counts != counts and not behind:
            yield f"breaker {name} shows {breaker.counts}, and its window has {counts}"
        for permit in breaker.permits:
            permits.add((permit.session_id, name.encode()))
            if permit.session_id not in sessions:
                yield f"{permit.session_id} has a permit of {name}, and has ended"
        if breaker.permits and breaker.state != breakers.BREAKER_STATE_HALF_OPEN:
            yield f"breaker {name} is {breaker.state}, and has permits"
    yield from differ("windows of breakers", set(), set(windows))
    yield from differ("permits", permits, set(tables.by_two("P")))


def _incidents(tables: Tables) -> Complaints:
    """Incidents are numbered as they were opened, and those resolved as they were that."""
    known = tables.by_id("I")
    opened, resolved = struct.unpack(">QQ", tables.incident_counts or bytes(16))
    numbers = sorted(int(incident_id, 16) for incident_id in known)
    if numbers and numbers[-1] > opened:
        yield f"incident {numbers[-1]} is there, and {opened} were opened"
    is_open = {incident_id for incident_id, one in known.items() if one.open}
    if opened - resolved != len(is_open):
        yield f"{opened} incidents were opened, {resolved} resolved, {len(is_open)} are open"
    listed = {row.decode() for row in tables.rows("N").values()}
    yield from differ("resolved incidents", set(known) - is_open, listed)
    places = {keys.to_number(row) for row in tables.rows("N")}
    wanted = set(range(resolved - len(places) + 1, resolved + 1))
    yield from differ("places of resolved incidents", wanted, places)
    for agent_id, agent in tables.agents.items():
        if agent.incident_id and agent.incident_id not in known:
            yield f"{agent_id} names incident {agent.incident_id}, which is not there"


PARTS = (
    _effects,
    _sagas,
    _plans,
    _claims,
    _rollbacks,
    _left_behind,
    _recordings,
    _breakers,
    _incidents,
)
