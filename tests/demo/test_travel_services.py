"""The outside of the travel demo: each key once, whatever is asked how often, by whom."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raftstate.examples.census.evidence import Journal
from raftstate.examples.travel import book as words
from raftstate.examples.travel.book import Asked, Book, complaints, copy_book, read_book
from raftstate.examples.travel.faults import BOOKINGS_PERIOD, BUSY, CANCELS_PERIOD, LOST, Faults
from raftstate.examples.travel.outside import Caller, Unanswered, call, carried_out, live
from raftstate.examples.travel.plan import LEGS, TRIPS, draw
from raftstate.examples.travel.service import Service

PATIENCE_S = 10.0


def asked(key: str, request: str = "", trip: int = 1) -> Asked:
    """A request of nobody's."""
    return Asked(key, trip, "caller", 1, request or key)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """An empty book."""
    opened = Book(tmp_path / "book.sqlite")
    yield opened
    opened.close()


class Quiet(Faults):
    """No faults but those that a test asks for."""

    def __init__(self) -> None:
        super().__init__(0, "hotel")
        self.next: list[str] = []

    def booking(self) -> str:
        """What the test wants."""
        return self.cancel()

    def cancel(self) -> str:
        """What the test wants."""
        return self.next.pop(0) if self.next else ""

    def latency(self) -> float:
        """None."""
        return 0.0


@pytest.fixture
def service(book: Book) -> Iterator[Service]:
    """A service on loopback, without faults of its own."""
    running = Service(book, Quiet())
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def caller(service: Service, tmp_path: Path) -> Caller:
    """Somebody who calls the service."""
    journal = Journal(tmp_path / "caller.jsonl")
    return Caller("caller", {"hotel": service.server_address[1]}, journal)


# --- the book ----------------------------------------------------------------------


def test_a_key_is_booked_once_and_cancelled_once(book: Book) -> None:
    """
    Asked again it is answered as before; cancelled, the key is refused for good.
    """
    said = [book.book(asked("k", f"b{n}")) for n in range(3)]
    said += [book.cancel(asked("k", f"c{n}")) for n in range(3)]
    said += [book.book(asked("k", "late")), book.cancel(asked("k", "more"))]
    once = [words.BOOKED, words.REPEATED, words.REPEATED]
    undone = [words.CANCELLED, words.GONE, words.GONE]
    assert said == [*once, *undone, words.REFUSED, words.GONE]


def test_cancelling_what_never_was_leaves_a_tombstone(book: Book) -> None:
    """
    An original that comes after its compensation is refused, and stays refused.
    """
    assert book.cancel(asked("k")) == words.TOMBSTONE
    assert book.book(asked("k", "late")) == words.REFUSED
    assert book.book(asked("k", "later")) == words.REFUSED
    assert book.live() == []


def test_a_failure_does_nothing(book: Book) -> None:
    """
    It is written down, and the key is as it was.
    """
    assert book.fail(asked("k")) == words.FAILED
    assert book.state("k") == ""
    assert book.book(asked("k", "again")) == words.BOOKED
    assert book.fail(asked("k", "third")) == words.FAILED
    assert book.state("k") == words.BOOKED


def test_many_at_once_book_a_key_once(book: Book, tmp_path: Path) -> None:
    """
    Threads of the server do not get in each other's way; and the book is in order.
    """
    with ThreadPoolExecutor(8) as pool:
        said = Counter(pool.map(lambda n: book.book(asked("k", f"r{n}")), range(24)))
    assert said == {words.BOOKED: 1, words.REPEATED: 23}
    found = read_book(tmp_path / "book.sqlite")
    assert complaints("hotel", found) == []
    assert [entry["n"] for entry in found.entries] == list(range(1, 25))


def test_a_book_is_what_it_was_after_its_service_died(book: Book, tmp_path: Path) -> None:
    """
    Another process goes on with the same keys, and the chain of entries with it.
    """
    book.book(asked("k"))
    book.cancel(asked("gone"))
    again = Book(tmp_path / "book.sqlite")
    assert again.book(asked("k", "again")) == words.REPEATED
    assert again.book(asked("gone", "again")) == words.REFUSED
    again.close()
    copy_book(tmp_path / "book.sqlite", tmp_path / "copy.sqlite")
    found = read_book(tmp_path / "copy.sqlite")
    assert complaints("hotel", found) == []
    assert len(found.entries) == 4


def test_a_book_that_says_what_cannot_be_is_complained_of(book: Book, tmp_path: Path) -> None:
    """
    Sealed again or not: an entry that no service would have made.
    """
    book.book(asked("k"))
    book.cancel(asked("k", "undo"))
    path = tmp_path / "book.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE entries SET what = ? WHERE n = 2", (words.TOMBSTONE,))
    db.close()
    said = complaints("hotel", read_book(path))
    assert any("tombstone where the key was booked" in one for one in said)
    assert any("the seal is broken" in one for one in said)


# --- faults and plan ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_period_has_one_of_each_fault(seed: int) -> None:
    """
    So that every run has services that do nothing, and answers that are lost; but never
    so many that the breaker would trip by itself.
    """
    faults = Faults(seed, "car")
    drawn = [faults.booking() for _ in range(5 * BOOKINGS_PERIOD)]
    for kind in (BUSY, LOST):
        assert drawn.count(kind) == 5
    runs = "".join("x" if fault else "." for fault in drawn).split(".")
    assert max(len(run) for run in runs) <= 4
    undone = [faults.cancel() for _ in range(4 * CANCELS_PERIOD)]
    assert [undone.count(kind) for kind in (BUSY, LOST)] == [4, 4]
    again = Faults(seed, "car")
    assert [again.booking() for _ in drawn] == drawn


