"""Carrying out what is to be undone, where user code or others do not do what they should."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import raftstate
from raftstate.client import compensating
from raftstate.client import worker as worker_module
from raftstate.client.clock import now
from raftstate.client.compensating import Backoff, Carrier
from raftstate.client.store import Store
from raftstate.core import effect_queries
from raftstate.errors import NoQuorum, Owned
from raftstate.v1.effect_service_pb2 import (
    SAGA_STATE_COMPENSATED,
    SAGA_STATE_STUCK,
    CompensationItem,
)
from raftstate.v1.rollback_service_pb2 import ClaimCompensationsRequest
from raftstate.worker_cli import worker
from tests.client.books import SOON, Broken, Outside, stores
from tests.client.scripted import asynchronous, until
from tests.client.test_worker import given_up, saga_is, working


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compensating, "Backoff", lambda: SOON)
    monkeypatch.setattr(compensating, "_LET_GO_S", 0.05)


async def one_given_up(store: Store, out: Outside, **options: Any) -> None:
    """A saga of one step that is to be undone."""
    async with store.own("a") as agent:
        saga = store.saga("s", agent=agent)
        await saga.__aenter__()
        await saga.step("one", do=out.do, **options)
        await store.abort_saga("s", agent=agent)


async def stuck(store: Store) -> CompensationItem:
    """The one item of the saga, which must be stuck."""
    (item,) = await store.saga_items("s")
    assert (await store.get_saga("s")).state == SAGA_STATE_STUCK
    return item


@asynchronous
async def test_an_undoing_that_does_not_let_itself_be_cancelled_is_left_behind() -> None:
    """
    Its attempts fail when their time is over, until a person has to decide.
    """
    out, go_on = Outside(), asyncio.Event()
    begun: list[str] = []

    @out.registry.compensation("deaf")
    async def deaf(call: raftstate.UndoCall) -> None:
        begun.append(call.key)
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    async with stores(1, out.registry) as (_, (store,)):
        await one_given_up(store, out, undo="deaf", undo_timeout=0.05, attempts=2)
        async with asyncio.timeout(5):
            carried = await Carrier(store._engine).carry("saga/s")
        item = await stuck(store)
        go_on.set()

    assert carried.blocked
    assert item.error == "no answer in 0.05 s"
    assert begun == ["a#s/one:undo"] * 2


@asynchronous
async def test_an_undoing_that_was_cancelled_inside_has_failed() -> None:
    """
    Nobody cancelled who carries it out: it counts as an attempt like any other.
    """
    out = Outside()

    @out.registry.compensation("odd")
    async def odd(call: raftstate.UndoCall) -> None:
        raise asyncio.CancelledError

    async with stores(1, out.registry) as (_, (store,)):
        await one_given_up(store, out, undo="odd", attempts=3)
        await Carrier(store._engine).carry("saga/s")
        item = await stuck(store)

    assert item.failures == 3
    assert item.error.startswith("CancelledError")


@asynchronous
async def test_what_is_cancelled_in_the_middle_is_cancelled_all_the_way() -> None:
    """
    The undoing is not left running beside.
    """
    out, acting = Outside(), asyncio.Event()
    ended: list[str] = []

    @out.registry.compensation("slow")
    async def slow(call: raftstate.UndoCall) -> None:
        acting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async with stores(1, out.registry) as (_, (store,)):
        await one_given_up(store, out, undo="slow")
        task = asyncio.create_task(Carrier(store._engine).carry("saga/s"))
        await acting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert ended == ["ended"]


@asynchronous
async def test_an_error_that_is_no_text_counts_as_any_other() -> None:
    """
    Names of files need not be UTF-8, and errors hold them: what went wrong is noted.
    """
    out = Outside()
    out.failing = [OSError("no file b\udcff")] * 2
    async with stores(1, out.registry) as (_, (store,)):
        await one_given_up(store, out, undo="undo", attempts=2)
        await Carrier(store._engine).carry("saga/s")
        item = await stuck(store)

    assert item.error == "OSError: no file b?"


@asynchronous
async def test_what_was_found_need_not_fit_into_the_ledger() -> None:
    """
    A reconciler gives more than can be kept: the effect happened all the same, and is
    undone.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        await out.do(call)
        raise Broken

    @out.registry.reconciler("wordy")
    def wordy(call: raftstate.EffectCall) -> str:
        return "x" * (65 << 10)

    async with stores(1, out.registry) as (_, (store,)):
        async with store.own("a") as agent:
            saga = store.saga("s", agent=agent)
            await saga.__aenter__()
            how: Any = {"kind": "reconcilable", "undo": "undo", "leaves_tombstone": False}
            with pytest.raises(Broken):
                await saga.step("one", do=breaks, reconcile="wordy", **how)
            await store.abort_saga("s", agent=agent)
        async with asyncio.timeout(5):
            carried = await Carrier(store._engine).carry("saga/s")

    assert carried.done
    assert out.log == ["did one", "undid one"]


