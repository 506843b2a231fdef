"""`raftstate member`, `raftstate transfer-leadership`: who is in a cluster, and who leads it.

These talk to a running cluster like any other client; the runbook says what to do in
which order. Exit statuses are those of `raftstate`: 0 done, 1 refused or failed and
nothing happened, 2 the command line was wrong, 3 it may have happened: ask `member list`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from raftstate import asking
from raftstate.asking import Asker, connected
from raftstate.errors import NotCaughtUp
from raftstate.v1.cluster_service_pb2 import Member

if TYPE_CHECKING:
    from raftstate.client import Store

_CATCH_UP_POLL_S = 0.2


@click.group(name="member")
def member() -> None:
    """Look at who is in a cluster, and change it: one member at a time."""


@member.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@connected
def show(ask: Asker, output: str) -> None:
    """Show who is in the cluster, as its leader says."""
    _tell(ask(lambda store: store.members()), output)


@member.command("add")
@click.argument("member_id", metavar="ID")
@click.option("--raft", required=True, metavar="HOST:PORT", help="Where members reach it.")
@click.option("--api", required=True, metavar="HOST:PORT", help="Where clients reach it.")
@connected
def add(ask: Asker, member_id: str, raft: str, api: str) -> None:
    """Add member ID: a learner, which is sent everything and counts for nothing yet."""
    ask(lambda store: store.add_member(member_id, raft_address=raft, client_address=api))
    click.echo(f"{member_id}: is a learner; promote it once it has caught up")


@member.command("promote")
@click.argument("member_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until it has caught up, for --timeout.")
@connected
def promote(ask: Asker, member_id: str, wait: bool) -> None:
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
@connected
def remove(ask: Asker, member_id: str) -> None:
    """Take member ID out of the cluster, the leader too. Its process ends by itself."""
    ask(lambda store: store.remove_member(member_id))
    click.echo(f"{member_id}: is no member any more")


@click.command("transfer-leadership")
@click.option("--to", default="", metavar="ID", help="Who; the most advanced if not given.")
@connected
def transfer_leadership(ask: Asker, to: str) -> None:
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
    asking.show(table)


def _row(one: Member) -> dict[str, Any]:
    return {
        "id": one.member_id,
        "learner": one.learner,
        "connected": one.connected,
        "match_index": one.match_index,
        "raft": one.raft_address,
        "api": one.client_address,
    }
