"""Checkpoints: what was saved comes back byte for byte, and stays for as long as it must.

A state is made of parts, and each part of a seed, the agent and a number; so the *recipe*
of a save (the numbers of its parts, and how large they are) says every byte of it, and the
checker makes them again. Every save has an id that no other has, and carries it as a label.

- `content` is a restore of other bytes than were saved;
- `phantom` is a checkpoint that nobody saved, or of another agent; `resurrected` one whose
  save failed for certain; `double` one that is there twice;
- `stale` is a newest (or newest tagged) checkpoint older than one that had been saved when
  it was asked for, or that was there at the revision that a stale answer names; `early` is
  one of after that revision;
- `lost` is an acknowledged checkpoint that retention must keep and is not there in the
  end, or when it is asked for: the newest one, those of the newest so many, those that are
  pinned, tagged or known good; and any that is listed and cannot be restored;
- `returned` is one that is there again after it was gone;
- `unearned` is a pin, a tag or a good word that nobody gave, or that was taken away;
- `different` are members that list something else in the end.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.protocols import Record, Verdict

KEEP_LAST: Final = 4  # that retention keeps, of those that it may prune
OK_MIN: Final = 10
LABEL: Final = "save"


class Recipe(NamedTuple):
    """What a state is made of: whose it is, the numbers of its parts, and their size."""

    seed: int
    agent: str
    parts: tuple[int, ...]
    size: int


@lru_cache(maxsize=64)
def part(seed: int, agent: str, place: int, number: int, size: int) -> str:
    """One part of a state: a text."""
    return random.Random(f"{seed}/{agent}/{place}/{number}").randbytes(size // 2).hex()


def parts_of(recipe: Recipe) -> list[str]:
    """The parts of a state."""
    return [
        part(recipe.seed, recipe.agent, place, number, recipe.size)
        for place, number in enumerate(recipe.parts)
    ]


def pieces_of(recipe: Recipe) -> list[bytes]:
    """A state, which is its parts as a list in JSON, cut so that a part that stays the
    same is a piece that does."""
    texts = parts_of(recipe)
    last = len(texts) - 1
    return [
        f"{',' if place else '['}{json.dumps(text)}{']' if place == last else ''}".encode()
        for place, text in enumerate(texts)
    ]


def digest(data: bytes) -> str:
    """What tells two states apart."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@lru_cache(maxsize=4_096)
def digest_of(recipe: Recipe) -> str:
    """The digest of the state that a recipe makes."""
    whole = hashlib.blake2b(digest_size=16)
    for one in pieces_of(recipe):
        whole.update(one)
    return whole.hexdigest()


@dataclass(slots=True)
class Save:
    """One save: what its client was told, and what may have been done to it since.

    `kept` are the acknowledged reasons to keep it; `loosed` those that somebody may have
    taken away; `given` those that anybody may have given, `taken` those that were taken
    away for certain."""

    pair: Pair
    agent: str
    recipe: Recipe
    number: int = 0  # its checkpoint id, where anybody was told
    kept: set[str] = field(default_factory=set)
    loosed: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    always: set[str] = field(default_factory=set)  # of those kept, since it was saved

    @property
    def outcome(self) -> str:
        """How it ended."""
        return self.pair.outcome

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.pair.invoke.value["id"])


def check(record: Record, workload: str = "checkpoints") -> Verdict:
    """Whether every restore is what was saved, and what must be kept was."""
    asked = list(pairs(of_workload(record.events, workload)))
    try:
        saves = _saves(record.seed, asked)
        restores = [one for one in asked if one.invoke.f == "restore" and one.outcome == "ok"]
        lists = [one for one in asked if one.invoke.f == "list" and one.outcome == "ok"]
        wrong = [
            *(text for pair in restores for text in _restored(pair, saves)),
            *_numbered(saves),
            *_stale(restores, saves),
            *_placed(restores, saves),
            *_gone(restores, lists, saves),
            *(text for pair in lists for text in _listed(pair, saves)),
            *_lost(lists, saves),
            *_different(lists),
        ]
        figures = _figures(asked, saves, restores, lists)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedHistory(f"no history of checkpoints: {error!r}") from error
    figures["lost"] = sum(text.startswith("lost:") for text in wrong)
    return verdict(
        f"{workload}:content",
        f"{figures['saved']} checkpoints were saved, {figures['restored']} restored byte for"
        f" byte; {figures['pruned']} were pruned, and none that had to stay",
        wrong=wrong,
        unsure=_unsure(record, asked, lists, figures),
        figures=figures,
    )


