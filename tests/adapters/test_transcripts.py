"""Transcripts: nothing is lost, doubled or torn, whoever writes, reads, removes or dies."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from raftstate.adapters import records, transcripts
from raftstate.adapters.keys import key
from raftstate.adapters.records import Owner
from raftstate.adapters.transcripts import ID_BYTES_MAX, NAME_BYTES_MAX, Transcript, written
from raftstate.client import Store, txn
from raftstate.errors import (
    Conflict,
    Fenced,
    InvalidRequest,
    NoQuorum,
    OutcomeUnknown,
    RaftStateError,
)
from tests.client.scripted import asynchronous, until
from tests.client.test_end_to_end import stores

ROOT = ("~test", "default", "list")
# More than one transaction carries, and than one page.
LARGE = "large " * 300_000


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


async def rows(store: Store) -> int:
    return len([one async for one in store.keys.range(keys_only=True)])


def tell(told: dict[str, Any] | None, fresh: list[Any]) -> dict[str, Any]:
    return {"count": (told or {"count": 0})["count"] + len(fresh)}


class Meddling:
    """A store that lets something else happen just before, or after, a call of it."""

    def __init__(
        self,
        store: Store,
        before: Callable[[], Coroutine[Any, Any, object]] | None = None,
        after: Callable[[], Coroutine[Any, Any, object]] | None = None,
        times: int = 1,
    ) -> None:
        self._store, self._before, self._after, self.left = store, before, after, times

    @property
    def keys(self) -> Any:
        return self

    async def get(self, *given: Any, **named: Any) -> Any:
        found = await self._store.keys.get(*given, **named)
        await self._meddle(self._after)
        return found

    async def delete_prefix(self, *given: Any, **named: Any) -> Any:
        return await self._store.keys.delete_prefix(*given, **named)

    def range(self, *given: Any, **named: Any) -> Any:
        return self._store.keys.range(*given, **named)

    async def txn(self, **named: Any) -> Any:
        await self._meddle(self._before)
        return await self._store.txn(**named)

    async def _meddle(self, what: Callable[[], Coroutine[Any, Any, object]] | None) -> None:
        if what is not None and self.left:
            self.left -= 1
            await what()


@asynchronous
async def test_what_is_appended_is_loaded() -> None:
    """
    In order, whole or its end, after appends of one, of many, and of large ones.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        assert await one.load(store, soon()) is None
        whole: list[Any] = []
        appends: list[list[Any]] = [
            [1],
            [{"x": None}, "\ud800", [2.5]],
            [LARGE, "after", LARGE[1:]],
            [{}],
        ]
        for items in appends:
            await one.append(store, written(items), soon())
            whole += items
        for reader in (one, Transcript(ROOT, "a")):
            assert await reader.load(store, soon()) == whole
            for limit in range(-1, 10):
                latest = whole[max(len(whole) - limit, 0) :] if limit > 0 else []
                assert await reader.load(store, soon(), limit) == latest
        assert await Transcript(ROOT, "b").load(store, soon()) is None
        await one.append(store, written([]), soon())
        assert await one.load(store, soon()) == whole


@asynchronous
async def test_many_large_items_are_one_append() -> None:
    """
    30 MiB are appended at one revision: within what one transaction compares and does.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        items = [{"n": n, "text": LARGE[: 600_000 + n]} for n in range(50)]
        await one.append(
            store, written(items), soon(), tell=tell, ids=[str(n) for n in range(50)]
        )
        assert await one.load(store, soon()) == items
        assert await one.load(store, soon(), 2) == items[-2:]


@asynchronous
async def test_an_item_that_is_no_json_appends_nothing() -> None:
    """
    The error names it; what came with it is not there either.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        with pytest.raises(InvalidRequest, match="item 1 is no JSON") as refused:
            await one.append(store, written(["fine", {1, 2}]), soon())
        assert refused.value.details["field"] == "items[1]"
        assert await rows(store) == 0


