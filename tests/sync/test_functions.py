# ruff: noqa: PLW0108, SIM117  # blocks and calls are set out as users write them
"""The functions that users give to the sync face: plain ones, in the thread that called."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import raftstate.sync
from raftstate.errors import EffectUnknown
from raftstate.sync.store import Store
from raftstate.v1.effect_service_pb2 import EFFECT_STATE_UNKNOWN
from tests.sync.serving import stores, until


async def asynchronous(*_: Any) -> Any:
    """What only an event loop could call."""
    return 1


class Callable_:  # noqa: N801  # an object that is called
    """The same, as an object."""

    async def __call__(self, *_: Any) -> Any:
        """Called."""


GIVEN: dict[str, Callable[[Store, Any, Any], object]] = {
    "restore": lambda _, agent, f: agent.restore(fold=f),
    "state_from": lambda _, agent, f: agent.state_from(f),
    "record": lambda _, agent, f: agent.record("llm", f),
    "step.record": lambda _, agent, f: _in_step(agent, lambda s: s.record("llm", f)),
    "step.effect": lambda _, agent, f: _in_step(agent, lambda s: s.effect("x", do=f, undo="u")),
    "undo": lambda _, agent, f: _in_step(
        agent, lambda s: s.effect("x", do=lambda _: 1, undo=f)
    ),
    "Undo": lambda _, agent, f: _in_step(
        agent, lambda s: s.prepare("x", undo=raftstate.sync.Undo(f))
    ),
    "reconcile": lambda _, agent, f: _in_step(
        agent, lambda s: s.prepare("x", kind="reconcilable", undo="u", reconcile=f)
    ),
    "effect": lambda _, agent, f: agent.effect("x", effect_id="x", do=f, undo="u"),
    "replay": lambda store, _, f: store.replay("a", f),
    "agent.replay": lambda _, agent, f: agent.replay(f),
    "verify_replay": lambda store, _, f: store.verify_replay("a", f),
    "reconstruct": lambda store, _, f: store.reconstruct("a", reducer=f),
    "projection": lambda store, _, f: store.projection("p", f),
    "read_model": lambda store, _, f: store.read_model("p", f),
    "breaker": lambda store, _, f: store.breaker("b", fallback=f),
    "breaker.call": lambda store, _, f: store.breaker("b").call(f),
    "breaker()": lambda store, _, f: store.breaker("b")(f),
    "saga": lambda store, agent, f: store.saga("s", agent=agent).step("x", do=f, undo="u"),
    "compensation": lambda *given: raftstate.sync.compensation("f")(given[2]),
    "reconciler": lambda *given: raftstate.sync.reconciler("f")(given[2]),
    "validator": lambda *given: raftstate.sync.validator("f")(given[2]),
    "registry": lambda *given: raftstate.sync.Registry().validator("f")(given[2]),
    "check": lambda *given: raftstate.sync.replay.check_deterministic(given[2]),
}


def _in_step(agent: Any, act: Callable[[Any], object]) -> None:
    with agent.step() as step:
        act(step)


@pytest.mark.parametrize("function", [asynchronous, Callable_()], ids=["function", "object"])
def test_a_coroutine_function_is_refused(function: Any) -> None:
    """
    Wherever one is given: with a TypeError that says so, before anything is done.
    """
    with stores(1) as (served, (store,)), store.own("a") as agent:
        before = len(served.tell(lambda b: list(b.fake.proposed)))
        for name, give in GIVEN.items():
            with pytest.raises(TypeError, match="is a coroutine function") as caught:
                give(store, agent, function)
            assert "raftstate.sync" in str(caught.value), name
        assert len(served.tell(lambda b: list(b.fake.proposed))) == before


def test_what_would_have_to_be_awaited_is_refused() -> None:
    """
    A plain function that makes a coroutine has not begun it: nothing is kept of that, the
    effect was not done, and Python has nothing to warn of.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with stores(1) as (_, (store,)), store.own("a") as agent:
            with pytest.raises(TypeError, match="to await"), agent.step() as step:
                step.record("llm", lambda: asynchronous())
            with pytest.raises(TypeError, match="coroutine"), agent.step() as step:
                step.effect("x", do=lambda _: asynchronous(), kind="irreversible")
            [effect] = store.list_effects("a", states=["failed_before_effect"])
            assert effect.action == "x"
        gc.collect()


def test_what_a_function_raises_is_raised() -> None:
    """
    The very error, where the call was made; and it says what became of the effect.
    """
    error = ValueError("mine")

    def fail(*_: Any) -> None:
        raise error

    def stop(*_: Any) -> None:
        raise StopIteration

    with stores(1) as (_, (store,)), store.own("a") as agent:
        for act in (
            lambda s: s.record("llm", fail),
            lambda s: s.effect("x", do=fail, effect_id="x", kind="irreversible"),
        ):
            with pytest.raises(ValueError, match="mine") as caught:
                _in_step(agent, act)
            assert caught.value is error
        with pytest.raises(EffectUnknown):
            _in_step(
                agent, lambda s: s.effect("x", do=fail, effect_id="x", kind="irreversible")
            )
        with pytest.raises(RuntimeError, match="StopIteration"):
            _in_step(agent, lambda s: s.record("llm", stop))


