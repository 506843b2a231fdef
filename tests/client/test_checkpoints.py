# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Checkpoints of any size through the SDK, against the real state machine."""

import asyncio
import json
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

import raftstate
from raftstate import Cut, content
from raftstate.client.chunks import Part, Upload, digest
from raftstate.core import keys
from raftstate.errors import (
    AgentNotFound,
    CheckpointNotFound,
    ChunkMissing,
    Conflict,
    Corrupt,
    GroupExists,
    GroupNotFound,
    InvalidRequest,
    NotComparable,
    OutcomeUnknown,
    Owned,
    ValidatorNotFound,
)
from raftstate.v1.agent_service_pb2 import Retention
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.store_pb2 import CollectChunks, Command, Outcome
from tests.client.scripted import Member, asynchronous, members, store_of, until
from tests.client.test_end_to_end import stores
from tests.rpc.harness import Bench

SMALL = Cut(above=8 << 10, chunk_bytes=4 << 10)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes of which no two chunks are the same."""
    return random.Random(seed).randbytes(size)


def sent(served: Bench) -> list[int]:
    """The sizes of the chunks that were proposed."""
    return [
        len(one.put_chunk.data) for one in served.fake.proposed if one.HasField("put_chunk")
    ]


def collect(served: Bench) -> None:
    """Let every chunk go that no checkpoint names."""
    command = CollectChunks(unused_since_ms=1 << 60, limit=1_000)
    served.fake.apply(Command(collect_chunks=command))


def chunks_of(served: Bench) -> int:
    """How many chunks are stored."""
    table = keys.chunk("x", b"")[:1]
    return sum(1 for key, _ in served.fake.state.store.items() if key[:1] == table)


@pytest.mark.parametrize("outside", [False, True])
@asynchronous
async def test_a_large_checkpoint_is_saved_and_restored(outside: bool) -> None:
    """
    What is larger than a request goes in chunks, in a step and outside of one, and comes
    back whole: read, restored by a successor, and by its tag.
    """
    data = noise(5 << 20)
    async with stores(2) as (served, (store, other)):
        async with store.own("a") as agent:
            assert agent.restore() is None
            if outside:
                assert await agent.checkpoint(data, tags=["big"]) == 1
            else:
                async with agent.step() as step:
                    step.event("made")
                    step.checkpoint(data, tags=["big"], labels={"of": "test"})
            assert agent.head.checkpoint_id == 1
        assert sent(served) == [128 << 10] * 40
        stored = await other.get_checkpoint("a")
        tagged = await other.get_checkpoint("a", tag="big", data=False)
        async with other.own("a") as successor:
            restored = successor.restore()

    assert raftstate.decode(stored) == data
    assert (stored.size_bytes, stored.chunk_count) == (len(data), 40)
    assert (tagged.checkpoint_id, tagged.data) == (1, b"")
    assert restored == data


@asynchronous
async def test_chunks_that_are_stored_are_not_sent_again() -> None:
    """
    A state that has changed in one place sends one chunk; one in which chunks are alike
    sends them once; and one that is put back sends none.
    """
    first = noise(40 << 10)
    second = first[:13_000] + b"changed" + first[13_007:]
    async with stores(1) as (served, (store,)), store.own("a", cut=SMALL) as agent:
        counts = []
        for data in (first, second, first, b"\0" * (40 << 10)):
            before = len(sent(served))
            await agent.checkpoint(data)
            counts.append(len(sent(served)) - before)
        found = [(await store.get_checkpoint("a", one)).data for one in (1, 2, 3, 4)]

    assert counts == [10, 1, 0, 1]
    assert found == [first, second, first, b"\0" * (40 << 10)]


@asynchronous
async def test_an_upload_that_was_broken_off_goes_on() -> None:
    """
    What was sent before the owner died is not sent again by the next one.
    """
    data = noise(80 << 10)
    async with stores(2) as (served, (store, other)):
        with pytest.raises(_KilledError):
            async with store.own("a", cut=SMALL) as agent:
                mutate = store._engine.mutate

                async def cut_down(kind: str, request: Any, timeout: float | None) -> Any:
                    if len(sent(served)) >= 12:
                        raise _KilledError
                    return await mutate(kind, request, timeout)

                store._engine.mutate = cut_down  # type: ignore[method-assign]
                await agent.checkpoint(data)
        before = len(sent(served))
        async with other.own("a", cut=SMALL) as agent:
            await agent.checkpoint(data)
        after = len(sent(served))
        found = await other.get_checkpoint("a")

    assert 12 <= before < 20
    assert after == 20
    assert found.data == data


@asynchronous
async def test_few_chunks_are_on_their_way_at_once() -> None:
    """
    Never more than `in_flight` of them wait for their answer, so that others' commits are
    not behind all of them.
    """
    async with stores(1) as (served, (store,)), store.own("a", cut=SMALL) as agent:
        await store.keys.put("first", "")  # the session is open
        served.fake.holding = True
        saving = asyncio.create_task(agent.checkpoint(noise(80 << 10)))
        most = 0
        while not saving.done():
            await until(lambda: served.fake.held or saving.done(), "something waits")
            await asyncio.sleep(0.002)
            # A renewal and a read may be on their way beside them.
            chunks = [answer for _, answer in served.fake.held if isinstance(answer, Outcome)]
            most = max(most, len(chunks))
            served.fake.let_go()
            served.fake.holding = len(sent(served)) < 20
        await saving

    assert most == 2


@asynchronous
async def test_a_chunk_that_was_collected_is_sent_again_once() -> None:
    """
    Between the upload and the commit chunks may go: then they are sent again, and the
    commit follows; if that happens again, it is said.
    """
    data = noise(40 << 10)
    async with stores(1) as (served, (store,)):
        async with store.own("a", cut=SMALL) as agent:
            run, times = Upload.run, 0

            async def collected(self: Upload, timeout: float | None) -> Any:
                nonlocal times
                refs = await run(self, timeout)
                if times:
                    times -= 1
                    collect(served)
                return refs

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Upload, "run", collected)
                times = 1
                saved = await agent.checkpoint(data)
                times = 2
                with pytest.raises(ChunkMissing) as refused:
                    async with agent.step() as step:
                        step.event("x")
                        step.checkpoint(noise(40 << 10, 2))
            async with agent.step() as step:
                step.event("goes on")
        found = await store.get_checkpoint("a")

    assert saved == 1
    assert found.data == data
    assert refused.value.definite
    assert chunks_of(served) == 10


@asynchronous
async def test_an_owner_that_is_overtaken_stops_uploading() -> None:
    """
    When the agent is taken during an upload, the block ends; nothing was committed, and
    that is sure.
    """
    async with stores(2) as (served, (store, other)):
        with pytest.raises(raftstate.RaftStateError) as lost:
            async with store.own("a", cut=SMALL, ttl=0.3) as agent:
                served.fake.holding = True
                saving = asyncio.create_task(agent.checkpoint(noise(4 << 20)))
                await until(lambda: served.fake.held, "the upload is under way")
                served.fake.holding = False
                served.fake.let_go()
                async with other.own("a", force=True):
                    await saving
        found = await other.get_agent("a")

    assert lost.value.definite
    assert found.head.checkpoint_id == 0


# --- deltas ------------------------------------------------------------------


def journal(count: int) -> dict[str, Any]:
    """A state that grows by a little each time."""
    return {"done": count, "log": [{"n": n, "text": f"entry {n} " * 8} for n in range(count)]}


@asynchronous
async def test_deltas_save_what_has_changed() -> None:
    """
    A small change is saved as a delta, in a chain that is bounded; each checkpoint reads
    as the state it was, to the owner, to readers and to a successor, who goes on with it.
    """
    states = [journal(100 + n) for n in range(20)]
    async with stores(2) as (_, (store, other)):
        async with store.own("a", deltas=True) as agent:
            for state in states:
                async with agent.step() as step:
                    step.event("done")
                    step.checkpoint(state)
        async with other.own("a", deltas=True) as agent:
            restored = agent.restore()
            await agent.checkpoint(journal(121))
        kept = [one async for one in store.list_checkpoints("a")][::-1]
        found = [
            raftstate.decode(await store.get_checkpoint("a", one.checkpoint_id)) for one in kept
        ]
        raw = await store.get_checkpoint("a", 2, chain=False)

    assert restored == states[-1]
    assert found == [*states, journal(121)]
    lengths = [one.chain_length for one in kept]
    assert lengths == [*range(17), 0, 1, 2, 3]
    assert all(
        2 * one.size_bytes < len(json.dumps(states[0])) for one in kept if one.chain_length
    )
    assert raw.content_type == content.DELTA_JSON
    assert content.family(raw.content_type) == "json"


@asynchronous
async def test_a_delta_is_saved_only_where_it_is_worth_it() -> None:
    """
    Small states, other types, bytes that are no JSON as this SDK writes it, and states
    that have changed altogether are saved whole.
    """
    pretty = json.dumps(journal(100), indent=1).encode()
    cases: list[tuple[Any, str]] = [
        ({"n": 1}, ""),
        ({"n": 2}, ""),
        (journal(100), ""),
        (noise(20_000), ""),
        (noise(20_000), ""),
        (pretty, "application/json"),
        (pretty.replace(b"99", b"98"), "application/json"),
        ([noise(3_000, n).hex() for n in range(9)], ""),
        ([noise(3_000, n).hex() for n in range(10, 19)], ""),
        ({"same": 1, "rest": noise(3_000, 20).hex()}, ""),
        ({"same": 1, "rest": noise(3_000, 21).hex()}, ""),
        (json.dumps(journal(100)).encode(), "application/vnd.acme+json"),
        (journal(100), ""),
        (journal(101), ""),
    ]
    async with stores(1) as (_, (store,)):
        async with store.own("a", deltas=True) as agent:
            for state, content_type in cases:
                await agent.checkpoint(state, content_type=content_type)
        kept = [one async for one in store.list_checkpoints("a")][::-1]
        stored = [await store.get_checkpoint("a", n + 1) for n in range(len(cases))]
        found = [raftstate.decode(one) for one in stored]

    assert [one.chain_length for one in kept] == [0] * 13 + [1]
    assert [one.content_type for one in stored[-3:]] == [
        "application/vnd.acme+json",
        "application/json",
        "application/json",
    ]
    assert found[3] == cases[3][0]
    assert found[5] == json.loads(pretty)
    assert found[-1] == journal(101)


@asynchronous
async def test_large_deltas_go_in_chunks_too() -> None:
    """
    A delta above the cut is uploaded, and a successor of a long chain of them restores.
    """
    async with stores(2) as (_, (store, other)):
        state = {f"k{n}": noise(600, n).hex() for n in range(60)}
        async with store.own("a", deltas=True, cut=SMALL) as agent:
            for start in range(0, 60, 12):
                state |= {f"k{n}": noise(600, n + 99).hex() for n in range(start, start + 12)}
                await agent.checkpoint(state)
        async with other.own("a") as agent:
            restored = agent.restore()
        newest = await other.get_checkpoint("a", chain=False)

    assert restored == state
    assert (newest.chain_length, newest.chunk_count > 1) == (4, True)


class Truncated(Member):
    """A member whose agent's old events are gone, and whose bundle has room for none."""

    async def AcquireOwnership(self, request: Any, context: Any) -> Any:  # noqa: N802
        granted = await super().AcquireOwnership(request, context)
        granted.bundle.checkpoint.checkpoint_id = 1
        granted.bundle.checkpoint.event_seq = 5
        granted.bundle.checkpoint.content_hash = digest(b"")
        granted.bundle.more_events = True
        return granted


