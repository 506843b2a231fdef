"""Clients of leases: they keep them alive, or do not, and watch their keys go.

Some also repeat what a leader of the past proposed: an expiry that names an old touch.
"""

from __future__ import annotations

from raftstate.core import kv_queries
from raftstate.core.ports import KeepAliveResult
from raftstate.v1.kv_service_pb2 import PutRequest, TxnBody, TxnOp, TxnPut, TxnRequest
from raftstate.v1.lease_service_pb2 import GrantRequest, Lease, RevokeRequest
from raftstate.v1.store_pb2 import Command, ExpireLease
from tests.sim.store import judging
from tests.sim.store.client import StoreClient
from tests.sim.tasks import Script, Wait


class Holder(StoreClient):
    """Somebody who holds one lease after another."""

    kind = "holder"

    def act(self) -> Script:
        """From the grant of a lease to its end, as far as that is waited for."""
        ttl_ms = self.common.habits.lease_ttl_ms
        began = self.place.now
        outcome, _ = yield from self.do(Command(grant=GrantRequest(ttl_ms=ttl_ms)))
        if outcome is None or not outcome.HasField("grant"):
            return
        lease = outcome.grant.lease
        self.given(lease.lease_id, began)
        keeper = Keeper(self, lease, self.place.now + self.rng.uniform(0.0, 6.0))
        self.fleet.spawn(keeper.life())
        for _ in range(self.rng.randint(1, 8)):
            if self.session_over or self.fleet.closing:
                break
            yield from self.use(lease, keeper)
            yield from self.sleep(self.rng.expovariate(2.0 / self.pace_s))
        keeper.until = self.place.now
        if self.rng.random() < 0.4 and not self.session_over:
            gone = RevokeRequest(lease_id=lease.lease_id)
            yield from self.do(Command(revoke=gone))
        elif not self.fleet.closing:
            yield from self.wait_for_the_end(lease)

    def given(self, lease_id: int, sent: float) -> None:
        """Somebody has given the lease its time since."""
        self.common.lease_given(lease_id, sent, self.common.habits.lease_ttl_ms / 1000)

    def use(self, lease: Lease, keeper: Keeper) -> Script:
        """Put a key under the lease, or take one from it; and look whether it is there."""
        key = f"lease/{self.name}/{self.rng.randrange(4)}".encode()
        lease_id = 0 if self.rng.random() < 0.15 else lease.lease_id
        began, value = self.place.now, self.unique()
        put = PutRequest(key=key, value=value, lease_id=lease_id)
        if self.rng.random() < 0.3:
            ops = [TxnOp(put=TxnPut(key=key, value=value, lease_id=lease_id))]
            command = Command(txn=TxnRequest(txn=TxnBody(success=ops)))
        else:
            command = Command(put=put)
        outcome, _ = yield from self.do(command)
        if outcome is None or outcome.HasField("refusal"):
            return
        if lease_id:
            self.given(lease_id, began)
        if self.rng.random() < 0.2:
            yield from self.repeat_an_old_expiry(lease)
        if self.rng.random() < 0.6:
            yield from self.check(key, lease_id)

    def check(self, key: bytes, lease_id: int) -> Script:
        """A key of a lease that lives is there."""
        sight = yield from self.look(lambda reader: kv_queries.get_key(reader, key))
        if sight is None:
            return
        sent, ttl_s = self.common.given.get(lease_id, (0.0, 0.0))
        alive = self.place.now < sent + ttl_s * 0.95
        if alive or not lease_id:
            self.common.counts["leased_keys_seen"] += 1
            judging.leased_key_is_there(key, lease_id, there=sight.value is not None)

    def repeat_an_old_expiry(self, lease: Lease) -> Script:
        """What a leader proposed that had seen the grant, and nothing since."""
        expiry = ExpireLease(
            lease_id=lease.lease_id,
            granted_revision=lease.granted_revision,
            touched_revision=lease.granted_revision,
        )
        if self.common.chronicle.touched.get(lease.lease_id, 0) > lease.granted_revision:
            yield from self.call("mutate", Command(expire_lease=expiry))

    def wait_for_the_end(self, lease: Lease) -> Script:
        """Let it run out, or come back at the last moment."""
        ttl_s = self.common.habits.lease_ttl_ms / 1000
        yield from self.sleep(ttl_s * self.rng.uniform(0.8, 1.2))
        if self.rng.random() < 0.5 and not self.session_over and not self.fleet.closing:
            began = self.place.now
            key = f"lease/{self.name}/late".encode()
            late = PutRequest(key=key, value=b"late", lease_id=lease.lease_id)
            outcome, _ = yield from self.do(Command(put=late))
            if outcome is not None and outcome.HasField("put"):
                self.given(lease.lease_id, began)


class Keeper:
    """What keeps one lease alive, beside its holder, until it is told to stop."""

    def __init__(self, holder: Holder, lease: Lease, until: float) -> None:
        self.holder = holder
        self.lease = lease
        self.until = until

    def life(self) -> Script:
        """Keep it alive."""
        holder, lease_id = self.holder, self.lease.lease_id
        ttl_s = self.lease.ttl_ms / 1000
        while holder.place.now < self.until and not holder.fleet.closing:
            sent = holder.common.asked[lease_id] = holder.place.now
            wait = Wait(ttl_s / 3)
            holder.fleet.ask(holder.guess, "keep_lease", lease_id, wait.give)
            yield wait
            if isinstance(wait.value, KeepAliveResult):
                if wait.value.ttl_ms is None:
                    return
                holder.common.lease_given(lease_id, sent, wait.value.ttl_ms / 1000)
                holder.common.counts["leases_kept"] += 1
                yield from holder.sleep(ttl_s / 3)
            else:
                yield Wait(0.05)
