"""Power loss and wrong clocks as faults: how they are drawn, done, and proven; and a live
cluster that loses its power and nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, cast

import pytest

from jepsen_like.control import LocalControl, ask
from jepsen_like.nemesis.clock import JUMP, STROBE, Clock
from jepsen_like.nemesis.power import Power
from jepsen_like.protocols import Control, Fault, Sample, Window
from jepsen_like.shims import Shims
from raftstate.client import connect

NODES = ("n1", "n2", "n3")
P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that runs in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


KINDS = [(Power, kind) for kind in Power.kinds] + [(Clock, kind) for kind in Clock.kinds]


@dataclass
class Told:
    """A control that writes down what it is told."""

    nodes: tuple[str, ...] = NODES
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def leader(self) -> str | None:
        return "n2"

    async def lose_power(self, mode: str, seed: int) -> Mapping[str, Any]:
        self.calls.append(("lose_power", mode, seed))
        return {"lost": {node: {"pages_lost": 4} for node in self.nodes}}

    async def start_nodes(self, nodes: Sequence[str]) -> None:
        self.calls.append(("start_nodes", *nodes))

    async def wait_serving(self, timeout: float) -> bool:
        self.calls.append(("wait_serving",))
        return True

    async def set_clock(self, node: str, offset_s: float) -> None:
        self.calls.append((node, offset_s))


@pytest.fixture
def told() -> Told:
    """A control that does nothing."""
    return Told()


@pytest.mark.parametrize(("package", "kind"), KINDS)
def test_the_draws_decide_the_fault(package: Any, kind: str, told: Told) -> None:
    """The same seed gives the same fault; another seed, another one."""
    drawn = [package(told).draw(kind, random.Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {fault.kind for fault in drawn} == {kind}


# --- power -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["drop", "some", "torn"])
@in_loop
async def test_all_nodes_go_down_and_start_again(told: Told, mode: str) -> None:
    """What is kept is drawn from the fault's own seed."""
    package = Power(cast(Control, told))
    fault = Fault(f"power-loss-{mode}", 1.0, {"seed": 77})
    await package.begin(fault)
    assert told.calls == [("lose_power", mode, 77)]
    assert await package.end(fault) == {"serving": True}
    await package.heal()
    assert told.calls[1:] == [
        ("start_nodes", *NODES),
        ("wait_serving",),
        ("start_nodes", *NODES),
    ]


REBUILT = "the machine went down, or the disk failed, while the state was open: state-2 begins"
LOST = {"lost": {node: {"pages_lost": 4} for node in NODES}}


def power_window() -> Window:
    """The power went at 10.0, and was back at 11.0."""
    samples = [
        Sample(9.0, node, True, uptime_ms=8_000, state_found="made anew") for node in NODES
    ]
    samples += [Sample(10.5, node, False) for node in NODES]
    samples += [
        Sample(13.0, node, True, uptime_ms=1_500, state_found=REBUILT) for node in NODES
    ]
    fault = Fault("power-loss-drop", 1.0, {"seed": 1})
    return Window(fault, 10.0, 11.0, LOST, None, samples, NODES)


def changed(window: Window, node: str, **to: Any) -> Window:
    """The window with other last words of a node."""
    *_, last = [at for at, one in enumerate(window.samples) if one.node == node]
    samples = list(window.samples)
    samples[last] = replace(samples[last], **to)
    return replace(window, samples=samples)


def test_a_power_loss_is_proven_by_every_node(told: Told) -> None:
    """All started anew, and found their state as a machine that went down leaves it."""
    said = Power(cast(Control, told)).evidence(power_window())
    assert said is not None
    assert "all 3 nodes" in said
    assert "12 pages" in said


@pytest.mark.parametrize(
    "to",
    [
        {"answered": False},
        {"uptime_ms": 9_000},
        {"state_found": "kept state-1 after the process ended"},
    ],
    ids=["one is silent", "one went on", "one has what was in memory"],
)
def test_what_is_no_power_loss_is_not_taken_for_one(told: Told, to: Any) -> None:
    """A kill of all nodes, or the loss of some, is another fault."""
    window = changed(power_window(), "n3", **to)
    assert Power(cast(Control, told)).evidence(window) is None


def test_a_node_that_was_stopped_in_good_order_keeps_its_state(told: Told) -> None:
    """It had synced all; but somebody must have been caught with an open state."""
    package, clean = Power(cast(Control, told)), "kept state-1 after a clean stop"
    window = changed(power_window(), "n3", state_found=clean)
    assert package.evidence(window) is not None
    for node in NODES:
        window = changed(window, node, state_found=clean)
    assert package.evidence(window) is None


