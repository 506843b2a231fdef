"""Leases: what is put under one goes when it ends.

    async with store.lease(5.0) as lease:
        await store.keys.put("workers/7", "here", lease=lease)

Inside its block a lease is kept alive in the background. As with ownerships, time counts
from when an answered request was sent, so that this side never believes in a lease that
has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, Unpack

from raftstate.client import clock, reading
from raftstate.client.clock import now
from raftstate.client.engine import Engine
from raftstate.client.options import CLOSE_S, milliseconds, positive
from raftstate.client.reading import How
from raftstate.errors import LeaseNotFound, OutcomeUnknown, RaftStateError
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    GrantResponse,
    Lease,
    LeaseServiceKeepAliveRequest,
    LeaseServiceKeepAliveResponse,
    ListLeasesRequest,
    RevokeRequest,
    TimeToLiveRequest,
    TimeToLiveResponse,
)


class HeldLease:
    """`async with store.lease(ttl) as lease:`. See `Leases.lease`."""

    def __init__(
        self, engine: Engine, ttl: float, lease_id: int, timeout: float | None
    ) -> None:
        self._engine = engine
        self._asked = GrantRequest(ttl_ms=milliseconds(ttl), lease_id=lease_id)
        self._timeout = timeout
        self._lease: Lease | None = None
        self._valid_until = 0.0  # moved by the keep-alive thread
        self._over = False  # as that thread was told
        self._ended = asyncio.Event()
        self._heard = asyncio.Event()

    @property
    def lease_id(self) -> int:
        """The lease's id. Raises RuntimeError before it is granted."""
        return self._granted().lease_id

    def _granted(self) -> Lease:
        if self._lease is None:
            raise RuntimeError("the lease is not granted yet: use `async with`")
        return self._lease

    @property
    def ttl(self) -> float:
        """How long it outlives the last word of this process, in seconds."""
        return (self._lease or self._asked).ttl_ms / 1000

    @property
    def time_left(self) -> float:
        """Seconds for which this process may believe that the lease stands."""
        over = self._over or self._ended.is_set()
        return 0.0 if over else max(self._valid_until - now(), 0.0)

    @property
    def lost(self) -> bool:
        """Whether the lease has ended, or can no longer be sure to stand."""
        return self._lease is not None and self.time_left <= 0

    async def wait_lost(self) -> None:
        """Return once the lease is lost. Raises RuntimeError before it is granted.

        >>> async with store.lease(2.0) as lease:
        ...     _ = await store.revoke_lease(lease.lease_id)
        ...     await lease.wait_lost()
        ...     print(lease.lost, lease.time_left)
        True 0.0
        """
        self._granted()
        while not self.lost:
            await clock.wait(self._ended, self.time_left)

    async def __aenter__(self) -> Self:
        if self._lease is not None:
            raise RuntimeError("the lease was granted already: ask for another")
        sent = now()
        granting = asyncio.create_task(self._engine.mutate("grant", self._asked, self._timeout))
        try:
            answer = await asyncio.shield(granting)
        except asyncio.CancelledError:
            await self._take_back(granting)
            raise
        self._lease = answer.lease
        self._valid_until = sent + self.ttl
        if not self._engine.closed:
            self._engine.leases.start(self)
        try:
            await self._confirmed()
        except BaseException:
            await self._let_go()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._let_go()

    async def _take_back(self, granting: asyncio.Task[GrantResponse]) -> None:
        """Nobody waits for the lease any more, which may have been granted. Best effort,
        within a bounded time."""
        await asyncio.wait({granting}, timeout=CLOSE_S)
        granting.cancel()  # if it takes longer
        await asyncio.wait({granting})
        if not granting.cancelled() and granting.exception() is None:
            request = RevokeRequest(lease_id=granting.result().lease.lease_id)
            with contextlib.suppress(RaftStateError):
                await self._engine.mutate("revoke", request, CLOSE_S)

    async def _confirmed(self) -> None:
        """Return once the lease surely stands: at once, unless granting took long."""
        closed = self._engine.closed
        if not (closed or self.lost):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.0 if closed else self.ttl):
                await self._heard.wait()
        if self._ended.is_set():
            raise LeaseNotFound(
                f"lease {self.lease_id} ended before it could be kept alive", definite=True
            )
        if closed or self.lost:
            raise OutcomeUnknown(
                f"lease {self.lease_id} was granted, and could not be kept alive: it may"
                " stand until its ttl has passed",
                definite=False,
            )

    async def _let_go(self) -> None:
        """End the lease: best effort, within a bounded time; else it ends by itself."""
        self._engine.leases.stop(self)
        ended = self._ended.is_set()
        self._ended.set()
        if not ended and not self._engine.closed:
            with contextlib.suppress(RaftStateError):
                await self._engine.mutate(
                    "revoke", RevokeRequest(lease_id=self.lease_id), CLOSE_S
                )

    # --- the beat, on the keep-alive thread ---

    @property
    def interval(self) -> float:
        return self.ttl / 3

    def request(self, nonce: int) -> LeaseServiceKeepAliveRequest:
        return LeaseServiceKeepAliveRequest(lease_id=self.lease_id, nonce=nonce)

    def acknowledged(
        self, sent: float, answer: LeaseServiceKeepAliveResponse
    ) -> Callable[[], None] | None:
        if not answer.held:
            self._over = True
            return self._end
        self._valid_until = max(self._valid_until, sent + answer.ttl_ms / 1000)
        return None if self._heard.is_set() else self._heard.set

    def _end(self) -> None:
        """In the store's loop: the lease is no more."""
        self._ended.set()
        self._heard.set()
        self._engine.leases.stop(self)


