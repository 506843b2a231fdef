"""Puts `RaftSession` where the OpenAI Agents SDK's own tests have their sessions.

A pytest plugin, for the process that runs those tests. `RAFTSTATE_PLACE` is whose place ours
takes: `list`, that of the sessions that the tests define for themselves, or `database`, that
of `SQLiteSession`. `RAFTSTATE_ENDPOINTS` says where the cluster is, and `RAFTSTATE_NAME` what
the names of sessions begin with. Without a cluster nothing is put anywhere.

A test that makes no such session is skipped, however it ends: it says nothing about ours.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import os
from typing import Any

import agents
import agents.memory
import pytest
from agents.items import TResponseInputItem

from raftstate.adapters.openai_agents import RaftSession
from raftstate.client.portal import Portal

_numbers = itertools.count(1)
_portal: Portal | None = None
_made = 0


def _shared() -> Portal:
    """One portal for all: a test of a session is none of connecting."""
    global _portal  # noqa: PLW0603  # one a process is what it is for
    if _portal is None:
        _portal = Portal(os.environ["RAFTSTATE_ENDPOINTS"], timeout=60.0)
    return _portal


def _place(given: object) -> str:
    """A place of its own, or one that is found again under a file's name."""
    own = next(_numbers) if str(given) == ":memory:" else hash(str(given)) & 0xFFFFFFFF
    return f"{os.environ['RAFTSTATE_NAME']}/{own}"


class ListPlace:
    """What becomes of the tests' `SimpleListSession`, beside the methods of ours: it begins
    with some items, and shows all of them without being asked to wait."""

    def __init__(
        self, session_id: str = "test", history: list[TResponseInputItem] | None = None
    ) -> None:
        session: Any = self
        RaftSession.__init__(session, _shared(), session_id, name=_place(":memory:"))
        self._ignore_ids_for_matching = False
        if history:  # not by what a test may have put over it
            _shared().run(lambda _: RaftSession.add_items(session, history))

    @property
    def saved_items(self) -> list[TResponseInputItem]:
        """What is stored."""
        session: Any = self
        return _shared().run(lambda _: RaftSession.get_items(session))


class DatabasePlace(RaftSession):
    """Takes the place of `SQLiteSession`: a file is a name."""

    def __init__(self, session_id: str, db_path: object = ":memory:", **options: Any) -> None:
        super().__init__(_shared(), session_id, name=_place(db_path), **options)


def _counting(kind: type) -> None:
    """Have a class count how many of it are made."""
    made = kind.__init__  # type: ignore[misc]

    @functools.wraps(made)
    def count(self: object, *given: Any, **named: Any) -> None:
        global _made  # noqa: PLW0603  # asked after each test
        _made += 1
        made(self, *given, **named)

    kind.__init__ = count  # type: ignore[misc]


def pytest_configure() -> None:
    """Before any test is read."""
    place, live = os.environ["RAFTSTATE_PLACE"], "RAFTSTATE_ENDPOINTS" in os.environ
    simple = importlib.import_module("tests.utils.simple_session").SimpleListSession
    if live and place == "list":
        # In place, as others derive from it: all that ours has, and what only this one has.
        for source in (RaftSession, ListPlace):
            for attribute, value in vars(source).items():
                if inspect.isfunction(value) or isinstance(value, property):
                    setattr(simple, attribute, value)
        simple._items = ListPlace.saved_items
    if live and place == "database":
        agents.SQLiteSession = DatabasePlace  # type: ignore[misc,assignment]
        agents.memory.SQLiteSession = DatabasePlace  # type: ignore[misc,assignment]
    _counting(simple if place == "list" else agents.SQLiteSession)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Any:
    """Count the sessions of each test."""
    global _made  # noqa: PLW0603  # asked after each test
    _made = 0
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Any:
    """Skip a test after the fact, if it made none."""
    try:
        return (yield)
    finally:
        if not _made:
            pytest.skip("it makes no session")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After all."""
    if _portal is not None:
        _portal.close()
