"""Single registers: is there one order of the operations that explains every answer?

A register holds one value. Its operations:

- `read`: an `ok` result is the value that was there;
- `write` of a value;
- `cas` of (expected, new): an `ok` result says whether the register held `expected`,
  and then it holds `new`;
- `add` of a number: an `ok` result is the sum, which the register then holds;
- `step` of (id, expected): for a register that holds how many steps were made, and who
  made the newest: (step, id), at first (0, None). If `expected` is None or the number of
  steps, one more is made. An `ok` result is whether it was, and the number then. Only
  `read` goes with it, which answers with both.

A history is linearizable if every `ok` operation can be given a moment between its
beginning and its end, and every `info` one a moment after its beginning or none, so that
done one by one at these moments they answer what was answered. `fail` operations did not
happen. Keys are judged apart: a history is linearizable if each key's is (Herlihy and
Wing, 1990, theorem 1).

The search is that of Wing and Gong (1993) with the state cache of Lowe (2017), as in
Porcupine: operations are linearised just in time, so that only those that overlap are
ever reordered; a set of linearised operations that was seen with the same value before
is not tried again. Of operations with unknown outcomes that would do the same the one
that began first is taken first: any order that takes another could take it instead, so
that many of them cost no more than their number. It is exponential at worst, so it is
bounded in steps and perhaps in time, and a search that was cut short says `unknown`: for
a caller that is a failure.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jepsen_like.checkers.history import MalformedHistory, Operation, validate

KINDS = ("read", "write", "cas", "add", "step")
STEPS_MAX = 2_000_000
_CLOCK_EVERY = 4_096  # steps between two looks at the clock

Finding = Literal["linearizable", "illegal", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one key.

    `longest` is the longest partial linearization that was found, and `stuck` the
    operation that could not be placed after it: where to look first.
    """

    key: str
    finding: Finding
    operations: int
    steps: int
    longest: tuple[Operation, ...] = ()
    stuck: Operation | None = None

    @property
    def ok(self) -> bool:
        """Whether the key passed. An unknown verdict is not a pass."""
        return self.finding == "linearizable"

    def __str__(self) -> str:
        if self.ok:
            return f"{self.key}: linearizable, {self.operations} operations"
        shown = "".join(f"\n    {operation}" for operation in self.longest[-8:])
        return (
            f"{self.key}: {self.finding} after {self.steps} steps; the longest explanation "
            f"has {len(self.longest)} of {self.operations} operations, and ends with{shown}\n"
            f"  then there is no place for\n    {self.stuck}"
        )


def check(
    history: Iterable[Operation],
    *,
    initial: Mapping[str, Any] | None = None,
    steps_max: int = STEPS_MAX,
    seconds_max: float | None = None,
) -> list[Verdict]:
    """Judge every key of a history. Registers begin with `initial`, or None.

    Both bounds are for each key. Raises MalformedHistory.
    """
    history = list(history)
    validate(history)
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    begin = initial or {}
    return [
        _check_key(key, by_key[key], begin.get(key), steps_max, seconds_max)
        for key in sorted(by_key)
    ]


# --- the register ------------------------------------------------------------


def apply(operation: Operation, value: Any) -> tuple[bool, Any]:
    """Do an operation on a register that holds `value`: whether it would be answered as
    it was, and what the register holds then. Unknown answers may be anything."""
    told = operation.outcome == "ok"
    match operation.kind:
        case "read":
            return not told or operation.result == value, value
        case "write":
            return True, operation.value
        case "cas":
            expected, new = operation.value
            swapped = value == expected
            return not told or operation.result is swapped, new if swapped else value
        case "add":
            total = (value or 0) + operation.value
            return not told or operation.result == total, total
        case "step":
            made, writer = value or (0, None)
            identity, expected = operation.value
            swapped = expected is None or expected == made
            made, writer = (made + 1, identity) if swapped else (made, writer)
            return not told or operation.result == (swapped, made), (made, writer)
    raise MalformedHistory(f"a register does not know {operation}")


def _relevant(operations: list[Operation]) -> list[Operation]:
    """The operations that can matter to a verdict.

    What failed did not happen, and a read with an unknown answer says nothing. A write
    with an unknown outcome whose value nobody saw can be left out, as long as every
    other operation needs a certain value, and none needs that a value is *not* there:
    whatever explains the history with it explains it without.
    """
    needed, sums = _needed(operations)
    any_other = sums or any(one.kind == "cas" and one.result is False for one in operations)

    def matters(operation: Operation) -> bool:
        if operation.outcome == "info":
            if operation.kind == "write":
                return any_other or operation.value in needed
            return operation.kind != "read"
        return operation.outcome == "ok"

    return [operation for operation in operations if matters(operation)]


def _needed(operations: list[Operation]) -> tuple[set[Any], bool]:
    """The values that some answer depends on being there, and whether there are sums,
    which depend on any."""
    needed: set[Any] = set()
    sums = False
    steps = any(operation.kind == "step" for operation in operations)
    for operation in operations:
        if operation.kind not in KINDS or (steps and operation.kind not in ("read", "step")):
            raise MalformedHistory(f"a register does not know {operation}")
        if operation.kind == "read" and operation.outcome == "ok":
            needed.add(operation.result)
        elif operation.kind == "cas" and operation.outcome != "fail":
            needed.add(operation.value[0])
        sums = sums or operation.kind == "add"
    return needed, sums


