"""Turns of the loop: so many of a kind in each, and everybody else in between.

A thousand coroutines that are ready at once all run in one turn of the loop, and whoever
comes behind them waits for all. Where that may be, each asks for its turn first.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """First come, first served; `each` of them in one turn of the loop."""

    def __init__(self, each: int) -> None:
        self._each = self._left = each
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._renewing = False

    def ask(self) -> asyncio.Future[None]:
        """Done when it is the asker's turn, perhaps at once. Who does not want it any more
        cancels it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._serve()
        return turn

    def _serve(self) -> None:
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._left < self._each and not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        self._renewing = False
        self._left = self._each
        self._serve()
