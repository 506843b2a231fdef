"""The data of checkpoints on its way out: checked, in pieces, and compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgpack
import pytest

from raftstate import content
from raftstate.core import keys
from raftstate.rpc import apart, comparing, diffs
from raftstate.rpc.checkpoints import Checkpoints
from raftstate.rpc.errors import Failure
from raftstate.v1.agent_service_pb2 import GetAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    DiffCheckpointsRequest,
    GetCheckpointRequest,
    PruneCheckpointsRequest,
)
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.store_pb2 import CheckpointBody, CollectChunks, Command
from tests.rpc.harness import Bench, refused, run, until
from tests.rpc.stories_of_checkpoints import MIB, digest, read, save, upload

JSON = "application/json"


def spoil_chunk(b: Bench) -> None:
    place = keys.chunk("a", digest(b"2" * 5_000))
    b.fake.state.store.put(place, b"3" * 5_000)


def cut_chunk(b: Bench) -> None:
    place = keys.chunk("a", digest(b"2" * 5_000))
    b.fake.state.store.put(place, b"2" * 4_999)


def lose_chunk(b: Bench) -> None:
    b.fake.state.store.delete(keys.chunk("a", digest(b"2" * 5_000)))


def swap_chunks(b: Bench) -> None:
    place = keys.checkpoint_body("a", 1)
    raw = b.fake.state.store.get(place)
    assert raw is not None
    body = CheckpointBody.FromString(raw)
    swapped = CheckpointBody(chunks=list(body.chunks)[::-1])
    b.fake.state.store.put(place, swapped.SerializeToString())


DAMAGE: dict[str, tuple[Callable[[Bench], None], int]] = {
    "a chunk is another": (spoil_chunk, 1),
    "a chunk is cut": (cut_chunk, 1),
    "a chunk is lost": (lose_chunk, 1),
    "the chunks are in another order": (swap_chunks, 0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_stored_is_checked_before_it_is_sent(name: str) -> None:
    """
    Damage is DATA_LOSS, not another state; what was sent before it was right.
    """
    spoil, good = DAMAGE[name]

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        await save(b, fence, chunks=await upload(b, [b"1" * 5_000, b"2" * 5_000]))
        spoil(b)
        call = b.checkpoints.GetCheckpoint(GetCheckpointRequest(agent_id="a"))
        pieces = [await call.read() for _ in range(good)]
        assert [piece.chunk for piece in pieces] == [b"1" * 5_000][:good]
        found = await refused(call.read())
        assert (found.code, found.reason, found.definite) == ("DATA_LOSS", "CORRUPT", True)
        assert found.metadata["subject"] == "a#1"
        expected, seen = found.metadata["expected_hash"], found.metadata["found_hash"]
        assert len(expected) == 64
        assert len(seen) == (0 if name == "a chunk is lost" else 64)
        assert seen != expected

    run(story)


def test_small_data_is_checked_too() -> None:
    """
    Also what stands in the record of where the data is.
    """

    async def story(b: Bench) -> None:
        await save(b, await b.own("a"), data=b"small")
        body = CheckpointBody(data=b"smalt").SerializeToString()
        b.fake.state.store.put(keys.checkpoint_body("a", 1), body)
        assert (await refused(read(b))).reason == "CORRUPT"

    run(story)


async def prune(b: Bench) -> None:
    """Remove what may be removed, and the chunks that nobody needs then."""
    await b.checkpoints.PruneCheckpoints(
        PruneCheckpointsRequest(request_id=b.request_id(), agent_id="a")
    )
    late = (1 << 63) - 1
    b.fake.apply(Command(collect_chunks=CollectChunks(unused_since_ms=late, limit=100)))


def test_a_checkpoint_that_is_pruned_while_it_is_sent() -> None:
    """
    The stream ends with COMPACTED, and never with less than all.
    """

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        # Enough that the server cannot have sent all of it before anybody reads.
        parts = [bytes([place]) * MIB for place in range(24)]
        await save(b, fence, chunks=await upload(b, parts))
        call = b.checkpoints.GetCheckpoint(GetCheckpointRequest(agent_id="a"))
        assert (await call.read()).chunk == parts[0]
        # Nothing is held meanwhile: the member serves others, and mutations.
        await b.agents.GetAgent(GetAgentRequest(agent_id="a"))
        await save(b, fence, data=b"newer")
        await prune(b)

        async def rest() -> None:
            while (await call.read()) is not grpc.aio.EOF:
                pass

        found = await refused(rest())
        assert (found.code, found.reason) == ("OUT_OF_RANGE", "COMPACTED")
        assert found.metadata["subject"] == "a#1"

    run(story)


def test_a_checkpoint_of_a_state_that_is_made_anew_is_not_pruned() -> None:
    """
    It is not there while the state is behind where it was; whoever reads asks elsewhere.
    """

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        early = b.fake.state.store.copy()
        await save(b, fence, chunks=await upload(b, [b"1" * 5_000, b"2" * 5_000]))
        request = GetCheckpointRequest(agent_id="a")
        call: Any = Checkpoints(b.server._frontend).GetCheckpoint(request, None)
        assert (await anext(call)).chunk == b"1" * 5_000
        b.fake.state.store = early
        with pytest.raises(Failure) as caught:
            await anext(call)
        assert caught.value.reason == "NO_QUORUM"

    run(story)


def test_a_checkpoint_that_was_there() -> None:
    """
    Its record is shown at the revision that had it; its data is gone, which is said.
    """

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        await save(b, fence, chunks=await upload(b, [b"1" * 5_000]))
        revision = b.fake.machine.revision
        await save(b, fence, data=b"newer")
        then: dict[str, Any] = {
            "checkpoint_id": 1,
            "consistency": Consistency.CONSISTENCY_AT_REVISION,
            "revision": revision,
        }
        (whole,) = await read(b, **then)
        await prune(b)
        (shown,) = await read(b, without_data=True, **then)
        assert shown.checkpoint == whole.checkpoint
        assert (await refused(read(b, **then))).reason == "COMPACTED"
        gone = await refused(read(b, checkpoint_id=1))
        assert gone.reason == "CHECKPOINT_NOT_FOUND"

    run(story)


# --- differences ---------------------------------------------------------------------


def diff(b: Bench, before: int = 1, after: int = 2) -> Any:
    return b.checkpoints.DiffCheckpoints(
        DiffCheckpointsRequest(agent_id="a", from_checkpoint_id=before, to_checkpoint_id=after)
    )


async def save_value(b: Bench, fence: Any, value: Any, **fields: Any) -> int:
    data = json.dumps(value).encode()
    return await save(b, fence, data=data, content_type=JSON, **fields)


def test_a_delta_is_compared_as_what_it_amounts_to() -> None:
    """
    JSON with msgpack, and a chain of deltas with the full checkpoint that it begins with.
    """

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        values = [{"n": 0, "same": [1]}, {"n": 1, "same": [1]}, {"n": 2, "same": [1]}]
        await save_value(b, fence, values[0])
        for base in (1, 2):
            delta = content.make_delta(values[base - 1], values[base])
            await save(
                b,
                fence,
                data=content.encode(delta, content.DELTA_JSON),
                content_type=content.DELTA_JSON,
                base_checkpoint_id=base,
            )
        packed = msgpack.packb(values[2])
        await save(b, fence, data=packed, content_type="application/msgpack")
        found = await diff(b, 1, 3)
        assert [(one.path, one.before, one.after) for one in found.differences] == [
            ("/n", "0", "2")
        ]
        same = await diff(b, 3, 4)
        assert (list(same.differences), same.truncated) == ([], False)

    run(story)


def test_what_cannot_be_compared() -> None:
    """
    NOT_COMPARABLE, definite, and the field says which of the two.
    """

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        await save_value(b, fence, {"fine": 1})
        others: list[dict[str, Any]] = [
            {"data": b"text", "content_type": "text/plain"},
            {"data": b"{", "content_type": JSON},
            {"data": b"\xff", "content_type": JSON},
            {"data": b"[" * 200 + b"]" * 200, "content_type": JSON},
            {"data": b"[" + b"0," * 260_000 + b"0]", "content_type": JSON},
            {"data": b"[7]", "content_type": JSON, "base_checkpoint_id": 1},
        ]
        large = (await upload(b, [bytes(MIB)])) * 17
        others.append({"chunks": large, "content_type": JSON})
        for fields in others:
            odd = await save(b, fence, **fields)
            found = await refused(diff(b, 1, odd))
            assert (found.code, found.reason, found.definite) == (
                "FAILED_PRECONDITION",
                "NOT_COMPARABLE",
                True,
            )
            assert found.metadata["field"] == "to_checkpoint_id"
            assert (await refused(diff(b, odd, 1))).metadata["field"] == "from_checkpoint_id"

    run(story)


def test_what_is_said_of_differences_is_bounded() -> None:
    """
    In number, and in size: a path may be as long as the key of a map.
    """

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        await save_value(b, fence, [0] * 1_100)
        await save_value(b, fence, [1] * 1_100)
        many = await diff(b)
        assert (len(many.differences), many.truncated) == (1_000, True)
        key = "k" * 50_000
        await save_value(b, fence, {key: dict.fromkeys("abcdefghijklmnop", 0)})
        await save_value(b, fence, {key: dict.fromkeys("abcdefghijklmnop", 1)})
        long = await diff(b, 3, 4)
        assert (len(long.differences), long.truncated) == (10, True)
        assert long.ByteSize() < MIB

    run(story)


def test_one_pair_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A member compares one pair, and reads nothing for the next before that; who waits no
    longer makes room, and takes the process along.
    """
    under_way, most, made = [0], [0], list[Any]()
    process = diffs._process

    @asynccontextmanager
    async def counted() -> AsyncIterator[Any]:
        async with process() as one:
            made.append(one)
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            try:
                yield one
            finally:
                under_way[0] -= 1

    async def story(b: Bench) -> None:
        monkeypatch.setattr(diffs, "_process", counted)
        fence = await b.own("a")
        await save_value(b, fence, 1)
        await save_value(b, fence, 2)
        with monkeypatch.context() as patched:
            patched.setattr(apart, "_START", "import time; time.sleep(60)")
            calls = [diff(b) for _ in range(3)]
            await until(lambda: under_way[0] == 1, "the first is compared")
        await b.agents.GetAgent(GetAgentRequest(agent_id="a"))
        assert len(made) == 1
        for call in calls:
            call.cancel()
        await until(lambda: made[0].returncode is not None, "it is gone")
        answers = await asyncio.gather(*(diff(b) for _ in range(3)))
        assert [[one.after for one in answer.differences] for answer in answers] == [["2"]] * 3
        assert most[0] == 1

    run(story)


