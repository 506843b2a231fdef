"""A disk that forgets what was not made durable.

`SimDisk` is one member's data folder: a log, a state and snapshots, held in memory.
What survives depends on how the member stopped:

- a killed process loses its open transactions and every timer; what it had handed to
  the kernel stays, synced or not;
- a power loss also loses what was never synced. Of a commit of the log that was under
  way all is kept or nothing, as both logs of the product promise. With `tears` a log
  promises less: the first records may be kept, in order, and none after the first that
  is missing or torn. Nothing was acknowledged, so the members must stand that too. The
  state never syncs, so nothing of it may be trusted; a snapshot is synced before it gets
  its name;
- after a sync that failed nobody knows what is on the disk: the process must stop, and
  what the next one finds is what a power loss could have left.

`SimDisk.open` follows the product's rule for what a member may open after that. Work
that the product does beside its raft thread (copies, verification) takes simulated
time here, and a commit may too: `spent_s` says how long the step under way has taken.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from raftstate.core import keys, queries
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import (
    Base,
    Entry,
    HardState,
    Identity,
    Reader,
    SnapshotFailed,
    StorageError,
    WrongStore,
)
from raftstate.core.types import ORIGIN, Index, MemberId, Position, Term
from raftstate.v1.peer_pb2 import SnapshotManifest
from tests.sim.state import SimState, StateImage

After = Callable[[float, Callable[[], None]], None]
"""Do something after so many simulated seconds."""


class SimulatedCrash(BaseException):
    """The process ends here, in the middle of whatever it was doing.

    Not an Exception: nothing that runs inside the node may catch it.
    """


class LogWatch(Protocol):
    """Who wants to know what a log does: the invariants."""

    def appended(self, log: SimLog, entry: Entry) -> None:
        """An entry stands at the end of the log, not yet durable."""

    def truncated(self, log: SimLog, first: Index) -> None:
        """The entries from `first` on are about to go."""

    def voted(self, log: SimLog, before: HardState, after: HardState) -> None:
        """Another term or vote became durable."""


# --- the log -----------------------------------------------------------------


FIRST = HardState(Term(0), None)
BOTTOM = Base(ORIGIN, "")


@dataclass(slots=True)
class LogImage:
    """A log's content: as its owner sees it, or as the disk holds it."""

    hard_state: HardState = FIRST
    base: Base = BOTTOM
    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def last(self) -> Position:
        """The newest entry, or the base."""
        if not self.entries:
            return self.base.position
        return Position(self.entries[-1].index, self.entries[-1].term)

    def term_at(self, index: Index) -> Term | None:
        """The term of the entry at `index`, or of the base; None outside."""
        offset = index - self.base.position.index
        if offset == 0:
            return self.base.position.term
        return self.entries[offset - 1].term if 0 < offset <= len(self.entries) else None

    def append(self, entry: Entry) -> None:
        """Add an entry at the end."""
        self.entries.append(entry)
        self.size_bytes += len(entry.data)

    def truncate(self, first: Index) -> None:
        """Remove `first` and all after it."""
        offset = first - self.base.position.index - 1
        self.size_bytes -= sum(len(entry.data) for entry in self.entries[offset:])
        del self.entries[offset:]

    def rebase(self, base: Base) -> None:
        """Move the base; what is after it stays if the log agrees with it there."""
        if self.term_at(base.position.index) == base.position.term:
            del self.entries[: base.position.index - self.base.position.index]
        else:
            self.entries.clear()
        self.base = base
        self.size_bytes = sum(len(entry.data) for entry in self.entries)

    def vote(self, hard_state: HardState) -> None:
        """Take another term or vote."""
        self.hard_state = hard_state

    def copy(self) -> LogImage:
        """The same content, of its own."""
        return LogImage(self.hard_state, self.base, list(self.entries), self.size_bytes)


Change = Callable[[LogImage], None]


