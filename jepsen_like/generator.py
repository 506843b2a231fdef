"""What to do next, as a value.

In a nutshell
=============

A run needs somebody who says what happens when: which client does which operation, when a
fault begins, when it is undone, when everybody waits. The obvious way is a program with
threads, sleeps and locks; and then the harness has races of its own, cannot be tested
without the cluster, and does something else each time.

Here it is a *generator*, and a generator is a value. It is asked with a `Context` (the
time, the threads it speaks for, and those of them that are free), and it answers

    (op, generator)   do this; and this is who to ask next
    PENDING           there is something to do, but not now: ask again later
    None              that was all

It is told what happened as well: `update` takes an event, the beginning or the end of an
operation, and answers with the generator after it. That is the whole protocol. Nothing in
here sleeps, reads a clock, draws from a shared source of chance, or keeps anything behind
the caller's back. Generators are made of generators: `Stagger(0.1, Limit(9, ...))` asks
the one inside, and changes the answer.

What that buys:

* *Asking costs nothing.* Whoever asked may throw the answer away and ask the same generator
  again, later or with other threads free. So an operation can be due in the future: the
  interpreter waits for its time or for a completion, whichever is first, and asks again.
* *No deadlock.* Nothing waits in here; there is one place that waits, and it waits for
  a completion or for a bounded time.
* *An honest "I do not know yet".* PENDING is an answer, not a blocked thread.
* *The same seed is the same run.* Chance is counted, not consumed: the n-th draw is a
  function of the seed and n, and of nothing else. With `PerThread` what a thread does depends
  on the seed and on how much it did before, however the threads interleave.
* *Tests need no time.* A test plays the interpreter, and a second is an addition.

What it costs: a generator that has to remember the question itself (when it was first
asked; that the phase before is over) cannot just note it. It answers with `Instead(other)`:
"ask the other one, at once". Combinators pass that on, and `ask` follows it. To those who
do not know it, it is PENDING.

A whole run, from warm-up to the final reads:

    Phases(
        TimeLimit(10, work),                                   # warm-up
        Any(TimeLimit(120, work), On("nemesis", At((5.0, begin), (9.0, end)))),
        On("nemesis", Once(heal)),
        TimeLimit(10, work),                                   # quiet clients
        Any(On("set", set_final), On("register", register_final)),
    )

with `work = Any(On("set", Stagger(0.05, PerThread(adds), seed)), On("register", ...))`. The
names are those of the field, so read them with a prefix:
`from jepsen_like import generator as gen`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Generic, TypeAlias, TypeVar

from jepsen_like.history import Event
from jepsen_like.protocols import PENDING, Context, Generator, Op, Pending

NEMESIS_THREAD: Final = "nemesis"
# The nemesis can do two things at once: what waits for the cluster, and what does not.
BESIDE_THREAD: Final = "nemesis/beside"
NEMESIS_THREADS: Final = (NEMESIS_THREAD, BESIDE_THREAD)
INSTEAD_MAX: Final = 10_000  # in a row, before it is taken for an endless loop
Seed: TypeAlias = int | str
State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Instead(Pending):
    """Ask this generator instead, at once: the question itself changed something."""

    generator: Generator


Answer: TypeAlias = tuple[Op, Generator] | Pending | None


def ask(generator: Generator, context: Context) -> tuple[Answer, Generator]:
    """A generator's answer, and who to ask if the answer is not made use of."""
    for _ in range(INSTEAD_MAX):
        answer = generator.op(context)
        if not isinstance(answer, Instead):
            return answer, generator
        generator = answer.generator
    raise ValueError(f"it answers with another generator for ever: {generator!r:.200}")


def workload_of(thread: str) -> str:
    """The workload that a thread belongs to; "nemesis" for the nemesis."""
    return thread.partition("/")[0]


def is_client(thread: str) -> bool:
    """Whether a thread is a client's, for `On`."""
    return thread not in NEMESIS_THREADS


def drawn(seed: Seed, n: int) -> random.Random:
    """The source of chance of the n-th draw. Depends on these two and nothing else."""
    return random.Random(f"{seed}/{n}")


def placed(op: Op, context: Context, turn: int = 0) -> Op | None:
    """The operation with a time, and with a free thread of its workload: if none is named,
    threads take turns. None if no such thread is free.

    Raises ValueError if there is no such thread at all: it would never be done."""
    if op.thread is None:
        able = [t for t in context.threads if workload_of(t) == op.workload]
        if not able:
            raise ValueError(f"no thread of {context.threads} does {op.workload!r}: {op}")
        free = [thread for thread in able if thread in context.free]
        if not free:
            return None
        thread = free[turn % len(free)]
    elif op.thread in context.free:
        if op.time is not None and op.time >= context.time:
            return op  # somebody inside placed it
        thread = op.thread
    elif op.thread in context.threads:
        return None
    else:
        raise ValueError(f"{op.thread!r} is none of {context.threads}: {op}")
    return Op(op.workload, op.f, op.key, op.value, thread, _when(op, context))