ENDS: dict[str, tuple[str, str, str]] = {
    "it takes too long": (
        "import sys, time; sys.stdin.read(); time.sleep(60)",
        "FAILED_PRECONDITION",
        "NOT_COMPARABLE",
    ),
    "it is killed": (
        "import os; os.kill(os.getpid(), 9)",
        "FAILED_PRECONDITION",
        "NOT_COMPARABLE",
    ),
    "it takes nothing, and fails": ("raise SystemExit(3)", "INTERNAL", "INTERNAL"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_comparison_that_does_not_come_to_an_end(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Too much for the process is too much to compare; what it does of itself is a bug. The
    next one is compared as ever.
    """
    start, code, reason = ENDS[name]

    async def story(b: Bench) -> None:
        fence = await b.own("a")
        for text in ("x" * 500_000, "y" * 500_000):
            await save_value(b, fence, text)
        with monkeypatch.context() as patched:
            patched.setattr(apart, "_START", start)
            if "sleep" in start:
                patched.setattr(diffs, "PATIENCE_S", 0.3)
            found = await refused(diff(b))
            assert (found.code, found.reason) == (code, reason)
        assert len((await diff(b)).differences) == 1

    run(story)


def test_what_takes_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The process says so of the one that it was at.
    """

    def too_much(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(content, "restore_value", too_much)
    said = comparing.compared([[], []], 1, 1, 1)
    assert said == {"wrong": 0, "why": "it takes too much memory"}


def test_a_look_at_the_records_is_enough_to_refuse() -> None:
    """
    What is too large is not read first.
    """
    large = Checkpoint(agent_id="a", checkpoint_id=1, content_type=JSON, size_bytes=1 << 34)

    with pytest.raises(Failure) as caught:
        diffs._check("to_checkpoint_id", [large])
    assert caught.value.reason == "NOT_COMPARABLE"
