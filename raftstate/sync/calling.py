"""One blocking call: a task on the event loop, and a thread that waits for it.

While it waits, the thread does what the task asks of it. An interrupt (Ctrl-C) cancels the
task, waits for the task's end within `INTERRUPTED_S`, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from raftstate.client import acts
from raftstate.client.loops import LoopThread, call_soon
from raftstate.errors import Closed

T = TypeVar("T")

# How long an interrupted call may take to end what it began.
INTERRUPTED_S: Final = 5.0
# How late an interrupt may be noticed, at worst.
LOOK_S: Final = 0.5
# What ends the thread's own work, and not only what it was asked to do.
_ENDS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


class _Asked:
    """A function that a task wants to be called by the thread that waits for it."""

    def __init__(self, act: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self._act = act
        self._answer = answer
        self._loop = answer.get_loop()

    def do(self) -> BaseException | None:
        """Call it, and give the task what it gave; what is for the thread itself, such as
        an interrupt, is given back."""
        if self._answer.cancelled():
            return None
        found: Any = None
        failed: BaseException | None = None
        try:
            found = self._act()
        except StopIteration as error:  # which a future cannot hold
            failed = RuntimeError(f"it raised StopIteration: {error}")
        except _ENDS as error:
            self.refuse()  # on the event loop it would end more, or be taken for another's
            return error
        except BaseException as error:  # noqa: BLE001  # it is raised where it is awaited
            failed = error
        call_soon(self._loop, self._settle, found, failed)
        return None

    def refuse(self) -> None:
        """It is not done: nobody waits any more."""
        call_soon(self._loop, self._answer.cancel, "interrupted")

    def _settle(self, found: Any, failed: BaseException | None) -> None:
        if self._answer.done():
            return
        if failed is None:
            self._answer.set_result(found)
        else:
            self._answer.set_exception(failed)


class Call:
    """One blocking call under way: a task there, and a thread that waits here."""

    def __init__(self, thread: LoopThread) -> None:
        self._thread = thread
        self._told: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._task: asyncio.Task[Any] | None = None
        self._gone = False
        self._cancelled = False

    async def ask(self, act: Callable[[], Any]) -> Any:
        """Have the thread that waits call something. From the event loop."""
        if self._cancelled:
            raise asyncio.CancelledError("interrupted")
        if self._gone:  # what the call has left behind
            return await acts.in_thread(act)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._told.put(_Asked(act, answer))
        return await answer

    def run(self, work: Coroutine[Any, Any, T], *, asks: bool) -> T:
        """What `work` comes to."""
        context = contextvars.Context()
        context.run(acts.elsewhere.set, self.ask if asks else acts.in_thread)
        try:
            if not self._thread.call(self._begin, work, context):
                raise Closed("the store was closed with its thread", definite=True)
            self._wait()
        except BaseException:
            self._interrupted()
            raise
        assert self._task is not None
        if self._task.cancelled():
            raise Closed("the call ended with its thread", definite=False)
        found: T = self._task.result()
        return found

    def _wait(self) -> None:
        # Signals are the main thread's. One that arrives just before it falls asleep does not
        # wake it: so it looks up from time to time.
        main = threading.current_thread() is threading.main_thread()
        while True:
            try:
                asked = self._told.get(timeout=LOOK_S if main else None)
            except queue.Empty:
                continue
            if asked is None:
                return
            if (error := asked.do()) is not None:
                raise error

    def _interrupted(self) -> None:
        """Cancel the task, and wait for its end, but not for long. What it asks meanwhile
        is refused."""
        deadline = time.monotonic() + INTERRUPTED_S
        try:
            if not self._gone and self._thread.call(self._cancel):
                with contextlib.suppress(queue.Empty):
                    while asked := self._told.get(timeout=_left_of(deadline)):
                        asked.refuse()
        finally:  # also where another interrupt broke that off
            self._thread.call(self._leave)

    # --- on the event loop ---

    def _begin(self, work: Coroutine[Any, Any, Any], context: contextvars.Context) -> None:
        self._task = self._thread.loop.create_task(work, context=context)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # it is for the thread, which may have gone
        self._gone = True
        self._told.put(None)

    def _cancel(self) -> None:
        if self._task is None:  # it never began, and nothing will
            self._gone = True
            self._told.put(None)
        elif not self._cancelled:
            self._cancelled = True
            # Not before it has begun: what leaves a block has to do so.
            self._thread.loop.call_soon(self._task.cancel, "interrupted")

    def _leave(self) -> None:
        """The thread waits no more: what is asked of it is not done."""
        if not self._gone:
            self._cancel()
        self._gone = True
        with contextlib.suppress(queue.Empty):
            while True:
                if (asked := self._told.get_nowait()) is not None:
                    asked.refuse()


def _left_of(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