@asynchronous
async def test_writers_that_meet_lose_nothing() -> None:
    """
    Four clients append twenty times each, to one transcript: everything is there once,
    each writer's in its order, and an append's items side by side.
    """
    async with stores(4) as (_, clients):

        async def write(number: int, store: Store) -> None:
            mine = Transcript(ROOT, "a")
            for n in range(20):
                items = [[number, n, part] for part in range(3)]
                await mine.append(store, written(items), soon(60), tell=tell)

        await asyncio.gather(*(write(n, store) for n, store in enumerate(clients)))
        found = await Transcript(ROOT, "a").load(clients[0], soon())
        assert found is not None and len(found) == 240
        for number in range(4):
            mine = [one for one in found if one[0] == number]
            assert mine == [[number, n, part] for n in range(20) for part in range(3)]
        assert [one[2] for one in found] == [0, 1, 2] * 80
        assert await transcripts.abouts(clients[0], ROOT, timeout=5) == [{"count": 240}]


@asynchronous
async def test_an_id_is_there_once() -> None:
    """
    Sent again: by the same writer, by another that has never looked, with others beside it,
    twice in one append; and after the transcript was removed it is new.
    """
    async with stores(1) as (_, [store]):
        first, second = Transcript(ROOT, "a"), Transcript(ROOT, "a")
        await first.append(store, written(["a", "b"]), soon(), ids=["1", "2"])
        await first.append(store, written(["b'", "c"]), soon(), ids=["2", "3"])
        await second.append(store, written(["c'", "d", "none"]), soon(), ids=["3", "4", None])
        await first.append(
            store, written(["d'", "none", "e", "e'"]), soon(), ids=["4", None, "5", "5"]
        )
        await second.append(store, written(["e'"]), soon(), ids=["5"])
        assert await first.load(store, soon()) == ["a", "b", "c", "d", "none", "none", "e"]
        await second.remove(store, soon())
        await first.append(store, written(["again"]), soon(), ids=["1"])
        assert await second.load(store, soon()) == ["again"]


@asynchronous
async def test_the_last_item_is_popped() -> None:
    """
    One after the other, over pages, until there is none; then it goes on.
    """
    async with stores(2) as (_, [store, other]):
        one, two = Transcript(ROOT, "a"), Transcript(ROOT, "a")
        assert await one.pop(store, soon()) is None
        await one.append(store, written([1, 2, LARGE]), soon())
        await two.append(other, written([3]), soon())
        assert [await one.pop(store, soon()) for _ in range(3)] == [3, LARGE, 2]
        await two.append(other, written([4]), soon())
        assert await one.load(store, soon()) == [1, 4]
        assert [await two.pop(other, soon()) for _ in range(3)] == [4, 1, None]
        assert await one.load(store, soon()) is None
        await one.append(store, written([5]), soon())
        assert await two.load(other, soon()) == [5]


@asynchronous
async def test_poppers_and_writers_that_meet_agree() -> None:
    """
    What two pop and what is left is what two wrote, each item once.
    """
    async with stores(2) as (_, clients):
        popped: list[Any] = []

        async def work(number: int, store: Store) -> None:
            mine = Transcript(ROOT, "a")
            for n in range(25):
                await mine.append(store, written([[number, n], [number, -n]]), soon(60))
                popped.append(await mine.pop(store, soon(60)))

        await asyncio.gather(*(work(n, store) for n, store in enumerate(clients)))
        left = await Transcript(ROOT, "a").load(clients[0], soon())
        assert left is not None and len(left) == 50
        everything = [
            [number, sign * n] for number in (0, 1) for n in range(25) for sign in (1, -1)
        ]
        assert sorted(popped + left) == sorted(everything)


@asynchronous
async def test_a_writer_that_was_overtaken_tries_again() -> None:
    """
    Another writes between its look and its write, and once more; and it gives up, with
    nothing written, when others are faster all the time.
    """
    async with stores(1) as (_, [store]):
        other = Transcript(ROOT, "a")

        def meddle(times: int) -> Any:
            return Meddling(
                store, lambda: other.append(store, written(["other"]), soon()), times=times
            )

        await Transcript(ROOT, "a").append(meddle(2), written(["mine"]), soon())
        assert await other.load(store, soon()) == ["other", "other", "mine"]
        assert await Transcript(ROOT, "a").pop(meddle(1), soon()) == "other"
        assert await other.load(store, soon()) == ["other", "other", "mine"]
        before = await other.load(store, soon())
        over: RaftStateError | None = None
        while not isinstance(over, Conflict):
            # Its time may also be over while it waits for an answer: then it cannot know.
            with pytest.raises((Conflict, OutcomeUnknown)) as caught:
                await Transcript(ROOT, "a").append(meddle(99_999), written(["mine"]), soon(0.3))
            over = caught.value
        assert over.definite
        assert "each time it was tried" in str(over)
        after = await other.load(store, soon())
        assert before is not None and after is not None
        assert after[: len(before)] == before and set(after[len(before) :]) == {"other"}


