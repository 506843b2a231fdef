"""Puts `RaftStore` where LangGraph's own tests of stores have theirs.

A pytest plugin, for the process that runs those tests. `RAFTSTATE_ENDPOINTS` says where the
cluster is; `RAFTSTATE_NAME` is what all names of memories begin with.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import langgraph.store.memory
import langgraph.store.sqlite
import langgraph.store.sqlite.aio
import pytest

from raftstate.adapters.langgraph import RaftStore
from raftstate.client.portal import Portal

_numbers = itertools.count(1)
_portal: Portal | None = None


def _shared() -> Portal:
    """One portal for all: a test of a store is none of connecting."""
    global _portal  # noqa: PLW0603  # one a process is what it is for
    if _portal is None:
        _portal = Portal(os.environ["RAFTSTATE_ENDPOINTS"], timeout=60.0)
    return _portal


def _name(given: str = ":memory:") -> str:
    """A memory of its own, or one that is found again under a file's name."""
    own = f"{next(_numbers)}" if given == ":memory:" else given
    return f"{os.environ['RAFTSTATE_NAME']}/{own}"


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """What a store is told, in our words: SQLite's has others for what is embedded."""
    index = given.pop("index", None)
    if index and index.get("text_fields"):
        index = {**index, "fields": index["text_fields"]}
    return given | ({"index": index} if index else {})


class InMemoryPlace(RaftStore):
    """Takes the place of `InMemoryStore`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_shared(), name=_name(), **options)


class SqlitePlace(RaftStore):
    """Takes the place of `SqliteStore`."""

    @classmethod
    @contextmanager
    def from_conn_string(cls, given: str, **options: Any) -> Iterator[SqlitePlace]:
        """A store, as if `given` were a database."""
        with cls(_shared(), name=_name(given), **_options(options)) as store:
            yield store

    def setup(self) -> None:
        """There is nothing to prepare."""


class AsyncSqlitePlace(RaftStore):
    """Takes the place of `AsyncSqliteStore`, whose sweeping is awaited."""

    @classmethod
    @asynccontextmanager
    async def from_conn_string(
        cls, given: str, **options: Any
    ) -> AsyncIterator[AsyncSqlitePlace]:
        """A store, as if `given` were a database."""
        async with cls(_shared(), name=_name(given), **_options(options)) as store:
            yield store

    async def setup(self) -> None:
        """There is nothing to prepare."""

    async def sweep_ttl(self) -> int:  # type: ignore[override]
        """Sweep."""
        return await self.asweep_ttl()

    async def start_ttl_sweeper(  # type: ignore[override]
        self, minutes: float | None = None
    ) -> Any:
        """Sweep again and again."""
        return super().start_ttl_sweeper(minutes)

    async def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Sweep no more."""
        return super().stop_ttl_sweeper(timeout)


def pytest_configure() -> None:
    """Before any test is read."""
    langgraph.store.memory.InMemoryStore = InMemoryPlace  # type: ignore[misc,assignment]
    langgraph.store.sqlite.SqliteStore = SqlitePlace  # type: ignore[misc,assignment]
    for module in (langgraph.store.sqlite, langgraph.store.sqlite.aio):
        module.AsyncSqliteStore = AsyncSqlitePlace  # type: ignore[attr-defined]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After all."""
    if _portal is not None:
        _portal.close()
