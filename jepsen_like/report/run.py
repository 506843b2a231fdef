"""A run as the report tells it: what the folder holds, and its faults one by one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Final, get_args

from jepsen_like import folder as files
from jepsen_like.checkers.effects import Happened, happened
from jepsen_like.checkers.history import MalformedHistory, Operation
from jepsen_like.history import Pair, last_time, pairs
from jepsen_like.protocols import Record, Validity, Verdict, Violation

NOTHING_SHOWN: Final = "nothing shows it"  # what the checkers say without proof
NOT_KEPT: Final = "--out"  # where a run was written says nothing of the run


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault as it happened, numbered from 1. `evidence` is what shows that it took
    effect, empty if nothing does; None if nobody judged that."""

    number: int
    was: Happened
    evidence: str | None = None

    @property
    def kind(self) -> str:
        """What was done."""
        return self.was.fault.kind

    @property
    def mark(self) -> str:
        """Whether it was proven, in a word."""
        return "not judged" if self.evidence is None else "proven" if self.evidence else "no"


@dataclass(frozen=True)
class Run:
    """What a run left behind, and what was found in it. Without `results` nobody has
    judged it yet."""

    record: Record
    meta: Mapping[str, Any]
    results: Mapping[str, Any] | None = None
    verdicts: Sequence[Verdict] = field(default=())

    @cached_property
    def operations(self) -> list[Pair]:
        """What clients did, in the order in which it began."""
        return list(pairs(self.record.events))

    @cached_property
    def seconds(self) -> float:
        """How long the run took."""
        record = self.record
        sampled = record.samples[-1].time if record.samples else 0.0
        return max(last_time(record.events), sampled, *record.phases.values(), 1.0)

    @cached_property
    def faults(self) -> list[Struck]:
        """Every fault, in the order in which they began."""
        shown = _shown(self.verdicts)
        found = []
        for number, was in enumerate(happened(self.record.events), start=1):
            of_kind = shown.get(was.fault.kind)
            said = next(of_kind, "") if of_kind is not None else None
            found.append(Struck(number, was, None if said is None else _proof(was, said)))
        return found

    @cached_property
    def wall_offset(self) -> float | None:
        """What the wall clock said when the run began, in seconds since 1970. The median
        of what all members said, since a fault may let one be wrong for a while."""
        said = [
            sample.wall_time_ms / 1000 - sample.time
            for sample in self.record.samples
            if sample.wall_time_ms
        ]
        return median(said) if said else None

    @property
    def verdict(self) -> str:
        """One word: valid, invalid, unknown, or "not judged"."""
        if self.results is None:
            return "not judged"
        said = self.results.get("verdict", self.results.get("valid"))
        if said in get_args(Validity):
            return str(said)
        return {True: "valid", False: "invalid"}.get(said, "unknown")

    @property
    def command(self) -> str:
        """The command that does this run again: as it was given, with the seed that was
        drawn if none was given, and without the folder, which is there by now."""
        said = str(self.meta.get("command", ""))
        try:
            words = shlex.split(said)
        except ValueError:
            return said
        if NOT_KEPT in words:
            place = words.index(NOT_KEPT)
            del words[place : place + 2]
        words = [word for word in words if not word.startswith(f"{NOT_KEPT}=")]
        if not any(word.partition("=")[0] == "--seed" for word in words):
            words += ["--seed", str(self.record.seed)]
        return shlex.join(words)


def read(folder: Path) -> Run:
    """The run in a folder. Raises MalformedHistory for what is none."""
    record = files.read_record(folder)
    results = folder / files.RESULTS
    found = files.read_json(results) if results.exists() else None
    verdicts = [] if found is None else _verdicts(found.get("verdicts", ()), results)
    return Run(record, files.read_json(folder / files.RUN), found, verdicts)


# --- verdicts, as they were before they were JSON --------------------------------------


def _verdicts(written: Sequence[Any], path: Path) -> list[Verdict]:
    try:
        return [_verdict(one) for one in written]
    except (KeyError, TypeError) as error:
        raise MalformedHistory(f"{path} holds no verdicts: {error!r}") from error


def _verdict(written: Mapping[str, Any]) -> Verdict:
    return Verdict(
        name=written["name"],
        validity=written["validity"],
        summary=written["summary"],
        complaints=tuple(written.get("complaints", ())),
        figures=written.get("figures", {}),
        violations=tuple(_violation(one) for one in written.get("violations", ())),
    )


def _violation(written: Mapping[str, Any]) -> Violation:
    return Violation(
        workload=written["workload"],
        key=written["key"],
        text=written["text"],
        operations=tuple(Operation(**one) for one in written.get("operations", ())),
        longest=tuple(written.get("longest", ())),
        stuck=written.get("stuck"),
    )


# --- what shows a fault ------------------------------------------------------------------


def _shown(verdicts: Sequence[Verdict]) -> dict[str, Iterator[str]]:
    """What the checkers said of each fault, by kind, in the order in which they began."""
    return {
        kind: iter([str(said) for said in of_kind.get("evidence", ())])
        for verdict in verdicts
        if verdict.name == "effects"
        for kind, of_kind in verdict.figures.get("kinds", {}).items()
    }


def _proof(was: Happened, said: str) -> str:
    """What shows a fault, without its time; empty for the words that say that nothing does."""
    sentence = said.removeprefix(f"{was.began:.2f} s: ")
    return "" if sentence in {was.error, NOTHING_SHOWN} else sentence
