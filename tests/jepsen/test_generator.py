"""Generators, played without clients and without time."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like import generator as gen
from jepsen_like.history import Event
from jepsen_like.protocols import PENDING, Context, Generator, Op, Pending

THREADS = ("a/0", "a/1", "b/0", "nemesis")
OP = Op("a", "do")
BEGIN, END = Op("nemesis", "kill", "begin"), Op("nemesis", "kill", "end")


def at(
    time: float, free: Sequence[str] = THREADS, threads: tuple[str, ...] = THREADS
) -> Context:
    return Context(time, threads, frozenset(free))


def given_op(generator: Generator, context: Context) -> tuple[Op, Generator]:
    """The operation that it must say now or later, and the generator after it."""
    answer, _ = gen.ask(generator, context)
    assert isinstance(answer, tuple), answer
    return answer


def answer_of(generator: Generator, context: Context) -> gen.Answer:
    return gen.ask(generator, context)[0]


def event(type_: str, op: Op, time: float, value: object = None) -> Event:
    return Event(0, time, type_, 0, op.workload, op.f, op.key, value)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Did:
    """What was done, when it began, and by whom."""

    time: float
    thread: str
    op: Op


def play(
    generator: Generator,
    *,
    threads: tuple[str, ...] = THREADS,
    seconds: float = 1_000.0,
    took: Callable[[Op], float] = lambda _: 0.005,
    most: int = 5_000,
) -> list[Did]:
    """All that is done, if operations take as long as `took` says and end as `ok`."""
    now, done, free = 0.0, list[Did](), set(threads)
    under_way: list[tuple[float, str, Op]] = []
    while now < seconds and len(done) < most:
        while under_way and under_way[0][0] <= now:
            _, thread, op = heapq.heappop(under_way)
            free.add(thread)
            generator = generator.update(
                at(now, tuple(free), threads), thread, event("ok", op, now)
            )
        answer, generator = gen.ask(generator, at(now, tuple(free), threads))
        if answer is None and not under_way:
            return done
        if isinstance(answer, tuple) and answer[0].time is not None and answer[0].time <= now:
            op, generator = answer
            assert op.thread in free
            done.append(Did(now, op.thread, op))
            free.discard(op.thread)
            heapq.heappush(under_way, (now + took(op), op.thread, op))
            generator = generator.update(
                at(now, tuple(free), threads), op.thread, event("invoke", op, now)
            )
            continue
        until = now + 0.01
        if isinstance(answer, tuple) and answer[0].time is not None:
            until = min(until, answer[0].time)
        if under_way:
            until = min(until, under_way[0][0])
        now = until
    return done


def numbered(prefix: str, workload: str = "a") -> gen.Draw:
    """Endless operations, by their place and a draw."""
    return gen.Draw(
        prefix, lambda draws, n: Op(workload, "do", f"{prefix}-{n}", draws.randrange(1_000))
    )


def keys(done: Sequence[Did]) -> list[str]:
    return [one.op.key for one in done]


# --- what says operations by itself --------------------------------------------


def test_once_is_said_once() -> None:
    """
    One operation, by a free thread of its workload, now; after that, nothing.
    """
    op, after = given_op(gen.Once(OP), at(3.0, ["a/1", "b/0"]))

    assert (op.thread, op.time) == ("a/1", 3.0)
    assert answer_of(after, at(3.0)) is None


@pytest.mark.parametrize(
    "generator",
    [
        gen.Once(OP),
        gen.InOrder(OP),
        gen.Repeat(OP),
        numbered("x"),
        gen.At((0.0, OP)),
        gen.Reactive(0, lambda state, _: (OP, state + 1), lambda state, _, __: state),
        gen.On("a", gen.PerThread(lambda _: gen.Once(OP))),
        gen.Stagger(1.0, gen.Repeat(OP)),
    ],
)
def test_nobody_free_is_pending(generator: Generator) -> None:
    """
    An operation whose threads are all busy is not said, and is not lost either.
    """
    assert isinstance(answer_of(generator, at(0.0, ["b/0", "nemesis"])), Pending)
    assert given_op(generator, at(0.0))[0].workload == "a"


def test_a_thread_that_does_not_exist_is_a_defect() -> None:
    """
    An operation that nobody could ever do raises, instead of being pending for ever.
    """
    for op in (Op("c", "do"), Op("a", "do", thread="a/7")):
        with pytest.raises(ValueError, match=r"none of|no thread"):
            gen.Once(op).op(at(0.0))
    with pytest.raises(ValueError, match="chooses none"):
        gen.On("c", gen.Once(OP)).op(at(0.0))


def test_in_order_and_repeat() -> None:
    """
    Operations come in their order, and threads take turns; a repeated one never ends.
    """
    done = play(gen.InOrder(*(Op("a", "do", str(n)) for n in range(5))))

    assert keys(done) == ["0", "1", "2", "3", "4"]
    assert {one.thread for one in done} == {"a/0", "a/1"}
    assert len(play(gen.Repeat(OP), most=50)) == 50


def test_a_draw_depends_on_its_seed_and_number_only() -> None:
    """
    Asked often or once, at any time and with anybody free, the n-th operation is the same.
    """

    def values(seed: str, contexts: Sequence[Context]) -> list[int]:
        found, generator = [], numbered(seed)
        for context in contexts:
            answer_of(generator, at(99.0))  # asked, and not made use of
            op, after = given_op(generator, context)
            found.append(op.value)
            assert isinstance(after, gen.Draw)
            generator = after
        return found

    usual = values("s", [at(float(n)) for n in range(20)])
    other = values("s", [at(7.0, ["a/1"])] * 20)

    assert usual == other
    assert len(set(usual)) > 10
    assert usual != values("t", [at(7.0)] * 20)


def test_a_schedule_counts_from_the_first_question() -> None:
    """
    Each is due so long after the first question, and stays due when the answer is thrown
    away; what is late comes as soon as it can, in order.
    """
    began = gen.ask(gen.At((1.0, BEGIN), (2.0, END)), at(10.0))[1]

    assert [given_op(began, at(now))[0].time for now in (10.0, 10.5, 11.0)] == [11.0] * 3
    _, after = given_op(began, at(11.0))
    assert given_op(after, at(30.0))[0] == dataclasses.replace(END, thread="nemesis", time=30.0)
    with pytest.raises(ValueError, match="order of time"):
        gen.At((2.0, BEGIN), (1.0, END))


def test_a_reactive_generator_knows_what_came_of_it() -> None:
    """
    What it says next depends on what its operations were answered.
    """

    def following(state: int, _: Context) -> tuple[Op, int] | Pending | None:
        return (Op("a", "add", value=state), state) if state < 3 else None

    def seen(state: int, _: str, what: Event) -> int:
        return state + 1 if what.type == "ok" else state

    done = play(gen.Reactive(0, following, seen), threads=("a/0",))

    assert [one.op.value for one in done] == [0, 1, 2]


# --- what changes one other generator ------------------------------------------


def test_a_limit_counts_operations() -> None:
    """
    So many operations and no more; questions do not count.
    """
    generator = gen.Limit(3, gen.Repeat(OP))
    for _ in range(10):
        answer_of(generator, at(0.0))

    assert len(play(generator)) == 3
    assert play(gen.Limit(0, gen.Repeat(OP))) == []


def test_a_time_limit_counts_from_the_first_question() -> None:
    """
    Nothing begins after the limit; it ends exactly then, also if nobody was ever free.
    """
    limited = gen.TimeLimit(1.0, gen.Repeat(OP))
    asked = gen.ask(limited, at(5.0, ["nemesis"]))[1]

    assert isinstance(answer_of(asked, at(5.999, ["nemesis"])), Pending)
    assert given_op(asked, at(5.999))[0].time == 5.999
    assert answer_of(asked, at(6.0)) is None
    done = play(limited)
    assert len(done) > 100 and max(one.time for one in done) < 1.0


def test_a_time_limit_does_not_end_for_an_operation_that_is_too_late() -> None:
    """
    What is due after the limit is not said, but something sooner may turn up until then.
    """
    limited = gen.ask(gen.TimeLimit(1.0, gen.At((5.0, BEGIN))), at(0.0))[1]

    assert answer_of(limited, at(0.5)) is PENDING
    assert answer_of(limited, at(1.0)) is None


def test_a_part_is_never_the_whole() -> None:
    """
    Even of chance's greatest number: it picks one of those that there are.
    """

    class Greatest(random.Random):
        def random(self) -> float:
            return 1 - 2**-53

        def getrandbits(self, k: int) -> int:
            return 999 if k >= 10 else (1 << k) - 1

    assert gen.part(Greatest()) == 0.999
    parts = [gen.part(random.Random(seed)) for seed in range(5_000)]
    assert 0 <= min(parts) < 0.01 and 0.99 < max(parts) < 1


def test_stagger_keeps_the_rate_and_its_draws() -> None:
    """
    As many a second as was said, at moments that only the seed decides.
    """

    def times(seed: int, took: float) -> list[float]:
        generator = gen.TimeLimit(60.0, gen.at_rate(10, gen.Repeat(OP), seed))
        return [one.time for one in play(generator, took=lambda _: took)]

    found = times(1, 0.001)
    gaps = [later - sooner for sooner, later in pairwise(found)]

    assert 540 < len(found) < 660
    assert found == times(1, 0.002)
    assert found[:50] != times(2, 0.001)[:50]
    assert min(gaps) < 0.02 and 0.15 < max(gaps) <= 0.2 + 1e-9


def test_stagger_does_not_burst_after_a_stall() -> None:
    """
    When nothing could begin for a long time, the rate is as before, but for one operation.
    """
    generator: Generator = gen.Stagger(0.1, gen.Repeat(OP))
    _, generator = given_op(generator, at(0.0))
    now, begun = 100.0, list[float]()
    while now < 110.0:
        op, after = given_op(generator, at(now))
        assert op.time is not None
        if op.time <= now:
            begun.append(now)
            generator = after
        now = max(op.time, now + 1e-6)

    assert sum(time < 100.4 for time in begun) <= 8
    assert 80 < len(begun) < 120


def test_stagger_makes_up_for_small_delays() -> None:
    """
    A loop that always comes some milliseconds late loses nothing of the rate.
    """
    generator: Generator = gen.Stagger(0.02, gen.Repeat(OP))
    now, count = 0.0, 0
    while now < 20.0:
        op, after = given_op(generator, at(now))
        assert op.time is not None
        if op.time <= now:
            count += 1
            generator = after
        now = max(op.time, now) + 0.005

    assert count == pytest.approx(1_000, rel=0.1)


def test_on_shows_some_threads_only() -> None:
    """
    A generator is asked about its own threads and told of their events, and of no other's.
    """
    asked, told = [], []

    def following(state: int, context: Context) -> tuple[Op, int] | Pending | None:
        asked.append((context.threads, context.free))
        return Op("a", "do"), state

    def seen(state: int, thread: str, _: Event) -> int:
        told.append(thread)
        return state

    generator: Generator = gen.On("a", gen.Reactive(0, following, seen))
    op, generator = given_op(generator, at(0.0, ["a/1", "b/0"]))
    for thread in THREADS:
        generator = generator.update(at(0.0), thread, event("ok", op, 0.0))

    assert asked == [(("a/0", "a/1"), frozenset({"a/1"}))]
    assert told == ["a/0", "a/1"]
    clients = gen.On(gen.is_client, gen.PerThread(lambda t: gen.Once(Op(t[0], "do"))))
    assert sorted(one.thread for one in play(clients)) == ["a/0", "a/1", "b/0"]


class Careless:
    """Says operations without a thread or a time, as somebody's own generator may."""

    def op(self, context: Context) -> gen.Answer:
        return OP, self

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


