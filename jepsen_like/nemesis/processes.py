"""Signals to nodes and to clients: killed, paused, restarted one after another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jepsen_like.nemesis import seen, targets
from jepsen_like.protocols import Control, Fault, Window

Pids = Callable[[], Sequence[int]]

# How long an ownership outlives its holder in the workloads: a client has to be silent
# for longer.
TTL_S: Final = 2.0
_SERVING_S: Final = 15.0
_STOPPED_S: Final = 2.0
_RIPE_S: Final = 5.0
_LOOK_S: Final = 0.02


class Kill:
    """SIGKILL: what was not synced to the system is lost, and nobody is told."""

    name = "kill"
    kinds = ("kill-one", "kill-minority", "kill-majority", "kill-leader", "kill-all")
    needs = frozenset({"processes"})

    def __init__(self, control: Control) -> None:
        self._control = control
        self._down: dict[str, list[str]] = {}  # by kind of fault

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """How long they are down: shorter if the cluster can do nothing meanwhile."""
        halts = kind in {"kill-majority", "kill-all"}
        seconds = draws.uniform(1.0, 2.5) if halts else draws.uniform(2.0, 5.0)
        return Fault(kind, round(seconds, 2), {"draw": targets.draw(draws)})

    async def begin(self, fault: Fault) -> Any:
        """Kill them all at once."""
        aim = await targets.aim(self._control, fault.args["draw"])
        victims = sorted(self._victims(fault.kind, aim))
        self._down[fault.kind] = victims
        await self._control.kill(victims)
        return {"nodes": victims, "leader": aim.leader, "note": aim.note}

    @staticmethod
    def _victims(kind: str, aim: targets.Aim) -> Sequence[str]:
        count = len(aim.nodes)
        match kind:
            case "kill-leader":
                return [aim.leader]
            case "kill-minority":
                return aim.nodes[: targets.minority(count)]
            case "kill-majority":
                return aim.nodes[: targets.majority(count)]
            case "kill-all":
                return aim.nodes
            case _:
                return aim.nodes[:1]

    async def end(self, fault: Fault) -> Any:
        """Start them again; nobody waits until they serve."""
        down = self._down.get(fault.kind, [])
        await self._control.start_nodes(down)
        self._down.pop(fault.kind, None)
        return {"started": down}

    async def heal(self) -> None:
        """Start whoever is still down."""
        for kind, down in list(self._down.items()):
            await self._control.start_nodes(down)
            self._down.pop(kind, None)

    def evidence(self, window: Window) -> str | None:
        """Each member that was killed and is heard of again began its uptime anew."""
        if targets.missed(window):
            return None
        victims = seen.nodes(window.begun)
        said: list[str] = []
        for node in victims:
            found = seen.restarted(window, node)
            if found is not None:
                old, new = found
                said.append(f"{node} was up for {_uptime(old)}, then for {_uptime(new)}")
            elif any(one.answered and one.time > window.ended for one in seen.of(window, node)):
                return None  # it goes on, and was never away
        return "; ".join(said) or None


def _uptime(sample: Any) -> str:
    return f"{sample.uptime_ms / 1_000:.1f} s"


class Pause:
    """SIGSTOP: a leader that is silent, and believes that it leads."""

    name = "pause"
    kinds = ("pause-leader",)
    needs = frozenset({"processes"})

    def __init__(self, control: Control) -> None:
        self._control = control
        self._node = ""

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """For how long: longer than it takes to elect another."""
        return Fault(kind, round(draws.uniform(2.0, 5.0), 2), {"draw": targets.draw(draws)})

    async def begin(self, fault: Fault) -> Any:
        """Stop it, and wait until it stands."""
        aim = await targets.aim(self._control, fault.args["draw"])
        self._node = aim.leader
        await self._control.pause([aim.leader])
        return {"nodes": [aim.leader], "leader": aim.leader, "note": aim.note}

    async def end(self, fault: Fault) -> Any:
        """Let it go on."""
        resumed, self._node = self._node, ""
        if resumed:
            await self._control.resume([resumed])
        return {"resumed": [resumed] if resumed else []}

    async def heal(self) -> None:
        """Let whoever still stands go on."""
        if self._node:
            await self._control.resume([self._node])
            self._node = ""

    def evidence(self, window: Window) -> str | None:
        """It answered nothing, and was the same process afterwards."""
        if targets.missed(window):
            return None
        for node in seen.nodes(window.begun):
            quiet = seen.silence(window, node)
            if quiet is None or quiet.seconds < window.fault.seconds / 2:
                return None
            moved = quiet.after.started - quiet.before.started
            if abs(moved) > seen.SAME_PROCESS_S:
                return None  # it was away because it was started anew
            return (
                f"{node} was silent for {quiet.seconds:.1f} s ({quiet.questions} questions "
                f"without an answer), and is the same process; {seen.terms(window)}"
            )
        return None


class PauseClients:
    """SIGSTOP: clients that sleep past the end of what they own, and go on as if nothing
    had been. It needs no cluster of our own."""

    name = "pause-clients"
    kinds = ("pause-clients",)
    needs = frozenset({"clients"})

    def __init__(self, pids: Pids, ripe: Callable[[], bool] = lambda: True) -> None:
        self._pids = pids
        self._ripe = ripe
        self._clients: list[int] = []
        self._stopped_at = 0.0

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """For how long: always for longer than they may be silent."""
        seconds = draws.uniform(TTL_S + 0.5, TTL_S + 2.5)
        args = {"draw": targets.draw(draws), "share": round(draws.uniform(0.3, 0.7), 2)}
        return Fault(kind, round(seconds, 2), args)

    async def begin(self, fault: Fault) -> Any:
        """Stop some of them, so that others are there to take over: at a moment when that
        can do harm, if one comes soon. Whoever was past it when the signal arrived goes
        on, and the next moment is waited for."""
        until = time.monotonic() + _RIPE_S
        while True:
            while not self._ripe() and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
            pids = sorted(self._pids())
            stopped = await self._stop(pids, fault)
            if not stopped or await self._harmful(stopped) or time.monotonic() > until:
                break
            await self.heal()
            await asyncio.sleep(_LOOK_S)
        note = "" if stopped else f"none of {len(pids)} clients could be stopped"
        return {"stopped": stopped, "of": len(pids), "note": note}

    async def _stop(self, pids: list[int], fault: Fault) -> list[int]:
        """Stop the share that was drawn. Who stands then."""
        order = random.Random(fault.args["draw"]).sample(pids, len(pids))
        chosen = order[: max(1, round(fault.args["share"] * len(pids)))]
        self._clients = [pid for pid in chosen if _signal_child(pid, signal.SIGSTOP)]
        self._stopped_at = time.monotonic()
        return await _until_stopped(self._clients)

    async def _harmful(self, stopped: list[int]) -> bool:
        """Whether they are still worth stopping, when all has arrived that they had sent."""
        await asyncio.sleep(_LOOK_S)
        return self._ripe() and not set(stopped).isdisjoint(self._pids())

    async def end(self, fault: Fault) -> Any:
        """Let them go on, when they stood for as long as was drawn."""
        stood = time.monotonic() - self._stopped_at
        await asyncio.sleep(max(0.0, fault.seconds - stood) if self._clients else 0.0)
        clients, self._clients = self._clients, []
        still = [pid for pid in clients if _state_of_child(pid) in "Tt"]
        seconds = time.monotonic() - self._stopped_at
        for pid in clients:
            _signal_child(pid, signal.SIGCONT)
        return {"still_stopped": still, "stopped_s": round(seconds, 3)}

    async def heal(self) -> None:
        """Let whoever still stands go on."""
        clients, self._clients = self._clients, []
        for pid in clients:
            _signal_child(pid, signal.SIGCONT)

    def evidence(self, window: Window) -> str | None:
        """They stood still from the beginning to the end, for longer than they may own."""
        return _clients_stood(window)


def _clients_stood(window: Window) -> str | None:
    begun, undone = window.begun, window.undone
    if not isinstance(begun, dict) or not isinstance(undone, dict):
        return None
    stood = set(begun.get("stopped", ())) & set(undone.get("still_stopped", ()))
    seconds = float(undone.get("stopped_s", 0.0))
    if not stood or seconds <= TTL_S:
        return None
    return (
        f"{len(stood)} of {begun['of']} client processes were seen stopped at the beginning, "
        f"and still at the end, {seconds:.1f} s later"
    )


class Restart:
    """Every node is stopped in good order and started again, one after another, as for an
    upgrade: each waits until the one before it serves."""

    name = "restart"
    kinds = ("rolling-restart",)
    needs = frozenset({"processes"})

    def __init__(self, control: Control) -> None:
        self._control = control
        self._stopped: str | None = None

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """About how long it takes, so that the schedule makes room for it."""
        return Fault(kind, round(draws.uniform(6.0, 8.0), 2))

    async def begin(self, fault: Fault) -> Any:
        """Restart all of them. If one does not serve again in time, the others stay up."""
        took: dict[str, float] = {}
        await self._control.wait_serving(_SERVING_S)  # after whatever was before
        for node in self._control.nodes:
            began = time.monotonic()
            self._stopped = node
            await self._control.stop_node(node)
            await self._control.start_nodes([node])
            self._stopped = None
            if not await self._control.wait_serving(_SERVING_S):
                note = f"after the restart of {node} the cluster did not serve in time"
                return {"nodes": [*took, node], "seconds": took, "note": note}
            took[node] = round(time.monotonic() - began, 2)
        return {"nodes": list(took), "seconds": took, "note": ""}

    async def end(self, fault: Fault) -> Any:
        """There is nothing left to undo."""
        await self.heal()

    async def heal(self) -> None:
        """Start the one that was stopped, if it was left so."""
        if self._stopped is not None:
            await self._control.start_nodes([self._stopped])
            self._stopped = None

    def evidence(self, window: Window) -> str | None:
        """Every member began its uptime anew, one after another: started all at once they
        would have come back all at once."""
        began = [_newest_start(window, node) for node in window.nodes]
        first = [window.began, *began]
        if any(later - one < seen.SAME_PROCESS_S for one, later in pairwise(first)):
            return None
        said = ", ".join(
            f"{node} at {at:.1f} s" for node, at in zip(window.nodes, began, strict=True)
        )
        return f"all were started anew: {said}"


def _newest_start(window: Window, node: str) -> float:
    """When the last process of a member was started that came before the fault's end."""
    starts = [one.started for one in seen.of(window, node) if one.answered]
    return max((one for one in starts if one <= window.ended), default=0.0)


# --- clients: children of ours, and only they -----------------------------------------


@contextlib.contextmanager
def _child(pid: int) -> Iterator[int | None]:
    """A descriptor for a living child of this process; None if it is not one. While it is
    open, the number cannot come to mean another process."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        fields = _stat(pid)
        ours = fields is not None and int(fields[1]) == os.getpid()
        alive = not select.select([handle], [], [], 0)[0]
        yield handle if ours and alive else None
    finally:
        os.close(handle)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat (proc(5)) after the command: state, parent, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _signal_child(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a child of ours; whether there was one."""
    with _child(pid) as handle:
        if handle is None:
            return False
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        return True


def _state_of_child(pid: int) -> str:
    """The state of a child as the system says it; "-" if it is gone."""
    with _child(pid) as handle:
        fields = _stat(pid) if handle is not None else None
        return fields[0] if fields else "-"


async def _until_stopped(pids: Sequence[int]) -> list[int]:
    """Those that stand, as soon as all do, or after a while."""
    until = time.monotonic() + _STOPPED_S
    while True:
        stopped = [pid for pid in pids if _state_of_child(pid) in "Tt"]
        if len(stopped) == len(pids) or time.monotonic() > until:
            return stopped
        await asyncio.sleep(_LOOK_S)
