"""The history of a run, in memory and on file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.history import NEMESIS, Event, Writer, dump, load, operation, pairs

BEGUN = Event(0, 1.5, "invoke", 0, "w", "add", "k", {"id": "x"})
ENDED = Event(1, 2.5, "ok", 0, "w", "add", "k", [1], "n1", 7)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def written(path: Path, *events: Event) -> list[Event]:
    with Writer(path) as writer:
        for event in events:
            writer.append(event)
    return writer.events


def test_what_is_kept_is_what_is_on_file(tmp_path: Path) -> None:
    """
    A run is judged from memory, and again from its file: times, tuples and keys are in
    both what they are on file, and the index is the line's number.
    """
    odd = replace(BEGUN, time=1.23456789, value={"pair": (1, 2), 3: "three"})
    kept = written(tmp_path / "h", odd, replace(ENDED, index=99))

    assert kept == load(tmp_path / "h")
    assert kept[0].time == 1.234568 and kept[0].value == {"pair": [1, 2], "3": "three"}
    assert [event.index for event in kept] == [0, 1]


def test_a_value_that_changes_later_changes_no_history(tmp_path: Path) -> None:
    """
    What a client does to the value it was given does not rewrite what was asked.
    """
    value = {"id": "x"}
    kept = written(tmp_path / "h", replace(BEGUN, value=value))
    value["id"] = "y"

    assert kept[0].value == {"id": "x"}


@given(value=VALUES, key=st.text(max_size=5), revision=st.integers(0, 2**60))
def test_a_line_says_all_of_an_event(value: Any, key: str, revision: int) -> None:
    """
    Any event that JSON can hold comes back from its one line as it was.
    """
    event = Event(3, 0.25, "ok", 5, "w", "read", key, value, "n1", revision, key)
    line = dump(event)

    assert line.endswith("\n") and line.count("\n") == 1 and len(line.splitlines()) == 1
    assert Event(**json.loads(line)) == event


@pytest.mark.parametrize("value", ["", 0, False, [], {}])
def test_a_value_that_is_empty_is_not_left_out(value: Any) -> None:
    """
    Only what says nothing is left out of a line: an empty answer is an answer.
    """
    assert json.loads(dump(replace(ENDED, value=value)))["value"] == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"bytes"])
def test_what_json_cannot_hold_is_refused(tmp_path: Path, value: Any) -> None:
    """
    A value that could not be read back is refused, and nothing of it is written.
    """
    with Writer(tmp_path / "h") as writer:
        writer.append(BEGUN)
        with pytest.raises((TypeError, ValueError)):
            writer.append(replace(ENDED, value=value))
        writer.append(ENDED)

    assert load(tmp_path / "h") == writer.events == [BEGUN, ENDED]


def test_a_history_is_never_written_over(tmp_path: Path) -> None:
    """
    A file that is there already is somebody's history.
    """
    written(tmp_path / "h", BEGUN)

    with pytest.raises(FileExistsError):
        Writer(tmp_path / "h")


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    """
    What a crash tore at the end is no event; anywhere else it is damage.
    """
    whole, torn = tmp_path / "h", tmp_path / "torn"
    kept = written(whole, BEGUN, ENDED)
    lines = whole.read_text()
    for cut in range(1, len(lines.splitlines()[1])):
        torn.write_text(lines[:-cut])
        assert load(torn) == kept[:1]

    torn.write_text(lines[:20] + "\n" + lines)
    with pytest.raises(MalformedHistory, match="line 1 is no event"):
        load(torn)
    torn.write_text("".join(reversed(lines.splitlines(keepends=True))))
    with pytest.raises(MalformedHistory, match="line 1 has index 1"):
        load(torn)


def test_pairs_are_in_the_order_of_their_beginnings() -> None:
    """
    Each invoke has its completion, or none; what the nemesis does is no operation.
    """
    events = [
        BEGUN,
        replace(BEGUN, index=1, process=NEMESIS, workload="nemesis"),
        replace(BEGUN, index=2, process=1, key="j"),
        replace(ENDED, index=3, process=1, key="j"),
        replace(BEGUN, index=4, process=1, key="i"),
        replace(ENDED, index=5, type="info"),
    ]
    found = list(pairs(events))

    assert [(pair.invoke.key, pair.outcome) for pair in found] == [
        ("k", "info"),
        ("j", "ok"),
        ("i", "info"),
    ]
    assert found[2].completion is None
    unknown, known = (operation(pair, "write", 1, 2) for pair in found[:2])
    assert (unknown.outcome, unknown.result, unknown.completed) == ("info", None, None)
    assert (known.outcome, known.result, known.completed) == ("ok", 2, 2.5)


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([ENDED], "completes nothing"),
        ([BEGUN, BEGUN], "is not free"),
        ([BEGUN, replace(ENDED, key="other")], "completes nothing"),
        ([BEGUN, replace(ENDED, workload="other")], "completes nothing"),
        ([BEGUN, replace(ENDED, type="info"), BEGUN], "is not free"),
        ([BEGUN, ENDED, ENDED], "completes nothing"),
    ],
)
def test_what_no_processes_can_have_done_is_refused(
    events: list[Event], complaint: str
) -> None:
    """
    A process does one thing after another, and nothing after an unknown outcome.
    """
    with pytest.raises(MalformedHistory, match=complaint):
        list(pairs(events))
