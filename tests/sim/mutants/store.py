"""The whole store: history, transactions, leases, chunks, retention, events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raftstate.core import (
    history,
    keys,
    leases,
    machine,
    retention,
    streams,
    sweep,
    txn,
)
from raftstate.core.context import Context
from raftstate.core.history import HistoryMark, PastReader, RecordedStore
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.kv_service_pb2 import Compare
from raftstate.v1.store_pb2 import ChunkRecord, CollectChunks, Done, ExpireLease, Refusal
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="past_is_kept change_is_right tables_agree", known=1, store=True)
def undo_only_the_first_change(patch: Patch) -> None:
    """What a key had is noted when it changes first, and no more when it changes again."""
    real = RecordedStore._note

    def note(self: RecordedStore, key: bytes, old: bytes | None) -> None:
        if any(True for _ in self.scan(*keys.undone_after(key, 0))):
            self._changed[key] = None
        else:
            real(self, key, old)

    patch.replace(RecordedStore, "_note", note)


@mutant(expects="nothing_is_untold", known=1, store=True)
def lose_a_row_of_changes(patch: Patch) -> None:
    """One revision in fifty does not say what it changed: no watch tells of it."""
    real = RecordedStore.end

    def end(self: RecordedStore) -> int:
        if self._revision % 50 == 0:
            self._changed.clear()
        return real(self)

    patch.replace(RecordedStore, "end", end)


@mutant(expects="no_change_is_missing", known=2, store=True)
def go_on_a_revision_late(patch: Patch) -> None:
    """Who goes on to follow the changes is not told the first."""
    real = history.changes_after

    def changes_after(
        reader: Reader, revision: int, last: int
    ) -> Iterator[tuple[int, list[bytes]]]:
        return real(reader, revision + (revision % 7 == 1), last)

    patch.replace(history, "changes_after", changes_after)


@mutant(expects="lists_are_serializable money_is_kept", known=2, store=True)
def write_although_a_compare_failed(patch: Patch) -> None:
    """A transaction does what it should do if its compares hold, whether a key has changed
    since or not."""
    real = txn.holds

    def holds(reader: Reader, compare: Compare) -> bool:
        return compare.WhichOneof("target") == "mod_revision" or real(reader, compare)

    patch.replace(txn, "holds", holds)


@mutant(expects="expiry_spares_the_touched lease_expiry_is_not_early", known=1, store=True)
def end_a_lease_that_was_touched(patch: Patch) -> None:
    """An expiry ends a lease, whatever has named it since the leader looked."""

    def expire(context: Context, request: ExpireLease) -> Done | Refusal:
        found = leases.record(context.store, request.lease_id)
        if found is None:
            return leases.missing(request.lease_id)
        leases._end(context, request.lease_id)
        return Done()

    patch.item(machine._PLAIN, "expire_lease", expire)


@mutant(expects="lease_counts_its_keys tables_agree", known=1, store=True)
def leave_a_key_behind(patch: Patch) -> None:
    """A key that is put under a lease again is not marked as the lease's: it stays when
    the lease ends."""
    real = leases.attach

    def attach(context: Context, lease_id: int, name: bytes) -> None:
        if context.revision % 5:
            real(context, lease_id, name)

    patch.replace(leases, "attach", attach)


@mutant(expects="tables_agree checkpoint_reads_back", known=2, store=True)
def collect_a_chunk_in_use(patch: Patch) -> None:
    """A chunk that was unused once is collected, also if it has come to use since."""

    def collect(context: Context, request: CollectChunks) -> Done:
        span = keys.unused_chunks(request.unused_since_ms)
        for mark in [key for key, _ in context.store.scan(*span)]:
            context.store.delete(mark)
            _, space, named = keys.unused_chunk_named(mark)
            raw = context.store.get(keys.chunk_record(space, named))
            if raw is not None and ChunkRecord.FromString(raw).uses < 3:
                context.store.delete(keys.chunk(space, named))
        return Done()

    patch.item(machine._PLAIN, "collect_chunks", collect)


@mutant(expects="removed_checkpoint_was_free tables_agree", known=2, store=True)
def prune_a_pinned_checkpoint(patch: Patch) -> None:
    """A pin keeps nothing."""
    real = retention._may_go

    def may_go(reader: Reader, agent: Agent, checkpoint: Checkpoint) -> bool:
        bare = Checkpoint()
        bare.CopyFrom(checkpoint)
        bare.pinned = False
        return real(reader, agent, bare)

    patch.replace(retention, "_may_go", may_go)


@mutant(
    expects="duplicate_is_answered_alike events_are_stored_once tables_agree",
    known=4,
    store=True,
)
def look_for_no_event_ids(patch: Patch) -> None:
    """An append under ids that are there is made again."""

    def known(context: Context, targets: Any) -> None:
        return None

    patch.replace(streams, "_known", known)


@mutant(expects="truncated_was_covered truncation_names_its_cover", known=7, store=True)
def truncate_what_nothing_covers(patch: Patch) -> None:
    """Events go, whether a projection has passed them or not."""

    def check(context: Context, request: Any, row: Any) -> None:
        return None

    patch.replace(streams, "_check_projection", check)


@mutant(expects="no_change_is_missing change_is_right past_is_kept", known=1, store=True)
def sweep_one_revision_too_much(patch: Patch) -> None:
    """The history of the oldest revision's successor goes too."""
    real = sweep._forget_one

    def forget_one(context: Context, mark: HistoryMark, room: Any) -> tuple[HistoryMark, Any]:
        after, left = real(context, mark, room)
        row = keys.changes(mark.oldest + 1)
        if after.swept == mark.oldest and context.store.get(row) is not None:
            for key in history.changed_keys(context.store, mark.oldest + 1):
                context.store.delete(keys.undo(key, mark.oldest + 1))
            context.store.delete(row)
        return after, left

    patch.replace(sweep, "_forget_one", forget_one)


@mutant(
    expects="money_is_kept group_is_whole past_is_kept lists_are_serializable "
    "projection_moves_with_its_key",
    known=1,
    store=True,
)
def read_a_range_of_the_past_as_it_is_now(patch: Patch) -> None:
    """The pages of one read, and the ranges of a transaction, are of several revisions."""

    def scan(self: PastReader, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.scan(start, stop)

    patch.replace(PastReader, "scan", scan)
