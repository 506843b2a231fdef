# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Recovery from a shell: `raftstate rollback`, `effects`, `sagas`, `incidents`, `worker`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import raftstate
from raftstate.client import Registry, Store, registry
from raftstate.errors import EffectUnknown, OwnershipLost
from tests.client.books import Outside
from tests.test_store_cli import Served, serving

LIMIT_S = 20.0
ROOT = Path(__file__).parents[1]
# What a worker is told: it writes what it undoes into a file beside it.
MODULE = """
import pathlib
import raftstate

BOOK = pathlib.Path(__file__).with_name("book.txt")


@raftstate.compensation("undo")
def undo(call: raftstate.UndoCall) -> None:
    with BOOK.open("a") as book:
        book.write(f"{call.action} {call.effect_id} {call.key}\\n")


@raftstate.validator("sane")
async def sane(restored: raftstate.Restored) -> bool:
    return restored.state == {"n": 1}
"""


@pytest.fixture
def served() -> Iterator[Served]:
    """A state machine with nothing in it."""
    with serving() as found:
        yield found


async def worked(store: Store) -> None:
    """An agent with a checkpoint, an effect and a mail after it; and a saga given up."""
    out = Outside()
    async with store.own("a") as agent:
        await agent.checkpoint({"n": 1})
        async with agent.step() as step:
            await step.effect("book\x1b", do=out.do, undo="undo")
            await step.effect("mail", do=out.do, kind="irreversible")
            step.event("booked")
    async with store.own("b") as agent:
        saga = store.saga("trip/1", agent=agent)
        await saga.__aenter__()
        await saga.step("one", do=out.do, undo="undo")
        await saga.step("two", do=out.do, undo="undo")
        await store.abort_saga("trip/1", agent=agent, reason="no cars")


