"""The crash tests can fail: each planted bug is found by some scenario's crashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftstate.core import compensations, effects, items, ledger, machine, undoing
from raftstate.core.context import Context
from raftstate.v1.effect_service_pb2 import Effect
from tests.recovery.scenarios import SCENARIOS, judge
from tests.recovery.stage import Strike
from tests.recovery.test_crash_at_every_step import strikes

Plant = Callable[[pytest.MonkeyPatch], None]
BY_NAME = {one.name: one for one in SCENARIOS}


def forget_what_was_dispatched(patch: pytest.MonkeyPatch) -> None:
    """A takeover leaves the effects of the former owner as they are."""
    patch.setattr(effects, "takeover", lambda context, agent: None)


def undo_the_oldest_first(patch: pytest.MonkeyPatch) -> None:
    """Compensations run in the order in which the effects were done."""
    real = effects.undo_order

    def undo_order(effect: Effect) -> tuple[int, int, int, str]:
        unsure, since, number, agent_id = real(effect)
        return unsure, -since, -number, agent_id

    patch.setattr(effects, "undo_order", undo_order)


def undo_only_what_is_known(patch: pytest.MonkeyPatch) -> None:
    """What may have been done is left alone."""
    real = effects.to_undo

    def to_undo(*args: Any) -> list[Effect]:
        return [effect for effect in real(*args) if ledger.was_done(effect)]

    patch.setattr(effects, "to_undo", to_undo)


def undo_without_asking(patch: pytest.MonkeyPatch) -> None:
    """What may have been done is undone, also where that is not safe."""
    patch.setattr(compensations, "reconcile_first", lambda effect: False)
    patch.setattr(
        ledger,
        "allowed",
        lambda effect, name: (
            ledger.COMPENSATED if name == ledger.COMPENSATE else real(effect, name)
        ),
    )


def give_a_new_key_with_each_claim(patch: pytest.MonkeyPatch) -> None:
    """Who goes on with an undoing does so under another key."""

    def claim_next(context: Context, undoing: Any) -> Any:
        item = real_claim(context, undoing)
        if item is not None and item.claims > 1:
            effect = effects.named(context.store, item.agent_id, item.effect_number)
            effect.compensation.idempotency_key += "+"
            effects.save(context, effect)
        return item

    patch.setattr(undoing, "_claim_next", claim_next)


def keep_a_claim_beyond_its_session(patch: pytest.MonkeyPatch) -> None:
    """Nobody goes on with a plan whose worker died."""
    patch.setattr(compensations, "end_claims_of", lambda context, session_id: None)


def settle_two_at_once(patch: pytest.MonkeyPatch) -> None:
    """With one item the next is said to be undone too."""
    real_item = machine._ONCE["complete_compensation"]

    def complete(context: Context, request: Any) -> Any:
        answer = real_item(context, request)
        plan = compensations.load_plan(context.store, request.plan_id)
        if plan is not None and plan.undoing.next_position:
            item = items.first_open(context.store, plan.undoing)
            if item is not None:
                items.settle(context, plan.undoing, item, items.COMPENSATED)
                compensations.save_plan(context, plan)
        return answer

    patch.setitem(machine._ONCE, "complete_compensation", complete)


real = ledger.allowed
real_claim = undoing._claim_next
PLANTED: list[tuple[Plant, str]] = [
    (forget_what_was_dispatched, "takeover"),
    (undo_the_oldest_first, "saga that aborts"),
    (undo_only_what_is_known, "rollback"),
    (undo_without_asking, "saga that aborts"),
    (give_a_new_key_with_each_claim, "saga that aborts"),
    (keep_a_claim_beyond_its_session, "saga that aborts"),
    (settle_two_at_once, "saga that aborts"),
]


@pytest.mark.parametrize(("plant", "name"), PLANTED, ids=[one.__name__ for one, _ in PLANTED])
def test_a_planted_bug_is_found(
    plant: Plant, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some action, by what the outside or the store says in the end."""
    scenario = BY_NAME[name]
    every = strikes(scenario)
    plant(monkeypatch)

    assert any(_is_found(scenario, strike) for strike in every), "no crash shows it"


def _is_found(scenario: Any, strike: Strike) -> bool:
    run = scenario.run()
    run.strike = strike
    try:
        run.play()
        judge(scenario, run)
    except Exception:  # noqa: BLE001  # whatever it is, it was noticed
        return True
    return False
