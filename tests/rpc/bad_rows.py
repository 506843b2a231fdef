"""The table of bad input: a good request for every call, and what is wrong for every field.

`SEED` says what there is; `ROWS` has a request for each call that succeeds there. What the
calls are sent is a row with one thing changed (see `badness`). A call without a row, and
a field that nothing is said of, fail the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    CheckFenceRequest,
    CreateAgentRequest,
    FenceQuery,
    ForkAgentRequest,
    GetAgentRequest,
    HaltAgentRequest,
    ListAgentsRequest,
    ReleaseOwnershipRequest,
    RenewOwnershipRequest,
    ResumeAgentRequest,
    Retention,
    RetireAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    ChunkRef,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
    DiffCheckpointsRequest,
    GetCheckpointRequest,
    GetGroupCheckpointRequest,
    LabelSet,
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
from raftstate.v1.cluster_service_pb2 import (
    AddMemberRequest,
    GetLimitsRequest,
    ListMembersRequest,
    PromoteMemberRequest,
    RemoveMemberRequest,
    StatusRequest,
    TransferLeadershipRequest,
)
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    DeleteProjectionRequest,
    Expected,
    ExportAuditRequest,
    GetProjectionRequest,
    GetStreamRequest,
    ListProjectionsRequest,
    NewEvent,
    ReadAllRequest,
    ReadEventsRequest,
    SaveProjectionRequest,
    StreamAppend,
    TruncateBeforeRequest,
    VerifyChainRequest,
)
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    DeleteRequest,
    GetRequest,
    KeyRange,
    PutRequest,
    RangeRequest,
    TxnBody,
    TxnDelete,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
    TxnSaveProjection,
)
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    LeaseServiceKeepAliveRequest,
    ListLeasesRequest,
    RevokeRequest,
    TimeToLiveRequest,
)
from raftstate.v1.read_service_pb2 import Query, ReadRequest
from raftstate.v1.recovery_service_pb2 import ListValidatorsRequest, PutValidatorRequest
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from raftstate.v1.store_pb2 import Command, Sweep
from raftstate.v1.watch_service_pb2 import ResourceType, Selector, WatchRequest, WatchStart
from tests.rpc import bad_rows_of_effects
from tests.rpc.bad_rows_of_effects import new_effects, seed_effects
from tests.rpc.harness import Bench
from tests.rpc.stories_of_checkpoints import digest, group, save, upload
from tests.rpc.stories_of_events import append, saved
from tests.rpc.stories_of_keys import grant, put_key, validator
from tests.rpc.wrong import (
    ADDRESS,
    ANY,
    HASH,
    ID,
    KEY,
    MEMBER_ID,
    NUMBER,
    OPTIONAL_ID,
    PAGE_SIZE,
    PAGE_TOKEN,
    PEOPLE,
    PREFIX,
    REVISION,
    SESSION,
    TARGET,
    WORD,
    Wrong,
    too_many,
)

JSON = "application/json"
MIB = 1 << 20
ALL_OF_64 = (1 << 64) - 1


async def seed(b: Bench) -> None:
    """One of everything, of which the past is compacted. Agent `a` is owned; `idle` and
    `halted` are what they are called; the session that judges is another."""
    b.fake.found()
    await b.open("judge")
    b.stubs["judge"] = b.opened_revision
    await b.open()
    for name in ("idle", "halted"):
        await b.agents.CreateAgent(CreateAgentRequest(request_id=b.request_id(), agent_id=name))
    await b.agents.HaltAgent(HaltAgentRequest(request_id=b.request_id(), agent_id="halted"))
    fence = b.stubs["fence"] = await b.own("a")
    for value in ([1], [2]):
        data = json.dumps(value).encode()
        await save(b, fence, data=data, content_type=JSON, tags=[f"t{value[0]}"])
    await upload(b, [b"chunk"])
    await group(b)
    await append(b, count=3)
    await saved(b, position=2)
    await validator(b, "v")
    await grant(b, 7)
    await put_key(b, b"k", lease_id=7)
    await seed_effects(b, fence)
    await b.kv.Compact(
        CompactRequest(request_id=b.request_id(), revision=b.fake.machine.revision)
    )
    # What is forgotten is gone before anything is sent: it would go with the next command.
    b.fake.apply(Command(sweep=Sweep(rows=limits.SWEEP_ROWS_MAX)))


# --- a good request for every call ---------------------------------------------------


def _checkpoint(**fields: Any) -> NewCheckpoint:
    new = NewCheckpoint(content_type=JSON, labels=[Label(name="n", value="v")], tags=["x"])
    new.MergeFrom(NewCheckpoint(**fields))
    return new


def _event() -> NewEvent:
    return NewEvent(
        type="t", content_type=JSON, data=b"1", causation_id="c", correlation_id="r"
    )


def _step(b: Bench) -> CommitStepRequest:
    return CommitStepRequest(
        request_id=b.request_id(),
        agent_id="a",
        fence=b.stubs["fence"],
        expected_step=0,
        events=[_event()],
        checkpoint=_checkpoint(data=b"1"),
        **new_effects(),
    )


def _put_checkpoint(b: Bench) -> PutCheckpointRequest:
    chunks = [ChunkRef(hash=digest(b"chunk"), size_bytes=5)]
    return PutCheckpointRequest(
        request_id=b.request_id(),
        agent_id="a",
        fence=b.stubs["fence"],
        checkpoint=_checkpoint(chunks=chunks, base_checkpoint_id=2),
    )


def _append(b: Bench) -> AppendEventsRequest:
    free = StreamAppend(
        stream_id="s", expected=Expected.EXPECTED_EXACT, expected_seq=3, events=[_event()]
    )
    own = StreamAppend(stream_id="a", fence=b.stubs["fence"], events=[_event()])
    return AppendEventsRequest(request_id=b.request_id(), appends=[free, own])


def _txn(b: Bench) -> TxnRequest:
    nested = TxnBody(success=[TxnOp(put=TxnPut(key=b"n"))])
    body = TxnBody(
        compares=[
            Compare(key=b"k", version=1),
            Compare(fence=FenceQuery(agent_id="a", fence=b.stubs["fence"])),
        ],
        success=[
            TxnOp(put=TxnPut(key=b"new", lease_id=7)),
            TxnOp(get=TxnGet(key=b"k")),
            TxnOp(range=TxnRange()),
            TxnOp(save_projection=TxnSaveProjection(name="p", position=3)),
            TxnOp(txn=nested),
        ],
        failure=[TxnOp(delete=TxnDelete(key=b"k"))],
    )
    return TxnRequest(request_id=b.request_id(), txn=body)


def _mark_valid(b: Bench) -> MarkValidRequest:
    b.sequence += 1
    return MarkValidRequest(
        request_id=RequestId(
            session_id="judge",
            sequence=b.sequence,
            lowest_unfinished=b.sequence,
            opened_revision=b.stubs["judge"],
        ),
        agent_id="a",
        checkpoint_id=1,
        validator="v",
        valid=True,
        content_hash=digest(b"[1]"),
    )


def _put_group(b: Bench) -> PutGroupCheckpointRequest:
    fence: FencingToken = b.stubs["fence"]
    new = NewGroupMember(agent_id="a", checkpoint=_checkpoint(data=b"1"), fence=fence)
    return PutGroupCheckpointRequest(request_id=b.request_id(), group_id="new", members=[new])


def _acquire(b: Bench) -> AcquireOwnershipRequest:
    return AcquireOwnershipRequest(request_id=b.request_id(), agent_id="idle", holder="me")


def _tag(b: Bench) -> TagCheckpointRequest:
    return TagCheckpointRequest(
        request_id=b.request_id(),
        agent_id="a",
        checkpoint_id=1,
        add_tags=["new"],
        remove_tags=["t1"],
        labels=LabelSet(labels=[Label(name="n")]),
    )


def _labelled(b: Bench, kind: Callable[..., Message], agent_id: str) -> Message:
    return kind(
        request_id=b.request_id(),
        agent_id=agent_id,
        labels=[Label(name="n", value="v")],
        retention=Retention(keep_last=2),
        rpo_target_ms=1_000,
        rto_target_ms=1_000,
    )


def _mutation(kind: Callable[..., Message], **fields: Any) -> Callable[[Bench], Message]:
    return lambda b: kind(request_id=b.request_id(), **fields)


def _fenced(kind: Callable[..., Message]) -> Callable[[Bench], Message]:
    return lambda b: kind(agent_id="a", fence=b.stubs["fence"])


def _read(kind: Callable[..., Message], **fields: Any) -> Callable[[Bench], Message]:
    return lambda _b: kind(**fields)


MEMBER = {"member_id": "n3", "raft_address": "h:1", "client_address": "h:2"}

ROWS: dict[str, Callable[[Bench], Message]] = {
    "SessionService.OpenSession": _read(OpenSessionRequest, session_id="x", client="me"),
    "SessionService.KeepAlive": _read(KeepAliveRequest, session_id="s1", nonce=1),
    "SessionService.CloseSession": _read(CloseSessionRequest, session_id="s1"),
    "SessionService.ListSessions": _read(ListSessionsRequest),
    "AgentService.CreateAgent": lambda b: _labelled(b, CreateAgentRequest, "new"),
    "AgentService.GetAgent": _read(GetAgentRequest, agent_id="a"),
    "AgentService.UpdateAgent": lambda b: _labelled(b, UpdateAgentRequest, "a"),
    "AgentService.ListAgents": _read(ListAgentsRequest, prefix="a"),
    "AgentService.RetireAgent": _mutation(RetireAgentRequest, agent_id="halted"),
    "AgentService.AcquireOwnership": _acquire,
    "AgentService.RenewOwnership": _fenced(RenewOwnershipRequest),
    "AgentService.ReleaseOwnership": lambda b: ReleaseOwnershipRequest(
        request_id=b.request_id(), agent_id="a", fence=b.stubs["fence"]
    ),
    "AgentService.ForkAgent": _mutation(
        ForkAgentRequest, source_agent_id="a", agent_id="new", labels=[Label(name="n")]
    ),
    "AgentService.HaltAgent": _mutation(HaltAgentRequest, agent_id="a", reason="why"),
    "AgentService.ResumeAgent": _mutation(ResumeAgentRequest, agent_id="halted"),
    "AgentService.CheckFence": lambda b: CheckFenceRequest(
        fences=[FenceQuery(agent_id="a", fence=b.stubs["fence"])]
    ),
    "StepService.CommitStep": _step,
    "StepService.Submit": lambda b: SubmitRequest(
        first_nonce=1, mutations=[Mutation(put=PutRequest(request_id=b.request_id(), key=b"k"))]
    ),
    "EventService.AppendEvents": _append,
    "EventService.ReadEvents": _read(ReadEventsRequest, stream_id="s"),
    "EventService.ReadAll": _read(ReadAllRequest, prefix="s"),
    "EventService.GetStream": _read(GetStreamRequest, stream_id="s"),
    "EventService.TruncateBefore": _mutation(
        TruncateBeforeRequest, stream_id="s", before_seq=2, projection="p"
    ),
    "EventService.VerifyChain": _read(VerifyChainRequest, stream_id="s"),
    "EventService.ExportAudit": _read(ExportAuditRequest, prefix="s"),
    "EventService.SaveProjection": _mutation(
        SaveProjectionRequest, name="p", position=3, expected_position=2
    ),
    "EventService.GetProjection": _read(GetProjectionRequest, name="p"),
    "EventService.ListProjections": _read(ListProjectionsRequest),
    "EventService.DeleteProjection": _mutation(DeleteProjectionRequest, name="p"),
    "CheckpointService.PutCheckpoint": _put_checkpoint,
    "CheckpointService.PutChunk": _mutation(
        PutChunkRequest, agent_id="a", data=b"x", hash=digest(b"x")
    ),
    "CheckpointService.MissingChunks": _read(
        MissingChunksRequest, agent_id="a", hashes=[digest(b"x")]
    ),
    "CheckpointService.GetCheckpoint": _read(GetCheckpointRequest, agent_id="a"),
    "CheckpointService.ListCheckpoints": _read(ListCheckpointsRequest, agent_id="a"),
    "CheckpointService.TagCheckpoint": _tag,
    "CheckpointService.MarkValid": _mark_valid,
    "CheckpointService.PruneCheckpoints": _mutation(PruneCheckpointsRequest, agent_id="a"),
    "CheckpointService.CopyLineage": _mutation(
        CopyLineageRequest, source_agent_id="a", agent_id="new"
    ),
    "CheckpointService.DiffCheckpoints": _read(
        DiffCheckpointsRequest, agent_id="a", from_checkpoint_id=1, to_checkpoint_id=2
    ),
    "CheckpointService.PutGroupCheckpoint": _put_group,
    "CheckpointService.GetGroupCheckpoint": _read(GetGroupCheckpointRequest, group_id="g"),
    "CheckpointService.ListGroupCheckpoints": _read(ListGroupCheckpointsRequest, prefix="g"),
    "CheckpointService.DeleteGroupCheckpoint": _mutation(
        DeleteGroupCheckpointRequest, group_id="g"
    ),
    "KvService.Get": _read(GetRequest, key=b"k"),
    "KvService.Range": _read(RangeRequest, range=KeyRange(start=b"a")),
    "KvService.Put": _mutation(PutRequest, key=b"k", value=b"v", lease_id=7),
    "KvService.Delete": _mutation(DeleteRequest, key=b"k"),
    "KvService.DeleteRange": _mutation(DeleteRangeRequest, range=KeyRange(start=b"a")),
    "KvService.Txn": _txn,
    "KvService.Compact": lambda b: CompactRequest(
        request_id=b.request_id(), revision=b.fake.machine.revision
    ),
    "LeaseService.Grant": _mutation(GrantRequest, ttl_ms=1_000),
    "LeaseService.Revoke": _mutation(RevokeRequest, lease_id=7),
    "LeaseService.KeepAlive": _read(LeaseServiceKeepAliveRequest, lease_id=7),
    "LeaseService.TimeToLive": _read(TimeToLiveRequest, lease_id=7),
    "LeaseService.ListLeases": _read(ListLeasesRequest),
    "RecoveryService.PutValidator": _mutation(
        PutValidatorRequest, name="w", agent_prefix="a", description="d"
    ),
    "RecoveryService.ListValidators": _read(ListValidatorsRequest),
    "WatchService.Watch": _read(
        WatchRequest,
        start=WatchStart.WATCH_START_SNAPSHOT,
        selector=Selector(types=[ResourceType.RESOURCE_TYPE_AGENT], prefix=b"a"),
    ),
    "ReadService.Read": _read(
        ReadRequest, first_nonce=1, queries=[Query(get=GetRequest(key=b"k"), timeout_ms=5_000)]
    ),
    "ClusterService.Status": _read(StatusRequest),
    "ClusterService.GetLimits": _read(GetLimitsRequest),
    "ClusterService.ListMembers": _read(ListMembersRequest),
    "ClusterService.AddMember": _read(AddMemberRequest, **MEMBER),
    "ClusterService.PromoteMember": _read(PromoteMemberRequest, member_id="n2"),
    "ClusterService.RemoveMember": _read(RemoveMemberRequest, member_id="n2"),
    "ClusterService.TransferLeadership": _read(TransferLeadershipRequest, to_member_id="n2"),
    **bad_rows_of_effects.ROWS,
}

# --- what is wrong for every field ---------------------------------------------------

_BY_NAME: dict[str, Wrong] = {
    "agent_id": ID,
    "source_agent_id": ID,
    "group_id": ID,
    "stream_id": ID,
    "session_id": SESSION,
    "member_id": MEMBER_ID,
    "page_size": PAGE_SIZE,
    "page_token": PAGE_TOKEN,
    "client": PEOPLE,
    "holder": PEOPLE,
    "reason": PEOPLE,
    "evidence": PEOPLE,
    "description": PEOPLE,
    "content_type": WORD,
    "key": KEY,
    "prefix": PREFIX,
    "labels": [too_many(33)],
    "rpo_target_ms": TARGET,
    "rto_target_ms": TARGET,
    "nonce": ANY,
    "fence": ANY,
    "lease_id": ANY,
    "expected_step": ANY,
    "with_keys": ANY,
    "keys_only": ANY,
    "backwards": ANY,
    "pinned": ANY,
    **bad_rows_of_effects.BY_NAME,
}

WRONG: dict[str, Wrong] = {
    "RequestId.sequence": [lambda one: one.lowest_unfinished + limits.WINDOW],
    "RequestId.lowest_unfinished": ANY,
    "RequestId.opened_revision": NUMBER,
    "FencingToken.epoch": ANY,
    "FencingToken.revision": ANY,
    "Label.name": ["n" * 64],
    "Label.value": ["v" * 256],
    "OpenSessionRequest.ttl_ms": [999, 3_600_001, -1],
    "KeepAliveRequest.opened_revision": ANY,
    "CloseSessionRequest.opened_revision": ANY,
    "Retention.keep_last": ANY,
    "Retention.keep_for_ms": ANY,
    "Retention.keep_known_good": ANY,
    "AcquireOwnershipRequest.ttl_ms": [199, 3_600_001, -1],
    "AcquireOwnershipRequest.create": ANY,
    "ForkAgentRequest.checkpoint_id": ANY,
    "CheckFenceRequest.fences": [too_many(129)],
    "CommitStepRequest.events": [too_many(129)],
    "SubmitRequest.first_nonce": ANY,
    "SubmitRequest.mutations": [too_many(1_001)],
    "ReadRequest.first_nonce": ANY,
    "ReadRequest.queries": [too_many(1_001)],
    "NewEvent.type": ["x" * 129],
    "NewEvent.data": [bytes(limits.REQUEST_BYTES_MAX)],
    "NewEvent.causation_id": WORD,
    "NewEvent.correlation_id": WORD,
    "NewEvent.event_id": ["x" * 65],
    "NewEvent.state_hash": [b"x" * 33],
    "AppendEventsRequest.appends": [too_many(9)],
    "StreamAppend.expected_seq": [lambda one: 1 if one.expected != 4 else None],
    "StreamAppend.events": [too_many(129)],
    "ReadEventsRequest.from_seq": ANY,
    "ReadEventsRequest.max_events": ANY,
    "ReadAllRequest.from_position": ANY,
    "ReadAllRequest.max_events": ANY,
    "TruncateBeforeRequest.before_seq": NUMBER,
    "TruncateBeforeRequest.checkpoint_id": [1],
    "TruncateBeforeRequest.projection": OPTIONAL_ID,
    "VerifyChainRequest.from_seq": ANY,
    "VerifyChainRequest.max_events": [limits.VERIFY_EVENTS_MAX + 1],
    "SaveProjectionRequest.name": ID,
    "SaveProjectionRequest.position": ANY,
    "SaveProjectionRequest.expected_position": ANY,
    "GetProjectionRequest.name": ID,
    "DeleteProjectionRequest.name": ID,
    "ChunkRef.hash": HASH,
    "ChunkRef.size_bytes": [0, MIB + 1],
    "NewCheckpoint.data": [bytes(MIB + 1)],
    "NewCheckpoint.chunks": [too_many(4_097)],
    "NewCheckpoint.base_checkpoint_id": ANY,
    "NewCheckpoint.tags": [too_many(17), ["x" * 64], [""], ["t", "t"]],
    "PutChunkRequest.data": [b"", bytes(MIB + 1)],
    "PutChunkRequest.hash": [*(HASH or ()), b"x" * 32],
    "MissingChunksRequest.hashes": [too_many(4_097), [b"x"]],
    "GetCheckpointRequest.checkpoint_id": ANY,
    "GetCheckpointRequest.tag": ["x" * 64],
    "GetCheckpointRequest.with_chain": ANY,
    "GetCheckpointRequest.without_data": ANY,
    "ListCheckpointsRequest.known_good": ANY,
    "ListCheckpointsRequest.tagged": ANY,
    "ListCheckpointsRequest.min_step": ANY,
    "ListCheckpointsRequest.max_step": ANY,
    "TagCheckpointRequest.checkpoint_id": NUMBER,
    "TagCheckpointRequest.add_tags": [too_many(17), ["x" * 64], [""], ["t", "t"]],
    "TagCheckpointRequest.remove_tags": [too_many(17), ["x" * 64], [""], ["new"]],
    "MarkValidRequest.checkpoint_id": NUMBER,
    "MarkValidRequest.validator": ID,
    "MarkValidRequest.valid": ANY,
    "MarkValidRequest.content_hash": HASH,
    "PruneCheckpointsRequest.keep_last": ANY,
    "PruneCheckpointsRequest.before_checkpoint_id": ANY,
    "CopyLineageRequest.up_to_checkpoint_id": ANY,
    "DiffCheckpointsRequest.from_checkpoint_id": NUMBER,
    "DiffCheckpointsRequest.to_checkpoint_id": NUMBER,
    "DiffCheckpointsRequest.to_agent_id": OPTIONAL_ID,
    "NewGroupMember.checkpoint_id": [1],
    "PutGroupCheckpointRequest.members": [too_many(33)],
    "KeyRange.start": KEY,
    "KeyRange.end": KEY,
    "KeyRange.prefix": KEY,
    "PutRequest.value": [bytes(limits.REQUEST_BYTES_MAX)],
    "TxnPut.value": [bytes(limits.REQUEST_BYTES_MAX)],
    "Compare.value": [bytes(limits.REQUEST_BYTES_MAX)],
    "Compare.version": ANY,
    "Compare.create_revision": ANY,
    "Compare.mod_revision": ANY,
    "TxnRange.limit": [limits.PAGE_SIZE_MAX + 1],
    "TxnSaveProjection.name": ID,
    "TxnSaveProjection.position": ANY,
    "TxnSaveProjection.expected_position": ANY,
    "TxnBody.compares": [too_many(129)],
    "TxnBody.success": [too_many(129)],
    "TxnBody.failure": [too_many(129)],
    "CompactRequest.revision": NUMBER,
    "GrantRequest.ttl_ms": [0, 499, 86_400_001, -1],
    "RevokeRequest.lease_id": NUMBER,
    "LeaseServiceKeepAliveRequest.lease_id": NUMBER,
    "TimeToLiveRequest.lease_id": NUMBER,
    "PutValidatorRequest.name": ID,
    "PutValidatorRequest.agent_prefix": PREFIX,
    "Selector.types": [too_many(len(ResourceType.values()))],
    "Selector.prefix": KEY,
    "Selector.exact": ANY,
    "WatchRequest.revision": [1],
    "WatchRequest.resume_token": ["x", "x" * 1_025],
    "WatchRequest.progress_ms": [99, 600_001],
    "WatchRequest.with_previous": ANY,
    "AddMemberRequest.raft_address": ADDRESS,
    "AddMemberRequest.client_address": ADDRESS,
    "TransferLeadershipRequest.to_member_id": MEMBER_ID,
    **bad_rows_of_effects.WRONG,
}


def wrong_for(message: str, field: str, reads: bool) -> Wrong:
    """What no request may have in a field; `reads`: it has a consistency beside it.
    KeyError if nothing was ever said of it."""
    if reads and field == "revision":
        return REVISION
    name = f"{message}.{field}"
    return WRONG[name] if name in WRONG else _BY_NAME[field]


# Fields without which a request is refused.
NEEDED = frozenset(
    {
        "RequestId.session_id",
        "RequestId.opened_revision",
        "RequestId.sequence",
        "Label.name",
        "FenceQuery.agent_id",
        "OpenSessionRequest.session_id",
        "KeepAliveRequest.session_id",
        "CloseSessionRequest.session_id",
        "CreateAgentRequest.agent_id",
        "GetAgentRequest.agent_id",
        "UpdateAgentRequest.agent_id",
        "RetireAgentRequest.agent_id",
        "AcquireOwnershipRequest.agent_id",
        "RenewOwnershipRequest.agent_id",
        "RenewOwnershipRequest.fence",
        "ReleaseOwnershipRequest.agent_id",
        "ReleaseOwnershipRequest.fence",
        "ForkAgentRequest.agent_id",
        "ForkAgentRequest.source_agent_id",
        "HaltAgentRequest.agent_id",
        "ResumeAgentRequest.agent_id",
        "CheckFenceRequest.fences",
        "CommitStepRequest.agent_id",
        "CommitStepRequest.fence",
        "NewEvent.type",
        "AppendEventsRequest.appends",
        "StreamAppend.stream_id",
        "StreamAppend.events",
        "ReadEventsRequest.stream_id",
        "GetStreamRequest.stream_id",
        "TruncateBeforeRequest.stream_id",
        "TruncateBeforeRequest.before_seq",
        "VerifyChainRequest.stream_id",
        "SaveProjectionRequest.name",
        "GetProjectionRequest.name",
        "DeleteProjectionRequest.name",
        "PutCheckpointRequest.agent_id",
        "PutCheckpointRequest.fence",
        "PutCheckpointRequest.checkpoint",
        "PutChunkRequest.agent_id",
        "PutChunkRequest.data",
        "PutChunkRequest.hash",
        "ChunkRef.hash",
        "ChunkRef.size_bytes",
        "MissingChunksRequest.agent_id",
        "MissingChunksRequest.hashes",
        "GetCheckpointRequest.agent_id",
        "ListCheckpointsRequest.agent_id",
        "TagCheckpointRequest.agent_id",
        "TagCheckpointRequest.checkpoint_id",
        "MarkValidRequest.agent_id",
        "MarkValidRequest.checkpoint_id",
        "MarkValidRequest.validator",
        "MarkValidRequest.content_hash",
        "PruneCheckpointsRequest.agent_id",
        "CopyLineageRequest.agent_id",
        "CopyLineageRequest.source_agent_id",
        "DiffCheckpointsRequest.agent_id",
        "DiffCheckpointsRequest.from_checkpoint_id",
        "DiffCheckpointsRequest.to_checkpoint_id",
        "NewGroupMember.agent_id",
        "PutGroupCheckpointRequest.group_id",
        "PutGroupCheckpointRequest.members",
        "GetGroupCheckpointRequest.group_id",
        "DeleteGroupCheckpointRequest.group_id",
        "GetRequest.key",
        "PutRequest.key",
        "DeleteRequest.key",
        "TxnPut.key",
        "TxnGet.key",
        "TxnDelete.key",
        "TxnRequest.txn",
        "TxnSaveProjection.name",
        "CompactRequest.revision",
        "GrantRequest.ttl_ms",
        "RevokeRequest.lease_id",
        "LeaseServiceKeepAliveRequest.lease_id",
        "TimeToLiveRequest.lease_id",
        "PutValidatorRequest.name",
        "AddMemberRequest.member_id",
        "AddMemberRequest.raft_address",
        "AddMemberRequest.client_address",
        "PromoteMemberRequest.member_id",
        "RemoveMemberRequest.member_id",
        *bad_rows_of_effects.NEEDED,
    }
)

# Fields whose comment speaks of something else as required, or that only some need.
NOT_ALWAYS_NEEDED = frozenset(
    {
        "AcquireOwnershipRequest.mode",
        "Compare.key",
        "Compare.value",
        "Compare.version",
        "Compare.create_revision",
        "Compare.mod_revision",
        "Compare.lease_id",
        "MarkValidRequest.valid",
        "StreamAppend.expected",
        *bad_rows_of_effects.NOT_ALWAYS_NEEDED,
        *(f"TxnOp.{kind}" for kind in TxnOp.DESCRIPTOR.fields_by_name if kind != "txn"),
    }
)
