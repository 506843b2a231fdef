"""Clients of checkpoints: archivists own agents and save them in every way there is.

Each owns one of few agents, other than those of the workers, and does to its checkpoints
what people, validators and retention do: tags, pins, judges, prunes, groups, forks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from raftstate.core import checkpoint_queries, keys
from raftstate.core.ports import Reader
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    Agent,
    ForkAgentRequest,
    Retention,
    UpdateAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
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
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    NewEvent,
    StreamAppend,
    TruncateBeforeRequest,
)
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import CheckpointBody, CollectChunks, Command, Outcome
from tests.sim.store import judging
from tests.sim.store.client import StoreClient
from tests.sim.tasks import Script, Wait

OWNED = 2  # agents that archivists own
PREFIX = "kept/"
PALETTE = 6  # different chunks: few, so that most are used more than once
INLINE = 4_096
Action = Callable[[], Script]


class Archivist(StoreClient):
    """Somebody who saves an agent's checkpoints, and somebody else who judges them."""

    kind = "archivist"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.agent_id = f"{PREFIX}{self.rng.randrange(OWNED)}"
        self.fence: FencingToken | None = None
        self.groups: list[str] = []
        self.names = 0
        self.actions: dict[Action, int] = {
            self.step: 6,
            self.save: 6,
            self.save_chunks: 8,
            self.append: 3,
            self.truncate: 2,
            self.tag: 6,
            self.judge: 6,
            self.prune: 2,
            self.group: 3,
            self.disband: 2,
            self.fork: 2,
            self.set_retention: 2,
            self.collect: 3,
            self.read: 10,
        }

    def act(self) -> Script:
        """Acquire if need be; then do some of all that."""
        if self.fence is None:
            yield from self.acquire()
        for _ in range(self.rng.randint(1, 4)):
            if self.session_over or self.fleet.closing:
                break
            (action,) = self.rng.choices(list(self.actions), list(self.actions.values()))
            yield from action()
        if self.session_over or self.rng.random() < 0.05:
            self.fence = None

    def acquire(self) -> Script:
        """Take the agent from whoever has it."""
        request = AcquireOwnershipRequest(
            agent_id=self.agent_id,
            mode=agents.ACQUIRE_MODE_FORCE,
            ttl_ms=60_000,
            holder=self.name,
            create=True,
        )
        outcome, _ = yield from self.do(Command(acquire_ownership=request))
        if outcome is not None and outcome.HasField("acquire_ownership"):
            self.fence = outcome.acquire_ownership.ownership.fence

    def own(self, command: Command) -> Generator[Wait, None, Outcome | None]:
        """Do what only an owner may; whether it is one still is asked of every answer."""
        outcome, _ = yield from self.do(command)
        if outcome is None or outcome.HasField("refusal"):
            self.fence = None if self.rng.random() < 0.5 else self.fence
            return None
        self.common.counts["saves"] += 1
        return outcome

    # -- saving --

    def checkpoint(self) -> NewCheckpoint:
        """A checkpoint with its data, small or not."""
        size = self.rng.choice((0, 10, 100, INLINE, INLINE + 1, 9_000))
        data = self.unique() + bytes(max(0, size - 12))
        new = NewCheckpoint(data=data[:size], content_type="application/octet-stream")
        self.adorn(new)
        return new

    def adorn(self, new: NewCheckpoint) -> None:
        """Tag it, pin it, or make it a delta, now and then."""
        if self.rng.random() < 0.2:
            new.tags.append(f"tag-{self.rng.randrange(3)}")
        new.pinned = self.rng.random() < 0.1
        mine = [number for name, number in self.common.saved if name == self.agent_id]
        if mine and self.rng.random() < 0.5:
            new.base_checkpoint_id = self.rng.choice(mine[-4:])

    def saved(self, number: int, new: NewCheckpoint) -> None:
        """Remember what an acknowledged checkpoint is."""
        hashes = [ref.hash for ref in new.chunks]
        if len(hashes) > 1:
            named = judging.content(b"".join(hashes))
        else:
            named = hashes[0] if hashes else judging.content(new.data)
        self.common.saved[self.agent_id, number] = named

    def step(self) -> Script:
        """A step with an event, and perhaps a checkpoint."""
        request = CommitStepRequest(agent_id=self.agent_id, fence=self.fence)
        events = [self.event()] if self.rng.random() < 0.8 else []
        request.events.extend(events)
        new = self.checkpoint() if self.rng.random() < 0.6 else None
        if new is not None:
            request.checkpoint.CopyFrom(new)
        outcome = yield from self.own(Command(commit_step=request))
        if outcome is not None and new is not None:
            self.saved(outcome.commit_step.head.checkpoint_id, new)

    def save(self) -> Script:
        """A checkpoint outside of a step."""
        yield from self.put(self.checkpoint())

    def save_chunks(self) -> Script:
        """Upload some chunks, and save a checkpoint of them: at once, or when some of them
        may have been collected."""
        parts = [self.chunk() for _ in range(self.rng.choice((1, 2, 3)))]
        for part in parts:
            request = PutChunkRequest(
                agent_id=self.agent_id, data=part, hash=judging.content(part)
            )
            yield from self.do(Command(put_chunk=request))
        if self.rng.random() < 0.3:
            yield from self.sleep(self.rng.uniform(0.0, 2.0))
        refs = [ChunkRef(hash=judging.content(part), size_bytes=len(part)) for part in parts]
        new = NewCheckpoint(chunks=refs)
        self.adorn(new)
        yield from self.put(new)

    def chunk(self) -> bytes:
        """One of few chunks."""
        number = self.rng.randrange(PALETTE)
        return bytes([number]) * (50 + 10 * number)

    def put(self, new: NewCheckpoint) -> Script:
        """Save a checkpoint."""
        request = PutCheckpointRequest(agent_id=self.agent_id, fence=self.fence, checkpoint=new)
        outcome = yield from self.own(Command(put_checkpoint=request))
        if outcome is not None:
            self.saved(outcome.put_checkpoint.head.checkpoint_id, new)

    # -- the agent's stream --

    def event(self) -> NewEvent:
        """An event, with an id or without."""
        data = self.unique()
        event_id = data.decode() if self.rng.random() < 0.5 else ""
        return NewEvent(type="saved", data=data, event_id=event_id)

    def append(self) -> Script:
        """Append outside of a step."""
        part = StreamAppend(stream_id=self.agent_id, fence=self.fence, events=[self.event()])
        yield from self.own(Command(append_events=AppendEventsRequest(appends=[part])))

    def truncate(self) -> Script:
        """Give up the events that some checkpoint covers."""
        found = yield from self.some()
        if found is not None and found.event_seq:
            request = TruncateBeforeRequest(
                stream_id=self.agent_id,
                before_seq=found.event_seq + self.rng.choice((0, 1, 1, 2)),
                checkpoint_id=found.checkpoint_id,
            )
            outcome, _ = yield from self.do(Command(truncate_before=request))
            if outcome is not None and outcome.HasField("truncate_before"):
                self.common.counts["truncations"] += 1

    # -- what others do --

    def some(self, agent_id: str = "") -> Generator[Wait, None, Checkpoint | None]:
        """Some checkpoint of the agent, or of another."""
        agent_id, share = agent_id or self.agent_id, self.rng.random()

        def look(reader: Reader) -> Checkpoint | None:
            rows = list(reader.scan(*keys.checkpoints(agent_id, 0)))
            return Checkpoint.FromString(rows[int(share * len(rows))][1]) if rows else None

        sight = yield from self.glance(look)
        return sight.value if sight is not None else None

    def tag(self) -> Script:
        """Tag, label or pin some checkpoint, or undo that."""
        found = yield from self.some()
        if found is None:
            return
        request = TagCheckpointRequest(
            agent_id=self.agent_id, checkpoint_id=found.checkpoint_id
        )
        tag = f"tag-{self.rng.randrange(3)}"
        way = self.rng.randrange(4)
        if way == 0:
            request.add_tags.append(tag)
        elif way == 1:
            request.remove_tags.append(tag)
        else:
            request.pinned = self.rng.random() < 0.4
        yield from self.do(Command(tag_checkpoint=request))

    def judge(self) -> Script:
        """Say of some checkpoint that it is good, or is not: mostly of the agent that
        somebody else owns, for its owner may not."""
        name = f"validator-{self.rng.randrange(2)}"
        others = [f"{PREFIX}{number}" for number in range(OWNED)]
        agent_id = self.rng.choice([*(one for one in others if one != self.agent_id), *others])
        found = yield from self.some(agent_id)
        if found is None:
            return
        if self.rng.random() < 0.3:
            registered = PutValidatorRequest(name=name, agent_prefix=PREFIX)
            yield from self.do(Command(put_validator=registered))
        request = MarkValidRequest(
            agent_id=agent_id,
            checkpoint_id=found.checkpoint_id,
            validator=name,
            valid=self.rng.random() < 0.9,
            content_hash=found.content_hash,
        )
        yield from self.do(Command(mark_valid=request))

    def prune(self) -> Script:
        """Remove what may be removed."""
        keep = self.rng.choice((0, 2, 5))
        request = PruneCheckpointsRequest(agent_id=self.agent_id, keep_last=keep)
        outcome, _ = yield from self.do(Command(prune_checkpoints=request))
        if outcome is not None and outcome.HasField("prune_checkpoints"):
            self.common.counts["pruned"] += outcome.prune_checkpoints.pruned

    def group(self) -> Script:
        """Note one checkpoint of both agents; of its own perhaps a new one."""
        members = [NewGroupMember(agent_id=f"{PREFIX}{number}") for number in range(OWNED)]
        new = self.checkpoint() if self.rng.random() < 0.5 else None
        mine = next(member for member in members if member.agent_id == self.agent_id)
        if new is not None and self.fence is not None:
            mine.checkpoint.CopyFrom(new)
            mine.fence.CopyFrom(self.fence)
        self.names += 1
        group_id = f"{self.name}/{self.names}"
        request = PutGroupCheckpointRequest(group_id=group_id, members=members)
        outcome, _ = yield from self.do(Command(put_group_checkpoint=request))
        if outcome is None or not outcome.HasField("put_group_checkpoint"):
            return
        self.groups.append(group_id)
        if new is not None and self.fence is not None:
            self.saved(outcome.put_group_checkpoint.checkpoint_ids[members.index(mine)], new)

    def disband(self) -> Script:
        """Forget a group."""
        if self.groups:
            group_id = self.groups.pop(0)
            request = DeleteGroupCheckpointRequest(group_id=group_id)
            yield from self.do(Command(delete_group_checkpoint=request))

    def fork(self) -> Script:
        """Begin another agent with a checkpoint of this one, or with all of them."""
        self.names += 1
        new_id = f"forked/{self.name}/{self.names}"
        if self.rng.random() < 0.5:
            fork = ForkAgentRequest(source_agent_id=self.agent_id, agent_id=new_id)
            yield from self.do(Command(fork_agent=fork))
        else:
            copy = CopyLineageRequest(source_agent_id=self.agent_id, agent_id=new_id)
            yield from self.do(Command(copy_lineage=copy))

    def set_retention(self) -> Script:
        """Say how many checkpoints stay."""
        retention = Retention(
            keep_last=self.rng.choice((0, 1, 3, 8)),
            keep_for_ms=self.rng.choice((0, 0, 1000, 10_000)),
            keep_known_good=self.rng.choice((0, 0, 1, 3)),
        )
        request = UpdateAgentRequest(agent_id=self.agent_id, retention=retention)
        yield from self.do(Command(update_agent=request))

    def collect(self) -> Script:
        """What a leader proposes, with no patience."""
        log_time = 1 << 40
        command = Command(collect_chunks=CollectChunks(unused_since_ms=log_time, limit=3))
        yield from self.call("mutate", command)

    # -- reading --

    def read(self) -> Script:
        """Read some checkpoint, record and data; perhaps of a fork."""
        wanted, share = self.rng.choice((PREFIX, "forked/")), self.rng.random()

        def look(reader: Reader) -> Checkpoint | None:
            agents_ = [
                Agent.FromString(raw) for _, raw in reader.scan(*keys.agents(wanted, ""))
            ]
            if not agents_:
                return None
            agent = agents_[int(share * len(agents_))]
            rows = list(reader.scan(*keys.checkpoints(agent.agent_id, 0)))
            if not rows:
                return None
            found = Checkpoint.FromString(rows[int(share * 7919) % len(rows)][1])
            space = checkpoint_queries.chunk_space(agent)
            judging.checkpoint_reads_back(found, body_of(reader, found), reader, space)
            return found

        way = self.rng.randrange(2)
        sight = yield from (self.look, self.glance)[way](look)
        if sight is not None and sight.value is not None:
            found = sight.value
            place = (found.agent_id, found.checkpoint_id)
            told = self.common.saved.get(place, found.content_hash)
            judging.saved_is_kept(*place, told, found.content_hash)
            self.common.counts["checkpoints_read"] += 1


def body_of(reader: Reader, found: Checkpoint) -> CheckpointBody | None:
    """Where a checkpoint's data is."""
    raw = reader.get(keys.checkpoint_body(found.agent_id, found.checkpoint_id))
    return None if raw is None else CheckpointBody.FromString(raw)
