"""The agent processes: one active, one standby, and those that were.

The crew learns of its workers by following their journals, as anybody could. Signals
go to our own children, which are not waited for before they are sent, so a process id
cannot have become somebody else's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from raftstate.examples.census.evidence import Journal, Line, Tail
from raftstate.localcluster.process import signals_deferred

SIGNAL_TIMEOUT_S = 10.0
WORKERS_MAX = 20


class CrewError(Exception):
    """A worker did something that it must not, or did not do in time what it must."""


class Worker:
    """One agent process."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], journal: Path) -> None:
        self.name = name
        self.process = process
        self.tail = Tail(journal)
        self.lines: list[Line] = []
        self.stopped = False
        self.gone = False
        self.token: list[int] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def at(self) -> str:
        """The kind of the newest line."""
        return self.lines[-1]["kind"] if self.lines else ""

    @property
    def working(self) -> bool:
        """It owns the agent, as far as it has said."""
        return bool(self.token) and self.at in {"owned", "begun", "sending", "step"}

    def follow(self) -> list[Line]:
        """Read on; give back what is new."""
        new = self.tail.read()
        for line in new:
            self.lines.append(line)
            if line["kind"] == "owned":
                self.token = line["token"]
        return new


class Crew:
    """All workers of a run."""

    def __init__(self, folder: Path, arguments: list[str], processes: Journal) -> None:
        """`arguments` are those that every worker gets; journals go to `folder`."""
        self._folder = folder
        self._arguments = arguments
        self._processes = processes
        self.workers: list[Worker] = []
        self.files_done = 0

    def hire(self) -> Worker:
        """Start a fresh process: a standby, if there is somebody active."""
        if len(self.workers) >= WORKERS_MAX:
            raise CrewError(f"{WORKERS_MAX} agents were started; they do not stay")
        name = f"agent-{len(self.workers) + 1}"
        journal = self._folder / f"{name}.jsonl"
        command = [sys.executable, "-m", "raftstate.examples.census.agent"]
        with (self._folder / f"{name}.err").open("wb") as errors, signals_deferred():
            process = subprocess.Popen(
                [*command, "--name", name, "--out", str(journal), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
            worker = Worker(name, process, journal)
            self.workers.append(worker)
        self._processes.write("born", name=name, pid=worker.pid)
        return worker

    @property
    def active(self) -> Worker | None:
        """Who owns the agent now: the working one with the newest token."""
        at_work = [one for one in self.present if one.working]
        return max(at_work, key=lambda one: one.token, default=None)

    @property
    def standby(self) -> Worker | None:
        """Who waits to take over."""
        return next((one for one in self.present if one.at == "waiting"), None)

    @property
    def present(self) -> list[Worker]:
        """Those that live and are not stopped."""
        return [one for one in self.workers if not one.gone and not one.stopped]

    def poll(self) -> list[tuple[Worker, Line]]:
        """What was written since the last call; buries who has ended."""
        news = []
        for worker in self.workers:
            if worker.gone:
                continue
            ended = worker.process.poll() is not None  # asked before the last words are read
            news += [(worker, line) for line in worker.follow()]
            if ended:
                self._bury(worker)
        for _, line in news:
            if line["kind"] == "step":
                self.files_done = max(self.files_done, line["index"] + 1)
            elif line["kind"] == "owned":
                self.files_done = max(self.files_done, line["restored"])
        return news

    def kill(self, worker: Worker) -> tuple[float, float, str]:
        """SIGKILL, and wait: when it was sent, when it was over, the wait status."""
        at = time.monotonic()
        os.kill(worker.pid, signal.SIGKILL)
        worker.process.wait(SIGNAL_TIMEOUT_S)
        return at, time.monotonic(), status_text(worker.process.returncode)

    def stop(self, worker: Worker) -> tuple[float, float, str]:
        """SIGSTOP, and wait until it stands still."""
        worker.stopped = True
        return self._change(worker, signal.SIGSTOP, os.WUNTRACED)

    def resume(self, worker: Worker) -> tuple[float, float, str]:
        """SIGCONT, and wait until the system says that it goes on."""
        worker.stopped = False
        return self._change(worker, signal.SIGCONT, os.WCONTINUED)

    def close(self) -> None:
        """End what still runs, and bury it. For the end of a run that failed."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait(SIGNAL_TIMEOUT_S)
        self.poll()
        for worker in self.workers:
            worker.tail.close()
            errors = self._folder / f"{worker.name}.err"
            if not errors.stat().st_size:
                errors.unlink()

    def _change(
        self, worker: Worker, number: signal.Signals, waiting_for: int
    ) -> tuple[float, float, str]:
        at = time.monotonic()
        os.kill(worker.pid, number)
        for _ in _until(at + SIGNAL_TIMEOUT_S):
            pid, status = os.waitpid(worker.pid, waiting_for | os.WNOHANG)
            if pid and os.WIFSTOPPED(status):
                name = signal.Signals(os.WSTOPSIG(status)).name
                return at, time.monotonic(), f"stopped by {name}"
            if pid and os.WIFCONTINUED(status):
                return at, time.monotonic(), "continued"
            if pid:
                raise CrewError(f"{worker.name} ended on {number.name}: wait status {status}")
        raise CrewError(f"{worker.name} did not heed {number.name}")

    def _bury(self, worker: Worker) -> None:
        worker.gone = True
        self._processes.write(
            "ended",
            name=worker.name,
            pid=worker.pid,
            wait_status=status_text(worker.process.returncode),
            lines=len(worker.lines),
        )

    def last_words(self, worker: Worker) -> str:
        """What a worker complained of on its standard error."""
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / f"{worker.name}.err").read_text()[-2_000:].strip()
        return ""


def status_text(returncode: int) -> str:
    """How a process ended, from what `subprocess` says of it."""
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit {returncode}"


def _until(deadline: float) -> Iterator[None]:
    """Turns of a loop that looks for something a few hundred times a second."""
    while time.monotonic() < deadline:
        yield
        time.sleep(0.002)
