"""`raftstate cluster`: a cluster of real nodes on this machine, from a shell.

The folder given with --dir is the cluster: each command looks there, does its one
thing, and ends; the nodes go on. Exit statuses are those of `raftstate`: 0 done,
1 refused or failed and nothing happened, 2 the command line was wrong, 3 it may have
happened. `status` answers a question with it: 0 the cluster is healthy, 1 it is not.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from raftstate.errors import RaftStateError
from raftstate.localcluster import (
    LocalCluster,
    LocalClusterError,
    NodeReport,
    Signalled,
    exists,
    leader_of,
)
from raftstate.v1.cluster_service_pb2 import Role

DEFAULT_FOLDER = ".raftstate"
DEFAULT_BASE_PORT = 7411
_FOLLOW_S = 0.2


class _Unknown(click.ClickException):
    """It may have happened, or may yet."""

    exit_code = 3


class _Group(click.Group):
    """Tells a failure in one line (and a log's end), without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LocalClusterError as error:
            raise click.ClickException(str(error)) from error
        except RaftStateError as error:
            kind = click.ClickException if error.definite else _Unknown
            raise kind(str(error)) from error


_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="The cluster's folder.",
)


@click.group(cls=_Group, name="cluster")
def cluster() -> None:
    """Run a cluster of real nodes on this machine."""


@cluster.command()
@_folder
@click.option("--nodes", type=click.Choice(["3", "5"]), help="How many; 3 if not given.")
@click.option(
    "--base-port",
    type=click.IntRange(0, 65_500),
    help=f"First API port; {DEFAULT_BASE_PORT} if not given, 0 for whatever is free.",
)
def start(folder: Path, nodes: str | None, base_port: int | None) -> None:
    """Start the cluster, and wait until it serves.

    Makes it first if the folder holds none. A cluster that runs already is left alone;
    members of it that do not run are started.
    """
    if exists(folder):
        target = LocalCluster.attach(folder)
        _check_same(target, nodes, base_port)
    else:
        port = DEFAULT_BASE_PORT if base_port is None else base_port
        target = LocalCluster.create(folder, int(nodes or 3), port or None, check_ports=True)
    stopped = [name for name in target.members if target.state(name) == "stopped"]
    target.start()
    done = f"started {', '.join(stopped)}" if stopped else "already runs"
    click.echo(f"cluster in {folder}: {done}; {target.leader()} leads")
    click.echo(f"endpoints: {target.endpoints}")


def _check_same(target: LocalCluster, nodes: str | None, base_port: int | None) -> None:
    """What exists is what was asked for, if it was asked for in so many words."""
    held = len(target.members)
    first = int(next(iter(target.members.values())).api.rpartition(":")[2])
    if nodes is not None and int(nodes) != held:
        raise click.UsageError(f"{target.folder} holds a cluster of {held} nodes, not {nodes}")
    if base_port and base_port != first:
        raise click.UsageError(
            f"{target.folder} holds a cluster on ports from {first}, not {base_port}; "
            "choose another --dir for another cluster"
        )


@cluster.command()
@_folder
def stop(folder: Path) -> None:
    """Stop every node. What they stored stays."""
    LocalCluster.attach(folder).stop()
    click.echo(f"cluster in {folder}: stopped")


@cluster.command()
@_folder
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(folder: Path, output: str) -> None:
    """Show how each member sees the cluster.

    The exit status is 0 if the cluster is healthy: one member leads, every member is
    ready, and none has an alarm. Otherwise it is 1, also if a quorum still serves.
    """
    target = LocalCluster.attach(folder)
    reports = target.status()
    if output == "json":
        click.echo(json.dumps(_document(target, reports)))
    else:
        # A pipe has no width: give the table room instead of cutting it to 80 columns.
        console = Console() if os.isatty(1) else Console(width=160)
        console.print(_table(target, reports))
    if not _healthy(reports):
        click.get_current_context().exit(1)


@cluster.command()
@_folder
@click.argument("node")
def kill(folder: Path, node: str) -> None:
    """Kill NODE with SIGKILL."""
    _tell(_attach(folder, node).kill(node))


@cluster.command()
@_folder
@click.argument("node")
def pause(folder: Path, node: str) -> None:
    """Pause NODE with SIGSTOP: it keeps its connections and says nothing."""
    _tell(_attach(folder, node).pause(node))


@cluster.command()
@_folder
@click.argument("node")
def resume(folder: Path, node: str) -> None:
    """Resume NODE after a pause."""
    _tell(_attach(folder, node).resume(node))


@cluster.command()
@_folder
@click.argument("node")
def restart(folder: Path, node: str) -> None:
    """Stop NODE if it runs, start it, and wait until it serves."""
    pid = _attach(folder, node).restart(node)
    click.echo(f"{node}: runs as {pid}")


