"""`raftstate breaker` and `raftstate replay`, run as a shell would, against a served store."""

import json
from pathlib import Path
from typing import Any

import pytest

import raftstate
from raftstate.client.store import Store
from raftstate.v1.event_service_pb2 import Event
from tests.test_store_cli import Served, served  # noqa: F401  # a fixture

NAME = "car/rates"


async def _put(store: Store) -> None:
    await store.put_breaker(
        NAME, count_window=10, failure_rate=0.5, ignored_errors=["KeyError"]
    )
    await store.put_breaker("other", time_window_ms=5_000, slow_rate=0.5, slow_call_ms=100)


async def _wrote(store: Store) -> None:
    async with store.own("agent") as agent:
        state: dict[str, int] = {}
        for name in ("x", "y"):
            state[name] = len(state)
            async with agent.step() as step:
                step.event("set", {name: state[name]}, state=state)


def merged(state: Any, event: Event) -> Any:
    """A reducer of the user's."""
    return (state or {}) | raftstate.decode(event)


def newest(state: Any, event: Event) -> Any:
    """One that is wrong from the second event on."""
    return raftstate.decode(event)


def test_breakers_are_listed_and_shown(served: Served) -> None:  # noqa: F811
    """
    All, or those of a prefix; one with what it is set to.
    """
    served.do(_put)
    table = served.run("breaker", "list")
    rows = json.loads(served.run("breaker", "list", "car/", "-o", "json").output)
    one = served.run("breaker", "show", NAME)
    row = json.loads(served.run("breaker", "show", "other", "-o", "json").output)

    assert table.exit_code == 0
    assert NAME in table.output
    assert "other" in table.output
    assert [(each["name"], each["state"]) for each in rows] == [(NAME, "closed")]
    assert "count_window 10" in one.output
    assert "KeyError" in one.output
    assert row["settings"]["slow_call_ms"] == 100
    assert row["on trip"] == "notify"


@pytest.mark.parametrize(
    ("word", "state", "said"),
    [
        ("open", "forced_open", "forced open"),
        ("close", "forced_closed", "forced closed"),
        ("reset", "closed", "closed"),
    ],
)
def test_a_person_sets_a_breaker(
    served: Served,  # noqa: F811
    word: str,
    state: str,
    said: str,
) -> None:
    """
    With a reason that everybody can read; one that there is not is an error.
    """
    served.do(_put)
    done = served.run("breaker", word, NAME, "--reason", "they\x1b asked")
    row = json.loads(served.run("breaker", "show", NAME, "-o", "json").output)
    shown = served.run("breaker", "show", NAME)
    none = served.run("breaker", word, "none")

    assert (done.exit_code, done.output) == (0, f"{NAME}: {said}\n")
    assert (row["state"], row["reason"]) == (state, "they\x1b asked")
    assert "they\\x1b asked" in shown.output
    assert none.exit_code == 1


@pytest.mark.parametrize("reducer", ["merge_patch", f"{__name__}:merged"])
def test_a_replay_that_is_what_was_written(served: Served, reducer: str) -> None:  # noqa: F811
    """
    Folded by a member, or here: how much was compared.
    """
    served.do(_wrote)
    done = served.run("replay", "verify", "agent", "--reducer", reducer)
    asked = ("replay", "verify", "agent", "--reducer", reducer, "--to", "1", "-o", "json")
    part = json.loads(served.run(*asked).output)

    assert done.exit_code == 0, done.output
    assert "as written: 2 events, 2 states" in done.output
    assert (part["diverged"], part["events"]) == (False, 1)


@pytest.mark.parametrize("reducer", ["last_value", f"{__name__}:newest"])
def test_a_replay_that_is_not(served: Served, reducer: str) -> None:  # noqa: F811
    """
    The exit status says so, and the first event is named; an incident if it is wanted.
    """
    served.do(_wrote)
    asked = ("replay", "verify", "agent", "--reducer", reducer)
    done = served.run(*asked)
    silent = served.run(*asked, "--no-report", "-o", "json")
    row = json.loads(silent.output)

    assert done.exit_code == silent.exit_code == 1
    assert "agent: event 2: the state after it is another one" in done.output
    assert "incident 0000000000000001" in done.output
    assert (row["diverged"], row["seq"], row["incident_id"]) == (True, 2, None)
    assert len(bytes.fromhex(row["expected_hash"])) == 32


def test_reducers_that_there_are_not(
    served: Served,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The command line is wrong; one in the current folder is found.
    """
    (tmp_path / "mine_to_fold.py").write_text("def fold(state, event):\n    return state\n")
    monkeypatch.chdir(tmp_path)
    served.do(_wrote)
    guess = served.run("replay", "verify", "agent", "--reducer", "guess")
    absent = served.run("replay", "verify", "agent", "--reducer", "tests:absent")
    found = served.run("replay", "verify", "agent", "--reducer", "mine_to_fold:fold")

    assert guess.exit_code == absent.exit_code == 2
    assert "event 1" in found.output
