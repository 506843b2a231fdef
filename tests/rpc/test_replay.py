"""Replays held against what was written, and states made anew, by built-in reducers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from raftstate.content import EMPTY, MSGPACK, Reducer, canonical, encode, fold, state_hash
from raftstate.core import limits
from raftstate.rpc import folds
from raftstate.rpc.frontend import Limits
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint, PruneCheckpointsRequest
from raftstate.v1.common_pb2 import Consistency, FencingToken
from raftstate.v1.event_service_pb2 import NewEvent, TruncateBeforeRequest
from raftstate.v1.replay_service_pb2 import (
    ReconstructRequest,
    ReconstructResponse,
    VerifyReplayRequest,
    VerifyReplayResponse,
)
from raftstate.v1.replay_service_pb2 import Reducer as Named
from raftstate.v1.rollback_service_pb2 import (
    AgentTarget,
    FinishRollbackRequest,
    StartRollbackRequest,
    Target,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest
from tests.rpc.harness import Bench, bench, refused, run
from tests.rpc.test_watch_turns import most_in_a_turn

JSON = "application/json"
MERGE = Named.REDUCER_MERGE_PATCH
PATCHES: list[Any] = [
    {"a": 1, "b": {"c": [1, 2]}},
    {"b": {"d": "é"}},
    {"a": None, "z": 0.5},
    {"b": 7},
    {"b": {"c": None, "e": {}}},
]
NAMES: dict[Reducer, Named] = {
    "last_value": Named.REDUCER_LAST_VALUE,
    "merge_patch": MERGE,
    "append": Named.REDUCER_APPEND,
    "count": Named.REDUCER_COUNT,
}


def event(value: Any, state: Any = None, *, kind: str = "changed") -> NewEvent:
    """An event that holds a value, after which a state is said to be."""
    data = json.dumps(value).encode()
    hashed = b"" if state is None else state_hash(state)
    return NewEvent(type=kind, content_type=JSON, data=data, state_hash=hashed)


def saved(state: Any, **fields: Any) -> NewCheckpoint:
    return NewCheckpoint(content_type=JSON, data=json.dumps(state).encode(), **fields)


async def step(
    b: Bench, fence: FencingToken, *events: NewEvent, checkpoint: NewCheckpoint | None = None
) -> None:
    await b.steps.CommitStep(
        CommitStepRequest(
            request_id=b.request_id(),
            agent_id="a",
            fence=fence,
            events=events,
            checkpoint=checkpoint,
        )
    )


def states_of(reducer: Reducer, values: list[Any]) -> list[Any]:
    """The state after each of some events, all of one type."""
    states, state = [], json.loads(canonical(EMPTY[reducer]))
    for value in values:
        state = fold(reducer, state, "changed", value)
        states.append(json.loads(canonical(state)))
    return states


async def verify(b: Bench, reducer: Named = MERGE, **fields: Any) -> VerifyReplayResponse:
    request = VerifyReplayRequest(agent_id="a", reducer=reducer, **fields)
    response: VerifyReplayResponse = await b.replays.VerifyReplay(request)
    return response


async def reconstruct(b: Bench, seq: int = 0, **fields: Any) -> ReconstructResponse:
    request = ReconstructRequest(agent_id="a", event_seq=seq, **fields)
    response: ReconstructResponse = await b.replays.Reconstruct(request)
    return response


async def roll_back(b: Bench, checkpoint_id: int) -> None:
    """Take agent `a` back to a checkpoint, and let it go on."""
    target = AgentTarget(agent_id="a", target=Target(checkpoint_id=checkpoint_id))
    begun = await b.rollbacks.StartRollback(
        StartRollbackRequest(request_id=b.request_id(), agents=[target])
    )
    await b.rollbacks.FinishRollback(
        FinishRollbackRequest(request_id=b.request_id(), rollback_id=begun.rollback_id)
    )


# --- a replay is held against what was written ---------------------------------------


@pytest.mark.parametrize("reducer", NAMES)
def test_a_true_replay_is_found_true(reducer: Reducer) -> None:
    """
    Every hash and every checkpoint on the way is compared, full ones and deltas alike; and
    the hash of the state at the end is told. It may begin at any checkpoint.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        states = states_of(reducer, PATCHES)
        for value, state in zip(PATCHES, states, strict=True):
            await step(b, fence, event(value, state), checkpoint=saved(state))

        whole = await verify(b, reducer=NAMES[reducer])
        rest = await verify(b, reducer=NAMES[reducer], checkpoint_id=2)
        part = await verify(b, reducer=NAMES[reducer], to_seq=3)

        assert not whole.HasField("divergence")
        assert (whole.events, whole.hashes_compared, whole.checkpoints_compared) == (5, 5, 5)
        assert whole.state_hash == rest.state_hash == state_hash(states[-1])
        assert (rest.events, rest.checkpoints_compared) == (3, 3)
        assert (part.events, part.state_hash) == (3, state_hash(states[2]))

    run(story)


