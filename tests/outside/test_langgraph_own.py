"""LangGraph's own tests, and those of its savers, with ours in the place of theirs, on a live
cluster. It has to pass them as well as SQLite does: each test ends as it does there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from raftstate.adapters.langgraph.layout import Layout
from raftstate.client.portal import Portal
from tests.outside.published import ROOT, Outcome, Suite, Unavailable

pytestmark = pytest.mark.slow

README: Final = ROOT / "README.md"
PLUGIN: Final = "langgraph_own"
_SQLITE: Final = "tests/test_sqlite.py::TestSqliteSaver"
_WALK: Final = "tests/test_delta_parent_walk.py"
_MEMORY: Final = "tests/test_memory.py"
_DELTA: Final = f"{_MEMORY}::TestInMemorySaverDeltaChannel"
# A test that hangs fails. Async ones are run by anyio, as in LangGraph's environment.
_OPTIONS: Final = ("-p", "no:asyncio", "--timeout=120", "--snapshot-warn-unused")


def _langgraph(*names: str) -> Suite:
    """Those of LangGraph's own tests, in some files, that have SQLite's savers."""
    tests = tuple(f"tests/test_{name}.py" for name in names)
    options = (*_OPTIONS, "-k", "sqlite")
    return Suite("langgraph", PLUGIN, tests, limit_s=280, options=options)


# LangGraph's own tests in parts, of which each takes a minute or so.
PARTS: Final = {
    "pregel": _langgraph("pregel"),
    "async": _langgraph("pregel_async", "large_cases", "large_cases_async", "pydantic"),
    "fork": _langgraph("delta_channel_fork", "delta_channel_exit_mode"),
    "delta": _langgraph(
        *("delta_channel_subgraph", "delta_channel_update_state", "delta_channel_to_plain"),
        *("delta_channel_parallel_order", "checkpoint_migration", "strict_resume"),
        *("interrupt_state", "interruption"),
    ),
    "travel": _langgraph(
        *("time_travel", "time_travel_async", "subgraph_persistence"),
        "subgraph_persistence_async",
    ),
}
SUITES: Final = {
    **PARTS,
    "sqlite": Suite(
        "langgraph-checkpoint-sqlite",
        PLUGIN,
        (
            *("tests/test_sqlite.py", "tests/test_aiosqlite.py"),
            *(_WALK, "tests/test_delta_channel_migration.py"),
            "tests/test_get_delta_channel_history.py",
        ),
        without=(
            # These are of SQL: of tables, plans, and the text of queries.
            f"{_SQLITE}::test_search_where",
            f"{_SQLITE}::test_metadata_predicate",
            f"{_SQLITE}::test_metadata_predicate_sql_injection_prevention",
            f"{_SQLITE}::test_checkpoint_search_sql_injection_prevention",
            f"{_WALK}::test_walk_step_looks_up_the_parent_by_primary_key",
            # That the sync saver has no async methods. This one has.
            f"{_SQLITE}::test_informative_async_errors",
        ),
    ),
    "memory": Suite(
        "langgraph-checkpoint",
        PLUGIN,
        (_MEMORY,),
        without=(
            # These put what they look for into the saver's own attributes.
            f"{_DELTA}::test_load_blobs_omits_delta_channel",
            f"{_DELTA}::test_get_channel_writes_collects_ancestor_writes_only",
            f"{_DELTA}::test_get_channel_writes_at_root_returns_empty",
            f"{_MEMORY}::TestBaseFallbackGetChannelWrites",
            f"{_MEMORY}::TestPreDeltaBlobTerminator",
        ),
    ),
}
# How many there are, so that none goes missing unseen.
COUNTS: Final = {
    "pregel": 253,
    "async": 177,
    "fork": 230,
    "delta": 184,
    "travel": 196,
    "sqlite": 25,
    "memory": 9,
}
MORE: Final = {"NO_DOCKER": "true"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each that was published."""
    if "published" not in metafunc.fixturenames:
        return
    ids: list[Any] = []
    for name, suite in SUITES.items():
        try:
            found = suite.collected(MORE)
        except Unavailable as error:
            skip = pytest.mark.skip(reason=str(error))
            ids.append(pytest.param((name, ""), id=name, marks=skip))
        else:
            ids += [pytest.param((name, one), id=f"{name}:{one}") for one in found]
    metafunc.parametrize("published", ids)


Outcomes = Callable[[str], dict[str, Outcome]]


@pytest.fixture(scope="module")
def outcomes(endpoints: str) -> Outcomes:
    """How the tests of a suite ended with ours, run once."""
    ran: dict[str, dict[str, Outcome]] = {}

    def of(name: str) -> dict[str, Outcome]:
        if name not in ran:
            names = {"RAFTSTATE_ENDPOINTS": endpoints, "RAFTSTATE_NAME": f"own-{name}"}
            memory = {"RAFTSTATE_MEMORY": "1"} if name == "memory" else {}
            ran[name] = SUITES[name].run({**names, **memory, **MORE})
        return ran[name]

    return of


@pytest.fixture(scope="module")
def theirs() -> Outcomes:
    """How they ended with what they were written for, run once."""
    ran: dict[str, dict[str, Outcome]] = {}

    def of(name: str) -> dict[str, Outcome]:
        if name not in ran:
            ran[name] = SUITES[name].run(MORE)
        return ran[name]

    return of


def test_published(published: tuple[str, str], outcomes: Outcomes) -> None:
    """Published by LangGraph, with `RaftSaver` in the place of its own."""
    suite, name = published
    outcome = outcomes(suite)[name]
    if outcome.how == "skipped":
        pytest.skip(outcome.text)
    assert outcome.how == "passed", outcome.text


@pytest.mark.parametrize("suite", SUITES)
def test_as_well_as_with_theirs(suite: str, outcomes: Outcomes, theirs: Outcomes) -> None:
    """The same tests pass, and the same are skipped, as with LangGraph's own savers."""
    ours = {name: one.how for name, one in outcomes(suite).items()}
    assert ours == {name: one.how for name, one in theirs(suite).items()}
    assert len(ours) == COUNTS[suite]


def test_no_part_is_missing() -> None:
    """All of LangGraph's own tests that have SQLite's savers are in one of the parts; the
    README says how many there are."""
    count = sum(COUNTS[name] for name in PARTS)
    assert f"all {count:,} of LangGraph's own tests" in README.read_text()
    try:
        whole = Suite("langgraph", PLUGIN, ("tests",), options=PARTS["pregel"].options)
        parts = [one for part in PARTS.values() for one in part.collected(MORE)]
        assert sorted(parts) == sorted(whole.collected(MORE))
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("suite", SUITES)
def test_ours_was_in_their_place(suite: str, outcomes: Outcomes, endpoints: str) -> None:
    """What the tests have put is in the cluster: under more than half as many names as
    there are tests of a saver."""
    assert outcomes(suite)
    prefix = len(Layout("x").heads()) - len("x\x01c\x01")
    with Portal(endpoints) as portal:

        async def names(store: Any) -> set[bytes]:
            begin = Layout("x").heads()[:prefix]
            found = store.keys.range(prefix=begin, keys_only=True)
            return {one.key[prefix:].split(b"\x01")[0] async for one in found}

        mine = [one for one in portal.run(names) if one.startswith(f"own-{suite}-".encode())]
    assert len(mine) > COUNTS[suite] // 2
