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
from raftstate.sync.running import Face
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.cluster_service_pb2 import StatusResponse
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.session_service_pb2 import Session


class Reads(Face, of=face.Reads):
    """The reading half of a `Store`. Each read takes the options of `reading`."""

    @property
    def _it(self) -> face.Reads:
        return cast(face.Reads, self._object)

    def get_agent(self, agent_id: str, **how: Unpack[How]) -> Agent:
        """One agent. Raises AgentNotFound (definite)."""
        return self._do(self._it.get_agent(agent_id, **how))

    def list_agents(self, prefix: str = "", **how: Unpack[How]) -> Iterator[Agent]:
        """Agents whose id begins with `prefix`, in order of id."""
        return self._running.each(self._it.list_agents(prefix, **how))

    def check_fences(
        self, fences: Iterable[tuple[str, FencingToken]], *, timeout: float | None = None
    ) -> list[bool]:
        """For each agent and token, in order: whether it is the owner's now. Advice
        only: a resource outside the store must keep the highest token it has seen."""
        return self._do(self._it.check_fences(fences, timeout=timeout))

    def check_fence(
        self, agent_id: str, token: FencingToken, *, timeout: float | None = None
    ) -> bool:
        """Whether `token` is that of the agent's owner now. See `check_fences`."""
        return self._do(self._it.check_fence(agent_id, token, timeout=timeout))

    def sessions(self, **how: Unpack[How]) -> Iterator[Session]:
        """The live sessions, in order of id."""
        return self._running.each(self._it.sessions(**how))

    def limits(self, *, timeout: float | None = None) -> dict[str, int]:
        """What requests are held to, by name (`"request.bytes"`, `"key.bytes"`), as any
        member says."""
        return self._do(self._it.limits(timeout=timeout))

    def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> StatusResponse:
        """How one member sees the cluster: the one at `endpoint`, or any that answers."""
        return self._do(self._it.status(endpoint, timeout=timeout))
