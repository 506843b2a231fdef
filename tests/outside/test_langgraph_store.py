"""`RaftStore` under our own tests; LangGraph's are in test_langgraph_store_published.py."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

import raftstate.sync
from raftstate import testing
from raftstate.adapters import keys, records
from raftstate.adapters.langgraph import RaftStore, filters, finding, items, writing
from raftstate.adapters.records import Owner, Owning
from raftstate.client.portal import Portal
from raftstate.errors import Closed, Fenced, InvalidRequest
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import kills


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One connection for all of a run."""
    with Portal(endpoints, timeout=60.0) as opened:
        yield opened


@pytest.fixture
def memory(portal: Portal, name: str) -> RaftStore:
    """An empty memory."""
    return RaftStore(portal, name=f"store-{name}")


class Clock:
    """What the hosts' clocks show."""

    def __init__(self) -> None:
        self.us = time.time_ns() // 1000

    def __call__(self) -> int:
        return self.us

    def advance(self, minutes: float) -> None:
        """Let time pass."""
        self.us += round(minutes * 60_000_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that moves when it is told to."""
    made = Clock()
    for module in (items, writing, finding):
        monkeypatch.setattr(module, "now_us", made)
    return made


def keys_of(portal: Portal, memory_name: str) -> list[bytes]:
    """All keys that a memory has in the cluster."""
    prefix = keys.key(items.ROOT, memory_name)

    async def read(store: raftstate.Store) -> list[bytes]:
        return [one.key async for one in store.keys.range(prefix=prefix)]

    return portal.run(read)


def test_a_superseded_owner_changes_nothing(
    portal: Portal, endpoints: str, name: str, clock: Clock
) -> None:
    """
    Puts, deletes and batches of an owner of old are refused, with either face; it may read,
    which makes nothing live longer. Who owns the agent now is not hindered.
    """
    with raftstate.sync.connect(endpoints, timeout=60.0) as store:
        with store.own(f"owner-{name}", wait=True) as agent:
            old = Owner(agent.agent_id, agent.token)
        with store.own(f"owner-{name}", wait=True) as agent:
            check_superseded(portal, name, clock, old, agent)


def check_superseded(portal: Portal, name: str, clock: Clock, old: Owning, new: Owning) -> None:
    """See `test_a_superseded_owner_changes_nothing`."""
    ttl: Any = {"refresh_on_read": True}
    stale = RaftStore(portal, name=name, owner=old, ttl=ttl)
    fresh = RaftStore(portal, name=name, owner=new, ttl=ttl)
    fresh.put(("a",), "k", {"v": 1}, ttl=10)
    before = keys_of(portal, name)

    with pytest.raises(Fenced) as refused:
        stale.put(("a",), "k", {"v": 2})
    assert refused.value.definite
    with pytest.raises(Fenced):
        stale.delete(("a",), "k")
    with pytest.raises(Fenced):
        stale.delete(("a",), "was never there")
    with pytest.raises(Fenced):
        stale.put(("a",), "large", {"v": "x" * (3 << 20)})
    with pytest.raises(Fenced):
        asyncio.run(stale.abatch([PutOp(("b",), f"{n}", {"v": n}) for n in range(50)]))
    clock.advance(5)
    found = stale.get(("a",), "k")
    assert found is not None
    assert found.value == {"v": 1}
    assert len(stale.search(("a",))) == 1
    assert keys_of(portal, name) == before

    fresh.put(("a",), "k", {"v": 3})
    seen = stale.get(("a",), "k")
    assert seen is not None
    assert seen.value == {"v": 3}


def test_what_is_over_is_not_shown_and_goes(portal: Portal, name: str, clock: Clock) -> None:
    """An item past its time is nowhere to be seen, and sweeping leaves no key of it."""
    memory = RaftStore(portal, name=name, ttl={"default_ttl": 60 * 24 * 90})
    memory.put(("a", "b"), "k", {"v": 1}, ttl=10)
    memory.put(("a", "c"), "stays", {"v": 2}, ttl=None)
    clock.advance(10)

    assert memory.get(("a", "b"), "k") is None
    assert [one.key for one in memory.search(("a",))] == ["stays"]
    assert len(keys_of(portal, name)) == 3
    assert memory.list_namespaces() == [("a", "c")]
    assert len(keys_of(portal, name)) == 1
    memory.put(("a", "b"), "k", {"v": 1})  # for three months
    clock.advance(60 * 24 * 89)
    assert memory.get(("a", "b"), "k") is not None
    clock.advance(60 * 24)
    assert memory.get(("a", "b"), "k") is None
    assert memory.sweep_ttl() == 1
    assert memory.sweep_ttl() == 0


def test_a_put_replaces_the_time_to_live(portal: Portal, name: str, clock: Clock) -> None:
    """The last put says how long an item lives; what a former one said means nothing."""
    memory = RaftStore(portal, name=name)
    memory.put(("a",), "k", {"v": 1}, ttl=1)
    memory.put(("a",), "k", {"v": 2}, ttl=100)
    memory.put(("a",), "for good", {"v": 1}, ttl=1)
    memory.put(("a",), "for good", {"v": 2})
    clock.advance(2)
    assert memory.sweep_ttl() == 0
    assert {one.key for one in memory.search(("a",))} == {"k", "for good"}
    memory.delete(("a",), "k")
    memory.delete(("a",), "for good")
    assert keys_of(portal, name) == []


def test_reading_refreshes_only_where_it_is_asked_for(
    portal: Portal, name: str, clock: Clock
) -> None:
    """A read lets an item live on if the store is told so, and the call does not say no."""
    memory = RaftStore(portal, name=name, ttl={"default_ttl": 10, "refresh_on_read": True})
    for key in ("read", "searched", "not refreshed"):
        memory.put(("a", key), key, {"v": 1})
    created = memory.get(("a", "read"), "read", refresh_ttl=False)
    clock.advance(9)
    refreshed = memory.get(("a", "read"), "read")
    assert refreshed == created  # not an update
    assert len(memory.search(("a", "searched"))) == 1
    assert memory.get(("a", "not refreshed"), "not refreshed", refresh_ttl=False) is not None
    clock.advance(9)
    left = memory.search(("a",), refresh_ttl=False)
    assert {one.key for one in left} == {"searched", "read"}
    assert memory.sweep_ttl() == 1
    clock.advance(1)
    assert memory.sweep_ttl() == 2
    assert keys_of(portal, name) == []


def test_who_writes_also_sweeps(portal: Portal, name: str, clock: Clock) -> None:
    """Nothing has to run for what is over to go: the next writer takes it along."""
    often: Any = {"sweep_interval_minutes": 1e-9}
    memory = RaftStore(portal, name=name, ttl=often)
    memory.batch([PutOp(("a",), f"{n}", {"v": n}, ttl=1) for n in range(5)])
    clock.advance(2)
    memory.put(("b",), "k", {"v": 1})
    until = time.monotonic() + 10
    while len(keys_of(portal, name)) > 1 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(keys_of(portal, name)) == 1


def test_a_batch_is_written_at_once(portal: Portal, name: str) -> None:
    """The puts of a batch are one transaction while they fit into one; of several puts of
    an item the last one counts; reads of a batch show what was there before."""
    memory = RaftStore(portal, name=name)
    memory.put(("a",), "0", {"v": "before"})
    puts = [PutOp(("a",), f"{n}", {"v": n}, ttl=5) for n in range(writing.PUTS_AT_ONCE)]
    seen, *_ = memory.batch([GetOp(("a",), "0"), PutOp(("a",), "0", {"v": "no"}), *puts])
    assert seen is not None
    assert seen.value == {"v": "before"}  # type: ignore[union-attr]

    async def revisions(store: raftstate.Store) -> set[int]:
        prefix = items.Layout(name).items
        return {one.mod_revision async for one in store.keys.range(prefix=prefix)}

    assert len(portal.run(revisions)) == 1
    found = memory.get(("a",), "0")
    assert found is not None
    assert found.value == {"v": 0}


def test_large_batches_and_large_items(portal: Portal, name: str) -> None:
    """More than a transaction holds, and more than a message: all of it arrives, and none
    of it stays when it is removed."""
    memory = RaftStore(portal, name=name)
    memory.batch([PutOp(("many",), f"{n:03}", {"n": n}) for n in range(150)])
    assert len(memory.search(("many",), limit=1000)) == 150
    big = {"text": "é" * (1 << 20), "n": 1}
    memory.batch([PutOp(("big",), f"{n}", {**big, "n": n}, ttl=5) for n in range(3)])
    memory.put(("big",), "0", {**big, "n": 9})
    assert sorted(one.value["n"] for one in memory.search(("big",))) == [1, 2, 9]
    ops = [PutOp(("big",), f"{n}", None) for n in range(3)]
    memory.batch([*ops, *(PutOp(("many",), f"{n:03}", None) for n in range(150))])
    assert keys_of(portal, name) == []


def test_the_order_of_one_callers_puts_stands(memory: RaftStore) -> None:
    """Of puts that are begun one after another the last one stands, awaited or not."""

    async def run() -> None:
        for _ in range(20):
            await asyncio.gather(*(memory.aput(("a",), "k", {"v": n}) for n in range(30)))
            found = await memory.aget(("a",), "k")
            assert found is not None
            assert found.value == {"v": 29}

    asyncio.run(run())


def test_any_thread_and_any_loop(memory: RaftStore) -> None:
    """Threads and event loops share one store."""
    failed: list[BaseException] = []

    def work(number: int) -> None:
        async def run() -> None:
            for n in range(10):
                await memory.aput(("t", f"{number}"), f"{n}", {"n": n})

        try:
            asyncio.run(run())
            memory.put(("t", f"{number}"), "sync", {"n": -1})
        except BaseException as error:  # noqa: BLE001  # told where the test ends
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert len(memory.search(("t",), limit=1000)) == 55
    assert memory.list_namespaces() == [("t", f"{number}") for number in range(5)]


def test_an_item_is_as_old_as_its_first_put(memory: RaftStore, clock: Clock) -> None:
    """A change keeps when an item was made; changes are in order, whatever clocks say."""
    memory.put(("a",), "k", {"v": 1})
    first = memory.get(("a",), "k")
    clock.advance(-5)
    memory.put(("a",), "k", {"v": 2})
    second = memory.get(("a",), "k")
    assert first is not None
    assert second is not None
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    memory.delete(("a",), "k")
    memory.put(("a",), "k", {"v": 3})
    third = memory.get(("a",), "k")
    assert third is not None
    assert third.created_at == datetime.fromtimestamp(clock.us / 1e6, UTC)


def test_namespaces_of_any_length(memory: RaftStore) -> None:
    """Labels and keys that do not fit into a key are told apart, and found by every prefix."""
    deep = tuple(f"label-{n}-{'x' * n * 7}" for n in range(20))
    other = (*deep[:-1], "another")
    odd = ("\x01", "\x02\x01", "\udc80", "é" * 200, "a b/c*?[%_")
    for namespace in (deep, other, odd):
        memory.put(namespace, "k" * 300, {"n": len(namespace)})
        memory.put(namespace, "k" * 299 + "j", {"n": -1})
        memory.put(namespace, "\x00\x01\x02", {"n": -2})
    for depth in range(len(deep)):
        found = memory.search(deep[:depth], filter={"n": 20}, limit=100)
        assert {one.namespace for one in found} == {deep, other}
    assert [one.value["n"] for one in memory.search(deep, filter={"n": {"$gt": 0}})] == [20]
    assert set(memory.list_namespaces()) == {deep, other, odd}
    assert memory.list_namespaces(prefix=deep[:-1], suffix=("another",)) == [other]
    assert memory.list_namespaces(prefix=("label-0-",), max_depth=3) == [deep[:3]]
    for namespace in (deep, other, odd):
        item = memory.get(namespace, "k" * 300)
        assert item is not None
        assert (item.namespace, item.key) == (namespace, "k" * 300)


def test_listings_are_those_of_langgraphs_own_store(memory: RaftStore) -> None:
    """Drawn namespaces and conditions: the same namespaces, in the same order, page by page."""
    drawn = random.Random(7)
    labels = ["a", "b", "ab", "*", "é", "a b", "z"]
    reference = InMemoryStore()
    puts = [
        PutOp(tuple(drawn.choices(labels, k=drawn.randint(1, 4))), f"{n}", {"n": n})
        for n in range(400)
    ]
    memory.batch(puts)
    reference.batch(puts)
    for _ in range(60):
        conditions = tuple(
            MatchCondition(
                drawn.choice(["prefix", "suffix"]),
                tuple(drawn.choices([*labels, "*"], k=drawn.randint(1, 3))),
            )
            for _ in range(drawn.randint(0, 2))
        )
        op = ListNamespacesOp(
            conditions or None,
            max_depth=drawn.choice([None, None, 1, 2, 3]),
            limit=drawn.choice([1, 3, 10, 1000]),
            offset=drawn.choice([0, 0, 1, 5]),
        )
        assert memory.batch([op]) == reference.batch([op]), op


def test_a_namespace_with_many_items_is_listed_by_few_reads(memory: RaftStore) -> None:
    """What is in a namespace is passed over, however much it is."""
    memory.batch([PutOp(("big",), f"{n}", {"n": n}) for n in range(600)])
    memory.put(("big", "child"), "k", {"n": 0})
    memory.put(("other",), "k", {"n": 0})
    assert memory.list_namespaces() == [("big",), ("big", "child"), ("other",)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"n": 1}, {"one", "true"}),
        ({"n": {"$ne": 1}}, {"two", "text", "list"}),
        ({"n": {"$ne": None}}, {"one", "two", "text", "list", "true"}),
        ({"n": None}, {"none", "missing"}),
        ({"n": {"$gt": 1}}, {"two", "text"}),
        ({"n": {"$gte": 1, "$lt": 3}}, {"one", "two", "true"}),
        ({"n": {"$gte": "1"}}, {"text"}),
        ({"n": [1, 2]}, {"list"}),
        ({"n": {"$eq": [1, 2]}}, {"list"}),
        ({"in.ner": "deep"}, {"one"}),
        ({"in": {"ner": "deep"}}, {"one"}),
        ({"in": {"ner": "deep", "more": 1}}, set()),
        ({"n": {"$lt": 5}, "in.ner": "deep"}, {"one"}),
        ({"größe": 3}, {"two"}),
        ({"a.b": 1}, {"two"}),
    ],
)
def test_what_a_filter_finds(wanted: dict[str, Any], found: set[str]) -> None:
    """Fields, paths and operators."""
    values: dict[str, dict[str, Any]] = {
        "one": {"n": 1, "in": {"ner": "deep", "x": 0}},
        "two": {"n": 2.0, "größe": 3, "a.b": 1},
        "text": {"n": "12", "in": {"ner": "other"}},
        "list": {"n": [1, 2]},
        "true": {"n": True},
        "none": {"n": None},
        "missing": {},
    }
    test = filters.compiled(wanted)
    assert {name for name, value in values.items() if test(value)} == found


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize(
    ("op", "error", "says"),
    [
        (PutOp(("a",), "k", {"v": {1: 2}}), TypeError, "keys are texts"),
        (PutOp(("a",), "k", {"v": object()}), TypeError, "'k' in"),
        (PutOp(("a",), "k", "text"), TypeError, "mapping"),  # type: ignore[arg-type]
        (PutOp(("a",), 1, {"v": 1}), TypeError, "key"),  # type: ignore[arg-type]
        (PutOp(("a",), "k", {"v": 1}, ttl=0), InvalidRequest, "ttl"),
        (PutOp(("a",), "k", {"v": 1}, ttl=float("nan")), InvalidRequest, "ttl"),
        (PutOp(("a",), "k", {"v": 1}, ttl=1e10), InvalidRequest, "1e\\+09"),
        (PutOp(("a", ""), "k", {"v": 1}), InvalidNamespaceError, "''"),
        (SearchOp(("a",), {"v": {"$like": 1}}), ValueError, r"\$like"),
        (SearchOp(("a",), {"v'": 1}), ValueError, "Invalid filter key"),
        (SearchOp(("a",), limit=-1), InvalidRequest, "limit"),
        (ListNamespacesOp(offset=-1), InvalidRequest, "offset"),
        (
            ListNamespacesOp((MatchCondition("infix", ("a",)),)),  # type: ignore[arg-type]
            ValueError,
            "infix",
        ),
        ("op", ValueError, "str"),
    ],
)
def test_bad_input_changes_nothing(
    memory: RaftStore, face: str, op: Any, error: type[Exception], says: str
) -> None:
    """What is no operation is refused with its whole batch, and says what it is about."""
    ops = [PutOp(("a",), "good", {"v": 1}), op]
    with pytest.raises(error, match=says):
        memory.batch(ops) if face == "sync" else asyncio.run(memory.abatch(ops))
    assert memory.get(("a",), "good") is None


def test_values_come_back(memory: RaftStore) -> None:
    """All that JSON holds; and dates and UUIDs as texts."""
    when, who = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), UUID(int=7)
    value = {"a": [1, -2.5, None, True, {"é": "\udc80\n"}], "b": {}, "c": 10**30, "d": ()}
    memory.put(("a",), "k", {**value, "when": when, "who": who})
    found = memory.get(("a",), "k")
    assert found is not None
    told = {"when": "2026-01-02T03:04:05+00:00", "who": str(who)}
    assert found.value == {**value, "d": [], **told}


def test_likest_first(portal: Portal, name: str) -> None:
    """With an index, a search with a query gives the likest first, and what has no vector
    last; vectors of another length do not matter."""

    def embed(texts: Any) -> list[list[float]]:
        return [[float(text.count("a")), float(text.count("b")), 1.0] for text in texts]

    memory = RaftStore(portal, name=name, index={"dims": 3, "embed": embed, "fields": ["text"]})
    memory.put(("d",), "aaa", {"text": "aaa"})
    memory.put(("d",), "bbb", {"text": "bbb"})
    memory.put(("d",), "none", {"text": "aaa"}, index=False)
    found = memory.search(("d",), query="aa")
    assert [one.key for one in found] == ["aaa", "bbb", "none"]
    assert found[0].score == pytest.approx(1.0, abs=0.02)
    assert found[2].score is None
    other = RaftStore(portal, name=name, index={"dims": 2, "embed": embed})
    with pytest.raises(ValueError, match="dims is 2"):
        other.put(("d",), "k", {"text": "a"})
    assert memory.get(("d",), "k") is None


def test_names_are_apart_and_portals_stay(portal: Portal, endpoints: str, name: str) -> None:
    """Memories of two names do not meet. A store closes only what it opened."""
    one, two = RaftStore(portal, name=f"{name}-1"), RaftStore(portal, name=f"{name}-2")
    one.put(("a",), "k", {"v": 1})
    assert two.search(()) == []
    assert two.list_namespaces() == []
    one.close()
    assert two.get(("a",), "k") is None
    with RaftStore(endpoints, name=f"{name}-1") as own:
        assert own.get(("a",), "k") is not None
    with pytest.raises(Closed):
        own.get(("a",), "k")
    with pytest.raises(TypeError, match="session_ttl"):
        RaftStore(portal, session_ttl=3.0)


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost(
    cluster: LocalCluster, endpoints: str, name: str
) -> None:
    """While leaders are killed, puts from several threads go on, each is there afterwards,
    and none is there twice."""
    with RaftStore(endpoints, name=name) as memory, kills(cluster, 2.0):
        over = time.monotonic() + 8
        counts = [0] * 4
        failed: list[BaseException] = []

        def work(number: int) -> None:
            try:
                while time.monotonic() < over:
                    n = counts[number]
                    memory.put(("w", f"{number}"), f"{n:05}", {"n": n}, ttl=60)
                    found = memory.get(("w", f"{number}"), f"{n:05}")
                    assert found is not None
                    assert found.value == {"n": n}
                    counts[number] += 1
            except BaseException as error:  # noqa: BLE001  # told where the test ends
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        assert failed == []
        assert min(counts) > 0
        for number, count in enumerate(counts):
            found = memory.search(("w", f"{number}"), limit=100_000)
            assert sorted(one.value["n"] for one in found) == list(range(count))


def test_time_to_live_follows_the_clock_of_a_testing_kit() -> None:
    """Whoever tests an agent moves one clock for all."""
    with testing.sync_served() as kit, kit.portal() as portal:
        memory = RaftStore(portal, ttl={"default_ttl": 1.0})
        memory.put(("a",), "k", {"v": 1})
        kit.advance(59.0)
        assert memory.get(("a",), "k") is not None
        kit.advance(1.0)
        assert memory.get(("a",), "k") is None
        assert memory.list_namespaces() == []
        assert keys_of(portal, "default") == []


def test_what_one_caller_cannot_write_is_no_others_trouble() -> None:
    """
    Puts that wait at the same time go together; if one of them is too large, or meets what is
    damaged, the others are written all the same.
    """
    with testing.sync_served() as kit, kit.portal() as portal:
        memory = RaftStore(portal)
        memory.put(("a",), "damaged", {"v": 1})
        [at] = keys_of(portal, "default")
        portal.run(lambda store: store.keys.put(at, b"\x07"))
        large = {"v": "x" * records.RECORD_BYTES_MAX}

        async def all_at_once() -> list[Any]:
            puts = [memory.aput(("a",), f"{number}", {"v": number}) for number in range(5)]
            puts.insert(2, memory.aput(("a",), "large", large))
            puts.insert(4, memory.aput(("a",), "damaged", {"v": 2}))
            return await asyncio.gather(*puts, return_exceptions=True)

        said = [type(one) for one in asyncio.run(all_at_once())]
        found = [memory.get(("a",), f"{number}") for number in range(5)]

    nothing = type(None)
    assert said[:3] == [nothing, nothing, InvalidRequest]
    assert said[3:] == [nothing, records.Damaged, nothing, nothing]
    assert [one.value["v"] if one else None for one in found] == [0, 1, 2, 3, 4]


def test_a_batch_with_an_item_that_is_too_large_writes_nothing() -> None:
    """Also what would have gone before it, in another transaction."""
    with testing.sync_served() as kit, kit.portal() as portal:
        memory = RaftStore(portal)
        puts = [PutOp(("a",), f"{number}", {"v": number}) for number in range(20)]
        puts.append(PutOp(("a",), "large", {"v": "x" * records.RECORD_BYTES_MAX}))
        with pytest.raises(InvalidRequest) as refused:
            memory.batch(puts)
        assert refused.value.definite
        assert refused.value.details["field"] == "value"
        assert keys_of(portal, "default") == []
