# ruff: noqa: PT012  # what is raised by the end of a stream needs the whole loop
"""What the kit needs of the client and of the services, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from raftstate.client import clock
from raftstate.client.errors import Ledger
from raftstate.errors import Conflict, NoQuorum, NotLeader, OutcomeUnknown
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.office import Office, OfficeLost
from tests.client.scripted import asynchronous
from tests.rpc.fake import FakeConsensus, MemoryState

FINAL = {"retry": "never"}


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = clock.now()

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 7.0


@pytest.fixture
def hand() -> Iterator[Hand]:
    found = Hand()
    clock.follow(found)
    yield found
    clock.follow(None)


# --- the clock ---------------------------------------------------------------------


def test_the_clock_never_goes_back(hand: Hand) -> None:
    """
    Not when it is moved by hand no more, however far it was moved.
    """
    assert clock.wall() == 7.0
    hand.at += 1000.0
    moved = clock.now()
    clock.follow(None)
    first = clock.now()

    assert moved == hand.at
    assert 0 <= first - moved < 1.0
    assert first <= clock.now()
    assert clock.wall() > 1e9


@asynchronous
async def test_a_timer_without_a_hand_is_one_of_real_time() -> None:
    """
    It calls once, and not if it is cancelled; nothing is left of it.
    """
    called: list[str] = []
    done = asyncio.Event()
    clock.call_later(0.02, lambda: called.append("cancelled")).cancel()
    clock.call_later(0.05, done.set)
    clock.call_later(-1.0, lambda: called.append("late"))
    assert await clock.wait(done, 10.0)
    assert not await clock.wait(asyncio.Event(), 0.01)

    assert called == ["late"]
    assert clock.moved() == []


def test_timers_look_when_the_clock_is_moved(hand: Hand) -> None:
    """
    Those whose time has come call; the others go on waiting.
    """

    async def story() -> list[str]:
        called: list[str] = []
        clock.call_later(5.0, lambda: called.append("soon"))
        later = clock.call_later(50.0, lambda: called.append("later"))
        waiting = asyncio.create_task(clock.wait(asyncio.Event(), 5.0))
        await asyncio.sleep(0)
        hand.at += 4.0
        await _looked()
        assert called == []
        hand.at += 1.0
        await _looked()
        async with asyncio.timeout(5.0):
            assert not await waiting
        later.cancel()
        hand.at += 100.0
        await _looked()
        return called

    assert asyncio.run(story()) == ["soon"]


def test_a_timer_of_a_loop_that_is_closed_is_forgotten(hand: Hand) -> None:
    """
    There is nobody to call.
    """

    async def leave() -> None:
        clock.call_later(5.0, lambda: None)

    asyncio.run(leave())
    hand.at += 10.0

    assert clock.moved() == []
    assert clock.moved() == []


async def _looked() -> None:
    await asyncio.gather(*map(asyncio.wrap_future, clock.moved()))


# --- what is final -----------------------------------------------------------------


def test_what_is_said_to_be_final_needs_no_deadline() -> None:
    """
    A refusal is raised at once, and stays definite; silence stays unknown; for reads it
    leaves nothing behind.
    """
    refusal = NotLeader("no", definite=True, details=FINAL)
    silence = OutcomeUnknown("?", definite=False, details=FINAL)

    assert Ledger(changes=True).failed(NotLeader("no", definite=True)) is None
    assert Ledger(changes=True).failed(refusal) is refusal
    unknown = Ledger(changes=True).failed(silence)
    assert isinstance(unknown, OutcomeUnknown)
    assert not unknown.definite
    nothing = Ledger(changes=False).failed(silence)
    assert isinstance(nothing, NoQuorum)
    assert nothing.definite


def test_a_final_refusal_does_not_settle_what_is_unknown() -> None:
    """
    An attempt before it may have been carried out.
    """
    ledger = Ledger(changes=True)
    assert ledger.failed(OutcomeUnknown("?", definite=False)) is None
    after = ledger.failed(NoQuorum("no", definite=True, details=FINAL))
    recorded = Ledger(changes=True)
    assert recorded.failed(OutcomeUnknown("?", definite=False)) is None

    assert isinstance(after, OutcomeUnknown)
    assert not after.definite
    assert isinstance(recorded.failed(Conflict("no", definite=True)), Conflict)


# --- the office --------------------------------------------------------------------


@asynchronous
async def test_an_office_that_was_lost_while_a_request_was_answered_is_lost() -> None:
    """
    Also if it was won again meanwhile: the stream ends, and its client begins another.
    """
    bridge = Bridge(asyncio.get_running_loop())
    fake = FakeConsensus(bridge.deliver, MemoryState())
    office = Office(fake)
    office.look()

    async def asked() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    taken = []
    with pytest.raises(OfficeLost):
        async for number in office.requests(asked()):
            taken.append(number)
            if number == 1:
                for role in ("follower", "leader"):
                    fake.role = role
                    office.look()

    assert taken == [0, 1]
