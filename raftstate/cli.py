"""raftstate, from a shell.

The exit status is part of the interface:

    0  done
    1  refused or failed, and nothing happened
    2  the command line or the configuration is wrong
    3  outcome unknown: it may have happened, or may yet
    4  a node stopped because it must not go on
    5  a node stopped because the cluster has dismissed it
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Standard error is for what we say: not for grpc's remarks on connections that came to an
# end. Read when grpc is imported; whoever wants to see more sets it.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import click

from raftstate import config as configuration
from raftstate.breaker_cli import breaker, replay
from raftstate.cluster_cli import cluster
from raftstate.member_cli import member, transfer_leadership
from raftstate.recovery_cli import effects, incidents, rollback, sagas
from raftstate.store_cli import audit, checkpoints, kv
from raftstate.worker_cli import worker

EXIT_REFUSED, EXIT_CONFIG = 1, 2

Command = Callable[..., Any]


def _show_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from raftstate import server

    click.echo(f"raftstate, version {server.version()}")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """A Raft-replicated store for the state, ownership and recovery of agents."""


def _configured(command: Command) -> Command:
    """Give a command `--config` and a flag for every key; it gets the Config, and what
    other options it has."""

    def run(config_path: Path | None, **options: Any) -> Any:
        given = {
            key: text
            for key in configuration.settable()
            if (text := options.pop(_name(key))) is not None
        }
        try:
            config = configuration.load(config_path, flags=given)
        except configuration.ConfigError as error:
            click.echo(f"raftstate: {error}", err=True)
            sys.exit(EXIT_CONFIG)
        return command(config, **options)

    run.__doc__ = command.__doc__
    decorated: Command = click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The configuration file (TOML).",
    )(run)
    for key in reversed(list(configuration.settable())):
        flag = f"--{key[0]}-{key[1]}".replace("_", "-")
        decorated = click.option(
            flag, _name(key), metavar="VALUE", help=f"Overrides [{key[0]}] {key[1]}."
        )(decorated)
    return decorated


def _name(key: tuple[str, str]) -> str:
    return "_".join(key)


@cli.command("serve")
@_configured
def serve(config: configuration.Config) -> None:
    """Run one node until it is told to stop (SIGTERM, SIGINT)."""
    from raftstate import server

    sys.exit(server.serve(config))


@cli.group("config")
def config_group() -> None:
    """Look at a node's configuration."""


@config_group.command("check")
@_configured
def check(config: configuration.Config) -> None:
    """Check a configuration and print all of it, as it would be in effect."""
    click.echo(config.effective(), nl=False)


@cli.command("verify-data")
@_configured
def verify_data(config: configuration.Config) -> None:
    """Read all data of a node that does not run, and say what is damaged."""
    from raftstate import server

    try:
        faults = server.verify_data(config)
    except server.CannotVerify as error:
        click.echo(f"raftstate: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    for fault in faults:
        click.echo(fault)
    if faults:
        sys.exit(EXIT_REFUSED)
    click.echo(f"{config.node.data_dir}: everything is what was written")


@cli.group("repair")
def repair_group() -> None:
    """Mend a node that does not run. The runbook says when, and what it costs."""


@repair_group.command("skip")
@click.option(
    "--index",
    type=click.IntRange(min=1),
    required=True,
    metavar="N",
    help="The index of the entry, as the last line of the node's log names it.",
)
@_configured
def skip(config: configuration.Config, index: int) -> None:
    """Pass over one entry of the log, at which this node stops whenever it starts.

    The same has to be done on every member before any of them starts again.
    """
    from raftstate import server

    try:
        done = server.skip_entry(config, index)
    except server.CannotRepair as error:
        click.echo(f"raftstate: nothing is passed over: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    click.echo(f"{config.node.id} passes over entry {done.index} of term {done.term}")
    click.echo(f"digest {done.digest.hex()}: it must be the same on every member")


cli.add_command(cluster)
cli.add_command(member)
cli.add_command(transfer_leadership)
cli.add_command(audit)
cli.add_command(kv)
cli.add_command(checkpoints)
cli.add_command(breaker)
cli.add_command(replay)
cli.add_command(rollback)
cli.add_command(effects)
cli.add_command(sagas)
cli.add_command(incidents)
cli.add_command(worker)


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="raftstate")
