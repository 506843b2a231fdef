"""Registering functions that undo, find out and validate: plain ones, for this face.

They go where those of `raftstate` go, and are found by the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from raftstate.client import registry as face
from raftstate.sync.running import plain

F = TypeVar("F", bound=Callable[[Any], Any])


class Registry(face.Registry):
    """Names and the functions behind them, which are plain ones: see `raftstate.Registry`."""

    def _register(self, kind: str, name: str) -> Callable[[F], F]:
        return _plain(super()._register(kind, name))


def compensation(name: str) -> Callable[[F], F]:
    """Register what undoes an effect: it takes an `UndoCall`. Every attempt comes with the
    same key, and it may be asked to undo what is undone already, which is no failure. Raises
    ValueError for a name that another function has, TypeError for a coroutine function."""
    return _plain(face.compensation(name))


def reconciler(name: str) -> Callable[[F], F]:
    """Register what finds out whether an effect happened: it takes an `EffectCall`, and
    gives the effect's result, or raises `NotDone`. Raises ValueError for a name that another
    function has, TypeError for a coroutine function."""
    return _plain(face.reconciler(name))


def validator(name: str) -> Callable[[F], F]:
    """Register what says whether the state that a rollback has restored is good: it takes a
    `Restored` and gives True or False. An AssertionError is a no as well, with its text as
    the evidence. Raises ValueError for a name that another function has, TypeError for a
    coroutine function."""
    return _plain(face.validator(name))


def _plain(register: Callable[[F], F]) -> Callable[[F], F]:
    def checked(function: F) -> F:
        plain(function)
        return register(function)

    return checked
