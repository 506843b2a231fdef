"""Links that are cut, half open, flaky or slow: which of them, and what that shows.

partition-both      the leader and one other lose each other
partition-one-way   the leader speaks and is not heard, or hears nobody
partition-ring      everybody hears only neighbours
partition-bridge    two halves that meet in one member
partition-leader    the leader alone
partition-half      a majority and the rest
half-open           connections stay, and carry nothing
flaky-links         cut and back, again and again
slow-links          25 to 125 ms late, sometimes with little room
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from statistics import fmean
from typing import Any, Final

from jepsen_like.nemesis import seen, targets
from jepsen_like.protocols import Control, Fault, Sample, Window

Pair = tuple[str, str]

HALF_OPEN, FLAKY, SLOW = "half-open", "flaky-links", "slow-links"
DELAY_S: Final = 0.075
RATE: Final = 200_000
# So much of a fault is over before its effect must show.
_SETTLING_S: Final = 0.7
_STANDS_S: Final = 0.9
_AHEAD_MIN: Final = 2
# What is compared with: so much before and after it, where no other fault is.
_BESIDE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Harm:
    """Links, and what was not as wished."""

    links: tuple[Pair, ...]
    note: str = ""


class Partition:
    """Does to the links between members what its kinds say."""

    name = "partition"
    kinds = (
        *("partition-both", "partition-one-way", "partition-ring", "partition-bridge"),
        *("partition-leader", "partition-half", HALF_OPEN, FLAKY, SLOW),
    )
    needs = frozenset({"links"})

    def __init__(self, control: Control) -> None:
        self._control = control
        self._harmed: dict[str, tuple[Pair, ...]] = {}  # by kind of fault

    def draw(self, kind: str, draws: random.Random) -> Fault:
        """How long, and which way round."""
        args: dict[str, Any] = {"draw": targets.draw(draws)}
        if kind == FLAKY:
            args["every_s"] = round(draws.uniform(0.4, 1.0), 2)
        if kind == SLOW:
            args["bytes_per_s"] = draws.choice((0, RATE))
        return Fault(kind, round(draws.uniform(2.0, 5.0), 2), args)

    async def begin(self, fault: Fault) -> Any:
        """Find the leader, and harm the links."""
        asked, drawn = time.monotonic(), fault.args["draw"]
        aim = await targets.aim(self._control, drawn)
        harm = harm_of(fault.kind, aim, random.Random(f"{drawn}/way"))
        self._harmed[fault.kind] = harm.links
        await self._do(fault, harm.links)
        note = "; ".join(filter(None, (aim.note, harm.note)))
        return {
            "links": [list(one) for one in harm.links],
            "leader": aim.leader,
            "after_s": round(time.monotonic() - asked, 3),
            "note": note,
        }

    async def _do(self, fault: Fault, pairs: Sequence[Pair]) -> None:
        links, args = self._control.links, fault.args
        if not pairs:
            return
        if fault.kind == HALF_OPEN:
            await links.half_open(pairs)
        elif fault.kind == FLAKY:
            await links.flaky(pairs, args["every_s"], args["draw"])
        elif fault.kind == SLOW:
            await links.slow(pairs, DELAY_S, args["bytes_per_s"])
        else:
            await links.cut(pairs)

    async def end(self, fault: Fault) -> Any:
        """The links are as before."""
        await self._mend(fault.kind)
        return {"counts": dict(await self._control.links.counts())}

    async def heal(self) -> None:
        """Mend whatever is still harmed."""
        for kind in list(self._harmed):
            await self._mend(kind)

    async def _mend(self, kind: str) -> None:
        if pairs := self._harmed.get(kind):
            await self._control.links.mend(pairs)
        self._harmed.pop(kind, None)

    def evidence(self, window: Window) -> str | None:
        """Who could not send any more, or could and was not heard. What is said of links
        counts while the members at both ends were there."""
        pairs = seen.links(window.begun)
        if not pairs or targets.missed(window):
            return None
        if window.fault.kind == FLAKY:
            return _flickered(window, pairs)
        if window.fault.kind == HALF_OPEN:
            return _unheard(window, pairs)
        if window.fault.kind == SLOW:
            return _piled_up(window)
        return _parted(window, pairs)


# --- which links ---------------------------------------------------------------------


def harm_of(kind: str, aim: targets.Aim, draws: random.Random) -> Harm:
    """The links that a fault of this kind harms."""
    if len(aim.nodes) < 2:
        return Harm((), "one member has no links")
    leader, others = aim.leader, aim.others
    match kind:
        case "partition-both":
            return Harm(between([leader], others[:1]))
        case "partition-one-way":
            return Harm(tuple(draws.choice(_one_way(leader, others))))
        case "partition-ring":
            return _ring(aim.nodes)
        case "partition-bridge":
            return _bridge(aim.nodes)
        case "partition-leader" | "slow-links":
            return Harm(between([leader], others))
        case "partition-half":
            return _half(aim, leader_in_minority=draws.random() < 0.5)
        case "half-open":
            ways = _one_way(leader, others)
            return Harm(tuple(draws.choice([*ways, *(one[:1] for one in ways)])))
        case "flaky-links":
            everything = tuple(permutations(sorted(aim.nodes), 2))
            return Harm(draws.choice((everything, between([leader], others))))
        case _:
            raise ValueError(f"{kind!r} is no harm to links")


def between(some: Iterable[str], others: Iterable[str]) -> tuple[Pair, ...]:
    """Every link between one of these and one of those, both ways."""
    there = list(product(some, others))
    return (*there, *((second, first) for first, second in there))


def _one_way(leader: str, others: Sequence[str]) -> list[list[Pair]]:
    """Nobody hears the leader; the leader hears nobody."""
    return [[(leader, one) for one in others], [(one, leader) for one in others]]


def _ring(nodes: Sequence[str]) -> Harm:
    """Everybody sees a majority, and no two the same one. Of three all are neighbours: then
    each is heard by one other alone, and no two hear each other."""
    count = len(nodes)
    if count < 4:
        kept = {(nodes[at], nodes[(at + 1) % count]) for at in range(count if count > 2 else 1)}
        note = f"a ring of {count} goes one way round"
    else:
        reach, note = targets.majority(count) // 2, ""
        steps = range(1, reach + 1)
        kept = set()
        for at, step in product(range(count), steps):
            kept |= set(between([nodes[at]], [nodes[(at + step) % count]]))
    return Harm(tuple(pair for pair in permutations(nodes, 2) if pair not in kept), note)


def _bridge(nodes: Sequence[str]) -> Harm:
    if len(nodes) == 2:
        return Harm(between(nodes[:1], nodes[1:]), "two members have no room for a bridge")
    half = (len(nodes) - 1) // 2
    return Harm(between(nodes[1 : 1 + half], nodes[1 + half :]))


def _half(aim: targets.Aim, *, leader_in_minority: bool) -> Harm:
    count = targets.minority(len(aim.nodes))
    first = (aim.leader, *aim.others) if leader_in_minority else aim.others
    few = first[:count]
    return Harm(between(few, [node for node in aim.nodes if node not in few]))


# --- what shows them -------------------------------------------------------------------


def _settled(window: Window) -> float:
    """From when on the effect must show: once the links were harmed, and a little later."""
    return window.began + float(window.begun.get("after_s", 0.0)) + _SETTLING_S


def _looks(window: Window, pair: Pair, since: float = 0.0) -> list[bool]:
    """Whether the sender said that it could send, each time it was asked meanwhile."""
    answers = seen.there(window, pair, seen.during(window, pair[0]))
    return [pair[1] in one.connected for one in answers if one.time >= since]


def _stood(window: Window, pair: Pair) -> bool:
    """Whether the sender could send at some time before or after."""
    outside = (
        one for one in seen.of(window, pair[0]) if not window.began <= one.time <= window.ended
    )
    return any(one.answered and pair[1] in one.connected for one in outside)


def _parted(window: Window, pairs: Sequence[Pair]) -> str | None:
    """Every sender that answered said most of the time that it could not send."""
    down = total = shown = 0
    for pair in pairs:
        looks = _looks(window, pair, _settled(window))
        if len(looks) < 2:
            continue  # one of the two was away
        if sum(looks) * 2 > len(looks):
            return None
        shown += _stood(window, pair)
        down += len(looks) - sum(looks)
        total += len(looks)
    if not shown:
        return None
    return (
        f"senders could not send on {shown} of the {len(pairs)} links in {down} of {total} "
        f"looks, and could before or after; {seen.terms(window)}"
    )


def _flickered(window: Window, pairs: Sequence[Pair]) -> str | None:
    """Links that stood were down, some of the time."""
    down = total = 0
    for pair in pairs:
        if _stood(window, pair):
            looks = _looks(window, pair)
            down += len(looks) - sum(looks)
            total += len(looks)
    if down < 2:
        return None
    return f"links that stood were down in {down} of {total} looks; {seen.terms(window)}"


def _unheard(window: Window, pairs: Sequence[Pair]) -> str | None:
    """The senders said that they could send. And a member at one of these links knew no
    leader, or led no more, or stood still while others went on."""
    looks = [look for pair in pairs for look in _looks(window, pair)]
    if len(looks) < 2 or sum(looks) * 2 <= len(looks):
        return None
    for node in sorted({node for pair in pairs for node in pair}):
        if effect := _lost_touch(window, node):
            up = f"connected in {sum(looks)} of {len(looks)} looks"
            return f"{up}, and yet {effect}; {seen.terms(window)}"
    return None


def _lost_touch(window: Window, node: str) -> str | None:
    answers = seen.there(window, [node], seen.during(window, node))
    # A leader may also be missed, or be deposed, because somebody is away.
    quiet = seen.there(window, window.nodes, answers)
    alone = [one for one in quiet if not one.leader]
    if len(alone) >= 2:
        return f"{node} knew no leader in {len(alone)} of {len(quiet)} looks"
    before = seen.before(window, node)
    led = before is not None and before.role == "leader"
    if led and quiet == answers and answers and answers[-1].role != "leader":
        return f"{node} led no more"
    stood = _stood_still(window, node, answers)
    if stood is not None:
        return f"{node} stood at commit {stood[0]} while others went on to {stood[1]}"
    return None


def _stood_still(
    window: Window, node: str, answers: Sequence[Sample]
) -> tuple[int, int] | None:
    """Where a member's commit index stood for a while, and how far others came meanwhile."""
    runs: dict[int, list[float]] = {}
    for one in answers:
        runs.setdefault(one.commit_index, []).append(one.time)
    for index, times in runs.items():
        if times[-1] - times[0] < _STANDS_S:
            continue
        others = [
            one.commit_index
            for other in window.nodes
            if other != node
            for one in seen.during(window, other)
            if times[0] <= one.time <= times[-1]
        ]
        if others and max(others) > index + _AHEAD_MIN:
            return index, max(others)
    return None


