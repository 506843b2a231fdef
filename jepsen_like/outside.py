"""The books of an outside world: what was done there under which key, and what was undone.

A call that acts names an idempotency key. What comes of a second call under one key
depends on the way in which that part of the world works:

keyed   it takes each key once, and undoing leaves a tombstone: whoever comes later with
        the key of what was undone is refused
asked   it does whatever it is told to, as often as it is told; but it can be asked whether
        something happened, and what it has said no to it refuses from then on
plain   it does whatever it is told to, and knows nothing else

Everything is kept in order, with what was answered: the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Way = Literal["keyed", "asked", "plain"]
Do = Literal["act", "undo", "ask"]
# What is answered to each: that it was done now, or before; that it never will be. An undo
# also says that there was nothing and never will be, or that there was nothing to undo and
# that it cannot help that.
Said = Literal["done", "again", "refused", "undone", "tombstone", "missing", "not_done"]
CHANGES: Final = frozenset({"done", "undone", "tombstone"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One call, and what was answered. `under` is the key of an undoing itself, `plan` what
    it belongs to, and `by` who called."""

    do: Do
    key: str
    said: Said
    under: str = ""
    plan: str = ""
    by: str = ""
    at: float = 0.0


@dataclass
class _Slot:
    """What stands under one key."""

    done: int = 0
    undone: int = 0
    closed: bool = False
    undoings: set[str] = field(default_factory=set)


@dataclass
class Books:
    """All that was ever asked of the outside."""

    journal: list[Entry] = field(default_factory=list)
    _slots: dict[str, _Slot] = field(default_factory=dict)

    def act(self, key: str, way: Way, by: str = "", at: float = 0.0) -> Said:
        """Do it, unless that is refused or was done."""
        slot = self._slots.setdefault(key, _Slot())
        said: Said = "done"
        if slot.closed:
            said = "refused"
        elif slot.done and way == "keyed":
            said = "again"
        else:
            slot.done += 1
        return self._note(Entry("act", key, said, by=by, at=at))

    def undo(
        self, key: str, way: Way, under: str, plan: str, by: str = "", at: float = 0.0
    ) -> Said:
        """Undo it. The same undoing is made once, however often it is asked for."""
        slot = self._slots.setdefault(key, _Slot())
        said: Said = "undone"
        if under in slot.undoings:
            said = "again"
        elif slot.done > slot.undone:
            slot.undone += 1
            slot.undoings.add(under)
        elif way == "keyed" and not slot.closed:
            said = "tombstone"
            slot.undoings.add(under)
        else:
            said = "missing"
        slot.closed = slot.closed or way == "keyed"
        return self._note(Entry("undo", key, said, under, plan, by, at))

    def ask(self, key: str, by: str = "", at: float = 0.0) -> Said:
        """Whether it was done; if not, it is never done any more."""
        slot = self._slots.setdefault(key, _Slot())
        slot.closed = slot.closed or not slot.done
        return self._note(Entry("ask", key, "done" if slot.done else "not_done", by=by, at=at))

    def _note(self, entry: Entry) -> Said:
        self.journal.append(entry)
        return entry.said

    def note(self) -> dict[str, Any]:
        """The journal, for JSON."""
        return {"journal": [asdict(entry) for entry in self.journal]}


def entry_of(fields: Mapping[str, Any]) -> Entry:
    """An entry as JSON gave it back."""
    return Entry(**fields)
