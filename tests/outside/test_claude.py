"""What the Claude Agent SDK publishes for session stores to pass, on a live cluster; and what
ours promises beyond it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import multiprocessing
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
from claude_agent_sdk import (
    SessionKey,
    SessionStore,
    SessionStoreEntry,
    delete_session_via_store,
    fork_session_via_store,
    get_session_info_from_store,
    get_session_messages_from_store,
    get_subagent_messages_from_store,
    import_session_to_store,
    list_sessions_from_store,
    list_subagents_from_store,
    project_key_for_directory,
    rename_session_via_store,
    tag_session_via_store,
)
from claude_agent_sdk._internal import transcript_mirror_batcher
from claude_agent_sdk.testing import run_session_store_conformance

import raftstate
from raftstate.adapters.claude import RaftSessionStore
from raftstate.client.portal import Portal
from raftstate.errors import Fenced, InvalidRequest, NoQuorum, OutcomeUnknown
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import kills

# The conformance function asks for a new store at the beginning of each, in this order.
CONTRACTS: Final = (
    "append_then_load_is_the_same_in_order",
    "an_unknown_key_is_none",
    "appends_are_in_the_order_of_calls",
    "appending_nothing_does_nothing",
    "subpaths_are_apart_from_the_session",
    "projects_are_apart",
    "list_sessions_names_those_of_the_project",
    "list_sessions_leaves_out_subagents",
    "summaries_are_folded_and_kept",
    "a_deleted_session_is_none",
    "deleting_a_session_deletes_its_subagents",
    "deleting_a_subagent_deletes_it_alone",
    "list_subkeys_names_the_subagents",
    "list_subkeys_leaves_out_the_session",
)

_names = itertools.count(1)


def entry(**fields: Any) -> SessionStoreEntry:
    return cast("SessionStoreEntry", {"type": "user", **fields})


def numbered(n: int) -> SessionStoreEntry:
    return entry(uuid=f"u{n}", n=n)


def said(text: str, n: int, session: str, parent: str | None) -> dict[str, Any]:
    """A line of a transcript as the command line tool writes it."""
    return {
        "type": "user" if n % 2 else "assistant",
        "uuid": str(uuid.UUID(int=n)),
        "parentUuid": parent,
        "sessionId": session,
        "timestamp": f"2026-01-01T00:00:{n:02}.000Z",
        "message": {"role": "user" if n % 2 else "assistant", "content": text},
    }


def conversation(session: str, count: int) -> list[Any]:
    lines: list[dict[str, Any]] = []
    for n in range(1, count + 1):
        lines.append(said(f"text {n}", n, session, parent=lines[-1]["uuid"] if lines else None))
    return lines


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One connection for all stores of this module."""
    with Portal(endpoints, timeout=60.0) as opened:
        yield opened


@pytest.fixture(scope="module")
def conformance(portal: Portal) -> tuple[int, BaseException | None]:
    """How many contracts were begun, and how the last of them failed, if it did."""
    begun = -1  # the first store is looked at only

    def made() -> SessionStore:
        nonlocal begun
        begun += 1
        return RaftSessionStore(portal, name=f"contract-{next(_names)}")

    try:
        asyncio.run(run_session_store_conformance(made))
    except Exception as error:  # noqa: BLE001  # it is raised again by the contract's test
        return begun, error
    return begun, None


@pytest.mark.parametrize("contract", CONTRACTS)
def test_conformance(conformance: tuple[int, BaseException | None], contract: str) -> None:
    """
    Each contract of the SDK's own conformance function, none skipped.
    """
    begun, error = conformance
    number = CONTRACTS.index(contract) + 1
    if error is not None and begun == number:
        raise error
    assert begun >= number, f"not reached: {begun} contracts were begun"
    assert error is not None or begun == len(CONTRACTS)


def test_it_is_a_session_store(portal: Portal, name: str) -> None:
    """
    It has the whole protocol, also for a type checker; without subclassing it.
    """
    store: SessionStore = RaftSessionStore(portal, name=name)
    methods = [one for one in vars(SessionStore) if not one.startswith("_")]
    assert len(methods) == 6
    assert all(callable(getattr(store, one)) for one in methods)
    assert SessionStore not in type(store).__mro__


