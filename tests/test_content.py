"""Content of checkpoints: decoded strictly, compared, and restored exactly from deltas."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstate import content
from raftstate.content import DELTA_JSON, DELTA_MSGPACK, JSON, MSGPACK, ContentError

# --- decoding ----------------------------------------------------------------

WRONG = {
    "a key twice": (b'{"a":1,"b":{"c":1,"c":2}}', JSON),
    "no number": (b"[NaN]", JSON),
    "infinity": (b"-Infinity", JSON),
    "too large a number": (b"1e999", JSON),
    "too many digits": (b"1" * 5_000, JSON),
    "too deep": (b"[" * 129 + b"]" * 129, JSON),
    "far too deep": (b"[" * 100_000, JSON),
    "half a character": (b'{"a":"\\uD800"}', JSON),
    "no text": (b'"\xff"', JSON),
    "more behind it": (b"1 2", JSON),
    "a mark before it": (b"\xef\xbb\xbf1", JSON),
    "cut": (b'{"a":', JSON),
    "nothing": (b"", JSON),
    "an extension": (msgpack.packb([msgpack.ExtType(3, b"x")]), MSGPACK),
    "a time": (msgpack.packb({"at": msgpack.Timestamp(3)}), MSGPACK),
    "the same number twice": (b"\x82\x01\x01\x01\x02", MSGPACK),
    "a list for a key": (b"\x81\x90\x01", MSGPACK),
    "a truth for a key": (b"\x81\xc3\x01", MSGPACK),
    "a fraction for a key": (msgpack.packb({1.5: 1}), MSGPACK),
    "no number, packed": (msgpack.packb(float("nan")), MSGPACK),
    "a list that is not there": (b"\xdd\xff\xff\xff\xff", MSGPACK),
    "too deep, packed": (b"\x91" * 129 + b"\x90", MSGPACK),
    "far too deep, packed": (b"\x91" * 100_000, MSGPACK),
    "more behind it, packed": (b"\x01\x01", MSGPACK),
    "nothing, packed": (b"", MSGPACK),
    "no code": (b"\xc1", MSGPACK),
    "no text, packed": (b"\xa1\xff", MSGPACK),
    "no structure": (b"{}", "application/octet-stream"),
    "no type": (b"{}", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_exact_is_refused(name: str) -> None:
    """
    Whatever could be read in two ways, or not at all, is an error with words.
    """
    with pytest.raises(ContentError) as refused:
        content.decode(*WRONG[name])

    assert str(refused.value)


@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        ({"a": [1, 1.0, True, None, "ü/~", -0.0, 1e-7]}, "application/json; charset=utf-8"),
        ({"a": {}}, "application/vnd.acme+json"),
        ({1: b"\0", b"k": 2**64 - 1, "k": [-(2**63)]}, "application/x-msgpack"),
        ("[" * 1_000, JSON),
    ],
)
def test_what_is_exact_comes_back(value: Any, content_type: str) -> None:
    """
    Values of both forms, under the names they go by.
    """
    found = content.decode(content.encode(value, content_type), content_type)

    assert repr(found) == repr(value)


@pytest.mark.parametrize("kind", [JSON, MSGPACK])
def test_values_are_counted_before_they_are_made(kind: str) -> None:
    """
    A few bytes can ask for much memory: more than so many values are refused, and commas
    in texts are no values.
    """
    many = content.encode([[]] * 1_000, kind)

    assert content.decode(many, kind, values_max=3_000) == [[]] * 1_000
    with pytest.raises(ContentError):
        content.decode(many, kind, values_max=1_000)
    assert content.decode(content.encode(',[{\\"' * 1_000, kind), kind, values_max=10)


@pytest.mark.parametrize(
    "value",
    [float("nan"), {1.5: 1}, object(), "\ud800", 2**64],
    ids=["nan", "key", "object", "half", "large"],
)
def test_what_cannot_be_written_is_an_error(value: Any) -> None:
    """
    Encoding says so in the same words as decoding.
    """
    with pytest.raises(ContentError):
        content.encode([value], MSGPACK)
    with pytest.raises(ContentError):
        content.encode({1: "a text is not a number"}, JSON)


# --- what differs ------------------------------------------------------------


def test_differences_are_named_by_place() -> None:
    """
    By key and by place in a list, as JSON pointers; types count, order of keys does not.
    """
    before = {"a/b": [1, 2, 3], "~": b"x", "same": {"x": 1, "y": 2}, 3: True, "t": "é"}
    after = {"same": {"y": 2, "x": 1}, "a/b": [1.0, 2], 3: 1, "t": "é", "new": {"k": None}}

    found, more = content.diff(before, after, 100)

    assert not more
    assert [tuple(one) for one in found] == [
        ("/a~1b/0", "changed", "1", "1.0"),
        ("/a~1b/2", "removed", "3", ""),
        ("/~0", "removed", '{"$bytes":"eA=="}', ""),
        ("/3", "changed", "true", "1"),
        ("/new", "added", "", '{"k":null}'),
    ]
    assert content.diff(1, "1", 9) == ([("", "changed", "1", '"1"')], False)
    assert content.diff([{}], [{}], 9) == ([], False)


def test_differences_are_bounded() -> None:
    """
    In number, in what each shows, and in all that is said; long keys above many places
    cost nothing while nothing differs.
    """
    first, rest = content.diff(list(range(10)), [], 3)
    shown, _ = content.diff([], ["x" * 5_000], 3)
    said, cut = content.diff([], ["x" * 500] * 100, 1_000, 2_000)
    long = {"k" * 1_000_000: [0] * 50_000}

    assert (len(first), rest) == (3, True)
    assert len(shown[0].after) == 1_024
    assert (len(said), cut) == (3, True)
    assert content.diff(long, json.loads(json.dumps(long)), 9) == ([], False)


# --- deltas ------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 2.5])
    | st.text(max_size=2)
)


def values(keys: st.SearchStrategy[Any], more: st.SearchStrategy[Any]) -> Any:
    return st.recursive(
        SCALARS | more,
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=10,
    )


TEXTS = values(st.text("ab/~=", max_size=2), st.nothing())
PACKED = values(
    st.text("ab", max_size=1) | st.integers(0, 2) | st.binary(max_size=1),
    st.binary(max_size=2),
)


@pytest.mark.parametrize(
    ("kind", "source"), [(JSON, TEXTS), (MSGPACK, PACKED)], ids=["json", "msgpack"]
)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_a_delta_leads_exactly_to_where_it_should(
    kind: str, source: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    """
    Whatever two values are, the delta written, read and applied gives the second, byte for
    byte as it is written; and leaves its base alone.
    """
    # What they share makes it harder than what is drawn apart.
    first, second, third = (data.draw(source) for _ in range(3))
    before, after = [first, second, {"k": first}], [second, third, {"k": third, "l": first}]
    delta_kind = content.delta_type(kind)
    assert delta_kind is not None
    for old, new in ((before, after), (after, before), (first, second)):
        was = repr(old)
        delta = content.make_delta(old, new)
        if delta is None:
            continue
        assert repr(content.apply_delta(old, delta)) == repr(new)
        assert repr(old) == was
        chain = [
            (content.encode(old, kind), kind),
            (content.encode(delta, delta_kind), delta_kind),
        ]
        assert content.restore(chain) == (content.encode(new, kind), kind)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_lists_of_anything_lead_to_each_other(before: list[int], after: list[int]) -> None:
    """
    Items that come often, and in any order, are edited rightly too.
    """
    delta = content.make_delta([0, before], [0, after])

    assert content.apply_delta([0, before], delta) == [0, after]


def test_a_delta_is_as_large_as_the_change() -> None:
    """
    What grows, shrinks, moves along or changes in places does not write out the rest.
    """
    items = [{"n": n, "text": "x" * 30} for n in range(1_000)]
    state = {"log": items, "count": 1_000, "name": "n"}
    changed = [*items[3:500], {"n": 500, "text": "new"}, *items[501:], {"n": 1_000}]

    grown = content.make_delta(state, state | {"log": [*items, {"n": 1_000}], "count": 1_001})
    moved = content.make_delta(state, state | {"log": changed})

    assert grown == [
        1,
        [
            "m",
            {"log": ["l", [1_000, ["+", [{"n": 1_000}]]]], "count": ["=", 1_001]},
            [],
            {},
        ],
    ]
    assert len(json.dumps(moved)) < 150
    assert content.make_delta(state, {"else": 1}) is None
    assert content.make_delta(state, state) == [1, None]
    assert content.make_delta([1], [(1, 2)]) is None
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    assert content.make_delta(deep, [deep]) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([[1], 5], [[True], 5]),
        ([[0.0], 5], [[-0.0], 5]),
        ({"k": {"a": 1, "b": 2}, "l": 1}, {"k": {"b": 2, "a": 1}, "l": 1}),
        ({"a": 1, "b": 2, "c": 3}, {"c": 3, "d": 4, "a": 1}),
        ([1, 2, 1, 2, 1], [2, 1, 2, 1, 2]),
        ([{}, [], ""], [[], "", {}]),
    ],
    ids=str,
)
def test_what_looks_alike_is_told_apart(before: Any, after: Any) -> None:
    """
    Types inside of values count, signs of zero, and the order of keys.
    """
    delta = content.make_delta([before, "same"], [after, "same"])

    assert repr(content.apply_delta([before, "same"], delta)) == repr([after, "same"])


BASE = {"a": 1, "l": [1, 2]}


@pytest.mark.parametrize(
    "delta",
    [
        None,
        [],
        [2, None],
        [True, None],
        [1],
        [1, ["?"]],
        [1, ["=", 1, 2]],
        [1, ["m", {"b": ["=", 1]}, [], {}]],
        [1, ["m", {}, ["b"], {}]],
        [1, ["m", {}, [[]], {}]],
        [1, ["m", {}, ["a", "a"], {}]],
        [1, ["m", {}, [], {"a": 2}]],
        [1, ["l", [2]]],
        [1, ["m", {"l": ["l", [3]]}, [], {}]],
        [1, ["m", {"l": ["l", [1]]}, [], {}]],
        [1, ["m", {"l": ["l", [-3]]}, [], {}]],
        [1, ["m", {"l": ["l", [0, 2]]}, [], {}]],
        [1, ["m", {"l": ["l", [True, 1]]}, [], {}]],
        [1, ["m", {"l": ["l", [2, ["=", 1]]]}, [], {}]],
        [1, ["m", {"l": ["l", [2, ["+", 1]]]}, [], {}]],
        [1, ["m", {"a": ["l", []]}, [], {}]],
    ],
    ids=str,
)
def test_what_is_no_delta_of_its_base_is_refused(delta: Any) -> None:
    """
    A delta that was made for something else, or is broken, never gives a value.
    """
    with pytest.raises(ContentError):
        content.apply_delta(BASE, delta)


def test_a_chain_is_of_one_form() -> None:
    """
    One link is given back as it is, whatever it holds; a delta of another form, or of no
    base, is refused.
    """
    delta = content.encode([1, None], DELTA_JSON)

    assert content.restore([(b"any bytes", "x/y")]) == (b"any bytes", "x/y")
    assert content.restore([(b"{}", JSON), (delta, DELTA_JSON)]) == (b"{}", JSON)
    for chain in (
        [(b"{}", JSON), (delta, DELTA_MSGPACK)],
        [(b"{}", JSON), (b"{}", JSON)],
        [(b"{}", "x/y"), (delta, DELTA_JSON)],
    ):
        with pytest.raises(ContentError):
            content.restore(chain)


def test_a_delta_of_a_deep_value_is_read_again() -> None:
    """
    The deepest value that there may be has a delta that may be deeper.
    """
    before: Any = 0
    after: Any = 1
    for _ in range(63):
        before, after = {"k": [before, 0]}, {"k": [after, 0]}
    delta = content.encode(content.make_delta(before, after), DELTA_JSON)

    restored, _ = content.restore([(content.encode(before, JSON), JSON), (delta, DELTA_JSON)])

    assert restored == content.encode(after, JSON)
