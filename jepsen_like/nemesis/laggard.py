"""One member is shut out until the others have let go of what it lacks.

Then its leader has no entries for it any more and must send it a snapshot: a path that is
rarely taken, and must not lose a session, a fence or a request that it has seen.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, Final

from jepsen_like.control import ask
from jepsen_like.nemesis import seen, targets
from jepsen_like.nemesis.partitions import Pair, between
from jepsen_like.protocols import Control, Fault, Window

KIND: Final = "snapshot-install"
CUT, HALF_OPEN = "cut", "half-open"
# The others write 100 entries to a snapshot: that takes a second or two under load.
_COMPACTED_S: Final = 15.0
_INSTALLED_S: Final = 8.0
_LOOK_S: Final = 0.2


class Laggard:
    """Shuts out one follower until only a snapshot can help it."""

    name = "laggard"
    kinds = (KIND,)
    needs = frozenset({"links"})

    def __init__(self, control: Control) -> None:
        self._control = control
        self._harmed: tuple[Pair, ...] = ()
        self._node = ""
        self._installed = 0

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """How it is shut out, and about how long that takes."""
        args = {"draw": targets.draw(draws), "how": draws.choice((CUT, HALF_OPEN))}
        return Fault(kind, round(draws.uniform(4.0, 6.0), 2), args)

    async def begin(self, fault: Fault) -> Any:
        """Shut a follower out, and wait until the others have compacted past it."""
        aim = await targets.aim(self._control, fault.args["draw"])
        if len(aim.nodes) < 3:
            return {"nodes": [], "note": "without a follower fewer than three do not go on"}
        node = aim.others[0]
        rest = [one for one in aim.nodes if one != node]
        answers = await ask(self._control.addresses)
        self._node, self._installed = node, _number(answers, node, "snapshots_installed")
        self._harmed = between([node], rest)
        harm = self._control.links.cut
        if fault.args["how"] == HALF_OPEN:
            harm = self._control.links.half_open
        await harm(self._harmed)
        began = time.monotonic()
        passed = await self._until_passed(node, rest)
        return {
            "nodes": [node],
            "links": [list(one) for one in self._harmed],
            "passed": passed,
            "seconds": round(time.monotonic() - began, 2),
            "note": aim.note if passed else "the others did not compact past it in time",
        }

    async def _until_passed(self, node: str, rest: list[str]) -> bool:
        """Whether a majority holds nothing any more of what the member lacks: then whoever
        of them leads has to send a snapshot."""

        def passed(answers: Mapping[str, Any]) -> bool:
            lacks = _number(answers, node, "applied_index") + 1
            gone = [one for one in rest if _number(answers, one, "first_index") > lacks]
            return answers[node] is not None and len(gone) == len(rest)

        return await self._until(passed, _COMPACTED_S)

    async def end(self, fault: Fault) -> Any:
        """Let it back, and wait until it has the snapshot."""
        await self._mend()
        if not self._node:
            return None

        def installed(answers: Mapping[str, Any]) -> bool:
            return _number(answers, self._node, "snapshots_installed") > self._installed

        return {"installed": await self._until(installed, _INSTALLED_S)}

    async def heal(self) -> None:
        """Let it back."""
        await self._mend()

    async def _mend(self) -> None:
        if self._harmed:
            await self._control.links.mend(self._harmed)
            self._harmed = ()

    async def _until(self, condition: Any, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not condition(await ask(self._control.addresses)):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    def evidence(self, window: Window) -> str | None:
        """One process of the member had installed more snapshots after than before. It may
        be younger than the fault, which waits for others to end before it does its work."""
        for node in seen.nodes(window.begun):
            before = seen.before(window, node)
            samples = [before] if before is not None else []
            samples += [
                one
                for one in seen.of(window, node)
                if one.answered and one.time >= window.began
            ]
            for first in samples:
                same = [
                    one
                    for one in samples
                    if abs(one.started - first.started) <= seen.SAME_PROCESS_S
                    and one.time >= first.time
                ]
                count = max(one.snapshots_installed for one in same)
                if count > first.snapshots_installed:
                    return (
                        f"{node} had installed {first.snapshots_installed} snapshots before,"
                        f" and {count} after; it had been shut out at entry"
                        f" {first.applied_index}"
                    )
        return None


def _number(answers: Mapping[str, Any], node: str, name: str) -> int:
    answer = answers.get(node)
    return 0 if answer is None else int(getattr(answer, name))
