"""Where effects lie in the one ordered byte map, and all that is done about them. See `keys`,
which has these too.
"""

from __future__ import annotations

from raftstate.core.spans import NUMBER_MAX, TOP, Span, behind, number, to_number

_SAGA = b"A"
_BREAKER = b"B"
_CLAIMED = b"C"
_DONE_EFFECT = b"D"
_EFFECT = b"E"
_EFFECT_ID = b"F"
_INCIDENT = b"I"
_SAGA_EFFECT = b"J"
_ITEM = b"K"
_LEFT_BEHIND = b"L"
_RESOLVED = b"N"
_OPEN_EFFECT = b"O"
_PERMITTED = b"P"
_ROLLBACK = b"R"
_OPEN_SAGA = b"T"
_UNDONE = b"U"
_RECORDING = b"V"
_WINDOW = b"W"
_GIVEN_UP = b"X"

# Tables whose past is kept.
HISTORIED = frozenset(
    {_EFFECT, _SAGA, _ITEM, _ROLLBACK, _UNDONE, _LEFT_BEHIND, _BREAKER, _INCIDENT}
)

# --- effects and what is undone ------------------------------------------------


def effect(agent_id: str, effect_number: int) -> bytes:
    """Where an effect is."""
    return _EFFECT + agent_id.encode() + b"\0" + number(effect_number)


def effects(agent_id: str, first: int) -> Span:
    """An agent's effects from `first` on."""
    owner = _EFFECT + agent_id.encode()
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def effect_named(agent_id: str, effect_id: str) -> bytes:
    """Where the number of the effect with an id is."""
    return _EFFECT_ID + agent_id.encode() + b"\0" + effect_id.encode()


def open_effect(agent_id: str, effect_number: int) -> bytes:
    """The mark that an effect is PREPARED, DISPATCHED or UNKNOWN."""
    return _OPEN_EFFECT + agent_id.encode() + b"\0" + number(effect_number)


def open_effects(agent_id: str, first: int = 0) -> Span:
    """The marks of an agent's open effects from `first` on."""
    owner = _OPEN_EFFECT + agent_id.encode()
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def done_effect(agent_id: str, revision: int, effect_number: int) -> bytes:
    """The mark that an effect was done at a revision, and is not undone."""
    owner = _DONE_EFFECT + agent_id.encode()
    return owner + b"\0" + number(revision) + number(effect_number)


def done_effects(agent_id: str, after: int) -> Span:
    """The marks of an agent's effects that were done after a revision, oldest first."""
    owner = _DONE_EFFECT + agent_id.encode()
    first = min(after + 1, NUMBER_MAX)
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def saga(saga_id: str) -> bytes:
    """Where a saga is."""
    return _SAGA + saga_id.encode()


def sagas(prefix: str, after: str) -> Span:
    """Sagas whose id starts with `prefix` and sorts behind `after`."""
    every = _SAGA + prefix.encode()
    return Span(max(every, behind(_SAGA, after)), every + TOP)


def open_saga(agent_id: str, saga_id: str) -> bytes:
    """The mark that a saga that an agent began has not ended."""
    return _OPEN_SAGA + agent_id.encode() + b"\0" + saga_id.encode()


def open_sagas(agent_id: str) -> Span:
    """The marks of all sagas of an agent that have not ended."""
    owner = _OPEN_SAGA + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def open_saga_id(mark: bytes) -> str:
    """The saga that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def saga_effect(saga_id: str, agent_id: str, effect_number: int) -> bytes:
    """The mark that an effect belongs to a saga."""
    stem = _SAGA_EFFECT + saga_id.encode() + b"\0" + agent_id.encode()
    return stem + b"\0" + number(effect_number)


def saga_effects(saga_id: str) -> Span:
    """The marks of all effects of a saga."""
    owner = _SAGA_EFFECT + saga_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def saga_effects_of(saga_id: str, agent_id: str) -> Span:
    """The marks of an agent's effects of a saga."""
    owner = _SAGA_EFFECT + saga_id.encode() + b"\0" + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def saga_effect_named(mark: bytes) -> tuple[str, int]:
    """Whose effect, and which, a mark is about."""
    return mark[mark.index(b"\0") + 1 : -9].decode(), to_number(mark)


def item(plan_id: str, position_in_plan: int) -> bytes:
    """Where an item of a plan of compensations is."""
    return _ITEM + plan_id.encode() + b"\0" + number(position_in_plan)


def items(plan_id: str, first: int) -> Span:
    """A plan's items from `first` on."""
    owner = _ITEM + plan_id.encode()
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def claimed(session_id: str, plan_id: str) -> bytes:
    """The mark that a session has claimed a plan."""
    return _CLAIMED + session_id.encode() + b"\0" + plan_id.encode()