@asynchronous
async def test_who_waits_for_another_task_waits_no_longer_than_told() -> None:
    """
    Two tasks of one client take turns; the second is told that the first is at it.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await one_given_up(store, out, undo="undo")
        out.hanging = asyncio.Event()
        first = asyncio.create_task(Carrier(store._engine).carry("saga/s"))
        await until(lambda: len(out.asked) == 2, "it is at it")
        deadline = asyncio.get_running_loop().time() + 0.1
        async with asyncio.timeout(5):
            with pytest.raises(Owned) as caught:
                await Carrier(store._engine).carry("saga/s", deadline=deadline)
        out.hanging.set()
        carried = await first

    assert caught.value.definite
    assert carried.done


# --- workers ------------------------------------------------------------------


async def claimed(store: Store, plan_id: str) -> None:
    """Claim what a plan does next, and do nothing."""
    claim = ClaimCompensationsRequest(plan_id=plan_id, holder="who hangs")
    await store._engine.mutate("claim_compensations", claim, None)


@asynchronous
async def test_a_claim_that_lies_idle_is_taken_as_soon_as_it_may_be() -> None:
    """
    No poll and no change in the store is needed for that.
    """
    out = Outside()
    async with stores(3, out.registry) as (_, (store, first, second)):
        await given_up(store, out, "s", "one", "two")
        out.failing = [raftstate.FailedForGood("once")]
        await Carrier(first._engine).carry("saga/s")
        await store.decide("saga/s", 1, "retry")  # which the first never learns of
        began = now()
        async with working(second, poll=60.0, idle=0.2):
            await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert 0.2 <= now() - began < 5


@asynchronous
async def test_the_item_whose_turn_it_is_is_always_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    However long a plan is: a claim that lies idle far down in it is taken over as well.
    """
    monkeypatch.setattr(effect_queries, "ITEMS_BYTES_MAX", 1)  # one item is too many
    out = Outside()
    out.failing = []
    async with stores(3, out.registry) as (_, (store, first, second)):
        await given_up(store, out, "s", "one", "two", "three", "four")
        shown = []
        for position in (1, 2, 3):
            shown.append([item.position for item in await store.saga_items("s")])
            out.failing = [raftstate.FailedForGood("not now")]
            await Carrier(first._engine).carry("saga/s")
            await store.decide("saga/s", position, "done_by_hand")
        shown.append([item.position for item in await store.saga_items("s")])
        async with working(second, poll=0.05, idle=0.1):
            await saga_is(store, "s", SAGA_STATE_COMPENSATED)

    assert shown == [[1], [1, 2], [1, 3], [1, 4]]
    assert out.log[4:] == ["undid one"]


@asynchronous
async def test_what_a_worker_lacks_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """
    For a rollback as for a saga, and for a validator as for what undoes.
    """
    caplog.set_level(logging.WARNING, "raftstate.worker")
    out = Outside()
    some = raftstate.Registry()
    async with stores(2, out.registry) as (_, (store, other)):
        await store.put_validator("sane")
        for agent_id, undo in (("a", ["elsewhere"]), ("b", [])):
            async with store.own(agent_id) as agent:
                await agent.checkpoint({"n": 1})
                for each in undo:
                    await agent.effect("one", effect_id="x", do=out.do, undo=each)
            target = raftstate.to_checkpoint(1)
            await store.start_rollback(agent_id, target, validators=["sane"])
        async with working(other, some, poll=0.02):
            await until(lambda: len(caplog.messages) >= 2, "it has said so")
            await asyncio.sleep(0.2)

    told = sorted(message.partition(": ")[2] for message in caplog.messages)
    assert told == [f"nothing is registered here as {name!r}" for name in ("elsewhere", "sane")]


@asynchronous
async def test_a_worker_forgets_what_is_over() -> None:
    """
    What others had claimed, and have finished, it holds nothing of.
    """
    out = Outside()
    async with stores(3, out.registry) as (_, (store, first, second)):
        await given_up(store, out, "s", "one")
        await claimed(first, "saga/s")
        async with working(second, poll=0.02, idle=60.0) as worker:
            await until(lambda: "saga/s" in worker._seen, "it has seen that")
            await Carrier(first._engine).carry("saga/s")
            await until(lambda: not worker._seen, "it has forgotten that")
            assert not worker._timers


