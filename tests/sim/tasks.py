"""Scripts in virtual time: generators that yield what they wait for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from raftstate.core.types import MemberId
from tests.sim.checks import Checks
from tests.sim.node import SimNode, Told


class Wait:
    """What a script waits for: an answer, or the end of a time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.value: Told | None = None
        self.over = False
        self.then: Callable[[], None] = lambda: None

    def give(self, value: Told | None) -> None:
        """End the wait, unless it is over."""
        if not self.over:
            self.over, self.value = True, value
            self.then()


Script = Generator[Wait, None, Any]


class Place(Protocol):
    """Where clients live: the world."""

    checks: Checks
    nodes: dict[MemberId, SimNode]

    @property
    def now(self) -> float: ...

    def after(self, seconds: float, action: Callable[[], None]) -> None: ...

    def trace(self, *facts: object) -> None: ...


class Task:
    """A script under way."""

    def __init__(self, place: Place, script: Script) -> None:
        self._place = place
        self._script = script
        self.done = False

    def resume(self) -> None:
        """Run to the next wait."""
        if self.done:
            return
        try:
            wait = next(self._script)
        except StopIteration:
            self.done = True
            return
        wait.then = self.resume
        self._place.after(wait.seconds, lambda: wait.give(None))

    def kill(self) -> None:
        """End the script where it stands."""
        if not self.done:
            self.done = True
            self._script.close()
