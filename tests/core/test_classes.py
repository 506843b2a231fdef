"""What the class of an effect decides, and whose sagas it may belong to."""

from __future__ import annotations

import pytest

from raftstate.v1.effect_service_pb2 import UnknownPolicy
from tests.core import effect_story as say
from tests.core.bench import reason
from tests.core.test_effects import Office

# For each class: an effect of it, what is done when it is UNKNOWN, and what may be chosen.
CLASSES = {
    "class=read_only": ("REPEAT", {"REPEAT", "ESCALATE"}),
    "class=read_only ask=q": ("REPEAT", {"REPEAT", "RECONCILE", "ESCALATE"}),
    "class=idempotent undo=u": ("REPEAT", {"REPEAT", "COMPENSATE", "ESCALATE"}),
    "class=idempotent undo=u tombstone=no ask=q": (
        "REPEAT",
        {"REPEAT", "RECONCILE", "ESCALATE"},
    ),
    "class=reconcilable undo=u ask=q": ("RECONCILE", {"RECONCILE", "COMPENSATE", "ESCALATE"}),
    "class=irreversible": ("ESCALATE", {"ESCALATE"}),
    "class=irreversible ask=q": ("ESCALATE", {"RECONCILE", "ESCALATE"}),
}


@pytest.mark.parametrize("words", CLASSES)
def test_a_class_has_its_policy_and_what_may_be_chosen(words: str) -> None:
    """
    Nothing that may not be done twice is repeated, nothing is asked that nobody can answer,
    and nothing is undone blindly that would not leave a tombstone.
    """
    default, may = CLASSES[words]
    office = Office()
    chosen = {}
    for policy in UnknownPolicy.keys()[1:]:
        word = policy.removeprefix("UNKNOWN_POLICY_")
        outcome = office.prepare(f"{word} {words} policy={word.lower()}")
        if not reason(outcome):
            chosen[word] = office.effect(word).on_unknown
    office.prepare(f"plain {words}")

    assert chosen == {word: UnknownPolicy.Value(f"UNKNOWN_POLICY_{word}") for word in may}
    assert UnknownPolicy.Name(office.effect("plain").on_unknown) == f"UNKNOWN_POLICY_{default}"


def test_an_orchestrated_saga_has_its_own_agents_effects_only() -> None:
    """
    Another agent joins a choreographed one, by an effect or by a step, and no other.
    """
    office = Office()
    bench = office.bench
    other = bench.granted(bench.acquire("s", "b"))
    for saga, mode in (("ours", ""), ("led", "orchestrated"), ("fair", "choreographed")):
        assert not reason(bench.one(say.begin_saga(bench, "s", saga, "a", office.fence, mode)))
    said = {}
    for saga in ("ours", "led", "fair"):
        new = say.new_effect(f"one-{saga} undo=u saga={saga}")
        by_step = say.new_effect(f"two-{saga} undo=u saga={saga}")
        said[saga] = [
            reason(bench.one(say.prepare(bench, "s", "b", other, new))),
            reason(bench.one(bench.step("s", "b", other, effects=[by_step]))),
        ]

    assert said == {
        "ours": ["INVALID_REQUEST"] * 2,
        "led": ["INVALID_REQUEST"] * 2,
        "fair": [""] * 2,
    }
