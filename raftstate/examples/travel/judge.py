"""What must be true of a run, and everything that is not.

Each rule is a small generator over the record that says what is wrong. A run is good
when none of them says anything; the same rules judge the demo while it is still warm
and a folder of evidence afterwards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from raftstate.client.audit import GENESIS, event_hash
from raftstate.examples.census.evidence import Line
from raftstate.examples.travel import book, itinerary
from raftstate.examples.travel.figures import (
    double_effects,
    kept,
    late_originals,
    orphan_effects,
    outcome,
    since_target,
    stale_refusals,
)
from raftstate.examples.travel.itinerary import BOOKED, CALLED_OFF, Itinerary
from raftstate.examples.travel.lives import LIVES
from raftstate.examples.travel.plan import LEGS, draw
from raftstate.examples.travel.record import AGENT_ID, BREAKER, VALIDATOR, Record
from raftstate.v1.event_service_pb2 import Event

NS = 1e9
TIMES = ("detected", "fenced", "restored", "compensated", "validated", "resumed", "resolved")
# What a service may write down of a call.
ANSWERS = {
    "book": {book.BOOKED, book.REPEATED, book.REFUSED, book.FAILED},
    "cancel": {book.CANCELLED, book.TOMBSTONE, book.GONE, book.FAILED},
}
SETTLED = {"COMMITTED", "COMPENSATED", "FAILED_BEFORE_EFFECT"}


def violations(record: Record) -> list[str]:
    """Say everything that is wrong with a run; an empty list is a pass."""
    return [complaint for rule in RULES for complaint in rule(record)]


def the_figures_decide(record: Record) -> Iterator[str]:
    """What `--json` says."""
    said = outcome(record)
    if not said["bookings"]:
        yield "nothing was booked since the target"
    if not said["compensated_once"]:
        yield "not every booking since the target was compensated once in effect"
    if not said["reverse_order"]:
        yield "the compensations are not in reverse order"
    yield from (f"{key}: was done twice" for key in double_effects(record))
    yield from (f"{key}: the ledger and the books differ" for key in orphan_effects(record))
    if not stale_refusals(record):
        yield "no stale write was refused by the store"
    if not late_originals(record):
        yield "no late original was refused by a service"
    if said["mttr_ms"] <= 0:
        yield f"the recovery took {said['mttr_ms']} ms"


def the_plan_is_the_seeds(record: Record) -> Iterator[str]:
    """The plan is what its seed draws."""
    if draw(record.plan["seed"]).to_dict() != record.plan:
        yield "the plan is not the one that its seed draws"


def the_books_are_whole(record: Record) -> Iterator[str]:
    """There are three, and each follows from its own entries."""
    if record.books.keys() != set(LEGS):
        yield f"there are books of {sorted(record.books)}"
    for name, read in record.books.items():
        yield from book.complaints(name, read)


# --- the event log and the ledger ------------------------------------------------------


def the_chain_holds(record: Record) -> Iterator[str]:
    """Each event's hash covers it and the hash before, up to the end that the store
    named."""
    previous = GENESIS
    for number, event in enumerate(record.events, 1):
        if event["seq"] != number:
            yield f"event {number} says seq {event['seq']}"
        if event_hash(previous, stored_event(event)).hex() != event["hash"]:
            yield f"event {event['seq']}: its hash does not follow from what came before"
        previous = bytes.fromhex(event["hash"])
    for before, after in pairwise(record.events):
        if after["revision"] <= before["revision"] or after["position"] <= before["position"]:
            yield f"event {after['seq']}: its position or revision does not follow"
    end = (record.stream["last_seq"], record.stream["last_hash"])
    if (len(record.events), previous.hex()) != end:
        yield "the events do not end where the store says that the stream ends"


def stored_event(line: Line) -> Event:
    """The event that a line of `events.jsonl` tells of."""
    return Event(
        stream_id=line["stream_id"],
        seq=line["seq"],
        position=line["position"],
        revision=line["revision"],
        step=line["step"],
        type=line["type"],
        content_type=line["content_type"],
        data=line["data"].encode(),
        causation_id=line["causation_id"],
        correlation_id=line["correlation_id"],
        log_time_ms=line["log_time_ms"],
        hash=bytes.fromhex(line["hash"]),
        event_id=line["event_id"],
        state_hash=bytes.fromhex(line["state_hash"]),
    )


def events_tell_of_effects(record: Record) -> Iterator[str]:
    """Every booking that an event tells of is in the ledger, and every one that the ledger
    knows to have happened has one event; the last one calls the rest off."""
    told = [json.loads(event["data"]) for event in record.events if event["type"] == BOOKED]
    effects = record.effects()
    for data in told:
        effect = effects.get(data["key"])
        if effect is None or (effect["trip"], effect["leg"]) != (data["trip"], data["leg"]):
            yield f"an event tells of {data['key']}, and the ledger of something else"
    counts = Counter(data["key"] for data in told)
    for key, effect in effects.items():
        # What was undone while nobody knew whether it had happened never had an event.
        allowed = {"COMMITTED": {1}, "COMPENSATED": {0, 1}}.get(effect["state"], {0})
        if counts[key] not in allowed:
            yield f"{counts[key]} events tell of {key}, which is {effect['state']}"
    if [event["type"] for event in record.events if event["type"] != BOOKED] != [CALLED_OFF]:
        yield "the rest was not called off, once"
    if not record.events or record.events[-1]["type"] != CALLED_OFF:
        yield "something was booked after the rest was called off"


def events_are_what_was_agreed(record: Record) -> Iterator[str]:
    """The rollback's events, and no others, are marked undone; the checkpoints say what
    the events up to them say."""
    rollback = record.rollback
    undone = range(rollback["first_undone_seq"], rollback["last_undone_seq"] + 1)
    state = Itinerary()
    states = {0: state}
    for event in record.events:
        mark = rollback["rollback_id"] if event["seq"] in undone else ""
        if event["undone_by"] != mark:
            yield f"event {event['seq']} is marked undone by {event['undone_by']!r}"
        if not mark:
            state = state.after(event["type"], json.loads(event["data"]))
            states[event["seq"]] = state
    target = record.checkpoint(rollback["checkpoint_id"])
    restored = record.checkpoint(rollback["restored_checkpoint_id"])
    if target["event_seq"] + 1 != rollback["first_undone_seq"]:
        yield "the first undone event is not the one after the target"
    for name, one in (("target", target), ("restored checkpoint", restored)):
        if one["state"] != states[target["event_seq"]].to_dict():
            yield f"the {name} does not say what the events up to it say"
    if len(kept(record)) != len(LEGS) * record.plan["known_good"]:
        yield f"the target has {len(kept(record))} bookings"


def the_ledger_is_settled(record: Record) -> Iterator[str]:
    """Every effect is over, and was entered with how it is undone."""
    if [line["number"] for line in record.ledger] != list(range(1, len(record.ledger) + 1)):
        yield "the ledger's numbers have a gap"
    if len(record.effects()) != len(record.ledger):
        yield "the ledger has a key twice"
    for line in record.ledger:
        if line["state"] not in SETTLED:
            yield f"{line['key']} was left {line['state']}"
        if not line["undo"] or not line["leaves_tombstone"]:
            yield f"{line['key']} says nothing of how it is undone"
        if line["agent_id"] != AGENT_ID or line["leg"] not in LEGS:
            yield f"{line['key']} is of {line['agent_id']}, {line['leg']}"
    for leg, read in record.books.items():
        for key, row in read.bookings.items():
            effect = record.effects().get(key)
            if effect is None or (effect["leg"], effect["trip"]) != (leg, row["trip"]):
                yield f"{key}: the ledger does not know it as the {leg} of trip {row['trip']}"


def the_agent_was_left_in_order(record: Record) -> Iterator[str]:
    """Nobody owns it, nothing is open, and all that it has is here; so are all
    incidents."""
    agent = record.agent
    left = (agent["agent_id"], agent["lifecycle"], agent["rollback_id"], agent["open_effects"])
    if left != (AGENT_ID, "IDLE", "", 0):
        yield f"the agent was left {left}"
    if agent["effects"] != len(record.ledger):
        yield f"the agent has {agent['effects']} effects, the ledger {len(record.ledger)}"
    head = record.events[-1] if record.events else {"seq": 0, "step": 0}
    if (agent["event_seq"], agent["step"]) != (head["seq"], head["step"]):
        yield "the agent's head is not the last event"
    ids = [line["checkpoint_id"] for line in record.told("checkpoint")]
    if ids != list(range(1, agent["checkpoint_id"] + 1)):
        yield f"there are the checkpoints {ids} of {agent['checkpoint_id']}"
    tokens = [own["token"] for _, own in record.lines("owned")]
    if tokens[-1:] != [agent["newest_fence"]]:
        yield "the newest token is not that of the last owner"
    incidents = [int(line["incident_id"], 16) for line in record.told("incident")]
    if incidents != list(range(1, len(incidents) + 1)):
        yield f"there are the incidents {incidents}"


# --- the rollback ------------------------------------------------------------------------


def the_trip_started_it(record: Record) -> Iterator[str]:
    """The breaker tripped, opened the incident, and started the rollback of the agent to
    its newest known good checkpoint."""
    breaker, rollback, incident = record.breaker, record.rollback, record.incident
    if (breaker["name"], breaker["on_trip"]) != (BREAKER, "ROLLBACK"):
        yield f"breaker {breaker['name']} does {breaker['on_trip']} on a trip"
    if breaker["state"] != "OPEN" or rollback["started_by"] != f"breaker {BREAKER}":
        yield f"the breaker is {breaker['state']}, {rollback['started_by']} started a rollback"
    for name in ("rollback_id", "incident_id"):
        if breaker[name] != rollback[name]:
            yield f"the breaker's {name} is not the rollback's"
    if {breaker["changed_revision"], incident["opened_revision"]} != {
        rollback["started_revision"]
    }:
        yield "the trip, its incident and its rollback are not one command"
    if rollback["state"] != "FINISHED" or rollback["agent_id"] != AGENT_ID:
        yield f"the rollback of {rollback['agent_id']} is {rollback['state']}"
    good = [line["checkpoint_id"] for line in record.told("checkpoint") if line["known_good"]]
    if good != [rollback["checkpoint_id"]]:
        yield f"known good are the checkpoints {good}"
    if rollback["validators"] != {VALIDATOR: True}:
        yield f"the validators said {rollback['validators']}"
    owners = [(own["token"], name) for name, own in record.lines("owned")]
    former = max((one for one in owners if one[0] < rollback["fence"]), default=None)
    if former != (rollback["former_fence"], rollback["former_holder"]):
        yield f"the rollback did not fence who owned the agent: {former}"


def the_incident_is_the_trips(record: Record) -> Iterator[str]:
    """It says what happened, to whom, and what was done about it."""
    incident, rollback = record.incident, record.rollback
    if (incident["symptom"], incident["breaker"]) != ("BREAKER_TRIPPED", BREAKER):
        yield f"the incident is of {incident['symptom']}, breaker {incident['breaker']!r}"
    if (incident["classification"], incident["agent_ids"]) != ("DEPENDENCY_OPEN", [AGENT_ID]):
        yield f"the incident is {incident['classification']}, of {incident['agent_ids']}"
    if incident["rollback_id"] != rollback["rollback_id"]:
        yield "the incident is of another rollback"


def the_service_failed_and_the_worker_looked(record: Record) -> Iterator[str]:
    """What the store was told is so: the car service's own book has the failures, and a
    worker compared all books with the restored state, after the last cancellation."""
    down = [line["at"] for line in record.signalled("down")]
    undone = [entry["at_ns"] / NS for entry in record.entries(book.CANCELLED, book.TOMBSTONE)]
    failed = [
        entry
        for entry in record.entries(book.FAILED)
        if entry["leg"] == BREAKER and entry["caller"] in record.agents
        if down and undone and down[0] < entry["at_ns"] / NS < undone[0]
    ]
    if not failed:
        yield "the car service's book has no failure that a breaker could have tripped for"
    if not any(
        line["passed"] and line["rollback_id"] == record.rollback["rollback_id"]
        for _, line in record.lines("validated")
        if undone and line["at"] > undone[-1]
    ):
        yield "nobody found the restored state good after all was undone"


def the_incident_has_its_times(record: Record) -> Iterator[str]:
    """They are all there, in their order, and those of the rollback are the same."""
    incident, rollback = record.incident, record.rollback
    times = [incident[f"{name}_ms"] for name in TIMES]
    if not all(times) or times != sorted(times):
        yield f"the incident's times are {dict(zip(TIMES, times, strict=True))}"
    for name, other in (
        ("detected_ms", "started_ms"),
        ("fenced_ms", "started_ms"),
        ("restored_ms", "started_ms"),
        ("compensated_ms", "compensated_ms"),
        ("validated_ms", "validated_ms"),
        ("resumed_ms", "ended_ms"),
    ):
        if incident[name] != rollback[other]:
            yield f"the incident's {name} is not the rollback's {other}"
    for event in record.events:
        late = event["revision"] > rollback["started_revision"]
        at_ms = event["log_time_ms"]
        if at_ms < rollback["ended_ms"] if late else at_ms > rollback["started_ms"]:
            yield f"event {event['seq']} was written while its agent was taken back"
    still_open = [line["incident_id"] for line in record.told("incident") if line["open"]]
    if still_open:
        yield f"incidents are left open: {still_open}"


def everything_since_is_in_the_plan(record: Record) -> Iterator[str]:
    """The rollback's items are the effects that were settled after what is kept and had
    not failed, the newest first; all of them were undone."""
    rollback = record.rollback
    wanted = {
        line["effect_id"]
        for line in record.ledger
        if line["state"] != "FAILED_BEFORE_EFFECT"
        and line["settled_revision"] > rollback["kept_revision"]
    }
    items = record.items
    if [item["position"] for item in items] != list(range(1, len(items) + 1)):
        yield "the items' positions have a gap"
    if {item["effect_id"] for item in items} != wanted or len(items) != len(wanted):
        yield "the items are not what was done since the target"
    if (rollback["total"], rollback["open"]) != (len(items), 0):
        yield f"the rollback says {rollback['total']} items, {rollback['open']} open"
    by_id = {line["effect_id"]: line for line in record.ledger}
    effects = [by_id[item["effect_id"]] for item in items if item["effect_id"] in by_id]
    for item, effect in zip(items, effects, strict=False):
        if (item["state"], effect["state"]) != ("COMPENSATED", "COMPENSATED"):
            yield f"item {item['position']} is {item['state']}, its effect {effect['state']}"
        if effect["plan_id"] != rollback["plan_id"] or effect["number"] != item["number"]:
            yield f"item {item['position']} is not the effect that it names"
        if effect["compensated_revision"] != item["settled_revision"]:
            yield f"item {item['position']} was settled when its effect was not"
    undone = [effect["compensated_revision"] for effect in effects]
    if undone != sorted(set(undone)) or (undone and undone[0] <= rollback["started_revision"]):
        yield "the items were not settled one after the other"
    entries = record.entries(book.CANCELLED, book.TOMBSTONE)
    if [entry["key"] for entry in entries] != [effect["key"] for effect in effects]:
        yield "the services were not asked in the order of the items"
    if {entry["key"] for entry in since_target(record)} - {one["key"] for one in effects}:
        yield "there are bookings since the target that the rollback did not know of"


# --- the processes -----------------------------------------------------------------------


def every_process_is_accounted_for(record: Record) -> Iterator[str]:
    """Each was born and buried, and left as many lines as were found at its end."""
    born = {line["name"]: line for line in record.processes if line["kind"] == "born"}
    ended = {line["name"]: line for line in record.processes if line["kind"] == "ended"}
    if len(born) + len(ended) != len(record.processes) or born.keys() != ended.keys():
        yield "born and ended are not the same processes"
        return
    journals = {name for name in born if born[name]["role"] != "service"}
    if journals != record.callers.keys() or born.keys() - journals != set(LEGS):
        yield "the journals and books are not those of the processes"
        return
    for name, lines in record.callers.items():
        if not lines or lines[0]["kind"] != "started" or lines[0]["pid"] != born[name]["pid"]:
            yield f"{name}: does not start with its own process id"
        if any(later["at"] < earlier["at"] for earlier, later in pairwise(lines)):
            yield f"{name}: time runs backwards"
        if lines and lines[-1]["at"] > ended[name]["at"]:
            yield f"{name}: wrote after its end"
    for name, line in ended.items():
        if line["lines"] != (found := len(record.callers.get(name, []))):
            yield f"{name}: {found} lines, but {line['lines']} when it ended"
    killed = {line["target"] for line in record.signalled("kill")}
    for name, line in ended.items():
        expected = {"killed by SIGKILL"} if name in killed else {"exit 0", "exit 3"}
        if line["pid"] != born[name]["pid"] or line["wait_status"] not in expected:
            yield f"{name}: ended as process {line['pid']}: {line['wait_status']}"


def lives_make_sense(record: Record) -> Iterator[str]:
    """Inside one process each line is one that may follow the one before."""
    for name, lines in record.callers.items():
        follows = LIVES["agent" if name in record.agents else "worker"]
        for before, after in pairwise(lines):
            if after["kind"] not in follows.get(before["kind"], set()):
                yield f"{name}:{after['n']}: {after['kind']} after {before['kind']}"
        token = None
        for line in lines:
            if line["kind"] == "owned":
                token = line["token"]
            elif line.get("token", token) != token:
                yield f"{name}:{line['n']}: under a token that it was not granted"


def callers_and_books_agree(record: Record) -> Iterator[str]:
    """Every entry of a book is a call that somebody wrote down, and every answer that
    somebody heard is an entry."""
    pids = {name: lines[0].get("pid") for name, lines in record.callers.items() if lines}
    sent = {line["request"]: (name, line) for name, line in record.lines("sending")}
    if len(sent) != len(record.lines("sending")):
        yield "two calls have the same name"
    entries = {entry["request"]: entry for entry in record.entries(*book.MOVES)}
    if len(entries) != sum(len(read.entries) for read in record.books.values()):
        yield "the books have two entries for the same call"
    for request, entry in entries.items():
        name, line = sent.get(request, ("", {}))
        if (name, pids.get(name)) != (entry["caller"], entry["pid"]):
            yield f"{request}: the {entry['leg']}'s book knows it, and no caller does"
        elif (line["leg"], line["key"]) != (entry["leg"], entry["key"]):
            yield f"{request}: the caller sent something else"
        elif entry["what"] not in ANSWERS.get(line["what"], set()):
            yield f"{request}: was to {line['what']}, and is {entry['what']}"
        elif entry["at_ns"] / NS < line["at"]:
            yield f"{request}: was entered before it was sent"
    for name, line in record.lines("answered"):
        found = entries.get(line["request"])
        if found is None or found["what"] != line["what"] or line["at"] < found["at_ns"] / NS:
            yield f"{name}:{line['n']}: heard what no book says"
    heard = {line["request"] for _, line in record.lines("answered")}
    silent = {line["request"] for _, line in record.lines("unanswered")}
    killed = {line["target"] for line in record.signalled("kill")}
    for request, (name, _) in sent.items():
        if request not in heard | silent and name not in killed:
            yield f"{request}: {name} heard neither an answer nor that there was none"


def calls_are_in_the_ledger(record: Record) -> Iterator[str]:
    """Whoever was about to act had said so, under its own token; and what the ledger has
    was somebody's."""
    effects = record.effects()
    tokens = {name: line["token"] for name, line in record.lines("owned")}
    fences: dict[str, list[int]] = {}
    for name, line in record.lines("calling"):
        effect = effects.get(line["key"])
        told = [line[field] for field in ("effect_id", "leg", "trip")]
        if effect is None or told != [effect[field] for field in ("effect_id", "leg", "trip")]:
            yield f"{name}:{line['n']}: the ledger does not know {line['key']} so"
        fences[line["key"]] = tokens.get(name, [])
    for key, effect in effects.items():
        if fences.get(key) != effect["fence"]:
            yield f"{key}: was dispatched under {effect['fence']}, called by {fences.get(key)}"
    for name, lines in record.agents.items():
        for before, after in pairwise(lines):
            if after["kind"] == "sending" and after["key"] != before.get("key"):
                yield f"{name}:{after['n']}: sent another key than it was about to"