@asynchronous
async def test_a_worker_forgets_what_is_over_before_it_has_looked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It is told that a plan is over while it still looks at what the plan was before.
    """
    out, looks, told = Outside(), asyncio.Event(), asyncio.Event()
    understood = worker_module._plan

    async def patience(_worker: object, _item: object) -> float:
        looks.set()
        await told.wait()
        return 60.0

    def hears(resource: Any) -> tuple[str, bool]:
        plan_id, wanted = understood(resource)
        if not wanted:
            asyncio.get_running_loop().call_soon(told.set)
        return plan_id, wanted

    monkeypatch.setattr(raftstate.Worker, "_patience", patience)
    monkeypatch.setattr(worker_module, "_plan", hears)
    async with stores(3, out.registry) as (_, (store, first, second)):
        await given_up(store, out, "s", "one")
        await claimed(first, "saga/s")
        async with working(second, idle=60.0) as worker:
            await looks.wait()
            await Carrier(first._engine).carry("saga/s")
            await told.wait()
            await until(lambda: not worker._working, "it has looked")
            assert not worker._seen
            assert not worker._timers


@asynchronous
async def test_a_worker_does_not_wait_for_a_validator_to_stop() -> None:
    """
    It has changed nothing, and another asks its own.
    """
    out, asked = Outside(), asyncio.Event()

    @out.registry.validator("slow")
    async def slow(restored: raftstate.Restored) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    async with stores(2, out.registry) as (_, (store, other)):
        await store.put_validator("slow")
        async with store.own("a") as agent:
            await agent.checkpoint({"n": 1})
        await store.start_rollback("a", raftstate.to_checkpoint(1), validators=["slow"])
        async with asyncio.timeout(5), working(other):
            await asked.wait()


def test_a_worker_from_a_shell_holds_claims_for_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Should it die together with the leader, another goes on when its session has ended.
    """
    told: dict[str, Any] = {}

    def connect(endpoints: str, **how: Any) -> Store:
        told.update(how)
        raise NoQuorum("nobody is there", definite=True)

    (tmp_path / "its_undoings.py").write_text(
        "import raftstate\nraftstate.compensation('of a shell')(print)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("raftstate.client.connect", connect)

    CliRunner().invoke(worker, ["--module", "its_undoings"])

    assert told["session_ttl"] == 3.0


class Counted(Backoff):
    """A back-off that counts how often it was asked."""

    asked = 0

    def after(self, failures: int) -> float:
        """Hardly any time."""
        Counted.asked += 1
        return 0.001


@asynchronous
async def test_after_an_outage_it_looks_as_often_as_before() -> None:
    """
    That there is no work to be found is no failure.
    """
    out, looks = Outside(), 0
    Counted.asked = 0

    async def look() -> AsyncIterator[str]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.001)
        if looks <= 3:
            raise NoQuorum("nobody is there", definite=True)
        for plan_id in list[str]():
            yield plan_id

    async with stores(1, out.registry) as (_, (store,)):
        worker = raftstate.Worker(store, backoff=Counted())
        task = asyncio.create_task(worker._looking(look))
        await until(lambda: looks > 10, "it has looked often")
        task.cancel()

    assert Counted.asked == 3


@asynchronous
async def test_a_worker_that_was_stopped_takes_nothing_more_on() -> None:
    """
    Not even what waits for one of its slots.
    """
    out = Outside()
    async with stores(2, out.registry) as (_, (store, other)):
        await given_up(store, out, "s", "one")
        await given_up(store, out, "t", "two")
        out.hanging = asyncio.Event()
        worker = raftstate.Worker(other, parallel=1, poll=0.02, backoff=SOON)
        task = asyncio.create_task(worker.run())
        await until(lambda: len(out.asked) == 3, "it is at one of them")
        await until(lambda: len(worker._working) == 2, "the other one waits")
        worker.stop()
        read: list[str] = []
        carry, carrier = worker._carry, worker._carrier

        async def noted(plan_id: str, record: Any) -> bool:
            read.append(plan_id)
            return await carry(plan_id, record)

        worker._carry = noted  # type: ignore[method-assign]
        out.hanging.set()
        await task

    assert carrier is not None
    assert carrier.stopped
    assert read == []
