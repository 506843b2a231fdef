"""What requests are made of, and what each part may hold: the words of `validate`.

Each function tells what is wrong with one part, and nothing if it is fine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from raftstate.core import limits
from raftstate.v1.common_pb2 import Consistency, Label
from raftstate.v1.event_service_pb2 import NewEvent


class Violation(NamedTuple):
    """One field that breaks one limit. The field is empty for the whole request.

    `too_large` says that the request is REQUEST_TOO_LARGE rather than wrong."""

    field: str
    description: str
    limit: str
    too_large: bool = False

    def __str__(self) -> str:
        return f"{self.field or 'request'}: {self.description} (limit: {self.limit})"


def bad_session_id(field: str, value: str) -> Violation:
    """What is said of a text that is no session id."""
    words = f"{shown(value)} is no session id"
    return Violation(field, words, f"[a-zA-Z0-9._-]{{1,{limits.SESSION_ID_CHARS_MAX}}}")


def bad_agent_id(field: str, value: str) -> Violation:
    """What is said of a text that is no agent id."""
    words = f"{shown(value)} is no agent id"
    most = limits.AGENT_ID_CHARS_MAX
    return Violation(field, words, f"[a-zA-Z0-9][a-zA-Z0-9._/-]{{0,{most - 1}}}")


def member_id(value: str, field: str = "member_id") -> Iterator[Violation]:
    """A member's id."""
    if not limits.MEMBER_ID.fullmatch(value):
        most = limits.MEMBER_ID_CHARS_MAX
        words = f"{shown(value)} is no member id"
        yield Violation(field, words, f"[a-zA-Z0-9][a-zA-Z0-9._-]{{0,{most - 1}}}")


def address(field: str, value: str) -> Iterator[Violation]:
    """A host and a port."""
    found = limits.ADDRESS.fullmatch(value) if len(value) <= limits.ADDRESS_CHARS_MAX else None
    if found is None or not 1 <= int(found[1]) <= 65_535:
        words = f"{shown(value)} is no address"
        most = f"port 1 to 65535, {limits.ADDRESS_CHARS_MAX} characters"
        yield Violation(field, words, f"host:port or [ipv6]:port, {most}")


def shown(value: str) -> str:
    """A text as it is shown in an error: cut, if it is long."""
    if not value:
        return "the empty text"
    return repr(value) if len(value) <= 40 else f"{value[:40]!r}... of {len(value)} characters"


def too_large(field: str, size: int, most: int) -> Violation:
    """What is said of so many bytes where only so many may be."""
    return Violation(field, f"has {size} bytes", f"{most} bytes", too_large=True)


def session_id(value: str, field: str = "session_id") -> Iterator[Violation]:
    """A session's id."""
    if not limits.SESSION_ID.fullmatch(value):
        yield bad_session_id(field, value)


def agent_id(value: str, field: str = "agent_id") -> Iterator[Violation]:
    """An agent's or stream's id, or a name like one."""
    if not limits.AGENT_ID.fullmatch(value):
        yield bad_agent_id(field, value)


def words(field: str, value: str, most: int, least: int = 0) -> Iterator[Violation]:
    """A text of `least` to `most` characters."""
    if not least <= len(value) <= most:
        span = f"{least} to {most} characters" if least else f"{most} characters"
        yield Violation(field, f"has {len(value)} characters", span)


def people(field: str, value: str) -> Iterator[Violation]:
    """Words for people."""
    return words(field, value, limits.PEOPLE_CHARS_MAX)


def labels(labels: Sequence[Label], field: str = "labels") -> Iterator[Violation]:
    """Labels, each name once."""
    if len(labels) > limits.LABELS_MAX:
        yield Violation(field, f"has {len(labels)} labels", f"{limits.LABELS_MAX} labels")
        return
    seen = set()
    for at, label in enumerate(labels):
        place = f"{field}[{at}]"
        yield from words(f"{place}.name", label.name, limits.LABEL_NAME_CHARS_MAX, 1)
        yield from words(f"{place}.value", label.value, limits.LABEL_VALUE_CHARS_MAX)
        if label.name in seen:
            said = f"{shown(label.name)} is there twice"
            yield Violation(f"{place}.name", said, "each name once")
        seen.add(label.name)


def ttl(value: int, least: int, most: int) -> Iterator[Violation]:
    """A time to live, zero being the default."""
    if value != 0 and not least <= value <= most:
        yield Violation("ttl_ms", f"is {value}", f"{least} to {most}, or 0 for the default")


def enum(field: str, value: int, most: int) -> Iterator[Violation]:
    """A number that has a meaning: 0 to `most`."""
    if not 0 <= value <= most:
        yield Violation(field, f"{value} is not known", f"0 to {most}")


def consistency(message: Any) -> Iterator[Violation]:
    """A read's consistency, and the revision that some need."""
    yield from enum("consistency", message.consistency, 4)
    named = message.consistency in (
        Consistency.CONSISTENCY_AT_LEAST,
        Consistency.CONSISTENCY_AT_REVISION,
    )
    if named and not message.revision:
        yield Violation("revision", "is required", "1 or more, with this consistency")
    elif message.revision and not named:
        span = "0, unless consistency is AT_LEAST or AT_REVISION"
        yield Violation("revision", f"is {message.revision}", span)


def page(message: Any) -> Iterator[Violation]:
    """Which page of a list, and its consistency."""
    if message.page_size > limits.PAGE_SIZE_MAX:
        yield Violation("page_size", f"is {message.page_size}", str(limits.PAGE_SIZE_MAX))
    yield from words("page_token", message.page_token, limits.PAGE_TOKEN_CHARS_MAX)
    yield from consistency(message)


def fence(message: Any) -> Iterator[Violation]:
    """A fencing token must be there."""
    if not message.HasField("fence"):
        yield Violation("fence", "is required", "the token of an ownership")


def event(event: NewEvent, place: str) -> Iterator[Violation]:
    """An event as a client writes it."""
    most = limits.EVENT_WORD_CHARS_MAX
    yield from words(f"{place}.type", event.type, most, 1)
    yield from words(f"{place}.content_type", event.content_type, most)
    yield from words(f"{place}.causation_id", event.causation_id, most)
    yield from words(f"{place}.correlation_id", event.correlation_id, most)
    yield from words(f"{place}.event_id", event.event_id, limits.EVENT_ID_CHARS_MAX)
    if (size := len(event.state_hash)) > limits.STATE_HASH_BYTES_MAX:
        span = f"{limits.STATE_HASH_BYTES_MAX} bytes"
        yield Violation(f"{place}.state_hash", f"has {size} bytes", span)


def event_is_fine(event: NewEvent) -> bool:
    """The common case of `_event`, without a generator for each field."""
    most = limits.EVENT_WORD_CHARS_MAX
    return (
        0 < len(event.type) <= most
        and len(event.content_type) <= most
        and len(event.causation_id) <= most
        and len(event.correlation_id) <= most
        and len(event.event_id) <= limits.EVENT_ID_CHARS_MAX
        and len(event.state_hash) <= limits.STATE_HASH_BYTES_MAX
    )
