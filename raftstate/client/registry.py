"""The functions that undo, find out and validate, by name.

What undoes an effect is stored in the ledger by name, before the effect is done, so that
any process that knows the name can undo it: also when the one that did it is gone.

    @raftstate.compensation("cancel-flight")
    async def cancel_flight(call: raftstate.UndoCall) -> None:
        await airline.cancel(call.result["booking"], idempotency_key=call.key)

    await step.effect("book-flight", trip, do=book_flight, undo=cancel_flight)

A module of such functions is what `raftstate worker --module` is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[[Any], Any])


class Registry:
    """Names and the functions behind them. There is one for the whole process, which the
    decorators of `raftstate` fill and which everything uses unless it is given another.

    >>> known = raftstate.Registry()
    >>> @known.compensation("refund")
    ... def refund(call):
    ...     return f"refunded {call.args}"
    >>> async with raftstate.connect(endpoints, registry=known) as other:
    ...     async with other.own("registry") as agent:
    ...         async with agent.step() as step:
    ...             await step.effect("charge", 3, do=lambda call: "bill 7", undo=refund)
    'bill 7'
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Callable[[Any], Any]]] = {
            "compensation": {},
            "reconciler": {},
            "validator": {},
        }
        self._names: dict[Callable[[Any], Any], dict[str, str]] = {}

    def compensation(self, name: str) -> Callable[[F], F]:
        """Register what undoes an effect: it takes an `UndoCall`. Every attempt comes with
        the same key, and it may be asked to undo what is undone already, which is no
        failure. Raises ValueError for a name that another function has.

        >>> registry = raftstate.Registry()
        >>> @registry.compensation("refund")
        ... def refund(call):
        ...     return f"refunded {call.args}"
        """
        return self._register("compensation", name)

    def reconciler(self, name: str) -> Callable[[F], F]:
        """Register what finds out whether an effect happened: it takes an `EffectCall`, and
        gives the effect's result, or raises `NotDone`. Raises ValueError for a name that
        another function has.

        >>> registry = raftstate.Registry()
        >>> @registry.reconciler("find-charge")
        ... def find_charge(call):
        ...     raise raftstate.NotDone("there is none")
        """
        return self._register("reconciler", name)

    def validator(self, name: str) -> Callable[[F], F]:
        """Register what says whether the state that a rollback has restored is good: it
        takes a `Restored` and gives True or False. An AssertionError is a no as well, with
        its text as the evidence. Raises ValueError for a name that another function
        has.

        >>> registry = raftstate.Registry()
        >>> @registry.validator("total-is-right")
        ... def right(restored):
        ...     return restored.state["total"] >= 0
        """
        return self._register("validator", name)

    def _register(self, kind: str, name: str) -> Callable[[F], F]:
        def register(function: F) -> F:
            known = self._kinds[kind].get(name, function)
            if known is not function and not _again(known, function):
                raise ValueError(f"there is another {kind} of the name {name!r}")
            self._kinds[kind][name] = function
            self._names.setdefault(function, {})[kind] = name
            return function

        return register

    # --- looking up ---

    def find(self, kind: str, name: str) -> Callable[[Any], Any] | None:
        """The compensation, reconciler or validator of a name, if there is one."""
        return self._kinds[kind].get(name)

    def names(self, kind: str) -> list[str]:
        """All names of a kind, in order."""
        return sorted(self._kinds[kind])

    def name_of(self, kind: str, function: Callable[[Any], Any] | str) -> str:
        """The name that a function is registered under; a name is itself. Raises
        ValueError for a function that nobody could find by its name."""
        if isinstance(function, str):
            return function
        found = self._names.get(function, {}).get(kind)
        if found is None:
            raise ValueError(
                f"{function!r} has no name: mark it with @raftstate.{kind}(...), so that a"
                " worker finds it"
            )
        return found


def _again(known: Callable[[Any], Any], function: Callable[[Any], Any]) -> bool:
    """Whether it is the same function, of a module that was loaded again."""
    one, other = (
        (getattr(each, "__module__", None), getattr(each, "__qualname__", "<locals>"))
        for each in (known, function)
    )
    return one == other and "<locals>" not in one[1]


# What the decorators of `raftstate` fill.
default: Registry = Registry()


def compensation(name: str) -> Callable[[F], F]:
    """Register what undoes an effect, for the whole process: it takes an `UndoCall`. Every
    attempt comes with the same key, and it may be asked to undo what is undone already,
    which is no failure. Raises ValueError for a name that another function has.

    >>> @raftstate.compensation("compensation-refund")
    ... def refund(call):
    ...     return f"refunded {call.args}"
    >>> async with store.own("compensation") as agent:
    ...     async with agent.step() as step:
    ...         await step.effect("charge", 3, do=lambda call: "bill 7", undo=refund)
    'bill 7'
    """
    return default.compensation(name)


def reconciler(name: str) -> Callable[[F], F]:
    """Register what finds out whether an effect happened, for the whole process: it takes an
    `EffectCall`, and gives the effect's result, or raises `NotDone`. Raises ValueError for a
    name that another function has.

    >>> @raftstate.reconciler("reconciler-find")
    ... def find(call):
    ...     return f"bill {call.key}"
    >>> def charge(call):
    ...     raise TimeoutError("no answer")
    >>> how = {"do": charge, "effect_id": "charge", "undo": "refund", "key": "7"}
    >>> async with store.own("reconciler") as agent:
    ...     try:
    ...         await agent.effect("charge", 3, kind="reconcilable", reconcile=find, **how)
    ...     except TimeoutError:
    ...         print("nobody knows")
    ...     await agent.effect("charge", 3, kind="reconcilable", reconcile=find, **how)
    nobody knows
    'bill 7'
    """
    return default.reconciler(name)


def validator(name: str) -> Callable[[F], F]:
    """Register what says whether the state that a rollback has restored is good, for the
    whole process: it takes a `Restored` and gives True or False. An AssertionError is a no as
    well, with its text as the evidence. Raises ValueError for a name that another function
    has.

    >>> @raftstate.validator("validator-total")
    ... def right(restored):
    ...     assert restored.state["total"] >= 0, "a total below zero"
    ...     return True
    >>> await store.put_validator("validator-total")
    >>> async with store.own("validator") as agent:
    ...     bad = await agent.checkpoint({"total": -1})
    >>> to = raftstate.to_checkpoint(bad)
    >>> done = await store.rollback("validator", to, validators=["validator-total"])
    >>> [(one.validator, one.passed, one.evidence) for one in done.validators]
    [('validator-total', False, 'a total below zero')]
    """
    return default.validator(name)
