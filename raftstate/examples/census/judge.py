"""What must be true of a run, and everything that is not.

Each rule is a small generator over the record that says what is wrong. A run is
good when none of them says anything; the same rules judge the demo while it is
still warm and a folder of evidence afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise

from raftstate.client.audit import GENESIS, event_hash
from raftstate.examples.census import members
from raftstate.examples.census.analyse import event_type
from raftstate.examples.census.evidence import Line
from raftstate.examples.census.figures import holds, outcome, stale_refusals
from raftstate.examples.census.ledger import untold
from raftstate.examples.census.plan import AGENT_KILL, LEADER_KILL, PAUSE, draw
from raftstate.examples.census.record import SERVER, Record
from raftstate.examples.census.reference import totals
from raftstate.v1.event_service_pb2 import Event


def violations(record: Record) -> list[str]:
    """Say everything that is wrong with a run; an empty list is a pass."""
    return [complaint for rule in RULES for complaint in rule(record)]


def nothing_lost_doubled_or_different(record: Record) -> Iterator[str]:
    """The figures that decide: they are what `--json` says."""
    said = outcome(record)
    if not said["matches_reference"]:
        yield "the census does not match the reference"
    if said["steps_lost"]:
        yield f"{said['steps_lost']} acknowledged steps are lost"
    if said["steps_duplicated"]:
        yield f"{said['steps_duplicated']} steps are doubled"


def the_reference_adds_up(record: Record) -> Iterator[str]:
    """The reference's totals are the sums over its own rows, each of a file of a size."""
    rows, sizes = record.reference["rows"], record.reference["sizes"]
    if totals(rows) != record.reference["totals"]:
        yield "the reference's totals are not the sums of its rows"
    if len(sizes) != len(rows):
        yield f"the reference has {len(sizes)} sizes for {len(rows)} files"
    for row, size in zip(rows, sizes, strict=False):
        if row.get("bytes", size) != size:
            yield f"the reference has two sizes for {row['path']}"


def the_plan_is_the_seeds(record: Record) -> Iterator[str]:
    """The plan is what its seed draws for these files."""
    drawn = draw(record.plan["seed"], record.reference["sizes"]).to_dict()
    if drawn != record.plan:
        yield "the plan is not the one that its seed draws"


# --- the event log -------------------------------------------------------------


def one_event_a_file(record: Record) -> Iterator[str]:
    """Exactly one event a file, in order, gap-free, each as the reference has it."""
    rows = record.reference["rows"]
    if len(record.events) != len(rows):
        yield f"there are {len(record.events)} events for {len(rows)} files"
    for place, (event, row) in enumerate(zip(record.events, rows, strict=False)):
        index, told = untold(json.loads(event["data"]))
        if (event["seq"], event["step"], index) != (place + 1, place + 1, place):
            yield f"event {place + 1} says seq {event['seq']}, step {event['step']}, {index=}"
        if told != row:
            yield f"event {place + 1} differs from the reference for {row['path']}"
        if event["type"] != event_type(row):
            yield f"event {place + 1} is a {event['type']}, not a {event_type(row)}"


def the_chain_holds(record: Record) -> Iterator[str]:
    """Each event's hash covers it and the hash before, up to the end that the store
    named; places and revisions only grow."""
    previous = GENESIS
    for event in record.events:
        if event_hash(previous, stored_event(event)).hex() != event["hash"]:
            yield f"event {event['seq']}: its hash does not follow from what came before"
        previous = bytes.fromhex(event["hash"])
    for before, after in pairwise(record.events):
        if (
            after["position"] != before["position"] + 1
            or after["revision"] <= before["revision"]
        ):
            yield f"event {after['seq']}: its position or revision does not follow"
    if (len(record.events), previous.hex()) != (
        record.stream["last_seq"],
        record.stream["last_hash"],
    ):
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
    )


# --- the agents ----------------------------------------------------------------


def every_process_is_accounted_for(record: Record) -> Iterator[str]:
    """Each process was born and buried, and left as many lines as were found at its end."""
    born = {line["name"]: line for line in record.processes if line["kind"] == "born"}
    ended = {line["name"]: line for line in record.processes if line["kind"] == "ended"}
    if not born.keys() == ended.keys() == record.agents.keys():
        yield "born, ended and journals name different processes"
        return
    for name, lines in record.agents.items():
        if len(lines) != ended[name]["lines"]:
            yield f"{name}: {len(lines)} lines, but {ended[name]['lines']} when it ended"
        if not lines or lines[0]["kind"] != "started" or lines[0]["pid"] != born[name]["pid"]:
            yield f"{name}: does not start with its own process id"
        if any(later["at"] < earlier["at"] for earlier, later in pairwise(lines)):
            yield f"{name}: time runs backwards"
        if lines and lines[-1]["at"] > ended[name]["at"]:
            yield f"{name}: wrote after its end"


