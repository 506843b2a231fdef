"""The main job, on real input, while everything it stands on is killed.

    python -m raftstate.examples.census.demo [--json] [--seed N] [--out DIR] [--nodes 3]

Three nodes, one active agent process and one standby count every Python file of the
standard library, one durable step each. At counts drawn from the seed three active
agents and two leaders are killed with SIGKILL, and one active agent is stopped until
its successor has written, and then resumed. Afterwards every file must have been
counted once, as a plain loop counts it, and everything planned must have happened.

With `--json` the last line of standard output is one object with the figures; progress
goes to standard error. `--out` keeps the evidence for `verify`. The exit status is 0 if
all is well, 1 if anything is lost, doubled, different or missing, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import raftstate
from raftstate.errors import RaftStateError
from raftstate.examples.census.agent import AGENT_ID
from raftstate.examples.census.analyse import library_files, library_root
from raftstate.examples.census.crew import Crew, CrewError, Worker
from raftstate.examples.census.evidence import Journal, Line, is_taken, write_json
from raftstate.examples.census.figures import outcome
from raftstate.examples.census.judge import violations
from raftstate.examples.census.manifest import write_manifest
from raftstate.examples.census.members import read_logs
from raftstate.examples.census.plan import draw
from raftstate.examples.census.record import Record
from raftstate.examples.census.reference import reference
from raftstate.examples.census.strikes import NotAsPlanned, Strikes, until
from raftstate.examples.census.verify import verify
from raftstate.examples.census.view import Progress, View
from raftstate.examples.census.watch import Watch
from raftstate.localcluster import LocalCluster, LocalClusterError

RUN_S = 240.0  # a run takes a minute; one that takes this long hangs
SETTLE_S = 20.0
TURN_S = 0.003
GOOD, BAD, USAGE = 0, 1, 2
FAILED = (NotAsPlanned, CrewError, LocalClusterError, RaftStateError)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    seed: int
    out: Path
    nodes: int
    root: Path


@dataclass(frozen=True, slots=True)
class Journals:
    """What the demo itself writes down."""

    kills: Journal
    processes: Journal
    statuses: Journal
    events: Journal


class Demo:
    """One run. `run` returns the figures and everything that is wrong."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.files = library_files(options.root)
        self.sizes = [(options.root / path).stat().st_size for path in self.files]
        self.plan = draw(options.seed, self.sizes)

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """Run it all, leave the evidence, and judge it."""
        out = self.options.out
        (out / "agents").mkdir()
        write_json(out / "plan.json", self.plan.to_dict())
        title = f"code census, {len(self.files)} files, seed {self.plan.seed}"
        with (
            View(Progress(files=len(self.files)), title) as view,
            _cluster(self.options, self.plan.log_entries, self.plan.keep_entries) as cluster,
            _journals(out) as journals,
        ):
            record = self._record(cluster, journals, view)
        record.logs = read_logs(out / "logs")  # complete, now that the members have stopped
        figures = outcome(record)
        wrong = violations(record)
        write_json(out / "result.json", figures)
        write_manifest(out)
        return figures, wrong + self._verified(figures, wrong)

    def _record(self, cluster: LocalCluster, journals: Journals, view: View) -> Record:
        """Everything until the last agent has left, and what there is to compare."""
        out = self.options.out
        watch = Watch(cluster, journals.statuses)
        before = watch.sample()  # before and after the thread runs: the first and the last
        with watch:
            crew = self._work(cluster, journals, watch, view)
        view.tell("every file is done; the members settle")
        after = _settled(watch, self.options.nodes)
        view.tell("reading the event log through the SDK")
        events, stream = asyncio.run(_export(cluster.endpoints, journals.events))
        view.tell("counting again with a plain loop")
        record = Record(
            plan=self.plan.to_dict(),
            reference=reference(self.options.root, self.files),
            stream=stream,
            status_before=before,
            status_after=after,
            agents={worker.name: worker.lines for worker in crew.workers},
            kills=journals.kills.lines,
            processes=journals.processes.lines,
            statuses=journals.statuses.lines,
            events=events,
        )
        write_json(out / "reference.json", record.reference)
        write_json(out / "stream.json", stream)
        write_json(out / "status-before.json", before)
        write_json(out / "status-after.json", after)
        return record

    def _work(
        self, cluster: LocalCluster, journals: Journals, watch: Watch, view: View
    ) -> Crew:
        """The census itself, under the strikes."""
        arguments = ["--endpoints", cluster.endpoints, "--root", str(self.options.root)]
        with contextlib.closing(
            Crew(self.options.out / "agents", arguments, journals.processes)
        ) as crew:
            strikes = Strikes(self.plan, self.sizes, cluster, crew, watch, journals.kills, view)
            crew.hire()
            crew.hire()
            for _ in until("the census came to its end", lambda: _ended(crew), RUN_S):
                self._turn(crew, strikes, view, watch)
                time.sleep(TURN_S)
            if strikes.striking:
                raise NotAsPlanned("the files were done before the last strike was over")
            for _ in until("every member is back", lambda: strikes.over):
                strikes.advance()
                time.sleep(TURN_S)
        return crew

    def _turn(self, crew: Crew, strikes: Strikes, view: View, watch: Watch) -> None:
        for worker, line in crew.poll():
            _tell(view, worker, line)
        _report_failures(crew)
        if crew.files_done >= len(self.files) and (missed := strikes.missed()):
            raise NotAsPlanned(f"planned, and did not happen: {missed}")
        strikes.advance()
        # A worker that lost the ownership without being struck left a place behind.
        if crew.files_done < len(self.files) and len(crew.present) < 2:
            crew.hire()
        _show(view.progress, crew, watch)
        view.refresh()

    def _verified(self, figures: dict[str, Any], wrong: list[str]) -> list[str]:
        """What `verify` finds in the folder beyond what was found here."""
        recomputed, complaints = verify(self.options.out)
        if recomputed != figures:
            complaints.append("verify comes to other figures")
        return [f"verify: {one}" for one in complaints if one not in wrong]


