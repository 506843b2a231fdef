"""Storage for `pybreaker`: circuit breakers that any number of processes share.

    storage = RaftBreakerStorage("127.0.0.1:7411,127.0.0.1:7412", "payments")
    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60, state_storage=storage)

An extra: `pip install "raftstate[pybreaker]"`.

The state of a breaker is one key, which changes by compare-and-swap; a counter is the
version of another one, which is put once more: no count is lost, nobody waits for others who
count, and a failure, or a transition, is seen by whoever asks next. Of all processes one at
a time makes the trial call of a breaker that is half open; to the others it is open.

When a breaker may be tried again is for the library to say, which compares `opened_at` with
the clock of the host that asks: keep those of your hosts together. How long one process may
take for a trial call before another one may make it is told by the cluster's own time. The
breakers of `Store.breaker` leave nothing to the clocks of hosts.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

try:
    import pybreaker
except ImportError as _error:
    raise ImportError(
        'this adapter needs pybreaker: pip install "raftstate[pybreaker]"'
    ) from _error

from raftstate.adapters.keys import key
from raftstate.adapters.portals import Access
from raftstate.client import Store, txn
from raftstate.client.options import positive
from raftstate.client.portal import Portal
from raftstate.errors import Closed, Conflict, InvalidRequest, RaftStateError
from raftstate.v1.kv_service_pb2 import TxnOp

T = TypeVar("T")
Change = Callable[["Facts"], "Facts"]

ROOT: Final = "~pybreaker"
# A breaker is asked several times a call: it must not hold one up for long.
TIMEOUT_S: Final = 2.0
# How long the store is not asked again after it could not be reached.
_REST_S: Final = 1.0
# What a lease may be for, in seconds.
_TRIAL_S: Final = (0.5, 86_400.0)
_STATES: Final = (pybreaker.STATE_CLOSED, pybreaker.STATE_OPEN, pybreaker.STATE_HALF_OPEN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)


class Facts(NamedTuple):
    """What is known of a breaker. `opened_at` is in microseconds since 1970."""

    state: str
    opened_at: int | None = None


class RaftBreakerStorage(pybreaker.CircuitBreakerStorage):
    """The state of one breaker, for one `CircuitBreaker` in each process that shares it."""

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        breaker: str,
        *,
        name: str = "default",
        state: str = pybreaker.STATE_CLOSED,
        fallback_state: str | None = pybreaker.STATE_CLOSED,
        trial_limit: float = 30.0,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`breaker` names it among those of `name`, in the whole cluster. `state` is what it
        is in until somebody changes that. `trial_limit` is for how many seconds the trial
        call of a half-open breaker keeps others out. The rest is as `raftstate.connect` has
        it; or `endpoints` is an open `Portal`.

        When the store cannot be reached within `timeout`, the breaker is in
        `fallback_state`, with nothing counted, which is logged, and the store is not asked
        again for a second; changes are lost meanwhile. With None, everything raises what
        `raftstate.errors` has for it instead. A storage that was closed, or that belongs to
        the process which this one was forked from, raises Closed (definite) in any case.
        Nothing is sent yet.

        Raises InvalidRequest (definite) if an argument makes no sense."""
        super().__init__("raftstate")
        for field, given in (("state", state), ("fallback_state", fallback_state)):
            if given not in _STATES and not (field == "fallback_state" and given is None):
                raise _wrong(field, f"{field} is {given!r}; expected {', '.join(_STATES)}")
        if not breaker:
            raise _wrong("breaker", "a breaker needs a name of its own")
        shortest, longest = _TRIAL_S
        if not shortest <= positive("trial_limit", trial_limit) <= longest:
            raise _wrong(
                "trial_limit",
                f"trial_limit is {trial_limit} seconds; it must be {shortest} to {longest}",
            )
        self._access = Access(endpoints, options, timeout)
        self._timeout = positive("timeout", timeout)
        self._key = key(ROOT, name, breaker, "facts")
        self._failures_key = key(ROOT, name, breaker, "failures")
        self._successes_key = key(ROOT, name, breaker, "successes")
        self._trial_key = key(ROOT, name, breaker, "trial")
        self._initial = Facts(state)
        self._fallback = fallback_state
        self._trial_limit = trial_limit
        self._me = uuid.uuid4().bytes
        self._rests_until = 0.0
        # The state that was last told, or set: what a breaker of the library knows of.
        self._told: str | None = None
        self._noticed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections, unless a portal was given. Doing so twice is harmless."""
        self._access.close()

    # --- what the library reads and sets ---

    @property
    def state(self) -> str:
        """closed, open or half-open. To all but the process whose trial call is under way,
        a breaker that is half open is open."""
        told = self._run(self._state, self._unknown.state)
        with self._lock:
            if self._told is not None and told != self._told:
                self._noticed = told == pybreaker.STATE_CLOSED
            self._told = told
        return told

    @state.setter
    def state(self, state: str) -> None:
        """Set it. Half open: this process is to make the trial call. Raises
        CircuitBreakerError if another one is making it."""
        if state not in _STATES:
            raise _wrong("state", f"state is {state!r}; expected {', '.join(_STATES)}")

        async def change(store: Store) -> None:
            if state == pybreaker.STATE_HALF_OPEN:
                await self._begin_trial(store)
            else:
                await self._change(
                    store,
                    lambda facts: facts._replace(state=state),
                    [txn.delete(self._successes_key)],
                )
                await store.txn(then=[self._end_trial()])

        self._run(change, None)
        with self._lock:
            self._told, self._noticed = state, False

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self._run(lambda store: _count(store, self._failures_key), 0)

    @property
    def success_counter(self) -> int:
        """Trial calls in a row that went well."""
        return self._run(lambda store: _count(store, self._successes_key), 0)

    @property
    def opened_at(self) -> datetime | None:
        """When it was opened last, by the clock of the host that opened it."""
        opened_at = self._run(self._read, self._unknown).opened_at
        return None if opened_at is None else _EPOCH + timedelta(microseconds=opened_at)

    @opened_at.setter
    def opened_at(self, opened_at: datetime) -> None:
        """Set it; of those who open a breaker at the same time the later counts. Raises
        InvalidRequest (definite) for a time that does not say in which zone."""
        if opened_at.tzinfo is None:
            raise _wrong("opened_at", "opened_at has no time zone")
        moment = (opened_at - _EPOCH) // timedelta(microseconds=1)

        def change(facts: Facts) -> Facts:
            # What a host noted whose clock was ahead is not to outlive the time after it.
            others = facts.opened_at if facts.state == pybreaker.STATE_OPEN else None
            return facts._replace(opened_at=max(moment, others or moment))

        self._run(lambda store: self._change(store, change), None)

    # --- what the library counts ---

    def increment_counter(self) -> None:
        """One more failure."""
        self._run(lambda store: self._count_one(store, self._failures_key), None)

    def reset_counter(self) -> None:
        """No failures. It is also how a breaker of the library takes note that another
        process has closed it: that is not to take away what was counted since."""
        with self._lock:
            noticed, self._noticed = self._noticed, False
        if not noticed:

            async def reset(store: Store) -> None:
                if await _count(store, self._failures_key):
                    await store.keys.delete(self._failures_key)

            self._run(reset, None)

    def increment_success_counter(self) -> None:
        """One more trial call went well. The next one may be any process'."""
        end = self._end_trial()
        self._run(lambda store: self._count_one(store, self._successes_key, end), None)

    def reset_success_counter(self) -> None:
        """No successes; but of a breaker that is half open they count across processes,
        until it opens or closes."""

        async def reset(store: Store) -> None:
            found = await store.keys.get(self._key)
            facts = self._initial if found is None else _facts(found.value)
            if facts.state == pybreaker.STATE_HALF_OPEN:
                return
            if await _count(store, self._successes_key):
                # Whoever changes the state meanwhile resets it too.
                await store.txn(
                    when=[
                        txn.equal(self._key, mod_revision=found.mod_revision if found else 0)
                    ],
                    then=[txn.delete(self._successes_key)],
                )

        self._run(reset, None)

    # --- inside ---

    @property
    def _unknown(self) -> Facts:
        return Facts(self._fallback or pybreaker.STATE_CLOSED)

    def _run(self, work: Callable[[Store], Coroutine[Any, Any, T]], fallback: T) -> T:
        """What `work` comes to; what to fall back on if the store cannot be reached."""
        if self._fallback is None:
            return self._access.run(work)
        if time.monotonic() >= self._rests_until:
            try:
                return self._access.run(work)
            except (InvalidRequest, Closed):
                raise
            except RaftStateError:
                self._rests_until = time.monotonic() + _REST_S
                _log.exception(
                    "the store of a breaker cannot be reached: it counts as %s", self._fallback
                )
        return fallback

    async def _read(self, store: Store) -> Facts:
        found = await store.keys.get(self._key)
        return self._initial if found is None else _facts(found.value)

    async def _change(self, store: Store, change: Change, also: Iterable[TxnOp] = ()) -> None:
        """Change the facts, by compare-and-swap, until it is done or the time is up."""
        until = time.monotonic() + self._timeout
        found = await store.keys.get(self._key)
        while True:
            before = self._initial if found is None else _facts(found.value)
            after = change(before)
            if after == before:
                return
            done = await store.txn(
                when=[txn.equal(self._key, mod_revision=found.mod_revision if found else 0)],
                then=[txn.put(self._key, _written(after)), *also],
                otherwise=[txn.get(self._key)],
            )
            if done.succeeded:
                return
            [found] = done.results
            if time.monotonic() > until:
                raise Conflict(
                    "others changed the breaker first, again and again", definite=True
                )

    async def _count_one(self, store: Store, counter: bytes, *also: TxnOp) -> None:
        """One more of a counter. From then on the breaker has a state of its own."""
        count = [txn.put(counter, b""), *also]
        await store.txn(
            when=[txn.exists(self._key)],
            then=count,
            otherwise=[txn.put(self._key, _written(self._initial)), *count],
        )

    async def _state(self, store: Store) -> str:
        facts = await self._read(store)
        if facts.state == pybreaker.STATE_HALF_OPEN:
            trial = await store.keys.get(self._trial_key)
            if trial is None or trial.value != self._me:
                return pybreaker.STATE_OPEN
        return facts.state

    async def _begin_trial(self, store: Store) -> None:
        """Take the trial call, unless another process has it."""
        if _of_another(await store.keys.get(self._trial_key), self._me):
            raise _refused()
        lease = await store.grant_lease(self._trial_limit)
        taken = False
        try:
            while not taken:
                found = await store.keys.get(self._key)
                facts = self._initial if found is None else _facts(found.value)
                begins = facts.state != pybreaker.STATE_HALF_OPEN
                facts = facts._replace(state=pybreaker.STATE_HALF_OPEN)
                revision = 0 if found is None else found.mod_revision
                here = [txn.equal(self._key, mod_revision=revision)]
                put = [
                    txn.put(self._key, _written(facts)),
                    txn.put(self._trial_key, self._me, lease=lease.lease_id),
                    *([txn.delete(self._successes_key)] if begins else []),
                ]
                done = await store.txn(
                    when=[*here, txn.missing(self._trial_key)],
                    then=put,
                    otherwise=[
                        txn.nested(
                            when=[*here, txn.equal(self._trial_key, value=self._me)], then=put
                        ),
                        txn.get(self._trial_key),
                    ],
                )
                taken = done.succeeded or done.results[0].succeeded
                if not taken and _of_another(done.results[1], self._me):
                    raise _refused()
        finally:
            if not taken:
                await store.revoke_lease(lease.lease_id)

    def _end_trial(self) -> TxnOp:
        """Let others make the next trial call; only if this process has it."""
        return txn.nested(
            when=[txn.equal(self._trial_key, value=self._me)],
            then=[txn.delete(self._trial_key)],
        )


async def _count(store: Store, counter: bytes) -> int:
    """How often it was put since it was reset."""
    found = await store.keys.get(counter)
    return 0 if found is None else found.version


def _of_another(trial: Any, me: bytes) -> bool:
    return trial is not None and trial.value != me


def _refused() -> pybreaker.CircuitBreakerError:
    return pybreaker.CircuitBreakerError(
        "another process is making the trial call, circuit breaker still open"
    )


def _written(facts: Facts) -> bytes:
    return json.dumps(facts._asdict()).encode()


def _facts(value: bytes) -> Facts:
    return Facts(**json.loads(value))


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": field})
