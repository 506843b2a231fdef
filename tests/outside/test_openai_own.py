"""The OpenAI Agents SDK's own tests, with our session in the place of theirs, on a live
cluster.

Which tests those are, they said themselves: all that make a session, and pass with it, when
nothing is put in its place. They are listed, as asking takes minutes; of another release,
`python -m tests.outside.test_openai_own` lists them anew.
"""

from __future__ import annotations

import functools
import itertools
from typing import Final

import pytest

from tests.outside.published import ARCHIVES, HERE, Outcome, Suite, Unavailable

pytestmark = pytest.mark.slow

_names = itertools.count(1)

RELEASE: Final = f"openai-agents {ARCHIVES['openai-agents'][0]}"
KNOWN: Final = HERE / "openai_own/passed.txt"


def _suite(*tests: str, without: tuple[str, ...] = ()) -> Suite:
    return Suite("openai-agents", "openai_own", tests, without=without, limit_s=420)


# What is about SQLite: its connections, locks, tables, rows that are no JSON, and words.
INNER: Final = (
    "close_closes_worker_thread_connections",
    "close_retries_quarantined_connection",
    "closed_rejects_empty_add_items",
    "closes_retired_connections_before_the_next_allocation",
    "failed_add_items_releases_write_lock",
    "failed_clear_session_rolls_back",
    "failed_pop_item_releases_write_lock",
    "file_lock_is_shared_across_instances",
    "get_items_limit_skips_corrupt_newest_rows",
    "get_items_session_settings_limit_skips_corrupt_rows",
    "keeps_connections_of_live_worker_threads",
    "pop_item_returns_none_after_dropping_only_corrupt_rows",
    "pop_item_skips_corrupt_most_recent",
    "post_commit_cancellation_propagates_after_known_outcome",
    "reaps_connections_from_exited_worker_threads",
    "rollback_failure_evicts_connection",
)

SUITES: Final = {
    # By the sessions that the tests define for themselves.
    "list": _suite(
        *("tests/deferred_session_writes", "tests/memory/test_compaction_model_visibility.py"),
        *("tests/memory/test_openai_conversations_session.py",),
        *("tests/memory/test_openai_responses_compaction_session.py",),
        *(
            "tests/models/test_openai_chatcompletions_stream.py",
            "tests/sandbox/test_runtime.py",
        ),
        *("tests/test_agent_runner.py", "tests/test_agent_runner_streamed.py"),
        *("tests/test_cancel_streaming.py", "tests/test_error_logging_redaction.py"),
        *("tests/test_handoff_history_duplication.py", "tests/test_hitl_session_scenario.py"),
        *("tests/test_invalid_final_output_handler.py", "tests/test_max_turns.py"),
        *("tests/test_prompt_cache_key.py", "tests/test_run_impl_resume_paths.py"),
        *("tests/test_run_state_pending_input.py", "tests/test_runner_guardrail_resume.py"),
        *("tests/test_runner_tracing_disabled.py", "tests/test_runtime_symmetry_contract.py"),
        "tests/utils/test_simple_session.py",
    ),
    # By the SDK's session on SQLite.
    "database": _suite(
        *("tests/memory/test_session.py", "tests/memory/test_session_limit.py"),
        without=tuple(
            f"tests/memory/test_session.py::test_sqlite_session_{one}" for one in INNER
        ),
    ),
}


@functools.cache
def chosen(place: str) -> list[str]:
    """The tests that make sessions, and pass with theirs."""
    release, *lines = KNOWN.read_text().splitlines()
    assert release == RELEASE, f"{KNOWN.name} is of {release}: see this file's `rewrite`"
    pairs = [line.split(" ", maxsplit=1) for line in lines]
    return [name for where, name in pairs if where == place]


def rewrite() -> None:
    """Find out which those are, with nothing put in place of anything: it takes minutes."""
    found = [
        f"{place} {name}"
        for place, suite in SUITES.items()
        for name, outcome in sorted(suite.run({"RAFTSTATE_PLACE": place}).items())
        if outcome.how == "passed"
    ]
    KNOWN.write_text("\n".join((RELEASE, *found, "")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A case for each of their tests."""
    if "published" not in metafunc.fixturenames:
        return
    found = [(place, name) for place in SUITES for name in chosen(place)]
    metafunc.parametrize(("place", "published"), found, ids=[name for _, name in found])


@pytest.fixture(scope="module")
def outcomes(endpoints: str) -> dict[str, dict[str, Outcome]]:
    """How each of them ended, in a run of all."""
    try:
        return {
            place: suite.run(
                {
                    "RAFTSTATE_PLACE": place,
                    "RAFTSTATE_ENDPOINTS": endpoints,
                    "RAFTSTATE_NAME": f"own{next(_names)}",
                },
                chosen(place),
            )
            for place, suite in SUITES.items()
        }
    except Unavailable as error:
        pytest.skip(str(error))


def test_published(outcomes: dict[str, dict[str, Outcome]], place: str, published: str) -> None:
    """
    What passes with their session passes with ours.
    """
    outcome = outcomes[place].get(published)
    assert outcome is not None, "it did not run"
    assert outcome.how == "passed", outcome.text


def test_there_are_as_many_as_there_were() -> None:
    """
    So many make a session: fewer would mean that some went missing unseen.
    """
    assert {place: len(chosen(place)) for place in SUITES} == {"list": 607, "database": 48}


if __name__ == "__main__":
    rewrite()
