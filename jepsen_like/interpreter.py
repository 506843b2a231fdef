"""The one loop: asks the generator, lets clients and the nemesis do it, writes it down.

In this order, for ever:

1. Completions are taken in first, all that are there. To ask or to wait while one lies at
   hand would make operations overlap in the history that did not overlap in the world, and
   what overlaps is easier to explain: concurrency that is invented hides bugs.
2. The generator is asked, with the time and the threads that are free.
3. An operation that is due begins: first it is written down, then its thread is told. One
   that is due later, and PENDING, is waited for: until then, until something completes, or
   for a bounded time, whatever comes first. Then the generator is asked again.

So an `invoke` is written before anything is sent, and a completion after everything has
come: an operation happened within the times that the history says.

Each thread has a worker, a task of its own, which opens a client, hands it one operation
after another, and tells how they ended. Nobody knows how an operation ended that raised, or
that went on past its time limit: it is `info`. After an `info` the thread's process does
nothing more; the thread goes on as another process, with another client. A thread without an
open client is not free, and no operation is asked for it.

The loop distrusts everybody: a generator that names a thread that is busy, a client whose
answer is no outcome, a clock that goes back raise HarnessError. A run in which the harness
broke its own rules shows nothing, whatever the checkers would say.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias

from jepsen_like.defects import place_of
from jepsen_like.generator import NEMESIS_THREADS, ask, is_client, workload_of
from jepsen_like.history import NEMESIS, Event, Writer
from jepsen_like.protocols import PENDING, Client, Context, Done, Generator, Op, Pending

ClientFactory: TypeAlias = Callable[[], Client]

_NEMESIS: Final = "nemesis"  # as a workload
OUTCOMES: Final = ("ok", "fail", "info")
POLL_S: Final = 0.02  # the longest that the generator is not asked again
TICK_S: Final = 0.001  # the shortest wait: a timer is no finer, and a shorter one would spin
OPEN_S: Final = 30.0  # for one attempt to open a client, which may start a process
CLOSE_S: Final = 20.0
GRACE_S: Final = 2.0  # for a cancelled task to end
BACKOFF_S: Final = (0.1, 2.0)  # before the next attempt to open: at first, and at most
OPERATION_S: Final = 10.0  # for a client's operation, unless another limit is given
NEMESIS_S: Final = 120.0  # for the nemesis': it waits for the cluster to serve again
ERROR_CHARS: Final = 400  # of an error in the history,
NAME_CHARS: Final = 60  # and in the figures


class HarnessError(Exception):
    """The harness broke its own rules. The run shows nothing."""


class Nemesis(Protocol):
    """Whoever does the operations of the nemesis' threads."""

    async def invoke(self, op: Op) -> Done:
        """Do it. How it is told does not matter: it is written down as `info`."""
        ...


@dataclass(slots=True)
class Tally:
    """What happened in a run, in figures. `complete` is whether the generator came to its
    end; if not, the time limit came first.

    `errors` counts operations that did not end well, by "workload/f type: error". `defects`
    counts those that raised, by "workload/f: the whole error, and where it was raised".
    `unopened` says of threads that have no open client why the last attempt failed."""

    ops: int = 0
    ok: int = 0
    fail: int = 0
    info: int = 0
    raised: int = 0  # operations whose client raised
    hung: int = 0  # operations that went on past their time limit
    deaf: int = 0  # tasks that did not end when they were cancelled
    nemesis_ops: int = 0
    nemesis_errors: int = 0
    opened: int = 0
    open_failures: int = 0
    close_failures: int = 0
    questions: int = 0
    complete: bool = False
    errors: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    unopened: dict[str, str] = field(default_factory=dict)


# --- what workers tell the loop ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Opened:
    thread: str


@dataclass(frozen=True, slots=True)
class _Ended:
    thread: str
    done: Done
    how: Literal["answered", "raised", "hung"]
    where: str = ""  # in the code it was raised, if it was


@dataclass(frozen=True, slots=True)
class _Broken:
    thread: str
    error: BaseException


_Message: TypeAlias = _Opened | _Ended | _Broken


