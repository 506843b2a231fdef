"""Wall clocks that jump, and wall clocks that jump all the time.

Nothing that is promised may depend on the time of day. Leases run on the monotonic clock,
which never jumps; a node that asks the wrong clock is found by a lease that ends early, or
never.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from statistics import median
from typing import Any, Final

from jepsen_like.protocols import Control, Fault, Sample, Window

JUMP: Final = "clock-jump"
STROBE: Final = "clock-strobe"
_HOUR_S: Final = 3_600.0
_EVERY_S: Final = 0.1
_BEFORE_S: Final = 2.0  # what a clock showed right before: no other fault of it is so near
_JUMP_SECONDS = (3.0, 6.0)
_STROBE_SECONDS = (3.0, 5.0)
# So much of the offset must be seen: a sample is on its way for a moment.
_SEEN_SHARE = 0.5


class Clock:
    """Sets wall clocks wrong, of one node or of all, by up to an hour either way."""

    name = "clock"
    kinds = (JUMP, STROBE)
    needs = frozenset({"clock"})

    def __init__(self, control: Control) -> None:
        self._control = control
        self._strobe: asyncio.Task[int] | None = None
        self._stop = asyncio.Event()

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """Whose clock, and by how much."""
        sign = draws.choice((-1, 1))
        if kind == JUMP:
            seconds, offset = draws.uniform(*_JUMP_SECONDS), _HOUR_S
        else:
            # From a few ticks of an election to an hour, any size alike.
            seconds, offset = draws.uniform(*_STROBE_SECONDS), 10 ** draws.uniform(0.5, 3.5)
        args = {
            "offset_s": round(sign * offset, 2),
            "target": draws.choice(("all", "leader", "one")),
            "pick": draws.randrange(1 << 16),
        }
        return Fault(kind, round(seconds, 2), args)

    async def begin(self, fault: Fault) -> Any:
        """The clocks jump; the answer says whose, and how far."""
        nodes, offset = await self._targets(fault.args), float(fault.args["offset_s"])
        if fault.kind == STROBE:
            await self._still()
            self._stop = asyncio.Event()
            self._strobe = asyncio.create_task(self._flicker(nodes, offset))
        else:
            await self._set(nodes, offset)
        return {"nodes": list(nodes), "offset_s": offset}

    async def end(self, fault: Fault) -> Any:
        """All clocks are right again."""
        toggled = await self._still()
        await self._set(self._control.nodes, 0.0)
        return {"toggled": toggled} if fault.kind == STROBE else None

    async def heal(self) -> None:
        """As `end`."""
        await self._still()
        await self._set(self._control.nodes, 0.0)

    def evidence(self, window: Window) -> str | None:
        """What these nodes said of their own clocks went wrong by that much: each of those
        that answered meanwhile. One may still be starting after the fault before."""
        if not isinstance(window.begun, dict):
            return None
        offset = float(window.begun["offset_s"])
        found = {
            node: _farthest(window, node, offset) for node in map(str, window.begun["nodes"])
        }
        errors = {node: one for node, one in found.items() if one is not None}
        if not errors or any(one / offset < _SEEN_SHARE for one in errors.values()):
            return None
        seen = ", ".join(f"{node} by {error:+.1f} s" for node, error in sorted(errors.items()))
        return f"wall clocks were seen to be off: {seen}"

    async def _targets(self, args: Mapping[str, Any]) -> tuple[str, ...]:
        nodes = self._control.nodes
        if args["target"] == "all":
            return nodes
        leader = await self._control.leader() if args["target"] == "leader" else None
        return (leader or nodes[args["pick"] % len(nodes)],)

    async def _set(self, nodes: tuple[str, ...], offset: float) -> None:
        for node in nodes:
            await self._control.set_clock(node, offset)

    async def _flicker(self, nodes: tuple[str, ...], offset: float) -> int:
        """Until it is told to stop; the answer is how often."""
        toggled = 0
        while not self._stop.is_set():
            await self._set(nodes, offset if toggled % 2 == 0 else 0.0)
            toggled += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _EVERY_S)
        return toggled

    async def _still(self) -> int:
        """No clock flickers any more; the answer is how often one did."""
        if self._strobe is None:
            return 0
        strobe, self._strobe = self._strobe, None
        self._stop.set()
        return await strobe


def _farthest(window: Window, node: str, offset: float) -> float | None:
    """By how much a node's clock was off during the fault, at its farthest in the direction
    of the offset; compared with what its machine's nodes showed right before, when nothing
    else was done to a clock. None if there is nothing to compare."""
    shown = [one for one in window.samples if one.wall_time_ms]
    since = window.began - _BEFORE_S
    before = [_start(one) for one in shown if since <= one.time < window.began]
    during = [
        _start(one)
        for one in shown
        if one.node == node and window.began <= one.time <= window.ended
    ]
    if not before or not during:
        return None
    right = median(before)
    return max((one - right for one in during), key=lambda error: error * offset)


def _start(sample: Sample) -> float:
    """When the run began, by the wall clock of a node."""
    return sample.wall_time_ms / 1_000 - sample.time
