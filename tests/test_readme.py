"""The README's examples are programs: each runs as printed, against the real state machine.

The agent at its beginning runs against a real cluster: see `tests/cluster/test_readme.py`.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import raftstate
from raftstate.cli import cli
from raftstate.client import Registry, Store, registry
from raftstate.testing import sync_served
from raftstate.v1.rollback_service_pb2 import RollbackState
from tests.client.scripted import until
from tests.client.test_end_to_end import stores
from tests.test_docs import DOCUMENTS
from tests.test_store_cli import Served, served  # noqa: F401  # a fixture

README = Path(__file__).parents[1] / "README.md"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
AUDIT = re.compile(r"^\.venv/bin/raftstate (audit .*)$", re.MULTILINE)

Scene = Callable[[Store, Callable[..., Any]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the examples register is gone after each."""
    for name, empty in vars(Registry()).items():
        monkeypatch.setattr(registry.default, name, empty)


def examples() -> list[str]:
    """The Python blocks of the README but the first, which runs elsewhere."""
    return PYTHON.findall(README.read_text(encoding="utf-8"))[1:]


class Bank:
    """The service of the examples: it takes each key once, and refuses those that it was
    told never to take."""

    def __init__(self) -> None:
        self.book: dict[str, Any] = {}
        self.never: set[str] = set()
        self.refunded: list[Any] = []

    def price(self, order: str) -> int:
        """Another one each time."""
        return 10 + len(self.book)

    async def charge(self, args: Any, *, key: str) -> str:
        """A receipt."""
        if key in self.never or args == "sold out":
            raise raftstate.NotDone("refused")
        self.book.setdefault(key, args)
        return f"receipt {len(self.book)}"

    async def refund(self, args: Any, *, key: str, never: str) -> None:
        """Give the money back, once for each key."""
        self.never.add(never)
        if never in self.book:
            self.refunded.append(args)
            del self.book[never]


def printed() -> dict[str, Any]:
    """What the examples define, one after the other, in one program."""
    namespace: dict[str, Any] = {"raftstate": raftstate, "bank": Bank()}
    for block in examples():
        exec(compile(block, "README.md", "exec"), namespace)
    return namespace


async def configure(store: Store, example: Callable[..., Any]) -> None:
    """The transaction is done by the owner, and the past is as it was."""
    assert await example(store) == (True, b"10", [b"config/by", b"config/limit"])
    limit = await store.keys.get("config/limit")
    assert limit is not None
    assert limit.value == b"20"


async def follow(store: Store, example: Callable[..., Any]) -> None:
    """The copy has what there was, and what comes; a second follower goes on from a
    token, and a third one, away for too long, begins anew."""
    saved: list[tuple[dict[bytes, bytes], str]] = []

    async def catch_up(copy: dict[bytes, bytes], token: str | None, want: Any) -> None:
        def save(copy: dict[bytes, bytes], token: str) -> None:
            saved.append((dict(copy), token))

        task = asyncio.create_task(example(store, copy, save, token))
        await until(lambda: copy == want or task.done(), f"the copy is {want}")
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    await store.keys.put("config/a", "1")
    await store.keys.put("other", "1")
    copy: dict[bytes, bytes] = {}
    await catch_up(copy, None, {b"config/a": b"1"})
    token = saved[-1][1]
    await store.keys.put("config/b", "2")
    await store.keys.delete("config/a")
    await catch_up(copy, token, {b"config/b": b"2"})
    assert [copy for copy, _ in saved] == [
        {b"config/a": b"1"},
        {b"config/a": b"1", b"config/b": b"2"},
        {b"config/b": b"2"},
    ]
    newest = await store.keys.put("config/c", "3")
    await store.keys.compact(newest.header.revision)
    old = {b"config/old": b""}
    await catch_up(old, token, {b"config/b": b"2", b"config/c": b"3"})


async def announce(store: Store, example: Callable[..., Any]) -> None:
    """The key is there while the block runs, under its lease, and gone afterwards."""

    async def serve() -> None:
        found = await store.keys.get("workers/7")
        assert found is not None
        assert found.lease_id

    await example(store, serve)
    assert await store.keys.get("workers/7") is None


