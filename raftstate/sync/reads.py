# Generated from raftstate/client/reads.py by scripts/generate. Not to be edited.

"""What can be read of agents, sessions and members. `reading` says how: the
options.

The reads of streams, projections, checkpoints, keys and leases are beside what writes
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Unpack, cast

from raftstate.client import reads as face
from raftstate.client.reading import How
from raftstate.sync.running import Face, listed
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.cluster_service_pb2 import StatusResponse
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.session_service_pb2 import Session


class Reads(Face, of=face.Reads):
    """The reading half of a `Store`: see there for the options and errors of every
    read."""

    @property
    def _it(self) -> face.Reads:
        return cast(face.Reads, self._object)

    def get_agent(self, agent_id: str, **how: Unpack[How]) -> Agent:
        """One agent. Raises AgentNotFound (definite), and what every read does.

        >>> _ = store.create_agent("reads/get", labels={"team": "red"})
        >>> agent = store.get_agent("reads/get")
        >>> [(label.name, label.value) for label in agent.labels]
        [('team', 'red')]
        """
        return self._do(self._it.get_agent(agent_id, **how))

    def list_agents(self, prefix: str = "", **how: Unpack[How]) -> Iterator[Agent]:
        """Agents whose id begins with `prefix`, in order of id, all at one revision. Raises
        Compacted (definite) should that be forgotten meanwhile, and what every read does.

        >>> for agent_id in ("reads/list/b", "reads/list/a"):
        ...     _ = store.create_agent(agent_id)
        >>> [agent.agent_id for agent in store.list_agents("reads/list/")]
        ['reads/list/a', 'reads/list/b']
        """
        return self._running.each(self._it.list_agents(prefix, **how))

    def check_fences(
        self, fences: Iterable[tuple[str, FencingToken]], *, timeout: float | None = None
    ) -> list[bool]:
        """For each agent and token, 128 at most, in order: whether it is the owner's now.
        Advice only: a resource outside the store must keep the highest token it has seen.
        Raises what every read does.

        >>> with store.own("reads/fences") as agent:
        ...     asked = [("reads/fences", agent.token), ("reads/fences/none", agent.token)]
        ...     print(store.check_fences(asked))
        [True, False]
        >>> store.check_fences(asked)
        [False, False]
        """
        return self._do(self._it.check_fences(listed(fences), timeout=timeout))

    def check_fence(
        self, agent_id: str, token: FencingToken, *, timeout: float | None = None
    ) -> bool:
        """Whether `token` is that of the agent's owner now. See `check_fences`.

        >>> with store.own("reads/fence") as agent:
        ...     print(store.check_fence("reads/fence", agent.token))
        True
        """
        return self._do(self._it.check_fence(agent_id, token, timeout=timeout))

    def sessions(self, **how: Unpack[How]) -> Iterator[Session]:
        """The live sessions, in order of id, all at one revision. Raises Compacted
        (definite) should that be forgotten meanwhile, and what every read does.

        >>> _ = store.keys.put("reads/sessions", b"")
        >>> 10_000 in [session.ttl_ms for session in store.sessions()]
        True
        """
        return self._running.each(self._it.sessions(**how))

    def limits(self, *, timeout: float | None = None) -> dict[str, int]:
        """What requests are held to, by name (`"request.bytes"`, `"key.bytes"`), as any
        member says. Raises NoQuorum (definite) if none answers in time.

        >>> limits = store.limits()
        >>> limits["key.bytes"]
        480
        """
        return self._do(self._it.limits(timeout=timeout))

    def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> StatusResponse:
        """How one member sees the cluster: the one at `endpoint`, or any that answers.
        Raises NoQuorum (definite) if it does not answer in time.

        >>> status = store.status(endpoints.split(",")[0])
        >>> [member.member_id for member in status.members]
        ['n1', 'n2', 'n3']
        """
        return self._do(self._it.status(endpoint, timeout=timeout))
