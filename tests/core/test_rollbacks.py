"""Rollbacks: what the stories do not tell: plans, bounds, searches, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.core import (
    checkpoint_queries,
    effects,
    incidents,
    keys,
    limits,
    queries,
    rollback_queries,
    sagas,
    stream_queries,
    undone,
)
from raftstate.core.context import Context
from raftstate.core.hashing import HASH_BYTES
from raftstate.core.history import HistoryMark, RecordedStore
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Reader
from raftstate.v1.checkpoint_service_pb2 import (
    NewCheckpoint,
    PruneCheckpointsRequest,
    TagCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import EffectState, SagaState
from raftstate.v1.event_service_pb2 import TruncateBeforeRequest
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest
from raftstate.v1.replay_service_pb2 import RecordValueRequest
from raftstate.v1.rollback_service_pb2 import (
    PlanRollbackRequest,
    PlanRollbackResponse,
    RollbackState,
)
from raftstate.v1.store_pb2 import ChunkRecord, Command
from tests.core import effect_story, rollback_story
from tests.core.bench import Bench, event, reason, replayed
from tests.core.rollback_story import restored, target

MANY = 1 << 20


class Rig:
    """A bench with an agent `a` that `s` owns."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.open("s")
        self.bench.open("w")
        self.fence = self.own("a")

    @property
    def now(self) -> int:
        return self.bench.machine.revision

    def own(self, name: str) -> FencingToken:
        self.fence = self.bench.granted(self.bench.acquire("s", name))
        return self.fence

    def done(self, command: Command, at: int = 0) -> int:
        """Apply a command that is not refused; its revision."""
        outcome = self.bench.one(command, at=at)
        assert reason(outcome) == "", outcome
        return outcome.revision

    def step(self, *words: str, data: str = "", base: int = 0, at: int = 0) -> int:
        """Commit events, and a checkpoint if there is data."""
        new = NewCheckpoint(data=data.encode(), base_checkpoint_id=base) if data else None
        events = [event("e", word.encode()) for word in words]
        command = self.bench.step("s", "a", self.fence, *events, checkpoint=new)
        return self.done(command, at)

    def act(self, words: str, done: str = "committed") -> int:
        """Do something outside."""
        new = effect_story.new_effect(words + " dispatch=yes")
        revision = self.done(effect_story.prepare(self.bench, "s", "a", self.fence, new))
        if done:
            closing = effect_story.closing(f"{new.effect_id} {done}")
            command = effect_story.complete(self.bench, "s", "a", self.fence, closing)
            revision = self.done(command)
        return revision

    def plan(self, *words: str) -> PlanRollbackResponse:
        """What StartRollback would do."""
        request = PlanRollbackRequest(agents=map(target, words))
        plan = rollback_queries.plan_rollback(self.bench.store, request)
        assert isinstance(plan, PlanRollbackResponse), plan
        return plan

    def start(self, *words: str, want: str = "", **more: object) -> str:
        """Start a rollback; its id, or empty if it is refused as it should be."""
        targets = [target(each) for each in words]
        outcome = self.bench.one(rollback_story.start(self.bench, "w", targets, **more))
        assert reason(outcome) == want, outcome
        return outcome.start_rollback.rollback_id

    def back(self, *words: str) -> None:
        """Start a rollback that has nothing to undo outside, finish it, and go on."""
        rollback = self.start(*words)
        self.done(rollback_story.finish(self.bench, "w", rollback))
        self.own("a")

    def tag(self, number: int, *, pinned: bool) -> Command:
        """Pin a checkpoint, or not."""
        request = TagCheckpointRequest(
            request_id=self.bench.request_id("w"),
            agent_id="a",
            checkpoint_id=number,
            pinned=pinned,
        )
        return Command(tag_checkpoint=request)

    def prune(self) -> None:
        """Remove all checkpoints that may go."""
        request = PruneCheckpointsRequest(request_id=self.bench.request_id("w"), agent_id="a")
        self.done(Command(prune_checkpoints=request))

    def restored(self) -> str:
        return " ".join(restored(self.bench.store, "a"))


@pytest.fixture
def rig() -> Rig:
    return Rig()


# --- plans -------------------------------------------------------------------


