"""The witness check of registers: the cluster says in which order it did everything, and
is held to that.

Every answer carries its revision: a mutation's own place in the one order of all commands,
and for a read the place that it reflects. So no order needs to be searched for. Sorted by
revision (at one revision the command first, then the reads, in the order in which they
began) the operations are done one by one on plain registers, and

- no two commands share a revision;
- each step is the one after the step before it, and a cas happened at the step that it
  expected;
- each read says what the registers hold at its revision;
- what ended before something else began has no higher revision than that, and a lower one
  if the other is a command.

Two answers come without a revision: a cas that did not swap, and a read of what nobody has
written yet. Each is given the first revision at which the register was at the step that was
told and which passes nothing that ended before, and has to fit there.

Passing *is* a linearization, not a sign of one: the four points say that the sorted
sequence is legal for the registers' sequential specification and keeps the order of real
time, which is the definition (Herlihy and Wing, 1990, section 2). It takes a sort and two
passes, O(n log n), where the search without revisions is NP-complete (Gibbons and Korach,
1997). What it cannot see is a cluster that lies about revisions consistently with its
answers: such answers are right.

Operations with unknown outcomes are looked up in the committed log first: one that is
there happened, at its place; one that is not there never did. A stale read has to be right
for its revision, and may be as old as it likes; but at one member, whoever asks, it never
goes back in real time, and what it showed was committed, so that nothing linearizable that
began later is older. The member that was asked has to be the one that answered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from jepsen_like.checkers.history import Operation
from jepsen_like.checkers.linear import as_operation, by_keys, words
from jepsen_like.checkers.resolve import Resolution, Resolved, key_of, resolve
from jepsen_like.checkers.verdicts import VIOLATIONS_MAX, around, verdict
from jepsen_like.history import NEMESIS, Pair
from jepsen_like.protocols import Record, Verdict, Violation

Kind = Literal["write", "read", "stale-read", "refusal"]
KINDS: Final[tuple[Kind, ...]] = ("write", "read", "stale-read", "refusal")
State = tuple[int, Any]  # steps made, and the id of who made the newest
NOTHING: Final[State] = (0, None)


class Placed(NamedTuple):
    """An operation that happened, at its revision, or at none yet (zero).

    `state` is what a read answered, and what a write left; a refusal, which is a cas that
    did not swap, has the step that it was told of. `ended` is None if nobody was told."""

    pair: Pair
    kind: Kind
    key: str
    revision: int
    state: State
    expected: int | None
    began: float
    ended: float | None

    def __str__(self) -> str:
        asked, end = self.pair.invoke, self.pair.completion
        who = f"{asked.f} {self.state[1]}" if self.kind == "write" else asked.f
        place = f" @{self.revision}" if self.revision else ""
        node = f" at {end.node}" if end is not None and end.node else ""
        by = f"process {asked.process}{node}, event {asked.index}"
        return f"{who} of key {self.key} ({by}){place}"


class Wrong(NamedTuple):
    """Something that is wrong, and the operation that it is wrong with."""

    text: str
    at: Placed | None = None


@dataclass(slots=True)
class _Key:
    """What one register held from which revision on."""

    revisions: list[int] = field(default_factory=lambda: [0])
    states: list[State] = field(default_factory=lambda: [NOTHING])

    def at(self, revision: int) -> State:
        """What it held at a revision."""
        return self.states[bisect_right(self.revisions, revision) - 1]

    def span(self, step: int) -> tuple[int, int | None] | None:
        """From which revision on the register was at a step, and at which it was no
        longer; None if it never was."""
        place = bisect_right(self.states, step, key=lambda state: state[0]) - 1
        if self.states[place][0] != step:
            return None
        after = self.revisions[place + 1 : place + 2]
        return self.revisions[place], after[0] if after else None


def check(record: Record, workload: str = "register") -> Verdict:
    """Whether the revisions are a linearization of all that was answered."""
    resolution = resolve(record, workload)
    placed, wrong = _placed(resolution)
    registers: Mapping[str, _Key] = {}
    if resolution.whole:
        registers, broken = _replay(placed)
        wrong += broken
        wrong += _reads(placed, registers)
    else:  # the order can be judged, but not what the registers held
        placed = [one for one in placed if one.revision]
    wrong += _real_time(placed, registers)
    wrong += _stale_order(placed, registers, rebuilds(record))
    wrong += _elsewhere(placed)
    count: dict[str, int] = {kind: sum(one.kind == kind for one in placed) for kind in KINDS}
    return verdict(
        f"{workload}:witness",
        f"the revisions are a linearization of {len(placed)} operations "
        f"({', '.join(f'{number} {kind}' for kind, number in count.items())})",
        wrong=[*resolution.complaints, *(one.text for one in wrong)],
        unsure=_unsure(resolution, placed),
        figures={"operations": len(placed), **count, **resolution.figures()},
        violations=_violations(workload, resolution, wrong),
    )


def _unsure(resolution: Resolution, placed: Sequence[Placed]) -> list[str]:
    unsure = [resolution.unread] if resolution.unread else []
    if not placed:
        unsure.append("there is no operation to judge")
    return unsure


# --- which operations happened, and where ----------------------------------------


def _placed(resolution: Resolution) -> tuple[list[Placed], list[Wrong]]:
    """Every operation that happened, in the order in which they began."""
    placed: list[Placed] = []
    wrong: list[Wrong] = []
    for pair in resolution.pairs:
        one = _place(pair, resolution.of(pair))
        if one is None:
            continue
        if one.revision <= 0 and one.kind != "refusal" and one.state != NOTHING:
            wrong.append(Wrong(f"unplaced: {one} was answered without a revision", one))
        else:
            placed.append(one)
    return placed, wrong


def _place(pair: Pair, became: Resolved | None) -> Placed | None:
    """One operation at its place; None if it never happened, or nobody can know."""
    asked, end = pair
    step, value, result = words(pair)  # and so refuses what is no operation of a register
    if end is not None and end.type == "ok":
        at, expected = end.revision, None
        kind: Kind = "read" if asked.f == "read" else "stale-read"
        if step == "step":
            identity, expected = value
            kind, at = ("write", at) if result[0] else ("refusal", 0)
            result = (result[1], identity)
        return Placed(pair, kind, asked.key, at, result, expected, asked.time, end.time)
    unknown = end is None or end.type == "info"
    if unknown and became is not None and became.stored is not None:
        stored = became.stored
        state, at, key = (stored.step, value[0]), stored.revision, key_of(stored)
        return Placed(pair, "write", key, at, state, value[1], asked.time, None)
    return None


# --- replay --------------------------------------------------------------------


def _replay(placed: Sequence[Placed]) -> tuple[Mapping[str, _Key], list[Wrong]]:
    """Do all writes in the order of their revisions."""
    registers: dict[str, _Key] = {one.key: _Key() for one in placed}
    wrong: list[Wrong] = []
    last: Placed | None = None
    writes = (one for one in placed if one.kind == "write")
    for one in sorted(writes, key=lambda one: one.revision):
        if last is not None and last.revision == one.revision:
            wrong.append(Wrong(f"shared revision: {last}; {one}", one))
        last = one
        register = registers[one.key]
        made, writer = register.states[-1]
        if one.expected is not None and one.expected != made:
            wrong.append(
                Wrong(f"wrong expected: {one} expected step {one.expected}, not {made}", one)
            )
        if one.state[0] != made + 1:
            after = f"step {made} of {writer}"
            wrong.append(Wrong(f"wrong step: {one} is step {one.state[0]} after {after}", one))
        if one.state[0] > made:
            register.revisions.append(one.revision)
            register.states.append(one.state)
    return registers, wrong


def _reads(placed: Sequence[Placed], registers: Mapping[str, _Key]) -> Iterator[Wrong]:
    """Each read against the replay at its revision."""
    for one in placed:
        if one.kind in ("read", "stale-read") and one.revision:
            held = registers[one.key].at(one.revision)
            if held != one.state:
                yield Wrong(
                    f"wrong read: {one} answered {_shown(one.state)}; the register held "
                    f"{_shown(held)}{_where(registers[one.key], one.state)}",
                    one,
                )


def _shown(state: State) -> str:
    return f"step {state[0]} of {state[1]}"


def _where(register: _Key, state: State) -> str:
    """Where a state stood that was read at another place."""
    if state not in register.states:
        return ", and the answer at no time"
    first = register.revisions[register.states.index(state)]
    return f", and the answer from @{first}"


# --- real time -----------------------------------------------------------------


def _real_time(placed: Sequence[Placed], registers: Mapping[str, _Key]) -> Iterator[Wrong]:
    """What ended before something else began comes before it: one pass over all moments,
    with the highest revision among what has ended. At one moment what begins goes first:
    operations that touch overlap."""
    moments: list[tuple[float, int, int]] = []
    for number, one in enumerate(placed):
        moments.append((one.began, 0, number))
        if one.ended is not None:
            moments.append((one.ended, 1, number))
    moments.sort()
    revisions = [one.revision for one in placed]
    newest, newest_of = 0, -1
    for _, ends, number in moments:
        if ends:
            if revisions[number] > newest:
                newest, newest_of = revisions[number], number
            continue
        one = placed[number]
        if one.kind == "stale-read":
            continue
        if not one.revision:
            revisions[number], wrong = _fit(one, registers[one.key], newest)
            if wrong:
                yield Wrong(wrong, one)
        elif _too_old(one, newest):
            before = placed[newest_of]
            yield Wrong(
                f"{_name(one, before)}: {one} began after there had ended {before}", one
            )


def _too_old(one: Placed, newest: int) -> bool:
    """Whether an operation that begins now would be before what has ended."""
    return one.revision <= newest if one.kind == "write" else one.revision < newest


def _name(one: Placed, before: Placed) -> str:
    if before.kind == "stale-read":
        return "dirty stale read"
    return "stale read" if one.kind == "read" else "order"


def _fit(one: Placed, register: _Key, newest: int) -> tuple[int, str]:
    """The first revision, from `newest` on, at which an operation could be answered as it
    was, if there is any. The first is the best: it leaves most room to what begins later."""
    step = one.state[0]
    what = f"{one} was told of step {step}"
    if step == one.expected:
        return newest, f"wrong refusal: {what}, which is what it expected"
    span = register.span(step)
    if span is None:
        return newest, f"wrong {_WORDS[one.kind]}: {what}, which never was"
    first, after = span
    if after is not None and after <= newest:
        over = f"which was over @{after}; something @{newest} had ended before"
        return newest, f"stale {_WORDS[one.kind]}: {what}, {over}"
    return max(first, newest), ""


_WORDS: Final[Mapping[Kind, str]] = {
    "write": "write",
    "read": "read",
    "stale-read": "order of stale reads",
    "refusal": "refusal",
}


def rebuilds(record: Record) -> dict[str, list[float]]:
    """When each member began with less than it had shown: its state was thrown away and is
    made again from the log, of which it first has to hear how much is committed. So it is
    after a loss of power, and wherever a member says that it did not keep its state; what
    was only killed goes on where it was."""
    lost_power = [
        event.time
        for event in record.events
        if event.process == NEMESIS and event.f.startswith("power-loss")
    ]
    found = {node: list(lost_power) for node in record.nodes}
    for one in record.samples:
        if one.answered and not one.state_found.startswith("kept"):
            found.setdefault(one.node, []).append(one.started)
    return {node: sorted(times) for node, times in found.items()}


def _stale_order(
    placed: Sequence[Placed],
    registers: Mapping[str, _Key],
    rebuilt: Mapping[str, Sequence[float]],
) -> Iterator[Wrong]:
    """A stale read that began after another one at the same member had ended shows no
    less, as long as the member keeps its state: no rebuild lies between the begin of the
    one and the end of the other, which is that as many were over at both."""
    moments: list[tuple[float, int, Placed]] = []
    for one in placed:
        if one.kind == "stale-read" and one.ended is not None:
            moments += [(one.began, 0, one), (one.ended, 1, one)]
    moments.sort(key=lambda moment: moment[:2])
    newest: dict[tuple[str, int], Placed] = {}  # by member and rebuilds
    for _, ends, one in moments:
        node = _answered_by(one)
        times = rebuilt.get(node, ())
        if ends:
            life = node, bisect_left(times, one.began)
            if one.revision and (life not in newest or newest[life].revision < one.revision):
                newest[life] = one
            continue
        assert one.ended is not None, "only these have moments"
        before = newest.get((node, bisect_right(times, one.ended)))
        if not one.revision:
            wrong = _fit(one, registers[one.key], before.revision if before else 0)[1]
            if wrong:
                yield Wrong(wrong, one)
        elif before is not None and one.revision < before.revision:
            yield Wrong(f"stale reads go back: {one} came after {before}", one)


def _elsewhere(placed: Sequence[Placed]) -> Iterator[Wrong]:
    """Stale reads that another member answered than the one that was asked. A process asks
    one member for all of them: where it does not say which, it is the first to answer."""
    first: dict[int, str] = {}
    for one in placed:
        if one.kind == "stale-read" and one.pair.completion is not None:
            end = one.pair.completion
            asked = end.value.get("asked") or first.setdefault(end.process, end.node)
            if end.node != asked:
                yield Wrong(f"answered elsewhere: {one}, and {asked} was asked", one)


def _answered_by(one: Placed) -> str:
    return "" if one.pair.completion is None else one.pair.completion.node


# --- for the report --------------------------------------------------------------


def _violations(
    workload: str, resolution: Resolution, wrong: Sequence[Wrong]
) -> Iterator[Violation]:
    """The first ones, to be drawn among the operations of their keys."""
    shown = [one for one in wrong if one.at is not None][:VIOLATIONS_MAX]
    if not shown:
        return
    made: dict[int, Operation] = {
        pair.invoke.index: as_operation(pair) for pair in resolution.pairs
    }
    by_key = by_keys(made.values())
    for text, at in shown:
        assert at is not None, "only these are shown"
        stuck = made[at.pair.invoke.index]
        yield around(workload, stuck.key, text, by_key[stuck.key], stuck)
