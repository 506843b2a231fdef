"""Lists under transactions: each appends to a few of them, reads a few, all at once.

A list is the value of one key. Every element is appended once in the run, so that a list
says who wrote it, and in which order; cycles.py makes of that what depends on what. A
few lists are hot at a time, and left for new ones before they are long.

Appending is a read, and a write on condition that nobody has written in between; a
transaction is one such Txn over all its keys. Nobody reads beforehand: what a thread saw
last is taken for what there is, and a compare that fails brings what there is instead.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from jepsen_like.checkers import cycles
from jepsen_like.clients import PAUSE_S, Pool, Shared, SharingClient, answered, ended
from jepsen_like.history import Event
from jepsen_like.keyspace import Known, Pages, Value, guarded, whole_range
from jepsen_like.protocols import (
    PENDING,
    Context,
    Done,
    Generator,
    Op,
    Pending,
    Record,
    Verdict,
    Workload,
)
from jepsen_like.workloads.asking import ask_all
from raftstate.errors import RaftStateError

NAME: Final = "append"
THREADS: Final = 6
SDK_THREADS: Final = 3
RATE: Final = 12.0
KEYS: Final = 8  # that are hot at a time
APPENDS: Final = 240  # to all of these, before there are new ones
MICROS_MAX: Final = 4
ALL_READ_S: Final = 3.0
KNOWN_MAX: Final = 64

Micro = list[Any]  # "r" or "append", the key, and the element or the list


# --- what to do ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transactions:
    """Transactions for ever. What a thread does is drawn from the seed, its name and how
    many it had; which lists are hot depends on how many appends there were."""

    seed: int
    counts: Mapping[str, int] = field(default_factory=dict)  # transactions, by thread
    appends: int = 0

    def op(self, context: Context) -> tuple[Op, Generator] | Pending | None:
        """A transaction of any free thread."""
        if not context.free:
            return PENDING
        total = sum(self.counts.values())
        thread = random.Random(f"{self.seed}/{NAME}/{total}").choice(sorted(context.free))
        count = self.counts.get(thread, 0)
        number = int(thread.rpartition("/")[2])
        micros = self._draw(random.Random(f"{self.seed}/{thread}/{count}"), number, count)
        value = {"id": f"a{number}-{count}", "ops": micros}
        appends = self.appends + sum(micro[0] == "append" for micro in micros)
        after = replace(self, counts={**self.counts, thread: count + 1}, appends=appends)
        return Op(NAME, "txn", value=value, thread=thread), after

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        """Nothing depends on answers."""
        return self

    def _draw(self, draws: random.Random, number: int, count: int) -> list[Micro]:
        hot = self.appends // APPENDS
        micros: list[Micro] = []
        for place in range(draws.randint(1, MICROS_MAX)):
            key = f"{hot}.{draws.randrange(KEYS)}"
            if draws.random() < 0.5:  # as often as not
                micros.append(["r", key, None])
            else:
                element = (count * MICROS_MAX + place) * THREADS + number
                micros.append(["append", key, element])
        return micros


def final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """Every list: as the cluster says, and as each member holds it."""
    of_nodes = (Op(NAME, "read-node", value={"node": node}) for node in nodes)
    return ask_all(Op(NAME, "read-all"), *of_nodes)


# --- doing it ------------------------------------------------------------------


class AppendClient(SharingClient):
    """One thread of the lists."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, number, SDK_THREADS)
        self._prefix = f"{shared.site.prefix}/{NAME}/".encode()
        self._known: Known = {}

    async def invoke(self, op: Op) -> Done:
        """A transaction, or a read of everything."""
        match op.f:
            case "txn":
                return await self._txn(op.value["ops"])
            case "read-all":
                return await self._read_all()
            case "read-node":
                return await self._read_node(op.value["node"])
        raise ValueError(f"lists do not know {op}")

    async def _txn(self, micros: Sequence[Micro]) -> Done:
        appended: dict[bytes, list[int]] = {}
        for f, key, element in micros:
            if f == "append":
                appended.setdefault(self._key(key), []).append(element)

        def longer(key: bytes, data: bytes | None) -> bytes:
            return json.dumps(_list(data) + appended[key], separators=(",", ":")).encode()

        keys = list(dict.fromkeys(self._key(key) for _, key, _ in micros))
        if len(self._known) > KNOWN_MAX:
            self._known.clear()
        try:
            done = await guarded(self._way, self._known, keys, appended, longer)
        except RaftStateError as error:
            return ended(error, self._way.asked)
        told: dict[str, Any] = {"failed_compares": done.failed}
        if done.answer is None:
            why = f"a compare failed {done.failed} times"
            return Done("fail", told, node=self._way.asked, error=why)
        told["ops"] = self._told(micros, done.read)
        return answered(done.answer, told)

    def _told(self, micros: Sequence[Micro], read: Mapping[bytes, Value]) -> list[Micro]:
        """The transaction, with what each read of it saw."""
        lists = {key: _list(value.data) for key, value in read.items()}
        told: list[Micro] = []
        for f, key, element in micros:
            seen = lists[self._key(key)]
            if f == "append":
                seen.append(element)
            told.append([f, key, element if f == "append" else list(seen)])
        return told

    async def _read_all(self) -> Done:
        try:
            pages = await self._way.ask(partial(whole_range, self._prefix), ALL_READ_S)
        except RaftStateError as error:
            return ended(error, self._way.asked, changes=False)
        return answered(pages, {"lists": self._lists(pages)})

    async def _read_node(self, node: str) -> Done:
        attempt = partial(whole_range, self._prefix, stale=True)
        try:
            pages = await self._shared.once(node, attempt, timeout=ALL_READ_S)
        except RaftStateError as error:
            await asyncio.sleep(PAUSE_S)  # it is asked again
            return ended(error, node, changes=False)
        return answered(pages, {"lists": self._lists(pages)})

    def _lists(self, pages: Pages) -> dict[str, list[int]]:
        return {key: json.loads(text) for key, text in pages.texts(self._prefix).items()}

    def _key(self, name: str) -> bytes:
        return self._prefix + name.encode()


def _list(data: bytes | None) -> list[int]:
    found: list[int] = json.loads(data) if data else []
    return found


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Cycles of dependencies, as if there were no revisions; and the revisions."""
    return cycles.check(record, NAME)


def workload() -> Workload:
    """The promise: transactions over several keys are strictly serializable."""
    pool = Pool(NAME)
    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=lambda site, number: AppendClient(pool.of(site), number),
        generator=Transactions,
        final=final,
        check=check,
    )
