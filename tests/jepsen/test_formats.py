"""Jepsen's log in, Jepsen's EDN out."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers import register
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.formats import edn, edn_value, jepsen_log, judge
from jepsen_like.history import NEMESIS, Event
from tests.checkers.simulated import registers

# --- the log -------------------------------------------------------------------


def log(*lines: str) -> str:
    """Lines as Jepsen writes them, from words with single spaces."""
    return "".join(f"INFO  jepsen.util - {_tabbed(line)}\n" for line in lines)


def _tabbed(line: str) -> str:
    return "\t".join(line.split(" ", 3))


GOOD = log(
    *("0 :invoke :read nil", "0 :ok :read nil", "1 :invoke :write 3", "1 :ok :write 3"),
    *("0 :invoke :cas [3 4]", "2 :invoke :read nil", "0 :ok :cas [3 4]", "2 :ok :read 4"),
    *("3 :invoke :cas [9 1]", "3 :fail :cas [9 1]", "4 :invoke :write 7"),
    *("4 :info :write :timed-out", "5 :invoke :read nil", "5 :ok :read 7"),
)
STALE = log("0 :invoke :write 1", "0 :ok :write 1", "1 :invoke :read nil", "1 :ok :read nil")


def judged(tmp_path: Path, text: str) -> str:
    path = tmp_path / "history.log"
    path.write_text(text)
    return judge(path)


def test_a_log_is_judged(tmp_path: Path) -> None:
    """
    Reads, writes and comparisons, of which one did not hold and one is not known.
    """
    assert judged(tmp_path, GOOD) == "valid"
    assert judged(tmp_path, STALE) == "invalid"
    assert judged(tmp_path, GOOD.replace(":ok\t:read\t7", ":ok\t:read\t3")) == "invalid"


def test_a_comparison_that_did_not_hold_is_an_answer(tmp_path: Path) -> None:
    """
    Unless it failed for another reason: then nothing was compared.
    """
    write = ("0 :invoke :write 3", "0 :ok :write 3", "1 :invoke :cas [3 4]")

    assert judged(tmp_path, log(*write, "1 :fail :cas [3 4]")) == "invalid"
    assert judged(tmp_path, log(*write, "1 :fail :cas [3 4] :not-leader")) == "valid"
    assert judged(tmp_path, log(*write, "1 :fail :cas :refused")) == "valid"
    assert judged(tmp_path, log(*write, '1 :fail :cas {:type :http, :code "500"}')) == "valid"


@pytest.mark.parametrize(
    "dressed",
    [
        GOOD.replace("INFO  jepsen", "2015-01-31 12:00:00,123 INFO  jepsen"),
        GOOD.replace(
            "INFO  jepsen.util", "INFO [2026-08-20 09:00:01,123] jepsen worker 3 - jepsen.util"
        ),
        GOOD.replace("INFO  jepsen.util - ", ""),
        GOOD.replace("\t", " "),
        GOOD.replace("\n", "\r\n"),
        "\n" + GOOD.replace("\n", "\n\n"),
        log(":nemesis :info :start nil") + GOOD + log(":nemesis :info :stop :healed"),
        "INFO  jepsen.core - Running test\n" + GOOD,
        GOOD + "WARN  jepsen.core - it broke\njava.lang.Exception: no\n\tat core.clj:3\n",
    ],
)
def test_what_stands_around_the_events_does_not_matter(tmp_path: Path, dressed: str) -> None:
    """
    Timestamps, other loggers, the nemesis, tabs or spaces.
    """
    operations = [(one.kind, one.value, one.outcome) for one in jepsen_log(dressed)]

    assert operations == [(one.kind, one.value, one.outcome) for one in jepsen_log(GOOD)]
    assert judged(tmp_path, dressed) == "valid"


def test_values_may_name_their_key(tmp_path: Path) -> None:
    """
    Then there are many registers, each judged apart.
    """
    two = (
        *("0 :invoke :write [1 5]", "0 :ok :write [1 5]", "0 :invoke :read [2 nil]"),
        *("0 :ok :read [2 nil]", "0 :invoke :cas [1 [5 6]]", "0 :ok :cas [1 [5 6]]"),
    )
    assert {one.key for one in jepsen_log(log(*two))} == {"1", "2"}
    assert judged(tmp_path, log(*two)) == "valid"
    assert (
        judged(tmp_path, log(*two, "0 :invoke :read [1 nil]", "0 :ok :read [1 5]")) == "invalid"
    )


@pytest.mark.parametrize(
    ("number", "bad"),
    [
        (15, GOOD + "this is no log\n"),
        (15, GOOD + log("7 :inv")),
        (15, GOOD + log("7 :invoked :read nil")),
        (15, GOOD + log("x :invoke :read nil")),
        (15, GOOD + log("7 :invoke :append 3")),
        (15, GOOD + log("7 :invoke :cas 3")),
        (15, GOOD + log("7 :invoke :cas [3]")),
        (15, GOOD + log("7 :invoke :cas [3 4")),
        (15, GOOD + log("7 :invoke :write ]")),
        (15, GOOD + log("7 :invoke :write foo")),
        (15, GOOD + log("7 :ok :write 3")),
        (15, GOOD + log("4 :invoke :write 3")),
        (16, GOOD + log("7 :invoke :write 3", "7 :invoke :write 3")),
        (16, GOOD + log("7 :invoke :write 3", "7 :ok :write 4")),
        (16, GOOD + log("7 :invoke :write 3", "7 :ok :read 3")),
        (16, GOOD + log("7 :invoke :read nil", "7 :ok :read [[1 2] [3 4]]")),
        (1, "\x00\x01\x02"),
        (1, '{"index": 0}'),
    ],
)
def test_what_is_no_history_is_an_error_that_names_its_line(
    tmp_path: Path, number: int, bad: str
) -> None:
    """
    Nothing is guessed, and nothing that claims to be an event is skipped.
    """
    with pytest.raises(MalformedHistory, match=rf"history\.log: line {number}: "):
        judged(tmp_path, bad)


@pytest.mark.parametrize("empty", ["", "\n\n", "INFO  jepsen.core - Running test\n"])
def test_a_log_without_operations_is_an_error(tmp_path: Path, empty: str) -> None:
    """
    It shows nothing.
    """
    with pytest.raises(MalformedHistory, match="no operation in it"):
        judged(tmp_path, empty)


def test_what_is_no_text_is_an_error(tmp_path: Path) -> None:
    """
    Nor is a file that is not there.
    """
    (tmp_path / "history.log").write_bytes(b"\xff\xfe\x00")

    for name in ("history.log", "other.log"):
        with pytest.raises(MalformedHistory, match=name):
            judge(tmp_path / name)


def test_a_search_that_is_cut_short_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An answer for lack of time is none.
    """
    monkeypatch.setattr(register, "_CLOCK_EVERY", 1)
    path = tmp_path / "history.log"
    path.write_text(GOOD)

    assert judge(path, seconds_max=0.0) == "unknown"


