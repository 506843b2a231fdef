"""`raftstate breaker`, `raftstate replay`: breakers and replays, from a shell.

These talk to a running cluster like any other client. Exit statuses are those of
`raftstate`: 0 done, 1 refused or failed and nothing happened, 2 the command line was wrong,
3 it may have happened. `replay verify` answers with it: 0 the replay is what was written,
1 it is not.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from raftstate.asking import EXIT_FAILED, EXIT_WRONG, Asker, connected, plain, show
from raftstate.errors import ReplayDiverged
from raftstate.v1.breaker_service_pb2 import Breaker, BreakerState, TripAction

if TYPE_CHECKING:
    from raftstate.client import Store
    from raftstate.client.history import Divergence
    from raftstate.client.replay import Replay

_NUMBER = click.IntRange(0, (1 << 64) - 1)
_REDUCERS = ("last_value", "merge_patch", "append", "count")
_COLUMNS = ("name", "state", "calls", "failures", "slow", "generation", "reason")
_NUMBERS = ("calls", "failures", "slow", "generation")

_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for people.")


# --- breakers ----------------------------------------------------------------


@click.group(name="breaker")
def breaker() -> None:
    """Look at circuit breakers, and set them by hand."""


@breaker.command("list")
@click.argument("prefix", default="")
@_output
@connected
def list_breakers(ask: Asker, prefix: str, output: str) -> None:
    """Show the breakers whose name begins with PREFIX."""
    rows = [_row(one) for one in ask(lambda store: _all(store, prefix))]
    if output == "json":
        click.echo(json.dumps(rows))
        return
    table = Table()
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(plain(str(row[title])) for title in _COLUMNS))
    show(table)


async def _all(store: Store, prefix: str) -> list[Breaker]:
    return [one async for one in store.list_breakers(prefix)]


@breaker.command("show")
@click.argument("name")
@_output
@connected
def show_breaker(ask: Asker, name: str, output: str) -> None:
    """Show all of the breaker NAME: what it counted, and what trips it."""
    row = _row(ask(lambda store: store.get_breaker(name)))
    if output == "json":
        click.echo(json.dumps(row))
        return
    for title, value in row.items():
        click.echo(plain(f"{title:<14} {_cell(value)}"))


@breaker.command("open")
@click.argument("name")
@_reason
@connected
def force_open(ask: Asker, name: str, reason: str) -> None:
    """Let nobody call through NAME until it is reset."""
    ask(lambda store: store.force_open(name, reason=reason))
    click.echo(plain(f"{name}: forced open"))


@breaker.command("close")
@click.argument("name")
@_reason
@connected
def force_close(ask: Asker, name: str, reason: str) -> None:
    """Let everybody call through NAME, whatever fails, until it is reset."""
    ask(lambda store: store.force_close(name, reason=reason))
    click.echo(plain(f"{name}: forced closed"))


@breaker.command("reset")
@click.argument("name")
@_reason
@connected
def reset(ask: Asker, name: str, reason: str) -> None:
    """Close NAME, and forget what it counted."""
    ask(lambda store: store.reset_breaker(name, reason=reason))
    click.echo(plain(f"{name}: closed"))


def _cell(value: Any) -> str:
    match value:
        case dict():
            text = ", ".join(f"{key} {held}" for key, held in value.items())
        case list():
            text = ", ".join(value)
        case None:
            text = ""
        case _:
            text = str(value)
    return text or "-"


def _row(one: Breaker) -> dict[str, Any]:
    config = one.config
    settings = {
        field.name: value
        for field, value in config.ListFields()
        if field.name not in ("on_trip", "ignored_errors")
    }
    action = TripAction.Name(config.on_trip.action).removeprefix("TRIP_ACTION_").lower()
    return {
        "name": one.name,
        "state": BreakerState.Name(one.state).removeprefix("BREAKER_STATE_").lower(),
        "degraded": one.degraded,
        "calls": one.counts.calls,
        "failures": one.counts.failures,
        "slow": one.counts.slow,
        "reporters": len(one.counts.reporters),
        "generation": one.generation,
        "open until": one.open_until_ms or None,
        "in a row": one.in_a_row,
        "probes out": len(one.permits),
        "reason": one.reason,
        "incident": one.incident_id or None,
        "rollback": one.rollback_id or None,
        "on trip": action,
        "agents": list(config.on_trip.agent_ids),
        "ignored errors": list(config.ignored_errors),
        "settings": settings,
    }


# --- replays -----------------------------------------------------------------


@click.group(name="replay")
def replay() -> None:
    """Hold what an agent's events amount to against what was written."""


