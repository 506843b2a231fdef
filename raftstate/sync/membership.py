# Generated from raftstate/client/membership.py by scripts/generate. Not to be edited.

"""Changing who is in the cluster, and who leads it.

These need no session and no request id: asked again for what is so already, the cluster
answers as it did the first time. So a change is sent until it is settled, like any
other mutation, and raises

* NoQuorum, NotLeader, Overloaded (definite): nothing was proposed in time;
* Conflict (definite): another change was under way all the time;
* OutcomeUnknown (indefinite): it may have happened, or may yet. Ask `members`.
"""

from __future__ import annotations

from typing import cast

from raftstate.client import membership as face
from raftstate.sync.running import Face
from raftstate.v1.cluster_service_pb2 import Member


class Membership(Face, of=face.Membership):
    """The half of a `Store` that operators use.

    A change of membership raises, beside what its own line names:

    * NoQuorum, NotLeader, Overloaded (definite): nothing was proposed in time;
    * Conflict (definite): another change was under way all the time;
    * OutcomeUnknown (indefinite): it may have happened, or may yet. Ask `members`;
    * ClusterMismatch (indefinite): another cluster answered;
    * Closed (definite): the store was closed, or belongs to another process."""

    @property
    def _it(self) -> face.Membership:
        return cast(face.Membership, self._object)

    def members(self, *, stale: bool = False, timeout: float | None = None) -> list[Member]:
        """Everybody in the cluster, in order of id; with `stale`, as any member knows it.
        Raises NoQuorum (definite) if nobody answers in time.

        >>> [(member.member_id, member.learner) for member in store.members()]
        [('n1', False), ('n2', False), ('n3', False)]
        """
        return self._do(self._it.members(stale=stale, timeout=timeout))

    def add_member(
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

        >>> known = (store.members())[0]
        >>> members = store.add_member(
        ...     known.member_id,
        ...     raft_address=known.raft_address,
        ...     client_address=known.client_address,
        ... )
        >>> [member.member_id for member in members]
        ['n1', 'n2', 'n3']
        """
        return self._do(
            self._it.add_member(
                member_id,
                raft_address=raft_address,
                client_address=client_address,
                timeout=timeout,
            )
        )

    def promote_member(self, member_id: str, *, timeout: float | None = None) -> list[Member]:
        """Make a learner a voter; the answer is who is in the cluster then. To promote a
        voter is harmless. Raises NotCaughtUp while it lacks too much of the log, Unhealthy,
        MemberNotFound, InvalidRequest (definite), and what every change of membership does:
        see `Membership`.

        >>> members = store.promote_member("n1")
        >>> [member.member_id for member in members if not member.learner]
        ['n1', 'n2', 'n3']
        """
        return self._do(self._it.promote_member(member_id, timeout=timeout))

    def remove_member(self, member_id: str, *, timeout: float | None = None) -> list[Member]:
        """Take a member out, the leader itself too; the answer is who is in the cluster
        then. Its process ends by itself when it hears of it. To remove what is no member is
        harmless. Raises LastVoter, Unhealthy if too few of the others answer,
        InvalidRequest (definite), and what every change of membership does: see
        `Membership`.

        >>> members = store.remove_member("n9")
        >>> [member.member_id for member in members]
        ['n1', 'n2', 'n3']
        """
        return self._do(self._it.remove_member(member_id, timeout=timeout))

    def transfer_leadership(self, to: str = "", *, timeout: float | None = None) -> str:
        """Let another voter lead, the most advanced one if none is named; the answer is who
        leads then. Raises MemberNotFound, InvalidRequest (definite), and what every change
        of membership does: see `Membership`.

        Asked a second time, whoever leads by then would have to go: so after an attempt
        that was not answered there is no other, and it is OutcomeUnknown.

        >>> leader = store.transfer_leadership()
        >>> leader in [member.member_id for member in store.members()]
        True
        """
        return self._do(self._it.transfer_leadership(to, timeout=timeout))
