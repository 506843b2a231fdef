"""Every kind of fault has to show that it took effect."""

from __future__ import annotations

from typing import Any

import pytest

from jepsen_like.checkers import effects
from jepsen_like.history import NEMESIS, Event
from jepsen_like.protocols import Record, Window
from tests.checkers.simulated import fault, in_order, record, sample

SAMPLES = [sample(float(second), "a", second) for second in range(60)]


def run(*events: list[Event], **changes: Any) -> Record:
    history = in_order([one for several in events for one in several])
    return record(history, **{"samples": SAMPLES, "nemeses": ("kill",), **changes})


def shown(window: Window) -> str | None:
    return f"{window.begun} was gone"


def hidden(window: Window) -> str | None:
    return None


def only_at(*times: float) -> effects.Evidence:
    return {"kill-one": lambda window: "seen" if window.began in times else None}


def test_a_fault_that_shows_passes() -> None:
    """
    Its sentence is kept, with how often it was begun and how often it showed.
    """
    found = effects.check(run(fault("kill-one", 10, 12, "n1")), {"kill-one": shown})

    assert found.validity == "valid"
    assert found.figures == {
        "times": 1,
        "proven": 1,
        "kinds": {"kill-one": {"times": 1, "proven": 1, "evidence": ["10.00 s: n1 was gone"]}},
    }


def test_a_kind_has_to_show_once() -> None:
    """
    The other times are counted.
    """
    twice = run(fault("kill-one", 10, 12), fault("kill-one", 20, 22))

    found = effects.check(twice, only_at(20))

    assert found.validity == "valid"
    assert found.figures["times"] == 2
    assert found.figures["proven"] == 1
    assert found.figures["kinds"]["kill-one"]["evidence"] == [
        "10.00 s: nothing shows it",
        "20.00 s: seen",
    ]


def test_a_kind_that_never_shows_makes_the_run_invalid() -> None:
    """
    Whatever the others show.
    """
    both = run(fault("kill-one", 10, 12), fault("cut-one", 20, 22))

    found = effects.check(both, {"kill-one": shown, "cut-one": hidden})

    assert found.validity == "invalid"
    assert found.complaints == (
        "no effect: cut-one was begun 1 times; 20.00 s: nothing shows it",
    )


def test_half_of_all_faults_has_to_show() -> None:
    """
    One proof of each kind does not stand for many faults that nobody saw.
    """
    seen = fault("kill-one", 10, 12)
    unseen = [one for at in (20, 30) for one in fault("kill-one", at, at + 2)]

    def early(window: Window) -> str | None:
        return "seen" if window.began < 15 else None

    found = effects.check(run(seen, unseen), {"kill-one": early})
    assert found.validity == "invalid"
    assert "only 1 of 3" in found.complaints[0]
    assert effects.check(run(seen, unseen[:4]), {"kill-one": early}).validity == "valid"


def test_a_fault_that_could_not_be_begun_shows_nothing() -> None:
    """
    Its package is not even asked.
    """
    found = effects.check(
        run(fault("kill-one", 10, 12, error="no such process")), {"kill-one": shown}
    )

    assert found.validity == "invalid"
    assert "it was not begun: no such process" in found.complaints[0]


def test_nemeses_that_did_nothing_make_the_run_invalid() -> None:
    """
    Without any it is valid, and says that there were none.
    """
    assert effects.check(run(), {}).validity == "invalid"
    assert effects.check(run(nemeses=()), {}).validity == "valid"


def test_a_kind_that_nobody_knows_is_unknown() -> None:
    """
    Nobody can say what would show it.
    """
    found = effects.check(run(fault("kill-one", 10, 12)), {})

    assert found.validity == "unknown"
    assert found.complaints == ("no package knows what would show a kill-one",)


def windows(run: Record) -> list[Window]:
    """The windows that evidence is asked about."""
    asked: list[Window] = []

    def note(window: Window) -> str:
        asked.append(window)
        return "seen"

    effects.check(run, {"kill-one": note, "cut-one": note}, before_s=2, after_s=4)
    return asked


def test_a_window_has_what_was_drawn_and_what_was_done() -> None:
    """
    And the samples from a little before to a little after.
    """
    [window] = windows(run(fault("kill-one", 10, 12, "n1", target="n1")))

    assert (window.fault.kind, window.fault.seconds) == ("kill-one", 1.0)
    assert window.fault.args == {"target": "n1"}
    assert (window.began, window.ended) == (10, 12.1)
    assert (window.begun, window.undone) == ("n1", "undone")
    assert window.nodes == ("a", "b", "c")
    assert [one.time for one in window.samples] == [8, 9, 10, 11, 12, 13, 14, 15, 16]


def test_a_window_ends_where_the_next_of_its_kind_begins() -> None:
    """
    What shows that one is not taken for this one; faults of other kinds may overlap.
    """
    first, other, second = windows(
        run(fault("kill-one", 10, 12), fault("cut-one", 11, 13), fault("kill-one", 14, 15))
    )

    assert [one.time for one in first.samples][-1] == 14
    assert [one.time for one in other.samples][-1] == 17
    assert (second.began, second.ended) == (14, 15.1)


@pytest.mark.parametrize(("healed", "ended"), [(True, 30.5), (False, 41.0)])
def test_a_fault_without_an_end_lasts_to_the_heal(healed: bool, ended: float) -> None:
    """
    Or to the end of the history.
    """
    heal = Event(0, 30, "invoke", NEMESIS, "nemesis", "run", "heal")
    done = Event(0, 30.5, "info", NEMESIS, "nemesis", "run", "heal")
    stage = Event(0, 41, "invoke", NEMESIS, "nemesis", "run", "settle")

    [window] = windows(
        run(fault("kill-one", 10, None), [heal, done] if healed else [], [stage])
    )

    assert window.ended == ended
    assert window.undone is None
