"""Circuit breakers: calls that are not made while whoever is called does not answer.

    answer = await store.breaker("search").call(search, "pens", fallback=nothing)

A breaker is shared by all clients of the cluster; what each sees is reported, and the store
decides. While it is closed a call asks nobody: a watch keeps this client's knowledge of it
true, a few milliseconds behind, and where no word has come for `TRUSTED_S` (3 s) the next
call asks a server before it acts. So a call may still be let through for that long after a
trip elsewhere, and not longer; but where the only member in reach is itself cut off from the
others, until a report of calls has gone unanswered for as long.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

from raftstate.client import reading
from raftstate.client.board import Board
from raftstate.client.circuits import Ticket, class_name
from raftstate.client.engine import Engine
from raftstate.client.reading import How
from raftstate.errors import (
    BreakerNotFound,
    BreakerOpen,
    Closed,
    InvalidRequest,
    RaftStateError,
)
from raftstate.v1.breaker_service_pb2 import (
    TRIP_ACTION_DEGRADE,
    TRIP_ACTION_FAIL_OVER,
    TRIP_ACTION_NOTIFY,
    TRIP_ACTION_ROLLBACK,
    Breaker,
    BreakerConfig,
    BreakerState,
    DeleteBreakerRequest,
    ForceCloseRequest,
    ForceOpenRequest,
    GetBreakerRequest,
    ListBreakersRequest,
    PutBreakerRequest,
    ResetRequest,
    TripAction,
    TripPlan,
)
from raftstate.v1.rollback_service_pb2 import (
    BARRIER_POLICY_ASK,
    BARRIER_POLICY_PROCEED,
    BarrierPolicy,
)

P = ParamSpec("P")
T = TypeVar("T")

_ACTIONS: Final[dict[str, TripAction]] = {
    "notify": TRIP_ACTION_NOTIFY,
    "degrade": TRIP_ACTION_DEGRADE,
    "fail_over": TRIP_ACTION_FAIL_OVER,
    "rollback": TRIP_ACTION_ROLLBACK,
}
_POLICIES: Final[dict[str, BarrierPolicy]] = {
    "ask": BARRIER_POLICY_ASK,
    "proceed": BARRIER_POLICY_PROCEED,
}


class Settings(TypedDict, total=False):
    """When a breaker trips, and what then: see `BreakerConfig` of the API for limits and
    defaults. Of the two windows one is required, and one of the two rates."""

    count_window: int
    time_window_ms: int
    failure_rate: float
    slow_rate: float
    slow_call_ms: int
    minimum_calls: int
    minimum_reporters: int
    open_ms: int
    open_factor: float
    open_max_ms: int
    probes: int
    successes: int
    probe_timeout_ms: int
    # Classes, or their names, with or without the module. Subclasses are ignored too.
    ignored_errors: Iterable[str | type[BaseException]]
    # What a trip does beside opening an incident, to which agents.
    on_trip: Literal["notify", "degrade", "fail_over", "rollback"]
    agents: Iterable[str]
    group: str
    validators: Iterable[str]
    on_barrier: Literal["ask", "proceed"]


class BreakerHandle:
    """A breaker, to make calls through. Made by `Store.breaker`.

    Calls raise what the function raises; and, without having called it, BreakerOpen
    (definite) with `retry_after`, BreakerNotFound (definite), and where a server has to
    be asked and none answers, NoQuorum (definite)."""

    def __init__(
        self,
        board: Board,
        name: str,
        fallback: Callable[..., Any] | None,
        unreachable: Literal["raise", "call"],
        timeout: float | None,
    ) -> None:
        self._board = board
        self._circuit = board.circuit(name)
        self._fallback = fallback
        self._unreachable = unreachable
        self._timeout = timeout

    @property
    def name(self) -> str:
        """The breaker's name."""
        return self._circuit.name

    @property
    def state(self) -> str:
        """What it was when something was last heard of it: "closed", "open", "half_open",
        "forced_open", "forced_closed"; "unknown" before the first call."""
        record = self._circuit.record
        if record is None:
            return "unknown"
        return BreakerState.Name(record.state).removeprefix("BREAKER_STATE_").lower()

    @property
    def degraded(self) -> bool:
        """Whether it tripped, is not closed again, and asks to be done without
        meanwhile (`on_trip="degrade"`)."""
        record = self._circuit.record
        return record is not None and record.degraded

    @overload
    async def call(
        self,
        function: Callable[..., Awaitable[T]],
        /,
        *arguments: Any,
        fallback: Callable[..., Awaitable[T] | T] | None = None,
        **named: Any,
    ) -> T: ...
    @overload
    async def call(
        self,
        function: Callable[..., T],
        /,
        *arguments: Any,
        fallback: Callable[..., Awaitable[T] | T] | None = None,
        **named: Any,
    ) -> T: ...
    async def call(
        self,
        function: Callable[..., Any],
        /,
        *arguments: Any,
        fallback: Callable[..., Any] | None = None,
        **named: Any,
    ) -> Any:
        """What the function gives, awaited if need be; or, if the breaker lets no call
        through, what `fallback` gives for the same arguments. A call that fails is
        counted, and its error goes on: that is not what the fallback is for. See
        `BreakerHandle` for what it raises.

        >>> await store.put_breaker("breakers/call", count_window=10, failure_rate=0.5)
        >>> await store.breaker("breakers/call").call(str.upper, "pens")
        'PENS'
        """
        try:
            ticket = await self._admit()
        except BreakerOpen:
            instead = fallback or self._fallback
            if instead is None:
                raise
            return await _result(instead(*arguments, **named))
        with self._counted(ticket):
            return await _result(function(*arguments, **named))

    @contextlib.asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """The same for a block: `async with breaker.guard():`. What is raised in it
        counts as the call's failure; entering raises what `call` does.

        >>> await store.put_breaker("breakers/guard", count_window=10, failure_rate=0.5)
        >>> async with store.breaker("breakers/guard").guard():
        ...     print("it is called")
        it is called
        """
        ticket = await self._admit()
        with self._counted(ticket):
            yield

    @overload
    def __call__(
        self, function: Callable[P, Awaitable[T]]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __call__(self, function: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        """As a decorator: every call of the function goes through the breaker."""

        @functools.wraps(function)
        async def guarded(*arguments: P.args, **named: P.kwargs) -> Any:
            bound = functools.partial(function, *arguments, **named)
            if self._fallback is None:
                return await self.call(bound)
            instead = functools.partial(self._fallback, *arguments, **named)
            return await self.call(bound, fallback=instead)

        return guarded

    @contextlib.contextmanager
    def _counted(self, ticket: Ticket | None) -> Iterator[None]:
        """A call under way: how it ends is counted."""
        failed: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            if ticket is not None:
                self._board.ended(self._circuit, ticket, failed)

    async def _admit(self) -> Ticket | None:
        """A ticket; None: nobody can say, and the caller wants to call then."""
        try:
            return await self._board.admit(self._circuit, self._timeout)
        except (BreakerOpen, BreakerNotFound, Closed, InvalidRequest):
            raise
        except RaftStateError:
            if self._unreachable == "call":
                return None
            raise


class Breakers:
    """The part of a `Store` that is about circuit breakers."""

    _board: Board | None = None

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    def breaker(
        self,
        name: str,
        *,
        fallback: Callable[..., Any] | None = None,
        unreachable: Literal["raise", "call"] = "raise",
        timeout: float | None = None,
    ) -> BreakerHandle:
        """A breaker to make calls through: `await store.breaker("x").call(function)`,
        `async with store.breaker("x").guard():`, or `@store.breaker("x")` on a function.

        `fallback` is called instead while no call is let through. While the breaker is
        closed nobody is asked. Where somebody has to be and no member answers within
        `timeout` seconds, "raise" makes no call; "call" makes it, and does not count it.
        Handles of one name share what is known and counted.

        >>> await store.put_breaker("breakers/breaker", count_window=10, failure_rate=0.5)
        >>> await store.force_open("breakers/breaker", reason="it is being moved")
        >>> search = store.breaker("breakers/breaker", fallback=lambda text: "nothing")
        >>> await search.call(str.upper, "pens")
        'nothing'
        """
        if self._board is None:
            self._board = Board(self._engine)
        self._engine.check()
        return BreakerHandle(self._board, name, fallback, unreachable, timeout)

    async def put_breaker(
        self, name: str, *, timeout: float | None = None, **settings: Unpack[Settings]
    ) -> None:
        """Make a breaker, or change its configuration to these settings, which forgets
        what was counted; one that has them already is left as it is. Times are in
        milliseconds, rates parts of 1. Raises InvalidRequest (definite) for a setting that
        breaks a limit, TypeError for one that there is not, and what every mutation raises.

        >>> await store.put_breaker(
        ...     "breakers/put", time_window_ms=60_000, slow_rate=0.5, slow_call_ms=2_000
        ... )
        >>> (await store.get_breaker("breakers/put")).config.slow_call_ms
        2000
        """
        request = PutBreakerRequest(name=name, config=configuration(**settings))
        await self._engine.mutate("put_breaker", request, timeout)

    async def delete_breaker(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a breaker. Raises BreakerNotFound (definite), and what every mutation
        raises.

        >>> await store.put_breaker("breakers/delete", count_window=10, failure_rate=0.5)
        >>> await store.delete_breaker("breakers/delete")
        >>> [one.name async for one in store.list_breakers("breakers/delete")]
        []
        """
        await self._engine.mutate("delete_breaker", DeleteBreakerRequest(name=name), timeout)

    async def force_open(
        self, name: str, *, reason: str = "", timeout: float | None = None
    ) -> None:
        """Let no call through until `reset_breaker`. Raises BreakerNotFound (definite), and
        what every mutation raises.

        >>> await store.put_breaker("breakers/open", count_window=10, failure_rate=0.5)
        >>> await store.force_open("breakers/open", reason="it is being moved")
        >>> await store.breaker("breakers/open").call(str.upper, "pens")
        Traceback (most recent call last):
        raftstate.errors.BreakerOpen: ...
        """
        request = ForceOpenRequest(name=name, reason=reason)
        await self._engine.mutate("force_open", request, timeout)

    async def force_close(
        self, name: str, *, reason: str = "", timeout: float | None = None
    ) -> None:
        """Let every call through until `reset_breaker`, whatever fails. Raises
        BreakerNotFound (definite), and what every mutation raises.

        >>> await store.put_breaker("breakers/close", count_window=10, failure_rate=0.5)
        >>> await store.force_close("breakers/close", reason="it is tried out")
        >>> (await store.get_breaker("breakers/close")).reason
        'it is tried out'
        """
        request = ForceCloseRequest(name=name, reason=reason)
        await self._engine.mutate("force_close", request, timeout)

    async def reset_breaker(
        self, name: str, *, reason: str = "", timeout: float | None = None
    ) -> None:
        """Close a breaker, and forget what was counted. Raises BreakerNotFound (definite),
        and what every mutation raises.

        >>> await store.put_breaker("breakers/reset", count_window=10, failure_rate=0.5)
        >>> await store.force_open("breakers/reset")
        >>> await store.reset_breaker("breakers/reset", reason="it has been moved")
        >>> await store.breaker("breakers/reset").call(str.upper, "pens")
        'PENS'
        """
        await self._engine.mutate("reset", ResetRequest(name=name, reason=reason), timeout)

    async def get_breaker(self, name: str, **how: Unpack[How]) -> Breaker:
        """One breaker. Raises BreakerNotFound (definite), and what every read does.

        >>> await store.put_breaker("breakers/get", count_window=10, failure_rate=0.5)
        >>> (await store.get_breaker("breakers/get")).config.failure_rate
        0.5
        """
        answer = await reading.read_as(
            self._engine,
            lambda peer: peer.breakers.GetBreaker,
            GetBreakerRequest(name=name),
            how,
        )
        found: Breaker = answer.breaker
        return found

    async def list_breakers(
        self, prefix: str = "", **how: Unpack[How]
    ) -> AsyncIterator[Breaker]:
        """Breakers whose name begins with `prefix`, in order of name, all at one revision.
        Raises Compacted (definite) should that be forgotten meanwhile, and what every read
        does.

        >>> await store.put_breaker("breakers/list/search", count_window=10, failure_rate=0.5)
        >>> [one.name async for one in store.list_breakers("breakers/list/")]
        ['breakers/list/search']
        """
        request = ListBreakersRequest(prefix=prefix)
        async for page in reading.pages(
            self._engine, lambda peer: peer.breakers.ListBreakers, request, how
        ):
            for found in page.breakers:
                yield found


def configuration(**settings: Unpack[Settings]) -> BreakerConfig:
    """Settings as the API has them. Raises InvalidRequest (definite) for a word that there
    is not, TypeError for a setting that there is not."""
    plain: dict[str, Any] = dict(settings)
    if unknown := plain.keys() - Settings.__annotations__.keys():
        raise TypeError(f"a breaker has no setting {', '.join(sorted(unknown))}")
    plan = TripPlan(
        action=_word("on_trip", plain.pop("on_trip", "notify"), _ACTIONS),
        agent_ids=plain.pop("agents", ()),
        group_id=plain.pop("group", ""),
        validators=plain.pop("validators", ()),
    )
    if (policy := plain.pop("on_barrier", None)) is not None:
        plan.on_barrier = _word("on_barrier", policy, _POLICIES)
    ignored = plain.pop("ignored_errors", ())
    names = [one if isinstance(one, str) else class_name(one) for one in ignored]
    return BreakerConfig(**plain, ignored_errors=names, on_trip=plan)


def _word(field: str, given: str, known: dict[str, Any]) -> Any:
    if given not in known:
        raise InvalidRequest(
            f"{field} is {given!r}",
            definite=True,
            details={"field": field, "limit": ", ".join(known)},
        )
    return known[given]


async def _result(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given
