"""What checkpoints hold, as values: decoded strictly, compared, and cut down to what changed.

Two forms of content have a structure, JSON and msgpack. Their values are plain: None,
booleans, integers, finite floats, texts, bytes (msgpack only), lists, and maps whose keys
are texts (in msgpack also bytes or integers). Two values are the same if they are written
the same: 1 is neither 1.0 nor true.

A delta leads from one value to another. It is a plain value itself, saved as
`application/vnd.raftstate.delta+json` or `+msgpack`, whichever its base is:

    delta   [1, node]                 1 is the number of this format
    node    null                      the same
            ["=", value]              this value instead
            ["m", {key: node}, [key], {key: value}]
                                      a map: what changes, what goes, what is added behind
            ["l", [edit, ...]]        a list, from its beginning to its end
    edit    n                         keep n items
            -n                        leave out n items
            ["+", [value, ...]]       put these in
            a node                    change one item

A map keeps the order of its keys, so that what is restored is written as it was.

A state has a hash: blake2b-32 of its canonical JSON, which has the keys of each map in
order, no blanks, and all characters as they are (UTF-8). A built-in reducer makes a state
of a state and an event; see `EMPTY` and `fold`.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from math import isfinite
from typing import Any, Final, Literal, NamedTuple

import msgpack

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
DELTA_JSON: Final = "application/vnd.raftstate.delta+json"
DELTA_MSGPACK: Final = "application/vnd.raftstate.delta+msgpack"
DEPTH_MAX: Final = 128
# What a difference shows of a value.
SHOWN_CHARS: Final = 1_024

_FORMAT = 1
# A map or list of a value is two of its delta, and a delta begins with one more.
_DELTA_DEPTH_MAX = 2 * DEPTH_MAX + 4
_MSGPACK_TYPES = frozenset({MSGPACK, "application/x-msgpack", "application/vnd.msgpack"})
# A text, or one that nobody has ended: so there is no second look at any byte.
_STRING = re.compile(rb""""[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)""", re.DOTALL)
# What may leave half a character behind, which no encoding can hold.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SCALARS = (type(None), bool, int, float, str, bytes)
_KEYS = (str, bytes, int)


class ContentError(ValueError):
    """The content is not of a type with a structure, or is not what its type says."""


class Difference(NamedTuple):
    """One place where two values differ.

    `path` is a JSON pointer; `before` and `after` are JSON, cut after 1,024 characters,
    and empty where there is nothing.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str
    after: str


# --- bytes and values --------------------------------------------------------


def family(content_type: str) -> Literal["json", "msgpack"] | None:
    """How content of a type is written; None if it has no structure known here."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON or kind.endswith("+json"):
        return "json"
    if kind in _MSGPACK_TYPES or kind.endswith("+msgpack"):
        return "msgpack"
    return None


def is_delta(content_type: str) -> bool:
    """Whether content of a type is a delta."""
    return content_type in (DELTA_JSON, DELTA_MSGPACK)


def delta_type(content_type: str) -> str | None:
    """The type of a delta between contents of a type; None if there is none."""
    return {"json": DELTA_JSON, "msgpack": DELTA_MSGPACK}.get(family(content_type) or "")


def decode(data: bytes, content_type: str, *, values_max: int | None = None) -> Any:
    """The value that data of a type holds.

    Strict: a key that comes twice, a number that is none, more than 128 levels, more
    than `values_max` values, an extension of msgpack, or anything behind the value
    raises ContentError, as does a type without structure."""
    return _decode(data, content_type, values_max, DEPTH_MAX)


def encode(value: Any, content_type: str) -> bytes:
    """A plain value as data of a type. Raises ContentError."""
    kind = family(content_type)
    try:
        _check(value, _DELTA_DEPTH_MAX, (str,) if kind == "json" else _KEYS)
        if kind == "json":
            return _json(value).encode()
        if kind == "msgpack":
            packed: bytes = msgpack.packb(value, use_bin_type=True, strict_types=True)
            return packed
    except ContentError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ContentError(f"not a value of {content_type}: {error}") from error
    raise ContentError(f"{content_type!r} has no structure known here")


