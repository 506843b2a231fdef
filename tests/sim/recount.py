"""Every count, index and cross-reference of the state, made anew from the records.

The machine keeps these up to date a command at a time; here nothing is believed but the
records themselves. `recount` reads all of a map, and says in words what does not fit.
What was given up and is not removed yet belongs to a garbage job, and is no complaint.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from raftstate.core import events, history, keys
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from tests.sim import recount_undoing
from tests.sim.tables import Complaints, Numbered, Tables, differ


def recount(reader: Reader) -> list[str]:
    """What does not fit, in words; nothing if all does."""
    tables = Tables(reader)
    found = [f"{key!r} is in no table" for key in tables.strangers]
    for part in (
        _history,
        _sessions,
        _agents,
        _streams,
        _event_rows,
        _checkpoints,
        _tags_and_groups,
        _known_good,
        _prunable,
        _chunks,
        _leases,
        *recount_undoing.PARTS,
    ):
        found.extend(part(tables))
    return found


# --- history -----------------------------------------------------------------


def mark_is_sane(mark: history.HistoryMark, revision: int) -> Complaints:
    """The mark goes no further than the store, and no further back than is swept."""
    if not mark.swept <= mark.oldest <= revision:
        yield f"history: swept {mark.swept}, oldest {mark.oldest}, at revision {revision}"
    if mark.first_job > mark.next_job:
        yield f"history: job {mark.first_job} of {mark.next_job}"


def _history(tables: Tables) -> Complaints:
    """What `h` says changed is what `v` says how to undo, and both are not swept."""
    yield from mark_is_sane(tables.mark, tables.counters.revision)
    told = {
        (bytes(key), keys.to_number(row))
        for row, changed in tables.rows("h").items()
        for key in changed.keys
        if key[:1] in keys.HISTORIED
    }
    noted = {keys.undone(b"v" + row) for row in tables.rows("v")}
    yield from differ("undo rows", told, noted)
    numbers = {keys.to_number(row) for row in tables.rows("h")}
    if numbers and not tables.mark.swept < min(numbers) <= max(numbers):
        yield f"history: revision {min(numbers)} is kept, {tables.mark.swept} is swept"
    if numbers and max(numbers) > tables.counters.revision:
        yield f"history: revision {max(numbers)} is in the future"
    jobs = {keys.to_number(row) for row in tables.rows("z")}
    yield from differ("garbage", set(range(tables.mark.first_job, tables.mark.next_job)), jobs)


# --- sessions and agents -----------------------------------------------------


def _sessions(tables: Tables) -> Complaints:
    sessions, touches = tables.by_id("s"), tables.by_id("t")
    yield from differ("touches of sessions", set(sessions), set(touches))
    for session_id, sequence in tables.by_number("r"):
        touch = touches.get(session_id)
        if touch is None or sequence < touch.forgotten_below:
            yield f"outcome {sequence} of {session_id} is remembered for nobody"
    for agent_id, agent in tables.agents.items():
        if agent.HasField("owner") and agent.owner.session_id not in sessions:
            yield f"{agent_id} is owned by {agent.owner.session_id}, which has ended"


def _agents(tables: Tables) -> Complaints:
    owned = {
        (agent.owner.session_id, agent_id.encode())
        for agent_id, agent in tables.agents.items()
        if agent.HasField("owner")
    }
    yield from differ("marks of owners", owned, set(tables.by_two("o")))
    for agent_id, agent in tables.agents.items():
        head = agent.head.checkpoint_id
        if head and (agent_id, head) not in tables.checkpoints:
            yield f"{agent_id}: checkpoint {head}, its newest, is missing"


# --- events ------------------------------------------------------------------


def _heads(tables: Tables) -> dict[str, tuple[int, int, bytes, bytes]]:
    """Of each stream the first and last event that can be read, and the hashes of what
    is before the first, and of the last."""
    heads = {
        agent_id: (1, agent.head.event_seq, b"", agent.head.event_hash)
        for agent_id, agent in tables.agents.items()
        if agent.head.event_seq
    }
    for stream_id, info in tables.streams.items():
        last, last_hash = info.last_seq, info.last_hash
        if info.agent:
            _, last, _, last_hash = heads.get(stream_id, (1, 0, b"", b""))
        heads[stream_id] = (info.first_seq or 1, last, info.base_hash, last_hash)
    return heads


def _streams(tables: Tables) -> Complaints:
    """Each stream has every event, chained, between its first and its last."""
    for stream_id, info in tables.streams.items():
        if info.agent != (stream_id in tables.agents):
            yield f"{stream_id}: said to be an agent's: {info.agent}"
    heads = _heads(tables)
    for stream_id, (first, last, before, newest) in heads.items():
        at = before
        for seq in range(first, last + 1):
            event = tables.events.get((stream_id, seq))
            if event is None:
                yield f"{stream_id}: event {seq} of {first} to {last} is missing"
                return
            if event.hash != events.event_hash(at, event):
                yield f"{stream_id}: the chain is broken at event {seq}"
                return
            at = event.hash
        if at != newest:
            yield f"{stream_id}: its newest event has another hash than its head says"
    jobs = tables.rows("z").values()
    spans = [job.events for job in jobs if job.HasField("events")]
    given_up = {(s.stream_id, seq) for s in spans for seq in range(s.first_seq, s.last_seq + 1)}
    readable = {(name, n) for name, h in heads.items() for n in range(h[0], h[1] + 1)}
    for event_key in sorted(set(tables.events) - readable - given_up):
        yield f"event {event_key} can be read by nobody, and is nobody's to remove"
    for event_key in sorted(given_up & readable):
        yield f"event {event_key} can be read, and is being removed"


def _event_rows(tables: Tables) -> Complaints:
    """Positions and event ids lead to their events, and to nothing else."""
    places, ids = {}, {}
    for (stream_id, seq), event in tables.events.items():
        places[event.position] = keys.event(stream_id, seq)[1:]
        if event.event_id:
            ids[stream_id, event.event_id.encode()] = keys.number(seq)
        if (event.stream_id, event.seq) != (stream_id, seq):
            yield f"event {seq} of {stream_id} says it is {event.seq} of {event.stream_id}"
    kept = {keys.to_number(row): reference for row, reference in tables.rows("g").items()}
    yield from differ("positions", set(places.items()), set(kept.items()))
    yield from differ("event ids", set(ids.items()), set(tables.by_two("i").items()))
    if max(places, default=0) > tables.counters.last_position:
        yield f"position {max(places)} is behind the last, {tables.counters.last_position}"
    for name, projection in tables.by_id("p").items():
        if projection.position > tables.counters.last_position:
            yield f"projection {name} is at {projection.position}, where nothing is yet"


# --- checkpoints -------------------------------------------------------------


def _checkpoints(tables: Tables) -> Complaints:
    yield from differ("data of checkpoints", set(tables.checkpoints), set(tables.bodies))
    deltas: Counter[Numbered] = Counter()
    for (agent_id, number), checkpoint in tables.checkpoints.items():
        if agent_id not in tables.agents:
            yield f"checkpoint {number} is of {agent_id}, which is no agent"
        base = checkpoint.base_checkpoint_id
        if base:
            deltas[agent_id, base] += 1
            below = tables.checkpoints.get((agent_id, base))
            if below is None:
                yield f"{agent_id}: checkpoint {number} builds on {base}, which is gone"
            elif checkpoint.chain_length != below.chain_length + 1:
                yield f"{agent_id}: checkpoint {number} has a chain that was counted wrong"
        elif checkpoint.chain_length:
            yield f"{agent_id}: checkpoint {number} is full, and has a chain"
    for place, checkpoint in tables.checkpoints.items():
        if checkpoint.dependents != deltas[place]:
            yield f"{place}: {checkpoint.dependents} dependents, and not {deltas[place]}"


def _tags_and_groups(tables: Tables) -> Complaints:
    tags = {
        (agent_id, tag.encode()): number
        for (agent_id, number), checkpoint in tables.checkpoints.items()
        for tag in checkpoint.tags
    }
    kept = {key: int.from_bytes(raw, "big") for key, raw in tables.by_two("w").items()}
    yield from differ("tags", set(tags.items()), set(kept.items()))
    members = Counter(
        (member.agent_id, member.checkpoint_id)
        for group in tables.by_id("m").values()
        for member in group.members
    )
    for place in members.keys() - tables.checkpoints.keys():
        yield f"{place} is in a group, and is gone"
    for place, checkpoint in tables.checkpoints.items():
        if checkpoint.groups != members[place]:
            yield f"{place}: in {checkpoint.groups} groups, and not {members[place]}"


def is_free(agent: Agent, checkpoint: Checkpoint) -> bool:
    """Whether nothing but a validator's word may keep a checkpoint."""
    return not (
        checkpoint.checkpoint_id == agent.head.checkpoint_id
        or checkpoint.pinned
        or checkpoint.tags
        or checkpoint.groups
        or checkpoint.dependents
    )


