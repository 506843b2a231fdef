"""The workloads on sagas and rollbacks: what is asked, and what comes of it at a sound
member."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from jepsen_like.protocols import Context, Op, Record
from jepsen_like.protocols import Site as RunSite
from jepsen_like.workloads import rollback, saga
from tests.client.scripted import asynchronous
from tests.jepsen.driving import driven, record_of
from tests.jepsen.test_store_workloads import play, threads
from tests.rpc.harness import bench

MODULES: dict[str, ModuleType] = {one.NAME: one for one in (saga, rollback)}


@pytest.mark.parametrize("name", MODULES)
def test_the_same_seed_draws_the_same_operations(name: str) -> None:
    """
    And another one others, by every thread; nothing is called the same twice.
    """
    work = MODULES[name].workload()
    ops = play(work, 7, 400)

    assert ops == play(work, 7, 400)
    assert ops != play(work, 8, 400)
    assert {op.thread for op in ops} == set(threads(work))
    ids = [op.value["id"] for op in ops if "id" in op.value]
    assert len(ids) == len(set(ids)) > 0


def test_sagas_are_of_a_few_steps_that_may_fail() -> None:
    """
    One step in five; some clients die, and some are stopped between dispatch and call.
    """
    ops = [op for op in play(saga.workload(), 3, 2_000) if op.f == "saga"]
    steps = [step for op in ops for step in op.value["steps"]]

    assert {len(op.value["steps"]) for op in ops} == set(
        range(saga.STEPS[0], saga.STEPS[1] + 1)
    )
    assert 0.15 < sum(step["fails"] for step in steps) / len(steps) < 0.25
    assert {step["way"] for step in steps} == {"keyed", "asked"}
    assert any(op.value["dies"] for op in ops)
    assert any(op.value["stalls"] is not None for op in ops)


def test_a_state_is_all_of_one_name() -> None:
    """
    Five keys, whose values follow from it; so a mixture is another state.
    """
    one, other = rollback.state_of("r0-1"), rollback.state_of("r0-2")

    assert one == rollback.state_of("r0-1") != other
    assert one.count(b"r0-1/") == rollback.KEYS


@pytest.mark.parametrize("name", MODULES)
def test_without_a_free_thread_there_is_nothing_to_do_now(name: str) -> None:
    """
    It goes on for ever, and says so.
    """
    work = MODULES[name].workload()

    assert not isinstance(work.generator(1).op(Context(0.0, threads(work), frozenset())), Op)


# --- the whole of it -----------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What a moment of work on a sound cluster of one leaves behind."""
    found: list[Record] = []

    @asynchronous
    async def run() -> None:
        async with bench() as served:
            site = RunSite(
                {"n1": f"127.0.0.1:{served.port}"}, "run", 3, tmp_path_factory.mktemp("sound")
            )
            works = [one.workload() for one in MODULES.values()]
            outside = works[0].setting
            assert outside is not None
            async with outside(site) as beside:
                events, tally = await driven(works, site, 4.0, rate=3.0)
                notes = {saga.NAME: beside.note()}
            assert tally.raised == tally.hung == 0, tally.errors
            made = record_of(site, list(MODULES), events, [])
            found.append(replace(made, remote=True, notes=notes))

    patch = pytest.MonkeyPatch()
    patch.setattr(saga, "STALL_S", (0.1, 0.4))
    run()
    patch.undo()
    return found[0]


LEAST = {
    "saga": {"completed": 1, "compensated": 3, "undoings": 3, "died": 1},
    "rollback": {"rollbacks": 3, "reads": 5, "events_undone": 1, "restored_seen": 1},
}


@pytest.mark.parametrize("name", MODULES)
def test_a_sound_run_is_not_wrong(sound: Record, name: str) -> None:
    """
    Nothing is wrong, and there was some of everything.
    """
    (verdict,) = MODULES[name].workload().check(sound)

    assert verdict.validity != "invalid", verdict.complaints
    for figure, least in LEAST[name].items():
        assert verdict.figures[figure] >= least, verdict.figures


def test_everything_that_was_asked_was_answered(sound: Record) -> None:
    """
    Each kind of operation, at least once; those of the end, too.
    """
    ok = {(one.workload, one.f) for one in sound.events if one.type == "ok"}

    assert {(one.workload, one.f) for one in sound.events} == ok
    assert {("saga", "drain"), ("saga", "list"), ("rollback", "list")} <= ok
