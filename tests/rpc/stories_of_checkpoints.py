"""The calls about checkpoints, each on its happy path."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from raftstate.v1.agent_service_pb2 import ForkAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    ChunkRef,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
    DiffCheckpointsRequest,
    DifferenceKind,
    GetCheckpointRequest,
    GetGroupCheckpointRequest,
    ListCheckpointsRequest,
    ListGroupCheckpointsRequest,
    MarkValidRequest,
    MissingChunksRequest,
    NewCheckpoint,
    NewGroupMember,
    PruneCheckpointsRequest,
    PutCheckpointRequest,
    PutChunkRequest,
    PutGroupCheckpointRequest,
    TagCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken, Label
from tests.rpc.harness import Bench, all_of
from tests.rpc.stories_of_keys import Story, validator

MIB = 1 << 20


def digest(data: bytes) -> bytes:
    """What a chunk is named by."""
    return blake2b(data, digest_size=32).digest()


async def save(b: Bench, fence: FencingToken, agent_id: str = "a", **fields: Any) -> int:
    """Save a checkpoint; its id."""
    request = PutCheckpointRequest(
        request_id=b.request_id(),
        agent_id=agent_id,
        fence=fence,
        checkpoint=NewCheckpoint(**fields),
    )
    head = (await b.checkpoints.PutCheckpoint(request)).head
    checkpoint_id: int = head.checkpoint_id
    return checkpoint_id


async def upload(b: Bench, parts: list[bytes], agent_id: str = "a") -> list[ChunkRef]:
    """Store chunks; what they are named by."""
    for data in parts:
        request = PutChunkRequest(
            request_id=b.request_id(), agent_id=agent_id, data=data, hash=digest(data)
        )
        await b.checkpoints.PutChunk(request)
    return [ChunkRef(hash=digest(data), size_bytes=len(data)) for data in parts]


async def read(b: Bench, **fields: Any) -> list[Any]:
    """Every message of one checkpoint of agent `a`."""
    request = GetCheckpointRequest(**({"agent_id": "a"} | fields))
    return await all_of(b.checkpoints.GetCheckpoint(request))


async def put_checkpoint(b: Bench) -> None:
    fence = await b.own("a")
    assert await save(b, fence, data=b"1", tags=["first"]) == 1
    assert await save(b, fence, data=b"2") == 2
    (found,) = await read(b, tag="first")
    assert (found.checkpoint.checkpoint_id, found.chunk) == (1, b"1")
    assert found.checkpoint.step == 0


async def put_chunk(b: Bench) -> None:
    await b.own("a")
    request = PutChunkRequest(
        request_id=b.request_id(), agent_id="a", data=b"x", hash=digest(b"x")
    )
    assert not (await b.checkpoints.PutChunk(request)).known
    request.request_id.CopyFrom(b.request_id())
    assert (await b.checkpoints.PutChunk(request)).known


async def missing_chunks(b: Bench) -> None:
    await b.own("a")
    await upload(b, [b"1", b"3"])
    wanted = [digest(data) for data in (b"0", b"1", b"2", b"3")]
    response = await b.checkpoints.MissingChunks(
        MissingChunksRequest(agent_id="a", hashes=wanted)
    )
    assert list(response.missing) == [0, 2]


async def get_checkpoint(b: Bench) -> None:
    fence = await b.own("a")
    parts = [bytes([place]) * MIB for place in range(3)] + [b"tail"]
    await save(b, fence, chunks=await upload(b, parts))
    messages = await read(b)
    assert [one.chunk for one in messages] == parts
    assert [one.HasField("header") for one in messages] == [True, False, False, False]
    assert [one.HasField("checkpoint") for one in messages] == [True, False, False, False]
    assert messages[0].checkpoint.size_bytes == 3 * MIB + 4
    assert messages[0].checkpoint.chunk_count == 4
    assert not messages[0].checkpoint.data
    (bare,) = await read(b, without_data=True)
    assert (bare.checkpoint, bare.chunk) == (messages[0].checkpoint, b"")
    await save(b, fence, data=b"+1", base_checkpoint_id=1)
    await save(b, fence, data=b"+2", base_checkpoint_id=2)
    chain = await read(b, with_chain=True)
    begun = [one.checkpoint.checkpoint_id for one in chain if one.HasField("checkpoint")]
    assert begun == [1, 2, 3]
    assert [one.chunk for one in chain] == [*parts, b"+1", b"+2"]


async def list_checkpoints(b: Bench) -> None:
    fence = await b.own("a")
    for text in (b"1", b"2", b"3"):
        await save(b, fence, data=text, pinned=text != b"2")
    page = await b.checkpoints.ListCheckpoints(
        ListCheckpointsRequest(agent_id="a", page_size=2)
    )
    assert [one.checkpoint_id for one in page.checkpoints] == [3, 2]
    rest = await b.checkpoints.ListCheckpoints(
        ListCheckpointsRequest(agent_id="a", page_size=2, page_token=page.next_page_token)
    )
    assert [one.checkpoint_id for one in rest.checkpoints] == [1]
    assert rest.next_page_token == ""
    pinned = await b.checkpoints.ListCheckpoints(
        ListCheckpointsRequest(agent_id="a", pinned=True)
    )
    assert [one.checkpoint_id for one in pinned.checkpoints] == [3, 1]


async def tag_checkpoint(b: Bench) -> None:
    fence = await b.own("a")
    await save(b, fence, data=b"1", tags=["old"])
    request = TagCheckpointRequest(
        request_id=b.request_id(),
        agent_id="a",
        checkpoint_id=1,
        add_tags=["new"],
        remove_tags=["old"],
        pinned=True,
    )
    request.labels.labels.append(Label(name="k", value="v"))
    await b.checkpoints.TagCheckpoint(request)
    (found,) = await read(b, tag="new")
    assert list(found.checkpoint.tags) == ["new"]
    assert found.checkpoint.pinned
    assert found.checkpoint.labels[0].value == "v"


async def mark_valid(b: Bench) -> None:
    fence = await b.own("a")
    await save(b, fence, data=b"1")
    await validator(b)
    await b.open("judge")
    request = MarkValidRequest(
        request_id=b.request_id("judge"),
        agent_id="a",
        checkpoint_id=1,
        validator="checker",
        valid=True,
        content_hash=digest(b"1"),
    )
    assert (await b.checkpoints.MarkValid(request)).known_good
    (found,) = await read(b)
    assert found.checkpoint.known_good


async def prune_checkpoints(b: Bench) -> None:
    fence = await b.own("a")
    for text in (b"1", b"2", b"3"):
        await save(b, fence, data=text)
    request = PruneCheckpointsRequest(request_id=b.request_id(), agent_id="a")
    response = await b.checkpoints.PruneCheckpoints(request)
    assert (response.pruned, response.more) == (2, False)


async def fork_agent(b: Bench) -> None:
    fence = await b.own("a")
    await save(b, fence, chunks=await upload(b, [b"x" * MIB, b"y"]))
    response = await b.agents.ForkAgent(
        ForkAgentRequest(request_id=b.request_id(), source_agent_id="a", agent_id="f")
    )
    assert response.agent.agent_id == "f"
    assert response.agent.chunk_space == "a"
    messages = await read(b, agent_id="f")
    assert [one.chunk for one in messages] == [b"x" * MIB, b"y"]
    assert messages[0].checkpoint.origin.agent_id == "a"


async def copy_lineage(b: Bench) -> None:
    fence = await b.own("a")
    for text in (b"1", b"2", b"3"):
        await save(b, fence, data=text)
    request = CopyLineageRequest(
        request_id=b.request_id(), source_agent_id="a", agent_id="c", up_to_checkpoint_id=2
    )
    assert (await b.checkpoints.CopyLineage(request)).copied == 2
    (found,) = await read(b, agent_id="c")
    assert (found.checkpoint.checkpoint_id, found.chunk) == (2, b"2")


async def diff_checkpoints(b: Bench) -> None:
    fence = await b.own("a")
    for value in ({"a": 1, "b": [1]}, {"a": 2, "b": [1, 2]}):
        data = json.dumps(value).encode()
        await save(b, fence, data=data, content_type="application/json")
    request = DiffCheckpointsRequest(agent_id="a", from_checkpoint_id=1, to_checkpoint_id=2)
    response = await b.checkpoints.DiffCheckpoints(request)
    assert [(one.path, one.kind, one.before, one.after) for one in response.differences] == [
        ("/a", DifferenceKind.DIFFERENCE_KIND_CHANGED, "1", "2"),
        ("/b/1", DifferenceKind.DIFFERENCE_KIND_ADDED, "", "2"),
    ]
    assert not response.truncated


async def group(b: Bench, group_id: str = "g", agents: tuple[str, ...] = ("a",)) -> list[int]:
    """Note the newest checkpoints of some agents; their ids."""
    request = PutGroupCheckpointRequest(
        request_id=b.request_id(),
        group_id=group_id,
        members=[NewGroupMember(agent_id=name) for name in agents],
    )
    return list((await b.checkpoints.PutGroupCheckpoint(request)).checkpoint_ids)


async def put_group_checkpoint(b: Bench) -> None:
    for name in ("a", "b"):
        await save(b, await b.own(name), name, data=name.encode())
    assert await group(b, agents=("a", "b")) == [1, 1]


async def get_group_checkpoint(b: Bench) -> None:
    await put_group_checkpoint(b)
    found = await b.checkpoints.GetGroupCheckpoint(GetGroupCheckpointRequest(group_id="g"))
    assert [(one.agent_id, one.checkpoint_id) for one in found.group.members] == [
        ("a", 1),
        ("b", 1),
    ]
    assert found.group.revision == b.fake.machine.revision


async def list_group_checkpoints(b: Bench) -> None:
    await save(b, await b.own("a"), data=b"1")
    for name in ("g/1", "g/2", "g/3", "h"):
        await group(b, name)
    page = await b.checkpoints.ListGroupCheckpoints(
        ListGroupCheckpointsRequest(prefix="g/", page_size=2)
    )
    assert [one.group_id for one in page.groups] == ["g/1", "g/2"]
    rest = await b.checkpoints.ListGroupCheckpoints(
        ListGroupCheckpointsRequest(prefix="g/", page_size=2, page_token=page.next_page_token)
    )
    assert [one.group_id for one in rest.groups] == ["g/3"]
    assert rest.next_page_token == ""


async def delete_group_checkpoint(b: Bench) -> None:
    await put_group_checkpoint(b)
    await b.checkpoints.DeleteGroupCheckpoint(
        DeleteGroupCheckpointRequest(request_id=b.request_id(), group_id="g")
    )
    listed = await b.checkpoints.ListGroupCheckpoints(ListGroupCheckpointsRequest())
    assert list(listed.groups) == []


STORIES: dict[str, Story] = {
    "AgentService.ForkAgent": fork_agent,
    "CheckpointService.PutCheckpoint": put_checkpoint,
    "CheckpointService.PutChunk": put_chunk,
    "CheckpointService.MissingChunks": missing_chunks,
    "CheckpointService.GetCheckpoint": get_checkpoint,
    "CheckpointService.ListCheckpoints": list_checkpoints,
    "CheckpointService.TagCheckpoint": tag_checkpoint,
    "CheckpointService.MarkValid": mark_valid,
    "CheckpointService.PruneCheckpoints": prune_checkpoints,
    "CheckpointService.CopyLineage": copy_lineage,
    "CheckpointService.DiffCheckpoints": diff_checkpoints,
    "CheckpointService.PutGroupCheckpoint": put_group_checkpoint,
    "CheckpointService.GetGroupCheckpoint": get_group_checkpoint,
    "CheckpointService.ListGroupCheckpoints": list_group_checkpoints,
    "CheckpointService.DeleteGroupCheckpoint": delete_group_checkpoint,
}
