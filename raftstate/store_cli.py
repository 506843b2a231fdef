"""`raftstate audit`, `raftstate kv`, `raftstate checkpoints`: the store, from a shell.

These talk to a running cluster like any other client; `audit verify` talks to nobody.
Exit statuses are those of `raftstate`: 0 done, 1 refused or failed and nothing happened,
2 the command line was wrong, 3 it may have happened. `audit verify` answers with it: 0 the
file is intact, 1 it is not; `kv get` says 1 where there is no such key.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from raftstate.asking import EXIT_FAILED, Asker, connected, fail, plain, show
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, DifferenceKind
from raftstate.v1.kv_service_pb2 import KeyValue

if TYPE_CHECKING:
    from raftstate.client import Store
    from raftstate.client.auditfile import Report
    from raftstate.client.reading import How

_NUMBER = click.IntRange(1, (1 << 64) - 1)

_at = click.option("--at", type=_NUMBER, metavar="REVISION", help="As it was at a revision.")
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")


def _how(at: int | None) -> How:
    return {} if at is None else {"at": at}


# --- audit -------------------------------------------------------------------


@click.group(name="audit")
def audit() -> None:
    """Take the events out of a cluster, and prove that they are what was written."""


@audit.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--prefix", default="", help="Of the streams' ids; all if not given.")
@_at
@connected
def export(ask: Asker, file: Path, prefix: str, at: int | None) -> None:
    """Write every event to FILE, with what it takes to verify it without a cluster.

    FILE must not exist. It appears when it is whole.
    """
    if file.exists():
        raise click.UsageError(f"{file} exists already")
    report = ask(lambda store: _export(store, file, prefix, _how(at)))
    click.echo(
        f"{file}: {report.streams} streams, {report.events} events at revision"
        f" {report.revision}"
    )
    click.echo(f"head {report.head}")


async def _export(store: Store, file: Path, prefix: str, how: How) -> Report:
    from raftstate.client import auditfile

    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as out:
            report = await auditfile.write(store.export_audit(prefix, **how), prefix, out)
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    return report


@audit.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--head", metavar="HEX", help="What the head has to be.")
def verify(file: Path, head: str | None) -> None:
    """Compute every hash in FILE anew, and say what is missing or was changed."""
    from raftstate.client import auditfile

    try:
        with file.open("rb") as lines:
            report = auditfile.verify(lines)
    except OSError as error:
        fail(str(error))
    if head is not None and not report.faults and report.head != head.lower():
        report.faults.append(f"the head is {report.head}, not {head.lower()}")
    for fault in report.faults:
        click.echo(plain(f"{file}: {fault}"))
    if not report.intact:
        sys.exit(EXIT_FAILED)
    click.echo(
        f"{file}: intact: {report.streams} streams, {report.events} events of cluster"
        f" {plain(report.cluster_id)} at revision {report.revision}"
    )
    if report.truncated:
        click.echo(f"{report.truncated} streams begin behind events that were truncated")
    click.echo(f"head {report.head}")


# --- keys --------------------------------------------------------------------


@click.group(name="kv")
def kv() -> None:
    """Read and write keys."""


@kv.command("get")
@click.argument("key")
@_at
@click.option("-o", "--output", type=click.Choice(["raw", "json"]), default="raw")
@connected
def get(ask: Asker, key: str, at: int | None, output: str) -> None:
    """Print what KEY has; the exit status is 1 if there is no such key."""
    found = ask(lambda store: store.keys.get(os.fsencode(key), **_how(at)))
    if found is None:
        fail(f"there is no key {_shown(os.fsencode(key))}")
    elif output == "json":
        click.echo(json.dumps(_row(found)))
    else:
        click.echo(found.value)


@kv.command("put")
@click.argument("key")
@click.argument("value")
@click.option("--lease", type=_NUMBER, default=None, help="The id of a lease.")
@connected
def put(ask: Asker, key: str, value: str, lease: int | None) -> None:
    """Set KEY to VALUE; a VALUE of - is read from standard input."""
    raw, held = os.fsencode(key), os.fsencode(value)
    if value == "-":
        held = sys.stdin.buffer.read()
    done = ask(lambda store: store.keys.put(raw, held, lease=lease or 0))
    click.echo(f"{_shown(raw)}: version {done.version} at revision {done.header.revision}")


@kv.command("delete")
@click.argument("key")
@click.option("--prefix", is_flag=True, help="Every key that begins with KEY, bit by bit.")
@connected
def delete(ask: Asker, key: str, prefix: bool) -> None:
    """Remove KEY."""
    raw = os.fsencode(key)
    if prefix:
        count = ask(lambda store: store.keys.delete_prefix(raw))
    else:
        count = int(ask(lambda store: store.keys.delete(raw)))
    click.echo(f"{_shown(raw)}: {count} removed")


@kv.command("list")
@click.argument("prefix", default="")
@_at
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@_output
@connected
def list_keys(ask: Asker, prefix: str, at: int | None, limit: int, output: str) -> None:
    """Show the keys that begin with PREFIX."""
    start = os.fsencode(prefix)
    found = ask(lambda store: _some(store.keys.range(prefix=start, **_how(at)), limit))
    if output == "json":
        click.echo(json.dumps([_row(one) for one in found]))
        return
    table = Table()
    for title in ("key", "value", "version", "created", "changed", "lease"):
        table.add_column(title, justify="left" if title in ("key", "value") else "right")
    for one in found:
        numbers = (one.version, one.create_revision, one.mod_revision, one.lease_id or "-")
        table.add_row(_shown(one.key), _shown(one.value[:320])[:80], *map(str, numbers))
    show(table)


def _row(one: KeyValue) -> dict[str, Any]:
    return {
        "key": _text(one.key),
        "value": b64encode(one.value).decode(),
        "version": one.version,
        "create_revision": one.create_revision,
        "mod_revision": one.mod_revision,
        "lease_id": one.lease_id,
    }


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _shown(raw: bytes) -> str:
    return plain(_text(raw))


async def _some(items: AsyncIterator[Any], limit: int) -> list[Any]:
    found: list[Any] = []
    async for one in items:
        found.append(one)
        if len(found) == limit:
            break
    return found


# --- checkpoints -------------------------------------------------------------


@click.group(name="checkpoints")
def checkpoints() -> None:
    """Look at what agents have saved."""


@checkpoints.command("list")
@click.argument("agent")
@click.option("--known-good", is_flag=True, help="Only those.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@_at
@_output
@connected
def list_checkpoints(
    ask: Asker, agent: str, known_good: bool, limit: int, at: int | None, output: str
) -> None:
    """Show AGENT's newest checkpoints."""
    found = ask(
        lambda store: _some(
            store.list_checkpoints(agent, known_good=known_good, **_how(at)), limit
        )
    )
    rows = [_checkpoint(one) for one in found]
    if output == "json":
        click.echo(json.dumps(rows))
        return
    table = Table()
    for title in _TITLES:
        table.add_column(title, justify="right" if title in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(plain(_cell(row[title])) for title in _TITLES))
    show(table)


