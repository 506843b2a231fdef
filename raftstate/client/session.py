"""The client's identity for exactly-once: a session, its request ids, its keep-alive.

A request id stays the same over all attempts of a request. The session tells the
servers the lowest id whose outcome somebody here still waits for, so that they may
forget the outcomes below it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial

from raftstate.client.alive import Alive, Beating
from raftstate.client.calls import Calls, deadline_in, remaining, too_late
from raftstate.client.clock import now
from raftstate.client.errors import Ledger
from raftstate.client.fair import Lanes
from raftstate.client.options import CLOSE_S, Options, milliseconds
from raftstate.client.routing import Peer
from raftstate.errors import (
    Closed,
    InvalidRequest,
    NoQuorum,
    Overloaded,
    RaftStateError,
    SessionExpired,
)
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    CloseSessionResponse,
    KeepAliveRequest,
    KeepAliveResponse,
    OpenSessionRequest,
    OpenSessionResponse,
)

# How many requests may be unfinished at once: below the servers' 1,024.
WINDOW = 1_000
# Before it is tried anew to open a session, after that has failed for as long as it may.
_AGAIN_S = 0.05


class Session:
    """One session: its ids, and until when it surely stands."""

    def __init__(self, session_id: str, opened_revision: int, ttl: float, sent: float) -> None:
        self.session_id = session_id
        self.opened_revision = opened_revision
        self.ttl = ttl
        # Moved by the keep-alive thread, and read in the store's loop.
        self.valid_until: float = sent + ttl
        self.gone: bool = False  # as that thread was told; the store's loop soon learns of it
        self.over: asyncio.Event = asyncio.Event()  # as the store's loop has learnt
        self._next = 1
        self._unfinished: dict[int, None] = {}
        # Who waits for a place in the window; and how many have been given one that they do
        # not know of yet.
        self._rooms: Lanes[asyncio.Future[None]] = Lanes(lambda room: room.done())
        self._granted = 0
        self._long: dict[int, asyncio.Future[None]] = {}

    # --- request ids ---

    @property
    def lowest_unfinished(self) -> int:
        """The lowest sequence whose outcome somebody still waits for."""
        return next(iter(self._unfinished), self._next)

    async def begin(self, deadline: float, lane: str = "") -> RequestId:
        """The id of a new request, to be given back by `finish`. Those of a lane come in
        their order; where they have to wait for others, the lanes take turns.

        Raises Overloaded (definite) if the window stays full until the deadline."""
        if self._granted or self._is_full or self._rooms.first() is not None:
            await self._wait(deadline, lane)
        sequence = self._next
        self._next += 1
        self._unfinished[sequence] = None
        for old in [old for old in self._long if sequence - old > WINDOW // 2]:
            _tell(self._long.pop(old))
        return RequestId(
            session_id=self.session_id,
            sequence=sequence,
            lowest_unfinished=self.lowest_unfinished,
            opened_revision=self.opened_revision,
        )

    def finish(self, request_id: RequestId) -> None:
        """Nobody waits for this outcome any more. Harmless if that was said before."""
        self._unfinished.pop(request_id.sequence, None)
        self._grant()

    def holds(self, request_id: RequestId) -> bool:
        """Whether the servers remember this outcome, as it was not given back."""
        return request_id.sequence in self._unfinished

    @property
    def expired(self) -> bool:
        """Whether a server said that this session is no more."""
        return self.over.is_set()

    @property
    def _is_full(self) -> bool:
        return self._next + self._granted - self.lowest_unfinished >= WINDOW

    async def _wait(self, deadline: float, lane: str) -> None:
        """Wait for a place in the window."""
        room = asyncio.get_running_loop().create_future()
        self._rooms.put(lane, room)
        self._grant()  # there may be room behind those who do not know yet that they have it
        try:
            await asyncio.wait({room}, timeout=max(remaining(deadline), 0.0))
        except asyncio.CancelledError:
            if room.done():
                self._granted -= 1
                self._grant()
            else:
                room.cancel()
            raise
        if not room.done():
            room.cancel()
            raise Overloaded(f"{WINDOW} requests of this client are unfinished", definite=True)
        self._granted -= 1

    def _grant(self) -> None:
        """Give away the places that there are."""
        while not self._is_full and (room := self._rooms.first()) is not None:
            self._rooms.take()
            self._granted += 1
            room.set_result(None)

    async def aged(self, request_id: RequestId) -> None:
        """Return when this request has become so old that its id should make room for the
        others', as that of one that waits for an ownership may."""
        if self._next - request_id.sequence > WINDOW // 2:
            return
        future = self._long[request_id.sequence] = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            self._long.pop(request_id.sequence, None)

    def end(self) -> None:
        """A server said that this session is no more."""
        self.over.set()

    # --- the beat, on the keep-alive thread ---

    @property
    def interval(self) -> float:
        return self.ttl / 3

    def request(self, nonce: int) -> KeepAliveRequest:
        return KeepAliveRequest(session_id=self.session_id, nonce=nonce)

    def acknowledged(self, sent: float, answer: KeepAliveResponse) -> None:
        self.valid_until = max(self.valid_until, sent + answer.ttl_ms / 1000)

    def refused(
        self, error: RaftStateError, then: Callable[[], None]
    ) -> Callable[[], None] | None:
        """The stream failed: `then`, if that is because this session is no more."""
        if not isinstance(error, SessionExpired):
            return None
        self.gone = True
        return then


