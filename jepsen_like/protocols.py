"""Where the layers meet. Each is a protocol of a few methods, and knows the others by it.

generator      what to do next: a value, pure
interpreter    asks the generator, lets clients and the nemesis do it, writes history
client         does one operation against the cluster, and says how it ended
package        a kind of harm: when, what, how it is undone, how one sees it took effect
control        owns processes, links and disks of a cluster under test
workload       generator, clients and checker of one promise
checker        record of a run in, verdict out
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from jepsen_like.checkers.history import Operation
from jepsen_like.history import Event

# --- what to do ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Op:
    """Something to be done. A generator that does not care leaves `thread` and `time`
    out: then any free thread does it, at once."""

    workload: str
    f: str
    key: str = ""
    value: Any = None
    thread: str | None = None
    time: float | None = None


class Pending:
    """What a generator says that has something to do, but not now."""


PENDING: Final = Pending()


@dataclass(frozen=True, slots=True)
class Context:
    """What a generator may know: the time in seconds since the run began, all threads it
    speaks for, and which of them are free. A thread is named "workload/number"; the
    nemesis is the thread "nemesis"."""

    time: float
    threads: tuple[str, ...]
    free: frozenset[str]


class Generator(Protocol):
    """A value that says what to do. Nothing here waits, draws or remembers by itself:
    whatever changes is in the next generator."""

    def op(self, context: Context) -> tuple[Op, Generator] | Pending | None:
        """The next thing to do and the generator after it; PENDING; or None at the end."""
        ...

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        """The generator after an event of one of its threads."""
        ...


# --- doing it ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """How an operation ended: `ok` it happened, `fail` it did not and never will, `info`
    nobody knows. See `history.Event` for the rest."""

    type: Literal["ok", "fail", "info"]
    value: Any = None
    revision: int = 0
    node: str = ""
    error: str = ""


class Client(Protocol):
    """One thread's connection. Opening it must not change what the cluster holds."""

    async def open(self) -> None: ...

    async def invoke(self, op: Op) -> Done:
        """Do it. Raises only what is a defect of the client; that counts as `info`."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Site:
    """What clients know of a run: member ids and their API addresses, a prefix for the
    names of agents that no other run uses, the seed, and the run's folder."""

    addresses: Mapping[str, str]
    prefix: str
    seed: int
    folder: Path

    @property
    def nodes(self) -> tuple[str, ...]:
        """The members' ids, in order."""
        return tuple(sorted(self.addresses))

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every member's API address, in the order of `nodes`."""
        return tuple(self.addresses[node] for node in self.nodes)


# --- breaking it ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """One harm: its kind ("kill-leader"), how long it lasts in seconds, and what else was
    drawn for it. Targets are named by intent, and found when it begins."""

    kind: str
    seconds: float
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one member said of itself at one time; `answered` is whether it did.

    `connected` are the members that it can send to; `uptime_ms` counts from its start, and
    `wall_time_ms` is its wall clock (milliseconds since 1970); `state_found` says how it
    found its state when it started."""

    time: float
    node: str
    answered: bool
    role: str = ""  # follower, candidate, leader
    leader: str = ""
    ready: bool = False
    term: int = 0
    revision: int = 0
    commit_index: int = 0
    applied_index: int = 0
    first_index: int = 0
    last_index: int = 0
    state_hash: str = ""
    connected: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    snapshots_taken: int = 0
    snapshots_installed: int = 0
    elections_started: int = 0
    uptime_ms: int = 0
    wall_time_ms: int = 0
    state_found: str = ""

    @property
    def started(self) -> float:
        """When the process that answered was started, in the time of the run."""
        return self.time - self.uptime_ms / 1_000


@dataclass(frozen=True, slots=True)
class Window:
    """One fault as it happened: what was drawn, from when to when, what the nemesis did at
    its begin and end, and the samples from a little before to a little after, by time."""

    fault: Fault
    began: float
    ended: float
    begun: Any
    undone: Any
    samples: Sequence[Sample]
    nodes: tuple[str, ...]