def lives_make_sense(record: Record) -> Iterator[str]:
    """Inside one process a step is begun, sent, then acknowledged or refused, and the
    next one is the next file."""
    follows = {
        "started": {"waiting"},
        "waiting": {"owned", "lost", "end"},
        "owned": {"begun", "finished", "refused", "lost"},
        "begun": {"sending", "refused", "lost"},
        "sending": {"step", "refused", "lost"},
        "step": {"begun", "finished", "refused", "lost"},
        "refused": {"lost", "end"},
        "lost": {"refused", "end"},
        "finished": {"end"},
    }
    for name, lines in record.agents.items():
        expected = 0
        for before, after in pairwise(lines):
            if after["kind"] not in follows.get(before["kind"], set()):
                yield f"{name}:{after['n']}: {after['kind']} after {before['kind']}"
        for line in lines:
            if line["kind"] == "owned":
                expected = line["restored"]
            if line["kind"] in {"begun", "sending", "step"} and line["index"] != expected:
                yield f"{name}:{line['n']}: file {line['index']} where {expected} was next"
            expected += line["kind"] == "step"
        token = None
        for line in lines:
            if line["kind"] == "owned":
                token = line["token"]
            elif line.get("token", token) != token:
                yield f"{name}:{line['n']}: under a token that it was not granted"


def only_owners_wrote(record: Record) -> Iterator[str]:
    """Every event was written by the newest owner of its time: its revision lies
    between that owner's fencing token and the next one."""
    owners = record.lines("owned")
    tokens = [tuple(line["token"]) for _, line in owners]
    if any(later <= earlier for earlier, later in pairwise(tokens)):
        yield "fencing tokens do not grow from owner to owner"
    for name, ack in record.lines("step"):
        newest = [
            (owner, line["token"])
            for owner, line in owners
            if line["token"][1] < ack["revision"]
        ]
        if not newest or newest[-1] != (name, ack["token"]):
            yield f"{name}: wrote step {ack['step']} although it was not the newest owner"
    for name, line in owners:
        before = sum(event["revision"] < line["token"][1] for event in record.events)
        if line["restored"] != before:
            yield f"{name}: took over {line['restored']} files where {before} were committed"


def acknowledgements_are_events(record: Record) -> Iterator[str]:
    """Each acknowledged step is an event, under the same numbers; each event was
    acknowledged, unless its writer was killed or stopped before it could hear of it."""
    acked = {ack["seq"]: (name, ack) for name, ack in record.lines("step")}
    sent = {name: lines[-1] for name, lines in record.agents.items() if lines}
    silent = {line["index"] for name, line in sent.items() if line["kind"] == "sending"} | {
        line["index"] for _, line in record.lines("refused") if not line["definite"]
    }
    for event in record.events:
        name, ack = acked.pop(event["seq"], ("", None))
        if ack is None:
            if event["seq"] - 1 not in silent:
                yield f"event {event['seq']} was acknowledged to nobody"
        elif (ack["step"], ack["revision"]) != (event["step"], event["revision"]):
            yield f"{name}: step {ack['step']} is not what event {event['seq']} says"
    for name, ack in acked.values():
        yield f"{name}: acknowledged step {ack['step']} is no event"


# --- what was planned ----------------------------------------------------------


def what_was_planned_happened(record: Record) -> Iterator[str]:
    """Every strike fell, on the right kind of target, not before its count."""
    kinds = {AGENT_KILL: ("kill", "agent"), LEADER_KILL: ("kill", "leader")}
    kinds[PAUSE] = ("stop", "agent")
    for strike in record.plan["strikes"]:
        kind, role = kinds[strike["kind"]]
        fell = [
            line
            for line in record.struck(kind, role)
            if line["strike"] == strike["number"] and line.get("held", True)
        ]
        if len(fell) != 1:
            yield (
                f"planned {strike['kind']} at {strike['at']} files happened {len(fell)} times"
            )
        for line in fell:
            if line["files_done"] < strike["at"]:
                yield f"{strike['kind']} fell at {line['files_done']}, before {strike['at']}"
    fell_kinds = [line["kind"] for line in record.kills]
    if fell_kinds.count("stop") != fell_kinds.count("resume"):
        yield "not every stopped process was resumed, once"
    planned = len(record.plan["strikes"])
    happened = len(record.struck("kill", "agent")) + len(record.struck("kill", "leader"))
    if happened + len(holds(record)) != planned:
        yield f"{planned} strikes were planned, another number happened"