def _marks(tables: Tables, letter: str) -> dict[str, set[int]]:
    """What an index of checkpoints marks, by agent."""
    marked: dict[str, set[int]] = defaultdict(set)
    for agent_id, number in tables.by_number(letter):
        marked[agent_id].add(number)
    return marked


def _known_good(tables: Tables) -> Complaints:
    """Each known good one is kept because of that, or spare; these are the older ones."""
    kept, spare = _marks(tables, "G"), _marks(tables, "S")
    good: dict[str, set[int]] = defaultdict(set)
    for (agent_id, number), checkpoint in tables.checkpoints.items():
        said = [each.valid for each in checkpoint.validations]
        if checkpoint.known_good != (bool(said) and all(said)):
            yield f"{agent_id}: checkpoint {number} is not as good as was said"
        if checkpoint.known_good:
            good[agent_id].add(number)
    for agent_id in sorted({*kept, *spare, *good}):
        mine, others = kept[agent_id], spare[agent_id]
        yield from differ(f"{agent_id}: known good", good[agent_id], mine | others)
        if mine & others or (mine and others and max(others) > min(mine)):
            yield f"{agent_id}: of the known good {mine} are kept, and {others} spare"
    for agent_id, agent in tables.agents.items():
        newest = max(good[agent_id], default=0)
        counted = (len(good[agent_id]), len(spare[agent_id]), newest)
        noted = (agent.known_good, agent.spare_known_good, agent.newest_known_good)
        if counted != noted:
            yield f"{agent_id}: known good, spare, newest: {noted}, and not {counted}"


