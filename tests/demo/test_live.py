"""The demo itself, short: real nodes, real agents, real signals; then its evidence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raftstate.examples.census import demo
from raftstate.examples.census.analyse import library_files, library_root
from raftstate.examples.census.evidence import read_json
from raftstate.examples.census.verify import verify
from tests.demo.forge import edit

pytestmark = pytest.mark.live

FILES = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of one short run, over the largest real files: each is work for long
    enough that everything planned finds its time."""
    root, library = tmp_path_factory.mktemp("files"), library_root()
    by_size = sorted(library_files(library), key=lambda path: -(library / path).stat().st_size)
    for path in by_size[:FILES]:
        shutil.copy(library / path, root / path.replace("/", "-"))
    out = tmp_path_factory.mktemp("demo") / "evidence"
    assert demo.main(["--seed", "7", "--root", str(root), "--out", str(out)]) == 0
    return out


def test_a_short_run_passes_and_its_evidence_says_so(folder: Path) -> None:
    """
    Everything planned happened, nothing is lost or doubled, and verify agrees.
    """
    figures, wrong = verify(folder)
    assert wrong == []
    assert figures == read_json(folder / "result.json")
    assert (figures["files"], figures["matches_reference"]) == (FILES, True)
    assert (figures["steps_lost"], figures["steps_duplicated"]) == (0, 0)
    assert (len(figures["takeover_ms"]), len(figures["write_gap_ms"])) == (3, 2)
    assert figures["stale_writes_refused"] >= 1
    assert figures["snapshots"] >= 3
    assert figures["snapshot_installs"] >= 1


@pytest.mark.parametrize("name", ["kills", "events", "agents/agent-1"])
def test_real_evidence_turns_red_when_it_is_touched(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """
    One line less, one line twice, one line altered.
    """
    spoilt = Path(shutil.copytree(folder, tmp_path / "spoilt"))
    for number in (0, 1):
        original = (folder / f"{name}.jsonl").read_text()
        lines = original.splitlines(keepends=True)
        altered = {**json.loads(lines[number]), "at": 0.5}
        for changed in (
            lines[:number] + lines[number + 1 :],
            lines[: number + 1] + lines[number:],
            [*lines[:number], json.dumps(altered) + "\n", *lines[number + 1 :]],
        ):
            (spoilt / f"{name}.jsonl").write_text("".join(changed))
            assert verify(spoilt)[1] != []
    (spoilt / f"{name}.jsonl").write_text((folder / f"{name}.jsonl").read_text())
    edit(spoilt, "kills.jsonl", lambda lines: lines.pop(1), reseal=True)
    assert verify(spoilt)[1] != []


def test_a_folder_that_is_not_empty_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Evidence of two runs must not mix: nothing is started, and the status says usage.
    """
    (tmp_path / "mine").touch()
    assert demo.main(["--out", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_too_few_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With hardly any files the strikes would fall on each other.
    """
    assert demo.main(["--root", str(tmp_path)]) == 2
    assert "at least 60" in capsys.readouterr().err


def test_a_planned_event_that_finds_no_time_fails_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Sixty files of one line are done before the last strike can fall: no figures, status
    1, and the message says why.
    """
    root = tmp_path / "files"
    root.mkdir()
    for number in range(60):
        (root / f"f{number}.py").write_text("x = 1\n")
    assert demo.main(["--root", str(root), "--seed", "7", "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "did not happen" in said.err or "before the last strike" in said.err
