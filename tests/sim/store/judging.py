"""What must hold of the store: one function a property, like those of `invariants`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from jepsen_like.checkers import cycles
from jepsen_like.checkers.cycles import Transaction
from raftstate.core import events, keys, limits, stream_queries
from raftstate.core.history import HistoryMark
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.event_service_pb2 import Event, Projection, StreamInfo, TruncateBeforeRequest
from raftstate.v1.kv_service_pb2 import KeyValue
from raftstate.v1.lease_service_pb2 import Lease
from raftstate.v1.recovery_service_pb2 import Validator
from raftstate.v1.store_pb2 import CheckpointBody, Command, ExpireLease, Outcome
from raftstate.v1.watch_service_pb2 import Change as Told
from raftstate.v1.watch_service_pb2 import ResourceType
from tests.sim.invariants import must
from tests.sim.recount import mark_is_sane, recount

if TYPE_CHECKING:
    from tests.sim.store.chronicle import Change, Chronicle, Group

_AGENT, _CHECKPOINT, _EVENT = b"a", b"c", b"e"
_KEY, _LEASE, _STREAM = b"k", b"l", b"q"
# How long a lease may be overdue, and how many entries a leader may commit before its end.
OVERDUE_S, OVERDUE_ENTRIES = 1.5, 40
# What a resource is called by, and what numbers it among others of one name.
_NAMED = {
    "agent": ("agent_id", ""),
    "session": ("session_id", ""),
    "stream": ("stream_id", ""),
    "event": ("stream_id", "seq"),
    "checkpoint": ("agent_id", "checkpoint_id"),
    "key": ("key", ""),
    "lease": ("lease_id", ""),
    "projection": ("name", ""),
    "group": ("group_id", ""),
    "validator": ("name", ""),
    "effect": ("agent_id", "number"),
    "saga": ("saga_id", ""),
    "rollback": ("rollback_id", ""),
    "breaker": ("name", ""),
    "incident": ("incident_id", ""),
}

# --- every revision ----------------------------------------------------------


def group_is_sound(chronicle: Chronicle, revision: int, group: Group) -> None:
    """Hold each change of one revision against what came before it."""
    for key, change in group.items():
        table = key[:1]
        if table == _EVENT:
            assert change.after is not None, "an event is told of when it comes"
            event_is_next(chronicle, key, change.before, Event.FromString(change.after))
        elif table == _KEY:
            _move_lease(chronicle, key, change)
            key_counts_its_writes(revision, change)
        elif table == _CHECKPOINT and change.after is not None:
            saved = Checkpoint.FromString(change.after)
            chronicle.covers[saved.agent_id, saved.checkpoint_id] = saved.event_seq
            raw = chronicle.witness.below.get(keys.agent(saved.agent_id))
            chronicle.owners[revision] = Agent.FromString(raw or b"").owner.session_id
        elif table == _CHECKPOINT:
            assert change.before is not None, "what goes was there"
            removed_checkpoint_was_free(chronicle, group, Checkpoint.FromString(change.before))
        elif table == _STREAM:
            truncated_was_covered(chronicle, change)
    for agent_id in _with_checkpoints(group):
        checkpoints_went_in_turn(chronicle, group, agent_id)
        retention_is_kept(chronicle, revision, group, agent_id)
        good_ones_are_kept(group, agent_id)
    for key, change in group.items():
        if key[:1] == _LEASE:
            lease_counts_its_keys(chronicle, revision, key, change)


def nothing_is_untold(pending: Group) -> None:
    """Watches: whatever changes a key of a table with a past tells of it."""
    must(not pending, f"{sorted(pending)[:3]} changed, and no revision says so")


def event_is_next(chronicle: Chronicle, key: bytes, before: bytes | None, event: Event) -> None:
    """Events: each is behind the last of its stream and of all, chained to the one before,
    and never changes."""
    stream_id, seq = event.stream_id, event.seq
    must(before is None, f"event {seq} of {stream_id} was written twice")
    must(key == keys.event(stream_id, seq), f"event {seq} of {stream_id} is at {key!r}")
    last = chronicle.lengths.get(stream_id, 0)
    must(seq == last + 1, f"{stream_id}: event {seq} follows event {last}")
    place = len(chronicle.places) + 1
    must(event.position == place, f"{stream_id}: position {event.position}, and not {place}")
    previous = chronicle.events[stream_id, last].hash if last else b""
    must(
        event.hash == events.event_hash(previous, event),
        f"{stream_id}: event {seq} is not chained to the one before",
    )
    chronicle.lengths[stream_id] = seq
    chronicle.events[stream_id, seq] = chronicle.places[place] = event


def key_counts_its_writes(revision: int, change: Change) -> None:
    """Keys: one knows when it was made, when it was put last, and how often between."""
    if change.after is None:
        return
    kv, before = KeyValue.FromString(change.after), KeyValue()
    if change.before is not None:
        before = KeyValue.FromString(change.before)
    counted = (kv.mod_revision, kv.create_revision, kv.version)
    expected = (revision, before.create_revision or revision, before.version + 1)
    must(counted == expected, f"{kv.key!r}: {counted} after the put at {revision}: {expected}")


def _move_lease(chronicle: Chronicle, key: bytes, change: Change) -> None:
    """Keep account of which lease has which key."""
    for raw, there in ((change.before, False), (change.after, True)):
        lease_id = KeyValue.FromString(raw).lease_id if raw is not None else 0
        if lease_id:
            mine = chronicle.leased.setdefault(lease_id, set())
            (mine.add if there else mine.discard)(key)


def lease_counts_its_keys(
    chronicle: Chronicle, revision: int, key: bytes, change: Change
) -> None:
    """Leases: a lease knows how many keys it has, and takes all of them with it when it
    ends, at the same revision."""
    lease_id = keys.to_number(key)
    mine = chronicle.leased.get(lease_id, set())
    if change.after is None:
        must(not mine, f"lease {lease_id} ends at {revision}, and {sorted(mine)[:3]} stay")
        return
    counted = Lease.FromString(change.after).keys
    must(counted == len(mine), f"lease {lease_id} has {len(mine)} keys, and says {counted}")


def removed_checkpoint_was_free(
    chronicle: Chronicle, group: Group, checkpoint: Checkpoint
) -> None:
    """Retention: what goes is not the newest, not pinned, tagged, in a group, or the base
    of one that stays; and known good only where the agent says how many of these it keeps."""
    agent_id, number = checkpoint.agent_id, checkpoint.checkpoint_id
    who = f"{agent_id}: checkpoint {number} was removed"
    must(not checkpoint.pinned, f"{who}, and was pinned")
    for tag in checkpoint.tags:  # they may have moved, just before
        held_by = chronicle.witness.below.get(keys.tag(agent_id, tag))
        must(held_by not in (None, keys.number(number)), f"{who}, and was called {tag}")
    must(not checkpoint.groups, f"{who}, and was in a group")
    gone = sum(
        change.after is None
        and change.before is not None
        and Checkpoint.FromString(change.before).base_checkpoint_id == number
        for key, change in group.items()
        if key.startswith(_CHECKPOINT + agent_id.encode() + b"\0")
    )
    must(gone >= checkpoint.dependents, f"{who}, and others build on it")
    raw = chronicle.witness.below.get(keys.agent(agent_id))
    agent = Agent.FromString(raw or b"")
    must(number != agent.head.checkpoint_id, f"{who}, and was the newest")
    must(
        not checkpoint.known_good or agent.retention.keep_known_good > 0,
        f"{who}, and was known good",
    )


def truncated_was_covered(chronicle: Chronicle, change: Change) -> None:
    """Events: what is truncated a checkpoint of the agent covers, or some projection has
    passed."""
    must(change.after is not None, "a stream is gone")
    info = StreamInfo.FromString(change.after or b"")
    before = StreamInfo.FromString(change.before or b"")
    if info.first_seq <= max(before.first_seq, 1):
        return
    store, last = chronicle.witness.below, info.first_seq - 1
    if info.agent:
        rows = store.scan(*keys.checkpoints(info.stream_id, 0))
        covered = max((Checkpoint.FromString(raw).event_seq for _, raw in rows), default=0)
    else:
        rows = store.scan(*keys.projections(""))
        passed = max((Projection.FromString(raw).position for _, raw in rows), default=0)
        covered = last if chronicle.events[info.stream_id, last].position <= passed else 0
    must(
        covered >= last, f"{info.stream_id}: event {last} was truncated, and nothing covers it"
    )
    must(
        info.base_hash == chronicle.events[info.stream_id, last].hash,
        f"{info.stream_id}: what is left is not chained to event {last}",
    )


# --- retention ---------------------------------------------------------------


def _with_checkpoints(group: Group) -> Iterator[str]:
    """The agents of which a revision has changed checkpoints; not those that it made, with
    copies of another's."""
    names = {_named(key) for key in group if key[:1] == _CHECKPOINT}
    for agent_id in sorted(names):
        agent = group.get(keys.agent(agent_id))
        if agent is not None and agent.before is not None:
            yield agent_id


