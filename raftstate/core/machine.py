"""The replicated state machine: committed entries in, outcomes out.

This is the only way in which replicated state changes. It is sans-io: no clock,
no randomness, no threads, nothing but the standard library and the generated
messages. Three properties follow, and the rest of the project leans on them.

Deterministic
    Replicas that applied the same prefix of the log hold the same bytes.

Total
    `apply` raises for nothing that a log can hold. A refusal is an outcome,
    replicated like any other. An exception in here is a bug, and an outage.

Replay-safe
    Applying an entry at or below the applied position changes nothing, so a
    restart may replay as much of the log as it likes.

Time is data. The leader stamps each entry; the machine keeps the largest stamp
and writes it into events and checkpoints. It decides nothing by it.

The machine keeps nothing outside the store: applied position, revision, log time
and state hash are keys in it, written last, in the transaction of the effects.

Start reading at `StateMachine.apply`, then `sessions.once`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from raftstate.core import (
    acting,
    agents,
    breakers,
    checkpoints,
    chunks,
    groups,
    incidents,
    keys,
    kv,
    leases,
    limits,
    lineage,
    marking,
    ownership,
    projections,
    recordings,
    retention,
    rollback_commands,
    saga_commands,
    sessions,
    steps,
    streams,
    sweep,
    txn,
    undoing,
    verdicts,
)
from raftstate.core.context import Context, refuse
from raftstate.core.hashing import HASH_BYTES
from raftstate.core.history import RecordedStore
from raftstate.core.history import read_mark as read_history_mark
from raftstate.core.history import write_mark as write_history_mark
from raftstate.core.parts import Violation
from raftstate.core.ports import Reader, Store
from raftstate.core.types import ORIGIN, Index, Position, Revision, Term
from raftstate.core.validate import payload_violations
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.store_pb2 import Command, LogEntry, Outcome, Reason, Refusal

# What the machine makes of a log. Only members of one version are compared.
MACHINE_VERSION = 3


@dataclass(slots=True)
class Applied:
    """What applying an entry said, a command at a time, and whom it may concern.

    `sessions`, `agents` and `leases` are the ids whose session, ownership or lease may
    have changed, and those that an expiry or an acquisition named in vain.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)
    leases: set[int] = field(default_factory=set)


class Counters(NamedTuple):
    """The numbers that the machine counts in."""

    revision: int = 0
    log_time_ms: int = 0
    wall_time_ms: int = 0
    last_position: int = 0


class Mark(NamedTuple):
    """How far the machine is, and the hash of what it holds there."""

    position: Position = ORIGIN
    state_hash: bytes = bytes(HASH_BYTES)


_COUNTERS = struct.Struct(">QQQQ")
_MARK = struct.Struct(f">QQ{HASH_BYTES}s")


def read_counters(reader: Reader) -> Counters:
    """The machine's counters, from any map that it wrote."""
    raw = reader.get(keys.COUNTERS)
    return Counters() if raw is None else Counters(*_COUNTERS.unpack(raw))


def read_mark(reader: Reader) -> Mark:
    """The machine's applied position and state hash, from any map that it wrote."""
    raw = reader.get(keys.APPLIED)
    if raw is None:
        return Mark()
    index, term, state_hash = _MARK.unpack(raw)
    return Mark(Position(Index(index), Term(term)), state_hash)


class StateMachine:
    """Applies committed entries, in order of index, to an ordered byte map.

    `epoch` is the cluster's; every replica must be given the same.
    """

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch

    @property
    def applied(self) -> Position:
        """The last entry that is in the state."""
        return read_mark(self._store).position

    @property
    def revision(self) -> Revision:
        """How many commands were applied, refused ones included."""
        return Revision(read_counters(self._store).revision)

    @property
    def log_time_ms(self) -> int:
        """The largest stamp applied."""
        return read_counters(self._store).log_time_ms

    @property
    def state_hash(self) -> bytes:
        """The additive hash of everything in the store (see `hashing`)."""
        return read_mark(self._store).state_hash

    def apply(self, index: Index, term: Term, entry: LogEntry) -> Applied:
        """Apply one committed entry; say what each proposer will be told.

        Says nothing for a replayed entry: its proposers were told in a past life.
        The caller commits the store, so the entry's effects and the applied
        position become durable together or not at all.
        """
        mark = read_mark(self._store)
        if index <= mark.position.index:
            return Applied()
        if not entry.commands:
            self.skip(index, term)
            return Applied()

        counters = read_counters(self._store)
        context = Context(
            store=RecordedStore(self._store, mark.state_hash),
            epoch=self._epoch,
            raft_index=index,
            log_time_ms=max(counters.log_time_ms, entry.log_time_ms),
            revision=counters.revision,
            last_position=counters.last_position,
            history=(forgotten := read_history_mark(self._store)),
            wall_time_ms=entry.wall_time_ms,
        )
        outcomes = [_run(context, command) for command in entry.commands]
        assert context.revision == counters.revision + len(entry.commands)

        after = Counters(
            revision=context.revision,
            log_time_ms=context.log_time_ms,
            wall_time_ms=entry.wall_time_ms,
            last_position=context.last_position,
        )
        context.store.put(keys.COUNTERS, _COUNTERS.pack(*after))
        if context.history != forgotten:
            write_history_mark(context.store, context.history)
        self._store.put(keys.APPLIED, _MARK.pack(index, term, context.store.hashed))
        return Applied(outcomes, context.sessions, context.agents, context.leases)

    def configure(self, index: Index, term: Term, configuration: Configuration) -> None:
        """Note who is in the cluster from a log entry on, and move past that."""
        mark = read_mark(self._store)
        if index > mark.position.index:
            record = configuration.SerializeToString(deterministic=True)
            self._store.put(keys.MEMBERS, record)
            self._store.put(keys.APPLIED, _MARK.pack(index, term, mark.state_hash))

    def skip(self, index: Index, term: Term) -> None:
        """Move past an entry of the log that holds no commands.

        It has no revision and no effect; not even its stamp is kept, so that
        replicas at one revision hold the same.
        """
        mark = read_mark(self._store)
        if index > mark.position.index:
            self._store.put(keys.APPLIED, _MARK.pack(index, term, mark.state_hash))