def _decode(data: bytes, content_type: str, values_max: int | None, depth_max: int) -> Any:
    kind = family(content_type)
    if kind is None:
        raise ContentError(f"{content_type!r} is neither JSON nor msgpack")
    try:
        value = (
            _from_json(data, values_max) if kind == "json" else _from_msgpack(data, values_max)
        )
    except ContentError:
        raise
    except RecursionError as error:
        raise _too_deep(depth_max) from error
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ContentError(f"not {content_type}: {error or 'cut off'}") from error
    _check(value, depth_max)
    return value


def _from_json(data: bytes, values_max: int | None) -> Any:
    if values_max is not None:
        bare = _STRING.sub(b"", data)
        if sum(map(bare.count, (b",", b"[", b"{"))) >= values_max:
            raise ContentError(f"more than {values_max} values")
    text = data.decode()
    value = json.loads(
        text,
        object_pairs_hook=_map,
        parse_float=_finite,
        parse_constant=_no_number,
    )
    if _SURROGATE.search(text):
        _json(value).encode()
    return value


def _from_msgpack(data: bytes, values_max: int | None) -> Any:
    left = float("inf") if values_max is None else values_max

    def counted(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise ContentError(f"more than {values_max} values")

    def made_map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        counted(1 + len(pairs))
        return _map(pairs)

    def made_list(items: list[Any]) -> list[Any]:
        counted(1 + len(items))
        return items

    return msgpack.unpackb(
        data,
        raw=False,
        strict_map_key=False,
        object_pairs_hook=made_map,
        list_hook=made_list,
        ext_hook=_no_extension,
    )


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    for key, _ in pairs:
        if type(key) not in _KEYS:
            raise ContentError(f"a key is a {type(key).__name__}")
    made = dict(pairs)
    if len(made) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ContentError(f"the key {_shown(twice)[:80]} comes twice")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ContentError(f"{text[:40]} is no finite number")
    return number


def _no_number(text: str) -> Any:
    raise ContentError(f"{text} is no finite number")


def _no_extension(code: int, _data: bytes) -> Any:
    raise ContentError(f"an extension of msgpack ({code})")


def _too_deep(depth_max: int) -> ContentError:
    return ContentError(f"more than {depth_max} levels")


def _check(value: Any, depth_max: int, keys: tuple[type, ...] = _KEYS) -> None:
    """Raise ContentError unless a value is plain, and not too deep."""
    level, depth = [value], 0
    while level:
        if depth == depth_max:
            raise _too_deep(depth_max)
        below: list[Any] = []
        for one in level:
            if type(one) is dict:
                if not all(type(key) in keys for key in one):
                    raise ContentError("a key is not of a type that keys may be of")
                below.extend(one.values())
            elif type(one) is list:
                below.extend(one)
            elif type(one) not in _SCALARS or (type(one) is float and not isfinite(one)):
                raise ContentError(f"a {type(one).__name__} that is no plain value")
        level, depth = below, depth + 1


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# --- states ------------------------------------------------------------------

Reducer = Literal["last_value", "merge_patch", "append", "count"]
# The state before the first event.
EMPTY: Final[dict[Reducer, Any]] = {
    "last_value": None,
    "merge_patch": {},
    "append": [],
    "count": {},
}


def canonical(value: Any) -> bytes:
    """A plain value as canonical JSON: two values are the same if their bytes are. Raises
    ContentError."""
    _check(value, DEPTH_MAX, (str,))
    try:
        return canonical_of_json(value)
    except (TypeError, ValueError) as error:
        raise ContentError(f"not a value of JSON: {error}") from error


def canonical_of_json(value: Any) -> bytes:
    """As `canonical`, of a value that is known to be one of JSON."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    ).encode()


def state_hash(value: Any) -> bytes:
    """What a state is recognised by. Raises ContentError."""
    return blake2b(canonical(value), digest_size=32).digest()


def demand_state(reducer: Reducer, state: Any) -> None:
    """Raise ContentError if a reducer cannot go on from a state."""
    if reducer == "append" and type(state) is not list:
        raise ContentError("the state is no list, to which events are appended")
    if reducer == "count" and (
        type(state) is not dict or any(type(one) is not int for one in state.values())
    ):
        raise ContentError("the state is no map of numbers, in which events are counted")


def fold(reducer: Reducer, state: Any, event_type: str, data: Any) -> Any:
    """The state after an event of a type that holds a value, which `count` does not look
    at. The state before stays as it is, but for `append`, which adds to it."""
    match reducer:
        case "last_value":
            return data
        case "merge_patch":
            return merge_patch(state, data)
        case "append":
            state.append(data)
            return state
        case "count":
            return state | {event_type: state.get(event_type, 0) + 1}


def merge_patch(target: Any, patch: Any) -> Any:
    """What a JSON merge patch makes of a value, which stays as it is (RFC 7396)."""
    if type(patch) is not dict:
        return patch
    merged = dict(target) if type(target) is dict else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# --- what differs ------------------------------------------------------------


def diff(
    before: Any, after: Any, limit: int, chars_max: int | None = None
) -> tuple[list[Difference], bool]:
    """Where two values differ, at most `limit` places and `chars_max` characters of what
    is said of them, and whether there are more.

    Maps are compared by key, lists by place; the order of a map's keys is no difference."""
    found: list[Difference] = []
    said = 0
    for path, kind, values in _differences(None, before, after):
        old = "" if kind == "added" else _shown(values[0])
        new = "" if kind == "removed" else _shown(values[1])
        one = Difference(_pointer(path), kind, old, new)
        said += len(one.path) + len(one.before) + len(one.after)
        if len(found) == limit or (chars_max is not None and said > chars_max):
            return found, True
        found.append(one)
    return found, False


class _Step(NamedTuple):
    """A way into a value, from its end: written out only where something differs."""

    above: _Step | None
    part: Any


_Found = tuple[_Step | None, Literal["added", "removed", "changed"], tuple[Any, Any]]


def _differences(path: _Step | None, before: Any, after: Any) -> Iterator[_Found]:
    if type(before) is dict and type(after) is dict:
        for key, value in before.items():
            if key in after:
                yield from _differences(_Step(path, key), value, after[key])
            else:
                yield _Step(path, key), "removed", (value, None)
        for key, value in after.items():
            if key not in before:
                yield _Step(path, key), "added", (None, value)
    elif type(before) is list and type(after) is list:
        for place, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from _differences(_Step(path, place), old, new)
        for place, value in enumerate(before[len(after) :], len(after)):
            yield _Step(path, place), "removed", (value, None)
        for place, value in enumerate(after[len(before) :], len(before)):
            yield _Step(path, place), "added", (None, value)
    elif not _same(before, after):
        yield path, "changed", (before, after)


def _pointer(path: _Step | None) -> str:
    parts: list[str] = []
    while path is not None:
        name = path.part if isinstance(path.part, str) else _shown(path.part)
        parts.append("/" + name.replace("~", "~0").replace("/", "~1"))
        path = path.above
    return "".join(reversed(parts))


def _shown(value: Any) -> str:
    return _json(_showable(value))[:SHOWN_CHARS]


def _showable(value: Any) -> Any:
    """A value as JSON can hold it, for people."""
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, list):
        return [_showable(one) for one in value]
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else _shown(key): _showable(one)
            for key, one in value.items()
        }
    return value