@replay.command("verify")
@click.argument("agent")
@click.option(
    "--reducer",
    required=True,
    metavar="NAME",
    help=f"One of {', '.join(_REDUCERS)}, which a member folds with; or module:function, a"
    " function of a state and an event, which is imported and folds here.",
)
@click.option(
    "--from",
    "checkpoint_id",
    type=_NUMBER,
    default=0,
    metavar="CHECKPOINT",
    help="The checkpoint to begin with; the beginning if not given.",
)
@click.option(
    "--to", "to_seq", type=_NUMBER, default=0, metavar="SEQ", help="The last event; the newest."
)
@click.option("--report/--no-report", default=True, help="Open an incident if they differ.")
@_output
@connected
def verify(
    ask: Asker,
    agent: str,
    reducer: str,
    checkpoint_id: int,
    to_seq: int,
    report: bool,
    output: str,
) -> None:
    """Fold AGENT's events, and compare states with what events and checkpoints say."""
    how = reducer if reducer in _REDUCERS else _imported(reducer)

    async def verified(store: Store) -> Replay | ReplayDiverged:
        try:
            return await store.verify_replay(
                agent, how, checkpoint_id=checkpoint_id, to_seq=to_seq, report=report
            )
        except ReplayDiverged as error:
            return error

    found = ask(verified)
    if isinstance(found, ReplayDiverged):
        _tell_divergence(agent, found, output)
        sys.exit(EXIT_FAILED)
    row = {
        "events": found.events,
        "hashes_compared": found.hashes_compared,
        "checkpoints_compared": found.checkpoints_compared,
        "state_hash": found.state_hash.hex(),
    }
    if output == "json":
        click.echo(json.dumps({"diverged": False, **row}))
        return
    click.echo(
        plain(
            f"{agent}: as written: {found.events} events, {found.hashes_compared} states and"
            f" {found.checkpoints_compared} checkpoints compared"
        )
    )
    click.echo(f"state {found.state_hash.hex()}")


def _tell_divergence(agent: str, error: ReplayDiverged, output: str) -> None:
    found: Any = error.divergence
    divergence: Divergence = found
    incident_id = error.details.get("incident_id")
    if output == "json":
        row = {
            "diverged": True,
            "why": divergence.why,
            "seq": divergence.seq,
            "checkpoint_id": divergence.checkpoint_id or None,
            "expected_hash": divergence.expected_hash.hex(),
            "actual_hash": divergence.actual_hash.hex(),
            "differences": list(divergence.differences),
            "incident_id": incident_id,
        }
        click.echo(json.dumps(row))
        return
    click.echo(plain(f"{agent}: {divergence}"))
    for line in divergence.differences:
        click.echo(plain(f"  {line}"))
    if incident_id:
        click.echo(f"incident {incident_id}")
    elif why := error.details.get("not_reported"):
        click.echo(plain(f"raftstate: no incident was opened: {why}"), err=True)


def _imported(name: str) -> Callable[..., Any]:
    """A function that "module:function" names; it may lie in the current folder."""
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise click.UsageError(f"{name!r} is neither a reducer that there is nor a function")
    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # noqa: PTH109  # a path that is looked up as text
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        click.echo(f"raftstate: cannot import {name}: {error}", err=True)
        sys.exit(EXIT_WRONG)
    function: Callable[..., Any] = found
    return function
