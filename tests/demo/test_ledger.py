"""The agent's state: how events change it, and that it survives a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from raftstate.examples.census.analyse import analyse
from raftstate.examples.census.ledger import Ledger, OutOfTurn, told, untold
from raftstate.examples.census.reference import reference

SOURCES = {
    "a.py": "def f():\n    return 1\n",
    "b.py": "def (\n",
    "c.py": "import os\nclass C:\n    def longer(self):\n        a = 1\n        return a\n",
    "d.py": "def even(): return 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_fold_comes_to_what_the_plain_loop_comes_to(root: Path) -> None:
    """
    Two ways that share only `analyse` agree, on counted and failed files.
    """
    ledger = Ledger()
    for index, path in enumerate(SOURCES):
        ledger = ledger.after(index, analyse(root, path))
    assert ledger.totals() == reference(root, list(SOURCES))["totals"]
    assert ledger.totals()["failed"] == 1


@pytest.mark.parametrize("cut", range(5))
def test_a_checkpoint_and_the_events_since_are_the_state(root: Path, cut: int) -> None:
    """
    Wherever the checkpoint fell, folding the rest into it gives the same state.
    """
    rows = [analyse(root, path) for path in SOURCES]
    straight = Ledger()
    for index, row in enumerate(rows):
        straight = straight.after(index, row)
    head = Ledger()
    for index, row in enumerate(rows[:cut]):
        head = head.after(index, row)

    restored = Ledger(**json.loads(json.dumps(asdict(head))))
    for index, row in enumerate(rows[cut:], cut):
        restored = restored.after(*untold(json.loads(json.dumps(told(index, row)))))

    assert restored == straight


@pytest.mark.parametrize("index", [0, 2])
def test_an_event_out_of_turn_is_refused(root: Path, index: int) -> None:
    """
    An event again, or one too far: folding it in would count a file twice or never.
    """
    ledger = Ledger().after(0, analyse(root, "a.py"))
    with pytest.raises(OutOfTurn):
        ledger.after(index, analyse(root, "b.py"))


def test_a_step_leaves_the_state_before_it_alone(root: Path) -> None:
    """
    A step that is refused is forgotten: the state before it must still be there.
    """
    before = Ledger()
    before.after(0, analyse(root, "a.py"))
    assert before == Ledger()
