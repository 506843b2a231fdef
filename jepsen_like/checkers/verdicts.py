"""What verdicts have in common: how they merge, and that nothing passes by accident.

`invalid` outweighs `unknown`, which outweighs `valid`. A checker that breaks has shown
nothing, so its verdict is `unknown`; and so is the verdict on nothing at all.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from jepsen_like.checkers.history import Operation
from jepsen_like.protocols import Validity, Verdict, Violation

COMPLAINTS_MAX: Final = 20  # that one verdict shows
VIOLATIONS_MAX: Final = 8  # that one verdict draws
AROUND: Final = 30  # operations on each side of a violation
_WEIGHT: Final[Mapping[Validity, int]] = {"valid": 0, "unknown": 1, "invalid": 2}


def merge(validities: Iterable[Validity]) -> Validity:
    """The validity of all together; of nothing it is `unknown`."""
    return max(validities, key=_WEIGHT.__getitem__, default="unknown")


def capped(complaints: Iterable[str], most: int = COMPLAINTS_MAX) -> tuple[str, ...]:
    """The first complaints, and how many more there are."""
    complaints = list(complaints)
    more = len(complaints) - most
    return tuple(complaints) if more <= 0 else (*complaints[:most], f"and {more} more")


def verdict(
    name: str,
    summary: str,
    *,
    wrong: Sequence[str] = (),
    unsure: Sequence[str] = (),
    figures: Mapping[str, Any] | None = None,
    violations: Iterable[Violation] = (),
) -> Verdict:
    """A verdict by what speaks against a run: what is `wrong` makes it invalid, what
    leaves the checker `unsure` unknown. Then the summary is the first of these."""
    validity: Validity = "invalid" if wrong else "unknown" if unsure else "valid"
    against = [*wrong, *unsure]
    if against:
        more = f" (and {len(against) - 1} more)" if len(against) > 1 else ""
        summary = f"{against[0]}{more}"
    return Verdict(
        name,
        validity,
        summary,
        capped(against),
        dict(figures or {}),
        tuple(itertools.islice(violations, VIOLATIONS_MAX)),
    )


def guarded(name: str, function: Callable[[], Verdict | Iterable[Verdict]]) -> list[Verdict]:
    """The verdicts of a checker. One that raises has found out nothing: its verdict is
    `unknown`, and names the error."""
    try:
        found = function()
        return [found] if isinstance(found, Verdict) else list(found)
    except Exception as error:  # noqa: BLE001  # Whatever it is, it is told as the verdict.
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"the checker failed: {type(error).__name__}: {error}"
        place = f"in {where.name}, line {where.lineno} of {where.filename.rpartition('/')[2]}"
        return [Verdict(name, "unknown", said, (f"{said} ({place})",))]


def around(
    workload: str,
    key: str,
    text: str,
    operations: Sequence[Operation],
    stuck: Operation | None,
    longest: Sequence[Operation] = (),
) -> Violation:
    """A violation with the operations of its key around the one that has no place. All
    of `operations` are of that key, in the order in which they began; `stuck` and
    `longest` are some of these (the very objects)."""
    place = {id(operation): number for number, operation in enumerate(operations)}
    at = len(operations) - 1 if stuck is None else place[id(stuck)]
    first = max(0, at - AROUND)
    shown = tuple(operations[first : at + AROUND + 1])
    held = (place[id(operation)] - first for operation in longest)
    return Violation(
        workload,
        key,
        text,
        shown,
        tuple(number for number in held if 0 <= number < len(shown)),
        None if stuck is None else at - first,
    )
