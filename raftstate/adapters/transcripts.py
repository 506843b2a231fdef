r"""Transcripts: lists of JSON values that grow at their end, whoever writes them.

A head says what there is, and changes with every write, which compares it: so writers that
meet lose nothing, and one that was overtaken tries again. Items lie in pages, which are
written with the head, all or nothing. What is told about a transcript is a record of its own,
so that many of them are listed without being read.

    head   ids               era, next page, number of items, stamp
    about  ids               what is told about it
    page   ids era number    the number of its first item, and its items
    mark   ids era number    digests of the ids of items, so that none is there twice
    grave  ids era           of this era, pages may be left that are to go

What is removed begins anew in another era: an old page never shows up in a new transcript.
Heads are removed by one transaction, whatever is behind them; the pages go after it, and if
that is broken off, what is left goes with the next removal.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from raftstate.adapters import records
from raftstate.adapters.keys import key
from raftstate.adapters.records import Owner
from raftstate.client import Seen, Store, txn
from raftstate.errors import (
    Compacted,
    Conflict,
    Fenced,
    InvalidRequest,
    NoQuorum,
    OutcomeUnknown,
    RaftStateError,
)
from raftstate.v1.kv_service_pb2 import Compare, TxnOp

# What a page holds, unless one write needs more pages than one transaction takes.
PAGE_BYTES: Final = 128 << 10
PAGES_AT_ONCE: Final = 16
# So many transcripts end in one transaction.
REMOVED_AT_ONCE: Final = 16

# Four ids, an era and a number fit into a key if the first of them is as short as this.
NAME_BYTES_MAX: Final = 32
ID_BYTES_MAX: Final = 4_096

# An item whose lists are nested so much deeper than this one's is read by all that wrote it.
_DEEPER: Final = 100
_PAGES_READ: Final = 100
_MARK_BYTES: Final = 16
_PAUSE_S: Final = 0.005
_PAUSE_MAX_S: Final = 0.25

Items = list[Any]
About = dict[str, Any]


class Head(NamedTuple):
    """What there is of a transcript."""

    era: str
    next: int
    size: int
    stamp: str


class _Known(NamedTuple):
    """A transcript as somebody saw it. Without the bytes of a head there was none."""

    raw: bytes | None
    head: Head
    about: About | None = None


class _End(NamedTuple):
    """What a transaction compares, does and removes to end a transcript."""

    same: Compare
    operations: list[TxnOp]
    about: bytes


@dataclass(slots=True)
class _Marks:
    """Which ids an era has, in the pages before `upto`."""

    era: str = ""
    upto: int = 0
    known: set[bytes] = field(default_factory=set)


class Transcript:
    """One transcript. Any number of processes may have it open; in one, its writes queue.

    What waits for others does so until a moment (of `time.monotonic`). Either all appends
    tell something about it, or none does."""

    def __init__(self, root: Sequence[str], *ids: str) -> None:
        self._root, self._ids = tuple(root), ids
        self._lock = asyncio.Lock()
        self._known: _Known | None = None
        self._marks = _Marks()

    # --- reading ---

    async def load(self, store: Store, until: float, limit: int | None = None) -> Items | None:
        """Its items in order, or the last `limit` of them, as they were at one moment; None
        if there is no such transcript, or nothing in it. Raises Conflict (definite) if others
        wrote all the time, and what every read does."""
        attempts = _Attempts(until)
        while True:
            await attempts.another()
            seen = Seen()
            found = await store.keys.get(self._key("head"), seen=seen, timeout=attempts.left)
            if found is None:
                return None
            head = _head(found.value)
            if not head.size:
                return None
            wanted = head.size if limit is None else max(min(limit, head.size), 0)
            try:
                items = await self._walk(store, head, seen.revision, wanted, attempts.left)
            except Compacted:
                continue
            if items is not None:
                return items

    async def _walk(
        self, store: Store, head: Head, revision: int, wanted: int, timeout: float
    ) -> Items | None:
        """The last items, from the end backwards. None if a page is not what it was at that
        revision: of large ones, the past is not kept."""
        pages: list[Items] = []
        first = head.size
        async with aclosing(
            records.scan(
                store,
                self._key("page", head.era),
                backwards=True,
                page_size=min(max(wanted, 1), _PAGES_READ),
                at=revision,
                timeout=timeout,
            )
        ) as found:
            while head.size - first < wanted:
                record = await anext(found, None)
                if record is None:
                    return None
                # A page is never what it was before, with as many items.
                at, items = _page(record.data)
                if at + len(items) != first:
                    return None
                pages.append(items)
                first = at
        whole = [one for page in reversed(pages) for one in page]
        return whole[len(whole) - wanted :]

    # --- writing ---

    async def append(
        self,
        store: Store,
        texts: Sequence[str],
        until: float,
        *,
        ids: Sequence[str | None] | None = None,
        tell: Callable[[About | None, Items], About] | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Append all of the items, which are `written` already, at one revision, or none. With
        `ids`, those that are there already are left out. `tell` makes of what was told about
        it, and what is appended, what is told now.

        Raises Conflict (definite) if others were faster all the time, and what
        `records.write` does."""
        if not texts:
            return
        marks = [None if one is None else _mark(one) for one in ids or [None] * len(texts)]
        large = sum(map(len, texts)) > records.INLINE_BYTES
        async with self._turn(until):
            attempts = _Attempts(until)
            while True:
                await attempts.another()
                remembered = self._known
                known = remembered or await self._look(store, attempts.left, tell is not None)
                before = await self._seen_marks(store, known, attempts.left) if ids else set()
                fresh = list(_fresh(marks, before))
                if not fresh and remembered is None:
                    return
                if not fresh:  # for all that is remembered; nobody has compared that
                    self._known = None
                    continue
                if large and known.raw is None:
                    # Parts are sent before all else: in an era that a removal knows of.
                    await self._write(store, None, known, {}, (), attempts.left, owner)
                    continue
                era, begun, size = known.head.era, known.head.next, known.head.size
                pages = list(_paged([texts[n] for n in fresh], size))
                puts = {self._key("page", era, begun + n): page for n, page in enumerate(pages)}
                added = [mark for n in fresh if (mark := marks[n]) is not None]
                if added:
                    puts[self._key("mark", era, begun)] = b"".join(added)
                about = known.about
                if tell is not None:
                    about = tell(about, [json.loads(texts[n]) for n in fresh])
                    puts[self._key("about")] = json.dumps(about).encode()
                head = known.head._replace(next=begun + len(pages), size=size + len(fresh))
                new = known._replace(head=head, about=about)
                if await self._write(store, known.raw, new, puts, (), attempts.left, owner):
                    self._marks.known.update(added)
                    self._marks.upto = head.next
                    return

    async def pop(self, store: Store, until: float, *, owner: Owner | None = None) -> Any:
        """Remove the last item, and return it; None if there is none. Raises as `append`."""
        async with self._turn(until):
            attempts = _Attempts(until)
            while True:
                await attempts.another()
                known = await self._look(store, attempts.left)
                if not known.head.size:
                    return None
                record = await self._last_page(store, known.head, attempts.left)
                if record is None:
                    continue  # removed meanwhile
                at, items = _page(record.data)
                last = items.pop()
                new = known._replace(head=known.head._replace(size=known.head.size - 1))
                puts = {record.key: _written(at, map(json.dumps, items))} if items else {}
                gone = [] if items else [record.key]
                if await self._write(store, known.raw, new, puts, gone, attempts.left, owner):
                    return last

    async def remove(self, store: Store, until: float, *, owner: Owner | None = None) -> None:
        """Remove it, at one revision, and then its pages. See `remove`."""
        await remove(store, [self], until, owner=owner)

    async def _write(
        self,
        store: Store,
        raw: bytes | None,
        new: _Known,
        puts: dict[bytes, bytes],
        deletes: Collection[bytes],
        timeout: float,
        owner: Owner | None,
    ) -> bool:
        """Write pages with the head, if that is what it was; whether it was. How it stands
        if this raises, nobody knows, and the next write looks."""
        name = self._key("head")
        head = new.head._replace(stamp=secrets.token_hex(8))
        stored = json.dumps(head).encode()
        unchanged = txn.missing(name) if raw is None else txn.equal(name, value=raw)
        self._known = None
        done = await records.write(
            store,
            puts,
            deletes,
            when=[unchanged],
            extra=[txn.put(name, stored)],
            owner=owner,
            timeout=timeout,
        )
        if done:
            self._known = _Known(stored, head, new.about)
        return done

    async def _look(self, store: Store, timeout: float, about: bool = False) -> _Known:
        """How it stands. That what is told about it is told of this very head, the next write
        makes sure."""
        found = await store.keys.get(self._key("head"), timeout=timeout)
        if found is None:
            return _Known(None, Head(secrets.token_hex(8), 0, 0, ""))
        told = None
        if about:
            record = await records.read(store, self._key("about"), timeout=timeout)
            told = None if record is None else json.loads(record.data)
        return _Known(found.value, _head(found.value), told)

    async def _seen_marks(self, store: Store, known: _Known, timeout: float) -> set[bytes]:
        """The ids that are there; only those that are not known yet are read."""
        marks, head = self._marks, known.head
        if marks.era != head.era:
            marks = self._marks = _Marks(head.era)
        if marks.upto < head.next:
            start, end = (self._key("mark", head.era, n) for n in (marks.upto, head.next))
            async for record in records.scan(store, start=start, end=end, timeout=timeout):
                marks.known.update(
                    record.data[at : at + _MARK_BYTES]
                    for at in range(0, len(record.data), _MARK_BYTES)
                )
            marks.upto = head.next
        return marks.known

    async def _last_page(
        self, store: Store, head: Head, timeout: float
    ) -> records.Record | None:
        prefix = self._key("page", head.era)
        async with aclosing(
            records.scan(store, prefix, backwards=True, page_size=1, timeout=timeout)
        ) as found:
            return await anext(found, None)

    @asynccontextmanager
    async def _turn(self, until: float) -> AsyncIterator[None]:
        """One write at a time in a process: those of others it has to compete with."""
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0)):
                await self._lock.acquire()
        except TimeoutError as error:
            raise NoQuorum("the writes before this one did not end", definite=True) from error
        try:
            yield
        finally:
            self._lock.release()

    # --- its end ---

    async def _end(self, store: Store, timeout: float) -> _End | None:
        """What removes it, if it is there."""
        found = await store.keys.get(self._key("head"), timeout=timeout)
        if found is None:
            return None
        era = _head(found.value).era
        return _End(
            # Written to it may be meanwhile, and goes with it; begun anew it may not.
            txn.equal(found.key, create_revision=found.create_revision),
            [txn.delete(found.key), txn.put(self._key("grave", era), b"")],
            self._key("about"),
        )

    def _key(self, kind: str, *rest: str | int) -> bytes:
        return key(*self._root, kind, *self._ids, *rest)