class Package(Protocol):
    """One family of harm, all that belongs to it in one place."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...

    @property
    def needs(self) -> frozenset[str]:
        """Of `Control.abilities`; and "clients": some in processes of their own."""
        ...

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """A fault of that kind, from the draws alone: same draws, same fault."""
        ...

    async def begin(self, fault: Fault) -> Any:
        """Do it; the answer (for JSON) says to whom, and whatever `evidence` needs."""
        ...

    async def end(self, fault: Fault) -> Any:
        """Undo it."""
        ...

    async def heal(self) -> None:
        """Undo whatever of it is still there. Harmless if there is nothing."""
        ...

    def evidence(self, window: Window) -> str | None:
        """What the cluster itself said that shows that the fault took effect, in a
        sentence with figures; None if nothing does. A pure function of the window."""
        ...


class Links(Protocol):
    """The directed links between members; each can be harmed alone."""

    async def cut(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Connections of these (from, to) end, and no new one is made."""
        ...

    async def half_open(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Connections of these stay, or are taken; nothing that is sent arrives."""
        ...

    async def slow(
        self, pairs: Sequence[tuple[str, str]], delay_s: float, bytes_per_s: int = 0
    ) -> None:
        """What is sent arrives so much later, in order; and no faster than that, if a rate
        is given."""
        ...

    async def flaky(self, pairs: Sequence[tuple[str, str]], every_s: float, seed: int) -> None:
        """Connections of these are cut and let back again, on average so often."""
        ...

    async def mend(self, pairs: Sequence[tuple[str, str]] | None = None) -> None:
        """These (default: all) are links like any other again."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """What the links did so far: connections, bytes, cuts, by name."""
        ...


class Control(Protocol):
    """A cluster under test, as its owner handles it. `abilities` says which of the rest
    may be called: "processes", "links", "power", "clock". Everything here may be called
    from the event loop; whatever blocks runs beside it."""

    nodes: tuple[str, ...]
    addresses: Mapping[str, str]  # of the API, by node
    abilities: frozenset[str]
    links: Links

    async def start(self) -> None:
        """Start all nodes that do not run, and wait until the cluster serves."""
        ...

    async def stop(self) -> None: ...

    async def kill(self, nodes: Sequence[str]) -> None:
        """SIGKILL all of these at once, and wait until they are gone."""
        ...

    async def start_nodes(self, nodes: Sequence[str]) -> None:
        """Start those of these that do not run; does not wait until they serve."""
        ...

    async def stop_node(self, node: str) -> None:
        """Stop one in good order (SIGTERM)."""
        ...

    async def pause(self, nodes: Sequence[str]) -> None: ...

    async def resume(self, nodes: Sequence[str]) -> None: ...

    async def lose_power(self, mode: str, seed: int) -> Mapping[str, Any]:
        """SIGKILL every node at once; of what was not synced keep what `mode` says
        ("drop": nothing, "some": some pages, "torn": pages in part), drawn from the seed;
        give the machine a new boot id. The answer counts what was lost. Starts nothing."""
        ...

    async def set_clock(self, node: str, offset_s: float) -> None:
        """Let a node's wall clock be off by so much; zero is right again."""
        ...

    async def leader(self) -> str | None:
        """Who leads and is ready, by the highest term; None if nobody is."""
        ...

    async def wait_serving(self, timeout: float) -> bool:
        """Whether every node serves within so many seconds."""
        ...

    def unexpected_ends(self) -> list[str]:
        """Nodes that ended and were not told to, each with how it ended and the last
        lines of its log."""
        ...

    def log_path(self, node: str) -> Path | None:
        """What a node wrote, if it can be read here."""
        ...


# How long an ownership outlives its holder's last word, in seconds: who is to be overtaken
# has to be stopped for longer.
OWNER_TTL_S: Final = 2.0
# So many revisions of history are kept by the clusters that the harness starts: few, so that
# watches and reads of the past meet what is compacted.
KEEP_REVISIONS: Final = 2_000

# --- judging it ----------------------------------------------------------------

Validity = Literal["valid", "unknown", "invalid"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, to be drawn: the operations around it in the order in which
    they began, which of them the longest explanation holds, in its order, and the one that
    finds no place after it (indexes of `operations`)."""

    workload: str
    key: str
    text: str
    operations: tuple[Operation, ...] = ()
    longest: tuple[int, ...] = ()
    stuck: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checker found. `complaints` are all it has to say against the run (the first
    ones, if there are very many); a run that shows nothing is `unknown`, never `valid`."""

    name: str
    validity: Validity
    summary: str
    complaints: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event of the committed log, as read from the cluster after the heal. `data` is
    its payload as text."""

    stream: str
    seq: int
    position: int
    revision: int
    step: int
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Record:
    """All that a run left behind, and all that a checker may know. `phases` names when
    each phase began: warm-up, faults, heal, quiet, final; `end` is when it was over.
    `ends` are `Control.unexpected_ends`; `logs` are the files that the nodes wrote."""

    nodes: tuple[str, ...]
    workloads: tuple[str, ...]
    nemeses: tuple[str, ...]
    seed: int
    phases: Mapping[str, float]
    events: Sequence[Event]
    samples: Sequence[Sample]
    log: Sequence[LoggedEvent]
    ends: Sequence[str] = ()
    logs: Mapping[str, Path] = field(default_factory=dict)
    # Whether it is somebody else's cluster, of which no process and no log is seen.
    remote: bool = False
    # Nemeses that were asked for and could not be had here.
    left_out: tuple[str, ...] = ()
    # How the interpreter fared (interpreter.Tally), for JSON.
    tally: Mapping[str, Any] = field(default_factory=dict)
    # What a workload noted beside the history (an outside resource, say), by workload.
    notes: Mapping[str, Any] = field(default_factory=dict)


class Setting(Protocol):
    """What stands beside a workload's clients while it runs, such as an outside resource."""

    def note(self) -> Any:
        """What to keep of it in `Record.notes`, for JSON."""
        ...

    def processes(self) -> Sequence[int]:
        """The process ids of clients that run in processes of their own."""
        ...

    def ripe(self) -> bool:
        """Whether one of these would be overtaken by another, if it were stopped now."""
        ...


@dataclass(frozen=True, slots=True)
class Workload:
    """One promise under test. Operations carry its name; its threads are "name/0" to
    "name/threads-1". `generator(seed)` goes on for ever and is throttled to `rate`
    operations a second over all its threads; `final(seed, nodes)` is what is asked after
    the heal, and ends."""

    name: str
    threads: int
    rate: float
    client: Callable[[Site, int], Client]
    generator: Callable[[int], Generator]
    final: Callable[[int, tuple[str, ...]], Generator]
    check: Callable[[Record], list[Verdict]]
    setting: Callable[[Site], AbstractAsyncContextManager[Setting]] | None = None
    limit_s: float = 10.0  # what is not over by then has an unknown outcome
