"""Effects: the table, what each command leaves behind, and what lists and bundles show."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstate.core import effect_queries, effects, keys, ledger, limits, pages, queries
from raftstate.core.history import PastReader
from raftstate.v1.effect_service_pb2 import (
    Compensation,
    Effect,
    EffectClass,
    EffectState,
    Found,
    NewEffect,
)
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.store_pb2 import Outcome
from tests.core import effect_story as say
from tests.core import story
from tests.core.bench import Bench, expire_ownership, reason

DOCUMENT = Path(__file__).parents[2] / "raftstate" / "docs" / "ARCHITECTURE.md"
ALL = {"READ_ONLY", "IDEMPOTENT", "RECONCILABLE", "IRREVERSIBLE"}
# What may become of an effect, in the words of the API.
LAW = {
    ("PREPARED", "dispatch"): ("DISPATCHED", ALL),
    ("PREPARED", "fail"): ("FAILED_BEFORE_EFFECT", ALL),
    ("PREPARED", "give up"): ("FAILED_BEFORE_EFFECT", ALL),
    ("DISPATCHED", "commit"): ("COMMITTED", ALL),
    ("DISPATCHED", "fail"): ("FAILED_BEFORE_EFFECT", ALL),
    ("DISPATCHED", "lose"): ("UNKNOWN", ALL),
    ("DISPATCHED", "take over"): ("UNKNOWN", ALL),
    ("DISPATCHED", "give up"): ("UNKNOWN", ALL),
    ("UNKNOWN", "dispatch"): ("DISPATCHED", {"READ_ONLY", "IDEMPOTENT"}),
    ("UNKNOWN", "reconcile"): ("RECONCILED", ALL),
    ("COMMITTED", "compensate"): ("COMPENSATED", {"IDEMPOTENT", "RECONCILABLE"}),
    ("COMMITTED", "undo by hand"): ("COMPENSATED", ALL - {"READ_ONLY"}),
    ("UNKNOWN", "undo by hand"): ("COMPENSATED", ALL - {"READ_ONLY"}),
}
NAMES = {name for _, name in LAW}
STATES = (
    *(ledger.PREPARED, ledger.DISPATCHED, ledger.COMMITTED, ledger.FAILED),
    *(ledger.UNKNOWN, ledger.RECONCILED, ledger.COMPENSATED),
)
CLASSES = ledger.ALL
assert (len(STATES), len(CLASSES)) == (len(EffectState.values()) - 1, 4)


class Office:
    """An agent with an owner, on a bench."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.open("s")
        self.fence = self.bench.granted(self.bench.acquire("s", "a"))

    def new(self, words: str) -> NewEffect:
        return say.new_effect(words)

    def prepare(self, words: str) -> Outcome:
        return self.bench.one(
            say.prepare(self.bench, "s", "a", self.fence, say.new_effect(words))
        )

    def close(self, words: str) -> Outcome:
        return self.bench.one(
            say.complete(self.bench, "s", "a", self.fence, say.closing(words))
        )

    def do(self, name: str, words: str = "undo=u", result: str = "") -> None:
        """Do something, and say so."""
        assert not reason(self.prepare(f"{name} {words} dispatch=yes"))
        assert not reason(self.close(f"{name} committed result={result}"))

    def many(self, count: int, words: str, start: int = 0) -> Outcome:
        """Enter so many effects by steps; the outcome of the last."""
        names = [f"e{start + at}" for at in range(count)]
        outcome = Outcome()
        for at in range(0, count, limits.EFFECTS_PER_STEP_MAX):
            new = [
                say.new_effect(f"{name} {words}")
                for name in names[at : at + limits.EFFECTS_PER_STEP_MAX]
            ]
            outcome = self.bench.one(self.bench.step("s", "a", self.fence, effects=new))
        return outcome

    def effect(self, name: str) -> Effect:
        found = effect_queries.get_effect(self.bench.store, "a", name)
        assert found is not None
        return found

    def to_undo(self, kept_revision: int = 0) -> list[str]:
        agent = self.bench.agent("a")
        found = effects.to_undo(self.bench.store, agent, kept_revision)
        return [each.effect_id for each in found]


# --- the table ----------------------------------------------------------------


