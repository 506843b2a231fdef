"""The preloaded clock: what a process is told, and how long it waits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
import time

import pytest

from jepsen_like.shims import NoCompiler, Shims

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Shims:
    """The machine, built once."""
    try:
        return Shims.make(tmp_path_factory.mktemp("machine"))
    except NoCompiler as error:
        pytest.skip(str(error))


HOUR_S = 3_600.0
FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine())

# Each waits for 0.6 s in its own way; the lower half until a time of the wall clock.
WAITS = {
    "sleep": "time.sleep(0.6)",
    "lock": "lock = threading.Lock(); lock.acquire(); assert not lock.acquire(timeout=0.6)",
    "event": "assert not threading.Event().wait(0.6)",
    "asyncio": "asyncio.run(asyncio.sleep(0.6))",
    "cond": "libc.pthread_mutex_lock(mutex); until(libc.pthread_cond_timedwait, cond, mutex)",
    "mutex": "libc.pthread_mutex_lock(mutex); until(libc.pthread_mutex_timedlock, mutex)",
    "semaphore": "until(libc.sem_timedwait, sem)",
    "nanosleep": "until(libc.clock_nanosleep, 0, 1, last=(None,))",
    "futex": f"until(libc.syscall, {FUTEX}, word, 9 | 256 | 128, 0, last=(None, -1))",
    # The deadline was reckoned before the clock jumped, and is used after it.
    "late": "at = deadline(); time.sleep(0.5); until(libc.sem_timedwait, sem, at=at)",
}
_PRELUDE = """
import asyncio, ctypes, os, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)

class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]

def deadline():
    at = time.time_ns() + 600_000_000
    return Timespec(at // 10**9, at % 10**9)

mutex, cond, sem = (ctypes.create_string_buffer(128) for _ in range(3))
word = ctypes.byref(ctypes.c_int(0))

def until(wait, *first, at=None, last=()):
    answer = wait(*first, ctypes.byref(at or deadline()), *last)
    timed_out = answer == 110 or (answer == -1 and ctypes.get_errno() == 110)
    assert timed_out or (wait is libc.clock_nanosleep and answer == 0), answer
"""
_MEASURE = """
print("waits", flush=True)
wall, monotonic = time.time(), time.monotonic()
wait()
print(time.time() - wall, time.monotonic() - monotonic)
"""


def run_waiting(
    shims: Shims, node: str, script: str, first: float, then: float
) -> tuple[float, float]:
    """How long a wait took by the wall clock of a process and by its monotonic one; halfway
    the wall clock jumps from one offset to another."""
    data = shims.folder / node / "data"
    shims.prepare(node, data)
    shims.set_clock(node, first)
    wait = f"def wait():\n{textwrap.indent(script, '    ')}\n"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _PRELUDE + wait + _MEASURE],
        env={**os.environ, **shims.environment(node, data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waits\n"
        time.sleep(0.3)
        shims.set_clock(node, then)
        try:
            output, complaint = child.communicate(timeout=PATIENCE_S / 4)
        finally:
            child.kill()
    assert child.returncode == 0, complaint
    wall, monotonic = map(float, output.split())
    return wall, monotonic


@pytest.mark.parametrize("offset", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("name", WAITS)
def test_waits_last_as_long_as_meant(shims: Shims, name: str, offset: float) -> None:
    """With a clock that is wrong, and jumps meanwhile: no wait hangs, none spins. The
    process sees that its clock jumped, or this would show nothing."""
    if name == "futex" and FUTEX is None:
        pytest.skip("the number of a system call is not known for this machine")
    node = f"{name}-{offset:.0f}"
    wall, monotonic = run_waiting(shims, node, WAITS[name], offset, -offset)
    assert 0.55 < monotonic < 5.0
    assert abs(wall - monotonic + 2 * offset) < 0.1


_CLOCKS = """
import datetime
libc.time.restype = ctypes.c_long
print(time.time(), time.clock_gettime(time.CLOCK_REALTIME), time.time_ns() / 1e9)
print(datetime.datetime.now().timestamp(), time.clock_gettime(5), libc.time(None))
print(time.monotonic())
"""


def ask(shims: Shims, node: str, script: str) -> list[float]:
    """What a process says that sees a node's clock."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + script],
        env={**os.environ, **shims.environment(node, shims.folder / node / "data")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return [float(word) for word in done.stdout.split()]


@pytest.mark.parametrize("offset", [0.0, HOUR_S, -HOUR_S, 4e9, -10.5])
def test_the_wall_clock_is_off_by_so_much(shims: Shims, offset: float) -> None:
    """Whichever way a process asks for the time of day; and no other clock is off."""
    node = f"offset-{offset:g}"
    shims.prepare(node, shims.folder / node / "data")
    shims.set_clock(node, offset)
    begun, monotonic_begun = time.time(), time.monotonic()
    *walls, monotonic = ask(shims, node, _CLOCKS)
    ended = time.time()
    assert len(walls) == 6
    # Some of these clocks tick in whole seconds.
    assert all(begun - 1.1 < wall - offset < ended + 0.1 for wall in walls)
    assert monotonic_begun < monotonic < time.monotonic()


@pytest.mark.parametrize("offset", [0.999999999, -0.999999999, 0.5, -0.5])
def test_the_carry_between_seconds_is_right(shims: Shims, offset: float) -> None:
    """Nanoseconds stay below a second, and whole seconds are not lost."""
    node = f"carry-{offset}"
    shims.prepare(node, shims.folder / node / "data")
    shims.set_clock(node, offset)
    begun = time.time()
    script = """
now = Timespec()
for _ in range(20_000):
    libc.clock_gettime(0, ctypes.byref(now))
    assert 0 <= now.nsec < 10**9
print(now.sec + now.nsec / 1e9)
"""
    [wall] = ask(shims, node, script)
    assert begun < wall - offset < time.time()
