"""The event store for MCP servers: what the interface says, and a client that goes on."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from mcp import Client, types
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from starlette.applications import Starlette
from starlette.routing import Mount

from raftstate.adapters.keys import key
from raftstate.adapters.mcp import (
    KEEP_FOR_MAX,
    MESSAGE_BYTES_MAX,
    RaftEventStore,
    RaftSessionManager,
)
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import Closed, Compacted, InvalidRequest, NoQuorum
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import kills

Opened = Callable[..., RaftEventStore]


@pytest.fixture
def opened(endpoints: str, name: str) -> Iterator[Opened]:
    """Event stores of the test's own name, each as another process would have it."""
    made: list[RaftEventStore] = []

    def open_one(**options: Any) -> RaftEventStore:
        made.append(RaftEventStore(**{"endpoints": endpoints, "name": name, **options}))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def note(text: str) -> JSONRPCNotification:
    """A message."""
    return JSONRPCNotification(jsonrpc="2.0", method="note", params={"text": text})


async def replayed(store: RaftEventStore, last: str) -> tuple[str | None, list[Any], list[str]]:
    """What is replayed after an event: the stream, texts and ids."""
    texts: list[Any] = []
    ids: list[str] = []

    async def take(event: EventMessage) -> None:
        assert event.event_id is not None
        dumped = event.message.model_dump(by_alias=True, exclude_unset=True)
        texts.append(dumped["params"]["text"])
        ids.append(event.event_id)

    return await store.replay_events_after(last, take), texts, ids


async def kept(store: Store, name: str) -> int:
    """How many keys there are under a name."""
    return len([1 async for _ in store.keys.range(prefix=key("~mcp", name), keys_only=True)])


def test_what_came_after_an_event_is_replayed_in_order(opened: Opened) -> None:
    """In the words in which it was sent, under its ids, which sort as the events do; by
    another process as well."""

    async def story() -> None:
        store, other = opened(), opened()
        ids = [await store.store_event("1", note(f"n{i}")) for i in range(120)]
        assert ids == sorted(ids)
        assert len(set(ids)) == 120
        assert await replayed(store, ids[0]) == ("1", [f"n{i}" for i in range(1, 120)], ids[1:])
        assert await replayed(other, ids[117]) == ("1", ["n118", "n119"], ids[118:])
        assert await replayed(other, ids[119]) == ("1", [], [])

    asyncio.run(story())


def test_streams_and_sessions_are_kept_apart(opened: Opened) -> None:
    """A stream has its own events only, and so has a session, whose streams have the same
    names as another's."""

    async def story() -> None:
        store = opened()
        one, two = store.session("one"), store.session("two")
        first = await one.store_event("1", note("a"))
        await one.store_event("2", note("b"))
        await two.store_event("1", note("c"))
        last = await one.store_event("1", note("d"))
        assert await replayed(one, first) == ("1", ["d"], [last])
        assert await replayed(two, last) == (None, [], [])
        assert await replayed(store, first) == (None, [], [])
        await one.forget()
        for event in (first, last):
            assert await replayed(one, event) == (None, [], [])
        assert await two.store_event("1", note("e"))

    asyncio.run(story())


def test_a_priming_event_is_a_place_and_no_message(opened: Opened) -> None:
    """A client may go on from it, and it is not sent."""

    async def story() -> None:
        store = opened()
        first = await store.store_event("1", None)
        await store.store_event("1", note("a"))
        await store.store_event("1", None)
        await store.store_event("1", note("b"))
        stream, texts, _ = await replayed(store, first)
        assert (stream, texts) == ("1", ["a", "b"])

    asyncio.run(story())


def test_every_kind_of_message_comes_back_as_it_was(opened: Opened) -> None:
    """Requests, answers and notifications, of any size up to the limit."""
    sent: list[JSONRPCMessage] = [
        JSONRPCRequest(jsonrpc="2.0", id=1, method="m", params={"a": [1, None, "ü"]}),
        JSONRPCRequest(jsonrpc="2.0", id="x", method="m"),
        JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "y" * (3 << 20)}),
        note("last"),
    ]

    async def story() -> None:
        store = opened()
        got: list[Any] = []

        async def take(event: EventMessage) -> None:
            got.append(event.message)

        first = await store.store_event("1", None)
        for message in sent:
            await store.store_event("1", message)
        assert await store.replay_events_after(first, take) == "1"
        assert got == sent

    asyncio.run(story())