def test_on_places_what_was_not_placed() -> None:
    """
    An operation that names no thread goes to each free one in turn.
    """
    done = play(gen.Limit(10, gen.On("a", gen.Stagger(0.1, Careless()))))

    assert {one.thread for one in done} == {"a/0", "a/1"}


def test_a_cycle_begins_anew() -> None:
    """
    What has ended is repeated from its beginning; what says nothing at all is over.
    """
    cycle = gen.Cycle(gen.Then(gen.InOrder(OP, Op("a", "undo")), gen.Sleep(1.0)))
    done = play(gen.Limit(6, cycle))

    assert [one.op.f for one in done] == ["do", "undo"] * 3
    assert done[2].time >= 1.0 and done[4].time >= 2.0
    assert answer_of(gen.Cycle(gen.InOrder()), at(0.0)) is None


# --- what puts several together ------------------------------------------------


@given(
    seed=st.integers(0, 1_000),
    speeds=st.lists(st.floats(0.001, 0.5), min_size=3, max_size=3),
)
def test_what_a_thread_does_is_not_other_threads_business(
    seed: int, speeds: list[float]
) -> None:
    """
    However long operations take and however threads interleave, each thread does the
    same, in the same order.
    """
    threads = ("a/0", "a/1", "a/2")
    generator = gen.PerThread(lambda thread: gen.Limit(12, numbered(f"{seed}/{thread}")))
    done = play(
        gen.Stagger(0.02, generator, seed),
        threads=threads,
        took=lambda op: speeds[threads.index(op.thread or "")],
    )

    for thread in threads:
        assert [(one.op.key, one.op.value) for one in done if one.thread == thread] == [
            (f"{seed}/{thread}-{n}", drawn.randrange(1_000))
            for n, drawn in ((n, gen.drawn(f"{seed}/{thread}", n)) for n in range(12))
        ]