def test_the_first_divergent_event_is_named() -> None:
    """
    The event, the hash that was written, that of the replay, and what the event changed;
    and no later one.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}, {"a": 1}))
        await step(b, fence, event({"b": 2}, {"a": 1, "b": 3}), event({"c": 1}, {"c": 9}))

        said = await verify(b)

        found = said.divergence
        assert (found.seq, found.checkpoint_id) == (2, 0)
        assert found.expected_hash == state_hash({"a": 1, "b": 3})
        assert found.actual_hash == said.state_hash == state_hash({"a": 1, "b": 2})
        assert (found.event.seq, found.event.data) == (2, b'{"b": 2}')
        assert list(found.differences) == ["/b added: 2"]
        assert (said.events, said.hashes_compared) == (2, 2)

    run(story)


def test_a_checkpoint_that_differs_is_named() -> None:
    """
    Which, after which event, and where its content differs from the state that was made:
    also that of a delta.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": [1]}), checkpoint=saved({"a": [1]}))
        delta = NewCheckpoint(
            content_type="application/vnd.raftstate.delta+json",
            base_checkpoint_id=1,
            data=b'[1,["m",{"a":["=",[2]]},[],{}]]',
        )
        await step(b, fence, event({"b": 1}), event({"c": 1}), checkpoint=delta)
        await step(b, fence, event({"d": 1}), checkpoint=saved({}))

        said = await verify(b)

        found = said.divergence
        assert (found.seq, found.checkpoint_id, found.event.seq) == (3, 2, 3)
        assert found.expected_hash == state_hash({"a": [2]})
        assert found.actual_hash == state_hash({"a": [1], "b": 1, "c": 1})
        assert list(found.differences) == [
            "/a/0 changed: 2 -> 1",
            "/b added: 1",
            "/c added: 1",
        ]
        assert (said.events, said.checkpoints_compared) == (3, 2)

    run(story)


def test_what_is_said_of_a_divergence_is_bounded() -> None:
    """
    A thousand places differ: a hundred are named.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        many = {f"k{number}": number for number in range(1_000)}
        await step(b, fence, event({}), checkpoint=saved(many))

        said = await verify(b)

        assert len(said.divergence.differences) == limits.REPLAY_DIFFERENCES_MAX

    run(story)


def test_events_without_a_hash_are_folded_only() -> None:
    """
    Nothing is compared where nothing is said, and content may be msgpack.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        packed = NewEvent(type="t", content_type=MSGPACK, data=encode({"a": 1}, MSGPACK))
        await step(b, fence, packed, event({"b": 2}))

        said = await verify(b)

        assert (said.events, said.hashes_compared, said.checkpoints_compared) == (2, 0, 0)
        assert said.state_hash == state_hash({"a": 1, "b": 2})

    run(story)


