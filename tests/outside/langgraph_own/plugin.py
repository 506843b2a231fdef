"""Puts `RaftSaver` where LangGraph's own tests, and those of its savers, have theirs.

A pytest plugin, for the process that runs those tests. `RAFTSTATE_ENDPOINTS` says where the
cluster is; `RAFTSTATE_NAME` is what all names of savers begin with. Without endpoints the
tests run as they were written, for comparison. With `RAFTSTATE_MEMORY` the saver that keeps
all in memory is replaced as well, which LangGraph's own tests know too well for that.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import langgraph.checkpoint.memory
import langgraph.checkpoint.sqlite
import langgraph.checkpoint.sqlite.aio
import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from raftstate.adapters.langgraph import RaftSaver
from raftstate.client.portal import Portal

ENDPOINTS = os.environ.get("RAFTSTATE_ENDPOINTS")

_numbers = itertools.count(1)
_portal: Portal | None = None


def _opened(serde: Any = None) -> RaftSaver:
    """A saver whose threads nobody has used. All share one portal: a test of a saver is none
    of connecting."""
    global _portal  # noqa: PLW0603  # one a process is what it is for
    if _portal is None:
        _portal = Portal(str(ENDPOINTS), timeout=60.0)
    name = f"{os.environ['RAFTSTATE_NAME']}-{os.getpid()}-{next(_numbers)}"
    return RaftSaver(_portal, name=name, serde=serde)


@contextmanager
def _sqlite() -> Iterator[RaftSaver]:
    with _opened() as saver:
        yield saver


@asynccontextmanager
async def _sqlite_aio() -> AsyncIterator[RaftSaver]:
    async with _opened() as saver:
        yield saver


@contextmanager
def _sqlite_aes() -> Iterator[RaftSaver]:
    serde = EncryptedSerializer.from_pycryptodome_aes(
        serde=JsonPlusSerializer(), key=b"1234567890123456"
    )
    with _opened(serde) as saver:
        yield saver


class SqlitePlace(RaftSaver):
    """Takes the place of `SqliteSaver`."""

    def __init__(self, *_: Any, serde: Any = None) -> None:
        opened = _opened()
        super().__init__(_portal or "", name=opened.name, serde=serde)

    @classmethod
    @contextmanager
    def from_conn_string(cls, _: str) -> Iterator[RaftSaver]:
        """A saver, as if it were a database in memory."""
        with cls() as saver:
            yield saver

    def setup(self) -> None:
        """There is nothing to prepare."""


class AsyncSqlitePlace(SqlitePlace):
    """Takes the place of `AsyncSqliteSaver`."""

    @classmethod
    @asynccontextmanager
    async def from_conn_string(  # type: ignore[override]
        cls, _: str
    ) -> AsyncIterator[RaftSaver]:
        """A saver, as if it were a database in memory."""
        async with cls() as saver:
            yield saver


class MemoryPlace(SqlitePlace):
    """Takes the place of `InMemorySaver`."""


def pytest_configure() -> None:
    """Before any test is read."""
    if ENDPOINTS and os.environ.get("RAFTSTATE_MEMORY"):
        langgraph.checkpoint.memory.InMemorySaver = MemoryPlace  # type: ignore[misc,assignment]
    if ENDPOINTS:
        langgraph.checkpoint.sqlite.SqliteSaver = SqlitePlace  # type: ignore[misc,assignment]
        langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver = AsyncSqlitePlace  # type: ignore[misc,assignment]


def pytest_collection_finish() -> None:
    """Once LangGraph's own fixtures are there."""
    fixtures: Any = sys.modules.get("tests.conftest")
    if ENDPOINTS and fixtures is not None:
        fixtures._checkpointer_sqlite = _sqlite
        fixtures._checkpointer_sqlite_aio = _sqlite_aio
        fixtures._checkpointer_sqlite_aes = _sqlite_aes


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After all."""
    if _portal is not None:
        _portal.close()
