"""A cluster of real nodes on this machine: for people, tests and demos.

Every node is a process of its own (`python -m raftstate serve`) on loopback, with a
folder of its own under the cluster's folder:

    DIR/cluster.json       the cluster's id, its members and their addresses
    DIR/n1/node.toml       what the node is told
    DIR/n1/data/           what it stores
    DIR/n1/node.log        what it says, appended over restarts
    DIR/n1/pid             its process, while there is one

The folder is all there is: any process may `LocalCluster.attach` to it and go on
where another left off. A pid file names the process and the moment it started, and
signals go through a pidfd, so that a number which the system has given to somebody
else since is never hit.

    with LocalCluster.create(folder, nodes=3) as cluster:   # starts; stops at the end
        cluster.kill(cluster.wait_leader())
        cluster.wait_leader(not_=...)

Waiting is for a condition, with a bound. What does not come up in time raises
`LocalClusterError` with the end of the log that says why. An answer counts only if it
comes from this folder's cluster: each has an id of its own, so that another one on the
same ports is not taken for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from raftstate import config as configuration
from raftstate.client import probe
from raftstate.v1.cluster_service_pb2 import ROLE_LEADER, StatusResponse

_T = TypeVar("_T")

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05
_TAIL_LINES = 20
_PORTS = ("api", "raft", "metrics")
# How far apart a node's ports are, if a base is given: api P, raft P + 10, metrics P + 20.
_PORT_STRIDE = 10
# Below where Linux takes ports for outgoing connections: a node that dials another must
# not happen to sit on the port that a third is about to listen on.
_FREE_PORTS = range(12_000, 32_000)


class LocalClusterError(Exception):
    """What was asked of a local cluster cannot be done, or did not happen in time."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member's name and addresses."""

    id: str
    api: str
    raft: str
    metrics: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal that was sent, for whoever keeps a record.

    `returncode` is the wait status as `subprocess` tells it (-9 after SIGKILL), or None
    where the process goes on or is no child of this one.
    """

    node: str
    pid: int
    signal: str
    monotonic_s: float
    returncode: int | None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node as seen from outside. `status` is None while it does not answer itself."""

    member: Member
    pid: int | None
    state: str  # running, paused, stopped
    status: StatusResponse | None


