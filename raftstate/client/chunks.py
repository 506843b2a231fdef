"""Data of any size, in chunks: sent so that others are not held up, and checked.

A chunk is named by its content, so that what is stored already is not sent: not what an
earlier checkpoint of the agent had at the same place, and not what an upload that was
broken off had sent. Chunks are cut at fixed places. 128 KiB is little enough for the log
to pass one in a few milliseconds between the commits of others, of which two at a time
leave room, and enough that 512 MiB fit into the 4,096 chunks of a checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from raftstate.client import reading
from raftstate.client.engine import Engine
from raftstate.client.reading import Way
from raftstate.client.routing import Peer
from raftstate.errors import Corrupt, InvalidRequest, NoQuorum
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    GetCheckpointRequest,
    MissingChunksRequest,
    PutChunkRequest,
)

# The servers' limits.
CHUNK_BYTES_MAX: Final = 1 << 20
CHUNKS_MAX: Final = 4_096
# A download that breaks so often is given up.
_BREAKS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """How checkpoints are cut: data above `above` bytes (at most 1 MiB), into chunks of
    `chunk_bytes` (1 KiB to 1 MiB), of which `in_flight` (1 to 64) are on their way at once.
    Raises InvalidRequest (definite) for what is outside of these.

    >>> small = raftstate.Cut(above=64 << 10, chunk_bytes=32 << 10)
    >>> async with store.own("cut/small", cut=small) as agent:
    ...     saved = await agent.checkpoint(b"x" * (80 << 10))
    >>> (await store.get_checkpoint("cut/small", saved)).chunk_count
    3
    """

    above: int = 256 << 10
    chunk_bytes: int = 128 << 10
    in_flight: int = 2

    def __post_init__(self) -> None:
        for name, low, high in (
            ("above", 0, CHUNK_BYTES_MAX),
            ("chunk_bytes", 1_024, CHUNK_BYTES_MAX),
            ("in_flight", 1, 64),
        ):
            if not low <= getattr(self, name) <= high:
                raise InvalidRequest(
                    f"{name} is {getattr(self, name)}; it may be {low} to {high}",
                    definite=True,
                    details={"field": name, "limit": f"{low} to {high}"},
                )

    def size_for(self, data_bytes: int) -> int:
        """The size of chunks: larger than asked for where there would be too many.

        Raises InvalidRequest (definite) if there are too many of any size."""
        if data_bytes > CHUNKS_MAX * CHUNK_BYTES_MAX:
            raise InvalidRequest(
                f"a checkpoint has {data_bytes} bytes; the limit is"
                f" {CHUNKS_MAX * CHUNK_BYTES_MAX}",
                definite=True,
                details={"field": "checkpoint", "size": str(data_bytes)},
            )
        return max(self.chunk_bytes, -(-data_bytes // CHUNKS_MAX))


def digest(data: bytes | memoryview) -> bytes:
    """The name of content: blake2b-32."""
    return blake2b(data, digest_size=32).digest()


# --- up ----------------------------------------------------------------------


class Upload:
    """Data on its way into the chunks of an agent."""

    def __init__(self, engine: Engine, agent_id: str, data: bytes, cut: Cut) -> None:
        self._engine = engine
        self._agent_id = agent_id
        self._data = memoryview(data)
        self._size = cut.size_for(len(data))
        self._in_flight = cut.in_flight
        self.refs: list[ChunkRef] = []
        # How many chunks had to be sent.
        self.sent: int = 0

    async def run(self, timeout: float | None) -> list[ChunkRef]:
        """Send what is not stored yet; the chunks, in order. Done again, it sends what
        has gone since. `timeout` is for each chunk.

        Raises AgentNotFound (definite), and what every mutation raises."""
        if not self.refs:
            self.refs = await asyncio.to_thread(self._cut)
        missing = await self._missing(timeout)
        work = [
            asyncio.create_task(self._send(missing, timeout)) for _ in range(self._in_flight)
        ]
        try:
            await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)
        return self.refs

    def _cut(self) -> list[ChunkRef]:
        pieces = (
            self._data[start : start + self._size]
            for start in range(0, len(self._data), self._size)
        )
        return [ChunkRef(hash=digest(piece), size_bytes=len(piece)) for piece in pieces]

    async def _missing(self, timeout: float | None) -> Iterator[int]:
        """The places of the chunks that are not stored, each content once."""
        places = {ref.hash: place for place, ref in enumerate(self.refs)}
        request = MissingChunksRequest(agent_id=self._agent_id, hashes=list(places))
        answer = await reading.read(
            self._engine,
            lambda peer: peer.checkpoints.MissingChunks,
            request,
            timeout=timeout,
        )
        every = list(places.values())
        return iter([every[place] for place in answer.missing])

    async def _send(self, missing: Iterator[int], timeout: float | None) -> None:
        for place in missing:
            start = place * self._size
            request = PutChunkRequest(
                agent_id=self._agent_id,
                data=bytes(self._data[start : start + self._size]),
                hash=self.refs[place].hash,
            )
            await self._engine.mutate("put_chunk", request, timeout)
            self.sent += 1


# --- down --------------------------------------------------------------------


class Part:
    """One checkpoint as it comes, piece by piece."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        if piece:
            self._pieces.append(piece)

    def data(self) -> bytes:
        """All of it, if it is what was written. Raises Corrupt (definite)."""
        count = self.checkpoint.chunk_count
        if count > 1:
            found = digest(b"".join(map(digest, self._pieces)))
            whole = len(self._pieces) == count
        else:
            found, whole = digest(b"".join(self._pieces)), True
        if not whole or found != self.checkpoint.content_hash:
            raise Corrupt(
                f"checkpoint {self.checkpoint.checkpoint_id} of {self.checkpoint.agent_id}"
                " is not what was written",
                definite=True,
            )
        return b"".join(self._pieces)


async def download(engine: Engine, request: GetCheckpointRequest, asked: Way) -> list[Part]:
    """A checkpoint, or the chain that it ends: full first.

    A download that breaks begins anew. Raises AgentNotFound,
    CheckpointNotFound, Compacted (definite)."""
    parts: list[Part] = []
    breaks = 0
    asked.fill(request)

    def begin(peer: Peer) -> Any:
        nonlocal breaks
        breaks += 1
        parts.clear()
        return peer.checkpoints.GetCheckpoint(request)

    answers: AsyncIterator[Any] = engine.calls.stream(
        begin, deadline=engine.deadline(asked.timeout), leads=asked.leads
    )
    async for answer in answers:
        if breaks > _BREAKS_MAX:
            raise NoQuorum(f"the download broke {_BREAKS_MAX} times", definite=True)
        asked.note(answer)
        if answer.HasField("checkpoint"):
            parts.append(Part(answer.checkpoint))
        parts[-1].add(answer.chunk)
    return parts
