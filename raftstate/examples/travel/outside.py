"""How a program talks to the services: HTTP, in a thread, with one answer or none."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

T = TypeVar("T")

TIMEOUT_S = 3.0
OK, MADE, REFUSED, BUSY = 200, 201, 410, 503


class Unanswered(Exception):
    """Nobody knows whether it happened: no answer came, or one that makes no sense."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Services:
    """The services by name, and who is calling."""

    ports: dict[str, int]
    caller: str

    def book(self, leg: str, key: str, trip: int, request: str) -> Answer:
        """Ask a service to book. Raises Unanswered."""
        return self._send(leg, "POST", f"/bookings/{quote(key, safe='')}", trip, request)

    def cancel(self, leg: str, key: str, trip: int, request: str) -> Answer:
        """Ask a service to cancel. Raises Unanswered."""
        return self._send(leg, "DELETE", f"/bookings/{quote(key, safe='')}", trip, request)

    def live(self, leg: str) -> list[dict[str, Any]]:
        """What a service has booked now. Raises Unanswered."""
        found: list[dict[str, Any]] = _call(self.ports[leg], "GET", "/bookings", None).body[
            "bookings"
        ]
        return found

    def set_down(self, leg: str, *, down: bool) -> None:
        """Break a service, or mend it. Raises Unanswered."""
        _call(self.ports[leg], "PUT", "/faults", {"down": down})

    def _send(self, leg: str, method: str, path: str, trip: int, request: str) -> Answer:
        body = {"trip": trip, "caller": self.caller, "pid": os.getpid(), "request": request}
        return _call(self.ports[leg], method, path, body)


def _call(port: int, method: str, path: str, body: dict[str, Any] | None) -> Answer:
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
    """What a function returns that runs in a thread, which nobody can call back: who is
    cancelled meanwhile still waits for it, so that its outcome can be told."""
    task = asyncio.ensure_future(asyncio.to_thread(act))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
        except Exception:  # noqa: BLE001, S112 - raised below, from the task
            continue
    return task.result()
