"""Keys, transactions and leases through the SDK, against the real state machine."""

import asyncio

import pytest

from raftstate import txn
from raftstate.client.clock import now
from raftstate.core.ports import Unavailable
from raftstate.errors import (
    Compacted,
    Conflict,
    FutureRevision,
    InvalidRequest,
    LeaseExists,
    LeaseNotFound,
    OutcomeUnknown,
    TooMany,
)
from tests.client.scripted import asynchronous, until
from tests.client.test_end_to_end import stores


@asynchronous
async def test_keys_are_put_read_and_removed() -> None:
    """
    A key is read as it was put; ranges come in order, from either end, in pages; what is
    removed is gone, and whether it was there is said.
    """
    async with stores(1) as (_, (store,)):
        keys = store.keys
        first = await keys.put("a", "1")
        again = await keys.put(b"a", b"2")
        for name in ("b/1", "b/2", "b/3", "c"):
            await keys.put(name, name)
        found = await keys.get("a")
        every = [one.key async for one in keys.range(page_size=2)]
        back = [one.key async for one in keys.range(prefix="b/", backwards=True, page_size=2)]
        part = [(one.key, one.value) async for one in keys.range("b/2", "c", keys_only=True)]
        removed = [await keys.delete("a"), await keys.delete("a")]
        count = await keys.delete_range(prefix="b/")
        left = [one.key async for one in keys.range()]
        nothing = await keys.get("a")

    assert found is not None
    assert (found.value, found.version) == (b"2", 2)
    assert (first.version, again.version, again.create_revision) == (
        1,
        2,
        first.header.revision,
    )
    assert every == [b"a", b"b/1", b"b/2", b"b/3", b"c"]
    assert back == [b"b/3", b"b/2", b"b/1"]
    assert part == [(b"b/2", b""), (b"b/3", b"")]
    assert (removed, count, left, nothing) == ([True, False], 3, [b"c"], None)


@asynchronous
async def test_any_number_of_keys_goes_by_prefix() -> None:
    """
    What one command may not remove goes piece by piece, and nothing else goes; the last
    prefix there is has no key behind it.
    """
    async with stores(1) as (_, (store,)):
        names = [f"p/{number:04}" for number in range(1_200)]
        await asyncio.gather(*(store.keys.put(name, "") for name in names))
        await store.keys.put("p", "stays")
        await store.keys.put("p0", "stays")
        await store.keys.put(b"\xff\xff1", "goes")
        with pytest.raises(TooMany) as refused:
            await store.keys.delete_range(prefix="p/")
        removed = await store.keys.delete_prefix("p/")
        top = await store.keys.delete_prefix(b"\xff")
        left = [one.key async for one in store.keys.range()]

    assert refused.value.definite
    assert (removed, top, left) == (1_200, 1, [b"p", b"p0"])


@asynchronous
async def test_any_size_goes_by_prefix() -> None:
    """
    As by number: one command removes no more than 16 MiB.
    """
    async with stores(1) as (_, (store,)):
        for number in range(18):
            await store.keys.put(f"p/{number:02}", bytes(1 << 20))
        with pytest.raises(TooMany) as refused:
            await store.keys.delete_range(prefix="p/")
        removed = await store.keys.delete_prefix("p/")
        left = [one.key async for one in store.keys.range(keys_only=True)]

    assert refused.value.definite
    assert refused.value.details["limit"] == str(16 << 20)
    assert (removed, left) == (18, [])


@asynchronous
async def test_reads_see_the_revision_they_ask_for() -> None:
    """
    `at` shows what was, `at_least` and `stale` what is here; a revision that is forgotten,
    or yet to come, is an error of its own, and options that contradict each other are.
    """
    async with stores(1) as (_, (store,)):
        keys = store.keys
        one = (await keys.put("a", "1")).header.revision
        two = (await keys.put("a", "2")).header.revision
        was = await keys.get("a", at=one)
        newest = [await keys.get("a", at_least=two), await keys.get("a", stale=True)]
        listed = [pair.value async for pair in keys.range(at=one)]
        with pytest.raises(FutureRevision) as future:
            await keys.get("a", at=two + 100)
        await keys.compact(two)
        with pytest.raises(Compacted) as compacted:
            await keys.get("a", at=one)
        for how in ({"stale": True, "at": 1}, {"at": 1, "at_least": 1}, {"at": 0}, {"at": -1}):
            with pytest.raises(InvalidRequest):
                await keys.get("a", **how)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await keys.get("a", fresh=True)  # type: ignore[call-arg]

    assert was is not None
    assert was.value == b"1"
    assert [found and found.value for found in newest] == [b"2", b"2"]
    assert listed == [b"1"]
    assert future.value.definite
    assert compacted.value.definite
    assert compacted.value.details["oldest_revision"] == str(two)


