"""The travel demo itself: real members, real services, real signals; then its evidence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raftstate.examples.census.evidence import read_json
from raftstate.examples.travel import book as words
from raftstate.examples.travel import demo
from raftstate.examples.travel.verify import load, verify
from tests.demo.forge import edit
from tests.demo.test_travel_verify import red_when_claimed
from tests.demo.travel_forge import edit_book

pytestmark = pytest.mark.live

FIGURES = [
    *("bookings", "compensated_once", "reverse_order", "double_effects", "orphan_effects"),
    *("stale_writes_refused", "late_originals_refused", "mttr_ms"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of one run."""
    out = tmp_path_factory.mktemp("travel") / "evidence"
    assert demo.main(["--seed", "7", "--out", str(out)]) == 0
    return out


def test_a_run_passes_and_its_evidence_says_so(folder: Path) -> None:
    """
    Everything since the target is undone once, in reverse, whoever was killed, stopped and
    late; and verify comes to the same figures.
    """
    figures, wrong = verify(folder)
    assert wrong == []
    assert figures == read_json(folder / "result.json")
    assert list(figures) == FIGURES
    plan = read_json(folder / "plan.json")
    assert figures["bookings"] >= 3 * (plan["stop_trip"] - plan["known_good"]) + 1
    assert figures["compensated_once"] is True
    assert figures["reverse_order"] is True
    assert (figures["double_effects"], figures["orphan_effects"]) == (0, 0)
    assert figures["stale_writes_refused"] >= 1
    assert figures["late_originals_refused"] >= 1
    assert 0 < figures["mttr_ms"] < 60_000


def test_the_services_did_let_their_callers_down(folder: Path) -> None:
    """
    Calls were lost after they had been carried out, and made again under the same key;
    others failed: the run was no easy one.
    """
    record, _ = load(folder)
    assert record.entries(words.FAILED)
    assert record.lines("unanswered")
    assert record.entries(words.REPEATED) or record.entries(words.GONE)


@pytest.mark.parametrize("what", [words.BOOKED, words.CANCELLED, words.REFUSED])
def test_a_real_book_turns_red_when_it_is_touched(
    folder: Path, tmp_path: Path, what: str
) -> None:
    """
    One entry less, sealed again, with the result that follows.
    """
    copy = Path(shutil.copytree(folder, tmp_path / "evidence"))

    def drop(rows: list[dict[str, Any]]) -> None:
        last = max(number for number, row in enumerate(rows) if row["what"] == what)
        del rows[last]

    edit_book(copy / "books/hotel.sqlite", drop, bookings=True)
    assert red_when_claimed(copy)


@pytest.mark.parametrize("name", ["signals", "ledger", "recovery", "events"])
def test_real_evidence_turns_red_when_it_is_touched(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """
    One line less, resealed.
    """
    copy = Path(shutil.copytree(folder, tmp_path / "evidence"))
    lines = (copy / f"{name}.jsonl").read_text().splitlines()
    middle = len(lines) // 3
    assert json.loads(lines[middle])["kind"] != "end"
    edit(copy, f"{name}.jsonl", lambda lines: lines.pop(middle), reseal=True)
    assert red_when_claimed(copy)
