"""What every adapter takes first: where the cluster is, or a portal to it that is shared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from raftstate.client import Store
from raftstate.client.portal import Portal

T = TypeVar("T")

# Frameworks do not try again by themselves; within this time the store does, exactly once.
TIMEOUT_S: Final = 60.0


class Access:
    """A portal, and whether it is this one's to close."""

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        options: dict[str, Any],
        timeout: float = TIMEOUT_S,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`, whose `timeout` is this
        one unless they say another. A `Portal` comes without options.

        Raises InvalidRequest (definite) if one makes no sense, TypeError if a portal comes
        with options."""
        self._mine = not isinstance(endpoints, Portal)
        if isinstance(endpoints, Portal):
            if options:
                raise TypeError(f"a portal is open: it takes no {', '.join(sorted(options))}")
            self.portal: Portal = endpoints
        else:
            self.portal = Portal(endpoints, **{"timeout": timeout, **options})

    def run(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """See `Portal.run`."""
        return self.portal.run(work)

    async def arun(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """See `Portal.arun`."""
        return await self.portal.arun(work)

    def close(self) -> None:
        """Close the portal, unless it was given by the caller."""
        if self._mine:
            self.portal.close()

    async def aclose(self) -> None:
        """As `close`; the caller's event loop goes on."""
        if self._mine:
            await self.portal.aclose()


class Closing(ABC):
    """What `async with` closes at its end."""

    @abstractmethod
    async def aclose(self) -> None:
        """Give back its connections, if they are its own."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class ClosingBoth(Closing):
    """What `with` closes as well."""

    @abstractmethod
    def close(self) -> None:
        """As `aclose`, from a thread without an event loop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
