"""A running member: a replica, its transport and the one thread that owns both.

Other threads reach it through one deque and one wake-up; answers leave through the
`deliver` function, a whole step's at a time. The thread never sleeps while there is
work and never polls while there is none.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from raftstate.consensus.config import Dismissed
from raftstate.consensus.replica import Replica, ReplicaConfig
from raftstate.consensus.transport import Badge, PeerTransport, Tls
from raftstate.core.ports import (
    Announce,
    Deliver,
    Log,
    MemberChange,
    NodeStatus,
    Snapshots,
    State,
)
from raftstate.core.types import Index, MemberId
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import Envelope
from raftstate.v1.store_pb2 import Command

logger = logging.getLogger("raftstate.node")

REQUESTS_MAX = 4096


class RaftNode:
    """One member of the cluster, on a thread of its own. Implements `Consensus`.

    `peers` are dialled until the log says who is a member, and tell where those are whose
    address the log lacks. `dial` wins over every other address of a peer. `advertised` is
    where the others reach this one.

    `waker.wake` is what storage calls when background work is done. `on_fatal` is called on
    the raft thread, once, with the exception that stopped it: nothing that was not
    acknowledged by then ever is, and the process must end. With `Dismissed` the thread goes
    on until `stop`, which must come soon.
    `on_mended` is called there when a member that began anew after damage is settled.
    """

    def __init__(
        self,
        config: ReplicaConfig,
        *,
        log: Log,
        state: State,
        snapshots: Snapshots,
        listen: str,
        advertised: str,
        peers: Mapping[MemberId, str],
        dial: Mapping[MemberId, str],
        tls: Tls | None,
        deliver: Deliver,
        on_fatal: Callable[[BaseException], None],
        waker: Waker,
        skipped: Mapping[Index, bytes] = MappingProxyType({}),
        space_low: Callable[[], bool] = lambda: False,
        on_mended: Callable[[], None] = lambda: None,
        announce: Announce = lambda _revision: None,
    ) -> None:
        identity = log.identity
        badge = Badge(
            identity.cluster_id,
            identity.cluster_epoch,
            config.member_id,
            identity.disk_id,
            log.incarnation,
        )
        self._on_fatal = on_fatal
        self._on_mended = on_mended
        self._requests: deque[Callable[[Replica], None]] = deque()
        self._waker = waker
        self._stopping = threading.Event()
        self._replica = Replica(
            config,
            log=log,
            state=state,
            snapshots=snapshots,
            rng=random.Random(),  # spreads elections; nothing secret
            now=time.monotonic(),
            send=self._send,
            deliver=deliver,
            flush=lambda: self._transport.flush(time.monotonic()),
            wall_ms=lambda: int(time.time() * 1000),
            skipped=skipped,
            space_low=space_low,
            announce=announce,
        )
        self._peers = dict(peers)
        self._transport = PeerTransport(
            badge, listen, peers, self, tls, advertised=advertised, overrides=dial
        )
        self._configured = Configuration()
        self._follow(self._replica.status().configuration)
        self._transport.watch(self._waker.fd)
        self._stop_by = 0.0
        self._dismissed = False
        self._thread = threading.Thread(target=self._run, name="raft", daemon=True)

    # --- ports.Consensus, from any thread ---------------------------------------

    def propose(self, command: Command, ticket: object) -> None:
        """See `ports.Consensus.propose`."""
        self._ask(lambda replica: replica.propose(command, ticket))

    def abandon(self, ticket: object) -> None:
        """See `ports.Consensus.abandon`."""
        self._ask(lambda replica: replica.abandon(ticket))

    def read_point(self, ticket: object) -> None:
        """See `ports.Consensus.read_point`."""
        self._ask(lambda replica: replica.read_point(ticket))

    def keep_session(self, session_id: str, ticket: object) -> None:
        """See `ports.Consensus.keep_session`."""
        self._ask(lambda replica: replica.keep_session(session_id, ticket))

    def keep_ownership(self, query: FenceQuery, ticket: object) -> None:
        """See `ports.Consensus.keep_ownership`."""
        self._ask(lambda replica: replica.keep_ownership(query, ticket))

    def keep_lease(self, lease_id: int, ticket: object) -> None:
        """See `ports.Consensus.keep_lease`."""
        self._ask(lambda replica: replica.keep_lease(lease_id, ticket))

    def lease_left(self, lease_id: int, ticket: object) -> None:
        """See `ports.Consensus.lease_left`."""
        self._ask(lambda replica: replica.lease_left(lease_id, ticket))

    def session_broken(self, session_id: str) -> None:
        """See `ports.Consensus.session_broken`."""
        self._ask(lambda replica: replica.session_broken(session_id))

    def change_members(self, change: MemberChange, ticket: object) -> None:
        """See `ports.Consensus.change_members`."""
        self._ask(lambda replica: replica.change_members(change, ticket))

    def transfer_leadership(self, to: MemberId | None, ticket: object) -> None:
        """See `ports.Consensus.transfer_leadership`."""
        self._ask(lambda replica: replica.transfer_leadership(to, ticket))

    def status(self) -> NodeStatus:
        """The member as it was after its last step."""
        status = self._replica.status()
        alarms = self._transport.alarms(time.monotonic())
        return replace(status, alarms=status.alarms + alarms) if alarms else status

    def refused_connections(self) -> dict[str, int]:
        """How many connections to the raft port were refused, by kind."""
        return dict(self._transport.refused)

    def _ask(self, request: Callable[[Replica], None]) -> None:
        self._requests.append(request)
        self._waker.wake()

    # --- life -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take part."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Hand over office if this member leads, then end the thread.

        Requests that are not answered by then never are.
        """
        self._stop_by = time.monotonic() + timeout_s
        self._stopping.set()
        self._waker.wake()
        self._thread.join(timeout_s + 5.0)
        if self._thread.is_alive():
            raise TimeoutError("the raft thread does not end")
        self._transport.close()
        self._waker.close()

    def _run(self) -> None:
        try:
            while not (self._stopping.is_set() and self._may_leave()):
                self._turn()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the process ends
            self._on_fatal(error)

    # --- transport.Receiver, on the raft thread -----------------------------------

    def receive(self, envelope: Envelope) -> None:
        """See `transport.Receiver.receive`."""
        self._replica.receive(envelope)

    def admits(self, envelope: Envelope) -> bool:
        """See `transport.Receiver.admits`."""
        return self._replica.admits(envelope)

    def peer_connected(self, peer: MemberId) -> None:
        """See `transport.Receiver.peer_connected`."""
        self._replica.peer_connected(peer)

    def peer_disconnected(self, peer: MemberId) -> None:
        """See `transport.Receiver.peer_disconnected`."""
        self._replica.peer_disconnected(peer)

    def _follow(self, configuration: Configuration) -> None:
        """Have links to whoever is a member now."""
        if configuration == self._configured:
            return
        self._configured = configuration
        peers = {}
        for member in configuration.members:
            peer = MemberId(member.member_id)
            if address := member.raft_address or self._peers.get(peer):
                peers[peer] = address
        self._transport.set_peers(peers)

    # --- the thread -----------------------------------------------------------------

    def _may_leave(self) -> bool:
        """Leave once this member does not lead, or nobody took over in time."""
        replica = self._replica
        alone = not replica.engine.membership.other_voters()
        if alone or not replica.engine.leads or time.monotonic() >= self._stop_by:
            return True
        replica.hand_over()
        return False

    def _turn(self) -> None:
        replica = self._replica
        timeout = 0.0
        if not (replica.has_work or self._requests):
            # An event ends the wait earlier: a message, a request, background work.
            timeout = max(0.0, replica.wake_at - time.monotonic())
        if self._transport.poll(timeout, time.monotonic):
            self._waker.drain()
        for _ in range(min(REQUESTS_MAX, len(self._requests))):
            self._requests.popleft()(replica)
        before = replica.status()
        try:
            replica.step(time.monotonic())
        except Dismissed as error:
            # Nothing is wrong with it. Until it is told to stop it goes on saying that it
            # does not lead, so that its clients go elsewhere.
            if not self._dismissed:
                self._dismissed = True
                self._on_fatal(error)
        self._transport.flush(time.monotonic())
        after = replica.status()
        if after.configuration is not before.configuration:
            self._follow(after.configuration)
        if before.quarantined and not after.quarantined:
            self._on_mended()
        for event, details in changes(before, after):
            logger.info(event, extra=details)

    def _send(self, peer: MemberId, envelope: Envelope) -> None:
        self._transport.send(peer, envelope)


