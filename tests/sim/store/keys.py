"""Clients of keys: they append to lists in transactions, move money, and write groups.

Reads are of one revision: now, at whatever revision a member has, or in the past.
"""

from __future__ import annotations

from collections.abc import Generator

from jepsen_like.checkers.cycles import Micro, Transaction
from jepsen_like.checkers.history import Outcome as Ending
from raftstate.core import keys, kv_queries
from raftstate.core.ports import Reader
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.kv_service_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRequest,
    KeyRange,
    KeyValue,
    PutRequest,
    TxnBody,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
    TxnResult,
)
from raftstate.v1.store_pb2 import Command
from tests.sim.clients import MUTE
from tests.sim.node import Completed, Look
from tests.sim.store import judging
from tests.sim.store.client import StoreClient
from tests.sim.tasks import Script, Wait

ACCOUNTS = 4
OPENING = 100
GROUP = 5
BANK, GROUPED = b"bank/", b"group/"


def pairs(prefix: bytes) -> Look:
    """Look at all keys with a prefix."""

    def look(reader: Reader) -> list[KeyValue]:
        return [KeyValue.FromString(raw) for _, raw in reader.scan(*keys.keys_with(prefix))]

    return look


def unchanged(key: bytes, mod_revision: int) -> Compare:
    """Holds if nobody has written a key since."""
    return Compare(key=key, mod_revision=mod_revision)


def put(key: bytes, value: bytes) -> TxnOp:
    """Set a key in a transaction."""
    return TxnOp(put=TxnPut(key=key, value=value))


def get(key: bytes) -> TxnOp:
    """Read a key in a transaction."""
    return TxnOp(get=TxnGet(key=key))


class KeyClient(StoreClient):
    """Somebody who makes transactions."""

    def transact(
        self, body: TxnBody
    ) -> Generator[Wait, None, tuple[Ending, int, TxnResult | None]]:
        """Make one: how it ended, at which revision, and what it said; None if that is not
        known, or forgotten."""

        def fill(request_id: RequestId) -> Command:
            return Command(txn=TxnRequest(request_id=request_id, txn=body))

        outcome, definite, told = yield from self.mutate(fill)
        if outcome is None or outcome.refusal.reason in MUTE:
            return ("fail" if definite else "info"), 0, None
        if outcome.HasField("refusal"):
            return "fail", 0, None
        assert isinstance(told, Completed), f"a transaction was answered {told}"
        self.common.counts["transactions"] += 1
        return "ok", outcome.revision, told.result


# --- lists -------------------------------------------------------------------


class Lister(KeyClient):
    """Somebody who reads one to four lists, and appends to some of them, at once.

    Lists are used for a while and then left for new ones, so that they stay short."""

    kind = "lister"

    def act(self) -> Script:
        """One transaction, and now and then a look at what there is."""
        if self.rng.random() < 0.2:
            yield from self.read()
        else:
            yield from self.append()

    def draw(self) -> list[bytes]:
        """Some lists of those in use."""
        age = len(self.common.transactions) // 40
        return [
            f"list/{age}/{number}".encode()
            for number in sorted(self.rng.sample(range(5), self.rng.randint(1, 4)))
        ]

    def read(self) -> Script:
        """Read some lists without a transaction."""
        names, began = self.draw(), self.place.now
        past = self.rng.random() < 0.4
        seeing = self.look_at(lists_of(names)) if past else self.look(lists_of(names))
        sight = yield from seeing
        if sight is None or not sight.revision:
            return
        micros = tuple(
            Micro("r", name.decode(), elements(kv)) for name, kv in sight.value.items()
        )
        if past:
            # It shows a revision, at no moment of real time that anybody was promised.
            self.note("ok", micros, 0.0, None, sight.revision, is_read=True)
        else:
            self.note("ok", micros, began, self.place.now, sight.revision, is_read=True)

    def append(self) -> Script:
        """Look, then append to what was seen if it still is so."""
        names = self.draw()
        stale = self.rng.random() < 0.3
        seeing = self.glance(lists_of(names)) if stale else self.look(lists_of(names))
        sight = yield from seeing
        if sight is None:
            return
        seen: dict[bytes, KeyValue | None] = sight.value
        chosen = self.rng.sample(names, self.rng.randint(1, len(names)))
        added = {name: self.element() for name in chosen}
        reads = [get(name) for name in names]
        puts = [put(name, joined((*elements(seen[name]), added[name]))) for name in chosen]
        compares = [unchanged(name, revision_of(seen[name])) for name in chosen]
        body = TxnBody(compares=compares, success=reads + puts, failure=reads)
        nested = self.rng.random() < 0.2
        if nested:
            body = TxnBody(success=[TxnOp(txn=body)])
        began = self.place.now
        ending, revision, result = yield from self.transact(body)
        if nested and result is not None:
            result = result.results[0].txn
        self.tell(names, added, began, (ending, revision, result))

    def tell(
        self,
        names: list[bytes],
        added: dict[bytes, int],
        began: float,
        told: tuple[Ending, int, TxnResult | None],
    ) -> None:
        """Note a transaction as the checker wants it."""
        ending, revision, result = told
        appends = tuple(Micro("append", name.decode(), value) for name, value in added.items())
        if ending != "ok":
            self.note(ending, appends, began, None, 0)
            return
        if result is None:  # it happened, and what it did is forgotten
            self.note("info", appends, began, None, 0)
            return
        reads = tuple(
            Micro(
                "r", name.decode(), elements(said.get.kv if said.get.HasField("kv") else None)
            )
            for name, said in zip(names, result.results, strict=False)
        )
        micros = reads + appends if result.succeeded else reads
        self.common.counts["compares_failed"] += not result.succeeded
        if not result.succeeded:
            self.note("fail", appends, began, None, 0)
        self.note("ok", micros, began, self.place.now, revision)

    def note(
        self,
        ending: Ending,
        micros: tuple[Micro, ...],
        began: float,
        ended: float | None,
        revision: int,
        *,
        is_read: bool = False,
    ) -> None:
        """Note a transaction."""
        name = f"{self.name}/{len(self.common.transactions)}"
        noted = Transaction(name, ending, micros, began, ended, revision, is_read)
        self.common.transactions.append(noted)

    def element(self) -> int:
        """An element that nobody else appends."""
        self.common.counts["elements"] += 1
        return self.common.counts["elements"]


