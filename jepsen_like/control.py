"""Whoever owns the cluster under test: starts it, hurts its nodes, and knows what it did.

`LocalControl` has a cluster of its own on this machine: real nodes, a link that can be
harmed between each two of them, and, where there is a C compiler, a machine of which the
power and the clocks can be taken away. `RemoteControl` only asks somebody else's cluster.

A node that ends by itself is a finding. So every end that was asked for is told apart
from one that was not, also by how the process ended: SIGKILL was meant to be -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar

from jepsen_like.links import LinkProcess, Pair
from jepsen_like.protocols import KEEP_REVISIONS, Links
from jepsen_like.shims import NoCompiler, Shims
from raftstate.client import probe
from raftstate.localcluster import Launch, LocalCluster, tail
from raftstate.localcluster.process import SERVE, how
from raftstate.v1.cluster_service_pb2 import ROLE_LEADER, StatusResponse

_T = TypeVar("_T")

START_S: Final = 60.0
ASK_S: Final = 0.5
_LOOK_S: Final = 0.2
_LINES: Final = 20
_LINKS_LOG: Final = "links.log"
_THREADS: Final = 4

# A snapshot after every 100 entries, and a log that keeps few: so a member that was away
# for a moment is sent a snapshot.
SNAPSHOTS: Final[Mapping[str, Any]] = {"log_entries": 100, "keep_entries": 20}
HISTORY: Final[Mapping[str, Any]] = {"keep_revisions": KEEP_REVISIONS}


class ControlError(Exception):
    """The cluster could not be handled as asked; the message says why."""


# --- asking ------------------------------------------------------------------------


async def ask(
    addresses: Mapping[str, str], timeout: float = ASK_S
) -> dict[str, StatusResponse | None]:
    """What each member says of itself, all asked at once; None of one that is silent."""
    answers = await asyncio.gather(
        *(asyncio.to_thread(probe.status, one, timeout) for one in addresses.values())
    )
    return dict(zip(addresses, answers, strict=True))


def leader_of(answers: Mapping[str, StatusResponse | None]) -> str | None:
    """Who leads and is ready, by the highest term; None if nobody is."""
    leaders = [
        (answer.header.term, node)
        for node, answer in answers.items()
        if answer is not None and answer.role == ROLE_LEADER and answer.ready
    ]
    return max(leaders)[1] if leaders else None


def serve(answers: Mapping[str, StatusResponse | None]) -> bool:
    """Whether all answered that they serve, and one leads."""
    ready = all(one is not None and one.ready and one.commit_index for one in answers.values())
    return ready and leader_of(answers) is not None


class _Asking:
    """What can be known of any cluster by asking its members."""

    addresses: Mapping[str, str]

    async def leader(self) -> str | None:
        """Who leads and is ready, by the highest term; None if nobody is."""
        return leader_of(await ask(self.addresses))

    async def wait_serving(self, timeout: float) -> bool:
        """Whether every node serves within so many seconds."""
        until = time.monotonic() + timeout
        while not serve(await ask(self.addresses)):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True


class NoLinks:
    """The links of a cluster whose links are not ours: nothing can be done to them."""

    async def cut(self, pairs: Sequence[Pair]) -> None:
        """Refused."""
        _refuse("links")

    async def half_open(self, pairs: Sequence[Pair]) -> None:
        """Refused."""
        _refuse("links")

    async def slow(self, pairs: Sequence[Pair], delay_s: float, bytes_per_s: int = 0) -> None:
        """Refused."""
        _refuse("links")

    async def flaky(self, pairs: Sequence[Pair], every_s: float, seed: int) -> None:
        """Refused."""
        _refuse("links")

    async def mend(self, pairs: Sequence[Pair] | None = None) -> None:
        """Nothing was done, so there is nothing to undo."""

    async def counts(self) -> Mapping[str, int]:
        """Nothing was done."""
        return {}


def _refuse(ability: str) -> NoReturn:
    raise ControlError(f"there is no control over the {ability} of this cluster")


# --- a cluster of our own ------------------------------------------------------------


class LocalControl(_Asking):
    """A cluster in a folder of this machine. Made by `make`, laid out and started by
    `start`; `stop` is for good. Until `start` there are no addresses."""

    def __init__(
        self,
        folder: Path,
        nodes: int,
        overrides: Mapping[str, Mapping[str, Any]],
        command: tuple[str, ...],
        shimmed: bool,
    ) -> None:
        self.nodes: tuple[str, ...] = tuple(f"n{number}" for number in range(1, nodes + 1))
        self.addresses: Mapping[str, str] = {}
        self.abilities: frozenset[str] = frozenset({"processes", "links"})
        self.links: Links = NoLinks()
        self._folder = folder
        self._overrides = overrides
        self._command = command
        self._shimmed = shimmed
        self._cluster: LocalCluster | None = None
        self._shims: Shims | None = None
        self._link_process: LinkProcess | None = None
        self._one_at_a_time = asyncio.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="control")
        self._up: set[str] = set()  # those that are meant to run
        self._ends: list[str] = []
        self._wrote: dict[str, int] = {}  # the size of a log when its node was started
        self._stopped = False

    @classmethod
    def make(
        cls,
        folder: Path,
        nodes: int = 3,
        *,
        seed: int = 0,
        log: str = "lmdb",
        mutant: str = "",
        shims: bool = True,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Self:
        """A new cluster in `folder`; nothing is done yet.

        `log` is the kind of log, `mutant` a fault that is planted in every node. Without
        `shims` nothing is loaded into the nodes, and power and clocks are out of reach.
        `overrides` are added to every node's configuration. The seed decides nothing here:
        whoever draws does so from it."""
        planted = (sys.executable, "-m", "jepsen_like.mutants.node", mutant, "serve")
        command = planted if mutant else SERVE
        settings = {
            "snapshot": SNAPSHOTS,
            "history": HISTORY,
            "storage": {"log": log},
            **(overrides or {}),
        }
        return cls(folder.absolute(), nodes, settings, command, shims)

    # --- all of it ---

    async def start(self) -> None:
        """Start all nodes that do not run, and wait until the cluster serves."""
        async with self._one_at_a_time:
            if self._cluster is None:
                await self._lay_out()
            self._note_ends()
            await self._beside(self._known.start, START_S)
            self._up = set(self.nodes)

    async def stop(self) -> None:
        """End all nodes in good order, and the links."""
        async with self._one_at_a_time:
            if self._stopped:
                return
            self._stopped = True
            self._note_ends()
            expected, self._up = sorted(self._up), set()
            try:
                if self._cluster is not None:
                    await self._beside(self._cluster.stop)
                    for node in expected:
                        self._judge_stop(node)
            finally:
                if self._link_process is not None:
                    await self._link_process.close()
                    self._link_process, self.links = None, NoLinks()
                self._pool.shutdown(wait=False)

    async def _lay_out(self) -> None:
        """The links first, since the nodes are told where they are."""
        self._folder.mkdir(parents=True, exist_ok=True)
        links = await LinkProcess.start(self.nodes, self._folder / _LINKS_LOG)
        self.links = self._link_process = links
        self._cluster = await self._beside(self._create, links.dial)
        members = self._cluster.members
        await links.lead({node: member.raft for node, member in members.items()})
        self.addresses = {node: members[node].api for node in self.nodes}
        if self._shims is not None:
            self.abilities |= {"power", "clock"}

    def _create(self, dial: Mapping[str, Mapping[str, str]]) -> LocalCluster:
        made = LocalCluster.create(
            self._folder, len(self.nodes), overrides=self._overrides, dial=dial
        )
        data = {node: made.data_dir(node) for node in self.nodes}
        environment: dict[str, dict[str, str]] = {}
        if self._shimmed:
            with contextlib.suppress(NoCompiler):  # then it lacks these abilities
                self._shims = Shims.make(self._folder / "machine")
                for node in self.nodes:
                    self._shims.prepare(node, data[node])
                    environment[node] = self._shims.environment(node, data[node])
        return LocalCluster.attach(self._folder, Launch(self._command, environment))

    # --- nodes ---

    async def kill(self, nodes: Sequence[str]) -> None:
        """SIGKILL all of these at once, and wait until they are gone. Those that do not
        run are passed over."""
        async with self._one_at_a_time:
            await self._kill(nodes)

    async def _kill(self, nodes: Sequence[str]) -> float:
        """The seconds from the first signal to the last."""
        self._note_ends()
        victims = [node for node in nodes if node in self._up]
        self._up.difference_update(victims)
        sent = await self._beside(self._known.kill_all, victims)
        killed = {one.node: one.returncode for one in sent}
        for node in victims:
            returncode = killed.get(node, self._known.returncode(node))
            self._judge_end(node, returncode, -signal.SIGKILL)
        at = [one.monotonic_s for one in sent]
        return max(at) - min(at) if at else 0.0

    async def start_nodes(self, nodes: Sequence[str]) -> None:
        """Start those of these that do not run; does not wait until they serve."""
        async with self._one_at_a_time:
            self._note_ends()
            for node in nodes:
                if node not in self._up:
                    self._wrote[node] = _size(self._known.log_path(node))
                    await self._beside(self._known.start_node, node, START_S, False)
                    self._up.add(node)

    async def stop_node(self, node: str) -> None:
        """Stop one in good order (SIGTERM). One that does not run is passed over."""
        async with self._one_at_a_time:
            self._note_ends()
            if node in self._up:
                self._up.discard(node)
                await self._beside(self._known.stop_node, node)
                self._judge_stop(node)

    async def pause(self, nodes: Sequence[str]) -> None:
        """SIGSTOP these: they keep their connections and say nothing."""
        async with self._one_at_a_time:
            for node in nodes:
                if self._known.state(node) == "running":
                    await self._beside(self._known.pause, node)

    async def resume(self, nodes: Sequence[str]) -> None:
        """SIGCONT those of these that are paused."""
        async with self._one_at_a_time:
            for node in nodes:
                if self._known.state(node) == "paused":
                    await self._beside(self._known.resume, node)

    # --- the machine ---

    async def lose_power(self, mode: str, seed: int) -> Mapping[str, Any]:
        """End every node at once, and leave of its data what a power cut would. Starts
        nothing."""
        shims = self._machine("power")
        async with self._one_at_a_time:
            killed = sorted(self._up)
            spread_s = await self._kill(self.nodes)
            data = {node: self._known.data_dir(node) for node in self.nodes}
            lost = await self._beside(shims.lose_power, data, mode, seed)
        return {"killed": killed, "spread_ms": round(1e3 * spread_s, 2), **lost}

    async def set_clock(self, node: str, offset_s: float) -> None:
        """Let a node's wall clock be off by so much; zero is right again."""
        self._machine("clock").set_clock(node, offset_s)

    def _machine(self, ability: str) -> Shims:
        if self._shims is None:
            _refuse(ability)
        return self._shims

    # --- what is known ---

    @property
    def cluster(self) -> LocalCluster:
        """The cluster itself, for what this control does not do. Raises ControlError
        before `start`."""
        return self._known

    def unexpected_ends(self) -> list[str]:
        """Nodes that ended and were not told to, each with how it ended and the last
        lines of its log. So may the links: then no finding is the cluster's fault."""
        self._note_ends()
        links = self._link_process
        if links is None or links.returncode is None:
            return list(self._ends)
        said = tail(self._folder / _LINKS_LOG, _LINES)
        return [*self._ends, f"the links ended {how(links.returncode)}\n{said}"]

    def log_path(self, node: str) -> Path | None:
        """What a node wrote; None before there is a cluster."""
        return None if self._cluster is None else self._cluster.log_path(node)

    @property
    def _known(self) -> LocalCluster:
        if self._cluster is None:
            raise ControlError("the cluster was not started yet")
        return self._cluster

    def _note_ends(self) -> None:
        for node in sorted(self._up):
            if self._known.state(node) == "stopped":
                self._up.discard(node)
                self._judge_end(node, self._known.returncode(node), None)

    def _judge_stop(self, node: str) -> None:
        """A node that serves stops in good order. One that was just started, and has not
        come so far as to heed signals, simply ends: it has done nothing yet."""
        returncode = self._known.returncode(node)
        with self._known.log_path(node).open("rb") as log:
            log.seek(self._wrote.get(node, 0))
            served = b'"event": "serving"' in log.read()
        young = returncode == -signal.SIGTERM and not served
        self._judge_end(node, returncode, returncode if young else 0)

    def _judge_end(self, node: str, returncode: int | None, meant: int | None) -> None:
        """Note how a node ended, unless just that was meant. None: no end was."""
        if meant is not None and returncode == meant:
            return
        said = self._known.logs(node, _LINES)
        self._ends.append(f"{node} ended {how(returncode)}\n{said}")

    async def _beside(self, call: Callable[..., _T], *args: Any) -> _T:
        """Run what blocks on a thread of the few there are for it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)


# --- somebody else's ----------------------------------------------------------------


class RemoteControl(_Asking):
    """A cluster that somebody else runs: it can be asked, and nothing else."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.nodes: tuple[str, ...] = tuple(sorted(addresses))
        self.addresses: Mapping[str, str] = dict(addresses)
        self.abilities: frozenset[str] = frozenset()
        self.links: Links = NoLinks()

    @classmethod
    async def find(cls, endpoints: str | Sequence[str]) -> Self:
        """The cluster at these addresses. A member is asked at the address that was given
        for it; members that none was given for, where the cluster says that they are.

        Raises ControlError if nobody answers, or they are of several clusters."""
        given = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
        given = [one.strip() for one in given if one.strip()]
        answers = await ask({one: one for one in given}, timeout=START_S / 10)
        found = {at: answer for at, answer in answers.items() if answer is not None}
        clusters = {answer.header.cluster_id for answer in found.values()}
        if len(clusters) != 1:
            names = ", ".join(sorted(clusters)) or "nobody answers"
            raise ControlError(f"no one cluster at {', '.join(given)}: {names}")
        told = {
            member.member_id: member.client_address
            for answer in found.values()
            for member in answer.members
            if member.client_address
        }
        return cls(told | {answer.header.member_id: at for at, answer in found.items()})

    async def start(self) -> None:
        """Wait until it serves: it is not ours to start."""
        if not await self.wait_serving(START_S):
            raise ControlError(f"the cluster of {', '.join(self.nodes)} does not serve")

    async def stop(self) -> None:
        """It goes on: it is not ours to stop."""

    async def kill(self, nodes: Sequence[str]) -> None:
        """Refused."""
        _refuse("processes")

    async def start_nodes(self, nodes: Sequence[str]) -> None:
        """Refused."""
        _refuse("processes")

    async def stop_node(self, node: str) -> None:
        """Refused."""
        _refuse("processes")

    async def pause(self, nodes: Sequence[str]) -> None:
        """Refused."""
        _refuse("processes")

    async def resume(self, nodes: Sequence[str]) -> None:
        """Refused."""
        _refuse("processes")

    async def lose_power(self, mode: str, seed: int) -> Mapping[str, Any]:
        """Refused."""
        _refuse("power")

    async def set_clock(self, node: str, offset_s: float) -> None:
        """Refused."""
        _refuse("clock")

    def unexpected_ends(self) -> list[str]:
        """Its processes are not seen from here."""
        return []

    def log_path(self, node: str) -> Path | None:
        """Its logs are not seen from here."""
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
