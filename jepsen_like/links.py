"""A proxy on each directed link between members, so that each can be harmed alone.

A member dials every other and only sends on what it dialled, so what arrives on the link
(n1, n2) is what n1 says to n2. Each link has a port on loopback; n1 is told to reach n2
there. No root is needed, and no firewall.

All links live in one process of their own (`python -m jepsen_like.links`), so that a busy
harness does not delay the cluster. It takes JSON lines on its standard input, answers each
with one on its standard output, and ends when its input ends:

    {"id": 1, "do": "listen", "pairs": [["n1", "n2"]]}    {"id": 1, "ports": [31001]}
    {"id": 2, "do": "lead", "targets": {"n2": "127.0.0.1:7422"}}
    {"id": 3, "do": "cut", "pairs": [["n1", "n2"]]}       half_open, slow, flaky, mend, too
    {"id": 4, "do": "counts"}                             {"id": 4, "counts": {"bytes": 8126}}

`LinkProcess` is the other side of that: `protocols.Links` for the harness.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

Pair = tuple[str, str]

LOOPBACK: Final = "127.0.0.1"
_HOME: Final = str(Path(__file__).resolve().parents[1])
START_S: Final = 30.0
ANSWER_S: Final = 5.0
_DIAL_S: Final = 2.0
_READ_BYTES: Final = 256 << 10
# What a connection keeps of what is not due yet; beyond it the sender has to wait.
_HELD_BYTES_MAX: Final = 1 << 20
_CONNECTIONS_MAX: Final = 64
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
# A delay varies by so much of itself, to both sides: 75 ms are 25 to 125.
_JITTER: Final = 2 / 3
# A link with a rate is read in pieces of so many seconds.
_PIECE_S: Final = 0.05


class LinksError(Exception):
    """The links' process refused a command, did not answer, or is gone."""


# --- in the links' process -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """How a link treats what is sent on it: `open`, `cut` or `half` open. An open one may
    delay, and have a rate."""

    way: str = "open"
    delay_s: float = 0.0
    bytes_per_s: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether bytes go through untouched."""
        return self.way == "open" and not self.delay_s and not self.bytes_per_s


_OPEN: Final = Rule()
_CUT: Final = Rule("cut")
_HALF: Final = Rule("half")
# One buffer for everything: what is read is written, or copied, before the next read.
_BUFFER: Final = memoryview(bytearray(_READ_BYTES))