def acknowledgements_are_events(record: Record) -> Iterator[str]:
    """Each acknowledged step is an event under the same numbers, and each event was
    acknowledged to the newest owner of its time."""
    acked = {line["seq"]: (name, line) for name, line in record.lines("step")}
    acked |= {line["seq"]: (name, line) for name, line in record.lines("closed")}
    owners = record.lines("owned")
    tokens = [line["token"] for _, line in owners]
    if any(later <= earlier for earlier, later in pairwise(tokens)):
        yield "fencing tokens do not grow from owner to owner"
    for event in record.events:
        name, line = acked.pop(event["seq"], ("", None))
        if line is None:
            yield f"event {event['seq']} was acknowledged to nobody"
            continue
        if (line["step"], line["revision"]) != (event["step"], event["revision"]):
            yield f"{name}: step {line['step']} is not what event {event['seq']} says"
        newest = [one for one, own in owners if own["token"][1] < event["revision"]]
        if newest[-1:] != [name]:
            yield f"{name}: wrote event {event['seq']} although it was not the newest owner"
        data = json.loads(event["data"])
        if "key" in line and itinerary.booking(line) != itinerary.booking(data):
            yield f"{name}: acknowledged another booking than event {event['seq']} tells of"
    for name, line in acked.values():
        yield f"{name}: acknowledged step {line['step']} is no event"


