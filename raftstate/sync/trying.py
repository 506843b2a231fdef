"""Trying functions without a store: what their agent does is done at once, where they run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from raftstate.sync.running import Running, given, plain

T = TypeVar("T")


class AtOnce(Running):
    """Where what a `PracticeAgent` does runs: nothing in it waits."""

    def __init__(self) -> None:
        """There is no store, and no thread."""

    def run(self, work: Coroutine[Any, Any, T], *, asks: bool = True, bound: bool = True) -> T:
        """What `work` comes to."""
        try:
            work.send(None)
        except StopIteration as ended:
            found: T = ended.value
            return found
        finally:
            work.close()
        raise RuntimeError("what is only tried may not wait")

    def leave(
        self,
        exit: Callable[..., Coroutine[Any, Any, object]],  # noqa: A002  # it is one
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave a block."""
        self.run(exit(None if error is None else type(error), error, trace))

    def carried(self, function: Any) -> Any:
        """The function itself, which is called where it is."""

        def carry() -> Any:
            return given(function())

        plain(function)
        return carry
