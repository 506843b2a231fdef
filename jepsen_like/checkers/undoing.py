"""Effects and what was undone of them: the ledger against the books of the outside.

Once in effect    what the outside did under one key it did once, and undid at most once,
                  under one key of its own; it was never told to undo what was not there
Ledger and books  an effect that the ledger calls done was done, and is not undone; one that
                  it calls compensated is as good as never done, and can never be done any
                  more; one that failed before its effect, or was found not done, was not
No orphan         nothing was done outside that the ledger does not know
Nothing stuck     at the end no effect is open, and no plan has an item that is
Order             what one plan undid it undid in the order of its items, one after another,
                  and that is the reverse of the order in which the outside did it
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from jepsen_like.outside import Entry

DONE: Final = frozenset({"COMMITTED", "RECONCILED_DONE"})
NOT_DONE: Final = frozenset({"FAILED_BEFORE_EFFECT", "RECONCILED_NOT_DONE"})
OPEN: Final = frozenset({"PREPARED", "DISPATCHED", "UNKNOWN"})
SETTLED_ITEMS: Final = frozenset({"COMPENSATED", "NOT_NEEDED", "WAIVED", "MOVED"})


@dataclass(frozen=True, slots=True)
class Effect:
    """What the ledger says of an effect at the end: its state without the enum's prefix,
    RECONCILED with what was found. `escalated`: it is open, and a person was told."""

    agent: str
    effect_id: str
    key: str
    state: str
    escalated: bool = False
    reads: bool = False  # it changes nothing outside
    pending: bool = False  # somebody may be undoing it


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a plan of compensations, at the end."""

    plan: str
    position: int
    key: str  # of the effect
    state: str


def check(
    journal: Sequence[Entry],
    effects: Iterable[Effect],
    items: Iterable[Item],
    *,
    reverse: bool = True,
    over: bool = True,
) -> list[str]:
    """What is wrong, in words. Without `reverse`, what was done at once may be undone in
    any order of the plan's own; and if it is not `over`, something may be open still."""
    known = {effect.key: effect for effect in effects}
    plans: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        plans[item.plan].append(item)
    found = [*_once(journal), *_ledger(journal, known)]
    if over:
        found += _open(known.values())
    for name in sorted(plans):
        plan = sorted(plans[name], key=lambda one: one.position)
        found += [*_turns(name, plan, over), *_order(name, journal, plan, reverse)]
    return found


def late(journal: Iterable[Entry]) -> int:
    """How many originals came too late, and were refused."""
    return sum(entry.do == "act" and entry.said == "refused" for entry in journal)


def _once(journal: Iterable[Entry]) -> Iterator[str]:
    done: Counter[str] = Counter()
    undone: Counter[str] = Counter()
    under: dict[str, set[str]] = defaultdict(set)
    for entry in journal:
        done[entry.key] += entry.do == "act" and entry.said == "done"
        undone[entry.key] += entry.do == "undo" and entry.said == "undone"
        if entry.do == "undo":
            under[entry.key].add(entry.under)
        if entry.said == "missing":
            yield f"{entry.key}: {entry.by} undid what was not there"
    for key, count in done.items():
        if count > 1:
            yield f"{key}: done {count} times outside"
    for key, count in undone.items():
        if count > 1:
            yield f"{key}: undone {count} times outside"
    for key, names in under.items():
        if len(names) > 1:
            yield f"{key}: undone under {len(names)} keys: {sorted(names)[:3]}"


def _ledger(journal: Sequence[Entry], known: dict[str, Effect]) -> Iterator[str]:
    done = {entry.key for entry in journal if entry.do == "act" and entry.said == "done"}
    undone = {entry.key for entry in journal if entry.do == "undo" and entry.said == "undone"}
    sealed = {entry.key for entry in journal if entry.do == "undo"}
    for key in sorted(done - known.keys()):
        yield f"{key}: done outside, and the ledger knows nothing of it"
    for key, effect in known.items():
        if effect.reads or effect.pending:
            continue
        if effect.state in DONE and (key not in done or key in undone):
            yield f"{key}: {effect.state}, and the outside says otherwise"
        elif effect.state in NOT_DONE and key in done:
            yield f"{key}: {effect.state}, and was done outside"
        elif effect.state == "COMPENSATED" and (key not in sealed or key in done - undone):
            yield f"{key}: COMPENSATED, and is not undone outside"


def _open(effects: Iterable[Effect]) -> Iterator[str]:
    for effect in effects:
        if effect.state in OPEN and not effect.escalated:
            yield f"{effect.key}: still {effect.state}"


def _turns(name: str, items: Sequence[Item], over: bool) -> Iterator[str]:
    """What is settled comes before what is not, and in the end all of it is."""
    left = [item.position for item in items if item.state not in SETTLED_ITEMS]
    if left and over:
        yield f"{name}: items {left[:5]} are not settled"
    passed = [one.position for one in items if left and one.position > left[0]]
    early = [one for one in items if one.position in passed and one.state == "COMPENSATED"]
    if early:
        yield f"{name}: item {early[0].position} is undone, and {left[0]} is not settled"
    positions = [item.position for item in items]
    if positions != list(range(1, len(items) + 1)):
        yield f"{name}: its items are numbered {positions[:8]}"


def _order(
    name: str, journal: Sequence[Entry], items: Sequence[Item], reverse: bool
) -> Iterator[str]:
    """Each undoing began after the one before it was over."""
    first: dict[str, int] = {}
    over: dict[str, int] = {}
    done: dict[str, int] = {}
    for place, entry in enumerate(journal):
        if entry.do == "undo" and entry.plan == name:
            first.setdefault(entry.key, place)
        if entry.do == "undo" and entry.said in ("undone", "tombstone"):
            over[entry.key] = place
        if entry.do == "act" and entry.said == "done":
            done.setdefault(entry.key, place)
    turn = [one for one in items if one.state == "COMPENSATED" and one.key in first]
    for one, other in pairwise(turn):
        if first[other.key] < over.get(one.key, 0):
            yield f"{name}: {other.key} was undone before {one.key}, which comes first"
        if reverse and done.get(one.key, len(journal)) < done.get(other.key, 0):
            yield f"{name}: {one.key} was done first, and undone first"
