"""How a blocking call is carried out: on the shared thread, while its own thread waits.

Every call of the sync face is a task on the event loop of one thread (see `portal`). The
thread that called waits for it, and meanwhile does what the task asks of it: the user's
functions (`do`, `record`'s, handlers and so on) run in the thread of whoever called, never
on the event loop. What runs for nobody who waits, as a worker's compensations do, runs in
threads of its own.

After an interrupt (Ctrl-C) of a call that waits, the store is as usable as before; see
`calling`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import os
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
)
from types import TracebackType
from typing import Any, ClassVar, Final, ParamSpec, Protocol, Self, TypeVar, overload

from raftstate.client import acts
from raftstate.client.doing import EffectOptions, Undo
from raftstate.client.forks import forked
from raftstate.client.loops import LoopThread, on_loop_thread
from raftstate.client.portal import Portal
from raftstate.errors import Closed, RaftStateError
from raftstate.sync.calling import Call

P = ParamSpec("P")
T = TypeVar("T")

# Of a list, so many items may be fetched before they are asked for.
_AHEAD: Final = 256


class Block(Protocol):
    """A block whose calls end when it is over: `with store.own(...)`."""

    pid: int
    calls: set[asyncio.Task[Any]]

    @property
    def over(self) -> bool:
        """Whether it has been lost."""
        ...

    async def check(self) -> None:
        """Raise what ended it, if it is over."""
        ...


class _Blocks(threading.local):
    """The blocks that this thread is in."""

    def __init__(self) -> None:
        self.open: list[Block] = []


_blocks: Final = _Blocks()


def blocks_of_thread() -> list[Block]:
    """The blocks that the calling thread is in, outermost first."""
    return _blocks.open


# --- where they run ----------------------------------------------------------


class Running:
    """Where the calls of one store run, and what ends them."""

    def __init__(self, portal: Portal, own: tuple[Block, ...] = ()) -> None:
        self.portal = portal
        self.lock: threading.Lock = threading.Lock()
        self._own = own
        self._pid = os.getpid()

    def within(self, block: Block) -> Running:
        """The same for what belongs to a block, whichever thread uses it."""
        return Running(self.portal, (*self._own, block))

    def open(self) -> None:
        """Open the store. Raises Closed (definite) if it is or was open."""
        self._check_process()
        if self.portal.running is not None:
            raise Closed("the store is open already: connect again", definite=True)
        try:
            self.portal.open()
        except BaseException:  # also an interrupt, after which nobody would close it
            self.portal.close()
            raise

    def close(self, error: BaseException | None = None) -> None:
        """Close the store. Raises Closed (definite) in a forked process, where the block did
        not end with an error."""
        if error is None:
            self._check_process()
        self.portal.close()

    def thread(self) -> LoopThread:
        """The thread of the event loop. Raises Closed (definite) in a forked process, and
        where the store is not open."""
        self.check_opened()
        if (thread := self.portal.running) is None:
            raise Closed("the store was closed", definite=True)
        return thread

    def check_opened(self) -> None:
        """Raise Closed (definite) if the store was never opened, or by another process."""
        self._check_process()
        if self.portal.running is None and not self.portal.closed:
            raise Closed("the store is not open: use `with`", definite=True)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise forked(self._pid)

    def run(self, work: Coroutine[Any, Any, T], *, asks: bool = True, bound: bool = True) -> T:
        """Carry out `work`, and wait for it; the user's functions run in this thread, or
        without `asks` in threads of their own. Raises what it raises; and, if `bound`,
        OwnershipLost as soon as a block that this thread is in has lost its agent."""
        with unless_begun(work):
            blocks = self._blocks() if bound else []
            if not blocks:
                return self._call(work, asks=asks)
            among = _among(blocks, work)
            with unless_begun(among):
                return self._call(among, asks=asks)

    def call(self, act: Callable[[], T]) -> T:
        """Call something on the event loop, and wait for it."""

        async def work() -> T:
            return act()

        return self.run(work())

    def leave(
        self,
        exit: Callable[..., Coroutine[Any, Any, object]],  # noqa: A002  # it is one
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave a block within a block by its `__aexit__`. If the outer one is over by then,
        the inner one is left as if that had been raised in it, and it is raised."""
        work = _left(self._blocks(), exit, error, trace)
        with unless_begun(work):
            if on_loop_thread():
                _unwatched(self.thread(), work)
            else:
                self._call(work)

    def _blocks(self) -> list[Block]:
        pid = os.getpid()
        found = [block for block in _blocks.open if block.pid == pid]
        return found + [block for block in self._own if block not in found]

    def _call(self, work: Coroutine[Any, Any, T], *, asks: bool = True) -> T:
        thread = self.thread()
        if thread.here:
            raise RuntimeError("a blocking call on the thread that would have to answer it")
        return Call(thread).run(work, asks=asks)

    def finish(self, thread: LoopThread, work: Coroutine[Any, Any, T]) -> T | None:
        """Carry out what ends something that was begun on a thread, also where the store
        is closed by now. Raises Closed (definite) in a forked process."""
        with unless_begun(work):
            self._check_process()
            if on_loop_thread():
                _unwatched(thread, work)
                return None
            return Call(thread).run(work, asks=True)

    def post(self, act: Callable[..., object], *arguments: Any) -> None:
        """Have the event loop call something soon, without waiting for it. Does nothing
        where the store is not open, or is another process'."""
        if os.getpid() == self._pid and (thread := self.portal.running) is not None:
            thread.call(act, *arguments)

    # --- lists ---

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an async generator. It is ended when this iterator is closed, or
        nobody has it any more."""
        return _Items(self, items)

    # --- the user's functions ---

    @overload
    def carried(self, function: None) -> None: ...
    @overload
    def carried(self, function: str) -> str: ...
    @overload
    def carried(self, function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def carried(self, function: Any) -> Any:
        """A plain function as one to be awaited, which runs where the user's functions run.
        What it is given of the async face it gets as its twin. A name stays a name.

        Raises TypeError for a coroutine function."""
        if function is None or isinstance(function, str):
            return function
        plain(function)

        @functools.wraps(function)
        async def carry(*arguments: Any, **named: Any) -> Any:
            twins = [twin(one, self) for one in arguments]

            def act() -> Any:
                try:
                    return given(function(*twins, **named))
                finally:
                    for one in twins:
                        if isinstance(one, Handle):
                            one._states.ask()

            return await _where()(act)

        return carry


_left_behind: Final[set[asyncio.Task[Any]]] = set()


def _unwatched(thread: LoopThread, work: Coroutine[Any, Any, Any]) -> None:
    """Carry out what ends a block on a thread of the SDK's own, which cannot wait for it:
    there a generator that was left half-way in the block may be collected."""
    context = contextvars.Context()
    context.run(acts.elsewhere.set, acts.in_thread)

    def ended(task: asyncio.Task[Any]) -> None:
        _left_behind.discard(task)
        if not task.cancelled():
            task.exception()  # as with anything that is collected, nobody is told

    def begin() -> None:
        task = thread.loop.create_task(work, context=context)
        _left_behind.add(task)
        task.add_done_callback(ended)

    if not thread.call(begin):
        work.close()


@contextlib.contextmanager
def unless_begun(work: Coroutine[Any, Any, Any]) -> Iterator[None]:
    """What fails, or is interrupted, before `work` has begun leaves nothing to be awaited."""
    try:
        yield
    except BaseException:
        if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
            work.close()
        raise


async def _among(blocks: list[Block], work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to, which ends with any of the blocks."""
    try:
        for block in blocks:
            await block.check()
    except BaseException:
        work.close()
        raise
    return await _bound(blocks, work)