def _when(op: Op, context: Context) -> float:
    """When an operation is to begin; what is overdue begins now."""
    return context.time if op.time is None else max(op.time, context.time)


# --- what says operations by itself --------------------------------------------


@dataclass(frozen=True, slots=True)
class Once:
    """One operation."""

    what: Op

    def op(self, context: Context) -> Answer:
        op = placed(self.what, context)
        return PENDING if op is None else (op, InOrder())

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


@dataclass(frozen=True, slots=True, init=False)
class InOrder:
    """These operations, one begun after the other. It does not wait for an earlier one to
    end; several threads may do several at once."""

    ops: tuple[Op, ...]
    count: int

    def __init__(self, *ops: Op, count: int = 0) -> None:
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "count", count)

    def op(self, context: Context) -> Answer:
        if self.count >= len(self.ops):
            return None
        op = placed(self.ops[self.count], context, self.count)
        return PENDING if op is None else (op, InOrder(*self.ops, count=self.count + 1))

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same operation for ever."""

    what: Op
    count: int = 0

    def op(self, context: Context) -> Answer:
        op = placed(self.what, context, self.count)
        return PENDING if op is None else (op, Repeat(self.what, self.count + 1))

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


@dataclass(frozen=True, slots=True)
class Draw:
    """Operations for ever, each drawn: the n-th (from 0) by `function`, with a source of
    chance that depends on the seed and n alone."""

    seed: Seed
    function: Callable[[random.Random, int], Op]
    count: int = 0

    def op(self, context: Context) -> Answer:
        if not context.free:
            return PENDING
        op = placed(
            self.function(drawn(self.seed, self.count), self.count), context, self.count
        )
        return PENDING if op is None else (op, Draw(self.seed, self.function, self.count + 1))

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


def part(draws: random.Random) -> float:
    """A part of a whole, 0 <= part < 1, in three digits: which one of those that there are
    when it comes to it. (A random number that is rounded may be 1.)"""
    return draws.randrange(1_000) / 1_000


@dataclass(frozen=True, slots=True)
class Reactive(Generic[State]):
    """Operations that depend on what came of earlier ones: a compare-and-set that expects
    what its thread read last, say.

    `next(state, context)` answers as a generator does, with the next state in its place;
    `seen(state, thread, event)` is the state after an event (invoke or completion). Both
    are pure, and the state is a value that nobody changes. Chance: `drawn(seed, n)` with
    an n of the state."""

    state: State
    next: Callable[[State, Context], tuple[Op, State] | Pending | None]
    seen: Callable[[State, str, Event], State]
    count: int = 0

    def op(self, context: Context) -> Answer:
        if not context.free:
            return PENDING
        answer = self.next(self.state, context)
        if answer is None or isinstance(answer, Pending):
            return answer
        op = placed(answer[0], context, self.count)
        if op is None:
            return PENDING
        return op, replace(self, state=answer[1], count=self.count + 1)

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return replace(self, state=self.seen(self.state, thread, event))


@dataclass(frozen=True, slots=True, init=False)
class At:
    """A schedule: each operation so many seconds after the first question, or as soon after
    that as its thread is free. None is left out, and their order is kept."""

    schedule: tuple[tuple[float, Op], ...]
    began: float | None
    count: int

    def __init__(
        self, *schedule: tuple[float, Op], began: float | None = None, count: int = 0
    ) -> None:
        times = [time for time, _ in schedule]
        if times != sorted(times):
            raise ValueError(f"not in the order of time: {times}")
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "began", began)
        object.__setattr__(self, "count", count)

    def op(self, context: Context) -> Answer:
        if self.began is None:
            return Instead(At(*self.schedule, began=context.time, count=self.count))
        if self.count >= len(self.schedule):
            return None
        offset, what = self.schedule[self.count]
        op = placed(replace(what, time=self.began + offset), context, self.count)
        if op is None:
            return PENDING
        return op, At(*self.schedule, began=self.began, count=self.count + 1)

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing, for so many seconds from the first question."""

    seconds: float
    began: float | None = None

    def op(self, context: Context) -> Answer:
        if self.began is None:
            return Instead(replace(self, began=context.time))
        return PENDING if context.time < self.began + self.seconds else None

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


