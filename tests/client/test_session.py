"""A session's requests: the old ones are told to make room, and all that it ended."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from raftstate.client.alive import Alive
from raftstate.client.calls import Calls
from raftstate.client.options import Options
from raftstate.client.routing import Router
from raftstate.client.session import WINDOW, Session, Sessions
from tests.client.scripted import asynchronous

FOREVER = float("inf")


async def end(session: Session) -> None:
    session.end()


async def begin_one_too_many(session: Session) -> None:
    for _ in range(WINDOW // 2 + 1):
        await session.begin(FOREVER)


@asynchronous
@pytest.mark.parametrize("happens", [end, begin_one_too_many])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_old_request_is_told(
    happens: Callable[[Session], Awaitable[None]], cancelled: bool
) -> None:
    """
    Who waits for an ownership learns that its request is too old, or that the session
    has ended. That it was cancelled in the same turn of the loop hurts nobody else.
    """
    session = Session("s", 1, 10.0, 0.0)
    request_id = await session.begin(FOREVER)
    aged = asyncio.create_task(session.aged(request_id))
    await asyncio.sleep(0)
    if cancelled:
        aged.cancel()

    await happens(session)
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
    aged = asyncio.create_task(session.aged(await session.begin(FOREVER)))
    await asyncio.sleep(0)
    aged.cancel()

    sessions.expired(session)
    sessions.expired(session)

    assert ended == [session]
