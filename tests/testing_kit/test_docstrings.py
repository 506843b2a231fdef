"""The examples in the kit's docstrings run as they are printed."""

from __future__ import annotations

import doctest

import pytest

import raftstate
from raftstate import errors, testing
from raftstate.testing import kit as kits

PARSER = doctest.DocTestParser()
SWITCHES = [
    name
    for name in dir(testing.SyncKit)
    if not name.startswith("_") and ">>>" in (getattr(testing.SyncKit, name).__doc__ or "")
]


def run(text: str, name: str, names: dict[str, object]) -> int:
    """Run the examples of a docstring; how many there were."""
    test = PARSER.get_doctest(text, names, name, None, None)
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
        test, out=said.append, clear_globs=False
    )
    assert not failed, "".join(said)
    return tried


def test_the_kit_is_used_as_its_docstring_says() -> None:
    """
    The takeover at the beginning of the package.
    """
    assert testing.__doc__ is not None
    assert run(testing.__doc__, "testing", {})


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_used_as_its_docstring_says(name: str) -> None:
    """
    With a kit that is open, and a client of it.
    """
    with testing.sync_served() as kit, kit.connect() as store:
        names = {"kit": kit, "store": store, "errors": errors, "raftstate": raftstate}
        assert run(getattr(kits.SyncKit, name).__doc__ or "", name, names)


def test_every_switch_has_an_example() -> None:
    """
    But for the two that only say where to connect.
    """
    public = {name for name in dir(testing.SyncKit) if not name.startswith("_")}

    assert public - set(SWITCHES) == set()