# --- one command -------------------------------------------------------------

Handler = Callable[[Context, Any], Any]

# Commands of no session's sequence: a client repeats them without harm.
_PLAIN: dict[str, Handler] = {
    "open_session": sessions.open_session,
    "close_session": sessions.close_session,
    "expire_session": sessions.expire_session,
    "expire_ownership": ownership.expire,
    "expire_lease": leases.expire,
    "trim_history": sweep.trim_history,
    "collect_chunks": chunks.collect,
    "sweep": sweep.sweep,
}
# Mutations that happen once a request id.
_ONCE: dict[str, Handler] = {
    "create_agent": agents.create_agent,
    "update_agent": agents.update_agent,
    "retire_agent": agents.retire_agent,
    "acquire_ownership": ownership.acquire,
    "release_ownership": ownership.release,
    "halt_agent": agents.halt_agent,
    "resume_agent": agents.resume_agent,
    "commit_step": steps.commit_step,
    "fork_agent": lineage.fork_agent,
    "append_events": streams.append_events,
    "truncate_before": streams.truncate_before,
    "save_projection": projections.save,
    "delete_projection": projections.delete,
    "put_checkpoint": checkpoints.put_checkpoint,
    "put_chunk": chunks.put_chunk,
    "tag_checkpoint": marking.tag_checkpoint,
    "mark_valid": verdicts.mark_valid,
    "prune_checkpoints": retention.prune_checkpoints,
    "copy_lineage": lineage.copy_lineage,
    "put_group_checkpoint": groups.put_group_checkpoint,
    "delete_group_checkpoint": groups.delete_group_checkpoint,
    "put": kv.put,
    "delete": kv.delete,
    "delete_range": kv.delete_range,
    "txn": txn.txn,
    "compact": sweep.compact,
    "grant": leases.grant,
    "revoke": leases.revoke,
    "put_validator": marking.put_validator,
    "prepare_effect": acting.prepare_effect,
    "dispatch_effect": acting.dispatch_effect,
    "complete_effect": acting.complete_effect,
    "reconcile_effect": undoing.reconcile_effect,
    "begin_saga": saga_commands.begin_saga,
    "end_saga": saga_commands.end_saga,
    "abort_saga": saga_commands.abort_saga,
    "start_rollback": rollback_commands.start_rollback,
    "finish_rollback": rollback_commands.finish_rollback,
    "abort_rollback": rollback_commands.abort_rollback,
    "claim_compensations": undoing.claim_compensations,
    "complete_compensation": undoing.complete_compensation,
    "decide_compensation": undoing.decide_compensation,
    "put_breaker": breakers.put_breaker,
    "delete_breaker": breakers.delete_breaker,
    "acquire_permit": breakers.acquire_permit,
    "report_outcomes": breakers.report_outcomes,
    "force_open": breakers.force_open,
    "force_close": breakers.force_close,
    "reset": breakers.reset,
    "record_value": recordings.record_value,
    "report_symptom": incidents.report_symptom,
    "annotate_incident": incidents.annotate_incident,
    "resolve_incident": incidents.resolve_incident,
    "report_validation": verdicts.report_validation,
}
_NUMBERS = {each.name: each.number for each in Command.DESCRIPTOR.fields}
assert set(_PLAIN) | set(_ONCE) == set(_NUMBERS), "every command has a handler"


def _run(context: Context, command: Command) -> Outcome:
    """Apply one command. Every command in the log has a revision of its own."""
    context.revision += 1
    context.store.begin(context.revision)
    outcome = _outcome(context, command)
    changed = context.store.end()
    # A few more rows than it has added, so that the work never grows.
    sweep.work(context, changed + limits.SWEEP_ROWS_EXTRA)
    return outcome


def _outcome(context: Context, command: Command) -> Outcome:
    name = command.WhichOneof("body")
    if name is None:
        empty = refuse(Reason.REASON_INVALID_REQUEST, "the command is empty", field="body")
        return sessions.outcome_of(context, "refusal", empty)
    request = getattr(command, name)
    if name == "acquire_ownership":
        # Whatever comes of it: who waits for the agent wants to look again.
        context.agents.add(request.agent_id)
    if name in _PLAIN:
        result = _checked(context, _PLAIN[name], request)
        return sessions.outcome_of(context, name, result)
    run = partial(_checked, context, _ONCE[name], request)
    return sessions.once(context, name, _NUMBERS[name], request, run)


def _checked(context: Context, handler: Handler, request: Any) -> Any:
    """Run a handler, but only on a request that keeps the limits."""
    found = payload_violations(request)
    return _invalid(found) if found else handler(context, request)


def _invalid(found: list[Violation]) -> Refusal:
    return refuse(Reason.REASON_INVALID_REQUEST, str(found[0]), field=found[0].field)
