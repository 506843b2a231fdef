"""Watches: each is told every change of what it selects, once, in order and whole.

The oracle is what the writes themselves have left. Every write is one transaction, and
puts a key of its own beside the others, which is never touched again and says what was
written. So one range in the end names every write that happened, with its revision,
whatever its client was told; and replaying these in order says what each revision changed,
what was there before, and what there was at any time. Watches have no part in it.

A watch is held to nine properties:

- `filter`: it is told of nothing that its selector does not name;
- `ordered`: revisions never go back;
- `unique`: nothing is told twice, also over breaks;
- `atomic`: of a revision it is told all or nothing, in one whole;
- `reliable`: nothing is left out between where it began and where it is;
- `resumable`: nor where it was broken off, and went on with a token, at any member;
- `bookmark`: what a mark says has been told, was, and nothing of it comes later; without
  a mark, or a snapshot, nothing begins;
- `previous`: what was there before each change is what was there;
- `created`: a change is a creation where there was nothing before.

What it is told of has to have happened (`phantom`), with the values that were written
(`value`), and nothing is told from before its member (`early`) or from after all (`ahead`).
A snapshot shows what there was at its revision (`snapshot`). A watch that cannot
go on says so: that history was compacted is an answer only where it was (`compacted`), and
a consumer that is too slow is told that it is. Neither is a gap.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.protocols import KEEP_REVISIONS, Record, Verdict

LOG: Final = "log/"  # the keys that say what was written
# What is trimmed may be trimmed by a newer revision than any client has seen yet.
_AHEAD_S: Final = 5.0
# How a watch may end that is broken off, or that cannot go on.
ENDS: Final = frozenset(
    {
        *("time", "broken", "closed", "COMPACTED", "WATCH_TOO_SLOW", "NOT_LEADER"),
        *("NO_QUORUM", "OUTCOME_UNKNOWN", "OVERLOADED", "QUARANTINED", "TOO_MANY"),
        *("CANCELLED", "DISCONNECTED"),
    }
)
OK_MIN: Final = 5
_SHORT: Final = 60  # characters
STARTS: Final = ("now", "past", "future", "snapshot", "resume")


class Written(NamedTuple):
    """What one revision did to one key: its value afterwards (None: it is gone), and
    before."""

    value: str | None
    before: str | None

    @property
    def created(self) -> bool:
        """There was none before."""
        return self.before is None and self.value is not None


@dataclass(slots=True)
class Oracle:
    """What every revision changed, and what there was."""

    revisions: list[int] = field(default_factory=list)
    changes: dict[int, dict[str, Written]] = field(default_factory=dict)
    final: dict[str, str] = field(default_factory=dict)

    def of(self, revision: int, prefix: str) -> dict[str, Written]:
        """What a revision changed of the keys with a prefix."""
        every = self.changes.get(revision, {})
        return {key: one for key, one in every.items() if key.startswith(prefix)}

    def between(self, after: int, before: int, prefix: str) -> Iterator[tuple[int, str]]:
        """What changed strictly between two revisions."""
        first = bisect_right(self.revisions, after)
        for revision in self.revisions[first : bisect_left(self.revisions, before)]:
            for key in self.of(revision, prefix):
                yield revision, key

    def state(self, revision: int, prefix: str) -> dict[str, tuple[str, int]]:
        """What there was at a revision, and since when."""
        held: dict[str, tuple[str, int]] = {}
        for at in self.revisions[: bisect_right(self.revisions, revision)]:
            for key, one in self.of(at, prefix).items():
                if one.value is None:
                    held.pop(key, None)
                else:
                    held[key] = (one.value, at)
        return held


def check(record: Record, workload: str = "watch") -> Verdict:
    """All watches of a run against what was written."""
    asked = list(pairs(of_workload(record.events, workload)))
    logs = [one for one in asked if one.invoke.f == "read-log" and one.outcome == "ok"]
    watches = [one for one in asked if one.invoke.f in ("watch", "stall")]
    if not logs:
        unread = "the last read of what was written was not answered"
        return verdict(f"{workload}:properties", unread, unsure=[unread])
    try:
        oracle, wrong = _oracle(logs[-1], asked)
        bounds = _Bounds(record, asked)
        told: Counter[str] = Counter()
        wrong += _ahead(watches, logs[-1])
        for pair in watches:
            if pair.outcome == "ok":
                wrong += _Judge(pair, oracle, bounds, told).all()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MalformedHistory(f"no history of watches: {error!r}") from error
    figures = {"writes": len(oracle.revisions), **dict(sorted(told.items()))}
    lost = sum(text.startswith("lost:") for text in wrong)
    return verdict(
        f"{workload}:properties",
        f"{told['watches']} watches were told {told['changes']} changes, each once and in"
        f" order; {told['resumed']} went on after a break, {told['too_slow']} were too slow",
        wrong=wrong,
        unsure=_unsure(record, watches, told) + _cut_short(record, watches, oracle),
        figures={**figures, "lost": lost},
    )


def short(value: bytes) -> str:
    """A value in a few characters, of which no two that were written are the same."""
    if len(value) <= _SHORT:
        return value.decode(errors="replace")
    head = value[: _SHORT // 2].decode(errors="replace")
    return f"{head}#{len(value)}#{zlib.crc32(value):08x}"


# --- what was written --------------------------------------------------------------


def _oracle(read: Pair, asked: Sequence[Pair]) -> tuple[Oracle, list[str]]:
    """Replay what was written, and compare it with what the writers were told."""
    assert read.completion is not None, "it was answered"
    found = read.completion.value
    writes = {pair.invoke.value["id"]: pair for pair in asked if pair.invoke.f == "write"}
    stalls = [pair for pair in asked if pair.invoke.f == "stall"]
    floods = {pair.invoke.value["id"] for pair in stalls}
    wrong: list[str] = []
    oracle = Oracle()
    placed: dict[str, int] = {}
    for revision, version, name, text in sorted(found["log"]):
        if version != 1:
            wrong.append(f"double: write {name} happened {version} times")
        if revision in oracle.changes:
            wrong.append(f"shared revision: write {name} @{revision}")
        if name not in writes and name.partition(".")[0] not in floods:
            wrong.append(f"stranger: nobody asked for write {name} @{revision}")
        placed[name] = revision
        oracle.revisions.append(revision)
        oracle.changes[revision] = _replayed(oracle.final, json.loads(text), name, text)
    wrong += _broken_words(writes, placed, read)
    wrong += _flooded(stalls, placed, read)
    held = {key: (value, at) for key, (value, at) in found["state"].items()}
    newest = max(oracle.revisions, default=0)
    state = oracle.state(newest, "")
    expected = {key: one for key, one in state.items() if not key.startswith(LOG)}
    if held != expected:
        differ = sorted(key for key in {*held, *expected} if held.get(key) != expected.get(key))
        wrong.append(f"different: in the end {differ[:5]} are not what was written last")
    return oracle, wrong


def _replayed(
    held: dict[str, str], effects: Mapping[str, Any], name: str, text: str
) -> dict[str, Written]:
    """What one write changes; deletions come first in it."""
    gone = {key for key in effects["deletes"] if key in held}
    if effects["range"]:
        gone |= {key for key in held if key.startswith(effects["range"])}
    changes = {key: Written(None, held.pop(key)) for key in sorted(gone)}
    for key, value in {**effects["puts"], LOG + name: short(text.encode())}.items():
        changes[key] = Written(value, held.get(key))
        held[key] = value
    return changes


def _broken_words(
    writes: Mapping[str, Pair], placed: Mapping[str, int], read: Pair
) -> Iterator[str]:
    """What happened otherwise than a writer was told."""
    for name, pair in writes.items():
        at, end = placed.get(name), pair.completion
        if pair.outcome == "fail" and at is not None:
            yield f"resurrected: write {name} failed, and is there @{at}"
        if pair.outcome != "ok" or end is None:
            continue
        if at is None and end.time < read.invoke.time:
            yield f"lost: write {name} was acknowledged @{end.revision}, and is not there"
        elif at is not None and at != end.revision:
            yield f"moved: write {name} was acknowledged @{end.revision}, and is @{at}"


def _flooded(stalls: Sequence[Pair], placed: Mapping[str, int], read: Pair) -> Iterator[str]:
    """What was acknowledged of that which was written while a consumer stalled."""
    for pair in stalls:
        end = pair.completion
        if pair.outcome != "ok" or end is None or end.time >= read.invoke.time:
            continue
        for number in range(end.value.get("written", 0)):
            name = f"{pair.invoke.value['id']}.{number}"
            if name not in placed:
                yield f"lost: write {name} was acknowledged, and is not there"


def _ahead(watches: Sequence[Pair], read: Pair) -> Iterator[str]:
    """What was told of revisions that even a later read had not come to."""
    assert read.completion is not None, "it was answered"
    newest = read.completion.revision
    for pair in watches:
        end = pair.completion
        if pair.outcome != "ok" or end is None or end.time >= read.invoke.time:
            continue
        if (last := _told_until(end.value)) > newest:
            where = f"{pair.invoke.f} (event {pair.invoke.index})"
            yield f"ahead: {where} was told @{last}, and @{newest} is the newest later"


def _told_until(value: Mapping[str, Any]) -> int:
    """The newest revision that a watch was told of."""
    messages = [one for segment in value["segments"] for one in segment["messages"]]
    return max((revision for revision, *_ in messages), default=0)


# --- what was compacted --------------------------------------------------------------


class _Bounds:
    """How far history can have been compacted at most, at any time of a run."""

    def __init__(self, record: Record, asked: Sequence[Pair]) -> None:
        self._trims = not record.remote
        self._seen = [(event.time, event.revision) for event in record.events if event.revision]
        self._times = [time for time, _ in self._seen]
        self._highest: list[int] = []
        newest = 0
        for _, revision in self._seen:
            newest = max(newest, revision)
            self._highest.append(newest)
        self._done = [
            (pair.invoke.time, pair.completion.value["revision"])
            for pair in asked
            if pair.invoke.f == "compact"
            and pair.completion is not None
            and isinstance(pair.completion.value, dict)
            and "revision" in pair.completion.value
        ]

    def oldest(self, time: float) -> int | None:
        """The largest revision below which history may be gone by then; None if nobody
        can tell."""
        if not self._trims:
            return None
        place = bisect_right(self._times, time + _AHEAD_S)
        newest = self._highest[place - 1] if place else 0
        compacted: list[int] = [revision for began, revision in self._done if began <= time]
        return max(newest - KEEP_REVISIONS, *compacted, 0)


# --- one watch -----------------------------------------------------------------------


class _Judge:
    """Goes through what one watch was told, over all its breaks."""

    def __init__(self, pair: Pair, oracle: Oracle, bounds: _Bounds, told: Counter[str]) -> None:
        assert pair.completion is not None, "it was answered"
        self._pair = pair
        self._time = pair.completion.time
        self._value = pair.completion.value
        self._prefix: str = self._value["prefix"]
        self._previous: bool = self._value["previous"]
        self._oracle = oracle
        self._bounds = bounds
        self._told = told
        self._done: int | None = None  # all up to there has been told; None: not known
        self._last = 0  # revision of the newest message
        self._floor = 0  # what its member had applied before it began
        self._fresh = True  # it was told nothing yet
        self._gap = "reliable"  # what a gap is called
        self._parts: list[list[Any]] = []
        self._open = False  # the last message was to be continued
        self._snapshot = False
        self._node = ""

    def all(self) -> Iterator[str]:
        """Everything that is wrong with it."""
        self._told["watches"] += 1
        for segment in self._value["segments"]:
            self._begin(segment)
            for message in segment["messages"]:
                yield from self._take(*message)
            yield from self._end(segment)

    def _what(self) -> str:
        asked = self._pair.invoke
        return f"{asked.f} of {self._prefix!r} at {self._node} (event {asked.index})"

    def _begin(self, segment: Mapping[str, Any]) -> None:
        how = segment["start"]
        self._node = segment["node"]
        self._parts.clear()
        self._open = False
        self._last = 0
        self._told[f"from {how}"] += 1
        if how == "resume":
            # Within one watch it goes on where it was; at its begin it is told where.
            if self._done is None:
                self._done = segment["revision"]
            self._told["resumed"] += 1
            self._gap = "resumable"
        elif how in ("past", "future"):
            self._done = segment["revision"] - 1
        else:
            self._done = None
            self._snapshot = how == "snapshot"
        self._floor = segment["revision"] if how in ("now", "snapshot") else 0
        self._fresh = True

    def _take(
        self, revision: int, continued: int, snapshot: int, changes: list[list[Any]]
    ) -> Iterator[str]:
        """One message."""
        if revision < self._last or (self._open and revision != self._last):
            name = "atomic" if self._open else "ordered"
            yield f"{name}: {self._what()} was told @{revision} after @{self._last}"
        self._last = revision
        self._told["messages"] += 1
        for change in changes:
            if not str(change[0]).startswith(self._prefix):
                yield f"filter: {self._what()} was told of {change[0]!r} @{revision}"
        self._parts += changes
        self._open = bool(continued)
        if continued:
            return
        parts, self._parts = self._parts, []
        if self._fresh and parts and not (snapshot or self._snapshot):
            yield f"bookmark: {self._what()} began with changes @{revision}, and no mark"
        self._fresh = False
        if snapshot or self._snapshot:
            yield from self._taken_snapshot(revision, parts, bool(snapshot))
        elif parts:
            yield from self._taken_changes(revision, parts)
        else:
            self._told["marks"] += 1
            yield from self._all_until(revision + 1, "bookmark")
            self._done = max(self._done or 0, revision)

    def _taken_snapshot(
        self, revision: int, parts: Sequence[Sequence[Any]], is_one: bool
    ) -> Iterator[str]:
        if is_one != self._snapshot:
            word = "is" if is_one else "is none"
            yield f"snapshot: what {self._what()} was told @{revision} {word} a snapshot"
            self._snapshot = False
            return
        self._snapshot = False
        self._told["snapshots"] += 1
        if revision < self._floor:
            yield f"early: {self._what()} was shown @{revision}, of before @{self._floor}"
        held = self._oracle.state(revision, self._prefix)
        shown = {key: (value, at) for key, value, at, *_ in parts}
        if len(shown) != len(parts):
            yield f"unique: {self._what()} was shown a key twice in its snapshot @{revision}"
        differ = sorted(key for key in {*held, *shown} if held.get(key) != shown.get(key))
        if differ:
            yield (
                f"snapshot: {self._what()} was shown @{revision} {_few(differ)} not as they"
                f" were: {[shown.get(key) for key in differ[:3]]} for"
                f" {[held.get(key) for key in differ[:3]]}"
            )
        for key, _, _, created, before in parts:
            if created or before is not None:
                yield f"snapshot: {self._what()} was shown {key!r} @{revision} as a change"
        self._done = revision

    def _taken_changes(self, revision: int, parts: Sequence[Sequence[Any]]) -> Iterator[str]:
        """All that it was told of one revision."""
        if self._done is None:  # it began now, and this is the first that it hears
            self._done = revision - 1
        if revision <= self._floor:
            yield f"early: {self._what()} was told @{revision}, and began behind it"
        if revision <= self._done:
            yield (
                f"unique: {self._what()} was told @{revision}"
                f" {_few([str(change[0]) for change in parts])} after all up to @{self._done}"
            )
            return
        yield from self._all_until(revision, self._gap)
        self._gap = "reliable"
        self._done = revision
        self._told["changes"] += len(parts)
        expected = self._oracle.of(revision, self._prefix)
        seen: set[str] = set()
        for key, value, mod_revision, created, before in parts:
            if key in seen:
                yield f"unique: {self._what()} was told of {key!r} @{revision} twice"
            seen.add(key)
            one = expected.get(key)
            if one is None:
                if key.startswith(self._prefix):
                    yield f"phantom: {self._what()} was told of {key!r} @{revision}"
                continue
            yield from self._change(one, f"{key!r} @{revision}", value, bool(created), before)
            if value is not None and mod_revision != revision:
                yield f"value: {self._what()} was told of {key!r} of @{mod_revision}"
        if missing := sorted(expected.keys() - seen):
            yield f"atomic: {self._what()} was not told of {_few(missing)} @{revision}"

    def _change(
        self, one: Written, where: str, value: str | None, created: bool, before: str | None
    ) -> Iterator[str]:
        if value != one.value:
            yield f"value: {self._what()} was told {value!r} of {where}, not {one.value!r}"
        if created != one.created:
            yield f"created: {self._what()} was told {created} of {where}"
        wanted = one.before if self._previous else None
        if before != wanted:
            yield f"previous: {self._what()} was told {before!r} of {where}, not {wanted!r}"

    def _all_until(self, before: int, name: str) -> Iterator[str]:
        """What changed behind what was told, and before a revision: there is nothing."""
        if self._done is None:
            return
        missing = [
            f"{key} @{revision}"
            for revision, key in self._oracle.between(self._done, before, self._prefix)
        ]
        if missing:
            yield (
                f"{name}: {self._what()} was not told of {_few(missing)}, between"
                f" @{self._done} and @{before}"
            )

    def _end(self, segment: Mapping[str, Any]) -> Iterator[str]:
        end, details = segment["end"], segment.get("details", {})
        self._told[f"ended {end}"] += 1
        if end not in ENDS:
            yield f"refused: {self._what()} was ended with {end}: {segment.get('said', '')}"
        self._told["too_slow"] += end == "WATCH_TOO_SLOW"
        if end == "COMPACTED":
            self._told["compacted"] += 1
            yield from self._compacted(details)

    def _compacted(self, details: Mapping[str, str]) -> Iterator[str]:
        wanted = (self._done or 0) + 1
        oldest = int(details.get("oldest_revision", "0"))
        if self._done is not None and wanted >= oldest:
            yield f"compacted: {self._what()} from @{wanted}, where @{oldest} is the oldest"
        if self._done is None:
            yield f"compacted: {self._what()} up to @{oldest}, and it began with what there was"
        bound = self._bounds.oldest(self._time)
        if bound is not None and oldest > bound + 1:
            yield f"compacted: {self._what()} up to @{oldest}, and nothing beyond @{bound} was"


def _few(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


# --- whether it shows anything -------------------------------------------------------


def _unsure(record: Record, watches: Sequence[Pair], told: Counter[str]) -> list[str]:
    """What there was too little of to show anything."""
    unsure = [
        f"{told[f'from {how}']} watches began from {how}; {OK_MIN} are asked for"
        for how in STARTS
        if told[f"from {how}"] < OK_MIN
    ]
    if not told["compacted"]:
        unsure.append("no watch was told that history was compacted")
    if not told["too_slow"]:
        unsure.append("the consumer that stalls was never too slow")
    nodes = {
        segment["node"]
        for pair in watches
        if pair.outcome == "ok" and pair.completion is not None
        for segment in pair.completion.value["segments"]
        if segment["messages"]
    }
    if missing := sorted(set(record.nodes) - nodes):
        unsure.append(f"no watch was told anything at {', '.join(missing)}")
    return unsure


def _cut_short(record: Record, watches: Sequence[Pair], oracle: Oracle) -> list[str]:
    """Members of which the last watches did not come to what had been written."""
    newest = max(oracle.revisions, default=0)
    reached = dict.fromkeys(record.nodes, -1)
    for pair in watches:
        node = pair.invoke.value.get("node")
        if node in reached and pair.outcome == "ok" and pair.completion is not None:
            until = _told_until(pair.completion.value)
            reached[node] = until if reached[node] < 0 else min(reached[node], until)
    return [
        f"the last watches at {node} came to @{max(until, 0)}; @{newest} had been written"
        for node, until in reached.items()
        if until < newest
    ]
