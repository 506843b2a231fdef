"""The register workload: pure draws, honest answers, and a checker that rejects."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jepsen_like.history import Event, Type
from jepsen_like.interpreter import Tally
from jepsen_like.protocols import (
    PENDING,
    Context,
    Generator,
    LoggedEvent,
    Op,
    Record,
    Site,
    Workload,
)
from jepsen_like.workloads import register
from jepsen_like.workloads import set as set_
from raftstate.localcluster import LocalCluster
from tests.client.scripted import asynchronous
from tests.jepsen.driving import committed, driven, record_of, with_event
from tests.rpc.harness import Bench, bench

THREADS = tuple(f"register/{number}" for number in range(register.THREADS))


# --- playing a generator -------------------------------------------------------


def play(
    generator: Generator,
    count: int,
    answer: Callable[[Op], Any],
    free: Callable[[int], Iterable[str]] = lambda _: THREADS,
) -> list[Op]:
    """The next operations, each answered at once with `answer` (None: it failed)."""
    done = []
    for number in range(count):
        context = Context(number / 10, THREADS, frozenset(free(number)))
        found = generator.op(context)
        assert isinstance(found, tuple)
        assert generator.op(context) == found  # asking changes nothing
        op, generator = found
        done.append(op)
        assert op.thread is not None
        value = answer(op)
        kind: Type = "fail" if value is None else "ok"
        for event in (
            Event(0, 0.0, "invoke", 0, "register", op.f, op.key, op.value),
            Event(0, 0.0, kind, 0, "register", op.f, op.key, value),
        ):
            generator = generator.update(context, op.thread, event)
    return done


def at_step(number: int) -> Callable[[Op], Any]:
    return lambda op: {"step": number, "id": "x"}


def by_thread(ops: Sequence[Op]) -> dict[str | None, list[Op]]:
    found: dict[str | None, list[Op]] = defaultdict(list)
    for op in ops:
        found[op.thread].append(op)
    return found


def test_the_same_seed_draws_the_same_operations() -> None:
    """
    Everything follows from the seed and from what was answered.
    """
    draw = register.workload().generator

    assert play(draw(7), 500, at_step(3)) == play(draw(7), 500, at_step(3))
    assert play(draw(7), 500, at_step(3)) != play(draw(8), 500, at_step(3))


def test_what_a_thread_does_depends_on_no_other_thread() -> None:
    """
    Kinds and ids of a thread's operations are the same, however the threads interleave.
    """

    def said(ops: list[Op]) -> list[tuple[str, Any]]:
        return [(op.f, (op.value or {}).get("id")) for op in ops]

    def drawn(free: Callable[[int], Iterable[str]]) -> dict[str | None, list[Op]]:
        # Fewer operations than a key has, so that every thread knows every key for long.
        first = play(register.Registers(7), 150, at_step(3), free)
        return by_thread(first)

    all_free, odd_first = drawn(lambda _: THREADS), drawn(lambda n: THREADS[n % 2 :: 2])

    for thread in THREADS:
        ours, theirs = said(all_free[thread]), said(odd_first[thread])
        shared = min(len(ours), len(theirs))
        known = [(a, b) for a, b in zip(ours[:shared], theirs[:shared], strict=True)]
        # A cas turns into a read where the thread has not seen that key yet, which the
        # interleaving does decide once keys are left; nothing else may differ.
        assert shared > 10
        assert all(a == b or {a[0], b[0]} == {"cas", "read"} for a, b in known)


def test_keys_are_left_for_new_ones() -> None:
    """
    Three are alive at once, and none has more operations than can be judged as a whole.
    """
    ops = play(register.Registers(3), 3_000, at_step(1))
    used = Counter(op.key for op in ops)
    first = {key: place for place, key in reversed(list(enumerate(op.key for op in ops)))}
    last = {key: place for place, key in enumerate(op.key for op in ops)}
    most = max(
        sum(first[key] <= place <= last[key] for key in used) for place in range(0, 3_000, 7)
    )

    assert max(used.values()) == register.KEY_OPS
    assert most == register.KEYS_ALIVE
    assert sorted(used, key=int) == [str(number) for number in range(len(used))]


def test_every_kind_is_drawn_and_stale_reads_by_pinned_threads_only() -> None:
    """
    Who asks through the SDK has no member of its own to be stale at.
    """
    ops = play(register.Registers(5), 2_000, at_step(1))
    kinds = Counter(op.f for op in ops)
    stale = {op.thread for op in ops if op.f == "stale-read"}

    assert kinds.keys() == {"read", "stale-read", "cas", "write"}
    assert min(kinds.values()) > 150
    assert stale == set(THREADS[register.SDK_THREADS :])


def test_every_id_is_drawn_once() -> None:
    """
    An unknown outcome is looked up by its id.
    """
    ids = [op.value["id"] for op in play(register.Registers(5), 3_000, at_step(1)) if op.value]

    assert len(ids) == len(set(ids)) > 1_500


def test_a_cas_expects_what_its_thread_was_told_last() -> None:
    """
    Of that key, by an answer that is not stale; without one it reads.
    """
    told: dict[tuple[str | None, str], int] = {}
    steps = iter(range(10_000))

    def answer(op: Op) -> Any:
        if op.f == "cas":
            assert op.value["expected"] == told[op.thread, op.key]
        step = next(steps)
        if step % 5 == 0:
            return None
        if op.f != "stale-read":
            told[op.thread, op.key] = step
        return {"step": step}

    ops = play(register.Registers(5), 1_000, answer)
    never = play(register.Registers(5), 300, lambda _: None)

    assert sum(op.f == "cas" for op in ops) > 100
    assert not [op for op in never if op.f == "cas"]


def test_without_a_free_thread_there_is_nothing_to_do_now() -> None:
    """
    It goes on for ever, and says so.
    """
    assert register.Registers(1).op(Context(0.0, THREADS, frozenset())) is PENDING


# --- the client ----------------------------------------------------------------


def client_of(work: Workload, served: Bench, number: int) -> Any:
    return work.client(Site({"n1": f"127.0.0.1:{served.port}"}, "run", 1, Path()), number)


def op_of(f: str, value: Any = None) -> Op:
    return Op("register", f, "0", value)


@pytest.mark.parametrize("number", [0, register.SDK_THREADS], ids=["sdk", "pinned"])
def test_answers_say_what_the_register_holds_and_where(number: int) -> None:
    """
    Both ways: nothing at first, then the newest step and its writer; each at a revision.
    """

    @asynchronous
    async def run() -> None:
        work = register.workload()
        async with bench() as served:
            client = client_of(work, served, number)
            await client.open()
            try:
                asked = [
                    op_of("read"),
                    op_of("write", {"id": "a"}),
                    op_of("cas", {"id": "b", "expected": 1}),
                    op_of("cas", {"id": "c", "expected": 1}),
                    op_of("read"),
                    op_of("stale-read"),
                ]
                done = [await client.invoke(op) for op in asked]
            finally:
                await client.close()

        assert [one.type for one in done] == ["ok"] * 6
        assert [one.value for one in done] == [
            {"step": 0, "id": None},
            {"step": 1},
            {"swapped": True, "step": 2},
            {"swapped": False, "step": 2},
            {"step": 2, "id": "b"},
            {"step": 2, "id": "b", "asked": "n1"},
        ]
        places = [one.revision for one in done]
        assert places[3] == 0  # a refusal has no header
        assert 0 <= places[0] < places[1] < places[2] < places[4] == places[5]
        assert {one.node for one in done} - {""} == {"n1"}

    run()


@asynchronous
async def test_a_follower_refuses_and_answers_stale_reads() -> None:
    """
    NOT_LEADER is certain, for reads and steps; a stale read needs no leader.
    """
    work = register.workload()
    async with bench() as served:
        client = client_of(work, served, register.SDK_THREADS)
        await client.open()
        await client.invoke(op_of("write", {"id": "a"}))
        served.fake.depose("n2")
        read = await client.invoke(op_of("read"))
        write = await client.invoke(op_of("write", {"id": "b"}))
        stale = await client.invoke(op_of("stale-read"))
        served.fake.failing = None
        served.fake.forgetful = True
        unknown = await client.invoke(op_of("write", {"id": "c"}))
        served.fake.forgetful = False
        await client.close()

    assert (read.type, write.type, stale.type, unknown.type) == ("fail", "fail", "ok", "info")
    assert read.error.startswith("NOT_LEADER")
    assert unknown.error.startswith("OUTCOME_UNKNOWN")
    assert stale.value == {"step": 1, "id": "a", "asked": stale.node}


@asynchronous
async def test_an_operation_that_it_does_not_know_is_a_defect() -> None:
    """
    It raises, so that nobody takes it for an outcome.
    """
    async with bench() as served:
        with pytest.raises(ValueError, match="append"):
            await client_of(register.workload(), served, 0).invoke(op_of("append"))


# --- the whole of it -----------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What a second of work on a sound cluster of one leaves behind."""
    found: list[Record] = []

    @asynchronous
    async def run() -> None:
        async with bench() as served:
            folder = tmp_path_factory.mktemp("sound")
            site = Site({"n1": f"127.0.0.1:{served.port}"}, "run", 3, folder)
            events, tally = await driven([register.workload()], site, 1.0, rate=4.0)
            assert tally.fail == tally.info == 0
            found.append(record_of(site, ["register"], events, await committed(site)))

    run()
    return found[0]


