"""Where bugs are planted: a part is replaced, and put back later.

A patch that does not fit any more must not pass for a bug that nobody can find, so it
says so: what it replaces has to be there, and to take what its replacement takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, Self


class DoesNotApply(Exception):
    """What a mutant replaces has changed: the mutant has to follow."""


class Patch:
    """Replacements, undone in reverse order at the end of the context."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()

    def replace(self, owner: Any, name: str, new: Callable[..., Any]) -> None:
        """Replace a function, method or property of a module or class by one that takes
        the same parameters (or any, as `*args` and `**kwargs`)."""
        old = inspect.getattr_static(owner, name, None)
        if old is None:
            raise DoesNotApply(f"{_name(owner)} has no {name}")
        if not _takes_alike(_function(old), new):
            raise DoesNotApply(
                f"{_name(owner)}.{name}{inspect.signature(_function(old))} is not "
                f"{inspect.signature(new)}"
            )
        made: Any = new
        if isinstance(old, property):
            made = property(new)
        elif isinstance(old, staticmethod):
            made = staticmethod(new)
        inherited = inspect.isclass(owner) and name not in vars(owner)
        setattr(owner, name, made)
        self._later(lambda: delattr(owner, name) if inherited else setattr(owner, name, old))

    def item(self, table: MutableMapping[Any, Any], key: Any, new: Callable[..., Any]) -> None:
        """Replace a function in a table by one that takes the same parameters."""
        if key not in table:
            raise DoesNotApply(f"the table has no {key!r}")
        old = table[key]
        if not _takes_alike(old, new):
            raise DoesNotApply(f"{key!r} takes {inspect.signature(old)}")
        table[key] = new
        self._later(lambda: table.__setitem__(key, old))

    def silence(self, owner: Any, *names: str) -> None:
        """Turn checks off, to see which other one finds a bug."""
        for name in names:
            self.replace(owner, name, lambda *args, **kwargs: None)

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()

    def _later(self, undo: Callable[[], None]) -> None:
        self.count += 1
        self._undo.append(undo)


def _function(found: Any) -> Callable[..., Any]:
    """What is called, in whatever it is wrapped."""
    if isinstance(found, property):
        assert found.fget is not None, "a property that cannot be read"
        return found.fget
    if isinstance(found, staticmethod):
        return found.__func__
    if not callable(found):
        raise DoesNotApply(f"{found!r} is not a function")
    return found  # type: ignore[no-any-return]


def _takes_alike(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    mine = inspect.signature(new).parameters.values()
    if {p.kind for p in mine} == {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }:
        return True
    theirs = inspect.signature(old).parameters.values()
    return [(p.name, p.kind) for p in mine] == [(p.name, p.kind) for p in theirs]


def _name(owner: Any) -> str:
    return str(getattr(owner, "__qualname__", None) or getattr(owner, "__name__", owner))
