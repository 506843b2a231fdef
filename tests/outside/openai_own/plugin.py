"""Puts `RaftSession` where the OpenAI Agents SDK's own tests have their sessions.

A pytest plugin, for the process that runs those tests. `RAFTSTATE_ENDPOINTS` says where the
cluster is; `RAFTSTATE_NAME` is what the names of sessions begin with. A test's report says
how many sessions it made: of one that made none, nothing is learned about ours.
"""

from __future__ import annotations

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


def _begin(session: RaftSession, session_id: str, place: str, **options: Any) -> None:
    """Make a session, and count it."""
    global _made  # noqa: PLW0603  # told with each test's report
    _made += 1
    RaftSession.__init__(session, _shared(), session_id, name=place, **options)


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
        _begin(session, session_id, _place(":memory:"))
        self._ignore_ids_for_matching = False
        if history:
            _shared().run(lambda _: session.add_items(history))

    @property
    def saved_items(self) -> list[TResponseInputItem]:
        """What is stored."""
        session: Any = self
        items: list[TResponseInputItem] = _shared().run(lambda _: session.get_items())
        return items


class DatabasePlace(RaftSession):
    """Takes the place of `SQLiteSession`: a file is a name."""

    def __init__(self, session_id: str, db_path: object = ":memory:", **options: Any) -> None:
        _begin(self, session_id, _place(db_path), **options)


def pytest_configure() -> None:
    """Before any test is read."""
    simple = importlib.import_module("tests.utils.simple_session").SimpleListSession
    # In place, as others derive from it: all that ours has, and then what only this one has.
    for source in (RaftSession, ListPlace):
        for attribute, value in vars(source).items():
            if inspect.isfunction(value) or isinstance(value, property):
                setattr(simple, attribute, value)
    simple._items = ListPlace.saved_items
    agents.SQLiteSession = DatabasePlace  # type: ignore[misc,assignment]
    agents.memory.SQLiteSession = DatabasePlace  # type: ignore[misc,assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Count the sessions of a test."""
    before = _made
    try:
        return (yield)
    finally:
        item.user_properties.append(("sessions", _made - before))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After all."""
    if _portal is not None:
        _portal.close()
