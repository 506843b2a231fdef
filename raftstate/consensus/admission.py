"""Whom a member listens to, and whom it tells to go.

A sender need not be in the configuration in force here, which may be an old one: a member
that was away accepts a leader that joined meanwhile (dissertation, 4.1). But it must be of
this cluster as it was founded, and speak from the disk that the cluster knows.
"""

from __future__ import annotations

from typing import Protocol

from raftstate.consensus.membership import Membership
from raftstate.core.ports import Log
from raftstate.core.types import Index, MemberId
from raftstate.v1.peer_pb2 import Dismissal, Envelope

LOST_DISK_ALARM = "PEER_LOST_DISK"
LEADERS_MESSAGES = ("append_entries", "install_snapshot", "read_probe", "timeout_now")


class Gate(Protocol):
    """What admission needs of the engine."""

    alarms: dict[str, str]
    dismissed: str

    @property
    def commit_index(self) -> Index:
        """The highest index known to be committed."""
        ...

    def tell(self, peer: MemberId, envelope: Envelope) -> None:
        """Send a message that claims nothing about the own disk."""
        ...


class Admission:
    """The gate of one member."""

    def __init__(self, gate: Gate, membership: Membership, log: Log) -> None:
        self._gate = gate
        self._membership = membership
        self._log = log

    def admits(self, peer: MemberId, envelope: Envelope) -> bool:
        """Whether to obey a message at all."""
        key = self._membership.cluster_key
        if envelope.cluster_key and key and envelope.cluster_key != key:
            self._gate.alarms["PEER_REFUSED"] = f"{peer} is of another cluster of this name"
            return False
        if envelope.HasField("dismissal"):
            self._take(peer, envelope.dismissal)
            return False
        if not self._log.hard_state.settled or not key:
            return True
        if not self._membership.knows(peer, envelope.disk_id):
            # A follower too: once it has told the peer to go, nobody else may hear of it.
            self._gate.alarms[LOST_DISK_ALARM] = f"{peer} came back on another data folder"
            self.dismiss(peer, "the cluster knows another data folder under this name")
            return False
        self.forget(peer)
        asks, named = envelope.HasField("request_vote"), self._membership.names(peer)
        if asks and not named:
            self.dismiss(peer, "not a member")
        # Everybody who may lead has had the key since the cluster was founded. Without it
        # only members answer: who joins, or begins anew.
        leads = envelope.WhichOneof("message") in LEADERS_MESSAGES
        return bool(envelope.cluster_key) or (named and not asks and not leads)

    def wants(self, envelope: Envelope) -> bool:
        """Whether to take in anything of a sender that no configuration here names."""
        key = self._membership.cluster_key
        return not key or envelope.cluster_key == key

    def dismiss(self, peer: MemberId, reason: str) -> None:
        """Tell somebody that it is not in the cluster, as far as is committed here."""
        index = self._membership.committed(self._gate.commit_index).index
        notice = Dismissal(configuration_index=index, reason=reason)
        self._gate.tell(peer, Envelope(dismissal=notice))

    def forget(self, member: MemberId) -> None:
        """Somebody is back on its own disk, or is no member any more."""
        if self._gate.alarms.get(LOST_DISK_ALARM, "").startswith(f"{member} "):
            del self._gate.alarms[LOST_DISK_ALARM]

    def _take(self, peer: MemberId, dismissal: Dismissal) -> None:
        """Go, unless whoever says so knows less than this member does."""
        if dismissal.configuration_index >= self._membership.index:
            self._gate.dismissed = f"{peer} says: {dismissal.reason}"
