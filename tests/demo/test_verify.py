"""The evidence speaks: a true folder is green, and whatever is touched turns it red.

A folder is forged in the form that the demo leaves it. Then, in turn, one line of
each journal is deleted, doubled or altered: first by somebody who does not know of the
seals, then by somebody who does and also writes the result that now follows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raftstate.examples.census.evidence import Line, read_json, write_json
from raftstate.examples.census.verify import main, verify
from tests.demo.forge import FILES, SEED, Forge, claim, claimed, edit

JOURNALS = ["kills.jsonl", "processes.jsonl", "statuses.jsonl", "events.jsonl"]
AGENTS = [f"agents/agent-{number}.jsonl" for number in range(1, 7)]
DAMAGE = ["delete", "double", "alter"]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true folder, made once."""
    root = tmp_path_factory.mktemp("census")
    Forge(root / "evidence", root / "sources").run()
    return root / "evidence"


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(original, tmp_path / "evidence"))


def test_a_true_folder_is_green(original: Path) -> None:
    """
    Nothing is wrong, and the figures are those of the invented run.
    """
    recomputed, wrong = verify(original)
    assert wrong == []
    assert recomputed == claimed(original)
    assert (recomputed["files"], recomputed["seed"]) == (FILES, SEED)
    assert (recomputed["steps_lost"], recomputed["steps_duplicated"]) == (0, 0)
    assert (recomputed["agent_kills"], recomputed["leader_kills"]) == (3, 2)
    assert recomputed["stale_writes_refused"] == 1
    assert all(400 <= took <= 600 for took in recomputed["takeover_ms"])
    assert all(700 <= gap <= 2000 for gap in recomputed["write_gap_ms"])


@pytest.mark.parametrize("name", JOURNALS + AGENTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_any_touched_line_turns_it_red(
    original: Path, folder: Path, name: str, damage: str
) -> None:
    """
    Every line of every journal, one at a time, the last one too.
    """
    lines = (original / name).read_text().splitlines()
    for number in range(len(lines)):
        spoil(folder / name, lines, number, damage)
        assert verify(folder)[1] != [], f"{damage} of line {number + 1} was not noticed"


@pytest.mark.parametrize("kind", ["step", "begun", "owned", "refused", "finished", "started"])
@pytest.mark.parametrize("damage", ["delete", "double"])
def test_a_resealed_agent_turns_it_red(
    original: Path, folder: Path, kind: str, damage: str
) -> None:
    """
    Seals and line counts put right, the result written anew: the rules still notice,
    for every line of the kind in every agent's journal.
    """
    for name in AGENTS:
        for number in numbers(original / name, kind):
            shutil.copy(original / name, folder / name)
            edit(folder / name, damager(damage, number), reseal=True)
            assert red_when_claimed(folder), f"{damage} of {name}:{number + 1}"
        shutil.copy(original / name, folder / name)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("step", "seq", 1_000),
        ("step", "step", 1_000),
        ("step", "revision", 1_000),
        ("step", "path", "other.py"),
        ("step", "index", 1_000),
        ("step", "token", [1, 1_000]),
        ("owned", "token", [1, 1_000]),
        ("owned", "restored", 1_000),
        ("refused", "definite", False),
        ("refused", "reason", "NO_QUORUM"),
        ("refused", "judge", "client"),
        ("started", "pid", 1),
        ("finished", "totals", {}),
    ],
)
def test_a_resealed_alteration_of_an_agent_turns_it_red(
    original: Path, folder: Path, kind: str, field: str, value: object
) -> None:
    """
    What an agent says of a step must fit what the others say.
    """
    for name in AGENTS:
        for number in numbers(original / name, kind)[:3]:
            shutil.copy(original / name, folder / name)
            edit(folder / name, setter(number, field, value), reseal=True)
            assert red_when_claimed(folder), f"{field} of {name}:{number + 1}"
        shutil.copy(original / name, folder / name)


@pytest.mark.parametrize("damage", ["delete", "double"])
def test_a_resealed_event_turns_it_red(original: Path, folder: Path, damage: str) -> None:
    """
    One event less or one more, anywhere, the last one too.
    """
    for number in range(0, FILES, 7):
        shutil.copy(original / "events.jsonl", folder / "events.jsonl")
        edit(folder / "events.jsonl", damager(damage, number), reseal=True)
        assert red_when_claimed(folder)
    shutil.copy(original / "events.jsonl", folder / "events.jsonl")
    edit(folder / "events.jsonl", damager("delete", FILES - 1), reseal=True)
    assert red_when_claimed(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", '{"index": 9, "path": "f09.py", "lines": 1}'),
        ("type", "file_failed"),
        ("hash", "00" * 32),
        ("seq", 3),
        ("step", 3),
        ("position", 3),
        ("revision", 3),
        ("log_time_ms", 3),
        ("stream_id", "other"),
        ("causation_id", "other"),
    ],
)
def test_a_resealed_alteration_of_an_event_turns_it_red(
    folder: Path, field: str, value: object
) -> None:
    """
    Each event is chained to the one before with everything that it says.
    """
    edit(folder / "events.jsonl", setter(9, field, value), reseal=True)
    assert red_when_claimed(folder)