def changes(before: NodeStatus, after: NodeStatus) -> Iterator[tuple[str, dict[str, object]]]:
    """What an operator wants to read about a step: elections, snapshots, alarms."""
    where: dict[str, object] = {"term": after.term, "commit_index": after.commit_index}
    if (before.role, before.leader) != (after.role, after.leader):
        yield "role", {**where, "role": after.role, "leader": after.leader}
    if before.snapshots_taken != after.snapshots_taken:
        yield "snapshot taken", {**where, "first_index": after.first_index}
    if before.snapshots_installed != after.snapshots_installed:
        yield "snapshot installed", {**where, "first_index": after.first_index}
    if before.configuration.index != after.configuration.index:
        yield "members", {**where, "members": _told(after.configuration)}
    if before.quarantined != after.quarantined:
        yield "quarantine", {**where, "quarantined": after.quarantined}
    if [name for name, _ in before.alarms] != [name for name, _ in after.alarms]:
        yield "alarms", {**where, "alarms": dict(after.alarms)}


def _told(configuration: Configuration) -> dict[str, str]:
    return {
        one.member_id: "learner" if one.learner else "voter" for one in configuration.members
    }


class Waker:
    """Lets other threads end the raft thread's wait. A few bytes at most are under way."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)
        self._lock = threading.Lock()
        self._set = False
        self._closed = False

    def wake(self) -> None:
        """End the wait, now or the next one."""
        if self._set:
            return
        with self._lock:
            if not self._closed:
                self._set = True
                os.write(self._write_fd, b"\x00")

    def drain(self) -> None:
        """Note that the waiter is awake: what was queued before a `wake` that saw the
        flag set is taken up in the turn that follows."""
        os.read(self.fd, 64)
        self._set = False

    def close(self) -> None:
        """Close the pipe; later wake-ups do nothing."""
        with self._lock:
            self._closed = True
            os.close(self.fd)
            os.close(self._write_fd)
