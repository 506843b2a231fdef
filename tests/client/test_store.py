"""The public face: what is there, how it opens and closes, what it does to values."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

import raftstate
from raftstate.client import values
from raftstate.client.chunks import CHUNK_BYTES_MAX, CHUNKS_MAX
from raftstate.client.options import BATCH_MUTATIONS, BATCH_QUERIES
from raftstate.client.saving import CHAIN_MAX
from raftstate.client.session import WINDOW
from raftstate.client.submit import REQUEST_BYTES
from raftstate.errors import Closed, InvalidRequest, RaftStateError
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import Event
from tests.client.scripted import asynchronous, members, store_of
from tests.client.test_end_to_end import stores


def test_the_public_surface() -> None:
    """
    `raftstate` offers exactly what it lists, in order, with a version.
    """
    assert list(raftstate.__all__) == sorted(raftstate.__all__)
    assert all(getattr(raftstate, name) for name in raftstate.__all__)
    assert raftstate.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nothing_of_the_sort"):
        raftstate.nothing_of_the_sort  # noqa: B018


def test_importing_the_package_is_light() -> None:
    """
    The servers and the state machine do not load the client or grpc by being imported.
    """
    script = "import sys, raftstate; print(any(m.split('.')[0] == 'grpc' for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": float("nan")}, {"session_ttl": -1.0}],
)
def test_arguments_that_make_no_sense(arguments: dict[str, float]) -> None:
    """
    A time that is not positive is refused at once, by name.
    """
    with pytest.raises(InvalidRequest, match=next(iter(arguments))):
        raftstate.connect("h:1", **arguments)  # type: ignore[arg-type]


@asynchronous
async def test_a_store_is_opened_once() -> None:
    """
    Before, after and twice are errors that say what to do.
    """
    async with members(1) as (member,):
        store = store_of(member)
        with pytest.raises(Closed, match="async with"):
            await store.create_agent("a")
        async with store:
            with pytest.raises(Closed, match="open already"):
                await store.__aenter__()
        with pytest.raises(Closed, match="was closed"):
            await store.get_agent("a")
        with pytest.raises(Closed):
            await store.__aenter__()
        await store.close()


@asynchronous
async def test_a_store_that_was_never_used_sends_nothing() -> None:
    """
    No session is opened before it is needed.
    """
    async with members(1) as (member,), store_of(member):
        pass

    assert member.asked == []


@asynchronous
async def test_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A store that comes along in a fork refuses to work there, and names both processes.
    """
    async with members(1) as (member,), store_of(member) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 4_000_000)
            with pytest.raises(Closed, match="process 4000000") as caught:
                await store.create_agent("a")
            with pytest.raises(Closed):
                store.own("a")

    assert caught.value.definite


@asynchronous
@pytest.mark.parametrize("seconds", [float("inf"), 1e30])
async def test_a_time_that_is_too_long_is_refused_as_such(seconds: float) -> None:
    """
    However long: the servers name their limit, and nothing breaks on the way there.
    """
    async with stores(1) as (_, (store,)):
        with pytest.raises(InvalidRequest, match="ttl_ms"):
            await store.own("a", ttl=seconds).__aenter__()
        with pytest.raises(InvalidRequest, match="ttl_ms"):
            await store.grant_lease(seconds)
        with pytest.raises(InvalidRequest, match="progress_ms"):
            await anext(store.watch(progress_every=seconds))


@asynchronous
async def test_the_limits_are_told() -> None:
    """
    By name; those that this client goes by are the servers' own.
    """
    async with stores(1) as (_, (store,)):
        limits = await store.limits()

    assert limits["key.bytes"] == 480
    assert limits["request.bytes"] == REQUEST_BYTES
    assert limits["request.window"] > WINDOW
    assert limits["batch.mutations"] >= BATCH_MUTATIONS
    assert limits["batch.queries"] >= BATCH_QUERIES
    assert limits["checkpoint.chunk.bytes"] == CHUNK_BYTES_MAX
    assert limits["checkpoint.chunks"] == CHUNKS_MAX
    assert limits["checkpoint.chain"] == CHAIN_MAX


@asynchronous
async def test_wait_and_force_exclude_each_other() -> None:
    """
    Standing in line and pushing in is not both possible.
    """
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(ValueError, match="either wait or force"):
            store.own("a", wait=True, force=True)


@asynchronous
async def test_nothing_is_left_behind() -> None:
    """
    After closing, no task of the store is left on the loop.
    """
    async with members(1) as (member,):
        async with store_of(member) as store:
            async with store.own("a") as agent, agent.step() as step:
                step.event("e")
            await store.status()
        left = [task for task in asyncio.all_tasks() if "raftstate/client" in repr(task)]

    assert left == []


@pytest.mark.parametrize(
    ("value", "data", "content_type"),
    [
        (None, b"", ""),
        (b"raw", b"raw", "application/octet-stream"),
        (b"", b"", "application/octet-stream"),
        ({"n": [1, "ä"]}, '{"n":[1,"ä"]}'.encode(), "application/json"),
        (0, b"0", "application/json"),
        (False, b"false", "application/json"),
    ],
)
def test_values_come_back(value: object, data: bytes, content_type: str) -> None:
    """
    Bytes stay bytes, nothing stays nothing, everything else is JSON and comes back.
    """
    assert values.encode(value) == (data, content_type)
    assert raftstate.decode(Event(data=data, content_type=content_type)) == value
    assert raftstate.decode(Checkpoint(data=data, content_type=content_type)) == value


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, {"x": b"y"}, "\ud800"])
def test_values_that_json_cannot_hold(value: object) -> None:
    """
    What would not come back is refused when it is given.
    """
    with pytest.raises((TypeError, ValueError)):
        values.encode(value)


def test_tokens_as_text_sort_as_tokens() -> None:
    """
    Epoch first, then revision, in fixed width.
    """
    tokens = [FencingToken(epoch=e, revision=r) for e, r in ((1, 9), (1, 10), (2, 1))]
    texts = [values.token_text(token) for token in tokens]

    assert texts == sorted(texts)
    assert len({len(text) for text in texts}) == 1


def test_every_error_says_whether_it_happened() -> None:
    """
    `definite` is not optional on any error of the tree.
    """
    kinds: list[Any] = [RaftStateError, *RaftStateError.__subclasses__()]
    for kind in kinds:
        with pytest.raises(TypeError, match="definite"):
            kind("no word about it")