def _named(key: bytes) -> str:
    return key[1:-9].decode()


def removed(group: Group, agent_id: str) -> list[Checkpoint]:
    """The checkpoints of an agent that a revision removed, the oldest first."""
    return [
        Checkpoint.FromString(change.before)
        for key, change in sorted(group.items())
        if key[:1] == _CHECKPOINT
        and change.after is None
        and change.before is not None
        and _named(key) == agent_id
    ]


def may_go(chronicle: Chronicle, agent_id: str) -> list[int]:
    """The checkpoints of an agent that retention may remove, the oldest first."""
    rows = chronicle.witness.below.scan(*keys.prunable_of(agent_id))
    return [keys.to_number(key) for key, _ in rows]


def checkpoints_went_in_turn(chronicle: Chronicle, group: Group, agent_id: str) -> None:
    """Retention: of those that may go the oldest goes first, but for what may go only since
    what was built on it went."""
    gone = removed(group, agent_id)
    if gone:
        youngest = gone[-1].checkpoint_id
        late = [each for each in may_go(chronicle, agent_id) if each < youngest]
        passed = [each for each in late if keys.checkpoint(agent_id, each) not in group]
        must(not passed, f"{agent_id}: checkpoint {youngest} was removed before {passed}")


def retention_is_kept(chronicle: Chronicle, revision: int, group: Group, agent_id: str) -> None:
    """Retention: a save leaves as many of those that may go as the agent says, and none too
    old; more only if a whole lot of them went, or known good ones are on the move."""
    agent = Agent.FromString(group[keys.agent(agent_id)].after or b"")
    head = group.get(keys.checkpoint(agent_id, agent.head.checkpoint_id))
    gone, left = removed(group, agent_id), may_go(chronicle, agent_id)
    if head is None or head.before is not None or head.after is None:
        if gone:  # it has saved none: somebody asked to prune
            chronicle.left[revision] = len(left)
        return
    rules, now_ms = agent.retention, Checkpoint.FromString(head.after).log_time_ms

    def is_old(one: Checkpoint) -> bool:
        return 0 < rules.keep_for_ms < now_ms - one.log_time_ms

    must(
        not gone or 0 < rules.keep_last <= len(left) or is_old(gone[-1]),
        f"{agent_id}: checkpoints to {[one.checkpoint_id for one in gone]} were removed, {left}"
        f" may go and are left; {rules}",
    )
    if len(gone) >= limits.PRUNED_PER_SAVE_MAX or _good_kept(agent) < _good_wanted(agent):
        return
    must(
        not 0 < rules.keep_last < len(left),
        f"{agent_id}: {len(left)} that may go are left after a save; {rules}",
    )
    if left:
        raw = chronicle.witness.below.get(keys.checkpoint(agent_id, left[0]))
        too_old = is_old(Checkpoint.FromString(raw or b""))
        must(not too_old, f"{agent_id}: checkpoint {left[0]} is left after a save; {rules}")


