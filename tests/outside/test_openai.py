"""Sessions of the OpenAI Agents SDK, on a live cluster: its contract, under its own runner, and
what ours promises beyond it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

import pytest
from agents import Agent, RunConfig, Runner, SQLiteSession, function_tool
from agents.items import TResponseInputItem
from agents.memory import Session, SessionSettings
from agents.testing import ScriptedModel, assistant_message, function_call

import raftstate
from raftstate.adapters.keys import key
from raftstate.adapters.openai_agents import RaftSession
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import Closed, Fenced, InvalidRequest, NoQuorum
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import kills

T = TypeVar("T")

QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One connection for all sessions of this module."""
    with Portal(endpoints, timeout=60.0) as opened:
        yield opened


@pytest.fixture
def session(portal: Portal, name: str) -> RaftSession:
    """An empty session."""
    return RaftSession(portal, "user-1", name=name)


def user(text: object) -> TResponseInputItem:
    return {"role": "user", "content": str(text)}


def users(*texts: object) -> list[TResponseInputItem]:
    return [user(text) for text in texts]


def contents(items: list[TResponseInputItem]) -> list[Any]:
    return [cast("dict[str, Any]", one)["content"] for one in items]


def stored(portal: Portal, name: str) -> list[tuple[bytes, int]]:
    async def rows(store: Store) -> list[tuple[bytes, int]]:
        found = store.keys.range(prefix=key("~openai", name), keys_only=True)
        return [(one.key, one.mod_revision) async for one in found]

    return portal.run(rows)


# --- the contract ------------------------------------------------------------


def test_it_is_a_session(session: RaftSession) -> None:
    """
    By the SDK's protocol, for a type checker and at run time.
    """
    protocol: Session = session
    assert isinstance(protocol, Session)
    assert protocol.session_id == "user-1"
    assert protocol.session_settings == SessionSettings()


def test_items_come_back_in_order(session: RaftSession) -> None:
    """
    Whatever an item is, as JSON has it; and nothing is no item.
    """
    items: list[Any] = [
        user("first"),
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}], "id": "m1"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"n": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "\N{SNOWMAN} \ud800 \x00"},
        {"type": "reasoning", "summary": [], "score": 0.1, "big": 2**70, "none": None},
    ]

    async def run() -> None:
        assert await session.get_items() == []
        await session.add_items(items[:1])
        await session.add_items([])
        await session.add_items(items[1:])
        assert await session.get_items() == items

    asyncio.run(run())


@pytest.mark.parametrize("limit", [-1, 0, 1, 4, 5, 6, 100])
def test_a_limit_gives_the_latest_in_order(session: RaftSession, limit: int) -> None:
    """
    Over several appends; none for a limit that is not positive.
    """

    async def run() -> None:
        for texts in (("0",), ("1", "2", "3"), ("4",)):
            await session.add_items(users(*texts))
        expected = [str(n) for n in range(5)][-limit:] if limit > 0 else []
        assert contents(await session.get_items(limit)) == expected
        assert contents(await session.get_items(limit=limit)) == expected

    asyncio.run(run())


def test_settings_limit_what_is_not_limited(portal: Portal, name: str) -> None:
    """
    The session's own limit, as the SDK's settings or as a mapping; the argument's counts more.
    """

    async def run() -> None:
        for settings in (SessionSettings(limit=2), {"limit": 2}):
            one = RaftSession(portal, "user", name=name, session_settings=settings)
            await one.clear_session()
            await one.add_items(users(*range(5)))
            assert contents(await one.get_items()) == ["3", "4"]
            assert contents(await one.get_items(3)) == ["2", "3", "4"]

    asyncio.run(run())


def test_the_latest_item_is_popped(session: RaftSession) -> None:
    """
    One at a time, over the borders of appends, until there is none.
    """

    async def run() -> None:
        assert await session.pop_item() is None
        await session.add_items(users(1, 2))
        await session.add_items(users(3))
        assert [await session.pop_item() for _ in range(2)] == users(3, 2)
        await session.add_items(users(4))
        assert await session.get_items() == users(1, 4)
        assert [await session.pop_item() for _ in range(3)] == [*users(4, 1), None]

    asyncio.run(run())


def test_a_cleared_session_is_empty(session: RaftSession, portal: Portal, name: str) -> None:
    """
    And takes up nothing; it may be used again, and cleared again.
    """

    async def run() -> None:
        await session.clear_session()
        for _ in range(2):
            await session.add_items(users("x" * 3_000_000, 2))
            await session.clear_session()
            assert await session.get_items() == []
        assert stored(portal, name) == []

    asyncio.run(run())


