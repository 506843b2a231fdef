# Generated from raftstate/client/leases.py by scripts/generate. Not to be edited.

"""Leases: what is put under one goes when it ends.

    with store.lease(5.0) as lease:
        store.keys.put("workers/7", "here", lease=lease)

Inside its block a lease is kept alive in the background. As with ownerships, time counts
from when an answered request was sent, so that this side never believes in a lease that
has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self, Unpack, cast

from raftstate.client import leases as face
from raftstate.client.reading import How
from raftstate.sync.running import Face
from raftstate.v1.lease_service_pb2 import Lease, TimeToLiveResponse


class HeldLease(Face, of=face.HeldLease):
    """`with store.lease(ttl) as lease:`. See `Leases.lease`."""

    @property
    def _it(self) -> face.HeldLease:
        return cast(face.HeldLease, self._object)

    @property
    def lease_id(self) -> int:
        """The lease's id. Raises RuntimeError before it is granted."""
        return self._it.lease_id

    @property
    def ttl(self) -> float:
        """How long it outlives the last word of this process, in seconds."""
        return self._it.ttl

    @property
    def time_left(self) -> float:
        """Seconds for which this process may believe that the lease stands."""
        return self._it.time_left

    @property
    def lost(self) -> bool:
        """Whether the lease has ended, or can no longer be sure to stand."""
        return self._it.lost

    def wait_lost(self) -> None:
        """Return once the lease is lost. Raises RuntimeError before it is granted.

        >>> with store.lease(2.0) as lease:
        ...     _ = store.revoke_lease(lease.lease_id)
        ...     lease.wait_lost()
        ...     print(lease.lost, lease.time_left)
        True 0.0
        """
        self._do(self._it.wait_lost())

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.leave(self._it.__aexit__, error, trace)


class Leases(Face, of=face.Leases):
    """The part of a `Store` that is about leases."""

    @property
    def _it(self) -> face.Leases:
        return cast(face.Leases, self._object)

    def lease(
        self, ttl: float, *, lease_id: int = 0, timeout: float | None = None
    ) -> HeldLease:
        """A lease: `with store.lease(5.0) as lease:`, kept alive inside the block.
        `ttl` is in seconds, from 0.5 to 86,400; without a `lease_id` the store chooses one.

        When the block ends, so does the lease, and the keys under it go. If the cluster is
        not heard of for `ttl` seconds, or somebody revokes it, `lease.lost` is true; the
        block is not interrupted for that. `lease.wait_lost()` returns then.

        Entering raises LeaseExists (definite) for an id that is taken, LeaseNotFound
        (definite) if it ended at once, and what every mutation raises.

        >>> with store.lease(5.0) as lease:
        ...     _ = store.keys.put("leases/lease", "here", lease=lease)
        ...     print((store.keys.get("leases/lease")).value)
        b'here'
        >>> print(store.keys.get("leases/lease"))
        None
        """
        return HeldLease(self._it.lease(ttl, lease_id=lease_id, timeout=timeout), self._running)

    def grant_lease(
        self, ttl: float, *, lease_id: int = 0, timeout: float | None = None
    ) -> Lease:
        """A lease that nobody keeps alive: it ends after `ttl` seconds, 0.5 to 86,400.
        Raises LeaseExists (definite), and what every mutation raises.

        >>> lease = store.grant_lease(60.0, lease_id=7001)
        >>> done = store.keys.put("leases/grant", "for a minute", lease=lease)
        >>> lease.lease_id, lease.ttl_ms
        (7001, 60000)
        """
        return self._do(self._it.grant_lease(ttl, lease_id=lease_id, timeout=timeout))

    def revoke_lease(self, lease_id: int, *, timeout: float | None = None) -> int:
        """End a lease; how many keys went with it. Raises LeaseNotFound (definite), and
        what every mutation raises.

        >>> lease = store.grant_lease(5.0)
        >>> _ = store.keys.put("leases/revoke", b"", lease=lease)
        >>> store.revoke_lease(lease.lease_id)
        1
        """
        return self._do(self._it.revoke_lease(lease_id, timeout=timeout))

    def get_lease(
        self, lease_id: int, *, keys: bool = False, timeout: float | None = None
    ) -> TimeToLiveResponse:
        """A lease, how long it lives on if nobody keeps it alive, in milliseconds, and, if
        asked for, its keys. Raises LeaseNotFound (definite), and what every read does.

        >>> with store.lease(5.0) as lease:
        ...     _ = store.keys.put("leases/get", b"", lease=lease)
        ...     found = store.get_lease(lease.lease_id, keys=True)
        >>> found.lease.ttl_ms, found.time_left_ms > 0, list(found.keys)
        (5000, True, [b'leases/get'])
        """
        return self._do(self._it.get_lease(lease_id, keys=keys, timeout=timeout))

    def list_leases(self, **how: Unpack[How]) -> Iterator[Lease]:
        """The live leases, in order of id, all at one revision. Raises Compacted (definite)
        should that be forgotten meanwhile, and what every read does.

        >>> with store.lease(5.0) as lease:
        ...     print(lease.lease_id in [one.lease_id for one in store.list_leases()])
        True
        """
        return self._running.each(self._it.list_leases(**how))