def test_what_is_sent_again_is_there_once(portal: Portal, name: str) -> None:
    """
    The SDK sends a batch up to three times: by the same store, by another that never saw it,
    in another cut. What has no id is there as often as it was sent.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}

    async def run() -> None:
        first, second = (RaftSessionStore(portal, name=name) for _ in range(2))
        batch = [numbered(n) for n in range(5)]
        for store in (first, first, second):
            await store.append(key, batch)
        await second.append(key, [numbered(3), entry(title="x"), numbered(5)])
        await first.append(key, [entry(title="x"), numbered(5), numbered(6), numbered(6)])
        title = entry(title="x")
        expected = [*batch, title, numbered(5), title, numbered(6)]
        assert await second.load(key) == expected
        # Those of another transcript are others.
        sub: SessionKey = {**key, "subpath": "subagents/a"}
        await first.append(sub, batch)
        assert await second.load(sub) == batch

    asyncio.run(run())


def test_writers_that_meet_lose_nothing(portal: Portal, name: str) -> None:
    """
    Four threads, each with an event loop and a store of its own, append to one session and
    send everything twice: every entry is there once, and the summary is of all of them.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}

    async def write(writer: int) -> None:
        store = RaftSessionStore(portal, name=name)
        for n in range(10):
            batch = [entry(uuid=f"{writer}-{n}-{part}") for part in range(2)]
            await store.append(key, batch)
            await store.append(key, batch)
        await store.append(key, [entry(uuid=f"title {writer}", customTitle=f"by {writer}")])

    failures: list[BaseException] = []

    def work(writer: int) -> None:
        try:
            asyncio.run(write(writer))
        except BaseException as error:  # noqa: BLE001  # raised again below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failures

    async def check() -> None:
        store = RaftSessionStore(portal, name=name)
        found = await store.load(key)
        assert found is not None
        ids = [one["uuid"] for one in found]
        assert len(ids) == len(set(ids)) == 84
        for writer in range(4):
            mine = [one for one in ids if one.startswith(f"{writer}-")]
            assert mine == [f"{writer}-{n}-{part}" for n in range(10) for part in range(2)]
        [summary] = await store.list_session_summaries("p")
        titles = [title for one in found if isinstance(title := one.get("customTitle"), str)]
        assert summary["data"]["custom_title"] == titles[-1]

    asyncio.run(check())


def _append_in_process(endpoints: str, name: str, writer: int) -> None:
    async def run() -> None:
        async with RaftSessionStore(endpoints, name=name) as store:
            for n in range(5):
                await store.append(
                    {"project_key": "p", "session_id": "s"}, [entry(uuid=f"{writer}-{n}")]
                )

    asyncio.run(run())


def test_processes_share_it(endpoints: str, portal: Portal, name: str) -> None:
    """
    Two processes write at the same time; this one reads it all.
    """
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_append_in_process, args=(endpoints, name, writer))
        for writer in range(2)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    assert [one.exitcode for one in processes] == [0, 0]
    store = RaftSessionStore(portal, name=name)
    found = asyncio.run(store.load({"project_key": "p", "session_id": "s"}))
    assert found is not None
    assert sorted(one["uuid"] for one in found) == sorted(
        f"{writer}-{n}" for writer in range(2) for n in range(5)
    )