class LocalCluster:
    """N nodes on loopback. Make one with `create`, or `attach` to one by its folder."""

    def __init__(self, folder: Path, cluster_id: str, members: Sequence[Member]) -> None:
        self.folder = folder
        self.cluster_id = cluster_id
        self.members = {member.id: member for member in members}
        self._nodes = {member.id: _Node(folder / member.id, member) for member in members}

    # --- making and finding ----------------------------------------------------

    @classmethod
    def create(
        cls,
        folder: Path | str,
        nodes: int = 3,
        base_port: int | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        cluster_id: str | None = None,
        check_ports: bool = False,
    ) -> Self:
        """Lay out a new cluster in `folder`; nothing is started.

        Without `base_port`, free ports are found, and without `cluster_id` one is drawn.
        With `check_ports`, ports in use are refused already here. `overrides` go into every
        node's configuration: `{"snapshot": {"log_entries": 200}}`.
        """
        folder = Path(folder).absolute()
        if not Path("/proc/self/stat").exists():
            raise LocalClusterError("a local cluster needs Linux: there is no /proc here")
        if exists(folder):
            raise LocalClusterError(f"{folder} already holds a cluster; attach to it")
        members = _members(nodes, base_port)
        if check_ports:
            _check_free(
                (one.id, name, getattr(one, name)) for one in members for name in _PORTS
            )
        cluster_id = cluster_id or f"local-{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        cluster = cls(folder, cluster_id, members)
        for node in cluster._nodes.values():
            node.folder.mkdir(mode=0o700, exist_ok=True)
            node.config.write_text(_node_toml(cluster_id, members, node, overrides or {}))
            try:
                configuration.load(node.config, environment={})
            except configuration.ConfigError as error:
                raise LocalClusterError(str(error)) from error
        _write_whole(
            folder / "cluster.json",
            json.dumps(
                {"id": cluster_id, "members": [asdict(one) for one in members]}, indent=1
            ),
        )
        return cluster

    @classmethod
    def attach(cls, folder: Path | str) -> Self:
        """The cluster that lives in `folder`, running or not."""
        folder = Path(folder).absolute()
        try:
            document = json.loads((folder / "cluster.json").read_text())
            members = [Member(**row) for row in document["members"]]
            return cls(folder, document["id"], members)
        except FileNotFoundError:
            raise LocalClusterError(f"{folder} holds no cluster") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LocalClusterError(f"{folder / 'cluster.json'} is damaged: {error}") from error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoints(self) -> str:
        """What `raftstate.connect` takes: every node's API address."""
        return ",".join(member.api for member in self.members.values())

    # --- the whole cluster ------------------------------------------------------

    def start(self, timeout: float = START_TIMEOUT_S) -> None:
        """Start the nodes that do not run, and wait until the cluster serves.

        Nothing is started if an address is in use. If the cluster does not serve in time,
        what this call started is stopped again.
        """
        started: list[_Node] = []
        try:
            with self._locked():
                stopped = [one for one in self._nodes.values() if one.state() == "stopped"]
                _check_free([port for node in stopped for port in node.listens()])
                for node in stopped:
                    started.append(node)
                    node.spawn()
            self._wait_serving(list(self._nodes.values()), timeout)
        except BaseException:
            with self._locked():
                _end(started, timeout=STOP_TIMEOUT_S)
            raise

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Stop every node: SIGTERM, and SIGKILL for what is still there after `timeout`."""
        with self._locked():
            _end(list(self._nodes.values()), timeout)

    # --- one node ----------------------------------------------------------------

    def start_node(self, name: str, timeout: float = START_TIMEOUT_S, wait: bool = True) -> int:
        """Start one node, wait until it serves, and return its pid.

        Serving takes a quorum: start several with `wait=False`, then `wait_serving`.
        """
        node = self._node(name)
        with self._locked():
            if node.state() != "stopped":
                raise LocalClusterError(f"{name} already runs")
            _check_free(node.listens())
            pid = node.spawn()
        if wait:
            self._wait_serving([node], timeout)
        return pid

    def stop_node(self, name: str, timeout: float = STOP_TIMEOUT_S) -> None:
        """Stop one node in good order. Stopping one that does not run is no error."""
        with self._locked():
            _end([self._node(name)], timeout)

    def restart(self, name: str, timeout: float = START_TIMEOUT_S, wait: bool = True) -> int:
        """Stop one node if it runs, start it again, and return its new pid."""
        self.stop_node(name)
        return self.start_node(name, timeout, wait)

    def kill(self, name: str) -> Signalled:
        """SIGKILL one node, and wait until it is gone."""
        with self._locked():
            node = self._node(name)
            sent = node.signal(signal.SIGKILL)
            if not node.wait_gone(time.monotonic() + STOP_TIMEOUT_S):
                raise LocalClusterError(f"{name} (pid {sent.pid}) is still there after SIGKILL")
            return replace(sent, returncode=node.returncode(sent.pid))

    def pause(self, name: str) -> Signalled:
        """SIGSTOP one node: it keeps its connections and says nothing."""
        node = self._node(name)
        sent = node.signal(signal.SIGSTOP)
        node.wait_state("paused")
        return sent

    def resume(self, name: str) -> Signalled:
        """SIGCONT one node that was paused."""
        node = self._node(name)
        sent = node.signal(signal.SIGCONT)
        node.wait_state("running")
        return sent

    def pid(self, name: str) -> int | None:
        """The process of a node, or None while there is none."""
        return self._node(name).pid()

    def state(self, name: str) -> str:
        """Whether a node's process is `running`, `paused` or `stopped`."""
        return self._node(name).state()

    def data_dir(self, name: str) -> Path:
        """Where a node stores what it must not forget."""
        return self._node(name).data

    def log_path(self, name: str) -> Path:
        """The file that holds what a node said."""
        return self._node(name).log

    def logs(self, name: str, lines: int = _TAIL_LINES) -> str:
        """The last lines of what a node said."""
        return tail(self._node(name).log, lines)

    def _node(self, name: str) -> _Node:
        try:
            return self._nodes[name]
        except KeyError:
            known = ", ".join(self._nodes)
            raise LocalClusterError(f"there is no node {name!r}; there are {known}") from None

    # --- what the cluster says ------------------------------------------------------

    def status(self, timeout: float = 1.0) -> list[NodeReport]:
        """Every node as seen from outside, asked at the same time."""

        def ask(node: _Node) -> NodeReport:
            state = node.state()
            answer = None if state == "stopped" else self._ask(node, timeout)
            return NodeReport(node.member, node.pid(), state, answer)

        with ThreadPoolExecutor(len(self._nodes)) as pool:
            return list(pool.map(ask, self._nodes.values()))

    def _ask(self, node: _Node, timeout: float = 1.0) -> StatusResponse | None:
        """What a node says of itself; None if nobody or somebody else answers."""
        answer = probe.status(node.member.api, timeout)
        said = answer and (answer.header.cluster_id, answer.header.member_id)
        return answer if said == (self.cluster_id, node.member.id) else None

    def leader(self, timeout: float = 1.0) -> str | None:
        """The node that leads and is ready to serve, by the highest term; or None."""
        return leader_of(self.status(timeout))

    def wait_leader(self, timeout: float = START_TIMEOUT_S, not_: str | None = None) -> str:
        """Wait until a node leads that is not `not_`, and return its name."""

        def other_leader() -> str | None:
            found = self.leader()
            return None if found == not_ else found

        found = _poll(other_leader, timeout)
        if found is None:
            other = f" other than {not_}" if not_ else ""
            raise LocalClusterError(
                f"no leader{other} within {timeout:g} s\n{self._tails(self._nodes.values())}"
            )
        return found

    def wait_serving(self, *names: str, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until the named nodes (default: all) serve and a leader is ready."""
        self._wait_serving([self._node(name) for name in names or self._nodes], timeout)

    def _wait_serving(self, nodes: Sequence[_Node], timeout: float) -> None:
        waiting = list(nodes)

        def serving() -> bool:
            waiting[:] = [node for node in waiting if not self._serves(node)]
            led = not waiting and self.leader() is not None
            # Looked at last: whatever was answered, the processes must live to the end.
            for node in nodes:
                if node.state() == "stopped":
                    raise LocalClusterError(
                        f"{node.member.id} ended {_how(node.returncode())} while starting\n"
                        + self._tails([node])
                    )
            return led

        if not _poll(serving, timeout):
            late = ", ".join(node.member.id for node in waiting) or "a leader"
            raise LocalClusterError(
                f"{late} did not serve within {timeout:g} s\n{self._tails(waiting or nodes)}"
            )

    def _serves(self, node: _Node) -> bool:
        """Whether this very node, and no other at its address, says that it serves."""
        answer = self._ask(node) if probe.healthy(node.member.api) else None
        # Only with a committed entry can a new member take part in electing another leader.
        return answer is not None and answer.ready and answer.commit_index > 0

    def _tails(self, nodes: Iterable[_Node]) -> str:
        return "\n".join(
            f"--- the end of {node.log}\n{tail(node.log, _TAIL_LINES)}" for node in nodes
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time starts and ends nodes. The lock ends with its holder."""
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def exists(folder: Path | str) -> bool:
    """Whether a cluster was laid out in `folder`."""
    return (Path(folder) / "cluster.json").exists()


def leader_of(reports: Sequence[NodeReport]) -> str | None:
    """The member that leads and is ready, by the highest term; or None."""
    leaders = [
        (report.status.header.term, report.member.id)
        for report in reports
        if report.status and report.status.role == ROLE_LEADER and report.status.ready
    ]
    return max(leaders)[1] if leaders else None


def tail(path: Path, lines: int) -> str:
    """The last lines of a file; empty if there is none."""
    if lines <= 0 or not path.exists():
        return ""
    with path.open("rb") as file:
        # Far enough back for long lines, without reading a log of gigabytes.
        file.seek(max(0, path.stat().st_size - lines * 4_096))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


# --- one process -----------------------------------------------------------------


class _Node:
    """One node's files and its process, if it has one."""

    def __init__(self, folder: Path, member: Member) -> None:
        self.folder = folder
        self.member = member
        self.config = folder / "node.toml"
        self.data = folder / "data"
        self.log = folder / "node.log"
        self.pid_file = folder / "pid"
        # Ours only if this object started it; waited for, so that no zombie stays.
        self._child: subprocess.Popen[bytes] | None = None

    def listens(self) -> list[tuple[str, str, str]]:
        """What the process will listen on: (member, port's name, address)."""
        try:
            config = configuration.load(self.config, environment={})
        except configuration.ConfigError:
            return []  # the process itself says what is wrong, in its log and exit status
        listens = ((name, getattr(config, f"{name}_listen")) for name in _PORTS)
        return [(self.member.id, name, str(at)) for name, at in listens if at is not None]

    def spawn(self) -> int:
        """Start the process and note it. The caller knows that there is none."""
        self._forget()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "raftstate", "serve", "--config", str(self.config)],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
                start_new_session=True,  # a Ctrl-C in the terminal is not for the nodes
            )
        pid = self._child.pid
        stat = _stat(pid)
        # The child is not waited for yet, so its entry is there even if it ended already.
        assert stat is not None, f"no /proc entry for our own child {pid}"
        _write_whole(self.pid_file, f"{pid} {stat.started}\n")
        return pid

    def pid(self) -> int | None:
        """The process in the pid file, if that very process still lives."""
        with self._process() as found:
            return found[0] if found else None

    def state(self) -> str:
        with self._process() as found:
            stat = _stat(found[0]) if found else None
        if stat is None:
            return "stopped"
        return "paused" if stat.state in "Tt" else "running"

    def signal(self, number: signal.Signals) -> Signalled:
        """Send a signal to exactly this process; an error if there is none."""
        with self._process() as found:
            if found is None:
                raise LocalClusterError(f"{self.member.id} does not run")
            pid, fd = found
            at = time.monotonic()
            try:
                signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                raise LocalClusterError(f"{self.member.id} has just ended") from None
        return Signalled(self.member.id, pid, number.name, at, None)

    def wait_state(self, state: str) -> None:
        """Wait until a signal that was sent has been carried out."""
        if not _poll(lambda: self.state() == state, STOP_TIMEOUT_S):
            raise LocalClusterError(f"{self.member.id} is {self.state()}, not {state}")

    def wait_gone(self, deadline: float) -> bool:
        """Wait until the process has ended; then nothing of it is left behind."""
        with self._process() as found:
            if found is not None:
                left = max(0.0, deadline - time.monotonic())
                if not select.select([found[1]], [], [], left)[0]:
                    return False
        self._forget()
        return True

    def returncode(self, pid: int | None = None) -> int | None:
        """How a child of ours (the last one, or `pid`) ended, if it has."""
        child = self._child
        if child is None or pid not in {None, child.pid}:
            return None
        return child.poll()

    @contextlib.contextmanager
    def _process(self) -> Iterator[tuple[int, int] | None]:
        """The living process of the pid file as (pid, pidfd); None if there is none.

        A process whose first thread has ended may still hold its ports: only the pidfd
        tells when all of it is gone. And while it is open the number, once seen to belong
        to the process that was noted, cannot come to mean another one.
        """
        noted = self._noted()
        fd = _pidfd(noted[0]) if noted else None
        if noted is None or fd is None:
            yield None
            return
        try:
            stat = _stat(noted[0])
            same = stat is not None and stat.started == noted[1]
            ended = bool(select.select([fd], [], [], 0)[0])
            yield (noted[0], fd) if same and not ended else None
        finally:
            os.close(fd)

    def _noted(self) -> tuple[int, int] | None:
        try:
            pid, started = self.pid_file.read_text().split()
            return int(pid), int(started)
        except (FileNotFoundError, ValueError):
            return None

    def _forget(self) -> None:
        """The process has ended: leave neither a pid file nor, if it was ours, a zombie."""
        self.pid_file.unlink(missing_ok=True)
        if self._child is None:
            return
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise LocalClusterError(
                f"{self.member.id} still runs as {self._child.pid}, but {self.pid_file} is gone"
            ) from None


