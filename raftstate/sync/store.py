# Generated from raftstate/client/store.py by scripts/generate. Not to be edited.

"""The store, as an agent's program sees it.

    with raftstate.sync.connect("127.0.0.1:7411,127.0.0.1:7412") as store:
        with store.own("billing/nightly", wait=True) as agent:
            state = agent.restore(default={"done": 0})
            for item in work(after=state["done"]):
                with agent.step() as step:
                    step.event("charged", item.id)
                    step.checkpoint({"done": item.id})

Every failure is a `raftstate.errors.RaftStateError`; its `definite` says whether the
call surely did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self, cast

from raftstate.client import store as face
from raftstate.client import txn as words
from raftstate.client.autosave import Policy
from raftstate.client.chunks import Cut
from raftstate.client.options import Tls
from raftstate.client.portal import Portal
from raftstate.client.registry import Registry, default
from raftstate.sync.breakers import Breakers
from raftstate.sync.checkpoints import Checkpoints
from raftstate.sync.incidents import Incidents
from raftstate.sync.keys import Keys
from raftstate.sync.leases import Leases
from raftstate.sync.membership import Membership
from raftstate.sync.own import Own
from raftstate.sync.projections import Projections
from raftstate.sync.reads import Reads
from raftstate.sync.replay import Replays
from raftstate.sync.rollbacks import Rollbacks
from raftstate.sync.running import Running, listed
from raftstate.sync.sagas import Sagas
from raftstate.sync.streams import Streams
from raftstate.sync.watch import Watching
from raftstate.v1.agent_service_pb2 import Agent, Retention
from raftstate.v1.kv_service_pb2 import Compare, TxnOp


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
    of=face.Store,
):
    """A client of one cluster. Made by `connect`; used inside its block, in the process
    that entered it, by any number of threads.

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

    @property
    def _it(self) -> face.Store:
        self._running.check_opened()
        return cast(face.Store, self._object)

    def __enter__(self) -> Self:
        self._running.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close(error)

    def close(self) -> None:
        """Close the session, and with it give back what this store owns; then the
        connections. Best effort within a few seconds; what is not given back expires. It is
        done to its end also if the caller is interrupted. Closing twice is harmless. Raises
        Closed in another process.

        >>> store.close()
        >>> store.keys.get("store/close")
        Traceback (most recent call last):
        raftstate.errors.Closed: the store was closed
        """
        self._running.close()

    @property
    def sessions_opened(self) -> int:
        """How many sessions this store has had. One that expired, while it owned nothing,
        is replaced without a word, and counted here; what it owned is lost with it, which
        the blocks are told (OwnershipLost)."""
        return self._it.sessions_opened

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
        """Own an agent: `with store.own("a") as agent:` gives an `AgentHandle`.

        `wait` stands in line until the agent is free, for ever unless there is a `timeout`;
        `force` takes it from its owner, who is fenced from then on. Without either, an
        agent that is owned raises Owned. `create` makes an agent that does not exist. `ttl`
        is how long the ownership outlives this process' last renewal, 0.2 to 3,600 seconds;
        `holder` is a name for people. When the block ends, the agent is free at once.

        `auto_checkpoint` lets steps carry checkpoints by themselves: `Every(steps=20)`,
        `ForRpo()`; they take the state from `agent.state_from`. `deltas` saves what has
        changed, where that is less than half. `cut` says how large ones are sent.

        Blocks of one store take turns too: one that waits for an agent that its own thread
        owns waits for itself.

        When the ownership is lost, the call that the block's thread waits in raises
        OwnershipLost at once, and so does every call of the block after that, whatever it
        is about, and the end of the block. A thread that does not call is not told: see
        `AgentHandle.check`, `lost` and `wait_lost`. Of OwnershipLost, the `details` say who
        owns the agent now, as far as that could be learnt. It is definite unless a commit
        was under way whose outcome is unknown.

        Entering raises, definite: Owned, AgentNotFound, AgentState, InvalidRequest,
        NoQuorum; and OutcomeUnknown (indefinite): it may be owned, until the ttl ends.

        >>> with store.own("store/own") as agent:
        ...     state = agent.restore(default={"done": 0})
        ...     with agent.step() as step:
        ...         step.event("charged", 5)
        ...         step.checkpoint({"done": state["done"] + 1})
        >>> with store.own("store/own") as agent:
        ...     print(agent.restore())
        {'done': 1}
        """
        return Own(
            self._it.own(
                agent_id,
                wait=wait,
                force=force,
                ttl=ttl,
                holder=holder,
                create=create,
                auto_checkpoint=auto_checkpoint,
                deltas=deltas,
                cut=cut,
                timeout=timeout,
            ),
            self._running,
        )

    @property
    def keys(self) -> Keys:
        """The keys: `store.keys.put("a", b"1")`."""
        return Keys(self._it.keys, self._running)

    def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[TxnOp] = (),
        otherwise: Iterable[TxnOp] = (),
        timeout: float | None = None,
    ) -> words.Done:
        """Compare, and do one of two lists, at one revision: see `Keys.txn`.

        >>> done = store.txn(
        ...     when=[raftstate.txn.missing("store/txn")],
        ...     then=[raftstate.txn.put("store/txn", "mine")],
        ... )
        >>> done.succeeded
        True
        """
        return self._do(
            self._it.txn(
                when=listed(when),
                then=listed(then),
                otherwise=listed(otherwise),
                timeout=timeout,
            )
        )

    def create_agent(
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

        >>> agent = store.create_agent("store/create", labels={"team": "red"})
        >>> agent.agent_id, agent.head.step
        ('store/create', 0)
        >>> store.create_agent("store/create")
        Traceback (most recent call last):
        raftstate.errors.AgentExists: ...
        """
        return self._do(
            self._it.create_agent(
                agent_id,
                labels=labels,
                retention=retention,
                rpo_target_ms=rpo_target_ms,
                rto_target_ms=rto_target_ms,
                timeout=timeout,
            )
        )

    def update_agent(
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

        >>> _ = store.create_agent("store/update", labels={"team": "red"})
        >>> agent = store.update_agent("store/update", labels={}, rpo_target_ms=5_000)
        >>> list(agent.labels), agent.rpo_target_ms
        ([], 5000)
        """
        return self._do(
            self._it.update_agent(
                agent_id,
                labels=labels,
                retention=retention,
                rpo_target_ms=rpo_target_ms,
                rto_target_ms=rto_target_ms,
                timeout=timeout,
            )
        )

    def retire_agent(self, agent_id: str, *, timeout: float | None = None) -> Agent:
        """End an agent for good; its history stays readable. Raises AgentNotFound,
        AgentState (definite): it is retired, is being rolled back, or has a saga that is
        running; and what every mutation raises.

        >>> _ = store.create_agent("store/retire")
        >>> _ = store.retire_agent("store/retire")
        >>> with store.own("store/retire"):
        ...     pass
        Traceback (most recent call last):
        raftstate.errors.AgentState: ...
        """
        return self._do(self._it.retire_agent(agent_id, timeout=timeout))

    def halt_agent(
        self, agent_id: str, *, reason: str = "", timeout: float | None = None
    ) -> Agent:
        """End an agent's ownership and let nobody acquire it until `resume_agent`. Raises
        AgentNotFound, AgentState (definite), and what every mutation raises.

        >>> _ = store.create_agent("store/halt")
        >>> agent = store.halt_agent("store/halt", reason="it charges twice")
        >>> agent.halt_reason
        'it charges twice'
        """
        return self._do(self._it.halt_agent(agent_id, reason=reason, timeout=timeout))

    def resume_agent(self, agent_id: str, *, timeout: float | None = None) -> Agent:
        """Let a halted agent be acquired again. Raises AgentNotFound, AgentState
        (definite), and what every mutation raises.

        >>> _ = store.create_agent("store/resume")
        >>> _ = store.halt_agent("store/resume")
        >>> agent = store.resume_agent("store/resume")
        >>> agent.halt_reason
        ''
        """
        return self._do(self._it.resume_agent(agent_id, timeout=timeout))

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal.store, Running(portal))


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
    """A store, to be entered: `with raftstate.sync.connect(...) as store:`.

    `endpoints` are members of one cluster, `"host:port,host:port"` or a list; one that
    answers is enough. `timeout` is how long a call may take over all its attempts, unless
    it is told otherwise; `session_ttl` is how long the cluster remembers this client after
    its last word. Times are in seconds. Threads of the SDK keep the client and what it owns
    alive, whatever the program's own threads do; if the one that all calls run on should
    hang for `stall_limit` seconds, no more until it goes on. `registry` holds the functions
    that undo, find out and validate, by name: those of the whole process, if not given.
    Nothing is sent yet.

    Raises InvalidRequest (definite) if an argument makes no sense.

    >>> with raftstate.sync.connect(endpoints, timeout=5.0) as other:
    ...     _ = other.keys.put("connect", b"1")
    ...     print((other.keys.get("connect")).value)
    b'1'
    """
    return Store(
        Portal(
            endpoints,
            timeout=timeout,
            session_ttl=session_ttl,
            stall_limit=stall_limit,
            tls=tls,
            client_name=client_name,
            registry=registry,
        )
    )
