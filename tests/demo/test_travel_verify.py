"""The evidence of the travel demo speaks: a true folder is green, and a forged one is red.

A folder is forged in the form that the demo leaves it. Then it is touched: first by
somebody careless, whom the manifest finds; then by somebody who redoes the manifest, whom
seals find; and then by somebody who redoes the seals as well, in journals and in books,
and writes the result and the report that now follow.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raftstate.examples import verify as dispatcher
from raftstate.examples.census.evidence import Line, read_json, write_json
from raftstate.examples.census.manifest import NAME, differences, write_manifest
from raftstate.examples.travel import book as words
from raftstate.examples.travel.book import Row
from raftstate.examples.travel.judge import violations
from raftstate.examples.travel.plan import LEGS
from raftstate.examples.travel.record import Record
from raftstate.examples.travel.verify import MALFORMED, load, verify
from tests.demo.forge import edit
from tests.demo.travel_forge import SEED, Forge, claim, edit_book, forged

JOURNALS = [
    *(f"{name}.jsonl" for name in ("processes", "signals", "ledger", "recovery", "events")),
    *(f"agents/agent-{number}.jsonl" for number in (1, 2, 3)),
    *(f"workers/worker-{number}.jsonl" for number in (1, 2)),
]
BOOKS = [f"books/{leg}.sqlite" for leg in LEGS]
VALUES = ["plan.json", "stream.json", "result.json"]
EVERYTHING = [*JOURNALS, *BOOKS, *VALUES, "report.txt", NAME]
DAMAGE = ["delete", "double"]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true folder, made once."""
    folder = tmp_path_factory.mktemp("travel") / "evidence"
    Forge(folder).run()
    return folder


@pytest.fixture(scope="session")
def truth(original: Path) -> Record:
    """What is read of it, once."""
    return load(original)[0]


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(original, tmp_path / "evidence"))


def test_a_true_folder_is_green(original: Path) -> None:
    """
    Nothing is wrong, and the figures are those of the invented run, all of them.
    """
    recomputed, wrong = verify(original)
    assert wrong == []
    assert recomputed == read_json(original / "result.json")
    plan = read_json(original / "plan.json")
    assert plan["seed"] == SEED
    assert recomputed == {
        "bookings": 3 * (plan["stop_trip"] - plan["known_good"]) + 1,
        "compensated_once": True,
        "reverse_order": True,
        "double_effects": 0,
        "orphan_effects": 0,
        "stale_writes_refused": 2,
        "late_originals_refused": 1,
        "mttr_ms": recomputed["mttr_ms"],
    }
    assert 100 < recomputed["mttr_ms"] < 2_000


def test_the_report_shows_the_incident_with_its_times(original: Path) -> None:
    """
    For people: which incident, when what of it, and every booking that was undone.
    """
    text = (original / "report.txt").read_text()
    for word in ("detected", "fenced", "restored", "compensated", "validated", "resumed"):
        assert f"  {word}" in text
    assert text.count(" cancelled, ") == read_json(original / "result.json")["bookings"]


def test_every_file_is_tested(original: Path) -> None:
    """
    The tests below touch all that the demo leaves.
    """
    found = [path for path in original.rglob("*") if path.is_file()]
    assert {path.relative_to(original).as_posix() for path in found} == set(EVERYTHING)


def test_resealing_alone_leaves_it_green(folder: Path) -> None:
    """
    So it is the damage that turns a resealed folder red in the tests below.
    """
    for name in JOURNALS:
        edit(folder, name, lambda lines: None, reseal=True)
    for name in BOOKS:
        edit_book(folder / name, lambda rows: None, bookings=True)
    assert red_when_claimed(folder) == []


