"""A session's requests: the old ones are told to make room, and all that it ended."""

import asyncio

import grpc
import pytest

from raftstate.client.alive import Alive
from raftstate.client.calls import Calls
from raftstate.client.options import Options
from raftstate.client.routing import Router
from raftstate.client.session import WINDOW, Session, Sessions
from raftstate.errors import NoQuorum
from tests.client.scripted import Refuse, asynchronous, members, store_of

FOREVER = float("inf")


async def begin_one_too_many(session: Session) -> None:
    for _ in range(WINDOW // 2 + 1):
        await session.begin(FOREVER)


@asynchronous
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_old_request_is_told(cancelled: bool) -> None:
    """
    Who waits for an ownership learns that its request is too old. That it was cancelled in
    the same turn of the loop hurts nobody else.
    """
    session = Session("s", 1, 10.0, 0.0)
    request_id = await session.begin(FOREVER)
    aged = asyncio.create_task(session.aged(request_id))
    await asyncio.sleep(0)
    if cancelled:
        aged.cancel()

    await begin_one_too_many(session)
    await asyncio.wait({aged})

    assert aged.cancelled() == cancelled
    assert session.lowest_unfinished == request_id.sequence


@asynchronous
async def test_the_end_of_a_session_is_told_while_a_waiter_is_cancelled() -> None:
    """
    The ownerships of a session that expired hear of it, once, whoever was just cancelled.
    """
    ended: list[Session] = []
    options = Options(("h:1",))
    router = Router(options)
    sessions = Sessions(options, Alive(options, router), Calls(router), ended.append)
    session = Session("s", 1, 10.0, 0.0)
    cancelled, waiter = (asyncio.create_task(session.over.wait()) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()

    sessions.expired(session)
    sessions.expired(session)

    assert ended == [session]
    assert await asyncio.wait_for(waiter, 1)


@asynchronous
async def test_room_that_there_is_is_given_at_once() -> None:
    """
    Also to who comes while others do not know yet that it is their turn, and none of whom
    will be over soon.
    """
    session = Session("s", 1, 10.0, 0.0)
    taken = [await session.begin(FOREVER) for _ in range(WINDOW)]
    first = asyncio.create_task(session.begin(FOREVER))
    await asyncio.sleep(0)
    for request_id in taken:
        session.finish(request_id)
    second = asyncio.create_task(session.begin(FOREVER))

    assert (await first).sequence == WINDOW + 1
    assert (await asyncio.wait_for(second, 1)).sequence == WINDOW + 2


@asynchronous
async def test_each_has_its_own_deadline_for_a_session_to_be_opened() -> None:
    """
    However little time is left to who asked for it first, or to any one attempt at it.
    """
    async with members(1) as (member,), store_of(member, timeout=0.3) as store:
        member.office = Refuse("NO_QUORUM", grpc.StatusCode.UNAVAILABLE)
        hasty = asyncio.create_task(store.create_agent("a"))
        await asyncio.sleep(0.2)
        patient = asyncio.create_task(store.create_agent("b", timeout=15.0))
        with pytest.raises(NoQuorum) as caught:
            await hasty
        await asyncio.sleep(0.5)
        member.office = None
        await patient

    assert caught.value.definite
    assert member.asked[-1] == "close"
