"""Runs the stories in tests/testdata/*.txt: log entries, `----`, and what the machine said.

If one fails, run `pytest tests/core/test_golden.py --rewrite` and read the diff.
Commit it only if you can say why every line of it changed. The language is told in
`story.py`.
"""

from pathlib import Path

import pytest

from tests.core import story
from tests.core.bench import Bench

STORIES = sorted((Path(__file__).parents[1] / "testdata").glob("*.txt"))
RULE = "----\n"


def retold(text: str) -> tuple[str, int]:
    """A story as the machine tells it, and how many stanzas were run."""
    bench = Bench()
    told, stanzas = [], 0
    for block in text.rstrip("\n").split("\n\n"):
        lines = [f"{line}\n" for line in block.strip("\n").splitlines()]
        remarks = [line for line in lines if line.startswith("#")]
        rest = "".join(lines[len(remarks) :])
        assert lines[: len(remarks)] == remarks, f"a remark inside a stanza:\n{block}"
        if rest:
            asked, rule, _ = rest.partition(RULE)
            assert rule, f"a stanza without {RULE!r}:\n{block}"
            rest = asked + rule + story.run(bench, asked)
            stanzas += 1
        told.append("".join(remarks) + rest)
    return "\n".join(f"{block.rstrip()}\n" for block in told), stanzas


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_golden(path: Path, request: pytest.FixtureRequest) -> None:
    """
    Each stanza says what its file says it says.
    """
    want = path.read_text()
    got, stanzas = retold(want)

    assert stanzas == want.count(RULE) > 0, "a stanza was not run"
    if request.config.getoption("--rewrite"):
        path.write_text(got)
    else:
        assert got == want


def test_the_stories_that_must_be_told_are() -> None:
    """
    The runner found the stories: it would pass on an empty folder otherwise.
    """
    names = {path.stem for path in STORIES}

    assert names >= {"sessions", "ownership", "expiry", "force", "steps", "halting"}
    assert names >= {"checkpoints", "chunks", "retention", "validity", "groups", "forks"}
    assert names >= {"breakers", "breaker_windows", "breaker_probes", "trips", "incidents"}
    assert names >= {"known_good", "effects", "sagas", "stuck_sagas", "saga_rollbacks"}
    assert names >= {"rollbacks", "rollback_targets", "rollback_barriers", "rollback_groups"}
    assert names >= {"rollback_verdicts", "rollback_again"}


@pytest.mark.parametrize(
    "text",
    [
        "open s1\n",  # no rule
        "open s1\n----\n# a remark\n\nopne s2\n----\n",  # no such verb
        "open s1 tll=3\n----\n",  # no such option
        "agent a\nopen s1\n----\n",  # a read is a stanza of its own
    ],
)
def test_a_story_that_cannot_be_read_fails(text: str) -> None:
    """
    What does not parse is an error, never overlooked.
    """
    with pytest.raises((AssertionError, KeyError, ValueError)):
        retold(text)