def test_what_cannot_be_kept_is_missed_by_nobody_unnoticed(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that is too large, or a store that is out of reach, ends no session: but
    nobody goes on from before it, nor from it."""

    async def story() -> None:
        store = opened()
        ids = [await store.store_event("1", None), await store.store_event("1", note("a"))]
        lost = await store.store_event("1", note("z" * MESSAGE_BYTES_MAX))
        assert f"at most {MESSAGE_BYTES_MAX}" in caplog.text
        for one in (ids[1], lost):
            assert await replayed(store, one) == (None, [], [])
        with pytest.raises(Compacted):
            await replayed(store, ids[0])
        later = [await store.store_event("1", note(text)) for text in "bc"]
        assert await replayed(store, later[0]) == ("1", ["c"], later[1:])
        for reader in (store, opened()):
            assert await replayed(reader, ids[1]) == (None, [], [])
            assert await replayed(reader, lost) == (None, [], [])
        nowhere = opened(endpoints="127.0.0.1:1", timeout=0.3)
        assert await nowhere.store_event("1", note("a"))
        assert "cannot" in caplog.text or "NO_QUORUM" in caplog.text
        with pytest.raises(NoQuorum):
            await nowhere.store_event("1", None)
        await nowhere.aclose()
        with pytest.raises(Closed):
            await nowhere.store_event("1", note("a"))

    asyncio.run(story())


def test_a_stream_keeps_its_newest(opened: Opened) -> None:
    """What is displaced is gone; who has not seen it gets nothing rather than a gap."""

    async def story() -> None:
        store = opened(keep=5)
        ids = [await store.store_event("1", note(f"n{i}")) for i in range(12)]
        assert (await replayed(store, ids[7]))[1] == ["n8", "n9", "n10", "n11"]
        assert (await replayed(store, ids[6]))[1] == ["n7", "n8", "n9", "n10", "n11"]
        for lost in ids[:6]:
            assert await replayed(store, lost) == (None, [], [])

    asyncio.run(story())


def test_events_go_by_age(opened: Opened, endpoints: str, name: str) -> None:
    """All of a stream goes when it is old, and nothing is left; a stream of that name
    begins anew, with ids that none had before."""

    async def story() -> None:
        store = opened(keep_for=1.0)
        ids = [await store.store_event("1", note(f"n{i}")) for i in range(3)]
        assert (await replayed(store, ids[0]))[1] == ["n1", "n2"]
        with Portal(endpoints) as portal:
            until = time.monotonic() + 30
            while left := await portal.arun(lambda s: kept(s, name)):
                assert time.monotonic() < until, f"{left} keys are left"
                await asyncio.sleep(0.1)
        assert await replayed(store, ids[2]) == ("1", [], []), "there was nothing after it"
        assert await replayed(opened(), ids[2]) == (None, [], []), "which not all can know"
        later = await store.store_event("1", note("later"))
        assert later > ids[2]
        for reader in (store, opened()):
            assert await replayed(reader, ids[2]) == ("1", ["later"], [later])
            assert await replayed(reader, ids[1]) == (None, [], [])

    asyncio.run(story())


def test_writers_of_one_stream_lose_nothing(opened: Opened) -> None:
    """Tasks and processes that send on one stream get a number each."""

    async def story() -> None:
        stores = [opened(), opened()]
        first = await stores[0].store_event("1", None)
        ids = await asyncio.gather(
            *(stores[i % 2].store_event("1", note(f"n{i}")) for i in range(60))
        )
        assert len(set(ids)) == 60
        stream, texts, replayed_ids = await replayed(stores[1], first)
        assert stream == "1"
        assert sorted(texts) == sorted(f"n{i}" for i in range(60))
        assert replayed_ids == sorted(ids)

    asyncio.run(story())


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "x", "1", ".", "MQ==.0000000000000001", "MQ==.0000000000000001x"),
        *("MQ==.zzzzzzzzzzzzzzzz", "MQ==.+000000000000001", "\x00.0000000000000001"),
        *("\xe9.0000000000000001", "_w==.0000000000000001"),
    ],
)
def test_an_id_that_is_none_replays_nothing(opened: Opened, wrong: str) -> None:
    """A client may send anything."""

    async def story() -> None:
        store = opened()
        await store.store_event("1", note("a"))
        assert await replayed(store, wrong) == (None, [], [])

    asyncio.run(story())


def test_streams_may_be_called_anything(opened: Opened) -> None:
    """Also what is no header's."""

    async def story() -> None:
        store = opened()
        for stream in ("_GET_stream", "", "a.b", "\n\x00ü", "x" * 2000):
            first = await store.store_event(stream, note("a"))
            assert first.isascii()
            assert first.isprintable()
            await store.store_event(stream, note("b"))
            assert (await replayed(store, first))[:2] == (stream, ["b"])

    asyncio.run(story())


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("keep", {"keep": 0}),
        ("keep_for", {"keep_for": 0.0}),
        ("keep_for", {"keep_for": 0.4}),
        ("keep_for", {"keep_for": KEEP_FOR_MAX + 1}),
        ("endpoints", {"endpoints": "nowhere"}),
    ],
)
def test_options_that_make_no_sense_are_named(field: str, options: dict[str, Any]) -> None:
    """Before anything is sent."""
    endpoints = options.pop("endpoints", "127.0.0.1:1")
    with pytest.raises(InvalidRequest) as caught:
        RaftEventStore(endpoints, **options)
    assert caught.value.details["field"] == field


