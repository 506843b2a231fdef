"""Stock PySyncObj 0.3.17 on a table: several nodes in one process, links that a test works
by hand, and a clock that only a test moves. Nothing of the class is changed.

    cluster = StockCluster("abc", calm=True)
    cluster.elect("a")
    answer = cluster.write("a", "key", "value")
    cluster.run(1.0, until=lambda: answer.done)

The clock stands where the class looks for one (see `virtual_time`, which a fixture of this
folder sets up for each test), messages are copied as if a socket had carried them, and
each directed link is a queue: in order, and lossless unless a test says otherwise.
"""

from __future__ import annotations

import pickle
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysyncobj.syncobj as upstream
from pysyncobj.config import FAIL_REASON, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import SyncObj, replicated
from pysyncobj.transport import Transport

from tests.consensus.gaps.links import Links

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
ROLES = {FOLLOWER: "follower", CANDIDATE: "candidate", LEADER: "leader"}
REASONS = {value: name for name, value in vars(FAIL_REASON).items() if name.isupper()}
KINDS = {1: "no-op", 2: "membership", 3: "version"}

Message = dict[str, Any]


class Clock:
    """Virtual seconds. With `step`, each look at the clock takes that long: some loops of
    the class only end when time passes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0

    def __call__(self) -> float:
        """What the time is."""
        self.now += self.step
        return self.now


CLOCK = Clock()
_clusters: list[StockCluster] = []


@contextmanager
def virtual_time() -> Iterator[Clock]:
    """Put the class on the virtual clock and seeded randomness, and back again."""
    real_clock, real_random = upstream.monotonicTime, random.getstate()
    CLOCK.now, CLOCK.step = 1000.0, 0.0
    upstream.monotonicTime = CLOCK
    random.seed(1)
    try:
        yield CLOCK
    finally:
        upstream.monotonicTime = real_clock
        random.setstate(real_random)
        while _clusters:
            _clusters.pop().close()


class StockNode(Node):  # type: ignore[misc]  # pysyncobj is untyped
    """A node whose hash is the same in each process: sets of nodes iterate alike."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class Answer:
    """What a caller of the stock class is told: a callback that keeps count."""

    def __init__(self) -> None:
        self.results: list[tuple[object, str]] = []

    def __call__(self, result: object, error: int | str) -> None:
        """The callback itself."""
        self.results.append((result, REASONS.get(error, str(error))))

    @property
    def done(self) -> bool:
        """Whether anything was answered."""
        return bool(self.results)

    @property
    def succeeded(self) -> bool:
        """Whether the caller was told, once, that its command is done."""
        return [reason for _, reason in self.results] == ["SUCCESS"]


class KeyValue(SyncObj):  # type: ignore[misc]  # pysyncobj is untyped
    """The least that shows divergence: a map, a counter and the order of application."""

    def __init__(self, me: str, others: Iterable[str], transport: Transport, **conf: Any):
        SyncObj.__init__(
            self,
            StockNode(me),
            [StockNode(other) for other in others],
            SyncObjConf(**conf),
            nodeClass=StockNode,
            transport=transport,
        )
        self.data: dict[str, Any] = {}
        self.history: list[tuple[str, Any]] = []

    @replicated  # type: ignore[untyped-decorator]
    def set(self, key: str, value: Any) -> Any:
        """Set a key."""
        self.data[key] = value
        self.history.append((key, value))
        return value

    @replicated  # type: ignore[untyped-decorator]
    def increment(self, key: str) -> int:
        """Count: who applies it twice shows."""
        self.data[key] = int(self.data.get(key, 0)) + 1
        return int(self.data[key])


class _Wire(Transport):  # type: ignore[misc]  # pysyncobj is untyped
    """One node's end of all its links."""

    def __init__(self, cluster: StockCluster, me: str) -> None:
        super().__init__(None, None, None)
        self._cluster, self._me = cluster, me

    def send(self, node: Node, message: Message) -> bool:
        """Put a copy on the link."""
        self._cluster.post(self._me, node.id, message)
        return True

    def addNode(self, node: Node) -> None:  # noqa: N802
        """A member was added: connected at once."""
        self._onNodeConnected(node)

    def dropNode(self, node: Node) -> None:  # noqa: N802
        """A member was removed."""
        self._onNodeDisconnected(node)