def test_what_a_rollback_has_undone_is_no_part_of_it() -> None:
    """
    Events that were undone are not folded, checkpoints that were left behind are not
    compared, and the run goes on from the checkpoint that was restored.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}, {"a": 1}), checkpoint=saved({"a": 1}))
        await step(b, fence, event({"bad": 1}, {"odd": 0}), checkpoint=saved({"odd": 0}))
        before = b.fake.machine.revision
        assert (await verify(b)).divergence.seq == 2
        await roll_back(b, 1)
        fence = await b.own()
        await step(b, fence, event({"c": 3}, {"a": 1, "c": 3}))

        now = await verify(b)
        past: dict[str, Any] = {
            "consistency": Consistency.CONSISTENCY_AT_REVISION,
            "revision": before,
        }
        then, behind = await verify(b, **past), await verify(b, checkpoint_id=2, **past)
        left = await refused(
            b.replays.VerifyReplay(
                VerifyReplayRequest(agent_id="a", checkpoint_id=2, reducer=MERGE)
            )
        )

        assert not now.HasField("divergence")
        assert (now.events, now.hashes_compared, now.checkpoints_compared) == (2, 2, 2)
        assert now.state_hash == (await verify(b, checkpoint_id=3)).state_hash
        assert then.divergence.seq == 2
        assert (behind.events, behind.state_hash) == (0, state_hash({"odd": 0}))
        assert (left.reason, left.metadata["field"]) == ("INVALID_REQUEST", "checkpoint_id")

    run(story)


def test_a_state_that_was_left_behind_may_be_restored() -> None:
    """
    A rollback may name a checkpoint that another has left behind: the run goes on from what
    that holds, though the events that it reflects stay undone.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}), checkpoint=saved({"a": 1}))
        await step(b, fence, event({"b": 2}), checkpoint=saved({"a": 1, "b": 2}))
        await roll_back(b, 1)
        await step(b, await b.own(), event({"c": 3}), checkpoint=saved({"a": 1, "c": 3}))
        await roll_back(b, 2)
        state = {"a": 1, "b": 2, "d": 4}
        await step(b, await b.own(), event({"d": 4}, state), checkpoint=saved(state))

        said = await verify(b)
        made = await reconstruct(b, reducer=MERGE)

        assert not said.HasField("divergence")
        assert (said.events, said.hashes_compared, said.checkpoints_compared) == (2, 1, 2)
        assert said.state_hash == made.state_hash == state_hash(state)
        assert (await reconstruct(b, 1, reducer=MERGE)).state == b'{"a":1}'

    run(story)


def test_a_fold_goes_no_further_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A comparison ends after so many events, and with the checkpoints up to there. A state
    that more of them lead to is not made, as it would be another.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        for number in range(1, 9):
            odd = saved({"odd": 1}) if number == 4 else None
            await step(b, fence, event({"n": number}), checkpoint=odd)
        monkeypatch.setattr(limits, "VERIFY_EVENTS_MAX", 3)

        said = await verify(b)
        far = ReconstructRequest(agent_id="a", event_seq=8, reducer=MERGE)
        found = await refused(b.replays.Reconstruct(far))

        assert not said.HasField("divergence")
        assert (said.events, said.state_hash) == (3, state_hash({"n": 3}))
        assert (found.reason, found.metadata["field"]) == ("NOT_COMPARABLE", "agent_id")
        assert (await reconstruct(b, 7, reducer=MERGE)).state == b'{"n":7,"odd":1}'

    run(story)


def test_others_have_their_turn_between_two_checkpoints() -> None:
    """
    Where one stands behind every event, no turn of the loop is for more than one of them;
    nor is it for more than a slice of the list of them.
    """

    async def story() -> None:
        async with bench(Limits(slice_events=4)) as b:
            await b.open()
            fence = await b.own()
            for number in range(40):
                await step(b, fence, event({"n": number}), checkpoint=saved({"n": number}))
            verifying = asyncio.ensure_future(verify(b))

            most = await most_in_a_turn(lambda: b.fake.state.views, verifying)

            assert (await verifying).checkpoints_compared == 40
            assert most <= 5

    asyncio.run(story())


# --- what cannot be folded -----------------------------------------------------------