def lists_of(names: list[bytes]) -> Look:
    """Look at some lists."""
    return lambda reader: {name: kv_queries.get_key(reader, name) for name in names}


def elements(kv: KeyValue | None) -> tuple[int, ...]:
    """What a list holds."""
    return () if kv is None else tuple(int(word) for word in kv.value.split())


def joined(values: tuple[int, ...]) -> bytes:
    """A list as it is stored."""
    return b" ".join(str(value).encode() for value in values)


def revision_of(kv: KeyValue | None) -> int:
    """When a key was last written; zero: it is not there."""
    return 0 if kv is None else kv.mod_revision


# --- money and groups --------------------------------------------------------


class Banker(KeyClient):
    """Somebody who moves money, writes groups of keys, and looks at both."""

    kind = "banker"

    def act(self) -> Script:
        """One of these."""
        draw = self.rng.random()
        if draw < 0.35:
            yield from self.transfer()
        elif draw < 0.55:
            yield from self.write_group()
        elif draw < 0.65:
            yield from self.scribble()
        elif draw < 0.75:
            yield from self.look_in_pages()
        else:
            yield from self.audit()

    def transfer(self) -> Script:
        """Move some money, or make the accounts if nobody has yet."""
        sight = yield from (
            self.look(pairs(BANK)) if self.rng.random() < 0.5 else self.glance(pairs(BANK))
        )
        if sight is None:
            return
        if not sight.value:
            names = [BANK + str(number).encode() for number in range(ACCOUNTS)]
            puts = [put(name, str(OPENING).encode()) for name in names]
            body = TxnBody(compares=[Compare(key=names[0], version=0)], success=puts)
            yield from self.transact(body)
            return
        source, target = self.rng.sample(sight.value, 2)
        amount = self.rng.randint(1, 60)
        if int(source.value) < amount:
            return
        body = TxnBody(
            compares=[unchanged(one.key, one.mod_revision) for one in (source, target)],
            success=[
                put(source.key, str(int(source.value) - amount).encode()),
                put(target.key, str(int(target.value) + amount).encode()),
                TxnOp(range=TxnRange(range=KeyRange(prefix=BANK))),
            ],
        )
        _, revision, result = yield from self.transact(body)
        if result is not None and result.succeeded:
            self.judge(f"before {revision}", list(result.results[2].range.kvs), BANK)

    def write_group(self) -> Script:
        """Write all keys of the group, or remove all, with nothing compared."""
        value = self.unique()
        puts = [put(GROUPED + str(number).encode(), value) for number in range(GROUP)]
        if self.rng.random() < 0.15:
            gone = DeleteRangeRequest(range=KeyRange(prefix=GROUPED))
            yield from self.do(Command(delete_range=gone))
        else:
            yield from self.transact(TxnBody(success=puts))

    def scribble(self) -> Script:
        """Single puts and deletes, which the others do not see."""
        name = b"scribble/\0" + str(self.rng.randrange(6)).encode()
        if self.rng.random() < 0.6:
            yield from self.do(Command(put=PutRequest(key=name, value=self.unique())))
        else:
            yield from self.do(Command(delete=DeleteRequest(key=name)))

    def audit(self) -> Script:
        """Look at everything, at one revision or another."""
        prefix = self.rng.choice((BANK, GROUPED))
        way = self.rng.randrange(3)
        sight = yield from (self.look, self.glance, self.look_at)[way](pairs(prefix))
        if sight is not None:
            self.judge(f"at {sight.revision}", sight.value, prefix)

    def look_in_pages(self) -> Script:
        """A page at a time, each at another member, all of the first one's revision."""
        prefix = self.rng.choice((BANK, GROUPED))
        first = yield from self.glance(lambda reader: pairs(prefix)(reader)[:2])
        if first is None or not first.value:
            return
        last = first.value[-1].key
        rest = yield from self.look_at(
            lambda reader: [kv for kv in pairs(prefix)(reader) if kv.key > last],
            first.revision,
        )
        if rest is not None:
            self.common.counts["pages"] += 1
            self.judge(f"pages at {first.revision}", first.value + rest.value, prefix)

    def judge(self, where: str, seen: list[KeyValue], prefix: bytes) -> None:
        """Hold what was seen together against what belongs together."""
        values = [kv.value for kv in seen]
        if prefix == BANK:
            balances = [int(value) for value in values]
            judging.money_is_kept(where, balances, ACCOUNTS * OPENING)
        else:
            judging.group_is_whole(where, values, GROUP)
