"""Transactions that append to lists: whether any order of them explains what they read.

A transaction is a list of micro-operations, done at once: `append` an element to the list
at a key, `r`ead one. Every element is appended once in a run. So a list says by itself in
which order its elements came, and who wrote what a reader saw: the longest read of a key
is the order of its versions, and every other read has to be how that one begins.

From that come the dependencies: `ww` (wrote the next version), `wr` (read what another
wrote), `rw` (read the version before the one another wrote); and `rt`, that one ended
before the other began. The transactions are strictly serializable if nothing is wrong
with a read by itself, and there is no cycle of dependencies. Of a cycle it is told what
it is called, in Adya's words, by what it needs:

    G0        ww only
    G1c       ww and wr
    G-single  one rw beside these
    G2        more than one

with "-realtime" behind it if it needs the order of real time as well. Reads may be wrong
by themselves: G1a is an element whose transaction failed, G1b a list that ends in the
middle of what one transaction appended.

The second verdict has nothing to search: every answer names its revision, so the order of
the revisions is given, and only has to agree with what was read and with real time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

from jepsen_like.checkers.graphs import SHORTEST, Graph, Step
from jepsen_like.checkers.history import MalformedHistory, Outcome
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.protocols import Record, Verdict

WW, WR, RW, RT = 1, 2, 4, 8
_WORDS: Final = {WW: "ww", WR: "wr", RW: "rw", RT: "rt"}
CYCLES_MAX: Final = 10  # that are shown
OK_MIN: Final = 20
_SINGLE_MAX: Final = 500  # rw edges that are tried, to name a cycle

Element = int


class Micro(NamedTuple):
    """One micro-operation: "r" with what was read (None if nobody was told), or "append"
    with the element."""

    f: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction as its client saw it. `ended` is None if nobody was told. Of one
    that only reads, without being a command (`is_read`), the revision is the one that it
    shows; of any other it is its own, and what it read is what was there just before."""

    id: str
    outcome: Outcome
    micros: tuple[Micro, ...]
    began: float
    ended: float | None = None
    revision: int = 0
    is_read: bool = False

    def __str__(self) -> str:
        where = f" @{self.revision}" if self.revision else ""
        return f"{self.id}{where} [{' '.join(map(_told, self.micros))}]"


def _told(micro: Micro) -> str:
    if micro.f == "append":
        return f"append {micro.key} {micro.value}"
    if micro.value is None:
        return f"r {micro.key}"
    last = list(micro.value)[-3:]
    dots = "..." if len(micro.value) > len(last) else ""
    return f"r {micro.key} [{dots}{' '.join(map(str, last))}]"


@dataclass(slots=True)
class _Read:
    """What one transaction read of a key, without what it had appended itself."""

    by: int
    seen: tuple[Element, ...]


@dataclass(slots=True)
class Inferred:
    """What the reads say: the order of each key's versions, and who took part.

    `happened` are the numbers of the transactions that took place: those that were
    acknowledged, and the unknown ones of which somebody has read an element."""

    transactions: Sequence[Transaction]
    orders: dict[str, tuple[Element, ...]] = field(default_factory=dict)
    writer: dict[Element, int] = field(default_factory=dict)
    reads: dict[str, list[_Read]] = field(default_factory=dict)
    happened: set[int] = field(default_factory=set)
    unread: dict[str, list[int]] = field(default_factory=dict)  # writers nobody has read
    wrong: list[str] = field(default_factory=list)


# --- the verdicts ------------------------------------------------------------------


def check(record: Record, workload: str = "append") -> list[Verdict]:
    """Whether the transactions are strictly serializable; and whether the revisions are
    an order that says so."""
    asked = list(pairs(of_workload(record.events, workload)))
    transactions = transactions_of(asked)
    found = infer(transactions)
    tried = _tried(asked)
    figures = _figures(found) | tried
    unsure = _unsure(record, asked, figures)
    reads = figures["reads"]
    summary = f"{figures['ok']} transactions, {reads} reads of {len(found.orders)} lists"
    wrong = [*found.wrong, *cycles(found), *_lost(asked, found), *_different(asked)]
    lost = sum(text.startswith("lost:") for text in wrong)
    return [
        verdict(
            f"{workload}:cycles",
            f"strictly serializable: {summary}, and no cycle",
            wrong=wrong,
            unsure=unsure,
            figures=figures | {"lost": lost},
        ),
        verdict(
            f"{workload}:witness",
            f"the revisions are an order of {summary}",
            wrong=list(misplaced(found)),
            unsure=unsure,
            figures=figures,
        ),
    ]