@pytest.mark.slow
def test_a_leader_that_dies_costs_nothing(cluster: LocalCluster, name: str) -> None:
    """
    While leaders are killed, batches go on being appended: each is there once, in order.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}

    async def run(over: Any) -> list[SessionStoreEntry]:
        async with RaftSessionStore(cluster.endpoints, name=name) as store:
            sent: list[SessionStoreEntry] = []
            until = time.monotonic() + 8
            while time.monotonic() < until or over.count < 2:
                assert time.monotonic() < until + 60
                batch = [numbered(len(sent) + n) for n in range(3)]
                await store.append(key, batch)
                sent += batch
            assert await store.load(key) == sent
            return sent

    with kills(cluster) as over:
        sent = asyncio.run(run(over))
    assert len(sent) > 30


def test_an_outage_is_outlasted_by_the_sdks_attempts(portal: Portal, name: str) -> None:
    """
    The SDK drops a batch that has taken its time, and tries again what fails before: so ours
    fails before. What came through without an answer is not there twice.
    """
    given = inspect.signature(RaftSessionStore).parameters["timeout"].default
    assert given <= transcript_mirror_batcher.SEND_TIMEOUT_SECONDS / 2
    failures = [OutcomeUnknown("no answer", definite=False), NoQuorum("nobody", definite=True)]

    class Out(RaftSessionStore):
        async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
            if not failures:
                return await super().append(key, entries)
            if not (failure := failures.pop(0)).definite:
                await super().append(key, entries)
            raise failure

    async def run() -> None:
        dropped: list[str] = []

        async def on_error(key: SessionKey | None, text: str) -> None:
            dropped.append(text)

        store = Out(portal, name=name)
        batcher = transcript_mirror_batcher.TranscriptMirrorBatcher(store, "/p", on_error)
        batcher.enqueue("/p/project/s.jsonl", [numbered(1), numbered(2)])
        await batcher.flush()
        assert (dropped, failures) == ([], [])
        key: SessionKey = {"project_key": "project", "session_id": "s"}
        assert await store.load(key) == [numbered(1), numbered(2)]

    asyncio.run(run())


def test_a_large_transcript_is_as_it_was(portal: Portal, name: str) -> None:
    """
    What the SDK sends at most, 500 entries or a MiB; and an entry of 5 MiB.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}

    async def run() -> None:
        store = RaftSessionStore(portal, name=name)
        many = [entry(uuid=str(n), text="\N{SNOWMAN}" * 2_000) for n in range(500)]
        huge = entry(uuid="huge", image="x" * (5 << 20))
        await store.append(key, many)
        await store.append(key, [huge])
        assert await RaftSessionStore(portal, name=name).load(key) == [*many, huge]

    asyncio.run(run())


def test_times_go_forward(portal: Portal, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A session that another machine writes to, whose clock is behind, is not older for it; and
    what lists it and what sums it up say the same.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}

    async def run() -> None:
        store = RaftSessionStore(portal, name=name)
        before = time.time() * 1000
        await store.append(key, [numbered(1)])
        [first] = await store.list_sessions("p")
        assert before - 1 <= first["mtime"] <= time.time() * 1000
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 3_600)
        await RaftSessionStore(portal, name=name).append(key, [numbered(2)])
        monkeypatch.undo()
        [second] = await store.list_sessions("p")
        assert second["mtime"] == first["mtime"] + 1
        [summary] = await store.list_session_summaries("p")
        assert summary["mtime"] == second["mtime"]

    asyncio.run(run())


def test_a_session_with_many_subagents_is_deleted_with_them(portal: Portal, name: str) -> None:
    """
    More than one transaction deletes; of another session, whose id begins the same, nothing.
    """

    async def run() -> None:
        store = RaftSessionStore(portal, name=name)
        keys: list[SessionKey] = [
            {"project_key": "p", "session_id": "s", "subpath": f"subagents/agent-{n:02}"}
            for n in range(40)
        ]
        other: SessionKey = {"project_key": "p", "session_id": "s2", "subpath": "subagents/x"}
        main: SessionKey = {"project_key": "p", "session_id": "s"}
        await asyncio.gather(
            *(store.append(one, [numbered(1)]) for one in [*keys, other, main])
        )
        assert await store.list_subkeys({"project_key": "p", "session_id": "s"}) == [
            one["subpath"] for one in keys
        ]
        await store.delete(main)
        for one in [main, *keys]:
            assert await store.load(one) is None
        assert await store.load(other) == [numbered(1)]
        prefix = raftstate.adapters.keys.key("~claude", name)
        left = await portal.arun(lambda opened: _count(opened, prefix))
        await store.delete(other)
        assert (left, await portal.arun(lambda opened: _count(opened, prefix))) == (4, 0)

    asyncio.run(run())


