"""Whom a fault hits. It is named by intent when it is drawn, and found when it begins."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Final

from jepsen_like.protocols import Control, Window

_BITS: Final = 32
_LEADER_S: Final = 2.0
_LOOK_S: Final = 0.1
_NOBODY_LED: Final = "nobody led"


@dataclass(frozen=True, slots=True)
class Aim:
    """The members in a drawn order; who leads, or was drawn in the leader's place; and
    what was not as wished."""

    nodes: tuple[str, ...]
    leader: str
    note: str = ""

    @property
    def others(self) -> tuple[str, ...]:
        """All but the leader."""
        return tuple(node for node in self.nodes if node != self.leader)


def draw(draws: random.Random) -> int:
    """What a fault keeps to draw its targets from later."""
    return draws.getrandbits(_BITS)


async def aim(control: Control, drawn: int) -> Aim:
    """Find the members now. A leader that is just being elected is waited for, a little."""
    nodes = list(control.nodes)
    random.Random(drawn).shuffle(nodes)
    until = time.monotonic() + _LEADER_S
    leader = await control.leader()
    while leader is None and time.monotonic() < until:
        await asyncio.sleep(_LOOK_S)
        leader = await control.leader()
    if leader in nodes:
        return Aim(tuple(nodes), leader)
    note = f"{_NOBODY_LED}: {nodes[0]} was drawn in its place"
    return Aim(tuple(nodes), nodes[0], note)


def missed(window: Window) -> bool:
    """Whether a fault that is named after the leader hit another one, because nobody led."""
    begun = window.begun if isinstance(window.begun, dict) else {}
    note: str = begun.get("note") or ""
    return window.fault.kind.endswith("-leader") and note.startswith(_NOBODY_LED)


def majority(count: int) -> int:
    """How many of so many members decide."""
    return count // 2 + 1


def minority(count: int) -> int:
    """How many of so many members can be missed; of one or two, none: then one."""
    return max(1, (count - 1) // 2)