def stale_writers_left_no_trace(record: Record) -> Iterator[str]:
    """Nothing that a fenced agent wrote after the rollback began is in the log, and what
    it was refused came after it was fenced."""
    rollback = record.rollback
    old = [own["token"] for _, own in record.lines("owned") if own["token"] < rollback["fence"]]
    for event in record.events:
        if event["revision"] > rollback["started_revision"] and not event["undone_by"]:
            tokens = [one for _, one in record.lines("closed") if one["seq"] == event["seq"]]
            if not tokens or tokens[0]["token"] <= rollback["fence"]:
                yield f"event {event['seq']} was written under a token that was fenced"
        elif event["revision"] > rollback["started_revision"]:
            yield f"event {event['seq']} was undone before it was written"
    for line in record.ledger:
        if line["fence"] in old and line["dispatched_revision"] > rollback["started_revision"]:
            yield f"{line['key']} was dispatched under a token that was fenced"
    for name, line in stale_refusals(record):
        if line["token"] not in old:
            yield f"{name}:{line['n']}: was refused under a token that nobody had"
    for entry in late_originals(record):
        effect = record.effects().get(entry["key"])
        if effect is None or effect["fence"] not in old or effect["state"] != "COMPENSATED":
            yield f"{entry['key']}: was refused, and was not one that had been undone"


