"""The two faces side by side: the same names, with the same parameters."""

from __future__ import annotations

import importlib
import inspect
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raftstate
import raftstate.client
import raftstate.sync

WORDS = Path(__file__).parents[2] / "scripts" / "sync_words.py"
# The generator's tables: what has a twin, and what is public by its name only.
words: Any = SimpleNamespace(**runpy.run_path(str(WORDS)))

PAIRS = [
    (
        getattr(importlib.import_module(f"raftstate.client.{module}"), name),
        getattr(importlib.import_module(f"raftstate.sync.{module}"), name),
    )
    for module, names in words.MODULES.items()
    for name in names
]
# What has another name where there is no event loop, as Python's own protocols have.
RENAMED = words.PROTOCOL
# A twin of another signature: what may be awaited there is plain here.
DIFFERENT = set(words.SIGNATURES)


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """What users see of a class: by name, as it is defined."""
    for name in dir(kind):
        home = next(one for one in kind.__mro__ if name in vars(one) or one is object)
        internal = words.INTERNAL.get(home.__name__, set())
        if name in RENAMED or not (name.startswith("_") or name in internal):
            found = inspect.getattr_static(kind, name)
            if not (name == "__call__" and found is type.__call__):
                yield name, found


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """What a function takes: names, kinds and defaults."""
    return [
        (one.name, one.kind, one.default)
        for one in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_each_class_has_a_twin_with_the_same_members(pair: tuple[type, type]) -> None:
    """
    Every public method and property of the async face is there, under the same name and with
    the same parameters and defaults, and is to be called and not awaited.
    """
    there, here = pair
    for name, member in public(there):
        twin = inspect.getattr_static(here, RENAMED.get(name, name), None)
        assert twin is not None, f"{here.__name__} has no {name}"
        if not inspect.isfunction(member):
            assert isinstance(twin, property) or not callable(member), name
            continue
        assert not inspect.iscoroutinefunction(twin), name
        assert not inspect.isasyncgenfunction(twin), name
        if f"{there.__name__}.{name}" not in DIFFERENT:
            assert parameters(twin) == parameters(member), name
        else:
            kept = [one[:2] for one in parameters(member)]
            assert [one[:2] for one in parameters(twin)] == kept, name


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_a_twin_has_nothing_that_the_other_lacks(pair: tuple[type, type]) -> None:
    """
    A program can go from one face to the other and back.
    """
    there, here = pair
    attributes = {
        name for one in there.__mro__ for name in words.ATTRIBUTES.get(one.__name__, {})
    }
    names = {name for name, _ in public(there)} | attributes
    names = {RENAMED.get(name, name) for name in names}

    assert {name for name in vars(here) if not name.startswith("_")} <= names | {"twin_of"}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_what_is_documented_there_is_documented_here(pair: tuple[type, type]) -> None:
    """
    No docstring is lost, and none speaks of what there is not.
    """
    there, here = pair
    for name, member in public(there):
        twin = inspect.getattr_static(here, RENAMED.get(name, name))
        if inspect.isfunction(member) and member.__doc__:
            assert twin.__doc__, name
            assert "await" not in twin.__doc__, name
            assert "async" not in twin.__doc__, name


def test_the_packages_have_the_same_names() -> None:
    """
    Whatever `raftstate` gives for programs with an event loop, `raftstate.sync` gives.
    """
    assert set(raftstate.sync.__all__) == set(raftstate.client.__all__)
    assert set(raftstate.sync.__all__) >= set(raftstate.__all__) - {
        "RaftStateError",
        "__version__",
    }
    assert set(raftstate.sync.replay.__all__) == set(raftstate.client.replay.__all__)
    for name in raftstate.sync.__all__:
        assert getattr(raftstate.sync, name) is not None


def test_connect_takes_the_same() -> None:
    """
    The same options, with the same defaults.
    """
    assert parameters(raftstate.sync.connect) == parameters(raftstate.connect)
    assert parameters(raftstate.sync.compensation) == parameters(raftstate.compensation)


def test_no_class_of_the_async_face_is_forgotten() -> None:
    """
    Of what users can reach, each class with a coroutine method has a twin.
    """
    with_twin = {there for there, _ in PAIRS}
    forgotten = set()
    for module in words.MODULES:
        found = importlib.import_module(f"raftstate.client.{module}")
        for name, kind in vars(found).items():
            if (
                inspect.isclass(kind)
                and kind.__module__ == found.__name__
                and not name.startswith("_")
                and any(
                    inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
                    for _, member in public(kind)
                )
            ):
                forgotten |= {kind} - with_twin

    assert not forgotten
