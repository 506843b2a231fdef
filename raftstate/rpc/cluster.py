"""ClusterService: how the answering member sees the cluster."""

from __future__ import annotations

import time
from importlib import metadata
from typing import Any

from raftstate.core.ports import NodeStatus
from raftstate.rpc.frontend import Frontend
from raftstate.v1.cluster_service_pb2 import (
    Alarm,
    Member,
    Role,
    StatusRequest,
    StatusResponse,
)
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceServicer

_ROLES = {
    "follower": Role.ROLE_FOLLOWER,
    "candidate": Role.ROLE_CANDIDATE,
    "leader": Role.ROLE_LEADER,
}


class Cluster(ClusterServiceServicer):
    """What operators and clients ask; answered with or without a leader."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._began = time.monotonic()
        self._version = software_version()

    async def Status(self, request: StatusRequest, context: Any) -> StatusResponse:
        self._frontend.check(request)
        status = self._frontend.consensus.status()
        addresses = self._frontend.addresses.client
        return StatusResponse(
            header=self._frontend.status_header(),
            role=_ROLES[status.role],
            leader_id=status.leader or "",
            leader_address=addresses.get(status.leader or "", ""),
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            first_index=status.first_index,
            last_index=status.last_index,
            log_bytes=status.log_bytes,
            state_bytes=status.state_bytes,
            state_hash=status.state_hash,
            members=self._members(status),
            alarms=[Alarm(name=name, message=text) for name, text in status.alarms],
            ready=status.ready,
            snapshots_taken=status.snapshots_taken,
            snapshots_installed=status.snapshots_installed,
            elections_started=status.elections_started,
            version=self._version,
            uptime_ms=int((time.monotonic() - self._began) * 1_000),
        )

    def _members(self, status: NodeStatus) -> list[Member]:
        """Every member in order of id; this one reaches itself, and has its own log."""
        peers = {str(peer.member_id): peer for peer in status.peers}
        members = []
        for member_id, address in sorted(self._frontend.addresses.client.items()):
            member = Member(
                member_id=member_id,
                client_address=address,
                raft_address=self._frontend.addresses.raft.get(member_id, ""),
            )
            if member_id == status.member_id:
                member.connected, member.match_index = True, status.last_index
            elif peer := peers.get(member_id):
                member.connected, member.match_index = peer.connected, peer.match_index
            members.append(member)
        return members


def software_version() -> str:
    """The version of the installed package; a tree that is not installed has none."""
    try:
        return metadata.version("raftstate")
    except metadata.PackageNotFoundError:
        return "0+unknown"
