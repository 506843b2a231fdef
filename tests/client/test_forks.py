"""Forks, and what agents drew: what might have been is drawn anew."""

from __future__ import annotations

from typing import Any

import raftstate
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores


class Model:
    """It answers something else each time."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.asked

    async def job(self, agent: Any) -> None:
        """Three steps of an agent, which adds answers up."""
        state = agent.restore(default={"done": 0, "sum": 0})
        agent.state_from(lambda: state)
        while state["done"] < 3:
            async with agent.step() as step:
                answer = await step.record("llm", self)
                step.event("answered", answer)
                state = {"done": state["done"] + 1, "sum": state["sum"] + answer}
                step.checkpoint(state)


@asynchronous
async def test_a_fork_draws_anew_and_has_a_replay_of_its_own() -> None:
    """
    It begins with the checkpoint, and is given nothing of what the other drew after it. The
    other keeps its answers, and each can be replayed from its own.
    """
    model = Model()
    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            await model.job(agent)
        await store.fork_agent("a", "what-if", checkpoint_id=1)
        async with store.own("what-if") as agent:
            assert agent.restore() == {"done": 1, "sum": 1}
            await model.job(agent)
        drawn = {
            name: [raftstate.decode(one) async for one in store.get_recorded(name)]
            for name in ("a", "what-if")
        }
        asked = model.asked
        replays = [
            await store.replay("a", model.job),
            await store.replay("what-if", model.job, from_checkpoint=1),
            await store.replay("what-if", model.job),
        ]

    assert drawn == {"a": [1, 2, 3], "what-if": [4, 5]}
    assert [one.state["sum"] for one in replays] == [1 + 2 + 3, 1 + 4 + 5, 1 + 4 + 5]
    assert model.asked == asked