def test_threads_take_turns() -> None:
    """
    Threads that are all free do about as much each, also at a low rate.
    """
    generator = gen.PerThread(numbered)
    done = play(
        gen.Limit(40, gen.Stagger(1.0, generator)), threads=("a/0", "a/1", "a/2", "a/3")
    )

    counts = [sum(one.thread == f"a/{n}" for one in done) for n in range(4)]
    assert counts == [10, 10, 10, 10]


def test_a_copy_is_over_when_all_are() -> None:
    """
    A copy for each thread ends only when every thread has done its own, busy ones too.
    """
    generator: Generator = gen.On("a", gen.PerThread(lambda _: gen.Once(OP)))
    _, generator = given_op(generator, at(0.0))

    assert answer_of(given_op(generator, at(0.0, ["a/1"]))[1], at(0.0, ["b/0"])) is PENDING
    assert len(play(generator)) == 1


def test_any_says_the_soonest() -> None:
    """
    Of several generators the operation that is due first comes first.
    """
    generator = gen.Any(gen.At((5.0, BEGIN)), gen.At((1.0, Op("a", "x")), (9.0, Op("a", "y"))))

    assert [one.op.f for one in play(generator)] == ["x", "kill", "y"]


def test_any_starts_all_clocks_at_once() -> None:
    """
    What counts from its first question is asked at the first question, even if another
    always has something to say.
    """
    generator = gen.Any(gen.Repeat(OP), gen.TimeLimit(0.5, gen.Repeat(Op("b", "do"))))
    done = play(generator, seconds=2.0)

    assert 0.45 < max(one.time for one in done if one.op.workload == "b") < 0.5


