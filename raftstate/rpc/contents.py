"""The data of checkpoints, a chunk at a time, each checked before it is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from raftstate.core import checkpoint_queries
from raftstate.core.checkpoint_queries import Content
from raftstate.core.ports import Reader, Unavailable
from raftstate.rpc.errors import damaged, pruned
from raftstate.rpc.frontend import Frontend
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, ChunkRef
from raftstate.v1.common_pb2 import ResponseHeader


async def pieces(
    frontend: Frontend, checkpoint: Checkpoint, at: int | None, revision: int
) -> AsyncGenerator[bytes, None]:
    """A checkpoint's data in order, in pieces of at most 1 MiB, at least one; it was found
    in a view of `at`, which showed `revision`. Raises Failure: COMPACTED if it has been
    pruned since, CORRUPT if what is stored is not what was."""
    with frontend.view(at) as (reader, header):
        _demand_there(frontend, header, revision)
        content = checkpoint_queries.content(reader, checkpoint)
    if content is None:
        raise pruned(_name(checkpoint), revision)
    _demand_whole(checkpoint, content)
    if not content.chunks:
        yield content.data
    for chunk in content.chunks:
        with frontend.view() as (reader, header):
            _demand_there(frontend, header, revision)
            piece = _piece(reader, content.space, chunk, checkpoint, revision)
        yield piece


def _demand_there(frontend: Frontend, header: ResponseHeader, revision: int) -> None:
    """Raise Failure if views do not show a revision any more: the state is being made
    anew, and says nothing of what is gone."""
    if header.revision < revision:
        raise frontend.unavailable(Unavailable("NO_QUORUM", definite=True))


def _piece(
    reader: Reader, space: str, chunk: ChunkRef, checkpoint: Checkpoint, revision: int
) -> bytes:
    data = checkpoint_queries.read_chunk(reader, space, chunk.hash)
    if data is not None and checkpoint_queries.is_whole(chunk, data):
        return data
    # A chunk goes only with the last checkpoint that names it.
    if data is None and checkpoint_queries.content(reader, checkpoint) is None:
        raise pruned(_name(checkpoint), revision)
    found = b"" if data is None else checkpoint_queries.digest(data)
    raise damaged(_name(checkpoint), chunk.hash, found)


def _demand_whole(checkpoint: Checkpoint, content: Content) -> None:
    """Raise Failure if what is to be sent does not amount to the checkpoint."""
    if content.chunks:
        size = sum(chunk.size_bytes for chunk in content.chunks)
        found = checkpoint_queries.content_hash(chunk.hash for chunk in content.chunks)
    else:
        size = len(content.data)
        found = checkpoint_queries.digest(content.data)
    if (size, found) != (checkpoint.size_bytes, checkpoint.content_hash):
        raise damaged(_name(checkpoint), checkpoint.content_hash, found)


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.agent_id}#{checkpoint.checkpoint_id}"