@pytest.mark.parametrize("state", STATES, ids=lambda state: EffectState.Name(state)[13:])
def test_the_table_is_the_law(state: EffectState) -> None:
    """
    From each state, whatever happens to an effect of whatever class, it goes where the
    API says, or nowhere.
    """
    for kind in CLASSES:
        for name in sorted(NAMES):
            effect = Effect(state=state, effect_class=kind)
            source = EffectState.Name(state).removeprefix("EFFECT_STATE_")
            target, classes = LAW.get((source, name), ("", set()))
            if EffectClass.Name(kind).removeprefix("EFFECT_CLASS_") not in classes:
                target = ""

            found = ledger.allowed(effect, name)

            assert (ledger.state_name(found) if found else "") == target


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: EffectClass.Name(kind)[13:])
def test_what_else_has_to_be_so(kind: EffectClass) -> None:
    """
    What is not known to have happened is undone only if that leaves a tombstone; what was
    reconciled, only if it was found done.
    """
    undoable = kind in (ledger.IDEMPOTENT, ledger.RECONCILABLE)
    lasting = kind != ledger.READ_ONLY
    unknown = Effect(state=ledger.UNKNOWN, effect_class=kind)
    marked = Effect(
        state=ledger.UNKNOWN,
        effect_class=kind,
        compensation=Compensation(leaves_tombstone=True),
    )
    done, absent = (
        Effect(state=ledger.RECONCILED, effect_class=kind, found=found)
        for found in (Found.FOUND_DONE, Found.FOUND_NOT_DONE)
    )

    assert ledger.allowed(unknown, ledger.COMPENSATE) is None
    assert (ledger.allowed(marked, ledger.COMPENSATE) is not None) == undoable
    assert (ledger.allowed(done, ledger.COMPENSATE) is not None) == undoable
    assert (ledger.allowed(done, ledger.UNDO_BY_HAND) is not None) == lasting
    for name in (ledger.COMPENSATE, ledger.UNDO_BY_HAND):
        assert ledger.allowed(absent, name) is None


@pytest.mark.parametrize("kind", CLASSES)
def test_a_failure_of_the_second_time_says_nothing_of_the_first(kind: EffectClass) -> None:
    """
    Who did an effect again that was lost, and failed, knows of that attempt only.
    """
    again = Effect(state=ledger.DISPATCHED, effect_class=kind, dispatches=2)

    assert (ledger.allowed(again, ledger.FAIL) is not None) == (kind == ledger.READ_ONLY)
    assert ledger.allowed(again, ledger.COMMIT) == ledger.COMMITTED
    assert ledger.allowed(again, ledger.LOSE) == ledger.UNKNOWN


def test_nothing_leads_out_of_where_an_effect_ends() -> None:
    """
    What did not happen, and what was undone, stays so.
    """
    sources = {each.source for each in ledger.TRANSITIONS}

    assert sources == set(STATES) - {ledger.FAILED, ledger.COMPENSATED}


def test_the_documentation_shows_the_table() -> None:
    """
    The table in the documentation is drawn from the one in the code.
    """
    assert f"\n{ledger.table()}\n" in DOCUMENT.read_text()
    assert len(ledger.table().splitlines()) == len(ledger.TRANSITIONS) + 2


# --- what is entered ----------------------------------------------------------


def test_defaults_are_written_down() -> None:
    """
    What the client left to the store is in the record, so that it never changes.
    """
    office = Office()
    office.prepare("book undo=cancel ask=look")

    effect = office.effect("book")

    assert (effect.idempotency_key, effect.begin_by_ms) == ("a#book", 5_000)
    assert effect.compensation.idempotency_key == "a#book:undo"
    assert (effect.compensation.timeout_ms, effect.compensation.attempts) == (30_000, 10)
    assert effect.on_unknown == ledger.POLICIES[ledger.IDEMPOTENT]


def test_entered_again_with_the_defaults_spelt_out_it_is_the_same() -> None:
    """
    Alike is what is stored, not how it was asked for.
    """
    office = Office()
    office.prepare("book undo=cancel key=k")
    again = say.new_effect("book undo=cancel key=k attempts=10 policy=repeat")
    again.compensation.idempotency_key = "k:undo"

    outcome = office.bench.one(say.prepare(office.bench, "s", "a", office.fence, again))

    assert outcome.prepare_effect.existed


