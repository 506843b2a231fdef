"""Sagas and rollbacks as clients saw them: sound runs pass, each way to be wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import rollbacks, sagas
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.outside import Books
from jepsen_like.protocols import Record, Verdict
from tests.checkers.simulated import Asked, events_of, record

Listed = list[dict[str, Any]]
Journey = tuple[Books, Listed, list[Asked]]

# --- sagas ---------------------------------------------------------------------


def step(name: str, state: str) -> dict[str, str]:
    return {"agent": "a", "effect": name, "key": name, "state": state}


def journey() -> Journey:
    """Three sagas that were completed, and three that were undone after two steps."""
    books = Books()
    listed: Listed = []
    told: list[Asked] = []
    for number in range(3):
        done, undone = f"s{number}", f"u{number}"
        for key in (f"{done}:0", f"{done}:1", f"{undone}:0", f"{undone}:1"):
            books.act(key, "keyed")
        for key in (f"{undone}:1", f"{undone}:0"):
            books.undo(key, "keyed", f"{key}:undo", f"saga/{undone}")
        steps = [step(f"{done}:{place}", "COMMITTED") for place in range(2)]
        listed.append({"saga": done, "state": "COMPLETED", "effects": steps, "items": []})
        steps = [step(f"{undone}:{place}", "COMPENSATED") for place in range(2)]
        items = [
            {"position": 2 - place, "key": f"{undone}:{place}", "state": "COMPENSATED"}
            for place in range(2)
        ]
        listed.append(
            {"saga": undone, "state": "COMPENSATED", "effects": steps, "items": items}
        )
        for name, state in ((done, "COMPLETED"), (undone, "COMPENSATING")):
            answer = {"saga": name, "state": state, "steps": 2}
            at = len(told) * 2.0
            told.append(Asked(1, "saga", "", {"id": name}, at, at + 1, "ok", answer, 5, "a"))
    return books, listed, told


def judged_sagas(found: Journey) -> Verdict:
    books, listed, told = found
    end = Asked(9, "list", "", {}, 90.0, 91.0, "ok", {"sagas": listed}, 9, "a")
    made = [replace(event, workload="saga") for event in events_of([*told, end])]
    run: Record = replace(record(made), notes={"saga": books.note()})
    return sagas.check(run)


def stuck(found: Journey) -> None:
    found[1][0]["state"] = "RUNNING"


def half(found: Journey) -> None:
    found[0].undo("s0:1", "keyed", "x", "saga/s0")
    found[1][0]["effects"][1]["state"] = "COMPENSATED"


def left(found: Journey) -> None:
    found[1][1]["effects"][0]["state"] = "COMMITTED"


def forgotten(found: Journey) -> None:
    del found[1][2]


def another_end(found: Journey) -> None:
    found[2][0] = replace_answer(found[2][0], {"saga": "s0", "state": "ABORTED"})


def replace_answer(asked: Asked, answer: dict[str, Any]) -> Asked:
    return asked._replace(answer=answer)


def goes_on(found: Journey) -> None:
    found[0].act("u0:2", "keyed")
    found[1][1]["effects"].append(step("u0:2", "COMMITTED"))


WRONG_SAGAS: list[tuple[Callable[[Journey], None], str]] = [
    (stuck, "stuck: saga s0 is RUNNING"),
    (half, "halves: saga s0 is completed"),
    (left, "halves: saga u0 is compensated"),
    (forgotten, "lost: saga s1"),
    (another_end, "lost: saga s0"),
    (goes_on, "after: u0:2 was done"),
]


def test_sagas_that_are_done_or_undone_pass() -> None:
    """And their numbers are told."""
    found = judged_sagas(journey())

    assert found.validity == "valid", found.complaints
    assert (found.figures["completed"], found.figures["compensated"]) == (3, 3)


@pytest.mark.parametrize(("change", "text"), WRONG_SAGAS, ids=[t for _, t in WRONG_SAGAS])
def test_a_wrong_saga_is_named(change: Callable[[Journey], None], text: str) -> None:
    """Whatever is wrong with it."""
    found = journey()
    change(found)

    verdict = judged_sagas(found)
    assert verdict.validity == "invalid"
    assert any(one.startswith(text) for one in verdict.complaints), verdict.complaints


def test_sagas_of_which_there_are_few_show_nothing() -> None:
    """Nor does a run of which nobody knows the end."""
    books, _, told = journey()

    assert judged_sagas((books, [], [])).validity == "invalid"  # orphans
    assert judged_sagas((Books(), [], [])).validity == "unknown"
    made = [replace(event, workload="saga") for event in events_of(told)]
    assert (
        sagas.check(replace(record(made), notes={"saga": books.note()})).validity == "unknown"
    )
    with pytest.raises(MalformedHistory):
        sagas.check(replace(record(made), notes={"saga": {}}))


# --- rollbacks -----------------------------------------------------------------

Told = dict[str, Any]


def point(number: int, revision: int, seq: int, state: str, **more: Any) -> Told:
    return {
        "checkpoint": number,
        "revision": revision,
        "seq": seq,
        "state": state,
        "from": 0,
        "rollback": "",
        "digest": f"of {state}",
    } | more


def line() -> Told:
    """Three states, a rollback to the first, and another state; three times over."""
    told: Told = {"checkpoints": [], "events": [], "rollbacks": []}
    seq = number = revision = 0
    for turn in range(3):
        for place in range(3):
            seq, number, revision = seq + 1, number + 1, revision + 10
            name = f"w{turn}{place}"
            told["checkpoints"].append(point(number, revision, seq, name))
            by = f"r{turn}" if place else ""
            told["events"].append([seq, revision, name, by])
        number, revision = number + 1, revision + 10
        back = told["checkpoints"][-3]
        copy = {**back, "checkpoint": number, "revision": revision}
        told["checkpoints"].append(copy | {"from": back["checkpoint"], "rollback": f"r{turn}"})
        told["rollbacks"].append(
            {
                "rollback": f"r{turn}",
                "state": "FINISHED",
                "revision": revision,
                "target": back["checkpoint"],
                "restored": number,
                "fence": [1, revision],
            }
        )
    return told


def asked_of(told: Told) -> list[Asked]:
    """What clients asked meanwhile: each write, each rollback, and a read after each."""
    made: list[Asked] = []
    for one in told["checkpoints"]:
        at, revision = float(one["revision"]), one["revision"]
        if one["from"]:
            value = {"agent": "0", "which": 0.0}
            answer = {"target": one["from"], "rollback": one["rollback"]}
            made.append(Asked(2, "rollback", "", value, at, at + 1, "ok", answer, revision))
        else:
            value = {"agent": "0", "id": one["state"]}
            before = revision - 1
            answer = {"checkpoint": one["checkpoint"], "seq": one["seq"], "token": [1, before]}
            made.append(Asked(1, "write", "", value, at, at + 1, "ok", answer, revision))
        value = {"agent": "0", "stale": True}
        shown = {"found": dict(one)}
        made.append(Asked(3, "read", "", value, at + 2, at + 3, "ok", shown, revision + 3, "a"))
    return made


def judged_line(told: Told, asked: list[Asked]) -> Verdict:
    end = Asked(9, "list", "", {"agent": "0"}, 990.0, 991.0, "ok", told, 999, "a")
    made = [replace(event, workload="rollback") for event in events_of([*asked, end])]
    return rollbacks.check(record(made))


Run = tuple[Told, list[Asked]]


def other_bytes(run: Run) -> None:
    run[0]["checkpoints"][3]["digest"] = "of something else"


def old_read(run: Run) -> None:
    run[1][7] = run[1][7]._replace(answer=run[1][5].answer)


def lost_write(run: Run) -> None:
    run[1][0] = run[1][0]._replace(revision=11)


def refused_write(run: Run) -> None:
    run[1][0] = run[1][0]._replace(type="fail")


def late_write(run: Run) -> None:
    answer = {**run[1][8].answer, "token": [1, 5]}
    run[1][8] = run[1][8]._replace(answer=answer)


def live_event(run: Run) -> None:
    run[0]["events"][1][3] = ""


def dead_event(run: Run) -> None:
    run[0]["events"][0][3] = "r0"


def unfinished(run: Run) -> None:
    run[0]["rollbacks"][0]["state"] = "READY"


def two_moments(run: Run) -> None:
    run[0]["rollbacks"][0]["revision"] += 1


WRONG_LINES: list[tuple[Callable[[Run], None], str]] = [
    (other_bytes, "bytes: "),
    (old_read, "read: "),
    (lost_write, "acknowledged: "),
    (refused_write, "failed: "),
    (late_write, "fenced: "),
    (live_event, "undone: "),
    (dead_event, "undone: "),
    (unfinished, "unfinished: "),
    (two_moments, "acknowledged: "),
]


def test_a_line_of_states_passes() -> None:
    """With rollbacks in it, each of one moment."""
    told = line()
    found = judged_line(told, asked_of(told))

    assert found.validity == "valid", found.complaints
    assert (found.figures["rollbacks"], found.figures["restored_seen"]) == (3, 3)


@pytest.mark.parametrize(
    ("change", "text"), WRONG_LINES, ids=[change.__name__ for change, _ in WRONG_LINES]
)
def test_a_wrong_line_is_named(change: Callable[[Run], None], text: str) -> None:
    """Whatever is wrong with it."""
    told = line()
    run = told, asked_of(told)
    change(run)

    verdict = judged_line(*run)
    assert verdict.validity == "invalid"
    assert any(one.startswith(text) for one in verdict.complaints), verdict.complaints


def test_a_line_without_rollbacks_shows_nothing() -> None:
    """Nor does one that nobody was told of."""
    told = line()
    asked = asked_of(told)
    told["rollbacks"], told["events"] = [], []
    told["checkpoints"] = told["checkpoints"][:3]
    few = [one for one in asked if one.f == "write"][:3]

    assert judged_line(told, few).validity == "unknown"
    made = [replace(event, workload="rollback") for event in events_of(few)]
    assert rollbacks.check(record(made)).validity == "unknown"


def test_what_a_rollback_leaves_behind_is_no_target() -> None:
    """A line goes on from the copy."""
    points = [(1, 0), (2, 0), (3, 0), (4, 2), (5, 0), (6, 1)]

    assert rollbacks.live(points[:3]) == [1, 2, 3]
    assert rollbacks.live(points[:5]) == [1, 2, 4, 5]
    assert rollbacks.live(points) == [1, 6]