def transactions_of(asked: Sequence[Pair]) -> list[Transaction]:
    """The transactions of a history. A read of everything is one that reads every list of
    which anybody has ever spoken. Raises MalformedHistory for what is no transaction."""
    try:
        keys = sorted({key for pair in asked if pair.invoke.f == "txn" for key in _keys(pair)})
        return [
            _transaction(pair, keys) for pair in asked if pair.invoke.f in ("txn", "read-all")
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedHistory(f"no history of transactions: {error!r}") from error


def _keys(pair: Pair) -> Iterator[str]:
    return (key for _, key, _ in pair.invoke.value["ops"])


def _transaction(pair: Pair, keys: Sequence[str]) -> Transaction:
    asked, end = pair
    answered = end if end is not None and pair.outcome == "ok" else None
    if asked.f == "read-all":
        name, is_read = f"read-all (event {asked.index})", True
        lists = {} if answered is None else answered.value["lists"]
        micros = [Micro("r", key, lists.get(key, ())) for key in keys] if lists else []
        micros += [Micro("r", key, seen) for key, seen in lists.items() if key not in keys]
    else:
        name, is_read = asked.value["id"], False
        told = asked.value["ops"] if answered is None else answered.value["ops"]
        micros = [Micro(f, key, value) for f, key, value in told]
    return Transaction(
        id=name,
        outcome=pair.outcome,
        micros=tuple(
            micro._replace(value=tuple(micro.value))
            if micro.f == "r" and micro.value is not None
            else micro
            for micro in micros
        ),
        began=asked.time,
        ended=None if answered is None else answered.time,
        revision=0 if answered is None else answered.revision,
        is_read=is_read,
    )


def _lost(asked: Sequence[Pair], found: Inferred) -> Iterator[str]:
    """What was acknowledged before the newest read of everything, and is not in it."""
    last = [one for one in asked if one.invoke.f == "read-all" and one.outcome == "ok"]
    if not last or last[-1].completion is None:
        return
    held = {element for seen in last[-1].completion.value["lists"].values() for element in seen}
    for element, number in found.writer.items():
        one = found.transactions[number]
        before = one.ended is not None and one.ended < last[-1].invoke.time
        if one.outcome == "ok" and before and element not in held:
            yield f"lost: {element} of {one} was acknowledged, and is in no list in the end"


def _different(asked: Sequence[Pair]) -> Iterator[str]:
    """What one member holds at the very end, and the cluster does not say."""
    last = [one for one in asked if one.invoke.f == "read-all" and one.outcome == "ok"]
    for pair in asked:
        if pair.invoke.f != "read-node" or pair.outcome != "ok" or pair.completion is None:
            continue
        node, said = pair.invoke.value["node"], pair.completion
        if said.node != node:
            yield f"elsewhere: the last read of {node} was answered by {said.node}"
        held = last[-1].completion if last else None
        if held is not None and said.value["lists"] != held.value["lists"]:
            keys = {*said.value["lists"], *held.value["lists"]}
            differ = sorted(
                key
                for key in keys
                if said.value["lists"].get(key) != held.value["lists"].get(key)
            )
            yield f"different: {node} does not hold what the cluster says of keys {differ[:5]}"


def _tried(asked: Sequence[Pair]) -> dict[str, int]:
    """How often a compare did not hold."""
    told = [pair.completion.value for pair in asked if pair.completion is not None]
    failed = [one.get("failed_compares", 0) for one in told if isinstance(one, dict)]
    return {"failed_compares": sum(failed)}


def _figures(found: Inferred) -> dict[str, Any]:
    counts = {"ok": 0, "fail": 0, "info": 0}
    for one in found.transactions:
        counts[one.outcome] += 1
    unknown = sum(
        one.outcome == "info" and number in found.happened
        for number, one in enumerate(found.transactions)
    )
    return {
        **counts,
        "unknown_happened": unknown,
        "reads": sum(len(reads) for reads in found.reads.values()),
        "keys": len(found.orders),
        "elements": sum(len(order) for order in found.orders.values()),
    }


def _unsure(record: Record, asked: Sequence[Pair], figures: Mapping[str, Any]) -> list[str]:
    """What there was too little of to show anything."""
    unsure = []
    if figures["ok"] < OK_MIN:
        unsure.append(f"{figures['ok']} transactions were acknowledged; {OK_MIN} are asked for")
    if not figures["failed_compares"]:
        unsure.append("no compare ever failed: nobody wrote between a read and a write")
    nodes = {
        pair.invoke.value["node"]
        for pair in asked
        if pair.invoke.f == "read-node" and pair.outcome == "ok"
    }
    if missing := sorted(set(record.nodes) - nodes):
        unsure.append(f"there is no last read of {', '.join(missing)}")
    if not any(pair.invoke.f == "read-all" and pair.outcome == "ok" for pair in asked):
        unsure.append("there is no last read of all lists")
    return unsure


# --- what the reads say ------------------------------------------------------------


def infer(transactions: Sequence[Transaction]) -> Inferred:
    """The order of versions of every key, and what is wrong with a read by itself.

    Raises MalformedHistory for an element that is appended twice."""
    found = Inferred(transactions)
    key_of: dict[Element, str] = {}
    for number, one in enumerate(transactions):
        for micro in one.micros:
            if micro.f == "append":
                if micro.value in found.writer:
                    raise MalformedHistory(f"{micro.value} is appended twice: {one}")
                found.writer[micro.value] = number
                key_of[micro.value] = micro.key
    for number, one in enumerate(transactions):
        if one.outcome == "ok":
            found.happened.add(number)
            found.wrong += _take(found, number, one)
    for key, reads in found.reads.items():
        longest = max(reads, key=lambda read: len(read.seen))
        found.orders[key] = longest.seen
        found.wrong += _impossible(found, key, longest, key_of)
        for read in reads:
            if longest.seen[: len(read.seen)] != read.seen:
                found.wrong.append(
                    f"incompatible order: {transactions[read.by]} read of key {key} what is"
                    f" not how {transactions[longest.by]} begins"
                )
                found.wrong += _impossible(found, key, read, key_of)
            found.wrong += _intermediate(found, key, read)
            if any(found.writer.get(element) == read.by for element in read.seen):
                who = transactions[read.by]
                found.wrong.append(f"internal: {who} found of key {key} what it appends itself")
    for order in found.orders.values():
        found.happened |= {
            found.writer[element]
            for element in order
            if element in found.writer and transactions[found.writer[element]].outcome != "fail"
        }
    _never_read(found, key_of)
    found.wrong = list(dict.fromkeys(found.wrong))
    return found


def _take(found: Inferred, number: int, one: Transaction) -> Iterator[str]:
    """Note what a transaction read from outside; say where it contradicts itself."""
    mine: dict[str, list[Element]] = {}
    base: dict[str, tuple[Element, ...]] = {}
    for micro in one.micros:
        own = mine.setdefault(micro.key, [])
        if micro.f == "append":
            own.append(micro.value)
            continue
        seen = tuple(micro.value or ())
        cut = len(seen) - len(own)
        if cut < 0 or list(seen[cut:]) != own:
            yield f"internal: {one} does not read of key {micro.key} what it has appended"
            continue
        if base.setdefault(micro.key, seen[:cut]) != seen[:cut]:
            yield f"internal: {one} reads key {micro.key} twice, and not the same"
    for key, seen in base.items():
        found.reads.setdefault(key, []).append(_Read(number, seen))


def _impossible(
    found: Inferred, key: str, read: _Read, key_of: Mapping[Element, str]
) -> Iterator[str]:
    """What no list may hold."""
    who = found.transactions[read.by]
    if len(set(read.seen)) < len(read.seen):
        yield f"duplicate: {who} read an element of key {key} twice"
    runs: dict[int, list[Element]] = {}
    before = -1
    for element in read.seen:
        number = found.writer.get(element)
        if number is None or key_of[element] != key:
            yield f"phantom: {who} read {element} of key {key}, where nobody appended it"
            continue
        if found.transactions[number].outcome == "fail":
            yield f"G1a: {who} read {element} of {found.transactions[number]}, which failed"
        if number in runs and number != before:
            yield f"torn: what {found.transactions[number]} appended to {key} is not together"
        runs.setdefault(number, []).append(element)
        before = number
    for number, elements in runs.items():
        whole = _appended(found.transactions[number], key)
        if elements != whole[: len(elements)]:
            yield f"torn: {who} read of key {key} {elements}, which were appended as {whole}"


def _appended(one: Transaction, key: str) -> list[Element]:
    return [micro.value for micro in one.micros if micro.f == "append" and micro.key == key]


def _intermediate(found: Inferred, key: str, read: _Read) -> Iterator[str]:
    """A list that ends where a transaction had not done with it."""
    if not read.seen:
        return
    number = found.writer.get(read.seen[-1])
    if number is None or number == read.by:
        return
    whole = _appended(found.transactions[number], key)
    if whole and read.seen[-1] != whole[-1]:
        who, writer = found.transactions[read.by], found.transactions[number]
        yield f"G1b: {who} read of key {key} a part of what {writer} appended"


def _never_read(found: Inferred, key_of: Mapping[Element, str]) -> None:
    """Elements of what happened that no read shows: they come after all that do."""
    shown = {element for order in found.orders.values() for element in order}
    for element, number in found.writer.items():
        if element not in shown and number in found.happened:
            found.unread.setdefault(key_of[element], []).append(number)


# --- dependencies ------------------------------------------------------------------


def dependencies(found: Inferred) -> Graph:
    """What depends on what. The nodes behind the transactions are moments: an end leads to
    its moment, each moment to the next, and a moment to what begins after it; so that the
    order of real time takes as many edges as there are transactions."""
    ends = _ends(found)
    size = len(found.transactions)
    graph = Graph(size + len(ends), silent=size)
    for key, order in found.orders.items():
        _of_key(graph, found, order, found.reads[key], found.unread.get(key, ()))
    times = [time for time, _ in ends]
    for place, (_, number) in enumerate(ends):
        graph.add(number, size + place, RT)
        if place:
            graph.add(size + place - 1, size + place, RT)
    for number in found.happened:
        # What ends at the very moment at which another one begins overlaps it.
        before = bisect_left(times, found.transactions[number].began)
        if before:
            graph.add(size + before - 1, number, RT)
    return graph


def _ends(found: Inferred) -> list[tuple[float, int]]:
    ends = []
    for number in found.happened:
        ended = found.transactions[number].ended
        if ended is not None and found.transactions[number].outcome == "ok":
            ends.append((ended, number))
    return sorted(ends)


def _of_key(
    graph: Graph,
    found: Inferred,
    order: Sequence[Element],
    reads: Sequence[_Read],
    unread: Sequence[int],
) -> None:
    """The dependencies by one key."""
    writers = [found.writer.get(element, -1) for element in order]
    for before, after in pairwise(writers):
        if before >= 0 and after >= 0:
            graph.add(before, after, WW)
    if writers and writers[-1] >= 0:
        for number in unread:
            graph.add(writers[-1], number, WW)
    for read in reads:
        place = len(read.seen)
        if place and (writer := found.writer.get(read.seen[-1], -1)) >= 0:
            graph.add(writer, read.by, WR)
        # What it appended itself comes next; it is before whoever comes behind that.
        while place < len(writers) and writers[place] == read.by:
            place += 1
        behind = unread if place >= len(writers) else writers[place : place + 1]
        for number in behind:
            if number >= 0:
                graph.add(read.by, number, RW)


# --- cycles ------------------------------------------------------------------------


def cycles(found: Inferred) -> Iterator[str]:
    """Every set of transactions that depend on each other, by one short cycle of it."""
    graph = dependencies(found)
    size = len(found.transactions)
    for component in graph.components(WW | WR | RW | RT)[:CYCLES_MAX]:
        name, steps = _named(graph, component)
        yield _described(found.transactions, name, steps, size)


def _named(graph: Graph, component: Sequence[int]) -> tuple[str, list[Step]]:
    """What the cycle is called that needs least, and the cycle."""
    for real_time in (0, RT):
        suffix = "-realtime" if real_time else ""
        for name, kinds in (("G0", WW), ("G1c", WW | WR)):
            for part in graph.components(kinds | real_time, component):
                if steps := graph.cycle(part, kinds | real_time):
                    return name + suffix, steps
        for part in graph.components(WW | WR | RW | real_time, component):
            if steps := _single(graph, part, WW | WR | real_time):
                return "G-single" + suffix, steps
            if steps := graph.cycle(part, WW | WR | RW | real_time):
                return "G2" + suffix, steps
    return "G2", []


def _single(graph: Graph, part: Sequence[int], kinds: int) -> list[Step] | None:
    """A cycle with one rw and no more."""
    inside = set(part)
    best: list[Step] | None = None
    tried = 0
    for node in part:
        for after, kind in graph.edges[node]:
            if kind != RW or after not in inside or tried >= _SINGLE_MAX:
                continue
            tried += 1
            back = graph.path(after, node, kinds, inside)
            if back is None:
                continue
            if best is None or graph.length(back) + 1 < graph.length(best):
                best = [(RW, after), *back]
                if graph.length(best) <= SHORTEST:
                    return best
    return best


def _described(
    transactions: Sequence[Transaction], name: str, steps: Sequence[Step], size: int
) -> str:
    """A cycle in words: each transaction, and how the next one depends on it. Moments are
    left out: of those only the order counts."""
    shown = []
    for kind, node in steps:
        if node < size:
            shown.append(f"{_WORDS[kind]} -> {transactions[node]}")
    if not shown:
        return f"{name}: a cycle too large to be shown"
    first = shown[-1].partition(" -> ")[2]
    return f"{name}: {first} {' '.join(shown)}"


# --- the witness -------------------------------------------------------------------


def misplaced(found: Inferred) -> Iterator[str]:
    """Where the revisions are no order of the transactions: against each key's versions,
    against what was read, against real time."""
    transactions = found.transactions
    placed: dict[int, int] = {}
    for number in sorted(found.happened):
        one = transactions[number]
        if one.outcome != "ok":
            continue
        if one.revision <= 0:
            yield f"unplaced: {one} was answered without a revision"
        elif not one.is_read:
            other = placed.setdefault(one.revision, number)
            if other != number:
                yield f"shared revision: {transactions[other]} and {one}"
    for key, order in found.orders.items():
        yield from _against_versions(found, key, order)
    yield from _against_time(found)


def _against_versions(found: Inferred, key: str, order: Sequence[Element]) -> Iterator[str]:
    """The revisions of a key's elements rise, and a read shows those up to its own."""
    transactions = found.transactions
    known: list[tuple[int, int]] = []  # the place in the list, and the revision
    for place, element in enumerate(order):
        number = found.writer.get(element, -1)
        if number < 0 or not (revision := transactions[number].revision):
            continue
        if known and revision < known[-1][1]:
            yield f"order: {transactions[number]} stands in {key} behind @{known[-1][1]}"
        known.append((place, revision))
    places = [place for place, _ in known]
    for read in found.reads[key]:
        one = transactions[read.by]
        if not one.revision:
            continue
        after = bisect_right(places, len(read.seen) - 1)
        last = known[after - 1][1] if after else 0
        if last >= one.revision + one.is_read:
            yield f"early: {one} read of {key} what came @{last}"
        upper = known[after][1] if after < len(known) else None
        if upper is not None and upper < one.revision + one.is_read:
            yield f"missed: {one} did not read of {key} what came @{upper}"


def _against_time(found: Inferred) -> Iterator[str]:
    """What ended before something else began comes before it."""
    moments: list[tuple[float, int, int]] = []
    for number in found.happened:
        one = found.transactions[number]
        if one.outcome == "ok" and one.ended is not None and one.revision:
            moments += [(one.began, 0, number), (one.ended, 1, number)]
    newest, newest_of = 0, -1
    for _, ends, number in sorted(moments):
        one = found.transactions[number]
        if ends:
            if one.revision > newest:
                newest, newest_of = one.revision, number
        elif newest >= one.revision + one.is_read:
            before = found.transactions[newest_of]
            yield f"real time: {one} began after {before} had ended"