async def remove(
    store: Store,
    transcripts: Sequence[Transcript],
    until: float,
    *,
    owner: Owner | None = None,
) -> None:
    """Remove some transcripts at one revision, at most REMOVED_AT_ONCE, and then their pages.
    It may be called again, and removes what is left then. Raises as `Transcript.append`, and
    OutcomeUnknown if only the pages are left."""
    attempts = _Attempts(until)
    while True:
        await attempts.another()
        found = [await one._end(store, attempts.left) for one in transcripts]
        ends = [end for end in found if end is not None]
        if not ends or await records.write(
            store,
            {},
            [end.about for end in ends],
            when=[end.same for end in ends],
            extra=[operation for end in ends for operation in end.operations],
            owner=owner,
            timeout=attempts.left,
        ):
            break
    for one in transcripts:
        one._known = None
    # Whoever owned the agent when they were removed clears away, whoever owns it now.
    with indefinite(when=bool(ends)):
        fence = None if ends else owner
        for one in transcripts:
            await sweep(store, one._root, *one._ids, timeout=attempts.left, owner=fence)


@contextmanager
def indefinite(*, when: bool = True) -> Iterator[None]:
    """What fails in it does not say that nothing happened: something was removed before. That
    the owner is of the past stays what it is. Raises OutcomeUnknown."""
    try:
        yield
    except Fenced:
        raise
    except RaftStateError as error:
        if not when:
            raise
        raise OutcomeUnknown(
            f"some of it was removed, but not all; it may be tried again: {error}",
            definite=False,
        ) from error