def test_generators_run_in_the_users_thread() -> None:
    """
    One that is given to a call, and one that a model is: they may call the store themselves,
    and hold up nobody.
    """
    names: list[str] = []

    with stores(1) as (_, (store,)):

        def events(count: int) -> Iterator[Any]:
            for number in range(count):
                names.append(threading.current_thread().name)
                store.keys.get("k")
                yield raftstate.sync.event("e", number)

        def model(found: list[Any]) -> Iterator[Any]:
            for event in found:
                names.append(threading.current_thread().name)
                store.keys.get("k")
                yield raftstate.sync.txn.put(f"seen/{event.seq}", b"1")

        store.append("s", events(2))
        assert store.read_model("m", model).catch_up() == 2
        store.txn(then=(raftstate.sync.txn.put(key, b"1") for key in ("a", "b")))
        found = [one.key for one in store.keys.range()]

    assert set(names) == {threading.current_thread().name}
    assert {b"a", b"b", b"seen/1", b"seen/2"} <= set(found)


def test_what_was_cancelled_in_a_function_is_the_callers() -> None:
    """
    As where one runs an event loop of its own: the very error, and not that the store was
    closed. The effect may have happened.
    """

    def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError("mine")

    with stores(1) as (_, (store,)), store.own("a") as agent:
        for act in (
            lambda s: s.record("llm", cancelled),
            lambda s: s.effect("x", do=cancelled, kind="irreversible"),
        ):
            with pytest.raises(asyncio.CancelledError, match="mine"):
                _in_step(agent, act)
        [effect] = store.list_effects("a")
        assert effect.state == EFFECT_STATE_UNKNOWN
        store.append("s", [raftstate.sync.event("e")])
        with pytest.raises(asyncio.CancelledError, match="mine"):
            store.projection("p", cancelled).catch_up()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_a_function_is_the_callers(kind: type[BaseException]) -> None:
    """
    It ends the call, and not the thread that all calls run on. That the effect may have
    happened is noted.
    """

    def leave(_: object) -> None:
        raise kind("now")

    with stores(1) as (_, (store,)):
        with pytest.raises(kind, match="now"), store.own("a") as agent:
            with agent.step() as step:
                step.effect("x", do=leave, kind="irreversible")
        [effect] = store.list_effects("a")
        assert effect.state == EFFECT_STATE_UNKNOWN
        assert not store.get_agent("a").HasField("owner")
        registry = raftstate.sync.Registry()
        registry.compensation("leave")(leave)
        store.append("s", [raftstate.sync.event("e")])
        with pytest.raises(kind):
            store.projection("p", leave).catch_up()
        assert store.keys.get("k") is None


def test_a_worker_survives_an_exit_in_a_function() -> None:
    """
    In a thread of its own it is one more failure, to be tried again.
    """
    registry = raftstate.sync.Registry()
    tried: list[int] = []

    @registry.compensation("undo")
    def undo(call: raftstate.sync.UndoCall) -> None:
        tried.append(call.attempt)
        if call.attempt == 1:
            raise SystemExit

    with stores(2) as (_, (store, other)):
        worker = raftstate.sync.Worker(other, registry, poll=0.2)
        running = threading.Thread(target=worker.run)
        running.start()
        try:
            with store.own("a") as agent:
                saga = store.saga("s", agent=agent)
                saga.__enter__()
                saga.step("do", do=lambda _: None, undo="undo")
                store.abort_saga("s", agent=agent)
            until(lambda: worker.finished, "it is undone")
        finally:
            worker.stop()
            running.join(10)

    assert tried == [1, 2]


def test_a_state_is_asked_for_in_the_users_thread() -> None:
    """
    When a step's block has ended, and before it is committed: what fails there commits
    nothing, and leaves no step open.
    """
    names: list[str] = []
    state = {"n": 0}

    def ask() -> Any:
        names.append(threading.current_thread().name)
        if state["n"] == 2:
            raise ValueError("no state")
        return dict(state)

    every = raftstate.sync.Every(steps=1)
    with stores(1) as (_, (store,)):
        with store.own("a", auto_checkpoint=every) as agent:
            agent.state_from(ask)
            with agent.step() as step:
                step.event("e")
                state["n"] = 1
            with pytest.raises(ValueError, match="no state"), agent.step() as step:
                state["n"] = 2
            state["n"] = 3
            with agent.step() as step:
                step.event("e")
        saved = [raftstate.sync.decode(store.get_checkpoint("a", n))["n"] for n in (1, 2)]

    assert saved == [1, 3]
    assert set(names) == {threading.current_thread().name}
