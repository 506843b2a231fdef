"""Changing who is in the cluster, and who leads it.

These need no session and no request id: asked again for what is so already, the cluster
answers as it did the first time. So a change is sent until it is settled, like any
other mutation, and raises

* NoQuorum, NotLeader, Overloaded (definite): nothing was proposed in time;
* Conflict (definite): another change was under way all the time;
* OutcomeUnknown (indefinite): it may have happened, or may yet. Ask `members`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from raftstate.client.engine import Engine
from raftstate.client.errors import Ledger
from raftstate.client.routing import Peer
from raftstate.errors import Conflict
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    ListMembersRequest,
    Member,
    PromoteMemberRequest,
    RemoveMemberRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE

# A leader that goes looks for a successor for two election timeouts.
_PATIENCE_S: Final = 3.0


class Membership:
    """The half of a `Store` that operators use.

    A change of membership raises, beside what its own line names:

    * NoQuorum, NotLeader, Overloaded (definite): nothing was proposed in time;
    * Conflict (definite): another change was under way all the time;
    * OutcomeUnknown (indefinite): it may have happened, or may yet. Ask `members`;
    * ClusterMismatch (indefinite): another cluster answered;
    * Closed (definite): the store was closed, or belongs to another process."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    async def members(
        self, *, stale: bool = False, timeout: float | None = None
    ) -> list[Member]:
        """Everybody in the cluster, in order of id; with `stale`, as any member knows it.
        Raises NoQuorum (definite) if nobody answers in time.

        >>> [(member.member_id, member.learner) for member in await store.members()]
        [('n1', False), ('n2', False), ('n3', False)]
        """
        consistency = CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE
        answer = await self._ask(
            lambda peer: peer.cluster.ListMembers,
            ListMembersRequest(consistency=consistency),
            timeout,
            Ledger(changes=False),
            leads=not stale,
        )
        return list(answer.members)

    async def add_member(
        self,
        member_id: str,
        *,
        raft_address: str,
        client_address: str,
        timeout: float | None = None,
    ) -> list[Member]:
        """Add a learner, which is sent the log and counts for nothing yet; the answer is
        who is in the cluster then. To add what is a member already, at these addresses, is
        harmless. Raises Conflict if it is one at other addresses, TooMany, InvalidRequest
        (definite), and what every change of membership does: see `Membership`.

        >>> known = (await store.members())[0]
        >>> members = await store.add_member(
        ...     known.member_id,
        ...     raft_address=known.raft_address,
        ...     client_address=known.client_address,
        ... )
        >>> [member.member_id for member in members]
        ['n1', 'n2', 'n3']
        """
        request = AddMemberRequest(
            member_id=member_id, raft_address=raft_address, client_address=client_address
        )
        return await self._change_members(lambda peer: peer.cluster.AddMember, request, timeout)

    async def promote_member(
        self, member_id: str, *, timeout: float | None = None
    ) -> list[Member]:
        """Make a learner a voter; the answer is who is in the cluster then. To promote a
        voter is harmless. Raises NotCaughtUp while it lacks too much of the log, Unhealthy,
        MemberNotFound, InvalidRequest (definite), and what every change of membership does:
        see `Membership`.

        >>> members = await store.promote_member("n1")
        >>> [member.member_id for member in members if not member.learner]
        ['n1', 'n2', 'n3']
        """
        request = PromoteMemberRequest(member_id=member_id)
        return await self._change_members(
            lambda peer: peer.cluster.PromoteMember, request, timeout
        )

    async def remove_member(
        self, member_id: str, *, timeout: float | None = None
    ) -> list[Member]:
        """Take a member out, the leader itself too; the answer is who is in the cluster
        then. Its process ends by itself when it hears of it. To remove what is no member is
        harmless. Raises LastVoter, Unhealthy if too few of the others answer,
        InvalidRequest (definite), and what every change of membership does: see
        `Membership`.

        >>> members = await store.remove_member("n9")
        >>> [member.member_id for member in members]
        ['n1', 'n2', 'n3']
        """
        request = RemoveMemberRequest(member_id=member_id)
        return await self._change_members(
            lambda peer: peer.cluster.RemoveMember, request, timeout
        )

    async def transfer_leadership(self, to: str = "", *, timeout: float | None = None) -> str:
        """Let another voter lead, the most advanced one if none is named; the answer is who
        leads then. Raises MemberNotFound, InvalidRequest (definite), and what every change
        of membership does: see `Membership`.

        Asked a second time, whoever leads by then would have to go: so after an attempt
        that was not answered there is no other, and it is OutcomeUnknown.

        >>> leader = await store.transfer_leadership()
        >>> leader in [member.member_id for member in await store.members()]
        True
        """
        answer = await self._ask(
            lambda peer: peer.cluster.TransferLeadership,
            TransferLeadershipRequest(to_member_id=to),
            timeout,
            Ledger(changes=True, recorded=frozenset(), once=True),
        )
        return str(answer.leader_id)

    async def _change_members(
        self, method: Callable[[Peer], Any], request: Any, timeout: float | None
    ) -> list[Member]:
        # What refuses it after an unknown attempt may be that attempt's own work.
        ledger = Ledger(changes=True, recorded=frozenset(), again=(Conflict,))
        answer = await self._ask(method, request, timeout, ledger)
        return list(answer.members)

    async def _ask(
        self,
        method: Callable[[Peer], Any],
        request: Any,
        timeout: float | None,
        ledger: Ledger,
        leads: bool = True,
    ) -> Any:
        def attempt(peer: Peer, patience: float) -> Awaitable[Any]:
            call: Awaitable[Any] = method(peer)(request, timeout=patience)
            return call

        answer = await self._engine.calls.call(
            attempt,
            deadline=self._engine.deadline(timeout),
            changes=ledger.changes,
            patience=_PATIENCE_S,
            leads=leads,
            ledger=ledger,
        )
        if hasattr(answer, "members"):
            self._engine.router.learn(one.client_address for one in answer.members)
        return answer
