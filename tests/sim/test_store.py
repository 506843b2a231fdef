"""The checks of the store themselves: what they let pass, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from unittest import mock

import pytest

from jepsen_like.checkers.cycles import Micro, Transaction
from raftstate.core import history, keys
from raftstate.core.history import HistoryMark
from raftstate.core.memory import MemoryStore
from raftstate.v1.agent_service_pb2 import Agent, Retention
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    MarkValidRequest,
    PruneCheckpointsRequest,
    Validation,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import (
    Event,
    Projection,
    StreamAppended,
    TruncateBeforeRequest,
)
from raftstate.v1.kv_service_pb2 import KeyValue
from raftstate.v1.recovery_service_pb2 import Validator
from raftstate.v1.store_pb2 import Command, ExpireLease, Outcome
from raftstate.v1.watch_service_pb2 import RESOURCE_TYPE_KEY, Resource
from raftstate.v1.watch_service_pb2 import Change as Told
from tests.sim import invariants
from tests.sim import world as world_
from tests.sim.checks import Checks
from tests.sim.invariants import Grant, Violation
from tests.sim.recount import recount
from tests.sim.store import judging
from tests.sim.store.chronicle import Change, Chronicle, Group, digest
from tests.sim.store.habits import NOBODY, StoreHabits, draw_store
from tests.sim.world import World

EVERYBODY = StoreHabits(
    listers=1, bankers=1, holders=2, authors=2, projectors=1, archivists=2, pace_s=0.3,
    watch_s=1.0, lease_ttl_ms=20_000,
)  # fmt: skip


@cache
def busy_world() -> World:
    """A world after a run in which everybody took part."""
    with mock.patch.object(world_, "draw_store", return_value=EVERYBODY):
        world = World(36, nodes=3, seconds=25.0)
    world.run()
    return world


def busy() -> MemoryStore:
    """What its members hold; a copy."""
    return busy_world().checks.chronicle.witness.below.copy()


def tables() -> set[str]:
    """The letters of the tables that hold something."""
    return {key[:1].decode("latin-1") for key, _ in busy().items()} - {"!"}


# --- recount -----------------------------------------------------------------


def test_a_busy_store_has_something_to_count() -> None:
    """Every table that a recount compares with others holds something."""
    assert tables() >= set("GSabcdefghijklmnopqrstuvwxy")
    assert recount(busy()) == []


@pytest.mark.parametrize("letter", sorted(set("GSabcdefghijklmoqstuvwxy")))
def test_a_row_that_is_missing_is_missed(letter: str) -> None:
    """Whatever table it is of: something else refers to it, or counts it."""
    store = busy()
    every = [key for key, _ in store.scan(letter.encode(), bytes([ord(letter) + 1]))]
    rows = every if len(every) < 50 else every[:: len(every) // 10]
    found = [damaged for key in rows if (damaged := _without(store, key))]

    assert found, f"no row of {letter} is missed"
    assert letter in "aku" or len(found) == len(rows), f"some rows of {letter} are not missed"


def _without(store: MemoryStore, key: bytes) -> list[str]:
    value = store.get(key)
    assert value is not None
    store.delete(key)
    found = recount(store)
    store.put(key, value)
    return found


@pytest.mark.parametrize(
    "key",
    [
        keys.lease_touch(1 << 40),
        keys.leased(1 << 40, b"key"),
        keys.position(1 << 40),
        keys.event_id("stream/0", "nobody's"),
        keys.owned("session-1", "nobody"),
        keys.prunable("kept/0", 1 << 40),
        keys.kept_good("kept/0", 1 << 40),
        keys.tag("kept/0", "nothing"),
        keys.garbage(1 << 40),
        b"~",
    ],
    ids=repr,
)
def test_a_row_too_many_is_found(key: bytes) -> None:
    """An index entry for nothing, and a row of no table."""
    store = busy()
    store.put(key, keys.number(1))
    if key[:1] == b"z":
        store.put(key, b"")

    assert recount(store)


# --- what happened -----------------------------------------------------------


def test_what_is_remembered_of_the_past_is_what_history_shows() -> None:
    """The samples are of states that nobody has read by the history itself."""
    chronicle = busy_world().checks.chronicle
    store = chronicle.witness.below
    oldest = history.read_mark(store).oldest
    kept = {at: seen for at, seen in chronicle.digests.items() if at >= oldest}

    assert kept
    for at, seen in kept.items():
        assert digest(history.PastReader(store, at)) == seen


def test_a_seed_draws_who_takes_part() -> None:
    """Other seeds, other clients; `store=no` keeps all of them away, and all else as it is."""
    with_store, without = World(7), World(7, store=False)

    assert len({draw_store(with_store._rng(str(each))) for each in range(20)}) > 10
    assert with_store.options.store.anybody and without.options.store == NOBODY
    assert without.options.habits == with_store.options.habits
    assert "store=StoreHabits(" in str(with_store.options)
    assert without.reproduce == "./scripts/simulate --seed 0x7 --no-store"


# --- properties --------------------------------------------------------------


def appended(first_seq: int, *, duplicate: bool) -> Outcome:
    """The answer to an append of two events."""
    outcome = Outcome(revision=9)
    said = StreamAppended(first_seq=first_seq, last_seq=first_seq + 1)
    outcome.append_events.appended.append(said)
    outcome.append_events.duplicate = duplicate
    return outcome


def transaction(name: str, *micros: tuple[str, str, object], at: int) -> Transaction:
    """A transaction that overlaps all others."""
    return Transaction(name, "ok", tuple(Micro(*one) for one in micros), 0.0, 9.0, at)


SWEPT, LEFT = HistoryMark(oldest=5, swept=5), HistoryMark(oldest=5, swept=4)
READ_SKEW = (
    transaction("a", ("r", "x", ()), ("append", "y", 1), at=1),
    transaction("b", ("r", "y", ()), ("append", "x", 2), at=2),
    transaction("c", ("r", "x", (2,)), ("r", "y", (1,)), at=3),
)
IN_ORDER = (
    transaction("a", ("append", "x", 1), at=1),
    transaction("b", ("r", "x", (1,)), ("append", "x", 2), at=2),
    transaction("c", ("r", "x", (1, 2)), at=3),
)
BEFORE, AFTER = Change(b"1", b"2"), Change(None, b"2")


def stored(number: int, create: int, version: int) -> bytes:
    """A key that was put at revision 9, or says so."""
    kv = KeyValue(key=b"k", mod_revision=number, create_revision=create, version=version)
    return kv.SerializeToString()


def told(name: bytes, *, created: bool) -> Told:
    """A change of a key."""
    resource = Resource(key=KeyValue(key=b"k"))
    return Told(type=RESOURCE_TYPE_KEY, id=name, resource=resource, created=created)


def moved(position: int) -> Group:
    """A projection was saved, and was at a position before."""
    before = Projection(name="p", position=position).SerializeToString()
    return {keys.projection("p"): Change(before, b"")}


# What holds, and what nearly does.
PAIRS: list[tuple[Callable[[], None], Callable[[], None]]] = [
    (
        lambda: judging.money_is_kept("", [30, 70], 100),
        lambda: judging.money_is_kept("", [30, 71], 100),
    ),
    (
        lambda: judging.money_is_kept("", [], 100),
        lambda: judging.money_is_kept("", [-1, 101], 100),
    ),
    (
        lambda: judging.group_is_whole("", [b"a", b"a"], 2),
        lambda: judging.group_is_whole("", [b"a", b"b"], 2),
    ),
    (
        lambda: judging.group_is_whole("", [], 2),
        lambda: judging.group_is_whole("", [b"a"], 2),
    ),
    (
        lambda: judging.lists_are_serializable(IN_ORDER),
        lambda: judging.lists_are_serializable(READ_SKEW),
    ),
    (
        lambda: judging.leased_key_is_there(b"k", 1, there=True),
        lambda: judging.leased_key_is_there(b"k", 1, there=False),
    ),
    (
        lambda: judging.lease_expiry_is_not_early(1, 0.96, 1.0),
        lambda: judging.lease_expiry_is_not_early(1, 0.94, 1.0),
    ),
    (
        lambda: judging.duplicate_is_answered_alike(
            appended(3, duplicate=False), appended(3, duplicate=True)
        ),
        lambda: judging.duplicate_is_answered_alike(
            appended(3, duplicate=False), appended(5, duplicate=True)
        ),
    ),
    (
        lambda: judging.duplicate_is_answered_alike(
            appended(3, duplicate=True), appended(3, duplicate=True)
        ),
        lambda: judging.duplicate_is_answered_alike(
            appended(3, duplicate=False), appended(3, duplicate=False)
        ),
    ),
    (
        lambda: judging.stream_is_whole("", [], [2, 3], cut=True),
        lambda: judging.stream_is_whole("", [], [2, 3], cut=False),
    ),
    (
        lambda: judging.stream_is_whole("", [2, 3], [2, 3], cut=True),
        lambda: judging.stream_is_whole("", [2, 4], [2, 3, 4], cut=True),
    ),
    (
        lambda: judging.nothing_is_passed_over("", range(1, 4), [1, 3], [2]),
        lambda: judging.nothing_is_passed_over("", range(1, 4), [1, 3], []),
    ),
    (
        lambda: judging.projection_moves_with_its_key("", 7, 7),
        lambda: judging.projection_moves_with_its_key("", 7, 6),
    ),
    (
        lambda: judging.saved_is_kept("", 1, b"a", b"a"),
        lambda: judging.saved_is_kept("", 1, b"a", b"b"),
    ),
    (
        lambda: judging.garbage_is_swept("", SWEPT),
        lambda: judging.garbage_is_swept("", LEFT),
    ),
    (
        lambda: judging.past_is_kept("", 1, b"a", b"a"),
        lambda: judging.past_is_kept("", 1, b"a", b"b"),
    ),
    (
        lambda: judging.no_change_is_missing("", [1, 3], [1, 3]),
        lambda: judging.no_change_is_missing("", [3, 1], [1, 3]),
    ),
    (
        lambda: judging.changes_are_told("", 1, [b"k"], {b"k": BEFORE}),
        lambda: judging.changes_are_told("", 1, [b"k", b"k"], {b"k": BEFORE}),
    ),
    (
        lambda: judging.change_is_right("", 1, b"k", AFTER, BEFORE, whole=False),
        lambda: judging.change_is_right("", 1, b"k", AFTER, BEFORE, whole=True),
    ),
    (
        lambda: judging.history_mark_is_sane(SWEPT, 5, 4),
        lambda: judging.history_mark_is_sane(SWEPT, 4, 4),
    ),
    (
        lambda: judging.history_mark_is_sane(SWEPT, 9, 5),
        lambda: judging.history_mark_is_sane(LEFT, 9, 5),
    ),
    (
        lambda: judging.key_counts_its_writes(9, Change(None, stored(9, 9, 1))),
        lambda: judging.key_counts_its_writes(9, Change(None, stored(9, 9, 2))),
    ),
    (
        lambda: judging.key_counts_its_writes(9, Change(stored(5, 4, 2), stored(9, 4, 3))),
        lambda: judging.key_counts_its_writes(9, Change(stored(5, 4, 2), stored(9, 9, 3))),
    ),
    (
        lambda: judging.key_counts_its_writes(9, Change(stored(5, 4, 2), None)),
        lambda: judging.key_counts_its_writes(9, Change(stored(5, 4, 2), stored(8, 4, 3))),
    ),
    (
        lambda: judging.lease_ends(1, 9.0, judging.OVERDUE_ENTRIES - 1),
        lambda: judging.lease_ends(1, judging.OVERDUE_S, judging.OVERDUE_ENTRIES),
    ),
    (
        lambda: judging.change_is_named("", 1, told(b"k", created=True), AFTER),
        lambda: judging.change_is_named("", 1, told(b"k", created=True), BEFORE),
    ),
    (
        lambda: judging.change_is_named("", 1, told(b"k", created=False), BEFORE),
        lambda: judging.change_is_named("", 1, told(b"l", created=False), BEFORE),
    ),
    (
        lambda: judging.projection_was_expected(moved(7), "p", 7),
        lambda: judging.projection_was_expected(moved(7), "p", 6),
    ),
    (
        lambda: judging.nothing_is_untold({}),
        lambda: judging.nothing_is_untold({b"k": BEFORE}),
    ),
]


@pytest.mark.parametrize(("right", "wrong"), PAIRS, ids=[str(n) for n in range(len(PAIRS))])
def test_a_property_tells_right_from_wrong(
    right: Callable[[], None], wrong: Callable[[], None]
) -> None:
    """What holds passes; what nearly does, does not."""
    right()
    with pytest.raises(Violation):
        wrong()


def test_events_that_were_acknowledged_are_stored_once() -> None:
    """Where they were said to be, and nowhere else; what was refused is not."""
    chronicle = busy_world().checks.chronicle
    place, event = next(iter(chronicle.events.items()))

    judging.events_are_stored_once(chronicle, {event.data: place}, [b"never"])
    with pytest.raises(Violation, match="was said to be"):
        judging.events_are_stored_once(chronicle, {event.data: (place[0], 99)}, [])
    with pytest.raises(Violation, match="was refused"):
        judging.events_are_stored_once(chronicle, {}, [event.data])


def test_an_expiry_that_knows_the_newest_touch_may_end_a_lease() -> None:
    """One that knows an older one may not."""
    chronicle = Chronicle()
    chronicle.touched[7] = 20
    fits = ExpireLease(lease_id=7, touched_revision=20)
    late = ExpireLease(lease_id=7, touched_revision=19)

    judging.expiry_spares_the_touched(chronicle, fits)
    with pytest.raises(Violation, match="touched at 20"):
        judging.expiry_spares_the_touched(chronicle, late)


# --- what a command may do -----------------------------------------------------


def saved(number: int, at_ms: int = 0) -> bytes:
    """The record of a checkpoint."""
    one = Checkpoint(agent_id="a", checkpoint_id=number, log_time_ms=at_ms)
    return one.SerializeToString()


def retained(gone: list[int], left: list[int], saves: bool = True, **rules: int) -> Chronicle:
    """Judge a revision that saved checkpoint 9 of an agent, at 900 ms, or none, and removed
    some, so that others are left that may go; each was saved at 100 times its number."""
    chronicle = Chronicle()
    store = chronicle.witness.below
    for number in left:
        store.put(keys.prunable("a", number), b"")
        store.put(keys.checkpoint("a", number), saved(number, 100 * number))
    agent = Agent(agent_id="a", retention=Retention(**rules))
    agent.head.checkpoint_id = 8
    before = agent.SerializeToString()
    agent.head.checkpoint_id += saves
    store.put(keys.agent("a"), agent.SerializeToString())
    group: Group = {keys.agent("a"): Change(before, agent.SerializeToString())}
    for number in gone:
        removed = Change(saved(number, 100 * number), None)
        group[keys.checkpoint("a", number)] = removed
    if saves:
        group[keys.checkpoint("a", 9)] = Change(None, saved(9, 900))
    judging.group_is_sound(chronicle, 50, group)
    return chronicle


def test_retention_leaves_what_the_agent_says() -> None:
    """No more and no less, the oldest first, and nothing that is too old."""
    retained([2], [3, 4], keep_last=2)
    retained([2, 3], [4], keep_for_ms=550)
    retained([1, 2, 3, 4], [5, 6, 7], keep_last=1)
    retained([2], [3], saves=False)

    with pytest.raises(Violation, match="\\[2\\] were removed, \\[3, 4\\] may go"):
        retained([2], [3, 4])
    with pytest.raises(Violation, match="to \\[2\\] were removed"):
        retained([2], [3], keep_last=2)
    with pytest.raises(Violation, match="3 that may go are left"):
        retained([2], [3, 4, 5], keep_last=2)
    with pytest.raises(Violation, match="removed before \\[2\\]"):
        retained([3], [2, 4], keep_last=2)
    with pytest.raises(Violation, match="were removed"):
        retained([2, 3], [4], keep_for_ms=650)
    with pytest.raises(Violation, match="checkpoint 3 is left"):
        retained([2], [3, 4], keep_for_ms=550)


def test_who_has_some_pruned_is_told_how_many() -> None:
    """And keeps as many as was asked for."""
    group: Group = {keys.checkpoint("a", n): Change(saved(n), None) for n in (1, 2)}
    command = Command(prune_checkpoints=PruneCheckpointsRequest(agent_id="a", keep_last=3))
    outcome = Outcome()
    outcome.prune_checkpoints.pruned = 2

    assert retained([2], [3], saves=False).left == {50: 1}
    judging.prune_spares_the_newest(group, command, outcome, 3)
    for left in (2, 4):
        with pytest.raises(Violation, match=f"{left} that may go are left"):
            judging.prune_spares_the_newest(group, command, outcome, left)
    outcome.prune_checkpoints.pruned = 1
    with pytest.raises(Violation, match="1 were told of"):
        judging.prune_spares_the_newest(group, command, outcome, 3)


def test_of_the_known_good_as_many_are_kept_as_the_agent_says() -> None:
    """When one more is good; but for those that are too many to be moved at once."""

    def judge(kept: int, spare: int) -> None:
        retention = Retention(keep_known_good=2)
        before = Agent(known_good=2, retention=retention)
        after = Agent(known_good=kept + spare, spare_known_good=spare, retention=retention)
        change = Change(before.SerializeToString(), after.SerializeToString())
        judging.good_ones_are_kept({keys.agent("a"): change}, "a")

    judge(2, 1)
    judge(6, 0)
    for kept, spare in ((3, 0), (1, 2)):
        with pytest.raises(Violation, match=f"{kept} known good ones are kept, and not 2"):
            judge(kept, spare)


@pytest.mark.parametrize(
    ("what", "name", "prefix", "session", "content", "valid", "good"),
    [
        ("", "v", "a", "s2", b"1", True, True),
        ("", "v", "a", "s2", b"1", False, False),
        ("whom nobody knows", "w", "a", "s2", b"1", True, True),
        ("who judges 'b'", "v", "b", "s2", b"1", True, True),
        ("for its owner", "v", "a", "s1", b"1", True, True),
        ("other content", "v", "a", "s2", b"2", True, True),
        ("False by all", "v", "a", "s2", b"1", False, True),
    ],
)
def test_known_good_is_earned(
    what: str, name: str, prefix: str, session: str, content: bytes, valid: bool, good: bool
) -> None:
    """By who may judge, of what is there, and never by the owner."""
    chronicle = Chronicle(owners={9: "s1"})
    registered = Validator(name="v", agent_prefix=prefix)
    chronicle.witness.below.put(keys.validator("v"), registered.SerializeToString())
    found = Checkpoint(content_hash=b"1", known_good=good)
    found.validations.append(Validation(validator="v", valid=valid))
    group: Group = {keys.checkpoint("a", 3): Change(None, found.SerializeToString())}
    request = MarkValidRequest(
        agent_id="a", checkpoint_id=3, validator=name, content_hash=content
    )
    request.request_id.session_id = session
    outcome = Outcome(revision=9)
    outcome.mark_valid.known_good = good

    if not what:
        judging.good_was_earned(chronicle, group, Command(mark_valid=request), outcome)
        return
    with pytest.raises(Violation, match=what):
        judging.good_was_earned(chronicle, group, Command(mark_valid=request), outcome)


def test_what_is_truncated_was_covered_by_what_was_named() -> None:
    """Not by another checkpoint, or another projection."""
    chronicle = Chronicle(covers={("a", 1): 4, ("a", 2): 6})
    chronicle.events["a", 5] = Event(position=50)
    for name, position in (("p", 50), ("q", 49)):
        record = Projection(name=name, position=position)
        chronicle.witness.below.put(keys.projection(name), record.SerializeToString())

    def judge(before_seq: int = 6, **named: Any) -> None:
        request = TruncateBeforeRequest(stream_id="a", before_seq=before_seq, **named)
        group: Group = {keys.stream("a"): BEFORE}
        judging.truncation_names_its_cover(chronicle, group, request)

    judge(checkpoint_id=2)
    judge(projection="p")
    with pytest.raises(Violation, match="covers 4"):
        judge(checkpoint_id=1)
    with pytest.raises(Violation, match="has passed 49"):
        judge(projection="q")


@pytest.mark.parametrize("kind", ["commit_step", "put_checkpoint", "append_events", "group"])
def test_nothing_is_written_under_an_old_grant(kind: str) -> None:
    """Nor by another session than the one that has the newest."""
    checks = Checks(1, {})
    checks.grants["a"] = Grant((1, 20), "s1")

    def judge(revision: int, session: str) -> None:
        fence, command = FencingToken(epoch=1, revision=revision), Command()
        if kind == "append_events":
            command.append_events.appends.add(stream_id="a", fence=fence)
            command.append_events.appends.add(stream_id="free")
        elif kind == "group":
            command.put_group_checkpoint.members.add(agent_id="a", fence=fence)
            command.put_group_checkpoint.members.add(agent_id="b")
        else:
            getattr(command, kind).agent_id = "a"
            getattr(command, kind).fence.CopyFrom(fence)
        body = getattr(command, command.WhichOneof("body") or "")
        body.request_id.session_id = session
        invariants.written_under_the_newest_grant(checks, command, Outcome(revision=30))

    judge(20, "s1")
    for revision, session in ((10, "s1"), (20, "s2")):
        with pytest.raises(Violation, match="the newest grant"):
            judge(revision, session)
