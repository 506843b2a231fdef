"""The kit: what a test has in its hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from raftstate import errors
from raftstate.client.portal import Portal
from raftstate.client.store import Store, connect
from raftstate.core.ports import Unavailable
from raftstate.testing import clock
from raftstate.testing.faults import (
    Aim,
    Committed,
    Fault,
    Way,
    checked_kind,
    checked_logged,
    checked_times,
    failure,
)
from raftstate.testing.host import Host
from raftstate.testing.links import Link
from raftstate.v1.common_pb2 import FencingToken

if TYPE_CHECKING:
    from raftstate import sync

T = TypeVar("T")
_HISTORY_KEEP: Final = 100_000
_LOST: Final = Unavailable("OUTCOME_UNKNOWN", definite=False, details={"retry": "never"})


class _Opened:
    """What is there while a kit is open."""

    def __init__(self, history_keep: int) -> None:
        self.home = clock.enter()
        try:
            self.host, self.link = self.home.thread.run(self._start(history_keep))
        except BaseException:
            clock.leave()
            raise

    async def _start(self, history_keep: int) -> tuple[Host, Link]:
        host = Host(self.home.hands, history_keep)
        await host.start()
        return host, await host.link("kit")

    def close(self) -> None:
        """End it."""
        try:
            self.home.thread.run(self.host.stop())
        finally:
            clock.leave()


class _Switches:
    """What both kits have, and takes no time."""

    def __init__(self, *, history_keep: int = _HISTORY_KEEP) -> None:
        self._history_keep = history_keep
        self._opened: _Opened | None = None
        self._written: list[Committed] | None = None  # the log of a kit that was closed
        # Each client's own way to the member.
        self._links: dict[object, Link] = {}

    def _there(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the kit is not open: use it in a `with` block")
        return self._opened

    @property
    def _host(self) -> Host:
        return self._there().host

    def _do(self, what: Callable[..., T], *arguments: Any) -> T:
        """Carry out something quick on the kit's thread."""

        async def do() -> T:
            return what(*arguments)

        return self._there().home.thread.run(do())

    def _open(self) -> None:
        if self._opened is not None:
            raise RuntimeError("the kit is open already")
        self._opened = _Opened(self._history_keep)

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        self._links.clear()
        if opened is not None:
            opened.close()
            self._written = opened.host.solo.log

    # --- clients ---

    @property
    def endpoint(self) -> str:
        """Where the store listens: for `raftstate.connect`, `Portal`, adapters, the command
        line, other processes.

        >>> with raftstate.sync.connect(kit.endpoint) as another:
        ...     revision = another.keys.put("a", "1").header.revision
        """
        return self._there().link.endpoint

    def link(self, name: str = "") -> Link:
        """A way to the store of its own: `link.endpoint` is an address for one client that
        is to be cut off alone.

        >>> link = kit.link("an adapter")
        >>> kit.cut_off(link)
        >>> link.up
        False
        """
        there = self._there()
        return there.home.thread.run(there.host.link(name))

    def portal(self, **options: Any) -> Portal:
        """A `raftstate.client.portal.Portal` on a link of its own, for adapters. `options`
        are those of `raftstate.connect`.

        >>> with kit.portal() as portal:
        ...     done = portal.run(lambda inside: inside.keys.put("a", b"1"))
        """
        link = self.link(str(options.get("client_name") or ""))
        portal = Portal(link.endpoint, **options)
        self._links[portal] = link
        return portal

    def _link_of(self, client: object) -> Link:
        if isinstance(client, Link):
            return client
        if client == self.endpoint:
            return self._there().link
        if client not in self._links:
            raise ValueError(
                "this client is not of this kit: make it with `kit.connect`, or give the"
                " `kit.link()` that it uses"
            )
        return self._links[client]

    # --- faults ---

    def fail(
        self,
        error: type[errors.RaftStateError] = errors.NoQuorum,
        *,
        kind: str | None = None,
        agent_id: str | None = None,
        client: object | None = None,
        times: int = 1,
    ) -> Fault:
        """The next call fails with this error, definitely: nothing has happened.

        `error` is a class of `raftstate.errors` that a member answers with, such as
        NoQuorum, NotLeader, Overloaded, Conflict, Fenced. A client meets it at once, as it
        would when its deadline has passed. `kind` is the kind of call: the name of a command
        ("put", "commit_step", "acquire_ownership", ...), or "read" for linearizable reads;
        None: any. `agent_id` and `client` (a store or link of this kit) aim it further, and
        `times` is for how many calls.

        Raises ValueError for an error that leaves open what happened, and for a kind that
        there is not.

        >>> fault = kit.fail(errors.Overloaded, kind="put")
        >>> store.keys.put("a", "1")
        Traceback (most recent call last):
            ...
        raftstate.errors.Overloaded: the queue of proposals is full; nothing was proposed
        >>> [request.key for request in fault.met]
        [b'a']
        """
        checked = failure(error)
        aim = self._aim(checked_kind(kind, reads=True), agent_id, client)
        return self._fault(Way.FAIL, aim, times, checked, applied=False)

    def lose_answer(
        self,
        *,
        applied: bool,
        kind: str | None = None,
        agent_id: str | None = None,
        client: object | None = None,
        times: int = 1,
    ) -> Fault:
        """The outcome of the next mutation stays unknown: its answer is lost, and so is that
        of each attempt until the deadline, which the client need not wait for.

        `applied` says which it was; nobody tells the client. One that was not applied may
        be carried out yet, by `fault.arrive()`: late, as a request that was long on its way.
        The rest is as in `fail`. Raises ValueError for a kind that there is not.

        >>> fault = kit.lose_answer(applied=False)
        >>> try:
        ...     store.keys.put("a", "1")
        ... except errors.OutcomeUnknown as unknown:
        ...     unknown.definite
        False
        >>> store.keys.get("a") is None
        True
        >>> fault.arrive()
        ['']
        >>> store.keys.get("a").value
        b'1'
        """
        aim = self._aim(checked_kind(kind, reads=False), agent_id, client)
        return self._fault(Way.LOSE, aim, times, _LOST, applied=applied)

    def hold(
        self,
        *,
        applied: bool = False,
        kind: str | None = None,
        agent_id: str | None = None,
        client: object | None = None,
        times: int = 1,
    ) -> Fault:
        """The next call is not answered until `fault.release()`. A mutation is carried out
        only then, or, with `applied`, when it comes. `fault.wait()`, or `await
        fault.reached()`, returns once a call is held. The rest is as in `fail`. Deadlines
        are in real time: a call may meet its own. Raises ValueError for a kind that there is
        not.

        >>> import threading
        >>> fault = kit.hold(kind="put")
        >>> putting = threading.Thread(target=store.keys.put, args=("a", "1"))
        >>> putting.start()
        >>> fault.wait()
        >>> store.keys.get("a") is None
        True
        >>> fault.release()
        >>> putting.join()
        >>> store.keys.get("a").value
        b'1'
        """
        aim = self._aim(checked_kind(kind, reads=True), agent_id, client)
        return self._fault(Way.HOLD, aim, times, _LOST, applied=applied)

    def clear_faults(self) -> None:
        """Nothing more happens to any call. What is held is let go.

        >>> fault = kit.fail()
        >>> kit.clear_faults()
        >>> kv = store.keys.put("a", "1")
        """
        self._do(self._host.clear)

    def _aim(self, kind: str | None, agent_id: str | None, client: object | None) -> Aim:
        return Aim(kind, agent_id, None if client is None else self._link_of(client))

    def _fault(
        self, way: Way, aim: Aim, times: int, answer: Unavailable, *, applied: bool
    ) -> Fault:
        number = checked_times(times)
        return self._do(self._host.fault, way, aim, number, answer, applied, self._do)

    def cut_off(self, client: object) -> None:
        """Let nothing pass between a client (a store, a portal or a link of this kit) and
        the store, in either direction, as a network that is split: what it holds ends when
        its time is up, on both sides. Raises ValueError for a client of somewhere else.

        >>> with store.lease(5.0) as lease:
        ...     kit.cut_off(store)
        ...     kit.advance(5.0)
        ...     lost = lease.lost
        ...     kit.mend(store)
        >>> lost
        True
        """
        self._do(self._link_of(client).cut)

    def mend(self, client: object) -> None:
        """End `cut_off` or `kill`. What was sent meanwhile may arrive now. Raises ValueError
        for a client of somewhere else.

        >>> kit.cut_off(store)
        >>> kit.mend(store)
        >>> kv = store.keys.put("a", "1")
        """
        self._do(self._link_of(client).mend)

    # --- what is seen ---

    @property
    def elapsed(self) -> float:
        """By how many seconds the clock was moved since the first kit was opened.

        >>> kit.advance(10.0)
        >>> kit.elapsed
        10.0
        """
        return self._there().home.hands.elapsed

    @property
    def log_time_ms(self) -> int:
        """What a command is stamped with now.

        >>> began = kit.log_time_ms
        >>> kit.advance(1.5)
        >>> kit.log_time_ms - began
        1500
        """
        return self._do(lambda: self._host.solo.log_time_ms)

    def log(self, kind: str | None = None, agent_id: str | None = None) -> list[Committed]:
        """The commands that were committed so far, in order, refused ones too; only those of
        a kind, or about an agent. It can be read when the kit is closed, too. Raises
        ValueError for a kind that there is not.

        >>> agent = store.create_agent("a")
        >>> [(one.kind, one.agent_id, one.refusal) for one in kit.log("create_agent")]
        [('create_agent', 'a', '')]
        """
        checked_logged(kind)
        closed = self._opened is None and self._written is not None
        written = self._written if closed else self._do(lambda: list(self._host.solo.log))
        return [
            one
            for one in written or ()
            if kind in (None, one.kind) and agent_id in (None, one.agent_id)
        ]


