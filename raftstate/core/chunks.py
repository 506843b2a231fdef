"""Chunks."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.checkpoint_service_pb2 import PutChunkRequest, PutChunkResponse
from raftstate.v1.store_pb2 import CollectChunks, Done, Refusal


def put_chunk(context: Context, request: PutChunkRequest) -> PutChunkResponse | Refusal:
    """To come."""
    raise NotImplementedError


def collect(context: Context, request: CollectChunks) -> Done | Refusal:
    """To come."""
    raise NotImplementedError
