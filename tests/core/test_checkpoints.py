"""Checkpoints where a story would be long: bounds, what a refusal leaves, and costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftstate.core import checkpoint_queries, keys, limits, queries
from raftstate.core.checkpoint_queries import digest
from raftstate.core.history import PastReader
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.types import Index
from raftstate.v1.agent_service_pb2 import ForkAgentRequest, Retention, UpdateAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    CopyLineageRequest,
    ListCheckpointsRequest,
    MarkValidRequest,
    NewCheckpoint,
    NewGroupMember,
    PruneCheckpointsRequest,
    PutCheckpointRequest,
    PutChunkRequest,
    PutGroupCheckpointRequest,
    TagCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest
from raftstate.v1.store_pb2 import CollectChunks, Command, LogEntry, Outcome
from tests.core.bench import EPOCH, TERM, Bench, event, reason
from tests.core.checkpoint_story import chunk_ref, numbers

MANY = 1 << 20
# What a refused command may still change: the session's bookkeeping, and how far it is.
BOOKKEEPING = (b"!", b"r", b"t")


class Desk(Bench):
    """A bench with an agent `a` that session `s` owns."""

    def __init__(self) -> None:
        super().__init__()
        self.open("s")
        self.open("v")
        self.fence = self.granted(self.acquire("s", "a"))

    def request_id(self, session: str, sequence: int = 0, lowest: int = 0) -> RequestId:
        """The next request id, of a session that has had every answer."""
        found = super().request_id(session, sequence, lowest)
        found.lowest_unfinished = lowest or found.sequence
        return found

    def save(self, new: NewCheckpoint, agent: str = "a") -> Outcome:
        request = PutCheckpointRequest(
            request_id=self.request_id("s"), agent_id=agent, fence=self.fence, checkpoint=new
        )
        return self.one(Command(put_checkpoint=request))

    def saved(self, new: NewCheckpoint) -> Checkpoint:
        """Save a checkpoint that is not refused."""
        outcome = self.save(new)
        assert not reason(outcome), outcome
        found = checkpoint_queries.get_checkpoint(self.store, "a")
        assert found is not None
        return found

    def chunk(self, data: bytes) -> ChunkRef:
        request = PutChunkRequest(
            request_id=self.request_id("s"), agent_id="a", data=data, hash=digest(data)
        )
        assert not reason(self.one(Command(put_chunk=request)))
        return chunk_ref(data)

    def tag(self, number: int, *tags: str) -> Outcome:
        request = TagCheckpointRequest(
            request_id=self.request_id("v"), agent_id="a", checkpoint_id=number, add_tags=tags
        )
        return self.one(Command(tag_checkpoint=request))

    def prune(self, keep: int = 0) -> Outcome:
        request = PruneCheckpointsRequest(
            request_id=self.request_id("v"), agent_id="a", keep_last=keep
        )
        return self.one(Command(prune_checkpoints=request))

    def retain(self, retention: Retention) -> None:
        request = UpdateAgentRequest(
            request_id=self.request_id("v"), agent_id="a", retention=retention
        )
        self.one(Command(update_agent=request))

    def judge(self, number: int, name: str = "p", *, valid: bool = True) -> Outcome:
        """A validator, registered for it, says what it thinks."""
        put = PutValidatorRequest(request_id=self.request_id("v"), name=name)
        self.one(Command(put_validator=put))
        found = checkpoint_queries.get_checkpoint(self.store, "a", number)
        assert found is not None
        request = MarkValidRequest(
            request_id=self.request_id("v"),
            agent_id="a",
            checkpoint_id=number,
            validator=name,
            valid=valid,
            content_hash=found.content_hash,
        )
        return self.one(Command(mark_valid=request))

    def ids(self) -> list[int]:
        found = checkpoint_queries.list_checkpoints(self.store, "a", 0, MANY).checkpoints
        return [each.checkpoint_id for each in found]

    def rows(self) -> list[tuple[bytes, bytes]]:
        """All that a refusal must leave as it was."""
        return [pair for pair in self.store.items() if not pair[0].startswith(BOOKKEEPING)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- refusals leave nothing -----------------------------------------------------


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (NewCheckpoint(base_checkpoint_id=77), "CHECKPOINT_NOT_FOUND"),
        (NewCheckpoint(chunks=[chunk_ref(b"k"), chunk_ref(b"z")]), "CHUNK_MISSING"),
        (NewCheckpoint(chunks=[ChunkRef(hash=digest(b"k"), size_bytes=2)]), "INVALID_REQUEST"),
        (NewCheckpoint(base_checkpoint_id=17), "CHAIN_TOO_LONG"),
    ],
)
def test_a_step_with_an_impossible_checkpoint_writes_nothing(
    desk: Desk, new: NewCheckpoint, why: str
) -> None:
    """
    No event, no chunk, no step; and the refusal says what was in the way.
    """
    desk.chunk(b"k")
    for base in range(17):
        desk.saved(NewCheckpoint(base_checkpoint_id=base))
    before = desk.rows()

    outcome = desk.one(desk.step("s", "a", desk.fence, event("e"), checkpoint=new))

    assert reason(outcome) == why
    assert desk.rows() == before
    if why == "CHUNK_MISSING":
        assert outcome.refusal.chunk_hash == digest(b"z")
    if why == "CHAIN_TOO_LONG":
        assert outcome.refusal.limit == limits.CHAIN_LENGTH_MAX == 16
    assert reason(desk.save(new)) == why
    assert desk.rows() == before


def group(desk: Desk, *members: NewGroupMember) -> Outcome:
    request = PutGroupCheckpointRequest(
        request_id=desk.request_id("s"), group_id="g", members=members
    )
    return desk.one(Command(put_group_checkpoint=request))


def test_a_group_is_saved_whole_or_not_at_all(desk: Desk) -> None:
    """
    The last member is in the way: the ones before it have written nothing. And who saves
    one has been heard of.
    """
    other = desk.granted(desk.acquire("s", "b"))
    new = NewCheckpoint(data=bytes(5_000))
    first = NewGroupMember(agent_id="a", checkpoint=new, fence=desk.fence)
    second = NewGroupMember(agent_id="b", checkpoint=new, fence=other)
    late = FencingToken(epoch=EPOCH, revision=other.revision - 1)
    wrong = NewGroupMember(agent_id="b", checkpoint=new, fence=late)
    behind = NewGroupMember(agent_id="b", checkpoint=new, fence=other, expected_step=3)
    before = desk.rows()

    for bad, why in ((wrong, "FENCED"), (behind, "CONFLICT")):
        outcome = group(desk, first, bad)
        assert (reason(outcome), outcome.refusal.subject) == (why, "b")
        assert desk.rows() == before

    outcome = group(desk, first, second)
    assert list(outcome.put_group_checkpoint.checkpoint_ids) == [1, 1]
    for name in ("a", "b"):
        assert desk.agent(name).owner.touched_revision == outcome.revision


def test_who_saves_a_checkpoint_was_heard_of(desk: Desk) -> None:
    """
    An expiry that was proposed before it comes too late.
    """
    outcome = desk.save(NewCheckpoint(data=b"x"))

    assert desk.agent("a").owner.touched_revision == outcome.revision


# --- bounds ------------------------------------------------------------------


def test_a_checkpoint_has_sixteen_tags(desk: Desk) -> None:
    """
    One that moves here counts, one that is here already does not.
    """
    desk.saved(NewCheckpoint(tags=["other"]))
    desk.saved(NewCheckpoint(tags=[f"t{number}" for number in range(15)]))

    assert not reason(desk.tag(2, "other", "t3"))
    assert not reason(desk.tag(2, "t1", "t2"))
    outcome = desk.tag(2, "one-more")

    assert (reason(outcome), outcome.refusal.limit) == ("TOO_MANY", 16)
    assert checkpoint_queries.get_checkpoint(desk.store, "a", tag="one-more") is None
    moved = checkpoint_queries.get_checkpoint(desk.store, "a", tag="other")
    assert moved is not None and len(moved.tags) == 16


def test_a_checkpoint_is_judged_by_sixteen(desk: Desk) -> None:
    """
    The seventeenth validator is told so; the sixteenth may say something else.
    """
    desk.saved(NewCheckpoint(data=b"x"))

    for number in range(16):
        assert desk.judge(1, f"v{number}").mark_valid.known_good
    outcome = desk.judge(1, "one-more")

    assert (reason(outcome), outcome.refusal.limit) == ("TOO_MANY", 16)
    assert not desk.judge(1, "v15", valid=False).mark_valid.known_good


def test_a_prune_removes_a_hundred(desk: Desk) -> None:
    """
    And says that there are more, until there are none.
    """
    for _ in range(152):
        desk.saved(NewCheckpoint())

    said = [desk.prune(keep=1).prune_checkpoints for _ in range(3)]

    assert [(one.pruned, one.more) for one in said] == [(100, True), (50, False), (0, False)]
    assert desk.ids() == [152, 151]


def test_a_copy_has_at_most_so_much(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    256 checkpoints go, 257 do not; nor do those that name too many chunks.
    """
    chunk = desk.chunk(b"k")
    for _ in range(257):
        desk.saved(NewCheckpoint(chunks=[chunk] * 2))

    def copy(up_to: int, name: str) -> Outcome:
        request = CopyLineageRequest(
            request_id=desk.request_id("v"),
            source_agent_id="a",
            agent_id=name,
            up_to_checkpoint_id=up_to,
        )
        return desk.one(Command(copy_lineage=request))

    assert reason(copy(257, "b")) == "TOO_MANY"
    assert copy(256, "b").copy_lineage.copied == 256
    monkeypatch.setattr(limits, "COPIED_CHUNKS_MAX", 20)
    outcome = copy(11, "c")
    assert (reason(outcome), outcome.refusal.limit) == ("TOO_MANY", 20)
    assert copy(10, "c").copy_lineage.copied == 10