# --- pieces ----------------------------------------------------------------------


@contextlib.contextmanager
def _cluster(options: Options, log_entries: int, keep_entries: int) -> Iterator[LocalCluster]:
    """A running cluster in a folder of its own; its logs are kept, however it ends."""
    folder = Path(tempfile.mkdtemp(prefix="census-cluster-"))
    snapshot = {"log_entries": log_entries, "keep_entries": keep_entries}
    cluster = LocalCluster.create(
        folder / "cluster", nodes=options.nodes, overrides={"snapshot": snapshot}
    )
    try:
        cluster.start()
        yield cluster
    finally:
        try:
            cluster.stop()
        finally:
            logs = options.out / "logs"
            logs.mkdir()
            for name in cluster.members:
                if cluster.log_path(name).exists():
                    shutil.copy(cluster.log_path(name), logs / f"{name}.log")
            shutil.rmtree(folder)


@contextlib.contextmanager
def _journals(out: Path) -> Iterator[Journals]:
    with contextlib.ExitStack() as stack:
        names = ("kills", "processes", "statuses", "events")
        yield Journals(*(stack.enter_context(Journal(out / f"{name}.jsonl")) for name in names))


async def _export(endpoints: str, journal: Journal) -> tuple[list[Line], dict[str, Any]]:
    """Every event as the store holds it, by linearizable reads, and where they end."""
    async with raftstate.connect(endpoints, client_name="census-export") as store:
        events = [
            journal.write(
                "event",
                stream_id=event.stream_id,
                seq=event.seq,
                position=event.position,
                revision=event.revision,
                step=event.step,
                type=event.type,
                content_type=event.content_type,
                data=event.data.decode(),
                causation_id=event.causation_id,
                correlation_id=event.correlation_id,
                log_time_ms=event.log_time_ms,
                hash=event.hash.hex(),
            )
            async for event in store.read_events(AGENT_ID)
        ]
        stream = await store.get_stream(AGENT_ID)
    return events, {"last_seq": stream.last_seq, "last_hash": stream.last_hash.hex()}