def good_ones_are_kept(group: Group, agent_id: str) -> None:
    """Retention: of those known to be good the newest so many are kept, once one has become
    good or was saved; but for more than are moved at once."""
    before, after = (Agent.FromString(raw or b"") for raw in group[keys.agent(agent_id)])
    if before.known_good == after.known_good and before.head == after.head:
        return
    kept, wanted = _good_kept(after), _good_wanted(after)
    moved = abs(kept - _good_kept(before))
    must(
        kept == wanted or moved >= limits.PRUNED_PER_SAVE_MAX - 1,
        f"{agent_id}: {kept} known good ones are kept, and not {wanted}",
    )


def _good_kept(agent: Agent) -> int:
    return agent.known_good - agent.spare_known_good


def _good_wanted(agent: Agent) -> int:
    return min(agent.retention.keep_known_good or agent.known_good, agent.known_good)


# --- every command -----------------------------------------------------------


def prune_spares_the_newest(
    group: Group, command: Command, outcome: Outcome, left: int
) -> None:
    """Retention: who has some pruned is told how many, and as many stay as was said."""
    request, told = command.prune_checkpoints, outcome.prune_checkpoints
    gone, who = len(removed(group, request.agent_id)), request.agent_id
    must(told.pruned == gone, f"{who}: {gone} were pruned, and {told.pruned} were told of")
    if gone:
        enough = left >= request.keep_last and (told.more or left == request.keep_last)
        must(enough, f"{who}: {left} that may go are left, and not {request.keep_last}")


