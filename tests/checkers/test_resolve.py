"""Unknown outcomes become known by the committed log, and words are held to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.resolve import resolve
from jepsen_like.protocols import LoggedEvent, Record
from tests.checkers.simulated import Asked, Store, events_of, record


def run() -> Record:
    """An acknowledged write, two unknown ones of which one happened, one that failed."""
    store = Store()
    store.commit("0", "w0")
    store.commit("0", "w1")
    return record(
        events_of(
            [
                Asked(0, "write", "0", {"id": "w0"}, 0, 1, "ok", {"step": 1}, 1),
                Asked(1, "write", "0", {"id": "w1"}, 2, None),
                Asked(2, "write", "0", {"id": "w2"}, 3, 4, "info"),
                Asked(3, "write", "0", {"id": "w3"}, 5, 6, "fail"),
                Asked(4, "read", "0", None, 7, 8, "ok", {"step": 2, "id": "w1"}, 2),
            ]
        ),
        store.log,
    )


def logged(*changes: dict[str, Any]) -> Record:
    """The run, with events in the log that differ from the first one."""
    first = run().log[0]
    log = [
        *run().log,
        *(
            replace(first, **{"seq": 3, "step": 3, "position": 3, "revision": 3, **one})
            for one in changes
        ),
    ]
    return replace(run(), log=log)


def test_the_log_tells_what_became_of_the_unknown() -> None:
    """
    What is there happened, at its place; what is not never will.
    """
    found = resolve(run(), "register")

    assert found.whole
    assert found.complaints == ()
    assert {
        identity: (one.told, one.stored and one.stored.revision)
        for identity, one in found.operations.items()
    } == {
        "w0": ("done", 1),
        "w1": ("unknown", 2),
        "w2": ("unknown", None),
        "w3": ("not done", None),
    }
    assert found.figures() == {
        "acknowledged": 1,
        "refused": 1,
        "unknown": 2,
        "unknown_happened": 1,
        "lost": 0,
        "resurrected": 0,
        "double": 0,
    }


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("lost", replace(run(), log=run().log[1:])),
        ("resurrected", logged({"data": '{"id": "w3"}'})),
        ("double", logged({})),
        ("stranger", logged({"data": '{"id": "x"}'})),
        ("garbled", logged({"data": "?"})),
        ("garbled", logged({"data": "[]"})),
        ("stranger", logged({"data": '{"id": "w2"}', "type": "set"})),
        ("stranger", logged({"data": '{"id": "w2"}', "stream": "run/set/0"})),
        ("gap", logged({"data": '{"id": "w2"}', "seq": 4})),
        ("gap", logged({"data": '{"id": "w2"}', "step": 2})),
        ("gap", logged({"data": '{"id": "w2"}', "revision": 2})),
        ("gap", logged({"data": '{"id": "w2"}', "position": 1})),
        ("moved", replace(run(), log=[replace(run().log[0], step=9)])),
        ("moved", replace(run(), log=[replace(run().log[0], revision=9)])),
        ("moved", replace(run(), events=[replace(one, revision=0) for one in run().events])),
        ("moved", replace(run(), log=[replace(run().log[0], stream="run/register/1")])),
    ],
)
def test_each_broken_word_is_named(name: str, wrong: Record) -> None:
    """
    One thing in the log is not as it was told.
    """
    complaints = resolve(wrong, "register").complaints

    assert name in {text.partition(":")[0] for text in complaints}


def test_other_workloads_are_not_looked_at() -> None:
    """
    Neither their events nor their operations.
    """
    other: LoggedEvent = replace(run().log[0], stream="run/set/0", type="set", data="?")

    assert resolve(replace(run(), log=[*run().log, other]), "register").complaints == ()
    assert resolve(run(), "set").operations == {}


@pytest.mark.parametrize(
    "unread",
    [
        replace(run(), log=()),
        replace(run(), notes={"log": {"whole": False, "why": "no quorum"}}),
    ],
)
def test_a_log_that_was_not_read_resolves_nothing(unread: Record) -> None:
    """
    An acknowledged write is not lost because nobody looked.
    """
    found = resolve(unread, "register")

    assert not found.whole
    assert "not read" in found.unread
    assert found.complaints == ()
    assert all(one.stored is None for one in found.operations.values())


def test_two_operations_with_one_id_are_no_history() -> None:
    """
    Nothing could be told from the log then.
    """
    twice = [Asked(n, "write", "0", {"id": "w0"}, n, n + 0.5, "fail") for n in range(2)]

    with pytest.raises(MalformedHistory, match="two operations have the id 'w0'"):
        resolve(record(events_of(twice)), "register")
