"""The generated code under raftstate/v1 has a home for every proto, and no orphan.

That its content is fresh is for scripts/check, which has the generators.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "raftstate" / "v1"


def expected_names() -> set[str]:
    """What generating proto/ makes: messages for all, gRPC for those with a service."""
    names = set[str]()
    for proto in (ROOT / "proto" / "raftstate" / "v1").glob("*.proto"):
        kinds = ["pb2"]
        if any(line.startswith("service ") for line in proto.read_text().splitlines()):
            kinds.append("pb2_grpc")
        names |= {f"{proto.stem}_{kind}.{end}" for kind in kinds for end in ("py", "pyi")}
    return names


def test_every_proto_is_generated_and_nothing_else_is() -> None:
    """
    Messages and stubs exist for each proto; none is left of a proto that is gone.
    """
    assert {path.name for path in GENERATED.glob("*_pb2*")} == expected_names()
