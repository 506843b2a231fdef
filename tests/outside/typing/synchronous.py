"""The same agent without an event loop, as a user's strict type checker sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import raftstate.sync
from raftstate.errors import Conflict, OutcomeUnknown, OwnershipLost, RaftStateError
from raftstate.sync import txn
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.kv_service_pb2 import KeyValue, PutResponse

State = dict[str, int]


@raftstate.sync.compensation("refund")
def refund(call: raftstate.sync.UndoCall) -> None:
    """Undo a charge."""
    print(call.result, call.key)


@raftstate.sync.validator("small")
def small(restored: raftstate.sync.Restored) -> bool:
    """Judge a state."""
    return bool(restored.state)


def charge(call: raftstate.sync.EffectCall) -> dict[str, str]:
    """Do something to the outside world."""
    call.check()
    return {"key": call.key}


def fold(state: State, event: Event) -> State:
    """Go on to the next state."""
    return {"done": state["done"] + event.seq}


def owning(store: raftstate.sync.Store) -> None:
    """Own, restore, step."""
    with store.own(
        "billing", wait=True, auto_checkpoint=raftstate.sync.Every(steps=9)
    ) as agent:
        assert_type(agent, raftstate.sync.AgentHandle)
        state: State = agent.restore(default={"done": 0}, fold=fold)
        agent.state_from(lambda: state)
        with agent.step(timeout=5.0) as step:
            assert_type(step, raftstate.sync.Step)
            answer = step.record("llm", lambda: 1)
            paid = step.effect("charge", {"of": answer}, do=charge, undo=refund)
            step.event("charged", paid, event_id="x")
            step.checkpoint(state, labels={"a": "b"}, tags=["t"])
        assert_type(step.committed, bool)
        assert_type(agent.lost, bool)
        assert_type(agent.time_left, float)
        assert_type(agent.wait_lost(0.1), bool)
        assert_type(agent.checkpoint(state), int)
        assert_type(agent.token_text, str)
        with store.saga("trip", agent=agent) as saga:
            saga.step("book", do=charge, undo=raftstate.sync.Undo("refund", timeout=3.0))
        try:
            assert_type(agent.replay(lambda again: None), raftstate.sync.replay.Replay)
        except raftstate.sync.replay.ReplayDiverged as error:
            assert_type(error.divergence, raftstate.sync.replay.Divergence)


def reading(store: raftstate.sync.Store) -> list[str]:
    """Keys, transactions, lists, watches."""
    seen = raftstate.sync.Seen()
    assert_type(store.keys.get("a", stale=True, seen=seen), KeyValue | None)
    with store.lease(5.0) as lease:
        assert_type(store.keys.put("a", b"1", lease=lease), PutResponse)
        done = store.txn(when=[txn.missing("b")], then=[txn.put("b", "2", lease=lease)])
    assert_type(done.succeeded, bool)
    assert_type(store.keys.delete("a"), bool)
    assert_type(store.list_agents(), Iterator[Agent])
    found = [raftstate.sync.decode(event) for event in store.read_events("billing")]
    with store.watch(types=["key"], prefix="a") as watch:
        for batch in watch:
            assert_type(batch, raftstate.sync.WatchBatch)
            found.append([change.id for change in batch.changes])
            break
    return [str(one) for one in found]


def calling(store: raftstate.sync.Store) -> None:
    """Breakers keep the types of what they guard."""

    def search(text: str, *, most: int = 1) -> list[str]:
        return [text] * most

    def count(text: str) -> int:
        return len(text)

    store.put_breaker("search", count_window=9, failure_rate=0.5, on_trip="notify")
    breaker = store.breaker("search", unreachable="call")
    assert_type(breaker.call(search, "pens", most=2), list[str])
    assert_type(breaker.call(count, "pens"), int)
    guarded = breaker(search)
    assert_type(guarded("pens", most=2), list[str])
    with breaker.guard():
        pass


def handling(store: raftstate.sync.Store, event: Event) -> None:
    """Consumers and the errors there are."""

    def handle(one: Event) -> None:
        print(one.seq)

    def model(events: list[Event]) -> list[Any]:
        return [txn.put(one.event_id, b"") for one in events]

    assert_type(store.projection("p", handle, prefix="a").catch_up(), int)
    store.read_model("m", model).run()
    try:
        store.rollback("billing", raftstate.sync.known_good(), validators=["small"])
    except (Conflict, OutcomeUnknown, OwnershipLost) as error:
        assert_type(error.definite, bool)
        assert_type(error.details, dict[str, str])
    except RaftStateError as error:
        print(error.reason, error.retryable)


def main() -> None:
    """All of it."""
    options = raftstate.sync.connect(
        "127.0.0.1:7411", timeout=5.0, tls=raftstate.sync.Tls("ca.pem", "cert.pem", "key.pem")
    )
    with options as store:
        owning(store)
        print(reading(store))
        raftstate.sync.Worker(store, parallel=2).run()
