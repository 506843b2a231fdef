"""The nemesis as the interpreter sees it: one thread that begins and ends faults.

What it does beside is part of the history too: it heals at the end, and waits until the
cluster has settled, so that the final reads find every acknowledged write everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from jepsen_like.monitor import Monitor
from jepsen_like.nemesis.schedule import owners
from jepsen_like.phases import BEGIN, END, HEAL, SETTLE
from jepsen_like.protocols import Control, Done, Fault, Op, Package

HEALED_S: Final = 60.0
SETTLED_S: Final = 30.0
RECOVERED_S: Final = 5.0
_LOOK_S: Final = 0.1


class Breaker:
    """Does what the schedule says, and undoes all of it at the end."""

    def __init__(
        self,
        control: Control,
        packages: Mapping[str, Package],
        monitor: Monitor,
        say: Callable[[str], None],
        patience_s: float = HEALED_S,
    ) -> None:
        self._patience_s = patience_s
        self._control = control
        self._packages = packages
        self._owners = owners(tuple(packages.values()))
        self._monitor = monitor
        self._say = say

    async def invoke(self, op: Op) -> Done:
        """One beginning, one end, or one of the stages between phases. Never raises for
        what goes wrong: a fault that could not be done is one that took no effect."""
        try:
            return Done("info", await self._do(op))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._say(f"nemesis: {op.f} {op.key}: {error!r}")
            return Done("info", error=repr(error))

    async def _do(self, op: Op) -> Any:
        if op.key in (BEGIN, END):
            args = dict(op.value)
            fault = Fault(op.f, float(args.pop("seconds")), args)
            package = self._owners[op.f]
            if op.key == END:
                undone = await package.end(fault)
                # Until it has recovered there would be nothing to compare the next one with.
                await self._control.wait_serving(RECOVERED_S)
                return undone
            self._say(f"{op.f} for {fault.seconds:.1f} s")
            return await package.begin(fault)
        if op.key == HEAL:
            await self.heal()
            return {"serving": await self._control.wait_serving(self._patience_s)}
        if op.key == SETTLE:
            return {"settled": await self._settle()}
        return None

    async def heal(self) -> None:
        """Undo whatever is left of any fault; each package is given its chance."""
        failed: list[Exception] = []
        for package in self._packages.values():
            try:
                await package.heal()
            except Exception as error:  # noqa: BLE001 - said below, after all had theirs
                failed.append(error)
        if failed:
            raise ExceptionGroup("not everything could be undone", failed)

    async def _settle(self) -> bool:
        """Wait until every member has applied all that was committed when it was asked."""
        newest = max((one.commit_index for one in self._monitor.latest.values()), default=0)
        asked = max((one.time for one in self._monitor.latest.values()), default=0.0)

        def settled() -> bool:
            latest = self._monitor.latest.values()
            return all(
                one.answered and one.time > asked and one.applied_index >= newest
                for one in latest
            )

        return await self._until(settled, min(SETTLED_S, self._patience_s))

    async def still(self, seconds: float) -> bool:
        """Wait until all members show one revision, and have for two samples each."""
        before: dict[str, int] = {}

        def same() -> bool:
            latest = self._monitor.latest
            shown = {node: one.revision for node, one in latest.items() if one.answered}
            still = len(shown) == len(latest) and len(set(shown.values())) == 1
            return still and shown == before

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            before = {
                node: one.revision for node, one in self._monitor.latest.items() if one.answered
            }
            await asyncio.sleep(1.0)
            if same():
                return True
        return False

    @staticmethod
    async def _until(condition: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True