class Kit(_Switches):
    """A store in this process, for a test on an event loop. Made by `served`.

    What only throws a switch is called as it is; what waits until the clients have noticed
    is awaited."""

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def connect(self, **options: Any) -> Store:
        """A client: `async with kit.connect() as store:`, on a link of its own. `options` are
        those of `raftstate.connect`."""
        link = self.link(str(options.get("client_name") or ""))
        store = connect(link.endpoint, **options)
        self._links[store] = link
        return store

    async def _await(self, work: Coroutine[Any, Any, T]) -> T:
        """Done to its end also if the caller is cancelled, as the block of an agent is that
        the kit has just been told to take away: a test goes on from a state that is known."""
        done = asyncio.wrap_future(self._there().home.thread.submit(work))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait({done})
            if not done.cancelled():
                done.exception()  # of no interest any more
            raise

    async def advance(self, seconds: float) -> None:
        """Move the clock: log time, and the time of all clients in this process.

        Whoever is alive and not cut off keeps its session, its ownerships and its leases,
        however far that is; what nobody renews ends, in the order in which it would. A
        client that is cut off finds out by its own clock, before its successor owns. Raises
        ValueError for a time that is not more than 0."""
        await self._await(self._there().home.hands.advance(_ahead(seconds)))

    async def take_over(
        self, agent_id: str, *, holder: str = "another process", told: bool = True
    ) -> FencingToken:
        """Another process owns the agent from now on, under this token, until `give_back`.

        With `told`, the owner so far has heard of it when this returns: its block is being
        cancelled. Without, it finds out when it writes next (Fenced), or renews: when the
        clock is moved. Raises ValueError if there is no such agent."""
        return await self._await(self._host.take_over(agent_id, holder, told))

    async def give_back(self, agent_id: str) -> None:
        """End what `take_over` began: the agent is free. Raises ValueError if it is not
        owned so."""
        await self._await(self._host.give_back(agent_id))

    async def expire_ownership(self, agent_id: str, *, told: bool = True) -> None:
        """The agent's ownership ends now, as if nobody had renewed it. `told` as in
        `take_over`. Raises ValueError if nobody owns it."""
        await self._await(self._host.expire_ownership(agent_id, told))

    async def expire_session(self, client: object, *, told: bool = True) -> None:
        """The session of a client ends now, and all that it owns with it. `told` as in
        `take_over`. Raises ValueError if it has none, or is of somewhere else."""
        await self._await(self._host.expire_sessions(self._link_of(client), told))

    async def kill(self, client: object) -> None:
        """Break all connections of a client, and take no more of them, as the end of its
        process does: the store sees that, and ends its session after a grace of 0.3 s, when
        the clock is moved. Raises ValueError for a client of somewhere else."""
        await self._await(self._host.kill(self._link_of(client)))

    async def change_leader(self) -> None:
        """A new term of office begins: whatever waits for an agent asks again, and what is
        owned has its full time from now."""
        await self._await(self._host.change_leader())


