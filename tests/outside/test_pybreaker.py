"""The storage for `pybreaker`: what the library asks of one, and what its users reported.

Each storage here has connections of its own, as one in another process would; some really
are in other processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pybreaker
import pytest
from pybreaker import CircuitBreaker, CircuitBreakerError

from raftstate.adapters.pybreaker import RaftBreakerStorage
from raftstate.client import Store
from raftstate.errors import Closed, InvalidRequest, NoQuorum
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import kills

Opened = Callable[..., RaftBreakerStorage]
NOWHERE = "127.0.0.1:1"
# In another process: so many failures of a call.
FAILS = """
import sys, pybreaker
from raftstate.adapters.pybreaker import RaftBreakerStorage
endpoints, name, count = sys.argv[1:]
storage = RaftBreakerStorage(endpoints, "b", name=name, fallback_state=None, timeout=60.0)
breaker = pybreaker.CircuitBreaker(fail_max=10_000, state_storage=storage)
for _ in range(int(count)):
    try:
        breaker.call(int, "no number")
    except ValueError:
        pass
storage.close()
"""


@pytest.fixture
def opened(endpoints: str, name: str) -> Iterator[Opened]:
    """Storages of a breaker of the test's own."""
    made: list[RaftBreakerStorage] = []

    def open_one(breaker: str = "b", **options: Any) -> RaftBreakerStorage:
        given = {"name": name, "fallback_state": None, "timeout": 30.0, **options}
        made.append(RaftBreakerStorage(endpoints, breaker, **given))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def fail() -> None:
    """What a breaker guards."""
    raise ConnectionError("down")


def broken(breaker: CircuitBreaker, times: int) -> None:
    """Let calls of a breaker fail."""
    for _ in range(times):
        with pytest.raises((ConnectionError, CircuitBreakerError)):
            breaker.call(fail)


def test_what_is_set_is_told(opened: Opened) -> None:
    """To another process as well: the state, the counters, the time."""
    storage, other = opened(), opened()
    assert (storage.state, storage.counter, storage.success_counter) == ("closed", 0, 0)
    assert storage.opened_at is None
    storage.increment_counter()
    storage.increment_counter()
    storage.increment_success_counter()
    storage.opened_at = opened_at = datetime.now(UTC)
    storage.state = "open"
    assert (other.state, other.counter, other.opened_at) == ("open", 2, opened_at)
    assert other.success_counter == 0, "a breaker that opens begins to count anew"
    other.reset_counter()
    other.increment_success_counter()
    assert (storage.counter, storage.success_counter) == (0, 1)
    other.reset_success_counter()
    assert storage.success_counter == 0


def test_a_breaker_begins_as_it_is_told(opened: Opened) -> None:
    """Until somebody has changed it."""
    assert opened(state="open").state == "open"
    opened().state = "closed"
    assert opened(state="open").state == "open", "it was closed before: nothing has changed"
    opened().increment_counter()
    assert opened(state="open").state == "closed"


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("state", {"state": "ajar"}),
        ("fallback_state", {"fallback_state": "ajar"}),
        ("breaker", {"breaker": ""}),
        ("trial_limit", {"trial_limit": 0}),
        ("trial_limit", {"trial_limit": 0.4}),
        ("trial_limit", {"trial_limit": 86_401}),
        ("timeout", {"timeout": -1}),
    ],
)
def test_options_that_make_no_sense_are_named(field: str, options: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequest) as caught:
        RaftBreakerStorage(NOWHERE, **{"breaker": "b", **options})
    assert caught.value.details["field"] == field


def test_a_state_or_time_that_is_none_is_refused(opened: Opened) -> None:
    """And changes nothing."""
    storage = opened()
    with pytest.raises(InvalidRequest, match="ajar"):
        storage.state = "ajar"
    with pytest.raises(InvalidRequest, match="time zone"):
        storage.opened_at = datetime.now()  # noqa: DTZ005  # that is the point
    assert (storage.state, storage.opened_at) == ("closed", None)


def test_the_time_of_opening_is_exact_and_does_not_go_back(opened: Opened) -> None:
    """Cut to seconds, a timeout of one second would be over at once; and of two who open a
    breaker the later counts."""
    storage = opened(state="open")
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    storage.opened_at = moment
    assert storage.opened_at == moment
    storage.opened_at = moment - timedelta(seconds=1)
    assert storage.opened_at == moment