@asynchronous
async def test_a_reader_sees_one_moment() -> None:
    """
    Between its look at the head and at the pages, the last item is popped and others are
    written: it shows the one state or the other, also where a page is large.
    """
    for item, together in itertools.product(("small", LARGE), (True, False)):
        async with stores(1) as (_, [store]):
            writer = Transcript(ROOT, "a")
            await writer.append(store, written(["first"]), soon())
            if together:
                await writer.pop(store, soon())
            await writer.append(store, written(["first", item] if together else [item]), soon())
            before = ["first", item, "last"]
            await writer.append(store, written(["last"]), soon())

            async def change(store: Store = store, writer: Transcript = writer) -> None:
                await writer.pop(store, soon())
                await writer.pop(store, soon())
                await writer.append(store, written(["new"]), soon())

            meddling: Any = Meddling(store, after=change)
            found = await Transcript(ROOT, "a").load(meddling, soon())
            assert found in (before, ["first", "new"])
            assert not meddling.left
            assert await writer.load(store, soon()) == ["first", "new"]


@asynchronous
async def test_a_reader_that_is_overtaken_by_a_removal_sees_one_moment() -> None:
    """
    Removed and begun anew while it is read: the old one, or the new one, and never both.
    """
    for item in ("small", LARGE):
        async with stores(1) as (_, [store]):
            writer = Transcript(ROOT, "a")
            await writer.append(store, written([item]), soon())
            await writer.append(store, written([item, 2]), soon())

            async def change(store: Store = store, writer: Transcript = writer) -> None:
                await writer.remove(store, soon())
                await writer.append(store, written(["new"]), soon())

            meddling: Any = Meddling(store, after=change)
            found = await Transcript(ROOT, "a").load(meddling, soon())
            assert found in ([item, item, 2], ["new"])


@asynchronous
async def test_of_what_is_removed_nothing_stays() -> None:
    """
    Pages, parts, marks, what is told about it: all keys are gone, and others' are not.
    """
    async with stores(1) as (_, [store]):
        one, other = Transcript(ROOT, "a"), Transcript(ROOT, "ab")
        await other.append(store, written([0]), soon(), tell=tell, ids=["0"])
        before = await rows(store)
        for _ in range(2):
            await one.append(store, written([1, LARGE]), soon(), tell=tell, ids=["1", "2"])
            assert await rows(store) > before + 4
            await one.remove(store, soon())
            assert await rows(store) == before
            assert await one.load(store, soon()) is None
            await one.remove(store, soon())
        assert await other.load(store, soon()) == [0]


@asynchronous
async def test_a_removal_that_is_broken_off_is_ended_by_the_next() -> None:
    """
    The remover dies when the head is gone: nobody sees anything, what is written then is
    new, and the next removal takes what was left with it.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        await one.append(store, written([1, LARGE]), soon(), ids=["1", "2"])
        head = await store.keys.get(key(*ROOT, "head", "a"))
        assert head is not None
        era = json.loads(head.value)[0]
        await store.txn(
            then=[txn.delete(head.key), txn.put(key(*ROOT, "grave", "a", era), b"")]
        )
        other = Transcript(ROOT, "a")
        assert await other.load(store, soon()) is None
        await one.append(store, written(["new"]), soon(), ids=["1"])
        assert await other.load(store, soon()) == ["new"]
        await other.remove(store, soon())
        assert await rows(store) == 0


class Failing(Meddling):
    """A store that fails from its so many-th transaction on, or where keys are looked for."""

    def __init__(self, store: Store, transactions: int, error: Exception) -> None:
        super().__init__(store)
        self._error, self._transactions = error, transactions

    def range(self, *given: Any, **named: Any) -> Any:
        if not self._transactions:
            raise self._error
        return super().range(*given, **named)

    async def txn(self, **named: Any) -> Any:
        if not self._transactions:
            raise self._error
        self._transactions -= 1
        return await super().txn(**named)


@asynchronous
async def test_of_a_writer_that_dies_nothing_stays_after_a_removal() -> None:
    """
    It dies while it sends its first item, which is large: nobody sees anything of it, and the
    next removal takes the parts with it.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        for sent in range(1, 4):
            failing: Any = Failing(store, sent, OSError("it dies"))
            with pytest.raises(OSError, match="it dies"):
                await Transcript(ROOT, "a").append(failing, written([LARGE]), soon())
            assert await one.load(store, soon()) is None
            assert await one.pop(store, soon()) is None
        assert await rows(store) > 1
        await one.remove(store, soon())
        assert await rows(store) == 0