def test_a_plan_has_a_digest_of_what_would_be_done(rig: Rig) -> None:
    """
    It stays the same while the same would be done, whoever owns the agent by then, and is
    another one as soon as an event, an effect or a validator makes a difference.
    """
    rig.step("1", data="1")
    rig.act("x undo=u", done="")
    before = rig.plan("a:checkpoint:1").digest

    rig.own("a")  # what was dispatched is UNKNOWN now
    assert rig.plan("a:checkpoint:1").digest == before

    seen = {before}
    rig.step("2")
    seen.add(rig.plan("a:checkpoint:1").digest)
    rig.act("y undo=u")
    seen.add(rig.plan("a:checkpoint:1").digest)
    request = PutValidatorRequest(
        request_id=rig.bench.request_id("w"), name="v", required_in_rollbacks=True
    )
    rig.done(Command(put_validator=request))
    seen.add(rig.plan("a:checkpoint:1").digest)
    seen.add(rig.plan("a:revision:5").digest)

    assert len(seen) == 5
    assert all(len(each) == 32 for each in seen)


def test_a_start_that_was_planned_otherwise_is_refused(rig: Rig) -> None:
    """
    Who names a digest does what was planned, or nothing.
    """
    rig.step("1", data="1")
    rig.step("2")
    digest = rig.plan("a:checkpoint:1").digest
    rig.step("3")
    before = rig.bench.agent("a")

    rig.start("a:checkpoint:1", want="CONFLICT", expected_digest=digest)
    assert rig.bench.agent("a") == before

    now = rig.plan("a:checkpoint:1").digest
    request = PutValidatorRequest(request_id=rig.bench.request_id("w"), name="v")
    rig.done(Command(put_validator=request))
    # More validators than have to be asked make it no other plan.
    assert rig.start("a:checkpoint:1", expected_digest=now, validators=["v"])


def test_a_plan_with_many_effects_shows_the_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It counts all of them, in the order in which they would be undone.
    """
    monkeypatch.setattr(limits, "ITEMS_SHOWN_MAX", 2)
    rig.step("1", data="1")
    for name in ("x", "y", "z"):
        rig.act(f"{name} undo=u")

    plan = rig.plan("a:checkpoint:1")

    assert [each.effect_id for each in plan.effects] == ["z", "y"]
    assert plan.effects_total == 3


class Counting:
    """A reader that counts how often it is asked."""

    def __init__(self, store: MemoryStore) -> None:
        self.store, self.rows = store, 0

    def get(self, key: bytes) -> bytes | None:
        self.rows += 1
        return self.store.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return map(self.seen, self.store.scan(start, stop))

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return map(self.seen, self.store.scan_back(start, stop))

    def seen(self, row: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        self.rows += 1
        return row


@pytest.mark.parametrize("to", ["checkpoint:9", "before:20", "revision:25", "time:200"])
def test_a_target_is_found_by_halves(rig: Rig, to: str) -> None:
    """
    However many events and checkpoints there are, few of them are looked at.
    """
    for at in range(400):
        rig.step(str(at), data=str(at), at=at * 10)
    reader = Counting(rig.bench.store)
    request = PlanRollbackRequest(agents=[target(f"a:{to}")])

    plan = rollback_queries.plan_rollback(reader, request)

    assert isinstance(plan, PlanRollbackResponse)
    assert reader.rows < 100


def test_a_time_is_also_that_of_an_effect(rig: Rig) -> None:
    """
    The newest thing that an agent did by a time may be neither event nor checkpoint.
    """
    rig.step("1", data="1", at=100)
    rig.step("2", at=200)
    new = effect_story.new_effect("x undo=u dispatch=yes")
    rig.done(effect_story.prepare(rig.bench, "s", "a", rig.fence, new), at=250)
    closing = effect_story.closing("x committed")
    done = rig.done(effect_story.complete(rig.bench, "s", "a", rig.fence, closing), at=300)
    rig.step("3", at=400)

    plan = rig.plan("a:time:350")

    assert plan.targets[0].target.revision == done
    assert (plan.effects_total, plan.events_undone) == (0, 1)
    assert rig.plan("a:time:299").effects_total == 1


# --- what is refused ---------------------------------------------------------


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("kind", ["checkpoint", "before", "revision", "time"])
def test_no_number_is_too_large(rig: Rig, kind: str, number: int) -> None:
    """
    There is no such checkpoint or event; all there is was done before such a revision or
    time, so all of it stays.
    """
    rig.step("1", data="1")
    rig.act("x undo=u")
    request = PlanRollbackRequest(agents=[target(f"a:{kind}:{number}")])

    plan = rollback_queries.plan_rollback(rig.bench.store, request)

    there = kind in ("revision", "time")
    assert isinstance(plan, PlanRollbackResponse) == there
    if isinstance(plan, PlanRollbackResponse):
        assert (plan.events_undone, plan.effects_total) == (0, 0)
    if kind != "time":
        rig.start(f"a:{kind}:{number}", want="" if there else "CHECKPOINT_NOT_FOUND")


def test_too_much_for_one_command_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Effects, open ones too, and chunks: as many as may be, and not one more.
    """
    rig.step("1", data="1")
    rig.act("x undo=u")
    rig.act("y undo=u", done="")
    monkeypatch.setattr(limits, "PLAN_ITEMS_MAX", 1)
    rig.start("a:checkpoint:1", want="TOO_MANY")

    monkeypatch.setattr(limits, "PLAN_ITEMS_MAX", 2)
    monkeypatch.setattr(limits, "INLINE_BYTES_MAX", 3)
    rig.step(data="long enough")
    monkeypatch.setattr(limits, "COPIED_CHUNKS_MAX", 0)
    rig.start("a:checkpoint:2", want="TOO_MANY")

    assert rig.start("a:checkpoint:1")