def test_a_sound_run_is_valid(sound: Record) -> None:
    """
    Both checkers have all of it, and nothing against it.
    """
    verdicts = register.workload().check(sound)

    assert [(one.name, one.validity) for one in verdicts] == [
        ("register:witness", "valid"),
        ("register:linear", "valid"),
    ]
    assert verdicts[0].figures["operations"] > 100


def ok_of(record: Record, f: str) -> Event:
    """An answer late in the run, to a register that was written often."""
    return [one for one in record.events if one.type == "ok" and one.f == f][-5]


def test_a_read_of_the_past_is_rejected(sound: Record) -> None:
    """
    By its revision, and without looking at any.
    """
    read = ok_of(sound, "read")
    first = next(one for one in sound.log if one.stream == f"run/register/{read.key}")
    value = {"step": 1, "id": first.data.split('"')[3]}
    witness, linear = register.workload().check(with_event(sound, replace(read, value=value)))

    assert read.value["step"] > 2
    assert (witness.validity, linear.validity) == ("invalid", "invalid")


def test_a_stale_read_of_what_never_was_is_rejected(sound: Record) -> None:
    """
    Some earlier state is allowed; an invented one is not.
    """
    read = ok_of(sound, "stale-read")
    value = {"step": read.value["step"], "id": "r0-99999"}
    witness, _ = register.workload().check(with_event(sound, replace(read, value=value)))

    assert witness.validity == "invalid"


