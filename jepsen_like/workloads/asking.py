"""Final questions: each is asked until it is answered, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from jepsen_like.history import Event
from jepsen_like.protocols import PENDING, Context, Generator, Op, Pending

TRIES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class AskAll:
    """These operations, by whichever threads are free; one that did not end well is done
    again, up to `TRIES_MAX` times. Over when all are."""

    ops: tuple[Op, ...]
    # The operations by their places in `ops`: those to be done next, how often each was
    # tried, and which one each thread is at.
    left: tuple[int, ...]
    tried: Mapping[int, int] = field(default_factory=dict)
    under_way: Mapping[str, int] = field(default_factory=dict)

    def op(self, context: Context) -> tuple[Op, Generator] | Pending | None:
        """The first one left, if any thread is free."""
        if not self.left:
            return PENDING if self.under_way else None
        if not context.free:
            return PENDING
        thread, place = min(context.free), self.left[0]
        under_way = {**self.under_way, thread: place}
        after = replace(self, left=self.left[1:], under_way=under_way)
        return replace(self.ops[place], thread=thread), after

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        """Put one back that failed, or that nobody knows the answer to."""
        if event.type == "invoke" or thread not in self.under_way:
            return self
        place = self.under_way[thread]
        under_way = {who: at for who, at in self.under_way.items() if who != thread}
        tries = self.tried.get(place, 0) + 1
        if event.type == "ok" or tries >= TRIES_MAX:
            return replace(self, under_way=under_way)
        return replace(
            self,
            left=(*self.left, place),
            tried={**self.tried, place: tries},
            under_way=under_way,
        )


def ask_all(*ops: Op) -> AskAll:
    """All of these, until each is answered."""
    return AskAll(ops, tuple(range(len(ops))))
