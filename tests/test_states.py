"""States: their canonical form, their hash, and what built-in reducers make of events."""

from __future__ import annotations

import json
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate import content
from raftstate.content import EMPTY, ContentError, Reducer, canonical, fold, merge_patch

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

# --- the canonical form --------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": 1, "a": [True, None, 1.0]}, '{"a":[true,null,1.0],"b":1}'),
        ({"é": "ü\n", "z": {"y": 1, "x": 2}}, '{"z":{"x":2,"y":1},"é":"ü\\n"}'),
        ([], "[]"),
        (-0.0, "-0.0"),
        ("\u2028", '"\u2028"'),
    ],
)
def test_there_is_one_way_to_write_a_value(value: Any, written: str) -> None:
    """
    Keys in order, no blanks, all characters as they are; the hash is that of the bytes.
    """
    assert canonical(value) == written.encode()
    assert content.state_hash(value) == blake2b(written.encode(), digest_size=32).digest()


@given(PLAIN)
def test_what_is_written_is_read_again(value: Any) -> None:
    """
    The order of a map's keys is no part of it; all else is.
    """
    written = canonical(value)

    assert canonical(content.decode(written, content.JSON)) == written
    assert canonical(_backwards(value)) == written


def _backwards(value: Any) -> Any:
    """A value with the keys of its maps in another order."""
    if isinstance(value, dict):
        return {key: _backwards(value[key]) for key in reversed(value)}
    return [_backwards(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        {"a": b"x"},
        {1: 2},
        float("nan"),
        [float("inf")],
        (1, 2),
        {1, 2},
        "\ud800",
        object(),
    ],
)
def test_what_json_cannot_hold_has_no_form(value: Any) -> None:
    """
    Nor has it a hash.
    """
    for ask in (canonical, content.state_hash):
        with pytest.raises(ContentError):
            ask(value)


def test_a_value_that_is_too_deep_has_none_either() -> None:
    """
    The same bound as for everything else that is decoded.
    """
    value: Any = 1
    for _ in range(content.DEPTH_MAX - 1):
        value = [value]

    assert canonical(value)
    with pytest.raises(ContentError):
        canonical([value])


# --- reducers ------------------------------------------------------------------------

# As in appendix A of RFC 7396.
PATCHES: list[tuple[str, str, str]] = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("target", "patch", "result"), PATCHES)
def test_a_merge_patch_is_that_of_the_rfc(target: str, patch: str, result: str) -> None:
    """
    And the value that is patched stays as it is.
    """
    before = json.loads(target)

    after = merge_patch(before, json.loads(patch))

    assert canonical(after) == canonical(json.loads(result))
    assert before == json.loads(target)


@pytest.mark.parametrize(
    ("reducer", "states"),
    [
        ("last_value", [1, {"a": 1}, None]),
        ("merge_patch", [1, {"a": 1}, None]),
        ("append", [[1], [1, {"a": 1}], [1, {"a": 1}, None]]),
        ("count", [{"x": 1}, {"x": 1, "y": 1}, {"x": 2, "y": 1}]),
    ],
)
def test_what_reducers_make_of_events(reducer: Reducer, states: list[Any]) -> None:
    """
    Three events: one of type x that holds 1, one of type y with a map, one of x with null.
    """
    state, found = deepcopy(EMPTY[reducer]), []
    for kind, data in (("x", 1), ("y", {"a": 1}), ("x", None)):
        state = fold(reducer, state, kind, data)
        found.append(deepcopy(state))

    assert found == states


@pytest.mark.parametrize("reducer", ["last_value", "merge_patch", "count"])
def test_a_fold_leaves_the_state_before_alone(reducer: Reducer) -> None:
    """
    So that the two can be compared.
    """
    before = {"x": 1, "inner": 2}
    kept = deepcopy(before)

    after = fold(reducer, before, "x", {"inner": {"new": 1}})

    assert before == kept
    assert after != before


@pytest.mark.parametrize(
    ("reducer", "good", "bad"),
    [
        ("append", [[], [1]], [{}, None, "x"]),
        ("count", [{}, {"a": 1}], [[], {"a": "b"}, {"a": True}, None]),
        ("last_value", [None, [], {}], []),
        ("merge_patch", [None, [], {}], []),
    ],
)
def test_which_states_a_reducer_goes_on_from(
    reducer: Reducer, good: list[Any], bad: list[Any]
) -> None:
    """
    Those that it could have made.
    """
    for state in good:
        content.demand_state(reducer, state)
    for state in bad:
        with pytest.raises(ContentError):
            content.demand_state(reducer, state)