@given(st.text(max_size=200))
def test_any_text_is_refused_or_read(text: str) -> None:
    """
    There is no third way.
    """
    with suppress(MalformedHistory):
        assert jepsen_log(text)


# --- EDN -----------------------------------------------------------------------

TOKEN = re.compile(
    r'[\s,]*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])'
    r"|(?P<atom>[^\s,\[\]{}\"]+))"
)


def read_edn(text: str) -> Any:
    """An EDN reader of its own, for what the writer may write; keywords keep their colon."""
    stack: list[tuple[str, list[Any]]] = [("", [])]
    place = 0
    while text[place:].strip(" ,\n"):
        token = TOKEN.match(text, place)
        assert token is not None, text[place:]
        place = token.end()
        if token["open"]:
            stack.append((token["open"], []))
        elif token["close"]:
            opened, items = stack.pop()
            assert opened + token["close"] in ("[]", "{}")
            is_map = opened == "{"
            assert not is_map or len(items) % 2 == 0
            value: Any = dict(zip(items[::2], items[1::2], strict=True)) if is_map else items
            stack[-1][1].append(value)
        elif token["string"]:
            stack[-1][1].append(json.loads(token["string"]))
        else:
            stack[-1][1].append(_atom(token["atom"]))
    [(_, [value])] = stack
    return value