@asynchronous
async def test_a_transaction_does_one_of_two_lists() -> None:
    """
    If all compares hold the first list is done, otherwise the second, and each result is
    of the kind of its operation; compares and reads see what was before.
    """
    async with stores(1) as (_, (store,)):
        async with store.own("agent") as agent:
            taken = await store.txn(
                when=[txn.missing("lock"), txn.fenced("agent", agent.token)],
                then=[
                    txn.get("lock"),
                    txn.put("lock", "me"),
                    txn.put("lock/1", "x"),
                    txn.nested(
                        when=[txn.exists("lock")],
                        then=[txn.delete("lock")],
                        otherwise=[txn.put("nested", "ran")],
                    ),
                ],
            )
        token = agent.token
        refused = await store.txn(
            when=[txn.equal("lock", value="me"), txn.fenced("agent", token)],
            then=[txn.delete("lock")],
            otherwise=[txn.get("lock"), txn.scan(prefix="lock", keys_only=True, limit=1)],
        )
        more = await store.txn(
            when=[
                txn.greater("lock", mod_revision=1),
                txn.less("lock", version=2),
                txn.not_equal("lock", value="you"),
            ],
            then=[txn.delete("lock"), txn.delete("none"), txn.delete_range(prefix="lock/")],
        )

    assert taken.succeeded
    assert taken.results[0] is None
    assert taken.results[1].version == 1
    assert not taken.results[3].succeeded  # there was no lock before the transaction
    assert taken.results[3].results[0].version == 1
    assert not refused.succeeded
    assert refused.results[0].value == b"me"
    assert [one.key for one in refused.results[1]] == [b"lock"]
    assert (more.succeeded, more.results) == (True, [True, False, 1])
    assert taken.revision < refused.revision < more.revision


@asynchronous
async def test_what_makes_no_sense_is_said_before_it_is_sent() -> None:
    """
    Compares of nothing or of several things, keys that are neither bytes nor text, and
    prefixes with bounds are refused here.
    """
    for wrong in ({}, {"value": b"", "version": 1}, {"size": 3}):
        with pytest.raises(TypeError):
            txn.equal("a", **wrong)
    with pytest.raises(InvalidRequest):
        txn.equal("a", version=-1)
    with pytest.raises(InvalidRequest):
        txn.delete_range("a", prefix="b")
    with pytest.raises(TypeError):
        txn.put("a", 3)  # type: ignore[arg-type]
    async with stores(1) as (_, (store,)):
        with pytest.raises(InvalidRequest):
            await store.keys.put("", "x")
        with pytest.raises(Conflict):
            await store.txn(then=[txn.save_position("p", 0, expected=7)])
        assert await store.keys.get("x") is None


@asynchronous
async def test_a_mutation_of_keys_happens_once() -> None:
    """
    A put whose first answers were lost is done once, and answered as the first time.
    """
    async with stores(1) as (served, (store,)):
        await store.keys.put("a", "1")
        served.fake.forgetful = True
        sending = asyncio.create_task(store.keys.put("a", "2"))
        await until(lambda: len(served.fake.proposed) >= 5, "it was sent several times")
        served.fake.forgetful = False
        done = await sending

    assert done.version == 2


@asynchronous
async def test_a_lease_is_kept_alive_and_ends_with_its_block() -> None:
    """
    Keys under a lease are there while its block runs and gone when it has ended; an id
    that is taken is refused.
    """
    async with stores(2) as (_, (store, other)):
        with pytest.raises(RuntimeError):
            await store.lease(0.5).wait_lost()
        async with store.lease(0.5) as lease:
            await store.keys.put("here", "yes", lease=lease)
            left = lease.time_left
            await until(lambda: lease.time_left > left, "it was kept alive")
            known = await other.get_lease(lease.lease_id, keys=True)
            listed = [one.lease_id async for one in other.list_leases()]
            with pytest.raises(LeaseExists):
                await other.grant_lease(5, lease_id=lease.lease_id)
            assert not lease.lost
            inside = await other.keys.get("here")
        outside = await other.keys.get("here")
        with pytest.raises(LeaseNotFound):
            await other.get_lease(lease.lease_id)

    assert lease.lost
    assert listed == [lease.lease_id]
    assert (known.lease.keys, list(known.keys)) == (1, [b"here"])
    assert inside is not None
    assert inside.lease_id == lease.lease_id
    assert outside is None


