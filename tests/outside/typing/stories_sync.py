"""What agents are made of without an event loop: a takeover loop, a saga, a watch, breakers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import assert_type

import raftstate.sync
from raftstate.errors import (
    BreakerOpen,
    Compacted,
    EffectUnknown,
    OutcomeUnknown,
    OwnershipLost,
    RaftStateError,
)
from raftstate.sync import txn
from raftstate.v1.common_pb2 import FencingToken, StepHead

registry = raftstate.sync.Registry()


@registry.compensation("cancel-flight")
def cancel_flight(call: raftstate.sync.UndoCall) -> None:
    """Undo a booking."""
    if call.result is None:
        raise raftstate.sync.FailedForGood("nobody knows the booking")


@registry.reconciler("was-booked")
def was_booked(call: raftstate.sync.EffectCall) -> dict[str, str]:
    """Find out whether it happened."""
    raise raftstate.sync.NotDone(call.key)


@dataclass
class Bill:
    """The state of an agent."""

    done: int = 0
    total: float = 0.0


class Biller:
    """A program that owns its agent for as long as it can."""

    def __init__(self, store: raftstate.sync.Store, items: list[float]) -> None:
        self._store = store
        self._items = items
        self._bill = Bill()

    def run(self) -> Bill:
        """Go on, whoever takes over in between."""
        while True:
            try:
                with self._store.own("biller", wait=True, ttl=3.0) as agent:
                    return self._work(agent)
            except OwnershipLost as lost:
                print(lost.details.get("current_holder"), lost.definite)
            except OutcomeUnknown:
                continue

    def _work(self, agent: raftstate.sync.AgentHandle) -> Bill:
        self._bill = Bill(**agent.restore(default={"done": 0, "total": 0.0}))
        assert_type(agent.head, StepHead)
        assert_type(agent.token, FencingToken)
        for item in self._items[self._bill.done :]:
            with agent.step() as step:
                self._charge(step, item)
            assert_type(step.revision, int)
        return self._bill

    def _charge(self, step: raftstate.sync.Step, item: float) -> None:
        try:
            step.effect("charge", item, do=self._pay, undo="cancel-flight")
        except EffectUnknown as error:
            print(error.details)
        self._bill = Bill(self._bill.done + 1, self._bill.total + item)
        step.event("charged", {"of": item})
        step.checkpoint(self._bill.__dict__)

    def _pay(self, call: raftstate.sync.EffectCall) -> dict[str, float]:
        return {"paid": call.time_left}


def book(store: raftstate.sync.Store, agent: raftstate.sync.AgentHandle) -> None:
    """A saga: all of it, or nothing."""
    with store.saga("trip-7", agent=agent) as saga:
        assert_type(saga, raftstate.sync.Saga)
        if not saga.resumed:
            saga.step(
                "flight",
                {"to": "OSL"},
                do=lambda call: {"id": call.key},
                undo=raftstate.sync.Undo("cancel-flight"),
            )
    for plan in store.list_sagas(states=["compensating"]):
        print(plan.saga_id)


def follow(store: raftstate.sync.Store) -> Iterator[tuple[bytes, int]]:
    """A cache that goes on where it stopped."""
    token: str | None = None
    while True:
        try:
            with store.watch(prefix="cfg/", snapshot=token is None, token=token) as watch:
                for batch in watch:
                    token = batch.token
                    for change in batch.changes:
                        yield change.id, batch.revision
        except Compacted:
            token = None


def searching(store: raftstate.sync.Store) -> Callable[[str], list[str]]:
    """A breaker as a decorator, of a function and of a method."""

    @store.breaker("search", fallback=lambda text: [text])
    def search(text: str) -> list[str]:
        return [text]

    return search


def careful(store: raftstate.sync.Store) -> int:
    """Many blocks in one stack; and all errors in one place."""
    with ExitStack() as blocks:
        one = blocks.enter_context(store.own("one"))
        two = blocks.enter_context(store.own("two"))
        lease = blocks.enter_context(store.lease(9.0))
        assert_type(one, raftstate.sync.AgentHandle)
        done = store.txn(
            when=[txn.missing("lock")], then=[txn.put("lock", two.token_text, lease=lease)]
        )
        if not done.succeeded:
            return 0
    try:
        found = searching(store)("pens")
    except BreakerOpen as open_:
        print(open_.retry_after)
        return 1
    except RaftStateError as error:
        return 2 if error.definite else 3
    return len(found)


def main() -> None:
    """All of it."""
    with raftstate.sync.connect(["127.0.0.1:7411"], registry=registry) as store:
        print(Biller(store, [1.0, 2.0]).run(), careful(store))
        with store.own("b") as agent:
            book(store, agent)
        for key, revision in follow(store):
            assert_type(key, bytes)
            assert_type(revision, int)
        raftstate.sync.Worker(store, registry).run()
