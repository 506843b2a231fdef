"""What reads are shown: how recent, of which revision, and from which member."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from raftstate.v1.agent_service_pb2 import (
    CreateAgentRequest,
    GetAgentRequest,
    ListAgentsRequest,
    UpdateAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    GetCheckpointRequest,
    GetGroupCheckpointRequest,
    ListCheckpointsRequest,
    ListGroupCheckpointsRequest,
)
from raftstate.v1.cluster_service_pb2 import ListMembersRequest
from raftstate.v1.common_pb2 import Consistency, Label
from raftstate.v1.event_service_pb2 import (
    GetProjectionRequest,
    GetStreamRequest,
    ListProjectionsRequest,
    ReadAllRequest,
    ReadEventsRequest,
)
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    DeleteRangeRequest,
    GetRequest,
    PutRequest,
    RangeRequest,
)
from raftstate.v1.lease_service_pb2 import ListLeasesRequest, RevokeRequest
from raftstate.v1.recovery_service_pb2 import ListValidatorsRequest
from raftstate.v1.session_service_pb2 import (
    CloseSessionRequest,
    KeepAliveRequest,
    ListSessionsRequest,
    OpenSessionRequest,
)
from raftstate.v1.store_pb2 import Command
from tests.rpc import reads_of_effects
from tests.rpc.harness import Bench, all_of, bench, refused, rest_of, run, until
from tests.rpc.reads_of_effects import Paged, nothing, own_again
from tests.rpc.stories_of_checkpoints import group, save
from tests.rpc.stories_of_events import append, saved
from tests.rpc.stories_of_keys import grant, put_key, validator

STALE = Consistency.CONSISTENCY_STALE
AT_LEAST = Consistency.CONSISTENCY_AT_LEAST
AT_REVISION = Consistency.CONSISTENCY_AT_REVISION


async def compact(b: Bench, revision: int) -> None:
    await b.kv.Compact(CompactRequest(request_id=b.request_id(), revision=revision))


def reading(revision: int, consistency: int = AT_REVISION) -> GetRequest:
    return GetRequest(key=b"k", consistency=consistency, revision=revision)  # type: ignore[arg-type]


# --- every read that takes a revision ------------------------------------------------

READS: dict[str, Callable[[Bench, dict[str, Any]], Awaitable[Any]]] = {
    "GetAgent": lambda b, at: b.agents.GetAgent(GetAgentRequest(agent_id="a", **at)),
    "ListAgents": lambda b, at: b.agents.ListAgents(ListAgentsRequest(**at)),
    "ListSessions": lambda b, at: b.sessions.ListSessions(ListSessionsRequest(**at)),
    "Get": lambda b, at: b.kv.Get(GetRequest(key=b"k", **at)),
    "Range": lambda b, at: b.kv.Range(RangeRequest(**at)),
    "ListLeases": lambda b, at: b.leases.ListLeases(ListLeasesRequest(**at)),
    "ListValidators": lambda b, at: b.recovery.ListValidators(ListValidatorsRequest(**at)),
    "GetCheckpoint": lambda b, at: all_of(
        b.checkpoints.GetCheckpoint(GetCheckpointRequest(agent_id="a", **at))
    ),
    "ListCheckpoints": lambda b, at: b.checkpoints.ListCheckpoints(
        ListCheckpointsRequest(agent_id="a", **at)
    ),
    "GetGroupCheckpoint": lambda b, at: b.checkpoints.GetGroupCheckpoint(
        GetGroupCheckpointRequest(group_id="g", **at)
    ),
    "ListGroupCheckpoints": lambda b, at: b.checkpoints.ListGroupCheckpoints(
        ListGroupCheckpointsRequest(**at)
    ),
    "ReadEvents": lambda b, at: all_of(
        b.events.ReadEvents(ReadEventsRequest(stream_id="s", **at))
    ),
    "ReadAll": lambda b, at: all_of(b.events.ReadAll(ReadAllRequest(**at))),
    "GetStream": lambda b, at: b.events.GetStream(GetStreamRequest(stream_id="s", **at)),
    "GetProjection": lambda b, at: b.events.GetProjection(GetProjectionRequest(name="p", **at)),
    "ListProjections": lambda b, at: b.events.ListProjections(ListProjectionsRequest(**at)),
    **reads_of_effects.READS,
}


async def one_of_each(b: Bench) -> None:
    """Something for every read to find."""
    await save(b, await own_again(b), data=b"1")
    await group(b)
    await append(b)
    await saved(b)
    await validator(b)
    await grant(b, 7)
    await put_key(b, b"k", b"1")
    await reads_of_effects.one_of_each(b)


async def change_all(b: Bench) -> None:
    """Change what every read finds."""
    await b.agents.UpdateAgent(
        UpdateAgentRequest(request_id=b.request_id(), agent_id="a", labels=[Label(name="x")])
    )
    await b.agents.CreateAgent(CreateAgentRequest(request_id=b.request_id(), agent_id="b"))
    await save(b, await b.own("b"), "b", data=b"3")
    await group(b, "g2", ("b",))
    await append(b, count=2)
    await saved(b, position=2)
    await saved(b, "p2")
    await validator(b, "other")
    await grant(b, 8)
    await put_key(b, b"k", b"2")
    await b.sessions.OpenSession(OpenSessionRequest(session_id="s2"))
    await reads_of_effects.change_all(b)


def bare(answer: Any) -> list[Any]:
    """Every message of an answer, without headers."""
    messages = answer if isinstance(answer, list) else [answer]
    for message in messages:
        message.ClearField("header")
    return messages


def test_an_earlier_revision_is_shown_as_it_was() -> None:
    """
    Every read that takes a revision shows what there was, and says which revision that
    is; also on a member that does not lead.
    """

    async def story(b: Bench) -> None:
        await one_of_each(b)
        revision = b.fake.machine.revision
        before = {name: await read(b, {}) for name, read in READS.items()}
        await change_all(b)
        for leader in ("n1", "n2"):
            if leader == "n2":
                b.fake.depose("n2")
            for name, read in READS.items():
                then = await read(b, {"consistency": AT_REVISION, "revision": revision})
                first = then[0] if isinstance(then, list) else then
                assert first.header.revision == revision, name
                assert bare(then) == bare(before[name]), name
        b.fake.failing = None
        for name, read in READS.items():
            if name not in ("GetCheckpoint", "ListCheckpoints", "GetGroupCheckpoint"):
                assert bare(await read(b, {})) != bare(before[name]), name

    run(story)


@pytest.mark.parametrize("name", READS)
def test_what_cannot_be_shown(name: str) -> None:
    """
    A compacted revision and one that is to come are OUT_OF_RANGE, and definite; a member
    that does not lead sends on who asks for what it does not know.
    """

    async def story(b: Bench) -> None:
        await one_of_each(b)
        oldest = b.fake.machine.revision
        await put_key(b, b"k")
        await compact(b, oldest)
        newest = b.fake.machine.revision
        read = READS[name]
        await read(b, {"consistency": AT_REVISION, "revision": oldest})
        gone = await refused(read(b, {"consistency": AT_REVISION, "revision": oldest - 1}))
        assert (gone.code, gone.reason, gone.definite) == ("OUT_OF_RANGE", "COMPACTED", True)
        assert gone.metadata["oldest_revision"] == str(oldest)
        ask = {"consistency": AT_REVISION, "revision": newest + 1}
        future = await refused(read(b, ask))
        assert (future.code, future.reason) == ("OUT_OF_RANGE", "FUTURE_REVISION")
        assert future.definite
        assert future.metadata["revision"] == str(newest)
        b.fake.depose("n2")
        elsewhere = await refused(read(b, ask))
        assert elsewhere.reason == "NOT_LEADER"
        assert elsewhere.metadata["leader"] == "n2"

    run(story)


# --- how recent ----------------------------------------------------------------------


def test_a_stale_read_asks_nobody() -> None:
    """
    Any member answers at once, and says what it is the state of.
    """

    async def story(b: Bench) -> None:
        revision = await put_key(b, b"k")
        b.fake.depose("n2")
        assert (await refused(b.kv.Get(GetRequest(key=b"k")))).reason == "NOT_LEADER"
        found = await b.kv.Get(GetRequest(key=b"k", consistency=STALE))
        assert (found.header.revision, found.kv.value) == (revision, b"v")

    run(story)


def test_at_least_waits_on_any_member() -> None:
    """
    A read of a revision that is to come is answered when it is there, and not before;
    one of a revision that is there is answered at once.
    """

    async def story(b: Bench) -> None:
        revision = await put_key(b, b"k", b"1")
        put = PutRequest(request_id=b.request_id(), key=b"k", value=b"2")
        b.fake.depose("n2")
        assert (await b.kv.Get(reading(revision, AT_LEAST))).kv.value == b"1"
        waiting = [
            asyncio.ensure_future(b.kv.Get(reading(revision + ahead, AT_LEAST)))
            for ahead in (1, 1, 2)
        ]
        await until(lambda: b.bridge.revisions.waiting == 3, "three wait")
        assert not any(one.done() for one in waiting)
        b.fake.apply(Command(put=put))
        for one in await asyncio.gather(*waiting[:2]):
            assert (one.kv.value, one.header.revision) == (b"2", revision + 1)
        assert b.bridge.revisions.waiting == 1
        assert not waiting[2].done()
        b.fake.apply(Command(put=put))
        assert (await waiting[2]).header.revision == revision + 2

    run(story)


def test_who_waits_no_longer_leaves_nothing_behind() -> None:
    """
    A deadline ends the wait, and so does a client that goes away.
    """

    async def story(b: Bench) -> None:
        far = (1 << 64) - 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await b.kv.Get(reading(far, AT_LEAST), timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: b.bridge.revisions.waiting == 0, "the server has noticed")
        calls = [b.kv.Get(reading(far - each % 7, AT_LEAST)) for each in range(50)]
        await until(lambda: b.bridge.revisions.waiting == 50, "all wait")
        for call in calls:
            call.cancel()
        await until(lambda: b.bridge.revisions.waiting == 0, "the server has noticed")
        assert len(b.bridge.revisions._awaited) <= 16

    run(story)


def test_a_state_that_is_made_anew_keeps_nobody_waiting() -> None:
    """
    Where the revision that was waited for is gone again, the client is sent elsewhere.
    """

    async def story(b: Bench) -> None:
        wanted = b.fake.machine.revision + 5
        b.bridge.revisions.announce(wanted)
        await until(lambda: b.bridge.revisions.current == wanted, "it is announced")
        found = await refused(b.kv.Get(reading(wanted, AT_LEAST)))
        assert (found.reason, found.definite) == ("NO_QUORUM", True)

    run(story)


def test_a_leader_looks_again_before_it_says_future() -> None:
    """
    What was acknowledged before the call is no future revision, even if the leader had
    not applied it yet when it was asked.
    """

    async def story(b: Bench) -> None:
        revision = await put_key(b, b"k", b"1")
        b.fake.holding = True
        asked = asyncio.ensure_future(b.kv.Get(reading(revision + 1)))
        await until(lambda: b.fake.held, "a read point is asked for")
        put = PutRequest(request_id=b.request_id(), key=b"k", value=b"2")
        b.fake.apply(Command(put=put))
        b.fake.let_go()
        assert (await asked).kv.value == b"2"

    run(story)


def test_members_are_no_part_of_the_revisions() -> None:
    """
    ListMembers takes no consistency that names a revision.
    """

    async def story(b: Bench) -> None:
        for consistency in (AT_LEAST, AT_REVISION):
            request = ListMembersRequest(consistency=consistency)
            found = await refused(b.cluster.ListMembers(request))
            assert (found.reason, found.metadata["field"]) == ("INVALID_REQUEST", "consistency")

    run(story)


# --- pages ---------------------------------------------------------------------------


async def make_checkpoint(b: Bench, name: str) -> None:
    await save(b, await own_again(b), data=name.encode(), tags=[name])


async def make_group(b: Bench, name: str) -> None:
    if "fence" not in b.stubs:
        await make_checkpoint(b, "first")
    await group(b, name)


async def make_projection(b: Bench, name: str) -> None:
    await append(b)
    await saved(b, name)


async def end_sessions(b: Bench) -> None:
    for name in ("r1", "r3"):
        await b.sessions.CloseSession(CloseSessionRequest(session_id=name))


async def delete_keys(b: Bench) -> None:
    await b.kv.DeleteRange(DeleteRangeRequest(request_id=b.request_id()))


async def revoke_some(b: Bench) -> None:
    for lease_id in (1, 3):
        await b.leases.Revoke(RevokeRequest(request_id=b.request_id(), lease_id=lease_id))


async def relabel(b: Bench) -> None:
    for name in ("r1", "r3"):
        await b.agents.UpdateAgent(
            UpdateAgentRequest(
                request_id=b.request_id(), agent_id=name, labels=[Label(name="new")]
            )
        )


LISTS: dict[str, Paged] = {
    "ListAgents": Paged(
        lambda b, name: b.agents.CreateAgent(
            CreateAgentRequest(request_id=b.request_id(), agent_id=name)
        ),
        relabel,
        lambda b, **page: b.agents.ListAgents(ListAgentsRequest(prefix="r", **page)),
        lambda page: list(page.agents),
    ),
    "ListSessions": Paged(
        lambda b, name: b.sessions.OpenSession(OpenSessionRequest(session_id=name)),
        end_sessions,
        lambda b, **page: b.sessions.ListSessions(ListSessionsRequest(**page)),
        lambda page: list(page.sessions),
    ),
    "Range": Paged(
        lambda b, name: put_key(b, b"\x00\xff" + name.encode() * 158),
        delete_keys,
        lambda b, **page: b.kv.Range(RangeRequest(**page)),
        lambda page: list(page.kvs),
    ),
    "ListLeases": Paged(
        lambda b, name: grant(b, int(name[1:])),
        revoke_some,
        lambda b, **page: b.leases.ListLeases(ListLeasesRequest(**page)),
        lambda page: list(page.leases),
    ),
    "ListValidators": Paged(
        validator,
        lambda b: validator(b, "r3", "elsewhere"),
        lambda b, **page: b.recovery.ListValidators(ListValidatorsRequest(**page)),
        lambda page: list(page.validators),
    ),
    "ListCheckpoints": Paged(
        make_checkpoint,
        nothing,
        lambda b, **page: b.checkpoints.ListCheckpoints(
            ListCheckpointsRequest(agent_id="a", tagged=True, **page)
        ),
        lambda page: list(page.checkpoints),
    ),
    "ListGroupCheckpoints": Paged(
        make_group,
        nothing,
        lambda b, **page: b.checkpoints.ListGroupCheckpoints(
            ListGroupCheckpointsRequest(prefix="r", **page)
        ),
        lambda page: list(page.groups),
    ),
    "ListProjections": Paged(
        make_projection,
        lambda b: saved(b, "r3", 2),
        lambda b, **page: b.events.ListProjections(ListProjectionsRequest(**page)),
        lambda page: list(page.projections),
    ),
    **reads_of_effects.LISTS,
}


@pytest.mark.parametrize("name", LISTS)
def test_all_pages_show_one_revision(name: str) -> None:
    """
    Whatever is made, changed or removed between the pages, they show what there was when
    the first was asked for, until that is compacted.
    """
    listed = LISTS[name]

    async def story(b: Bench) -> None:
        for place in (1, 3, 5, 7):
            await listed.make(b, f"r{place}")
        whole = listed.rows(await listed.read(b))
        revision = b.fake.machine.revision
        page = await listed.read(b, page_size=1)
        found, token = listed.rows(page), ""
        for place in (0, 2, 4, 6, 8):
            if page.next_page_token:
                await listed.make(b, f"r{place + 10 if name == 'ListLeases' else place}")
                await (listed.spoil(b) if place == 2 else nothing(b))
                token = page.next_page_token
                page = await listed.read(b, page_size=1, page_token=token, consistency=STALE)
                assert page.header.revision == revision
                found += listed.rows(page)
        assert found == whole
        assert page.next_page_token == ""
        assert listed.rows(await listed.read(b)) != whole
        await compact(b, revision + 1)
        late = await refused(listed.read(b, page_size=1, page_token=token))
        assert (late.reason, late.metadata["oldest_revision"]) == (
            "COMPACTED",
            str(revision + 1),
        )

    run(story)


def test_the_paged_lists_are_all_here() -> None:
    """
    Every request with a page token has a list in the table.
    """
    from tests.rpc.harness import services

    paged = {
        method.name
        for service in services()
        for method in service.methods
        if "page_token" in method.input_type.fields_by_name
    }
    assert paged == set(LISTS)


def test_a_page_of_another_member() -> None:
    """
    A member that has not come to a page's revision sends its client to the leader.
    """

    async def story(b: Bench) -> None:
        await put_key(b, b"k1")
        await put_key(b, b"k2")
        token = (await b.kv.Range(RangeRequest(page_size=1))).next_page_token
        async with bench() as behind:
            behind.fake.depose("n2")
            found = await refused(behind.kv.Range(RangeRequest(page_size=1, page_token=token)))
            assert found.reason == "NOT_LEADER"

    run(story)


# --- sessions ------------------------------------------------------------------------


def test_a_keep_alive_of_an_earlier_session_of_that_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Whoever keeps alive the session that it opened learns that the id is another's now,
    and has not kept that one alive.
    """

    async def story(b: Bench) -> None:
        kept: list[str] = []
        keep = b.fake.keep_session

        def counted(session_id: str, ticket: object) -> None:
            kept.append(session_id)
            keep(session_id, ticket)

        monkeypatch.setattr(b.fake, "keep_session", counted)
        first = b.opened_revision
        await b.sessions.CloseSession(CloseSessionRequest(session_id="s1"))
        await b.open()
        assert b.opened_revision > first
        for opened in (first, b.opened_revision + 9):
            request = KeepAliveRequest(session_id="s1", opened_revision=opened)
            found = await refused(all_of(b.sessions.KeepAlive(iter([request]))))
            assert (found.reason, found.definite) == ("SESSION_EXPIRED", True)
            assert kept == ([] if opened == first else ["s1"])
        call = b.sessions.KeepAlive()
        await call.write(KeepAliveRequest(session_id="s1", opened_revision=b.opened_revision))
        assert (await call.read()).ttl_ms == 10_000
        await call.done_writing()
        assert await rest_of(call) == []

    run(story)
