"""Sagas against the books of the outside: each is done or undone, whole and once.

What the store says in the end is held against everything that the outside was asked, in
order, and against what clients were told while the run lasted. See `undoing` for what
holds of single effects and of the order in which they are undone. Of a saga besides:

- `stuck` is one that is neither COMPLETED nor COMPENSATED in the end;
- `halves` is a completed one of which a step is missing, or undone;
- `after` is a step of one that was done after the first undoing of it;
- `lost` is one that a client was told of and the store has not, or has in another state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jepsen_like.checkers import undoing
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.outside import Entry, entry_of
from jepsen_like.protocols import Record, Verdict

OVER: Final = ("COMPLETED", "COMPENSATED")
SAGAS_MIN: Final = 3  # of each end


def check(record: Record, workload: str = "saga") -> Verdict:
    """Whether every saga is done or undone, and the outside says the same."""
    asked = list(pairs(of_workload(record.events, workload)))
    answers = [one.completion for one in asked if one.invoke.f == "list"]
    listed = [one.value for one in answers if one is not None and one.type == "ok"]
    try:
        journal = [entry_of(one) for one in record.notes.get(workload, {})["journal"]]
        sagas = listed[-1]["sagas"] if listed else []
        wrong = list(_wrong(journal, sagas, asked)) if listed else []
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedHistory(f"no history of sagas: {error!r}") from error
    figures = _figures(journal, sagas, asked)
    return verdict(
        f"{workload}:outside",
        f"{figures['completed']} sagas done and {figures['compensated']} undone, of "
        f"{figures['acts']} calls to the outside; {figures['died']} clients died, "
        f"{figures['late_originals_refused']} came too late and were refused",
        wrong=wrong,
        unsure=list(_unsure(listed, figures)),
        figures=figures,
    )


def _wrong(
    journal: Sequence[Entry], sagas: Sequence[Mapping[str, Any]], asked: Sequence[Pair]
) -> Iterator[str]:
    effects = [
        undoing.Effect(one["agent"], one["effect"], one["key"], one["state"])
        for saga in sagas
        for one in saga["effects"]
    ]
    items = [
        undoing.Item(f"saga/{saga['saga']}", one["position"], one["key"], one["state"])
        for saga in sagas
        for one in saga["items"]
    ]
    yield from undoing.check(journal, effects, items)
    for saga in sagas:
        yield from _whole(journal, saga)
    yield from _told(asked, {saga["saga"]: saga["state"] for saga in sagas})


def _whole(journal: Sequence[Entry], saga: Mapping[str, Any]) -> Iterator[str]:
    name, state = saga["saga"], saga["state"]
    if state not in OVER:
        yield f"stuck: saga {name} is {state} in the end"
        return
    steps = {one["key"]: one["state"] for one in saga["effects"]}
    if state == "COMPLETED":
        halves = [key for key, said in steps.items() if said not in undoing.DONE]
        if halves or not steps:
            yield f"halves: saga {name} is completed, and lacks {halves[:3]}"
        return
    left = [key for key, said in steps.items() if said in undoing.DONE]
    if left:
        yield f"halves: saga {name} is compensated, and {left[:3]} are left"
    begun = next((n for n, e in enumerate(journal) if e.do == "undo" and e.key in steps), None)
    if begun is not None:
        for entry in journal[begun:]:
            if entry.do == "act" and entry.said == "done" and entry.key in steps:
                # What was still under way is undone when its turn comes.
                turns = [one["position"] for one in saga["items"] if one["key"] == entry.key]
                if not turns or not _undone_later(journal, entry):
                    yield f"after: {entry.key} was done after saga {name} was being undone"


def _undone_later(journal: Sequence[Entry], entry: Entry) -> bool:
    """Whether a call that came late was undone behind that."""
    behind = journal[journal.index(entry) :]
    return any(one.key == entry.key and one.said == "undone" for one in behind)


def _told(asked: Sequence[Pair], states: Mapping[str, str]) -> Iterator[str]:
    for pair in asked:
        if pair.invoke.f != "saga" or pair.outcome != "ok" or pair.completion is None:
            continue
        told = pair.completion.value
        now = states.get(told["saga"])
        wanted = "COMPLETED" if told["state"] == "COMPLETED" else "COMPENSATED"
        if now != wanted and (now is None or now in OVER):
            yield f"lost: saga {told['saga']} was {told['state']}, and is {now}"


def _figures(
    journal: Sequence[Entry], sagas: Sequence[Mapping[str, Any]], asked: Sequence[Pair]
) -> dict[str, Any]:
    states = [saga["state"] for saga in sagas]
    ends = [pair.completion.value for pair in asked if pair.completion is not None]
    return {
        "sagas": len(sagas),
        "completed": states.count("COMPLETED"),
        "compensated": states.count("COMPENSATED"),
        "acts": sum(entry.do == "act" for entry in journal),
        "undoings": sum(entry.said in ("undone", "tombstone") for entry in journal),
        "repeated": sum(entry.said == "again" for entry in journal),
        "died": sum(isinstance(told, dict) and bool(told.get("died")) for told in ends),
        "late_originals_refused": undoing.late(journal),
    }


def _unsure(listed: Sequence[Any], figures: Mapping[str, Any]) -> Iterator[str]:
    if not listed:
        yield "nobody was told in the end what sagas there are"
        return
    for end in ("completed", "compensated"):
        if figures[end] < SAGAS_MIN:
            yield f"only {figures[end]} sagas were {end}"