class SyncKit(_Switches):
    """A store in this process, for a test without an event loop. Made by `sync_served`."""

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def connect(self, **options: Any) -> sync.Store:
        """A client: `with kit.connect() as store:`, on a link of its own. `options` are those
        of `raftstate.sync.connect`.

        >>> with kit.connect(client_name="another") as another:
        ...     another.list_agents() is not None
        True
        """
        from raftstate import sync

        link = self.link(str(options.get("client_name") or ""))
        store = sync.connect(link.endpoint, **options)
        self._links[store] = link
        return store

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return self._there().home.thread.run(work)

    def advance(self, seconds: float) -> None:
        """See `Kit.advance`.

        >>> lease = store.grant_lease(5.0)
        >>> kit.advance(5.0)
        >>> list(store.list_leases())
        []
        """
        self._await(self._there().home.hands.advance(_ahead(seconds)))

    def take_over(
        self, agent_id: str, *, holder: str = "another process", told: bool = True
    ) -> FencingToken:
        """See `Kit.take_over`.

        >>> try:
        ...     with store.own("a") as agent:
        ...         token = kit.take_over("a", holder="n2")
        ...         agent.check()
        ... except errors.OwnershipLost as lost:
        ...     lost.details["current_holder"]
        'n2'
        """
        return self._await(self._host.take_over(agent_id, holder, told))

    def give_back(self, agent_id: str) -> None:
        """See `Kit.give_back`.

        >>> agent = store.create_agent("a")
        >>> token = kit.take_over("a")
        >>> kit.give_back("a")
        >>> with store.own("a") as agent:
        ...     agent.token.revision > token.revision
        True
        """
        self._await(self._host.give_back(agent_id))

    def expire_ownership(self, agent_id: str, *, told: bool = True) -> None:
        """See `Kit.expire_ownership`.

        >>> try:
        ...     with store.own("a") as agent:
        ...         kit.expire_ownership("a", told=False)
        ...         with agent.step() as step:
        ...             step.event("too late")
        ... except errors.OwnershipLost as lost:
        ...     lost.definite
        True
        """
        self._await(self._host.expire_ownership(agent_id, told))

    def expire_session(self, client: object, *, told: bool = True) -> None:
        """See `Kit.expire_session`.

        >>> kv = store.keys.put("a", "1")
        >>> kit.expire_session(store)
        >>> kv = store.keys.put("a", "2")
        >>> len(kit.log("open_session"))
        2
        """
        self._await(self._host.expire_sessions(self._link_of(client), told))

    def kill(self, client: object) -> None:
        """See `Kit.kill`.

        >>> kv = store.keys.put("a", "1")
        >>> kit.kill(store)
        >>> kit.advance(0.3)
        >>> len(kit.log("expire_session"))
        1
        >>> kit.mend(store)
        """
        self._await(self._host.kill(self._link_of(client)))

    def change_leader(self) -> None:
        """See `Kit.change_leader`.

        >>> with store.own("a") as agent:
        ...     kit.change_leader()
        ...     agent.lost
        False
        """
        self._await(self._host.change_leader())


def _ahead(seconds: float) -> float:
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds is {seconds}; it must be more than 0, and finite")
    return seconds


def served(*, history_keep: int = _HISTORY_KEEP) -> Kit:
    """A store in this process: `async with raftstate.testing.served() as kit:`.
    `history_keep` is how many revisions can be read; zero: all."""
    return Kit(history_keep=history_keep)


def sync_served(*, history_keep: int = _HISTORY_KEEP) -> SyncKit:
    """A store in this process: `with raftstate.testing.sync_served() as kit:`.
    `history_keep` is how many revisions can be read; zero: all."""
    return SyncKit(history_keep=history_keep)