def _left(window: Window, node: str) -> bool:
    """Whether a member was away at some time of the fault."""
    return any(
        gone < window.ended and back > window.began
        for gone, back in seen.absences(window, node)
    )


def _piled_up(window: Window) -> str | None:
    """More entries waited at the leader for the others' word than just before and after;
    and not because a majority was away."""

    def waiting(since: float, until: float) -> list[int]:
        samples = [one for one in window.samples if since <= one.time <= until]
        return [one.last_index - one.commit_index for one in seen.leaders(samples)]

    began, ended = window.began, window.ended
    usual = waiting(began - _BESIDE_S, began)
    usual += waiting(ended + _SETTLING_S, ended + _SETTLING_S + _BESIDE_S)
    slow = waiting(_settled(window), ended)
    whole = [node for node in window.nodes if not _left(window, node)]
    if len(whole) < targets.majority(len(window.nodes)) or len(usual) < 4 or len(slow) < 4:
        return None
    often = sum(count > 0 for count in slow) / len(slow)
    if often < 0.5 or fmean(slow) < max(1.0, 2.5 * fmean(usual)):
        return None
    return (
        f"at the leader {fmean(slow):.1f} entries waited for the others, at {often:.0%} of "
        f"{len(slow)} looks; {fmean(usual):.1f} before and after; {seen.terms(window)}"
    )