ODD: dict[str, tuple[list[NewEvent], NewCheckpoint | None, Named, str]] = {
    "an event without structure": (
        [NewEvent(type="t", content_type="text/plain", data=b"x")],
        None,
        MERGE,
        "event 1",
    ),
    "an event that is not what it says": (
        [NewEvent(type="t", content_type=JSON, data=b"{")],
        None,
        MERGE,
        "event 1",
    ),
    "what JSON cannot hold": (
        [NewEvent(type="t", content_type=MSGPACK, data=encode({"a": b"x"}, MSGPACK))],
        None,
        MERGE,
        "event 1",
    ),
    "a checkpoint without structure": (
        [event({"a": 1})],
        NewCheckpoint(content_type="application/octet-stream", data=b"x"),
        MERGE,
        "checkpoint a#1",
    ),
    "a checkpoint that is not what it says": (
        [event({"a": 1})],
        NewCheckpoint(content_type=JSON, data=b"{"),
        MERGE,
        "checkpoint 1",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_read_is_named(name: str) -> None:
    """
    An event or a checkpoint that has no value ends a comparison, and is named; `count`
    does not look into events.
    """
    events, checkpoint, reducer, named = ODD[name]

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, *events, checkpoint=checkpoint)

        said = await refused(
            b.replays.VerifyReplay(VerifyReplayRequest(agent_id="a", reducer=reducer))
        )

        assert (said.code, said.reason) == ("FAILED_PRECONDITION", "NOT_COMPARABLE")
        assert named in said.message
        if checkpoint is None:
            assert (await verify(b, reducer=Named.REDUCER_COUNT)).events == 1

    run(story)


@pytest.mark.parametrize("reducer", [Named.REDUCER_APPEND, Named.REDUCER_COUNT])
def test_a_state_that_a_reducer_does_not_make(reducer: Named) -> None:
    """
    A list cannot be appended to what is none, nor be counted in what counts nothing.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event(1), checkpoint=saved({"a": "b"}))
        await step(b, fence, event(2))

        said = await refused(
            b.replays.VerifyReplay(
                VerifyReplayRequest(agent_id="a", checkpoint_id=1, reducer=reducer)
            )
        )

        assert said.reason == "NOT_COMPARABLE"
        assert "checkpoint 1: the state is no" in said.message

    run(story)


def test_what_is_truncated_is_not_guessed() -> None:
    """
    Of events that are gone nothing can be folded: a checkpoint that stands for them can.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}), event({"b": 1}))
        await step(b, fence, event({"c": 1}), checkpoint=saved({"a": 1, "b": 1, "c": 1}))
        await step(b, fence, event({"d": 1}))
        await b.events.TruncateBefore(
            TruncateBeforeRequest(
                request_id=b.request_id(), stream_id="a", before_seq=3, checkpoint_id=1
            )
        )

        whole = await refused(
            b.replays.VerifyReplay(VerifyReplayRequest(agent_id="a", reducer=MERGE))
        )
        early = await refused(
            b.replays.Reconstruct(ReconstructRequest(agent_id="a", event_seq=2))
        )
        rest = await verify(b, checkpoint_id=1)

        for said in (whole, early):
            assert (said.code, said.reason) == ("OUT_OF_RANGE", "COMPACTED")
            assert said.metadata["oldest_seq"] == "3"
        assert rest.events == 1
        assert json.loads((await reconstruct(b, reducer=MERGE)).state)["d"] == 1

    run(story)


def test_it_ends_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that does not come to an end is ended, and the next caller is served.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}))
        with monkeypatch.context() as patched:
            patched.setattr("raftstate.rpc.apart._START", "import time; time.sleep(60)")
            patched.setattr(folds, "PATIENCE_S", 0.2)
            said = await refused(
                b.replays.VerifyReplay(VerifyReplayRequest(agent_id="a", reducer=MERGE))
            )

        assert said.reason == "NOT_COMPARABLE"
        assert "takes too long" in said.message
        assert (await verify(b)).events == 1

    run(story)


# --- states --------------------------------------------------------------------------


@pytest.mark.parametrize("reducer", NAMES)
def test_the_state_at_each_event_is_that_of_folding(reducer: Reducer) -> None:
    """
    At every event, and before the first: whether a checkpoint is near, far, or none.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        states = states_of(reducer, PATCHES)
        for seq, (value, state) in enumerate(zip(PATCHES, states, strict=True), 1):
            checkpoint = saved(state) if seq in (2, 4) else None
            await step(b, fence, event(value), checkpoint=checkpoint)

        for seq, state in enumerate(states, 1):
            made = await reconstruct(b, seq, reducer=NAMES[reducer])
            assert (made.event_seq, made.state) == (seq, canonical(state))
            assert made.state_hash == state_hash(state)
        newest = await reconstruct(b, reducer=NAMES[reducer])
        assert (newest.event_seq, newest.state) == (5, canonical(states[-1]))

    run(story)


def test_an_agent_without_events_has_the_empty_state() -> None:
    """
    Nothing was folded, and that has a hash too.
    """

    async def story(b: Bench) -> None:
        await b.own()

        for reducer, name in NAMES.items():
            made = await reconstruct(b, reducer=name)
            assert (made.event_seq, made.state) == (0, canonical(EMPTY[reducer]))
        bare = await reconstruct(b)
        assert (bare.checkpoint_id, list(bare.events), bare.more_events) == (0, [], False)

    run(story)


def test_without_a_reducer_the_way_is_told() -> None:
    """
    The nearest checkpoint before the event, and the events behind it: as many as one answer
    holds.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event(1), checkpoint=NewCheckpoint(data=b"one"))
        await step(b, fence, event(2), event(3))
        large = NewEvent(type="t", data=bytes(600 << 10))
        await step(b, fence, large)
        await step(b, fence, large)

        near = await reconstruct(b, 3)
        far = await reconstruct(b)

        assert (near.event_seq, near.checkpoint_id, near.more_events) == (3, 1, False)
        assert [one.seq for one in near.events] == [2, 3]
        assert (near.state, near.state_hash) == (b"", b"")
        assert [one.seq for one in far.events] == [2, 3, 4]
        assert far.more_events

    run(story)


