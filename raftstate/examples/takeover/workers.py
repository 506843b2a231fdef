"""Workers as a demo has them: processes that are started, heard, waited for and killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")
Line = dict[str, Any]

# A run takes seconds; a part of it that takes this long hangs.
PART_S: Final = 90.0
POLL_S: Final = 0.02


class NotAsPlanned(Exception):
    """Something did not happen, or not in time."""


class Worker:
    """A process that says what happens, one JSON object a line: see `standby`."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self._said = folder / f"{name}.out"
        self._errors = folder / f"{name}.err"
        with self._said.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
            )

    def wait(self, event: str) -> Line:
        """Wait for a line of a kind; the last one. Raises NotAsPlanned."""
        return self.until(lambda: self._last(event), f"it says {event!r}")

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait for something while the process does well. Raises NotAsPlanned."""
        end = time.monotonic() + PART_S
        while (found := condition()) is None:
            status = self._process.poll()
            if status not in (None, 0):
                tail = self._errors.read_text()[-2000:]
                raise NotAsPlanned(f"{self.name} ended with {status}: {tail}")
            if time.monotonic() > end:
                raise NotAsPlanned(f"{self.name}, within {PART_S:.0f} s: not so that {what}")
            time.sleep(POLL_S)
        return found

    def ended(self) -> Line:
        """Wait until the work has ended, and the process with it. Raises NotAsPlanned."""
        line = self.wait("ended")
        self.until(lambda: True if self._process.poll() == 0 else None, "the process ends")
        return line

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def _last(self, event: str) -> Line | None:
        whole = self._said.read_text().split("\n")[:-1]
        lines: list[Line] = [json.loads(line) for line in whole]
        return next((line for line in reversed(lines) if line["event"] == event), None)