def _prunable(tables: Tables) -> Complaints:
    """Those that retention may remove are marked, and counted."""
    marked, spare = _marks(tables, "x"), _marks(tables, "S")
    free: dict[str, set[int]] = defaultdict(set)
    for (agent_id, number), checkpoint in tables.checkpoints.items():
        kept = checkpoint.known_good and number not in spare[agent_id]
        agent = tables.agents.get(agent_id)
        if agent is not None and not kept and is_free(agent, checkpoint):
            free[agent_id].add(number)
    for agent_id in sorted({*tables.agents, *marked}):
        yield from differ(f"{agent_id}: may go", free[agent_id], marked[agent_id])
    for agent_id, agent in tables.agents.items():
        if agent.prunable != len(free[agent_id]):
            yield f"{agent_id}: {agent.prunable} may go, and not {len(free[agent_id])}"


def _chunks(tables: Tables) -> Complaints:
    """Every use of a chunk is counted; what a checkpoint names is there, and what none
    names waits to be collected."""
    uses: Counter[tuple[str, bytes]] = Counter()
    sizes: dict[tuple[str, bytes], int] = {}
    for (agent_id, number), body in tables.bodies.items():
        agent = tables.agents.get(agent_id)
        space = (agent.chunk_space if agent is not None else "") or agent_id
        for ref in body.chunks:
            uses[space, ref.hash] += 1
            sizes[space, ref.hash] = ref.size_bytes
        checkpoint = tables.checkpoints.get((agent_id, number))
        if checkpoint is not None and checkpoint.chunk_count != len(body.chunks):
            yield f"{agent_id}: checkpoint {number} has {len(body.chunks)} chunks"
    data, records = tables.by_two("b"), tables.by_two("f")
    yield from differ("chunks and their counts", set(records), set(data))
    for missing in sorted(uses.keys() - data.keys()):
        yield f"chunk {_short(missing)} is used {uses[missing]} times, and is gone"
    unused = set()
    for place, record in records.items():
        if record.uses != uses[place]:
            yield f"chunk {_short(place)}: {record.uses} uses, and not {uses[place]}"
        if record.size_bytes != len(data.get(place, b"")) or (
            place in sizes and sizes[place] != record.size_bytes
        ):
            yield f"chunk {_short(place)} is not of {record.size_bytes} bytes"
        if not record.uses:
            unused.add((record.unused_since_ms, *place))
    # A mark stays when its chunk comes to use; but it is always of a chunk that is there.
    marked = {keys.unused_chunk_named(b"u" + row) for row in tables.rows("u")}
    yield from differ("marks of unused chunks", unused, marked & unused)
    yield from differ(
        "chunks with marks",
        {mark[1:] for mark in marked} & set(records),
        {mark[1:] for mark in marked},
    )


def _short(place: tuple[str, bytes]) -> str:
    return f"{place[1].hex()[:8]} of {place[0]}"


# --- keys and leases ---------------------------------------------------------


def _leases(tables: Tables) -> Complaints:
    """A key under a lease is marked, and counted, and its lease is there."""
    leased: set[tuple[int, bytes]] = set()
    for key, kv in tables.rows("k").items():
        if (
            kv.key != key
            or not kv.create_revision <= kv.mod_revision <= tables.counters.revision
        ):
            yield f"key {key!r} says {kv.key!r}, {kv.create_revision} to {kv.mod_revision}"
        if kv.lease_id:
            leased.add((kv.lease_id, key))
    kept = {(int.from_bytes(row[:8], "big"), row[8:]) for row in tables.rows("j")}
    yield from differ("marks of leased keys", leased, kept)
    leases = {keys.to_number(row): lease for row, lease in tables.rows("l").items()}
    touched = {keys.to_number(row) for row in tables.rows("y")}
    yield from differ("touches of leases", set(leases), touched)
    counted = Counter(lease_id for lease_id, _ in leased)
    for lease_id in counted.keys() - leases.keys():
        yield f"{counted[lease_id]} keys are under lease {lease_id}, which has ended"
    for lease_id, lease in leases.items():
        if lease.keys != counted[lease_id]:
            yield f"lease {lease_id}: {lease.keys} keys, and not {counted[lease_id]}"
