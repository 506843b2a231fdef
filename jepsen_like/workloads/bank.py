"""Several keys that belong together: accounts with a total, and a group with one value.

A transfer takes from one account what it gives to another, in one guarded transaction. A
version is one value that is written to every key of the group at once. They are read in
every way there is: linearizable, stale at a member, page by page while others write, as
they were at a revision, and inside a transaction. What is read must be of one revision.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from jepsen_like import generator as gen
from jepsen_like.checkers import bank
from jepsen_like.checkers.bank import ACCOUNTS, FIRST, KEYS, MEMBERS, START
from jepsen_like.clients import PAUSE_S, Pool, Shared, SharingClient, answered, ended
from jepsen_like.keyspace import Known, Pages, guarded, put, whole_range
from jepsen_like.protocols import Done, Generator, Op, Record, Site, Verdict, Workload
from jepsen_like.workloads.asking import ask_all
from raftstate.errors import RaftStateError
from raftstate.v1.kv_service_pb2 import (
    Compare,
    KeyRange,
    TxnBody,
    TxnGet,
    TxnOp,
    TxnRange,
    TxnRequest,
    TxnResponse,
)

NAME: Final = "bank"
THREADS: Final = 7
SDK_THREADS: Final = 4
RATE: Final = 16.0
WEIGHTS: Final[Mapping[str, int]] = {
    "transfer": 25,
    "version": 15,
    "read": 12,
    "stale-read": 14,
    "past-read": 10,
    "paged-read": 14,
    "txn-read": 10,
}
AMOUNT_MAX: Final = 20
# How far back a read of the past looks, from what its member holds.
BACK_MAX: Final = 120
PAGES_S: Final = 2.0


# --- what to do ----------------------------------------------------------------


def operation(thread: str, draws: random.Random, count: int) -> Op:
    """The operation of that number of one thread."""
    [f] = draws.choices(list(WEIGHTS), list(WEIGHTS.values()))
    identity = f"b{thread.rpartition('/')[2]}-{count}"
    value: dict[str, Any]
    if f == "transfer":
        giver, taker = draws.sample(ACCOUNTS, 2)
        amount = draws.randint(1, AMOUNT_MAX)
        value = {"id": identity, "from": giver, "to": taker, "amount": amount}
    elif f == "version":
        value = {"id": identity}
    else:
        value = {"of": draws.choice(list(KEYS))}
    if f == "past-read":
        value["back"] = draws.randint(0, BACK_MAX)
    if f == "paged-read":
        value |= {"stale": draws.random() < 0.5, "size": draws.randint(1, 2)}
    return Op(NAME, f, value=value)


def operations(seed: int) -> Generator:
    """Operations for ever; what a thread does depends on the seed and on its name."""
    return gen.PerThread(lambda name: gen.Draw(f"{seed}:{name}", partial(operation, name)))


def final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """Both, as the cluster says, and as each member holds them."""
    every = (Op(NAME, "read", value={"of": of}) for of in KEYS)
    of_nodes = (
        Op(NAME, "read-node", value={"of": of, "node": node}) for node in nodes for of in KEYS
    )
    return ask_all(*every, *of_nodes)


# --- doing it ------------------------------------------------------------------


class BankClient(SharingClient):
    """One thread of the bank."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, number, SDK_THREADS)
        root = f"{shared.site.prefix}/{NAME}"
        self._prefix = {of: f"{root}/{of}/".encode() for of in KEYS}
        self._known: Known = {}
        self._founded = False

    async def invoke(self, op: Op) -> Done:
        """One operation."""
        try:
            match op.f:
                case "transfer":
                    return await self._transfer(op.value)
                case "version":
                    return await self._version(op.value["id"])
        except RaftStateError as error:
            return ended(error, self._way.asked)
        try:
            match op.f:
                case "read":
                    return self._told(await self._ask(op.value["of"]), op.value["of"])
                case "paged-read":
                    return await self._paged(op.value)
                case "txn-read":
                    return await self._in_transaction(op.value["of"])
                case "stale-read" | "past-read" | "read-node":
                    return await self._at_member(op)
        except RaftStateError as error:
            return ended(error, self._way.asked, changes=False)
        raise ValueError(f"a bank does not know {op}")

    # --- writing ---

    async def _transfer(self, asked: Mapping[str, Any]) -> Done:
        await self._found()
        giver, taker = self._key("accounts", asked["from"]), self._key("accounts", asked["to"])
        wrote: dict[str, str] = {}

        def moved(key: bytes, data: bytes | None) -> bytes:
            balance = int(data.decode().partition(":")[0]) if data else START
            balance += asked["amount"] if key == taker else -asked["amount"]
            text = f"{balance}:{asked['id']}"
            wrote[asked["to"] if key == taker else asked["from"]] = text
            return text.encode()

        both = (giver, taker)
        done = await guarded(self._way, self._known, both, both, moved)
        told: dict[str, Any] = {"failed_compares": done.failed}
        if done.answer is None:
            why = f"a compare failed {done.failed} times"
            return Done("fail", told, node=self._way.asked, error=why)
        return answered(done.answer, told | {"wrote": wrote})

    async def _found(self) -> None:
        """Make the accounts, unless somebody has."""
        if self._founded:
            return
        first = f"{START}:{FIRST}".encode()
        body = TxnBody(
            compares=[Compare(key=self._key("accounts", ACCOUNTS[0]), create_revision=0)],
            success=[put(self._key("accounts", name), first) for name in ACCOUNTS],
        )
        await self._way.mutate("txn", TxnRequest(txn=body))
        self._founded = True

    async def _version(self, identity: str) -> Done:
        body = TxnBody(
            success=[put(self._key("group", name), identity.encode()) for name in MEMBERS]
        )
        answer = await self._way.mutate("txn", TxnRequest(txn=body))
        return answered(answer, {"wrote": dict.fromkeys(MEMBERS, identity)})

    # --- reading ---

    async def _ask(self, of: str, page_size: int = 100) -> Pages:
        attempt = partial(whole_range, self._prefix[of], page_size=page_size)
        return await self._way.ask(attempt, PAGES_S)

    async def _paged(self, asked: Mapping[str, Any]) -> Done:
        of = asked["of"]
        if not asked["stale"]:
            return self._told(await self._ask(of, asked["size"]), of)
        attempt = partial(whole_range, self._prefix[of], stale=True, page_size=asked["size"])
        return self._told(await self._shared.once(self._node, attempt, timeout=PAGES_S), of)

    async def _in_transaction(self, of: str) -> Done:
        """The accounts by a range, the group key by key."""
        if of == "accounts":
            prefix = self._prefix[of]
            ops = [TxnOp(range=TxnRange(range=KeyRange(prefix=prefix)))]
        else:
            ops = [TxnOp(get=TxnGet(key=self._key(of, name))) for name in KEYS[of]]
        answer: TxnResponse = await self._way.mutate(
            "txn", TxnRequest(txn=TxnBody(success=ops))
        )
        pages = Pages(answer.header, revisions=[answer.header.revision])
        for result in answer.txn.results:
            pages.kvs.extend(result.range.kvs)
            if result.get.HasField("kv"):
                pages.kvs.append(result.get.kv)
        return self._told(pages, of)

    async def _at_member(self, op: Op) -> Done:
        """A read that any member answers: of what it holds, or of the past."""
        of, node = op.value["of"], op.value.get("node", self._node)
        prefix = self._prefix[of]
        try:
            pages = await self._shared.once(node, partial(whole_range, prefix, stale=True))
            if op.f == "past-read":
                then = max(1, pages.header.revision - op.value["back"])
                past = partial(whole_range, prefix, revision=then, page_size=2)
                pages = await self._shared.once(node, past)
                if pages.header.revision != then:
                    pages.revisions.append(then)  # which is to be complained about
        except RaftStateError as error:
            if op.f == "read-node":
                await asyncio.sleep(PAUSE_S)  # it is asked again
            return ended(error, node, changes=False)
        return self._told(pages, of)

    def _told(self, pages: Pages, of: str) -> Done:
        values = pages.texts(self._prefix[of])
        return answered(pages, {"values": values, "revisions": pages.revisions})

    def _key(self, of: str, name: str) -> bytes:
        return self._prefix[of] + name.encode()


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Every read against itself, and against its revision."""
    return [bank.check(record, NAME)]


def workload() -> Workload:
    """The promise: what is read together is of one revision."""
    pool = Pool(NAME)

    def client(site: Site, number: int) -> BankClient:
        return BankClient(pool.of(site), number)

    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=client,
        generator=operations,
        final=final,
        check=check,
    )
