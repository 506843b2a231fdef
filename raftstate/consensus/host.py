"""What the engine asks of the replica that it is part of."""

from __future__ import annotations

from typing import Protocol

from raftstate.core.ports import Entry
from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope, SnapshotManifest


class Host(Protocol):
    """What the engine asks of the replica that it is part of."""

    def send(self, peer: MemberId, envelope: Envelope, *, gated: bool) -> None:
        """Let a message leave, at once or after the next commit of the log."""
        ...

    def apply(self, entry: Entry) -> bool:
        """Apply one committed entry, in order of index; whether that may have taken long."""
        ...

    def installed(self, manifest: SnapshotManifest) -> None:
        """Replace the state by a snapshot that the log's base names."""
        ...

    def left_office(self) -> None:
        """This member leads no more."""
        ...

    def state_bytes(self) -> int:
        """The size of the state."""
        ...
