"""Any order of commands about checkpoints: the machine holds what the model says.

The bounds of one command are lowered, so that a short run reaches them.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raftstate.core import agents, checkpoint_queries, keys, limits
from raftstate.core.checkpoint_queries import digest
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import ForkAgentRequest, Retention, UpdateAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
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
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest
from raftstate.v1.store_pb2 import ChunkRecord, CollectChunks, Command, Outcome
from tests.core.bench import Bench, reason, replayed
from tests.core.checkpoint_model import Model, New, Owner, Saved
from tests.core.checkpoint_story import chunk_ref, numbers

MANY = 1 << 20
LOWERED = {
    "CHAIN_LENGTH_MAX": 3,
    "COPIED_CHECKPOINTS_MAX": 6,
    "PRUNED_PER_SAVE_MAX": 2,
    "PRUNED_CHUNKS_PER_SAVE_MAX": 3,
    "PRUNED_PER_CALL_MAX": 3,
    "PRUNED_CHUNKS_PER_CALL_MAX": 4,
    "INLINE_BYTES_MAX": 8,
}
NAMES = st.sampled_from("aaabc")
TWINS = st.sampled_from(["b", "c", "d"])
CHUNKS = st.sampled_from([b"k", b"ll", b"mmm", b"nnnn"])
TAGS = st.sampled_from([(), (), (), ("t",), ("u",), ("t", "u")])
ALL = st.sampled_from([("t", "u"), ("t", "u"), ("t",), ()])
# How far back in the list of what there is; zero is the newest, nine is nothing.
BACK = st.sampled_from([0, 0, 1, 1, 2, 3, 4, 9])
# A delta on which; zero is none.
BASES = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 10])
STAMPS = st.sampled_from([0, 0, 1, 10, 100])
ROOM = st.sampled_from([0, 1, 2, 3])
SHAPES = st.one_of(
    st.builds(lambda data: New(data=data), st.sampled_from([b"", b"x", b"more-than-8"])),
    st.builds(lambda found: New(chunks=tuple(found)), st.lists(CHUNKS, min_size=1, max_size=3)),
)


class CheckpointMachine(RuleBasedStateMachine):
    """A machine and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.usual = {name: getattr(limits, name) for name in LOWERED}
        for name, value in LOWERED.items():
            setattr(limits, name, value)
        self.bench, self.model = Bench(), Model()
        self.fences: dict[str, FencingToken] = {}
        self.past: dict[int, dict[str, list[bytes]]] = {}
        self.bench.open("s")
        self.bench.open("v")
        self.own("a")
        for chunk in (b"k", b"ll", b"mmm"):
            self.put_chunk("a", chunk, 0)
        self.validate("p", "")
        self.save_some("a", New(data=b"x"), 2, 1, 1)

    # --- helpers ---------------------------------------------------------------

    def own(self, name: str) -> None:
        self.fences[name] = self.bench.granted(self.bench.acquire("s", name))

    def send(self, command: Command, stamp: int) -> Outcome:
        """Apply a command `stamp` after the newest one."""
        return self.bench.one(command, at=self.model.now + stamp)

    def begin(self, stamp: int) -> None:
        """A command is about to come, `stamp` after the newest one."""
        self.before = self.model.at(self.model.now + stamp)

    def pick(self, name: str, back: int) -> int:
        """One of an agent's checkpoints, or one that never was."""
        there = sorted(self.model.agents[name].saved, reverse=True)
        return there[back % len(there)] if there and back < 9 else 999

    def there(self, name: str) -> str:
        return name if name in self.model.agents else "a"

    def told(self, outcome: Outcome, want: str) -> bool:
        """Whether a command was done, having been told what it should be."""
        assert reason(outcome) == want, outcome
        return not want

    # --- agents' work ------------------------------------------------------------

    @rule(name=NAMES, data=CHUNKS, stamp=STAMPS)
    def put_chunk(self, name: str, data: bytes, stamp: int) -> None:
        name = self.there(name)
        self.begin(stamp)
        request = PutChunkRequest(
            request_id=self.bench.request_id("s"), agent_id=name, data=data, hash=digest(data)
        )
        outcome = self.bench.one(Command(put_chunk=request), at=self.model.now)
        assert outcome.put_chunk.known == self.model.put_chunk(name, data)

    @rule(name=NAMES, shape=SHAPES, tags=TAGS, pinned=st.integers(0, 9), on=BASES, stamp=STAMPS)
    def save(
        self, name: str, shape: New, tags: tuple[str, ...], pinned: int, on: int, stamp: int
    ) -> None:
        name = self.there(name)
        base = self.pick(name, on - 1) if on else 0
        new = New(shape.data, shape.chunks, base, tags, pinned == 0)
        self.begin(stamp)
        request = PutCheckpointRequest(
            request_id=self.bench.request_id("s"),
            agent_id=name,
            fence=self.fences[name],
            checkpoint=written(new),
        )
        outcome = self.bench.one(Command(put_checkpoint=request), at=self.model.now)
        if self.told(outcome, self.model.why_not(name, new)):
            number = self.model.save(name, new)
            self.model.after(self.before)
            assert outcome.put_checkpoint.head.checkpoint_id == number

    @rule(
        name=NAMES,
        shape=SHAPES,
        count=st.integers(2, 6),
        on=st.sampled_from([0, 1, 1, 2]),
        stamp=STAMPS,
    )
    def save_some(self, name: str, shape: New, count: int, on: int, stamp: int) -> None:
        """Several in a row: full ones, a chain, or a chain with branches; then a full one."""
        for _ in range(count):
            self.save(name, shape, (), 1, on, stamp)
        self.save(name, shape, (), 1, 0, stamp)

    # --- marks -----------------------------------------------------------------

    @rule(name=NAMES, back=BACK, add=TAGS, remove=ALL, pinned=st.sampled_from([None, 0, 0, 1]))
    def tag(
        self,
        name: str,
        back: int,
        add: tuple[str, ...],
        remove: tuple[str, ...],
        pinned: int | None,
    ) -> None:
        name = self.there(name)
        number, remove = self.pick(name, back), tuple(set(remove) - set(add))
        request = TagCheckpointRequest(
            request_id=self.bench.request_id("v"),
            agent_id=name,
            checkpoint_id=number,
            add_tags=add,
            remove_tags=remove,
        )
        if pinned is not None:
            request.pinned = bool(pinned)
        outcome = self.send(Command(tag_checkpoint=request), 0)
        one = self.model.agents[name].saved.get(number)
        if self.told(outcome, "" if one else "CHECKPOINT_NOT_FOUND"):
            assert one is not None
            one.tags -= set(remove)
            self.model.tag(name, number, add)
            one.pinned = one.pinned if pinned is None else bool(pinned)

    @rule(
        name=NAMES,
        back=BACK,
        validator=st.sampled_from("ppq"),
        valid=st.sampled_from([True, True, True, False]),
        seen=st.integers(0, 9),
    )
    def vote(self, name: str, back: int, validator: str, valid: bool, seen: int) -> None:
        name = self.there(name)
        number = self.pick(name, back)
        one = self.model.agents[name].saved.get(number)
        request = MarkValidRequest(
            request_id=self.bench.request_id("v"),
            agent_id=name,
            checkpoint_id=number,
            validator=validator,
            valid=valid,
            content_hash=one.hash if one and seen else bytes(32),
        )
        outcome = self.send(Command(mark_valid=request), 0)
        prefix = self.model.validators.get(validator)
        want = ""
        if one is None:
            want = "CHECKPOINT_NOT_FOUND"
        elif prefix is None or not name.startswith(prefix):
            want = "VALIDATOR_NOT_FOUND"
        elif not seen:
            want = "CONFLICT"
        if self.told(outcome, want):
            good = self.model.vote(name, number, validator, valid)
            assert outcome.mark_valid.known_good == good

    @rule(name=NAMES, count=st.integers(2, 6))
    def vote_for_some(self, name: str, count: int) -> None:
        for back in range(count):
            self.vote(name, back, "p", True, 1)

    @rule(validator=st.sampled_from("pq"), prefix=st.sampled_from(["", "", "a", "b"]))
    def validate(self, validator: str, prefix: str) -> None:
        request = PutValidatorRequest(
            request_id=self.bench.request_id("v"), name=validator, agent_prefix=prefix
        )
        self.told(self.send(Command(put_validator=request), 0), "")
        self.model.validators[validator] = prefix

    # --- retention ---------------------------------------------------------------

    @rule(name=NAMES, last=ROOM, age=st.sampled_from([0, 0, 5, 50]), good=ROOM)
    def retain(self, name: str, last: int, age: int, good: int) -> None:
        name = self.there(name)
        request = UpdateAgentRequest(
            request_id=self.bench.request_id("v"),
            agent_id=name,
            retention=Retention(keep_last=last, keep_for_ms=age, keep_known_good=good),
        )
        self.told(self.send(Command(update_agent=request), 0), "")
        agent = self.model.agents[name]
        agent.keep_last, agent.keep_for, agent.keep_good = last, age, good

    @rule(name=NAMES, keep=ROOM, back=BACK, stamp=STAMPS)
    def prune(self, name: str, keep: int, back: int, stamp: int) -> None:
        name = self.there(name)
        before = self.pick(name, back) if back else 0
        self.begin(stamp)
        request = PruneCheckpointsRequest(
            request_id=self.bench.request_id("v"),
            agent_id=name,
            keep_last=keep,
            before_checkpoint_id=before,
        )
        outcome = self.bench.one(Command(prune_checkpoints=request), at=self.model.now)
        count, more = self.model.prune(name, keep, before)
        self.model.after(self.before)
        said = outcome.prune_checkpoints
        assert (said.pruned, said.more) == (count, more)

    @rule(ago=st.sampled_from([-1, 0, 5, 60]), limit=st.sampled_from([1, 2, MANY]))
    def collect(self, ago: int, limit: int) -> None:
        """What goes was unused for long enough; without a limit, all of that goes."""
        before = max(self.model.now - ago, 0)
        found = self.model.collectable(before)
        request = CollectChunks(unused_since_ms=before, limit=limit)
        self.told(self.send(Command(collect_chunks=request), 0), "")
        left = {key for key in self.model.stored if self.record(*key) is not None}
        gone = self.model.stored.keys() - left
        assert gone == found if limit == MANY else gone <= found and len(gone) <= limit
        for key in gone:
            del self.model.stored[key]

    # --- forks, copies and groups ------------------------------------------------

    @rule(name=TWINS, source=NAMES, back=BACK, whole=st.booleans(), stamp=STAMPS)
    def fork(self, name: str, source: str, back: int, whole: bool, stamp: int) -> None:
        source = source if back == 9 else self.there(source)
        there = source in self.model.agents
        number = self.pick(source, back - 1) if back and there else 0
        self.begin(stamp)
        if whole:
            copy = CopyLineageRequest(
                request_id=self.bench.request_id("v"),
                source_agent_id=source,
                agent_id=name,
                up_to_checkpoint_id=number,
            )
            command = Command(copy_lineage=copy)
        else:
            fork = ForkAgentRequest(
                request_id=self.bench.request_id("v"),
                source_agent_id=source,
                agent_id=name,
                checkpoint_id=number,
            )
            command = Command(fork_agent=fork)
        outcome = self.bench.one(command, at=self.model.now)
        if self.told(outcome, self.model.fork(name, source, number, whole=whole)):
            self.own(name)

    @rule(
        group=st.sampled_from("gh"),
        members=st.lists(
            st.tuples(st.sampled_from("abc"), st.none() | SHAPES, BACK),
            min_size=1,
            max_size=3,
            unique_by=lambda member: member[0],
        ),
        stale=st.integers(0, 9),
        stamp=STAMPS,
    )
    def put_group(
        self,
        group: str,
        members: list[tuple[str, New | None, int]],
        stale: int,
        stamp: int,
    ) -> None:
        self.begin(stamp)
        request = PutGroupCheckpointRequest(
            request_id=self.bench.request_id("s"), group_id=group
        )
        want = "GROUP_EXISTS" if group in self.model.groups else ""
        asked: list[tuple[str, New | None, int]] = []
        if stale != 9:
            members = [member for member in members if member[0] in self.model.agents]
            members = members or [("a", None, 0)]
        for name, shape, back in members:
            member, why = NewGroupMember(agent_id=name), ""
            number = self.pick(name, back - 1) if back and name in self.model.agents else 0
            if name not in self.model.agents:
                why = "AGENT_NOT_FOUND"
            if shape is not None:
                member.checkpoint.CopyFrom(written(shape))
                member.fence.CopyFrom(self.fences.get(name, FencingToken()))
                if stale == 0:
                    member.fence.revision -= min(member.fence.revision, 1)
                    why = why or "FENCED"
                why = why or self.model.why_not(name, shape)
            else:
                member.checkpoint_id = number
                if not why and (number or self.model.agents[name].head) == 0:
                    why = "CHECKPOINT_NOT_FOUND"
                if not why and number not in {0, *self.model.agents[name].saved}:
                    why = "CHECKPOINT_NOT_FOUND"
            request.members.append(member)
            want = want or why
            asked.append((name, shape, number))
        outcome = self.bench.one(Command(put_group_checkpoint=request), at=self.model.now)
        if self.told(outcome, want):
            self.join(group, asked, list(outcome.put_group_checkpoint.checkpoint_ids))

    def join(
        self, group: str, asked: list[tuple[str, New | None, int]], said: list[int]
    ) -> None:
        ids = {
            name: self.model.save(name, new)
            if new is not None
            else number or self.model.agents[name].head
            for name, new, number in asked
        }
        self.model.after(self.before)
        assert list(ids.values()) == said
        self.model.groups[group] = ids

    @precondition(lambda self: self.model.groups)
    @rule(group=st.sampled_from("gh"))
    def drop_group(self, group: str) -> None:
        request = DeleteGroupCheckpointRequest(
            request_id=self.bench.request_id("s"), group_id=group
        )
        outcome = self.send(Command(delete_group_checkpoint=request), 0)
        if self.told(outcome, "" if group in self.model.groups else "GROUP_NOT_FOUND"):
            del self.model.groups[group]

    # --- the laws ------------------------------------------------------------

    def record(self, space: str, data: bytes) -> ChunkRecord | None:
        raw = self.bench.store.get(keys.chunk_record(space, digest(data)))
        return None if raw is None else ChunkRecord.FromString(raw)

    @invariant()
    def checkpoints_are_what_the_model_says(self) -> None:
        for name, known in self.model.agents.items():
            found = everything(self.bench.store, name)
            assert [one.checkpoint_id for one in found] == sorted(known.saved, reverse=True)
            for one in found:
                self.compare(name, known, one, known.saved[one.checkpoint_id])
        self.past[self.bench.machine.revision] = self.shown(self.bench.store)

    def compare(self, name: str, known: Owner, one: Checkpoint, want: Saved) -> None:
        number = one.checkpoint_id
        assert (one.base_checkpoint_id, one.log_time_ms) == (want.base, want.time)
        assert one.chain_length == len(known.chain(number)) - 1
        assert one.dependents == known.dependents(number)
        assert one.groups == self.model.grouped(name, number)
        assert (set(one.tags), one.pinned) == (want.tags, want.pinned)
        assert {vote.validator: vote.valid for vote in one.validations} == want.votes
        assert one.known_good == want.good
        assert one.chunk_count == (0 if want.inline else len(want.parts))
        origin = (one.origin.agent_id, one.origin.checkpoint_id)
        assert origin == (want.origin or ("", 0))
        data = checkpoint_queries.read_data(self.bench.store, one)
        assert data == b"".join(want.parts)
        assert (one.size_bytes, one.content_hash) == (len(data), want.hash)

    @invariant()
    def agents_count_what_there_is(self) -> None:
        store = self.bench.store
        for name, known in self.model.agents.items():
            agent = agents.load(store, name)
            assert agent is not None
            prunable = numbers(store, keys.prunable_of(name))
            assert prunable == self.model.prunable(name)
            assert agent.prunable == len(prunable)
            assert agent.head.checkpoint_id == known.head
            good, spare = known.good(), known.spare()
            assert numbers(store, keys.spare_good_of(name)) == spare
            assert numbers(store, keys.kept_good_of(name)) == good[len(spare) :]
            assert (agent.known_good, agent.spare_known_good) == (len(good), len(spare))
            assert agent.newest_known_good == max(good, default=0)
            for tag in ("t", "u"):
                holders = [number for number, one in known.saved.items() if tag in one.tags]
                assert checkpoint_queries.tagged(store, name, tag) == sum(holders)

    @invariant()
    def chunks_are_counted(self) -> None:
        uses = self.model.uses()
        stored = {key for key, _ in self.bench.store.scan(b"f", b"g")}
        assert len(stored) == len(self.model.stored)
        for key, since in self.model.stored.items():
            record = self.record(*key)
            assert record is not None
            assert record.uses == uses[key]
            assert record.uses or record.unused_since_ms == since
            place = keys.chunk(key[0], digest(key[1]))
            assert self.bench.store.get(place) == key[1]
        groups = checkpoint_queries.list_groups(self.bench.store, "", "", MANY)
        assert {
            one.group_id: {each.agent_id: each.checkpoint_id for each in one.members}
            for one in groups
        } == self.model.groups

    def shown(self, reader: Reader) -> dict[str, list[bytes]]:
        """Every checkpoint, as a reader shows it."""
        return {
            name: [one.SerializeToString() for one in everything(reader, name)]
            for name in self.model.agents
        }

    def teardown(self) -> None:
        """The past is as it was; and another replica that is given the log, once or twice,
        ends with the same bytes."""
        try:
            store = self.bench.store
            for revision, was in list(self.past.items())[::5]:
                now = self.shown(PastReader(store, revision))
                assert {name: rows for name, rows in now.items() if name in was} == was
            assert self.bench.machine.state_hash == full_hash(store)
            assert replayed(self.bench.log) == store
            assert replayed(self.bench.log, times=2) == store
        finally:
            for name, value in self.usual.items():
                setattr(limits, name, value)


def written(new: New) -> NewCheckpoint:
    """A checkpoint as a request holds it."""
    return NewCheckpoint(
        data=new.data,
        chunks=[chunk_ref(chunk) for chunk in new.chunks],
        base_checkpoint_id=new.base,
        tags=new.tags,
        pinned=new.pinned,
    )


def everything(reader: Reader, name: str) -> list[Checkpoint]:
    """All checkpoints of an agent, newest first."""
    return checkpoint_queries.list_checkpoints(reader, name, 0, MANY).checkpoints


TestCheckpointMachine = CheckpointMachine.TestCase
# Fewer than others run: every step compares everything there is.
TestCheckpointMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40
)
