r"""Histories in other people's formats: Jepsen's log in, Jepsen's EDN out.

**The log** of a Jepsen test of compare-and-set registers has one line an event:

    INFO  jepsen.util - 3\t:invoke\t:cas\t[3 0]

The process, what happened (`:invoke`, `:ok`, `:fail`, `:info`), the function (`:read`,
`:write`, `:cas`) and its value; perhaps a timestamp before it, and an error after it. The
value may be `[key value]`, as Jepsen writes it for many registers in one test. What the
nemesis did is left out, and so are other lines of a log; whatever claims to be an event
and is none is an error that names its line.

**EDN** is what Jepsen and Elle read: one map a line, `{:index 0, :type :invoke, ...}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from jepsen_like.checkers import register
from jepsen_like.checkers.history import MalformedHistory, Operation, validate
from jepsen_like.checkers.verdicts import merge
from jepsen_like.history import NEMESIS, Event
from jepsen_like.protocols import Validity

SECONDS_MAX: Final = 60.0  # for one key of one log

# --- Jepsen's log ----------------------------------------------------------------

_EVENT = re.compile(
    r"(?:^|[\s\-\]>])(?P<process>\d+|:nemesis)[ \t]+:(?P<type>invoke|ok|fail|info)"
    r"[ \t]+:(?P<f>[\w.+*!?<>=-]+)(?:[ \t]+(?P<rest>\S.*?))?\s*$",
    re.ASCII,
)
# What claims to be an event: whatever Jepsen's history logger wrote, or has its words.
_CLAIM = re.compile(r"\bjepsen\.util\b.*\d+\s*:|(?:^|\s):(?:invoke|ok|fail|info)(?:\s|$)")
_LOG_LINE = re.compile(r"\b(?:TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b")
_FUNCTIONS: Final = ("read", "write", "cas")
_ONE_KEY: Final = "register"  # where the values name none


class _Line(NamedTuple):
    """One event of a register. `value` is None for nil; `error` what stood after it."""

    number: int
    process: str
    type: str
    f: str
    key: str
    value: Any
    error: str


def judge(path: Path, seconds_max: float = SECONDS_MAX) -> Validity:
    """Whether the registers of a log are linearizable; `unknown` if the search for an
    order took too long. Raises MalformedHistory, which names the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedHistory(f"{path}: {error}") from error
    try:
        found = register.check(jepsen_log(text), seconds_max=seconds_max)
    except MalformedHistory as error:
        raise MalformedHistory(f"{path}: {error}") from error
    return merge(_VALIDITIES[one.finding] for one in found)


_VALIDITIES: Final[Mapping[str, Validity]] = {
    "linearizable": "valid",
    "illegal": "invalid",
    "unknown": "unknown",
}


def jepsen_log(text: str) -> list[Operation]:
    """The operations in a log, in the words of `checkers.register`; the number of a line
    is its time.

    A `:cas` that failed with the value it was asked with was compared, and did not hold.
    One that failed for another reason did not happen, as any other `:fail`."""
    history: list[Operation] = []
    under_way: dict[str, int] = {}
    retired: set[str] = set()
    for line in _events(text):
        if line.type == "invoke":
            if line.process in under_way or line.process in retired:
                raise _bad(line.number, f"process {line.process} is not free for it")
            under_way[line.process] = len(history)
            history.append(_begun(line))
            continue
        place = under_way.pop(line.process, None)
        if place is None:
            raise _bad(line.number, f"process {line.process} has nothing under way")
        if line.f != history[place].kind:
            raise _bad(line.number, f"a :{line.f} completes a :{history[place].kind}")
        if line.type == "info":
            retired.add(line.process)
        else:
            history[place] = _completed(history[place], line)
    if not history:
        raise MalformedHistory("there is no operation in it")
    validate(history)
    return history


def _bad(number: int, why: str) -> MalformedHistory:
    return MalformedHistory(f"line {number}: {why}")


def _events(text: str) -> Iterable[_Line]:
    """The events of registers in a log; raises for a line that is none and should be."""
    beside = False  # whether the lines belong to a message of many lines
    for number, line in enumerate(text.splitlines(), start=1):
        found = _EVENT.search(line)
        if found is not None:
            beside = False
            if found["process"] != ":nemesis":
                yield _line(number, found)
        elif _CLAIM.search(line) and ":nemesis" not in line:
            raise _bad(number, f"no event: {line[:200]!r}")
        elif _LOG_LINE.search(line):
            beside = True
        elif line.strip() and not beside:
            raise _bad(number, f"neither an event nor a line of a log: {line[:200]!r}")


def _line(number: int, found: re.Match[str]) -> _Line:
    f, said = found["f"], found["rest"] or "nil"
    if f not in _FUNCTIONS:
        raise _bad(number, f"a register does not know :{f}")
    key, value, error = _ONE_KEY, None, said
    try:
        value, error = _value(said)
    except ValueError as why:
        # What did not happen, or nobody knows of, may have any error in its value's place.
        if found["type"] in ("invoke", "ok"):
            raise _bad(number, f"no value: {said!r}: {why}") from why
    match value:
        case (of, (_, _) as inner) if f == "cas":
            key, value = str(of), inner
        case (of, inner) if f != "cas":
            key, value = str(of), inner
    return _Line(number, found["process"], found["type"], f, key, value, error)