def test_a_lost_write_is_rejected(sound: Record) -> None:
    """
    What was acknowledged is in the log.
    """
    write = ok_of(sound, "write")
    lost = [one for one in sound.log if one.revision != write.revision]
    witness, _ = register.workload().check(replace(sound, log=lost))

    assert len(lost) == len(sound.log) - 1
    assert witness.validity == "invalid"


# --- against real members --------------------------------------------------------


async def _break(cluster: LocalCluster, after: float, down: float) -> str:
    """Kill the leader when it is time, and start it again after a while."""
    await asyncio.sleep(after)
    leader = await asyncio.to_thread(cluster.wait_leader)
    await asyncio.to_thread(cluster.kill, leader)
    await asyncio.sleep(down)
    await asyncio.to_thread(cluster.start_node, leader)
    return leader


async def _applied_everywhere(cluster: LocalCluster) -> None:
    async with asyncio.timeout(20.0):
        while True:
            reports = await asyncio.to_thread(cluster.status)
            applied = {one.status.applied_index if one.status else -1 for one in reports}
            if len(applied) == 1 and -1 not in applied:
                return
            await asyncio.sleep(0.05)


@pytest.mark.live
@pytest.mark.slow  # every check has a run with this in it
def test_outcomes_are_consistent_with_the_log_when_the_leader_is_killed(
    tmp_path: Path,
) -> None:
    """
    Registers and a set on three real members; SIGKILL of the leader in the middle. What
    was acknowledged is in the log, what failed is not, and the checkers agree.
    """
    works = [register.workload(), set_.workload()]
    snapshots = {"snapshot": {"log_entries": 100, "keep_entries": 20}}
    with LocalCluster.create(tmp_path / "c", 3, overrides=snapshots) as cluster:

        async def run() -> tuple[list[Event], Tally, list[LoggedEvent], list[Event]]:
            breaking = asyncio.create_task(_break(cluster, after=2.5, down=1.0))
            events, tally = await driven(works, site, 6.0, rate=2.0)
            await breaking
            await _applied_everywhere(cluster)
            (tmp_path / "after").mkdir()
            after = replace(site, folder=tmp_path / "after")
            # Asked again, now that every member has applied everything.
            last, _ = await driven([set_.workload()], after, 0.0, rate=1.0)
            return events, tally, await committed(site), last

        members = cluster.members.values()
        site = Site({one.id: one.api for one in members}, "run", 11, tmp_path)
        events, tally, log, last = asyncio.run(run())

    ok = Counter((one.workload, one.f) for one in events if one.type == "ok")
    threads = {one.process % 10 for one in events if one.type == "ok"}
    assert tally.raised == tally.hung == tally.deaf == tally.close_failures == 0
    assert tally.ok > 0.8 * tally.ops > 400
    assert all(ok["register", f] > 20 for f in ("read", "stale-read", "write", "cas"))
    assert threads == set(range(10))

    stored = {one.data.split('"')[3] for one in log}
    said = {"ok": set[str](), "fail": set[str]()}
    asked: dict[int, Event] = {}
    for one in events:
        if one.type == "invoke":
            asked[one.process] = one
        elif one.type in said and one.f in ("write", "cas", "add"):
            swapped = one.type == "fail" or one.value.get("swapped", True)
            if swapped:
                said[one.type].add(asked[one.process].value["id"])
    assert said["ok"] <= stored
    assert not said["fail"] & stored

    record = record_of(site, ["register", "set"], events, log)
    verdicts = works[0].check(record)
    assert {one.validity for one in verdicts} == {"valid"}, verdicts
    held = [one.value["ids"] for one in last if one.type == "ok" and one.f == "read-node"]
    adds = [one.data.split('"')[3] for one in log if one.type == "set"]
    assert held == [adds] * 3
