"""Clients in processes of their own: late when stopped, replaced when dead, and never left
behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from jepsen_like import generator as gen
from jepsen_like import remote
from jepsen_like.checkers import harness
from jepsen_like.history import Event, Writer
from jepsen_like.interpreter import Tally, interpret
from jepsen_like.protocols import Client, Done, Op, Record, Site
from jepsen_like.remote import ClientError, Crew, RemoteClient
from tests.jepsen.driving import Idle

LIMIT_S = 60.0
HERE = f"{__name__}:"


# --- what runs in the children -------------------------------------------------


class Echo:
    """Does what an operation is named after."""

    def __init__(self, site: Site, thread: int) -> None:
        self.site = site
        self.thread = thread

    async def open(self) -> None:
        print("opened")  # not into the answers

    async def invoke(self, op: Op) -> Done:
        if op.f == "die":
            print("the last words", file=sys.stderr, flush=True)
            os._exit(3)
        if op.f == "break":
            raise ValueError("a defect")
        if op.f == "sleep":
            await asyncio.sleep(op.value)
        return Done("ok", [op.key, op.value, self.thread, os.getpid(), self.site.prefix], 7)

    async def close(self) -> None: ...


class Stubborn(Echo):
    """Does not end in order, nor does its thread."""

    async def close(self) -> None:
        await asyncio.to_thread(time.sleep, LIMIT_S)


def echo(site: Site, thread: int) -> Client:
    return Echo(site, thread)


def stubborn(site: Site, thread: int) -> Client:
    return Stubborn(site, thread)


# --- helpers -------------------------------------------------------------------


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scene()

    asyncio.run(bounded())


def site_in(folder: Path) -> Site:
    return Site({"n1": "127.0.0.1:1"}, "p", 3, folder)


def op(f: str, value: Any = None) -> Op:
    return Op("w", f, "k", value)


def is_gone(pid: int) -> bool:
    """Whether a process has ended: for good, or but for its parent's asking."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0.01)


# --- tests ---------------------------------------------------------------------


def test_operations_are_done_elsewhere(tmp_path: Path) -> None:
    """
    One child does all operations of a thread, opened once, and prints what it likes.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}echo", 4)
        await client.open()
        first = await client.invoke(op("echo", {"a": 1}))
        await client.open()
        second = await client.invoke(op("echo", 2))
        pid = client.pid
        await client.close()

        assert pid is not None
        assert pid != os.getpid()
        assert first == Done("ok", ["k", {"a": 1}, 4, pid, "p"], 7)
        assert second == Done("ok", ["k", 2, 4, pid, "p"], 7)
        assert is_gone(pid)
        assert client.pid is None

    run(scene)


def test_a_stopped_child_is_late_and_no_more(tmp_path: Path) -> None:
    """
    Stopped in the middle of an operation, and before one: both end when it goes on.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}echo", 0)
        pid = (await client.invoke(op("echo"))).value[3]
        for kind in ("sleep", "echo"):
            asking = asyncio.create_task(client.invoke(op(kind, 0.05)))
            await asyncio.sleep(0.02 if kind == "sleep" else 0.0)
            os.kill(pid, signal.SIGSTOP)
            done, _ = await asyncio.wait({asking}, timeout=0.3)
            assert not done
            os.kill(pid, signal.SIGCONT)
            answer = await asking
            assert (answer.type, answer.value[3]) == ("ok", pid)
            os.kill(pid, signal.SIGSTOP)  # before the next one is asked for
        os.kill(pid, signal.SIGCONT)
        await client.close()

    run(scene)


def test_closing_ends_a_stopped_child(tmp_path: Path) -> None:
    """
    It is woken to end in order, and that is soon.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}echo", 0)
        pid = (await client.invoke(op("echo"))).value[3]
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: is_stopped(pid))
        await client.close()

        assert is_gone(pid)

    run(scene)


@pytest.mark.parametrize("patience", ["the parent's", "its own"])
def test_a_child_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: str
) -> None:
    """
    By the parent if it is quicker; or by itself, with a thread that still sleeps.
    """
    if patience == "the parent's":
        monkeypatch.setattr(remote, "CLOSE_S", 0.2)

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}stubborn", 0)
        pid = (await client.invoke(op("echo"))).value[3]
        began = time.monotonic()
        await client.close()

        assert is_gone(pid)
        assert time.monotonic() - began < LIMIT_S / 2

    run(scene)


def test_a_child_that_died_is_replaced(tmp_path: Path) -> None:
    """
    Nobody knows what became of the operation over which it died; the next is done by
    another child. The last words are told.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}echo", 0)
        first = (await client.invoke(op("echo"))).value[3]
        died = await client.invoke(op("die"))
        second = (await client.invoke(op("echo"))).value[3]
        os.kill(second, signal.SIGKILL)
        await until(lambda: client.pid is None)
        third = (await client.invoke(op("echo"))).value[3]
        await client.close()

        assert died.type == "info"
        assert died.error.endswith("the last words")
        assert len({first, second, third}) == 3

    run(scene)


