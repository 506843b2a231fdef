"""How a program talks to the services: HTTP, in a thread, with one answer or none."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote

from raftstate.examples.census.evidence import Journal

T = TypeVar("T")

TIMEOUT_S: Final = 3.0
DONE: Final = (200, 201)
REFUSED: Final = 410
BUSY: Final = 503


class Unanswered(Exception):
    """Nobody knows whether it happened: no answer came, or one that makes no sense."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said."""

    status: int
    body: dict[str, Any]


@dataclass(slots=True)
class Caller:
    """A process that calls the services, under its name, and writes down what it sends
    and hears."""

    name: str
    ports: dict[str, int]
    journal: Journal
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def book(self, leg: str, key: str, trip: int) -> Answer:
        """Ask a service to book. Raises Unanswered."""
        return self._call(leg, "POST", key, trip, "book")

    def cancel(self, leg: str, key: str, trip: int) -> Answer:
        """Ask a service to cancel. Raises Unanswered."""
        return self._call(leg, "DELETE", key, trip, "cancel")

    def _call(self, leg: str, method: str, key: str, trip: int, what: str) -> Answer:
        request = f"{self.name}/{next(self._numbers)}"
        body = {"trip": trip, "caller": self.name, "pid": os.getpid(), "request": request}
        self.journal.write("sending", leg=leg, key=key, what=what, request=request)
        try:
            path = f"/bookings/{quote(key, safe='')}"
            answer = call(self.ports[leg], method, path, body)
        except Unanswered as error:
            self.journal.write("unanswered", request=request, error=str(error))
            raise
        said = {"status": answer.status, "what": answer.body["what"]}
        self.journal.write("answered", request=request, **said)
        return answer


def live(ports: dict[str, int]) -> dict[str, tuple[str, int]]:
    """What is booked now, by key: which leg of which trip. Raises Unanswered."""
    return {
        row["key"]: (leg, row["trip"])
        for leg, port in ports.items()
        for row in call(port, "GET", "/bookings", None).body["bookings"]
    }


def set_down(port: int, *, down: bool) -> None:
    """Break a service, or mend it. Raises Unanswered."""
    call(port, "PUT", "/faults", {"down": down})


def call(port: int, method: str, path: str, body: dict[str, Any] | None) -> Answer:
    """One request, and its answer. Raises Unanswered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    data = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read()))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unanswered(f"{method} {path}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


async def carried_out(act: Callable[[], T]) -> T:
    """What a function returns, or raises, that runs in a thread, which nobody can call
    back: who is cancelled meanwhile waits for it all the same, so that what came of it can
    be told. It has to be short."""
    task = asyncio.ensure_future(asyncio.to_thread(act))
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    return task.result()
