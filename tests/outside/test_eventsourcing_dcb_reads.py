"""Dynamic consistency boundaries: what reads and subscriptions show while others append,
sizes, and texts of any kind."""

from __future__ import annotations

import collections
import itertools
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
)
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    StoredEvent,
)

from raftstate.adapters import records
from raftstate.adapters.eventsourcing import (
    RaftApplicationRecorder,
    RaftDCBRecorder,
)
from raftstate.adapters.eventsourcing.dcb_log import Positioned
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import InvalidRequest, NoQuorum
from raftstate.localcluster import LocalCluster
from tests.outside.boundaries import LONG, Opened, kept, opening, positions, some, tagged
from tests.outside.conftest import kills


@pytest.fixture
def opened(endpoints: str, name: str) -> Iterator[Opened]:
    """Recorders of the test's own events, each as another process would have it."""
    with opening(endpoints, name) as open_one:
        yield open_one


# --- what reads show ---------------------------------------------------------


def test_pages_show_nothing_behind_the_head(opened: Opened) -> None:
    """A read is as of one revision, though it is fetched while others append."""
    writer, reader = opened(), opened()
    for _ in range(230):
        writer.append([some("a", kind="u"), some("b")])
    over = threading.Event()

    def append() -> None:
        while not over.is_set():
            writer.append([some("a", "b", kind="u")])

    every = range(1, 461)
    with ThreadPoolExecutor(1) as pool:
        appending = pool.submit(append)
        try:
            for query, first in (
                (None, every),
                (tagged("a"), every[::2]),
                (tagged("b"), every[1::2]),
                (DCBQuery([DCBQueryItem(types=["u"])]), every[::2]),
            ):
                found = reader.read(query)
                head = found.head
                assert head is not None
                seen: list[int] = []
                for one in found:
                    if len(seen) % 50 == 0:
                        threading.Event().wait(0.02)
                    seen.append(one.position)
                assert found.head == head
                assert seen == [*first, *range(461, head + 1)]
        finally:
            over.set()
        appending.result()
    assert (reader.read().head or 0) > 470


def test_limits_and_heads(opened: Opened) -> None:
    """With a limit, the head is the position of the last event that is returned."""
    recorder = opened()
    assert recorder.read().head is None
    assert recorder.read(limit=1).head is None
    recorder.append([some("a"), some("b"), some("a")])
    recorder.append([some("b")])
    for query, after, limit, expected, head in [
        (None, None, None, [1, 2, 3, 4], 4),
        (None, 2, None, [3, 4], 4),
        (None, 9, None, [], 4),
        (None, 1 << 70, None, [], 4),
        (tagged("a"), None, None, [1, 3], 4),
        (tagged("a"), 0, 1, [1], 1),
        (tagged("a"), 1, 2, [3], 3),
        (tagged("a"), 3, 2, [], None),
        (tagged("a", "b"), None, None, [], 4),
        (None, 1, 0, [], None),
        (None, 1, -1, [], None),
        (None, 1, 1 << 70, [2, 3, 4], 4),
    ]:
        found = recorder.read(query, after=after, limit=limit)
        assert found.head == head
        assert positions(found) == expected
        with pytest.raises(StopIteration):
            next(found)


def test_a_read_by_tags_does_not_look_at_everything(opened: Opened) -> None:
    """Of a tag that all events have and one that few have, few are looked at."""
    writer, reader = opened(), opened()
    for at in range(300):
        writer.append([some("all", *(["few"] if at % 100 == 50 else []))])
    looked: list[int] = []
    batch = reader._dcb.batch

    async def counted(store: Store, last: int) -> list[Positioned]:
        looked.append(last)
        return await batch(store, last)

    reader._dcb.batch = counted  # type: ignore[method-assign]
    assert positions(reader.read(tagged("few", "all"))) == [51, 151, 251]
    assert looked == [51, 151, 251]
    assert reader.append([some()], DCBAppendCondition(tagged("few"), after=251)) == 301
    assert looked == [51, 151, 251]
    assert positions(reader.read(tagged("all"))) == list(range(1, 301))