def test_a_fork_has_at_most_so_much(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What counts is the whole chain.
    """
    chunk = desk.chunk(b"k")
    for base in range(3):
        desk.saved(NewCheckpoint(chunks=[chunk] * 4, base_checkpoint_id=base))
    monkeypatch.setattr(limits, "COPIED_CHUNKS_MAX", 11)

    def fork(number: int) -> Outcome:
        request = ForkAgentRequest(
            request_id=desk.request_id("v"),
            source_agent_id="a",
            agent_id="b",
            checkpoint_id=number,
        )
        return desk.one(Command(fork_agent=request))

    outcome = fork(3)
    assert (reason(outcome), outcome.refusal.limit) == ("TOO_MANY", 11)
    assert fork(2).fork_agent.agent.head.checkpoint_id == 2


def test_a_prune_waits_until_what_is_to_be_kept_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Known good ones that are to be kept again: they are moved first, some with each call.
    """
    monkeypatch.setattr(limits, "PRUNED_PER_CALL_MAX", 2)
    desk.retain(Retention(keep_known_good=1))
    for number in range(1, 6):
        desk.saved(NewCheckpoint())
        desk.judge(number)
    assert desk.agent("a").spare_known_good == 4
    desk.retain(Retention())

    said = [desk.prune().prune_checkpoints for _ in range(3)]

    assert [(one.pruned, one.more) for one in said] == [(0, True), (0, False), (0, False)]
    assert desk.ids() == [5, 4, 3, 2, 1]
    assert desk.agent("a").spare_known_good == 0


def test_a_collection_is_bounded_by_bytes(desk: Desk) -> None:
    """
    Large chunks go four at a time, whatever the limit; what is left goes next time.
    """
    for number in range(5):
        desk.chunk(bytes([number]) * (1 << 20))
    collect = Command(collect_chunks=CollectChunks(unused_since_ms=1, limit=1_000))

    left = []
    for _ in range(3):
        desk.one(collect)
        left.append(len(list(desk.store.scan(b"b", b"c"))))

    assert left == [1, 0, 0]
    assert not list(desk.store.scan(b"f", b"g")) and not list(desk.store.scan(b"u", b"v"))


def test_retention_gives_up_few_chunks_at_a_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What one save removes is bounded by the chunks that it named, but is one at least.
    """
    monkeypatch.setattr(limits, "PRUNED_CHUNKS_PER_SAVE_MAX", 5)
    chunk = desk.chunk(b"k")
    for _ in range(6):
        desk.saved(NewCheckpoint(chunks=[chunk] * 4))
    desk.retain(Retention(keep_last=1))

    desk.saved(NewCheckpoint())

    assert desk.ids() == [7, 6, 5, 4, 3]


def test_spare_ones_are_older_than_kept_ones(desk: Desk) -> None:
    """
    Also while more are to be kept than one command can move: an old one that becomes known
    good waits behind those that are newer.
    """
    desk.retain(Retention(keep_known_good=1))
    for number in range(1, 9):
        desk.saved(NewCheckpoint())
        if number > 1:
            desk.judge(number)
    desk.retain(Retention())

    desk.judge(1)

    assert numbers(desk.store, keys.spare_good_of("a")) == [1, 2, 3]
    assert numbers(desk.store, keys.kept_good_of("a")) == [4, 5, 6, 7, 8]
    desk.judge(1)
    assert numbers(desk.store, keys.spare_good_of("a")) == []


# --- reads -------------------------------------------------------------------


def test_the_same_data_has_the_same_hash_however_it_came(desk: Desk) -> None:
    """
    Inline, cut off by the machine, or uploaded as one chunk; several have their own.
    """
    large = b"l" * 5_000
    inline = desk.saved(NewCheckpoint(data=b"k"))
    uploaded = desk.saved(NewCheckpoint(chunks=[desk.chunk(b"k")]))
    cut = desk.saved(NewCheckpoint(data=large))
    pieces = [desk.chunk(large[:4_000]), desk.chunk(large[4_000:])]
    several = desk.saved(NewCheckpoint(chunks=pieces))

    assert inline.content_hash == uploaded.content_hash == digest(b"k")
    assert cut.content_hash == digest(large)
    assert several.content_hash == digest(pieces[0].hash + pieces[1].hash)
    assert (inline.chunk_count, uploaded.chunk_count, cut.chunk_count) == (0, 1, 1)
    assert several.size_bytes == cut.size_bytes == 5_000
    for each in (cut, several):
        assert checkpoint_queries.read_data(desk.store, each) == large


def listed(desk: Desk, scanned: int, **filters: object) -> Iterator[list[int]]:
    """The pages of a list with filters, each of two at most."""
    wanted = ListCheckpointsRequest(**filters)  # type: ignore[arg-type]
    before = 0
    while True:
        page = checkpoint_queries.list_checkpoints(
            desk.store, "a", before, 2, wanted, scanned_max=scanned
        )
        yield [each.checkpoint_id for each in page.checkpoints]
        if not (before := page.next_before):
            return


def test_lists_are_filtered_within_bounds(desk: Desk) -> None:
    """
    Every filter must hold; a page that looked far enough ends, also with nothing in it.
    """
    one, two = Label(name="n", value="1"), Label(name="n", value="2")
    for number in range(1, 7):
        new = NewCheckpoint(pinned=number % 3 == 0, labels=[one if number < 4 else two])
        desk.one(desk.step("s", "a", desk.fence, checkpoint=new))
    desk.tag(4, "t")

    assert list(listed(desk, 99)) == [[6, 5], [4, 3], [2, 1]]
    assert list(listed(desk, 99, pinned=True)) == [[6, 3], []]
    assert list(listed(desk, 99, tagged=True)) == [[4]]
    assert list(listed(desk, 99, known_good=True)) == [[]]
    assert list(listed(desk, 99, labels=[one])) == [[3, 2], [1]]
    assert list(listed(desk, 99, labels=[one], pinned=True)) == [[3]]
    assert list(listed(desk, 99, min_step=2, max_step=3)) == [[3, 2], []]
    assert list(listed(desk, 2, max_step=1)) == [[], [], [1]]
    assert list(listed(desk, 3, labels=[Label(name="m", value="1")])) == [[], []]


def test_the_past_is_told_from_what_never_was(desk: Desk) -> None:
    """
    Pruned since: the record is there, the data is not. Later than that: there is none.
    """
    desk.saved(NewCheckpoint(data=b"full", tags=["t"]))
    desk.saved(NewCheckpoint(data=b"+1", base_checkpoint_id=1))
    then = desk.machine.revision
    desk.tag(2, "t")
    desk.saved(NewCheckpoint(data=b"other", tags=["t"]))
    desk.prune()
    past = PastReader(desk.store, then)

    tagged = checkpoint_queries.get_checkpoint(past, "a", tag="t")
    newest = checkpoint_queries.get_checkpoint(past, "a")

    assert tagged is not None and newest is not None
    assert (tagged.checkpoint_id, newest.checkpoint_id) == (1, 2)
    assert [each.checkpoint_id for each in checkpoint_queries.chain(past, newest)] == [1, 2]
    assert checkpoint_queries.content(past, newest) is None
    assert checkpoint_queries.read_data(past, tagged) is None
    assert checkpoint_queries.get_checkpoint(past, "a", 3) is None
    assert checkpoint_queries.get_checkpoint(desk.store, "a", 1) is None
    here = checkpoint_queries.get_checkpoint(desk.store, "a", tag="t")
    assert here is not None and here.checkpoint_id == 3
    assert checkpoint_queries.get_checkpoint(desk.store, "a", tag="t" * 64) is None


def test_what_is_missing_is_told_by_place(desk: Desk) -> None:
    """
    A broken upload asks, and goes on with the rest; a fork asks its origin's space.
    """
    for data in (b"k", b"m"):
        desk.chunk(data)
    hashes = [digest(data) for data in (b"j", b"k", b"l", b"m")]

    assert checkpoint_queries.missing_chunks(desk.store, desk.agent("a"), hashes) == [0, 2]


@pytest.mark.parametrize(
    ("size", "base", "more"),
    [(0, 0, False), (1 << 20, 0, False), ((1 << 20) + 1, 0, True), (3, 1, True)],
)
def test_a_bundle_has_the_data_if_it_is_full_and_in_one_piece(
    desk: Desk, size: int, base: int, more: bool
) -> None:
    """
    Which is 1 MiB at most; otherwise it says that there is more to fetch.
    """
    desk.saved(NewCheckpoint(data=b"base"))
    data = bytes(size)
    pieces = [desk.chunk(data[at : at + (1 << 20)]) for at in range(0, size, 1 << 20)]
    desk.saved(NewCheckpoint(chunks=pieces, base_checkpoint_id=base))

    bundle = queries.takeover_bundle(desk.store, "a")

    assert bundle is not None and bundle.checkpoint.size_bytes == size
    assert bundle.more_data == more
    assert bundle.checkpoint.data == (b"" if more else data)


@pytest.mark.parametrize("size", [2, 2_000])
def test_a_bundle_has_no_damaged_data(desk: Desk, size: int) -> None:
    """
    What is not what was saved is left to GetCheckpoint, which says so.
    """
    data = b"state" * size
    desk.saved(NewCheckpoint(data=data))
    [key] = [key for key, value in desk.store.items() if data in value]
    desk.store.put(key, (desk.store.get(key) or b"").replace(b"state", b"stale", 1))

    bundle = queries.takeover_bundle(desk.store, "a")

    assert bundle is not None
    assert (bundle.more_data, bundle.checkpoint.data) == (True, b"")


# --- costs -------------------------------------------------------------------


class CountingStore(MemoryStore):
    """Counts what a machine asks of its store."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return super().get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.writes += 1
        super().put(key, value)


def counting(desk: Desk) -> CountingStore:
    """The desk's machine from now on on a store that counts."""
    store = CountingStore()
    for key, value in desk.store.items():
        store.put(key, value)
    desk.store, desk.machine = store, StateMachine(store, EPOCH)
    store.reads = store.writes = 0
    return store


def test_a_save_costs_what_it_names(desk: Desk) -> None:
    """
    512 chunks: each is read twice and counted once; all the rest is a constant.
    """
    chunks = [desk.chunk(number.to_bytes(2, "big")) for number in range(512)]
    store = counting(desk)

    desk.saved(NewCheckpoint(chunks=chunks))

    assert store.writes < 512 + 40
    assert store.reads < 2 * 512 + 80


def test_a_save_costs_the_same_whatever_there_is(desk: Desk) -> None:
    """
    With retention, a thousand checkpoints and a thousand chunks in: the same reads and
    writes as with ten.
    """
    desk.retain(Retention(keep_last=500))
    costs = []
    for count in (501, 1_000):
        for number in range(count):
            new = NewCheckpoint(chunks=[desk.chunk(number.to_bytes(2, "big"))])
            desk.saved(new)
        store = counting(desk)
        desk.saved(NewCheckpoint(data=b"x"))
        costs.append((store.reads, store.writes))
        assert desk.agent("a").prunable == 500

    assert costs[0] == costs[1]


def test_chunks_are_in_the_agents_space(desk: Desk) -> None:
    """
    Another agent's upload is not one's own: nobody finds out what others have stored.
    """
    chunk = desk.chunk(b"k")
    desk.fence = desk.granted(desk.acquire("s", "b"))

    outcome = desk.save(NewCheckpoint(chunks=[chunk]), agent="b")

    assert reason(outcome) == "CHUNK_MISSING"
    assert desk.store.get(keys.chunk("a", chunk.hash)) == b"k"


def test_an_entry_is_applied_once(desk: Desk) -> None:
    """
    A save that is replayed changes nothing, and counts nothing twice.
    """
    desk.saved(NewCheckpoint(chunks=[desk.chunk(b"k")]))
    before = desk.store.copy()
    last = Index(len(desk.log))

    desk.machine.apply(last, TERM, LogEntry.FromString(desk.log[-1].SerializeToString()))

    assert desk.store == before