@pytest.mark.parametrize("name", [*JOURNALS, *BOOKS])
def test_a_record_is_what_a_forged_folder_is_read_as(
    truth: Record, folder: Path, name: str
) -> None:
    """
    So the tests below that forge a record tell of folders.
    """
    change = damager("double", 1)
    if name in BOOKS:
        edit_book(folder / name, change, bookings=True)
    else:
        edit(folder, name, change, reseal=True)
    made = forged(truth, name, change)
    assert load(folder) == (made, [])
    assert red_when_claimed(folder) == complaints(made)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("how", ["missing", "empty", "garbage", "longer"])
def test_a_missing_or_broken_file_turns_it_red(folder: Path, name: str, how: str) -> None:
    """
    Whichever it is, and whoever wrote the manifest; and nothing falls over.
    """
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes({"empty": b"", "garbage": b"\x00\xff{", "longer": data + b"x"}[how])
    assert verify(folder)[1] != []
    if name != NAME and (how, path.suffix) != ("longer", ".sqlite"):  # which SQLite ignores
        write_manifest(folder)
        assert verify(folder)[1] != []


@pytest.mark.parametrize("name", [*JOURNALS, *VALUES, "report.txt"])
@pytest.mark.parametrize("damage", [*DAMAGE, "alter"])
def test_any_touched_line_turns_it_red(
    original: Path, folder: Path, name: str, damage: str
) -> None:
    """
    The manifest finds it, and so do the seals: the first line, the last, and some between.
    """
    lines = (original / name).read_text().splitlines()
    for number in sorted({*range(0, len(lines), 1 + len(lines) // 8), len(lines) - 1}):
        spoiled = [*lines]
        if damage == "alter":
            spoiled[number] = spoiled[number].replace('"', "'", 1) + " "
        else:
            spoiled[number : number + 1] = [] if damage == "delete" else [lines[number]] * 2
        (folder / name).write_text("".join(f"{line}\n" for line in spoiled))
        assert differences(folder), f"{damage} of line {number + 1}"
        if number in {0, len(lines) // 2, len(lines) - 1}:
            write_manifest(folder)
            assert verify(folder)[1] != [], f"{damage} of line {number + 1}"
            shutil.copy(original / NAME, folder / NAME)


@pytest.mark.parametrize("name", [name for name in JOURNALS if name != "recovery.jsonl"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_resealed_line_less_or_more_turns_it_red(
    original: Path, truth: Record, name: str, damage: str
) -> None:
    """
    Seals put right, the result written anew: what the others say still shows it.
    """
    lines = (original / name).read_text().splitlines()
    closed = json.loads(lines[-1])["kind"] == "end"
    last = len(lines) - (2 if closed else 1)
    for number in some(list(range(last + 1))):
        assert complaints(forged(truth, name, damager(damage, number))), (
            f"{damage} of {name}:{number + 1}"
        )


@pytest.mark.parametrize(
    "kind", ["rollback", "item", "incident", "breaker", "checkpoint", "agent"]
)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_record_of_the_recovery_less_or_more_turns_it_red(
    original: Path, truth: Record, kind: str, damage: str
) -> None:
    """
    The record of the agent says how much there was of what.
    """
    name = "recovery.jsonl"
    for number in some(numbers(original / name, kind)):
        assert complaints(forged(truth, name, damager(damage, number))), (
            f"{damage} of {kind} {number + 1}"
        )


@pytest.mark.parametrize(
    ("name", "kind", "field", "value"),
    [
        ("recovery.jsonl", "rollback", "state", "COMPENSATING"),
        ("recovery.jsonl", "rollback", "checkpoint_id", 1),
        ("recovery.jsonl", "rollback", "checkpoint_id", 99),
        ("recovery.jsonl", "rollback", "kept_revision", 1),
        ("recovery.jsonl", "rollback", "kept_revision", 100_000),
        ("recovery.jsonl", "rollback", "first_undone_seq", 2),
        ("recovery.jsonl", "rollback", "last_undone_seq", 2),
        ("recovery.jsonl", "rollback", "fence", [1, 1]),
        ("recovery.jsonl", "rollback", "validators", {}),
        ("recovery.jsonl", "rollback", "validators", {"travel-books": False}),
        ("recovery.jsonl", "rollback", "compensated_ms", 1),
        ("recovery.jsonl", "rollback", "incident_id", "0000000000000001"),
        ("recovery.jsonl", "rollback", "total", 3),
        ("recovery.jsonl", "rollback", "open", 1),
        ("recovery.jsonl", "rollback", "former_holder", "agent-1"),
        ("recovery.jsonl", "rollback", "former_fence", [1, 1]),
        ("recovery.jsonl", "rollback", "started_by", "somebody"),
        ("recovery.jsonl", "item", "position", 9),
        ("recovery.jsonl", "item", "effect_id", "1/book-flight/1"),
        ("recovery.jsonl", "item", "state", "STUCK"),
        ("recovery.jsonl", "item", "state", "WAIVED"),
        ("recovery.jsonl", "item", "claims", 0),
        ("recovery.jsonl", "item", "number", 99),
        ("recovery.jsonl", "item", "settled_revision", 1),
        ("recovery.jsonl", "incident", "symptom", "REPORTED"),
        ("recovery.jsonl", "incident", "rollback_id", ""),
        ("recovery.jsonl", "incident", "resumed_ms", 1),
        ("recovery.jsonl", "incident", "validated_ms", 0),
        ("recovery.jsonl", "incident", "detected_ms", 10**9),
        ("recovery.jsonl", "incident", "detected_ms", 1),
        ("recovery.jsonl", "incident", "agent_ids", []),
        ("recovery.jsonl", "incident", "classification", "TRANSIENT"),
        ("recovery.jsonl", "incident", "open", True),
        ("recovery.jsonl", "incident", "opened_revision", 1),
        ("recovery.jsonl", "breaker", "changed_revision", 1),
        ("recovery.jsonl", "breaker", "on_trip", "NOTIFY"),
        ("recovery.jsonl", "breaker", "state", "CLOSED"),
        ("recovery.jsonl", "breaker", "rollback_id", ""),
        ("recovery.jsonl", "checkpoint", "known_good", True),
        ("recovery.jsonl", "agent", "lifecycle", "RECOVERING"),
        ("recovery.jsonl", "agent", "effects", 1),
        ("recovery.jsonl", "agent", "checkpoint_id", 1),
        ("recovery.jsonl", "agent", "event_seq", 1),
        ("ledger.jsonl", "effect", "state", "FAILED_BEFORE_EFFECT"),
        ("ledger.jsonl", "effect", "state", "COMMITTED"),
        ("ledger.jsonl", "effect", "state", "UNKNOWN"),
        ("ledger.jsonl", "effect", "key", "travel#other"),
        ("ledger.jsonl", "effect", "leg", "boat"),
        ("ledger.jsonl", "effect", "trip", 77),
        ("ledger.jsonl", "effect", "number", 77),
        ("ledger.jsonl", "effect", "undo", ""),
        ("ledger.jsonl", "effect", "leaves_tombstone", False),
        ("events.jsonl", "event", "undone_by", "other"),
        ("events.jsonl", "event", "data", '{"trip": 0, "leg": "car", "key": "k"}'),
        ("events.jsonl", "event", "revision", 1),
        ("events.jsonl", "event", "hash", "00" * 32),
        ("signals.jsonl", "stop", "held", False),
        ("signals.jsonl", "stop", "effect_state", "PREPARED"),
        ("signals.jsonl", "stop", "effect_id", "1/book-flight/1"),
        ("signals.jsonl", "stop", "wait_status", "exit 0"),
        ("signals.jsonl", "resume", "at", 100.0),
        ("signals.jsonl", "resume", "target", "agent-2"),
        ("signals.jsonl", "kill", "target", "worker-2"),
        ("signals.jsonl", "kill", "at", 1e6),
        ("signals.jsonl", "down", "service", "hotel"),
        ("processes.jsonl", "born", "pid", 1),
        ("processes.jsonl", "ended", "wait_status", "killed by SIGSEGV"),
        ("processes.jsonl", "ended", "lines", 1),
        ("agents/agent-1.jsonl", "started", "pid", 1),
        ("agents/agent-1.jsonl", "step", "revision", 1),
        ("agents/agent-1.jsonl", "step", "key", "travel#other"),
        ("agents/agent-1.jsonl", "owned", "token", [1, 100_000]),
        ("agents/agent-1.jsonl", "refused", "judge", "client"),
        ("agents/agent-1.jsonl", "refused", "definite", False),
        ("agents/agent-1.jsonl", "refused", "token", [1, 100_000]),
        ("agents/agent-1.jsonl", "sending", "key", "travel#other"),
        ("agents/agent-1.jsonl", "sending", "request", "agent-1/1000"),
        ("agents/agent-1.jsonl", "sending", "what", "cancel"),
        ("agents/agent-1.jsonl", "answered", "what", "cancelled"),
        ("agents/agent-3.jsonl", "closed", "token", [1, 1]),
        ("workers/worker-2.jsonl", "answered", "what", "tombstone"),
        ("workers/worker-1.jsonl", "sending", "leg", "boat"),
        ("workers/worker-1.jsonl", "sending", "what", "book"),
        ("workers/worker-2.jsonl", "validated", "passed", False),
        ("workers/worker-2.jsonl", "validated", "rollback_id", "0000000000000001"),
    ],
)
def test_a_resealed_alteration_turns_it_red(
    original: Path, truth: Record, name: str, kind: str, field: str, value: object
) -> None:
    """
    What one of them says must fit what the others say: the first such line, the last one,
    and one in between.
    """
    for number in some(numbers(original / name, kind)):
        line = json.loads((original / name).read_text().splitlines()[number])
        if line[field] == value or (kind, line.get("symptom")) == (
            "incident",
            "OWNERSHIP_LOST",
        ):
            continue
        assert complaints(forged(truth, name, setter(number, field, value))), (
            f"{field} of {name}:{number + 1}"
        )


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("what", sorted(words.MOVES))
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_resealed_entry_less_or_more_turns_it_red(
    original: Path, truth: Record, leg: str, what: str, damage: str
) -> None:
    """
    Also where the book's bookings were made to follow: its callers know better.
    """
    name = f"books/{leg}.sqlite"
    for number in some(entries(original / name, what)):
        assert complaints(forged(truth, name, damager(damage, number))), (
            f"{damage} of {name}:{number + 1}"
        )


@pytest.mark.parametrize(
    ("what", "field", "value"),
    [
        (words.BOOKED, "key", "travel#other"),
        (words.BOOKED, "trip", 77),
        (words.BOOKED, "pid", 1),
        (words.BOOKED, "caller", "worker-1"),
        (words.BOOKED, "request", "agent-1/1000"),
        (words.BOOKED, "at_ns", 1),
        (words.BOOKED, "at_ns", 10**15),
        (words.BOOKED, "what", words.FAILED),
        (words.CANCELLED, "key", "travel#other"),
        (words.CANCELLED, "what", words.FAILED),
        (words.CANCELLED, "at_ns", 1),
        (words.CANCELLED, "at_ns", 10**15),
        (words.CANCELLED, "caller", "worker-9"),
    ],
)
def test_a_resealed_alteration_of_a_book_turns_it_red(
    original: Path, truth: Record, what: str, field: str, value: object
) -> None:
    """
    Whose call it was, for what, and when: the first such entry and the last one.
    """
    for leg in LEGS:
        name = f"books/{leg}.sqlite"
        for number in (entries(original / name, what)[place] for place in (0, -1)):
            assert complaints(forged(truth, name, setter(number, field, value))), (
                f"{field} of {name}:{number + 1}"
            )


def test_bookings_that_do_not_follow_turn_it_red(folder: Path) -> None:
    """
    Entries that are gone, with the bookings left as they were.
    """
    edit_book(folder / BOOKS[0], lambda rows: rows.pop(), bookings=False)
    assert any("do not follow from its entries" in said for said in red_when_claimed(folder))


def test_two_cancellations_in_the_order_of_the_bookings_turn_it_red(folder: Path) -> None:
    """
    Twice undone in the wrong order: swapped in time, everything else as it was.
    """

    def swap(rows: list[Row]) -> None:
        first, second = [row for row in rows if row["what"] == words.CANCELLED][:2]
        for field in ("key", "trip", "caller", "pid", "request"):
            first[field], second[field] = second[field], first[field]

    edit_book(folder / BOOKS[1], swap, bookings=True)
    wrong = red_when_claimed(folder)
    assert read_json(folder / "result.json")["reverse_order"] is False
    assert "the compensations are not in reverse order" in wrong


def test_a_booking_that_was_left_is_not_compensated(folder: Path) -> None:
    """
    The service says that it stands: the figures say so, and so does the judge.
    """
    gone = len(entries(folder / BOOKS[2], words.CANCELLED))
    assert gone

    def forget(rows: list[Row]) -> None:
        rows[:] = [row for row in rows if row["what"] in {words.BOOKED, words.FAILED}]

    edit_book(folder / BOOKS[2], forget, bookings=True)
    wrong = red_when_claimed(folder)
    figures = read_json(folder / "result.json")
    assert figures["compensated_once"] is False
    assert figures["orphan_effects"] == gone
    assert "not every booking since the target was compensated once in effect" in wrong


def test_a_booking_that_nobody_answers_for_is_an_orphan(folder: Path) -> None:
    """
    The service's book has it, and the ledger does not.
    """

    def add(rows: list[Row]) -> None:
        last = rows[-1]
        at_ns = last["at_ns"] + 1
        rows.append({**last, "at_ns": at_ns, "what": words.BOOKED, "key": "k", "request": "r"})

    edit_book(folder / BOOKS[0], add, bookings=True)
    assert red_when_claimed(folder)
    figures = read_json(folder / "result.json")
    assert (figures["orphan_effects"], figures["compensated_once"]) == (1, False)


def test_the_same_leg_booked_twice_is_a_double_effect(folder: Path) -> None:
    """
    Under two keys that were live at once, the second one as well undone.
    """

    def again(rows: list[Row]) -> None:
        made = next(row for row in rows if row["what"] == words.BOOKED)
        rows.append({**made, "at_ns": rows[-1]["at_ns"] + 1, "key": "k", "request": "r"})

    edit_book(folder / BOOKS[0], again, bookings=True)
    assert red_when_claimed(folder)
    assert read_json(folder / "result.json")["double_effects"] == 1


def test_a_service_that_never_failed_turns_it_red(truth: Record) -> None:
    """
    The store says that the breaker tripped; the service's own book knows nothing of it.
    """

    def mend(rows: list[Row]) -> None:
        for row in rows:
            row["at_ns"] -= 10**10 * (row["what"] == words.FAILED)

    said = complaints(forged(truth, BOOKS[2], mend))
    assert "the car service's book has no failure that a breaker could have tripped for" in said


@pytest.mark.parametrize("by_ms", [-10_000, 10_000])
def test_a_recovery_at_another_time_turns_it_red(truth: Record, by_ms: int) -> None:
    """
    Rollback and incident agree, and the events around them do not.
    """

    def move(lines: list[Line]) -> None:
        for line in lines:
            for name in line:
                if name.endswith("_ms") and line["kind"] in {"rollback", "incident"}:
                    line[name] += by_ms

    said = complaints(forged(truth, "recovery.jsonl", move))
    assert any("was written while its agent was taken back" in one for one in said)


def test_nothing_that_was_refused_turns_it_red(folder: Path) -> None:
    """
    A run in which nobody came late shows nothing.
    """

    def none(rows: list[Row]) -> None:
        rows[:] = [row for row in rows if row["what"] != words.REFUSED]

    edit_book(folder / "books/hotel.sqlite", none, bookings=True)
    wrong = red_when_claimed(folder)
    assert "no late original was refused by a service" in wrong
    assert read_json(folder / "result.json")["late_originals_refused"] == 0


@pytest.mark.parametrize(
    "key", ["bookings", "compensated_once", "reverse_order", "mttr_ms", "double_effects"]
)
def test_another_result_turns_it_red(folder: Path, key: str) -> None:
    """
    A claim that the evidence does not bear out, one that is missing, and one too many.
    """
    result: dict[str, Any] = read_json(folder / "result.json")
    for claimed in (
        {**result, key: 77},
        {name: value for name, value in result.items() if name != key},
        {**result, "other": 1},
    ):
        write_json(folder / "result.json", claimed)
        write_manifest(folder)
        assert verify(folder)[1] != []


def test_another_plan_turns_it_red(folder: Path) -> None:
    """
    The plan cannot be fitted to what happened: its seed draws it.
    """
    plan = read_json(folder / "plan.json")
    for name in ("known_good", "stop_trip", "kill_at", "seed", "trips"):
        write_json(folder / "plan.json", {**plan, name: plan[name] + 1})
        assert red_when_claimed(folder)


def test_the_command_line_knows_the_demo_by_its_evidence(
    original: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    0 and the figures for a true folder, 1 for a forged one, also where the books are gone
    that it is known by; 2 for what is no folder.
    """
    assert dispatcher.main([str(original)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures == read_json(original / "result.json")
    (folder / BOOKS[0]).write_bytes((folder / BOOKS[1]).read_bytes())
    assert dispatcher.main([str(folder)]) == 1
    shutil.rmtree(folder / "books")
    assert dispatcher.main([str(folder)]) == 1
    assert dispatcher.main([str(folder / "nowhere")]) == 2


# --- how it is spoiled -----------------------------------------------------------------


def numbers(path: Path, kind: str) -> list[int]:
    """Which lines of a journal are of a kind, from 0."""
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    return [number for number, line in enumerate(lines) if line["kind"] == kind]


def entries(path: Path, what: str) -> list[int]:
    """Which entries of a book say this, from 0."""
    rows = words.read_book(path).entries
    return [number for number, row in enumerate(rows) if row["what"] == what]


def some(places: list[int]) -> list[int]:
    """The first place, the last one, and two in between."""
    return sorted(
        {places[(len(places) - 1) * part // 3] for part in range(4)} if places else ()
    )


def damager(damage: str, number: int) -> Callable[[list[Any]], None]:
    """Delete a line, or have it twice; the second of two entries comes a little later."""

    def change(lines: list[Any]) -> None:
        if damage == "delete":
            del lines[number]
            return
        twice = dict(lines[number])
        if "at_ns" in twice:
            twice["at_ns"] += 1
        lines.insert(number + 1, twice)

    return change


def setter(number: int, field: str, value: object) -> Callable[[list[Line]], None]:
    """Set one field of one line."""

    def change(lines: list[Line]) -> None:
        lines[number][field] = value

    return change


def complaints(record: Record) -> list[str]:
    """What is wrong with a record: all that a folder of it can be told by, after the forger
    has redone seals, result, report and manifest."""
    try:
        return violations(record)
    except MALFORMED as error:
        return [f"{type(error).__name__}: {error}"]


def red_when_claimed(folder: Path) -> list[str]:
    """What is wrong after the forger has redone result, report and manifest; where that
    cannot even be done, why."""
    try:
        claim(folder)
    except MALFORMED as error:
        write_manifest(folder)
        return [*verify(folder)[1], f"{type(error).__name__}: {error}"]
    return verify(folder)[1]