def good_was_earned(
    chronicle: Chronicle, group: Group, command: Command, outcome: Outcome
) -> None:
    """Known good: only a validator says so that is registered for the agent, of exactly the
    content that is there, and not the session that owns the agent."""
    request = command.mark_valid
    agent_id, number = request.agent_id, request.checkpoint_id
    who = f"{agent_id}: checkpoint {number} was judged by {request.validator}"
    raw = chronicle.witness.below.get(keys.validator(request.validator))
    must(raw is not None, f"{who}, whom nobody knows")
    prefix = Validator.FromString(raw or b"").agent_prefix
    must(agent_id.startswith(prefix), f"{who}, who judges {prefix!r}")
    owned = chronicle.owners[outcome.revision] == request.request_id.session_id
    must(not owned, f"{who} for its owner")
    found = Checkpoint.FromString(group[keys.checkpoint(agent_id, number)].after or b"")
    must(found.content_hash == request.content_hash, f"{who}, who saw other content")
    good = (outcome.mark_valid.known_good, found.known_good)
    said = all(each.valid for each in found.validations)
    must(good == (said, said), f"{who}: {said} by all, and {good}")


def truncation_names_its_cover(
    chronicle: Chronicle, group: Group, request: TruncateBeforeRequest
) -> None:
    """Events: what is truncated, the checkpoint or projection that was named covers."""
    if keys.stream(request.stream_id) not in group:
        return
    last = request.before_seq - 1
    who = f"{request.stream_id}: event {last} was truncated"
    if request.checkpoint_id:
        covered = chronicle.covers[request.stream_id, request.checkpoint_id]
        must(last <= covered, f"{who}; checkpoint {request.checkpoint_id} covers {covered}")
        return
    raw = chronicle.witness.below.get(keys.projection(request.projection))
    place = chronicle.events[request.stream_id, last].position
    passed = Projection.FromString(raw or b"").position
    must(place <= passed, f"{who} at {place}; {request.projection} has passed {passed}")


def projection_was_expected(group: Group, name: str, expected: int) -> None:
    """Projections: nobody moves one from another position than the one that he names."""
    before = Projection.FromString(group[keys.projection(name)].before or b"").position
    must(before == expected, f"projection {name} was at {before}, and moved from {expected}")


# --- history and time --------------------------------------------------------


def history_mark_is_sane(mark: HistoryMark, revision: int, swept: int) -> None:
    """History: what is forgotten is past, and what is swept was forgotten first."""
    wrong = list(mark_is_sane(mark, revision))
    must(not wrong, "; ".join(wrong))
    must(mark.swept >= swept, f"history was swept to {swept}, and is swept to {mark.swept}")


def expiry_spares_the_touched(chronicle: Chronicle, expiry: ExpireLease) -> None:
    """Leases: an expiry counts for nothing once the lease was named by a later command."""
    touched = chronicle.touched.get(expiry.lease_id, 0)
    must(
        expiry.touched_revision >= touched,
        f"lease {expiry.lease_id} was touched at {touched}, and is ended by an expiry that "
        f"knew of {expiry.touched_revision}",
    )


def lease_expiry_is_not_early(lease_id: int, since_s: float, ttl_s: float) -> None:
    """Leases: none ends by itself sooner than its ttl after what gave it that was sent, but
    for clocks that differ in speed."""
    must(
        since_s >= ttl_s * 0.95,
        f"lease {lease_id} expired {since_s:.3f}s after it was given {ttl_s:.3f}s",
    )