def signals_hit_what_they_name(record: Record) -> Iterator[str]:
    """The wait status shows the signal, and the target was what the line says."""
    pids = {line["name"]: line["pid"] for line in record.processes if line["kind"] == "born"}
    expected = {
        "kill": "killed by SIGKILL",
        "stop": "stopped by SIGSTOP",
        "resume": "continued",
    }
    for line in record.kills:
        if line["kind"] not in expected:
            continue
        if line["wait_status"] != expected[line["kind"]] or line["done_at"] < line["at"]:
            yield f"{line['kind']} of {line['target']}: it was {line['wait_status']}"
        if line["role"] == "agent" and pids.get(line["target"]) != line["pid"]:
            yield f"{line['kind']} of {line['target']}: {line['pid']} is another process"
        if line["role"] == "agent" and not _owned_before(record, line):
            yield f"{line['kind']} of {line['target']}: it was not the active agent"
        if line["role"] == "leader" and not _led_before(record, line):
            yield f"{line['kind']} of {line['target']}: it was not seen leading"


def _owned_before(record: Record, strike: Line) -> bool:
    """Whether the target was the newest owner just before it was struck."""
    if strike["kind"] == "resume":
        return True  # on the contrary
    owners = [name for name, line in record.lines("owned") if line["at"] <= strike["at"]]
    return owners[-1:] == [strike["target"]]


def _led_before(record: Record, strike: Line) -> bool:
    """Whether the last that was heard of the process before its death was that it led."""
    said = [
        line["role"]
        for line in record.statuses
        if (line["member"], line["pid"]) == (strike["target"], strike["pid"])
        and line["at"] <= strike["at"]
    ]
    return said[-1:] == ["leader"]


def the_dead_stay_silent(record: Record) -> Iterator[str]:
    """A killed process writes nothing once it is buried; a stopped one nothing while it
    is stopped, and a killed process ended by that very signal."""
    ended = {line["name"]: line for line in record.processes if line["kind"] == "ended"}
    for line in record.struck("kill", "agent"):
        lines = record.agents.get(line["target"], [])
        if any(later["at"] > line["done_at"] for later in lines):
            yield f"{line['target']}: wrote after it was killed"
        if ended.get(line["target"], {}).get("wait_status") != line["wait_status"]:
            yield f"{line['target']}: was killed, but ended in another way"
    for stop, resume in holds(record):
        lines = record.agents.get(stop["target"], [])
        if any(stop["done_at"] < line["at"] < resume["at"] for line in lines):
            yield f"{stop['target']}: wrote while it was stopped"


def the_past_was_refused(record: Record) -> Iterator[str]:
    """While the active agent was stopped its successor wrote; resumed, its own next
    ordinary step was refused, in its own log, and it never wrote again."""
    held = holds(record)
    if len(held) != 1:
        yield f"{len(held)} agents were stopped and resumed, not one"
    for stop, resume in held:
        successors = [
            name
            for name, ack in record.lines("step")
            if stop["done_at"] < ack["at"] < resume["at"] and name != stop["target"]
        ]
        if not successors:
            yield f"nobody wrote while {stop['target']} was stopped"
        later = [
            line
            for line in record.agents.get(stop["target"], [])
            if line["at"] > resume["at"] and line["kind"] in {"step", "refused"}
        ]
        if not any(line in stale_refusals(record) for line in later):
            yield f"{stop['target']}: no step of it was refused after it was resumed"
        if any(line["kind"] == "step" for line in later):
            yield f"{stop['target']}: a step of it was acknowledged after it was resumed"
        if not any(line.get("judge") == SERVER for line in later):
            yield f"{stop['target']}: the store itself was never asked to judge its step"


RULES: tuple[Callable[[Record], Iterator[str]], ...] = (
    nothing_lost_doubled_or_different,
    the_reference_adds_up,
    the_plan_is_the_seeds,
    one_event_a_file,
    the_chain_holds,
    every_process_is_accounted_for,
    lives_make_sense,
    only_owners_wrote,
    acknowledgements_are_events,
    what_was_planned_happened,
    signals_hit_what_they_name,
    the_dead_stay_silent,
    the_past_was_refused,
    *members.RULES,
)