_NUMBERS = ("id", "step", "event", "bytes", "base")
_TITLES = (*_NUMBERS, "type", "tags", "pinned", "known good", "labels")


def _checkpoint(one: Checkpoint) -> dict[str, Any]:
    return {
        "id": one.checkpoint_id,
        "step": one.step,
        "event": one.event_seq,
        "bytes": one.size_bytes,
        "base": one.base_checkpoint_id or None,
        "type": one.content_type,
        "tags": list(one.tags),
        "pinned": one.pinned,
        "known good": one.known_good,
        "labels": {label.name: label.value for label in one.labels},
    }


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(value)
        case dict():
            return ", ".join(f"{name}={held}" for name, held in value.items())
        case _:
            return str(value)


@checkpoints.command("diff")
@click.argument("agent")
@click.argument("before", type=_NUMBER, metavar="FROM")
@click.argument("after", type=_NUMBER, metavar="TO")
@click.option("--to-agent", default="", metavar="AGENT", help="Whose TO is; AGENT's own.")
@_output
@connected
def diff(ask: Asker, agent: str, before: int, after: int, to_agent: str, output: str) -> None:
    """Show where two of AGENT's checkpoints differ: JSON or msgpack."""
    answer = ask(
        lambda store: store.diff_checkpoints(agent, before, after, to_agent_id=to_agent)
    )
    rows = [
        {
            "path": one.path,
            "kind": DifferenceKind.Name(one.kind).removeprefix("DIFFERENCE_KIND_").lower(),
            "before": one.before,
            "after": one.after,
        }
        for one in answer.differences
    ]
    if output == "json":
        click.echo(json.dumps({"differences": rows, "truncated": answer.truncated}))
        return
    for row in rows:
        change = " -> ".join(text for text in (row["before"], row["after"]) if text)
        click.echo(plain(f"{row['kind']:<8} {row['path'] or '/'}: {change}"))
    if answer.truncated:
        click.echo("and more")
