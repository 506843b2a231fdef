"""`raftstate audit`, `kv` and `checkpoints`: what they say, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import raftstate
from raftstate.cli import cli
from raftstate.client import Store
from raftstate.client.keys import Keys
from raftstate.core.ports import Unavailable
from raftstate.v1.store_pb2 import Command
from tests.rpc.harness import Bench, bench


class Served:
    """A state machine, served on a loop of its own: the commands have theirs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, served: Bench) -> None:
        self._loop = loop
        self.fake = served.fake
        self.endpoint = f"127.0.0.1:{served.port}"

    def do(self, work: Any) -> Any:
        """Let a client do something: a coroutine function that takes a store."""

        async def done() -> Any:
            async with raftstate.connect(self.endpoint) as store:
                return await work(store)

        return _on(self._loop, done())

    def run(self, *arguments: str, data: bytes = b"", timeout: float = 10.0) -> Result:
        """Run a command against it."""
        asked = [*arguments, "--endpoints", self.endpoint, "--timeout", str(timeout)]
        return CliRunner().invoke(cli, asked, input=data)


def _on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)


@pytest.fixture
def served() -> Iterator[Served]:
    """One, with nothing in it."""
    with serving() as found:
        yield found


@contextmanager
def serving() -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = bench()
    try:
        yield Served(loop, _on(loop, context.__aenter__()))
    finally:
        _on(loop, context.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _worked(store: Store) -> None:
    async with store.own("agent", deltas=True) as agent:
        for number in range(3):
            async with agent.step() as step:
                step.event("worked", number)
                step.checkpoint(
                    {"n\x1b": number}, tags=[f"t{number}"], labels={"of": "test [/]"}
                )


def test_keys_from_a_shell(served: Served, tmp_path: Path) -> None:
    """
    Put, get, list and delete say what they did; a key that is not there is status 1.
    """
    put = served.run("kv", "put", "a/1", "eins")
    piped = served.run("kv", "put", "a/2", "-", data=b"\x00zwei")
    revision = put.stdout.split()[-1]
    served.run("kv", "put", "a/1", "uno")
    got = served.run("kv", "get", "a/1")
    was = served.run("kv", "get", "a/1", "--at", revision)
    raw = served.run("kv", "get", "a/2")
    told = served.run("kv", "get", "a/1", "-o", "json")
    table = served.run("kv", "list", "a/")
    listed = served.run("kv", "list", "-o", "json", "--limit", "1")
    deleted = served.run("kv", "delete", "a/1")
    again = served.run("kv", "delete", "a/1")
    missing = served.run("kv", "get", "a/1")
    prefix = served.run("kv", "delete", "a", "--prefix")

    done = (put, piped, got, was, raw, told, table, listed, deleted, again, prefix)
    assert [one.exit_code for one in done] == [0] * 11, [one.output for one in done]
    assert (got.stdout, was.stdout, raw.stdout_bytes) == ("uno\n", "eins\n", b"\x00zwei\n")
    assert json.loads(told.stdout)["version"] == 2
    assert "a/2" in table.stdout
    assert [one["key"] for one in json.loads(listed.stdout)] == ["a/1"]
    assert [one.stdout for one in (deleted, again, prefix)] == [
        "a/1: 1 removed\n",
        "a/1: 0 removed\n",
        "a: 1 removed\n",
    ]
    assert (missing.exit_code, missing.stderr) == (1, "raftstate: there is no key a/1\n")


def test_any_bytes_can_be_a_key_and_a_value(served: Served) -> None:
    """
    Those of the command line as they are, in UTF-8 or not. A table shows what there is: it
    takes nothing of it for markup, and nothing of it steers the terminal.
    """
    raw = os.fsdecode(b"k\xff")
    done = [
        served.run("kv", "put", raw, os.fsdecode(b"v\xfe")),
        served.run("kv", "get", raw),
        served.run("kv", "put", "[/x]", "[bold]\x1b[2J :bomb:"),
        served.run("kv", "list"),
        served.run("kv", "list", raw, "-o", "json"),
        served.run("kv", "delete", raw),
        served.run("kv", "delete", raw, "--prefix"),
    ]

    assert [one.exit_code for one in done] == [0] * 7, [one.output for one in done]
    assert done[1].stdout_bytes == b"v\xfe\n"
    assert "[/x]" in done[3].stdout
    assert "[bold]\\x1b[2J :bomb:" in done[3].stdout
    assert len(json.loads(done[4].stdout)) == 1
    assert done[5].stdout == "k\\xff: 1 removed\n"


def test_a_command_line_that_nobody_could_mean_is_told(served: Served) -> None:
    """
    2 and one line, not a trace: an id that is no text, and numbers beyond all numbers.
    """
    raw, huge = os.fsdecode(b"a\xff"), str(1 << 70)
    found = [
        served.run("checkpoints", "list", raw),
        served.run("audit", "export", "none", "--prefix", raw),
        served.run("kv", "get", "a", "--at", huge),
        served.run("kv", "put", "a", "b", "--lease", huge),
        served.run("checkpoints", "diff", "agent", "1", huge),
    ]

    assert [one.exit_code for one in found] == [2] * 5, [one.output for one in found]
    assert "not in UTF-8" in found[0].stderr


def test_who_interrupts_a_command_does_not_know(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    3: what was sent may have happened.
    """

    async def interrupted(self: Keys, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Keys, "put", interrupted)
    assert served.run("kv", "put", "a", "b").exit_code == 3


def test_the_exit_status_says_whether_it_happened(served: Served) -> None:
    """
    1 if it surely did not happen, 2 if it could not have been meant, 3 if nobody knows.
    """
    wrong = served.run("kv", "put", "", "x")
    refused = served.run("kv", "put", "a", "x", "--lease", "99")
    propose = served.fake.propose

    def forgetful(command: Command, ticket: object) -> None:
        served.fake.forgetful = command.HasField("put")
        propose(command, ticket)

    served.fake.propose = forgetful  # type: ignore[method-assign]
    unknown = served.run("kv", "put", "a", "x", timeout=1.0)
    served.fake.forgetful = False
    served.fake.failing = Unavailable("NO_QUORUM", definite=True)
    failed = served.run("kv", "get", "a", timeout=0.5)
    served.fake.failing = None

    found = [one.exit_code for one in (wrong, refused, unknown, failed)]
    assert found == [2, 1, 3, 1], [one.output for one in (wrong, refused, unknown, failed)]


def test_checkpoints_from_a_shell(served: Served) -> None:
    """
    They are listed newest first, and compared.
    """
    served.do(_worked)
    table = served.run("checkpoints", "list", "agent")
    listed = served.run("checkpoints", "list", "agent", "-o", "json", "--limit", "2")
    differs = served.run("checkpoints", "diff", "agent", "1", "3")
    told = served.run("checkpoints", "diff", "agent", "1", "3", "-o", "json")
    nobody = served.run("checkpoints", "list", "nobody")

    assert [one.exit_code for one in (table, listed, differs, told)] == [0] * 4
    assert "of=test [/]" in table.stdout
    assert [(one["id"], one["tags"]) for one in json.loads(listed.stdout)] == [
        (3, ["t2"]),
        (2, ["t1"]),
    ]
    assert differs.stdout == "changed  /n\\x1b: 0 -> 2\n"  # a terminal is not steered
    assert json.loads(told.stdout) == {
        "differences": [{"path": "/n\x1b", "kind": "changed", "before": "0", "after": "2"}],
        "truncated": False,
    }
    assert nobody.exit_code == 1


def test_an_audit_is_exported_and_verified(served: Served, tmp_path: Path) -> None:
    """
    The file is verified with no server, against the head that was printed; damage is told
    line by line with status 1, and a file that is there is not written over.
    """
    served.do(_worked)
    file = tmp_path / "audit.jsonl"
    exported = served.run("audit", "export", str(file))
    again = served.run("audit", "export", str(file))
    head = exported.stdout.split()[-1]
    run = CliRunner().invoke
    intact = run(cli, ["audit", "verify", str(file), "--head", head])
    other = run(cli, ["audit", "verify", str(file), "--head", "00"])
    file.write_bytes(file.read_bytes().replace(b'"worked"', b'"slept!"', 1))
    broken = run(cli, ["audit", "verify", str(file)])
    none = run(cli, ["audit", "verify", str(tmp_path / "none")])
    part = served.run("audit", "export", str(tmp_path / "part"), "--prefix", "x")

    assert (exported.exit_code, intact.exit_code) == (0, 0), exported.output
    assert "1 streams, 3 events" in exported.stdout
    assert f"head {head}" in intact.stdout
    assert (again.exit_code, none.exit_code, part.exit_code) == (2, 2, 0)
    assert (other.exit_code, broken.exit_code) == (1, 1)
    assert f"{file}: line 3: event 1 of agent is not what was written\n" in broken.stdout


def test_an_export_that_fails_leaves_nothing(served: Served, tmp_path: Path) -> None:
    """
    The file appears when it is whole, or not at all.
    """
    served.fake.failing = Unavailable("NO_QUORUM", definite=True)
    failed = served.run("audit", "export", str(tmp_path / "audit"), timeout=0.5)
    served.fake.failing = None

    assert failed.exit_code == 1
    assert list(tmp_path.iterdir()) == []
