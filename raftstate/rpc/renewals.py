"""Streams that keep things alive: ownerships and leases, many of them on one stream.

Only a leader serves them; one that stops leading ends the stream, so that the client goes
elsewhere. Answers need not come in the order of the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from google.protobuf.message import Message

from raftstate.core.ports import Answer, KeepAliveResult, Unavailable
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.lane import Lane, end

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


async def renewed(
    frontend: Frontend,
    requests: AsyncIterator[Request],
    keep: Callable[[Request, object], None],
    answered: Callable[[Request, int | None], Response],
) -> AsyncGenerator[Response, None]:
    """What `answered` makes of each request and of the time that is left to what it names,
    None if that has ended. `keep` hands a request and its ticket to consensus."""
    lane: Lane[Request] = Lane(frontend.limits.in_flight)
    reader = asyncio.ensure_future(_take(frontend, requests, keep, lane))
    try:
        async for batch in lane.batches():
            for request, answer in batch:
                yield answered(request, _time_left(frontend, answer))
        await reader
    finally:
        await end(reader)


async def _take(
    frontend: Frontend,
    requests: AsyncIterator[Request],
    keep: Callable[[Request, object], None],
    lane: Lane[Request],
) -> None:
    try:
        async for request in frontend.while_leading(requests):
            frontend.check(request)
            await lane.room()
            keep(request, lane.slot(request))
    finally:
        lane.complete()


def _time_left(frontend: Frontend, answer: Answer | Exception) -> int | None:
    if isinstance(answer, Unavailable):
        raise frontend.unavailable(answer)
    if not isinstance(answer, KeepAliveResult):
        raise TypeError(f"a renewal was answered with {answer!r}")
    return answer.ttl_ms
