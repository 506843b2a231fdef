# Generated from raftstate/client/breakers.py by scripts/generate. Not to be edited.

"""Circuit breakers: calls that are not made while whoever is called does not
answer.

    answer = store.breaker("search").call(search, "pens", fallback=nothing)

A breaker is shared by all clients of the cluster; what each sees is reported, and the store
decides. While it is closed a call asks nobody: a watch keeps this client's knowledge of it
true, a few milliseconds behind, and where no word has come for `TRUSTED_S` (3 s) the next
call asks a server before it acts. So a call may still be let through for that long after a
trip elsewhere, and not longer; but where the only member in reach is itself cut off from
the others, until a report of calls has gone unanswered for as long."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, Unpack, cast

from raftstate.client import breakers as face
from raftstate.client.breakers import P, Settings, T
from raftstate.client.circuits import Ticket
from raftstate.client.reading import How
from raftstate.errors import BreakerOpen
from raftstate.sync.running import Face, given, plain
from raftstate.v1.breaker_service_pb2 import Breaker


class BreakerHandle(Face, of=face.BreakerHandle):
    """A breaker, to make calls through. Made by `Store.breaker`.

    Calls raise what the function raises; and, without having called it, BreakerOpen
    (definite) with `retry_after`, BreakerNotFound (definite), and where a server has to
    be asked and none answers, NoQuorum (definite)."""

    @property
    def _it(self) -> face.BreakerHandle:
        return cast(face.BreakerHandle, self._object)

    @property
    def name(self) -> str:
        """The breaker's name."""
        return self._it.name

    @property
    def state(self) -> str:
        """What it was when something was last heard of it: "closed", "open", "half_open",
        "forced_open", "forced_closed"; "unknown" before the first call."""
        return self._it.state

    @property
    def degraded(self) -> bool:
        """Whether it tripped, is not closed again, and asks to be done without
        meanwhile (`on_trip="degrade"`)."""
        return self._it.degraded

    def call(
        self,
        function: Callable[..., T],
        /,
        *arguments: Any,
        fallback: Callable[..., T] | None = None,
        **named: Any,
    ) -> T:
        """What the function gives; or, if the breaker lets no call
        through, what `fallback` gives for the same arguments. A call that fails is
        counted, and its error goes on: that is not what the fallback is for. See
        `BreakerHandle` for what it raises.

        >>> store.put_breaker("breakers/call", count_window=10, failure_rate=0.5)
        >>> store.breaker("breakers/call").call(str.upper, "pens")
        'PENS'
        """
        plain(function)
        instead = self._it._fallback if fallback is None else plain(fallback)
        try:
            ticket = self._do(self._it._admit())
        except BreakerOpen:
            if instead is None:
                raise
            found: T = given(instead(*arguments, **named))
            return found
        with self._counted(ticket):
            return given(function(*arguments, **named))

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """The same for a block: `with breaker.guard():`. What is raised in it
        counts as the call's failure; entering raises what `call` does.

        >>> store.put_breaker("breakers/guard", count_window=10, failure_rate=0.5)
        >>> with store.breaker("breakers/guard").guard():
        ...     print("it is called")
        it is called
        """
        ticket = self._do(self._it._admit())
        with self._counted(ticket):
            yield

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """As a decorator: every call of the function goes through the breaker."""
        plain(function)

        @functools.wraps(function)
        def guarded(*arguments: P.args, **named: P.kwargs) -> T:
            bound = functools.partial(function, *arguments, **named)
            if self._it._fallback is None:
                return self.call(bound)
            found: T = self.call(
                bound, fallback=functools.partial(self._it._fallback, *arguments, **named)
            )
            return found

        return guarded

    @contextlib.contextmanager
    def _counted(self, ticket: Ticket | None) -> Iterator[None]:
        failed: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            if ticket is not None:
                it = self._it
                self._running.post(it._board.ended, it._circuit, ticket, failed)


