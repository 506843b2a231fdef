"""Effects that are done again, because nobody knows whether they were done."""

from __future__ import annotations

import pytest

import raftstate
from tests.client.books import Broken, Outside, states, stores
from tests.client.scripted import asynchronous


@asynchronous
async def test_what_is_not_done_the_second_time_may_have_been_done_the_first_time() -> None:
    """
    NotDone of a repetition leaves it open: another key for what stands outside already
    would do it twice.
    """
    out = Outside()

    async def breaks(call: raftstate.EffectCall) -> None:
        await out.do(call)
        raise Broken

    def busy(call: raftstate.EffectCall) -> None:
        raise raftstate.NotDone("not now")

    async with stores(1, out.registry) as (_, (store,)), store.own("a") as agent:
        seen = []
        for do, error in ((breaks, Broken), (busy, raftstate.NotDone)):
            with pytest.raises(error):
                async with agent.step() as step:
                    await step.effect("book", do=do, undo="undo")
            seen.append(await states(store))
        async with agent.step() as step:
            await step.effect("book", do=out.do, undo="undo")
        after = await states(store)

    assert seen == [{"1/book/1": "UNKNOWN"}] * 2
    assert after == {"1/book/1": "COMMITTED"}
    assert out.log == ["did book"]
