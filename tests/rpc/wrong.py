"""Values that no request may have in fields of a kind."""

from __future__ import annotations

from typing import Any

from raftstate.core import limits

# Values that are refused wherever the field stands. None: whatever it holds may be right.
# A number in brackets: so many elements are too many. What is made of the message around
# the field is a function of that.
ANY = None
Wrong = list[Any] | None

ID: Wrong = ["x" * 201, "é", "/a", "a b", "a\0"]
OPTIONAL_ID: Wrong = ["x" * 201, "é", "/a"]
SESSION: Wrong = ["x" * 65, "é", "a/b"]
MEMBER_ID: Wrong = ["x" * 65, "é", "a/b"]
ADDRESS: Wrong = ["x" * 300 + ":1", "h", "h:0", "h:65536"]
PREFIX: Wrong = ["x" * 201]
PEOPLE: Wrong = ["x" * 256]
WORD: Wrong = ["x" * 129]
KEY: Wrong = [b"k" * 481, b"\0" * 241, b"k" + b"\0" * 240]
PAGE_SIZE: Wrong = [limits.PAGE_SIZE_MAX + 1]
PAGE_TOKEN: Wrong = ["x", "é", "x" * 1_024, "x" * 1_025, "AAAAAAAA"]
HASH: Wrong = [b"x" * 31, b"x" * 33]
TARGET: Wrong = [limits.TARGET_MS_MAX + 1]
NUMBER: Wrong = [0]
# The revision of a read: required for two consistencies, and refused for the others.
REVISION: Wrong = [1]


def too_many(count: int) -> tuple[int]:
    """So many elements are more than there may be."""
    return (count,)


EFFECT_ID: Wrong = ["", "x" * 129, "é", "/a", "a b", "a\n"]
PLAN_ID: Wrong = ["", "x", "saga/", "saga/é", "saga/" + "x" * 201, "rollback/x", "other/a"]
NUMBERED: Wrong = ["x", "0" * 15, "0" * 17, "A" * 16, "é"]
PAYLOAD: Wrong = [bytes(limits.EFFECT_BYTES_MAX + 1)]
RECORDED_KEY: Wrong = ["x" * 129, "\u20ac" * 100]
AGENTS: Wrong = [too_many(33), ["x" * 201], ["a", "a"]]
NAMES: Wrong = [too_many(17), ["x" * 201]]
SHARE: Wrong = [1.5, -0.5, float("nan"), float("inf")]
