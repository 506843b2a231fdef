"""Histories: recorded as they happen, kept as lines of JSON, refused if they cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers.history import (
    MalformedHistory,
    Operation,
    Recorder,
    dumps,
    loads,
    validate,
)

WRITE = Operation("p#1", "write", "x", "1", "ok", None, 0.0, 1.0)
READ = Operation("q#1", "read", "x", None, "ok", "1", 0.5, 2.0)
LOST = Operation("r#1", "cas", "x", ("1", "2"), "info", None, 0.7, None)
NOTHING: Any = ""
REFUSED = Operation("p#1", "write", "x", "3", "fail", None, 1.0, 1.5)


def test_a_history_survives_its_file() -> None:
    """
    One line an operation; tuples come back as tuples.
    """
    history = [WRITE, READ, LOST, REFUSED]

    text = dumps(history)

    assert len(text.splitlines()) == 4
    assert loads(text) == history


def test_what_is_recorded_is_a_history() -> None:
    """
    Operations stand in the order in which they began; those without an end are unknown.
    """
    recorder = Recorder()
    first = recorder.invoke("p", "write", "x", "1", 0.0)
    second = recorder.invoke("q", "read", "x", None, 0.5)
    recorder.invoke("r", "cas", "x", ("1", "2"), 0.7)
    recorder.complete(first, "ok", 1.0)
    third = recorder.invoke("p", "write", "x", "3", 1.0)
    recorder.complete(third, "fail", 1.5)
    recorder.complete(second, "ok", 2.0, "1")

    history = recorder.history()

    validate(history)
    assert history == [WRITE, READ, LOST, REFUSED]
    assert len(recorder) == 4


def test_who_does_not_know_goes_on_as_another_process() -> None:
    """
    Told that nobody knows, or never told: the operation may still happen, and a process
    does one thing at a time.
    """
    recorder = Recorder()
    recorder.complete(recorder.invoke("p", "write", "x", "1", 0.0), "info", 1.0)
    recorder.invoke("p", "write", "x", "2", 1.0)
    recorder.complete(recorder.invoke("p", "read", "x", None, 2.0), "ok", 3.0, "1")

    history = recorder.history()

    validate(history)
    assert [operation.process for operation in history] == ["p#1", "p#2", "p#3"]
    assert [operation.outcome for operation in history] == ["info", "info", "ok"]


def test_an_answer_to_nothing_is_refused() -> None:
    """
    Twice, or after its process had begun something else.
    """
    recorder = Recorder()
    number = recorder.invoke("p", "write", "x", "1", 0.0)
    recorder.complete(number, "ok", 1.0)

    with pytest.raises(MalformedHistory, match="not under way"):
        recorder.complete(number, "ok", 2.0)


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ([replace(WRITE, process="")], "process is not a name"),
        ([replace(WRITE, kind=NOTHING)], "kind is not a name"),
        ([replace(WRITE, outcome=NOTHING)], "no outcome"),
        ([replace(WRITE, invoked=float("nan"))], "did not begin"),
        ([replace(WRITE, completed=None)], "did not complete"),
        ([replace(WRITE, completed=-1.0)], "completed before it began"),
        ([replace(LOST, completed=3.0)], "nobody knows how"),
        ([replace(REFUSED, result="1")], "was not answered"),
        ([READ, WRITE], "began before the one noted before it"),
        ([WRITE, replace(READ, process="p#1")], "busy until later"),
        ([LOST, replace(READ, process="r#1", invoked=1.0)], "does not know"),
    ],
)
def test_what_cannot_be_a_history_is_refused(history: list[Operation], why: str) -> None:
    """
    The message names the operation and what is wrong with it.
    """
    with pytest.raises(MalformedHistory, match=why):
        validate(history)


def without(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(dumps([WRITE]))
    del record[name]
    return record


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 does not have the fields"),
        (json.dumps(without("result")), "line 1 does not have the fields"),
        (dumps([replace(WRITE, completed=-1.0)]), "completed before it began"),
    ],
)
def test_a_file_that_is_none_is_refused(line: str, why: str) -> None:
    """
    Nothing is guessed and nothing skipped.
    """
    with pytest.raises(MalformedHistory, match=why):
        loads(line)