def test_sessions_are_apart(portal: Portal, name: str) -> None:
    """
    By their ids, also where one begins like the other, and by their names.
    """

    async def run() -> None:
        places = [
            (f"{name}{n}", one) for n in ("", "x") for one in ("a", "a\x01", "ab", "\x00")
        ]
        sessions = [RaftSession(portal, one, name=kept) for kept, one in places]
        for number, one in enumerate(sessions):
            await one.add_items(users(number))
        await sessions[0].clear_session()
        found = [contents(await one.get_items()) for one in sessions]
        assert found == [[], *([str(n)] for n in range(1, len(sessions)))]

    asyncio.run(run())


def test_the_same_as_the_sdks_own(session: RaftSession) -> None:
    """
    A few hundred calls, drawn: every answer is that of the SDK's own session.
    """

    async def run() -> None:
        from random import Random

        draw = Random(7)
        own = SQLiteSession("own")
        for number in range(150):
            match draw.choice(["add", "add", "add", "get", "limit", "pop", "pop", "clear"]):
                case "add":
                    items = users(*(f"{number}.{n}" for n in range(draw.randrange(4))))
                    await own.add_items(items)
                    await session.add_items(items)
                case "get":
                    assert await session.get_items() == await own.get_items()
                case "limit":
                    limit = draw.randrange(6)
                    assert await session.get_items(limit) == await own.get_items(limit)
                case "pop":
                    assert await session.pop_item() == await own.pop_item()
                case _ if draw.random() < 0.2:
                    await own.clear_session()
                    await session.clear_session()
        assert await session.get_items() == await own.get_items()
        own.close()

    asyncio.run(run())


# --- under the SDK's runner ----------------------------------------------------


@function_tool
def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


def script() -> ScriptedModel:
    return ScriptedModel(
        [
            [function_call("add", {"a": 2, "b": 3}, call_id="c1")],
            [assistant_message("5")],
            [assistant_message("goodbye")],
        ]
    )


def test_the_runner_keeps_a_conversation_in_it(session: RaftSession, portal: Portal) -> None:
    """
    Two runs, with a tool: the model is shown what went before, and the items are the same as
    in the SDK's own session.
    """

    async def converse(kept: Session) -> tuple[list[TResponseInputItem], list[Any]]:
        model = script()
        agent = Agent(name="adder", model=model, tools=[add])
        for text in ("2 + 3?", "bye"):
            await Runner.run(agent, text, session=kept, run_config=QUIET)
        return await kept.get_items(), [call.input for call in model.calls]

    async def run() -> None:
        own = SQLiteSession("own")
        assert await converse(session) == await converse(own)
        own.close()

    asyncio.run(run())


def test_run_sync_works_with_it(session: RaftSession) -> None:
    """
    With another event loop for each run.
    """
    model = ScriptedModel([[assistant_message("one")], [assistant_message("two")]])
    agent = Agent(name="a", model=model)
    for text in ("1", "2"):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            Runner.run_sync(agent, text, session=session, run_config=QUIET)
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    assert len(asyncio.run(session.get_items())) == 4


# --- writers that meet -----------------------------------------------------------


