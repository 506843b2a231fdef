"""Each limit of requests about checkpoints, at the limit and one beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf.message import Message

from raftstate.core.checkpoint_queries import digest
from raftstate.core.validate import violations
from raftstate.v1.checkpoint_service_pb2 import (
    ChunkRef,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
    DiffCheckpointsRequest,
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
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.step_service_pb2 import CommitStepRequest

RID = RequestId(session_id="s", opened_revision=1, sequence=1)
FENCE = FencingToken(epoch=1, revision=1)
REF = ChunkRef(hash=bytes(32), size_bytes=1)


class Limit(NamedTuple):
    """A request made of a value that is fine, and of one that is not, and what it breaks."""

    make: Callable[[Any], Message]
    at: Any
    beyond: Any
    field: str


def save(**given: Any) -> PutCheckpointRequest:
    new = NewCheckpoint(**given)
    return PutCheckpointRequest(request_id=RID, agent_id="a", fence=FENCE, checkpoint=new)


def step(**given: Any) -> CommitStepRequest:
    new = NewCheckpoint(**given)
    return CommitStepRequest(request_id=RID, agent_id="a", fence=FENCE, checkpoint=new)


def chunk(data: bytes, named: bytes) -> PutChunkRequest:
    return PutChunkRequest(request_id=RID, agent_id="a", data=data, hash=named)


def tag(**given: Any) -> TagCheckpointRequest:
    usual: dict[str, Any] = {"request_id": RID, "agent_id": "a", "checkpoint_id": 1}
    return TagCheckpointRequest(**(usual | given))


def valid(**given: Any) -> MarkValidRequest:
    usual: dict[str, Any] = {
        "request_id": RID,
        "agent_id": "a",
        "checkpoint_id": 1,
        "validator": "v",
        "content_hash": bytes(32),
    }
    return MarkValidRequest(**(usual | given))


def member(**given: Any) -> PutGroupCheckpointRequest:
    members = [NewGroupMember(agent_id="b"), NewGroupMember(**({"agent_id": "a"} | given))]
    return PutGroupCheckpointRequest(request_id=RID, group_id="g", members=members)


def group(count: int) -> PutGroupCheckpointRequest:
    members = [NewGroupMember(agent_id=f"a{number}") for number in range(count)]
    return PutGroupCheckpointRequest(request_id=RID, group_id="g", members=members)


def diff(**given: Any) -> DiffCheckpointsRequest:
    usual: dict[str, Any] = {
        "agent_id": "a",
        "from_checkpoint_id": 1,
        "to_checkpoint_id": 2,
    }
    return DiffCheckpointsRequest(**(usual | given))


def get(**given: Any) -> GetCheckpointRequest:
    return GetCheckpointRequest(**({"agent_id": "a"} | given))


def missing(**given: Any) -> MissingChunksRequest:
    return MissingChunksRequest(**({"agent_id": "a", "hashes": [bytes(32)]} | given))


def tags(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


MIB = 1 << 20
WHOLE, LARGE = bytes(MIB), bytes(MIB + 1)
TABLE = [
    # what is saved
    Limit(lambda v: save(data=v), WHOLE, LARGE, "checkpoint.data"),
    Limit(lambda v: step(data=v), WHOLE, LARGE, "checkpoint.data"),
    Limit(lambda v: save(content_type=v), "t" * 128, "t" * 129, "checkpoint.content_type"),
    Limit(
        lambda v: save(labels=[Label(name=str(n)) for n in range(v)]),
        32,
        33,
        "checkpoint.labels",
    ),
    Limit(lambda v: save(tags=tags(v)), 16, 17, "checkpoint.tags"),
    Limit(lambda v: save(tags=[v]), "t" * 63, "t" * 64, "checkpoint.tags[0]"),
    Limit(lambda v: save(tags=[v]), "é\0", "", "checkpoint.tags[0]"),
    Limit(lambda v: save(tags=["t", v]), "u", "t", "checkpoint.tags"),
    Limit(lambda v: save(chunks=[REF], data=v), b"", b"x", "checkpoint.chunks"),
    Limit(lambda v: save(chunks=[REF] * v), 4_096, 4_097, "checkpoint.chunks"),
    Limit(lambda v: step(chunks=[REF] * v), 4_096, 4_097, "checkpoint.chunks"),
    Limit(
        lambda v: save(chunks=[REF, ChunkRef(hash=bytes(v), size_bytes=1)]),
        32,
        31,
        "checkpoint.chunks[1].hash",
    ),
    *(
        Limit(
            lambda v: save(chunks=[ChunkRef(hash=bytes(32), size_bytes=v)]),
            at,
            beyond,
            "checkpoint.chunks[0].size_bytes",
        )
        for at, beyond in ((1, 0), (MIB, MIB + 1))
    ),
    Limit(
        lambda v: PutCheckpointRequest(request_id=RID, agent_id="a", fence=FENCE, checkpoint=v),
        NewCheckpoint(),
        None,
        "checkpoint",
    ),
    Limit(
        lambda v: PutCheckpointRequest(
            request_id=RID, agent_id="a", fence=v, checkpoint=NewCheckpoint()
        ),
        FENCE,
        None,
        "fence",
    ),
    # chunks
    Limit(lambda v: chunk(v, digest(v)), WHOLE, LARGE, "data"),
    Limit(lambda v: chunk(v, digest(v)), b"k", b"", "data"),
    Limit(lambda v: chunk(b"k", v), digest(b"k"), digest(b"l"), "hash"),
    Limit(lambda v: missing(hashes=[bytes(32)] * v), 4_096, 4_097, "hashes"),
    Limit(lambda v: missing(hashes=[bytes(32)] * v), 1, 0, "hashes"),
    Limit(lambda v: missing(hashes=[bytes(32), bytes(v)]), 32, 33, "hashes[1]"),
    Limit(lambda v: missing(consistency=v, revision=1), 3, 4, "consistency"),
    # marks
    Limit(lambda v: tag(checkpoint_id=v), 1, 0, "checkpoint_id"),
    Limit(lambda v: tag(add_tags=tags(v)), 16, 17, "add_tags"),
    Limit(lambda v: tag(remove_tags=tags(v)), 16, 17, "remove_tags"),
    Limit(lambda v: tag(add_tags=["t"], remove_tags=[v]), "u", "t", "remove_tags"),
    Limit(lambda v: tag(labels={"labels": [Label(name=v)]}), "n", "", "labels.labels[0].name"),
    Limit(lambda v: valid(checkpoint_id=v), 1, 0, "checkpoint_id"),
    Limit(lambda v: valid(validator=v), "v/1", "", "validator"),
    Limit(lambda v: valid(content_hash=v), bytes(32), b"", "content_hash"),
    Limit(lambda v: valid(evidence=v), "e" * 255, "e" * 256, "evidence"),
    # lineage
    Limit(
        lambda v: CopyLineageRequest(request_id=RID, source_agent_id=v, agent_id="b"),
        "a",
        "",
        "source_agent_id",
    ),
    Limit(
        lambda v: CopyLineageRequest(request_id=RID, source_agent_id="a", agent_id=v),
        "b",
        "-",
        "agent_id",
    ),
    Limit(lambda v: PruneCheckpointsRequest(request_id=RID, agent_id=v), "a", "", "agent_id"),
    # groups
    Limit(group, 32, 33, "members"),
    Limit(group, 1, 0, "members"),
    Limit(lambda v: member(agent_id=v), "a", "b", "members"),
    Limit(lambda v: member(agent_id=v), "a", "", "members[1].agent_id"),
    Limit(
        lambda v: member(checkpoint=NewCheckpoint(), fence=v), FENCE, None, "members[1].fence"
    ),
    Limit(
        lambda v: member(checkpoint=NewCheckpoint(), fence=FENCE, checkpoint_id=v),
        0,
        1,
        "members[1].checkpoint_id",
    ),
    Limit(
        lambda v: member(checkpoint=NewCheckpoint(data=v), fence=FENCE),
        WHOLE,
        LARGE,
        "members[1].checkpoint.data",
    ),
    Limit(
        lambda v: PutGroupCheckpointRequest(
            request_id=RID, group_id=v, members=[NewGroupMember(agent_id="a")]
        ),
        "g" * 200,
        "g" * 201,
        "group_id",
    ),
    Limit(
        lambda v: DeleteGroupCheckpointRequest(request_id=RID, group_id=v), "g", "", "group_id"
    ),
    # reads
    Limit(lambda v: get(tag=v), "t" * 63, "t" * 64, "tag"),
    Limit(lambda v: get(tag="t", checkpoint_id=v), 0, 1, "tag"),
    Limit(lambda v: get(consistency=4, revision=v), 1, 0, "revision"),
    Limit(
        lambda v: ListCheckpointsRequest(agent_id="a", labels=[Label(name=n) for n in v]),
        "ab",
        "aa",
        "labels[1].name",
    ),
    Limit(
        lambda v: ListCheckpointsRequest(agent_id="a", page_size=v), 1_000, 1_001, "page_size"
    ),
    Limit(lambda v: diff(from_checkpoint_id=v), 1, 0, "from_checkpoint_id"),
    Limit(lambda v: diff(to_checkpoint_id=v), 1, 0, "to_checkpoint_id"),
    Limit(lambda v: diff(to_agent_id=v), "", "-", "to_agent_id"),
    Limit(lambda v: GetGroupCheckpointRequest(group_id=v), "g", "", "group_id"),
    Limit(lambda v: ListGroupCheckpointsRequest(prefix=v), "g" * 200, "g" * 201, "prefix"),
]
NAMED = [pytest.param(limit, id=f"{at}-{limit.field}") for at, limit in enumerate(TABLE)]


@pytest.mark.parametrize("limit", NAMED)
def test_a_limit_holds_exactly(limit: Limit) -> None:
    """
    At the limit all is well; one beyond it, exactly that field is named.
    """
    assert violations(limit.make(limit.at)) == []

    found = violations(limit.make(limit.beyond))

    assert [each.field for each in found] == [limit.field]
    assert found[0].limit and found[0].description
    assert found[0].too_large == (limit.beyond is LARGE)
