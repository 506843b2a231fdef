"""A helper for tests of agents: does a function draw anything that it does not declare?

    raftstate.replay.check_deterministic("billing.rules:fold", state, event)

It runs the function twice, the second time over what the first one recorded, and compares.
Meanwhile clocks, random numbers and UUIDs raise UndeclaredNondeterminism where the
function's own code, or code that is neither Python's nor ours, asks for them. What a
function draws through `step.record`, `step.time` and so on is declared. The order of sets
cannot be seen from inside: for that a function that can be imported runs in two processes
of its own, whose texts have different hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import importlib
import inspect
import json
import os
import random
import secrets
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from raftstate.client.practice import PracticeAgent

# What the function is called with is read from a child's standard input.
FACE: Final = "raftstate.client.practice"
_CHILD: Final = "from raftstate.client.determinism import child; child()"
_SEEDS: Final = ("1", "2")
_STDLIB: Final = sysconfig.get_path("stdlib") + os.sep
_SITE: Final = tuple(
    {sysconfig.get_path("purelib") + os.sep, sysconfig.get_path("platlib") + os.sep}
)
_OURS: Final = str(Path(__file__).parents[1]) + os.sep
# Of Python's own modules, those that pass on what they are asked for.
_PASSING_ON: Final = tuple(
    str(Path(module.__file__ or "")) for module in (random, secrets, uuid)
)

_TIME: Final = (
    *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"),
    *("process_time", "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime"),
)
_DRAWS: Final = (
    *("random", "randbytes", "getrandbits", "randint", "randrange", "uniform", "choice"),
    *("choices", "sample", "shuffle", "gauss", "normalvariate", "triangular", "expovariate"),
    *("betavariate", "gammavariate", "lognormvariate", "paretovariate", "vonmisesvariate"),
    "weibullvariate",
)
# Builtin functions that draw, as the interpreter shows them when they are called.
_BUILT_IN: Final[dict[Any, str]] = {
    **{getattr(time, name): f"time.{name}" for name in _TIME if hasattr(time, name)},
    datetime.now: "datetime.now",
    datetime.utcnow: "datetime.utcnow",
    datetime.today: "datetime.today",
    date.today: "date.today",
    os.urandom: "os.urandom",
    random.random: "random.random",
    random.getrandbits: "random.getrandbits",
}
# Python functions that draw in a way of their own.
_PYTHON: Final = {uuid.uuid1.__code__: "uuid.uuid1", uuid.uuid4.__code__: "uuid.uuid4"}
_NEW_RANDOM: Final = random.Random.__init__.__code__
# What is patched as well: builtin code may call these without the interpreter's seeing it.
_PATCHED: Final = (
    *((time, name) for name in _TIME if hasattr(time, name)),
    *((random, name) for name in _DRAWS if hasattr(random, name)),
    *((secrets, name) for name in ("token_bytes", "token_hex", "token_urlsafe", "randbelow")),
    *((secrets, name) for name in ("choice", "randbits")),
    (os, "urandom"),
    (uuid, "uuid1"),
    (uuid, "uuid4"),
)


# What tells the time if it is given fewer arguments than this.
_NOW_BELOW: Final = {"localtime": 1, "gmtime": 1, "ctime": 1, "asctime": 1, "strftime": 2}


class UndeclaredNondeterminism(AssertionError):
    """A function drew something from outside itself, or did not do the same twice. `call`
    is what it called, and `where` the file and line; both are empty for the second.

    >>> import time
    >>> def now():
    ...     return time.time()
    >>> try:
    ...     raftstate.replay.check_deterministic(now)
    ... except raftstate.replay.UndeclaredNondeterminism as error:
    ...     print(error.call)
    time.time
    """

    def __init__(self, message: str, call: str = "", where: str = "") -> None:
        super().__init__(message)
        self.call = call
        self.where = where


@dataclass(frozen=True, slots=True)
class Produced:
    """What a function did: its result, the events that it made as a `PracticeAgent`'s
    function, and what it recorded."""

    result: Any = None
    events: list[dict[str, Any]] = field(default_factory=list)
    recordings: dict[str, Any] = field(default_factory=dict)


def check_deterministic(
    target: str | Callable[..., Any],
    /,
    *arguments: Any,
    agent: bool | None = None,
    state: Any = None,
    effects: dict[str, Any] | None = None,
    timeout: float = 60.0,
    face: str = FACE,
) -> Produced:
    """Run a function twice, and raise UndeclaredNondeterminism unless it does the same both
    times and draws nothing that it does not declare; what it did.

    `target` is a function or coroutine function, or "module:function". With `agent` it is
    given a `PracticeAgent` before the `arguments`, which keeps what it writes in memory and
    restores `state`; by default if it takes one argument more than there are. `effects`
    says what each action gives, as nothing is done.

    One that can be imported, with arguments that JSON can hold, also runs in two processes
    with different hashes of texts, `timeout` seconds each: so the order of a set shows. One
    that cannot (a local function, one of `__main__`) does not. Not to be called in a
    running event loop. `face` is the module of which a function gets its `PracticeAgent`.

    Raises what the function raises, and TypeError if its result is no value of JSON.

    >>> def add(total, amount):
    ...     return {"total": total + amount}
    >>> raftstate.replay.check_deterministic(add, 1, 2).result
    {'total': 3}
    """
    function = _imported(target) if isinstance(target, str) else target
    if agent is None:
        agent = _takes(function) == len(arguments) + 1
    given = _Given(list(arguments), agent, state, effects or {}, face)
    first = _run(function, given, {})
    second = _run(function, given, first.recordings)
    _compare(first, second, "the second time")
    name = target if isinstance(target, str) else _name(function)
    with contextlib.suppress(_NotPlain):
        if name:
            _apart({"target": name, "given": given}, timeout)
    return first


class _Given(NamedTuple):
    """What a function is called with."""

    arguments: list[Any]
    agent: bool
    state: Any
    effects: dict[str, Any]
    face: str


class _NotPlain(Exception):
    """What a function is to be given cannot be sent to another process."""


# --- running -----------------------------------------------------------------


def _run(function: Callable[..., Any], given: _Given, recordings: dict[str, Any]) -> Produced:
    practice = PracticeAgent(given.state, recordings, declared, given.effects)
    arguments = copy.deepcopy(given.arguments)  # a function may change what it is given
    if given.agent:
        arguments.insert(0, importlib.import_module(given.face).practising(practice))

    async def wait(for_what: Any) -> Any:
        return await for_what

    with forbidden() as seen:
        result = function(*arguments)
        if inspect.isawaitable(result):
            result = asyncio.run(wait(result))
    if seen:
        raise seen[0]
    return Produced(_plain(result), practice.events, practice.recordings)


def _plain(result: Any) -> Any:
    return json.loads(json.dumps(result, allow_nan=False))


def _compare(first: Produced, second: Produced, when: str) -> None:
    """Raise UndeclaredNondeterminism at the first difference."""
    for number, (one, other) in enumerate(zip(first.events, second.events, strict=False), 1):
        if _text(one) != _text(other):
            raise UndeclaredNondeterminism(f"event {number} is {other} {when}, not {one}")
    if len(first.events) != len(second.events):
        raise UndeclaredNondeterminism(
            f"it makes {len(second.events)} events {when}, not {len(first.events)}"
        )
    if _text(first.result) != _text(second.result):
        raise UndeclaredNondeterminism(
            f"the result is {second.result!r} {when}, not {first.result!r}"
        )
    if first.recordings.keys() != second.recordings.keys():
        odd = sorted(first.recordings.keys() ^ second.recordings.keys())
        raise UndeclaredNondeterminism(f"it does not record the same {when}: {odd}")


def _text(value: Any) -> str:
    # The order of keys counts: it is that in which a program goes through a map.
    return json.dumps(value)


# --- what is forbidden -------------------------------------------------------

_declared: ContextVar[bool] = ContextVar("declared", default=False)


@contextlib.contextmanager
def declared() -> Iterator[None]:
    """What this task draws in here is recorded."""
    token = _declared.set(True)
    try:
        yield
    finally:
        _declared.reset(token)


@contextlib.contextmanager
def forbidden() -> Iterator[list[UndeclaredNondeterminism]]:
    """In here, drawing something raises; what was drawn is also listed, should that have
    been caught. For the thread that it is called in, and those that begin in it."""
    import threading

    seen: list[UndeclaredNondeterminism] = []

    def drew(call: str, frame: FrameType) -> UndeclaredNondeterminism:
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        error = UndeclaredNondeterminism(
            f"{call} is called in {frame.f_code.co_name} ({where}): declare it with"
            " step.record, step.time, step.random or step.uuid",
            call,
            where,
        )
        seen.append(error)
        return error

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if _declared.get():
            return
        if event == "c_call":
            call = _name_of(called)
        elif event == "call":
            call = _PYTHON.get(frame.f_code, "")
            if frame.f_code is _NEW_RANDOM and _unseeded(frame):
                call = "random.Random()"
        else:
            return
        if call and (asked := _asker(frame, call)) is not None:
            raise drew(*asked)

    before, threads_before = sys.getprofile(), threading.getprofile()
    with contextlib.ExitStack() as stack:
        for module, name in _PATCHED:
            stack.enter_context(_patched(module, name, drew))
        for name, fewer_than in _NOW_BELOW.items():
            stack.enter_context(_patched(time, name, drew, fewer_than))
        threading.setprofile(watch)
        sys.setprofile(watch)
        stack.callback(sys.setprofile, before)
        stack.callback(threading.setprofile, threads_before)
        yield seen


def _name_of(called: Any) -> str:
    try:
        return _BUILT_IN.get(called, "")
    except TypeError:  # bound to something that has no hash
        return ""


def _unseeded(frame: FrameType) -> bool:
    known = frame.f_locals
    return known.get("x") is None and type(known.get("self")) is random.Random


def _asker(frame: FrameType | None, call: str) -> tuple[str, FrameType] | None:
    """By which call something was drawn, and where; None: by code that may."""
    if _collects(frame):
        return None
    while frame is not None and frame.f_code.co_filename in _PASSING_ON:
        if not frame.f_code.co_name.startswith("_"):
            module = Path(frame.f_code.co_filename).stem
            call = f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    if frame is None:
        return None
    name = frame.f_code.co_filename
    python = name.startswith((_STDLIB, "<frozen")) and not name.startswith(_SITE)
    return None if python or name.startswith(_OURS) else (call, frame)


def _collects(frame: FrameType | None) -> bool:
    """Whether it is the collector of garbage that calls: in the middle of anything, and of
    nobody's doing."""
    told = {getattr(one, "__code__", None) for one in gc.callbacks}
    while frame is not None:
        if frame.f_code in told:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def _patched(
    module: Any,
    name: str,
    drew: Callable[[str, FrameType], UndeclaredNondeterminism],
    fewer_than: int | None = None,
) -> Iterator[None]:
    real = getattr(module, name)

    def refuse(*arguments: Any, **named: Any) -> Any:
        draws = fewer_than is None or len(arguments) < fewer_than or arguments[-1] is None
        asked = _asker(sys._getframe(1), f"{module.__name__}.{name}") if draws else None
        if asked is not None and not _declared.get():
            raise drew(*asked)
        return real(*arguments, **named)

    setattr(module, name, refuse)
    try:
        yield
    finally:
        setattr(module, name, real)