# --- deltas ------------------------------------------------------------------


def make_delta(before: Any, after: Any) -> Any | None:
    """What leads from one plain value to another; None if nothing of it would stay, or
    one of them is not plain."""
    try:
        _check(before, DEPTH_MAX)
        _check(after, DEPTH_MAX)
    except ContentError:
        return None
    node = _node(before, after)
    return None if node is not None and node[0] == "=" else [_FORMAT, node]


def apply_delta(base: Any, delta: Any) -> Any:
    """The value that a delta leads to from its base, which stays as it is.

    Raises ContentError if it is no delta, or not one from this base."""
    match delta:
        case [number, node] if type(number) is int and number == _FORMAT:
            return _changed(base, node)
    raise ContentError("not a delta, or of a later format")


def restore(
    chain: Sequence[tuple[bytes, str]], *, values_max: int | None = None
) -> tuple[bytes, str]:
    """What a chain amounts to: full content and then deltas, each as data and type.

    A chain of one is given back as it is. Raises ContentError."""
    (data, content_type), *deltas = chain
    if not deltas:
        return data, content_type
    return encode(restore_value(chain, values_max=values_max), content_type), content_type


def restore_value(chain: Sequence[tuple[bytes, str]], *, values_max: int | None = None) -> Any:
    """The value that a chain amounts to. Raises ContentError."""
    (data, content_type), *deltas = chain
    value = decode(data, content_type, values_max=values_max)
    for changes, found in deltas:
        value = restore_delta(value, content_type, changes, found, values_max=values_max)
    return value


