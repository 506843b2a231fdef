"""Replays, against the real state machine: what was written, or where it is not."""

import contextlib
import itertools
from typing import Any

import pytest

import raftstate
from raftstate.client import recordings
from raftstate.client.history import Divergence
from raftstate.client.store import Store
from raftstate.errors import AgentNotFound, InvalidRequest, NotComparable, ReplayDiverged
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.recovery_service_pb2 import CLASSIFICATION_NONDETERMINISM, SYMPTOM_DIVERGED
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores
from tests.rpc.harness import Bench


class Job:
    """An agent's function: it draws an answer for each item, and adds it up. `odd` are
    ways in which it does not do the same each time."""

    def __init__(self, items: range, odd: str = "") -> None:
        self.items = items
        self.odd = odd
        self.drawn = 0
        self.acted: list[str] = []

    def ask(self) -> int:
        """Another answer each time."""
        self.drawn += 1
        return self.drawn * 10

    async def act(self, call: Any) -> str:
        """Do it to the outside."""
        self.acted.append(call.effect_id)
        return f"done {call.args}"

    async def __call__(self, agent: Any) -> dict[str, Any]:
        state: dict[str, Any] = agent.restore(default={"done": 0, "sum": 0})
        agent.state_from(lambda: state)
        for item in self.items:
            if item < state["done"]:
                continue
            before = await agent.record("tool", self.ask)
            async with agent.step() as step:
                answer = await step.record("llm", self.ask)
                if self.odd == "draws more":
                    await step.record("llm", self.ask)
                told = item + 100 * (self.odd == "asks for other" and item == 2)
                said = await step.effect("tell", told, do=self.act, kind="irreversible")
                at = step.time()
                if self.odd != "leaves one out" or item != 2:
                    step.event(
                        "renamed" if self.odd == "type" and item == 2 else "answered",
                        {"item": item, "answer": answer, "before": before, "said": said},
                    )
                if self.odd != "stops short" or item != 2:
                    step.event("clocked", [at, str(step.uuid()), step.random()])
                if self.odd == "data" and item == 2:
                    step.event("clocked", "once more")
                more = 1 if self.odd == "state" and item == 2 else 0
                state = {"done": item + 1, "sum": state["sum"] + answer + more}
                if item % 2:
                    step.checkpoint(state)
        return state


def counted(state: Any, event: Event) -> dict[str, int]:
    """A reducer of what `Job` writes."""
    after: dict[str, int] = dict(state or {"done": 0, "sum": 0})
    if event.type == "answered":
        said = raftstate.decode(event)
        after["done"] = said["item"] + 1
        after["sum"] += said["answer"]
    return after


async def wrote(store: Store, items: int = 4) -> Job:
    """An agent `a` that has done so many items; and its job."""
    job = Job(range(items))
    async with store.own("a") as agent:
        await job(agent)
    return job


async def diverged(store: Store, function: Any, **more: Any) -> tuple[Divergence, str]:
    """Where a replay is not what was written, and the incident that it opened."""
    with pytest.raises(ReplayDiverged) as raised:
        await store.replay("a", function, **more)
    assert raised.value.definite
    found = raised.value.divergence
    assert isinstance(found, Divergence)
    return found, raised.value.details.get("incident_id", "")


@asynchronous
async def test_a_replay_does_the_same_again_and_acts_on_nothing() -> None:
    """
    Everything it draws, and what its effects gave, comes from the log; all of what it
    makes is compared, and it ends where the log does, however far the function would go.
    """
    async with stores(1) as (_, (store,)):
        await wrote(store)
        again = Job(range(1_000))
        done = await store.replay("a", again)
        from_one = await store.replay("a", Job(range(1_000)), from_checkpoint=1)
        part = await store.replay("a", Job(range(1_000)), to_seq=5)
        head = (await store.get_agent("a")).head

    assert (done.events, done.hashes_compared, done.checkpoints_compared) == (8, 4, 2)
    assert (from_one.events, from_one.checkpoints_compared) == (4, 1)
    assert part.events == 5
    assert done.state == from_one.state == {"done": 4, "sum": 20 + 40 + 60 + 80}
    assert done.state_hash == raftstate.replay.state_hash(done.state)
    assert (again.drawn, again.acted) == (0, [])
    assert head.step == 4


@asynchronous
async def test_an_owned_agent_replays_itself() -> None:
    """
    While it is owned, and what it has just written.
    """
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        await Job(range(2))(agent)
        done = await agent.replay(Job(range(9)))
        with pytest.raises(ReplayDiverged) as raised:
            await agent.replay(Job(range(1)), report=False)

    assert done.events == 4
    assert raised.value.details == {"agent_id": "a", "seq": "3"}