# --- clocks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "nodes"), [("all", NODES), ("leader", ("n2",)), ("one", ("n1",))]
)
@in_loop
async def test_a_jump_is_done_and_undone(
    told: Told, target: str, nodes: tuple[str, ...]
) -> None:
    """To whom it was meant, and no one else; afterwards every clock is right."""
    package = Clock(cast(Control, told))
    fault = Fault(JUMP, 1.0, {"offset_s": -3_600.0, "target": target, "pick": 3})
    assert await package.begin(fault) == {"nodes": list(nodes), "offset_s": -3_600.0}
    assert told.calls == [(node, -3_600.0) for node in nodes]
    await package.end(fault)
    assert told.calls[len(nodes) :] == [(node, 0.0) for node in NODES]


@in_loop
async def test_a_strobe_toggles_until_it_ends(told: Told) -> None:
    """On and off in turn, and off in the end, also if only the heal comes."""
    package = Clock(cast(Control, told))
    fault = Fault(STROBE, 1.0, {"offset_s": 5.0, "target": "one", "pick": 0})
    await package.begin(fault)
    await asyncio.sleep(0.35)
    assert (await package.end(fault))["toggled"] in range(2, 6)
    shown = [offset for _, offset in told.calls[:-3]]
    assert shown == [5.0, 0.0, 5.0, 0.0, 5.0][: len(shown)]
    assert told.calls[-3:] == [(node, 0.0) for node in NODES]
    await package.begin(fault)
    await package.heal()
    quiet = len(told.calls)
    await asyncio.sleep(0.25)
    assert len(told.calls) == quiet
    assert told.calls[-3:] == [(node, 0.0) for node in NODES]


def clock_window(offset: float, *, seen: float) -> Window:
    """The clock of n2 was set wrong from 10.0 to 14.0, and showed to be off by `seen`."""
    samples = []
    for tick in range(32, 64):
        at = tick / 4
        for node in NODES:
            off = seen if node == "n2" and 10.0 <= at <= 14.0 else 0.0
            wall_ms = round((1_700_000_000 + at + off) * 1_000)
            samples.append(Sample(at, node, True, wall_time_ms=wall_ms))
    begun = {"nodes": ["n2"], "offset_s": offset}
    return Window(Fault(JUMP, 4.0), 10.0, 14.0, begun, None, samples, NODES)


@pytest.mark.parametrize("offset", [3_600.0, -3_600.0, 5.0])
def test_a_jump_is_proven_by_what_the_node_shows(told: Told, offset: float) -> None:
    """Compared with what there was before; a clock that goes on as before proves nothing."""
    package = Clock(cast(Control, told))
    said = package.evidence(clock_window(offset, seen=offset))
    assert said is not None
    assert f"n2 by {offset:+.1f} s" in said
    assert package.evidence(clock_window(offset, seen=0.0)) is None
    assert package.evidence(clock_window(offset, seen=-offset)) is None


def test_all_whose_clocks_were_set_must_show_it(told: Told) -> None:
    """One that does not is one that the fault did not reach."""
    window = replace(
        clock_window(5.0, seen=5.0), begun={"nodes": ["n2", "n3"], "offset_s": 5.0}
    )
    assert Clock(cast(Control, told)).evidence(window) is None


def test_a_node_that_is_only_just_there_shows_it_too(told: Told) -> None:
    """The one that was killed before says nothing until the clocks are wrong; and one that
    says nothing meanwhile shows nothing, which is not against the others."""
    package = Clock(cast(Control, told))
    window = clock_window(5.0, seen=5.0)
    late = [one for one in window.samples if one.node != "n2" or one.time >= 12.0]
    assert package.evidence(replace(window, samples=late)) is not None
    assert package.evidence(replace(window, samples=[s for s in late if s.node != "n1"]))

    both = {"nodes": ["n1", "n2"], "offset_s": 5.0}
    without = [one for one in window.samples if one.node != "n1"]
    assert package.evidence(replace(window, samples=without, begun=both)) is not None
    alone = [one for one in window.samples if one.node == "n3"]
    assert package.evidence(replace(window, samples=alone, begun=both)) is None


# --- live ------------------------------------------------------------------------------------

AGENTS = 4
STEPS = 25
SERVING_S = 60.0


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[LocalControl, Shims]]:
    """A cluster of three whose power can be taken away."""
    control = LocalControl.make(folder, 3)
    try:
        await control.start()
        if "power" not in control.abilities:
            pytest.skip("there is no C compiler")
        yield control, Shims.make(folder / "machine")
        assert control.unexpected_ends() == []
    finally:
        await control.stop()