class Breakers(Face, of=face.Breakers):
    """The part of a `Store` that is about circuit breakers."""

    @property
    def _it(self) -> face.Breakers:
        return cast(face.Breakers, self._object)

    def breaker(
        self,
        name: str,
        *,
        fallback: Callable[..., Any] | None = None,
        unreachable: Literal["raise", "call"] = "raise",
        timeout: float | None = None,
    ) -> BreakerHandle:
        """A breaker to make calls through: `store.breaker("x").call(function)`,
        `with store.breaker("x").guard():`, or `@store.breaker("x")` on a function.

        `fallback` is called instead while no call is let through. While the breaker is
        closed nobody is asked. Where somebody has to be and no member answers within
        `timeout` seconds, "raise" makes no call; "call" makes it, and does not count it.
        Handles of one name share what is known and counted.

        >>> store.put_breaker("breakers/breaker", count_window=10, failure_rate=0.5)
        >>> store.force_open("breakers/breaker", reason="it is being moved")
        >>> search = store.breaker("breakers/breaker", fallback=lambda text: "nothing")
        >>> search.call(str.upper, "pens")
        'nothing'
        """
        if fallback is not None:
            plain(fallback)
        with self._running.lock:
            it = self._it.breaker(
                name, fallback=fallback, unreachable=unreachable, timeout=timeout
            )
        return BreakerHandle(it, self._running)

    def put_breaker(
        self, name: str, *, timeout: float | None = None, **settings: Unpack[Settings]
    ) -> None:
        """Make a breaker, or change its configuration to these settings, which forgets
        what was counted; one that has them already is left as it is. Times are in
        milliseconds, rates parts of 1. Raises InvalidRequest (definite) for a setting that
        breaks a limit, TypeError for one that there is not, and what every mutation raises.

        >>> store.put_breaker(
        ...     "breakers/put", time_window_ms=60_000, slow_rate=0.5, slow_call_ms=2_000
        ... )
        >>> (store.get_breaker("breakers/put")).config.slow_call_ms
        2000
        """
        self._do(self._it.put_breaker(name, timeout=timeout, **settings))

    def delete_breaker(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a breaker. Raises BreakerNotFound (definite), and what every mutation
        raises.

        >>> store.put_breaker("breakers/delete", count_window=10, failure_rate=0.5)
        >>> store.delete_breaker("breakers/delete")
        >>> [one.name for one in store.list_breakers("breakers/delete")]
        []
        """
        self._do(self._it.delete_breaker(name, timeout=timeout))

    def force_open(self, name: str, *, reason: str = "", timeout: float | None = None) -> None:
        """Let no call through until `reset_breaker`. Raises BreakerNotFound (definite), and
        what every mutation raises.

        >>> store.put_breaker("breakers/open", count_window=10, failure_rate=0.5)
        >>> store.force_open("breakers/open", reason="it is being moved")
        >>> store.breaker("breakers/open").call(str.upper, "pens")
        Traceback (most recent call last):
        raftstate.errors.BreakerOpen: ...
        """
        self._do(self._it.force_open(name, reason=reason, timeout=timeout))

    def force_close(self, name: str, *, reason: str = "", timeout: float | None = None) -> None:
        """Let every call through until `reset_breaker`, whatever fails. Raises
        BreakerNotFound (definite), and what every mutation raises.

        >>> store.put_breaker("breakers/close", count_window=10, failure_rate=0.5)
        >>> store.force_close("breakers/close", reason="it is tried out")
        >>> (store.get_breaker("breakers/close")).reason
        'it is tried out'
        """
        self._do(self._it.force_close(name, reason=reason, timeout=timeout))

    def reset_breaker(
        self, name: str, *, reason: str = "", timeout: float | None = None
    ) -> None:
        """Close a breaker, and forget what was counted. Raises BreakerNotFound (definite),
        and what every mutation raises.

        >>> store.put_breaker("breakers/reset", count_window=10, failure_rate=0.5)
        >>> store.force_open("breakers/reset")
        >>> store.reset_breaker("breakers/reset", reason="it has been moved")
        >>> store.breaker("breakers/reset").call(str.upper, "pens")
        'PENS'
        """
        self._do(self._it.reset_breaker(name, reason=reason, timeout=timeout))

    def get_breaker(self, name: str, **how: Unpack[How]) -> Breaker:
        """One breaker. Raises BreakerNotFound (definite), and what every read does.

        >>> store.put_breaker("breakers/get", count_window=10, failure_rate=0.5)
        >>> (store.get_breaker("breakers/get")).config.failure_rate
        0.5
        """
        return self._do(self._it.get_breaker(name, **how))

    def list_breakers(self, prefix: str = "", **how: Unpack[How]) -> Iterator[Breaker]:
        """Breakers whose name begins with `prefix`, in order of name, all at one revision.
        Raises Compacted (definite) should that be forgotten meanwhile, and what every read
        does.

        >>> store.put_breaker("breakers/list/search", count_window=10, failure_rate=0.5)
        >>> [one.name for one in store.list_breakers("breakers/list/")]
        ['breakers/list/search']
        """
        return self._running.each(self._it.list_breakers(prefix, **how))