@pytest.mark.parametrize(
    ("odd", "seq", "why"),
    [
        ("type", 5, "another event"),
        ("leaves one out", 5, "another event"),
        ("stops short", 6, "no clocked was made"),
        ("data", 7, "a clocked was made"),
        ("state", 6, "the state after it"),
        ("asks for other", 5, "was asked for with other arguments"),
        ("draws more", 1, "'llm/2', which was not recorded"),
    ],
)
@asynchronous
async def test_the_first_difference_is_named(odd: str, seq: int, why: str) -> None:
    """
    The event, what was expected of it and what was made; and an incident is opened.
    """
    async with stores(1) as (bench, (store,)):
        await wrote(store)
        found, incident_id = await diverged(store, Job(range(9), odd=odd))
        incident = await _incident(bench, incident_id)

    assert found.seq == seq
    assert why in found.why
    assert incident.symptom == SYMPTOM_DIVERGED
    assert incident.classification == CLASSIFICATION_NONDETERMINISM
    assert list(incident.agent_ids) == ["a"]
    assert incident.evidence[0].ref == f"a#{seq}"
    if odd in ("type", "state"):
        assert found.expected_hash
        assert found.actual_hash
        assert found.expected_hash != found.actual_hash
    if odd == "type":
        assert found.differences == ("type: answered -> renamed",)


async def _incident(bench: Bench, incident_id: str) -> Any:
    from raftstate.v1.recovery_service_pb2 import GetIncidentRequest

    answer = await bench.recovery.GetIncident(GetIncidentRequest(incident_id=incident_id))
    return answer.incident


@asynchronous
async def test_a_function_that_ends_too_early_diverges() -> None:
    """
    The first event that it does not make is named; nobody has to be told of it.
    """
    async with stores(1) as (_, (store,)):
        await wrote(store)
        found, incident_id = await diverged(store, Job(range(2)), report=False)

    assert (found.seq, found.why) == (5, "no answered was made")
    assert found.event is not None
    assert incident_id == ""


@asynchronous
async def test_a_function_cannot_swallow_its_divergence() -> None:
    """
    Whatever it catches, and even if it goes on.
    """

    async def stubborn(agent: Any) -> None:
        for _ in range(20):
            with contextlib.suppress(BaseException):
                async with agent.step() as step:
                    step.event("answered", "else")

    async with stores(1) as (_, (store,)):
        await wrote(store)
        found, _ = await diverged(store, stubborn, report=False)

    assert (found.seq, found.why) == (1, "another event was made")


@asynchronous
async def test_what_a_function_raises_comes_through() -> None:
    """
    As it is: it is no divergence.
    """

    async def broken(agent: Any) -> None:
        raise KeyError("mine")

    async with stores(1) as (_, (store,)):
        await wrote(store)
        with pytest.raises(KeyError, match="mine"):
            await store.replay("a", broken)
        with pytest.raises(AgentNotFound):
            await store.replay("none", broken)
        with pytest.raises(TypeError, match="of an agent, or of a state"):
            await store.replay("a", lambda: None)


@asynchronous
async def test_a_reducer_is_held_against_hashes_and_checkpoints() -> None:
    """
    From the beginning or a checkpoint; the first state that differs is named, with what
    the last event changed.
    """
    async with stores(1) as (_, (store,)):
        await wrote(store)
        done = await store.replay("a", counted)
        later = await store.verify_replay("a", counted, checkpoint_id=1)

        def off(state: Any, event: Event) -> dict[str, int]:
            after = counted(state, event)
            return after | {"sum": after["sum"] + (event.seq == 3)}

        found, _ = await diverged(store, off)

        async def coroutine(state: Any, event: Event) -> dict[str, int]:
            return counted(state, event)

        same = await store.replay("a", coroutine)

    assert (done.events, done.hashes_compared, done.checkpoints_compared) == (8, 4, 2)
    assert done.state == same.state == {"done": 4, "sum": 20 + 40 + 60 + 80}
    assert done.state_hash == raftstate.replay.state_hash(done.state)
    assert (later.events, later.state) == (4, done.state)
    assert (found.seq, found.checkpoint_id) == (4, 0)
    assert found.expected_hash == raftstate.replay.state_hash({"done": 2, "sum": 60})
    assert found.actual_hash == raftstate.replay.state_hash({"done": 2, "sum": 61})


@asynchronous
async def test_a_checkpoint_that_holds_another_state_is_named() -> None:
    """
    Where no event says what the state is: with what differs.
    """
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        for number in range(1, 4):
            async with agent.step() as step:
                step.event("n", number)
                step.checkpoint({"n": number if number != 2 else 20})

        def last(state: Any, event: Event) -> dict[str, int]:
            return {"n": int(raftstate.decode(event))}

        found, _ = await diverged(store, last)

    assert (found.seq, found.checkpoint_id) == (2, 2)
    assert found.differences == ("/n changed: 20 -> 2",)


