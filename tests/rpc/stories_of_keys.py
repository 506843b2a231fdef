"""The calls about keys, leases and validators, each on its happy path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    DeleteRequest,
    GetRequest,
    KeyRange,
    PutRequest,
    RangeRequest,
    TxnBody,
    TxnDelete,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
)
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    LeaseServiceKeepAliveRequest,
    ListLeasesRequest,
    RevokeRequest,
    TimeToLiveRequest,
)
from raftstate.v1.recovery_service_pb2 import ListValidatorsRequest, PutValidatorRequest
from raftstate.v1.watch_service_pb2 import WatchRequest, WatchStart
from tests.rpc.harness import Bench, rest_of

Story = Callable[[Bench], Awaitable[None]]


async def put_key(b: Bench, key: bytes, value: bytes = b"v", lease_id: int = 0) -> int:
    """Set a key; the revision of that."""
    request = PutRequest(request_id=b.request_id(), key=key, value=value, lease_id=lease_id)
    response = await b.kv.Put(request)
    revision: int = response.header.revision
    return revision


async def put(b: Bench) -> None:
    request = PutRequest(request_id=b.request_id(), key=b"k", value=b"1")
    first = await b.kv.Put(request)
    assert (first.version, first.create_revision) == (1, first.header.revision)
    assert await b.kv.Put(request) == first
    await put_key(b, b"k", b"2")
    found = (await b.kv.Get(GetRequest(key=b"k"))).kv
    assert (found.value, found.version) == (b"2", 2)
    assert found.create_revision == first.header.revision < found.mod_revision


async def get(b: Bench) -> None:
    assert not (await b.kv.Get(GetRequest(key=b"k"))).HasField("kv")
    revision = await put_key(b, b"k", b"1")
    await put_key(b, b"k", b"2")
    request = GetRequest(
        key=b"k", consistency=Consistency.CONSISTENCY_AT_REVISION, revision=revision
    )
    then = await b.kv.Get(request)
    assert (then.kv.value, then.header.revision) == (b"1", revision)


async def range_of_keys(b: Bench) -> None:
    for key in (b"a/1", b"a/2", b"a/3", b"b"):
        await put_key(b, key)
    wanted = KeyRange(prefix=b"a/")
    found, token = [], ""
    while True:
        page = await b.kv.Range(RangeRequest(range=wanted, page_size=2, page_token=token))
        found += [kv.key for kv in page.kvs]
        token = page.next_page_token
        if not token:
            break
    assert found == [b"a/1", b"a/2", b"a/3"]
    last = await b.kv.Range(RangeRequest(backwards=True, keys_only=True, page_size=1))
    assert [(kv.key, kv.value) for kv in last.kvs] == [(b"b", b"")]
    before = await b.kv.Range(
        RangeRequest(
            backwards=True, keys_only=True, page_size=1, page_token=last.next_page_token
        )
    )
    assert [kv.key for kv in before.kvs] == [b"a/3"]
    halves = await b.kv.Range(RangeRequest(range=KeyRange(start=b"a/2", end=b"b")))
    assert [kv.key for kv in halves.kvs] == [b"a/2", b"a/3"]


async def delete(b: Bench) -> None:
    await put_key(b, b"k")
    gone = await b.kv.Delete(DeleteRequest(request_id=b.request_id(), key=b"k"))
    again = await b.kv.Delete(DeleteRequest(request_id=b.request_id(), key=b"k"))
    assert (gone.deleted, again.deleted) == (True, False)


async def delete_range(b: Bench) -> None:
    for key in (b"a", b"b", b"c"):
        await put_key(b, key)
    request = DeleteRangeRequest(request_id=b.request_id(), range=KeyRange(end=b"c"))
    assert (await b.kv.DeleteRange(request)).deleted == 2
    assert [kv.key for kv in (await b.kv.Range(RangeRequest())).kvs] == [b"c"]


async def txn(b: Bench) -> None:
    await put_key(b, b"k", b"1")
    body = TxnBody(
        compares=[Compare(key=b"k", value=b"1")],
        success=[
            TxnOp(put=TxnPut(key=b"k", value=b"2")),
            TxnOp(get=TxnGet(key=b"k")),
            TxnOp(txn=TxnBody(success=[TxnOp(range=TxnRange())])),
        ],
        failure=[TxnOp(delete=TxnDelete(key=b"k"))],
    )
    done = await b.kv.Txn(TxnRequest(request_id=b.request_id(), txn=body))
    assert done.txn.succeeded
    written, read, nested = done.txn.results
    assert written.put.version == 2
    assert read.get.kv.value == b"1"
    assert [kv.value for kv in nested.txn.results[0].range.kvs] == [b"1"]
    other = await b.kv.Txn(TxnRequest(request_id=b.request_id(), txn=body))
    assert not other.txn.succeeded
    assert other.txn.results[0].delete.deleted


async def compact(b: Bench) -> None:
    revision = await put_key(b, b"k")
    response = await b.kv.Compact(CompactRequest(request_id=b.request_id(), revision=revision))
    assert response.header.revision > revision


# --- leases --------------------------------------------------------------------------


async def grant(b: Bench, lease_id: int = 0) -> int:
    """Make a lease; its id."""
    response = await b.leases.Grant(
        GrantRequest(request_id=b.request_id(), ttl_ms=60_000, lease_id=lease_id)
    )
    assert response.lease.ttl_ms == 60_000
    assert response.lease.granted_revision == response.header.revision
    found: int = response.lease.lease_id
    return found


async def granted(b: Bench) -> None:
    assert await grant(b) == b.fake.machine.revision
    assert await grant(b, 7) == 7


async def revoke(b: Bench) -> None:
    lease_id = await grant(b)
    await put_key(b, b"k", lease_id=lease_id)
    response = await b.leases.Revoke(
        RevokeRequest(request_id=b.request_id(), lease_id=lease_id)
    )
    assert response.deleted == 1
    assert not (await b.kv.Get(GetRequest(key=b"k"))).HasField("kv")


async def keep_alive(b: Bench) -> None:
    lease_id = await grant(b)
    call = b.leases.KeepAlive()
    await call.write(LeaseServiceKeepAliveRequest(lease_id=lease_id, nonce=1))
    kept = await call.read()
    assert (kept.lease_id, kept.nonce, kept.held, kept.ttl_ms) == (lease_id, 1, True, 60_000)
    await b.leases.Revoke(RevokeRequest(request_id=b.request_id(), lease_id=lease_id))
    await call.write(LeaseServiceKeepAliveRequest(lease_id=lease_id, nonce=2))
    lost = await call.read()
    assert (lost.nonce, lost.held, lost.ttl_ms) == (2, False, 0)
    await call.done_writing()
    assert await rest_of(call) == []


async def time_to_live(b: Bench) -> None:
    lease_id = await grant(b)
    for key in (b"b", b"a"):
        await put_key(b, key, lease_id=lease_id)
    response = await b.leases.TimeToLive(TimeToLiveRequest(lease_id=lease_id, with_keys=True))
    assert (response.lease.lease_id, response.lease.keys) == (lease_id, 2)
    assert response.time_left_ms == 60_000
    assert list(response.keys) == [b"a", b"b"]
    bare = await b.leases.TimeToLive(TimeToLiveRequest(lease_id=lease_id))
    assert list(bare.keys) == []


async def list_leases(b: Bench) -> None:
    for lease_id in (9, 8, 1 << 63):
        await grant(b, lease_id)
    page = await b.leases.ListLeases(ListLeasesRequest(page_size=2))
    assert [one.lease_id for one in page.leases] == [8, 9]
    rest = await b.leases.ListLeases(
        ListLeasesRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [one.lease_id for one in rest.leases] == [1 << 63]
    assert rest.next_page_token == ""


# --- validators ----------------------------------------------------------------------


async def validator(b: Bench, name: str = "checker", prefix: str = "") -> None:
    """Register a validator."""
    await b.recovery.PutValidator(
        PutValidatorRequest(request_id=b.request_id(), name=name, agent_prefix=prefix)
    )


async def list_validators(b: Bench) -> None:
    for name in ("one", "two", "three"):
        await validator(b, name, "a/")
    page = await b.recovery.ListValidators(ListValidatorsRequest(page_size=2))
    assert [(one.name, one.agent_prefix) for one in page.validators] == [
        ("one", "a/"),
        ("three", "a/"),
    ]
    rest = await b.recovery.ListValidators(
        ListValidatorsRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [one.name for one in rest.validators] == ["two"]
    assert rest.next_page_token == ""


# --- watches -------------------------------------------------------------------------


async def watch(b: Bench) -> None:
    await put_key(b, b"k", b"1")
    call = b.watches.Watch(WatchRequest(start=WatchStart.WATCH_START_SNAPSHOT))
    snapshot = await call.read()
    assert snapshot.snapshot
    assert b"k" in [change.id for change in snapshot.changes]
    revision = await put_key(b, b"k", b"2")
    told = await call.read()
    assert told.header.revision == revision
    assert [change.resource.key.value for change in told.changes] == [b"2"]
    b.server.close()  # which ends it in order
    assert await rest_of(call) == []


STORIES: dict[str, Story] = {
    "KvService.Get": get,
    "KvService.Range": range_of_keys,
    "KvService.Put": put,
    "KvService.Delete": delete,
    "KvService.DeleteRange": delete_range,
    "KvService.Txn": txn,
    "KvService.Compact": compact,
    "LeaseService.Grant": granted,
    "LeaseService.Revoke": revoke,
    "LeaseService.KeepAlive": keep_alive,
    "LeaseService.TimeToLive": time_to_live,
    "LeaseService.ListLeases": list_leases,
    "WatchService.Watch": watch,
    "RecoveryService.PutValidator": validator,
    "RecoveryService.ListValidators": list_validators,
}
