"""A choreographed saga: nobody leads it. Each agent does its part when it reads an event."""

from __future__ import annotations

import pytest

import raftstate
from raftstate.client.store import Store
from raftstate.errors import InvalidRequest, PlanState
from raftstate.v1.effect_service_pb2 import SAGA_STATE_COMPENSATED, SAGA_STATE_COMPLETED
from raftstate.v1.event_service_pb2 import Event
from tests.client.books import Broken, Outside, stores
from tests.client.scripted import asynchronous
from tests.client.test_worker import saga_is, working


async def order(store: Store, saga_id: str) -> None:
    """Begin a saga, and tell of it in an event: that is all that its agent does."""
    async with store.own("orders") as agent:
        await store.saga(saga_id, agent=agent, choreographed=True).__aenter__()
        async with agent.step() as step:
            step.event("ordered", {"saga": saga_id})


async def take_part(
    store: Store,
    out: Outside,
    name: str,
    after: str,
    *,
    fails: bool = False,
    dies: bool = False,
) -> None:
    """An agent that does its part for each event of a type, and tells of it; or gives the
    saga up, if it cannot. `dies`: once it has acted, before anybody knows that it did."""

    async def refused(call: raftstate.EffectCall) -> None:
        raise raftstate.NotDone(f"no {call.action} today")

    async with store.own(name) as agent:

        async def part(event: Event) -> None:
            if event.type != after:
                return
            saga_id = raftstate.decode(event)["saga"]
            try:
                async with agent.step() as step:
                    do = refused if fails else out.do
                    place = f"{saga_id}/{name}"
                    await step.effect(name, effect_id=place, do=do, undo="undo", saga=saga_id)
                    if dies:
                        raise Broken
                    step.event(f"{name} done", {"saga": saga_id})
            except raftstate.NotDone as error:
                await store.abort_saga(saga_id, agent=agent, reason=str(error))

        await store.projection(name, part).catch_up()


@asynchronous
async def test_who_cannot_do_its_part_gives_up_what_all_have_done() -> None:
    """
    The parts are done as the events come, once each, though one who takes part dies and its
    successor reads the event again. When the last one refuses, a worker that took no part
    undoes the others', newest first.
    """
    out = Outside()
    async with stores(4, out.registry) as (_, (orders, stock, post, other)):
        await order(orders, "s")
        with pytest.raises(Broken):
            await take_part(stock, out, "stock", "ordered", dies=True)
        await take_part(other, out, "stock", "ordered")
        await take_part(post, out, "label", "stock done")
        await take_part(orders, out, "post", "label done", fails=True)
        given_up = await other.get_saga("s")
        with pytest.raises(PlanState):
            await take_part(stock, out, "late", "ordered")
        async with working(other):
            await saga_is(stock, "s", SAGA_STATE_COMPENSATED)

    assert (given_up.reason, given_up.undoing.open) == ("no post today", 2)
    assert out.log == ["did stock", "did label", "undid label", "undid stock"]
    assert out.asked[:2] == ["do stock", "do label"]


@asynchronous
async def test_only_who_takes_part_gives_it_up_and_only_who_began_it_ends_it() -> None:
    """
    Another agent is refused, and the saga goes on as it did.
    """
    out = Outside()
    async with stores(1, out.registry) as (_, (store,)):
        await order(store, "s")
        await take_part(store, out, "stock", "ordered")
        async with store.own("stranger") as agent:
            with pytest.raises(InvalidRequest):
                await store.abort_saga("s", agent=agent)
        async with store.own("orders") as agent, store.saga("s", agent=agent) as saga:
            assert saga.resumed
        ended = await store.get_saga("s")

    assert ended.state == SAGA_STATE_COMPLETED
    assert out.log == ["did stock"]