@asynchronous
async def test_a_member_verifies_with_a_built_in_reducer() -> None:
    """
    And says the same of the first difference; a name that there is not is refused.
    """
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        state: dict[str, int] = {}
        for name in ("x", "y", "z"):
            state[name] = len(state)
            async with agent.step() as step:
                step.event("set", {name: state[name]}, state=state)
        done = await store.verify_replay("a", "merge_patch")
        part = await store.verify_replay("a", "merge_patch", to_seq=2)
        with pytest.raises(ReplayDiverged) as raised:
            await store.verify_replay("a", "last_value")
        with pytest.raises(InvalidRequest):
            await store.verify_replay("a", "guess")
        function: Any = counted
        with pytest.raises(TypeError, match="no options of reading"):
            await store.verify_replay("a", function, stale=True)

    assert (done.events, done.hashes_compared) == (3, 3)
    assert done.state_hash == raftstate.replay.state_hash(state)
    assert part.events == 2
    found = raised.value.divergence
    assert isinstance(found, Divergence)
    assert (found.seq, raised.value.details["incident_id"] != "") == (2, True)


@asynchronous
async def test_states_of_the_past_are_made_again() -> None:
    """
    By a member, by a function here, or as the checkpoint and the events that lead there.
    """
    then = 0
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        for number in range(1, 8):
            async with agent.step() as step:
                step.event("set", {str(number % 3): number})
                if number == 3:
                    step.checkpoint({"0": 3, "1": 1, "2": 2})
            if number == 5:
                then = step.revision
        now = await store.reconstruct("a", reducer="merge_patch")
        fifth = await store.reconstruct("a", event_seq=5, reducer="merge_patch")
        past = await store.reconstruct("a", at_revision=then, reducer="merge_patch")

        def merged(state: Any, event: Event) -> Any:
            return state | raftstate.decode(event)

        here = await store.reconstruct("a", event_seq=5, reducer=merged)
        lead = await store.reconstruct("a", event_seq=5)
        first = await store.reconstruct("a", event_seq=2, reducer=merged, default={})

    assert now.state == {"0": 6, "1": 7, "2": 5}
    assert fifth.state == past.state == here.state == {"0": 3, "1": 4, "2": 5}
    assert fifth.state_hash == here.state_hash
    assert (lead.checkpoint_id, lead.state) == (1, {"0": 3, "1": 1, "2": 2})
    assert [event.seq for event in lead.events] == [4, 5]
    assert first.state == {"1": 1, "2": 2}


@asynchronous
async def test_long_ways_to_a_state_are_read_to_their_end() -> None:
    """
    What one answer has no room for is read, in order.
    """
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        for _ in range(5):
            async with agent.step() as step:
                step.event("n", "x" * 400_000)
        lead = await store.reconstruct("a")

    assert [event.seq for event in lead.events] == [1, 2, 3, 4, 5]


@asynchronous
async def test_what_a_member_cannot_compare_is_said() -> None:
    """
    Events that hold no JSON have no built-in reducer, but one of the user's.
    """
    async with stores(1) as (_, (store,)), store.own("a") as agent:
        async with agent.step() as step:
            step.event("raw", b"\x00", state=b"\x00")
        with pytest.raises(NotComparable):
            await store.verify_replay("a", "merge_patch")
        done = await store.replay("a", lambda _, event: event.data)

    assert (done.state, done.hashes_compared) == (b"\x00", 1)


@asynchronous
async def test_steps_without_events_do_not_confuse_a_replay() -> None:
    """
    They are counted, so that what is drawn in a step is found there.
    """
    numbers = itertools.count(1)

    async def run(agent: Any) -> None:
        for number in range(6):
            async with agent.step() as step:
                drawn = await step.record("n", lambda: next(numbers))
                if number % 2:
                    step.event("n", drawn)

    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            await run(agent)
        done = await store.replay("a", run)
        written = [raftstate.decode(event) async for event in store.read_events("a")]

    assert written == [2, 4, 6]
    assert done.events == 3


@asynchronous
async def test_an_effect_that_was_done_anew_gives_what_it_gave_then() -> None:
    """
    Where it was not done the first time, and the step was done again.
    """
    tried: list[str] = []

    async def act(call: Any) -> str:
        tried.append(call.effect_id)
        if len(tried) == 1:
            raise raftstate.NotDone("not yet")
        return "done"

    async def run(agent: Any) -> None:
        async with agent.step() as step:
            step.event("said", await step.effect("tell", do=act, kind="irreversible"))

    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            with pytest.raises(raftstate.NotDone):
                await run(agent)
            await run(agent)
        done = await store.replay("a", run)
        written = [raftstate.decode(event) async for event in store.read_events("a")]

    assert tried == ["1/tell/1", "1/tell/1~2"]
    assert written == ["done"]
    assert done.events == 1


