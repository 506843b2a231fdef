"""What really happened to the store: every write below the machine, revision by revision.

The oracle's machine writes through a `Witness`, which notes what each key had before and
after. The row in which the machine itself says what a revision changed ends that revision,
and is not believed further: if one is missing, what it should tell of is counted to the
next revision that has one, and does not fit there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from raftstate.core import history, keys
from raftstate.core.machine import read_counters
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Reader
from raftstate.v1.event_service_pb2 import Event, SaveProjectionRequest
from raftstate.v1.kv_service_pb2 import TxnSaveProjection
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim.store import judging, undoing_judged

SAMPLES_MAX = 40  # revisions whose whole state is remembered
RECOUNT_EVERY = 250  # revisions
_CHANGES = keys.changes(0)[:1]
_KEPT = keys.HISTORIED | keys.TOLD


class Change(NamedTuple):
    """What one revision did to one key."""

    before: bytes | None
    after: bytes | None


Group = dict[bytes, Change]


class Witness:
    """A map that notes what is written to it."""

    def __init__(self, below: MemoryStore) -> None:
        self.below = below
        self.pending: Group = {}
        self.ended: Callable[[int, Group], None] = lambda revision, group: None

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        return self.below.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in order."""
        return self.below.scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in reverse order."""
        return self.below.scan_back(start, stop)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        if key[:1] in _KEPT:
            self._note(key, value)
        self.below.put(key, value)
        if key[:1] == _CHANGES:
            group, self.pending = self.pending, {}
            self.ended(keys.to_number(key), group)

    def delete(self, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        if key[:1] in keys.HISTORIED:  # an event that goes is old news
            self._note(key, None)
        return self.below.delete(key)

    def _note(self, key: bytes, after: bytes | None) -> None:
        known = self.pending.get(key)
        before = self.below.get(key) if known is None else known.before
        self.pending[key] = Change(before, after)


@dataclass(slots=True)
class Chronicle:
    """Every change of every revision, what the state was at some, and who holds what."""

    witness: Witness = field(default_factory=lambda: Witness(MemoryStore()))
    changes: dict[int, Group] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    events: dict[tuple[str, int], Event] = field(default_factory=dict)
    places: dict[int, Event] = field(default_factory=dict)  # by global position
    lengths: dict[str, int] = field(default_factory=dict)  # of streams
    covers: dict[tuple[str, int], int] = field(default_factory=dict)  # checkpoint: up to
    owners: dict[int, str] = field(default_factory=dict)  # of whose checkpoint it changed
    left: dict[int, int] = field(default_factory=dict)  # that may go, after a pruning
    leased: dict[int, set[bytes]] = field(default_factory=dict)  # what each lease has
    touched: dict[int, int] = field(default_factory=dict)  # a lease's newest command
    touched_at: dict[int, float] = field(default_factory=dict)  # when that was
    lease_ends: dict[int, float] = field(default_factory=dict)  # lease -> when it expired
    claims: dict[str, tuple[tuple[int, int], str]] = field(default_factory=dict)  # of plans
    swept: int = 0
    _sample_at: int = 0
    _sample_gap: int = 20
    _recount_at: int = RECOUNT_EVERY

    def __post_init__(self) -> None:
        self.witness.ended = self._revision_ended

    def _revision_ended(self, revision: int, group: Group) -> None:
        self.changes[revision] = group
        judging.group_is_sound(self, revision, group)
        undoing_judged.judge_group(self, revision, group)

    def entry_applied(self) -> None:
        """The oracle has applied one log entry: judge what is left of it."""
        judging.nothing_is_untold(self.witness.pending)
        store = self.witness.below
        revision = read_counters(store).revision
        judging.history_mark_is_sane(history.read_mark(store), revision, self.swept)
        self.swept = history.read_mark(store).swept
        if revision >= self._sample_at:
            self._sample(store, revision)
        if revision >= self._recount_at:
            self._recount_at = revision + RECOUNT_EVERY
            judging.tables_agree("the oracle", store)

    def command_applied(
        self, command: Command, outcome: Outcome, revision: int, now: float
    ) -> int:
        """Take in one command's outcome; the lease that it ended by expiry, or zero."""
        kind = command.WhichOneof("body")
        if kind == "expire_lease" and outcome.HasField("done"):
            lease_id = command.expire_lease.lease_id
            judging.expiry_spares_the_touched(self, command.expire_lease)
            self.lease_ends[lease_id] = now
            return lease_id
        if not outcome.HasField("refusal"):
            for lease_id in _named_leases(command, outcome):
                self.touched[lease_id] = revision
                self.touched_at[lease_id] = now
            self._judge(command, outcome, self.changes.get(revision, {}))
            undoing_judged.completion_is_claimed(self, command, outcome)
        return 0

    def _judge(self, command: Command, outcome: Outcome, group: Group) -> None:
        """What a command may do, of what it did."""
        kind = command.WhichOneof("body")
        if kind == "prune_checkpoints":
            judging.prune_spares_the_newest(
                group, command, outcome, self.left.get(outcome.revision, 0)
            )
        elif kind == "mark_valid":
            judging.good_was_earned(self, group, command, outcome)
        elif kind == "truncate_before":
            judging.truncation_names_its_cover(self, group, command.truncate_before)
        for name, expected in _expected(command, outcome):
            judging.projection_was_expected(group, name, expected)

    def _sample(self, store: MemoryStore, revision: int) -> None:
        """Remember what the state is; when there are too many of these, every other."""
        self.digests[revision] = digest(store)
        if len(self.digests) > SAMPLES_MAX:
            self._sample_gap *= 2
            self.digests = dict(list(self.digests.items())[::2])
        self._sample_at = revision + self._sample_gap


def _expected(command: Command, outcome: Outcome) -> Iterator[tuple[str, int]]:
    """The projections that a command moved, and from where; in a transaction the one."""
    kind = command.WhichOneof("body")
    moves: list[SaveProjectionRequest | TxnSaveProjection] = []
    if kind == "save_projection":
        moves = [command.save_projection]
    elif kind == "txn":
        body = command.txn.txn
        ops = body.success if outcome.txn.txn.succeeded else body.failure
        moves = [op.save_projection for op in ops if op.HasField("save_projection")]
    if len(moves) == 1 and moves[0].HasField("expected_position"):
        yield moves[0].name, moves[0].expected_position


def _named_leases(command: Command, outcome: Outcome) -> Iterator[int]:
    """The leases that a command touched."""
    kind = command.WhichOneof("body")
    if kind == "grant":
        yield outcome.grant.lease.lease_id
    elif kind == "put" and command.put.lease_id:
        yield command.put.lease_id
    elif kind == "txn":
        body = command.txn.txn
        for op in body.success if outcome.txn.txn.succeeded else body.failure:
            if op.put.lease_id:
                yield op.put.lease_id


def digest(reader: Reader) -> bytes:
    """A hash of all that has a past."""
    hashed = hashlib.blake2b(digest_size=16)
    for table in sorted(keys.HISTORIED):
        for key, value in reader.scan(table, bytes([table[0] + 1])):
            hashed.update(len(key).to_bytes(4, "big") + key)
            hashed.update(len(value).to_bytes(4, "big") + value)
    return hashed.digest()