def test_what_cannot_be_started_changes_nothing(rig: Rig) -> None:
    """
    Not of the first agent either, if it is the last one that cannot.
    """
    rig.step("1", data="1")
    rig.act("mail class=irreversible")
    rig.bench.one(rig.bench.create("s", "b"))
    tables = [bytes([letter]) for letter in range(ord("A"), ord("z") + 1)]
    touched = {b"h", b"r", b"s", b"t"}

    def everything() -> list[tuple[bytes, bytes]]:
        return [
            row
            for table in tables
            if table not in touched
            for row in rig.bench.store.scan(table, bytes([table[0] + 1]))
        ]

    before = everything()
    ask = {"on_barrier": "BARRIER_POLICY_ASK"}
    rig.start("a:checkpoint:1", want="ROLLBACK_BARRIER")
    rig.start("a:checkpoint:1", "b:checkpoint:1", want="CHECKPOINT_NOT_FOUND", **ask)
    rig.start("a:checkpoint:1", want="INCIDENT_NOT_FOUND", incident_id="f" * 16, **ask)
    rig.start("a:checkpoint:1", want="VALIDATOR_NOT_FOUND", validators=["v"], **ask)
    rig.start("a:checkpoint:1", want="CONFLICT", expected_digest=bytes(32), **ask)
    assert everything() == before

    assert rig.start("a:checkpoint:1", **ask)
    assert everything() != before


# --- what the start does -----------------------------------------------------


def test_a_rollback_may_belong_to_an_incident_that_is_there(rig: Rig) -> None:
    """
    It is noted there, ends it, and opens none of its own.
    """
    rig.step("1", data="1")
    other = rig.bench.one(
        rollback_story.start(rig.bench, "w", [target("a:checkpoint:1")])
    ).start_rollback
    rig.done(rollback_story.abort(rig.bench, "w", other.rollback_id))

    mine = rig.start("a:checkpoint:1", incident_id=other.incident_id)

    store = rig.bench.store
    incident = incidents.load(store, other.incident_id)
    assert incident is not None and incident.open
    assert incident.rollback_id == mine
    assert incidents.counts(store).opened == 1
    rig.done(rollback_story.finish(rig.bench, "w", mine))
    incident = incidents.load(store, other.incident_id)
    assert incident is not None and not incident.open


