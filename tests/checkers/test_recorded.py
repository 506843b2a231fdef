"""Histories that were recorded elsewhere, each with a verdict that is known.

They are no part of the project: `../shared/data/etcd-register-histories`, beside it, has
them and says where they are from. Without them this is skipped.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jepsen_like.checkers import register
from jepsen_like.checkers.history import Operation, Recorder

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "etcd-register-histories"
EVENT = re.compile(r"INFO +jepsen\.util - (\d+)\t:(\w+)\t:(\w+)\t(.*)")

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"{FOLDER.name} is not beside the project"
)


def recorded(path: Path) -> list[Operation]:
    """A log of events as a history; the line number is the time."""
    recorder = Recorder()
    under_way: dict[str, int] = {}
    for at, line in enumerate(path.read_text().splitlines()):
        found = EVENT.fullmatch(line)
        assert found is not None, f"{path.name}: {line!r}"
        who, step, kind, value = found.groups()
        if step == "invoke":
            asked = _numbers(value) if kind == "cas" else _number(value)
            under_way[who] = recorder.invoke(who, kind, "x", asked, float(at))
            continue
        number = under_way.pop(who)
        if step == "info":
            recorder.complete(number, "info", float(at))
        elif kind == "cas":
            # "fail" means here that the comparison did not hold, and that is an answer.
            recorder.complete(number, "ok", float(at), step == "ok")
        else:
            assert step == "ok", f"{path.name}: {line!r}"
            said = _number(value) if kind == "read" else None
            recorder.complete(number, "ok", float(at), said)
    return recorder.history()


def _number(word: str) -> int | None:
    return None if word == "nil" else int(word)


def _numbers(word: str) -> tuple[int, ...]:
    return tuple(int(one) for one in word.strip("[]").split())


def test_every_recorded_verdict_is_found() -> None:
    """
    Fifty histories of a register under faults, ten of them good: all as is known.
    """
    known = json.loads((FOLDER / "verdicts.json").read_text())
    found = {}
    for name in known:
        (verdict,) = register.check(recorded(FOLDER / name), seconds_max=20.0)
        assert verdict.finding != "unknown", f"{name}: {verdict}"
        found[name] = verdict.ok

    assert len(known) >= 50
    assert found == known