class SimLog:
    """The `Log` port over a working image and the durable one."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self._image = disk.durable.copy()
        self._pending: list[Change] = []
        self._open = True

    @property
    def identity(self) -> Identity:
        """Whose folder this is."""
        return self._disk.identity

    @property
    def incarnation(self) -> int:
        """How often the folder was opened."""
        return self._disk.incarnation

    @property
    def hard_state(self) -> HardState:
        """Term and vote, with what is not committed yet."""
        return self._image.hard_state

    @property
    def base(self) -> Base:
        """What stands before the first entry."""
        return self._image.base

    @property
    def last(self) -> Position:
        """The newest entry, or the base."""
        return self._image.last

    @property
    def size_bytes(self) -> int:
        """Bytes of entry data."""
        return self._image.size_bytes

    def term_at(self, index: Index) -> Term | None:
        """The term at `index`; None outside."""
        return self._image.term_at(index)

    def read(self, first: Index, bytes_max: int) -> list[Entry]:
        """Entries from `first` on, at least one, within `bytes_max` after that."""
        offset = first - self._image.base.position.index - 1
        if offset < 0:
            raise ValueError(f"index {first} is not after the base {self._image.base}")
        found: list[Entry] = []
        size = 0
        for entry in self._image.entries[offset:]:
            size += len(entry.data)
            if found and size > bytes_max:
                break
            found.append(entry)
        return found

    def append(self, entry: Entry) -> None:
        """Add an entry at `last.index + 1`."""
        if entry.index != self.last.index + 1:
            raise ValueError(f"entry {entry.index} cannot follow {self.last.index}")
        self._change(lambda image: image.append(entry))
        if self._disk.watch is not None:
            self._disk.watch.appended(self, entry)

    def truncate(self, first: Index) -> None:
        """Remove `first` and all entries after it."""
        if first <= self.base.position.index:
            raise ValueError(f"index {first} is not after the base {self.base}")
        if first > self.last.index:
            return
        self._tell_truncated(first)
        self._change(lambda image: image.truncate(first))

    def set_hard_state(self, hard_state: HardState) -> None:
        """Take another term or vote."""
        self._change(lambda image: image.vote(hard_state))

    def cut(self, base: Base) -> None:
        """Make the position of a held entry the new base."""
        if self.term_at(base.position.index) != base.position.term:
            raise ValueError(f"{base.position} is not in the log")
        self._change(lambda image: image.rebase(base))

    def reset(self, base: Base) -> None:
        """Set a base from outside; a suffix that does not fit is dropped."""
        held = self.term_at(base.position.index)
        if held is not None and held != base.position.term:
            self._tell_truncated(Index(max(base.position.index, self.base.position.index + 1)))
        self._change(lambda image: image.rebase(base))

    def commit(self) -> None:
        """Hand all changes to the disk and sync it."""
        if not self._open:
            raise StorageError("the log is closed")
        if not self._pending:
            return
        self._disk.reach("log.before")
        self._disk.written.extend(self._pending)
        self._pending = []
        self._disk.reach("log.written")
        self._disk.sync_log(self)
        self._disk.spend(self._disk.commit_takes_s())
        self._disk.reach("log.after")

    def close(self) -> None:
        """Stop using the log; changes that were not committed are gone."""
        self._open = False

    def _change(self, change: Change) -> None:
        change(self._image)
        self._pending.append(change)

    def _tell_truncated(self, first: Index) -> None:
        if self._disk.watch is not None and first <= self.last.index:
            self._disk.watch.truncated(self, first)


# --- snapshots ---------------------------------------------------------------

_PAIR = struct.Struct("<II")


def encode_map(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A map as a file: every pair with its two lengths, in order of key."""
    parts: list[bytes] = []
    for key, value in pairs:
        parts += (_PAIR.pack(len(key), len(value)), key, value)
    return b"".join(parts)


def decode_map(data: bytes) -> MemoryStore:
    """The map of a file that `encode_map` made."""
    store = MemoryStore()
    at = 0
    while at < len(data):
        key_size, value_size = _PAIR.unpack_from(data, at)
        at += _PAIR.size
        store.put(data[at : at + key_size], data[at + key_size : at + key_size + value_size])
        at += key_size + value_size
    return store


def digest(data: bytes) -> bytes:
    """What a manifest says of its file."""
    return hashlib.blake2b(data, digest_size=32).digest()