def test_what_a_step_recorded_that_was_not_committed_is_forgotten(rig: Rig) -> None:
    """
    Who goes on is given another state, and draws anew.
    """
    rig.step("1", data="1")
    request = RecordValueRequest(
        request_id=rig.bench.request_id("s"),
        agent_id="a",
        fence=rig.fence,
        recording=NewRecording(kind="RECORDING_KIND_TIME", key="now", data=b"1"),
    )
    rig.done(Command(record_value=request))
    span = keys.recordings("a", 2, 2)
    assert list(rig.bench.store.scan(*span))

    rig.start("a:checkpoint:1")

    assert not list(rig.bench.store.scan(*span))


def test_sagas_follow_their_agent(rig: Rig) -> None:
    """
    One that was begun after the target is over. One that was begun before runs on. What an
    aborted one had left to be undone is now the rollback's.
    """
    saga = effect_story.begin_saga
    rig.done(saga(rig.bench, "s", "before", "a", rig.fence))
    rig.done(saga(rig.bench, "s", "aborted", "a", rig.fence))
    rig.act("old undo=u saga=aborted")
    rig.step("1", data="1")
    rig.done(effect_story.abort_saga(rig.bench, "s", "aborted", "a", rig.fence))
    rig.done(saga(rig.bench, "s", "after", "a", rig.fence))
    rig.act("new undo=u saga=after")
    rig.act("sent undo=u saga=before", done="")

    rollback = rig.start("a:checkpoint:1")

    store = rig.bench.store
    states = {}
    for name in ("before", "after", "aborted"):
        record = sagas.load(store, name)
        assert record is not None
        states[name] = SagaState.Name(record.state).removeprefix("SAGA_STATE_")
    assert states == {"before": "RUNNING", "after": "ROLLED_BACK", "aborted": "ROLLED_BACK"}
    items = rollback_queries.items_of(store, f"rollback/{rollback}")
    assert [each.effect_id for each in items] == ["sent", "new", "old"]
    unknown = effects.find(store, "a", "sent")
    assert unknown is not None and unknown.state == EffectState.EFFECT_STATE_UNKNOWN


def test_a_saga_with_a_waived_effect_is_rolled_back_too(rig: Rig) -> None:
    """
    What cannot be undone, and was let be, does not keep its saga waiting for a decision.
    """
    rig.step("1", data="1")
    rig.done(effect_story.begin_saga(rig.bench, "s", "g", "a", rig.fence))
    rig.act("mail class=irreversible saga=g")

    rig.start("a:checkpoint:1", on_barrier="BARRIER_POLICY_PROCEED")

    record = sagas.load(rig.bench.store, "g")
    assert record is not None and record.state == SagaState.SAGA_STATE_ROLLED_BACK


def test_target_and_copy_may_go_one_without_the_other(rig: Rig) -> None:
    """
    Their data is there until both are gone.
    """
    chunk = b"x" * (limits.INLINE_BYTES_MAX + 1)
    rig.step("1", data=chunk.decode())
    rig.step("2", data="2")
    rig.back("a:checkpoint:1")

    def uses() -> list[int]:
        start = keys.chunk_record("a", b"")
        rows = rig.bench.store.scan(start, start + b"\xff" * 33)
        return [ChunkRecord.FromString(raw).uses for _, raw in rows]

    assert uses() == [2]
    rig.prune()
    assert uses() == [1]
    assert rig.restored() == chunk.decode()
    rig.step(data="3")
    rig.prune()
    assert uses() == [0]


def test_a_checkpoint_without_events_is_left_behind_too(rig: Rig) -> None:
    """
    No search finds it, though no event that it reflects was undone.
    """
    rig.step("1", data="1")
    rig.step(data="wrong")
    wrong = rig.now
    rig.back("a:checkpoint:1")
    rig.step("2")

    assert rig.plan(f"a:revision:{wrong}").agents[0].checkpoint_id == 1
    rig.back(f"a:revision:{wrong}")
    assert rig.restored() == "1"


def test_known_good_is_not_what_was_left_behind(rig: Rig) -> None:
    """
    It is the newest that no rollback has left behind, though a newer one was found good.
    """
    request = PutValidatorRequest(request_id=rig.bench.request_id("w"), name="v")
    rig.done(Command(put_validator=request))
    for number in (1, 2, 3):
        rig.step(str(number), data=f"c{number}")
        found = checkpoint_queries.load(rig.bench.store, "a", number)
        assert found is not None
        more = {"checkpoint_id": number, "content_hash": found.content_hash, "passed": True}
        rig.done(rollback_story.judge(rig.bench, "w", "v", "a", **more))
    assert rig.plan("a:known-good").agents[0].checkpoint_id == 3

    rig.back("a:checkpoint:2")

    assert rig.bench.agent("a").newest_known_good == 3
    assert rig.plan("a:known-good").agents[0].checkpoint_id == 2