@asynchronous
async def test_only_events_after_the_checkpoint_are_fetched() -> None:
    """
    What the bundle had no room for begins behind the checkpoint, also where it had room
    for nothing: the events before may be truncated.
    """
    async with members(1, kind=Truncated) as (member,), store_of(member) as store:
        member.events = [Event(stream_id="a", seq=n) for n in range(1, 8)]
        async with store.own("a") as agent:
            found = [event.seq for event in agent.events_since]

    assert found == [6, 7]
    assert [one for one in member.asked if "read" in one] == ["read from 6"]


# --- what is damaged, and what is read ---------------------------------------


class Damaged(Member):
    """A member whose bundle holds something else than was saved."""

    async def AcquireOwnership(self, request: Any, context: Any) -> Any:  # noqa: N802
        granted = await super().AcquireOwnership(request, context)
        granted.bundle.checkpoint.checkpoint_id = 1
        granted.bundle.checkpoint.content_hash = digest(b"right")
        granted.bundle.checkpoint.data = b"wrong"
        return granted


@asynchronous
async def test_a_successor_is_given_no_damaged_state() -> None:
    """
    Not what a member gives beside the grant, and not what a member finds to be damaged:
    the block does not begin, and somebody else may try.
    """
    async with members(1, kind=Damaged) as (member,), store_of(member) as store:
        with pytest.raises(Corrupt) as caught:
            await store.own("a").__aenter__()
        assert "release" in member.asked

    assert caught.value.definite
    for size in (3_000, 30_000, 300_000):
        async with stores(1) as (served, (store,)):
            async with store.own("a") as agent:
                await agent.checkpoint(noise(size))
            stored, begins = served.fake.state.store, noise(size)[:99]
            [key] = [key for key, value in stored.items() if begins in value]
            stored.put(key, (stored.get(key) or b"").replace(begins, bytes(99)))
            with pytest.raises(Corrupt):
                await store.own("a").__aenter__()


