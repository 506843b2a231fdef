"""The nemesis' thread: it does what it is told, undoes all of it, and waits for the cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from jepsen_like import monitor as monitors
from jepsen_like.breaker import Breaker
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.monitor import Monitor
from jepsen_like.phases import BEGIN, END, HEAL, SETTLE
from jepsen_like.protocols import Control, Fault, Op, Package, Sample, Window


class Scripted:
    """A package that notes what it is asked for, and can fail at it."""

    needs = frozenset[str]()

    def __init__(self, name: str, done: list[str], broken: str = "") -> None:
        self.name = name
        self.kinds = (f"{name}-it",)
        self._done = done
        self._broken = broken

    def draw(self, kind: str, draws: random.Random) -> Fault:
        return Fault(kind, draws.random())

    async def begin(self, fault: Fault) -> Any:
        return self._note(f"begin {fault.kind} {fault.seconds} {dict(fault.args)}")

    async def end(self, fault: Fault) -> Any:
        return self._note(f"end {fault.kind}")

    async def heal(self) -> None:
        self._note(f"heal {self.name}")

    def evidence(self, window: Window) -> str | None:
        return None

    def _note(self, what: str) -> str:
        self._done.append(what)
        if self._broken and self._broken in what:
            raise OSError(f"{what} is broken")
        return what


class Serving:
    """A cluster that serves."""

    async def wait_serving(self, timeout: float) -> bool:
        return timeout > 0


class Seen:
    """A monitor that shows what the test says."""

    def __init__(self, *samples: Sample) -> None:
        self.latest = {one.node: one for one in samples}

    def show(self, *samples: Sample) -> None:
        self.latest |= {one.node: one for one in samples}


def breaker(packages: Sequence[Scripted], seen: Seen | None = None) -> Breaker:
    by_name = {one.name: cast(Package, one) for one in packages}
    return Breaker(
        cast(Control, Serving()), by_name, cast(Monitor, seen or Seen()), lambda _: None
    )


def op(f: str, key: str) -> Op:
    return Op("nemesis", f, key, {"seconds": 2.5, "nth": 1})


def test_faults_go_to_their_package() -> None:
    """
    Each kind begins and ends at the one that has it, with what was drawn for it.
    """
    done: list[str] = []

    async def tell() -> None:
        one = breaker([Scripted("cut", done), Scripted("kill", done)])
        begun = await one.invoke(op("kill-it", BEGIN))
        ended = await one.invoke(op("kill-it", END))
        assert (begun.type, begun.value) == ("info", "begin kill-it 2.5 {'nth': 1}")
        assert (ended.type, ended.value) == ("info", "end kill-it")

    asyncio.run(tell())
    assert done == ["begin kill-it 2.5 {'nth': 1}", "end kill-it"]


def test_a_fault_that_fails_is_noted_and_the_run_goes_on() -> None:
    """
    The error stands in the history, from which no evidence can come.
    """

    async def tell() -> None:
        found = await breaker([Scripted("kill", [], "begin")]).invoke(op("kill-it", BEGIN))
        assert "is broken" in found.error
        assert found.type == "info"

    asyncio.run(tell())


def test_healing_gives_every_package_its_chance() -> None:
    """
    One that fails does not keep the others from undoing theirs; and it is told.
    """
    done: list[str] = []

    async def tell() -> None:
        one = breaker([Scripted("cut", done, "heal"), Scripted("kill", done)])
        found = await one.invoke(op("run", HEAL))
        assert "not everything could be undone" in found.error

    asyncio.run(tell())
    assert done == ["heal cut", "heal kill"]


def test_settled_is_when_all_have_applied_what_was_committed_at_the_question() -> None:
    """
    An answer from before the question does not count, nor does one that lacks something.
    """
    old = Sample(1.0, "n1", True, commit_index=10, applied_index=10)
    behind = Sample(1.1, "n2", True, commit_index=9, applied_index=8)

    async def tell() -> None:
        seen = Seen(old, behind)
        waiting = asyncio.create_task(breaker([], seen).invoke(op("run", SETTLE)))
        await asyncio.sleep(0.25)
        assert not waiting.done()
        seen.show(Sample(2.0, "n1", True, applied_index=11), Sample(2.0, "n2", False))
        await asyncio.sleep(0.25)
        assert not waiting.done()
        seen.show(Sample(2.2, "n2", True, applied_index=10))
        assert (await waiting).value == {"settled": True}

    asyncio.run(tell())


# --- what members say, on file ----------------------------------------------------


def test_samples_come_back_from_their_file(tmp_path: Path) -> None:
    """
    All that was said; a last line that a crash cut off is left out, other damage is not.
    """
    said = [
        Sample(
            0.1, "n1", True, role="leader", connected=("n2",), alarms=("NO_LEADER",), term=3
        ),
        Sample(0.2, "n2", False),
    ]
    path = tmp_path / "status.jsonl"
    path.write_text("".join(map(monitors.dump, said)) + '{"time": 0.3, "no')
    assert monitors.load(path) == said
    path.write_text('{"time": 0.3, "no\n' + monitors.dump(said[0]))
    with pytest.raises(MalformedHistory, match="line 1"):
        monitors.load(path)
