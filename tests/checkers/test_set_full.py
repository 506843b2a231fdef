"""The set check: what became of every element, and each way to be wrong by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import set_full
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.protocols import Record
from tests.checkers.simulated import NODES, Asked, Store, events_of, record

IDS = ["e0", "e1", "e2"]


def add(number: int, began: float, end: float | None, type_: Any = "ok") -> Asked:
    answer = {"position": number + 1, "step": number + 1} if type_ == "ok" and end else None
    value = {"id": f"e{number}"}
    return Asked(
        number, "add", "0", value, began, end, type_, answer, 1 + number if answer else 0
    )


def read(began: float, end: float, ids: list[str], process: int = 20) -> Asked:
    return Asked(process, "read", "0", None, began, end, "ok", {"ids": ids}, 9)


def last(node: str, ids: list[str], type_: Any = "ok") -> Asked:
    answer = {"ids": ids} if type_ == "ok" else None
    asked = {"node": node}
    return Asked(30 + NODES.index(node), "read-node", "0", asked, 90, 91, type_, answer, 9)


ADDS = [add(0, 1, 2), add(1, 3, 4), add(2, 5, None), add(3, 6, 7, "fail"), add(4, 8, 9, "info")]
READS = [read(0, 0.5, []), read(2.5, 4.5, ["e0"]), read(10, 11, IDS)]
FINAL = [last(node, IDS) for node in NODES]


def run(*operations: Asked, stored: list[str] = IDS) -> Record:
    """Two acknowledged elements, an unknown one that happened and one that did not, one
    that failed."""
    store = Store("set")
    for identity in stored:
        store.commit("0", identity)
    made = operations or (*ADDS, *READS, *FINAL)
    return record(events_of(made, "set"), store.log, workloads=("set",))


def test_a_set_that_kept_everything_passes() -> None:
    """
    Its figures say what became of the elements.
    """
    found = set_full.check(run())

    assert found.validity == "valid", found.complaints
    assert found.name == "set:full"
    assert found.figures["attempts"] == 5
    assert found.figures["stable"] == 3
    assert found.figures["never_read"] == 2
    assert found.figures["unknown_happened"] == 1
    assert found.figures["stale"] == found.figures["lost"] == 0


def test_a_read_beside_an_add_may_miss_it() -> None:
    """
    The second read began before the second add was acknowledged.
    """
    assert set_full.check(run(*ADDS, read(3.5, 8, ["e0"]), *FINAL)).validity == "valid"


WRONGS = {
    "missing on one node": ("different", run(*ADDS, *READS, last("a", IDS[1:]), *FINAL[1:])),
    "missing in the log": ("lost", run(stored=IDS[1:])),
    "seen once and then lost": (
        "lost",
        run(*ADDS, read(10, 11, IDS), *(last(node, IDS[:2]) for node in NODES), stored=IDS[:2]),
    ),
    "acknowledged and not read": ("stale", run(*ADDS, read(2.5, 3, []), *READS[2:], *FINAL)),
    "read and then not read": (
        "stale",
        run(*ADDS, read(1.1, 1.2, ["e0"]), read(1.3, 1.4, []), *FINAL),
    ),
    "twice in a read": ("duplicate", run(*ADDS, read(10, 11, [*IDS, "e0"]), *FINAL)),
    "twice in the log": ("double", run(stored=[*IDS, "e0"])),
    "failed and there": ("resurrected", run(*ADDS, read(10, 11, [*IDS, "e3"]), *FINAL)),
    "failed and in the log": ("resurrected", run(stored=[*IDS, "e3"])),
    "from nowhere": ("stranger", run(*ADDS, read(10, 11, [*IDS, "x"]), *FINAL)),
    # The second element was never acknowledged, so that nobody knew it before.
    "without one before it": (
        "torn",
        run(ADDS[0], add(1, 3, None), *ADDS[2:], read(10, 11, ["e0", "e2"]), *FINAL),
    ),
    "in another order": ("torn", run(*ADDS, read(10, 11, ["e1", "e0", "e2"]), *FINAL)),
    "in another order everywhere": (
        "torn",
        run(*ADDS, *(last(node, ["e1", "e0", "e2"]) for node in NODES)),
    ),
    "newer than the answer says": (
        "early",
        run(*ADDS, read(10, 11, IDS)._replace(revision=2), *FINAL),
    ),
    "added in another order": (
        "order",
        run(ADDS[0]._replace(began=5, end=6), *ADDS[1:], *FINAL),
    ),
    "before it was added": ("early", run(*ADDS, read(2.5, 4.5, ["e0", "e2"]), *FINAL)),
    "another order on one node": (
        "different",
        run(*ADDS, *READS, last("a", ["e1", "e0", "e2"]), *FINAL[1:]),
    ),
    "more on one node": (
        "different",
        run(*ADDS, *READS, last("a", [*IDS, "e4"]), *FINAL[1:]),
    ),
    "answered by another node": (
        "elsewhere",
        run(*ADDS, *READS, FINAL[0], *(one._replace(node="a") for one in FINAL[1:])),
    ),
    "other elements than in the log": ("different", run(stored=[*IDS, "e4"])),
}


@pytest.mark.parametrize("what", WRONGS)
def test_each_way_to_be_wrong_is_named(what: str) -> None:
    """
    One thing is wrong, and the checker says what.
    """
    name, wrong = WRONGS[what]

    found = set_full.check(wrong)

    assert found.validity == "invalid"
    assert name in {text.partition(":")[0] for text in found.complaints}, found.complaints


def test_it_tells_how_long_an_element_stayed_hidden() -> None:
    """
    From when it was known to the last read that began without it.
    """
    late = [read(2.5, 3, []), read(4.5, 5, [], 21), read(10, 11, IDS)]

    found = set_full.check(run(*ADDS, *late, *FINAL))

    assert found.figures["stale"] == 2
    assert found.figures["stale_seconds_max"] == 2.5


def test_one_lost_element_is_counted_once() -> None:
    """
    Though the log and the nodes both tell of it.
    """
    finals = [last(node, IDS[1:]) for node in NODES]

    assert set_full.check(run(*ADDS, *finals, stored=IDS[1:])).figures["lost"] == 1


@pytest.mark.parametrize(
    "dark",
    [
        run(*ADDS, *READS, *FINAL[1:]),
        run(*ADDS, *READS, last("a", [], "info"), *FINAL[1:]),
        replace(run(), log=()),
        run(*(last(node, []) for node in NODES), stored=[]),
    ],
)
def test_what_was_not_looked_at_is_unknown(dark: Record) -> None:
    """
    Without every node's last read, the log or any add a run shows nothing.
    """
    assert set_full.check(dark).validity == "unknown"


def test_what_is_no_operation_of_a_set_is_refused() -> None:
    """
    Nothing is guessed and nothing skipped.
    """
    with pytest.raises(MalformedHistory, match="a set does not know"):
        set_full.check(run(Asked(0, "remove", "0", None, 0, 1)))
    with pytest.raises(MalformedHistory, match="no read of a set"):
        set_full.check(run(Asked(0, "read", "0", None, 0, 1)))
