"""What people see while it runs: on a terminal a live panel, elsewhere plain lines.

All of it goes to standard error; standard output belongs to the result.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

NEWS_SHOWN = 9
TENTHS = 10


@dataclass(slots=True)
class Progress:
    """Where the run is."""

    files: int
    done: int = 0
    active: str = ""
    standby: str = ""
    leader: str = ""
    token: str = ""
    agent_kills: int = 0
    leader_kills: int = 0
    refused: int = 0
    snapshots: int = 0
    installs: int = 0
    news: deque[str] = field(default_factory=lambda: deque(maxlen=NEWS_SHOWN))


class View:
    """Shows a `Progress`; the caller changes it and says when."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress = progress
        self._title = title
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._tenth = 0
        if self._console.is_terminal:
            self._live = Live(
                self._panel(), console=self._console, auto_refresh=False, transient=False
            )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            self._line(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.update(self._panel(), refresh=True)
            self._live.stop()

    def tell(self, news: str) -> None:
        """Something happened."""
        at = f"[{self.progress.done:>5}/{self.progress.files}] {news}"
        self.progress.news.append(at)
        if not self._live:
            self._line(at)

    def refresh(self) -> None:
        """The progress changed."""
        if self._live:
            self._live.update(self._panel(), refresh=True)
            return
        tenth = self.progress.done * TENTHS // max(1, self.progress.files)
        if tenth > self._tenth:
            self._tenth = tenth
            self._line(f"[{self.progress.done:>5}/{self.progress.files}] {self._where()}")

    def _where(self) -> str:
        it = self.progress
        return f"active {it.active}, standby {it.standby}, leader {it.leader}, token {it.token}"

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _panel(self) -> Panel:
        it = self.progress
        table = Table.grid(padding=(0, 2))
        table.add_row("files", f"{it.done} of {it.files}", "token", it.token)
        table.add_row("active", it.active, "agents killed", str(it.agent_kills))
        table.add_row("standby", it.standby, "leaders killed", str(it.leader_kills))
        table.add_row("leader", it.leader, "stale writes refused", str(it.refused))
        table.add_row("snapshots", str(it.snapshots), "installs", str(it.installs))
        bar = Table.grid(expand=True)  # a bar alone does not end its line
        bar.add_row(ProgressBar(total=it.files, completed=it.done))
        return Panel(Group(bar, table, Text("\n".join(it.news))), title=self._title)
