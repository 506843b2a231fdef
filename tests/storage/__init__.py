"""Tests of what a member keeps on disk."""