def test_what_fails_between_pages_is_read_again(opened: Opened) -> None:
    """An iteration that goes on after an error leaves nothing out."""
    writer, reader = opened(), opened()
    for _ in range(60):
        writer.append([some("a")])
    batch, calls = reader._dcb.batch, itertools.count()

    async def failing(store: Store, last: int) -> list[Positioned]:
        if next(calls) in {6, 30}:
            raise NoQuorum("out of reach", definite=True)
        return await batch(store, last)

    reader._dcb.batch = failing  # type: ignore[method-assign]
    found, seen, errors = reader.read(tagged("a")), list[int](), 0
    while len(seen) < 60:
        try:
            seen.append(next(found).position)
        except OperationalError:
            errors += 1
    assert errors == 2
    assert seen == list(range(1, 61))


def test_events_that_are_missing_are_damage(opened: Opened) -> None:
    """Rather than a shorter answer."""
    recorder = opened()
    recorder.append([some("a", data=bytes(1 << 20))])
    log = recorder._dcb
    recorder._access.run(lambda store: records.remove(store, log._key("data")))
    with pytest.raises(InternalError, match="missing"):
        list(recorder.read())
    recorder._access.run(lambda store: store.keys.delete(log._key("log", 1)))
    with pytest.raises(InternalError, match="missing"):
        list(recorder.read(tagged("a")))


# --- sizes, and texts of any kind --------------------------------------------


