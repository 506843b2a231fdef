"""Whom a member listens to, and whom it tells to go.

A sender need not be in the configuration in force here, which may be an old one: a member
that was away accepts a leader that joined meanwhile (dissertation, 4.1). But it must be of
this cluster as it was founded; and what is counted must come from the disk that the cluster
knows.
"""

from __future__ import annotations

from typing import Protocol

from raftstate.consensus.membership import Membership, folder_of
from raftstate.core.ports import Log
from raftstate.core.types import Index, MemberId
from raftstate.v1.peer_pb2 import Dismissal, Envelope

LOST_DISK_ALARM = "PEER_LOST_DISK"
REFUSED_ALARM = "PEER_REFUSED"
REFUSED_FOR_S = 60.0
LEADERS_MESSAGES = ("append_entries", "install_snapshot", "read_probe", "timeout_now")


class Gate(Protocol):
    """What admission needs of the engine."""

    now: float
    alarms: dict[str, str]
    dismissed: str

    @property
    def commit_index(self) -> Index:
        """The highest index known to be committed."""
        ...

    @property
    def in_office(self) -> bool:
        """Whether this member leads, and knows all that is committed."""
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
        self._refused_at = gate.now

    def admits(self, peer: MemberId, envelope: Envelope) -> bool:
        """Whether to obey a message at all.

        Who asks or leads may be on a disk that is not known here yet, or no member here
        yet: it has the cluster's key, and majorities that overlap do the rest. What is
        counted (votes, acknowledgements, answers to reads) must be of the known disk.
        """
        key = self._membership.cluster_key
        if envelope.cluster_key and key and envelope.cluster_key != key:
            self._gate.alarms[REFUSED_ALARM] = f"{peer} is of another cluster of this name"
            self._refused_at = self._gate.now
            return False
        if self._gate.now - self._refused_at > REFUSED_FOR_S:
            self._gate.alarms.pop(REFUSED_ALARM, None)
        if envelope.HasField("dismissal"):
            self._take(peer, envelope.dismissal)
            return False
        if not self._log.hard_state.settled or not key:
            return True
        leads = envelope.WhichOneof("message") in LEADERS_MESSAGES
        asks = envelope.HasField("request_vote")
        if not leads and self._gate.in_office:
            self._see_off(peer, envelope.disk_id, asks=asks)
        if leads or asks:
            # Everybody who may lead has had the key since the cluster was founded.
            return bool(envelope.cluster_key)
        # Without it only members answer: who joins, or begins anew.
        named = bool(envelope.cluster_key) or self._membership.names(peer)
        return named and self._membership.knows(peer, envelope.disk_id)

    def _see_off(self, peer: MemberId, disk_id: str, *, asks: bool) -> None:
        """Tell a sender to go that what is committed leaves out. Only a leader in office
        does: what is committed elsewhere may be long past."""
        committed = self._membership.committed(self._gate.commit_index)
        member = next((m for m in committed.members if m.member_id == peer), None)
        if member is None:
            if asks:
                self.dismiss(peer, disk_id, "not a member")
        elif member.disk_id and folder_of(member.disk_id) != folder_of(disk_id):
            self._gate.alarms[LOST_DISK_ALARM] = f"{peer} came back on another data folder"
            reason = "the cluster knows another data folder under this name"
            self.dismiss(peer, disk_id, reason)
        else:
            self.forget(peer)

    def wants(self, envelope: Envelope) -> bool:
        """Whether to take in anything of a sender that no configuration here names."""
        key = self._membership.cluster_key
        return not key or envelope.cluster_key == key

    def dismiss(self, peer: MemberId, disk_id: str, reason: str) -> None:
        """Tell somebody that it is not in the cluster, as far as is committed here."""
        index = self._membership.committed(self._gate.commit_index).index
        notice = Dismissal(configuration_index=index, disk_id=disk_id, reason=reason)
        self._gate.tell(peer, Envelope(dismissal=notice))

    def forget(self, member: MemberId) -> None:
        """Somebody is back on its own disk, or is no member any more."""
        if self._gate.alarms.get(LOST_DISK_ALARM, "").startswith(f"{member} "):
            del self._gate.alarms[LOST_DISK_ALARM]

    def _take(self, peer: MemberId, dismissal: Dismissal) -> None:
        """Go, unless another folder is meant, or who says so knows less than is known
        here."""
        mine = folder_of(self._log.identity.disk_id) == folder_of(dismissal.disk_id)
        if mine and dismissal.configuration_index >= self._membership.index:
            self._gate.dismissed = f"{peer} says: {dismissal.reason}"
