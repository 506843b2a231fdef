"""Tests of the census: its parts, its evidence, and one short run with real processes."""
