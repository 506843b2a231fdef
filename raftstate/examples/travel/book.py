"""A service's own book: what it was asked, and what came of it.

The book knows nothing of the store. It takes each idempotency key once: asked to book
under a key again it answers as before, and once a key was cancelled it is refused for
good, also where nothing was ever booked under it. That mark is the tombstone.

Every answer is an entry, sealed over the entry before; `bookings` is what follows from
the entries, and what the service goes by. Times are CLOCK_MONOTONIC in nanoseconds,
which is one clock for all processes of a machine: entries of different books compare.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Row = dict[str, Any]

# What an entry says was done.
BOOKED: Final = "booked"  # in effect
REPEATED: Final = "repeated"  # the key is booked: nothing done, answered as before
REFUSED: Final = "refused"  # the key was cancelled: nothing done
CANCELLED: Final = "cancelled"  # in effect
TOMBSTONE: Final = "tombstone"  # nothing was booked under the key, and nothing will be
GONE: Final = "gone"  # cancelled before: nothing done, answered as before
FAILED: Final = "failed"  # an injected failure: nothing done

# What each of them makes of a key's state; a state that is not named here cannot be.
MOVES: Final[dict[str, dict[str, str]]] = {
    BOOKED: {"": BOOKED},
    REPEATED: {BOOKED: BOOKED},
    REFUSED: {CANCELLED: CANCELLED, TOMBSTONE: TOMBSTONE},
    CANCELLED: {BOOKED: CANCELLED},
    TOMBSTONE: {"": TOMBSTONE},
    GONE: {CANCELLED: CANCELLED, TOMBSTONE: TOMBSTONE},
    FAILED: {state: state for state in ("", BOOKED, CANCELLED, TOMBSTONE)},
}

_ENTRY = ("n", "at_ns", "what", "key", "trip", "caller", "pid", "request")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    n INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, what TEXT NOT NULL, key TEXT NOT NULL,
    trip INTEGER NOT NULL, caller TEXT NOT NULL, pid INTEGER NOT NULL,
    request TEXT NOT NULL, seal TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS bookings (
    key TEXT PRIMARY KEY, trip INTEGER NOT NULL, state TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: for which key, by whom, and under which name for this attempt."""

    key: str
    trip: int
    caller: str
    pid: int
    request: str


def entry_seal(previous: str, entry: Row) -> str:
    """The seal of an entry, over all of it and the seal of the entry before."""
    body = json.dumps([previous, *(entry[name] for name in _ENTRY)])
    return hashlib.blake2b(body.encode(), digest_size=8).hexdigest()


class Book:
    """One service's book, in a SQLite file. Safe for threads: one request at a time."""

    def __init__(self, path: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(_SCHEMA)

    def book(self, asked: Asked) -> str:
        """Book, once a key: BOOKED, REPEATED or REFUSED."""
        return self._enter(asked, {"": BOOKED, BOOKED: REPEATED}, otherwise=REFUSED)

    def cancel(self, asked: Asked) -> str:
        """Undo, and leave a tombstone: CANCELLED, TOMBSTONE or GONE."""
        return self._enter(asked, {"": TOMBSTONE, BOOKED: CANCELLED}, otherwise=GONE)

    def fail(self, asked: Asked) -> str:
        """Do nothing, and say so."""
        return self._enter(asked, {}, otherwise=FAILED)

    def state(self, key: str) -> str:
        """BOOKED, CANCELLED, TOMBSTONE, or empty: nobody has heard of the key."""
        with self._lock:
            return self._state(key)

    def live(self) -> list[Row]:
        """What is booked now."""
        with self._lock:
            found = self._db.execute(
                "SELECT key, trip FROM bookings WHERE state = ? ORDER BY trip, key", (BOOKED,)
            )
            return [{"key": key, "trip": trip} for key, trip in found]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _enter(self, asked: Asked, by_state: dict[str, str], *, otherwise: str) -> str:
        """Decide by the key's state and write it down, as one transaction."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                what = by_state.get(before := self._state(asked.key), otherwise)
                self._write(asked, what, MOVES[what][before])
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return what

    def _write(self, asked: Asked, what: str, state: str) -> None:
        last = self._db.execute("SELECT n, seal FROM entries ORDER BY n DESC LIMIT 1")
        number, seal = last.fetchone() or (0, "")
        entry: Row = {
            "n": number + 1,
            "at_ns": self._clock(),
            "what": what,
            "key": asked.key,
            "trip": asked.trip,
            "caller": asked.caller,
            "pid": asked.pid,
            "request": asked.request,
        }
        values = (*(entry[name] for name in _ENTRY), entry_seal(seal, entry))
        self._db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        if state:
            self._db.execute(
                "INSERT INTO bookings VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET state = excluded.state",
                (asked.key, asked.trip, state),
            )

    def _state(self, key: str) -> str:
        found = self._db.execute("SELECT state FROM bookings WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else ""


# --- reading somebody's book -------------------------------------------------------


@dataclass(slots=True)
class Read:
    """A book as it was found."""

    entries: list[Row]
    bookings: dict[str, Row]

    def of(self, *kinds: str) -> list[Row]:
        """The entries that say one of these."""
        return [entry for entry in self.entries if entry["what"] in kinds]


def read_book(path: Path) -> Read:
    """All that a book holds; the file is opened for reading only.

    Raises sqlite3.Error if it is no book.
    """
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        db.row_factory = sqlite3.Row
        entries = [dict(row) for row in db.execute("SELECT * FROM entries ORDER BY n")]
        bookings = {
            row["key"]: dict(row) for row in db.execute("SELECT * FROM bookings ORDER BY key")
        }
    finally:
        db.close()
    return Read(entries, bookings)


def copy_book(source: Path, target: Path) -> None:
    """A copy that is one file, whatever the source keeps beside itself."""
    with sqlite3.connect(source) as one, sqlite3.connect(target) as other:
        one.backup(other)
    one.close()
    other.close()


def complaints(name: str, book: Read) -> list[str]:
    """What is wrong with a book in itself."""
    wrong = []
    seal, at_ns = "", 0
    states: dict[str, Row] = {}
    for number, entry in enumerate(book.entries, 1):
        where = f"the {name}'s book, entry {number}"
        if entry["n"] != number:
            wrong.append(f"{where}: says that it is entry {entry['n']}")
        if entry["seal"] != entry_seal(seal, entry):
            wrong.append(f"{where}: the seal is broken")
        if entry["at_ns"] <= at_ns:
            wrong.append(f"{where}: time runs backwards")
        seal, at_ns = entry["seal"], entry["at_ns"]
        known = states.get(entry["key"])
        before = known["state"] if known else ""
        after = MOVES.get(entry["what"], {}).get(before)
        if after is None:
            wrong.append(f"{where}: {entry['what']} where the key was {before or 'unknown'}")
            continue
        if known and known["trip"] != entry["trip"]:
            wrong.append(f"{where}: the key is of trip {known['trip']}, not {entry['trip']}")
        if after:
            states[entry["key"]] = {"key": entry["key"], "trip": entry["trip"], "state": after}
    if states != book.bookings:
        wrong.append(f"the {name}'s book: its bookings do not follow from its entries")
    return wrong