def test_a_service_that_is_down_books_nothing_and_still_cancels() -> None:
    """
    Otherwise nobody could undo anything until it is mended.
    """
    faults = Faults(3, "car", down=True)
    assert {faults.booking() for _ in range(12)} == {BUSY}
    assert "" in {faults.cancel() for _ in range(6)}


@pytest.mark.parametrize("seed", range(40))
def test_every_seed_draws_a_plan_that_can_happen(seed: int) -> None:
    """
    The stop comes after what is known good and before the end, and the worker dies before
    everything is undone.
    """
    plan = draw(seed)
    undone = len(LEGS) * (plan.stop_trip - plan.known_good) + 1
    assert 1 < plan.known_good < plan.stop_trip < TRIPS - 1
    assert 1 < plan.kill_at < undone
    assert draw(seed) == plan


# --- over HTTP ------------------------------------------------------------------------


def test_a_caller_hears_what_the_book_says(caller: Caller) -> None:
    """
    201, 200, 200 and 410: booked, booked before, cancelled, refused; and the journal has
    a line for each call and one for each answer.
    """
    key = "travel#3/book hotel/1"  # whatever a key holds
    answers = [caller.book("hotel", key, 4), caller.book("hotel", key, 4)]
    assert live(caller.ports) == {key: ("hotel", 4)}
    answers += [caller.cancel("hotel", key, 4), caller.book("hotel", key, 4)]
    assert [one.status for one in answers] == [201, 200, 200, 410]
    assert live(caller.ports) == {}
    kinds = [line["kind"] for line in caller.journal.lines]
    assert kinds == ["sending", "answered"] * 4
    assert len({line["request"] for line in caller.journal.lines}) == 4


def test_a_lost_answer_leaves_the_caller_in_doubt_and_the_booking_made(
    service: Service, caller: Caller
) -> None:
    """
    Asked again under the same key it is not made twice.
    """
    service.faults.next = [LOST]  # type: ignore[attr-defined]
    with pytest.raises(Unanswered):
        caller.book("hotel", "k", 1)
    assert service.book.state("k") == words.BOOKED
    assert caller.book("hotel", "k", 1).status == 200
    assert [ln["kind"] for ln in caller.journal.lines][:2] == ["sending", "unanswered"]


def test_a_busy_service_does_nothing_and_says_so(service: Service, caller: Caller) -> None:
    """
    503, for bookings and cancellations.
    """
    service.faults.next = [BUSY, BUSY]  # type: ignore[attr-defined]
    assert caller.book("hotel", "k", 1).status == 503
    assert caller.cancel("hotel", "k", 1).status == 503
    assert service.book.state("k") == ""


@pytest.mark.parametrize("fault", [BUSY, LOST])
def test_a_refusal_is_never_withheld(service: Service, caller: Caller, fault: str) -> None:
    """
    A late original is told that it is late, whatever else is wrong.
    """
    caller.cancel("hotel", "k", 1)
    service.faults.next = [fault]  # type: ignore[attr-defined]
    assert caller.book("hotel", "k", 1).status == 410


def test_nobody_there_is_no_answer(tmp_path: Path, service: Service) -> None:
    """
    Which says nothing about whether it happened.
    """
    port = service.server_address[1]
    service.shutdown()
    service.server_close()
    with pytest.raises(Unanswered):
        call(port, "GET", "/bookings", None)


def test_who_is_cancelled_still_hears_what_came_of_it() -> None:
    """
    A call that is on its way is waited for, and its outcome is not lost; nor is its error.
    """

    async def story() -> tuple[str, str]:
        gate = threading.Event()
        task = asyncio.create_task(carried_out(lambda: str(gate.wait(PATIENCE_S))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        done = await task
        with pytest.raises(ZeroDivisionError):
            await carried_out(lambda: 1 // 0)
        return done, "told"

    assert asyncio.run(story()) == ("True", "told")


# --- as a process -----------------------------------------------------------------------


def start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A service in a process of its own, and its port."""
    ready = folder / "port"
    ready.unlink(missing_ok=True)
    command = ["-m", "raftstate.examples.travel.service", "--name", "hotel", "--seed", "1"]
    paths = ["--book", str(folder / "hotel.sqlite"), "--ready", str(ready)]
    process = subprocess.Popen([sys.executable, *command, *paths])
    deadline = time.monotonic() + PATIENCE_S
    while not ready.exists():
        assert time.monotonic() < deadline, "the service did not come up"
        assert process.poll() is None
        time.sleep(0.005)
    return process, int(ready.read_text())


def test_a_killed_service_forgets_nothing(tmp_path: Path) -> None:
    """
    SIGKILL, and another process with the same book; SIGTERM ends it in order.
    """
    process, port = start(tmp_path)
    try:
        body = {"trip": 1, "caller": "c", "pid": 1, "request": "r"}
        for number in range(CANCELS_PERIOD):  # it does nothing now and then, or says nothing
            with contextlib.suppress(Unanswered):
                call(port, "DELETE", "/bookings/k", {**body, "request": f"r{number}"})
        process.kill()
        process.wait(PATIENCE_S)
        process, port = start(tmp_path)
        assert call(port, "POST", "/bookings/k", {**body, "request": "s"}).status == 410
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(PATIENCE_S)
    found = read_book(tmp_path / "hotel.sqlite")
    assert complaints("hotel", found) == []
    assert [row["state"] for row in found.bookings.values()] == [words.TOMBSTONE]