class Sessions:
    """The one session of a store: opened when first needed, replaced when it ends."""

    def __init__(
        self, options: Options, alive: Alive, calls: Calls, ended: Callable[[Session], None]
    ) -> None:
        """`ended` is called when a session turns out to have expired."""
        self._options = options
        self._alive = alive
        self._calls = calls
        self._ended = ended
        self._session: Session | None = None
        self._opening: asyncio.Task[Session] | None = None
        self._ledger = Ledger(changes=False)  # of opening the session
        self._beats: Beating | None = None
        self.opened: int = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def current(self) -> Session | None:
        """The session now open, if there is one."""
        return self._session

    async def get(self, deadline: float) -> Session:
        """The open session; opens one if there is none.

        Every failure is definite, for what the caller wanted was not sent yet."""
        while self._session is None:
            if self._closed:
                raise Closed("the client was closed", definite=True)
            opening = self._opening
            if opening is None or opening.done():
                opening = self._opening = asyncio.create_task(self._open())
                opening.add_done_callback(_seen)
            # Not read again after the wait: whoever woke up before us may have begun another.
            done, _ = await asyncio.wait({opening}, timeout=max(remaining(deadline), 0.0))
            if not done:
                why = self._ledger.last or "no member answered"
                raise NoQuorum(
                    f"no session could be opened before the deadline: {why}", definite=True
                ) from self._ledger.last
            if opening.cancelled():
                raise Closed("the client was closed", definite=True)
            try:
                return opening.result()
            except InvalidRequest:
                raise
            except RaftStateError as error:
                # It had a time of its own, which began with whoever asked first.
                if not self._ledger.may_pass(error) or too_late(deadline, _AGAIN_S):
                    raise NoQuorum(
                        f"no session could be opened: {error}", definite=True
                    ) from error
                await asyncio.sleep(_AGAIN_S)
        return self._session

    def expired(self, session: Session) -> None:
        """A server said that `session` has ended."""
        if session.expired:
            return
        try:
            session.end()
            if session is self._session:
                self._session = None
                self._stop_beats(session)
        finally:
            self._ended(session)  # said once only: its ownerships must learn of it

    async def close(self) -> None:
        """End the session: best effort, within a bounded time."""
        self._closed = True
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait({self._opening})
        session, self._session = self._session, None
        if session is not None:
            self._stop_beats(session)
            await self._end(session)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _open(self) -> Session:
        session_id = secrets.token_hex(16)
        sent = now()

        async def attempt(peer: Peer, patience: float) -> OpenSessionResponse:
            request = OpenSessionRequest(
                session_id=session_id,
                ttl_ms=milliseconds(self._options.session_ttl),
                client=self._options.client_name,
            )
            answer: OpenSessionResponse = await peer.sessions.OpenSession(
                request, timeout=patience
            )
            return answer

        # Opening the same id again is harmless, so nothing about it is ever unknown.
        self._ledger = Ledger(changes=False)
        answer = await self._calls.call(
            attempt,
            deadline=deadline_in(self._options.timeout),
            changes=False,
            ledger=self._ledger,
        )
        opened = answer.session
        session = Session(session_id, opened.opened_revision, opened.ttl_ms / 1000, sent)
        self._session = session
        self.opened += 1
        self._beats = self._alive.beating(
            lambda peer: peer.sessions.KeepAlive(),
            lambda error: session.refused(error, partial(self._told, session)),
        )
        self._beats.start(session)
        return session

    def _told(self, session: Session) -> None:
        """The keep-alive found it gone. One that was closed meanwhile is of no interest."""
        if session is self._session:
            self.expired(session)

    def _stop_beats(self, session: Session) -> None:
        beats, self._beats = self._beats, None
        if beats is not None:
            beats.stop(session)
            task = asyncio.create_task(beats.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _end(self, session: Session) -> None:
        async def attempt(peer: Peer, patience: float) -> CloseSessionResponse:
            request = CloseSessionRequest(session_id=session.session_id)
            answer: CloseSessionResponse = await peer.sessions.CloseSession(
                request, timeout=patience
            )
            return answer

        try:
            await self._calls.call(
                attempt, deadline=deadline_in(CLOSE_S), changes=False, patience=CLOSE_S / 2
            )
        except RaftStateError:
            # It ends by itself when its time is up: nothing depends on this.
            return


def _tell(future: asyncio.Future[None]) -> None:
    """Wake who waits, unless it was cancelled in this very turn of the loop."""
    if not future.done():
        future.set_result(None)


def _seen(task: asyncio.Task[Session]) -> None:
    """Whoever asked may have left: a failure that nobody fetches is no news."""
    if not task.cancelled():
        task.exception()