@pytest.mark.parametrize("damage", ["flipped", "missing", "doubled", "swapped"])
def test_a_download_is_checked_piece_by_piece(damage: str) -> None:
    """
    Any piece that is changed, missing, double or out of order is found out.
    """
    pieces = [noise(1_000, n) for n in range(3)]
    named = Checkpoint(content_hash=digest(b"".join(map(digest, pieces))), chunk_count=3)
    whole, broken = Part(named), Part(named)
    for piece in pieces:
        whole.add(piece)
    match damage:
        case "flipped":
            pieces[1] = bytes([pieces[1][0] ^ 1]) + pieces[1][1:]
        case "missing":
            del pieces[1]
        case "doubled":
            pieces.insert(1, pieces[1])
        case "swapped":
            pieces[:2] = pieces[1::-1]
    for piece in pieces:
        broken.add(piece)

    assert len(whole.data()) == 3_000
    with pytest.raises(Corrupt):
        broken.data()


@asynchronous
async def test_small_ones_are_checked_as_well() -> None:
    """
    Data that is not cut is compared with its hash.
    """
    part = Part(Checkpoint(content_hash=digest(b"right")))
    part.add(b"wrong")
    with pytest.raises(Corrupt):
        part.data()


@asynchronous
async def test_checkpoints_are_listed_by_what_they_are() -> None:
    """
    By label, tag, pin and step; tags move; what is retained follows the agent's rules.
    """
    async with stores(1) as (_, (store,)):
        await store.create_agent("a", retention=Retention(keep_last=2), rpo_target_ms=500)
        async with store.own("a") as agent:
            for number in range(1, 7):
                async with agent.step() as step:
                    step.checkpoint({"n": number}, labels={"even": str(number % 2 == 0)})
                if number == 1:
                    await store.tag_checkpoint("a", 1, add=["first"], pinned=True)
                if number == 2:
                    await store.tag_checkpoint("a", 2, add=["first", "second"])
        await store.tag_checkpoint("a", 2, remove=["second"], labels={"even": "yes"})

        async def ids(**how: Any) -> list[int]:
            return [one.checkpoint_id async for one in store.list_checkpoints("a", **how)]

        assert await ids() == [6, 5, 4, 2, 1]
        assert await ids(pinned=True) == [1]
        assert await ids(tagged=True) == [2]
        assert await ids(labels={"even": "yes"}) == [2]
        assert await ids(min_step=2, max_step=4) == [4, 2]
        pruned = await store.prune_checkpoints("a")
        assert await ids() == [6, 2, 1]
        with pytest.raises(CheckpointNotFound):
            await store.get_checkpoint("a", 5)
        with pytest.raises(CheckpointNotFound):
            await store.get_checkpoint("a", tag="none")
        with pytest.raises(AgentNotFound):
            await store.get_checkpoint("nobody")

    assert (pruned.pruned, pruned.more) == (2, False)


