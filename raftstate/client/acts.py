"""What user code is given when it acts outside of the store, and what it says back.

Three kinds of functions act: what does an effect, what undoes one, and what finds out
whether one happened. Each takes one argument, which says all there is to know, and may be
a coroutine function; one that is not is run in a thread, so that it may block. What it
gives back is the result: bytes, or what JSON can hold, at most 64 KiB.

How it ends is what the ledger says of it:

* it returns: it was done, it was undone, it had happened;
* it raises NotDone: it surely was not done, and will not be (an effect, or a question
  whether there was one);
* it raises FailedForGood (an undoing): there is no use in trying again;
* it raises anything else: nobody knows (an effect), or it is tried again (an undoing).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import json
import re
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from raftstate.client import values
from raftstate.client.clock import now
from raftstate.errors import EffectTooLate
from raftstate.v1.effect_service_pb2 import Effect
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.rollback_service_pb2 import Rollback

# How much of a text for people the store keeps.
PEOPLE_CHARS: Final = 255
RESULT_BYTES: Final = 64 << 10
UNKEPT: Final = "its result cannot be kept"
# Where the plain functions of a task run, if not each in a thread of its own. Where this is
# set, no function of the user's runs on the event loop: not a coroutine function either.
elsewhere: Final[ContextVar[Callable[[Callable[[], Any]], Awaitable[Any]] | None]] = ContextVar(
    "elsewhere", default=None
)
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9._/:~-]")


class NotDone(Exception):
    """Raised by what does an effect: it surely did not happen, and will not. Raised by what
    was asked whether an effect happened: it did not, and the outside sees to it that it
    will not.

    >>> def charge(call):
    ...     raise raftstate.NotDone("the card was refused")
    >>> async with store.own("not-done") as agent:
    ...     async with agent.step() as step:
    ...         _ = await step.effect("charge", 3, do=charge, undo="refund", effect_id="charge")
    Traceback (most recent call last):
    raftstate.client.acts.NotDone: the card was refused
    >>> (await store.get_effect("not-done", "charge")).error
    'NotDone: the card was refused'
    """


class _NotAwaited(NotDone, TypeError):
    """A plain function gave something to await where nothing is awaited: so nothing of it
    has begun."""


class FailedForGood(Exception):
    """Raised by what undoes an effect: trying again is of no use. A person has to decide.

    >>> @raftstate.compensation("failed-for-good-refund")
    ... def refund(call):
    ...     raise raftstate.FailedForGood("the account is closed")
    >>> async with store.own("failed-for-good") as agent:
    ...     async with store.saga("failed-for-good", agent=agent) as saga:
    ...         _ = await saga.step("charge", 3, do=lambda call: None, undo=refund)
    ...         raise ValueError("it is sold out")
    Traceback (most recent call last):
    ValueError: it is sold out
    saga failed-for-good is not undone yet: item 1 waits for a person
    """


@dataclass(frozen=True, slots=True)
class EffectCall:
    """An effect, for what does it, or finds out whether it happened.

    `key` is the idempotency key to give to the outside: the same however often the effect
    is done again. `args` is what `step.effect` was given. `begin_by` is when it is too late
    to begin, by the client's own clock; see `check`.

    >>> def charge(call):  # what the outside has seen under call.key it does not do again
    ...     return {"key": call.key, "amount": call.args["amount"]}
    >>> async with store.own("effect-call") as agent:
    ...     async with agent.step() as step:
    ...         await step.effect(
    ...             "charge", {"amount": 3}, do=charge, undo="refund", key="order-7"
    ...         )
    {'key': 'order-7', 'amount': 3}
    """

    agent_id: str
    effect_id: str
    action: str
    args: Any
    key: str
    begin_by: float = float("inf")
    owned_for: Callable[[], float] = field(default=lambda: float("inf"), repr=False)

    @property
    def time_left(self) -> float:
        """Seconds in which it may still be begun."""
        return min(self.begin_by - now(), self.owned_for())

    def check(self) -> None:
        """Raise EffectTooLate (definite) if it is too late to begin. It is asked once before
        the function is called; one that prepares for long asks again just before it acts."""
        if (left := self.time_left) <= 0:
            raise EffectTooLate(
                f"effect {self.effect_id} of {self.agent_id}: {-left:.3f} s too late to begin",
                definite=True,
                details={"agent_id": self.agent_id, "effect_id": self.effect_id},
            )


@dataclass(frozen=True, slots=True)
class UndoCall:
    """An effect to be undone, for what undoes it.

    `key` is the idempotency key of every attempt to undo it; `effect_key` is the one that
    the effect was done under, which the outside is to refuse from now on, if the undoing
    was said to leave a tombstone. `args` is what `undo` was given, by default the effect's.
    `result` is what the effect gave, None if that is not known. `attempt` counts from 1.

    >>> refunded = []
    >>> @raftstate.compensation("undo-call-refund")
    ... def refund(call):
    ...     refunded.append((call.args, call.result, call.attempt))
    >>> async with store.own("undo-call") as agent:
    ...     async with store.saga("undo-call", agent=agent) as saga:
    ...         _ = await saga.step("charge", 3, do=lambda call: "bill 7", undo=refund)
    ...         raise ValueError("it is sold out")
    Traceback (most recent call last):
    ValueError: it is sold out
    >>> refunded
    [(3, 'bill 7', 1)]
    """

    plan_id: str
    agent_id: str
    effect_id: str
    action: str
    args: Any
    key: str
    effect_key: str
    result: Any
    attempt: int
    effect: Effect = field(repr=False)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a rollback has restored, for a validator: an agent's `state`, as the checkpoint
    has it that the agent was taken back to, and the `events` after that which still count.
    `state` is None where there is no checkpoint.

    >>> @raftstate.validator("restored-total")
    ... def right(restored):
    ...     return restored.state["total"] >= 0
    >>> await store.put_validator("restored-total")
    >>> async with store.own("restored") as agent:
    ...     good = await agent.checkpoint({"total": 1})
    >>> done = await store.rollback(
    ...     "restored", raftstate.to_checkpoint(good), validators=["restored-total"]
    ... )
    >>> [(one.validator, one.passed) for one in done.validators]
    [('restored-total', True)]
    """

    agent_id: str
    state: Any
    events: list[Event]
    rollback: Rollback