class _AsClient:
    """The nemesis as a client like any other: there is nothing to open."""

    def __init__(self, nemesis: Nemesis) -> None:
        self.invoke = nemesis.invoke

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class _Children:
    """Tasks that are bounded, cancelled, and never forgotten."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self.deaf: set[asyncio.Task[Any]] = set()  # did not end when they were cancelled

    def start(self, call: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        """Call it in a task of its own; whatever it raises is the task's."""

        async def called() -> Any:
            return await call()

        task = asyncio.create_task(called())
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    async def wait(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Wait for a task, so long. If whoever waits is cancelled, so is the task."""
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            await self.cancel(task)
            raise

    async def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, and give it a moment to end. If it does not, it is left alone."""
        task.cancel()
        _, deaf = await asyncio.wait({task}, timeout=GRACE_S)
        self.deaf |= deaf

    async def end(self) -> None:
        """Give all that still run a moment, then cancel them."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=GRACE_S)
        if running := set(self._running):
            for task in running:
                task.cancel()
            _, deaf = await asyncio.wait(running, timeout=GRACE_S)
            self.deaf |= deaf

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # it was looked at; asyncio need not complain


def _error_of(task: asyncio.Task[Any]) -> str:
    """Why a task that is done failed; "" if it did not."""
    if task.cancelled():
        return "CancelledError"
    error = task.exception()
    if error is None:
        return ""
    return f"{type(error).__name__}: {error}"[:ERROR_CHARS]


class _Worker:
    """What one thread does: open a client, do operations until the outcome of one is not
    known, close the client, and so on."""

    def __init__(
        self,
        thread: str,
        factory: ClientFactory,
        limit: float,
        tell: Callable[[_Message], None],
        children: _Children,
        tally: Tally,
    ) -> None:
        self._thread = thread
        self._factory = factory
        self._limit = limit
        self._tell = tell
        self._children = children
        self._tally = tally
        self._jobs: asyncio.Queue[Op] = asyncio.Queue()
        self.task = asyncio.create_task(self._run(), name=thread)
        self.task.add_done_callback(self._ended)

    def give(self, op: Op) -> None:
        """Have an operation done; the thread must be free."""
        self._jobs.put_nowait(op)

    async def _run(self) -> None:
        pause, pause_max = BACKOFF_S
        while True:
            client = self._factory()
            try:
                error = await self._open(client)
                if not error:
                    pause = BACKOFF_S[0]
                    await self._serve(client)
            finally:
                await self._close(client)
            if error:
                await asyncio.sleep(pause)
                pause = min(2 * pause, pause_max)

    async def _open(self, client: Client) -> str:
        """Open a client, and tell. Why it failed; "" if it did not."""
        task = self._children.start(client.open)
        await self._children.wait(task, OPEN_S)
        if not task.done():
            error = f"no end after {OPEN_S:g} s"
            await self._children.cancel(task)
        else:
            error = _error_of(task)
        if error:
            self._tally.open_failures += 1
            self._tally.unopened[self._thread] = error
        else:
            self._tally.opened += is_client(self._thread)
            self._tally.unopened.pop(self._thread, None)
            self._tell(_Opened(self._thread))
        return error

    async def _serve(self, client: Client) -> None:
        """Do operations until the outcome of one is not known."""
        while True:
            op = await self._jobs.get()
            task = self._children.start(partial(client.invoke, op))
            await self._children.wait(task, self._limit)
            ended = self._how(task)
            self._tell(ended)
            if ended.how == "hung":
                # Told first: how long it takes to be rid of it is not the history's business.
                await self._children.cancel(task)
            if ended.done.type == "info":
                return

    def _how(self, task: asyncio.Task[Any]) -> _Ended:
        if not task.done():
            error = f"no end after {self._limit:g} s"
            return _Ended(self._thread, Done("info", error=error), "hung")
        if error := _error_of(task):
            where = "" if task.cancelled() else place_of(task.exception())
            return _Ended(self._thread, Done("info", error=error), "raised", where)
        done = task.result()
        if not isinstance(done, Done):
            raise HarnessError(f"the client of {self._thread} answers {done!r:.200}")
        return _Ended(self._thread, done, "answered")

    async def _close(self, client: Client) -> None:
        task = self._children.start(client.close)
        await asyncio.wait({task}, timeout=CLOSE_S)
        if not task.done():
            await self._children.cancel(task)
        self._tally.close_failures += (
            task.cancelled() or not task.done() or bool(_error_of(task))
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tell(_Broken(self._thread, error))


# --- the loop ------------------------------------------------------------------


async def interpret(
    generator: Generator,
    clients: Mapping[str, ClientFactory],
    nemesis: Nemesis,
    writer: Writer,
    clock: Callable[[], float],
    *,
    timeout: float = OPERATION_S,
    timeouts: Mapping[str, float] | None = None,
    limit: float = math.inf,
) -> Tally:
    """Do what a generator says until it ends and everything has ended that it began, or
    until `limit` seconds on the clock; what is under way then is `info`.

    `clients` has a factory for each thread, in the order in which processes are numbered; a
    factory makes a client that is not open yet, and does not fail. `clock` is in seconds
    since the run began, and goes as fast as the event loop's. An operation is `info` after
    `timeout` seconds; `timeouts` has other limits by workload, "nemesis" among them.

    Raises HarnessError if generator, client or clock break the rules."""
    if taken := [thread for thread in clients if workload_of(thread) == _NEMESIS]:
        raise HarnessError(f"no client may be the thread {taken[0]!r}")
    limits = {_NEMESIS: NEMESIS_S, **(timeouts or {})}
    harm: dict[str, ClientFactory] = dict.fromkeys(NEMESIS_THREADS, lambda: _AsClient(nemesis))
    loop = _Loop(generator, tuple(clients), writer, clock, limit)
    try:
        for thread, factory in {**clients, **harm}.items():
            loop.add(thread, factory, limits.get(workload_of(thread), timeout))
        await loop.run()
    finally:
        await loop.stop()
    return loop.tally


class _Loop:
    """The state of one run."""

    def __init__(
        self,
        generator: Generator,
        clients: tuple[str, ...],
        writer: Writer,
        clock: Callable[[], float],
        limit: float,
    ) -> None:
        self.tally = Tally()
        self._generator = generator
        self._writer = writer
        self._clock = clock
        self._limit = limit
        self._time = 0.0
        self._clients = clients
        self._threads = (*clients, *NEMESIS_THREADS)
        self._processes = {thread: number for number, thread in enumerate(clients)}
        self._processes |= dict.fromkeys(NEMESIS_THREADS, NEMESIS)
        # In the order in which they became free: whoever waited longest goes first.
        self._free: dict[str, None] = {}
        self._under_way: dict[str, Op] = {}
        self._workers: dict[str, _Worker] = {}
        self._children = _Children()
        self._messages: deque[_Message] = deque()
        self._told = asyncio.Event()

    def add(self, thread: str, factory: ClientFactory, seconds: float) -> None:
        """Start the worker of a thread, whose operations may take so long."""
        self._workers[thread] = _Worker(
            thread, factory, seconds, self._tell, self._children, self.tally
        )

    async def run(self) -> None:
        """Until the generator ends, or the time."""
        while True:
            while self._messages:
                self._take_in(self._messages.popleft())
            context = self._context()
            if context.time >= self._limit:
                self._give_up()
                return
            match self._ask(context):
                case None if not self._under_way:
                    self.tally.complete = True
                    return
                case (due, op, after) if due <= context.time:
                    self._begin(op, after)
                    await asyncio.sleep(0)  # it leaves at once, and others may come in
                case (due, _, _):
                    await self._wait(due - context.time)
                case _:
                    await self._wait(POLL_S)

    async def stop(self) -> None:
        """End all workers; they close their clients. Bounded, whatever clients do."""
        tasks = [worker.task for worker in self._workers.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=3 * GRACE_S + CLOSE_S)
        await self._children.end()
        self.tally.deaf = len(self._children.deaf)

    def _context(self) -> Context:
        return Context(self._now(), self._threads, frozenset(self._free))

    def _now(self) -> float:
        now = self._clock()
        if not now >= self._time:  # also if it is no number
            raise HarnessError(f"the clock went from {self._time} to {now}")
        self._time = now
        return now

    # --- taking in

    def _tell(self, message: _Message) -> None:
        self._messages.append(message)
        self._told.set()

    async def _wait(self, seconds: float) -> None:
        """Until there is a message, or so long, but not longer than POLL_S."""
        if self._messages:
            return
        self._told.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, TICK_S), POLL_S)):
                await self._told.wait()

    def _take_in(self, message: _Message) -> None:
        match message:
            case _Opened(thread):
                self._free[thread] = None
            case _Ended(thread, done, how, where):
                self._complete(thread, done, how, where)
            case _Broken(thread, error):
                raise HarnessError(f"the worker of {thread} broke: {error!r}") from error

    def _complete(self, thread: str, done: Done, how: str, where: str) -> None:
        """Write down how an operation ended; then its thread is free, or its process does
        nothing more."""
        op = self._under_way.pop(thread)
        if complaints := list(_wrong_with_done(done)):
            raise HarnessError(f"{op} ended with {done!r:.400}: {complaints}")
        self._count(op, done, how)
        if how == "raised":
            at = f" ({where})" if where else ""
            self.tally.defects[f"{op.workload}/{op.f}: {done.error}{at}"] += 1
        event = self._write_end(thread, op, done)
        if done.type != "info":
            self._free[thread] = None
        elif is_client(thread):
            self._processes[thread] += len(self._clients)
        self._update(thread, event)

    def _give_up(self) -> None:
        """The time is over: nobody knows how what is under way would have ended."""
        for thread, op in self._under_way.items():
            done = Done("info", error="the run was over")
            self._count(op, done, "answered")
            self._write_end(thread, op, done)

    def _count(self, op: Op, done: Done, how: str) -> None:
        tally = self.tally
        tally.raised += how == "raised"
        tally.hung += how == "hung"
        if op.workload == _NEMESIS:
            tally.nemesis_errors += bool(done.error)
        else:
            tally.ok += done.type == "ok"
            tally.fail += done.type == "fail"
            tally.info += done.type == "info"
        if done.error:
            name = done.error.partition(":")[0][:NAME_CHARS]
            tally.errors[f"{op.workload}/{op.f} {done.type}: {name}"] += 1

    # --- asking

    def _ask(self, context: Context) -> tuple[float, Op, Generator] | Pending | None:
        """What the generator says, checked: an operation, with a free thread and with the
        time when it is due, and the generator after it."""
        self.tally.questions += 1
        try:
            answer, self._generator = ask(self._generator, context)
        except Exception as error:
            raise HarnessError(f"the generator raised {error!r}") from error
        match answer:
            case None | Pending():
                return answer
            case (Op() as op, after):
                pass
            case _:
                raise HarnessError(f"the generator answers {answer!r:.400}")
        if op.thread is None:
            op = replace(op, thread=self._longest_free(op))
        if complaints := list(_wrong_with_op(op, context)):
            raise HarnessError(f"the generator says {op!r:.400}: {complaints}")
        if op.thread is None:
            return PENDING
        return context.time if op.time is None else op.time, op, after

    def _longest_free(self, op: Op) -> str | None:
        """Of the threads that may do it the one that is free for the longest time."""
        for thread in self._free:
            if workload_of(thread) == op.workload:
                return thread
        return None

    def _begin(self, op: Op, after: Generator) -> None:
        """Write an operation down, and have its thread do it."""
        thread = op.thread
        assert thread is not None
        del self._free[thread]
        self._under_way[thread] = op
        if not is_client(thread):
            self.tally.nemesis_ops += 1
        else:
            self.tally.ops += 1
        self._generator = after
        event = self._write(
            Event(
                0,
                self._now(),
                "invoke",
                self._processes[thread],
                op.workload,
                op.f,
                op.key,
                op.value,
            )
        )
        self._workers[thread].give(op)
        self._update(thread, event)

    def _update(self, thread: str, event: Event) -> None:
        try:
            self._generator = self._generator.update(self._context(), thread, event)
        except HarnessError:
            raise
        except Exception as error:
            raise HarnessError(f"the generator raised {error!r} at {event}") from error
        if self._generator is None:
            raise HarnessError(f"no generator after {event}")

    # --- writing down

    def _write_end(self, thread: str, op: Op, done: Done) -> Event:
        """Write down how an operation ended. What a client cannot say of an operation that
        was not `ok` is what it was asked with."""
        nemesis = not is_client(thread)
        value = done.value
        if value is None and not nemesis and done.type != "ok":
            value = op.value
        return self._write(
            Event(
                index=0,
                time=self._now(),
                type="info" if nemesis else done.type,
                process=self._processes[thread],
                workload=op.workload,
                f=op.f,
                key=op.key,
                value=value,
                node=done.node,
                revision=done.revision,
                error=done.error,
            )
        )

    def _write(self, event: Event) -> Event:
        try:
            return self._writer.append(event)
        except (TypeError, ValueError) as error:
            raise HarnessError(f"it cannot be written down: {event!r:.400}") from error


# --- the rules -----------------------------------------------------------------


def _wrong_with_op(op: Op, context: Context) -> Iterator[str]:
    """What is wrong with an operation that a generator says."""
    if not isinstance(op.f, str) or not op.f or not isinstance(op.key, str):
        yield "its f or its key is no name"
    if all(workload_of(thread) != op.workload for thread in context.threads):
        yield "no thread does that workload"
    if op.thread is not None:
        if op.thread not in context.free:
            yield "its thread is not free" if op.thread in context.threads else "no such thread"
        if workload_of(op.thread) != op.workload:
            yield "its thread does another workload"
    if op.time is not None:
        if not isinstance(op.time, int | float) or not math.isfinite(op.time):
            yield "its time is none"
        elif op.time < context.time:
            yield f"it goes back in time, from {context.time}"


def _wrong_with_done(done: Done) -> Iterator[str]:
    """What is wrong with what a client answers."""
    if done.type not in OUTCOMES:
        yield f"{done.type!r} is no outcome"
    if not isinstance(done.revision, int) or done.revision < 0:
        yield "its revision is none"
    if not isinstance(done.node, str) or not isinstance(done.error, str):
        yield "its node or its error is no text"
