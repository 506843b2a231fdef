"""Rollbacks against the line of states that there was: one moment, and the very bytes.

In the end all checkpoints are listed with their bytes, in the order of their revisions:
what the newest state of an agent was at any revision follows from them. Against that:

- `bytes` is a restored state that is not that of its checkpoint, or a state that is not
  what its name says;
- `read` is an answer that is not the newest state of the revision that it names;
- `acknowledged` is a write or a rollback that was told of and is not there, or not at that
  revision; `failed` is a write that was refused and is there;
- `fenced` is a step that was taken under a token from before a rollback that it is behind;
- `undone` is an event that a rollback undid and that is not said to be, or the other way;
- `line` is a numbering of checkpoints or revisions that goes back, `unfinished` a rollback
  that was not finished in the end.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.protocols import Record, Verdict

OK_MIN: Final = 3  # rollbacks
READS_MIN: Final = 10
Point = Mapping[str, Any]


def digest(data: bytes) -> str:
    """What a state is compared by."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def live(checkpoints: Iterable[tuple[int, int]]) -> list[int]:
    """The checkpoints that no rollback has left behind, in order: of each there is given
    its number, and the one that it restored."""
    line: list[int] = []
    for number, restored in sorted(checkpoints):
        if restored:
            line = [one for one in line if one <= restored]
        line.append(number)
    return line


def check(record: Record, workload: str = "rollback") -> Verdict:
    """Whether every state that was read was the newest of its revision."""
    asked = list(pairs(of_workload(record.events, workload)))
    try:
        listed = {one.invoke.value["agent"]: _value(one) for one in _ok(asked, "list")}
        wrong = [
            text
            for agent, told in sorted(listed.items())
            for text in _agent(agent, told, asked)
        ]
        figures = _figures(listed, asked)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedHistory(f"no history of rollbacks: {error!r}") from error
    return verdict(
        f"{workload}:states",
        f"{figures['rollbacks']} rollbacks among {figures['checkpoints']} states; "
        f"{figures['reads']} reads, of which {figures['restored_seen']} show a restored one",
        wrong=wrong,
        unsure=list(_unsure(listed, figures)),
        figures=figures,
    )


def _ok(asked: Sequence[Pair], f: str) -> list[Pair]:
    return [one for one in asked if one.invoke.f == f and one.outcome == "ok"]


def _value(pair: Pair) -> Any:
    return {} if pair.completion is None else pair.completion.value


def _agent(agent: str, told: Mapping[str, Any], asked: Sequence[Pair]) -> Iterator[str]:
    mine = [one for one in asked if one.invoke.value.get("agent") == agent]
    line: list[Point] = told["checkpoints"]
    yield from _line(agent, line)
    yield from _bytes(agent, line)
    yield from _reads(agent, line, _ok(mine, "read"))
    yield from _writes(agent, line, mine)
    yield from _rollbacks(agent, told, _ok(mine, "rollback"))
    yield from _fenced(agent, told["rollbacks"], _ok(mine, "write"))
    yield from _undone(agent, told)


def _line(agent: str, line: Sequence[Point]) -> Iterator[str]:
    revisions = [one["revision"] for one in line]
    numbers = [one["checkpoint"] for one in line]
    if revisions != sorted(set(revisions)) or numbers != list(range(1, len(line) + 1)):
        yield f"line: checkpoints {numbers[:8]} of {agent} are of revisions {revisions[:8]}"


def _bytes(agent: str, line: Sequence[Point]) -> Iterator[str]:
    by_number = {one["checkpoint"]: one for one in line}
    names: dict[str, str] = {}
    for one in line:
        known = names.setdefault(one["state"], one["digest"])
        if known != one["digest"]:
            yield f"bytes: checkpoint {one['checkpoint']} of {agent} is not {one['state']}"
        if one["from"]:
            target = by_number.get(one["from"])
            same = ("state", "digest", "seq")
            if target is None or any(target[name] != one[name] for name in same):
                yield f"bytes: {agent}: checkpoint {one['checkpoint']} restored something else"


