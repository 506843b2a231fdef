"""What golden stories say of checkpoints, besides `story`:

    checkpoint A by=S fence=R [expect=N] NEW     validator V by=S [prefix=P] [required=yes]
    chunk A by=S data=D                          collect before=MS [limit=N]
    tag A by=S id=N [add=T]... [remove=T]... [pinned=yes|no] [labels=k:v]
    valid A by=S id=N validator=V [verdict=bad] [of=D] [evidence=...]
    retain A by=S [last=N] [ms=N] [good=N]       prune A by=S [keep=N] [before=N]
    fork A by=S from=B [id=N] [labels=k:v]       copy A by=S from=B [id=N]
    group G by=S member=A[:ID]... new=A:R:D...   ungroup G by=S

NEW is [data=D] or [size=N], bytes that are all alike, or [chunk=D]..., and [base=N]
[tag=T]... [pinned=yes] [labels=k:v]. What was validated is the content of the checkpoint
unless `of` says otherwise. And the reads

    saved A      all that is known of its checkpoints, and what the agent counts
    content A    what each is made of, full one first
    chunks A     of its space, with uses, and since when there is none
    groups       validators
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from raftstate.core import agents, checkpoint_queries, keys
from raftstate.core.checkpoint_queries import digest
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import ForkAgentRequest, Retention, UpdateAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
    GroupCheckpoint,
    LabelSet,
    MarkValidRequest,
    NewCheckpoint,
    NewGroupMember,
    PruneCheckpointsRequest,
    PutCheckpointRequest,
    PutChunkRequest,
    PutGroupCheckpointRequest,
    TagCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest, Validator
from raftstate.v1.store_pb2 import ChunkRecord, CollectChunks, Command
from tests.core.bench import EPOCH, Bench
from tests.core.stream_story import Shown

if TYPE_CHECKING:
    from tests.core.story import Line

MANY = 1 << 20

# --- commands ----------------------------------------------------------------


def chunk_ref(data: bytes) -> ChunkRef:
    """The chunk of some data."""
    return ChunkRef(hash=digest(data), size_bytes=len(data))


def _new(line: Line) -> NewCheckpoint:
    return NewCheckpoint(
        data=line.text("data").encode() or b"." * line.number("size"),
        labels=line.labels(),
        chunks=[chunk_ref(each.encode()) for each in line.all("chunk")],
        base_checkpoint_id=line.number("base"),
        tags=line.all("tag"),
        pinned=line.text("pinned") == "yes",
    )


def _checkpoint(bench: Bench, line: Line, session: str) -> Command:
    request = PutCheckpointRequest(
        request_id=bench.request_id(session),
        agent_id=line.name,
        fence=line.fence(),
        checkpoint=_new(line),
    )
    if expected := line.text("expect"):
        request.expected_step = int(expected)
    return Command(put_checkpoint=request)


def _chunk(bench: Bench, line: Line, session: str) -> Command:
    data = line.text("data").encode()
    request = PutChunkRequest(
        request_id=bench.request_id(session), agent_id=line.name, data=data, hash=digest(data)
    )
    return Command(put_chunk=request)


def _tag(bench: Bench, line: Line, session: str) -> Command:
    request = TagCheckpointRequest(
        request_id=bench.request_id(session),
        agent_id=line.name,
        checkpoint_id=line.number("id"),
        add_tags=line.all("add"),
        remove_tags=line.all("remove"),
    )
    if pinned := line.text("pinned"):
        request.pinned = pinned == "yes"
    if line.text("labels"):
        request.labels.CopyFrom(LabelSet(labels=line.labels()))
    return Command(tag_checkpoint=request)


def _valid(bench: Bench, line: Line, session: str) -> Command:
    number = line.number("id")
    found = checkpoint_queries.get_checkpoint(bench.store, line.name, number)
    seen = line.text("of")
    request = MarkValidRequest(
        request_id=bench.request_id(session),
        agent_id=line.name,
        checkpoint_id=number,
        validator=line.text("validator"),
        valid=line.text("verdict") != "bad",
        content_hash=digest(seen.encode()) if seen or found is None else found.content_hash,
        evidence=line.text("evidence"),
    )
    return Command(mark_valid=request)


def _retain(bench: Bench, line: Line, session: str) -> Command:
    request = UpdateAgentRequest(
        request_id=bench.request_id(session),
        agent_id=line.name,
        retention=Retention(
            keep_last=line.number("last"),
            keep_for_ms=line.number("ms"),
            keep_known_good=line.number("good"),
        ),
    )
    return Command(update_agent=request)


def _prune(bench: Bench, line: Line, session: str) -> Command:
    request = PruneCheckpointsRequest(
        request_id=bench.request_id(session),
        agent_id=line.name,
        keep_last=line.number("keep"),
        before_checkpoint_id=line.number("before"),
    )
    return Command(prune_checkpoints=request)


def _fork(bench: Bench, line: Line, session: str) -> Command:
    request = ForkAgentRequest(
        request_id=bench.request_id(session),
        source_agent_id=line.text("from"),
        agent_id=line.name,
        checkpoint_id=line.number("id"),
        labels=line.labels(),
    )
    return Command(fork_agent=request)


def _copy(bench: Bench, line: Line, session: str) -> Command:
    request = CopyLineageRequest(
        request_id=bench.request_id(session),
        source_agent_id=line.text("from"),
        agent_id=line.name,
        up_to_checkpoint_id=line.number("id"),
    )
    return Command(copy_lineage=request)


def _group(bench: Bench, line: Line, session: str) -> Command:
    request = PutGroupCheckpointRequest(
        request_id=bench.request_id(session), group_id=line.name
    )
    for each in line.all("member"):
        name, _, number = each.partition(":")
        request.members.add(agent_id=name, checkpoint_id=int(number or "0"))
    for each in line.all("new"):
        name, fence, data = each.split(":")
        member = NewGroupMember(
            agent_id=name,
            checkpoint=NewCheckpoint(data=data.encode()),
            fence=FencingToken(epoch=EPOCH, revision=int(fence)),
        )
        request.members.append(member)
    return Command(put_group_checkpoint=request)


def _ungroup(bench: Bench, line: Line, session: str) -> Command:
    request = DeleteGroupCheckpointRequest(
        request_id=bench.request_id(session), group_id=line.name
    )
    return Command(delete_group_checkpoint=request)


def _validator(bench: Bench, line: Line, session: str) -> Command:
    request = PutValidatorRequest(
        request_id=bench.request_id(session),
        name=line.name,
        agent_prefix=line.text("prefix"),
        required_in_rollbacks=line.text("required") == "yes",
    )
    return Command(put_validator=request)


def _collect(line: Line) -> Command:
    limit = line.number("limit", 1_000)
    collect = CollectChunks(unused_since_ms=line.number("before"), limit=limit)
    return Command(collect_chunks=collect)


PLAIN: dict[str, Callable[[Line], Command]] = {"collect": _collect}
MUTATIONS: dict[str, Callable[[Bench, Line, str], Command]] = {
    "checkpoint": _checkpoint,
    "chunk": _chunk,
    "tag": _tag,
    "valid": _valid,
    "retain": _retain,
    "prune": _prune,
    "fork": _fork,
    "copy": _copy,
    "group": _group,
    "ungroup": _ungroup,
    "validator": _validator,
}

# --- what was said -----------------------------------------------------------

SAID: dict[str, Callable[[Any], str]] = {
    "put_checkpoint": lambda said: (
        f"saved step={said.head.step} seq={said.head.event_seq}"
        f" checkpoint={said.head.checkpoint_id}"
    ),
    "put_chunk": lambda said: "chunk known" if said.known else "chunk stored",
    "mark_valid": lambda said: f"known_good={said.known_good}",
    "prune_checkpoints": lambda said: f"pruned {said.pruned}{' more' if said.more else ''}",
    "copy_lineage": lambda said: f"copied {said.copied}",
    "put_group_checkpoint": lambda said: f"grouped {list(said.checkpoint_ids)}",
}

# --- reads -------------------------------------------------------------------


def _words(each: Checkpoint) -> Iterator[str]:
    yield f"step={each.step} seq={each.event_seq} time={each.log_time_ms}"
    yield f"bytes={each.size_bytes} hash={each.content_hash.hex()[:8]}"
    if each.chunk_count:
        yield f"chunks={each.chunk_count}"
    if each.base_checkpoint_id:
        yield f"on={each.base_checkpoint_id} chain={each.chain_length}"
    if each.dependents or each.groups:
        yield f"dependents={each.dependents} groups={each.groups}"
    if each.labels:
        yield "labels=" + ",".join(f"{one.name}:{one.value}" for one in each.labels)
    if each.tags:
        yield "tags=" + ",".join(each.tags)
    if each.pinned:
        yield "pinned"
    if each.HasField("origin"):
        origin = each.origin
        yield f"from={origin.agent_id}#{origin.checkpoint_id}/{origin.step}/{origin.event_seq}"
    if each.restored_from:
        yield f"restored-from={each.restored_from}"
    for one in each.validations:
        yield f"{'good' if one.valid else 'bad'}({one.validator}@{one.revision})"
    if each.known_good:
        yield "known-good"


def numbers(reader: Reader, span: keys.Span) -> list[int]:
    """The checkpoints of an index, in order."""
    return [keys.to_number(key) for key, _ in reader.scan(*span)]


def _saved(shown: Shown, name: str) -> Iterator[str]:
    agent = agents.load(shown.store, name)
    if agent is None:
        return
    prunable = numbers(shown.store, keys.prunable_of(name))
    spare = numbers(shown.store, keys.spare_good_of(name))
    found = checkpoint_queries.list_checkpoints(shown.store, name, 0, MANY).checkpoints
    for each in found:
        words = [f"{each.checkpoint_id}.", *_words(each)]
        words += ["spare"] if each.checkpoint_id in spare else []
        words += ["prunable"] if each.checkpoint_id in prunable else []
        yield " ".join(words)
    yield (
        f"head={agent.head.checkpoint_id} prunable={agent.prunable}"
        f" known_good={agent.known_good} newest_known_good={agent.newest_known_good}"
        f" spare_known_good={agent.spare_known_good}"
    )


def _content(shown: Shown, name: str) -> Iterator[str]:
    for each in checkpoint_queries.list_checkpoints(shown.store, name, 0, MANY).checkpoints:
        parts = checkpoint_queries.chain(shown.store, each)
        texts = (_text(shown.store, part) for part in parts)
        yield f"{each.checkpoint_id}. {' + '.join(texts)}"


def _text(reader: Reader, part: Checkpoint) -> str:
    data = checkpoint_queries.read_data(reader, part)
    if data is None:
        return "gone"
    return data.decode() if len(data) <= 40 else f"{len(data)} bytes"


def _chunks(shown: Shown, name: str) -> Iterator[str]:
    start = keys.chunk_record(name, b"")
    for key, raw in shown.store.scan(start, start + b"\xff" * 33):
        record = ChunkRecord.FromString(raw)
        data = shown.store.get(keys.chunk(name, key[len(start) :])) or b""
        assert len(data) == record.size_bytes
        shown_data = data.decode() if len(data) <= 40 else f"{len(data)} bytes"
        since = "" if record.uses else f" since={record.unused_since_ms}"
        yield f"{shown_data} uses={record.uses}{since}"


def _group_words(group: GroupCheckpoint) -> str:
    members: Sequence[str] = [f"{one.agent_id}#{one.checkpoint_id}" for one in group.members]
    return f"{group.group_id} revision={group.revision} of {' '.join(members)}"


def _validator_words(one: Validator) -> str:
    words = f"{one.name} of {one.agent_prefix or 'all'} revision={one.revision}"
    return f"{words} required" if one.required_in_rollbacks else words


READS: dict[str, Callable[[Shown, str], Iterator[str]]] = {
    "saved": _saved,
    "content": _content,
    "chunks": _chunks,
    "groups": lambda shown, prefix: map(
        _group_words, checkpoint_queries.list_groups(shown.store, prefix, "", MANY)
    ),
    "validators": lambda shown, _: map(
        _validator_words, checkpoint_queries.list_validators(shown.store, "", MANY)
    ),
}
