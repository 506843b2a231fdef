"""What every test shares: markers by folder, and how long Hypothesis searches."""

import gc
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
# These need the frameworks that they are about: scripts/conformance has them.
collect_ignore = [] if find_spec("langgraph") else ["outside"]
MARKERS = {
    "cluster": "live",
    "test_serve.py": "live",
    "sim": "sim",
    "demo/test_verify.py": "long",
    "storage/test_crash.py": "long",
    "storage/test_quarantine.py": "long",
    "storage/test_scrub.py": "long",
    "storage/test_snapshots_everywhere.py": "long",
    "test_verify_data.py": "long",
}

# The two cores of a build machine may be busy: a slow example is no failure.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", COMMON, max_examples=20, stateful_step_count=20)
settings.register_profile("default", COMMON, max_examples=100, stateful_step_count=50)
settings.register_profile("full", COMMON, max_examples=1_000, stateful_step_count=100)
settings.load_profile("default")


# Folders with one long test each. They go first: at the end, the other processes would wait
# for them.
LONGEST = ("crash_images", "demo")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rewrite` accepts what golden tests got, to be read as a diff."""
    parser.addoption("--rewrite", action="store_true", help="rewrite tests/testdata")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the folder or file they live in, so that no file can forget to."""
    for item in items:
        if item.path.is_relative_to(HERE):
            path = item.path.relative_to(HERE)
            for place in {path.parts[0], path.as_posix()} & MARKERS.keys():
                item.add_marker(MARKERS[place])
    # There are thousands of these, and they stay: no use in looking at them again and again.
    gc.freeze()
    items.sort(key=lambda item: not any(part in LONGEST for part in item.path.parts))