@asynchronous
async def test_what_fails_after_a_removal_is_not_definite() -> None:
    """
    The transcript is gone and its pages are not: an error does not say that nothing happened.
    Before, it does.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        kinds: list[tuple[int, type[RaftStateError]]] = [(0, NoQuorum), (1, OutcomeUnknown)]
        for transactions, kind in kinds:
            await one.append(store, written([1, LARGE]), soon())
            gone: Any = Failing(store, transactions, NoQuorum("nobody", definite=True))
            with pytest.raises(kind, match="nobody") as error:
                await one.remove(gone, soon())
            assert error.value.definite is not bool(transactions)
            assert (await one.load(store, soon()) is None) is bool(transactions)
        await one.remove(store, soon())
        assert await rows(store) == 0


@asynchronous
async def test_an_owner_that_is_superseded_after_a_removal_has_removed_it() -> None:
    """
    Between the removal and the pages' the agent gets another owner: what was removed is, and
    nothing says that it was refused.
    """
    async with stores(1) as (_, [store]):
        owning = store.own("agent")
        agent = await owning.__aenter__()
        owner = Owner(agent.agent_id, agent.token)
        one = Transcript(ROOT, "a")
        await one.append(store, written([1, LARGE]), soon(), owner=owner)

        class Late(Meddling):
            async def txn(self, **named: Any) -> Any:
                done = await super().txn(**named)
                if self.left:
                    self.left -= 1
                    await owning.__aexit__(None, None, None)
                return done

        late: Any = Late(store)
        await one.remove(late, soon(), owner=owner)
        assert not late.left
        assert await rows(store) == 0
        with pytest.raises(Fenced):
            await one.append(store, written([2]), soon(), owner=owner)


def nested(depth: int) -> list[Any]:
    item: list[Any] = []
    for _ in range(depth):
        item = [item]
    return item


def deepest() -> int:
    depth = 300
    try:
        while True:
            written([nested(depth)])
            depth += 5
    except InvalidRequest:
        return depth - 5


@asynchronous
async def test_what_is_written_can_be_read() -> None:
    """
    Lists in lists: the deepest that is taken is read by a caller who is deeper in calls than
    the writer was; a deeper one is refused, and is not in the way of others.
    """
    async with stores(1) as (_, [store]):
        depth = deepest()
        with pytest.raises(InvalidRequest, match="item 0 is no JSON"):
            written([nested(depth + 5)])
        one = Transcript(ROOT, "a")
        await one.append(store, written([nested(depth)]), soon())

        async def deeper(calls: int) -> Any:
            return await (deeper(calls - 1) if calls else one.load(store, soon()))

        assert await deeper(50) == [nested(depth)]


@asynchronous
async def test_a_writer_that_meets_a_removal_begins_anew() -> None:
    """
    Removed between its look and its write: what it appends is all there is.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        await one.append(store, written(["old"]), soon(), tell=tell)
        meddling: Any = Meddling(store, lambda: Transcript(ROOT, "a").remove(store, soon()))
        await one.append(meddling, written(["new"]), soon(), tell=tell)
        assert await one.load(store, soon()) == ["new"]
        assert await transcripts.abouts(store, ROOT, timeout=5) == [{"count": 1}]


