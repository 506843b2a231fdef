"""The durable log: an LMDB environment whose commits are on disk when they return.

Entries stand under their index, everything else (identity, term and vote, base,
incarnation) under a name in a second database, so one transaction makes a whole
tick durable: entries, vote and base together or not at all.

An entry's record also holds the running total of data bytes up to it, so the size
of the log is a subtraction and opening costs the same however long the log is.

Commits are counted in a record of the same transaction, and in a mark beside the file
once it has returned. LMDB's heads have no checksums, and if the newer one is damaged it
may go back to the one before without a word; the mark tells.

Cutting the log moves the base at once, and the records below it are only swept
away in slices, one with each later commit: deleting 200,000 of them in one go
would hold the raft thread for longer than an election takes. A record at or below
the base is garbage, whoever finds it.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb
from google.protobuf.message import DecodeError, Message

from raftstate.core.ports import Base, Damage, Entry, HardState, Identity, StorageError
from raftstate.core.types import ORIGIN, Index, MemberId, Position, Term
from raftstate.storage.entry_cache import CACHE_BYTES, WARM_BYTES, EntryCache, Held
from raftstate.storage.environment import DATA, MAP_BYTES, failure, open_environment
from raftstate.storage.files import make_folder, remove_tree, rename_durably, sync_folder
from raftstate.storage.identities import check_identity, identity_record
from raftstate.storage.marks import Mark
from raftstate.storage.records import seal, unseal
from raftstate.storage.space import Use
from raftstate.v1 import disk_pb2

_SWEEP_RECORDS = 2_000
# How much a check reads under one view.
_SLICE_BYTES = 1 << 20
_SLICE_RECORDS = 2_000

_ENTRIES = b"entries"
_META = b"meta"
_IDENTITY = b"identity"
_HARD_STATE = b"hard_state"
_BASE = b"base"
_INCARNATION = b"incarnation"
_COMMITS = b"commits"

# The file beside LMDB's that says how many commits there have been.
COMMITTED = "committed"

_HEAD = struct.Struct(">QQ")
_Record = TypeVar("_Record", bound=Message)


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")


class LmdbLog:
    """A `ports.Log` in one folder. Every method belongs to one thread at a time."""

    # LMDB's commits are whole or not there: an opening never cuts anything off.
    repaired = ""

    def __init__(
        self,
        folder: Path,
        *,
        cluster_id: str,
        member_id: MemberId,
        map_bytes: int = MAP_BYTES,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Open the log of a member. Raises WrongStore if the folder is another's."""
        self._folder = folder
        self._map_bytes = map_bytes
        self._txn: lmdb.Transaction[bytes] | None = None
        self._writer = 0
        self._failed: str | None = None
        self._hard_state = HardState(Term(0), None)
        self._base = Base(ORIGIN, "")
        self._base_end = 0
        self._last = ORIGIN
        self._last_end = 0
        self._garbage = False
        self._cache = EntryCache(cache_bytes)
        if not (folder / DATA).exists():
            # LMDB would make an empty one, and this member would have forgotten its votes.
            raise Damage(f"{folder / DATA} is missing")
        self._mark: Mark | None = None
        self._commits = 0
        self._env = open_environment(folder, map_bytes=map_bytes, databases=2)
        try:
            self._load(cluster_id, member_id)
        except lmdb.Error as error:
            self._release()
            raise failure(f"cannot read {folder}", error) from error
        except OSError as error:
            self._release()
            raise StorageError(f"cannot read {folder}: {error}") from error
        except BaseException:
            self._release()
            raise

    @staticmethod
    def create(folder: Path, identity: Identity, *, map_bytes: int = MAP_BYTES) -> None:
        """Make an empty log. Under its final name it is whole and durable."""
        staged = folder.with_name(folder.name + ".new")
        remove_tree(staged)
        make_folder(staged)
        env = open_environment(staged, map_bytes=map_bytes, databases=2)
        try:
            env.open_db(_ENTRIES)
            meta = env.open_db(_META)
            with env.begin(meta, write=True) as txn:
                _put(txn, meta, _IDENTITY, identity_record(identity))
                _put(txn, meta, _HARD_STATE, disk_pb2.HardState())
                _put(txn, meta, _BASE, disk_pb2.LogBase())
                _put(txn, meta, _INCARNATION, disk_pb2.Incarnation())
                txn.put(_COMMITS, seal(_COMMITS, _key(0)))
        except lmdb.Error as error:
            raise StorageError(f"cannot make {folder}: {error}") from error
        finally:
            env.close()
        Mark.create(staged / COMMITTED, identity.disk_id)
        sync_folder(staged)
        rename_durably(staged, folder)

    # --- what stands in memory -----------------------------------------------

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def incarnation(self) -> int:
        return self._incarnation

    @property
    def hard_state(self) -> HardState:
        return self._hard_state

    @property
    def base(self) -> Base:
        return self._base

    @property
    def last(self) -> Position:
        return self._last

    @property
    def size_bytes(self) -> int:
        return self._last_end - self._base_end

    # --- reads ---------------------------------------------------------------

    def use(self) -> Use:
        """What it takes of its map, and how much it can write before its file grows."""
        with self._reading() as txn:
            stats = [txn.stat(self._entries), txn.stat(self._meta)]
            pages = self._env.info()["last_pgno"]
        page_bytes = stats[0]["psize"]
        used = page_bytes * sum(
            stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats
        )
        # Not every free page can be used again at once: count half of them.
        return Use(self._map_bytes, used, max((pages + 1) * page_bytes - used, 0) // 2)

    def forget_dead_readers(self) -> None:
        """Give up the views of processes that have died. Any thread."""
        try:
            self._env.reader_check()
        except lmdb.Error as error:
            raise failure(f"cannot check the readers of {self._folder}", error) from error

    def term_at(self, index: Index) -> Term | None:
        if index == self._last.index:
            return self._last.term
        if index == self._base.position.index:
            return self._base.position.term
        if not self._base.position.index < index < self._last.index:
            return None
        return self._held(index).entry.term

    def read(self, first: Index, bytes_max: int) -> list[Entry]:
        self._refuse_cut(first)
        found: list[Entry] = []
        room = bytes_max
        with closing(self._from(first)) as entries:
            for entry in entries:
                room -= len(entry.data)
                if found and room < 0:
                    break
                found.append(entry)
        return found

    # --- changes -------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        if entry.index != self._last.index + 1 or entry.term < self._last.term:
            raise ValueError(f"an entry at {entry[:2]} cannot follow {self._last}")
        end = self._last_end + len(entry.data)
        key = _key(entry.index)
        record = seal(key, _HEAD.pack(entry.term, end) + entry.data)
        with self._writing() as txn:
            # In order, so pages fill up; LMDB says False where the key would not be the last.
            if not txn.put(key, record, append=True, db=self._entries):
                raise Damage(f"{self._folder} holds entries beyond {entry.index}")
        self._last, self._last_end = Position(entry.index, entry.term), end
        self._cache.add(Held(entry, end))

    def truncate(self, first: Index) -> None:
        self._refuse_cut(first)
        if first > self._last.index:
            return
        term = self.term_at(Index(first - 1))
        assert term is not None
        end = self._end_at(Index(first - 1))
        self._delete_from(first)
        self._last, self._last_end = Position(Index(first - 1), term), end

    def set_hard_state(self, hard_state: HardState) -> None:
        if hard_state == self._hard_state:
            return
        if hard_state.term < self._hard_state.term:
            raise ValueError(f"{hard_state} is before {self._hard_state}")
        record = disk_pb2.HardState(
            term=hard_state.term, vote=hard_state.vote or "", settled=hard_state.settled
        )
        with self._writing() as txn:
            _put(txn, self._meta, _HARD_STATE, record)
        self._hard_state = hard_state

    def cut(self, base: Base) -> None:
        index, term = base.position
        if self.term_at(index) != term:
            raise ValueError(f"{base} is not a position of this log")
        self._set_base(base, self._end_at(index))

    def reset(self, base: Base) -> None:
        assert base.position.index >= self._base.position.index, (
            f"{base} is before {self._base}"
        )
        if self.term_at(base.position.index) == base.position.term:
            self.cut(base)
            return
        self._delete_from(Index(base.position.index + 1))
        self._cache.restart(base.position.index + 1)
        self._set_base(base, 0)
        self._last, self._last_end = base.position, 0

    def commit(self) -> None:
        self._check()
        if self._txn is None:
            return
        assert threading.get_ident() == self._writer, "LMDB's write lock belongs to a thread"
        with self._writing() as txn:
            if self._garbage:
                self._sweep(txn)
            count = self._commits + 1
            txn.put(_COMMITS, seal(_COMMITS, _key(count)), db=self._meta)
            self._txn = None
            txn.commit()
            self._commits = count
            assert self._mark is not None
            self._mark.write(count)

    def close(self) -> None:
        """Let go of the folder. What was not committed is gone."""
        if self._txn is not None:
            self._txn.abort()
            self._txn = None
        try:
            if self._failed is None and self._mark is not None:
                self._mark.sync()
        except OSError as error:
            raise StorageError(f"cannot close the log {self._folder}: {error}") from error
        finally:
            self._failed = self._failed or "it was closed"
            self._release()

    def _release(self) -> None:
        self._env.close()
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    # --- records -------------------------------------------------------------

    def _load(self, cluster_id: str, member_id: MemberId) -> None:
        try:
            self._entries = self._env.open_db(_ENTRIES, create=False)
            self._meta = self._env.open_db(_META, create=False)
        except lmdb.NotFoundError as error:
            raise Damage(f"{self._folder} is not a log: {error}") from error
        with self._env.begin(self._meta) as txn:
            whose = _get(txn, _IDENTITY, disk_pb2.DiskIdentity())
            self._identity = check_identity(whose, self._folder, cluster_id, member_id)
            hard = _get(txn, _HARD_STATE, disk_pb2.HardState())
            base = _get(txn, _BASE, disk_pb2.LogBase())
            opened = _get(txn, _INCARNATION, disk_pb2.Incarnation())
            self._check_commits(txn)
        vote = MemberId(hard.vote) if hard.vote else None
        self._hard_state = HardState(Term(hard.term), vote, hard.settled)
        self._base = Base(Position(Index(base.index), Term(base.term)), base.snapshot)
        self._base_end = base.end_bytes
        self._load_end()
        self._incarnation = opened.count + 1
        with self._writing() as writing:
            record = disk_pb2.Incarnation(count=self._incarnation)
            _put(writing, self._meta, _INCARNATION, record)
        self.commit()

    def _check_commits(self, txn: lmdb.Transaction[bytes]) -> None:
        """Whether the newest commit is here that is known to have been synced."""
        mark = Mark(self._folder / COMMITTED, self._identity.disk_id)
        self._mark = mark
        stored = txn.get(_COMMITS)
        if stored is None:
            raise Damage("the log's record commits is missing")
        self._commits = int.from_bytes(unseal(_COMMITS, stored, "the log's record commits"))
        if self._commits < mark.number:
            raise Damage(
                f"{self._folder / DATA} holds {self._commits} commits, and {mark.number} were"
                " synced"
            )

    def _load_end(self) -> None:
        """Find both ends of the log, and keep the newest entries in memory."""
        base = self._base.position
        with self._env.begin(self._entries) as txn, txn.cursor() as cursor:
            self._garbage = cursor.first() and int.from_bytes(cursor.key(), "big") <= base.index
            last = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
            self._last, self._last_end = base, self._base_end
            self._cache.restart(base.index + 1)
            if last <= base.index:
                return
            held = self._record(txn, last)
            self._last = Position(held.entry.index, held.entry.term)
            self._last_end = held.end_bytes
            self._record(txn, base.index + 1)
            self._warm(txn, last)

    def _warm(self, txn: lmdb.Transaction[bytes], last: int) -> None:
        first, room = last, min(WARM_BYTES, self._cache.bytes_max)
        newest: list[Held] = []
        while first > self._base.position.index and (room > 0 or not newest):
            newest.append(self._record(txn, first))
            room -= newest[-1].cost
            first -= 1
        self._cache.restart(first + 1)
        for held in reversed(newest):
            self._cache.add(held)

    def _record(self, txn: lmdb.Transaction[bytes], index: int) -> Held:
        key = _key(index)
        stored = txn.get(key, db=self._entries)
        if stored is None:
            raise Damage(f"log entry {index} is missing in {self._folder}")
        value = unseal(key, stored, f"log entry {index} in {self._folder}")
        term, end = _HEAD.unpack_from(value)
        return Held(Entry(Index(index), Term(term), value[_HEAD.size :]), end)

    def _held(self, index: Index) -> Held:
        held = self._cache.get(index)
        if held is None:
            with self._reading() as txn:
                held = self._record(txn, index)
        return held

    def _end_at(self, index: Index) -> int:
        if index == self._base.position.index:
            return self._base_end
        return self._held(index).end_bytes

    def _from(self, first: Index) -> Generator[Entry, None, None]:
        """Entries from `first` on: cold ones out of LMDB, then those in memory."""
        warm = max(first, self._cache.first)
        if first < warm:
            with self._reading() as txn:
                for index in range(first, min(warm, self._last.index + 1)):
                    yield self._record(txn, index).entry
        for index in range(warm, self._last.index + 1):
            yield self._held(Index(index)).entry

    def _refuse_cut(self, first: Index) -> None:
        if first <= self._base.position.index:
            raise ValueError(f"entry {first} was cut away: the base is {self._base}")

    def _set_base(self, base: Base, end_bytes: int) -> None:
        record = disk_pb2.LogBase(
            index=base.position.index,
            term=base.position.term,
            snapshot=base.snapshot,
            end_bytes=end_bytes,
        )
        with self._writing() as txn:
            _put(txn, self._meta, _BASE, record)
        self._garbage = True
        self._cache.cut(base.position.index)
        self._base, self._base_end = base, end_bytes

    def _delete_from(self, first: Index) -> None:
        with self._writing() as txn, txn.cursor(self._entries) as cursor:
            found = cursor.set_range(_key(first))
            while found:
                # Deleting moves the cursor to the next record, and says if there is one.
                found = cursor.delete() and bool(cursor.key())
        self._cache.truncate(first)

    def _sweep(self, txn: lmdb.Transaction[bytes]) -> None:
        """Delete some of the records that the base has overtaken."""
        end = _key(self._base.position.index)
        with txn.cursor(self._entries) as cursor:
            found = cursor.first()
            for _ in range(_SWEEP_RECORDS):
                if not found or cursor.key() > end:
                    self._garbage = False
                    return
                found = cursor.delete() and bool(cursor.key())

    # --- transactions --------------------------------------------------------

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageError(f"the log {self._folder} cannot be used: {self._failed}")

    @contextmanager
    def _reading(self) -> Iterator[lmdb.Transaction[bytes]]:
        """A transaction that sees all there is, this tick's changes included."""
        self._check()
        if self._txn is not None:
            yield self._txn
            return
        try:
            with self._env.begin() as txn:
                yield txn
        except lmdb.Error as error:
            raise failure(f"cannot read the log {self._folder}", error) from error

    @contextmanager
    def _writing(self) -> Iterator[lmdb.Transaction[bytes]]:
        """The tick's write transaction. After an error in it nothing works any more:
        what is in memory may not be what is on disk."""
        self._check()
        try:
            if self._txn is None:
                self._txn = self._env.begin(write=True)
                self._writer = threading.get_ident()
            yield self._txn
        except lmdb.Error as error:
            self._failed = str(error)
            raise failure(f"cannot write to the log {self._folder}", error) from error
        except OSError as error:
            self._failed = str(error)
            raise StorageError(f"cannot write to the log {self._folder}: {error}") from error


def _put(
    txn: lmdb.Transaction[bytes], meta: lmdb._Database, name: bytes, record: Message
) -> None:
    txn.put(name, seal(name, record.SerializeToString(deterministic=True)), db=meta)


def _get(txn: lmdb.Transaction[bytes], name: bytes, record: _Record) -> _Record:
    stored = txn.get(name)
    if stored is None:
        raise Damage(f"the log's record {name.decode()} is missing")
    try:
        record.ParseFromString(unseal(name, stored, f"the log's record {name.decode()}"))
    except DecodeError as error:
        raise Damage(f"the log's record {name.decode()} is damaged: {error}") from error
    return record


def read_owner(
    folder: Path,
) -> tuple[disk_pb2.DiskIdentity | None, disk_pb2.HardState | None]:
    """What a log that may be damaged says of its owner: each record, if it is sound.

    Raises StorageError or WrongStore if it cannot be opened at all, and may take the
    process with it."""
    env = open_environment(folder, map_bytes=MAP_BYTES, readonly=True, databases=2)
    try:
        with env.begin(env.open_db(_META, create=False)) as txn:
            whose = _sound(txn, _IDENTITY, disk_pb2.DiskIdentity())
            return whose, _sound(txn, _HARD_STATE, disk_pb2.HardState())
    except lmdb.Error as error:
        raise failure(f"cannot read {folder}", error) from error
    finally:
        env.close()


def _sound(txn: lmdb.Transaction[bytes], name: bytes, record: _Record) -> _Record | None:
    try:
        return _get(txn, name, record)
    except Damage:
        return None


def check_slices(folder: Path) -> Generator[int, None, None]:
    """Read every record of a log that another process may be writing to, a slice at a
    time; yields how many bytes each slice had, with no view of the log open.

    Raises Damage for a wrong checksum, a gap, or what does not follow what is before it.
    """
    env = open_environment(folder, map_bytes=MAP_BYTES, readonly=True, shared=True, databases=2)
    try:
        meta, entries = env.open_db(_META, create=False), env.open_db(_ENTRIES, create=False)
        following, more = 1, True
        while more:
            with env.begin(entries) as txn:
                base = _check_meta(txn, meta)
                following = max(following, base + 1)
                size, following, more = _check_slice(txn, following, str(folder))
            yield size
    except lmdb.NotFoundError as error:
        raise Damage(f"{folder} is not a log: {error}") from error
    except lmdb.Error as error:
        raise failure(f"cannot read the log {folder}", error) from error
    finally:
        env.close()


def _check_meta(txn: lmdb.Transaction[bytes], meta: lmdb._Database) -> int:
    """Read every record that is no entry; answer with the index of the base."""
    with txn.cursor(meta) as cursor:
        for name, stored in cursor:
            unseal(name, stored, f"the log's record {name.decode('ascii', 'replace')}")
    record = txn.get(_BASE, db=meta)
    if record is None:
        raise Damage("the log's record base is missing")
    return disk_pb2.LogBase.FromString(unseal(_BASE, record)).index


def _check_slice(
    txn: lmdb.Transaction[bytes], first: int, folder: str
) -> tuple[int, int, bool]:
    """Check some entries; answer with their bytes, what follows them, and if there is more."""
    size, following, end = 0, first, None
    with txn.cursor() as cursor:
        found = cursor.set_range(_key(first))
        while found and size < _SLICE_BYTES and following - first < _SLICE_RECORDS:
            key, stored = cursor.item()
            if key != _key(following):
                raise Damage(f"log entry {following} is missing in {folder}")
            value = unseal(key, stored, f"log entry {following} in {folder}")
            _, total = _HEAD.unpack_from(value)
            if end is not None and total != end + len(value) - _HEAD.size:
                raise Damage(
                    f"log entry {following} in {folder} does not follow the one before"
                )
            size, following, end = size + len(stored), following + 1, total
            found = cursor.next()
    return size, following, found