@asynchronous
async def test_a_lease_that_somebody_ends_is_lost() -> None:
    """
    When it is revoked, the holder's next renewal says so; the block goes on and may ask.
    """
    async with stores(2) as (_, (store, other)), store.lease(0.9) as lease:
        await store.keys.put("k", "v", lease=lease)
        gone = await other.revoke_lease(lease.lease_id)
        async with asyncio.timeout(5):
            await lease.wait_lost()
        assert lease.lost
        assert lease._valid_until > now()  # it was told, and did not just run out
        with pytest.raises(LeaseNotFound):
            await store.keys.put("k", "v", lease=lease)

    assert gone == 1


@asynchronous
async def test_a_lease_is_not_believed_in_longer_than_it_stands() -> None:
    """
    Without answers the holder gives it up no later than its ttl after the last request
    that was answered, which is before the store does.
    """
    async with stores(1) as (served, (store,)), store.lease(0.5) as lease:
        assert not lease.lost
        served.fake.failing = Unavailable("NO_QUORUM", definite=True)
        began = now()
        async with asyncio.timeout(5):
            await lease.wait_lost()
        took = now() - began
        served.fake.failing = None

    assert took <= 0.55


@asynchronous
async def test_a_lease_that_cannot_be_kept_alive_may_stand() -> None:
    """
    It was granted so late that only a renewal could have told that it stands, and none was
    answered: whether it does is not known. The block does not begin.
    """
    async with stores(1) as (served, (store,)):
        await store.keys.put("k", "v")  # the session is open
        lease = store.lease(0.5, lease_id=7)
        served.fake.holding = True
        entering = asyncio.create_task(lease.__aenter__())
        await until(lambda: served.fake.proposed[-1].HasField("grant"), "it was granted")
        await asyncio.sleep(0.6)
        served.fake.failing = Unavailable("NO_QUORUM", definite=True)
        served.fake.let_go()
        with pytest.raises(OutcomeUnknown, match="lease 7"):
            await entering
        assert lease.lost


@asynchronous
async def test_a_lease_is_lost_as_soon_as_its_block_is_left() -> None:
    """
    Also where the task is cancelled before the cluster has heard of it.
    """
    async with stores(1) as (served, (store,)):
        lease = await store.lease(60).__aenter__()
        served.fake.holding = True
        leaving = asyncio.create_task(lease.__aexit__(None, None, None))
        await until(lambda: served.fake.proposed[-1].HasField("revoke"), "it was to end")
        leaving.cancel()
        await asyncio.wait({leaving})
        served.fake.let_go()

    assert leaving.cancelled()
    assert lease.lost


@asynchronous
async def test_a_lease_without_a_keeper_is_just_granted() -> None:
    """
    `grant_lease` and `revoke_lease` are the two ends of a lease that nobody keeps alive.
    """
    async with stores(1) as (_, (store,)):
        lease = await store.grant_lease(60, lease_id=7)
        await store.keys.put("k", "v", lease=7)
        gone = await store.revoke_lease(7)
        with pytest.raises(LeaseNotFound):
            await store.revoke_lease(7)

    assert (lease.lease_id, lease.ttl_ms, gone) == (7, 60_000, 1)


@asynchronous
async def test_a_lease_of_one_who_stopped_waiting_is_given_back() -> None:
    """
    It is granted all the same, and nobody would know of it.
    """
    async with stores(1) as (served, (store,)):
        await store.keys.put("k", "v")  # the session is open
        served.fake.holding = True
        entering = asyncio.create_task(store.lease(3_600, lease_id=7).__aenter__())
        await until(lambda: served.fake.proposed[-1].HasField("grant"), "it is asked for")
        entering.cancel()
        served.fake.holding = False
        served.fake.let_go()
        await asyncio.wait({entering})
        assert entering.cancelled()
        async with store.lease(5, lease_id=7) as lease:
            assert not lease.lost