def test_a_clock_that_was_ahead_does_not_keep_a_breaker_open(opened: Opened) -> None:
    """Once it was closed, what is noted is the time of its next opening."""
    storage = opened()
    breaker = CircuitBreaker(fail_max=1, reset_timeout=0.2, state_storage=storage)
    breaker.open()
    storage.opened_at = datetime.now(UTC) + timedelta(days=365)
    breaker.close()
    broken(breaker, 1)
    with pytest.raises(CircuitBreakerError):
        breaker.call(str)
    time.sleep(0.3)
    assert breaker.call(str) == ""


# --- what users of the library reported --------------------------------------


def test_24_who_notices_an_open_breaker_does_not_open_it_anew(opened: Opened) -> None:
    """Report 24: every worker that saw the shared state noted the time as its own, so that
    with enough of them a breaker stayed open for ever."""
    breakers = [
        CircuitBreaker(fail_max=2, reset_timeout=1.0, state_storage=opened()) for _ in range(4)
    ]
    broken(breakers[0], 2)
    opened_at = opened().opened_at
    assert opened_at is not None
    until = opened_at + timedelta(seconds=1)
    refused = 0
    while datetime.now(UTC) < until - timedelta(seconds=0.3):
        for breaker in breakers:
            with pytest.raises(CircuitBreakerError):
                breaker.call(str)
            refused += 1
    assert refused
    assert opened().opened_at == opened_at
    time.sleep(max((until - datetime.now(UTC)).total_seconds(), 0))
    assert breakers[3].call(str) == ""
    assert [one.current_state for one in breakers] == ["closed"] * 4


def test_26_a_new_breaker_finds_what_there_is(opened: Opened) -> None:
    """Report 26: a worker that started closed the circuit of all, and forgot the failures
    that were counted."""
    first = CircuitBreaker(fail_max=3, state_storage=opened())
    broken(first, 2)
    second = CircuitBreaker(fail_max=3, state_storage=opened())
    assert (first.fail_counter, second.fail_counter) == (2, 2)
    broken(second, 1)
    third = CircuitBreaker(fail_max=3, state_storage=opened())
    assert [one.current_state for one in (first, second, third)] == ["open"] * 3
    with pytest.raises(CircuitBreakerError):
        third.call(str)


def test_26_who_notices_a_closed_breaker_does_not_forget_failures(opened: Opened) -> None:
    """The same by another way: a worker that sees that another has closed the circuit resets
    the count, which by then holds failures of the time after."""
    one = CircuitBreaker(fail_max=3, state_storage=opened())
    two = CircuitBreaker(fail_max=3, state_storage=opened())
    one.open()
    assert two.state.name == "open"
    one.close()
    broken(one, 2)
    assert two.state.name == "closed"
    assert one.fail_counter == 2
    assert two.call(str) == ""
    assert one.fail_counter == 0, "a call that went well does reset it"


def test_44_failures_of_many_processes_are_all_counted(
    opened: Opened, endpoints: str, name: str
) -> None:
    """Report 44: the lock is one of a process, and the counts are shared."""
    argv = [sys.executable, "-c", FAILS, endpoints, name, "25"]
    running = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert opened().counter == 75


def test_44_who_counts_waits_for_nobody(opened: Opened) -> None:
    """When what they call goes down, all processes count at the same time: each count is one
    command, whatever others do."""
    storages = [opened() for _ in range(8)]
    commands: list[object] = []

    async def counted(store: Store) -> None:
        asked = store.txn

        async def ask(**what: Any) -> Any:
            commands.append(what)
            return await asked(**what)

        store.txn = ask  # type: ignore[method-assign]

    for storage in storages:
        storage._access.run(counted)
    with ThreadPoolExecutor(8) as pool:
        for storage in storages * 5:
            pool.submit(storage.increment_counter)
    assert storages[0].counter == 40
    assert len(commands) == 40


def test_44_one_process_makes_the_trial_call(opened: Opened) -> None:
    """The same for a half-open circuit: each worker let a call through to what had just
    failed. While one makes the trial call, all others are refused."""
    breakers = [
        CircuitBreaker(fail_max=1, reset_timeout=0.1, state_storage=opened()) for _ in range(4)
    ]
    broken(breakers[0], 1)
    time.sleep(0.2)
    called, refused = threading.Semaphore(0), threading.Semaphore(0)

    def trial() -> str:
        called.release()
        assert all(refused.acquire(timeout=30) for _ in range(6))
        return "done"

    def call(breaker: CircuitBreaker) -> object:
        for _ in range(2):
            try:
                return breaker.call(trial)
            except CircuitBreakerError:
                refused.release()
        return None

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(call, breakers))
    assert sorted(map(str, ended)) == ["None", "None", "None", "done"]
    assert called.acquire(blocking=False)
    assert not called.acquire(blocking=False), "there were two trial calls"
    assert [one.current_state for one in breakers] == ["closed"] * 4