def test_what_has_to_stay_must_be_there(rig: Rig) -> None:
    """
    A target in the middle of events needs those since the checkpoint before it. Where some
    were truncated, because a checkpoint that is gone by now stood for them, it is none.
    """
    rig.step("1", data="1")
    rig.done(rig.tag(1, pinned=True))
    rig.step("2", "3", data="1 2 3")
    rig.step("4", "5")
    truncate = TruncateBeforeRequest(
        request_id=rig.bench.request_id("w"), stream_id="a", before_seq=4, checkpoint_id=2
    )
    rig.done(Command(truncate_before=truncate))
    before = rig.now
    assert rig.plan("a:before:5").agents[0].checkpoint_id == 2
    rig.step(data="1 2 3 4 5")
    rig.prune()

    for to in ("a:before:5", f"a:revision:{before}"):
        rig.start(to, want="CHECKPOINT_NOT_FOUND")
    assert rig.plan("a:checkpoint:1").agents[0].first_undone_seq == 2


def test_a_rollback_to_its_own_copy_undoes_what_was_left(rig: Rig) -> None:
    """
    What an aborted rollback did not undo is no part of the state that it restored.
    """
    rig.step("1", data="1")
    rig.act("x undo=u")
    given_up = rig.start("a:checkpoint:1")
    rig.done(rollback_story.abort(rig.bench, "w", given_up))

    again = rig.start("a:checkpoint:2")

    items = rollback_queries.items_of(rig.bench.store, f"rollback/{again}")
    assert [each.effect_id for each in items] == ["x"]


def test_what_was_decided_is_not_asked_again(rig: Rig) -> None:
    """
    An effect that stays by a decision is no barrier of the next rollback.
    """
    rig.step("1", data="1")
    rig.act("mail class=irreversible")
    rollback = rig.start("a:checkpoint:1", on_barrier="BARRIER_POLICY_PROCEED")
    rig.done(rollback_story.finish(rig.bench, "w", rollback))

    rig.own("a")
    assert rig.plan("a:checkpoint:1").barriers == 0
    rig.act("post class=irreversible")
    assert [each.effect_id for each in rig.plan("a:checkpoint:1").effects] == ["post"]


# --- reads -------------------------------------------------------------------


def test_rollbacks_are_listed_in_pages(rig: Rig) -> None:
    """
    In the order of their start, those in some states only, a bounded piece at a time.
    """
    rig.step("1", data="1")
    for _ in range(3):
        rig.back("a:checkpoint:1")
    newest = rig.start("a:checkpoint:1")
    store = rig.bench.store
    everything = rollback_queries.list_rollbacks(store, "", 10)
    ids = [each.rollback_id for each in everything.rollbacks]
    assert len(ids) == 4 and ids == sorted(ids)
    assert everything.next_after == ""

    first = rollback_queries.list_rollbacks(store, "", 3)
    assert [each.rollback_id for each in first.rollbacks] == ids[:3]
    rest = rollback_queries.list_rollbacks(store, first.next_after, 3)
    assert [each.rollback_id for each in rest.rollbacks] == ids[3:]

    ready = [RollbackState.ROLLBACK_STATE_READY]
    looked = rollback_queries.list_rollbacks(store, "", 3, ready, scanned_max=2)
    assert (looked.rollbacks, looked.next_after) == ([], ids[1])
    found = rollback_queries.list_rollbacks(store, looked.next_after, 3, ready)
    assert [each.rollback_id for each in found.rollbacks] == [newest]


@pytest.mark.parametrize("name", ["", "a", "0" * 17, "0" * 16, "\0" * 600])
def test_what_is_no_rollback_names_nothing(rig: Rig, name: str) -> None:
    """
    A read of it finds none, and a plan of it has no items.
    """
    assert rollback_queries.get_rollback(rig.bench.store, name) is None
    assert rollback_queries.items_of(rig.bench.store, f"rollback/{name}") == []


