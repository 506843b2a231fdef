"""What a commit costs, and what a node holds in memory, however much is stored.

For each size, three members are founded as any are, and killed. Then each data folder is
filled, by the same state machine and the same storage as in a node, but without network and
clients; and the nodes are started again. Then a hundred agents commit steps as fast as they
can, in one cluster after the other, in turns. What the nodes use of a core for each step is
the figure to compare: how many steps a second come out of it depends on what else goes on.

Apply alone, one small append a command and one commit of the state each, is measured by
the last commands of each filling.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from raftstate.client import AgentHandle, connect
from raftstate.core.machine import StateMachine, read_counters
from raftstate.core.ports import Entry
from raftstate.core.types import Index, MemberId
from raftstate.localcluster import LocalCluster
from raftstate.server import boot_id
from raftstate.storage.open import Storage, open_storage
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.event_service_pb2 import AppendEventsRequest, NewEvent, StreamAppend
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry, TrimHistory
from tests.bench.figures import median
from tests.bench.processes import NAMES, cpu_s, uses

_BATCH = 128
_COMMANDS_PER_ENTRY = 32
_STREAMS = 10_000
_TIMED = 2_000
_TIMEOUT_S = 60.0
_OWNERSHIP_S = 60.0
# Nothing is snapshotted while it is measured, and no more history kept than usual.
_QUIET = {"snapshot": {"log_bytes": 1 << 40}, "scrub": {"interval_s": 0}}
_HISTORY = 100_000


class _Round(NamedTuple):
    """One cluster's turn: steps a second, and microseconds of the nodes' CPU for each."""

    steps_per_s: float
    node_us: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    sizes = [10_000, 1_000_000]
    parser.add_argument("--events", type=int, nargs="+", default=sizes, help="ascending")
    parser.add_argument("--agents", type=int, default=100, help="that commit at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a line for each size, and answer with the figures."""
    sizes = sorted(arguments.events)
    found: dict[int, dict[str, Any]] = {}
    clusters: dict[int, LocalCluster] = {}
    with (
        tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-") as name,
        ExitStack() as stack,
    ):
        for events in sizes:
            cluster = LocalCluster.create(Path(name) / str(events), nodes=3, overrides=_QUIET)
            clusters[events] = cluster
            stack.callback(cluster.stop)
            cluster.start()
            found[events] = {"events": events, **_fill(cluster, _come_to_rest(cluster), events)}
            print(found[events], flush=True)
        os.sync()  # what the filling wrote is not for the first rounds to wait for
        for events, cluster in clusters.items():
            began = time.monotonic()
            cluster.start()
            found[events]["start_s"] = round(time.monotonic() - began, 2)
        taken = asyncio.run(_take_turns(clusters, arguments))
        for events, rounds in taken.items():
            found[events] |= _figures(rounds, taken[sizes[0]])
            used = uses(clusters[events])
            found[events]["resident_mib"] = [one.resident >> 20 for one in used]
            found[events]["anonymous_mib"] = [one.anonymous >> 20 for one in used]
            print(found[events], flush=True)
    return {"rows": list(found.values())}


def _figures(rounds: list[_Round], first: list[_Round]) -> dict[str, Any]:
    pairs = zip(rounds, first, strict=True)
    dearer = sorted(one.node_us / least.node_us for one, least in pairs)
    rates = sorted(one.steps_per_s for one in rounds)
    return {
        "steps_per_s": round(median(rates)),
        "steps_per_s_rounds": [round(rates[0]), round(rates[-1])],
        "node_us_per_step": round(median([one.node_us for one in rounds]), 1),
        "node_us_to_first": [round(one, 2) for one in (dearer[0], median(dearer), dearer[-1])],
    }


def _come_to_rest(cluster: LocalCluster) -> str:
    """Have every member apply what every member has, and kill them all; the cluster's id."""
    until = time.monotonic() + _TIMEOUT_S
    while True:
        reports = [one.status for one in cluster.status()]
        places = {one.applied_index for one in reports if one is not None}
        ends = {one.commit_index for one in reports if one is not None}
        if None not in reports and len(places) == 1 and places == ends:
            break
        if time.monotonic() > until:
            raise TimeoutError("the members do not come to rest")
        time.sleep(0.1)
    cluster.kill_all(NAMES)
    return next(one.header.cluster_id for one in reports if one is not None)


# --- filling -------------------------------------------------------------------


def _fill(cluster: LocalCluster, cluster_id: str, events: int) -> dict[str, Any]:
    """Fill every member's folder up to so many events; what the members say of it."""
    folders = [(cluster_id, name, str(cluster.data_dir(name))) for name in NAMES]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_fill_one, folders, [events] * len(NAMES)))
    hashes = {one.pop("state_hash") for one in found}
    if len(hashes) != 1:
        raise RuntimeError("the members' states differ")
    return {
        "apply_us": round(median([one["apply_us"] for one in found]), 1),
        "fill_us": round(median([one["fill_us"] for one in found]), 1),
        "state_mib": round(median([one["state_mib"] for one in found]), 1),
    }


