# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""What steps draw, against the real state machine: who does a step again is given the same."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

import raftstate
from raftstate import content
from raftstate.client import recordings
from raftstate.client.store import Store
from raftstate.errors import OutcomeUnknown
from raftstate.v1.recording_pb2 import RecordingKind
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores


class Draws:
    """A function that gives another number each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return self.count

    async def later(self) -> int:
        """The same as a coroutine function."""
        await asyncio.sleep(0)
        return self()


async def kept(store: Store, agent_id: str) -> list[tuple[int, str, Any]]:
    """What is recorded of an agent."""
    return [
        (one.step, one.key, raftstate.decode(one)) async for one in store.get_recorded(agent_id)
    ]


@asynchronous
async def test_a_step_keeps_what_it_draws() -> None:
    """
    With the step, under keys that it makes or is given; once per key.
    """
    draws = Draws()
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            first = await step.record("llm", draws.later)
            second = await step.record("llm", lambda: asyncio.sleep(0, draws()))
            third = await step.record("tool", draws, "price")
            again = await step.record("tool", draws, "price")
            early = await kept(store, "a")
        async with agent.step() as step:
            step.event("e", {"t": step.time(), "n": step.random(), "u": str(step.uuid())})
        found = await kept(store, "a")
        kinds = [one.kind async for one in store.get_recorded("a", from_step=2)]

    assert (first, second, third, again) == (1, 2, 3, 3)
    assert early == []
    assert found[:3] == [(1, "llm/1", 1), (1, "llm/2", 2), (1, "price", 3)]
    assert [key for _, key, _ in found[3:]] == ["random/1", "time/1", "uuid/1"]
    assert kinds == [
        RecordingKind.RECORDING_KIND_RANDOM,
        RecordingKind.RECORDING_KIND_TIME,
        RecordingKind.RECORDING_KIND_UUID,
    ]


@asynchronous
async def test_values_that_are_drawn_at_the_same_time_have_one_winner() -> None:
    """
    Under one key the first that comes counts, also for who began to draw before it.
    """
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "slow"

    async def fast() -> str:
        gate.set()
        return "fast"

    async with stores(1) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            both = await asyncio.gather(
                step.record("llm", slow, "x"), step.record("llm", fast, "x")
            )
        found = await kept(store, "a")

    assert list(both) == ["fast", "fast"]
    assert found == [(1, "x", "fast")]


@asynchronous
async def test_a_step_that_fails_keeps_nothing_that_was_not_sent() -> None:
    """
    It is done again with new values; but what went with a request before counts.
    """
    draws = Draws()
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        with pytest.raises(ValueError, match="odd"):
            async with agent.step() as step:
                lost = await step.record("llm", draws)
                raise ValueError("odd")
        with pytest.raises(ValueError, match="odd"):
            async with agent.step() as step:
                sent = await step.record("llm", draws)
                assert [one.key for one in step.pending_recordings()] == ["llm/1"]
                raise ValueError("odd")
        async with agent.step() as step:
            given = await step.record("llm", draws)
        found = await kept(store, "a")

    assert (lost, sent, given) == (1, 2, 2)
    assert found == [(1, "llm/1", 2)]


@asynchronous
async def test_what_an_agent_records_is_there_at_once_and_a_successor_is_given_it() -> None:
    """
    Even if the step that follows is never committed; and only in that step.
    """
    draws = Draws()
    async with stores(2) as (_, (first, second)):
        async with first.own("a") as agent:
            one = await agent.record("llm", draws.later)
            other = await agent.record("llm", draws)
            durable = await kept(second, "a")
        async with second.own("a") as agent:
            again = [await agent.record("llm", pytest.fail) for _ in range(2)]
            async with agent.step() as step:
                inside = await step.record("llm", draws, "llm@1")
            new = await agent.record("llm", draws)

    assert (one, other) == (1, 2)
    assert durable == [(1, "llm@1", 1), (1, "llm@2", 2)]
    assert again == [1, 2]
    assert inside == 1
    assert new == 3


@asynchronous
async def test_what_comes_before_a_step_is_drawn_again_with_it() -> None:
    """
    Who does a step anew after it failed is given what was recorded before it.
    """
    draws = Draws()
    found = []
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        for odd in (True, False):
            found.append(await agent.record("llm", draws))
            with contextlib.suppress(ValueError):
                async with agent.step() as step:
                    step.event("e")
                    if odd:
                        raise ValueError("odd")
        found.append(await agent.record("llm", draws))

    assert found == [1, 1, 2]


@asynchronous
async def test_of_two_values_under_one_key_the_first_counts() -> None:
    """
    A handle that does not know of it is given it by the store, whatever it has drawn.
    """
    draws = Draws()
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        await agent.record("llm", draws, "x")
        agent.recorded = recordings.Recorded(1)
        given = await agent.record("llm", draws, "x")

    assert draws.count == 2
    assert given == 1


@asynchronous
async def test_more_than_the_bundle_holds_is_fetched() -> None:
    """
    A successor has all of what was drawn, however much that is.
    """
    async with stores(2) as (_, (first, second)):
        async with first.own("a") as agent:
            for number in range(3):
                await agent.record("tool", lambda: b"x" * 600_000, f"k{number}")
        async with second.own("a") as agent:
            more = agent.bundle.more_recordings
            async with agent.step() as step:
                sizes = [len(await step.record("tool", pytest.fail, f"k{n}")) for n in range(3)]

    assert more
    assert sizes == [600_000] * 3


@asynchronous
async def test_values_come_back_as_they_are_read_again() -> None:
    """
    Who drew a value is given it as everybody else is: bytes as they are, tuples as lists.
    """
    made: list[Callable[[], Any]] = [lambda: b"raw", lambda: (1, {2: "x"}), lambda: None]
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            found = [await step.record("other", each) for each in made]
        with pytest.raises(TypeError):
            async with agent.step() as step:
                await step.record("other", lambda: {1, 2})

    assert found == [b"raw", [1, {"2": "x"}], None]


@asynchronous
async def test_events_say_what_the_state_is_after_them() -> None:
    """
    A step's last one if the agent's state is known, any that is told; as its checkpoint
    would be read, so that keys and tuples make no difference.
    """
    state: dict[Any, Any] = {2: (1, 2), 10: "x"}
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            step.event("e", 1)
        agent.state_from(lambda: state)
        async with agent.step() as step:
            step.event("e", 2, state=None)
            step.event("e", 3)
            step.event("e", 4)
        async with agent.step() as step:
            step.event("e", 5, state=b"raw")
        hashes = [event.state_hash async for event in store.read_events("a")]

    assert hashes == [
        b"",
        content.state_hash(None),
        b"",
        content.state_hash({"10": "x", "2": [1, 2]}),
        raftstate.replay.state_hash(b"raw"),
    ]


@asynchronous
async def test_a_large_state_is_hashed_only_now_and_then() -> None:
    """
    So that a step costs no more than before: once every so many steps as it is large.
    """
    state = {"text": "x" * (2 * recordings.HASHED_BYTES)}
    asked = 0

    def of() -> Any:
        nonlocal asked
        asked += 1
        return state

    async with stores(1) as (_, (store,)), store.own("a") as agent:
        agent.state_from(of)
        for _ in range(7):
            async with agent.step() as step:
                step.event("e")
        hashes = [bool(event.state_hash) async for event in store.read_events("a")]

    assert hashes == [True, False, False, True, False, False, True]
    assert asked == 3


@asynchronous
async def test_an_unknown_outcome_keeps_no_value_from_being_drawn_again() -> None:
    """
    What may have been recorded is asked for again: the store's first value is given.
    """
    draws = Draws()
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        real = agent.write

        async def lose(kind: str, request: Any, timeout: float | None = None) -> Any:
            await real(kind, request, timeout)
            raise OutcomeUnknown("lost", definite=False)

        agent.write = lose  # type: ignore[method-assign]
        with pytest.raises(OutcomeUnknown):
            await agent.record("llm", draws, "x")
        agent.write = real  # type: ignore[method-assign]
        given = await agent.record("llm", draws, "x")

    assert given == 1
    assert draws.count == 2