def _settled(watch: Watch, nodes: int) -> dict[str, Line]:
    """What the members say once all of them hold the same state, or when time is up:
    then the judge will see that they do not."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        said = watch.sample()
        states = {(line["revision"], line["state_hash"]) for line in said.values()}
        if (len(said) == nodes and len(states) == 1) or time.monotonic() > deadline:
            return said
        time.sleep(TURN_S)


def _ended(crew: Crew) -> bool:
    """Every worker has left, and one of them because there was nothing left to do."""
    return all(one.gone for one in crew.workers) and any(
        line["kind"] == "finished" for one in crew.workers for line in one.lines
    )


def _report_failures(crew: Crew) -> None:
    """A worker that broke, as opposed to one that was killed or lost the ownership."""
    for worker in crew.workers:
        code = worker.process.returncode if worker.gone else 0
        if code not in {0, 3, -9}:
            raise CrewError(
                f"{worker.name} ended with exit status {code}: {crew.last_words(worker)}"
            )


def _tell(view: View, worker: Worker, line: Line) -> None:
    """The news that people want to hear of."""
    if line["kind"] == "owned":
        view.tell(f"{worker.name} owns the agent after {line['restored']} files")
    elif line["kind"] == "refused":
        view.progress.refused += 1
        judge = "the store" if line["judge"] == "server" else "its own clock"
        view.tell(f"{worker.name} was refused by {judge}: {line['reason']}")
    elif line["kind"] == "lost":
        view.tell(f"{worker.name} lost the agent: {line['message']}")
    elif line["kind"] == "finished":
        view.tell(f"{worker.name} found nothing left to do")


def _show(progress: Progress, crew: Crew, watch: Watch) -> None:
    active, standby = crew.active, crew.standby
    progress.done = crew.files_done
    progress.active = active.name if active else "nobody"
    progress.standby = standby.name if standby else "nobody"
    progress.token = f"{active.token[0]}/{active.token[1]}" if active else ""
    progress.leader = watch.leader or "nobody"
    said = list(watch.latest.values())
    progress.snapshots = sum(line["snapshots_taken"] for line in said)
    progress.installs = sum(line["snapshots_installed"] for line in said)


# --- the command -----------------------------------------------------------------


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=str(__doc__).splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--seed", type=lambda text: int(text, 0), help="default: a fresh one")
    parser.add_argument("--out", type=Path, help="keep the evidence in this new folder")
    parser.add_argument("--nodes", type=int, default=3, choices=[3, 5], help="default: 3")
    parser.add_argument(
        "--root", type=Path, default=library_root(), help="whose files to count"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and say how it went."""
    args = _parse(arguments)
    seed = secrets.randbits(32) if args.seed is None else args.seed
    if args.out is not None and is_taken(args.out):
        print(f"demo: {args.out} is not empty", file=sys.stderr)
        return USAGE
    with contextlib.ExitStack() as stack:
        if args.out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="census-")))
        else:
            out = args.out.absolute()
            out.mkdir(parents=True, exist_ok=True)
        return _run(Options(seed, out, args.nodes, args.root), as_json=args.json)


def _run(options: Options, *, as_json: bool) -> int:
    print(f"seed {options.seed}; again: scripts/demo --seed {options.seed}", file=sys.stderr)
    started = time.monotonic()
    try:
        demo = Demo(options)
    except ValueError as error:
        print(f"demo: {error}", file=sys.stderr)
        return USAGE
    try:
        figures, wrong = demo.run()
    except FAILED as error:
        print(f"demo: seed {options.seed}: {error}", file=sys.stderr)
        return BAD
    _report(figures, wrong, as_json=as_json, seconds=time.monotonic() - started)
    return BAD if wrong else GOOD


def _report(
    figures: dict[str, Any], wrong: list[str], *, as_json: bool, seconds: float
) -> None:
    for complaint in wrong:
        print(f"demo: {complaint}", file=sys.stderr)
    print(f"{'FAILED' if wrong else 'passed'} in {seconds:.1f} s", file=sys.stderr)
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):>22}  {value}")


def _end(number: int, _frame: object) -> None:
    """On a signal to end: leave through every `finally`, so that nobody stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    sys.exit(main())
