"""Whoever owns the cluster under test knows which ends it asked for, and which not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jepsen_like.control import (
    ControlError,
    LocalControl,
    NoLinks,
    RemoteControl,
    ask,
    leader_of,
    serve,
)
from jepsen_like.links import LinkProcess
from raftstate.localcluster import LocalCluster, LocalClusterError
from raftstate.v1.cluster_service_pb2 import ROLE_FOLLOWER, ROLE_LEADER, StatusResponse

WITHIN_S = 20.0


def answer(role: Any, term: int, *, ready: bool = True, commit: int = 1) -> StatusResponse:
    """What a member says."""
    said = StatusResponse(role=role, ready=ready, commit_index=commit)
    said.header.term = term
    return said


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.05)


# --- what is told without a cluster ---------------------------------------------------


def test_who_leads_and_whether_all_serve() -> None:
    """
    The ready leader of the highest term leads; a cluster serves when every member is ready
    with a committed entry, and one leads. Silence is no serving.
    """
    old, new = answer(ROLE_LEADER, 4), answer(ROLE_LEADER, 5)
    unready = answer(ROLE_LEADER, 6, ready=False)
    follower = answer(ROLE_FOLLOWER, 6)

    assert leader_of({"n1": old, "n2": new, "n3": unready, "n4": None}) == "n2"
    assert leader_of({"n1": follower, "n2": unready, "n3": None}) is None
    assert serve({"n1": new, "n2": follower})
    assert not serve({"n1": new, "n2": follower, "n3": None})
    assert not serve({"n1": new, "n2": answer(ROLE_FOLLOWER, 5, ready=False)})
    assert not serve({"n1": new, "n2": answer(ROLE_FOLLOWER, 5, commit=0)})
    assert not serve({"n1": follower})


def test_somebody_elses_cluster_is_not_touched() -> None:
    """
    A remote control has no abilities, and refuses all that needs one; where nobody
    answers, there is no cluster to control.
    """

    async def body() -> None:
        with pytest.raises(ControlError, match="nobody answers"):
            await RemoteControl.find("127.0.0.1:1, 127.0.0.1:2")
        control = RemoteControl({"n1": "127.0.0.1:1"})
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: control.kill(["n1"]),
            lambda: control.start_nodes(["n1"]),
            lambda: control.stop_node("n1"),
            lambda: control.pause(["n1"]),
            lambda: control.resume(["n1"]),
            lambda: control.lose_power("drop", 1),
            lambda: control.set_clock("n1", 1.0),
            lambda: control.links.cut([]),
            lambda: control.links.half_open([]),
            lambda: control.links.slow([], 0.1),
            lambda: control.links.flaky([], 0.1, 1),
        ]
        for call in calls:
            with pytest.raises(ControlError, match="no control over the"):
                await call()
        await control.links.mend()
        assert await control.links.counts() == {}
        assert control.abilities == frozenset()
        assert not await control.wait_serving(0.0)
        assert await control.leader() is None

    asyncio.run(body())


def test_before_its_start_there_is_nothing_to_hurt(tmp_path: Path) -> None:
    """
    Made but not started, a control knows its nodes, and does nothing to the folder.
    """

    async def body() -> None:
        control = LocalControl.make(tmp_path / "c", nodes=5)
        assert control.nodes == ("n1", "n2", "n3", "n4", "n5")
        assert control.addresses == {}
        assert control.unexpected_ends() == []
        assert control.log_path("n1") is None
        with pytest.raises(ControlError, match="not started"):
            await control.kill(["n1"])
        await control.stop()
        assert not (tmp_path / "c").exists()

    asyncio.run(body())


# --- with nodes ------------------------------------------------------------------------


@pytest.mark.live
def test_a_node_that_cannot_start_is_told_and_nothing_stays(tmp_path: Path) -> None:
    """
    The start fails with the end of its log, and afterwards neither a node nor the links
    are left.
    """

    async def body() -> None:
        control = LocalControl.make(tmp_path / "c", shims=False)
        control._command = (sys.executable, "-c", "raise SystemExit('planted')")
        try:
            with pytest.raises(LocalClusterError, match="planted"):
                await control.start()
        finally:
            await control.stop()
        assert isinstance(control.links, NoLinks)
        assert {control.cluster.state(node) for node in control.nodes} == {"stopped"}

    asyncio.run(body())


def test_links_that_end_by_themselves_are_told(tmp_path: Path) -> None:
    """
    Without links the cluster is harmed by nobody's plan: that is a finding of its own.
    """

    async def body() -> None:
        control = LocalControl.make(tmp_path)
        links = control._link_process = await LinkProcess.start(("n1", "n2"), tmp_path / "log")
        assert control.unexpected_ends() == []
        os.kill(links.pid, signal.SIGKILL)
        await until(lambda: asyncio.to_thread(lambda: links.returncode is not None))
        (end,) = control.unexpected_ends()
        assert end.startswith("the links ended by SIGKILL")
        await control.stop()

    asyncio.run(body())


def test_a_node_that_served_has_to_stop_in_good_order(tmp_path: Path) -> None:
    """
    SIGTERM may simply end one that was just started; of one that serves it is a finding.
    """
    log = tmp_path / "node.log"
    log.write_text('{"event": "serving"}\n')
    control = LocalControl.make(tmp_path / "c", shims=False)
    fake = SimpleNamespace(
        returncode=lambda node: -signal.SIGTERM,
        log_path=lambda node: log,
        logs=lambda node, lines=0: log.read_text(),
        state=lambda node: "running",
        start_node=lambda *_: 1,
        stop_node=lambda *_: None,
    )
    control._cluster = cast(LocalCluster, fake)

    async def restart() -> list[str]:
        await control.start_nodes(["n1"])
        await control.stop_node("n1")
        return control.unexpected_ends()

    assert asyncio.run(restart()) == []
    fake.start_node = lambda *_: log.write_text(log.read_text() * 2)
    assert "n1 ended by SIGTERM" in asyncio.run(restart())[0]


@pytest.mark.live
def test_the_life_of_a_cluster_under_control(tmp_path: Path) -> None:
    """
    What is asked for is done, and is no finding: SIGKILL of several, a stop in good order,
    a pause, a start. An end that nobody asked for is one, with how it ended and what the
    node said last, also if the node is started again before anybody looks.
    """

    async def body(control: LocalControl) -> None:
        await control.start()
        assert {"processes", "links"} <= control.abilities
        leader = await control.leader()
        assert leader in control.nodes
        one, other = (node for node in control.nodes if node != leader)

        await control.kill([one, other])
        assert [control.cluster.state(node) for node in (one, other)] == ["stopped"] * 2
        await control.kill([one])
        await control.start_nodes(control.nodes)
        assert await control.wait_serving(WITHIN_S)
        await control.pause([one])
        assert (await ask({one: control.addresses[one]}))[one] is None
        await control.resume(control.nodes)
        await control.stop_node(one)
        await control.stop_node(one)
        await control.start_nodes([one])
        await control.stop_node(one)  # it hardly began
        assert control.unexpected_ends() == []

        pid = control.cluster.pid(other)
        assert pid is not None
        os.kill(pid, signal.SIGABRT)
        await until(lambda: asyncio.to_thread(lambda: bool(control.unexpected_ends())))
        await control.start_nodes([one, other])
        (end,) = control.unexpected_ends()
        assert end.startswith(f"{other} ended by SIGABRT\n")
        assert '"event"' in end

        assert isinstance(control.links, LinkProcess)
        assert control.links.returncode is None
        assert await control.wait_serving(WITHIN_S)
        found = await RemoteControl.find(control.addresses[one])
        assert found.addresses == control.addresses
        await found.start()

    async def whole() -> None:
        control = LocalControl.make(tmp_path / "c", shims=False)
        try:
            await body(control)
        finally:
            await control.stop()
            await control.stop()
        assert len(control.unexpected_ends()) == 1
        log = control.log_path("n1")
        assert log is not None
        assert log.exists()

    asyncio.run(whole())


@pytest.mark.live
@pytest.mark.slow  # every check has a run with this in it
def test_the_machine_of_a_cluster_can_be_harmed(tmp_path: Path) -> None:
    """
    Where there is a C compiler: a power loss ends all nodes within 50 ms and counts what
    was lost, a clock is off by as much as it was told; and nothing of it is a finding.
    """

    async def body(control: LocalControl) -> None:
        await control.start()
        if "power" not in control.abilities:
            pytest.skip("there is no C compiler")
        await control.set_clock("n1", 3_600.0)
        said = await ask(control.addresses)
        assert said["n1"] is not None
        assert said["n2"] is not None
        assert 3_590 < (said["n1"].wall_time_ms - said["n2"].wall_time_ms) / 1e3 < 3_610
        await control.set_clock("n1", 0.0)
        lost = await control.lose_power("drop", seed=1)
        assert lost["killed"] == ["n1", "n2", "n3"]
        assert lost["spread_ms"] < 50
        assert set(lost["lost"]) == {"n1", "n2", "n3"}
        assert {control.cluster.state(node) for node in control.nodes} == {"stopped"}
        await control.start_nodes(control.nodes)
        assert await control.wait_serving(WITHIN_S)
        assert control.unexpected_ends() == []

    async def whole() -> None:
        control = LocalControl.make(tmp_path / "c")
        try:
            await body(control)
        finally:
            await control.stop()

    asyncio.run(whole())