def test_an_expiry_is_overtaken_by_what_an_owner_says_of_effects() -> None:
    """
    Who enters an effect is alive: an expiry that has not seen that comes to nothing.
    """
    office = Office()
    touched = office.bench.agent("a").owner.touched_revision
    office.prepare("book undo=cancel")

    outcome = office.bench.one(expire_ownership("a", office.fence, touched))

    assert reason(outcome) == "EXPIRY_OVERTAKEN"


def test_recordings_become_durable_with_the_effect() -> None:
    """
    What an effect depends on is there when it is.
    """
    office = Office()
    command = say.prepare(office.bench, "s", "a", office.fence, say.new_effect("b undo=u"))
    command.prepare_effect.recordings.append(
        NewRecording(kind="RECORDING_KIND_UUID", key="id", data=b"17")
    )
    office.bench.one(command)

    assert office.bench.store.get(keys.recording("a", 1, "id")) is not None


@pytest.mark.parametrize(
    "words",
    [
        "dispatch a by=s fence=2 id=none",
        "dispatch a by=s fence=2 id=done",
        "complete a by=s fence=2 done='done committed'",
        "reconcile a by=s fence=2 id=done found=done",
        "prepare a by=s fence=2 effect='done undo=other'",
        "prepare a by=s fence=2 effect='new'",
        "prepare a by=s fence=2 effect='new undo=u saga=none'",
        "step a by=s fence=2 done='open committed' done='done failed'",
        "step a by=s fence=2 done='open committed' effect='new undo=u' effect='done undo=u'",
        "step a by=s fence=2 done='open committed' event=e:1 effect='new'",
        "saga g by=s of=a fence=2",
        "end-saga g by=s of=a fence=2",
        "abort-saga none by=s of=a fence=2",
        "claim saga/none by=s",
    ],
)
def test_a_refusal_changes_nothing(words: str) -> None:
    """
    Whatever is refused leaves no trace but in the session that asked.
    """
    office = Office()
    bench = office.bench
    bench.one(say.begin_saga(bench, "s", "g", "a", office.fence))
    office.do("done")
    office.prepare("open undo=u saga=g dispatch=yes")
    kept = {key: value for key, value in bench.store.items() if key[:1] not in b"!hvrst"}

    outcome = bench.one(story.command(bench, story.Line(words)))

    assert reason(outcome)
    after = {key: value for key, value in bench.store.items() if key[:1] not in b"!hvrst"}
    assert after == kept


# --- bounds -------------------------------------------------------------------


def test_an_agent_has_so_many_open_effects() -> None:
    """
    A new grant looks through all that are open, so they are bounded; settled ones are not.
    """
    office = Office()
    assert not reason(office.many(limits.OPEN_EFFECTS_MAX, "undo=u"))

    full = office.prepare("more undo=u")

    assert (reason(full), full.refusal.limit) == ("TOO_MANY", limits.OPEN_EFFECTS_MAX)
    assert not reason(office.close("e0 failed"))
    assert not reason(office.prepare("more undo=u"))


def test_a_saga_has_so_many_effects() -> None:
    """
    An abort looks through all of a saga's effects, settled or not.
    """
    office = Office()
    office.bench.one(say.begin_saga(office.bench, "s", "g", "a", office.fence))
    assert not reason(office.many(limits.SAGA_EFFECTS_MAX - 1, "undo=u saga=g"))
    assert not reason(office.close("e0 failed"))
    new = [say.new_effect(f"m{at} undo=u saga=g") for at in range(2)]

    two = office.bench.one(office.bench.step("s", "a", office.fence, effects=new))
    one = office.bench.one(office.bench.step("s", "a", office.fence, effects=new[:1]))

    assert (reason(two), two.refusal.field) == ("TOO_MANY", "effects[0].saga_id")
    assert not reason(one)