# --- what was done to them -----------------------------------------------------------------


def the_active_was_stopped_in_between(record: Record) -> Iterator[str]:
    """The agent stood still between its entry in the ledger and the call, which it made
    when all was undone: the service refused that call, and nothing else of it."""
    held = [line for line in record.signalled("stop") if line["held"]]
    if len(held) != 1:
        yield f"{len(held)} agents were stopped before a call"
        return
    stop = held[0]
    lines = record.agents.get(stop["target"], [])
    before = [line for line in lines if line["at"] < stop["done_at"]]
    calling: dict[str, Any] = before[-1] if before else {"kind": "nothing"}
    resumes = [
        line
        for line in record.signalled("resume")
        if line["pid"] == stop["pid"] and line["at"] > stop["at"]
    ]
    if calling["kind"] != "calling" or len(resumes) != 1:
        yield f"{stop['target']} was stopped after {calling['kind']}, and not resumed once"
        return
    resume = resumes[0]
    effect = record.effects().get(calling["key"], {})
    if (stop["effect_id"], stop["effect_state"]) != (calling["effect_id"], "DISPATCHED"):
        yield f"{stop['effect_id']} was {stop['effect_state']} when its agent was stopped"
    if (effect.get("effect_id"), effect.get("state")) != (calling["effect_id"], "COMPENSATED"):
        yield f"{calling['effect_id']} was not compensated"
    undone = record.entries(book.CANCELLED, book.TOMBSTONE)
    if not undone or resume["at"] < undone[-1]["at_ns"] / NS:
        yield f"{stop['target']} was resumed before all was undone"
    late = [entry for entry in late_originals(record) if entry["caller"] == stop["target"]]
    if [entry["key"] for entry in late] != [calling["key"]]:
        yield f"of {stop['target']} the services refused {[entry['key'] for entry in late]}"
    if any(entry["at_ns"] / NS < resume["at"] for entry in late):
        yield "a late original came before its agent was resumed"
    refused = [line for name, line in stale_refusals(record) if name == stop["target"]]
    if not any(line["at"] > resume["at"] for line in refused):
        yield f"no write of {stop['target']} was refused after it was resumed"