async def sweep(
    store: Store,
    root: Sequence[str],
    *ids: str,
    timeout: float,
    owner: Owner | None = None,
) -> None:
    """Remove the pages of transcripts whose ids begin with these, and which were removed.
    `remove` does so, unless it is broken off."""
    grave = key(*root, "grave")
    found = store.keys.range(prefix=key(*root, "grave", *ids), keys_only=True, timeout=timeout)
    for name in [one.key async for one in found]:
        for kind in ("page", "mark"):
            rest = key(*root, kind) + name.removeprefix(grave)
            await records.remove(store, rest, owner=owner, timeout=timeout)
        await records.remove(store, name, owner=owner, timeout=timeout)


async def abouts(store: Store, root: Sequence[str], *ids: str, timeout: float) -> list[About]:
    """What is told about the transcripts whose ids begin with these, in order of their ids,
    as it was at one revision."""
    prefix = key(*root, "about", *ids)
    return [
        json.loads(record.data) async for record in records.scan(store, prefix, timeout=timeout)
    ]


class _Attempts:
    """Attempts that others may spoil, until some moment, with pauses in between."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._pause = 0.0

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self._until - time.monotonic(), 0.01)

    async def another(self) -> None:
        """Begin another. Raises Conflict (definite) if there is no time for it."""
        if not self._pause:
            self._pause = _PAUSE_S
            return
        if time.monotonic() + self._pause >= self._until:
            raise Conflict(
                "others changed the transcript at the same time, each time it was tried",
                definite=True,
            )
        await asyncio.sleep(random.uniform(0, self._pause))
        self._pause = min(2 * self._pause, _PAUSE_MAX_S)


def check_text(field: str, text: object) -> None:
    """Raises InvalidRequest (definite) for what a transcript cannot be kept under: no text,
    an empty one, or one that is very long."""
    limit = NAME_BYTES_MAX if field == "name" else ID_BYTES_MAX
    if not isinstance(text, str):
        wrong = f"is no text, but {type(text).__name__}"
    elif not text:
        wrong = "is empty"
    elif (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
        wrong = f"has {size} bytes; at most {limit} are possible"
    else:
        return
    raise InvalidRequest(
        f"{field} {wrong}", definite=True, details={"field": field, "limit": str(limit)}
    )


# --- how it is written -------------------------------------------------------


def _head(raw: bytes) -> Head:
    return Head(*json.loads(raw))


def _page(data: bytes) -> tuple[int, Items]:
    page = json.loads(data)
    return page["at"], page["items"]


def _written(at: int, texts: Iterable[str]) -> bytes:
    return f'{{"at": {at}, "items": [{", ".join(texts)}]}}'.encode()


def _paged(texts: list[str], at: int) -> Iterator[bytes]:
    """Pages of what is appended, full ones but for the last."""
    full = max(PAGE_BYTES, -(-sum(map(len, texts)) // PAGES_AT_ONCE))
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= full:
            yield _written(at, held)
            at += len(held)
            held, size = [], 0
    if held:
        yield _written(at, held)


def _fresh(marks: Sequence[bytes | None], before: Collection[bytes]) -> Iterator[int]:
    """The numbers of those that are not there yet, each mark once."""
    now: set[bytes] = set()
    for number, mark in enumerate(marks):
        if mark is None:
            yield number
        elif mark not in before and mark not in now:
            now.add(mark)
            yield number


def _mark(name: str) -> bytes:
    return hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"), digest_size=_MARK_BYTES
    ).digest()


def written(items: Iterable[Any]) -> list[str]:
    """Items as they are now, as JSON. Raises InvalidRequest (definite) if one is none."""
    return [_text(number, item) for number, item in enumerate(items)]


def _text(number: int, item: Any) -> str:
    try:
        text = json.dumps(item)
        if text.count("[") + text.count("{") > _DEEPER:
            # Else it might be one that is written, and that nobody can read.
            json.loads("[" * _DEEPER + text + "]" * _DEEPER)
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"item {number} is no JSON: {error}",
            definite=True,
            details={"field": f"items[{number}]"},
        ) from error
