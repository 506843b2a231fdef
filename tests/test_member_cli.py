"""`raftstate member` and `raftstate transfer-leadership`: what they ask and how they end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from raftstate.cli import cli
from raftstate.client import Store
from tests.client.scripted import Drop, Member, Refuse, members

CONFLICT = Refuse("CONFLICT", grpc.StatusCode.ABORTED)


@contextmanager
def scripted() -> Iterator[Member]:
    """A scripted member on a loop of its own: the commands have theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = members(1)
    try:
        (member,) = asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result()
        yield member
    finally:
        asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run(member: Member, *arguments: str) -> Result:
    """Run a command against a member."""
    return CliRunner().invoke(cli, [*arguments, "--endpoints", member.address])


def test_the_commands_do_what_they_say() -> None:
    """
    Each asks its one question, says what it did, and ends with 0.
    """
    with scripted() as member:
        added = run(member, "member", "add", "n9", "--raft", "h:1", "--api", "[fe80::1]:2")
        promoted = run(member, "member", "promote", "n9")
        removed = run(member, "member", "remove", "n1")
        moved = run(member, "transfer-leadership")
        named = run(member, "transfer-leadership", "--to", "n2")
        table = run(member, "member", "list")
        listed = run(member, "member", "list", "-o", "json")

    done = (added, promoted, removed, moved, named, table, listed)
    assert [one.exit_code for one in done] == [0] * 7, [one.output for one in done]
    assert member.asked == [
        "add n9 h:1",
        "promote n9",
        "remove n1",
        "transfer to anybody",
        "transfer to n2",
    ]
    assert moved.stdout == "n2: leads\n"
    assert "[fe80::1]:2" in table.stdout
    assert [one["id"] for one in json.loads(listed.stdout)] == ["[fe80::1]:2"]


def test_promoting_waits_if_it_is_told_to() -> None:
    """
    With --wait a learner that lacks much is asked for again; without, it is an error.
    """
    behind = Refuse("NOT_CAUGHT_UP")
    with scripted() as member:
        member.script.extend([behind, behind])
        waited = run(member, "member", "promote", "n9", "--wait")
        member.script.append(behind)
        refused = run(member, "member", "promote", "n9")

    assert (waited.exit_code, refused.exit_code) == (0, 1)
    assert refused.stderr == "raftstate: scripted: NOT_CAUGHT_UP\n"


@pytest.mark.parametrize(
    ("action", "status"), [(Refuse("LAST_VOTER"), 1), (CONFLICT, 1), (Drop(), 3)]
)
def test_the_exit_status_says_whether_it_happened(action: Refuse | Drop, status: int) -> None:
    """
    1 where nothing happened, 3 where nobody knows; one line on standard error.
    """
    with scripted() as member:
        member.always = action
        result = run(member, "member", "remove", "n1", "--timeout", "0.5")

    assert result.exit_code == status
    assert result.stdout == ""
    assert result.stderr.startswith("raftstate: ")
    assert len(result.stderr.splitlines()) == 1


def test_nobody_is_there() -> None:
    """
    A cluster that cannot be reached: nothing happened.
    """
    arguments = ["member", "list", "--endpoints", "127.0.0.1:1", "--timeout", "0.3"]
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 1
    assert "cannot connect to 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["member", "list", "--endpoints", "nowhere"],
        ["member", "list", "--tls-ca", "x"],
        ["member", "add", "n9"],
        ["member", "frob"],
    ],
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    """
    2, before anything is asked.
    """
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """
    1, and the file is named.
    """
    files = [f"--tls-{one}={tmp_path / one}" for one in ("ca", "cert", "key")]
    result = CliRunner().invoke(cli, ["member", "list", *files])

    assert result.exit_code == 1
    assert str(tmp_path / "ca") in result.stderr


def test_a_bug_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What nobody foresaw is not told as if nothing had happened.
    """

    async def broken(self: Store) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Store, "members", broken)
    result = CliRunner().invoke(cli, ["member", "list"])

    assert isinstance(result.exception, ValueError)
