"""What the API's own comments promise: which failures each call may have, and which
fields it needs. Read from the .proto files, where clients read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import grpc

from raftstate.rpc.errors import _CODES

PROTO = Path(__file__).parents[2] / "proto/raftstate/v1"

_WORD = re.compile(r"\b[A-Z][A-Z_]+[A-Z]\b")
_RPC = re.compile(r"rpc (\w+)\((stream )?(\w+)\)")
_FIELD = re.compile(r"(?:repeated |optional )?[\w.]+ (\w+) = \d+;")
# "those of StepService.CommitStep", "those of Put and DeleteRange", "as ReadEvents".
_LIKE = re.compile(r"\b(?:those of|as) ((?:\w+\.)?[A-Z]\w+(?:(?:,| and) [A-Z]\w+)*)")
_NEEDED = re.compile(r"\bRequired\b|\bis required\.|\bboth required\b|\bis required$")


class Failures(NamedTuple):
    """The status codes and the reasons that a call may fail with."""

    codes: frozenset[str]
    reasons: frozenset[str]

    def __or__(self, other: Failures) -> Failures:
        """These and others."""
        return Failures(self.codes | other.codes, self.reasons | other.reasons)


def named_in(text: str) -> Failures:
    """The codes and reasons that a text names. A bug is promised by nobody."""
    words = frozenset(_WORD.findall(text)) - {"INTERNAL", "UNKNOWN"}
    codes = {code.name for code in grpc.StatusCode}
    return Failures(words & codes, words & set(_CODES))


def _commented(text: str) -> Iterator[tuple[str, str, str]]:
    """Each line of code: what block it is in, the line, and the comment over it. Fields
    that follow each other without one have the same."""
    block, comment, fresh = "", "", True
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("//"):
            comment = bare[2:].strip() if fresh else f"{comment} {bare[2:].strip()}"
            fresh = False
            continue
        fresh = True
        if found := re.match(r"(?:service|message|enum) (\w+) \{", bare):
            block = found[1]
        if not bare:
            comment = ""
        else:
            yield block, bare, comment
            if bare.startswith(("rpc", "service", "message", "enum", "}")):
                comment = ""


@cache
def _calls() -> dict[str, tuple[str, str]]:
    """The comment and the request of each call, by its full name."""
    found = {}
    for path in sorted(PROTO.glob("*_service.proto")):
        for block, line, comment in _commented(path.read_text()):
            if told := _RPC.match(line):
                found[f"{block}.{told[1]}"] = (comment, told[3])
    return found


@cache
def of_mutations(service: str) -> Failures:
    """What a service's own comment says of all its mutations."""
    for path in PROTO.glob("*_service.proto"):
        for block, line, comment in _commented(path.read_text()):
            if block == service and line.startswith("service"):
                return named_in(comment.partition("of every mutation below")[2])
    raise AssertionError(f"there is no service {service}")


@cache
def fields_needed() -> frozenset[str]:
    """Fields that their comment says are required, as `Message.field`."""
    return frozenset(
        f"{block}.{told[1]}"
        for path in PROTO.glob("*.proto")
        for block, line, comment in _commented(path.read_text())
        if (told := _FIELD.match(line)) and _NEEDED.search(comment)
    )


@cache
def of_all() -> tuple[Failures, Failures]:
    """What any call may fail with, and what any mutation may besides."""
    head = (PROTO / "common.proto").read_text().partition("syntax =")[0]
    everywhere, _, mutations = head.partition("and a mutation, which is")
    return named_in(everywhere), named_in(mutations.partition("Any other status")[0])


@cache
def of_call(name: str) -> Failures:
    """What one call's own comment says, with those of the calls that it refers to."""
    comment, _ = _calls()[name]
    found = named_in(comment)
    for phrase in _LIKE.findall(comment):
        for word in re.split(r",? and |, ", phrase):
            for other in _calls():
                if other != name and (other == word or other.partition(".")[2] == word):
                    found |= of_call(other)
    return found


@cache
def of_consistency() -> Failures:
    """What a read that names a revision may fail with."""
    for path in PROTO.glob("common.proto"):
        for _, line, comment in _commented(path.read_text()):
            if line.startswith("CONSISTENCY_AT_REVISION"):
                return named_in(comment)
    raise AssertionError("the consistency of a read is not documented")
