"""The outside world: a bank, which pays whatever it is told to, as often as it is told.

Its books are a file of JSON lines, in a folder that all processes see. A payment can be
held up after it was made and before it is answered, which is when a caller that is killed
leaves the most doubt.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, Final

# Nobody waits longer for an answer.
HOLD_S: Final = 60.0
_POLL_S: Final = 0.01


class Bank:
    """The bank whose books are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.books = folder / "bank.jsonl"
        self._held = folder / "held"

    def pay(self, key: str, bill: str, cents: int) -> str:
        """Pay, and give a reference. Twice is twice: it does not look at the key."""
        payment = {"key": key, "bill": bill, "cents": cents, "reference": f"paid-{bill}"}
        with self.books.open("a") as books:
            fcntl.flock(books, fcntl.LOCK_EX)
            books.write(json.dumps(payment) + "\n")
            books.flush()
            os.fsync(books.fileno())
        until = time.monotonic() + HOLD_S
        while self._holds(bill) and time.monotonic() < until:
            time.sleep(_POLL_S)
        return f"paid-{bill}"

    def payments(self) -> list[dict[str, Any]]:
        """All that was paid, in order."""
        if not self.books.exists():
            return []
        lines = self.books.read_text().split("\n")[:-1]  # what is being written has no end
        return [json.loads(line) for line in lines]

    def find(self, key: str) -> str | None:
        """The reference of the payment with a key, if there is one."""
        for payment in self.payments():
            if payment["key"] == key:
                reference: str = payment["reference"]
                return reference
        return None

    def hold(self, bill: str) -> None:
        """From now on, do not answer for this bill; it is paid nevertheless."""
        self._held.write_text(bill)

    def release(self) -> None:
        """Answer again."""
        self._held.unlink(missing_ok=True)

    def _holds(self, bill: str) -> bool:
        try:
            return self._held.read_text() == bill
        except FileNotFoundError:
            return False