class StockCluster(Links[Message]):
    """Stock nodes, their links and their files.

    `journals` is a folder for each node's journal and dump (memory only if None). `conf`
    goes to SyncObjConf. With `calm`, no election timer fires but by `campaign` and `elect`.
    See `Links` for what a test may do to the network.
    """

    def __init__(
        self,
        ids: Iterable[str] = "abc",
        *,
        journals: Path | None = None,
        conf: Mapping[str, Any] | None = None,
        make: Callable[..., Any] = KeyValue,
        calm: bool = False,
    ) -> None:
        super().__init__()
        self.ids = list(ids)
        self.clock = CLOCK
        self.calm = calm
        self.make = make
        self.nodes: dict[str, Any] = {}
        self._journals = journals
        self._conf = dict(conf or {})
        self._wires: dict[str, _Wire] = {}
        _clusters.append(self)
        for member in self.ids:
            self.start(member)

    # --- nodes ----------------------------------------------------------------

    def start(
        self,
        member: str,
        *,
        others: Iterable[str] | None = None,
        connect: bool = True,
        **conf: Any,
    ) -> Any:
        """Start a node, or start it again: what it remembers is what its files hold.
        `others` are whom its command line names: everybody else if None."""
        settings = {
            "autoTick": False,
            "useFork": False,
            "pollerType": "poll",
            "logCompactionMinTime": 10**9,
            "logCompactionMinEntries": 10**9,
            **self._files(member),
            **self._conf,
            **conf,
        }
        named = [other for other in self.ids if other != member] if others is None else others
        wire = self._wires[member] = _Wire(self, member)
        self.nodes[member] = self.make(member, list(named), wire, **settings)
        if connect:
            for other in self.ids:
                if other != member:
                    self.connect(member, other)
        if member not in self.ids:
            self.ids.append(member)
        return self.nodes[member]

    def _files(self, member: str) -> dict[str, str]:
        if self._journals is None:
            return {}
        return {
            "journalFile": str(self._journals / f"{member}.journal"),
            "fullDumpFile": str(self._journals / f"{member}.dump"),
        }

    def crash(self, member: str) -> None:
        """The process ends: what it sent or was about to read is lost, its files stay."""
        _let_go(self.nodes.pop(member))
        del self._wires[member]
        self.lose(member)

    def close(self) -> None:
        """Let go of all files."""
        for member in list(self.nodes):
            self.crash(member)

    def connect(self, member: str, other: str) -> None:
        """A node is told that another can be reached."""
        self._wires[member]._onNodeConnected(StockNode(other))

    def disconnect(self, member: str, other: str) -> None:
        """A node is told that another cannot be reached."""
        self._wires[member]._onNodeDisconnected(StockNode(other))

    # --- what links and clock ask -----------------------------------------------

    def copy(self, message: Message) -> Message:
        """A message as it comes out of a socket."""
        copied: Message = pickle.loads(pickle.dumps(message))
        return copied

    def receive(self, sender: str, peer: str, message: Message) -> None:
        """Let a node take in a message; nothing happens if it is down."""
        if peer in self._wires:
            self._wires[peer]._onMessageReceived(StockNode(sender), message)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    def up(self) -> list[str]:
        """Nodes whose process runs."""
        return list(self.nodes)

    def step(self, member: str) -> None:
        """One tick of a node."""
        if self.calm:
            put(self.nodes[member], "raftElectionDeadline", float("inf"))
        self.nodes[member].doTick(0)

    # --- elections ------------------------------------------------------------

    def campaign(self, member: str) -> None:
        """A node's election timer fires: its vote requests are on the links."""
        node = self.nodes[member]
        put(node, "raftElectionDeadline", -1.0)
        node.doTick(0)

    def elect(self, member: str, settle: int = 4) -> Any:
        """A node's timer fires and it wins; then `settle` ticks."""
        self.campaign(member)
        self.pump()
        assert self.role(member) == "leader", f"{member} is {self.role(member)}"
        for _ in range(settle):
            self.tick()
        return self.nodes[member]

    def role(self, member: str) -> str:
        """follower, candidate or leader, as the node believes."""
        return ROLES[get(self.nodes[member], "raftState")]

    def leaders(self) -> list[str]:
        """Everybody who believes to lead."""
        return [member for member in self.nodes if self.role(member) == "leader"]

    def leader(self) -> str | None:
        """Who leads the latest term, if anybody believes to lead."""
        return max(
            self.leaders(),
            key=lambda member: int(self.nodes[member].raftCurrentTerm),
            default=None,
        )

    # --- commands and what became of them ---------------------------------------

    def write(self, member: str, key: str, value: Any = True) -> Answer:
        """Call `set` on a node; what it answers."""
        answer = Answer()
        self.nodes[member].set(key, value, callback=answer)
        return answer

    def entries(self, member: str) -> list[tuple[int, int, Any]]:
        """A node's log: (index, term, arguments of the command or its kind)."""
        return [
            (index, term, _meaning(command))
            for command, index, term in get(self.nodes[member], "raftLog")[:]
        ]

    def end(self, member: str) -> int:
        """The last index in a node's log."""
        return self.entries(member)[-1][0]

    def holders(self, key: str) -> list[str]:
        """Whose state holds a key."""
        return [member for member in sorted(self.nodes) if key in self.nodes[member].data]


def get(node: Any, name: str) -> Any:
    """A private attribute of the stock class."""
    return getattr(node, f"_SyncObj__{name}")


def put(node: Any, name: str, value: Any) -> None:
    """Set a private attribute of the stock class."""
    setattr(node, f"_SyncObj__{name}", value)


def _meaning(command: bytes) -> Any:
    if command[0] in KINDS:
        return KINDS[command[0]]
    call = pickle.loads(command[1:])
    return call[1] if isinstance(call, tuple) else call


def _let_go(node: Any) -> None:
    """Close the files that a node holds, as the end of a process does."""
    get(node, "raftLog")._destroy()
    serializer = get(node, "serializer")
    for transmission in serializer._Serializer__transmissions.values():
        if "file" in transmission:
            transmission["file"].close()
    incoming = serializer._Serializer__incomingTransmissionFile
    if incoming is not None and not isinstance(incoming, bytes):
        incoming.close()
