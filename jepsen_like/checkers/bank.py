"""Reads that must be of one revision: no mixture of two, whatever is read and however.

Two things are kept. Money is moved between accounts, so that the total never changes. And
all keys of a group are always written together, with one value that no other write has:
what shows two of these values is *fractured*. Both hold for every read of whatever kind:
linearizable, stale at any member, in pages, of the past, and inside a transaction.

- `total` is a read of the accounts that adds up to something else;
- `fractured` is one that lacks some of the keys, or shows two values of the group;
- `pages` are of several revisions (one of them the one that was asked for);
- `stale` is a value that was over at the revision that the answer names, `early` one that
  came later, `phantom` one that nobody wrote there, `resurrected` one whose write failed;
- `returned` is a value that shows again after another one, `unrepeatable` are two answers
  of one revision that are not the same;
- `real time` is an answer of before something that had ended when it was asked for, and
  `shared revision` are two writes that were answered with one;
- `different` are members that do not agree in the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.protocols import Record, Verdict

ACCOUNTS: Final = tuple(f"{number}" for number in range(6))
START: Final = 100
TOTAL: Final = START * len(ACCOUNTS)
MEMBERS: Final = tuple(f"{number}" for number in range(5))
KEYS: Final[Mapping[str, tuple[str, ...]]] = {"accounts": ACCOUNTS, "group": MEMBERS}
FIRST: Final = "first"  # who wrote what the accounts begin with

WRITES: Final = ("transfer", "version")
READS: Final = ("read", "stale-read", "past-read", "paged-read", "txn-read", "read-node")
OK_MIN: Final = 5  # of each kind


class Read(NamedTuple):
    """A read that was answered. `at` is the revision of which it shows the state."""

    pair: Pair
    of: str
    values: Mapping[str, str]
    revisions: Sequence[int]
    at: int

    def __str__(self) -> str:
        asked, end = self.pair
        node = f" at {end.node}" if end is not None and end.node else ""
        return f"{asked.f} of {self.of}{node} @{self.at} (event {asked.index})"


@dataclass(slots=True)
class _Key:
    """The acknowledged writes of one key, by revision; and the values that they wrote."""

    revisions: list[int] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    wrote: dict[str, str] = field(default_factory=dict)  # by writer

    def at(self, revision: int) -> tuple[str, int]:
        """Who had written it last, of those who were told; and where."""
        place = bisect_right(self.revisions, revision) - 1
        return (self.writers[place], self.revisions[place]) if place >= 0 else ("", 0)


def check(record: Record, workload: str = "bank") -> Verdict:
    """Whether every read shows one revision, and the one that it says."""
    asked = list(pairs(of_workload(record.events, workload)))
    try:
        reads = [_read(pair) for pair in asked if pair.invoke.f in READS]
        known = [one for one in reads if one is not None]
        writes = {pair.invoke.value["id"]: pair for pair in asked if pair.invoke.f in WRITES}
        keys = _keys(writes)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedHistory(f"no history of a bank: {error!r}") from error
    wrong = [
        *_shared(writes),
        *(text for one in known for text in _mixed(one)),
        *(text for one in known for text in _placed(one, keys, writes)),
        *_kept(known, keys),
        *_real_time(asked, known),
        *_different(known),
    ]
    figures = _figures(asked, known, writes)
    return verdict(
        f"{workload}:reads",
        f"{len(known)} reads of {len(READS)} kinds, each of one revision, beside"
        f" {figures['writes']} writes of several keys",
        wrong=wrong,
        unsure=_unsure(record, asked, known, figures),
        figures=figures,
    )


def _read(pair: Pair) -> Read | None:
    asked, end = pair
    if pair.outcome != "ok" or end is None:
        return None
    at = end.revision - (asked.f == "txn-read")
    return Read(pair, asked.value["of"], end.value["values"], end.value["revisions"], at)


def _keys(writes: Mapping[str, Pair]) -> dict[tuple[str, str], _Key]:
    """The acknowledged writes by key."""
    found = {(of, key): _Key() for of, keys in KEYS.items() for key in keys}
    done = [(pair.completion, name) for name, pair in writes.items() if pair.outcome == "ok"]
    placed = [(end.revision, end.value["wrote"], name) for end, name in done if end is not None]
    for revision, wrote, name in sorted(placed, key=lambda one: one[0]):
        of = "accounts" if writes[name].invoke.f == "transfer" else "group"
        for key, value in wrote.items():
            found[of, key].revisions.append(revision)
            found[of, key].writers.append(name)
            found[of, key].wrote[name] = value
    return found


def writer_of(value: str) -> str:
    """Who wrote a value: what is behind the balance, or the whole of it."""
    return value.rpartition(":")[2]


# --- what can be wrong -----------------------------------------------------------


def _mixed(one: Read) -> Iterator[str]:
    """What one read shows by itself that is not of one revision."""
    if len(set(one.revisions)) > 1:
        yield f"pages: {one} is of the revisions {sorted(set(one.revisions))}"
    if not one.values:
        return  # nobody has written yet; whether that can be is judged with the revision
    keys = KEYS[one.of]
    if set(one.values) != set(keys):
        yield f"fractured: {one} shows {sorted(one.values)} of {len(keys)} keys"
    elif one.of == "accounts":
        total = sum(int(value.partition(":")[0]) for value in one.values.values())
        if total != TOTAL:
            yield f"total: {one} adds up to {total}, not {TOTAL}"
    elif len(set(one.values.values())) > 1:
        yield f"fractured: {one} shows {dict(sorted(one.values.items()))}"


def _placed(
    one: Read, keys: Mapping[tuple[str, str], _Key], writes: Mapping[str, Pair]
) -> Iterator[str]:
    """Each value against who had written it at the revision of the read."""
    for key in KEYS[one.of]:
        newest, since = keys[one.of, key].at(one.at)
        value = one.values.get(key)
        writer = "" if value is None else writer_of(value)
        shown = f"{one} shows {value!r} at {key}"
        by = writes.get(writer)
        if value is not None and not _may_be(one.of, key, value, keys, by):
            yield f"phantom: {shown}, which {writer} did not write there"
            continue
        if writer == newest:
            continue
        if value is None or writer == FIRST:
            if since:
                yield f"stale: {shown}, where {newest} had written @{since}"
        elif by is None:
            yield f"phantom: {shown}, which nobody wrote"
        elif by.outcome == "fail":
            yield f"resurrected: {shown}, of a write that failed"
        elif by.outcome == "ok" and by.completion is not None:
            name = "early" if by.completion.revision > one.at else "stale"
            yield f"{name}: {shown} of @{by.completion.revision}; {newest} wrote @{since}"
        elif (end := one.pair.completion) is not None and by.invoke.time > end.time:
            yield f"early: {shown}, which was asked for later"


def _may_be(
    of: str,
    key: str,
    value: str,
    keys: Mapping[tuple[str, str], _Key],
    by: Pair | None,
) -> bool:
    """Whether whom a value names as its writer can have written it at that key."""
    writer = writer_of(value)
    if by is None:
        return writer != FIRST or (of == "accounts" and value == f"{START}:{FIRST}")
    if by.outcome == "ok":
        return keys[of, key].wrote.get(writer) == value
    if by.invoke.f == "transfer":
        return of == "accounts" and key in (by.invoke.value["from"], by.invoke.value["to"])
    return of == "group" and value == writer


def _kept(reads: Sequence[Read], keys: Mapping[tuple[str, str], _Key]) -> Iterator[str]:
    """A revision that is read again shows the same, and what was written over is gone for
    good. This holds also for writes of which nobody knows where they were done."""
    first: dict[tuple[str, int], Read] = {}
    for one in reads:
        other = first.setdefault((one.of, one.at), one)
        if other.values != one.values:
            yield f"unrepeatable: {one} and {other} do not show the same"
    for (of, key), held in keys.items():
        moments = [(at, 0, who) for at, who in zip(held.revisions, held.writers, strict=True)]
        moments += [
            (one.at, 1, writer_of(one.values.get(key, ""))) for one in reads if one.of == of
        ]
        over: set[str] = set()
        now = ""
        for at, _, writer in sorted(moments):
            if writer == now:
                continue
            if writer in over:
                yield f"returned: {writer or 'nothing'} is at {key} of {of} @{at}, after {now}"
            over.add(now)
            now = writer


def _is_linearizable(pair: Pair) -> bool:
    """Whether a read has to show all that had ended before it."""
    if pair.invoke.f == "paged-read":
        return not pair.invoke.value["stale"]
    return pair.invoke.f in ("read", "txn-read")


def _own(pair: Pair) -> int:
    """The revision that a read has: one in a transaction is a command by itself."""
    assert pair.completion is not None, "it was answered"
    return pair.completion.revision - (pair.invoke.f == "txn-read")


def _shared(writes: Mapping[str, Pair]) -> Iterator[str]:
    """Two writes of one revision."""
    at: dict[int, str] = {}
    for name, pair in writes.items():
        if pair.outcome == "ok" and pair.completion is not None:
            other = at.setdefault(pair.completion.revision, name)
            if other != name:
                yield f"shared revision: {other} and {name} @{pair.completion.revision}"


def _real_time(asked: Sequence[Pair], reads: Sequence[Read]) -> Iterator[str]:
    """Answers of before something that had ended when they were asked for."""
    at = {one.pair.invoke.index: one for one in reads}
    moments: list[tuple[float, int, int, Pair]] = []
    for pair in asked:
        if pair.outcome == "ok" and pair.completion is not None:
            moments.append((pair.invoke.time, 0, pair.invoke.index, pair))
            moments.append((pair.completion.time, 1, pair.invoke.index, pair))
    newest = 0
    for _, ends, index, pair in sorted(moments, key=lambda moment: moment[:3]):
        assert pair.completion is not None, "only these have moments"
        if ends:
            newest = max(newest, pair.completion.revision)
        elif _is_linearizable(pair) and _own(pair) < newest:
            yield f"real time: {at[index]} began after something @{newest} had ended"
        elif pair.invoke.f in WRITES and pair.completion.revision <= newest:
            name = pair.invoke.value["id"]
            yield f"real time: {name} is @{pair.completion.revision}, after @{newest} had ended"


def _different(reads: Sequence[Read]) -> Iterator[str]:
    """Members that hold something else in the end than the others."""
    held: dict[str, Read] = {}
    for one in reads:
        if one.pair.invoke.f != "read-node":
            continue
        node, end = one.pair.invoke.value["node"], one.pair.completion
        if end is not None and end.node != node:
            yield f"elsewhere: {one} was answered by {end.node}, and {node} was asked"
        other = held.setdefault(one.of, one)
        if other.values != one.values:
            yield f"different: {one} and {other} do not show the same"


# --- figures ---------------------------------------------------------------------


def _figures(
    asked: Sequence[Pair], reads: Sequence[Read], writes: Mapping[str, Pair]
) -> dict[str, Any]:
    kinds = Counter(one.pair.invoke.f for one in reads)
    told = [pair.completion.value for pair in asked if pair.completion is not None]
    return {
        "writes": sum(pair.outcome == "ok" for pair in writes.values()),
        "writes_unknown": sum(pair.outcome == "info" for pair in writes.values()),
        "failed_compares": sum(
            one.get("failed_compares", 0) for one in told if isinstance(one, dict)
        ),
        "reads": dict(sorted(kinds.items())),
        "overtaken": _overtaken(reads, writes),
    }


def _overtaken(reads: Sequence[Read], writes: Mapping[str, Pair]) -> int:
    """How many reads of several pages had a write of theirs acknowledged before they ended,
    which they yet do not show: those could have been fractured."""
    done = [pair.completion for pair in writes.values() if pair.outcome == "ok"]
    ended = sorted((end.time, end.revision) for end in done if end is not None)
    count = 0
    for one in reads:
        end = one.pair.completion
        if len(one.revisions) > 1 and end is not None:
            began = one.pair.invoke.time
            first, last = bisect_right(ended, (began, 0)), bisect_right(ended, (end.time, 0))
            count += any(revision > one.at for _, revision in ended[first:last])
    return count


def _unsure(
    record: Record, asked: Sequence[Pair], reads: Sequence[Read], figures: Mapping[str, Any]
) -> list[str]:
    """What there was too little of to show anything."""
    shown = Counter(one.pair.invoke.f for one in reads if one.values)
    unsure = [
        f"{shown[f]} of {f} showed anything; {OK_MIN} are asked for"
        for f in READS
        if f != "read-node" and shown[f] < OK_MIN
    ]
    nodes = {one.pair.invoke.value.get("node") for one in reads}
    if missing := sorted(set(record.nodes) - nodes):
        unsure.append(f"there is no last read of {', '.join(missing)}")
    ends = [
        pair.completion.time
        for pair in asked
        if pair.invoke.f in WRITES and pair.outcome == "ok" and pair.completion is not None
    ]
    for of in KEYS:
        last = max(
            (
                one.pair.invoke.time
                for one in reads
                if one.of == of and one.pair.invoke.f == "read"
            ),
            default=0.0,
        )
        if last <= max(ends, default=0.0):
            unsure.append(f"the cluster was not asked for {of} after the last write")
    if figures["writes"] < OK_MIN:
        unsure.append(f"{figures['writes']} writes were acknowledged")
    if not figures["failed_compares"]:
        unsure.append("no compare ever failed")
    if not figures["overtaken"]:
        unsure.append("nobody wrote while a range was read page by page")
    return unsure