@asynchronous
async def test_checkpoints_are_compared_by_the_store() -> None:
    """
    What differs is said by place, also between deltas; what has no structure is refused.
    """
    async with stores(1) as (_, (store,)):
        async with store.own("a", deltas=True) as agent:
            await agent.checkpoint(journal(100))
            await agent.checkpoint(journal(101) | {"more": [1]})
            await agent.checkpoint(b"bytes")
        answer = await store.diff_checkpoints("a", 1, 2)
        with pytest.raises(NotComparable):
            await store.diff_checkpoints("a", 1, 3)

    assert [one.path for one in answer.differences] == ["/done", "/log/100", "/more"]


@asynchronous
async def test_validators_judge_and_owners_do_not() -> None:
    """
    A registered validator says that this very content is good; the owner's own session may
    not, nor anybody who has looked at something else.
    """
    async with stores(2) as (_, (store, other)):
        await store.put_validator("v", agent_prefix="a")
        async with store.own("a") as agent:
            await agent.checkpoint({"n": 1})
            checkpoint = await other.get_checkpoint("a")
            with pytest.raises(Owned):
                await store.mark_valid(checkpoint, "v")
            with pytest.raises(ValidatorNotFound):
                await other.mark_valid(checkpoint, "w")
            good = await other.mark_valid(checkpoint, "v", evidence="looked")
            checkpoint.content_hash = digest(b"else")
            with pytest.raises(Conflict):
                await other.mark_valid(checkpoint, "v")
        listed = [one.name async for one in store.list_validators()]
        known = [
            one.checkpoint_id async for one in store.list_checkpoints("a", known_good=True)
        ]

    assert (good, listed, known) == (True, ["v"], [1])


