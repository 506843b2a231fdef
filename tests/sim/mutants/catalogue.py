"""What a mutant is, and all that there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from tests.sim.mutants.seam import Patch

Plant = Callable[[Patch], None]

FAMILIES = (
    *("durability", "elections", "commitment", "membership", "reads", "snapshots"),
    *("machine", "store", "undoing"),
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug to plant.

    `expects` are the invariants that are meant to find it. `known` is a seed that does;
    without one, random seeds find it too rarely or not at all (its docstring says why), and
    it is looked for by its `schedule`. A mutant may have both. `store`: it takes clients of
    the whole store to show it.
    """

    name: str
    plant: Plant
    expects: frozenset[str]
    known: int | None = None
    schedule: str | None = None
    store: bool = False

    @property
    def story(self) -> str:
        """What is broken."""
        return " ".join((self.plant.__doc__ or "").split())


_ALL: list[Mutant] = []


def mutant(
    *, expects: str, known: int | None = None, schedule: str | None = None, store: bool = False
) -> Callable[[Plant], Plant]:
    """Register a function that plants a bug; its name is the mutant's. `expects` names
    one or more invariants, with blanks between."""

    def register(plant: Plant) -> Plant:
        name = plant.__name__.replace("_", "-")
        assert plant.__doc__, f"{name} says nothing about itself"
        assert known or schedule, f"{name}: neither a known seed nor a schedule"
        assert all(one.name != name for one in _ALL), f"two mutants are called {name}"
        invariants = frozenset(expects.split())
        _ALL.append(Mutant(name, plant, invariants, known, schedule, store))
        return plant

    return register


def mutants() -> list[Mutant]:
    """Every mutant of this folder, in the order of its files."""
    for family in FAMILIES:
        import_module(f"tests.sim.mutants.{family}")
    return list(_ALL)


def find(name: str) -> Mutant:
    """A mutant by its name."""
    for one in mutants():
        if one.name == name:
            return one
    raise KeyError(f"no mutant is called {name}")