def lease_ends(lease_id: int, overdue_s: float, committed: int) -> None:
    """Leases: one that nobody keeps alive ends, once a leader is there to see to it: it
    does not have many entries committed without the end of the lease."""
    must(
        overdue_s < OVERDUE_S or committed < OVERDUE_ENTRIES,
        f"lease {lease_id} ran out {overdue_s:.1f}s and {committed} entries ago, and is there",
    )


# --- members -----------------------------------------------------------------


def tables_agree(who: str, reader: Reader) -> None:
    """Every count, index and cross-reference is what the records say: see `recount`."""
    wrong = recount(reader)
    must(not wrong, f"{who}: {len(wrong)} wrong, such as {wrong[:3]}")


def changes_are_told(
    who: str, revision: int, told: Sequence[bytes], truth: Mapping[bytes, Change]
) -> None:
    """Watches: what a revision changed is told as one, whole and once."""
    must(
        len(set(told)) == len(told) and set(told) == set(truth),
        f"{who}: revision {revision} changed {sorted(truth)[:5]}, and not {list(told)[:5]}",
    )


def no_change_is_missing(who: str, told: Sequence[int], truth: Sequence[int]) -> None:
    """Watches: revisions come in order, each once, none left out."""
    must(
        list(told) == list(truth),
        f"{who}: changes at {list(told)[:8]}, and not at {list(truth)[:8]}",
    )


def change_is_right(
    who: str, revision: int, key: bytes, seen: Change, truth: Change, *, whole: bool
) -> None:
    """Watches: what a change says is there, and was there before; of what was before the
    oldest revision nothing is said (`whole`)."""
    must(
        seen.after == truth.after and (not whole or seen.before == truth.before),
        f"{who}: revision {revision} changed {key!r} from {truth.before!r} to "
        f"{truth.after!r}; seen was {seen.before!r} to {seen.after!r}",
    )


def change_is_named(who: str, revision: int, told: Told, truth: Change) -> None:
    """Watches: a change is called after what it is about, and a creation if there was none
    before: selectors go by that."""
    resource = told.resource if told.HasField("resource") else told.previous
    kind = resource.WhichOneof("kind")
    if kind is None:  # an event that was truncated
        return
    record = getattr(resource, kind)
    field, number = _NAMED[kind]
    name = getattr(record, field)
    name = f"{name:016x}" if kind == "lease" else name
    of = (
        ResourceType.Value(f"RESOURCE_TYPE_{kind.upper()}"),
        name if isinstance(name, bytes) else name.encode(),
        getattr(record, number) if number else 0,
    )
    must((told.type, told.id, told.number) == of, f"{who}: {of} is told of as {told.id!r}")
    must(
        told.created == (truth.before is None),
        f"{who}: {told.id!r} @{revision} is told of as created: {told.created}",
    )


def past_is_kept(who: str, revision: int, now: bytes, then: bytes) -> None:
    """History: an earlier revision is read as it was, on every member."""
    must(now == then, f"{who} shows revision {revision} as it never was")


def garbage_is_swept(who: str, mark: HistoryMark) -> None:
    """Garbage: what was given up is gone when nothing else is to do."""
    must(not mark.has_work, f"{who} came to rest, and has not swept: {mark}")


# --- what clients are told ---------------------------------------------------


def money_is_kept(where: str, balances: Sequence[int], total: int) -> None:
    """Transactions: money moves, and is neither made nor lost, whenever one looks."""
    must(
        not balances or (sum(balances) == total and min(balances) >= 0),
        f"{where}: {list(balances)} is {sum(balances)}, and not {total}",
    )


def group_is_whole(where: str, values: Sequence[bytes], size: int) -> None:
    """Transactions: keys that are always written together are read together."""
    must(
        not values or (len(set(values)) == 1 and len(values) == size),
        f"{where}: keys that are written together hold {list(values)}",
    )