def claimed_by(session_id: str) -> Span:
    """The marks of all plans that a session has claimed."""
    owner = _CLAIMED + session_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def claimed_plan_id(mark: bytes) -> str:
    """The plan that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def rollback(rollback_id: str) -> bytes:
    """Where a rollback is."""
    return _ROLLBACK + rollback_id.encode()


def rollbacks(after: str) -> Span:
    """Rollbacks whose id sorts behind `after`."""
    return Span(behind(_ROLLBACK, after), _ROLLBACK + TOP)


def given_up(agent_id: str, rollback_id: str) -> bytes:
    """The mark that a rollback of an agent was given up, and has items that are open."""
    return _GIVEN_UP + agent_id.encode() + b"\0" + rollback_id.encode()


def given_up_of(agent_id: str) -> Span:
    """The marks of all rollbacks of an agent that were given up like that."""
    owner = _GIVEN_UP + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def given_up_id(mark: bytes) -> str:
    """The rollback that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def undone_range(agent_id: str, first_seq: int) -> bytes:
    """Where a range of undone events is."""
    return _UNDONE + agent_id.encode() + b"\0" + number(first_seq)


def undone_ranges_from(agent_id: str, first_seq: int) -> Span:
    """The ranges of an agent's undone events that begin with `first_seq` or behind it."""
    return Span(undone_range(agent_id, first_seq), _UNDONE + agent_id.encode() + b"\x01")


def undone_ranges_before(agent_id: str, seq: int) -> Span:
    """The ranges of an agent's undone events that begin before `seq`."""
    return Span(undone_range(agent_id, 0), undone_range(agent_id, seq))


def left_behind(agent_id: str, first_id: int) -> bytes:
    """Where a range of checkpoints is that a rollback left behind."""
    return _LEFT_BEHIND + agent_id.encode() + b"\0" + number(first_id)


def left_behind_from(agent_id: str, first_id: int) -> Span:
    """Those ranges of an agent that begin with `first_id` or behind it."""
    return Span(left_behind(agent_id, first_id), _LEFT_BEHIND + agent_id.encode() + b"\x01")


def left_behind_before(agent_id: str, checkpoint_id: int) -> Span:
    """Those ranges of an agent that begin before a checkpoint."""
    return Span(left_behind(agent_id, 0), left_behind(agent_id, checkpoint_id))


def recording(agent_id: str, step: int, name: str) -> bytes:
    """Where a recorded value is."""
    return _RECORDING + agent_id.encode() + b"\0" + number(step) + name.encode()


def recorded(agent_id: str) -> bytes:
    """Where it stands how much was recorded in an agent's newest step with a record."""
    return recording(agent_id, 0, "")


def recording_named(row: bytes) -> tuple[int, bytes]:
    """The step, and the name in it, of a recorded value."""
    at = row.index(b"\0") + 1
    return int.from_bytes(row[at : at + 8], "big"), row[at + 8 :]


def recordings_behind(agent_id: str, step: int, name: bytes, last_step: int) -> Span:
    """An agent's recorded values behind one, up to those of a step."""
    owner = _RECORDING + agent_id.encode() + b"\0"
    return Span(owner + number(step) + name + b"\0", owner + number(last_step) + TOP)


def recordings(agent_id: str, first_step: int, last_step: int) -> Span:
    """An agent's recorded values of the steps from `first_step` to `last_step`."""
    owner = _RECORDING + agent_id.encode() + b"\0"
    return Span(owner + number(first_step), owner + number(last_step) + TOP)


# --- breakers and incidents ------------------------------------------------------


def breaker(name: str) -> bytes:
    """Where a breaker is."""
    return _BREAKER + name.encode()


def breakers(prefix: str, after: str) -> Span:
    """Breakers whose name starts with `prefix` and sorts behind `after`."""
    every = _BREAKER + prefix.encode()
    return Span(max(every, behind(_BREAKER, after)), every + TOP)


def window(name: str) -> bytes:
    """Where it stands what a breaker has counted."""
    return _WINDOW + name.encode()


def permitted(session_id: str, name: str) -> bytes:
    """The mark that a session has permits of a breaker."""
    return _PERMITTED + session_id.encode() + b"\0" + name.encode()


def permitted_to(session_id: str) -> Span:
    """The marks of all breakers that a session has permits of."""
    owner = _PERMITTED + session_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def permitted_name(mark: bytes) -> str:
    """The breaker that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def incident(incident_id: str) -> bytes:
    """Where an incident is."""
    return _INCIDENT + incident_id.encode()


def incidents(after: str) -> Span:
    """Incidents whose id sorts behind `after`."""
    return Span(behind(_INCIDENT, after), _INCIDENT + TOP)


def resolved(place: int) -> bytes:
    """Which incident was the so manieth to be resolved."""
    return _RESOLVED + number(place)