def test_any_is_fair() -> None:
    """
    Generators that are always due take turns.
    """
    kinds = [gen.Repeat(Op("a", name)) for name in "xyz"]
    done = play(gen.Any(*kinds), most=300, threads=("a/0",))

    assert {name: sum(one.op.f == name for one in done) for name in "xyz"} == {
        "x": 100,
        "y": 100,
        "z": 100,
    }
    assert answer_of(gen.Any(), at(0.0)) is None


def test_then_does_not_wait_and_phases_do() -> None:
    """
    What follows begins at once with `Then`; with `Phases`, after all has ended.
    """
    slow, quick = Op("a", "slow"), Op("b", "quick")

    def took(op: Op) -> float:
        return 3.0 if op.f == "slow" else 0.01

    assert play(gen.Then(gen.Once(slow), gen.Once(quick)), took=took)[1].time == 0.0
    assert play(gen.Phases(gen.Once(slow), gen.Once(quick)), took=took)[1].time >= 3.0


def test_a_phase_is_not_held_up_by_a_client_that_cannot_be_opened() -> None:
    """
    A thread that is not free, but has nothing under way, does not keep the next phase from
    beginning: that may be the one that heals the cluster.
    """
    phases = gen.Phases(gen.TimeLimit(1.0, gen.Repeat(OP)), gen.On("nemesis", gen.Once(BEGIN)))
    asked = gen.ask(phases, at(0.0, ["nemesis"]))[1]

    assert answer_of(asked, at(0.5, ["nemesis"])) is PENDING
    assert given_op(asked, at(1.0, ["nemesis"]))[0].f == "kill"