async def _bound(blocks: list[Block], work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    bound = [block for block in blocks if not block.over]
    for block in bound:
        block.calls.add(task)
    try:
        return await work
    except asyncio.CancelledError:
        for block in bound:
            if block.over:
                task.uncancel()
                await block.check()
        raise
    finally:
        for block in bound:
            block.calls.discard(task)


async def _left(
    blocks: list[Block],
    exit: Callable[..., Coroutine[Any, Any, object]],  # noqa: A002
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    lost: BaseException | None = None
    if error is None:
        try:
            for block in blocks:
                await block.check()
        except (RaftStateError, asyncio.CancelledError) as over:
            error = lost = over
    await _bound(blocks, exit(None if error is None else type(error), error, trace))
    if lost is not None:
        raise lost


class _Pump:
    """Fetches what an async generator gives, a bounded number of items ahead."""

    def __init__(self, items: AsyncIterator[Any]) -> None:
        self._items = items
        self._here: list[Any] = []
        self._ended = False
        self._failed: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()  # something came, or it has ended
        self._wanted = asyncio.Event()  # there is room for more

    async def take(self) -> list[Any]:
        """What has come, at least one item; nothing: it has ended."""
        if self._task is None:
            self._task = asyncio.create_task(self._fetch(), context=contextvars.Context())
        while not self._here and not self._ended:
            self._moved.clear()
            await self._moved.wait()
        if not self._here and self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        found, self._here = self._here, []
        self._wanted.set()
        return found

    async def _fetch(self) -> None:
        try:
            async for item in self._items:
                self._here.append(item)
                self._moved.set()
                if len(self._here) >= _AHEAD:
                    self._wanted.clear()
                    await self._wanted.wait()
        except Exception as error:  # noqa: BLE001  # it is raised by `take`
            self._failed = error
        finally:
            self._ended = True
            self._moved.set()
            if isinstance(self._items, AsyncGenerator):
                await self._items.aclose()

    def end(self) -> None:
        """Fetch nothing more."""
        if self._task is not None:
            self._task.cancel()


class _Items(Iterator[T]):
    """See `Running.each`."""

    def __init__(self, running: Running, items: AsyncIterator[T]) -> None:
        self._running = running
        self._pump = _Pump(items)
        self._here: list[T] = []  # fetched, and to be given, the next one last
        self._lock = threading.RLock()
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with alone(self._lock, "this iterator"):
            if not self._here and not self._ended:
                try:
                    self._here = self._running.run(self._pump.take())
                except Exception:
                    self.close()
                    raise
                self._here.reverse()
            if not self._here:
                self._ended = True
                raise StopIteration
            return self._here.pop()

    def close(self) -> None:
        """End it: there is no more. Doing so twice is harmless."""
        self._here, self._ended = [], True
        self._running.post(self._pump.end)

    def __del__(self) -> None:
        # Whichever thread collects it must not wait here.
        if not self._ended:
            self.close()


# --- the user's functions ----------------------------------------------------


def plain(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which must be a plain one. Raises TypeError for a coroutine function."""
    called = getattr(function, "__call__", None)  # noqa: B004
    for one in (function, getattr(function, "func", None), called):
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(
                f"{function!r} is a coroutine function: raftstate.sync calls plain functions,"
                " in the thread of whoever calls it; for that one use `raftstate.connect`"
            )
    return function


def given(found: T) -> T:
    """What a plain function gave. Raises TypeError for what would have to be awaited."""
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError(
            "a function given to raftstate.sync gave something to await: it is to give the"
            " result itself"
        )
    return found


def listed(items: Iterable[T]) -> Iterable[T]:
    """The same items. A generator is run here, in the user's thread."""
    return items if isinstance(items, Collection) else list(items)


def listing(function: Callable[P, Iterable[T]]) -> Callable[P, Iterable[T]]:
    """The function, with what it gives as a list: it may be a generator function."""

    @functools.wraps(plain(function))
    def listing(*arguments: P.args, **named: P.kwargs) -> Iterable[T]:
        return listed(given(function(*arguments, **named)))

    return listing


def _where() -> Callable[[Callable[[], Any]], Awaitable[Any]]:
    return acts.elsewhere.get() or acts.in_thread


def plain_options(options: EffectOptions) -> EffectOptions:
    """The options of an effect. Raises TypeError if a function of theirs is a coroutine
    function."""
    undo = options.get("undo")
    for function in (
        undo.action if isinstance(undo, Undo) else undo,
        options.get("reconcile"),
    ):
        if callable(function):
            plain(function)
    return options


class States:
    """Where an agent's state comes from: asked in the user's thread, told on the loop."""

    def __init__(self) -> None:
        self._from: Callable[[], Any] | None = None
        self._now: Any = None

    def take(self, state: Callable[[], Any]) -> None:
        """Ask this from now on. Raises TypeError for a coroutine function."""
        self._from = plain(state)

    def ask(self) -> None:
        """Find out what the state is now."""
        if self._from is not None:
            self._now = given(self._from())

    def last(self) -> Any:
        """What it was when it was asked last."""
        return self._now


# --- the classes of this face ------------------------------------------------


_TWINS: dict[type, type[Face]] = {}


def twin(found: Any, running: Running) -> Any:
    """What the user is given for an object of the async face; anything else is itself."""
    for kind in type(found).__mro__:
        if (face := _TWINS.get(kind)) is not None:
            return face(found, running)
    return found


class Face:
    """A class of this face: one of the async face's objects, to be called from threads."""

    twin_of: ClassVar[type]

    def __init__(self, it: Any, running: Running) -> None:
        self._object = it
        self._running = running

    def __init_subclass__(cls, *, of: type | None = None) -> None:
        super().__init_subclass__()
        if of is not None:
            cls.twin_of = of
            _TWINS[of] = cls

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._running.run(work)

    def _enter(self) -> None:
        """Enter a block; an interrupt that comes as it was entered leaves it again."""
        it, entered = self._object, False

        async def enter() -> None:
            nonlocal entered
            await it.__aenter__()
            entered = True

        try:
            self._do(enter())
        except BaseException as error:
            if entered:
                self._running.leave(it.__aexit__, error, error.__traceback__)
            raise

    def __repr__(self) -> str:
        return f"<sync {self._object!r}>"


class Handle(Face):
    """What one thread uses at a time. Another that calls meanwhile gets a RuntimeError."""

    def __init__(self, it: Any, running: Running) -> None:
        super().__init__(it, running)
        self._lock = threading.RLock()
        self._states = States()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        with unless_begun(work), self._alone():
            return self._running.run(work)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return alone(self._lock, type(self).__name__)


@contextlib.contextmanager
def alone(lock: Any, what: str) -> Iterator[None]:
    """In here no other thread is. Raises RuntimeError if one is."""
    if not lock.acquire(blocking=False):
        raise RuntimeError(f"{what} is in use by another thread: one at a time may")
    try:
        yield
    finally:
        lock.release()
