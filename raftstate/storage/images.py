"""Looking into an image of the state: where it stands, and whether it is whole.

An image that came over the network is opened in a process of its own first: LMDB
trusts its files, and on a wrong one it may end the process. That process walks the
file's structure without LMDB, then lets LMDB read every pair. A large image of our
own goes the same way, because a scan in this process would take turns with the
raft thread for as long as it lasts.
"""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from raftstate.core import hashing, queries
from raftstate.core.ports import SnapshotFailed, StorageError
from raftstate.core.types import Index, Position, Revision, Term
from raftstate.storage.environment import DATA, MAP_BYTES, open_environment
from raftstate.storage.lmdb_state import EnvironmentReader
from raftstate.v1.membership_pb2 import Configuration

_PACKAGE_ROOT = Path(__file__).parents[2]
# What a process dies of if it reads a page that makes no sense.
OF_DAMAGE = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE})
# Who reads elsewhere hangs if it takes longer than to start, and to read so slowly.
START_S = 60.0
BYTES_PER_S_MIN = 2 << 20


class ImageDamaged(SnapshotFailed):
    """What the image holds is wrong: it is not that it could not be read just now."""


class Found(NamedTuple):
    """What an image says about itself, once every pair was read."""

    position: Position
    revision: Revision
    state_hash: bytes
    configuration: Configuration | None


def examine(folder: Path) -> Found:
    """Read every pair of the image in a folder, and compare the state hash.

    Raises ImageDamaged if anything is wrong with it.
    """
    try:
        env = open_environment(folder, map_bytes=MAP_BYTES, readonly=True)
        try:
            with env.begin() as txn:
                return _examine(EnvironmentReader(txn))
        finally:
            env.close()
    except (StorageError, struct.error) as error:
        raise ImageDamaged(f"the image {folder / DATA} is damaged: {error}") from error


def _examine(reader: EnvironmentReader) -> Found:
    kept, counted = queries.state_hash(reader), hashing.full_hash(reader)
    if kept != counted:
        raise ImageDamaged(f"the state hash is {counted.hex()}, kept was {kept.hex()}")
    configuration = queries.configuration(reader)
    return Found(queries.applied(reader), queries.revision(reader), kept, configuration)


def to_text(found: Found) -> str:
    """What the process that examines prints."""
    index, term = found.position
    members = None
    if found.configuration is not None:
        members = found.configuration.SerializeToString(deterministic=True).hex()
    return json.dumps([index, term, found.revision, found.state_hash.hex(), members])


def _from_text(text: str) -> Found:
    index, term, revision, state_hash, members = json.loads(text)
    position = Position(Index(index), Term(term))
    configuration = None
    if members is not None:
        configuration = Configuration.FromString(bytes.fromhex(members))
    return Found(position, Revision(revision), bytes.fromhex(state_hash), configuration)


class Examiner:
    """Examines images in a process of its own, one at a time; can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def examine(self, folder: Path) -> Found:
        """As `examine`, elsewhere. An image that kills its reader has failed."""
        process = self._start(folder)
        limit_s = START_S + (folder / DATA).stat().st_size / BYTES_PER_S_MIN
        try:
            output, complaint = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise SnapshotFailed(f"reading {folder} took more than {limit_s:.0f} s") from None
        if process.returncode != 0:
            said = complaint.strip().rpartition("\n")[2] or "it said nothing"
            # Killed, or out of memory: that says nothing about what it read.
            damaged = process.returncode == 1 or -process.returncode in OF_DAMAGE
            raise (ImageDamaged if damaged else SnapshotFailed)(
                f"the reader of {folder} ended with status {process.returncode}: {said}"
            )
        return _from_text(output)

    def stop(self) -> None:
        """End what is under way: its `examine` raises, and so do all later ones."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def _start(self, folder: Path) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise SnapshotFailed("stopped")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "raftstate.storage.verify", str(folder)],
                # Where the package is found also when it is not installed.
                cwd=_PACKAGE_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            return self._process