@asynchronous
async def test_a_removal_spares_what_was_begun_anew() -> None:
    """
    Between its look and its transaction, another removes the transcript and begins a new
    one: the removal looks again, and removes that one; or neither is half gone.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        await one.append(store, written(["old"]), soon())

        async def change() -> None:
            await one.remove(store, soon())
            await one.append(store, written(["new"]), soon())

        meddling: Any = Meddling(store, change)
        await Transcript(ROOT, "a").remove(meddling, soon())
        assert await one.load(store, soon()) is None
        assert await rows(store) == 0


@asynchronous
async def test_a_superseded_owner_changes_nothing() -> None:
    """
    Append, pop and removal are refused once the agent has another owner, and every key is
    as it was; the new owner goes on.
    """
    async with stores(2) as (_, [store, other]):
        async with store.own("agent") as agent:
            first = Owner(agent.agent_id, agent.token)
            one = Transcript(ROOT, "a")
            await one.append(store, written(["mine"]), soon(), owner=first)
        async with other.own("agent", wait=True) as agent:
            second = Owner(agent.agent_id, agent.token)
            before = [(row.key, row.mod_revision) async for row in store.keys.range()]
            for refused in (
                one.append(store, written(["late"]), soon(), owner=first),
                one.append(store, written([LARGE]), soon(), owner=first),
                one.pop(store, soon(), owner=first),
                one.remove(store, soon(), owner=first),
            ):
                with pytest.raises(Fenced) as error:
                    await refused
                assert error.value.definite
            assert before == [(row.key, row.mod_revision) async for row in store.keys.range()]
            await Transcript(ROOT, "a").append(other, written(["ours"]), soon(), owner=second)
            assert await one.load(store, soon()) == ["mine", "ours"]


@asynchronous
async def test_a_write_that_failed_is_looked_after() -> None:
    """
    After a failure of which nobody knows whether it was one, the next append reads how it
    stands: nothing is overwritten.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        await one.append(store, written([1]), soon())

        class Lossy(Meddling):
            async def txn(self, **named: Any) -> Any:
                await super().txn(**named)
                raise OSError("the answer is lost")

        lossy: Any = Lossy(store)
        with pytest.raises(OSError, match="lost"):
            await one.append(lossy, written([2]), soon())
        await one.append(store, written([3]), soon())
        assert await one.load(store, soon()) == [1, 2, 3]


@asynchronous
async def test_a_turn_is_waited_for_no_longer_than_the_time() -> None:
    """
    A write that hangs holds up those behind it until their time is over; they never began.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        free = asyncio.Event()
        hanging: Any = Meddling(store, free.wait)
        first = asyncio.create_task(one.append(hanging, written([1]), soon()))
        await until(lambda: not hanging.left, "the first write has begun")
        with pytest.raises(NoQuorum) as error:
            await one.append(store, written([2]), soon(0.05))
        assert error.value.definite
        free.set()
        await first
        assert await one.load(store, soon()) == [1]


@asynchronous
async def test_the_longest_names_fit() -> None:
    """
    A name and three ids of the greatest length, in their worst spelling, with a large item.
    """
    async with stores(1) as (_, [store]):
        worst = "\x00" * ID_BYTES_MAX
        one = Transcript(("~claude", "\x00" * NAME_BYTES_MAX, "sub"), worst, worst, worst)
        await one.append(store, written([LARGE]), soon(), tell=tell, ids=["1"])
        assert await one.load(store, soon()) == [LARGE]
        await one.remove(store, soon())
        assert await rows(store) == 0


@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("name", "x" * (NAME_BYTES_MAX + 1), "at most 32"),
        ("session_id", "é" * (ID_BYTES_MAX // 2 + 1), "at most 4096"),
        ("session_id", "", "is empty"),
        ("session_id", 7, "is no text, but int"),
    ],
)
def test_what_cannot_be_an_id_is_refused(field: str, text: object, why: str) -> None:
    """
    The error names the field and the limit.
    """
    with pytest.raises(InvalidRequest, match=why) as error:
        transcripts.check_text(field, text)
    assert error.value.details["field"] == field
    assert error.value.details["limit"] in {"32", "4096"}


@asynchronous
async def test_damage_is_told() -> None:
    """
    A part that is gone is an error, not a shorter transcript.
    """
    async with stores(1) as (_, [store]):
        one = Transcript(ROOT, "a")
        await one.append(store, written([LARGE]), soon())
        parts = [
            row.key async for row in store.keys.range(keys_only=True) if b"\x00" in row.key
        ]
        await store.keys.delete(parts[1])
        with pytest.raises(records.Damaged):
            await one.load(store, soon())
