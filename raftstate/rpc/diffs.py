"""What differs between two checkpoints: read here, decoded and compared in a process of
its own (`comparing`).

All of it is bounded: how many bytes are read, how many values they may hold, how much is
said of them, how long it takes; and a member compares one pair at a time. Who waits for a
turn holds nothing yet, and what is read goes on at once, a chunk at a time.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from contextlib import aclosing, suppress
from functools import partial

from raftstate import content
from raftstate.core import limits
from raftstate.rpc import apart
from raftstate.rpc.contents import pieces
from raftstate.rpc.errors import Failure, not_comparable
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
# From when it is its turn.
PATIENCE_S = 30.0

_KINDS = {
    "added": DifferenceKind.DIFFERENCE_KIND_ADDED,
    "removed": DifferenceKind.DIFFERENCE_KIND_REMOVED,
    "changed": DifferenceKind.DIFFERENCE_KIND_CHANGED,
}
_FIELDS = ("from_checkpoint_id", "to_checkpoint_id")
_LIMITS = {
    "values_max": VALUES_MAX,
    "differences": limits.DIFFERENCES_MAX,
    "chars": SAID_CHARS_MAX,
}
_process = partial(apart.process, "comparing")

Chain = list[Checkpoint]


class Diffs:
    """Compares checkpoints, one pair at a time."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._turn = asyncio.Semaphore(1)

    async def between(
        self, before: Chain, after: Chain, at: int | None, revision: int
    ) -> DiffCheckpointsResponse:
        """What differs between what two chains amount to, which were found in a view of
        `at` that showed `revision`. Raises Failure."""
        chains = (before, after)
        for field, chain in zip(_FIELDS, chains, strict=True):
            _check(field, chain)
        async with self._turn:
            try:
                async with asyncio.timeout(PATIENCE_S), _process() as process:
                    await self._send(process, chains, at, revision)
                    return _answer(*await process.communicate(), process.returncode)
            except TimeoutError:
                raise _too_much() from None

    async def _send(
        self, process: Process, chains: tuple[Chain, Chain], at: int | None, revision: int
    ) -> None:
        """Hand over what is to be compared. A process that does not take it has a reason,
        which it says, or its end does."""
        assert process.stdin is not None, "the process takes nothing"
        sizes = [[(one.size_bytes, one.content_type) for one in chain] for chain in chains]
        task = {"chains": sizes, "limits": _LIMITS}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        for checkpoint in (one for chain in chains for one in chain):
            async with aclosing(pieces(self._frontend, checkpoint, at, revision)) as data:
                async for piece in data:
                    process.stdin.write(piece)
                    with suppress(ConnectionError):
                        await process.stdin.drain()


def _check(field: str, chain: Chain) -> None:
    """Raise Failure if a look at the records shows that nothing can be compared."""
    wanted, kind = chain[-1], chain[0].content_type
    name = f"checkpoint {wanted.agent_id}#{wanted.checkpoint_id}"
    if content.family(kind) is None:
        raise not_comparable(f"{name} is of type {kind!r}: neither JSON nor msgpack", field)
    if (size := sum(one.size_bytes for one in chain)) > limits.DIFF_BYTES_MAX:
        words = f"{name} has {size} bytes, with what it builds on"
        raise not_comparable(f"{words} (limit: {limits.DIFF_BYTES_MAX})", field)


def _answer(said: bytes, complaint: bytes, code: int | None) -> DiffCheckpointsResponse:
    """What the process has said. Raises Failure."""
    if code is not None and code < 0:
        raise _too_much()  # it was killed: for its time, or for memory
    if code:
        words = complaint.decode(errors="replace")[-1_000:]
        raise RuntimeError(f"comparing ended with {code}: {words}")
    answer = json.loads(said)
    if "wrong" in answer:
        field = _FIELDS[answer["wrong"]]
        raise not_comparable(f"{field}: {answer['why']}", field)
    differences = [
        Difference(path=path, kind=_KINDS[kind], before=before, after=after)
        for path, kind, before, after in answer["found"]
    ]
    return DiffCheckpointsResponse(differences=differences, truncated=answer["truncated"])


def _too_much() -> Failure:
    return not_comparable("to compare them takes too long, or too much memory", _FIELDS[0])