def test_more_tags_than_a_transaction_holds(opened: Opened) -> None:
    """Of one event, or of many: every one is found by each, among those that have few."""
    recorder = opened()
    many = [f"tag {at}" for at in range(300)]
    recorder.append([some("tag 0")])
    recorder.append([some(*many)])
    recorder.append([some(*many[at : at + 3]) for at in range(0, 300, 3)])
    recorder.append([some("tag 299", kind="u")])
    for at in (0, 1, 150, 299):
        expected = [2, 3 + at // 3] + ([1] if at == 0 else [103] if at == 299 else [])
        assert positions(recorder.read(tagged(many[at]))) == sorted(expected)
        with pytest.raises(IntegrityError):
            recorder.append([some()], DCBAppendCondition(tagged(many[at])))
    assert positions(recorder.read(tagged(*many))) == [2]
    assert positions(recorder.read(tagged(*many[3:6]))) == [2, 4]
    alternatives = DCBQuery([DCBQueryItem(tags=[one]) for one in many])
    assert positions(recorder.read(alternatives)) == list(range(1, 104))
    assert positions(recorder.read(DCBQuery([DCBQueryItem(types=["u"])]))) == [103]
    assert positions(recorder.read(tagged("tag 300"))) == []
    # Just as many as fit, and one more; the type counts too.
    for count in (112, 113, 114):
        last = recorder.append([some(*(f"{count} {at}" for at in range(count)))])
        assert positions(recorder.read(tagged(f"{count} 0", f"{count} 111"))) == [last]


@pytest.mark.parametrize(
    "text",
    ["", "\x00", "a\x00b", "\x01", "\x02\x04", "\ud800", "\u00fc", LONG, "\x00" * 10_000],
)
def test_types_and_tags_are_any_texts(opened: Opened, text: str) -> None:
    """What is like them is told apart."""
    recorder = opened()
    near = [text + "\x00", text + "a", text + "\x01", "a" + text]
    recorder.append([DCBEvent(text, b"1", [text, text])])
    for one in near:
        recorder.append([DCBEvent(one, b"2", [one])])
    by_type = DCBQuery([DCBQueryItem(types=[text])])
    for query in (tagged(text), by_type, DCBQuery([DCBQueryItem([text], [text])])):
        [found] = recorder.read(query)
        assert found.event == DCBEvent(text, b"1", [text, text])
        with pytest.raises(IntegrityError):
            recorder.append([some()], DCBAppendCondition(query))
    assert len(list(recorder.read(after=1))) == 4


def test_large_events_are_appended_whole(opened: Opened) -> None:
    """Also larger than a request; refused, nothing of them stays."""
    recorder, reader = opened(), opened()
    large = [some("a", data=random.Random(at).randbytes(at << 20)) for at in (1, 5)]
    assert recorder.append(large[:1]) == 1
    assert recorder.append([some("b"), *large, some("b")], DCBAppendCondition(tagged("b"))) == 5
    assert [one.event for one in reader.read(tagged("a"))] == [large[0], *large]
    sent = kept(recorder)
    assert sent > 0
    with pytest.raises(IntegrityError):
        recorder.append(large, DCBAppendCondition(tagged("a"), after=2))
    assert kept(recorder) == sent
    assert positions(reader.read()) == [1, 2, 3, 4, 5]


def test_what_is_too_large_is_named(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is written."""
    monkeypatch.setattr(records, "RECORD_BYTES_MAX", 1_000)
    recorder = opened()
    with pytest.raises(DataError, match="at most 1000") as caught:
        recorder.append([some(data=bytes(1_000))])
    cause = caught.value.__cause__
    assert isinstance(cause, InvalidRequest)
    assert cause.definite
    assert cause.details == {"field": "events", "limit": "1000"}
    assert recorder.read().head is None


def test_they_are_kept_apart_from_other_recorders(endpoints: str, name: str) -> None:
    """Under the same name, and under others."""
    with Portal(endpoints) as portal:
        other = RaftApplicationRecorder(portal, name=name)
        other.insert_events([StoredEvent("a", 1, "t", b"")])
        for application, purpose in (("", "events"), ("a", "events"), ("", "p")):
            recorder = RaftDCBRecorder(
                portal, name=name, application=application, purpose=purpose
            )
            assert recorder.append([some("a")], DCBAppendCondition()) == 1
        assert other.max_notification_id() == 1


# --- subscriptions -----------------------------------------------------------


def test_a_subscription_looks_at_each_event_once(opened: Opened) -> None:
    """Though hardly any matches: or each event to come would cost as much as all of those
    before it. Who waits is woken at once."""
    reader, writer = opened(), opened()
    for _ in range(60):
        writer.append([some("a")] * 5)
    looked: collections.Counter[int] = collections.Counter()
    positioned = reader._dcb._positioned

    async def counted(store: Store, last: int, value: bytes) -> list[Positioned]:
        found = await positioned(store, last, value)
        looked.update(one.position for one in found)
        return found

    reader._dcb._positioned = counted  # type: ignore[method-assign]
    query = DCBQuery([DCBQueryItem(types=["u"], tags=["a"]), DCBQueryItem(types=["v"])])
    with ThreadPoolExecutor(1) as pool, reader.subscribe(query) as subscription:
        for _ in range(5):
            waiting = pool.submit(next, subscription)
            writer.append([some("a")])
            expected = writer.append([some("x", kind="v"), *[some("a")] * 3]) - 3
            assert waiting.result(timeout=20).position == expected
    assert len(looked) == 325
    assert max(looked.values()) == 1


def test_a_subscription_tells_what_others_append(opened: Opened, cluster: LocalCluster) -> None:
    """Each event once, in order, though leaders die."""
    reader, writer = opened(), opened()
    writer.append([some("a"), some("b"), some("a")])
    last = 3
    with ThreadPoolExecutor(1) as pool, reader.subscribe(tagged("a"), after=1) as subscription:
        with kills(cluster, 1.0) as killing:
            while killing.count < 2 and last < 5_000:
                last = writer.append([some("b"), some("a")])
        for expected in range(3, last + 1, 2):
            assert pool.submit(next, subscription).result(timeout=30).position == expected


def test_a_subscription_ends_with_its_store(opened: Opened) -> None:
    """Or when it is stopped: who waits is told, rather than left waiting."""
    recorder = opened()
    with ThreadPoolExecutor(1) as pool, recorder.subscribe() as stopped:
        waiting = pool.submit(next, stopped, None)
        stopped.stop()
        assert waiting.result(timeout=30) is None
    subscription = recorder.subscribe()
    with ThreadPoolExecutor(1) as pool, subscription:
        waiting = pool.submit(next, subscription, None)
        recorder.close()
        with pytest.raises(InterfaceError, match="closed"):
            waiting.result(timeout=30)
    with pytest.raises(InterfaceError):
        recorder.subscribe()
