"""Records: values of any size, all or nothing, whoever dies or writes at the same time."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from raftstate.adapters import records
from raftstate.adapters.keys import key
from raftstate.adapters.records import Owner
from raftstate.client import Store, txn
from raftstate.errors import Fenced, InvalidRequest
from raftstate.v1.kv_service_pb2 import KeyValue
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores

LARGE = secrets.token_bytes(3 << 20)


async def rows(store: Store, prefix: bytes) -> int:
    return len([one async for one in store.keys.range(prefix=prefix, keys_only=True)])


class Interrupted:
    """A store in which somebody does something just before its keys are listed."""

    def __init__(self, store: Store, meanwhile: list[Callable[[], Awaitable[Any]]]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    @property
    def keys(self) -> Any:
        return self

    async def range(self, *start: bytes, **options: Any) -> AsyncIterator[KeyValue]:
        if self._meanwhile:
            await self._meanwhile.pop(0)()
        async for one in self._store.keys.range(*start, **options):
            yield one

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def interrupted(store: Store, *meanwhile: Callable[[], Awaitable[Any]]) -> Store:
    return cast(Store, Interrupted(store, list(meanwhile)))


@asynchronous
async def test_what_is_written_is_read() -> None:
    """
    Of no bytes, of few, of more than a request holds; also together, and in order.
    """
    async with stores(1) as (_, [store]):
        puts = {key("a", n): data for n, data in enumerate((b"", b"\x01", LARGE, b"x" * 9))}
        assert await records.write(store, puts)
        for name, data in puts.items():
            found = await records.read(store, name)
            assert found is not None and found.data == data
        scanned = [(one.key, one.data) async for one in records.scan(store, key("a"))]
        assert scanned == list(puts.items())
        backwards = [one.key async for one in records.scan(store, key("a"), backwards=True)]
        assert backwards == list(puts)[::-1]
        assert await records.read(store, key("b")) is None


@asynchronous
async def test_of_a_former_value_nothing_stays() -> None:
    """
    A large record leaves no parts behind when it is replaced, by a small one or a large
    one, or removed.
    """
    async with stores(1) as (_, [store]):
        name = key("a")
        for data, count in ((LARGE, 7), (LARGE[:-1], 7), (b"small", 1), (LARGE, 7)):
            assert await records.write(store, {name: data})
            assert await rows(store, b"") == count
        assert await records.write(store, {}, [name])
        assert await rows(store, b"") == 0


@asynchronous
async def test_more_than_one_transaction_removes_is_removed_after_it() -> None:
    """
    20 MiB are more than one command replaces, and may be replaced all the same.
    """
    async with stores(1) as (_, [store]):
        huge = LARGE * 7
        assert await records.write(store, {key("a"): huge})
        assert await records.write(store, {key("a"): b"small"})
        found = await records.read(store, key("a"))
        assert found is not None and found.data == b"small"
        assert await rows(store, b"") == 1


@asynchronous
@pytest.mark.parametrize("data", [b"small", None])
async def test_who_removes_the_parts_of_a_former_value_spares_those_of_a_later_one(
    data: bytes | None,
) -> None:
    """
    Between the write, or the removal, of a huge record and the removal of its parts, another
    one writes it: that record is whole.
    """
    name, later = key("a"), LARGE[1:]
    async with stores(2) as (_, (one, other)):
        await records.write(one, {name: LARGE * 7})
        slow = interrupted(one, lambda: records.write(other, {name: later}))
        puts, deletes = ({}, [name]) if data is None else ({name: data}, [])
        assert await records.write(slow, puts, deletes)
        found = await records.read(other, name)
        assert found is not None and found.data == later
        assert await rows(one, b"") == 7


@asynchronous
@pytest.mark.parametrize("owned", [False, True])
async def test_any_number_of_large_records_is_removed(owned: bool) -> None:
    """
    Also by an owner, and more of them than one transaction removes: 30 of a megabyte each,
    and parts of 15.
    """
    async with stores(1) as (_, [store]), store.own("agent") as agent:
        owner = Owner("agent", agent.token) if owned else None
        for number in range(30):
            await records.write(store, {key("a", number): bytes(1 << 20)})
        await records.write(store, {key("a", "b"): LARGE * 5, key("b"): b"stays"})
        await records.remove(store, key("a"), owner=owner)
        assert [one.key async for one in records.scan(store)] == [key("b")]
        assert await rows(store, b"") == 1


@asynchronous
@pytest.mark.parametrize("owned", [False, True])
async def test_a_record_that_is_put_while_all_are_removed_is_whole(owned: bool) -> None:
    """
    Or gone: whenever that happens, nobody finds a part of it missing.
    """
    name = key("a")
    async with stores(2) as (_, (one, other)), one.own("agent") as agent:
        owner = Owner("agent", agent.token) if owned else None
        seen: list[bytes | None] = []

        async def look() -> None:
            found = await records.read(other, name)
            seen.append(None if found is None else found.data)

        async def put_again() -> None:
            await look()
            await records.write(other, {name: LARGE})
            await look()

        steps = [look] * 3 + [put_again, look, put_again, look, look]
        await records.write(one, {name: LARGE * 7})
        await records.remove(interrupted(one, *steps), name, owner=owner)
        await look()
        assert seen[-1] is None
        assert set(seen) <= {None, LARGE, LARGE * 7}
        assert await rows(one, b"") == 0


@asynchronous
async def test_a_condition_that_does_not_hold_leaves_everything_as_it_was() -> None:
    """
    Nothing is put, nothing is removed, and the answer is false.
    """
    async with stores(1) as (_, [store]):
        await records.write(store, {key("a"): b"1", key("b"): b"2"})
        absent = [txn.missing(key("a"))]
        puts = {key("a"): b"3", key("c"): LARGE}
        assert not await records.write(store, puts, [key("b")], when=absent)
        assert [one.data async for one in records.scan(store)] == [b"1", b"2"]
        assert await rows(store, b"") == 2  # nor are there any parts


@asynchronous
async def test_a_former_owner_writes_nothing() -> None:
    """
    Its writes and removals are refused, small and large, as soon as another one owns the
    agent; the new owner's are not.
    """
    async with stores(2) as (_, (old, new)):
        async with old.own("agent") as agent:
            before = Owner("agent", agent.token)
            await records.write(old, {key("a"): b"1"}, owner=before)
        async with new.own("agent") as agent:
            for data in (b"2", LARGE):
                with pytest.raises(Fenced) as raised:
                    await records.write(old, {key("a"): data}, owner=before)
                assert raised.value.definite
            with pytest.raises(Fenced):
                await records.remove(old, key("a"), owner=before)
            assert await rows(new, b"") == 1
            now = Owner("agent", agent.token)
            await records.write(new, {key("a"): LARGE}, owner=now)
            await records.remove(new, key("a"), owner=now)
            assert await rows(new, b"") == 0


@asynchronous
async def test_writers_of_one_large_record_do_not_break_it() -> None:
    """
    Each replaces the others' parts; what is read is always one of the values, whole.
    """
    async with stores(3) as (_, clients):
        values = [bytes([n]) * (1 << 21) for n in range(3)]

        async def write(store: Store, value: bytes) -> None:
            for _ in range(3):
                await records.write(store, {key("a"): value})

        async def look(store: Store) -> None:
            for _ in range(10):
                found = await records.read(store, key("a"))
                assert found is None or found.data in values

        async with asyncio.TaskGroup() as group:
            for store, value in zip(clients, values, strict=True):
                group.create_task(write(store, value))
            group.create_task(look(clients[0]))
        assert await rows(clients[0], b"") == 5


@asynchronous
async def test_what_a_dead_writer_sent_is_not_seen_and_goes_with_the_next_value() -> None:
    """
    Parts without a record are no record.
    """
    async with stores(1) as (_, [store]):
        await store.keys.put(key("a") + b"\x00" + b"0" * 12, b"left behind")
        assert await records.read(store, key("a")) is None
        assert [one async for one in records.scan(store, key("a"))] == []
        await records.write(store, {key("a"): b"1"})
        assert await rows(store, b"") == 1


@asynchronous
async def test_damage_is_told() -> None:
    """
    A part that is missing or another one, and a key that holds no record.
    """
    async with stores(1) as (_, [store]):
        await records.write(store, {key("a"): LARGE})
        parts = [one.key async for one in store.keys.range(prefix=key("a") + b"\x00")]
        await store.keys.put(parts[1], b"something else")
        with pytest.raises(records.Damaged, match="not what was written"):
            await records.read(store, key("a"))
        await store.keys.delete(parts[1])
        with pytest.raises(records.Damaged, match="missing"):
            await records.read(store, key("a"))
        await store.keys.put(key("b"), b"\x07")
        with pytest.raises(records.Damaged, match="no record"):
            await records.read(store, key("b"))


@asynchronous
async def test_a_value_beyond_the_limit_is_refused() -> None:
    """
    The error names the field and the limit, and nothing was sent.
    """
    async with stores(1) as (_, [store]):
        with pytest.raises(InvalidRequest) as raised:
            await records.write(store, {key("a"): bytes(records.RECORD_BYTES_MAX + 1)})
        assert raised.value.details["field"] == "value"
        assert await rows(store, b"") == 0
