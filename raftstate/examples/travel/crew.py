"""The processes of the demo: services, agents and workers.

What agents and workers do is learnt by following their journals, as anybody could.
Signals go to our own children, which are not waited for before they are sent, so a
process id cannot have become somebody else's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from raftstate.examples.census.crew import SIGNAL_TIMEOUT_S, CrewError, status_text
from raftstate.examples.census.evidence import Journal, Line, Tail
from raftstate.examples.travel.record import AGENT, SERVICE, WORKER

FOLDERS = {AGENT: "agents", WORKER: "workers", SERVICE: "services"}


class Member:
    """One process."""

    def __init__(
        self, name: str, role: str, process: subprocess.Popen[bytes], journal: Path | None
    ) -> None:
        self.name = name
        self.role = role
        self.process = process
        self.tail = Tail(journal) if journal else None
        self.lines: list[Line] = []
        self.stopped = False
        self.gone = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def at(self) -> str:
        """The kind of the newest line."""
        return self.lines[-1]["kind"] if self.lines else ""

    def of(self, kind: str) -> list[Line]:
        """Its lines of one kind so far."""
        return [line for line in self.lines if line["kind"] == kind]

    def follow(self) -> list[Line]:
        """Read on; give back what is new."""
        new = self.tail.read() if self.tail else []
        self.lines += new
        return new


class Crew:
    """All processes of a run."""

    def __init__(self, out: Path, scratch: Path, processes: Journal, signals: Journal) -> None:
        """Journals go to folders of `out`; what nobody keeps, to `scratch`."""
        self._out = out
        self._scratch = scratch
        self._processes = processes
        self._signals = signals
        self.members: dict[str, Member] = {}

    # --- hiring ---

    def service(self, name: str, seed: int) -> Path:
        """Start a service; its port will be in the file that is given back."""
        ready = self._scratch / f"{name}.port"
        arguments = ["--name", name, "--seed", str(seed), "--ready", str(ready)]
        book = ["--book", str(self.book(name))]
        self._start(name, SERVICE, ["raftstate.examples.travel.service", *arguments, *book])
        return ready

    def book(self, name: str) -> Path:
        """Where a service keeps its book."""
        return self._scratch / f"{name}.sqlite"

    def agent(self, name: str, endpoints: str, ports: Mapping[str, int], *more: str) -> Member:
        """Start an agent."""
        command = ["raftstate.examples.travel.agent", "--endpoints", endpoints]
        command += ["--name", name, "--out", str(self._journal(name, AGENT))]
        command += ["--services", json.dumps(dict(ports)), *more]
        return self._start(name, AGENT, command)

    def worker(self, name: str, endpoints: str, ports: Mapping[str, int]) -> Member:
        """Start a worker: the ordinary one, with this demo's module."""
        told = {
            "TRAVEL_CALLER": name,
            "TRAVEL_SERVICES": json.dumps(dict(ports)),
            "TRAVEL_JOURNAL": str(self._journal(name, WORKER)),
        }
        command = ["raftstate", "worker", "--endpoints", endpoints]
        command += ["--module", "raftstate.examples.travel.undo", "--holder", name]
        return self._start(name, WORKER, command, told)

    def _journal(self, name: str, role: str) -> Path:
        return self._out / FOLDERS[role] / f"{name}.jsonl"

    def _start(
        self, name: str, role: str, command: Sequence[str], told: Mapping[str, str] = {}
    ) -> Member:
        with (self._scratch / f"{name}.err").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, **told},
            )
        journal = None if role == SERVICE else self._journal(name, role)
        member = self.members[name] = Member(name, role, process, journal)
        self._processes.write("born", name=name, role=role, pid=process.pid)
        return member

    # --- following ---

    def of(self, role: str) -> list[Member]:
        """Everybody of a role, in the order in which they came."""
        return [one for one in self.members.values() if one.role == role]

    def poll(self) -> list[tuple[Member, Line]]:
        """What was written since the last call; buries who has ended.

        Raises CrewError if somebody broke, as opposed to having been killed, or having
        lost what it owned."""
        news = []
        for member in self.members.values():
            if member.gone:
                continue
            ended = member.process.poll() is not None  # asked before the last words are read
            news += [(member, line) for line in member.follow()]
            if ended:
                self._bury(member)
        return news

    def _bury(self, member: Member) -> None:
        member.gone = True
        code = member.process.returncode
        said: Line = {"name": member.name, "role": member.role, "pid": member.pid}
        status: Line = {"wait_status": status_text(code), "lines": len(member.lines)}
        self._processes.write("ended", **said, **status)
        if code not in {0, 3, -signal.SIGKILL}:
            words = (self._scratch / f"{member.name}.err").read_text()[-2_000:].strip()
            raise CrewError(f"{member.name} ended: {status_text(code)}: {words}")

    # --- signals ---

    def kill(self, member: Member) -> None:
        """SIGKILL, and wait until it is gone."""
        at = time.monotonic()
        os.kill(member.pid, signal.SIGKILL)
        member.process.wait(SIGNAL_TIMEOUT_S)
        self._note("kill", member, "SIGKILL", at, status_text(member.process.returncode))

    def stop(self, member: Member) -> tuple[float, str]:
        """SIGSTOP, and wait until it stands still: when it was sent, the wait status. It
        is noted by `note_stop`, once it is known where it stands."""
        member.stopped = True
        return self._change(member, signal.SIGSTOP, os.WUNTRACED)

    def note_stop(self, member: Member, at: float, status: str, **more: object) -> None:
        """Write down a stop."""
        self._note("stop", member, "SIGSTOP", at, status, **more)

    def resume(self, member: Member) -> None:
        """SIGCONT, and wait until the system says that it goes on."""
        member.stopped = False
        at, status = self._change(member, signal.SIGCONT, os.WCONTINUED)
        self._note("resume", member, "SIGCONT", at, status)

    def change(self, kind: str, service: str) -> None:
        """Write down that a service was broken, or mended."""
        self._signals.write(kind, service=service)

    def _note(
        self, kind: str, member: Member, name: str, at: float, status: str, **more: object
    ) -> None:
        said = {"target": member.name, "pid": member.pid, "signal": name}
        done = {"done_at": time.monotonic(), "wait_status": status}
        self._signals.write(kind, at=at, **said, **done, **more)

    def _change(
        self, member: Member, number: signal.Signals, waiting_for: int
    ) -> tuple[float, str]:
        at = time.monotonic()
        os.kill(member.pid, number)
        for _ in _until(at + SIGNAL_TIMEOUT_S):
            pid, status = os.waitpid(member.pid, waiting_for | os.WNOHANG)
            if pid and os.WIFSTOPPED(status):
                return at, f"stopped by {signal.Signals(os.WSTOPSIG(status)).name}"
            if pid and os.WIFCONTINUED(status):
                return at, "continued"
            if pid:
                raise CrewError(f"{member.name} ended on {number.name}: status {status}")
        raise CrewError(f"{member.name} did not heed {number.name}")

    # --- the end ---

    def dismiss(self, role: str) -> None:
        """SIGTERM to everybody of a role, and wait until they have gone in order."""
        for member in self.of(role):
            if member.process.poll() is None:
                member.process.terminate()
        for member in self.of(role):
            member.process.wait(SIGNAL_TIMEOUT_S)
        self.poll()

    def close(self) -> None:
        """End what still runs. For the end of a run that failed, too."""
        for member in self.members.values():
            if member.process.poll() is None:
                member.process.kill()
                member.process.wait(SIGNAL_TIMEOUT_S)
            if member.tail:
                member.tail.close()

    def last_words(self) -> str:
        """What everybody complained of on standard error."""
        texts = []
        for name in self.members:
            with contextlib.suppress(FileNotFoundError):
                if words := (self._scratch / f"{name}.err").read_text()[-1_000:].strip():
                    texts.append(f"{name}: {words}")
        return "\n".join(texts)


def _until(deadline: float) -> Iterator[None]:
    """Turns of a loop that looks for something a few hundred times a second."""
    while time.monotonic() < deadline:
        yield
        time.sleep(0.002)
