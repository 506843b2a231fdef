"""Where the items of a `RaftStore` lie, and what is written of them.

    root "item" namespace, an empty part, key     an item
    root "due" when, digest of the item's key     the item's key: when it is over

Namespaces sort as their labels do, and one begins with the bytes of all above it, as far
as they fit into a key. What does not fit is told apart by a digest; so an item holds its
namespace and its key in full.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from typing import Any, Final, Self
from uuid import UUID

from langgraph.store.base import InvalidNamespaceError, Item, SearchItem

from raftstate.adapters import keys
from raftstate.adapters.records import Damaged
from raftstate.client import clock
from raftstate.errors import InvalidRequest

ROOT: Final = "~langgraph-store"
# A namespace beyond this keeps as many labels as fit into the second, and a digest. An
# item's key has at most 480 bytes then, with all that a record may add to it.
_NAMESPACE_BYTES_MAX: Final = 216
_LABELS_BYTES_MAX: Final = 180
# An empty part: no label is empty.
_BETWEEN: Final = keys.key("")
_MINUTE_US: Final = 60_000_000
# Some 1,900 years: what is beyond has no date.
TTL_MINUTES_MAX: Final = 1e9

Namespace = tuple[str, ...]


def now_us() -> int:
    """What this host's clock shows, in microseconds since 1970."""
    return round(clock.wall() * 1e6)


class Layout:
    """The keys of one store's items."""

    def __init__(self, name: str) -> None:
        self.items: bytes = keys.key(ROOT, name, "item")
        self._due = (ROOT, name, "due")

    def below(self, namespace: Namespace) -> bytes:
        """What the keys of all items in a namespace and below begin with. If it is long,
        some others' do as well."""
        return self.items + b"".join(_fitting(namespace))

    def own(self, namespace: Namespace) -> bytes:
        """What the keys of all items in just this namespace begin with."""
        return self.items + _namespace(namespace) + _BETWEEN

    def item(self, namespace: Namespace, key: str) -> bytes:
        """An item's key."""
        return self.own(namespace) + keys.key(key)

    def namespace(self, item: bytes) -> tuple[bytes, Namespace | None]:
        """Of an item's key what those of its whole namespace begin with, and the namespace;
        None if only the item itself tells."""
        start = len(self.items)
        # No label holds a zero byte, so that this is nowhere else.
        end = start
        if not item.startswith(_BETWEEN, start):
            end = item.index(_BETWEEN + _BETWEEN, start) + len(_BETWEEN)
        return item[: end + len(_BETWEEN)], keys.texts(item[start:end])

    def due(self, until_us: int = 0) -> bytes:
        """What sorts behind all that is over before then."""
        return keys.key(*self._due, until_us)

    def due_at(self, item: bytes, expires_us: int) -> bytes:
        """The key that says when an item is over."""
        digest = hashlib.blake2b(item, digest_size=16).hexdigest()
        return self.due(expires_us) + keys.key(digest)


def _namespace(namespace: Namespace) -> bytes:
    whole = keys.key(*namespace)
    if len(whole) <= _NAMESPACE_BYTES_MAX:
        return whole
    digest = hashlib.blake2b(json.dumps(namespace).encode(), digest_size=16).hexdigest()
    return b"".join(_fitting(namespace)) + keys.cut(digest)


def _fitting(namespace: Namespace) -> list[bytes]:
    """The first labels, as many as every namespace below keeps."""
    kept, left = list[bytes](), _LABELS_BYTES_MAX
    for label in namespace:
        written = keys.key(label)
        left -= len(written)
        if left < 0:
            break
        kept.append(written)
    return kept


def check_namespace(namespace: Sequence[str]) -> Namespace:
    """The namespace as a tuple. Raises InvalidNamespaceError, as all of LangGraph's stores
    do, for a label that is no text, is empty, or holds a period or a zero character."""
    for label in namespace:
        if not isinstance(label, str):
            raise InvalidNamespaceError(
                f"label {label!r} of namespace {namespace!r} is of type"
                f" {type(label).__name__}; labels are texts"
            )
        if not label or "." in label or "\0" in label:
            raise InvalidNamespaceError(
                f"label {label!r} of namespace {namespace!r} is empty, or holds a period or"
                " a zero character"
            )
    return tuple(namespace)