def test_a_defect_of_the_client_is_raised_here(tmp_path: Path) -> None:
    """
    With what it said there; and the child goes on.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}echo", 0)
        with pytest.raises(ClientError, match=r"ValueError\('a defect'\) \(test_rem"):
            await client.invoke(op("break"))
        after = await client.invoke(op("echo"))
        await client.close()

        assert after.type == "ok"

    run(scene)


def test_a_defect_of_the_client_makes_no_run_valid(tmp_path: Path) -> None:
    """
    Nobody knows how the operation ended, and the harness says that it broke.
    """

    async def scene() -> tuple[list[Event], Tally]:
        crew = Crew(f"{HERE}echo")
        ops = gen.InOrder(op("echo"), op("break"), op("echo"))
        clients = {"w/0": lambda: crew.client(site_in(tmp_path), 0)}
        with Writer(tmp_path / "history.jsonl") as writer:
            tally = await interpret(gen.On("w", ops), clients, Idle(), writer, time.monotonic)
        await crew.close()
        return writer.events, tally

    events, tally = asyncio.run(scene())
    noted = {one.name: getattr(tally, one.name) for one in fields(tally)}
    record = Record(("n1",), ("w",), (), 1, {}, events, (), (), tally=noted)

    assert [one.type for one in events if one.type != "invoke"] == ["ok", "info", "ok"]
    assert tally.raised == 1
    assert harness.check(record).validity != "valid"
    whole = replace(record, tally=noted | {"raised": 0})
    assert harness.check(whole).validity == "valid"


def test_a_child_that_does_not_start_has_done_nothing(tmp_path: Path) -> None:
    """
    The outcome is certain, and the reason is told.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}nobody", 0)
        done = await client.invoke(op("echo"))
        await client.close()

        assert done.type == "fail"
        assert "nobody" in done.error

    run(scene)


def test_an_operation_that_was_given_up_disturbs_no_other(tmp_path: Path) -> None:
    """
    Its answer comes when nobody waits for it; the next operation has its own.
    """

    async def scene() -> None:
        client = RemoteClient(site_in(tmp_path), f"{HERE}echo", 0)
        await client.invoke(op("echo"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.invoke(op("sleep", 0.2))
        done = await client.invoke(op("echo", "mine"))
        await client.close()

        assert done.value[1] == "mine"

    run(scene)


def test_a_crew_outlives_its_clients(tmp_path: Path) -> None:
    """
    Each thread has one child, whichever client asks; closing a client ends nothing, and
    closing the crew ends all.
    """

    async def scene() -> None:
        crew = Crew(f"{HERE}echo")
        site = site_in(tmp_path)
        pids = []
        for thread in (0, 1, 0):
            client = crew.client(site, thread)
            await client.open()
            pids.append((await client.invoke(op("echo"))).value[3])
            await client.close()
        assert pids[0] == pids[2] != pids[1]
        assert not any(map(is_gone, pids))
        await crew.close()

        assert all(map(is_gone, pids))

    run(scene)


PARENT = """
import asyncio, os, signal, sys
from pathlib import Path
from jepsen_like.protocols import Op, Site
from jepsen_like.remote import RemoteClient

async def main():
    client = RemoteClient(Site({}, "p", 3, Path(sys.argv[1])), sys.argv[2], 0)
    pid = (await client.invoke(Op("w", "echo"))).value[3]
    if sys.argv[3] == "stopped":
        os.kill(pid, signal.SIGSTOP)
    print(pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("child", ["running", "stopped"])
def test_no_child_outlives_a_parent_that_was_killed(tmp_path: Path, child: str) -> None:
    """
    Neither one that can see that its input has ended, nor one that is stopped.
    """
    arguments = [sys.executable, "-c", PARENT, str(tmp_path), f"{HERE}echo", child]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    deadline = time.monotonic() + LIMIT_S
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert is_gone(pid)