class Connection:
    """One connection over a link: `near` was dialled by the sender, `far` leads on."""

    def __init__(self, link: Link, near: socket.socket) -> None:
        self._link = link
        self._near = near
        self._far: socket.socket | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reads = False
        self._near_ended = False
        self._closed = False
        near.setblocking(False)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ruled(self) -> None:
        """Go by the link's rule as it is now: it was changed, or this is new."""
        if self._link.rule.way == "half":
            self._read(False)
            self._stop_timer()
            if self._far is not None:
                self._link.loop.remove_writer(self._far)
        elif self._far is not None:
            self._pump()
        elif self._dialling is None:
            self._dialling = self._link.loop.create_task(self._dial())

    async def _dial(self) -> None:
        """Lead the connection on. Whoever cannot be reached is so for the sender too."""
        assert self._link.target is not None, "no connection is taken before there is one"
        far = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            far.setblocking(False)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(_DIAL_S):
                await self._link.loop.sock_connect(far, self._link.target)
        except OSError:  # a timeout is one too
            far.close()
            self.reset()
            return
        except asyncio.CancelledError:
            far.close()
            raise
        self._far, self._dialling = far, None
        self._link.loop.add_reader(far, self._from_far)
        self.ruled()

    # --- there ---------------------------------------------------------------------

    def _from_near(self) -> None:
        rule = self._link.rule
        size = _READ_BYTES
        if rule.bytes_per_s:
            size = min(size, max(1024, int(rule.bytes_per_s * _PIECE_S)))
        try:
            count = self._near.recv_into(_BUFFER, size)
        except BlockingIOError:
            return
        except OSError:
            self.reset()
            return
        if not count:
            self._near_ended = True
            self._read(False)
            self._pump()
            return
        self._link.counts["bytes"] += count
        sent = 0
        if rule.is_plain and not self._held:
            sent = self._send(_BUFFER[:count])
        if sent < count and not self._closed:
            self._hold(bytes(_BUFFER[sent:count]))

    def _send(self, data: memoryview | bytes) -> int:
        """Send what the socket takes at once; how much that was."""
        assert self._far is not None
        try:
            return self._far.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.reset()
            return 0

    def _hold(self, data: bytes) -> None:
        """Keep what may not leave yet, or what the socket did not take."""
        self._held.append((self._link.due(len(data)), data))
        self._held_bytes += len(data)
        self._pump()

    def _pump(self) -> None:
        """Send what is due, in order, and see to it that the rest follows. Only the first
        is looked at: what was drawn a shorter delay waits for what came before it."""
        loop, far = self._link.loop, self._far
        if self._closed or far is None or self._link.rule.way == "half":
            return
        self._stop_timer()
        plain, full = self._link.rule.is_plain, False
        while self._held and (plain or self._held[0][0] <= loop.time()):
            due, data = self._held.popleft()
            sent = self._send(data)
            if self._closed:
                return
            self._held_bytes -= sent
            if sent < len(data):
                self._held.appendleft((due, data[sent:]))
                full = True
                break
        if full:
            loop.add_writer(far, self._pump)
        else:
            loop.remove_writer(far)
            if self._held:
                self._timer = loop.call_at(self._held[0][0], self._pump)
            elif self._near_ended:
                self.close()
                return
        self._read(not self._near_ended and self._held_bytes <= _HELD_BYTES_MAX)

    def _read(self, wanted: bool) -> None:
        if wanted and not self._reads:
            self._link.loop.add_reader(self._near, self._from_near)
        elif self._reads and not wanted:
            self._link.loop.remove_reader(self._near)
        self._reads = wanted

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- and back --------------------------------------------------------------------

    def _from_far(self) -> None:
        """A receiver says nothing but that it ends; what else comes is passed on, as far
        as the sender takes it at once."""
        assert self._far is not None
        try:
            data = self._far.recv(4096)
            if data and self._near.send(data) == len(data):
                return
        except BlockingIOError:
            return
        except OSError:
            self.reset()
            return
        self.close()

    # --- the end -----------------------------------------------------------------------

    def reset(self) -> None:
        """End it as a broken network does: what was under way is lost."""
        for one in (self._near, self._far):
            if one is not None and one.fileno() >= 0:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """End it for both."""
        if self._closed:
            return
        self._closed = True
        self._stop_timer()
        self._read(False)
        if self._dialling is not None and self._dialling is not asyncio.current_task():
            self._dialling.cancel()
        if self._far is not None:
            self._link.loop.remove_reader(self._far)
            self._link.loop.remove_writer(self._far)
            self._far.close()
        self._near.close()
        self._link.connections.discard(self)