def _begun(line: _Line) -> Operation:
    """An operation of which no more is known than that it was asked for."""
    value = None if line.f == "read" else line.value
    is_pair = isinstance(line.value, tuple)
    if is_pair is not (line.f == "cas") or (is_pair and len(line.value) != 2):
        raise _bad(line.number, f"{line.value!r} is no value for :{line.f}")
    return Operation(
        line.process, line.f, line.key, value, "info", None, float(line.number), None
    )


def _completed(operation: Operation, line: _Line) -> Operation:
    """An operation and its answer."""
    ended = replace(operation, completed=float(line.number))
    same = line.value == operation.value and line.key == operation.key
    if line.type == "fail":
        if line.f == "cas" and same and not line.error:
            return replace(ended, outcome="ok", result=False)
        return replace(ended, outcome="fail")
    if line.key != operation.key or (line.f != "read" and not same):
        raise _bad(line.number, f"{line.value!r} answers {operation.value!r}")
    if isinstance(line.value, tuple) and line.f == "read":
        raise _bad(line.number, f"a register does not hold {line.value!r}")
    results = {"read": line.value, "write": None, "cas": True}
    return replace(ended, outcome="ok", result=results[line.f])


_TOKEN = re.compile(r'\s*,*\s*(\[|\]|"(?:[^"\\]|\\.)*"|[^\s,\[\]"]+)')


def _value(text: str) -> tuple[Any, str]:
    """A value as Clojure prints it (nil, a number, a keyword, a string, or a vector of
    these), and what stands after it."""
    open_vectors: list[list[Any]] = [[]]
    place = 0
    while True:
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError("it ends too early")
        place = token.end()
        if token[1] == "[":
            open_vectors.append([])
        elif token[1] == "]":
            if len(open_vectors) == 1:
                raise ValueError("it closes what is not open")
            closed = tuple(open_vectors.pop())
            open_vectors[-1].append(closed)
        else:
            open_vectors[-1].append(_atom(token[1]))
        if len(open_vectors) == 1:
            return open_vectors[0][0], text[place:].strip()


def _atom(token: str) -> Any:
    if token == "nil":
        return None
    if re.fullmatch(r"[+-]?\d+", token):
        return int(token)
    if token[0] == ":" and len(token) > 1:
        return token
    if token[0] == '"' and len(token) > 1:
        return token[1:-1]
    raise ValueError(f"{token!r} is not known")


# --- EDN -----------------------------------------------------------------------

_KEYWORD = re.compile(r"[A-Za-z*!_?$%&=<>][\w*!?$%&=<>.+-]*", re.ASCII)
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_INT64: Final = 2**63


def edn(events: Iterable[Event]) -> str:
    """A history as Jepsen's: one map a line, times in nanoseconds. What the nemesis does
    is `:info` at its begin and its end, as Jepsen has it."""
    return "".join(f"{edn_value(_edn_map(event))}\n" for event in events)


class Keyword(str):
    """A name that EDN writes with a colon."""

    __slots__ = ()


def _edn_map(event: Event) -> dict[Keyword, Any]:
    nemesis = event.process == NEMESIS
    fields: dict[str, Any] = {
        "index": event.index,
        "type": Keyword("info" if nemesis else event.type),
        "process": Keyword("nemesis") if nemesis else event.process,
        "f": Keyword(event.f),
        "value": event.value,
        "time": round(event.time * 1_000_000_000),
        "workload": Keyword(event.workload),
    }
    for name in ("key", "node", "revision", "error"):
        said = getattr(event, name)
        if said:
            fields[name] = said
    return {Keyword(name): value for name, value in fields.items()}


def edn_value(value: Any) -> str:
    """One value in EDN. The names in a map are keywords where they can be."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if -_INT64 <= value < _INT64 else f"{value}N"
        case float():
            return _edn_float(value)
        case Keyword():
            return f":{value}" if _KEYWORD.fullmatch(value) else _edn_string(value)
        case str():
            return _edn_string(value)
        case Mapping():
            pairs = (
                f"{edn_value(_name(name))} {edn_value(one)}" for name, one in value.items()
            )
            return "{" + ", ".join(pairs) + "}"
        case Sequence():
            return "[" + " ".join(edn_value(one) for one in value) + "]"
    raise TypeError(f"EDN has no {type(value).__name__}: {value!r}")


def _name(name: Any) -> Any:
    return Keyword(name) if isinstance(name, str) else name


def _edn_float(value: float) -> str:
    if value != value:
        return "##NaN"
    if value in (float("inf"), float("-inf")):
        return "##Inf" if value > 0 else "##-Inf"
    return repr(value)


def _edn_string(text: str) -> str:
    escaped = (
        _ESCAPES.get(one) or (f"\\u{ord(one):04x}" if ord(one) < 32 else one) for one in text
    )
    return '"' + "".join(escaped) + '"'
