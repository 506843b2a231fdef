"""Review: ending a session while one of its waiting acquisitions is being cancelled."""

import asyncio

from raftstate.client.session import Session


def test_a_session_ends_while_a_waiter_is_being_cancelled() -> None:
    """`aged` may have been cancelled in this very turn of the loop."""

    async def scene() -> None:
        session = Session("s", 1, 10.0, 0.0)
        request_id = await session.begin(float("inf"))
        aged = asyncio.create_task(session.aged(request_id))
        await asyncio.sleep(0)
        aged.cancel()
        session.end()

    asyncio.run(scene())


def test_a_request_is_begun_while_an_old_waiter_is_being_cancelled() -> None:
    """An innocent caller must not get InvalidStateError for it."""

    async def scene() -> None:
        session = Session("s", 1, 10.0, 0.0)
        request_id = await session.begin(float("inf"))
        aged = asyncio.create_task(session.aged(request_id))
        await asyncio.sleep(0)
        for _ in range(500):
            await session.begin(float("inf"))
        aged.cancel()
        await session.begin(float("inf"))

    asyncio.run(scene())
