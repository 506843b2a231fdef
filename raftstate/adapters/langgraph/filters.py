"""What `search` finds: the filters and conditions of LangGraph's stores.

A filter is a mapping of fields to what they have to be, all of them: a value, or operators
with theirs (`{"score": {"$gte": 3, "$lt": 5}}`). A field is a name, or a path of names with
periods between. As with the SQLite store, a field that is missing or null is less, greater
and unlike nothing; and numbers are compared with numbers and with texts that are numbers,
texts with texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.store.base import MatchCondition

from raftstate.adapters.langgraph.items import Namespace, check_namespace

# The SQLite store refuses the same, and letters beyond ASCII.
_FIELD: Final = re.compile(r"[\w.-]+")

Test = Callable[[Mapping[str, Any]], bool]


def compiled(wanted: Mapping[Any, Any] | None) -> Test:
    """A filter's test of an item's value. Raises ValueError for a field or an operator that
    there is not."""
    tests = [_test(field, given) for field, given in (wanted or {}).items()]
    return lambda value: all(test(value) for test in tests)


def _test(field: Any, given: Any) -> Test:
    if not isinstance(field, str) or _FIELD.fullmatch(field) is None:
        raise ValueError(
            f"Invalid filter key: {field!r}; it is made of letters, digits, underscores,"
            " hyphens and periods"
        )
    if not (isinstance(given, Mapping) and any(str(name)[:1] == "$" for name in given)):
        return lambda value: _same(_at(value, field), given)
    for name in given:
        if name not in _OPERATORS:
            raise ValueError(
                f"Unsupported operator: {name!r}; there are {', '.join(_OPERATORS)}"
            )
    operators = [(_OPERATORS[name], operand) for name, operand in given.items()]
    return lambda value: all(
        operator(_at(value, field), operand) for operator, operand in operators
    )


def _at(value: Any, field: str) -> Any:
    """What a field holds; None if there is none. A name with periods that is one name goes
    before a path."""
    if isinstance(value, Mapping) and field in value:
        return value[field]
    for name in field.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _same(found: Any, given: Any) -> bool:
    """Whether a field is what is given; of a mapping, whether it holds what is given."""
    if isinstance(given, Mapping):
        return isinstance(found, Mapping) and all(
            _same(found.get(name), inner) for name, inner in given.items()
        )
    if isinstance(given, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(given)
            and all(map(_same, found, given))
        )
    return bool(found == given)


def _unlike(found: Any, given: Any) -> bool:
    return found is not None and not _same(found, given)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(found: Any, given: Any) -> bool:
        if isinstance(given, str):
            return isinstance(found, str) and compare(found, given)
        if not isinstance(given, int | float):
            return False
        if isinstance(found, str):
            try:
                found = float(found)
            except ValueError:
                return False
        return isinstance(found, int | float) and compare(found, given)

    return test


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": _same,
    "$ne": _unlike,
    "$gt": _ordered(lambda found, given: bool(found > given)),
    "$gte": _ordered(lambda found, given: bool(found >= given)),
    "$lt": _ordered(lambda found, given: bool(found < given)),
    "$lte": _ordered(lambda found, given: bool(found <= given)),
}


# --- namespaces --------------------------------------------------------------


def checked(conditions: Iterable[MatchCondition] | None) -> list[MatchCondition]:
    """The conditions of a listing. Raises InvalidNamespaceError, and ValueError for a kind
    of match that there is not."""
    found = list(conditions or ())
    for condition in found:
        check_namespace(condition.path)
        if condition.match_type not in ("prefix", "suffix"):
            raise ValueError(
                f"match_type is {condition.match_type!r}; there are 'prefix' and 'suffix'"
            )
    return found


def matches(namespace: Namespace, conditions: Sequence[MatchCondition]) -> bool:
    """Whether a namespace meets all conditions. "*" is any one label."""
    return all(_meets(namespace, condition) for condition in conditions)


def _meets(namespace: Namespace, condition: MatchCondition) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    labels = namespace if condition.match_type == "prefix" else namespace[-len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, labels, strict=False))


def beginning(conditions: Sequence[MatchCondition]) -> Namespace:
    """The longest namespace that all which meet the conditions begin with, as far as the
    conditions name it."""
    longest: Namespace = ()
    for condition in conditions:
        if condition.match_type == "prefix":
            path = tuple(condition.path)
            known = path[: path.index("*")] if "*" in path else path
            longest = max(longest, known, key=len)
    return longest
