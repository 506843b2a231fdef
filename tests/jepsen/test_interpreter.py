"""The one loop, with clients of every character, in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import re
import time
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from jepsen_like import generator as gen
from jepsen_like.history import NEMESIS, Event, Writer, load
from jepsen_like.interpreter import (
    CLOSE_S,
    GRACE_S,
    OPEN_S,
    POLL_S,
    HarnessError,
    Tally,
    interpret,
)
from jepsen_like.protocols import PENDING, Context, Done, Generator, Op
from tests.jepsen.virtual import Bench, Nobody, Scripted, after, at_once, in_virtual_time


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def op(key: str = "", **more: Any) -> Op:
    return Op("w", "do", key, **more)


def shape(events: list[Event]) -> list[tuple[str, int, str]]:
    return [(event.type, event.process, event.key) for event in events]


# --- what is written down ------------------------------------------------------


def test_an_operation_is_two_events(bench: Bench) -> None:
    """
    What was asked with stands in the invoke, what was answered in the completion, with
    the member and the revision that the client told.
    """
    events, tally = bench.run(gen.Once(op("k", value={"id": "x"})))

    begun, ended = events
    assert dataclasses.replace(begun, time=0.0) == Event(
        0, 0.0, "invoke", 0, "w", "do", "k", {"id": "x"}
    )
    assert dataclasses.replace(ended, time=0.0) == Event(
        1, 0.0, "ok", 0, "w", "do", "k", {"said": {"id": "x"}}, "n1", 3
    )
    assert tally.complete and (tally.ops, tally.ok, tally.fail, tally.info) == (1, 1, 0, 0)


def test_a_failure_says_why_and_what_was_asked(bench: Bench) -> None:
    """
    An operation that did not happen keeps what it was asked with, its process goes on,
    and its error is counted by name.
    """
    events, tally = bench.run(
        gen.InOrder(op("a", value=1), op("b", value=2)),
        after(0.1, Done("fail", error="Conflict: expected 3")),
        threads=1,
    )

    assert shape(events) == [(kind, 0, key) for key in "ab" for kind in ("invoke", "fail")]
    assert (events[1].value, events[1].error) == (1, "Conflict: expected 3")
    assert tally.errors == {"w/do fail: Conflict": 2}


def test_an_unknown_outcome_may_tell_what_is_known(bench: Bench) -> None:
    """
    The value of an `info` is what the client told with it, if it told anything.
    """
    events, _ = bench.run(gen.Once(op(value=1)), after(0.1, Done("info", ["granted"])))

    assert events[1].value == ["granted"]


def test_the_nemesis_is_a_process_of_its_own(bench: Bench) -> None:
    """
    Its operations stand in the same history: invoke, then `info`, whatever it says; it goes
    on under the same number.
    """
    schedule = gen.At(
        (0.0, Op("nemesis", "kill", "begin", {"seconds": 1})),
        (1.0, Op("nemesis", "kill", "end")),
    )

    async def harm(what: Op) -> Done:
        if what.key == "end":
            raise RuntimeError("cannot undo")
        return Done("info", {"killed": "n1"})

    events, tally = bench.run(schedule, nemesis=harm)

    assert shape(events) == [
        ("invoke", NEMESIS, "begin"),
        ("info", NEMESIS, "begin"),
        ("invoke", NEMESIS, "end"),
        ("info", NEMESIS, "end"),
    ]
    assert events[1].value == {"killed": "n1"}
    assert (events[3].value, events[3].error) == (None, "RuntimeError: cannot undo")
    assert (tally.nemesis_ops, tally.nemesis_errors, tally.ops) == (2, 1, 0)


def test_the_same_seed_is_the_same_history(bench: Bench) -> None:
    """
    Same generator, same clients: the same events at the same times, to the last one.
    """

    def run(seed: int) -> list[Event]:
        speeds = random.Random(seed)

        async def behave(_: Op) -> Done:
            await asyncio.sleep(speeds.uniform(0.001, 0.2))
            return Done(speeds.choice(("ok", "ok", "fail", "info")))

        draws = gen.Draw(seed, lambda draws, n: op(str(n), value=draws.random()))
        return bench.run(gen.TimeLimit(20.0, gen.at_rate(20, draws, seed)), behave, threads=5)[
            0
        ]

    assert len(run(1)) > 500
    assert run(1) == run(1)
    assert run(1) != run(2)


# --- concurrency and order -----------------------------------------------------


def test_threads_work_at_the_same_time(bench: Bench) -> None:
    """
    Operations of different threads overlap, also those of the nemesis; those of one
    thread never do.
    """
    generator = gen.Any(
        gen.On("w", gen.InOrder(op("a"), op("b"))), gen.Once(Op("nemesis", "kill", "begin"))
    )
    events, _ = bench.run(generator, after(1.0), nemesis=after(2.0))

    assert [event.type for event in events[:3]] == ["invoke"] * 3
    assert {event.process for event in events[:3]} == {0, 1, NEMESIS}
    assert events[-1].time == pytest.approx(2.0, abs=0.1)


def test_completions_come_before_the_next_question(bench: Bench) -> None:
    """
    What has completed is taken in before anything begins: two operations that did not
    overlap do not overlap in the history, and the generator knows of the end.
    """
    told: list[tuple[int, bool]] = []

    def following(state: int, context: Context) -> tuple[Op, int] | None:
        told.append((state, context.free == set(context.threads)))
        return (op(str(state)), state) if state < 20 else None

    def seen(state: int, _: str, event: Event) -> int:
        return state + (event.type == "ok")

    # Both threads are free, and each operation is at its end when the next is asked for.
    events, _ = bench.run(
        gen.Limit(20, gen.Stagger(0.5, gen.Reactive(0, following, seen), "s")), at_once
    )

    assert [event.type for event in events] == ["invoke", "ok"] * 20
    assert [event.key for event in events[::2]] == [str(n) for n in range(20)]


def test_several_completions_are_taken_in_together(bench: Bench) -> None:
    """
    All that has completed is written down before the next operation begins.
    """
    gate = 1.0

    async def together(_: Op) -> Done:
        await asyncio.sleep(gate - asyncio.get_running_loop().time() % gate)
        return Done("ok")

    events, _ = bench.run(gen.Limit(12, gen.Repeat(op())), together, threads=4)

    types = "".join(event.type[0] for event in events)
    assert types == "iiiioooo" * 3


def test_an_operation_waits_for_its_time(bench: Bench) -> None:
    """
    What is due later begins then, not sooner, and not much later; what completes in the
    meantime is taken in, and something sooner may come of it.
    """
    late = gen.At((1.0, op("late", thread="w/0")))

    def following(state: str, _: Context) -> tuple[Op, str] | Any:
        if state == "over":
            return None
        return (op(state, thread="w/1"), "waiting") if state != "waiting" else PENDING

    def seen(state: str, thread: str, event: Event) -> str:
        if thread == "w/1" and event.type == "ok":
            return "second" if event.key == "first" else "over"
        return state

    events, _ = bench.run(gen.Any(late, gen.Reactive("first", following, seen)), after(0.4))

    begun = {event.key: event.time for event in events if event.type == "invoke"}
    assert list(begun) == ["first", "second", "late"]
    assert begun["second"] == pytest.approx(0.4, abs=0.01)
    assert 1.0 <= begun["late"] < 1.0 + POLL_S


def test_pending_is_asked_again_without_spinning(bench: Bench) -> None:
    """
    While there is nothing to do the generator is asked a bounded number of times a second.
    """
    events, tally = bench.run(gen.Sleep(10.0))

    assert events == [] and tally.complete
    assert tally.questions < 1.2 * 10.0 / POLL_S


def test_a_thread_that_nobody_named_is_the_one_that_waited_longest(bench: Bench) -> None:
    """
    Operations without a thread go to all threads in turn, and wait if none is free.
    """

    class Careless:
        """Says operations that name no thread, until all are said."""

        def __init__(self, left: int) -> None:
            self.left = left

        def op(self, context: Context) -> gen.Answer:
            return (op(), Careless(self.left - 1)) if self.left else None

        def update(self, context: Context, thread: str, event: Event) -> Generator:
            return self

    events, _ = bench.run(Careless(9), after(0.1), threads=3)

    begun = [event.process for event in events if event.type == "invoke"]
    # The order of those that complete at the same moment is nobody's business.
    assert [set(begun[at : at + 3]) for at in (0, 3, 6)] == [{0, 1, 2}] * 3

    events, _ = bench.run(gen.Stagger(1.0, Careless(9)), at_once, threads=3)
    assert [event.process for event in events if event.type == "invoke"] == [0, 1, 2] * 3


# --- outcomes that nobody knows ------------------------------------------------


def test_a_process_ends_with_an_unknown_outcome(bench: Bench) -> None:
    """
    After an `info` the thread goes on as another process, further by the number of client
    threads, with a new client; the old one is closed.
    """
    events, _ = bench.run(
        gen.Limit(4, gen.Repeat(op(thread="w/1"))), after(0.1, Done("info")), threads=3
    )

    assert [event.process for event in events] == [1, 1, 4, 4, 7, 7, 10, 10]
    assert len(bench.made) == 3 + 3  # after the last one the run was over
    assert all(client.closed == 1 for client in bench.made)


def test_a_client_that_raises_knows_nothing(bench: Bench) -> None:
    """
    An exception is an unknown outcome, with its name, and counted; the run goes on.
    """

    async def raises(_: Op) -> Done:
        raise KeyError("x")

    events, tally = bench.run(gen.Limit(2, gen.Repeat(op())), raises, threads=1)

    assert shape(events)[1] == ("info", 0, "") and shape(events)[2] == ("invoke", 1, "")
    assert events[1].error == "KeyError: 'x'"
    assert (tally.raised, tally.info) == (2, 2)
    assert tally.errors == {"w/do info: KeyError": 2}
    [(told, count)] = tally.defects.items()
    assert (
        re.fullmatch(r"w/do: KeyError: 'x' \(test_interpreter\.py:\d+\)", told) and count == 2
    )


def test_a_client_that_hangs_is_left_behind(bench: Bench) -> None:
    """
    Past the time limit the outcome is unknown at once, the operation is cancelled, and the
    thread goes on with another client.
    """
    cancelled: list[float] = []

    async def hangs(what: Op) -> Done:
        if what.key != "0":
            return Done("ok")
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            cancelled.append(asyncio.get_running_loop().time())
            raise
        raise AssertionError("slept")

    events, tally = bench.run(gen.InOrder(op("0"), op("1")), hangs, threads=1, timeout=2.0)

    assert shape(events) == [
        ("invoke", 0, "0"),
        ("info", 0, "0"),
        ("invoke", 1, "1"),
        ("ok", 1, "1"),
    ]
    assert events[1].time == pytest.approx(2.0, abs=0.01)
    assert events[1].error == "no end after 2 s"
    assert cancelled == [pytest.approx(2.0, abs=0.01)]
    assert (tally.hung, tally.deaf, tally.raised) == (1, 0, 0)


def test_a_late_answer_changes_nothing(bench: Bench) -> None:
    """
    A client that answers while it is cancelled was too late: the outcome stays unknown.
    """

    async def stubborn(_: Op) -> Done:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            return Done("ok", "after all")
        raise AssertionError("slept")

    events, tally = bench.run(gen.Once(op()), stubborn, timeout=1.0)

    assert [event.type for event in events] == ["invoke", "info"]
    assert tally.ok == 0 and tally.hung == 1


def test_a_client_that_ignores_its_cancellation_costs_a_bounded_time(bench: Bench) -> None:
    """
    A task that does not end when it is cancelled is left alone after a moment, and counted;
    its thread and the run go on.
    """

    async def deaf(what: Op) -> Done:
        if what.key != "0":
            return Done("ok")
        until = asyncio.get_running_loop().time() + 60.0
        while asyncio.get_running_loop().time() < until:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue
        return Done("ok")

    events, tally = bench.run(gen.InOrder(op("0"), op("1")), deaf, threads=1, timeout=1.0)

    assert [event.type for event in events] == ["invoke", "info", "invoke", "ok"]
    assert events[2].time < 1.0 + GRACE_S + 1.0
    assert tally.deaf == 1


def test_each_workload_has_its_own_time_limit(bench: Bench) -> None:
    """
    A time limit can be given for a workload, and for the nemesis, which has a longer one.
    """
    generator = gen.Any(gen.Once(op()), gen.Once(Op("nemesis", "all", "heal")))
    slow = after(50.0)

    events, tally = bench.run(generator, slow, nemesis=slow)
    assert (tally.hung, tally.nemesis_errors) == (1, 0)

    events, tally = bench.run(generator, slow, nemesis=slow, timeouts={"w": 60, "nemesis": 5})
    assert (tally.hung, tally.nemesis_errors, tally.ok) == (1, 1, 1)
    assert [event.type for event in events if event.process == NEMESIS] == ["invoke", "info"]


# --- clients that cannot be opened ---------------------------------------------


def test_a_client_is_open_before_it_is_asked(bench: Bench) -> None:
    """
    A thread whose client cannot be opened is not free; it is tried again, less and less
    often but for ever, each time with a new client.
    """
    attempts: list[float] = []

    async def opening(_: Op) -> Done:
        now = asyncio.get_running_loop().time()
        attempts.append(now)
        if now < 20.0:
            raise ConnectionError("nobody there")
        return Done("ok")

    events, tally = bench.run(gen.Once(op()), opening=opening, threads=1)

    gaps = [later - sooner for sooner, later in pairwise(attempts)]
    assert gaps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6] + [2.0] * (len(gaps) - 5))
    assert events[0].time >= 20.0
    assert (tally.open_failures, tally.opened, tally.unopened) == (len(gaps), 1, {})
    assert len(bench.made) == len(attempts)
    assert all(client.closed == 1 for client in bench.made)


def test_opening_is_bounded(bench: Bench) -> None:
    """
    An attempt to open that does not end is given up, and the run's time limit ends what
    never succeeds; the figures say who and why.
    """
    events, tally = bench.run(gen.Once(op()), opening=after(1_000.0), limit=3 * OPEN_S)

    assert events == [] and not tally.complete
    assert tally.unopened == {f"w/{n}": f"no end after {OPEN_S:g} s" for n in (0, 1)}


def test_others_go_on_while_one_cannot_be_opened(bench: Bench) -> None:
    """
    One thread without a client holds up nobody else, nor the next phase.
    """
    dead = count()

    async def opening(_: Op) -> Done:
        if next(dead) % 2:  # each second client that is made
            raise ConnectionError("nobody there")
        return Done("ok")

    generator = gen.Phases(
        gen.TimeLimit(1.0, gen.at_rate(10, gen.Repeat(op("a")))),
        gen.Once(Op("nemesis", "all", "heal")),
    )

    async def unknown(what: Op) -> Done:
        return Done("ok" if what.thread == "w/0" else "info")

    events, tally = bench.run(generator, unknown, opening=opening)

    assert tally.complete and tally.open_failures > 0
    assert events[-1].key == "heal"


# --- the end -------------------------------------------------------------------


def test_the_end_waits_for_what_is_under_way(bench: Bench) -> None:
    """
    When the generator has nothing more to say, what it began is still completed.
    """
    events, tally = bench.run(gen.InOrder(op(), op()), after(5.0))

    assert [event.type for event in events] == ["invoke", "invoke", "ok", "ok"]
    assert tally.complete


def test_the_time_limit_ends_a_run(bench: Bench) -> None:
    """
    At the limit nothing more begins; what is under way is unknown, and the run incomplete.
    """
    events, tally = bench.run(gen.Repeat(op()), after(3.0), limit=10.0)

    assert not tally.complete
    assert [event.error for event in events[-2:]] == ["the run was over"] * 2
    assert events[-1].time == pytest.approx(10.0, abs=2 * POLL_S)
    assert tally.ops == tally.ok + tally.info == 8


@pytest.mark.parametrize("how", ["closes", "hangs", "raises", "deaf"])
def test_clients_are_closed_within_bounds(bench: Bench, how: str) -> None:
    """
    Every client is closed once, and one that cannot be closed costs a bounded time.
    """

    class Closing(Scripted):
        async def close(self) -> None:
            await super().close()
            if how == "raises":
                raise OSError("gone")
            while how in ("hangs", "deaf") and loop_time() < 100.0:
                try:
                    await asyncio.sleep(100.0)
                except asyncio.CancelledError:
                    if how == "hangs":
                        raise

    def loop_time() -> float:
        return asyncio.get_running_loop().time()

    client = Closing(at_once)

    async def main() -> tuple[Tally, float]:
        with Writer(bench.folder / "h") as writer:
            tally = await interpret(
                gen.Once(op()), {"w/0": lambda: client}, Nobody(), writer, loop_time
            )
        return tally, loop_time()

    tally, ended = in_virtual_time(main())

    assert client.closed == 1 and tally.ok == 1
    assert ended < CLOSE_S + 4 * GRACE_S + 1.0
    assert tally.deaf == (how == "deaf")
    assert tally.close_failures == (how != "closes")


def test_a_cancelled_run_leaves_nothing_behind(bench: Bench) -> None:
    """
    If the run itself is cancelled, its operations are cancelled and its clients closed,
    and the history can still be read.
    """
    clients = [Scripted(after(100.0)) for _ in range(3)]

    async def main() -> set[asyncio.Task[Any]]:
        with Writer(bench.folder / "h") as writer:
            factories = {f"w/{n}": (lambda n=n: clients[n]) for n in range(3)}
            clock = asyncio.get_running_loop().time
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5.0):
                    await interpret(gen.Repeat(op()), factories, Nobody(), writer, clock)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert in_virtual_time(main()) == set()
    assert [client.closed for client in clients] == [1, 1, 1]
    assert len(load(bench.folder / "h")) == 3


# --- what breaks the rules -----------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Says:
    """A generator that gives one answer, whatever is asked."""

    answer: Any
    at_update: Any = None

    def op(self, context: Context) -> gen.Answer:
        if isinstance(self.answer, Exception):
            raise self.answer
        return (self.answer, self) if isinstance(self.answer, Op) else self.answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        if isinstance(self.at_update, Exception):
            raise self.at_update
        return None if self.at_update == "none" else self  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("generator", "complaint"),
    [
        (Says(op(thread="w/9")), "no such thread"),
        (Says(op(thread="nemesis")), "its thread does another workload"),
        (Says(Op("x", "do")), "no thread does that workload"),
        (Says(op(thread="w/0")), "its thread is not free"),
        (Says(op(time=-1.0)), "it goes back in time"),
        (Says(op(time=float("nan"))), "its time is none"),
        (Says(Op("w", "")), "is no name"),
        (Says("do something"), "the generator answers"),
        (Says((op(),)), "the generator answers"),
        (Says(ZeroDivisionError("oh")), "the generator raised"),
        (Says(op(), ZeroDivisionError("oh")), "the generator raised"),
        (Says(op(), "none"), "no generator after"),
        (gen.On("nowhere", gen.Repeat(op())), "chooses none"),
        (Says(op(value={1, 2})), "it cannot be written down"),
        (Says(op(value=float("nan"))), "it cannot be written down"),
    ],
)
def test_a_generator_that_misbehaves_ends_the_run(
    bench: Bench, generator: Generator, complaint: str
) -> None:
    """
    A generator that breaks the rules raises HarnessError, and clients are closed.
    """
    with pytest.raises(HarnessError, match=complaint):
        bench.run(generator, after(1.0), limit=60.0)

    assert all(client.closed == 1 for client in bench.made)


@pytest.mark.parametrize(
    "done",
    [
        Done("maybe"),  # type: ignore[arg-type]
        Done("ok", revision=-1),
        Done("ok", revision="7"),  # type: ignore[arg-type]
        Done("fail", error=None),  # type: ignore[arg-type]
        Done("ok", object()),
        None,
        ("ok", 1),
    ],
)
def test_a_client_that_answers_nonsense_ends_the_run(bench: Bench, done: Any) -> None:
    """
    An answer that is no outcome, or cannot be written down, is a defect of the harness.
    """

    async def answers(_: Op) -> Any:
        return done

    with pytest.raises(HarnessError):
        bench.run(gen.Once(op()), answers)


def test_a_factory_that_fails_ends_the_run(bench: Bench) -> None:
    """
    A worker that breaks by itself is a defect of the harness, and never waited for.
    """
    with pytest.raises(HarnessError, match="broke: KeyError"):
        bench.run(gen.Repeat(op()), {"w/0": at_once})


def test_a_clock_that_goes_back_ends_the_run(bench: Bench) -> None:
    """
    A history whose times go back shows nothing.
    """
    times = iter((0.0, 1.0, 0.5))

    with pytest.raises(HarnessError, match=r"the clock went from 1.0 to 0.5"):
        bench.run(gen.Repeat(op()), clock=lambda: next(times))


def test_nobody_else_is_the_nemesis(bench: Bench) -> None:
    """
    A client's thread cannot have the nemesis' name.
    """

    async def main() -> None:
        with Writer(bench.folder / "h") as writer:
            client = {"nemesis": lambda: Scripted(at_once)}
            await interpret(gen.Repeat(op()), client, Nobody(), writer, lambda: 0.0)

    with pytest.raises(HarnessError, match="may be the thread"):
        in_virtual_time(main())


# --- in real time --------------------------------------------------------------


def test_twenty_five_threads_keep_their_rate_without_spinning(tmp_path: Path) -> None:
    """
    In real time, 25 threads in four workloads do 150 operations a second, and the loop
    itself needs a small part of one core for it.
    """
    shares = {"a": 10, "b": 6, "c": 6, "d": 3}
    threads = [f"{name}/{n}" for name, size in shares.items() for n in range(size)]

    def work(name: str, size: int) -> Generator:
        def copy(thread: str) -> Generator:
            return gen.Draw(thread, lambda draws, n: Op(name, "do", str(n), draws.random()))

        return gen.On(name, gen.at_rate(150 * size / 25, gen.PerThread(copy), name))

    everything = gen.Any(*(work(name, size) for name, size in shares.items()))
    faults = gen.On("nemesis", gen.At((1.0, Op("nemesis", "kill", "begin"))))
    generator = gen.Phases(gen.Any(gen.TimeLimit(4.0, everything), faults))

    async def main(writer: Writer) -> Tally:
        began = time.monotonic()
        clients = {thread: lambda: Scripted(after(0.05)) for thread in threads}
        return await interpret(
            generator, clients, Nobody(), writer, lambda: time.monotonic() - began, limit=60.0
        )

    used = time.process_time()
    with Writer(tmp_path / "h") as writer:
        tally = asyncio.run(main(writer))
    used = time.process_time() - used

    assert tally.complete and tally.ok == tally.ops
    assert tally.ops > 4.0 * 150 * 0.5  # the machine may be busy with something else
    assert tally.questions < 10 * tally.ops
    assert used < 2.0
    busy = {event.process for event in writer.events if event.process != NEMESIS}
    assert busy == set(range(25))
