"""The whole machine loses its power: all nodes at once, and what was not synced.

What a disk holds then is anybody's guess, so there are three kinds: nothing of what was
not synced, some of its pages, pages in part. The machine comes back with another boot id,
so no node may trust what was only in memory.
"""

from __future__ import annotations

import random
from typing import Any, Final

from jepsen_like.protocols import Control, Fault, Window

_KIND: Final = "power-loss-"
MODES: Final = ("drop", "some", "torn")
_SEED_BITS = 32
_DOWN_S = (0.5, 1.5)
# The cluster may have other troubles at the same time; it is not waited for for long.
_SERVING_S = 15.0
# How a node says that it did not find what its last process left in memory. It rebuilds
# its state for no other reason but damage, which it calls so.
_REBUILT = ("the machine went down", "no state was found", "made anew")


class Power:
    """Takes the power away, and what the disks had not got."""

    name = "power"
    kinds = tuple(f"{_KIND}{mode}" for mode in MODES)
    needs = frozenset({"power"})

    def __init__(self, control: Control) -> None:
        self._control = control

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """How long it is dark, and the seed of what the disks keep."""
        seconds = round(draws.uniform(*_DOWN_S), 2)
        return Fault(kind, seconds, {"seed": draws.getrandbits(_SEED_BITS)})

    async def begin(self, fault: Fault) -> Any:
        """The power goes. The answer counts what the disks lost by it."""
        mode = fault.kind.removeprefix(_KIND)
        return dict(await self._control.lose_power(mode, int(fault.args["seed"])))

    async def end(self, fault: Fault) -> Any:
        """The power is back, and every node starts."""
        await self._control.start_nodes(self._control.nodes)
        return {"serving": await self._control.wait_serving(_SERVING_S)}

    async def heal(self) -> None:
        """Whoever is down starts."""
        await self._control.start_nodes(self._control.nodes)

    def evidence(self, window: Window) -> str | None:
        """Every node has started anew, and those whose state was open when the power went
        say that they did not trust what they found of it."""
        found: dict[str, str] = {}
        for sample in window.samples:
            if sample.answered and sample.started >= window.began:
                found.setdefault(sample.node, sample.state_found)
        rebuilt = [node for node, said in found.items() if said.startswith(_REBUILT)]
        trusting = [node for node, said in found.items() if "process ended" in said]
        if set(found) != set(window.nodes) or trusting or not rebuilt:
            return None
        text = f"all {len(found)} nodes started anew, {len(rebuilt)} with a state made anew"
        return f"{text}{_lost(window.begun)}"


def _lost(begun: Any) -> str:
    """What the disks lost, if the control counted it."""
    by_node = begun.get("lost") if isinstance(begun, dict) else None
    if not isinstance(by_node, dict):
        return ""
    pages, names = (
        sum(int(counts.get(what, 0)) for counts in by_node.values())
        for what in ("pages_lost", "names_lost")
    )
    return f"; the disks lost {pages} pages and {names} changes of names"