class Leases:
    """The part of a `Store` that is about leases."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    def lease(
        self, ttl: float, *, lease_id: int = 0, timeout: float | None = None
    ) -> HeldLease:
        """A lease: `async with store.lease(5.0) as lease:`, kept alive inside the block.
        `ttl` is in seconds, from 0.5 to 86,400; without a `lease_id` the store chooses one.

        When the block ends, so does the lease, and the keys under it go. If the cluster is
        not heard of for `ttl` seconds, or somebody revokes it, `lease.lost` is true; the
        block is not interrupted for that. `lease.wait_lost()` returns then.

        Entering raises LeaseExists (definite) for an id that is taken, LeaseNotFound
        (definite) if it ended at once, and what every mutation raises.

        >>> async with store.lease(5.0) as lease:
        ...     _ = await store.keys.put("leases/lease", "here", lease=lease)
        ...     print((await store.keys.get("leases/lease")).value)
        b'here'
        >>> print(await store.keys.get("leases/lease"))
        None
        """
        return HeldLease(self._engine, positive("ttl", ttl), lease_id, timeout)

    async def grant_lease(
        self, ttl: float, *, lease_id: int = 0, timeout: float | None = None
    ) -> Lease:
        """A lease that nobody keeps alive: it ends after `ttl` seconds, 0.5 to 86,400.
        Raises LeaseExists (definite), and what every mutation raises.

        >>> lease = await store.grant_lease(60.0, lease_id=7001)
        >>> done = await store.keys.put("leases/grant", "for a minute", lease=lease)
        >>> lease.lease_id, lease.ttl_ms
        (7001, 60000)
        """
        request = GrantRequest(ttl_ms=milliseconds(positive("ttl", ttl)), lease_id=lease_id)
        answer = await self._engine.mutate("grant", request, timeout)
        lease: Lease = answer.lease
        return lease

    async def revoke_lease(self, lease_id: int, *, timeout: float | None = None) -> int:
        """End a lease; how many keys went with it. Raises LeaseNotFound (definite), and
        what every mutation raises.

        >>> lease = await store.grant_lease(5.0)
        >>> _ = await store.keys.put("leases/revoke", b"", lease=lease)
        >>> await store.revoke_lease(lease.lease_id)
        1
        """
        answer = await self._engine.mutate("revoke", RevokeRequest(lease_id=lease_id), timeout)
        deleted: int = answer.deleted
        return deleted

    async def get_lease(
        self, lease_id: int, *, keys: bool = False, timeout: float | None = None
    ) -> TimeToLiveResponse:
        """A lease, how long it lives on if nobody keeps it alive, in milliseconds, and, if
        asked for, its keys. Raises LeaseNotFound (definite), and what every read does.

        >>> async with store.lease(5.0) as lease:
        ...     _ = await store.keys.put("leases/get", b"", lease=lease)
        ...     found = await store.get_lease(lease.lease_id, keys=True)
        >>> found.lease.ttl_ms, found.time_left_ms > 0, list(found.keys)
        (5000, True, [b'leases/get'])
        """
        request = TimeToLiveRequest(lease_id=lease_id, with_keys=keys)
        answer: TimeToLiveResponse = await reading.read(
            self._engine, lambda peer: peer.leases.TimeToLive, request, timeout=timeout
        )
        return answer

    async def list_leases(self, **how: Unpack[How]) -> AsyncIterator[Lease]:
        """The live leases, in order of id, all at one revision. Raises Compacted (definite)
        should that be forgotten meanwhile, and what every read does.

        >>> async with store.lease(5.0) as lease:
        ...     print(lease.lease_id in [one.lease_id async for one in store.list_leases()])
        True
        """
        request = ListLeasesRequest()
        async for page in reading.pages(
            self._engine, lambda peer: peer.leases.ListLeases, request, how
        ):
            for lease in page.leases:
                yield lease