def test_44_a_trial_call_that_never_ends_keeps_others_out_for_a_time(opened: Opened) -> None:
    """A process that dies in its trial call does not keep the circuit open for ever."""
    dead, alive = opened(trial_limit=1.0), opened(trial_limit=1.0)
    dead.state = "half-open"
    assert (dead.state, alive.state) == ("half-open", "open")
    breaker = CircuitBreaker(fail_max=1, reset_timeout=0.0, state_storage=alive)
    begun = time.monotonic()
    with pytest.raises(CircuitBreakerError, match="another process"):
        breaker.call(str)
    while time.monotonic() < begun + 30:
        try:
            assert breaker.call(str) == ""
        except CircuitBreakerError:
            continue
        break
    assert breaker.current_state == "closed"
    assert time.monotonic() - begun > 0.5


def test_88_breakers_have_names_of_their_own(opened: Opened) -> None:
    """Report 88: two breakers on one storage changed each other, unless one knew that they
    needed namespaces. Here a storage has no default name."""
    one = CircuitBreaker(fail_max=1, name="one", state_storage=opened("one"))
    two = CircuitBreaker(fail_max=1, name="two", state_storage=opened("two"))
    broken(one, 1)
    assert (one.current_state, two.current_state) == ("open", "closed")
    assert (one.fail_counter, two.fail_counter) == (1, 0)
    assert two.call(str) == ""
    with pytest.raises(TypeError, match="breaker"):
        RaftBreakerStorage(NOWHERE)  # type: ignore[call-arg]


def test_96_trial_calls_that_went_well_count_together(opened: Opened) -> None:
    """Report 96: one success is not enough to trust. It takes as many as one says, of all
    processes together, and a failure begins anew."""
    one, two = (
        CircuitBreaker(
            fail_max=1, reset_timeout=0.0, success_threshold=3, state_storage=opened()
        )
        for _ in range(2)
    )
    broken(one, 1)
    for breaker, successes in ((one, 1), (two, 2)):
        assert breaker.call(str) == ""
        assert opened().success_counter == successes
        assert opened().state == "open", "to a process that makes no trial call"
    broken(one, 1)
    assert opened().success_counter == 0
    for breaker in (two, one, two):
        assert opened().state == "open"
        assert breaker.call(str) == ""
    assert (one.current_state, two.current_state) == ("closed", "closed")


# --- when the store fails ----------------------------------------------------


def test_without_the_store_calls_go_through_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """The breaker counts as closed, which is logged; it is not waited for again and again."""
    storage = RaftBreakerStorage(NOWHERE, "b", timeout=0.3)
    breaker = CircuitBreaker(fail_max=1, state_storage=storage)
    assert "cannot be reached" in caplog.text
    begun = time.monotonic()
    for _ in range(100):
        assert breaker.call(str) == ""
    assert time.monotonic() - begun < 2.0
    assert breaker.current_state == "closed"
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    storage.close()


def test_a_storage_that_was_closed_says_so() -> None:
    """That is no outage."""
    storage = RaftBreakerStorage(NOWHERE, "b")
    storage.close()
    with pytest.raises(Closed):
        CircuitBreaker(state_storage=storage)


def test_a_storage_of_another_process_says_so(opened: Opened) -> None:
    """A server that forks after it made its breakers would have none: it is told at once."""
    storage = opened(fallback_state="closed")
    assert storage.state == "closed"
    child = os.fork()
    if not child:
        try:
            storage.increment_counter()
        except Closed:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert storage.counter == 0


def test_without_the_store_one_may_be_told() -> None:
    """With no fallback every call says what failed; a fallback may be any state."""
    with pytest.raises(NoQuorum) as caught:
        CircuitBreaker(
            state_storage=RaftBreakerStorage(NOWHERE, "b", fallback_state=None, timeout=0.3)
        )
    assert caught.value.definite
    storage = RaftBreakerStorage(NOWHERE, "b", fallback_state="open", timeout=0.3)
    assert storage.state == pybreaker.STATE_OPEN


@pytest.mark.slow
def test_counts_outlive_leaders(cluster: LocalCluster, opened: Opened) -> None:
    """While leaders die, no failure is lost, and none is counted twice."""
    breaker = CircuitBreaker(fail_max=1_000_000, state_storage=opened())
    count = 0
    with kills(cluster, 1.0) as killing:
        while killing.count < 2 and count < 20_000:
            broken(breaker, 1)
            count += 1
    assert breaker.fail_counter == count