async def sell(store: Store, example: Callable[..., Any]) -> None:
    """The event is there once, and so is what the read model wrote."""
    assert await example(store) == [{"item": "pen"}]
    sales = [(kv.key, kv.value) async for kv in store.keys.range(prefix="sales/")]
    assert sales == [(b"sales/shop/eu/1", b'{"item":"pen"}')]


async def work(store: Store, example: Callable[..., Any]) -> None:
    """Items are charged once over two runs, each with a checkpoint after twenty of them."""
    items = [f"item {number}" for number in range(50)]
    await example(store, items[:30])
    await example(store, items)
    charged = [raftstate.decode(e)["item"] async for e in store.read_events("billing/monthly")]
    done = [
        raftstate.decode(await store.get_checkpoint("billing/monthly", one.checkpoint_id))
        async for one in store.list_checkpoints("billing/monthly")
    ]
    assert charged == items
    assert done == [{"done": 40}, {"done": 20}]


async def keep(store: Store, example: Callable[..., Any]) -> None:
    """The newest checkpoint is known good, and the fork begins with it."""
    async with store.own("billing/monthly") as agent:
        await agent.checkpoint({"done": 1})
    await example(store)
    newest = await store.get_checkpoint("billing/monthly")
    assert newest.known_good
    forked = await store.get_checkpoint("billing/what-if")
    assert raftstate.decode(forked) == {"done": 1}


def bank_of(example: Callable[..., Any]) -> Bank:
    """The service that an example uses."""
    bank = example.__globals__["bank"]
    assert isinstance(bank, Bank)
    return bank


async def charge(store: Store, example: Callable[..., Any]) -> None:
    """The customer is charged once, and everything about it is in the log."""
    assert await example(store, "pens") == "receipt 1"
    [effect] = [one async for one in store.list_effects("billing/orders")]
    [event] = [one async for one in store.read_events("billing/orders")]
    assert raftstate.decode(event) == {"order": "pens", "receipt": "receipt 1"}
    assert effect.compensation.action == "refund"
    assert len(bank_of(example).book) == 1


async def travel(store: Store, example: Callable[..., Any]) -> None:
    """What was done before the failure is undone, newest first."""
    with pytest.raises(raftstate.NotDone):
        await example(store, ["flight", "hotel", "sold out"])
    assert bank_of(example).refunded == ["hotel", "flight"]
    assert bank_of(example).book == {}


async def take_back(store: Store, example: Callable[..., Any]) -> None:
    """What came after is undone outside too, and the agent may be owned again."""
    await printed_of(example, "charge")(store, "pens")
    await printed_of(example, "charge")(store, "ink")
    done = await example(store, 2)
    undone = [bool(one.undone_by) async for one in store.read_events("billing/orders")]
    assert RollbackState.Name(done.state) == "ROLLBACK_STATE_FINISHED"
    assert undone == [False, True]
    assert [one["order"] for one in bank_of(example).refunded] == ["ink"]
    async with store.own("billing/orders") as agent:
        assert agent.restore() == {"newest": "pens"}