def lists_are_serializable(transactions: Sequence[Transaction]) -> None:
    """Transactions: one order of them, that of time and of revisions, explains all reads."""
    found = cycles.infer(transactions)
    wrong = [*found.wrong, *cycles.cycles(found), *cycles.misplaced(found)]
    must(not wrong, f"{len(wrong)} wrong, such as {wrong[:3]}")


def leased_key_is_there(key: bytes, lease_id: int, *, there: bool) -> None:
    """Leases: a key stays while its lease is kept alive."""
    must(there, f"{key!r} is gone, and lease {lease_id} is alive")


def duplicate_is_answered_alike(first: Outcome, again: Outcome) -> None:
    """Events: an append that was made already is answered as it was then."""
    must(
        again.append_events.duplicate
        and list(first.append_events.appended) == list(again.append_events.appended),
        f"one append was answered {first}, and then {again}",
    )


def events_are_stored_once(
    chronicle: Chronicle,
    acked: Mapping[bytes, tuple[str, int]],
    failed: Iterable[bytes],
) -> None:
    """Events: what was acknowledged is where it was said to be, and nowhere else; what
    failed is nowhere. With an event that was truncated its id is forgotten."""

    def is_gone(stream_id: str, seq: int) -> bool:
        return seq < stream_queries.oldest_seq(chronicle.witness.below, stream_id)

    found: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for place, event in chronicle.events.items():
        found[event.data].append(place)
    for data, place in acked.items():
        places = found[data]
        must(place in places, f"{data!r} was said to be {place}, and is {places}")
        once = len(places) == 1 or any(is_gone(*each) for each in places)
        must(once, f"{data!r} was said to be {place}, and is {places}")
    for data in failed:
        must(data not in found, f"{data!r} was refused, and is {found.get(data)}")
    ids = Counter(
        (event.stream_id, event.event_id)
        for event in chronicle.events.values()
        if event.event_id and not is_gone(event.stream_id, event.seq)
    )
    twice = [place for place, count in ids.items() if count > 1]
    must(not twice, f"event ids in their streams more than once: {twice[:3]}")


def stream_is_whole(
    where: str, seqs: Sequence[int], whole: Sequence[int], *, cut: bool
) -> None:
    """Events: a stream is read without a gap from its first event to its last; of the past,
    without what was truncated since (`cut`), which may be all."""
    must(
        list(seqs) == list(whole) or (cut and not seqs),
        f"{where}: events {list(seqs)[:5]}... were read, and not {list(whole)[:5]}...",
    )


def nothing_is_passed_over(
    who: str, wanted: range, shown: Iterable[int], gone: Iterable[int]
) -> None:
    """Events: a reader of all streams is shown every position but what was truncated."""
    missing = set(wanted) - set(shown) - set(gone)
    must(not missing, f"{who}: positions {sorted(missing)[:5]} were passed over")


def projection_moves_with_its_key(where: str, position: int, noted: int) -> None:
    """Projections: what is saved in one transaction with a position is of that position."""
    must(position == noted, f"{where}: a projection is at {position}, and its key at {noted}")


def checkpoint_reads_back(checkpoint: Checkpoint, body: CheckpointBody | None, reader: Reader,
                          space: str) -> None:  # fmt: skip
    """Checkpoints: the data of one that is there is all there, and is what was saved."""
    who = f"{checkpoint.agent_id}: checkpoint {checkpoint.checkpoint_id}"
    must(body is not None, f"{who} has no data")
    assert body is not None
    if not body.chunks:
        must(content(body.data) == checkpoint.content_hash, f"{who} is not what was saved")
        return
    parts = [reader.get(keys.chunk(space, ref.hash)) for ref in body.chunks]
    must(None not in parts, f"{who} lacks a chunk")
    hashes = [content(part) for part in parts if part is not None]
    must(hashes == [ref.hash for ref in body.chunks], f"{who} has chunks of other content")
    whole = hashes[0] if len(hashes) == 1 else content(b"".join(hashes))
    must(whole == checkpoint.content_hash, f"{who} is not what was saved")


def saved_is_kept(who: str, number: int, told: bytes, stored: bytes) -> None:
    """Checkpoints: one that was acknowledged is what its client saved."""
    must(told == stored, f"{who}: checkpoint {number} is not what was saved as that")


def content(data: bytes) -> bytes:
    """What content is named by."""
    return blake2b(data, digest_size=32).digest()