def _reads(agent: str, line: Sequence[Point], reads: Sequence[Pair]) -> Iterator[str]:
    revisions = [one["revision"] for one in line]
    for pair in reads:
        end, found = pair.completion, _value(pair)["found"]
        if end is None or not end.revision:
            continue  # there was nothing yet, and the answer has no revision
        place = bisect_right(revisions, end.revision) - 1
        wanted = line[place] if place >= 0 else None
        if found != wanted:
            yield (
                f"read: {agent} @{end.revision} at {end.node} shows {found}, and not {wanted} "
                f"(event {pair.invoke.index})"
            )


def _writes(agent: str, line: Sequence[Point], mine: Sequence[Pair]) -> Iterator[str]:
    written = {one["state"]: one for one in line if not one["from"]}
    for pair in mine:
        if pair.invoke.f != "write":
            continue
        name, there = pair.invoke.value["id"], written.get(pair.invoke.value["id"])
        if pair.outcome == "fail" and there is not None:
            yield f"failed: {agent}: {name} was refused, and is {there['checkpoint']}"
        elif pair.outcome == "ok" and pair.completion is not None:
            end = pair.completion
            said = (end.value["checkpoint"], end.value["seq"], end.revision)
            stored = there and (there["checkpoint"], there["seq"], there["revision"])
            if said != stored:
                yield f"acknowledged: {agent}: {name} was told of as {said}, and is {stored}"


def _rollbacks(agent: str, told: Mapping[str, Any], rolled: Sequence[Pair]) -> Iterator[str]:
    known = {one["rollback"]: one for one in told["rollbacks"]}
    points = {one["checkpoint"]: one for one in told["checkpoints"]}
    for one in known.values():
        copy = points.get(one["restored"])
        if copy is None or (copy["rollback"], copy["from"], copy["revision"]) != (
            one["rollback"],
            one["target"],
            one["revision"],
        ):
            yield f"acknowledged: {agent}: rollback {one['rollback']} restored {copy}"
        if one["state"] != "FINISHED":
            yield f"unfinished: {agent}: rollback {one['rollback']} is {one['state']}"
    for pair in rolled:
        value = _value(pair)
        if value and pair.completion is not None:
            there = known.get(value["rollback"])
            if there is None or (there["target"], there["revision"]) != (
                value["target"],
                pair.completion.revision,
            ):
                yield f"acknowledged: {agent}: {value}, and there is {there}"


def _fenced(agent: str, rolled: Sequence[Point], writes: Sequence[Pair]) -> Iterator[str]:
    for pair in writes:
        if pair.completion is None:
            continue
        at, token = pair.completion.revision, tuple(pair.completion.value["token"])
        for one in rolled:
            if at > one["revision"] and token < tuple(one["fence"]):
                name = pair.invoke.value["id"]
                yield f"fenced: {agent}: {name} @{at} under {token}, behind {one['rollback']}"


def _undone(agent: str, told: Mapping[str, Any]) -> Iterator[str]:
    points = {one["checkpoint"]: one for one in told["checkpoints"]}
    for seq, revision, data, undone_by in told["events"]:
        back = [
            one["rollback"]
            for one in told["rollbacks"]
            if one["revision"] > revision and points[one["target"]]["seq"] < seq
        ]
        if bool(back) != bool(undone_by) or (undone_by and undone_by not in back):
            yield f"undone: {agent}: event {seq} ({data}) by {undone_by!r}, and not {back}"


def _figures(listed: Mapping[str, Any], asked: Sequence[Pair]) -> dict[str, Any]:
    reads = _ok(asked, "read")
    shown = [_value(one)["found"] for one in reads]
    events = [event for told in listed.values() for event in told["events"]]
    return {
        "agents": len(listed),
        "checkpoints": sum(len(told["checkpoints"]) for told in listed.values()),
        "rollbacks": sum(len(told["rollbacks"]) for told in listed.values()),
        "reads": len(reads),
        "restored_seen": sum(bool(one and one["from"]) for one in shown),
        "events_undone": sum(bool(event[3]) for event in events),
    }


def _unsure(listed: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    if not listed:
        yield "nobody was told in the end what there is"
    elif figures["rollbacks"] < OK_MIN or figures["reads"] < READS_MIN:
        yield f"only {figures['rollbacks']} rollbacks, and {figures['reads']} reads"
