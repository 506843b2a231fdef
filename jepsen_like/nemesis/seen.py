"""What the members' own words show of a fault. Pure functions of its samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from jepsen_like.protocols import Sample, Window

# Two answers of one process may differ by so much about when it was started.
SAME_PROCESS_S: Final = 0.75
# A busy machine may leave one question unanswered; nobody was away for that.
_SILENT_QUESTIONS: Final = 2
# A member is back, and in so long the others are connected to it again.
_BACK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Silence:
    """From the last answer before to the first answer after, with nothing in between but
    questions that were not answered."""

    before: Sample
    after: Sample
    questions: int

    @property
    def seconds(self) -> float:
        """How long it lasted at most."""
        return self.after.time - self.before.time


def of(window: Window, node: str) -> list[Sample]:
    """All samples of one member."""
    return [one for one in window.samples if one.node == node]


def during(window: Window, node: str) -> list[Sample]:
    """What a member answered from the fault's beginning to its end."""
    return [
        one
        for one in of(window, node)
        if one.answered and window.began <= one.time <= window.ended
    ]


def before(window: Window, node: str) -> Sample | None:
    """The last answer before the fault."""
    found = [one for one in of(window, node) if one.answered and one.time < window.began]
    return found[-1] if found else None


def restarted(window: Window, node: str) -> tuple[Sample, Sample] | None:
    """The last answer of a member's process, and the first of the one that came after it.
    None unless the old one was gone before the fault ended: a later one may have been the
    end of it then. When the new one is there is a matter of the machine."""
    answers = [one for one in of(window, node) if one.answered]
    old = [
        one
        for one in answers
        if one.time < window.began or one.started < window.began - SAME_PROCESS_S
    ]
    new = [one for one in answers if one.started >= window.began]
    if not old or not new or old[-1].time > window.ended:
        return None
    return old[-1], new[0]


def silence(window: Window, node: str) -> Silence | None:
    """The longest silence of a member that reaches into the fault."""
    found: list[Silence] = []
    last, questions = None, 0
    for one in of(window, node):
        if not one.answered:
            questions += 1
            continue
        reaches = last is not None and last.time < window.ended and one.time > window.began
        if last is not None and reaches and questions:
            found.append(Silence(last, one, questions))
        last, questions = one, 0
    return max(found, key=lambda one: one.seconds, default=None)


def absences(window: Window, node: str) -> list[tuple[float, float]]:
    """When a member was not there: from its last answer to a while after the next one, if
    it left several questions unanswered, or was another process then. Its links are down
    for that alone, and tell nothing of what was done to them."""
    found: list[tuple[float, float]] = []
    last, questions = None, 0
    for one in of(window, node):
        if not one.answered:
            questions += 1
            continue
        anew = last is not None and abs(one.started - last.started) > SAME_PROCESS_S
        if anew or questions >= _SILENT_QUESTIONS:
            found.append((-inf if last is None else last.time, one.time + _BACK_S))
        last, questions = one, 0
    if questions >= _SILENT_QUESTIONS:
        found.append((-inf if last is None else last.time, inf))
    return found


def there(window: Window, nodes: Iterable[str], samples: Iterable[Sample]) -> list[Sample]:
    """Of these samples those of a time when all of these members were there."""
    away = [absence for node in nodes for absence in absences(window, node)]
    return [one for one in samples if not any(gone < one.time < back for gone, back in away)]


def terms(window: Window) -> str:
    """How the term and the leader changed over the fault, for a sentence."""
    inside = [
        one
        for one in window.samples
        if one.answered and window.began <= one.time <= window.ended
    ]
    if not inside:
        return "nobody answered meanwhile"
    low, high = min(one.term for one in inside), max(one.term for one in inside)
    return f"term {low}" if low == high else f"term {low} to {high}"


def leaders(samples: Iterable[Sample]) -> list[Sample]:
    """Of these samples those of members that said that they led."""
    return [one for one in samples if one.answered and one.role == "leader"]


def links(value: Any) -> list[tuple[str, str]]:
    """The links in what a fault's begin answered, as it was or as JSON gave it back."""
    pairs: Sequence[Sequence[str]] = value.get("links", ()) if isinstance(value, dict) else ()
    return [(first, second) for first, second in pairs]


def nodes(value: Any) -> list[str]:
    """The members in what a fault's begin answered."""
    return list(value.get("nodes", ())) if isinstance(value, dict) else []
