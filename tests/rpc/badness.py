"""Bad requests, made from good ones by the descriptors: one thing is wrong in each.

What can be wrong with a field follows from its type, and from what `bad_rows` says of it.
A request is made anew for every case, so that each has a request id of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from raftstate.core import limits
from tests.rpc.bad_rows import NEEDED, wrong_for

Make = Callable[[], Message]
Path = tuple[str, ...]

INVALID = frozenset({"INVALID_REQUEST", "REQUEST_TOO_LARGE"})
# Whatever the call's documentation allows, and also that it succeeds.
DOCUMENTED: frozenset[str] = frozenset()

_VARINT, _FIXED64, _BYTES, _GROUP, _END = 0, 1, 2, 3, 4
_UNUSED = 1_000  # no request has a field of that number
_PLACE = "~here~"

AT_LEAST, AT_REVISION = 3, 4


class Bad(NamedTuple):
    """One bad request: what is wrong, its bytes, the reasons it may be refused with, and
    which field a refusal has to name, if it must."""

    what: str
    raw: bytes
    reasons: frozenset[str] = DOCUMENTED
    fields: frozenset[str] = frozenset()
    waits: bool = False


class Place(NamedTuple):
    """A field somewhere in a request: the fields that lead there, and itself."""

    path: Path
    field: Any

    @property
    def name(self) -> str:
        """As `Message.field`."""
        return f"{self.field.containing_type.name}.{self.field.name}"

    def __str__(self) -> str:
        return ".".join((*self.path, self.field.name))


# --- where things are ----------------------------------------------------------------


def is_repeated(field: Any) -> bool:
    """Whether there may be several."""
    return bool(field.is_repeated)


def places(kind: Any, path: Path = (), seen: tuple[str, ...] = ()) -> Iterator[Place]:
    """Every field of a request, and of what is in it. A type within itself is gone into
    once, and of fields of one type the first; the mutations and queries of a batch are
    requests themselves."""
    gone = {"Mutation", "Query"}
    for field in kind.fields:
        yield Place(path, field)
        inner = field.message_type
        if inner is None or inner.name in gone or seen.count(inner.name) == 2:
            continue
        gone.add(inner.name)
        yield from places(inner, (*path, field.name), (*seen, inner.name))


def reach(message: Message, path: Path) -> Any:
    """The message that a path leads to; what is not there on the way is made."""
    found: Any = message
    for name in path:
        inner = getattr(found, name)
        if is_repeated(found.DESCRIPTOR.fields_by_name[name]):
            found = inner[0] if len(inner) else inner.add()
        else:
            inner.SetInParent()
            found = inner
    return found


# --- what is wrong -------------------------------------------------------------------


def bad_requests(make: Make, newest: int, oldest: int) -> Iterator[Bad]:
    """Every bad request of one kind, of a store whose newest and oldest revisions that
    can be read are given."""
    yield from _garbage(make)
    message = make()
    for place in places(message.DESCRIPTOR):
        yield from _missing(make, place)
        yield from _wrong_values(make, place)
        yield from _wrong_bytes(make, place)
        yield from _odd_values(make, place)
    if "txn" in message.DESCRIPTOR.fields_by_name:
        yield from _deep(make)
    if "consistency" in message.DESCRIPTOR.fields_by_name:
        yield from _wrong_revisions(make, newest, oldest)


def _garbage(make: Make) -> Iterator[Bad]:
    """Bytes that are no message, or more of one than may be."""
    good = make().SerializeToString()
    needed = {
        field.name
        for field in make().DESCRIPTOR.fields
        if f"{make().DESCRIPTOR.name}.{field.name}" in NEEDED
    }
    yield Bad("nothing at all", b"", INVALID if needed else DOCUMENTED)
    for raw in (
        b"\xff" * 11,  # a tag without an end
        b"\x0a\xff",  # longer than all that is there
        b"\x00\x00",  # field number 0
        b"\x0f\x00",  # wire type 7
        b"\x0c",  # the end of a group that did not begin
        b"\x0b",  # a group that does not end
    ):
        # Of a message without fields nothing is read, so nothing is wrong with it.
        bare = not make().DESCRIPTOR.fields
        yield Bad(f"{raw!r} behind it", good + raw, DOCUMENTED if bare else INVALID)
    deep = _tag(_UNUSED, _GROUP) * 200 + _tag(_UNUSED, _END) * 200
    yield Bad("groups in groups", good + deep, INVALID)
    room = limits.REQUEST_BYTES_MAX - len(good) + 1
    padding = _tag(_UNUSED, _BYTES) + _varint(room) + bytes(room)
    yield Bad("one that is too large", good + padding, frozenset({"REQUEST_TOO_LARGE"}))


def _missing(make: Make, place: Place) -> Iterator[Bad]:
    message = make()
    parent = reach(message, place.path)
    parent.ClearField(place.field.name)
    if place.name in NEEDED:
        yield _invalid(f"no {place}", message, place)
    elif place.field.message_type is not None:
        yield Bad(f"no {place}", message.SerializeToString())


def _wrong_values(make: Make, place: Place) -> Iterator[Bad]:
    """What is known to be wrong: limits that are passed, and enums that are not known."""
    values: list[Any]
    if place.field.enum_type is not None:
        values = [99, -1, max(place.field.enum_type.values_by_number) + 1]
        values = [[one] for one in values] if is_repeated(place.field) else values
        values += _told(place) if is_repeated(place.field) else []
    else:
        values = _told(place)
    for value in values:
        message = make()
        parent = reach(message, place.path)
        if callable(value) and (value := value(parent)) is None:
            continue
        put(parent, place.field, value)
        shown = f"{value!r:.40}"
        yield _invalid(f"{place} = {shown}", message, place)


def _told(place: Place) -> list[Any]:
    if place.field.message_type is not None and not is_repeated(place.field):
        return []
    reads = "consistency" in place.field.containing_type.fields_by_name
    message = place.field.containing_type.name
    return list(wrong_for(message, place.field.name, reads) or ())


def put(parent: Any, field: Any, value: Any) -> None:
    """Set a field; a number in brackets stands for so many elements."""
    if not is_repeated(field):
        setattr(parent, field.name, value)
        return
    elements = getattr(parent, field.name)
    if isinstance(value, tuple):
        if field.message_type is not None:
            first = elements[0] if len(elements) else field.message_type._concrete_class()
            elements.extend([first] * (value[0] - len(elements)))
            return
        first = elements[0] if len(elements) else (b"" if field.type == 12 else "x")
        value = [1 if field.enum_type is not None else first] * value[0]
    del elements[:]
    elements.extend(value)


def _wrong_bytes(make: Make, place: Place) -> Iterator[Bad]:
    """The right field in the wrong form."""
    field = place.field
    if field.type == FieldDescriptor.TYPE_STRING:
        message = make()
        put(reach(message, place.path), field, [_PLACE] if is_repeated(field) else _PLACE)
        raw = message.SerializeToString().replace(_PLACE.encode(), b"\xff" * len(_PLACE))
        yield Bad(f"{place} is no UTF-8", raw, INVALID)
    whole = field.type in (
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_MESSAGE,
    )
    # Of another type it is a field that nobody knows, and the right one is not there.
    other = _tag(field.number, _VARINT) + b"\x05"
    if not whole:
        other = _tag(field.number, _FIXED64) + bytes(8)
    message = make()
    parent = reach(message, place.path)
    parent.ClearField(field.name)
    parent.MergeFromString(other)
    if place.name in NEEDED:
        yield _invalid(f"{place} has another wire type", message, place)
    else:
        yield Bad(f"{place} has another wire type", message.SerializeToString())


_ODD: dict[int, list[Any]] = {
    FieldDescriptor.TYPE_UINT64: [0, 1, (1 << 63), (1 << 64) - 1],
    FieldDescriptor.TYPE_UINT32: [0, 1, (1 << 32) - 1],
    FieldDescriptor.TYPE_INT64: [-(1 << 63), (1 << 63) - 1],
    FieldDescriptor.TYPE_BOOL: [True],
    FieldDescriptor.TYPE_STRING: ["", "nobody", "a", "\x00"],
    FieldDescriptor.TYPE_BYTES: [b"", b"nobody", b"\xff" * 32],
}


def _odd_values(make: Make, place: Place) -> Iterator[Bad]:
    """Values that may be right or not, as it happens: what they name does not exist, or is
    somebody else's."""
    for value in _ODD.get(place.field.type, ()):
        message = make()
        parent = reach(message, place.path)
        put(parent, place.field, [value] if is_repeated(place.field) else value)
        if "WatchRequest" not in place.name:
            yield Bad(f"{place} = {value!r}", message.SerializeToString())


