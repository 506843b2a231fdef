"""The store, as an agent's program sees it.

    async with raftstate.connect("127.0.0.1:7411,127.0.0.1:7412") as store:
        async with store.own("billing/nightly", wait=True) as agent:
            state = agent.restore(default={"done": 0})
            async for item in work(after=state["done"]):
                async with agent.step() as step:
                    step.event("charged", item.id)
                    step.checkpoint({"done": item.id})

Every failure is a `raftstate.errors.RaftStateError`; its `definite` says whether the
call surely did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from raftstate.client import txn as words
from raftstate.client import values
from raftstate.client.autosave import Policy
from raftstate.client.breakers import Breakers
from raftstate.client.checkpoints import Checkpoints
from raftstate.client.chunks import Cut
from raftstate.client.engine import Engine
from raftstate.client.incidents import Incidents
from raftstate.client.keys import Keys
from raftstate.client.leases import Leases
from raftstate.client.membership import Membership
from raftstate.client.options import Options, Tls, default_name, parse_endpoints, positive
from raftstate.client.own import Claim, Own
from raftstate.client.projections import Projections
from raftstate.client.reads import Reads
from raftstate.client.registry import Registry, default
from raftstate.client.replay import Replays
from raftstate.client.rollbacks import Rollbacks
from raftstate.client.sagas import Sagas
from raftstate.client.saving import Habits
from raftstate.client.streams import Streams
from raftstate.client.watch import Watching
from raftstate.errors import Closed
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_FORCE,
    ACQUIRE_MODE_IF_FREE,
    ACQUIRE_MODE_WAIT,
    Agent,
    CreateAgentRequest,
    HaltAgentRequest,
    ResumeAgentRequest,
    Retention,
    RetireAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.kv_service_pb2 import Compare, TxnOp


def connect(
    endpoints: str | Iterable[str],
    *,
    timeout: float = 10.0,
    session_ttl: float = 10.0,
    stall_limit: float = 60.0,
    tls: Tls | None = None,
    client_name: str | None = None,
    registry: Registry = default,
) -> Store:
    """A store, to be entered: `async with raftstate.connect(...) as store:`.

    `endpoints` are members of one cluster, `"host:port,host:port"` or a list; one that
    answers is enough. `timeout` is how long a call may take over all its attempts,
    unless it is told otherwise; `session_ttl` is how long the cluster remembers this
    client after its last word. Times are in seconds. A thread of the SDK keeps the client
    and what it owns alive also while the event loop is blocked; one that has not turned
    for `stall_limit` seconds counts as hung, and is kept alive no more until it turns.
    `registry` holds the functions that
    undo, find out and validate, by name: those of the whole process, if not given. Nothing
    is sent yet.

    Raises InvalidRequest (definite) if an argument makes no sense.

    >>> async with raftstate.connect(endpoints, timeout=5.0) as other:
    ...     _ = await other.keys.put("connect", b"1")
    ...     print((await other.keys.get("connect")).value)
    b'1'
    """
    return Store(
        Options(
            endpoints=parse_endpoints(endpoints),
            timeout=positive("timeout", timeout),
            session_ttl=positive("session_ttl", session_ttl),
            stall_limit=positive("stall_limit", stall_limit),
            tls=tls,
            client_name=default_name() if client_name is None else client_name,
            registry=registry,
        )
    )


class Store(
    Reads,
    Streams,
    Checkpoints,
    Projections,
    Leases,
    Membership,
    Watching,
    Breakers,
    Sagas,
    Rollbacks,
    Incidents,
    Replays,
):
    """A client of one cluster. Made by `connect`; used inside its block, in the process and
    the event loop that entered it, by any number of tasks.

    Mutations are sent until they are settled, under one request id each, so that they
    happen at most once. They raise

    * InvalidRequest, AgentNotFound, AgentExists, AgentState, Conflict (definite);
    * NoQuorum, NotLeader, Overloaded, Quarantined (definite): nothing was proposed in time;
    * DiskFull (definite): what makes the state grow is refused;
    * OutcomeUnknown (indefinite): it may have happened, or may yet;
    * ClusterMismatch (indefinite): another cluster answered;
    * Closed (definite): the store was closed, or belongs to another process.

    Reads reflect every write that was acknowledged before they began. Most take options:
    `stale=True` is some earlier state, from any member, at once; `at_least=revision` that
    revision or a later one, from any member; `at=revision` what the store was at that one;
    `seen=Seen()` notes what was shown. They change nothing, so all that they raise is
    definite:

    * InvalidRequest, and what a call's own line names;
    * NoQuorum, NotLeader, Overloaded, Quarantined: nobody answered in time;
    * Compacted, FutureRevision: the revision is forgotten, or is yet to come;
    * ClusterMismatch, Closed, as above.

    A `timeout` is in seconds, over all attempts of a call; of a list it is that of one
    page. None is the store's own."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._engine_or_none: Engine | None = None

    @property
    def _engine(self) -> Engine:
        if self._engine_or_none is None:
            raise Closed("the store is not open: use `async with`", definite=True)
        self._engine_or_none.check()
        return self._engine_or_none

    async def __aenter__(self) -> Self:
        if self._engine_or_none is not None:
            self._engine_or_none.check()
            raise Closed("the store is open already: connect again", definite=True)
        self._engine_or_none = Engine(self._options)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session, and with it give back what this store owns; then the
        connections. Best effort within a few seconds; what is not given back expires. It is
        done to its end also if the caller is cancelled. Closing twice is harmless. Raises
        Closed in another process.

        >>> await store.close()
        >>> await store.keys.get("store/close")
        Traceback (most recent call last):
        raftstate.errors.Closed: the store was closed
        """
        engine = self._engine_or_none
        if engine is not None and not engine.ended:
            engine.check_process()
            await engine.close()

    @property
    def sessions_opened(self) -> int:
        """How many sessions this store has had. One that expired, while it owned nothing, is
        replaced without a word, and counted here; what it owned is lost with it, which the
        blocks are told (OwnershipLost)."""
        return self._engine.sessions.opened

    # --- owning ---

    def own(
        self,
        agent_id: str,
        *,
        wait: bool = False,
        force: bool = False,
        ttl: float = 5.0,
        holder: str | None = None,
        create: bool = True,
        auto_checkpoint: Policy | None = None,
        deltas: bool = False,
        cut: Cut | None = None,
        timeout: float | None = None,
    ) -> Own:
        """Own an agent: `async with store.own("a") as agent:` gives an `AgentHandle`.

        `wait` stands in line until the agent is free, for ever unless there is a `timeout`;
        `force` takes it from its owner, who is fenced from then on. Without either, an
        agent that is owned raises Owned. `create` makes an agent that does not exist. `ttl`
        is how long the ownership outlives this process' last renewal, 0.2 to 3,600 seconds;
        `holder` is a name for people. When the block ends, the agent is free at once.

        `auto_checkpoint` lets steps carry checkpoints by themselves: `Every(steps=20)`,
        `ForRpo()`; they take the state from `agent.state_from`. `deltas` saves what has
        changed, where that is less than half. `cut` says how large ones are sent.

        Blocks of one store take turns too: one that waits for an agent that its own task
        owns waits for itself.

        When the ownership is lost, the block is cancelled and raises OwnershipLost;
        `details` say who owns the agent now, as far as that could be learnt. It is definite
        unless a commit was under way whose outcome is unknown.

        Entering raises, definite: Owned, AgentNotFound, AgentState, InvalidRequest,
        NoQuorum; and OutcomeUnknown (indefinite): it may be owned, until the ttl ends.

        >>> async with store.own("store/own") as agent:
        ...     state = agent.restore(default={"done": 0})
        ...     async with agent.step() as step:
        ...         step.event("charged", 5)
        ...         step.checkpoint({"done": state["done"] + 1})
        >>> async with store.own("store/own") as agent:
        ...     print(agent.restore())
        {'done': 1}
        """
        if wait and force:
            raise ValueError("own: either wait or force")
        mode = ACQUIRE_MODE_IF_FREE
        if wait or force:
            mode = ACQUIRE_MODE_WAIT if wait else ACQUIRE_MODE_FORCE
        if timeout is None and not wait:
            timeout = self._options.timeout
        claim = Claim(
            agent_id=agent_id,
            mode=mode,
            ttl=positive("ttl", ttl),
            holder=self._options.client_name if holder is None else holder,
            create=create,
            timeout=None if timeout is None else positive("timeout", timeout),
            habits=Habits(auto_checkpoint, deltas, cut or Cut()),
        )
        return Own(self._engine, claim)

    # --- keys ---

    @property
    def keys(self) -> Keys:
        """The keys: `await store.keys.put("a", b"1")`."""
        return Keys(self._engine)

    async def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[TxnOp] = (),
        otherwise: Iterable[TxnOp] = (),
        timeout: float | None = None,
    ) -> words.Done:
        """Compare, and do one of two lists, at one revision: see `Keys.txn`.

        >>> done = await store.txn(
        ...     when=[raftstate.txn.missing("store/txn")],
        ...     then=[raftstate.txn.put("store/txn", "mine")],
        ... )
        >>> done.succeeded
        True
        """
        return await self.keys.txn(when=when, then=then, otherwise=otherwise, timeout=timeout)

    # --- agents ---

    async def create_agent(
        self,
        agent_id: str,
        *,
        labels: Mapping[str, str] | None = None,
        retention: Retention | None = None,
        rpo_target_ms: int = 0,
        rto_target_ms: int = 0,
        timeout: float | None = None,
    ) -> Agent:
        """Make an agent. `retention` says which checkpoints go by themselves; None: none.
        The targets are in milliseconds; 0 is none. Raises AgentExists (definite) if there
        is one of that id, StreamExists (definite), and what every mutation raises.

        >>> agent = await store.create_agent("store/create", labels={"team": "red"})
        >>> agent.agent_id, agent.head.step
        ('store/create', 0)
        >>> await store.create_agent("store/create")
        Traceback (most recent call last):
        raftstate.errors.AgentExists: ...
        """
        request = CreateAgentRequest(
            agent_id=agent_id,
            labels=values.labels(labels),
            retention=retention,
            rpo_target_ms=rpo_target_ms,
            rto_target_ms=rto_target_ms,
        )
        return await self._change("create_agent", request, timeout)

    async def update_agent(
        self,
        agent_id: str,
        *,
        labels: Mapping[str, str],
        retention: Retention | None = None,
        rpo_target_ms: int | None = None,
        rto_target_ms: int | None = None,
        timeout: float | None = None,
    ) -> Agent:
        """Replace an agent's labels, and what else is given. The targets are in
        milliseconds; 0 is none. Raises AgentNotFound, AgentState (definite), and what every
        mutation raises.

        >>> _ = await store.create_agent("store/update", labels={"team": "red"})
        >>> agent = await store.update_agent("store/update", labels={}, rpo_target_ms=5_000)
        >>> list(agent.labels), agent.rpo_target_ms
        ([], 5000)
        """
        request = UpdateAgentRequest(
            agent_id=agent_id,
            labels=values.labels(labels),
            retention=retention,
            rpo_target_ms=rpo_target_ms,
            rto_target_ms=rto_target_ms,
        )
        return await self._change("update_agent", request, timeout)

    async def retire_agent(self, agent_id: str, *, timeout: float | None = None) -> Agent:
        """End an agent for good; its history stays readable. Raises AgentNotFound,
        AgentState (definite): it is retired, is being rolled back, or has a saga that is
        running; and what every mutation raises.

        >>> _ = await store.create_agent("store/retire")
        >>> _ = await store.retire_agent("store/retire")
        >>> async with store.own("store/retire"):
        ...     pass
        Traceback (most recent call last):
        raftstate.errors.AgentState: ...
        """
        request = RetireAgentRequest(agent_id=agent_id)
        return await self._change("retire_agent", request, timeout)

    async def halt_agent(
        self, agent_id: str, *, reason: str = "", timeout: float | None = None
    ) -> Agent:
        """End an agent's ownership and let nobody acquire it until `resume_agent`. Raises
        AgentNotFound, AgentState (definite), and what every mutation raises.

        >>> _ = await store.create_agent("store/halt")
        >>> agent = await store.halt_agent("store/halt", reason="it charges twice")
        >>> agent.halt_reason
        'it charges twice'
        """
        request = HaltAgentRequest(agent_id=agent_id, reason=reason)
        return await self._change("halt_agent", request, timeout)

    async def resume_agent(self, agent_id: str, *, timeout: float | None = None) -> Agent:
        """Let a halted agent be acquired again. Raises AgentNotFound, AgentState
        (definite), and what every mutation raises.

        >>> _ = await store.create_agent("store/resume")
        >>> _ = await store.halt_agent("store/resume")
        >>> agent = await store.resume_agent("store/resume")
        >>> agent.halt_reason
        ''
        """
        request = ResumeAgentRequest(agent_id=agent_id)
        return await self._change("resume_agent", request, timeout)

    async def _change(self, kind: str, request: Any, timeout: float | None) -> Agent:
        answer = await self._engine.mutate(kind, request, timeout)
        agent: Agent = answer.agent
        return agent