def test_a_rollback_is_planned_started_decided_and_given_up(served: Served) -> None:
    """
    A plan shows what a start would do; its digest holds; the barrier waits for a person.
    """
    served.do(worked)
    planned = served.run("rollback", "plan", "a", "--to-checkpoint", "1")
    plan = json.loads(
        served.run("rollback", "plan", "a", "--to-checkpoint", "1", "-o", "json").stdout
    )
    aim = ("rollback", "start", "a", "--to-checkpoint", "1")
    refused = served.run(*aim)
    wrong = served.run(*aim, "--digest", "00" * 32, "--on-barrier", "ask")
    begun = served.run(*aim, "--digest", plan["digest"], "--on-barrier", "ask", "--by", "ann")
    listed = json.loads(served.run("rollback", "list", "-o", "json").stdout)
    rollback_id = listed[0]["rollback_id"]
    decided = served.run(
        *("rollback", "decide", f"rollback/{rollback_id}", "1", "proceed", "--why", "a mail")
    )
    shown = served.run("rollback", "show", rollback_id)
    told = json.loads(served.run("rollback", "show", rollback_id, "-o", "json").stdout)
    aborted = served.run("rollback", "abort", rollback_id, "--reason", "enough")
    states = served.run("rollback", "list", "--state", "aborted")

    assert "a: to checkpoint 1, events 1 to 1 undone, 2 effects, 1 barriers" in planned.stdout
    assert "a person decides" in planned.stdout
    assert "book\x1b" not in planned.stdout
    assert [one["barrier"] for one in plan["effects"] if "barrier" in one] == [True]
    assert refused.exit_code == wrong.exit_code == 1
    assert "cannot be undone" in refused.stderr
    assert begun.exit_code == 0
    assert listed[0]["state"] == "blocked"
    assert listed[0]["started_by"] == "ann"
    assert "item 1 is waived; 1 are open" in decided.stdout
    assert "proceed: a mail" in shown.stdout.lower()
    assert [one["state"] for one in told["items"]] == ["waived", "pending"]
    assert aborted.exit_code == 0
    assert rollback_id in states.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("rollback", "plan", "a"),
        ("rollback", "plan", "--known-good"),
        ("rollback", "plan", "a", "--known-good", "--to-checkpoint", "1"),
        ("rollback", "start", "a", "--group", "g"),
        ("rollback", "start", "a", "--known-good", "--digest", "zz"),
        ("rollback", "list", "--state", "sleeping"),
        ("rollback", "decide", "rollback/x", "1", "perhaps"),
        ("effects", "reconcile", "a", "1/mail/1", "perhaps"),
        ("effects", "reconcile", "a", "1/mail/1", "done", "--result", "{"),
        ("worker",),
        ("worker", "--module", "there_is_no_such_module"),
        ("worker", "--module", "json"),
    ],
)
def test_a_wrong_command_line_is_status_2(
    served: Served, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing is done.
    """
    for name, empty in vars(Registry()).items():  # whatever other tests have registered
        monkeypatch.setattr(registry.default, name, empty)
    assert served.run(*arguments).exit_code == 2


def test_what_is_not_there_is_status_1(served: Served) -> None:
    """
    And it is said in one line.
    """
    for arguments in (
        ("rollback", "show", "0" * 16),
        ("rollback", "plan", "nobody", "--known-good"),
        ("sagas", "show", "nobody"),
        ("effects", "list", "nobody"),
        ("effects", "reconcile", "nobody", "1/mail/1", "done"),
        ("incidents", "show", "0" * 16),
    ):
        result = served.run(*arguments)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1


class Lost(Exception):
    """The answer of a service."""


@pytest.mark.parametrize("found", ["done", "not-done"])
def test_a_person_says_what_became_of_an_effect(served: Served, found: str) -> None:
    """
    Its step, which waited for that, is given the result, or does it anew; and then there
    is nothing to be said any more.
    """
    out = Outside()

    async def lost(call: raftstate.EffectCall) -> None:
        raise Lost

    async def mails(store: Store, do: Any) -> Any:
        async with store.own("a") as agent, agent.step() as step:
            return await step.effect("mail", do=do, kind="irreversible")

    with pytest.raises(Lost):
        served.do(lambda store: mails(store, lost))
    with pytest.raises(EffectUnknown):
        served.do(lambda store: mails(store, out.do))
    unknown = served.run("effects", "list", "a", "--state", "unknown")
    shown = json.loads(served.run("effects", "list", "a", "-o", "json").stdout)
    command = ("effects", "reconcile", "a", "1/mail/1", found, "--why", "ann has asked")
    said = served.run(*command, *(("--result", '{"n": 7}') if found == "done" else ()))
    again = served.run(*command)
    result = served.do(lambda store: mails(store, out.do))
    after = json.loads(served.run("effects", "list", "a", "-o", "json").stdout)

    assert "1/mail/1" in unknown.stdout
    assert [one["effect_class"] for one in shown] == ["irreversible"]
    assert said.exit_code == 0
    assert f"1/mail/1 of a: reconciled, {found}" in said.stdout
    assert again.exit_code == 1
    assert result == ({"n": 7} if found == "done" else {"n": 1})
    assert len(out.asked) == (found == "not-done")
    assert (after[0]["state"], after[0]["error"]) == ("reconciled", "ann has asked")


def test_who_owns_the_agent_is_in_the_way(served: Served) -> None:
    """
    Nothing is said of an effect while its agent is owned, unless it is taken from its owner.
    """

    async def lost(call: raftstate.EffectCall) -> None:
        raise Lost

    async def owned(store: Store) -> tuple[Any, Any]:
        command = ("effects", "reconcile", "a", "1/mail/1", "done")
        with pytest.raises(OwnershipLost):
            async with store.own("a") as agent:
                with pytest.raises(Lost):
                    async with agent.step() as step:
                        await step.effect("mail", do=lost, kind="irreversible")
                refused = await asyncio.to_thread(served.run, *command)
                forced = asyncio.create_task(asyncio.to_thread(served.run, *command, "--force"))
                await asyncio.Event().wait()
        return refused, await forced

    refused, forced = served.do(owned)

    assert (refused.exit_code, forced.exit_code) == (1, 0)


def test_sagas_and_incidents_from_a_shell(served: Served) -> None:
    """
    Lists and single ones; notes, a classification, and the end of an incident.
    """
    served.do(worked)
    sagas = served.run("sagas", "list", "trip/")
    saga = served.run("sagas", "show", "trip/1")
    told = json.loads(served.run("sagas", "show", "trip/1", "-o", "json").stdout)
    incident_id = served.do(
        lambda store: store.report_symptom(
            "the answers are bad", agents=["a"], evidence=[("event", "a#1", "odd")]
        )
    )
    noted = served.run(
        *("incidents", "note", incident_id, "looks bad", "--by", "ann"),
        *("--classify", "bad_output"),
    )
    shown = served.run("incidents", "show", incident_id)
    opened = json.loads(served.run("incidents", "list", "--open", "-o", "json").stdout)
    resolved = served.run("incidents", "resolve", incident_id, "another model")
    again = served.run("incidents", "resolve", incident_id)
    table = served.run("incidents", "list", "--agent", "a")

    assert "compensating" in sagas.stdout
    assert "given up: no cars" in saga.stdout
    assert [one["effect_id"] for one in told["items"]] == ["trip/1/two", "trip/1/one"]
    assert noted.exit_code == resolved.exit_code == 0
    assert "reported, bad_output, open" in shown.stdout
    assert "event a#1 odd" in shown.stdout
    assert "ann: looks bad" in shown.stdout
    assert [one["incident_id"] for one in opened] == [incident_id]
    assert again.exit_code == 1
    assert "the answers are bad" in table.stdout


def test_a_worker_finishes_from_a_shell_and_stops_in_order(
    served: Served, tmp_path: Path
) -> None:
    """
    It undoes the saga and the rollback with what its module knows, lets the validator
    speak, finishes, and ends with status 0 when it is told to.
    """
    tmp_path.joinpath("undoings.py").write_text(MODULE)
    served.do(worked)
    served.do(lambda store: store.put_validator("sane", required_in_rollbacks=True))
    begun = served.do(
        lambda store: store.start_rollback(
            "a", raftstate.to_checkpoint(1), on_barrier="proceed"
        )
    )
    command = [sys.executable, "-m", "raftstate", "worker", "--module", "undoings"]
    with subprocess.Popen(
        [*command, "--endpoints", served.endpoint, "--holder", "shell"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            reached(lambda: _state(served, begun.rollback_id) == ("finished", "compensated"))
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    book = tmp_path.joinpath("book.txt").read_text().splitlines()

    assert process.returncode == 0
    assert "stopped: 2 finished" in said
    assert sorted(book, key=lambda line: "trip" in line) == [
        "undo 1/book-/1 a#1/book-/1:undo",
        "undo trip/1/two b#trip/1/two:undo",
        "undo trip/1/one b#trip/1/one:undo",
    ]


def _state(served: Served, rollback_id: str) -> tuple[str, str]:
    rollback = json.loads(served.run("rollback", "show", rollback_id, "-o", "json").stdout)
    saga = json.loads(served.run("sagas", "show", "trip/1", "-o", "json").stdout)
    found: tuple[Any, Any] = (rollback["rollback"]["state"], saga["saga"]["state"])
    return found


def reached(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, but not for ever."""
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)
