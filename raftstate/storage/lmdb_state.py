"""The state: an LMDB environment that is fast because it may be lost.

It is a cache of snapshot and log. The log commits first and is durable, so the
state is never ahead of it, and commits here skip fsync: some 7 microseconds where
a durable one takes 320. What makes that safe is the rule in `generations`.

A thread beside syncs the file at a bounded interval, so that an error of the disk
is noticed soon. After one the file's pages are unknown: the generation is marked
as not to be opened again, and the next commit raises.

Views are short read transactions, on any thread. A generation that was replaced
stays open until its last view ends, and is closed and removed by the thread beside.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import lmdb

from raftstate.core.ports import Damage, Reader, StorageError, Store
from raftstate.storage import generations
from raftstate.storage.environment import MAP_BYTES, failure, is_full, open_environment
from raftstate.storage.files import discard, storage_errors
from raftstate.storage.records import seal, unseal
from raftstate.storage.space import Use

READERS_MAX = 1024
SYNC_INTERVAL_S = 1.0
_READER_CHECK_S = 60.0
_CLOSE_TIMEOUT_S = 30.0

_Txn: TypeAlias = "lmdb.Transaction[bytes]"


class EnvironmentReader:
    """A `ports.Reader` over one transaction."""

    __slots__ = ("_txn",)

    def __init__(self, txn: _Txn) -> None:
        self._txn = txn

    def get(self, key: bytes) -> bytes | None:
        try:
            stored = self._txn.get(key)
        except lmdb.Error as error:
            raise failure("cannot read the state", error) from error
        return None if stored is None else unseal(key, stored)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._txn.cursor() as cursor:
                if not cursor.set_range(start):
                    return
                for key, stored in cursor:
                    if key >= stop:
                        return
                    yield key, unseal(key, stored)
        except lmdb.Error as error:
            raise failure("cannot read the state", error) from error

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._txn.cursor() as cursor:
                found = cursor.prev() if cursor.set_range(stop) else cursor.last()
                if not found:
                    return
                for key, stored in cursor.iterprev():
                    if key < start:
                        return
                    yield key, unseal(key, stored)
        except lmdb.Error as error:
            raise failure("cannot read the state", error) from error


@contextmanager
def _lmdb_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        raise failure(doing, error) from error


@dataclass(eq=False, slots=True)
class _Generation:
    """An open generation. `users` counts views and pins; its lock is the state's."""

    number: int
    folder: Path
    env: lmdb.Environment
    users: int = 0


class Pin:
    """The state as it was at one commit, held for a copy by another thread."""

    def __init__(self, env: lmdb.Environment, txn: _Txn, release: Callable[[], None]) -> None:
        self._env = env
        self._txn = txn
        self._release = release

    def copy(self, folder: Path) -> None:
        """Write a compact copy into an empty folder. Not yet durable."""
        with _lmdb_errors(f"cannot copy the state to {folder}"):
            self._env.copy(str(folder), compact=True, txn=self._txn)

    def release(self) -> None:
        """Let the state go on without it. To be done exactly once."""
        self._txn.abort()
        self._release()


