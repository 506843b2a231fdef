"""Reading everything that a data folder holds, and comparing it with what it must be.

Three parts, each checked while another process may be writing to it:

log         every record has its checksum, and entries follow each other from the base on
state       every record has its checksum, and all pairs together come to the state hash
snapshots   every file has the digest that its manifest says

The hash is a sum over one state, so it needs one view of it; and a view that lasts makes
LMDB's file grow, for pages that are free by now cannot be used again. So the state is read
faster than the rest, and the file's growth is watched: beyond a half of it the view is
given up, the rest is read in short ones for its checksums alone, and the hash is left to a
later pass. A state that is written so fast is compacted often, and each snapshot's hash is
compared as well.

This is for a process of its own (see `scrub`): what LMDB reads from a damaged page may
take the process down, and nobody else has to wait for an interpreter that is busy.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import lmdb
from lmdb.verify import VerifyError, verify

from raftstate.core import hashing, keys, queries
from raftstate.core.ports import Damage
from raftstate.storage import generations, logs
from raftstate.storage.environment import DATA, MAP_BYTES, failure, open_environment
from raftstate.storage.files import DIGEST_BYTES
from raftstate.storage.lmdb_state import EnvironmentReader
from raftstate.storage.manifests import is_name, read_manifest
from raftstate.storage.records import unseal

_SLICE_BYTES = 256 << 10
_GROWTH_MIN_BYTES = 64 << 20
_HURRY = 4
_AHEAD_S, _BEHIND_S = 0.01, 1.0


class Pace:
    """Counts what was read, and holds back whoever reads too fast.

    Ends the process when its parent has ended: nobody would hear what it finds.
    """

    def __init__(
        self, bytes_per_s: float, told: Callable[[int], None], parent: int | None = None
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._told = told
        self._parent = os.getppid() if parent is None else parent
        self._due = time.monotonic()

    def took(self, size: int, hurry: int = 1) -> None:
        """Note that so many bytes were read, in a hurry if a view is held meanwhile."""
        self._told(size)
        if os.getppid() != self._parent:
            sys.exit(f"process {self._parent} has ended")
        now = time.monotonic()
        # What it could not keep up with it does not make up for.
        self._due = max(self._due, now) if self._due < now - _BEHIND_S else self._due
        self._due += size / (self._bytes_per_s * hurry)
        if self._due - now > _AHEAD_S:
            time.sleep(self._due - now)


def check_log(folder: Path, pace: Pace) -> None:
    """Read every record of the log. Raises Damage."""
    for size in logs.check_slices(folder):
        pace.took(size)


def check_state(data_dir: Path, pace: Pace) -> bool:
    """Read every record of the newest state; say whether its hash was compared.

    Raises Damage."""
    numbers = generations.numbers(data_dir)
    if not numbers:
        return False
    folder = generations.folder_of(data_dir, numbers[-1])
    with _reading_state(folder) as env:
        following = _compare_hash(env, pace)
        if following is None:
            return True
        while following is not None:
            with env.begin() as txn:
                size, _, following = _slice(txn, following)
            pace.took(size)
    return False


def check_snapshots(folder: Path, pace: Pace) -> None:
    """Compare every durable snapshot with its manifest. Raises Damage, and OSError."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_name(path.name):
            try:
                _check_snapshot(path, pace)
            except FileNotFoundError as error:
                # A newer one may have taken its place; half of one may not be left.
                if path.exists():
                    raise Damage(f"the snapshot {path} is damaged: {error}") from error


def check_structure(file: Path) -> None:
    """Walk the pages of an LMDB file that nobody writes to. Raises Damage."""
    try:
        # Published without types for this module.
        problems = verify(str(file), subdir=False)  # type: ignore[no-untyped-call]
    except VerifyError as error:
        raise Damage(f"{file} is damaged: {error}") from error
    if problems:
        raise Damage(f"{file} has {len(problems)} faults, the first: {problems[0]}")


# --- the state -------------------------------------------------------------------


@contextmanager
def _reading_state(folder: Path) -> Iterator[lmdb.Environment]:
    env = open_environment(folder, map_bytes=MAP_BYTES, readonly=True, shared=True)
    try:
        yield env
    except lmdb.Error as error:
        raise failure(f"cannot read the state {folder}", error) from error
    except Damage as error:
        raise Damage(f"the state {folder}: {error}") from error
    except struct.error as error:
        raise Damage(f"the state {folder}: a record makes no sense: {error}") from error
    finally:
        env.close()


def _compare_hash(env: lmdb.Environment, pace: Pace) -> bytes | None:
    """Read the state in one view; None if all was read, and the key to go on from if the
    file grew too much meanwhile."""
    page_bytes = env.stat()["psize"]
    pages = env.info()["last_pgno"]
    grown_max = max(pages // 2, _GROWTH_MIN_BYTES // page_bytes)
    following: bytes | None = b""
    total = 0
    with env.begin() as txn:
        kept = queries.state_hash(EnvironmentReader(txn))
        while following is not None:
            size, added, following = _slice(txn, following)
            total += added
            pace.took(size, hurry=_HURRY)
            if env.info()["last_pgno"] - pages > grown_max:
                return following
    counted = hashing.digest(total)
    if counted != kept:
        raise Damage(f"the state hash is {counted.hex()}, kept was {kept.hex()}")
    return None


def _slice(txn: lmdb.Transaction[bytes], first: bytes) -> tuple[int, int, bytes | None]:
    """Read some pairs: their bytes, what they add to the hash, and the key after them."""
    size = total = 0
    with txn.cursor() as cursor:
        if not (cursor.set_range(first) if first else cursor.first()):
            return 0, 0, None
        for key, stored in cursor:
            if size >= _SLICE_BYTES:
                return size, total, key
            value = unseal(key, stored)
            if key not in keys.UNHASHED:
                total += hashing.pair_hash(key, value)
            size += len(key) + len(stored)
    return size, total, None


# --- snapshots ---------------------------------------------------------------------


def _check_snapshot(folder: Path, pace: Pace) -> None:
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder} has no manifest")
    digest, size = blake2b(digest_size=DIGEST_BYTES), 0
    with (folder / DATA).open("rb") as file:
        while piece := file.read(_SLICE_BYTES):
            digest.update(piece)
            size += len(piece)
            pace.took(len(piece))
    if size != manifest.size_bytes:
        raise Damage(f"the snapshot {folder} has {size} bytes, not {manifest.size_bytes}")
    if digest.digest() != manifest.digest:
        raise Damage(f"the snapshot {folder} is damaged: its digest differs")