@cluster.command()
@_folder
@click.argument("node", required=False)
@click.option("--learner", is_flag=True, help="Do not let it vote.")
def add(folder: Path, node: str | None, learner: bool) -> None:
    """Start one more node, and make it a member of the running cluster.

    It becomes a voter once it has caught up. NODE is its name: the next one if not given.
    """
    name = LocalCluster.attach(folder).add_node(node, promote=not learner)
    click.echo(f"{name}: is a member, and {'does not vote' if learner else 'votes'}")


@cluster.command()
@_folder
@click.argument("node")
def remove(folder: Path, node: str) -> None:
    """Take NODE out of the running cluster, and delete what it stored."""
    _attach(folder, node).remove_node(node)
    click.echo(f"{node}: is no member any more")


@cluster.command()
@_folder
@click.argument("node")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
def logs(folder: Path, node: str, lines: int, follow: bool) -> None:
    """Show the last lines of what NODE said."""
    target = _attach(folder, node)
    path = target.log_path(node)
    if not path.exists():
        raise LocalClusterError(f"{node} has no log yet: it was never started")
    with path.open(errors="replace") as file:
        end = file.seek(0, os.SEEK_END)
        if text := target.logs(node, lines):
            click.echo(text)
        file.seek(end)
        while follow:
            click.echo(file.read(), nl=False)
            time.sleep(_FOLLOW_S)


def _attach(folder: Path, node: str) -> LocalCluster:
    target = LocalCluster.attach(folder)
    if node not in target.members:
        known = ", ".join(target.members)
        raise click.UsageError(f"there is no node {node!r}; there are {known}")
    return target


def _tell(sent: Signalled) -> None:
    click.echo(f"{sent.node}: sent {sent.signal} to {sent.pid}")


# --- what status shows -----------------------------------------------------------


def _role(report: NodeReport) -> str:
    if report.status is None:
        return "-"
    if any(one.learner for one in report.status.members if one.member_id == report.member.id):
        return "learner"
    return Role.Name(report.status.role).removeprefix("ROLE_").lower()


def _row(report: NodeReport) -> dict[str, Any]:
    """One member as plain values; what only the node itself knows is null without it."""
    seen, header = report.status, report.status.header if report.status else None
    return {
        "id": report.member.id,
        "api": report.member.api,
        "raft": report.member.raft,
        "metrics": report.member.metrics,
        "pid": report.pid,
        "state": report.state,
        "role": _role(report) if seen else None,
        "ready": seen.ready if seen else False,
        "leader": (seen.leader_id or None) if seen else None,
        "term": header.term if header else None,
        "commit_index": seen.commit_index if seen else None,
        "applied_index": seen.applied_index if seen else None,
        "revision": header.revision if header else None,
        "first_index": seen.first_index if seen else None,
        "last_index": seen.last_index if seen else None,
        "snapshots_taken": seen.snapshots_taken if seen else None,
        "snapshots_installed": seen.snapshots_installed if seen else None,
        "alarms": [{"name": one.name, "message": one.message} for one in seen.alarms]
        if seen
        else [],
    }


def _document(target: LocalCluster, reports: list[NodeReport]) -> dict[str, Any]:
    return {
        "cluster": target.cluster_id,
        "dir": str(target.folder),
        "endpoints": target.endpoints,
        "leader": leader_of(reports),
        "healthy": _healthy(reports),
        "members": [_row(report) for report in reports],
    }


def _healthy(reports: list[NodeReport]) -> bool:
    return leader_of(reports) is not None and all(
        report.status is not None and report.status.ready and not report.status.alarms
        for report in reports
    )


def _table(target: LocalCluster, reports: list[NodeReport]) -> Table:
    leader = leader_of(reports)
    table = Table(title=f"cluster {target.cluster_id}: {leader or 'nobody'} leads")
    table.add_column("member")
    table.add_column("role")
    for number in ("term", "commit", "applied", "revision", "log entries"):
        table.add_column(number, justify="right")
    for text in ("leader", "alarms", "process", "api"):
        table.add_column(text)
    for report in reports:
        table.add_row(*_cells(report))
    return table


def _cells(report: NodeReport) -> list[str]:
    seen = report.status
    process = f"{report.pid} {report.state}" if report.pid else report.state
    if seen is None:
        return [report.member.id, *["-"] * 8, process, report.member.api]
    held = seen.last_index - seen.first_index + 1 if seen.last_index else 0
    numbers = (
        seen.header.term,
        seen.commit_index,
        seen.applied_index,
        seen.header.revision,
        held,
    )
    alarms = ", ".join(alarm.name for alarm in seen.alarms) or "none"
    return [
        report.member.id,
        _role(report),
        *map(str, numbers),
        seen.leader_id or "-",
        alarms,
        process,
        report.member.api,
    ]
