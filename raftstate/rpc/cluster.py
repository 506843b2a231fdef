"""ClusterService: how the answering member sees the cluster, and who is in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Any

from raftstate.core import limits, queries
from raftstate.core.ports import (
    Answer,
    ChangeKind,
    ChangeRefused,
    LeadershipTransferred,
    MemberChange,
    Unavailable,
)
from raftstate.core.types import MemberId
from raftstate.rpc.errors import change_refused, invalid_field
from raftstate.rpc.frontend import Frontend
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    AddMemberResponse,
    Alarm,
    GetLimitsRequest,
    GetLimitsResponse,
    Limit,
    ListMembersRequest,
    ListMembersResponse,
    Member,
    PromoteMemberRequest,
    PromoteMemberResponse,
    RemoveMemberRequest,
    RemoveMemberResponse,
    Role,
    StatusRequest,
    StatusResponse,
    TransferLeadershipRequest,
    TransferLeadershipResponse,
)
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceServicer
from raftstate.v1.common_pb2 import ResponseHeader
from raftstate.v1.membership_pb2 import Configuration

_ROLES = {
    "follower": Role.ROLE_FOLLOWER,
    "candidate": Role.ROLE_CANDIDATE,
    "leader": Role.ROLE_LEADER,
}


class Cluster(ClusterServiceServicer):
    """What operators and clients ask of the cluster as a whole."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._began = time.monotonic()
        self._version = software_version()

    async def Status(self, request: StatusRequest, context: Any) -> StatusResponse:
        self._frontend.validate(request)
        status = self._frontend.consensus.status()
        return StatusResponse(
            header=self._frontend.status_header(),
            role=_ROLES[status.role],
            leader_id=status.leader or "",
            leader_address=self._frontend.client_addresses().get(status.leader or "", ""),
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            first_index=status.first_index,
            last_index=status.last_index,
            log_bytes=status.log_bytes,
            state_bytes=status.state_bytes,
            state_hash=status.state_hash,
            members=self._frontend.members(status.configuration),
            alarms=[Alarm(name=name, message=text) for name, text in status.alarms],
            ready=status.ready,
            snapshots_taken=status.snapshots_taken,
            snapshots_installed=status.snapshots_installed,
            elections_started=status.elections_started,
            version=self._version,
            uptime_ms=int((time.monotonic() - self._began) * 1_000),
            wall_time_ms=time.time_ns() // 1_000_000,
            state_found=self._frontend.state_found,
        )

    async def GetLimits(self, request: GetLimitsRequest, context: Any) -> GetLimitsResponse:
        self._frontend.validate(request)
        return GetLimitsResponse(
            header=self._frontend.status_header(),
            limits=[Limit(name=name, value=value) for name, value in limits.TOLD.items()],
        )

    async def ListMembers(
        self, request: ListMembersRequest, context: Any
    ) -> ListMembersResponse:
        self._frontend.check(request)
        await self._frontend.read_point(request.consistency)
        with self._frontend.view() as (reader, header):
            configuration = queries.configuration(reader) or Configuration()
        return ListMembersResponse(
            header=header,
            members=self._frontend.members(configuration),
            configuration_index=configuration.index,
        )

    async def AddMember(self, request: AddMemberRequest, context: Any) -> AddMemberResponse:
        self._frontend.check(request)
        self._demand_own_addresses(request)
        change = MemberChange(
            ChangeKind.ADD,
            MemberId(request.member_id),
            request.raft_address,
            request.client_address,
        )
        header, members = await self._change(change)
        return AddMemberResponse(header=header, members=members)

    async def PromoteMember(
        self, request: PromoteMemberRequest, context: Any
    ) -> PromoteMemberResponse:
        self._frontend.check(request)
        change = MemberChange(ChangeKind.PROMOTE, MemberId(request.member_id))
        header, members = await self._change(change)
        return PromoteMemberResponse(header=header, members=members)

    async def RemoveMember(
        self, request: RemoveMemberRequest, context: Any
    ) -> RemoveMemberResponse:
        self._frontend.check(request)
        change = MemberChange(ChangeKind.REMOVE, MemberId(request.member_id))
        header, members = await self._change(change)
        return RemoveMemberResponse(header=header, members=members)

    async def TransferLeadership(
        self, request: TransferLeadershipRequest, context: Any
    ) -> TransferLeadershipResponse:
        self._frontend.check(request)
        to = MemberId(request.to_member_id) if request.to_member_id else None
        answer = await self._ask(
            partial(self._frontend.consensus.transfer_leadership, to), request.to_member_id
        )
        if not isinstance(answer, LeadershipTransferred):
            raise TypeError(f"a transfer was answered with {answer!r}")
        return TransferLeadershipResponse(
            header=self._frontend.status_header(), leader_id=answer.leader
        )

    async def _change(self, change: MemberChange) -> tuple[ResponseHeader, list[Member]]:
        """Carry out a change of membership: who is in the cluster then."""
        answer = await self._ask(
            partial(self._frontend.consensus.change_members, change), change.member_id
        )
        if not isinstance(answer, Configuration):
            raise TypeError(f"a change of membership was answered with {answer!r}")
        revision = self._frontend.consensus.status().revision
        return self._frontend.header(revision, answer.index), self._frontend.members(answer)

    async def _ask(self, send: Callable[[object], None], subject: str) -> Answer:
        """An answer that is no refusal; raises Failure."""
        answer = await self._frontend.ask(send)
        if isinstance(answer, Unavailable):
            raise self._frontend.unavailable(answer)
        if isinstance(answer, ChangeRefused):
            raise change_refused(answer, subject)
        return answer

    def _demand_own_addresses(self, request: AddMemberRequest) -> None:
        """Two members at one address are a slip of somebody's fingers. Only a leader knows
        who is a member now."""
        status = self._frontend.consensus.status()
        if status.role != "leader":
            return
        for one in self._frontend.members(status.configuration):
            for name in ("raft_address", "client_address"):
                same = getattr(one, name) == getattr(request, name)
                if same and one.member_id != request.member_id:
                    words = f"is that of member {one.member_id}"
                    raise invalid_field(name, words, "an address of its own")


def software_version() -> str:
    """The version of the installed package; a tree that is not installed has none."""
    try:
        return metadata.version("raftstate")
    except metadata.PackageNotFoundError:
        return "0+unknown"
