"""What an operator decided about a member's log: entries that it passes over.

The decisions stand in one small file of the data folder, beside the log and not in it:
cutting the log, taking a snapshot or installing one leaves them alone, and so they still
hold when the state is rebuilt and the entries are applied again. Nothing in the file is of
one member: on every member it has to be the same.

    seal | format | index, term, digest | index, term, digest | ...
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from raftstate.core.poison import DIGEST_BYTES, entry_digest
from raftstate.core.ports import Damage, Entry, StorageError
from raftstate.core.types import Index, Term
from raftstate.storage.files import storage_errors, write_durably
from raftstate.storage.records import seal, unseal

REPAIRS = "repairs"
_KEY = REPAIRS.encode("ascii")
_FORMAT = struct.Struct(">I")
_SKIP = struct.Struct(f">QQ{DIGEST_BYTES}s")
FORMAT = 1


class Skip(NamedTuple):
    """One entry that is passed over where it would be applied."""

    index: Index  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    term: Term
    digest: bytes


def read_skips(data_dir: Path) -> list[Skip]:
    """The entries that are passed over on this member, in order.

    Raises StorageError if the record is damaged: to apply what the others passed over
    would part this member from them. Not Damage: to begin anew would not mend it.
    """
    path = data_dir / REPAIRS
    with storage_errors(f"cannot read {path}"):
        if not path.exists():
            return []
        stored = path.read_bytes()
    try:
        content = unseal(_KEY, stored, f"the record {path}")
    except Damage as damage:
        raise StorageError(f"{damage}: copy that of another member") from damage
    records = content[_FORMAT.size :]
    if content[: _FORMAT.size] != _FORMAT.pack(FORMAT) or len(records) % _SKIP.size:
        raise StorageError(f"the record {path} has another format than {FORMAT}")
    return [
        Skip(Index(index), Term(term), digest)
        for index, term, digest in _SKIP.iter_unpack(records)
    ]


def skipped(data_dir: Path) -> dict[Index, bytes]:
    """The digest of each entry that is passed over, by index."""
    return {skip.index: skip.digest for skip in read_skips(data_dir)}


def record_skip(data_dir: Path, entry: Entry) -> Skip:
    """Record, durably, that an entry is passed over. Whoever calls holds the folder's lock."""
    skip = Skip(entry.index, entry.term, entry_digest(entry))
    skips = {known.index: known for known in read_skips(data_dir)} | {skip.index: skip}
    content = _FORMAT.pack(FORMAT) + b"".join(_SKIP.pack(*skips[at]) for at in sorted(skips))
    with storage_errors(f"cannot write {data_dir / REPAIRS}"):
        write_durably(data_dir / REPAIRS, seal(_KEY, content))
    return skip