# --- processes of their own --------------------------------------------------


def _apart(task: dict[str, Any], timeout: float) -> None:
    """Run a function in two processes whose texts have different hashes, and compare."""
    first = _child(task, _SEEDS[0], timeout)
    again = task | {"recordings": first.recordings}
    second = _child(again, _SEEDS[1], timeout)
    _compare(first, second, "where texts have other hashes (the order of a set?)")


def _child(task: dict[str, Any], seed: str, timeout: float) -> Produced:
    try:
        asked = json.dumps(task, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _NotPlain from error
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=asked,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        raise UndeclaredNondeterminism(
            f"it fails in a process of its own (status {done.returncode}):\n{done.stderr}"
        )
    said = json.loads(done.stdout)
    if "undeclared" in said:
        raise UndeclaredNondeterminism(*said["undeclared"])
    return Produced(**said)


def child() -> None:
    """The other end of `_apart`: what a function does, on standard output."""
    out = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no part of the answer
    task = json.loads(sys.stdin.read())
    function = _imported(task["target"])
    try:
        done = _run(function, _Given(*task["given"]), task.get("recordings", {}))
    except UndeclaredNondeterminism as error:
        said: dict[str, Any] = {"undeclared": [str(error), error.call, error.where]}
    else:
        said = {
            "result": done.result,
            "events": done.events,
            "recordings": done.recordings,
        }
    with os.fdopen(out, "w", encoding="utf-8") as answer:
        json.dump(said, answer)


def _imported(target: str) -> Callable[..., Any]:
    """The function that "module:function" names. Raises ValueError, ImportError,
    AttributeError."""
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise ValueError(f"{target!r} is not module:function")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    function: Callable[..., Any] = found
    return function


def _name(function: Callable[..., Any]) -> str:
    """What names a function that can be imported; empty for any other."""
    module = getattr(function, "__module__", None)
    path = getattr(function, "__qualname__", "")
    if not module or module == "__main__" or "<" in path:
        return ""
    name = f"{module}:{path}"
    try:
        return name if _imported(name) is function else ""
    except (ImportError, AttributeError):
        return ""


def _takes(function: Callable[..., Any]) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        one.kind in kinds and one.default is one.empty
        for one in inspect.signature(function).parameters.values()
    )
