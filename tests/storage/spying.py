"""Being told of the calls that a log makes of the operating system."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest


def spy(
    patch: pytest.MonkeyPatch, name: str, told: Callable[[str, tuple[Any, ...]], None]
) -> None:
    """Tell of each call of a function of `os`, before it is made."""
    original = getattr(os, name)

    def call(*arguments: Any, **options: Any) -> Any:
        told(name, arguments)
        return original(*arguments, **options)

    patch.setattr(os, name, call)
