"""A small booking service: one process, one book, and no idea of the store.

    python -m raftstate.examples.travel.service --name hotel --book FILE --ready FILE

    POST   /bookings/KEY   201 booked, 200 booked before, 410 cancelled before: refused
    DELETE /bookings/KEY   200 cancelled, now or before; the key is refused from now on
    GET    /bookings       what is booked now
    PUT    /faults         {"down": true}: bookings fail until {"down": false}

Answers are late, and some are 503 or never come, as its seed says; a refusal always
comes. It listens on loopback, on a port of the system's choice, which it writes into
the file that `--ready` names. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from raftstate.examples.travel import book as words
from raftstate.examples.travel.book import Asked, Book
from raftstate.examples.travel.faults import BUSY, LOST, Faults

PREFIX = "/bookings/"
BODY_MAX = 64 << 10
STATUS = {
    words.BOOKED: 201,
    words.REPEATED: 200,
    words.REFUSED: 410,
    words.CANCELLED: 200,
    words.TOMBSTONE: 200,
    words.GONE: 200,
    words.FAILED: 503,
}


class Service(ThreadingHTTPServer):
    """The service: its book, and its faults."""

    daemon_threads = True

    def __init__(self, book: Book, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.book = book
        self.faults = faults
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that died in the middle is no news here; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Service
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    def do_POST(self) -> None:
        """Book."""
        asked = self._asked()
        with self.server.lock:
            fault, latency = self.server.faults.booking(), self.server.faults.latency()
        time.sleep(latency)
        if self.server.book.state(asked.key) in {words.CANCELLED, words.TOMBSTONE}:
            fault = ""  # a refusal is never withheld
        self._settle(asked, fault, words.BOOKED)

    def do_DELETE(self) -> None:
        """Cancel."""
        asked = self._asked()
        with self.server.lock:
            fault, latency = self.server.faults.cancel(), self.server.faults.latency()
        time.sleep(latency)
        self._settle(asked, fault, words.CANCELLED)

    def do_GET(self) -> None:
        """Show what is booked."""
        self._answer(200, {"bookings": self.server.book.live()})

    def do_PUT(self) -> None:
        """Break, or mend."""
        self.server.faults.down = bool(self._body()["down"])
        self._answer(200, {"down": self.server.faults.down})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
        """The book says it all."""

    def _settle(self, asked: Asked, fault: str, wanted: str) -> None:
        book = self.server.book
        if fault == BUSY:
            what = book.fail(asked)
        else:
            what = book.book(asked) if wanted == words.BOOKED else book.cancel(asked)
        if fault == LOST:
            self.close_connection = True
            return
        self._answer(STATUS[what], {"key": asked.key, "what": what})

    def _asked(self) -> Asked:
        body = self._body()
        return Asked(
            key=unquote(self.path.removeprefix(PREFIX)),
            trip=int(body["trip"]),
            caller=str(body["caller"]),
            pid=int(body["pid"]),
            request=str(body["request"]),
        )

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        if length > BODY_MAX:
            raise ValueError(f"a body of {length} bytes")
        body: dict[str, Any] = json.loads(self.rfile.read(length))
        return body

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main(arguments: list[str] | None = None) -> int:
    """Run one service until SIGTERM."""
    parser = argparse.ArgumentParser(prog="service", description=str(__doc__).splitlines()[0])
    parser.add_argument("--name", required=True, help="flight, hotel or car")
    parser.add_argument("--book", required=True, type=Path, help="its SQLite file")
    parser.add_argument("--ready", required=True, type=Path, help="where it writes its port")
    parser.add_argument("--seed", type=int, default=0, help="of its faults")
    args = parser.parse_args(arguments)
    book = Book(args.book)
    service = Service(book, Faults(args.seed, args.name))
    for number in (signal.SIGINT, signal.SIGTERM):
        # shutdown waits for serve_forever, which this very thread runs
        signal.signal(number, lambda *_: threading.Thread(target=service.shutdown).start())
    written = args.ready.with_suffix(".new")
    written.write_text(str(service.server_address[1]))
    written.replace(args.ready)
    service.serve_forever(poll_interval=0.05)
    service.server_close()
    book.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