# --- what changes one other generator ------------------------------------------


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many operations of a generator."""

    count: int
    generator: Generator

    def op(self, context: Context) -> Answer:
        if self.count <= 0:
            return None
        match self.generator.op(context):
            case (op, after):
                return op, Limit(self.count - 1, after)
            case Instead(other):
                return Instead(replace(self, generator=other))
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return replace(self, generator=self.generator.update(context, thread, event))


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """A generator for so many seconds from the first question. It does not end sooner
    because the next operation is due too late: something sooner may turn up."""

    seconds: float
    generator: Generator
    began: float | None = None

    def op(self, context: Context) -> Answer:
        if self.began is None:
            return Instead(replace(self, began=context.time))
        until = self.began + self.seconds
        if context.time >= until:
            return None
        match self.generator.op(context):
            case (op, after):
                if _when(op, context) >= until:
                    return PENDING
                return op, replace(self, generator=after)
            case Instead(other):
                return Instead(replace(self, generator=other))
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return replace(self, generator=self.generator.update(context, thread, event))


@dataclass(frozen=True, slots=True)
class Stagger:
    """A generator's operations, on average one in `interval` seconds. Each gap is drawn
    evenly from nothing to twice that, and depends on the seed and its number alone.

    What a busy machine delays is made up for, but never more than one interval of it: after
    a stall there is no burst."""

    interval: float
    generator: Generator
    seed: Seed = 0
    count: int = 0
    due: float | None = None

    def op(self, context: Context) -> Answer:
        match self.generator.op(context):
            case (op, after):
                soonest = _when(op, context)
                due = soonest if self.due is None else self.due
                begins = max(soonest, due)
                gap = drawn(self.seed, self.count).uniform(0, 2 * self.interval)
                following = max(due, begins - self.interval) + gap
                if begins != op.time:
                    op = replace(op, time=begins)
                return op, Stagger(self.interval, after, self.seed, self.count + 1, following)
            case Instead(other):
                return Instead(replace(self, generator=other))
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return replace(self, generator=self.generator.update(context, thread, event))


def at_rate(per_second: float, generator: Generator, seed: Seed = 0) -> Stagger:
    """A generator's operations, on average so many a second."""
    return Stagger(1 / per_second, generator, seed)


@dataclass(frozen=True, slots=True)
class On:
    """A generator for some threads only: those of a workload (or "nemesis"), or those that
    a predicate chooses. It sees no others, and no event of theirs."""

    where: str | Callable[[str], bool]
    generator: Generator
    count: int = 0

    def op(self, context: Context) -> Answer:
        mine = self._mine(context)
        match self.generator.op(mine):
            case (op, after):
                turns = self.count
                if op.thread is None:
                    turns += 1
                found = placed(op, mine, self.count)
                return PENDING if found is None else (found, On(self.where, after, turns))
            case Instead(other):
                return Instead(replace(self, generator=other))
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        mine = self._mine(context)
        if thread not in mine.threads:
            return self
        return replace(self, generator=self.generator.update(mine, thread, event))

    def _mine(self, context: Context) -> Context:
        """The part of a context that is seen from inside."""
        threads, names = _chosen(self.where, context.threads)
        if not threads:
            raise ValueError(f"{self.where!r} chooses none of {context.threads}")
        return Context(context.time, threads, context.free & names)