def _saves(seed: int, asked: Sequence[Pair]) -> dict[str, Save]:
    """Every save by its id, with what may have become of it."""
    saves: dict[str, Save] = {}
    by_number: dict[tuple[str, int], Save] = {}
    for pair in asked:
        if pair.invoke.f != "save":
            continue
        value, end = pair.invoke.value, pair.completion
        recipe = Recipe(seed, value["agent"], tuple(value["parts"]), value["size"])
        save = saves[value["id"]] = Save(pair, value["agent"], recipe)
        save.given |= {"tag"} if value["tag"] else set()
        save.given |= {"pin"} if value["pinned"] else set()
        if pair.outcome == "ok" and end is not None:
            save.number = end.value["checkpoint"]
            by_number[save.agent, save.number] = save
            save.kept |= save.given
            save.always |= save.given
    for pair in asked:
        if pair.invoke.f in ("pin", "good"):
            _marked(pair, by_number)
    _moved_tags(saves.values())
    return saves


def _marked(pair: Pair, by_number: Mapping[tuple[str, int], Save]) -> None:
    """A pin that was set or taken away, or a validator's word."""
    told = pair.completion.value if pair.completion is not None else None
    agent = pair.invoke.value["agent"]
    mark = "good" if pair.invoke.f == "good" else "pin"
    sets = mark == "good" or pair.invoke.value["pinned"]
    if not isinstance(told, dict) or "checkpoint" not in told:
        if pair.outcome == "info":  # nobody knows which one it may have marked
            for one in by_number.values():
                if one.agent == agent:
                    (one.given if sets else one.loosed).add(mark)
                    one.taken.discard(mark)
                    one.always &= one.always if sets else one.always - {mark}
        return
    save = by_number.get((agent, told["checkpoint"]))
    if save is None or pair.outcome == "fail":
        return
    if sets:
        save.given.add(mark)
        save.taken.discard(mark)
        if pair.outcome == "ok" and (mark == "pin" or told["good"]):
            save.kept.add(mark)
            save.loosed.discard(mark)
    else:
        save.loosed.add(mark)
        save.always.discard(mark)
        if pair.outcome == "ok":
            save.taken.add(mark)


def _moved_tags(saves: Any) -> None:
    """A tag is at the newest that was saved with it: it may have left all before."""
    tagged: dict[str, list[Save]] = {}
    for save in saves:
        if save.pair.invoke.value["tag"] and save.outcome != "fail":
            for before in tagged.setdefault(save.agent, []):
                before.loosed.add("tag")
                before.always.discard("tag")
            tagged[save.agent].append(save)


# --- what can be wrong -----------------------------------------------------------


def _restored(pair: Pair, saves: Mapping[str, Save]) -> Iterator[str]:
    """One restore against what was saved under its label."""
    assert pair.completion is not None, "it was answered"
    agent, found = pair.invoke.value["agent"], pair.completion.value["found"]
    what = f"restore of agent {agent} (event {pair.invoke.index})"
    if broken := pair.completion.value.get("broken"):
        yield f"lost: {what} cannot be had: {broken}"
    if found is not None:
        yield from _bytes(what, agent, found, saves, pair.completion.time)
        wanted = pair.completion.value.get("checkpoint")
        if wanted and found["checkpoint"] != wanted:
            yield f"content: {what} asked for {wanted}, and got {found['checkpoint']}"
        if not found.get("digest"):
            yield f"content: {what} found {found['id']}, and nobody knows what it holds"


def _bytes(
    what: str, agent: str, found: Mapping[str, Any], saves: Mapping[str, Save], time: float
) -> Iterator[str]:
    """Whether the bytes, and their place, are those of the save that they are labelled
    with."""
    name = found["id"]
    save = saves.get(name)
    if save is None or save.agent != agent or save.pair.invoke.time > time:
        yield f"phantom: {what} found {name!r}, which nobody had saved there"
        return
    if save.outcome == "fail":
        yield f"resurrected: {what} found {name}, whose save failed"
    for reason in sorted(set(found["kept"]) - save.given):
        yield f"unearned: {what} found {name} with a {reason} that nobody gave it"
    if save.number and save.number != found["checkpoint"]:
        where = f"{found['checkpoint']}, not {save.number}"
        yield f"moved: {what} found {name} as checkpoint {where}"
    end = save.pair.completion
    if save.outcome == "ok" and end is not None:
        told, chunks = end.value, found["chunks"]
        if told["delta"] != (found["chain"] > 0) or (told["chunks"] or chunks) != chunks:
            yield f"content: {what} found {name} in another form than it was saved in"
    if found.get("digest") and found["digest"] != digest_of(save.recipe):
        yield (
            f"content: {what} found {found['size']} bytes that are not what {name} saved"
            f" ({save.recipe.size * len(save.recipe.parts)} bytes)"
        )
    elif found.get("broken"):
        yield f"lost: {what} found {name}, and cannot restore it: {found['broken']}"