def test_the_longest_names_fit_what_is_remembered() -> None:
    """
    Outcomes stay below 4 KiB, however long ids and words for people are.
    """
    wide = "\N{GRINNING FACE}" * 255
    agent, effect = "a" * 200, "e" * 128
    saga = "g" * 200
    bench = Bench()
    bench.open("s" * 64)
    by = "s" * 64
    fence = bench.granted(bench.acquire(by, agent))
    bench.one(say.begin_saga(bench, by, saga, agent, fence))
    new = say.new_effect(f"{effect} action=a undo=u saga={saga} dispatch=yes")
    new.idempotency_key = wide
    said = [
        bench.one(say.prepare(bench, by, agent, fence, new)),
        bench.one(say.complete(bench, by, agent, fence, say.closing(f"{effect} committed"))),
        bench.one(say.abort_saga(bench, by, saga, agent, fence, wide)),
    ]
    plan = f"saga/{saga}"
    claim = say.claim(bench, by, plan)
    claim.claim_compensations.holder = wide
    said.append(bench.one(claim))
    token = said[-1].claim_compensations.claim.fence
    said.append(bench.one(say.undone(bench, by, plan, token, 1, "for_good", wide)))
    said.append(bench.one(say.decide(bench, by, plan, 1, "retry", wide, wide)))
    said.append(bench.one(say.claim(bench, by, plan)))
    bench.open("t" * 64)
    said.append(bench.one(say.claim(bench, "t" * 64, plan)))

    assert [reason(each) for each in said] == [""] * 7 + ["OWNED"]
    assert said[7].refusal.current_holder == wide
    assert said[3].claim_compensations.item.effect_id == effect
    assert said[6].claim_compensations.item.error == wide


# --- what is to be undone ------------------------------------------------------


def test_what_is_to_be_undone_comes_newest_first() -> None:
    """
    First what is not known to have happened, then what was settled last; not what was only
    read, or prepared, or failed; and nothing that was settled before what is kept.
    """
    office = Office()
    office.do("old")
    kept = office.bench.machine.revision
    for name in ("one", "two"):
        office.prepare(f"{name} undo=u dispatch=yes")
    office.close("two committed")
    office.close("one committed")
    office.do("look", "class=read_only")
    office.prepare("late undo=u dispatch=yes")
    office.prepare("later class=irreversible dispatch=yes")
    office.prepare("asked class=read_only dispatch=yes")
    office.prepare("meant undo=u")
    office.prepare("failed undo=u dispatch=yes")
    office.close("failed failed")

    assert office.to_undo(kept) == ["later", "late", "one", "two"]
    assert office.to_undo() == ["later", "late", "one", "two", "old"]
    # A new grant does not change the order.
    office.bench.granted(office.bench.acquire("s", "a"))
    assert office.to_undo(kept) == ["later", "late", "one", "two"]


def test_what_was_unknown_before_what_is_kept_stays() -> None:
    """
    A state that is kept has seen that an effect was UNKNOWN; it is for its agent to say
    what becomes of it.
    """
    office = Office()
    office.prepare("lost undo=u dispatch=yes")
    office.close("lost unknown")
    kept = office.bench.machine.revision
    office.prepare("under-way undo=u dispatch=yes")

    assert office.to_undo(kept) == ["under-way"]
    assert office.to_undo(kept - 1) == ["under-way", "lost"]


def test_what_is_undone_or_never_was_is_not_undone_again() -> None:
    """
    Of what was reconciled only what was found done is left, and nothing of what was undone.
    """
    office = Office()
    for name in ("there", "absent"):
        office.prepare(f"{name} undo=u dispatch=yes")
        office.close(f"{name} unknown")
    for name, found in (("there", "done"), ("absent", "not_done")):
        office.bench.one(say.reconcile(office.bench, "s", "a", office.fence, name, found))

    assert office.to_undo() == ["there"]


# --- what is read ---------------------------------------------------------------