@lru_cache(maxsize=1024)
def _chosen(
    where: str | Callable[[str], bool], threads: tuple[str, ...]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The threads that are meant, in order and as a set."""
    if isinstance(where, str):
        chosen = tuple(thread for thread in threads if workload_of(thread) == where)
    else:
        chosen = tuple(thread for thread in threads if where(thread))
    return chosen, frozenset(chosen)


@dataclass(frozen=True, slots=True)
class Cycle:
    """A generator again and again: when it ends, it begins anew. Over at once if it has
    nothing to say even then. `now` is where it stands."""

    generator: Generator
    now: Generator | None = None

    def op(self, context: Context) -> Answer:
        answer = (self.now or self.generator).op(context)
        if answer is None and self.now is not None:
            answer = self.generator.op(context)
        match answer:
            case (op, after):
                return op, Cycle(self.generator, after)
            case Instead(other):
                return Instead(Cycle(self.generator, other))
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        if self.now is None:
            return self
        return Cycle(self.generator, self.now.update(context, thread, event))


# --- what puts several together ------------------------------------------------


@dataclass(frozen=True, slots=True)
class PerThread:
    """A copy of a generator for each thread, made by `function` from the thread's name. A
    copy knows of no other thread, so what a thread does depends on its copy alone. Threads
    that could begin at once take turns."""

    function: Callable[[str], Generator]
    copies: Mapping[str, Generator] = field(default_factory=dict)
    turn: int = 0

    def op(self, context: Context) -> Answer:
        best: tuple[float, int, str, Op, Generator] | None = None
        over = len(context.free) == len(context.threads)
        count = len(context.threads)
        for step in range(count):
            place = (self.turn + step) % count
            thread = context.threads[place]
            if thread not in context.free:
                continue
            alone = Context(context.time, (thread,), frozenset((thread,)))
            match self._copy(thread).op(alone):
                case (op, after):
                    begins = _when(op, context)
                    if best is None or begins < best[0]:
                        best = begins, place, thread, op, after
                    if begins <= context.time:
                        break  # nobody's can be sooner
                case Instead(other):
                    return Instead(self._with(thread, other, self.turn))
                case Pending():
                    over = False
        if best is None:
            return None if over else PENDING
        _, place, thread, op, after = best
        found = placed(op, Context(context.time, (thread,), frozenset((thread,))))
        assert found is not None, thread
        return found, self._with(thread, after, place + 1)

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        copy = self.copies.get(thread)
        if copy is None:
            return self
        free = context.free & {thread}
        return self._with(
            thread,
            copy.update(Context(context.time, (thread,), free), thread, event),
            self.turn,
        )

    def _copy(self, thread: str) -> Generator:
        copy = self.copies.get(thread)
        return self.function(thread) if copy is None else copy

    def _with(self, thread: str, copy: Generator, turn: int) -> PerThread:
        return PerThread(self.function, {**self.copies, thread: copy}, turn)


@dataclass(frozen=True, slots=True, init=False)
class Any:
    """Several generators at the same time: of their operations the one that is due first,
    and of those that are due now each in turn. Events go to all. Over when all are."""

    generators: tuple[Generator, ...]
    turn: int

    def __init__(self, *generators: Generator, turn: int = 0) -> None:
        object.__setattr__(self, "generators", generators)
        object.__setattr__(self, "turn", turn)

    def op(self, context: Context) -> Answer:
        best: tuple[float, int, Op, Generator] | None = None
        answer: Answer = None
        for step in range(len(self.generators)):
            # All are asked, even if one is due now: the question may be their first.
            place = (self.turn + step) % len(self.generators)
            match self.generators[place].op(context):
                case (op, after):
                    begins = _when(op, context)
                    if best is None or begins < best[0]:
                        best = begins, place, op, after
                case Instead(other):
                    return Instead(self._with(place, other, self.turn))
                case Pending():
                    answer = PENDING
        if best is None:
            return answer
        _, place, op, after = best
        return op, self._with(place, after, place + 1)

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        told = (each.update(context, thread, event) for each in self.generators)
        return Any(*told, turn=self.turn)

    def _with(self, place: int, generator: Generator, turn: int) -> Any:
        before, behind = self.generators[:place], self.generators[place + 1 :]
        return Any(*before, generator, *behind, turn=turn)


@dataclass(frozen=True, slots=True)
class Then:
    """One generator, and after its end another; what the first began may still be under
    way."""

    first: Generator
    second: Generator

    def op(self, context: Context) -> Answer:
        match self.first.op(context):
            case (op, after):
                return op, Then(after, self.second)
            case Instead(other):
                return Instead(Then(other, self.second))
            case None:
                return Instead(self.second)
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return Then(self.first.update(context, thread, event), self.second)


def delayed(seconds: float, generator: Generator) -> Then:
    """A generator that begins so many seconds after the first question."""
    return Then(Sleep(seconds), generator)


@dataclass(frozen=True, slots=True, init=False)
class Phases:
    """One generator after another, and all together: the next begins when the one before
    is over and everything it began has ended.

    What is under way is known from the events. A thread that is not free because its client
    cannot reach the cluster holds nobody up: the next phase may be the one that heals."""

    generators: tuple[Generator, ...]
    busy: frozenset[str]

    def __init__(self, *generators: Generator, busy: frozenset[str] = frozenset()) -> None:
        object.__setattr__(self, "generators", generators)
        object.__setattr__(self, "busy", busy)

    def op(self, context: Context) -> Answer:
        if not self.generators:
            return None
        now, *rest = self.generators
        match now.op(context):
            case (op, after):
                return op, Phases(after, *rest, busy=self.busy)
            case Instead(other):
                return Instead(Phases(other, *rest, busy=self.busy))
            case None:
                return PENDING if self.busy else Instead(Phases(*rest))
            case answer:
                return answer

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        if not self.generators:
            return self
        begun = event.type == "invoke"
        busy = self.busy | {thread} if begun else self.busy - {thread}
        now, *rest = self.generators
        return Phases(now.update(context, thread, event), *rest, busy=busy)
