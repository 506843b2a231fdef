"""Forks and copies."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.agent_service_pb2 import ForkAgentRequest, ForkAgentResponse
from raftstate.v1.checkpoint_service_pb2 import CopyLineageRequest, CopyLineageResponse
from raftstate.v1.store_pb2 import Refusal


def fork_agent(context: Context, request: ForkAgentRequest) -> ForkAgentResponse | Refusal:
    """To come."""
    raise NotImplementedError


def copy_lineage(
    context: Context, request: CopyLineageRequest
) -> CopyLineageResponse | Refusal:
    """To come."""
    raise NotImplementedError