def test_a_list_goes_by_state_and_saga_a_page_at_a_time() -> None:
    """
    A page ends when it is full, or when enough was looked at, and says where to go on.
    """
    office = Office()
    office.bench.one(say.begin_saga(office.bench, "s", "g", "a", office.fence))
    for at in range(6):
        office.do(f"e{at}", "undo=u saga=g" if at % 2 else "undo=u")
    office.prepare("open undo=u")
    store = office.bench.store

    def names(page: effect_queries.EffectPage) -> list[str]:
        return [each.effect_id for each in page.effects]

    first = effect_queries.list_effects(store, "a", 0, 4)
    rest = effect_queries.list_effects(store, "a", first.next_after, 4)
    looked = effect_queries.list_effects(store, "a", 0, 4, saga_id="g", scanned_max=3)

    assert names(first) == ["e0", "e1", "e2", "e3"]
    assert (names(rest), rest.next_after) == (["e4", "e5", "open"], 0)
    assert (names(looked), looked.next_after) == (["e1"], 3)
    opened = effect_queries.list_effects(store, "a", 0, 9, states=[ledger.PREPARED])
    assert names(opened) == ["open"]
    every = effect_queries.list_effects(store, "a", (1 << 64) - 1, 9)
    assert every == effect_queries.EffectPage([], 0)
    assert effect_queries.list_effects(store, "\0", 0, 9).effects == []


def test_a_page_is_also_bounded_in_bytes() -> None:
    """
    Large arguments make a page shorter.
    """
    office = Office()
    new = say.new_effect("e undo=u dispatch=yes")
    new.arguments = bytes(limits.EFFECT_BYTES_MAX)
    for at in range(12):
        new.effect_id = f"e{at}"
        office.bench.one(say.prepare(office.bench, "s", "a", office.fence, new))

    page = effect_queries.list_effects(office.bench.store, "a", 0, 100)

    assert 1 < len(page.effects) < 12
    assert sum(each.ByteSize() for each in page.effects) < 2 * pages.PAGE_BYTES
    assert page.next_after == page.effects[-1].number


def test_an_effect_is_what_it_was_at_a_revision() -> None:
    """
    The ledger has a past, from before an effect was entered on.
    """
    office = Office()
    office.do("book", result="17")
    store, now = office.bench.store, office.bench.machine.revision

    then = [
        effect_queries.get_effect(PastReader(store, revision), "a", "book")
        for revision in range(now - 2, now + 1)
    ]

    assert then[0] is None
    assert [ledger.state_name(each.state) for each in then[1:] if each] == [
        "DISPATCHED",
        "COMMITTED",
    ]


@pytest.mark.parametrize(
    ("agent", "effect"), [("a", "x"), ("b", "book"), ("\0", "book"), ("a", "\0")]
)
def test_what_is_not_there_is_not_found(agent: str, effect: str) -> None:
    """
    An id that cannot be one names nothing.
    """
    office = Office()
    office.do("book")

    assert effect_queries.get_effect(office.bench.store, agent, effect) is None


def test_a_bundle_has_what_is_open_up_to_a_size() -> None:
    """
    A successor is told of as many effects as fit, and whether there are more.
    """
    office = Office()
    new = say.new_effect("e undo=u")
    new.arguments = bytes(1_000)
    for at in range(5):
        new.effect_id = f"e{at}"
        office.bench.one(say.prepare(office.bench, "s", "a", office.fence, new))

    some = queries.takeover_bundle(office.bench.store, "a", bytes_max=4_000)
    whole = queries.takeover_bundle(office.bench.store, "a")

    assert some is not None and whole is not None
    assert [each.effect_id for each in some.open_effects] == ["e0"]
    assert (some.more_effects, whole.more_effects) == (True, False)
    assert len(whole.open_effects) == 5


def test_a_grant_leaves_the_effects_of_others_alone() -> None:
    """
    What another agent had dispatched is still that, also of one whose id goes on.
    """
    office = Office()
    office.prepare("mine undo=u dispatch=yes")
    for other in ("a/b", "b"):
        fence = office.bench.granted(office.bench.acquire("s", other))
        new = say.new_effect("theirs undo=u dispatch=yes")
        office.bench.one(say.prepare(office.bench, "s", other, fence, new))
    office.bench.granted(office.bench.acquire("s", "a"))

    def state(agent: str, name: str) -> str:
        found = effect_queries.get_effect(office.bench.store, agent, name)
        assert found is not None
        return ledger.state_name(found.state)

    assert state("a", "mine") == "UNKNOWN"
    assert state("a/b", "theirs") == state("b", "theirs") == "DISPATCHED"
