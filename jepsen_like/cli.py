"""The command line: run, list, check, report, mutants."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from jepsen_like import folder as folders
from jepsen_like import formats, report
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.vacuity import Limits
from jepsen_like.judge import judge, summary
from jepsen_like.mutants import running as mutants_running
from jepsen_like.nemesis.catalogue import NAMES
from jepsen_like.profiles import PROFILES
from jepsen_like.protocols import Verdict
from jepsen_like.run import CannotRun, Settings, conduct
from jepsen_like.workloads.catalogue import WORKLOADS

# Exit codes: as for other tools of this project, 1 is "it is not well".
VALID: Final = 0
NOT_VALID: Final = 1
USAGE: Final = 2


@click.group()
def main() -> None:
    """Breaks real clusters from outside, and judges what their clients saw."""


# --- run -----------------------------------------------------------------------


@main.command()
@click.option("--workload", default="all", help="Names with commas between, or all.")
@click.option("--nemesis", default="all", help="Names with commas between, all, or none.")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), help="A named run.")
@click.option("--time", "time_s", type=click.FloatRange(1), help="Seconds of faults.")
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Same seed, same schedule.")
@click.option("--load", type=click.FloatRange(0.01), default=1.0, help="Times the usual rate.")
@click.option("--log", type=click.Choice(["lmdb", "segments"]), default="lmdb")
@click.option("--endpoints", default="", help="A cluster of your own: host:port,...")
@click.option("--out", type=click.Path(path_type=Path), help="A folder to be made.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON at the end.")
def run(
    workload: str,
    nemesis: str,
    profile: str | None,
    time_s: float | None,
    nodes: int,
    seed: int | None,
    load: float,
    log: str,
    endpoints: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Start a cluster (or take yours), break it under load, and judge what was seen."""
    chosen = PROFILES[profile] if profile else None
    without = chosen.without if chosen and workload == "all" else frozenset()
    every = tuple(name for name in WORKLOADS if name not in without)
    workloads = _names("--workload", workload, every)
    settings = Settings(
        folder=out or Path(tempfile.mkdtemp(prefix="jepsen-")) / "run",
        seed=secrets.randbelow(1 << 31) if seed is None else seed,
        nodes=nodes,
        workloads=workloads,
        nemeses=() if nemesis == "none" else _names("--nemesis", nemesis, NAMES),
        all_nemeses=nemesis == "all",
        time_s=time_s or (chosen.time_s if chosen else 60.0),
        pairs=chosen.pairs if chosen else False,
        load=load,
        limits=limits_of(workloads, load),
        log=log,
        endpoints=endpoints,
        command=f"./scripts/jepsen {shlex.join(sys.argv[1:])}",
    )
    say(f"seed {settings.seed}, folder {settings.folder}")
    try:
        results = asyncio.run(conduct(settings, say))
    except CannotRun as error:
        raise click.UsageError(str(error)) from error
    page = report.write(settings.folder)
    for verdict in results.verdicts:
        say(_line(verdict))
    say(f"report: {page}")
    click.echo(json.dumps(results.summary) if as_json else _told(results.summary))
    sys.exit(VALID if results.summary["valid"] else NOT_VALID)


def limits_of(workloads: Sequence[str], load: float) -> Limits:
    """What the run must have had at least: in proportion, where less is asked for."""
    rates = {name: make().rate for name, make in WORKLOADS.items()}
    share = min(1.0, load) * sum(rates[name] for name in workloads) / sum(rates.values())
    usual = Limits()
    return replace(
        usual,
        rate_min=usual.rate_min * share,
        concurrent_min=max(1, int(usual.concurrent_min * share)),
    )


def _names(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    if text == "all":
        return tuple(known)
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(
            f"there is no {', '.join(unknown)}; there are {', '.join(known)}",
            param_hint=option,
        )
    return names


def say(text: str) -> None:
    """Progress, to standard error: standard output is for the result."""
    click.echo(text, err=True)


def _line(verdict: Verdict) -> str:
    shown = "".join(f"\n    {complaint}" for complaint in verdict.complaints[:5])
    return f"{verdict.validity:8} {verdict.name}: {verdict.summary}{shown}"


def _told(found: Mapping[str, Any]) -> str:
    return (
        f"{found['verdict']}: {found['ops']} operations, {found['ok']} ok, "
        f"{found['info']} unknown; {sum(found['faults'].values())} faults; "
        f"lost {found['lost']}, anomalies {found['anomalies']}; seed {found['seed']}"
    )


# --- the rest ------------------------------------------------------------------


@main.command(name="list")
def list_() -> None:
    """Say what can be run."""
    click.echo("workloads: " + ", ".join(WORKLOADS))
    click.echo("nemeses:   " + ", ".join(NAMES))
    for name, profile in PROFILES.items():
        click.echo(f"profile {name}: {profile.time_s:g} s of faults; {profile.what_for}")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--format", "form", type=click.Choice(["run", "jepsen-log"]), default="run")
def check(paths: Sequence[Path], form: str) -> None:
    """Judge histories: folders of runs (or the history in one), or logs of Jepsen's."""
    judged = [_check_log(path) if form == "jepsen-log" else _check_run(path) for path in paths]
    sys.exit(VALID if all(one == "valid" for one in judged) else NOT_VALID)


def _check_log(path: Path) -> str:
    try:
        found = formats.judge(path)
    except MalformedHistory as error:
        say(f"{path}: {error}")
        found = "unknown"
    click.echo(f"{path} {found}")
    return found


def _check_run(path: Path) -> str:
    try:
        folder = path if path.is_dir() else path.parent
        record = folders.read_record(folder)
        limits = folders.read_json(folder / folders.RUN).get("limits", {})
        verdicts = judge(record, Limits(**limits))
    except (MalformedHistory, TypeError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    for verdict in verdicts:
        say(_line(verdict))
    found = summary(record, verdicts)
    click.echo(json.dumps(found))
    return str(found["verdict"])


@main.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def report_(folder: Path) -> None:
    """Write one self-contained HTML page about a run."""
    try:
        click.echo(report.write(folder))
    except MalformedHistory as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One line of JSON at the end.")
@click.option("--only", multiple=True, help="The name of one; more than once for more.")
def mutants(as_json: bool, only: Sequence[str]) -> None:
    """Plant faults in a live cluster, one at a time: each must be caught."""
    try:
        found = asyncio.run(mutants_running.run_all(only, say))
    except mutants_running.NoSuchMutant as error:
        raise click.UsageError(str(error)) from error
    click.echo(
        json.dumps(found) if as_json else f"{found['caught']} of {found['planted']} caught"
    )
    sys.exit(VALID if found["caught"] == found["planted"] else NOT_VALID)