def _end(nodes: Sequence[_Node], timeout: float) -> None:
    """Bring processes to an end: asked first, all at once; then not asked."""
    for number, bound in ((signal.SIGTERM, timeout), (signal.SIGKILL, STOP_TIMEOUT_S)):
        for node in nodes:
            with contextlib.suppress(LocalClusterError):  # it does not run: nothing to end
                node.signal(number)
                if number is signal.SIGTERM:
                    node.signal(signal.SIGCONT)  # a paused process cannot hear
        deadline = time.monotonic() + bound
        nodes = [node for node in nodes if not node.wait_gone(deadline)]
    if nodes:
        left = ", ".join(f"{node.member.id} (pid {node.pid()})" for node in nodes)
        raise LocalClusterError(f"still there after SIGKILL: {left}")


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    started: int  # in clock ticks since boot


def _stat(pid: int) -> _Stat | None:
    """What the system says of a process (proc(5), /proc/pid/stat), if it exists."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command, in brackets, may hold anything: the fields begin after the last one.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], started=int(fields[19]))


def _pidfd(pid: int) -> int | None:
    """A descriptor that means this process and no later one; None if there is none."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _environment() -> dict[str, str]:
    """Ours without what would change a node: its file is all that it is told."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("RAFTSTATE_")
    }
    home = Path(__file__).resolve().parents[1]
    if home.name not in {"site-packages", "dist-packages"}:
        # Run from a source tree: the child must find the same code from another folder.
        paths = [str(home), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


# --- laying out ------------------------------------------------------------------


def _members(count: int, base_port: int | None) -> list[Member]:
    if not 1 <= count <= _PORT_STRIDE - 1:
        raise LocalClusterError(f"{count} nodes: a local cluster has 1 to {_PORT_STRIDE - 1}")
    if base_port is None:
        ports = iter(free_ports(3 * count))
        triples = [(next(ports), next(ports), next(ports)) for _ in range(count)]
    else:
        highest = 65_535 - 3 * _PORT_STRIDE
        if not 1 <= base_port <= highest:
            raise LocalClusterError(f"base port {base_port} is out of range: 1 to {highest}")
        triples = [
            (port, port + _PORT_STRIDE, port + 2 * _PORT_STRIDE)
            for port in range(base_port, base_port + count)
        ]
    return [
        Member(f"n{number}", *(f"{LOOPBACK}:{port}" for port in triple))
        for number, triple in enumerate(triples, 1)
    ]


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now, none of them twice."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_FREE_PORTS, len(_FREE_PORTS)):
            one = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                one.bind((LOOPBACK, port))
            except OSError:
                continue  # taken: try the next
            found.append(port)
            if len(found) == count:
                return found
    raise LocalClusterError(f"no {count} free ports on {LOOPBACK}")


def _check_free(ports: Iterable[tuple[str, str, str]]) -> None:
    """Refuse those of these ports (member, name, address) that are not free."""
    taken = [
        f"{member} cannot listen on {address} (its {name} port): {reason}"
        for member, name, address in ports
        if (reason := _why_taken(address))
    ]
    if taken:
        raise LocalClusterError("\n".join(taken))


def _why_taken(text: str) -> str | None:
    """Why an address cannot be listened on now, if so. As a node does, this ignores
    connections that are still dying down (SO_REUSEADDR)."""
    address = configuration.parse_address(text)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(address)
        except OSError as error:
            return error.strerror or str(error)
    return None


def _node_toml(
    cluster_id: str,
    members: Sequence[Member],
    node: _Node,
    overrides: Mapping[str, Mapping[str, Any]],
) -> str:
    sections: dict[str, Mapping[str, Any]] = {
        "metrics": {"listen": node.member.metrics},
        **overrides,
    }
    try:
        config = configuration.Config(
            cluster=configuration.ClusterConfig(id=cluster_id),
            members=tuple(
                configuration.MemberConfig(id=one.id, raft=one.raft, api=one.api)
                for one in members
            ),
            node=configuration.NodeConfig(id=node.member.id, data_dir=str(node.data)),
            **{name: configuration.SECTIONS[name](**keys) for name, keys in sections.items()},
        )
    except (KeyError, TypeError) as error:
        raise LocalClusterError(f"overrides: {error}") from error
    return configuration.render(config)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _poll(condition: Callable[[], _T], timeout: float) -> _T:
    """Ask until the answer is true or the time is over; return the last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return answer


def _how(returncode: int | None) -> str:
    if returncode is None:
        return "(exit status unknown)"
    if returncode < 0:
        return f"by {signal.Signals(-returncode).name}"
    return f"with exit status {returncode}"
