"""What a snapshot's folder holds: the image, and a manifest that says what it must be.

A snapshot is one folder, `snap-<index>-<term>`, so one rename makes it appear
whole. The index is padded, so names sort as the positions do.
"""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.message import DecodeError

from raftstate.core.ports import StorageError
from raftstate.core.types import Index, Position, Term
from raftstate.storage.environment import DATA
from raftstate.storage.files import digest_of, write_durably
from raftstate.storage.records import seal, unseal
from raftstate.v1.peer_pb2 import SnapshotManifest

MANIFEST = "manifest"
_NAME = re.compile(r"snap-[0-9a-f]{16}-[0-9a-f]{1,16}")


def name_of(position: Position) -> str:
    """The name of a snapshot of the state at a position."""
    return f"snap-{position.index:016x}-{position.term:x}"


def is_name(name: str) -> bool:
    """Whether a name is a snapshot's: nothing else may become part of a path."""
    return _NAME.fullmatch(name) is not None


def position_of(manifest: SnapshotManifest) -> Position:
    """Where in the log the snapshot stands."""
    return Position(Index(manifest.index), Term(manifest.term))


def write_manifest(folder: Path, manifest: SnapshotManifest) -> None:
    """Put the manifest beside the image, durably."""
    record = manifest.SerializeToString(deterministic=True)
    write_durably(folder / MANIFEST, seal(manifest.name.encode(), record))


def read_manifest(folder: Path) -> SnapshotManifest | None:
    """The manifest of a snapshot, or None if there is no such snapshot.

    Raises StorageError if it is damaged."""
    try:
        stored = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read the manifest of {folder}: {error}") from error
    record = unseal(folder.name.encode(), stored, f"the manifest of {folder}")
    try:
        return SnapshotManifest.FromString(record)
    except DecodeError as error:
        raise StorageError(f"the manifest of {folder} is damaged: {error}") from error


def difference(folder: Path, manifest: SnapshotManifest) -> str | None:
    """In what the image differs from its manifest, by size and digest; None if it does not.

    Reads the file as bytes: a damaged image must never get as far as LMDB.
    """
    image = folder / DATA
    try:
        size = image.stat().st_size
        if size != manifest.size_bytes:
            return f"it has {size} bytes, not {manifest.size_bytes}"
        if digest_of(image) != manifest.digest:
            return "its digest differs"
    except FileNotFoundError:
        return "its image is missing"
    except OSError as error:
        raise StorageError(f"cannot read {image}: {error}") from error
    return None