def test_phases_end_when_the_last_one_has_ended() -> None:
    """
    The end of the last phase waits for what is under way, too; and nothing is nothing.
    """
    op, after = given_op(gen.Phases(gen.Once(OP)), at(0.0))
    busy = after.update(at(0.0), "a/0", event("invoke", op, 0.0))

    assert answer_of(busy, at(1.0, ["a/1"])) is PENDING
    free = busy.update(at(2.0), "a/0", event("info", op, 2.0))
    assert answer_of(free, at(2.0)) is None
    assert answer_of(gen.Phases(), at(0.0)) is None


def test_a_delay_comes_before_the_first_operation() -> None:
    """
    A delayed generator says nothing for so long, and is then as it was.
    """
    done = play(gen.delayed(2.0, gen.InOrder(OP, OP)))

    assert [round(one.time, 1) for one in done] == [2.0, 2.0]


# --- all of it -----------------------------------------------------------------


def whole(seed: int) -> Generator:
    """A run as it is made of these."""
    work = gen.Any(
        gen.On("a", gen.at_rate(50, gen.PerThread(lambda t: numbered(f"{seed}/{t}")), seed)),
        gen.On("b", gen.Stagger(0.1, numbered(f"{seed}/b", "b"), seed)),
    )
    return gen.Phases(
        gen.TimeLimit(5.0, work),
        gen.Any(
            gen.TimeLimit(20.0, work),
            gen.On("nemesis", gen.At((2.0, BEGIN), (6.0, END), (9.0, BEGIN), (15.0, END))),
        ),
        gen.On("nemesis", gen.Once(Op("nemesis", "all", "heal"))),
        gen.TimeLimit(5.0, work),
        gen.Any(
            gen.On("a", gen.InOrder(*(Op("a", "final", str(n)) for n in range(3)))),
            gen.On("b", gen.PerThread(lambda _: gen.Once(Op("b", "final")))),
        ),
    )


def test_a_whole_run_goes_through_its_phases() -> None:
    """
    Warm-up, faults beside clients, heal, quiet clients, final reads: in this order, each
    of the right length.
    """
    done = play(whole(7))
    faults = [one for one in done if one.op.workload == "nemesis"]

    assert [one.op.key for one in faults] == ["begin", "end", "begin", "end", "heal"]
    assert [round(one.time) for one in faults] == [7, 11, 14, 20, 25]
    assert [one.op.f for one in done[-4:]] == ["final"] * 4
    assert 29.9 < done[-4].time < 30.2
    for start, end in ((0, 5), (5, 25), (25, 30)):
        count = sum(start <= one.time < end for one in done)
        assert count == pytest.approx(60 * (end - start), rel=0.2)


def test_the_same_seed_is_the_same_run() -> None:
    """
    Two plays of one seed are equal in every operation, thread and time; another seed's is
    not.
    """
    assert play(whole(7)) == play(whole(7))
    assert keys(play(whole(7))) != keys(play(whole(8)))


def test_asking_changes_nothing() -> None:
    """
    A generator that is asked a hundred times is the value it was, whatever is made of the
    answers; it cannot be assigned to.
    """
    _, generator = gen.ask(whole(7), at(0.0))
    before = play(generator, most=200)
    draws = random.Random(1)
    for _ in range(100):
        answer = answer_of(generator, at(draws.uniform(0, 3), draws.sample(THREADS, 2)))
        assert answer is not None

    assert len(before) == 200 and play(generator, most=200) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        gen.Any().turn = 3  # type: ignore[misc]


def test_an_endless_excuse_is_a_defect() -> None:
    """
    A generator that always names another to ask instead raises.
    """

    class Evasive(Careless):
        def op(self, context: Context) -> gen.Answer:
            return gen.Instead(self)

    with pytest.raises(ValueError, match="for ever"):
        gen.ask(Evasive(), at(0.0))
