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

import asyncio
import contextlib
import fcntl
import itertools
import json
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from raftstate import config as configuration
from raftstate.client import Store, connect, probe
from raftstate.errors import NotCaughtUp, RaftStateError
from raftstate.localcluster.layout import (
    PORTS,
    Member,
    another,
    joining_toml,
    lay_out_members,
    node_toml,
    write_whole,
)
from raftstate.localcluster.ports import LocalClusterError, check_free, free_ports
from raftstate.localcluster.process import (
    STOP_TIMEOUT_S,
    Launch,
    Node,
    Signalled,
    end,
    how,
    poll,
)
from raftstate.v1.cluster_service_pb2 import ROLE_LEADER, StatusResponse

__all__ = [
    "Launch",
    "LocalCluster",
    "LocalClusterError",
    "Member",
    "NodeReport",
    "Signalled",
    "exists",
    "free_ports",
    "leader_of",
    "tail",
]

START_TIMEOUT_S = 30.0
_TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node as seen from outside. `status` is None while it does not answer itself."""

    member: Member
    pid: int | None
    state: str  # running, paused, stopped
    status: StatusResponse | None


class LocalCluster:
    """N nodes on loopback. Make one with `create`, or `attach` to one by its folder."""

    def __init__(
        self,
        folder: Path,
        cluster_id: str,
        members: Sequence[Member],
        launch: Launch | None = None,
    ) -> None:
        self.folder = folder
        self.cluster_id = cluster_id
        self.members: dict[str, Member] = {member.id: member for member in members}
        self._launch = launch or Launch()
        self._nodes = {
            member.id: Node(folder / member.id, member, self._launch) for member in members
        }

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
        launch: Launch | None = None,
        dial: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Self:
        """Lay out a new cluster in `folder`; nothing is started.

        Without `base_port`, free ports are found, and without `cluster_id` one is drawn.
        With `check_ports`, ports in use are refused already here. `overrides` go into every
        node's configuration: `{"snapshot": {"log_entries": 200}}`. `dial` says at which other
        address a node reaches a member, a proxy's say: `{"n1": {"n2": "127.0.0.1:9000"}}`.
        `launch` is how this object starts nodes; the folder does not keep it.
        """
        folder = Path(folder).absolute()
        if not Path("/proc/self/stat").exists():
            raise LocalClusterError("a local cluster needs Linux: there is no /proc here")
        if exists(folder):
            raise LocalClusterError(f"{folder} already holds a cluster; attach to it")
        members = lay_out_members(nodes, base_port)
        if check_ports:
            check_free((one.id, name, getattr(one, name)) for one in members for name in PORTS)
        cluster_id = cluster_id or f"local-{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        cluster = cls(folder, cluster_id, members, launch)
        for node in cluster._nodes.values():
            node.folder.mkdir(mode=0o700, exist_ok=True)
            ways = (dial or {}).get(node.member.id, {})
            node.config.write_text(
                node_toml(cluster_id, members, node.member, node.data, overrides or {}, ways)
            )
            try:
                configuration.load(node.config, environment={})
            except configuration.ConfigError as error:
                raise LocalClusterError(str(error)) from error
        cluster._note_members()
        return cluster

    def _note_members(self) -> None:
        members = [asdict(one) for one in self.members.values()]
        text = json.dumps({"id": self.cluster_id, "members": members}, indent=1)
        write_whole(self.folder / "cluster.json", text)

    @classmethod
    def attach(cls, folder: Path | str, launch: Launch | None = None) -> Self:
        """The cluster that lives in `folder`, running or not. `launch`: as in `create`."""
        folder = Path(folder).absolute()
        try:
            document = json.loads((folder / "cluster.json").read_text())
            members = [Member(**row) for row in document["members"]]
            return cls(folder, document["id"], members, launch)
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
        started: list[Node] = []
        try:
            with self._locked():
                stopped = [one for one in self._nodes.values() if one.state() == "stopped"]
                check_free([port for node in stopped for port in node.listens()])
                for node in stopped:
                    started.append(node)
                    node.spawn()
            self._wait_serving(list(self._nodes.values()), timeout)
        except BaseException:
            with self._locked():
                end(started, timeout=STOP_TIMEOUT_S)
            raise

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Stop every node: SIGTERM, and SIGKILL for what is still there after `timeout`."""
        with self._locked():
            end(list(self._nodes.values()), timeout)

    # --- one node ----------------------------------------------------------------

    def start_node(self, name: str, timeout: float = START_TIMEOUT_S, wait: bool = True) -> int:
        """Start one node, wait until it serves, and return its pid.

        Serving takes a quorum: start several with `wait=False`, then `wait_serving`.
        """
        node = self._node(name)
        with self._locked():
            if node.state() != "stopped":
                raise LocalClusterError(f"{name} already runs")
            check_free(node.listens())
            pid = node.spawn()
        if wait:
            self._wait_serving([node], timeout)
        return pid

    def stop_node(self, name: str, timeout: float = STOP_TIMEOUT_S) -> None:
        """Stop one node in good order. Stopping one that does not run is no error."""
        with self._locked():
            end([self._node(name)], timeout)

    def restart(self, name: str, timeout: float = START_TIMEOUT_S, wait: bool = True) -> int:
        """Stop one node if it runs, start it again, and return its new pid."""
        self.stop_node(name)
        return self.start_node(name, timeout, wait)

    # --- who is in it --------------------------------------------------------------

    def add_node(
        self, name: str | None = None, timeout: float = START_TIMEOUT_S, promote: bool = True
    ) -> str:
        """Start one more node and make it a member of the running cluster: a learner first,
        and a voter once it has caught up. The answer is its name.

        `name` may be that of a node that was removed: it begins anew, on an empty folder.
        What fails before the cluster has taken it in leaves nothing of it behind.
        """
        until = time.monotonic() + timeout
        node = self._lay_out_joining(name)
        member = node.member
        try:
            self.start_node(member.id, wait=False)
            self._wait_answering(node, until)
            self._change(
                lambda store, left: store.add_member(
                    member.id,
                    raft_address=member.raft,
                    client_address=member.api,
                    timeout=left,
                ),
                until,
            )
        except BaseException as error:
            if not isinstance(error, RaftStateError) or error.definite:
                self._forget(node)
            raise
        if promote:
            self.promote_node(member.id, timeout=until - time.monotonic())
        return member.id

    def promote_node(self, name: str, timeout: float = START_TIMEOUT_S) -> None:
        """Make a learner a voter, as soon as it has caught up, and wait until it serves."""
        until = time.monotonic() + timeout
        node = self._node(name)

        async def promote(store: Store, left: float) -> None:
            await store.promote_member(name, timeout=left)

        def promoted() -> bool:
            with contextlib.suppress(NotCaughtUp):
                self._change(promote, until)
                return True
            return False

        if not poll(promoted, timeout):
            raise LocalClusterError(f"{name} did not catch up within {timeout:g} s")
        self._wait_serving([node], max(0.0, until - time.monotonic()))

    def remove_node(self, name: str, timeout: float = STOP_TIMEOUT_S) -> None:
        """Take a node out of the running cluster, the leader itself too, and wait until its
        process has ended: by itself, or stopped. Its folder stays, its data is deleted."""
        node = self._node(name)
        self._change(
            lambda store, left: store.remove_member(name, timeout=left),
            time.monotonic() + timeout,
        )
        node.wait_gone(time.monotonic() + timeout / 2)
        self._forget(node)

    def wipe(self, name: str) -> None:
        """Lose the data of a node that does not run, as a broken disk would."""
        with self._locked():
            node = self._node(name)
            if node.state() != "stopped":
                raise LocalClusterError(f"{name} runs: stop it first")
            shutil.rmtree(node.data, ignore_errors=True)

    def _lay_out_joining(self, name: str | None) -> Node:
        """A folder for a node that joins, and a place among the members of this object."""
        with self._locked():
            if name is None:
                taken = {path.name for path in self.folder.iterdir()}
                name = next(one for n in itertools.count(1) if (one := f"n{n}") not in taken)
            if name in self.members:
                raise LocalClusterError(f"{name} is a member of {self.folder} already")
            like = next(iter(self._nodes.values())).config
            node = Node(self.folder / name, another(name, self.members.values()), self._launch)
            node.folder.mkdir(mode=0o700, exist_ok=True)
            if node.data.exists():
                raise LocalClusterError(f"{node.data} holds data of a node that was {name}")
            node.config.write_text(joining_toml(like, node.member, node.data))
            self.members[name], self._nodes[name] = node.member, node
            self._note_members()
        return node

    def _wait_answering(self, node: Node, until: float) -> None:
        """Wait until a node that knows no leader yet can be spoken to."""

        def answers() -> bool:
            if node.state() == "stopped":
                raise LocalClusterError(
                    f"{node.member.id} ended {how(node.returncode())} while starting\n"
                    + self._tails([node])
                )
            return self._ask(node) is not None

        left = max(0.0, until - time.monotonic())
        if not poll(answers, left):
            raise LocalClusterError(
                f"{node.member.id} did not answer within {left:g} s\n{self._tails([node])}"
            )

    def _change(
        self, change: Callable[[Store, float], Coroutine[Any, Any, Any]], until: float
    ) -> None:
        """Ask the cluster for a change of membership. On a thread of its own, so that it
        can be asked for inside an event loop too."""

        async def ask() -> None:
            left = max(0.1, until - time.monotonic())
            async with connect(self.endpoints, timeout=left) as store:
                await change(store, left)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, ask()).result()

    def _forget(self, node: Node) -> None:
        """End a node that is no member (any more), and delete what it stored."""
        with self._locked():
            end([node], STOP_TIMEOUT_S)
            shutil.rmtree(node.data, ignore_errors=True)
            self.members.pop(node.member.id, None)
            self._nodes.pop(node.member.id, None)
            self._note_members()

    # --- signals ---------------------------------------------------------------------

    def kill(self, name: str) -> Signalled:
        """SIGKILL one node, and wait until it is gone."""
        with self._locked():
            return self._await_end(self._node(name).signal(signal.SIGKILL))

    def kill_all(self, names: Iterable[str]) -> list[Signalled]:
        """SIGKILL several nodes at once, and only then wait until they are gone. Those that
        do not run are passed over."""
        with self._locked():
            sent: list[Signalled] = []
            for node in [self._node(name) for name in names]:
                with contextlib.suppress(LocalClusterError):  # it has ended by itself
                    sent.append(node.signal(signal.SIGKILL))
            return [self._await_end(one) for one in sent]

    def _await_end(self, sent: Signalled) -> Signalled:
        """Wait until a node that was sent SIGKILL is gone, and note how it ended."""
        node = self._node(sent.node)
        if not node.wait_gone(time.monotonic() + STOP_TIMEOUT_S):
            raise LocalClusterError(
                f"{sent.node} (pid {sent.pid}) is still there after SIGKILL"
            )
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

    def returncode(self, name: str) -> int | None:
        """How the process of a node ended that this object started; None while it runs."""
        return self._node(name).returncode()

    def data_dir(self, name: str) -> Path:
        """Where a node stores what it must not forget."""
        return self._node(name).data

    def log_path(self, name: str) -> Path:
        """The file that holds what a node said."""
        return self._node(name).log

    def logs(self, name: str, lines: int = _TAIL_LINES) -> str:
        """The last lines of what a node said."""
        return tail(self._node(name).log, lines)

    def _node(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            known = ", ".join(self._nodes)
            raise LocalClusterError(f"there is no node {name!r}; there are {known}") from None

    # --- what the cluster says ------------------------------------------------------

    def status(self, timeout: float = 1.0) -> list[NodeReport]:
        """Every node as seen from outside, asked at the same time."""

        def ask(node: Node) -> NodeReport:
            state = node.state()
            answer = None if state == "stopped" else self._ask(node, timeout)
            return NodeReport(node.member, node.pid(), state, answer)

        with ThreadPoolExecutor(len(self._nodes)) as pool:
            return list(pool.map(ask, self._nodes.values()))

    def _ask(self, node: Node, timeout: float = 1.0) -> StatusResponse | None:
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

        found = poll(other_leader, timeout)
        if found is None:
            other = f" other than {not_}" if not_ else ""
            raise LocalClusterError(
                f"no leader{other} within {timeout:g} s\n{self._tails(self._nodes.values())}"
            )
        return found

    def wait_serving(self, *names: str, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until the named nodes (default: all) serve and a leader is ready."""
        self._wait_serving([self._node(name) for name in names or self._nodes], timeout)

    def _wait_serving(self, nodes: Sequence[Node], timeout: float) -> None:
        waiting = list(nodes)

        def serving() -> bool:
            waiting[:] = [node for node in waiting if not self._serves(node)]
            led = not waiting and self.leader() is not None
            # Looked at last: whatever was answered, the processes must live to the end.
            for node in nodes:
                if node.state() == "stopped":
                    raise LocalClusterError(
                        f"{node.member.id} ended {how(node.returncode())} while starting\n"
                        + self._tails([node])
                    )
            return led

        if not poll(serving, timeout):
            late = ", ".join(node.member.id for node in waiting) or "a leader"
            raise LocalClusterError(
                f"{late} did not serve within {timeout:g} s\n{self._tails(waiting or nodes)}"
            )

    def _serves(self, node: Node) -> bool:
        """Whether this very node, and no other at its address, says that it serves."""
        answer = self._ask(node) if probe.healthy(node.member.api) else None
        # Only with a committed entry can a new member take part in electing another leader.
        return answer is not None and answer.ready and answer.commit_index > 0

    def _tails(self, nodes: Iterable[Node]) -> str:
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