def _deep(make: Make) -> Iterator[Bad]:
    """Transactions in transactions: deeper than may be, and than can be read."""
    for depth in (2, 20, 60, 2_000):
        inner = b""
        for _ in range(depth):
            operation = _field(7, inner)  # TxnOp.txn
            inner = _field(2, operation)  # TxnBody.success
        request = make()
        request.ClearField("txn")
        raw = request.SerializeToString() + _field(2, inner)
        yield Bad(f"{depth} transactions in it", raw, INVALID)


def _wrong_revisions(make: Make, newest: int, oldest: int) -> Iterator[Bad]:
    if "revision" not in make().DESCRIPTOR.fields_by_name:
        return
    past = frozenset({"FUTURE_REVISION"}), frozenset({"COMPACTED"})
    if make().DESCRIPTOR.name in ("MissingChunksRequest", "PlanRollbackRequest"):
        past = INVALID, INVALID  # chunks have no past, and nothing is done in it
    for what, revision, consistency, reasons in (
        ("a revision to come", newest + 1, AT_REVISION, past[0]),
        ("the last revision of all", (1 << 64) - 1, AT_REVISION, past[0]),
        ("a compacted revision", oldest - 1, AT_REVISION, past[1]),
        ("no revision", 0, AT_REVISION, INVALID),
        ("at least no revision", 0, AT_LEAST, INVALID),
        ("at least a revision to come", newest + 1, AT_LEAST, frozenset({"DEADLINE"})),
    ):
        message: Any = make()
        message.consistency, message.revision = consistency, revision
        raw = message.SerializeToString()
        yield Bad(what, raw, reasons, waits="DEADLINE" in reasons)


def _invalid(what: str, message: Message, place: Place) -> Bad:
    fields = frozenset({*place.path, place.field.name})
    return Bad(what, message.SerializeToString(), INVALID, fields)


# --- bytes ---------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _field(number: int, content: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(content)) + content
