"""One run, from an empty folder to a verdict.

    start the cluster -> warm-up -> faults -> heal -> quiet -> settle -> final reads
    -> read the committed log -> close the clients -> stop -> judge

Clients work from the warm-up to the end of the quiet time; the nemesis decides when each
of these phases is over, and says so in the history.
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import raftstate
from jepsen_like import folder as folders
from jepsen_like import formats
from jepsen_like.breaker import HEALED_S, Breaker
from jepsen_like.checkers import vacuity
from jepsen_like.control import ControlError, LocalControl, RemoteControl
from jepsen_like.history import Event, Writer
from jepsen_like.interpreter import interpret
from jepsen_like.judge import judge, summary
from jepsen_like.monitor import Monitor
from jepsen_like.nemesis.catalogue import packages
from jepsen_like.nemesis.schedule import Planned, plan
from jepsen_like.phases import HEAL, SETTLE, STAGES, whole
from jepsen_like.protocols import (
    Control,
    Generator,
    LoggedEvent,
    Package,
    Record,
    Setting,
    Site,
    Verdict,
    Workload,
)
from jepsen_like.workloads.catalogue import WORKLOADS
from raftstate.errors import RaftStateError

WARM_UP_S: Final = 5.0
QUIET_S: Final = 5.0
# At the very end: until every member shows the same revision, and has stopped moving.
_STILL_S: Final = 15.0
# For everything but the faults: opening, healing, settling, final reads; with room to spare.
_LIMIT_S: Final = 300.0
# Healing waits until every node serves, and settling until they agree.
_NEMESIS_LIMIT_S: Final = 120.0

Say = Callable[[str], None]


class CannotRun(Exception):
    """What was asked for cannot be run here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run. Times in seconds; `load` is what the workloads' own rates are
    multiplied with.

    `schedule` replaces what the seed would draw; `all_nemeses` leaves out what the
    cluster's control cannot do, which otherwise is an error. `mutant` names a planted
    fault (jepsen_like.mutants). After the heal the cluster has `patience_s` to serve."""

    folder: Path
    seed: int
    workloads: tuple[str, ...]
    nemeses: tuple[str, ...]
    nodes: int = 3
    time_s: float = 60.0
    warm_up_s: float = WARM_UP_S
    quiet_s: float = QUIET_S
    patience_s: float = HEALED_S
    load: float = 1.0
    pairs: bool = False
    log: str = "lmdb"
    endpoints: str = ""
    all_nemeses: bool = False
    command: str = ""
    mutant: str = ""
    schedule: tuple[Planned, ...] | None = None
    limits: vacuity.Limits = field(default_factory=vacuity.Limits)


@dataclass(frozen=True, slots=True)
class Results:
    """How a run ended: the summary (its last line), every verdict, and what was judged."""

    summary: Mapping[str, Any]
    verdicts: Sequence[Verdict]
    record: Record


async def conduct(settings: Settings, say: Say = lambda _: None) -> Results:
    """Run, judge, and write everything down in the folder. Raises CannotRun before
    anything was started, and HarnessError for a defect of the harness itself."""
    folder = settings.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CannotRun(f"{folder} is not empty: a run makes a folder of its own")
    (folder / folders.NODES).mkdir()
    record = await _Run(settings, folder, say).whole()
    verdicts = await asyncio.to_thread(judge, record, settings.limits)
    found = summary(record, verdicts)
    folders.write_results(folder, found, verdicts)
    return Results(found, verdicts, record)


class _Run:
    """The parts of one run while it goes on."""

    def __init__(self, settings: Settings, folder: Path, say: Say) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._workloads = {name: WORKLOADS[name]() for name in settings.workloads}
        self._beside: dict[str, Setting] = {}
        self._ends: tuple[str, ...] = ()
        self._log: list[LoggedEvent] = []
        self._left_out: dict[str, str] = {}
        self._schedule: tuple[Planned, ...] = ()
        self._unread = ""
        self._tally: dict[str, Any] = {}
        self._began = 0.0

    def _clock(self) -> float:
        return time.monotonic() - self._began

    async def whole(self) -> Record:
        """Everything but the verdict."""
        async with self._cluster() as control:
            chosen = self._choose(control)
            settings = self._settings
            self._schedule = (
                plan(tuple(chosen.values()), settings.seed, settings.time_s, settings.pairs)
                if settings.schedule is None
                else settings.schedule
            )
            self._write_run({}, control)
            self._began = time.monotonic()
            events = await self._break(control, chosen)
        self._write_run(_phases(events), control)
        edn = formats.edn(events)
        (self._folder / folders.EDN).write_text(edn, encoding="utf-8")
        # Judged is what was written down: nothing that a later look would not find.
        return folders.read_record(self._folder)

    # --- before ---

    @asynccontextmanager
    async def _cluster(self) -> AsyncIterator[Control]:
        settings = self._settings
        if settings.endpoints:
            try:
                control: Control = await RemoteControl.find(settings.endpoints)
            except ControlError as error:
                raise CannotRun(str(error)) from error
        else:
            control = LocalControl.make(
                self._folder / "cluster",
                nodes=settings.nodes,
                seed=settings.seed,
                log=settings.log,
                mutant=settings.mutant,
            )
        try:
            await control.start()
            yield control
        finally:
            self._ends = tuple(control.unexpected_ends())
            await control.stop()
            for node in control.nodes:
                if (path := control.log_path(node)) is not None and path.exists():
                    shutil.copyfile(path, self._folder / folders.NODES / f"{node}.log")

    def _choose(self, control: Control) -> dict[str, Package]:
        """The packages that were asked for and can be had."""
        every = packages(control, self._pids, self._ripe)
        apart = any(one.setting is not None for one in self._workloads.values())
        abilities = control.abilities | ({"clients"} if apart else set())
        chosen: dict[str, Package] = {}
        for name in self._settings.nemeses:
            package = every[name]
            if lacking := package.needs - abilities:
                why = f"it needs {', '.join(sorted(lacking))}"
                if not self._settings.all_nemeses:
                    raise CannotRun(f"nemesis {name} cannot be had here: {why}")
                self._left_out[name] = why
                self._say(f"left out: nemesis {name}: {why}")
            else:
                chosen[name] = package
        return chosen

    def _pids(self) -> list[int]:
        return [pid for one in self._beside.values() for pid in one.processes()]

    def _ripe(self) -> bool:
        return any(one.ripe() for one in self._beside.values())

    # --- during ---

    async def _break(self, control: Control, chosen: Mapping[str, Package]) -> list[Event]:
        settings, folder = self._settings, self._folder
        site = Site(
            addresses=control.addresses,
            prefix=f"jepsen-{settings.seed}-{int(time.time())}",
            seed=settings.seed,
            folder=folder,
        )
        async with AsyncExitStack() as stack:
            for name, workload in self._workloads.items():
                if workload.setting is not None:
                    self._beside[name] = await stack.enter_async_context(workload.setting(site))
            monitor = await stack.enter_async_context(
                Monitor(control.addresses, self._clock, folder / folders.STATUS)
            )
            writer = stack.enter_context(Writer(folder / folders.HISTORY))
            breaker = Breaker(control, chosen, monitor, self._say, settings.patience_s)
            stack.push_async_callback(breaker.heal)
            tally = await interpret(
                self._story(control),
                self._clients(site),
                breaker,
                writer,
                self._clock,
                timeouts={
                    **{name: one.limit_s for name, one in self._workloads.items()},
                    "nemesis": _NEMESIS_LIMIT_S,
                },
                limit=_LIMIT_S + 2 * settings.time_s,
            )
            # Not asdict: it takes a Counter for a list of pairs.
            self._tally = {one.name: getattr(tally, one.name) for one in fields(tally)}
            # What comes late is in the log that is read then.
            await breaker.still(min(_STILL_S, settings.patience_s))
            self._log = await self._read_log(site)
            self._say(f"{len(writer.events)} events, {len(self._log)} in the committed log")
            return writer.events

    def _story(self, control: Control) -> Generator:
        settings = self._settings
        return whole(
            self._workloads,
            self._schedule,
            seed=settings.seed,
            nodes=control.nodes,
            warm_up_s=settings.warm_up_s,
            time_s=settings.time_s,
            quiet_s=settings.quiet_s,
            load=settings.load,
        )

    def _clients(self, site: Site) -> dict[str, Callable[[], Any]]:
        def opened(workload: Workload, number: int) -> Callable[[], Any]:
            return lambda: workload.client(site, number)

        return {
            f"{name}/{number}": opened(workload, number)
            for name, workload in self._workloads.items()
            for number in range(workload.threads)
        }

    async def _read_log(self, site: Site) -> list[LoggedEvent]:
        """What the cluster says has happened, in its order."""
        try:
            async with raftstate.connect(site.endpoints, timeout=30.0) as store:
                return [
                    LoggedEvent(
                        stream=event.stream_id,
                        seq=event.seq,
                        position=event.position,
                        revision=event.revision,
                        step=event.step,
                        type=event.type,
                        data=event.data.decode(errors="replace"),
                    )
                    async for event in store.read_all()
                    if event.stream_id.startswith(f"{site.prefix}/")
                ]
        except RaftStateError as error:
            # Without it unknown outcomes stay unknown, and the verdicts say so.
            self._say(f"the committed log could not be read: {error}")
            self._unread = str(error)
            return []

    # --- after ---

    def _write_run(self, phases: Mapping[str, float], control: Control) -> None:
        settings = self._settings
        folders.write_json(
            self._folder / folders.RUN,
            {
                "seed": settings.seed,
                "command": settings.command,
                "nodes": list(control.nodes),
                "workloads": list(settings.workloads),
                "nemeses": [name for name in settings.nemeses if name not in self._left_out],
                "left_out": self._left_out,
                "time_s": settings.time_s,
                "load": settings.load,
                "limits": asdict(settings.limits),
                "log": settings.log,
                "endpoints": settings.endpoints,
                "mutant": settings.mutant,
                "phases": dict(phases),
                "ends": list(self._ends),
                "tally": self._tally,
                "schedule": [
                    {
                        "at": planned.at,
                        "kind": planned.fault.kind,
                        "seconds": planned.fault.seconds,
                        "args": dict(planned.fault.args),
                    }
                    for planned in self._schedule
                ],
                "versions": {
                    "python": platform.python_version(),
                    "raftstate": raftstate.__version__,
                },
            },
        )
        folders.write_log(self._folder / folders.LOG, self._log)
        notes: dict[str, Any] = {name: one.note() for name, one in self._beside.items()}
        if self._unread:
            notes["log"] = {"whole": False, "why": self._unread}
        folders.write_json(self._folder / folders.NOTES, notes)


def _phases(events: Sequence[Event]) -> dict[str, float]:
    """When each phase began, as the nemesis said; `end` is the last event."""
    began = {"warm-up": 0.0}
    for event in events:
        if event.key in STAGES and event.type == "invoke":
            began[STAGES[event.key]] = event.time
        elif event.key == HEAL and event.type == "info":
            began["quiet"] = event.time
        elif event.key == SETTLE and event.type == "info":
            began["final"] = event.time
    return began | {"end": events[-1].time if events else 0.0}
