"""What differs between two checkpoints: read here, decoded and compared on a thread.

Content may be hostile and comparing it is slow, so all of it is bounded: how many bytes
are read, how many values they may hold, how much is said of them; and a member compares
one pair at a time. Who waits for a turn holds nothing yet.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial

from raftstate import content
from raftstate.core import limits
from raftstate.rpc.contents import pieces
from raftstate.rpc.errors import not_comparable
from raftstate.rpc.frontend import Frontend
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    DiffCheckpointsResponse,
    Difference,
    DifferenceKind,
)

# Of one checkpoint. A value takes some hundred bytes of memory.
VALUES_MAX = 250_000
# Of all that is said, together.
SAID_CHARS_MAX = 512 << 10

_KINDS = {
    "added": DifferenceKind.DIFFERENCE_KIND_ADDED,
    "removed": DifferenceKind.DIFFERENCE_KIND_REMOVED,
    "changed": DifferenceKind.DIFFERENCE_KIND_CHANGED,
}
_FIELDS = ("from_checkpoint_id", "to_checkpoint_id")

# The data and type of a full checkpoint, and of the deltas that lead on from it.
Parts = list[tuple[bytes, str]]


class Diffs:
    """Compares checkpoints, one pair at a time."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._turn = asyncio.Semaphore(1)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="diffs")

    async def between(
        self, before: list[Checkpoint], after: list[Checkpoint], at: int | None, revision: int
    ) -> DiffCheckpointsResponse:
        """What differs between what two chains amount to, which were found in a view of
        `at` that showed `revision`. Raises Failure."""
        for field, chain in zip(_FIELDS, (before, after), strict=True):
            _check(field, chain)
        await self._turn.acquire()
        work: asyncio.Future[DiffCheckpointsResponse] | None = None
        try:
            old, new = [await self._read(chain, at, revision) for chain in (before, after)]
            work = asyncio.get_running_loop().run_in_executor(
                self._thread, partial(_compared, old, new)
            )
            return await asyncio.shield(work)
        finally:
            # Nobody may wait any more, and the thread still be at it.
            if work is None or work.done():
                self._turn.release()
            else:
                work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Future[DiffCheckpointsResponse]) -> None:
        if not work.cancelled():
            work.exception()
        self._turn.release()

    async def _read(self, chain: list[Checkpoint], at: int | None, revision: int) -> Parts:
        parts = []
        for checkpoint in chain:
            found = []
            async with aclosing(pieces(self._frontend, checkpoint, at, revision)) as data:
                async for piece in data:
                    found.append(piece)
                    await asyncio.sleep(0)  # others have their turn
            parts.append((b"".join(found), checkpoint.content_type))
        return parts


def _check(field: str, chain: list[Checkpoint]) -> None:
    """Raise Failure if a look at the records shows that nothing can be compared."""
    wanted, kind = chain[-1], chain[0].content_type
    name = f"checkpoint {wanted.agent_id}#{wanted.checkpoint_id}"
    if content.family(kind) is None:
        raise not_comparable(f"{name} is of type {kind!r}: neither JSON nor msgpack", field)
    if (size := sum(one.size_bytes for one in chain)) > limits.DIFF_BYTES_MAX:
        words = f"{name} has {size} bytes, with what it builds on"
        raise not_comparable(f"{words} (limit: {limits.DIFF_BYTES_MAX})", field)


def _compared(before: Parts, after: Parts) -> DiffCheckpointsResponse:
    """What differs; on the thread. Raises Failure."""
    values = []
    for field, parts in zip(_FIELDS, (before, after), strict=True):
        try:
            values.append(content.restore_value(parts, values_max=VALUES_MAX))
        except content.ContentError as error:
            raise not_comparable(f"{field}: {error}", field) from error
    old, new = values
    found, truncated = content.diff(old, new, limits.DIFFERENCES_MAX, SAID_CHARS_MAX)
    differences = [
        Difference(path=one.path, kind=_KINDS[one.kind], before=one.before, after=one.after)
        for one in found
    ]
    return DiffCheckpointsResponse(differences=differences, truncated=truncated)