def test_undone_events_have_a_state_of_their_time() -> None:
    """
    After a rollback the newest state is that of the target. An event that was undone leads
    to no state now, and to the one of then at a revision before that.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}), checkpoint=saved({"a": 1}))
        await step(b, fence, event({"b": 2}))
        before = b.fake.machine.revision
        await roll_back(b, 1)

        newest = await reconstruct(b, reducer=MERGE)
        then = await reconstruct(b, 2, at_revision=before, reducer=MERGE)
        gone = await refused(
            b.replays.Reconstruct(ReconstructRequest(agent_id="a", event_seq=2))
        )
        fence = await b.own()
        await step(b, fence, event({"c": 3}))
        later = await reconstruct(b, reducer=MERGE)
        way = await reconstruct(b)

        assert (newest.event_seq, newest.state) == (1, b'{"a":1}')
        assert (then.event_seq, then.state) == (2, b'{"a":1,"b":2}')
        assert (then.header.revision, gone.reason) == (before, "INVALID_REQUEST")
        assert gone.metadata["field"] == "event_seq"
        assert (later.event_seq, later.state) == (3, b'{"a":1,"c":3}')
        assert (way.checkpoint_id, [one.seq for one in way.events]) == (2, [3])

    run(story)


def test_a_checkpoint_that_was_left_behind_leads_nowhere() -> None:
    """
    Also where it is the only one before the event: what was restored is pruned by then.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await step(b, fence, event({"a": 1}), checkpoint=saved({"a": 1}))
        await step(b, fence, event({"b": 2}), checkpoint=saved({"odd": 0}, pinned=True))
        await roll_back(b, 1)
        fence = await b.own()
        await step(b, fence, event({"c": 3}))
        await step(b, fence, event({"d": 4}), checkpoint=saved({"d": 4}))
        pruned = await b.checkpoints.PruneCheckpoints(
            PruneCheckpointsRequest(request_id=b.request_id(), agent_id="a")
        )

        made = await reconstruct(b, 3, reducer=MERGE)

        assert pruned.pruned == 2
        assert made.state == b'{"a":1,"c":3}'
        assert (await reconstruct(b, 3)).checkpoint_id == 0

    run(story)


def test_a_large_state_is_not_told() -> None:
    """
    A state that no answer holds is refused, and its size is named.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        for _ in range(3):
            await step(b, fence, event("x" * (800 << 10)))

        said = await refused(
            b.replays.Reconstruct(
                ReconstructRequest(agent_id="a", reducer=Named.REDUCER_APPEND)
            )
        )

        assert said.reason == "NOT_COMPARABLE"
        assert f"(limit: {folds.STATE_BYTES_MAX})" in said.message
        assert len((await reconstruct(b, 2, reducer=Named.REDUCER_APPEND)).state) > 1 << 20

    run(story)


def test_what_is_not_there() -> None:
    """
    An agent, a checkpoint, an event to come, a revision to come.
    """

    async def story(b: Bench) -> None:
        await b.own()
        cases: list[tuple[Any, str]] = [
            (VerifyReplayRequest(agent_id="nobody", reducer=MERGE), "AGENT_NOT_FOUND"),
            (
                VerifyReplayRequest(agent_id="a", checkpoint_id=9, reducer=MERGE),
                "CHECKPOINT_NOT_FOUND",
            ),
            (ReconstructRequest(agent_id="nobody"), "AGENT_NOT_FOUND"),
            (ReconstructRequest(agent_id="a", event_seq=1), "INVALID_REQUEST"),
            (ReconstructRequest(agent_id="a", at_revision=1_000), "FUTURE_REVISION"),
        ]
        for request, reason in cases:
            name = type(request).__name__.removesuffix("Request")
            said = await refused(getattr(b.replays, name)(request))
            assert said.reason == reason

    run(story)
