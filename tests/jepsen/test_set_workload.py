"""The set workload: unique elements, all of them read, and a checker that rejects."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jepsen_like.history import Event
from jepsen_like.protocols import PENDING, Context, Generator, Op, Record, Site
from jepsen_like.workloads import set as set_
from jepsen_like.workloads.asking import TRIES_MAX, ask_all
from tests.client.scripted import asynchronous
from tests.jepsen.driving import committed, driven, record_of, with_event
from tests.rpc.harness import bench

THREADS = tuple(f"set/{number}" for number in range(set_.THREADS))


def context(time: float, *free: str) -> Context:
    return Context(time, THREADS, frozenset(free or THREADS))


def play(seed: int, count: int, gap: float) -> list[tuple[float, Op]]:
    """Operations at even times."""
    generator = set_.workload().generator(seed)
    done = []
    for number in range(count):
        found = generator.op(context(number * gap))
        assert isinstance(found, tuple)
        assert generator.op(context(number * gap)) == found
        done.append((number * gap, found[0]))
        generator = found[1]
    return done


# --- what to do ----------------------------------------------------------------


def test_the_same_seed_draws_the_same_operations() -> None:
    """
    Which thread does the next one is all that is drawn.
    """
    assert play(7, 300, 0.04) == play(7, 300, 0.04)
    assert play(7, 300, 0.04) != play(8, 300, 0.04)


def test_elements_are_added_once_and_read_now_and_then() -> None:
    """
    Every id is another one; a read comes about every five seconds, by anybody.
    """
    ops = play(7, 4_500, 0.04)  # three minutes
    ids = [op.value["id"] for _, op in ops if op.f == "add"]
    reads = [time for time, op in ops if op.f == "read"]
    gaps = [after - before for before, after in pairwise(reads)]

    assert len(ids) == len(set(ids)) == len(ops) - len(reads)
    assert 20 < len(reads) < 36
    assert 4.9 < min(gaps) <= max(gaps) < 8.0
    assert len({op.thread for _, op in ops if op.f == "read"}) == set_.THREADS
    assert set(Counter(op.thread for _, op in ops)) == set(THREADS)


def test_without_a_free_thread_there_is_nothing_to_do_now() -> None:
    """
    It goes on for ever, and says so.
    """
    assert set_.Adds(1).op(Context(0.0, THREADS, frozenset())) is PENDING


# --- final questions -----------------------------------------------------------


def told(generator: Generator, thread: str, op: Op, kind: Any) -> Generator:
    event = Event(0, 0.0, kind, 0, "set", op.f, op.key, op.value)
    return generator.update(context(0.0), thread, event)


def taken(generator: Generator, *free: str) -> tuple[Op, Generator]:
    found = generator.op(context(0.0, *free))
    assert isinstance(found, tuple)
    return found


def test_the_last_reads_are_of_the_cluster_and_of_every_member() -> None:
    """
    Each is asked once if it is answered, and then it is over.
    """
    generator = set_.workload().final(1, ("n1", "n2"))
    asked = []
    for thread in THREADS[:3]:
        op, generator = taken(generator, thread)
        asked.append((op.thread, op.f, op.value))
        generator = told(generator, thread, op, "invoke")
    assert generator.op(context(0.0)) is PENDING
    for thread, (_, f, value) in zip(THREADS[:3], asked, strict=True):
        generator = told(generator, thread, Op("set", f, "0", value), "ok")

    assert asked == [
        ("set/0", "read", None),
        ("set/1", "read-node", {"node": "n1"}),
        ("set/2", "read-node", {"node": "n2"}),
    ]
    assert generator.op(context(0.0)) is None


def test_what_was_not_answered_is_asked_again_but_not_for_ever() -> None:
    """
    By whoever is free then; a member that never answers does not hold up the end.
    """
    op = Op("set", "read-node", "0", {"node": "n1"})
    generator: Generator = ask_all(op)
    asked = 0
    while (found := generator.op(context(0.0, THREADS[asked % 3]))) is not None:
        assert isinstance(found, tuple)
        assert found[0] == replace(op, thread=THREADS[asked % 3])
        kind = "info" if asked % 2 else "fail"
        generator = told(found[1], THREADS[asked % 3], op, kind)
        asked += 1

    assert asked == TRIES_MAX


def test_the_end_of_something_else_is_no_answer() -> None:
    """
    A thread may still be at an operation that was begun before.
    """
    op = Op("set", "read", "0")
    generator: Generator = ask_all(op)
    generator = told(generator, "set/1", op, "fail")
    _, generator = taken(generator, "set/0")
    generator = told(generator, "set/1", op, "ok")

    assert generator.op(context(0.0, "set/2")) is PENDING


# --- doing it ------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, set_.SDK_THREADS], ids=["sdk", "single attempts"])
def test_elements_are_answered_in_the_order_of_the_log(number: int) -> None:
    """
    Nothing at first; then what was added, as the cluster and as a member say it.
    """

    @asynchronous
    async def run() -> None:
        work = set_.workload()
        async with bench() as served:
            site = Site({"n1": f"127.0.0.1:{served.port}"}, "run", 1, Path())
            client = work.client(site, number)
            await client.open()
            try:
                empty = await client.invoke(Op("set", "read", "0"))
                added = [
                    await client.invoke(Op("set", "add", "0", {"id": identity}))
                    for identity in ("a", "b")
                ]
                read = await client.invoke(Op("set", "read", "0"))
                held = await client.invoke(Op("set", "read-node", "0", {"node": "n1"}))
                served.fake.forgetful = True
                open_ = await work.client(site, 1).invoke(Op("set", "add", "0", {"id": "c"}))
                served.fake.forgetful = False
                served.fake.quarantined = True
                gone = await client.invoke(Op("set", "read-node", "0", {"node": "n1"}))
                served.fake.quarantined = False
                with pytest.raises(ValueError, match="remove"):
                    await client.invoke(Op("set", "remove", "0"))
            finally:
                await client.close()

        assert empty.value == {"ids": []}
        assert [one.value for one in added] == [
            {"position": 1, "step": 1},
            {"position": 2, "step": 2},
        ]
        assert 0 < added[0].revision < added[1].revision == read.revision == held.revision
        assert read.value == held.value == {"ids": ["a", "b"]}
        assert (open_.type, gone.type) == ("info", "fail")
        assert gone.node == "n1"

    run()


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
            events, tally = await driven([set_.workload()], site, 1.0, rate=4.0)
            assert tally.fail == tally.info == 0
            found.append(record_of(site, ["set"], events, await committed(site)))

    run()
    return found[0]


def test_a_sound_run_is_valid(sound: Record) -> None:
    """
    Every element is in the last reads.
    """
    (verdict,) = set_.workload().check(sound)

    assert (verdict.name, verdict.validity) == ("set:full", "valid")
    assert verdict.figures["stable"] > 50


@pytest.mark.parametrize("f", ["read", "read-node"])
def test_a_missing_element_is_rejected(sound: Record, f: str) -> None:
    """
    In what the cluster says, and in what one member holds.
    """
    read = next(one for one in sound.events if one.type == "ok" and one.f == f)
    value = {"ids": read.value["ids"][:10] + read.value["ids"][11:]}
    (verdict,) = set_.workload().check(with_event(sound, replace(read, value=value)))

    assert verdict.validity == "invalid"
