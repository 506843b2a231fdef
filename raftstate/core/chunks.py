"""Chunks: pieces of checkpoints, named by their content, each stored once a space.

A space is an agent's, and its forks' and copies' too. A chunk's record counts how often
checkpoints name it. Since when none does stands in it, and in an index by log time from
which chunks are collected; to put a chunk again makes that time the present, so that an
upload that is gone on with does not lose what it found. A mark in the index stays when
the chunk comes to use, which is what happens to nearly all, and says nothing from then
on: whoever collects looks at the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from raftstate.core import agents, keys, limits
from raftstate.core.checkpoint_queries import chunk_space, digest
from raftstate.core.context import Context, refuse
from raftstate.core.ports import Reader
from raftstate.v1.checkpoint_service_pb2 import ChunkRef, PutChunkRequest, PutChunkResponse
from raftstate.v1.store_pb2 import ChunkRecord, CollectChunks, Done, Reason, Refusal


class _Known(NamedTuple):
    """The record of a chunk, where it is and as it was read."""

    place: bytes
    raw: bytes
    record: ChunkRecord


def put_chunk(context: Context, request: PutChunkRequest) -> PutChunkResponse | Refusal:
    """Store a chunk until a checkpoint names it. Its hash was checked with the request."""
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    space = chunk_space(agent)
    known = _load(context.store, space, request.hash)
    if known is None:
        _store(context, space, request.hash, request.data)
    elif not known.record.uses:
        since_ms = known.record.unused_since_ms
        context.store.delete(keys.unused_chunk(since_ms, space, request.hash))
        _mark(context, space, request.hash, known.record)
        _save(context, known)
    return PutChunkResponse(known=known is not None)


def collect(context: Context, request: CollectChunks) -> Done:
    """Remove some of the chunks that nobody has used since before a log time."""
    span = keys.unused_chunks(request.unused_since_ms)
    most = min(request.limit, limits.COLLECTED_CHUNKS_MAX)
    removed_bytes = 0
    for mark in [key for key, _ in islice(context.store.scan(*span), most)]:
        if removed_bytes >= limits.COLLECTED_BYTES_MAX:
            break
        context.store.delete(mark)
        since_ms, space, named = keys.unused_chunk_named(mark)
        known = _load(context.store, space, named)
        assert known is not None, f"a mark of no chunk: {mark!r}"
        record = known.record
        if not record.uses and record.unused_since_ms == since_ms:
            context.store.delete(known.place)
            context.store.delete(keys.chunk(space, named))
            removed_bytes += record.size_bytes
    return Done()


def refuse_absent(reader: Reader, space: str, wanted: Iterable[ChunkRef]) -> Refusal | None:
    """Why chunks cannot be used: the first one that is not here; None if all are."""
    for place, chunk in enumerate(wanted):
        known = _load(reader, space, chunk.hash)
        if known is None:
            message = f"chunk {chunk.hash.hex()} is not stored"
            refusal = refuse(Reason.REASON_CHUNK_MISSING, message)
            refusal.chunk_hash = chunk.hash
            return refusal
        if known.record.size_bytes != chunk.size_bytes:
            message = f"chunk {chunk.hash.hex()} has {known.record.size_bytes} bytes"
            field = f"checkpoint.chunks[{place}].size_bytes"
            return refuse(Reason.REASON_INVALID_REQUEST, message, field=field)
    return None


def cut(context: Context, space: str, data: bytes) -> list[ChunkRef]:
    """Data that is no checkpoint's yet, as chunks that are stored."""
    named = digest(data)
    if _load(context.store, space, named) is None:
        _store(context, space, named, data)
    return [ChunkRef(hash=named, size_bytes=len(data))]


def use(context: Context, space: str, chunks: Iterable[ChunkRef]) -> None:
    """Count that chunks, which are here, are named once more for each time they come."""
    for named, times in Counter(chunk.hash for chunk in chunks).items():
        known = _load(context.store, space, named)
        assert known is not None, f"chunk {named.hex()} is not stored"
        known.record.uses += times
        _save(context, known)


def release(context: Context, space: str, chunks: Iterable[ChunkRef]) -> None:
    """Count that chunks are named once less for each time they come."""
    for named, times in Counter(chunk.hash for chunk in chunks).items():
        known = _load(context.store, space, named)
        assert known is not None, f"chunk {named.hex()} is not stored"
        assert known.record.uses >= times, f"chunk {named.hex()} is named more than is counted"
        known.record.uses -= times
        if not known.record.uses:
            _mark(context, space, named, known.record)
        _save(context, known)


def _load(reader: Reader, space: str, named: bytes) -> _Known | None:
    place = keys.chunk_record(space, named)
    raw = reader.get(place)
    return None if raw is None else _Known(place, raw, ChunkRecord.FromString(raw))


def _store(context: Context, space: str, named: bytes, data: bytes) -> None:
    """A chunk that is not here, and that nobody uses."""
    record = ChunkRecord(size_bytes=len(data))
    _mark(context, space, named, record)
    raw = record.SerializeToString(deterministic=True)
    context.store.replace(keys.chunk_record(space, named), None, raw)
    context.store.replace(keys.chunk(space, named), None, data)


def _save(context: Context, known: _Known) -> None:
    raw = known.record.SerializeToString(deterministic=True)
    context.store.replace(known.place, known.raw, raw)


def _mark(context: Context, space: str, named: bytes, record: ChunkRecord) -> None:
    """Nobody uses a chunk from now on. The caller saves its record."""
    record.unused_since_ms = context.log_time_ms
    context.store.put(keys.unused_chunk(context.log_time_ms, space, named), b"")