def _fill_one(member: tuple[str, str, str], events: int) -> dict[str, Any]:
    cluster_id, name, folder = member
    storage = open_storage(
        Path(folder),
        cluster_id=cluster_id,
        member_id=MemberId(name),
        boot_id=boot_id(),
        wake=lambda: None,
    )
    try:
        filler = _Filler(storage)
        began = time.process_time()
        stored = filler.fill(events - _TIMED)
        filled = time.process_time() - began
        return {
            "fill_us": filled / max(stored, 1) * 1e6,
            "apply_us": filler.time_appends() * 1e6,
            "state_mib": storage.state.size_bytes / (1 << 20),
            "state_hash": filler.machine.state_hash,
        }
    finally:
        storage.close()


class _Filler:
    """Puts entries into a log and a state, as a member would that is given them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.machine = StateMachine(storage.state.store, storage.log.identity.cluster_epoch)
        if self.machine.applied != storage.log.last:
            raise RuntimeError("the state lacks something of the log")
        self._term = storage.log.last.term
        self._sequence = 0
        self._session = f"growth-{self.machine.revision}"
        request = OpenSessionRequest(session_id=self._session)
        opened = self._enter([Command(open_session=request)], commit=True)[0]
        self._opened = opened.open_session.session.opened_revision
        # The same on every member, and another one at each size.
        self._random = Random(self._opened)

    def fill(self, events: int) -> int:
        """Append until there are so many; say how many were added."""
        before = have = read_counters(self._storage.state.store).last_position
        while have < events:
            batches = list(self._batches(events - have))
            have += sum(len(one.append_events.appends[0].events) for one in batches)
            self._enter(batches, commit=True)
        oldest = max(self.machine.revision - _HISTORY, 1)
        self._enter([Command(trim_history=TrimHistory(revision=oldest))], commit=True)
        return have - before

    def time_appends(self) -> float:
        """Seconds of CPU for one small append, applied and committed to the state."""
        taken = []
        for _ in range(_TIMED):
            command = self._append(1)
            began = time.process_time()
            self._enter([command], commit=False)
            self._storage.state.commit()
            taken.append(time.process_time() - began)
        self._storage.log.commit()
        return sum(taken) / len(taken)

    def _batches(self, wanted: int) -> Iterator[Command]:
        for _ in range(_COMMANDS_PER_ENTRY):
            count = min(wanted, _BATCH)
            if count <= 0:
                return
            wanted -= count
            yield self._append(count)

    def _append(self, count: int) -> Command:
        self._sequence += 1
        request_id = RequestId(
            session_id=self._session,
            sequence=self._sequence,
            lowest_unfinished=self._sequence,
            opened_revision=self._opened,
        )
        data = self._random.randbytes(64)
        append = StreamAppend(
            stream_id=f"bench/{self._random.randrange(_STREAMS):05}",
            events=[NewEvent(type="grown", data=data)] * count,
        )
        request = AppendEventsRequest(request_id=request_id, appends=[append])
        return Command(append_events=request)

    def _enter(self, commands: list[Command], *, commit: bool) -> list[Any]:
        log, state = self._storage.log, self._storage.state
        entry = LogEntry(log_time_ms=self.machine.log_time_ms + 1, commands=commands)
        index = Index(log.last.index + 1)
        data = b"\x00" + entry.SerializeToString(deterministic=True)
        log.append(Entry(index, self._term, data))
        if commit:
            log.commit()
        applied = self.machine.apply(index, self._term, entry)
        if commit:
            state.commit()
        for outcome in applied.outcomes:
            if outcome.WhichOneof("result") == "refusal":
                raise RuntimeError(f"refused: {outcome.refusal}")
        return applied.outcomes


# --- live ----------------------------------------------------------------------


async def _take_turns(
    clusters: dict[int, LocalCluster], arguments: argparse.Namespace
) -> dict[int, list[_Round]]:
    """Rounds of each cluster in turns; the others have nothing to do but heartbeats."""
    taken: dict[int, list[_Round]] = {events: [] for events in clusters}
    async with AsyncExitStack() as stack:
        agents: dict[int, list[AgentHandle]] = {}
        for events, cluster in clusters.items():
            connected = connect(cluster.endpoints, timeout=_TIMEOUT_S)
            store = await stack.enter_async_context(connected)
            agents[events] = [
                await stack.enter_async_context(store.own(f"grown/{at}", ttl=_OWNERSHIP_S))
                for at in range(arguments.agents)
            ]
        for at in range(arguments.rounds):
            order = list(clusters.items())
            for events, cluster in order if at % 2 else reversed(order):
                taken[events].append(await _round(cluster, agents[events], arguments.seconds))
    return taken


async def _round(cluster: LocalCluster, agents: list[AgentHandle], seconds: float) -> _Round:
    before, began = cpu_s(cluster), time.monotonic()
    counts = await asyncio.gather(*(_steps(agent, began + seconds) for agent in agents))
    spent, steps = time.monotonic() - began, sum(counts)
    return _Round(steps / spent, (cpu_s(cluster) - before) / steps * 1e6)


async def _steps(agent: AgentHandle, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        async with agent.step() as step:
            step.event("grown", {"n": count})
        count += 1
    return count
