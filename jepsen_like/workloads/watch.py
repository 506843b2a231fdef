"""Watches at every member, while keys are written: each change once, in order, and whole.

Some threads write: a few keys at once, deletions and ranges of deletions among them. Each
write leaves a key of its own beside, which says what was written; the checker goes by
those, and not by what watches say (see watching.py). Now and then history is compacted.

The others watch, each at a member of its own: from now, from a revision of the past or of
the future, from a snapshot, or from where they were before; they break off and go on with
a token, at the same member or at another. One of them stalls: it takes nothing while much
is written, so that its member has to let it go, and to say so.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from jepsen_like import generator as gen
from jepsen_like.checkers import watching
from jepsen_like.checkers.watching import LOG, short
from jepsen_like.clients import TIMEOUT_S, Pool, Shared, SharingClient, answered, ended
from jepsen_like.following import Following, Start
from jepsen_like.keyspace import put, whole_range
from jepsen_like.protocols import Done, Generator, Op, Record, Site, Verdict, Workload
from jepsen_like.workloads.asking import ask_all
from raftstate.client.routing import Peer
from raftstate.errors import Compacted, RaftStateError
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    GetRequest,
    GetResponse,
    KeyRange,
    TxnBody,
    TxnDelete,
    TxnDeleteRange,
    TxnOp,
    TxnRequest,
)

NAME: Final = "watch"
WRITERS: Final = 2
WATCHERS: Final = 6
THREADS: Final = WRITERS + WATCHERS + 1  # the last one stalls
RATE: Final = 12.0
LIMIT_S: Final = 25.0
STALLS: Final = f"{NAME}/{THREADS - 1}"
STALL_EVERY_S: Final = 12.0

KEYS: Final = 8  # under each of the two prefixes
COMPACT: Final = 0.03  # of what writers do
COMPACT_BACK: Final = (300, 1_500)
STARTS: Final[Mapping[str, int]] = {
    "now": 20,
    "past": 30,
    "future": 10,
    "snapshot": 20,
    "resume": 20,
}
PREFIXES: Final = ("a/", "b/", "a/0", LOG)
WATCH_S: Final = (1.5, 5.0)
BREAKS_MAX: Final = 2
BACK_MAX: Final = 3_000
AHEAD_MAX: Final = 60

# What is written while a consumer stalls: more than a member keeps for a watch, since
# each change comes with what was there before.
FLOOD: Final = 14
FLOOD_BYTES: Final = 256 << 10
# A flood takes so long at most; and for so long after it nothing is taken yet.
STALL_S: Final = 6.0
SETTLE_S: Final = 0.5
CATCH_UP_S: Final = 5.0
_ALL_READ_S: Final = 4.0


# --- what to do ----------------------------------------------------------------


def operation(thread: str, draws: random.Random, count: int) -> Op:
    """The operation of that number of one thread."""
    number = int(thread.rpartition("/")[2])
    identity = f"w{number}-{count}"
    if number < WRITERS:
        return _write(identity, draws)
    if number == THREADS - 1:
        return Op(NAME, "stall", value={"id": identity, "prefix": "big/", "previous": True})
    [start] = draws.choices(list(STARTS), list(STARTS.values()))
    seconds = round(draws.uniform(*WATCH_S), 3)
    breaks = sorted(
        round(draws.uniform(0.2, seconds), 3) for _ in range(draws.randint(0, BREAKS_MAX))
    )
    value = {
        "id": identity,
        "start": start,
        "prefix": draws.choice(PREFIXES),
        "previous": draws.random() < 0.5,
        "seconds": seconds,
        "breaks": breaks,
        "elsewhere": draws.random() < 0.3,
        # Mostly of the last moments, sometimes of what may be forgotten.
        "back": int(BACK_MAX ** draws.random()),
        "ahead": draws.randint(1, AHEAD_MAX),
    }
    return Op(NAME, "watch", value=value)


def _write(identity: str, draws: random.Random) -> Op:
    """A write of a few keys, each touched once; now and then history is compacted."""
    if draws.random() < COMPACT:
        return Op(NAME, "compact", value={"back": draws.randint(*COMPACT_BACK)})
    keys = draws.sample([f"{at}/{n:02}" for at in "ab" for n in range(KEYS)], 4)
    gone = draws.choices([0, 1, 2], [60, 30, 10])[0]
    span = f"{draws.choice('ab')}/0" if draws.random() < 0.05 else ""
    puts = [key for key in keys[gone:] if not (span and key.startswith(span))]
    value = {
        "id": identity,
        "puts": puts[: draws.randint(1, 3)],
        "deletes": keys[:gone],
        "range": span,
    }
    return Op(NAME, "write", value=value)


def operations(seed: int) -> Generator:
    """Operations for ever; what a thread does depends on the seed and on its name."""

    def copy(name: str) -> Generator:
        drawn = gen.Draw(f"{seed}:{name}", partial(operation, name))
        if name != STALLS:
            return drawn
        return gen.Stagger(STALL_EVERY_S, drawn, f"{seed}:{name}:pace")

    return gen.PerThread(copy)


def final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """A last watch at every member, of the newest past and of all there is; and then what
    was written."""
    last = {"seconds": 1.0, "breaks": [], "elsewhere": False, "ahead": 1, "previous": True}
    watches = (
        Op(NAME, "watch", value={**last, "start": how, "prefix": at, "back": 300, "node": node})
        for node in nodes
        for how, at in (("past", "a/"), ("snapshot", "b/"))
    )
    return gen.Phases(ask_all(*watches), ask_all(Op(NAME, "read-log")))


# --- writing ---------------------------------------------------------------------


class WatchClient(SharingClient):
    """What threads that write and threads that watch have in common."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, number, WRITERS)
        self._root = f"{shared.site.prefix}/{NAME}/".encode()
        self._before: Following | None = None

    async def invoke(self, op: Op) -> Done:
        """One operation. The last reads are anybody's."""
        match op.f:
            case "read-log":
                return await self._read_log()
            case "write":
                return await self._write(op.value)
            case "compact":
                return await self._compact(op.value["back"])
            case "watch":
                return await self._watch(op.value)
            case "stall":
                return await self._stall(op.value)
        raise ValueError(f"watches do not know {op}")

    async def _write(self, asked: Mapping[str, Any]) -> Done:
        values = {key: f"{asked['id']}.{key}".encode() for key in asked["puts"]}
        request = self._transaction(asked["id"], values, asked["deletes"], asked["range"])
        try:
            answer = await self._way.mutate("txn", request)
        except RaftStateError as error:
            return ended(error, self._way.asked)
        return answered(answer, None)

    def _transaction(
        self, name: str, values: Mapping[str, bytes], deletes: Sequence[str], span: str
    ) -> TxnRequest:
        """A write, and the key that says what it is."""
        told = {
            "puts": {key: short(value) for key, value in values.items()},
            "deletes": list(deletes),
            "range": span,
        }
        ops = [TxnOp(delete=TxnDelete(key=self._key(key))) for key in deletes]
        if span:
            prefix = KeyRange(prefix=self._key(span))
            ops.append(TxnOp(delete_range=TxnDeleteRange(range=prefix)))
        ops += [put(self._key(key), value) for key, value in values.items()]
        ops.append(put(self._key(LOG + name), json.dumps(told).encode()))
        return TxnRequest(txn=TxnBody(success=ops))

    async def _compact(self, back: int) -> Done:
        """Have the past forgotten, but for so many revisions."""
        try:
            newest = await self._way.ask(self._newest)
        except RaftStateError as error:
            return ended(error, self._way.asked, changes=False)
        revision = newest.header.revision - back
        if revision < 1:
            return answered(newest, None)  # there is no such past yet
        try:
            answer = await self._way.mutate("compact", CompactRequest(revision=revision))
        except Compacted:
            return answered(newest, None)  # it was forgotten before
        except RaftStateError as error:
            # It says how far it may have gone, should nobody know whether it did.
            return replace(ended(error, self._way.asked), value={"revision": revision})
        return answered(answer, {"revision": revision})

    async def _read_log(self) -> Done:
        try:
            pages = await self._way.ask(partial(whole_range, self._root), _ALL_READ_S)
        except RaftStateError as error:
            return ended(error, self._way.asked, changes=False)
        log: list[list[Any]] = []
        state: dict[str, list[Any]] = {}
        for one in pages.kvs:
            key = one.key[len(self._root) :].decode()
            if key.startswith(LOG):
                name, text = key[len(LOG) :], one.value.decode()
                log.append([one.mod_revision, one.version, name, text])
            else:
                state[key] = [short(one.value), one.mod_revision]
        return answered(pages, {"log": log, "state": state})

    async def _newest(self, peer: Peer, patience: float) -> GetResponse:
        """A read of nothing in particular, for its revision."""
        found: GetResponse = await peer.kv.Get(GetRequest(key=self._root), timeout=patience)
        return found

    def _key(self, name: str) -> bytes:
        return self._root + name.encode()

    # --- watching ---

    async def _watch(self, asked: Mapping[str, Any]) -> Done:
        """Watch for some time; broken off as was drawn, and gone on with."""
        start, plan = asked["start"], asked
        if start == "resume" and self._before is not None:
            prefix, previous = self._before.prefix, self._before.previous
        else:
            start = "now" if start == "resume" else start
            prefix, previous = asked["prefix"], asked["previous"]
        following = Following(
            self._shared,
            self._root,
            prefix,
            previous,
            Start(start, **{name: plan[name] for name in ("back", "ahead")}),
        )
        if start == "resume" and self._before is not None:
            following.go_on_from(self._before)
        node = asked.get("node", self._node)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for moment in [*asked["breaks"], asked["seconds"]]:
            await following.until(began + moment, node)
            if asked["elsewhere"]:
                node = self._next(node)
        self._before = following
        if "node" in asked and following.is_short:  # it is asked again
            return Done("fail", node=node, error="it was not told all that there was")
        return following.done(node)

    def _next(self, node: str) -> str:
        nodes = self._shared.site.nodes
        return nodes[(nodes.index(node) + 1) % len(nodes)]

    async def _stall(self, asked: Mapping[str, Any]) -> Done:
        """Watch, take nothing while much is written, and go on."""
        following = Following(self._shared, self._root, asked["prefix"], True, Start("now"))
        loop = asyncio.get_running_loop()
        written = 0

        async def flood() -> None:
            nonlocal written
            for number in range(FLOOD):
                name = f"{asked['id']}.{number}"
                value = name.encode() + b"." * FLOOD_BYTES
                request = self._transaction(name, {f"big/{number % 2}": value}, (), "")
                await self._shared.engine.mutate("txn", request, TIMEOUT_S)
                written += 1
            await asyncio.sleep(SETTLE_S)

        await following.stalled(self._node, flood, loop.time() + STALL_S)
        await following.until(loop.time() + CATCH_UP_S, self._node)
        return following.done(self._node, {"written": written})


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Every watch against what was written."""
    return [watching.check(record, NAME)]


def workload() -> Workload:
    """The promise: a watch is told every change, once, in order and whole, or is told
    that it cannot be."""
    pool = Pool(NAME)

    def client(site: Site, number: int) -> WatchClient:
        return WatchClient(pool.of(site), number)

    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=client,
        generator=operations,
        final=final,
        check=check,
        limit_s=LIMIT_S,
    )