async def _count(store: raftstate.Store, prefix: bytes) -> int:
    return len([one async for one in store.keys.range(prefix=prefix, keys_only=True)])


def test_a_superseded_owner_is_refused(endpoints: str, portal: Portal, name: str) -> None:
    """
    A store that was opened with an owner writes nothing once the agent has another one.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}

    async def run() -> None:
        async with raftstate.connect(endpoints) as connected:
            async with connected.own(name) as agent:
                late = RaftSessionStore(portal, name=name, owner=agent)
                await late.append(key, [numbered(1)])
            async with connected.own(name, wait=True) as agent:
                current = RaftSessionStore(portal, name=name, owner=agent)
                for refused in (late.append(key, [numbered(2)]), late.delete(key)):
                    with pytest.raises(Fenced) as error:
                        await refused
                    assert error.value.definite
                await current.append(key, [numbered(3)])
                assert await late.load(key) == [numbered(1), numbered(3)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ({"project_key": "p", "session_id": ""}, "session_id"),
        ({"project_key": "p" * 5_000, "session_id": "s"}, "project_key"),
        ({"project_key": "p", "session_id": "s", "subpath": ""}, "subpath"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    portal: Portal, name: str, key: SessionKey, field: str
) -> None:
    """
    The error names the field, and nothing is written.
    """
    store = RaftSessionStore(portal, name=name)
    with pytest.raises(InvalidRequest) as error:
        asyncio.run(store.append(key, [numbered(1)]))
    assert error.value.details["field"] == field


def test_what_is_no_json_is_refused(portal: Portal, name: str) -> None:
    """
    The error names the entry; of its batch nothing is written.
    """
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    store = RaftSessionStore(portal, name=name)
    with pytest.raises(InvalidRequest, match="item 1 is no JSON"):
        asyncio.run(store.append(key, [numbered(1), entry(data=b"bytes")]))
    assert asyncio.run(store.load(key)) is None


def test_the_sdk_works_with_it(
    portal: Portal, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A local session is imported, twice; listed, read, renamed, tagged, forked and deleted, with
    its subagent, by the SDK's own functions.
    """
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    project = tmp_path / "project"
    project.mkdir()
    session = str(uuid.UUID(int=77))
    folder = tmp_path / "projects" / project_key_for_directory(str(project))
    subagents = folder / session / "subagents"
    subagents.mkdir(parents=True)
    lines = conversation(session, 7)
    for path, there in (
        (folder / f"{session}.jsonl", lines),
        (subagents / "agent-7.jsonl", [{**one, "isSidechain": True} for one in lines]),
    ):
        path.write_text("".join(json.dumps(one) + "\n" for one in there))

    async def run() -> None:
        store = RaftSessionStore(portal, name=name)
        for _ in range(2):
            await import_session_to_store(session, store, directory=str(project), batch_size=3)
        [info] = await list_sessions_from_store(store, str(project))
        assert (info.session_id, info.first_prompt) == (session, "text 1")
        messages = await get_session_messages_from_store(store, session, str(project))
        assert [one.message["content"] for one in messages] == [
            f"text {n}" for n in range(1, 8)
        ]
        assert await list_subagents_from_store(store, session, str(project)) == ["7"]
        assert (
            len(await get_subagent_messages_from_store(store, session, "7", str(project))) == 7
        )

        await rename_session_via_store(store, session, "renamed", str(project))
        await tag_session_via_store(store, session, "tagged", str(project))
        now = await get_session_info_from_store(store, session, str(project))
        assert now is not None and (now.custom_title, now.tag) == ("renamed", "tagged")
        fork = await fork_session_via_store(store, session, str(project))
        listed = await list_sessions_from_store(store, str(project))
        assert {one.session_id for one in listed} == {session, fork.session_id}
        await delete_session_via_store(store, session, str(project))
        listed = await list_sessions_from_store(store, str(project))
        assert [one.session_id for one in listed] == [fork.session_id]
        copied = await get_session_messages_from_store(store, fork.session_id, str(project))
        assert [one.message["content"] for one in copied] == [f"text {n}" for n in range(1, 8)]

    asyncio.run(run())
