"""SessionService, and what was found out about streams that break.

How grpc.aio 1.85 shows the end of a stream to its handler, by experiment:

* The client ends its side in order (`done_writing`): the request iterator ends, and
  nothing else happens.
* The client process is killed or exits: the iterator ends as well, and within a turn
  or two of the loop the handler is cancelled (CancelledError where it stands). If it
  returns before that, it never learns of the difference.
* The client cancels its call, or its deadline passes: the same two, in that order. For
  a deadline `time_remaining()` is about 0: grpc rounds a timeout up, by at most a
  hundredth of it, so the client's ends a little before ours.
* The client closes its channel: cancelled at once.
* Our own server stops: as for a killed client, or cancelled alone.
* `context.cancelled()` is False in all of these, in the handler and in its done
  callbacks: it tells nothing.

So after the iterator has ended the handler stays for a moment: if it is cancelled in
that time the stream broke. A cancelled handler means a broken stream, unless we are
stopping or the client's own deadline for the stream has passed. A client that said its
orderly goodbye and is killed within that moment counts as broken, which is right too:
its process is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from raftstate.core import queries
from raftstate.core.ports import KeepAliveResult, Unavailable
from raftstate.rpc.errors import invalid_field, session_expired
from raftstate.rpc.frontend import Frontend
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    CloseSessionResponse,
    KeepAliveRequest,
    KeepAliveResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    OpenSessionRequest,
    OpenSessionResponse,
)
from raftstate.v1.session_service_pb2_grpc import SessionServiceServicer

# How long a handler whose requests have ended waits to be cancelled.
SETTLE_S = 0.05


class _Deadline:
    """The time that a client gave its stream, if it gave it any."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._given_s: float | None = context.time_remaining()

    def passed(self) -> bool:
        """Whether it has passed, or so nearly that the client may think so."""
        if self._given_s is None:
            return False
        return bool(self._context.time_remaining() <= 0.1 + 0.01 * self._given_s)


class Sessions(SessionServiceServicer):
    """The identity under which a client's mutations happen at most once."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        # How many keep-alive streams each session has here. A client may open the
        # next one before the end of the last is noticed: that session is alive.
        self._streams: Counter[str] = Counter()

    async def OpenSession(
        self, request: OpenSessionRequest, context: Any
    ) -> OpenSessionResponse:
        return await self._frontend.mutate(request, OpenSessionResponse)

    async def CloseSession(
        self, request: CloseSessionRequest, context: Any
    ) -> CloseSessionResponse:
        return await self._frontend.mutate(request, CloseSessionResponse)

    async def KeepAlive(
        self, request_iterator: AsyncIterator[KeepAliveRequest], context: Any
    ) -> AsyncIterator[KeepAliveResponse]:
        session_id = ""
        deadline = _Deadline(context)
        try:
            async for request in self._frontend.while_leading(request_iterator):
                self._frontend.check(request)
                if not session_id:
                    session_id = request.session_id
                    self._streams[session_id] += 1
                if request.session_id != session_id:
                    raise invalid_field("session_id", "has changed", "one session a stream")
                yield await self._keep(request)
            await asyncio.sleep(SETTLE_S)
        except (asyncio.CancelledError, GeneratorExit):
            ours = self._frontend.closing or self._streams[session_id] != 1
            if not ours and not deadline.passed():
                self._frontend.consensus.session_broken(session_id)
            raise
        finally:
            self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        if session_id:
            self._streams[session_id] -= 1
            if not self._streams[session_id]:
                del self._streams[session_id]

    async def _keep(self, request: KeepAliveRequest) -> KeepAliveResponse:
        opened = request.opened_revision
        # An id is only ever opened again later: what this member knows already, it need
        # not ask others. To ask would keep the newer session alive.
        if opened and self._opened_revision(request.session_id) > opened:
            raise session_expired(request.session_id)
        keep = partial(self._frontend.consensus.keep_session, request.session_id)
        answer = await self._frontend.ask(keep)
        if isinstance(answer, Unavailable):
            raise self._frontend.unavailable(answer)
        if not isinstance(answer, KeepAliveResult):
            raise TypeError(f"a keep-alive was answered with {answer!r}")
        if answer.ttl_ms is None:
            raise session_expired(request.session_id)
        if opened and self._opened_revision(request.session_id) != opened:
            raise session_expired(request.session_id)
        return KeepAliveResponse(
            header=self._frontend.status_header(), nonce=request.nonce, ttl_ms=answer.ttl_ms
        )

    def _opened_revision(self, session_id: str) -> int:
        """When the session that has an id here was opened; zero: there is none."""
        with self._frontend.view() as (reader, _):
            record = queries.get_session(reader, session_id)
        return 0 if record is None else record.session.opened_revision

    async def ListSessions(
        self, request: ListSessionsRequest, context: Any
    ) -> ListSessionsResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: queries.list_sessions(reader, page.after_text, page.size + 1),
        )
        response = ListSessionsResponse(header=header, sessions=found[: page.size])
        if len(found) > page.size:
            last = found[page.size - 1].session_id
            response.next_page_token = page.next_token(header, last)
        return response