def test_a_portal_is_shared_and_left_open(endpoints: str, name: str) -> None:
    """It is its owner's to close."""

    async def story(portal: Portal) -> None:
        store = RaftEventStore(portal, name=name)
        first = await store.store_event("1", note("a"))
        await store.aclose()
        assert (await replayed(store, first))[0] == "1"

    with Portal(endpoints) as portal:
        asyncio.run(story(portal))
        with pytest.raises(TypeError, match="session_ttl"):
            RaftEventStore(portal, session_ttl=1.0, timeout=2.0, timeout_=1)


@pytest.mark.slow
def test_events_outlive_the_leader(cluster: LocalCluster, opened: Opened) -> None:
    """While leaders die, every event is stored once, in order."""

    async def story() -> None:
        store = opened()
        ids = [await store.store_event("1", note("n0"))]
        with kills(cluster, 1.0) as killing:
            while killing.count < 2 and len(ids) < 20_000:
                ids.append(await store.store_event("1", note(f"n{len(ids)}")))
        newest = max(0, len(ids) - 1000)
        _, texts, replayed_ids = await replayed(store, ids[newest])
        assert texts == [f"n{i}" for i in range(newest + 1, len(ids))]
        assert replayed_ids == ids[newest + 1 :]

    asyncio.run(story())


# --- a server and its clients ------------------------------------------------


async def call_tool(
    context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    """A tool that says what it does while nobody hears it."""
    assert params.arguments is not None
    said = params.arguments["say"]
    for number in range(6):
        if number == 1:
            assert context.close_sse_stream is not None
            await context.close_sse_stream()
        await context.session.report_progress(number, message=f"{said} {number}")
    return types.CallToolResult(content=[types.TextContent(type="text", text=said)])


async def list_tools(
    context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """The one there is."""
    tool = types.Tool(name="talk", input_schema={"type": "object"})
    return types.ListToolsResult(tools=[tool])


async def call_large(
    context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    """A tool that has more to say than is kept."""
    content = types.TextContent(type="text", text="z" * 20_000)
    return types.CallToolResult(content=[content])


def own_manager(store: RaftEventStore) -> Starlette:
    """A server whose session manager is ours."""
    app = Server("talker", on_call_tool=call_tool, on_list_tools=list_tools)
    manager = RaftSessionManager(app, store, retry_interval=1000)
    return Starlette(
        routes=[Mount("/mcp", app=manager.asgi_app)], lifespan=lambda _: manager.run()
    )


def adopted_manager(store: RaftEventStore) -> Starlette:
    """A server whose session manager the library made."""
    app = Server("talker", on_call_tool=call_tool, on_list_tools=list_tools)
    made = app.streamable_http_app(
        streamable_http_path="/mcp/", event_store=store, retry_interval=1000
    )
    RaftSessionManager.adopt(app.session_manager, store)
    return made


@asynccontextmanager
async def serving(asgi: Starlette) -> AsyncIterator[str]:
    """A server's address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(asgi, log_level="warning", ws="none"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp/"
        finally:
            server.should_exit = True
            await running


async def talk(address: str, say: str) -> tuple[list[str], str]:
    """What a client hears of a call, and its result."""
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert message is not None
        heard.append(message)

    async with Client(address, mode="legacy") as client:
        result = await client.call_tool("talk", {"say": say}, progress_callback=hear)
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return heard, content.text


@pytest.mark.parametrize("made", [own_manager, adopted_manager])
def test_clients_hear_all_of_their_calls_though_streams_break(
    opened: Opened, made: Callable[[RaftEventStore], Starlette]
) -> None:
    """Two clients at a time, whose requests have the same numbers: each goes on by itself
    where its stream broke, and hears its own call, once, in order."""

    async def story() -> None:
        async with asyncio.timeout(60), serving(made(opened())) as address:
            one, two = await asyncio.gather(talk(address, "one"), talk(address, "two"))
        assert one == ([f"one {i}" for i in range(6)], "one")
        assert two == ([f"two {i}" for i in range(6)], "two")

    asyncio.run(story())


def test_a_session_outlives_what_is_not_kept(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client hears it, and what comes after."""
    monkeypatch.setattr("raftstate.adapters.mcp.MESSAGE_BYTES_MAX", 10_000)

    async def story() -> None:
        app = Server("large", on_call_tool=call_large, on_list_tools=list_tools)
        manager = RaftSessionManager(app, opened())
        asgi = Starlette(
            routes=[Mount("/mcp", app=manager.asgi_app)], lifespan=lambda _: manager.run()
        )
        async with (
            asyncio.timeout(20),
            serving(asgi) as address,
            Client(address, mode="legacy") as client,
        ):
            for _ in range(2):
                result = await client.call_tool("talk", {})
                [content] = result.content
                assert isinstance(content, types.TextContent)
                assert len(content.text) == 20_000

    asyncio.run(story())
