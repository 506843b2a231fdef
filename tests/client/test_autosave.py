"""When a step carries a checkpoint by itself: the policies, and what asks them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from raftstate import Every, ForRpo
from raftstate.client.autosave import Autosave, Costs, Inherited, Policy
from raftstate.errors import InvalidRequest
from raftstate.v1.event_service_pb2 import Event
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """An owner as its clock sees it: steps of known length, checkpoints of known cost."""

    def __init__(self, policy: Policy, *, commit: float = 0.0, cost: float = 0.0) -> None:
        self.clock = Clock()
        self.auto = Autosave(policy, clock=self.clock)
        self._commit = commit
        self._cost = cost

    def step(self, seconds: float = 0.0, events: int = 1, size: int = 10) -> bool:
        """Work so long, and commit; whether the step carried a checkpoint."""
        self.clock.now += seconds
        began = self.clock.now
        due = self.auto.due(events, size)
        self.clock.now += self._commit + (self._cost if due else 0.0)
        if due:
            self.auto.saved(began)
        else:
            self.auto.committed(events, size, began)
        return due

    def steps(self, count: int, seconds: float = 0.0, **what: int) -> list[int]:
        """Take so many steps; which of them, from 1, carried a checkpoint."""
        return [n for n in range(1, count + 1) if self.step(seconds, **what)]


def test_every_so_many() -> None:
    """
    Steps, bytes of events and seconds are counted from the checkpoint before; whichever is
    first decides.
    """
    assert Worker(Every(steps=3)).steps(10) == [3, 6, 9]
    assert Worker(Every(steps=1)).steps(3) == [1, 2, 3]
    assert Worker(Every(bytes=25)).steps(10, size=10) == [3, 6, 9]
    assert Worker(Every(bytes=25)).steps(3, size=100) == [1, 2, 3]
    assert Worker(Every(seconds=5)).steps(12, seconds=2) == [3, 6, 9, 12]
    assert Worker(Every(steps=4, seconds=5)).steps(9, seconds=2) == [3, 6, 9]
    assert Worker(Every(steps=2, seconds=50)).steps(5, seconds=2) == [2, 4]


def test_policies_that_make_no_sense_are_refused() -> None:
    """
    A policy needs something to go by, and an RPO has to come from somewhere.
    """
    wrong: list[dict[str, Any]] = [{}, {"steps": 0}, {"seconds": -1}, {"steps": 2, "bytes": 0}]
    wrong.append({"seconds": float("nan")})
    for given in wrong:
        with pytest.raises(InvalidRequest):
            Every(**given)
    for given in ({"target": 0}, {"mtbf": -1}):
        with pytest.raises(InvalidRequest):
            ForRpo(**given)
    with pytest.raises(InvalidRequest):
        ForRpo().fixed(0)


@pytest.mark.parametrize("target", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("replay", [0.001, 0.02, 0.3])
@pytest.mark.parametrize("events", [1, 5])
def test_what_is_left_to_replay_stays_below_the_target(
    target: float, replay: float, events: int
) -> None:
    """
    At every commit the events since the checkpoint take less than the target to replay, by
    the cost that was measured, and there are no more checkpoints than that needs.
    """
    worker = Worker(ForRpo().fixed(target))
    worker.auto.costs.replayed(100, 100 * replay)
    left = most = saved = 0
    steps = 2_000
    for _ in range(steps):
        if worker.step(0.1, events=events):
            left = 0
            saved += 1
        else:
            left += events
        most = max(most, left)

    assert most * replay <= target
    # One fewer would not do: each interval holds as many steps as the target has room for.
    room = math.floor(target / (events * replay) + 1e-9)
    if room < steps:
        assert saved >= steps // (room + 1)
        assert saved <= -(-steps // max(room - 1, 1))


def test_without_a_measure_the_work_took_as_long_as_it_took() -> None:
    """
    Before anything was replayed, the time since the checkpoint is what may be lost.
    """
    worker = Worker(ForRpo(target=10))

    assert worker.steps(10, seconds=2) == [5, 10]


def test_with_a_known_failure_rate_young_decides() -> None:
    """
    Where failures are frequent the optimum is shorter than what the target allows, and
    grows with the root of what a checkpoint costs.
    """
    intervals = []
    for cost in (0.5, 2.0):
        worker = Worker(ForRpo(target=10_000, mtbf=100), cost=cost)
        worker.auto.costs.saved(cost)
        found = worker.steps(400, seconds=1)
        intervals.append((found[-1] - found[0]) / (len(found) - 1))

    assert intervals == [math.sqrt(2 * 0.5 * 100), math.sqrt(2 * 2.0 * 100)]


def test_costs_follow_what_is_measured() -> None:
    """
    A checkpoint costs what its step takes more than others; recent measures count more,
    and no events tell nothing.
    """
    costs = Costs()
    costs.replayed(0, 1.0)
    assert costs.replay_event is None
    costs.committed(0.010)
    costs.saved(0.110)
    assert costs.checkpoint == pytest.approx(0.1)
    costs.saved(0.005)
    assert costs.checkpoint == pytest.approx(0.075)
    costs.replayed(10, 1.0)
    costs.replayed(10, 2.0)
    assert costs.replay_event == pytest.approx(0.125)


def test_what_the_last_owner_left_counts() -> None:
    """
    Events that were there when the agent was acquired have to be replayed, too.
    """
    clock = Clock()
    auto = Autosave(ForRpo(target=1.0), Inherited(5, 95), clock)
    auto.costs.replayed(100, 1.0)

    assert [auto.due(1, 1), auto.due(6, 1)] == [False, True]


def test_steps_and_seconds_of_former_owners_count() -> None:
    """
    Owners that die young leave a checkpoint all the same; after it, counting begins anew.
    """
    clock = Clock()
    left = Inherited(steps=3, events=3, bytes=30, seconds=4.5)
    for policy in (Every(steps=4), Every(bytes=40), Every(seconds=5)):
        clock.now += 0.5
        auto = Autosave(policy, left, clock)
        clock.now += 0.5
        assert auto.due(1, 10)
        auto.saved(clock.now)
        assert not auto.due(1, 10)

    unmeasured = Autosave(ForRpo(target=6.0), left, clock)
    clock.now += 0.5
    assert not unmeasured.due(1, 10)
    clock.now += 0.5
    assert unmeasured.due(1, 10)


@asynchronous
async def test_owners_that_die_young_leave_checkpoints() -> None:
    """
    With one every 20 steps, lives of 15 steps each save in the second and in the third.
    """
    state = {"n": 0}
    async with stores(1) as (_, (store,)):
        for _ in range(5):
            async with store.own("a", auto_checkpoint=Every(steps=20)) as agent:
                state["n"] = agent.restore(default=0, fold=lambda count, _: count + 1)
                agent.state_from(lambda: state["n"])
                for _ in range(15):
                    async with agent.step() as step:
                        step.event("counted", state["n"])
                        state["n"] += 1
        saved = [one.step async for one in store.list_checkpoints("a")]

    assert saved == [60, 40, 20]


@asynchronous
async def test_steps_carry_checkpoints_by_themselves() -> None:
    """
    The step at which the policy is due holds the state after it; one that holds its own is
    left alone, and a successor restores from the newest.
    """
    async with stores(1) as (_, (store,)):

        def fold(state: dict[str, int], event: Event) -> dict[str, int]:
            return {"n": state["n"] + 1}

        async with store.own("a", auto_checkpoint=Every(steps=4)) as agent:
            state = agent.restore(default={"n": 0}, fold=fold)
            with pytest.raises(RuntimeError, match="state_from"):
                async with agent.step():
                    pass
            agent.state_from(lambda: state)
            for number in range(1, 11):
                async with agent.step() as step:
                    step.event("counted")
                    state["n"] += 1
                    if number == 6:
                        step.checkpoint(state)
            assert agent.costs.checkpoint is not None
        kept = [(one.checkpoint_id, one.event_seq) async for one in store.list_checkpoints("a")]
        async with store.own("a", auto_checkpoint=Every(steps=1)) as agent:
            begun = len(agent.events_since)
            state = agent.restore(default={"n": 0}, fold=fold)

    assert kept == [(3, 10), (2, 6), (1, 4)]
    assert (begun, state) == (0, {"n": 10})


@asynchronous
async def test_the_target_is_the_agents_own() -> None:
    """
    `ForRpo` takes the agent's target, measures what replaying costs when it restores, and
    refuses an agent without one.
    """
    async with stores(1) as (_, (store,)):
        await store.create_agent("a", rpo_target_ms=50)
        async with store.own("a") as agent, agent.step() as step:
            for _ in range(10):
                step.event("work")
        async with store.own("a", auto_checkpoint=ForRpo()) as agent:
            clock = Clock()
            agent._auto._clock = clock

            def slow(count: int, event: Event) -> int:
                clock.now += 0.01
                return count + 1

            count = agent.restore(default=0, fold=slow)
            agent.state_from(lambda: count)
            assert agent.costs.replay_event == pytest.approx(0.01)
            async with agent.step() as step:  # ten events of 10 ms are left: more than 50 ms
                step.event("work")
            first = agent.head.checkpoint_id
            saved: list[int] = []
            for number in range(1, 11):
                async with agent.step() as step:
                    step.event("work")
                if agent.head.checkpoint_id != first + len(saved):
                    saved.append(number)
        with pytest.raises(InvalidRequest):
            async with store.own("b", auto_checkpoint=ForRpo()):
                pass
        async with store.own("b", auto_checkpoint=ForRpo(target=1.0)):
            pass

    assert first == 1
    assert saved == [5, 10]