def restore_delta(
    base: Any, base_type: str, data: bytes, content_type: str, *, values_max: int | None = None
) -> Any:
    """The value that a delta, as data of a type, leads to from a base whose content is of
    another. Raises ContentError."""
    if content_type != delta_type(base_type):
        raise ContentError(f"{content_type!r} is no delta for {base_type!r}")
    return apply_delta(base, _decode(data, content_type, values_max, _DELTA_DEPTH_MAX))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written the same, the order of keys included."""
    if type(one) is not type(other) or one != other:
        return False
    # Equal values may still be written otherwise: 1 and true, 0.0 and -0.0.
    return type(one) in (str, int, bytes) or repr(one) == repr(other)


def _node(before: Any, after: Any) -> list[Any] | None:
    if _same(before, after):
        return None
    if type(before) is dict and type(after) is dict:
        stay = [key for key in before if key in after]
        added = {key: value for key, value in after.items() if key not in before}
        if list(after) == [*stay, *added] and (stay or not before):
            nodes = {key: _node(before[key], after[key]) for key in stay}
            changed = {key: node for key, node in nodes.items() if node is not None}
            return ["m", changed, [key for key in before if key not in after], added]
    if type(before) is list and type(after) is list:
        edits = _Edits()
        for old, new in _gaps(before, after):
            edits.fill(before[old], after[new])
        if edits.keeps or not before:
            return ["l", edits.made]
    return ["=", after]


class _Edits:
    """The edits of one list, from left to right; like ones in a row become one."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.keeps = False

    def fill(self, before: list[Any], after: list[Any]) -> None:
        """Lead from one stretch of the list to what stands there afterwards."""
        start, end = _common(before, after)
        self.keep(start)
        old, new = before[start : len(before) - end], after[start : len(after) - end]
        if len(old) == len(new):
            for one, other in zip(old, new, strict=True):
                self.change(one, other)
        else:
            self.replace(len(old), new)
        self.keep(end)

    def keep(self, count: int) -> None:
        if not count:
            return
        self.keeps = True
        if self.made and type(self.made[-1]) is int and self.made[-1] > 0:
            self.made[-1] += count
        else:
            self.made.append(count)

    def change(self, before: Any, after: Any) -> None:
        node = _node(before, after)
        if node is None:
            self.keep(1)
        elif node[0] == "=":
            self.replace(1, [after])
        else:
            self.keeps = True
            self.made.append(node)

    def replace(self, dropped: int, added: list[Any]) -> None:
        match self.made:
            case [*_, int(leaves), ["+", puts]] if leaves < 0 and dropped:
                # Items that are replaced one after the other.
                self.made[-2] = leaves - dropped
                puts.extend(added)
                return
        if dropped:
            self.made.append(-dropped)
        if added:
            self.made.append(["+", list(added)])