def _numbered(saves: Mapping[str, Save]) -> Iterator[str]:
    """The numbers of an agent's checkpoints rise: one thread saves them, one by one."""
    before: dict[str, Save] = {}
    for save in saves.values():
        if save.outcome == "ok":
            other = before.get(save.agent)
            if other is not None and save.number <= other.number:
                yield (
                    f"moved: {save.id} of agent {save.agent} was saved as checkpoint"
                    f" {save.number}, and {other.id} before as {other.number}"
                )
            before[save.agent] = save


def _placed(restores: Sequence[Pair], saves: Mapping[str, Save]) -> Iterator[str]:
    """Every restore, stale ones too, against what there was at the revision it names."""
    for pair in restores:
        value, end = pair.invoke.value, pair.completion
        if end is None or not end.revision or end.value["found"] is None:
            continue
        found = end.value["found"]
        known = [
            save
            for save in saves.values()
            if save.outcome == "ok"
            and save.agent == value["agent"]
            and (value["what"] != "tag" or save.pair.invoke.value["tag"])
        ]
        what = f"restore of agent {value['agent']} @{end.revision} (event {pair.invoke.index})"
        then = [one.number for one in known if _revision(one) <= end.revision]
        if value["what"] != "id" and found["checkpoint"] < max(then, default=0):
            yield f"stale: {what} found checkpoint {found['checkpoint']}; {max(then)} was there"
        save = saves.get(found["id"])
        if save is not None and _revision(save) > end.revision:
            yield f"early: {what} found {save.id}, which was saved @{_revision(save)}"


def _revision(save: Save) -> int:
    """Where a save was done; zero if nobody was told."""
    end = save.pair.completion
    return end.revision if save.outcome == "ok" and end is not None else 0


def _gone(
    restores: Sequence[Pair], lists: Sequence[Pair], saves: Mapping[str, Save]
) -> Iterator[str]:
    """Linearizable restores that did not find what they asked for by its number: whether
    it may have been pruned by then, and whether it stays away."""
    by_number = {(one.agent, one.number): one for one in saves.values() if one.number}
    gone: dict[str, float] = {}
    for pair in restores:
        value, end = pair.invoke.value, pair.completion
        if end is None or value["stale"] or end.value["found"] is not None:
            continue
        save = by_number.get((value["agent"], end.value.get("checkpoint", 0)))
        if save is None or "broken" in end.value:
            continue
        gone[save.id] = min(gone.get(save.id, end.time), end.time)
        newer = sum(
            one.agent == save.agent
            and one.outcome != "fail"
            and save.pair.invoke.time < one.pair.invoke.time < end.time
            for one in saves.values()
        )
        if newer <= KEEP_LAST or save.always:
            why = ", ".join(sorted(save.always)) or f"only {newer} newer"
            yield f"lost: {save.id} was not there (event {pair.invoke.index}): {why}"
    for pair in (*restores, *lists):
        value, end = pair.invoke.value, pair.completion
        if end is None or value.get("stale") or value.get("node") or end.value["found"] is None:
            continue
        found = end.value["found"]
        for one in found if isinstance(found, list) else [found]:
            if gone.get(one["id"], pair.invoke.time) < pair.invoke.time:
                yield f"returned: {one['id']} is back (event {pair.invoke.index}): it was gone"


def _stale(restores: Sequence[Pair], saves: Mapping[str, Save]) -> Iterator[str]:
    """Linearizable restores of the newest, of all or of those tagged, against the newest
    that had been saved when they began."""
    by_agent: dict[tuple[str, bool], list[Save]] = {}
    for save in saves.values():
        if save.outcome == "ok":
            by_agent.setdefault((save.agent, False), []).append(save)
            if save.pair.invoke.value["tag"]:
                by_agent.setdefault((save.agent, True), []).append(save)
    for pair in restores:
        value, end = pair.invoke.value, pair.completion
        if value["what"] == "id" or value["stale"] or end is None or "broken" in end.value:
            continue
        known = [
            save
            for save in by_agent.get((value["agent"], value["what"] == "tag"), ())
            if save.pair.completion is not None and save.pair.completion.time < pair.invoke.time
        ]
        newest = max((save.number for save in known), default=0)
        found = end.value["found"]
        if (found["checkpoint"] if found is not None else 0) < newest:
            shown = "nothing" if found is None else f"checkpoint {found['checkpoint']}"
            yield (
                f"stale: restore of agent {value['agent']} (event {pair.invoke.index}) found"
                f" {shown}; {newest} had been saved"
            )


