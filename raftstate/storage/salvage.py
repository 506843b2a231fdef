"""`python -m raftstate.storage.salvage FOLDER`: what a damaged log still says of its owner.

Whose the log is, and what its owner had voted for: two small records, each with a
checksum. They are read in a process of its own, because what reads a damaged file may
go down with it. Whatever cannot be read soundly is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError

from raftstate.core.ports import StorageError, WrongStore
from raftstate.storage import logs
from raftstate.storage.records import seal, unseal
from raftstate.v1 import disk_pb2

_PACKAGE_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 60.0


class Salvaged(NamedTuple):
    """What could be read, if anything."""

    identity: disk_pb2.DiskIdentity | None = None
    hard_state: disk_pb2.HardState | None = None


def salvage(folder: Path) -> Salvaged:
    """What the log in a folder says, read elsewhere. Never raises for what it holds."""
    try:
        found = subprocess.run(
            [sys.executable, "-m", "raftstate.storage.salvage", str(folder)],
            cwd=_PACKAGE_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Salvaged()
    if found.returncode != 0:
        return Salvaged()
    identity, hard_state = json.loads(found.stdout)
    return Salvaged(
        None if identity is None else disk_pb2.DiskIdentity.FromString(bytes.fromhex(identity)),
        None
        if hard_state is None
        else disk_pb2.HardState.FromString(bytes.fromhex(hard_state)),
    )


def read_here(folder: Path) -> Salvaged:
    """As `salvage`, in this process."""
    return Salvaged(*logs.read_owner(folder))


# --- the copy of the identity beside the log ---------------------------------------


def seal_identity(record: disk_pb2.DiskIdentity) -> bytes:
    """An identity as the file beside the log holds it."""
    return seal(b"identity", record.SerializeToString(deterministic=True))


def unseal_identity(stored: bytes) -> disk_pb2.DiskIdentity | None:
    """The identity in that file, or None if it is damaged."""
    try:
        return disk_pb2.DiskIdentity.FromString(unseal(b"identity", stored))
    except (StorageError, DecodeError):
        return None


def main(folder: Path) -> int:
    """Print what could be read, as JSON."""
    try:
        found = read_here(folder)
    except (StorageError, WrongStore, OSError):
        found = Salvaged()
    texts = [
        None if record is None else record.SerializeToString(deterministic=True).hex()
        for record in found
    ]
    print(json.dumps(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
