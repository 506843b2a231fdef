"""Planted bugs: that the simulator can fail, shown one bug at a time.

A mutant is a function `plant(patch)` that replaces small parts of the product, or of
the disk under it, while it runs; the product has no switch for any of this. Each must be
found by an invariant, in random seeds or in a schedule with a name, and what finds it
must be clean without it.

    seam.py        what a mutant may do: `Patch`
    catalogue.py   what a mutant is, and the list of all
    running.py     one seed or schedule, with or without a mutant; who caught it
    command.py     `scripts/simulate --mutants` and `--mutant FILE`
    stage.py       a world in which only a script does harm
    schedules.py   the scripts: each a story that ends badly with one bug, and well without
    the rest       the mutants, by what they break
"""
