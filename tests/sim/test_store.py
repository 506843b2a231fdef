"""The checks of the store themselves: what they let pass, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from unittest import mock

import pytest

from jepsen_like.checkers.cycles import Micro, Transaction
from raftstate.core import history, keys
from raftstate.core.history import HistoryMark
from raftstate.core.memory import MemoryStore
from raftstate.v1.event_service_pb2 import StreamAppended
from raftstate.v1.store_pb2 import ExpireLease, Outcome
from tests.sim import world as world_
from tests.sim.invariants import Violation
from tests.sim.recount import recount
from tests.sim.store import judging
from tests.sim.store.chronicle import Change, Chronicle, digest
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
        world = World(2, nodes=3, seconds=25.0)
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
