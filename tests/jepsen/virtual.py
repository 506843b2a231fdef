"""What the interpreter's tests share: virtual time, and clients of every character."""

from __future__ import annotations

import asyncio
import dataclasses
import selectors
from collections.abc import Callable, Coroutine, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from jepsen_like.history import Event, Writer, load, pairs
from jepsen_like.interpreter import ClientFactory, Tally, interpret
from jepsen_like.protocols import Done, Generator, Op

T = TypeVar("T")
Behave = Callable[[Op], Coroutine[Any, Any, Done]]

# --- virtual time --------------------------------------------------------------


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: whoever would wait is later at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour is an addition."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


# --- actors --------------------------------------------------------------------


async def at_once(op: Op) -> Done:
    """Answers without waiting for anything."""
    return Done("ok", {"said": op.value}, revision=3, node="n1")


def after(seconds: float, done: Done | None = None) -> Behave:
    """Answers after so long."""

    async def behave(_: Op) -> Done:
        await asyncio.sleep(seconds)
        return done or Done("ok")

    return behave


class Scripted:
    """A client that does what a function says, and remembers what was done to it."""

    def __init__(self, behave: Behave, opening: Behave = at_once) -> None:
        self._behave = behave
        self._opening = opening
        self.open_now = False
        self.closed = 0

    async def open(self) -> None:
        await self._opening(Op("", ""))
        self.open_now = True

    async def invoke(self, op: Op) -> Done:
        assert self.open_now, "not open"
        return await self._behave(op)

    async def close(self) -> None:
        self.open_now = False
        self.closed += 1


class Nobody:
    """A nemesis that has nothing to do."""

    def __init__(self, behave: Behave = at_once) -> None:
        self.invoke = behave


@dataclasses.dataclass
class Bench:
    """Runs a generator against clients that behave as they are told, in virtual time."""

    folder: Path
    made: list[Scripted] = dataclasses.field(default_factory=list)

    def run(
        self,
        generator: Generator,
        behave: Behave | Mapping[str, Behave] = at_once,
        *,
        opening: Behave = at_once,
        nemesis: Behave = at_once,
        threads: int = 2,
        clock: Callable[[], float] | None = None,
        **limits: Any,
    ) -> tuple[list[Event], Tally]:
        """The history that came of it, and the figures."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.jsonl"

        def factory(thread: str) -> ClientFactory:
            def make() -> Scripted:
                chosen = behave if callable(behave) else behave[thread]
                self.made.append(Scripted(chosen, opening))
                return self.made[-1]

            return make

        async def main() -> Tally:
            clients = {f"w/{n}": factory(f"w/{n}") for n in range(threads)}
            loop = asyncio.get_running_loop()
            return await interpret(
                generator, clients, Nobody(nemesis), writer, clock or loop.time, **limits
            )

        with Writer(path) as writer:
            try:
                tally = in_virtual_time(main())
            finally:
                assert load(path) == writer.events
        list(pairs(writer.events))  # raises for what no processes can have done
        assert all(one.time <= two.time for one, two in pairwise(writer.events))
        return writer.events, tally