def _atom(word: str) -> Any:
    known = {"nil": None, "true": True, "false": False, "##Inf": float("inf")}
    if word in known:
        return known[word]
    if word[0] == ":":
        assert re.fullmatch(r":[A-Za-z*!_?$%&=<>][A-Za-z0-9_*!?$%&=<>.+-]*", word)
        return word
    if re.fullmatch(r"-?\d+N?", word):
        assert word.endswith("N") or abs(int(word)) <= 2**63
        return int(word.rstrip("N"))
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", word), word
    return float(word)


def test_an_event_is_a_map_that_jepsen_reads() -> None:
    """
    Its fields are Jepsen's, and what else is known stands beside them.
    """
    event = Event(
        *(7, 1.25, "ok", 3, "exactly-once", "cas", "0"),
        value={"id": 'r"3\\', "expected": 4, "far": [1, None, True]},
        node="a",
        revision=17,
    )

    assert edn([event]) == (
        "{:index 7, :type :ok, :process 3, :f :cas, "
        ':value {:id "r\\"3\\\\", :expected 4, :far [1 nil true]}, '
        ':time 1250000000, :workload :exactly-once, :key "0", :node "a", :revision 17}\n'
    )


def test_the_nemesis_is_a_process_of_its_own() -> None:
    """
    Its events are all :info, as in Jepsen.
    """
    begin = Event(0, 0.5, "invoke", NEMESIS, "nemesis", "kill-one", "begin", {"seconds": 2.0})

    found = read_edn(edn([begin]))

    assert found[":process"] == ":nemesis"
    assert found[":type"] == ":info"
    assert found[":f"] == ":kill-one"
    assert found[":value"] == {":seconds": 2.0}


def test_a_whole_history_comes_back() -> None:
    """
    One map a line, nothing lost: read by a reader that knows nothing of the writer.
    """
    events = registers(4, 200).events

    lines = edn(events).splitlines()

    assert len(lines) == len(events)
    for line, event in zip(lines, events, strict=True):
        found = read_edn(line)
        assert found[":index"] == event.index
        assert found[":type"] == f":{event.type}"
        assert found[":process"] == event.process
        assert found[":f"] == f":{event.f}"
        assert found[":key"] == event.key
        assert found[":time"] == round(event.time * 1e9)
        assert found.get(":revision", 0) == event.revision
        value = event.value
        assert found[":value"] == (value and {f":{name}": one for name, one in value.items()})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, min_value=-1e9)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    """
    Whatever JSON can hold.
    """
    assert read_edn(edn_value(value)) == with_keywords(value)


def with_keywords(value: Any) -> Any:
    """The value as the reader shows it: names that can be keywords are."""
    if isinstance(value, dict):
        return {_named(name): with_keywords(one) for name, one in value.items()}
    return [with_keywords(one) for one in value] if isinstance(value, list) else value


def _named(name: str) -> str:
    simple = re.fullmatch(r"[A-Za-z*!_?$%&=<>][A-Za-z0-9_*!?$%&=<>.+-]*", name)
    return f":{name}" if simple else name


def test_what_edn_does_not_have_is_refused() -> None:
    """
    A history holds what JSON can hold, and nothing else.
    """
    with pytest.raises(TypeError, match="EDN has no object"):
        edn_value(object())
