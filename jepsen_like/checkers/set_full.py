"""The set check: what became of every element, as in Jepsen's `set-full`.

Elements are added one by one, each once, and the whole set is read now and then. An
element is *known* from the moment its add was acknowledged, or a read that holds it
ended, whichever is first. Every linearizable read that began later has to hold it:

- `lost` is an element that was known and is missing in the last reads of all nodes, or in
  the committed log;
- `elsewhere` is a last read of one node that another one answered;
- `different` are nodes whose last reads differ, or differ from the committed log;
- `stale` is one that a linearizable read misses though it was known when that read began:
  none may be. How long it stayed hidden is told;
- `resurrected` is one whose add failed for certain, `stranger` one that nobody added;
- `duplicate` is one that a read holds twice;
- `torn` is a read that is not how the committed log begins: it lacks an element though it
  holds a later one, or has them in another order;
- `order` is an add that was acknowledged before another one began, and comes after it;
- `never read` is one whose add was not acknowledged, and that is nowhere: that is allowed.

In the end every node is read by itself, stale, and all have to hold the same elements in
the same order, which are those of the committed log.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.resolve import Resolution, resolve, stored_id, told
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Event, Pair
from jepsen_like.protocols import Record, Verdict


@dataclass(frozen=True, slots=True)
class _Read:
    """One answered read. `node` is the member that was read by itself, or empty."""

    began: float
    ended: float
    elements: tuple[str, ...]
    node: str = ""
    revision: int = 0
    said: str = ""  # who answered
    among: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        who = f"the last read of {self.node}" if self.node else "the read"
        return f"{who} from {self.began:.3f} to {self.ended:.3f}"


@dataclass(frozen=True, slots=True)
class _Element:
    """What became of one element."""

    known: float | None
    missed: float | None  # when the newest linearizable read began that misses it
    seen: bool

    @property
    def hidden(self) -> float | None:
        """For how long it was known and not read; None if it never was."""
        if self.known is None or self.missed is None or self.missed <= self.known:
            return None
        return self.missed - self.known


def check(record: Record, workload: str = "set") -> Verdict:
    """Whether every acknowledged element is there, and always was."""
    resolution = resolve(record, workload)
    adds = {pair.invoke.value["id"]: pair for pair in resolution.pairs if _is_add(pair)}
    reads = [_read(pair) for pair in resolution.pairs if not _is_add(pair) and _answered(pair)]
    online = [read for read in reads if not read.node]
    final = {read.node: read for read in reads if read.node}
    elements = _elements(adds, reads)
    wrong = [
        *resolution.complaints,
        *_lost(adds, elements, final),
        *_stale(elements, online),
        *_impossible(adds, reads),
        *_torn(reads, resolution),
        *_order(adds),
        *_different(final, resolution),
    ]
    figures = {**resolution.figures(), **_figures(adds, elements, online, wrong)}
    return verdict(
        f"{workload}:full",
        f"{figures['stable']} of {len(adds)} elements are on every node, none was lost; "
        f"{len(online)} linearizable reads missed none",
        wrong=wrong,
        unsure=_unsure(record, resolution, adds, final),
        figures=figures,
    )


def _is_add(pair: Pair) -> bool:
    if pair.invoke.f not in ("add", "read", "read-node"):
        raise MalformedHistory(f"a set does not know {pair.invoke}")
    return pair.invoke.f == "add"


def _answered(pair: Pair) -> bool:
    return pair.outcome == "ok"


def _read(pair: Pair) -> _Read:
    """An answered read."""
    end = pair.completion
    assert end is not None, "it was answered"
    try:
        elements = tuple(end.value["ids"])
        node = pair.invoke.value["node"] if pair.invoke.f == "read-node" else ""
    except (KeyError, TypeError) as error:
        raise MalformedHistory(f"no read of a set: {pair.invoke}: {end}") from error
    among = frozenset(elements)
    return _Read(pair.invoke.time, end.time, elements, node, end.revision, end.node, among)


def _elements(adds: Mapping[str, Pair], reads: Sequence[_Read]) -> dict[str, _Element]:
    """What became of every element that somebody added."""
    known: dict[str, float] = {}
    for identity, pair in adds.items():
        if pair.completion is not None and told(pair) == "done":
            known[identity] = pair.completion.time
    for read in sorted(reads, key=lambda read: read.ended):
        for identity in read.among:
            known[identity] = min(read.ended, known.get(identity, read.ended))
    seen = {identity for read in reads for identity in read.among}
    missed: dict[str, float] = {}
    for read in sorted((read for read in reads if not read.node), key=lambda read: read.began):
        missed.update(dict.fromkeys(known.keys() - read.among, read.began))
    return {
        identity: _Element(known.get(identity), missed.get(identity), identity in seen)
        for identity in adds
    }


# --- what can be wrong -----------------------------------------------------------


def _lost(
    adds: Mapping[str, Pair], elements: Mapping[str, _Element], final: Mapping[str, _Read]
) -> Iterator[str]:
    """What was known, and no node holds in the end."""
    held = {identity for read in final.values() for identity in read.among}
    for identity in adds:
        known = elements[identity].known
        if known is not None and final and identity not in held:
            yield f"lost: {identity} was known at {known:.3f}; no node has it in the end"


def _stale(elements: Mapping[str, _Element], online: Sequence[_Read]) -> Iterator[str]:
    """What was known, and a linearizable read that began later does not hold."""
    for identity, element in elements.items():
        if element.hidden is None:
            continue
        first = next(
            read
            for read in sorted(online, key=lambda read: read.began)
            if identity not in read.among and read.began > (element.known or 0.0)
        )
        yield (
            f"stale: {identity} was known at {element.known:.3f}; {first} misses it, "
            f"and it stayed hidden for {element.hidden:.3f} s"
        )


def _impossible(adds: Mapping[str, Pair], reads: Sequence[_Read]) -> Iterator[str]:
    """What no read may hold: an element twice, one that failed, one that nobody added,
    one that was added later."""
    told_of: set[tuple[str, str]] = set()

    def once(name: str, identity: str, why: str) -> Iterator[str]:
        if (name, identity) not in told_of:
            told_of.add((name, identity))
            yield f"{name}: {identity} {why}"

    for read in reads:
        for identity, count in Counter(read.elements).items():
            if count > 1:
                yield from once("duplicate", identity, f"is in {read} {count} times")
            if identity not in adds:
                yield from once("stranger", identity, f"is in {read}; nobody added it")
            elif told(adds[identity]) == "not done":
                yield from once("resurrected", identity, f"is in {read}; its add failed")
            elif adds[identity].invoke.time > read.ended:
                yield from once("early", identity, f"is in {read}; it was added later")


def _torn(reads: Sequence[_Read], resolution: Resolution) -> Iterator[str]:
    """Reads that no moment of the committed log explains: a set grows at its end. What is
    not in the log is told of elsewhere."""
    if not resolution.whole:
        return
    stored = [one.stored for one in resolution.operations.values() if one.stored is not None]
    stored.sort(key=lambda event: event.position)
    log = [(stored_id(event.data) or "", event.revision) for event in stored]
    revisions = dict(log)
    for read in reads:
        held = [one for one in dict.fromkeys(read.elements) if one in revisions]
        for one, (other, _) in zip(held, log, strict=False):
            if one != other:
                yield f"torn: {read} has {one} where the log has {other}"
                break
        if read.revision and held and (newest := revisions[held[-1]]) > read.revision:
            yield f"early: {held[-1]} is in {read} @{read.revision}; it came @{newest}"


def _order(adds: Mapping[str, Pair]) -> Iterator[str]:
    """Acknowledged adds whose revisions are not in the order of real time."""
    done = [pair for pair in adds.values() if told(pair) == "done"]
    ended = deque(sorted((_acknowledged(pair) for pair in done), key=lambda end: end.time))
    newest: Event | None = None
    for pair in sorted(done, key=lambda pair: pair.invoke.time):
        while ended and ended[0].time < pair.invoke.time:
            end = ended.popleft()
            newest = end if newest is None or end.revision > newest.revision else newest
        revision = _acknowledged(pair).revision
        if newest is not None and revision <= newest.revision:
            yield (
                f"order: {pair.invoke.value['id']} is @{revision}, and began after an add"
                f" @{newest.revision} was acknowledged at {newest.time:.3f}"
            )


def _acknowledged(pair: Pair) -> Event:
    assert pair.completion is not None, "it was acknowledged"
    return pair.completion


def _different(final: Mapping[str, _Read], resolution: Resolution) -> Iterator[str]:
    """Nodes that do not hold the same in the end, or not what the log holds."""
    nodes = sorted(final)
    for node in nodes:
        if final[node].said not in ("", node):
            yield f"elsewhere: {final[node]} was answered by {final[node].said}"
    for node in nodes[1:]:
        if final[node].elements != final[nodes[0]].elements:
            yield _difference(node, final[node].elements, nodes[0], final[nodes[0]].elements)
    if nodes and resolution.whole:
        stored = {one.id for one in resolution.operations.values() if one.stored is not None}
        read = final[nodes[0]].among
        if read != stored:
            yield _difference(nodes[0], sorted(read), "the committed log", sorted(stored))


def _difference(one: str, held: Sequence[str], other: str, holds: Sequence[str]) -> str:
    """How two differ, by what only one of them has."""
    more, less = sorted(set(held) - set(holds)), sorted(set(holds) - set(held))
    if not more and not less:
        return f"different: {one} and {other} hold the same elements in another order"
    return (
        f"different: {one} holds {len(held)} elements, {other} {len(holds)}; "
        f"only {one} has {more[:3]}, only {other} has {less[:3]}"
    )


def _unsure(
    record: Record,
    resolution: Resolution,
    adds: Mapping[str, Pair],
    final: Mapping[str, _Read],
) -> list[str]:
    """What was not looked at, without which nothing is shown."""
    unsure = [resolution.unread] if resolution.unread else []
    if not any(told(pair) == "done" for pair in adds.values()):
        unsure.append("no add was acknowledged")
    missing = sorted(set(record.nodes) - final.keys())
    if missing:
        unsure.append(f"there is no last read of {', '.join(missing)}")
    return unsure


# --- figures -------------------------------------------------------------------


def _figures(
    adds: Mapping[str, Pair],
    elements: Mapping[str, _Element],
    online: Sequence[_Read],
    wrong: Sequence[str],
) -> dict[str, Any]:
    """How many elements there are of each fate, and how long known ones stayed hidden."""
    # What is said of one element twice, by the reads and by the log, is one element.
    names = Counter(
        name.rstrip(":") for name, _ in {tuple(text.split(" ", 2)[:2]) for text in wrong}
    )
    hidden = sorted(one.hidden for one in elements.values() if one.hidden is not None)
    return {
        "attempts": len(adds),
        "stable": sum(one.known is not None and one.seen for one in elements.values()),
        "lost": names["lost"],
        "resurrected": names["resurrected"],
        "never_read": sum(not one.seen for one in elements.values()),
        "duplicates": names["duplicate"],
        "strangers": names["stranger"],
        "stale": len(hidden),
        "stale_seconds_max": round(hidden[-1], 6) if hidden else 0.0,
        "reads": len(online),
    }
