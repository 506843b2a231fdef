# ruff: noqa: PT012  # names of the API; what is raised by the end of a block
"""How a client goes on trying, and what it says when it stops."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from raftstate.client.clock import now
from raftstate.client.options import BACKOFF_MAX_S, BACKOFF_MIN_S
from raftstate.client.store import Store
from raftstate.errors import (
    Fenced,
    NoQuorum,
    NotLeader,
    OutcomeUnknown,
    OwnershipLost,
    RaftStateError,
)
from tests.client.scripted import (
    FENCED,
    QUICK_S,
    SESSION_EXPIRED,
    Action,
    Member,
    Silence,
    asynchronous,
    members,
    not_leader,
    store_of,
)

# How late a busy machine may notice something.
SLACK_S = 0.3
TIMEOUT_S = 1.5


class Watched(Member):
    """A member that does not lead, and notes when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def next_action(self) -> Action:
        self.times.append(now())
        return super().next_action()


class Dice(random.Random):
    """Chance, and what came of it."""

    def __init__(self) -> None:
        super().__init__(7)
        self.thrown: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        found = super().uniform(a, b)
        assert (a, b) == (0.5, 1.0)
        self.thrown.append(found)
        return found


async def write(store: Store, timeout: float) -> None:
    await store.create_agent("b", timeout=timeout)


async def change(store: Store, timeout: float) -> None:
    await store.remove_member("n9", timeout=timeout)


async def wait_for(store: Store, timeout: float) -> None:
    async with store.own("a", wait=True, timeout=timeout):
        pass


@asynchronous
@pytest.mark.parametrize("ask", [write, change, wait_for])
async def test_no_attempt_is_begun_after_the_deadline(
    ask: Callable[[Store, float], Awaitable[None]],
) -> None:
    """
    The pauses between attempts grow, by chance shorter than they might be, and all of them
    lie within the time that the caller gave. Measured by who is asked.
    """
    dice = Dice()
    async with members(1, kind=Watched) as (member,):
        store = store_of(member)
        store._options = replace(store._options, rng=dice)
        async with store:
            await store.create_agent("a")
            member.times.clear()
            dice.thrown.clear()
            member.always = not_leader()
            began = now()
            with pytest.raises((NotLeader, NoQuorum)) as caught:
                await ask(store, TIMEOUT_S)
            ended = now()
            member.always = None

    pauses = [after - before for before, after in pairwise(member.times)]
    least = [
        thrown * min(BACKOFF_MIN_S * 1.3**failures, BACKOFF_MAX_S)
        for failures, thrown in enumerate(dice.thrown, 1)
    ]
    assert caught.value.definite
    assert member.times[-1] < began + TIMEOUT_S + SLACK_S
    assert ended < began + TIMEOUT_S + SLACK_S
    assert len(pauses) >= 5
    # Never sooner than the dice said. One more was thrown for the attempt that was not made.
    assert all(pause >= wanted - 0.002 for pause, wanted in zip(pauses, least, strict=False))
    assert len(least) - len(pauses) in (0, 1)
    assert len(set(dice.thrown)) == len(dice.thrown)


@asynchronous
async def test_a_hint_is_followed_without_a_pause_and_once() -> None:
    """
    Two members that name each other are not asked in circles as fast as it goes.
    """
    async with members(2, kind=Watched) as (one, other), store_of(one, other) as store:
        await store.create_agent("a")
        one.times.clear()
        one.always, other.always = not_leader(other.address), not_leader(one.address)
        with pytest.raises(NotLeader):
            await store.create_agent("b", timeout=0.5)

    asked = sorted([*one.times, *other.times])
    assert asked[1] - asked[0] < SLACK_S
    assert 4 < len(asked) < 40


@asynchronous
async def test_everybody_is_asked_in_turn() -> None:
    """
    Without a hint each endpoint gets as many attempts as any other.
    """
    async with members(3, kind=Watched) as all_of, store_of(*all_of) as store:
        await store.create_agent("a")
        for member in all_of:
            member.times.clear()
            member.always = not_leader()
        with pytest.raises(NotLeader):
            await store.create_agent("b", timeout=0.7)
        counts = sorted(len(member.times) for member in all_of)

    assert counts[0] >= 1
    assert counts[-1] - counts[0] <= 1


# --- an attempt that was not answered, and what came after ----------------------


async def told(script: list[Action]) -> tuple[RaftStateError | None, Member]:
    """What a mutation comes to whose attempts go as the script says."""
    async with members(1) as (member,), store_of(member, attempt=QUICK_S) as store:
        await store.create_agent("first")
        member.script.extend(script)
        member.ids.clear()
        try:
            await store.create_agent("a", timeout=5.0)
        except RaftStateError as error:
            return error, member
        return None, member


def once(member: Member, attempts: int) -> bool:
    """Whether it was sent so often, and always as the same request."""
    ids = {(one.session_id, one.sequence) for one in member.ids}
    return len(member.ids) == attempts and len(ids) == 1


@asynchronous
async def test_timeout_then_not_leader_then_session_expired_is_unknown() -> None:
    """
    The first attempt may have happened, the second did not, and with the session the record
    is gone that could have told: it is not sent again under another session, either.
    """
    error, member = await told([Silence(), not_leader(), SESSION_EXPIRED])

    assert isinstance(error, OutcomeUnknown)
    assert not error.definite
    assert error.details["last_reason"] == "SESSION_EXPIRED"
    assert once(member, 3)


@asynchronous
async def test_timeout_then_not_leader_then_the_record_settles_it() -> None:
    """
    What the log says under the request's id is the outcome of all attempts: refused, or done.
    """
    error, member = await told([Silence(), not_leader(), FENCED])

    assert isinstance(error, Fenced)
    assert error.definite
    assert once(member, 3)

    error, member = await told([Silence(), not_leader(), None])

    assert error is None
    assert once(member, 3)


@asynchronous
async def test_a_step_whose_session_expires_unanswered_is_in_doubt() -> None:
    """
    That is what leaves the block, which owns no more; the store goes on.
    """
    found: list[Any] = []
    async with members(1) as (member,), store_of(member, attempt=QUICK_S) as store:
        with pytest.raises(OutcomeUnknown) as caught:
            async with store.own("a", ttl=60.0) as agent:
                member.script.extend([Silence(), not_leader(), SESSION_EXPIRED])
                async with agent.step(timeout=5.0) as step:
                    step.event("e")
        found.extend([agent.in_doubt, agent.lost])
        assert not step.committed
        await store.create_agent("b")
        opened = store.sessions_opened

    assert found == [True, True]
    assert not caught.value.definite
    assert opened == 2
    assert member.expected == [0, 0, 0]


@asynchronous
async def test_an_ownership_ends_with_its_session() -> None:
    """
    A session that expired costs a store nothing that owns nothing; a block is told.
    """
    async with members(1) as (member,), store_of(member) as store:
        with pytest.raises(OwnershipLost, match="session expired"):
            async with store.own("a", ttl=60.0):
                member.keep_alive = SESSION_EXPIRED
                sessions = store._engine.sessions
                assert sessions._beats is not None
                assert sessions.current is not None
                sessions._beats.start(sessions.current)  # which asks at once
                await asyncio.Event().wait()
        member.keep_alive = None
        async with store.own("a") as agent:
            assert not agent.lost
        assert store.sessions_opened == 2