class SnapshotFile(NamedTuple):
    """A durable snapshot: what it says it is, and its bytes."""

    manifest: SnapshotManifest
    data: bytes


@dataclass(slots=True, eq=False)
class Incoming:
    """A snapshot that a leader sends, as far as it has come."""

    manifest: SnapshotManifest
    data: bytearray = field(default_factory=bytearray)

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return len(self.data) == self.manifest.size_bytes


SnapshotOutcome = SnapshotManifest | SnapshotFailed


class SimSnapshots:
    """The `Snapshots` port; copying and verifying take simulated time."""

    def __init__(self, disk: SimDisk, state: SimState, wake: Callable[[], None]) -> None:
        self._disk = disk
        self._state = state
        self._wake = wake
        self._open = True
        self._copying = False
        self._copied: SnapshotOutcome | None = None
        self._incoming: Incoming | None = None
        self._staged: SnapshotOutcome | None = None

    # -- what there is --

    def manifest(self, name: str) -> SnapshotManifest | None:
        """The manifest of a durable snapshot."""
        file = self._disk.snapshots.get(name)
        return None if file is None else file.manifest

    def read(self, name: str, offset: int, size: int) -> bytes:
        """A piece of a durable snapshot."""
        file = self._disk.snapshots.get(name)
        if file is None:
            raise StorageError(f"snapshot {name} is missing")
        return file.data[offset : offset + size]

    def adopt(self, name: str) -> None:
        """Replace the state by a durable snapshot that the log's base names."""
        file = self._disk.snapshots.get(name)
        if file is None:
            raise StorageError(f"snapshot {name} is missing")
        if self._disk.durable.base.snapshot != name:
            raise StorageError(f"the durable base does not name {name}")
        self._disk.reach("adopt.before")
        self._state.replace(decode_map(file.data))
        self._disk.spend(self._disk.commit_s)
        self._disk.reach("adopt.after")

    def retain(self, names: set[str]) -> None:
        """Delete every durable snapshot that is not named; never one whose outcome was
        not fetched, since nobody could have named it."""
        unfetched = {
            outcome.name
            for outcome in (self._copied, self._staged)
            if isinstance(outcome, SnapshotManifest)
        }
        for name in sorted(self._disk.snapshots.keys() - names - unfetched):
            del self._disk.snapshots[name]
            if self._incoming is not None and self._incoming.manifest.name == name:
                self._incoming = None  # should it be sent again, it is wanted whole

    def close(self) -> None:
        """Forget what is under way."""
        self._open = False

    # -- a copy --

    def start_copy(self, term: Term) -> None:
        """Copy the last committed state; named and durable when that is done."""
        if self._copying:
            raise RuntimeError("a copy is under way")
        self._copying = True
        with self._state.view() as reader:
            file = self._copy(reader, term)
        failed = self._disk.rng.random() < self._disk.copy_fails
        self._later(lambda: self._end_copy(file, failed))

    def poll_copy(self) -> SnapshotOutcome | None:
        """The outcome of `start_copy`, once."""
        outcome, self._copied = self._copied, None
        if outcome is not None:
            self._copying = False
        return outcome

    def _copy(self, reader: Reader, term: Term) -> SnapshotFile:
        identity = self._disk.identity
        data = encode_map(reader.scan(*keys.EVERYTHING))
        position = queries.applied(reader)
        manifest = SnapshotManifest(
            name=f"snap-{position.index:016x}-{term:x}",
            cluster_id=identity.cluster_id,
            cluster_epoch=identity.cluster_epoch,
            index=position.index,
            term=term,
            revision=queries.revision(reader),
            size_bytes=len(data),
            digest=digest(data),
            state_hash=queries.state_hash(reader),
            configuration=queries.configuration(reader),
        )
        return SnapshotFile(manifest, data)

    def _end_copy(self, file: SnapshotFile, failed: bool) -> None:
        if failed:
            self._copied = SnapshotFailed("the copy did not verify")
        else:
            self._disk.snapshots[file.manifest.name] = file
            self._copied = file.manifest
        self._wake()

    # -- a snapshot that arrives --

    def stage(self, manifest: SnapshotManifest, offset: int, data: bytes) -> int:
        """Take one piece; answer with the next offset wanted."""
        incoming = self._incoming
        if incoming is None or incoming.manifest != manifest:
            self._incoming = None
            if fault := self._unacceptable(manifest):
                return self._refuse(fault)
            incoming = self._incoming = Incoming(manifest)
        if incoming.complete or offset != len(incoming.data):
            return len(incoming.data)
        if offset + len(data) > manifest.size_bytes:
            return self._refuse(f"a piece ends at {offset + len(data)}")
        incoming.data += data
        if incoming.complete:
            self._later(lambda: self._end_staging(incoming))
        return len(incoming.data)

    def poll_staged(self) -> SnapshotOutcome | None:
        """The outcome of a complete staging, once."""
        outcome, self._staged = self._staged, None
        if isinstance(outcome, SnapshotFailed):
            self._incoming = None
        return outcome

    def _unacceptable(self, manifest: SnapshotManifest) -> str | None:
        """Why no byte of a snapshot is worth taking, or None."""
        identity = self._disk.identity
        if manifest.name != f"snap-{manifest.index:016x}-{manifest.term:x}":
            return f"its name {manifest.name!r} does not say where it stands"
        whose = manifest.cluster_id, manifest.cluster_epoch
        if whose != (identity.cluster_id, identity.cluster_epoch):
            return f"it is of cluster {whose}"
        return None if manifest.size_bytes else "it is empty"

    def _refuse(self, fault: str) -> int:
        self._incoming = None
        self._staged = SnapshotFailed(f"refused: {fault}")
        return 0

    def _end_staging(self, incoming: Incoming) -> None:
        if incoming is not self._incoming:
            return  # another has taken its place
        file = SnapshotFile(incoming.manifest, bytes(incoming.data))
        held = self._disk.snapshots.get(file.manifest.name)
        if digest(file.data) != file.manifest.digest:
            self._staged = SnapshotFailed("its digest differs")
        elif self._disk.rng.random() < self._disk.copy_fails:
            self._staged = SnapshotFailed("what was staged did not verify")
        elif held is not None and held.manifest.state_hash != file.manifest.state_hash:
            self._staged = SnapshotFailed("another state at one position: somebody diverged")
        else:
            self._disk.snapshots[file.manifest.name] = file
            self._staged = file.manifest
        self._wake()

    def _later(self, settle: Callable[[], None]) -> None:
        """Do work beside the caller; it ends with the process."""
        seconds = self._disk.copy_s * (0.5 + self._disk.rng.random())
        self._disk.after(seconds, lambda: settle() if self._open else None)


