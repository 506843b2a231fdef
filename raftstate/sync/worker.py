# Generated from raftstate/client/worker.py by scripts/generate. Not to be edited.

"""The worker: finishes what others began to undo.

It watches sagas and rollbacks, claims what nobody has claimed, carries it out with the
functions that are registered, lets the validators speak, and finishes. Several of them side
by side share the work: what one has claimed the others leave alone, until it is gone.

    with raftstate.sync.connect(endpoints) as store:
        raftstate.sync.Worker(store).run()

From a shell: `raftstate worker --module my.compensations`.
"""

from __future__ import annotations

from typing import cast

from raftstate.client import worker as face
from raftstate.client.compensating import Backoff
from raftstate.client.registry import Registry
from raftstate.sync.running import Face
from raftstate.sync.store import Store


class Worker(Face, of=face.Worker):
    """Finishes sagas that were given up, and rollbacks, until it is stopped.

    `registry` is what it knows how to undo and to validate, by default all that is
    registered in this process. It does up to `parallel` plans at once. Beside what it is
    told by a watch, it looks at everything every `poll` seconds. `claim_idle` is how long
    somebody else's claim may lie idle before it is taken over.

    When a worker dies, the leader sees its connection break, and another goes on at once.
    When the leader dies at the same moment, another goes on when the session of the dead
    one has ended: the `session_ttl` of its store after a new leader is there."""

    def __init__(
        self,
        store: Store,
        registry: Registry | None = None,
        *,
        holder: str | None = None,
        parallel: int = 8,
        poll: float = 5.0,
        claim_idle: float = 3.0,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(
            face.Worker(
                store._it,
                registry,
                holder=holder,
                parallel=parallel,
                poll=poll,
                claim_idle=claim_idle,
                backoff=backoff,
            ),
            store._running,
        )

    @property
    def _it(self) -> face.Worker:
        return cast(face.Worker, self._object)

    @property
    def finished(self) -> int:
        """How many plans it has finished."""
        return self._it.finished

    def stop(self) -> None:
        """Begin nothing new; `run` returns when what is under way has come to a point where
        another can go on. From any thread.

        >>> worker = raftstate.sync.Worker(store)
        >>> worker.stop()
        >>> worker.run()
        """
        self._running.post(self._it.stop)

    def run(self) -> None:
        """Work until `stop` is called. It survives changes of leader and members that fail:
        what cannot be done now is tried again. Raises Closed (definite) if the store is
        closed meanwhile; what is broken off is left to others.

        >>> worker, undone = raftstate.sync.Worker(store), []
        >>> @raftstate.sync.compensation("worker-unbook")
        ... def unbook(call):
        ...     undone.append(call.args)
        ...     worker.stop()
        >>> with store.own("worker/run") as agent:
        ...     good = agent.checkpoint({"total": 1})
        ...     _ = agent.effect(
        ...         "book", "flight", effect_id="book", undo=unbook, do=lambda call: None
        ...     )
        >>> _ = store.start_rollback("worker/run", raftstate.to_checkpoint(good))
        >>> worker.run()
        >>> undone
        ['flight']
        """
        self._running.run(self._it.run(), asks=False)
