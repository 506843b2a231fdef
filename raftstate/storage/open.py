"""Opening a data folder: what is there, whether it may be trusted, and how to go on.

    lock                 held by the process that has the folder open
    log/                 durable: entries, term and vote, base, identity; LMDB, or segments
    state-N/             LMDB, not durable: a cache of snapshot plus log
    snapshots/snap-*/    an image of the state, and its manifest

The log is the truth: nothing else says who this is, what was voted for, or which
snapshot the state begins with. The open rule, in order:

1. Take the lock. A folder in use is refused.
2. Open the log. A folder of another cluster, member or format, or with another kind
   of log than is wanted, is refused before anything in it is changed, and so is one
   that has a state or snapshots but no log: a member that forgot its votes must not
   vote.
3. Throw away what is half made: `building-*`, `discarded-*`, staged snapshots, and
   all generations but the newest.
4. Keep the newest generation if it has its clean mark or the running kernel's boot
   id, and if its applied position is one of the log's, between base and end.
5. Otherwise build a new one from the snapshot that the base names, or from nothing
   if the base is the origin. Only if that snapshot is missing or damaged, refuse.
6. Remove the clean mark, durably, and then record the boot id: last, so that a
   generation has it only once all this was settled.
7. Throw away snapshots that the base does not name: the log still holds what they
   stand for.

Consensus then applies the log from where the state is.

A crash between any two steps of what goes on later is harmless:

*Snapshot*: copy, check, write manifest, sync, rename; then cut the log to a base
that names it; then remove the snapshot before. Before the rename there is a staged
folder (3). Before the cut there is a snapshot that nothing names (7), and the base
still names the old one, which is still there.

*Install*: stage, verify, rename; build a generation from it; reset the log to a base
that names it; rename the generation. Before the reset, as above. After it the state
is behind the base, and is rebuilt from the very same snapshot (4, 5). After the
rename there are two generations, and the newer counts (3).

*A clean stop*: sync, close, mark. Without the mark the boot id decides (4).
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from raftstate.core import queries
from raftstate.core.ports import Identity, Log, StorageError
from raftstate.core.types import MemberId, Position
from raftstate.storage import generations
from raftstate.storage.environment import DATA, MAP_BYTES, open_environment
from raftstate.storage.files import (
    FolderLock,
    discard,
    make_folder_durably,
    remove_tree,
    storage_errors,
)
from raftstate.storage.lmdb_state import SYNC_INTERVAL_S, EnvironmentReader, LmdbState
from raftstate.storage.logs import LogKind, create_log, open_log
from raftstate.storage.manifests import difference, position_of, read_manifest
from raftstate.storage.segments import SEGMENT_BYTES
from raftstate.storage.snapshots import LmdbSnapshots

FIRST_EPOCH = 1
_LOCK = "lock"
_LOG = "log"
_SNAPSHOTS = "snapshots"


@dataclass(eq=False, slots=True)
class Storage:
    """An open data folder. `recovered` says what the open rule decided, and `repaired`
    what was cut off the end of the log, if anything: for whoever reads along."""

    log: Log
    state: LmdbState
    snapshots: LmdbSnapshots
    recovered: str
    repaired: str
    _closing: ExitStack = field(repr=False)

    def close(self) -> None:
        """A clean stop. Harmless when done twice."""
        self._closing.close()


def open_storage(
    data_dir: Path,
    *,
    cluster_id: str,
    member_id: MemberId,
    boot_id: str,
    wake: Callable[[], None],
    log_kind: LogKind = "lmdb",
    map_bytes: int = MAP_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
    sync_interval_s: float = SYNC_INTERVAL_S,
) -> Storage:
    """Open a member's data folder, or make it, by the rule above.

    `wake` is called, on any thread, when a snapshot is ready to be polled or the state
    has failed. Raises WrongStore or StorageError, and then leaves nothing open.
    """
    opened = ExitStack()
    try:
        return _open(
            data_dir.absolute(),
            opened,
            cluster_id=cluster_id,
            member_id=member_id,
            boot_id=boot_id,
            wake=wake,
            log_kind=log_kind,
            map_bytes=map_bytes,
            segment_bytes=segment_bytes,
            sync_interval_s=sync_interval_s,
        )
    except BaseException:
        opened.close()
        raise


def _open(
    data_dir: Path,
    opened: ExitStack,
    *,
    cluster_id: str,
    member_id: MemberId,
    boot_id: str,
    wake: Callable[[], None],
    log_kind: LogKind,
    map_bytes: int,
    segment_bytes: int,
    sync_interval_s: float,
) -> Storage:
    with storage_errors(f"cannot use the data folder {data_dir}"):
        make_folder_durably(data_dir)
        lock = FolderLock(data_dir / _LOCK)
    opened.callback(lock.release)
    is_new = not (data_dir / _LOG).exists()
    if is_new:
        identity = _new_identity(data_dir, cluster_id, member_id)
        with storage_errors(f"cannot make a log in {data_dir}"):
            create_log(
                *(data_dir / _LOG, identity, log_kind),
                map_bytes=map_bytes,
                segment_bytes=segment_bytes,
            )
    log = open_log(
        *(data_dir / _LOG, log_kind),
        cluster_id=cluster_id,
        member_id=member_id,
        map_bytes=map_bytes,
        segment_bytes=segment_bytes,
    )
    opened.callback(log.close)
    with storage_errors(f"cannot settle the state in {data_dir}"):
        recovered = _settle(data_dir, log, boot_id, map_bytes)
    state = LmdbState(
        data_dir,
        boot_id=boot_id,
        wake=wake,
        map_bytes=map_bytes,
        sync_interval_s=sync_interval_s,
    )
    opened.callback(state.close)
    with storage_errors(f"cannot settle the snapshots in {data_dir}"):
        snapshots = LmdbSnapshots(
            data_dir / _SNAPSHOTS,
            state=state,
            identity=log.identity,
            named=log.base.snapshot,
            wake=wake,
        )
    opened.callback(snapshots.close)
    said = "made anew" if is_new else recovered
    return Storage(log, state, snapshots, said, log.repaired, opened)


def _new_identity(data_dir: Path, cluster_id: str, member_id: MemberId) -> Identity:
    """Whose a new folder is, if it is a new one."""
    if generations.numbers(data_dir) or any((data_dir / _SNAPSHOTS).glob("snap-*")):
        raise StorageError(
            f"{data_dir} has a state but no log: what this member voted for and"
            " acknowledged is lost, so it must not go on under its name"
        )
    return Identity(cluster_id, FIRST_EPOCH, member_id, secrets.token_hex(16))


def _settle(data_dir: Path, log: Log, boot_id: str, map_bytes: int) -> str:
    """Steps 3 to 6: afterwards the newest generation can be trusted, and says so."""
    for path in generations.leftovers(data_dir):
        remove_tree(path)
    found = generations.numbers(data_dir)
    for number in found[:-1]:
        discard(generations.folder_of(data_dir, number))
    if not found:
        return "no state was found: " + _rebuild(data_dir, log, boot_id, 1)
    folder = generations.folder_of(data_dir, found[-1])
    fault = _fault(folder, log, boot_id, map_bytes)
    if fault is not None:
        rebuilt = _rebuild(data_dir, log, boot_id, found[-1] + 1)
        discard(folder)
        return f"{fault}: {rebuilt}"
    how = "after a clean stop" if generations.is_clean(folder) else "after the process ended"
    generations.unmark_clean(folder)
    generations.record_boot(folder, boot_id)
    return f"kept {folder.name} {how}"


def _fault(folder: Path, log: Log, boot_id: str, map_bytes: int) -> str | None:
    """Why a generation must not be used, or None."""
    if not generations.is_clean(folder) and not generations.is_of_boot(folder, boot_id):
        return "the machine went down, or the disk failed, while the state was open"
    try:
        applied = _applied(folder, map_bytes)
    except (StorageError, struct.error) as error:
        return f"the state is damaged ({error})"
    base, last = log.base.position, log.last
    if not base.index <= applied.index <= last.index:
        return (
            f"the state is at {applied.index}, the log goes from {base.index} to {last.index}"
        )
    if log.term_at(applied.index) != applied.term:
        return (
            f"the state is at {applied.index} of term {applied.term},"
            f" where the log has term {log.term_at(applied.index)}"
        )
    return None


def _applied(folder: Path, map_bytes: int) -> Position:
    if not (folder / DATA).exists():
        raise StorageError(f"{folder / DATA} is missing")
    env = open_environment(folder, map_bytes=map_bytes, readonly=True)
    try:
        with env.begin() as txn:
            return queries.applied(EnvironmentReader(txn))
    finally:
        env.close()


def _rebuild(data_dir: Path, log: Log, boot_id: str, number: int) -> str:
    """A new generation from what the base names. Its boot id is in it when it appears."""
    base = log.base
    image: Path | None = None
    if base.snapshot:
        image = _trusted_image(data_dir / _SNAPSHOTS / base.snapshot, log)
    building = generations.build(data_dir, "rebuilt", boot_id, image)
    folder = generations.publish(data_dir, building, number)
    return f"{folder.name} begins with {base.snapshot or 'the empty state'}"


def _trusted_image(folder: Path, log: Log) -> Path:
    """The image of the snapshot that the base names, byte for byte what it was when it
    was checked. Without it there is no way to go on."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise StorageError(
            f"the log begins at {log.base.position.index}, and the snapshot that holds the"
            f" state there is missing: {folder}"
        )
    index, term = position_of(manifest)
    if index < log.base.position.index or log.term_at(index) != term:
        raise StorageError(f"{folder} is of entry {index}, term {term}: not one of the log")
    if fault := difference(folder, manifest):
        raise StorageError(f"the snapshot {folder} is damaged: {fault}")
    return folder / DATA