def check_ttl(field: str, minutes: float | None) -> float | None:
    """A time to live. Raises InvalidRequest (definite) for one that is none."""
    if minutes is not None and not 0 < minutes <= TTL_MINUTES_MAX:
        raise InvalidRequest(
            f"{field} is {minutes!r}; it is a number of minutes above 0, at most"
            f" {TTL_MINUTES_MAX:g}",
            definite=True,
            details={"field": field, "limit": f"{TTL_MINUTES_MAX:g}"},
        )
    return minutes


def encoded(namespace: Namespace, key: str, value: Mapping[str, Any]) -> bytes:
    """An item's value in JSON. Raises TypeError or ValueError for what has no form there."""
    try:
        if not isinstance(value, Mapping):
            raise TypeError(f"a value is a mapping, not {type(value).__name__}")
        text = json.dumps(
            _plain(value), default=_as_json, ensure_ascii=False, separators=(",", ":")
        )
        # Lone surrogates are texts as well, in Python; JSON reads them back.
        return text.encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the value of {key!r} in {namespace!r}: {error}") from error


def _plain(value: Any) -> Any:
    """The value without what JSON would take for something else: keys that are no texts."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{name!r} is of type {type(name).__name__}; keys are texts")
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _as_json(value: Any) -> Any:
    """What LangGraph's other stores take as well, though it comes back as a text."""
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


@dataclass(frozen=True, slots=True)
class Kept:
    """An item as it is written. Times are in microseconds since 1970."""

    namespace: Namespace
    key: str
    value: bytes
    created_us: int
    updated_us: int
    ttl: float | None = None
    expires_us: int | None = None
    vectors: tuple[str, ...] = ()

    @classmethod
    def read(cls, record: bytes) -> Self:
        """What `written` wrote. Raises Damaged (definite)."""
        head, _, value = record.partition(b"\n")
        try:
            said = json.loads(head)
            return cls(
                namespace=tuple(said["namespace"]),
                key=said["key"],
                value=value,
                created_us=said["created"],
                updated_us=said["updated"],
                ttl=said.get("ttl"),
                expires_us=said.get("expires"),
                vectors=tuple(said.get("vectors", ())),
            )
        except (ValueError, LookupError, TypeError) as error:
            raise Damaged(f"what should be an item is none: {error}", definite=True) from error

    def written(self) -> bytes:
        """The record of it: what it is about in one line, and the value."""
        head: dict[str, Any] = {
            "namespace": self.namespace,
            "key": self.key,
            "created": self.created_us,
            "updated": self.updated_us,
        }
        if self.ttl is not None:
            head |= {"ttl": self.ttl, "expires": self.expires_us}
        if self.vectors:
            head["vectors"] = self.vectors
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.value

    def over(self, now: int) -> bool:
        """Whether its time to live has passed."""
        return self.expires_us is not None and self.expires_us <= now

    def refreshed(self, now: int) -> Self | None:
        """The same, alive for as long as it was when it was put; None if that changes
        nothing, or so little that it is not worth a write: a fiftieth of it."""
        if self.ttl is None or self.expires_us is None:
            return None
        expires = now + microseconds(self.ttl)
        if expires - self.expires_us < microseconds(self.ttl) // 50:
            return None
        return replace(self, expires_us=expires)

    def decoded(self) -> dict[str, Any]:
        """The value."""
        value: dict[str, Any] = json.loads(self.value)
        return value

    def item(self) -> Item:
        """It as `get` gives it."""
        return Item(
            value=self.decoded(),
            key=self.key,
            namespace=self.namespace,
            created_at=_when(self.created_us),
            updated_at=_when(self.updated_us),
        )

    def found(self, value: dict[str, Any], score: float | None) -> SearchItem:
        """It as `search` gives it."""
        return SearchItem(
            namespace=self.namespace,
            key=self.key,
            value=value,
            created_at=_when(self.created_us),
            updated_at=_when(self.updated_us),
            score=score,
        )


def microseconds(minutes: float) -> int:
    """A time to live, in whole microseconds."""
    return math.ceil(minutes * _MINUTE_US)


def _when(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