def together(works: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """Run each in a thread and an event loop of its own."""
    failures: list[BaseException] = []

    def work(one: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(one())
        except BaseException as error:  # noqa: BLE001  # raised again below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if failures:
        raise failures[0]


def test_writers_that_meet_lose_nothing(portal: Portal, name: str) -> None:
    """
    Four threads with sessions of their own, and two that share one: every item is there
    once, each writer's in its order, and what was added together is together.
    """
    shared = RaftSession(portal, "user", name=name)
    sessions = [*(RaftSession(portal, "user", name=name) for _ in range(4)), shared, shared]

    def writer(number: int) -> Callable[[], Coroutine[Any, Any, None]]:
        async def write() -> None:
            for n in range(12):
                await sessions[number].add_items(users(f"{number} {n} a", f"{number} {n} b"))

        return write

    together([writer(number) for number in range(6)])
    found = contents(asyncio.run(shared.get_items()))
    assert len(found) == 144
    for number in range(6):
        mine = [one for one in found if one.startswith(f"{number} ")]
        assert mine == [f"{number} {n} {part}" for n in range(12) for part in "ab"]
    assert all(
        first[:-1] == second[:-1] for first, second in zip(found[::2], found[1::2], strict=True)
    )


def test_an_item_is_popped_once(portal: Portal, name: str) -> None:
    """
    Three pop what two add: nothing comes twice, and what is left is the rest.
    """
    popped: list[Any] = []

    def session() -> RaftSession:
        return RaftSession(portal, "user", name=name)

    async def add() -> None:
        mine = session()
        for n in range(10):
            await mine.add_items(users(f"{id(mine)} {n} a", f"{id(mine)} {n} b"))

    async def pop() -> None:
        mine = session()
        for _ in range(8):
            item = await mine.pop_item()
            if item is not None:
                popped.append(cast("dict[str, Any]", item)["content"])

    together([add, add, pop, pop, pop])
    left = contents(asyncio.run(session().get_items()))
    assert len(popped) + len(left) == 40
    assert len({*popped, *left}) == 40


def test_large_items_are_read_whole_while_others_write(portal: Portal, name: str) -> None:
    """
    Items of 2 MiB are added and popped by one, while another reads: it sees a state that
    there was, always.
    """
    large = "x" * (2 << 20)
    over = threading.Event()
    reads = 0

    async def write() -> None:
        mine = RaftSession(portal, "user", name=name)
        try:
            for n in range(6):
                await mine.add_items(users(f"{n} {large}", f"{n} small"))
                await mine.pop_item()
                await mine.pop_item()
        finally:
            over.set()

    async def read() -> None:
        nonlocal reads
        mine = RaftSession(portal, "user", name=name)
        while not over.is_set():
            found = contents(await mine.get_items())
            reads += 1
            assert len(found) <= 2
            if found:
                number = found[0][0]
                assert found[0] == f"{number} {large}"
                assert found[1:] in ([], [f"{number} small"])

    together([write, read])
    assert reads


def test_fifty_large_items_are_one_append(session: RaftSession) -> None:
    """
    25 MiB in one call: all of them or none, and all of them here.
    """
    items = users(*(f"{n} " + "y" * (512 << 10) for n in range(50)))

    async def run() -> None:
        await session.add_items(items)
        assert await session.get_items() == items
        assert await session.get_items(1) == items[-1:]

    asyncio.run(run())


# --- what fails ----------------------------------------------------------------


def _die(endpoints: str, name: str, began: Any) -> None:
    async def run() -> None:
        session = RaftSession(endpoints, "user", name=name)
        for n in range(10_000):
            await session.add_items(users(f"{n} a", f"{n} b", f"{n} c"))
            began.set()

    asyncio.run(run())


def test_a_writer_that_is_killed_leaves_whole_appends(
    endpoints: str, session: RaftSession, name: str
) -> None:
    """
    SIGKILL in the midst of writing: what is there is what it added, up to some call, whole.
    """
    context = multiprocessing.get_context("spawn")
    began = context.Event()
    process = context.Process(target=_die, args=(endpoints, name, began))
    process.start()
    assert began.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    kept = RaftSession(session._access.portal, "user", name=name)
    found = contents(asyncio.run(kept.get_items()))
    assert found
    assert found == [f"{n} {part}" for n in range(len(found) // 3) for part in "abc"]


@pytest.mark.slow
def test_a_leader_that_dies_costs_nothing(cluster: LocalCluster, name: str) -> None:
    """
    While leaders are killed, a conversation goes on: every item is there once, in order, and
    what is popped is what was added last.
    """

    async def run(over: Any) -> int:
        async with RaftSession(cluster.endpoints, "user", name=name) as session:
            expected: list[TResponseInputItem] = []
            until = time.monotonic() + 8
            while time.monotonic() < until or over.count < 2:
                assert time.monotonic() < until + 60
                items = users(*(f"{len(expected)} {n}" for n in range(3)))
                await session.add_items(items)
                assert await session.pop_item() == items[-1]
                expected += items[:-1]
            assert await session.get_items() == expected
            return len(expected)

    with kills(cluster) as over:
        assert asyncio.run(run(over)) > 30


def test_what_is_added_is_what_was_given(session: RaftSession, portal: Portal) -> None:
    """
    Who changes an item after the call, before the store has come to it, changes nothing.
    """

    async def run() -> None:
        items = users("given")
        held = threading.Event()
        portal.thread().loop.call_soon_threadsafe(held.wait, 10)
        adding = asyncio.create_task(session.add_items(items))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cast("dict[str, Any]", items[0])["content"] = "changed"
        held.set()
        await adding
        assert contents(await session.get_items()) == ["given"]

    asyncio.run(run())


def test_an_item_that_is_no_json_is_refused(session: RaftSession) -> None:
    """
    The error names it, and is definite; what came with it is not there.
    """
    items: list[Any] = [user("fine"), {"content": b"bytes"}]
    with pytest.raises(InvalidRequest, match="item 1 is no JSON") as error:
        asyncio.run(session.add_items(items))
    assert error.value.definite
    assert asyncio.run(session.get_items()) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 5_000}, "session_id"),
        ({"name": "x" * 33}, "name"),
        ({"endpoints": "nonsense"}, "endpoints"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], field: str) -> None:
    """
    The error names the field.
    """
    made: dict[str, Any] = {"endpoints": "127.0.0.1:1", "session_id": "a", **given}
    with pytest.raises(InvalidRequest) as error:
        RaftSession(**made)
    assert error.value.details["field"] == field


def test_without_a_cluster_the_error_is_definite() -> None:
    """
    Nobody answers within the time: nothing was added, and the error says so.
    """

    async def run() -> None:
        async with RaftSession("127.0.0.1:1", "user", timeout=0.5) as session:
            with pytest.raises(NoQuorum) as error:
                await session.add_items(users(1))
            assert error.value.definite

    asyncio.run(run())


def test_a_superseded_owner_is_refused(
    endpoints: str, portal: Portal, name: str, session: RaftSession
) -> None:
    """
    Opened with an owner, a session is written to by that owner only: another's add, pop and
    clear are refused, and every key is as it was; reading is everybody's.
    """

    async def run() -> None:
        async with raftstate.connect(endpoints) as store:
            async with store.own(name) as agent:
                late = RaftSession(portal, "user-1", name=name, owner=agent)
                await late.add_items(users("first"))
            async with store.own(name, wait=True) as agent:
                current = RaftSession(portal, "user-1", name=name, owner=agent)
                before = stored(portal, name)
                for refused in (
                    late.add_items(users("late")),
                    late.add_items(users("late" * 1_000_000)),
                    late.pop_item(),
                    late.clear_session(),
                ):
                    with pytest.raises(Fenced) as error:
                        await refused
                    assert error.value.definite
                assert stored(portal, name) == before
                await current.add_items(users("second"))
                assert contents(await late.get_items()) == ["first", "second"]

    asyncio.run(run())


class Telling(Portal):
    """A portal that tells when a call begins."""

    def __init__(self, endpoints: str) -> None:
        super().__init__(endpoints, timeout=60.0)
        self.begun = asyncio.Event()

    async def arun(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        self.begun.set()
        return await super().arun(work)


def test_a_write_that_is_cancelled_is_over(endpoints: str, name: str) -> None:
    """
    When the cancellation comes through, the items are there, and stay as they are.
    """

    async def run() -> None:
        async with Telling(endpoints) as portal:
            session = RaftSession(portal, "user", name=name)
            for number in range(5):
                portal.begun.clear()
                adding = asyncio.create_task(session.add_items(users(number)))
                await portal.begun.wait()
                adding.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await adding
                assert await session.get_items() == users(*range(number + 1))

    asyncio.run(run())


def test_a_write_that_is_cancelled_is_not_waited_for_for_ever(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without a cluster the cancellation comes through after a while; twice cancelled, at once.
    """

    async def run() -> None:
        async with Telling("127.0.0.1:1") as portal:
            session = RaftSession(portal, "user", name=name)
            for pause, least in ((0.2, 0.2), (60.0, 0.0)):
                monkeypatch.setattr("raftstate.adapters.openai_agents._SETTLE_S", pause)
                portal.begun.clear()
                adding = asyncio.create_task(session.add_items(users(1)))
                await portal.begun.wait()
                began = time.monotonic()
                adding.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not least:
                    adding.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await adding
                assert least <= time.monotonic() - began < 5

    asyncio.run(run())


def test_a_closed_session_says_so(endpoints: str, portal: Portal, name: str) -> None:
    """
    One that made its connection closes it, from either face; one that was given it does not.
    """

    async def run() -> None:
        own = RaftSession(endpoints, "user", name=name)
        await own.add_items(users(1))
        await own.aclose()
        own.close()
        for refused in (own.get_items(), own.add_items([]), own.pop_item()):
            with pytest.raises(Closed) as error:
                await refused
            assert error.value.definite
        async with RaftSession(portal, "user", name=name) as given:
            pass
        assert contents(await given.get_items()) == ["1"]

    asyncio.run(run())


def test_what_is_stored_is_json(session: RaftSession, portal: Portal, name: str) -> None:
    """
    All of it: whoever reads keys may read a session, in any language.
    """
    asyncio.run(session.add_items(users("seen")))

    async def values(store: Store) -> list[bytes]:
        found = store.keys.range(prefix=key("~openai", name))
        return [one.value async for one in found]

    head, page = portal.run(values)
    assert json.loads(head)[2] == 1
    assert json.loads(page[1:]) == {"at": 0, "items": users("seen")}
