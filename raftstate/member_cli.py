"""`raftstate member`, `raftstate transfer-leadership`: who is in a cluster, and who leads it.

These talk to a running cluster like any other client; the runbook says what to do in
which order. Exit statuses are those of `raftstate`: 0 done, 1 refused or failed and
nothing happened, 2 the command line was wrong, 3 it may have happened: ask `member list`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from raftstate.errors import InvalidRequest, NotCaughtUp, RaftStateError
from raftstate.v1.cluster_service_pb2 import Member

if TYPE_CHECKING:
    from raftstate.client import Store

EXIT_FAILED, EXIT_WRONG, EXIT_UNKNOWN = 1, 2, 3
DEFAULT_ENDPOINTS = "127.0.0.1:7411"
_CATCH_UP_POLL_S = 0.2

_T = TypeVar("_T")
Command = Callable[..., Any]


@dataclass(frozen=True)
class _Asker:
    """A cluster to ask, as the options say."""

    endpoints: str
    timeout: float
    tls: tuple[Path, Path, Path] | None

    def __call__(self, question: Callable[[Store], Coroutine[Any, Any, _T]]) -> _T:
        """The answer; a failure is told in one line, and ends the process."""
        try:
            return asyncio.run(self._ask(question))
        except (RaftStateError, OSError) as error:
            click.echo(f"raftstate: {error}", err=True)
            sys.exit(_exit_status(error))

    async def _ask(self, question: Callable[[Store], Coroutine[Any, Any, _T]]) -> _T:
        from raftstate.client import Tls, connect

        tls = Tls(*self.tls) if self.tls else None
        async with connect(self.endpoints, timeout=self.timeout, tls=tls) as store:
            return await question(store)


def _exit_status(error: Exception) -> int:
    if isinstance(error, InvalidRequest):
        return EXIT_WRONG
    definite = not isinstance(error, RaftStateError) or error.definite
    return EXIT_FAILED if definite else EXIT_UNKNOWN


def _connected(command: Command) -> Command:
    """Give a command what it takes to connect: it gets an `_Asker`."""

    def run(
        endpoints: str,
        timeout: float,
        ca: Path | None,
        cert: Path | None,
        key: Path | None,
        **options: Any,
    ) -> Any:
        tls = (ca, cert, key) if ca and cert and key else None
        if tls is None and (ca or cert or key):
            raise click.UsageError("--tls-ca, --tls-cert and --tls-key go together")
        return command(_Asker(endpoints, timeout, tls), **options)

    run.__doc__ = command.__doc__
    file = click.Path(dir_okay=False, path_type=Path)
    for option in (
        click.option("--tls-key", "key", type=file, help="The key of the certificate (PEM)."),
        click.option("--tls-cert", "cert", type=file, help="Who we are (PEM)."),
        click.option("--tls-ca", "ca", type=file, help="Who signs the members (PEM)."),
        click.option(
            "--timeout",
            type=click.FloatRange(0.1),
            default=10.0,
            show_default=True,
            help="How long it may take, in seconds.",
        ),
        click.option(
            "--endpoints",
            default=DEFAULT_ENDPOINTS,
            show_default=True,
            metavar="HOST:PORT,...",
            help="Members to ask; one that answers is enough.",
        ),
    ):
        run = option(run)
    return run


@click.group(name="member")
def member() -> None:
    """Look at who is in a cluster, and change it: one member at a time."""


@member.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@_connected
def show(ask: _Asker, output: str) -> None:
    """Show who is in the cluster, as its leader says."""
    _tell(ask(lambda store: store.members()), output)


@member.command("add")
@click.argument("member_id", metavar="ID")
@click.option("--raft", required=True, metavar="HOST:PORT", help="Where members reach it.")
@click.option("--api", required=True, metavar="HOST:PORT", help="Where clients reach it.")
@_connected
def add(ask: _Asker, member_id: str, raft: str, api: str) -> None:
    """Add member ID: a learner, which is sent everything and counts for nothing yet."""
    ask(lambda store: store.add_member(member_id, raft_address=raft, client_address=api))
    click.echo(f"{member_id}: is a learner; promote it once it has caught up")


@member.command("promote")
@click.argument("member_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until it has caught up, for --timeout.")
@_connected
def promote(ask: _Asker, member_id: str, wait: bool) -> None:
    """Make learner ID a voter."""
    ask(lambda store: _promote(store, member_id, ask.timeout if wait else 0.0))
    click.echo(f"{member_id}: votes")


async def _promote(store: Store, member_id: str, wait_s: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while True:
        try:
            await store.promote_member(member_id)
        except NotCaughtUp:
            if loop.time() + _CATCH_UP_POLL_S > until:
                raise
            await asyncio.sleep(_CATCH_UP_POLL_S)
        else:
            return


@member.command("remove")
@click.argument("member_id", metavar="ID")
@_connected
def remove(ask: _Asker, member_id: str) -> None:
    """Take member ID out of the cluster, the leader too. Its process ends by itself."""
    ask(lambda store: store.remove_member(member_id))
    click.echo(f"{member_id}: is no member any more")


@click.command("transfer-leadership")
@click.option("--to", default="", metavar="ID", help="Who; the most advanced if not given.")
@_connected
def transfer_leadership(ask: _Asker, to: str) -> None:
    """Let another voter lead."""
    click.echo(f"{ask(lambda store: store.transfer_leadership(to))}: leads")


def _tell(members: list[Member], output: str) -> None:
    if output == "json":
        click.echo(json.dumps([_row(one) for one in members]))
        return
    table = Table()
    for title in ("member", "votes", "connected", "match", "raft", "api"):
        table.add_column(title, justify="right" if title == "match" else "left")
    for one in members:
        row = _row(one)
        table.add_row(
            one.member_id,
            "no" if row["learner"] else "yes",
            "yes" if row["connected"] else "no",
            str(row["match_index"]),
            one.raft_address,
            one.client_address,
        )
    # A pipe has no width: give the table room instead of cutting it to 80 columns.
    (Console() if os.isatty(1) else Console(width=160)).print(table)


def _row(one: Member) -> dict[str, Any]:
    return {
        "id": one.member_id,
        "learner": one.learner,
        "connected": one.connected,
        "match_index": one.match_index,
        "raft": one.raft_address,
        "api": one.client_address,
    }