@asynchronous
async def test_sagas_do_nothing_in_a_replay() -> None:
    """
    Their steps give what they gave, or raise as they did; nothing is undone once more.
    """
    acted: list[str] = []
    registry = raftstate.Registry()

    @registry.compensation("cancel")
    async def cancel(call: Any) -> None:
        acted.append(f"cancel {call.args}")

    async def book(call: Any) -> str:
        if call.args == "car":
            raise raftstate.NotDone("no cars left")
        acted.append(f"book {call.args}")
        return f"booked {call.args}"

    async with stores(1) as (bench, _):
        address = f"127.0.0.1:{bench.port}"
        async with raftstate.connect(address, registry=registry) as store:

            async def run(agent: Any) -> None:
                for trip, wanted in enumerate((["hotel"], ["flight", "car"])):
                    try:
                        async with store.saga(f"trip/{trip}", agent=agent) as saga:
                            said: list[Any] = []
                            for one in wanted:
                                said.append(  # noqa: PERF401  # what came before it failed
                                    await saga.step(one, one, do=book, undo=cancel)
                                )
                    except raftstate.NotDone as error:
                        said = [str(error)]
                    async with agent.step() as step:
                        step.event("travelled", said)

            async with store.own("a") as agent:
                await run(agent)
            before = list(acted)
            done = await store.replay("a", run)
            written = [raftstate.decode(event) async for event in store.read_events("a")]

    assert before == acted == ["book hotel", "book flight", "cancel flight"]
    assert written == [["booked hotel"], ["no cars left"]]
    assert done.events == 2


@asynchronous
async def test_what_a_rollback_has_undone_is_not_replayed() -> None:
    """
    The replay goes on behind it, and finds what was drawn there.
    """
    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            await Job(range(2))(agent)
            await agent.checkpoint({"done": 2, "sum": 60})
            async with agent.step() as step:
                step.event("wrong", await step.record("n", lambda: 7))
        await store.rollback("a", to=raftstate.before_event(5))
        async with store.own("a") as agent:
            await Job(range(4))(agent)
        undone = [event.seq async for event in store.read_events("a") if event.undone_by]
        done = await store.replay("a", Job(range(9)))
        folded = await store.replay("a", counted)

    assert undone == [5]
    assert done.events == folded.events == 8


@asynchronous
async def test_steps_that_a_rollback_gave_up_are_passed_over_even_without_events() -> None:
    """
    Of the steps that were given up the last ones wrote nothing, and once none wrote
    anything: what the steps after them drew is found all the same.
    """
    numbers = itertools.count(1)

    async def draws(agent: Any, *, says: bool) -> None:
        async with agent.step() as step:
            drawn = await step.record("n", lambda: next(numbers))
            if says:
                step.event("n", drawn)

    async def run(agent: Any) -> None:
        await draws(agent, says=True)
        await draws(agent, says=False)
        await draws(agent, says=True)

    async with stores(1) as (_, (store,)):
        async with store.own("a") as agent:
            await draws(agent, says=True)
            await agent.checkpoint({})
            for says in (True, False, False):
                await draws(agent, says=says)
        await store.rollback("a", to=raftstate.before_event(2))
        async with store.own("a") as agent:
            await draws(agent, says=False)
        await store.rollback("a", to=raftstate.to_checkpoint(1))
        async with store.own("a") as agent:
            await draws(agent, says=False)
            await draws(agent, says=True)
        done = await store.replay("a", run)
        undone = [one.undone_by async for one in store.read_events("a")]

    assert [bool(by) for by in undone] == [False, True, False]
    assert done.events == 2


@asynchronous
async def test_states_are_compared_wherever_the_replay_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Of a large state only every so many steps have a hash: which ones depends on where the
    run began, and not on where the replay does.
    """
    monkeypatch.setattr(recordings, "HASHED_BYTES", 10)
    async with stores(1) as (_, (store,)):
        await wrote(store, 8)
        hashed = [one.seq async for one in store.read_events("a") if one.state_hash]
        done = await store.replay("a", Job(range(8)), from_checkpoint=1)
        after = (await store.get_checkpoint("a", 1)).event_seq

    behind = [seq for seq in hashed if seq > after]
    assert len(hashed) == len(behind) + 1 < 4
    assert done.hashes_compared == len(behind) > 0
