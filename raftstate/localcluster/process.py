"""One node of a local cluster: its files, and its process while there is one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TypeVar

from raftstate import config as configuration
from raftstate.localcluster.layout import PORTS, Member, write_whole
from raftstate.localcluster.ports import LocalClusterError

_T = TypeVar("_T")

SERVE: tuple[str, ...] = (sys.executable, "-m", "raftstate", "serve")
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05


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


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Signals to end that this program handles itself are handled after the block.

    Around the start of a process: its handler may raise, and if it did between the start
    and the note of it, nobody would know of the process, and nobody end it."""
    came: list[int] = []
    before: dict[int, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(handler := signal.getsignal(number)):
                before[number] = handler
                signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for one in came:
            signal.raise_signal(one)


@dataclass(frozen=True, slots=True)
class Launch:
    """How nodes are started: the command, which is given `--config FILE`, and variables of
    the environment by node, beside those that every node gets."""

    command: tuple[str, ...] = SERVE
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Node:
    """One node's files and its process, if it has one."""

    def __init__(self, folder: Path, member: Member, launch: Launch) -> None:
        self.folder = folder
        self.member = member
        self.launch = launch
        self.config: Path = folder / "node.toml"
        self.data: Path = folder / "data"
        self.log: Path = folder / "node.log"
        self.pid_file: Path = folder / "pid"
        # Ours only if this object started it; waited for, so that no zombie stays.
        self._child: subprocess.Popen[bytes] | None = None

    def listens(self) -> list[tuple[str, str, str]]:
        """What the process will listen on: (member, port's name, address)."""
        try:
            config = configuration.load(self.config, environment={})
        except configuration.ConfigError:
            return []  # the process itself says what is wrong, in its log and exit status
        listens = ((name, getattr(config, f"{name}_listen")) for name in PORTS)
        return [(self.member.id, name, str(at)) for name, at in listens if at is not None]

    def spawn(self) -> int:
        """Start the process and note it. The caller knows that there is none."""
        self._forget()
        with signals_deferred():
            return self._spawn()

    def _spawn(self) -> int:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*self.launch.command, "--config", str(self.config)],
                cwd=self.folder,
                env={
                    **environment_of_a_node(),
                    **self.launch.environment.get(self.member.id, {}),
                },
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
        write_whole(self.pid_file, f"{pid} {stat.started}\n")
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
        if not poll(lambda: self.state() == state, STOP_TIMEOUT_S):
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


def end(nodes: Sequence[Node], timeout: float) -> None:
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


def environment_of_a_node() -> dict[str, str]:
    """Ours without what would change a node: its file is all that it is told."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("RAFTSTATE_")
    }
    home = Path(__file__).resolve().parents[2]
    if home.name not in {"site-packages", "dist-packages"}:
        # Run from a source tree: the child must find the same code from another folder.
        paths = [str(home), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def poll(condition: Callable[[], _T], timeout: float) -> _T:
    """Ask until the answer is true or the time is over; return the last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return answer


def how(returncode: int | None) -> str:
    """How a process ended, in words."""
    if returncode is None:
        return "(exit status unknown)"
    if returncode < 0:
        return f"by {signal.Signals(-returncode).name}"
    return f"with exit status {returncode}"