def stops_and_resumes_are_pairs(record: Record) -> Iterator[str]:
    """Every process that was stopped was resumed, as the system said; and the services
    were broken and mended as the story has it."""
    standing: dict[int, Line] = {}
    pids = {line["name"]: line["pid"] for line in record.processes}
    for line in record.signals:
        if "target" in line and line["pid"] != pids.get(line["target"]):
            yield f"signal {line['n']}: {line['target']} is not process {line['pid']}"
        if line["kind"] == "stop":
            if line["wait_status"] != "stopped by SIGSTOP" or line["pid"] in standing:
                yield f"signal {line['n']}: {line['target']} was not stopped"
            standing[line["pid"]] = line
        elif line["kind"] == "resume" and (
            line["wait_status"] != "continued" or standing.pop(line["pid"], None) is None
        ):
            yield f"signal {line['n']}: {line['target']} was not resumed"
    yield from (f"{line['target']} was never resumed" for line in standing.values())
    changes = [(line["kind"], line["service"]) for line in record.signals if "service" in line]
    if changes != [("down", BREAKER), ("up", BREAKER)]:
        yield f"the services were changed: {changes}"


def the_worker_died_in_the_middle(record: Record) -> Iterator[str]:
    """One worker was killed between two cancellations, under a claim of its own; others
    undid the rest."""
    kills = record.signalled("kill")
    if len(kills) != 1 or kills[0]["target"] not in record.workers:
        yield f"killed were {[line['target'] for line in kills]}, not one worker"
        return
    kill = kills[0]
    undone = record.entries(book.CANCELLED, book.TOMBSTONE)
    before = [entry for entry in undone if entry["caller"] == kill["target"]]
    after = undone[len(before) :]
    if not before or not after or undone[: len(before)] != before:
        yield f"{kill['target']} undid {len(before)} of {len(undone)}, not the first ones"
    if any(entry["at_ns"] / NS > kill["done_at"] for entry in before[:-1]):
        yield f"{kill['target']} worked on after it was killed"
    if any(entry["at_ns"] / NS < kill["at"] for entry in after):
        yield "another worker was at it before the first one was killed"
    claims = [item["claimed_under"] for item in record.items]
    if claims != sorted(claims) or len({tuple(one) for one in claims}) < 2:
        yield f"the items were settled under the claims {claims}"
    failures = [item["effect_id"] for item in record.items if item["claims"] < 1]
    if failures:
        yield f"settled without a claim: {failures}"


RULES = (
    the_figures_decide,
    the_plan_is_the_seeds,
    the_books_are_whole,
    the_chain_holds,
    events_tell_of_effects,
    events_are_what_was_agreed,
    the_ledger_is_settled,
    the_agent_was_left_in_order,
    the_trip_started_it,
    the_incident_is_the_trips,
    the_service_failed_and_the_worker_looked,
    the_incident_has_its_times,
    everything_since_is_in_the_plan,
    every_process_is_accounted_for,
    lives_make_sense,
    callers_and_books_agree,
    calls_are_in_the_ledger,
    acknowledgements_are_events,
    stale_writers_left_no_trace,
    the_active_was_stopped_in_between,
    stops_and_resumes_are_pairs,
    the_worker_died_in_the_middle,
)