# --- the folder --------------------------------------------------------------


class Opened(NamedTuple):
    """What one process has of its folder."""

    log: SimLog
    state: SimState
    snapshots: SimSnapshots


class SimDisk:
    """One member's data folder, across all its processes."""

    def __init__(
        self,
        identity: Identity,
        *,
        after: After,
        rng: random.Random,
        watch: LogWatch | None = None,
    ) -> None:
        self.identity = identity
        self.after = after
        self.rng = rng
        self.watch = watch
        self.commit_s = 0.0
        self.spike_s = 0.0  # how much longer the next commit takes
        self.tears = False  # whether the log is one whose commits may survive in part
        self.copy_s = 0.05
        self.copy_fails = 0.0
        self.durable = LogImage()
        self.lost: LogImage | None = None  # what the disk before this one held at its end
        self.written: list[Change] = []  # handed to the kernel, not synced
        self.incarnation = 0
        self.boot = 1
        self.state = StateImage()
        self.snapshots: dict[str, SnapshotFile] = {}
        self.sync_failed = False
        self.torn_tails = 0
        self.rebuilds = 0
        self.wipes = 0
        self.spent_s = 0.0
        self.trap: tuple[str, BaseException] | None = None
        self._opened: Opened | None = None

    def open(self, wake: Callable[[], None]) -> Opened:
        """Open the folder as the product does: see the storage section of the design.

        Raises StorageError if what the log is based on is missing.
        """
        if self._opened is not None:
            raise RuntimeError("the folder is open")
        self.incarnation += 1
        if not self._state_is_usable():
            self.rebuilds += 1
            self.state = StateImage(self._rebuilt())
        self.state.clean = False
        self.state.boot = self.boot
        state = SimState(self)
        self._opened = Opened(SimLog(self), state, SimSnapshots(self, state, wake))
        return self._opened

    def check_identity(self, cluster_id: str, member_id: MemberId) -> None:
        """Refuse a folder of another cluster or member."""
        if (self.identity.cluster_id, self.identity.member_id) != (cluster_id, member_id):
            raise WrongStore(f"the folder belongs to {self.identity}")

    def close(self) -> None:
        """An orderly stop of the process."""
        if self._opened is not None:
            self._opened.state.close()
            self.crash(lose_unsynced=False)

    def crash(self, *, lose_unsynced: bool) -> None:
        """The process is gone, and with `lose_unsynced` the power too."""
        self.trap = None
        if self._opened is not None:
            self._opened.log.close()
            self._opened.state.store.roll_back()
            self._opened.snapshots.close()
            self._opened = None
        doubtful, self.sync_failed = lose_unsynced or self.sync_failed, False
        if doubtful:
            self._tear()
        self._flush()
        if lose_unsynced:
            self.boot += 1
            if not self.state.clean:
                self._damage_state()

    def wipe(self, *, renewed: bool = False) -> None:
        """The disk is lost: the folder is a new one, under the same name; of a kind that
        nobody has ever heard of, if it is `renewed`."""
        assert self._opened is None, "the process still runs"
        self.wipes += 1
        disk_id = self.identity.disk_id.partition(".")[0]
        disk_id += f"-{self.wipes}" if renewed else f".{self.wipes}"
        self.identity = replace(self.identity, disk_id=disk_id)
        self.lost = self.durable
        self.durable = LogImage()
        self.written.clear()
        self.sync_failed = False
        self.incarnation = 0
        self.state = StateImage()
        self.snapshots = {}

    def sync_log(self, log: SimLog) -> None:
        """Make what was written to the log durable."""
        before = self.durable.hard_state
        self._flush()
        if self.watch is not None and before != self.durable.hard_state:
            self.watch.voted(log, before, self.durable.hard_state)

    def spend(self, seconds: float) -> None:
        """The step under way takes so much longer."""
        self.spent_s += seconds

    def commit_takes_s(self) -> float:
        """How long the sync of a commit takes; longer once after a spike was planned."""
        seconds, self.spike_s = self.commit_s + self.spike_s, 0.0
        return seconds

    def reach(self, point: str) -> None:
        """A place where a trap may stop the process."""
        if self.trap is not None and self.trap[0] == point:
            error, self.trap = self.trap[1], None
            self.sync_failed = point == "log.written" and isinstance(error, StorageError)
            raise error

    def _tear(self) -> None:
        """Decide what of an unsynced commit is on the disk; forget the rest."""
        if not self.written:
            return
        if self.tears:
            kept = self.rng.randint(0, len(self.written))
        else:
            kept = self.rng.choice((0, len(self.written)))
        self.torn_tails += kept < len(self.written)
        del self.written[kept:]

    def _flush(self) -> None:
        for change in self.written:
            change(self.durable)
        self.written.clear()

    def _damage_state(self) -> None:
        """What a power loss leaves of pages that were never synced: anything."""
        for key in [key for key, _ in self.state.store.items()]:
            if self.rng.random() < 0.5:
                self.state.store.delete(key)

    def _state_is_usable(self) -> bool:
        if not self.state.clean and self.state.boot != self.boot:
            return False
        position = queries.applied(self.state.store)
        return self.durable.term_at(position.index) == position.term

    def _rebuilt(self) -> MemoryStore:
        name = self.durable.base.snapshot
        if not name:
            return MemoryStore()
        file = self.snapshots.get(name)
        if file is None:
            raise StorageError(f"snapshot {name}, which the log is based on, is missing")
        return decode_map(file.data)
