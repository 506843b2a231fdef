"""The ledger against the books: what is right passes, and each way to be wrong is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jepsen_like.checkers import undoing
from jepsen_like.checkers.undoing import Effect, Item
from jepsen_like.outside import Books, Entry, entry_of

PLAN = "saga/s"
Facts = tuple[Books, list[Effect], list[Item]]


def effect(key: str, state: str) -> Effect:
    return Effect("a", key, key, state)


def sound() -> Facts:
    """Two effects of a plan that are undone, one that stays, one that came too late."""
    books = Books()
    for key in ("one", "two", "three"):
        books.act(key, "keyed")
    books.undo("late", "keyed", "late:undo", PLAN)
    assert books.act("late", "keyed") == "refused"
    books.undo("two", "keyed", "two:undo", PLAN)
    books.undo("two", "keyed", "two:undo", PLAN)
    books.undo("one", "keyed", "one:undo", PLAN)
    assert books.ask("never") == "not_done" and books.act("never", "asked") == "refused"
    known = [
        effect("one", "COMPENSATED"),
        effect("two", "COMPENSATED"),
        effect("three", "COMMITTED"),
        effect("late", "COMPENSATED"),
        effect("never", "RECONCILED_NOT_DONE"),
    ]
    items = [
        Item(PLAN, 1, "late", "COMPENSATED"),
        Item(PLAN, 2, "two", "COMPENSATED"),
        Item(PLAN, 3, "one", "COMPENSATED"),
    ]
    return books, known, items


def twice(facts: Facts) -> None:
    facts[0].act("three", "asked")


def under_two_keys(facts: Facts) -> None:
    facts[0].undo("two", "keyed", "other", PLAN)


def of_nothing(facts: Facts) -> None:
    facts[0].undo("never", "asked", "never:undo", PLAN)


def orphan(facts: Facts) -> None:
    facts[0].act("who", "keyed")


def not_done(facts: Facts) -> None:
    facts[1].append(effect("four", "COMMITTED"))


def failed_and_done(facts: Facts) -> None:
    facts[1][2] = effect("three", "FAILED_BEFORE_EFFECT")


def not_undone(facts: Facts) -> None:
    facts[1][2] = effect("three", "COMPENSATED")


def unsettled(facts: Facts) -> None:
    facts[1].append(effect("five", "UNKNOWN"))


def open_item(facts: Facts) -> None:
    facts[2].append(Item(PLAN, 4, "three", "PENDING"))


def out_of_turn(facts: Facts) -> None:
    facts[2][0], facts[2][1] = (
        Item(PLAN, 1, "one", "COMPENSATED"),
        Item(PLAN, 2, "two", "COMPENSATED"),
    )
    facts[2][2] = Item(PLAN, 3, "late", "COMPENSATED")


def misnumbered(facts: Facts) -> None:
    facts[2][2] = Item(PLAN, 4, "one", "COMPENSATED")


WRONG: list[tuple[Callable[[Facts], None], str]] = [
    (twice, "done 2 times"),
    (under_two_keys, "undone under 2 keys"),
    (of_nothing, "was not there"),
    (orphan, "the ledger knows nothing"),
    (not_done, "the outside says otherwise"),
    (failed_and_done, "and was done outside"),
    (not_undone, "is not undone outside"),
    (unsettled, "still UNKNOWN"),
    (open_item, "are not settled"),
    (out_of_turn, "which comes first"),
    (misnumbered, "are numbered"),
]


def test_what_is_right_passes() -> None:
    """Also what was undone again under the same key, and what came too late."""
    books, known, items = sound()

    assert undoing.check(books.journal, known, items) == []
    assert undoing.late(books.journal) == 2


@pytest.mark.parametrize(("change", "text"), WRONG, ids=[text for _, text in WRONG])
def test_what_is_wrong_is_named(change: Callable[[Facts], None], text: str) -> None:
    """By the words that its property has."""
    facts = sound()
    change(facts)

    found = undoing.check(facts[0].journal, facts[1], facts[2])
    assert any(text in one for one in found), found


def test_what_was_done_first_is_undone_last() -> None:
    """Unless things were done at once, and nobody says in which order."""
    books = Books()
    books.act("one", "keyed")
    books.act("two", "keyed")
    books.undo("one", "keyed", "1", PLAN)
    books.undo("two", "keyed", "2", PLAN)
    known = [effect("one", "COMPENSATED"), effect("two", "COMPENSATED")]
    items = [Item(PLAN, 1, "one", "COMPENSATED"), Item(PLAN, 2, "two", "COMPENSATED")]

    (found,) = undoing.check(books.journal, known, items)
    assert "was done first, and undone first" in found
    assert undoing.check(books.journal, known, items, reverse=False) == []


def test_what_is_not_over_may_be_open() -> None:
    """But what is settled behind what is not is wrong at any time."""
    known = [effect("one", "COMMITTED"), effect("two", "COMPENSATED")]
    books = Books()
    books.act("one", "keyed")
    books.undo("two", "keyed", "2", PLAN)
    items = [Item(PLAN, 1, "one", "PENDING"), Item(PLAN, 2, "two", "COMPENSATED")]

    assert undoing.check(books.journal, known[:1], items[:1], over=False) == []
    (found,) = undoing.check(books.journal, known, items, over=False)
    assert "item 2 is undone, and 1 is not settled" in found


def test_the_books_know_three_ways() -> None:
    """One takes each key once, one can be asked, and one does whatever it is told."""
    books = Books()

    assert [books.act("k", "keyed"), books.act("k", "keyed")] == ["done", "again"]
    assert [books.act("a", "asked"), books.act("a", "asked")] == ["done", "done"]
    assert books.undo("k", "keyed", "u", PLAN) == "undone"
    assert [books.undo("k", "keyed", "u", PLAN), books.act("k", "keyed")] == [
        "again",
        "refused",
    ]
    assert books.undo("b", "asked", "u", PLAN) == "missing"
    assert books.ask("a") == "done"
    noted = [entry_of(one) for one in books.note()["journal"]]
    assert noted == books.journal and all(isinstance(one, Entry) for one in noted)
