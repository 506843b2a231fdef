"""The functions that undo, find out and validate, by name; and how they are called."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

import raftstate
from raftstate.client import acts, registry
from tests.client.scripted import asynchronous


def loaded() -> Callable[[Any], Any]:
    """A function as a module has it that is loaded once more."""

    def undo(call: raftstate.UndoCall) -> None:
        raise AssertionError(call)

    undo.__qualname__ = "undo"
    return undo


def test_a_name_is_one_function_of_a_kind() -> None:
    """
    Another function cannot have it, but a module may be loaded again; each kind has names
    of its own.
    """
    found = raftstate.Registry()
    first, again = loaded(), loaded()
    found.compensation("undo")(first)
    found.compensation("undo")(again)
    found.reconciler("undo")(len)

    with pytest.raises(ValueError, match="another compensation of the name 'undo'"):
        found.compensation("undo")(len)
    assert found.find("compensation", "undo") is again
    assert found.find("reconciler", "undo") is len
    assert found.find("validator", "undo") is None
    assert found.name_of("compensation", first) == "undo"
    assert found.name_of("compensation", "some name") == "some name"
    with pytest.raises(ValueError, match="no name"):
        found.name_of("compensation", len)


def test_two_functions_of_one_place_are_two() -> None:
    """
    What is defined within a function is never taken for the same one, loaded again.
    """
    found = raftstate.Registry()
    for refused in (False, True):

        def undo(call: raftstate.UndoCall) -> None:
            raise AssertionError(call)

        if refused:
            with pytest.raises(ValueError, match="another"):
                found.compensation("undo")(undo)
        else:
            found.compensation("undo")(undo)


def test_the_decorators_fill_the_registry_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What a module marks is found by every store that is not told otherwise.
    """
    monkeypatch.setattr(registry.default, "_kinds", {"validator": {}})

    @raftstate.validator("of this test")
    def sane(restored: raftstate.Restored) -> bool:
        return True

    store = raftstate.connect("127.0.0.1:1")
    assert store._options.registry.names("validator") == ["of this test"]
    assert registry.default.find("validator", "of this test") is sane


@asynchronous
async def test_plain_functions_run_in_threads_of_their_own() -> None:
    """
    Any number at once, with the caller's context; what they raise is raised where they are
    awaited, and what a plain function makes of a coroutine is awaited.
    """
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    variable.set(7)
    barrier = threading.Barrier(80)

    def meet(call: int) -> tuple[int, bool]:
        barrier.wait(10)
        return variable.get(), threading.current_thread() is threading.main_thread()

    async def give(call: int) -> int:
        return call

    def stop(call: int) -> None:
        raise StopIteration(call)

    found = await asyncio.gather(*(acts.run(meet, 1) for _ in range(80)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        await acts.run(stop, 1)
    with pytest.raises(ZeroDivisionError):
        await acts.run(lambda call: call / 0, 1)

    assert set(found) == {(7, False)}
    assert await acts.run(give, 3) == await acts.run(lambda call: give(call + 1), 2) == 3
