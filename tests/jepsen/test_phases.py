"""A whole run as a generator, played without a cluster and without time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from itertools import pairwise

from jepsen_like import generator as gen
from jepsen_like.history import NEMESIS, Event
from jepsen_like.nemesis.schedule import Planned
from jepsen_like.phases import (
    BEGIN,
    END,
    FAULTS,
    HEAL,
    SETTLE,
    WARM_UP,
    AllFree,
    Beside,
    timeline,
    whole,
)
from jepsen_like.protocols import (
    Client,
    Context,
    Fault,
    Generator,
    Op,
    Pending,
    Record,
    Site,
    Verdict,
    Workload,
)

NODES = ("n1", "n2", "n3")
FAULT_A = Planned(2.0, Fault("kill-one", 3.0, {"nth": 1}))
FAULT_B = Planned(4.0, Fault("clock-jump", 2.5))


def no_client(_: Site, __: int) -> Client:
    raise AssertionError("nobody asks for a client here")


def no_check(_: Record) -> list[Verdict]:
    return []


def workload(name: str, threads: int, rate: float) -> Workload:
    def final(seed: int, nodes: tuple[str, ...]) -> Generator:
        return gen.InOrder(*(Op(name, "final", node) for node in nodes))

    return Workload(
        name=name,
        threads=threads,
        rate=rate,
        client=no_client,
        generator=lambda seed: gen.Draw(seed, lambda draws, n: Op(name, "do", str(n))),
        final=final,
        check=no_check,
    )


WORKLOADS = {"a": workload("a", 3, 20.0), "b": workload("b", 2, 10.0)}
THREADS = ("a/0", "a/1", "a/2", "b/0", "b/1", "nemesis")


def play(generator: Generator, seconds: float = 600.0) -> list[tuple[float, str, Op]]:
    """What is done, when and by whom, if every operation takes some milliseconds."""
    draws = random.Random(1)
    now, done, free = 0.0, list[tuple[float, str, Op]](), set(THREADS)
    running: list[tuple[float, int, str, Op]] = []
    while now < seconds:
        while running and running[0][0] <= now:
            _, _, thread, op = heapq.heappop(running)
            free.add(thread)
            generator = generator.update(
                context(now, free), thread, event(now, thread, op, "ok")
            )
        answer, generator = gen.ask(generator, context(now, free))
        if answer is None:
            return done
        if isinstance(answer, Pending) or (answer[0].time or 0.0) > now:
            now += 0.01
            continue
        op, generator = answer
        assert op.thread in free
        free.remove(op.thread)
        done.append((now, op.thread, op))
        generator = generator.update(
            context(now, free), op.thread, event(now, op.thread, op, "invoke")
        )
        heapq.heappush(running, (now + draws.uniform(0.002, 0.05), len(done), op.thread, op))
    raise AssertionError(f"not over after {seconds} s")


def context(now: float, free: set[str]) -> Context:
    return Context(now, THREADS, frozenset(free))


def event(now: float, thread: str, op: Op, type_: str) -> Event:
    process = NEMESIS if thread == "nemesis" else THREADS.index(thread)
    return Event(0, now, type_, process, op.workload, op.f, op.key)  # type: ignore[arg-type]


def story(schedule: Sequence[Planned]) -> Generator:
    return whole(
        WORKLOADS,
        schedule,
        seed=5,
        nodes=NODES,
        warm_up_s=3.0,
        time_s=12.0,
        quiet_s=4.0,
        load=2.0,
    )


def test_phases_come_in_order() -> None:
    """
    Warm-up, faults as planned, heal, quiet, settle, final reads: nothing before its time.
    """
    done = play(story([FAULT_A, FAULT_B]))
    stages = [(time, op.f, op.key) for time, thread, op in done if thread == "nemesis"]
    assert [(f, key) for _, f, key in stages] == [
        ("run", WARM_UP),
        ("run", FAULTS),
        ("kill-one", BEGIN),
        ("clock-jump", BEGIN),
        ("kill-one", END),
        ("clock-jump", END),
        ("run", HEAL),
        ("run", SETTLE),
    ]
    at = {(f, key): time for time, f, key in stages}
    assert 3.0 <= at["run", FAULTS] < 3.2
    assert 2.0 <= at["kill-one", BEGIN] - at["run", FAULTS] < 2.2
    assert 5.0 <= at["kill-one", END] - at["run", FAULTS] < 5.2
    assert 12.0 <= at["run", HEAL] - at["run", FAULTS] < 12.3
    assert 4.0 <= at["run", SETTLE] - at["run", HEAL] < 4.3
    finals = [(time, op) for time, _, op in done if op.f == "final"]
    assert sorted((op.workload, op.key) for _, op in finals) == [
        (name, node) for name in "ab" for node in NODES
    ]
    assert min(time for time, _ in finals) > at["run", SETTLE]


def test_clients_work_until_the_quiet_time_is_over_and_share_the_rate() -> None:
    """
    There is no pause between phases, and rates are as the workloads' own to each other.
    """
    done = play(story([FAULT_A, FAULT_B]))
    work = [(time, op.workload) for time, _, op in done if op.f == "do"]
    gaps = [later - time for (time, _), (later, _) in pairwise(work)]
    assert max(gaps) < 0.6
    settled = next(time for time, _, op in done if op.key == SETTLE)
    assert settled - 0.5 < work[-1][0] <= settled
    of_a = sum(name == "a" for _, name in work)
    assert 0.8 < of_a / len(work) / (2 / 3) < 1.2
    assert 0.7 < len(work) / settled / 60.0 < 1.2


def test_no_faults_is_a_run_too() -> None:
    """
    Without a schedule the phase lasts as long, and the run ends.
    """
    done = play(story([]))
    assert {op.f for _, thread, op in done if thread == "nemesis"} == {"run"}
    assert done[-1][2].f == "final"


def test_overlapping_faults_keep_their_order() -> None:
    """
    Each end comes after its beginning, at its time, with the same value.
    """
    assert [(time, op.f, op.key) for time, op in timeline([FAULT_A, FAULT_B])] == [
        (2.0, "kill-one", BEGIN),
        (4.0, "clock-jump", BEGIN),
        (5.0, "kill-one", END),
        (6.5, "clock-jump", END),
    ]
    values = [op.value for _, op in timeline([FAULT_A])]
    assert values == [{"seconds": 3.0, "nth": 1}] * 2


def test_beside_ends_with_the_leading_one() -> None:
    """
    However much the other one still has to say.
    """
    leading = gen.On("nemesis", gen.Sleep(1.0))
    beside = gen.On("a", gen.at_rate(10.0, gen.Repeat(Op("a", "do"))))
    done = play(Beside(leading, beside))
    assert 4 <= len(done) <= 16
    assert done[-1][0] <= 1.0


def test_a_run_begins_when_all_clients_are_open_or_after_a_bound() -> None:
    """
    A thread that is not free yet holds up the first phase, but not for ever.
    """
    waiting = AllFree(5.0)
    some, everybody = frozenset(THREADS[1:]), frozenset(THREADS)
    answer, waiting_since = gen.ask(waiting, Context(10.0, THREADS, some))
    assert isinstance(answer, Pending)
    for time, free, over in ((14.9, some, False), (15.0, some, True), (11.0, everybody, True)):
        answer, _ = gen.ask(waiting_since, Context(time, THREADS, free))
        assert (answer is None) is over