# --- the search --------------------------------------------------------------


class _Node:
    """A call or a return, in a list from which it can be taken and put back."""

    __slots__ = ("after", "before", "bit", "first", "operation", "returns")

    def __init__(self, number: int, operation: Operation, returns: _Node | None) -> None:
        self.bit = 1 << number
        self.first = 0  # the bit of an operation that has to be linearised before it
        self.operation = operation
        self.returns = returns  # a call's return; None for a return, and for no return
        self.before: _Node = self
        self.after: _Node | None = None

    def cut(self) -> None:
        """Take it out of the list. It remembers where it was."""
        self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def mend(self) -> None:
        """Put it back where it was."""
        self.before.after = self
        if self.after is not None:
            self.after.before = self


def _timeline(operations: list[Operation]) -> tuple[_Node, int]:
    """All calls and returns in the order of time: a head before the first, and how many
    returns. At one moment calls come first: an interval is closed, so that operations
    which touch count as overlapping, and no order is invented."""
    moments: list[tuple[float, int, int, _Node]] = []
    for number, operation in enumerate(operations):
        end = None
        if operation.completed is not None:
            end = _Node(number, operation, None)
            moments.append((operation.completed, 1, number, end))
        moments.append((operation.invoked, 0, number, _Node(number, operation, end)))
    head = last = _Node(0, operations[0], None)
    for *_, node in sorted(moments, key=lambda moment: moment[:3]):
        last.after, node.before = node, last
        last = node
    return head, sum(operation.completed is not None for operation in operations)


def _put_alike_in_order(head: _Node, operations: list[Operation]) -> None:
    """Let each operation with an unknown outcome wait for the one before it that would
    do the same. Writes of values that nobody needs do the same as each other, and so do
    steps of writers that nobody saw."""
    needed, sums = _needed(operations)
    writers = {value[1] for value in needed if isinstance(value, tuple) and len(value) == 2}
    newest: dict[tuple[str, Hashable], int] = {}
    node = head.after
    while node is not None:
        operation = node.operation
        if operation.outcome == "info":
            alike: tuple[str, Hashable]
            if operation.kind == "step":  # that it was made is seen, by whom perhaps not
                identity, expected = operation.value
                alike = ("step", (expected, identity if identity in writers else None))
            else:
                unseen = (
                    operation.kind == "write" and not sums and operation.value not in needed
                )
                alike = (operation.kind, None if unseen else (operation.value,))
            node.first = newest.get(alike, 0)
            newest[alike] = node.bit
        node = node.after


class _Done(NamedTuple):
    """One linearised operation, and the register before it."""

    call: _Node
    value: Any


def _check_key(
    key: str, operations: list[Operation], value: Any, steps_max: int, seconds_max: float | None
) -> Verdict:
    """Search for an order of one key's operations."""
    given = len(operations)
    operations = _relevant(operations)
    if not operations:
        return Verdict(key, "linearizable", given, 0)
    head, open_returns = _timeline(operations)
    _put_alike_in_order(head, operations)
    deadline = None if seconds_max is None else time.monotonic() + seconds_max
    done: list[_Done] = []
    taken = steps = 0
    seen: set[tuple[int, Hashable]] = set()
    longest: tuple[Operation, ...] = ()
    stuck: Operation | None = None
    node = head.after
    while open_returns:
        steps += 1
        if steps > steps_max or (
            deadline is not None and steps % _CLOCK_EVERY == 0 and time.monotonic() > deadline
        ):
            return Verdict(key, "unknown", given, steps, longest, stuck)
        assert node is not None, "an open return is always ahead"
        if _is_call(node):
            fits, then = apply(node.operation, value)
            # What may never have happened is of no use where it changes nothing.
            useful = node.returns is not None or (
                then != value and taken & node.first == node.first
            )
            if fits and useful and (taken | node.bit, then) not in seen:
                seen.add((taken | node.bit, then))
                done.append(_Done(node, value))
                taken, value = taken | node.bit, then
                open_returns -= _lift(node)
                node = head.after
            else:
                node = node.after
            continue
        # The return of an operation that found no place among those before it.
        if stuck is None or len(done) > len(longest):
            longest = tuple(one.call.operation for one in done)
            stuck = node.operation
        if not done:
            return Verdict(key, "illegal", given, steps, longest, stuck)
        undone, value = done.pop()
        taken ^= undone.bit
        open_returns += _lower(undone)
        node = undone.after
    return Verdict(key, "linearizable", given, steps)


def _is_call(node: _Node) -> bool:
    return node.returns is not None or node.operation.completed is None


def _lift(call: _Node) -> int:
    """Take a linearised operation out; how many returns went with it."""
    call.cut()
    if call.returns is None:
        return 0
    call.returns.cut()
    return 1


def _lower(call: _Node) -> int:
    """Undo `_lift`."""
    if call.returns is None:
        call.mend()
        return 0
    call.returns.mend()
    call.mend()
    return 1