@asynchronous
async def test_groups_hold_one_checkpoint_of_each() -> None:
    """
    Saved by the same command or there before; a fork and a copy begin with what was saved.
    """
    async with stores(1) as (_, (store,)):
        async with store.own("a", cut=SMALL) as one, store.own("b") as two:
            await two.checkpoint("two")
            large = noise(30 << 10)
            member = await one.group_member(large)
            ids = await store.put_group("g", [member, "b"])
            with pytest.raises(GroupExists):
                await store.put_group("g", [("a", 1)])
        group = await store.get_group("g")
        listed = [found.group_id async for found in store.list_groups()]
        fork = await store.fork_agent("a", "fork", labels={"of": "a"})
        copied = await store.copy_lineage("a", "copy")
        same = [(await store.get_checkpoint(name)).data for name in ("fork", "copy")]
        await store.delete_group("g")
        with pytest.raises(GroupNotFound):
            await store.get_group("g")

    assert ids == [1, 1]
    assert [(one.agent_id, one.checkpoint_id) for one in group.members] == [("a", 1), ("b", 1)]
    assert listed == ["g"]
    assert (fork.agent_id, copied) == ("fork", 1)
    assert same == [large, large]


@asynchronous
async def test_a_full_group_fits_into_its_command() -> None:
    """
    Whatever its members save: what one command has no room for is sent before it.
    """
    async with stores(1) as (_, (store,)), AsyncExitStack() as stack:
        owned = [await stack.enter_async_context(store.own(f"a{n}")) for n in range(32)]
        saved = [await one.group_member(noise(60 << 10)) for one in owned]
        ids = await store.put_group("g", saved)

    assert ids == [1] * 32


@asynchronous
async def test_a_checkpoint_in_doubt_is_not_believed_in() -> None:
    """
    One whose outcome is unknown may be there: the owner says so, and its next step, which
    is a delta on what it knows, goes well.
    """
    async with stores(1) as (served, (store,)):
        async with store.own("a", deltas=True) as agent:
            await agent.checkpoint(journal(100))
            served.fake.forgetful = True
            with pytest.raises(OutcomeUnknown):
                await agent.checkpoint(journal(101), timeout=0.2)
            served.fake.forgetful = False
            assert agent.in_doubt
            async with agent.step() as step:
                step.checkpoint(journal(102))
        found = raftstate.decode(await store.get_checkpoint("a"))

    assert found == journal(102)


def test_cuts_are_checked() -> None:
    """
    Chunks are within the servers' limits, and large enough for the data.
    """
    for wrong in ({"above": -1}, {"above": 2 << 20}, {"chunk_bytes": 9}, {"in_flight": 0}):
        with pytest.raises(InvalidRequest):
            Cut(**wrong)

    assert Cut().size_for(100) == 128 << 10
    assert Cut().size_for(1 << 30) == 256 << 10
    with pytest.raises(InvalidRequest):
        Cut().size_for(5 << 30)


class _KilledError(BaseException):
    """The process ends here."""
