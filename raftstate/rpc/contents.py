"""The data of checkpoints, a chunk at a time, each checked before it is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from raftstate.core import checkpoint_queries
from raftstate.core.checkpoint_queries import Content
from raftstate.core.ports import Reader
from raftstate.rpc.errors import Failure, corrupt, pruned
from raftstate.rpc.frontend import Frontend
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, ChunkRef


async def pieces(
    frontend: Frontend, checkpoint: Checkpoint, at: int | None, revision: int
) -> AsyncGenerator[bytes, None]:
    """A checkpoint's data in order, in pieces of at most 1 MiB, at least one; it was found
    in a view of `at`, which showed `revision`. Raises Failure: COMPACTED if it has been
    pruned since, CORRUPT if what is stored is not what was."""
    with frontend.view(at) as (reader, _):
        content = checkpoint_queries.content(reader, checkpoint)
    if content is None:
        raise pruned(_name(checkpoint), revision)
    if not _is_whole(checkpoint, content):
        raise _damaged(checkpoint)
    if not content.chunks:
        yield content.data
    for chunk in content.chunks:
        with frontend.view() as (reader, _):
            piece = _piece(reader, content.space, chunk, checkpoint, revision)
        yield piece


def _piece(
    reader: Reader, space: str, chunk: ChunkRef, checkpoint: Checkpoint, revision: int
) -> bytes:
    data = checkpoint_queries.read_chunk(reader, space, chunk.hash)
    if data is not None and checkpoint_queries.is_whole(chunk, data):
        return data
    # A chunk goes only with the last checkpoint that names it.
    if data is None and checkpoint_queries.content(reader, checkpoint) is None:
        raise pruned(_name(checkpoint), revision)
    raise _damaged(checkpoint)


def _is_whole(checkpoint: Checkpoint, content: Content) -> bool:
    """Whether what is to be sent amounts to the checkpoint."""
    if content.chunks:
        size = sum(chunk.size_bytes for chunk in content.chunks)
        found = checkpoint_queries.content_hash(chunk.hash for chunk in content.chunks)
    else:
        size = len(content.data)
        found = checkpoint_queries.digest(content.data)
    return (size, found) == (checkpoint.size_bytes, checkpoint.content_hash)


def _damaged(checkpoint: Checkpoint) -> Failure:
    message = f"the data of checkpoint {_name(checkpoint)} is not what was saved"
    return corrupt(message, definite=False)


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.agent_id}#{checkpoint.checkpoint_id}"