def printed_of(example: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Another example of the same program."""
    other: Callable[..., Any] = example.__globals__[name]
    return other


async def heal(store: Store, example: Callable[..., Any]) -> None:
    """A rollback that was only started is finished."""
    await printed_of(example, "charge")(store, "pens")
    await printed_of(example, "charge")(store, "ink")
    working = asyncio.create_task(example(store))
    begun = await store.start_rollback("billing/orders", raftstate.before_event(2))
    finished = False
    while not finished:
        found = await store.get_rollback(begun.rollback_id)
        finished = RollbackState.Name(found.state) == "ROLLBACK_STATE_FINISHED"
    working.cancel()
    await asyncio.wait({working})
    assert len(bank_of(example).refunded) == 1


async def recover(store: Store, example: Callable[..., Any]) -> None:
    """The validator was asked, and the incident has its times; one that says no keeps the
    agent where it is."""
    await printed_of(example, "charge")(store, "pens")
    await printed_of(example, "charge")(store, "ink")
    resolution, took_ms = await example(store, 2)
    [done] = [one async for one in store.list_rollbacks()]
    assert resolution == f"rollback {done.rollback_id} is finished"
    assert took_ms >= 0
    assert [one.passed for one in done.validators] == [True]
    assert len(bank_of(example).refunded) == 1
    async with store.own("billing/orders") as agent:
        await agent.checkpoint({"nothing": "good"})
    newest = await store.get_checkpoint("billing/orders")
    target = raftstate.to_checkpoint(newest.checkpoint_id)
    bad = await store.rollback("billing/orders", target)
    assert RollbackState.Name(bad.state) == "ROLLBACK_STATE_VALIDATING"


async def rates(store: Store, example: Callable[..., Any]) -> None:
    """What cannot be asked is done without once it is known to be broken."""
    asked: list[str] = []

    async def ask(city: str) -> dict[str, Any]:
        asked.append(city)
        return {"city": city, "rate": 7}

    first = await example(store, ask, ["Oslo", "Rome"])
    await store.force_open("car/rates")
    await until(lambda: store.breaker("car/rates").state == "forced_open", "it is told")
    then = await example(store, ask, ["Paris"])
    assert [one["rate"] for one in first + then] == [7, 7, None]
    assert asked == ["Oslo", "Rome"]


async def quote(store: Store, example: Callable[..., Any]) -> None:
    """The replay asks nobody, and is what was written."""
    asked: list[str] = []

    async def models(item: str) -> int:
        asked.append(item)
        return len(asked)

    done = await example(store, models, ["a", "b", "c"])
    assert (done.events, done.hashes_compared) == (3, 3)
    assert asked == ["a", "b", "c"]


SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        *(configure, follow, announce, sell, work, keep),
        *(charge, travel, take_back, heal, recover, rates, quote),
    )
}


@pytest.mark.parametrize("name", SCENES)
def test_an_example_runs_as_printed(name: str) -> None:
    """
    And does what it says.
    """

    async def run() -> None:
        async with asyncio.timeout(30), stores(1) as (_, (store,)):
            await SCENES[name](store, printed()[name])

    asyncio.run(run())


def test_the_rehearsal_runs_as_printed() -> None:
    """
    Over an answer that was lost and a process that ended, each item is charged once.
    """
    names = printed()

    async def run() -> tuple[list[str], list[str]]:
        async with asyncio.timeout(30):
            found: tuple[list[str], list[str]] = await names["rehearse"](names["work"])
            return found

    assert asyncio.run(run()) == (["a", "b"], ["", ""])


def test_the_example_without_an_event_loop_runs_as_printed() -> None:
    """
    A second run goes on where the first one stopped.
    """
    count = printed()["count"]
    with sync_served() as kit:
        assert count(kit.endpoint, ["a", "b"]) == ["a", "b"]
        assert count(kit.endpoint, ["a", "b", "c"]) == ["a", "b", "c"]
        charged = [one for one in kit.log("commit_step") if not one.refusal]
    assert len(charged) == 3


def test_every_example_is_run() -> None:
    """
    Whatever an example does to a store has its scene, and no other document has Python
    in it.
    """
    tops = [node for block in examples() for node in ast.parse(block).body]
    functions = [
        node.name
        for node in tops
        if isinstance(node, ast.AsyncFunctionDef) and node.args.args[0].arg == "store"
    ]
    others = [
        node.name
        for node in tops
        if isinstance(node, ast.AsyncFunctionDef)
        and node.args.args[0].arg != "store"
        and not node.decorator_list
    ]
    plain = [node.name for node in tops if isinstance(node, ast.FunctionDef)]
    rest = [
        node for node in tops if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    ]

    assert functions == list(SCENES)
    assert others == ["pay", "rehearse"]
    assert plain == ["count"]
    assert all(isinstance(node, ast.ImportFrom | ast.Import) for node in rest)
    assert [path for path in DOCUMENTS if "```py" in path.read_text() and path != README] == []


def test_the_audit_runs_as_printed(
    served: Served,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The commands of the README, but for the endpoint: what is exported is intact.
    """
    export, verify = AUDIT.findall(README.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    served.do(printed()["sell"])
    asked, endpoints, _ = export.partition(" --endpoints ")
    exported = served.run(*asked.split())
    verified = CliRunner().invoke(cli, verify.split())

    assert endpoints
    assert exported.exit_code == 0, exported.output
    assert verified.exit_code == 0, verified.output
    assert "intact: 1 streams, 1 events" in verified.output