@pytest.mark.parametrize("kind", ["kill", "stop", "resume", "restart"])
@pytest.mark.parametrize("damage", ["delete", "double"])
def test_a_missing_or_doubled_strike_turns_it_red(
    original: Path, folder: Path, kind: str, damage: str
) -> None:
    """
    A planned event that did not happen fails, and so does one that happened twice.
    """
    for number in numbers(original / "kills.jsonl", kind):
        shutil.copy(original / "kills.jsonl", folder / "kills.jsonl")
        edit(folder / "kills.jsonl", damager(damage, number), reseal=True)
        assert red_when_claimed(folder), f"{damage} of line {number + 1}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "agent-9"),
        ("pid", 1),
        ("wait_status", "exit 0"),
        ("at", 1.0),
        ("at", 9_999.0),
        ("done_at", 1.0),
        ("files_done", 0),
        ("strike", 99),
    ],
)
def test_a_resealed_alteration_of_a_kill_turns_it_red(
    original: Path, folder: Path, field: str, value: object
) -> None:
    """
    A signal must fit the plan, the process it hit and the process's own journal.
    """
    for number in numbers(original / "kills.jsonl", "kill"):
        shutil.copy(original / "kills.jsonl", folder / "kills.jsonl")
        edit(folder / "kills.jsonl", setter(number, field, value), reseal=True)
        assert red_when_claimed(folder), f"{field} of line {number + 1}"


@pytest.mark.parametrize("strike", range(6))
def test_a_strike_that_was_never_planned_so_turns_it_red(folder: Path, strike: int) -> None:
    """
    The plan cannot be fitted to what happened: its seed draws it.
    """
    plan = read_json(folder / "plan.json")
    del plan["strikes"][strike]
    write_json(folder / "plan.json", plan)
    assert red_when_claimed(folder)


@pytest.mark.parametrize("counter", ["snapshots_taken", "snapshots_installed"])
def test_too_few_snapshots_turn_it_red(folder: Path, counter: str) -> None:
    """
    The log must have been cut three times, and one member installed a snapshot.
    """

    def none(lines: list[Line]) -> None:
        for line in lines[:-1]:
            line[counter] = 0

    edit(folder / "statuses.jsonl", none, reseal=True)
    assert red_when_claimed(folder)


@pytest.mark.parametrize("field", ["revision", "state_hash"])
def test_members_that_disagree_turn_it_red(folder: Path, field: str) -> None:
    """
    At the end all members hold the same state.
    """
    after = read_json(folder / "status-after.json")
    after["n2"][field] = 0
    write_json(folder / "status-after.json", after)
    assert red_when_claimed(folder)


@pytest.mark.parametrize("key", ["files", "takeover_ms", "write_gap_ms", "snapshots", "seed"])
def test_another_result_turns_it_red(folder: Path, key: str) -> None:
    """
    A figure that the evidence does not give is not believed, nor is a missing one.
    """
    result = claimed(folder)
    write_json(folder / "result.json", {**result, key: -1})
    assert verify(folder)[1] != []
    del result[key]
    write_json(folder / "result.json", result)
    assert verify(folder)[1] != []


@pytest.mark.parametrize(
    "name",
    [
        "plan.json",
        "reference.json",
        "stream.json",
        "status-before.json",
        "status-after.json",
        "result.json",
        "logs/n2.log",
        *JOURNALS,
        *AGENTS,
    ],
)
@pytest.mark.parametrize("how", ["missing", "empty", "garbage"])
def test_a_missing_or_broken_file_turns_it_red(folder: Path, name: str, how: str) -> None:
    """
    Nothing that is missing or broken passes, and none of it ends in a traceback.
    """
    (folder / name).unlink()
    if how != "missing":
        (folder / name).write_text("" if how == "empty" else "[1]\nnonsense\n")
    assert verify(folder)[1] != []


def test_the_command_line(
    original: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The last line is the recomputed object; the exit status says green, red, or usage.
    """
    assert main([str(original)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == claimed(original)

    edit(folder / "kills.jsonl", damager("delete", 0), reseal=False)
    assert main([str(folder)]) == 1
    assert "verify: kills.jsonl:1" in capsys.readouterr().err

    assert main([str(folder / "nowhere")]) == 2


# --- how lines are spoiled -------------------------------------------------------


def spoil(path: Path, lines: list[str], number: int, damage: str) -> None:
    changed = list(lines)
    if damage == "delete":
        del changed[number]
    elif damage == "double":
        changed.insert(number, lines[number])
    else:
        line = json.loads(lines[number])
        changed[number] = json.dumps({**line, "at": line["at"] + 0.001})
    path.write_text("".join(line + "\n" for line in changed))


def numbers(path: Path, kind: str) -> list[int]:
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    return [number for number, line in enumerate(lines) if line["kind"] == kind]


def damager(damage: str, number: int) -> Callable[[list[Line]], None]:
    def damaged(lines: list[Line]) -> None:
        if damage == "delete":
            del lines[number]
        else:
            lines.insert(number, dict(lines[number]))

    return damaged


def setter(number: int, field: str, value: object) -> Callable[[list[Line]], None]:
    def altered(lines: list[Line]) -> None:
        assert lines[number][field] != value
        lines[number][field] = value

    return altered


def red_when_claimed(folder: Path) -> bool:
    """Whether the folder is red although line counts and the result were put right."""
    counts = {
        path.stem: len(path.read_text().splitlines())
        for path in (folder / "agents").glob("*.jsonl")
    }

    def recount(lines: list[Line]) -> None:
        for line in lines:
            if line["kind"] == "ended":
                line["lines"] = counts[line["name"]]

    edit(folder / "processes.jsonl", recount, reseal=True)
    claim(folder)
    return verify(folder)[1] != []