def json_or_bytes(data: bytes, content_type: str) -> Any:
    """What was put in: see `raftstate.decode`."""
    if content_type == values.JSON:
        return json.loads(data)
    return data if data or content_type else None


def call_of(effect: Effect, begin_by: float = float("inf")) -> EffectCall:
    """An effect of the ledger as a function gets it."""
    return EffectCall(
        agent_id=effect.agent_id,
        effect_id=effect.effect_id,
        action=effect.action,
        args=json_or_bytes(effect.arguments, effect.content_type),
        key=effect.idempotency_key,
        begin_by=begin_by,
    )


def kept(result: Any) -> tuple[bytes, str, str]:
    """What the ledger keeps of a function's result: data and content type; and why it keeps
    none of it, if that cannot be."""
    try:
        data, content_type = values.encode(result)
    except (TypeError, ValueError) as error:
        return b"", "", f"{UNKEPT}: {error}"
    if len(data) > RESULT_BYTES:
        return b"", "", f"{UNKEPT}: {len(data)} bytes, of {RESULT_BYTES} that may be"
    return data, content_type, ""


def fit_for_id(text: str) -> str:
    """A text as an effect's id may hold it."""
    return _NOT_IN_IDS.sub("-", text)


def labelled(error: BaseException) -> str:
    """An error for people, as short as the ledger keeps it."""
    said = str(error) or "no message"
    return short(f"{type(error).__name__}: {said}")


def short(text: str) -> str:
    """A text for people as the store takes it: not too long, and UTF-8, which what an
    operating system says need not be."""
    return text[:PEOPLE_CHARS].encode("utf-8", "replace").decode()


async def run(
    function: Callable[[Any], Any],
    call: Any,
    around: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Any:
    """Call a function of the user's: on this loop if it is a coroutine function, otherwise
    in a thread; or `elsewhere`. What can be too late is checked right before, where it is
    run; `around` is entered there before that, and left when the function ends, whoever
    still waits."""
    asked = elsewhere.get()
    if _is_async(function) and asked is not None:

        async def wait() -> Any:
            return await function(call)

        def begin_loop() -> Any:
            with around():
                _check(call)
                return asyncio.run(wait())

        return await in_thread(begin_loop)
    if _is_async(function):
        with around():
            _check(call)
            return await function(call)

    def begin() -> Any:
        with around():
            _check(call)
            return function(call)

    found = await (in_thread if asked is None else asked)(begin)
    if not inspect.iscoroutine(found):
        return found
    if asked is not None:
        found.close()
        raise _NotAwaited(f"{function!r} gave a coroutine, and is to give the result itself")
    try:  # a plain function that made a coroutine, as a lambda does, has not begun anything
        with around():
            _check(call)
            return await found
    finally:
        found.close()


async def in_thread(begin: Callable[[], Any]) -> Any:
    """What a function gives that runs in a thread of its own: it neither waits for a free
    one, which might take longer than it has, nor does it keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context, apart = contextvars.copy_context(), elsewhere.get() is not None

    def settle(found: Any, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    def act() -> None:
        found: Any = None
        failed: BaseException | None = None
        try:
            found = context.run(begin)
        except StopIteration as error:  # which a future cannot hold
            failed = RuntimeError(f"it raised StopIteration: {error}")
        except BaseException as error:  # noqa: BLE001  # it is raised where it is awaited
            failed = error
        if apart and isinstance(failed, KeyboardInterrupt | SystemExit):
            # On a loop that is not the user's it would end what is others' as well.
            failed = RuntimeError(f"it raised {failed!r}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=act, name="raftstate-act", daemon=True).start()
    return await future


def _check(call: Any) -> None:
    if isinstance(call, EffectCall):
        call.check()


def _is_async(function: Callable[..., Any]) -> bool:
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
