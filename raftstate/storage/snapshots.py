"""Snapshots: copies of the state, taken and verified beside the raft thread.

One worker does what takes long. The raft thread starts it, hands it pieces of a
snapshot that arrives, and polls. A snapshot appears under its name by one rename,
after its bytes and its manifest are durable; see `open` for what a crash leaves.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from raftstate.core.ports import Damage, Identity, SnapshotFailed, StorageError
from raftstate.core.types import Revision, Term
from raftstate.storage import generations
from raftstate.storage.environment import DATA
from raftstate.storage.files import (
    DISCARDED,
    FILE_MODE,
    digest_of,
    discard,
    doom,
    free_bytes,
    make_folder,
    make_folder_durably,
    remove_tree,
    rename_durably,
    storage_errors,
    sync_file,
)
from raftstate.storage.images import Examiner, Found, ImageDamaged, examine
from raftstate.storage.lmdb_state import LmdbState, Pin
from raftstate.storage.manifests import (
    difference,
    is_name,
    name_of,
    position_of,
    read_manifest,
    write_manifest,
)
from raftstate.storage.scrub import STATE, Reader
from raftstate.v1.peer_pb2 import SnapshotManifest

Outcome = SnapshotManifest | SnapshotFailed

_COPIED = "copied"
_STAGED = "staged-"
# Up to here a scan is over before anybody waits for it, sooner than a process starts.
_EXAMINED_HERE_BYTES = 4 << 20


def _is_ours(name: str) -> bool:
    return is_name(name) or name.startswith((_COPIED, _STAGED, DISCARDED))


class _Staging:
    """A snapshot that is arriving: a file that grows from its beginning."""

    def __init__(self, folder: Path, manifest: SnapshotManifest) -> None:
        make_folder(folder)
        self.folder = folder
        self.manifest = manifest
        self.size = 0
        self.dropped = False
        self._file: int | None = os.open(
            folder / DATA, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE
        )

    @property
    def complete(self) -> bool:
        """Whether every byte is in."""
        return self.size == self.manifest.size_bytes

    def write(self, data: bytes) -> bool:
        """Add a piece at the end; say whether it was the last."""
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self.size += len(data)
        if self.complete:
            self.close()
        return self.complete

    def close(self) -> None:
        """Let go of the file. Harmless when done twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class LmdbSnapshots:
    """A `ports.Snapshots` over one folder. The public half is the raft thread's."""

    def __init__(
        self,
        folder: Path,
        *,
        state: LmdbState,
        identity: Identity,
        named: str,
        wake: Callable[[], None],
        room: Callable[[], int] | None = None,
    ) -> None:
        """Take over a folder: keep the snapshot that the log's base names, if any.

        `room` says how many bytes snapshots may take now; without it, all that are free."""
        self._folder = folder
        self._state = state
        self._identity = identity
        self._wake = wake
        self._room = room or partial(free_bytes, folder)
        self._lock = threading.Lock()
        self._copying = False
        self._copied: Outcome | Damage | None = None
        self._staging: _Staging | None = None
        self._stagings = 0
        self._staged: Outcome | None = None
        # A name that the worker gives is safe from `retain` until it was polled.
        self._unpolled: set[str] = set()
        self._prepared: dict[str, Path] = {}
        self._manifests: dict[str, SnapshotManifest] = {}
        self._reading: tuple[str, int] | None = None
        self._examiner = Examiner()
        self._second_reader = Reader()
        make_folder_durably(folder)
        for path in list(folder.iterdir()):
            if _is_ours(path.name) and path.name != named:
                remove_tree(path)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, name="snapshots", daemon=True)
        self._worker.start()

    # --- copies --------------------------------------------------------------

    def start_copy(self, term: Term) -> None:
        assert not self._copying, "one copy at a time"
        self._check()
        self._copying = True
        pin = self._state.pin()
        self._jobs.put(partial(self._settle_copy, pin, term))

    def poll_copy(self) -> Outcome | None:
        with self._lock:
            outcome, self._copied = self._copied, None
            if outcome is not None:
                self._copying = False
            if isinstance(outcome, Damage):
                raise outcome
            if outcome is not None:
                self._polled(outcome)
        return outcome

    # --- what there is -------------------------------------------------------

    def manifest(self, name: str) -> SnapshotManifest | None:
        if not is_name(name):
            return None
        known = self._manifests.get(name)
        if known is None:
            known = read_manifest(self._folder / name)
            if known is not None:
                self._manifests[name] = known
        return known

    def read(self, name: str, offset: int, size: int) -> bytes:
        assert is_name(name), f"{name!r} is no snapshot's name"
        with storage_errors(f"cannot read the snapshot {name}"):
            if self._reading is None or self._reading[0] != name:
                self._stop_reading()
                self._reading = name, os.open(self._folder / name / DATA, os.O_RDONLY)
            return os.pread(self._reading[1], size, offset)

    def retain(self, names: set[str]) -> None:
        with self._lock:
            kept = names | self._unpolled
        for path in list(self._folder.iterdir()):
            if is_name(path.name) and path.name not in kept:
                self._discard(path)

    # --- a snapshot that arrives ---------------------------------------------

    def stage(self, manifest: SnapshotManifest, offset: int, data: bytes) -> int:
        self._check()
        staging = self._staging
        try:
            if staging is None or staging.manifest != manifest:
                self._drop_staging()
                if fault := self._unacceptable(manifest):
                    return self._refuse(manifest, fault)
                self._stagings += 1
                folder = self._folder / f"{_STAGED}{self._stagings}"
                staging = self._staging = _Staging(folder, manifest)
            if staging.complete or offset != staging.size:
                return staging.size
            if offset + len(data) > manifest.size_bytes:
                return self._refuse(manifest, f"a piece ends at {offset + len(data)}")
            if staging.write(data):
                self._jobs.put(partial(self._settle_staging, staging))
        except OSError as error:
            return self._refuse(manifest, str(error))
        return staging.size

    def poll_staged(self) -> Outcome | None:
        with self._lock:
            outcome, self._staged = self._staged, None
            if outcome is not None:
                self._polled(outcome)
        if isinstance(outcome, SnapshotFailed):
            self._drop_staging()
        return outcome

    def adopt(self, name: str) -> None:
        assert is_name(name), f"{name!r} is no snapshot's name"
        with self._lock:
            building = self._prepared.pop(name, None)
        with storage_errors(f"cannot adopt {name}"):
            if building is None:
                building = self._prepare(name)
            self._state.replace(building)

    def close(self) -> None:
        self._examiner.stop()
        self._second_reader.stop()
        self._drop_staging()
        self._stop_reading()
        self._jobs.put(None)
        self._worker.join()

    # --- on the raft thread --------------------------------------------------

    def _check(self) -> None:
        if not self._worker.is_alive():
            raise StorageError("the snapshot worker has ended")

    def _polled(self, outcome: Outcome) -> None:
        if isinstance(outcome, SnapshotManifest):
            self._unpolled.discard(outcome.name)
            # It may have taken the place of a damaged one.
            self._manifests.pop(outcome.name, None)
            self._stop_reading()

    def _unacceptable(self, manifest: SnapshotManifest) -> str | None:
        """Why no byte of a snapshot is worth taking, or None."""
        identity = self._identity
        if manifest.name != name_of(position_of(manifest)) or not is_name(manifest.name):
            return f"its name {manifest.name!r} does not say where it stands"
        if (manifest.cluster_id, manifest.cluster_epoch) != (
            identity.cluster_id,
            identity.cluster_epoch,
        ):
            return f"it is of cluster {manifest.cluster_id!r}, epoch {manifest.cluster_epoch}"
        if manifest.size_bytes == 0:
            return "it is empty"
        # Once as the snapshot, once as the state.
        room = self._room()
        if 2 * manifest.size_bytes > room:
            return f"it has {manifest.size_bytes} bytes, and only {max(room, 0)} are free"
        return None

    def _refuse(self, manifest: SnapshotManifest, fault: str) -> int:
        self._drop_staging()
        with self._lock:
            self._staged = SnapshotFailed(f"snapshot {manifest.name} was refused: {fault}")
        return 0

    def _drop_staging(self) -> None:
        staging, self._staging = self._staging, None
        if staging is None:
            return
        staging.close()
        with self._lock:
            staging.dropped = True
        self._jobs.put(partial(remove_tree, staging.folder))

    def _stop_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def _discard(self, path: Path) -> None:
        """Take a snapshot's name away at once; its bytes go when there is time."""
        if self._reading is not None and self._reading[0] == path.name:
            self._stop_reading()
        if self._staging is not None and self._staging.manifest.name == path.name:
            # Should it be sent again after all, it is wanted from the beginning.
            self._drop_staging()
        self._manifests.pop(path.name, None)
        with self._lock:
            building = self._prepared.pop(path.name, None)
        if building is not None:
            self._jobs.put(partial(remove_tree, building))
        with storage_errors(f"cannot remove {path}"):
            doomed = doom(path)
        self._jobs.put(partial(remove_tree, doomed))

    # --- on the worker -------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _settle_copy(self, pin: Pin, term: Term) -> None:
        outcome: Outcome | Damage = SnapshotFailed("the snapshot worker failed")
        try:
            outcome = self._copy(pin, term)
        except ImageDamaged as error:
            outcome = self._blame(error)
        except Damage as error:
            outcome = error
        except (SnapshotFailed, StorageError, OSError) as error:
            outcome = SnapshotFailed(f"no snapshot was taken: {error}")
        finally:
            with self._lock:
                self._copied = outcome
            self._wake()

    def _blame(self, error: ImageDamaged) -> SnapshotFailed | Damage:
        """What is damaged where a copy is: the state, if another reader finds so too, or
        the copy alone."""
        found = self._second_reader.read(self._folder.parent, (STATE,))
        if found.fault:
            return Damage(f"{found.fault} (found by a snapshot: {error})")
        return SnapshotFailed(f"no snapshot was taken: {error}")

    def _copy(self, pin: Pin, term: Term) -> SnapshotManifest:
        staged = self._folder / _COPIED
        try:
            room, size = self._room(), self._state.size_bytes
            if size > room:
                raise SnapshotFailed(f"it takes {size} bytes, and only {max(room, 0)} are free")
            remove_tree(staged)
            make_folder(staged)
            pin.copy(staged)
        finally:
            pin.release()
        sync_file(staged / DATA)
        found = self._examine(staged)
        if found.position.term > term:
            raise SnapshotFailed(f"the copy is at {found.position}, later than term {term}")
        manifest = self._describe(staged, found)
        return self._name(staged, manifest)

    def _examine(self, folder: Path) -> Found:
        if (folder / DATA).stat().st_size <= _EXAMINED_HERE_BYTES:
            return examine(folder)
        return self._examiner.examine(folder)

    def _describe(self, folder: Path, found: Found) -> SnapshotManifest:
        index, term = found.position
        return SnapshotManifest(
            name=name_of(found.position),
            cluster_id=self._identity.cluster_id,
            cluster_epoch=self._identity.cluster_epoch,
            index=index,
            term=term,
            revision=found.revision,
            size_bytes=(folder / DATA).stat().st_size,
            digest=digest_of(folder / DATA),
            state_hash=found.state_hash,
            configuration=found.configuration,
        )

    def _name(self, staged: Path, manifest: SnapshotManifest) -> SnapshotManifest:
        """Give a verified image its name. If there is a whole one of that name, which is
        of the same state but need not be of the same bytes, that one stays."""
        target = self._folder / manifest.name
        with self._lock:
            self._unpolled.add(manifest.name)
        try:
            existing = _standing(target, manifest)
            if existing is not None:
                remove_tree(staged)
                return existing
            write_manifest(staged, manifest)
            if target.exists():
                # Damaged, so nobody could go on from it anyway.
                discard(target)
            rename_durably(staged, target)
        except (SnapshotFailed, OSError):
            with self._lock:
                self._unpolled.discard(manifest.name)
            raise
        return manifest

    def _settle_staging(self, staging: _Staging) -> None:
        outcome: Outcome = SnapshotFailed("the snapshot worker failed")
        try:
            outcome = self._verify(staging)
        except (SnapshotFailed, StorageError, OSError) as error:
            outcome = SnapshotFailed(f"snapshot {staging.manifest.name} failed: {error}")
        finally:
            with self._lock:
                if staging.dropped:
                    self._unpolled.discard(staging.manifest.name)
                else:
                    self._staged = outcome
            if isinstance(outcome, SnapshotFailed):
                remove_tree(staging.folder)
            self._wake()

    def _verify(self, staging: _Staging) -> SnapshotManifest:
        manifest = staging.manifest
        if staging.dropped:
            raise SnapshotFailed("another one was sent instead")
        sync_file(staging.folder / DATA)
        if fault := difference(staging.folder, manifest):
            raise SnapshotFailed(fault)
        found = self._examiner.examine(staging.folder)
        members = manifest.configuration if manifest.HasField("configuration") else None
        claimed = Found(
            position_of(manifest), Revision(manifest.revision), manifest.state_hash, members
        )
        if found != claimed:
            raise SnapshotFailed(f"it holds {found}, where the manifest says {claimed}")
        named = self._name(staging.folder, manifest)
        building = self._prepare(named.name)
        with self._lock:
            superseded = list(self._prepared.values())
            self._prepared = {named.name: building}
        for path in superseded:
            if path != building:
                remove_tree(path)
        return named

    def _prepare(self, name: str) -> Path:
        """Build a generation from a snapshot, so that adopting it is a rename."""
        folder = self._folder / name
        manifest = read_manifest(folder)
        if manifest is None:
            raise StorageError(f"there is no snapshot {name}")
        if fault := difference(folder, manifest):
            raise StorageError(f"the snapshot {name} is damaged: {fault}")
        return generations.build(self._folder.parent, name, self._state.boot_id, folder / DATA)


def _standing(target: Path, manifest: SnapshotManifest) -> SnapshotManifest | None:
    """The manifest of a whole snapshot of that name, if there is one.

    Raises SnapshotFailed if it is whole, and of another state."""
    try:
        existing = read_manifest(target)
    except StorageError:
        # As good as none: the one that is to take its place says all that it did.
        return None
    if existing is None or difference(target, existing) is not None:
        return None
    if existing.state_hash != manifest.state_hash:
        raise SnapshotFailed(f"{target} is of another state: this member has diverged")
    return existing