def _listed(pair: Pair, saves: Mapping[str, Save]) -> Iterator[str]:
    """A list in the end: each once, each what was saved."""
    assert pair.completion is not None, "it was answered"
    agent, found = pair.invoke.value["agent"], pair.completion.value["found"]
    what = f"the last list of agent {agent}"
    for name, count in Counter(one["id"] for one in found).items():
        if count > 1:
            yield f"double: {what} holds {name} {count} times"
    if sum("tag" in one["kept"] for one in found) > 1:
        yield f"double: {what} holds the tag more than once"
    for one in found:
        yield from _bytes(what, agent, one, saves, pair.completion.time)
        save = saves.get(one["id"])
        if save is not None:
            for reason in sorted(save.kept - save.loosed - set(one["kept"])):
                yield f"lost: {what} holds {save.id} without its {reason}"
            for reason in sorted(save.taken & set(one["kept"])):
                yield f"unearned: {what} holds {save.id} with the {reason} that was taken away"


def _lost(lists: Sequence[Pair], saves: Mapping[str, Save]) -> Iterator[str]:
    """What was acknowledged, has to be kept, and is not in the last list of its agent."""
    last = {one.invoke.value["agent"]: one for one in lists if not one.invoke.value.get("node")}
    for agent, pair in last.items():
        assert pair.completion is not None, "it was answered"
        held = {one["id"] for one in pair.completion.value["found"]}
        mine = [one for one in saves.values() if one.agent == agent and one.outcome != "fail"]
        for place, save in enumerate(mine):
            if save.outcome != "ok" or save.id in held:
                continue
            newer = len(mine) - 1 - place
            reasons = sorted(save.kept - save.loosed)
            if newer <= KEEP_LAST:
                reasons.append(f"only {newer} newer")
            if reasons:
                yield (
                    f"lost: {save.id} of agent {agent} was saved as checkpoint {save.number},"
                    f" has to stay ({', '.join(reasons)}), and is not there"
                )


def _different(lists: Sequence[Pair]) -> Iterator[str]:
    """Members that list something else in the end."""
    shown: dict[str, tuple[str, list[Any]]] = {}
    for pair in lists:
        if pair.completion is None:
            continue
        agent, node = pair.invoke.value["agent"], pair.invoke.value.get("node", "")
        if node and pair.completion.node != node:
            yield f"elsewhere: the list at {node} was answered by {pair.completion.node}"
        found = [
            (one["id"], one["checkpoint"], one["chunks"], one["chain"], *one["kept"])
            for one in pair.completion.value["found"]
        ]
        other, before = shown.setdefault(agent, (node or "the cluster", found))
        if before != found:
            yield f"different: {node or 'the cluster'} and {other} list agent {agent} otherwise"


# --- figures ---------------------------------------------------------------------


def _figures(
    asked: Sequence[Pair],
    saves: Mapping[str, Save],
    restores: Sequence[Pair],
    lists: Sequence[Pair],
) -> dict[str, Any]:
    done = [save for save in saves.values() if save.outcome == "ok"]
    found = [pair.completion.value["found"] for pair in restores if pair.completion is not None]
    told = [save.pair.completion.value for save in done if save.pair.completion is not None]
    listed = {
        one["id"]
        for pair in lists
        if pair.completion is not None
        for one in pair.completion.value["found"]
    }
    return {
        "saved": len(done),
        "chunked": sum(one["chunks"] > 0 for one in told),
        "large": sum(one["bytes"] > 1 << 20 for one in told),
        "deltas": sum(one["delta"] for one in told),
        "chunks_known": sum(one["chunks"] - one["uploaded"] for one in told),
        "restored": sum(one is not None for one in found),
        "restored_chunked": sum(one is not None and one["chunks"] > 0 for one in found),
        "restored_deltas": sum(one is not None and one["chain"] > 0 for one in found),
        "kept": sum(bool(save.kept - save.loosed) for save in done),
        "pruned": sum(save.id not in listed for save in done) if listed else 0,
    }


def _unsure(
    record: Record, asked: Sequence[Pair], lists: Sequence[Pair], figures: Mapping[str, Any]
) -> list[str]:
    """What there was too little of to show anything."""
    unsure = [
        f"{figures[name]} {what}; {least} are asked for"
        for name, what, least in (
            ("saved", "checkpoints were saved", OK_MIN),
            ("restored", "were restored", OK_MIN),
            ("chunked", "were saved in chunks", 1),
            ("restored_chunked", "were restored of chunks", 1),
            ("restored_deltas", "were restored over deltas", 1),
            ("pruned", "were pruned", 1),
        )
        if figures[name] < least
    ]
    agents = {one.invoke.value["agent"] for one in asked if one.invoke.f == "save"}
    for node in ("", *record.nodes):
        shown = {
            one.invoke.value["agent"]
            for one in lists
            if one.invoke.value.get("node", "") == node
        }
        if missing := sorted(agents - shown):
            who = f"at {node}" if node else "of the cluster"
            unsure.append(f"there is no last list {who} of agent {', '.join(missing)}")
    return unsure