def test_a_bundle_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It leaves undone events out, says if there are others, and looks at so many stretches
    of them at most.
    """
    rig.step("1", data="1")
    for at in range(2, 8, 2):
        rig.step(f"{at}")
        rig.step("wrong")
        rig.back(f"a:before:{at + 1}")
    store = rig.bench.store

    whole = queries.takeover_bundle(store, "a")
    assert whole is not None and not whole.more_events
    assert [each.data for each in whole.events] == [b"2", b"4", b"6"]

    size = whole.events[0].ByteSize()
    some = queries.takeover_bundle(store, "a", bytes_max=2 * size)
    assert some is not None and some.more_events
    assert [each.data for each in some.events] == [b"2", b"4"]

    monkeypatch.setattr(stream_queries, "SEGMENTS_MAX", 1)
    one = queries.takeover_bundle(store, "a")
    assert one is not None and one.more_events
    assert [each.data for each in one.events] == [b"2"]


def test_what_was_undone_shows_in_the_order_of_all_events(rig: Rig) -> None:
    """
    Events of several streams together: each says who undid it, and none of another stream.
    """
    rig.own("b")
    rig.done(rig.bench.step("s", "b", rig.fence, event("e"), event("e"), event("e")))
    rig.own("a")
    rig.step("1", data="1")
    rig.step("2", "3")
    rollback = rig.start("a:checkpoint:1")
    found = stream_queries.read_all(rig.bench.store, 1, MANY, MANY).events
    assert not any(each.undone_by for each in found)

    stream_queries.show_undone(rig.bench.store, found)

    assert [each.undone_by for each in found] == ["", "", "", "", rollback, rollback]


# --- ranges ------------------------------------------------------------------


def ranged(store: MemoryStore) -> Context:
    recorded = RecordedStore(store, bytes(HASH_BYTES))
    recorded.begin(1)
    return Context(recorded, 1, 1, 0, 1, 0, HistoryMark())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 14)), max_size=12))
def test_ranges_are_what_a_list_of_events_says(story: list[tuple[int, int]]) -> None:
    """
    Any order of events and of rollbacks to some event: each event is undone by the newest
    rollback that went back behind it, and no two ranges overlap.
    """
    store = MemoryStore()
    context, undid = ranged(store), list[str]()
    for number, (more, first) in enumerate(story, 1):
        undid += [""] * more
        if first <= len(undid):
            name = rollback_story.rollback_id(number)
            gone = undone.Segment(first, len(undid))
            undone.add(context, "a", gone, name)
            undid[first - 1 :] = [name] * (len(undid) - first + 1)

    seqs = range(1, len(undid) + 1)
    assert [undone.undone_by(store, "a", seq) for seq in seqs] == undid
    check_stretches(store, undid)
    assert undone.undone_by(store, "a/b", 1) == ""
    for first in seqs:
        live = [
            seq
            for segment in undone.live(store, "a", first, len(undid))
            for seq in range(segment.first, segment.last + 1)
        ]
        assert live == [seq for seq in seqs if seq >= first and not undid[seq - 1]]


def check_stretches(store: Reader, undid: list[str]) -> None:
    """All events of a stretch were undone by the same, and it is as long as can be, if not
    longer than what one rollback undid at once."""
    for seq in range(1, len(undid) + 1):
        found = undone.around(store, "a", seq)
        assert found.first <= seq <= found.last
        inside = undid[found.first - 1 : found.last]
        assert set(inside) == {found.rollback_id}


def test_a_range_is_one_row_however_often_it_is_undone(rig: Rig) -> None:
    """
    A breaker that goes back to the same checkpoint again and again leaves no trail that a
    successor has to read past.
    """
    rig.step("1", data="1")
    for _ in range(5):
        rig.step("wrong", data="wrong")
        rig.back("a:checkpoint:1")

    store = rig.bench.store
    assert len(list(store.scan(*keys.undone_ranges_from("a", 0)))) == 1
    assert len(list(store.scan(*keys.left_behind_from("a", 0)))) == 1
    assert rig.restored() == "1"
    assert replayed(rig.bench.log) == store
