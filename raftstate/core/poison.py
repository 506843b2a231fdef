"""An entry that cannot be applied, and how it is recognised when it is passed over.

Apply is total, so an exception in it is a bug, and the same one on every member: each
stops at the same entry, and stops there again. The way out is to pass over that entry on
all of them. Its digest makes sure that all of them mean the same one.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from raftstate.core.ports import Entry

DIGEST_BYTES = 32
_POSITION = struct.Struct(">QQ")


class PoisonEntry(Exception):
    """A committed entry that this software cannot apply: stop the process."""

    def __init__(self, entry: Entry, error: Exception) -> None:
        super().__init__(
            f"entry {entry.index} of term {entry.term} cannot be applied: {error!r}"
            " (see 'A poison entry' in the runbook)"
        )


def entry_digest(entry: Entry) -> bytes:
    """What tells an entry from any other: its position and its bytes."""
    position = _POSITION.pack(entry.index, entry.term)
    return blake2b(position + entry.data, digest_size=DIGEST_BYTES).digest()
