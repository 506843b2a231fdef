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
    Lane,
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
FAULT_B = Planned(4.0, Fault("clock-jump", 2.5), beside=True)


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
THREADS = ("a/0", "a/1", "a/2", "b/0", "b/1", *gen.NEMESIS_THREADS)


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
    process = THREADS.index(thread) if gen.is_client(thread) else NEMESIS
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
    stages = [(time, op.f, op.key) for time, thread, op in done if not gen.is_client(thread)]
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
    assert {op.f for _, thread, op in done if not gen.is_client(thread)} == {"run"}
    assert done[-1][2].f == "final"


def played(
    lane: Lane, takes: dict[str, float], seconds: float = 60.0
) -> list[tuple[str, float]]:
    """What a lane does and when, if beginnings and ends take so long."""
    generator: Generator = lane
    now, done, busy = 0.0, list[tuple[str, float]](), 0.0
    running: Op | None = None
    while now < seconds:
        now = round(now + 0.1, 1)
        if running is not None and now >= busy:
            ended = event(now, "nemesis", running, "info")
            generator, running = (
                generator.update(context(now, set(THREADS)), "nemesis", ended),
                None,
            )
        free = set(THREADS) if running is None else set(THREADS) - {"nemesis"}
        answer, generator = gen.ask(generator, context(now, free))
        if answer is None:
            return done
        if isinstance(answer, tuple) and (answer[0].time or 0.0) <= now:
            running, generator = answer
            done.append((f"{running.f} {running.key}", now))
            invoke = event(now, "nemesis", running, "invoke")
            generator = generator.update(context(now, free), "nemesis", invoke)
            busy = now + takes.get(done[-1][0], 0.0)
    raise AssertionError("it does not end")


def test_a_fault_lasts_from_when_it_was_really_begun() -> None:
    """
    However late: it keeps its length, and the next one its distance from its end.
    """
    schedule = (
        Planned(2.0, Fault("a", 3.0)),
        Planned(7.0, Fault("b", 4.0)),
        Planned(13.0, Fault("c", 1.0)),
    )
    prompt = [("a begin", 2.1), ("a end", 5.1), ("b begin", 7.1), ("b end", 11.1)]
    prompt += [("c begin", 13.1), ("c end", 14.1)]
    assert near(played(Lane(schedule, "nemesis", 99.0), {}), prompt)
    late = [("a begin", 2.1), ("a end", 5.1), ("b begin", 17.1), ("b end", 21.1)]
    late += [("c begin", 23.1), ("c end", 24.1)]
    assert near(played(Lane(schedule, "nemesis", 99.0), {"a end": 10.0}), late)
    slow = [("a begin", 2.1), ("a end", 12.1), ("b begin", 14.1), ("b end", 18.1)]
    assert near(played(Lane(schedule, "nemesis", 19.0), {"a begin": 10.0}), slow)


def near(found: list[tuple[str, float]], wanted: list[tuple[str, float]]) -> bool:
    """Whether the same was done at about the same times."""
    assert [what for what, _ in found] == [what for what, _ in wanted]
    return all(
        abs(one - other) < 0.5 for (_, one), (_, other) in zip(found, wanted, strict=True)
    )


def test_two_lanes_are_two_threads() -> None:
    """
    What goes beside others has a thread of its own, and they meet in one history.
    """
    done = play(story([FAULT_A, FAULT_B]))
    threads = {op.f: thread for _, thread, op in done if op.key in (BEGIN, END)}
    assert threads == {"kill-one": "nemesis", "clock-jump": "nemesis/beside"}
    order = [(op.f, op.key) for _, _, op in done if op.f in threads]
    assert order[:2] == [("kill-one", BEGIN), ("clock-jump", BEGIN)]


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
