"""The independent check of registers: is there any order that explains the answers?

The witness check believes the revisions that the cluster put on its answers. This one
does not see them: it hands every key's reads and steps to the search of `register`, with
nothing but what was asked, what was answered, and when. From the committed log it takes
one thing, which operations with unknown outcomes never happened, so that the search need
not try them. Stale reads are no part of it: they promise less.

The search is exponential at worst, so it has a time limit. Keys are taken in an order
drawn from the seed; those that no time is left for make the verdict one on a sample, and
it says so. A key whose search was begun and cut short is `unknown`, and so is the verdict.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from jepsen_like.checkers import register
from jepsen_like.checkers.history import MalformedHistory, Operation
from jepsen_like.checkers.resolve import Resolution, resolve
from jepsen_like.checkers.verdicts import around, verdict
from jepsen_like.history import Pair, operation
from jepsen_like.protocols import Record, Verdict, Violation

BEGINNING: Final = (0, None)  # what a register holds before its first step
READS: Final = ("read", "stale-read")
WRITES: Final = ("cas", "write")
_KEY_SECONDS_MIN: Final = 0.5  # with less left than that no further key is begun


def check(record: Record, workload: str = "register", seconds_max: float = 30.0) -> Verdict:
    """Search for an order of each key's operations, for so many seconds in all."""
    deadline = time.monotonic() + seconds_max
    by_key = by_keys(operations(resolve(record, workload)))
    keys = sorted(by_key)
    random.Random(record.seed).shuffle(keys)
    found: list[register.Verdict] = []
    for key in keys:
        left = deadline - time.monotonic()
        if found and left < _KEY_SECONDS_MIN:
            break
        found += register.check(by_key[key], initial={key: BEGINNING}, seconds_max=left)
    return _verdict(workload, by_key, found)


def _verdict(
    workload: str, by_key: dict[str, list[Operation]], found: Sequence[register.Verdict]
) -> Verdict:
    """One verdict on all keys that were searched."""
    wrong = [one for one in found if one.finding == "illegal"]
    cut = [one for one in found if one.finding == "unknown"]
    total = sum(len(operations) for operations in by_key.values())
    judged = sum(one.operations for one in found)
    which = "all" if len(found) == len(by_key) else f"a sample of {len(found)}"
    return verdict(
        f"{workload}:linear",
        f"linearizable, revisions hidden: {judged} of {total} operations "
        f"on {which} of {len(by_key)} keys",
        wrong=[f"not linearizable: key {_told(one)}" for one in wrong],
        unsure=[f"the search was cut short: key {_told(one)}" for one in cut]
        + ([] if total else ["there is no operation to judge"]),
        figures={
            "keys": len(by_key),
            "keys_judged": len(found) - len(cut),
            "operations": total,
            "operations_judged": judged,
            "steps": sum(one.steps for one in found),
        },
        violations=(_violation(workload, by_key[one.key], one) for one in wrong),
    )


def _told(found: register.Verdict) -> str:
    return (
        f"{found.key}: the longest explanation holds {len(found.longest)} of "
        f"{found.operations} operations, then there is no place for {found.stuck}"
    )


def _violation(
    workload: str, operations: Sequence[Operation], found: register.Verdict
) -> Violation:
    text = f"not linearizable: there is no place for {found.stuck}"
    return around(workload, found.key, text, operations, found.stuck, found.longest)


# --- a history of registers ----------------------------------------------------


def operations(resolution: Resolution) -> list[Operation]:
    """A workload's reads and steps in the words of `register`, without stale reads and
    without what never happened. Raises MalformedHistory for any other operation."""
    return [
        as_operation(pair)
        for pair in resolution.pairs
        if pair.invoke.f != "stale-read" and not _never_happened(resolution, pair)
    ]


def by_keys(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """Operations by their key, in the order in which they began."""
    by_key: dict[str, list[Operation]] = {}
    for one in operations:
        by_key.setdefault(one.key, []).append(one)
    return by_key


def _never_happened(resolution: Resolution, pair: Pair) -> bool:
    """Whether an operation with an unknown outcome is known to have left nothing."""
    if pair.outcome != "info" or not resolution.whole:
        return False
    became = resolution.of(pair)
    return became is not None and became.stored is None


def as_operation(pair: Pair) -> Operation:
    """One operation of the register workload in the words of `register`."""
    return operation(pair, *words(pair))


def words(pair: Pair) -> tuple[str, Any, Any]:
    """Its kind, value and result there. Raises MalformedHistory if a register does not
    know it."""
    asked, end = pair
    ok = end is not None and end.type == "ok"
    told: Any = end.value if ok and end is not None else None
    try:
        if asked.f in READS:
            return "read", None, (told["step"], told["id"]) if ok else None
        if asked.f in WRITES:
            expected = asked.value["expected"] if asked.f == "cas" else None
            swapped = ok and (asked.f == "write" or told["swapped"])
            result = (swapped, told["step"]) if ok else None
            return "step", (asked.value["id"], expected), result
    except (KeyError, TypeError) as error:
        raise MalformedHistory(f"no operation of a register: {asked}: {told}") from error
    raise MalformedHistory(f"a register does not know {asked.f!r}: {asked}")