class LmdbState:
    """A `ports.State` over the newest generation in a data folder."""

    def __init__(
        self,
        data_dir: Path,
        *,
        boot_id: str,
        wake: Callable[[], None] = lambda: None,
        on_damage: Callable[[Damage], None] = lambda _damage: None,
        map_bytes: int = MAP_BYTES,
        sync_interval_s: float = SYNC_INTERVAL_S,
    ) -> None:
        """Open the newest generation, which must be settled (see `open`).

        `on_damage` is called when a view meets damage, on the view's thread."""
        self._data_dir = data_dir
        self._boot_id = boot_id
        self._wake = wake
        self._on_damage = on_damage
        self._map_bytes = map_bytes
        self._sync_interval_s = sync_interval_s
        self._txn: _Txn | None = None
        # Reads what `_txn` has changed too; there while that is.
        self._ahead: EnvironmentReader | None = None
        self._writer = 0
        self._failed: str | None = None
        self._unsynced = False
        self._changed = threading.Condition()
        self._stopping = False
        self._retired: list[_Generation] = []
        self._live = self._open(generations.numbers(data_dir)[-1])
        self._store = _LiveStore(self)
        self._keeper = threading.Thread(target=self._keep, name="state-keeper", daemon=True)
        self._keeper.start()

    # --- the raft thread's half ----------------------------------------------

    @property
    def store(self) -> Store:
        return self._store

    @property
    def boot_id(self) -> str:
        """The boot id that new generations are built with."""
        return self._boot_id

    @property
    def size_bytes(self) -> int:
        """Bytes of the pages in use: about what a compact copy takes."""
        with _lmdb_errors("cannot read the state"):
            stat = self._live.env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * stat["psize"]

    def use(self) -> Use:
        """What it takes of its map, and how much it can write before its file grows."""
        with _lmdb_errors("cannot read the state"):
            pages, page_bytes = (
                self._live.env.info()["last_pgno"],
                self._live.env.stat()["psize"],
            )
        used = self.size_bytes
        # Not every free page can be used again at once: count half of them.
        return Use(self._map_bytes, used, max((pages + 1) * page_bytes - used, 0) // 2)

    def forget_dead_readers(self) -> None:
        """Give up the views of processes that have died. Any thread."""
        generation = self._enter()
        try:
            with _lmdb_errors("cannot check the readers of the state"):
                generation.env.reader_check()
        finally:
            self._leave(generation)

    def commit(self) -> None:
        self._check()
        txn = self._txn
        if txn is None:
            return
        assert threading.get_ident() == self._writer, "LMDB's write lock belongs to a thread"
        self._txn = self._ahead = None
        try:
            txn.commit()
        except lmdb.Error as error:
            raise self._broken(error) from error
        self._unsynced = True

    def pin(self) -> Pin:
        """Hold the last committed state for a copy."""
        generation = self._enter()
        try:
            with _lmdb_errors("cannot read the state"):
                txn = generation.env.begin()
        except BaseException:
            self._leave(generation)
            raise
        return Pin(generation.env, txn, lambda: self._leave(generation))

    def replace(self, building: Path) -> None:
        """Go over to a generation that was built. Uncommitted changes are gone."""
        self._check()
        self._abort()
        number = self._live.number + 1
        with storage_errors(f"cannot replace the state by {building}"):
            generations.publish(self._data_dir, building, number)
        successor = self._open(number)
        with self._changed:
            self._retired.append(self._live)
            self._live = successor
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
            self._changed.notify_all()
        self._keeper.join()
        self._abort()
        self._await_users()
        self._finish()

    def _looking(self) -> _Txn:
        """A transaction to read in while there are no changes.

        LMDB's write lock belongs to the thread that takes it, and a look must not tie the
        state to the looker.
        """
        self._check()
        return self._live.env.begin()

    def _writing(self) -> _Txn:
        """The tick's write transaction, begun at the first change."""
        if self._txn is None:
            self._check()
            self._writer = threading.get_ident()
            self._txn = self._live.env.begin(write=True)
            self._ahead = EnvironmentReader(self._txn)
        return self._txn

    # --- any thread ----------------------------------------------------------

    @contextmanager
    def view(self) -> Iterator[Reader]:
        generation = self._enter()
        try:
            with _lmdb_errors("cannot read the state"):
                txn = generation.env.begin()
            with txn:
                yield EnvironmentReader(txn)
        except Damage as damage:
            self._on_damage(damage)
            raise
        finally:
            self._leave(generation)

    def _enter(self) -> _Generation:
        with self._changed:
            if self._stopping:
                raise StorageError("the state was closed")
            self._live.users += 1
            return self._live

    def _leave(self, generation: _Generation) -> None:
        with self._changed:
            generation.users -= 1
            if generation.users == 0 and (self._stopping or generation is not self._live):
                self._changed.notify_all()

    # --- opening and closing -------------------------------------------------

    def _open(self, number: int) -> _Generation:
        folder = generations.folder_of(self._data_dir, number)
        env = open_environment(
            folder, map_bytes=self._map_bytes, sync=False, readers_max=READERS_MAX
        )
        with _lmdb_errors(f"cannot use {folder}"):
            env.reader_check()
        return _Generation(number, folder, env)

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageError(f"the state cannot be used: {self._failed}")
        if self._stopping:
            raise StorageError("the state was closed")

    def _abort(self) -> None:
        if self._txn is not None:
            self._txn.abort()
            self._txn = self._ahead = None

    def _broken(self, error: lmdb.Error) -> StorageError:
        """Note that writing failed, and see to it that the file is not trusted again.

        Want of room is the exception: LMDB gives up such a transaction whole, and to
        rebuild the state would take more room still.
        """
        self._failed = str(error)
        if not is_full(error):
            self._failed += _distrusted(self._live.folder)
        doing = f"cannot write to the state {self._live.folder}"
        if isinstance(failure(doing, error), Damage):
            return Damage(f"{doing}: {self._failed}")
        return StorageError(f"{doing}: {self._failed}")

    def _await_users(self) -> None:
        everyone = [self._live, *self._retired]
        with self._changed:
            idle = self._changed.wait_for(
                lambda: not any(generation.users for generation in everyone), _CLOSE_TIMEOUT_S
            )
        if not idle:
            raise StorageError(f"a view of the state was open for {_CLOSE_TIMEOUT_S:.0f} s")

    def _finish(self) -> None:
        try:
            for generation in self._retired:
                self._remove(generation)
            if self._failed is None:
                self._sync(self._live)
        finally:
            self._live.env.close()
        if self._failed is None:
            with storage_errors("cannot mark the state as clean"):
                generations.mark_clean(self._live.folder)

    @staticmethod
    def _remove(generation: _Generation) -> None:
        generation.env.close()
        with storage_errors(f"cannot remove {generation.folder}"):
            discard(generation.folder)

    # --- the thread beside ---------------------------------------------------

    def _keep(self) -> None:
        checked = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(self._has_chore, self._sync_interval_s)
                if self._stopping:
                    return
                ready = [generation for generation in self._retired if not generation.users]
                self._retired = [old for old in self._retired if old not in ready]
                self._live.users += 1
                live = self._live
            try:
                if self._unsynced and self._failed is None:
                    self._unsynced = False
                    self._sync(live)
                for generation in ready:
                    self._remove(generation)
                if time.monotonic() - checked >= _READER_CHECK_S:
                    checked = time.monotonic()
                    live.env.reader_check()
            except (StorageError, lmdb.Error) as error:
                self._failed = self._failed or str(error)
                self._wake()
            finally:
                self._leave(live)

    def _has_chore(self) -> bool:
        return self._stopping or any(not generation.users for generation in self._retired)

    def _sync(self, generation: _Generation) -> None:
        try:
            self._sync_environment(generation.env)
        except lmdb.Error as error:
            # What the kernel could not write it may have thrown away.
            self._failed = f"cannot sync: {error}{_distrusted(generation.folder)}"
            raise StorageError(self._failed) from error

    @staticmethod
    def _sync_environment(env: lmdb.Environment) -> None:
        """The one call that a test of a failing disk replaces."""
        env.sync(True)


def _distrusted(folder: Path) -> str:
    """Distrust a generation; say what is to be added to the message if even that fails."""
    try:
        generations.distrust(folder)
    except OSError as error:
        return f"; remove {folder} by hand, for it could not be marked as lost: {error}"
    return ""


class _LiveStore:
    """A `ports.Store` on the generation that is live: one half of `LmdbState`."""

    __slots__ = ("_state",)

    def __init__(self, state: LmdbState) -> None:
        self._state = state

    def get(self, key: bytes) -> bytes | None:
        # Apply does little else, so the usual case takes no detour.
        reader = self._state._ahead
        if reader is not None:
            return reader.get(key)
        with self._state._looking() as txn:
            return EnvironmentReader(txn).get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        reader = self._state._ahead
        return self._scan(start, stop) if reader is None else reader.scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        reader = self._state._ahead
        return self._scan_back(start, stop) if reader is None else reader.scan_back(start, stop)

    def _scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._state._looking() as txn:
            yield from EnvironmentReader(txn).scan(start, stop)

    def _scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._state._looking() as txn:
            yield from EnvironmentReader(txn).scan_back(start, stop)

    def put(self, key: bytes, value: bytes) -> None:
        try:
            (self._state._txn or self._state._writing()).put(key, seal(key, value))
        except lmdb.Error as error:
            raise self._state._broken(error) from error

    def delete(self, key: bytes) -> bool:
        try:
            return (self._state._txn or self._state._writing()).delete(key)
        except lmdb.Error as error:
            raise self._state._broken(error) from error