class Link:
    """One directed link: its port, its rule, and its connections."""

    def __init__(self, pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
        self.pair = pair
        self.loop = loop
        self.rule = _OPEN
        self.target: tuple[str, int] | None = None
        self.connections: set[Connection] = set()
        self.counts: Counter[str] = Counter()
        self._jitter = random.Random("/".join(pair))
        self._free_at = 0.0
        self._flapping: asyncio.Task[None] | None = None
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self._listen()

    def obey(self, rule: Rule) -> None:
        """Go by another rule from now on."""
        self._stop_flapping()
        self._apply(rule)

    def flap(self, every_s: float, seed: int) -> None:
        """Cut it and let it back again, on average so often."""
        self._stop_flapping()
        self._apply(_OPEN)
        draws = random.Random(f"{seed}/{'/'.join(self.pair)}")
        self._flapping = self.loop.create_task(self._flap(every_s, draws))

    def due(self, size: int) -> float:
        """When so many bytes, sent now, may arrive."""
        now, rule = self.loop.time(), self.rule
        due = now + rule.delay_s * self._jitter.uniform(1 - _JITTER, 1 + _JITTER)
        if rule.bytes_per_s:
            self._free_at = max(now, self._free_at) + size / rule.bytes_per_s
            due = max(due, self._free_at)
        return due

    def close(self) -> None:
        """End the link and all that is on it."""
        self._stop_flapping()
        self._drop_all()
        self.loop.remove_reader(self._listener)
        self._listener.close()

    def _apply(self, rule: Rule) -> None:
        before, self.rule = self.rule, rule
        if rule.way == "cut":
            if before.way != "cut":
                self.counts["cuts"] += 1
                self._refuse()
            self._drop_all()
            return
        if before.way == "cut":
            self._listen()
        for connection in list(self.connections):
            connection.ruled()

    async def _flap(self, every_s: float, draws: random.Random) -> None:
        while True:
            await asyncio.sleep(every_s * draws.uniform(0.25, 0.75))
            self._apply(_CUT)
            await asyncio.sleep(every_s * draws.uniform(0.25, 0.75))
            self._apply(_OPEN)

    def _stop_flapping(self) -> None:
        if self._flapping is not None:
            self._flapping.cancel()
            self._flapping = None

    def _listen(self) -> None:
        self._listener.listen(_CONNECTIONS_MAX)
        self.loop.add_reader(self._listener, self._accept)

    def _refuse(self) -> None:
        """Have the system refuse connections, and keep the port: a second socket takes it
        over, that does not listen."""
        self.loop.remove_reader(self._listener)
        successor = _bound(self.port)
        self._listener.close()
        self._listener = successor

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except BlockingIOError:
            return  # it has gone again
        self.counts["connections"] += 1
        connection = Connection(self, near)
        self.connections.add(connection)
        if self.target is None or len(self.connections) > _CONNECTIONS_MAX:
            connection.reset()
            return
        if self.rule.way == "half":
            self.counts["held"] += 1
        connection.ruled()

    def _drop_all(self) -> None:
        self.counts["reset"] += len(self.connections)
        for connection in list(self.connections):
            connection.reset()


def _bound(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((LOOPBACK, port))
    return one


class Host:
    """All links of a cluster, and the commands for them."""

    def __init__(self) -> None:
        self._links: dict[Pair, Link] = {}

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command; the answer to it."""
        name = command["do"]
        if name == "listen":
            return {"ports": [self._add(first, second) for first, second in command["pairs"]]}
        if name == "lead":
            for link in self._links.values():
                host, _, port = command["targets"][link.pair[1]].rpartition(":")
                link.target = (host, int(port))
            return {}
        if name == "counts":
            total: Counter[str] = Counter()
            for link in self._links.values():
                total.update(link.counts)
            return {"counts": dict(total)}
        chosen = self._chosen(command.get("pairs"))
        if name == "flaky":
            for link in chosen:
                link.flap(command["every_s"], command["seed"])
            return {}
        rule = _rule(command)
        for link in chosen:
            link.obey(rule)
        return {}

    def close(self) -> None:
        """End all links."""
        for link in self._links.values():
            link.close()

    def _add(self, first: str, second: str) -> int:
        pair = (first, second)
        if pair in self._links:
            raise ValueError(f"there is a link {first} to {second} already")
        link = self._links[pair] = Link(pair, asyncio.get_running_loop())
        return link.port

    def _chosen(self, pairs: Sequence[Sequence[str]] | None) -> list[Link]:
        if pairs is None:
            return list(self._links.values())
        wanted = [(first, second) for first, second in pairs]
        unknown = [pair for pair in wanted if pair not in self._links]
        if unknown:
            raise ValueError(f"there are no links {unknown}")
        return [self._links[pair] for pair in wanted]


def _rule(command: Mapping[str, Any]) -> Rule:
    match command["do"]:
        case "cut":
            return _CUT
        case "half_open":
            return _HALF
        case "slow":
            return Rule("open", float(command["delay_s"]), int(command["bytes_per_s"]))
        case "mend":
            return _OPEN
        case other:
            raise ValueError(f"{other!r} is no command")


async def serve(commands: IO[bytes], answers: IO[bytes]) -> None:
    """Carry out commands until there are no more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), commands
    )
    host = Host()
    try:
        while line := await reader.readline():
            command = json.loads(line)
            try:
                answer = host.do(command)
            except (ValueError, KeyError, TypeError, OSError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps({"id": command["id"], **answer}).encode() + b"\n")
            answers.flush()
    except BrokenPipeError:
        pass  # whoever asked is gone: so are its commands
    finally:
        host.close()
        transport.close()


# --- in the harness ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Harm:
    """What was done to some links and is not undone."""

    pairs: frozenset[Pair]
    name: str
    arguments: Mapping[str, Any]


