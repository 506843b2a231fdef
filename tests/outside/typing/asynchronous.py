"""An agent with an event loop, as a user's strict type checker sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

import raftstate
from raftstate import txn
from raftstate.errors import Conflict, OutcomeUnknown, OwnershipLost, RaftStateError
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.kv_service_pb2 import KeyValue, PutResponse

State = dict[str, int]


@raftstate.compensation("refund")
async def refund(call: raftstate.UndoCall) -> None:
    """Undo a charge."""
    print(call.result, call.key)


@raftstate.validator("small")
def small(restored: raftstate.Restored) -> bool:
    """Judge a state."""
    return bool(restored.state)


async def charge(call: raftstate.EffectCall) -> dict[str, str]:
    """Do something to the outside world."""
    call.check()
    return {"key": call.key}


def fold(state: State, event: Event) -> State:
    """Go on to the next state."""
    return {"done": state["done"] + event.seq}


async def owning(store: raftstate.Store) -> None:
    """Own, restore, step."""
    async with store.own(
        "billing", wait=True, auto_checkpoint=raftstate.Every(steps=9)
    ) as agent:
        assert_type(agent, raftstate.AgentHandle)
        state: State = agent.restore(default={"done": 0}, fold=fold)
        agent.state_from(lambda: state)
        async with agent.step(timeout=5.0) as step:
            assert_type(step, raftstate.Step)
            answer = await step.record("llm", lambda: 1)
            paid = await step.effect("charge", {"of": answer}, do=charge, undo=refund)
            step.event("charged", paid, event_id="x")
            step.checkpoint(state, labels={"a": "b"}, tags=["t"])
        assert_type(step.committed, bool)
        assert_type(agent.lost, bool)
        assert_type(agent.time_left, float)
        assert_type(await agent.wait_lost(0.1), bool)
        assert_type(await agent.checkpoint(state), int)
        assert_type(agent.token_text, str)
        async with store.saga("trip", agent=agent) as saga:
            await saga.step("book", do=charge, undo=raftstate.Undo("refund", timeout=3.0))
        try:
            assert_type(await agent.replay(lambda again: None), raftstate.replay.Replay)
        except raftstate.replay.ReplayDiverged as error:
            assert_type(error.divergence, raftstate.replay.Divergence)


async def reading(store: raftstate.Store) -> list[str]:
    """Keys, transactions, lists, watches."""
    seen = raftstate.Seen()
    assert_type(await store.keys.get("a", stale=True, seen=seen), KeyValue | None)
    async with store.lease(5.0) as lease:
        assert_type(await store.keys.put("a", b"1", lease=lease), PutResponse)
        done = await store.txn(when=[txn.missing("b")], then=[txn.put("b", "2", lease=lease)])
    assert_type(done.succeeded, bool)
    assert_type(await store.keys.delete("a"), bool)
    assert_type(store.list_agents(), AsyncIterator[Agent])
    found = [raftstate.decode(event) async for event in store.read_events("billing")]
    async with store.watch(types=["key"], prefix="a") as watch:
        async for batch in watch:
            assert_type(batch, raftstate.WatchBatch)
            found.append([change.id for change in batch.changes])
            break
    return [str(one) for one in found]


async def calling(store: raftstate.Store) -> None:
    """Breakers keep the types of what they guard."""

    async def search(text: str, *, most: int = 1) -> list[str]:
        return [text] * most

    def count(text: str) -> int:
        return len(text)

    await store.put_breaker("search", count_window=9, failure_rate=0.5, on_trip="notify")
    breaker = store.breaker("search", unreachable="call")
    assert_type(await breaker.call(search, "pens", most=2), list[str])
    assert_type(await breaker.call(count, "pens"), int)
    guarded = breaker(search)
    assert_type(await guarded("pens", most=2), list[str])
    async with breaker.guard():
        pass


async def handling(store: raftstate.Store, event: Event) -> None:
    """Consumers and the errors there are."""

    async def handle(one: Event) -> None:
        print(one.seq)

    def model(events: list[Event]) -> list[Any]:
        return [txn.put(one.event_id, b"") for one in events]

    assert_type(await store.projection("p", handle, prefix="a").catch_up(), int)
    await store.read_model("m", model).run()
    try:
        await store.rollback("billing", raftstate.known_good(), validators=["small"])
    except (Conflict, OutcomeUnknown, OwnershipLost) as error:
        assert_type(error.definite, bool)
        assert_type(error.details, dict[str, str])
    except RaftStateError as error:
        print(error.reason, error.retryable)


async def main() -> None:
    """All of it."""
    options = raftstate.connect(
        "127.0.0.1:7411", timeout=5.0, tls=raftstate.Tls("ca.pem", "cert.pem", "key.pem")
    )
    async with options as store:
        await owning(store)
        print(await reading(store))
        await raftstate.Worker(store, parallel=2).run()