class Writers:
    """Agents that write steps until they cannot any more."""

    def __init__(self, control: Control) -> None:
        self.acknowledged = [0] * AGENTS
        self._endpoints = ",".join(control.addresses.values())
        self._going: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Write, until all of them have so many more steps; and go on."""
        wanted = [count + STEPS for count in self.acknowledged]
        self._going = [asyncio.create_task(self._write(number)) for number in range(AGENTS)]
        async with asyncio.timeout(SERVING_S):
            while any(map(int.__lt__, self.acknowledged, wanted)):
                assert not any(task.done() for task in self._going)
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Nobody writes any more."""
        for task in self._going:
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)

    async def _write(self, number: int) -> None:
        async with (
            connect(self._endpoints) as store,
            store.own(f"agent/{number}", force=True) as agent,
        ):
            done = agent.restore(default={"done": 0})["done"]
            while True:
                done += 1
                async with agent.step() as step:
                    step.checkpoint({"done": done})
                self.acknowledged[number] = done

    async def found(self) -> list[int]:
        """What the cluster has of each."""
        found = []
        async with connect(self._endpoints) as store:
            for number in range(AGENTS):
                async with store.own(f"agent/{number}", force=True) as agent:
                    found.append(agent.restore(default={"done": 0})["done"])
        return found


@pytest.mark.live
@pytest.mark.slow  # every check has a run with this in it
@in_loop
async def test_no_acknowledged_step_is_lost_with_the_power(tmp_path: Path) -> None:
    """Under load the power goes, once in each way, and the cluster has every step that it
    acknowledged; and shows by itself that this is what happened."""
    async with running(tmp_path / "cluster") as (control, _):
        writers = Writers(control)
        for number, kind in enumerate(Power.kinds):
            package, fault = Power(control), Fault(kind, 1.0, {"seed": number})
            await writers.begin()
            begun = await package.begin(fault)
            await writers.end()
            undone = await package.end(fault)
            answers = await ask(control.addresses, 20.0)
            found = await writers.found()
            assert all(map(int.__ge__, found, writers.acknowledged)), (kind, begun)
            # Nothing is there that nobody sent: one step each was under way.
            assert max(map(int.__sub__, found, writers.acknowledged)) <= 1
            writers.acknowledged = found
            samples = [
                Sample(
                    10.0, node, True, uptime_ms=answer.uptime_ms, state_found=answer.state_found
                )
                for node, answer in answers.items()
                if answer is not None
            ]
            assert all(sample.uptime_ms < 10_000 + SERVING_S * 1e3 for sample in samples)
            window = Window(fault, -SERVING_S, 0.0, begun, undone, samples, control.nodes)
            assert package.evidence(window) is not None
            assert sum(one["pages_lost"] for one in begun["lost"].values()) > 0


@pytest.mark.live
@in_loop
async def test_disks_that_lie_lose_acknowledged_steps(tmp_path: Path) -> None:
    """From some moment on syncs do nothing: what was acknowledged before is there, what
    was acknowledged after is not. So the test above can fail."""
    async with running(tmp_path / "cluster") as (control, shims):
        writers = Writers(control)
        await writers.begin()
        for node in control.nodes:
            shims.let_disk_lie(node)
        truthful = list(writers.acknowledged)
        await writers.end()
        await writers.begin()
        await control.lose_power("drop", 1)
        await writers.end()
        for node in control.nodes:
            shims.let_disk_lie(node, lying=False)
        await control.start_nodes(control.nodes)
        assert await control.wait_serving(SERVING_S)
        found = await writers.found()
        assert all(map(int.__ge__, found, truthful))
        assert all(map(int.__lt__, found, writers.acknowledged))


@pytest.mark.live
@pytest.mark.slow  # every check has a run with this in it
@in_loop
async def test_a_clock_jumps_in_a_live_node(tmp_path: Path) -> None:
    """The node says so itself, and goes on; its leases do not end by it."""
    async with running(tmp_path / "cluster") as (control, _):
        writers, package = Writers(control), Clock(control)
        await writers.begin()
        leader = await control.leader()
        before = await ask(control.addresses, 5.0)
        for offset in (3_600.0, -3_600.0):
            fault = Fault(JUMP, 1.0, {"offset_s": offset, "target": "all", "pick": 0})
            await package.begin(fault)
            answers = await ask(control.addresses, 5.0)
            for node, answer in answers.items():
                was = before[node]
                assert answer is not None
                assert was is not None
                passed = answer.uptime_ms - was.uptime_ms
                off = answer.wall_time_ms - was.wall_time_ms - passed
                assert abs(off - offset * 1_000) < 1_000
            done = list(writers.acknowledged)
            await asyncio.sleep(1.0)
            assert all(map(int.__gt__, writers.acknowledged, done))
            await package.end(fault)
        await writers.end()
        assert await control.leader() == leader
        assert all(map(int.__ge__, await writers.found(), writers.acknowledged))