class LinkProcess:
    """The links of a cluster, in a process of their own; see `protocols.Links`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._one_at_a_time = asyncio.Lock()
        self._asked = 0
        self._harms: list[_Harm] = []  # the latest last
        self.ports: dict[Pair, int] = {}

    @classmethod
    async def start(cls, nodes: Sequence[str], log: Path) -> Self:
        """Start it, with a link from each of these to each other, that leads nowhere yet.
        What it has to complain about goes to `log`."""
        paths = [_HOME, os.environ.get("PYTHONPATH", "")]
        with log.open("ab") as complaints:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "jepsen_like.links"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                start_new_session=True,  # a Ctrl-C in the terminal is not for the cluster
            )
        made = cls(process)
        try:
            pairs = [(one, other) for one in nodes for other in nodes if one != other]
            answer = await made._ask("listen", patience=START_S, pairs=pairs)
            ports = answer["ports"]
            made.ports = dict(zip(pairs, ports, strict=True))
        except BaseException:
            await made.close()
            raise
        return made

    @property
    def pid(self) -> int:
        """The links' process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How the process ended, if it has."""
        return self._process.returncode

    @property
    def dial(self) -> dict[str, dict[str, str]]:
        """Where each node has to dial each other."""
        ways: dict[str, dict[str, str]] = {}
        for (sender, receiver), port in self.ports.items():
            ways.setdefault(sender, {})[receiver] = f"{LOOPBACK}:{port}"
        return ways

    async def lead(self, targets: Mapping[str, str]) -> None:
        """Let the links lead to the nodes' own addresses."""
        await self._ask("lead", targets=dict(targets))

    async def cut(self, pairs: Sequence[Pair]) -> None:
        """Connections of these are reset, and new ones are refused."""
        await self._harm(pairs, "cut")

    async def half_open(self, pairs: Sequence[Pair]) -> None:
        """Nothing is read any more from connections of these, and new ones lead nowhere.
        When that is over, what waited goes on its way, as after a break in a network."""
        await self._harm(pairs, "half_open")

    async def slow(self, pairs: Sequence[Pair], delay_s: float, bytes_per_s: int = 0) -> None:
        """What is sent arrives so much later, give or take two thirds, and in order."""
        await self._harm(pairs, "slow", delay_s=delay_s, bytes_per_s=bytes_per_s)

    async def flaky(self, pairs: Sequence[Pair], every_s: float, seed: int) -> None:
        """Each of these is cut about so often, and for about half of the time."""
        await self._harm(pairs, "flaky", every_s=every_s, seed=seed)

    async def mend(self, pairs: Sequence[Pair] | None = None) -> None:
        """These (default: all) are links like any other again.

        Two faults may want the same link. What was done to exactly these pairs is undone;
        what was done to some of them together with others stays, and shows again."""
        if pairs is None:
            self._harms = []
            await self._ask("mend", pairs=None)
            return
        wanted = frozenset(pairs)
        self._harms = [one for one in self._harms if one.pairs != wanted]
        held = frozenset().union(*(one.pairs for one in self._harms))
        await self._ask("mend", pairs=sorted(wanted - held))
        for harm in self._harms:
            if shown := sorted(harm.pairs & wanted):
                await self._ask(harm.name, pairs=shown, **harm.arguments)

    async def _harm(self, pairs: Sequence[Pair], name: str, **arguments: Any) -> None:
        await self._ask(name, pairs=pairs, **arguments)
        self._harms.append(_Harm(frozenset(pairs), name, arguments))

    async def counts(self) -> Mapping[str, int]:
        """Of all links: connections taken, held half open and reset, bytes, cuts."""
        counts: dict[str, int] = (await self._ask("counts"))["counts"]
        return counts

    async def close(self) -> None:
        """End the process, and with it every connection."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.wait_closed()
        try:
            await asyncio.wait_for(self._process.wait(), ANSWER_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _ask(
        self, name: str, patience: float = ANSWER_S, **arguments: Any
    ) -> dict[str, Any]:
        async with self._one_at_a_time:
            self._asked += 1
            command = {"do": name, "id": self._asked, **arguments}
            try:
                async with asyncio.timeout(patience):
                    answer = await self._exchange(command)
            except (ConnectionError, TimeoutError) as error:
                raise LinksError(f"{name}: {type(error).__name__}: {error}") from error
        if "error" in answer:
            raise LinksError(f"{name}: {answer['error']}")
        return answer

    async def _exchange(self, command: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        await stdin.drain()
        while line := await stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if answer["id"] == command["id"]:
                return answer
            # Else it is for a command whose asker was cancelled before it came.
        raise ConnectionResetError("the links' process has ended")


if __name__ == "__main__":
    asyncio.run(serve(sys.stdin.buffer, sys.stdout.buffer))
