"""The saver's serializer: LangGraph's own, with a list of what it may make of what is stored.

LangGraph's calls whatever is named in a value, `os.system` too, unless the environment has
LANGGRAPH_STRICT_MSGPACK; then it makes only what it knows to be safe, and the types of the
graph's schemas. This one makes, beside what is safe, such types as it could have written a
value of: data classes, models of pydantic, named tuples, enumerations and secrets, of modules
that the program has imported itself. Of anything else it gives the bare data, and logs so.
"""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from inspect import isclass
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

# What instances of these types have, and what LangGraph takes their values from.
_TELLING = ("model_dump", "get_secret_value", "_asdict")


class ListedSerializer(JsonPlusSerializer):
    """LangGraph's msgpack, of which nothing is called that is no type of data."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """A value. Raises NotImplementedError for one that was pickled."""
        named: set[tuple[str, str]] = set()
        if data[0] == "msgpack":
            _scan(data[1], named)
        made = {each for each in named if _of_data(*each)}
        allowed = self.with_msgpack_allowlist(made) if made else self
        return JsonPlusSerializer.loads_typed(allowed, data)


def _scan(data: bytes, named: set[tuple[str, str]]) -> Any:
    """Which types a value names, at any depth."""

    def hook(_: int, inner: bytes) -> None:
        found = _scan(inner, named)
        if isinstance(found, list) and [type(one) for one in found[:2]] == [str, str]:
            named.add((found[0], found[1]))

    return ormsgpack.unpackb(data, ext_hook=hook, option=ormsgpack.OPT_NON_STR_KEYS)


def _of_data(module: str, name: str) -> bool:
    """Whether this is a type of data that somebody has imported."""
    found = getattr(sys.modules.get(module), name, None)
    return isclass(found) and (
        dataclasses.is_dataclass(found)
        or issubclass(found, Enum)
        or any(callable(getattr(found, each, None)) for each in _TELLING)
    )