def _common(before: list[Any], after: list[Any]) -> tuple[int, int]:
    """How many items two lists share at their beginning, and at their end."""
    most = min(len(before), len(after))
    start = 0
    while start < most and _same(before[start], after[start]):
        start += 1
    end = 0
    while end < most - start and _same(before[-1 - end], after[-1 - end]):
        end += 1
    return start, end


def _gaps(before: list[Any], after: list[Any]) -> Iterator[tuple[slice, slice]]:
    """Where two lists may differ: what lies between the items that surely stay.

    Those are the items that each list has once (a "patience diff"): as many of them as
    come in the same order in both. They stand at the end of each stretch."""
    start, end = _common(before, after)
    old = [repr(one) for one in before[start : len(before) - end]]
    new = [repr(one) for one in after[start : len(after) - end]]
    counts, places = Counter(old), {text: place for place, text in enumerate(new)}
    twice = {text for text, count in Counter(new).items() if count > 1}
    pairs = [
        (place, places[text])
        for place, text in enumerate(old)
        if counts[text] == 1 and text in places and text not in twice
    ]
    stops = [(0, 0)]
    stops += [(start + one + 1, start + other + 1) for one, other in _rising(pairs)]
    stops.append((len(before), len(after)))
    for (old_from, new_from), (old_to, new_to) in pairwise(stops):
        yield slice(old_from, old_to), slice(new_from, new_to)


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs, in order, whose second numbers rise."""
    tails: list[int] = []
    ends: list[int] = []
    behind: list[int] = []
    for place, (_, number) in enumerate(pairs):
        length = bisect_left(tails, number)
        behind.append(ends[length - 1] if length else -1)
        if length == len(tails):
            tails.append(number)
            ends.append(place)
        else:
            tails[length], ends[length] = number, place
    found = []
    at = ends[-1] if ends else -1
    while at >= 0:
        found.append(pairs[at])
        at = behind[at]
    return found[::-1]


def _changed(base: Any, node: Any) -> Any:
    match node:
        case None:
            return base
        case ["=", value]:
            return value
        case ["m", dict(changed), list(removed), dict(added)] if type(base) is dict:
            return _changed_map(base, changed, removed, added)
        case ["l", list(edits)] if type(base) is list:
            return _changed_list(base, edits)
    raise ContentError("the delta is not one from this base")


def _changed_map(
    base: dict[Any, Any], changed: dict[Any, Any], removed: list[Any], added: dict[Any, Any]
) -> dict[Any, Any]:
    made = dict(base)
    for key, node in changed.items():
        if key not in base:
            raise ContentError("the delta changes a key that its base has not")
        made[key] = _changed(base[key], node)
    for key in removed:
        if type(key) not in _KEYS or key not in made:
            raise ContentError("the delta removes a key that its base has not")
        del made[key]
    for key, value in added.items():
        if key in made:
            raise ContentError("the delta adds a key that its base has")
        made[key] = value
    return made


def _changed_list(base: list[Any], edits: list[Any]) -> list[Any]:
    made: list[Any] = []
    at = 0
    for edit in edits:
        if type(edit) is int:
            if not 0 < abs(edit) <= len(base) - at:
                raise ContentError("the delta goes beyond a list of its base")
            if edit > 0:
                made += base[at : at + edit]
            at += abs(edit)
        elif type(edit) is list and len(edit) == 2 and edit[0] == "+":
            if type(edit[1]) is not list:
                raise ContentError("the delta is broken")
            made += edit[1]
        else:
            if at >= len(base):
                raise ContentError("the delta goes beyond a list of its base")
            made.append(_changed(base[at], edit))
            at += 1
    if at != len(base):
        raise ContentError("the delta ends before a list of its base does")
    return made
